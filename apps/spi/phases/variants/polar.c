/* SPDX-License-Identifier: BSD-3-Clause */
/* phases/variants/polar.c -- the inner loops of phases/polar for one instruction set. */
#include <math.h>

#include "num/variants/variant.h"
#include "phases/polar_kernels.h"
#include "phases/variants/feature.h"

enum {
    /* Registers: two accumulators per image and vector, two features per vector, two factors */
    VECTORS = SP_LANES == 16 ? 2 : 1,
    IMAGES = SP_LANES == 16 ? 6 : 5,
    WIDTH = VECTORS * SP_LANES,
    BLOCK = 4, /* orders of a ring, or angles, at a time */
};

static void powers(double c, double s, ptrdiff_t orders, float *power, float *turned)
{
    power[0] = 1.0f;
    power[1] = 0.0f;
    for (ptrdiff_t half = 1; half < orders; half *= 2) { /* (c, s) is now the power `half` */
        const ptrdiff_t count = orders - half < half ? orders - half : half;
        const float re = (float)c, im = (float)s;
        const double square = c * c - s * s;

        for (ptrdiff_t m = 0; m < count; m++) {
            power[2 * (half + m)] = power[2 * m] * re - power[2 * m + 1] * im;
            power[2 * (half + m) + 1] = power[2 * m] * im + power[2 * m + 1] * re;
        }
        s = 2.0 * c * s;
        c = square;
    }
    for (ptrdiff_t m = 0; m < orders; m++) {
        const float sign = m % 2 ? -1.0f : 1.0f;

        turned[2 * m] = sign * power[2 * m];
        turned[2 * m + 1] = sign * power[2 * m + 1];
    }
}

static void spread(float value, const float *weight, const float *const *phase, ptrdiff_t count, float *const *ring)
{
    for (int t = 0; t < SP_POLAR_TAPS; t++) {
        const float *restrict in = phase[t];
        float *restrict out = ring[t];
        const float w = weight[t] * value;

        for (ptrdiff_t i = 0; i < count; i++) {
            out[i] += w * in[i];
        }
    }
}

static void features(const float *intensity, ptrdiff_t count, float base, float gain, float r, float *feature,
                     float *loss)
{
    const float inverse = 1.0f / r;

    for (ptrdiff_t i = 0; i < count; i++) {
        feature[i] = sp_feature((intensity[i] + base) * gain, r, inverse, &loss[i]);
    }
}

/* value[l], value[n-l] -> their sum, their difference, for l = 1 .. n/2-1: even and odd part. */
static void fold(float *value, ptrdiff_t n)
{
    for (ptrdiff_t l = 1; l < n / 2; l++) {
        for (int lane = 0; lane < WIDTH; lane += SP_LANES) {
            float *a = value + l * WIDTH + lane, *b = value + (n - l) * WIDTH + lane;
            const sp_floats x = sp_load(a), y = sp_load(b);

            sp_store(a, x + y);
            sp_store(b, x - y);
        }
    }
}

/* BLOCK orders from m on, of one vector of folded values. */
static inline void ring_block(const float *value, ptrdiff_t n, const float *turn, ptrdiff_t m, sp_floats *re,
                              sp_floats *im)
{
    const sp_floats first = sp_load(value), middle = sp_load(value + n / 2 * WIDTH);
    ptrdiff_t at[BLOCK];

    for (int i = 0; i < BLOCK; i++) {
        at[i] = (m + i) % n;
        re[i] = (m + i) % 2 ? first - middle : first + middle;
        im[i] = (sp_floats){0};
    }
    for (ptrdiff_t l = 1; l < n / 2; l++) {
        const sp_floats even = sp_load(value + l * WIDTH), odd = sp_load(value + (n - l) * WIDTH);

        for (int i = 0; i < BLOCK; i++) {
            re[i] += even * sp_spread(turn[2 * at[i]]);
            im[i] -= odd * sp_spread(turn[2 * at[i] + 1]);
            at[i] += m + i;
            at[i] -= at[i] >= n ? n : 0;
        }
    }
}

static void ring(float *value, ptrdiff_t n, const float *turn, ptrdiff_t orders, const ptrdiff_t *place, float *out)
{
    fold(value, n);
    for (ptrdiff_t m = 0; m < orders; m += BLOCK) {
        for (int lane = 0; lane < WIDTH; lane += SP_LANES) {
            sp_floats re[BLOCK], im[BLOCK];

            ring_block(value + lane, n, turn, m, re, im);
            for (ptrdiff_t i = 0; i < BLOCK && m + i < orders; i++) {
                const float factor = (m + i > 0 ? 2.0f : 1.0f) / (float)n;

                sp_store(out + 2 * WIDTH * place[m + i] + lane, re[i] * factor);
                sp_store(out + 2 * WIDTH * place[m + i] + WIDTH + lane, im[i] * factor);
            }
        }
    }
}

static void product(const sp_polar_run *run, ptrdiff_t runs, const float *image, ptrdiff_t stride, const float *feature,
                    float *out, ptrdiff_t out_stride)
{
    sp_floats re[IMAGES][VECTORS] = {{{0}}}, im[IMAGES][VECTORS] = {{{0}}};
    bool mirrored = false;

    for (ptrdiff_t i = 0; i < runs; i++) {
        const float *k = image + 2 * run[i].from;

        if (run[i].mirrored && !mirrored) { /* adding to the conjugate of the sum, from here on */
            mirrored = true;
            for (int e = 0; e < IMAGES; e++) {
                for (int v = 0; v < VECTORS; v++) {
                    im[e][v] = -im[e][v];
                }
            }
        }
        for (ptrdiff_t n = 0; n < run[i].count; n++, k += 2, feature += 2 * WIDTH) {
            for (int e = 0; e < IMAGES; e++) {
                const sp_floats kr = sp_spread(k[2 * e * stride]), ki = sp_spread(k[2 * e * stride + 1]);

                for (int v = 0; v < VECTORS; v++) {
                    const sp_floats fr = sp_load(feature + v * SP_LANES), fi = sp_load(feature + WIDTH + v * SP_LANES);

                    re[e][v] += kr * fr;
                    im[e][v] += kr * fi;
                    re[e][v] -= ki * fi;
                    im[e][v] += ki * fr;
                }
            }
        }
    }
    for (int e = 0; e < IMAGES; e++) {
        for (int v = 0; v < VECTORS; v++) {
            sp_store(out + e * out_stride + v * SP_LANES, re[e][v]);
            sp_store(out + e * out_stride + WIDTH + v * SP_LANES, mirrored ? -im[e][v] : im[e][v]);
        }
    }
}

/* Angles a .. a + BLOCK - 1 of one vector: cosine and sine part apart, which angle -a has with the other sign. */
static inline void angle_block(const float *half, ptrdiff_t angles, const float *turn, ptrdiff_t a, sp_floats *even,
                               sp_floats *odd)
{
    ptrdiff_t at[BLOCK] = {0};

    for (int i = 0; i < BLOCK; i++) {
        even[i] = odd[i] = (sp_floats){0};
    }
    for (ptrdiff_t j = 0; j <= angles / 2; j++, half += 2 * WIDTH) {
        const sp_floats re = sp_load(half), im = sp_load(half + WIDTH);

        for (int i = 0; i < BLOCK; i++) {
            even[i] += re * sp_spread(turn[2 * at[i]]);
            odd[i] += im * sp_spread(turn[2 * at[i] + 1]);
            at[i] += a + i;
            at[i] -= at[i] >= angles ? angles : 0;
        }
    }
}

static inline sp_floats larger(sp_floats x, sp_floats y)
{
    const sp_ints mask = x > y;

    return (sp_floats)((mask & (sp_ints)x) | (~mask & (sp_ints)y));
}

static bool angles(const float *half, ptrdiff_t count, const float *turn, const float *bias, float scale,
                   float threshold, float *score)
{
    sp_floats most = sp_spread(-INFINITY);
    bool exceeds = false;

    for (ptrdiff_t a = 0; a <= count / 2; a += BLOCK) {
        for (int lane = 0; lane < WIDTH; lane += SP_LANES) {
            sp_floats even[BLOCK], odd[BLOCK];

            angle_block(half + lane, count, turn, a, even, odd);
            for (ptrdiff_t i = 0; i < BLOCK && a + i <= count / 2; i++) {
                const ptrdiff_t here = (a + i) * WIDTH + lane, there = (count - a - i) % count * WIDTH + lane;
                const sp_floats x = even[i] + odd[i] + scale * sp_load(bias + here);
                const sp_floats y = even[i] - odd[i] + scale * sp_load(bias + there);

                if (there != here) {
                    sp_store(score + there, y);
                    most = larger(y, most);
                }
                sp_store(score + here, x);
                most = larger(x, most);
            }
        }
    }
    for (int lane = 0; lane < SP_LANES; lane++) {
        exceeds = exceeds || most[lane] > threshold;
    }
    return exceeds;
}

extern const sp_polar_kernels SP_VARIANT(sp_polar_kernels);
const sp_polar_kernels SP_VARIANT(sp_polar_kernels) = {.width = WIDTH,
                                                       .images = IMAGES,
                                                       .powers = powers,
                                                       .spread = spread,
                                                       .features = features,
                                                       .ring = ring,
                                                       .product = product,
                                                       .angles = angles};
