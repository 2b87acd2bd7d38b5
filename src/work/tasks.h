/* The server's side of tasks: workers attach, wait for work, and report; the queue in the ledger decides. Claims wait in a
 * list in memory and are decided together, on the writer thread, whenever something may have become ready; nobody polls.
 * Leases that run out and tasks whose time comes are looked after by one timer.
 * Any thread; callbacks run once, mostly on the ledger's writer thread or the timer's, and must be short. What is handed in
 * (claim, operation, probe) belongs to the caller and must live until its callback. */
#ifndef TT_WORK_TASKS_H
#define TT_WORK_TASKS_H

#include "base/timer.h"
#include "ledger/limits.h"
#include "ledger/queue.h"
#include "ledger/watch.h"
#include "work/logs.h"
#include "work/presence.h"

typedef struct tt_tasks tt_tasks;

typedef struct {
    tt_ledger *ledger;
    tt_watches *watches;   /* "task/ID" is notified when an attempt ends, "progress/ID" when one starts, goes back, or says how far it is */
    tt_timers *timers;
    tt_logs *logs;         /* for the last lines of a task whose worker died; may be NULL */
    tt_queue_keep keep;    /* of ended tasks */
} tt_tasks_env;

tt_rc tt_tasks_open(const tt_tasks_env *env, tt_tasks **ret, tt_err *err) TT_MUST_CHECK;
/* Waiting claims come back empty, new ones are refused (TT_UNAVAILABLE); reports are still taken. */
void tt_tasks_drain(tt_tasks *t);
/* Drains, waits for what is under way. Before the ledger is closed and the timers are stopped. */
void tt_tasks_close(tt_tasks *t);
/* Something may have become ready: for floors above that push inside a change of their own, after its commit. */
void tt_tasks_wake(tt_tasks *t);

/* The one seam by which others hear of what becomes of tasks (rq.h): fn is called behind each commit with the numbers of tasks that changed, however they did;
 * ids NULL: any may have. It must be short. fn NULL: nobody listens any more, and no call is under way. Blocks for a moment. */
tt_rc tt_tasks_watch(tt_tasks *t, tt_ledger_tasks_fn *fn, void *arg, tt_err *err) TT_MUST_CHECK;

/* ---- workers ---- */

/* Says "I hold nothing": tasks in the books of this name go back. When another process had them, it died: the first of them, which it was running as far
 * as is known, has one attempt less, the others have not; and when there were several, each of them is next claimed alone. A worker of this
 * machine that dies without a successor is noticed within seconds, any other one by its leases. */
tt_rc tt_tasks_attach(tt_tasks *t, const tt_worker_hello *hello, tt_err *err) TT_MUST_CHECK;
/* Leaves; what it holds goes back without an attempt. TT_NOT_FOUND: not attached by this process. */
tt_rc tt_tasks_detach(tt_tasks *t, tt_str worker, int64_t pid, tt_err *err) TT_MUST_CHECK;

typedef struct {
    tt_str name;
    int64_t pid, since_ms; /* wall clock */
    int64_t seen_ago_ms;
    uint64_t done, failed;
    bool consuming;        /* waits for work, or has some */
    int64_t claimed_ago_ms;/* since it last got a task; -1: never */
    uint64_t task;         /* the first in hand; 0: none */
    size_t in_hand;
    tt_str kind;
    tt_str queues;         /* that it asked for last, with commas between; empty: not known */
    int64_t busy_ms;       /* how long it has worked, about */
} tt_worker_info;
/* In no order; fn must not call tasks. */
void tt_tasks_each_worker(tt_tasks *t, void (*fn)(void *arg, const tt_worker_info *info), void *arg);
/* For health: how many are attached, and how many of them consume. Those that serve nothing but TT_QUERY_QUEUE are not counted here, but by the other one. */
void tt_tasks_count_workers(tt_tasks *t, unsigned *ret_attached, unsigned *ret_consuming);
void tt_tasks_count_query_workers(tt_tasks *t, unsigned *ret_attached, unsigned *ret_consuming);
#define TT_QUERY_QUEUE TT_STR("query") /* of parts of queries: ordinary workers do not serve it */
/* Since any worker last got a task (ms); -1: none has since the server started. */
int64_t tt_tasks_last_claim_ago(tt_tasks *t);

typedef struct tt_task_claim {
    tt_str worker;         /* attached */
    const tt_str *queues;  /* served in this order; NULL: "default" */
    size_t queue_count;
    int64_t wait_ms;       /* 0: answer at once */
    int64_t lease_ms;
    size_t most;           /* tasks at once; 0: one. Workers that wait get one each before any gets more */
    /* TT_OK with tasks, or count 0: none came in time. The tasks live until the callback returns. */
    void (*done)(struct tt_task_claim *c, tt_rc rc, const tt_task *tasks, size_t count, const tt_err *err);
    /* tasks.c's own: */
    struct tt_task_claim *next;
    tt_arena arena;
    tt_task first, *tasks; /* tasks: first, or room for most in the arena */
    size_t count;
    tt_rc rc;
    tt_err err;
    int64_t deadline_ms;
    uint64_t generation;
    bool over;             /* time is up, or its worker went: answer, do not keep */
} tt_task_claim;
void tt_tasks_claim(tt_tasks *t, tt_task_claim *c);
/* From now on no task of these queues is given to anybody (`*`: of any queue); queues NULL: all are again. The names must live until the next call.
 * On a shared ledger it holds for a minute: say it again while it lasts. */
void tt_tasks_suspend(tt_tasks *t, char *const *queues, size_t count);

/* ---- drains ---- */

#define TT_TASK_DRAIN_RECORD TT_STR("drain") /* kind of the records of workers that are drained, by name; `*`: all */
/* A drained worker gets no task from then on, whatever waits and whoever starts again; what it has it ends. worker `*`: all there are and will be. It stays so until it
 * is resumed. TT_CONFLICT: one is resumed while all are drained. Waits for the disk. */
tt_rc tt_tasks_drain_worker(tt_tasks *t, tt_str worker, tt_err *err) TT_MUST_CHECK;
tt_rc tt_tasks_resume_worker(tt_tasks *t, tt_str worker, tt_err *err) TT_MUST_CHECK;

/* ---- one task ---- */

typedef enum {
    TT_TASK_DO_PUSH, TT_TASK_DO_EXTEND, TT_TASK_DO_FINISH, TT_TASK_DO_FAIL, TT_TASK_DO_RELEASE, TT_TASK_DO_CANCEL, TT_TASK_DO_RETRY, TT_TASK_DO_DELETE,
    TT_TASK_DO_PROGRESS, TT_TASK_DO_NOTE,
} tt_task_verb;

typedef struct tt_task_op {
    tt_task_verb verb;
    uint64_t id;              /* a push fills it in */
    uint64_t lease;
    int64_t lease_ms;         /* extend */
    int64_t delay_ms;         /* release */
    tt_str text;              /* finish: result; fail, cancel, release, note: reason; progress: the map */
    bool final;               /* fail */
    bool alone;               /* release */
    const tt_task_spec *spec; /* push */
    void (*done)(struct tt_task_op *op, tt_rc rc, const tt_err *err);
    tt_change change;         /* ours, as is the next */
    tt_tasks *tasks;
} tt_task_op;
/* As the queue's functions of the same names; done is called when it is durable (extend, release, progress: decided). */
void tt_tasks_do(tt_tasks *t, tt_task_op *op);

/* Several operations in one change: all durable together. Each has a result of its own; those that the queue refused (a lease that is gone, a
 * key that is taken) leave the others alone. The operations' done is not called. */
typedef struct tt_task_batch {
    tt_task_op *ops;
    tt_rc *rcs;               /* of each */
    size_t count;
    void (*done)(struct tt_task_batch *b, tt_rc rc, const tt_err *err); /* rc: of the change; when it is not TT_OK nothing was done */
    tt_change change;         /* ours, as is the next */
    tt_tasks *tasks;
} tt_task_batch;
void tt_tasks_do_all(tt_tasks *t, tt_task_batch *b);

/* These tasks were canceled in a change of another floor, which is committed: whoever works on one hears of it now. Any thread. */
void tt_tasks_tell_canceled(tt_tasks *t, const uint64_t *ids, size_t count);

/* Waits until a claimed task is its worker's no longer: how a worker hears of a cancel at once. */
typedef struct tt_task_hold {
    uint64_t id, lease;
    int64_t wait_ms;
    /* TT_OK: the time is over, it still is; TT_CANCELED; TT_GONE: it ended, or the lease is another's. */
    void (*done)(struct tt_task_hold *h, tt_rc rc);
    /* ours: */
    struct tt_task_hold *next;
    int64_t deadline_ms;
} tt_task_hold;
void tt_tasks_hold(tt_tasks *t, tt_task_hold *h);

/* One task as it is now: the committed state, and what is newer in memory. */
/* What somebody asks for a new task: whether workers could ever claim it from that queue (they separate names by commas), and how large the numbers may be.
 * Any thread. TT_INVALID with a sentence about the first mistake. */
tt_rc tt_task_check_wish(tt_str queue, int64_t priority, int64_t max_attempts, tt_err *err) TT_MUST_CHECK;
tt_rc tt_tasks_get(tt_tasks *t, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err) TT_MUST_CHECK;
/* Whether words about a task under this lease are to be taken: it is claimed under it, or was last. May wait for the disk. */
tt_rc tt_tasks_check_lease(tt_tasks *t, uint64_t id, uint64_t lease, tt_err *err) TT_MUST_CHECK;
/* The queue's functions about limits, as changes; done on the writer thread. */
tt_rc tt_tasks_put_limit(tt_tasks *t, const tt_limit *limit, tt_err *err) TT_MUST_CHECK;    /* waits for the disk */
tt_rc tt_tasks_delete_limit(tt_tasks *t, tt_str key, tt_err *err) TT_MUST_CHECK;            /* waits for the disk */

/* Push a `probe` and wait until a worker has finished it. TT_UNAVAILABLE: no worker is attached; TT_TIMEOUT: none took it in time. */
typedef struct tt_probe {
    int64_t timeout_ms;
    void (*done)(struct tt_probe *p, tt_rc rc, int64_t elapsed_us, const tt_err *err);
    /* tasks.c's own: */
    struct tt_probe *next;
    tt_task_op op;
    tt_task_spec spec;
    int64_t start_us, deadline_ms;
} tt_probe;
void tt_tasks_probe(tt_tasks *t, tt_probe *p);

#endif
