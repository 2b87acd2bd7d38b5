#include "data/parquet/unpack.h"

#include <string.h>

#include "data/simd.h"

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

#if defined(__x86_64__) || defined(__aarch64__)
/* ---- AVX2 and NEON: eight values at a time, four in each half ---- */

/* Four values of up to 25 bits, from a bit below 8 on, are in 16 bytes, and each in four of them. The second half begins width / 2 bytes behind the
 * first. */
enum { HALVES_WIDTH_MAX = 25 };

/* The bytes of each value, within its half, and by how many bits it is shifted. */
static void make_halves(unsigned width, uint8_t order[32], uint32_t shifts[8])
{
    for (unsigned v = 0; v < 8; v++) {
        unsigned bit = v * width - (v < 4 ? 0 : width / 2 * 8);
        for (unsigned k = 0; k < 4; k++)
            order[v * 4 + k] = (uint8_t)(bit / 8 + k);
        shifts[v] = bit % 8;
    }
}

/* Narrower ones by way of 32 bits. */
#define DEFINE_HALVES(bits)                                                                                                                     \
    static size_t halves_u##bits(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint##bits##_t *dst)                       \
    {                                                                                                                                           \
        uint32_t wide[256];                                                                                                                     \
        size_t i = 0;                                                                                                                           \
        while (i < count) {                                                                                                                     \
            size_t from = i / 8 * width, n = count - i < 256 ? count - i : 256, got = halves_u32(src + from, src_bytes - from, width, n, wide); \
            for (size_t k = 0; k < got; k++)                                                                                                    \
                dst[i + k] = (uint##bits##_t)wide[k];                                                                                           \
            i += got;                                                                                                                           \
            if (got < 256)                                                                                                                      \
                break;                                                                                                                          \
        }                                                                                                                                       \
        return i;                                                                                                                               \
    }
#endif

#if defined(__x86_64__)
#include <immintrin.h>

TT_AVX2 static size_t halves_u32(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint32_t *dst)
{
    uint8_t order[32];
    uint32_t shifts[8];
    size_t half = width / 2, i = 0, at = 0;
    make_halves(width, order, shifts);
    const __m256i shuffle = _mm256_loadu_si256((const __m256i *)(const void *)order), shift = _mm256_loadu_si256((const __m256i *)(const void *)shifts);
    const __m256i mask = _mm256_set1_epi32((int)((UINT32_C(1) << width) - 1));
    for (; i + 8 <= count && at + half + 16 <= src_bytes; i += 8, at += width) {
        __m128i low = _mm_loadu_si128((const __m128i *)(const void *)(src + at)), high = _mm_loadu_si128((const __m128i *)(const void *)(src + at + half));
        __m256i bytes = _mm256_shuffle_epi8(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1), shuffle);
        _mm256_storeu_si256((__m256i *)(void *)(dst + i), _mm256_and_si256(_mm256_srlv_epi32(bytes, shift), mask));
    }
    return i;
}

TT_AVX2 DEFINE_HALVES(8)
TT_AVX2 DEFINE_HALVES(16)

/* ---- AVX-512 VBMI: 64 bytes of output at a time ----
 * Each of the eight 64-bit lanes gets the eight bytes in which its values stand (vpermb), then every byte of the output picks eight of their
 * bits from any bit on (vpmultishiftqb). A lane's values have at most 64 bits with the odd bits in front: up to 8, 16 and 29 bits of width. */

enum { VBMI_WIDTH_MAX = 29 };

typedef struct {
    uint8_t bytes[64], shifts[64];
} vbmi_plan;

static void make_plan(unsigned width, unsigned value_bytes, vbmi_plan *p)
{
    unsigned per_lane = 8 / value_bytes;
    for (unsigned lane = 0; lane < 8; lane++) {
        unsigned first_bit = lane * per_lane * width;
        for (unsigned k = 0; k < 8; k++) {
            p->bytes[lane * 8 + k] = (uint8_t)((first_bit / 8 + k) & 63);
            p->shifts[lane * 8 + k] = (uint8_t)((first_bit % 8 + k / value_bytes * width + k % value_bytes * 8) & 63);
        }
    }
}

/* Plans by bytes of a value (1, 2, 4 at 0, 1, 2) and width. */
static vbmi_plan plans[3][VBMI_WIDTH_MAX + 1];

__attribute__((constructor)) static void make_plans(void)
{
    for (unsigned size = 0; size < 3; size++)
        for (unsigned width = 1; width <= VBMI_WIDTH_MAX && width <= 8u << size; width++)
            make_plan(width, 1u << size, &plans[size][width]);
}

TT_VBMI static void vbmi(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, unsigned size, __m512i mask, uint8_t *dst)
{
    const vbmi_plan *plan = &plans[size][width];
    const __m512i order = _mm512_loadu_si512(plan->bytes), shifts = _mm512_loadu_si512(plan->shifts);
    size_t step_bytes = (size_t)width * (8u >> size), at = 0, left = count << size; /* bytes of output */
    for (; left >= 64 && at + 64 <= src_bytes; left -= 64, at += step_bytes, dst += 64) {
        __m512i bytes = _mm512_permutexvar_epi8(order, _mm512_loadu_si512(src + at));
        _mm512_storeu_si512(dst, _mm512_and_si512(_mm512_multishift_epi64_epi8(shifts, bytes), mask));
    }
    for (; left; at += step_bytes, dst += 64) {
        size_t room = src_bytes - at, n = left < 64 ? left : 64;
        __m512i in = _mm512_maskz_loadu_epi8(room >= 64 ? UINT64_MAX : (UINT64_C(1) << room) - 1, src + at);
        __m512i out = _mm512_multishift_epi64_epi8(shifts, _mm512_permutexvar_epi8(order, in));
        _mm512_mask_storeu_epi8(dst, n == 64 ? UINT64_MAX : (UINT64_C(1) << n) - 1, _mm512_and_si512(out, mask));
        left -= n;
    }
}

TT_VBMI static void vbmi_u8(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint8_t *dst)
{
    vbmi(src, src_bytes, width, count, 0, _mm512_set1_epi8((char)((1u << width) - 1)), dst);
}

TT_VBMI static void vbmi_u16(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint16_t *dst)
{
    vbmi(src, src_bytes, width, count, 1, _mm512_set1_epi16((short)((1u << width) - 1)), (uint8_t *)dst);
}

TT_VBMI static void vbmi_u32(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint32_t *dst)
{
    vbmi(src, src_bytes, width, count, 2, _mm512_set1_epi32((int)((1u << width) - 1)), (uint8_t *)dst);
}

/* How many values were done; a multiple of eight unless all. */
#define DEFINE_FAST(bits)                                                                                                                       \
    static size_t fast_u##bits(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint##bits##_t *dst)                         \
    {                                                                                                                                           \
        if (width == 0 || count < 8 || tt_simd_level < TT_SIMD_AVX2)                                                                            \
            return 0;                                                                                                                           \
        if (tt_simd_vbmi && width <= VBMI_WIDTH_MAX && width <= bits) {                                                                         \
            vbmi_u##bits(src, src_bytes, width, count, dst);                                                                                    \
            return count;                                                                                                                       \
        }                                                                                                                                       \
        return width <= HALVES_WIDTH_MAX ? halves_u##bits(src, src_bytes, width, count, dst) : 0;                                               \
    }
#elif defined(__aarch64__)
#include <arm_neon.h>

static size_t halves_u32(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint32_t *dst)
{
    uint8_t order[32];
    uint32_t shifts[8];
    size_t half = width / 2, i = 0, at = 0;
    make_halves(width, order, shifts);
    const uint8x16_t low_order = vld1q_u8(order), high_order = vld1q_u8(order + 16);
    const int32x4_t low_shift = vnegq_s32(vreinterpretq_s32_u32(vld1q_u32(shifts))), high_shift = vnegq_s32(vreinterpretq_s32_u32(vld1q_u32(shifts + 4)));
    const uint32x4_t mask = vdupq_n_u32((UINT32_C(1) << width) - 1);
    for (; i + 8 <= count && at + half + 16 <= src_bytes; i += 8, at += width) {
        uint32x4_t low = vreinterpretq_u32_u8(vqtbl1q_u8(vld1q_u8(src + at), low_order)), high = vreinterpretq_u32_u8(vqtbl1q_u8(vld1q_u8(src + at + half), high_order));
        vst1q_u32(dst + i, vandq_u32(vshlq_u32(low, low_shift), mask));
        vst1q_u32(dst + i + 4, vandq_u32(vshlq_u32(high, high_shift), mask));
    }
    return i;
}
DEFINE_HALVES(8)
DEFINE_HALVES(16)

#define DEFINE_FAST(bits)                                                                                                                       \
    static size_t fast_u##bits(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint##bits##_t *dst)                         \
    {                                                                                                                                           \
        return tt_simd_neon && width > 0 && width <= HALVES_WIDTH_MAX ? halves_u##bits(src, src_bytes, width, count, dst) : 0;                  \
    }
#else
#define DEFINE_FAST(bits)                                                                                                                       \
    static size_t fast_u##bits(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint##bits##_t *dst) { return 0; }
#endif

DEFINE_FAST(8)
DEFINE_FAST(16)
DEFINE_FAST(32)

#define DEFINE_UNPACK(bits)                                                                                                                     \
    void tt_pq_unpack_u##bits(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint##bits##_t *dst)                          \
    {                                                                                                                                           \
        size_t done = fast_u##bits(src, src_bytes, width, count, dst), from = done / 8 * width;                                                 \
        if (done < count)                                                                                                                       \
            plain_u##bits(src + from, src_bytes - from, width, count - done, dst + done);                                                       \
    }
DEFINE_UNPACK(8)
DEFINE_UNPACK(16)
DEFINE_UNPACK(32)

void tt_pq_unpack_u64(const uint8_t *src, size_t src_bytes, unsigned width, size_t count, uint64_t *dst) { plain_u64(src, src_bytes, width, count, dst); }
