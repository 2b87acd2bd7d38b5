#include "ledger/txn.h"

#include "base/clock.h"
#include "ledger/store.h"

/* A frame is a page of 4 KiB. */
enum { IDLE_FRAMES = 1000, FULL_FRAMES = 4000 };

static int count_frames(void *arg, sqlite3 *handle, const char *name, int frames)
{
    tt_txn *txn = arg;
    (void)handle;
    (void)name;
    if ((unsigned)frames < txn->wal_frames) /* SQLite began the WAL anew */
        txn->checkpointed_frames = 0;
    txn->wal_frames = (unsigned)frames;
    return SQLITE_OK;
}

/* ---- rows that change ---- */

static const char *const listened[TT_LISTEN_COUNT] = {[TT_LISTEN_TASKS] = "tasks", [TT_LISTEN_RUNS] = "runs"};

static void note_row(void *arg, int operation, const char *database, const char *table, sqlite3_int64 row)
{
    tt_txn *txn = arg;
    (void)operation;
    (void)database;
    for (size_t i = 0; i < TT_LISTEN_COUNT; i++) {
        __typeof__(&txn->listeners[i]) l = &txn->listeners[i];
        if (l->tell && strcmp(table, listened[i]) == 0 && !(l->changed.len && l->changed.ptr[l->changed.len - 1] == (uint64_t)row) &&
            !tt_vec_push(&l->changed, (uint64_t)row))
            l->changed_any = true;
    }
}

static void listen_to_rows(tt_txn *txn)
{
    bool wanted = false;
    for (size_t i = 0; i < TT_LISTEN_COUNT; i++)
        wanted |= txn->listeners[i].tell != NULL;
    if (txn->db.handle)
        sqlite3_update_hook(txn->db.handle, wanted ? note_row : NULL, txn);
}

void tt_txn_watch(tt_txn *txn, tt_listen what, tt_ledger_tasks_fn *fn, void *arg)
{
    txn->listeners[what].tell = fn;
    txn->listeners[what].arg = arg;
    listen_to_rows(txn);
}

static void forget_changed(tt_txn *txn)
{
    for (size_t i = 0; i < TT_LISTEN_COUNT; i++) {
        tt_vec_clear(&txn->listeners[i].changed);
        txn->listeners[i].changed_any = false;
    }
}

static void tell_changed(tt_txn *txn)
{
    for (size_t i = 0; i < TT_LISTEN_COUNT; i++) {
        __typeof__(&txn->listeners[i]) l = &txn->listeners[i];
        if (l->tell && (l->changed.len || l->changed_any))
            l->tell(l->arg, l->changed_any ? NULL : l->changed.ptr, l->changed.len);
    }
    forget_changed(txn);
}

/* ---- the connection ---- */

static tt_rc connect(tt_txn *txn, tt_err *err)
{
    TT_TRY(tt_db_open(&txn->db, txn->path, txn->relaxed ? TT_DB_WRITER_RELAXED : TT_DB_WRITER, err));
    sqlite3_wal_hook(txn->db.handle, count_frames, txn);
    listen_to_rows(txn);
    return TT_OK;
}

tt_rc tt_txn_open(tt_txn *txn, tt_ledger *ledger, const char *path, bool relaxed, tt_err *err)
{
    *txn = (tt_txn){.ledger = ledger, .store = &tt_store_sqlite, .path = path, .relaxed = relaxed, .idle_frames = IDLE_FRAMES, .full_frames = FULL_FRAMES};
    tt_txn_start_group(txn);
    return connect(txn, err);
}

void tt_txn_close(tt_txn *txn)
{
    tt_db_close(&txn->db);
    for (size_t i = 0; i < TT_LISTEN_COUNT; i++)
        tt_vec_deinit(&txn->listeners[i].changed);
}

void tt_txn_start_group(tt_txn *txn)
{
    txn->lost = TT_OK;
    txn->participants = NULL;
    txn->last_participant = &txn->participants;
}

/* A connection that cannot even roll back is given up; the next need opens a new one. */
static void roll_back(tt_txn *txn)
{
    txn->open = txn->marked = txn->must_commit = false;
    forget_changed(txn);
    if (!txn->db.handle || sqlite3_get_autocommit(txn->db.handle))
        return;
    if (tt_db_run_plain(&txn->db, TT_SQL_ROLLBACK, NULL) != TT_OK && !sqlite3_get_autocommit(txn->db.handle))
        tt_db_close(&txn->db);
}

void tt_txn_lose(tt_txn *txn, tt_rc rc, const tt_err *err)
{
    roll_back(txn);
    txn->lost = rc;
    txn->why = *err;
}

static tt_rc count(tt_db *db, tt_str key, uint64_t *ret, tt_err *err)
{
    TT_STMT_AUTO sqlite3_stmt *st = NULL;
    bool row = false;
    TT_TRY(tt_db_query(db, TT_SQL_META_STEP, &st, err, TT_A_TEXT(key)));
    TT_TRY(tt_db_step(db, st, &row, err));
    tt_assert(row);
    *ret = (uint64_t)sqlite3_column_int64(st, 0);
    return TT_OK;
}

static tt_rc write_over(tt_db *db, tt_err *err)
{
    uint64_t failures;
    TT_TRY(tt_db_run_plain(db, TT_SQL_BEGIN, err));
    TT_TRY(count(db, TT_STR("failed_commits"), &failures, err));
    return tt_db_run_plain(db, TT_SQL_COMMIT, err);
}

tt_rc tt_txn_settle(tt_txn *txn, tt_err *err)
{
    if (!txn->unsettled)
        return TT_OK;
    tt_rc rc = txn->db.handle ? TT_OK : connect(txn, err);
    if (rc == TT_OK)
        rc = write_over(&txn->db, err);
    if (rc != TT_OK)
        roll_back(txn);
    txn->unsettled = rc != TT_OK;
    return rc;
}

static tt_rc begin(tt_txn *txn, tt_err *err)
{
    TT_TRY(tt_txn_settle(txn, err));
    if (!txn->db.handle)
        TT_TRY(connect(txn, err));
    TT_TRY(tt_db_run_plain(&txn->db, TT_SQL_BEGIN, err));
    txn->open = true;
    txn->opened_ms = tt_mono_ms();
    return TT_OK;
}

tt_rc tt_txn_read(tt_txn *txn, tt_db **ret, tt_err *err)
{
    if (txn->lost == TT_OK && !txn->open) {
        tt_err why;
        tt_rc rc = begin(txn, &why);
        if (rc != TT_OK)
            tt_txn_lose(txn, rc, &why);
    }
    if (txn->lost != TT_OK) {
        if (err)
            *err = txn->why;
        return txn->lost;
    }
    *ret = &txn->db;
    return TT_OK;
}

tt_rc tt_txn_write(tt_txn *txn, tt_db **ret, tt_err *err)
{
    TT_TRY(tt_txn_read(txn, ret, err));
    if (!txn->marked)
        TT_TRY(tt_db_run_plain(&txn->db, TT_SQL_MARK, err));
    txn->marked = true;
    return TT_OK;
}

tt_rc tt_txn_end_unit(tt_txn *txn, tt_rc rc, const tt_err *unit_err, bool *ret_wrote)
{
    tt_err err;
    tt_rc end = TT_OK;
    *ret_wrote = false;
    if (txn->open && sqlite3_get_autocommit(txn->db.handle)) { /* SQLite undid everything: disk full, no memory */
        if (rc == TT_OK)
            end = tt_fail(&err, TT_IO, "%s: the transaction was undone: an earlier statement failed: try again", txn->path);
        tt_txn_lose(txn, rc == TT_OK ? end : rc, rc == TT_OK ? &err : unit_err);
        return txn->lost;
    }
    if (!txn->marked)
        return TT_OK;
    if (rc != TT_OK)
        end = tt_db_run_plain(&txn->db, TT_SQL_MARK_UNDO, &err);
    if (end == TT_OK)
        end = tt_db_run_plain(&txn->db, TT_SQL_MARK_KEEP, &err);
    txn->marked = false;
    if (end != TT_OK)
        tt_txn_lose(txn, end, &err);
    *ret_wrote = end == TT_OK && rc == TT_OK;
    return end;
}

tt_rc tt_txn_commit(tt_txn *txn)
{
    if (txn->lost != TT_OK || !txn->open)
        return txn->lost;
    tt_err err;
    tt_rc rc = tt_db_run_plain(&txn->db, TT_SQL_COMMIT, &err);
    txn->open = txn->must_commit = false;
    if (rc == TT_OK) {
        tell_changed(txn);
        return TT_OK;
    }
    tt_txn_lose(txn, rc, &err);
    txn->unsettled = true;
    (void)!tt_txn_settle(txn, NULL); /* else the next begin tries again */
    return rc;
}

tt_rc tt_txn_checkpoint(tt_txn *txn, tt_err *err)
{
    tt_assert(!txn->open);
    int frames = 0, done = 0;
    if (!txn->db.handle)
        return TT_OK;
    int code = sqlite3_wal_checkpoint_v2(txn->db.handle, NULL, SQLITE_CHECKPOINT_PASSIVE, &frames, &done);
    txn->checkpointed_frames = txn->wal_frames; /* also after a failure: tried again when more has come */
    return code == SQLITE_OK || code == SQLITE_BUSY ? TT_OK : tt_db_fail(&txn->db, "cannot checkpoint", err);
}

tt_rc tt_txn_count(tt_txn *txn, tt_str key, uint64_t *ret, tt_err *err)
{
    tt_db *db;
    TT_TRY(tt_txn_write(txn, &db, err));
    return count(db, key, ret, err);
}
