#include "pipeline/event.h"

#include <sodium.h>

#include "ledger/records.h"
#include "ledger/runs.h"
#include "pipeline/load.h"

/* ---- this server's name ---- */

static const tt_str kind = {"runs", 4}, name = {"server", 6};

static tt_rc apply_name(void *arg, tt_txn *txn, tt_err *err) { return tt_record_put(txn, kind, name, 0, tt_str_of(((tt_events *)arg)->server), NULL, err); }

/* Made once and kept in the ledger. */
static tt_rc learn_name(tt_events *e, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    if (e->server[0])
        return TT_OK;
    tt_rc rc = tt_record_get(e->ledger, kind, name, &text, NULL, err);
    if (rc == TT_NOT_FOUND) {
        snprintf(e->server, sizeof e->server, "%08x%08x", randombytes_random(), randombytes_random());
        rc = tt_ledger_run(e->ledger, apply_name, e, err);
        if (rc == TT_EXISTS) {
            e->server[0] = '\0';
            return learn_name(e, err);
        }
    } else if (rc == TT_OK) {
        snprintf(e->server, sizeof e->server, "%.*s", TT_STR_ARG(tt_buf_view(&text)));
    }
    if (rc != TT_OK)
        e->server[0] = '\0';
    return rc;
}

/* ---- an event ---- */

typedef struct {
    tt_config_db *db;
    const tt_pipeline *p;
    tt_str actor;
    int64_t due_s;
    const tt_events *e;
} event;

static tt_rc insert(const event *v, const char *statement, uint64_t id, int64_t *ret_id, tt_err *err)
{
    tt_sql_digits digits[3];
    const tt_sql_cell null = tt_sql_text((tt_str){0});
    tt_sql_cell params[5] = {v->p->id ? tt_sql_int(v->p->id, &digits[0]) : null, v->due_s ? tt_sql_int(v->due_s, &digits[1]) : null, tt_sql_cstr(v->e->server),
                             v->actor.len ? tt_sql_text(v->actor) : null, tt_sql_int((int64_t)id, &digits[2])};
    return tt_config_db_insert(v->db, statement, params, id ? 5 : 4, ret_id, err);
}

/* The numbers below were given to runs by another configuration: go on behind them. */
static tt_rc move_on(const event *v, int64_t id, uint64_t at_least, int64_t *ret_id, tt_err *err)
{
    tt_sql_digits digits[1];
    tt_arena arena = {0};
    tt_sql_rows rows;
    tt_sql_cell old = tt_sql_int(id, &digits[0]);
    TT_TRY(tt_config_db_exec(v->db, "DELETE FROM run_events WHERE id = $1", &old, 1, err));
    TT_TRY(insert(v, "INSERT INTO run_events(pipeline_id, due_s, server, last_actor, id) VALUES($1, $2, $3, $4, $5) RETURNING id", at_least, ret_id, err));
    if (tt_config_db_engine(v->db) != TT_ENGINE_POSTGRES)
        return TT_OK;
    tt_sql_cell now = tt_sql_int((int64_t)at_least, &digits[0]);
    tt_rc rc = tt_config_db_all(v->db, &arena, "SELECT setval(pg_get_serial_sequence('run_events', 'id'), $1::bigint)", &now, 1, &rows, err);
    tt_arena_deinit(&arena);
    return rc;
}

/* Whether the event for this due time is ours, and has no run yet. */
static tt_rc find_own(const event *v, int64_t *ret_id, tt_err *err)
{
    tt_sql_digits digits[2];
    tt_sql_cell params[2] = {tt_sql_int(v->p->id, &digits[0]), tt_sql_int(v->due_s, &digits[1])};
    tt_arena arena = {0};
    tt_sql_rows rows;
    tt_run run;
    *ret_id = 0;
    tt_rc rc = tt_config_db_all(v->db, &arena, "SELECT id, server FROM run_events WHERE pipeline_id = $1 AND due_s = $2", params, 2, &rows, err);
    if (rc == TT_OK && rows.count) {
        const char *server = tt_sql_text_at(&rows, 0, 1);
        int64_t id = tt_sql_int_at(&rows, 0, 0);
        tt_rc known = tt_run_get(v->e->ledger, (uint64_t)id, &arena, &run, NULL);
        if (server && strcmp(server, v->e->server) == 0 && known == TT_NOT_FOUND)
            *ret_id = id;
        else
            rc = tt_fail(err, TT_EXISTS, "the pipeline `%.*s` has a run for this time already: %lld", TT_STR_ARG(v->p->name), (long long)id);
    }
    tt_arena_deinit(&arena);
    return rc;
}

static tt_rc write_row(const event *v, uint64_t at_least, int64_t *ret_id, tt_err *err)
{
    TT_TRY(tt_config_db_begin(v->db, v->actor, err));
    if (v->due_s && v->p->id)
        TT_TRY(find_own(v, ret_id, err));
    if (!*ret_id)
        TT_TRY(insert(v, "INSERT INTO run_events(pipeline_id, due_s, server, last_actor) VALUES($1, $2, $3, $4) RETURNING id", 0, ret_id, err));
    else if ((uint64_t)*ret_id < at_least) /* ours from before: its number is free */
        return tt_config_db_commit(v->db, err);
    if ((uint64_t)*ret_id < at_least)
        TT_TRY(move_on(v, *ret_id, at_least, ret_id, err));
    return tt_config_db_commit(v->db, err);
}

tt_rc tt_event_write(void *arg, const tt_pipeline *p, tt_str actor, int64_t due_ms, uint64_t at_least, uint64_t *ret_id, tt_err *err)
{
    tt_events *e = arg;
    event v = {.p = p, .actor = actor, .due_s = due_ms / 1000, .e = e};
    int64_t id = 0;
    TT_TRY(learn_name(e, err));
    TT_TRY(tt_configs_take(e->configs, &v.db, err));
    tt_rc rc = write_row(&v, at_least, &id, err);
    if (rc != TT_OK && rc != TT_EXISTS && v.due_s && !tt_config_db_is_lost(v.db)) { /* another server may have been a moment faster: then it is found now */
        tt_config_db_rollback(v.db);
        id = 0;
        rc = write_row(&v, at_least, &id, err);
    }
    tt_configs_give(e->configs, v.db);
    *ret_id = (uint64_t)id;
    return rc;
}

/* ---- for the timetable ---- */

static tt_str text_at(const tt_sql_rows *rows, size_t row, size_t column)
{
    const char *text = tt_sql_text_at(rows, row, column);
    return tt_str_of(text ? text : "");
}

static tt_rc read_list(tt_config_db *db, void (*fn)(void *fn_arg, const tt_timetable_row *row), void *fn_arg, tt_err *err)
{
    tt_arena arena = {0};
    tt_sql_rows rows;
    tt_rc rc = tt_config_db_all(db, &arena, "SELECT name, run_frequency, time_zone, missed FROM pipelines WHERE is_active AND run_frequency IS NOT NULL", NULL, 0, &rows, err);
    for (size_t i = 0; rc == TT_OK && i < rows.count; i++)
        fn(fn_arg, &(tt_timetable_row){text_at(&rows, i, 0), text_at(&rows, i, 1), text_at(&rows, i, 2), text_at(&rows, i, 3)});
    tt_arena_deinit(&arena);
    return rc;
}

tt_rc tt_event_list(void *arg, void (*fn)(void *fn_arg, const tt_timetable_row *row), void *fn_arg, tt_err *err)
{
    tt_config_db *db;
    TT_TRY(tt_configs_take(arg, &db, err));
    tt_rc rc = read_list(db, fn, fn_arg, err);
    tt_configs_give(arg, db);
    return rc;
}

tt_rc tt_event_load(void *arg, tt_str pipeline, tt_pipeline **ret, tt_err *err)
{
    tt_config_db *db;
    TT_TRY(tt_configs_take(arg, &db, err));
    tt_rc rc = tt_pipeline_load(db, pipeline, ret, err);
    tt_configs_give(arg, db);
    return rc;
}
