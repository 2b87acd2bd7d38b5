/* Results go to a command that the configuration declares: [sink.NAME] command=...; the output is `sink:NAME`, or the writer is NAME. It reads
 * JSON lines:
 *
 *   {"tutti":"sink","job":"J","metadata":{...}}     once
 *   {"id":17,"value":...}                            a record
 *   {"commit":1}                                     all of them so far are to be kept now
 *
 * and answers a commit with {"committed":1}, before it perhaps with {"reject":17,"reason":"..."} for records that it does not take. What was not
 * answered when either of us died is sent again: at least once. */
#include <jansson.h>

#include "base/mem.h"
#include "base/vec.h"
#include "data/json.h"
#include "data/sink_impl.h"
#include "data/writer_impl.h"
#include "io/coproc.h"

enum { WRITE_BYTES = 256 << 10 };

typedef struct {
    uint64_t id;
    size_t at, len; /* of its value in values */
} sent_row;

typedef struct {
    tt_coproc *process;
    const tt_declaration *declaration;
    tt_buf lines;            /* not written yet */
    tt_buf values;           /* since the last commit, for the rejects */
    TT_VEC(sent_row) rows;
    uint64_t commits;
} command_sink;

static tt_str name_of(const tt_sink_spec *spec)
{
    tt_str prefix = TT_STR("sink:");
    return tt_str_starts(spec->target, prefix) ? tt_str_slice(spec->target, prefix.len, spec->target.len) : (tt_str){0};
}

static bool matches(const tt_sink_spec *spec) { return name_of(spec).ptr != NULL; }

static tt_rc check(const tt_sink_spec *spec, tt_err *err)
{
    tt_str name = name_of(spec);
    if (!tt_declared_find(spec->declared, TT_DECLARED_SINK, name))
        return tt_fail(err, TT_INVALID, "no sink `%.*s` is declared: add a section [sink.%.*s] with its command to the configuration file", TT_STR_ARG(tt_str_slice(name, 0, 60)),
                       TT_STR_ARG(tt_str_slice(name, 0, 60)));
    if (spec->ordered)
        return tt_fail(err, TT_INVALID, "a command gets results as they come: leave out order=input");
    return TT_OK;
}

static bool stopped(void *arg)
{
    tt_sink *s = arg;
    return __atomic_load_n(&s->interrupted, __ATOMIC_RELAXED);
}

static tt_rc say_hello(tt_sink *s, tt_err *err)
{
    command_sink *c = s->own;
    tt_buf_cstr_put(&c->lines, "{\"tutti\":\"sink\",\"job\":");
    tt_buf_json_str(&c->lines, s->spec.job);
    tt_buf_cstr_put(&c->lines, ",\"metadata\":");
    tt_buf_str(&c->lines, s->spec.options.len ? s->spec.options : TT_STR("{}"));
    tt_buf_cstr_put(&c->lines, "}\n");
    return tt_buf_check(&c->lines, err);
}

static tt_rc open_command(tt_sink *s, const tt_sink_spec *spec, tt_err *err)
{
    command_sink *c = s->own = TT_NEW(command_sink);
    c->declaration = tt_declared_find(spec->declared, TT_DECLARED_SINK, name_of(spec));
    if (spec->probe)
        return TT_OK;
    tt_coproc_spec process = {.name = tt_str_of(c->declaration->name), .argv = c->declaration->argv.ptr, .spool_dir = spec->spool_dir, .stop = stopped, .arg = s};
    TT_TRY(tt_coproc_start(&process, &c->process, err));
    return say_hello(s, err);
}

static void close_command(tt_sink *s)
{
    command_sink *c = s->own;
    if (!c)
        return;
    tt_coproc_free(c->process);
    tt_buf_deinit(&c->lines);
    tt_buf_deinit(&c->values);
    tt_vec_deinit(&c->rows);
    free(c);
}

/* A command that ended is started again, later. */
static tt_rc passing(tt_rc rc, tt_err *err)
{
    if (rc == TT_FAILED && err)
        err->code = TT_UNAVAILABLE;
    return rc == TT_FAILED ? TT_UNAVAILABLE : rc;
}

static tt_rc write_lines(command_sink *c, tt_err *err)
{
    TT_TRY(tt_buf_check(&c->lines, err));
    tt_rc rc = tt_coproc_write(c->process, tt_buf_view(&c->lines), err);
    tt_buf_clear(&c->lines);
    return passing(rc, err);
}

static tt_rc put(tt_sink *s, uint64_t id, tt_str value, tt_err *err)
{
    command_sink *c = s->own;
    if (!tt_vec_push(&c->rows, ((sent_row){id, c->values.len, value.len})))
        return tt_fail(err, TT_NOMEM, "out of memory for a row");
    tt_writer_put_value(&c->values, value);
    TT_TRY(tt_buf_check(&c->values, err));
    tt_buf_cstr_put(&c->lines, "{\"id\":");
    tt_buf_u64(&c->lines, id);
    tt_buf_cstr_put(&c->lines, ",\"value\":");
    tt_writer_put_value(&c->lines, value);
    tt_buf_cstr_put(&c->lines, "}\n");
    return c->lines.len >= WRITE_BYTES ? write_lines(c, err) : TT_OK;
}

static void take_reject(tt_sink *s, uint64_t id, const char *why)
{
    command_sink *c = s->own;
    for (size_t i = 0; i < c->rows.len; i++)
        if (c->rows.ptr[i].id == id)
            s->spec.reject(s->spec.arg, id, (tt_str){c->values.ptr + c->rows.ptr[i].at, c->rows.ptr[i].len}, why);
}

static tt_rc take_answer(tt_sink *s, tt_str line, bool *ret_done, tt_err *err)
{
    command_sink *c = s->own;
    json_t *answer = json_loadb(line.ptr, line.len, 0, NULL);
    const json_t *reject = json_object_get(answer, "reject"), *done = json_object_get(answer, "committed");
    const char *why = json_string_value(json_object_get(answer, "reason"));
    *ret_done = json_is_integer(done) && (uint64_t)json_integer_value(done) == c->commits;
    tt_rc rc = TT_OK;
    if (json_is_integer(reject))
        take_reject(s, (uint64_t)json_integer_value(reject), why ? why : "the command gives no reason");
    else if (!*ret_done)
        rc = tt_fail(err, TT_UNAVAILABLE, "the command `%s` printed `%.*s` instead of {\"committed\":%ju}", c->declaration->name, TT_STR_ARG(tt_str_slice(line, 0, 100)),
                     (uintmax_t)c->commits);
    json_decref(answer);
    return rc;
}

static tt_rc flush(tt_sink *s, tt_err *err)
{
    command_sink *c = s->own;
    bool done = c->rows.len == 0, end = false;
    tt_str line;
    if (done)
        return TT_OK;
    tt_buf_printf(&c->lines, "{\"commit\":%ju}\n", (uintmax_t)++c->commits);
    TT_TRY(write_lines(c, err));
    while (!done) {
        TT_TRY(passing(tt_coproc_read_line(c->process, &line, &end, err), err));
        if (end)
            return passing(tt_coproc_finish(c->process, err) == TT_OK ? tt_fail(err, TT_FAILED, "the command `%s` ended in the middle", c->declaration->name) : err->code, err);
        TT_TRY(take_answer(s, line, &done, err));
    }
    tt_vec_clear(&c->rows);
    tt_buf_clear(&c->values);
    return TT_OK;
}

static tt_rc commit(tt_sink *s, uint64_t position, tt_append_mark *ret, tt_err *err) { return TT_OK; /* flush has its word */ }
static void interrupt(tt_sink *s) { __atomic_store_n(&s->interrupted, true, __ATOMIC_RELAXED); }

const tt_sink_row tt_sink_command = {
    .name = "command", .takes = "sink:NAME", .promise = TT_SINK_AT_LEAST_ONCE, .matches = matches, .check = check,
    .says = "at least once: results go from a local journal to a command of the configuration, which answers each group; what it had not answered is sent again",
    .open = open_command, .put = put, .flush = flush, .commit = commit, .interrupt = interrupt, .close = close_command,
};
