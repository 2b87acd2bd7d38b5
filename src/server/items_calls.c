#include "server/items_calls.h"

#include <inttypes.h>

#include "ledger/schema.h"

static bool is_older(const tt_req *req) { return tt_req_route(req)->dialect == TT_DIALECT_PLANCHET; }

void tt_items_error(tt_req *req, tt_rc rc, const tt_err *err)
{
    tt_err copy = *err;
    if (is_older(req) && (tt_rc_http(rc) == 404 || tt_rc_http(rc) == 409))
        rc = TT_INVALID;
    copy.code = rc;
    tt_req_error(req, rc, &copy);
}

bool tt_items_may_use(tt_req *req, tt_str job_name)
{
    tt_err err = {0};
    if (tt_req_is_operator(req))
        return true;
    tt_rc rc = tt_items_check_token(tt_items_area_of(req)->items, job_name, tt_req_token(req), tt_req_is_near(req), &err);
    if (rc != TT_OK)
        tt_req_error(req, rc, &err);
    return rc == TT_OK;
}

tt_job *tt_items_job_for(tt_req *req, tt_str job_name)
{
    tt_err err = {0};
    if (!tt_items_may_use(req, job_name))
        return NULL;
    tt_job *j = tt_items_find(tt_items_area_of(req)->items, job_name, &err);
    if (!j)
        tt_items_error(req, TT_NOT_FOUND, &err);
    return j;
}

tt_str tt_items_worker_name(tt_req *req)
{
    tt_str name = tt_req_str(req, "worker");
    if (name.len)
        return tt_str_slice(name, 0, 200);
    name = tt_req_peer(req); /* a client may open a connection per request: the port says nothing */
    for (size_t i = name.len; i > 0; i--)
        if (name.ptr[i - 1] == ':')
            return tt_str_slice(name, 0, i - 1);
    return name;
}

tt_str tt_items_lease_worker(tt_req *req, tt_job *j)
{
    tt_str lease = tt_req_str(req, "lease");
    if (lease.len == 0 || tt_req_has(req, "worker"))
        return tt_items_worker_name(req);
    char *name = tt_job_lease_worker(j, lease, tt_req_arena(req));
    return name ? tt_str_of(name) : tt_items_worker_name(req);
}

bool tt_items_is_named(tt_req *req, tt_job *j)
{
    tt_str lease = j ? tt_req_str(req, "lease") : (tt_str){0};
    return tt_req_str(req, "worker").len || (lease.len && tt_job_lease_worker(j, lease, tt_req_arena(req)));
}

/* ---- serve ---- */

typedef struct {
    tt_any_claim any; /* its claim is the whole of it where a job is named */
    tt_req *req;
    tt_job *job; /* named; NULL: any */
    bool with_lease;
    tt_buf head;
} serve_call;

static void free_serve(void *arg)
{
    serve_call *call = arg;
    tt_claim_deinit(&call->any.claim);
    tt_buf_deinit(&call->head);
    free(call);
}

static void put_head(serve_call *call)
{
    const tt_claim *c = &call->any.claim;
    if (is_older(call->req)) {
        tt_buf_char(&call->head, '[');
        return;
    }
    tt_buf_cstr_put(&call->head, "{\"schema\":1,\"job\":");
    if (c->job)
        tt_buf_json_str(&call->head, tt_str_of(tt_job_name(c->job)));
    else
        tt_buf_cstr_put(&call->head, "null");
    if (c->token[0])
        tt_buf_printf(&call->head, ",\"lease\":\"%s\",\"lease_ms\":%" PRId64, c->token, c->granted_ms);
    else
        tt_buf_cstr_put(&call->head, ",\"lease\":null,\"lease_ms\":0");
    tt_buf_printf(&call->head, ",\"status\":\"%s\",\"items\":[", c->status ? c->status : "IN_PROGRESS");
}

/* Many small slices (a job with holes): one copy is cheaper than a vector each. */
static void answer_copied(serve_call *call, tt_str tail)
{
    const tt_claim *c = &call->any.claim;
    tt_buf body = {0};
    if (tt_buf_reserve(&body, call->head.len + c->byte_count + tail.len)) {
        tt_buf_str(&body, tt_buf_view(&call->head));
        for (size_t i = 0; i < c->runs.len; i++)
            tt_buf_put(&body, c->runs.ptr[i].iov_base, c->runs.ptr[i].iov_len);
        body.len -= c->runs.len > 0; /* the last comma */
        tt_buf_str(&body, tail);
    }
    tt_req *req = call->req;
    free_serve(call);
    tt_req_answer(req, 200, "application/json", &body);
}

static void answer_slices(serve_call *call, tt_str tail)
{
    enum { MOST = 62 };
    struct iovec iov[MOST + 2];
    const tt_claim *c = &call->any.claim;
    unsigned n = 0;
    if (c->runs.len > MOST) {
        answer_copied(call, tail);
        return;
    }
    iov[n++] = (struct iovec){call->head.ptr, call->head.len};
    for (size_t i = 0; i < c->runs.len; i++)
        iov[n++] = c->runs.ptr[i];
    if (c->runs.len)
        iov[n - 1].iov_len--; /* the last comma */
    iov[n++] = (struct iovec){(char *)(uintptr_t)tail.ptr, tail.len};
    tt_req_answer_iov(call->req, 200, "application/json", iov, n, free_serve, call);
}

static void serve_done(tt_claim *c)
{
    serve_call *call = c->arg;
    tt_err err = {0};
    if (c->rc != TT_OK) {
        tt_req *req = call->req;
        tt_err failed = c->err;
        tt_rc rc = c->rc;
        tt_job_put(call->job);
        free_serve(call);
        tt_items_error(req, rc, &failed);
        return;
    }
    put_head(call);
    tt_job_put(call->job);
    if (tt_buf_check(&call->head, &err) != TT_OK) {
        tt_req *req = call->req;
        free_serve(call);
        tt_req_error(req, TT_NOMEM, &err);
        return;
    }
    if (call->with_lease && c->token[0] && is_older(call->req))
        tt_req_add_header(call->req, "X-Tutti-Lease", c->token);
    answer_slices(call, is_older(call->req) ? TT_STR("]") : TT_STR("]}"));
}

static bool client_is_gone(tt_claim *c) { return tt_req_is_gone(((serve_call *)c->arg)->req); }

/* What both kinds of claim take from the request. */
static serve_call *make_call(tt_req *req, tt_job *j, const char *n_name, bool with_lease)
{
    enum { LONGEST_WAIT_MS = 300000 };
    serve_call *call = TT_NEW(serve_call);
    int64_t lease_ms = tt_req_has(req, "lease") ? tt_req_int(req, "lease") : with_lease ? tt_items_area_of(req)->token_lease_ms : 0;
    int64_t wait_ms = tt_req_has(req, "wait") ? tt_req_int(req, "wait") : 0;
    bool is_given = tt_req_has(req, n_name) || tt_req_int(req, n_name);
    int64_t n = is_given ? tt_req_int(req, n_name) : 0;
    *call = (serve_call){.req = req, .job = j, .with_lease = with_lease};
    call->any.claim = (tt_claim){
        .n = n <= 0 ? 0 : n > UINT32_MAX ? UINT32_MAX : (uint32_t)n, .is_adaptive = !is_given, .wait_ms = wait_ms > LONGEST_WAIT_MS ? LONGEST_WAIT_MS : wait_ms, .lease_ms = lease_ms,
        .worker = tt_items_worker_name(req), .is_named = tt_items_is_named(req, NULL), .request_id = tt_req_str(req, "request_id"), .is_gone = client_is_gone, .done = serve_done, .arg = call,
    };
    return call;
}

void tt_items_serve(tt_req *req, tt_job *j, const char *n, bool with_lease)
{
    tt_job_claim(j, &make_call(req, j, n, with_lease)->any.claim);
}

static bool may_use(tt_any_claim *a, tt_job *j)
{
    tt_req *req = ((serve_call *)a->claim.arg)->req;
    return tt_req_is_operator(req) ||
           tt_job_check_token(tt_items_area_of(req)->items, j, tt_req_token(req), tt_req_is_near(req), NULL) == TT_OK;
}

static void any_done(tt_any_claim *a)
{
    if (!a->claim.job)
        a->claim.status = a->all_complete ? "COMPLETE" : "IN_PROGRESS";
    serve_done(&a->claim);
}

void tt_items_serve_any(tt_req *req)
{
    serve_call *call = make_call(req, NULL, "n", true);
    call->any.jobs = tt_req_str(req, "jobs");
    call->any.may_use = may_use;
    call->any.done = any_done;
    tt_items_claim_any(tt_items_area_of(req)->items, &call->any);
}

/* ---- receive ---- */

typedef struct {
    tt_results results;
    tt_req *req;
} receive_call;

static void receive_done(tt_results *r, tt_rc rc, const tt_err *err)
{
    receive_call *call = r->arg;
    tt_req *req = call->req;
    tt_buf body = {0};
    tt_err failed = rc == TT_OK ? (tt_err){0} : *err;
    tt_buf_printf(&body, "{\"schema\":1,\"accepted\":%" PRIu64 ",\"duplicate\":%" PRIu64 ",\"unknown\":%" PRIu64 ",\"rejected\":%" PRIu64 "}",
                  r->accepted, r->duplicate, r->unknown, r->rejected);
    tt_vec_deinit(&r->pairs);
    free(call);
    if (rc == TT_OK && !is_older(req)) {
        tt_req_answer(req, 200, "application/json", &body);
        return;
    }
    tt_buf_deinit(&body);
    if (rc != TT_OK)
        tt_items_error(req, rc, &failed);
    else
        tt_req_answer_static(req, 200, "application/json", TT_STR("null"));
}

static void put_fault(tt_buf *out, const char *body_name, const tt_pair_fault *f)
{
    tt_buf_printf(out, "{\"loc\":[\"body\",\"%s\"", body_name);
    if (f->index >= 0)
        tt_buf_printf(out, ",%" PRId64, f->index);
    if (f->position >= 0)
        tt_buf_printf(out, ",%" PRId64, f->position);
    tt_buf_printf(out, "],\"msg\":\"%s", f->msg);
    if (f->actual_length >= 0)
        tt_buf_printf(out, " %" PRId64 ", expected 2", f->actual_length);
    tt_buf_printf(out, "\",\"type\":\"%s\"", f->type);
    if (f->actual_length >= 0)
        tt_buf_printf(out, ",\"ctx\":{\"actual_length\":%" PRId64 ",\"expected_length\":2}", f->actual_length);
    tt_buf_char(out, '}');
}

static void answer_faults(tt_req *req, const tt_pair_faults *faults)
{
    const tt_pair_fault *first = &faults->ptr[0];
    tt_buf body = {0};
    if (!is_older(req) && first->index < 0) {
        tt_req_errorf(req, TT_UNPROCESSABLE, "the body must be a JSON list, and it is not");
        return;
    }
    if (!is_older(req)) {
        tt_req_errorf(req, TT_UNPROCESSABLE, "the body is not a list of [id, value] pairs: entry %" PRId64 "%s: %s (%zu faults)", first->index,
                      first->position == 0 ? ", its id" : first->position == 1 ? ", its value" : "", first->msg, faults->len);
        return;
    }
    tt_buf_cstr_put(&body, "{\"detail\":[");
    for (size_t i = 0; i < faults->len; i++) {
        if (i)
            tt_buf_char(&body, ',');
        put_fault(&body, tt_req_route(req)->body_name, &faults->ptr[i]);
    }
    tt_buf_cstr_put(&body, "]}");
    tt_req_answer(req, 422, "application/json", &body);
}

bool tt_items_body_refused(tt_req *req, tt_pairs_result result, const tt_pair_faults *faults, const tt_json_fault *fault)
{
    static const tt_pair_fault missing = {-1, -1, "field required", "value_error.missing", -1};
    const tt_pair_faults none = {.ptr = (tt_pair_fault *)(uintptr_t)&missing, .len = 1};
    switch (result) {
    case TT_PAIRS_OK:
        return false;
    case TT_PAIRS_NOT_JSON:
        if (is_older(req))
            tt_req_errorf(req, TT_INVALID, "There was an error parsing the body");
        else
            tt_req_errorf(req, TT_INVALID, "the body is not JSON: %s at byte %zu", fault->reason, fault->offset);
        return true;
    case TT_PAIRS_MISSING:
        answer_faults(req, &none);
        return true;
    case TT_PAIRS_FAULTS:
        answer_faults(req, faults);
        return true;
    case TT_PAIRS_NOMEM:
        tt_req_errorf(req, TT_NOMEM, "out of memory for the body of %zu bytes: send less at a time", tt_req_body(req).len);
        return true;
    }
    return false;
}

void tt_items_receive(tt_req *req, tt_job *j)
{
    receive_call *call = TT_NEW(receive_call);
    tt_pair_faults faults = {0};
    tt_json_fault fault = {0};
    tt_json_opts opts = {0};
    call->req = req;
    tt_str worker = is_older(req) ? tt_items_worker_name(req) : tt_items_lease_worker(req, j);
    call->results = (tt_results){.body = tt_req_body(req), .worker = worker, .is_named = tt_items_is_named(req, is_older(req) ? NULL : j), .done = receive_done, .arg = call};
    tt_pairs_result result = tt_pairs_parse(tt_req_body(req), !is_older(req), &opts, &call->results.pairs, &faults, &fault);
    if (result == TT_PAIRS_OK) {
        tt_job_receive(j, &call->results);
    } else {
        tt_vec_deinit(&call->results.pairs);
        free(call);
        tt_items_body_refused(req, result, &faults, &fault);
    }
    tt_vec_deinit(&faults);
    tt_job_put(j);
}

/* ---- blocking calls ---- */

void tt_items_on_pool(tt_req *req, void (*fn)(tt_req *req)) { tt_req_on_pool(req, tt_items_area_of(req)->pool, fn); }

/* ---- metrics and health ---- */

static const struct {
    const char *name, *type, *help;
    size_t offset;
} gauges[] = {
    {"tutti_items_jobs", "gauge", "Jobs", offsetof(tt_items_totals, jobs)},
    {"tutti_items_jobs_complete", "gauge", "Jobs of which every item is received or in error", offsetof(tt_items_totals, complete)},
    {"tutti_items_jobs_broken", "gauge", "Jobs whose input or output is not what was recorded", offsetof(tt_items_totals, broken)},
    {"tutti_items_received", "gauge", "Items received, of all jobs that exist", offsetof(tt_items_totals, received)},
    {"tutti_items_in_flight", "gauge", "Items in the hands of clients", offsetof(tt_items_totals, served)},
    {"tutti_items_errors", "gauge", "Items marked as errors", offsetof(tt_items_totals, errors)},
    {"tutti_items_dead", "gauge", "Items whose attempts are used up", offsetof(tt_items_totals, dead)},
    {"tutti_items_pending", "gauge", "Items known and not yet received", offsetof(tt_items_totals, pending)},
    {"tutti_items_duplicates", "gauge", "Results that came again and were ignored", offsetof(tt_items_totals, duplicates)},
    {"tutti_items_leases", "gauge", "Leases alive", offsetof(tt_items_totals, leases)},
    {"tutti_items_cache_bytes", "gauge", "Blocks of input kept in memory", offsetof(tt_items_totals, cache_bytes)},
};

void tt_items_write_metrics(void *arg, tt_buf *out)
{
    tt_items_area *area = arg;
    tt_items_totals totals;
    tt_items_count(area->items, &totals);
    for (size_t i = 0; i < TT_COUNT(gauges); i++)
        tt_buf_printf(out, "# HELP %s %s.\n# TYPE %s %s\n%s %" PRIu64 "\n", gauges[i].name, gauges[i].help, gauges[i].name, gauges[i].type,
                      gauges[i].name, *(const uint64_t *)(const void *)((const char *)&totals + gauges[i].offset));
    tt_buf_printf(out, "# HELP tutti_items_oldest_lease_seconds Age of the oldest lease.\n# TYPE tutti_items_oldest_lease_seconds gauge\n"
                  "tutti_items_oldest_lease_seconds %.3f\n", totals.oldest_lease_ms < 0 ? 0.0 : (double)totals.oldest_lease_ms / 1000);
    if (tt_items_mirror(area->items))
        tt_mirror_write_metrics(tt_items_mirror(area->items), out);
}

static void add_finished(void *arg, tt_job *j)
{
    if (tt_job_finished(j))
        json_array_append_new(arg, json_string(tt_job_name(j)));
}

bool tt_items_health(void *arg, json_t *object)
{
    tt_items_area *area = arg;
    tt_items_totals totals;
    tt_ledger_health ledger;
    json_t *finished = json_array();
    tt_items_count(area->items, &totals);
    tt_ledger_get_health(area->ledger, &ledger);
    tt_items_each(area->items, add_finished, finished);
    bool ok = ledger.last_failure[0] == '\0' && ledger.oldest_wait_ms < 30000;
    json_object_set_new(object, "Redis status", json_string(ok ? "Online" : "Offline")); /* the older clients' word for the store */
    if (tt_items_mirror(area->items))
        tt_mirror_add_health(tt_items_mirror(area->items), object);
    json_object_set_new(object, "Number of jobs", json_integer((json_int_t)totals.jobs));
    json_object_set_new(object, "Number of finished jobs", finished);
    json_object_set_new(object, "broken_jobs", json_integer((json_int_t)totals.broken));
    json_object_set_new(object, "ledger", json_pack("{s:b,s:I,s:s,s:I,s:I,s:I,s:I,s:s}", "ok", ok, "schema", (json_int_t)tt_schema_newest(), "durability", ledger.relaxed ? "relaxed" : "full",
                                                    "groups", (json_int_t)ledger.groups, "changes", (json_int_t)ledger.changes,
                                                    "last_commit_us", (json_int_t)ledger.last_commit_us, "oldest_wait_ms",
                                                    (json_int_t)ledger.oldest_wait_ms, "last_failure", ledger.last_failure));
    return ok;
}

static void add_broken(void *arg, tt_job *j)
{
    enum { MOST = 100 };
    char *why = json_array_size(arg) < MOST ? tt_job_why_broken(j) : NULL;
    if (why)
        json_array_append_new(arg, json_pack("{s:s,s:s}", "job", tt_job_name(j), "detail", why));
    free(why);
}

void tt_items_broken_health(void *arg, json_t *object)
{
    json_t *broken = json_array();
    tt_items_each(((tt_items_area *)arg)->items, add_broken, broken);
    json_object_set_new(object, "broken", broken);
}
