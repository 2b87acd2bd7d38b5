#include "cli/parse.h"

#include "base/nearest.h"

const tt_flag tt_common_flags[] = {
    {"--help", "-h", .help = "show help for the command"},
    {"--version", "-V", .help = "show the version"},
    {"--quiet", "-q", .help = "say nothing but errors and results"},
    {"--verbose", "-v", .help = "show each request; -vv: its answer as well"},
    {"--json", NULL, .help = "one JSON document on standard output, errors as JSON too; JSON lines where it streams"},
    {"--plain", NULL, .help = "values separated by tabs, without a heading"},
    {"--no-color", NULL, .help = "no colors (also NO_COLOR)"},
    {"--yes", "-y", .help = "do not ask"},
    {"--server", NULL, "URL", .help = "the server to talk to, instead of the one of the data directory (also TUTTI_SERVER)"},
    {"--token-file", NULL, "FILE", .help = "a file with the token that the server asks for (else TUTTI_TOKEN)"},
    {"--timeout", NULL, "DUR", "60s", .help = "give up on an answer after this time"},
    {"--config", NULL, "FILE", .help = "the configuration file"},
    {"--data", NULL, "DIR", .help = "the data directory"},
    {NULL},
};

/* What a flag of the command line stands for. */
typedef struct {
    const char *name;    /* NULL: unknown */
    const char *metavar; /* NULL: a switch */
    bool is_option;
} meaning;

const tt_option *tt_option_of_flag(const char *flag)
{
    size_t count;
    const tt_option *rows = tt_option_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (rows[i].flag && strcmp(rows[i].flag, flag) == 0)
            return &rows[i];
    return NULL;
}

static bool is_common(const char *flag)
{
    for (const tt_flag *f = tt_common_flags; f->name; f++)
        if (strcmp(f->name, flag) == 0)
            return true;
    return false;
}

static bool takes_option(const tt_command *c, const char *flag)
{
    bool takes = false;
    for (const char *const *o = c->options; *o; o++) {
        if ((*o)[0] == '!' && strcmp(*o + 1, flag) == 0)
            return false;
        takes |= strcmp(*o, "*") == 0 || strcmp(*o, flag) == 0;
    }
    return takes;
}

const tt_option *tt_command_option(const tt_command *c, size_t *at)
{
    size_t count;
    const tt_option *rows = tt_option_rows(&count);
    for (; c->options && *at < count; (*at)++)
        if (rows[*at].flag && !is_common(rows[*at].flag) && takes_option(c, rows[*at].flag))
            return &rows[(*at)++];
    return NULL;
}

/* ---- looking flags up ---- */

static bool flag_is(const tt_flag *f, tt_str name)
{
    return tt_str_is(name, f->name) || (f->short_name && tt_str_is(name, f->short_name));
}

static meaning find_in_flags(const tt_flag *flags, tt_str name)
{
    for (; flags && flags->name; flags++)
        if (flag_is(flags, name))
            return (meaning){flags->name, flags->metavar, false};
    return (meaning){0};
}

static meaning find_in_options(const tt_command *command, tt_str name)
{
    const tt_option *row;
    for (size_t at = 0; (row = tt_command_option(command, &at));)
        if (tt_str_is(name, row->flag))
            return (meaning){row->flag, row->type == TT_OPT_BOOL ? NULL : row->metavar ? row->metavar : "VALUE", true};
    return (meaning){0};
}

static meaning find_for(const tt_command *command, tt_str name)
{
    meaning m = {0};
    if (command)
        m = find_in_flags(command->flags, name);
    if (command && !m.name)
        m = find_in_options(command, name);
    return m.name ? m : find_in_flags(tt_common_flags, name);
}

static meaning find_for_any(const tt_command *commands, tt_str name)
{
    meaning m = find_for(NULL, name);
    for (; !m.name && !tt_command_is_end(commands); commands++)
        m = find_for(commands, name);
    return m;
}

/* ---- which command ---- */

/* Cuts "--name=value"; false: it has no "=". */
static bool split_flag(const char *arg, tt_str *ret_name, const char **ret_value)
{
    const char *equals = arg[1] == '-' ? strchr(arg, '=') : NULL;
    *ret_name = equals ? (tt_str){arg, (size_t)(equals - arg)} : tt_str_of(arg);
    *ret_value = equals ? equals + 1 : NULL;
    return equals != NULL;
}

static bool is_flag(const char *arg) { return arg[0] == '-' && arg[1] != '\0'; }

/* The first two words of the line that are not flags or their values. */
static void find_words(const tt_command *commands, int argc, char **argv, const char *ret_words[2])
{
    size_t n = 0;
    for (int i = 1; i < argc && n < 2; i++) {
        tt_str name;
        const char *value;
        if (strcmp(argv[i], "--") == 0)
            return;
        if (!is_flag(argv[i]))
            ret_words[n++] = argv[i];
        else if (!split_flag(argv[i], &name, &value) && find_for_any(commands, name).metavar)
            i++;
    }
}

static const tt_command *find_command(const tt_command *commands, const char *noun, const char *verb)
{
    for (; !tt_command_is_end(commands); commands++) {
        bool same_noun = noun ? commands->noun && strcmp(commands->noun, noun) == 0 : !commands->noun;
        if (same_noun && commands->verb && verb && strcmp(commands->verb, verb) == 0)
            return commands;
    }
    return NULL;
}

static bool is_noun(const tt_command *commands, const char *word)
{
    for (; !tt_command_is_end(commands); commands++)
        if (commands->noun && strcmp(commands->noun, word) == 0)
            return true;
    return false;
}

/* ---- did you mean ---- */

static void guess_flags(tt_nearest *g, const tt_command *command)
{
    for (const tt_flag *f = tt_common_flags; f->name; f++)
        tt_nearest_offer(g, tt_str_of(f->name));
    for (const tt_flag *f = command ? command->flags : NULL; f && f->name; f++)
        if (f->help)
            tt_nearest_offer(g, tt_str_of(f->name));
    const tt_option *row;
    for (size_t at = 0; command && (row = tt_command_option(command, &at));)
        tt_nearest_offer(g, tt_str_of(row->flag));
}

static const char *help_of(const tt_command *command, char out[128])
{
    if (command)
        snprintf(out, 128, "tutti %s%s%s --help", command->noun ? command->noun : "", command->noun ? " " : "", command->verb);
    else
        snprintf(out, 128, "tutti --help");
    return out;
}

static tt_rc unknown_flag(const tt_command *command, tt_str name, tt_err *err)
{
    tt_nearest g = tt_nearest_start(name);
    guess_flags(&g, command);
    char help[128];
    if (g.best.ptr)
        return tt_fail(err, TT_USAGE, "unknown flag `%.*s`: did you mean `%.*s`?", TT_STR_ARG(name), TT_STR_ARG(g.best));
    return tt_fail(err, TT_USAGE, "unknown flag `%.*s`: see `%s`", TT_STR_ARG(name), help_of(command, help));
}

static tt_rc unknown_noun(const tt_command *commands, const char *word, tt_err *err)
{
    tt_nearest g = tt_nearest_start(tt_str_of(word));
    for (; !tt_command_is_end(commands); commands++)
        tt_nearest_offer(&g, tt_str_of(commands->noun ? commands->noun : commands->verb));
    if (g.best.ptr)
        return tt_fail(err, TT_USAGE, "unknown command `%s`: did you mean `tutti %.*s`?", word, TT_STR_ARG(g.best));
    return tt_fail(err, TT_USAGE, "unknown command `%s`: see `tutti --help`", word);
}

static tt_rc unknown_verb(const tt_command *commands, const char *noun, const char *word, tt_err *err)
{
    tt_nearest g = tt_nearest_start(tt_str_of(word));
    for (; !tt_command_is_end(commands); commands++)
        if (commands->noun && strcmp(commands->noun, noun) == 0)
            tt_nearest_offer(&g, tt_str_of(commands->verb));
    if (g.best.ptr)
        return tt_fail(err, TT_USAGE, "unknown command `%s %s`: did you mean `tutti %s %.*s`?", noun, word, noun, TT_STR_ARG(g.best));
    return tt_fail(err, TT_USAGE, "unknown command `%s %s`: see `tutti %s --help`", noun, word, noun);
}

/* Sets command or noun; *ret_word_count: how many words they took. */
static tt_rc choose(const tt_command *commands, const char *const words[2], tt_parsed *p, size_t *ret_word_count, tt_err *err)
{
    *ret_word_count = 0;
    if (!words[0])
        return p->help = true, TT_OK;
    const tt_command *top = find_command(commands, NULL, words[0]);
    bool noun = is_noun(commands, words[0]);
    if (!top && !noun)
        return unknown_noun(commands, words[0], err);
    *ret_word_count = 1;
    p->noun = noun ? words[0] : NULL;
    p->command = noun ? find_command(commands, words[0], words[1]) : NULL;
    if (p->command)
        return *ret_word_count = 2, TT_OK;
    p->command = top;
    if (!top && words[1])
        return unknown_verb(commands, words[0], words[1], err);
    p->help |= !top;
    return TT_OK;
}

/* ---- the flags and operands ---- */

typedef struct {
    const tt_command *command;
    int argc;
    char **argv;
    int at;
    size_t words_to_skip;
    tt_parsed *out;
} walk;

static tt_rc store(walk *w, meaning m, const char *value, tt_err *err)
{
    tt_parsed *p = w->out;
    p->help |= strcmp(m.name, "--help") == 0;
    p->version |= strcmp(m.name, "--version") == 0;
    p->verbosity += strcmp(m.name, "--verbose") == 0;
    if (!tt_vec_push(&p->given, (tt_given){m.name, value, m.is_option}))
        return tt_fail(err, TT_NOMEM, "out of memory");
    return TT_OK;
}

static tt_rc next_value(walk *w, meaning m, const char **ret, tt_err *err)
{
    if (w->at + 1 >= w->argc)
        return tt_fail(err, TT_USAGE, "flag `%s` needs a value: %s %s", m.name, m.name, m.metavar);
    *ret = w->argv[++w->at];
    return TT_OK;
}

static tt_rc take_long(walk *w, const char *arg, tt_err *err)
{
    tt_str name;
    const char *value;
    split_flag(arg, &name, &value);
    meaning m = find_for(w->command, name);
    if (!m.name)
        return unknown_flag(w->command, name, err);
    if (m.metavar && !value)
        TT_TRY(next_value(w, m, &value, err));
    if (!m.metavar && value && !m.is_option)
        return tt_fail(err, TT_USAGE, "flag `%s` takes no value", m.name);
    return store(w, m, value, err);
}

/* "-n", "-n5", "-n=5", "-qy". */
static tt_rc take_short(walk *w, const char *arg, tt_err *err)
{
    for (const char *p = arg + 1; *p; p++) {
        char name[3] = {'-', *p, '\0'};
        meaning m = find_for(w->command, tt_str_of(name));
        if (!m.name)
            return unknown_flag(w->command, tt_str_of(p == arg + 1 ? arg : name), err);
        if (m.metavar) {
            const char *value = p[1] == '=' ? p + 2 : p + 1;
            if (p[1] == '\0')
                TT_TRY(next_value(w, m, &value, err));
            return store(w, m, value, err);
        }
        TT_TRY(store(w, m, NULL, err));
    }
    return TT_OK;
}

static tt_rc take_word(walk *w, const char *word, tt_err *err)
{
    if (w->words_to_skip) {
        w->words_to_skip--;
        return TT_OK;
    }
    return tt_vec_push(&w->out->operands, word) ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc take_all(walk *w, tt_err *err)
{
    bool flags = true;
    for (w->at = 1; w->at < w->argc; w->at++) {
        const char *arg = w->argv[w->at];
        if (flags && strcmp(arg, "--") == 0)
            flags = false;
        else if (!flags || !is_flag(arg))
            TT_TRY(take_word(w, arg, err));
        else
            TT_TRY(arg[1] == '-' ? take_long(w, arg, err) : take_short(w, arg, err));
    }
    return TT_OK;
}

static bool ends_with(const char *text, const char *tail) { return tt_str_ends(tt_str_of(text), tt_str_of(tail)); }

static tt_rc check_operands(const tt_command *c, const tt_parsed *p, tt_err *err)
{
    char help[128];
    size_t least = 0, most = 0;
    const char *missing = NULL;
    for (const tt_operand *o = c->operands; o && o->name; o++) {
        most = ends_with(o->name, "...") || ends_with(o->name, "...]") || most == SIZE_MAX ? SIZE_MAX : most + 1;
        if (o->name[0] != '[' && ++least > p->operands.len && !missing)
            missing = o->name;
    }
    if (missing)
        return tt_fail(err, TT_USAGE, "%s is missing: see `%s`", missing, help_of(c, help));
    if (p->operands.len > most)
        return tt_fail(err, TT_USAGE, "one argument too many: `%s`: see `%s`", p->operands.ptr[most], help_of(c, help));
    return TT_OK;
}

tt_rc tt_parse_args(const tt_command *commands, int argc, char **argv, tt_parsed *ret, tt_err *err)
{
    const char *words[2] = {NULL, NULL};
    size_t word_count;
    *ret = (tt_parsed){0};
    find_words(commands, argc, argv, words);
    bool asks = words[0] && strcmp(words[0], "help") == 0 && argc > 1 && argv[1] == words[0];
    if (asks) { /* `tutti help job start` */
        ret->help = true;
        argc--;
        argv++;
        words[0] = words[1] = NULL;
        find_words(commands, argc, argv, words);
    }
    TT_TRY(choose(commands, words, ret, &word_count, err));
    walk w = {.command = ret->command, .argc = argc, .argv = argv, .words_to_skip = word_count, .out = ret};
    TT_TRY(take_all(&w, err));
    if (ret->help || ret->version)
        return TT_OK;
    return check_operands(ret->command, ret, err);
}

void tt_parsed_deinit(tt_parsed *p)
{
    tt_vec_deinit(&p->given);
    tt_vec_deinit(&p->operands);
}

tt_str tt_parsed_value(const tt_parsed *p, const char *name)
{
    for (size_t i = p->given.len; i-- > 0;)
        if (strcmp(p->given.ptr[i].name, name) == 0)
            return tt_str_of(p->given.ptr[i].value);
    return (tt_str){0};
}

bool tt_parsed_has(const tt_parsed *p, const char *name)
{
    for (size_t i = 0; i < p->given.len; i++)
        if (strcmp(p->given.ptr[i].name, name) == 0)
            return true;
    return false;
}
