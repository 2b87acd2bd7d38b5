#include "io/source.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/sys.h"
#include "io/fd.h"
#include "io/fingerprint.h"
#include "io/handle.h"
#include "io/passing_hash.h"
#include "io/recode.h"
#include "io/unpack.h"

enum { IN_BYTES = 128 << 10, OUT_BYTES = 256 << 10 };

/* The unpacking of one file. Only the thread that has set source.busy touches it, and without the mutex, so that
 * readers of what is unpacked already never wait for the unpacker. */
typedef struct {
    void *state;
    unsigned char *in, *out;
    tt_unpack_io io;       /* io.in lies within in, io.out within out */
    uint64_t in_at;        /* of the file: where the next input comes from */
    bool in_eof;
    bool done;             /* nothing more comes */
    tt_err failure;        /* of the data, for good; TT_OK: none */
} unpacking;

struct tt_source {
    tt_handle handle;      /* first; of the descriptors, and of all that follows from what was unpacked */
    char *path;
    char *spool_dir;
    const tt_unpacker *row;/* NULL: its bytes are not packed */
    char *encoding;        /* of which UTF-8 is made; NULL: none */
    dev_t dev;
    ino_t ino;
    int fd;
    int spool_fd;          /* packed: what is unpacked; made anew when the file is opened again */
    tt_passing_hash hash;
    unpacking u;

    pthread_mutex_t opening; /* one at a time opens it again; above `mutex` */
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t moved;  /* busy ended */
    bool busy;             /* a thread unpacks */
    uint64_t unpacked;     /* bytes in the spool; changed by the busy thread only */
    bool done;             /* all is in the spool */
    uint64_t size_bytes;   /* unpacked, once that is known */
    bool size_known;
    tt_err failure;        /* nothing can follow what is in the spool; TT_OK: none */
};

/* What is read is not what lies there. */
static bool is_made(const tt_source *s) { return s->row || s->encoding; }

static tt_rc start_unpacking(tt_source *s, tt_err *err)
{
    do
        s->spool_fd = tt_fd_open_unlinked(s->spool_dir);
    while (s->spool_fd < 0 && tt_handles_make_room(errno));
    if (s->spool_fd < 0)
        return tt_fail_errno(err, errno, "cannot unpack '%.256s': no spool file in '%.256s'", s->path, s->spool_dir);
    unpacking *u = &s->u;
    u->in = tt_malloc(IN_BYTES);
    u->out = tt_malloc(OUT_BYTES);
    u->state = s->encoding ? tt_recode_start(s->encoding, s->row) : s->row->start();
    if (!u->in || !u->out || !u->state)
        return tt_fail(err, TT_NOMEM, "no memory to unpack '%.256s'", s->path);
    u->io = (tt_unpack_io){.in = u->in, .out = u->out, .out_len = OUT_BYTES};
    return TT_OK;
}

static void stop_unpacking(tt_source *s)
{
    unpacking *u = &s->u;
    if (u->state)
        (s->encoding ? tt_recode_stop : s->row->stop)(u->state);
    u->state = NULL;
    free(u->in);
    free(u->out);
    u->in = u->out = NULL;
}

/* All that begins anew when the file is opened again: nobody uses it now. */
static void close_files(tt_handle *h)
{
    tt_source *s = (tt_source *)h;
    stop_unpacking(s);
    s->u = (unpacking){0};
    s->unpacked = 0;
    s->done = false;
    s->failure = (tt_err){0};
    tt_fd_close(&s->spool_fd);
    tt_fd_close(&s->fd);
}

static void lend(tt_source *s) { tt_handle_opened(&s->handle, is_made(s) ? 2 : 1); }

static tt_rc look_at(tt_source *s, tt_err *err)
{
    unsigned char head[TT_UNPACK_MAGIC];
    size_t len = 0;
    struct stat st;
    int failed = tt_fd_read_at(s->fd, 0, head, sizeof head, &len);
    if (!failed && fstat(s->fd, &st) != 0)
        failed = errno;
    if (failed)
        return tt_fail_errno(err, failed, "cannot read '%.256s'", s->path);
    s->row = tt_unpacker_find(head, len);
    s->dev = st.st_dev;
    s->ino = st.st_ino;
    return is_made(s) ? start_unpacking(s, err) : TT_OK;
}

tt_rc tt_source_open_in(const tt_roots *roots, tt_str path, const char *spool_dir, const char *encoding, tt_source **ret, tt_err *err)
{
    TT_FD_AUTO int fd = -1;
    char *real = NULL;
    TT_TRY(tt_roots_open(roots, path, O_RDONLY, 0, &fd, &real, err));
    tt_source *s = TT_NEW(tt_source);
    s->handle.close = close_files;
    pthread_mutex_init(&s->opening, NULL);
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->moved, NULL);
    tt_passing_hash_init(&s->hash);
    s->path = real;
    s->spool_dir = tt_dup_cstr(spool_dir ? spool_dir : "");
    s->encoding = encoding ? tt_dup_cstr(encoding) : NULL;
    s->fd = tt_fd_take(&fd);
    s->spool_fd = -1;
    tt_rc rc = look_at(s, err);
    lend(s);
    tt_handle_unpin(&s->handle);
    if (rc == TT_OK)
        *ret = s;
    else
        tt_source_close(s);
    return rc;
}

tt_rc tt_source_open(const tt_roots *roots, tt_str path, const char *spool_dir, tt_source **ret, tt_err *err)
{
    return tt_source_open_in(roots, path, spool_dir, NULL, ret, err);
}

void tt_source_close(tt_source *s)
{
    if (!s)
        return;
    tt_handle_drop(&s->handle);
    tt_passing_hash_deinit(&s->hash);
    pthread_cond_destroy(&s->moved);
    pthread_mutex_destroy(&s->mutex);
    pthread_mutex_destroy(&s->opening);
    free(s->encoding);
    free(s->spool_dir);
    free(s->path);
    free(s);
}

const char *tt_source_path(const tt_source *s) { return s->path; }
bool tt_source_is_packed(const tt_source *s) { return is_made(s); }

/* ---- using it: the descriptors may have been given up meanwhile ---- */

/* The path was found below the roots once; only that very file is taken again. */
static tt_rc open_again(tt_source *s, tt_err *err)
{
    struct stat st;
    TT_FD_AUTO int fd = -1;
    do
        fd = tt_sys.open(s->path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC, 0);
    while (fd < 0 && tt_handles_make_room(errno));
    if (fd < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP)
        return tt_fail_errno(err, errno, "cannot open '%.256s' again", s->path);
    if (fd < 0 || fstat(fd, &st) != 0 || st.st_dev != s->dev || st.st_ino != s->ino)
        return tt_fail(err, TT_CONFLICT, "the input '%.256s' was %s while it was read: put the old file back and start the job once more, or start a new job", s->path,
                       fd < 0 ? "moved or deleted" : "replaced");
    s->fd = tt_fd_take(&fd);
    tt_rc rc = is_made(s) ? start_unpacking(s, err) : TT_OK;
    if (rc == TT_OK)
        lend(s);
    else
        close_files(&s->handle);
    return rc;
}

/* On success the descriptors stay until tt_handle_unpin. */
static tt_rc use(tt_source *s, tt_err *err)
{
    if (tt_handle_pin(&s->handle))
        return TT_OK;
    pthread_mutex_lock(&s->opening);
    tt_rc rc = tt_handle_pin(&s->handle) ? TT_OK : open_again(s, err);
    pthread_mutex_unlock(&s->opening);
    return rc;
}

static tt_rc used(tt_source *s, tt_rc rc)
{
    tt_handle_unpin(&s->handle);
    return rc;
}

static tt_rc refill(tt_source *s, tt_err *err)
{
    unpacking *u = &s->u;
    size_t len = 0;
    int failed = tt_fd_read_at(s->fd, u->in_at, u->in, IN_BYTES, &len);
    if (failed)
        return tt_fail_errno(err, failed, "cannot read '%.256s' at byte %ju", s->path, (uintmax_t)u->in_at);
    tt_passing_hash_note(&s->hash, u->in_at, u->in, len);
    u->in_at += len;
    u->in_eof = len < IN_BYTES;
    u->io.in = u->in;
    u->io.in_len = len;
    return TT_OK;
}

static tt_rc damaged(tt_source *s, tt_rc code, const char *why, tt_err *err)
{
    uint64_t at = s->u.in_at - s->u.io.in_len;
    uint64_t good = s->unpacked + (size_t)(s->u.io.out - s->u.out);
    return tt_fail(err, code, "'%.256s' cannot be unpacked (%s) at byte %ju, behind %ju unpacked bytes: %s",
        s->path, s->encoding ? s->encoding : s->row->name, (uintmax_t)at, (uintmax_t)good, why);
}

/* Unpacks until out is full, the file ends, or its data turn out to be damaged (kept in u->failure; what came before is good). */
static tt_rc fill_out(tt_source *s, tt_err *err)
{
    unpacking *u = &s->u;
    while (u->io.out_len && !u->done && u->failure.code == TT_OK) {
        if (!u->io.in_len && !u->in_eof)
            TT_TRY(refill(s, err));
        if (!u->io.in_len && u->in_eof && u->io.complete) {
            u->done = true;
            break;
        }
        size_t in_before = u->io.in_len, out_before = u->io.out_len;
        tt_rc rc = (s->encoding ? tt_recode_step : s->row->step)(u->state, &u->io);
        bool stuck = in_before == u->io.in_len && out_before == u->io.out_len && !u->io.complete;
        if (rc != TT_OK)
            (void)damaged(s, rc, u->io.why, &u->failure);
        else if (stuck)
            (void)damaged(s, TT_CORRUPT, u->in_eof ? "the file is cut off" : "the data lead nowhere", &u->failure);
    }
    return TT_OK;
}

/* One round: some output, and its way into the spool. After a failure that may pass (disk full) the next round goes on where this one stopped. */
static tt_rc unpack_round(tt_source *s, size_t *ret_len, tt_err *err)
{
    unpacking *u = &s->u;
    TT_TRY(fill_out(s, err));
    size_t len = OUT_BYTES - u->io.out_len;
    int failed = tt_fd_write_at(s->spool_fd, s->unpacked, u->out, len);
    if (failed)
        return tt_fail_errno(err, failed, "cannot unpack '%.256s': the spool file, at byte %ju", s->path, (uintmax_t)s->unpacked);
    u->io.out = u->out;
    u->io.out_len = OUT_BYTES;
    *ret_len = len;
    return TT_OK;
}

/* With the mutex held; lets go of it while it unpacks. */
static tt_rc unpack_more(tt_source *s, tt_err *err)
{
    size_t len = 0;
    s->busy = true;
    pthread_mutex_unlock(&s->mutex);
    tt_rc rc = unpack_round(s, &len, err);
    pthread_mutex_lock(&s->mutex);
    s->busy = false;
    if (rc == TT_OK) {
        s->unpacked += len;
        s->done = s->u.done;
        s->size_known |= s->done;
        s->size_bytes = s->unpacked;
        s->failure = s->u.failure;
        if (s->done || s->failure.code != TT_OK)
            stop_unpacking(s);
    }
    pthread_cond_broadcast(&s->moved);
    return rc;
}

/* Until the spool has the bytes before end, or all there are. */
static tt_rc unpack_to(tt_source *s, uint64_t end, tt_err *err)
{
    tt_rc rc = TT_OK;
    pthread_mutex_lock(&s->mutex);
    while (rc == TT_OK && s->unpacked < end && !s->done) {
        if (s->failure.code != TT_OK)
            rc = tt_err_set(err, s->failure.file, s->failure.line, s->failure.code, "%s", s->failure.text);
        else if (s->busy)
            pthread_cond_wait(&s->moved, &s->mutex);
        else
            rc = unpack_more(s, err);
    }
    pthread_mutex_unlock(&s->mutex);
    return rc;
}

static tt_rc read_at(tt_source *s, uint64_t at, void *buf, size_t cap, size_t *ret_len, tt_err *err)
{
    bool packed = tt_source_is_packed(s);
    if (packed)
        TT_TRY(unpack_to(s, cap > UINT64_MAX - at ? UINT64_MAX : at + cap, err));
    size_t len = 0;
    int failed = tt_fd_read_at(packed ? s->spool_fd : s->fd, at, buf, cap, &len);
    if (failed)
        return tt_fail_errno(err, failed, "cannot read '%.256s' at byte %ju", s->path, (uintmax_t)at);
    if (!packed)
        tt_passing_hash_note(&s->hash, at, buf, len);
    *ret_len = len;
    return TT_OK;
}

tt_rc tt_source_read_at(tt_source *s, uint64_t at, void *buf, size_t cap, size_t *ret_len, tt_err *err)
{
    TT_TRY(use(s, err));
    return used(s, read_at(s, at, buf, cap, ret_len, err));
}

/* Of the open file. */
static tt_rc look(tt_source *s, struct stat *ret, tt_err *err)
{
    TT_TRY(use(s, err));
    return used(s, fstat(s->fd, ret) == 0 ? TT_OK : tt_fail_errno(err, errno, "cannot look at '%.256s'", s->path));
}

bool tt_source_size(tt_source *s, uint64_t *ret_bytes)
{
    if (!tt_source_is_packed(s)) {
        struct stat st;
        bool known = look(s, &st, NULL) == TT_OK;
        if (known)
            *ret_bytes = (uint64_t)st.st_size;
        return known;
    }
    pthread_mutex_lock(&s->mutex);
    bool known = s->size_known;
    if (known)
        *ret_bytes = s->size_bytes;
    pthread_mutex_unlock(&s->mutex);
    return known;
}

tt_rc tt_source_fingerprint(tt_source *s, tt_fingerprint *ret, tt_err *err)
{
    TT_TRY(use(s, err));
    int failed = tt_fingerprint_of(s->fd, ret);
    return used(s, failed ? tt_fail_errno(err, failed, "cannot read '%.256s'", s->path) : TT_OK);
}

void tt_source_hash_reads(tt_source *s) { tt_passing_hash_start(&s->hash); }

static tt_rc hash_step(tt_source *s, uint64_t budget_bytes, bool *ret_done, tt_fingerprint *ret, tt_err *err)
{
    uint64_t hash, bytes;
    int failed = tt_passing_hash_step(&s->hash, s->fd, budget_bytes, ret_done, &hash, &bytes);
    if (failed)
        return failed == ENOMEM ? tt_fail(err, TT_NOMEM, "no memory to look through '%.256s'", s->path) : tt_fail_errno(err, failed, "cannot read '%.256s'", s->path);
    if (!*ret_done)
        return TT_OK;
    TT_TRY(tt_source_fingerprint(s, ret, err));
    ret->size_bytes = bytes;
    ret->whole_hash = hash;
    return TT_OK;
}

tt_rc tt_source_hash_step(tt_source *s, uint64_t budget_bytes, bool *ret_done, tt_fingerprint *ret, tt_err *err)
{
    TT_TRY(use(s, err));
    return used(s, hash_step(s, budget_bytes, ret_done, ret, err));
}

bool tt_source_is_touched(tt_source *s, const tt_fingerprint *recorded)
{
    struct stat st;
    return look(s, &st, NULL) == TT_OK && (uint64_t)st.st_size == recorded->size_bytes && tt_mtime_ns(&st) != recorded->mtime_ns;
}

tt_rc tt_source_unchanged(tt_source *s, const tt_fingerprint *recorded, tt_err *err)
{
    struct stat st;
    TT_TRY(look(s, &st, err));
    if ((uint64_t)st.st_size == recorded->size_bytes && tt_mtime_ns(&st) == recorded->mtime_ns)
        return TT_OK;
    return tt_fail(err, TT_CONFLICT, "the input '%.256s' was changed while it was read: put the old file back, or start a new job", s->path);
}
