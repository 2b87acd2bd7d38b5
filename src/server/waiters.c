#include "server/waiters.h"

#include "base/clock.h"

/* It belongs to its watch, its timer and whoever set them up; the last one lets go. */
typedef struct tt_waiter {
    struct tt_waiter *prev, *next; /* in room->first until it is woken; under its lock */
    tt_watch watch;
    tt_timer timer;
    tt_waiters *room;
    tt_req *req;
    uint64_t id;
    void (*answer)(tt_req *req, uint64_t id);
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
    w->answer(w->req, w->id);
    let_go(w, 1);
}

/* Whole: whoever finds it in the list may wake it. */
static void put_in(waiter *w, tt_str topic, int64_t wait_ms)
{
    pthread_mutex_lock(&w->room->lock);
    tt_watch_add(w->room->watches, topic, &w->watch);
    tt_timer_set(w->room->timers, &w->timer, tt_mono_ms() + wait_ms);
    w->next = w->room->first;
    if (w->next)
        w->next->prev = w;
    w->room->first = w;
    pthread_mutex_unlock(&w->room->lock);
}

static void take_out(waiter *w)
{
    pthread_mutex_lock(&w->room->lock);
    *(w->prev ? &w->prev->next : &w->room->first) = w->next;
    if (w->next)
        w->next->prev = w->prev;
    pthread_mutex_unlock(&w->room->lock);
}

/* By the watch, the timer, or because it had changed before it was watched: the first one answers. */
static void wake(waiter *w)
{
    if (!atomic_exchange(&w->woken, true)) {
        atomic_fetch_add(&w->refs, 1);
        take_out(w);
        tt_pool_run(w->room->pool, answer_on_pool, w);
        if (tt_watch_cancel(w->room->watches, &w->watch))
            let_go(w, 1);
        if (tt_timer_cancel(w->room->timers, &w->timer))
            let_go(w, 1);
    }
    let_go(w, 1);
}

static void on_change(tt_watch *watch) { wake((waiter *)((char *)watch - offsetof(waiter, watch))); }
static void on_time(void *arg) { wake(arg); }

void tt_waiters_add(tt_waiters *room, tt_req *req, const tt_wait *wait)
{
    waiter *w = TT_NEW(waiter);
    w->room = room;
    w->req = req;
    w->id = wait->id;
    w->answer = wait->answer;
    w->refs = 3;
    w->watch.fn = on_change;
    w->timer = (tt_timer){.fn = on_time, .arg = w};
    put_in(w, wait->topic, wait->wait_ms);
    if (wait->is_news(req, wait->id, wait->version) || room->draining)
        wake(w);
    else
        let_go(w, 1);
}

void tt_waiters_wake(tt_waiters *room)
{
    for (;;) {
        pthread_mutex_lock(&room->lock);
        waiter *w = room->first;
        if (w)
            atomic_fetch_add(&w->refs, 1);
        pthread_mutex_unlock(&room->lock);
        if (!w)
            return;
        wake(w);
    }
}

void tt_waiters_drain(tt_waiters *room)
{
    room->draining = true;
    tt_waiters_wake(room);
}
