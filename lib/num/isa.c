/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/isa.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[SP_ISA_COUNT] = {"plain", "avx2", "avx512"};

static bool has(sp_isa isa)
{
#ifdef __x86_64__
    switch (isa) {
    case SP_ISA_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
    case SP_ISA_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
    default:
        break;
    }
#endif
    return isa == SP_ISA_PLAIN;
}

sp_isa sp_isa_best(void)
{
    const char *allowed = getenv("SPICA_ISA");
    int best = SP_ISA_COUNT - 1;

    for (int isa = 0; allowed && isa < SP_ISA_COUNT; isa++) {
        best = strcmp(allowed, names[isa]) == 0 ? isa : best;
    }
    while (best > SP_ISA_PLAIN && !has((sp_isa)best)) {
        best--;
    }
    return (sp_isa)best;
}

const char *sp_isa_name(sp_isa isa)
{
    return names[isa];
}
