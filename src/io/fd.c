#include "io/fd.h"

#include <errno.h>
#include <unistd.h>

#include "base/sys.h"

void tt_fd_close(int *fd)
{
    int saved = errno;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    errno = saved;
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
