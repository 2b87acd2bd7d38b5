/* The other way: integers into runs and differences. Pure functions over a buffer. */
#ifndef TT_DATA_PARQUET_PACK_H
#define TT_DATA_PARQUET_PACK_H

#include "base/buf.h"

/* Runs of equal and bit-packed values, all of them < 2^width. */
void tt_pq_pack_hybrid(const uint32_t *values, size_t count, unsigned width, tt_buf *out);
/* DELTA_BINARY_PACKED in blocks of 128; bytes: 4 or 8, of each value. */
void tt_pq_pack_delta(const void *values, size_t count, unsigned bytes, tt_buf *out);
static inline unsigned tt_pq_bits_for(uint64_t max) { return max ? 64u - (unsigned)__builtin_clzll(max) : 0; }

#endif
