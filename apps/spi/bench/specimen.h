/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/specimen.h -- what kernels are timed on: like the real thing, made from random numbers of a fixed seed. */
#include <complex.h>
#include <stddef.h>

#include "base/error.h"
#include "num/quaternion.h"

/* Autocorrelation of 3000 atoms in a ball of diameter n/2, as a protein has it: its transform falls by four or five
 * orders of magnitude up to half a cycle per voxel.
 *   n       edge [voxel], even
 *   volume  receives [n][n][n], FFT order, even, 0 on the planes -n/2; its transform is 1 at the centre; free with
 *           sp_array_free()
 * Fails with SP_ERR_MEMORY, SP_ERR_USAGE. */
sp_status sp_specimen_autocorrelation(ptrdiff_t n, float **volume);

enum { SP_SLICE_EDGE = 128, SP_SLICE_PIXELS = SP_SLICE_EDGE * SP_SLICE_EDGE };

/* Patterns of 128 x 128 pixels on Ewald spheres in random orientations, the corner at half a cycle per voxel, where the
 * sine of half the scattering angle is 0.08. */
typedef struct sp_slices {
    ptrdiff_t n;       /* edge of the volume */
    ptrdiff_t count;   /* slices */
    float *s[3];       /* [SP_SLICE_PIXELS] coordinates in the laboratory [cycle per box] */
    sp_mat3 *rotation; /* [count]: k = R^T s */
} sp_slices;

/* Release with sp_slices_clear(). Fails with SP_ERR_MEMORY. */
sp_status sp_slices_init(ptrdiff_t n, ptrdiff_t count, sp_slices *slices);
void sp_slices_clear(sp_slices *slices);

/* k of one point, in double precision [cycle per box]. */
void sp_slices_point(const sp_slices *slices, ptrdiff_t slice, ptrdiff_t pixel, double k[3]);

/* sum_r volume[r] exp(+2 pi i k.r / n) in double precision; n <= SP_DIRECT_EDGE. Of a real volume, the complex
 * conjugate of what num/fft.h calls forward. */
enum { SP_DIRECT_EDGE = 1024 };
double complex sp_direct_transform(const float *volume, ptrdiff_t n, const double k[3]);

/* Direct sums in double precision, on all threads; the oracles of both transforms (num/nufft.h).
 *   type 2   value[i] = sum_r volume[r] cos(2 pi k.r / n) at pixels i stride, counted through all slices
 *   type 1   value[i] = sum_j weight[j] cos(2 pi k_j.r_i / n) over the pixels of all slices, r_i = place[i] */
void sp_slices_direct_type2(const sp_slices *slices, const float *volume, ptrdiff_t stride, ptrdiff_t count,
                            double *value);
void sp_slices_direct_type1(const sp_slices *slices, const float *weight, ptrdiff_t count, const ptrdiff_t (*place)[3],
                            double *value);
