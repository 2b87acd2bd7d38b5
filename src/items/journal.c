#include "items/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <xxhash.h>

#include "base/mem.h"
#include "io/fd.h"

enum { HEAD_BYTES = 64, WINDOW_BYTES = 256 << 10 };

static uint32_t hash_of(uint64_t id, tt_str value) { return (uint32_t)XXH3_64bits_withSeed(value.ptr, value.len, id); }

void tt_journal_put(tt_append *file, uint64_t id, tt_str value)
{
    char head[HEAD_BYTES];
    int len = snprintf(head, sizeof head, "@%" PRIu64 " %zu %08" PRIx32 "\n", id, value.len, hash_of(id, value));
    tt_append_put(file, head, (size_t)len);
    tt_append_put(file, value.ptr, value.len);
    tt_append_put(file, "\n", 1);
}

struct tt_journal_reader {
    int fd;
    char *path;
    uint64_t at, to; /* of what is not in buf yet */
    uint64_t max_value_bytes;
    tt_buf buf;
    size_t pos;      /* behind the last record given */
};

tt_rc tt_journal_open(const tt_roots *roots, tt_str path, uint64_t from, uint64_t to, uint64_t max_value_bytes, tt_journal_reader **ret, tt_err *err)
{
    tt_journal_reader *r = TT_NEW(tt_journal_reader);
    *r = (tt_journal_reader){.fd = -1, .at = from, .to = to, .max_value_bytes = max_value_bytes};
    tt_rc rc = from <= to ? tt_roots_open(roots, path, O_RDONLY, 0, &r->fd, &r->path, err)
                          : tt_fail(err, TT_CORRUPT, "the journal `%.*s` is shorter than what was read of it", TT_STR_ARG(path));
    if (rc == TT_OK)
        *ret = r;
    else
        tt_journal_close(r);
    return rc;
}

void tt_journal_close(tt_journal_reader *r)
{
    if (!r)
        return;
    tt_fd_close(&r->fd);
    tt_buf_deinit(&r->buf);
    free(r->path);
    free(r);
}

uint64_t tt_journal_at(const tt_journal_reader *r) { return r->at - (r->buf.len - r->pos); }

static tt_rc damaged(const tt_journal_reader *r, tt_err *err)
{
    return tt_fail(err, TT_CORRUPT, "the journal `%s` is damaged at byte %" PRIu64 ": put that file back as it was, or start the job anew", r->path,
                   tt_journal_at(r));
}

/* At least need bytes from pos on, as long as there are so many. */
static tt_rc fill(tt_journal_reader *r, size_t need, tt_err *err)
{
    if (r->buf.len - r->pos >= need)
        return TT_OK;
    if (r->pos)
        memmove(r->buf.ptr, r->buf.ptr + r->pos, r->buf.len - r->pos);
    r->buf.len -= r->pos;
    r->pos = 0;
    size_t want = (need > WINDOW_BYTES ? need : WINDOW_BYTES) - r->buf.len, got = 0;
    if (want > r->to - r->at)
        want = (size_t)(r->to - r->at);
    if (!tt_buf_reserve(&r->buf, want + 1)) /* never NULL */
        return tt_fail(err, TT_NOMEM, "out of memory for a value of %zu bytes", need);
    int failed = tt_fd_read_at(r->fd, r->at, r->buf.ptr + r->buf.len, want, &got);
    if (failed)
        return tt_fail_errno(err, failed, "cannot read the journal `%s`", r->path);
    r->buf.len += got;
    r->at += got;
    return got < want ? damaged(r, err) : TT_OK;
}

static tt_rc read_head(tt_journal_reader *r, uint64_t *ret_id, uint64_t *ret_len, uint64_t *ret_hash, size_t *ret_head, tt_err *err)
{
    TT_TRY(fill(r, HEAD_BYTES, err));
    tt_str text = tt_str_slice((tt_str){r->buf.ptr + r->pos, r->buf.len - r->pos}, 0, HEAD_BYTES), id, len;
    ptrdiff_t end = tt_str_find(text, '\n');
    if (end < 0 || text.ptr[0] != '@')
        return damaged(r, err);
    text = tt_str_slice(text, 1, (size_t)end);
    tt_str_cut(&text, ' ', &id);
    tt_str_cut(&text, ' ', &len);
    char hex[9] = {0}, *stop;
    if (text.len != 8 || tt_parse_u64(id, ret_id, NULL) != TT_OK || tt_parse_u64(len, ret_len, NULL) != TT_OK || *ret_len > r->max_value_bytes)
        return damaged(r, err);
    memcpy(hex, text.ptr, 8);
    *ret_hash = strtoull(hex, &stop, 16);
    *ret_head = (size_t)end + 1;
    return *stop ? damaged(r, err) : TT_OK;
}

tt_rc tt_journal_next(tt_journal_reader *r, uint64_t *ret_id, tt_str *ret_value, bool *ret_end, tt_err *err)
{
    uint64_t len = 0, hash = 0;
    size_t head = 0;
    *ret_end = r->at == r->to && r->pos == r->buf.len;
    if (*ret_end)
        return TT_OK;
    TT_TRY(read_head(r, ret_id, &len, &hash, &head, err));
    size_t all = head + (size_t)len + 1;
    TT_TRY(fill(r, all, err));
    if (r->buf.len - r->pos < all)
        return damaged(r, err);
    tt_str value = {r->buf.ptr + r->pos + head, (size_t)len};
    if (value.ptr[len] != '\n' || hash_of(*ret_id, value) != hash)
        return damaged(r, err);
    *ret_value = value;
    r->pos += all;
    return TT_OK;
}
