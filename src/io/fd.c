#include "io/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/sys.h"

enum { SPOOL_NAME_TRIES = 16 };

void tt_fd_close(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
}

/* A file system without O_TMPFILE (NFS, some overlays) gets a name for a moment. */
static int open_named(const char *dir)
{
    for (int i = 0; i < SPOOL_NAME_TRIES; i++) {
        uint64_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
            return -1;
        TT_BUF_AUTO tt_buf path = {0};
        tt_buf_printf(&path, "%s/spool-%016jx", dir, (uintmax_t)random);
        int fd = tt_sys.open(tt_buf_cstr(&path), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd >= 0 && tt_sys.unlink(tt_buf_cstr(&path)) != 0)
            tt_fd_close(&fd);
        if (fd >= 0 || errno != EEXIST)
            return fd;
    }
    return -1;
}

int tt_fd_open_unlinked(const char *dir)
{
    int fd = tt_sys.open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
        fd = open_named(dir);
    return fd;
}

int tt_fd_read_at(int fd, uint64_t at, void *buf, size_t cap, size_t *ret_len)
{
    size_t done = 0;
    while (done < cap && at + done <= INT64_MAX) {
        ssize_t n = tt_sys.pread(fd, (char *)buf + done, cap - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    *ret_len = done;
    return 0;
}

int tt_fd_write_at(int fd, uint64_t at, const void *ptr, size_t len)
{
    size_t done = 0;
    while (done < len) {
        if (at + done > INT64_MAX)
            return EFBIG;
        ssize_t n = tt_sys.pwrite(fd, (const char *)ptr + done, len - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? errno : EIO;
        done += (size_t)n;
    }
    return 0;
}
