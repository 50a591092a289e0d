/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/match.h -- the orientation in which the model's pattern resembles each image most.
 *
 * Images and model patterns become features: variance-stabilised (square root), minus the mean of their shell. The
 * score of image n in orientation R is the weighted normalised correlation of the two
 *   score = sum_p W_p x_np y_p(R) / sqrt(sum_p W_p x_np^2  sum_p W_p y_p(R)^2)             (docs/algorithm.md, eq. 5-8)
 * W depends on the shell: 1 / sqrt(noise variance + whitening * signal variance). The plain Euclidean distance of
 * intensities, the published baseline, stays selectable. */
#include <stddef.h>

#include "base/error.h"
#include "num/quaternion.h"
#include "num/rotation_grid.h"
#include "phases/patterns.h"
#include "phases/slice.h"

typedef enum sp_match_kind {
    SP_MATCH_WHITENED,  /* square root, shell mean removed, weighted by shell, normalised */
    SP_MATCH_EUCLIDEAN, /* intensities as they are, squared distance, one scale for the whole model: the ratio of the
                         * root mean squares of the images and of 256 model patterns spread over the grid (SpiniFEL) */
} sp_match_kind;

typedef struct sp_match_settings {
    sp_match_kind kind;
    double whitening; /* share of the signal variance in the weights, 0 .. 1 */
    double s_max;     /* [1/m] shells that lie beyond are not compared */
} sp_match_settings;

typedef struct sp_matcher sp_matcher;

/* Prepares the features of all images. Free with sp_matcher_free(). Fails with SP_ERR_MEMORY, SP_ERR_USAGE. */
sp_status sp_matcher_new(const sp_patterns *patterns, const sp_match_settings *settings, sp_matcher **matcher);
void sp_matcher_free(sp_matcher *matcher); /* NULL is fine */

/* The best orientations of every image among those of the grid.
 *   keep   how many per image; two of one image may be neighbours on the grid
 *   best   out  [images][keep] index into the grid, best first
 *   score  out  [images][keep]
 * Same result for any number of threads; ties go to the lower index. Cannot fail. */
void sp_matcher_search(sp_matcher *matcher, const sp_slicer *slicer, const sp_rotation_grid *grid, int keep,
                       ptrdiff_t *best, float *score);

/* Improves each image's orientation by Gauss-Newton steps on the sum of squared differences of the features.
 *   candidates   in      [images][count] starting orientations; for each, its half turn about the beam is tried too
 *   steps        Gauss-Newton steps for each candidate
 *   delta        [rad] step of the numerical derivative: about half a speckle at the edge
 *   orientation  out     [images] the best orientation found
 *   score        out     [images] its score */
void sp_matcher_refine(sp_matcher *matcher, const sp_slicer *slicer, const sp_quat *candidates, int count, int steps,
                       double delta, sp_quat *orientation, float *score);
