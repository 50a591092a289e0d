/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/matching.h -- for tests: what those of match, polar and dense share. */
#include "base/rng.h"
#include "num/rotation_grid.h"
#include "phases/blobs.h"
#include "phases/shortlist.h"
#include "phases/slice.h"

/* `count` numbers between -1 and 1; free with sp_array_free(). */
static inline float *noise(ptrdiff_t count, uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 3, 0);
    float *x = NULL;

    assert_int_equal(SP_ARRAY(x, count), SP_OK);
    for (ptrdiff_t i = 0; i < count; i++) {
        x[i] = (float)(2.0 * sp_rng_uniform(&rng) - 1.0);
    }
    return x;
}

/* Places and scores of candidates, each by itself.   best, score  out  [count] */
static inline void split_candidates(const sp_candidate *from, ptrdiff_t count, ptrdiff_t *best, float *score)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        best[i] = from[i].index;
        score[i] = from[i].score;
    }
}

static inline sp_rotation_grid make_grid(ptrdiff_t count)
{
    sp_rotation_grid grid;

    assert_int_equal(sp_rotation_grid_init(count, &grid), SP_OK);
    return grid;
}

/* Photon counts instead of expected values, `photons` per image on average. Returns how many times as bright the images
 * became. They are to be measured anew. */
static inline double draw_photons(sp_patterns *patterns, ptrdiff_t images, double photons)
{
    const ptrdiff_t count = images * patterns->pixels;
    sp_rng rng = sp_rng_stream(4, 4, 4);
    double total = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        total += patterns->count[i] / (double)images;
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        patterns->count[i] = (float)sp_rng_poisson(&rng, photons / total * (double)patterns->count[i]);
    }
    patterns->quantum = 1.0;
    return photons / total;
}

/* Images first .. first + count - 1 of some patterns that are not packed, as patterns of their own; to be measured. */
static inline sp_patterns part_of(const sp_patterns *all, ptrdiff_t first, ptrdiff_t count)
{
    sp_patterns part;

    assert_int_equal(sp_patterns_init_part(all, count, false, &part), SP_OK);
    memcpy(part.count, all->count + first * all->pixels, (size_t)(count * all->pixels) * sizeof *part.count);
    return part;
}

/* The autocorrelation of blobs, `factor` times as bright, as the model to slice. */
static inline void load_blobs(sp_slicer *slicer, const blobs *particle, ptrdiff_t edge, double factor)
{
    float *autocorrelation = blobs_autocorrelation(particle, edge);

    for (ptrdiff_t i = 0; i < edge * edge * edge; i++) {
        autocorrelation[i] *= (float)factor;
    }
    sp_slicer_load(slicer, autocorrelation);
    sp_array_free(autocorrelation);
}
