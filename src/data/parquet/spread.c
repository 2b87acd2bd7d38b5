#include "data/parquet/spread.h"

#include <string.h>

#include "data/simd.h"

/* From the end, so that it can be done in place. Without a branch: which slots are null is as good as random. Once as many values as slots are
 * left, they stand where they belong; once none is left, the rest is null. */
#define DEFINE_PLAIN(bits_of_value)                                                                                                               \
    static void plain_##bits_of_value(uint##bits_of_value##_t *at, size_t slots, size_t values, const uint64_t *bits, size_t first_bit)           \
    {                                                                                                                                             \
        size_t i = slots, from = values;                                                                                                          \
        while (i > from && from) {                                                                                                                \
            size_t bit = first_bit + --i;                                                                                                         \
            size_t is_valid = bits[bit / 64] >> (bit % 64) & 1;                                                                                   \
            at[i] = (uint##bits_of_value##_t)(at[from - 1] & (uint##bits_of_value##_t)(0 - is_valid));                                            \
            from -= is_valid;                                                                                                                     \
        }                                                                                                                                         \
        if (from == 0)                                                                                                                            \
            memset(at, 0, i * sizeof *at);                                                                                                        \
    }

DEFINE_PLAIN(8)
DEFINE_PLAIN(16)
DEFINE_PLAIN(32)
DEFINE_PLAIN(64)

#if defined(__x86_64__)
#include <immintrin.h>

/* AVX-512: a vector of slots at a time, from the end. Its values lie below it, because no more values than slots stand before any slot. */
#define DEFINE_SPREAD(bits_of_value, per_vector, mask_type, expand)                                                                               \
    TT_VBMI static void vector_##bits_of_value(uint##bits_of_value##_t *at, size_t slots, size_t values, const uint64_t *bits, size_t first_bit)  \
    {                                                                                                                                             \
        size_t i = slots, from = values;                                                                                                          \
        for (; i >= per_vector && i > from; i -= per_vector) {                                                                                    \
            uint64_t mask = bits_at(bits, first_bit + i - per_vector, per_vector);                                                                \
            from -= (size_t)__builtin_popcountll(mask);                                                                                           \
            _mm512_storeu_si512(at + i - per_vector, expand((mask_type)mask, _mm512_loadu_si512(at + from)));                                     \
        }                                                                                                                                         \
        plain_##bits_of_value(at, i, from, bits, first_bit);                                                                                      \
    }                                                                                                                                             \
    static void spread_##bits_of_value(uint##bits_of_value##_t *at, size_t slots, size_t values, const uint64_t *bits, size_t first_bit)          \
    {                                                                                                                                             \
        if (tt_simd_vbmi)                                                                                                                         \
            vector_##bits_of_value(at, slots, values, bits, first_bit);                                                                           \
        else                                                                                                                                      \
            plain_##bits_of_value(at, slots, values, bits, first_bit);                                                                            \
    }

/* count (up to 64) bits from bit `at` on; no word is read that holds none of them. */
static uint64_t bits_at(const uint64_t *bits, size_t at, unsigned count)
{
    uint64_t word = bits[at / 64] >> (at % 64);
    if (at % 64 + count > 64)
        word |= bits[at / 64 + 1] << (64 - at % 64);
    return count == 64 ? word : word & ((UINT64_C(1) << count) - 1);
}

DEFINE_SPREAD(8, 64, __mmask64, _mm512_maskz_expand_epi8)
DEFINE_SPREAD(16, 32, __mmask32, _mm512_maskz_expand_epi16)
DEFINE_SPREAD(32, 16, __mmask16, _mm512_maskz_expand_epi32)
DEFINE_SPREAD(64, 8, __mmask8, _mm512_maskz_expand_epi64)
#else
#define DEFINE_SPREAD(bits_of_value)                                                                                                              \
    static void spread_##bits_of_value(uint##bits_of_value##_t *at, size_t slots, size_t values, const uint64_t *bits, size_t first_bit)          \
    {                                                                                                                                             \
        plain_##bits_of_value(at, slots, values, bits, first_bit);                                                                                \
    }
DEFINE_SPREAD(8)
DEFINE_SPREAD(16)
DEFINE_SPREAD(32)
DEFINE_SPREAD(64)
#endif

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
