/* `tutti execution log` and `tutti execution watch`: a task's events until its end. A connection that breaks is made again, for a minute; where no server
 * answers in the beginning, that is said at once. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/execution.h"
#include "cli/job.h"
#include "cli/output.h"
#include "cli/sse.h"

typedef struct {
    tt_cli *cli;
    uint64_t id, offset;  /* offset: of the log, as far as it was printed */
    bool is_log;
    tt_sse sse;
    json_t *end;          /* the task, when it has ended */
    json_t *shown;        /* its progress as last said */
    tt_str state;         /* as last said; static text or in the arena */
    int64_t heard_ms;
    bool has_heard;       /* anything at all */
    tt_rc rc;             /* of what was done with the events */
    tt_err err;
} follower;

/* ---- events ---- */

static tt_rc print_piece(follower *f, tt_str data)
{
    TT_JSON_AUTO json_t *piece = json_loadb(data.ptr, data.len, 0, NULL);
    tt_str text = tt_json_member_str(piece, "text");
    uint64_t offset = (uint64_t)tt_json_member_int(piece, "offset");
    if (offset + text.len > f->offset)
        f->offset = offset + text.len;
    return tt_cli_json(f->cli) ? tt_out_document(f->cli, data, &f->err) : tt_out(f->cli, text, &f->err);
}

static void say_changes(follower *f, const json_t *task)
{
    const char *name;
    json_t *value;
    tt_str state = tt_json_member_str(task, "state");
    if (!tt_str_eq(state, f->state)) {
        tt_say(f->cli, "%llu is %.*s%s%.*s", (unsigned long long)f->id, TT_STR_ARG(state), tt_str_is(state, "started") ? " by " : "",
               TT_STR_ARG(tt_str_is(state, "started") ? tt_json_member_str(task, "worker") : (tt_str){0}));
        f->state = tt_str_of(tt_arena_dup(tt_cli_arena(f->cli), state));
    }
    json_object_foreach(json_object_get(task, "progress"), name, value) {
        if (json_equal(json_object_get(f->shown, name), value))
            continue;
        char *text = json_is_string(value) ? NULL : json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
        tt_say(f->cli, "%s: %s", name, text ? text : json_string_value(value));
        free(text);
        json_object_set(f->shown, name, value);
    }
}

static tt_rc take_task(follower *f, tt_str data, bool is_end)
{
    json_t *task = json_loadb(data.ptr, data.len, 0, NULL);
    tt_rc rc = TT_OK;
    if (!f->is_log && json_is_object(task)) {
        if (tt_cli_json(f->cli))
            rc = is_end ? TT_OK : tt_out_document(f->cli, data, &f->err);
        else
            say_changes(f, task);
    }
    if (is_end)
        f->end = task ? task : json_null();
    else
        json_decref(task);
    return rc;
}

static bool on_event(void *arg, tt_str name, tt_str data)
{
    follower *f = arg;
    f->heard_ms = tt_mono_ms();
    f->has_heard = true;
    if (tt_str_is(name, "log"))
        f->rc = print_piece(f, data);
    else
        f->rc = take_task(f, data, tt_str_is(name, "end"));
    return f->rc == TT_OK && !f->end;
}

static bool on_bytes(void *arg, tt_str bytes) { return tt_sse_feed(&((follower *)arg)->sse, bytes); }

/* ---- connections ---- */

/* One, to its end. TT_OK also when it ended early. */
static tt_rc listen_once(follower *f, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0};
    int status = 0;
    tt_sse_clear(&f->sse);
    tt_buf_printf(&target, "/v1/tasks/%llu/", (unsigned long long)f->id);
    if (f->is_log)
        tt_buf_printf(&target, "log?follow=true&offset=%llu", (unsigned long long)f->offset);
    else
        tt_buf_cstr_put(&target, "events");
    TT_TRY(tt_buf_check(&target, err));
    TT_TRY(tt_transport_stream(f->cli, tt_buf_cstr(&target), on_bytes, f, &status, err));
    if (f->rc != TT_OK)
        return tt_fail(err, f->rc, "%s", f->err.text);
    return status == 404 ? tt_fail(err, TT_NOT_FOUND, "there is no task %llu", (unsigned long long)f->id) : tt_cli_check_status(f->cli, status, (tt_str){0}, err);
}

static tt_rc listen_to_end(follower *f, tt_err *err)
{
    enum { PATIENCE_MS = 60000 };
    for (unsigned attempt = 0; !f->end; attempt++) {
        int64_t heard_ms = f->heard_ms;
        tt_err why = {0};
        tt_rc rc = listen_once(f, &why);
        if (f->end)
            break;
        bool is_first = attempt == 0 && !f->has_heard;
        if (rc != TT_OK && (is_first || (rc != TT_UNAVAILABLE && rc != TT_TIMEOUT)))
            return tt_fail(err, rc, "%s", why.text);
        if (tt_mono_ms() - f->heard_ms > PATIENCE_MS)
            return tt_fail(err, TT_UNAVAILABLE, "nothing was heard from the server for a minute: %s", rc == TT_OK ? "its streams end early" : why.text);
        attempt = f->heard_ms > heard_ms ? 0 : attempt;
        tt_job_pause(attempt);
    }
    return TT_OK;
}

static tt_rc follow(tt_cli *cli, uint64_t id, bool is_log, json_t **ret_end, tt_err *err)
{
    follower f = {.cli = cli, .id = id, .is_log = is_log, .heard_ms = tt_mono_ms(), .shown = json_object()};
    tt_sse_init(&f.sse, on_event, &f);
    tt_rc rc = listen_to_end(&f, err);
    tt_sse_deinit(&f.sse);
    json_decref(f.shown);
    *ret_end = f.end;
    return rc;
}

/* ---- log ---- */

static tt_rc print_log(tt_cli *cli, uint64_t id, tt_err *err)
{
    for (uint64_t offset = 0;;) {
        TT_BUF_AUTO tt_buf target = {0}, answer = {0};
        tt_buf_printf(&target, "/v1/tasks/%llu/log?offset=%llu", (unsigned long long)id, (unsigned long long)offset);
        TT_TRY(tt_cli_call(cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
        if (answer.len == 0)
            return TT_OK;
        offset += answer.len;
        TT_TRY(tt_out(cli, tt_buf_view(&answer), err));
    }
}

tt_rc tt_execution_print_log(tt_cli *cli, uint64_t id, bool follows, tt_err *err)
{
    TT_JSON_AUTO json_t *end = NULL;
    return follows ? follow(cli, id, true, &end, err) : print_log(cli, id, err);
}

static tt_rc execution_log(tt_cli *cli, tt_err *err)
{
    uint64_t id;
    TT_TRY(tt_execution_number(cli, tt_cli_operand(cli, 0), &id, err));
    return tt_execution_print_log(cli, id, tt_cli_has(cli, "--follow"), err);
}
TT_CLI_COMMAND(tt_cmd_execution_log, execution_log)

/* ---- watch ---- */

static tt_rc execution_watch(tt_cli *cli, tt_err *err)
{
    TT_JSON_AUTO json_t *end = NULL;
    uint64_t id;
    TT_TRY(tt_execution_number(cli, tt_cli_operand(cli, 0), &id, err));
    TT_TRY(follow(cli, id, false, &end, err));
    tt_str state = tt_json_member_str(end, "state"), reason = tt_json_member_str(end, "reason");
    if (tt_str_is(state, "finished"))
        return TT_OK;
    return tt_fail(err, tt_str_is(state, "canceled") ? TT_CANCELED : TT_FAILED, "the execution %.*s: %.*s", TT_STR_ARG(state.len ? state : TT_STR("was deleted")), TT_STR_ARG(reason));
}
TT_CLI_COMMAND(tt_cmd_execution_watch, execution_watch)
