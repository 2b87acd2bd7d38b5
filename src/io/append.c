#include "io/append.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/sys.h"
#include "io/fd.h"
#include "io/handle.h"
#include "io/taken.h"

enum { TAIL_BYTES = 4096, BUFFER_MIN = 64 << 10, BUFFER_MAX = 1 << 20, OPEN_TRIES = 8, MAX_GENERATIONS = 1000 * 1000 };

/* The last bytes of a file, so that a mark costs no reads. */
typedef struct {
    size_t len;
    char bytes[TAIL_BYTES];
} tail;

/* What stands behind the committed length:
 *
 *             put          flush ok        flush failed    commit     rollback
 *   CLEAN     STAGED       CLEAN           FAILED (cut)    CLEAN      CLEAN
 *   STAGED    STAGED (1)   FLUSHED         FAILED          -          CLEAN
 *   FLUSHED   STAGED       FLUSHED         FAILED          CLEAN      CLEAN
 *   FAILED    FAILED       -               FAILED          -          CLEAN
 *
 * (1) or FAILED, when the buffer was full and could not be written: the error waits for flush.
 * A rollback whose cut fails leaves cut_due beside the state: whatever writes next cuts first. */
typedef enum { CLEAN, STAGED, FLUSHED, FAILED } state;

/* The descriptors are on loan (handle.h) unless something is staged, or was not cut off or synced yet: then they stay. */
struct tt_append {
    tt_handle handle;   /* first; of fd, dirfd and the tails */
    bool in_use;        /* we have pinned it */
    int fd;
    int dirfd;          /* of the file's directory, readable */
    char *path;
    const char *name;   /* inside path */
    uint64_t dev, ino;
    bool is_taken;      /* listed in taken.h, with this path */

    state state;
    uint64_t committed; /* length that the ledger knows */
    uint64_t staged;    /* bytes behind it: those written, then those in buf (unless FAILED) */
    uint64_t written;
    uint64_t reach;     /* no write of ours went beyond this offset since the file was last known to end at committed */
    bool cut_due;
    bool is_left;       /* and only a flush may do it */
    bool empties;       /* what is there is somebody's until the first commit */
    bool unsynced;      /* written since the last sync */
    bool sync_failed;   /* in the last flush */
    bool name_due;      /* nobody knows whether its name is safe: before anything in it is said to be */
    char *buf;
    size_t buf_len, buf_cap;
    tail *committed_tail, *staged_tail; /* of the committed length; of committed + written */
    uint64_t committed_hash; /* of the committed tail, while not in use */
    tt_err error;       /* why FAILED */
};

static void check(const tt_append *a)
{
    tt_assert(a->state == FAILED || a->staged == a->written + a->buf_len);
    tt_assert(a->state != CLEAN || a->staged == 0);
    tt_assert(a->state != FLUSHED || (a->staged > 0 && a->buf_len == 0));
    tt_assert((a->state == FAILED) == (a->error.code != TT_OK));
    tt_assert(!a->cut_due || a->written == 0);
    tt_assert(a->in_use || a->state == CLEAN || a->state == FAILED);
}

static void tail_push(tail *t, const char *ptr, size_t len)
{
    if (len >= TAIL_BYTES) {
        memcpy(t->bytes, ptr + len - TAIL_BYTES, TAIL_BYTES);
        t->len = TAIL_BYTES;
        return;
    }
    size_t keep = t->len < TAIL_BYTES - len ? t->len : TAIL_BYTES - len;
    memmove(t->bytes, t->bytes + t->len - keep, keep);
    memcpy(t->bytes + keep, ptr, len);
    t->len = keep + len;
}

static uint64_t tail_hash(const tail *t) { return XXH3_64bits(t->bytes, t->len); }

/* The path of a name in the file's directory that stays right when the directory is moved. */
typedef struct { char text[64 + NAME_MAX]; } at_dir;
static at_dir beside(const tt_append *a, const char *name)
{
    at_dir path;
    snprintf(path.text, sizeof path.text, "/proc/self/fd/%d/%s", a->dirfd, name);
    return path;
}

/* --- is the file still as we left it? --- */

static tt_rc gone(const tt_append *a, const char *how, tt_err *err)
{
    return tt_fail(err, TT_CONFLICT, "the output '%.256s' was %s while a job writes to it: put it back, or start the job's output anew", a->path, how);
}

typedef enum { NAME_OURS, NAME_FREE, NAME_OTHER } whose;
static whose whose_name(const tt_append *a)
{
    struct stat st;
    if (fstatat(a->dirfd, a->name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? NAME_FREE : NAME_OTHER;
    return st.st_dev == a->dev && st.st_ino == a->ino ? NAME_OURS : NAME_OTHER;
}

/* The file has to end where our last write ended; otherwise somebody else writes to it. */
static tt_rc check_length(const tt_append *a, tt_err *err)
{
    struct stat st;
    if (fstat(a->fd, &st) != 0)
        return tt_fail_errno(err, errno, "cannot look at '%.256s'", a->path);
    if (st.st_nlink == 0)
        return gone(a, "deleted", err);
    uint64_t size = (uint64_t)st.st_size, wanted = a->committed + a->written;
    if (size == wanted)
        return TT_OK;
    return tt_fail(err, TT_CONFLICT, "the output '%.256s' has %ju bytes instead of %ju: something else has %s it; restore that length to go on",
        a->path, (uintmax_t)size, (uintmax_t)wanted, size > wanted ? "appended to" : "cut");
}

/* Back to the committed length; takes away nothing but our own bytes, and adds none. */
static tt_rc cut(tt_append *a, tt_err *err)
{
    struct stat st;
    if (fstat(a->fd, &st) != 0)
        return tt_fail_errno(err, errno, "cannot look at '%.256s'", a->path);
    uint64_t size = (uint64_t)st.st_size;
    if (size < a->committed || size > a->reach)
        return tt_fail(err, TT_CONFLICT, "the output '%.256s' has %ju bytes, not between %ju and %ju as tutti left it: something else has changed it",
            a->path, (uintmax_t)size, (uintmax_t)a->committed, (uintmax_t)a->reach);
    if (size > a->committed && tt_sys.ftruncate(a->fd, (off_t)a->committed) != 0)
        return tt_fail_errno(err, errno, "cannot cut '%.256s' back to %ju bytes", a->path, (uintmax_t)a->committed);
    a->cut_due = a->is_left = a->empties = false;
    a->reach = a->committed;
    return TT_OK;
}

/* --- the descriptors --- */

static tt_rc lock_file(int fd, const char *path, struct stat *ret, tt_err *err);
static int read_tail(int fd, uint64_t length, tail *ret);

/* The lock goes first: a child that is about to run a program has a copy of the descriptor until it does, and with that the lock. */
static void close_locked(int *fd)
{
    if (*fd >= 0)
        flock(*fd, LOCK_UN);
    tt_fd_close(fd);
}

static void close_files(tt_handle *h)
{
    tt_append *a = (tt_append *)h;
    close_locked(&a->fd);
    tt_fd_close(&a->dirfd);
    free(a->committed_tail);
    a->committed_tail = a->staged_tail = NULL;
}

static tt_rc make_tails(tt_append *a, tt_err *err)
{
    a->committed_tail = tt_malloc(2 * sizeof *a->committed_tail);
    if (!a->committed_tail)
        return tt_fail(err, TT_NOMEM, "out of memory for the output '%.256s'", a->path);
    a->staged_tail = a->committed_tail + 1;
    a->committed_tail->len = a->staged_tail->len = 0;
    return TT_OK;
}

static void lend(tt_append *a)
{
    tt_handle_opened(&a->handle, 2);
    a->in_use = true;
}

static int open_patiently(const char *path, int flags)
{
    int fd;
    do
        fd = tt_sys.open(path, flags | O_CLOEXEC, 0);
    while (fd < 0 && tt_handles_make_room(errno));
    return fd;
}

static tt_rc open_dir_again(tt_append *a, tt_err *err)
{
    TT_BUF_AUTO tt_buf dir = {0};
    tt_buf_printf(&dir, "%.*s", (int)(a->name - a->path), a->path);
    TT_TRY(tt_buf_check(&dir, err));
    a->dirfd = open_patiently(tt_buf_cstr(&dir), O_RDONLY | O_DIRECTORY);
    if (a->dirfd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return gone(a, "deleted", err);
    return a->dirfd < 0 ? tt_fail_errno(err, errno, "cannot open the directory of '%.256s' again", a->path) : TT_OK;
}

/* Found below the roots once; only that very file is taken again, and only as it was left. */
static tt_rc open_file_again(tt_append *a, tt_err *err)
{
    struct stat st;
    a->fd = open_patiently(beside(a, a->name).text, O_RDWR | O_NONBLOCK | O_NOFOLLOW);
    if (a->fd < 0)
        return errno == ENOENT ? gone(a, "deleted", err) : errno == ELOOP ? gone(a, "moved or replaced", err) : tt_fail_errno(err, errno, "cannot open '%.256s' again", a->path);
    if (fstat(a->fd, &st) != 0 || st.st_dev != a->dev || st.st_ino != a->ino)
        return gone(a, "moved or replaced", err);
    TT_TRY(lock_file(a->fd, a->path, &st, err));
    TT_TRY(check_length(a, err));
    TT_TRY(make_tails(a, err));
    int failed = read_tail(a->fd, a->committed, a->committed_tail);
    if (failed)
        return tt_fail_errno(err, failed, "cannot read the end of '%.256s'", a->path);
    *a->staged_tail = *a->committed_tail;
    if (tail_hash(a->committed_tail) != a->committed_hash)
        return tt_fail(err, TT_CONFLICT, "the output '%.256s' is not as it was left: its last bytes before position %ju differ; put that file back, or start the job anew",
            a->path, (uintmax_t)a->committed);
    return TT_OK;
}

/* Before anything that needs the descriptors; they stay until it rests. */
static tt_rc use(tt_append *a, tt_err *err)
{
    if (a->in_use)
        return TT_OK;
    a->in_use = tt_handle_pin(&a->handle);
    if (a->in_use)
        return TT_OK;
    tt_rc rc = open_dir_again(a, err);
    if (rc == TT_OK)
        rc = open_file_again(a, err);
    if (rc == TT_OK)
        lend(a);
    else
        close_files(&a->handle);
    return rc;
}

/* Nothing is under way that needs them. */
static void rest(tt_append *a)
{
    if (!a->in_use || a->state != CLEAN || a->unsynced || a->cut_due)
        return;
    a->committed_hash = tail_hash(a->committed_tail);
    free(a->buf);
    a->buf = NULL;
    a->buf_cap = 0;
    a->in_use = false;
    tt_handle_unpin(&a->handle);
}

/* --- staging --- */

static tt_rc write_out(tt_append *a, const char *ptr, size_t len, tt_err *err)
{
    if (a->cut_due)
        TT_TRY(cut(a, err));
    TT_TRY(check_length(a, err));
    uint64_t at = a->committed + a->written;
    a->reach = at + len;
    a->unsynced = true;
    int failed = tt_fd_write_at(a->fd, at, ptr, len);
    if (failed)
        return tt_fail_errno(err, failed, "cannot write to '%.256s' at byte %ju", a->path, (uintmax_t)at);
    a->written += len;
    tail_push(a->staged_tail, ptr, len);
    return TT_OK;
}

static tt_rc write_buffer(tt_append *a, tt_err *err)
{
    if (a->buf_len == 0)
        return TT_OK;
    TT_TRY(write_out(a, a->buf, a->buf_len, err));
    a->buf_len = 0;
    return TT_OK;
}

/* Makes room for len bytes in the buffer; false when it would grow beyond its bound, or memory is out. */
static bool make_room(tt_append *a, size_t len)
{
    size_t need = a->buf_len + len, cap = a->buf_cap ? a->buf_cap : BUFFER_MIN;
    if (need <= a->buf_cap)
        return true;
    if (len > BUFFER_MAX || need > BUFFER_MAX)
        return false;
    while (cap < need)
        cap *= 2;
    char *grown = tt_realloc(a->buf, cap);
    if (!grown)
        return false;
    a->buf = grown;
    a->buf_cap = cap;
    return true;
}

static void to_buffer(tt_append *a, const void *ptr, size_t len)
{
    memcpy(a->buf + a->buf_len, ptr, len);
    a->buf_len += len;
}

static tt_rc put_through(tt_append *a, const char *ptr, size_t len, tt_err *err)
{
    if (a->is_left)
        return tt_fail(err, TT_UNAVAILABLE, "the output '%.256s' is as a failed commit left it: send again", a->path);
    TT_TRY(write_buffer(a, err));
    for (; len > BUFFER_MAX; ptr += BUFFER_MAX, len -= BUFFER_MAX)
        TT_TRY(write_out(a, ptr, BUFFER_MAX, err));
    if (!make_room(a, len))
        return write_out(a, ptr, len, err);
    to_buffer(a, ptr, len);
    return TT_OK;
}

void tt_append_put(tt_append *a, const void *ptr, size_t len)
{
    check(a);
    if (len == 0)
        return;
    a->staged += len;
    if (a->state == FAILED)
        return;
    if (use(a, &a->error) != TT_OK) {
        a->state = FAILED;
        return;
    }
    a->state = STAGED;
    if (make_room(a, len))
        to_buffer(a, ptr, len);
    else if (put_through(a, ptr, len, &a->error) != TT_OK)
        a->state = FAILED;
}

static tt_rc sync_dir(const tt_append *a, tt_err *err)
{
    return tt_sys.fsync(a->dirfd) == 0 ? TT_OK : tt_fail_errno(err, errno, "cannot sync the directory of '%.256s'", a->path);
}

static tt_rc sync_file(tt_append *a, tt_err *err)
{
    a->sync_failed = true;
    if (tt_sys.fdatasync(a->fd) != 0)
        return tt_fail_errno(err, errno, "cannot sync '%.256s'", a->path);
    if (a->name_due)
        TT_TRY(sync_dir(a, err));
    a->unsynced = a->name_due = a->sync_failed = false;
    return TT_OK;
}

static tt_rc flush(tt_append *a, bool sync, tt_err *err)
{
    a->sync_failed = false;
    if (a->state == CLEAN && (!a->cut_due || a->empties) && !(sync && a->unsynced))
        return TT_OK;
    if (a->cut_due)
        TT_TRY(cut(a, err));
    if (a->state == STAGED) {
        TT_TRY(write_buffer(a, err));
        TT_TRY(check_length(a, err));
        if (whose_name(a) != NAME_OURS)
            return gone(a, "moved or replaced", err);
    }
    return sync && a->unsynced ? sync_file(a, err) : TT_OK;
}

tt_rc tt_append_flush(tt_append *a, bool sync, tt_append_mark *ret, tt_err *err)
{
    check(a);
    if (a->state != FAILED && flush(a, sync, &a->error) != TT_OK)
        a->state = FAILED;
    if (a->state == FAILED)
        return tt_err_set(err, a->error.file, a->error.line, a->error.code, "%s", a->error.text);
    if (a->state == STAGED)
        a->state = FLUSHED;
    ret->length_bytes = a->committed + a->written;
    ret->tail_hash = a->in_use ? tail_hash(a->staged_tail) : a->committed_hash;
    return TT_OK;
}

void tt_append_commit(tt_append *a)
{
    check(a);
    tt_assert(a->state == FLUSHED || a->state == CLEAN);
    if (a->state == FLUSHED) {
        a->committed += a->written;
        a->reach = a->committed;
        *a->committed_tail = *a->staged_tail;
        a->staged = a->written = 0;
        a->state = CLEAN;
    }
    if (a->empties) {
        a->empties = false;
        (void)!cut(a, NULL); /* else whatever writes next does it, or a restart */
    }
    rest(a);
}

static void forget_staged(tt_append *a)
{
    check(a);
    if (a->state != CLEAN && a->in_use)
        *a->staged_tail = *a->committed_tail;
    a->staged = a->written = 0;
    a->buf_len = 0;
    a->error.code = TT_OK;
    a->state = CLEAN;
    a->cut_due = a->reach > a->committed;
}

void tt_append_leave(tt_append *a)
{
    forget_staged(a);
    a->is_left = a->cut_due;
    rest(a);
}

tt_rc tt_append_rollback(tt_append *a, tt_err *err)
{
    forget_staged(a);
    tt_rc rc = a->cut_due && !a->empties ? cut(a, err) : TT_OK;
    rest(a);
    return rc;
}

/* --- opening and closing --- */

const char *tt_append_path(const tt_append *a) { return a->path; }
uint64_t tt_append_length(const tt_append *a) { return a->committed; }
bool tt_append_sync_failed(const tt_append *a) { return a->sync_failed; }
uint64_t tt_append_staged(const tt_append *a) { return a->staged; }

tt_str tt_append_staged_bytes(const tt_append *a)
{
    return a->state == STAGED && a->buf_len == a->staged ? (tt_str){a->buf, a->buf_len} : (tt_str){0};
}

void tt_append_id(const tt_append *a, uint64_t *ret_dev, uint64_t *ret_ino)
{
    *ret_dev = a->dev;
    *ret_ino = a->ino;
}

static void dispose(tt_append *a)
{
    if (a->is_taken)
        tt_taken_remove(a->dev, a->ino, a->path);
    tt_handle_drop(&a->handle);
    close_files(&a->handle); /* it may not have come so far as to be lent */
    free(a->path);
    free(a->buf);
    free(a);
}

void tt_append_close(tt_append *a)
{
    if (!a)
        return;
    if (!a->is_left && !a->empties)
        (void)tt_append_rollback(a, NULL); /* what cannot be cut off now is cut off by resume */
    dispose(a);
}

/* Locks the open file fd (the lock belongs to fd, not to the process) and takes down which file it is. */
static tt_rc lock_file(int fd, const char *path, struct stat *ret, tt_err *err)
{
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? tt_fail(err, TT_LOCKED, "the output '%.256s' is in use by another job or process", path)
                                    : tt_fail_errno(err, errno, "cannot lock '%.256s'", path);
    return fstat(fd, ret) == 0 ? TT_OK : tt_fail_errno(err, errno, "cannot look at '%.256s'", path);
}

static tt_rc open_dir(tt_append *a, const tt_roots *roots, tt_err *err)
{
    TT_FD_AUTO int handle = -1; /* O_PATH: not to be synced */
    tt_str name;
    TT_TRY(tt_roots_open_parent(roots, tt_str_of(a->path), &handle, &name, NULL, err));
    a->name = name.ptr; /* the end of a->path, so it ends with NUL */
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    a->dirfd = tt_sys.open(link, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return a->dirfd < 0 ? tt_fail_errno(err, errno, "cannot open the directory of '%.256s'", a->path) : TT_OK;
}

/* *ret is to be disposed of by the caller on failure as well. */
static tt_rc open_once(const tt_roots *roots, tt_str path, int flags, tt_append **ret, uint64_t *ret_size, tt_err *err)
{
    tt_append *a = *ret = TT_NEW(tt_append);
    struct stat st;
    a->handle.close = close_files;
    a->fd = a->dirfd = -1;
    TT_TRY(tt_roots_open(roots, path, O_RDWR | flags, 0666, &a->fd, &a->path, err));
    TT_TRY(open_dir(a, roots, err));
    TT_TRY(lock_file(a->fd, a->path, &st, err));
    a->dev = st.st_dev;
    a->ino = st.st_ino;
    *ret_size = (uint64_t)st.st_size;
    return make_tails(a, err);
}

/* Between opening and locking, the one who had the lock may have given the name to another file: then again. */
static tt_rc open_output(const tt_roots *roots, tt_str path, int flags, tt_append **ret, uint64_t *ret_size, tt_err *err)
{
    for (int i = 0; i < OPEN_TRIES; i++) {
        tt_append *a = NULL;
        tt_rc rc = open_once(roots, path, flags, &a, ret_size, err);
        if (rc == TT_OK && whose_name(a) == NAME_OURS) {
            lend(a);
            rc = tt_taken_add(a->dev, a->ino, a->path, err);
            a->is_taken = rc == TT_OK;
        }
        if (a->is_taken) {
            *ret = a;
            return TT_OK;
        }
        dispose(a);
        if (rc != TT_OK)
            return rc;
    }
    return tt_fail(err, TT_LOCKED, "the output '%.*s' is being replaced by something else", TT_STR_ARG(tt_str_slice(path, 0, 256)));
}

static int read_tail(int fd, uint64_t length, tail *ret)
{
    size_t want = length < TAIL_BYTES ? (size_t)length : TAIL_BYTES;
    int failed = tt_fd_read_at(fd, length - want, ret->bytes, want, &ret->len);
    return failed ? failed : ret->len < want ? EIO : 0;
}

int tt_append_mark_of(int fd, uint64_t length, tt_append_mark *ret)
{
    tail t;
    int failed = read_tail(fd, length, &t);
    if (!failed)
        *ret = (tt_append_mark){length, tail_hash(&t)};
    return failed;
}

/* The file ends (for us) at length; its last bytes are read. */
static tt_rc start_at(tt_append *a, uint64_t length, tt_err *err)
{
    int failed = read_tail(a->fd, length, a->committed_tail);
    if (failed)
        return tt_fail_errno(err, failed, "cannot read the end of '%.256s'", a->path);
    *a->staged_tail = *a->committed_tail;
    a->committed = a->reach = length;
    return TT_OK;
}

static tt_rc end_last_line(tt_append *a, tt_err *err)
{
    const tail *t = a->committed_tail;
    tt_append_mark mark;
    if (t->len == 0 || t->bytes[t->len - 1] == '\n')
        return TT_OK;
    tt_append_put(a, "\n", 1);
    TT_TRY(tt_append_flush(a, true, &mark, err));
    tt_append_commit(a);
    return TT_OK;
}

static tt_rc begin(tt_append *a, tt_append_mode mode, uint64_t size, tt_err *err)
{
    TT_TRY(sync_dir(a, err));
    if (mode == TT_APPEND_KEEP || size == 0) {
        TT_TRY(start_at(a, size, err));
        return end_last_line(a, err);
    }
    TT_TRY(start_at(a, 0, err));
    a->reach = size;
    a->cut_due = a->empties = true;
    return TT_OK;
}

tt_rc tt_append_create(const tt_roots *roots, tt_str path, tt_append_mode mode, tt_append **ret, tt_err *err)
{
    tt_append *a = NULL;
    uint64_t size;
    TT_TRY(open_output(roots, path, O_CREAT, &a, &size, err));
    tt_rc rc = begin(a, mode, size, err);
    if (rc != TT_OK) {
        tt_append_close(a);
        return rc;
    }
    rest(a);
    *ret = a;
    return TT_OK;
}

/* Checks before anything is changed. */
static tt_rc continue_at(tt_append *a, const tt_append_mark *recorded, uint64_t size, tt_err *err)
{
    if (size < recorded->length_bytes)
        return tt_fail(err, TT_CONFLICT, "the output '%.256s' has only %ju of the %ju bytes that were written: put the whole file back, or start the job anew",
            a->path, (uintmax_t)size, (uintmax_t)recorded->length_bytes);
    TT_TRY(start_at(a, recorded->length_bytes, err));
    if (recorded->length_bytes && tail_hash(a->committed_tail) != recorded->tail_hash)
        return tt_fail(err, TT_CONFLICT, "the output '%.256s' is not the file that was written: the bytes before position %ju differ; put that file back, or start the job anew",
            a->path, (uintmax_t)recorded->length_bytes);
    a->reach = size;
    TT_TRY(cut(a, err));
    a->name_due = recorded->length_bytes == 0; /* whoever made it may have died before its name was safe; ten thousand jobs do not ask for that at once */
    return TT_OK;
}

tt_rc tt_append_resume(const tt_roots *roots, tt_str path, const tt_append_mark *recorded, tt_append **ret, tt_err *err)
{
    tt_append *a = NULL;
    uint64_t size, length = recorded->length_bytes;
    tt_rc rc = open_output(roots, path, length ? 0 : O_CREAT, &a, &size, err);
    if (rc == TT_NOT_FOUND && length)
        return tt_fail(err, TT_CONFLICT, "the output '%.*s' is missing, %ju bytes were written to it: put it back, or start the job anew",
            TT_STR_ARG(tt_str_slice(path, 0, 256)), (uintmax_t)length);
    TT_TRY(rc);
    rc = continue_at(a, recorded, size, err);
    if (rc == TT_OK) {
        rest(a);
        *ret = a;
        return TT_OK;
    }
    a->reach = a->committed; /* not even a failed cut is tried again */
    tt_append_close(a);
    return rc;
}

/* --- putting the file aside, deleting it --- */

/* Makes an empty file under the first free name `<name>.1`, `.2`, ...: that name is nobody else's then. */
static tt_rc reserve_name(const tt_append *a, char ret[NAME_MAX + 1], tt_err *err)
{
    for (int i = 1; i <= MAX_GENERATIONS; i++) {
        if (snprintf(ret, NAME_MAX + 1, "%s.%d", a->name, i) > NAME_MAX)
            return tt_fail(err, TT_INVALID, "'%.256s' cannot be put aside as '%.256s': the name is too long", a->path, ret);
        int fd = tt_sys.open(beside(a, ret).text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0 && errno == EEXIST)
            continue;
        tt_rc rc = fd < 0 ? tt_fail_errno(err, errno, "cannot put '%.256s' aside as '%.256s'", a->path, ret) : TT_OK;
        tt_fd_close(&fd);
        return rc;
    }
    return tt_fail(err, TT_EXISTS, "'%.256s' cannot be put aside: %d older files lie beside it", a->path, MAX_GENERATIONS);
}

static tt_rc new_file(const tt_append *a, int *ret_fd, struct stat *ret, tt_err *err)
{
    TT_FD_AUTO int fd = tt_sys.open(beside(a, a->name).text, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot create '%.256s' anew", a->path);
    tt_rc rc = lock_file(fd, a->path, ret, err);
    if (rc == TT_OK)
        rc = sync_dir(a, err);
    if (rc == TT_OK)
        *ret_fd = tt_fd_take(&fd);
    else
        tt_sys.unlink(beside(a, a->name).text);
    return rc;
}

/* The old file goes to the reserved name; back again when no new one can be made. */
static tt_rc swap_file(tt_append *a, const char *old_name, int *ret_fd, struct stat *ret, tt_err *err)
{
    if (tt_sys.rename(beside(a, a->name).text, beside(a, old_name).text) != 0) {
        tt_rc rc = tt_fail_errno(err, errno, "cannot put '%.256s' aside as '%.256s'", a->path, old_name);
        tt_sys.unlink(beside(a, old_name).text);
        return rc;
    }
    tt_rc rc = new_file(a, ret_fd, ret, err);
    if (rc != TT_OK && whose_name(a) == NAME_FREE)
        (void)tt_sys.rename(beside(a, old_name).text, beside(a, a->name).text); /* else flush reports that the file is gone */
    return rc;
}

static void go_on_with(tt_append *a, int fd, const struct stat *st)
{
    if (a->is_taken)
        tt_taken_remove(a->dev, a->ino, a->path);
    close_locked(&a->fd);
    a->fd = fd;
    a->dev = st->st_dev;
    a->ino = st->st_ino;
    a->committed = a->reach = 0;
    a->committed_tail->len = a->staged_tail->len = 0;
    a->unsynced = false;
    a->is_taken = tt_taken_add(a->dev, a->ino, a->path, NULL) == TT_OK; /* it is new: nobody else's */
}

static tt_rc new_generation(tt_append *a, char **ret_old, tt_err *err)
{
    whose name = whose_name(a);
    if (name == NAME_OTHER)
        return gone(a, "moved or replaced", err);
    if (a->unsynced && tt_sys.fdatasync(a->fd) != 0)
        return tt_fail_errno(err, errno, "cannot sync '%.256s'", a->path);
    int fd = -1;
    struct stat st;
    char old_name[NAME_MAX + 1], *old = NULL;
    if (name == NAME_FREE) /* deleted by somebody: nothing to put aside */
        TT_TRY(new_file(a, &fd, &st, err));
    else {
        TT_TRY(reserve_name(a, old_name, err));
        TT_TRY(swap_file(a, old_name, &fd, &st, err));
        TT_BUF_AUTO tt_buf path = {0};
        tt_buf_printf(&path, "%.*s%s", (int)(a->name - a->path), a->path, old_name);
        old = tt_dup_cstr(tt_buf_cstr(&path));
    }
    go_on_with(a, fd, &st);
    *ret_old = old;
    return TT_OK;
}

tt_rc tt_append_new_generation(tt_append *a, char **ret_old, tt_err *err)
{
    TT_TRY(tt_append_rollback(a, err));
    TT_TRY(use(a, err));
    tt_rc rc = new_generation(a, ret_old, err);
    rest(a);
    return rc;
}

static tt_rc delete_file(tt_append *a, tt_err *err)
{
    if (!a->in_use && !tt_handle_pin(&a->handle)) { /* the directory is enough */
        if (open_dir_again(a, NULL) != TT_OK)
            return access(a->path, F_OK) != 0 && errno == ENOENT ? TT_OK : open_dir_again(a, err);
        tt_handle_opened(&a->handle, 1);
    }
    switch (whose_name(a)) {
    case NAME_OTHER:
        return tt_fail(err, TT_CONFLICT, "'%.256s' is not deleted: another file has taken the place of the output", a->path);
    case NAME_OURS:
        if (tt_sys.unlink(beside(a, a->name).text) != 0)
            return tt_fail_errno(err, errno, "cannot delete '%.256s'", a->path);
        break;
    case NAME_FREE:
        break;
    }
    return sync_dir(a, err);
}

tt_rc tt_append_remove(tt_append *a, tt_err *err)
{
    tt_rc rc = delete_file(a, err);
    tt_append_close(a);
    return rc;
}
