/* Which vector instructions the rooms of data/ use: picked once, before main, by what the processor has.
 * Every room with a vector loop keeps a plain twin; tests step through the levels and compare. Read by any thread;
 * changed only by tests, while no other thread works. */
#ifndef TT_DATA_SIMD_H
#define TT_DATA_SIMD_H

#include "base/err.h"

typedef enum {
    TT_SIMD_BYTE, /* the reference: one byte at a time */
    TT_SIMD_WORD, /* eight bytes in an integer: any little-endian machine */
    TT_SIMD_SSE2, /* every x86-64 */
    TT_SIMD_AVX2, /* with POPCNT and BMI */
} tt_simd;

extern tt_simd tt_simd_level;
/* On top of TT_SIMD_AVX2, where the machine has it: AVX-512 with VBMI and VBMI2. Tests may turn it off; tt_simd_use sets it anew. */
extern bool tt_simd_vbmi;
/* On top of TT_SIMD_WORD, on every aarch64: NEON. Tests may turn it off, as above. */
extern bool tt_simd_neon;
/* For tests: use this level. False (and nothing changes) when the machine lacks it. */
bool tt_simd_use(tt_simd level) TT_MUST_CHECK;

#define TT_ALWAYS_INLINE static inline __attribute__((always_inline))
#if defined(__x86_64__)
#define TT_AVX2 __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt")))
#define TT_VBMI __attribute__((target("avx2,bmi,bmi2,popcnt,lzcnt,avx512f,avx512bw,avx512vl,avx512vbmi,avx512vbmi2")))
#endif

#endif
