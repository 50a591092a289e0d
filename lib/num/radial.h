/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/radial.h -- shell averages of cubic volumes with the zero at voxel 0 (FFT order, num/fft.h).
 *
 * Shell k = 0 .. n/2 holds the voxels with round(|index|) == k; voxels in the corners beyond it belong to no shell.
 * Edge 1 <= n <= 2048. Sums run in double and in memory order. None of these functions can fail. */
#include <complex.h>
#include <stddef.h>

ptrdiff_t sp_radial_shells(ptrdiff_t n); /* n/2 + 1 */

/* mean[k] = average over shell k.
 *   volume  in   [n][n][n]   any unit U
 *   mean    out  [n/2 + 1]   U */
void sp_radial_mean(ptrdiff_t n, const float *volume, double *mean);

/* mean[k] = average of Re(a conj(b)) over shell k, for transforms of real volumes: both halves are counted though one
 * is stored. With b = a this is the radial power spectrum.
 *   a, b  in   [n][n][n/2+1]  any units U, V;  may be the same array
 *   mean  out  [n/2 + 1]      U V */
void sp_radial_cross(ptrdiff_t n, const float complex *a, const float complex *b, double *mean);
