/* Workers as people see them: who works, and drains: a drained worker gets no task any more, and what it has it ends. */
#include "base/map.h"
#include "ledger/records.h"
#include "server/task_routes.h"

typedef struct {
    tt_map drained;      /* names; `*`: all */
    bool failed;
    json_t *list;
    size_t busy, resting; /* of those that are drained: that have something in hand, that have nothing */
} view;

/* ---- the list ---- */

static bool keep_name(void *arg, tt_str name, uint64_t version, tt_str value)
{
    view *v = arg;
    v->failed |= !tt_map_put(&v->drained, name, v, NULL);
    return true;
}

static bool is_drained(const view *v, tt_str name) { return tt_map_get(&v->drained, TT_STR("*")) || tt_map_get(&v->drained, name); }

static const char *drain_of(view *v, const tt_worker_info *w)
{
    if (!is_drained(v, w->name))
        return NULL;
    v->busy += w->in_hand > 0;
    v->resting += w->in_hand == 0;
    return w->in_hand ? "draining" : "drained";
}

/* null: it has not asked yet. */
static json_t *queues_of(const tt_worker_info *w)
{
    tt_str rest = w->queues, one;
    json_t *list = rest.len ? json_array() : json_null();
    while (rest.len && tt_str_cut(&rest, ',', &one))
        json_array_append_new(list, json_stringn(one.ptr, one.len));
    if (rest.len)
        json_array_append_new(list, json_stringn(rest.ptr, rest.len));
    return list;
}

static void add_worker(void *arg, const tt_worker_info *w)
{
    view *v = arg;
    json_t *o = json_pack("{s:s%,s:I,s:o,s:I,s:b,s:I,s:I}", "worker", w->name.ptr, w->name.len, "pid", (json_int_t)w->pid, "since", tt_task_time(w->since_ms),
                          "seen_ago_ms", (json_int_t)w->seen_ago_ms, "consuming", w->consuming, "done", (json_int_t)w->done, "failed", (json_int_t)w->failed);
    json_object_set_new(o, "claimed_ago_ms", w->claimed_ago_ms < 0 ? json_null() : json_integer(w->claimed_ago_ms));
    json_object_set_new(o, "in_hand", json_integer((json_int_t)w->in_hand));
    json_object_set_new(o, "task", w->task ? json_integer((json_int_t)w->task) : json_null());
    json_object_set_new(o, "kind", w->task ? json_stringn(w->kind.ptr, w->kind.len) : json_null());
    json_object_set_new(o, "queues", queues_of(w));
    const char *drain = drain_of(v, w);
    json_object_set_new(o, "drain", drain ? json_string(drain) : json_null());
    json_array_append_new(v->list, o);
}

static json_t *shown_drains(const view *v)
{
    json_t *names = json_array();
    tt_str name;
    void *value;
    for (size_t at = 0; tt_map_next(&v->drained, &at, &name, &value);)
        json_array_append_new(names, json_stringn(name.ptr, name.len));
    return names;
}

/* drained: somebody is, and nobody of them has anything in hand. */
static void answer_list(tt_req *req)
{
    tt_err err = {0};
    view v = {.list = json_array()};
    tt_rc rc = tt_record_each(tt_task_area_of(req)->ledger, TT_TASK_DRAIN_RECORD, keep_name, &v, &err);
    if (rc == TT_OK && v.failed)
        rc = tt_fail(&err, TT_NOMEM, "out of memory for a list of workers");
    if (rc == TT_OK)
        tt_tasks_each_worker(tt_task_tasks_of(req), add_worker, &v);
    json_t *o = json_pack("{s:i,s:o,s:o,s:b,s:I,s:I}", "schema", 1, "workers", v.list, "drains", shown_drains(&v), "drained", v.drained.len > 0 && v.busy == 0, "draining",
                          (json_int_t)v.busy, "resting", (json_int_t)v.resting);
    tt_map_deinit(&v.drained);
    if (rc == TT_OK) {
        tt_req_answer_json(req, 200, o);
        return;
    }
    json_decref(o);
    tt_req_error(req, rc, &err);
}

static void list_route(tt_req *req) { tt_task_on_pool(req, answer_list); }

/* ---- drains ---- */

typedef struct { tt_str name; bool found; } search;

static void compare(void *arg, const tt_worker_info *w) { ((search *)arg)->found |= tt_str_eq(w->name, ((search *)arg)->name); }

static bool is_attached(tt_req *req, tt_str name)
{
    search s = {.name = name};
    tt_tasks_each_worker(tt_task_tasks_of(req), compare, &s);
    return s.found;
}

/* worker `*`: all. */
static void change(tt_req *req, tt_str name, tt_rc (*fn)(tt_tasks *t, tt_str worker, tt_err *err), bool must_be_there)
{
    tt_err err = {0};
    tt_rc rc = TT_OK;
    if (must_be_there && !is_attached(req, name))
        rc = tt_fail(&err, TT_NOT_FOUND, "no worker `%.*s` is attached: GET /v1/workers lists them", TT_STR_ARG(tt_str_slice(name, 0, 128)));
    if (rc == TT_OK)
        rc = fn(tt_task_tasks_of(req), name, &err);
    if (rc == TT_OK)
        answer_list(req);
    else
        tt_req_error(req, rc, &err);
}

static void drain_one(tt_req *req) { change(req, tt_req_str(req, "name"), tt_tasks_drain_worker, true); }
static void drain_all(tt_req *req) { change(req, TT_STR("*"), tt_tasks_drain_worker, false); }
static void resume_one(tt_req *req) { change(req, tt_req_str(req, "name"), tt_tasks_resume_worker, false); }
static void resume_all(tt_req *req) { change(req, TT_STR("*"), tt_tasks_resume_worker, false); }
static void drain_one_route(tt_req *req) { tt_task_on_pool(req, drain_one); }
static void drain_all_route(tt_req *req) { tt_task_on_pool(req, drain_all); }
static void resume_one_route(tt_req *req) { tt_task_on_pool(req, resume_one); }
static void resume_all_route(tt_req *req) { tt_task_on_pool(req, resume_all); }

/* ---- the table ---- */

static const tt_param no_params[] = {TT_TASK_TOKEN, {0}};
static const tt_param name_params[] = {{"name", TT_PARAM_STR, true, NULL, "The worker"}, TT_TASK_TOKEN, {0}};

#define R TT_TASK_ROUTE
#define A_LIST(drain, names, drained, resting)                                                                                                                    \
    "{\"schema\":1,\"workers\":[{\"worker\":\"sanjer1\",\"pid\":4711,\"since\":\"2026-01-31T12:00:00.000Z\",\"seen_ago_ms\":12,\"consuming\":true,\"done\":3,\"failed\":0," \
    "\"claimed_ago_ms\":12,\"in_hand\":0,\"task\":null,\"kind\":null,\"queues\":[\"default\"],\"drain\":" drain "}],\"drains\":[" names "],\"drained\":" drained ",\"draining\":0,\"resting\":" resting "}"

const tt_route tt_worker_list_routes[] = {
    R("GET", "/v1/workers", TT_ACCESS_READ, TT_BODY_NONE, no_params, list_route, "Attached workers, whether they consume, and which are drained.", A_LIST("null", "", "false", "0")),
    R("POST", "/v1/workers/drain", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, no_params, drain_all_route, "No worker gets a task any more; what they have they end.",
      A_LIST("\"drained\"", "\"*\"", "true", "1")),
    R("POST", "/v1/workers/resume", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, no_params, resume_all_route, "All workers get tasks again.", A_LIST("null", "", "false", "0")),
    R("POST", "/v1/workers/{name}/drain", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, name_params, drain_one_route, "A worker gets no task any more; what it has it ends.",
      A_LIST("\"drained\"", "\"sanjer1\"", "true", "1")),
    R("POST", "/v1/workers/{name}/resume", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, name_params, resume_one_route, "A worker gets tasks again.", A_LIST("null", "", "false", "0")),
    {0},
};
