/* DELTA_BINARY_PACKED: a cursor over blocks of bit-packed differences. All arithmetic wraps. Functions say false when the stream ends early
 * or is malformed. */
#ifndef TT_DATA_PARQUET_DELTA_H
#define TT_DATA_PARQUET_DELTA_H

#include "base/err.h"

typedef struct {
    const uint8_t *at, *end;
    uint64_t total, left;     /* values of the stream; those still to come */
    uint64_t last;            /* the value before the next one */
    bool is_first;            /* the next one is last itself */
    uint32_t block_values, mini_count, mini_values;
    uint64_t min_delta;
    const uint8_t *widths;    /* of the block in hand */
    uint32_t mini, mini_left; /* the next miniblock; values of the one in hand still to come */
    const uint8_t *packed;
    size_t packed_bytes;
    unsigned width;
    uint32_t done;            /* values of the miniblock in hand that are behind us */
} tt_pq_delta;

bool tt_pq_delta_init(tt_pq_delta *d, const uint8_t *at, const uint8_t *end);
/* Values as integers of 4 or 8 bytes; out NULL: passed over. */
bool tt_pq_delta_read(tt_pq_delta *d, size_t count, unsigned bytes, void *out);
/* Where the stream ends, which says where the next one begins; NULL: malformed. The cursor must be fresh and stays where it is. */
const uint8_t *tt_pq_delta_end(const tt_pq_delta *d);

#endif
