/* `tutti job watch`: the job's events until its end. A connection that breaks is made again, for a minute. */
#include "base/clock.h"
#include "cli/cli.h"
#include "cli/cmds.h"
#include "cli/job.h"
#include "cli/output.h"
#include "cli/progress.h"
#include "cli/sse.h"

typedef struct {
    tt_cli *cli;
    tt_progress progress;
    tt_sse sse;
    bool show;
    json_t *last;        /* the newest JOB, or NULL */
    int64_t heard_ms;    /* when it came */
    tt_rc rc;            /* of what was done with it */
    tt_err err;
} watcher;

static bool is_over(const json_t *job)
{
    tt_str status = tt_json_member_str(job, "status");
    return tt_str_is(status, "COMPLETE") || tt_str_is(status, "BROKEN");
}

/* The next state of the job, as bytes; false: nothing more is needed. */
static bool take_state(watcher *w, tt_str text)
{
    json_t *job = json_loadb(text.ptr, text.len, 0, NULL);
    if (!job)
        return true;
    json_decref(w->last);
    w->last = job;
    w->heard_ms = tt_mono_ms();
    if (w->show && tt_cli_json(w->cli))
        w->rc = tt_out_document(w->cli, text, &w->err);
    else if (w->show)
        tt_progress_show(&w->progress, job, is_over(job));
    return w->rc == TT_OK && !is_over(job);
}

static bool on_event(void *arg, tt_str name, tt_str data) { return !tt_str_is(name, "job") || take_state(arg, data); }

static bool on_bytes(void *arg, tt_str bytes)
{
    watcher *w = arg;
    return tt_sse_feed(&w->sse, bytes);
}

/* One connection, to its end. TT_OK also when it ended early. */
static tt_rc listen_once(watcher *w, const char *target, tt_err *err)
{
    int status = 0;
    tt_sse_clear(&w->sse);
    TT_TRY(tt_transport_stream(w->cli, target, on_bytes, w, &status, err));
    if (w->rc != TT_OK)
        return tt_fail(err, w->rc, "%s", w->err.text);
    return tt_cli_check_status(w->cli, status, (tt_str){0}, err);
}

/* The job itself, without a stream: whether it is there, and its own sentence when not. */
static tt_rc look(watcher *w, tt_err *err)
{
    TT_BUF_AUTO tt_buf target = {0}, answer = {0};
    tt_job_target(w->cli, "", &target);
    TT_TRY(tt_cli_call(w->cli, "GET", tt_buf_cstr(&target), (tt_str){0}, &answer, err));
    TT_TRY(tt_json_answer(tt_buf_view(&answer), &w->last, err));
    if (is_over(w->last))
        take_state(w, tt_buf_view(&answer));
    return w->rc == TT_OK ? TT_OK : tt_fail(err, w->rc, "%s", w->err.text);
}

static tt_rc listen_to_end(watcher *w, tt_err *err)
{
    enum { PATIENCE_MS = 60000 };
    TT_BUF_AUTO tt_buf target = {0};
    tt_err why = {0};
    tt_job_target(w->cli, "/events", &target);
    for (unsigned attempt = 0;; attempt++) {
        int64_t heard_ms = w->heard_ms;
        tt_rc rc = listen_once(w, tt_buf_cstr(&target), &why);
        if (is_over(w->last) || (rc != TT_OK && rc != TT_UNAVAILABLE && rc != TT_TIMEOUT))
            return rc == TT_OK || is_over(w->last) ? TT_OK : tt_fail(err, rc, "%s", why.text);
        if (tt_mono_ms() - w->heard_ms > PATIENCE_MS)
            return tt_fail(err, TT_UNAVAILABLE, "nothing was heard from the server for a minute: %s", rc == TT_OK ? "its streams end early" : why.text);
        attempt = w->heard_ms > heard_ms ? 0 : attempt;
        tt_job_pause(attempt);
    }
}

static tt_rc verdict(tt_cli *cli, const json_t *job, tt_err *err)
{
    tt_str name = tt_cli_operand(cli, 0);
    int64_t errors = tt_json_member_int(job, "errors"), dead = tt_json_member_int(job, "dead");
    if (tt_str_is(tt_json_member_str(job, "status"), "BROKEN"))
        return tt_fail(err, TT_FAILED, "job `%.*s` is broken: %.*s", TT_STR_ARG(name), TT_STR_ARG(tt_json_member_str(job, "detail")));
    if (errors + dead == 0)
        return TT_OK;
    return tt_fail(err, TT_CHECK_FAILED, "job `%.*s` ended with %lld items in error and %lld dead: `tutti job errors %.*s` lists them",
                   TT_STR_ARG(name), (long long)errors, (long long)dead, TT_STR_ARG(name));
}

tt_rc tt_job_follow(tt_cli *cli, bool show, tt_err *err)
{
    watcher w = {.cli = cli, .progress = {.cli = cli}, .show = show, .heard_ms = tt_mono_ms()};
    tt_sse_init(&w.sse, on_event, &w);
    tt_rc rc = look(&w, err);
    if (rc == TT_OK && !is_over(w.last))
        rc = listen_to_end(&w, err);
    tt_progress_end(&w.progress);
    if (rc == TT_OK)
        rc = verdict(cli, w.last, err);
    tt_sse_deinit(&w.sse);
    json_decref(w.last);
    return rc;
}

static tt_rc job_watch(tt_cli *cli, tt_err *err) { return tt_job_follow(cli, true, err); }
TT_CLI_COMMAND(tt_cmd_job_watch, job_watch)
