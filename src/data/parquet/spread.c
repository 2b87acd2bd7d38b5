#include "data/parquet/spread.h"

#include <string.h>

/* From the end, so that it can be done in place; once as many values as slots are left, they stand where they belong. */
#define DEFINE_SPREAD(bits_of_value)                                                                                                        \
    static void spread_##bits_of_value(uint##bits_of_value##_t *at, size_t slots, size_t values, const uint64_t *bits, size_t first_bit)    \
    {                                                                                                                                       \
        for (size_t i = slots, from = values; i > from;) {                                                                                  \
            i--;                                                                                                                            \
            size_t bit = first_bit + i;                                                                                                     \
            at[i] = bits[bit / 64] >> (bit % 64) & 1 ? at[--from] : 0;                                                                      \
        }                                                                                                                                   \
    }

DEFINE_SPREAD(8)
DEFINE_SPREAD(16)
DEFINE_SPREAD(32)
DEFINE_SPREAD(64)

static void spread_any(char *at, size_t width, size_t slots, size_t values, const uint64_t *bits, size_t first_bit)
{
    for (size_t i = slots, from = values; i > from;) {
        i--;
        size_t bit = first_bit + i;
        if (bits[bit / 64] >> (bit % 64) & 1)
            memcpy(at + i * width, at + --from * width, width); /* from < i */
        else
            memset(at + i * width, 0, width);
    }
}

void tt_pq_spread(void *at, size_t width, size_t slots, size_t values, const uint64_t *bits, size_t first_bit)
{
    if (width == 1)
        spread_8(at, slots, values, bits, first_bit);
    else if (width == 2)
        spread_16(at, slots, values, bits, first_bit);
    else if (width == 4)
        spread_32(at, slots, values, bits, first_bit);
    else if (width == 8)
        spread_64(at, slots, values, bits, first_bit);
    else
        spread_any(at, width, slots, values, bits, first_bit);
}
