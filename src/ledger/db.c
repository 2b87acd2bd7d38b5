#include "ledger/db.h"

#include "ledger/vfs.h"

static const struct {
    const char *what;
    const char *text;
} statements[] = {
#define TT_SQL(name, what, text) {what, text},
#include "ledger/sql.def"
#undef TT_SQL
};

/* SQLite's primary codes: our code, and what the user can do. The rest is TT_IO. */
static const struct {
    int code;
    tt_rc rc;
    const char *advice;
} error_rows[] = {
    {SQLITE_FULL, TT_NOSPACE, "free some space on its disk"},
    {SQLITE_NOMEM, TT_NOMEM, "give the process more memory"},
    {SQLITE_CORRUPT, TT_CORRUPT, "the file is damaged: stop the server and restore the file from a backup"},
    {SQLITE_NOTADB, TT_CORRUPT, "the file is damaged or no ledger: stop the server and restore the file from a backup"},
    {SQLITE_BUSY, TT_LOCKED, "another process uses the file: stop it"},
    {SQLITE_LOCKED, TT_LOCKED, "another process uses the file: stop it"},
    {SQLITE_PERM, TT_DENIED, "check the permissions of the file and its folder"},
    {SQLITE_READONLY, TT_DENIED, "check the permissions of the file and its folder"},
    {SQLITE_AUTH, TT_DENIED, "check the permissions of the file and its folder"},
    {SQLITE_CANTOPEN, TT_IO, "check the permissions of the file and its folder, and the limit on open files"},
    {SQLITE_TOOBIG, TT_TOO_LARGE, "store less in one value"},
    {SQLITE_CONSTRAINT, TT_CONFLICT, "this is a bug: please report it"},
    {SQLITE_ERROR, TT_FAILED, "this is a bug: please report it"},
    {SQLITE_MISUSE, TT_FAILED, "this is a bug: please report it"},
};

tt_rc tt_db_fail(tt_db *db, const char *what, tt_err *err)
{
    int extended = db->handle ? sqlite3_extended_errcode(db->handle) : SQLITE_NOMEM;
    int code = extended == SQLITE_IOERR_NOMEM ? SQLITE_NOMEM : extended & 0xff;
    const char *why = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(code);
    tt_rc rc = TT_IO;
    const char *advice = "check the disk";
    for (size_t i = 0; i < TT_COUNT(error_rows); i++)
        if (error_rows[i].code == code) {
            rc = error_rows[i].rc;
            advice = error_rows[i].advice;
        }
    int errnum = rc == TT_IO && db->handle ? sqlite3_system_errno(db->handle) : 0;
    char reason[96];
    if (errnum)
        return tt_fail(err, rc, "%s: %s: %s (%s): %s", db->path, what, why, strerror_r(errnum, reason, sizeof reason), advice);
    return tt_fail(err, rc, "%s: %s: %s: %s", db->path, what, why, advice);
}

tt_rc tt_db_script(tt_db *db, const char *what, const char *text, tt_err *err)
{
    return sqlite3_exec(db->handle, text, NULL, NULL, NULL) == SQLITE_OK ? TT_OK : tt_db_fail(db, what, err);
}

tt_rc tt_db_number(tt_db *db, const char *text, int64_t *ret, tt_err *err)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(db->handle, text, -1, &st, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        *ret = sqlite3_column_int64(st, 0);
    tt_rc rc = code == SQLITE_ROW ? TT_OK : tt_db_fail(db, "cannot read it", err);
    sqlite3_finalize(st);
    return rc;
}

/* What each connection is set to. The writer checkpoints by itself, at a time of its own choosing (ledger.c). The WAL is
 * reused in place rather than cut, because a sync that does not change a file's length is cheaper; the limit cuts it only
 * after one huge transaction. */
static const char *const mode_pragmas[] = {
    [TT_DB_WRITER] = "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                     "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-16384;",
    [TT_DB_WRITER_RELAXED] = "PRAGMA page_size=4096; PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                             "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864; PRAGMA cache_size=-16384;",
    [TT_DB_READER] = "PRAGMA cache_size=-2048; PRAGMA query_only=ON;",
};

static tt_rc open_handle(tt_db *db, tt_db_mode mode, tt_err *err)
{
    int flags = SQLITE_OPEN_NOMUTEX | (mode == TT_DB_READER ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE);
    if (sqlite3_open_v2(db->path, &db->handle, flags, TT_VFS_NAME) != SQLITE_OK)
        return tt_db_fail(db, "cannot open it", err);
    sqlite3_extended_result_codes(db->handle, 1);
    sqlite3_busy_timeout(db->handle, 1000); /* a recovery by the other connection of this process */
    static const char common[] = "PRAGMA mmap_size=0; PRAGMA temp_store=MEMORY; PRAGMA secure_delete=FAST;"
                                 "PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF;";
    TT_TRY(tt_db_script(db, "cannot open it", common, err));
    return tt_db_script(db, "cannot open it", mode_pragmas[mode], err);
}

tt_rc tt_db_open(tt_db *db, const char *path, tt_db_mode mode, tt_err *err)
{
    *db = (tt_db){.path = path};
    tt_rc rc = open_handle(db, mode, err);
    if (rc != TT_OK)
        tt_db_close(db);
    return rc;
}

void tt_db_close(tt_db *db)
{
    for (size_t i = 0; i < TT_SQL_COUNT; i++)
        sqlite3_finalize(db->stmts[i]);
    memset(db->stmts, 0, sizeof db->stmts);
    sqlite3_close_v2(db->handle);
    db->handle = NULL;
}

static int bind(sqlite3_stmt *st, int at, const tt_db_arg *arg)
{
    const char *ptr = arg->str.ptr ? arg->str.ptr : ""; /* a NULL pointer would store NULL */
    switch (arg->type) {
    case TT_ARG_INT: return sqlite3_bind_int64(st, at, arg->num);
    case TT_ARG_TEXT: return sqlite3_bind_text64(st, at, ptr, arg->str.len, SQLITE_STATIC, SQLITE_UTF8);
    case TT_ARG_BLOB: return sqlite3_bind_blob64(st, at, ptr, arg->str.len, SQLITE_STATIC);
    case TT_ARG_NULL: break;
    }
    return sqlite3_bind_null(st, at);
}

tt_rc tt_db_query_args(tt_db *db, tt_sql which, sqlite3_stmt **ret, const tt_db_arg *args, size_t count, tt_err *err)
{
    if (!db->stmts[which] && sqlite3_prepare_v3(db->handle, statements[which].text, -1, SQLITE_PREPARE_PERSISTENT,
                                                &db->stmts[which], NULL) != SQLITE_OK)
        return tt_db_fail(db, statements[which].what, err);
    sqlite3_stmt *st = db->stmts[which];
    tt_dassert(!sqlite3_stmt_busy(st));
    tt_dassert((size_t)sqlite3_bind_parameter_count(st) == count);
    for (size_t i = 0; i < count; i++)
        if (bind(st, (int)i + 1, &args[i]) != SQLITE_OK)
            return tt_db_fail(db, statements[which].what, err);
    *ret = st;
    return TT_OK;
}

tt_rc tt_db_step(tt_db *db, sqlite3_stmt *st, bool *ret_row, tt_err *err)
{
    int code = sqlite3_step(st);
    if (code != SQLITE_ROW && code != SQLITE_DONE) {
        size_t which = 0;
        while (which < TT_SQL_COUNT - 1 && db->stmts[which] != st)
            which++;
        return tt_db_fail(db, statements[which].what, err);
    }
    *ret_row = code == SQLITE_ROW;
    return TT_OK;
}

tt_rc tt_db_run_args(tt_db *db, tt_sql which, const tt_db_arg *args, size_t count, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row;
    TT_TRY(tt_db_query_args(db, which, &st, args, count, err));
    return tt_db_step(db, st, &row, err);
}

tt_rc tt_db_run_plain(tt_db *db, tt_sql which, tt_err *err) { return tt_db_run_args(db, which, NULL, 0, err); }

void tt_db_stmt_reset(sqlite3_stmt **st)
{
    if (*st)
        sqlite3_reset(*st);
}

tt_rc tt_db_bytes(tt_db *db, sqlite3_stmt *st, int column, tt_str *ret, tt_err *err)
{
    ret->ptr = sqlite3_column_blob(st, column);
    ret->len = (size_t)sqlite3_column_bytes(st, column);
    if (!ret->ptr && sqlite3_errcode(db->handle) == SQLITE_NOMEM)
        return tt_db_fail(db, "cannot read a value", err);
    return TT_OK;
}

tt_rc tt_db_check_size(tt_db *db, const char *what, size_t size_bytes, tt_err *err)
{
    if (size_bytes <= TT_DB_MAX_VALUE_BYTES)
        return TT_OK;
    return tt_fail(err, TT_TOO_LARGE, "%s: %s of %zu bytes: at most %d bytes are stored in one value", db->path, what, size_bytes,
                   TT_DB_MAX_VALUE_BYTES);
}
