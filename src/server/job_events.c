/* Progress of a job as server-sent events. One listener per client: woken by the job's commits, but it writes at most every EVERY_MS; also once in
 * IDLE_MS so that a client sees that we live. It looks on the timer's thread, and ends there when the client is gone, the job is gone, or
 * the job is complete; when the house closes, all of them end. area->listeners_lock guards the list and `closing`. */
#include "base/clock.h"
#include "server/items_calls.h"

typedef struct tt_listener {
    tt_watch watch; /* first */
    tt_timer timer;
    tt_items_area *area;
    tt_job *job;
    tt_stream *stream;
    int64_t last_ms;
    int refs;      /* atomic: one until it ends, one while the watch waits or its callback is about to run */
    bool changed;  /* atomic */
    bool waiting;  /* atomic: the watch is the list's, and not to be touched */
    struct tt_listener *prev, *next;
} listener;

enum { EVERY_MS = 500, IDLE_MS = 2000 };

static void put_listener(listener *l)
{
    if (__atomic_sub_fetch(&l->refs, 1, __ATOMIC_ACQ_REL) == 0)
        free(l);
}

static void on_change(tt_watch *w)
{
    listener *l = (listener *)w;
    __atomic_store_n(&l->changed, true, __ATOMIC_RELEASE);
    __atomic_store_n(&l->waiting, false, __ATOMIC_RELEASE);
    put_listener(l);
}

static void link_locked(listener *l)
{
    l->next = l->area->listeners;
    if (l->next)
        l->next->prev = l;
    l->area->listeners = l;
}

static void unlink_locked(listener *l)
{
    if (l->prev)
        l->prev->next = l->next;
    else
        l->area->listeners = l->next;
    if (l->next)
        l->next->prev = l->prev;
}

/* It is out of the list, and its timer neither armed nor to be armed. */
static void free_listener(listener *l)
{
    if (tt_watch_cancel(l->area->watches, &l->watch))
        put_listener(l);
    tt_stream_end(l->stream);
    tt_job_put(l->job);
    put_listener(l);
}

static bool is_current(listener *l)
{
    tt_job *now = tt_items_find(l->area->items, tt_str_of(tt_job_name(l->job)), NULL);
    tt_job_put(now);
    return now == l->job;
}

static bool send_event(listener *l)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_buf_cstr_put(&text, "event: job\ndata: ");
    tt_job_describe(l->job, &text);
    tt_buf_cstr_put(&text, "\n\n");
    return tt_buf_check(&text, NULL) == TT_OK && tt_stream_write(l->stream, tt_buf_view(&text));
}

static void listen_again(listener *l)
{
    char topic[256];
    snprintf(topic, sizeof topic, "job/%s", tt_job_name(l->job));
    if (__atomic_load_n(&l->waiting, __ATOMIC_ACQUIRE))
        return;
    __atomic_add_fetch(&l->refs, 1, __ATOMIC_RELAXED);
    __atomic_store_n(&l->waiting, true, __ATOMIC_RELAXED);
    tt_watch_add(l->area->watches, tt_str_of(topic), &l->watch);
}

/* False: the listener has come to its end. */
static bool look(listener *l, int64_t now_ms)
{
    if (!__atomic_exchange_n(&l->changed, false, __ATOMIC_ACQ_REL) && now_ms - l->last_ms < IDLE_MS)
        return true;
    listen_again(l); /* before the look, so that no change falls between */
    bool finished = tt_job_finished(l->job) || !is_current(l);
    l->last_ms = now_ms;
    return send_event(l) && !finished;
}

static void on_time(void *arg)
{
    listener *l = arg;
    tt_items_area *area = l->area;
    int64_t now_ms = tt_mono_ms();
    bool goes_on = look(l, now_ms);
    pthread_mutex_lock(&area->listeners_lock);
    goes_on = goes_on && !area->closing;
    if (goes_on)
        tt_timer_set(area->timers, &l->timer, now_ms + EVERY_MS);
    else
        unlink_locked(l);
    pthread_mutex_unlock(&area->listeners_lock);
    if (!goes_on)
        free_listener(l);
}

void tt_job_events(tt_req *req)
{
    tt_err err = {0};
    tt_items_area *area = tt_items_area_of(req);
    tt_job *j = tt_items_find(area->items, tt_req_str(req, "name"), &err);
    if (!j) {
        tt_req_error(req, TT_NOT_FOUND, &err);
        return;
    }
    listener *l = TT_NEW(listener);
    *l = (listener){.area = area, .job = j, .refs = 1, .changed = true, .watch.fn = on_change, .timer = {.fn = on_time, .arg = l}};
    tt_req_add_header(req, "Cache-Control", "no-store");
    l->stream = tt_req_stream(req, 200, "text/event-stream");
    pthread_mutex_lock(&area->listeners_lock);
    bool closing = area->closing;
    if (!closing) {
        link_locked(l);
        tt_timer_set(area->timers, &l->timer, 0);
    }
    pthread_mutex_unlock(&area->listeners_lock);
    if (closing)
        free_listener(l);
}

void tt_job_events_close(tt_items_area *area)
{
    listener *ended = NULL, *next;
    pthread_mutex_lock(&area->listeners_lock);
    area->closing = true;
    for (listener *l = area->listeners; l; l = next) {
        next = l->next;
        if (!tt_timer_cancel(area->timers, &l->timer))
            continue; /* it runs, and sees that we close */
        unlink_locked(l);
        l->next = ended;
        ended = l;
    }
    pthread_mutex_unlock(&area->listeners_lock);
    for (; ended; ended = next) {
        next = ended->next;
        free_listener(ended);
    }
}
