/* Looking at runs: one, lists, their tasks and groups. What is committed, over the reading connection. */
#include "ledger/runs_inner.h"
#include "ledger/store.h"

static tt_rc copy_text(tt_db *db, sqlite3_stmt *st, int column, tt_arena *arena, tt_str *ret, tt_err *err)
{
    tt_str bytes;
    *ret = (tt_str){0};
    if (sqlite3_column_type(st, column) == SQLITE_NULL)
        return TT_OK;
    TT_TRY(tt_db_bytes(db, st, column, &bytes, err));
    char *copy = tt_arena_dup(arena, bytes);
    if (!copy)
        return tt_fail(err, TT_NOMEM, "out of memory for a run");
    *ret = (tt_str){copy, bytes.len};
    return TT_OK;
}

/* The columns of TT_RUN_COLUMNS. */
static tt_rc read_run(tt_db *db, sqlite3_stmt *st, tt_arena *arena, tt_run *ret, tt_err *err)
{
    *ret = (tt_run){
        .id = (uint64_t)sqlite3_column_int64(st, 0), .state = (tt_run_state)sqlite3_column_int(st, 2), .due_ms = sqlite3_column_int64(st, 5),
        .created_ms = sqlite3_column_int64(st, 6), .started_ms = sqlite3_column_int64(st, 7), .ended_ms = sqlite3_column_int64(st, 8),
        .group_count = (uint64_t)sqlite3_column_int64(st, 9), .at_group = sqlite3_column_int64(st, 10), .task_count = (uint64_t)sqlite3_column_int64(st, 11),
        .held = sqlite3_column_int(st, 13) != 0, .version = (uint64_t)sqlite3_column_int64(st, 14),
    };
    if ((size_t)ret->state >= TT_RUN_STATES)
        return tt_fail(err, TT_CORRUPT, "%s: run %llu has a state that is none: the file is damaged", db->path, (unsigned long long)ret->id);
    TT_TRY(copy_text(db, st, 1, arena, &ret->pipeline, err));
    TT_TRY(copy_text(db, st, 3, arena, &ret->cause, err));
    TT_TRY(copy_text(db, st, 4, arena, &ret->actor, err));
    return copy_text(db, st, 12, arena, &ret->reason, err);
}

static tt_rc count_tasks(tt_db *db, tt_run *r, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_TASKS_COUNT, &st, err, TT_A_INT(tt_run_row_id(r->id, 0)), TT_A_INT(tt_run_last_id(r->id))));
    for (bool row = true;;) {
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            return TT_OK;
        int64_t state = sqlite3_column_int64(st, 0);
        if (state >= 0 && state < TT_RUN_TASK_STATES)
            r->by_state[state] = (uint64_t)sqlite3_column_int64(st, 1);
    }
}

static tt_rc get_run(tt_db *db, uint64_t id, tt_arena *arena, tt_run *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_GET, &st, err, TT_A_INT(id)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "no run %llu", (unsigned long long)id);
    TT_TRY(read_run(db, st, arena, ret, err));
    return count_tasks(db, ret, err);
}

tt_rc tt_sqlite_run_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_run *ret, tt_err *err)
{
    tt_db *db = tt_ledger_read_begin(ledger);
    tt_rc rc = get_run(db, id, arena, ret, err);
    tt_ledger_read_end(ledger);
    return rc;
}

static tt_rc list_runs(tt_db *db, tt_str pipeline, uint64_t before_id, size_t most, tt_arena *arena, tt_run *ret, size_t *ret_count, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    int64_t before = before_id ? (int64_t)before_id : INT64_MAX;
    if (pipeline.len)
        TT_TRY(tt_db_query(db, TT_SQL_RUN_LIST_PIPELINE, &st, err, TT_A_INT(before), TT_A_INT(most), TT_A_TEXT(pipeline)));
    else
        TT_TRY(tt_db_query(db, TT_SQL_RUN_LIST, &st, err, TT_A_INT(before), TT_A_INT(most)));
    for (bool row = true; *ret_count < most;) {
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            return TT_OK;
        TT_TRY(read_run(db, st, arena, &ret[(*ret_count)++], err));
    }
    return TT_OK;
}

tt_rc tt_sqlite_run_list(tt_ledger *ledger, tt_str pipeline, uint64_t before_id, size_t most, tt_arena *arena, tt_run *ret, size_t *ret_count, tt_err *err)
{
    *ret_count = 0;
    tt_db *db = tt_ledger_read_begin(ledger);
    tt_rc rc = list_runs(db, pipeline, before_id, most, arena, ret, ret_count, err);
    tt_ledger_read_end(ledger);
    return rc;
}

static tt_rc get_definition(tt_db *db, uint64_t id, tt_buf *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    tt_str bytes;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_DEFINITION, &st, err, TT_A_INT(id)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "no run %llu", (unsigned long long)id);
    TT_TRY(tt_db_bytes(db, st, 0, &bytes, err));
    tt_buf_str(ret, bytes);
    return tt_buf_check(ret, err);
}

tt_rc tt_sqlite_run_definition(tt_ledger *ledger, uint64_t id, tt_buf *ret, tt_err *err)
{
    tt_db *db = tt_ledger_read_begin(ledger);
    tt_rc rc = get_definition(db, id, ret, err);
    tt_ledger_read_end(ledger);
    return rc;
}

/* ---- tasks ---- */

/* The columns of TT_RUN_TASK_COLUMNS. */
static tt_rc read_task(tt_db *db, sqlite3_stmt *st, tt_arena *arena, tt_run_task *ret, tt_err *err)
{
    *ret = (tt_run_task){
        .number = (uint32_t)(sqlite3_column_int64(st, 0) & (TT_RUN_MOST_TASKS - 1)), .group = (uint32_t)sqlite3_column_int64(st, 1),
        .state = (tt_run_task_state)sqlite3_column_int(st, 2), .task = (uint64_t)sqlite3_column_int64(st, 3), .attempts = (uint32_t)sqlite3_column_int64(st, 4),
        .started_ms = sqlite3_column_int64(st, 5), .ended_ms = sqlite3_column_int64(st, 6), .queue_state = sqlite3_column_int(st, 11),
        .max_attempts = (uint32_t)sqlite3_column_int64(st, 13),
    };
    if ((size_t)ret->state >= TT_RUN_TASK_STATES || ret->queue_state > TT_TASK_CANCELED)
        return tt_fail(err, TT_CORRUPT, "%s: a task of a run has a state that is none: the file is damaged", db->path);
    TT_TRY(copy_text(db, st, 7, arena, &ret->name, err));
    TT_TRY(copy_text(db, st, 8, arena, &ret->worker, err));
    TT_TRY(copy_text(db, st, 9, arena, &ret->reason, err));
    TT_TRY(copy_text(db, st, 10, arena, &ret->result, err));
    return copy_text(db, st, 12, arena, &ret->progress, err);
}

static tt_rc list_tasks(tt_db *db, uint64_t id, uint32_t from, size_t most, tt_arena *arena, tt_run_task *ret, size_t *ret_count, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    if (from >= TT_RUN_MOST_TASKS)
        return TT_OK;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_TASKS, &st, err, TT_A_INT(tt_run_row_id(id, from)), TT_A_INT(tt_run_last_id(id)), TT_A_INT(most)));
    for (bool row = true; *ret_count < most;) {
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            return TT_OK;
        TT_TRY(read_task(db, st, arena, &ret[(*ret_count)++], err));
    }
    return TT_OK;
}

tt_rc tt_sqlite_run_tasks(tt_ledger *ledger, uint64_t id, uint32_t from_number, size_t most, tt_arena *arena, tt_run_task *ret, size_t *ret_count, tt_err *err)
{
    *ret_count = 0;
    tt_db *db = tt_ledger_read_begin(ledger);
    tt_rc rc = list_tasks(db, id, from_number, most, arena, ret, ret_count, err);
    tt_ledger_read_end(ledger);
    return rc;
}

static tt_rc find_named(tt_db *db, uint64_t id, tt_str name, uint32_t *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_TASK_NAMED, &st, err, TT_A_INT(tt_run_row_id(id, 0)), TT_A_INT(tt_run_last_id(id)), TT_A_TEXT(name)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "run %llu has no task `%.*s`", (unsigned long long)id, TT_STR_ARG(tt_str_slice(name, 0, 200)));
    *ret = (uint32_t)(sqlite3_column_int64(st, 0) & (TT_RUN_MOST_TASKS - 1));
    return TT_OK;
}

tt_rc tt_sqlite_run_task_find(tt_ledger *ledger, uint64_t id, tt_str name, uint32_t *ret, tt_err *err)
{
    tt_db *db = tt_ledger_read_begin(ledger);
    tt_rc rc = find_named(db, id, name, ret, err);
    tt_ledger_read_end(ledger);
    return rc;
}

/* ---- groups ---- */

static tt_rc list_groups(tt_db *db, uint64_t id, tt_arena *arena, tt_run_group **ret, size_t *ret_count, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_VEC(tt_run_group) list = {0};
    tt_rc rc = tt_db_query(db, TT_SQL_RUN_GROUPS, &st, err, TT_A_INT(tt_run_row_id(id, 0)), TT_A_INT(tt_run_last_id(id)));
    for (bool row = true; rc == TT_OK;) {
        tt_run_group g = {0};
        rc = tt_db_step(db, st, &row, err);
        if (rc != TT_OK || !row)
            break;
        g = (tt_run_group){.first = (size_t)sqlite3_column_int64(st, 1), .count = (size_t)sqlite3_column_int64(st, 2), .opened_ms = sqlite3_column_int64(st, 4),
                           .ended_ms = sqlite3_column_int64(st, 5)};
        rc = copy_text(db, st, 3, arena, &g.name, err);
        if (rc == TT_OK && !tt_vec_push(&list, g))
            rc = tt_fail(err, TT_NOMEM, "out of memory for the groups of a run");
    }
    *ret_count = list.len;
    *ret = rc == TT_OK ? tt_arena_alloc(arena, (list.len + 1) * sizeof **ret) : NULL;
    if (*ret && list.len)
        memcpy(*ret, list.ptr, list.len * sizeof **ret);
    tt_vec_deinit(&list);
    return rc != TT_OK || *ret ? rc : tt_fail(err, TT_NOMEM, "out of memory for the groups of a run");
}

tt_rc tt_sqlite_run_groups(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_run_group **ret, size_t *ret_count, tt_err *err)
{
    tt_db *db = tt_ledger_read_begin(ledger);
    tt_rc rc = list_groups(db, id, arena, ret, ret_count, err);
    tt_ledger_read_end(ledger);
    return rc;
}

static tt_rc is_paused(tt_db *db, tt_str pipeline, bool *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_PAUSED, &st, err, TT_A_TEXT(pipeline)));
    return tt_db_step(db, st, ret, err);
}

tt_rc tt_sqlite_run_is_paused(tt_ledger *ledger, tt_str pipeline, bool *ret, tt_err *err)
{
    tt_db *db = tt_ledger_read_begin(ledger);
    tt_rc rc = is_paused(db, pipeline, ret, err);
    tt_ledger_read_end(ledger);
    return rc;
}
