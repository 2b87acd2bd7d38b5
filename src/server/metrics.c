/* Counters of requests, and the page /metrics in the OpenMetrics text format. Counting is relaxed atomics on the HTTP threads. No ids in labels. */
#include <inttypes.h>

#include "base/clock.h"
#include "server/inside.h"

/* Statuses that are counted by themselves; the first row takes what was never answered, the last one all others. */
static const int statuses[TT_STATUS_SLOTS] = {0, 200, 201, 202, 204, 206, 304, 307, 400, 401, 403, 404, 405, 409, 410, 411, 412, 413, 422, 429, 500, 501, 503, 504, 507, 999};

static const struct {
    int64_t up_to_us;
    const char *text; /* in seconds */
} buckets[TT_LATENCY_BUCKETS] = {
    {100, "0.0001"}, {500, "0.0005"}, {1000, "0.001"}, {2500, "0.0025"}, {5000, "0.005"},   {10000, "0.01"}, {25000, "0.025"},
    {50000, "0.05"}, {100000, "0.1"}, {250000, "0.25"}, {1000000, "1.0"}, {10000000, "10.0"}, {60000000, "60.0"},
};

static unsigned slot_of(int status)
{
    for (unsigned i = 0; i < TT_STATUS_SLOTS - 1; i++)
        if (statuses[i] == status)
            return i;
    return TT_STATUS_SLOTS - 1;
}

void tt_metrics_count(tt_req *req, int64_t elapsed_us)
{
    tt_route_stats *stats = req->entry ? &req->entry->stats : &req->server->unmatched.stats;
    unsigned bucket = 0;
    while (bucket < TT_LATENCY_BUCKETS && elapsed_us > buckets[bucket].up_to_us)
        bucket++;
    atomic_fetch_add_explicit(&stats->requests[req->is_head][slot_of(req->status)], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->latency[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&stats->latency_sum_us, (uint64_t)elapsed_us, memory_order_relaxed);
    atomic_fetch_add_explicit(&req->server->stats.response_body_bytes, req->answer_bytes, memory_order_relaxed);
}

void tt_server_add_metrics(tt_server *s, void (*write)(void *arg, tt_buf *out), void *arg)
{
    tt_assert(tt_vec_push(&s->metrics, (tt_metrics_writer){write, arg}));
}

/* ---- the page ---- */

static void put_requests(tt_buf *out, const tt_entry *e, const char *path, const char *method)
{
    for (unsigned head = 0; head < 2; head++)
        for (unsigned i = 0; i < TT_STATUS_SLOTS; i++) {
            uint64_t n = atomic_load_explicit(&e->stats.requests[head][i], memory_order_relaxed);
            if (n)
                tt_buf_printf(out, "tutti_http_requests_total{route=\"%s\",method=\"%s\",status=\"%d\"} %" PRIu64 "\n", path, head ? "HEAD" : method, statuses[i], n);
        }
}

static void put_latency(tt_buf *out, const tt_entry *e, const char *path, const char *method)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i <= TT_LATENCY_BUCKETS; i++)
        sum += atomic_load_explicit(&e->stats.latency[i], memory_order_relaxed);
    if (sum == 0)
        return;
    sum = 0;
    for (unsigned i = 0; i <= TT_LATENCY_BUCKETS; i++) {
        sum += atomic_load_explicit(&e->stats.latency[i], memory_order_relaxed);
        tt_buf_printf(out, "tutti_http_request_duration_seconds_bucket{route=\"%s\",method=\"%s\",le=\"%s\"} %" PRIu64 "\n", path, method,
                      i < TT_LATENCY_BUCKETS ? buckets[i].text : "+Inf", sum);
    }
    uint64_t us = atomic_load_explicit(&e->stats.latency_sum_us, memory_order_relaxed);
    tt_buf_printf(out, "tutti_http_request_duration_seconds_count{route=\"%s\",method=\"%s\"} %" PRIu64 "\n", path, method, sum);
    tt_buf_printf(out, "tutti_http_request_duration_seconds_sum{route=\"%s\",method=\"%s\"} %" PRIu64 ".%06" PRIu64 "\n", path, method, us / 1000000, us % 1000000);
}

static void put_each_route(tt_server *s, tt_buf *out, void (*put)(tt_buf *out, const tt_entry *e, const char *path, const char *method))
{
    for (size_t i = 0; i < s->entries.len; i++)
        put(out, s->entries.ptr[i], s->entries.ptr[i]->row->path, s->entries.ptr[i]->row->method);
    put(out, &s->unmatched, "none", "any");
}

static void put_value(tt_buf *out, const char *family, const char *kind, const char *unit, const char *help, int64_t value)
{
    tt_buf_printf(out, "# TYPE %s %s\n", family, kind);
    if (unit)
        tt_buf_printf(out, "# UNIT %s %s\n", family, unit);
    tt_buf_printf(out, "# HELP %s %s\n%s%s %" PRId64 "\n", family, help, family, strcmp(kind, "counter") == 0 ? "_total" : "", value);
}

void tt_metrics_write(tt_server *s, tt_buf *out)
{
    const tt_server_stats *st = &s->stats;
    tt_buf_cstr_put(out, "# TYPE tutti_build info\n# HELP tutti_build The running version.\ntutti_build_info{version=\"" TT_VERSION "\"} 1\n");
    put_value(out, "tutti_uptime_seconds", "gauge", "seconds", "Since the server started.", (tt_mono_ms() - s->started_ms) / 1000);
    tt_buf_cstr_put(out, "# TYPE tutti_http_requests counter\n# HELP tutti_http_requests Requests by route, method and status (0: not answered).\n");
    put_each_route(s, out, put_requests);
    tt_buf_cstr_put(out, "# TYPE tutti_http_request_duration_seconds histogram\n# UNIT tutti_http_request_duration_seconds seconds\n"
                         "# HELP tutti_http_request_duration_seconds From the first byte to the end of the answer.\n");
    put_each_route(s, out, put_latency);
    put_value(out, "tutti_http_connections", "gauge", NULL, "Open connections.", st->connections);
    put_value(out, "tutti_http_connections_accepted", "counter", NULL, "Connections since the start.", (int64_t)st->connections_total);
    put_value(out, "tutti_http_requests_running", "gauge", NULL, "Requests under way.", st->requests_running);
    put_value(out, "tutti_http_request_body_bytes", "counter", "bytes", "Body bytes received.", (int64_t)st->request_body_bytes);
    put_value(out, "tutti_http_response_body_bytes", "counter", "bytes", "Body bytes of answers.", (int64_t)st->response_body_bytes);
    put_value(out, "tutti_http_unknown_parameters", "counter", NULL, "Query parameters that no route knows.", (int64_t)st->unknown_parameters);
    put_value(out, "tutti_http_body_memory_bytes", "gauge", "bytes", "Memory held by request bodies.", (int64_t)s->body_memory_bytes);
    put_value(out, "tutti_http_body_spool_bytes", "gauge", "bytes", "Disk held by request bodies.", (int64_t)s->spool_bytes);
    for (size_t i = 0; i < s->metrics.len; i++)
        s->metrics.ptr[i].write(s->metrics.ptr[i].arg, out);
    tt_buf_cstr_put(out, "# EOF\n");
}

void tt_metrics_handle(tt_req *req)
{
    tt_buf out = {0};
    tt_metrics_write(req->server, &out);
    tt_req_answer(req, 200, "application/openmetrics-text; version=1.0.0; charset=utf-8", &out);
}
