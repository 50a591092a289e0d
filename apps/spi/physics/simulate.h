/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* physics/simulate.h -- diffraction images of randomly oriented molecules.
 *
 *   image[p] = fluence r_e^2 polarization[p] solid_angle[p] |F(R(q)^T s_p)|^2          expected photons in pixel p
 * with r_e the classical electron radius, fluence in photons/m^2 at the molecule, and q uniform on SO(3). Image i is
 * drawn from streams of its own: it is the same whatever the number of images, blocks and threads. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "io/images.h"
#include "num/quaternion.h"
#include "physics/particle.h"

/* One of the molecules in the beam. */
typedef struct sp_species {
    sp_particle *particle; /* made for the map of the simulation */
    double weight;         /* share of the images that show it, any scale, > 0 */
} sp_species;

/* What to simulate. The caller owns everything that it points to. */
typedef struct sp_simulation {
    const sp_detector_map *map;
    const sp_species *species; /* [structures] */
    int structures;
    double fluence;    /* mean over the shots [photons/m^2] */
    double spread;     /* relative deviation of the fluence from shot to shot (log-normal), 0 = none */
    double background; /* of every shot, the same in all directions [photons/sr] */
    bool poisson;      /* draw photon counts; else expected values */
    uint64_t seed;
} sp_simulation;

/* One shot: what hit the beam and how. */
typedef struct sp_shot {
    sp_quat orientation; /* the image shows the intensity at s_mol = R(q)^T s_lab */
    double fluence;      /* [photons/m^2] */
    int structure;       /* place among the species */
} sp_shot;

/* The shot of image `index`. Cannot fail. */
sp_shot sp_simulation_shot(const sp_simulation *simulation, ptrdiff_t index);

/* Images first .. first+count-1, in parallel.
 *   intensity  out  [count][pixels] photons; 0 in bad pixels
 * Cannot fail. */
void sp_simulation_images(const sp_simulation *simulation, ptrdiff_t first, ptrdiff_t count, float *intensity);

/* Expected photons per image in the good pixels at fluence 1/m^2, averaged over the structures by weight and over
 * orientations [photons m^2], good to about 1 %. Divide the wanted number of photons by it to get the fluence. Does not
 * depend on the fluence, spread and seed of the simulation. Fails with SP_ERR_MEMORY. */
sp_status sp_simulation_photons_per_fluence(const sp_simulation *simulation, double *photons);
