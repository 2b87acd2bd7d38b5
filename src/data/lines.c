#include "data/lines.h"

#include "data/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

size_t tt_lines_count_scalar(const char *p, const char *end, bool last, size_t limit, const char **ret_past)
{
    size_t count = 0;
    *ret_past = p;
    while (p < end && count < limit) {
        if (*p != '\n' && *p != '\r') {
            p++;
            continue;
        }
        if (*p == '\r' && end - p == 1 && !last)
            break;
        p = tt_line_past(p, end);
        *ret_past = p;
        count++;
    }
    return count;
}

#if defined(__x86_64__)

typedef struct {
    uint64_t lf, cr; /* one bit per byte */
} line_bits;

static inline line_bits bits_sse2(const char *p)
{
    line_bits bits = {0};
    for (int i = 0; i < 4; i++) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
        bits.lf |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('\n'))) << 16 * i;
        bits.cr |= (uint64_t)(uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi8(x, _mm_set1_epi8('\r'))) << 16 * i;
    }
    return bits;
}

TT_AVX2 static inline line_bits bits_avx2(const char *p)
{
    __m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
    const __m256i lf = _mm256_set1_epi8('\n'), cr = _mm256_set1_epi8('\r');
    return (line_bits){
        .lf = (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b, lf)) << 32 | (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, lf)),
        .cr = (uint64_t)(uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(b, cr)) << 32 | (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(a, cr)),
    };
}

/* Where the n-th (from 1) set bit stands. */
TT_ALWAYS_INLINE unsigned nth_bit(uint64_t bits, size_t n)
{
    while (--n)
        bits &= bits - 1;
    return (unsigned)__builtin_ctzll(bits);
}

/* p[64] exists in every round, so a CR at the edge sees whether its LF follows. */
TT_ALWAYS_INLINE size_t count_by_64(const char *p, const char *end, bool last, size_t limit, const char **ret_past, const tt_simd level)
{
    const char *group = p;
    uint64_t group_ends = 0;
    size_t count = 0;
    for (; end - p > 64; p += 64) {
        line_bits bits = level == TT_SIMD_AVX2 ? bits_avx2(p) : bits_sse2(p);
        uint64_t ends = bits.lf;
        if (bits.cr)
            ends |= bits.cr & ~(bits.lf >> 1 | (uint64_t)(p[64] == '\n') << 63);
        if (!ends)
            continue;
        size_t here = (size_t)__builtin_popcountll(ends);
        if (count + here >= limit) {
            *ret_past = p + nth_bit(ends, limit - count) + 1;
            return limit;
        }
        count += here;
        group = p;
        group_ends = ends;
    }
    size_t rest = tt_lines_count_scalar(p, end, last, limit - count, ret_past);
    if (!rest)
        *ret_past = group_ends ? group + 64 - __builtin_clzll(group_ends) : group;
    return count + rest;
}

static size_t count_sse2(const char *p, const char *end, bool last, size_t limit, const char **ret_past)
{
    return count_by_64(p, end, last, limit, ret_past, TT_SIMD_SSE2);
}

TT_AVX2 static size_t count_avx2(const char *p, const char *end, bool last, size_t limit, const char **ret_past)
{
    return count_by_64(p, end, last, limit, ret_past, TT_SIMD_AVX2);
}

static inline const char *line_end_sse2(const char *p, const char *end)
{
    for (; end - p >= 16; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i hits = _mm_or_si128(_mm_cmpeq_epi8(x, _mm_set1_epi8('\n')), _mm_cmpeq_epi8(x, _mm_set1_epi8('\r')));
        unsigned bits = (unsigned)_mm_movemask_epi8(hits);
        if (bits)
            return p + __builtin_ctz(bits);
    }
    return p;
}

TT_AVX2 static const char *line_end_avx2(const char *p, const char *end)
{
    for (; end - p > 64; p += 64) {
        line_bits bits = bits_avx2(p);
        if (bits.lf | bits.cr)
            return p + __builtin_ctzll(bits.lf | bits.cr);
    }
    return line_end_sse2(p, end);
}

#else
#define count_sse2 tt_lines_count_scalar
#define count_avx2 tt_lines_count_scalar
static const char *line_end_sse2(const char *p, const char *end) { return p; }
#define line_end_avx2 line_end_sse2
#endif

size_t tt_lines_count(const char *p, const char *end, bool last, size_t limit, const char **ret_past)
{
    switch (tt_simd_level) {
    case TT_SIMD_AVX2: return count_avx2(p, end, last, limit, ret_past);
    case TT_SIMD_SSE2: return count_sse2(p, end, last, limit, ret_past);
    default: return tt_lines_count_scalar(p, end, last, limit, ret_past);
    }
}

const char *tt_line_end(const char *p, const char *end)
{
    if (tt_simd_level == TT_SIMD_AVX2)
        p = line_end_avx2(p, end);
    else if (tt_simd_level == TT_SIMD_SSE2)
        p = line_end_sse2(p, end);
    while (p < end && *p != '\n' && *p != '\r')
        p++;
    return p;
}
