/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/merge.h -- the autocorrelation that explains all patterns in their orientations, by least squares.
 *
 *   minimise over a:   sum_np w_np ( [A a](R_n^T s_p) - y_np )^2 + lambda |a|^2,     a = 0 outside the support
 * with y = value / (scale exposure), A the type-2 NUFFT, w = scale exposure (|s|^2 + a constant): central slices crowd
 * towards the origin as 1/|s|, and |s|^2 more than undoes that. A^T W A is a convolution (Toeplitz), done by FFTs of
 * twice the edge; conjugate gradients solve it                                       (docs/algorithm.md, section 4) */
#include <stddef.h>

#include "base/error.h"
#include "num/quaternion.h"
#include "phases/patterns.h"

typedef struct sp_merger sp_merger;

typedef struct sp_merge_result {
    int iterations;
    double residual; /* |b - A x| / |b| of the linear system */
} sp_merge_result;

/*   edge, voxel      the model's grid: even edge [voxel], edge of a voxel [m]
 *   support_radius   the autocorrelation is 0 beyond it [m]: the particle's diameter
 *   width            of the spreading kernel, 4 or 6
 *   pixels           of one pattern, at most
 * Free with sp_merger_free(). Fails with SP_ERR_USAGE, SP_ERR_MEMORY. */
sp_status sp_merger_new(ptrdiff_t edge, double voxel, double support_radius, int width, ptrdiff_t pixels,
                        sp_merger **merger);
void sp_merger_free(sp_merger *merger); /* NULL is fine */
size_t sp_merger_bytes(ptrdiff_t edge); /* memory it will take, for planning ahead */

/* Merges every image with scale > 0.
 *   orientation      in   [images]
 *   s_max            bins beyond it [1/m] are left out; at least one must lie within
 *   lambda           regularisation, relative to the eigenvalue of a fully measured frequency
 *   iterations       at most
 *   autocorrelation  out  [edge][edge][edge], FFT order
 * The same bits for any number of threads: images are summed in fixed lanes. Ends early when the user
 * interrupts: the result is then not to be used. Cannot fail. */
sp_merge_result sp_merger_run(sp_merger *merger, const sp_patterns *patterns, const sp_quat *orientation, double s_max,
                              double lambda, int iterations, float *autocorrelation);
