/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/match.h"

#include <omp.h>

#include "phases/blobs.h"

enum { EDGE = 20, SIDE = 20, PIXELS = SIDE * SIDE };

static const double STEP = 0.016e10, WAVELENGTH = 2.5e-10; /* corner at 0.22 / A; a speckle is 0.06 / A */

/* Noise-free images of blobs in known orientations, on a detector of uneven sensitivity, and the model that made them.
 */
typedef struct scene {
    blobs particle;
    ptrdiff_t images;
    sp_quat *truth;
    bench detector;
    sp_patterns patterns;
    sp_slicer *slicer;
} scene;

static scene make_scene(ptrdiff_t images, const sp_quat *truth, const double *scale)
{
    scene s = {.particle = blobs_random(11, 3.5, 0.8), .images = images};
    float *autocorrelation = blobs_autocorrelation(&s.particle, EDGE);

    s.truth = random_orientations(images, 31);
    for (ptrdiff_t n = 0; truth && n < images; n++) {
        s.truth[n] = truth[n];
    }
    s.detector = bench_new(1, SIDE, SIDE, STEP, WAVELENGTH);
    for (ptrdiff_t p = 0; p < PIXELS; p++) {
        s.detector.correction[p] = 1.0f + 0.3f * (float)(p % 3);
    }
    s.patterns = bench_expose(&s.detector, &s.particle, images, s.truth, scale);
    assert_int_equal(sp_slicer_new(EDGE, VOXEL, 4, &s.slicer), SP_OK);
    sp_slicer_load(s.slicer, autocorrelation);
    sp_array_free(autocorrelation);
    return s;
}

static void clear_scene(scene *s)
{
    sp_array_free(s->truth);
    bench_clear(&s->detector);
    sp_patterns_clear(&s->patterns);
    sp_slicer_free(s->slicer);
}

static sp_rotation_grid make_grid(ptrdiff_t count)
{
    sp_rotation_grid grid;

    assert_int_equal(sp_rotation_grid_init(count, &grid), SP_OK);
    return grid;
}

static sp_matcher *make_matcher(const sp_patterns *patterns, sp_match_kind kind, double s_max)
{
    const sp_match_settings settings = {.kind = kind, .whitening = 0.25, .s_max = s_max};
    sp_matcher *matcher = NULL;

    assert_int_equal(sp_matcher_new(patterns, &settings, &matcher), SP_OK);
    return matcher;
}

/* The answers of one search; free both arrays. */
typedef struct answer {
    ptrdiff_t *best;
    float *score;
} answer;

static answer search(const scene *s, const sp_rotation_grid *grid, sp_match_kind kind, double s_max, int keep)
{
    sp_matcher *matcher = make_matcher(&s->patterns, kind, s_max);
    answer a = {0};

    assert_int_equal(SP_ARRAY(a.best, s->images * keep), SP_OK);
    assert_int_equal(SP_ARRAY(a.score, s->images * keep), SP_OK);
    sp_matcher_search(matcher, s->slicer, grid, keep, a.best, a.score);
    sp_matcher_free(matcher);
    return a;
}

static void clear_answer(answer *a)
{
    sp_array_free(a->best);
    sp_array_free(a->score);
}

/* ---- plain references, in double ---- */

/* Model pattern of an orientation times exposure, as the detector would count it. */
static void expected_counts(const scene *s, sp_quat q, double *value)
{
    float pattern[PIXELS];

    sp_slicer_cut(s->slicer, q, s->patterns.s, PIXELS, pattern);
    for (int p = 0; p < PIXELS; p++) {
        value[p] = (double)pattern[p] * (double)s->patterns.exposure[p];
    }
}

/* Square root minus the mean of the shell: the feature of noise-free values, in place. */
static void plain_feature(const sp_patterns *patterns, double *x)
{
    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        const ptrdiff_t first = patterns->shell_start[k], last = patterns->shell_start[k + 1];
        double mean = 0.0;

        for (ptrdiff_t p = first; p < last; p++) {
            x[p] = sqrt(x[p]);
            mean += x[p] / (double)(last - first);
        }
        for (ptrdiff_t p = first; p < last; p++) {
            x[p] -= mean;
        }
    }
}

static void image_feature(const scene *s, ptrdiff_t image, double *x)
{
    for (int p = 0; p < PIXELS; p++) {
        x[p] = s->patterns.count[image * PIXELS + p];
    }
    plain_feature(&s->patterns, x);
}

/* Without noise W = 1 / standard deviation of the shell over all images, times a constant that cancels. */
static void plain_weights(const scene *s, double *weight)
{
    double variance[PIXELS] = {0.0}, members[PIXELS] = {0.0}, x[PIXELS];

    for (ptrdiff_t n = 0; n < s->images; n++) {
        image_feature(s, n, x);
        for (int p = 0; p < PIXELS; p++) {
            variance[s->patterns.shell[p]] += x[p] * x[p];
            members[s->patterns.shell[p]] += 1.0;
        }
    }
    for (int p = 0; p < PIXELS; p++) {
        weight[p] = 1.0 / sqrt(variance[s->patterns.shell[p]] / members[s->patterns.shell[p]]);
    }
}

static double weighted_correlation(const double *weight, const double *x, const double *y)
{
    double xy = 0.0, xx = 0.0, yy = 0.0;

    for (int p = 0; p < PIXELS; p++) {
        xy += weight[p] * x[p] * y[p];
        xx += weight[p] * x[p] * x[p];
        yy += weight[p] * y[p] * y[p];
    }
    return xy / sqrt(xx * yy);
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

static void the_score_is_the_weighted_correlation_of_the_features(void **state)
{
    (void)state;
    enum { IMAGES = 12, KEEP = 5 };
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_rotation_grid grid = make_grid(300);
    answer a = search(&s, &grid, SP_MATCH_WHITENED, INFINITY, KEEP);
    double weight[PIXELS], x[IMAGES][PIXELS], y[PIXELS], *all = NULL;

    assert_true(grid.count > 256); /* more than one tile */
    assert_int_equal(SP_ARRAY(all, IMAGES * grid.count), SP_OK);
    plain_weights(&s, weight);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        image_feature(&s, n, x[n]);
    }
    for (ptrdiff_t o = 0; o < grid.count; o++) {
        expected_counts(&s, grid.q[o], y);
        plain_feature(&s.patterns, y);
        for (ptrdiff_t n = 0; n < IMAGES; n++) {
            all[n * grid.count + o] = weighted_correlation(weight, x[n], y);
        }
    }
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        check_list(all + n * grid.count, grid.count, KEEP, a.best + n * KEEP, a.score + n * KEEP, 1e-5);
    }
    sp_array_free(all);
    clear_answer(&a);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void the_euclidean_kind_finds_the_least_squared_distance(void **state)
{
    (void)state;
    enum { IMAGES = 12, SAMPLE = 256 };
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_rotation_grid grid = make_grid(400);
    answer a = search(&s, &grid, SP_MATCH_EUCLIDEAN, INFINITY, 1);
    double y[PIXELS], data = 0.0, model = 0.0;
    double least[IMAGES], power[IMAGES];
    ptrdiff_t argmin[IMAGES];

    for (ptrdiff_t i = 0; i < SAMPLE; i++) {
        expected_counts(&s, grid.q[i * grid.count / SAMPLE], y);
        for (int p = 0; p < PIXELS; p++) {
            model += pow(y[p] / (double)s.patterns.exposure[p], 2.0) / SAMPLE;
        }
    }
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        least[n] = INFINITY;
        power[n] = 0.0;
        for (int p = 0; p < PIXELS; p++) {
            power[n] += pow(s.patterns.count[n * PIXELS + p] / (double)s.patterns.exposure[p], 2.0);
        }
        data += power[n] / IMAGES;
    }
    for (ptrdiff_t o = 0; o < grid.count; o++) {
        expected_counts(&s, grid.q[o], y);
        for (ptrdiff_t n = 0; n < IMAGES; n++) {
            double square = 0.0;

            for (int p = 0; p < PIXELS; p++) {
                const double x = s.patterns.count[n * PIXELS + p];

                square += pow((x - sqrt(data / model) * y[p]) / (double)s.patterns.exposure[p], 2.0);
            }
            if (square < least[n]) {
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
static scene planted_scene(const sp_rotation_grid *grid, ptrdiff_t images, const double *scale)
{
    sp_quat *q = random_orientations(images, 1);

    for (ptrdiff_t n = 0; n < images; n++) {
        q[n] = grid->q[37 * n % grid->count];
    }
    scene s = make_scene(images, q, scale);

    sp_array_free(q);
    return s;
}

static void planted_orientations_are_found_with_score_1(void **state)
{
    (void)state;
    enum { IMAGES = 150, KEEP = 3 }; /* more than one tile of images */
    sp_rotation_grid grid = make_grid(1500);
    scene s = planted_scene(&grid, IMAGES, NULL);
    answer a = search(&s, &grid, SP_MATCH_WHITENED, INFINITY, KEEP);

    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        assert_int_equal(a.best[n * KEEP], 37 * n % grid.count);
        assert_true(a.score[n * KEEP] > 0.9995f && a.score[n * KEEP] < 1.00001f);
        assert_true(a.score[n * KEEP] > a.score[n * KEEP + 1] && a.score[n * KEEP + 1] >= a.score[n * KEEP + 2]);
    }
    clear_answer(&a);
    clear_scene(&s);
    sp_rotation_grid_clear(&grid);
}

static void planted_orientations_are_found_in_photon_noise(void **state)
{
    (void)state;
    enum { IMAGES = 60 };
    sp_rotation_grid grid = make_grid(1500);
    scene s = planted_scene(&grid, IMAGES, NULL);
    sp_rng rng = sp_rng_stream(4, 4, 4);
    int found = 0;

    s.patterns.quantum = 1.0;
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        double total = 0.0;

        for (int p = 0; p < PIXELS; p++) {
            total += s.patterns.count[n * PIXELS + p];
        }
        for (int p = 0; p < PIXELS; p++) { /* 3,000 photons, 7 per pixel, most of them near the centre */
            s.patterns.count[n * PIXELS + p] =
                (float)sp_rng_poisson(&rng, 3000.0 / total * (double)s.patterns.count[n * PIXELS + p]);
        }
    }
    assert_int_equal(sp_patterns_measure(&s.patterns), SP_OK);
    answer a = search(&s, &grid, SP_MATCH_WHITENED, INFINITY, 1);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        found += a.best[n] == 37 * n % grid.count;
    }
    assert_true(found >= IMAGES * 8 / 10);
    clear_answer(&a);
    clear_scene(&s);
    sp_rotation_grid_clear(&grid);
}

static void an_image_of_another_fluence_has_the_same_score(void **state)
{
    (void)state;
    enum { IMAGES = 40 };
    sp_rotation_grid grid = make_grid(500);
    double scale[IMAGES], common[IMAGES];

    for (int n = 0; n < IMAGES; n++) {
        scale[n] = 0.3 + 0.1 * (n % 20);
        common[n] = 1e-3;
    }
    scene even = make_scene(IMAGES, NULL, NULL), weak = make_scene(IMAGES, NULL, common),
          uneven = make_scene(IMAGES, NULL, scale);
    answer a = search(&even, &grid, SP_MATCH_WHITENED, INFINITY, 1);
    answer b = search(&weak, &grid, SP_MATCH_WHITENED, INFINITY, 1);
    answer c = search(&uneven, &grid, SP_MATCH_WHITENED, INFINITY, 1);

    for (int n = 0; n < IMAGES; n++) {
        assert_int_equal(a.best[n], b.best[n]);
        assert_int_equal(a.best[n], c.best[n]);
        assert_true(fabsf(a.score[n] - b.score[n]) < 1e-5f);
        assert_true(fabsf(a.score[n] - c.score[n]) < 1e-2f); /* the shell weights are measured on all images */
    }
    clear_answer(&a);
    clear_answer(&b);
    clear_answer(&c);
    clear_scene(&even);
    clear_scene(&weak);
    clear_scene(&uneven);
    sp_rotation_grid_clear(&grid);
}

static void ties_go_to_the_lower_index(void **state)
{
    (void)state;
    enum { IMAGES = 3, KEEP = 4 };
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_rotation_grid grid = make_grid(600);

    memset(s.patterns.count + PIXELS, 0, PIXELS * sizeof(float)); /* image 1 looks alike from everywhere */
    answer a = search(&s, &grid, SP_MATCH_WHITENED, INFINITY, KEEP);

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
    answer a = search(&s, &grid, SP_MATCH_WHITENED, s_max, 1);
    answer b = search(&spoiled, &grid, SP_MATCH_WHITENED, s_max, 1);
    assert_memory_equal(a.best, b.best, 10 * sizeof *a.best);
    assert_memory_equal(a.score, b.score, 10 * sizeof *a.score);
    clear_answer(&a);
    clear_answer(&b);
    sp_rotation_grid_clear(&grid);
    clear_scene(&spoiled);
    clear_scene(&s);
}

static void a_band_without_pixels_is_refused(void **state)
{
    (void)state;
    scene s = make_scene(1, NULL, NULL);
    const sp_match_settings settings = {.kind = SP_MATCH_WHITENED, .whitening = 0.25, .s_max = 1e6};
    sp_matcher *matcher = NULL;

    assert_int_equal(sp_matcher_new(&s.patterns, &settings, &matcher), SP_ERR_USAGE);
    assert_null(matcher);
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

static void check_refined(const scene *s, const sp_quat *candidates, int count, double most)
{
    sp_matcher *matcher = make_matcher(&s->patterns, SP_MATCH_WHITENED, INFINITY);
    sp_quat *q = NULL;
    float *score = NULL;

    assert_int_equal(SP_ARRAY(q, s->images), SP_OK);
    assert_int_equal(SP_ARRAY(score, s->images), SP_OK);
    sp_matcher_refine(matcher, s->slicer, candidates, count, 10, DELTA, q, score);
    for (ptrdiff_t n = 0; n < s->images; n++) {
        assert_true(sp_quat_angle(q[n], s->truth[n]) < most);
        assert_true(score[n] > 0.9995f && score[n] < 1.00001f);
    }
    sp_array_free(q);
    sp_array_free(score);
    sp_matcher_free(matcher);
}

static void refinement_finds_the_truth_from_5_degrees_away(void **state)
{
    (void)state;
    scene s = make_scene(40, NULL, NULL);
    sp_quat *from = turned_away(&s, 5.0 * DEGREE);

    check_refined(&s, from, 1, 0.2 * DEGREE);
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
    check_refined(&s, from, 1, 0.2 * DEGREE);
    sp_array_free(from);
    clear_scene(&s);
}

static void refinement_takes_the_best_of_several_candidates(void **state)
{
    (void)state;
    enum { COUNT = 3 };
    scene s = make_scene(30, NULL, NULL);
    sp_quat *near = turned_away(&s, 5.0 * DEGREE), *from = random_orientations(s.images * COUNT, 5);

    for (ptrdiff_t n = 0; n < s.images; n++) {
        from[n * COUNT + n % COUNT] = near[n];
    }
    check_refined(&s, from, COUNT, 0.2 * DEGREE);
    sp_array_free(from);
    sp_array_free(near);
    clear_scene(&s);
}

/* No steps: the better of the candidate and its half turn, with the score that the search gives them. */
static void refinement_scores_like_the_search(void **state)
{
    (void)state;
    enum { IMAGES = 6 };
    const sp_quat half_turn = {0.0, 0.0, 0.0, 1.0};
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_matcher *matcher = make_matcher(&s.patterns, SP_MATCH_WHITENED, INFINITY);
    sp_quat *from = random_orientations(IMAGES, 9), q[IMAGES];
    float score[IMAGES], searched[IMAGES];
    ptrdiff_t best[IMAGES];

    sp_matcher_refine(matcher, s.slicer, from, 1, 0, DELTA, q, score);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        sp_quat pair[2] = {from[n], sp_quat_multiply(half_turn, from[n])};
        const sp_rotation_grid grid = {.directions = 2, .angles = 1, .count = 2, .q = pair};

        sp_matcher_search(matcher, s.slicer, &grid, 1, best, searched);
        assert_true(fabsf(score[n] - searched[n]) < 1e-5f);
        assert_true(sp_quat_angle(q[n], pair[best[n]]) < 1e-12);
    }
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
    sp_matcher *matcher = make_matcher(&s.patterns, SP_MATCH_WHITENED, INFINITY);
    sp_quat *from = turned_away(&s, 5.0 * DEGREE), q[IMAGES];
    float before[IMAGES], after[IMAGES];

    sp_matcher_refine(matcher, s.slicer, from, 1, 0, wild, q, before);
    sp_matcher_refine(matcher, s.slicer, from, 1, 5, wild, q, after);
    for (int n = 0; n < IMAGES; n++) {
        assert_true(after[n] >= before[n]);
    }
    sp_array_free(from);
    sp_matcher_free(matcher);
    clear_scene(&s);
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
    sp_quat q[3][IMAGES];
    float score[3][IMAGES];

    for (int t = 0; t < 3; t++) {
        omp_set_num_threads(t + 1);
        a[t] = search(&s, &grid, SP_MATCH_WHITENED, INFINITY, KEEP);
        sp_matcher *matcher = make_matcher(&s.patterns, SP_MATCH_WHITENED, INFINITY);
        sp_matcher_refine(matcher, s.slicer, from, 1, 1, DELTA, q[t], score[t]);
        sp_matcher_free(matcher);
    }
    omp_set_num_threads(threads);
    for (int t = 1; t < 3; t++) {
        assert_memory_equal(a[0].best, a[t].best, IMAGES * KEEP * sizeof *a[0].best);
        assert_memory_equal(a[0].score, a[t].score, IMAGES * KEEP * sizeof *a[0].score);
        assert_memory_equal(q[0], q[t], sizeof q[0]);
        assert_memory_equal(score[0], score[t], sizeof score[0]);
    }
    for (int t = 0; t < 3; t++) {
        clear_answer(&a[t]);
    }
    sp_array_free(from);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_score_is_the_weighted_correlation_of_the_features),
        cmocka_unit_test(the_euclidean_kind_finds_the_least_squared_distance),
        cmocka_unit_test(planted_orientations_are_found_with_score_1),
        cmocka_unit_test(planted_orientations_are_found_in_photon_noise),
        cmocka_unit_test(an_image_of_another_fluence_has_the_same_score),
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(shells_beyond_s_max_are_not_compared),
        cmocka_unit_test(a_band_without_pixels_is_refused),
        cmocka_unit_test(refinement_finds_the_truth_from_5_degrees_away),
        cmocka_unit_test(refinement_tries_the_half_turn_about_the_beam),
        cmocka_unit_test(refinement_takes_the_best_of_several_candidates),
        cmocka_unit_test(refinement_scores_like_the_search),
        cmocka_unit_test(refinement_never_lowers_the_score_even_by_wild_steps),
        cmocka_unit_test(results_are_the_same_bits_on_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
