#include "transform/deliver.h"

#include <errno.h>
#include <fcntl.h>

#include "base/sys.h"
#include "data/frame_out.h"
#include "io/fd.h"
#include "lake/dataset.h"
#include "transform/ends.h"
#include "work/native_files.h"

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory"); }

/* ---- the file's name ---- */

/* `{run_id}` and its like stand for what the task knows. */
static tt_rc put_word(const tutti_host *t, tt_str word, tt_buf *out, tt_err *err)
{
    static const char *const words[] = {"run_id", "company", "brand", "branch", "pipeline", "state"};
    for (size_t i = 0; i < TT_COUNT(words); i++) {
        if (!tt_str_is(word, words[i]))
            continue;
        tt_buf_cstr_put(out, t->task(t, words[i]));
        return t->task(t, words[i])[0] ? TT_OK : tt_fail(err, TT_INVALID, "setting `name`: {%s} is known in the run of a pipeline only", words[i]);
    }
    return tt_fail(err, TT_INVALID, "setting `name`: there is no {%.*s}: there are {run_id}, {company}, {brand}, {branch}, {pipeline} and {state}", TT_STR_ARG(tt_str_slice(word, 0, 40)));
}

static tt_rc make_name(const tutti_host *t, tt_buf *out, tt_err *err)
{
    tt_str rest = tt_str_of(t->text(t, "name"));
    while (rest.len) {
        const char *open = memchr(rest.ptr, '{', rest.len), *end = rest.ptr + rest.len;
        const char *close = open ? memchr(open, '}', (size_t)(end - open)) : NULL;
        tt_buf_put(out, rest.ptr, (size_t)((close ? open : end) - rest.ptr));
        if (close)
            TT_TRY(put_word(t, (tt_str){open + 1, (size_t)(close - open - 1)}, out, err));
        rest = close ? (tt_str){close + 1, (size_t)(end - close - 1)} : (tt_str){0};
    }
    TT_TRY(tt_buf_check(out, err));
    return tt_remote_name_ok(tt_buf_view(out)) ? TT_OK : tt_fail(err, TT_INVALID, "setting `name`: `%.200s` is no name of a file: the directory is the setting `url`", tt_buf_cstr(out));
}

/* ---- its content ---- */

typedef struct {
    tt_arena arena;
    tt_frame *frame;
    tt_frame_out *out;
    tt_stage *stage;
    tt_store *store;
    uint64_t rows;
} delivery;

/* Without the five columns of publishing, unless they are asked for. */
static tt_rc choose_columns(const tutti_host *t, delivery *d, tt_err *err)
{
    const tt_pq_field *fields;
    uint32_t count = tt_frame_fields(d->frame, &fields);
    size_t kept = 0;
    tt_str *names = tt_arena_alloc(&d->arena, ((size_t)count + 1) * sizeof *names);
    if (!names)
        return no_memory(err);
    for (uint32_t i = 0; i < count; i++)
        if (!tt_lake_is_metadata(fields[i].name))
            names[kept++] = fields[i].name;
    return t->flag(t, "metadata") || kept == count || kept == 0 ? TT_OK : tt_frame_choose(d->frame, names, kept, err);
}

static tt_rc write_rows(delivery *d, tt_err *err)
{
    for (tt_rows *rows;; d->rows += rows->count) {
        TT_TRY(tt_frame_next(d->frame, &rows, err));
        if (rows->count == 0)
            return tt_frame_out_finish(d->out, err);
        for (uint32_t r = 0; r < rows->count; r++)
            TT_TRY(tt_frame_out_put(d->out, rows, r, err));
    }
}

static tt_rc write_file(const tutti_host *t, delivery *d, const char *name, const char **ret_path, tt_err *err)
{
    tt_frame_intake intake;
    tt_err why = {0};
    tt_frame_out_spec spec = {0};
    const char *separator = t->text(t, "separator");
    if (separator[0] && separator[1])
        return tt_fail(err, TT_INVALID, "setting `separator`: one character is wanted, and `%.20s` are several", separator);
    TT_TRY(tt_ends_intake(t, &d->arena, &intake, err));
    TT_TRY(tt_ends_open_input(t, "input", &intake, &d->frame, err));
    TT_TRY(choose_columns(t, d, err));
    TT_TRY(tt_ends_store(&d->arena, &d->store, err));
    TT_TRY(tt_store_stage(d->store, &d->stage, err));
    spec.path = *ret_path = tt_arena_printf(&d->arena, "%s/%s", tt_stage_dir(d->stage), name);
    spec.field_count = tt_frame_fields(d->frame, &spec.fields);
    spec.separator = separator[0];
    if (!spec.path)
        return no_memory(err);
    tt_rc rc = tt_frame_out_create(&spec, &d->out, &why);
    return rc == TT_OK ? write_rows(d, err) : tt_fail(err, rc, "setting `name`: %s", why.text);
}

static tt_rc deliver(const tutti_host *t, delivery *d, tt_native_tally *tally, tt_err *err)
{
    TT_BUF_AUTO tt_buf name = {0};
    TT_FD_AUTO int fd = -1;
    tt_remote *remote = NULL;
    const char *path = NULL;
    TT_TRY(make_name(t, &name, err));
    TT_TRY(write_file(t, d, tt_buf_cstr(&name), &path, err));
    fd = tt_sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0)
        return tt_fail_errno(err, errno, "%s: cannot open", path);
    t->count(t, "rows_read", (int64_t)d->rows);
    tt_rc rc = tt_native_connect(t, &remote, err);
    if (rc == TT_OK)
        rc = tt_native_publish_file(t, remote, fd, tt_buf_cstr(&name), tally, err);
    tt_remote_close(remote);
    return rc;
}

static int run(const tutti_host *t)
{
    tt_err err = {0};
    tt_native_tally tally = {0};
    delivery d = {0};
    tt_rc rc = deliver(t, &d, &tally, &err);
    tt_frame_out_free(d.out);
    tt_frame_free(d.frame);
    tt_stage_free(d.stage);
    tt_store_close(d.store);
    tt_arena_deinit(&d.arena);
    return tt_native_end(t, &tally, rc, &err);
}

static const tutti_setting settings[] = {
    TT_INPUT_SETTINGS,
    {"url", TUTTI_STR, .description = "the directory there: sftp://HOST/PATH, ftp://, ftps://"},
    {"name", TUTTI_STR, .description = "of the file there (.csv, .jsonl, .parquet), with {run_id}, {company}, {brand}, {branch}, {pipeline}, {state}"},
    {"separator", TUTTI_STR, "", "of a .csv file: what stands between cells"},
    {"metadata", TUTTI_BOOL, "false", "with the five columns of publishing"},
    TT_CONNECTION_SETTINGS,
    {0},
};

const tutti_program tt_program_publish = {
    .size = sizeof(tutti_program), .display_name = "Publish", .description = "A table becomes a file on another machine, over SFTP or FTP, whole and never over another.", .settings = settings, .run = run,
};
