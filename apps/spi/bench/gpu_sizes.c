/* SPDX-License-Identifier: BSD-3-Clause */
/* Searches of the sizes to come, on one GPU: a million orientations, half a million images. */
#include <stdio.h>

#include "bench/gpu_search.h"
#include "bench/parts.h"

enum { CASES = 2 };

/* Photons and packed counts of 500,000 images take 49 GB, their products with a tile 4 GB. */
static const sp_gpu_extent full[CASES] = {
    {.side = 128, .edge = 64, .simulated = 250, .images = 2500, .orientations = 1000000, .tile = 8192},
    {.side = 128, .edge = 64, .simulated = 250, .images = 500000, .orientations = 10000, .tile = 2048},
};
static const sp_gpu_extent quick[CASES] = {
    {.side = 16, .edge = 2, .simulated = 6, .images = 8, .orientations = 300, .tile = 128},
    {.side = 16, .edge = 2, .simulated = 6, .images = 80, .orientations = 60, .tile = 32},
};

static sp_status time_packing(sp_bench *bench, sp_gpu_search *search, double error)
{
    const sp_gpu_images *i = &search->images;
    const sp_gpu_work work = {.run = sp_gpu_search_pack,
                              .context = search,
                              .bytes = sp_gpu_search_factor_bytes(search, i->images) +
                                       (double)sizeof(float) * (double)i->images * (double)i->pixels};
    sp_row *row = sp_row_add(bench, "sizes", 1, "pack, %td images", i->images);

    row->error = error;
    return sp_gpu_time(bench, &work, row);
}

/*   before  [byte] of the GPU's memory that nobody used */
static sp_status time_search(sp_bench *bench, sp_gpu_search *search, size_t before, double error)
{
    const sp_gpu_images *i = &search->images;
    sp_row *row = sp_row_add(bench, "sizes", 1, "search, %td images x %td orientations", i->images, search->grid.count);
    size_t after = 0;
    sp_status status = SP_OK;

    SP_TRY(sp_gpu_search_time(bench, search, error, row));
    SP_TRY(bench->gpu.device->kernels->available(bench->gpu.device, &after));
    row->bytes = (double)before - (double)after;
    snprintf(row->note, sizeof row->note, "%.1f GB of the GPU's memory in use, %td orientations at a time",
             1e-9 * row->bytes, search->tile);
done:
    return status;
}

static sp_status time_case(sp_bench *bench, const sp_gpu_extent *size)
{
    const sp_device *device = bench->gpu.device;
    sp_gpu_search search = {.tile = 0};
    size_t before = 0;
    double error = 0.0;
    sp_status status = SP_OK;

    SP_TRY(device->kernels->available(device, &before));
    SP_TRY(sp_gpu_search_init(device, size, &search));
    SP_TRY(sp_gpu_search_check(device, &search, &error));
    SP_TRY(time_packing(bench, &search, error));
    SP_TRY(time_search(bench, &search, before, error));
done:
    sp_gpu_search_clear(&search);
    return status;
}

sp_status sp_bench_gpu_sizes(sp_bench *bench)
{
    sp_status status = SP_OK;

    for (int i = 0; i < CASES; i++) {
        SP_TRY(time_case(bench, bench->settings.quick ? &quick[i] : &full[i]));
    }
done:
    return status;
}
