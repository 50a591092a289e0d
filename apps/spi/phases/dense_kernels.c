/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/dense_kernels.h"

#include "phases/likelihood_terms.h"

enum { WIDTH = 8, IMAGES = 3 };

static void features_ref(const float *intensity, const float *base, const float *expected, ptrdiff_t count, float share,
                         float r, float *feature, float *loss)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const double m = sp_likelihood_mean(intensity[i], base[i], (double)share * (double)expected[i]);

        feature[i] = (float)sp_likelihood_feature(m, (double)r);
        loss[i] = (float)sp_likelihood_loss(m, (double)r);
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
