#include "cli/completion.h"

#include <unistd.h>

#include "cli/cli.h"
#include "cli/help.h"
#include "cli/output.h"

/* ---- walking the table ---- */

typedef void flag_fn(void *arg, const char *name, const char *short_name, const char *metavar, const char *help);

static void each_flag(const tt_flag *flags, flag_fn *fn, void *arg)
{
    for (; flags && flags->name; flags++)
        if (flags->help)
            fn(arg, flags->name, flags->short_name, flags->metavar, flags->help);
}

/* The command's own flags and settings, not the common ones. */
static void each_own_flag(const tt_command *c, flag_fn *fn, void *arg)
{
    each_flag(c->flags, fn, arg);
    const tt_option *row;
    for (size_t at = 0; (row = tt_command_option(c, &at));)
        fn(arg, row->flag, NULL, row->type == TT_OPT_BOOL ? NULL : row->metavar, row->help);
}

/* "job" for a top-level command, "job:start" for one of a noun. */
static void put_path(tt_buf *out, const tt_command *c)
{
    if (c->noun)
        tt_buf_printf(out, "%s:", c->noun);
    tt_buf_cstr_put(out, c->verb);
}

/* What the first operand offers: "job", "file", "dir", "bash|zsh|fish" (the words themselves), or NULL. */
static const char *first_completes(const tt_command *c) { return c->operands && c->operands->name ? c->operands->completes : NULL; }

/* The first sentence, with the characters that shells read in quotes taken out. */
static void put_text(tt_buf *out, const char *text)
{
    for (; *text && !(text[0] == '.' && (text[1] == ' ' || !text[1])); text++)
        tt_buf_char(out, strchr("'\"`\\[]:$;", *text) ? ' ' : *text);
}

static void put_noun_word(void *arg, const char *noun) { tt_buf_printf(arg, " %s", noun); }

static void put_first_words(const tt_command *commands, tt_buf *out)
{
    tt_each_noun(commands, put_noun_word, out);
    for (const tt_command *c = commands; !tt_command_is_end(c); c++)
        if (!c->noun)
            tt_buf_printf(out, " %s", c->verb);
}

/* ---- bash ---- */

static void bash_word(void *arg, const char *name, const char *short_name, const char *metavar, const char *help) { tt_buf_printf(arg, " %s", name); }

static void bash_value_flag(void *arg, const char *name, const char *short_name, const char *metavar, const char *help)
{
    if (metavar)
        tt_buf_printf(arg, " %s%s%s", name, short_name ? " " : "", short_name ? short_name : "");
}

static void bash_verbs(void *arg, const char *noun)
{
    void **pair = arg;
    tt_buf *out = pair[1];
    tt_buf_printf(out, "        %s) verbs='", noun);
    for (const tt_command *c = pair[0]; !tt_command_is_end(c); c++)
        if (c->noun && strcmp(c->noun, noun) == 0)
            tt_buf_printf(out, " %s", c->verb);
    tt_buf_cstr_put(out, "' ;;\n");
}

/* Which command it is: the first words that are neither flags nor values of flags. */
static const char bash_find[] =
    "    COMPREPLY=()\n"
    "    for ((i = 1; i < COMP_CWORD; i++)); do\n"
    "        w=${COMP_WORDS[i]}\n"
    "        if [[ $skip ]]; then skip=''\n"
    "        elif [[ \" $values \" == *\" $w \"* ]]; then skip=1\n"
    "        elif [[ $w == -* ]]; then :\n"
    "        elif [[ -z $noun ]]; then noun=$w\n"
    "        elif [[ -z $verb ]]; then verb=$w\n"
    "        fi\n"
    "    done\n"
    "    case $noun in\n";
static const char bash_offer[] =
    "    if [[ \" $values \" == *\" $prev \"* ]]; then\n"
    "        case $prev in\n"
    "        --data|--dir) mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n"
    "        *) mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
    "        esac\n"
    "    elif [[ $cur == -* ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$flags$common\" -- \"$cur\")\n"
    "    elif [[ -z $noun ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$first\" -- \"$cur\")\n"
    "    elif [[ -z $verb && $verbs ]]; then\n"
    "        mapfile -t COMPREPLY < <(compgen -W \"$verbs\" -- \"$cur\")\n"
    "    else\n"
    "        case $kind in\n"
    "        job) mapfile -t COMPREPLY < <(compgen -W \"$(\"${COMP_WORDS[0]}\" completion --jobs 2>/dev/null)\" -- \"$cur\") ;;\n"
    "        dir) mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") ;;\n"
    "        file|'') mapfile -t COMPREPLY < <(compgen -f -- \"$cur\") ;;\n"
    "        *) mapfile -t COMPREPLY < <(compgen -W \"${kind//|/ }\" -- \"$cur\") ;;\n"
    "        esac\n"
    "    fi\n"
    "}\n"
    "complete -o filenames -F _tutti tutti\n";

static void bash_command(const tt_command *c, tt_buf *out)
{
    tt_buf_cstr_put(out, "    ");
    put_path(out, c);
    tt_buf_cstr_put(out, ") flags='");
    each_own_flag(c, bash_word, out);
    tt_buf_cstr_put(out, "' values+='");
    each_own_flag(c, bash_value_flag, out);
    tt_buf_printf(out, "' kind='%s' ;;\n", first_completes(c) ? first_completes(c) : "");
}

static void write_bash(const tt_command *commands, tt_buf *out)
{
    tt_buf_cstr_put(out, "# bash completion for tutti; made by `tutti completion bash`\n_tutti() {\n"
                         "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} noun='' verb='' verbs='' flags='' kind='' i w skip=''\n"
                         "    local first='");
    put_first_words(commands, out);
    tt_buf_cstr_put(out, "' common='");
    each_flag(tt_common_flags, bash_word, out);
    tt_buf_cstr_put(out, "' values='");
    each_flag(tt_common_flags, bash_value_flag, out);
    tt_buf_cstr_put(out, "'\n");
    tt_buf_cstr_put(out, bash_find);
    const void *pair[] = {commands, out};
    tt_each_noun(commands, bash_verbs, pair);
    tt_buf_cstr_put(out, "    esac\n    local path=$noun\n    [[ $verbs && $verb ]] && path=$noun:$verb\n    case $path in\n");
    for (const tt_command *c = commands; !tt_command_is_end(c); c++)
        bash_command(c, out);
    tt_buf_cstr_put(out, "    esac\n");
    tt_buf_cstr_put(out, bash_offer);
}

/* ---- zsh ---- */

static void zsh_flag(void *arg, const char *name, const char *short_name, const char *metavar, const char *help)
{
    tt_buf *out = arg;
    const char *names[] = {name, short_name};
    for (size_t i = 0; i < 2 && names[i]; i++) {
        tt_buf_printf(out, " \\\n        '*%s%s[", names[i], metavar && i == 0 ? "=" : metavar ? "+" : "");
        put_text(out, help);
        tt_buf_char(out, ']');
        if (metavar) {
            tt_buf_char(out, ':');
            put_text(out, metavar);
            tt_buf_cstr_put(out, strstr(metavar, "DIR") ? ":_files -/" : ":_files");
        }
        tt_buf_char(out, '\'');
    }
}

static void zsh_operands(const tt_command *c, tt_buf *out)
{
    const char *kind = first_completes(c);
    if (!kind)
        return;
    tt_buf_cstr_put(out, " \\\n        '1:argument:");
    if (strcmp(kind, "job") == 0)
        tt_buf_cstr_put(out, "_tutti_jobs");
    else if (strcmp(kind, "dir") == 0 || strcmp(kind, "file") == 0)
        tt_buf_cstr_put(out, kind[0] == 'd' ? "_files -/" : "_files");
    else
        for (const char *p = (tt_buf_char(out, '('), kind); *p || (tt_buf_char(out, ')'), false); p++)
            tt_buf_char(out, *p == '|' ? ' ' : *p);
    tt_buf_char(out, '\'');
}

static void zsh_word(tt_buf *out, const char *word, const char *text)
{
    tt_buf_printf(out, " '%s:", word);
    put_text(out, text);
    tt_buf_char(out, '\'');
}

static void zsh_noun(void *arg, const char *noun) { zsh_word(arg, noun, tt_noun_summary(noun)); }

static void zsh_verbs(void *arg, const char *noun)
{
    void **pair = arg;
    tt_buf *out = pair[1];
    tt_buf_printf(out, "    %s) verbs=(", noun);
    for (const tt_command *c = pair[0]; !tt_command_is_end(c); c++)
        if (c->noun && strcmp(c->noun, noun) == 0)
            zsh_word(out, c->verb, c->summary);
    tt_buf_cstr_put(out, ") ;;\n");
}

static void write_zsh(const tt_command *commands, tt_buf *out)
{
    tt_buf_cstr_put(out, "#compdef tutti\n# zsh completion for tutti; made by `tutti completion zsh`\n"
                         "_tutti_jobs() { compadd -- ${(f)\"$(${words[1]:-tutti} completion --jobs 2>/dev/null)\"} }\n"
                         "_tutti() {\n    local self=$words[1] line path_ state; local -a first verbs common\n    first=(");
    tt_each_noun(commands, zsh_noun, out);
    for (const tt_command *c = commands; !tt_command_is_end(c); c++)
        if (!c->noun)
            zsh_word(out, c->verb, c->summary);
    tt_buf_cstr_put(out, ")\n    common=(");
    each_flag(tt_common_flags, zsh_flag, out);
    tt_buf_cstr_put(out, ")\n    if (( CURRENT == 2 )); then\n        [[ $words[2] == -* ]] && { _arguments $common; return }\n"
                         "        _describe command first; return\n    fi\n    case $words[2] in\n");
    const void *pair[] = {commands, out};
    tt_each_noun(commands, zsh_verbs, pair);
    tt_buf_cstr_put(out, "    esac\n    if (( CURRENT == 3 && $#verbs )) && [[ $words[3] != -* ]]; then _describe command verbs; return; fi\n"
                         "    path_=$words[2]\n    shift words; (( CURRENT-- ))\n"
                         "    if (( $#verbs )) && [[ $words[2] != -* ]]; then path_=$path_:$words[2]; shift words; (( CURRENT-- )); fi\n"
                         "    words[1]=$self\n    case $path_ in\n");
    for (const tt_command *c = commands; !tt_command_is_end(c); c++) {
        tt_buf_cstr_put(out, "    ");
        put_path(out, c);
        tt_buf_cstr_put(out, ") _arguments $common");
        each_own_flag(c, zsh_flag, out);
        zsh_operands(c, out);
        tt_buf_cstr_put(out, " ;;\n");
    }
    tt_buf_cstr_put(out, "    esac\n}\nif [[ $funcstack[1] == _tutti ]]; then _tutti \"$@\"; else compdef _tutti tutti; fi\n");
}

/* ---- fish ---- */

typedef struct {
    tt_buf *out;
    const char *condition;
} fish_context;

static void fish_flag(void *arg, const char *name, const char *short_name, const char *metavar, const char *help)
{
    fish_context *context = arg;
    tt_buf *out = context->out;
    tt_buf_printf(out, "complete -c tutti%s -l %s", context->condition, name + 2);
    if (short_name)
        tt_buf_printf(out, " -s %s", short_name + 1);
    tt_buf_printf(out, "%s -d '", metavar ? " -rF" : "");
    put_text(out, help);
    tt_buf_cstr_put(out, "'\n");
}

static void fish_word(tt_buf *out, const char *condition, const char *word, const char *text)
{
    tt_buf_printf(out, "complete -c tutti -f -n '%s' -a %s -d '", condition, word);
    put_text(out, text);
    tt_buf_cstr_put(out, "'\n");
}

static void fish_noun(void *arg, const char *noun) { fish_word(arg, "__fish_use_subcommand", noun, tt_noun_summary(noun)); }

static void fish_condition(const tt_command *c, bool with_verb, tt_buf *out)
{
    tt_buf_printf(out, "__fish_seen_subcommand_from %s", c->noun ? c->noun : c->verb);
    if (with_verb && c->noun)
        tt_buf_printf(out, "; and __fish_seen_subcommand_from %s", c->verb);
}

static void fish_operands(const tt_command *c, const char *condition, tt_buf *out)
{
    const char *kind = first_completes(c);
    if (!kind)
        return;
    tt_buf_printf(out, "complete -c tutti -n '%s'", condition);
    if (strcmp(kind, "file") == 0)
        tt_buf_cstr_put(out, " -F\n");
    else if (strcmp(kind, "dir") == 0)
        tt_buf_cstr_put(out, " -f -a '(__fish_complete_directories)'\n");
    else if (strcmp(kind, "job") == 0)
        tt_buf_cstr_put(out, " -f -a '(__tutti_jobs)'\n");
    else
        for (const char *p = (tt_buf_cstr_put(out, " -f -a '"), kind); *p || (tt_buf_cstr_put(out, "'\n"), false); p++)
            tt_buf_char(out, *p == '|' ? ' ' : *p);
}

/* All verbs of the command's noun, as "not seen" condition for offering them. */
static void fish_verb(const tt_command *commands, const tt_command *c, tt_buf *out)
{
    TT_BUF_AUTO tt_buf condition = {0};
    fish_condition(c, false, &condition);
    tt_buf_cstr_put(&condition, "; and not __fish_seen_subcommand_from");
    for (const tt_command *other = commands; !tt_command_is_end(other); other++)
        if (other->noun && strcmp(other->noun, c->noun) == 0)
            tt_buf_printf(&condition, " %s", other->verb);
    fish_word(out, tt_buf_cstr(&condition), c->verb, c->summary);
}

static void write_fish(const tt_command *commands, tt_buf *out)
{
    tt_buf_cstr_put(out, "# fish completion for tutti; made by `tutti completion fish`\n"
                         "function __tutti_jobs\n    set -l words (commandline -opc)\n    command $words[1] completion --jobs 2>/dev/null\nend\n"
                         "complete -c tutti -f\n");
    tt_each_noun(commands, fish_noun, out);
    each_flag(tt_common_flags, fish_flag, &(fish_context){out, ""});
    for (const tt_command *c = commands; !tt_command_is_end(c); c++) {
        TT_BUF_AUTO tt_buf condition = {0}, dashed = {0};
        fish_condition(c, true, &condition);
        tt_buf_printf(&dashed, " -n '%s'", tt_buf_cstr(&condition));
        if (c->noun)
            fish_verb(commands, c, out);
        else
            fish_word(out, "__fish_use_subcommand", c->verb, c->summary);
        each_own_flag(c, fish_flag, &(fish_context){out, tt_buf_cstr(&dashed)});
        fish_operands(c, tt_buf_cstr(&condition), out);
    }
}

/* ---- the command ---- */

static const struct {
    const char *name;
    void (*write)(const tt_command *commands, tt_buf *out);
} shells[] = {{"bash", write_bash}, {"zsh", write_zsh}, {"fish", write_fish}};

bool tt_completion_write(const tt_command *commands, tt_str shell, tt_buf *out)
{
    for (size_t i = 0; i < TT_COUNT(shells); i++)
        if (tt_str_is(shell, shells[i].name))
            return shells[i].write(commands, out), true;
    return false;
}

/* Shells expand what they complete: a name with other characters is not offered. */
static bool is_plain_name(tt_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.ptr[i]) && !strchr("-_.", name.ptr[i]))
            return false;
    return name.len != 0;
}

/* Names of jobs, one per line. Whoever types waits: after a second the process ends, whatever it waits for. */
static tt_rc list_jobs(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf answer = {0};
    TT_JSON_AUTO json_t *root = NULL;
    size_t i;
    json_t *job;
    alarm(1);
    TT_TRY(tt_cli_call(cli, "GET", "/v1/jobs", (tt_str){0}, &answer, err));
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &root, err));
    json_array_foreach(json_object_get(root, "jobs"), i, job)
        if (is_plain_name(tt_json_member_str(job, "name")))
            TT_TRY(tt_outf(cli, err, "%.*s\n", TT_STR_ARG(tt_json_member_str(job, "name"))));
    return TT_OK;
}

static tt_rc completion(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    if (tt_cli_has(cli, "--jobs"))
        return list_jobs(cli, err);
    tt_str shell = tt_cli_operand(cli, 0);
    if (!shell.ptr)
        return tt_fail(err, TT_USAGE, "SHELL is missing: tutti completion bash, zsh or fish");
    if (!tt_completion_write(cli->commands, shell, &out))
        return tt_fail(err, TT_USAGE, "no completion for `%.*s`: there is one for bash, zsh and fish", TT_STR_ARG(shell));
    TT_TRY(tt_buf_check(&out, err));
    return tt_out(cli, tt_buf_view(&out), err);
}

TT_CLI_COMMAND(tt_cmd_completion, completion)
