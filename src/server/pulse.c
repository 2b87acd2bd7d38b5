#include "server/pulse.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

static void close_question(tt_pulse *p)
{
    if (p->fd >= 0)
        close(p->fd);
    p->fd = -1;
}

void tt_pulse_begin(tt_pulse *p)
{
    close_question(p);
    p->misses = 0;
    p->next_ms = p->answered_ms = tt_mono_ms();
}

void tt_pulse_end(tt_pulse *p)
{
    close_question(p);
    p->next_ms = 0;
}

/* A socket on which the question is under way, -1: nobody takes it now. */
static int ask(const char *socket_path)
{
    static const char question[] = "GET /v1/pulse HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(socket_path) >= sizeof address.sun_path)
        return -1;
    memcpy(address.sun_path, socket_path, strlen(socket_path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (const struct sockaddr *)&address, sizeof address) != 0 || send(fd, question, sizeof question - 1, MSG_NOSIGNAL) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

void tt_pulse_beat(tt_pulse *p, const char *socket_path, int64_t interval_ms)
{
    if (p->fd >= 0)
        p->misses++;
    close_question(p);
    p->fd = ask(socket_path);
    if (p->fd < 0)
        p->misses++;
    p->next_ms = tt_mono_ms() + interval_ms;
}

/* The first line of the answer comes in one piece. */
void tt_pulse_read(tt_pulse *p)
{
    static const char good[] = "HTTP/1.1 200 ";
    char line[512];
    ssize_t n = read(p->fd, line, sizeof line);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    close_question(p);
    if (n < (ssize_t)sizeof good - 1 || memcmp(line, good, sizeof good - 1) != 0) {
        p->misses++;
        return;
    }
    p->misses = 0;
    p->answered_ms = tt_mono_ms();
}
