/* Time in the queue: leases that run out, tasks whose time comes, limits that fill up again, ended tasks that are kept no longer. */
#include "base/clock.h"
#include "ledger/queue_inner.h"
#include "ledger/store.h"

enum {
    TICK_TASKS = 500,              /* of each sort in one tick */
    TICK_AT_LEAST_MS = 60 * 1000,  /* the wall clock may jump: look again after this */
};

static tt_rc list_ids(tt_db *db, tt_sql which, int64_t until_ms, tt_id_list *ids, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, which, &st, err, TT_A_INT(until_ms), TT_A_INT(TICK_TASKS)));
    return tt_task_read_ids(db, st, ids, err);
}

static tt_rc expire(tt_db *db, bool *ret_more, tt_err *err)
{
    TT_IDS_AUTO tt_id_list ids = {0};
    TT_TRY(list_ids(db, TT_SQL_TASK_EXPIRED, tt_mono_ms(), &ids, err));
    for (size_t i = 0; i < ids.len; i++) {
        tt_task_row t;
        TT_TRY(tt_task_row_find(db, ids.ptr[i], &t, err));
        TT_TRY(tt_task_fail_attempt(db, &t, TT_STR("lease expired"), false, err));
    }
    *ret_more |= ids.len == TICK_TASKS;
    return TT_OK;
}

static tt_rc queue_due(tt_db *db, bool *ret_more, tt_err *err)
{
    TT_IDS_AUTO tt_id_list ids = {0};
    TT_TRY(list_ids(db, TT_SQL_TASK_DUE, tt_wall_ms(), &ids, err));
    for (size_t i = 0; i < ids.len; i++) {
        tt_task_row t;
        TT_TRY(tt_task_row_find(db, ids.ptr[i], &t, err));
        TT_TRY(tt_task_make_ready(db, &t, err));
    }
    *ret_more |= ids.len == TICK_TASKS;
    return TT_OK;
}

static tt_rc drop_listed(tt_db *db, const tt_id_list *ids, bool *ret_more, tt_err *err)
{
    for (size_t i = 0; i < ids->len; i++)
        TT_TRY(tt_task_drop(db, ids->ptr[i], err));
    *ret_more |= ids->len == TICK_TASKS;
    return TT_OK;
}

static tt_rc list_old(tt_db *db, tt_task_state state, int64_t until_ms, tt_id_list *ids, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_OLD, &st, err, TT_A_INT(until_ms), TT_A_INT(TICK_TASKS), TT_A_INT(state)));
    return tt_task_read_ids(db, st, ids, err);
}

/* When the last one ended that must go because there are more than most; INT64_MIN: none must. */
static tt_rc surplus_until(tt_db *db, tt_task_state state, uint64_t most, int64_t *ret_ms, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_NTH_OLD, &st, err, TT_A_INT(state), TT_A_INT(most)));
    return tt_task_read_number(db, st, INT64_MIN, ret_ms, err);
}

static int64_t keep_ms_of(const tt_queue_keep *keep, tt_task_state state) { return state == TT_TASK_FAILED ? keep->failed_ms : keep->finished_ms; }

static tt_rc drop_old(tt_db *db, tt_task_state state, const tt_queue_keep *keep, bool *ret_more, tt_err *err)
{
    TT_IDS_AUTO tt_id_list ids = {0};
    int64_t keep_ms = keep_ms_of(keep, state), until_ms = keep_ms < 0 ? INT64_MIN : tt_wall_ms() - keep_ms, surplus_ms = INT64_MIN;
    if (keep->most)
        TT_TRY(surplus_until(db, state, keep->most, &surplus_ms, err));
    until_ms = surplus_ms > until_ms ? surplus_ms : until_ms;
    if (until_ms == INT64_MIN)
        return TT_OK;
    TT_TRY(list_old(db, state, until_ms, &ids, err));
    return drop_listed(db, &ids, ret_more, err);
}

/* Those with a time of their own. */
static tt_rc drop_expired(tt_db *db, bool *ret_more, tt_err *err)
{
    TT_IDS_AUTO tt_id_list ids = {0};
    TT_TRY(list_ids(db, TT_SQL_TASK_EXPIRING, tt_wall_ms(), &ids, err));
    return drop_listed(db, &ids, ret_more, err);
}

/* The smallest time of a sort, INT64_MAX when there is none. */
static tt_rc next_time(tt_db *db, tt_sql which, int64_t *ret_ms, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query_args(db, which, &st, NULL, 0, err));
    return tt_task_read_number(db, st, INT64_MAX, ret_ms, err);
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

/* Deleting is not urgent: not more often than TICK_AT_LEAST_MS. Surplus ones are looked for as often as that, while there are any at all. */
static tt_rc next_drop(tt_db *db, tt_task_state state, const tt_queue_keep *keep, int64_t *ret_ms, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    int64_t ended_ms, keep_ms = keep_ms_of(keep, state);
    TT_TRY(tt_db_query(db, TT_SQL_TASK_NEXT_OLD, &st, err, TT_A_INT(state)));
    TT_TRY(tt_task_read_number(db, st, INT64_MAX, &ended_ms, err));
    if (ended_ms == INT64_MAX || keep_ms < 0)
        return TT_OK;
    int64_t in_ms = ended_ms - tt_wall_ms() + keep_ms;
    *ret_ms = earlier(*ret_ms, tt_mono_ms() + (in_ms > TICK_AT_LEAST_MS ? in_ms : TICK_AT_LEAST_MS));
    return TT_OK;
}

/* A time of the wall clock as one of ours; looked at again before long, because that clock may jump. */
static int64_t as_mono(int64_t wall_ms)
{
    if (wall_ms == INT64_MAX)
        return INT64_MAX;
    return tt_mono_ms() + earlier(wall_ms - tt_wall_ms(), TICK_AT_LEAST_MS);
}

static tt_rc next_tick(tt_db *db, const tt_queue_keep *keep, int64_t limit_ms, int64_t *ret_next_ms, tt_err *err)
{
    int64_t expiry_ms, due_ms, drop_ms, now_ms = tt_mono_ms();
    TT_TRY(next_time(db, TT_SQL_TASK_NEXT_EXPIRY, &expiry_ms, err));
    TT_TRY(next_time(db, TT_SQL_TASK_NEXT_DUE, &due_ms, err));
    TT_TRY(next_time(db, TT_SQL_TASK_NEXT_EXPIRING, &drop_ms, err));
    int64_t next_ms = earlier(earlier(expiry_ms, as_mono(earlier(due_ms, limit_ms))), as_mono(drop_ms));
    for (tt_task_state s = TT_TASK_FINISHED; s <= TT_TASK_CANCELED; s++)
        TT_TRY(next_drop(db, s, keep, &next_ms, err));
    *ret_next_ms = next_ms == INT64_MAX ? -1 : next_ms > now_ms ? next_ms : now_ms;
    return TT_OK;
}

tt_rc tt_sqlite_tick(tt_txn *txn, const tt_queue_keep *keep, int64_t *ret_next_ms, tt_err *err)
{
    tt_db *db;
    bool more = false;
    int64_t limit_ms;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(expire(db, &more, err));
    TT_TRY(queue_due(db, &more, err));
    TT_TRY(tt_limits_tick(db, &limit_ms, err));
    TT_TRY(drop_expired(db, &more, err));
    for (tt_task_state s = TT_TASK_FINISHED; s <= TT_TASK_CANCELED; s++)
        TT_TRY(drop_old(db, s, keep, &more, err));
    if (!more)
        return next_tick(db, keep, limit_ms, ret_next_ms, err);
    *ret_next_ms = tt_mono_ms();
    return TT_OK;
}

tt_rc tt_queue_recover(tt_txn *txn, tt_err *err)
{
    tt_db *db;
    TT_TRY(tt_txn_write(txn, &db, err));
    return tt_db_run_plain(db, TT_SQL_TASK_RECOVER, err);
}
