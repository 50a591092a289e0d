/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/nufft_layout.h -- what a GPU must know of a plan to work on the same grid. */
#include "num/nufft_kernels.h"

/* The stencil of points on the padded half-space grid as plain [a][b][c] (depth 1): that of a plan made with
 * sp_nufft_ref, and of each grid of a pair. Its weights are borrowed from the plan. */
sp_nufft_stencil sp_nufft_flat_stencil(const sp_nufft *plan);

/* map = pixel coordinates s -> cells (a, b, c): k = scale R^T s in cells of the grid.
 *   map  out  [3][3] rows in the order of the grid's axes */
void sp_nufft_map(const sp_nufft *plan, const sp_mat3 *rotation, double scale, float map[3][3]);
