/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/likelihood_terms.h -- what one pixel adds to the sums of phases/likelihood and phases/dense. Shared by the
 * plain loops and GPUs (base/shared.h).
 *
 * Both logarithms are ln(1 + x): ln(m / r) - ln(1 + m / r) would leave nothing but rounding of the feature where
 * m >> r, and there it is multiplied by large counts. */
#include <stdbool.h>

#include "base/shared.h"
#include "phases/likelihood.h"

/* Mean counts up to this count as none: an empty shell has no photons to weigh it either. */
SP_SHARED sp_real sp_likelihood_least(void)
{
    return (sp_real)1e-30;
}

/* m = (intensity + base) factor, at least that.   factor  share times counts per unit of intensity */
SP_SHARED sp_real sp_likelihood_mean(float intensity, float base, sp_real factor)
{
    const sp_real m = ((sp_real)intensity + (sp_real)base) * factor, least = sp_likelihood_least();

    return m > least ? m : least;
}

/* What multiplies a count: ln(m / (m + r)). */
SP_SHARED sp_real sp_likelihood_feature(sp_real m, sp_real r)
{
    return -log1p(r / m);
}

/* What multiplies -scale r: ln(1 + m / r). */
SP_SHARED sp_real sp_likelihood_loss(sp_real m, sp_real r)
{
    return log1p(m / r);
}

/* Sums of a few pixels, without the factors that all of them have. */
typedef struct sp_likelihood_terms {
    sp_real score, loss; /* sum k feature, sum loss */
    sp_real slope[3];
    sp_real information[3][3]; /* without the factor scale; only i >= j */
} sp_likelihood_terms;

/* Adds a pixel of k photons and mean m.   d  in  [3] the mean's derivatives, or NULL */
SP_SHARED void sp_likelihood_add_pixel(sp_real k, sp_real m, sp_real r, sp_real scale, const sp_real *d,
                                       sp_likelihood_terms *terms)
{
    terms->score += k * sp_likelihood_feature(m, r);
    terms->loss += sp_likelihood_loss(m, r);
    if (!d || !(m > sp_likelihood_least())) {
        return;
    }
    const sp_real weight = 1 / (m * (1 + m / r)), pull = weight * (k - scale * m);

    for (int i = 0; i < 3; i++) {
        terms->slope[i] += pull * d[i];
        for (int j = 0; j <= i; j++) {
            terms->information[i][j] += weight * d[i] * d[j];
        }
    }
}

/* sums += the terms, in double precision. */
SP_SHARED void sp_likelihood_add_terms(const sp_likelihood_terms *terms, float r, float scale, sp_likelihood_sums *sums)
{
    sums->score += (double)terms->score - (double)scale * (double)r * (double)terms->loss;
    for (int i = 0; i < 3; i++) {
        sums->slope[i] += (double)terms->slope[i];
        for (int j = 0; j <= i; j++) {
            sums->information[i][j] += (double)scale * (double)terms->information[i][j];
        }
    }
}
