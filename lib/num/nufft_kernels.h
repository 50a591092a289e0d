/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/nufft_kernels.h -- the inner loops of num/nufft: between the points of a pattern and the oversampled grid.
 *
 * One table per instruction set (num/isa.h), and `ref`: plain loops, the oracle of the others.
 *
 * The padded half-space grid has axes (a, b, c), a the halved one. Stencil rows run along c; what fits into one vector
 * of an instruction set is `depth` such rows, so the layout in memory is [a][block of b][c][depth]:
 *   replicated    block i holds rows i .. i + depth - 1: any stencil starts a block, `depth` times the memory
 *   interleaved   block i holds rows i depth .. (i + 1) depth - 1: a stencil touches one block more
 * With depth 1 both are [a][b][c]. Replicated is faster as long as the grid stays in the last-level cache.
 * A pair of grids to spread onto is [a][b][c][2]: more rows side by side do not pay there. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "num/isa.h"
#include "num/nufft.h"

/* Larger replicated grids [byte] lose more by leaving the last-level cache, which other threads use too, than they
 * gain: break-even was measured between 12 and 24 MB with 32 MB of cache. */
enum { SP_NUFFT_MOST_REPLICATED = 16000000 };

enum { SP_NUFFT_PACKED = 4 * 8 }; /* coefficients of one power: [axis a, c, b, none][cell], 4 or 8 cells per axis */

typedef struct sp_nufft_stencil {
    int width;        /* 4 or 6 cells */
    int degree;       /* of the polynomials (num/window.h) */
    bool replicated;  /* layout of the grid */
    int32_t blocks;   /* of b in one plane of the grid */
    int32_t columns;  /* cells of c in one row */
    int32_t first[3]; /* cell (a, b, c) where the stencil of a point in cell 0 of k begins */
    const float (
        *weight)[SP_NUFFT_PACKED]; /* [power] kernel in x = -1 .. 1 across the cell; width 4 uses 16 of a row */
} sp_nufft_stencil;

/* value[j] = sum over the stencil around u_j of grid * kernel, u_j = map s_j in cells; a point with u_a < 0 stands at
 * -u_j, since the transform is even. Unless turn is NULL, also turn[i][j] = (g x s_j)_i with the gradient g of the
 * value with respect to s_j: the kernel's polynomials are differentiated.
 *   map     in   [3][3] pixel coordinates -> cells (a, b, c)
 *   s       in   three arrays [count]
 *   value   out  [count]
 *   turn    out  three arrays [count], or NULL                                                                     */
typedef void sp_nufft_interpolate_kernel(const sp_nufft_stencil *stencil, const float *grid, const float map[3][3],
                                         const float *const s[3], ptrdiff_t count, float *value, float *const turn[3]);

/* The adjoint, for two sets of values at once: pair[cell][0] += kernel * first, pair[cell][1] += kernel * second.
 *   first, second   in      [count]                     pair   in, out  interleaved grids                            */
typedef void sp_nufft_spread_kernel(const sp_nufft_stencil *stencil, const float map[3][3], const float *const s[3],
                                    ptrdiff_t count, const float *first, const float *second, float *pair);

struct sp_nufft_kernels {
    const char *name;
    int depth[2]; /* width 4, width 6 */
    sp_nufft_interpolate_kernel *interpolate;
    sp_nufft_spread_kernel *spread_pair;
};

extern const sp_nufft_kernels sp_nufft_ref;

/* The table of an instruction set; the next best one where the program was not compiled for it. */
const sp_nufft_kernels *sp_nufft_kernels_for(sp_isa isa);
