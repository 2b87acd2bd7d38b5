/* The queue: tasks that workers claim under a lease. Life of a task:
 *
 *   deferred -(all it waits for finished)-> queued -claim-> started -finish-> finished
 *      |                                      ^               |-- fail, attempts left ---> scheduled (backoff), queued without one
 *      |                                      |               |-- fail, none left -------> failed
 *      |              scheduled -(run_at came)'               |-- lease expired ---------> as fail, reason "lease expired"
 *      |                                                      |-- release, or a new epoch -> queued, the attempt forgiven
 *      '-(one of them failed or was canceled)-> failed
 *   any that has not ended -cancel-> canceled          failed, canceled -retry-> queued (deferred by a limit), as if new
 *
 * A task with a limit's key is deferred ("held") until the limit lets it through (limits.h), before it is queued: what is queued may be
 * claimed, so that a claim costs the same however many tasks wait.
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

/* A record that comes to be with a task, or neither does (records.h). */
typedef struct {
    tt_str kind, name;
    uint64_t expect_version;
    tt_str value;
} tt_task_record;
enum { TT_TASK_RECORDS = 2 };
/* Says which, once the task's number is known; the texts must live until the push is over. */
typedef tt_rc tt_task_records_fn(void *arg, uint64_t id, tt_task_record ret[TT_TASK_RECORDS], size_t *ret_count, tt_err *err);

typedef struct {
    tt_str queue;         /* "default" */
    tt_str kind;          /* row of the task kinds table: "probe", ... */
    tt_str unique_key;    /* empty, or: at most one unfinished task with this key (TT_EXISTS, *ret_id is the present one) */
    tt_str payload;       /* opaque bytes */
    int32_t priority;     /* larger first */
    uint32_t max_attempts;/* 0: 1 */
    int64_t backoff_ms;   /* before the second attempt, doubled each time, at most an hour */
    int64_t run_at_ms;    /* wall clock; 0: now */
    tt_str program;       /* what it is about, for lists; may be empty */
    tt_str limit_key;     /* empty, or the limit that it is under (limits.h); a key without a limit has none */
    int64_t timeout_ms;   /* of one attempt; 0: none. Kept for the worker, which enforces it */
    uint64_t memory_bytes;/* of one attempt; 0: none. As above */
    int64_t keep_ms;      /* forgotten so long after its end, however it ended; 0: as tt_queue_keep says */
    const uint64_t *waits_for; /* ids that must be finished first; a failed or canceled one fails this task */
    size_t waits_for_count;
    tt_task_records_fn *records; /* NULL: none; a record that cannot be put refuses the push */
    void *records_arg;
} tt_task_spec;

typedef struct {
    uint64_t id;
    tt_task_state state;
    uint32_t attempts;
    uint64_t lease;       /* fencing token of the present or last claim; 0: never claimed */
    int64_t lease_until_ms; /* monotonic of this server's boot; 0: none */
    int64_t created_ms, started_ms, ended_ms; /* wall clock; 0: not yet */
    int32_t priority;
    uint32_t max_attempts;
    int64_t run_at_ms, timeout_ms;
    uint64_t memory_bytes;
    bool alone;           /* its last worker died with several in hand: now it is claimed alone, so that the guilty one is found */
    tt_str queue, kind, payload, worker, reason, result, program, unique_key, limit_key, progress; /* owned by whoever gave the struct (see each function) */
} tt_task;

tt_rc tt_queue_push(tt_txn *txn, const tt_task_spec *spec, uint64_t *ret_id, tt_err *err) TT_MUST_CHECK;
/* Up to most of the next tasks of the named queues (served in that order; by priority, then age within one). TT_NOT_FOUND: none is ready; TT_BUSY: the worker is drained (there is a record of the kind `drain` with its name, or `*`).
 * ret has room for most; strings are owned by the arena. */
tt_rc tt_queue_claim(tt_txn *txn, const tt_str *queues, size_t queue_count, tt_str worker, int64_t lease_ms, size_t most, tt_arena *arena, tt_task *ret,
                     size_t *ret_count, tt_err *err) TT_MUST_CHECK;
/* These and the next ones: TT_CANCELED when the task was canceled meanwhile, TT_GONE when the lease is another's, or the task ended. Nothing was written then. */
tt_rc tt_queue_extend(tt_txn *txn, uint64_t id, uint64_t lease, int64_t lease_ms, tt_err *err) TT_MUST_CHECK;
tt_rc tt_queue_finish(tt_txn *txn, uint64_t id, uint64_t lease, tt_str result, tt_err *err) TT_MUST_CHECK;
tt_rc tt_queue_fail(tt_txn *txn, uint64_t id, uint64_t lease, tt_str reason, bool final, tt_err *err) TT_MUST_CHECK;
/* Give a claimed task back without an attempt (a worker that drains, or lacks what it needs), to be claimed again after delay_ms. alone: see tt_task. */
tt_rc tt_queue_release(tt_txn *txn, uint64_t id, uint64_t lease, int64_t delay_ms, tt_str reason, bool alone, tt_err *err) TT_MUST_CHECK;
/* The progress map of a started task: bytes, JSON by custom. */
tt_rc tt_queue_progress(tt_txn *txn, uint64_t id, uint64_t lease, tt_str progress, tt_err *err) TT_MUST_CHECK;
/* Adds to the reason of a canceled task what became of it at the worker that had this lease. */
tt_rc tt_queue_note(tt_txn *txn, uint64_t id, uint64_t lease, tt_str text, tt_err *err) TT_MUST_CHECK;
tt_rc tt_queue_cancel(tt_txn *txn, uint64_t id, tt_str reason, tt_err *err) TT_MUST_CHECK;
/* A failed or canceled task once more, with all its attempts (TT_CONFLICT: it is in another state; TT_EXISTS: its unique key is taken). */
tt_rc tt_queue_retry(tt_txn *txn, uint64_t id, tt_err *err) TT_MUST_CHECK;
/* Forget an ended task. TT_CONFLICT: it has not ended. */
tt_rc tt_queue_delete(tt_txn *txn, uint64_t id, tt_err *err) TT_MUST_CHECK;

/* How long ended tasks are kept. */
typedef struct {
    int64_t finished_ms;  /* finished and canceled ones; negative: for ever */
    int64_t failed_ms;    /* failed ones, the dead letters; negative: for ever */
    uint64_t most;        /* of each of the three ends; 0: any number */
} tt_queue_keep;
/* Expired leases, scheduled tasks and limits that are due, and ended tasks that are kept no longer. Does a bounded amount of work.
 * *ret_next_ms: when to call again (monotonic), -1: nothing is waiting for time. */
tt_rc tt_queue_tick(tt_txn *txn, const tt_queue_keep *keep, int64_t *ret_next_ms, tt_err *err) TT_MUST_CHECK;
/* Committed state of one task; strings in the arena. Any thread. */
tt_rc tt_queue_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err) TT_MUST_CHECK;
/* Committed lease and state. */
tt_rc tt_queue_get_lease(tt_ledger *ledger, uint64_t id, uint64_t *ret_lease, tt_task_state *ret_state, tt_err *err) TT_MUST_CHECK;

enum { TT_TASK_LIST_MOST = 1000, TT_TASK_ANY_STATE = -1 };
typedef struct {
    int state;            /* a tt_task_state or TT_TASK_ANY_STATE */
    tt_str queue, kind, program; /* empty: any */
    uint64_t before_id;   /* older than this one; 0: from the newest on */
    size_t most;          /* at most TT_TASK_LIST_MOST */
} tt_task_filter;
/* Newest first, without payloads and results; ret has room for filter->most. Looks at a bounded number of tasks: *ret_next (before_id for the next
 * call, 0: that was all) may come with few tasks, or none. */
tt_rc tt_queue_list(tt_ledger *ledger, const tt_task_filter *filter, tt_arena *arena, tt_task *ret, size_t *ret_count, uint64_t *ret_next, tt_err *err) TT_MUST_CHECK;

typedef struct { uint64_t by_state[7]; int64_t oldest_queued_ms; /* age; 0: none */ } tt_queue_counts;
tt_rc tt_queue_count(tt_ledger *ledger, tt_str queue, tt_queue_counts *ret, tt_err *err) TT_MUST_CHECK; /* empty queue name: all */
/* Age of the oldest queued task (ms), 0: none is. At the cost of one look, however many there are. */
tt_rc tt_queue_oldest(tt_ledger *ledger, int64_t *ret_ms, tt_err *err) TT_MUST_CHECK;
/* Queues with tasks that have not ended, in no order; only those states are counted. *ret is owned by the arena. */
typedef struct { tt_str name; tt_queue_counts counts; } tt_queue_info;
tt_rc tt_queue_each(tt_ledger *ledger, tt_arena *arena, tt_queue_info **ret, size_t *ret_count, tt_err *err) TT_MUST_CHECK;

/* Where each change of the queue is a call to another process, many may be made with one wait for it: each function of a step is called twice with the same
 * arguments, first to send (what it gives then means nothing), then to read. False: this ledger needs none of that. Not for pushes with records. */
typedef enum { TT_QUEUE_ONE_BY_ONE, TT_QUEUE_SEND, TT_QUEUE_READ } tt_queue_pace;
bool tt_queue_set_pace(tt_txn *txn, tt_queue_pace pace);

/* What is known only where several machines share a ledger; a ledger of this machine alone has none of it. */
typedef struct {
    tt_str name, queues, kind;     /* kind: of the task */
    int64_t pid, since_ms, seen_ago_ms;
    uint64_t done, failed, in_hand, task; /* task: the first in hand; 0: none */
} tt_queue_worker;
/* From now on nothing of these queues (`*`: of any) is given out to anybody, for a minute at most; none: all are again. A ledger of one machine does nothing. */
tt_rc tt_queue_suspend(tt_txn *txn, const tt_str *queues, size_t queue_count, tt_err *err) TT_MUST_CHECK;
/* Workers that work on the ledger without a server; *ret is owned by the arena. */
tt_rc tt_queue_workers(tt_ledger *ledger, tt_arena *arena, tt_queue_worker **ret, size_t *ret_count, tt_err *err) TT_MUST_CHECK;
/* The log of a task: at most max bytes from this one on, appended to out (NULL: none), and how many there are (NULL: not asked). */
tt_rc tt_queue_read_log(tt_ledger *ledger, uint64_t id, uint64_t from, size_t max, tt_buf *out, uint64_t *ret_size, tt_err *err) TT_MUST_CHECK;
/* What goes beyond most bytes in all is dropped. */
tt_rc tt_queue_append_log(tt_ledger *ledger, uint64_t id, tt_str bytes, uint64_t most, tt_err *err) TT_MUST_CHECK;

#endif
