/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/amplitudes.h -- amplitudes from intensities that have noise.
 *
 * The square root of a noisy intensity is too large where the intensity is small, and says nothing where noise makes it
 * negative. What it is expected to be, given the intensity I, its noise sigma and the mean S of its shell, is less
 * (French & Wilson, Acta Cryst. A34 (1978) 517; docs/algorithm.md, section 5):
 *     A = E[sqrt(J)],   p(J) ~ exp(-J/S) exp(-(I - J)^2 / (2 sigma^2)),   J >= 0
 * where the first factor is how the intensities of many atoms are distributed (Wilson, Acta Cryst. 2 (1949) 318). The
 * intensities themselves tell sigma, shell by shell: without noise none of them would be negative. Where none is, A is
 * sqrt(I). */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

typedef struct sp_amplitudes sp_amplitudes;

/* For transforms of edge^3 voxels of this size [m]. Free with sp_amplitudes_free(). Fails with SP_ERR_MEMORY. */
sp_status sp_amplitudes_new(ptrdiff_t edge, double voxel, sp_amplitudes **amplitudes);
void sp_amplitudes_free(sp_amplitudes *amplitudes); /* NULL is fine */
double sp_amplitudes_bytes(ptrdiff_t edge);         /* memory it will take, for planning ahead */

/*   intensity      in   [edge][edge][edge/2+1]
 *   s_low, s_high  frequencies outside [1/m] are unknown: left to the density below, SP_PHASE_UNKNOWN
 *                  (phases/phase_point.h); 0 above
 *   noisy          have the images photon noise? Else negative intensities are no noise, but images in wrong places,
 *                  which the density is not to be spared: A is the root, 0 of negative ones
 *   amplitude      out  likewise; may be the same array
 * Works in the object: one call at a time. Cannot fail. */
void sp_amplitudes_make(sp_amplitudes *amplitudes, const float *intensity, double s_low, double s_high, bool noisy,
                        float *amplitude);

/* sigma / S of a shell in which the mean of I^2, negative ones alone, is `negative` S^2. */
double sp_amplitudes_noise(double negative);

/* E[sqrt(x)] for x of a normal distribution around t, of width 1, cut off below 0. */
double sp_amplitudes_root(double t);
