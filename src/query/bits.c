#include "query/bits.h"

#include "data/simd.h"

static void plain_look_up(const uint8_t *codes, uint32_t count, const uint8_t *lut, uint8_t *masks)
{
    for (uint32_t i = 0; i < count; i++)
        masks[i] &= lut[codes[i]];
}

static void plain_split(const uint8_t *masks, uint32_t words, unsigned tests, uint64_t *const *bitmaps)
{
    for (unsigned b = 0; b < tests; b++)
        for (uint32_t w = 0; w < words; w++) {
            uint64_t word = 0;
            for (unsigned i = 0; i < 64; i++)
                word |= (uint64_t)(masks[w * 64 + i] >> b & 1) << i;
            bitmaps[b][w] = word;
        }
}

#if defined(__x86_64__)
#include <immintrin.h>

/* A shuffle looks up 16 entries. */
TT_AVX2 static uint32_t avx2_look_up(const uint8_t *codes, uint32_t count, const uint8_t *lut, uint8_t *masks)
{
    const __m256i table = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)lut));
    uint32_t i = 0;
    for (; i + 32 <= count; i += 32) {
        __m256i found = _mm256_shuffle_epi8(table, _mm256_loadu_si256((const __m256i *)(const void *)(codes + i)));
        __m256i mask = _mm256_loadu_si256((const __m256i *)(const void *)(masks + i));
        _mm256_storeu_si256((__m256i *)(void *)(masks + i), _mm256_and_si256(mask, found));
    }
    return i;
}

/* Bit b of each byte moves to its top, from where it is gathered. */
TT_AVX2 static void avx2_split(const uint8_t *masks, uint32_t words, unsigned tests, uint64_t *const *bitmaps)
{
    for (uint32_t w = 0; w < words; w++) {
        __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)(masks + w * 64)), high = _mm256_loadu_si256((const __m256i *)(const void *)(masks + w * 64 + 32));
        for (unsigned b = tests; b-- > 0;) {
            const __m128i shift = _mm_cvtsi32_si128((int)(7 - b));
            uint32_t l = (uint32_t)_mm256_movemask_epi8(_mm256_sll_epi16(low, shift)), h = (uint32_t)_mm256_movemask_epi8(_mm256_sll_epi16(high, shift));
            bitmaps[b][w] = (uint64_t)h << 32 | l;
        }
    }
}

/* Two permutations of 128 entries each; the top bit of a code tells which. */
TT_VBMI static uint32_t vbmi_look_up(const uint8_t *codes, uint32_t count, const uint8_t *lut, uint32_t entries, uint8_t *masks)
{
    const __m512i a = _mm512_loadu_si512(lut), b = _mm512_loadu_si512(lut + 64), c = _mm512_loadu_si512(lut + 128), d = _mm512_loadu_si512(lut + 192);
    uint32_t i = 0;
    for (; i + 64 <= count; i += 64) {
        __m512i code = _mm512_loadu_si512(codes + i), found = _mm512_permutex2var_epi8(a, code, b);
        if (entries > 128)
            found = _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), found, _mm512_permutex2var_epi8(c, code, d));
        _mm512_storeu_si512(masks + i, _mm512_and_si512(found, _mm512_loadu_si512(masks + i)));
    }
    return i;
}

TT_VBMI static void vbmi_split(const uint8_t *masks, uint32_t words, unsigned tests, uint64_t *const *bitmaps)
{
    for (uint32_t w = 0; w < words; w++) {
        __m512i mask = _mm512_loadu_si512(masks + w * 64);
        for (unsigned b = 0; b < tests; b++)
            bitmaps[b][w] = _mm512_test_epi8_mask(mask, _mm512_set1_epi8((char)(1u << b)));
    }
}

static uint32_t fast_look_up(const uint8_t *codes, uint32_t count, const uint8_t *lut, uint32_t entries, uint8_t *masks)
{
    if (tt_simd_vbmi)
        return vbmi_look_up(codes, count, lut, entries, masks);
    return tt_simd_level >= TT_SIMD_AVX2 && entries <= 16 ? avx2_look_up(codes, count, lut, masks) : 0;
}

static bool fast_split(const uint8_t *masks, uint32_t words, unsigned tests, uint64_t *const *bitmaps)
{
    if (tt_simd_vbmi)
        vbmi_split(masks, words, tests, bitmaps);
    else if (tt_simd_level >= TT_SIMD_AVX2)
        avx2_split(masks, words, tests, bitmaps);
    else
        return false;
    return true;
}
#elif defined(__aarch64__)
#include <arm_neon.h>

enum { NEON_ENTRIES = 64 };

/* A table of four vectors. */
static uint32_t fast_look_up(const uint8_t *codes, uint32_t count, const uint8_t *lut, uint32_t entries, uint8_t *masks)
{
    uint32_t i = 0;
    if (!tt_simd_neon || entries > NEON_ENTRIES)
        return 0;
    const uint8x16x4_t table = vld1q_u8_x4(lut);
    for (; i + 16 <= count; i += 16)
        vst1q_u8(masks + i, vandq_u8(vld1q_u8(masks + i), vqtbl4q_u8(table, vld1q_u8(codes + i))));
    return i;
}

/* Bytes whose bit is set keep one bit each, another one in each of eight; adding neighbours three times brings the eight together. */
static bool fast_split(const uint8_t *masks, uint32_t words, unsigned tests, uint64_t *const *bitmaps)
{
    const uint8x16_t weights = vreinterpretq_u8_u64(vdupq_n_u64(UINT64_C(0x8040201008040201)));
    for (uint32_t w = 0; tt_simd_neon && w < words; w++) {
        const uint8x16x4_t mask = vld1q_u8_x4(masks + w * 64);
        for (unsigned b = 0; b < tests; b++) {
            const uint8x16_t bit = vdupq_n_u8((uint8_t)(1u << b));
            uint8x16_t low = vpaddq_u8(vandq_u8(vtstq_u8(mask.val[0], bit), weights), vandq_u8(vtstq_u8(mask.val[1], bit), weights));
            uint8x16_t high = vpaddq_u8(vandq_u8(vtstq_u8(mask.val[2], bit), weights), vandq_u8(vtstq_u8(mask.val[3], bit), weights));
            uint8x16_t all = vpaddq_u8(low, high);
            bitmaps[b][w] = vgetq_lane_u64(vreinterpretq_u64_u8(vpaddq_u8(all, all)), 0);
        }
    }
    return tt_simd_neon;
}
#else
static uint32_t fast_look_up(const uint8_t *codes, uint32_t count, const uint8_t *lut, uint32_t entries, uint8_t *masks) { return 0; }
static bool fast_split(const uint8_t *masks, uint32_t words, unsigned tests, uint64_t *const *bitmaps) { return false; }
#endif

void tt_bits_look_up(const uint8_t *codes, uint32_t count, const uint8_t lut[256], uint32_t entries, uint8_t *masks)
{
    uint32_t done = fast_look_up(codes, count, lut, entries, masks);
    plain_look_up(codes + done, count - done, lut, masks + done);
}

void tt_bits_split(const uint8_t *masks, uint32_t count, unsigned tests, uint64_t *const *bitmaps)
{
    uint32_t words = (count + 63) / 64;
    if (!fast_split(masks, words, tests, bitmaps))
        plain_split(masks, words, tests, bitmaps);
    for (unsigned b = 0; count % 64 && b < tests; b++)
        bitmaps[b][words - 1] &= (UINT64_C(1) << (count % 64)) - 1;
}
