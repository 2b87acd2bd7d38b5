/* The server's side of tasks: workers attach, wait for work, and report; the queue in the ledger decides. Claims wait in a
 * list in memory and are decided together, on the writer thread, whenever something may have become ready; nobody polls.
 * Leases that run out and tasks whose time comes are looked after by one timer.
 * Any thread; callbacks run once, mostly on the ledger's writer thread or the timer's, and must be short. What is handed in
 * (claim, operation, probe) belongs to the caller and must live until its callback. */
#ifndef TT_WORK_TASKS_H
#define TT_WORK_TASKS_H

#include "base/timer.h"
#include "ledger/queue.h"
#include "ledger/watch.h"

typedef struct tt_tasks tt_tasks;

typedef struct {
    tt_ledger *ledger;
    tt_watches *watches;   /* "task/ID" is notified when a task ends */
    tt_timers *timers;
} tt_tasks_env;

tt_rc tt_tasks_open(const tt_tasks_env *env, tt_tasks **ret, tt_err *err) TT_MUST_CHECK;
/* Waiting claims come back empty, new ones are refused (TT_UNAVAILABLE); reports are still taken. */
void tt_tasks_drain(tt_tasks *t);
/* Drains, waits for what is under way. Before the ledger is closed and the timers are stopped. */
void tt_tasks_close(tt_tasks *t);
/* Something may have become ready: for floors above that push inside a change of their own, after its commit. */
void tt_tasks_wake(tt_tasks *t);

/* ---- workers ---- */

/* Says "I hold nothing": tasks in the books of this name go back; with the attempt counted when another process had them (it died). */
tt_rc tt_tasks_attach(tt_tasks *t, tt_str worker, int64_t pid, tt_err *err) TT_MUST_CHECK;
/* Leaves; what it holds goes back without an attempt. TT_NOT_FOUND: not attached by this process. */
tt_rc tt_tasks_detach(tt_tasks *t, tt_str worker, int64_t pid, tt_err *err) TT_MUST_CHECK;

typedef struct {
    tt_str name;
    int64_t pid, since_ms; /* wall clock */
    int64_t seen_ago_ms;
    uint64_t done, failed;
    bool consuming;        /* waits for work, or has some */
    uint64_t task;         /* one in hand; 0: none */
    tt_str kind;
} tt_worker_info;
/* In no order; fn must not call tasks. */
void tt_tasks_each_worker(tt_tasks *t, void (*fn)(void *arg, const tt_worker_info *info), void *arg);
/* For health: how many are attached, and how many of them consume. */
void tt_tasks_count_workers(tt_tasks *t, unsigned *ret_attached, unsigned *ret_consuming);

typedef struct tt_task_claim {
    tt_str worker;         /* attached */
    const tt_str *queues;  /* served in this order; NULL: "default" */
    size_t queue_count;
    int64_t wait_ms;       /* 0: answer at once */
    int64_t lease_ms;
    /* TT_OK with a task, or NULL: none came in time. The task lives until the callback returns. */
    void (*done)(struct tt_task_claim *c, tt_rc rc, const tt_task *task, const tt_err *err);
    /* tasks.c's own: */
    struct tt_task_claim *next;
    tt_arena arena;
    tt_task task;          /* id 0: none yet */
    tt_rc rc;
    tt_err err;
    int64_t deadline_ms;
    uint64_t generation;
    bool over;             /* time is up, or its worker went: answer, do not keep */
} tt_task_claim;
void tt_tasks_claim(tt_tasks *t, tt_task_claim *c);

/* ---- one task ---- */

typedef enum { TT_TASK_DO_PUSH, TT_TASK_DO_EXTEND, TT_TASK_DO_FINISH, TT_TASK_DO_FAIL, TT_TASK_DO_RELEASE, TT_TASK_DO_CANCEL } tt_task_verb;

typedef struct tt_task_op {
    tt_task_verb verb;
    uint64_t id;              /* a push fills it in */
    uint64_t lease;
    int64_t lease_ms;         /* extend */
    tt_str text;              /* finish: result; fail, cancel: reason */
    bool final;               /* fail */
    const tt_task_spec *spec; /* push */
    void (*done)(struct tt_task_op *op, tt_rc rc, const tt_err *err);
    tt_change change;         /* tasks.c's own, as is the next */
    tt_tasks *tasks;
} tt_task_op;
/* As the queue's functions of the same names; done is called when it is durable (extend, release: decided). */
void tt_tasks_do(tt_tasks *t, tt_task_op *op);

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
