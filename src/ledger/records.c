#include "ledger/records.h"

#include "ledger/store.h"
#include "ledger/txn.h"

static tt_rc find(tt_db *db, tt_str kind, tt_str name, int64_t *ret_id, uint64_t *ret_version, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_RECORD_FIND, &st, err, TT_A_TEXT(kind), TT_A_TEXT(name)));
    TT_TRY(tt_db_step(db, st, &row, err));
    *ret_id = row ? sqlite3_column_int64(st, 0) : 0;
    *ret_version = row ? (uint64_t)sqlite3_column_int64(st, 1) : 0;
    return TT_OK;
}

static tt_rc check_version(tt_str kind, tt_str name, uint64_t expect, uint64_t have, tt_err *err)
{
    if (expect == TT_ANY_VERSION || expect == have)
        return TT_OK;
    if (expect == 0)
        return tt_fail(err, TT_EXISTS, "%.*s `%.*s` exists already", TT_STR_ARG(kind), TT_STR_ARG(name));
    return tt_fail(err, TT_CONFLICT, "%.*s `%.*s` has version %llu, not %llu: read it again", TT_STR_ARG(kind), TT_STR_ARG(name),
                   (unsigned long long)have, (unsigned long long)expect);
}

tt_rc tt_sqlite_record_put(tt_txn *txn, tt_str kind, tt_str name, uint64_t expect_version, tt_str value, uint64_t *ret_version, tt_err *err)
{
    tt_db *db;
    int64_t id = 0;
    uint64_t version = 0;
    TT_TRY(tt_txn_read(txn, &db, err));
    TT_TRY(tt_db_check_size(db, "a record", value.len, err));
    TT_TRY(find(db, kind, name, &id, &version, err));
    TT_TRY(check_version(kind, name, expect_version, version, err));
    TT_TRY(tt_txn_write(txn, &db, err));
    if (version == 0)
        TT_TRY(tt_db_run(db, TT_SQL_RECORD_ADD, err, TT_A_TEXT(kind), TT_A_TEXT(name), TT_A_BLOB(value)));
    else
        TT_TRY(tt_db_run(db, TT_SQL_RECORD_CHANGE, err, TT_A_INT(id), TT_A_BLOB(value)));
    if (ret_version)
        *ret_version = version + 1;
    return TT_OK;
}

tt_rc tt_sqlite_record_delete(tt_txn *txn, tt_str kind, tt_str name, tt_err *err)
{
    tt_db *db;
    TT_TRY(tt_txn_write(txn, &db, err));
    return tt_db_run(db, TT_SQL_RECORD_DROP, err, TT_A_TEXT(kind), TT_A_TEXT(name));
}

tt_rc tt_sqlite_record_delete_kind(tt_txn *txn, tt_str kind, tt_err *err)
{
    tt_db *db;
    TT_TRY(tt_txn_write(txn, &db, err));
    return tt_db_run(db, TT_SQL_RECORD_DROP_KIND, err, TT_A_TEXT(kind));
}

static tt_rc get(tt_db *db, tt_str kind, tt_str name, tt_buf *value, uint64_t *ret_version, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    tt_str bytes;
    TT_TRY(tt_db_query(db, TT_SQL_RECORD_GET, &st, err, TT_A_TEXT(kind), TT_A_TEXT(name)));
    TT_TRY(tt_db_step(db, st, &row, err));
    if (!row)
        return tt_fail(err, TT_NOT_FOUND, "there is no %.*s `%.*s`", TT_STR_ARG(kind), TT_STR_ARG(name));
    TT_TRY(tt_db_bytes(db, st, 1, &bytes, err));
    if (value) {
        tt_buf_str(value, bytes);
        TT_TRY(tt_buf_check(value, err));
    }
    if (ret_version)
        *ret_version = (uint64_t)sqlite3_column_int64(st, 0);
    return TT_OK;
}

tt_rc tt_sqlite_record_get(tt_ledger *ledger, tt_str kind, tt_str name, tt_buf *value, uint64_t *ret_version, tt_err *err)
{
    tt_db *db = tt_ledger_read_begin(ledger);
    tt_rc rc = get(db, kind, name, value, ret_version, err);
    tt_ledger_read_end(ledger);
    return rc;
}

static tt_rc walk(tt_db *db, sqlite3_stmt *st, tt_record_fn *fn, void *arg, tt_err *err)
{
    for (;;) {
        bool row = false;
        tt_str name, value;
        TT_TRY(tt_db_step(db, st, &row, err));
        if (!row)
            return TT_OK;
        TT_TRY(tt_db_bytes(db, st, 0, &name, err));
        TT_TRY(tt_db_bytes(db, st, 2, &value, err));
        if (!fn(arg, name, (uint64_t)sqlite3_column_int64(st, 1), value))
            return TT_OK;
    }
}

static tt_rc each_after(tt_db *db, tt_str kind, tt_str after, tt_record_fn *fn, void *arg, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    TT_TRY(tt_db_query(db, TT_SQL_RECORD_EACH_AFTER, &st, err, TT_A_TEXT(kind), TT_A_TEXT(after)));
    return walk(db, st, fn, arg, err);
}

tt_rc tt_sqlite_record_each_after(tt_ledger *ledger, tt_str kind, tt_str after, tt_record_fn *fn, void *arg, tt_err *err)
{
    tt_rc rc = each_after(tt_ledger_read_begin(ledger), kind, after, fn, arg, err);
    tt_ledger_read_end(ledger);
    return rc;
}
