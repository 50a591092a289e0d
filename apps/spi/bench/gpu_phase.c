/* SPDX-License-Identifier: BSD-3-Clause */
/* Phasing on a GPU (device/phase.h): many starts side by side; what stands before and behind them; shell sums
 * (device/shells.h). */
#include <complex.h>
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "bench/gpu.h"
#include "bench/gpu_floor.h"
#include "bench/parts.h"
#include "bench/specimen.h"
#include "device/amplitudes.h"
#include "device/phase.h"
#include "device/shells.h"
#include "num/radial.h"
#include "phases/phase.h"

enum { MOST_HERE = 64 }; /* starts of the processor at a time, one for each thread */

typedef struct extent {
    ptrdiff_t n;
    int starts;
    int cycles, raar_steps, er_steps, final_steps;
} extent;

/* The schedule of flow/workspace.c, and the most starts of an average. */
static const extent full = {.n = 64, .starts = 32, .cycles = 10, .raar_steps = 20, .er_steps = 10, .final_steps = 30};
static const extent quick = {.n = 16, .starts = 2, .cycles = 1, .raar_steps = 2, .er_steps = 1, .final_steps = 1};

typedef struct job {
    ptrdiff_t n, cube, half; /* n^3; floats in amplitudes */
    int starts;
    sp_phase_settings settings;
    sp_phase_outcome *outcome; /* [starts] */
    sp_gpu_arrays arrays;
    sp_device_phaser *phaser;
    sp_device_shells *shells;
    sp_device_amplitudes *amplitudes;
    const float *amplitude; /* device, like the next ones */
    float *autocorrelation, *moved;
    float *transform;            /* device, complex [n][n][n/2+1] */
    sp_device_shell_means *mean; /* [n/2 + 1] */
    /* the processor's */
    int threads;
    sp_phase_plan *plan;
    sp_phase_work *work[MOST_HERE];
    float *host_autocorrelation, *host_amplitude, *host_out; /* [n^3], [half], [n^3] */
    float *density;                                          /* [threads][n^3] */
    float complex *host_transform;
    double *host_mean; /* [n/2 + 1] */
} job;

/* ---- what runs on the device ---- */

static sp_status run_amplitudes(const sp_device *device, void *context)
{
    job *j = context;

    (void)device;
    return sp_device_amplitudes_make(j->amplitudes, j->autocorrelation, 0.0, 0.5, true, &j->amplitude);
}

static sp_status run_begin(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->phase->begin(device, j->phaser, j->amplitude, &j->settings, 0);
}

static sp_status run_cycle(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->phase->cycle(device, j->phaser, 0);
}

static sp_status run_finish(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->phase->finish(device, j->phaser, j->outcome);
}

static sp_status run_starts(const sp_device *device, void *context)
{
    const job *j = context;
    sp_status status = SP_OK;

    SP_TRY(run_begin(device, context));
    for (int i = 0; i < j->settings.cycles; i++) {
        SP_TRY(device->kernels->phase->cycle(device, j->phaser, i));
    }
    SP_TRY(run_finish(device, context));
done:
    return status;
}

static sp_status run_recentre(const sp_device *device, void *context)
{
    const job *j = context;
    const sp_device_phase_kernels *phase = device->kernels->phase;

    return phase->recentre(device, j->phaser, phase->density(j->phaser, 0), j->moved);
}

static sp_status run_autocorrelate(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->phase->autocorrelate(device, j->phaser, j->moved, NULL, NULL, j->autocorrelation);
}

static sp_status run_shells(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->shells->cross(device, j->shells, j->transform, j->transform, 1, j->mean);
}

/* ---- the same on the processor ---- */

static void amplitudes_here(void *context)
{
    const job *j = context;

    sp_phase_amplitudes(j->plan, j->host_autocorrelation, 0.0, 0.5, true, j->work[0], j->host_amplitude);
}

static void starts_here(void *context)
{
    const job *j = context;

#pragma omp parallel for schedule(static, 1)
    for (int i = 0; i < j->threads; i++) {
        sp_phase_start(j->plan, j->host_amplitude, &j->settings, i, j->work[i], j->density + i * j->cube);
    }
}

static void autocorrelate_here(void *context)
{
    const job *j = context;

    sp_phase_autocorrelate(j->plan, j->density, NULL, j->work[0], NULL, j->host_out);
}

static void shells_here(void *context)
{
    const job *j = context;

    sp_radial_cross(j->n, j->host_transform, j->host_transform, j->host_mean);
}

/* ---- memory ---- */

static void job_clear(job *j)
{
    const sp_device *device = j->arrays.device;

    sp_device_amplitudes_free(j->amplitudes);
    device->kernels->phase->release(device, j->phaser);
    device->kernels->shells->release(device, j->shells);
    sp_gpu_arrays_release(&j->arrays);
    sp_array_free(j->outcome);
    sp_array_free(j->mean);
    sp_phase_plan_free(j->plan);
    for (int i = 0; i < MOST_HERE; i++) {
        sp_phase_work_free(j->work[i]);
    }
    sp_array_free(j->host_autocorrelation);
    sp_array_free(j->host_amplitude);
    sp_array_free(j->host_out);
    sp_array_free(j->density);
    sp_array_free(j->host_transform);
    sp_array_free(j->host_mean);
}

static sp_status make_processor(job *j)
{
    sp_status status = SP_OK;

    SP_TRY(sp_phase_plan_new(j->n, 1.0, &j->plan));
    for (int i = 0; i < j->threads; i++) {
        SP_TRY(sp_phase_work_new(j->plan, &j->work[i]));
    }
    SP_TRY(sp_specimen_autocorrelation(j->n, &j->host_autocorrelation));
    SP_TRY(SP_ARRAY(j->host_amplitude, j->half));
    SP_TRY(SP_ARRAY(j->host_out, j->cube));
    SP_TRY(SP_ARRAY(j->density, j->threads * j->cube));
    SP_TRY(SP_ARRAY(j->host_transform, j->half));
    SP_TRY(SP_ARRAY(j->host_mean, sp_radial_shells(j->n)));
    for (ptrdiff_t i = 0; i < j->half; i++) {
        j->host_transform[i] = (float)(1 + i % 7) - I * (float)(i % 5); /* any numbers */
    }
done:
    return status;
}

static sp_status make_device(const sp_device *device, job *j)
{
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(j->outcome, j->starts));
    SP_TRY(SP_ARRAY(j->mean, sp_radial_shells(j->n)));
    SP_TRY(device->kernels->phase->make(device, j->n, 1.0, j->starts, &j->phaser));
    SP_TRY(device->kernels->shells->make(device, j->n, 1, &j->shells));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->autocorrelation, j->cube, j->host_autocorrelation));
    SP_TRY(sp_device_amplitudes_new(device, j->phaser, j->n, 1.0, &j->amplitudes));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->moved, j->cube, NULL));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->transform, 2 * j->half, (const float *)j->host_transform));
done:
    return status;
}

static sp_status job_init(sp_bench *bench, const extent *size, job *j)
{
    const int threads = bench->machine.threads;
    sp_status status = SP_OK;

    *j = (job){.n = size->n,
               .cube = size->n * size->n * size->n,
               .half = size->n * size->n * (size->n / 2 + 1),
               .starts = size->starts,
               .threads = threads < MOST_HERE ? threads : MOST_HERE,
               .arrays = {.device = bench->gpu.device},
               .settings = {.starts = size->starts,
                            .cycles = size->cycles,
                            .raar_steps = size->raar_steps,
                            .er_steps = size->er_steps,
                            .final_steps = size->final_steps,
                            .beta = 0.87,
                            .blur_first = 2.0,
                            .blur_last = 1.0,
                            .threshold = 0.1,
                            .radius = 0.25 * (double)size->n,
                            .seed = 1}};
    SP_TRY(make_processor(j));
    SP_TRY(make_device(bench->gpu.device, j));
done:
    return status;
}

/* ---- what it must be ---- */

/* error  relative, of floats of the device against those of the processor */
static sp_status compare(const sp_device *device, const float *there, const float *here, ptrdiff_t count, double *error)
{
    float *got = NULL;
    double *want = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(got, count));
    SP_TRY(SP_ARRAY(want, count));
    SP_TRY(device->kernels->download(device, there, (size_t)count * sizeof *got, got));
    for (ptrdiff_t i = 0; i < count; i++) {
        want[i] = (double)here[i];
    }
    *error = sp_bench_error(got, want, count);
done:
    sp_array_free(got);
    sp_array_free(want);
    return status;
}

/* Amplitudes, and one step of the first start from them: what further steps make of rounding is no error. Leaves the
 * amplitudes on both sides. */
static sp_status check_step(const sp_device *device, job *j, double *amplitudes, double *step)
{
    const sp_phase_settings settings = j->settings;
    sp_status status = SP_OK;

    SP_TRY(run_amplitudes(device, j));
    amplitudes_here(j);
    SP_TRY(compare(device, j->amplitude, j->host_amplitude, j->half, amplitudes));
    SP_TRY(sp_bench_check("amplitudes on the GPU", *amplitudes, 1e-3));
    j->settings.cycles = 0;
    j->settings.final_steps = 1;
    SP_TRY(run_starts(device, j));
    starts_here(j);
    SP_TRY(compare(device, device->kernels->phase->density(j->phaser, 0), j->density, j->cube, step));
    SP_TRY(sp_bench_check("phasing on the GPU", *step, 1e-3));
done:
    j->settings = settings;
    return status;
}

/* Where it stands makes no difference to the autocorrelation of the first start's density. Leaves it on both sides. */
static sp_status check_density(const sp_device *device, job *j, double *error)
{
    const size_t bytes = (size_t)j->cube * sizeof(float);
    sp_status status = SP_OK;

    SP_TRY(device->kernels->download(device, device->kernels->phase->density(j->phaser, 0), bytes, j->density));
    SP_TRY(run_recentre(device, j));
    SP_TRY(run_autocorrelate(device, j));
    autocorrelate_here(j);
    SP_TRY(compare(device, j->autocorrelation, j->host_out, j->cube, error));
    SP_TRY(sp_bench_check("autocorrelations on the GPU", *error, 1e-4));
done:
    return status;
}

static sp_status check_shells(const sp_device *device, job *j, double *error)
{
    sp_status status = SP_OK;

    SP_TRY(run_shells(device, j));
    shells_here(j);
    *error = 0.0;
    for (ptrdiff_t k = 0; k < sp_radial_shells(j->n); k++) {
        *error = fmax(*error, fabs(j->mean[k].cross / j->host_mean[k] - 1.0));
    }
    SP_TRY(sp_bench_check("shell sums on the GPU", *error, 1e-9));
done:
    return status;
}

/* ---- rows ---- */

/* A step of all starts reads each density and its support and writes the density, 9 bytes a voxel; the amplitudes are
 * those of all. It transforms there and back. */
static double step_bytes(const job *j)
{
    return 9.0 * (double)j->cube * j->starts + sizeof(float) * (double)j->half;
}

static double step_operations(const job *j)
{
    return 2.0 * sp_floor_transform((double)j->n) * j->starts;
}

static sp_status time_begin_and_end(sp_bench *bench, job *j, double amplitudes, double step)
{
    const double cube = sizeof(float) * (double)j->cube, half = sizeof(float) * (double)j->half;
    const sp_gpu_work first = {
        .run = run_amplitudes, .context = j, .bytes = cube + half, .operations = sp_floor_transform((double)j->n)};
    const sp_gpu_work begin = {.run = run_begin, .context = j, .bytes = cube * j->starts};
    sp_row *row = sp_row_add(bench, "phase", 1, "amplitudes, N = %td", j->n);
    sp_status status = SP_OK;

    row->error = amplitudes;
    SP_TRY(sp_gpu_time(bench, &first, row));
    SP_TRY(sp_gpu_compare(bench, amplitudes_here, j, 1.0, row, "sp_phase_amplitudes"));
    row = sp_row_add(bench, "phase", 1, "first densities, N = %td, %d starts", j->n, j->starts);
    row->error = step;
    SP_TRY(sp_gpu_time(bench, &begin, row));
done:
    return status;
}

static sp_status time_starts(sp_bench *bench, job *j, double step)
{
    const sp_phase_settings *s = &j->settings;
    const double in_cycle = s->raar_steps + s->er_steps, steps = in_cycle * s->cycles + s->final_steps;
    const sp_gpu_work cycle = {.run = run_cycle,
                               .before = run_begin,
                               .context = j,
                               .bytes = in_cycle * step_bytes(j),
                               .operations = in_cycle * step_operations(j)};
    const sp_gpu_work all = {
        .run = run_starts, .context = j, .bytes = steps * step_bytes(j), .operations = steps * step_operations(j)};
    sp_row *row = sp_row_add(bench, "phase", 1, "a cycle of %.0f steps, N = %td, %d starts", in_cycle, j->n, j->starts);
    sp_status status = SP_OK;

    row->error = step;
    SP_TRY(sp_gpu_time(bench, &cycle, row));
    row = sp_row_add(bench, "phase", 1, "all %.0f steps, N = %td, %d starts", steps, j->n, j->starts);
    row->error = step;
    SP_TRY(sp_gpu_time(bench, &all, row));
    sp_row_take_rate(row, 1e-3 * steps * j->starts, "1000 steps/s");
    SP_TRY(sp_gpu_compare(bench, starts_here, j, (double)j->threads / j->starts, row, "sp_phase_start"));
done:
    return status;
}

static sp_status time_density(sp_bench *bench, job *j)
{
    const double cube = sizeof(float) * (double)j->cube;
    const sp_gpu_work recentre = {.run = run_recentre, .context = j, .bytes = 2.0 * cube};
    const sp_gpu_work autocorrelate = {.run = run_autocorrelate,
                                       .context = j,
                                       .bytes = 2.0 * cube,
                                       .operations = 2.0 * sp_floor_transform((double)j->n)};
    double error = 0.0;
    sp_status status = SP_OK;

    SP_TRY(check_density(bench->gpu.device, j, &error));
    sp_row *row = sp_row_add(bench, "phase", 1, "autocorrelation of a density, N = %td", j->n);

    row->error = error;
    SP_TRY(sp_gpu_time(bench, &autocorrelate, row));
    SP_TRY(sp_gpu_compare(bench, autocorrelate_here, j, 1.0, row, "sp_phase_autocorrelate"));
    row = sp_row_add(bench, "phase", 1, "a density moved to its centre, N = %td", j->n);
    row->error = error;
    SP_TRY(sp_gpu_time(bench, &recentre, row));
done:
    return status;
}

/* Both transforms are one and the same array, which is read once. */
static sp_status time_shells(sp_bench *bench, job *j)
{
    const sp_gpu_work work = {.run = run_shells, .context = j, .bytes = 2.0 * sizeof(float) * (double)j->half};
    double error = 0.0;
    sp_status status = SP_OK;

    SP_TRY(check_shells(bench->gpu.device, j, &error));
    sp_row *row = sp_row_add(bench, "phase", 1, "means over shells, N = %td", j->n);

    row->error = error;
    SP_TRY(sp_gpu_time(bench, &work, row));
    SP_TRY(sp_gpu_compare(bench, shells_here, j, 1.0, row, "sp_radial_cross"));
done:
    return status;
}

sp_status sp_bench_gpu_phase(sp_bench *bench)
{
    job j;
    double amplitudes = 0.0, step = 0.0;
    sp_status status = SP_OK;

    SP_TRY(job_init(bench, bench->settings.quick ? &quick : &full, &j));
    SP_TRY(check_step(bench->gpu.device, &j, &amplitudes, &step));
    SP_TRY(time_begin_and_end(bench, &j, amplitudes, step));
    SP_TRY(time_starts(bench, &j, step));
    SP_TRY(time_density(bench, &j));
    SP_TRY(time_shells(bench, &j));
done:
    job_clear(&j);
    return status;
}
