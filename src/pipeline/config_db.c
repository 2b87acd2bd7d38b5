#include "pipeline/config_db.h"

struct tt_config_db {
    tt_sql_db *sql;
    tt_engine engine;
    bool read_only;
    char *url;
};

static tt_rc plain(tt_config_db *db, const char *statement, tt_err *err) { return tt_sql_exec(db->sql, tt_str_of(statement), NULL, 0, NULL, err); }

/* ---- opening ---- */

static const char *const settings[TT_ENGINE_COUNT][4] = {
    [TT_ENGINE_SQLITE] = {"PRAGMA journal_mode=WAL", "PRAGMA foreign_keys=ON"},
    [TT_ENGINE_POSTGRES] = {"SET TimeZone='UTC'", "SET client_min_messages=warning"},
};
static const char *const read_only_settings[TT_ENGINE_COUNT] = {
    [TT_ENGINE_SQLITE] = "PRAGMA query_only=ON",
    [TT_ENGINE_POSTGRES] = "SET default_transaction_read_only=on",
};

static tt_rc set_up(tt_config_db *db, tt_err *err)
{
    const char *name = tt_sql_engine_name(db->sql);
    db->engine = strcmp(name, "sqlite") == 0 ? TT_ENGINE_SQLITE : TT_ENGINE_POSTGRES;
    if (strcmp(name, "mysql") == 0)
        return tt_fail(err, TT_UNSUPPORTED, "the configuration may be in SQLite or PostgreSQL, not in MySQL or MariaDB");
    for (const char *const *s = settings[db->engine]; *s; s++)
        TT_TRY(plain(db, *s, err));
    return db->read_only ? plain(db, read_only_settings[db->engine], err) : TT_OK;
}

tt_rc tt_config_db_open(const tt_config_spec *spec, tt_config_db **ret, tt_err *err)
{
    tt_sql_spec sql = {.name = TT_STR("configuration"), .url = spec->url, .user = spec->user, .password = spec->password};
    tt_config_db *db = TT_NEW(tt_config_db);
    db->read_only = spec->read_only;
    db->url = tt_str_dup(spec->url);
    tt_rc rc = tt_sql_open(&sql, &db->sql, err);
    if (rc == TT_OK)
        rc = set_up(db, err);
    if (rc == TT_OK)
        *ret = db;
    else
        tt_config_db_close(db);
    return rc;
}

void tt_config_db_close(tt_config_db *db)
{
    if (!db)
        return;
    tt_sql_close(db->sql);
    free(db->url);
    free(db);
}

tt_engine tt_config_db_engine(const tt_config_db *db) { return db->engine; }
tt_sql_db *tt_config_db_sql(tt_config_db *db) { return db->sql; }
bool tt_config_db_is_lost(const tt_config_db *db) { return tt_sql_is_lost(db->sql); }
const char *tt_config_db_url(const tt_config_db *db) { return db->url; }

/* ---- transactions ---- */

static tt_rc set_actor(tt_config_db *db, tt_str actor, tt_err *err)
{
    if (db->engine == TT_ENGINE_POSTGRES) {
        tt_sql_cell name = tt_sql_text(actor.ptr ? actor : TT_STR(""));
        return tt_config_db_exec(db, "SELECT set_config('tutti.actor', $1, true)", &name, 1, err);
    }
    unsigned version;
    TT_TRY(tt_config_db_version(db, &version, err));
    if (version == 0 || actor.len == 0)
        return TT_OK;
    tt_sql_cell name = tt_sql_text(actor);
    TT_TRY(plain(db, "DELETE FROM auditing_actor", err));
    return tt_config_db_exec(db, "INSERT INTO auditing_actor (name) VALUES ($1)", &name, 1, err);
}

/* Only one transaction at a time writes a SQLite file, so the row is nobody else's; it is gone before others can see it. */
static tt_rc forget_actor(tt_config_db *db, tt_err *err)
{
    unsigned version;
    if (db->engine == TT_ENGINE_POSTGRES)
        return TT_OK;
    TT_TRY(tt_config_db_version(db, &version, err));
    return version ? plain(db, "DELETE FROM auditing_actor", err) : TT_OK;
}

tt_rc tt_config_db_begin(tt_config_db *db, tt_str actor, tt_err *err)
{
    if (db->read_only)
        return tt_fail(err, TT_DENIED, "the configuration is read-only here: the setting config.read_only says so");
    TT_TRY(tt_sql_begin(db->sql, err));
    tt_rc rc = set_actor(db, actor, err);
    if (rc != TT_OK)
        tt_sql_rollback(db->sql);
    return rc;
}

tt_rc tt_config_db_commit(tt_config_db *db, tt_err *err)
{
    tt_rc rc = forget_actor(db, err);
    if (rc == TT_OK)
        return tt_sql_commit(db->sql, err);
    tt_sql_rollback(db->sql);
    return rc;
}

void tt_config_db_rollback(tt_config_db *db) { tt_sql_rollback(db->sql); }

tt_rc tt_config_db_begin_read(tt_config_db *db, bool *ret_opened, tt_err *err)
{
    *ret_opened = !tt_sql_in_transaction(db->sql);
    if (!*ret_opened)
        return TT_OK;
    return plain(db, db->engine == TT_ENGINE_SQLITE ? "BEGIN" : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", err);
}

void tt_config_db_end_read(tt_config_db *db, bool opened)
{
    if (opened && plain(db, "ROLLBACK", NULL) != TT_OK)
        tt_sql_interrupt(db->sql);
}

/* ---- shorthands ---- */

tt_rc tt_config_db_all(tt_config_db *db, tt_arena *arena, const char *statement, const tt_sql_cell *params, size_t count, tt_sql_rows *ret, tt_err *err)
{
    return tt_sql_all(db->sql, arena, tt_str_of(statement), params, count, ret, err);
}

tt_rc tt_config_db_exec(tt_config_db *db, const char *statement, const tt_sql_cell *params, size_t count, tt_err *err)
{
    return tt_sql_exec(db->sql, tt_str_of(statement), params, count, NULL, err);
}

static tt_rc take_id(void *arg, const tt_str *names, const tt_sql_cell *cells, size_t count, tt_err *err)
{
    return tt_parse_i64(cells[0].text, arg, err);
}

tt_rc tt_config_db_insert(tt_config_db *db, const char *statement, const tt_sql_cell *params, size_t count, int64_t *ret_id, tt_err *err)
{
    return tt_sql_query(db->sql, tt_str_of(statement), params, count, take_id, ret_id, err);
}

/* ---- the schema's version ---- */

static const char *const has_versions[TT_ENGINE_COUNT] = {
    [TT_ENGINE_SQLITE] = "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'tutti_migrations'",
    [TT_ENGINE_POSTGRES] = "SELECT count(to_regclass('tutti_migrations'))",
};

tt_rc tt_config_db_version(tt_config_db *db, unsigned *ret, tt_err *err)
{
    int64_t count = 0;
    TT_TRY(tt_config_db_insert(db, has_versions[db->engine], NULL, 0, &count, err));
    if (count)
        TT_TRY(tt_config_db_insert(db, "SELECT coalesce(max(version), 0) FROM tutti_migrations", NULL, 0, &count, err));
    *ret = (unsigned)count;
    return TT_OK;
}

tt_rc tt_config_db_ready(tt_config_db *db, tt_err *err)
{
    unsigned version = 0;
    TT_TRY(tt_config_db_version(db, &version, err));
    if (version == TT_MODEL_VERSION)
        return TT_OK;
    if (version == 0)
        return tt_fail(err, TT_NOT_FOUND, "the configuration database has no tables yet: make them with `tutti db create`");
    if (version < TT_MODEL_VERSION)
        return tt_fail(err, TT_CONFLICT, "the configuration database is at version %u, and this program works with version %d: run `tutti db upgrade`", version, TT_MODEL_VERSION);
    return tt_fail(err, TT_UNSUPPORTED, "the configuration database is at version %u, and this program knows only version %d: use the newer program, or bring it back with that one's `tutti db downgrade`",
                   version, TT_MODEL_VERSION);
}
