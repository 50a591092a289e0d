/* SPDX-License-Identifier: BSD-3-Clause */
/* Merging on a GPU: images weighted and spread into a pair of grids (device/solve.h, device/nufft.h), the pair solved
 * for an autocorrelation. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "bench/gpu_floor.h"
#include "bench/gpu_images.h"
#include "bench/parts.h"
#include "device/nufft.h"
#include "device/solve.h"
#include "num/nufft_layout.h"
#include "phases/merge.h"

enum {
    WIDTH = 4,
    AT_ONCE = 1 << 23, /* points that spreading sorts */
    LANES = 4,         /* pairs of the processor, as phases/merge.c has them */
    ITERATIONS = 20,   /* as the loop has them (flow/loop.h) */
    QUICK_ITERATIONS = 2,
};

static const double LAMBDA = 1e-3; /* as flow/loop.h has it */

typedef struct job {
    sp_gpu_images images;
    ptrdiff_t spread;    /* images in a call, of those on the device */
    ptrdiff_t n, padded; /* edge of the autocorrelation; twice that */
    int iterations;
    double most[2], outermost;
    sp_device_nufft *plan;
    sp_device_solver *solver;
    sp_device_weighting by; /* arrays of the device */
    float *map;             /* device, [images][3][3] into the padded grid */
    float *first, *second;  /* device, [images][pixels] */
    double *pair;           /* device */
    float *weights, *right; /* device, [padded^3], [n^3] */
    float *autocorrelation; /* device, [n^3] */
    sp_device_solution solution;
    /* the processor's */
    sp_merger *merger; /* its shape is that of the device's, too */
    sp_merger_shape shape;
    float *lane[LANES], *scratch[LANES]; /* pairs */
    int32_t *label;                      /* [simulated] lane of each image */
    float *want;                         /* [n^3] */
} job;

/* ---- what runs on the device ---- */

static sp_status run_weigh(const sp_device *device, void *context)
{
    const job *j = context;
    sp_device_counts counts = j->images.counts;

    counts.images = j->spread;
    return device->kernels->solve->weigh(device, &j->by, &counts, NULL, j->images.scale, j->first, j->second);
}

static sp_status clear_pair(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->clear(device, j->pair, (size_t)sp_nufft_pair_count(j->shape.nufft) * sizeof *j->pair);
}

static sp_status run_spread(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->nufft->spread_pair(device, j->plan, j->map, j->spread, j->images.s, j->images.pixels,
                                               j->first, j->second, j->most, j->pair);
}

static sp_status run_weigh_and_spread(const sp_device *device, void *context)
{
    sp_status status = SP_OK;

    SP_TRY(run_weigh(device, context));
    SP_TRY(run_spread(device, context));
done:
    return status;
}

static sp_status run_collect(const sp_device *device, void *context)
{
    const job *j = context;
    sp_status status = SP_OK;

    SP_TRY(device->kernels->nufft->collect(device, j->plan, j->pair, 0, j->n, j->right));
    SP_TRY(device->kernels->nufft->collect(device, j->plan, j->pair, 1, j->padded, j->weights));
done:
    return status;
}

static sp_status run_prepare(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->solve->prepare(device, j->solver, j->weights, j->right,
                                           sp_merger_sphere(&j->shape, j->outermost));
}

static sp_status clear_start(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->clear(device, j->autocorrelation, (size_t)(j->n * j->n * j->n) * sizeof(float));
}

static sp_status run_solve(const sp_device *device, void *context)
{
    job *j = context;

    return device->kernels->solve->solve(device, j->solver, &LAMBDA, SP_MERGER_TOLERANCE, j->iterations,
                                         j->autocorrelation, &j->solution);
}

/* What sp_merger_solve() does. */
static sp_status run_pair(const sp_device *device, void *context)
{
    sp_status status = SP_OK;

    SP_TRY(run_collect(device, context));
    SP_TRY(run_prepare(device, context));
    SP_TRY(clear_start(device, context));
    SP_TRY(run_solve(device, context));
done:
    return status;
}

/* ---- the same on the processor ---- */

static void spread_here(void *context)
{
    const job *j = context;
    const sp_placement placement = {.orientation = j->images.orientation};

#pragma omp parallel for schedule(dynamic, 1)
    for (int lane = 0; lane < LANES; lane++) {
        memset(j->lane[lane], 0, (size_t)sp_merger_pair_count(j->merger) * sizeof(float));
        sp_merger_spread(j->merger, &j->images.patterns, &placement,
                         (sp_selection){.label = j->label, .wanted = 1u << lane}, INFINITY, j->scratch[lane],
                         j->lane[lane]);
    }
}

static void solve_here(void *context)
{
    const job *j = context;

    sp_merger_solve(j->merger, j->lane[0], j->outermost, LAMBDA, j->iterations, j->want);
}

/* ---- memory ---- */

static void job_clear(job *j)
{
    const sp_device *device = j->images.arrays.device;

    if (device) {
        device->kernels->nufft->free_plan(device, j->plan);
        device->kernels->solve->release(device, j->solver);
    }
    sp_gpu_images_clear(&j->images);
    sp_merger_free(j->merger);
    for (int lane = 0; lane < LANES; lane++) {
        sp_array_free(j->lane[lane]);
        sp_array_free(j->scratch[lane]);
    }
    sp_array_free(j->label);
    sp_array_free(j->want);
}

static sp_status make_processor(job *j)
{
    const sp_patterns *patterns = &j->images.patterns;
    sp_status status = SP_OK;

    for (int lane = 0; lane < LANES; lane++) {
        SP_TRY(SP_ARRAY(j->lane[lane], sp_merger_pair_count(j->merger)));
        SP_TRY(SP_ARRAY(j->scratch[lane], sp_merger_scratch_count(patterns)));
    }
    SP_TRY(SP_ARRAY(j->want, j->n * j->n * j->n));
    SP_TRY(SP_ARRAY(j->label, patterns->images));
    for (ptrdiff_t i = 0; i < patterns->images; i++) {
        j->label[i] = (int32_t)(i % LANES);
    }
done:
    return status;
}

/* As phases/merge.c weights bins; and no less than the sums of all images. */
static sp_status load_weighting(job *j)
{
    const sp_gpu_images *i = &j->images;
    const sp_patterns *patterns = &i->patterns;
    float *host_ramp = NULL, *ramp = NULL, *exposure = NULL, *background = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(host_ramp, i->pixels));
    sp_merger_ramp(patterns, i->pixels, host_ramp);
    for (ptrdiff_t at = 0; at < i->images * i->pixels; at++) {
        const ptrdiff_t p = at % i->pixels, n = at / i->pixels % patterns->images;
        const double value = (double)patterns->count[n * i->pixels + p] + (double)patterns->background[p];

        j->most[0] += (double)host_ramp[p] * value;
        j->most[1] += (double)host_ramp[p] * (double)patterns->scale[n] * (double)patterns->exposure[p];
    }
    SP_TRY(SP_GPU_ARRAY(&j->images.arrays, ramp, i->pixels, host_ramp));
    SP_TRY(SP_GPU_ARRAY(&j->images.arrays, exposure, i->pixels, patterns->exposure));
    SP_TRY(SP_GPU_ARRAY(&j->images.arrays, background, i->pixels, patterns->background));
    j->by = (sp_device_weighting){.pixels = i->pixels,
                                  .ramp = ramp,
                                  .exposure = exposure,
                                  .background = background,
                                  .unit = (float)i->tables.unit};
done:
    sp_array_free(host_ramp);
    return status;
}

static sp_status load_maps(job *j)
{
    const sp_gpu_images *i = &j->images;
    float *map = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(map, 9 * i->images));
    for (ptrdiff_t n = 0; n < i->images; n++) {
        const sp_mat3 rotation = sp_quat_to_matrix(i->orientation[n % i->patterns.images]);

        sp_nufft_map(j->shape.nufft, &rotation, 2.0 * j->shape.box, (float(*)[3])(map + 9 * n));
    }
    SP_TRY(SP_GPU_ARRAY(&j->images.arrays, j->map, 9 * i->images, map));
done:
    sp_array_free(map);
    return status;
}

static sp_status make_plans(const sp_device *device, job *j)
{
    sp_gpu_arrays *arrays = &j->images.arrays;
    const ptrdiff_t cube = j->n * j->n * j->n, points = j->images.images * j->images.pixels;
    sp_status status = SP_OK;

    const sp_nufft_layout layout = sp_nufft_layout_of(j->shape.nufft);

    SP_TRY(device->kernels->nufft->new_plan(device, &layout, points < AT_ONCE ? points : AT_ONCE, &j->plan));
    SP_TRY(SP_GPU_ARRAY(arrays, j->first, points, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->second, points, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->pair, sp_nufft_pair_count(j->shape.nufft), NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->right, cube, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->weights, 8 * cube, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->autocorrelation, cube, NULL));
done:
    return status;
}

static sp_status job_init(const sp_device *device, const sp_gpu_extent *size, job *j)
{
    sp_status status = SP_OK;

    SP_TRY(sp_gpu_images_init(device, size, &j->images));
    j->n = j->images.edge;
    j->padded = 2 * j->n;
    j->spread = j->images.images;
    j->outermost = sp_merger_outermost(&j->images.patterns, INFINITY);
    SP_TRY(sp_merger_new(j->n, j->images.voxel, j->images.experiment.diameter, WIDTH, &j->merger));
    j->shape = sp_merger_shape_of(j->merger);
    SP_TRY(make_plans(device, j));
    SP_TRY(device->kernels->solve->make(device, j->n, j->shape.support, 1, 1, &j->solver));
    SP_TRY(load_weighting(j));
    SP_TRY(load_maps(j));
    SP_TRY(make_processor(j));
done:
    return status;
}

/* ---- what it must be ---- */

/* The autocorrelation of the simulated images, against that of the processor. Leaves the device with a pair of all
 * images, and a start of zeros. */
static sp_status check(const sp_device *device, job *j, double *error)
{
    const ptrdiff_t cube = j->n * j->n * j->n;
    sp_merge_lanes *lanes = NULL;
    float *got = NULL;
    double *want = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(got, cube));
    SP_TRY(SP_ARRAY(want, cube));
    SP_TRY(sp_merge_lanes_new(j->merger, &j->images.patterns, &lanes));
    sp_merger_run(j->merger, lanes, &j->images.patterns, j->images.orientation, INFINITY, LAMBDA, j->iterations,
                  j->want);
    for (ptrdiff_t i = 0; i < cube; i++) {
        want[i] = (double)j->want[i];
    }
    j->spread = j->images.patterns.images;
    SP_TRY(clear_pair(device, j));
    SP_TRY(run_weigh_and_spread(device, j));
    SP_TRY(run_pair(device, j));
    SP_TRY(device->kernels->download(device, j->autocorrelation, (size_t)cube * sizeof *got, got));
    *error = sp_bench_error(got, want, cube);
    SP_TRY(sp_bench_check("merging on the GPU", *error, 1e-3));
done:
    j->spread = j->images.images;
    sp_merge_lanes_free(lanes);
    sp_array_free(got);
    sp_array_free(want);
    return status;
}

/* ---- rows ---- */

static double points_of(const job *j)
{
    return (double)(j->spread * j->images.pixels);
}

static double cube_of(const job *j)
{
    return pow((double)j->n, 3.0);
}

/* Counts are read; what is spread goes from one kernel to the other through memory, once written, once read. */
static sp_status time_spreading(sp_bench *bench, job *j, double error)
{
    const double points = points_of(j), stencil = sp_floor_stencil(WIDTH);
    const double turning = sp_floor_point(WIDTH, sp_nufft_flat_stencil(j->shape.nufft).degree, 1);
    const double pair = 8.0 * (double)sp_nufft_pair_count(j->shape.nufft);
    sp_gpu_work work = {.run = run_weigh, .context = j, .bytes = 3.0 * sizeof(float) * points};
    sp_row *row = sp_row_add(bench, "merge", 1, "weigh, %td images", j->spread);
    sp_status status = SP_OK;

    row->error = error;
    SP_TRY(sp_gpu_time(bench, &work, row));
    work = (sp_gpu_work){.run = run_weigh_and_spread,
                         .before = clear_pair,
                         .context = j,
                         .bytes = 5.0 * sizeof(float) * points + 2.0 * pair,
                         .operations = points * (turning + 2.0 * stencil)};
    row = sp_row_add(bench, "merge", 1, "weigh and spread, %td images, N %td", j->spread, j->padded);
    row->error = error;
    SP_TRY(sp_gpu_time(bench, &work, row));
    sp_row_take_rate(row, 1e-9 * points, "Gpoints/s");
    SP_TRY(sp_gpu_compare(bench, spread_here, j, (double)j->images.patterns.images / (double)j->spread, row,
                          "sp_merger_spread"));
done:
    return status;
}

/* An iteration reads the direction in its padded cube (32 bytes for each voxel of the small one), writes what comes of
 * it (32), reads the kernel (16), and reads and writes solution, residual and direction (24). */
static double iteration_bytes(const job *j)
{
    return 104.0 * cube_of(j);
}

static double iteration_operations(const job *j)
{
    return 2.0 * sp_floor_transform((double)j->padded);
}

/* The pair is read, both volumes written and read again by the solver, the kernel written. */
static sp_status time_system(sp_bench *bench, job *j, double error)
{
    const double pair = 8.0 * (double)sp_nufft_pair_count(j->shape.nufft), volumes = 4.0 * 9.0 * cube_of(j);
    const double fine = (double)sp_nufft_layout_of(j->shape.nufft).fine;
    const sp_gpu_work collect = {
        .run = run_collect, .context = j, .bytes = pair + volumes, .operations = 2.0 * sp_floor_transform(fine)};
    const sp_gpu_work prepare = {.run = run_prepare,
                                 .context = j,
                                 .bytes = volumes + 20.0 * cube_of(j),
                                 .operations = sp_floor_transform((double)j->padded)};
    sp_row *row = sp_row_add(bench, "merge", 1, "both volumes of the pair, N %td", j->padded);
    sp_status status = SP_OK;

    row->error = error;
    SP_TRY(sp_gpu_time(bench, &collect, row));
    row = sp_row_add(bench, "merge", 1, "the system, N = %td in %td", j->n, j->padded);
    row->error = error;
    SP_TRY(sp_gpu_time(bench, &prepare, row));
done:
    return status;
}

static sp_status time_solver(sp_bench *bench, job *j, double error)
{
    const double pair = 8.0 * (double)sp_nufft_pair_count(j->shape.nufft);
    const sp_gpu_work solve = {.run = run_solve,
                               .before = clear_start,
                               .context = j,
                               .bytes = j->iterations * iteration_bytes(j),
                               .operations = j->iterations * iteration_operations(j)};
    sp_gpu_work all = solve;
    sp_row *row = sp_row_add(bench, "merge", 1, "conjugate gradients, %d iterations, N = %td", j->iterations, j->n);
    sp_status status = SP_OK;

    row->error = error;
    SP_TRY(sp_gpu_time(bench, &solve, row));
    snprintf(row->note, sizeof row->note, "%d iterations, residual %.1e", j->solution.iterations, j->solution.residual);
    all.run = run_pair;
    all.before = NULL;
    all.bytes += pair;
    row = sp_row_add(bench, "merge", 1, "pair to autocorrelation, all of it, N = %td", j->n);
    row->error = error;
    SP_TRY(sp_gpu_time(bench, &all, row));
    SP_TRY(sp_gpu_compare(bench, solve_here, j, 1.0, row, "sp_merger_solve"));
done:
    return status;
}

sp_status sp_bench_gpu_merge(sp_bench *bench)
{
    const sp_device *device = bench->gpu.device;
    const sp_gpu_extent size = sp_gpu_images_extent(bench);
    job j = {.iterations = bench->settings.quick ? QUICK_ITERATIONS : ITERATIONS};
    double error = 0.0;
    sp_status status = SP_OK;

    SP_TRY(job_init(device, &size, &j));
    SP_TRY(check(device, &j, &error));
    SP_TRY(time_spreading(bench, &j, error));
    SP_TRY(time_system(bench, &j, error));
    SP_TRY(time_solver(bench, &j, error));
done:
    job_clear(&j);
    return status;
}
