/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/gpu_images.h -- for the parts of a GPU that compare and merge images: those of bench/experiment.h, here and on
 * the device, with their true model. A few are simulated, and the device holds them many times over: how long its
 * kernels take depends on how many there are, and hardly on what is in them. */
#include "bench/experiment.h"
#include "bench/gpu.h"
#include "bench/rows.h"
#include "device/match.h"
#include "num/nufft.h"
#include "num/nufft_kernels.h"
#include "phases/match.h"
#include "phases/slice.h"

typedef struct sp_gpu_images {
    sp_experiment experiment;
    sp_patterns patterns; /* the simulated ones */
    sp_quat *orientation; /* [patterns.images] true */
    ptrdiff_t images;     /* on the device: image i is simulated image i modulo patterns.images */
    ptrdiff_t pixels;
    ptrdiff_t edge; /* of the model */
    double voxel;   /* [m] */
    float *model;   /* [edge^3] autocorrelation */
    sp_slicer *slicer;
    sp_match_tables tables;   /* of all pixels */
    float *background;        /* [pixels] photons */
    float *k;                 /* [patterns.images][pixels] photons */
    sp_nufft *plan;           /* of slices, by the plain loops: the device's layout */
    sp_nufft_stencil stencil; /* of that */
    sp_gpu_arrays arrays;     /* of the device: */
    sp_device_counts counts;  /* [images][pixels] */
    sp_likelihood_model by;   /* r = 1 */
    float *scale;             /* [images] */
    float *grid;              /* of slices, made of the model */
    float *s;                 /* [3][pixels] [1/m] */
    float *map;               /* [images][3][3] of slices in the true orientations */
} sp_gpu_images;

static const double SP_GPU_IMAGES_FLOOR = 0.3; /* share of the shell mean in the model, as in bench/match.c */

/* How much there is. */
typedef struct sp_gpu_extent {
    ptrdiff_t side;               /* of an image [pixel] */
    ptrdiff_t edge;               /* of the model, at least [voxel] */
    ptrdiff_t simulated, images;  /* of the images that are simulated, and on the device */
    ptrdiff_t orientations, tile; /* that images are compared with, and of them at a time */
} sp_gpu_extent;

/* A generation as most are; less for a look. */
sp_gpu_extent sp_gpu_images_extent(const sp_bench *bench);

/* They must stay where they are. Release with sp_gpu_images_clear(), also after a failure. Fails with SP_ERR_MEMORY,
 * SP_ERR_NUMERIC. */
sp_status sp_gpu_images_init(const sp_device *device, const sp_gpu_extent *size, sp_gpu_images *self);
void sp_gpu_images_clear(sp_gpu_images *self);

/* map[i] = cells of slices in these orientations.   map  out  [count][3][3] */
void sp_gpu_images_map(const sp_gpu_images *self, const sp_quat *orientation, ptrdiff_t count, float *map);
