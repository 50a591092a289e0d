/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/rng.h"

#include <assert.h>
#include <math.h>

#include "base/philox.h"

sp_rng sp_rng_stream(uint64_t seed, uint32_t purpose, uint64_t index)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};

    /* counter[0] counts blocks within the stream: 2^34 numbers each */
    return (sp_rng){.key = {key[0], key[1]}, .counter = {0, purpose, (uint32_t)index, (uint32_t)(index >> 32)}};
}

uint32_t sp_rng_u32(sp_rng *rng)
{
    if (rng->left == 0) {
        sp_philox(rng->key, rng->counter, rng->block);
        rng->counter[0]++;
        rng->left = 4;
    }
    return rng->block[--rng->left];
}

double sp_rng_uniform(sp_rng *rng)
{
    const uint32_t first = sp_rng_u32(rng), second = sp_rng_u32(rng);

    return sp_philox_uniform(first, second);
}

double sp_rng_normal(sp_rng *rng)
{
    const double radius = sqrt(-2.0 * log(sp_rng_uniform(rng))); /* Box and Muller 1958 */

    return radius * cos(2.0 * M_PI * sp_rng_uniform(rng));
}

/* Inversion by multiplication (Knuth, TAOCP 2, 3.4.1): exact, for small means. */
static uint64_t poisson_small(sp_rng *rng, double mean)
{
    const double limit = exp(-mean);
    double product = sp_rng_uniform(rng);
    uint64_t count = 0;

    while (product > limit) {
        product *= sp_rng_uniform(rng);
        count++;
    }
    return count;
}

/* Transformed rejection PTRS (Hormann, Insurance: Mathematics and Economics 12 (1993) 39-45), for mean >= 10. */
static uint64_t poisson_large(sp_rng *rng, double mean)
{
    const double b = 0.931 + 2.53 * sqrt(mean);
    const double a = -0.059 + 0.02483 * b;
    const double inverse_alpha = 1.1239 + 1.1328 / (b - 3.4);
    const double v_r = 0.9277 - 3.6224 / (b - 2.0);

    for (;;) {
        const double u = sp_rng_uniform(rng) - 0.5;
        const double v = sp_rng_uniform(rng);
        const double us = 0.5 - fabs(u);
        const double k = floor((2.0 * a / us + b) * u + mean + 0.43);
        int sign = 0; /* lgamma() would write a global */

        if (us >= 0.07 && v <= v_r) {
            return (uint64_t)k;
        }
        if (k < 0.0 || (us < 0.013 && v > us)) {
            continue;
        }
        if (log(v * inverse_alpha / (a / (us * us) + b)) <= k * log(mean) - mean - lgamma_r(k + 1.0, &sign)) {
            return (uint64_t)k;
        }
    }
}

uint64_t sp_rng_poisson(sp_rng *rng, double mean)
{
    assert(mean >= 0.0 && mean <= 1e15);
    if (mean == 0.0) {
        return 0;
    }
    return mean < 12.0 ? poisson_small(rng, mean) : poisson_large(rng, mean);
}
