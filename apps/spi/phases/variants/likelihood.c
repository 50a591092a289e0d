/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/likelihood.h"

#include <string.h>

#include "num/variants/logarithm.h"

enum { BLOCK = 64 * SP_LANES }; /* pixels summed in single precision: 64 terms in each lane */

/* Sums of one block, lane by lane. */
typedef struct lanes {
    sp_floats score, bias; /* bias: without the factor -scale r */
    sp_floats slope[3], information[3][3];
} lanes;

/* One vector of pixels: count, base, factor = share expected, intensity, turn. */
static inline __attribute__((always_inline)) void add_vector(sp_floats k, sp_floats base, sp_floats factor,
                                                             sp_floats intensity, const sp_floats *turn, float r,
                                                             float scale, lanes *sum)
{
    const float inverse = 1.0f / r;
    const sp_floats m = (intensity + base) * factor;
    const sp_ints lit = m > 1e-30f; /* an empty shell has no photons to weigh it either */
    const sp_floats mean = (sp_floats)(((sp_ints)m & lit) | ((sp_ints)sp_spread(1e-30f) & ~lit));

    sum->score -= k * sp_log1p(r / mean);
    sum->bias += sp_log1p(mean * inverse);
    if (turn) {
        const sp_floats weight = (sp_floats)((sp_ints)(1.0f / (mean * (1.0f + mean * inverse))) & lit);
        const sp_floats pull = weight * (k - scale * mean);

        for (int i = 0; i < 3; i++) {
            const sp_floats d = turn[i] * factor;

            sum->slope[i] += pull * d;
            for (int j = 0; j <= i; j++) {
                sum->information[i][j] += weight * d * (turn[j] * factor);
            }
        }
    }
}

static double add_up(sp_floats v)
{
    double sum = 0.0;

    for (int l = 0; l < SP_LANES; l++) {
        sum += (double)v[l];
    }
    return sum;
}

static void add_block(const lanes *sum, float r, float scale, int turns, sp_likelihood_sums *sums)
{
    sums->score += add_up(sum->score) - (double)scale * (double)r * add_up(sum->bias);
    for (int i = 0; turns && i < 3; i++) {
        sums->slope[i] += add_up(sum->slope[i]);
        for (int j = 0; j <= i; j++) {
            sums->information[i][j] += (double)scale * add_up(sum->information[i][j]);
        }
    }
}

/* count is a multiple of SP_LANES, base and expected begin at the first pixel. */
static inline __attribute__((always_inline)) void add_whole(const float *base, const float *expected, float share,
                                                            float r, ptrdiff_t count, const float *k, float scale,
                                                            const float *intensity, const float *const *turn,
                                                            sp_likelihood_sums *sums)
{
    for (ptrdiff_t block = 0; block < count; block += BLOCK) {
        const ptrdiff_t end = block + BLOCK < count ? block + BLOCK : count;
        lanes sum = {0};

        for (ptrdiff_t p = block; p < end; p += SP_LANES) {
            sp_floats t[3];

            for (int i = 0; turn && i < 3; i++) {
                t[i] = sp_load(turn[i] + p);
            }
            add_vector(sp_load(k + p), sp_load(base + p), share * sp_load(expected + p), sp_load(intensity + p),
                       turn ? t : NULL, r, scale, &sum);
        }
        add_block(&sum, r, scale, turn != NULL, sums);
    }
}

/* The pixels that do not fill a vector, filled up with zeros, which add nothing. */
static void add_rest(const float *base, const float *expected, float share, float r, ptrdiff_t count, const float *k,
                     float scale, const float *intensity, const float *const *turn, sp_likelihood_sums *sums)
{
    const float *const from[7] = {
        base, expected, k, intensity, turn ? turn[0] : NULL, turn ? turn[1] : NULL, turn ? turn[2] : NULL};
    float to[7][SP_LANES] = {{0.0f}};

    for (int i = 0; i < 7 && from[i]; i++) {
        memcpy(to[i], from[i], (size_t)count * sizeof(float));
    }
    add_whole(to[0], to[1], share, r, SP_LANES, to[2], scale, to[3],
              turn ? (const float *const[3]){to[4], to[5], to[6]} : NULL, sums);
}

static void add(const sp_likelihood_model *model, ptrdiff_t first, ptrdiff_t count, const float *k, float scale,
                const float *intensity, const float *const turn[3], sp_likelihood_sums *sums)
{
    const ptrdiff_t whole = count / SP_LANES * SP_LANES;
    const float *base = model->base + first, *expected = model->expected + first;
    const float share = model->share, r = model->dispersion;

    if (turn) {
        add_whole(base, expected, share, r, whole, k, scale, intensity, turn, sums);
    } else {
        add_whole(base, expected, share, r, whole, k, scale, intensity, NULL, sums);
    }
    if (whole < count) {
        const float *const rest[3] = {turn ? turn[0] + whole : NULL, turn ? turn[1] + whole : NULL,
                                      turn ? turn[2] + whole : NULL};

        add_rest(base + whole, expected + whole, share, r, count - whole, k + whole, scale, intensity + whole,
                 turn ? rest : NULL, sums);
    }
}

extern const sp_likelihood_kernels SP_VARIANT(sp_likelihood_kernels);

#define STRING_(x) #x
#define STRING(x) STRING_(x)

const sp_likelihood_kernels SP_VARIANT(sp_likelihood_kernels) = {.name = STRING(SP_ISA), .add = add};
