/* GET /v1/executions/{id}: one execution, at once or as soon as it has changed or ended. */
#include <stdatomic.h>

#include "base/clock.h"
#include "server/execution_calls.h"

enum { MOST_WAIT_MS = 10 * 60 * 1000 };

/* One request that waits. It belongs to its watch, its timer and whoever set them up; the last one lets go. */
typedef struct tt_execution_waiter {
    struct tt_execution_waiter *prev, *next; /* in area->waiters until it is woken; under its lock */
    tt_watch watch;
    tt_timer timer;
    tt_execution_area *area;
    tt_req *req;
    atomic_int refs;
    atomic_bool woken;
} waiter;

static void let_go(waiter *w, int n)
{
    if (atomic_fetch_sub(&w->refs, n) == n)
        free(w);
}

/* ---- what is shown ---- */

static json_t *time_of(int64_t wall_ms)
{
    char text[TT_TIME_TEXT];
    return wall_ms ? json_string(tt_time_text(wall_ms, text)) : json_null();
}

static json_t *text_or_null(tt_str text) { return text.len ? json_stringn(text.ptr, text.len) : json_null(); }

static json_t *member_or_null(const json_t *o, const char *name)
{
    json_t *value = json_object_get(o, name);
    return value ? json_incref(value) : json_null();
}

json_t *tt_execution_describe(const tt_task *t)
{
    json_t *payload = json_loadb(t->payload.ptr ? t->payload.ptr : "", t->payload.len, 0, NULL);
    json_t *outcome = json_loadb(t->result.ptr ? t->result.ptr : "", t->result.len, 0, NULL);
    json_t *o = json_pack("{s:i,s:o,s:I,s:o,s:s,s:s%,s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:o}", "schema", 1, "id", member_or_null(payload, "id"), "task", (json_int_t)t->id,
                          "program", member_or_null(payload, "program"), "state", tt_task_state_name(t->state), "queue", t->queue.ptr, t->queue.len,
                          "attempts", (json_int_t)t->attempts, "created", time_of(t->created_ms), "started", time_of(t->started_ms), "ended", time_of(t->ended_ms),
                          "worker", text_or_null(t->worker), "reason", text_or_null(t->reason), "hash", member_or_null(payload, "hash"),
                          "progress", tt_execution_messages(t, false), "counters", tt_execution_counters(t), "result", member_or_null(outcome, "result"));
    json_decref(payload);
    json_decref(outcome);
    return o;
}

static void answer(tt_req *req)
{
    tt_task t;
    tt_err err = {0};
    tt_rc rc = tt_execution_find(req, tt_req_str(req, "id"), &t, &err);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, tt_execution_describe(&t));
    else
        tt_req_error(req, rc, &err);
}

/* ---- waiting ---- */

static void answer_on_pool(void *arg)
{
    waiter *w = arg;
    answer(w->req);
    let_go(w, 1);
}

/* Whole: whoever finds it in the list may wake it. */
static void put_in(waiter *w, tt_str topic, int64_t wait_ms)
{
    pthread_mutex_lock(&w->area->waiters_lock);
    tt_watch_add(w->area->watches, topic, &w->watch);
    tt_timer_set(w->area->timers, &w->timer, tt_mono_ms() + wait_ms);
    w->next = w->area->waiters;
    if (w->next)
        w->next->prev = w;
    w->area->waiters = w;
    pthread_mutex_unlock(&w->area->waiters_lock);
}

static void take_out(waiter *w)
{
    pthread_mutex_lock(&w->area->waiters_lock);
    *(w->prev ? &w->prev->next : &w->area->waiters) = w->next;
    if (w->next)
        w->next->prev = w->prev;
    pthread_mutex_unlock(&w->area->waiters_lock);
}

/* By the watch, the timer, or because it had ended before it was watched: the first one answers. */
static void wake(waiter *w)
{
    if (!atomic_exchange(&w->woken, true)) {
        atomic_fetch_add(&w->refs, 1);
        take_out(w);
        tt_pool_run(w->area->pool, answer_on_pool, w);
        if (tt_watch_cancel(w->area->watches, &w->watch))
            let_go(w, 1);
        if (tt_timer_cancel(w->area->timers, &w->timer))
            let_go(w, 1);
    }
    let_go(w, 1);
}

static void on_change(tt_watch *watch) { wake((waiter *)((char *)watch - offsetof(waiter, watch))); }
static void on_time(void *arg) { wake(arg); }

static bool has_ended(const tt_task *t) { return t->state >= TT_TASK_FINISHED; }

static void wait_for(tt_req *req, uint64_t task, int64_t wait_ms)
{
    tt_task t;
    char topic[40];
    waiter *w = TT_NEW(waiter);
    w->area = tt_req_context(req);
    w->req = req;
    w->refs = 3;
    w->watch.fn = on_change;
    w->timer = (tt_timer){.fn = on_time, .arg = w};
    snprintf(topic, sizeof topic, "task/%llu", (unsigned long long)task);
    put_in(w, tt_str_of(topic), wait_ms);
    /* It may have ended just before it was watched. */
    if (tt_queue_get(w->area->ledger, task, tt_req_arena(req), &t, NULL) != TT_OK || has_ended(&t) || w->area->draining)
        wake(w);
    else
        let_go(w, 1);
}

void tt_execution_drain(tt_execution_area *area)
{
    area->draining = true;
    for (;;) {
        pthread_mutex_lock(&area->waiters_lock);
        waiter *w = area->waiters;
        if (w)
            atomic_fetch_add(&w->refs, 1);
        pthread_mutex_unlock(&area->waiters_lock);
        if (!w)
            return;
        wake(w);
    }
}

void tt_execution_show(tt_req *req)
{
    tt_task t;
    int64_t wait_ms = tt_req_int(req, "wait");
    if (wait_ms < 0 || wait_ms > MOST_WAIT_MS)
        tt_req_errorf(req, TT_INVALID, "wait= may be 0 to 10m");
    else if (wait_ms > 0 && tt_execution_find(req, tt_req_str(req, "id"), &t, NULL) == TT_OK && !has_ended(&t))
        wait_for(req, t.id, wait_ms);
    else
        answer(req);
}
