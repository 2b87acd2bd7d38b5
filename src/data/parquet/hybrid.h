/* Runs of equal or bit-packed integers: levels, dictionary codes, booleans. A cursor over one stream; nothing beyond its span is read.
 * Functions say false when the stream ends early or is malformed; the cursor is of no use then. */
#ifndef TT_DATA_PARQUET_HYBRID_H
#define TT_DATA_PARQUET_HYBRID_H

#include "base/err.h"

typedef struct {
    const uint8_t *at, *end;  /* what follows the run in hand */
    unsigned width;           /* 0 to 32 */
    bool is_msb;              /* the old BIT_PACKED encoding of levels: one run, most significant bit first */
    bool is_packed;
    uint64_t left;            /* values of the run in hand that are still to come */
    uint32_t value;           /* of a run of equal values */
    const uint8_t *packed;
    size_t packed_bytes, done; /* done: values of the packed run that are behind us */
} tt_pq_hybrid;

void tt_pq_hybrid_init(tt_pq_hybrid *h, const uint8_t *at, const uint8_t *end, unsigned width);
/* count levels of the old encoding; false when the bytes do not suffice. *ret_end: behind them. */
bool tt_pq_hybrid_init_msb(tt_pq_hybrid *h, const uint8_t *at, const uint8_t *end, unsigned width, size_t count, const uint8_t **ret_end);
/* Values as integers of 1, 2 or 4 bytes; those of the stream must fit (width <= 8 * bytes). */
bool tt_pq_hybrid_read(tt_pq_hybrid *h, size_t count, unsigned bytes, void *out);
bool tt_pq_hybrid_skip(tt_pq_hybrid *h, size_t count);
/* Bit i of `bits` (whole words, cleared here) says whether value i equals max; *ret_count: how many do. A value above max is malformed.
 * *ret_is_all: all do, and bits were not written. scratch: count bytes. */
bool tt_pq_hybrid_equals(tt_pq_hybrid *h, size_t count, uint32_t max, uint8_t *scratch, uint64_t *bits, size_t *ret_count, bool *ret_is_all);

#endif
