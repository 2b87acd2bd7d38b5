/* Looking at the queue: one task, lists, counts. */
#include "base/clock.h"
#include "ledger/queue_inner.h"
#include "ledger/store.h"

static tt_rc copy_bytes(tt_db *db, sqlite3_stmt *st, int column, tt_arena *arena, tt_str *ret, tt_err *err)
{
    tt_str bytes;
    if (sqlite3_column_type(st, column) == SQLITE_NULL) {
        *ret = (tt_str){0};
        return TT_OK;
    }
    TT_TRY(tt_db_bytes(db, st, column, &bytes, err));
    char *copy = tt_arena_dup(arena, bytes);
    if (!copy)
        return tt_fail(err, TT_NOMEM, "out of memory for a task's %zu bytes", bytes.len);
    *ret = (tt_str){copy, bytes.len};
    return TT_OK;
}

/* The columns of TT_TASK_NUMBERS, TT_TASK_NAMES, and result, progress, payload. */
tt_rc tt_task_read(tt_db *db, sqlite3_stmt *st, tt_arena *arena, tt_task *ret, tt_err *err)
{
    enum { NUMBERS = 14 };
    tt_task t = {
        .id = (uint64_t)sqlite3_column_int64(st, 0), .attempts = (uint32_t)sqlite3_column_int64(st, 2),
        .lease = (uint64_t)sqlite3_column_int64(st, 3), .lease_until_ms = sqlite3_column_int64(st, 4),
        .created_ms = sqlite3_column_int64(st, 5), .started_ms = sqlite3_column_int64(st, 6), .ended_ms = sqlite3_column_int64(st, 7),
        .priority = sqlite3_column_int(st, 8), .max_attempts = (uint32_t)sqlite3_column_int64(st, 9), .run_at_ms = sqlite3_column_int64(st, 10),
        .timeout_ms = sqlite3_column_int64(st, 11), .memory_bytes = (uint64_t)sqlite3_column_int64(st, 12), .alone = sqlite3_column_int(st, 13) != 0,
    };
    tt_str *const texts[] = {&t.queue, &t.kind, &t.worker, &t.reason, &t.program, &t.unique_key, &t.limit_key, &t.result, &t.progress, &t.payload};
    TT_TRY(tt_task_read_state(db, st, 1, t.id, &t.state, err));
    for (size_t i = 0; i < TT_COUNT(texts); i++)
        TT_TRY(copy_bytes(db, st, NUMBERS + (int)i, arena, texts[i], err));
    *ret = t;
    return TT_OK;
}

static tt_rc get_task(tt_db *db, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_GET, &st, err, TT_A_INT(id)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "there is no task %llu", (unsigned long long)id);
    return tt_task_read(db, st, arena, ret, err);
}

tt_rc tt_sqlite_get(tt_ledger *ledger, uint64_t id, tt_arena *arena, tt_task *ret, tt_err *err)
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
        TT_TRY(tt_task_read_state(db, st, 0, 0, &state, err));
        ret->by_state[state] = (uint64_t)sqlite3_column_int64(st, 1);
        if (state == TT_TASK_QUEUED)
            *ret_oldest = (uint64_t)sqlite3_column_int64(st, 2);
    }
}

static tt_rc find_age(tt_db *db, int64_t id, int64_t *ret_ms, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    int64_t now_ms = tt_wall_ms(), since_ms = 0;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_AGE, &st, err, TT_A_INT(id)));
    TT_TRY(tt_task_read_number(db, st, now_ms, &since_ms, err));
    *ret_ms = now_ms > since_ms ? now_ms - since_ms : 0;
    return TT_OK;
}

static tt_rc count_tasks(tt_db *db, tt_str queue, tt_queue_counts *ret, tt_err *err)
{
    uint64_t oldest = 0;
    TT_TRY(count_states(db, queue, ret, &oldest, err));
    return find_age(db, (int64_t)oldest, &ret->oldest_queued_ms, err);
}

tt_rc tt_sqlite_count(tt_ledger *ledger, tt_str queue, tt_queue_counts *ret, tt_err *err)
{
    tt_queue_counts counts = {0};
    tt_rc rc = count_tasks(tt_ledger_read_begin(ledger), queue, &counts, err);
    tt_ledger_read_end(ledger);
    TT_TRY(rc);
    *ret = counts;
    return TT_OK;
}

static tt_rc get_lease(tt_db *db, uint64_t id, uint64_t *ret_lease, tt_task_state *ret_state, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_TASK_LEASE, &st, err, TT_A_INT(id)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "there is no task %llu", (unsigned long long)id);
    *ret_lease = (uint64_t)sqlite3_column_int64(st, 0);
    return tt_task_read_state(db, st, 1, id, ret_state, err);
}

tt_rc tt_sqlite_get_lease(tt_ledger *ledger, uint64_t id, uint64_t *ret_lease, tt_task_state *ret_state, tt_err *err)
{
    tt_rc rc = get_lease(tt_ledger_read_begin(ledger), id, ret_lease, ret_state, err);
    tt_ledger_read_end(ledger);
    return rc;
}

/* ---- lists ---- */

static bool fits(const tt_task_filter *f, const tt_task *t)
{
    return (f->state == TT_TASK_ANY_STATE || f->state == (int)t->state) && (!f->queue.len || tt_str_eq(f->queue, t->queue)) &&
           (!f->kind.len || tt_str_eq(f->kind, t->kind)) && (!f->program.len || tt_str_eq(f->program, t->program));
}

/* The index that leaves least to look at. */
static tt_rc begin_list(tt_db *db, const tt_task_filter *f, int64_t looks, sqlite3_stmt **st, tt_err *err)
{
    uint64_t before = f->before_id && f->before_id <= INT64_MAX ? f->before_id : INT64_MAX;
    if (f->program.len)
        return tt_db_query(db, TT_SQL_TASK_LIST_PROGRAM, st, err, TT_A_INT(before), TT_A_INT(looks), TT_A_TEXT(f->program));
    if (f->state != TT_TASK_ANY_STATE)
        return tt_db_query(db, TT_SQL_TASK_LIST_STATE, st, err, TT_A_INT(before), TT_A_INT(looks), TT_A_INT(f->state));
    return tt_db_query(db, TT_SQL_TASK_LIST, st, err, TT_A_INT(before), TT_A_INT(looks));
}

static tt_rc list_tasks(tt_db *db, const tt_task_filter *f, tt_arena *arena, tt_task *ret, size_t *ret_count, uint64_t *ret_next, tt_err *err)
{
    enum { LOOKS = 20000 }; /* some 20 ms */
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    size_t count = 0, looked = 0;
    uint64_t last = 0;
    bool row = true;
    TT_TRY(begin_list(db, f, LOOKS, &st, err));
    while (count < f->most) {
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            break;
        tt_arena scratch = {0};
        tt_task t;
        tt_rc rc = tt_task_read(db, st, &scratch, &t, err);
        bool wanted = rc == TT_OK && fits(f, &t);
        tt_arena_deinit(&scratch);
        last = t.id;
        looked++;
        if (wanted)
            rc = tt_task_read(db, st, arena, &ret[count++], err);
        TT_TRY(rc);
    }
    *ret_count = count;
    *ret_next = row || looked == LOOKS ? last : 0;
    return TT_OK;
}

tt_rc tt_sqlite_list(tt_ledger *ledger, const tt_task_filter *filter, tt_arena *arena, tt_task *ret, size_t *ret_count, uint64_t *ret_next, tt_err *err)
{
    tt_assert(filter->most > 0 && filter->most <= TT_TASK_LIST_MOST);
    tt_rc rc = list_tasks(tt_ledger_read_begin(ledger), filter, arena, ret, ret_count, ret_next, err);
    tt_ledger_read_end(ledger);
    return rc;
}

static tt_rc find_oldest(tt_db *db, int64_t *ret_ms, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    int64_t id;
    TT_TRY(tt_db_query_args(db, TT_SQL_TASK_OLDEST, &st, NULL, 0, err));
    TT_TRY(tt_task_read_number(db, st, 0, &id, err));
    return find_age(db, id, ret_ms, err);
}

tt_rc tt_sqlite_oldest(tt_ledger *ledger, int64_t *ret_ms, tt_err *err)
{
    tt_rc rc = find_oldest(tt_ledger_read_begin(ledger), ret_ms, err);
    tt_ledger_read_end(ledger);
    return rc;
}

/* ---- queues ---- */

typedef TT_VEC(tt_queue_info) queue_list;

static tt_queue_info *queue_named(queue_list *list, tt_str name, tt_arena *arena)
{
    for (size_t i = 0; i < list->len; i++)
        if (tt_str_eq(list->ptr[i].name, name))
            return &list->ptr[i];
    char *copy = tt_arena_dup(arena, name);
    tt_queue_info info = {.name = {copy, name.len}};
    return copy && tt_vec_push(list, info) ? &list->ptr[list->len - 1] : NULL;
}

static tt_rc read_queues(tt_db *db, tt_arena *arena, queue_list *list, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query_args(db, TT_SQL_TASK_QUEUES, &st, NULL, 0, err));
    for (bool row = true;;) {
        tt_str name;
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            return TT_OK;
        TT_TRY(tt_db_bytes(db, st, 0, &name, err));
        int64_t what = sqlite3_column_int64(st, 1), number = sqlite3_column_int64(st, 2);
        tt_queue_info *q = queue_named(list, name, arena);
        if (!q)
            return tt_fail(err, TT_NOMEM, "out of memory for a list of queues");
        if (what >= 0) {
            q->counts.by_state[TT_TASK_QUEUED] = (uint64_t)what;
            q->counts.oldest_queued_ms = number; /* its id, for now */
        } else {
            static const tt_task_state others[] = {TT_TASK_STARTED, TT_TASK_SCHEDULED, TT_TASK_DEFERRED};
            q->counts.by_state[others[-what - 1]] = (uint64_t)number;
        }
    }
}

static tt_rc each_queue(tt_db *db, tt_arena *arena, queue_list *list, tt_err *err)
{
    TT_TRY(read_queues(db, arena, list, err));
    for (size_t i = 0; i < list->len; i++)
        TT_TRY(find_age(db, list->ptr[i].counts.oldest_queued_ms, &list->ptr[i].counts.oldest_queued_ms, err));
    return TT_OK;
}

tt_rc tt_sqlite_each(tt_ledger *ledger, tt_arena *arena, tt_queue_info **ret, size_t *ret_count, tt_err *err)
{
    queue_list list = {0};
    tt_rc rc = each_queue(tt_ledger_read_begin(ledger), arena, &list, err);
    tt_ledger_read_end(ledger);
    tt_queue_info *copy = tt_arena_alloc(arena, (list.len ? list.len : 1) * sizeof *copy);
    if (rc == TT_OK && !copy)
        rc = tt_fail(err, TT_NOMEM, "out of memory for a list of queues");
    if (rc == TT_OK && list.len)
        memcpy(copy, list.ptr, list.len * sizeof *copy);
    *ret = copy;
    *ret_count = list.len;
    tt_vec_deinit(&list);
    return rc;
}

/* ---- what a ledger of one machine has not ---- */

tt_rc tt_sqlite_suspend(tt_txn *txn, const tt_str *queues, size_t queue_count, tt_err *err) { return TT_OK; }

tt_rc tt_sqlite_workers(tt_ledger *ledger, tt_arena *arena, tt_queue_worker **ret, size_t *ret_count, tt_err *err)
{
    *ret = NULL;
    *ret_count = 0;
    return TT_OK;
}

static tt_rc no_logs(tt_err *err) { return tt_fail(err, TT_UNSUPPORTED, "the ledger of one machine keeps no logs: they are files"); }
tt_rc tt_sqlite_read_log(tt_ledger *ledger, uint64_t id, uint64_t from, size_t max, tt_buf *out, uint64_t *ret_size, tt_err *err) { return no_logs(err); }
tt_rc tt_sqlite_append_log(tt_ledger *ledger, uint64_t id, tt_str bytes, uint64_t most, tt_err *err) { return no_logs(err); }
