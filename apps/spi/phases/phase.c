/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/phase.h"

#include <complex.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/rng.h"
#include "num/fft.h"

enum { RNG_START = 201 }; /* purpose of the random first densities */

static const float UNKNOWN = -1.0f; /* amplitude of a frequency that the density may choose */

/* One start: its density, the projection onto the amplitudes, and their transform. */
typedef struct start {
    float *density;      /* [edge^3] */
    float *projected;    /* [edge^3] */
    float complex *half; /* [edge][edge][edge/2+1] */
    uint8_t *support;    /* [edge^3] */
    double *plane;       /* [3 edge] sums over planes */
    float *axis;         /* [edge] factors along one axis */
    double residual, volume;
    bool dropped;
} start;

struct sp_phaser {
    ptrdiff_t edge, cube, half_count;
    double voxel;
    sp_fft *fft;
    float *amplitude;     /* [half_count] or UNKNOWN */
    float *square;        /* [half_count] |k|^2 [1/box^2] */
    float *distance;      /* [edge^3] |r| [voxel] */
    float complex *total; /* [half_count] sum over starts */
    float complex *cross; /* [half_count] of a cross correlation */
    double *shell_length; /* [2 edge] scratch of shell averages */
    float *length;        /* [half_count] sum of |F| over starts */
    int starts;
    int last; /* starts of the last run */
    start *start;
};

static ptrdiff_t signed_index(ptrdiff_t i, ptrdiff_t n)
{
    return i <= n / 2 ? i : i - n;
}

static void make_tables(sp_phaser *self)
{
    const ptrdiff_t n = self->edge;

    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            for (ptrdiff_t z = 0; z < n; z++) {
                const double a = (double)signed_index(x, n), b = (double)signed_index(y, n),
                             c = (double)signed_index(z, n);

                self->distance[(x * n + y) * n + z] = (float)sqrt(a * a + b * b + c * c);
                if (z <= n / 2) {
                    self->square[(x * n + y) * (n / 2 + 1) + z] = (float)(a * a + b * b + c * c);
                }
            }
        }
    }
}

sp_status sp_phaser_new(ptrdiff_t edge, double voxel, int starts, sp_phaser **phaser)
{
    sp_status status = SP_OK;
    sp_phaser *self = NULL;

    SP_REQUIRE(edge % 2 == 0, SP_ERR_USAGE, "phasing edge %td is odd", edge);
    SP_TRY(SP_ARRAY(self, 1));
    self->edge = edge;
    self->voxel = voxel;
    self->cube = edge * edge * edge;
    SP_TRY(sp_fft_new(edge, &self->fft));
    self->half_count = sp_fft_complex_count(self->fft);
    SP_TRY(SP_ARRAY(self->amplitude, self->half_count));
    SP_TRY(SP_ARRAY(self->square, self->half_count));
    SP_TRY(SP_ARRAY(self->distance, self->cube));
    SP_TRY(SP_ARRAY(self->total, self->half_count));
    SP_TRY(SP_ARRAY(self->cross, self->half_count));
    SP_TRY(SP_ARRAY(self->shell_length, 2 * edge));
    SP_TRY(SP_ARRAY(self->length, self->half_count));
    SP_TRY(SP_ARRAY(self->start, starts));
    self->starts = starts;
    for (int i = 0; i < starts; i++) {
        SP_TRY(SP_ARRAY(self->start[i].density, self->cube));
        SP_TRY(SP_ARRAY(self->start[i].projected, self->cube));
        SP_TRY(SP_ARRAY(self->start[i].half, self->half_count));
        SP_TRY(SP_ARRAY(self->start[i].support, self->cube));
        SP_TRY(SP_ARRAY(self->start[i].plane, 3 * edge));
        SP_TRY(SP_ARRAY(self->start[i].axis, edge));
    }
    make_tables(self);
    *phaser = self;
    self = NULL;
done:
    sp_phaser_free(self);
    return status;
}

void sp_phaser_free(sp_phaser *phaser)
{
    if (!phaser) {
        return;
    }
    for (int i = 0; i < phaser->starts; i++) {
        sp_array_free(phaser->start[i].density);
        sp_array_free(phaser->start[i].projected);
        sp_array_free(phaser->start[i].half);
        sp_array_free(phaser->start[i].support);
        sp_array_free(phaser->start[i].plane);
        sp_array_free(phaser->start[i].axis);
    }
    sp_array_free(phaser->start);
    sp_fft_free(phaser->fft);
    sp_array_free(phaser->amplitude);
    sp_array_free(phaser->square);
    sp_array_free(phaser->distance);
    sp_array_free(phaser->total);
    sp_array_free(phaser->cross);
    sp_array_free(phaser->shell_length);
    sp_array_free(phaser->length);
    sp_array_free(phaser);
}

size_t sp_phaser_bytes(ptrdiff_t edge, int starts)
{
    const double cube = (double)edge * (double)edge * (double)edge;

    return (size_t)(cube * (14.0 + starts * 13.5));
}

/* Amplitudes from the autocorrelation; negative intensities (noise) become 0. */
static void make_amplitudes(sp_phaser *self, const float *autocorrelation, double s_low, double s_high)
{
    const double box = (double)self->edge * self->voxel;
    const double low = s_low * box * s_low * box, high = s_high * box * s_high * box;
    float complex *half = self->start[0].half;

    sp_fft_forward(self->fft, autocorrelation, half);
    for (ptrdiff_t i = 0; i < self->half_count; i++) {
        const float intensity = crealf(half[i]);

        self->amplitude[i] = intensity > 0.0f ? sqrtf(intensity) : 0.0f;
        if (self->square[i] > high) {
            self->amplitude[i] = 0.0f;
        } else if (self->square[i] < low) {
            self->amplitude[i] = UNKNOWN;
        }
    }
}

/* sum (|F| - A)^2 / sum A^2 over the known amplitudes, F the transform of the density. */
static double measure_residual(const sp_phaser *self, start *s)
{
    double difference = 0.0, norm = 0.0;

    sp_fft_forward(self->fft, s->density, s->half);
    for (ptrdiff_t i = 0; i < self->half_count; i++) {
        const float a = self->amplitude[i], re = crealf(s->half[i]), im = cimagf(s->half[i]);
        const float off = sqrtf(re * re + im * im) - a;

        difference += a == UNKNOWN ? 0.0 : (double)off * off;
        norm += a == UNKNOWN ? 0.0 : (double)a * a;
    }
    return norm > 0.0 ? difference / norm : 0.0;
}

/* projected = density with the known amplitudes */
static void project_amplitudes(const sp_phaser *self, start *s)
{
    sp_fft_impose(self->fft, s->density, self->amplitude, s->half, s->projected);
}

/* density = projected where it is in the support and positive after reflection (2 projected > density), elsewhere
 * relaxed. `&` and not `&&`: without branches it vectorises. */
static void relax(ptrdiff_t count, float beta, const uint8_t *restrict support, const float *restrict projected,
                  float *restrict density)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const float p = projected[i], old = density[i], relaxed = beta * old + (1.0f - 2.0f * beta) * p;
        const bool keep = (support[i] != 0) & (2.0f * p > old);

        density[i] = keep ? p : relaxed;
    }
}

/* density = projected where it is in the support and positive, else 0 */
static void cut(ptrdiff_t count, const uint8_t *restrict support, const float *restrict projected,
                float *restrict density)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const bool keep = (support[i] != 0) & (projected[i] > 0.0f);

        density[i] = keep ? projected[i] : 0.0f;
    }
}

static void step_raar(const sp_phaser *self, start *s, float beta)
{
    project_amplitudes(self, s);
    relax(self->cube, beta, s->support, s->projected, s->density);
}

static void step_error_reduction(const sp_phaser *self, start *s)
{
    project_amplitudes(self, s);
    cut(self->cube, s->support, s->projected, s->density);
}

/* projected = density blurred by a Gaussian of `sigma` [voxel]. Its transform is a product over the axes. */
static void blur(const sp_phaser *self, start *s, double sigma)
{
    const ptrdiff_t n = self->edge, row = n / 2 + 1;
    float complex *half = s->half;

    for (ptrdiff_t i = 0; i < n; i++) {
        const double k = (double)signed_index(i, n) / (double)n;

        s->axis[i] = (float)(exp(-2.0 * M_PI * M_PI * sigma * sigma * k * k) / (double)n);
    }
    sp_fft_forward(self->fft, s->density, half);
    for (ptrdiff_t xy = 0; xy < n * n; xy++) {
        const float factor = s->axis[xy / n] * s->axis[xy % n];

        for (ptrdiff_t z = 0; z < row; z++) {
            half[xy * row + z] *= factor * s->axis[z];
        }
    }
    sp_fft_backward(self->fft, half, s->projected);
}

/* New support from the blurred density. A support that vanishes or fills the ball marks the start as dropped. */
static void shrink_wrap(const sp_phaser *self, start *s, double sigma, const sp_phase_settings *settings)
{
    const float radius = (float)(settings->radius / self->voxel);
    const double ball = 4.0 / 3.0 * M_PI * pow(settings->radius / self->voxel, 3.0);
    float top = 0.0f;
    ptrdiff_t volume = 0;

    blur(self, s, sigma);
    for (ptrdiff_t i = 0; i < self->cube; i++) {
        top = s->projected[i] > top ? s->projected[i] : top;
    }
    for (ptrdiff_t i = 0; i < self->cube; i++) {
        s->support[i] = s->projected[i] > (float)settings->threshold * top && self->distance[i] <= radius;
        volume += s->support[i];
    }
    s->volume = (double)volume;
    s->dropped = volume < 8 || (double)volume > 0.9 * ball;
}

/* Angle [rad] of the first Fourier component along one axis, from the sums over planes across it. */
static double first_phase(const double *plane, ptrdiff_t n)
{
    double re = 0.0, im = 0.0;

    for (ptrdiff_t i = 0; i < n; i++) {
        const double angle = 2.0 * M_PI * (double)i / (double)n;

        re += plane[i] * cos(angle);
        im += plane[i] * sin(angle);
    }
    return atan2(im, re);
}

/* plane[axis][i] = sum of the density over the plane where that coordinate is i */
static void sum_planes(const float *density, ptrdiff_t n, double *const plane[3])
{
    for (int axis = 0; axis < 3; axis++) {
        memset(plane[axis], 0, (size_t)n * sizeof **plane);
    }
    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            const float *row = density + (x * n + y) * n;
            double sum = 0.0;

            for (ptrdiff_t z = 0; z < n; z++) {
                plane[2][z] += row[z];
                sum += row[z];
            }
            plane[1][y] += sum;
            plane[0][x] += sum;
        }
    }
}

/* Whole-voxel shift that brings the periodic centre of mass to voxel 0: phase of the first Fourier component.
 *   scratch  [edge^3]      plane  [3 edge] */
static void recentre(const sp_phaser *self, float *density, float *scratch, double *plane)
{
    const ptrdiff_t n = self->edge;
    ptrdiff_t shift[3];

    sum_planes(density, n, (double *const[3]){plane, plane + n, plane + 2 * n});
    for (int axis = 0; axis < 3; axis++) {
        const double turns = first_phase(plane + axis * n, n) / (2.0 * M_PI);

        shift[axis] = ((ptrdiff_t)lround(turns * (double)n) + n) % n;
    }
    memcpy(scratch, density, (size_t)self->cube * sizeof *density);
    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            const float *from = scratch + ((x + shift[0]) % n * n + (y + shift[1]) % n) * n;
            float *to = density + (x * n + y) * n;

            memcpy(to, from + shift[2], (size_t)(n - shift[2]) * sizeof *to);
            memcpy(to + n - shift[2], from, (size_t)shift[2] * sizeof *to);
        }
    }
}

/* First density and support: random numbers in a ball. */
static void begin(const sp_phaser *self, start *s, const sp_phase_settings *settings, int index)
{
    const float radius = (float)(settings->radius / self->voxel);
    sp_rng rng = sp_rng_stream(settings->seed, RNG_START, (uint64_t)index);

    for (ptrdiff_t i = 0; i < self->cube; i++) {
        s->support[i] = self->distance[i] <= radius;
        s->density[i] = s->support[i] ? (float)sp_rng_uniform(&rng) : 0.0f;
    }
}

static void run_start(const sp_phaser *self, start *s, const sp_phase_settings *settings, int index)
{
    begin(self, s, settings, index);
    for (int cycle = 0; cycle < settings->cycles && !sp_interrupted(); cycle++) {
        const double t = settings->cycles > 1 ? (double)cycle / (settings->cycles - 1) : 1.0;

        for (int i = 0; i < settings->raar_steps; i++) {
            step_raar(self, s, (float)settings->beta);
        }
        for (int i = 0; i < settings->er_steps; i++) {
            step_error_reduction(self, s);
        }
        recentre(self, s->density, s->projected, s->plane);
        shrink_wrap(self, s, settings->blur_first + t * (settings->blur_last - settings->blur_first), settings);
    }
    s->residual = 0.0;
    for (int i = 0; i < settings->final_steps; i++) {
        if (i == settings->final_steps - 1) {
            s->residual = measure_residual(self, s);
        }
        step_error_reduction(self, s);
    }
}

/* Index of the best start: the smallest residual among those not dropped, else among all. */
static int choose(const sp_phaser *self, int starts)
{
    int best = -1;

    for (int pass = 0; pass < 2 && best < 0; pass++) {
        for (int i = 0; i < starts; i++) {
            const start *s = &self->start[i];

            if ((pass == 1 || !s->dropped) && (best < 0 || s->residual < self->start[best].residual)) {
                best = i;
            }
        }
    }
    return best;
}

sp_phase_result sp_phaser_run(sp_phaser *phaser, const float *autocorrelation, double s_low, double s_high,
                              const sp_phase_settings *settings, float *density)
{
    const int starts = settings->starts < phaser->starts ? settings->starts : phaser->starts;
    double sum = 0.0, square = 0.0;
    sp_phase_result result = {0};

    make_amplitudes(phaser, autocorrelation, s_low, s_high);
    phaser->last = starts;
#pragma omp parallel for schedule(dynamic, 1)
    for (int i = 0; i < starts; i++) {
        run_start(phaser, &phaser->start[i], settings, i);
    }
    for (int i = 0; i < starts; i++) {
        sum += phaser->start[i].residual / starts;
        square += phaser->start[i].residual * phaser->start[i].residual / starts;
        result.dropped += phaser->start[i].dropped;
    }
    result.winner = choose(phaser, starts);
    result.residual = phaser->start[result.winner].residual;
    result.volume = phaser->start[result.winner].volume;
    result.spread = sqrt(fmax(square - sum * sum, 0.0));
    memcpy(density, phaser->start[result.winner].density, (size_t)phaser->cube * sizeof *density);
    return result;
}

/* ---- mean over the starts ---- */

/* Offset of the top of a parabola through three values, -0.5 .. 0.5. */
static double parabola_top(double left, double middle, double right)
{
    const double curvature = left - 2.0 * middle + right;

    return curvature < 0.0 ? 0.5 * (left - right) / curvature : 0.0;
}

/* Place [voxel] and height of the highest value of a periodic volume. */
static double find_peak(const float *volume, ptrdiff_t n, double place[3])
{
    const ptrdiff_t stride[3] = {n * n, n, 1};
    ptrdiff_t top = 0;

    for (ptrdiff_t i = 1; i < n * n * n; i++) {
        top = volume[i] > volume[top] ? i : top;
    }
    for (int axis = 0; axis < 3; axis++) {
        const ptrdiff_t at = top / stride[axis] % n, base = top - at * stride[axis];
        const double left = volume[base + (at + n - 1) % n * stride[axis]];
        const double right = volume[base + (at + 1) % n * stride[axis]];

        place[axis] = (double)at + parabola_top(left, volume[top], right);
    }
    return volume[top];
}

/* Peak of the cross correlation of start i, as it is or inverted, with the winner's transform. */
static double correlate(const sp_phaser *self, const float complex *winner, start *s, bool inverted, double place[3])
{
    for (ptrdiff_t i = 0; i < self->half_count; i++) {
        self->cross[i] = winner[i] * (inverted ? s->half[i] : conjf(s->half[i]));
    }
    sp_fft_backward(self->fft, self->cross, s->projected);
    return find_peak(s->projected, self->edge, place);
}

/* Adds start s, laid upon the winner, to the sums. */
static void add_start(sp_phaser *self, const float complex *winner, start *s)
{
    const ptrdiff_t n = self->edge;
    double upright[3], turned[3];
    const double a = correlate(self, winner, s, false, upright);
    const bool inverted = correlate(self, winner, s, true, turned) > a;
    const double *shift = inverted ? turned : upright;

    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            for (ptrdiff_t z = 0; z <= n / 2; z++) {
                const ptrdiff_t i = (x * n + y) * (n / 2 + 1) + z;
                const double turns = ((double)signed_index(x, n) * shift[0] + (double)signed_index(y, n) * shift[1] +
                                      (double)z * shift[2]) /
                                     (double)n;
                const float complex f = inverted ? conjf(s->half[i]) : s->half[i];

                self->total[i] += f * (float complex)cexp(-2.0 * M_PI * I * turns);
                self->length[i] += cabsf(f);
            }
        }
    }
}

int sp_phaser_average(sp_phaser *phaser, const sp_phase_result *result, float *density, double *prtf)
{
    const float complex *winner = phaser->start[result->winner].half;
    const ptrdiff_t shells = phaser->edge / 2 + 1;
    int entered = 0;

    memset(phaser->total, 0, (size_t)phaser->half_count * sizeof *phaser->total);
    memset(phaser->length, 0, (size_t)phaser->half_count * sizeof *phaser->length);
    for (int i = 0; i < phaser->last; i++) {
        sp_fft_forward(phaser->fft, phaser->start[i].density, phaser->start[i].half);
    }
    for (int i = 0; i < phaser->last; i++) {
        start *s = &phaser->start[i];

        if (i == result->winner || (!s->dropped && s->residual <= 1.25 * result->residual)) {
            add_start(phaser, winner, s);
            entered++;
        }
    }
    for (ptrdiff_t k = 0; k < shells; k++) {
        prtf[k] = phaser->shell_length[k] = 0.0;
    }
    for (ptrdiff_t i = 0; i < phaser->half_count; i++) {
        const ptrdiff_t k = lroundf(sqrtf(phaser->square[i]));

        if (k < shells) {
            prtf[k] += cabsf(phaser->total[i]);
            phaser->shell_length[k] += phaser->length[i];
        }
        phaser->total[i] /= (float)entered * (float)phaser->cube;
    }
    for (ptrdiff_t k = 0; k < shells; k++) {
        prtf[k] = phaser->shell_length[k] > 0.0 ? prtf[k] / phaser->shell_length[k] : 0.0;
    }
    sp_fft_backward(phaser->fft, phaser->total, density);
    recentre(phaser, density, phaser->start[0].projected, phaser->start[0].plane);
    return entered;
}

void sp_phaser_autocorrelate(sp_phaser *phaser, const float *density, const double *filter, double *shells,
                             float *autocorrelation)
{
    const ptrdiff_t n = phaser->edge;
    float complex *half = phaser->start[0].half;
    double *members = phaser->shell_length;

    sp_fft_forward(phaser->fft, density, half);
    for (ptrdiff_t k = 0; shells && k < n; k++) {
        shells[k] = members[k] = 0.0;
    }
    for (ptrdiff_t i = 0; i < phaser->half_count; i++) {
        const float re = crealf(half[i]), im = cimagf(half[i]);
        const float intensity = re * re + im * im;
        const ptrdiff_t shell = lroundf(sqrtf(phaser->square[i]));

        if (shells) { /* the z > 0 half counts twice in truth; on a shell average the difference is nil */
            shells[shell] += intensity;
            members[shell] += 1.0;
        }
        half[i] = intensity * (float)(filter ? filter[shell] : 1.0) / (float)phaser->cube;
    }
    for (ptrdiff_t k = 0; shells && k < n; k++) {
        shells[k] = members[k] > 0.0 ? shells[k] / members[k] : 0.0;
    }
    sp_fft_backward(phaser->fft, half, autocorrelation);
}
