#include "work/logs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "ledger/queue.h"

enum { PER_FOLDER = 4096, PATH_BYTES = 64 };
static const uint64_t DEFAULT_MAX_BYTES = 11 << 20;

struct tt_logs {
    int dir_fd;
    uint64_t max_bytes;
    tt_ledger *shared; /* NULL: files */
};

/* FOLDER/ID.log, so that no folder has more than PER_FOLDER. */
static void folder_of(uint64_t id, char out[PATH_BYTES]) { snprintf(out, PATH_BYTES, "%llu", (unsigned long long)(id / PER_FOLDER)); }

static void path_of(uint64_t id, char out[PATH_BYTES])
{
    snprintf(out, PATH_BYTES, "%llu/%llu.log", (unsigned long long)(id / PER_FOLDER), (unsigned long long)id);
}

tt_rc tt_logs_open(const char *dir, uint64_t max_bytes, tt_logs **ret, tt_err *err)
{
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return tt_fail_errno(err, errno, "cannot make the directory `%s`", dir);
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot open the directory `%s`", dir);
    *ret = TT_NEW(tt_logs);
    **ret = (tt_logs){.dir_fd = fd, .max_bytes = max_bytes ? max_bytes : DEFAULT_MAX_BYTES};
    return TT_OK;
}

void tt_logs_close(tt_logs *l)
{
    if (!l)
        return;
    close(l->dir_fd);
    free(l);
}

static int open_log(const tt_logs *l, uint64_t id, int flags)
{
    char path[PATH_BYTES], folder[PATH_BYTES];
    path_of(id, path);
    int fd = openat(l->dir_fd, path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd >= 0 || errno != ENOENT || !(flags & O_CREAT))
        return fd;
    folder_of(id, folder);
    if (mkdirat(l->dir_fd, folder, 0700) != 0 && errno != EEXIST)
        return -1;
    return openat(l->dir_fd, path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static uint64_t size_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_size > 0 ? (uint64_t)st.st_size : 0;
}

static tt_rc write_all(int fd, tt_str bytes, uint64_t id, tt_err *err)
{
    while (bytes.len) {
        ssize_t n = write(fd, bytes.ptr, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return tt_fail_errno(err, errno, "cannot keep the log of task %llu", (unsigned long long)id);
        bytes = tt_str_slice(bytes, (size_t)n, bytes.len);
    }
    return TT_OK;
}

tt_rc tt_logs_append(tt_logs *l, uint64_t id, tt_str bytes, tt_err *err)
{
    if (l->shared)
        return tt_queue_append_log(l->shared, id, bytes, l->max_bytes, err);
    int fd = open_log(l, id, O_WRONLY | O_APPEND | O_CREAT);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot open the log of task %llu", (unsigned long long)id);
    uint64_t size = size_of(fd), room = size < l->max_bytes ? l->max_bytes - size : 0;
    tt_rc rc = write_all(fd, tt_str_slice(bytes, 0, room < bytes.len ? (size_t)room : bytes.len), id, err);
    if (rc != TT_OK && ftruncate(fd, (off_t)size) != 0) /* it is sent again: no half of it stays */
        tt_log_warn("cannot take back half a piece of a log", TT_F_INT("task", id));
    close(fd);
    return rc;
}

void tt_logs_use(tt_logs *l, tt_ledger *shared) { l->shared = shared; }

tt_rc tt_logs_read(tt_logs *l, uint64_t id, uint64_t offset, size_t max, tt_buf *out, tt_err *err)
{
    if (l->shared)
        return tt_queue_read_log(l->shared, id, offset, max, out, NULL, err);
    int fd = open_log(l, id, O_RDONLY);
    if (fd < 0)
        return errno == ENOENT ? TT_OK : tt_fail_errno(err, errno, "cannot open the log of task %llu", (unsigned long long)id);
    ssize_t n = 0;
    if (offset <= l->max_bytes && tt_buf_reserve(out, max))
        n = pread(fd, out->ptr + out->len, max, (off_t)offset);
    int errnum = errno;
    close(fd);
    if (n < 0)
        return tt_fail_errno(err, errnum, "cannot read the log of task %llu", (unsigned long long)id);
    out->len += (size_t)n;
    return tt_buf_check(out, err);
}

uint64_t tt_logs_size(tt_logs *l, uint64_t id)
{
    uint64_t size = 0;
    if (l->shared)
        return tt_queue_read_log(l->shared, id, 0, 0, NULL, &size, NULL) == TT_OK ? size : 0;
    int fd = open_log(l, id, O_RDONLY);
    size = fd < 0 ? 0 : size_of(fd);
    if (fd >= 0)
        close(fd);
    return size;
}

void tt_logs_tail(tt_logs *l, uint64_t id, size_t max, tt_buf *out)
{
    uint64_t size = tt_logs_size(l, id), from = size > max ? size - max : 0;
    TT_BUF_AUTO tt_buf bytes = {0};
    if (size == 0 || tt_logs_read(l, id, from, max, &bytes, NULL) != TT_OK)
        return;
    tt_str text = tt_buf_view(&bytes);
    ptrdiff_t line_end = from ? tt_str_find(text, '\n') : -1;
    tt_buf_str(out, line_end >= 0 ? tt_str_slice(text, (size_t)line_end + 1, text.len) : text);
}

void tt_logs_delete(tt_logs *l, uint64_t id)
{
    char path[PATH_BYTES];
    path_of(id, path);
    (void)unlinkat(l->dir_fd, path, 0);
}

/* ---- old ones ---- */

static DIR *open_folder(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir && fd >= 0)
        close(fd);
    return dir;
}

static size_t sweep_folder(const tt_logs *l, const char *name, int64_t until_ms)
{
    size_t count = 0;
    DIR *dir = open_folder(l->dir_fd, name);
    for (const struct dirent *e; dir && (e = readdir(dir));) {
        struct stat st;
        if (!tt_str_ends(tt_str_of(e->d_name), TT_STR(".log")) || fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
            continue;
        if ((int64_t)st.st_mtim.tv_sec * 1000 <= until_ms && unlinkat(dirfd(dir), e->d_name, 0) == 0)
            count++;
    }
    if (dir)
        closedir(dir);
    (void)unlinkat(l->dir_fd, name, AT_REMOVEDIR); /* when it is empty */
    return count;
}

size_t tt_logs_sweep(tt_logs *l, int64_t keep_ms)
{
    size_t count = 0;
    DIR *dir = open_folder(l->dir_fd, ".");
    for (const struct dirent *e; dir && (e = readdir(dir));)
        if (strspn(e->d_name, "0123456789") == strlen(e->d_name))
            count += sweep_folder(l, e->d_name, tt_wall_ms() - keep_ms);
    if (dir)
        closedir(dir);
    return count;
}
