#include "data/parquet/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>

#include "base/sys.h"
#include "data/json.h"
#include "data/parquet/codec.h"
#include "io/fd.h"

enum { PIECE_BYTES = 1 << 20, FRAME_BYTES = 4 };

struct tt_pq_spool {
    tt_pq_table *table;
    tt_pq_codec codec;
    int fd;           /* records, each with its length in front */
    uint64_t written, at; /* bytes in fd; read again */
    tt_buf piece;
};

static tt_rc declare(tt_pq_spool *s, json_t *options, tt_err *err)
{
    const char *codec = json_string_value(json_object_get(options, "codec"));
    TT_TRY(tt_pq_table_declare_all(s->table, options, err));
    s->codec = TT_PQ_C_ZSTD;
    if (codec && !tt_pq_codec_find(tt_str_of(codec), &s->codec))
        return tt_fail(err, TT_INVALID, "codec `%.100s`: cannot be written: use zstd, snappy, lz4_raw, gzip or none", codec);
    return TT_OK;
}

tt_rc tt_pq_spool_new(const char *dir, tt_str options, tt_pq_spool **ret, tt_err *err)
{
    tt_pq_spool *s = TT_NEW(tt_pq_spool);
    json_t *root = options.len ? json_loadb(options.ptr, options.len, JSON_ALLOW_NUL, NULL) : NULL;
    s->fd = tt_sys.open(dir, O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);
    tt_rc rc = s->fd < 0 ? tt_fail_errno(err, errno, "cannot keep records in `%.256s`", dir) : tt_pq_table_new(&s->table, err);
    if (rc == TT_OK)
        rc = declare(s, root, err);
    json_decref(root);
    if (rc != TT_OK) {
        tt_pq_spool_free(s);
        return rc;
    }
    *ret = s;
    return TT_OK;
}

void tt_pq_spool_free(tt_pq_spool *s)
{
    if (!s)
        return;
    tt_fd_close(&s->fd);
    tt_pq_table_free(s->table);
    tt_buf_deinit(&s->piece);
    free(s);
}

static tt_rc flush(tt_pq_spool *s, tt_err *err)
{
    TT_TRY(tt_buf_check(&s->piece, err));
    int failed = tt_fd_write_at(s->fd, s->written, s->piece.ptr, s->piece.len);
    if (failed)
        return tt_fail_errno(err, failed, "cannot keep records");
    s->written += s->piece.len;
    tt_buf_clear(&s->piece);
    return TT_OK;
}

tt_rc tt_pq_spool_put(tt_pq_spool *s, tt_str record, tt_err *err)
{
    uint32_t length = (uint32_t)record.len;
    if (record.len > INT32_MAX)
        return tt_fail(err, TT_INVALID, "a record of %zu bytes is too long", record.len);
    TT_TRY(tt_pq_table_see(s->table, record, err));
    tt_buf_put(&s->piece, &length, FRAME_BYTES);
    tt_buf_str(&s->piece, record);
    return s->piece.len >= PIECE_BYTES ? flush(s, err) : TT_OK;
}

/* Exactly len bytes of what follows, into the piece. */
static tt_rc read_next(tt_pq_spool *s, size_t len, tt_err *err)
{
    size_t got = 0;
    tt_buf_clear(&s->piece);
    if (!tt_buf_reserve(&s->piece, len))
        return tt_fail(err, TT_NOMEM, "out of memory");
    int failed = tt_fd_read_at(s->fd, s->at, s->piece.ptr, len, &got);
    if (failed || got < len)
        return tt_fail_errno(err, failed ? failed : EIO, "cannot read records back");
    s->piece.len = len;
    s->at += len;
    return TT_OK;
}

/* The records of a piece of the file; a record that goes over its end is begun again with the next one. */
static tt_rc write_piece(tt_pq_spool *s, tt_pq_writer *w, tt_err *err)
{
    uint64_t left = s->written - s->at;
    uint32_t length;
    TT_TRY(read_next(s, left < PIECE_BYTES ? (size_t)left : PIECE_BYTES, err));
    size_t at = 0, end = s->piece.len;
    while (end - at >= FRAME_BYTES) {
        memcpy(&length, s->piece.ptr + at, FRAME_BYTES);
        if (length > end - at - FRAME_BYTES)
            break;
        TT_TRY(tt_pq_table_put(s->table, w, (tt_str){s->piece.ptr + at + FRAME_BYTES, length}, err));
        at += FRAME_BYTES + length;
    }
    s->at -= end - at;
    if (at || s->at == s->written)
        return TT_OK;
    memcpy(&length, s->piece.ptr, FRAME_BYTES); /* longer than a piece */
    TT_TRY(read_next(s, FRAME_BYTES + (size_t)length, err));
    return tt_pq_table_put(s->table, w, (tt_str){s->piece.ptr + FRAME_BYTES, length}, err);
}

tt_rc tt_pq_spool_write(tt_pq_spool *s, int fd, const char *name, uint64_t *ret_bytes, tt_err *err)
{
    TT_PQ_WRITER_AUTO tt_pq_writer *w = NULL;
    tt_pq_writer_options options = {.codec = s->codec};
    TT_TRY(flush(s, err));
    options.field_count = tt_pq_table_fields(s->table, &options.fields);
    TT_TRY(tt_pq_writer_new(fd, name, &options, &w, err));
    while (s->at < s->written)
        TT_TRY(write_piece(s, w, err));
    TT_TRY(tt_pq_writer_finish(w, err));
    *ret_bytes = tt_pq_writer_bytes(w);
    return TT_OK;
}
