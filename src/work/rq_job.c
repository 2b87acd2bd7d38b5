/* A task as RQ's fields, and the commands that write it. */
#include "base/clock.h"
#include "base/log.h"
#include "work/rq_inner.h"
#include "work/rq_text.h"

enum { MOST_ARGS = 64, MOST_REASON_BYTES = 8000, MOST_RESULT_BYTES = 4000, MOST_NAME_BYTES = 300, SLACK_S = 24 * 3600 };

bool tt_rq_shows(const tt_rq *rq, tt_str queue)
{
    for (size_t i = 0; i < rq->queue_count; i++)
        if (tt_str_is(queue, rq->queues[i]))
            return true;
    return rq->all_queues;
}

void tt_rq_rev(const tt_task *t, char out[TT_RQ_REV_BYTES])
{
    snprintf(out, TT_RQ_REV_BYTES, "%u.%llu.%lld", t->attempts, (unsigned long long)t->lease, (long long)t->ended_ms);
}

int64_t tt_rq_expires_ms(const tt_rq *rq, const tt_task *t)
{
    int64_t keep_ms = t->state == TT_TASK_FAILED ? rq->keep.failed_ms : rq->keep.finished_ms;
    return t->state < TT_TASK_FINISHED || keep_ms < 0 ? -1 : t->ended_ms + keep_ms;
}

/* ---- the parts ---- */

/* Arguments of a command, each in the arena. */
typedef struct {
    tt_arena *arena;
    tt_str list[MOST_ARGS];
    size_t count;
    bool failed;
} args;

static void add(args *a, tt_str text)
{
    tt_assert(a->count < MOST_ARGS);
    char *copy = tt_arena_dup(a->arena, text);
    a->failed |= !copy;
    a->list[a->count++] = (tt_str){copy, copy ? text.len : 0};
}

static void add_text(args *a, const char *text) { add(a, tt_str_of(text)); }

static void add_number(args *a, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)n);
    add_text(a, text);
}

/* Takes the buffer's bytes, and clears it. */
static void add_buf(args *a, tt_buf *b)
{
    a->failed |= b->failed;
    add(a, tt_buf_view(b));
    tt_buf_clear(b);
}

static void add_time(args *a, const char *field, int64_t wall_ms, tt_buf *scratch)
{
    add_text(a, field);
    tt_rq_time(scratch, wall_ms);
    add_buf(a, scratch);
}

static bool is_id(const char *text)
{
    size_t len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_");
    return len > 0 && len < TT_RQ_ID_BYTES && text[len] == '\0';
}

/* An execution has an id of its own. */
static void job_id(const tt_task *t, char out[TT_RQ_ID_BYTES])
{
    json_t *payload = tt_str_is(t->kind, "execution") ? json_loadb(t->payload.ptr, t->payload.len, 0, NULL) : NULL;
    const char *id = json_string_value(json_object_get(payload, "id"));
    if (id && is_id(id))
        snprintf(out, TT_RQ_ID_BYTES, "%s", id);
    else
        snprintf(out, TT_RQ_ID_BYTES, "%llu", (unsigned long long)t->id);
    json_decref(payload);
}

static void put_score(const tt_rq *rq, const tt_task *t, int64_t now_ms, tt_buf *out)
{
    int64_t at_ms = t->state == TT_TASK_STARTED ? now_ms + TT_RQ_BEAT_S * 1000 : t->state == TT_TASK_SCHEDULED ? t->run_at_ms
                    : t->state == TT_TASK_CANCELED ? t->ended_ms : tt_rq_expires_ms(rq, t);
    if (at_ms < 0)
        tt_buf_cstr_put(out, "+inf");
    else
        tt_rq_seconds(out, at_ms);
}

/* Longer than it is kept here, so that what goes before was deleted by somebody. 0: as long as it is there. */
static int64_t life_s(const tt_rq *rq, const tt_task *t, int64_t now_ms)
{
    int64_t expires_ms = tt_rq_expires_ms(rq, t);
    return expires_ms < 0 ? 0 : (expires_ms > now_ms ? (expires_ms - now_ms) / 1000 : 0) + SLACK_S;
}

static void put_failure(const tt_task *t, tt_buf *out)
{
    TT_BUF_AUTO tt_buf plain = {0};
    tt_rq_plain_text(&plain, t->reason.len ? t->reason : TT_STR("it failed without a reason"), MOST_REASON_BYTES);
    tt_rq_zip_base64(out, tt_buf_view(&plain));
}

/* What a program gave as its result; what other kinds gave as they gave it. */
static void put_value(const tt_task *t, tt_buf *out)
{
    TT_BUF_AUTO tt_buf plain = {0}, pickle = {0};
    bool is_execution = tt_str_is(t->kind, "execution");
    json_t *outcome = is_execution ? json_loadb(t->result.ptr ? t->result.ptr : "", t->result.len, 0, NULL) : NULL;
    const json_t *result = json_object_get(outcome, "result");
    char *text = result ? json_dumps(result, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    tt_str shown = is_execution ? tt_str_of(text) : t->result;
    if (shown.len) {
        tt_rq_plain_text(&plain, shown, MOST_RESULT_BYTES);
        tt_rq_pickle_text(&pickle, tt_buf_view(&plain));
        tt_rq_base64(out, tt_buf_view(&pickle));
    }
    free(text);
    json_decref(outcome);
}

/* ---- one task ---- */

/* The first 17 arguments of the script, which have no names. */
static void add_positions(const tt_rq *rq, const tt_task *t, tt_rq_mode mode, int64_t now_ms, args *a, tt_buf *b)
{
    static const char *const modes[] = {[TT_RQ_PUT] = "put", [TT_RQ_SCAN] = "scan", [TT_RQ_FORCE] = "force", [TT_RQ_RELIST] = "relist"};
    char id[TT_RQ_ID_BYTES], rev[TT_RQ_REV_BYTES];
    job_id(t, id);
    tt_rq_rev(t, rev);
    add_text(a, id);
    tt_rq_plain_text(b, t->queue, MOST_NAME_BYTES);
    add_buf(a, b);
    add_text(a, tt_task_state_name(t->state));
    put_score(rq, t, now_ms, b);
    add_buf(a, b);
    add_number(a, life_s(rq, t, now_ms));
    add_text(a, modes[mode]);
    add_text(a, rq->index);
    add_number(a, (int64_t)t->id);
    tt_buf_printf(b, "%s/%llu", rq->id, (unsigned long long)t->id);
    add_buf(a, b);
    if (t->state == TT_TASK_STARTED)
        tt_buf_printf(b, "%s%016llx", rq->id, (unsigned long long)t->lease);
    add_buf(a, b);
    add(a, t->worker);
    if (t->state == TT_TASK_FAILED)
        put_failure(t, b);
    add_buf(a, b);
    if (t->state == TT_TASK_FINISHED)
        put_value(t, b);
    add_buf(a, b);
    add_text(a, rev);
    tt_rq_seconds(b, now_ms);
    add_buf(a, b);
    add_text(a, t->priority > 0 ? "1" : "0");
    add_text(a, rq->may_evict ? "0" : "1");
}

static void add_description(const tt_task *t, args *a, tt_buf *b)
{
    tt_str name = t->program.len ? t->program : t->kind;
    TT_BUF_AUTO tt_buf plain = {0};
    tt_rq_plain_text(&plain, name, MOST_NAME_BYTES);
    add_text(a, "data");
    tt_rq_pickle_call(b, tt_buf_view(&plain));
    add_buf(a, b);
    add_text(a, "description");
    tt_buf_str(b, tt_buf_view(&plain));
    if (t->program.len)
        tt_buf_printf(b, " (%.*s)", TT_STR_ARG(t->kind));
    add_buf(a, b);
}

static void add_progress(const tt_task *t, args *a, tt_buf *b)
{
    json_t *progress = t->progress.len ? json_loadb(t->progress.ptr, t->progress.len, 0, NULL) : NULL;
    json_object_del(progress, "original"); /* data sets of the older service's programs: too large for a list */
    json_object_del(progress, "processed");
    add_text(a, "meta");
    if (json_object_size(progress))
        tt_rq_pickle_dict(b, progress);
    add_buf(a, b);
    json_decref(progress);
}

static void add_seconds(const char *field, int64_t ms, args *a)
{
    add_text(a, field);
    add_number(a, ms > 0 ? ms / 1000 : -1);
}

static void add_fields(const tt_rq *rq, const tt_task *t, int64_t now_ms, args *a, tt_buf *b)
{
    add_time(a, "created_at", t->created_ms, b);
    add_time(a, "enqueued_at", t->run_at_ms > t->created_ms && t->run_at_ms <= now_ms ? t->run_at_ms : t->created_ms, b);
    add_time(a, "started_at", t->started_ms, b);
    add_time(a, "ended_at", t->state < TT_TASK_FINISHED ? 0 : t->ended_ms, b);
    add_time(a, "last_heartbeat", t->state == TT_TASK_STARTED ? now_ms : t->ended_ms, b);
    add_description(t, a, b);
    add_progress(t, a, b);
    add_seconds("timeout", t->timeout_ms, a);
    add_seconds("result_ttl", rq->keep.finished_ms, a);
    add_seconds("failure_ttl", rq->keep.failed_ms, a);
    add_text(a, "exc_info");
    if (t->state == TT_TASK_FAILED || t->state == TT_TASK_CANCELED)
        tt_rq_plain_text(b, t->reason, MOST_REASON_BYTES);
    add_buf(a, b);
}

tt_rc tt_rq_send_put(tt_rq *rq, const tt_task *t, tt_rq_mode mode, tt_err *err)
{
    tt_arena arena = {0};
    TT_BUF_AUTO tt_buf scratch = {0};
    args *a = TT_NEW(args);
    int64_t now_ms = tt_wall_ms();
    a->arena = &arena;
    add_text(a, "EVALSHA");
    add_text(a, rq->put_sha);
    add_text(a, "0");
    add_positions(rq, t, mode, now_ms, a, &scratch);
    add_fields(rq, t, now_ms, a, &scratch);
    tt_rc rc = a->failed ? tt_fail(err, TT_NOMEM, "out of memory for a job of RQ") : TT_OK;
    if (rc == TT_OK) {
        tt_redis_begin(rq->redis, a->count);
        for (size_t i = 0; i < a->count; i++)
            tt_redis_arg(rq->redis, a->list[i]);
    }
    tt_arena_deinit(&arena);
    free(a);
    return rc;
}

void tt_rq_send_drop(tt_rq *rq, uint64_t id)
{
    char number[24], mark[48];
    snprintf(number, sizeof number, "%llu", (unsigned long long)id);
    snprintf(mark, sizeof mark, "%s/%s", rq->id, number);
    tt_redis_begin(rq->redis, 6);
    tt_redis_arg(rq->redis, TT_STR("EVALSHA"));
    tt_redis_arg(rq->redis, tt_str_of(rq->drop_sha));
    tt_redis_arg(rq->redis, TT_STR("0"));
    tt_redis_arg(rq->redis, tt_str_of(rq->index));
    tt_redis_arg(rq->redis, tt_str_of(number));
    tt_redis_arg(rq->redis, tt_str_of(mark));
}

/* ---- the answer ---- */

static tt_rc fail_strange(const tt_rq *rq, tt_err *err)
{
    return tt_fail(err, TT_CORRUPT, "%s answers a script with something else", tt_redis_shown(rq->redis));
}

tt_rc tt_rq_read_answer(tt_rq *rq, tt_rq_answer *ret, tt_err *err)
{
    static const struct { const char *name; tt_rq_result result; } results[] = {
        {"ok", TT_RQ_WRITTEN}, {"same", TT_RQ_SAME}, {"hidden", TT_RQ_HIDDEN}, {"gone", TT_RQ_GONE}, {"altered", TT_RQ_ALTERED}, {"foreign", TT_RQ_FOREIGN},
    };
    TT_REPLY_AUTO tt_reply *reply = NULL;
    tt_err why = {0};
    tt_rc rc = tt_redis_next(rq->redis, &reply, &why);
    *ret = (tt_rq_answer){0};
    if (rc == TT_CONFLICT && strstr(why.text, "WRONGTYPE")) {
        tt_log_warn("a task cannot be shown under RQ's keys: one of them is something else", TT_F_CSTR("error", why.text));
        ret->result = TT_RQ_BROKEN;
        return TT_OK;
    }
    if (rc != TT_OK)
        return tt_fail(err, rc, "%s", why.text);
    if (reply->type != REDIS_REPLY_ARRAY || reply->elements == 0)
        return fail_strange(rq, err);
    for (size_t i = 0; i < TT_COUNT(results); i++)
        if (tt_str_is(tt_reply_str(reply->element[0]), results[i].name)) {
            ret->result = results[i].result;
            if (reply->elements > 2) {
                snprintf(ret->status, sizeof ret->status, "%.*s", TT_STR_ARG(tt_reply_str(reply->element[1])));
                snprintf(ret->rev, sizeof ret->rev, "%.*s", TT_STR_ARG(tt_reply_str(reply->element[2])));
            }
            return TT_OK;
        }
    return fail_strange(rq, err);
}
