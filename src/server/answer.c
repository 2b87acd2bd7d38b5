/* Answers: from a handler's bytes to a response that libmicrohttpd sends, and who wakes whom (see inside.h). Any thread. */
#include "base/log.h"
#include "server/inside.h"

static void publish_local(tt_req *req)
{
    tt_local *local = req->local;
    pthread_mutex_lock(&local->lock);
    local->done = true;
    pthread_cond_signal(&local->done_cond);
    pthread_mutex_unlock(&local->lock);
}

void tt_req_publish(tt_req *req)
{
    tt_server *s = req->server;
    int before = TT_REQ_RUNNING;
    if (req->local) {
        publish_local(req);
        return;
    }
    if (atomic_compare_exchange_strong(&req->state, &before, TT_REQ_ANSWERED))
        return; /* the HTTP thread is still in the handler */
    if (before == TT_REQ_SUSPENDED && atomic_compare_exchange_strong(&req->state, &before, TT_REQ_ANSWERED)) {
        pthread_mutex_lock(&s->live_lock); /* the server does not stop between these two */
        tt_req_unlink(req);
        tt_mhd.MHD_resume_connection(req->conn);
        pthread_mutex_unlock(&s->live_lock);
        return;
    }
    tt_assert(before == TT_REQ_CUT); /* else it was answered twice */
    tt_req_unref(req);
}

void tt_req_add_fixed_headers(const tt_req *req, struct MHD_Response *response, const char *content_type)
{
    tt_mhd.MHD_add_response_header(response, "Content-Type", content_type);
    tt_mhd.MHD_add_response_header(response, "X-Request-Id", req->id);
    tt_mhd.MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    tt_mhd.MHD_add_response_header(response, "Server", "tutti/" TT_VERSION);
    tt_cors_add_headers(req, response);
}

void tt_req_set_response(tt_req *req, int status, const char *content_type, struct MHD_Response *response)
{
    req->status = status;
    req->response = response;
    if (!response)
        return; /* the connection will be closed */
    tt_req_add_fixed_headers(req, response, content_type);
    for (const tt_out_header *h = req->out_headers; h; h = h->next)
        tt_mhd.MHD_add_response_header(response, h->name, h->value);
}

static void answer_local(tt_req *req, int status, const struct iovec *iov, unsigned count)
{
    req->local->status = status;
    for (unsigned i = 0; i < count; i++)
        tt_buf_put(req->local->body, iov[i].iov_base, iov[i].iov_len);
}

/* ptr is freed with free() when owned. */
static void answer_bytes(tt_req *req, int status, const char *content_type, char *ptr, size_t len, bool owned)
{
    req->answer_bytes = len;
    if (req->local) {
        answer_local(req, status, &(struct iovec){ptr, len}, 1);
        if (owned)
            free(ptr);
    } else {
        struct MHD_Response *response = owned ? tt_mhd.MHD_create_response_from_buffer_with_free_callback(len, ptr, free)
                                              : tt_mhd.MHD_create_response_from_buffer(len, ptr, MHD_RESPMEM_PERSISTENT);
        if (!response && owned)
            free(ptr);
        tt_req_set_response(req, status, content_type, response);
    }
    tt_req_publish(req);
}

void tt_req_answer(tt_req *req, int status, const char *content_type, tt_buf *body_taken)
{
    tt_buf body = tt_buf_take(body_taken);
    if (body.failed) {
        tt_buf_deinit(&body);
        tt_req_problem(req, TT_NOMEM, "no memory for the answer", NULL);
        return;
    }
    answer_bytes(req, status, content_type, body.ptr, body.len, true);
}

void tt_req_answer_static(tt_req *req, int status, const char *content_type, tt_str body)
{
    answer_bytes(req, status, content_type, (char *)(uintptr_t)body.ptr, body.len, false);
}

void tt_req_answer_json(tt_req *req, int status, json_t *root)
{
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(root);
    if (!text) {
        tt_req_problem(req, TT_NOMEM, "no memory for the answer", NULL);
        return;
    }
    answer_bytes(req, status, "application/json", text, strlen(text), true);
}

void tt_req_answer_iov(tt_req *req, int status, const char *content_type, const struct iovec *iov, unsigned iov_count, void (*release)(void *arg), void *arg)
{
    struct MHD_IoVec parts[64];
    unsigned count = 0;
    tt_assert(iov_count <= TT_COUNT(parts));
    req->answer_bytes = 0;
    for (unsigned i = 0; i < iov_count; i++) {
        if (iov[i].iov_len)
            parts[count++] = (struct MHD_IoVec){iov[i].iov_base, iov[i].iov_len};
        req->answer_bytes += iov[i].iov_len;
    }
    struct MHD_Response *response = NULL;
    if (!req->local && count)
        response = tt_mhd.MHD_create_response_from_iovec(parts, count, release, arg);
    if (req->local)
        answer_local(req, status, iov, iov_count);
    else
        tt_req_set_response(req, status, content_type, count ? response : tt_mhd.MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
    if (!response)
        release(arg);
    tt_req_publish(req);
}

void tt_req_answer_file(tt_req *req, int status, const char *content_type, int fd_taken, uint64_t size_bytes)
{
    req->answer_bytes = size_bytes;
    if (req->local) {
        req->local->status = status;
        req->local->file = fd_taken;
    } else {
        struct MHD_Response *response = tt_mhd.MHD_create_response_from_fd64(size_bytes, fd_taken);
        if (!response)
            close(fd_taken);
        tt_req_set_response(req, status, content_type, response);
    }
    tt_req_publish(req);
}

void tt_req_add_header(tt_req *req, const char *name, const char *value)
{
    tt_out_header *h = tt_arena_alloc(&req->arena, sizeof *h);
    char *own_name = tt_arena_dup(&req->arena, tt_str_of(name)), *own_value = tt_arena_dup(&req->arena, tt_str_of(value));
    if (!h || !own_name || !own_value)
        return;
    *h = (tt_out_header){req->out_headers, own_name, own_value};
    req->out_headers = h;
}

/* ---- errors, in the shape of the dialect ---- */

tt_dialect tt_req_dialect(const tt_req *req)
{
    if (req->entry)
        return req->entry->row->dialect;
    return tt_str_starts(req->path, TT_STR("/v1/")) ? TT_DIALECT_V1 : TT_DIALECT_PLANCHET;
}

static void put_planchet(tt_buf *out, const tt_req *req, tt_rc rc, const char *detail, const char *hint)
{
    tt_buf_cstr_put(out, "{\"detail\":");
    tt_buf_json_str(out, tt_str_of(detail));
    tt_buf_char(out, '}');
}

static void put_etlas(tt_buf *out, const tt_req *req, tt_rc rc, const char *detail, const char *hint)
{
    json_t *root = json_pack("{s:s,s:s}", "status", "Failed", "message", detail);
    char *text = root ? json_dumps(root, JSON_ENSURE_ASCII) : NULL;
    tt_buf_cstr_put(out, text ? text : "{\"status\": \"Failed\"}");
    free(text);
    json_decref(root);
}

static void put_member(tt_buf *out, const char *name, tt_str value)
{
    tt_buf_printf(out, ",\"%s\":", name);
    tt_buf_json_str(out, value);
}

static void put_v1(tt_buf *out, const tt_req *req, tt_rc rc, const char *detail, const char *hint)
{
    tt_buf_cstr_put(out, "{\"type\":\"about:blank\"");
    put_member(out, "title", tt_str_of(tt_rc_title(rc)));
    tt_buf_printf(out, ",\"status\":%d", tt_rc_http(rc));
    put_member(out, "code", tt_str_of(tt_rc_name(rc)));
    put_member(out, "detail", tt_str_of(detail));
    if (hint)
        put_member(out, "hint", tt_str_of(hint));
    put_member(out, "request_id", tt_req_id(req));
    tt_buf_char(out, '}');
}

static void put_funnel(tt_buf *out, const tt_req *req, tt_rc rc, const char *detail, const char *hint) { tt_buf_printf(out, "Error: %s", detail); }
static void put_plain(tt_buf *out, const tt_req *req, tt_rc rc, const char *detail, const char *hint) { tt_buf_printf(out, "%s\n", detail); }

static const struct {
    void (*put)(tt_buf *out, const tt_req *req, tt_rc rc, const char *detail, const char *hint);
    const char *content_type;
} dialects[] = {
    [TT_DIALECT_PLANCHET] = {put_planchet, "application/json"},
    [TT_DIALECT_ETLAS] = {put_etlas, "application/json"},
    [TT_DIALECT_FUNNEL] = {put_funnel, "text/plain; charset=utf-8"},
    [TT_DIALECT_V1] = {put_v1, "application/problem+json"},
    [TT_DIALECT_PLAIN] = {put_plain, "text/plain; charset=utf-8"},
};

void tt_req_problem(tt_req *req, tt_rc rc, const char *detail, const char *hint)
{
    tt_dialect dialect = tt_req_dialect(req);
    tt_buf body = {0};
    dialects[dialect].put(&body, req, rc, detail && *detail ? detail : tt_rc_title(rc), hint);
    int status = tt_rc_http(rc);
    if (status == 503 || status == 429)
        tt_req_add_header(req, "Retry-After", "1");
    if (body.failed) { /* memory is out: say so without any */
        tt_buf_deinit(&body);
        answer_bytes(req, 503, "text/plain; charset=utf-8", (char *)(uintptr_t) "out of memory\n", 14, false);
        return;
    }
    answer_bytes(req, status, dialects[dialect].content_type, body.ptr, body.len, true);
}

void tt_req_error(tt_req *req, tt_rc rc, const tt_err *err)
{
    const char *detail = err && err->text[0] ? err->text : tt_rc_title(rc);
    if (rc == TT_OK)
        rc = TT_FAILED;
    if (tt_rc_http(rc) >= 500)
        tt_log_error("request failed", TT_F_STR("path", req->path), TT_F_CSTR("code", tt_rc_name(rc)), TT_F_CSTR("detail", detail),
                     TT_F_STR("request_id", tt_req_id(req)), TT_F_CSTR("at", err && err->file ? err->file : ""), TT_F_INT("line", err ? err->line : 0));
    tt_req_problem(req, rc, detail, NULL);
}

void tt_req_errorf(tt_req *req, tt_rc rc, const char *fmt, ...)
{
    tt_err err = {0};
    va_list args;
    va_start(args, fmt);
    tt_err_vset(&err, __FILE__, __LINE__, rc, fmt, args);
    va_end(args);
    tt_req_error(req, rc, &err);
}
