#include "data/simd.h"

#include <stdlib.h>
#include <string.h>

static bool machine_has(tt_simd level)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return level != TT_SIMD_AVX2 || (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
                                     __builtin_cpu_supports("popcnt"));
#else
    return level <= TT_SIMD_WORD;
#endif
}

static bool machine_has_vbmi(void)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vbmi2");
#else
    return false;
#endif
}

tt_simd tt_simd_level = TT_SIMD_WORD;
bool tt_simd_vbmi, tt_simd_neon;

#if defined(__aarch64__)
enum { HAS_NEON = 1 };
#else
enum { HAS_NEON = 0 };
#endif

bool tt_simd_use(tt_simd level)
{
    if (level > TT_SIMD_AVX2 || !machine_has(level))
        return false;
    tt_simd_level = level;
    tt_simd_vbmi = level == TT_SIMD_AVX2 && machine_has_vbmi();
    tt_simd_neon = level == TT_SIMD_WORD && HAS_NEON;
    return true;
}

/* TUTTI_SIMD=word or avx2: no more than that, for benchmarks. */
__attribute__((constructor)) static void pick(void)
{
    const char *most = getenv("TUTTI_SIMD");
    bool is_word = most && strcmp(most, "word") == 0, is_avx2 = most && strcmp(most, "avx2") == 0;
    for (tt_simd level = is_word ? TT_SIMD_WORD : TT_SIMD_AVX2; !tt_simd_use(level); level--)
        ;
    tt_simd_vbmi = tt_simd_vbmi && !is_avx2;
    tt_simd_neon = tt_simd_neon && !is_word;
}
