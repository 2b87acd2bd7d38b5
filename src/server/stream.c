/* Streams: chunks queued by any thread, drained by the HTTP thread through libmicrohttpd's reader callback. While nothing is queued the connection sleeps.
 * Two owners: the producer (until tt_stream_end) and the response (until libmicrohttpd frees it, which also says that the client is gone). */
#include <poll.h>
#include <sys/socket.h>

#include "server/inside.h"

struct tt_stream {
    tt_server *server;
    struct MHD_Connection *conn; /* NULL: local */
    tt_req *local_req;
    pthread_mutex_t lock;        /* guards what follows */
    tt_buf queued;
    size_t sent;                 /* of queued */
    bool ended, gone, asleep;
    unsigned refs;
    uint64_t total_bytes;
    tt_stream *prev, *next;      /* in server->streams, under live_lock */
};

static void unref_locked(tt_stream *st)
{
    bool last = --st->refs == 0;
    pthread_mutex_unlock(&st->lock);
    if (!last)
        return;
    tt_buf_deinit(&st->queued);
    pthread_mutex_destroy(&st->lock);
    free(st);
}

static void wake_locked(tt_stream *st)
{
    if (!st->asleep)
        return;
    st->asleep = false;
    tt_mhd.MHD_resume_connection(st->conn);
}

/* libmicrohttpd wants bytes. */
static ssize_t read_queued(void *cls, uint64_t pos, char *out, size_t max)
{
    tt_stream *st = cls;
    ssize_t result = 0;
    pthread_mutex_lock(&st->lock);
    size_t left = st->queued.len - st->sent;
    if (st->gone) {
        result = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (left) {
        size_t n = left < max ? left : max;
        memcpy(out, st->queued.ptr + st->sent, n);
        st->sent += n;
        st->total_bytes += n;
        if (st->sent == st->queued.len) {
            tt_buf_clear(&st->queued);
            st->sent = 0;
        }
        result = (ssize_t)n;
    } else if (st->ended) {
        result = MHD_CONTENT_READER_END_OF_STREAM;
    } else {
        st->asleep = true;
        tt_mhd.MHD_suspend_connection(st->conn);
    }
    pthread_mutex_unlock(&st->lock);
    return result;
}

static void response_freed(void *cls)
{
    tt_stream *st = cls;
    tt_server *s = st->server;
    pthread_mutex_lock(&s->live_lock);
    if (st->prev)
        st->prev->next = st->next;
    else
        s->streams = st->next;
    if (st->next)
        st->next->prev = st->prev;
    pthread_mutex_unlock(&s->live_lock);
    pthread_mutex_lock(&st->lock);
    st->gone = true;
    atomic_fetch_add_explicit(&s->stats.response_body_bytes, st->total_bytes, memory_order_relaxed);
    unref_locked(st);
}

static void link_stream(tt_server *s, tt_stream *st)
{
    pthread_mutex_lock(&s->live_lock);
    st->next = s->streams;
    if (st->next)
        st->next->prev = st;
    s->streams = st;
    st->ended = s->stopping || atomic_load(&s->draining);
    pthread_mutex_unlock(&s->live_lock);
}

tt_stream *tt_req_stream(tt_req *req, int status, const char *content_type)
{
    enum { BLOCK_BYTES = 16 * 1024 };
    tt_stream *st = TT_NEW(tt_stream);
    pthread_mutex_init(&st->lock, NULL);
    st->server = req->server;
    st->conn = req->conn;
    st->refs = 1;
    if (req->local) {
        st->local_req = req;
        req->local->status = status;
        return st;
    }
    struct MHD_Response *response = tt_mhd.MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_queued, st, response_freed);
    st->gone = response == NULL;
    if (response) {
        st->refs = 2;
        link_stream(req->server, st);
        tt_req_add_header(req, "Cache-Control", "no-store");
    }
    tt_req_set_response(req, status, content_type, response);
    tt_req_publish(req);
    return st;
}

/* Too far behind: nothing that is still queued is worth sending. The socket is open as long as the response lives. */
static void give_up_locked(tt_stream *st)
{
    st->gone = true;
    tt_buf_deinit(&st->queued);
    st->sent = 0;
    const union MHD_ConnectionInfo *info = tt_mhd.MHD_get_connection_info(st->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (info)
        shutdown(info->connect_fd, SHUT_RDWR);
    wake_locked(st);
}

bool tt_stream_write(tt_stream *st, tt_str bytes)
{
    if (st->local_req)
        return tt_buf_str(st->local_req->local->body, bytes), true;
    pthread_mutex_lock(&st->lock);
    if (!st->gone && !st->ended && bytes.len) {
        if (st->sent && st->sent >= st->queued.len / 2) { /* moves at most as much as was sent */
            memmove(st->queued.ptr, st->queued.ptr + st->sent, st->queued.len - st->sent);
            st->queued.len -= st->sent;
            st->sent = 0;
        }
        tt_buf_str(&st->queued, bytes);
        if (st->queued.failed || st->queued.len - st->sent > TT_STREAM_BEHIND_BYTES)
            give_up_locked(st);
        else
            wake_locked(st);
    }
    bool alive = !st->gone && !st->ended;
    pthread_mutex_unlock(&st->lock);
    return alive;
}

bool tt_stream_is_gone(tt_stream *st)
{
    if (st->local_req)
        return false;
    pthread_mutex_lock(&st->lock);
    bool gone = st->gone || st->ended;
    const union MHD_ConnectionInfo *info = gone ? NULL : tt_mhd.MHD_get_connection_info(st->conn, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct pollfd p = {.fd = info ? info->connect_fd : -1, .events = POLLRDHUP};
    gone = gone || (info && poll(&p, 1, 0) > 0);
    pthread_mutex_unlock(&st->lock);
    return gone;
}

void tt_stream_end(tt_stream *st)
{
    tt_req *local_req = st->local_req;
    pthread_mutex_lock(&st->lock);
    st->ended = true;
    if (!st->gone && st->conn)
        wake_locked(st);
    unref_locked(st);
    if (local_req)
        tt_req_publish(local_req);
}

void tt_stream_cut(tt_stream *st)
{
    pthread_mutex_lock(&st->lock);
    st->ended = true;
    wake_locked(st);
    pthread_mutex_unlock(&st->lock);
}

tt_stream *tt_stream_next(const tt_stream *st) { return st->next; }
