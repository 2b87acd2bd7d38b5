#include "data/merge.h"

#include <errno.h>

#include "base/vec.h"
#include "io/fd.h"

/* In a spill file: id, length, bytes; nobody else ever sees one. */
typedef struct {
    uint64_t id;
    uint64_t len;
} head;

typedef struct {
    uint64_t id;
    size_t at, len; /* in bytes */
} entry;

typedef struct {
    int fd;
    uint64_t at, end; /* of what is not in buf yet */
    tt_buf buf;
    size_t pos;       /* of the current record's value in buf */
    head now;         /* the current record */
    size_t number;    /* runs of one id go in the order in which they were made */
} run;
typedef TT_VEC(run) runs;

struct tt_merge {
    const char *dir;
    size_t run_bytes;
    tt_buf bytes;
    TT_VEC(entry) entries;
    size_t next;      /* entry, when all is in memory */
    int fd;           /* of the runs; -1: none yet */
    uint64_t fd_len;
    runs runs;
    TT_VEC(run *) heap;
    tt_buf out;       /* to be written to fd */
    bool first;       /* the top of the heap has not been given out yet */
};

enum { WRITE_BYTES = 1 << 20 };

tt_merge *tt_merge_new(const char *spool_dir, size_t run_bytes)
{
    tt_merge *m = TT_NEW(tt_merge);
    m->dir = spool_dir;
    m->run_bytes = run_bytes ? run_bytes : TT_MERGE_RUN_BYTES;
    m->fd = -1;
    return m;
}

static void free_runs(runs *r)
{
    for (size_t i = 0; i < r->len; i++)
        tt_buf_deinit(&r->ptr[i].buf);
    tt_vec_deinit(r);
}

void tt_merge_free(tt_merge *m)
{
    if (!m)
        return;
    free_runs(&m->runs);
    tt_vec_deinit(&m->heap);
    tt_vec_deinit(&m->entries);
    tt_buf_deinit(&m->bytes);
    tt_buf_deinit(&m->out);
    tt_fd_close(&m->fd);
    free(m);
}

/* ---- writing runs ---- */

static tt_rc write_out(tt_merge *m, tt_err *err)
{
    TT_TRY(tt_buf_check(&m->out, err));
    int failed = tt_fd_write_at(m->fd, m->fd_len, m->out.ptr, m->out.len);
    if (failed)
        return tt_fail_errno(err, failed, "cannot write a spill file in `%s`", m->dir);
    m->fd_len += m->out.len;
    tt_buf_clear(&m->out);
    return TT_OK;
}

static tt_rc open_spill(tt_merge *m, tt_err *err)
{
    m->fd = tt_fd_open_unlinked(m->dir);
    m->fd_len = 0;
    return m->fd < 0 ? tt_fail_errno(err, errno, "cannot make a spill file in `%s`", m->dir) : TT_OK;
}

static tt_rc put_record(tt_merge *m, uint64_t id, tt_str value, tt_err *err)
{
    head h = {id, value.len};
    tt_buf_put(&m->out, &h, sizeof h);
    tt_buf_str(&m->out, value);
    return m->out.len >= WRITE_BYTES ? write_out(m, err) : TT_OK;
}

static tt_rc end_run(tt_merge *m, runs *list, uint64_t from, tt_err *err)
{
    TT_TRY(write_out(m, err));
    if (!tt_vec_push(list, ((run){.fd = m->fd, .at = from, .end = m->fd_len, .number = list->len})))
        return tt_fail(err, TT_NOMEM, "out of memory for %zu runs", list->len);
    return TT_OK;
}

static int by_id(const void *a, const void *b)
{
    const entry *l = a, *r = b;
    if (l->id != r->id)
        return l->id < r->id ? -1 : 1;
    return l->at < r->at ? -1 : l->at > r->at; /* places are in the order of arrival */
}

static void sort_entries(tt_merge *m)
{
    bool sorted = true;
    for (size_t i = 1; i < m->entries.len && sorted; i++)
        sorted = m->entries.ptr[i - 1].id <= m->entries.ptr[i].id;
    if (!sorted)
        qsort(m->entries.ptr, m->entries.len, sizeof *m->entries.ptr, by_id);
}

static tt_rc spill(tt_merge *m, tt_err *err)
{
    if (m->entries.len == 0)
        return TT_OK;
    if (m->fd < 0)
        TT_TRY(open_spill(m, err));
    uint64_t from = m->fd_len;
    sort_entries(m);
    for (size_t i = 0; i < m->entries.len; i++)
        TT_TRY(put_record(m, m->entries.ptr[i].id, (tt_str){m->bytes.ptr + m->entries.ptr[i].at, m->entries.ptr[i].len}, err));
    TT_TRY(end_run(m, &m->runs, from, err));
    tt_vec_clear(&m->entries);
    tt_buf_clear(&m->bytes);
    return TT_OK;
}

tt_rc tt_merge_add(tt_merge *m, uint64_t id, tt_str value, tt_err *err)
{
    size_t used = m->bytes.len + m->entries.len * sizeof *m->entries.ptr;
    if (used && (used >= m->run_bytes || value.len > m->run_bytes - used))
        TT_TRY(spill(m, err));
    /* A byte for each, so that places of empty values differ too. */
    entry e = {id, m->bytes.len, value.len};
    tt_buf_str(&m->bytes, value);
    tt_buf_char(&m->bytes, '\n');
    TT_TRY(tt_buf_check(&m->bytes, err));
    return tt_vec_push(&m->entries, e) ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for values to be sorted");
}

/* ---- reading runs ---- */

/* At least need bytes from pos on, as long as the run has them. */
static tt_rc fill(run *r, size_t need, tt_err *err)
{
    if (r->buf.len - r->pos >= need)
        return TT_OK;
    if (r->buf.len > r->pos)
        memmove(r->buf.ptr, r->buf.ptr + r->pos, r->buf.len - r->pos);
    r->buf.len -= r->pos;
    r->pos = 0;
    size_t want = need > TT_MERGE_READ_BYTES ? need : TT_MERGE_READ_BYTES, got = 0;
    want -= r->buf.len;
    if (want > r->end - r->at)
        want = (size_t)(r->end - r->at);
    if (!tt_buf_reserve(&r->buf, want))
        return tt_fail(err, TT_NOMEM, "out of memory for a value of %zu bytes", need);
    int failed = tt_fd_read_at(r->fd, r->at, r->buf.ptr + r->buf.len, want, &got);
    if (failed || got < want)
        return tt_fail_errno(err, failed ? failed : EIO, "cannot read a spill file");
    r->buf.len += got;
    r->at += got;
    return TT_OK;
}

/* To the next record. False: the run is over. */
static tt_rc advance(run *r, bool *ret_more, tt_err *err)
{
    r->pos += (size_t)r->now.len;
    *ret_more = r->at < r->end || r->pos < r->buf.len;
    if (!*ret_more)
        return TT_OK;
    TT_TRY(fill(r, sizeof r->now, err));
    memcpy(&r->now, r->buf.ptr + r->pos, sizeof r->now);
    r->pos += sizeof r->now;
    return fill(r, (size_t)r->now.len, err);
}

/* ---- the heap of runs ---- */

static bool is_before(const run *a, const run *b) { return a->now.id != b->now.id ? a->now.id < b->now.id : a->number < b->number; }

static void sift_down(tt_merge *m, size_t at)
{
    run **heap = m->heap.ptr;
    for (size_t child; (child = 2 * at + 1) < m->heap.len; at = child) {
        if (child + 1 < m->heap.len && is_before(heap[child + 1], heap[child]))
            child++;
        if (!is_before(heap[child], heap[at]))
            return;
        run *moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
    }
}

static tt_rc make_heap(tt_merge *m, run *first, size_t count, tt_err *err)
{
    bool more;
    tt_vec_clear(&m->heap);
    if (!tt_vec_reserve(&m->heap, count))
        return tt_fail(err, TT_NOMEM, "out of memory for %zu runs", count);
    for (size_t i = 0; i < count; i++) {
        TT_TRY(advance(&first[i], &more, err));
        if (more)
            m->heap.ptr[m->heap.len++] = &first[i];
    }
    for (size_t i = m->heap.len / 2; i-- > 0;)
        sift_down(m, i);
    m->first = true;
    return TT_OK;
}

static tt_rc pop(tt_merge *m, uint64_t *ret_id, tt_str *ret_value, bool *ret_end, tt_err *err)
{
    bool more = true;
    if (!m->first && m->heap.len) {
        TT_TRY(advance(m->heap.ptr[0], &more, err));
        if (!more) {
            tt_buf_deinit(&m->heap.ptr[0]->buf);
            m->heap.ptr[0] = tt_vec_pop(&m->heap);
        }
        sift_down(m, 0);
    }
    m->first = false;
    *ret_end = m->heap.len == 0;
    if (*ret_end)
        return TT_OK;
    const run *top = m->heap.ptr[0];
    *ret_id = top->now.id;
    *ret_value = (tt_str){top->buf.ptr + top->pos, (size_t)top->now.len};
    return TT_OK;
}

/* One pass: each WIDTH runs become one, in another file. */
static tt_rc merge_pass(tt_merge *m, runs *merged, tt_err *err)
{
    uint64_t id;
    tt_str value;
    TT_TRY(open_spill(m, err));
    for (size_t i = 0; i < m->runs.len; i += TT_MERGE_WIDTH) {
        size_t count = m->runs.len - i < TT_MERGE_WIDTH ? m->runs.len - i : TT_MERGE_WIDTH;
        uint64_t from = m->fd_len;
        bool end;
        TT_TRY(make_heap(m, &m->runs.ptr[i], count, err));
        for (;;) {
            TT_TRY(pop(m, &id, &value, &end, err));
            if (end)
                break;
            TT_TRY(put_record(m, id, value, err));
        }
        TT_TRY(end_run(m, merged, from, err));
    }
    return TT_OK;
}

static tt_rc narrow(tt_merge *m, tt_err *err)
{
    runs merged = {0};
    int old = tt_fd_take(&m->fd);
    tt_rc rc = merge_pass(m, &merged, err);
    tt_fd_close(&old);
    free_runs(&m->runs);
    m->runs = merged;
    return rc;
}

tt_rc tt_merge_start(tt_merge *m, tt_err *err)
{
    if (m->runs.len == 0) {
        sort_entries(m);
        return TT_OK;
    }
    TT_TRY(spill(m, err));
    tt_buf_deinit(&m->bytes);
    tt_vec_deinit(&m->entries);
    while (m->runs.len > TT_MERGE_WIDTH)
        TT_TRY(narrow(m, err));
    return make_heap(m, m->runs.ptr, m->runs.len, err);
}

tt_rc tt_merge_next(tt_merge *m, uint64_t *ret_id, tt_str *ret_value, bool *ret_end, tt_err *err)
{
    if (m->runs.len)
        return pop(m, ret_id, ret_value, ret_end, err);
    *ret_end = m->next == m->entries.len;
    if (*ret_end)
        return TT_OK;
    const entry *e = &m->entries.ptr[m->next++];
    *ret_id = e->id;
    *ret_value = (tt_str){m->bytes.ptr + e->at, e->len};
    return TT_OK;
}
