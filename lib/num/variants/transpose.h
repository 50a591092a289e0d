/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/variants/transpose.h -- for the files of num/variants alone: squares of floats, and complex numbers, rearranged.
 *
 * Lanes move within the 16-byte parts of a vector, or parts move as a whole: each is one instruction in every set. */
#include "num/variants/shuffle.h"

/* In every part: lanes i and j of the part of a, then k and l of that of b. */
#if SP_LANES == 16
#define SP_TWO_AND_TWO(a, b, i, j, k, l)                                                                               \
    __builtin_shufflevector(a, b, i, j, 16 + (k), 16 + (l), 4 + (i), 4 + (j), 20 + (k), 20 + (l), 8 + (i), 8 + (j),    \
                            24 + (k), 24 + (l), 12 + (i), 12 + (j), 28 + (k), 28 + (l))
#elif SP_LANES == 8
#define SP_TWO_AND_TWO(a, b, i, j, k, l)                                                                               \
    __builtin_shufflevector(a, b, i, j, 8 + (k), 8 + (l), 4 + (i), 4 + (j), 12 + (k), 12 + (l))
#else
#define SP_TWO_AND_TWO(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, 4 + (k), 4 + (l))
#endif

/* row[i] lane j <-> row[j] lane i */
static inline __attribute__((always_inline)) void sp_transpose(sp_floats *row)
{
    sp_floats a[SP_LANES];

#pragma GCC unroll 16
    for (int i = 0; i < SP_LANES; i += 4) { /* 4 x 4 within the parts of each four rows */
        const sp_floats low0 = SP_LOW(row[i], row[i + 1]), high0 = SP_HIGH(row[i], row[i + 1]);
        const sp_floats low1 = SP_LOW(row[i + 2], row[i + 3]), high1 = SP_HIGH(row[i + 2], row[i + 3]);

        a[i] = SP_TWO_AND_TWO(low0, low1, 0, 1, 0, 1);
        a[i + 1] = SP_TWO_AND_TWO(low0, low1, 2, 3, 2, 3);
        a[i + 2] = SP_TWO_AND_TWO(high0, high1, 0, 1, 0, 1);
        a[i + 3] = SP_TWO_AND_TWO(high0, high1, 2, 3, 2, 3);
    }
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) { /* then the parts */
#if SP_LANES == 4
        row[j] = a[j];
#elif SP_LANES == 8
        row[j] = SP_FIRST(a[j], a[4 + j]);
        row[4 + j] = SP_SECOND(a[j], a[4 + j]);
#else
        const sp_floats even0 = SP_EVEN_PARTS(a[j], a[4 + j]), even1 = SP_EVEN_PARTS(a[8 + j], a[12 + j]);
        const sp_floats odd0 = SP_ODD_PARTS(a[j], a[4 + j]), odd1 = SP_ODD_PARTS(a[8 + j], a[12 + j]);

        row[j] = SP_EVEN_PARTS(even0, even1);
        row[8 + j] = SP_ODD_PARTS(even0, even1);
        row[4 + j] = SP_EVEN_PARTS(odd0, odd1);
        row[12 + j] = SP_ODD_PARTS(odd0, odd1);
#endif
    }
}
