/* The vector instructions of another processor beside plain C, bit for bit, without a test framework: test_aarch64.py builds it with a cross compiler and runs
 * it under an emulator. Prints how many comparisons were made; ends with 1 at the first that differs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/parquet/unpack.h"
#include "data/simd.h"
#include "query/bits.h"

enum { ROWS = 700, SOURCE = 8192 };

static uint64_t state = 88172645463325252u;
static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    return state ^= state << 17;
}

static unsigned long compared;

static void same(const void *a, const void *b, size_t bytes, const char *what)
{
    compared++;
    if (memcmp(a, b, bytes) == 0)
        return;
    printf("%s differs\n", what);
    exit(1);
}

static void use(bool fast)
{
    if (!tt_simd_use(fast ? TT_SIMD_WORD : TT_SIMD_BYTE))
        exit(2);
}

static void check_bits(void)
{
    static const uint32_t sizes[] = {1, 9, 16, 17, 64, 65, 129, 256};
    for (int trial = 0; trial < 300; trial++) {
        uint32_t count = (uint32_t)(next_random() % ROWS) + 1, entries = sizes[trial % 8];
        uint8_t lut[256] = {0}, codes[ROWS], masks[2][ROWS + 64];
        uint64_t bits[2][8][ROWS / 64 + 2] = {0};
        for (uint32_t i = 0; i < entries; i++)
            lut[i] = (uint8_t)next_random();
        for (uint32_t i = 0; i < count; i++)
            codes[i] = (uint8_t)(next_random() % entries);
        for (uint32_t i = 0; i < ROWS + 64; i++)
            masks[0][i] = masks[1][i] = (uint8_t)next_random();
        for (int fast = 0; fast < 2; fast++) {
            uint64_t *maps[8];
            for (int b = 0; b < 8; b++)
                maps[b] = bits[fast][b];
            use(fast);
            tt_bits_look_up(codes, count, lut, entries, masks[fast]);
            tt_bits_split(masks[fast], count, 1 + trial % 8, maps);
        }
        same(masks[0], masks[1], sizeof masks[0], "a look-up");
        same(bits[0], bits[1], sizeof bits[0], "a split");
    }
}

#define CHECK_UNPACK(bits)                                                            \
    static void check_u##bits(const uint8_t *src, unsigned width, size_t count)       \
    {                                                                                 \
        static uint##bits##_t out[2][ROWS];                                           \
        for (int fast = 0; fast < 2; fast++) {                                        \
            memset(out[fast], 0xAA, sizeof out[fast]);                                \
            use(fast);                                                                \
            tt_pq_unpack_u##bits(src, (count * width + 7) / 8, width, count, out[fast]); \
        }                                                                             \
        same(out[0], out[1], sizeof out[0], "values of " #bits " bits");              \
    }
CHECK_UNPACK(8)
CHECK_UNPACK(16)
CHECK_UNPACK(32)

int main(void)
{
    static uint8_t src[SOURCE];
    for (size_t i = 0; i < SOURCE; i++)
        src[i] = (uint8_t)next_random();
    check_bits();
    for (unsigned width = 0; width <= 32; width++)
        for (int trial = 0; trial < 20; trial++) {
            size_t count = next_random() % ROWS;
            if (width <= 8)
                check_u8(src, width, count);
            if (width <= 16)
                check_u16(src, width, count);
            check_u32(src, width, count);
        }
    printf("%lu comparisons\n", compared);
    return 0;
}
