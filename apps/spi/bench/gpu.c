/* SPDX-License-Identifier: BSD-3-Clause */
/* The phases on a GPU (device/device.h), timed there. Without one, or without the plugin, nothing is. */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "bench/nufft_problem.h"
#include "bench/parts.h"
#include "device/device.h"
#include "device/nufft.h"
#include "num/nufft_layout.h"

enum {
    EDGE = SP_PROBLEM_EDGE,
    SLICES = 1220, /* 2.0e7 points */
    QUICK_SLICES = SP_PROBLEM_CHECKED,
};

static const double SIGMA = 1.5; /* as slicing has it (phases/slice.c) */

/* Type 2 on the device. */
typedef struct type_2 {
    sp_problem problem;
    sp_nufft *plan;
    sp_nufft_stencil stencil;
    float *host_grid, *host_map;
    float *grid, *map, *s, *value; /* device */
} type_2;

static void type_2_clear(const sp_device *device, type_2 *self)
{
    device->kernels->release(device, self->value);
    device->kernels->release(device, self->s);
    device->kernels->release(device, self->map);
    device->kernels->release(device, self->grid);
    sp_array_free(self->host_map);
    sp_array_free(self->host_grid);
    sp_nufft_free(self->plan);
    sp_problem_clear(&self->problem);
}

/* Grid and maps, made here, to the device. */
static sp_status type_2_load(const sp_device *device, type_2 *self)
{
    const sp_device_kernels *k = device->kernels;
    const sp_slices *slices = &self->problem.slices;
    const size_t line = SP_SLICE_PIXELS * sizeof(float);
    sp_status status = SP_OK;

    sp_nufft_prepare(self->plan, self->problem.volume, self->host_grid);
    for (ptrdiff_t i = 0; i < slices->count; i++) {
        sp_nufft_map(self->plan, &slices->rotation[i], 1.0, (float(*)[3])(self->host_map + 9 * i));
    }
    SP_TRY(k->upload(device, self->host_grid, (size_t)sp_nufft_grid_count(self->plan) * sizeof(float), self->grid));
    SP_TRY(k->upload(device, self->host_map, (size_t)slices->count * 9 * sizeof(float), self->map));
    for (int i = 0; i < 3; i++) {
        SP_TRY(k->upload(device, slices->s[i], line, self->s + i * SP_SLICE_PIXELS));
    }
done:
    return status;
}

static sp_status type_2_init(const sp_device *device, ptrdiff_t slices, int width, type_2 *self)
{
    sp_status status = SP_OK;

    SP_TRY(sp_problem_init(slices, &self->problem));
    SP_TRY(sp_nufft_new_with(EDGE, width, SIGMA, &sp_nufft_ref, SP_NUFFT_MOST_REPLICATED, &self->plan));
    self->stencil = sp_nufft_flat_stencil(self->plan);
    SP_TRY(SP_ARRAY(self->host_grid, sp_nufft_grid_count(self->plan)));
    SP_TRY(SP_ARRAY(self->host_map, 9 * slices));
    SP_TRY(SP_DEVICE_ARRAY(device, self->grid, sp_nufft_grid_count(self->plan)));
    SP_TRY(SP_DEVICE_ARRAY(device, self->map, 9 * slices));
    SP_TRY(SP_DEVICE_ARRAY(device, self->s, 3 * SP_SLICE_PIXELS));
    SP_TRY(SP_DEVICE_ARRAY(device, self->value, slices * SP_SLICE_PIXELS));
    SP_TRY(type_2_load(device, self));
done:
    return status;
}

static sp_status run_type_2(const sp_device *device, const type_2 *self)
{
    return device->kernels->nufft->interpolate(device, &self->stencil, self->grid, self->map,
                                               self->problem.slices.count, self->s, SP_SLICE_PIXELS, false,
                                               self->value);
}

/* Once for the truth, which also loads the kernel. */
static sp_status check_type_2(const sp_device *device, const type_2 *self, int width, sp_row *row)
{
    const size_t bytes = (size_t)SP_PROBLEM_CHECKED * SP_SLICE_PIXELS * sizeof(float);
    sp_status status = SP_OK;

    SP_TRY(run_type_2(device, self));
    SP_TRY(device->kernels->download(device, self->value, bytes, self->problem.value));
    row->error = sp_problem_error2(&self->problem, false, &row->local);
    SP_TRY(sp_bench_check("type 2 on the GPU", row->error, width == 4 ? 3e-3 : 1e-4));
done:
    return status;
}

static sp_status time_type_2(sp_bench *bench, const sp_device *device, int width)
{
    const ptrdiff_t slices = bench->settings.quick ? QUICK_SLICES : SLICES;
    double seconds[SP_RACE_ROUNDS];
    type_2 job = {.plan = NULL};
    sp_status status = SP_OK;

    SP_TRY(type_2_init(device, slices, width, &job));
    sp_row *row = sp_row_add(bench, "gpu", 1, "type 2, width %d, %td slices, %.40s", width, slices, device->facts.name);

    row->kernels = "cuda";
    SP_TRY(check_type_2(device, &job, width, row));
    for (int round = 0; round < bench->rules.rounds; round++) {
        SP_TRY(device->kernels->start_timer(device));
        SP_TRY(run_type_2(device, &job));
        SP_TRY(device->kernels->stop_timer(device, &seconds[round]));
        sp_progress_add(bench->progress, 1);
    }
    row->seconds = sp_quartiles_of(seconds, bench->rules.rounds);
    sp_row_take_rate(row, 1e-9 * (double)(slices * SP_SLICE_PIXELS), "Gpoints/s");
done:
    type_2_clear(device, &job);
    return status;
}

sp_status sp_bench_gpu(sp_bench *bench)
{
    sp_device *device = NULL;
    sp_status status = sp_device_open(NULL, 0, &device);

    if (status == SP_ERR_USAGE) {
        sp_log_warning(bench->log, "%s", sp_error_text());
        snprintf(sp_row_add(bench, "gpu", 1, "left out")->note, SP_ROW_TEXT, "no GPU, or no plugin for it");
        return SP_OK;
    }
    SP_TRY(status);
    SP_TRY(time_type_2(bench, device, 4));
    SP_TRY(time_type_2(bench, device, 6));
done:
    sp_device_close(device);
    return status;
}
