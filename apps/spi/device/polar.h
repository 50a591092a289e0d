/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/polar.h -- images compared with all in-plane turns of a direction at once (phases/polar.h) on a GPU.
 *
 * Coefficients K of an image, and F of a direction, are complex numbers [ring][order], orders 0 .. orders_k - 1 of ring
 * k, in single precision; both are made by matrix products, ring by ring: K of the pixels that reach the ring, F of the
 * ring's samples. For the comparison they are rounded to half precision and sorted into rows, by the frequency j of the
 * grid's angles that an order belongs to: the orders m with m = j or m = -j, up to multiples of the number of angles.
 * So frequency j is one product of matrices, of depth start_j+1 - start_j:
 *
 *     half[n][j][re, im][d] = row_n[start_j ..] . feature_j[re, im][d][..]     re: (F, -F'), im: (F', F)
 *
 * with the real and imaginary parts F, F' of a coefficient side by side; where m = -j the second line is negative. One
 * more product, with cosines and sines of the angles, turns the frequencies of an image and a direction into scores:
 *
 *     product[n][d][a] = sum_j half[n][j] . (cos, sin)(2 pi j a / angles)
 *
 * which are read once more, to find the best. Order: sums, pack of the images; average; offsets; features, compare of
 * each tile of directions; add_offsets. The tables come from device/polar_tables.h.
 *
 * Precision. What all directions have in common is the mean over each ring, of feature and loss: it is taken off before
 * anything is rounded, and comes back, in double precision, in the offset of an image. The rest are numbers of the size
 * of what scores differ by. Half precision for them, in units that suit each image, and tf32 for the second product,
 * move the scores of an image, root mean square over the orientations, by 0.08 to 0.19 % of how much they differ, for
 * the worst of nine small images, noise-free or with 300 or 30,000 photons, r = 1, 10 or 1e6 (tests/device/test_polar.c
 * for many seeds); the polar route itself errs by up to 1 %. bfloat16, as fast, errs by 0.2 to 0.7 %: score and bias
 * are differences of larger numbers. Coefficients come from products in single precision, which cost little.
 *
 * Of an image stay `row` numbers of half precision and a float for each ring. With the rings and orders of phases/polar
 * that is 11 kB for a particle of 60 A seen to 8 A, 5.5 GB for 500,000 images; 61 kB and 31 GB for one of 160 A. */
#include "device/counts.h"
#include "device/device.h"
#include "phases/shortlist.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef uint16_t sp_half; /* IEEE 754 binary16 */

enum { SP_DEVICE_POLAR_KEPT = 32 }; /* candidates of an image, at most */

/* Elements of a row are filled up with zeros, for each frequency: to what tensor cores read at once. */
enum { SP_DEVICE_POLAR_GROUP = 8 };

/* Directions of a tile, and angles of a direction, are filled up likewise. */
static inline ptrdiff_t sp_device_polar_fill(ptrdiff_t count, ptrdiff_t group)
{
    return (count + group - 1) / group * group;
}

/* Tables in the memory of the GPU. */
typedef struct sp_device_polar_arrays {
    const float *base, *gain;    /* [rings] */
    const int32_t *sample_start; /* [rings + 1] */
    const int32_t *order_start;  /* [rings + 1] */
    const int32_t *inner;        /* [pixels] */
    const float *weight;         /* [pixels][SP_POLAR_TAPS] */
    const double *angle;         /* [pixels] of a pixel [rad] */
    const float *circle;         /* each ring's [samples][orders][2]: (2 - [m = 0]) / samples * exp(-2 pi i m l / n) */
    const int32_t *source; /* [row / 2] coefficient in a place of a row; its conjugate counts: -2 - it; none: -1 */
    const int32_t *start;  /* [frequencies + 1] */
    const float *turn;     /* [frequencies][cos, sin][angles, filled up] */
    const float *s;        /* [3][samples] where the model is sampled [1/m] */
} sp_device_polar_arrays;

/* What all images and directions of a search have in common. */
typedef struct sp_device_polar {
    ptrdiff_t pixels, rings, angles;
    ptrdiff_t frequencies;         /* of the angles, from 0, that have an order */
    ptrdiff_t samples;             /* of a direction */
    ptrdiff_t coefficients;        /* complex numbers */
    ptrdiff_t row;                 /* elements of a row */
    const ptrdiff_t *orders;       /* [rings] */
    const ptrdiff_t *sample_start; /* [rings + 1] first sample of each ring */
    const ptrdiff_t *order_start;  /* [rings + 1] first coefficient of each ring */
    const ptrdiff_t *circle_start; /* [rings] where its part of `circle` begins */
    const ptrdiff_t *pixel_first;  /* [rings] pixels that reach it, and some between them that do not: from here */
    const ptrdiff_t *pixel_end;    /* [rings] to before this one */
    const ptrdiff_t *start;        /* [frequencies + 1] elements of each frequency in a row */
    ptrdiff_t weights;             /* [float] most that the weights of a ring's pixels take */
    float dispersion;
    sp_device_polar_arrays there;
} sp_device_polar;

/* Some images; arrays of the device. */
typedef struct sp_device_polar_images {
    const sp_half *packed; /* [images][row] in units of their own, */
    const float *unit;     /* [images] which are powers of two */
    const float *scale;    /* [images] fluence */
    ptrdiff_t images;
} sp_device_polar_images;

/* A tile of directions; arrays of the device. */
typedef struct sp_device_polar_tile {
    const sp_half *feature; /* [frequencies] of [re, im][directions, filled up][start_j+1 - start_j] */
    const float *bias;      /* [directions][angles, filled up] */
    ptrdiff_t directions;
    ptrdiff_t first; /* number of the first one in the grid */
} sp_device_polar_tile;

/* Floats of the arrays, for so many images and directions. */
static inline ptrdiff_t sp_device_polar_sums_scratch(const sp_device_polar *by, ptrdiff_t images)
{
    return sp_device_polar_fill(by->weights, 4) + images * by->pixels;
}

static inline ptrdiff_t sp_device_polar_features_scratch(const sp_device_polar *by, ptrdiff_t directions)
{
    return 2 * directions * (by->samples + 2 * by->coefficients);
}

static inline ptrdiff_t sp_device_polar_compare_scratch(const sp_device_polar *by, ptrdiff_t images,
                                                        ptrdiff_t directions)
{
    const ptrdiff_t angles = sp_device_polar_fill(by->angles, 4);

    return images * sp_device_polar_fill(directions, SP_DEVICE_POLAR_GROUP) * (2 * by->frequencies + angles);
}

/* Elements of a tile's features. */
static inline ptrdiff_t sp_device_polar_feature_count(const sp_device_polar *by, ptrdiff_t directions)
{
    return 2 * sp_device_polar_fill(directions, SP_DEVICE_POLAR_GROUP) * by->row;
}

/* All arrays are the device's; scratch is aligned to 16 bytes. */
struct sp_device_polar_kernels {
    /* sums_n = K of the images; or of the shares of the pixels, taken as an image.
     *   scratch  [sp_device_polar_sums_scratch()]
     *   sums     out  [counts->images][coefficients][2] */
    sp_status (*sums)(const sp_device *device, const sp_device_polar *by, const sp_device_counts *counts,
                      float *scratch, float *sums);

    /*   sums    in   [images][coefficients][2]
     *   packed  out  [images][row] rounded
     *   unit    out  [images] of `packed`
     *   centre  out  [images][rings] order 0, not rounded */
    sp_status (*pack)(const sp_device *device, const sp_device_polar *by, const float *sums, ptrdiff_t images,
                      sp_half *packed, float *unit, float *centre);

    /* Means over the samples of each ring in some directions.
     *   intensity  in   [directions][samples] >= 0
     *   common     out  [2][rings] feature, loss */
    sp_status (*average)(const sp_device *device, const sp_device_polar *by, const float *intensity,
                         ptrdiff_t directions, float *common);

    /* offset_n = sum_k centre_nk common feature_k - scale_n r sum_k X_0k common loss_k, with X of the shares.
     *   exposed  in   [coefficients][2] X
     *   offset   out  [images] */
    sp_status (*offsets)(const sp_device *device, const sp_device_polar *by, const float *centre, ptrdiff_t images,
                         const float *scale, const float *exposed, const float *common, double *offset);

    /* Features of a tile, less what is common; and bias = -r Re sum_m exp(-i m alpha) sum_k G_mk X_mk, with G as F, of
     * the loss. What fills up `bias` is -infinity.
     *   intensity  in   [directions][samples] >= 0
     *   scratch    [sp_device_polar_features_scratch()]
     *   feature    out  as in sp_device_polar_tile
     *   bias       out  */
    sp_status (*features)(const sp_device *device, const sp_device_polar *by, const float *intensity,
                          ptrdiff_t directions, const float *common, const float *exposed, float *scratch,
                          sp_half *feature, float *bias);

    /* Lists without a candidate.   best  out  [images][keep] as of sp_shortlists_clear() */
    sp_status (*clear_lists)(const sp_device *device, ptrdiff_t images, int keep, sp_candidate *best);

    /* Candidates of the tile, index direction * angles + angle, score product + scale_n bias, enter the lists: tiles in
     * their order leave the same lists as sp_shortlist_insert() in the order of the indices. Fastest where images and
     * directions are many.
     *   scratch  [sp_device_polar_compare_scratch()]
     *   best     in, out [images][keep]
     * Fails with SP_ERR_USAGE (keep is not in 1 .. SP_DEVICE_POLAR_KEPT) besides. */
    sp_status (*compare)(const sp_device *device, const sp_device_polar *by, const sp_device_polar_images *images,
                         const sp_device_polar_tile *tile, float *scratch, int keep, sp_candidate *best);

    /* score += offset_n.   best  in, out  [images][keep] */
    sp_status (*add_offsets)(const sp_device *device, const double *offset, ptrdiff_t images, int keep,
                             sp_candidate *best);
};

#ifdef __cplusplus
}
#endif
