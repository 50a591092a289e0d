/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/stencil.h -- the kernel through which points off a Fourier or real-space grid are read or written.
 *
 * phi(x) = exp(beta (sqrt(1 - (2x/width)^2) - 1)) for |x| <= width/2 [cell], on a grid that is oversampled twice:
 * Barnett, Magland, af Klinteberg, SIAM J. Sci. Comput. 41, C479 (2019). Relative error 7e-4 at width 4 and 1e-5 at 6
 * for |f| <= 0.2 cycles per cell, 4e-3 and 3e-5 at 0.25, where twofold oversampling ends. (num/nufft.h serves real,
 * even volumes only; maps and molecules are neither.) None of these functions can fail. */
#include <stddef.h>

enum { SP_STENCIL_WIDTH = 6, SP_STENCIL_STEPS = 256 }; /* widest kernel; table rows per cell, linear between: 4e-6 */

typedef struct sp_stencil {
    int width; /* [cell] 4 or 6 */
    double beta;
    float table[(SP_STENCIL_STEPS + 1) * SP_STENCIL_WIDTH]; /* row t: phi(t/steps - width/2 + i), i = 0 .. width-1 */
} sp_stencil;

void sp_stencil_init(int width, sp_stencil *stencil); /* width 4 or 6 */

/* Weights of the cells around coordinate u [cell]: weight[i] = phi(first + i - u), i = 0 .. width-1.
 *   weight  out  [width]
 * Returns `first`. */
ptrdiff_t sp_stencil_weights(const sp_stencil *stencil, double u, float *weight);

/* The same with the derivatives of the weights by u, to 1e-2 of the largest. Inline, for inner loops: a width that is
 * known when they are compiled lets them be laid out.
 *   width  of the stencil        slope  out  [width] [1/cell] */
static inline ptrdiff_t sp_stencil_slopes(const sp_stencil *stencil, int width, double u, float *weight, float *slope)
{
    const double left = u - 0.5 * width;
    const ptrdiff_t whole = (ptrdiff_t)left, first = whole + ((double)whole < left); /* ceil(left) */
    const float x = (float)(((double)first - left) * SP_STENCIL_STEPS);
    const int below = x < SP_STENCIL_STEPS - 1 ? (int)x : SP_STENCIL_STEPS - 1;
    const float part = x - (float)below;
    const float *row = stencil->table + below * width, *next = row + width;

    for (int i = 0; i < width; i++) {
        const float rise = next[i] - row[i];

        weight[i] = row[i] + part * rise;
        slope[i] = -SP_STENCIL_STEPS * rise; /* u moves the table's coordinate the other way */
    }
    return first;
}

/* Transform of the kernel: integral phi(x) cos(2 pi f x) dx, f in cycles per cell, |f| <= 0.25 for twofold
 * oversampling. Dividing by it on the other side of the FFT undoes the kernel. */
double sp_stencil_transform(const sp_stencil *stencil, double f);
