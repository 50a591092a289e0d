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

/* The rest of it: edges, places and factors. */
typedef struct sp_nufft_layout {
    ptrdiff_t edge;      /* of volumes, n */
    ptrdiff_t fine;      /* of the fine grid that is transformed; even */
    ptrdiff_t size[3];   /* of the padded half-space grid (a, b, c), whose axes are z, x, y of the volume */
    ptrdiff_t origin[3]; /* its cell of k = 0; stencils reach as far below it: a >= -origin[0], |b| <= origin[1], ... */
    const float *factor; /* [edge/2+1] 1 / transform of the window, along one axis; borrowed from the plan */
    sp_nufft_stencil stencil; /* of sp_nufft_flat_stencil() */
} sp_nufft_layout;

sp_nufft_layout sp_nufft_layout_of(const sp_nufft *plan);
