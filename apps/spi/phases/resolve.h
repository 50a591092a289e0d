/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/resolve.h -- resolution: the Fourier shell correlation of two maps on the same grid.
 *
 *   FSC(k) = Re sum F1 conj(F2) / sqrt(sum |F1|^2 sum |F2|^2)     sums over shell k of one Fourier voxel, s = k / (n
 * voxel) (Harauz and van Heel, Optik 73, 146 (1986)). The maps must lie in the same place: see phases/align.h. */
#include <complex.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "num/fft.h"

/* Shell correlation of two transforms.
 *   a, b  in   [n][n][n/2+1]  in the layout of num/fft.h, any scale
 *   fsc   out  [n/2 + 1]      -1 .. 1; 0 where a shell of either map is empty; fsc[0] is 1 unless one mean is 0 or
 * negative Cannot fail. Deterministic. */
void sp_fsc_transforms(ptrdiff_t n, const float complex *a, const float complex *b, double *fsc);

/* Shell correlation of two real maps; the centre may lie anywhere, but in the same voxel in both.
 *   plan  for n*n*n volumes
 *   a, b  in   [n][n][n] from sp_array_new(), any unit
 *   fsc   out  [n/2 + 1]
 * Fails with SP_ERR_MEMORY. */
sp_status sp_fsc_maps(const sp_fft *plan, const float *a, const float *b, double *fsc);

/* The same without what is alike in all directions: from both transforms the mean is taken off first, over frequencies
 * of the same length |k|,
 *   FSC'(k) = Re sum (F1 - <F1>) conj(F2 - <F2>) / sqrt(sum |F1 - <F1>|^2 sum |F2 - <F2>|^2)
 * Any two maps that were made from images of the same profile are nearly the same ball inside, those of noise too, and
 * FSC, which counts the profile, is near 1 for them. FSC' counts nothing but the shape.
 *   plan  for n*n*n volumes, n even
 *   a, b  in   [n][n][n] from sp_array_new(), the middle of the particle, where a ball would be, in voxel n/2
 *   fsc   out  [n/2 + 1]  0 where a map is the same in all directions
 * Fails with SP_ERR_MEMORY. */
sp_status sp_fsc_shapes(const sp_fft *plan, const float *a, const float *b, double *fsc);

/* Where a shell correlation ends. */
typedef struct sp_resolution {
    double s;     /* [1/m] spatial frequency of the first down-crossing; the last shell's if there is none */
    bool crossed; /* false: the curve stays above the threshold; the true resolution is 1/s or better */
} sp_resolution;

/* First place where the curve, starting at 1 for s = 0, falls below `threshold`; linear between shells.
 *   fsc        in  [shells]  curve; fsc[0] is not used
 *   shells     >= 2;  use fewer than the curve has to ignore shells beyond the band of the data
 *   step       distance of shells 1/(n voxel) [1/m]
 *   threshold  0.5 (map against truth) or 0.143 (half maps: Rosenthal and Henderson, J. Mol. Biol. 333, 721 (2003)) */
sp_resolution sp_fsc_resolution(const double *fsc, ptrdiff_t shells, double step, double threshold);

/* The same against a curve of thresholds.   threshold  in  [shells]; threshold[0] is what the curve starts from, at 1,
 * and meets on its way to the first shell */
sp_resolution sp_fsc_resolution_along(const double *fsc, const double *threshold, ptrdiff_t shells, double step);

/* Half-bit threshold (van Heel and Schatz, J. Struct. Biol. 151, 250 (2005), eq. 17): where half maps hold half a bit
 * of information in each voxel of the map from both halves, chance correlation in few voxels allowed for,
 *   T(k) = (0.2071 + 1.9102 / sqrt(m)) / (1.2071 + 0.9102 / sqrt(m)),   m(k) = n(k) / 2 (3 filling / 2)^2
 * with n(k) = 4 pi k^2 + pi / 3 voxels in shell k, half of them independent by Friedel's law, fewer yet as the particle
 * fills only a part of the box. It is the FSC of S + N1 and S + N2, |S|^2 = snr |N|^2, where each product of two that
 * know nothing of each other leaves 1/sqrt(m) of their size (docs/algorithm.md, section 7):
 *   (snr + 2 sqrt(snr / m) + 1 / sqrt(m)) / (snr + 2 sqrt(snr / m) + 1),   log2(1 + 2 snr) = 1/2
 *   filling    diameter of the particle / edge of the box, 0 < filling; taken as 2/3 where it is more
 *   threshold  out  [shells]; [0] is 1 */
void sp_fsc_half_bit(ptrdiff_t shells, double filling, double *threshold);
