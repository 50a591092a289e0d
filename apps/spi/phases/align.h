/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/align.h -- laying one map on another: rotation, shift and hand.
 *
 * A reconstruction from diffraction patterns comes out in any orientation, at any place and in either hand. The search
 * has four steps, each deterministic:
 *   1. rotations of an even grid by the correlation of |F|^2, which knows no shift and no hand, up to s = 4 / diameter
 *      (num/nufft.h: |F|^2 is real and even);
 *   2. the best of them, both hands: shift from the peak of the cross correlation;
 *   3. refinement of rotation and shift on the correlation of the maps by Newton's method, in bands that double up to
 * the full one; the bands on the way on a sample of the frequencies;
 *   4. the better hand. */
#include <stddef.h>

#include "base/error.h"
#include "num/quaternion.h"
#include "phases/transform.h"

/* aligned(r) = moving(hand R(rotation)^T (r - shift)), r measured from the centre voxel n/2 of each map. */
typedef struct sp_alignment {
    sp_quat rotation;
    double shift[3];               /* [m] */
    int hand;                      /* +1, or -1: the map is inverted, r -> -r */
    double correlation;            /* of the maps in the band, see below */
    double other_hand_correlation; /* what the other hand comes to; not refined to the end where it is far behind */
} sp_alignment;

/* Find the alignment that maximises the correlation of `reference` with the aligned `moving`.
 *
 * The correlation is Pearson's over all voxels of the reference's box, both maps limited to 0 < |s| <= s_max:
 *   Re sum F_ref conj(F_mov) / sqrt(sum |F_ref|^2 sum |F_mov|^2)     over the Fourier voxels of that band.
 * No amplitudes are changed.
 *   reference, moving  edges and voxels may differ; a particle should fill no more than its box
 *   s_max              [1/m] band; cut to what both grids can hold (sp_align_band)
 *   alignment          receives the result; untouched on error
 * Accuracy for noise-free copies: 0.1 degree, 0.05 voxel. Seconds on one core: 0.3 for 64^3, 1.2 for 128^3.
 * Fails with SP_ERR_INPUT (a map is flat or not finite), SP_ERR_USAGE (edge not in 8..512, band empty),
 * SP_ERR_MEMORY. */
sp_status sp_align(const sp_volume *reference, const sp_volume *moving, double s_max, sp_alignment *alignment);

/* The band that is compared [1/m]: the least of s_max (0: no wish) and the Nyquist frequencies 1/(2 voxel). */
double sp_align_band(const sp_volume *reference, const sp_volume *moving, double s_max);

/* aligned = the map moved as `alignment` says and limited to |s| <= s_max, on a grid of edge n.
 *   map        in
 *   alignment  in   NULL: leave it in its place (only resample and band-limit)
 *   n, voxel   grid of the output [voxel], [m]
 *   aligned    out  [n][n][n] unit of the map, centre at voxel n/2
 * Fails with SP_ERR_USAGE, SP_ERR_MEMORY. */
sp_status sp_align_apply(const sp_volume *map, const sp_alignment *alignment, double s_max, ptrdiff_t n, double voxel,
                         float *aligned);

/* Where a map's particle is: voxels that stand out by more than one deviation above the mean, weighted by how much.
 *   centre    out  [voxel] nearest voxel to the centre of mass, from voxel n/2; the box counts as periodic
 *   diameter  out  [m] three radii of gyration: 1.16 diameters of a ball
 * Fails with SP_ERR_INPUT: flat map, NaN or infinity. */
sp_status sp_align_particle(const sp_volume *map, ptrdiff_t centre[3], double *diameter);
