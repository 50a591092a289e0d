/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/match.h"

#include <omp.h>

#include "phases/climb.h"
#include "phases/matching.h"

enum { EDGE = 20, SIDE = 20, PIXELS = SIDE * SIDE };

static const double STEP = 0.016e10, WAVELENGTH = 2.5e-10; /* corner at 0.22 / A; a speckle is 0.06 / A */
static const double FLOOR = 0.3;

/* Noise-free images of blobs in known orientations, on a detector of uneven sensitivity, and the model that made them.
 * The scales are the true ones. */
typedef struct scene {
    blobs particle;
    ptrdiff_t images;
    sp_quat *truth;
    float *fluence; /* [images] */
    bench detector;
    sp_patterns patterns;
    sp_slicer *slicer;
} scene;

/* The profile of the images as they are now, the true scales. */
static void measure(scene *s)
{
    assert_int_equal(sp_patterns_measure(&s->patterns), SP_OK);
    memcpy(s->patterns.scale, s->fluence, (size_t)s->images * sizeof *s->fluence);
}

static scene make_scene_of(blobs particle, ptrdiff_t images, const sp_quat *truth, const double *scale)
{
    scene s = {.particle = particle, .images = images};

    assert_int_equal(SP_ARRAY(s.fluence, images), SP_OK);
    s.truth = random_orientations(images, 31);
    for (ptrdiff_t n = 0; n < images; n++) {
        s.truth[n] = truth ? truth[n] : s.truth[n];
        s.fluence[n] = scale ? (float)scale[n] : 1.0f;
    }
    s.detector = bench_new(1, SIDE, SIDE, STEP, WAVELENGTH);
    for (ptrdiff_t p = 0; p < PIXELS; p++) {
        s.detector.correction[p] = 1.0f + 0.3f * (float)(p % 3);
    }
    s.patterns = bench_expose(&s.detector, &s.particle, images, s.truth, scale);
    assert_int_equal(sp_slicer_new(EDGE, VOXEL, 4, &s.slicer), SP_OK);
    measure(&s);
    load_blobs(s.slicer, &s.particle, EDGE, 1.0);
    return s;
}

static scene make_scene(ptrdiff_t images, const sp_quat *truth, const double *scale)
{
    return make_scene_of(blobs_random(11, 3.5, 0.8), images, truth, scale);
}

static void clear_scene(scene *s)
{
    sp_array_free(s->truth);
    sp_array_free(s->fluence);
    bench_clear(&s->detector);
    sp_patterns_clear(&s->patterns);
    sp_slicer_free(s->slicer);
}

/* Photon counts instead of expected values, `photons` per image on average, and a model as bright. */
static void add_photon_noise(scene *s, double photons)
{
    const double factor = draw_photons(&s->patterns, s->images, photons);

    measure(s);
    load_blobs(s->slicer, &s->particle, EDGE, factor);
}

static sp_matcher *make_matcher(const scene *s, sp_match_settings settings)
{
    sp_matcher *matcher = NULL;

    assert_int_equal(sp_matcher_new(&s->patterns, s->slicer, &settings, &matcher), SP_OK);
    return matcher;
}

static sp_match_settings likelihood(double dispersion)
{
    return (sp_match_settings){
        .kind = SP_MATCH_LIKELIHOOD, .dispersion = dispersion, .floor = FLOOR, .s_max = INFINITY};
}

/* For a model that is right: the floor would only blur it. */
static sp_match_settings sharp_likelihood(void)
{
    sp_match_settings settings = likelihood(10.0);

    settings.floor = 1e-3;
    return settings;
}

static sp_match_settings likelihood_within(double s_max)
{
    sp_match_settings settings = likelihood(1.0);

    settings.s_max = s_max;
    return settings;
}

/* The answers of one search; free both arrays. */
typedef struct answer {
    ptrdiff_t *best;
    float *score;
} answer;

static answer search_with(sp_matcher *matcher, ptrdiff_t images, const sp_rotation_grid *grid, int keep)
{
    sp_shortlists lists = {.keep = keep};
    answer a = {0};

    assert_int_equal(SP_ARRAY(lists.best, images * keep), SP_OK);
    assert_int_equal(SP_ARRAY(a.best, images * keep), SP_OK);
    assert_int_equal(SP_ARRAY(a.score, images * keep), SP_OK);
    sp_matcher_search(matcher, grid, &lists);
    split_candidates(lists.best, images * keep, a.best, a.score);
    sp_array_free(lists.best);
    return a;
}

static answer search(const scene *s, const sp_rotation_grid *grid, sp_match_settings settings, int keep)
{
    sp_matcher *matcher = make_matcher(s, settings);
    const answer a = search_with(matcher, s->images, grid, keep);

    sp_matcher_free(matcher);
    return a;
}

static void clear_answer(answer *a)
{
    sp_array_free(a->best);
    sp_array_free(a->score);
}

/* Score of each image in its own orientation, as the search gives it. */
static void scores_of(sp_matcher *matcher, ptrdiff_t images, sp_quat *q, float *score)
{
    const sp_rotation_grid grid = {.directions = images, .angles = 1, .count = images, .q = q};
    answer a = search_with(matcher, images, &grid, (int)images);

    for (ptrdiff_t i = 0; i < images * images; i++) {
        if (a.best[i] == i / images) {
            score[i / images] = a.score[i];
        }
    }
    clear_answer(&a);
}

/* ---- plain references, in double ---- */

/* The value of one photon: of noise-free values, a tenth of the mean at three quarters of the radius, or at the next
 * smaller radius that has pixels. */
static double photon(const sp_patterns *patterns)
{
    ptrdiff_t shell = patterns->shells * 3 / 4;

    while (patterns->profile[shell] == 0.0) {
        shell--;
    }
    return fmax(patterns->quantum, patterns->profile[shell] / 10.0);
}

/* The profile at a radius: linear between the middles of shells that have pixels. */
static double profile_at(const sp_patterns *patterns, double radius)
{
    double below = -1.0, above = INFINITY, low = 0.0, high = 0.0; /* in shells */

    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        const double middle = (double)k + 0.5;

        if (patterns->shell_start[k] == patterns->shell_start[k + 1]) {
            continue;
        }
        if (middle <= radius / patterns->shell_width) {
            below = middle;
            low = patterns->profile[k];
        } else if (middle < above) {
            above = middle;
            high = patterns->profile[k];
        }
    }
    if (below < 0.0 || above > (double)patterns->shells) {
        return below < 0.0 ? high : low;
    }
    return low + (high - low) * (radius / patterns->shell_width - below) / (above - below);
}

/* Mean counts [photons] of an image of scale 1. */
static void expected_counts(const scene *s, sp_quat q, double part, double *m)
{
    const sp_patterns *patterns = &s->patterns;
    float pattern[PIXELS];

    sp_slicer_cut(s->slicer, q, patterns->s, patterns->pixels, pattern);
    for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
        m[p] = ((double)pattern[p] + part * profile_at(patterns, patterns->radius[p])) / (1.0 + part) *
               (double)patterns->exposure[p] / photon(patterns);
    }
}

static double counts_of(const scene *s, ptrdiff_t image, ptrdiff_t p)
{
    return s->patterns.count[image * s->patterns.pixels + p] / photon(&s->patterns);
}

static double plain_score(const scene *s, ptrdiff_t image, sp_quat q, double r)
{
    const double scale = s->patterns.scale[image];
    double m[PIXELS], sum = 0.0;

    expected_counts(s, q, FLOOR, m);
    for (ptrdiff_t p = 0; p < s->patterns.pixels; p++) {
        sum += -counts_of(s, image, p) * log1p(r / m[p]) - scale * r * log1p(m[p] / r);
    }
    return sum;
}

/* Logarithm of the negative binomial probability of all counts, mean scale m, variance scale (m + m^2/r). */
static double negative_binomial(const scene *s, ptrdiff_t image, sp_quat q, double r)
{
    const double scale = s->patterns.scale[image], trials = scale * r;
    double m[PIXELS], sum = 0.0;

    expected_counts(s, q, FLOOR, m);
    for (int p = 0; p < PIXELS; p++) {
        const double k = counts_of(s, image, p), success = trials / (trials + scale * m[p]);

        sum += lgamma(k + trials) - lgamma(trials) - lgamma(k + 1.0) + trials * log(success) + k * log1p(-success);
    }
    return sum;
}

static double poisson(const scene *s, ptrdiff_t image, sp_quat q)
{
    const double scale = s->patterns.scale[image];
    double m[PIXELS], sum = 0.0;

    expected_counts(s, q, FLOOR, m);
    for (int p = 0; p < PIXELS; p++) {
        const double k = counts_of(s, image, p);

        sum += k * log(scale * m[p]) - scale * m[p] - lgamma(k + 1.0);
    }
    return sum;
}

/* Checks one image's list of `keep` against the scores of all orientations. */
static void check_list(const double *all, ptrdiff_t count, int keep, const ptrdiff_t *best, const float *score,
                       double tolerance)
{
    for (int k = 0; k < keep; k++) {
        assert_true(fabs(score[k] - all[best[k]]) < tolerance);
        assert_true(k == 0 || score[k] <= score[k - 1]);
        for (int j = 0; j < k; j++) {
            assert_int_not_equal(best[j], best[k]);
        }
    }
    for (ptrdiff_t o = 0; o < count; o++) {
        bool kept = false;

        for (int k = 0; k < keep; k++) {
            kept = kept || best[k] == o;
        }
        assert_true(kept || all[o] < score[keep - 1] + tolerance);
    }
}

/* ---- search ---- */

static void check_scores(const scene *s, double r, double tolerance)
{
    enum { KEEP = 5 };
    sp_rotation_grid grid = make_grid(300);
    answer a = search(s, &grid, likelihood(r), KEEP);
    double *all = NULL;

    assert_true(grid.count > 256); /* more than one tile */
    assert_int_equal(SP_ARRAY(all, grid.count), SP_OK);
    for (ptrdiff_t n = 0; n < s->images; n++) {
        for (ptrdiff_t o = 0; o < grid.count; o++) {
            all[o] = plain_score(s, n, grid.q[o], r);
        }
        check_list(all, grid.count, KEEP, a.best + n * KEEP, a.score + n * KEEP, tolerance);
    }
    sp_array_free(all);
    clear_answer(&a);
    sp_rotation_grid_clear(&grid);
}

static void the_score_is_the_formula_in_double_precision(void **state)
{
    (void)state;
    const double scale[] = {1.0, 0.3, 2.0, 0.7};
    scene bright = make_scene(4, NULL, scale), dim = make_scene(4, NULL, scale);

    add_photon_noise(&dim, 3000.0);
    check_scores(&bright, 1.0, 1e-3);
    check_scores(&bright, 10.0, 1e-2);
    check_scores(&dim, 1.0, 1e-3);
    check_scores(&dim, 10.0, 5e-3);
    clear_scene(&bright);
    clear_scene(&dim);
}

/* Broad blobs scatter ten thousand times as brightly near the centre as outside: the logarithms must not round away
 * what little those pixels say. */
static void a_bright_centre_does_not_round_the_score(void **state)
{
    (void)state;
    scene s = make_scene_of(blobs_random(11, 2.0, 1.5), 3, NULL, NULL);

    assert_true(s.patterns.profile[0] > 1e5 * photon(&s.patterns));
    check_scores(&s, 1.0, 1e-2);
    clear_scene(&s);
}

/* The unit of noise-free values is read off the shell at three quarters of the radius; a ring of bad pixels may lie
 * there. */
static void a_ring_without_pixels_does_no_harm(void **state)
{
    (void)state;
    scene s = make_scene(3, NULL, NULL);
    const ptrdiff_t ring = s.patterns.shells * 3 / 4;

    for (int p = 0; p < PIXELS; p++) {
        const double *at = s.detector.position + 3 * p;
        const double radius = sqrt(at[0] * at[0] + at[1] * at[1] + at[2] * at[2]);

        s.detector.bad[p] = (ptrdiff_t)(radius / s.patterns.shell_width) == ring;
    }
    sp_patterns_clear(&s.patterns);
    s.patterns = bench_expose(&s.detector, &s.particle, s.images, s.truth, NULL);
    measure(&s);
    assert_true(s.patterns.profile[ring] == 0.0 && s.patterns.profile[ring - 1] > 0.0);
    check_scores(&s, 1.0, 1e-3);
    clear_scene(&s);
}

/* Differences between orientations: what the score leaves out does not depend on them. */
static void check_differences(const scene *s, sp_match_settings settings,
                              double reference(const scene *, ptrdiff_t, sp_quat, double), double tolerance)
{
    const double r = settings.dispersion;
    sp_rotation_grid grid = make_grid(60);
    answer a = search(s, &grid, settings, (int)grid.count);
    double spread = 0.0;

    for (ptrdiff_t n = 0; n < s->images; n++) {
        const ptrdiff_t *best = a.best + n * grid.count;
        const float *score = a.score + n * grid.count;
        const double top = reference(s, n, grid.q[best[0]], r);

        for (ptrdiff_t k = 1; k < grid.count; k++) {
            const double difference = reference(s, n, grid.q[best[k]], r) - top;

            spread = fmax(spread, fabs(difference));
            assert_true(fabs((double)score[k] - (double)score[0] - difference) < tolerance);
        }
    }
    assert_true(spread > 100.0 * tolerance);
    clear_answer(&a);
    sp_rotation_grid_clear(&grid);
}

static void the_score_is_the_negative_binomial_likelihood(void **state)
{
    (void)state;
    const double scale[] = {1.0, 0.5, 1.7};
    scene s = make_scene(3, NULL, scale);

    add_photon_noise(&s, 3000.0);
    check_differences(&s, likelihood(1.0), negative_binomial, 5e-3);
    check_differences(&s, likelihood(7.0), negative_binomial, 1e-2);
    clear_scene(&s);
}

static double poisson_reference(const scene *s, ptrdiff_t image, sp_quat q, double r)
{
    (void)r;
    return poisson(s, image, q);
}

static sp_match_settings poisson_likelihood(void)
{
    sp_match_settings settings = likelihood(1.0); /* which the kind does not ask for */

    settings.kind = SP_MATCH_POISSON;
    return settings;
}

/* Differences of some hundreds, where one is a factor of e in probability: few photons for the sake of shares, more for
 * that of the largest. */
static void the_poisson_kind_compares_by_the_poisson_likelihood(void **state)
{
    (void)state;
    const double scale[] = {1.0, 0.5, 1.7};
    scene dim = make_scene(3, NULL, scale), brighter = make_scene(3, NULL, scale);

    add_photon_noise(&dim, 300.0);
    check_differences(&dim, poisson_likelihood(), poisson_reference, 0.02);
    add_photon_noise(&brighter, 3000.0);
    check_differences(&brighter, poisson_likelihood(), poisson_reference, 0.2);
    clear_scene(&dim);
    clear_scene(&brighter);
}

/* Neither at the start nor later does the trust of the loop change it. */
static void the_poisson_kind_keeps_its_dispersion(void **state)
{
    (void)state;
    scene s = make_scene(2, NULL, NULL);
    sp_rotation_grid grid = make_grid(60);
    sp_matcher *matcher = make_matcher(&s, poisson_likelihood());
    answer before = search_with(matcher, 2, &grid, 3);

    sp_matcher_set_dispersion(matcher, 10.0);
    answer after = search_with(matcher, 2, &grid, 3);
    assert_memory_equal(after.score, before.score, 6 * sizeof *before.score);
    clear_answer(&before);
    clear_answer(&after);
    sp_matcher_free(matcher);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* From beside the truth up to a place that the plain sum calls more probable. */
static void refinement_climbs_the_poisson_likelihood(void **state)
{
    (void)state;
    enum { IMAGES = 6 };
    const double angle = 0.05, axis[3] = {1.0, 0.0, 0.0};
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_quat beside[IMAGES], found[IMAGES];
    double fit[IMAGES];

    add_photon_noise(&s, 3000.0);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        beside[n] = sp_quat_multiply(sp_quat_from_axis_angle(axis, angle), s.truth[n]);
    }
    sp_matcher *matcher = make_matcher(&s, poisson_likelihood());

    sp_matcher_refine(matcher, beside, 1, (sp_selection){0}, 10, 0.1, found, fit);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        assert_true(poisson(&s, n, found[n]) > poisson(&s, n, beside[n]));
        assert_true(poisson(&s, n, found[n]) > poisson(&s, n, s.truth[n]) - 0.1);
    }
    sp_matcher_free(matcher);
    clear_scene(&s);
}

static void shares_are_powers_of_probabilities(void **state)
{
    (void)state;
    enum { KEEP = 4 };
    const sp_candidate list[KEEP] = {{7, -100.0f}, {3, -101.0f}, {5, -103.0f}, {1, -INFINITY}};
    sp_candidate share[KEEP];

    for (double beta = 0.25; beta <= 1.0; beta += 0.25) {
        const double part[KEEP] = {1.0, exp(-beta), exp(-3.0 * beta), 0.0},
                     least = exp(-2.5); /* beta < 0.9 keeps [2] */
        const double sum = 1.0 + part[1] + (part[2] >= least ? part[2] : 0.0);

        memcpy(share, list, sizeof share);
        sp_shortlist_share(share, KEEP, beta, least);
        for (int i = 0; i < KEEP; i++) {
            assert_int_equal(share[i].index, list[i].index);
            assert_float_equal(share[i].score, part[i] >= least ? part[i] / sum : 0.0, 1e-6);
        }
    }
}

/* Root of mean power of images over mean power of 256 model patterns spread over the grid. */
static double plain_model_scale(const scene *s, const sp_rotation_grid *grid)
{
    enum { SAMPLE = 256 };
    const sp_patterns *patterns = &s->patterns;
    double data = 0.0, model = 0.0;
    float y[PIXELS];

    for (ptrdiff_t i = 0; i < SAMPLE; i++) {
        sp_slicer_cut(s->slicer, grid->q[i * grid->count / SAMPLE], patterns->s, PIXELS, y);
        for (int p = 0; p < PIXELS; p++) {
            model += pow((double)y[p], 2.0) / SAMPLE;
        }
    }
    for (ptrdiff_t i = 0; i < s->images * PIXELS; i++) {
        data += pow((double)patterns->count[i] / (double)patterns->exposure[i % PIXELS], 2.0) / (double)s->images;
    }
    return sqrt(data / model);
}

static void the_euclidean_kind_finds_the_least_squared_distance(void **state)
{
    (void)state;
    enum { IMAGES = 12 };
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_rotation_grid grid = make_grid(400);
    answer a = search(&s, &grid, (sp_match_settings){.kind = SP_MATCH_EUCLIDEAN, .s_max = INFINITY}, 1);
    const double scale = plain_model_scale(&s, &grid);
    double least[IMAGES], power[IMAGES];
    ptrdiff_t argmin[IMAGES] = {0};

    for (ptrdiff_t o = 0; o < grid.count; o++) {
        float y[PIXELS];

        sp_slicer_cut(s.slicer, grid.q[o], s.patterns.s, PIXELS, y);
        for (ptrdiff_t n = 0; n < IMAGES; n++) {
            double square = 0.0;

            power[n] = 0.0;
            for (int p = 0; p < PIXELS; p++) {
                const double x = (double)s.patterns.count[n * PIXELS + p] / (double)s.patterns.exposure[p];

                power[n] += x * x;
                square += pow(x - scale * (double)y[p], 2.0);
            }
            if (o == 0 || square < least[n]) {
                least[n] = square;
                argmin[n] = o;
            }
        }
    }
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        assert_int_equal(a.best[n], argmin[n]);
        assert_true(fabs(power[n] - a.score[n] - least[n]) < 1e-5 * power[n]); /* score = |x|^2 - distance */
    }
    clear_answer(&a);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* Images in orientations of the grid: every 37th. */
static scene planted_scene(const sp_rotation_grid *grid, ptrdiff_t images)
{
    sp_quat *q = random_orientations(images, 1);

    for (ptrdiff_t n = 0; n < images; n++) {
        q[n] = grid->q[37 * n % grid->count];
    }
    scene s = make_scene(images, q, NULL);

    sp_array_free(q);
    return s;
}

static void planted_orientations_are_found(void **state)
{
    (void)state;
    enum { IMAGES = 150 }; /* more than one tile of images */
    sp_rotation_grid grid = make_grid(1500);
    scene s = planted_scene(&grid, IMAGES);

    for (double dispersion = 1.0; dispersion < 200.0; dispersion *= 100.0) {
        answer a = search(&s, &grid, likelihood(dispersion), 1);

        for (ptrdiff_t n = 0; n < IMAGES; n++) {
            assert_int_equal(a.best[n], 37 * n % grid.count);
        }
        clear_answer(&a);
    }
    clear_scene(&s);
    sp_rotation_grid_clear(&grid);
}

/* 3,000 photons are 7 per pixel, most of them near the centre. */
static void planted_orientations_are_found_in_photon_noise(void **state)
{
    (void)state;
    enum { IMAGES = 60 };
    sp_rotation_grid grid = make_grid(1500);
    scene s = planted_scene(&grid, IMAGES);
    int found = 0;

    add_photon_noise(&s, 3000.0);
    answer a = search(&s, &grid, likelihood(10.0), 1);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        found += a.best[n] == 37 * n % grid.count;
    }
    assert_true(found >= IMAGES * 8 / 10);
    clear_answer(&a);
    clear_scene(&s);
    sp_rotation_grid_clear(&grid);
}

/* L is proportional to counts and scale together. */
static void an_image_of_another_fluence_gets_the_same_orientation(void **state)
{
    (void)state;
    enum { IMAGES = 20, KEEP = 2 };
    sp_rotation_grid grid = make_grid(500);
    scene even = make_scene(IMAGES, NULL, NULL), uneven = make_scene(IMAGES, NULL, NULL);

    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        const float factor = 0.2f + 0.2f * (float)(n % 13);

        uneven.patterns.scale[n] *= factor;
        for (int p = 0; p < PIXELS; p++) {
            uneven.patterns.count[n * PIXELS + p] *= factor;
        }
    }
    answer a = search(&even, &grid, likelihood(1.0), KEEP), b = search(&uneven, &grid, likelihood(1.0), KEEP);

    for (ptrdiff_t i = 0; i < IMAGES * KEEP; i++) {
        const double factor = uneven.patterns.scale[i / KEEP] / even.patterns.scale[i / KEEP];

        assert_int_equal(a.best[i], b.best[i]);
        assert_true(fabs(factor * a.score[i] / b.score[i] - 1.0) < 1e-5);
    }
    clear_answer(&a);
    clear_answer(&b);
    clear_scene(&even);
    clear_scene(&uneven);
    sp_rotation_grid_clear(&grid);
}

/* Noise-free values have no unit: a thousandth of them, images and model alike, is the same. */
static void the_unit_of_noise_free_values_does_not_matter(void **state)
{
    (void)state;
    enum { IMAGES = 10 };
    sp_rotation_grid grid = make_grid(300);
    blobs faint = blobs_random(11, 3.5, 0.8);

    for (int j = 0; j < BLOBS; j++) {
        faint.height[j] *= sqrt(1e-3);
    }
    scene strong = make_scene(IMAGES, NULL, NULL), weak = make_scene_of(faint, IMAGES, NULL, NULL);
    answer a = search(&strong, &grid, likelihood(1.0), 1), b = search(&weak, &grid, likelihood(1.0), 1);

    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        assert_int_equal(a.best[n], b.best[n]);
        assert_true(fabsf(a.score[n] - b.score[n]) < 1e-2f);
    }
    clear_answer(&a);
    clear_answer(&b);
    clear_scene(&strong);
    clear_scene(&weak);
    sp_rotation_grid_clear(&grid);
}

static void ties_go_to_the_lower_index(void **state)
{
    (void)state;
    enum { IMAGES = 3, KEEP = 4 };
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_rotation_grid grid = make_grid(600);

    memset(s.patterns.count + PIXELS, 0, PIXELS * sizeof(float)); /* image 1 looks alike from everywhere */
    s.fluence[1] = 0.0f;
    measure(&s);
    answer a = search(&s, &grid, likelihood(1.0), KEEP);

    for (int k = 0; k < KEEP; k++) {
        assert_int_equal(a.best[KEEP + k], k);
        assert_true(a.score[KEEP + k] == 0.0f);
    }
    clear_answer(&a);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void shells_beyond_s_max_are_not_compared(void **state)
{
    (void)state;
    const double s_max = 0.12e10;
    scene s = make_scene(10, NULL, NULL), spoiled = make_scene(10, NULL, NULL);
    sp_rotation_grid grid = make_grid(300);
    ptrdiff_t beyond = 0;

    for (ptrdiff_t i = 0; i < 10 * PIXELS; i++) {
        if (spoiled.patterns.radius[i % PIXELS] > s_max + spoiled.patterns.shell_width) {
            spoiled.patterns.count[i] = (float)(i % 7);
            beyond++;
        }
    }
    assert_true(beyond > 1000);
    answer a = search(&s, &grid, likelihood_within(s_max), 1);
    answer b = search(&spoiled, &grid, likelihood_within(s_max), 1);
    assert_memory_equal(a.best, b.best, 10 * sizeof *a.best);
    assert_memory_equal(a.score, b.score, 10 * sizeof *a.score);
    clear_answer(&b);
    b = search(&spoiled, &grid, likelihood(1.0), 1);
    assert_memory_not_equal(a.score, b.score, 10 * sizeof *a.score);
    clear_answer(&a);
    clear_answer(&b);
    sp_rotation_grid_clear(&grid);
    clear_scene(&spoiled);
    clear_scene(&s);
}

static void a_limit_compares_what_a_matcher_of_that_band_does(void **state)
{
    (void)state;
    enum { IMAGES = 10, GRID = 300 };
    const double s_max = 0.12e10;
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_rotation_grid grid = make_grid(GRID);
    const sp_match_settings whole = likelihood(1.0);
    sp_matcher *matcher = NULL;
    answer a = search(&s, &grid, likelihood_within(s_max), 1);
    assert_int_equal(sp_matcher_new(&s.patterns, s.slicer, &whole, &matcher), SP_OK);
    sp_matcher_limit(matcher, s_max);
    answer limited = search_with(matcher, IMAGES, &grid, 1);
    assert_memory_equal(a.best, limited.best, IMAGES * sizeof *a.best);
    assert_memory_equal(a.score, limited.score, IMAGES * sizeof *a.score);
    sp_matcher_limit(matcher, INFINITY); /* and back */
    answer unlimited = search_with(matcher, IMAGES, &grid, 1);
    assert_memory_not_equal(limited.score, unlimited.score, IMAGES * sizeof *limited.score);
    sp_matcher_free(matcher);
    clear_answer(&a);
    clear_answer(&limited);
    clear_answer(&unlimited);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void a_band_without_pixels_is_refused(void **state)
{
    (void)state;
    scene s = make_scene(1, NULL, NULL);
    const sp_match_settings settings = likelihood_within(1e6);
    sp_matcher *matcher = NULL;

    assert_int_equal(sp_matcher_new(&s.patterns, s.slicer, &settings, &matcher), SP_ERR_USAGE);
    assert_null(matcher);
    assert_non_null(strstr(sp_error_text(), "1e+04 Angstrom"));
    clear_scene(&s);
}

static void a_new_dispersion_takes_effect_at_once(void **state)
{
    (void)state;
    enum { IMAGES = 6 };
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_rotation_grid grid = make_grid(300);
    sp_matcher *matcher = make_matcher(&s, likelihood(1.0));
    answer before = search_with(matcher, IMAGES, &grid, 1), fresh = search(&s, &grid, likelihood(10.0), 1);

    sp_matcher_set_dispersion(matcher, 10.0);
    answer after = search_with(matcher, IMAGES, &grid, 1);
    assert_memory_equal(after.best, fresh.best, IMAGES * sizeof *fresh.best);
    assert_memory_equal(after.score, fresh.score, IMAGES * sizeof *fresh.score);
    assert_memory_not_equal(after.score, before.score, IMAGES * sizeof *fresh.score);
    clear_answer(&before);
    clear_answer(&fresh);
    clear_answer(&after);
    sp_matcher_free(matcher);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* A background of `smooth` becomes known; the same is added to every image, whatever its scale. */
static void add_background(scene *s, double smooth)
{
    double shell[PIXELS];

    for (ptrdiff_t k = 0; k < s->patterns.shells; k++) {
        shell[k] = smooth;
        s->patterns.profile[k] += smooth;
    }
    sp_patterns_set_background(&s->patterns, shell);
    for (ptrdiff_t i = 0; i < s->images * PIXELS; i++) {
        s->patterns.count[i] += s->patterns.background[i % PIXELS];
    }
}

/* The score beside a background is that of a model which has the background in it. */
static double score_beside_background(const scene *s, ptrdiff_t image, sp_quat q, const sp_match_settings *settings)
{
    const sp_patterns *patterns = &s->patterns;
    const double smooth = patterns->smooth[0], r = settings->dispersion;
    float pattern[PIXELS];
    double sum = 0.0;

    sp_slicer_cut(s->slicer, q, patterns->s, PIXELS, pattern);
    for (int p = 0; p < PIXELS; p++) {
        const double mean = profile_at(patterns, patterns->radius[p]) - smooth;
        const double m = (((double)pattern[p] + settings->floor * mean) / (1.0 + settings->floor) + smooth) *
                         (double)patterns->exposure[p] / photon(patterns);

        sum += -counts_of(s, image, p) * log1p(r / m) - patterns->scale[image] * r * log1p(m / r);
    }
    return sum;
}

static void a_background_is_part_of_what_is_expected(void **state)
{
    (void)state;
    enum { IMAGES = 2, KEEP = 4 };
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_rotation_grid grid = make_grid(60);
    sp_match_settings settings = likelihood(3.0);
    sp_quat candidate[IMAGES], found[IMAGES];
    double fit[IMAGES];

    add_background(&s, 0.7 * s.patterns.profile[s.patterns.shells / 2]);
    sp_matcher *matcher = make_matcher(&s, settings);
    answer a = search_with(matcher, IMAGES, &grid, KEEP);

    for (ptrdiff_t i = 0; i < (ptrdiff_t)IMAGES * KEEP; i++) {
        assert_true(fabs(a.score[i] - score_beside_background(&s, i / KEEP, grid.q[a.best[i]], &settings)) < 1e-2);
        candidate[i / KEEP] = grid.q[a.best[i]];
    }
    sp_matcher_refine(matcher, candidate, 1, (sp_selection){0}, 3, 0.1, found, fit);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        assert_true(fabs(fit[n] - score_beside_background(&s, n, found[n], &settings)) < 1e-2);
    }
    clear_answer(&a);
    sp_matcher_free(matcher);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* ---- refinement ---- */

static const double DEGREE = M_PI / 180.0;
static const double DELTA = 0.1; /* [rad] a third of a speckle at the corner */

/* The truth turned by `angle` about random axes. */
static sp_quat *turned_away(const scene *s, double angle)
{
    sp_quat *q = random_orientations(s->images, 77);

    for (ptrdiff_t n = 0; n < s->images; n++) {
        const double axis[3] = {q[n].x, q[n].y, q[n].z};

        q[n] = sp_quat_multiply(sp_quat_from_axis_angle(axis, angle), s->truth[n]);
    }
    return q;
}

static double mean_error(const scene *s, const sp_quat *q)
{
    double sum = 0.0;

    for (ptrdiff_t n = 0; n < s->images; n++) {
        sum += sp_quat_angle(q[n], s->truth[n]);
    }
    return sum / (double)s->images;
}

static void check_refined(const scene *s, const sp_quat *candidates, int count)
{
    sp_matcher *matcher = make_matcher(s, sharp_likelihood());
    sp_quat *q = NULL;

    assert_int_equal(SP_ARRAY(q, s->images), SP_OK);
    sp_matcher_refine(matcher, candidates, count, (sp_selection){0}, 10, DELTA, q, NULL);
    for (ptrdiff_t n = 0; n < s->images; n++) {
        assert_true(sp_quat_angle(q[n], s->truth[n]) < 0.2 * DEGREE);
    }
    sp_array_free(q);
    sp_matcher_free(matcher);
}

static void refinement_finds_the_truth_from_5_degrees_away(void **state)
{
    (void)state;
    scene s = make_scene(40, NULL, NULL);
    sp_quat *from = turned_away(&s, 5.0 * DEGREE);

    check_refined(&s, from, 1);
    sp_array_free(from);
    clear_scene(&s);
}

static void refinement_tries_the_half_turn_about_the_beam(void **state)
{
    (void)state;
    const sp_quat half_turn = {0.0, 0.0, 0.0, 1.0};
    scene s = make_scene(40, NULL, NULL);
    sp_quat *from = turned_away(&s, 5.0 * DEGREE);

    for (ptrdiff_t n = 0; n < s.images; n++) {
        from[n] = sp_quat_multiply(half_turn, from[n]);
    }
    check_refined(&s, from, 1);
    sp_array_free(from);
    clear_scene(&s);
}

static void refinement_takes_the_best_of_several_candidates(void **state)
{
    (void)state;
    enum { COUNT = SP_CLIMB_CANDIDATES };
    scene s = make_scene(30, NULL, NULL);
    sp_quat *near = turned_away(&s, 5.0 * DEGREE), *from = random_orientations(s.images * COUNT, 5);

    for (ptrdiff_t n = 0; n < s.images; n++) {
        from[n * COUNT + n % COUNT] = near[n];
    }
    check_refined(&s, from, COUNT);
    sp_array_free(from);
    sp_array_free(near);
    clear_scene(&s);
}

/* No steps: the better of the candidate and its half turn, by the score that the search gives them. */
static void refinement_scores_like_the_search(void **state)
{
    (void)state;
    enum { IMAGES = 30 };
    const sp_quat half_turn = {0.0, 0.0, 0.0, 1.0};
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_matcher *matcher = make_matcher(&s, likelihood(1.0));
    sp_quat *from = random_orientations(IMAGES, 9), turned[IMAGES], q[IMAGES];
    float score[2][IMAGES];
    int turns = 0;

    for (int n = 0; n < IMAGES; n++) {
        turned[n] = sp_quat_multiply(half_turn, from[n]);
    }
    scores_of(matcher, IMAGES, from, score[0]);
    scores_of(matcher, IMAGES, turned, score[1]);
    sp_matcher_refine(matcher, from, 1, (sp_selection){0}, 0, DELTA, q, NULL);
    for (int n = 0; n < IMAGES; n++) {
        const bool better = score[1][n] > score[0][n];

        turns += better;
        assert_true(sp_quat_angle(q[n], better ? turned[n] : from[n]) < 1e-7);
    }
    assert_true(turns > IMAGES / 4 && turns < IMAGES * 3 / 4);
    sp_array_free(from);
    sp_matcher_free(matcher);
    clear_scene(&s);
}

static void refinement_never_lowers_the_score_even_by_wild_steps(void **state)
{
    (void)state;
    enum { IMAGES = 30 };
    const double wild = 1.0; /* [rad] several speckles */
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_matcher *matcher = make_matcher(&s, likelihood(10.0));
    sp_quat *from = turned_away(&s, 5.0 * DEGREE), q[IMAGES];
    float before[IMAGES], after[IMAGES];

    sp_matcher_refine(matcher, from, 1, (sp_selection){0}, 0, wild, q, NULL);
    scores_of(matcher, IMAGES, q, before);
    sp_matcher_refine(matcher, from, 1, (sp_selection){0}, 5, wild, q, NULL);
    scores_of(matcher, IMAGES, q, after);
    for (int n = 0; n < IMAGES; n++) {
        assert_true(after[n] >= before[n] - 1e-5f * fabsf(before[n]));
    }
    sp_array_free(from);
    sp_matcher_free(matcher);
    clear_scene(&s);
}

static void images_that_are_not_selected_stay_as_they_are(void **state)
{
    (void)state;
    enum { IMAGES = 12 };
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_matcher *matcher = make_matcher(&s, likelihood(10.0));
    sp_quat *from = turned_away(&s, 5.0 * DEGREE), all[IMAGES], some[IMAGES] = {{0.0, 0.0, 0.0, 0.0}};
    double fit[IMAGES] = {0.0};
    int32_t label[IMAGES];

    for (int n = 0; n < IMAGES; n++) {
        label[n] = n % 3;
    }
    sp_matcher_refine(matcher, from, 1, (sp_selection){0}, 3, DELTA, all, NULL);
    sp_matcher_refine(matcher, from, 1, (sp_selection){label, 1u << 0 | 1u << 2}, 3, DELTA, some, fit);
    for (int n = 0; n < IMAGES; n++) {
        const sp_quat untouched = {0.0, 0.0, 0.0, 0.0};

        assert_memory_equal(&some[n], label[n] == 1 ? &untouched : &all[n], sizeof untouched);
        assert_true(label[n] == 1 ? fit[n] == 0.0 : fit[n] < 0.0);
    }
    sp_array_free(from);
    sp_matcher_free(matcher);
    clear_scene(&s);
}

/* q turned by the rotation vector t [rad]. */
static sp_quat turned_by(sp_quat q, const double t[3])
{
    return sp_quat_multiply(sp_quat_from_axis_angle(t, sqrt(t[0] * t[0] + t[1] * t[1] + t[2] * t[2])), q);
}

/* d mean counts / d t_axis, per radian */
static void plain_derivative(const scene *s, sp_quat q, int axis, double *d)
{
    const double h = 5e-3;
    double up[3] = {0.0}, down[3] = {0.0}, left[PIXELS];

    up[axis] = h;
    down[axis] = -h;
    expected_counts(s, turned_by(q, up), FLOOR, d);
    expected_counts(s, turned_by(q, down), FLOOR, left);
    for (int p = 0; p < PIXELS; p++) {
        d[p] = (d[p] - left[p]) / (2.0 * h);
    }
}

/* Gradient of the score by differences of the score; information matrix by its definition. */
static void plain_slope(const scene *s, ptrdiff_t image, sp_quat q, double r, double gradient[3],
                        double information[3][3])
{
    const double h = 5e-3;
    double m[PIXELS], d[3][PIXELS];

    expected_counts(s, q, FLOOR, m);
    for (int i = 0; i < 3; i++) {
        double up[3] = {0.0}, down[3] = {0.0};

        up[i] = h;
        down[i] = -h;
        gradient[i] =
            (plain_score(s, image, turned_by(q, up), r) - plain_score(s, image, turned_by(q, down), r)) / (2.0 * h);
        plain_derivative(s, q, i, d[i]);
    }
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            information[i][j] = 0.0;
            for (int p = 0; p < PIXELS; p++) {
                information[i][j] += s->patterns.scale[image] * d[i][p] * d[j][p] / (m[p] * (1.0 + m[p] / r));
            }
        }
    }
}

/* The rotation vector that leads from one orientation to another close by. */
static void rotation_vector(sp_quat from, sp_quat to, double t[3])
{
    const sp_quat q = sp_quat_multiply(to, sp_quat_conjugate(from));
    const double sign = q.w < 0.0 ? -2.0 : 2.0;

    t[0] = sign * q.x;
    t[1] = sign * q.y;
    t[2] = sign * q.z;
}

/* One step t obeys  information t = gradient,  in photon noise and at uneven scales. */
static void a_step_is_that_of_fisher_scoring(void **state)
{
    (void)state;
    enum { IMAGES = 20 };
    const double r = 4.0, small = 0.02;
    double scale[IMAGES];

    for (int n = 0; n < IMAGES; n++) {
        scale[n] = 0.5 + 0.1 * n;
    }
    scene s = make_scene(IMAGES, NULL, scale);
    add_photon_noise(&s, 2e5);
    sp_matcher *matcher = make_matcher(&s, likelihood(r));
    sp_quat *from = turned_away(&s, 0.5 * DEGREE), q[IMAGES];
    double difference = 0.0, norm = 0.0;
    int moved = 0;

    sp_matcher_refine(matcher, from, 1, (sp_selection){0}, 1, small, q, NULL);
    for (int n = 0; n < IMAGES; n++) {
        double gradient[3], information[3][3], t[3];

        rotation_vector(from[n], q[n], t);
        if (sqrt(t[0] * t[0] + t[1] * t[1] + t[2] * t[2]) > 2.99 * small) {
            continue; /* cut */
        }
        plain_slope(&s, n, from[n], r, gradient, information);
        for (int i = 0; i < 3; i++) {
            const double left = information[i][0] * t[0] + information[i][1] * t[1] + information[i][2] * t[2];

            difference += (left - gradient[i]) * (left - gradient[i]);
            norm += gradient[i] * gradient[i];
        }
        moved++;
    }
    assert_true(moved >= IMAGES / 2);
    assert_true(sqrt(difference / norm) < 0.01);
    sp_array_free(from);
    sp_matcher_free(matcher);
    clear_scene(&s);
}

/* The images become what the model predicts, without the error of interpolation. */
static void expose_model(scene *s)
{
    for (ptrdiff_t n = 0; n < s->images; n++) {
        float *count = s->patterns.count + n * PIXELS;

        sp_slicer_cut(s->slicer, s->truth[n], s->patterns.s, PIXELS, count);
        for (int p = 0; p < PIXELS; p++) {
            count[p] *= s->patterns.exposure[p];
        }
    }
    measure(s);
}

/* Mean error [rad] after so many steps from `angle` away. */
static double error_after(const scene *s, double angle, int steps)
{
    sp_matcher *matcher = make_matcher(s, sharp_likelihood());
    sp_quat *from = turned_away(s, angle), *q = turned_away(s, 0.0);

    sp_matcher_refine(matcher, from, 1, (sp_selection){0}, steps, 0.03, q, NULL);
    const double error = mean_error(s, q);

    sp_array_free(from);
    sp_array_free(q);
    sp_matcher_free(matcher);
    return error;
}

/* From half as far away a step ends a quarter as far off; more steps end at the truth. */
static void steps_converge_quadratically(void **state)
{
    (void)state;
    scene s = make_scene(40, NULL, NULL);

    expose_model(&s);
    const double far = error_after(&s, 4.0 * DEGREE, 1), near = error_after(&s, 2.0 * DEGREE, 1);

    assert_true(fabs(error_after(&s, 4.0 * DEGREE, 0) - 4.0 * DEGREE) < 1e-6);
    assert_true(far < 0.5 * DEGREE && near < 0.35 * far);
    assert_true(error_after(&s, 4.0 * DEGREE, 6) < 0.03 * DEGREE);
    clear_scene(&s);
}

/* ---- assessment ---- */

typedef struct verdict {
    float *score, *scale;
    double dispersion;
} verdict;

static verdict assess(const scene *s, const sp_quat *q)
{
    sp_matcher *matcher = make_matcher(s, likelihood(1.0));
    verdict v = {0};

    assert_int_equal(SP_ARRAY(v.score, s->images), SP_OK);
    assert_int_equal(SP_ARRAY(v.scale, s->images), SP_OK);
    sp_matcher_assess(matcher, q, v.score, v.scale, &v.dispersion);
    sp_matcher_free(matcher);
    return v;
}

static void clear_verdict(verdict *v)
{
    sp_array_free(v->score);
    sp_array_free(v->scale);
}

static void a_perfect_model_scores_1_and_has_no_scatter(void **state)
{
    (void)state;
    scene s = make_scene(40, NULL, NULL);
    verdict v = assess(&s, s.truth);

    for (ptrdiff_t n = 0; n < s.images; n++) {
        assert_true(v.score[n] > 0.9995f && v.score[n] < 1.00001f);
        assert_true(fabsf(v.scale[n] - 1.0f) < 2e-3f);
    }
    assert_true(v.dispersion > 1000.0);
    clear_verdict(&v);
    clear_scene(&s);
}

/* Neither fluence nor scatter: images that are half as bright or twice as bright beside it are told apart. */
static void a_known_background_is_neither_fluence_nor_scatter(void **state)
{
    (void)state;
    const double scale[] = {0.5, 1.0, 1.5, 1.0};
    scene s = make_scene(4, NULL, scale);

    add_background(&s, s.patterns.profile[s.patterns.shells / 2]);
    verdict v = assess(&s, s.truth);

    for (ptrdiff_t n = 0; n < s.images; n++) {
        assert_true(v.score[n] > 0.9995f);
        assert_true(fabs(v.scale[n] - scale[n]) < 5e-3);
    }
    assert_true(v.dispersion > 1000.0);
    clear_verdict(&v);
    clear_scene(&s);
}

static void photon_noise_is_no_scatter_of_the_model(void **state)
{
    (void)state;
    scene s = make_scene(60, NULL, NULL);

    add_photon_noise(&s, 3000.0);
    verdict v = assess(&s, s.truth);
    assert_true(v.dispersion > 50.0);
    clear_verdict(&v);
    clear_scene(&s);
}

/* Mean score of images in their true orientations over the score that a perfect model, which the scene has, would have.
 *   quantum  of the noise that they have */
static double reached(const scene *s, double quantum)
{
    sp_matcher *matcher = make_matcher(s, likelihood(1.0));
    double *scatter = NULL, best = 0.0, sum = 0.0;
    float *score = NULL, *scale = NULL;

    assert_int_equal(SP_ARRAY(scatter, sp_match_scatter_count(s->patterns.shells)), SP_OK);
    assert_int_equal(SP_ARRAY(score, s->images), SP_OK);
    assert_int_equal(SP_ARRAY(scale, s->images), SP_OK);
    sp_matcher_assess_part(matcher, s->truth, (sp_selection){0}, score, scale, scatter);
    best = sp_match_best_score(scatter, s->patterns.shells, quantum);
    for (ptrdiff_t n = 0; n < s->images; n++) {
        sum += (double)score[n] / (double)s->images;
    }
    sp_array_free(scale);
    sp_array_free(score);
    sp_array_free(scatter);
    sp_matcher_free(matcher);
    return sum / best;
}

static void photon_noise_bounds_the_score(void **state)
{
    (void)state;
    static const double photons[] = {300.0, 3000.0};

    for (int i = 0; i < 2; i++) {
        scene s = make_scene(200, NULL, NULL);

        add_photon_noise(&s, photons[i]);
        assert_true(fabs(reached(&s, 1.0) - 1.0) < 0.03);
        clear_scene(&s);
    }
    scene s = make_scene(40, NULL, NULL);

    assert_true(fabs(reached(&s, 0.0) - 1.0) < 1e-3);
    clear_scene(&s);
}

static void photon_noise_bounds_the_score_of_images_matched_without_it(void **state)
{
    (void)state;
    scene s = make_scene(200, NULL, NULL);

    add_photon_noise(&s, 3000.0);
    s.patterns.quantum = 0.0;
    assert_true(fabs(reached(&s, 1.0) - 1.0) < 0.03);
    clear_scene(&s);
}

/* The mean intensity of each shell times exposure, taken off; in place. */
static void remove_means(const sp_patterns *patterns, double *x)
{
    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        double sum = 0.0, exposure = 0.0;

        for (ptrdiff_t p = patterns->shell_start[k]; p < patterns->shell_start[k + 1]; p++) {
            sum += x[p];
            exposure += (double)patterns->exposure[p];
        }
        for (ptrdiff_t p = patterns->shell_start[k]; p < patterns->shell_start[k + 1]; p++) {
            x[p] -= sum / exposure * (double)patterns->exposure[p];
        }
    }
}

/* Score and (unnormalised) scale of one image by their definition. */
static double plain_assessment(const scene *s, ptrdiff_t image, sp_quat q, double *scale)
{
    const sp_patterns *patterns = &s->patterns;
    double m[PIXELS], k[PIXELS], weight[PIXELS], mm = 0.0, mk = 0.0, kk = 0.0;

    expected_counts(s, q, 0.0, m);
    for (int p = 0; p < PIXELS; p++) {
        const double mean = patterns->profile[patterns->shell[p]] * (double)patterns->exposure[p] / photon(patterns);

        weight[p] = 1.0 / (mean + mean * mean);
        k[p] = counts_of(s, image, p);
        mm += weight[p] * m[p] * m[p];
        mk += weight[p] * m[p] * k[p];
    }
    *scale = mk / mm;
    remove_means(patterns, m);
    remove_means(patterns, k);
    mm = mk = 0.0;
    for (int p = 0; p < PIXELS; p++) {
        mm += weight[p] * m[p] * m[p];
        mk += weight[p] * m[p] * k[p];
        kk += weight[p] * k[p] * k[p];
    }
    return mk / sqrt(mm * kk);
}

static void score_and_scale_are_what_their_formulas_say(void **state)
{
    (void)state;
    enum { IMAGES = 30 };
    scene s = make_scene(IMAGES, NULL, NULL);
    double scale[IMAGES], score[IMAGES], mean = 0.0;

    add_photon_noise(&s, 3000.0);
    sp_quat *q = turned_away(&s, 10.0 * DEGREE);
    verdict v = assess(&s, q);

    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        score[n] = plain_assessment(&s, n, q[n], &scale[n]);
        mean += scale[n] / IMAGES;
    }
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        assert_true(fabs((double)v.score[n] - score[n]) < 1e-5);
        assert_true(fabs((double)v.scale[n] - scale[n] / mean) < 1e-5);
    }
    sp_array_free(q);
    clear_verdict(&v);
    clear_scene(&s);
}

static void the_fluence_of_each_image_is_found(void **state)
{
    (void)state;
    enum { IMAGES = 40 };
    double factor[IMAGES], mean = 0.0;

    for (int n = 0; n < IMAGES; n++) {
        factor[n] = 0.1 + 0.1 * (n % 17);
        mean += factor[n] / IMAGES;
    }
    scene s = make_scene(IMAGES, NULL, factor);
    verdict v = assess(&s, s.truth);

    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        assert_true(fabs((double)v.scale[n] * mean / factor[n] - 1.0) < 5e-3);
    }
    clear_verdict(&v);
    add_photon_noise(&s, 3000.0);
    v = assess(&s, s.truth);
    for (ptrdiff_t n = 0; n < IMAGES; n++) { /* photons at the centre, where the model is sure, count for less */
        assert_true(fabs((double)v.scale[n] * mean / factor[n] - 1.0) < 8.0 / sqrt(3000.0 * factor[n] / mean));
    }
    clear_verdict(&v);
    clear_scene(&s);
}

static void an_image_without_signal_has_scale_0(void **state)
{
    (void)state;
    scene s = make_scene(10, NULL, NULL);
    double mean = 0.0;

    memset(s.patterns.count + 3 * PIXELS, 0, PIXELS * sizeof(float));
    s.fluence[3] = 0.0f;
    measure(&s);
    verdict v = assess(&s, s.truth);
    for (ptrdiff_t n = 0; n < s.images; n++) {
        mean += v.scale[n] / 9.0;
        assert_true(isfinite(v.score[n]) && (v.scale[n] > 0.0f) == (n != 3));
    }
    assert_true(v.score[3] == 0.0f);
    assert_true(fabs(mean - 1.0) < 1e-6);
    clear_verdict(&v);
    clear_scene(&s);
}

/* Images that scatter about an isotropic model by gamma-distributed factors of variance 1/r: the sum of r exponentially
 * distributed numbers over r. r = 1 is speckle of which the model knows the shell mean only. */
static scene speckle_scene(ptrdiff_t images, int r)
{
    blobs ball = {.sigma = 0.8 * VOXEL};
    sp_rng rng = sp_rng_stream(8, 8, (uint64_t)r);

    for (int j = 0; j < BLOBS; j++) {
        ball.height[j] = 10.0;
    }
    scene s = make_scene_of(ball, images, NULL, NULL);

    for (ptrdiff_t i = 0; i < images * PIXELS; i++) {
        double factor = 0.0;

        for (int k = 0; k < r; k++) {
            factor -= log(sp_rng_uniform(&rng)) / r;
        }
        s.patterns.count[i] *= (float)factor;
    }
    measure(&s);
    return s;
}

static void the_dispersion_is_that_of_the_scatter(void **state)
{
    (void)state;
    for (int r = 1; r <= 4; r += 3) {
        scene s = speckle_scene(150, r);
        verdict v = assess(&s, s.truth);

        assert_true(fabs(v.dispersion / r - 1.0) < 0.1);
        clear_verdict(&v);
        add_photon_noise(&s, 20000.0);
        v = assess(&s, s.truth);
        assert_true(fabs(v.dispersion / r - 1.0) < 0.15);
        clear_verdict(&v);
        clear_scene(&s);
    }
}

/* The right molecule from the wrong side: speckle against other speckle. */
/* Two parts with a matcher each: their scores, scales and scatter make up what one matcher says of all. */
static void parts_are_assessed_like_the_whole(void **state)
{
    (void)state;
    enum { IMAGES = 30, FIRST = 13 };
    double fluence[IMAGES], *scatter = NULL, *shell = NULL;

    for (int n = 0; n < IMAGES; n++) {
        fluence[n] = 0.5 + 0.05 * n;
    }
    scene s = make_scene(IMAGES, NULL, fluence);
    sp_patterns part[2] = {part_of(&s.patterns, 0, FIRST), part_of(&s.patterns, FIRST, IMAGES - FIRST)};
    const sp_match_settings settings = likelihood(1.0);
    sp_pattern_totals totals = {0};
    sp_quat *q = turned_away(&s, 1.0 * DEGREE);
    float score[IMAGES], scale[IMAGES];

    assert_int_equal(sp_patterns_measure(&s.patterns), SP_OK);
    verdict whole = assess(&s, q);

    assert_int_equal(SP_ARRAY(scatter, sp_match_scatter_count(s.patterns.shells)), SP_OK);
    assert_int_equal(SP_ARRAY(shell, s.patterns.shells), SP_OK);
    for (int i = 0; i < 2; i++) {
        sp_patterns_add_up(&part[i], shell, &totals);
    }
    sp_patterns_set_profile(&s.patterns, shell, &totals); /* the parts share it */
    for (int i = 0; i < 2; i++) {
        sp_matcher *matcher = NULL;

        sp_patterns_set_scales(&part[i], &totals);
        assert_memory_equal(part[i].scale, s.patterns.scale + i * FIRST, (size_t)part[i].images * sizeof(float));
        assert_int_equal(sp_matcher_new(&part[i], s.slicer, &settings, &matcher), SP_OK);
        sp_matcher_assess_part(matcher, q + i * FIRST, (sp_selection){0}, score + i * FIRST, scale + i * FIRST,
                               scatter);
        sp_matcher_free(matcher);
        sp_patterns_clear(&part[i]);
    }
    sp_match_relate_scales(scale, IMAGES);
    assert_memory_equal(score, whole.score, sizeof score);
    assert_memory_equal(scale, whole.scale, sizeof scale);
    assert_true(sp_match_dispersion(scatter, s.patterns.shells) == whole.dispersion);
    sp_array_free(scatter);
    sp_array_free(shell);
    sp_array_free(q);
    clear_verdict(&whole);
    clear_scene(&s);
}

static void random_orientations_explain_little(void **state)
{
    (void)state;
    enum { IMAGES = 60 };
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_quat *q = random_orientations(IMAGES, 99);
    verdict v = assess(&s, q);
    double mean = 0.0;

    for (int n = 0; n < IMAGES; n++) {
        mean += v.score[n] / IMAGES;
    }
    assert_true(fabs(mean) < 0.3 && v.dispersion < 2.0);
    sp_array_free(q);
    clear_verdict(&v);
    clear_scene(&s);
}

static void unrelated_images_score_0(void **state)
{
    (void)state;
    scene s = make_scene(150, NULL, NULL);
    scene speckle = speckle_scene(150, 1);
    double mean = 0.0, most = 0.0;

    memcpy(s.patterns.count, speckle.patterns.count, 150 * PIXELS * sizeof(float));
    measure(&s);
    verdict v = assess(&s, s.truth);
    for (ptrdiff_t n = 0; n < s.images; n++) {
        mean += v.score[n] / 150.0;
        most = fmax(most, fabs((double)v.score[n]));
    }
    assert_true(fabs(mean) < 0.02 && most < 0.4 && most > 0.01);
    clear_verdict(&v);
    clear_scene(&s);
    clear_scene(&speckle);
}

/* ---- threads ---- */

static void results_are_the_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    enum { IMAGES = 270, KEEP = 2 }; /* three tiles of images */
    const int threads = omp_get_max_threads();
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_rotation_grid grid = make_grid(300);
    sp_quat *from = turned_away(&s, 5.0 * DEGREE);
    answer a[3];
    verdict v[3];
    static sp_quat q[3][IMAGES];

    for (int t = 0; t < 3; t++) {
        omp_set_num_threads(t + 1);
        sp_matcher *matcher = make_matcher(&s, likelihood(1.0));

        a[t] = search_with(matcher, IMAGES, &grid, KEEP);
        sp_matcher_refine(matcher, from, 1, (sp_selection){0}, 2, DELTA, q[t], NULL);
        v[t] = assess(&s, q[t]);
        sp_matcher_free(matcher);
    }
    omp_set_num_threads(threads);
    for (int t = 1; t < 3; t++) {
        assert_memory_equal(a[0].best, a[t].best, IMAGES * KEEP * sizeof *a[0].best);
        assert_memory_equal(a[0].score, a[t].score, IMAGES * KEEP * sizeof *a[0].score);
        assert_memory_equal(q[0], q[t], sizeof q[0]);
        assert_memory_equal(v[0].score, v[t].score, IMAGES * sizeof *v[0].score);
        assert_memory_equal(v[0].scale, v[t].scale, IMAGES * sizeof *v[0].scale);
        assert_true(v[0].dispersion == v[t].dispersion);
    }
    for (int t = 0; t < 3; t++) {
        clear_answer(&a[t]);
        clear_verdict(&v[t]);
    }
    sp_array_free(from);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_score_is_the_formula_in_double_precision),
        cmocka_unit_test(a_bright_centre_does_not_round_the_score),
        cmocka_unit_test(a_ring_without_pixels_does_no_harm),
        cmocka_unit_test(the_score_is_the_negative_binomial_likelihood),
        cmocka_unit_test(the_poisson_kind_compares_by_the_poisson_likelihood),
        cmocka_unit_test(the_poisson_kind_keeps_its_dispersion),
        cmocka_unit_test(refinement_climbs_the_poisson_likelihood),
        cmocka_unit_test(shares_are_powers_of_probabilities),
        cmocka_unit_test(a_background_is_part_of_what_is_expected),
        cmocka_unit_test(the_euclidean_kind_finds_the_least_squared_distance),
        cmocka_unit_test(planted_orientations_are_found),
        cmocka_unit_test(planted_orientations_are_found_in_photon_noise),
        cmocka_unit_test(an_image_of_another_fluence_gets_the_same_orientation),
        cmocka_unit_test(the_unit_of_noise_free_values_does_not_matter),
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(shells_beyond_s_max_are_not_compared),
        cmocka_unit_test(a_limit_compares_what_a_matcher_of_that_band_does),
        cmocka_unit_test(a_band_without_pixels_is_refused),
        cmocka_unit_test(a_new_dispersion_takes_effect_at_once),
        cmocka_unit_test(refinement_finds_the_truth_from_5_degrees_away),
        cmocka_unit_test(refinement_tries_the_half_turn_about_the_beam),
        cmocka_unit_test(refinement_takes_the_best_of_several_candidates),
        cmocka_unit_test(refinement_scores_like_the_search),
        cmocka_unit_test(refinement_never_lowers_the_score_even_by_wild_steps),
        cmocka_unit_test(images_that_are_not_selected_stay_as_they_are),
        cmocka_unit_test(a_step_is_that_of_fisher_scoring),
        cmocka_unit_test(steps_converge_quadratically),
        cmocka_unit_test(a_perfect_model_scores_1_and_has_no_scatter),
        cmocka_unit_test(a_known_background_is_neither_fluence_nor_scatter),
        cmocka_unit_test(photon_noise_is_no_scatter_of_the_model),
        cmocka_unit_test(photon_noise_bounds_the_score),
        cmocka_unit_test(photon_noise_bounds_the_score_of_images_matched_without_it),
        cmocka_unit_test(score_and_scale_are_what_their_formulas_say),
        cmocka_unit_test(the_fluence_of_each_image_is_found),
        cmocka_unit_test(an_image_without_signal_has_scale_0),
        cmocka_unit_test(the_dispersion_is_that_of_the_scatter),
        cmocka_unit_test(parts_are_assessed_like_the_whole),
        cmocka_unit_test(random_orientations_explain_little),
        cmocka_unit_test(unrelated_images_score_0),
        cmocka_unit_test(results_are_the_same_bits_on_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
