/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/dense.h -- images compared with every orientation for itself: a matrix product, and who is best.
 *
 * Patterns are made tile by tile, as features (phases/match.h) or, for the Euclidean distance, as intensities; products
 * are sorted out tile by tile. So memory does not grow with images times orientations. */
#include <stdbool.h>

#include "base/error.h"
#include "num/isa.h"
#include "num/rotation_grid.h"
#include "phases/patterns.h"
#include "phases/shortlist.h"
#include "phases/slice.h"

typedef struct sp_dense sp_dense;

typedef struct sp_dense_input {
    const sp_patterns *patterns; /* borrowed for life; scales may change between calls */
    ptrdiff_t stride;            /* pixels that may be compared */
    double unit;                 /* value of one photon */
    const float *base;           /* [stride] added to the intensities of the model; borrowed for life */
    const float *expected;       /* [stride] photons per unit of intensity; borrowed for life */
    double share;                /* of that, for intensity and base together: 1 / (1 + floor) */
    bool euclidean;              /* only patterns and stride are used besides */
    sp_isa isa;
} sp_dense_input;

/* Room for all images. No more threads may be used later than omp_get_max_threads() tells now.
 * Free with sp_dense_free(). Fails with SP_ERR_MEMORY. */
sp_status sp_dense_new(const sp_dense_input *input, sp_dense **dense);
void sp_dense_free(sp_dense *dense); /* NULL is fine */

double sp_dense_bytes(ptrdiff_t pixels, int threads); /* memory */

/* The best orientations of every image among those of the grid, as sp_matcher_search() has it.
 *   pixels      the first so many are compared
 *   dispersion  r; not for the Euclidean distance
 *   out         out  of each image the indices into the grid and their scores
 * Same result for any number of threads; ties go to the lower index. Cannot fail; ends early when interrupted. */
void sp_dense_search(sp_dense *dense, const sp_slicer *slicer, ptrdiff_t pixels, double dispersion,
                     const sp_rotation_grid *grid, const sp_shortlists *out);
