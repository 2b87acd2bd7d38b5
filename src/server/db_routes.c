/* The configuration database itself: its schema, migrations, demonstration rows. */
#include "pipeline/core_import.h"
#include "pipeline/demo.h"
#include "pipeline/migration.h"
#include "pipeline/revision.h"
#include "server/config_area.h"

static tt_config_area *area_of(const tt_req *req) { return tt_req_context(req); }
static const char *dir_of(const tt_req *req) { return tt_configs_migrations_dir(area_of(req)->configs); }

tt_str tt_config_actor(tt_req *req)
{
    tt_str peer = tt_req_peer(req), actor = tt_req_str(req, "actor");
    tt_session session;
    char *email = tt_signin_find(area_of(req)->signin, tt_req_token(req), (tt_str){0}, &session) ? tt_arena_dup(tt_req_arena(req), tt_str_of(session.email)) : NULL;
    ptrdiff_t colon = tt_str_find(peer, ':');
    if (email)
        return tt_str_of(email);
    if (actor.len)
        return tt_str_slice(actor, 0, 254);
    return colon > 0 && peer.ptr[0] != '[' ? tt_str_slice(peer, 0, (size_t)colon) : peer;
}

tt_rc tt_config_admit(tt_req *req, tt_config_db *db, tt_err *err)
{
    tt_session session;
    if (!tt_signin_find(area_of(req)->signin, tt_req_token(req), (tt_str){0}, &session))
        return TT_OK;
    return tt_signin_confirm(area_of(req)->signin, db, tt_req_token(req), err);
}

void tt_config_answer(tt_req *req, tt_rc rc, int status, json_t *answer, const tt_err *err)
{
    if (rc == TT_OK) {
        tt_req_answer_json(req, status, answer);
        return;
    }
    json_decref(answer);
    tt_req_error(req, rc, err);
}

/* ---- what there is ---- */

static json_t *describe(const tt_migration *m)
{
    json_t *o = json_pack("{s:s,s:s,s:b,s:b}", "revision", m->revision, "name", m->name, "site", m->version == 0, "applied", m->applied_at != NULL);
    json_object_set_new(o, "applied_at", m->applied_at ? json_string(m->applied_at) : json_null());
    json_object_set_new(o, "known", json_boolean(m->is_known));
    return o;
}

static json_t *describe_all(const tt_migrations *all)
{
    json_t *list = json_array();
    for (size_t i = 0; i < all->count; i++)
        json_array_append_new(list, describe(&all->items[i]));
    return list;
}

static json_t *current_of(const tt_migrations *all)
{
    const char *current = NULL;
    for (size_t i = 0; i < all->count; i++)
        current = all->items[i].applied_at ? all->items[i].revision : current;
    return current ? json_string(current) : json_null();
}

static tt_rc look(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    tt_migrations all;
    unsigned version;
    TT_TRY(tt_config_db_version(db, &version, err));
    TT_TRY(tt_migrations_list(db, dir_of(req), tt_req_arena(req), &all, err));
    *ret = json_pack("{s:i,s:s,s:s,s:i,s:i,s:b,s:o,s:o}", "schema", 1, "database", tt_config_db_url(db), "engine", tt_sql_engine_name(tt_config_db_sql(db)),
                     "version", (int)version, "program_version", TT_MODEL_VERSION, "read_only", tt_configs_is_read_only(area_of(req)->configs),
                     "current", current_of(&all), "migrations", describe_all(&all));
    return TT_OK;
}

/* ---- changes ---- */

static json_t *moved(const tt_config_db *db, const char *what, const tt_migrations *done)
{
    json_t *list = json_array();
    for (size_t i = 0; i < done->count; i++)
        json_array_append_new(list, json_string(done->items[i].revision));
    return json_pack("{s:i,s:s,s:o}", "schema", 1, "database", tt_config_db_url(db), what, list);
}

static tt_rc upgrade_to(tt_req *req, tt_config_db *db, tt_str to, json_t **ret, tt_err *err)
{
    tt_migrations done;
    TT_TRY(tt_migrations_up(db, dir_of(req), to, tt_config_actor(req), tt_req_arena(req), &done, err));
    *ret = moved(db, "applied", &done);
    return TT_OK;
}

static tt_rc upgrade(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err) { return upgrade_to(req, db, tt_req_str(req, "to"), ret, err); }

static tt_rc downgrade(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    tt_migrations done;
    TT_TRY(tt_migrations_down(db, dir_of(req), tt_req_str(req, "to"), tt_config_actor(req), tt_req_arena(req), &done, err));
    *ret = moved(db, "undone", &done);
    return TT_OK;
}

static tt_rc create(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    unsigned version;
    TT_TRY(tt_config_db_version(db, &version, err));
    if (version)
        return tt_fail(err, TT_EXISTS, "the configuration database has its tables already, at version %u: `tutti db upgrade` brings them to the newest", version);
    return upgrade_to(req, db, (tt_str){0}, ret, err);
}

static tt_rc demo(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    unsigned version;
    TT_TRY(tt_config_db_version(db, &version, err));
    if (version == 0)
        TT_TRY(upgrade_to(req, db, (tt_str){0}, ret, err));
    json_decref(*ret);
    *ret = NULL;
    TT_TRY(tt_config_db_ready(db, err));
    TT_TRY(tt_demo_fill(db, tt_config_actor(req), err));
    *ret = json_pack("{s:i,s:s,s:b}", "schema", 1, "database", tt_config_db_url(db), "filled", 1);
    return TT_OK;
}

/* ---- the model and what there is ---- */

static json_t *text_or_null(const char *text) { return text ? json_string(text) : json_null(); }

static tt_rc check(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    tt_drift drift;
    json_t *differences = json_array(), *beyond = json_array();
    *ret = json_pack("{s:i,s:s,s:o,s:o}", "schema", 1, "database", tt_config_db_url(db), "differences", differences, "beyond", beyond);
    TT_TRY(tt_drift_find(db, tt_req_arena(req), &drift, err));
    for (size_t i = 0; i < drift.count; i++)
        json_array_append_new(differences, json_pack("{s:s,s:s,s:o}", "table", drift.items[i].table, "text", drift.items[i].text, "mend", text_or_null(drift.items[i].up)));
    for (size_t i = 0; i < drift.beyond_count; i++)
        json_array_append_new(beyond, json_string(drift.beyond[i]));
    return TT_OK;
}

static tt_rc revision(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    tt_drift drift;
    bool generate = tt_req_bool(req, "autogenerate");
    const char *path;
    if (generate) {
        TT_TRY(tt_config_db_ready(db, err));
        TT_TRY(tt_drift_find(db, tt_req_arena(req), &drift, err));
        if (drift.count == 0)
            return tt_fail(err, TT_CONFLICT, "the database is as the model has it: there is nothing to write into a migration");
    }
    TT_TRY(tt_revision_write(dir_of(req), tt_config_db_engine(db), tt_req_str(req, "message"), generate ? &drift : NULL, tt_req_arena(req), &path, err));
    *ret = json_pack("{s:i,s:s,s:I}", "schema", 1, "path", path, "differences", (json_int_t)(generate ? drift.count : 0));
    return TT_OK;
}

/* ---- the older database ---- */

static tt_rc import(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err)
{
    tt_str from = tt_req_str(req, "from");
    const tt_declaration *declared = tt_declared_find(area_of(req)->declared, TT_DECLARED_SQL, from);
    const tt_core_count *counts;
    tt_sql_db *source = NULL;
    if (!declared)
        return tt_fail(err, TT_NOT_FOUND, "the configuration file declares no database `%.*s`: write a section [sql.%.*s] with its url", TT_STR_ARG(tt_str_slice(from, 0, 100)),
                       TT_STR_ARG(tt_str_slice(from, 0, 100)));
    TT_TRY(tt_declaration_connect(declared, &source, err));
    tt_rc rc = tt_core_import(db, source, tt_config_actor(req), tt_req_bool(req, "dry_run"), tt_req_arena(req), &counts, err);
    tt_sql_close(source);
    TT_TRY(rc);
    json_t *rows = json_object();
    for (; counts->table; counts++)
        json_object_set_new(rows, counts->table, json_integer((json_int_t)counts->rows));
    *ret = json_pack("{s:i,s:s,s:b,s:o}", "schema", 1, "database", tt_config_db_url(db), "dry_run", tt_req_bool(req, "dry_run"), "rows", rows);
    return TT_OK;
}

/* ---- on the pool ---- */

/* is_ready: its tables are those of this program; the default database's are made then. */
static void with_database(tt_req *req, bool is_ready, tt_rc (*fn)(tt_req *req, tt_config_db *db, json_t **ret, tt_err *err))
{
    tt_err err = {0};
    tt_config_db *db = NULL;
    json_t *answer = NULL;
    tt_rc rc = is_ready ? tt_configs_take(area_of(req)->configs, &db, &err) : tt_configs_take_any(area_of(req)->configs, &db, &err);
    if (rc == TT_OK)
        rc = fn(req, db, &answer, &err);
    tt_configs_give(area_of(req)->configs, db);
    tt_config_answer(req, rc, 200, answer, &err);
}

#define ON_POOL(fn, is_ready)                                             \
    static void fn##_on_pool(tt_req *req) { with_database(req, is_ready, fn); } \
    static void fn##_route(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, fn##_on_pool); }
ON_POOL(look, false)
ON_POOL(upgrade, false)
ON_POOL(downgrade, false)
ON_POOL(create, false)
ON_POOL(demo, false)
ON_POOL(check, true)
ON_POOL(revision, false)
ON_POOL(import, true)

/* ---- the table ---- */

#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}
#define ACTOR {"actor", TT_PARAM_STR, false, NULL, "Who changes it, for the audit; default: the peer"}
static const tt_param no_params[] = {TOKEN, {0}};
static const tt_param change_params[] = {ACTOR, TOKEN, {0}};
static const tt_param up_params[] = {{"to", TT_PARAM_STR, false, NULL, "The last revision to apply; all when not given"}, ACTOR, TOKEN, {0}};
static const tt_param down_params[] = {{"to", TT_PARAM_STR, false, NULL, "The revision to go back to, or `base`; one back when not given"}, ACTOR, TOKEN, {0}};

static const tt_param revision_params[] = {
    {"message", TT_PARAM_STR, true, NULL, "What it does: its words name the file"},
    {"autogenerate", TT_PARAM_BOOL, false, "false", "With the statements that bring the database to the model"},
    ACTOR, TOKEN, {0},
};
static const tt_param import_params[] = {
    {"from", TT_PARAM_STR, true, NULL, "The older database: a section [sql.NAME] of the configuration file"},
    {"dry_run", TT_PARAM_BOOL, false, "false", "Say what would be moved, and change nothing"},
    ACTOR, TOKEN, {0},
};

#define OURS(m, p, acc, params_, fn, text, example) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = m[0] == 'P' ? TT_BODY_IGNORED : TT_BODY_NONE, .params = params_, .handler = fn, .summary = text, \
     .response_example = example}

const tt_route tt_db_routes[] = {
    OURS("GET", "/v1/db", TT_ACCESS_ADMIN, no_params, look_route, "The configuration database, and its migrations.",
         "{\"schema\":1,\"database\":\"sqlite:///var/lib/tutti/config.db\",\"engine\":\"sqlite\",\"version\":1,\"program_version\":1,\"read_only\":false,\"current\":\"1\",\"migrations\":"
         "[{\"revision\":\"1\",\"name\":\"companies, brands\",\"site\":false,\"applied\":true,\"applied_at\":\"2026-01-31T12:00:00.000Z\",\"known\":true}]}"),
    OURS("POST", "/v1/db/create", TT_ACCESS_ADMIN, change_params, create_route, "Make its tables; refused when they are there.", "{\"schema\":1,\"database\":\"sqlite:///var/lib/tutti/config.db\",\"applied\":[\"1\"]}"),
    OURS("POST", "/v1/db/upgrade", TT_ACCESS_ADMIN, up_params, upgrade_route, "Apply migrations.", "{\"schema\":1,\"database\":\"sqlite:///var/lib/tutti/config.db\",\"applied\":[\"1\"]}"),
    OURS("POST", "/v1/db/downgrade", TT_ACCESS_ADMIN, down_params, downgrade_route, "Undo migrations, the last first; what they made is lost.", "{\"schema\":1,\"database\":\"sqlite:///var/lib/tutti/config.db\",\"undone\":[\"1\"]}"),
    OURS("POST", "/v1/db/demo", TT_ACCESS_ADMIN, change_params, demo_route, "Fill an empty database with demonstration rows.", "{\"schema\":1,\"database\":\"sqlite:///var/lib/tutti/config.db\",\"filled\":true}"),
    OURS("GET", "/v1/db/check", TT_ACCESS_ADMIN, no_params, check_route, "Compare the database with the model.",
         "{\"schema\":1,\"database\":\"sqlite:///var/lib/tutti/config.db\",\"differences\":[{\"table\":\"tags\",\"text\":\"the table is missing\",\"mend\":\"CREATE TABLE tags\"}],"
         "\"beyond\":[\"table regions\"]}"),
    OURS("POST", "/v1/db/revisions", TT_ACCESS_ADMIN, revision_params, revision_route, "Write a new migration of the site.",
         "{\"schema\":1,\"path\":\"/var/lib/tutti/migrations/0001_regions.sql\",\"differences\":0}"),
    OURS("POST", "/v1/db/import", TT_ACCESS_ADMIN, import_params, import_route, "Move the rows of a CORE database over, into an empty one.",
         "{\"schema\":1,\"database\":\"sqlite:///var/lib/tutti/config.db\",\"dry_run\":false,\"rows\":{\"companies\":3}}"),
    {0},
};
