#include "cli/man.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/help.h"
#include "cli/output.h"

/* ---- roff ---- */

/* Text on lines of its own: backslashes and leading dots escaped, `code` in bold. */
static void put_text(tt_buf *out, const char *text)
{
    bool bold = false, line_start = out->len == 0 || out->ptr[out->len - 1] == '\n';
    for (; *text; text++) {
        if (line_start && strchr(".'", *text))
            tt_buf_cstr_put(out, "\\&");
        line_start = *text == '\n';
        if (*text == '`')
            tt_buf_cstr_put(out, (bold = !bold) ? "\\fB" : "\\fR");
        else if (*text == '\\')
            tt_buf_cstr_put(out, "\\e");
        else if (*text == '-')
            tt_buf_cstr_put(out, "\\-");
        else
            tt_buf_char(out, *text);
    }
    if (bold)
        tt_buf_cstr_put(out, "\\fR");
}

static void put_line(tt_buf *out, const char *text)
{
    put_text(out, text);
    tt_buf_char(out, '\n');
}

/* The day of the build as 2026-01-31; compilers take it from SOURCE_DATE_EPOCH where that is set. */
static const char *build_day(char out[40])
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec", date[] = __DATE__;
    int month = 1;
    while (month < 12 && strncmp(months + 3 * (month - 1), date, 3) != 0)
        month++;
    snprintf(out, 40, "%.4s-%02d-%c%c", date + 7, month, date[4] == ' ' ? '0' : date[4], date[5]);
    return out;
}

static void put_title(tt_buf *out, const char *name, int section, const char *summary)
{
    char day[40];
    tt_buf_cstr_put(out, ".TH \"");
    for (const char *p = name; *p; p++)
        tt_buf_char(out, (char)toupper((unsigned char)*p));
    tt_buf_printf(out, "\" %d \"%s\" \"tutti %s\"\n.SH NAME\n", section, build_day(day), TT_VERSION);
    put_text(out, name);
    tt_buf_cstr_put(out, " \\- ");
    put_line(out, summary);
}

static void put_flags(tt_buf *out, const tt_flag *flags)
{
    for (; flags && flags->name; flags++) {
        if (!flags->help)
            continue;
        tt_buf_cstr_put(out, ".TP\n.B ");
        if (flags->short_name) {
            put_text(out, flags->short_name);
            tt_buf_cstr_put(out, ", ");
        }
        put_text(out, flags->name);
        if (flags->metavar) {
            tt_buf_cstr_put(out, " \\fI");
            put_text(out, flags->metavar);
            tt_buf_printf(out, "\\fR%s", flags->repeated ? " (may be repeated)" : "");
        }
        tt_buf_char(out, '\n');
        put_text(out, flags->help);
        if (flags->default_text) {
            tt_buf_cstr_put(out, " (default: ");
            put_text(out, flags->default_text);
            tt_buf_char(out, ')');
        }
        tt_buf_char(out, '\n');
    }
}

static void put_command_options(tt_buf *out, const tt_command *c)
{
    const tt_option *row;
    for (size_t at = 0; (row = tt_command_option(c, &at));) {
        tt_flag flag = {row->flag, NULL, row->metavar, row->default_text, row->type == TT_OPT_LIST, row->help};
        put_flags(out, (const tt_flag[]){flag, {NULL}});
    }
}

static void put_list_row(void *arg, const char *head, const char *text)
{
    tt_buf_cstr_put(arg, ".TP\n");
    put_line(arg, head);
    put_line(arg, text);
}

static void put_command(tt_buf *out, const tt_command *c)
{
    TT_BUF_AUTO tt_buf usage = {0};
    tt_help_usage(c, &usage);
    tt_buf_cstr_put(out, ".SS ");
    put_line(out, tt_buf_cstr(&usage));
    put_line(out, c->summary);
    tt_str details = tt_str_of(c->details);
    for (tt_str paragraph; tt_str_cut(&details, '\n', &paragraph);) {
        char *text = tt_str_dup(paragraph);
        tt_buf_cstr_put(out, ".PP\n");
        put_line(out, text ? text : "");
        free(text);
    }
    for (const tt_operand *o = c->operands; o && o->name; o++) {
        tt_buf_cstr_put(out, ".TP\n.I ");
        put_line(out, o->name);
        put_line(out, o->help);
    }
    put_flags(out, c->flags);
    put_command_options(out, c);
    if (c->list) {
        tt_buf_cstr_put(out, ".PP\n");
        put_line(out, c->list_title);
        c->list(put_list_row, out);
    }
    if (c->example) {
        tt_buf_cstr_put(out, ".PP\nExample:\n.PP\n.RS\n.nf\n");
        put_line(out, c->example);
        tt_buf_cstr_put(out, ".fi\n.RE\n");
    }
}

/* ---- pages ---- */

static const struct {
    int code;
    const char *text;
} exits[] = {
    {0, "done"}, {1, "the operation failed"}, {2, "wrong usage or configuration"}, {3, "the data did not pass a check, or a job ended with errors"},
    {4, "nothing of that name, or nothing left"}, {5, "conflict: it exists already, or is locked"}, {6, "not allowed"},
    {7, "the server cannot be reached"}, {8, "canceled"}, {124, "timed out"},
};

static void put_exits(tt_buf *out)
{
    tt_buf_cstr_put(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < TT_COUNT(exits); i++) {
        tt_buf_printf(out, ".TP\n%d\n", exits[i].code);
        put_line(out, exits[i].text);
    }
    tt_buf_cstr_put(out, ".PP\nA signal gives 128 and its number.\n");
}

static void put_see_noun(void *arg, const char *noun) { tt_buf_printf(arg, ".BR tutti\\-%s (1),\n", noun); }

static void page_main(const tt_command *commands, tt_buf *out)
{
    put_title(out, "tutti", 1, "hand out pieces of work, and lose or double none");
    tt_buf_cstr_put(out, ".SH SYNOPSIS\n.B tutti\n.I COMMAND\n[\\fIflags\\fR]\n.SH DESCRIPTION\n"
                         "tutti hands pieces of work to workers, keeps a ledger of every piece, and never loses or doubles one.\n"
                         "A verb talks to the server of the data directory through its socket, or to the one that \\fB\\-\\-server\\fR names;\n"
                         "where no server runs, most verbs do their work in their own process.\n.SH COMMANDS\n");
    for (const tt_command *c = commands; !tt_command_is_end(c); c++)
        if (!c->noun)
            put_command(out, c);
    tt_buf_cstr_put(out, ".SH OPTIONS\nEvery command takes these.\n");
    put_flags(out, tt_common_flags);
    put_exits(out);
    tt_buf_cstr_put(out, ".SH SEE ALSO\n");
    tt_each_noun(commands, put_see_noun, out);
    tt_buf_cstr_put(out, ".BR tutti.ini (5)\n");
}

static void page_noun(const tt_command *commands, const char *noun, tt_buf *out)
{
    char name[64];
    snprintf(name, sizeof name, "tutti-%s", noun);
    put_title(out, name, 1, tt_noun_summary(noun));
    tt_buf_cstr_put(out, ".SH SYNOPSIS\n");
    for (const tt_command *c = commands; !tt_command_is_end(c); c++)
        if (c->noun && strcmp(c->noun, noun) == 0)
            tt_buf_printf(out, ".B tutti %s %s\n.br\n", noun, c->verb);
    out->len -= strlen(".br\n");
    tt_buf_cstr_put(out, ".SH DESCRIPTION\n");
    for (const tt_command *c = commands; !tt_command_is_end(c); c++)
        if (c->noun && strcmp(c->noun, noun) == 0)
            put_command(out, c);
    tt_buf_cstr_put(out, ".SH SEE ALSO\n.BR tutti (1),\n.BR tutti.ini (5)\n");
}

static void put_option(tt_buf *out, const tt_option *row)
{
    char env[64];
    tt_buf_cstr_put(out, ".TP\n.B ");
    put_line(out, strchr(row->key, '.') ? strchr(row->key, '.') + 1 : row->key);
    put_line(out, row->help);
    tt_buf_cstr_put(out, "Environment: ");
    put_text(out, tt_option_env_name(row, env));
    if (row->aliases) {
        tt_buf_cstr_put(out, "; older: ");
        put_text(out, row->aliases);
    }
    if (row->flag) {
        tt_buf_cstr_put(out, "; flag: ");
        put_text(out, row->flag);
    }
    if (row->default_text) {
        tt_buf_cstr_put(out, "; default: ");
        put_text(out, row->default_text);
    }
    tt_buf_cstr_put(out, ".\n");
}

static void page_ini(tt_buf *out)
{
    size_t count;
    tt_str section = {0};
    const tt_option *rows = tt_option_rows(&count);
    put_title(out, "tutti.ini", 5, "configuration of tutti");
    tt_buf_cstr_put(out, ".SH DESCRIPTION\nA setting comes from the command line, else from the environment, else from the file, else it has its default.\n"
                         "The file is the one that \\fB\\-\\-config\\fR names, or the first of\n.IR ./tutti.ini ,\n"
                         ".I $XDG_CONFIG_HOME/tutti/tutti.ini\nand\n.IR /etc/tutti/tutti.ini .\n"
                         "It has sections in brackets, with lines of the form \\fIname\\fR = \\fIvalue\\fR. An unknown name is an error.\n"
                         ".SH SETTINGS\nOutside any section:\n");
    for (size_t i = 0; i < count; i++) {
        ptrdiff_t dot = tt_str_find(tt_str_of(rows[i].key), '.');
        tt_str own = dot < 0 ? (tt_str){0} : tt_str_slice(tt_str_of(rows[i].key), 0, (size_t)dot);
        if (!tt_str_eq(own, section))
            tt_buf_printf(out, ".SS [%.*s]\n", TT_STR_ARG(own));
        section = own;
        put_option(out, &rows[i]);
    }
    tt_buf_cstr_put(out, ".SH SEE ALSO\n.BR tutti (1)\n");
}

typedef struct {
    const tt_command *commands;
    tt_str page;
    tt_buf *out;
    bool found;
} noun_page;

static void try_noun(void *arg, const char *noun)
{
    noun_page *wanted = arg;
    if (!tt_str_starts(wanted->page, TT_STR("tutti-")) || !tt_str_is(tt_str_slice(wanted->page, 6, wanted->page.len), noun))
        return;
    page_noun(wanted->commands, noun, wanted->out);
    wanted->found = true;
}

static bool write_long_lines(const tt_command *commands, tt_str page, tt_buf *out)
{
    if (tt_str_is(page, "tutti"))
        return page_main(commands, out), true;
    if (tt_str_is(page, "tutti.ini"))
        return page_ini(out), true;
    noun_page wanted = {commands, page, out, false};
    tt_each_noun(commands, try_noun, &wanted);
    return wanted.found;
}

/* Where a text line is to be cut: a blank before the margin behind which no control character stands. */
static size_t cut_at(tt_str line)
{
    enum { MARGIN = 78 };
    if (line.len <= MARGIN)
        return line.len;
    for (size_t i = MARGIN; i > 0; i--)
        if (line.ptr[i] == ' ' && !strchr(".'", line.ptr[i + 1]))
            return i;
    return line.len;
}

bool tt_man_write(const tt_command *commands, tt_str page, tt_buf *out)
{
    TT_BUF_AUTO tt_buf text = {0};
    bool filled = true, found = write_long_lines(commands, page, &text);
    tt_str rest = tt_buf_view(&text);
    for (tt_str line; rest.len && tt_str_cut(&rest, '\n', &line);) {
        filled = tt_str_is(line, ".fi") || (filled && !tt_str_is(line, ".nf"));
        while (filled && line.len && line.ptr[0] != '.' && cut_at(line) < line.len) {
            tt_buf_str(out, tt_str_slice(line, 0, cut_at(line)));
            tt_buf_char(out, '\n');
            line = tt_str_slice(line, cut_at(line) + 1, line.len);
        }
        tt_buf_str(out, line);
        tt_buf_char(out, '\n');
    }
    out->failed |= text.failed;
    return found;
}

/* ---- the command ---- */

static tt_rc write_file(const char *path, tt_str text, tt_err *err)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot write `%s`", path);
    while (text.len) {
        ssize_t n = write(fd, text.ptr, text.len);
        if (n < 0 && errno != EINTR)
            return close(fd), tt_fail_errno(err, errno, "cannot write `%s`", path);
        text = tt_str_slice(text, n > 0 ? (size_t)n : 0, text.len);
    }
    return close(fd) == 0 ? TT_OK : tt_fail_errno(err, errno, "cannot write `%s`", path);
}

typedef struct {
    tt_cli *cli;
    const char *dir;
    tt_err *err;
    tt_rc rc;
} page_writer;

static void write_page(page_writer *w, const char *page)
{
    TT_BUF_AUTO tt_buf text = {0}, path = {0};
    if (w->rc != TT_OK)
        return;
    tt_man_write(w->cli->commands, tt_str_of(page), &text);
    tt_buf_printf(&path, "%s/%s.%c", w->dir, page, strcmp(page, "tutti.ini") == 0 ? '5' : '1');
    w->rc = tt_buf_check(&text, w->err);
    if (w->rc == TT_OK)
        w->rc = write_file(tt_buf_cstr(&path), tt_buf_view(&text), w->err);
    if (w->rc == TT_OK)
        w->rc = tt_outf(w->cli, w->err, "%s\n", tt_buf_cstr(&path));
}

static void write_noun_page(void *arg, const char *noun)
{
    char page[64];
    snprintf(page, sizeof page, "tutti-%s", noun);
    write_page(arg, page);
}

static tt_rc write_all(tt_cli *cli, const char *dir, tt_err *err)
{
    page_writer w = {cli, dir, err, TT_OK};
    if (mkdir(dir, 0755) != 0 && errno != EEXIST)
        return tt_fail_errno(err, errno, "cannot make the directory `%s`", dir);
    write_page(&w, "tutti");
    tt_each_noun(cli->commands, write_noun_page, &w);
    write_page(&w, "tutti.ini");
    return w.rc;
}

static tt_rc man(tt_cli *cli, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_str dir = tt_cli_flag(cli, "--dir"), page = tt_cli_operand(cli, 0);
    if (dir.ptr)
        return write_all(cli, dir.ptr, err);
    if (!tt_man_write(cli->commands, page.ptr ? page : TT_STR("tutti"), &text))
        return tt_fail(err, TT_NOT_FOUND, "there is no manual page `%.*s`: there are tutti, tutti-NOUN and tutti.ini", TT_STR_ARG(page));
    TT_TRY(tt_buf_check(&text, err));
    return tt_out(cli, tt_buf_view(&text), err);
}

TT_CLI_COMMAND(tt_cmd_man, man)
