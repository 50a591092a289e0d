/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/peak_kernels.h"
#include "num/variants/variant.h"

#define SP_STRING_(x) #x
#define SP_STRING(x) SP_STRING_(x)

static float total(const sp_floats *sum, int count)
{
    float all = 0.0f;

    for (int i = 0; i < count; i++) {
        for (int lane = 0; lane < SP_LANES; lane++) {
            all += sum[i][lane];
        }
    }
    return all;
}

static float multiply_add(ptrdiff_t turns)
{
    const sp_floats factor = sp_spread(0.999f), term = sp_spread(1e-3f); /* the sums go to 1 */
    sp_floats sum[SP_PEAK_CHAINS];

    for (int i = 0; i < SP_PEAK_CHAINS; i++) {
        sum[i] = sp_spread(2.0f + (float)i); /* not 1: that one would stay, and compilers know */
    }
    for (ptrdiff_t turn = 0; turn < turns; turn++) {
#pragma GCC unroll 12
        for (int i = 0; i < SP_PEAK_CHAINS; i++) {
            sum[i] = sum[i] * factor + term;
        }
    }
    return total(sum, SP_PEAK_CHAINS);
}

static float read_all(const float *x, ptrdiff_t count)
{
    enum { SUMS = 8 };
    sp_floats sum[SUMS] = {{0}};

    for (ptrdiff_t at = 0; at < count; at += (ptrdiff_t)SUMS * SP_LANES) {
#pragma GCC unroll 8
        for (int i = 0; i < SUMS; i++) {
            sum[i] += sp_load(x + at + (ptrdiff_t)i * SP_LANES);
        }
    }
    return total(sum, SUMS);
}

const sp_peak_kernels SP_VARIANT(sp_peak_kernels) = {.name = SP_STRING(SP_ISA),
                                                     .operations = 2.0 * SP_LANES * SP_PEAK_CHAINS,
                                                     .multiply_add = multiply_add,
                                                     .read = read_all};
