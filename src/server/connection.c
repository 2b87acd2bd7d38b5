/* Open connections: counted, their peers read once, and those ended that never finish a request's head. libmicrohttpd ends a connection that is silent;
 * one that sends a byte now and then would stay for ever. The list is guarded by its lock, under which a listed connection's socket is open. */
#include <sys/socket.h>

#include "base/clock.h"
#include "server/inside.h"

static tt_connection *opened(tt_server *s, struct MHD_Connection *conn)
{
    tt_connection *c = tt_calloc(1, sizeof *c);
    if (!c)
        return NULL;
    c->fd = tt_mhd.MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
    c->head_since_ms = tt_mono_ms();
    tt_peer_read(s, c->fd, tt_mhd.MHD_get_connection_info(conn, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr, &c->peer);
    pthread_mutex_lock(&s->connections_lock);
    c->next = s->connections;
    if (c->next)
        c->next->prev = c;
    s->connections = c;
    pthread_mutex_unlock(&s->connections_lock);
    return c;
}

static void closed(tt_server *s, tt_connection *c)
{
    if (!c)
        return;
    pthread_mutex_lock(&s->connections_lock);
    if (c->prev)
        c->prev->next = c->next;
    else
        s->connections = c->next;
    if (c->next)
        c->next->prev = c->prev;
    pthread_mutex_unlock(&s->connections_lock);
    free(c);
}

void tt_connection_notify(void *cls, struct MHD_Connection *conn, void **socket_context, enum MHD_ConnectionNotificationCode code)
{
    tt_server *s = cls;
    bool start = code == MHD_CONNECTION_NOTIFY_STARTED;
    if (start)
        *socket_context = opened(s, conn);
    else
        closed(s, *socket_context);
    atomic_fetch_add_explicit(&s->stats.connections, start ? 1 : -1, memory_order_relaxed);
    atomic_fetch_add_explicit(&s->stats.connections_total, start, memory_order_relaxed);
}

tt_connection *tt_connection_of(struct MHD_Connection *conn)
{
    const union MHD_ConnectionInfo *info = tt_mhd.MHD_get_connection_info(conn, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info ? info->socket_context : NULL;
}

void tt_connections_end_drips(tt_server *s)
{
    enum { PATIENCE = 2 }; /* idle times for one head */
    int64_t oldest_ms = tt_mono_ms() - (int64_t)s->options.idle_timeout_s * 1000 * PATIENCE;
    pthread_mutex_lock(&s->connections_lock);
    for (tt_connection *c = s->connections; c; c = c->next) {
        int64_t since_ms = atomic_load_explicit(&c->head_since_ms, memory_order_relaxed);
        if (since_ms && since_ms < oldest_ms)
            shutdown(c->fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&s->connections_lock);
}
