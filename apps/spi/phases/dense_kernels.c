/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/dense_kernels.h"

#include <math.h>

enum { WIDTH = 8, IMAGES = 3 };

static void features_ref(const float *intensity, const float *base, const float *expected, ptrdiff_t count, float share,
                         float r, float *feature, float *loss)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const double m = fmax(((double)intensity[i] + base[i]) * share * expected[i], 1e-30);

        feature[i] = (float)-log1p(r / m);
        loss[i] = (float)log1p(m / r);
    }
}

static void interleave_ref(const float *x, ptrdiff_t count, float *y)
{
    for (ptrdiff_t i = 0; i < count * WIDTH; i++) {
        y[i] = x[i % WIDTH * count + i / WIDTH];
    }
}

static void multiply_ref(const float *image, ptrdiff_t stride, const float *feature, ptrdiff_t count, bool more,
                         float *out, ptrdiff_t out_stride)
{
    for (int e = 0; e < IMAGES; e++) {
        for (int lane = 0; lane < WIDTH; lane++) {
            double sum = more ? out[e * out_stride + lane] : 0.0;

            for (ptrdiff_t p = 0; p < count; p++) {
                sum += (double)image[e * stride + p] * feature[p * WIDTH + lane];
            }
            out[e * out_stride + lane] = (float)sum;
        }
    }
}

const sp_dense_kernels sp_dense_kernels_ref = {
    .width = WIDTH, .images = IMAGES, .features = features_ref, .interleave = interleave_ref, .multiply = multiply_ref};

SP_TABLES(sp_dense_kernels)
