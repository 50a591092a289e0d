/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/phase.h"

#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/rng.h"
#include "phases/amplitudes.h"
#include "phases/phase_plan.h"

struct sp_phase_work {
    float *projected;    /* [edge^3] density with the known amplitudes */
    float complex *half; /* [edge][edge][edge/2+1] a transform */
    uint8_t *support;    /* [edge^3] */
    double *plane;       /* [3 edge] sums over planes */
    float *axis;         /* [edge] factors along one axis */
    sp_amplitudes *amplitudes;
};

/* ---- plan and work space ---- */

static void make_squares(sp_phase_plan *self)
{
    const ptrdiff_t n = self->edge;

    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            for (ptrdiff_t z = 0; z <= n / 2; z++) {
                const double a = (double)sp_phase_signed(x, n), b = (double)sp_phase_signed(y, n), c = (double)z;

                self->square[(x * n + y) * (n / 2 + 1) + z] = (float)(a * a + b * b + c * c);
            }
        }
    }
}

sp_status sp_phase_plan_new(ptrdiff_t edge, double voxel, sp_phase_plan **plan)
{
    sp_status status = SP_OK;
    sp_phase_plan *self = NULL;

    SP_REQUIRE(edge % 2 == 0, SP_ERR_USAGE, "phasing edge %td is odd", edge);
    SP_TRY(SP_ARRAY(self, 1));
    self->edge = edge;
    self->voxel = voxel;
    self->cube = edge * edge * edge;
    SP_TRY(sp_fft_new(edge, &self->fft));
    self->half_count = sp_fft_complex_count(self->fft);
    SP_TRY(SP_ARRAY(self->square, self->half_count));
    make_squares(self);
    *plan = self;
    self = NULL;
done:
    sp_phase_plan_free(self);
    return status;
}

void sp_phase_plan_free(sp_phase_plan *plan)
{
    if (!plan) {
        return;
    }
    sp_fft_free(plan->fft);
    sp_array_free(plan->square);
    sp_array_free(plan);
}

sp_status sp_phase_work_new(const sp_phase_plan *plan, sp_phase_work **work)
{
    sp_status status = SP_OK;
    sp_phase_work *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    SP_TRY(SP_ARRAY(self->projected, plan->cube));
    SP_TRY(SP_ARRAY(self->half, plan->half_count));
    SP_TRY(SP_ARRAY(self->support, plan->cube));
    SP_TRY(SP_ARRAY(self->plane, 3 * plan->edge));
    SP_TRY(SP_ARRAY(self->axis, plan->edge));
    SP_TRY(sp_amplitudes_new(plan->edge, plan->voxel, &self->amplitudes));
    *work = self;
    self = NULL;
done:
    sp_phase_work_free(self);
    return status;
}

void sp_phase_work_free(sp_phase_work *work)
{
    if (!work) {
        return;
    }
    sp_array_free(work->projected);
    sp_array_free(work->half);
    sp_array_free(work->support);
    sp_array_free(work->plane);
    sp_array_free(work->axis);
    sp_amplitudes_free(work->amplitudes);
    sp_array_free(work);
}

static double half_count(double edge)
{
    return edge * edge * (0.5 * edge + 1.0);
}

double sp_phase_plan_bytes(ptrdiff_t edge)
{
    return sizeof(float) * half_count((double)edge);
}

double sp_phase_work_bytes(ptrdiff_t edge)
{
    const double cube = (double)edge * (double)edge * (double)edge;

    return (sizeof(float) + 1.0) * cube + sizeof(float complex) * half_count((double)edge) + sp_amplitudes_bytes(edge);
}

/* ---- amplitudes ---- */

ptrdiff_t sp_phase_amplitude_count(const sp_phase_plan *plan)
{
    return plan->half_count;
}

void sp_phase_amplitudes(const sp_phase_plan *plan, const float *autocorrelation, double s_low, double s_high,
                         bool noisy, sp_phase_work *work, float *amplitude)
{
    sp_fft_forward(plan->fft, autocorrelation, work->half);
    for (ptrdiff_t i = 0; i < plan->half_count; i++) {
        amplitude[i] = crealf(work->half[i]);
    }
    sp_amplitudes_make(work->amplitudes, amplitude, s_low, s_high, noisy, amplitude);
}

/* ---- centre of mass ---- */

/* Voxels from voxel 0 to the centre of mass along one axis, from the sums over planes across it. */
static ptrdiff_t centre(const double *plane, ptrdiff_t n)
{
    double re = 0.0, im = 0.0;

    for (ptrdiff_t i = 0; i < n; i++) {
        const double angle = 2.0 * M_PI * (double)i / (double)n;

        re += plane[i] * cos(angle);
        im += plane[i] * sin(angle);
    }
    return sp_phase_centre(re, im, n);
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

void sp_phase_recentre(const sp_phase_plan *plan, float *density, float *scratch, double *plane)
{
    const ptrdiff_t n = plan->edge;
    ptrdiff_t shift[3];

    sum_planes(density, n, (double *const[3]){plane, plane + n, plane + 2 * n});
    for (int axis = 0; axis < 3; axis++) {
        shift[axis] = centre(plane + axis * n, n);
    }
    memcpy(scratch, density, (size_t)plan->cube * sizeof *density);
    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            const float *from = scratch + ((x + shift[0]) % n * n + (y + shift[1]) % n) * n;
            float *to = density + (x * n + y) * n;

            memcpy(to, from + shift[2], (size_t)(n - shift[2]) * sizeof *to);
            memcpy(to + n - shift[2], from, (size_t)shift[2] * sizeof *to);
        }
    }
}

/* ---- one start ---- */

/* A start under way. */
typedef struct start {
    const sp_phase_plan *plan;
    const sp_phase_settings *settings;
    const float *amplitude;
    sp_phase_work *work;
    float *density;
    sp_phase_outcome outcome;
} start;

/* sum (|F| - A)^2 / sum A^2 over the known amplitudes, F the transform of the density. */
static double measure_residual(const start *s)
{
    const float complex *half = s->work->half;
    double difference = 0.0, norm = 0.0;

    sp_fft_forward(s->plan->fft, s->density, s->work->half);
    for (ptrdiff_t i = 0; i < s->plan->half_count; i++) {
        const float a = s->amplitude[i], off = sp_phase_off(crealf(half[i]), cimagf(half[i]), a);

        difference += a == SP_PHASE_UNKNOWN ? 0.0 : (double)off * off;
        norm += a == SP_PHASE_UNKNOWN ? 0.0 : (double)a * a;
    }
    return norm > 0.0 ? difference / norm : 0.0;
}

/* projected = density with the known amplitudes */
static void project_amplitudes(const start *s)
{
    sp_fft_impose(s->plan->fft, s->density, s->amplitude, s->work->half, s->work->projected);
}

static void relax(ptrdiff_t count, float beta, const uint8_t *restrict support, const float *restrict projected,
                  float *restrict density)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        density[i] = sp_phase_relaxed(support[i], projected[i], density[i], beta);
    }
}

static void cut(ptrdiff_t count, const uint8_t *restrict support, const float *restrict projected,
                float *restrict density)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        density[i] = sp_phase_cut(support[i], projected[i]);
    }
}

static void step_raar(const start *s)
{
    project_amplitudes(s);
    relax(s->plan->cube, (float)s->settings->beta, s->work->support, s->work->projected, s->density);
}

static void step_error_reduction(const start *s)
{
    project_amplitudes(s);
    cut(s->plan->cube, s->work->support, s->work->projected, s->density);
}

/* projected = density blurred by a Gaussian of `sigma` [voxel]. Its transform is a product over the axes. */
static void blur(const start *s, double sigma)
{
    const ptrdiff_t n = s->plan->edge, row = n / 2 + 1;
    float complex *half = s->work->half;
    float *axis = s->work->axis;

    for (ptrdiff_t i = 0; i < n; i++) {
        const double k = (double)sp_phase_signed(i, n) / (double)n;

        axis[i] = (float)(exp(-2.0 * M_PI * M_PI * sigma * sigma * k * k) / (double)n);
    }
    sp_fft_forward(s->plan->fft, s->density, half);
    for (ptrdiff_t xy = 0; xy < n * n; xy++) {
        const float factor = axis[xy / n] * axis[xy % n];

        for (ptrdiff_t z = 0; z < row; z++) {
            half[xy * row + z] *= factor * axis[z];
        }
    }
    sp_fft_backward(s->plan->fft, half, s->work->projected);
}

/* support[i] = value[i] > threshold, within the ball of the settings' radius. Returns how many voxels these are. */
static ptrdiff_t cut_support(const start *s, const float *value, float threshold)
{
    const ptrdiff_t n = s->plan->edge, row = n / 2 + 1;
    const float radius = (float)(s->settings->radius / s->plan->voxel);
    ptrdiff_t volume = 0;

    for (ptrdiff_t xy = 0; xy < n * n; xy++) {
        const float *square = s->plan->square + xy * row, *in = value + xy * n;
        uint8_t *out = s->work->support + xy * n;

        for (ptrdiff_t z = 0; z < n; z++) {
            out[z] = in[z] > threshold && sqrtf(square[z < row ? z : n - z]) <= radius;
            volume += out[z];
        }
    }
    return volume;
}

/* New support from the blurred density. A support that vanishes or fills the ball marks the start as dropped. */
static void shrink_wrap(start *s, double sigma)
{
    const float *blurred = s->work->projected;
    float top = 0.0f;

    blur(s, sigma);
    for (ptrdiff_t i = 0; i < s->plan->cube; i++) {
        top = blurred[i] > top ? blurred[i] : top;
    }
    const ptrdiff_t volume = cut_support(s, blurred, (float)s->settings->threshold * top);

    s->outcome.volume = (double)volume;
    s->outcome.dropped = sp_phase_is_dropped((double)volume, s->settings->radius / s->plan->voxel);
}

/* First density and support: random numbers in a ball. */
static void begin(start *s, int k)
{
    sp_rng rng = sp_rng_stream(s->settings->seed, SP_PHASE_RNG_START, (uint64_t)k);

    memset(s->density, 0, (size_t)s->plan->cube * sizeof *s->density);
    s->outcome = (sp_phase_outcome){.volume = (double)cut_support(s, s->density, -1.0f)};
    for (ptrdiff_t i = 0; i < s->plan->cube; i++) {
        s->density[i] = s->work->support[i] ? (float)sp_rng_uniform(&rng) : 0.0f;
    }
}

/* Steps with a support that follows the density. */
static void find_support(start *s)
{
    const sp_phase_settings *settings = s->settings;

    for (int cycle = 0; cycle < settings->cycles && !sp_interrupted(); cycle++) {
        const double t = settings->cycles > 1 ? (double)cycle / (settings->cycles - 1) : 1.0;

        for (int i = 0; i < settings->raar_steps; i++) {
            step_raar(s);
        }
        for (int i = 0; i < settings->er_steps; i++) {
            step_error_reduction(s);
        }
        sp_phase_recentre(s->plan, s->density, s->work->projected, s->work->plane);
        shrink_wrap(s, settings->blur_first + t * (settings->blur_last - settings->blur_first));
    }
}

sp_phase_outcome sp_phase_start(const sp_phase_plan *plan, const float *amplitude, const sp_phase_settings *settings,
                                int k, sp_phase_work *work, float *density)
{
    start s = {.plan = plan, .settings = settings, .amplitude = amplitude, .work = work};

    s.density = density;
    begin(&s, k);
    find_support(&s);
    for (int i = 0; i < settings->final_steps; i++) {
        if (i == settings->final_steps - 1) {
            s.outcome.residual = measure_residual(&s);
        }
        step_error_reduction(&s);
    }
    return s.outcome;
}

/* ---- the way back ---- */

void sp_phase_autocorrelate(const sp_phase_plan *plan, const float *density, const double *filter, sp_phase_work *work,
                            double *shells, float *autocorrelation)
{
    const ptrdiff_t n = plan->edge;
    float complex *half = work->half;
    double *members = work->plane;

    sp_fft_forward(plan->fft, density, half);
    for (ptrdiff_t k = 0; shells && k < n; k++) {
        shells[k] = members[k] = 0.0;
    }
    for (ptrdiff_t i = 0; i < plan->half_count; i++) {
        const float re = crealf(half[i]), im = cimagf(half[i]);
        const float intensity = re * re + im * im;
        const ptrdiff_t shell = lroundf(sqrtf(plan->square[i]));

        if (shells) { /* the z > 0 half counts twice in truth; on a shell average the difference is nil */
            shells[shell] += intensity;
            members[shell] += 1.0;
        }
        half[i] = intensity * (float)(filter ? filter[shell] : 1.0) / (float)plan->cube;
    }
    for (ptrdiff_t k = 0; shells && k < n; k++) {
        shells[k] = members[k] > 0.0 ? shells[k] / members[k] : 0.0;
    }
    sp_fft_backward(plan->fft, half, autocorrelation);
}
