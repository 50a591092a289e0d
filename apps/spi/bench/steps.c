/* SPDX-License-Identifier: BSD-3-Clause */
/* The step that conjugate gradients repeat in phases/merge, and the step that phases/phase repeats. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "bench/parts.h"
#include "bench/peers.h"
#include "bench/specimen.h"
#include "num/fft.h"
#include "phases/phaser.h"

enum {
    RNG_SOLVER = 621,
    PHASING_STEPS = 20, /* that a run is longer by */
};

static const ptrdiff_t sizes[] = {80, 90}; /* the good ones next to SpiniFEL's 81 */

/* ---- out = S T in + lambda in: a convolution in twice the edge, within a ball ---- */

typedef struct solver {
    ptrdiff_t n, padded; /* padded = 2 n */
    sp_fft *fft;
    sp_fftw *fftw;
    float *in, *out, *want; /* [n^3] */
    uint8_t *support;       /* [n^3] */
    float *factor;          /* [padded][padded][padded/2+1] */
    float *cube, *back;     /* [padded^3] */
    float complex *half;    /* [padded][padded][padded/2+1] */
} solver;

static const float LAMBDA = 1e-3f;

static void finish(const solver *self, float *out)
{
    for (ptrdiff_t i = 0; i < self->n * self->n * self->n; i++) {
        out[i] = self->support[i] ? out[i] + LAMBDA * self->in[i] : 0.0f;
    }
}

static void run_padded(void *context)
{
    const solver *self = context;

    sp_fft_multiply_padded(self->fft, self->in, self->factor, self->half, self->out);
    finish(self, self->out);
}

/* Place of a voxel of the small volume in the large one, both in FFT order; x, y or z. */
static ptrdiff_t place(const solver *self, ptrdiff_t i)
{
    return i < self->n / 2 ? i : i + self->n;
}

/* Rows between the small volume and the middle of the large one. */
static void move(const solver *self, float *small, float *large, bool in)
{
    const ptrdiff_t n = self->n, m = self->padded;
    const size_t half = (size_t)(n / 2) * sizeof *small;

    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            float *row = small + (x * n + y) * n;
            float *wide = large + (place(self, x) * m + place(self, y)) * m;

            memcpy(in ? wide : row, in ? row : wide, half);
            memcpy(in ? wide + m - n / 2 : row + n / 2, in ? row + n / 2 : wide + m - n / 2, half);
        }
    }
}

static void run_whole(void *context)
{
    const solver *self = context;

    memset(self->cube, 0, (size_t)(self->padded * self->padded * self->padded) * sizeof *self->cube);
    move(self, self->in, self->cube, true);
    sp_fft_multiply(self->fft, self->cube, self->factor, self->half, self->cube);
    move(self, self->want, self->cube, false);
    finish(self, self->want);
}

static void run_fftw(void *context)
{
    const solver *self = context;

    memset(self->cube, 0, (size_t)(self->padded * self->padded * self->padded) * sizeof *self->cube);
    move(self, self->in, self->cube, true);
    sp_fftw_forward(self->fftw);
    for (ptrdiff_t i = 0; i < sp_fft_complex_count(self->fft); i++) {
        self->half[i] *= self->factor[i];
    }
    sp_fftw_backward(self->fftw);
    move(self, self->want, self->back, false);
    finish(self, self->want);
}

static void solver_clear(solver *self)
{
    sp_fft_free(self->fft);
    sp_fftw_free(self->fftw);
    sp_array_free(self->in);
    sp_array_free(self->out);
    sp_array_free(self->want);
    sp_array_free(self->support);
    sp_array_free(self->factor);
    sp_array_free(self->cube);
    sp_array_free(self->back);
    sp_array_free(self->half);
}

/* Random numbers in a ball, and a smooth positive factor as a Toeplitz kernel has it. */
static void fill(solver *self)
{
    const ptrdiff_t n = self->n, m = self->padded;
    sp_rng rng = sp_rng_stream(1, RNG_SOLVER, (uint64_t)n);

    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        const double x = (double)((i / (n * n) + n / 2) % n - n / 2), y = (double)((i / n + n / 2) % n - n / 2),
                     z = (double)((i + n / 2) % n - n / 2);

        self->support[i] = 4.0 * (x * x + y * y + z * z) < (double)((n - 2) * (n - 2));
        self->in[i] = self->support[i] ? (float)(sp_rng_uniform(&rng) - 0.5) : 0.0f;
    }
    for (ptrdiff_t i = 0; i < sp_fft_complex_count(self->fft); i++) {
        self->factor[i] = (float)((1.0 + cos(1e-3 * (double)i)) / pow((double)m, 3.0));
    }
}

static sp_status solver_init(ptrdiff_t n, solver *self)
{
    const ptrdiff_t cube = n * n * n;
    sp_status status = SP_OK;

    *self = (solver){.n = n, .padded = 2 * n};
    SP_TRY(sp_fft_new(self->padded, &self->fft));
    SP_TRY(SP_ARRAY(self->in, cube));
    SP_TRY(SP_ARRAY(self->out, cube));
    SP_TRY(SP_ARRAY(self->want, cube));
    SP_TRY(SP_ARRAY(self->support, cube));
    SP_TRY(SP_ARRAY(self->cube, 8 * cube));
    SP_TRY(SP_ARRAY(self->back, 8 * cube));
    SP_TRY(SP_ARRAY(self->half, sp_fft_complex_count(self->fft)));
    SP_TRY(SP_ARRAY(self->factor, sp_fft_complex_count(self->fft)));
    SP_TRY(sp_fftw_new(self->padded, self->cube, self->half, self->back, &self->fftw));
    fill(self);
done:
    return status;
}

static double difference(const solver *self)
{
    double sum = 0.0, norm = 0.0;

    for (ptrdiff_t i = 0; i < self->n * self->n * self->n; i++) {
        sum += pow((double)(self->out[i] - self->want[i]), 2.0);
        norm += pow((double)self->want[i], 2.0);
    }
    return sqrt(sum / norm);
}

static sp_status time_solver(sp_bench *bench, ptrdiff_t n)
{
    solver self;
    const sp_contender contender[] = {{.run = run_padded, .context = &self},
                                      {.run = run_whole, .context = &self},
                                      {.run = run_fftw, .context = &self}};
    sp_race race;
    sp_status status = SP_OK;

    SP_TRY(solver_init(n, &self));
    run_padded(&self);
    run_whole(&self);
    const double error = difference(&self);

    SP_TRY(sp_bench_check("the step of the solver", error, 1e-5));
    SP_TRY(sp_bench_race(bench, contender, self.fftw ? 3 : 2, &race));
    sp_row *row = sp_row_add(bench, "steps", 1, "conjugate gradients, one product: N = %td in %td", n, 2 * n);

    row->kernels = sp_isa_name(bench->machine.isa);
    row->error = error;
    sp_row_take_time(row, &race, 0);
    sp_row_compare(row, &race, 1, 0, "transforms of the whole cube, zeros and all");
    if (self.fftw) {
        sp_row_compare(row, &race, 2, 0, "FFTW doing so, plans by FFTW_MEASURE");
    } else {
        sp_row_not_installed(row, "FFTW");
    }
done:
    solver_clear(&self);
    return status;
}

/* ---- one step of phasing ---- */

typedef struct phasing {
    ptrdiff_t n;
    sp_phaser *phaser;
    sp_fft *fft;
    float *autocorrelation, *density; /* [n^3] */
    float complex *half;              /* [n][n][n/2+1] */
    sp_phase_settings settings[2];    /* short, and longer by PHASING_STEPS */
} phasing;

static void run_phaser(const phasing *self, int which)
{
    sp_phaser_run(self->phaser, self->autocorrelation, 0.0, 0.5, true, &self->settings[which], self->density);
}

static void run_short(void *context)
{
    run_phaser(context, 0);
}

static void run_long(void *context)
{
    run_phaser(context, 1);
}

static void run_transform(void *context)
{
    const phasing *self = context;

    sp_fft_forward(self->fft, self->autocorrelation, self->half);
}

static void phasing_clear(phasing *self)
{
    sp_phaser_free(self->phaser);
    sp_fft_free(self->fft);
    sp_array_free(self->autocorrelation);
    sp_array_free(self->density);
    sp_array_free(self->half);
}

static sp_status phasing_init(ptrdiff_t n, phasing *self)
{
    sp_status status = SP_OK;

    *self = (phasing){.n = n};
    self->settings[0] = (sp_phase_settings){.starts = 1,
                                            .cycles = 1,
                                            .raar_steps = 1,
                                            .beta = 0.87,
                                            .final_steps = 1,
                                            .blur_first = 2.0,
                                            .blur_last = 1.0,
                                            .threshold = 0.05,
                                            .radius = 0.25 * (double)n,
                                            .seed = 1};
    self->settings[1] = self->settings[0];
    self->settings[1].raar_steps += PHASING_STEPS;
    SP_TRY(sp_phaser_new(n, 1.0, 1, &self->phaser));
    SP_TRY(sp_fft_new(n, &self->fft));
    SP_TRY(sp_specimen_autocorrelation(n, &self->autocorrelation));
    SP_TRY(SP_ARRAY(self->density, n * n * n));
    SP_TRY(SP_ARRAY(self->half, sp_fft_complex_count(self->fft)));
done:
    return status;
}

/* The race between a short run, a longer one and a transform becomes one between a step and a transform. */
static void single_out_step(sp_race *race)
{
    for (int r = 0; r < race->rounds; r++) {
        race->seconds[r][0] = (race->seconds[r][1] - race->seconds[r][0]) / PHASING_STEPS;
    }
}

static sp_status time_phasing(sp_bench *bench, ptrdiff_t n)
{
    phasing self;
    const sp_contender contender[] = {{.run = run_short, .context = &self},
                                      {.run = run_long, .context = &self},
                                      {.run = run_transform, .context = &self}};
    sp_race race;
    sp_status status = SP_OK;

    SP_TRY(phasing_init(n, &self));
    sp_phase_settings thorough = self.settings[1];

    thorough.final_steps = 30; /* the first density has another scale: it takes some steps to come down */
    const sp_phase_result result =
        sp_phaser_run(self.phaser, self.autocorrelation, 0.0, 0.5, true, &thorough, self.density);

    SP_TRY(sp_bench_check("phasing", result.residual, 0.5));
    SP_TRY(sp_bench_race(bench, contender, 3, &race));
    single_out_step(&race);
    sp_row *row = sp_row_add(bench, "steps", 1, "phasing, one RAAR step: N = %td", n);
    const sp_quartiles transforms = sp_race_ratio(&race, 0, 2);

    row->kernels = sp_isa_name(bench->machine.isa);
    sp_row_take_time(row, &race, 0);
    row->rate = transforms.median;
    row->unit = "r2c FFTs";
    snprintf(row->note, sizeof row->note, "the time of %.2f (%.2f to %.2f) r2c transforms of that size",
             transforms.median, transforms.low, transforms.high);
done:
    phasing_clear(&self);
    return status;
}

sp_status sp_bench_steps(sp_bench *bench)
{
    const size_t count = bench->settings.quick ? 1 : sizeof sizes / sizeof *sizes;
    sp_status status = SP_OK;

    for (size_t i = 0; i < count; i++) {
        SP_TRY(time_solver(bench, sizes[i]));
        SP_TRY(time_phasing(bench, sizes[i]));
    }
done:
    return status;
}
