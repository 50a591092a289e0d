/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/phase_plan.h -- private to phase.c and phase_starts.c: what a plan is made of. */
#include <complex.h>

#include "num/fft.h"
#include "phases/phase.h"
#include "phases/phase_point.h"

struct sp_phase_plan {
    ptrdiff_t edge, cube, half_count;
    double voxel;
    sp_fft *fft;
    float *square; /* [half_count] |k|^2 [1/box^2]; by the same indices |r|^2 [voxel^2] */
};

/* Moves a density by whole voxels so that its periodic centre of mass comes to voxel 0.
 *   density  in out  [edge^3]
 *   scratch          [edge^3]
 *   plane    scratch [3 edge] */
void sp_phase_recentre(const sp_phase_plan *plan, float *density, float *scratch, double *plane);
