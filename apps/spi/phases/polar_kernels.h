/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/polar_kernels.h -- private to phases/polar: its inner loops, for one instruction set each.
 *
 * Directions stand side by side in vectors, `width` of them at a time: [..][width] below. Coefficients of images are
 * complex numbers in one row per image, order after order, rings within an order; orders are named m. */
#include <stdbool.h>
#include <stddef.h>

#include "num/isa.h"

enum {
    SP_POLAR_TAPS = 10,     /* rings that a pixel is spread to */
    SP_POLAR_MAX_WIDTH = 32 /* directions side by side, at most */
};

/* A run of coefficients that goes into one frequency of the angle. */
typedef struct sp_polar_run {
    ptrdiff_t from, count; /* in an image's row [complex] */
    bool mirrored;         /* its conjugate is what counts; such runs come last */
} sp_polar_run;

typedef struct sp_polar_kernels {
    ptrdiff_t width;  /* directions side by side */
    ptrdiff_t images; /* multiplied at a time */

    /* power[m] = (c + i s)^m for m = 0 .. orders-1;  turned[m] = (-1)^m power[m]
     *   power, turned  out  [orders][2] */
    void (*powers)(double c, double s, ptrdiff_t orders, float *power, float *turned);

    /* ring[t][i] += weight[t] * value * phase[t][i]
     *   phase  in  [taps] of [count];   ring  in, out  [taps] of [count] */
    void (*spread)(float value, const float *weight, const float *const *phase, ptrdiff_t count, float *const *ring);

    /* With the expected counts m = (intensity + base) * gain:   feature = ln(m / (m + r)),  loss = ln(1 + m / r)
     *   intensity  in  [count];   feature, loss  out  [count] */
    void (*features)(const float *intensity, ptrdiff_t count, float base, float gain, float r, float *feature,
                     float *loss);

    /* Coefficients of one ring: out_m = (2 - [m = 0]) / n * sum_l value_l exp(-2 pi i m l / n)
     *   value  in   [n][width], n even; overwritten     turn  in  [n][2] cos, sin (2 pi l / n)
     *   place  in   [orders] where order m goes, in units of [2][width]
     *   out    out  [..][2][width] real, imaginary */
    void (*ring)(float *value, ptrdiff_t n, const float *turn, ptrdiff_t orders, const ptrdiff_t *place, float *out);

    /* One frequency of the angle: sum over the runs of image times feature (the conjugate, where mirrored)
     *   image    in   [images][stride] complex     feature  in  [all counts together][2][width]
     *   out      out  [images][out_stride floats], of these [2][width] */
    void (*product)(const sp_polar_run *run, ptrdiff_t runs, const float *image, ptrdiff_t stride, const float *feature,
                    float *out, ptrdiff_t out_stride);

    /* score[a] = Re sum_j half_j exp(-2 pi i j a / angles) + scale * bias[a];   true if one exceeds the threshold
     *   half  in   [angles/2 + 1][2][width]         turn  in  [angles][2] cos, sin (2 pi l / angles)
     *   bias  in   [angles][width]                  score  out  [angles][width] */
    bool (*angles)(const float *half, ptrdiff_t angles, const float *turn, const float *bias, float scale,
                   float threshold, float *score);
} sp_polar_kernels;

/* Plain loops, eight directions at a time: what the others are tested against. */
extern const sp_polar_kernels sp_polar_kernels_ref;

const sp_polar_kernels *sp_polar_kernels_for(sp_isa isa);
