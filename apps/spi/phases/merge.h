/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/merge.h -- the autocorrelation that explains all patterns in their orientations, by least squares.
 *
 *   minimise over a:   sum_np w_np ( [A a](R_n^T s_p) - y_np )^2 + lambda |a|^2,     a = 0 outside the support
 * with y = value / (scale exposure), A the type-2 NUFFT, w = scale exposure (|s|^2 + a constant): central slices crowd
 * towards the origin as 1/|s|, and |s|^2 more than undoes that. A^T W A is a convolution (Toeplitz), done by FFTs of
 * twice the edge; conjugate gradients solve it                                       (docs/algorithm.md, section 4) */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "num/quaternion.h"
#include "phases/patterns.h"

typedef struct sp_nufft sp_nufft;

/* What all steps share, and the work space of the solver. */
typedef struct sp_merger sp_merger;

static const double SP_MERGER_TOLERANCE = 1e-4; /* of the residual: below what the data can tell */

typedef struct sp_merge_result {
    int iterations;
    double residual; /* |b - A x| / |b| of the linear system */
} sp_merge_result;

/*   edge, voxel      the model's grid: even edge [voxel], edge of a voxel [m]
 *   support_radius   the autocorrelation is 0 beyond it [m]: the particle's diameter
 *   width            of the spreading kernel, 4 or 6
 * Free with sp_merger_free(). Fails with SP_ERR_USAGE, SP_ERR_MEMORY. */
sp_status sp_merger_new(ptrdiff_t edge, double voxel, double support_radius, int width, sp_merger **merger);
void sp_merger_free(sp_merger *merger); /* NULL is fine */
size_t sp_merger_bytes(ptrdiff_t edge); /* memory it will take, for planning ahead; pairs and scratch come on top */

/* Where images are put: each as a whole, or in shares. */
typedef struct sp_placement {
    const sp_quat *orientation; /* [images], or of shares [points] */
    int each;                   /* shares of an image, at most; 0: it is whole, and what follows is not looked at */
    const int32_t *place;       /* [images][each] first + k: the share is put in orientation[k], 0 <= k < points; all
                                   others are put somewhere else, which does not matter here */
    const float *share;         /* [images][each] what part of the image; 0: none, whatever the place */
    ptrdiff_t first, points;
} sp_placement;

/* ---- in pieces: images into pairs of grids, the sum of all pairs into the autocorrelation ---- */

/* Floats in a pair, which holds sum A^T W y and sum A^T W, and in the scratch of one call to spread on it. Both are the
 * caller's, from sp_array_new(). */
ptrdiff_t sp_merger_pair_count(const sp_merger *merger);
ptrdiff_t sp_merger_scratch_count(const sp_patterns *patterns);

/* Adds every image with scale > 0 to a pair, one after the other, of those that are selected. A share of an image adds
 * that part of what the whole image would.
 *   placement    in      of the images
 *   s_max        bins beyond it [1/m] are left out; at least one must lie within
 *   scratch      scratch [sp_merger_scratch_count()]
 *   pair         in out  [sp_merger_pair_count()] zeroed by the caller, before the first images
 * Pairs add up float by float. They are single precision: of bins a third of a cycle per box apart, 256 images in one
 * pair round its data by 1e-6, 1024 by 5e-6, 4096 by 4e-5, of bins half as far apart a quarter as many images; how many
 * bins a pattern has makes no difference. Any number of threads may call with one merger, each with a scratch and a
 * pair of its own. Ends early when the user interrupts: the pair is then not to be used. Cannot fail. */
void sp_merger_spread(const sp_merger *merger, const sp_patterns *patterns, const sp_placement *placement,
                      sp_selection selection, double s_max, float *scratch, float *pair);

/* The outermost bin within s_max, |s| [1/m]. */
double sp_merger_outermost(const sp_patterns *patterns, double s_max);

/* The autocorrelation from the sum of all pairs.
 *   pair             in   [sp_merger_pair_count()]
 *   outermost        [1/m] of the bins that were spread
 *   lambda           regularisation, relative to the eigenvalue of a fully measured frequency
 *   iterations       at most
 *   autocorrelation  out  [edge][edge][edge], FFT order
 * The same bits for any number of threads. Works in the merger: one call at a time. Cannot fail. */
sp_merge_result sp_merger_solve(sp_merger *merger, const float *pair, double outermost, double lambda, int iterations,
                                float *autocorrelation);

/* ---- for those that take these steps elsewhere ---- */

typedef struct sp_merger_shape {
    ptrdiff_t edge;         /* [voxel] */
    double box;             /* [m] */
    const sp_nufft *nufft;  /* borrowed; of twice the edge: points lie at 2 box s */
    const uint8_t *support; /* borrowed; [edge][edge][edge] 1: the autocorrelation need not be 0 */
} sp_merger_shape;

sp_merger_shape sp_merger_shape_of(const sp_merger *merger);

/* Volume of the sphere that is measured, in cubes of edge 1/voxel.   outermost  [1/m] of the bins */
double sp_merger_sphere(const sp_merger_shape *shape, double outermost);

/* ramp[p] = weight of a bin beside scale and exposure, if the first `pixels` bins are merged. */
void sp_merger_ramp(const sp_patterns *patterns, ptrdiff_t pixels, float *ramp);

/* ---- all of it, on the threads of this process ---- */

/* The pairs and scratch of sp_merger_run(): five pairs. */
typedef struct sp_merge_lanes sp_merge_lanes;

/* For this merger and patterns with so many bins. Keeps a reference to neither; free with sp_merge_lanes_free(). Fails
 * with SP_ERR_MEMORY. */
sp_status sp_merge_lanes_new(const sp_merger *merger, const sp_patterns *patterns, sp_merge_lanes **lanes);
void sp_merge_lanes_free(sp_merge_lanes *lanes); /* NULL is fine */
size_t sp_merge_lanes_bytes(ptrdiff_t edge, ptrdiff_t pixels);

/* Spreads every image, whole, and solves; arguments as above. The same bits for any number of threads: images are
 * summed in fixed lanes. Ends early when the user interrupts: the result is then not to be used. Cannot fail. */
sp_merge_result sp_merger_run(sp_merger *merger, sp_merge_lanes *lanes, const sp_patterns *patterns,
                              const sp_quat *orientation, double s_max, double lambda, int iterations,
                              float *autocorrelation);
