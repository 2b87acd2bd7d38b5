#include "data/parquet/unpack.h"

#include <string.h>

/* The eight bytes at `at`, those beyond the end being 0. */
static uint64_t load64(const uint8_t *src, size_t src_bytes, size_t at)
{
    uint64_t word = 0;
    if (at + 8 <= src_bytes)
        memcpy(&word, src + at, 8);
    else if (at < src_bytes)
        memcpy(&word, src + at, src_bytes - at);
    return word;
}

uint64_t tt_pq_unpack_one(const uint8_t *src, size_t src_bytes, unsigned width, size_t index)
{
    if (width == 0)
        return 0;
    size_t bit = index * width, at = bit / 8;
    unsigned shift = bit % 8;
    uint64_t value = load64(src, src_bytes, at) >> shift;
    if (shift + width > 64)
        value |= load64(src, src_bytes, at + 8) << (64 - shift);
    return width == 64 ? value : value & ((UINT64_C(1) << width) - 1);
}

/* Whole groups of eight values are a whole number of bytes. Up to 57 bits are in eight bytes from any bit on. */
#define DEFINE_PLAIN(bits)                                                                                                                     \
    static void plain_u##bits(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint##bits##_t *dst)                         \
    {                                                                                                                                          \
        size_t i = 0;                                                                                                                          \
        if (width > 0 && width <= 57 && src_bytes >= 8) {                                                                                      \
            const uint64_t mask = (UINT64_C(1) << width) - 1;                                                                                  \
            size_t safe = (src_bytes - 8) * 8 / width; /* values that begin where eight bytes can be loaded */                                 \
            for (size_t bit = 0; i < count && i < safe; i++, bit += width) {                                                                   \
                uint64_t word;                                                                                                                 \
                memcpy(&word, src + bit / 8, 8);                                                                                               \
                dst[i] = (uint##bits##_t)(word >> (bit % 8) & mask);                                                                           \
            }                                                                                                                                  \
        }                                                                                                                                      \
        for (; i < count; i++)                                                                                                                 \
            dst[i] = (uint##bits##_t)tt_pq_unpack_one(src, src_bytes, width, i);                                                               \
    }

DEFINE_PLAIN(8)
DEFINE_PLAIN(16)
DEFINE_PLAIN(32)
DEFINE_PLAIN(64)

void tt_pq_unpack_u8(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint8_t *dst) { plain_u8(src, src_bytes, width, count, dst); }
void tt_pq_unpack_u16(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint16_t *dst) { plain_u16(src, src_bytes, width, count, dst); }
void tt_pq_unpack_u32(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint32_t *dst) { plain_u32(src, src_bytes, width, count, dst); }
void tt_pq_unpack_u64(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint64_t *dst) { plain_u64(src, src_bytes, width, count, dst); }
