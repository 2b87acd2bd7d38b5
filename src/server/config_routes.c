/* What is in the configuration: pipelines as trees, the same that a file in YAML has (pipeline/definition_file.h). */
#include "base/log.h"
#include "pipeline/definition_file.h"
#include "pipeline/save.h"
#include "server/config_area.h"

static tt_config_area *area_of(const tt_req *req) { return tt_req_context(req); }
static tt_str name_of(const tt_req *req) { return tt_req_str(req, "name"); }

static json_t *text_or_null(tt_str text) { return text.len ? json_stringn(text.ptr, text.len) : json_null(); }

/* ---- list ---- */

static tt_rc add_summary(void *list, const tt_pipeline *p, tt_err *err)
{
    tt_err why = {0};
    json_t *o = json_pack("{s:I,s:s%,s:b,s:I}", "id", (json_int_t)p->id, "name", p->name.ptr, p->name.len, "active", p->is_active,
                          "transformations", (json_int_t)tt_pipeline_count(p));
    json_t *states = json_array();
    for (size_t i = 0; i < p->state_count; i++)
        json_array_append_new(states, text_or_null(p->states[i].name));
    json_object_set_new(o, "states", states);
    json_object_set_new(o, "company", text_or_null(p->company));
    json_object_set_new(o, "brand", text_or_null(p->brand));
    json_object_set_new(o, "type", text_or_null(p->type));
    json_object_set_new(o, "schedule", text_or_null(p->schedule.frequency));
    json_object_set_new(o, "problem", tt_pipeline_check(p, &why) == TT_OK ? json_null() : json_string(why.text));
    json_array_append_new(list, o);
    return TT_OK;
}

static tt_rc list(tt_req *req, tt_config_db *db, int *ret_status, json_t **ret, tt_err *err)
{
    json_t *all = json_array();
    *ret = json_pack("{s:i,s:o}", "schema", 1, "pipelines", all);
    return tt_pipeline_load_all(db, add_summary, all, err);
}

/* ---- one ---- */

static tt_rc show(tt_req *req, tt_config_db *db, int *ret_status, json_t **ret, tt_err *err)
{
    TT_PIPELINE_AUTO tt_pipeline *p = NULL;
    tt_err why = {0};
    TT_TRY(tt_pipeline_load(db, name_of(req), &p, err));
    *ret = json_pack("{s:i,s:o}", "schema", 1, "definition", tt_req_bool(req, "plain") ? tt_pipeline_plain_tree(p) : tt_pipeline_tree(p));
    json_object_set_new(*ret, "problem", tt_pipeline_check(p, &why) == TT_OK ? json_null() : json_string(why.text));
    return TT_OK;
}

/* ---- changes ---- */

static void audit(tt_req *req, const char *action, tt_str name, tt_rc rc)
{
    tt_log_info("audit", TT_F_CSTR("action", action), TT_F_STR("pipeline", tt_str_slice(name, 0, TT_PIPELINE_NAME_BYTES)), TT_F_STR("actor", tt_config_actor(req)),
                TT_F_STR("peer", tt_req_peer(req)), TT_F_STR("req", tt_req_id(req)), TT_F_CSTR("result", rc == TT_OK ? "ok" : tt_rc_name(rc)));
}

/* Programs describe themselves, which may take a while: before a transaction is open. */
static tt_rc check_programs(tt_req *req, const tt_pipeline *p, tt_err *err)
{
    for (size_t i = 0; i < p->state_count; i++)
        for (size_t k = 0; k < p->states[i].count; k++) {
            const tt_transformation *t = &p->states[i].transformations[k];
            tt_program *program = NULL;
            tt_rc rc = tt_catalog_find(area_of(req)->catalog, t->template_name, &program, NULL);
            tt_program_unref(program);
            if (rc == TT_NOT_FOUND)
                return tt_fail(err, TT_INVALID, "the transformation `%.*s` of the state `%.*s`: there is no program `%.*s` here (`programs=any`, or --any-program, saves it all the same)",
                               TT_STR_ARG(t->name), TT_STR_ARG(p->states[i].name), TT_STR_ARG(t->template_name));
        }
    return TT_OK;
}

static tt_rc read_body(tt_req *req, bool is_named, tt_pipeline **ret, tt_err *err)
{
    json_t *body = NULL;
    TT_TRY(tt_req_json(req, &body, err));
    TT_TRY(tt_pipeline_of(body, ret, err));
    if (is_named && !tt_str_eq((*ret)->name, name_of(req)))
        return tt_fail(err, TT_INVALID, "the definition is of the pipeline `%.*s`, and the address names `%.*s`: pipelines are not renamed", TT_STR_ARG((*ret)->name), TT_STR_ARG(name_of(req)));
    if (tt_str_is(tt_req_str(req, "programs"), "any"))
        return TT_OK;
    if (!tt_str_is(tt_req_str(req, "programs"), "here"))
        return tt_fail(err, TT_INVALID, "programs=%.*s: it may be here or any", TT_STR_ARG(tt_str_slice(tt_req_str(req, "programs"), 0, 100)));
    return check_programs(req, *ret, err);
}

static tt_rc save(tt_req *req, tt_config_db *db, bool must_be_new, int *ret_status, json_t **ret, tt_err *err)
{
    TT_PIPELINE_AUTO tt_pipeline *p = NULL;
    tt_pipeline_saved saved = {0};
    TT_TRY(read_body(req, !must_be_new, &p, err));
    tt_pipeline_save_options options = {.actor = tt_config_actor(req), .must_be_new = must_be_new, .dry_run = tt_req_bool(req, "dry_run")};
    tt_rc rc = tt_pipeline_save(db, p, &options, &saved, err);
    if (!options.dry_run)
        audit(req, "pipeline.save", p->name, rc);
    TT_TRY(rc);
    const char *outcome = saved.is_new ? "created" : json_equal(saved.was, saved.is) ? "unchanged" : "updated";
    *ret = json_pack("{s:i,s:s%,s:s,s:b,s:o,s:o}", "schema", 1, "name", p->name.ptr, p->name.len, "outcome", outcome, "dry_run", options.dry_run,
                     "was", saved.was ? saved.was : json_null(), "is", saved.is);
    *ret_status = saved.is_new && !options.dry_run ? 201 : 200;
    return TT_OK;
}

static tt_rc create(tt_req *req, tt_config_db *db, int *ret_status, json_t **ret, tt_err *err) { return save(req, db, true, ret_status, ret, err); }
static tt_rc put(tt_req *req, tt_config_db *db, int *ret_status, json_t **ret, tt_err *err) { return save(req, db, false, ret_status, ret, err); }

static tt_rc drop(tt_req *req, tt_config_db *db, int *ret_status, json_t **ret, tt_err *err)
{
    tt_rc rc = tt_pipeline_delete(db, name_of(req), tt_config_actor(req), err);
    audit(req, "pipeline.delete", name_of(req), rc);
    *ret = json_pack("{s:i,s:b}", "schema", 1, "deleted", 1);
    return rc;
}

/* ---- on the pool ---- */

static void with_database(tt_req *req, tt_rc (*fn)(tt_req *req, tt_config_db *db, int *ret_status, json_t **ret, tt_err *err))
{
    tt_err err = {0};
    tt_config_db *db = NULL;
    json_t *answer = NULL;
    int status = 200;
    tt_rc rc = tt_configs_take(area_of(req)->configs, &db, &err);
    if (rc == TT_OK)
        rc = tt_config_admit(req, db, &err);
    if (rc == TT_OK)
        rc = fn(req, db, &status, &answer, &err);
    tt_configs_give(area_of(req)->configs, db);
    tt_config_answer(req, rc, status, answer, &err);
}

#define ON_POOL(fn)                                                       \
    static void fn##_on_pool(tt_req *req) { with_database(req, fn); }     \
    static void fn##_route(tt_req *req) { tt_req_on_pool(req, area_of(req)->pool, fn##_on_pool); }
ON_POOL(list)
ON_POOL(show)
ON_POOL(create)
ON_POOL(put)
ON_POOL(drop)

/* ---- the table ---- */

#define NAME {"name", TT_PARAM_STR, true, NULL, "Name of the pipeline"}
#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}
#define ACTOR {"actor", TT_PARAM_STR, false, NULL, "Who changes it, for the audit; default: the peer"}
#define DRY_RUN {"dry_run", TT_PARAM_BOOL, false, "false", "Say what would be changed, and change nothing"}
#define PROGRAMS {"programs", TT_PARAM_STR, false, "here", "`here`: each transformation's program must be one of this server's; `any`: it may be elsewhere"}

static const tt_param no_params[] = {TOKEN, {0}};
static const tt_param show_params[] = {NAME, {"plain", TT_PARAM_BOOL, false, "false", "Without the numbers of rows, as in a file"}, TOKEN, {0}};
static const tt_param create_params[] = {DRY_RUN, PROGRAMS, ACTOR, TOKEN, {0}};
static const tt_param put_params[] = {NAME, DRY_RUN, PROGRAMS, ACTOR, TOKEN, {0}};
static const tt_param drop_params[] = {NAME, ACTOR, TOKEN, {0}};

#define TREE "{\"pipeline\":\"sales\",\"states\":[{\"state\":\"raw\",\"transformations\":[{\"template\":\"extract\",\"variables\":{\"folder\":\"in\"}}]}]}"
#define SAVED "{\"schema\":1,\"name\":\"sales\",\"outcome\":\"created\",\"dry_run\":false,\"was\":null,\"is\":" TREE "}"
#define OURS(m, p, acc, kind, params_, fn, text, example) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, .response_example = example}

const tt_route tt_config_routes[] = {
    OURS("GET", "/v1/pipelines", TT_ACCESS_READ, TT_BODY_NONE, no_params, list_route, "All pipelines.",
         "{\"schema\":1,\"pipelines\":[{\"id\":1,\"name\":\"sales\",\"active\":true,\"transformations\":1,\"states\":[\"raw\"],\"company\":null,\"brand\":null,\"type\":null,"
         "\"schedule\":\"daily\",\"problem\":null}]}"),
    OURS("GET", "/v1/pipelines/{name}", TT_ACCESS_READ, TT_BODY_NONE, show_params, show_route, "One pipeline; `problem` says why it could not run.",
         "{\"schema\":1,\"definition\":" TREE ",\"problem\":null}"),
    OURS("POST", "/v1/pipelines", TT_ACCESS_OPERATOR, TT_BODY_JSON, create_params, create_route, "Create a pipeline; refused when there is one of this name.", SAVED),
    OURS("PUT", "/v1/pipelines/{name}", TT_ACCESS_OPERATOR, TT_BODY_JSON, put_params, put_route, "Create a pipeline, or bring it to this definition.", SAVED),
    OURS("DELETE", "/v1/pipelines/{name}", TT_ACCESS_OPERATOR, TT_BODY_NONE, drop_params, drop_route, "Delete a pipeline that has no runs.", "{\"schema\":1,\"deleted\":true}"),
    {0},
};
