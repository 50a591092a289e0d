/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/gpu_search.h -- for the parts of a GPU that search: images compared with orientations by the dense route
 * (device/match.h), tile by tile, images resident. */
#include "bench/gpu_images.h"
#include "num/rotation_grid.h"

typedef struct sp_gpu_search {
    sp_gpu_images images;
    ptrdiff_t tile;        /* orientations */
    int keep;              /* best ones of an image, 1 .. SP_DEVICE_MATCH_KEPT */
    sp_rotation_grid grid; /* of orientations */
    /* of the device: */
    float *map;       /* [grid.count][3][3] */
    float *intensity; /* [tile][pixels] */
    float *common, *bias, *product;
    sp_bfloat16 *packed, *feature;
    double *offset;
    sp_candidate *best; /* [images][keep], room for SP_DEVICE_MATCH_KEPT */
} sp_gpu_search;

/* Images, orientations and all memory; then one call of each kernel but compare(): the first tile's features are there.
 * It must stay where it is. Release with sp_gpu_search_clear(), also after a failure. Fails like sp_gpu_images_init().
 */
sp_status sp_gpu_search_init(const sp_device *device, const sp_gpu_extent *size, sp_gpu_search *search);
void sp_gpu_search_clear(sp_gpu_search *search);

/* For sp_gpu_work, whose context is a sp_gpu_search: each kernel once, on all images or the first tile; */
sp_status sp_gpu_search_pack(const sp_device *device, void *context);
sp_status sp_gpu_search_average(const sp_device *device, void *context); /* of this many patterns: */
ptrdiff_t sp_gpu_search_averaged(const sp_gpu_search *search);
sp_status sp_gpu_search_offsets(const sp_device *device, void *context);
sp_status sp_gpu_search_features(const sp_device *device, void *context);
sp_status sp_gpu_search_compare(const sp_device *device, void *context);
/* lists as they are before the first tile; slices, features and comparison, tile after tile. */
sp_status sp_gpu_search_empty(const sp_device *device, void *context);
sp_status sp_gpu_search_run(const sp_device *device, void *context);

/* error = root mean square error of the scores of some images by how much they differ, of the worst image, against sums
 * in double precision. Uses the first tile's features, which must be there. Fails with SP_ERR_NUMERIC. */
sp_status sp_gpu_search_check(const sp_device *device, sp_gpu_search *search, double *error);

/* Time and floor of a whole search: images are read once; features, which go from one kernel to the next, need not be.
 * Fails like sp_gpu_time(). */
sp_status sp_gpu_search_time(sp_bench *bench, sp_gpu_search *search, double error, sp_row *row);

/* [byte] of so many packed images, or features. */
double sp_gpu_search_factor_bytes(const sp_gpu_search *search, ptrdiff_t rows);
