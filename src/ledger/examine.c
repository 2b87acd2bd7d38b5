#include "ledger/examine.h"

#include "base/clock.h"
#include "ledger/schema.h"
#include "ledger/vfs.h"

/* Not zero: SQLite stops. */
static int is_late(void *deadline_ms) { return tt_mono_ms() >= *(const int64_t *)deadline_ms; }

/* The check's rows are problems, or the one word ok. */
static tt_rc quick_check(tt_db *db, int64_t limit_ms, tt_examination *ret, tt_err *err)
{
    enum { STEPS_BETWEEN_LOOKS = 10000 };
    int64_t deadline_ms = tt_mono_ms() + limit_ms;
    sqlite3_stmt *st = NULL;
    sqlite3_progress_handler(db->handle, STEPS_BETWEEN_LOOKS, is_late, &deadline_ms);
    int code = sqlite3_prepare_v2(db->handle, "PRAGMA quick_check(1)", -1, &st, NULL);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    const char *text = code == SQLITE_ROW ? (const char *)sqlite3_column_text(st, 0) : NULL;
    ret->complete = text != NULL;
    if (text && strcmp(text, "ok") != 0)
        snprintf(ret->problem, sizeof ret->problem, "%s", text);
    tt_rc rc = text || (code & 0xff) == SQLITE_INTERRUPT ? TT_OK : tt_db_fail(db, "cannot check it", err);
    sqlite3_finalize(st);
    sqlite3_progress_handler(db->handle, 0, NULL, NULL);
    return rc;
}

static tt_rc examine(tt_db *db, int64_t limit_ms, tt_examination *ret, tt_err *err)
{
    TT_TRY(tt_db_number(db, "PRAGMA user_version", &ret->schema, err));
    TT_TRY(tt_schema_check(db, ret->schema, err));
    return quick_check(db, limit_ms, ret, err);
}

tt_rc tt_ledger_examine(const char *path, int64_t limit_ms, tt_examination *ret, tt_err *err)
{
    tt_db db = {0};
    *ret = (tt_examination){0};
    TT_TRY(tt_vfs_register(err));
    TT_TRY(tt_db_open(&db, path, TT_DB_READER, err));
    tt_rc rc = examine(&db, limit_ms, ret, err);
    tt_db_close(&db);
    return rc;
}
