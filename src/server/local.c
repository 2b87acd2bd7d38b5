/* Calls of a route inside this process: same table, same checks, scope admin; the caller's thread waits for the answer. */
#include "io/fd.h"
#include "server/inside.h"

static void release(tt_req *req)
{
    tt_server *s = req->server;
    req->body.view = (tt_str){0}; /* the caller's */
    tt_req_unref(req);
    atomic_fetch_sub(&s->stats.requests_running, 1);
}

/* An answer that is a file, for who wants bytes. */
static tt_rc read_file(int fd, tt_buf *out, tt_err *err)
{
    enum { STEP = 64 << 10 };
    for (uint64_t at = 0;;) {
        size_t got = 0;
        if (!tt_buf_reserve(out, STEP))
            return tt_buf_check(out, err);
        int why = tt_fd_read_at(fd, at, out->ptr + out->len, STEP, &got);
        if (why)
            return tt_fail_errno(err, why, "cannot read the answer");
        out->len += got;
        at += got;
        if (got < STEP)
            return TT_OK;
    }
}

tt_rc tt_server_local_call(tt_server *s, const char *method, const char *target, tt_str body, int *ret_status, tt_buf *ret_body, int *ret_file, tt_err *err)
{
    TT_TRY(tt_server_compile(s, err));
    tt_local local = {.lock = PTHREAD_MUTEX_INITIALIZER, .done_cond = PTHREAD_COND_INITIALIZER, .body = ret_body, .file = -1};
    tt_req *req = tt_req_new(s, tt_str_of(target));
    if (!req)
        return tt_fail(err, TT_NOMEM, "no memory for the call of %s", target);
    req->local = &local;
    req->peer = (tt_peer){.kind = TT_PEER_LOCAL, .text = "local"};
    req->method = tt_str_of(method);
    tt_body_init(&req->body, body.len, 0);
    if (tt_req_admit(req)) {
        req->body.size_bytes = body.len;
        req->body.view = req->body.discard ? (tt_str){0} : body;
        tt_req_run(req);
    }
    pthread_mutex_lock(&local.lock);
    while (!local.done)
        pthread_cond_wait(&local.done_cond, &local.lock);
    pthread_mutex_unlock(&local.lock);
    pthread_mutex_destroy(&local.lock);
    pthread_cond_destroy(&local.done_cond);
    release(req);
    *ret_status = local.status;
    TT_FD_AUTO int file = local.file;
    if (file >= 0 && ret_file)
        *ret_file = tt_fd_take(&file);
    else if (file >= 0)
        TT_TRY(read_file(file, ret_body, err));
    return tt_buf_check(ret_body, err);
}
