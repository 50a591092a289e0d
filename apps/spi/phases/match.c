/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/match.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "num/sums.h"
#include "phases/climb.h"
#include "phases/dense.h"
#include "phases/likelihood.h"

enum {
    SCRATCH = 5,    /* patterns that a thread may hold: one predicted, three derivatives, one image */
    ASSESSED = 512, /* images whose sums are kept apart, to be added in their order */
    CHUNK = 1024,   /* pixels predicted and compared at a time: they stay in the first-level cache */
};

/* Images brighter than this are treated as if they had this many photons per bin, at three quarters of the largest
 * radius: there the model, not the noise, limits what can be told. */
static const double BRIGHTEST = 10.0;

/* The polar route may hold this many numbers per image for each pixel. */
static const double MOST_POLAR = 4.0;

struct sp_matcher {
    const sp_patterns *patterns;
    const sp_slicer *slicer;
    const sp_likelihood_kernels *kernels;
    sp_match_settings settings;
    sp_polar_search *polar;   /* NULL: dense, or none */
    sp_dense *dense;          /* NULL: polar, or none */
    ptrdiff_t stride;         /* pixels held per image: up to the settings' s_max */
    ptrdiff_t pixels, shells; /* compared: the first of them, up to the present limit */
    sp_match_tables tables;   /* of the pixels held */
    float *own;               /* NULL: it is lent */
    float *scratch;           /* [threads][SCRATCH][pixels] */
    ptrdiff_t row;            /* sp_match_scatter_count() */
    double
        *residue; /* [kept apart][shells + 1][2] scatter of some images, each by itself; then [shells + 1][2] of all */
};

static ptrdiff_t kept_apart(ptrdiff_t images)
{
    return images < ASSESSED ? images : ASSESSED;
}

static float *thread_scratch(const sp_matcher *self)
{
    return self->scratch + (ptrdiff_t)omp_get_thread_num() * SCRATCH * self->stride;
}

/* Counts of one image [photons], in scratch of the thread. */
static float *read_image(const sp_matcher *self, ptrdiff_t image)
{
    sp_pattern_reader reader = sp_patterns_open(self->patterns, image);
    float *k = thread_scratch(self) + (SCRATCH - 1) * self->stride;

    sp_patterns_read(&reader, self->pixels, (float)(1.0 / self->tables.unit), k);
    return k;
}

/* ---- set-up ---- */

static double photon_unit(const sp_patterns *patterns)
{
    ptrdiff_t shell = patterns->shells * 3 / 4;

    while (shell > 0 && patterns->profile[shell] <= 0.0) { /* a ring of bad pixels */
        shell--;
    }
    const double unit = fmax(patterns->quantum, patterns->profile[shell] / BRIGHTEST);

    return unit > 0.0 ? unit : 1.0;
}

ptrdiff_t sp_match_pixels(const sp_patterns *patterns, double s_max)
{
    const ptrdiff_t within = sp_patterns_within(patterns, s_max);

    return within > 0 ? patterns->shell_start[patterns->shell[within - 1] + 1] : 0; /* whole shells */
}

sp_status sp_match_tables_init(const sp_patterns *patterns, double floor, ptrdiff_t pixels, sp_match_tables *tables)
{
    sp_status status = SP_OK;

    *tables = (sp_match_tables){.unit = photon_unit(patterns)};
    SP_TRY(SP_ARRAY(tables->expected, pixels));
    SP_TRY(SP_ARRAY(tables->base, pixels));
    SP_TRY(SP_ARRAY(tables->whitening, pixels));
    for (ptrdiff_t p = 0; p < pixels; p++) {
        const ptrdiff_t shell = patterns->shell[p];
        const double per_unit = (double)patterns->exposure[p] / tables->unit,
                     mean = patterns->profile[shell] * per_unit;
        const double speckle = mean - patterns->smooth[shell] * per_unit;

        tables->expected[p] = (float)(patterns->exposure[p] / tables->unit);
        tables->base[p] = (float)sp_patterns_base(patterns, floor, patterns->radius[p]);
        tables->whitening[p] =
            mean > 0.0 ? (float)(1.0 / (mean + speckle * speckle)) : 0.0f; /* dispersion 1: pure speckle */
    }
done:
    return status;
}

void sp_match_tables_clear(sp_match_tables *tables)
{
    sp_array_free(tables->expected);
    sp_array_free(tables->base);
    sp_array_free(tables->whitening);
    *tables = (sp_match_tables){0};
}

static sp_status make_dense_route(sp_matcher *self)
{
    return sp_dense_new(&(sp_dense_input){.patterns = self->patterns,
                                          .stride = self->stride,
                                          .unit = self->tables.unit,
                                          .base = self->tables.base,
                                          .expected = self->tables.expected,
                                          .share = 1.0 / (1.0 + self->settings.floor),
                                          .euclidean = self->settings.kind == SP_MATCH_EUCLIDEAN,
                                          .isa = sp_isa_best()},
                        &self->dense);
}

/* Numbers that the polar route holds per image, if it can be taken and pays; 0: it is not taken. It does not pay where
 * bins are so large that its rings are many more than they. */
static double polar_floats(const sp_match_settings *settings, double s_max, ptrdiff_t pixels)
{
    const bool known = settings->diameter > 0.0 && s_max < INFINITY;
    const double floats = known ? sp_polar_floats(s_max, settings->diameter) : 0.0;
    const bool pays = settings->kind != SP_MATCH_EUCLIDEAN && floats <= MOST_POLAR * (double)pixels;

    return settings->route == SP_MATCH_POLAR || (settings->route == SP_MATCH_AUTO && pays) ? floats : 0.0;
}

sp_polar_input sp_match_polar_input(const sp_patterns *patterns, const sp_match_settings *settings)
{
    return (sp_polar_input){.patterns = patterns,
                            .stride = sp_match_pixels(patterns, settings->s_max),
                            .unit = photon_unit(patterns),
                            .floor = settings->floor,
                            .diameter = settings->diameter,
                            .isa = sp_isa_best()};
}

sp_status sp_match_choose_route(const sp_patterns *patterns, const sp_match_settings *settings, sp_match_route *route)
{
    const bool polar = settings->route == SP_MATCH_POLAR;
    const ptrdiff_t stride = sp_match_pixels(patterns, settings->s_max);
    sp_status status = SP_OK;
    double curvature;

    SP_REQUIRE(!polar || settings->kind != SP_MATCH_EUCLIDEAN, SP_ERR_USAGE,
               "the Euclidean distance is compared by the dense route only");
    SP_REQUIRE(!polar || settings->diameter > 0.0, SP_ERR_USAGE, "the polar route needs the diameter of the particle");
    SP_REQUIRE(stride > 0, SP_ERR_USAGE, "no pixel lies within %.4g Angstrom", 1e10 / settings->s_max);
    if (settings->route == SP_MATCH_NONE) {
        *route = SP_MATCH_NONE;
    } else {
        *route = polar || (polar_floats(settings, patterns->radius[stride - 1], stride) > 0.0 &&
                           sp_polar_fits(patterns, stride, &curvature))
                     ? SP_MATCH_POLAR
                     : SP_MATCH_DENSE;
    }
done:
    return status;
}

static sp_status make_route(sp_matcher *self)
{
    sp_match_route route;
    sp_status status = SP_OK;

    SP_TRY(sp_match_choose_route(self->patterns, &self->settings, &route));
    if (route == SP_MATCH_POLAR) {
        const sp_polar_input input = sp_match_polar_input(self->patterns, &self->settings);

        SP_TRY(sp_polar_search_new(&input, SP_MATCH_POLAR_BUDGET, &self->polar));
    } else if (route == SP_MATCH_DENSE) {
        SP_TRY(make_dense_route(self));
    }
done:
    return status;
}

sp_status sp_matcher_new(const sp_patterns *patterns, const sp_slicer *slicer, const sp_match_settings *settings,
                         sp_matcher **matcher)
{
    const ptrdiff_t threads = omp_get_max_threads();
    sp_status status = SP_OK;
    sp_matcher *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->patterns = patterns;
    self->slicer = slicer;
    self->kernels = sp_likelihood_kernels_for(sp_isa_best());
    self->settings = *settings;
    sp_matcher_set_dispersion(self, settings->dispersion);
    sp_matcher_limit(self, settings->s_max);
    SP_REQUIRE(self->pixels > 0, SP_ERR_USAGE, "no pixel lies within %.4g Angstrom", 1e10 / settings->s_max);
    self->stride = self->pixels;
    SP_TRY(sp_match_tables_init(patterns, settings->floor, self->pixels, &self->tables));
    if (slicer) {
        SP_TRY(SP_ARRAY(self->own, threads * sp_match_scratch_floats(self->pixels)));
        self->scratch = self->own;
    }
    self->row = sp_match_scatter_count(patterns->shells);
    SP_TRY(SP_ARRAY(self->residue, (kept_apart(patterns->images) + 1) * self->row));
    SP_TRY(make_route(self));
    *matcher = self;
    self = NULL;
done:
    sp_matcher_free(self);
    return status;
}

void sp_matcher_free(sp_matcher *matcher)
{
    if (!matcher) {
        return;
    }
    sp_polar_search_free(matcher->polar);
    sp_dense_free(matcher->dense);
    sp_match_tables_clear(&matcher->tables);
    sp_array_free(matcher->own);
    sp_array_free(matcher->residue);
    sp_array_free(matcher);
}

double sp_matcher_bytes(const sp_match_settings *settings, ptrdiff_t images, ptrdiff_t pixels, int threads)
{
    const double shells = sqrt((double)pixels), residue = 16.0 * ((double)kept_apart(images) + 1.0) * shells;
    const double own = 4.0 * (double)pixels * (SCRATCH * threads + 3) + residue;

    if (settings->route == SP_MATCH_NONE) {
        return own;
    }
    return own +
           (polar_floats(settings, settings->s_max, pixels) > 0.0
                ? sp_polar_bytes(settings->s_max, settings->diameter, images, pixels, SP_MATCH_POLAR_BUDGET, threads)
                : sp_dense_bytes(pixels, threads));
}

ptrdiff_t sp_match_scratch_floats(ptrdiff_t pixels)
{
    return SCRATCH * pixels;
}

void sp_matcher_use(sp_matcher *matcher, const sp_slicer *slicer, float *scratch)
{
    matcher->slicer = slicer;
    matcher->scratch = scratch;
}

void sp_matcher_limit(sp_matcher *matcher, double s_max)
{
    const sp_patterns *patterns = matcher->patterns;
    const ptrdiff_t room = matcher->stride > 0 ? matcher->stride : patterns->pixels;
    const ptrdiff_t within = sp_match_pixels(patterns, s_max);

    matcher->pixels = within < room ? within : room;
    matcher->shells = matcher->pixels > 0 ? patterns->shell[matcher->pixels - 1] + 1 : 0;
}

sp_match_route sp_matcher_route(const sp_matcher *matcher)
{
    return matcher->polar ? SP_MATCH_POLAR : matcher->dense ? SP_MATCH_DENSE : SP_MATCH_NONE;
}

void sp_matcher_set_dispersion(sp_matcher *matcher, double dispersion)
{
    matcher->settings.dispersion = sp_match_dispersion_of(matcher->settings.kind, dispersion);
}

/* ---- search on the grid ---- */

void sp_matcher_search(sp_matcher *matcher, const sp_rotation_grid *grid, const sp_shortlists *out)
{
    if (matcher->polar) {
        sp_polar_search_run(matcher->polar, matcher->slicer, matcher->pixels, matcher->settings.dispersion, grid, out);
    } else {
        sp_dense_search(matcher->dense, matcher->slicer, matcher->pixels, matcher->settings.dispersion, grid, out);
    }
}

/* ---- local refinement ---- */

/* What an image of counts k [photons] shows in an orientation, with derivatives where they are wanted. */
static void look(const sp_matcher *self, ptrdiff_t image, const float *k, bool lead, sp_look *at)
{
    const sp_likelihood_model model = {.base = self->tables.base,
                                       .expected = self->tables.expected,
                                       .share = (float)(1.0 / (1.0 + self->settings.floor)),
                                       .dispersion = (float)self->settings.dispersion};
    const ptrdiff_t room = self->stride < CHUNK ? self->stride : CHUNK;
    float *pattern = thread_scratch(self);
    float *const turn[3] = {pattern + room, pattern + 2 * room, pattern + 3 * room};

    for (ptrdiff_t p = 0; p < self->pixels; p += room) {
        const ptrdiff_t count = self->pixels - p < room ? self->pixels - p : room;
        float *const s[3] = {self->patterns->s[0] + p, self->patterns->s[1] + p, self->patterns->s[2] + p};

        if (lead) {
            sp_slicer_cut_turns(self->slicer, at->q, s, count, pattern, turn);
        } else {
            sp_slicer_cut(self->slicer, at->q, s, count, pattern);
        }
        self->kernels->add(&model, p, count, k + p, self->patterns->scale[image], pattern,
                           lead ? (const float *const *)turn : NULL, &at->sums);
    }
}

static sp_climber refine_image(const sp_matcher *self, ptrdiff_t image, const sp_quat *candidates, int count, int steps,
                               double delta)
{
    const float *k = read_image(self, image);
    sp_climb climb;

    sp_climb_begin(&climb, candidates, count, steps, delta);
    while (climb.looks > 0) {
        for (int i = 0; i < climb.looks; i++) {
            look(self, image, k, climb.lead, &climb.look[i]);
        }
        sp_climb_advance(&climb);
    }
    return climb.climber[0];
}

void sp_matcher_refine(sp_matcher *matcher, const sp_quat *candidates, int count, sp_selection selection, int steps,
                       double delta, sp_quat *orientation, double *fit)
{
    assert(matcher->settings.kind != SP_MATCH_EUCLIDEAN && count <= SP_CLIMB_CANDIDATES);
#pragma omp parallel for schedule(dynamic, 8)
    for (ptrdiff_t n = 0; n < matcher->patterns->images; n++) {
        const sp_quat *from = candidates + n * count;

        if (!sp_is_selected(&selection, n)) {
            continue;
        }
        const sp_climber best =
            sp_interrupted() ? (sp_climber){.q = from[0]} : refine_image(matcher, n, from, count, steps, delta);

        orientation[n] = best.q;
        if (fit) {
            fit[n] = best.score;
        }
    }
}

/* ---- assessment ---- */

/* Removes the mean intensity of each shell, times exposure: where a bin is large it counts more, which says nothing. */
static void remove_shell_means(const sp_matcher *self, float *x)
{
    for (ptrdiff_t k = 0; k < self->shells; k++) {
        const ptrdiff_t first = self->patterns->shell_start[k], count = self->patterns->shell_start[k + 1] - first;
        const double exposure = sp_sum(self->patterns->exposure + first, count);
        const float mean = count > 0 ? (float)(sp_sum(x + first, count) / exposure) : 0.0f;

        for (ptrdiff_t p = first; p < first + count; p++) {
            x[p] -= mean * self->patterns->exposure[p];
        }
    }
}

/* What photon noise scatters, whitened, in an image whose quantum is 1.
 *   k  in  [pixels] photons, background taken off */
static double photon_scatter(const sp_matcher *self, const float *k)
{
    const float per_photon = (float)(1.0 / self->tables.unit);
    double sum = 0.0;

    for (ptrdiff_t p = 0; p < self->pixels; p++) {
        sum += (double)self->tables.whitening[p] * (k[p] + per_photon * self->patterns->background[p]);
    }
    return (double)per_photon * sum;
}

/* One image: score, scale, and its scatter, [sp_match_scatter_count()]. */
static void assess_image(const sp_matcher *self, ptrdiff_t image, sp_quat q, float *score, float *scale,
                         double *residue)
{
    const ptrdiff_t count = self->pixels;
    const float noise = (float)(self->patterns->quantum / self->tables.unit),
                per_photon = (float)(1.0 / self->tables.unit);
    float *m = thread_scratch(self), *k = read_image(self, image);
    double total = 0.0, expected = 0.0;

    sp_slicer_cut(self->slicer, q, self->patterns->s, count, m);
    for (ptrdiff_t p = 0; p < count; p++) {
        m[p] *= self->tables.expected[p];
    }
    /* fluence: weighted by 1 / (1 + mean), between photon noise (weight 1) and speckle (1 / mean) */
    for (ptrdiff_t p = 0; p < count; p++) {
        const double weight = (double)self->tables.whitening[p] * m[p];

        k[p] -= per_photon * self->patterns->background[p];
        total += weight * k[p];
        expected += weight * m[p];
    }
    *scale = expected > 0.0 && self->patterns->scale[image] > 0.0f ? (float)(total / expected) : 0.0f;
    for (ptrdiff_t s = 0; s < self->shells; s++) {
        double *sum = residue + 2 * s;

        sum[0] = sum[1] = 0.0;
        for (ptrdiff_t p = self->patterns->shell_start[s]; p < self->patterns->shell_start[s + 1]; p++) {
            const double mean = (double)*scale * m[p], difference = k[p] - mean;

            sum[0] += mean * mean;
            sum[1] += difference * difference - noise * (mean + per_photon * self->patterns->background[p]);
        }
    }
    double *sum = residue + self->row - 2;

    sum[0] = photon_scatter(self, k);
    remove_shell_means(self, m);
    remove_shell_means(self, k);
    sum[1] = sp_dot3(self->tables.whitening, k, k, count);
    const double norm = sp_dot3(self->tables.whitening, m, m, count) * sum[1];

    *score = norm > 0.0 ? (float)(sp_dot3(self->tables.whitening, m, k, count) / sqrt(norm)) : 0.0f;
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

ptrdiff_t sp_match_scatter_count(ptrdiff_t shells)
{
    return 2 * (shells + 1);
}

double sp_match_best_score(const double *scatter, ptrdiff_t shells, double quantum)
{
    const double noise = quantum * scatter[2 * shells], all = scatter[2 * shells + 1];

    return all > noise ? sqrt(1.0 - noise / all) : 0.0;
}

/* Median over the shells of sum m^2 / sum ((k - m)^2 - noise), each shell over all images. */
double sp_match_dispersion(double *scatter, ptrdiff_t shells)
{
    double *ratio = scatter;
    ptrdiff_t filled = 0;

    for (ptrdiff_t s = 0; s < shells; s++) {
        const double square = scatter[2 * s], rest = scatter[2 * s + 1];

        if (square > 0.0) {
            ratio[filled++] = rest > 1e-6 * square ? square / rest : 1e6;
        }
    }
    qsort(ratio, (size_t)filled, sizeof *ratio, compare_doubles);
    return filled > 0 ? ratio[filled / 2] : 1.0;
}

/* Images first .. first + count - 1, at most ASSESSED; their sums are added to those of all. */
static void assess_images(sp_matcher *self, ptrdiff_t first, ptrdiff_t count, const sp_quat *orientation,
                          const sp_selection *selection, float *score, float *scale, double *scatter)
{
    const ptrdiff_t width = self->row;

#pragma omp parallel for schedule(dynamic, 8)
    for (ptrdiff_t n = first; n < first + count; n++) {
        if (sp_is_selected(selection, n)) {
            assess_image(self, n, orientation[n], &score[n], &scale[n], self->residue + (n - first) * width);
        }
    }
    for (ptrdiff_t n = 0; n < count; n++) {
        for (ptrdiff_t i = 0; i < width && sp_is_selected(selection, first + n); i++) {
            scatter[i] += i < 2 * self->shells || i >= width - 2 ? self->residue[n * width + i] : 0.0;
        }
    }
}

void sp_matcher_assess_part(sp_matcher *matcher, const sp_quat *orientation, sp_selection selection, float *score,
                            float *scale, double *scatter)
{
    const ptrdiff_t images = matcher->patterns->images;

    for (ptrdiff_t n = 0; n < images; n += ASSESSED) {
        assess_images(matcher, n, images - n < ASSESSED ? images - n : ASSESSED, orientation, &selection, score, scale,
                      scatter);
    }
}

void sp_match_relate_scales(float *scale, ptrdiff_t images)
{
    double sum = 0.0;
    ptrdiff_t used = 0;

    for (ptrdiff_t n = 0; n < images; n++) {
        sum += scale[n];
        used += scale[n] > 0.0f;
    }
    for (ptrdiff_t n = 0; n < images && sum > 0.0; n++) {
        scale[n] *= (float)((double)used / sum);
    }
}

void sp_matcher_assess(sp_matcher *matcher, const sp_quat *orientation, float *score, float *scale, double *dispersion)
{
    double *all = matcher->residue + kept_apart(matcher->patterns->images) * matcher->row;

    memset(all, 0, (size_t)matcher->row * sizeof *all);
    sp_matcher_assess_part(matcher, orientation, (sp_selection){0}, score, scale, all);
    sp_match_relate_scales(scale, matcher->patterns->images);
    *dispersion = sp_match_dispersion(all, matcher->shells);
}
