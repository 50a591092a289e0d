/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/fft_kernels.h -- between num/fft.c and num/variants/fft.c: what a plan knows, and the parts of a 3-D transform.
 *
 * A 1-D transform is a sequence of Stockham passes (Van Loan, Computational Frameworks for the Fast Fourier Transform,
 * SIAM 1992, section 1.7): pass i with radix r splits transforms of length m into r of length m / r, in order, between
 * two buffers. It works on as many columns at once as a vector has lanes. */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "num/isa.h"

enum {
    SP_FFT_MAX_EDGE = 2048, /* limits the buffers that kernels keep on the stack, 0.8 MB at this edge */
    SP_FFT_MAX_PASSES = 11  /* 2^11 = 2048 */
};

typedef struct sp_fft_line {
    ptrdiff_t n;
    float sign; /* of the exponent: -1 forward, +1 backward */
    int passes; /* at least 1 */
    int radix[SP_FFT_MAX_PASSES];
    /* For pass i, with length m and q = m / radix: [q][radix - 1][2] exp(sign 2 pi i p j / m), j = 1 .. radix - 1, p <
     * q. A radix of sp_fft_any_radix() has its own roots of unity [radix][2] in front. */
    ptrdiff_t twiddle[SP_FFT_MAX_PASSES]; /* where in the table */
    float *table;
} sp_fft_line;

/* Whether passes of this radix go by the definition: all but 2, 3, 4, 5, 6, 8. */
static inline bool sp_fft_any_radix(int radix)
{
    return radix < 2 || radix == 7 || radix > 8;
}

/* The lines of one direction. */
typedef struct sp_fft_direction {
    sp_fft_line column; /* n points */
    sp_fft_line row;    /* n / 2 points: rows of n real numbers as n / 2 complex ones; n even */
    sp_fft_line padded; /* n points; radix 4 comes first (forward) or last (backward): the pass that leaves out what is
                         * zero or not wanted; n a multiple of 4, at least 8 */
} sp_fft_direction;

struct sp_fft {
    ptrdiff_t n;
    sp_fft_direction forward, backward;
    float *turn; /* [n/2+1][2] exp(-2 pi i k / n) */
    const struct sp_fft_kernels *kernels;
};

/* Columns first .. first + count - 1 along x, forward, changed, and backward. */
typedef void sp_fft_through(const struct sp_fft *plan, bool padded, const float *table, ptrdiff_t first,
                            ptrdiff_t count, float *half);

/* Complex numbers are pairs of floats here. `padded`: the real side has edge n / 2 and stands in the middle (FFT order)
 * of a cube of edge n that is zero elsewhere, or of which nothing else is wanted; the other rows and planes of the
 * complex side are then neither read nor written, and of x only the n / 2 planes are kept. n is a multiple of 4. */
typedef struct sp_fft_kernels {
    /* One plane: rows along z, then columns along y. real [n][n] or, padded, [n/2][n/2]; half [n][n/2+1]. Backward
     * destroys half. */
    void (*plane_forward)(const struct sp_fft *plan, bool padded, const float *real, float *half);
    void (*plane_backward)(const struct sp_fft *plan, bool padded, float *half, float *real);

    /* Columns first .. first + count - 1 of the n (n/2 + 1) along x, in place; half [n][n][n/2+1]. */
    void (*columns)(const struct sp_fft *plan, const sp_fft_line *line, ptrdiff_t first, ptrdiff_t count, float *half);

    /* Padded: half [n/2][n][n/2+1]. `table` [n][n][n/2+1] holds the factors of sp_fft_multiply(), the moduli of
     * sp_fft_impose(). */
    sp_fft_through *columns_multiply, *columns_impose;
} sp_fft_kernels;

/* The table of an instruction set; of plain where the program was not compiled for it. */
const sp_fft_kernels *sp_fft_kernels_for(sp_isa isa);

/* sp_fft_new() for an instruction set that the program was compiled for. */
sp_status sp_fft_new_for(sp_isa isa, ptrdiff_t n, struct sp_fft **plan);
