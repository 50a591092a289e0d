/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/polar.h -- images compared with all in-plane turns of a direction at once, in polar coordinates.
 *
 * A turn about the beam keeps the Ewald sphere. So the feature y of a direction (phases/match.h), known on rings of
 * radius rho_k by its Fourier coefficients F_mk over the angle, is known in every turn alpha, and
 *   sum_p k_p y(rho_p, phi_p - alpha) = Re sum_m exp(-i m alpha) sum_k F_mk K_mk      (m >= 0, F_mk twice for m > 0)
 *   K_mk = sum_p k_p w(rho_p - rho_k) exp(i m phi_p)
 * where w interpolates between rings; the angle is exact. K is made of an image once, from the pixels that exist, so
 * masks need no thought. The second term of the score is another such sum, of the pixels' exposures, which stand in for
 * the image                                                             (docs/algorithm.md, section "Match", eq. 7a) */
#include <stdbool.h>

#include "base/error.h"
#include "num/isa.h"
#include "num/rotation_grid.h"
#include "phases/patterns.h"
#include "phases/shortlist.h"
#include "phases/slice.h"

/* Angles of a grid, at most: the finest grid has 316. */
enum { SP_POLAR_ANGLES = 320 };

typedef struct sp_polar sp_polar;               /* what all images and directions have in common */
typedef struct sp_polar_images sp_polar_images; /* some images, transformed */
typedef struct sp_polar_search sp_polar_search; /* all of it, on the threads of one process */

typedef struct sp_polar_input {
    const sp_patterns *patterns; /* borrowed for life; scales may change between calls */
    ptrdiff_t stride;            /* pixels that may be compared */
    double unit;                 /* value of one photon */
    double floor;                /* share of the shell mean mixed into the model */
    double diameter;             /* [m] of the particle: what is finer than its speckles is not sampled */
    sp_isa isa;
} sp_polar_input;

/* Do the first `pixels` pixels lie on a sphere through the origin, around a point of the beam, or on a plane across it?
 * Then *curvature = 1 / radius of that sphere [m]. */
bool sp_polar_fits(const sp_patterns *patterns, ptrdiff_t pixels, double *curvature);

/* Floats that one image takes, for bins up to s_max [1/m]. */
double sp_polar_floats(double s_max, double diameter);

/* ---- in pieces: one search is cut into tiles of directions and groups of images, and any number of threads may work
 * on different ones at once, each with sp_polar_scratch() floats of its own ---- */

/* Tables for these pixels; of the patterns' images nothing is used. Free with sp_polar_free(). Fails with SP_ERR_USAGE
 * (the pixels do not fit), SP_ERR_MEMORY. */
sp_status sp_polar_new(const sp_polar_input *input, sp_polar **polar);
void sp_polar_free(sp_polar *polar); /* NULL is fine */
ptrdiff_t sp_polar_scratch(const sp_polar *polar);

/* What is compared from now on; not while others work with it.
 *   pixels      the first so many
 *   dispersion  r
 *   grid        at most SP_POLAR_ANGLES angles; q[d][a] = turn about the beam by 2 pi a / angles times q[d][0];
 *               borrowed until the next begin
 *   reach       of the slicer [1/m] */
void sp_polar_begin(sp_polar *polar, ptrdiff_t pixels, double dispersion, const sp_rotation_grid *grid, double reach);

/* The grid in tiles, and what the features of one take. */
ptrdiff_t sp_polar_tiles(const sp_polar *polar);
ptrdiff_t sp_polar_tile_floats(const sp_polar *polar);

/* features of one tile  out  [sp_polar_tile_floats()] */
void sp_polar_make_tile(const sp_polar *polar, const sp_slicer *slicer, ptrdiff_t tile, float *scratch,
                        float *features);

/* Room for the transforms of up to so many of the patterns' images. Both borrowed for life. Free with
 * sp_polar_images_free(). Fails with SP_ERR_MEMORY. */
sp_status sp_polar_images_new(const sp_polar *polar, const sp_patterns *patterns, ptrdiff_t room,
                              sp_polar_images **images);
void sp_polar_images_free(sp_polar_images *images); /* NULL is fine */

/* Transforms those of images first .. first + count - 1 that are selected, as the present search wants them. What is
 * known of the same images is kept: further pixels are added to it. */
void sp_polar_take(sp_polar_images *images, ptrdiff_t first, ptrdiff_t count, sp_selection selection, float *scratch);

/* Enters a tile's orientations into the shortlists of the images taken.
 *   out  in, out  lists of all images of the patterns; tiles in their order let ties go to the lower index */
void sp_polar_compare(const sp_polar_images *images, ptrdiff_t tile, const float *features, float *scratch,
                      const sp_shortlists *out);

/* ---- as a whole ---- */

/* Memory of sp_polar_search_new() for bins up to s_max [1/m] and so much budget [byte], about. */
double sp_polar_bytes(double s_max, double diameter, ptrdiff_t images, ptrdiff_t pixels, double budget, int threads);

/* Room for searching all images of the patterns; of their transforms as many as fit the budget [byte] are held at a
 * time. No more threads may be used later than omp_get_max_threads() tells now. Free with sp_polar_search_free().
 * Fails with SP_ERR_USAGE (the pixels do not fit), SP_ERR_MEMORY. */
sp_status sp_polar_search_new(const sp_polar_input *input, double budget, sp_polar_search **search);
void sp_polar_search_free(sp_polar_search *search); /* NULL is fine */

/* The best orientations of every image among those of the grid, as sp_matcher_search() has it: score (eq. 7) with the
 * exposure of a pixel split into the mean over its shell, which the model is multiplied by, and the pixel's share of
 * that, which multiplies mean and dispersion as the fluence does.
 *   pixels ..   as for sp_polar_begin(); when the pixels change the images are transformed anew, as far as needed; in
 *               every search, if they do not fit the budget
 *   out         out  of each image the indices into the grid and their scores
 * Same result for any number of threads; ties go to the lower index. Cannot fail; ends early when interrupted. */
void sp_polar_search_run(sp_polar_search *search, const sp_slicer *slicer, ptrdiff_t pixels, double dispersion,
                         const sp_rotation_grid *grid, const sp_shortlists *out);
