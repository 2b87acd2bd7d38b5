#include "transform/program_lake.h"

#include <stdlib.h>

#include "data/frame_out.h"
#include "lake/fetch.h"
#include "lake/home.h"
#include "lake/publish.h"
#include "transform/ends.h"

static void put_text(json_t *o, const char *name, tt_str text) { json_object_set_new(o, name, json_stringn(text.ptr ? text.ptr : "", text.len)); }

static tt_str member(const json_t *o, const char *name)
{
    const json_t *value = json_object_get(o, name);
    return (tt_str){json_string_value(value), json_string_length(value)};
}

/* Where the pipeline's names can be parts of a path. Files of the raw state keep their names: its contract ends there. */
static tt_rc put_contract(json_t *task, const tt_contract_home *home, tt_arena *arena, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0}, path = {0};
    tt_contract c;
    tt_str company = member(task, "company"), brand = member(task, "brand"), state = member(task, "state"), name = member(task, "name");
    tt_buf_printf(&text, "%.*s/%.*s/%.*s", TT_STR_ARG(company), TT_STR_ARG(brand), TT_STR_ARG(state));
    if (!tt_str_is(state, "raw"))
        tt_buf_printf(&text, "/%.*s", TT_STR_ARG(name));
    TT_TRY(tt_buf_check(&text, err));
    if (tt_contract_parse(tt_buf_view(&text), home, arena, &c, NULL) != TT_OK)
        return TT_OK;
    tt_contract_put_path(&c, &path);
    TT_TRY(tt_buf_check(&path, err));
    put_text(task, "parent", c.parent);
    put_text(task, "child", c.child);
    put_text(task, "contract", tt_buf_view(&path));
    return TT_OK;
}

static tt_rc settle(json_t *task, tt_str environment, tt_str branch, tt_err *err)
{
    tt_arena arena = {0};
    tt_contract_home home;
    json_t *said = json_incref(json_object_get(task, "branch")); /* its text is replaced below */
    tt_str own = member(task, "branch");
    tt_rc rc = tt_contract_home_find(environment, own.len ? own : branch, &arena, &home, err);
    if (rc == TT_OK) {
        home.parent = home.child = (tt_str){0};
        put_text(task, "environment", home.env);
        put_text(task, "branch", home.branch);
        json_object_set(task, "dataset", json_object_get(task, "name"));
        rc = put_contract(task, &home, &arena, err);
    }
    json_decref(said);
    tt_arena_deinit(&arena);
    return rc;
}

/* ---- publishing ---- */

static tt_rc publish_rows(tt_store *store, const tt_contract *c, const char *path, const char *form, tt_err *err)
{
    TT_FRAME_AUTO tt_frame *frame = NULL;
    TT_PUBLICATION_AUTO tt_publication *p = NULL;
    const char *version = getenv("TUTTI_APP_VERSION");
    tt_publish_spec spec = {.contract = c, .app_version = tt_str_of(version && *version ? version : TT_VERSION)};
    tt_published done;
    TT_TRY(tt_lake_own_run(&spec.run_id, err));
    TT_TRY(tt_lake_own_time(&spec.run_time_us, err));
    TT_TRY(tt_frame_new(&frame, err));
    TT_TRY(tt_frame_add_file(frame, tt_str_of(path), &(tt_frame_intake){.form = tt_str_of(form)}, err));
    TT_TRY(tt_frame_settle(frame, NULL, 0, err));
    spec.field_count = tt_frame_fields(frame, &spec.fields);
    TT_TRY(tt_publication_open(store, &spec, &p, err));
    TT_TRY(tt_publication_put_all(p, frame, err));
    return tt_publication_commit(p, &done, err);
}

/* A file keeps its name where the contract gives it none. */
static tt_rc publish_raw(tt_store *store, const tt_contract *c, const char *path, tt_err *err)
{
    const char *slash = strrchr(path, '/');
    tt_contract one = *c;
    uint64_t bytes;
    if (!one.file.len)
        one.file = tt_str_of(slash ? slash + 1 : path);
    return tt_lake_publish_raw(store, &one, path, &bytes, err);
}

static tt_rc publish(const tutti_host *t, const char *contract, const char *path, const char *form, tt_err *err)
{
    tt_arena arena = {0};
    tt_store *store = NULL;
    tt_contract c;
    tt_rc rc = tt_ends_lake(t, contract, &arena, &store, &c, err);
    if (rc == TT_OK && c.form == TT_CONTRACT_RAW && form)
        rc = tt_fail(err, TT_INVALID, "the state raw has files and no rows: publish a file");
    else if (rc == TT_OK)
        rc = c.form == TT_CONTRACT_RAW ? publish_raw(store, &c, path, err) : publish_rows(store, &c, path, form, err);
    tt_store_close(store);
    tt_arena_deinit(&arena);
    return rc;
}

/* ---- fetching ---- */

static tt_rc put_rows(tt_frame *frame, tt_buf *out, tt_err *err)
{
    tt_rows *rows;
    tt_buf_char(out, '[');
    do {
        TT_TRY(tt_frame_next(frame, &rows, err));
        for (uint32_t r = 0; r < rows->count; r++) {
            if (out->len > 1)
                tt_buf_char(out, ',');
            tt_rows_json_line(rows, r, out);
            out->len -= out->failed ? 0 : 1; /* its line end */
        }
        TT_TRY(tt_buf_check(out, err));
    } while (rows->count);
    tt_buf_char(out, ']');
    return tt_buf_check(out, err);
}

static tt_rc fetch_rows(tt_store *store, const tt_contract *c, const char *where, const char *path, tt_buf *out, tt_err *err)
{
    TT_FETCH_AUTO tt_fetch *f = NULL;
    TT_TRY(tt_fetch_open(store, &(tt_fetch_spec){.contract = c, .where = tt_str_of(where)}, &f, err));
    return path ? tt_frame_out_all(tt_fetch_frame(f), path, err) : put_rows(tt_fetch_frame(f), out, err);
}

static tt_rc fetch_raw(tt_store *store, const tt_contract *c, const char *where, const char *path, tt_arena *arena, tt_err *err)
{
    TT_BUF_AUTO tt_buf from = {0};
    const char *local;
    if (!path || where[0] || !c->file.len)
        return tt_fail(err, TT_INVALID, "of the state raw a file is fetched, by its name, as it is, into a file");
    tt_contract_put_path(c, &from);
    TT_TRY(tt_buf_check(&from, err));
    TT_TRY(tt_store_local(store, tt_buf_view(&from), arena, &local, err));
    return tt_lake_copy_raw(local, path, err);
}

static tt_rc fetch(const tutti_host *t, const char *contract, const char *where, const char *path, tt_buf *out, tt_err *err)
{
    tt_arena arena = {0};
    tt_store *store = NULL;
    tt_contract c;
    tt_rc rc = tt_ends_lake(t, contract, &arena, &store, &c, err);
    if (rc == TT_OK)
        rc = c.form == TT_CONTRACT_RAW ? fetch_raw(store, &c, where, path, &arena, err) : fetch_rows(store, &c, where, path, out, err);
    tt_store_close(store);
    tt_arena_deinit(&arena);
    return rc;
}

const tt_program_lake tt_transform_lake = {.settle = settle, .publish = publish, .fetch = fetch};
