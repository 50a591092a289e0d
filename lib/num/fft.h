/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/fft.h -- 3-D Fourier transforms of real cubic volumes, on FFTW in single precision.
 *
 * FFT order: index i stands for coordinate i (i <= n/2) or i - n. Layout [x][y][z], z fastest; the half-complex side
 * keeps z = 0..n/2: [x][y][n/2+1].
 *   forward   F[k] = sum_r f[r] exp(-2 pi i k.r / n)      backward  f[r] = sum_k F[k] exp(+2 pi i k.r / n)
 * Neither is scaled: backward(forward(f)) = n^3 f. Plans are made without timing, so results are the same in every
 * run; executing one plan from several threads at once is safe. */
#include <complex.h>
#include <stddef.h>

#include "base/error.h"

typedef struct sp_fft sp_fft;

/* Plan for n*n*n volumes, 2 <= n <= 2048. Free with sp_fft_free(). Fails with SP_ERR_USAGE, SP_ERR_MEMORY. */
sp_status sp_fft_new(ptrdiff_t n, sp_fft **plan);
void sp_fft_free(sp_fft *plan); /* NULL is fine */

ptrdiff_t sp_fft_edge(const sp_fft *plan);          /* n [voxel] */
ptrdiff_t sp_fft_complex_count(const sp_fft *plan); /* n*n*(n/2+1) */

/* Arrays must come from sp_array_new() (alignment). `in` is kept by forward; backward destroys it. */
void sp_fft_forward(const sp_fft *plan, const float *in, float complex *out);
void sp_fft_backward(const sp_fft *plan, float complex *in, float *out);

/* Smallest even edge >= n of the form 2^a 3^b 5^c: the sizes at which FFTW is fast. */
ptrdiff_t sp_fft_good_size(ptrdiff_t n);
