/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/dense_kernels.h -- private to phases/dense: its inner loops, for one instruction set each.
 *
 * Orientations stand side by side in vectors, `width` of them at a time: [..][width] below. */
#include <stdbool.h>
#include <stddef.h>

#include "num/isa.h"

typedef struct sp_dense_kernels {
    ptrdiff_t width;  /* orientations side by side */
    ptrdiff_t images; /* multiplied at a time */

    /* With the expected counts m = (intensity + base) * share * expected:
     *   feature = ln(m / (m + r)),  loss = ln(1 + m / r)
     * written as -ln(1 + r / m), because ln(m / r) - ln(1 + m / r) leaves nothing but rounding where m >> r, and there
     * it is multiplied by large counts. intensity, base, expected  in  [count]      feature  out  [count], may be
     * `intensity`      loss  out  [count] */
    void (*features)(const float *intensity, const float *base, const float *expected, ptrdiff_t count, float share,
                     float r, float *feature, float *loss);

    /* y[i][lane] = x[lane][i]      x  in  [width][count]      y  out  [count][width] */
    void (*interleave)(const float *x, ptrdiff_t count, float *y);

    /* out[e][lane] = sum_p image[e][p] feature[p][lane], or that much more
     *   image  in  [images][stride], of which [count]     feature  in  [count][width]     out  [images][out_stride] */
    void (*multiply)(const float *image, ptrdiff_t stride, const float *feature, ptrdiff_t count, bool more, float *out,
                     ptrdiff_t out_stride);
} sp_dense_kernels;

/* Plain loops, eight orientations at a time: what the others are tested against. */
extern const sp_dense_kernels sp_dense_kernels_ref;

const sp_dense_kernels *sp_dense_kernels_for(sp_isa isa);
