/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/polar_kernels.h"

#include <math.h>

enum { WIDTH = 8, IMAGES = 3 };

static void powers_ref(double c, double s, ptrdiff_t orders, float *power, float *turned)
{
    double re = 1.0, im = 0.0;

    for (ptrdiff_t m = 0; m < orders; m++) {
        const double sign = m % 2 ? -1.0 : 1.0, next = re * c - im * s;

        power[2 * m] = (float)re;
        power[2 * m + 1] = (float)im;
        turned[2 * m] = (float)(sign * re);
        turned[2 * m + 1] = (float)(sign * im);
        im = re * s + im * c;
        re = next;
    }
}

static void spread_ref(float value, const float *weight, const float *const *phase, ptrdiff_t count, float *const *ring)
{
    for (int t = 0; t < SP_POLAR_TAPS; t++) {
        for (ptrdiff_t i = 0; i < count; i++) {
            ring[t][i] += weight[t] * value * phase[t][i];
        }
    }
}

static void features_ref(const float *intensity, ptrdiff_t count, float base, float gain, float r, float *feature,
                         float *loss)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const double m = fmax(((double)intensity[i] + base) * gain, 1e-30);

        feature[i] = (float)-log1p(r / m);
        loss[i] = (float)log1p(m / r);
    }
}

/* NOLINTNEXTLINE(readability-non-const-parameter): the others overwrite `value` */
static void ring_ref(float *value, ptrdiff_t n, const float *turn, ptrdiff_t orders, const ptrdiff_t *place, float *out)
{
    for (ptrdiff_t m = 0; m < orders; m++) {
        for (int lane = 0; lane < WIDTH; lane++) {
            double re = 0.0, im = 0.0;

            for (ptrdiff_t l = 0; l < n; l++) {
                re += (double)value[l * WIDTH + lane] * turn[2 * (m * l % n)];
                im -= (double)value[l * WIDTH + lane] * turn[2 * (m * l % n) + 1];
            }
            out[2 * WIDTH * place[m] + lane] = (float)((m > 0 ? 2.0 : 1.0) / (double)n * re);
            out[2 * WIDTH * place[m] + WIDTH + lane] = (float)((m > 0 ? 2.0 : 1.0) / (double)n * im);
        }
    }
}

static void product_ref(const sp_polar_run *run, ptrdiff_t runs, const float *image, ptrdiff_t stride,
                        const float *feature, float *out, ptrdiff_t out_stride)
{
    for (int e = 0; e < IMAGES; e++) {
        for (int lane = 0; lane < WIDTH; lane++) {
            const float *f = feature + lane;
            double re = 0.0, im = 0.0;

            for (ptrdiff_t i = 0; i < runs; i++) {
                const float *k = image + 2 * (e * stride + run[i].from);

                for (ptrdiff_t n = 0; n < run[i].count; n++, k += 2, f += 2 * (ptrdiff_t)WIDTH) {
                    const double product = (double)k[0] * f[WIDTH] + (double)k[1] * f[0];

                    re += (double)k[0] * f[0] - (double)k[1] * f[WIDTH];
                    im += run[i].mirrored ? -product : product;
                }
            }
            out[e * out_stride + lane] = (float)re;
            out[e * out_stride + WIDTH + lane] = (float)im;
        }
    }
}

static bool angles_ref(const float *half, ptrdiff_t angles, const float *turn, const float *bias, float scale,
                       float threshold, float *score)
{
    bool exceeds = false;

    for (ptrdiff_t a = 0; a < angles; a++) {
        for (int lane = 0; lane < WIDTH; lane++) {
            double sum = (double)scale * bias[a * WIDTH + lane];

            for (ptrdiff_t j = 0; j <= angles / 2; j++) {
                sum += (double)half[2 * WIDTH * j + lane] * turn[2 * (j * a % angles)];
                sum += (double)half[2 * WIDTH * j + WIDTH + lane] * turn[2 * (j * a % angles) + 1];
            }
            score[a * WIDTH + lane] = (float)sum;
            exceeds = exceeds || score[a * WIDTH + lane] > threshold;
        }
    }
    return exceeds;
}

const sp_polar_kernels sp_polar_kernels_ref = {.width = WIDTH,
                                               .images = IMAGES,
                                               .powers = powers_ref,
                                               .spread = spread_ref,
                                               .features = features_ref,
                                               .ring = ring_ref,
                                               .product = product_ref,
                                               .angles = angles_ref};

SP_TABLES(sp_polar_kernels)
