/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* physics/density.h -- the electron density of a molecule, as sharp as a band of frequencies allows. */
#include <stddef.h>

#include "base/error.h"
#include "io/pdb.h"

/* Centre of electrons, sum of occupancy Z r / sum of occupancy Z [m]: where physics/particle.h puts the origin. Of
 * atoms without electrons: their plain mean. Cannot fail; at least one atom. */
void sp_atoms_centre(const sp_atoms *atoms, double centre[3]);

/* Largest distance of an atom from a place [m]. Cannot fail. */
double sp_atoms_radius(const sp_atoms *atoms, const double centre[3]);

/* density(r) = sum over |s| <= s_max of F(s) exp(2 pi i s.r) / n^3, with the frequencies s = k / (n voxel) of the box
 * and F(s) = sum_a occupancy_a f_element(a)(|s|) exp(-2 pi i s.(r_a - centre)): the density of atoms without thermal
 * motion, limited to the band; its sum is that of f(0). centre   in   position of the molecule's frame that comes to
 * voxel n/2 [m] n        edge of the box [voxel], 4..512; the molecule should fit in: the box counts as periodic voxel
 * [m] density  out  [n][n][n] electrons per voxel For each element the atoms are spread onto a grid twice as fine and
 * transformed (num/stencil.h): error 1e-5 of the local root mean square of F. Fails with SP_ERR_USAGE (n),
 * SP_ERR_MEMORY. */
sp_status sp_density_from_atoms(const sp_atoms *atoms, const double centre[3], ptrdiff_t n, double voxel, double s_max,
                                float *density);
