#include "items/spool.h"

#include <errno.h>
#include <fcntl.h>

#include "base/sys.h"
#include "io/coproc.h"
#include "io/fd.h"

enum { WRITE_BYTES = 1 << 20 };

typedef struct {
    tt_items_env *env;
    const tt_definition *d;
    const char *path;
    int fd;
    uint64_t written;
    tt_buf lines; /* not written yet */
} spool;

static tt_rc write_out(spool *s, tt_err *err)
{
    TT_TRY(tt_buf_check(&s->lines, err));
    int failed = tt_fd_write_at(s->fd, s->written, s->lines.ptr, s->lines.len);
    if (failed)
        return tt_fail_errno(err, failed, "cannot spool the input of job `%s` to `%s`", s->d->name, s->path);
    s->written += s->lines.len;
    tt_buf_clear(&s->lines);
    return TT_OK;
}

static bool is_stopping(void *arg)
{
    const tt_items_env *env = arg;
    return __atomic_load_n(&env->stopping, __ATOMIC_RELAXED) || __atomic_load_n(&env->draining, __ATOMIC_RELAXED);
}

/* ---- queries ---- */

static tt_str input_of(const tt_definition *d, json_t **keep)
{
    *keep = json_loads(d->metadata, JSON_ALLOW_NUL, NULL);
    const json_t *input = json_object_get(*keep, "input_file_path");
    return tt_str_of(json_string_value(json_array_size(input) == 1 ? json_array_get(input, 0) : input));
}

/* JSON from a database may have line breaks between its tokens. */
static void put_json(tt_buf *out, tt_str text)
{
    size_t from = out->len;
    tt_buf_str(out, text);
    for (size_t i = from; i < out->len; i++)
        if (out->ptr[i] == '\n' || out->ptr[i] == '\r')
            out->ptr[i] = ' ';
}

static void put_cell(tt_buf *out, const tt_sql_cell *cell)
{
    if (cell->kind == TT_SQL_NULL)
        tt_buf_cstr_put(out, "null");
    else if (cell->kind == TT_SQL_TEXT)
        tt_buf_json_str(out, cell->text);
    else if (cell->kind == TT_SQL_JSON)
        put_json(out, cell->text);
    else
        tt_buf_str(out, cell->text);
}

static tt_rc put_row(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err)
{
    spool *s = arg;
    for (size_t i = 0; i < count; i++) {
        tt_buf_char(&s->lines, i ? ',' : '{');
        tt_buf_json_str(&s->lines, names[i]);
        tt_buf_char(&s->lines, ':');
        put_cell(&s->lines, &cells[i]);
    }
    tt_buf_cstr_put(&s->lines, count ? "}\n" : "{}\n");
    if (is_stopping(s->env))
        return tt_fail(err, TT_UNAVAILABLE, "the server is shutting down: try again in a moment");
    return s->lines.len >= WRITE_BYTES ? write_out(s, err) : TT_OK;
}

/* sql:NAME?query=Q */
static tt_rc find_query(const spool *s, tt_str input, const tt_declaration **ret, const char **ret_text, tt_err *err)
{
    tt_str rest = tt_str_slice(input, sizeof "sql:" - 1, input.len), name = {0}, key = {0};
    tt_str_cut(&rest, '?', &name);
    tt_str_cut(&rest, '=', &key);
    *ret = tt_declared_find(s->env->declared, TT_DECLARED_SQL, name);
    if (!*ret)
        return tt_fail(err, TT_INVALID, "no database `%.*s` is declared: add a section [sql.%.*s] with its url to the configuration file", TT_STR_ARG(tt_str_slice(name, 0, 60)),
                       TT_STR_ARG(tt_str_slice(name, 0, 60)));
    *ret_text = tt_str_is(key, "query") ? tt_declaration_query(*ret, rest) : NULL;
    if (!*ret_text)
        return tt_fail(err, TT_INVALID, "`%.*s` names no query: write sql:NAME?query=Q, and query.Q = SELECT ... in the section [sql.%.*s]", TT_STR_ARG(tt_str_slice(input, 0, 200)),
                       TT_STR_ARG(tt_str_slice(name, 0, 60)));
    return TT_OK;
}

static tt_rc run_query(spool *s, tt_str input, tt_err *err)
{
    const tt_declaration *declared;
    const char *text;
    tt_sql_db *db = NULL;
    TT_TRY(find_query(s, input, &declared, &text, err));
    TT_TRY(tt_declaration_connect(declared, &db, err));
    tt_rc rc = tt_sql_query(db, tt_str_of(text), NULL, 0, put_row, s, err);
    tt_sql_close(db);
    return rc;
}

/* ---- commands ---- */

static tt_rc say_hello(spool *s, tt_coproc *process, tt_err *err)
{
    TT_BUF_AUTO tt_buf line = {0};
    tt_buf_cstr_put(&line, "{\"tutti\":\"reader\",\"job\":");
    tt_buf_json_str(&line, tt_str_of(s->d->name));
    tt_buf_printf(&line, ",\"metadata\":%s}\n", s->d->metadata);
    TT_TRY(tt_buf_check(&line, err));
    (void)!tt_coproc_write(process, tt_buf_view(&line), NULL); /* one that does not read it says so by how it ends */
    tt_coproc_close_input(process);
    return TT_OK;
}

static tt_rc copy_lines(spool *s, tt_coproc *process, tt_err *err)
{
    tt_str line;
    bool end = false;
    for (;;) {
        TT_TRY(tt_coproc_read_line(process, &line, &end, err));
        if (end)
            return tt_coproc_finish(process, err);
        tt_buf_str(&s->lines, line);
        tt_buf_char(&s->lines, '\n');
        if (s->lines.len >= WRITE_BYTES)
            TT_TRY(write_out(s, err));
    }
}

static tt_rc run_command(spool *s, const tt_declaration *declared, tt_err *err)
{
    tt_coproc *process = NULL;
    tt_coproc_spec spec = {.name = tt_str_of(declared->name), .argv = declared->argv.ptr, .spool_dir = s->env->spool_dir, .stop = is_stopping, .arg = s->env};
    TT_TRY(tt_coproc_start(&spec, &process, err));
    tt_rc rc = say_hello(s, process, err);
    if (rc == TT_OK)
        rc = copy_lines(s, process, err);
    tt_coproc_free(process);
    if (rc == TT_FAILED && err)
        err->code = TT_INVALID;
    return rc == TT_FAILED ? TT_INVALID : rc;
}

/* ---- the file ---- */

static const tt_declaration *reader_of(const tt_items_env *env, const tt_definition *d)
{
    return tt_declared_find(env->declared, TT_DECLARED_READER, tt_str_of(d->reader_name));
}

bool tt_spool_is_needed(const tt_items_env *env, const tt_definition *d)
{
    json_t *keep = NULL;
    bool query = d->mode != TT_MODE_WRITE && tt_str_starts(input_of(d, &keep), TT_STR("sql:"));
    json_decref(keep);
    return query || (d->mode != TT_MODE_WRITE && reader_of(env, d));
}

static tt_rc fill(spool *s, tt_err *err)
{
    json_t *keep = NULL;
    const tt_declaration *reader = reader_of(s->env, s->d);
    tt_rc rc = reader ? run_command(s, reader, err) : run_query(s, input_of(s->d, &keep), err);
    json_decref(keep);
    if (rc == TT_OK)
        rc = write_out(s, err);
    if (rc == TT_OK && tt_sys.fsync(s->fd) != 0)
        rc = tt_fail_errno(err, errno, "cannot sync the spooled input `%s`", s->path);
    return rc;
}

static tt_rc sync_dir(const tt_items_env *env, tt_err *err)
{
    TT_FD_AUTO int fd = tt_sys.open(env->journal_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return fd >= 0 && tt_sys.fsync(fd) == 0 ? TT_OK : tt_fail_errno(err, errno, "cannot sync `%s`", env->journal_dir);
}

tt_rc tt_spool_fill(tt_items_env *env, tt_definition *d, tt_err *err)
{
    TT_BUF_AUTO tt_buf path = {0};
    TT_TRY(tt_journal_name(env, ".input", &path, err));
    TT_FD_AUTO int fd = tt_sys.open(tt_buf_cstr(&path), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot make `%s`", tt_buf_cstr(&path));
    d->spool = tt_dup_cstr(tt_buf_cstr(&path));
    spool s = {.env = env, .d = d, .path = d->spool, .fd = fd};
    tt_rc rc = fill(&s, err);
    tt_buf_deinit(&s.lines);
    if (rc == TT_OK)
        rc = sync_dir(env, err);
    if (rc != TT_OK) {
        tt_spool_remove(d);
        free(d->spool);
        d->spool = NULL;
    }
    return rc;
}

void tt_spool_remove(const tt_definition *d)
{
    if (d->spool)
        tt_sys.unlink(d->spool);
}
