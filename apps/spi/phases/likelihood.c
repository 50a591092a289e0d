/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/likelihood.h"

#include "phases/likelihood_terms.h"

SP_TABLES(sp_likelihood_kernels)

static void add(const sp_likelihood_model *model, ptrdiff_t first, ptrdiff_t count, const float *k, float scale,
                const float *intensity, const float *const turn[3], sp_likelihood_sums *sums)
{
    const double r = (double)model->dispersion;
    sp_likelihood_terms terms = {0};

    for (ptrdiff_t p = 0; p < count; p++) {
        const double factor = (double)model->share * (double)model->expected[first + p];
        const double m = sp_likelihood_mean(intensity[p], model->base[first + p], factor);
        double d[3];

        for (int i = 0; turn && i < 3; i++) {
            d[i] = (double)turn[i][p] * factor;
        }
        sp_likelihood_add_pixel((double)k[p], m, r, (double)scale, turn ? d : NULL, &terms);
    }
    sp_likelihood_add_terms(&terms, model->dispersion, scale, sums);
}

const sp_likelihood_kernels sp_likelihood_ref = {.name = "ref", .add = add};
