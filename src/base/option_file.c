#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <unistd.h>

#include "base/option_impl.h"
#include "base/reference.h"
#include "base/sys.h"

enum { FILE_LIMIT_BYTES = 1024 * 1024, LINE_LIMIT_BYTES = 64 * 1024 };

typedef struct {
    tt_options *o;
    const char *path;
    tt_str rest;        /* what inih has not seen yet */
    unsigned line;
    int seen_line[TT_OPTION_COUNT]; /* where the file set the row; 0: not */
    tt_err *err;
    tt_rc rc;           /* the first fault */
} file_reader;

static int file_fault(file_reader *f, const char *fmt, ...) TT_PRINTF(2, 3);
static int file_fault(file_reader *f, const char *fmt, ...)
{
    char text[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (f->rc == TT_OK)
        f->rc = tt_fail(f->err, TT_INVALID, "%s:%u: %s", f->path, f->line, text);
    return 0;
}

/* inih's line reader: counts lines, and refuses those that its buffers would cut. */
static char *next_line(char *out, int size, void *arg)
{
    file_reader *f = arg;
    tt_str line;
    enum { INIH_SECTION_BYTES = 49 };
    if (f->rc != TT_OK || f->rest.len == 0 || !tt_str_cut(&f->rest, '\n', &line))
        return NULL;
    f->line++;
    tt_str head = tt_str_trim(line);
    if (line.len + 3 > (size_t)size || (tt_str_starts(head, TT_STR("[")) && head.len > INIH_SECTION_BYTES)) {
        file_fault(f, "the line is too long");
        return NULL;
    }
    memcpy(out, line.ptr, line.len);
    memcpy(out + line.len, "\n", 2);
    return out;
}

/* Sections that declare things instead of setting options: "reader.NAME". */
static const char *const declaring[] = {"reader.", "writer.", "sink.", "sql.", "program."};

static bool is_declaring(const char *section)
{
    for (size_t i = 0; i < TT_COUNT(declaring); i++)
        if (strncmp(section, declaring[i], strlen(declaring[i])) == 0)
            return true;
    return false;
}

static int on_pair(void *arg, const char *section, const char *name, const char *text)
{
    file_reader *f = arg;
    if (f->rc != TT_OK)
        return 0;
    if (is_declaring(section)) {
        tt_option_declaration d = {tt_option_keep(f->o, tt_str_of(section)), tt_option_keep(f->o, tt_str_of(name)), tt_option_keep(f->o, tt_str_of(text))};
        if (!tt_vec_push(&f->o->declared, d))
            tt_option_must(NULL);
        return 1;
    }
    char key[256], hint[96];
    bool top = !*section || strcmp(section, "tutti") == 0;
    snprintf(key, sizeof key, "%s%s%s", top ? "" : section, top ? "" : ".", name);
    const tt_option *row = tt_option_find(tt_str_of(key));
    if (!row)
        return file_fault(f, "unknown setting `%s`%s", key, tt_option_hint(tt_str_of(key), hint));
    int *seen = &f->seen_line[tt_option_index(row)];
    if (*seen && row->type != TT_OPT_LIST)
        return file_fault(f, "`%s` was set in line %d already", key, *seen);
    const char *origin = tt_option_must(tt_arena_printf(&f->o->arena, "%s:%u", f->path, f->line));
    tt_option_add(f->o, row, tt_str_of(text), origin, *seen > 0);
    *seen = (int)f->line;
    return 1;
}

/* Debian's inih can be told these at run time; elsewhere they do not exist. */
extern bool ini_use_stack __attribute__((weak));
extern bool ini_allow_multiline __attribute__((weak));
extern int ini_max_line __attribute__((weak));
extern int ini_initial_alloc __attribute__((weak));

static void set_up_inih(void)
{
    if (!&ini_use_stack || !&ini_allow_multiline || !&ini_max_line || !&ini_initial_alloc)
        return;
    ini_use_stack = false;
    ini_max_line = ini_initial_alloc = LINE_LIMIT_BYTES;
    ini_allow_multiline = false; /* an indented key is a key */
}

static void warn_of_open_secrets(file_reader *f, const struct stat *st)
{
    size_t count;
    const tt_option *rows = tt_option_rows(&count);
    for (size_t i = 0; i < count; i++) {
        const char *text = f->o->values[i].text;
        if (rows[i].secret && f->seen_line[i] && (st->st_mode & 077) && !tt_reference_is(tt_str_of(text)))
            tt_buf_printf(&f->o->warnings, "%s:%d: `%s` is a secret in a file that others can read: chmod 600, or write file:/PATH\n",
                          f->path, f->seen_line[i], rows[i].key);
    }
}

tt_rc tt_option_load_file(tt_options *o, const char *path, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    struct stat st;
    tt_err why = {0};
    if (tt_file_read_whole(path, FILE_LIMIT_BYTES, &text, &st, &why) != TT_OK)
        return tt_fail(err, why.code == TT_NOMEM ? TT_NOMEM : TT_INVALID, "the configuration file is of no use: %s: name another one with --config, or mend this one", why.text);
    if (memchr(text.ptr ? text.ptr : "", '\0', text.len))
        return tt_fail(err, TT_INVALID, "`%s` holds NUL bytes: is it a text file?", path);
    set_up_inih();
    file_reader f = {.o = o, .path = path, .rest = tt_buf_view(&text), .err = err};
    int bad_line = ini_parse_stream(next_line, &f, on_pair, &f);
    TT_TRY(f.rc);
    if (bad_line != 0)
        return tt_fail(err, TT_INVALID, "%s:%d: neither [section] nor name = value", path, bad_line);
    warn_of_open_secrets(&f, &st);
    return TT_OK;
}

