/* Values that stand one behind the other are moved to the slots that are not null. */
#ifndef TT_DATA_PARQUET_SPREAD_H
#define TT_DATA_PARQUET_SPREAD_H

#include "base/err.h"

/* at: `values` values of `width` bytes, with room for `slots`; slot i is not null when bit first_bit + i of bits is set (`values` of them are). Behind the room there are 64 bytes that may be read.
 * Null slots become zeroes. */
void tt_pq_spread(void *at, size_t width, size_t slots, size_t values, const uint64_t *bits, size_t first_bit);

#endif
