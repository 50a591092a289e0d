/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/polar_layout.h -- what a GPU must know of an sp_polar to search as it does. All arrays are borrowed from it.
 *
 * Pixel p adds to rings inner_p + t, t < SP_POLAR_TAPS, with weight_pt. A ring of negative number is ring -number - 1,
 * seen half a turn on: its orders m count (-1)^m times. */
#include <stdint.h>

#include "phases/polar.h"
#include "phases/polar_kernels.h"

typedef struct sp_polar_layout {
    ptrdiff_t most_pixels, most_rings;
    const ptrdiff_t *ring_orders;  /* [most_rings] orders kept, no fewer than on the ring before */
    const ptrdiff_t *sample_start; /* [most_rings + 1] first sample of each ring, at angle 0; they are evenly spaced */
    const float *base, *gain;      /* [most_rings] mean counts on a ring: m = (intensity + base) gain */
    const int32_t *inner;          /* [most_pixels] */
    const float *weight;           /* [most_pixels][SP_POLAR_TAPS] */
    const double *phase;           /* [most_pixels][2] cos, sin of the pixel's angle */
    const float *share;            /* [most_pixels] what stands in for the image in the second sum of the score */

    /* Of one search: until the next sp_polar_begin(), and nothing before the first. */
    ptrdiff_t pixels, rings; /* the first so many are used */
    const float *s[3];       /* [samples] where the model is sampled [1/m] */
    float dispersion;
    const sp_rotation_grid *grid;
} sp_polar_layout;

sp_polar_layout sp_polar_layout_of(const sp_polar *polar);
