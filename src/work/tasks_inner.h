/* What tasks.c (claims, workers, time), task_ops.c (operations on tasks, holds, probes) and tasks_news.c (what others do) share. */
#ifndef TT_WORK_TASKS_INNER_H
#define TT_WORK_TASKS_INNER_H

#include <pthread.h>

#include "work/tasks.h"

typedef struct {
    tt_task_claim *first, **last; /* last: where the next one is hung */
} claim_list;

struct tt_tasks {
    tt_tasks_env env;
    pthread_mutex_t lock;   /* guards all below; never held while a callback runs */
    pthread_cond_t idle;
    tt_presence presence;
    claim_list waiting;     /* oldest first */
    tt_task_claim *batch;   /* being decided by the pump; its order is theirs */
    tt_probe *probes;
    tt_task_hold *holds;
    tt_change pump;         /* decides claims; one at a time */
    bool pumping, pump_again;
    tt_change tick;         /* the queue's own clock; one at a time */
    bool ticking;
    int64_t tick_at_ms;     /* INT64_MAX: nothing waits for time */
    int64_t next_tick_ms;   /* what tt_queue_tick said; writer thread */
    tt_timer timer;         /* for the tick, waiting claims and probes */
    unsigned timer_calls;   /* callbacks that will still come */
    unsigned in_flight;     /* changes submitted */
    int64_t look_at_ms;     /* for workers of this machine that died; INT64_MAX: none has anything */
    int64_t claimed_ms;     /* monotonic; when any worker last got a task; 0: never */
    bool draining;
    char *const *suspended; /* names of queues of which nothing is given out; NULL: none */
    size_t suspended_count;
};

/* All locked. */
void tt_tasks_set_timer(tt_tasks *t);
void tt_tasks_submit(tt_tasks *t, tt_change *change);
void tt_tasks_landed(tt_tasks *t); /* the last thing that a change's done() does with t */
void tt_tasks_tick_by(tt_tasks *t, int64_t at_ms);
void tt_tasks_pump(tt_tasks *t);
/* Taken off their lists, to be answered after the unlock: those whose time is over (task_ops.c). */
tt_probe *tt_tasks_take_late_probes(tt_tasks *t, int64_t now_ms);
tt_task_hold *tt_tasks_take_late_holds(tt_tasks *t, int64_t now_ms);

tt_probe *tt_tasks_take_probe(tt_tasks *t, uint64_t id); /* NULL: none is about this task */
tt_task_hold *tt_tasks_take_holds(tt_tasks *t, uint64_t id, uint64_t lease); /* lease 0: whatever it is */

/* Unlocked. */
void tt_tasks_end_late_probe(tt_tasks *t, tt_probe *p);
void tt_tasks_stop_probe(tt_probe *p);
void tt_tasks_answer_holds(tt_task_hold *h, tt_rc rc);
/* What others do to a shared ledger (tasks_news.c). */
void tt_tasks_listen(tt_tasks *t);
void tt_tasks_each_elsewhere(tt_tasks *t, void (*fn)(void *arg, const tt_worker_info *info), void *arg);
void tt_tasks_suspend_elsewhere(tt_tasks *t, char *const *queues, size_t count);
void tt_tasks_hear_of_end(tt_tasks *t, uint64_t id);
/* The task goes back without its worker. died: with the attempt counted, and why. */
void tt_tasks_give_back(tt_tasks *t, const tt_hand *h, bool alone, tt_str died);

#endif
