/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* physics/particle.h -- the diffraction pattern of a molecule in any orientation.
 *
 *   F(s) = sum_a occupancy_a f_element(a)(|s|) exp(2 pi i s.r_a),   I = |F|^2        [electrons], [electrons^2]
 *
 * The sum over all atoms is done once, by a Fourier transform: for each element the atoms are spread onto a grid, and
 * the transform is kept on a cube of the frequencies that the detector sees. A pattern then costs 6^3 points of the
 * cube per pixel and element (type 3 nonuniform FFT: A. Dutt, V. Rokhlin, SIAM J. Sci. Comput. 14 (1993) 1368; kernel
 * and its width: P. Beatty et al., IEEE Trans. Med. Imaging 24 (2005) 799). The error of F is about 1e-5 of its
 * local root mean square. Thermal motion (B factors) is left out. */
#include <stddef.h>

#include "base/error.h"
#include "io/images.h"
#include "io/pdb.h"
#include "num/quaternion.h"

/* A molecule made ready for one detector. Opaque; constant once made, so any number of threads may use it. */
typedef struct sp_particle sp_particle;

/* Prepare a molecule, placed with its centre of electrons (sum of occupancy Z r) at the origin.
 *   atoms     at least one; copied from, not kept
 *   map       the detector; positions and pixel count are used here only
 *   particle  receives it, free with sp_particle_free(); untouched on error
 * Fails with SP_ERR_MEMORY, or SP_ERR_USAGE: so large or seen to such angles that the grid would pass 2048 points. */
sp_status sp_particle_new(const sp_atoms *atoms, const sp_detector_map *map, sp_particle **particle);
void sp_particle_free(sp_particle *particle); /* NULL is fine */

double sp_particle_diameter(const sp_particle *particle); /* twice the largest distance from the centre [m] */

/* Intensity at the pixels of `map` for orientation q: intensity[p] = |F(R(q)^T s_p)|^2.
 *   map        the detector given to sp_particle_new()
 *   intensity  out  [pixels] electrons^2
 * Cannot fail. */
void sp_particle_pattern(const sp_particle *particle, const sp_detector_map *map, sp_quat q, float *intensity);

/* |F|^2 at the |s| of one pixel, in a direction (unit vector) of the molecule's own frame [electrons^2]: for averages
 * over orientations. */
float sp_particle_intensity(const sp_particle *particle, const sp_detector_map *map, ptrdiff_t pixel,
                            const double direction[3]);
