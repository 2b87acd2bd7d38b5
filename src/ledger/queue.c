#include "ledger/queue.h"

#include "base/clock.h"
#include "ledger/queue_inner.h"
#include "ledger/store.h"

enum {
    INLINE_PAYLOAD_BYTES = 1024,   /* larger ones lie apart (schema.c) */
    MAX_NAME_BYTES = 255,
    MAX_BACKOFF_MS = 3600 * 1000,
};

/* ---- states ---- */

/* What may follow each state, and its name. To add a state: add it at the end of tt_task_state, a row here, an arrow in
 * queue.h, and a partial index in a new schema step. */
#define TO(state) (1u << TT_TASK_##state)
static const struct {
    const char *name;
    unsigned next;
} states[] = {
    [TT_TASK_DEFERRED] = {"deferred", TO(DEFERRED) | TO(SCHEDULED) | TO(QUEUED) | TO(FAILED) | TO(CANCELED)},
    [TT_TASK_SCHEDULED] = {"scheduled", TO(DEFERRED) | TO(QUEUED) | TO(CANCELED)},
    [TT_TASK_QUEUED] = {"queued", TO(STARTED) | TO(CANCELED)},
    [TT_TASK_STARTED] = {"started", TO(QUEUED) | TO(SCHEDULED) | TO(FINISHED) | TO(FAILED) | TO(CANCELED)},
    [TT_TASK_FINISHED] = {"finished", 0},
    [TT_TASK_FAILED] = {"failed", TO(DEFERRED) | TO(QUEUED)},
    [TT_TASK_CANCELED] = {"canceled", TO(DEFERRED) | TO(QUEUED)},
};
_Static_assert(TT_COUNT(states) == TT_COUNT(((tt_queue_counts *)0)->by_state), "every state is counted");

const char *tt_task_state_name(tt_task_state s)
{
    tt_assert((size_t)s < TT_COUNT(states));
    return states[s].name;
}

tt_rc tt_task_check_move(const tt_task_row *t, tt_task_state to, tt_err *err)
{
    if (states[t->state].next & (1u << to))
        return TT_OK;
    return tt_fail(err, TT_CONFLICT, "task %llu is %s: it cannot become %s", (unsigned long long)t->id, states[t->state].name,
                   states[to].name);
}

tt_rc tt_task_read_state(tt_db *db, sqlite3_stmt *st, int column, uint64_t id, tt_task_state *ret, tt_err *err)
{
    int64_t state = sqlite3_column_int64(st, column);
    if (state < 0 || state >= (int64_t)TT_COUNT(states))
        return tt_fail(err, TT_CORRUPT, "%s: task %llu has state %lld: the file is damaged: stop the server and restore the file from a backup",
                       db->path, (unsigned long long)id, (long long)state);
    *ret = (tt_task_state)state;
    return TT_OK;
}

tt_rc tt_task_row_find(tt_db *db, uint64_t id, tt_task_row *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_FIND, &st, err, TT_A_INT(id)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "there is no task %llu", (unsigned long long)id);
    *ret = (tt_task_row){
        .id = id,
        .lease = (uint64_t)sqlite3_column_int64(st, 1),
        .attempts = (uint32_t)sqlite3_column_int64(st, 2),
        .max_attempts = (uint32_t)sqlite3_column_int64(st, 3),
        .backoff_ms = sqlite3_column_int64(st, 4),
        .run_at_ms = sqlite3_column_int64(st, 5),
        .keep_ms = sqlite3_column_int64(st, 6),
        .run_task = (uint64_t)sqlite3_column_int64(st, 8),
    };
    if (sqlite3_column_type(st, 7) != SQLITE_NULL) {
        tt_str key;
        TT_TRY(tt_db_bytes(db, st, 7, &key, err));
        snprintf(ret->limit_key, sizeof ret->limit_key, "%.*s", TT_STR_ARG(key));
    }
    return tt_task_read_state(db, st, 0, id, &ret->state, err);
}

/* The fence: only the holder of the present claim may go on. */
static tt_rc find_claimed(tt_db *db, uint64_t id, uint64_t lease, tt_task_row *ret, tt_err *err)
{
    TT_TRY(tt_task_row_find(db, id, ret, err));
    if (ret->state == TT_TASK_STARTED && ret->lease == lease)
        return TT_OK;
    if (ret->state == TT_TASK_CANCELED && ret->lease == lease)
        return tt_fail(err, TT_CANCELED, "task %llu was canceled: drop this work", (unsigned long long)id);
    return tt_fail(err, TT_GONE, "task %llu: lease %llu is gone: the task is %s%s: drop this work", (unsigned long long)id,
                   (unsigned long long)lease, states[ret->state].name,
                   ret->state == TT_TASK_STARTED ? " by another worker" : "");
}

/* The first column of the one row that a statement gives; fallback when there is none, or NULL. */
tt_rc tt_task_read_number(tt_db *db, sqlite3_stmt *st, int64_t fallback, int64_t *ret, tt_err *err)
{
    bool row = false;
    TT_TRY(tt_db_step(db, st, &row, err));
    *ret = row && sqlite3_column_type(st, 0) != SQLITE_NULL ? sqlite3_column_int64(st, 0) : fallback;
    return TT_OK;
}

tt_rc tt_task_read_ids(tt_db *db, sqlite3_stmt *st, tt_id_list *ids, tt_err *err)
{
    for (bool row = true;;) {
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            return TT_OK;
        if (!tt_vec_push(ids, (uint64_t)sqlite3_column_int64(st, 0)))
            return tt_fail(err, TT_NOMEM, "%s: out of memory for a list of tasks", db->path);
    }
}

/* ---- waiting for other tasks ---- */

/* Due now, or later. */
static tt_task_state ready_state(int64_t run_at_ms) { return run_at_ms > tt_wall_ms() ? TT_TASK_SCHEDULED : TT_TASK_QUEUED; }

/* Under a limit: held, and let through as far as it goes. */
tt_rc tt_task_make_ready(tt_db *db, const tt_task_row *t, tt_err *err)
{
    bool limited = t->limit_key[0] != '\0';
    tt_task_state to = limited ? TT_TASK_DEFERRED : TT_TASK_QUEUED;
    TT_TRY(tt_task_check_move(t, to, err));
    TT_TRY(tt_db_run(db, TT_SQL_TASK_READY, err, TT_A_INT(t->id), TT_A_INT(to), TT_A_INT(limited)));
    return tt_limit_admit(db, t->limit_key, err);
}

static tt_rc list_waiters(tt_db *db, uint64_t id, tt_id_list *ids, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_WAITERS, &st, err, TT_A_INT(id)));
    return tt_task_read_ids(db, st, ids, err);
}

static tt_rc free_waiter(tt_db *db, uint64_t id, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    int64_t waits = 0;
    tt_task_row t;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_WAITS, &st, err, TT_A_INT(id)));
    TT_TRY(tt_task_read_number(db, st, 0, &waits, err));
    if (waits)
        return TT_OK;
    TT_TRY(tt_task_row_find(db, id, &t, err));
    if (ready_state(t.run_at_ms) == TT_TASK_QUEUED)
        return tt_task_make_ready(db, &t, err);
    TT_TRY(tt_task_check_move(&t, TT_TASK_SCHEDULED, err));
    return tt_db_run(db, TT_SQL_TASK_READY, err, TT_A_INT(id), TT_A_INT(TT_TASK_SCHEDULED), TT_A_INT(0));
}

static tt_rc write_end(tt_db *db, const tt_task_row *t, tt_task_state to, tt_str reason, tt_str result, tt_err *err)
{
    TT_TRY(tt_task_check_move(t, to, err));
    if (t->state == TT_TASK_DEFERRED)
        TT_TRY(tt_db_run(db, TT_SQL_TASK_DROP_WAITS, err, TT_A_INT(t->id)));
    int64_t now_ms = tt_wall_ms();
    TT_TRY(tt_db_run(db, TT_SQL_TASK_END, err, TT_A_INT(t->id), TT_A_INT(to), TT_A_INT(now_ms), reason.len ? TT_A_TEXT(reason) : TT_A_NULL,
                     result.len ? TT_A_BLOB(result) : TT_A_NULL, TT_A_INT(t->keep_ms ? now_ms + t->keep_ms : 0)));
    TT_TRY(tt_limit_admit(db, t->limit_key, err));
    return t->run_task ? tt_run_task_ended(db, t, to, reason, result, err) : TT_OK;
}

enum { REASON_BYTES = 80 };

static const char *doomed_reason(uint64_t needed, char out[REASON_BYTES])
{
    snprintf(out, REASON_BYTES, "task %llu, which it waits for, did not finish", (unsigned long long)needed);
    return out;
}

static tt_rc fail_waiter(tt_db *db, uint64_t id, uint64_t needed, tt_err *err)
{
    tt_task_row t;
    char reason[REASON_BYTES];
    TT_TRY(tt_task_row_find(db, id, &t, err));
    return write_end(db, &t, TT_TASK_FAILED, tt_str_of(doomed_reason(needed, reason)), TT_STR(""), err);
}

/* A task ended. Who waits for it goes on, or fails with it, and those who wait for that one too: a list, not recursion,
 * because chains may be long. */
static tt_rc tell_waiters(tt_db *db, uint64_t id, bool finished, tt_err *err)
{
    TT_IDS_AUTO tt_id_list ids = {0}, failed = {0};
    for (;;) {
        tt_vec_clear(&ids);
        TT_TRY(list_waiters(db, id, &ids, err));
        if (ids.len > 0)
            TT_TRY(tt_db_run(db, TT_SQL_TASK_DROP_WAITERS, err, TT_A_INT(id)));
        for (size_t i = 0; i < ids.len; i++) {
            TT_TRY(finished ? free_waiter(db, ids.ptr[i], err) : fail_waiter(db, ids.ptr[i], id, err));
            if (!finished && !tt_vec_push(&failed, ids.ptr[i]))
                return tt_fail(err, TT_NOMEM, "%s: out of memory for a list of tasks", db->path);
        }
        if (failed.len == 0)
            return TT_OK;
        id = tt_vec_pop(&failed);
    }
}

static tt_rc end_task(tt_db *db, const tt_task_row *t, tt_task_state to, tt_str reason, tt_str result, tt_err *err)
{
    TT_TRY(write_end(db, t, to, reason, result, err));
    return tell_waiters(db, t->id, to == TT_TASK_FINISHED, err);
}

/* ---- push ---- */

static tt_rc check_name(const char *what, tt_str name, tt_err *err)
{
    if (name.len > 0 && name.len <= MAX_NAME_BYTES)
        return TT_OK;
    return tt_fail(err, TT_INVALID, "a task's %s has %zu bytes: give it 1 to %d", what, name.len, MAX_NAME_BYTES);
}

static tt_rc check_spec(tt_db *db, const tt_task_spec *spec, tt_err *err)
{
    TT_TRY(check_name("queue", spec->queue, err));
    TT_TRY(check_name("kind", spec->kind, err));
    if (spec->unique_key.len > MAX_NAME_BYTES)
        TT_TRY(check_name("unique key", spec->unique_key, err));
    if (spec->program.len > MAX_NAME_BYTES)
        TT_TRY(check_name("program", spec->program, err));
    if (spec->limit_key.len > MAX_NAME_BYTES)
        TT_TRY(check_name("limit", spec->limit_key, err));
    if (spec->backoff_ms < 0 || spec->run_at_ms < 0 || spec->timeout_ms < 0 || spec->keep_ms < 0)
        return tt_fail(err, TT_INVALID, "a task's times cannot be negative");
    return tt_db_check_size(db, "a task's payload", spec->payload.len, err);
}

static tt_rc check_unique(tt_db *db, const tt_task_spec *spec, uint64_t *ret_id, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    int64_t id = 0;
    if (spec->unique_key.len == 0)
        return TT_OK;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_FIND_KEY, &st, err, TT_A_TEXT(spec->unique_key)));
    TT_TRY(tt_task_read_number(db, st, 0, &id, err));
    if (id == 0)
        return TT_OK;
    *ret_id = (uint64_t)id;
    return tt_fail(err, TT_EXISTS, "task %lld with the key `%.*s` has not ended yet", (long long)id, TT_STR_ARG(spec->unique_key));
}

/* *ret_waits: something has not ended yet; *ret_doomed: one that will never finish. */
static tt_rc weigh_waits(tt_db *db, const tt_task_spec *spec, bool *ret_waits, uint64_t *ret_doomed, tt_err *err)
{
    for (size_t i = 0; i < spec->waits_for_count; i++) {
        tt_task_row t;
        TT_TRY(tt_task_row_find(db, spec->waits_for[i], &t, err));
        if (t.state == TT_TASK_FAILED || t.state == TT_TASK_CANCELED)
            *ret_doomed = t.id;
        else if (t.state != TT_TASK_FINISHED)
            *ret_waits = true;
    }
    return TT_OK;
}

static tt_rc add_waits(tt_db *db, const tt_task_spec *spec, uint64_t id, tt_err *err)
{
    for (size_t i = 0; i < spec->waits_for_count; i++) {
        tt_task_row t;
        TT_TRY(tt_task_row_find(db, spec->waits_for[i], &t, err));
        if (t.state != TT_TASK_FINISHED)
            TT_TRY(tt_db_run(db, TT_SQL_TASK_ADD_WAIT, err, TT_A_INT(t.id), TT_A_INT(id)));
    }
    return TT_OK;
}

static tt_rc add_task(tt_db *db, const tt_task_spec *spec, tt_task_state state, uint64_t doomed, uint64_t *ret_id, tt_err *err)
{
    char reason[REASON_BYTES];
    bool apart = spec->payload.len > INLINE_PAYLOAD_BYTES;
    int64_t now_ms = tt_wall_ms();
    TT_TRY(tt_db_run(db, TT_SQL_TASK_ADD, err, TT_A_INT(state), TT_A_TEXT(spec->queue), TT_A_INT(spec->priority),
                     TT_A_TEXT(spec->kind), TT_A_INT(spec->max_attempts ? spec->max_attempts : 1), TT_A_INT(spec->backoff_ms),
                     TT_A_INT(spec->run_at_ms), TT_A_INT(now_ms), TT_A_INT(doomed ? now_ms : 0),
                     spec->unique_key.len ? TT_A_TEXT(spec->unique_key) : TT_A_NULL,
                     doomed ? TT_A_TEXT(tt_str_of(doomed_reason(doomed, reason))) : TT_A_NULL, apart ? TT_A_NULL : TT_A_BLOB(spec->payload),
                     spec->program.len ? TT_A_TEXT(spec->program) : TT_A_NULL, spec->limit_key.len ? TT_A_TEXT(spec->limit_key) : TT_A_NULL,
                     TT_A_INT(spec->timeout_ms), TT_A_INT(spec->memory_bytes), TT_A_INT(spec->keep_ms)));
    *ret_id = (uint64_t)sqlite3_last_insert_rowid(db->handle);
    if (apart)
        TT_TRY(tt_db_run(db, TT_SQL_TASK_ADD_PAYLOAD, err, TT_A_INT(*ret_id), TT_A_BLOB(spec->payload)));
    return TT_OK;
}

/* A new task that could run, but for its limit. */
static tt_rc hold(tt_db *db, uint64_t id, tt_str limit_key, tt_err *err)
{
    char key[MAX_NAME_BYTES + 1];
    snprintf(key, sizeof key, "%.*s", TT_STR_ARG(limit_key));
    TT_TRY(tt_db_run(db, TT_SQL_TASK_READY, err, TT_A_INT(id), TT_A_INT(TT_TASK_DEFERRED), TT_A_INT(1)));
    return tt_limit_admit(db, key, err);
}

static tt_rc put_records(tt_txn *txn, const tt_task_spec *spec, uint64_t id, tt_err *err)
{
    tt_task_record records[TT_TASK_RECORDS];
    size_t count = 0;
    if (spec->records)
        TT_TRY(spec->records(spec->records_arg, id, records, &count, err));
    for (size_t i = 0; i < count; i++)
        TT_TRY(tt_sqlite_record_put(txn, records[i].kind, records[i].name, records[i].expect_version, records[i].value, NULL, err));
    return TT_OK;
}

tt_rc tt_sqlite_push(tt_txn *txn, const tt_task_spec *spec, uint64_t *ret_id, tt_err *err)
{
    tt_db *db;
    bool waits = false;
    uint64_t doomed = 0, id = 0;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(check_spec(db, spec, err));
    TT_TRY(check_unique(db, spec, ret_id, err));
    TT_TRY(weigh_waits(db, spec, &waits, &doomed, err));
    tt_task_state state = doomed ? TT_TASK_FAILED : waits ? TT_TASK_DEFERRED : ready_state(spec->run_at_ms);
    bool held = state == TT_TASK_QUEUED && spec->limit_key.len;
    TT_TRY(add_task(db, spec, state, doomed, &id, err));
    if (state == TT_TASK_DEFERRED)
        TT_TRY(add_waits(db, spec, id, err));
    if (held)
        TT_TRY(hold(db, id, spec->limit_key, err));
    *ret_id = id;
    return put_records(txn, spec, id, err);
}

/* ---- claim ---- */

/* Those that are to be claimed alone are: the first, or none. */
static tt_rc find_next(tt_db *db, tt_str queue, size_t most, tt_arena *arena, tt_task *ret, size_t *count, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    size_t room = most - *count;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_NEXT, &st, err, TT_A_TEXT(queue), TT_A_INT(room)));
    for (bool row = true; *count < most;) {
        tt_task *t = &ret[*count];
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            return TT_OK;
        TT_TRY(tt_task_read(db, st, arena, t, err));
        if (*count == 0 || !t->alone)
            ++*count;
        if (t->alone)
            return TT_OK;
    }
    return TT_OK;
}

static tt_rc start_task(tt_txn *txn, tt_task *t, tt_str worker, int64_t lease_ms, tt_err *err)
{
    tt_db *db;
    t->state = TT_TASK_STARTED;
    t->attempts++;
    t->lease = tt_ledger_next_lease(txn->ledger);
    t->lease_until_ms = tt_mono_ms() + lease_ms;
    t->started_ms = tt_wall_ms();
    t->worker = worker;
    t->progress = (tt_str){0};
    TT_TRY(tt_txn_write(txn, &db, err));
    return tt_db_run(db, TT_SQL_TASK_START, err, TT_A_INT(t->id), TT_A_INT(t->lease), TT_A_INT(t->lease_until_ms),
                     TT_A_INT(t->started_ms), TT_A_TEXT(worker));
}

static tt_rc check_drained(tt_db *db, tt_str worker, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_DRAINED, &st, err, TT_A_TEXT(worker)));
    TT_TRY(tt_db_step(db, st, &row, err));
    return row ? tt_fail(err, TT_BUSY, "the worker `%.*s` is drained: it gets nothing", TT_STR_ARG(worker)) : TT_OK;
}

tt_rc tt_sqlite_claim(tt_txn *txn, const tt_str *queues, size_t queue_count, tt_str worker, int64_t lease_ms, size_t most, tt_arena *arena, tt_task *ret,
                     size_t *ret_count, tt_err *err)
{
    tt_db *db;
    size_t count = 0;
    tt_assert(lease_ms > 0 && most > 0);
    TT_TRY(tt_txn_read(txn, &db, err));
    TT_TRY(check_drained(db, worker, err));
    for (size_t i = 0; i < queue_count && count < most && !(count && ret[0].alone); i++)
        TT_TRY(find_next(db, queues[i], most, arena, ret, &count, err));
    if (count == 0)
        return tt_fail(err, TT_NOT_FOUND, "no task is ready");
    char *name = tt_arena_dup(arena, worker);
    if (!name)
        return tt_fail(err, TT_NOMEM, "out of memory for a worker's name");
    for (size_t i = 0; i < count; i++)
        TT_TRY(start_task(txn, &ret[i], (tt_str){name, worker.len}, lease_ms, err));
    *ret_count = count;
    return TT_OK;
}

/* ---- while claimed, and after ---- */

tt_rc tt_sqlite_extend(tt_txn *txn, uint64_t id, uint64_t lease, int64_t lease_ms, tt_err *err)
{
    tt_db *db;
    tt_task_row t;
    tt_assert(lease_ms > 0);
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(find_claimed(db, id, lease, &t, err));
    return tt_db_run(db, TT_SQL_TASK_EXTEND, err, TT_A_INT(id), TT_A_INT(tt_mono_ms() + lease_ms));
}

tt_rc tt_sqlite_finish(tt_txn *txn, uint64_t id, uint64_t lease, tt_str result, tt_err *err)
{
    tt_db *db;
    tt_task_row t;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_db_check_size(db, "a task's result", result.len, err));
    TT_TRY(find_claimed(db, id, lease, &t, err));
    return end_task(db, &t, TT_TASK_FINISHED, TT_STR(""), result, err);
}

/* Doubled for each attempt, at most an hour. */
static int64_t backoff_ms(const tt_task_row *t)
{
    int64_t ms = t->backoff_ms;
    for (uint32_t i = 1; i < t->attempts && ms < MAX_BACKOFF_MS; i++)
        ms *= 2;
    return ms < MAX_BACKOFF_MS ? ms : MAX_BACKOFF_MS;
}

static tt_rc wait_again(tt_db *db, const tt_task_row *t, tt_task_state to, uint32_t attempts, int64_t run_at_ms, tt_str reason, tt_err *err)
{
    TT_TRY(tt_task_check_move(t, to, err));
    return tt_db_run(db, TT_SQL_TASK_WAIT, err, TT_A_INT(t->id), TT_A_INT(to), TT_A_INT(attempts), TT_A_INT(run_at_ms),
                     reason.len ? TT_A_TEXT(reason) : TT_A_NULL);
}

tt_rc tt_task_fail_attempt(tt_db *db, const tt_task_row *t, tt_str reason, bool final, tt_err *err)
{
    if (final || t->attempts >= t->max_attempts)
        return end_task(db, t, TT_TASK_FAILED, reason, TT_STR(""), err);
    int64_t delay_ms = backoff_ms(t);
    TT_TRY(wait_again(db, t, delay_ms ? TT_TASK_SCHEDULED : TT_TASK_QUEUED, t->attempts, tt_wall_ms() + delay_ms, reason, err));
    return delay_ms ? tt_limit_admit(db, t->limit_key, err) : TT_OK; /* its place is another's while it waits */
}

tt_rc tt_sqlite_fail(tt_txn *txn, uint64_t id, uint64_t lease, tt_str reason, bool final, tt_err *err)
{
    tt_db *db;
    tt_task_row t;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_db_check_size(db, "a task's reason", reason.len, err));
    TT_TRY(find_claimed(db, id, lease, &t, err));
    return tt_task_fail_attempt(db, &t, reason, final, err);
}

tt_rc tt_sqlite_release(tt_txn *txn, uint64_t id, uint64_t lease, int64_t delay_ms, tt_str reason, bool alone, tt_err *err)
{
    tt_db *db;
    tt_task_row t;
    tt_assert(delay_ms >= 0);
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(find_claimed(db, id, lease, &t, err));
    TT_TRY(wait_again(db, &t, delay_ms ? TT_TASK_SCHEDULED : TT_TASK_QUEUED, t.attempts ? t.attempts - 1 : 0,
                      delay_ms ? tt_wall_ms() + delay_ms : t.run_at_ms, reason, err));
    if (alone)
        TT_TRY(tt_db_run(db, TT_SQL_TASK_ALONE, err, TT_A_INT(id)));
    return delay_ms ? tt_limit_admit(db, t.limit_key, err) : TT_OK;
}

tt_rc tt_sqlite_progress(tt_txn *txn, uint64_t id, uint64_t lease, tt_str progress, tt_err *err)
{
    tt_db *db;
    tt_task_row t;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_db_check_size(db, "a task's progress", progress.len, err));
    TT_TRY(find_claimed(db, id, lease, &t, err));
    return tt_db_run(db, TT_SQL_TASK_PROGRESS, err, TT_A_INT(id), TT_A_BLOB(progress));
}

tt_rc tt_sqlite_note(tt_txn *txn, uint64_t id, uint64_t lease, tt_str text, tt_err *err)
{
    tt_db *db;
    TT_TRY(tt_txn_write(txn, &db, err));
    return tt_db_run(db, TT_SQL_TASK_NOTE, err, TT_A_INT(id), TT_A_INT(lease), TT_A_TEXT(text));
}

tt_rc tt_task_cancel(tt_db *db, uint64_t id, tt_str reason, tt_err *err)
{
    tt_task_row t;
    TT_TRY(tt_task_row_find(db, id, &t, err));
    return end_task(db, &t, TT_TASK_CANCELED, reason, TT_STR(""), err);
}

tt_rc tt_sqlite_cancel(tt_txn *txn, uint64_t id, tt_str reason, tt_err *err)
{
    tt_db *db;
    TT_TRY(tt_txn_write(txn, &db, err));
    return tt_task_cancel(db, id, reason, err);
}

/* ---- after the end ---- */

static tt_rc check_key_is_free(tt_db *db, uint64_t id, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    char key[MAX_NAME_BYTES + 1] = "";
    bool row = false;
    tt_str text;
    uint64_t present;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_KEY, &st, err, TT_A_INT(id)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row || sqlite3_column_type(st, 0) == SQLITE_NULL)
        return TT_OK;
    TT_TRY(tt_db_bytes(db, st, 0, &text, err));
    snprintf(key, sizeof key, "%.*s", TT_STR_ARG(text));
    return check_unique(db, &(tt_task_spec){.unique_key = tt_str_of(key)}, &present, err);
}

tt_rc tt_sqlite_retry(tt_txn *txn, uint64_t id, tt_err *err)
{
    tt_db *db;
    tt_task_row t;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_task_row_find(db, id, &t, err));
    bool limited = t.limit_key[0] != '\0';
    tt_task_state to = limited ? TT_TASK_DEFERRED : TT_TASK_QUEUED;
    if (t.run_task)
        return tt_fail(err, TT_CONFLICT, "task %llu belongs to a run of a pipeline: retry the run", (unsigned long long)id);
    if (t.state != TT_TASK_FAILED && t.state != TT_TASK_CANCELED)
        return tt_fail(err, TT_CONFLICT, "task %llu is %s: only a failed or canceled one can be tried again", (unsigned long long)id, states[t.state].name);
    TT_TRY(tt_task_check_move(&t, to, err));
    TT_TRY(check_key_is_free(db, id, err));
    TT_TRY(tt_db_run(db, TT_SQL_TASK_AGAIN, err, TT_A_INT(id), TT_A_INT(to), TT_A_INT(limited)));
    return tt_limit_admit(db, t.limit_key, err);
}

tt_rc tt_task_drop(tt_db *db, uint64_t id, tt_err *err)
{
    TT_TRY(tt_db_run(db, TT_SQL_TASK_DROP_PAYLOAD, err, TT_A_INT(id)));
    return tt_db_run(db, TT_SQL_TASK_DROP, err, TT_A_INT(id));
}

tt_rc tt_sqlite_delete(tt_txn *txn, uint64_t id, tt_err *err)
{
    tt_db *db;
    tt_task_row t;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_task_row_find(db, id, &t, err));
    if (t.state < TT_TASK_FINISHED)
        return tt_fail(err, TT_CONFLICT, "task %llu is %s: cancel it first", (unsigned long long)id, states[t.state].name);
    return tt_task_drop(db, id, err);
}
