/* Runs: DAGs of tasks, as groups that come one after the other. A run keeps its definition, and each task its payload; when it begins, the tasks of its first group
 * are pushed into the queue, and when the last open task of a group ends, those of the next are, in the same transaction: a group costs one statement,
 * however many tasks it has, and nothing but rows remembers how far a run is.
 *
 *   waiting -(a place: at most max_runs of a pipeline run)-> running -(no group is left)-> finished
 *                                                              |-(a group ended with failed tasks)-> failed
 *                                                              '-cancel-> canceled          failed, canceled, finished -again-> waiting
 *   of a task: waiting -(its group is released)-> queued -(as the queue says)-> finished | failed | canceled;  any but finished -skip-> skipped
 *
 * A failed task ends its run, but not before the others of its group have ended. Of a paused pipeline no run begins, and those that
 * run are held before their next group. While a task is queued its row in the queue (tasks.run_task) tells more; what an attempt left is copied when it ends.
 * Functions with a tt_txn: on the writer, in a change. Others: any thread, and they see what is committed. */
#ifndef TT_LEDGER_RUNS_H
#define TT_LEDGER_RUNS_H

#include "base/mem.h"
#include "ledger/queue.h"

/* The numbers are stored. */
typedef enum { TT_RUN_WAITING, TT_RUN_RUNNING, TT_RUN_FINISHED, TT_RUN_FAILED, TT_RUN_CANCELED, TT_RUN_STATES } tt_run_state;
typedef enum {
    TT_RUN_TASK_WAITING, TT_RUN_TASK_QUEUED, TT_RUN_TASK_FINISHED, TT_RUN_TASK_FAILED, TT_RUN_TASK_CANCELED, TT_RUN_TASK_SKIPPED, TT_RUN_TASK_STATES
} tt_run_task_state;
const char *tt_run_state_name(tt_run_state s);
const char *tt_run_task_state_name(tt_run_task_state s);

enum { TT_RUN_TASK_BITS = 20, TT_RUN_MOST_TASKS = 1 << TT_RUN_TASK_BITS };

typedef struct {
    tt_str name;             /* the DAG's id for it */
    tt_str program, payload, queue;
    int32_t priority;
    uint32_t max_attempts;   /* 0: 1 */
    int64_t backoff_ms, timeout_ms;
    uint64_t memory_bytes;
} tt_run_task_spec;

typedef struct { tt_str name; size_t count; } tt_run_group_spec; /* the spacer's id; its tasks follow those of the group before */

typedef struct {
    uint64_t id;             /* reserved */
    tt_str pipeline, definition, cause, actor; /* cause: "hand", "schedule", "backfill" */
    int64_t due_ms;          /* the time that it is for; 0: none */
    uint32_t max_runs;       /* 0: 1 */
    uint32_t max_tasks;      /* 0: any number */
    const tt_run_group_spec *groups;
    size_t group_count;
    const tt_run_task_spec *tasks;
    size_t task_count;
} tt_run_spec;

/* A number for a run: larger than all that were given out or used, and than at_least - 1. */
tt_rc tt_run_reserve(tt_txn *txn, uint64_t at_least, uint64_t *ret_id, tt_err *err) TT_MUST_CHECK;
/* TT_EXISTS: the number is a run's already. */
tt_rc tt_run_start(tt_txn *txn, const tt_run_spec *spec, tt_err *err) TT_MUST_CHECK;
/* TT_CONFLICT: it has ended. */
tt_rc tt_run_cancel(tt_txn *txn, uint64_t id, tt_str reason, tt_err *err) TT_MUST_CHECK;
/* TT_CONFLICT: the task has finished, or was skipped already. */
tt_rc tt_run_skip(tt_txn *txn, uint64_t id, uint32_t task, tt_str reason, tt_err *err) TT_MUST_CHECK;

typedef enum {
    TT_RUN_AGAIN_FAILED, /* what failed or was canceled, and what never ran. Of a run that runs: in its present group */
    TT_RUN_AGAIN_FROM,   /* the task's group and all behind it */
    TT_RUN_AGAIN_ONLY,   /* the one task, and nothing else */
} tt_run_again_what;
/* TT_CONFLICT: there is nothing of that, or it runs. */
tt_rc tt_run_again(tt_txn *txn, uint64_t id, tt_run_again_what what, uint32_t task, tt_err *err) TT_MUST_CHECK;

tt_rc tt_run_pause(tt_txn *txn, tt_str pipeline, bool paused, tt_err *err) TT_MUST_CHECK;
/* Forget an ended run. TT_CONFLICT: it has not ended. */
tt_rc tt_run_delete(tt_txn *txn, uint64_t id, tt_err *err) TT_MUST_CHECK;

/* ---- looking ---- */

typedef struct {
    uint64_t id, version;
    tt_run_state state;
    bool held;               /* before its next group, by a pause */
    int64_t due_ms, created_ms, started_ms, ended_ms;
    int64_t at_group;        /* that runs, or ran last; -1: none has yet */
    uint64_t group_count, task_count;
    uint64_t by_state[TT_RUN_TASK_STATES];
    tt_str pipeline, cause, actor, reason; /* in the arena */
} tt_run;

tt_rc tt_run_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_run *ret, tt_err *err) TT_MUST_CHECK;
/* Newest first, older than before_id (0: from the newest); pipeline empty: of all. ret has room for most. Without by_state. */
tt_rc tt_run_list(tt_ledger *ledger, tt_str pipeline, uint64_t before_id, size_t most, tt_arena *arena, tt_run *ret, size_t *ret_count, tt_err *err) TT_MUST_CHECK;
tt_rc tt_run_definition(tt_ledger *ledger, uint64_t id, tt_buf *ret, tt_err *err) TT_MUST_CHECK;

typedef struct {
    uint32_t number;         /* in the DAG's order, from 0 */
    uint32_t group;
    tt_run_task_state state;
    int queue_state;         /* a tt_task_state while it is queued; -1: it is not */
    uint64_t task;           /* in the queue, also of the last attempt; 0: none yet */
    uint32_t attempts, max_attempts;
    int64_t started_ms, ended_ms;
    tt_str name, worker, reason, result, progress; /* in the arena */
} tt_run_task;

/* By number, from from_number on. */
tt_rc tt_run_tasks(tt_ledger *ledger, uint64_t id, uint32_t from_number, size_t most, tt_arena *arena, tt_run_task *ret, size_t *ret_count, tt_err *err) TT_MUST_CHECK;
/* The number of a task by its name. TT_NOT_FOUND. */
tt_rc tt_run_task_find(tt_ledger *ledger, uint64_t id, tt_str name, uint32_t *ret, tt_err *err) TT_MUST_CHECK;

typedef struct { tt_str name; size_t first, count; int64_t opened_ms, ended_ms; } tt_run_group;
tt_rc tt_run_groups(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_run_group **ret, size_t *ret_count, tt_err *err) TT_MUST_CHECK;

tt_rc tt_run_is_paused(tt_ledger *ledger, tt_str pipeline, bool *ret, tt_err *err) TT_MUST_CHECK;

#endif
