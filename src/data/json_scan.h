/* The inner loop of json.c: from p, the first byte that a JSON string cannot simply contain: a quote, a backslash, a control
 * character, or a byte of a longer UTF-8 sequence. Returns end when there is none. Bytes up to `readable` (>= end) may be
 * loaded, but never count. One function per level of simd.h. */
#ifndef TT_DATA_JSON_SCAN_H
#define TT_DATA_JSON_SCAN_H

#include "data/simd.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

TT_ALWAYS_INLINE bool json_is_plain(unsigned char c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

TT_ALWAYS_INLINE const char *json_scan_byte(const char *p, const char *end)
{
    while (p < end && json_is_plain((unsigned char)*p))
        p++;
    return p;
}

TT_ALWAYS_INLINE const char *json_scan_word(const char *p, const char *end, const char *readable)
{
    const uint64_t ones = 0x0101010101010101u, tops = 0x8080808080808080u;
    for (; readable - p >= 8; p += 8) {
        uint64_t x;
        memcpy(&x, p, 8);
        uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\';
        /* Of a hit in several bytes the lowest is exact: a borrow spoils only those above it. */
        uint64_t hit = (((quote - ones) & ~quote) | ((slash - ones) & ~slash) | ((x - ones * 0x20) & ~x) | x) & tops;
        if (hit) {
            p += __builtin_ctzll(hit) >> 3;
            return p < end ? p : end;
        }
        if (p + 8 >= end)
            return end;
    }
    return json_scan_byte(p, end);
}

#if defined(__x86_64__)
static inline const char *json_scan_sse2(const char *p, const char *end, const char *readable)
{
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\'), blank = _mm_set1_epi8(0x20);
    for (; readable - p >= 16; p += 16) {
        __m128i x = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i odd = _mm_or_si128(_mm_cmpeq_epi8(x, quote), _mm_cmpeq_epi8(x, slash));
        /* Signed: below a blank are the control characters and all bytes from 0x80. */
        unsigned hit = (unsigned)_mm_movemask_epi8(_mm_or_si128(odd, _mm_cmplt_epi8(x, blank)));
        if (hit) {
            p += __builtin_ctz(hit);
            return p < end ? p : end;
        }
        if (p + 16 >= end)
            return end;
    }
    return json_scan_word(p, end, readable);
}

TT_AVX2 static inline const char *json_scan_avx2(const char *p, const char *end, const char *readable)
{
    const __m256i quote = _mm256_set1_epi8('"'), slash = _mm256_set1_epi8('\\'), blank = _mm256_set1_epi8(0x20);
    for (; readable - p >= 32; p += 32) {
        __m256i x = _mm256_loadu_si256((const __m256i *)(const void *)p);
        __m256i odd = _mm256_or_si256(_mm256_cmpeq_epi8(x, quote), _mm256_cmpeq_epi8(x, slash));
        unsigned hit = (unsigned)_mm256_movemask_epi8(_mm256_or_si256(odd, _mm256_cmpgt_epi8(blank, x)));
        if (hit) {
            p += __builtin_ctz(hit);
            return p < end ? p : end;
        }
        if (p + 32 >= end)
            return end;
    }
    return json_scan_word(p, end, readable);
}
#endif

/* level is a constant at every call, so that one branch remains. */
TT_ALWAYS_INLINE const char *json_scan(const char *p, const char *end, const char *readable, const tt_simd level)
{
#if defined(__x86_64__)
    if (level == TT_SIMD_AVX2)
        return json_scan_avx2(p, end, readable);
    if (level == TT_SIMD_SSE2)
        return json_scan_sse2(p, end, readable);
#endif
    if (level == TT_SIMD_WORD)
        return json_scan_word(p, end, readable);
    return json_scan_byte(p, end);
}

#endif
