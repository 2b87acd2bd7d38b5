/* How a run moves: start, release, the end of a task, the end. */
#include "ledger/runs.h"

#include "base/clock.h"
#include "ledger/runs_inner.h"
#include "ledger/store.h"

static const char *const state_names[TT_RUN_STATES] = {"waiting", "running", "finished", "failed", "canceled"};
static const char *const task_state_names[TT_RUN_TASK_STATES] = {"waiting", "queued", "finished", "failed", "canceled", "skipped"};

const char *tt_run_state_name(tt_run_state s)
{
    tt_assert((size_t)s < TT_COUNT(state_names));
    return state_names[s];
}

const char *tt_run_task_state_name(tt_run_task_state s)
{
    tt_assert((size_t)s < TT_COUNT(task_state_names));
    return task_state_names[s];
}

tt_rc tt_run_row_find(tt_db *db, uint64_t id, tt_run_row *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    tt_str pipeline;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_FIND, &st, err, TT_A_INT(id)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "no run %llu", (unsigned long long)id);
    int64_t state = sqlite3_column_int64(st, 0);
    if (state < 0 || state >= TT_RUN_STATES)
        return tt_fail(err, TT_CORRUPT, "%s: run %llu has state %lld: the file is damaged", db->path, (unsigned long long)id, (long long)state);
    *ret = (tt_run_row){
        .id = id, .state = (tt_run_state)state, .at_group = sqlite3_column_int64(st, 1), .open = sqlite3_column_int64(st, 2), .bad = sqlite3_column_int64(st, 3),
        .group_count = sqlite3_column_int64(st, 4), .held = sqlite3_column_int64(st, 5) != 0, .max_runs = sqlite3_column_int64(st, 6),
        .max_tasks = sqlite3_column_int64(st, 7), .task_count = sqlite3_column_int64(st, 9),
    };
    TT_TRY(tt_db_bytes(db, st, 8, &pipeline, err));
    snprintf(ret->pipeline, sizeof ret->pipeline, "%.*s", TT_STR_ARG(pipeline));
    return TT_OK;
}

tt_rc tt_run_number(tt_db *db, tt_sql which, uint64_t run, int64_t fallback, int64_t *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, which, &st, err, TT_A_INT(tt_run_row_id(run, 0)), TT_A_INT(tt_run_last_id(run))));
    return tt_task_read_number(db, st, fallback, ret, err);
}

/* ---- limits ---- */

/* The key under which the tasks of a run share its limit; "" without one. */
static tt_str limit_key(const tt_run_row *r, char out[40])
{
    snprintf(out, 40, "run/%llu", (unsigned long long)r->id);
    return r->max_tasks ? tt_str_of(out) : TT_STR("");
}

static tt_rc put_limit(tt_db *db, const tt_run_row *r, tt_err *err)
{
    char key[40];
    tt_str k = limit_key(r, key);
    return k.len ? tt_db_run(db, TT_SQL_LIMIT_PUT, err, TT_A_TEXT(k), TT_A_INT(r->max_tasks), TT_A_INT(0), TT_A_INT(0)) : TT_OK;
}

static tt_rc drop_limit(tt_db *db, const tt_run_row *r, tt_err *err)
{
    char key[40];
    tt_str k = limit_key(r, key);
    return k.len ? tt_db_run(db, TT_SQL_LIMIT_DROP, err, TT_A_TEXT(k)) : TT_OK;
}

/* ---- groups ---- */

tt_rc tt_run_group_range(tt_db *db, uint64_t run, int64_t group, uint64_t *ret_first, uint64_t *ret_last, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_GROUP, &st, err, TT_A_INT(tt_run_row_id(run, (uint64_t)group))));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_CORRUPT, "%s: run %llu has no group %lld: the file is damaged", db->path, (unsigned long long)run, (long long)group);
    *ret_first = tt_run_row_id(run, (uint64_t)sqlite3_column_int64(st, 0));
    *ret_last = *ret_first + (uint64_t)sqlite3_column_int64(st, 1) - 1;
    return TT_OK;
}

tt_rc tt_run_release(tt_db *db, const tt_run_row *r, int64_t group, int64_t *ret_count, tt_err *err)
{
    char key_text[40];
    uint64_t first, last;
    tt_str key = limit_key(r, key_text);
    TT_TRY(tt_run_group_range(db, r->id, group, &first, &last, err));
    TT_TRY(tt_db_run(db, TT_SQL_RUN_PUSH, err, TT_A_INT(first), TT_A_INT(last), TT_A_INT(key.len ? TT_TASK_DEFERRED : TT_TASK_QUEUED), TT_A_INT(tt_wall_ms()),
                     key.len ? TT_A_TEXT(key) : TT_A_NULL, TT_A_INT(key.len > 0)));
    *ret_count = sqlite3_changes(db->handle);
    if (*ret_count == 0)
        return TT_OK;
    TT_TRY(tt_db_run(db, TT_SQL_RUN_PUSHED, err, TT_A_INT(first), TT_A_INT(last)));
    if (group != r->at_group)
        TT_TRY(tt_db_run(db, TT_SQL_RUN_GROUP_OPEN, err, TT_A_INT(tt_run_row_id(r->id, (uint64_t)group)), TT_A_INT(tt_wall_ms())));
    TT_TRY(tt_db_run(db, TT_SQL_RUN_STEP, err, TT_A_INT(r->id), TT_A_INT(group), TT_A_INT(*ret_count)));
    return tt_limit_admit(db, key.len ? key_text : "", err);
}

/* ---- the end ---- */

enum { WHY_BYTES = 768 }; /* the name of a task, and what it said last */

static tt_rc failed_reason(tt_db *db, const tt_run_row *r, char out[WHY_BYTES], tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    tt_str name, why = {0};
    out[0] = '\0';
    TT_TRY(tt_db_query(db, TT_SQL_RUN_TASKS_FIRST_BAD, &st, err, TT_A_INT(tt_run_row_id(r->id, 0)), TT_A_INT(tt_run_last_id(r->id))));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return TT_OK;
    TT_TRY(tt_db_bytes(db, st, 0, &name, err));
    int n = snprintf(out, WHY_BYTES, "%.200s", name.ptr ? name.ptr : "");
    if (sqlite3_column_type(st, 1) != SQLITE_NULL)
        TT_TRY(tt_db_bytes(db, st, 1, &why, err));
    if (why.len)
        snprintf(out + n, WHY_BYTES - (size_t)n, ": %.*s", TT_STR_ARG(tt_utf8_slice(why, 500)));
    return TT_OK;
}

tt_rc tt_run_end(tt_db *db, const tt_run_row *r, tt_run_state how, tt_str reason, tt_err *err)
{
    char why[WHY_BYTES] = "";
    if (how == TT_RUN_FAILED)
        TT_TRY(failed_reason(db, r, why, err));
    if (!reason.len)
        reason = tt_str_of(why);
    if (!tt_utf8_valid(reason.ptr, reason.len))
        reason = TT_STR("");
    TT_TRY(tt_db_run(db, TT_SQL_RUN_END, err, TT_A_INT(r->id), TT_A_INT(how), TT_A_INT(tt_wall_ms()), reason.len ? TT_A_TEXT(reason) : TT_A_NULL));
    TT_TRY(drop_limit(db, r, err));
    return tt_run_begin_waiting(db, r->pipeline, err);
}

tt_rc tt_run_paused(tt_db *db, const char *pipeline, bool *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_RUN_PAUSED, &st, err, TT_A_TEXT(tt_str_of(pipeline))));
    return tt_db_step(db, st, ret, err);
}

tt_rc tt_run_advance(tt_db *db, uint64_t id, bool begins, tt_err *err)
{
    tt_run_row r;
    bool paused = false;
    TT_TRY(tt_run_row_find(db, id, &r, err));
    tt_assert(r.state == TT_RUN_RUNNING && r.open == 0);
    if (r.bad && !begins)
        return tt_run_end(db, &r, TT_RUN_FAILED, TT_STR(""), err);
    TT_TRY(tt_run_paused(db, r.pipeline, &paused, err));
    if (paused && r.at_group + 1 < r.group_count)
        return tt_db_run(db, TT_SQL_RUN_HOLD, err, TT_A_INT(id));
    for (int64_t group = r.at_group + 1, count = 0; group < r.group_count; group++) {
        TT_TRY(tt_run_release(db, &r, group, &count, err));
        if (count)
            return TT_OK;
    }
    return tt_run_end(db, &r, r.bad ? TT_RUN_FAILED : TT_RUN_FINISHED, TT_STR(""), err);
}

/* ---- the beginning ---- */

static tt_rc begin(tt_db *db, uint64_t id, tt_err *err)
{
    tt_run_row r;
    TT_TRY(tt_run_row_find(db, id, &r, err));
    TT_TRY(put_limit(db, &r, err));
    TT_TRY(tt_db_run(db, TT_SQL_RUN_BEGIN, err, TT_A_INT(id), TT_A_INT(tt_wall_ms())));
    return tt_run_advance(db, id, true, err);
}

static tt_rc number_of(tt_db *db, tt_sql which, const char *pipeline, int64_t *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, which, &st, err, TT_A_TEXT(tt_str_of(pipeline))));
    return tt_task_read_number(db, st, 0, ret, err);
}

/* A run without tasks ends at once, inside begin, which then looks for the next one itself: that goes one level deeper each, so such runs are few at a time. */
tt_rc tt_run_begin_waiting(tt_db *db, const char *pipeline, tt_err *err)
{
    int64_t id = 0, active = 0;
    bool paused = false;
    TT_TRY(tt_run_paused(db, pipeline, &paused, err));
    if (paused)
        return TT_OK;
    for (;;) {
        tt_run_row r;
        TT_TRY(number_of(db, TT_SQL_RUN_NEXT, pipeline, &id, err));
        if (id == 0)
            return TT_OK;
        TT_TRY(tt_run_row_find(db, (uint64_t)id, &r, err));
        TT_TRY(number_of(db, TT_SQL_RUN_ACTIVE, pipeline, &active, err));
        if (active >= r.max_runs)
            return TT_OK;
        TT_TRY(begin(db, (uint64_t)id, err));
    }
}

static tt_rc add_rows(tt_db *db, const tt_run_spec *s, tt_err *err)
{
    size_t at = 0;
    for (size_t g = 0; g < s->group_count; g++) {
        TT_TRY(tt_db_run(db, TT_SQL_RUN_ADD_GROUP, err, TT_A_INT(tt_run_row_id(s->id, g)), TT_A_INT(at), TT_A_INT(s->groups[g].count), TT_A_TEXT(s->groups[g].name)));
        for (size_t i = 0; i < s->groups[g].count; i++, at++) {
            const tt_run_task_spec *t = &s->tasks[at];
            uint64_t id = tt_run_row_id(s->id, at);
            TT_TRY(tt_db_run(db, TT_SQL_RUN_ADD_TASK, err, TT_A_INT(id), TT_A_INT(g), TT_A_TEXT(t->name), TT_A_TEXT(t->program), TT_A_TEXT(t->queue), TT_A_INT(t->priority),
                             TT_A_INT(t->max_attempts ? t->max_attempts : 1), TT_A_INT(t->backoff_ms), TT_A_INT(t->timeout_ms), TT_A_INT(t->memory_bytes)));
            TT_TRY(tt_db_run(db, TT_SQL_RUN_ADD_PAYLOAD, err, TT_A_INT(id), TT_A_BLOB(t->payload)));
        }
    }
    tt_assert(at == s->task_count);
    return TT_OK;
}

static tt_rc check_is_new(tt_db *db, uint64_t id, tt_err *err)
{
    tt_run_row r;
    tt_rc rc = tt_run_row_find(db, id, &r, err);
    if (rc == TT_OK)
        return tt_fail(err, TT_EXISTS, "run %llu is there already", (unsigned long long)id);
    return rc == TT_NOT_FOUND ? TT_OK : rc;
}

tt_rc tt_run_check_spec(const tt_run_spec *s, tt_err *err)
{
    if (s->task_count >= TT_RUN_MOST_TASKS || s->pipeline.len == 0 || s->pipeline.len > TT_RUN_PIPELINE_BYTES || s->id == 0 || s->id >> 40)
        return tt_fail(err, TT_INVALID, "a run of %zu tasks: at most %d", s->task_count, TT_RUN_MOST_TASKS - 1);
    return TT_OK;
}

tt_rc tt_run_check_pipeline(tt_str pipeline, tt_err *err)
{
    return pipeline.len && pipeline.len <= TT_RUN_PIPELINE_BYTES ? TT_OK : tt_fail(err, TT_INVALID, "a pipeline's name has %zu characters", pipeline.len);
}

tt_rc tt_sqlite_run_start(tt_txn *txn, const tt_run_spec *s, tt_err *err)
{
    tt_db *db;
    char pipeline[TT_RUN_PIPELINE_BYTES + 1];
    TT_TRY(tt_run_check_spec(s, err));
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(check_is_new(db, s->id, err));
    snprintf(pipeline, sizeof pipeline, "%.*s", TT_STR_ARG(s->pipeline));
    TT_TRY(tt_db_run(db, TT_SQL_RUN_ADD, err, TT_A_INT(s->id), TT_A_TEXT(s->pipeline), TT_A_TEXT(s->cause), s->actor.len ? TT_A_TEXT(s->actor) : TT_A_NULL, TT_A_INT(s->due_ms),
                     TT_A_INT(tt_wall_ms()), TT_A_INT(s->group_count), TT_A_INT(s->task_count), TT_A_INT(s->max_runs ? s->max_runs : 1), TT_A_INT(s->max_tasks)));
    TT_TRY(tt_db_run(db, TT_SQL_RUN_ADD_DEFINITION, err, TT_A_INT(s->id), TT_A_BLOB(s->definition)));
    TT_TRY(add_rows(db, s, err));
    return tt_run_begin_waiting(db, pipeline, err);
}

tt_rc tt_sqlite_run_reserve(tt_txn *txn, uint64_t at_least, uint64_t *ret_id, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    tt_db *db;
    int64_t most = 0;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_db_query_args(db, TT_SQL_RUN_MAX, &st, NULL, 0, err));
    TT_TRY(tt_task_read_number(db, st, 0, &most, err));
    uint64_t from = at_least > (uint64_t)most + 1 ? at_least : (uint64_t)most + 1;
    do
        TT_TRY(tt_txn_count(txn, TT_STR("run"), ret_id, err));
    while (*ret_id < from && from - *ret_id < 1000);
    if (*ret_id < from)
        *ret_id = from;
    return TT_OK;
}

/* ---- a task's end ---- */

tt_rc tt_run_task_ended(tt_db *db, const tt_task_row *t, tt_task_state how, tt_str reason, tt_str result, tt_err *err)
{
    tt_run_row r;
    tt_run_task_state state = how == TT_TASK_FINISHED ? TT_RUN_TASK_FINISHED : how == TT_TASK_FAILED ? TT_RUN_TASK_FAILED : TT_RUN_TASK_CANCELED;
    uint64_t run = t->run_task >> TT_RUN_TASK_BITS;
    int64_t now_ms = tt_wall_ms();
    TT_TRY(tt_db_run(db, TT_SQL_RUN_TASK_END, err, TT_A_INT(t->run_task), TT_A_INT(t->id), TT_A_INT(state), TT_A_INT(now_ms), reason.len ? TT_A_TEXT(reason) : TT_A_NULL,
                     result.len ? TT_A_BLOB(result) : TT_A_NULL));
    if (sqlite3_changes(db->handle) == 0) /* skipped meanwhile, or the run is forgotten */
        return TT_OK;
    TT_TRY(tt_db_run(db, TT_SQL_RUN_COUNT_DOWN, err, TT_A_INT(run), TT_A_INT(1), TT_A_INT(state != TT_RUN_TASK_FINISHED)));
    TT_TRY(tt_run_row_find(db, run, &r, err));
    if (r.state != TT_RUN_RUNNING || r.open > 0)
        return TT_OK;
    TT_TRY(tt_db_run(db, TT_SQL_RUN_GROUP_END, err, TT_A_INT(tt_run_row_id(run, (uint64_t)r.at_group)), TT_A_INT(now_ms)));
    return tt_run_advance(db, run, false, err);
}
