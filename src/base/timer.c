#include "base/timer.h"

#include <pthread.h>

#include "base/clock.h"
#include "base/vec.h"

struct tt_timers {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t wake;
    TT_VEC(tt_timer *) heap;
    bool stopping;
    pthread_t thread;
};

static void place(tt_timers *ts, size_t i, tt_timer *t)
{
    ts->heap.ptr[i] = t;
    t->slot = i + 1;
}

static void sift_up(tt_timers *ts, size_t i)
{
    tt_timer *t = ts->heap.ptr[i];
    for (; i > 0 && ts->heap.ptr[(i - 1) / 2]->due_ms > t->due_ms; i = (i - 1) / 2)
        place(ts, i, ts->heap.ptr[(i - 1) / 2]);
    place(ts, i, t);
}

static void sift_down(tt_timers *ts, size_t i)
{
    tt_timer *t = ts->heap.ptr[i];
    for (size_t child; (child = 2 * i + 1) < ts->heap.len; i = child) {
        if (child + 1 < ts->heap.len && ts->heap.ptr[child + 1]->due_ms < ts->heap.ptr[child]->due_ms)
            child++;
        if (ts->heap.ptr[child]->due_ms >= t->due_ms)
            break;
        place(ts, i, ts->heap.ptr[child]);
    }
    place(ts, i, t);
}

static void remove_at(tt_timers *ts, size_t i)
{
    ts->heap.ptr[i]->slot = 0;
    tt_timer *last = tt_vec_pop(&ts->heap);
    if (i == ts->heap.len)
        return;
    place(ts, i, last);
    sift_up(ts, i);
    sift_down(ts, last->slot - 1);
}

static void wait_for_next(tt_timers *ts)
{
    if (ts->heap.len == 0) {
        pthread_cond_wait(&ts->wake, &ts->lock);
        return;
    }
    int64_t due = ts->heap.ptr[0]->due_ms;
    struct timespec until = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};
    pthread_cond_timedwait(&ts->wake, &ts->lock, &until);
}

static void *thread_main(void *arg)
{
    tt_timers *ts = arg;
    pthread_setname_np(pthread_self(), "timer");
    pthread_mutex_lock(&ts->lock);
    while (!ts->stopping) {
        tt_timer *t = ts->heap.len ? ts->heap.ptr[0] : NULL;
        if (!t || t->due_ms > tt_mono_ms()) {
            wait_for_next(ts);
            continue;
        }
        remove_at(ts, 0);
        void (*fn)(void *) = t->fn;
        void *fn_arg = t->arg;
        pthread_mutex_unlock(&ts->lock);
        fn(fn_arg);
        pthread_mutex_lock(&ts->lock);
    }
    pthread_mutex_unlock(&ts->lock);
    return NULL;
}

tt_rc tt_timers_new(tt_timers **ret, tt_err *err)
{
    tt_timers *ts = TT_NEW(tt_timers);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_mutex_init(&ts->lock, NULL);
    pthread_cond_init(&ts->wake, &attr);
    pthread_condattr_destroy(&attr);
    int rc = pthread_create(&ts->thread, NULL, thread_main, ts);
    if (rc != 0) {
        free(ts);
        return tt_fail_errno(err, rc, "cannot start the timer thread");
    }
    *ret = ts;
    return TT_OK;
}

void tt_timers_free(tt_timers *ts)
{
    if (!ts)
        return;
    pthread_mutex_lock(&ts->lock);
    ts->stopping = true;
    pthread_cond_signal(&ts->wake);
    pthread_mutex_unlock(&ts->lock);
    pthread_join(ts->thread, NULL);
    tt_vec_deinit(&ts->heap);
    pthread_cond_destroy(&ts->wake);
    pthread_mutex_destroy(&ts->lock);
    free(ts);
}

void tt_timer_set(tt_timers *ts, tt_timer *t, int64_t due_ms)
{
    pthread_mutex_lock(&ts->lock);
    if (t->slot)
        remove_at(ts, t->slot - 1);
    t->due_ms = due_ms;
    tt_assert(tt_vec_push(&ts->heap, t));
    sift_up(ts, ts->heap.len - 1);
    if (t->slot == 1)
        pthread_cond_signal(&ts->wake);
    pthread_mutex_unlock(&ts->lock);
}

bool tt_timer_cancel(tt_timers *ts, tt_timer *t)
{
    pthread_mutex_lock(&ts->lock);
    bool armed = t->slot != 0;
    if (armed)
        remove_at(ts, t->slot - 1);
    pthread_mutex_unlock(&ts->lock);
    return armed;
}
