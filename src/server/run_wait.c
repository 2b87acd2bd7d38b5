/* GET /v1/runs/{id}: one run, at once or as soon as it is another version than the caller has, or has ended. */
#include <unistd.h>

#include "base/clock.h"
#include "server/run_area.h"

enum { MOST_WAIT_MS = 10 * 60 * 1000 };

/* One request that waits. It belongs to its watch, its timer and whoever set them up; the last one lets go. */
typedef struct tt_run_waiter {
    struct tt_run_waiter *prev, *next; /* in area->waiters until it is woken; under its lock */
    tt_watch watch;
    tt_timer timer;
    tt_run_area *area;
    tt_req *req;
    uint64_t id;
    atomic_int refs;
    atomic_bool woken;
} waiter;

static void let_go(waiter *w, int n)
{
    if (atomic_fetch_sub(&w->refs, n) == n)
        free(w);
}

static void answer_on_pool(void *arg)
{
    waiter *w = arg;
    tt_run_answer_one(w->req, w->id, 200);
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

/* By the watch, the timer, or because it had changed before it was watched: the first one answers. */
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

/* Whether there is something to tell to whoever knows this version. */
static bool is_news(tt_req *req, uint64_t id, int64_t version)
{
    tt_run r;
    tt_rc rc = tt_run_get(tt_run_area_of(req)->ledger, id, tt_req_arena(req), &r, NULL);
    return rc != TT_OK || r.state >= TT_RUN_FINISHED || (version >= 0 && r.version != (uint64_t)version);
}

static void wait_for(tt_req *req, uint64_t id, int64_t wait_ms, int64_t version)
{
    char topic[40];
    waiter *w = TT_NEW(waiter);
    w->area = tt_run_area_of(req);
    w->req = req;
    w->id = id;
    w->refs = 3;
    w->watch.fn = on_change;
    w->timer = (tt_timer){.fn = on_time, .arg = w};
    snprintf(topic, sizeof topic, "run/%llu", (unsigned long long)id);
    put_in(w, tt_str_of(topic), wait_ms);
    if (is_news(req, id, version) || w->area->draining)
        wake(w);
    else
        let_go(w, 1);
}

static void wake_all(tt_run_area *area)
{
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

void tt_run_area_drain(tt_run_area *area)
{
    area->draining = true;
    wake_all(area);
}

/* On the pool: the ledger is read. */
static void show_on_pool(tt_req *req)
{
    uint64_t id;
    tt_err err = {0};
    int64_t wait_ms = tt_req_int(req, "wait"), version = tt_req_has(req, "version") ? tt_req_int(req, "version") : -1;
    tt_rc rc = tt_run_id_of(req, &id, &err);
    if (rc != TT_OK)
        tt_req_error(req, rc, &err);
    else if (wait_ms < 0 || wait_ms > MOST_WAIT_MS)
        tt_req_errorf(req, TT_INVALID, "wait= may be 0 to 10m");
    else if (wait_ms > 0 && !is_news(req, id, version))
        wait_for(req, id, wait_ms, version);
    else
        tt_run_answer_one(req, id, 200);
}

void tt_run_show(tt_req *req) { tt_req_on_pool(req, tt_run_area_of(req)->pool, show_on_pool); }

/* ---- topics ---- */

/* On the ledger's thread, or that of its news, which may have missed some: ids is NULL then. */
static void notify(void *arg, const uint64_t *ids, size_t count)
{
    tt_run_area *area = arg;
    char topic[40];
    if (!ids)
        wake_all(area);
    for (size_t i = 0; ids && i < count; i++) {
        snprintf(topic, sizeof topic, "run/%llu", (unsigned long long)ids[i]);
        tt_watch_notify(area->watches, tt_str_of(topic), 0);
    }
}

/* A file that nobody has asked for yet is not made for this. */
static tt_rc list(void *arg, void (*fn)(void *fn_arg, const tt_timetable_row *row), void *fn_arg, tt_err *err)
{
    const tt_run_area *area = arg;
    if (area->default_file && access(area->default_file, F_OK) != 0)
        return TT_OK;
    return tt_event_list(area->events.configs, fn, fn_arg, err);
}

static tt_rc load(void *arg, tt_str name, tt_pipeline **ret, tt_err *err) { return tt_event_load(((const tt_run_area *)arg)->events.configs, name, ret, err); }

tt_rc tt_run_area_start(tt_run_area *area, bool follows, tt_err *err)
{
    tt_timetable_env env = {.runs = &area->env, .timers = area->timers, .pool = area->pool, .list = list, .load = load, .arg = area, .keep_ms = area->keep_ms};
    TT_TRY(tt_ledger_watch_runs(area->ledger, notify, area, err));
    area->timetable = tt_timetable_new(&env);
    if (follows)
        tt_timetable_start(area->timetable);
    return TT_OK;
}

void tt_run_area_stop(tt_run_area *area) { tt_timetable_stop(area->timetable); }

void tt_run_write_metrics(void *arg, tt_buf *out)
{
    tt_run_area *area = arg;
    tt_timetable_counts c;
    tt_timetable_count(area->timetable, &c);
    tt_buf_cstr_put(out, "# TYPE tutti_pipeline_times counter\n# HELP tutti_pipeline_times Due times of pipelines since the start, by what became of them.\n");
    tt_buf_printf(out, "tutti_pipeline_times_total{outcome=\"started\"} %llu\ntutti_pipeline_times_total{outcome=\"failed\"} %llu\n", (unsigned long long)c.started,
                  (unsigned long long)c.failed);
}
