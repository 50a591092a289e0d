/* SPDX-License-Identifier: BSD-3-Clause */
/* Type 2 and type 1 on a GPU (device/nufft.h), on the points of bench/nufft.c, of more patterns. */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "bench/gpu.h"
#include "bench/gpu_cufinufft.h"
#include "bench/gpu_floor.h"
#include "bench/nufft_problem.h"
#include "bench/parts.h"
#include "device/nufft.h"
#include "num/nufft.h"
#include "num/nufft_layout.h"

enum {
    EDGE = SP_PROBLEM_EDGE,
    PIXELS = SP_SLICE_PIXELS,
    SLICES = 2500,
    QUICK_SLICES = SP_PROBLEM_CHECKED,
    PROCESSOR_SLICES = 128, /* of them, that the processor is timed on */
    AT_ONCE = 1 << 23,      /* points that spreading sorts */
};

/* Oversampling, as slicing and merging have it (phases/slice.c, phases/merge.c). */
static const double TYPE2_SIGMA = 1.5, TYPE1_SIGMA = 1.25;

/* One plan of the device and one of the processor, of the same width and oversampling. */
typedef struct job {
    sp_problem *problem;
    int width;
    sp_nufft *plain;                                                     /* whose layout the device has */
    sp_nufft *tuned;                                                     /* of the processor's own inner loops */
    float *host_grid, *host_pair, *host_volume, *host_value, *host_turn; /* of the processor */
    double most[2];
    ptrdiff_t slices;    /* in a call */
    double error, local; /* of the values, or of the volumes */
    sp_gpu_arrays arrays;
    sp_device_nufft *plan;
    sp_nufft_stencil stencil;
    float *volume, *grid, *map, *s, *first, *second; /* device */
    float *value, *turn;                             /* device, type 2 */
    double *pair;                                    /* device, type 1 */
} job;

/* ---- what runs on the device ---- */

static sp_status run_prepare(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->nufft->prepare(device, j->plan, j->volume, j->grid);
}

static sp_status run_interpolate(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->nufft->interpolate(device, &j->stencil, j->grid, j->map, j->slices, j->s, PIXELS, false,
                                               j->value);
}

static sp_status run_turns(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->nufft->interpolate_turns(device, &j->stencil, j->grid, j->map, j->slices, j->s, PIXELS,
                                                     j->value, j->turn);
}

static sp_status clear_pair(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->clear(device, j->pair, 2 * (size_t)sp_nufft_grid_count(j->plain) * sizeof *j->pair);
}

static sp_status run_spread(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->nufft->spread_pair(device, j->plan, j->map, j->slices, j->s, PIXELS, j->first, j->second,
                                               j->most, j->pair);
}

static sp_status run_collect(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->nufft->collect(device, j->plan, j->pair, 0, EDGE, j->volume);
}

/* Whole transforms: of a new model; into both volumes. */
static sp_status run_type_2(const sp_device *device, void *context)
{
    sp_status status = SP_OK;

    SP_TRY(run_prepare(device, context));
    SP_TRY(run_interpolate(device, context));
done:
    return status;
}

static sp_status run_type_1(const sp_device *device, void *context)
{
    const job *j = context;
    sp_status status = SP_OK;

    SP_TRY(run_spread(device, context));
    for (int which = 0; which < 2; which++) {
        SP_TRY(device->kernels->nufft->collect(device, j->plan, j->pair, which, EDGE, j->volume));
    }
done:
    return status;
}

/* ---- the same on the processor ---- */

static void prepare_here(void *context)
{
    const job *j = context;

    sp_nufft_prepare(j->tuned, j->problem->volume, j->host_grid);
}

static ptrdiff_t slices_here(const job *j)
{
    return j->problem->slices.count < PROCESSOR_SLICES ? j->problem->slices.count : PROCESSOR_SLICES;
}

static void interpolate_here(void *context)
{
    const job *j = context;
    const sp_slices *slices = &j->problem->slices;

#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < slices_here(j); i++) {
        sp_nufft_interpolate(j->tuned, j->host_grid, &slices->rotation[i], 1.0, (const float *const *)slices->s, PIXELS,
                             j->host_value + i * PIXELS);
    }
}

static void turn_here(void *context)
{
    const job *j = context;
    const sp_slices *slices = &j->problem->slices;

#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < slices_here(j); i++) {
        float *turn = j->host_turn + 3 * i * PIXELS;

        sp_nufft_interpolate_turns(j->tuned, j->host_grid, &slices->rotation[i], 1.0, (const float *const *)slices->s,
                                   PIXELS, j->host_value + i * PIXELS,
                                   (float *const[3]){turn, turn + PIXELS, turn + 2 * PIXELS});
    }
}

/* Into two pairs, as two threads do it (phases/merge.c has four). */
static void spread_here(void *context)
{
    enum { PAIRS = 2 };
    const job *j = context;
    const sp_slices *slices = &j->problem->slices;
    const ptrdiff_t count = sp_nufft_pair_count(j->tuned);

#pragma omp parallel for schedule(static, 1)
    for (int lane = 0; lane < PAIRS; lane++) {
        float *pair = j->host_pair + lane * count;

        memset(pair, 0, (size_t)count * sizeof *pair);
        for (ptrdiff_t i = lane; i < slices_here(j); i += PAIRS) {
            sp_nufft_spread_pair(j->tuned, &slices->rotation[i], 1.0, (const float *const *)slices->s, PIXELS,
                                 j->problem->value + i * PIXELS, j->problem->weight + i * PIXELS, pair);
        }
    }
}

static void collect_here(void *context)
{
    const job *j = context;

    sp_nufft_collect(j->tuned, j->host_pair, 0, EDGE, j->host_volume);
}

/* ---- memory ---- */

static void job_clear(job *j)
{
    if (j->plan) {
        j->arrays.device->kernels->nufft->free_plan(j->arrays.device, j->plan);
    }
    sp_gpu_arrays_release(&j->arrays);
    sp_nufft_free(j->plain);
    sp_nufft_free(j->tuned);
    sp_array_free(j->host_grid);
    sp_array_free(j->host_pair);
    sp_array_free(j->host_volume);
    sp_array_free(j->host_value);
    sp_array_free(j->host_turn);
}

static sp_status make_plans(job *j, double sigma)
{
    sp_status status = SP_OK;

    SP_TRY(sp_nufft_new_with(EDGE, j->width, sigma, &sp_nufft_ref, 0, &j->plain));
    SP_TRY(sp_nufft_new(EDGE, j->width, sigma, &j->tuned));
    const sp_nufft_layout layout = sp_nufft_layout_of(j->plain);

    j->stencil = layout.stencil;
    SP_TRY(j->arrays.device->kernels->nufft->new_plan(j->arrays.device, &layout, AT_ONCE, &j->plan));
done:
    return status;
}

/* Volume, maps and pixels. */
static sp_status load_common(job *j)
{
    const sp_slices *slices = &j->problem->slices;
    float *map = NULL, *s = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(map, 9 * slices->count));
    SP_TRY(SP_ARRAY(s, 3 * PIXELS));
    for (ptrdiff_t i = 0; i < slices->count; i++) {
        sp_nufft_map(j->plain, &slices->rotation[i], 1.0, (float(*)[3])(map + 9 * i));
    }
    for (int i = 0; i < 3; i++) {
        memcpy(s + i * PIXELS, slices->s[i], PIXELS * sizeof *s);
    }
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->map, 9 * slices->count, map));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->s, 3 * PIXELS, s));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->volume, EDGE * EDGE * EDGE, j->problem->volume));
done:
    sp_array_free(map);
    sp_array_free(s);
    return status;
}

static sp_status type_2_init(job *j)
{
    const ptrdiff_t points = j->problem->slices.count * PIXELS;
    sp_status status = SP_OK;

    SP_TRY(make_plans(j, TYPE2_SIGMA));
    SP_TRY(load_common(j));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->grid, sp_nufft_grid_count(j->plain), NULL));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->value, points, NULL));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->turn, 3 * points, NULL));
    SP_TRY(SP_ARRAY(j->host_grid, sp_nufft_grid_count(j->tuned)));
    SP_TRY(SP_ARRAY(j->host_value, PROCESSOR_SLICES * PIXELS));
    SP_TRY(SP_ARRAY(j->host_turn, 3 * PROCESSOR_SLICES * PIXELS));
done:
    return status;
}

static sp_status type_1_init(job *j)
{
    const sp_problem *p = j->problem;
    const ptrdiff_t points = p->slices.count * PIXELS;
    sp_status status = SP_OK;

    SP_TRY(make_plans(j, TYPE1_SIGMA));
    SP_TRY(load_common(j));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->first, points, p->value));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->second, points, p->weight));
    SP_TRY(SP_GPU_ARRAY(&j->arrays, j->pair, 2 * sp_nufft_grid_count(j->plain), NULL));
    SP_TRY(SP_ARRAY(j->host_pair, 2 * sp_nufft_pair_count(j->tuned)));
    SP_TRY(SP_ARRAY(j->host_volume, EDGE * EDGE * EDGE));
    for (ptrdiff_t i = 0; i < points; i++) {
        j->most[0] += fabs((double)p->value[i]);
        j->most[1] += (double)p->weight[i];
    }
done:
    return status;
}

/* ---- what it must be ---- */

static double limit_of(const job *j)
{
    return j->width == 4 ? 3e-3 : 1e-4; /* several times what is stated in num/nufft.h */
}

/* Grid and values, against sums in double precision. */
static sp_status check_values(const sp_device *device, job *j)
{
    sp_status status = SP_OK;

    SP_TRY(run_prepare(device, j));
    SP_TRY(run_interpolate(device, j));
    SP_TRY(device->kernels->download(device, j->value, (size_t)SP_PROBLEM_CHECKED * PIXELS * sizeof(float),
                                     j->problem->value));
    j->error = sp_problem_error2(j->problem, false, &j->local);
    SP_TRY(sp_bench_check("type 2 on the GPU", j->error, limit_of(j)));
done:
    return status;
}

/* The turns of the first slice, against those of the processor: the same sums. */
static sp_status check_turns(const sp_device *device, job *j, double *error)
{
    const ptrdiff_t slices = j->slices;
    const size_t bytes = PIXELS * sizeof(float);
    double *want = NULL, worst = 0.0;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(want, PIXELS));
    prepare_here(j);
    turn_here(j);
    j->slices = 1;
    SP_TRY(run_turns(device, j));
    for (int axis = 0; axis < 3; axis++) {
        SP_TRY(device->kernels->download(device, j->turn + axis * PIXELS, bytes, j->problem->value));
        for (ptrdiff_t i = 0; i < PIXELS; i++) {
            want[i] = (double)j->host_turn[axis * PIXELS + i];
        }
        worst = fmax(worst, sp_bench_error(j->problem->value, want, PIXELS));
    }
    *error = worst;
    SP_TRY(sp_bench_check("turns on the GPU", worst, 1e-4));
done:
    j->slices = slices;
    sp_array_free(want);
    return status;
}

/* The first slices, spread and collected, against sums in double precision. */
static sp_status check_volumes(const sp_device *device, job *j)
{
    const ptrdiff_t slices = j->slices;
    float *volume = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(volume, EDGE * EDGE * EDGE));
    j->slices = SP_PROBLEM_SPREAD;
    SP_TRY(clear_pair(device, j));
    SP_TRY(run_spread(device, j));
    j->error = 0.0;
    j->local = NAN;
    for (int which = 0; which < 2; which++) {
        SP_TRY(device->kernels->nufft->collect(device, j->plan, j->pair, which, EDGE, j->volume));
        SP_TRY(device->kernels->download(device, j->volume, EDGE * EDGE * EDGE * sizeof(float), volume));
        j->error = fmax(j->error, sp_problem_error1(j->problem, volume, which));
    }
    SP_TRY(sp_bench_check("type 1 on the GPU", j->error, limit_of(j)));
done:
    j->slices = slices;
    sp_array_free(volume);
    return status;
}

/* ---- floors ---- */

static double point_operations(const job *j, int polynomials)
{
    return sp_floor_point(j->width, j->stencil.degree, polynomials);
}

static double fine_edge(const job *j)
{
    return (double)sp_nufft_layout_of(j->plain).fine;
}

static double points_of(const job *j)
{
    return (double)(j->slices * PIXELS);
}

static double grid_bytes(const job *j)
{
    return sizeof(float) * (double)sp_nufft_grid_count(j->plain);
}

/* ---- rows ---- */

static const double VOLUME_BYTES = (double)EDGE * EDGE * EDGE * sizeof(float);

static void take_error(const job *j, sp_row *row)
{
    row->error = j->error;
    row->local = j->local;
}

static sp_status time_prepare(sp_bench *bench, job *j)
{
    sp_row *row = sp_row_add(bench, "nufft", 1, "type 2, N %d, w %d: transform and layout", EDGE, j->width);
    const sp_gpu_work work = {.run = run_prepare,
                              .context = j,
                              .bytes = VOLUME_BYTES + grid_bytes(j),
                              .operations = sp_floor_transform(fine_edge(j))};
    sp_status status = SP_OK;

    take_error(j, row);
    SP_TRY(sp_gpu_time(bench, &work, row));
    SP_TRY(sp_gpu_compare(bench, prepare_here, j, 1.0, row, "sp_nufft_prepare"));
done:
    return status;
}

static double share_here(const job *j)
{
    return (double)slices_here(j) / (double)j->slices;
}

static sp_status time_interpolate(sp_bench *bench, job *j)
{
    sp_row *row =
        sp_row_add(bench, "nufft", 1, "type 2, N %d, w %d: interpolation, %td slices", EDGE, j->width, j->slices);
    const sp_gpu_work work = {.run = run_interpolate,
                              .context = j,
                              .bytes = grid_bytes(j) + sizeof(float) * points_of(j),
                              .operations = points_of(j) * (point_operations(j, 1) + sp_floor_stencil(j->width))};
    sp_status status = SP_OK;

    take_error(j, row);
    SP_TRY(sp_gpu_time(bench, &work, row));
    sp_row_take_rate(row, 1e-9 * points_of(j), "Gpoints/s");
    SP_TRY(sp_gpu_compare(bench, interpolate_here, j, share_here(j), row, "sp_nufft_interpolate"));
done:
    return status;
}

static sp_status time_turns(sp_bench *bench, job *j)
{
    sp_row *row =
        sp_row_add(bench, "nufft", 1, "type 2, N %d, w %d: values and turns, %td slices", EDGE, j->width, j->slices);
    const sp_gpu_work work = {.run = run_turns,
                              .context = j,
                              .bytes = grid_bytes(j) + 4.0 * sizeof(float) * points_of(j),
                              .operations = points_of(j) * (point_operations(j, 2) + sp_floor_turns(j->width))};
    sp_status status = SP_OK;

    SP_TRY(check_turns(bench->gpu.device, j, &row->error));
    SP_TRY(sp_gpu_time(bench, &work, row));
    sp_row_take_rate(row, 1e-9 * points_of(j), "Gpoints/s");
    SP_TRY(sp_gpu_compare(bench, turn_here, j, share_here(j), row, "sp_nufft_interpolate_turns"));
done:
    return status;
}

/* Two values for each point are read; the pair is read and written, 16 bytes a cell. */
static sp_status time_spread(sp_bench *bench, job *j)
{
    sp_row *row = sp_row_add(bench, "nufft", 1, "type 1, N %d, w %d: spreading, %td slices", EDGE, j->width, j->slices);
    const sp_gpu_work work = {.run = run_spread,
                              .before = clear_pair,
                              .context = j,
                              .bytes = 8.0 * grid_bytes(j) + 2.0 * sizeof(float) * points_of(j),
                              .operations = points_of(j) * (point_operations(j, 1) + 2.0 * sp_floor_stencil(j->width))};
    sp_status status = SP_OK;

    take_error(j, row);
    SP_TRY(sp_gpu_time(bench, &work, row));
    sp_row_take_rate(row, 1e-9 * points_of(j), "Gpoints/s");
    SP_TRY(sp_gpu_compare(bench, spread_here, j, share_here(j), row, "sp_nufft_spread_pair"));
done:
    return status;
}

static sp_status time_collect(sp_bench *bench, job *j)
{
    sp_row *row = sp_row_add(bench, "nufft", 1, "type 1, N %d, w %d: one volume of the pair", EDGE, j->width);
    const sp_gpu_work work = {.run = run_collect,
                              .context = j,
                              .bytes = 4.0 * grid_bytes(j) + VOLUME_BYTES,
                              .operations = sp_floor_transform(fine_edge(j))};
    sp_status status = SP_OK;

    take_error(j, row);
    SP_TRY(sp_gpu_time(bench, &work, row));
    SP_TRY(sp_gpu_compare(bench, collect_here, j, 1.0, row, "sp_nufft_collect"));
done:
    return status;
}

/* What cuFINUFFT is to come to, for errors like ours. */
static double tolerance_of(const job *j)
{
    return j->width == 4 ? 1e-3 : 1e-5;
}

/* Grids and pairs need not leave the chip. */
static sp_status time_whole(sp_bench *bench, job *j, int type)
{
    const double points = points_of(j), stencil = sp_floor_stencil(j->width),
                 transform = sp_floor_transform(fine_edge(j));
    const sp_gpu_work whole[] = {
        {.run = run_type_1,
         .before = clear_pair,
         .context = j,
         .bytes = 2.0 * VOLUME_BYTES + 2.0 * sizeof(float) * points,
         .operations = 2.0 * transform + points * (point_operations(j, 1) + 2.0 * stencil)},
        {.run = run_type_2,
         .context = j,
         .bytes = VOLUME_BYTES + sizeof(float) * points,
         .operations = transform + points * (point_operations(j, 1) + stencil)},
    };
    sp_row *row =
        sp_row_add(bench, "nufft", 1, "type %d, N %d, w %d: all of it, %td slices", type, EDGE, j->width, j->slices);
    sp_status status = SP_OK;

    take_error(j, row);
    SP_TRY(sp_gpu_time(bench, &whole[type - 1], row));
    sp_row_take_rate(row, 1e-9 * points, "Gpoints/s");
    SP_TRY(sp_gpu_compare_cufinufft(bench, j->problem, type, tolerance_of(j), row));
done:
    return status;
}

static sp_status time_type(sp_bench *bench, sp_problem *problem, int type, int width)
{
    job j = {
        .problem = problem, .width = width, .slices = problem->slices.count, .arrays = {.device = bench->gpu.device}};
    sp_status status = SP_OK;

    if (type == 2) {
        SP_TRY(type_2_init(&j));
        SP_TRY(check_values(bench->gpu.device, &j));
        SP_TRY(time_prepare(bench, &j));
        SP_TRY(time_interpolate(bench, &j));
        SP_TRY(time_turns(bench, &j));
        SP_TRY(time_whole(bench, &j, 2));
    } else {
        SP_TRY(type_1_init(&j));
        SP_TRY(check_volumes(bench->gpu.device, &j));
        SP_TRY(time_spread(bench, &j));
        SP_TRY(time_collect(bench, &j));
        SP_TRY(time_whole(bench, &j, 1));
    }
done:
    job_clear(&j);
    return status;
}

/* Intensities that the GPU has just made become data. */
static sp_status prepare_type_1(sp_bench *bench, sp_problem *problem, int width)
{
    const sp_device *device = bench->gpu.device;
    job j = {.problem = problem, .width = width, .slices = problem->slices.count, .arrays = {.device = device}};
    sp_status status = SP_OK;

    SP_TRY(type_2_init(&j));
    SP_TRY(run_prepare(device, &j));
    SP_TRY(run_interpolate(device, &j));
    SP_TRY(device->kernels->download(device, j.value, (size_t)(j.slices * PIXELS) * sizeof(float), problem->value));
    sp_problem_load_type1(problem);
done:
    job_clear(&j);
    return status;
}

sp_status sp_bench_gpu_nufft(sp_bench *bench)
{
    const bool quick = bench->settings.quick;
    const int widest = quick ? 4 : 6;
    sp_problem problem = {0};
    sp_status status = SP_OK;

    SP_TRY(sp_problem_init(quick ? QUICK_SLICES : SLICES, &problem));
    for (int width = 4; width <= widest; width += 2) {
        SP_TRY(time_type(bench, &problem, 2, width));
    }
    SP_TRY(prepare_type_1(bench, &problem, widest));
    for (int width = 4; width <= widest; width += 2) {
        SP_TRY(time_type(bench, &problem, 1, width));
    }
done:
    sp_problem_clear(&problem);
    return status;
}
