/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/window.h -- the kernel through which num/nufft carries values between points and its grid.
 *
 * A window phi is `width` cells wide, even, and a polynomial on each cell. No formula gives it: its coefficients are
 * those for which interpolation on the grid errs least, for volumes like autocorrelations. With the plane wave of voxel
 * r standing at f = r / nf cycles per cell, a point at x cells from the grid reads
 *
 *     wave(x) (1 + e(x, f)),   1 + e = sum_j phi(x - j) exp(2 pi i f (j - x)) / transform(f),
 *
 * and the window minimises  sum_f p(f) <|e(x, f)|^2>_x,  the mean square over the places x in a cell. p is the mean
 * square of an autocorrelation along one axis: that of atoms which fill a ball evenly, the diameter of which is half
 * the edge of the box. The same idea on irregular points: Fessler, Sutton, IEEE Trans. Signal Process. 51 (2003) 560.
 * Compared with the best window exp(beta sqrt(1 - x^2)) (Barnett, Magland, af Klinteberg, SIAM J. Sci. Comput. 41
 * (2019) C479), the error is a third at width 4 and sigma 1.6, a fifth at sigma 2. */
#include "base/shared.h"

enum {
    SP_WINDOW_CELLS = 6,  /* of the widest one */
    SP_WINDOW_DEGREE = 6, /* highest power of any; more changes nothing */
};

/* Highest power in a window of this width (4 or 6). */
SP_SHARED int sp_window_degree(int width)
{
    return width;
}

typedef struct sp_window {
    int width;  /* 4 or 6 [cell] */
    int degree; /* 4 or 6 */
    /* weight of cell i for a point at x = -1 .. 1 across the cell in the middle of the stencil:
     *     phi = sum_d coefficient[i][d] x^d,   and of cell width - 1 - i the same at -x;   phi(0) = 1 */
    double coefficient[SP_WINDOW_CELLS][SP_WINDOW_DEGREE + 1];
} sp_window;

/* The best window of this width (4 or 6) for a grid `sigma` > 1 times as fine as the volume. Takes milliseconds. Cannot
 * fail. */
void sp_window_design(int width, double sigma, sp_window *window);

/* transform(f) = integral phi(x) cos(2 pi f x) dx, f in cycles per cell, |f| < 1/2. */
double sp_window_transform(const sp_window *window, double f);
