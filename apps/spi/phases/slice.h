/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/slice.h -- patterns that a model predicts, for any orientation.
 *
 * The model is an autocorrelation a (real, even); its transform is the intensity I. The pattern of orientation R is
 *   I(R^T s_p) at the pixels s_p of the detector, on the Ewald sphere                    (docs/algorithm.md, eq. 1, 2)
 * Patterns are made when they are needed and never kept for all orientations. */
#include <stddef.h>

#include "base/error.h"
#include "num/quaternion.h"

typedef struct sp_nufft sp_nufft;

/* Opaque in spirit: only so that sp_slicer_on() can hand it out by value. */
typedef struct sp_slicer {
    sp_nufft *nufft;
    double box;        /* [m] cycles per box = box * s */
    double reach;      /* [1/m] */
    float *own;        /* NULL: the grid belongs to someone else */
    const float *grid; /* what patterns are cut from */
} sp_slicer;

/*   edge    of the model's grid [voxel], even        voxel  edge of one voxel [m]
 *   width   of the interpolation kernel, 4 or 6 (num/nufft.h)
 * Free with sp_slicer_free(). Fails with SP_ERR_USAGE, SP_ERR_MEMORY. */
sp_status sp_slicer_new(ptrdiff_t edge, double voxel, int width, sp_slicer **slicer);
void sp_slicer_free(sp_slicer *slicer); /* NULL is fine */

double sp_slicer_bytes(ptrdiff_t edge); /* memory it will take, for planning ahead */

/* |s| up to which patterns may be cut [1/m]: half a cycle per voxel. */
double sp_slicer_reach(const sp_slicer *slicer);

/* Takes a new model: autocorrelation in [edge][edge][edge], FFT order, unit of intensity. Not while others cut. */
void sp_slicer_load(sp_slicer *slicer, const float *autocorrelation);

/* The same for a grid that is kept elsewhere: made from a model by one, cut from by any number, each with a slicer on
 * it, which needs nothing to be freed. While a grid is made the slicer is not to be used otherwise; the grid of its own
 * stays as it is.
 *   grid  out  [sp_slicer_grid_count()], from sp_array_new() */
ptrdiff_t sp_slicer_grid_count(const sp_slicer *slicer);
void sp_slicer_make_grid(const sp_slicer *slicer, const float *autocorrelation, float *grid);
sp_slicer sp_slicer_on(const sp_slicer *slicer, const float *grid);

/* pattern[p] = I(R(q)^T s_p), negative values set to 0 (interpolation ripples around a true 0).
 *   s        in   three arrays [pixels] [1/m]
 *   pattern  out  [pixels] unit of intensity
 * Any number of threads may cut from one slicer. */
void sp_slicer_cut(const sp_slicer *slicer, sp_quat q, float *const s[3], ptrdiff_t pixels, float *pattern);

/* The same, and turn[i][p] = d pattern[p] / d t_i: how the pattern changes when the molecule turns further by a small
 * rotation vector t [rad], R(t) R(q). 0 where the value was set to 0.
 *   turn  out  three arrays [pixels] unit of intensity per rad */
void sp_slicer_cut_turns(const sp_slicer *slicer, sp_quat q, float *const s[3], ptrdiff_t pixels, float *pattern,
                         float *const turn[3]);
