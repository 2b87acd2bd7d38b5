#include "server/task_routes.h"
#include "work/attempt.h"

enum {
    MAX_QUEUES = 16, MAX_CLAIM = 1000, MAX_ENDS = 10000, MIN_LEASE_MS = 1000, MAX_LEASE_MS = 24 * 3600 * 1000, MAX_WAIT_MS = 10 * 60 * 1000,
    NOT_HERE_MS = 1000, /* before the next worker may look at a task that one could not run */
};

/* ---- workers ---- */

/* The kernel says that the process at the other end has this pid. */
static bool is_peer(const tt_req *req, int64_t pid)
{
    char text[40];
    snprintf(text, sizeof text, "pid %lld ", (long long)pid);
    return tt_str_starts(tt_req_peer(req), tt_str_of(text));
}

static bool read_worker(tt_req *req, tt_worker_hello *ret)
{
    json_t *body = NULL;
    tt_err err;
    tt_rc rc = tt_req_json(req, &body, &err);
    const char *name = rc == TT_OK ? json_string_value(json_object_get(body, "name")) : NULL;
    *ret = (tt_worker_hello){.name = tt_str_of(name), .pid = json_integer_value(json_object_get(body, "pid")),
                             .instance = json_integer_value(json_object_get(body, "instance")),
                             .last_end = tt_str_of(json_string_value(json_object_get(body, "last_end")))};
    ret->is_local = is_peer(req, ret->pid);
    if (rc != TT_OK)
        tt_req_error(req, rc, &err);
    else if (!name)
        tt_req_errorf(req, TT_INVALID, "the body names no worker: send {\"name\":\"sanjer1\",\"pid\":123}");
    return rc == TT_OK && name;
}

static void attach(tt_req *req)
{
    tt_worker_hello hello;
    tt_err err;
    if (!read_worker(req, &hello))
        return;
    tt_rc rc = tt_tasks_attach(tt_task_tasks_of(req), &hello, &err);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:s%}", "schema", 1, "worker", hello.name.ptr, hello.name.len));
    else
        tt_req_error(req, rc, &err);
}

static void detach(tt_req *req)
{
    tt_worker_hello hello;
    tt_err err;
    if (!read_worker(req, &hello))
        return;
    tt_rc rc = tt_tasks_detach(tt_task_tasks_of(req), hello.name, hello.pid, &err);
    if (rc == TT_OK)
        tt_req_answer_json(req, 200, json_pack("{s:i,s:b}", "schema", 1, "detached", 1));
    else
        tt_req_error(req, rc, &err);
}

/* ---- claim ---- */

typedef struct {
    tt_task_claim claim;
    tt_req *req;
    tt_str queues[MAX_QUEUES];
} claim_call;

static json_t *describe_claimed(const tt_task *t, int64_t lease_ms)
{
    json_t *o = json_pack("{s:I,s:I,s:I,s:I,s:s%}", "id", (json_int_t)t->id, "lease", (json_int_t)t->lease, "lease_ms", (json_int_t)lease_ms,
                          "attempt", (json_int_t)t->attempts, "kind", t->kind.ptr, t->kind.len);
    if (t->timeout_ms)
        json_object_set_new(o, "timeout_ms", json_integer(t->timeout_ms));
    if (t->memory_bytes)
        json_object_set_new(o, "memory_bytes", json_integer((json_int_t)t->memory_bytes));
    tt_task_set_bytes(o, "payload", t->payload);
    return o;
}

static void claimed(tt_task_claim *c, tt_rc rc, const tt_task *tasks, size_t count, const tt_err *err)
{
    tt_req *req = ((claim_call *)c)->req;
    if (rc != TT_OK) {
        tt_req_error(req, rc, err);
        return;
    }
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, describe_claimed(&tasks[i], c->lease_ms));
    tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "tasks", list));
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
    if (!tt_task_in_range(req, "lease", MIN_LEASE_MS, MAX_LEASE_MS) || !tt_task_in_range(req, "wait", 0, MAX_WAIT_MS))
        return;
    int64_t most = tt_req_int(req, "max");
    if (most < 1 || most > MAX_CLAIM) {
        tt_req_errorf(req, TT_INVALID, "max=%lld is out of range: 1 to %d", (long long)most, MAX_CLAIM);
        return;
    }
    claim_call *call = tt_task_make(req, sizeof *call);
    if (!call || !read_queues(req, call))
        return;
    call->req = req;
    call->claim.worker = tt_req_str(req, "worker");
    call->claim.queues = call->claim.queue_count ? call->queues : NULL;
    call->claim.wait_ms = tt_req_int(req, "wait");
    call->claim.lease_ms = tt_req_int(req, "lease");
    call->claim.most = (size_t)most;
    call->claim.done = claimed;
    tt_tasks_claim(tt_task_tasks_of(req), &call->claim);
}

/* ---- one task ---- */

/* NULL: answered. */
static tt_task_call *leased(tt_req *req, tt_task_verb verb, const char *member)
{
    tt_task_call *call = tt_task_call_new(req, verb, member);
    if (call)
        call->op.lease = (uint64_t)tt_req_int(req, "lease");
    return call;
}

typedef struct {
    tt_task_hold hold;
    tt_req *req;
    int64_t lease_ms;
} hold_call;

static void held(tt_task_hold *h, tt_rc rc)
{
    hold_call *call = (hold_call *)h;
    if (rc == TT_CANCELED)
        tt_req_errorf(call->req, TT_CANCELED, "task %llu was canceled: drop this work", (unsigned long long)h->id);
    else if (rc != TT_OK)
        tt_req_errorf(call->req, TT_GONE, "task %llu: lease %llu is gone: drop this work", (unsigned long long)h->id, (unsigned long long)h->lease);
    else
        tt_req_answer_json(call->req, 200, json_pack("{s:i,s:I}", "schema", 1, "lease_ms", (json_int_t)call->lease_ms));
}

/* Extended; now it may wait for the lease's loss. */
static void extended(tt_task_op *op, tt_rc rc, const tt_err *err)
{
    tt_task_call *call = (tt_task_call *)op;
    tt_req *req = call->req;
    int64_t wait_ms = tt_req_int(req, "wait");
    hold_call *hold = rc == TT_OK && wait_ms ? tt_task_make(req, sizeof *hold) : NULL;
    if (rc != TT_OK || !wait_ms) {
        tt_task_call_done(op, rc, err);
        return;
    }
    if (!hold)
        return;
    *hold = (hold_call){.hold = {.id = op->id, .lease = op->lease, .wait_ms = wait_ms, .done = held}, .req = req, .lease_ms = op->lease_ms};
    tt_tasks_hold(tt_task_tasks_of(req), &hold->hold);
}

static void extend(tt_req *req)
{
    bool fits = tt_task_in_range(req, "for", MIN_LEASE_MS, MAX_LEASE_MS) && tt_task_in_range(req, "wait", 0, MAX_WAIT_MS);
    tt_task_call *call = fits ? leased(req, TT_TASK_DO_EXTEND, "lease_ms") : NULL;
    if (!call)
        return;
    call->op.lease_ms = tt_req_int(req, "for");
    call->op.done = extended;
    tt_tasks_do(tt_task_tasks_of(req), &call->op);
}

static void finish(tt_req *req)
{
    tt_task_call *call = leased(req, TT_TASK_DO_FINISH, "finished");
    if (!call)
        return;
    call->op.text = tt_req_body(req);
    tt_tasks_do(tt_task_tasks_of(req), &call->op);
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
    tt_task_call *call = leased(req, TT_TASK_DO_FAIL, "failed");
    const char *reason = json_string_value(json_object_get(body, "reason"));
    if (!call)
        return;
    call->op.text = tt_str_of(reason ? reason : "no reason given");
    call->op.final = json_is_true(json_object_get(body, "final"));
    tt_tasks_do(tt_task_tasks_of(req), &call->op);
}

static void release(tt_req *req)
{
    tt_task_call *call = leased(req, TT_TASK_DO_RELEASE, "released");
    if (call)
        tt_tasks_do(tt_task_tasks_of(req), &call->op);
}

/* ---- many ends at once ---- */

typedef struct {
    tt_task_batch batch;
    tt_req *req;
} report_call;

/* How an attempt ended, and what that is for the queue. To add one: a row, and one in worker_main.c. */
static const struct {
    const char *word;
    tt_task_verb verb;
    bool final;
    int64_t delay_ms;
} hows[] = {
    {"finished", TT_TASK_DO_FINISH, false, 0},
    {"failed", TT_TASK_DO_FAIL, false, 0},
    {"failed_for_good", TT_TASK_DO_FAIL, true, 0},
    {"given_back", TT_TASK_DO_RELEASE, false, 0},
    {"not_here", TT_TASK_DO_RELEASE, false, NOT_HERE_MS},
    {"canceled", TT_TASK_DO_NOTE, false, 0},
};

static tt_rc read_end(tt_req *req, const json_t *end, tt_task_op *ret, tt_err *err)
{
    const char *word = json_string_value(json_object_get(end, "how"));
    for (size_t i = 0; word && i < TT_COUNT(hows); i++) {
        if (strcmp(hows[i].word, word) != 0)
            continue;
        *ret = (tt_task_op){.verb = hows[i].verb, .final = hows[i].final, .delay_ms = hows[i].delay_ms,
                            .id = (uint64_t)json_integer_value(json_object_get(end, "id")), .lease = (uint64_t)json_integer_value(json_object_get(end, "lease"))};
        return tt_task_get_bytes(req, end, ret->verb == TT_TASK_DO_FINISH ? "result" : "reason", &ret->text, err);
    }
    return tt_fail(err, TT_INVALID, "an end of a task says `%.40s` for how: give finished, failed, failed_for_good, given_back, not_here or canceled", word ? word : "");
}

static tt_rc read_ends(tt_req *req, report_call *call, tt_err *err)
{
    json_t *body = NULL, *end;
    size_t i;
    TT_TRY(tt_req_json(req, &body, err));
    const json_t *ends = json_object_get(body, "ends");
    call->batch.count = json_array_size(ends);
    if (!json_is_array(ends) || call->batch.count > MAX_ENDS)
        return tt_fail(err, TT_INVALID, "the body has no list of at most %d ends: send {\"ends\":[{\"id\":7,\"lease\":12,\"how\":\"finished\",\"result\":\"\"}]}", MAX_ENDS);
    call->batch.ops = tt_arena_alloc(tt_req_arena(req), (call->batch.count + 1) * sizeof *call->batch.ops);
    call->batch.rcs = tt_arena_alloc(tt_req_arena(req), (call->batch.count + 1) * sizeof *call->batch.rcs);
    if (!call->batch.ops || !call->batch.rcs)
        return tt_fail(err, TT_NOMEM, "no memory for this request");
    json_array_foreach(ends, i, end)
        TT_TRY(read_end(req, end, &call->batch.ops[i], err));
    return TT_OK;
}

static void reported(tt_task_batch *b, tt_rc rc, const tt_err *err)
{
    tt_req *req = ((report_call *)b)->req;
    json_t *refused = json_array();
    for (size_t i = 0; i < b->count && rc == TT_OK; i++)
        if (b->rcs[i] != TT_OK)
            json_array_append_new(refused, json_pack("{s:I,s:s,s:s}", "id", (json_int_t)b->ops[i].id, "code", tt_rc_name(b->rcs[i]), "detail", tt_rc_title(b->rcs[i])));
    if (rc != TT_OK) {
        json_decref(refused);
        tt_req_error(req, rc, err);
        return;
    }
    tt_req_answer_json(req, 200, json_pack("{s:i,s:o}", "schema", 1, "refused", refused));
}

static void report(tt_req *req)
{
    report_call *call = tt_task_make(req, sizeof *call);
    tt_err err;
    if (!call)
        return;
    call->req = req;
    call->batch.done = reported;
    tt_rc rc = read_ends(req, call, &err);
    if (rc != TT_OK)
        tt_req_error(req, rc, &err);
    else
        tt_tasks_do_all(tt_task_tasks_of(req), &call->batch);
}

/* ---- words ---- */

static void keep_log(tt_req *req)
{
    tt_task_area *area = tt_task_area_of(req);
    uint64_t id = (uint64_t)tt_req_int(req, "id");
    char topic[40];
    tt_err err;
    tt_rc rc = tt_tasks_check_lease(area->tasks, id, (uint64_t)tt_req_int(req, "lease"), &err);
    if (rc == TT_OK)
        rc = tt_logs_append(area->logs, id, tt_req_body(req), &err);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    snprintf(topic, sizeof topic, "log/%llu", (unsigned long long)id);
    tt_req_answer_json(req, 200, json_pack("{s:i,s:b}", "schema", 1, "kept", 1));
    tt_watch_notify(area->watches, tt_str_of(topic), 0);
}

static void log_piece(tt_req *req) { tt_task_on_pool(req, keep_log); }

static void progress(tt_req *req)
{
    json_t *body = NULL;
    tt_err err;
    tt_rc rc = tt_req_json(req, &body, &err);
    if (rc == TT_OK && !json_is_object(body))
        rc = tt_fail(&err, TT_INVALID, "a task's progress is a JSON object");
    if (rc == TT_OK && tt_req_body(req).len > TT_ATTEMPT_PROGRESS_BYTES)
        rc = tt_fail(&err, TT_TOO_LARGE, "a task's progress has %zu bytes: at most %d are kept", tt_req_body(req).len, TT_ATTEMPT_PROGRESS_BYTES);
    if (rc != TT_OK) {
        tt_req_error(req, rc, &err);
        return;
    }
    tt_task_call *call = leased(req, TT_TASK_DO_PROGRESS, "kept");
    if (!call)
        return;
    call->op.text = tt_req_body(req);
    tt_tasks_do(tt_task_tasks_of(req), &call->op);
}

/* ---- the table ---- */

#define LEASE {"lease", TT_PARAM_INT, true, NULL, "Fencing token of the claim"}

static const tt_param no_params[] = {TT_TASK_TOKEN, {0}};
static const tt_param claim_params[] = {
    {"worker", TT_PARAM_STR, true, NULL, "Name under which the worker attached"},
    {"queue", TT_PARAM_STR, false, NULL, "Queues to serve, in this order: a,b; default: default"},
    {"max", TT_PARAM_INT, false, "1", "So many tasks at once, at most"},
    {"wait", TT_PARAM_DURATION, false, "0", "Wait so long for work"},
    {"lease", TT_PARAM_DURATION, false, "60s", "Length of the lease"},
    TT_TASK_TOKEN, {0},
};
static const tt_param lease_params[] = {TT_TASK_ID, LEASE, TT_TASK_TOKEN, {0}};
static const tt_param extend_params[] = {
    TT_TASK_ID, LEASE, {"for", TT_PARAM_DURATION, false, "60s", "The lease lasts so long from now"},
    {"wait", TT_PARAM_DURATION, false, "0", "Answer after this time, or as soon as the lease is lost"}, TT_TASK_TOKEN, {0},
};

const tt_route tt_worker_routes[] = {
    TT_TASK_ROUTE("POST", "/v1/workers/attach", TT_ACCESS_WORKER, TT_BODY_JSON, no_params, attach, "A worker says that it is there and holds nothing: {\"name\":\"sanjer1\",\"pid\":4711}.",
         "{\"schema\":1,\"worker\":\"sanjer1\"}"),
    TT_TASK_ROUTE("POST", "/v1/workers/detach", TT_ACCESS_WORKER, TT_BODY_JSON, no_params, detach, "A worker leaves; what it holds is given to others.",
         "{\"schema\":1,\"detached\":true}"),
    TT_TASK_ROUTE("POST", "/v1/tasks/claim", TT_ACCESS_WORKER, TT_BODY_IGNORED, claim_params, claim, "Get the next tasks under leases, or wait for one.",
         "{\"schema\":1,\"tasks\":[{\"id\":7,\"lease\":12,\"lease_ms\":60000,\"attempt\":1,\"kind\":\"probe\",\"payload\":\"\"}]}"),
    TT_TASK_ROUTE("POST", "/v1/tasks/report", TT_ACCESS_WORKER, TT_BODY_JSON, no_params, report, "How several tasks ended: {\"ends\":[{\"id\":7,\"lease\":12,\"how\":\"finished\",\"result\":\"\"}]}.",
         "{\"schema\":1,\"refused\":[]}"),
    TT_TASK_ROUTE("POST", "/v1/tasks/{id}/extend", TT_ACCESS_WORKER, TT_BODY_IGNORED, extend_params, extend, "Keep the lease of a task, and wait for its loss.", "{\"schema\":1,\"lease_ms\":60000}"),
    TT_TASK_ROUTE("POST", "/v1/tasks/{id}/finish", TT_ACCESS_WORKER, TT_BODY_BYTES, lease_params, finish, "A task is done; the body is its result.", "{\"schema\":1,\"finished\":true}"),
    TT_TASK_ROUTE("POST", "/v1/tasks/{id}/fail", TT_ACCESS_WORKER, TT_BODY_JSON, lease_params, fail, "An attempt failed: {\"reason\":\"...\",\"final\":false}.", "{\"schema\":1,\"failed\":true}"),
    TT_TASK_ROUTE("POST", "/v1/tasks/{id}/release", TT_ACCESS_WORKER, TT_BODY_IGNORED, lease_params, release, "Give a task back without counting the attempt.", "{\"schema\":1,\"released\":true}"),
    TT_TASK_ROUTE("POST", "/v1/tasks/{id}/log", TT_ACCESS_WORKER, TT_BODY_BYTES, lease_params, log_piece, "A piece of a task's log.", "{\"schema\":1,\"kept\":true}"),
    TT_TASK_ROUTE("POST", "/v1/tasks/{id}/progress", TT_ACCESS_WORKER, TT_BODY_JSON, lease_params, progress, "How far a task is: any JSON object.", "{\"schema\":1,\"kept\":true}"),
    {0},
};
