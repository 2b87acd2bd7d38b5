/* What the files of runs share: runs.c (how a run moves), runs_again.c (what people do with it), runs_read.c (looking); and, of a shared ledger, shared_runs.c. */
#ifndef TT_LEDGER_RUNS_INNER_H
#define TT_LEDGER_RUNS_INNER_H

#include "ledger/queue_inner.h"
#include "ledger/runs.h"

/* Of either ledger. */
enum { TT_RUN_PIPELINE_BYTES = 255 };
tt_rc tt_run_check_spec(const tt_run_spec *spec, tt_err *err) TT_MUST_CHECK;
tt_rc tt_run_check_pipeline(tt_str pipeline, tt_err *err) TT_MUST_CHECK;

/* What decides how a run moves. */
typedef struct {
    uint64_t id;
    tt_run_state state;
    int64_t at_group, open, bad, group_count, max_runs, max_tasks, task_count;
    bool held;
    char pipeline[TT_RUN_PIPELINE_BYTES + 1];
} tt_run_row;

/* Ids of the rows of a run. */
static inline uint64_t tt_run_row_id(uint64_t run, uint64_t number) { return run << TT_RUN_TASK_BITS | number; }
static inline uint64_t tt_run_last_id(uint64_t run) { return tt_run_row_id(run, TT_RUN_MOST_TASKS - 1); }

tt_rc tt_run_row_find(tt_db *db, uint64_t id, tt_run_row *ret, tt_err *err) TT_MUST_CHECK;
/* The first column of the one row that a statement about all tasks of a run gives; fallback when there is none. */
tt_rc tt_run_number(tt_db *db, tt_sql which, uint64_t run, int64_t fallback, int64_t *ret, tt_err *err) TT_MUST_CHECK;
/* Begins waiting runs of the pipeline as long as there are places. */
tt_rc tt_run_begin_waiting(tt_db *db, const char *pipeline, tt_err *err) TT_MUST_CHECK;
/* Nothing is open: the next group with something to do, or the end; held when the pipeline is paused. begins: failed tasks are no reason to end. */
tt_rc tt_run_advance(tt_db *db, uint64_t id, bool begins, tt_err *err) TT_MUST_CHECK;
/* Ids of the first and the last task of a group. */
tt_rc tt_run_group_range(tt_db *db, uint64_t run, int64_t group, uint64_t *ret_first, uint64_t *ret_last, tt_err *err) TT_MUST_CHECK;
/* Pushes the waiting tasks of a group. */
tt_rc tt_run_release(tt_db *db, const tt_run_row *r, int64_t group, int64_t *ret_count, tt_err *err) TT_MUST_CHECK;
tt_rc tt_run_end(tt_db *db, const tt_run_row *r, tt_run_state how, tt_str reason, tt_err *err) TT_MUST_CHECK;
tt_rc tt_run_paused(tt_db *db, const char *pipeline, bool *ret, tt_err *err) TT_MUST_CHECK;

#endif
