#include "base/listen.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/mem.h"

enum { BACKLOG = 1024, FIRST_INHERITED_FD = 3 };

/* ---- addresses ---- */

static bool set_v4(tt_address *a, const char *host, uint16_t port)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&a->addr;
    in->sin_family = AF_INET;
    in->sin_port = htons(port);
    a->len = sizeof *in;
    return inet_pton(AF_INET, host, &in->sin_addr) == 1;
}

static bool set_v6(tt_address *a, const char *host, uint16_t port)
{
    struct sockaddr_in6 *in = (struct sockaddr_in6 *)&a->addr;
    in->sin6_family = AF_INET6;
    in->sin6_port = htons(port);
    a->len = sizeof *in;
    return inet_pton(AF_INET6, host, &in->sin6_addr) == 1;
}

/* Splits at the last colon. False: there is none, or no port behind it. */
static bool split_port(tt_str text, tt_str *ret_host, uint16_t *ret_port)
{
    size_t colon = text.len;
    while (colon > 0 && text.ptr[colon - 1] != ':')
        colon--;
    int64_t port;
    if (colon == 0 || tt_parse_i64(tt_str_slice(text, colon, text.len), &port, NULL) != TT_OK || port < 0 || port > 65535)
        return false;
    *ret_host = tt_str_slice(text, 0, colon - 1);
    *ret_port = (uint16_t)port;
    return true;
}

static bool parse_tcp(tt_str text, tt_address *ret)
{
    tt_str host;
    uint16_t port;
    char name[64];
    if (!split_port(text, &host, &port) || host.len >= sizeof name)
        return false;
    bool bracketed = host.len > 2 && host.ptr[0] == '[' && host.ptr[host.len - 1] == ']';
    if (bracketed)
        host = tt_str_slice(host, 1, host.len - 1);
    memcpy(name, host.len ? host.ptr : "", host.len);
    name[host.len] = '\0';
    ret->both = host.len == 0;
    if (bracketed || ret->both)
        return set_v6(ret, ret->both ? "::" : name, port);
    return set_v4(ret, strcmp(name, "localhost") == 0 ? "127.0.0.1" : name, port);
}

tt_rc tt_address_parse(tt_str text, tt_address *ret, tt_err *err)
{
    *ret = (tt_address){0};
    if (tt_str_starts(text, TT_STR("unix:")) && text.len > 5 && !memchr(text.ptr, '\0', text.len)) {
        ret->addr.ss_family = AF_UNIX;
        ret->unix_path = tt_str_dup(tt_str_slice(text, 5, text.len));
        return ret->unix_path ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
    }
    if (parse_tcp(text, ret))
        return TT_OK;
    return tt_fail(err, TT_INVALID, "`%.*s` is not an address to listen on: write 127.0.0.1:5005, [::1]:5005, :5005 for all interfaces, or unix:/PATH",
                   TT_STR_ARG(tt_str_slice(text, 0, 100)));
}

void tt_address_deinit(tt_address *a)
{
    free(a->unix_path);
    *a = (tt_address){0};
}

bool tt_address_is_local(const tt_address *a)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->addr;
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)&a->addr)->sin6_addr;
    if (a->addr.ss_family == AF_INET)
        return ntohl(v4->sin_addr.s_addr) >> 24 == 127;
    if (a->addr.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
    return a->addr.ss_family == AF_UNIX;
}

static const char *address_text(const tt_address *a, char out[TT_ADDRESS_TEXT])
{
    char host[INET6_ADDRSTRLEN] = "?";
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&a->addr;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&a->addr;
    if (a->addr.ss_family == AF_INET6) {
        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(out, TT_ADDRESS_TEXT, "[%s]:%u", host, ntohs(v6->sin6_port));
    } else if (a->addr.ss_family == AF_INET) {
        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(out, TT_ADDRESS_TEXT, "%s:%u", host, ntohs(v4->sin_port));
    } else {
        snprintf(out, TT_ADDRESS_TEXT, "unix:%.100s", a->unix_path ? a->unix_path : "?");
    }
    return out;
}

tt_rc tt_address_check_access(const tt_address *a, bool has_token, bool insecure, tt_err *err)
{
    char text[TT_ADDRESS_TEXT];
    if (tt_address_is_local(a) || has_token || insecure)
        return TT_OK;
    return tt_fail(err, TT_DENIED,
                   "refusing to listen on %s: others can reach it and no token is set: set TUTTI_SERVER_TOKEN (or server.token = file:/PATH), "
                   "listen on 127.0.0.1, or add --insecure in a closed network",
                   address_text(a, text));
}

/* ---- sockets ---- */

static tt_rc explain_bind(const tt_address *a, int errnum, tt_err *err)
{
    char text[TT_ADDRESS_TEXT];
    address_text(a, text);
    if (errnum == EADDRINUSE)
        return tt_fail(err, TT_CONFLICT, "cannot listen on %s: another program has this address: stop it, or choose another one with --listen", text);
    if (errnum == EADDRNOTAVAIL)
        return tt_fail(err, TT_INVALID, "cannot listen on %s: this machine does not have this address: `ip address` lists those that it has", text);
    if (errnum == EACCES)
        return tt_fail(err, TT_DENIED, "cannot listen on %s: this user may not use this port: choose one above 1023 with --listen, or give the unit CAP_NET_BIND_SERVICE", text);
    return tt_fail_errno(err, errnum, "cannot listen on %s", text);
}

static int open_tcp(const tt_address *a)
{
    int on = 1, off = 0;
    int fd = socket(a->addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted sockets inherit it */
    if (a->addr.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, a->both ? &off : &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&a->addr, a->len) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int errnum = errno;
    close(fd);
    errno = errnum;
    return -1;
}

/* An address holds 108 bytes; a longer path goes through its opened directory. False: errno. *ret_dir: to be closed, -1: none. */
static bool fill_unix(const char *path, struct sockaddr_un *ret, int *ret_dir)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_dir = -1;
    if (strlen(path) < sizeof ret->sun_path) {
        memcpy(ret->sun_path, path, strlen(path) + 1);
        return true;
    }
    const char *slash = strrchr(path, '/');
    char *dir = slash ? tt_str_dup((tt_str){path, (size_t)(slash - path)}) : NULL;
    *ret_dir = dir ? open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
    free(dir);
    if (*ret_dir < 0)
        return false;
    int n = snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", *ret_dir, slash + 1);
    if (n > 0 && (size_t)n < sizeof ret->sun_path)
        return true;
    close(*ret_dir);
    errno = ENAMETOOLONG;
    return false;
}

static int bind_unix(const struct sockaddr_un *addr, mode_t mode)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    mode_t before = umask(0777 & ~mode);
    bool ok = fd >= 0 && bind(fd, (const struct sockaddr *)addr, sizeof *addr) == 0 && listen(fd, BACKLOG) == 0;
    int errnum = errno;
    umask(before);
    if (ok)
        return fd;
    if (fd >= 0)
        close(fd);
    errno = errnum;
    return -1;
}

/* Removes a socket from addr's path; never anything else. */
static void remove_socket(const struct sockaddr_un *addr)
{
    struct stat st;
    if (lstat(addr->sun_path, &st) == 0 && S_ISSOCK(st.st_mode))
        unlink(addr->sun_path);
}

static bool is_stale(const struct sockaddr_un *addr)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool stale = fd >= 0 && connect(fd, (const struct sockaddr *)addr, sizeof *addr) != 0 && errno == ECONNREFUSED;
    if (fd >= 0)
        close(fd);
    return stale;
}

static int open_unix(const char *path, mode_t mode, bool replace)
{
    struct sockaddr_un addr;
    int dir;
    if (!fill_unix(path, &addr, &dir))
        return -1;
    if (replace || is_stale(&addr))
        remove_socket(&addr);
    int fd = bind_unix(&addr, mode), errnum = errno;
    if (dir >= 0)
        close(dir);
    errno = errnum;
    return fd;
}

tt_rc tt_listen_unix(const char *path, mode_t mode, int *ret_fd, tt_err *err)
{
    tt_address a = {.addr.ss_family = AF_UNIX, .unix_path = (char *)(uintptr_t)path};
    int fd = open_unix(path, mode, true);
    if (fd < 0)
        return explain_bind(&a, errno, err);
    *ret_fd = fd;
    return TT_OK;
}

tt_rc tt_listen_open(const tt_address *a, int *ret_fd, tt_err *err)
{
    int fd = a->unix_path ? open_unix(a->unix_path, 0660, false) : open_tcp(a);
    if (fd < 0 && a->both && errno == EAFNOSUPPORT) {
        tt_address v4 = {0};
        set_v4(&v4, "0.0.0.0", ntohs(((const struct sockaddr_in6 *)&a->addr)->sin6_port));
        fd = open_tcp(&v4);
    }
    if (fd < 0)
        return explain_bind(a, errno, err);
    *ret_fd = fd;
    return TT_OK;
}

tt_rc tt_listen_address(int fd, tt_address *ret, tt_err *err)
{
    *ret = (tt_address){.len = sizeof ret->addr};
    int listening = 0;
    socklen_t size = sizeof listening;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0 || !listening ||
        getsockname(fd, (struct sockaddr *)&ret->addr, &ret->len) != 0)
        return tt_fail(err, TT_INVALID, "descriptor %d is not a listening socket", fd);
    if (ret->addr.ss_family == AF_UNIX)
        ret->unix_path = tt_dup_cstr(((const struct sockaddr_un *)&ret->addr)->sun_path);
    return TT_OK;
}

const char *tt_listen_url(int fd, char out[TT_ADDRESS_TEXT])
{
    tt_address a;
    char text[TT_ADDRESS_TEXT];
    if (tt_listen_address(fd, &a, NULL) != TT_OK)
        return memcpy(out, "?", 2);
    address_text(&a, text);
    snprintf(out, TT_ADDRESS_TEXT, "%s%.110s", a.unix_path ? "" : "http://", text);
    tt_address_deinit(&a);
    return out;
}

size_t tt_listen_inherited(void)
{
    int64_t pid = 0, count = 0;
    if (tt_parse_i64(tt_str_of(getenv("LISTEN_PID")), &pid, NULL) != TT_OK || pid != getpid() ||
        tt_parse_i64(tt_str_of(getenv("LISTEN_FDS")), &count, NULL) != TT_OK || count < 0 || count > 1000)
        count = 0;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    for (int fd = FIRST_INHERITED_FD; fd < FIRST_INHERITED_FD + (int)count; fd++) {
        fcntl(fd, F_SETFD, FD_CLOEXEC);
        fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    }
    return (size_t)count;
}
