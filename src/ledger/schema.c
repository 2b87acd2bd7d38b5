#include "ledger/schema.h"

/* "tutt": marks the file as a ledger. */
enum { APPLICATION_ID = 0x74757474 };

/* Step i leads from version i to version i + 1. To change the schema: add a step at the end; a step that was once
 * released is never edited, because files made by it exist. */
static const char *const steps[] = {
    /* 1: counters, records, pages. A page's id is owner << 32 | number + 1 (the head comes first): as one integer key a
     * page is one row of one tree, and stays inside its leaf up to nearly 4 KiB. */
    "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE records(id INTEGER PRIMARY KEY, kind TEXT NOT NULL, name TEXT NOT NULL, version INTEGER NOT NULL,"
    " value BLOB NOT NULL, UNIQUE(kind, name));"
    "CREATE TABLE pages(id INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, bytes BLOB NOT NULL);",

    /* 2: the queue. Each state has a partial index that holds just what is looked for in it, so that claims do not slow
     * down with what has ended. A payload that is not small lies apart (payload is NULL then), because SQLite rewrites a
     * whole row, with all its overflow pages, at each change of state. */
    "CREATE TABLE tasks(id INTEGER PRIMARY KEY AUTOINCREMENT, state INTEGER NOT NULL, queue TEXT NOT NULL,"
    " priority INTEGER NOT NULL, kind TEXT NOT NULL, attempts INTEGER NOT NULL, max_attempts INTEGER NOT NULL,"
    " backoff_ms INTEGER NOT NULL, lease INTEGER NOT NULL, lease_until_ms INTEGER NOT NULL, run_at_ms INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, unique_key TEXT, worker TEXT,"
    " reason TEXT, payload BLOB, result BLOB);"
    "CREATE INDEX tasks_deferred ON tasks(queue) WHERE state = 0;"
    "CREATE INDEX tasks_scheduled ON tasks(run_at_ms, queue) WHERE state = 1;"
    "CREATE INDEX tasks_queued ON tasks(queue, priority DESC) WHERE state = 2;"
    "CREATE INDEX tasks_started ON tasks(lease_until_ms, queue) WHERE state = 3;"
    "CREATE INDEX tasks_ended ON tasks(state, ended_ms, queue) WHERE state >= 4;"
    "CREATE UNIQUE INDEX tasks_unique ON tasks(unique_key) WHERE unique_key IS NOT NULL AND state < 4;"
    "CREATE TABLE task_payloads(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);"
    "CREATE TABLE task_waits(needs INTEGER NOT NULL, task INTEGER NOT NULL, PRIMARY KEY(needs, task)) WITHOUT ROWID;"
    "CREATE INDEX task_waits_task ON task_waits(task);",

    /* 3: what tasks may take, what they are about, who may run beside whom, how long they are kept, and lists of them. `held`: deferred until
     * its limit lets it through. `alone`: its last worker died with several tasks in hand, so that the next one gets it alone. */
    "ALTER TABLE tasks ADD COLUMN program TEXT;"
    "ALTER TABLE tasks ADD COLUMN limit_key TEXT;"
    "ALTER TABLE tasks ADD COLUMN held INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN alone INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN timeout_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN memory_bytes INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN keep_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN expires_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE tasks ADD COLUMN progress BLOB;"
    "CREATE INDEX tasks_state ON tasks(state);"
    "CREATE INDEX tasks_program ON tasks(program) WHERE program IS NOT NULL;"
    "CREATE INDEX tasks_limited ON tasks(limit_key, state, held, priority DESC) WHERE limit_key IS NOT NULL AND state < 4;"
    "CREATE INDEX tasks_expiring ON tasks(expires_ms) WHERE expires_ms > 0;"
    "CREATE TABLE task_limits(key TEXT PRIMARY KEY, concurrency INTEGER NOT NULL, rate_count INTEGER NOT NULL,"
    " rate_ms INTEGER NOT NULL, next_us INTEGER NOT NULL, due_ms INTEGER NOT NULL) WITHOUT ROWID;",

    /* 4: runs of pipelines. Ids of groups, tasks and payloads are run << 20 | number, so that those of one run lie together and one integer key finds
     * each. What is large and never changes (definitions, payloads) lies apart from what changes. `open`: tasks of the present group that have not ended. */
    "CREATE TABLE runs(id INTEGER PRIMARY KEY, pipeline TEXT NOT NULL, state INTEGER NOT NULL, cause TEXT NOT NULL, actor TEXT, due_ms INTEGER NOT NULL,"
    " created_ms INTEGER NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, group_count INTEGER NOT NULL, at_group INTEGER NOT NULL,"
    " open INTEGER NOT NULL, bad INTEGER NOT NULL, task_count INTEGER NOT NULL, max_runs INTEGER NOT NULL, max_tasks INTEGER NOT NULL, held INTEGER NOT NULL,"
    " version INTEGER NOT NULL, reason TEXT);"
    "CREATE INDEX runs_active ON runs(pipeline, state) WHERE state < 2;"
    "CREATE INDEX runs_pipeline ON runs(pipeline);"
    "CREATE TABLE run_definitions(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);"
    "CREATE TABLE run_groups(id INTEGER PRIMARY KEY, first INTEGER NOT NULL, count INTEGER NOT NULL, name TEXT NOT NULL, opened_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL);"
    "CREATE TABLE run_tasks(id INTEGER PRIMARY KEY, grp INTEGER NOT NULL, state INTEGER NOT NULL, task INTEGER NOT NULL, attempts INTEGER NOT NULL,"
    " started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL, max_attempts INTEGER NOT NULL, backoff_ms INTEGER NOT NULL, timeout_ms INTEGER NOT NULL,"
    " memory_bytes INTEGER NOT NULL, priority INTEGER NOT NULL, name TEXT NOT NULL, program TEXT NOT NULL, queue TEXT NOT NULL, worker TEXT, reason TEXT, result BLOB);"
    "CREATE TABLE run_payloads(id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);"
    "CREATE TABLE run_paused(pipeline TEXT PRIMARY KEY, since_ms INTEGER NOT NULL) WITHOUT ROWID;"
    "ALTER TABLE tasks ADD COLUMN run_task INTEGER NOT NULL DEFAULT 0;"
    "CREATE INDEX tasks_run ON tasks(run_task) WHERE run_task > 0;",
};

int64_t tt_schema_newest(void) { return TT_COUNT(steps); }

static tt_rc check_is_ours(tt_db *db, int64_t version, tt_err *err)
{
    int64_t id = 0, tables = 0;
    TT_TRY(tt_db_number(db, "PRAGMA application_id", &id, err));
    TT_TRY(tt_db_number(db, "SELECT count(*) FROM sqlite_schema", &tables, err));
    if (id == APPLICATION_ID || (id == 0 && version == 0 && tables == 0))
        return TT_OK;
    return tt_fail(err, TT_INVALID, "%s: is a database of another program: give the ledger a file of its own", db->path);
}

tt_rc tt_schema_check(tt_db *db, int64_t version, tt_err *err)
{
    TT_TRY(check_is_ours(db, version, err));
    if (version > tt_schema_newest())
        return tt_fail(err, TT_UNSUPPORTED,
                       "%s: has schema version %lld, this program knows up to %lld: a newer tutti wrote it, use that one or "
                       "restore a backup", db->path, (long long)version, (long long)tt_schema_newest());
    return TT_OK;
}

static tt_rc run_step(tt_db *db, int64_t step, tt_err *err)
{
    char end[96];
    snprintf(end, sizeof end, "PRAGMA application_id=%d; PRAGMA user_version=%d; COMMIT", APPLICATION_ID, (int)step + 1);
    static const char what[] = "cannot bring it to the newest schema";
    tt_rc rc = tt_db_script(db, what, "BEGIN IMMEDIATE", err);
    if (rc == TT_OK)
        rc = tt_db_script(db, what, steps[step], err);
    if (rc == TT_OK)
        rc = tt_db_script(db, what, end, err);
    if (rc != TT_OK && !sqlite3_get_autocommit(db->handle))
        (void)!tt_db_script(db, what, "ROLLBACK", NULL);
    return rc;
}

tt_rc tt_schema_migrate_to(tt_db *db, int64_t version, tt_err *err)
{
    int64_t have = 0;
    TT_TRY(tt_db_number(db, "PRAGMA user_version", &have, err));
    TT_TRY(tt_schema_check(db, have, err));
    for (int64_t step = have; step < version; step++)
        TT_TRY(run_step(db, step, err));
    return TT_OK;
}

tt_rc tt_schema_migrate(tt_db *db, tt_err *err) { return tt_schema_migrate_to(db, tt_schema_newest(), err); }
