/* Deadlines: one thread and a binary heap. A callback runs on the timer's thread, must be short and must not
 * block; it may add and cancel timers. The owner of a tt_timer embeds it; it is armed at most once at a time. */
#ifndef TT_BASE_TIMER_H
#define TT_BASE_TIMER_H

#include "base/err.h"

typedef struct tt_timers tt_timers;
typedef struct tt_timer {
    int64_t due_ms;       /* tt_mono_ms() */
    void (*fn)(void *arg);
    void *arg;
    size_t slot;          /* place in the heap + 1; 0: not armed */
} tt_timer;

tt_rc tt_timers_new(tt_timers **ret, tt_err *err) TT_MUST_CHECK;
/* Stops the thread; armed timers never fire. NULL is fine. */
void tt_timers_free(tt_timers *ts);
/* Arm t (fn and arg set by the caller) to fire at due_ms, or move it when armed. */
void tt_timer_set(tt_timers *ts, tt_timer *t, int64_t due_ms);
/* Disarm. True: it was armed and will not fire. False: it was not armed, or its callback runs or has run. */
bool tt_timer_cancel(tt_timers *ts, tt_timer *t);

#endif
