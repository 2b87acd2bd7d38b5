/* The events of one sequence: rows that match at least one of its steps, in the order in which they are added, and then by group.
 *
 * Groups are divided into partitions by the low bits of their numbers, and each partition's events are written one behind the other in pieces of a
 * few KiB, so that adding one costs a store to a line that is in the cache. When more than memory_bytes are kept, full pieces go to a file without a name:
 * memory is bounded whatever the part holds, and the part is read once. tt_events_load gives one partition sorted by group. One thread. */
#ifndef TT_QUERY_EVENTS_H
#define TT_QUERY_EVENTS_H

#include "base/vec.h"
#include "query/chain.h"

enum { TT_EVENT_PARTITIONS = 256, TT_EVENT_PIECE = 512 };

/* 16 bytes. The bits are those of steps 0 to 31, or with TT_EVENT_HIGH in group of 32 to 63: a row that matches steps of both is two events. */
typedef struct {
    uint32_t group, bits;
    int64_t time;
} tt_packed_event;
#define TT_EVENT_HIGH (UINT32_C(1) << 31)

typedef struct {
    tt_packed_event *head;    /* the piece that is being filled */
    uint32_t head_count;
    TT_VEC(tt_packed_event *) full; /* pieces in memory */
    TT_VEC(uint64_t) spilled; /* pieces in the file: where */
} tt_event_partition;

typedef struct {
    tt_event_partition parts[TT_EVENT_PARTITIONS];
    uint64_t memory_bytes, kept_bytes;
    const char *dir;          /* for the file; borrowed */
    int fd;
    uint64_t file_bytes;
    /* of the partition that was loaded last */
    TT_VEC(tt_packed_event) sorted;
    TT_VEC(uint32_t) ends;
    tt_packed_event *piece;   /* read from the file */
} tt_events;

void tt_events_init(tt_events *e, uint64_t memory_bytes, const char *dir);
void tt_events_deinit(tt_events *e);
/* As if nothing had been added. */
void tt_events_clear(tt_events *e);
tt_rc tt_events_next_piece(tt_events *e, tt_event_partition *p, tt_err *err) TT_MUST_CHECK;
static inline tt_rc tt_events_add(tt_events *e, uint32_t group, uint32_t bits, int64_t time, tt_err *err)
{
    tt_event_partition *p = &e->parts[group % TT_EVENT_PARTITIONS];
    if (!p->head || p->head_count == TT_EVENT_PIECE)
        TT_TRY(tt_events_next_piece(e, p, err));
    p->head[p->head_count++] = (tt_packed_event){group, bits, time};
    return TT_OK;
}
/* The events of groups partition, partition + TT_EVENT_PARTITIONS, ... below group_count: ends[i] is where those of the i-th of them end. They
 * are given out once; valid until the next call. */
tt_rc tt_events_load(tt_events *e, uint32_t partition, uint32_t group_count, const tt_packed_event **ret, const uint32_t **ret_ends, uint32_t *ret_groups,
                     tt_err *err) TT_MUST_CHECK;
static inline uint64_t tt_event_mask(const tt_packed_event *e) { return e->group & TT_EVENT_HIGH ? (uint64_t)e->bits << 32 : e->bits; }

#endif
