/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/match.h -- images compared with orientations on a GPU: the dense search (phases/dense.h), the sums of the
 * refinement (phases/likelihood.h) and of the assessment (phases/match.h).
 *
 * A search is
 *
 *     pack          the images, once
 *     average       the common feature and loss, of some patterns spread over all orientations
 *     offsets       L of each image with these two: what its scores have in common
 *     features      of a tile of orientations                  }  for each tile
 *     compare       the images with the tile                   }
 *
 * and the score (algorithm.md, eq. 7) is the image's offset and what the lists tell, which is small: what is common to
 * all orientations is taken off before anything is rounded.
 *
 * Factors of the product are bfloat16, its sums single precision. That moves the scores of an image, root mean square
 * over the orientations, by 0.1 to 0.25 % of how much they differ, for the worst of nine small images, noise-free or
 * with 300 to 30,000 photons, r = 1, 10 or 1e6 (tests/device/test_match.c); the polar route errs by 1 %. Three bits
 * more (tf32) would cost half the rate and twice the memory, two bfloat16 for each factor two thirds of the rate, to no
 * use: refinement compares the best orientations in single precision. Counts up to 256 are exact; brighter ones move
 * all scores of an image alike, by up to 0.05 %.
 *
 * Models (phases/likelihood.h) hold arrays of the device here. */
#include <stdint.h>

#include "device/counts.h"
#include "device/device.h"
#include "phases/likelihood.h"
#include "phases/shortlist.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef uint16_t sp_bfloat16; /* the upper half of a float */

/* Elements from one row of a factor to the next: its pixels, filled up with zeros to whole lines of memory. */
static inline ptrdiff_t sp_device_match_row(ptrdiff_t pixels)
{
    return (pixels + 63) / 64 * 64;
}

enum { SP_DEVICE_MATCH_KEPT = 32 }; /* candidates of an image, at most, in compare() */

/* A factor's rows, `row` elements from each other, of the device. */
typedef struct sp_device_match_tile {
    const sp_bfloat16 *feature; /* [orientations][row] */
    const float *bias;          /* [orientations] */
    ptrdiff_t orientations;
    int32_t first; /* index of the first one */
} sp_device_match_tile;

/* What images are assessed by; all arrays of the device. */
typedef struct sp_device_assessment {
    ptrdiff_t pixels, shells;
    const ptrdiff_t *shell_start; /* [shells + 1] first pixel of each shell */
    const float *expected;        /* [pixels] photons per unit of intensity */
    const float *exposure;        /* [pixels] */
    const float *whitening;       /* [pixels] */
    const float *background;      /* [pixels] photons */
    float noise;                  /* variance of a photon */
} sp_device_assessment;

struct sp_device_match_kernels {
    /* packed = k, rounded: counts up to 256 stay as they are.
     *   packed  out  device  [counts->images][sp_device_match_row(pixels)] */
    sp_status (*pack)(const sp_device *device, const sp_device_counts *counts, ptrdiff_t pixels, sp_bfloat16 *packed);

    /* Means over some orientations of feature and loss, for pixels that are compared.
     *   intensity  in  device  [orientations][pixels] >= 0
     *   common     out device  [2][pixels] feature, loss */
    sp_status (*average)(const sp_device *device, const sp_likelihood_model *model, const float *intensity,
                         ptrdiff_t orientations, ptrdiff_t pixels, float *common);

    /* offset_n = sum_p k_np common feature_p - scale_n r sum_p common loss_p, with k as packed.
     *   scale   in  device  [images]
     *   offset  out device  [images] */
    sp_status (*offsets)(const sp_device *device, const sp_bfloat16 *packed, ptrdiff_t images, ptrdiff_t pixels,
                         const float *scale, const float *common, float dispersion, double *offset);

    /* feature = ln(m / (m + r)) less the common one, rounded; bias = -r sum_p ln(1 + m_p / r), less what is common.
     *   intensity  in  device  [orientations][pixels] >= 0
     *   common     in  device  [2][pixels] of average()
     *   feature    out device  [orientations][sp_device_match_row(pixels)]
     *   bias       out device  [orientations] */
    sp_status (*features)(const sp_device *device, const sp_likelihood_model *model, const float *intensity,
                          ptrdiff_t orientations, ptrdiff_t pixels, const float *common, sp_bfloat16 *feature,
                          float *bias);

    /* Candidates of the tile, score sum_p k_np feature_op + scale_n bias_o, enter the lists: tiles in the order of
     * their indices leave the same lists as sp_shortlist_insert() in that order. Fastest where images and orientations
     * are multiples of 128, and many: at least 1024 orientations.
     *   packed   in      device  [images][sp_device_match_row(pixels)]
     *   scale    in      device  [images]
     *   product  scratch device  [images][orientations]
     *   best     in, out device  [images][keep], 1 .. SP_DEVICE_MATCH_KEPT; at first of sp_shortlists_clear()
     * Fails with SP_ERR_USAGE (keep) besides. */
    sp_status (*compare)(const sp_device *device, const sp_bfloat16 *packed, ptrdiff_t images, ptrdiff_t pixels,
                         const float *scale, const sp_device_match_tile *tile, float *product, int keep,
                         sp_candidate *best);

    /* The sums of phases/likelihood.h over all pixels, for many pairs of an image and an orientation; the score errs by
     * at most 3e-6 of itself. Intensities below 0 count as 0 that does not change, as sp_slicer_cut_turns() has it.
     *   counts  in  `image` tells each candidate's image, `images` is the number of candidates
     *   scale   in  device  [candidates] of the image
     *   value   in  device  [candidates][pixels] intensities
     *   turn    in  device  [3][candidates][pixels] their derivatives, or NULL: only scores are wanted
     *   sums    out device  [candidates]; slope and information 0 without turns */
    sp_status (*likelihood)(const sp_device *device, const sp_likelihood_model *model, ptrdiff_t pixels,
                            const sp_device_counts *counts, const float *scale, const float *value, const float *turn,
                            sp_likelihood_sums *sums);

    /* As sp_matcher_assess_part() has it, to 1e-5.
     *   value    in      device  [images][pixels] intensities >= 0 of each image's orientation
     *   scale    in, out device  [images] 0 stays 0; the others become what fits best, not yet relative
     *   score    out     device  [images]
     *   residue  scratch device  [images][shells + 1][2]
     *   scatter  in, out device  [shells + 1][2] sums, added to: of each shell; in the last row what photon noise and
     *                            what everything scatters (algorithm.md, eq. 8a) */
    sp_status (*assess)(const sp_device *device, const sp_device_assessment *by, const sp_device_counts *counts,
                        const float *value, float *scale, float *score, double *residue, double *scatter);
};

#ifdef __cplusplus
}
#endif
