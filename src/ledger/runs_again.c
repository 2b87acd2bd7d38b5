/* What people do with runs: cancel, skip, run again, pause, forget. */
#include "base/clock.h"
#include "ledger/runs_inner.h"
#include "ledger/store.h"

static tt_rc conflict(const tt_run_row *r, const char *what, tt_err *err)
{
    return tt_fail(err, TT_CONFLICT, "run %llu is %s: %s", (unsigned long long)r->id, tt_run_state_name(r->state), what);
}

static bool has_ended(const tt_run_row *r) { return r->state >= TT_RUN_FINISHED; }

/* ---- cancel ---- */

static tt_rc list_queued(tt_db *db, uint64_t run, tt_id_list *ids, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_TASKS_QUEUED, &st, err, TT_A_INT(tt_run_row_id(run, 0)), TT_A_INT(tt_run_last_id(run))));
    return tt_task_read_ids(db, st, ids, err);
}

/* The run ends first, so that the ends of its tasks do not move it. */
tt_rc tt_sqlite_run_cancel(tt_txn *txn, uint64_t id, tt_str reason, tt_err *err)
{
    TT_IDS_AUTO tt_id_list ids = {0};
    tt_db *db;
    tt_run_row r;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_run_row_find(db, id, &r, err));
    if (has_ended(&r))
        return conflict(&r, "it has ended", err);
    TT_TRY(tt_run_end(db, &r, TT_RUN_CANCELED, reason.len ? reason : TT_STR("canceled"), err));
    TT_TRY(list_queued(db, id, &ids, err));
    for (size_t i = 0; i < ids.len; i++)
        TT_TRY(tt_task_cancel(db, ids.ptr[i], TT_STR("its run was canceled"), err));
    return tt_db_run(db, TT_SQL_RUN_TASKS_DROP_WAITING, err, TT_A_INT(tt_run_row_id(id, 0)), TT_A_INT(tt_run_last_id(id)), TT_A_INT(tt_wall_ms()),
                     TT_A_TEXT(TT_STR("its run was canceled before it began")));
}

/* ---- one task ---- */

typedef struct { tt_run_task_state state; uint64_t task; int64_t group; } task_row;

static tt_rc find_task(tt_db *db, uint64_t run, uint32_t number, task_row *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    if (number >= TT_RUN_MOST_TASKS)
        return tt_fail(err, TT_NOT_FOUND, "run %llu has no task %u", (unsigned long long)run, number);
    TT_TRY(tt_db_query(db, TT_SQL_RUN_TASK_FIND, &st, err, TT_A_INT(tt_run_row_id(run, number))));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "run %llu has no task %u", (unsigned long long)run, number);
    *ret = (task_row){(tt_run_task_state)sqlite3_column_int(st, 0), (uint64_t)sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2)};
    return TT_OK;
}

tt_rc tt_sqlite_run_skip(tt_txn *txn, uint64_t id, uint32_t number, tt_str reason, tt_err *err)
{
    tt_db *db;
    tt_run_row r;
    task_row t;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_run_row_find(db, id, &r, err));
    TT_TRY(find_task(db, id, number, &t, err));
    if (t.state == TT_RUN_TASK_FINISHED || t.state == TT_RUN_TASK_SKIPPED)
        return tt_fail(err, TT_CONFLICT, "the task is %s already", tt_run_task_state_name(t.state));
    TT_TRY(tt_db_run(db, TT_SQL_RUN_TASK_SET, err, TT_A_INT(tt_run_row_id(id, number)), TT_A_INT(TT_RUN_TASK_SKIPPED), TT_A_INT(tt_wall_ms()),
                     reason.len ? TT_A_TEXT(reason) : TT_A_NULL));
    bool was_open = t.state == TT_RUN_TASK_QUEUED, was_bad = t.state == TT_RUN_TASK_FAILED || t.state == TT_RUN_TASK_CANCELED;
    if (was_open)
        TT_TRY(tt_task_cancel(db, t.task, TT_STR("it was skipped"), err));
    TT_TRY(tt_db_run(db, TT_SQL_RUN_COUNT_DOWN, err, TT_A_INT(id), TT_A_INT(was_open), TT_A_INT(was_bad ? -1 : 0)));
    return r.state == TT_RUN_RUNNING && was_open && r.open == 1 ? tt_run_advance(db, id, false, err) : TT_OK;
}

/* ---- again ---- */

/* In a run that runs: what failed in the present group is released once more. */
static tt_rc again_now(tt_db *db, const tt_run_row *r, tt_err *err)
{
    int64_t count = 0, bad = 0;
    uint64_t first, last;
    if (r->at_group < 0)
        return conflict(r, "none of its tasks has failed", err);
    TT_TRY(tt_run_group_range(db, r->id, r->at_group, &first, &last, err));
    TT_TRY(tt_db_run(db, TT_SQL_RUN_TASKS_RESET, err, TT_A_INT(first), TT_A_INT(last)));
    bad = sqlite3_changes(db->handle);
    if (bad == 0)
        return conflict(r, "none of its tasks has failed", err);
    TT_TRY(tt_db_run(db, TT_SQL_RUN_COUNT_DOWN, err, TT_A_INT(r->id), TT_A_INT(0), TT_A_INT(-bad)));
    return tt_run_release(db, r, r->at_group, &count, err);
}

static tt_rc reset(tt_db *db, const tt_run_row *r, tt_run_again_what what, uint32_t number, tt_err *err)
{
    uint64_t first = tt_run_row_id(r->id, 0), last = tt_run_last_id(r->id), one = tt_run_row_id(r->id, number);
    task_row t;
    if (what == TT_RUN_AGAIN_FAILED)
        return tt_db_run(db, TT_SQL_RUN_TASKS_RESET, err, TT_A_INT(first), TT_A_INT(last));
    TT_TRY(find_task(db, r->id, number, &t, err));
    if (what == TT_RUN_AGAIN_FROM)
        return tt_db_run(db, TT_SQL_RUN_TASKS_RESET_ALL, err, TT_A_INT(first), TT_A_INT(last), TT_A_INT(t.group));
    return tt_db_run(db, TT_SQL_RUN_TASKS_RESET_ALL, err, TT_A_INT(one), TT_A_INT(one), TT_A_INT(0));
}

tt_rc tt_sqlite_run_again(tt_txn *txn, uint64_t id, tt_run_again_what what, uint32_t number, tt_err *err)
{
    tt_db *db;
    tt_run_row r;
    int64_t group = -1, bad = 0;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_run_row_find(db, id, &r, err));
    if (r.state == TT_RUN_RUNNING && what == TT_RUN_AGAIN_FAILED)
        return again_now(db, &r, err);
    if (!has_ended(&r))
        return conflict(&r, "wait for its end, or cancel it", err);
    TT_TRY(reset(db, &r, what, number, err));
    TT_TRY(tt_run_number(db, TT_SQL_RUN_TASKS_FIRST, id, -1, &group, err));
    if (group < 0)
        return conflict(&r, "none of its tasks has failed; name one to run it again", err);
    TT_TRY(tt_run_number(db, TT_SQL_RUN_TASKS_BAD, id, 0, &bad, err)); /* those that stay as they are end it again */
    TT_TRY(tt_db_run(db, TT_SQL_RUN_AGAIN, err, TT_A_INT(id), TT_A_INT(group - 1), TT_A_INT(bad)));
    return tt_run_begin_waiting(db, r.pipeline, err);
}

/* ---- pause ---- */

static tt_rc next_held(tt_db *db, const char *pipeline, int64_t *ret_id, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_HELD, &st, err, TT_A_TEXT(tt_str_of(pipeline))));
    return tt_task_read_number(db, st, 0, ret_id, err);
}

tt_rc tt_sqlite_run_pause(tt_txn *txn, tt_str pipeline, bool paused, tt_err *err)
{
    tt_db *db;
    char name[TT_RUN_PIPELINE_BYTES + 1];
    int64_t id = 0;
    TT_TRY(tt_run_check_pipeline(pipeline, err));
    snprintf(name, sizeof name, "%.*s", TT_STR_ARG(pipeline));
    TT_TRY(tt_txn_write(txn, &db, err));
    if (paused)
        return tt_db_run(db, TT_SQL_RUN_PAUSE, err, TT_A_TEXT(pipeline), TT_A_INT(tt_wall_ms()));
    TT_TRY(tt_db_run(db, TT_SQL_RUN_RESUME, err, TT_A_TEXT(pipeline)));
    for (;;) {
        TT_TRY(next_held(db, name, &id, err));
        if (id == 0)
            return tt_run_begin_waiting(db, name, err);
        TT_TRY(tt_run_advance(db, (uint64_t)id, false, err));
    }
}

/* ---- forget ---- */

static tt_rc drop_run(tt_db *db, uint64_t id, tt_err *err)
{
    static const tt_sql parts[] = {TT_SQL_RUN_DROP_GROUPS, TT_SQL_RUN_DROP_TASKS, TT_SQL_RUN_DROP_PAYLOADS};
    for (size_t i = 0; i < TT_COUNT(parts); i++)
        TT_TRY(tt_db_run(db, parts[i], err, TT_A_INT(tt_run_row_id(id, 0)), TT_A_INT(tt_run_last_id(id))));
    TT_TRY(tt_db_run(db, TT_SQL_RUN_DROP_DEFINITION, err, TT_A_INT(id)));
    return tt_db_run(db, TT_SQL_RUN_DROP, err, TT_A_INT(id));
}

tt_rc tt_sqlite_run_delete(tt_txn *txn, uint64_t id, tt_err *err)
{
    tt_db *db;
    tt_run_row r;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_run_row_find(db, id, &r, err));
    if (!has_ended(&r))
        return conflict(&r, "cancel it first", err);
    return drop_run(db, id, err);
}

static tt_rc list_old(tt_db *db, int64_t until_ms, size_t most, tt_id_list *ids, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_OLD, &st, err, TT_A_INT(until_ms), TT_A_INT(most)));
    return tt_task_read_ids(db, st, ids, err);
}

tt_rc tt_sqlite_run_forget_old(tt_txn *txn, int64_t until_ms, size_t most, size_t *ret_count, tt_err *err)
{
    TT_IDS_AUTO tt_id_list ids = {0};
    tt_db *db;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(list_old(db, until_ms, most, &ids, err));
    for (size_t i = 0; i < ids.len; i++)
        TT_TRY(drop_run(db, ids.ptr[i], err));
    *ret_count = ids.len;
    return TT_OK;
}
