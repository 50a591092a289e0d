/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/rotation_grid.h -- an even grid of rotations: directions of the beam times rotations about it.
 *
 * Directions lie on a Fibonacci spiral (Gonzalez, Math. Geosci. 42 (2010) 49-64); every direction carries the same
 * equally spaced in-plane angles, shifted from direction to direction by the golden ratio so that they do not line up.
 * Both steps are about the same, so the grid is even in all three angles. */
#include <stddef.h>

#include "base/error.h"
#include "num/quaternion.h"

typedef struct sp_rotation_grid {
    ptrdiff_t directions, angles; /* count = directions * angles */
    ptrdiff_t count;
    double covering; /* [rad] largest distance of a rotation from its nearest grid point; 0 until measured */
    double typical;  /* [rad] median distance; 0 until measured */
    sp_quat *q; /* [directions][angles]: q = turn about the beam (z of the laboratory) times the direction's turn */
} sp_rotation_grid;

/* Grid of about `count` rotations (8 .. 10,000,000; what comes out is grid->count, within 10 % + 4).
 * Release with sp_rotation_grid_clear(). Fails with SP_ERR_USAGE, SP_ERR_MEMORY. */
sp_status sp_rotation_grid_init(ptrdiff_t count, sp_rotation_grid *grid);
void sp_rotation_grid_clear(sp_rotation_grid *grid);

/* Measures `covering` and `typical` with `samples` random rotations (exhaustive search: samples * count steps).
 * Fails with SP_ERR_MEMORY. */
sp_status sp_rotation_grid_measure(sp_rotation_grid *grid, ptrdiff_t samples);

/* Number of rotations that a grid of this typical spacing [rad] needs: 8 pi^2 / step^3. */
ptrdiff_t sp_rotation_grid_count_for_step(double step);
