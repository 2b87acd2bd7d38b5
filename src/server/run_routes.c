#include "base/clock.h"
#include "pipeline/definition_file.h"
#include "server/config_area.h"
#include "server/run_area.h"
#include "work/phrase.h"

/* ---- shared ---- */

tt_rc tt_run_id_of(tt_req *req, uint64_t *ret, tt_err *err)
{
    tt_str text = tt_req_str(req, "id");
    if (tt_parse_u64(text, ret, NULL) == TT_OK && *ret > 0)
        return TT_OK;
    return tt_fail(err, TT_NOT_FOUND, "no run `%.*s`", TT_STR_ARG(tt_str_slice(text, 0, 100)));
}

void tt_run_answer_one(tt_req *req, uint64_t id, int status)
{
    tt_run r;
    tt_err err = {0};
    tt_rc rc = tt_run_get(tt_run_area_of(req)->ledger, id, tt_req_arena(req), &r, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    json_t *o = tt_run_describe(&r);
    json_object_set_new(o, "schema", json_integer(1));
    tt_req_answer_json(req, status, o);
}

/* o is taken either way. */
static void answer(tt_req *req, tt_rc rc, json_t *o, const tt_err *err)
{
    if (rc == TT_OK) {
        tt_req_answer_json(req, 200, o);
        return;
    }
    json_decref(o);
    tt_req_error(req, rc, err);
}

/* ---- start ---- */

/* {"yaml":"..."} or {"definition":{...}}. */
static tt_rc read_pipeline(const json_t *body, tt_pipeline **ret, tt_err *err)
{
    const json_t *yaml = json_object_get(body, "yaml"), *tree = json_object_get(body, "definition");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)body, name, value)
        if (strcmp(name, "yaml") != 0 && strcmp(name, "definition") != 0)
            return tt_fail(err, TT_INVALID, "`%.60s` is unknown here: yaml and definition are known", name);
    if (json_is_string(yaml) && !tree)
        return tt_pipeline_read((tt_str){json_string_value(yaml), json_string_length(yaml)}, ret, err);
    if (json_is_object(tree) && !yaml)
        return tt_pipeline_of(tree, ret, err);
    return tt_fail(err, TT_INVALID, "the body must hold the pipeline: {\"yaml\":\"pipeline: ...\"} or {\"definition\":{\"pipeline\":...}}");
}

static tt_rc start_run(tt_req *req, uint64_t *ret_id, tt_err *err)
{
    TT_PIPELINE_AUTO tt_pipeline *p = NULL;
    json_t *body = NULL;
    TT_TRY(tt_req_json(req, &body, err));
    TT_TRY(read_pipeline(body, &p, err));
    return tt_pipeline_run(&tt_run_area_of(req)->env, &(tt_run_wish){.pipeline = p, .cause = TT_STR("hand"), .actor = tt_config_actor(req)}, ret_id, err);
}

static tt_rc load_named(tt_req *req, tt_pipeline **ret, tt_err *err)
{
    TT_TRY(tt_event_load(tt_run_area_of(req)->events.configs, tt_req_str(req, "name"), ret, err));
    return tt_pipeline_check(*ret, err);
}

static tt_rc start_named(tt_req *req, uint64_t *ret_id, tt_err *err)
{
    TT_PIPELINE_AUTO tt_pipeline *p = NULL;
    TT_TRY(load_named(req, &p, err));
    return tt_pipeline_run(&tt_run_area_of(req)->env, &(tt_run_wish){.pipeline = p, .cause = TT_STR("hand"), .actor = tt_config_actor(req)}, ret_id, err);
}

static void answer_start(tt_req *req, tt_rc (*fn)(tt_req *req, uint64_t *ret_id, tt_err *err))
{
    uint64_t id;
    tt_err err = {0};
    tt_rc rc = fn(req, &id, &err);
    if (rc == TT_OK)
        tt_run_answer_one(req, id, 201);
    else
        tt_req_error(req, rc, &err);
}

static void start_on_pool(tt_req *req) { answer_start(req, start_run); }
static void start_named_on_pool(tt_req *req) { answer_start(req, start_named); }

/* ---- times ---- */

enum { MOST_BACKFILLED = 1000 };

static tt_rc read_instant(tt_req *req, const char *name, const tt_zone *zone, int64_t *ret_s, tt_err *err)
{
    tt_phrase p;
    TT_TRY(tt_phrase_date(tt_req_str(req, name), tt_wall_ms() / 1000, zone, &p, err));
    *ret_s = p.utc_s;
    return TT_OK;
}

/* A run for each time between, oldest first; times that have one already are passed over. */
static tt_rc start_times(tt_req *req, const tt_pipeline *p, const int64_t *times, size_t count, json_t *runs, int64_t *ret_present, tt_err *err)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t id;
        tt_err why = {0};
        tt_rc rc = tt_pipeline_run(&tt_run_area_of(req)->env, &(tt_run_wish){.pipeline = p, .cause = TT_STR("backfill"), .actor = tt_config_actor(req), .due_ms = times[i] * 1000}, &id, &why);
        if (rc == TT_OK)
            json_array_append_new(runs, json_integer((json_int_t)id));
        else if (rc == TT_EXISTS)
            ++*ret_present;
        else
            return tt_fail(err, rc, "%s", why.text);
    }
    return TT_OK;
}

static tt_rc backfill(tt_req *req, json_t **ret, tt_err *err)
{
    TT_PIPELINE_AUTO tt_pipeline *p = NULL;
    const tt_zone *zone;
    int64_t from_s, to_s, times[MOST_BACKFILLED], present = 0;
    size_t count;
    TT_TRY(load_named(req, &p, err));
    TT_TRY(tt_zone_find(p->schedule.zone.len ? p->schedule.zone : TT_STR("UTC"), &zone, err));
    TT_TRY(read_instant(req, "from", zone, &from_s, err));
    TT_TRY(read_instant(req, "to", zone, &to_s, err));
    TT_TRY(tt_timetable_times(&p->schedule, from_s, to_s, times, MOST_BACKFILLED, &count, err));
    json_t *runs = json_array();
    tt_rc rc = tt_req_bool(req, "dry_run") ? TT_OK : start_times(req, p, times, count, runs, &present, err);
    *ret = json_pack("{s:i,s:s%,s:I,s:I,s:o}", "schema", 1, "pipeline", p->name.ptr, p->name.len, "times", (json_int_t)count, "present", (json_int_t)present, "runs", runs);
    return rc;
}

static tt_rc show_schedule(tt_req *req, json_t **ret, tt_err *err)
{
    tt_str name = tt_req_str(req, "name");
    bool paused = false;
    tt_rc rc = tt_timetable_show(tt_run_area_of(req)->ledger, name, ret, err);
    if (rc == TT_NOT_FOUND)
        return tt_fail(err, TT_NOT_FOUND, "the pipeline `%.*s` has no schedule that the server has seen yet", TT_STR_ARG(tt_str_slice(name, 0, 128)));
    TT_TRY(rc);
    TT_TRY(tt_run_is_paused(tt_run_area_of(req)->ledger, name, &paused, err));
    json_object_set_new(*ret, "paused", json_boolean(paused));
    json_object_set_new(*ret, "schema", json_integer(1));
    return TT_OK;
}

/* ---- lists ---- */

enum { MOST_LISTED = 1000 };

static tt_rc most_of(tt_req *req, size_t *ret, tt_err *err)
{
    int64_t limit = tt_req_int(req, "limit");
    *ret = (size_t)limit;
    return limit >= 1 && limit <= MOST_LISTED ? TT_OK : tt_fail(err, TT_INVALID, "limit=%lld: it may be 1 to %d", (long long)limit, MOST_LISTED);
}

static tt_rc list_runs(tt_req *req, json_t **ret, tt_err *err)
{
    size_t most, count = 0;
    TT_TRY(most_of(req, &most, err));
    int64_t before = tt_req_int(req, "before");
    tt_run *runs = tt_arena_alloc(tt_req_arena(req), most * sizeof *runs);
    if (!runs)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of runs");
    TT_TRY(tt_run_list(tt_run_area_of(req)->ledger, tt_req_str(req, "pipeline"), before > 0 ? (uint64_t)before : 0, most, tt_req_arena(req), runs, &count, err));
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, tt_run_describe(&runs[i]));
    *ret = json_pack("{s:i,s:o,s:o}", "schema", 1, "runs", list, "next", count == most ? json_integer((json_int_t)runs[count - 1].id) : json_null());
    return TT_OK;
}

static tt_rc list_tasks(tt_req *req, json_t **ret, tt_err *err)
{
    uint64_t id;
    size_t most, count = 0;
    tt_run r;
    int64_t from = tt_req_int(req, "from");
    TT_TRY(tt_run_id_of(req, &id, err));
    TT_TRY(most_of(req, &most, err));
    TT_TRY(tt_run_get(tt_run_area_of(req)->ledger, id, tt_req_arena(req), &r, err));
    tt_run_task *tasks = tt_arena_alloc(tt_req_arena(req), most * sizeof *tasks);
    if (!tasks)
        return tt_fail(err, TT_NOMEM, "out of memory for a list of tasks");
    TT_TRY(tt_run_tasks(tt_run_area_of(req)->ledger, id, from > 0 && from < TT_RUN_MOST_TASKS ? (uint32_t)from : from > 0 ? TT_RUN_MOST_TASKS : 0, most, tt_req_arena(req), tasks, &count, err));
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, tt_run_describe_task(&r, &tasks[i]));
    *ret = json_pack("{s:i,s:I,s:o,s:o}", "schema", 1, "run", (json_int_t)id, "tasks", list,
                     "next", count == most ? json_integer((json_int_t)tasks[count - 1].number + 1) : json_null());
    return TT_OK;
}

static tt_rc list_groups(tt_req *req, json_t **ret, tt_err *err)
{
    uint64_t id;
    tt_run r;
    tt_run_group *groups;
    size_t count;
    TT_TRY(tt_run_id_of(req, &id, err));
    TT_TRY(tt_run_get(tt_run_area_of(req)->ledger, id, tt_req_arena(req), &r, err));
    TT_TRY(tt_run_groups(tt_run_area_of(req)->ledger, id, tt_req_arena(req), &groups, &count, err));
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, tt_run_describe_group(&groups[i]));
    *ret = json_pack("{s:i,s:I,s:o}", "schema", 1, "run", (json_int_t)id, "groups", list);
    return TT_OK;
}

static tt_rc show_definition(tt_req *req, json_t **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    uint64_t id;
    TT_TRY(tt_run_id_of(req, &id, err));
    TT_TRY(tt_run_definition(tt_run_area_of(req)->ledger, id, &text, err));
    json_t *tree = json_loadb(text.ptr, text.len, 0, NULL);
    if (!tree)
        return tt_fail(err, TT_CORRUPT, "the definition of run %llu is damaged", (unsigned long long)id);
    *ret = json_pack("{s:i,s:I,s:o}", "schema", 1, "run", (json_int_t)id, "definition", tree);
    return TT_OK;
}

/* ---- changes ---- */

/* By the DAG's id, or by number. */
static tt_rc task_of(tt_req *req, uint64_t run, tt_str text, uint32_t *ret, tt_err *err)
{
    uint64_t number;
    if (tt_parse_u64(text, &number, NULL) == TT_OK && number < TT_RUN_MOST_TASKS) {
        *ret = (uint32_t)number;
        return TT_OK;
    }
    return tt_run_task_find(tt_run_area_of(req)->ledger, run, text, ret, err);
}

static tt_rc done(uint64_t id, const char *what, json_t **ret)
{
    *ret = json_pack("{s:i,s:I,s:b}", "schema", 1, "run", (json_int_t)id, what, 1);
    return TT_OK;
}

static tt_rc cancel(tt_req *req, json_t **ret, tt_err *err)
{
    uint64_t id;
    TT_TRY(tt_run_id_of(req, &id, err));
    TT_TRY(tt_pipeline_run_cancel(&tt_run_area_of(req)->env, id, tt_req_str(req, "reason"), err));
    return done(id, "canceled", ret);
}

static tt_rc skip(tt_req *req, json_t **ret, tt_err *err)
{
    uint64_t id;
    uint32_t task;
    TT_TRY(tt_run_id_of(req, &id, err));
    TT_TRY(task_of(req, id, tt_req_str(req, "task"), &task, err));
    TT_TRY(tt_pipeline_run_skip(&tt_run_area_of(req)->env, id, task, tt_req_str(req, "reason"), err));
    return done(id, "skipped", ret);
}

static tt_rc retry(tt_req *req, json_t **ret, tt_err *err)
{
    uint64_t id;
    uint32_t task = 0;
    tt_str from = tt_req_str(req, "from"), only = tt_req_str(req, "only");
    tt_run_again_what what = from.len ? TT_RUN_AGAIN_FROM : only.len ? TT_RUN_AGAIN_ONLY : TT_RUN_AGAIN_FAILED;
    TT_TRY(tt_run_id_of(req, &id, err));
    if (from.len && only.len)
        return tt_fail(err, TT_INVALID, "from= and only= exclude each other");
    if (what != TT_RUN_AGAIN_FAILED)
        TT_TRY(task_of(req, id, from.len ? from : only, &task, err));
    TT_TRY(tt_pipeline_run_again(&tt_run_area_of(req)->env, id, what, task, err));
    return done(id, "again", ret);
}

static tt_rc forget(tt_req *req, json_t **ret, tt_err *err)
{
    uint64_t id;
    TT_TRY(tt_run_id_of(req, &id, err));
    TT_TRY(tt_pipeline_run_delete(&tt_run_area_of(req)->env, id, err));
    return done(id, "deleted", ret);
}

/* A name that nothing has would be a mistake that nobody sees: one of the configuration, or of runs of files, or one that is paused. */
static tt_rc check_known(tt_req *req, tt_str name, tt_err *err)
{
    TT_PIPELINE_AUTO tt_pipeline *p = NULL;
    tt_run latest;
    size_t count = 0;
    bool paused = false;
    TT_TRY(tt_run_list(tt_run_area_of(req)->ledger, name, 0, 1, tt_req_arena(req), &latest, &count, err));
    TT_TRY(tt_run_is_paused(tt_run_area_of(req)->ledger, name, &paused, err));
    return count || paused ? TT_OK : tt_event_load(tt_run_area_of(req)->events.configs, name, &p, err);
}

static tt_rc set_paused(tt_req *req, bool paused, json_t **ret, tt_err *err)
{
    tt_str name = tt_req_str(req, "name");
    TT_TRY(tt_pipeline_name_check("the pipeline's name", name, err));
    TT_TRY(check_known(req, name, err));
    TT_TRY(tt_pipeline_pause(&tt_run_area_of(req)->env, name, paused, err));
    *ret = json_pack("{s:i,s:s%,s:b}", "schema", 1, "pipeline", name.ptr, name.len, "paused", paused);
    return TT_OK;
}

static tt_rc pause_it(tt_req *req, json_t **ret, tt_err *err) { return set_paused(req, true, ret, err); }
static tt_rc resume(tt_req *req, json_t **ret, tt_err *err) { return set_paused(req, false, ret, err); }

/* ---- on the pool ---- */

#define ON_POOL(fn)                                             \
    static void fn##_on_pool(tt_req *req)                       \
    {                                                           \
        tt_err err = {0};                                       \
        json_t *o = NULL;                                       \
        tt_rc rc = fn(req, &o, &err);                           \
        answer(req, rc, o, &err);                               \
    }                                                           \
    static void fn##_route(tt_req *req) { tt_req_on_pool(req, tt_run_area_of(req)->pool, fn##_on_pool); }
ON_POOL(list_runs)
ON_POOL(list_tasks)
ON_POOL(list_groups)
ON_POOL(show_definition)
ON_POOL(cancel)
ON_POOL(skip)
ON_POOL(retry)
ON_POOL(forget)
ON_POOL(pause_it)
ON_POOL(resume)
ON_POOL(backfill)
ON_POOL(show_schedule)

static void start_route(tt_req *req) { tt_req_on_pool(req, tt_run_area_of(req)->pool, start_on_pool); }

static void start_named_route(tt_req *req) { tt_req_on_pool(req, tt_run_area_of(req)->pool, start_named_on_pool); }

/* ---- the table ---- */

#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}
#define ACTOR {"actor", TT_PARAM_STR, false, NULL, "Who asks; the peer when not given"}
#define RUN {"id", TT_PARAM_STR, true, NULL, "The run's number"}
#define REASON {"reason", TT_PARAM_STR, false, NULL, "Why; it is shown with it"}

static const tt_param start_params[] = {ACTOR, TOKEN, {0}};
static const tt_param list_params[] = {
    {"pipeline", TT_PARAM_STR, false, NULL, "Only runs of this pipeline"}, {"before", TT_PARAM_INT, false, "0", "Only runs with a smaller number"},
    {"limit", TT_PARAM_INT, false, "100", "At most so many, up to 1000"}, TOKEN, {0},
};
static const tt_param show_params[] = {
    RUN, {"wait", TT_PARAM_DURATION, false, "0", "Wait so long for a change, or its end"},
    {"version", TT_PARAM_INT, false, NULL, "The version that the caller knows: another one is told at once"}, TOKEN, {0},
};
static const tt_param tasks_params[] = {
    RUN, {"from", TT_PARAM_INT, false, "0", "From this number on"}, {"limit", TT_PARAM_INT, false, "1000", "At most so many, up to 1000"}, TOKEN, {0},
};
static const tt_param run_params[] = {RUN, TOKEN, {0}};
static const tt_param cancel_params[] = {RUN, REASON, TOKEN, {0}};
static const tt_param skip_params[] = {RUN, {"task", TT_PARAM_STR, true, NULL, "The task's id in the DAG, or its number"}, REASON, TOKEN, {0}};
static const tt_param retry_params[] = {
    RUN, {"from", TT_PARAM_STR, false, NULL, "Instead of what failed: this task's group and all behind it"},
    {"only", TT_PARAM_STR, false, NULL, "Instead of what failed: this task, and nothing behind it"}, TOKEN, {0},
};
static const tt_param start_named_params[] = {{"name", TT_PARAM_STR, true, NULL, "The pipeline"}, ACTOR, TOKEN, {0}};
static const tt_param backfill_params[] = {
    {"name", TT_PARAM_STR, true, NULL, "The pipeline"}, {"from", TT_PARAM_STR, true, NULL, "The first time, a date phrase"},
    {"to", TT_PARAM_STR, true, NULL, "Times before this one, a date phrase"}, {"dry_run", TT_PARAM_BOOL, false, "false", "Count the times, and start nothing"}, ACTOR, TOKEN, {0},
};
static const tt_param name_params[] = {{"name", TT_PARAM_STR, true, NULL, "The pipeline"}, TOKEN, {0}};

#define EXAMPLE "{\"schema\":1,\"id\":7,\"pipeline\":\"sales\",\"state\":\"running\",\"held\":false,\"cause\":\"hand\",\"groups\":2,\"at_group\":0,\"tasks\":3,\"by_state\":{\"queued\":2,\"waiting\":1},\"version\":3}"
#define OURS(m, p, acc, kind, params_, fn, text, ...) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, __VA_ARGS__}

const tt_route tt_run_routes[] = {
    OURS("POST", "/v1/runs", TT_ACCESS_OPERATOR, TT_BODY_JSON, start_params, start_route, "Start a run of a pipeline that is given: {\"yaml\":\"pipeline: ...\"} or {\"definition\":{...}}.",
         .response_example = EXAMPLE),
    OURS("GET", "/v1/runs", TT_ACCESS_READ, TT_BODY_NONE, list_params, list_runs_route, "Runs, newest first.", .response_example = "{\"schema\":1,\"runs\":[],\"next\":null}"),
    OURS("GET", "/v1/runs/{id}", TT_ACCESS_READ, TT_BODY_NONE, show_params, tt_run_show, "One run; with wait=, as soon as it has changed or ended.", .response_example = EXAMPLE),
    OURS("DELETE", "/v1/runs/{id}", TT_ACCESS_OPERATOR, TT_BODY_NONE, run_params, forget_route, "Forget an ended run."),
    OURS("GET", "/v1/runs/{id}/tasks", TT_ACCESS_READ, TT_BODY_NONE, tasks_params, list_tasks_route, "The tasks of a run, in the order of its DAG.",
         .response_example = "{\"schema\":1,\"run\":7,\"tasks\":[],\"next\":null}"),
    OURS("GET", "/v1/runs/{id}/groups", TT_ACCESS_READ, TT_BODY_NONE, run_params, list_groups_route, "The spacers of a run: when each group was released and ended."),
    OURS("GET", "/v1/runs/{id}/definition", TT_ACCESS_READ, TT_BODY_NONE, run_params, show_definition_route, "The definition that a run started with."),
    OURS("POST", "/v1/runs/{id}/cancel", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, cancel_params, cancel_route, "Cancel a run, and kill what runs for it."),
    OURS("POST", "/v1/runs/{id}/retry", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, retry_params, retry_route, "Run what failed and what did not run, or a part again."),
    OURS("POST", "/v1/runs/{id}/skip", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, skip_params, skip_route, "Go on as if a task had finished."),
    OURS("POST", "/v1/pipelines/{name}/runs", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, start_named_params, start_named_route, "Start a run of a pipeline of the configuration.",
         .response_example = EXAMPLE),
    OURS("POST", "/v1/pipelines/{name}/backfill", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, backfill_params, backfill_route,
         "Start a run for each time of its schedule between two, but for those that have one.", .response_example = "{\"schema\":1,\"pipeline\":\"sales\",\"times\":2,\"present\":0,\"runs\":[7,8]}"),
    OURS("GET", "/v1/pipelines/{name}/schedule", TT_ACCESS_READ, TT_BODY_NONE, name_params, show_schedule_route, "When it runs next, and what became of the last time."),
    OURS("POST", "/v1/pipelines/{name}/pause", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, name_params, pause_it_route, "Begin no run of it, and no further group of those that run."),
    OURS("POST", "/v1/pipelines/{name}/resume", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, name_params, resume_route, "Go on."),
    {0},
};
