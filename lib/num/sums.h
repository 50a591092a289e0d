/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/sums.h -- sums of many floats in double precision, and logarithms that vectorise.
 *
 * Sums run over eight fixed lanes that are added in a fixed order: fast, and the same bits in every run. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

double sp_sum(const float *x, ptrdiff_t count);                                  /* sum_i x_i */
double sp_dot(const float *x, const float *y, ptrdiff_t count);                  /* sum_i x_i y_i */
double sp_dot3(const float *w, const float *x, const float *y, ptrdiff_t count); /* sum_i w_i x_i y_i */

/* Natural logarithm of a normal x > 0, relative error below 3e-7: ln x = e ln 2 + 2 atanh((m-1)/(m+1)), x = m 2^e. */
static inline float sp_fast_log(float x)
{
    int32_t bits, exponent;
    float m;

    memcpy(&bits, &x, sizeof bits);
    exponent = (bits - 0x3f3504f3) >> 23; /* so that m lies in sqrt(1/2) .. sqrt(2) */
    bits -= exponent * (1 << 23);
    memcpy(&m, &bits, sizeof m);
    const float s = (m - 1.0f) / (m + 1.0f), z = s * s;

    return (float)exponent * 0.69314718f + 2.0f * s * (1.0f + z * (1.0f / 3 + z * (1.0f / 5 + z * (1.0f / 7 + z / 9))));
}

/* ln(1 + x) for 0 <= x <= 1e37, relative error below 5e-7 however small x: what 1 + x rounds off is added back to first
 * order. */
static inline float sp_fast_log1p(float x)
{
    const float u = 1.0f + x;

    return sp_fast_log(u) + (x - (u - 1.0f)) / u;
}
