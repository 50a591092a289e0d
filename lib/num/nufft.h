/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/nufft.h -- non-uniform Fourier transforms of real, even volumes (autocorrelations), sampled on rotated patterns.
 *
 * A real, even volume a[r] (a[-r] = a[r]) has a real, even transform, so half of Fourier space and no complex numbers
 * suffice:
 *   type 2   f(k)  = sum_r a[r] cos(2 pi k.r / n)              volume  -> values at any k
 *   type 1   a[r]  = sum_j c_j  cos(2 pi k_j.r / n)            values  -> volume; the adjoint of type 2
 * with r in -n/2+1 .. n/2-1 per axis (the plane -n/2 of an even edge has no partner and is taken as 0), and k in cycles
 * per box, |k_i| <= n/2. Both go through a grid finer by `sigma` and a window of num/window.h, `width` cells wide.
 * Relative error of type 2, for an autocorrelation that fills its box, over all points and within shells of |k|:
 *   width 4   sigma 1.25  5e-4, 1e-3    1.5  2e-4, 3e-4    2  4e-5, 7e-5
 *   width 6               9e-6, 3e-5         2e-6, 6e-6       2e-7, 2e-6 (single precision)
 * For volumes as bright in the corners of the box as in the middle it is fifteen to seventy times that.
 *
 * Volumes: [n][n][n] floats in FFT order, [x][y][z], z fastest. Grids are opaque arrays of sp_nufft_grid_count()
 * floats from sp_array_new(); they hold one half of the space and are padded so that no stencil needs a test.
 *
 * Patterns: pixel j of a pattern lies at k = scale * R^T s_j, where R is the orientation and s_j the pixel in the
 * laboratory frame. Coordinates come as three arrays s[0..2][count]. */
#include <stddef.h>

#include "base/error.h"
#include "num/quaternion.h"

typedef struct sp_nufft sp_nufft;

/* Plan for n*n*n volumes (even n, 4..1024), kernel width 4 or 6, oversampling sigma 1.25..4 (rounded up to a good FFT
 * size), at most 2^31 cells in the half-space grid. Picks the inner loops for this processor (num/isa.h). Free with
 * sp_nufft_free(). Fails with SP_ERR_USAGE, SP_ERR_MEMORY. */
sp_status sp_nufft_new(ptrdiff_t n, int width, double sigma, sp_nufft **plan);
void sp_nufft_free(sp_nufft *plan); /* NULL is fine */

/* The same with given inner loops (num/nufft_kernels.h) instead of the best ones for this processor.
 *   most_replicated  [byte] grids up to this size hold every row several times, which is faster while they stay in the
 *                    cache */
typedef struct sp_nufft_kernels sp_nufft_kernels;
sp_status sp_nufft_new_with(ptrdiff_t n, int width, double sigma, const sp_nufft_kernels *kernels,
                            size_t most_replicated, sp_nufft **plan);

ptrdiff_t sp_nufft_grid_count(const sp_nufft *plan); /* floats in one grid to interpolate from */
ptrdiff_t sp_nufft_pair_count(const sp_nufft *plan); /* floats in a pair of grids to spread onto */

/* Memory of a plan, of a grid, and of a pair, at most, for planning ahead [byte]. */
double sp_nufft_plan_bytes(ptrdiff_t n, double sigma);
double sp_nufft_grid_bytes(ptrdiff_t n, double sigma);
double sp_nufft_pair_bytes(ptrdiff_t n, double sigma);

/* grid = what type 2 interpolates from: one FFT of the volume. Uses the plan's work space: one thread at a time. */
void sp_nufft_prepare(sp_nufft *plan, const float *volume, float *grid);

/* Type 2: value[j] = f(scale R^T s_j). Any number of threads may read one grid. */
void sp_nufft_interpolate(const sp_nufft *plan, const float *grid, const sp_mat3 *rotation, double scale,
                          const float *const s[3], ptrdiff_t count, float *value);

/* The same, and how each value changes when the molecule turns further by a small rotation vector t [rad], that is with
 * the orientation R(t) R:
 *   turn[i][j] = d value_j / d t_i = (g x s_j)_i,   g = gradient of the value with respect to s_j
 * from the kernel's derivative: about `width` times less accurate than the values. Less than twice their time.
 *   turn  out  three arrays [count] */
void sp_nufft_interpolate_turns(const sp_nufft *plan, const float *grid, const sp_mat3 *rotation, double scale,
                                const float *const s[3], ptrdiff_t count, float *value, float *const turn[3]);

/* Type 1 of two sets of values on the same points, first step: adds each point to both grids (sp_nufft_pair_count()
 * floats, zeroed by the caller). One pair per thread; a few hundred patterns per pair, since they are single precision.
 */
void sp_nufft_spread_pair(const sp_nufft *plan, const sp_mat3 *rotation, double scale, const float *const s[3],
                          ptrdiff_t count, const float *first, const float *second, float *pair);

/* Second step, where there are several: adds pairs to another one, two by two, in the same order always.
 *   pair  in      [pairs]
 *   sum   in out  a pair */
void sp_nufft_add_pairs(const sp_nufft *plan, const float *const *pair, int pairs, float *sum);

/* Last step: volume of component `which` (0 or 1) of a pair; edge m <= n, even: only the modes of an m*m*m volume (FFT
 * order) are kept. The pair stays. Uses the plan's work space: one thread at a time. */
void sp_nufft_collect(sp_nufft *plan, const float *pair, int which, ptrdiff_t m, float *volume);
