/* What the files of the queue share: queue.c (transitions), queue_clock.c (time), queue_read.c (looking), limits.c. */
#ifndef TT_LEDGER_QUEUE_INNER_H
#define TT_LEDGER_QUEUE_INNER_H

#include "base/vec.h"
#include "ledger/queue.h"
#include "ledger/txn.h"

/* What decides about a transition. */
typedef struct {
    uint64_t id;
    tt_task_state state;
    uint64_t lease;
    uint32_t attempts, max_attempts;
    int64_t backoff_ms, run_at_ms, keep_ms;
    uint64_t run_task;   /* of which run's task it is an attempt (runs_inner.h); 0: of none */
    char limit_key[256]; /* "": none */
} tt_task_row;

typedef TT_VEC(uint64_t) tt_id_list;
static inline void tt_id_list_deinit(tt_id_list *ids) { tt_vec_deinit(ids); }
#define TT_IDS_AUTO __attribute__((cleanup(tt_id_list_deinit)))

tt_rc tt_task_row_find(tt_db *db, uint64_t id, tt_task_row *ret, tt_err *err) TT_MUST_CHECK;
/* TT_CONFLICT when the state machine does not go from t's state to this one. */
tt_rc tt_task_check_move(const tt_task_row *t, tt_task_state to, tt_err *err) TT_MUST_CHECK;
/* A state as it is stored; TT_CORRUPT. */
tt_rc tt_task_read_state(tt_db *db, sqlite3_stmt *st, int column, uint64_t id, tt_task_state *ret, tt_err *err) TT_MUST_CHECK;
/* The row that the statement stands on, strings copied into the arena. */
tt_rc tt_task_read(tt_db *db, sqlite3_stmt *st, tt_arena *arena, tt_task *ret, tt_err *err) TT_MUST_CHECK;
/* The first column of the one row that a statement gives; fallback when there is none, or NULL. */
tt_rc tt_task_read_number(tt_db *db, sqlite3_stmt *st, int64_t fallback, int64_t *ret, tt_err *err) TT_MUST_CHECK;
tt_rc tt_task_read_ids(tt_db *db, sqlite3_stmt *st, tt_id_list *ids, tt_err *err) TT_MUST_CHECK;

/* t (deferred or scheduled, or ended and redriven) may run now: it is queued, or held by its limit. */
tt_rc tt_task_make_ready(tt_db *db, const tt_task_row *t, tt_err *err) TT_MUST_CHECK;
/* An attempt is over: again, or the end. */
tt_rc tt_task_fail_attempt(tt_db *db, const tt_task_row *t, tt_str reason, bool final, tt_err *err) TT_MUST_CHECK;
tt_rc tt_task_drop(tt_db *db, uint64_t id, tt_err *err) TT_MUST_CHECK;

/* Let through what the limit of this key allows now (key "": nothing to do). */
tt_rc tt_limit_admit(tt_db *db, const char *key, tt_err *err) TT_MUST_CHECK;
/* The limits whose time has come; *ret_next_ms (wall clock, INT64_MAX: none) of the next one. */
tt_rc tt_limits_tick(tt_db *db, int64_t *ret_next_ms, tt_err *err) TT_MUST_CHECK;

/* A task of a run ended as this says, in the same transaction: the run goes on (runs.c). */
tt_rc tt_run_task_ended(tt_db *db, const tt_task_row *t, tt_task_state how, tt_str reason, tt_str result, tt_err *err) TT_MUST_CHECK;
/* Ends a task that has not ended, whoever has it. */
tt_rc tt_task_cancel(tt_db *db, uint64_t id, tt_str reason, tt_err *err) TT_MUST_CHECK;

#endif
