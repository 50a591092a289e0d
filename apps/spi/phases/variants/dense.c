/* SPDX-License-Identifier: BSD-3-Clause */
/* phases/variants/dense.c -- the inner loops of phases/dense for one instruction set. */
#include "num/variants/variant.h"
#include "phases/dense_kernels.h"
#include "phases/variants/feature.h"

enum {
    VECTORS = 2, /* registers: an accumulator per image and vector, a feature per vector, one factor */
    IMAGES = SP_LANES == 16 ? 12 : 6,
    WIDTH = VECTORS * SP_LANES,
    BLOCK = 16, /* pixels interleaved at a time: whole cache lines */
};

static void features(const float *intensity, const float *base, const float *expected, ptrdiff_t count, float share,
                     float r, float *feature, float *loss)
{
    const float inverse = 1.0f / r;

    for (ptrdiff_t i = 0; i < count; i++) {
        feature[i] = sp_feature((intensity[i] + base[i]) * share * expected[i], r, inverse, &loss[i]);
    }
}

static void interleave(const float *x, ptrdiff_t count, float *y)
{
    for (ptrdiff_t first = 0; first < count; first += BLOCK) {
        const ptrdiff_t last = first + BLOCK < count ? first + BLOCK : count;

        for (ptrdiff_t lane = 0; lane < WIDTH; lane++) {
            for (ptrdiff_t i = first; i < last; i++) {
                y[i * WIDTH + lane] = x[lane * count + i];
            }
        }
    }
}

static void multiply(const float *image, ptrdiff_t stride, const float *feature, ptrdiff_t count, bool more, float *out,
                     ptrdiff_t out_stride)
{
    sp_floats sum[IMAGES][VECTORS];

    for (int e = 0; e < IMAGES; e++) {
        for (int v = 0; v < VECTORS; v++) {
            sum[e][v] = more ? sp_load(out + e * out_stride + v * SP_LANES) : (sp_floats){0};
        }
    }
    for (ptrdiff_t p = 0; p < count; p++, feature += WIDTH) {
        for (int e = 0; e < IMAGES; e++) {
            const sp_floats k = sp_spread(image[e * stride + p]);

            for (int v = 0; v < VECTORS; v++) {
                sum[e][v] += k * sp_load(feature + v * SP_LANES);
            }
        }
    }
    for (int e = 0; e < IMAGES; e++) {
        for (int v = 0; v < VECTORS; v++) {
            sp_store(out + e * out_stride + v * SP_LANES, sum[e][v]);
        }
    }
}

extern const sp_dense_kernels SP_VARIANT(sp_dense_kernels);
const sp_dense_kernels SP_VARIANT(sp_dense_kernels) = {
    .width = WIDTH, .images = IMAGES, .features = features, .interleave = interleave, .multiply = multiply};
