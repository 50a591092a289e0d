/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/gpu_cufinufft.h"

#include <math.h>

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "bench/peers.h"

enum { EDGE = SP_PROBLEM_EDGE, VOXELS = EDGE * EDGE * EDGE };

typedef struct rival {
    sp_problem *problem;
    sp_cufinufft *cufinufft;
    int type;
    ptrdiff_t slices; /* in a call */
    sp_gpu_arrays arrays;
    float *angle[3];         /* device, [slices][pixels] */
    float complex *value[2]; /* device, likewise */
    float complex *modes;    /* device, [EDGE^3] */
} rival;

/* Points anew for every set of orientations, then the transforms. */
static void run(const rival *r)
{
    sp_cufinufft_points(r->cufinufft, r->slices * SP_SLICE_PIXELS, (const float *const *)r->angle);
    for (int call = 0; call < (r->type == 1 ? 2 : 1); call++) {
        sp_cufinufft_run(r->cufinufft, r->value[call], r->modes);
    }
    sp_cufinufft_wait(r->cufinufft);
}

/* From the order of the FFT to the rising one on each axis, which for an even edge is the way back, too. */
static sp_status reorder(float complex *modes)
{
    float complex *other = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(other, VOXELS));
    for (ptrdiff_t i = 0; i < VOXELS; i++) {
        const ptrdiff_t at[3] = {i / (EDGE * EDGE), i / EDGE % EDGE, i % EDGE};
        ptrdiff_t place = 0;

        for (int axis = 0; axis < 3; axis++) {
            place = place * EDGE + (at[axis] + EDGE / 2) % EDGE;
        }
        other[place] = modes[i];
    }
    for (ptrdiff_t i = 0; i < VOXELS; i++) {
        modes[i] = other[i];
    }
done:
    sp_array_free(other);
    return status;
}

/* Type 2 transforms the problem's volume, type 1 its data and weights. */
static sp_status load(rival *r)
{
    sp_problem *p = r->problem;
    const ptrdiff_t points = p->slices.count * SP_SLICE_PIXELS;
    sp_status status = SP_OK;

    for (ptrdiff_t i = 0; i < VOXELS; i++) {
        p->modes[i] = p->volume[i];
    }
    if (r->type == 1) {
        sp_problem_load_rival(p, true);
    }
    SP_TRY(reorder(p->modes));
    for (int axis = 0; axis < 3; axis++) {
        SP_TRY(SP_GPU_ARRAY(&r->arrays, r->angle[axis], points, p->angle[axis]));
    }
    for (int call = 0; call < 2; call++) {
        SP_TRY(SP_GPU_ARRAY(&r->arrays, r->value[call], points, p->half[call]));
    }
    SP_TRY(SP_GPU_ARRAY(&r->arrays, r->modes, VOXELS, p->modes));
done:
    return status;
}

/* The first slices, against sums in double precision. */
static sp_status check(const sp_device *device, rival *r, sp_row_ratio *ratio)
{
    sp_problem *p = r->problem;
    const size_t values = (size_t)SP_PROBLEM_CHECKED * SP_SLICE_PIXELS * sizeof **p->half;
    sp_status status = SP_OK;

    r->slices = r->type == 2 ? SP_PROBLEM_CHECKED : SP_PROBLEM_SPREAD;
    run(r);
    SP_REQUIRE(!sp_cufinufft_failed(r->cufinufft), SP_ERR_NUMERIC, "cuFINUFFT fails");
    if (r->type == 2) {
        SP_TRY(device->kernels->download(device, r->value[0], values, p->half[0]));
        ratio->error = sp_problem_error2(p, true, &ratio->local);
    } else {
        SP_TRY(device->kernels->download(device, r->modes, VOXELS * sizeof *p->modes, p->modes));
        SP_TRY(reorder(p->modes));
        ratio->error = sp_problem_error1_rival(p, true);
    }
    r->slices = p->slices.count;
    SP_TRY(sp_bench_check("cuFINUFFT", ratio->error, 0.01));
done:
    return status;
}

/* The race between it and the row. */
static sp_status time_rival(const sp_bench *bench, const rival *r, const sp_row *row, sp_race *race)
{
    sp_status status = SP_OK;

    *race = (sp_race){.rounds = bench->rules.rounds, .contenders = 2};
    run(r);
    for (int i = 0; i < race->rounds; i++) {
        SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "interrupted");
        const double start = sp_clock_wall();

        run(r);
        race->seconds[i][0] = sp_clock_wall() - start;
        race->seconds[i][1] = row->seconds.median;
    }
    SP_REQUIRE(!sp_cufinufft_failed(r->cufinufft), SP_ERR_NUMERIC, "cuFINUFFT fails");
done:
    return status;
}

sp_status sp_gpu_compare_cufinufft(sp_bench *bench, sp_problem *problem, int type, double tolerance, sp_row *row)
{
    rival r = {.problem = problem, .type = type, .arrays = {.device = bench->gpu.device}};
    sp_row_ratio outcome = {.error = NAN, .local = NAN};
    sp_race race;
    sp_status status = SP_OK;

    SP_TRY(sp_cufinufft_new(type, EDGE, tolerance, &r.cufinufft));
    if (!r.cufinufft) {
        sp_row_not_installed(row, "cuFINUFFT (SPICA_CUFINUFFT)");
        return SP_OK;
    }
    SP_TRY(load(&r));
    SP_TRY(check(bench->gpu.device, &r, &outcome));
    SP_TRY(time_rival(bench, &r, row, &race));
    sp_row_ratio *ratio =
        sp_row_compare(row, &race, 0, 1, "cuFINUFFT f32, tolerance %.0e%s", tolerance, type == 1 ? ", two calls" : "");

    ratio->error = outcome.error;
    ratio->local = outcome.local;
done:
    sp_cufinufft_free(r.cufinufft);
    sp_gpu_arrays_release(&r.arrays);
    return status;
}
