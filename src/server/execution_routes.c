#include "server/execution_routes.h"

static tt_execution_area *area_of(const tt_req *req) { return tt_req_context(req); }

/* fn(req) runs on the pool, where it may wait for a program to describe itself. */
static void on_pool(tt_req *req, void (*fn)(void *req)) { tt_pool_run(area_of(req)->pool, fn, req); }

/* ---- answers of the older service ---- */

/* Its JSON has blanks after `:` and `,`, and nothing but ASCII. message is taken over. */
static void answer_success(tt_req *req, json_t *message)
{
    json_t *root = json_pack("{s:s,s:o}", "status", "Success", "message", message);
    char *text = root ? json_dumps(root, JSON_ENSURE_ASCII) : NULL;
    tt_buf body = {0};
    tt_buf_cstr_put(&body, text ? text : "");
    body.failed |= !text;
    free(text);
    json_decref(root);
    if (tt_buf_check(&body, NULL) == TT_OK)
        tt_req_answer(req, 200, "application/json", &body);
    else
        tt_req_errorf(req, TT_NOMEM, "out of memory");
}

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
    answer_success(req, all);
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

/* ---- alive ---- */

static void is_alive(tt_req *req) { tt_req_answer_static(req, 200, "text/html; charset=UTF-8", TT_STR("Alive")); }

/* Each service that is connected, and whether it answers. */
static void test_services(tt_req *req)
{
    unsigned attached, consuming;
    tt_ledger_health health;
    const tt_execution_area *area = area_of(req);
    tt_ledger_get_health(area->ledger, &health);
    tt_tasks_count_workers(area->tasks, &attached, &consuming);
    answer_success(req, json_pack("{s:b,s:b}", "Ledger", health.last_failure[0] == '\0', "Workers", consuming > 0));
}

/* ---- the table ---- */

#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}

static const tt_param no_params[] = {TOKEN, {0}};
static const tt_param name_params[] = {{"name", TT_PARAM_STR, true, NULL, "Name of the program"}, TOKEN, {0}};

#define OLDER(m, p, acc, kind, params_, fn, text, ...) \
    {.method = m, .path = p, .dialect = TT_DIALECT_ETLAS, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, __VA_ARGS__}
#define OURS(m, p, acc, kind, params_, fn, text, ...) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, __VA_ARGS__}

const tt_route tt_execution_routes[] = {
    OLDER("GET", "/system/alive", TT_ACCESS_PUBLIC, TT_BODY_NONE, no_params, is_alive, "The older service's probe."),
    OLDER("POST", "/system/alive", TT_ACCESS_READ, TT_BODY_IGNORED, no_params, test_services, "Whether each connected service answers.",
          .response_example = "{\"status\":\"Success\",\"message\":{\"Ledger\":true,\"Workers\":true}}"),
    OLDER("GET", "/platforms/get", TT_ACCESS_READ, TT_BODY_NONE, no_params, get_platforms, "All programs with their settings, types and defaults; a broken one has an `error`.",
          .response_example = "{\"status\":\"Success\",\"message\":{\"hello\":{\"display_name\":\"Hello\",\"settings\":{\"name\":{\"type\":\"str\",\"default\":null,\"required\":true}}}}}"),
    OURS("GET", "/v1/programs", TT_ACCESS_READ, TT_BODY_NONE, no_params, list_programs, "All programs.", .response_example = "{\"schema\":1,\"programs\":[]}"),
    OURS("GET", "/v1/programs/{name}", TT_ACCESS_READ, TT_BODY_NONE, name_params, show_program, "One program with its settings, limits and content hash."),
    {0},
};
