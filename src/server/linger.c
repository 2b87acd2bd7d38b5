/* Lingering close. A client that is refused before its body was read may still be sending; closing at once would reset the connection and
 * it would never see the answer. So a duplicate of its socket is kept here, read and thrown away for a short while. One thread, bounded; it also is
 * the one that looks for connections that drip. */
#include "server/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"

enum { MAX_LINGERING = 64, LINGER_MS = 10000, QUIET_MS = 2000 };

typedef struct {
    int fd;
    int64_t end_ms, quiet_ms; /* give up at, and when nothing came until */
} lingering;

struct tt_linger {
    tt_server *server;
    pthread_t thread;
    int wake_fd;
    pthread_mutex_t lock; /* guards the rest */
    lingering list[MAX_LINGERING];
    size_t count;
    bool stop;
};

/* True: the client is through. */
static bool swallow(lingering *l, int64_t now_ms)
{
    static char waste[64 * 1024]; /* one thread, never read */
    for (int rounds = 0; rounds < 16; rounds++) {
        ssize_t n = recv(l->fd, waste, sizeof waste, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
            return true;
        if (n < 0)
            break;
        l->quiet_ms = now_ms + QUIET_MS;
    }
    return now_ms >= l->end_ms || now_ms >= l->quiet_ms;
}

static void sweep(tt_linger *l)
{
    int64_t now_ms = tt_mono_ms();
    for (size_t i = 0; i < l->count;) {
        if (!l->stop && !swallow(&l->list[i], now_ms)) {
            i++;
            continue;
        }
        close(l->list[i].fd);
        l->list[i] = l->list[--l->count];
    }
}

static void *run(void *arg)
{
    tt_linger *l = arg;
    struct pollfd fds[MAX_LINGERING + 1];
    for (;;) {
        pthread_mutex_lock(&l->lock);
        sweep(l);
        nfds_t n = 1;
        fds[0] = (struct pollfd){.fd = l->wake_fd, .events = POLLIN};
        for (size_t i = 0; i < l->count; i++)
            fds[n++] = (struct pollfd){.fd = l->list[i].fd, .events = POLLIN};
        bool stop = l->stop;
        pthread_mutex_unlock(&l->lock);
        if (stop)
            return NULL;
        tt_connections_end_drips(l->server);
        poll(fds, n, n > 1 ? 250 : 1000);
        uint64_t ticks;
        if ((fds[0].revents & POLLIN) && read(l->wake_fd, &ticks, sizeof ticks) < 0)
            continue;
    }
}

static void wake(tt_linger *l)
{
    uint64_t one = 1;
    if (write(l->wake_fd, &one, sizeof one) < 0)
        return; /* the counter is full: it is awake */
}

tt_rc tt_linger_new(tt_server *s, tt_linger **ret, tt_err *err)
{
    tt_linger *l = TT_NEW(tt_linger);
    l->server = s;
    pthread_mutex_init(&l->lock, NULL);
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failed = l->wake_fd < 0 ? errno : pthread_create(&l->thread, NULL, run, l);
    if (failed) {
        if (l->wake_fd >= 0)
            close(l->wake_fd);
        free(l);
        return tt_fail_errno(err, failed, "cannot start the server's closing thread");
    }
    *ret = l;
    return TT_OK;
}

void tt_linger_free(tt_linger *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_mutex_unlock(&l->lock);
    wake(l);
    pthread_join(l->thread, NULL);
    close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

void tt_linger_add(tt_linger *l, int fd)
{
    int64_t now_ms = tt_mono_ms();
    pthread_mutex_lock(&l->lock);
    int copy = l->count < MAX_LINGERING && !l->stop ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
    if (copy >= 0) {
        shutdown(copy, SHUT_WR);
        l->list[l->count++] = (lingering){copy, now_ms + LINGER_MS, now_ms + QUIET_MS};
    }
    pthread_mutex_unlock(&l->lock);
    wake(l);
}
