/* What people did in Redis, done here. */
#include "base/clock.h"
#include "base/log.h"
#include "work/rq_inner.h"

/* ---- an operation, waited for ---- */

typedef struct {
    tt_task_op op; /* first */
    pthread_mutex_t lock;
    pthread_cond_t ended;
    bool is_done;
    tt_rc rc;
    tt_err err;
} waited_op;

static void wake(tt_task_op *op, tt_rc rc, const tt_err *err)
{
    waited_op *w = (waited_op *)op;
    pthread_mutex_lock(&w->lock);
    w->rc = rc;
    if (rc != TT_OK && err)
        w->err = *err;
    w->is_done = true;
    pthread_cond_signal(&w->ended);
    pthread_mutex_unlock(&w->lock);
}

/* Waited for, so that what was done once in Redis is done once here. */
static tt_rc do_now(tt_rq *rq, tt_task_verb verb, uint64_t id, const char *why, tt_err *err)
{
    waited_op w = {.op = {.verb = verb, .id = id, .text = tt_str_of(why), .done = wake}};
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.ended, NULL);
    tt_tasks_do(rq->tasks, &w.op);
    pthread_mutex_lock(&w.lock);
    while (!w.is_done)
        pthread_cond_wait(&w.ended, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_cond_destroy(&w.ended);
    pthread_mutex_destroy(&w.lock);
    if (w.rc != TT_OK && err)
        *err = w.err;
    return w.rc;
}

/* A refusal is an answer: the task is not as they thought. */
static tt_rc act(tt_rq *rq, tt_task_verb verb, uint64_t id, const char *why, bool *ret_done, tt_err *err)
{
    static const char *const words[] = {[TT_TASK_DO_CANCEL] = "canceled", [TT_TASK_DO_RETRY] = "queued again", [TT_TASK_DO_DELETE] = "deleted"};
    tt_err refusal = {0};
    tt_rc rc = do_now(rq, verb, id, why, &refusal);
    *ret_done = rc == TT_OK;
    if (rc == TT_OK) {
        tt_log_info("somebody changed a job in Redis", TT_F_INT("task", id), TT_F_CSTR("now", words[verb]));
        tt_rq_count(rq, &rq->status.honoured, 1);
        return TT_OK;
    }
    if (rc != TT_CONFLICT && rc != TT_EXISTS && rc != TT_NOT_FOUND)
        return tt_fail(err, rc, "%s", refusal.text);
    tt_log_info("what somebody did to a job in Redis cannot be done here", TT_F_INT("task", id), TT_F_CSTR("why", refusal.text));
    return TT_OK;
}

tt_rc tt_rq_cancel(tt_rq *rq, uint64_t id, const char *why, tt_err *err)
{
    bool done;
    return act(rq, TT_TASK_DO_CANCEL, id, why, &done, err);
}

/* ---- what a change means ---- */

/* Deleted, or gone when its time was over? */
static tt_rc honour_deletion(tt_rq *rq, const tt_task *t, tt_err *err)
{
    enum { CLOSE_MS = 60 * 1000 };
    bool done;
    int64_t expires_ms = tt_rq_expires_ms(rq, t);
    if (t->state < TT_TASK_FINISHED)
        return act(rq, TT_TASK_DO_CANCEL, t->id, "deleted in Redis", &done, err);
    if (expires_ms >= 0 && expires_ms - CLOSE_MS < tt_wall_ms())
        return TT_OK;
    return act(rq, TT_TASK_DO_DELETE, t->id, "", &done, err);
}

static bool may_retry(const tt_task *t, const tt_rq_answer *answer)
{
    char rev[TT_RQ_REV_BYTES];
    tt_rq_rev(t, rev);
    return (t->state == TT_TASK_FAILED || t->state == TT_TASK_CANCELED) && strcmp(rev, answer->rev) == 0;
}

tt_rc tt_rq_honour(tt_rq *rq, const tt_task *t, const tt_rq_answer *answer, bool *ret_force, tt_err *err)
{
    bool done = false;
    *ret_force = false;
    if (answer->result == TT_RQ_GONE)
        return honour_deletion(rq, t, err);
    if (strcmp(answer->status, "canceled") == 0 && t->state < TT_TASK_FINISHED)
        TT_TRY(act(rq, TT_TASK_DO_CANCEL, t->id, "canceled in Redis", &done, err));
    else if (strcmp(answer->status, "queued") == 0 && may_retry(t, answer))
        TT_TRY(act(rq, TT_TASK_DO_RETRY, t->id, "", &done, err));
    *ret_force = !done;
    return TT_OK;
}

/* ---- looking ---- */

static bool is_forgotten(tt_rq *rq, uint64_t id)
{
    uint64_t lease;
    tt_task_state state;
    return tt_queue_get_lease(rq->ledger, id, &lease, &state, NULL) == TT_NOT_FOUND;
}

/* One that is not as it was written, or whose task is no more. */
static bool is_strange(tt_rq *rq, uint64_t id, const tt_reply *job)
{
    if (job->type != REDIS_REPLY_ARRAY || job->elements != 2)
        return true;
    tt_str status = tt_reply_str(job->element[0]), ours = tt_reply_str(job->element[1]);
    return !status.len || !tt_str_eq(status, ours) || is_forgotten(rq, id);
}

static void ask_status(tt_rq *rq, tt_str id)
{
    TT_BUF_AUTO tt_buf key = {0};
    tt_buf_printf(&key, "rq:job:%.*s", TT_STR_ARG(id));
    tt_redis_begin(rq->redis, 4);
    tt_redis_arg(rq->redis, TT_STR("HMGET"));
    tt_redis_arg(rq->redis, tt_buf_view(&key));
    tt_redis_arg(rq->redis, TT_STR("status"));
    tt_redis_arg(rq->redis, TT_STR("tutti_state"));
}

/* pairs: number, id, number, id, ... of the index. */
static tt_rc look_at(tt_rq *rq, const tt_reply *pairs, tt_rq_numbers *strange, tt_err *err)
{
    for (size_t i = 0; i + 1 < pairs->elements; i += 2)
        ask_status(rq, tt_reply_str(pairs->element[i + 1]));
    for (size_t i = 0; i + 1 < pairs->elements; i += 2) {
        TT_REPLY_AUTO tt_reply *job = NULL;
        uint64_t id = 0;
        tt_rc rc = tt_redis_next(rq->redis, &job, err);
        tt_str shown = tt_reply_str(pairs->element[i + 1]);
        bool is_hidden = shown.len == 0 || tt_str_is(shown, "-");
        if (rc != TT_OK && !tt_redis_is_connected(rq->redis))
            return rc;
        if (tt_parse_u64(tt_reply_str(pairs->element[i]), &id, NULL) != TT_OK)
            continue;
        bool write = rc != TT_OK || is_hidden ? is_forgotten(rq, id) : is_strange(rq, id, job);
        if (write && !tt_vec_push(strange, id))
            return tt_fail(err, TT_NOMEM, "out of memory for a list of jobs");
    }
    return TT_OK;
}

tt_rc tt_rq_check_some(tt_rq *rq, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *page = NULL;
    tt_rq_numbers strange = {0};
    TT_TRY(tt_redis_call(rq->redis, &page, err, TT_STR("HSCAN"), tt_str_of(rq->index), tt_str_of(rq->cursor), TT_STR("COUNT"), TT_STR("500")));
    if (page->type != REDIS_REPLY_ARRAY || page->elements != 2 || page->element[1]->type != REDIS_REPLY_ARRAY)
        return tt_fail(err, TT_CORRUPT, "%s answers HSCAN with something else", tt_redis_shown(rq->redis));
    snprintf(rq->cursor, sizeof rq->cursor, "%.*s", TT_STR_ARG(tt_reply_str(page->element[0])));
    tt_rc rc = look_at(rq, page->element[1], &strange, err);
    if (rc == TT_OK && strange.len)
        rc = tt_rq_write(rq, strange.ptr, strange.len, TT_RQ_PUT, err);
    tt_vec_deinit(&strange);
    return rc;
}
