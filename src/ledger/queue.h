/* The queue: tasks that workers claim under a lease. Life of a task:
 *
 *   deferred -(all it waits for finished)-> queued -claim-> started -finish-> finished
 *      |                                      ^               |-- fail, attempts left ---> scheduled (backoff), queued without one
 *      |                                      |               |-- fail, none left -------> failed
 *      |              scheduled -(run_at came)'               |-- lease expired ---------> as fail, reason "lease expired"
 *      |                                                      |-- release, or a new epoch -> queued, the attempt forgiven
 *      '-(one of them failed or was canceled)-> failed
 *   any that has not ended -cancel-> canceled
 *
 * An attempt is counted when a task is claimed. The claim's lease is a fencing token, larger than all before it, also across
 * restarts: extend, finish, fail and release under an old one are refused (TT_GONE). A lease that ran out is gone when tick says so;
 * until then its holder may still finish. Claims are decided on the writer thread and do not wait for the disk (submit them as lazy
 * changes): a claim that a crash undoes was never counted. Leases of an older boot epoch are void: when the ledger opens, its
 * started tasks are queued again with the attempt forgiven, since it was the server that went away and not the worker that failed.
 * The transitions are a table in queue.c. */
#ifndef TT_LEDGER_QUEUE_H
#define TT_LEDGER_QUEUE_H

#include "base/buf.h"
#include "base/mem.h"
#include "ledger/ledger.h"

/* The numbers are stored. */
typedef enum { TT_TASK_DEFERRED, TT_TASK_SCHEDULED, TT_TASK_QUEUED, TT_TASK_STARTED, TT_TASK_FINISHED, TT_TASK_FAILED, TT_TASK_CANCELED } tt_task_state;
const char *tt_task_state_name(tt_task_state s);

typedef struct {
    tt_str queue;         /* "default" */
    tt_str kind;          /* row of the task kinds table: "probe", ... */
    tt_str unique_key;    /* empty, or: at most one unfinished task with this key (TT_EXISTS, *ret_id is the present one) */
    tt_str payload;       /* opaque bytes */
    int32_t priority;     /* larger first */
    uint32_t max_attempts;/* 0: 1 */
    int64_t backoff_ms;   /* before the second attempt, doubled each time, at most an hour */
    int64_t run_at_ms;    /* wall clock; 0: now */
    const uint64_t *waits_for; /* ids that must be finished first; a failed or canceled one fails this task */
    size_t waits_for_count;
} tt_task_spec;

typedef struct {
    uint64_t id;
    tt_task_state state;
    uint32_t attempts;
    uint64_t lease;       /* fencing token of the present or last claim; 0: never claimed */
    int64_t lease_until_ms; /* monotonic of this server's boot; 0: none */
    int64_t created_ms, started_ms, ended_ms; /* wall clock; 0: not yet */
    tt_str queue, kind, payload, worker, reason, result; /* owned by whoever gave the struct (see each function) */
} tt_task;

tt_rc tt_queue_push(tt_txn *txn, const tt_task_spec *spec, uint64_t *ret_id, tt_err *err) TT_MUST_CHECK;
/* The next task of the named queues (served in that order; by priority, then age within one). TT_NOT_FOUND: none is ready. *ret is owned by the arena. */
tt_rc tt_queue_claim(tt_txn *txn, const tt_str *queues, size_t queue_count, tt_str worker, int64_t lease_ms, tt_arena *arena, tt_task *ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_queue_extend(tt_txn *txn, uint64_t id, uint64_t lease, int64_t lease_ms, tt_err *err) TT_MUST_CHECK;
tt_rc tt_queue_finish(tt_txn *txn, uint64_t id, uint64_t lease, tt_str result, tt_err *err) TT_MUST_CHECK;
tt_rc tt_queue_fail(tt_txn *txn, uint64_t id, uint64_t lease, tt_str reason, bool final, tt_err *err) TT_MUST_CHECK;
/* Give a claimed task back without an attempt (a worker that drains). */
tt_rc tt_queue_release(tt_txn *txn, uint64_t id, uint64_t lease, tt_err *err) TT_MUST_CHECK;
tt_rc tt_queue_cancel(tt_txn *txn, uint64_t id, tt_str reason, tt_err *err) TT_MUST_CHECK;
/* Expired leases and scheduled tasks that are due, and finished and canceled ones older than keep_ms deleted (negative: none; failed ones
 * stay, they are the dead letters). Does a bounded amount of work. *ret_next_ms: when to call again (monotonic), -1: nothing is waiting for time. */
tt_rc tt_queue_tick(tt_txn *txn, int64_t keep_ms, int64_t *ret_next_ms, tt_err *err) TT_MUST_CHECK;
/* Committed state of one task; strings in the arena. Any thread. */
tt_rc tt_queue_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err) TT_MUST_CHECK;
typedef struct { uint64_t by_state[7]; int64_t oldest_queued_ms; /* age; 0: none */ } tt_queue_counts;
tt_rc tt_queue_count(tt_ledger *ledger, tt_str queue, tt_queue_counts *ret, tt_err *err) TT_MUST_CHECK; /* empty queue name: all */

#endif
