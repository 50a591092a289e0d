/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/match.h -- the orientation in which the model explains each image best.
 *
 * The model predicts mean counts m_p(R). Counts scatter about them by photon noise (variance m) and because the model
 * is not yet right (variance m^2 / r): together a negative binomial distribution with dispersion r; mean and dispersion
 * of image n are scale_n times these. The logarithm of its probability, up to a term without R, is the score of image n
 * in orientation R                                                          (docs/algorithm.md, section "Match", eq. 7)
 *   L = sum_p k_np ln(m_p / (m_p + r)) - scale_n r sum_p ln(1 + m_p / r)
 * One inner product per image and orientation, so all of them together are a matrix product. A small r trusts bright
 * pixels little (relative errors count: whitened), a large r is the Poisson likelihood. Part of the shell mean is mixed
 * into the model, m ~ (I + floor * profile) / (1 + floor): a pixel that the model calls dark may still be lit.
 * A background that the patterns know of is added to it.
 *
 * The plain Euclidean distance of intensities, the published baseline of SpiniFEL, stays selectable. */
#include <stddef.h>

#include "base/error.h"
#include "num/quaternion.h"
#include "num/rotation_grid.h"
#include "phases/patterns.h"
#include "phases/polar.h"
#include "phases/slice.h"

typedef enum sp_match_kind {
    SP_MATCH_LIKELIHOOD, /* negative binomial log-likelihood */
    SP_MATCH_EUCLIDEAN,  /* squared distance of intensities, one scale for the whole model */
    SP_MATCH_POISSON,    /* Poisson log-likelihood: the first one's limit for a large r */
} sp_match_kind;

/* r of the Poisson likelihood: beyond the counts of any bin, and not so large that single precision would not hold the
 * logarithms of m / r. */
static const double SP_MATCH_POISSON_DISPERSION = 1e6;

/* r that a kind compares with where the loop would trust its model with `dispersion`. */
static inline double sp_match_dispersion_of(sp_match_kind kind, double dispersion)
{
    return kind == SP_MATCH_POISSON ? SP_MATCH_POISSON_DISPERSION : dispersion;
}

/* How the grid is searched. Both compare by the same score, the polar route with small errors of interpolation. */
typedef enum sp_match_route {
    SP_MATCH_AUTO,  /* polar where it can be and holds at most four numbers per pixel; else dense */
    SP_MATCH_POLAR, /* all in-plane turns of a direction at once (phases/polar.h); likelihoods only */
    SP_MATCH_DENSE, /* every orientation for itself: one matrix product */
    SP_MATCH_NONE,  /* not here: such a matcher refines and assesses what another has found */
} sp_match_route;

typedef struct sp_match_settings {
    sp_match_kind kind;
    sp_match_route route;
    double diameter;   /* [m] of the particle, for the polar route; 0: unknown, dense */
    double dispersion; /* r: 1 where the model knows no more than the mean of a shell, 10 and more for a good model; the
                          Poisson kind does not ask */
    double floor;      /* share of the shell mean mixed into the model, 0.05 .. 1 */
    double s_max;      /* [1/m] shells beyond are not compared */
} sp_match_settings;

/* [byte] for what the polar route holds of the images; more of them than fit take turns */
static const double SP_MATCH_POLAR_BUDGET = 256e6;

/* What images are compared by, whoever compares them. */
typedef struct sp_match_tables {
    double unit;      /* value of one photon, or of what counts as one in bright images */
    float *expected;  /* [pixels] mean count of one photon's unit per unit of intensity: exposure / unit */
    float *base;      /* [pixels] sp_patterns_base() at the pixel's radius */
    float *whitening; /* [pixels] 1 / variance of the shell, for the score shown to people */
} sp_match_tables;

/* For the first `pixels` pixels. Release with sp_match_tables_clear(), also after an error. Fails with SP_ERR_MEMORY.
 */
sp_status sp_match_tables_init(const sp_patterns *patterns, double floor, ptrdiff_t pixels, sp_match_tables *tables);
void sp_match_tables_clear(sp_match_tables *tables);

/* Pixels up to s_max [1/m], rounded up to whole shells. */
ptrdiff_t sp_match_pixels(const sp_patterns *patterns, double s_max);

typedef struct sp_matcher sp_matcher;

/* Room for comparing all images of the patterns. `patterns` and `slicer` are borrowed for the matcher's life; their
 * scales and model may change between calls. No more threads may be used later than omp_get_max_threads() tells now.
 * Free with sp_matcher_free(). Fails with SP_ERR_MEMORY, SP_ERR_USAGE (no pixels, or none that the route asked for
 * can work with). */
sp_status sp_matcher_new(const sp_patterns *patterns, const sp_slicer *slicer, const sp_match_settings *settings,
                         sp_matcher **matcher);
void sp_matcher_free(sp_matcher *matcher);                  /* NULL is fine */
sp_match_route sp_matcher_route(const sp_matcher *matcher); /* polar, dense or none */

/* What sp_matcher_new() would make of SP_MATCH_AUTO for these patterns, and what a polar search by pieces wants of
 * them. Fails like it. */
sp_status sp_match_choose_route(const sp_patterns *patterns, const sp_match_settings *settings, sp_match_route *route);
sp_polar_input sp_match_polar_input(const sp_patterns *patterns, const sp_match_settings *settings);
/* Memory of a matcher [byte]; of the polar route where it is not known yet that the pixels do not fit it. */
double sp_matcher_bytes(const sp_match_settings *settings, ptrdiff_t images, ptrdiff_t pixels, int threads);

/* Of a matcher that was made without a slicer: what it compares with, and work space of sp_match_scratch_floats() for
 * each thread, whatever is in it. Both borrowed, until the next call. */
void sp_matcher_use(sp_matcher *matcher, const sp_slicer *slicer, float *scratch);
ptrdiff_t sp_match_scratch_floats(ptrdiff_t pixels);

/* Compare only pixels up to s_max [1/m], at most the settings', rounded up to whole shells, from now on. */
void sp_matcher_limit(sp_matcher *matcher, double s_max);

/* Trust the model more (or less) from now on. */
void sp_matcher_set_dispersion(sp_matcher *matcher, double dispersion);

/* The best orientations of every image among those of the grid.
 *   out  out  indices into the grid, and L, or minus the squared distance up to a term without R; two of one image may
 *             be neighbours on the grid
 * Same result for any number of threads; ties go to the lower index. Cannot fail. This and the next one end early when
 * the user interrupts (base/interrupt.h): the orientations are then not to be used. */
void sp_matcher_search(sp_matcher *matcher, const sp_rotation_grid *grid, const sp_shortlists *out);

/* Improves each image's orientation by Fisher scoring (phases/climb.h); not for the Euclidean kind.
 *   candidates   in   [images][count] where to start
 *   steps, delta as for sp_climb_begin()
 *   orientation  out  [images] the best orientation found; as it was for images that are not selected
 *   fit          out  [images] its L (eq. 7), likewise, or NULL */
void sp_matcher_refine(sp_matcher *matcher, const sp_quat *candidates, int count, sp_selection selection, int steps,
                       double delta, sp_quat *orientation, double *fit);

/* How well the model explains the images in these orientations (eq. 8).
 *   score       out  [images] correlation of image and model pattern about their shell means, whitened; -1 .. 1
 *   scale       out  [images] fluence that fits best, relative, mean 1 over the images with signal; 0 without signal
 *   dispersion  out  r that the scatter of the images about the model corresponds to: median over the shells */
void sp_matcher_assess(sp_matcher *matcher, const sp_quat *orientation, float *score, float *scale, double *dispersion);

/* The same in pieces, for images in several parts, each with a matcher: scores, scales that are not yet relative, and
 * what the dispersion follows from when all parts have been added up.
 * Scores and scales of images that are not selected stay as they are.
 *   scatter  in, out  [sp_match_scatter_count(shells of the patterns)] sums, added to; sp_match_dispersion() uses them
 *                     up */
ptrdiff_t sp_match_scatter_count(ptrdiff_t shells);
void sp_matcher_assess_part(sp_matcher *matcher, const sp_quat *orientation, sp_selection selection, float *score,
                            float *scale, double *scatter);
double sp_match_dispersion(double *scatter, ptrdiff_t shells);
/* The score that these images would have, all together, with a perfect model: what photon noise leaves of 1 (eq. 8a).
 * Of images in which there is nothing but noise: 0, or a small number.
 *   quantum  noise variance / mean of the images, whether they are matched with it or not */
double sp_match_best_score(const double *scatter, ptrdiff_t shells, double quantum);
void sp_match_relate_scales(float *scale, ptrdiff_t images); /* to their mean over the images with signal */
