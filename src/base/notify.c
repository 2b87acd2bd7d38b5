#include "base/notify.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/str.h"

static struct sockaddr_un address;
static socklen_t address_len; /* 0: nobody to tell */
static int64_t watchdog_ms;

static int64_t number_of(const char *name)
{
    int64_t number = 0;
    const char *text = getenv(name);
    return text && tt_parse_i64(tt_str_of(text), &number, NULL) == TT_OK ? number : 0;
}

void tt_notify_setup(void)
{
    tt_str path = tt_str_of(getenv("NOTIFY_SOCKET"));
    if (path.len > 1 && path.len < sizeof address.sun_path && (path.ptr[0] == '/' || path.ptr[0] == '@')) {
        address = (struct sockaddr_un){.sun_family = AF_UNIX};
        memcpy(address.sun_path, path.ptr, path.len);
        if (path.ptr[0] == '@')
            address.sun_path[0] = '\0'; /* the abstract name space */
        address_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.len);
    }
    int64_t pid = number_of("WATCHDOG_PID");
    watchdog_ms = pid == 0 || pid == getpid() ? number_of("WATCHDOG_USEC") / 2000 : 0;
    unsetenv("NOTIFY_SOCKET");
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
}

void tt_notify(const char *state)
{
    if (address_len == 0)
        return;
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT, (const struct sockaddr *)&address, address_len);
    close(fd);
}

int64_t tt_notify_watchdog_ms(void) { return address_len ? watchdog_ms : 0; }
