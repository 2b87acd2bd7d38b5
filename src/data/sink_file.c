/* Files that appear whole: values go through a writer, perhaps a packer, into `.NAME.ID.part` beside the target; the commit syncs it and gives
 * it the target's name. Killed at any moment before, there is the part, which the next attempt begins anew; killed after it, the next attempt
 * makes the same bytes again and finds them in place.
 *
 * The target is replaced only when it is what it is expected to be: not there, the file that was there when the job began, what an
 * earlier commit made of it, what an attempt prepared before it was killed, or already these very bytes. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/sys.h"
#include "data/extension.h"
#include "data/parquet/spool.h"
#include "data/sink_impl.h"
#include "io/fd.h"
#include "io/pack.h"

enum { PLAIN_BYTES = 256 << 10, PACKED_BYTES = 256 << 10, COPY_BYTES = 256 << 10 };

typedef struct {
    tt_writer *writer;
    const tt_packer *packer; /* NULL: plain */
    void *packing;
    tt_pq_spool *records;    /* of Parquet: all values; NULL: written as they come */
    tt_buf plain;            /* not packed or written yet */
    unsigned char *room;     /* of the packer's output */
    int dirfd;               /* O_PATH */
    int fd;                  /* of the part; -1: committed, or none */
    uint64_t written;
    bool is_prepared;
    tt_append_mark mark;     /* of the part, prepared */
    tt_str name;             /* in spec->target */
    char part[NAME_MAX + 1];
} file_sink;

typedef struct { char text[64 + NAME_MAX]; } at_dir;
static at_dir beside(const file_sink *f, const char *name, size_t len)
{
    at_dir path;
    snprintf(path.text, sizeof path.text, "/proc/self/fd/%d/%.*s", f->dirfd, (int)len, name);
    return path;
}
static at_dir part_path(const file_sink *f) { return beside(f, f->part, strlen(f->part)); }
static at_dir target_path(const file_sink *f) { return beside(f, f->name.ptr, f->name.len); }

/* ---- writing ---- */

static tt_rc write_bytes(tt_sink *s, const void *ptr, size_t len, tt_err *err)
{
    file_sink *f = s->own;
    int failed = tt_fd_write_at(f->fd, f->written, ptr, len);
    if (failed)
        return tt_fail_errno(err, failed, "cannot write beside the output `%.*s`", TT_STR_ARG(tt_str_slice(s->spec.target, 0, 256)));
    f->written += len;
    return TT_OK;
}

static tt_rc pack(tt_sink *s, bool finish, tt_err *err)
{
    file_sink *f = s->own;
    tt_pack_io io = {.in = (const unsigned char *)f->plain.ptr, .in_len = f->plain.len, .finish = finish};
    do {
        io.out = f->room;
        io.out_len = PACKED_BYTES;
        tt_rc rc = f->packer->step(f->packing, &io);
        if (rc != TT_OK)
            return tt_fail(err, rc, "packing `%.*s` with %s failed", TT_STR_ARG(tt_str_slice(s->spec.target, 0, 256)), f->packer->name);
        TT_TRY(write_bytes(s, f->room, (size_t)(io.out - f->room), err));
    } while (io.in_len || (finish && !io.complete));
    return TT_OK;
}

static tt_rc write_plain(tt_sink *s, bool finish, tt_err *err)
{
    file_sink *f = s->own;
    tt_rc rc = f->packer ? pack(s, finish, err) : write_bytes(s, f->plain.ptr, f->plain.len, err);
    tt_buf_clear(&f->plain);
    return rc;
}

static tt_rc put(tt_sink *s, uint64_t id, tt_str value, tt_err *err)
{
    file_sink *f = s->own;
    TT_TRY(tt_writer_put(f->writer, value, &f->plain, err));
    if (f->records) {
        tt_buf_clear(&f->plain); /* it could be put */
        return tt_pq_spool_put(f->records, value, err);
    }
    return f->plain.len >= PLAIN_BYTES ? write_plain(s, false, err) : TT_OK;
}

/* ---- what was there before ---- */

static tt_rc other_file(const tt_sink *s, tt_err *err)
{
    return tt_fail(err, TT_CONFLICT, "the output `%.*s` is not the file that was there when the job began: move it away, and the results take its place",
                   TT_STR_ARG(tt_str_slice(s->spec.target, 0, 256)));
}

static bool begins_with(int fd, uint64_t size, const tt_append_mark *mark)
{
    tt_append_mark now;
    return size >= mark->length_bytes && tt_append_mark_of(fd, mark->length_bytes, &now) == 0 && now.tail_hash == mark->tail_hash;
}

static tt_rc copy_base(tt_sink *s, tt_err *err)
{
    file_sink *f = s->own;
    uint64_t length = s->spec.base.length_bytes;
    struct stat st;
    if (length == 0)
        return TT_OK;
    TT_FD_AUTO int fd = tt_sys.open(target_path(f).text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
    if (fd < 0 || fstat(fd, &st) != 0 || !begins_with(fd, (uint64_t)st.st_size, &s->spec.base))
        return other_file(s, err);
    TT_BUF_AUTO tt_buf piece = {0};
    if (!tt_buf_reserve(&piece, COPY_BYTES))
        return tt_fail(err, TT_NOMEM, "out of memory");
    for (size_t got; f->written < length;) {
        size_t want = length - f->written < COPY_BYTES ? (size_t)(length - f->written) : COPY_BYTES;
        int failed = tt_fd_read_at(fd, f->written, piece.ptr, want, &got);
        if (failed || got < want)
            return tt_fail_errno(err, failed ? failed : EIO, "cannot read the output `%.*s`", TT_STR_ARG(tt_str_slice(s->spec.target, 0, 256)));
        TT_TRY(write_bytes(s, piece.ptr, want, err));
        if (f->written == length && !f->packer && piece.ptr[want - 1] != '\n')
            tt_buf_char(&f->plain, '\n');
    }
    return TT_OK;
}

static bool ends_at(int fd, uint64_t size, const tt_append_mark *mark)
{
    return mark->length_bytes && size == mark->length_bytes && begins_with(fd, size, mark);
}

/* part: the mark of what is to take its place. */
static tt_rc may_replace(const tt_sink *s, const tt_append_mark *part, tt_err *err)
{
    const file_sink *f = s->own;
    struct stat st;
    TT_FD_AUTO int fd = tt_sys.open(target_path(f).text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0 && errno == ENOENT)
        return TT_OK;
    if (fd < 0 || fstat(fd, &st) != 0)
        return tt_fail_errno(err, errno, "cannot look at the output `%.*s`", TT_STR_ARG(tt_str_slice(s->spec.target, 0, 256)));
    uint64_t size = (uint64_t)st.st_size;
    bool is_known = S_ISREG(st.st_mode) && (s->spec.replaces || size == 0 || ends_at(fd, size, part) || ends_at(fd, size, &s->spec.base) || ends_at(fd, size, &s->spec.prepared) ||
                                            ends_at(fd, size, &s->spec.last));
    return is_known ? TT_OK : other_file(s, err);
}

/* ---- opening, the commit ---- */

static tt_rc name_part(tt_sink *s, tt_err *err)
{
    file_sink *f = s->own;
    int len = snprintf(f->part, sizeof f->part, ".%.*s.%.*s.part", TT_STR_ARG(f->name), TT_STR_ARG(s->spec.id));
    return len < (int)sizeof f->part ? TT_OK : tt_fail(err, TT_INVALID, "the name of the output `%.*s` is too long: a file beside it needs %d bytes more",
                                                       TT_STR_ARG(tt_str_slice(s->spec.target, 0, 256)), len - (int)f->name.len);
}

static tt_rc open_writer(tt_sink *s, tt_err *err)
{
    file_sink *f = s->own;
    tt_writer_spec spec = {.kind = s->spec.kind, .output_path = s->spec.target, .options = s->spec.options, .header = s->spec.header,
                           .state = s->spec.writer_state, .output_has_rows = s->spec.base.length_bytes > 0};
    TT_TRY(tt_writer_open(&spec, &f->writer, err));
    tt_writer_rewind(f->writer);
    return TT_OK;
}

static tt_rc start_packing(tt_sink *s, tt_err *err)
{
    file_sink *f = s->own;
    f->packer = tt_packer_find(s->spec.target);
    if (!f->packer)
        return TT_OK;
    f->room = tt_malloc(PACKED_BYTES);
    f->packing = f->packer->start();
    return f->room && f->packing ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for packing");
}

static bool is_parquet(const tt_sink_spec *spec)
{
    static const char *const extensions[] = {".parquet", ".pq", NULL};
    return spec->kind.len ? tt_str_is(spec->kind, "ParquetWriter") : tt_has_extension(spec->target, extensions);
}

/* Neither can rows be added to a file of Parquet, nor is it packed as a whole. */
static tt_rc check_parquet(const tt_sink_spec *spec, tt_err *err)
{
    if (spec->base.length_bytes)
        return tt_fail(err, TT_INVALID, "the output `%.*s` is there already, and rows cannot be added to a Parquet file: name another, or overwrite it",
                       TT_STR_ARG(tt_str_slice(spec->target, 0, 256)));
    if (tt_is_packed_name(spec->target))
        return tt_fail(err, TT_INVALID, "the output `%.*s`: a Parquet file is compressed inside: leave the ending .gz or .zst out",
                       TT_STR_ARG(tt_str_slice(spec->target, 0, 256)));
    return TT_OK;
}

static tt_rc open_file(tt_sink *s, const tt_sink_spec *spec, tt_err *err)
{
    file_sink *f = s->own = TT_NEW(file_sink);
    f->dirfd = f->fd = -1;
    TT_TRY(open_writer(s, err));
    if (is_parquet(spec))
        TT_TRY(tt_pq_spool_new(spec->spool_dir ? spec->spool_dir : "/tmp", spec->options, &f->records, err));
    else
        TT_TRY(start_packing(s, err));
    TT_TRY(tt_roots_open_parent(spec->roots, spec->target, &f->dirfd, &f->name, NULL, err));
    TT_TRY(name_part(s, err));
    f->fd = tt_sys.open(part_path(f).text, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (f->fd < 0)
        return tt_fail_errno(err, errno, "cannot write beside the output `%.*s`", TT_STR_ARG(tt_str_slice(spec->target, 0, 256)));
    return copy_base(s, err);
}

static tt_rc sync_dir(const tt_sink *s, tt_err *err)
{
    const file_sink *f = s->own;
    TT_FD_AUTO int fd = tt_sys.open(beside(f, ".", 1).text, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (fd < 0 || tt_sys.fsync(fd) != 0)
        return tt_fail_errno(err, errno, "cannot sync the directory of `%.*s`", TT_STR_ARG(tt_str_slice(s->spec.target, 0, 256)));
    return TT_OK;
}

static tt_rc write_parquet(tt_sink *s, tt_err *err)
{
    file_sink *f = s->own;
    char name[NAME_MAX + 1];
    snprintf(name, sizeof name, "%.*s", TT_STR_ARG(tt_str_slice(f->name, 0, NAME_MAX)));
    return tt_pq_spool_write(f->records, f->fd, name, &f->written, err);
}

static bool is_what_was_prepared(const tt_sink *s)
{
    struct stat st;
    TT_FD_AUTO int fd = tt_sys.open(target_path(s->own).text, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0);
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && ends_at(fd, (uint64_t)st.st_size, &s->spec.prepared);
}

static tt_rc prepare(tt_sink *s, tt_append_mark *ret, bool *ret_is_earlier, tt_err *err)
{
    file_sink *f = s->own;
    tt_assert(f->fd >= 0 && !f->is_prepared);
    TT_TRY(f->records ? write_parquet(s, err) : write_plain(s, true, err));
    if (tt_sys.fsync(f->fd) != 0)
        return tt_fail_errno(err, errno, "cannot sync the output `%.*s`", TT_STR_ARG(tt_str_slice(s->spec.target, 0, 256)));
    int failed = tt_append_mark_of(f->fd, f->written, &f->mark);
    if (failed)
        return tt_fail_errno(err, failed, "cannot read the output `%.*s` back", TT_STR_ARG(tt_str_slice(s->spec.target, 0, 256)));
    f->is_prepared = true;
    *ret_is_earlier = is_what_was_prepared(s);
    *ret = f->mark;
    return TT_OK;
}

static tt_rc commit(tt_sink *s, uint64_t position, tt_append_mark *ret, tt_err *err)
{
    file_sink *f = s->own;
    tt_append_mark ignored;
    bool too;
    if (!f->is_prepared)
        TT_TRY(prepare(s, &ignored, &too, err));
    TT_TRY(may_replace(s, &f->mark, err));
    if (tt_sys.rename(part_path(f).text, target_path(f).text) != 0)
        return tt_fail_errno(err, errno, "cannot give the output its name `%.*s`", TT_STR_ARG(tt_str_slice(s->spec.target, 0, 256)));
    tt_fd_close(&f->fd);
    TT_TRY(sync_dir(s, err));
    if (ret)
        *ret = f->mark;
    return TT_OK;
}

static void discard(const tt_sink_spec *spec)
{
    file_sink f = {.dirfd = -1, .fd = -1};
    tt_sink s = {.spec = *spec, .own = &f};
    if (tt_roots_open_parent(spec->roots, spec->target, &f.dirfd, &f.name, NULL, NULL) == TT_OK && name_part(&s, NULL) == TT_OK)
        tt_sys.unlink(part_path(&f).text);
    tt_fd_close(&f.dirfd);
}

static void close_file(tt_sink *s)
{
    file_sink *f = s->own;
    if (!f)
        return;
    if (f->fd >= 0)
        tt_sys.unlink(part_path(f).text);
    tt_fd_close(&f->fd);
    tt_fd_close(&f->dirfd);
    if (f->packing)
        f->packer->stop(f->packing);
    free(f->room);
    tt_buf_deinit(&f->plain);
    tt_writer_close(f->writer);
    tt_pq_spool_free(f->records);
    free(f);
}

/* ---- the rows ---- */

static bool is_any(const tt_sink_spec *spec) { return true; }
static bool is_packed(const tt_sink_spec *spec) { return tt_packer_find(spec->target) != NULL; }
static bool is_ordered(const tt_sink_spec *spec) { return spec->ordered; }

#define FILE_FUNCTIONS .open = open_file, .put = put, .prepare = prepare, .commit = commit, .discard = discard, .close = close_file, .is_file = true

const tt_sink_row tt_sink_plain = {
    .name = "file", .takes = ".jsonl .ndjson .json .csv .tsv", .promise = TT_SINK_APPEND, .matches = is_any, FILE_FUNCTIONS,
    .says = "exactly once: results are appended and synced, and the ledger records the length",
};
const tt_sink_row tt_sink_packed = {
    .name = "packed file", .takes = "the same with .gz or .zst behind", .promise = TT_SINK_SWAP, .matches = is_packed, FILE_FUNCTIONS,
    .says = "exactly once: results go to a local journal; when the job is complete, the whole file appears at once",
};
const tt_sink_row tt_sink_parquet = {
    .name = "Parquet file", .takes = ".parquet .pq", .promise = TT_SINK_SWAP, .matches = is_parquet, .check = check_parquet, FILE_FUNCTIONS,
    .says = "exactly once: as packed files; the columns' types follow from all rows",
};
const tt_sink_row tt_sink_ordered = {
    .name = "file in input order", .takes = "any file, with order=input", .promise = TT_SINK_SWAP, .matches = is_ordered, FILE_FUNCTIONS,
    .says = "exactly once: as packed files, sorted by id on the way",
};
