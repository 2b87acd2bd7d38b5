/* The queue: tasks that workers claim under a lease. Life of a task:
 *
 *   deferred -(all it waits for finished)-> queued -claim-> started -finish-> finished
 *   scheduled -(run_at came)-> queued          |-- fail, attempts left --> scheduled (backoff)
 *                                              |-- fail, none left -----> failed
 *                                              |-- lease expired -------> as fail, reason "lease expired"
 *   any that has not ended -cancel-> canceled
 *
 * The claim's lease is a fencing token (counts up per task): extend, finish and fail under an old one are refused (TT_GONE).
 * Transitions are a table in queue.c. Claims are decided on the writer thread but do not wait for the disk: leases of an older boot epoch are void. */
#ifndef TT_LEDGER_QUEUE_H
#define TT_LEDGER_QUEUE_H

#include "base/buf.h"
#include "base/mem.h"
#include "ledger/ledger.h"

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
    uint64_t lease;       /* fencing token of the present or last claim */
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
/* Expired leases and scheduled tasks that are due, and finished ones older than keep_ms deleted. *ret_next_ms: when to call again (monotonic), -1: nothing is waiting for time. */
tt_rc tt_queue_tick(tt_txn *txn, int64_t keep_ms, int64_t *ret_next_ms, tt_err *err) TT_MUST_CHECK;
/* Committed state of one task; strings in the arena. Any thread. */
tt_rc tt_queue_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err) TT_MUST_CHECK;
typedef struct { uint64_t by_state[7]; int64_t oldest_queued_ms; /* age; 0: none */ } tt_queue_counts;
tt_rc tt_queue_count(tt_ledger *ledger, tt_str queue, tt_queue_counts *ret, tt_err *err) TT_MUST_CHECK; /* empty queue name: all */

#endif
