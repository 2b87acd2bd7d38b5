#include "ledger/limits.h"

#include "base/clock.h"
#include "ledger/queue_inner.h"
#include "ledger/store.h"

enum { TICK_LIMITS = 500, MAX_KEY_BYTES = 255, US_PER_MS = 1000 };
static const int64_t MAX_RATE_MS = 366LL * 24 * 3600 * 1000;

typedef struct {
    int64_t concurrency, rate_count, rate_ms, next_us; /* next_us: when the bucket would be full of debts no longer */
} limit_row;

static tt_rc find_limit(tt_db *db, tt_str key, limit_row *ret, bool *ret_found, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_LIMIT_GET, &st, err, TT_A_TEXT(key)));
    TT_TRY(tt_db_step(db, st, ret_found, err));
    if (*ret_found)
        *ret = (limit_row){sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1), sqlite3_column_int64(st, 2), sqlite3_column_int64(st, 3)};
    return TT_OK;
}

static tt_rc count_of(tt_db *db, tt_sql which, tt_str key, int64_t *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, which, &st, err, TT_A_TEXT(key)));
    return tt_task_read_number(db, st, 0, ret, err);
}

/* Takes a token, or says when the next one comes. */
static bool take_token(limit_row *l, int64_t now_us, int64_t *ret_due_ms)
{
    if (l->rate_count == 0)
        return true;
    int64_t interval_us = l->rate_ms * US_PER_MS / l->rate_count, burst_us = l->rate_ms * US_PER_MS - interval_us;
    if (l->next_us > now_us + 2 * l->rate_ms * US_PER_MS) /* the clock was set back */
        l->next_us = now_us;
    if (l->next_us - burst_us > now_us) {
        *ret_due_ms = (l->next_us - burst_us + US_PER_MS - 1) / US_PER_MS;
        return false;
    }
    l->next_us = (l->next_us > now_us ? l->next_us : now_us) + (interval_us ? interval_us : 1);
    return true;
}

static tt_rc next_held(tt_db *db, tt_str key, int64_t *ret_id, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_LIMIT_NEXT, &st, err, TT_A_TEXT(key)));
    return tt_task_read_number(db, st, 0, ret_id, err);
}

static tt_rc admit(tt_db *db, tt_str key, limit_row *l, int64_t active, int64_t *ret_due_ms, tt_err *err)
{
    int64_t now_us = tt_wall_ms() * US_PER_MS, id;
    for (; l->concurrency == 0 || active < l->concurrency; active++) {
        TT_TRY(next_held(db, key, &id, err));
        if (id == 0 || !take_token(l, now_us, ret_due_ms))
            return TT_OK;
        TT_TRY(tt_db_run(db, TT_SQL_TASK_READY, err, TT_A_INT(id), TT_A_INT(TT_TASK_QUEUED), TT_A_INT(0)));
    }
    return TT_OK;
}

tt_rc tt_limit_admit(tt_db *db, const char *key_text, tt_err *err)
{
    tt_str key = tt_str_of(key_text);
    limit_row l = {0}, before;
    bool found = false;
    int64_t active = 0, due_ms = 0;
    if (key.len == 0)
        return TT_OK;
    TT_TRY(find_limit(db, key, &l, &found, err));
    before = l;
    if (l.concurrency)
        TT_TRY(count_of(db, TT_SQL_LIMIT_ACTIVE, key, &active, err));
    TT_TRY(admit(db, key, &l, active, &due_ms, err));
    if (!found || (l.next_us == before.next_us && !due_ms && !l.rate_count))
        return TT_OK;
    return tt_db_run(db, TT_SQL_LIMIT_TIME, err, TT_A_TEXT(key), TT_A_INT(l.next_us), TT_A_INT(due_ms));
}

static tt_rc next_due_key(tt_db *db, char key[MAX_KEY_BYTES + 1], bool *ret_found, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    tt_str text;
    TT_TRY(tt_db_query(db, TT_SQL_LIMIT_DUE, &st, err, TT_A_INT(tt_wall_ms()), TT_A_INT(1)));
    TT_TRY(tt_db_step(db, st, ret_found, err));
    if (!*ret_found)
        return TT_OK;
    TT_TRY(tt_db_bytes(db, st, 0, &text, err));
    snprintf(key, MAX_KEY_BYTES + 1, "%.*s", TT_STR_ARG(text));
    return TT_OK;
}

tt_rc tt_limits_tick(tt_db *db, int64_t *ret_next_ms, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    char key[MAX_KEY_BYTES + 1];
    bool found = true;
    for (int i = 0; i < TICK_LIMITS && found; i++) {
        TT_TRY(next_due_key(db, key, &found, err));
        if (found)
            TT_TRY(tt_limit_admit(db, key, err));
    }
    TT_TRY(tt_db_query_args(db, TT_SQL_LIMIT_NEXT_DUE, &st, NULL, 0, err));
    return tt_task_read_number(db, st, INT64_MAX, ret_next_ms, err);
}

/* ---- definitions ---- */

tt_rc tt_limit_check(const tt_limit *limit, tt_err *err)
{
    if (limit->key.len == 0 || limit->key.len > MAX_KEY_BYTES || memchr(limit->key.ptr, '\0', limit->key.len))
        return tt_fail(err, TT_INVALID, "a limit's key has %zu bytes: give it 1 to %d", limit->key.len, MAX_KEY_BYTES);
    if (limit->rate_count && (limit->rate_ms <= 0 || limit->rate_ms > MAX_RATE_MS))
        return tt_fail(err, TT_INVALID, "a limit's rate is %u per %lld ms: give it a time of up to a year", limit->rate_count, (long long)limit->rate_ms);
    if (!limit->rate_count && !limit->concurrency)
        return tt_fail(err, TT_INVALID, "limit `%.*s` limits nothing: give it a concurrency, a rate, or both", TT_STR_ARG(limit->key));
    return TT_OK;
}

tt_rc tt_sqlite_limit_put(tt_txn *txn, const tt_limit *limit, tt_err *err)
{
    tt_db *db;
    char key[MAX_KEY_BYTES + 1];
    TT_TRY(tt_limit_check(limit, err));
    snprintf(key, sizeof key, "%.*s", TT_STR_ARG(limit->key));
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(tt_db_run(db, TT_SQL_LIMIT_PUT, err, TT_A_TEXT(limit->key), TT_A_INT(limit->concurrency), TT_A_INT(limit->rate_count),
                     TT_A_INT(limit->rate_count ? limit->rate_ms : 0)));
    return tt_limit_admit(db, key, err);
}

tt_rc tt_sqlite_limit_delete(tt_txn *txn, tt_str key, tt_err *err)
{
    tt_db *db;
    limit_row l;
    bool found;
    char text[MAX_KEY_BYTES + 1];
    snprintf(text, sizeof text, "%.*s", TT_STR_ARG(key));
    TT_TRY(tt_txn_write(txn, &db, err));
    TT_TRY(find_limit(db, key, &l, &found, err));
    if (!found)
        return tt_fail(err, TT_NOT_FOUND, "there is no limit `%s`", text);
    TT_TRY(tt_db_run(db, TT_SQL_LIMIT_DROP, err, TT_A_TEXT(key)));
    return tt_limit_admit(db, text, err);
}

typedef TT_VEC(tt_limit_info) info_list;

static tt_rc read_limits(tt_db *db, tt_arena *arena, info_list *list, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query_args(db, TT_SQL_LIMIT_EACH, &st, NULL, 0, err));
    for (bool row = true;;) {
        tt_str key;
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            return TT_OK;
        TT_TRY(tt_db_bytes(db, st, 0, &key, err));
        char *copy = tt_arena_dup(arena, key);
        tt_limit_info info = {.limit = {.key = {copy, key.len}, .concurrency = (uint32_t)sqlite3_column_int64(st, 1),
                                        .rate_count = (uint32_t)sqlite3_column_int64(st, 2), .rate_ms = sqlite3_column_int64(st, 3)}};
        if (!copy || !tt_vec_push(list, info))
            return tt_fail(err, TT_NOMEM, "out of memory for a list of limits");
    }
}

static tt_rc list_limits(tt_db *db, tt_arena *arena, info_list *list, tt_err *err)
{
    TT_TRY(read_limits(db, arena, list, err));
    for (size_t i = 0; i < list->len; i++) {
        int64_t held, active;
        TT_TRY(count_of(db, TT_SQL_LIMIT_HELD, list->ptr[i].limit.key, &held, err));
        TT_TRY(count_of(db, TT_SQL_LIMIT_ACTIVE, list->ptr[i].limit.key, &active, err));
        list->ptr[i].held = (uint64_t)held;
        list->ptr[i].active = (uint64_t)active;
    }
    return TT_OK;
}

tt_rc tt_sqlite_limit_list(tt_ledger *ledger, tt_arena *arena, tt_limit_info **ret, size_t *ret_count, tt_err *err)
{
    info_list list = {0};
    tt_rc rc = list_limits(tt_ledger_read_begin(ledger), arena, &list, err);
    tt_ledger_read_end(ledger);
    tt_limit_info *copy = tt_arena_alloc(arena, (list.len ? list.len : 1) * sizeof *copy);
    if (rc == TT_OK && !copy)
        rc = tt_fail(err, TT_NOMEM, "out of memory for a list of limits");
    if (rc == TT_OK && list.len)
        memcpy(copy, list.ptr, list.len * sizeof *copy);
    *ret = copy;
    *ret_count = list.len;
    tt_vec_deinit(&list);
    return rc;
}
