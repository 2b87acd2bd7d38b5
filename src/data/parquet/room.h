/* A buffer that grows, aligned to 64 bytes, with slack behind: where batches and pages lie. Growing may fail. */
#ifndef TT_DATA_PARQUET_ROOM_H
#define TT_DATA_PARQUET_ROOM_H

#include "base/mem.h"
#include "data/parquet/codec.h"

typedef struct {
    void *raw;
    char *at;
    size_t cap; /* bytes, without the slack */
} tt_pq_room;

static inline void tt_pq_room_deinit(tt_pq_room *r)
{
    free(r->raw);
    *r = (tt_pq_room){0};
}

/* Room for `bytes`, keeping the first `keep`. At least doubles when something is kept. False: out of memory; nothing changed. */
static inline bool tt_pq_room_grow(tt_pq_room *r, size_t bytes, size_t keep)
{
    if (bytes <= r->cap && r->raw)
        return true;
    if (keep && bytes < r->cap * 2)
        bytes = r->cap * 2;
    if (bytes > SIZE_MAX / 2)
        return false;
    void *raw = tt_malloc(bytes + 64 + TT_PQ_SLACK);
    if (!raw)
        return false;
    char *at = (char *)(((uintptr_t)raw + 63) & ~(uintptr_t)63);
    if (keep)
        memcpy(at, r->at, keep);
    free(r->raw);
    *r = (tt_pq_room){raw, at, bytes};
    return true;
}

#endif
