/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/likelihood.h"

#include <math.h>
#include <stdbool.h>

SP_TABLES(sp_likelihood_kernels)

static void add(const sp_likelihood_model *model, ptrdiff_t first, ptrdiff_t count, const float *k, float scale,
                const float *intensity, const float *const turn[3], sp_likelihood_sums *sums)
{
    const double r = (double)model->dispersion, sigma = (double)scale;

    for (ptrdiff_t p = 0; p < count; p++) {
        const double factor = (double)model->share * (double)model->expected[first + p];
        const double m = ((double)intensity[p] + (double)model->base[first + p]) * factor;
        const double mean = fmax(m, 1e-30); /* an empty shell has no photons to weigh it either */
        const bool lit = m > 1e-30;

        sums->score -= (double)k[p] * log1p(r / mean) + sigma * r * log1p(mean / r);
        for (int i = 0; turn && lit && i < 3; i++) {
            const double weighted = (double)turn[i][p] * factor / (m * (1.0 + m / r));

            sums->slope[i] += weighted * ((double)k[p] - sigma * m);
            for (int j = 0; j <= i; j++) {
                sums->information[i][j] += sigma * weighted * (double)turn[j][p] * factor;
            }
        }
    }
}

const sp_likelihood_kernels sp_likelihood_ref = {.name = "ref", .add = add};
