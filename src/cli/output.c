#include "cli/output.h"

#include <errno.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli/cli.h"

tt_rc tt_out(tt_cli *cli, tt_str bytes, tt_err *err)
{
    while (bytes.len) {
        ssize_t n = write(1, bytes.ptr, bytes.len);
        if (n >= 0) {
            bytes = tt_str_slice(bytes, (size_t)n, bytes.len);
            continue;
        }
        if (errno == EPIPE) {
            cli->broken_pipe = true;
            return tt_fail(err, TT_CANCELED, "the reader of standard output is gone");
        }
        if (errno == EAGAIN)
            poll(&(struct pollfd){.fd = 1, .events = POLLOUT}, 1, -1);
        else if (errno != EINTR)
            return tt_fail_errno(err, errno, "cannot write to standard output");
    }
    return TT_OK;
}

tt_rc tt_outf(tt_cli *cli, tt_err *err, const char *fmt, ...)
{
    TT_BUF_AUTO tt_buf text = {0};
    va_list args;
    va_start(args, fmt);
    tt_buf_vprintf(&text, fmt, args);
    va_end(args);
    TT_TRY(tt_buf_check(&text, err));
    return tt_out(cli, tt_buf_view(&text), err);
}

tt_rc tt_out_document(tt_cli *cli, tt_str json, tt_err *err)
{
    TT_TRY(tt_out(cli, tt_str_trim(json), err));
    return tt_out(cli, TT_STR("\n"), err);
}

void tt_say(tt_cli *cli, const char *fmt, ...)
{
    if (cli->quiet || cli->json)
        return;
    TT_BUF_AUTO tt_buf text = {0};
    va_list args;
    va_start(args, fmt);
    tt_buf_vprintf(&text, fmt, args);
    va_end(args);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7F)
            text.ptr[i] = ' ';
    fprintf(stderr, "tutti: %s\n", tt_buf_cstr(&text));
}

tt_rc tt_confirm(tt_cli *cli, const char *question, tt_err *err)
{
    if (tt_cli_has(cli, "--yes"))
        return TT_OK;
    if (!isatty(0))
        return tt_fail(err, TT_USAGE, "%s Nobody is there to answer: add -y when you are sure", question);
    fprintf(stderr, "%s [y/N] ", question);
    char line[16] = "";
    if (!fgets(line, sizeof line, stdin) || (line[0] != 'y' && line[0] != 'Y'))
        return tt_fail(err, TT_CANCELED, "nothing was done");
    return TT_OK;
}

unsigned tt_term_columns(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col < 20)
        return 80;
    return size.ws_col > 120 ? 120 : size.ws_col;
}

static bool wants_color(const tt_cli *cli, int stream) { return cli->color && (stream == 2 ? cli->stderr_tty : cli->stdout_tty); }

const char *tt_tint_on(const tt_cli *cli, int stream, tt_tint tint)
{
    static const char *const codes[] = {
        [TT_TINT_NONE] = "", [TT_TINT_BOLD] = "\x1b[1m", [TT_TINT_GOOD] = "\x1b[32m", [TT_TINT_WARN] = "\x1b[33m", [TT_TINT_BAD] = "\x1b[31m",
    };
    return wants_color(cli, stream) ? codes[tint] : "";
}

const char *tt_tint_off(const tt_cli *cli, int stream) { return wants_color(cli, stream) ? "\x1b[0m" : ""; }

/* ---- tables ---- */

typedef struct {
    size_t from, len; /* in text */
    size_t width;     /* characters */
    tt_tint tint;
} cell;

struct tt_table {
    const char *const *headings;
    size_t columns;
    tt_buf text;
    TT_VEC(cell) cells;
};

tt_table *tt_table_new(const char *const *headings)
{
    tt_table *t = TT_NEW(tt_table);
    t->headings = headings;
    while (headings[t->columns])
        t->columns++;
    return t;
}

void tt_table_free(tt_table *t)
{
    if (!t)
        return;
    tt_buf_deinit(&t->text);
    tt_vec_deinit(&t->cells);
    free(t);
}

static size_t width_of(tt_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return n;
}

void tt_table_tinted(tt_table *t, tt_str text, tt_tint tint)
{
    cell c = {.from = t->text.len, .width = width_of(text), .tint = tint};
    for (size_t i = 0; i < text.len; i++)
        tt_buf_char(&t->text, (unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7F ? ' ' : text.ptr[i]);
    c.len = t->text.len - c.from;
    if (!tt_vec_push(&t->cells, c))
        t->text.failed = true;
}

void tt_table_cell(tt_table *t, tt_str text) { tt_table_tinted(t, text, TT_TINT_NONE); }

void tt_table_int(tt_table *t, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof digits, "%lld", (long long)value);
    tt_table_cell(t, tt_str_of(digits));
}

static bool is_right(const tt_table *t, size_t column) { return t->headings[column][0] == '>'; }
static const char *heading(const tt_table *t, size_t column) { return t->headings[column] + is_right(t, column); }

static size_t column_width(const tt_table *t, size_t column)
{
    size_t widest = strlen(heading(t, column));
    for (size_t i = column; i < t->cells.len; i += t->columns)
        if (t->cells.ptr[i].width > widest)
            widest = t->cells.ptr[i].width;
    return widest;
}

static void put_spaces(tt_buf *out, size_t n)
{
    while (n--)
        tt_buf_char(out, ' ');
}

static void put_padded(tt_buf *out, const tt_table *t, size_t column, tt_str text, size_t text_width, size_t width, const char *on, const char *off)
{
    size_t pad = width > text_width ? width - text_width : 0;
    bool last = column + 1 == t->columns;
    if (is_right(t, column))
        put_spaces(out, pad);
    tt_buf_cstr_put(out, on);
    tt_buf_str(out, text);
    tt_buf_cstr_put(out, off);
    if (!is_right(t, column) && !last)
        put_spaces(out, pad);
    while (last && out->len && out->ptr[out->len - 1] == ' ')
        out->len--;
    tt_buf_cstr_put(out, last ? "\n" : "  ");
}

static void render_aligned(const tt_cli *cli, const tt_table *t, tt_buf *out)
{
    size_t widths[24];
    tt_assert(t->columns <= TT_COUNT(widths));
    const char *bold = tt_tint_on(cli, 1, TT_TINT_BOLD), *off = tt_tint_off(cli, 1);
    for (size_t c = 0; c < t->columns; c++)
        widths[c] = column_width(t, c);
    for (size_t c = 0; c < t->columns; c++)
        put_padded(out, t, c, tt_str_of(heading(t, c)), strlen(heading(t, c)), widths[c], bold, off);
    for (size_t i = 0; i < t->cells.len; i++) {
        const cell *at = &t->cells.ptr[i];
        tt_str text = tt_str_slice(tt_buf_view(&t->text), at->from, at->from + at->len);
        const char *on = tt_tint_on(cli, 1, at->tint);
        put_padded(out, t, i % t->columns, text, at->width, widths[i % t->columns], on, *on ? off : "");
    }
}

static void render_plain(const tt_table *t, tt_buf *out)
{
    for (size_t i = 0; i < t->cells.len; i++) {
        const cell *at = &t->cells.ptr[i];
        tt_buf_str(out, tt_str_slice(tt_buf_view(&t->text), at->from, at->from + at->len));
        tt_buf_char(out, (i + 1) % t->columns ? '\t' : '\n');
    }
}

tt_rc tt_table_print(tt_cli *cli, tt_table *t, tt_err *err)
{
    TT_BUF_AUTO tt_buf out = {0};
    TT_TRY(tt_buf_check(&t->text, err));
    cli->plain ? render_plain(t, &out) : render_aligned(cli, t, &out);
    TT_TRY(tt_buf_check(&out, err));
    return tt_out(cli, tt_buf_view(&out), err);
}

/* ---- answers ---- */

tt_rc tt_json_answer(tt_str text, json_t **ret, tt_err *err)
{
    json_error_t why;
    json_t *root = json_loadb(text.ptr ? text.ptr : "", text.len, JSON_DECODE_ANY, &why);
    if (!root)
        return tt_fail(err, TT_UNAVAILABLE, "the server's answer is not JSON: %s: does a tutti server run there?", why.text);
    *ret = root;
    return TT_OK;
}

tt_str tt_json_member_str(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_string(value) ? (tt_str){json_string_value(value), json_string_length(value)} : (tt_str){0};
}

int64_t tt_json_member_int(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    return json_is_real(value) ? (int64_t)json_real_value(value) : json_integer_value(value);
}

double tt_json_member_num(const json_t *object, const char *name) { return json_number_value(json_object_get(object, name)); }

void tt_json_cleanup(json_t **root) { json_decref(*root); }
