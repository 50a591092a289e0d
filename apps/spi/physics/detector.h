/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* physics/detector.h -- where the pixels of a detector are and what they see.
 *
 * The beam runs along z, the sample is at the origin, the electric field along x. For a pixel centre p [m]:
 *   s            = (p/|p| - z) / lambda                       [1/m]  the Ewald sphere, no 2 pi
 *   solid angle  = |p.n| area / |p|^3                         [sr]   n: normal of the pixel
 *   polarisation = 1 - (p.x / |p|)^2                                 of a linearly polarised beam
 * A square detector has its centre on the beam; row r and column c lie at
 *   x = (c + 1/2) size/pixels - size/2,  y = (r + 1/2) size/pixels - size/2,  z = distance. */
#include <stddef.h>

#include "base/error.h"
#include "io/images.h"

typedef struct sp_detector {
    ptrdiff_t pixels;   /* along one edge of a square detector */
    double size;        /* edge of a square detector [m] */
    double distance;    /* sample to a square detector [m] */
    const char *panels; /* or NULL; a file of panels, used instead of the three values above */
    double energy;      /* of the photons [eV] */
    double beam_stop;   /* pixels closer to the beam than this are bad [pixel] */
    const char *mask;   /* or NULL; a file of bad pixels */
} sp_detector;

double sp_wavelength(double energy_eV); /* [m], energy > 0 */

/* Compute positions, corrections, bad pixels and picture coordinates.
 *   map       receives the geometry, free with sp_detector_map_clear(); untouched on error
 *   distance  receives the distance of the detector along the beam [m] (the mean over the pixels)
 * The panel file has one line per panel, lengths in metres; # begins a comment:
 *   panel NAME  corner_x corner_y corner_z  fs_x fs_y fs_z  ss_x ss_y ss_z  width height
 * The pixel in column c and row r has its centre at corner + (c + 1/2) fs + (r + 1/2) ss. All panels have the same
 * width and height. The mask is a file of one byte per pixel, non-zero = bad, in the order [panel][row][column]; or an
 * HDF5 file with the dataset `mask`.
 * Fails with SP_ERR_USAGE (values out of range), SP_ERR_INPUT (unusable panel or mask file, no good pixel) or
 * SP_ERR_MEMORY. */
sp_status sp_detector_map_new(const sp_detector *detector, sp_detector_map *map, double *distance);

double sp_detector_extent(const sp_detector_map *map); /* largest |s| of all pixels [1/m] */
double
sp_detector_spacing(const sp_detector_map *map); /* largest distance of neighbours in s [1/m]; 0: no neighbours */
