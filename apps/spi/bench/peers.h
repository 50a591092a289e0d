/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/peers.h -- the libraries that spica is compared with. None is needed to build or run anything else.
 *
 * CMake looks for them; where it found one, its place is compiled in, and the library is loaded when the benchmark
 * first asks for it. `_new` gives NULL, and SP_OK, where a library is not there: nothing is compared with it then. */
#include <complex.h>
#include <stddef.h>

#include "base/error.h"

/* ---- FFTW: single precision, plans found by timing (FFTW_MEASURE), one thread ---- */
typedef struct sp_fftw sp_fftw;

/* Plan for n*n*n volumes; the arrays as num/fft.h has them, from sp_array_new(). What they hold is lost. Free with
 * sp_fftw_free(). Fails with SP_ERR_MEMORY, SP_ERR_NUMERIC (no plan). */
sp_status sp_fftw_new(ptrdiff_t n, float *in, float complex *half, float *out, sp_fftw **fftw);
void sp_fftw_free(sp_fftw *fftw);           /* NULL is fine */
void sp_fftw_forward(const sp_fftw *fftw);  /* in -> half */
void sp_fftw_backward(const sp_fftw *fftw); /* half -> out, not scaled; half is lost */

/* ---- OpenBLAS: one thread, told to use AVX-512 where it does not know that the processor has it ---- */
typedef struct sp_blas sp_blas;

sp_status sp_blas_new(sp_blas **blas);         /* fails with SP_ERR_MEMORY; free with sp_blas_free() */
void sp_blas_free(sp_blas *blas);              /* NULL is fine */
const char *sp_blas_core(const sp_blas *blas); /* the kernels that it chose, "SkylakeX"; borrowed */

/* c[i][j] = sum_k a[i][k] b[j][k], all row by row. */
void sp_blas_product(const sp_blas *blas, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t inner, const float *a,
                     const float *b, float *c);

/* ---- FINUFFT: single precision ---- */
typedef struct sp_finufft sp_finufft;

typedef struct sp_finufft_plan {
    int type;         /* 1 or 2 */
    ptrdiff_t n;      /* edge of the volume */
    double tolerance; /* what is asked for */
    double sigma;     /* oversampling; 0: its own choice */
    int threads;
} sp_finufft_plan;

/* Free with sp_finufft_free(). Fails with SP_ERR_MEMORY, SP_ERR_NUMERIC (it refuses: say, tolerance and sigma do not
 * fit). */
sp_status sp_finufft_new(const sp_finufft_plan *plan, sp_finufft **finufft);
void sp_finufft_free(sp_finufft *finufft); /* NULL is fine */

/* The points of the next transforms: angle[i][j] = 2 pi k_i / n of axis i [rad]; borrowed until the next call. */
void sp_finufft_points(sp_finufft *finufft, ptrdiff_t count, float *const angle[3]);

/* Type 2: volume -> value; type 1: value -> volume; [count], and [n][n][n] in FFT order, complex. */
void sp_finufft_run(sp_finufft *finufft, float complex *value, float complex *volume);

/* Has any of these calls failed? */
int sp_finufft_failed(const sp_finufft *finufft);

/* ---- cuFINUFFT: single precision, on the GPU that is open; its defaults but for the tolerance ----
 *
 * No header of it is needed to build spica, and none of its options are set, whose layout differs between its versions:
 * the calls are those of version 2. The environment variable SPICA_CUFINUFFT names the library. */
typedef struct sp_cufinufft sp_cufinufft;

/*   type, n  as of sp_finufft_plan
 * Free with sp_cufinufft_free(). Fails with SP_ERR_MEMORY, SP_ERR_NUMERIC (it refuses). */
sp_status sp_cufinufft_new(int type, ptrdiff_t n, double tolerance, sp_cufinufft **cufinufft);
void sp_cufinufft_free(sp_cufinufft *cufinufft); /* NULL is fine */

/* As those of FINUFFT, but all arrays are the device's, and modes are in rising order, -n/2 first, on each axis. They
 * may return before the work is done. */
void sp_cufinufft_points(sp_cufinufft *cufinufft, ptrdiff_t count, const float *const angle[3]);
void sp_cufinufft_run(sp_cufinufft *cufinufft, float complex *value, float complex *volume);

/* Returns when all work on the GPU is done, its own and everyone's. Has any of these calls failed? */
void sp_cufinufft_wait(sp_cufinufft *cufinufft);
int sp_cufinufft_failed(const sp_cufinufft *cufinufft);
