#include "ledger/queue.h"

#include "base/clock.h"
#include "base/vec.h"
#include "ledger/txn.h"

enum {
    INLINE_PAYLOAD_BYTES = 1024,   /* larger ones lie apart (schema.c) */
    MAX_NAME_BYTES = 255,
    MAX_BACKOFF_MS = 3600 * 1000,
    TICK_TASKS = 500,              /* of each sort in one tick */
    TICK_AT_LEAST_MS = 60 * 1000,  /* the wall clock may jump: look again after this */
};

/* ---- states ---- */

/* What may follow each state, and its name. To add a state: add it at the end of tt_task_state, a row here, an arrow in
 * queue.h, and a partial index in a new schema step. */
#define TO(state) (1u << TT_TASK_##state)
static const struct {
    const char *name;
    unsigned next;
} states[] = {
    [TT_TASK_DEFERRED] = {"deferred", TO(SCHEDULED) | TO(QUEUED) | TO(FAILED) | TO(CANCELED)},
    [TT_TASK_SCHEDULED] = {"scheduled", TO(QUEUED) | TO(CANCELED)},
    [TT_TASK_QUEUED] = {"queued", TO(STARTED) | TO(CANCELED)},
    [TT_TASK_STARTED] = {"started", TO(QUEUED) | TO(SCHEDULED) | TO(FINISHED) | TO(FAILED) | TO(CANCELED)},
    [TT_TASK_FINISHED] = {"finished", 0},
    [TT_TASK_FAILED] = {"failed", 0},
    [TT_TASK_CANCELED] = {"canceled", 0},
};
_Static_assert(TT_COUNT(states) == TT_COUNT(((tt_queue_counts *)0)->by_state), "every state is counted");

const char *tt_task_state_name(tt_task_state s)
{
    tt_assert((size_t)s < TT_COUNT(states));
    return states[s].name;
}

/* What decides about a transition. */
typedef struct {
    uint64_t id;
    tt_task_state state;
    uint64_t lease;
    uint32_t attempts, max_attempts;
    int64_t backoff_ms, run_at_ms;
} task_row;

static tt_rc check_move(const task_row *t, tt_task_state to, tt_err *err)
{
    if (states[t->state].next & (1u << to))
        return TT_OK;
    return tt_fail(err, TT_CONFLICT, "task %llu is %s: it cannot become %s", (unsigned long long)t->id, states[t->state].name,
                   states[to].name);
}

static tt_rc read_state(tt_db *db, sqlite3_stmt *st, int column, uint64_t id, tt_task_state *ret, tt_err *err)
{
    int64_t state = sqlite3_column_int64(st, column);
    if (state < 0 || state >= (int64_t)TT_COUNT(states))
        return tt_fail(err, TT_CORRUPT, "%s: task %llu has state %lld: the file is damaged: stop the server and restore the file from a backup",
                       db->path, (unsigned long long)id, (long long)state);
    *ret = (tt_task_state)state;
    return TT_OK;
}

static tt_rc find_task(tt_db *db, uint64_t id, task_row *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_FIND, &st, err, TT_A_INT(id)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "no task %llu", (unsigned long long)id);
    *ret = (task_row){
        .id = id,
        .lease = (uint64_t)sqlite3_column_int64(st, 1),
        .attempts = (uint32_t)sqlite3_column_int64(st, 2),
        .max_attempts = (uint32_t)sqlite3_column_int64(st, 3),
        .backoff_ms = sqlite3_column_int64(st, 4),
        .run_at_ms = sqlite3_column_int64(st, 5),
    };
    return read_state(db, st, 0, id, &ret->state, err);
}

/* The fence: only the holder of the present claim may go on. */
static tt_rc find_claimed(tt_db *db, uint64_t id, uint64_t lease, task_row *ret, tt_err *err)
{
    TT_TRY(find_task(db, id, ret, err));
    if (ret->state == TT_TASK_STARTED && ret->lease == lease)
        return TT_OK;
    return tt_fail(err, TT_GONE, "task %llu: lease %llu is gone: the task is %s%s: drop this work", (unsigned long long)id,
                   (unsigned long long)lease, states[ret->state].name,
                   ret->state == TT_TASK_STARTED ? " by another worker" : "");
}

/* The first column of the one row that a statement gives; fallback when there is none, or NULL. */
static tt_rc read_number(tt_db *db, sqlite3_stmt *st, int64_t fallback, int64_t *ret, tt_err *err)
{
    bool row = false;
    TT_TRY(tt_db_step(db, st, &row, err));
    *ret = row && sqlite3_column_type(st, 0) != SQLITE_NULL ? sqlite3_column_int64(st, 0) : fallback;
    return TT_OK;
}

typedef TT_VEC(uint64_t) id_list;
static void free_ids(id_list *ids) { tt_vec_deinit(ids); }
#define IDS_AUTO __attribute__((cleanup(free_ids)))

static tt_rc read_ids(tt_db *db, sqlite3_stmt *st, id_list *ids, tt_err *err)
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

static tt_rc list_waiters(tt_db *db, uint64_t id, id_list *ids, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_WAITERS, &st, err, TT_A_INT(id)));
    return read_ids(db, st, ids, err);
}

static tt_rc free_waiter(tt_db *db, uint64_t id, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    int64_t waits = 0;
    task_row t;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_WAITS, &st, err, TT_A_INT(id)));
    TT_TRY(read_number(db, st, 0, &waits, err));
    if (waits)
        return TT_OK;
    TT_TRY(find_task(db, id, &t, err));
    tt_task_state to = ready_state(t.run_at_ms);
    TT_TRY(check_move(&t, to, err));
    return tt_db_run(db, TT_SQL_TASK_READY, err, TT_A_INT(id), TT_A_INT(to));
}

static tt_rc write_end(tt_db *db, const task_row *t, tt_task_state to, tt_str reason, tt_str result, tt_err *err)
{
    TT_TRY(check_move(t, to, err));
    if (t->state == TT_TASK_DEFERRED)
        TT_TRY(tt_db_run(db, TT_SQL_TASK_DROP_WAITS, err, TT_A_INT(t->id)));
    return tt_db_run(db, TT_SQL_TASK_END, err, TT_A_INT(t->id), TT_A_INT(to), TT_A_INT(tt_wall_ms()),
                     reason.len ? TT_A_TEXT(reason) : TT_A_NULL, result.len ? TT_A_BLOB(result) : TT_A_NULL);
}

enum { REASON_BYTES = 80 };

static const char *doomed_reason(uint64_t needed, char out[REASON_BYTES])
{
    snprintf(out, REASON_BYTES, "task %llu, which it waits for, did not finish", (unsigned long long)needed);
    return out;
}

static tt_rc fail_waiter(tt_db *db, uint64_t id, uint64_t needed, tt_err *err)
{
    task_row t;
    char reason[REASON_BYTES];
    TT_TRY(find_task(db, id, &t, err));
    return write_end(db, &t, TT_TASK_FAILED, tt_str_of(doomed_reason(needed, reason)), TT_STR(""), err);
}

/* A task ended. Who waits for it goes on, or fails with it, and those who wait for that one too: a list, not recursion,
 * because chains may be long. */
static tt_rc tell_waiters(tt_db *db, uint64_t id, bool finished, tt_err *err)
{
    IDS_AUTO id_list ids = {0}, failed = {0};
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

static tt_rc end_task(tt_db *db, const task_row *t, tt_task_state to, tt_str reason, tt_str result, tt_err *err)
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
    if (spec->backoff_ms < 0 || spec->run_at_ms < 0)
        return tt_fail(err, TT_INVALID, "a task's backoff and time to run cannot be negative");
    return tt_db_check_size(db, "a task's payload", spec->payload.len, err);
}

static tt_rc check_unique(tt_db *db, const tt_task_spec *spec, uint64_t *ret_id, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    int64_t id = 0;
    if (spec->unique_key.len == 0)
        return TT_OK;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_FIND_KEY, &st, err, TT_A_TEXT(spec->unique_key)));
    TT_TRY(read_number(db, st, 0, &id, err));
    if (id == 0)
        return TT_OK;
    *ret_id = (uint64_t)id;
    return tt_fail(err, TT_EXISTS, "task %lld with the key `%.*s` has not ended yet", (long long)id, TT_STR_ARG(spec->unique_key));
}

/* *ret_waits: something has not ended yet; *ret_doomed: one that will never finish. */
static tt_rc weigh_waits(tt_db *db, const tt_task_spec *spec, bool *ret_waits, uint64_t *ret_doomed, tt_err *err)
{
    for (size_t i = 0; i < spec->waits_for_count; i++) {
        task_row t;
        TT_TRY(find_task(db, spec->waits_for[i], &t, err));
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
        task_row t;
        TT_TRY(find_task(db, spec->waits_for[i], &t, err));
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
                     doomed ? TT_A_TEXT(tt_str_of(doomed_reason(doomed, reason))) : TT_A_NULL, apart ? TT_A_NULL : TT_A_BLOB(spec->payload)));
    *ret_id = (uint64_t)sqlite3_last_insert_rowid(db->handle);
    if (apart)
        TT_TRY(tt_db_run(db, TT_SQL_TASK_ADD_PAYLOAD, err, TT_A_INT(*ret_id), TT_A_BLOB(spec->payload)));
    return TT_OK;
}

tt_rc tt_queue_push(tt_txn *txn, const tt_task_spec *spec, uint64_t *ret_id, tt_err *err)
{
    tt_db *db;
    bool waits = false;
    uint64_t doomed = 0, id = 0;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(check_spec(db, spec, err));
    TT_TRY(check_unique(db, spec, ret_id, err));
    TT_TRY(weigh_waits(db, spec, &waits, &doomed, err));
    tt_task_state state = doomed ? TT_TASK_FAILED : waits ? TT_TASK_DEFERRED : ready_state(spec->run_at_ms);
    TT_TRY(add_task(db, spec, state, doomed, &id, err));
    if (state == TT_TASK_DEFERRED)
        TT_TRY(add_waits(db, spec, id, err));
    *ret_id = id;
    return TT_OK;
}

/* ---- claim ---- */

static tt_rc copy_bytes(tt_db *db, sqlite3_stmt *st, int column, tt_arena *arena, tt_str *ret, tt_err *err)
{
    tt_str bytes;
    TT_TRY(tt_db_bytes(db, st, column, &bytes, err));
    char *copy = tt_arena_dup(arena, bytes);
    if (!copy)
        return tt_fail(err, TT_NOMEM, "out of memory for a task's %zu bytes", bytes.len);
    *ret = (tt_str){copy, bytes.len};
    return TT_OK;
}

/* The columns of TT_TASK_COLUMNS. */
static tt_rc read_task(tt_db *db, sqlite3_stmt *st, tt_arena *arena, tt_task *ret, tt_err *err)
{
    tt_task t = {
        .id = (uint64_t)sqlite3_column_int64(st, 0),
        .attempts = (uint32_t)sqlite3_column_int64(st, 2),
        .lease = (uint64_t)sqlite3_column_int64(st, 3),
        .lease_until_ms = sqlite3_column_int64(st, 4),
        .created_ms = sqlite3_column_int64(st, 5),
        .started_ms = sqlite3_column_int64(st, 6),
        .ended_ms = sqlite3_column_int64(st, 7),
    };
    tt_str *const texts[] = {&t.queue, &t.kind, &t.worker, &t.reason, &t.result, &t.payload};
    TT_TRY(read_state(db, st, 1, t.id, &t.state, err));
    for (size_t i = 0; i < TT_COUNT(texts); i++)
        TT_TRY(copy_bytes(db, st, 8 + (int)i, arena, texts[i], err));
    *ret = t;
    return TT_OK;
}

static tt_rc find_next(tt_db *db, tt_str queue, tt_arena *arena, tt_task *ret, bool *ret_found, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_NEXT, &st, err, TT_A_TEXT(queue)));
    TT_TRY(tt_db_step(db, st, ret_found, err));
    return *ret_found ? read_task(db, st, arena, ret, err) : TT_OK;
}

static tt_rc start_task(tt_txn *txn, tt_task *t, tt_str worker, int64_t lease_ms, tt_arena *arena, tt_err *err)
{
    tt_db *db;
    char *name = tt_arena_dup(arena, worker);
    if (!name)
        return tt_fail(err, TT_NOMEM, "out of memory for a worker's name");
    t->state = TT_TASK_STARTED;
    t->attempts++;
    t->lease = tt_ledger_next_lease(txn->ledger);
    t->lease_until_ms = tt_mono_ms() + lease_ms;
    t->started_ms = tt_wall_ms();
    t->worker = (tt_str){name, worker.len};
    TT_TRY(tt_txn_write(txn, &db, err));
    return tt_db_run(db, TT_SQL_TASK_START, err, TT_A_INT(t->id), TT_A_INT(t->lease), TT_A_INT(t->lease_until_ms),
                     TT_A_INT(t->started_ms), TT_A_TEXT(worker));
}

tt_rc tt_queue_claim(tt_txn *txn, const tt_str *queues, size_t queue_count, tt_str worker, int64_t lease_ms, tt_arena *arena, tt_task *ret, tt_err *err)
{
    tt_db *db;
    tt_task t;
    bool found = false;
    tt_assert(lease_ms > 0);
    TT_TRY(tt_txn_read(txn, &db, err));
    for (size_t i = 0; i < queue_count && !found; i++)
        TT_TRY(find_next(db, queues[i], arena, &t, &found, err));
    if (!found)
        return tt_fail(err, TT_NOT_FOUND, "no task is ready");
    TT_TRY(start_task(txn, &t, worker, lease_ms, arena, err));
    *ret = t;
    return TT_OK;
}

/* ---- while claimed, and after ---- */

tt_rc tt_queue_extend(tt_txn *txn, uint64_t id, uint64_t lease, int64_t lease_ms, tt_err *err)
{
    tt_db *db;
    task_row t;
    tt_assert(lease_ms > 0);
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(find_claimed(db, id, lease, &t, err));
    return tt_db_run(db, TT_SQL_TASK_EXTEND, err, TT_A_INT(id), TT_A_INT(tt_mono_ms() + lease_ms));
}

tt_rc tt_queue_finish(tt_txn *txn, uint64_t id, uint64_t lease, tt_str result, tt_err *err)
{
    tt_db *db;
    task_row t;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_db_check_size(db, "a task's result", result.len, err));
    TT_TRY(find_claimed(db, id, lease, &t, err));
    return end_task(db, &t, TT_TASK_FINISHED, TT_STR(""), result, err);
}

/* Doubled for each attempt, at most an hour. */
static int64_t backoff_ms(const task_row *t)
{
    int64_t ms = t->backoff_ms;
    for (uint32_t i = 1; i < t->attempts && ms < MAX_BACKOFF_MS; i++)
        ms *= 2;
    return ms < MAX_BACKOFF_MS ? ms : MAX_BACKOFF_MS;
}

static tt_rc wait_again(tt_db *db, const task_row *t, tt_task_state to, uint32_t attempts, int64_t run_at_ms, tt_str reason, tt_err *err)
{
    TT_TRY(check_move(t, to, err));
    return tt_db_run(db, TT_SQL_TASK_WAIT, err, TT_A_INT(t->id), TT_A_INT(to), TT_A_INT(attempts), TT_A_INT(run_at_ms),
                     reason.len ? TT_A_TEXT(reason) : TT_A_NULL);
}

static tt_rc fail_attempt(tt_db *db, const task_row *t, tt_str reason, bool final, tt_err *err)
{
    if (final || t->attempts >= t->max_attempts)
        return end_task(db, t, TT_TASK_FAILED, reason, TT_STR(""), err);
    int64_t delay_ms = backoff_ms(t);
    return wait_again(db, t, delay_ms ? TT_TASK_SCHEDULED : TT_TASK_QUEUED, t->attempts, tt_wall_ms() + delay_ms, reason, err);
}

tt_rc tt_queue_fail(tt_txn *txn, uint64_t id, uint64_t lease, tt_str reason, bool final, tt_err *err)
{
    tt_db *db;
    task_row t;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_db_check_size(db, "a task's reason", reason.len, err));
    TT_TRY(find_claimed(db, id, lease, &t, err));
    return fail_attempt(db, &t, reason, final, err);
}

tt_rc tt_queue_release(tt_txn *txn, uint64_t id, uint64_t lease, tt_err *err)
{
    tt_db *db;
    task_row t;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(find_claimed(db, id, lease, &t, err));
    return wait_again(db, &t, TT_TASK_QUEUED, t.attempts ? t.attempts - 1 : 0, t.run_at_ms, TT_STR(""), err);
}

tt_rc tt_queue_cancel(tt_txn *txn, uint64_t id, tt_str reason, tt_err *err)
{
    tt_db *db;
    task_row t;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(find_task(db, id, &t, err));
    return end_task(db, &t, TT_TASK_CANCELED, reason, TT_STR(""), err);
}

/* ---- time ---- */

static tt_rc list_ids(tt_db *db, tt_sql which, int64_t until_ms, id_list *ids, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, which, &st, err, TT_A_INT(until_ms), TT_A_INT(TICK_TASKS)));
    return read_ids(db, st, ids, err);
}

static tt_rc expire(tt_db *db, bool *ret_more, tt_err *err)
{
    IDS_AUTO id_list ids = {0};
    TT_TRY(list_ids(db, TT_SQL_TASK_EXPIRED, tt_mono_ms(), &ids, err));
    for (size_t i = 0; i < ids.len; i++) {
        task_row t;
        TT_TRY(find_task(db, ids.ptr[i], &t, err));
        TT_TRY(fail_attempt(db, &t, TT_STR("lease expired"), false, err));
    }
    *ret_more |= ids.len == TICK_TASKS;
    return TT_OK;
}

static tt_rc queue_due(tt_db *db, bool *ret_more, tt_err *err)
{
    IDS_AUTO id_list ids = {0};
    TT_TRY(list_ids(db, TT_SQL_TASK_DUE, tt_wall_ms(), &ids, err));
    for (size_t i = 0; i < ids.len; i++)
        TT_TRY(tt_db_run(db, TT_SQL_TASK_READY, err, TT_A_INT(ids.ptr[i]), TT_A_INT(TT_TASK_QUEUED)));
    *ret_more |= ids.len == TICK_TASKS;
    return TT_OK;
}

static tt_rc list_old(tt_db *db, tt_task_state state, int64_t until_ms, id_list *ids, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_OLD, &st, err, TT_A_INT(until_ms), TT_A_INT(TICK_TASKS), TT_A_INT(state)));
    return read_ids(db, st, ids, err);
}

static tt_rc drop_old(tt_db *db, tt_task_state state, int64_t until_ms, bool *ret_more, tt_err *err)
{
    IDS_AUTO id_list ids = {0};
    TT_TRY(list_old(db, state, until_ms, &ids, err));
    for (size_t i = 0; i < ids.len; i++) {
        TT_TRY(tt_db_run(db, TT_SQL_TASK_DROP_PAYLOAD, err, TT_A_INT(ids.ptr[i])));
        TT_TRY(tt_db_run(db, TT_SQL_TASK_DROP, err, TT_A_INT(ids.ptr[i])));
    }
    *ret_more |= ids.len == TICK_TASKS;
    return TT_OK;
}

/* The smallest time of a sort, INT64_MAX when there is none. */
static tt_rc next_time(tt_db *db, tt_sql which, int64_t *ret_ms, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query_args(db, which, &st, NULL, 0, err));
    return read_number(db, st, INT64_MAX, ret_ms, err);
}

static int64_t earlier(int64_t a, int64_t b) { return a < b ? a : b; }

/* Deleting is not urgent: not more often than TICK_AT_LEAST_MS. */
static tt_rc next_drop(tt_db *db, tt_task_state state, int64_t keep_ms, int64_t *ret_ms, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    int64_t ended_ms;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_NEXT_OLD, &st, err, TT_A_INT(state)));
    TT_TRY(read_number(db, st, INT64_MAX, &ended_ms, err));
    if (ended_ms == INT64_MAX || keep_ms < 0)
        return TT_OK;
    int64_t in_ms = ended_ms - tt_wall_ms() + keep_ms;
    *ret_ms = earlier(*ret_ms, tt_mono_ms() + (in_ms > TICK_AT_LEAST_MS ? in_ms : TICK_AT_LEAST_MS));
    return TT_OK;
}

static tt_rc next_tick(tt_db *db, int64_t keep_ms, int64_t *ret_next_ms, tt_err *err)
{
    int64_t expiry_ms, due_ms, now_ms = tt_mono_ms();
    TT_TRY(next_time(db, TT_SQL_TASK_NEXT_EXPIRY, &expiry_ms, err));
    TT_TRY(next_time(db, TT_SQL_TASK_NEXT_DUE, &due_ms, err));
    if (due_ms != INT64_MAX)
        due_ms = now_ms + earlier(due_ms - tt_wall_ms(), TICK_AT_LEAST_MS);
    int64_t next_ms = earlier(expiry_ms, due_ms);
    TT_TRY(next_drop(db, TT_TASK_FINISHED, keep_ms, &next_ms, err));
    TT_TRY(next_drop(db, TT_TASK_CANCELED, keep_ms, &next_ms, err));
    *ret_next_ms = next_ms == INT64_MAX ? -1 : next_ms > now_ms ? next_ms : now_ms;
    return TT_OK;
}

tt_rc tt_queue_tick(tt_txn *txn, int64_t keep_ms, int64_t *ret_next_ms, tt_err *err)
{
    tt_db *db;
    bool more = false;
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(expire(db, &more, err));
    TT_TRY(queue_due(db, &more, err));
    if (keep_ms >= 0) {
        int64_t until_ms = tt_wall_ms() - keep_ms;
        TT_TRY(drop_old(db, TT_TASK_FINISHED, until_ms, &more, err));
        TT_TRY(drop_old(db, TT_TASK_CANCELED, until_ms, &more, err));
    }
    if (!more)
        return next_tick(db, keep_ms, ret_next_ms, err);
    *ret_next_ms = tt_mono_ms();
    return TT_OK;
}

tt_rc tt_queue_recover(tt_txn *txn, tt_err *err)
{
    tt_db *db;
    TT_TRY(tt_txn_write(txn, &db, err));
    return tt_db_run_plain(db, TT_SQL_TASK_RECOVER, err);
}

/* ---- reading ---- */

static tt_rc get_task(tt_db *db, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_GET, &st, err, TT_A_INT(id)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "no task %llu", (unsigned long long)id);
    return read_task(db, st, arena, ret, err);
}

tt_rc tt_queue_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err)
{
    tt_rc rc = get_task(tt_ledger_read_begin(ledger), id, arena, ret, err);
    tt_ledger_read_end(ledger);
    return rc;
}

static tt_rc count_states(tt_db *db, tt_str queue, tt_queue_counts *ret, uint64_t *ret_oldest, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_COUNT, &st, err, TT_A_TEXT(queue)));
    for (bool row = true;;) {
        tt_task_state state = TT_TASK_DEFERRED;
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            return TT_OK;
        TT_TRY(read_state(db, st, 0, 0, &state, err));
        ret->by_state[state] = (uint64_t)sqlite3_column_int64(st, 1);
        if (state == TT_TASK_QUEUED)
            *ret_oldest = (uint64_t)sqlite3_column_int64(st, 2);
    }
}

static tt_rc count_tasks(tt_db *db, tt_str queue, tt_queue_counts *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    uint64_t oldest = 0;
    int64_t now_ms = tt_wall_ms(), since_ms = 0;
    TT_TRY(count_states(db, queue, ret, &oldest, err));
    TT_TRY(tt_db_query(db, TT_SQL_TASK_AGE, &st, err, TT_A_INT(oldest)));
    TT_TRY(read_number(db, st, now_ms, &since_ms, err));
    ret->oldest_queued_ms = now_ms > since_ms ? now_ms - since_ms : 0;
    return TT_OK;
}

tt_rc tt_queue_count(tt_ledger *ledger, tt_str queue, tt_queue_counts *ret, tt_err *err)
{
    tt_queue_counts counts = {0};
    tt_rc rc = count_tasks(tt_ledger_read_begin(ledger), queue, &counts, err);
    tt_ledger_read_end(ledger);
    TT_TRY(rc);
    *ret = counts;
    return TT_OK;
}
