/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/specimen.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/fft.h"

enum {
    SEED = 1,
    RNG_ATOMS = 601, /* purposes of random numbers */
    RNG_SLICES = 602,
    ATOMS = 3000
};

static const double CORNER_ANGLE = 0.08; /* sine of half the scattering angle */
static const double BLUR = 3.0;          /* intensity at half a cycle per voxel: exp(-BLUR) of that of point atoms */

static ptrdiff_t signed_index(ptrdiff_t i, ptrdiff_t n)
{
    return i < n / 2 ? i : i - n;
}

static void place_atoms(ptrdiff_t n, float *density)
{
    const double radius = 0.25 * (double)n - 1.0;
    sp_rng rng = sp_rng_stream(SEED, RNG_ATOMS, 0);

    for (int placed = 0; placed < ATOMS;) {
        ptrdiff_t at[3];
        double square = 0.0;

        for (int i = 0; i < 3; i++) {
            const double r = radius * (2.0 * sp_rng_uniform(&rng) - 1.0);

            square += r * r;
            at[i] = ((ptrdiff_t)lround(r) + n) % n;
        }
        if (square <= radius * radius) {
            density[(at[0] * n + at[1]) * n + at[2]] += 1.0f;
            placed++;
        }
    }
}

/* half = |half|^2, blurred, such that its transform is that of the unit of intensity. */
static void square_and_blur(ptrdiff_t n, float complex *half)
{
    const double scale = 1.0 / ((double)ATOMS * ATOMS * (double)(n * n * n));

    for (ptrdiff_t i = 0; i < n * n * (n / 2 + 1); i++) {
        const ptrdiff_t z = i % (n / 2 + 1), y = i / (n / 2 + 1) % n, x = i / (n / 2 + 1) / n;
        const double a = (double)signed_index(x, n), b = (double)signed_index(y, n), c = (double)z;
        const double nyquist = (double)(a * a + b * b + c * c) / (0.25 * (double)(n * n));
        const double length = (double)cabsf(half[i]);

        half[i] = (float)(length * length * scale * exp(-BLUR * nyquist));
    }
}

static void clear_border(ptrdiff_t n, float *volume)
{
    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        if (i % n == n / 2 || i / n % n == n / 2 || i / (n * n) == n / 2) {
            volume[i] = 0.0f;
        }
    }
}

sp_status sp_specimen_autocorrelation(ptrdiff_t n, float **volume)
{
    sp_status status = SP_OK;
    sp_fft *fft = NULL;
    float *self = NULL;
    float complex *half = NULL;

    SP_TRY(sp_fft_new(n, &fft));
    SP_TRY(SP_ARRAY(self, n * n * n));
    SP_TRY(SP_ARRAY(half, sp_fft_complex_count(fft)));
    place_atoms(n, self);
    sp_fft_forward(fft, self, half);
    square_and_blur(n, half);
    sp_fft_backward(fft, half, self);
    clear_border(n, self);
    *volume = self;
    self = NULL;
done:
    sp_fft_free(fft);
    sp_array_free(self);
    sp_array_free(half);
    return status;
}

sp_status sp_slices_init(ptrdiff_t n, ptrdiff_t count, sp_slices *slices)
{
    const double corner = 0.5 * (double)n, half = 0.5 * (SP_SLICE_EDGE - 1);
    const double step = corner / sqrt(2.0 + 2.0 * CORNER_ANGLE * CORNER_ANGLE) / half; /* |k| is that of all three */
    sp_slices self = {.n = n, .count = count};
    sp_rng rng = sp_rng_stream(SEED, RNG_SLICES, 0);
    sp_status status = SP_OK;

    for (int i = 0; i < 3; i++) {
        SP_TRY(SP_ARRAY(self.s[i], SP_SLICE_PIXELS));
    }
    SP_TRY(SP_ARRAY(self.rotation, count));
    for (ptrdiff_t p = 0; p < SP_SLICE_PIXELS; p++) {
        const double x = step * ((double)(p % SP_SLICE_EDGE) - half), y = step * ((double)(p / SP_SLICE_EDGE) - half);

        self.s[0][p] = (float)x;
        self.s[1][p] = (float)y;
        self.s[2][p] = (float)(-CORNER_ANGLE * (x * x + y * y) / (step * half * sqrt(2.0)));
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        self.rotation[i] = sp_quat_to_matrix(sp_quat_random(&rng));
    }
    *slices = self;
    self = (sp_slices){0};
done:
    sp_slices_clear(&self);
    return status;
}

void sp_slices_clear(sp_slices *slices)
{
    for (int i = 0; i < 3; i++) {
        sp_array_free(slices->s[i]);
    }
    sp_array_free(slices->rotation);
    *slices = (sp_slices){0};
}

void sp_slices_point(const sp_slices *slices, ptrdiff_t slice, ptrdiff_t pixel, double k[3])
{
    const double s[3] = {slices->s[0][pixel], slices->s[1][pixel], slices->s[2][pixel]};

    sp_mat3_apply_transpose(&slices->rotation[slice], s, k);
}

static double complex wave(double k, ptrdiff_t r, ptrdiff_t n)
{
    return cexp(2.0 * M_PI * I * k * (double)r / (double)n);
}

/* sum over z of a row, with the waves of all z. */
static double complex sum_row(const float *row, const double (*turn)[2], ptrdiff_t n)
{
    double re = 0.0, im = 0.0;

    for (ptrdiff_t z = 0; z < n; z++) {
        re += row[z] * turn[z][0];
        im += row[z] * turn[z][1];
    }
    return re + I * im;
}

double complex sp_direct_transform(const float *volume, ptrdiff_t n, const double k[3])
{
    double turn[SP_DIRECT_EDGE][2];
    double complex sum = 0.0;

    for (ptrdiff_t z = 0; z < n && z < SP_DIRECT_EDGE; z++) {
        const double complex w = wave(k[2], signed_index(z, n), n);

        turn[z][0] = creal(w);
        turn[z][1] = cimag(w);
    }
    for (ptrdiff_t x = 0; x < n; x++) {
        double complex plane = 0.0;

        for (ptrdiff_t y = 0; y < n; y++) {
            plane += wave(k[1], signed_index(y, n), n) * sum_row(volume + (x * n + y) * n, (const double(*)[2])turn, n);
        }
        sum += wave(k[0], signed_index(x, n), n) * plane;
    }
    return sum;
}

void sp_slices_direct_type2(const sp_slices *slices, const float *volume, ptrdiff_t stride, ptrdiff_t count,
                            double *value)
{
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < count; i++) {
        double k[3];

        sp_slices_point(slices, i * stride / SP_SLICE_PIXELS, i * stride % SP_SLICE_PIXELS, k);
        value[i] = creal(sp_direct_transform(volume, slices->n, k));
    }
}

static double sum_points(const sp_slices *slices, const float *weight, const ptrdiff_t r[3])
{
    double sum = 0.0;

    for (ptrdiff_t slice = 0; slice < slices->count; slice++) {
        const double place[3] = {(double)r[0], (double)r[1], (double)r[2]};
        double at[3];

        sp_mat3_apply(&slices->rotation[slice], place, at); /* k.r = s.(R r) */
        for (ptrdiff_t p = 0; p < SP_SLICE_PIXELS; p++) {
            const double product = slices->s[0][p] * at[0] + slices->s[1][p] * at[1] + slices->s[2][p] * at[2];

            sum += weight[slice * SP_SLICE_PIXELS + p] * cos(2.0 * M_PI * product / (double)slices->n);
        }
    }
    return sum;
}

void sp_slices_direct_type1(const sp_slices *slices, const float *weight, ptrdiff_t count, const ptrdiff_t (*place)[3],
                            double *value)
{
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < count; i++) {
        value[i] = sum_points(slices, weight, place[i]);
    }
}
