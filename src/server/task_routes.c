#include "server/task_routes.h"

#include <sodium.h>

#include "base/clock.h"

enum { MAX_QUEUES = 16, MIN_LEASE_MS = 1000, MAX_LEASE_MS = 24 * 3600 * 1000, MAX_WAIT_MS = 10 * 60 * 1000 };

static tt_task_area *area_of(const tt_req *req) { return tt_req_context(req); }
static tt_tasks *tasks_of(const tt_req *req) { return area_of(req)->tasks; }

/* Zeroed memory that lives as long as the request; NULL: answered. */
static void *make(tt_req *req, size_t size)
{
    void *p = tt_arena_alloc(tt_req_arena(req), size);
    if (!p)
        tt_req_errorf(req, TT_NOMEM, "no memory for this request");
    return p;
}

static bool in_range(tt_req *req, const char *name, int64_t min, int64_t max)
{
    int64_t value = tt_req_int(req, name);
    if (value >= min && value <= max)
        return true;
    tt_req_errorf(req, TT_INVALID, "%s=%lld ms is out of range: %lld to %lld ms", name, (long long)value, (long long)min, (long long)max);
    return false;
}

/* Bytes as text where they are text, else as base64 under NAME_base64. */
static void set_bytes(json_t *object, const char *name, tt_str bytes)
{
    bool is_text = tt_utf8_valid(bytes.ptr ? bytes.ptr : "", bytes.len) && (bytes.len == 0 || !memchr(bytes.ptr, '\0', bytes.len));
    if (is_text) {
        json_object_set_new(object, name, json_stringn(bytes.ptr ? bytes.ptr : "", bytes.len));
        return;
    }
    size_t size = sodium_base64_encoded_len(bytes.len, sodium_base64_VARIANT_ORIGINAL);
    char *text = tt_malloc(size), key[40];
    snprintf(key, sizeof key, "%s_base64", name);
    if (text)
        json_object_set_new(object, key, json_string(sodium_bin2base64(text, size, (const unsigned char *)bytes.ptr, bytes.len, sodium_base64_VARIANT_ORIGINAL)));
    free(text);
}

static json_t *time_or_null(int64_t wall_ms)
{
    char text[TT_TIME_TEXT];
    return wall_ms ? json_string(tt_time_text(wall_ms, text)) : json_null();
}

/* ---- workers ---- */

static bool read_worker(tt_req *req, tt_str *ret_name, int64_t *ret_pid)
{
    json_t *body = NULL;
    tt_err err;
    tt_rc rc = tt_req_json(req, &body, &err);
    const char *name = rc == TT_OK ? json_string_value(json_object_get(body, "name")) : NULL;
    *ret_name = tt_str_of(name);
    *ret_pid = json_integer_value(json_object_get(body, "pid"));
    if (rc != TT_OK)
        tt_req_error(req, rc, &err);
    else if (!name)
        tt_req_errorf(req, TT_INVALID, "the body names no worker: send {\"name\":\"sanjer1\",\"pid\":123}");
    return rc == TT_OK && name;
}

static void attach(tt_req *req)
{
    tt_str name;
    int64_t pid;
    tt_err err;
    if (!read_worker(req, &name, &pid))
        return;
    tt_rc rc = tt_tasks_attach(tasks_of(req), name, pid, &err);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:s%}", "schema", 1, "worker", name.ptr, name.len));
    else
        tt_req_error(req, rc, &err);
}

static void detach(tt_req *req)
{
    tt_str name;
    int64_t pid;
    tt_err err;
    if (!read_worker(req, &name, &pid))
        return;
    tt_rc rc = tt_tasks_detach(tasks_of(req), name, pid, &err);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:b}", "schema", 1, "detached", 1));
    else
        tt_req_error(req, rc, &err);
}

static void add_worker(void *list, const tt_worker_info *w)
{
    json_t *o = json_pack("{s:s%,s:I,s:o,s:I,s:b,s:I,s:I}", "worker", w->name.ptr, w->name.len, "pid", (json_int_t)w->pid, "since", time_or_null(w->since_ms),
                          "seen_ago_ms", (json_int_t)w->seen_ago_ms, "consuming", w->consuming, "done", (json_int_t)w->done, "failed", (json_int_t)w->failed);
    json_object_set_new(o, "task", w->task ? json_integer((json_int_t)w->task) : json_null());
    json_object_set_new(o, "kind", w->task ? json_stringn(w->kind.ptr, w->kind.len) : json_null());
    json_array_append_new(list, o);
}

static void list_workers(tt_req *req)
{
    json_t *list = json_array();
    tt_tasks_each_worker(tasks_of(req), add_worker, list);
    tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "workers", list));
}

/* ---- claim ---- */

typedef struct {
    tt_task_claim claim;
    tt_req *req;
    tt_str queues[MAX_QUEUES];
} claim_call;

static void claimed(tt_task_claim *c, tt_rc rc, const tt_task *task, const tt_err *err)
{
    tt_req *req = ((claim_call *)c)->req;
    if (rc != TT_OK) {
        tt_req_error(req, rc, err);
        return;
    }
    json_t *o = json_null();
    if (task) {
        o = json_pack("{s:I,s:I,s:I,s:I,s:s%}", "id", (json_int_t)task->id, "lease", (json_int_t)task->lease, "lease_ms", (json_int_t)c->lease_ms,
                      "attempt", (json_int_t)task->attempts, "kind", task->kind.ptr, task->kind.len);
        set_bytes(o, "payload", task->payload);
    }
    tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "task", o));
}

/* "a,b". False: answered. */
static bool read_queues(tt_req *req, claim_call *call)
{
    tt_str rest = tt_req_str(req, "queue"), name;
    while (tt_str_cut(&rest, ',', &name)) {
        if (call->claim.queue_count == MAX_QUEUES) {
            tt_req_errorf(req, TT_INVALID, "queue= names more than %d queues", MAX_QUEUES);
            return false;
        }
        if (name.len)
            call->queues[call->claim.queue_count++] = name;
    }
    return true;
}

static void claim(tt_req *req)
{
    if (!in_range(req, "lease", MIN_LEASE_MS, MAX_LEASE_MS) || !in_range(req, "wait", 0, MAX_WAIT_MS))
        return;
    claim_call *call = make(req, sizeof *call);
    if (!call || !read_queues(req, call))
        return;
    call->req = req;
    call->claim.worker = tt_req_str(req, "worker");
    call->claim.queues = call->claim.queue_count ? call->queues : NULL;
    call->claim.wait_ms = tt_req_int(req, "wait");
    call->claim.lease_ms = tt_req_int(req, "lease");
    call->claim.done = claimed;
    tt_tasks_claim(tasks_of(req), &call->claim);
}

/* ---- one task ---- */

typedef struct {
    tt_task_op op;
    tt_req *req;
    const char *member; /* of the answer */
} op_call;

static void op_done(tt_task_op *op, tt_rc rc, const tt_err *err)
{
    const op_call *call = (op_call *)op;
    if (rc != TT_OK)
        tt_req_error(call->req, rc, err);
    else if (op->verb == TT_TASK_DO_EXTEND)
        tt_req_answer_json(call->req, 200, json_pack("{s:i,s:I}", "schema", 1, "lease_ms", (json_int_t)op->lease_ms));
    else
        tt_req_answer_json(call->req, 200, json_pack("{s:i,s:b}", "schema", 1, call->member, 1));
}

/* NULL: answered. */
static op_call *make_op(tt_req *req, tt_task_verb verb, const char *member)
{
    op_call *call = make(req, sizeof *call);
    if (!call)
        return NULL;
    call->req = req;
    call->member = member;
    call->op = (tt_task_op){.verb = verb, .id = (uint64_t)tt_req_int(req, "id"), .lease = (uint64_t)tt_req_int(req, "lease"), .done = op_done};
    return call;
}

static void extend(tt_req *req)
{
    op_call *call = in_range(req, "for", MIN_LEASE_MS, MAX_LEASE_MS) ? make_op(req, TT_TASK_DO_EXTEND, "lease_ms") : NULL;
    if (!call)
        return;
    call->op.lease_ms = tt_req_int(req, "for");
    tt_tasks_do(tasks_of(req), &call->op);
}

static void finish(tt_req *req)
{
    op_call *call = make_op(req, TT_TASK_DO_FINISH, "finished");
    if (!call)
        return;
    call->op.text = tt_req_body(req);
    tt_tasks_do(tasks_of(req), &call->op);
}

static void fail(tt_req *req)
{
    json_t *body = NULL;
    tt_err err;
    tt_rc rc = tt_req_json(req, &body, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    op_call *call = make_op(req, TT_TASK_DO_FAIL, "failed");
    const char *reason = json_string_value(json_object_get(body, "reason"));
    if (!call)
        return;
    call->op.text = tt_str_of(reason ? reason : "no reason given");
    call->op.final = json_is_true(json_object_get(body, "final"));
    tt_tasks_do(tasks_of(req), &call->op);
}

static void release(tt_req *req)
{
    op_call *call = make_op(req, TT_TASK_DO_RELEASE, "released");
    if (call)
        tt_tasks_do(tasks_of(req), &call->op);
}

static void show(tt_req *req)
{
    tt_task t;
    tt_err err;
    tt_rc rc = tt_queue_get(area_of(req)->ledger, (uint64_t)tt_req_int(req, "id"), tt_req_arena(req), &t, &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    json_t *o = json_pack("{s:i,s:I,s:s,s:s%,s:s%,s:I,s:o,s:o,s:o}", "schema", 1, "id", (json_int_t)t.id, "state", tt_task_state_name(t.state),
                          "queue", t.queue.ptr, t.queue.len, "kind", t.kind.ptr, t.kind.len, "attempts", (json_int_t)t.attempts,
                          "created", time_or_null(t.created_ms), "started", time_or_null(t.started_ms), "ended", time_or_null(t.ended_ms));
    json_object_set_new(o, "worker", t.worker.len ? json_stringn(t.worker.ptr, t.worker.len) : json_null());
    set_bytes(o, "reason", t.reason);
    set_bytes(o, "payload", t.payload);
    set_bytes(o, "result", t.result);
    tt_req_answer_json(req, 200, o);
}

/* ---- probe ---- */

typedef struct {
    tt_probe probe;
    tt_req *req;
} probe_call;

static void probed(tt_probe *p, tt_rc rc, int64_t elapsed_us, const tt_err *err)
{
    tt_req *req = ((probe_call *)p)->req;
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:b,s:I}", "schema", 1, "ok", 1, "elapsed_us", (json_int_t)elapsed_us));
    else
        tt_req_error(req, rc, err);
}

static void probe(tt_req *req)
{
    probe_call *call = in_range(req, "timeout", 1, MAX_WAIT_MS) ? make(req, sizeof *call) : NULL;
    if (!call)
        return;
    call->req = req;
    call->probe.timeout_ms = tt_req_int(req, "timeout");
    call->probe.done = probed;
    tt_tasks_probe(tasks_of(req), &call->probe);
}

/* ---- health and metrics ---- */

bool tt_task_health(void *arg, json_t *object)
{
    const tt_task_area *area = arg;
    unsigned attached, consuming;
    tt_tasks_count_workers(area->tasks, &attached, &consuming);
    json_object_set_new(object, "workers", json_pack("{s:i,s:i,s:I}", "attached", (int)attached, "consuming", (int)consuming,
                                                     "expected", (json_int_t)area->expected_workers));
    return area->expected_workers == 0 || consuming > 0;
}

void tt_task_write_metrics(void *arg, tt_buf *out)
{
    const tt_task_area *area = arg;
    unsigned attached, consuming;
    tt_queue_counts counts = {0};
    tt_tasks_count_workers(area->tasks, &attached, &consuming);
    tt_buf_printf(out, "# HELP tutti_workers Workers attached to this server.\n# TYPE tutti_workers gauge\ntutti_workers %u\n", attached);
    tt_buf_printf(out, "# HELP tutti_workers_consuming Workers that wait for work or have some.\n# TYPE tutti_workers_consuming gauge\ntutti_workers_consuming %u\n", consuming);
    if (tt_queue_count(area->ledger, (tt_str){0}, &counts, NULL) != TT_OK)
        return;
    tt_buf_cstr_put(out, "# HELP tutti_tasks Tasks in the ledger by state.\n# TYPE tutti_tasks gauge\n");
    for (int s = TT_TASK_DEFERRED; s <= TT_TASK_CANCELED; s++)
        tt_buf_printf(out, "tutti_tasks{state=\"%s\"} %llu\n", tt_task_state_name((tt_task_state)s), (unsigned long long)counts.by_state[s]);
    tt_buf_printf(out, "# HELP tutti_tasks_oldest_queued_seconds Age of the oldest task that waits for a worker.\n# TYPE tutti_tasks_oldest_queued_seconds gauge\n"
                       "tutti_tasks_oldest_queued_seconds %.3f\n", (double)counts.oldest_queued_ms / 1000);
}

/* ---- the table ---- */

#define TOKEN {"token", TT_PARAM_STR, false, NULL, "Token; the Authorization header is better"}
#define ID {"id", TT_PARAM_INT, true, NULL, "Number of the task"}
#define LEASE {"lease", TT_PARAM_INT, true, NULL, "Fencing token of the claim"}

static const tt_param no_params[] = {TOKEN, {0}};
static const tt_param claim_params[] = {
    {"worker", TT_PARAM_STR, true, NULL, "Name under which the worker attached"},
    {"queue", TT_PARAM_STR, false, NULL, "Queues to serve, in this order: a,b; default: default"},
    {"wait", TT_PARAM_DURATION, false, "0", "Wait so long for work"},
    {"lease", TT_PARAM_DURATION, false, "60s", "Length of the lease"},
    TOKEN, {0},
};
static const tt_param id_params[] = {ID, TOKEN, {0}};
static const tt_param lease_params[] = {ID, LEASE, TOKEN, {0}};
static const tt_param extend_params[] = {ID, LEASE, {"for", TT_PARAM_DURATION, false, "60s", "The lease lasts so long from now"}, TOKEN, {0}};
static const tt_param probe_params[] = {{"timeout", TT_PARAM_DURATION, false, "10s", "Give up after this time"}, TOKEN, {0}};

#define OURS(m, p, acc, kind, params_, fn, text, example) \
    {.method = m, .path = p, .dialect = TT_DIALECT_V1, .access = acc, .body = kind, .params = params_, .handler = fn, .summary = text, .response_example = example}

const tt_route tt_task_routes[] = {
    OURS("GET", "/v1/workers", TT_ACCESS_READ, TT_BODY_NONE, no_params, list_workers, "Attached workers, and whether they consume.",
         "{\"schema\":1,\"workers\":[{\"worker\":\"sanjer1\",\"pid\":4711,\"since\":\"2026-01-31T12:00:00.000Z\",\"seen_ago_ms\":12,\"consuming\":true,\"done\":3,\"failed\":0,\"task\":null,\"kind\":null}]}"),
    OURS("POST", "/v1/workers/attach", TT_ACCESS_WORKER, TT_BODY_JSON, no_params, attach, "A worker says that it is there and holds nothing: {\"name\":\"sanjer1\",\"pid\":4711}.",
         "{\"schema\":1,\"worker\":\"sanjer1\"}"),
    OURS("POST", "/v1/workers/detach", TT_ACCESS_WORKER, TT_BODY_JSON, no_params, detach, "A worker leaves; what it holds is given to others.",
         "{\"schema\":1,\"detached\":true}"),
    OURS("POST", "/v1/tasks/claim", TT_ACCESS_WORKER, TT_BODY_IGNORED, claim_params, claim, "Get the next task under a lease, or wait for one.",
         "{\"schema\":1,\"task\":{\"id\":7,\"lease\":12,\"lease_ms\":60000,\"attempt\":1,\"kind\":\"probe\",\"payload\":\"\"}}"),
    OURS("POST", "/v1/tasks/{id}/extend", TT_ACCESS_WORKER, TT_BODY_IGNORED, extend_params, extend, "Keep the lease of a task.", "{\"schema\":1,\"lease_ms\":60000}"),
    OURS("POST", "/v1/tasks/{id}/finish", TT_ACCESS_WORKER, TT_BODY_BYTES, lease_params, finish, "A task is done; the body is its result.", "{\"schema\":1,\"finished\":true}"),
    OURS("POST", "/v1/tasks/{id}/fail", TT_ACCESS_WORKER, TT_BODY_JSON, lease_params, fail, "An attempt failed: {\"reason\":\"...\",\"final\":false}.", "{\"schema\":1,\"failed\":true}"),
    OURS("POST", "/v1/tasks/{id}/release", TT_ACCESS_WORKER, TT_BODY_IGNORED, lease_params, release, "Give a task back without counting the attempt.", "{\"schema\":1,\"released\":true}"),
    OURS("GET", "/v1/tasks/{id}", TT_ACCESS_READ, TT_BODY_NONE, id_params, show, "One task with its state and result.",
         "{\"schema\":1,\"id\":7,\"state\":\"finished\",\"queue\":\"default\",\"kind\":\"probe\",\"attempts\":1,\"worker\":\"sanjer1\",\"result\":\"\"}"),
    OURS("POST", "/v1/tasks/probe", TT_ACCESS_OPERATOR, TT_BODY_IGNORED, probe_params, probe, "Send a task through a worker and measure how long it takes.",
         "{\"schema\":1,\"ok\":true,\"elapsed_us\":900}"),
    {0},
};
