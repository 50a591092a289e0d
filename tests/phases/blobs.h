/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/blobs.h -- for tests: a particle of Gaussian blobs, whose intensity and autocorrelation have closed forms, and
 * a detector that sees it. Nothing here uses the code under test, except to hold patterns and turn quaternions. */
#include <math.h>
#include <stdbool.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/quaternion.h"
#include "phases/patterns.h"
#include "testing.h"

enum { BLOBS = 6 };

static const double VOXEL = 2e-10; /* [m] */

/* density(r) = sum_j height_j G(r - at_j), G a Gaussian of unit integral */
typedef struct blobs {
    double at[BLOBS][3]; /* [m] */
    double height[BLOBS];
    double sigma; /* [m] */
} blobs;

/* Blobs at random within a ball; both lengths in voxels. */
static inline blobs blobs_random(uint64_t seed, double radius, double sigma)
{
    sp_rng rng = sp_rng_stream(seed, 1, 0);
    blobs b = {.sigma = sigma * VOXEL};

    for (int j = 0; j < BLOBS; j++) {
        const double length = radius * VOXEL * cbrt(sp_rng_uniform(&rng));
        const sp_mat3 turn = sp_quat_to_matrix(sp_quat_random(&rng));

        b.height[j] = 5.0 + 10.0 * sp_rng_uniform(&rng);
        for (int i = 0; i < 3; i++) {
            b.at[j][i] = length * turn.m[i][2];
        }
    }
    return b;
}

/* |sum_j height_j exp(2 pi i s.r_j)|^2 exp(-4 pi^2 sigma^2 s^2) */
static inline double blobs_intensity(const blobs *b, const double s[3])
{
    const double square = s[0] * s[0] + s[1] * s[1] + s[2] * s[2];
    double re = 0.0, im = 0.0;

    for (int j = 0; j < BLOBS; j++) {
        const double angle = 2.0 * M_PI * (s[0] * b->at[j][0] + s[1] * b->at[j][1] + s[2] * b->at[j][2]);

        re += b->height[j] * cos(angle);
        im += b->height[j] * sin(angle);
    }
    return (re * re + im * im) * exp(-4.0 * M_PI * M_PI * b->sigma * b->sigma * square);
}

/* Index of coordinates (x, y, z), each -n/2+1 .. n/2, in an FFT-order volume. */
static inline ptrdiff_t blobs_index(ptrdiff_t n, ptrdiff_t x, ptrdiff_t y, ptrdiff_t z)
{
    return (((x + n) % n) * n + (y + n) % n) * n + (z + n) % n;
}

/* a[r] = integral density(u) density(u + r) du  times the volume of a voxel, so that sum_r a cos(2 pi s.r) = I(s);
 * FFT order, 0 on the planes -n/2. Free with sp_array_free(). */
static inline float *blobs_autocorrelation(const blobs *b, ptrdiff_t n)
{
    const ptrdiff_t h = n / 2 - 1;
    const double spread = 2.0 * b->sigma * b->sigma / (VOXEL * VOXEL); /* variance of a pair [voxel^2] */
    float *a = NULL;

    assert_int_equal(SP_ARRAY(a, n * n * n), SP_OK);
    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        const double r[3] = {(double)((i / (n * n) + h) % n - h), (double)((i / n + h) % n - h),
                             (double)((i % n + h) % n - h)};
        double sum = 0.0;

        for (int pair = 0; pair < BLOBS * BLOBS; pair++) {
            const int j = pair / BLOBS, k = pair % BLOBS;
            double square = 0.0;

            for (int axis = 0; axis < 3; axis++) {
                const double d = r[axis] - (b->at[j][axis] - b->at[k][axis]) / VOXEL;

                square += d * d;
            }
            sum += b->height[j] * b->height[k] * exp(-0.5 * square / spread);
        }
        const bool outside = fmax(fmax(fabs(r[0]), fabs(r[1])), fabs(r[2])) > (double)h;

        a[i] = outside ? 0.0f : (float)(sum / pow(2.0 * M_PI * spread, 1.5));
    }
    return a;
}

/* A detector of one or several panels, one above the other, centred on the beam. */
typedef struct bench {
    sp_pixels pixels;
    double *position;
    float *correction;
    uint8_t *bad;
} bench;

/* step [1/m] distance of neighbouring pixels near the beam;  wavelength [m] */
static inline bench bench_new(ptrdiff_t panels, ptrdiff_t height, ptrdiff_t width, double step, double wavelength)
{
    const ptrdiff_t count = panels * height * width;
    bench b = {.pixels = {.panels = panels, .height = height, .width = width, .wavelength = wavelength}};

    assert_int_equal(SP_ARRAY(b.position, 3 * count), SP_OK);
    assert_int_equal(SP_ARRAY(b.correction, count), SP_OK);
    assert_int_equal(SP_ARRAY(b.bad, count), SP_OK);
    for (ptrdiff_t p = 0; p < count; p++) {
        const double x = step * wavelength * ((double)(p % width) - 0.5 * (double)(width - 1));
        const double y = step * wavelength * ((double)(p / width) - 0.5 * (double)(panels * height - 1));
        const double length = sqrt(x * x + y * y + 1.0);

        b.position[3 * p] = x / length / wavelength;
        b.position[3 * p + 1] = y / length / wavelength;
        b.position[3 * p + 2] = (1.0 / length - 1.0) / wavelength;
        b.correction[p] = 1.0f;
    }
    b.pixels.position = b.position;
    b.pixels.correction = b.correction;
    b.pixels.bad = b.bad;
    return b;
}

static inline void bench_clear(bench *b)
{
    sp_array_free(b->position);
    sp_array_free(b->correction);
    sp_array_free(b->bad);
}

/* s_mol = R(q)^T s_lab of pixel p, in double. */
static inline void bench_turned(const sp_patterns *patterns, ptrdiff_t p, sp_quat q, double s[3])
{
    const sp_mat3 turn = sp_quat_to_matrix(q);
    const double lab[3] = {patterns->s[0][p], patterns->s[1][p], patterns->s[2][p]};

    sp_mat3_apply_transpose(&turn, lab, s);
}

/* Noise-free images in these orientations, on the pixels of a bench, measured. scale may be NULL: all 1. */
static inline sp_patterns bench_expose(const bench *detector, const blobs *b, ptrdiff_t images, const sp_quat *q,
                                       const double *scale)
{
    sp_patterns patterns;

    assert_int_equal(sp_patterns_init(&detector->pixels, images, 1, 0.0, INFINITY, false, &patterns), SP_OK);
    for (ptrdiff_t n = 0; n < images; n++) {
        for (ptrdiff_t p = 0; p < patterns.pixels; p++) {
            double s[3];

            bench_turned(&patterns, p, q[n], s);
            patterns.count[n * patterns.pixels + p] =
                (float)((scale ? scale[n] : 1.0) * (double)patterns.exposure[p] * blobs_intensity(b, s));
        }
    }
    assert_int_equal(sp_patterns_measure(&patterns), SP_OK);
    return patterns;
}

/* `count` random orientations; free with sp_array_free(). */
static inline sp_quat *random_orientations(ptrdiff_t count, uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 2, 0);
    sp_quat *q = NULL;

    assert_int_equal(SP_ARRAY(q, count), SP_OK);
    for (ptrdiff_t n = 0; n < count; n++) {
        q[n] = sp_quat_random(&rng);
    }
    return q;
}

/* |got - want| / |want| */
static inline double relative_difference(const float *got, const float *want, ptrdiff_t count)
{
    double difference = 0.0, norm = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    return sqrt(difference / norm);
}
