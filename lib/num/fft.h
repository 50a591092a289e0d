/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/fft.h -- 3-D Fourier transforms of real cubic volumes, in single precision.
 *
 * FFT order: index i stands for coordinate i (i <= n/2) or i - n. Layout [x][y][z], z fastest; the half-complex side
 * keeps z = 0..n/2: [x][y][n/2+1].
 *   forward   F[k] = sum_r f[r] exp(-2 pi i k.r / n)      backward  f[r] = sum_k F[k] exp(+2 pi i k.r / n)
 * Neither is scaled: backward(forward(f)) = n^3 f. Any n; fast where its prime factors are 2, 3 and 5.
 *
 * Each call runs on all threads that OpenMP gives it (one, where it is made from inside a parallel region), with the
 * same bits for any number of them; executing one plan from several threads at once is safe. A thread needs up to 1 MB
 * of stack. Relative error, root mean square: about 1e-7 sqrt(log2 n). */
#include <complex.h>
#include <stddef.h>

#include "base/error.h"

typedef struct sp_fft sp_fft;

/* Plan for n*n*n volumes, 2 <= n <= 2048. Free with sp_fft_free(). Fails with SP_ERR_USAGE, SP_ERR_MEMORY. */
sp_status sp_fft_new(ptrdiff_t n, sp_fft **plan);
void sp_fft_free(sp_fft *plan); /* NULL is fine */

ptrdiff_t sp_fft_edge(const sp_fft *plan);          /* n [voxel] */
ptrdiff_t sp_fft_complex_count(const sp_fft *plan); /* n*n*(n/2+1) */

/* `in` is kept by forward; backward destroys it, and takes the imaginary parts of z = 0 and z = n/2 of its rows, once
 * transformed along x and y, as 0. */
void sp_fft_forward(const sp_fft *plan, const float *in, float complex *out);
void sp_fft_backward(const sp_fft *plan, float complex *in, float *out);

/* The same of volumes whose planes |x| > most are 0 (forward) or not wanted (backward): these are not looked at. */
void sp_fft_forward_within(const sp_fft *plan, const float *in, ptrdiff_t most, float complex *out);
void sp_fft_backward_within(const sp_fft *plan, float complex *in, ptrdiff_t most, float *out);

/* out = backward(factor forward(in)), in and out of edge n: a periodic convolution.
 *   in, out  [n][n][n]             may be the same
 *   factor   in [n][n][n/2+1]
 *   work     [n][n][n/2+1]         scratch */
void sp_fft_multiply(const sp_fft *plan, const float *in, const float *factor, float complex *work, float *out);

/* The same of a volume in the middle of a cube of twice its edge, of which nothing else is wanted: a convolution that
 * does not wrap. n is a multiple of 4, at least 8; coordinate n/4 of the small volumes is -n/4.
 *   in, out  [n/2][n/2][n/2]       may be the same
 *   factor   in [n][n][n/2+1]
 *   work     [n/2][n][n/2+1]       scratch */
void sp_fft_multiply_padded(const sp_fft *plan, const float *in, const float *factor, float complex *work, float *out);

/* out = the volume whose transform has the phases of that of `in`, and the given moduli.
 *   in, out  [n][n][n]             may be the same
 *   modulus  in [n][n][n/2+1]      where negative, the transform of `in` keeps its own; where that is 0, its phase is 0
 *   work     [n][n][n/2+1]         scratch
 * Unlike the others, this one is scaled: with all moduli negative, out = in. */
void sp_fft_impose(const sp_fft *plan, const float *in, const float *modulus, float complex *work, float *out);

/* Smallest even edge >= n of the form 2^a 3^b 5^c: the sizes at which transforms are fast. */
ptrdiff_t sp_fft_good_size(ptrdiff_t n);
