#include "cli/help.h"

#include "cli/cli.h"
#include "cli/output.h"

enum { COMMAND_INDENT = 22, FLAG_INDENT = 26 };

/* Nouns of the table, and what they are about. A new noun gets a row here. */
static const struct {
    const char *noun, *summary;
} nouns[] = {
    {"job", "jobs: from an input through your workers into one output"},
    {"parquet", "look into Parquet files"},
    {"worker", "worker processes"},
    {"execution", "tasks: what was queued, what runs, what became of it"},
    {"queue", "queues and limits of tasks"},
    {"program", "single files that do work, and their settings"},
    {"schedule", "times, and what happens at them"},
    {"secret", "passwords and other secrets, sealed"},
    {"pipeline", "pipelines: what is transformed into what, and when"},
    {"db", "the configuration database of pipelines"},
    {"administrator", "who may change pipelines after signing in"},
    {"dataset", "Parquet files with a name, for queries"},
    {"lake", "tables of the data lake: publish, fetch, compare"},
    {"config", "the configuration"},
};

const char *tt_noun_summary(const char *noun)
{
    for (size_t i = 0; i < TT_COUNT(nouns); i++)
        if (strcmp(nouns[i].noun, noun) == 0)
            return nouns[i].summary;
    return "";
}

void tt_each_noun(const tt_command *commands, void (*fn)(void *arg, const char *noun), void *arg)
{
    for (const tt_command *c = commands; !tt_command_is_end(c); c++) {
        bool seen = !c->noun;
        for (const tt_command *before = commands; before < c && !seen; before++)
            seen = before->noun && strcmp(before->noun, c->noun) == 0;
        if (!seen)
            fn(arg, c->noun);
    }
}

/* ---- pieces ---- */

static size_t next_word(tt_str rest)
{
    ptrdiff_t blank = tt_str_find(rest, ' ');
    return blank < 0 ? rest.len : (size_t)blank;
}

/* Words of text from the current column on, wrapped, further lines indented; ends the line. */
static void put_wrapped(tt_buf *out, const char *text, size_t at, size_t indent, unsigned columns)
{
    tt_str rest = tt_str_of(text);
    bool first = true;
    while (rest.len) {
        size_t n = next_word(rest);
        if (!first && at + 1 + n > columns) {
            tt_buf_printf(out, "\n%*s", (int)indent, "");
            at = indent;
            first = true;
        }
        if (!first)
            tt_buf_char(out, ' ');
        tt_buf_put(out, rest.ptr, n);
        at += n + !first;
        first = false;
        rest = tt_str_slice(rest, n + 1, rest.len);
    }
    tt_buf_char(out, '\n');
}

static void put_row(tt_buf *out, tt_str head, const char *text, size_t indent, unsigned columns)
{
    tt_buf_cstr_put(out, "  ");
    tt_buf_str(out, head);
    size_t at = 2 + head.len;
    if (at + 2 > indent) {
        tt_buf_char(out, '\n');
        at = 0;
    }
    tt_buf_printf(out, "%*s", (int)(indent - at), "");
    put_wrapped(out, text, indent, indent, columns);
}

static void put_title(tt_buf *out, const char *title, tt_help_style style) { tt_buf_printf(out, "\n%s%s%s\n", style.bold, title, style.off); }

void tt_help_flag_head(const tt_flag *flag, tt_buf *out)
{
    tt_buf_printf(out, "%s%s%s", flag->short_name ? flag->short_name : "    ", flag->short_name ? ", " : "", flag->name);
    if (flag->metavar)
        tt_buf_printf(out, " %s%s", flag->metavar, flag->repeated ? "..." : "");
}

static void put_flags(const tt_flag *flags, tt_help_style style, tt_buf *out)
{
    for (; flags->name; flags++) {
        if (!flags->help)
            continue;
        TT_BUF_AUTO tt_buf head = {0}, text = {0};
        tt_help_flag_head(flags, &head);
        tt_buf_cstr_put(&text, flags->help);
        if (flags->default_text)
            tt_buf_printf(&text, " (default: %s)", flags->default_text);
        put_row(out, tt_buf_view(&head), tt_buf_cstr(&text), FLAG_INDENT, style.columns);
    }
}

static void put_options(const tt_command *c, tt_help_style style, tt_buf *out)
{
    const tt_option *row;
    for (size_t at = 0; (row = tt_command_option(c, &at));) {
        tt_flag flag = {row->flag, NULL, row->metavar, row->secret ? NULL : row->default_text, row->type == TT_OPT_LIST, row->help};
        put_flags((const tt_flag[]){flag, {NULL}}, style, out);
    }
}

void tt_help_usage(const tt_command *c, tt_buf *out)
{
    tt_buf_printf(out, "tutti %s%s%s", c->noun ? c->noun : "", c->noun ? " " : "", c->verb);
    for (const tt_operand *o = c->operands; o && o->name; o++)
        tt_buf_printf(out, " %s", o->name);
    if ((c->flags && c->flags->name && c->flags->help) || c->options)
        tt_buf_cstr_put(out, " [flags]");
}

/* ---- the three pages ---- */

typedef struct {
    tt_buf *out;
    unsigned columns;
} list_rows;

static void put_list_row(void *arg, const char *head, const char *text)
{
    const list_rows *rows = arg;
    put_row(rows->out, tt_str_of(head), text, FLAG_INDENT, rows->columns);
}

void tt_help_command(const tt_command *c, tt_help_style style, tt_buf *out)
{
    tt_buf_cstr_put(out, "Usage: ");
    tt_help_usage(c, out);
    tt_buf_cstr_put(out, "\n\n");
    put_wrapped(out, c->summary, 0, 0, style.columns);
    tt_str details = tt_str_of(c->details);
    for (tt_str paragraph; tt_str_cut(&details, '\n', &paragraph);) {
        char *text = tt_str_dup(paragraph);
        put_wrapped(out, text ? text : "", 0, 0, style.columns);
        free(text);
    }
    if (c->operands && c->operands->name)
        put_title(out, "Arguments", style);
    for (const tt_operand *o = c->operands; o && o->name; o++)
        put_row(out, tt_str_of(o->name), o->help, FLAG_INDENT, style.columns);
    if (c->flags && c->flags->name && c->flags->help)
        put_title(out, "Flags", style);
    if (c->flags)
        put_flags(c->flags, style, out);
    if (c->options)
        put_title(out, "Settings (also in the environment and the configuration file)", style);
    if (c->options)
        put_options(c, style, out);
    if (c->list) {
        put_title(out, c->list_title, style);
        c->list(put_list_row, &(list_rows){out, style.columns});
    }
    if (c->example) {
        put_title(out, "Example", style);
        tt_buf_printf(out, "  %s\n", c->example);
    }
    tt_buf_cstr_put(out, "\nFlags that every command takes: tutti --help\n");
}

/* noun NULL: the top level. A top-level command of the noun's name (`tutti worker`) stands among the noun's. */
static void put_commands(const tt_command *commands, const char *noun, tt_help_style style, tt_buf *out)
{
    for (const tt_command *c = commands; !tt_command_is_end(c); c++) {
        bool top = !c->noun && noun && strcmp(c->verb, noun) == 0;
        if (!top && (noun ? !c->noun || strcmp(c->noun, noun) != 0 : c->noun != NULL))
            continue;
        TT_BUF_AUTO tt_buf head = {0};
        if (noun)
            tt_buf_printf(&head, "%s%s", top ? "" : noun, top ? "" : " ");
        tt_buf_cstr_put(&head, c->verb);
        for (const tt_operand *o = c->operands; o && o->name; o++)
            tt_buf_printf(&head, " %s", o->name);
        put_row(out, tt_buf_view(&head), c->summary, COMMAND_INDENT, style.columns);
    }
}

void tt_help_noun(const tt_command *commands, const char *noun, tt_help_style style, tt_buf *out)
{
    tt_buf_printf(out, "Usage: tutti %s VERB [flags]\n", noun);
    put_title(out, "Commands", style);
    put_commands(commands, noun, style, out);
    tt_buf_printf(out, "\nMore: tutti %s VERB --help\n", noun);
}

typedef struct {
    const tt_command *commands;
    tt_help_style style;
    tt_buf *out;
} noun_list;

static void put_noun(void *arg, const char *noun)
{
    noun_list *list = arg;
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_printf(&text, "%s:", tt_noun_summary(noun));
    for (const tt_command *c = list->commands; !tt_command_is_end(c); c++)
        if (c->noun && strcmp(c->noun, noun) == 0)
            tt_buf_printf(&text, " %s", c->verb);
    put_row(list->out, tt_str_of(noun), tt_buf_cstr(&text), COMMAND_INDENT, list->style.columns);
}

void tt_help_all(const tt_command *commands, tt_help_style style, tt_buf *out)
{
    put_wrapped(out, "tutti hands pieces of work to workers, keeps a ledger of every piece, and never loses or doubles one.", 0, 0, style.columns);
    tt_buf_cstr_put(out, "\nUsage: tutti COMMAND [flags]\n");
    put_title(out, "Commands", style);
    put_commands(commands, NULL, style, out);
    put_title(out, "Commands on things", style);
    tt_each_noun(commands, put_noun, &(noun_list){commands, style, out});
    put_title(out, "Flags that every command takes", style);
    put_flags(tt_common_flags, style, out);
    tt_buf_cstr_put(out, "\nMore: tutti COMMAND --help\n");
}

tt_rc tt_help_show(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    tt_help_style style = {tt_term_columns(1), tt_tint_on(cli, 1, TT_TINT_BOLD), tt_tint_off(cli, 1)};
    const tt_parsed *p = &cli->parsed;
    if (p->command)
        tt_help_command(p->command, style, &out);
    if (p->command && p->noun && !p->command->noun) /* `tutti worker` runs, `tutti worker list` is about them */
        tt_buf_char(&out, '\n');
    if (p->noun && !(p->command && p->command->noun))
        tt_help_noun(cli->commands, p->noun, style, &out);
    if (!p->noun && !p->command)
        tt_help_all(cli->commands, style, &out);
    TT_TRY(tt_buf_check(&out, err));
    return tt_out(cli, tt_buf_view(&out), err);
}
