/* Bytes of row masks: looked up by code, and split into one bitmap per test. Plain C, AVX2 and AVX-512 give the same bits
 * (tests/unit/test_query_speed.c compares them). Any thread. */
#ifndef TT_QUERY_BITS_H
#define TT_QUERY_BITS_H

#include "base/err.h"

/* masks[i] &= lut[codes[i]]. lut has 256 bytes; entries: how many of them codes can name. */
void tt_bits_look_up(const uint8_t *codes, uint32_t count, const uint8_t lut[256], uint32_t entries, uint8_t *masks);
/* Bit i of bitmap b (words of 64) is bit b of masks[i], for b < tests. masks has room for whole words of 64 bytes; what stands behind count in the last word
 * is 0. */
void tt_bits_split(const uint8_t *masks, uint32_t count, unsigned tests, uint64_t *const *bitmaps);

#endif
