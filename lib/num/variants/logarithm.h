/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/variants/logarithm.h -- for files of variants alone: the logarithms of num/sums.h for vectors, as accurate. */
#include "num/variants/variant.h"

/* ln x of normal x > 0 */
static inline sp_floats sp_log(sp_floats x)
{
    sp_ints bits = (sp_ints)x;
    const sp_ints exponent = (bits - 0x3f3504f3) >> 23; /* so that m lies in sqrt(1/2) .. sqrt(2) */

    bits -= exponent << 23;
    const sp_floats m = (sp_floats)bits, s = (m - 1.0f) / (m + 1.0f), z = s * s;

    return __builtin_convertvector(exponent, sp_floats) * 0.69314718f +
           2.0f * s * (1.0f + z * (1.0f / 3 + z * (1.0f / 5 + z * (1.0f / 7 + z * (1.0f / 9)))));
}

/* ln(1 + x), 0 <= x <= 1e37 */
static inline sp_floats sp_log1p(sp_floats x)
{
    const sp_floats u = 1.0f + x;

    return sp_log(u) + (x - (u - 1.0f)) / u;
}
