#include "io/socket_probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"

/* The path as an address; one that is too long for it goes through its opened directory (*ret_dir_fd, else -1). */
static bool make_address(const char *path, struct sockaddr_un *ret, int *ret_dir_fd)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    *ret_dir_fd = -1;
    const char *slash = strrchr(path, '/');
    if (strlen(path) < sizeof ret->sun_path) {
        memcpy(ret->sun_path, path, strlen(path));
        return true;
    }
    if (!slash)
        return false;
    TT_BUF_AUTO tt_buf dir = {0};
    tt_buf_put(&dir, path, (size_t)(slash - path));
    *ret_dir_fd = open(tt_buf_cstr(&dir), O_PATH | O_DIRECTORY | O_CLOEXEC);
    int n = snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/%s", *ret_dir_fd, slash + 1);
    return *ret_dir_fd >= 0 && n < (int)sizeof ret->sun_path;
}

/* Whose directory it lies in, where that can be seen. */
static tt_rc fail_denied(const char *path, tt_err *err)
{
    TT_BUF_AUTO tt_buf dir = {0};
    struct stat st;
    struct passwd entry, *found = NULL;
    char space[4096], name[64] = "";
    const char *slash = strrchr(path, '/');
    tt_buf_put(&dir, slash ? path : ".", slash && slash > path ? (size_t)(slash - path) : 1);
    if (dir.failed || stat(tt_buf_cstr(&dir), &st) != 0 || st.st_uid == geteuid())
        return tt_fail(err, TT_DENIED, "cannot use the socket `%s`: it belongs to another user: run as that user, or use --server URL", path);
    if (getpwuid_r(st.st_uid, &entry, space, sizeof space, &found) == 0 && found)
        snprintf(name, sizeof name, " `%.40s`", found->pw_name);
    return tt_fail(err, TT_DENIED, "cannot use the socket `%s`: the directory belongs to another user,%s (uid %u): run as that user, or use --server URL", path, name,
                   (unsigned)st.st_uid);
}

tt_rc tt_socket_probe(const char *path, tt_err *err)
{
    struct sockaddr_un address;
    int dir_fd, failed = ENOENT;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (make_address(path, &address, &dir_fd) && fd >= 0)
        failed = connect(fd, (struct sockaddr *)&address, sizeof address) == 0 ? 0 : errno;
    if (fd >= 0)
        close(fd);
    if (dir_fd >= 0)
        close(dir_fd);
    if (failed == 0)
        return TT_OK;
    if (failed == EACCES || failed == EPERM)
        return fail_denied(path, err);
    return tt_fail(err, TT_UNAVAILABLE, "no server answers at `%s`", path);
}
