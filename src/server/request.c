/* A request from its first line to its end, over libmicrohttpd. The essay on its states is in inside.h. */
#include "server/request.h"

#include <inttypes.h>
#include <poll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/inside.h"

/* ---- making and ending ---- */

static bool sane_id(tt_str id)
{
    for (size_t i = 0; i < id.len; i++)
        if (!isalnum((unsigned char)id.ptr[i]) && !memchr("-_.:", id.ptr[i], 4))
            return false;
    return id.len > 0 && id.len < TT_REQUEST_ID_TEXT;
}

static void make_id(tt_server *s, char out[TT_REQUEST_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    /* an odd factor: every count gives another id until 2^64 requests */
    uint64_t id = (atomic_fetch_add_explicit(&s->next_id, 1, memory_order_relaxed) * 0x9E3779B97F4A7C15u) ^ s->id_salt;
    for (int i = 0; i < 16; i++)
        out[i] = digits[id >> (60 - 4 * i) & 15];
    out[16] = 0;
}

tt_req *tt_req_new(tt_server *s, tt_str target)
{
    tt_req *req = tt_calloc(1, sizeof *req);
    if (!req)
        return NULL;
    req->server = s;
    req->refs = 1;
    req->fd = -1;
    req->started_us = tt_mono_us();
    tt_body_init(&req->body, 0, 0);
    make_id(s, req->id);
    char *own = tt_arena_dup(&req->arena, target);
    if (!own) {
        free(req);
        return NULL;
    }
    tt_str rest = {own, target.len};
    if (tt_str_starts(rest, TT_STR("http://"))) { /* absolute form, as sent to proxies */
        rest = tt_str_slice(rest, 7, rest.len);
        ptrdiff_t slash = tt_str_find(rest, '/');
        rest = slash < 0 ? TT_STR("/") : tt_str_slice(rest, (size_t)slash, rest.len);
    }
    if (!tt_str_cut(&rest, '?', &req->path))
        req->path = TT_STR("");
    req->query = rest;
    atomic_fetch_add_explicit(&s->stats.requests_running, 1, memory_order_relaxed);
    return req;
}

void tt_req_unref(tt_req *req)
{
    tt_server *s = req->server;
    if (atomic_fetch_sub(&req->refs, 1) != 1)
        return;
    bool was_cut = req->state == TT_REQ_CUT;
    if (req->response)
        tt_mhd.MHD_destroy_response(req->response);
    json_decref(req->json);
    tt_body_discard(s, &req->body);
    tt_vec_deinit(&req->headers);
    tt_vec_deinit(&req->query_pairs);
    tt_arena_deinit(&req->arena);
    free(req);
    if (was_cut)
        tt_server_unref(s);
}

/* ---- admission and the handler ---- */

static bool check_draining(tt_req *req)
{
    bool reading = tt_str_is(req->method, "GET") || tt_str_is(req->method, "HEAD");
    if (!atomic_load_explicit(&req->server->draining, memory_order_relaxed) || (reading && !req->entry->row->changes_state))
        return true;
    tt_req_problem(req, TT_UNAVAILABLE, "the server is going down: try again in a moment", NULL);
    return false;
}

static void refuse_size(tt_req *req, uint64_t size)
{
    if (tt_req_dialect(req) == TT_DIALECT_PLANCHET)
        tt_req_errorf(req, TT_TOO_LARGE, "In-memory payload must be less than %" PRIu64 "; the current size is %" PRIu64 ".", req->body.limit_bytes, size);
    else
        tt_req_errorf(req, TT_TOO_LARGE, "the body has %" PRIu64 " bytes, %" PRIu64 " are allowed here: send less at a time", size, req->body.limit_bytes);
}

bool tt_req_admit(tt_req *req)
{
    tt_err err = {0};
    if (tt_params_split(&req->arena, req->query, &req->query_pairs, &err) != TT_OK) {
        tt_req_error(req, err.code, &err);
        return false;
    }
    /* The route first, because access is a matter of the matched route; but an unknown path is told only to those who pass Host and Origin. */
    tt_path *path = tt_router_find(req);
    if (!tt_access_check(req))
        return false;
    if (!req->entry) {
        if (!tt_cors_answer_preflight(req) && (path || !tt_static_answer(req)))
            tt_router_refuse(req, path);
        return false;
    }
    if (!check_draining(req))
        return false;
    req->body.limit_bytes = req->entry->row->body_limit_bytes ? req->entry->row->body_limit_bytes : atomic_load(&req->server->body_limit_bytes);
    req->body.discard = req->entry->row->body == TT_BODY_NONE || req->entry->row->body == TT_BODY_IGNORED;
    if (req->body.declared_bytes == UINT64_MAX || req->body.declared_bytes <= req->body.limit_bytes)
        return true;
    refuse_size(req, req->body.declared_bytes);
    return false;
}

static bool check_body_size(tt_req *req)
{
    if (req->body.size_bytes > req->body.limit_bytes) {
        refuse_size(req, req->body.size_bytes);
        return false;
    }
    if (req->entry->row->body == TT_BODY_NONE && req->body.size_bytes && tt_req_dialect(req) == TT_DIALECT_V1) {
        tt_req_problem(req, TT_INVALID, "this route takes no body: leave it out", NULL);
        return false;
    }
    return true;
}

void tt_req_run(tt_req *req)
{
    tt_err err = {0};
    if (!check_body_size(req))
        return;
    if (!req->local && tt_body_seal(req->server, &req->body, &err) != TT_OK) {
        tt_req_error(req, err.code, &err);
        return;
    }
    if (tt_params_check(req))
        req->entry->row->handler(req);
}

/* ---- libmicrohttpd ---- */

static enum MHD_Result copy_header(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len, const char *value, size_t value_len)
{
    tt_req *req = cls;
    char *own = tt_arena_alloc(&req->arena, name_len + value_len + 1);
    if (!own)
        return MHD_NO;
    memcpy(own, name, name_len);
    memcpy(own + name_len, value ? value : "", value ? value_len : 0);
    tt_pair_text pair = {{own, name_len}, {own + name_len, value_len}};
    return tt_vec_push(&req->headers, pair) ? MHD_YES : MHD_NO;
}

void *tt_http_uri(void *cls, const char *uri, struct MHD_Connection *conn)
{
    tt_server *s = cls;
    tt_req *req = tt_req_new(s, tt_str_of(uri));
    if (req)
        atomic_fetch_add(&s->stats.requests_arriving, 1);
    return req;
}

/* To be called before the stage moves on. */
static void note_arrival(tt_req *req)
{
    if (req->stage == TT_STAGE_NEW || req->stage == TT_STAGE_BODY)
        atomic_fetch_sub(&req->server->stats.requests_arriving, 1);
}

static void read_declared_size(tt_req *req)
{
    tt_str length = tt_req_header(req, "Content-Length");
    uint64_t declared = 0;
    if (tt_req_header(req, "Transfer-Encoding").ptr || (length.ptr && tt_parse_u64(tt_str_trim(length), &declared, NULL) != TT_OK))
        declared = UINT64_MAX;
    tt_body_init(&req->body, declared, atomic_load(&req->server->body_limit_bytes));
}

static void read_head(tt_req *req, struct MHD_Connection *conn, const char *method, const char *version)
{
    tt_connection *c = tt_connection_of(conn);
    req->conn = conn;
    if (c) {
        req->peer = c->peer;
        req->fd = c->fd;
        atomic_store_explicit(&c->head_since_ms, 0, memory_order_relaxed);
    }
    char *own = tt_arena_dup(&req->arena, tt_str_of(method));
    req->method = own ? tt_str_of(own) : TT_STR("?");
    req->http10 = strcmp(version, "HTTP/1.0") == 0;
    tt_mhd.MHD_get_connection_values_n(conn, MHD_HEADER_KIND, copy_header, req);
    tt_str id = tt_req_header(req, "X-Request-Id");
    if (sane_id(id)) {
        memcpy(req->id, id.ptr, id.len);
        req->id[id.len] = 0;
    }
    read_declared_size(req);
}

/* A refusal is worth reading the body for when that is short: the connection can then be kept. */
static bool refuse_before_body(const tt_req *req)
{
    enum { READ_ANYWAY_BYTES = 256 * 1024 };
    if (req->body.declared_bytes == UINT64_MAX || req->body.declared_bytes == 0)
        return false; /* chunked ones are read up to a bound */
    return req->body.declared_bytes > READ_ANYWAY_BYTES || tt_req_header(req, "Expect").ptr;
}

static enum MHD_Result queue(tt_req *req)
{
    note_arrival(req);
    req->stage = TT_STAGE_QUEUED;
    return req->response ? tt_mhd.MHD_queue_response(req->conn, (unsigned)req->status, req->response) : MHD_NO;
}

static enum MHD_Result queue_cut(tt_req *req)
{
    static const char text[] = "the server is going down\n";
    struct MHD_Response *gone = tt_mhd.MHD_create_response_from_buffer(sizeof text - 1, (void *)(uintptr_t)text, MHD_RESPMEM_PERSISTENT);
    req->stage = TT_STAGE_QUEUED;
    if (!gone)
        return MHD_NO;
    tt_req_add_fixed_headers(req, gone, "text/plain; charset=utf-8"); /* only those: the rest is still the handler's */
    tt_mhd.MHD_add_response_header(gone, "Retry-After", "1");
    enum MHD_Result result = tt_mhd.MHD_queue_response(req->conn, 503, gone);
    tt_mhd.MHD_destroy_response(gone);
    return result;
}

static void link_suspended(tt_server *s, tt_req *req)
{
    req->prev = NULL;
    req->next = s->suspended;
    if (req->next)
        req->next->prev = req;
    s->suspended = req;
}

void tt_req_unlink(tt_req *req)
{
    if (req->prev)
        req->prev->next = req->next;
    else
        req->server->suspended = req->next;
    if (req->next)
        req->next->prev = req->prev;
}

bool tt_req_cut(tt_req *req, int from)
{
    atomic_fetch_add(&req->refs, 1);
    atomic_fetch_add(&req->server->refs, 1);
    if (atomic_compare_exchange_strong(&req->state, &from, TT_REQ_CUT))
        return true;
    atomic_fetch_sub(&req->refs, 1);
    atomic_fetch_sub(&req->server->refs, 1);
    return false;
}

/* Let the connection sleep until the answer comes. False: there is something to deliver already. */
static bool hold(tt_req *req)
{
    tt_server *s = req->server;
    int before = TT_REQ_RUNNING;
    pthread_mutex_lock(&s->live_lock);
    bool stopping = s->stopping;
    if (stopping) {
        tt_req_cut(req, before);
    } else {
        tt_mhd.MHD_suspend_connection(req->conn);
        if (atomic_compare_exchange_strong(&req->state, &before, TT_REQ_SUSPENDED))
            link_suspended(s, req);
        else
            tt_mhd.MHD_resume_connection(req->conn); /* answered meanwhile: we are called again */
    }
    pthread_mutex_unlock(&s->live_lock);
    return !stopping;
}

/* The handler has returned or the connection was woken. */
static enum MHD_Result deliver(tt_req *req)
{
    switch (atomic_load(&req->state)) {
    case TT_REQ_ANSWERED: return queue(req);
    case TT_REQ_CUT: return queue_cut(req);
    default: break;
    }
    return hold(req) ? MHD_YES : deliver(req);
}

static enum MHD_Result take_upload(tt_req *req, const char *upload, size_t *upload_len)
{
    enum { SLOWEST_BYTES_PER_MS = 1, DISCARD_FACTOR = 4 };
    tt_server *s = req->server;
    tt_err err = {0};
    size_t len = *upload_len;
    *upload_len = 0;
    int64_t patience_ms = (int64_t)s->options.idle_timeout_s * 1000 + (int64_t)(req->body.size_bytes / SLOWEST_BYTES_PER_MS);
    if (tt_mono_us() - req->started_us > patience_ms * 1000)
        return MHD_NO; /* a body that drips for ever holds the connection for ever */
    if (req->body.size_bytes > (req->body.limit_bytes + (1u << 20)) * DISCARD_FACTOR)
        return MHD_NO; /* chunked without end */
    atomic_fetch_add_explicit(&s->stats.request_body_bytes, len, memory_order_relaxed);
    if (tt_body_add(s, &req->body, upload, len, &err) == TT_OK)
        return MHD_YES;
    tt_body_discard(s, &req->body);
    tt_req_error(req, err.code, &err);
    return MHD_YES;
}

enum MHD_Result tt_http_access(void *cls, struct MHD_Connection *conn, const char *url, const char *method, const char *version,
                               const char *upload, size_t *upload_len, void **con_cls)
{
    tt_req *req = *con_cls;
    if (!req)
        return MHD_NO;
    if (req->stage == TT_STAGE_NEW) {
        req->stage = TT_STAGE_BODY;
        read_head(req, conn, method, version);
        if (tt_req_admit(req))
            return MHD_YES;
        req->body.discard = true;
        req->linger = refuse_before_body(req);
        return req->linger ? queue(req) : MHD_YES;
    }
    if (*upload_len)
        return take_upload(req, upload, upload_len);
    if (req->stage == TT_STAGE_BODY) {
        note_arrival(req);
        req->stage = TT_STAGE_HANDLED;
        if (atomic_load(&req->state) == TT_REQ_RUNNING)
            tt_req_run(req);
    }
    return deliver(req);
}

static void log_access(const tt_req *req, int64_t elapsed_us)
{
    tt_str job = {0};
    for (unsigned i = 0; req->entry && i < req->entry->segment_count && !job.ptr; i++)
        if (req->entry->is_brace[i] && tt_str_is(req->entry->segments[i], "name"))
            job = req->path_values[i];
    for (size_t i = 0; i < req->query_pairs.len; i++)
        if (tt_str_is(req->query_pairs.ptr[i].name, "job_name"))
            job = req->query_pairs.ptr[i].value;
    tt_log_field fields[] = {
        TT_F_STR("method", req->method),    TT_F_STR("path", tt_str_slice(req->path, 0, 512)), TT_F_INT("status", req->status),
        TT_F_INT("ms", elapsed_us / 1000),  TT_F_INT("bytes", req->answer_bytes),              TT_F_CSTR("peer", req->peer.text),
        TT_F_CSTR("request_id", req->id),   TT_F_STR("job", tt_str_slice(job, 0, 128)),
    };
    if (tt_log_get_level() >= TT_LOG_INFO)
        tt_log_write(TT_LOG_INFO, "request", fields, TT_COUNT(fields) - !job.ptr);
}

void tt_http_completed(void *cls, struct MHD_Connection *conn, void **con_cls, enum MHD_RequestTerminationCode why)
{
    tt_server *s = cls;
    tt_req *req = *con_cls;
    *con_cls = NULL;
    if (!req)
        return;
    int64_t elapsed_us = tt_mono_us() - req->started_us;
    tt_connection *c = tt_connection_of(conn);
    if (c)
        atomic_store_explicit(&c->head_since_ms, tt_mono_ms(), memory_order_relaxed);
    note_arrival(req);
    if (req->linger)
        tt_linger_add(s->linger, tt_mhd.MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd);
    if (req->stage != TT_STAGE_QUEUED)
        req->status = 0; /* the client went away, or was too slow */
    if (req->state == TT_REQ_CUT)
        req->status = 503;
    tt_metrics_count(req, elapsed_us);
    if (atomic_load_explicit(&s->access_log, memory_order_relaxed) && !(req->entry && req->entry->row->quiet && req->status == 200))
        log_access(req, elapsed_us);
    tt_req_unref(req);
    atomic_fetch_sub(&s->stats.requests_running, 1);
}

/* ---- what handlers ask ---- */

struct tt_server *tt_req_server(const tt_req *req) { return req->server; }
void *tt_req_context(const tt_req *req) { return req->entry->context; }
const tt_route *tt_req_route(const tt_req *req) { return req->entry->row; }
tt_arena *tt_req_arena(tt_req *req) { return &req->arena; }
tt_str tt_req_id(const tt_req *req) { return tt_str_of(req->id); }
tt_str tt_req_peer(const tt_req *req) { return tt_str_of(req->peer.text); }
tt_str tt_req_body(const tt_req *req) { return req->body.view; }
tt_scope tt_req_scope(const tt_req *req) { return req->scope; }
tt_str tt_req_token(const tt_req *req) { return req->token; }

bool tt_req_is_gone(const tt_req *req)
{
    struct pollfd p = {.fd = req->fd, .events = POLLRDHUP};
    return req->fd >= 0 && poll(&p, 1, 0) > 0;
}

tt_str tt_req_header(const tt_req *req, const char *name)
{
    tt_str wanted = tt_str_of(name);
    for (size_t i = 0; i < req->headers.len; i++)
        if (tt_str_eq_nocase(req->headers.ptr[i].name, wanted))
            return req->headers.ptr[i].value;
    return (tt_str){0};
}

static const tt_value *value_of(const tt_req *req, const char *name)
{
    for (unsigned i = 0; i < req->entry->param_count; i++)
        if (strcmp(req->entry->row->params[i].name, name) == 0)
            return &req->values[i];
    return NULL;
}

tt_str tt_req_str(const tt_req *req, const char *name)
{
    const tt_value *value = value_of(req, name);
    if (value)
        return value->text;
    for (unsigned i = 0; i < req->entry->segment_count; i++)
        if (req->entry->is_brace[i] && tt_str_is(req->entry->segments[i], name))
            return req->path_values[i];
    bool declared = false;
    tt_assert(declared);
    return (tt_str){0};
}

bool tt_req_has(const tt_req *req, const char *name)
{
    const tt_value *value = value_of(req, name);
    return value ? value->given : tt_req_str(req, name).ptr != NULL;
}

int64_t tt_req_int(const tt_req *req, const char *name)
{
    const tt_value *value = value_of(req, name);
    tt_assert(value);
    return value->num;
}

bool tt_req_bool(const tt_req *req, const char *name) { return tt_req_int(req, name) != 0; }

typedef struct {
    tt_req *req;
    void (*fn)(tt_req *req);
} pool_call;

static void run_pool_call(void *arg)
{
    pool_call call = *(pool_call *)arg;
    free(arg);
    call.fn(call.req);
}

void tt_req_on_pool(tt_req *req, tt_pool *pool, void (*fn)(tt_req *req))
{
    pool_call *call = TT_NEW(pool_call);
    *call = (pool_call){req, fn};
    tt_pool_run(pool, run_pool_call, call);
}

tt_rc tt_req_json(tt_req *req, json_t **ret, tt_err *err)
{
    enum { LARGEST_TREE_TEXT = 8 * 1024 * 1024 }; /* a tree takes up to sixteen times its text */
    json_error_t where;
    tt_str body = tt_req_body(req);
    if (body.len > LARGEST_TREE_TEXT)
        return tt_fail(err, TT_TOO_LARGE, "the body has %zu bytes, %d are allowed here: send less at a time", body.len, LARGEST_TREE_TEXT);
    bool older = tt_req_dialect(req) == TT_DIALECT_PLANCHET;
    if (!req->json && !tt_body_is_blank(body)) {
        if (tt_str_starts(body, TT_STR("\xEF\xBB\xBF")))
            body = tt_str_slice(body, 3, body.len);
        req->json = json_loadb(body.ptr, body.len, older ? JSON_DECODE_ANY : 0, &where);
        if (!req->json && older)
            return tt_fail(err, TT_INVALID, "There was an error parsing the body");
        if (!req->json)
            return tt_fail(err, TT_INVALID, "the body is not a JSON object or array: line %d, column %d: %s", where.line, where.column, where.text);
    }
    *ret = req->json;
    return TT_OK;
}
