/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/variants/feature.h -- for the files here alone: how a mean count enters the likelihood (phases/likelihood.h).
 *
 * Returns what multiplies a count; `loss` is what multiplies the image's scale times r.
 *   mean      [photons]          inverse   1 / r */
#include "num/sums.h"

static inline float sp_feature(float mean, float r, float inverse, float *loss)
{
    const float m = mean > 1e-30f ? mean : 1e-30f; /* an empty shell has no photons to weigh it either */

    *loss = sp_fast_log1p(m * inverse);
    return -sp_fast_log1p(r / m);
}
