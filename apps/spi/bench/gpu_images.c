/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/gpu_images.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "device/nufft.h"
#include "num/nufft_layout.h"

enum { WIDTH = 4 };

static const double SIGMA = 1.5; /* as phases/slice.c has it */

static const sp_gpu_extent full = {
    .side = 128, .edge = 64, .simulated = 1000, .images = 2500, .orientations = 10000, .tile = 2048};
static const sp_gpu_extent quick = {.side = 16, .edge = 2, .simulated = 6, .images = 8, .orientations = 60, .tile = 32};

sp_gpu_extent sp_gpu_images_extent(const sp_bench *bench)
{
    return bench->settings.quick ? quick : full;
}

/* ---- here ---- */

static sp_status fill_tables(sp_gpu_images *self)
{
    sp_status status = SP_OK;

    SP_TRY(sp_match_tables_init(&self->patterns, SP_GPU_IMAGES_FLOOR, self->pixels, &self->tables));
    SP_TRY(SP_ARRAY(self->background, self->pixels));
    for (ptrdiff_t p = 0; p < self->pixels; p++) {
        self->background[p] = (float)(self->patterns.background[p] / self->tables.unit);
    }
done:
    return status;
}

/* The model in a larger box, zero where there was none. */
static sp_status widen_model(ptrdiff_t edge, sp_gpu_images *self)
{
    const ptrdiff_t n = self->edge;
    float *wide = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(wide, edge * edge * edge));
    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        const ptrdiff_t at[3] = {i / (n * n), i / n % n, i % n};
        ptrdiff_t place = 0;

        for (int axis = 0; axis < 3; axis++) {
            place = place * edge + (at[axis] < n / 2 ? at[axis] : at[axis] + edge - n);
        }
        wide[place] = self->model[i];
    }
    sp_array_free(self->model);
    self->model = wide;
    self->edge = edge;
done:
    return status;
}

static sp_status simulate(const sp_gpu_extent *size, sp_gpu_images *self)
{
    const ptrdiff_t simulated = size->simulated;
    sp_patterns *patterns = &self->patterns;
    sp_status status = SP_OK;

    SP_TRY(sp_experiment_init(size->side, &self->experiment));
    SP_TRY(sp_experiment_patterns(&self->experiment, simulated, patterns));
    SP_TRY(sp_experiment_model(&self->experiment, patterns, &self->edge, &self->voxel, &self->model));
    if (self->edge < size->edge) {
        SP_TRY(widen_model(size->edge, self));
    }
    SP_TRY(sp_slicer_new(self->edge, self->voxel, WIDTH, &self->slicer));
    sp_slicer_load(self->slicer, self->model);
    self->pixels = patterns->pixels;
    SP_TRY(fill_tables(self));
    SP_TRY(SP_ARRAY(self->orientation, simulated));
    SP_TRY(SP_ARRAY(self->k, simulated * self->pixels));
    for (ptrdiff_t n = 0; n < simulated; n++) {
        self->orientation[n] = sp_simulation_shot(&self->experiment.simulation, n).orientation;
    }
    for (ptrdiff_t i = 0; i < simulated * self->pixels; i++) {
        self->k[i] = (float)(patterns->count[i] / self->tables.unit);
    }
done:
    return status;
}

void sp_gpu_images_map(const sp_gpu_images *self, const sp_quat *orientation, ptrdiff_t count, float *map)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        const sp_mat3 rotation = sp_quat_to_matrix(orientation[i]);

        sp_nufft_map(self->plan, &rotation, self->slicer->box, (float(*)[3])(map + 9 * i));
    }
}

/* ---- on the device ---- */

/* Room for `images` rows of `width` floats, filled with the first `rows` of them again and again. */
static sp_status repeat_rows(sp_gpu_images *self, const float *row, ptrdiff_t rows, ptrdiff_t width, float **array)
{
    const sp_device *device = self->arrays.device;
    sp_status status = SP_OK;

    SP_TRY(sp_gpu_array(&self->arrays, self->images * width, sizeof **array, "images", NULL, (void **)array));
    for (ptrdiff_t first = 0; first < self->images; first += rows) {
        const ptrdiff_t count = self->images - first < rows ? self->images - first : rows;

        SP_TRY(device->kernels->upload(device, row, (size_t)(count * width) * sizeof *row, *array + first * width));
    }
done:
    return status;
}

static sp_status load_images(sp_gpu_images *self)
{
    const ptrdiff_t simulated = self->patterns.images;
    float *map = NULL, *k = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(map, 9 * simulated));
    sp_gpu_images_map(self, self->orientation, simulated, map);
    SP_TRY(repeat_rows(self, self->k, simulated, self->pixels, &k));
    SP_TRY(repeat_rows(self, self->patterns.scale, simulated, 1, &self->scale));
    SP_TRY(repeat_rows(self, map, simulated, 9, &self->map));
    self->counts = (sp_device_counts){.k = k, .row = self->pixels, .images = self->images};
done:
    sp_array_free(map);
    return status;
}

static sp_status load_model(sp_gpu_images *self)
{
    const ptrdiff_t line = self->pixels;
    float *base = NULL, *expected = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_GPU_ARRAY(&self->arrays, base, line, self->tables.base));
    SP_TRY(SP_GPU_ARRAY(&self->arrays, expected, line, self->tables.expected));
    self->by = (sp_likelihood_model){
        .base = base, .expected = expected, .share = (float)(1.0 / (1.0 + SP_GPU_IMAGES_FLOOR)), .dispersion = 1.0f};
    SP_TRY(SP_GPU_ARRAY(&self->arrays, self->s, 3 * line, NULL));
    for (int i = 0; i < 3; i++) {
        SP_TRY(self->arrays.device->kernels->upload(self->arrays.device, self->patterns.s[i],
                                                    (size_t)line * sizeof(float), self->s + i * line));
    }
done:
    return status;
}

static sp_status make_grid(const sp_device *device, sp_gpu_images *self)
{
    sp_device_nufft *plan = NULL;
    float *model = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_nufft_new_with(self->edge, WIDTH, SIGMA, &sp_nufft_ref, 0, &self->plan));
    const sp_nufft_layout layout = sp_nufft_layout_of(self->plan);

    self->stencil = layout.stencil;
    SP_TRY(SP_GPU_ARRAY(&self->arrays, self->grid, sp_nufft_grid_count(self->plan), NULL));
    SP_TRY(SP_GPU_ARRAY(&self->arrays, model, self->edge * self->edge * self->edge, self->model));
    SP_TRY(device->kernels->nufft->new_plan(device, &layout, 1, &plan));
    SP_TRY(device->kernels->nufft->prepare(device, plan, model, self->grid));
    SP_TRY(device->kernels->wait(device));
done:
    if (plan) {
        device->kernels->nufft->free_plan(device, plan);
    }
    return status;
}

sp_status sp_gpu_images_init(const sp_device *device, const sp_gpu_extent *size, sp_gpu_images *self)
{
    sp_status status = SP_OK;

    *self = (sp_gpu_images){.images = size->images, .arrays = {.device = device}};
    SP_TRY(simulate(size, self));
    SP_TRY(make_grid(device, self));
    SP_TRY(load_images(self));
    SP_TRY(load_model(self));
done:
    return status;
}

void sp_gpu_images_clear(sp_gpu_images *self)
{
    sp_gpu_arrays_release(&self->arrays);
    sp_nufft_free(self->plan);
    sp_slicer_free(self->slicer);
    sp_array_free(self->model);
    sp_array_free(self->orientation);
    sp_array_free(self->k);
    sp_match_tables_clear(&self->tables);
    sp_array_free(self->background);
    sp_patterns_clear(&self->patterns);
    sp_experiment_clear(&self->experiment);
}
