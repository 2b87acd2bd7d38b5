#include "query/part_cache.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/buf.h"
#include "base/sys.h"
#include "io/dirs.h"
#include "io/fd.h"

enum { STALE_S = 3600 };
#define DEFAULT_LIMIT (UINT64_C(20) << 30)
#define PART_END ".part"
#define USES_END ".uses"
#define MAKING_END ".making"

/* ---- names and identities ---- */

/* `ending`: of the file, which stands beside others of the same key. */
static tt_rc name_file(const tt_part_cache *c, const char *path, const tt_query_columns *columns, const char *ending, uint64_t key[2], tt_buf *ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    char *real = realpath(path, NULL);
    if (!real)
        return tt_fail_errno(err, errno, "%s: cannot open", path);
    tt_str group = columns->columns[columns->group].name, time = columns->columns[columns->time].name;
    tt_buf_printf(&text, "%s%c%.*s%c%.*s", real, 0, TT_STR_ARG(group), 0, TT_STR_ARG(time));
    free(real);
    TT_TRY(tt_buf_check(&text, err));
    XXH128_hash_t hash = XXH3_128bits(text.ptr, text.len);
    key[0] = hash.high64;
    key[1] = hash.low64;
    tt_buf_clear(ret);
    tt_buf_printf(ret, "%s/%016jx%016jx%s", c->dir, (uintmax_t)key[0], (uintmax_t)key[1], ending);
    return tt_buf_check(ret, err);
}

static tt_rc identify(const char *path, const uint64_t key[2], tt_prepared_identity *ret, tt_err *err)
{
    TT_FD_AUTO int fd = tt_sys.open(path, O_RDONLY | O_CLOEXEC, 0);
    struct stat st;
    size_t len = 0;
    if (fd < 0 || fstat(fd, &st) != 0)
        return tt_fail_errno(err, errno, "%s: cannot open", path);
    char *tail = tt_malloc(TT_PREPARED_TAIL_BYTES);
    if (!tail)
        return tt_fail(err, TT_NOMEM, "out of memory for a prepared part");
    uint64_t size = (uint64_t)st.st_size, at = size > TT_PREPARED_TAIL_BYTES ? size - TT_PREPARED_TAIL_BYTES : 0;
    int failed = tt_fd_read_at(fd, at, tail, TT_PREPARED_TAIL_BYTES, &len);
    *ret = (tt_prepared_identity){.key = {key[0], key[1]}, .size_bytes = size, .mtime_ns = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec,
                                  .tail_hash = XXH3_64bits(tail, len)};
    free(tail);
    return failed ? tt_fail_errno(err, failed, "%s: cannot read", path) : TT_OK;
}

/* ---- finding ---- */

static void note_use(const char *path)
{
    (void)!utimensat(AT_FDCWD, path, (struct timespec[]){{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}}, 0); /* for tidy: what was used last stays longest */
}

tt_rc tt_part_cache_find(const tt_part_cache *c, const char *path, const tt_pq_file *file, const tt_query_columns *columns, tt_prepared **ret, tt_err *err)
{
    TT_BUF_AUTO tt_buf name = {0};
    tt_prepared_identity identity;
    uint64_t key[2];
    tt_err why = {0};
    *ret = NULL;
    tt_rc rc = name_file(c, path, columns, PART_END, key, &name, &why);
    if (rc == TT_OK)
        rc = identify(path, key, &identity, &why);
    if (rc == TT_OK)
        rc = tt_prepared_open(tt_buf_cstr(&name), &identity, file, ret, &why);
    if (rc == TT_CORRUPT)
        (void)tt_sys.unlink(tt_buf_cstr(&name));
    if (rc == TT_OK) {
        note_use(tt_buf_cstr(&name));
        return TT_OK;
    }
    tt_prepared_close(*ret);
    *ret = NULL;
    return rc == TT_NOMEM ? tt_fail(err, TT_NOMEM, "%s", why.text) : TT_OK;
}

void tt_part_cache_drop(const tt_part_cache *c, const char *path, const tt_query_columns *columns)
{
    TT_BUF_AUTO tt_buf name = {0};
    uint64_t key[2];
    tt_err ignored = {0};
    if (name_file(c, path, columns, PART_END, key, &name, &ignored) == TT_OK)
        (void)tt_sys.unlink(tt_buf_cstr(&name));
}

/* A byte for each use, so that uses at the same time are all counted. */
bool tt_part_cache_wants(const tt_part_cache *c, const char *path, const tt_query_columns *columns)
{
    TT_BUF_AUTO tt_buf name = {0};
    uint64_t key[2];
    struct stat st;
    tt_err ignored = {0};
    if (c->prepare_after == 0 || tt_dirs_make(c->dir, &ignored) != TT_OK || name_file(c, path, columns, USES_END, key, &name, &ignored) != TT_OK)
        return false;
    TT_FD_AUTO int fd = tt_sys.open(tt_buf_cstr(&name), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd >= 0 && tt_sys.write(fd, ".", 1) == 1 && fstat(fd, &st) == 0 && st.st_size >= (off_t)c->prepare_after;
}

/* ---- room ---- */

typedef struct {
    char name[64];
    uint64_t bytes;
    int64_t used_s;
} entry;
typedef TT_VEC(entry) entries;

static bool ends_with(const char *name, const char *ending)
{
    size_t len = strlen(name), n = strlen(ending);
    return len >= n && memcmp(name + len - n, ending, n) == 0;
}

/* Prepared parts; what others left half made is removed. */
static uint64_t list_parts(int dir_fd, DIR *dir, entries *ret)
{
    uint64_t total = 0;
    int64_t now_s = time(NULL);
    for (struct dirent *d; (d = readdir(dir)) != NULL;) {
        struct stat st;
        entry e = {0};
        if (strlen(d->d_name) >= sizeof e.name || fstatat(dir_fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(st.st_mode))
            continue;
        if (ends_with(d->d_name, MAKING_END) && st.st_mtim.tv_sec < now_s - STALE_S)
            (void)unlinkat(dir_fd, d->d_name, 0);
        if (!ends_with(d->d_name, PART_END))
            continue;
        memcpy(e.name, d->d_name, strlen(d->d_name) + 1);
        e.bytes = (uint64_t)st.st_size;
        e.used_s = st.st_mtim.tv_sec;
        total += e.bytes;
        if (!tt_vec_push(ret, e))
            break;
    }
    return total;
}

static int by_use(const void *a, const void *b)
{
    int64_t x = ((const entry *)a)->used_s, y = ((const entry *)b)->used_s;
    return (x > y) - (x < y);
}

/* Room for `more`: those go that were not used for longest. */
static void tidy(const tt_part_cache *c, uint64_t more)
{
    uint64_t limit = c->limit_bytes ? c->limit_bytes : DEFAULT_LIMIT;
    entries all = {0};
    DIR *dir = opendir(c->dir);
    if (!dir)
        return;
    uint64_t total = list_parts(dirfd(dir), dir, &all) + more;
    if (all.len)
        qsort(all.ptr, all.len, sizeof *all.ptr, by_use);
    for (size_t i = 0; i < all.len && total > limit; i++)
        if (unlinkat(dirfd(dir), all.ptr[i].name, 0) == 0)
            total -= all.ptr[i].bytes;
    tt_vec_deinit(&all);
    closedir(dir);
}

/* ---- making ---- */

static tt_rc sync_dir(const char *dir, tt_err *err)
{
    TT_FD_AUTO int fd = tt_sys.open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0 || tt_sys.fsync(fd) != 0)
        return tt_fail_errno(err, errno, "%s: cannot sync", dir);
    return TT_OK;
}

/* Written beside it, synced, and only then under its name. */
static tt_rc write_file(const tt_part_cache *c, const char *name, const char *making, const tt_pq_file *file, const tt_query_columns *columns,
                        const tt_prepared_identity *identity, const tt_prepare_options *options, uint64_t *ret_bytes, tt_err *err)
{
    uint64_t limit = c->limit_bytes ? c->limit_bytes : DEFAULT_LIMIT;
    TT_FD_AUTO int fd = tt_sys.open(making, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return tt_fail_errno(err, errno, "%s: cannot make", making);
    TT_TRY(tt_prepare_write(file, columns, identity, options, fd, making, ret_bytes, err));
    if (*ret_bytes > limit)
        return tt_fail(err, TT_TOO_LARGE, "%s: prepared it has %llu bytes, more than all prepared parts may have (%llu): raise --cache-size (of a server: query.cache_size)", tt_pq_name(file),
                       (unsigned long long)*ret_bytes, (unsigned long long)limit);
    if (tt_sys.fsync(fd) != 0)
        return tt_fail_errno(err, errno, "%s: cannot sync", making);
    tidy(c, *ret_bytes);
    if (tt_sys.rename(making, name) != 0)
        return tt_fail_errno(err, errno, "%s: cannot give its name to it", making);
    return sync_dir(c->dir, err);
}

tt_rc tt_part_cache_make(const tt_part_cache *c, const char *path, const tt_pq_file *file, const tt_query_columns *columns, const tt_prepare_options *options,
                         uint64_t *ret_bytes, bool *ret_made, tt_err *err)
{
    TT_BUF_AUTO tt_buf name = {0}, making = {0}, uses = {0};
    tt_prepared_identity identity;
    tt_prepared *there = NULL;
    struct stat st;
    uint64_t key[2], random = 0;
    TT_TRY(tt_dirs_make(c->dir, err));
    TT_TRY(tt_part_cache_find(c, path, file, columns, &there, err));
    TT_TRY(name_file(c, path, columns, USES_END, key, &uses, err));
    TT_TRY(name_file(c, path, columns, PART_END, key, &name, err));
    if (ret_made)
        *ret_made = !there;
    if (there) {
        tt_prepared_close(there);
        *ret_bytes = stat(tt_buf_cstr(&name), &st) == 0 ? (uint64_t)st.st_size : 0;
        return TT_OK;
    }
    TT_TRY(identify(path, key, &identity, err));
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return tt_fail_errno(err, errno, "no random numbers");
    tt_buf_printf(&making, "%s/%016jx%s", c->dir, (uintmax_t)random, MAKING_END);
    TT_TRY(tt_buf_check(&making, err));
    tt_rc rc = write_file(c, tt_buf_cstr(&name), tt_buf_cstr(&making), file, columns, &identity, options, ret_bytes, err);
    if (rc != TT_OK)
        (void)tt_sys.unlink(tt_buf_cstr(&making));
    (void)tt_sys.unlink(tt_buf_cstr(&uses)); /* counts begin anew, also for one that could not be prepared */
    return rc;
}
