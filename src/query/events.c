#include "query/events.h"

#include <errno.h>

#include "io/fd.h"

enum { PIECE_BYTES = TT_EVENT_PIECE * sizeof(tt_packed_event) };

static tt_rc no_memory(tt_err *err) { return tt_fail(err, TT_NOMEM, "out of memory for the events of a sequence: give the query a timeframe, or make the parts smaller"); }

void tt_events_init(tt_events *e, uint64_t memory_bytes, const char *dir)
{
    memset(e, 0, sizeof *e);
    e->memory_bytes = memory_bytes;
    e->dir = dir;
    e->fd = -1;
}

static void free_pieces(tt_events *e, tt_event_partition *p)
{
    for (size_t i = 0; i < p->full.len; i++)
        free(p->full.ptr[i]);
    e->kept_bytes -= p->full.len * PIECE_BYTES;
    tt_vec_clear(&p->full);
    tt_vec_clear(&p->spilled);
    p->head_count = 0;
}

void tt_events_clear(tt_events *e)
{
    for (size_t i = 0; i < TT_EVENT_PARTITIONS; i++)
        free_pieces(e, &e->parts[i]);
    e->file_bytes = 0;
}

void tt_events_deinit(tt_events *e)
{
    tt_events_clear(e);
    for (size_t i = 0; i < TT_EVENT_PARTITIONS; i++) {
        free(e->parts[i].head);
        tt_vec_deinit(&e->parts[i].full);
        tt_vec_deinit(&e->parts[i].spilled);
    }
    tt_vec_deinit(&e->sorted);
    tt_vec_deinit(&e->ends);
    free(e->piece);
    tt_fd_close(&e->fd);
}

/* ---- adding ---- */

static tt_rc spill(tt_events *e, tt_event_partition *p, tt_err *err)
{
    if (e->fd < 0)
        e->fd = tt_fd_open_unlinked(e->dir);
    if (e->fd < 0)
        return tt_fail_errno(err, errno, "cannot keep the events of a query in %s (TMPDIR names another directory)", e->dir);
    int failed = tt_fd_write_at(e->fd, e->file_bytes, p->head, PIECE_BYTES);
    if (failed)
        return tt_fail_errno(err, failed, "cannot keep the events of a query in %s (TMPDIR names another directory)", e->dir);
    if (!tt_vec_push(&p->spilled, e->file_bytes))
        return no_memory(err);
    e->file_bytes += PIECE_BYTES;
    p->head_count = 0;
    return TT_OK;
}

/* The head is full, or there is none. */
tt_rc tt_events_next_piece(tt_events *e, tt_event_partition *p, tt_err *err)
{
    if (p->head && e->kept_bytes + PIECE_BYTES > e->memory_bytes)
        return spill(e, p, err);
    if (p->head && !tt_vec_reserve(&p->full, 1))
        return no_memory(err);
    tt_packed_event *piece = tt_malloc(PIECE_BYTES);
    if (!piece)
        return no_memory(err);
    if (p->head) {
        p->full.ptr[p->full.len++] = p->head;
        e->kept_bytes += PIECE_BYTES;
    }
    p->head = piece;
    p->head_count = 0;
    return TT_OK;
}

/* ---- one partition ---- */

/* Piece i of a partition: those in memory, those in the file, the head. */
static tt_rc piece_at(tt_events *e, const tt_event_partition *p, size_t i, const tt_packed_event **ret, uint32_t *ret_count, tt_err *err)
{
    size_t len = 0;
    *ret_count = TT_EVENT_PIECE;
    if (i < p->full.len) {
        *ret = p->full.ptr[i];
        return TT_OK;
    }
    if (i == p->full.len + p->spilled.len) {
        *ret = p->head;
        *ret_count = p->head_count;
        return TT_OK;
    }
    if (!e->piece && !(e->piece = tt_malloc(PIECE_BYTES)))
        return no_memory(err);
    *ret = e->piece;
    int failed = tt_fd_read_at(e->fd, p->spilled.ptr[i - p->full.len], e->piece, PIECE_BYTES, &len);
    if (failed || len != PIECE_BYTES)
        return tt_fail_errno(err, failed ? failed : EIO, "cannot read the events of a query again");
    return TT_OK;
}

static size_t piece_count(const tt_event_partition *p) { return p->full.len + p->spilled.len + 1; }
static uint32_t place_of(const tt_packed_event *event) { return (event->group & ~TT_EVENT_HIGH) / TT_EVENT_PARTITIONS; }

/* ends[i + 1]: how many the i-th group has. */
static tt_rc count_events(tt_events *e, const tt_event_partition *p, uint32_t *ends, tt_err *err)
{
    for (size_t i = 0; i < piece_count(p); i++) {
        const tt_packed_event *piece;
        uint32_t count;
        TT_TRY(piece_at(e, p, i, &piece, &count, err));
        for (uint32_t k = 0; k < count; k++)
            ends[place_of(&piece[k]) + 1]++;
    }
    return TT_OK;
}

static tt_rc sort_events(tt_events *e, const tt_event_partition *p, uint32_t *ends, tt_packed_event *sorted, tt_err *err)
{
    for (size_t i = 0; i < piece_count(p); i++) {
        const tt_packed_event *piece;
        uint32_t count;
        TT_TRY(piece_at(e, p, i, &piece, &count, err));
        for (uint32_t k = 0; k < count; k++)
            sorted[ends[place_of(&piece[k])]++] = piece[k]; /* where the next of its group goes, and its end when all are there */
    }
    return TT_OK;
}

tt_rc tt_events_load(tt_events *e, uint32_t partition, uint32_t group_count, const tt_packed_event **ret, const uint32_t **ret_ends, uint32_t *ret_groups, tt_err *err)
{
    tt_event_partition *p = &e->parts[partition];
    uint64_t total = (p->full.len + p->spilled.len) * (uint64_t)TT_EVENT_PIECE + p->head_count;
    uint32_t groups = group_count > partition ? (group_count - partition - 1) / TT_EVENT_PARTITIONS + 1 : 0;
    if (total > UINT32_MAX)
        return tt_fail(err, TT_TOO_LARGE, "a sequence has more than four billion events in one part: make the parts smaller");
    tt_vec_clear(&e->sorted);
    tt_vec_clear(&e->ends);
    if (!tt_vec_reserve(&e->sorted, total + 1) || !tt_vec_reserve(&e->ends, groups + 1))
        return no_memory(err);
    uint32_t *ends = e->ends.ptr;
    memset(ends, 0, (groups + 1) * sizeof *ends);
    TT_TRY(count_events(e, p, ends, err));
    for (uint32_t g = 0; g < groups; g++)
        ends[g + 1] += ends[g];
    TT_TRY(sort_events(e, p, ends, e->sorted.ptr, err));
    free_pieces(e, p);
    *ret = e->sorted.ptr;
    *ret_ends = ends;
    *ret_groups = groups;
    return TT_OK;
}
