#include "server/execution_routes.h"

#include "server/execution_calls.h"
#include "server/execution_older.h"

static tt_execution_area *area_of(const tt_req *req) { return tt_req_context(req); }

/* fn(req) runs on the pool, where it may wait for a program to describe itself. */
static void on_pool(tt_req *req, void (*fn)(void *req)) { tt_pool_run(area_of(req)->pool, fn, req); }

/* ---- programs ---- */

static json_t *settings_of(const tt_program *p) { return p->rc == TT_OK ? tt_settings_describe(&p->settings) : json_object(); }

static void add_platform(void *arg, const tt_program *p)
{
    json_t *o = json_pack("{s:s,s:o}", "display_name", p->display_name, "settings", settings_of(p));
    if (o && p->description)
        json_object_set_new(o, "description", json_string(p->description));
    if (o && p->rc != TT_OK)
        json_object_set_new(o, "error", json_string(p->error));
    json_object_set_new(arg, p->file.name, o);
}

static void get_platforms_now(void *arg)
{
    tt_req *req = arg;
    json_t *all = json_object();
    tt_catalog_each(area_of(req)->catalog, add_platform, all);
    tt_older_answer(req, all);
}

static void get_platforms(tt_req *req) { on_pool(req, get_platforms_now); }

static json_t *describe(const tt_program *p)
{
    json_t *o = json_pack("{s:s,s:s,s:s,s:s?,s:s,s:s,s:o,s:s?}", "name", p->file.name, "kind", p->file.kind->name, "display_name", p->display_name,
                          "description", p->description, "path", p->file.path, "hash", p->file.hash, "settings", settings_of(p), "error", p->rc == TT_OK ? NULL : p->error);
    json_object_set_new(o, "timeout_s", json_real((double)p->timeout_ms / 1000));
    json_object_set_new(o, "memory_bytes", json_integer((json_int_t)p->memory_bytes));
    return o;
}

static void add_program(void *arg, const tt_program *p) { json_array_append_new(arg, describe(p)); }

static void list_programs_now(void *arg)
{
    tt_req *req = arg;
    json_t *all = json_array();
    tt_catalog_each(area_of(req)->catalog, add_program, all);
    tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "programs", all));
}

static void list_programs(tt_req *req) { on_pool(req, list_programs_now); }

static void show_program_now(void *arg)
{
    tt_req *req = arg;
    tt_program *p;
    tt_err err = {0};
    tt_rc rc = tt_catalog_find(area_of(req)->catalog, tt_req_str(req, "name"), &p, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    json_t *o = describe(p);
    json_object_set_new(o, "schema", json_integer(1));
    tt_program_unref(p);
    tt_req_answer_json(req, 200, o);
}

static void show_program(tt_req *req) { on_pool(req, show_program_now); }

/* ---- executions ---- */

static void run_done(tt_execution_start *s, tt_rc rc, const tt_err *err)
{
    if (rc == TT_OK)
        tt_req_answer_json(s->req, 201, json_pack("{s:i,s:s,s:I,s:s,s:O}", "schema", 1, "id", s->id, "task", (json_int_t)s->task,
                                                  "program", s->program->file.name, "settings", s->settings));
    else
        tt_req_error(s->req, rc, err);
}

/* What the body of a start may hold. */
static const struct {
    const char *name, *what;
    json_type type;
} run_members[] = {
    {"program", "a text", JSON_STRING}, {"settings", "an object", JSON_OBJECT}, {"storage", "an object", JSON_OBJECT}, {"owner", "a text", JSON_STRING},
    {"queue", "a text", JSON_STRING},   {"priority", "a whole number", JSON_INTEGER}, {"max_attempts", "a whole number", JSON_INTEGER},
};

static tt_rc check_member(const char *name, const json_t *value, tt_err *err)
{
    for (size_t i = 0; i < TT_COUNT(run_members); i++)
        if (strcmp(name, run_members[i].name) == 0)
            return json_typeof(value) == run_members[i].type ? TT_OK : tt_fail(err, TT_INVALID, "`%s` must be %s", name, run_members[i].what);
    return tt_fail(err, TT_INVALID, "`%.60s` is unknown here: program, settings, storage, owner, queue, priority and max_attempts are known", name);
}

static tt_str text_of(const json_t *value) { return (tt_str){json_string_value(value), json_string_length(value)}; }

static tt_rc read_wish(tt_req *req, tt_execution_wish *ret, tt_err *err)
{
    json_t *body = NULL, *value;
    const char *name;
    TT_TRY(tt_req_json(req, &body, err));
    json_object_foreach(body, name, value)
        TT_TRY(check_member(name, value, err));
    *ret = (tt_execution_wish){
        .program = text_of(json_object_get(body, "program")), .settings = json_object_get(body, "settings"), .storage = json_object_get(body, "storage"),
        .owner = text_of(json_object_get(body, "owner")), .queue = text_of(json_object_get(body, "queue")),
        .priority = json_integer_value(json_object_get(body, "priority")),
    };
    int64_t attempts = json_object_get(body, "max_attempts") ? json_integer_value(json_object_get(body, "max_attempts")) : 1;
    if (!ret->program.len)
        return tt_fail(err, TT_INVALID, "the body names no program: send {\"program\":\"hello\",\"settings\":{}}");
    TT_TRY(tt_task_check_wish(ret->queue, ret->priority, attempts, err));
    ret->max_attempts = (uint32_t)attempts;
    return TT_OK;
}

static void run_now(void *arg)
{
    tt_execution_start *s = arg;
    tt_execution_wish wish;
    tt_err err = {0};
    tt_rc rc = read_wish(s->req, &wish, &err);
    if (rc == TT_OK)
        tt_execution_begin(s, &wish);
    else
        tt_req_error(s->req, rc, &err);
}

static void run(tt_req *req) { tt_execution_receive(req, run_now, run_done); }

/* ---- alive ---- */

static void is_alive(tt_req *req) { tt_req_answer_static(req, 200, "text/html; charset=UTF-8", TT_STR("Alive")); }

static void test_services_now(void *arg) { tt_older_answer(arg, tt_alive_test(&area_of(arg)->alive)); }

static void test_services(tt_req *req) { on_pool(req, test_services_now); }

/* ---- the table ---- */

#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}

static const tt_param no_params[] = {TOKEN, {0}};
enum { RUN_BYTES = 4 * 1024 * 1024 };

static const tt_param get_params[] = {
    {"job_id", TT_PARAM_STR, false, NULL, "The execution"},
    {"full", TT_PARAM_STR, false, NULL, "With any value, also an empty one: with the data sets `original` and `processed`"},
    TOKEN, {0},
};
static const tt_param show_params[] = {
    {"id", TT_PARAM_STR, true, NULL, "The execution's id, or its task's number"},
    {"wait", TT_PARAM_DURATION, false, "0", "Wait so long for its end, or a change"},
    TOKEN, {0},
};
static const tt_param list_params[] = {
    {"state", TT_PARAM_STR, false, NULL, "Only executions in this state"},
    {"queue", TT_PARAM_STR, false, NULL, "Only those of this queue"},
    {"program", TT_PARAM_STR, false, NULL, "Only those of this program"},
    {"before", TT_PARAM_STR, false, NULL, "Only those older than this one, an id or a number: `next` of the page before"},
    {"limit", TT_PARAM_INT, false, "100", "At most so many"},
    TOKEN, {0},
};
static const tt_param name_params[] = {{"name", TT_PARAM_STR, true, NULL, "Name of the program"}, TOKEN, {0}};

#define OLDER(m, p, acc, kind, params_, fn, text, ...) \
    {.method = m, .path = p, .dialect = TT_DIALECT_ETLAS, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, __VA_ARGS__}
#define OURS(m, p, acc, kind, params_, fn, text, ...) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, __VA_ARGS__}

const tt_route tt_execution_routes[] = {
    OLDER("GET", "/system/alive", TT_ACCESS_PUBLIC, TT_BODY_NONE, no_params, is_alive, "The older service's probe."),
    OLDER("POST", "/system/alive", TT_ACCESS_READ, TT_BODY_IGNORED, no_params, test_services, "Whether each connected service answers: ledger, workers, each Redis, each declared database.",
          .response_example = "{\"status\":\"Success\",\"message\":{\"Redis\":true,\"Ledger\":true,\"Workers\":false,\"reasons\":{\"Workers\":\"none is attached\"}}}"),
    OLDER("GET", "/platforms/get", TT_ACCESS_READ, TT_BODY_NONE, no_params, get_platforms, "All programs with their settings, types and defaults; a broken one has an `error`.",
          .response_example = "{\"status\":\"Success\",\"message\":{\"hello\":{\"display_name\":\"Hello\",\"settings\":{\"name\":{\"type\":\"str\",\"default\":null,\"required\":true}}}}}"),
    OLDER("POST", "/execution/run", TT_ACCESS_OPERATOR, TT_BODY_JSON, no_params, tt_execution_run_older, "Run a program: {\"platform_id\":\"hello\",\"settings\":{...},\"_id\":\"me\"}.",
          .body_limit_bytes = RUN_BYTES, .response_example = "{\"status\":\"Success\",\"message\":{\"job_id\":\"2017-10-15T00-06-53-123456--devTest--hello\"}}"),
    OLDER("GET", "/execution/get", TT_ACCESS_READ, TT_BODY_NONE, get_params, tt_execution_get_older, "One execution with its status, times and progress.",
          .response_example = "{\"status\":\"Success\",\"message\":{\"status\":\"queued\",\"meta\":{}}}"),
    OURS("POST", "/v1/executions", TT_ACCESS_OPERATOR, TT_BODY_JSON, no_params, run, "Run a program: {\"program\":\"hello\",\"settings\":{...}}; also storage, owner, queue, priority, max_attempts.",
         .body_limit_bytes = RUN_BYTES, .response_example = "{\"schema\":1,\"id\":\"2017-10-15T00-06-53-123456--manual--hello\",\"task\":7,\"program\":\"hello\",\"settings\":{\"name\":\"world\"}}"),
    OURS("GET", "/v1/executions", TT_ACCESS_READ, TT_BODY_NONE, list_params, tt_execution_list, "Executions, newest first; `next` of one page is `before` of the next.",
         .response_example = "{\"schema\":1,\"executions\":[{\"id\":\"2017-10-15T00-06-53-123456--manual--hello\",\"task\":7,\"program\":\"hello\",\"state\":\"finished\"}],\"next\":null}"),
    OURS("GET", "/v1/executions/{id}", TT_ACCESS_READ, TT_BODY_NONE, show_params, tt_execution_show, "One execution; with wait=, as soon as it has ended or changed, or the time is over.",
         .response_example = "{\"schema\":1,\"id\":\"2017-10-15T00-06-53-123456--manual--hello\",\"task\":7,\"program\":\"hello\",\"state\":\"finished\",\"result\":true}"),
    OURS("GET", "/v1/programs", TT_ACCESS_READ, TT_BODY_NONE, no_params, list_programs, "All programs.", .response_example = "{\"schema\":1,\"programs\":[]}"),
    OURS("GET", "/v1/programs/{name}", TT_ACCESS_READ, TT_BODY_NONE, name_params, show_program, "One program with its settings, limits and content hash."),
    {0},
};
