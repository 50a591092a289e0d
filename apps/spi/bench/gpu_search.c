/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/gpu_search.h"

#include <math.h>

#include "base/memory.h"
#include "device/nufft.h"

enum {
    KEEP = SP_DEVICE_MATCH_KEPT,
    AVERAGED = 256, /* patterns that the common feature is the mean of */
    CHECKED = 3,    /* images whose scores are compared */
};

/* ---- what runs on the device ---- */

sp_status sp_gpu_search_pack(const sp_device *device, void *context)
{
    const sp_gpu_search *s = context;

    return device->kernels->match->pack(device, &s->images.counts, s->images.pixels, s->packed);
}

ptrdiff_t sp_gpu_search_averaged(const sp_gpu_search *s)
{
    return s->tile < AVERAGED ? s->tile : AVERAGED;
}

sp_status sp_gpu_search_average(const sp_device *device, void *context)
{
    const sp_gpu_search *s = context;

    return device->kernels->match->average(device, &s->images.by, s->intensity, sp_gpu_search_averaged(s),
                                           s->images.pixels, s->common);
}

sp_status sp_gpu_search_offsets(const sp_device *device, void *context)
{
    const sp_gpu_search *s = context;
    const sp_gpu_images *i = &s->images;

    return device->kernels->match->offsets(device, s->packed, i->images, i->pixels, i->scale, s->common,
                                           i->by.dispersion, s->offset);
}

/* Slices of orientations first .. first + count - 1. */
static sp_status cut(const sp_device *device, const sp_gpu_search *s, ptrdiff_t first, ptrdiff_t count)
{
    const sp_gpu_images *i = &s->images;

    return device->kernels->nufft->interpolate(device, &i->stencil, i->grid, s->map + 9 * first, count, i->s, i->pixels,
                                               true, s->intensity);
}

static sp_status make_features(const sp_device *device, const sp_gpu_search *s, ptrdiff_t count)
{
    return device->kernels->match->features(device, &s->images.by, s->intensity, count, s->images.pixels, s->common,
                                            s->feature, s->bias);
}

static sp_status compare(const sp_device *device, const sp_gpu_search *s, ptrdiff_t first, ptrdiff_t count)
{
    const sp_gpu_images *i = &s->images;
    const sp_device_match_tile tile = {
        .feature = s->feature, .bias = s->bias, .orientations = count, .first = (int32_t)first};

    return device->kernels->match->compare(device, s->packed, i->images, i->pixels, i->scale, &tile, s->product,
                                           s->keep, s->best);
}

sp_status sp_gpu_search_features(const sp_device *device, void *context)
{
    const sp_gpu_search *s = context;

    return make_features(device, s, s->tile);
}

sp_status sp_gpu_search_empty(const sp_device *device, void *context)
{
    const sp_gpu_search *s = context;
    const ptrdiff_t count = s->images.images * s->keep;
    sp_candidate *empty = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(empty, count));
    sp_shortlists_clear(&(sp_shortlists){.keep = s->keep, .best = empty}, s->images.images);
    SP_TRY(device->kernels->upload(device, empty, (size_t)count * sizeof *empty, s->best));
done:
    sp_array_free(empty);
    return status;
}

sp_status sp_gpu_search_compare(const sp_device *device, void *context)
{
    const sp_gpu_search *s = context;

    return compare(device, s, 0, s->tile);
}

sp_status sp_gpu_search_run(const sp_device *device, void *context)
{
    const sp_gpu_search *s = context;
    sp_status status = SP_OK;

    for (ptrdiff_t first = 0; first < s->grid.count; first += s->tile) {
        const ptrdiff_t count = s->grid.count - first < s->tile ? s->grid.count - first : s->tile;

        SP_TRY(cut(device, s, first, count));
        SP_TRY(make_features(device, s, count));
        SP_TRY(compare(device, s, first, count));
    }
done:
    return status;
}

/* ---- memory ---- */

static sp_status make_orientations(sp_gpu_search *s, ptrdiff_t orientations)
{
    float *map = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_rotation_grid_init(orientations, &s->grid));
    SP_TRY(SP_ARRAY(map, 9 * s->grid.count));
    sp_gpu_images_map(&s->images, s->grid.q, s->grid.count, map);
    SP_TRY(SP_GPU_ARRAY(&s->images.arrays, s->map, 9 * s->grid.count, map));
done:
    sp_array_free(map);
    return status;
}

static sp_status get_search(sp_gpu_search *s)
{
    sp_gpu_arrays *arrays = &s->images.arrays;
    const ptrdiff_t images = s->images.images, pixels = s->images.pixels, row = sp_device_match_row(pixels);
    sp_status status = SP_OK;

    SP_TRY(SP_GPU_ARRAY(arrays, s->intensity, s->tile * pixels, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, s->common, 2 * pixels, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, s->bias, s->tile, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, s->product, images * s->tile, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, s->packed, images * row, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, s->feature, s->tile * row, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, s->offset, images, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, s->best, images * KEEP, NULL));
done:
    return status;
}

sp_status sp_gpu_search_init(const sp_device *device, const sp_gpu_extent *size, sp_gpu_search *s)
{
    sp_status status = SP_OK;

    *s = (sp_gpu_search){.tile = size->tile, .keep = 1};
    SP_TRY(sp_gpu_images_init(device, size, &s->images));
    SP_TRY(make_orientations(s, size->orientations));
    SP_TRY(get_search(s));
    SP_TRY(cut(device, s, 0, s->tile));
    SP_TRY(sp_gpu_search_pack(device, s));
    SP_TRY(sp_gpu_search_average(device, s));
    SP_TRY(sp_gpu_search_offsets(device, s));
    SP_TRY(sp_gpu_search_features(device, s));
done:
    return status;
}

void sp_gpu_search_clear(sp_gpu_search *search)
{
    sp_gpu_images_clear(&search->images);
    sp_rotation_grid_clear(&search->grid);
}

/* ---- what it must be ---- */

static double mean_of(const double *x)
{
    double mean = 0.0;

    for (int i = 0; i < KEEP; i++) {
        mean += x[i] / KEEP;
    }
    return mean;
}

/* About the mean. */
static double spread_of(const double *x)
{
    const double mean = mean_of(x);
    double square = 0.0;

    for (int i = 0; i < KEEP; i++) {
        square += (x[i] - mean) * (x[i] - mean);
    }
    return sqrt(square / KEEP);
}

/* Of one image: error of its scores of the first KEEP orientations, by what they differ; infinite if its offset is
 * wrong.
 *   best  the list of all of them       intensity  scratch [pixels] */
static double score_error(const sp_gpu_search *s, ptrdiff_t image, double offset, const sp_candidate *best,
                          float *intensity)
{
    const sp_gpu_images *i = &s->images;
    sp_likelihood_model by = i->by;
    double want[KEEP], error[KEEP];

    by.base = i->tables.base;
    by.expected = i->tables.expected;
    for (int o = 0; o < KEEP; o++) {
        sp_likelihood_sums sums = {0};

        sp_slicer_cut(i->slicer, s->grid.q[best[o].index], i->patterns.s, i->pixels, intensity);
        sp_likelihood_ref.add(&by, 0, i->pixels, i->k + image * i->pixels, i->patterns.scale[image], intensity, NULL,
                              &sums);
        want[o] = sums.score;
        error[o] = offset + (double)best[o].score - sums.score;
    }
    return fabs(mean_of(error) / mean_of(want)) < 1e-2 ? spread_of(error) / spread_of(want) : INFINITY;
}

/* Lists that hold all orientations of a small tile tell all scores.   error  of the worst of some images */
sp_status sp_gpu_search_check(const sp_device *device, sp_gpu_search *s, double *error)
{
    sp_candidate *best = NULL;
    float *intensity = NULL;
    double offset[CHECKED];
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(best, CHECKED * KEEP));
    SP_TRY(SP_ARRAY(intensity, s->images.pixels));
    s->keep = KEEP;
    SP_TRY(sp_gpu_search_empty(device, s));
    SP_TRY(compare(device, s, 0, KEEP));
    SP_TRY(device->kernels->download(device, s->best, CHECKED * KEEP * sizeof *best, best));
    SP_TRY(device->kernels->download(device, s->offset, sizeof offset, offset));
    *error = 0.0;
    for (ptrdiff_t n = 0; n < CHECKED; n++) {
        *error = fmax(*error, score_error(s, n, offset[n], best + n * KEEP, intensity));
    }
    SP_TRY(sp_bench_check("the dense search on the GPU", *error, 2e-2));
done:
    s->keep = 1;
    sp_array_free(best);
    sp_array_free(intensity);
    return status;
}

/* ---- time ---- */

double sp_gpu_search_factor_bytes(const sp_gpu_search *search, ptrdiff_t rows)
{
    return (double)sizeof(sp_bfloat16) * (double)rows * (double)sp_device_match_row(search->images.pixels);
}

sp_status sp_gpu_search_time(sp_bench *bench, sp_gpu_search *search, double error, sp_row *row)
{
    const sp_gpu_images *i = &search->images;
    const double pairs = (double)i->images * (double)search->grid.count, pixels = (double)i->pixels;
    const double w = i->stencil.width, stencil = 2.0 * (w * w * w + w * w + w); /* bench/gpu_nufft.c */
    const sp_gpu_work work = {.run = sp_gpu_search_run,
                              .before = sp_gpu_search_empty,
                              .context = search,
                              .bytes = sp_gpu_search_factor_bytes(search, i->images) +
                                       (double)sizeof(float) * (double)sp_nufft_grid_count(i->plan),
                              .operations = (double)search->grid.count * pixels * stencil,
                              .products = 2.0 * pairs * pixels};
    sp_status status = SP_OK;

    row->error = error;
    SP_TRY(sp_gpu_time(bench, &work, row));
    row->rate = 1e9 * row->seconds.median / pairs;
    row->unit = "ns/pair";
done:
    return status;
}
