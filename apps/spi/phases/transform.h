/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/transform.h -- the Fourier transform of a map at any frequency.
 *
 * Rotating, shifting, mirroring, resampling and band-limiting a map are all reading its transform at other places. */
#include <complex.h>
#include <stddef.h>

#include "base/error.h"

/* A cubic map: value[x][y][z], z fastest, at r = (index - n/2) voxel (integer division; even and odd edges). */
typedef struct sp_volume {
    ptrdiff_t n;        /* edge [voxel] */
    double voxel;       /* [m] */
    const float *value; /* [n][n][n] borrowed, any unit U */
} sp_volume;

typedef struct sp_transform sp_transform;

/* Prepare F(s) = sum_r map(r) exp(-2 pi i s.(r - centre)) for |s| <= s_max.
 *   map     4 <= n <= 512; taken as periodic when it is moved to the centre
 *   centre  [voxel], from voxel n/2: should lie within the particle
 *   s_max   [1/m] > 0; the map's Nyquist frequency 1/(2 voxel) is the most that makes sense, more is cut to it
 * Relative error 1e-5 (num/stencil.h, width 6): that of a narrower stencil would depend on the rotation of s and show
 * in correlations. The transform keeps no reference to the map; free with sp_transform_free(). Fails with SP_ERR_USAGE
 * (edge), SP_ERR_MEMORY. */
sp_status sp_transform_new(const sp_volume *map, const ptrdiff_t centre[3], double s_max, sp_transform **transform);
void sp_transform_free(sp_transform *transform); /* NULL is fine */

/* F(s) [U], 0 beyond s_max. Any number of threads may ask at once. Cannot fail. */
float complex sp_transform_at(const sp_transform *transform, const double s[3]);

/* The same with its gradient [U m] by s, to about 1e-3: as accurate as the search for a maximum needs it. */
float complex sp_transform_slope(const sp_transform *transform, const double s[3], float complex gradient[3]);
