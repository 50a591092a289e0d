/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/amplitudes.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "phases/phase_point.h"

enum {
    POINTS = 321,    /* of the table of roots */
    INTERVALS = 64,  /* of an integral: even */
    BISECTIONS = 50, /* to the last digits */
    FEWEST = 100,    /* frequencies of a shell: fewer tell no noise */
};

static const double END = 8.0;                             /* of the table, on either side of 0 */
static const double LEAST_NOISE = 1e-3, MOST_NOISE = 20.0; /* sigma / S; no larger one is told from it */

struct sp_amplitudes {
    ptrdiff_t edge;
    double box;    /* [m] */
    double *root;  /* [POINTS] sp_amplitudes_root() from -END to END */
    double *mean;  /* [edge + 1] of each shell, like the next ones */
    double *noise; /* sum of squares of negative intensities, then sigma */
    double *count;
};

sp_status sp_amplitudes_new(ptrdiff_t edge, double voxel, sp_amplitudes **amplitudes)
{
    sp_status status = SP_OK;
    sp_amplitudes *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->edge = edge;
    self->box = (double)edge * voxel;
    SP_TRY(SP_ARRAY(self->root, POINTS));
    SP_TRY(SP_ARRAY(self->mean, edge + 1));
    SP_TRY(SP_ARRAY(self->noise, edge + 1));
    SP_TRY(SP_ARRAY(self->count, edge + 1));
    for (int i = 0; i < POINTS; i++) {
        self->root[i] = sp_amplitudes_root(END * (2.0 * i / (POINTS - 1) - 1.0));
    }
    *amplitudes = self;
    self = NULL;
done:
    sp_amplitudes_free(self);
    return status;
}

void sp_amplitudes_free(sp_amplitudes *amplitudes)
{
    if (!amplitudes) {
        return;
    }
    sp_array_free(amplitudes->root);
    sp_array_free(amplitudes->mean);
    sp_array_free(amplitudes->noise);
    sp_array_free(amplitudes->count);
    sp_array_free(amplitudes);
}

double sp_amplitudes_bytes(ptrdiff_t edge)
{
    return sizeof(double) * (POINTS + 3.0 * ((double)edge + 1.0));
}

/* Mean of I^2, negative ones alone, for S = 1: of an exponential distribution with normal noise r. */
static double negative_square(double r)
{
    return 1.0 - r * sqrt(2.0 / M_PI) + 0.5 * r * r - exp(0.5 * r * r) * erfc(r / sqrt(2.0));
}

double sp_amplitudes_noise(double negative)
{
    double low = LEAST_NOISE, high = MOST_NOISE;

    if (!(negative > negative_square(low))) {
        return 0.0;
    }
    for (int i = 0; i < BISECTIONS; i++) {
        const double middle = sqrt(low * high);

        if (negative_square(middle) < negative) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* By Simpson's rule over u = sqrt(x), in which nothing is singular; far from 0 by its series. */
double sp_amplitudes_root(double t)
{
    const double end = sqrt(fmax(t, 0.0) + END), top = fmax(t, 0.0); /* the density is largest there */
    double sum = 0.0, norm = 0.0;

    if (t > END) {
        return sqrt(t) * (1.0 - 0.125 / (t * t));
    }
    if (t < -END) { /* an exponential distribution, nearly */
        return 0.5 * sqrt(M_PI / -t) * (1.0 - 0.875 / (t * t));
    }
    for (int i = 0; i <= INTERVALS; i++) {
        const double u = end * i / INTERVALS, x = u * u, rule = i % 2 ? 4.0 : i % INTERVALS ? 2.0 : 1.0;
        const double density = rule * u * exp(0.5 * ((top - t) * (top - t) - (x - t) * (x - t)));

        sum += u * density;
        norm += density;
    }
    return sum / norm;
}

/* The same from the table. */
static double root_at(const sp_amplitudes *self, double t)
{
    const double place = (t + END) / (2.0 * END) * (POINTS - 1);

    if (!(place >= 0.0 && place < POINTS - 1)) {
        return sp_amplitudes_root(t);
    }
    const int i = (int)place;

    return self->root[i] + (place - i) * (self->root[i + 1] - self->root[i]);
}

/* Amplitude of one frequency in shell k. */
static double amplitude_of(const sp_amplitudes *self, ptrdiff_t k, double intensity)
{
    const double mean = self->mean[k], noise = self->noise[k];

    if (!(noise > 0.0 && mean > 0.0)) {
        return intensity > 0.0 ? sqrt(intensity) : 0.0;
    }
    return sqrt(noise) * root_at(self, intensity / noise - noise / mean);
}

/* |k|^2 of frequencies (x, y, 0). */
static double square_of(const sp_amplitudes *self, ptrdiff_t x, ptrdiff_t y)
{
    const double a = (double)sp_phase_signed(x, self->edge), b = (double)sp_phase_signed(y, self->edge);

    return a * a + b * b;
}

/* Adds frequencies (x, y, 0 ..) to the sums.   across  their |k|^2 without z */
static void add_row(sp_amplitudes *self, double across, const float *intensity, double low, double high)
{
    const ptrdiff_t half = self->edge / 2;

    for (ptrdiff_t z = 0; z <= half; z++) {
        const double square = across + (double)(z * z), x = (double)intensity[z];
        const double weight = z == 0 || z == half ? 1.0 : 2.0;
        const ptrdiff_t k = (ptrdiff_t)lround(sqrt(square));

        if (square >= low && square <= high) {
            self->mean[k] += weight * x;
            self->noise[k] += x < 0.0 ? weight * x * x : 0.0;
            self->count[k] += weight;
        }
    }
}

/* Mean and noise of each shell, of the frequencies between these two |k|^2. */
static void measure(sp_amplitudes *self, const float *intensity, double low, double high)
{
    const ptrdiff_t n = self->edge, depth = n / 2 + 1;

    memset(self->mean, 0, (size_t)(n + 1) * sizeof *self->mean);
    memset(self->noise, 0, (size_t)(n + 1) * sizeof *self->noise);
    memset(self->count, 0, (size_t)(n + 1) * sizeof *self->count);
    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            add_row(self, square_of(self, x, y), intensity + (x * n + y) * depth, low, high);
        }
    }
    for (ptrdiff_t k = 0; k <= n; k++) {
        const double mean = self->count[k] > 0.0 ? self->mean[k] / self->count[k] : 0.0;
        const double negative = self->count[k] > 0.0 ? self->noise[k] / self->count[k] : 0.0;

        self->mean[k] = mean;
        self->noise[k] =
            mean > 0.0 && self->count[k] >= FEWEST ? mean * sp_amplitudes_noise(negative / (mean * mean)) : 0.0;
    }
}

void sp_amplitudes_make(sp_amplitudes *amplitudes, const float *intensity, double s_low, double s_high, bool noisy,
                        float *amplitude)
{
    const ptrdiff_t n = amplitudes->edge, depth = n / 2 + 1;
    const double low = pow(s_low * amplitudes->box, 2.0), high = pow(s_high * amplitudes->box, 2.0);

    if (noisy) {
        measure(amplitudes, intensity, low, high);
    } else {
        memset(amplitudes->noise, 0, (size_t)(n + 1) * sizeof *amplitudes->noise);
    }
#pragma omp parallel for schedule(static)
    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            const double across = square_of(amplitudes, x, y);

            for (ptrdiff_t z = 0; z < depth; z++) {
                const double square = across + (double)(z * z);
                const ptrdiff_t k = (ptrdiff_t)lround(sqrt(square)), i = (x * n + y) * depth + z;

                amplitude[i] = square > high  ? 0.0f
                               : square < low ? SP_PHASE_UNKNOWN
                                              : (float)amplitude_of(amplitudes, k, (double)intensity[i]);
            }
        }
    }
}
