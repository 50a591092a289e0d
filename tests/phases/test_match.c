/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/match.h"

#include <omp.h>

#include "phases/blobs.h"

enum { EDGE = 20, SIDE = 20, PIXELS = SIDE * SIDE };

static const sp_match_settings LIKELIHOOD = {
    .kind = SP_MATCH_LIKELIHOOD, .dispersion = 5.0, .floor = 0.1, .s_max = INFINITY};
static const sp_match_settings EUCLIDEAN = {.kind = SP_MATCH_EUCLIDEAN, .s_max = INFINITY};

static const double STEP = 0.016e10, WAVELENGTH = 2.5e-10; /* corner at 0.22 / A; a speckle is 0.06 / A */
static const double BRIGHTNESS = 0.18;                     /* of the blobs, for about 5000 photons per image */

/* Images of blobs in known orientations, on a detector of uneven sensitivity, and the model that made them: expected
 * photon counts, about 13 per pixel, or counts drawn from them. */
typedef struct scene {
    blobs particle;
    ptrdiff_t images;
    sp_quat *truth;
    bench detector;
    sp_patterns patterns;
    sp_slicer *slicer;
} scene;

/*   truth  orientations, or NULL: random ones;  scale  of each image, or NULL: all 1 */
static scene make_scene(ptrdiff_t images, const sp_quat *truth, const double *scale)
{
    scene s = {.particle = blobs_random(11, 3.5, 0.8), .images = images};
    float *autocorrelation = NULL;

    for (int j = 0; j < BLOBS; j++) {
        s.particle.height[j] *= BRIGHTNESS;
    }
    autocorrelation = blobs_autocorrelation(&s.particle, EDGE);
    s.truth = random_orientations(images, 31);
    for (ptrdiff_t n = 0; truth && n < images; n++) {
        s.truth[n] = truth[n];
    }
    s.detector = bench_new(1, SIDE, SIDE, STEP, WAVELENGTH);
    for (ptrdiff_t p = 0; p < PIXELS; p++) {
        s.detector.correction[p] = 1.0f + 0.3f * (float)(p % 3);
    }
    s.patterns = bench_expose(&s.detector, &s.particle, images, s.truth, scale);
    s.patterns.quantum = 1.0;
    for (ptrdiff_t n = 0; n < images; n++) { /* total counts are not quite the fluence: speckle */
        s.patterns.scale[n] = (float)(scale ? scale[n] : 1.0);
    }
    assert_int_equal(sp_slicer_new(EDGE, VOXEL, 4, &s.slicer), SP_OK);
    sp_slicer_load(s.slicer, autocorrelation);
    sp_array_free(autocorrelation);
    return s;
}

static void draw_photons(scene *s)
{
    for (ptrdiff_t n = 0; n < s->images; n++) {
        sp_rng rng = sp_rng_stream(4, 4, (uint64_t)n);
        float *count = s->patterns.count + n * PIXELS;

        for (int p = 0; p < PIXELS; p++) {
            count[p] = (float)sp_rng_poisson(&rng, (double)count[p]);
        }
    }
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

static sp_matcher *make_matcher(const scene *s, const sp_match_settings *settings)
{
    sp_matcher *matcher = NULL;

    assert_int_equal(sp_matcher_new(&s->patterns, s->slicer, settings, &matcher), SP_OK);
    return matcher;
}

/* The answers of one search; free both arrays. */
typedef struct answer {
    ptrdiff_t *best;
    float *score;
} answer;

static answer search(const scene *s, const sp_rotation_grid *grid, const sp_match_settings *settings, int keep)
{
    sp_matcher *matcher = make_matcher(s, settings);
    answer a = {0};

    assert_int_equal(SP_ARRAY(a.best, s->images * keep), SP_OK);
    assert_int_equal(SP_ARRAY(a.score, s->images * keep), SP_OK);
    sp_matcher_search(matcher, grid, keep, a.best, a.score);
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

/* Logarithm of the negative binomial probability of an image: counts k of mean scale m and variance mean + mean^2 /
 * (scale r), m having the floor mixed in. */
static double log_probability(const scene *s, ptrdiff_t image, sp_quat q, const sp_match_settings *settings)
{
    const double scale = s->patterns.scale[image], size = scale * settings->dispersion;
    double value[PIXELS], sum = 0.0;

    expected_counts(s, q, value);
    for (int p = 0; p < PIXELS; p++) {
        const double base = s->patterns.profile[s->patterns.shell[p]] * (double)s->patterns.exposure[p];
        const double mean = scale * (value[p] + settings->floor * base) / (1.0 + settings->floor);
        const double k = s->patterns.count[image * PIXELS + p];

        sum += lgamma(k + size) - lgamma(size) - lgamma(k + 1.0) + k * log(mean / (mean + size)) +
               size * log(size / (mean + size));
    }
    return sum;
}

/* ---- search ---- */

/* Up to a term without the orientation; lists of the best are sorted, hold no orientation twice and miss none. */
static void the_score_is_the_negative_binomial_log_likelihood(void **state)
{
    (void)state;
    enum { IMAGES = 6, KEEP = 5 };
    const double scale[IMAGES] = {1.0, 0.3, 2.0, 1.0, 0.7, 1.0};
    scene s = make_scene(IMAGES, NULL, scale);
    sp_rotation_grid grid = make_grid(300);
    double *all = NULL;

    draw_photons(&s);
    answer a = search(&s, &grid, &LIKELIHOOD, KEEP);
    assert_true(grid.count > 256); /* more than one tile */
    assert_int_equal(SP_ARRAY(all, grid.count), SP_OK);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        const ptrdiff_t *best = a.best + n * KEEP;
        const float *score = a.score + n * KEEP;
        const double tolerance = 1e-5 * fabs((double)score[0]);

        for (ptrdiff_t o = 0; o < grid.count; o++) {
            all[o] = log_probability(&s, n, grid.q[o], &LIKELIHOOD);
        }
        const double offset = score[0] - all[best[0]];
        for (int k = 0; k < KEEP; k++) {
            assert_true(fabs(score[k] - all[best[k]] - offset) < tolerance);
            assert_true(k == 0 || score[k] <= score[k - 1]);
            all[best[k]] = -INFINITY; /* not to be found again */
        }
        for (ptrdiff_t o = 0; o < grid.count; o++) {
            assert_true(all[o] + offset < score[KEEP - 1] + tolerance);
        }
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
    answer a = search(&s, &grid, &EUCLIDEAN, 1);
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
    enum { IMAGES = 150, KEEP = 3 }; /* more than one tile of images */
    sp_rotation_grid grid = make_grid(1500);
    scene s = planted_scene(&grid, IMAGES);

    for (double dispersion = 1.0; dispersion < 200.0; dispersion *= 10.0) {
        sp_match_settings settings = LIKELIHOOD;

        settings.dispersion = dispersion;
        answer a = search(&s, &grid, &settings, KEEP);
        for (ptrdiff_t n = 0; n < IMAGES; n++) {
            assert_int_equal(a.best[n * KEEP], 37 * n % grid.count);
        }
        clear_answer(&a);
    }
    clear_scene(&s);
    sp_rotation_grid_clear(&grid);
}

static void planted_orientations_are_found_in_photon_noise(void **state)
{
    (void)state;
    enum { IMAGES = 60 };
    sp_rotation_grid grid = make_grid(1500);
    scene s = planted_scene(&grid, IMAGES);
    int found = 0;

    draw_photons(&s);
    answer a = search(&s, &grid, &LIKELIHOOD, 1);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        found += a.best[n] == 37 * n % grid.count;
    }
    assert_true(found >= IMAGES * 9 / 10);
    clear_answer(&a);
    clear_scene(&s);
    sp_rotation_grid_clear(&grid);
}

/* Twice the counts at twice the scale: twice the evidence for the same orientation. */
static void the_score_is_proportional_to_the_fluence(void **state)
{
    (void)state;
    enum { IMAGES = 40 };
    sp_rotation_grid grid = make_grid(500);
    double scale[IMAGES];

    for (int n = 0; n < IMAGES; n++) {
        scale[n] = 0.5 + 0.1 * (n % 20);
    }
    scene even = make_scene(IMAGES, NULL, NULL), uneven = make_scene(IMAGES, NULL, scale);
    memcpy(uneven.patterns.profile, even.patterns.profile, (size_t)even.patterns.shells * sizeof(double));
    answer a = search(&even, &grid, &LIKELIHOOD, 1), b = search(&uneven, &grid, &LIKELIHOOD, 1);
    for (int n = 0; n < IMAGES; n++) {
        assert_int_equal(a.best[n], b.best[n]);
        assert_true(fabs(b.score[n] / (scale[n] * a.score[n]) - 1.0) < 1e-5);
    }
    clear_answer(&a);
    clear_answer(&b);
    clear_scene(&even);
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
    s.patterns.scale[1] = 0.0f;
    answer a = search(&s, &grid, &LIKELIHOOD, KEEP);

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
    enum { IMAGES = 10 };
    sp_match_settings settings = LIKELIHOOD;
    scene s = make_scene(IMAGES, NULL, NULL), spoiled = make_scene(IMAGES, NULL, NULL);
    sp_rotation_grid grid = make_grid(300);
    ptrdiff_t beyond = 0;

    settings.s_max = 0.12e10;
    for (ptrdiff_t i = 0; i < IMAGES * PIXELS; i++) {
        if (spoiled.patterns.radius[i % PIXELS] > settings.s_max + spoiled.patterns.shell_width) {
            spoiled.patterns.count[i] = (float)(i % 7);
            beyond++;
        }
    }
    assert_true(beyond > 100 * IMAGES);
    answer a = search(&s, &grid, &settings, 1), b = search(&spoiled, &grid, &settings, 1);
    assert_memory_equal(a.best, b.best, IMAGES * sizeof *a.best);
    assert_memory_equal(a.score, b.score, IMAGES * sizeof *a.score);
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
    sp_match_settings settings = LIKELIHOOD;
    sp_matcher *matcher = NULL;

    settings.s_max = 1e6;
    assert_int_equal(sp_matcher_new(&s.patterns, s.slicer, &settings, &matcher), SP_ERR_USAGE);
    assert_null(matcher);
    clear_scene(&s);
}

/* ---- refinement ---- */

static const double DEGREE = M_PI / 180.0;
static const double DELTA = 0.03; /* [rad] a tenth of a speckle at the corner */

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

/* Refines with a floor of 0, so that the truth is the maximum itself. */
static void check_refined(const scene *s, const sp_quat *candidates, int count, double most)
{
    sp_match_settings settings = LIKELIHOOD;
    sp_quat *q = NULL;

    settings.floor = 0.0;
    sp_matcher *matcher = make_matcher(s, &settings);
    assert_int_equal(SP_ARRAY(q, s->images), SP_OK);
    sp_matcher_refine(matcher, candidates, count, 10, DELTA, q);
    for (ptrdiff_t n = 0; n < s->images; n++) {
        assert_true(sp_quat_angle(q[n], s->truth[n]) < most);
    }
    sp_array_free(q);
    sp_matcher_free(matcher);
}

static void refinement_finds_the_truth_from_5_degrees_away(void **state)
{
    (void)state;
    enum { IMAGES = 40 };
    double scale[IMAGES];

    for (int n = 0; n < IMAGES; n++) {
        scale[n] = 0.5 + 0.025 * n;
    }
    scene s = make_scene(IMAGES, NULL, scale);
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
    enum { COUNT = 4 };
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

/* Score of an orientation for an image: a search in a grid that holds no other. */
static double score_at(sp_matcher *matcher, ptrdiff_t images, ptrdiff_t image, sp_quat q)
{
    const sp_rotation_grid grid = {.directions = 1, .angles = 1, .count = 1, .q = &q};
    ptrdiff_t best[64];
    float score[64];

    assert_true(images <= 64);
    sp_matcher_search(matcher, &grid, 1, best, score);
    return score[image];
}

static void refinement_never_lowers_the_score_even_by_wild_steps(void **state)
{
    (void)state;
    enum { IMAGES = 10 };
    const double wild = 1.0; /* [rad] several speckles */
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_matcher *matcher = make_matcher(&s, &LIKELIHOOD);
    sp_quat *from = turned_away(&s, 5.0 * DEGREE), q[IMAGES];

    sp_matcher_refine(matcher, from, 1, 5, wild, q);
    for (int n = 0; n < IMAGES; n++) {
        const double before = score_at(matcher, IMAGES, n, from[n]), after = score_at(matcher, IMAGES, n, q[n]);

        assert_true(after >= before - 1e-6 * fabs(before));
    }
    sp_array_free(from);
    sp_matcher_free(matcher);
    clear_scene(&s);
}

/* ---- assessment ---- */

/* Assessment of all images in orientations q; score and scale [images]. */
static double assess(const scene *s, const sp_quat *q, float *score, float *scale)
{
    sp_matcher *matcher = make_matcher(s, &LIKELIHOOD);
    double dispersion = 0.0;

    sp_matcher_assess(matcher, q, score, scale, &dispersion);
    sp_matcher_free(matcher);
    return dispersion;
}

static void the_right_model_explains_everything(void **state)
{
    (void)state;
    enum { IMAGES = 20 };
    double scale[IMAGES];
    float score[IMAGES], fitted[IMAGES];

    for (int n = 0; n < IMAGES; n++) {
        scale[n] = 0.525 + 0.05 * n; /* mean 1 */
    }
    scene s = make_scene(IMAGES, NULL, scale);
    s.patterns.quantum = 0.0;
    const double dispersion = assess(&s, s.truth, score, fitted);
    for (int n = 0; n < IMAGES; n++) {
        assert_true(score[n] > 0.999f && score[n] < 1.00001f);
        assert_true(fabs(fitted[n] / scale[n] - 1.0) < 1e-3);
    }
    assert_true(dispersion > 1e4);
    clear_scene(&s);
}

static void photon_noise_is_not_taken_for_a_wrong_model(void **state)
{
    (void)state;
    enum { IMAGES = 60 };
    float score[IMAGES], fitted[IMAGES];
    scene s = make_scene(IMAGES, NULL, NULL);

    draw_photons(&s);
    assert_true(assess(&s, s.truth, score, fitted) > 30.0);
    for (int n = 0; n < IMAGES; n++) {
        assert_true(score[n] > 0.5f);
        assert_true(fabsf(fitted[n] - 1.0f) < 0.15f); /* 5000 photons: 1.4 % from their number alone */
    }
    clear_scene(&s);
}

static void random_orientations_explain_little(void **state)
{
    (void)state;
    enum { IMAGES = 60 };
    float score[IMAGES], fitted[IMAGES];
    scene s = make_scene(IMAGES, NULL, NULL);
    sp_quat *q = random_orientations(IMAGES, 99);
    double mean = 0.0;

    assert_true(assess(&s, q, score, fitted) < 2.0); /* speckle against other speckle */
    for (int n = 0; n < IMAGES; n++) {
        mean += score[n] / IMAGES;
    }
    assert_true(fabs(mean) < 0.3);
    sp_array_free(q);
    clear_scene(&s);
}

static void an_empty_image_gets_scale_and_score_0(void **state)
{
    (void)state;
    enum { IMAGES = 10 };
    float score[IMAGES], fitted[IMAGES], sum = 0.0f;
    scene s = make_scene(IMAGES, NULL, NULL);

    memset(s.patterns.count + 3 * PIXELS, 0, PIXELS * sizeof(float));
    s.patterns.scale[3] = 0.0f;
    assess(&s, s.truth, score, fitted);
    for (int n = 0; n < IMAGES; n++) {
        sum += fitted[n];
    }
    assert_true(score[3] == 0.0f && fitted[3] == 0.0f);
    assert_true(fabsf(sum / (IMAGES - 1) - 1.0f) < 1e-5f);
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
    float score[3][IMAGES], scale[3][IMAGES];
    double dispersion[3];

    for (int t = 0; t < 3; t++) {
        omp_set_num_threads(t + 1);
        a[t] = search(&s, &grid, &LIKELIHOOD, KEEP);
        sp_matcher *matcher = make_matcher(&s, &LIKELIHOOD);
        sp_matcher_refine(matcher, from, 1, 1, DELTA, q[t]);
        sp_matcher_free(matcher);
        dispersion[t] = assess(&s, q[t], score[t], scale[t]);
    }
    omp_set_num_threads(threads);
    for (int t = 1; t < 3; t++) {
        assert_memory_equal(a[0].best, a[t].best, IMAGES * KEEP * sizeof *a[0].best);
        assert_memory_equal(a[0].score, a[t].score, IMAGES * KEEP * sizeof *a[0].score);
        assert_memory_equal(q[0], q[t], sizeof q[0]);
        assert_memory_equal(score[0], score[t], sizeof score[0]);
        assert_memory_equal(scale[0], scale[t], sizeof scale[0]);
        assert_true(dispersion[0] == dispersion[t]);
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
        cmocka_unit_test(the_score_is_the_negative_binomial_log_likelihood),
        cmocka_unit_test(the_euclidean_kind_finds_the_least_squared_distance),
        cmocka_unit_test(planted_orientations_are_found),
        cmocka_unit_test(planted_orientations_are_found_in_photon_noise),
        cmocka_unit_test(the_score_is_proportional_to_the_fluence),
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(shells_beyond_s_max_are_not_compared),
        cmocka_unit_test(a_band_without_pixels_is_refused),
        cmocka_unit_test(refinement_finds_the_truth_from_5_degrees_away),
        cmocka_unit_test(refinement_tries_the_half_turn_about_the_beam),
        cmocka_unit_test(refinement_takes_the_best_of_several_candidates),
        cmocka_unit_test(refinement_never_lowers_the_score_even_by_wild_steps),
        cmocka_unit_test(the_right_model_explains_everything),
        cmocka_unit_test(photon_noise_is_not_taken_for_a_wrong_model),
        cmocka_unit_test(random_orientations_explain_little),
        cmocka_unit_test(an_empty_image_gets_scale_and_score_0),
        cmocka_unit_test(results_are_the_same_bits_on_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
