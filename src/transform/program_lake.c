#include "transform/program_lake.h"

#include "lake/home.h"

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

const tt_program_lake tt_transform_lake = {.settle = settle};
