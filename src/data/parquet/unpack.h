/* Bit-packed integers (least significant bit first) into arrays of 1, 2, 4 or 8 bytes. Any thread.
 *
 * src holds src_bytes bytes, at least ceil(count * width / 8); no byte beyond them is read and none beyond dst[count] is written. The result is
 * the same on every machine: AVX-512 VBMI, AVX2 and plain C give the same bits (tests/unit/test_parquet.c compares them). */
#ifndef TT_DATA_PARQUET_UNPACK_H
#define TT_DATA_PARQUET_UNPACK_H

#include "base/err.h"

/* width: 0 to 8, 16, 32, 64. */
void tt_pq_unpack_u8(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint8_t *dst);
void tt_pq_unpack_u16(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint16_t *dst);
void tt_pq_unpack_u32(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint32_t *dst);
void tt_pq_unpack_u64(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint64_t *dst);
/* Value `index`, of a width up to 64. */
uint64_t tt_pq_unpack_one(const uint8_t *src, size_t src_bytes, unsigned width, size_t index);

#endif
