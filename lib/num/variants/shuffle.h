/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/variants/shuffle.h -- for the files of num/variants alone: moving floats between the lanes of a vector. */
#include "num/variants/variant.h"

#if SP_LANES > 4
#include <immintrin.h>
#endif

/* lane l = v[index[l]]; with four lanes only the splats of sp_pick() are needed */
#if SP_LANES == 16
static inline sp_floats sp_permute(sp_floats v, sp_ints index)
{
    return (sp_floats)_mm512_permutexvar_ps((__m512i)index, (__m512)v);
}
#elif SP_LANES == 8
static inline sp_floats sp_permute(sp_floats v, sp_ints index)
{
    return (sp_floats)_mm256_permutevar8x32_ps((__m256)v, (__m256i)index);
}
#endif

/* all lanes = v[lane] */
static inline sp_floats sp_pick(sp_floats v, int lane)
{
#if SP_LANES > 4
    return sp_permute(v, lane - (sp_ints){0});
#else
    return sp_spread(v[lane]);
#endif
}

/* a0 b1 a2 b3 ...; and parts of a vector */
#if SP_LANES == 16
typedef float sp_loose_half __attribute__((vector_size(32), aligned(4)));
#endif
typedef float sp_loose_quarter __attribute__((vector_size(16), aligned(4)));
#if SP_LANES == 16
#define SP_ALTERNATE(a, b) __builtin_shufflevector(a, b, 0, 17, 2, 19, 4, 21, 6, 23, 8, 25, 10, 27, 12, 29, 14, 31)
#define SP_HALF(a) __builtin_shufflevector(a, a, 0, 1, 2, 3, 4, 5, 6, 7)
#define SP_THIRD_PART(a) __builtin_shufflevector(a, a, 8, 9, 10, 11)
#elif SP_LANES == 8
#define SP_ALTERNATE(a, b) __builtin_shufflevector(a, b, 0, 9, 2, 11, 4, 13, 6, 15)
#define SP_FIRST_PART(a) __builtin_shufflevector(a, a, 0, 1, 2, 3)
#else
#define SP_ALTERNATE(a, b) __builtin_shufflevector(a, b, 0, 5, 2, 7)
#endif

/* Pairs of 4 x 4 transposes, each within the 16-byte parts of the vectors: a0 b0 a1 b1 and a2 b2 a3 b3. Then halves of
 * a and b: first halves together and second halves together. Sixteen lanes also need every other part of a and b. */
#if SP_LANES == 16
#define SP_LOW(a, b) __builtin_shufflevector(a, b, 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29)
#define SP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31)
#define SP_FIRST(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
#define SP_SECOND(a, b) __builtin_shufflevector(a, b, 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31)
#define SP_EVEN_PARTS(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27)
#define SP_ODD_PARTS(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31)
#elif SP_LANES == 8
#define SP_LOW(a, b) __builtin_shufflevector(a, b, 0, 8, 1, 9, 4, 12, 5, 13)
#define SP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 10, 3, 11, 6, 14, 7, 15)
#define SP_FIRST(a, b) __builtin_shufflevector(a, b, 0, 1, 2, 3, 8, 9, 10, 11)
#define SP_SECOND(a, b) __builtin_shufflevector(a, b, 4, 5, 6, 7, 12, 13, 14, 15)
#else
#define SP_LOW(a, b) __builtin_shufflevector(a, b, 0, 4, 1, 5)
#define SP_HIGH(a, b) __builtin_shufflevector(a, b, 2, 6, 3, 7)
#endif

/* lane i = sum of the lanes of v[i], each in the same order whatever i. v is used up. */
static inline sp_floats sp_reduce(sp_floats v[SP_LANES])
{
#if SP_LANES == 16
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 16; j += 8) {
            v[i + j] = SP_FIRST(v[i + j], v[i + j + 4]) + SP_SECOND(v[i + j], v[i + j + 4]);
        }
        v[i] = SP_EVEN_PARTS(v[i], v[i + 8]) + SP_ODD_PARTS(v[i], v[i + 8]);
    }
#elif SP_LANES == 8
    for (int i = 0; i < 4; i++) {
        v[i] = SP_FIRST(v[i], v[i + 4]) + SP_SECOND(v[i], v[i + 4]);
    }
#endif
    const sp_floats even = SP_LOW(v[0], v[2]) + SP_HIGH(v[0], v[2]);
    const sp_floats odd = SP_LOW(v[1], v[3]) + SP_HIGH(v[1], v[3]);

    return SP_LOW(even, odd) + SP_HIGH(even, odd);
}
