/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/polar.h"

#include <omp.h>

#include "phases/match.h"
#include "phases/matching.h"
#include "phases/polar_kernels.h"

/* ---- the kernels of every instruction set against plain loops ---- */

static float *circle(ptrdiff_t n)
{
    float *turn = NULL;

    assert_int_equal(SP_ARRAY(turn, 2 * n), SP_OK);
    for (ptrdiff_t l = 0; l < n; l++) {
        turn[2 * l] = (float)cos(2.0 * M_PI * (double)l / (double)n);
        turn[2 * l + 1] = (float)sin(2.0 * M_PI * (double)l / (double)n);
    }
    return turn;
}

/* [count] numbers of direction 0, 1, .. apart -> [count][width], the directions repeated as often as the width asks. */
static float *side_by_side(const float *x, ptrdiff_t directions, ptrdiff_t count, ptrdiff_t width)
{
    float *y = NULL;

    assert_int_equal(SP_ARRAY(y, count * width), SP_OK);
    for (ptrdiff_t i = 0; i < count * width; i++) {
        y[i] = x[i % width % directions * count + i / width];
    }
    return y;
}

enum { DIRECTIONS = 8 };

/* What a table of kernels makes of random input, for DIRECTIONS directions; each returns how many numbers of `out`. */
static ptrdiff_t run_ring(const sp_polar_kernels *k, ptrdiff_t n, ptrdiff_t orders, float *out)
{
    float *x = noise(DIRECTIONS * n, 1), *turn = circle(n), *y = NULL;
    ptrdiff_t place[100];

    assert_int_equal(SP_ARRAY(y, 2 * orders * k->width), SP_OK);
    for (ptrdiff_t m = 0; m < orders; m++) {
        place[m] = orders - 1 - m;
    }
    for (ptrdiff_t d = 0; d < DIRECTIONS; d += k->width) {
        float *value = side_by_side(x + d * n, DIRECTIONS - d, n, k->width);

        k->ring(value, n, turn, orders, place, y);
        for (ptrdiff_t i = 0; i < 2 * orders * k->width; i++) {
            if (d + i % k->width < DIRECTIONS) {
                out[i / k->width * DIRECTIONS + d + i % k->width] = y[i];
            }
        }
        sp_array_free(value);
    }
    sp_array_free(x);
    sp_array_free(y);
    sp_array_free(turn);
    return 2 * orders * DIRECTIONS;
}

/* The directions come in as many calls as the width asks, the images in overlapping groups. */
static ptrdiff_t run_product(const sp_polar_kernels *k, float *out)
{
    enum { STRIDE = 50, COUNT = 36, IMAGES = 7 };
    const sp_polar_run run[] = {{3, 7, false}, {20, 11, false}, {1, 5, true}, {31, 13, true}};
    float *image = noise((ptrdiff_t)2 * IMAGES * STRIDE, 2), *x = noise((ptrdiff_t)DIRECTIONS * 2 * COUNT, 3);
    float *y = NULL;

    assert_int_equal(SP_ARRAY(y, 2 * k->width * k->images), SP_OK);
    for (ptrdiff_t d = 0; d < DIRECTIONS; d += k->width) {
        float *feature = side_by_side(x + d * 2 * COUNT, DIRECTIONS - d, (ptrdiff_t)2 * COUNT, k->width);

        for (ptrdiff_t n = 0; n + k->images <= IMAGES; n++) {
            k->product(run, 4, image + 2 * n * STRIDE, STRIDE, feature, y, 2 * k->width);
            for (ptrdiff_t i = 0; i < 2 * k->width * k->images; i++) {
                const ptrdiff_t lane = d + i % k->width;

                if (lane < DIRECTIONS) {
                    out[(2 * n + i / k->width) * DIRECTIONS + lane] = y[i];
                }
            }
        }
        sp_array_free(feature);
    }
    sp_array_free(x);
    sp_array_free(y);
    sp_array_free(image);
    return (ptrdiff_t)IMAGES * 2 * DIRECTIONS;
}

static ptrdiff_t run_angles(const sp_polar_kernels *k, ptrdiff_t angles, float *out)
{
    const ptrdiff_t halves = 2 * (angles / 2 + 1);
    float *x = noise(DIRECTIONS * halves, 4), *b = noise(DIRECTIONS * angles, 5), *turn = circle(angles), *score = NULL;
    float most = -INFINITY;

    assert_int_equal(SP_ARRAY(score, angles * k->width), SP_OK);
    for (ptrdiff_t d = 0; d < DIRECTIONS; d += k->width) {
        float *half = side_by_side(x + d * halves, DIRECTIONS - d, halves, k->width);
        float *bias = side_by_side(b + d * angles, DIRECTIONS - d, angles, k->width);

        most = -INFINITY;
        assert_true(k->angles(half, angles, turn, bias, 0.7f, -INFINITY, score));
        for (ptrdiff_t i = 0; i < angles * k->width; i++) {
            most = fmaxf(most, score[i]);
            if (d + i % k->width < DIRECTIONS) {
                out[i / k->width * DIRECTIONS + d + i % k->width] = score[i];
            }
        }
        assert_false(k->angles(half, angles, turn, bias, 0.7f, most, score));
        assert_true(k->angles(half, angles, turn, bias, 0.7f, nextafterf(most, -INFINITY), score));
        sp_array_free(half);
        sp_array_free(bias);
    }
    sp_array_free(x);
    sp_array_free(b);
    sp_array_free(turn);
    sp_array_free(score);
    return angles * DIRECTIONS;
}

static ptrdiff_t run_spread(const sp_polar_kernels *k, float *out)
{
    enum { ORDERS = 37 };
    float *weight = noise(SP_POLAR_TAPS, 6), *power = noise((ptrdiff_t)4 * ORDERS, 7), *turned = power + 2 * ORDERS;
    const float *phase[SP_POLAR_TAPS];
    float *ring[SP_POLAR_TAPS];

    k->powers(cos(2.0), sin(2.0), ORDERS, power, turned);
    for (int t = 0; t < SP_POLAR_TAPS; t++) {
        phase[t] = t < 3 ? turned : power;
        ring[t] = out + (ptrdiff_t)2 * ORDERS * t;
        for (int i = 0; i < 2 * ORDERS; i++) {
            ring[t][i] = (float)(t - i);
        }
    }
    k->spread(3.5f, weight, phase, (ptrdiff_t)2 * ORDERS, ring);
    sp_array_free(weight);
    sp_array_free(power);
    return (ptrdiff_t)2 * ORDERS * SP_POLAR_TAPS;
}

static ptrdiff_t run_features(const sp_polar_kernels *k, float *out)
{
    enum { COUNT = 45 };
    float *intensity = noise(COUNT, 8);

    for (int i = 0; i < COUNT; i++) {
        intensity[i] = i == 7 ? 0.0f : expf(12.0f * intensity[i]);
    }
    k->features(intensity, COUNT, 0.0f, 0.3f, 2.0f, out, out + COUNT);
    sp_array_free(intensity);
    return (ptrdiff_t)2 * COUNT;
}

enum { ROOM = 4096 };

static void check_kernels(const float *got, const float *want, ptrdiff_t count, double tolerance)
{
    assert_true(count <= ROOM);
    assert_true(relative_difference(got, want, count) < tolerance);
}

static void every_instruction_set_computes_what_plain_loops_do(void **state)
{
    (void)state;
    const sp_polar_kernels *ref = &sp_polar_kernels_ref;
    static const ptrdiff_t sizes[][2] = {{4, 1}, {8, 3}, {20, 8}, {64, 29}, {92, 37}};
    float want[ROOM], got[ROOM];

    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        const sp_polar_kernels *k = sp_polar_kernels_for((sp_isa)isa);

        assert_true(k->width <= SP_POLAR_MAX_WIDTH);
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            run_ring(ref, sizes[i][0], sizes[i][1], want);
            check_kernels(got, want, run_ring(k, sizes[i][0], sizes[i][1], got), 1e-6);
        }
        for (ptrdiff_t angles = 1; angles < 40; angles++) {
            run_angles(ref, angles, want);
            check_kernels(got, want, run_angles(k, angles, got), 1e-6);
        }
        run_product(ref, want);
        check_kernels(got, want, run_product(k, got), 1e-6);
        run_spread(ref, want);
        check_kernels(got, want, run_spread(k, got), 1e-6);
        run_features(ref, want);
        check_kernels(got, want, run_features(k, got), 1e-6);
    }
}

/* ---- scenes ---- */

enum { EDGE = 24, SIDE = 24, PIXELS = SIDE * SIDE };

static const double STEP = 0.014e10, WAVELENGTH = 2.5e-10; /* corner at 0.24 / A */
static const double DIAMETER = 20e-10;                     /* of the blobs: 8 voxels and their fringe */

/* Images of blobs, the model that made them, and where the compared values are kept. */
typedef struct scene {
    ptrdiff_t images;
    sp_quat *truth;
    bench detector;
    sp_patterns patterns;
    sp_slicer *slicer;
} scene;

static scene make_scene(ptrdiff_t images, double wavelength, void alter(bench *))
{
    const blobs particle = blobs_random(11, 3.5, 0.8);
    float *autocorrelation = blobs_autocorrelation(&particle, EDGE);
    scene s = {.images = images, .truth = random_orientations(images, 31)};

    s.detector = bench_new(1, SIDE, SIDE, STEP, fmax(wavelength, 1e-14));
    s.detector.pixels.wavelength = wavelength;
    if (alter) {
        alter(&s.detector);
    }
    s.patterns = bench_expose(&s.detector, &particle, images, s.truth, NULL);
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

/* A beam stop, a dead quarter, and a stripe. */
static void mask(bench *detector)
{
    for (int p = 0; p < PIXELS; p++) {
        const int x = p % SIDE - SIDE / 2, y = p / SIDE - SIDE / 2;

        detector->bad[p] = x * x + y * y < 5 || (x > 2 && y > 3) || x == -7;
    }
}

/* Sensitivity falls from left to right. */
static void shade(bench *detector)
{
    for (int p = 0; p < PIXELS; p++) {
        detector->correction[p] = 1.0f - 0.01f * (float)(p % SIDE);
    }
}

/* One pixel lies off the plane. */
static void crumple(bench *detector)
{
    detector->position[3 * 40 + 2] += 0.3 * STEP;
}

/* The polar form of a search: what sp_matcher_new() would hand over. */
typedef struct setting {
    double unit, floor, r, budget; /* 0: plenty */
    sp_isa isa;
} setting;

static sp_polar_input input_of(const scene *s, const setting *with)
{
    return (sp_polar_input){.patterns = &s->patterns,
                            .stride = s->patterns.pixels,
                            .unit = with->unit,
                            .floor = with->floor,
                            .diameter = DIAMETER,
                            .isa = with->isa};
}

static sp_polar_search *make_polar(const scene *s, const setting *with)
{
    const sp_polar_input input = input_of(s, with);
    sp_polar_search *polar = NULL;

    assert_int_equal(sp_polar_search_new(&input, with->budget > 0.0 ? with->budget : 1e9, &polar), SP_OK);
    return polar;
}

/* The score of an image in every orientation of the grid, by the polar route.  all  out  [images][grid->count] */
static void polar_scores(const scene *s, const setting *with, const sp_rotation_grid *grid, double *all)
{
    const ptrdiff_t count = grid->count;
    sp_polar_search *polar = make_polar(s, with);
    sp_shortlists lists = {.keep = (int)count};

    assert_int_equal(SP_ARRAY(lists.best, s->images * count), SP_OK);
    sp_polar_search_run(polar, s->slicer, s->patterns.pixels, with->r, grid, &lists);
    for (ptrdiff_t i = 0; i < s->images * count; i++) {
        all[i] = NAN;
    }
    for (ptrdiff_t i = 0; i < s->images * count; i++) {
        all[i / count * count + lists.best[i].index] = lists.best[i].score;
    }
    sp_array_free(lists.best);
    sp_polar_search_free(polar);
}

/* A quantity of the shells at a radius, as the header says; here all shells from the first to the last have pixels. */
static double along(const sp_patterns *patterns, const double *value, ptrdiff_t first, double radius)
{
    const double at = fmin(fmax(radius / patterns->shell_width - 0.5, (double)first), (double)patterns->shells - 1.0);
    const ptrdiff_t k = (ptrdiff_t)at < patterns->shells - 1 ? (ptrdiff_t)at : (ptrdiff_t)at - 1;

    return value[k] + (value[k + 1] - value[k]) * (at - (double)k);
}

/* The same, pixel by pixel in double precision. */
static void plain_scores(const scene *s, const setting *with, const sp_rotation_grid *grid, double *all)
{
    const sp_patterns *patterns = &s->patterns;
    double exposure[SIDE] = {0.0};
    float pattern[PIXELS];

    assert_true(patterns->shells <= SIDE);
    for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
        const ptrdiff_t shell = patterns->shell[p];

        exposure[shell] +=
            patterns->exposure[p] / (double)(patterns->shell_start[shell + 1] - patterns->shell_start[shell]);
    }
    for (ptrdiff_t o = 0; o < grid->count; o++) {
        sp_slicer_cut(s->slicer, grid->q[o], patterns->s, patterns->pixels, pattern);
        for (ptrdiff_t n = 0; n < s->images; n++) {
            all[n * grid->count + o] = 0.0;
        }
        for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
            const double radius = patterns->radius[p];
            const double mean = along(patterns, exposure, patterns->shell[0], radius);
            const double base = with->floor * along(patterns, patterns->profile, patterns->shell[0], radius);
            const double m = (pattern[p] + base) / (1.0 + with->floor) * mean / with->unit;
            const double share = patterns->exposure[p] / mean;

            for (ptrdiff_t n = 0; n < s->images; n++) {
                all[n * grid->count + o] +=
                    -patterns->count[n * patterns->pixels + p] / with->unit * log1p(with->r / m) -
                    patterns->scale[n] * share * with->r * log1p(m / with->r);
            }
        }
    }
}

/* Root mean square of (got - want), over that of want, both less their means: the worst image. */
static double worst_error(const double *got, const double *want, ptrdiff_t images, ptrdiff_t count)
{
    double worst = 0.0;

    for (ptrdiff_t n = 0; n < images; n++) {
        double mean[2] = {0.0}, error = 0.0, spread = 0.0;

        for (ptrdiff_t i = n * count; i < (n + 1) * count; i++) {
            mean[0] += got[i] / (double)count;
            mean[1] += want[i] / (double)count;
        }
        for (ptrdiff_t i = n * count; i < (n + 1) * count; i++) {
            error += pow(got[i] - mean[0] - want[i] + mean[1], 2.0);
            spread += pow(want[i] - mean[1], 2.0);
        }
        worst = fmax(worst, sqrt(error / spread));
    }
    return worst;
}

/* Worst error of the polar route, by the instruction set that is the best. */
static double error_of(const scene *s, const setting *with, const sp_rotation_grid *grid)
{
    double *got = NULL, *want = NULL;

    assert_int_equal(SP_ARRAY(got, s->images * grid->count), SP_OK);
    assert_int_equal(SP_ARRAY(want, s->images * grid->count), SP_OK);
    polar_scores(s, with, grid, got);
    plain_scores(s, with, grid, want);
    const double worst = worst_error(got, want, s->images, grid->count);

    sp_array_free(got);
    sp_array_free(want);
    return worst;
}

/* ---- against sums over pixels ---- */

/* As a matcher would set it for noise-free images. */
static setting bright(const scene *s)
{
    return (setting){
        .unit = s->patterns.profile[s->patterns.shells * 3 / 4] / 10.0, .floor = 0.3, .r = 1.0, .isa = sp_isa_best()};
}

static void check_errors(double wavelength, void alter(bench *), double tolerance)
{
    static const double dispersion[] = {1.0, 10.0, 1000.0};
    scene s = make_scene(4, wavelength, alter);
    sp_rotation_grid grid = make_grid(600);
    setting with = bright(&s);

    for (int i = 0; i < 3; i++) {
        with.r = dispersion[i];
        for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
            with.isa = (sp_isa)isa;
            assert_true(error_of(&s, &with, &grid) < tolerance);
        }
    }
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void the_score_is_the_sum_over_pixels(void **state)
{
    (void)state;
    check_errors(WAVELENGTH, NULL, 5e-3);
}

static void on_a_flat_detector_too(void **state)
{
    (void)state;
    check_errors(0.0, NULL, 8e-3); /* opposite pixels agree: orientations differ by less */
}

static void missing_pixels_are_missing_in_every_orientation(void **state)
{
    (void)state;
    check_errors(WAVELENGTH, mask, 5e-3);
}

/* Two panels, the right one moved outward and down: no symmetry, and a gap. */
static void split(bench *detector)
{
    detector->pixels.panels = 2;
    detector->pixels.height = SIDE / 2;
    for (int p = PIXELS / 2; p < PIXELS; p++) {
        const double k = 1.0 / WAVELENGTH;
        double *s = detector->position + 3 * (ptrdiff_t)p;

        s[0] += 1.7 * STEP;
        s[1] += 2.3 * STEP;
        s[2] = sqrt(k * k - s[0] * s[0] - s[1] * s[1]) - k;
    }
}

static void panels_need_not_be_symmetric(void **state)
{
    (void)state;
    check_errors(WAVELENGTH, split, 5e-3);
}

static void uneven_exposure_weighs_pixels_as_fluence_weighs_images(void **state)
{
    (void)state;
    check_errors(WAVELENGTH, shade, 5e-3);
}

/* The rest is the roughness of the logarithm, and of the profile between shells, on the rings: with little of both, the
 * two differ by half as much. */
static void a_smooth_feature_is_correlated_more_closely(void **state)
{
    (void)state;
    scene s = make_scene(4, WAVELENGTH, mask);
    sp_rotation_grid grid = make_grid(600);
    setting with = bright(&s);

    with.unit = s.patterns.profile[s.patterns.shells / 2];
    for (ptrdiff_t k = 0; k < s.patterns.shells; k++) {
        s.patterns.profile[k] = with.unit;
    }
    assert_true(error_of(&s, &with, &grid) < 1.6e-3);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* ---- the search ---- */

enum { KEEP = 3 };

typedef sp_shortlists answer;

static answer new_answer(const scene *s)
{
    answer a = {.keep = KEEP};

    assert_int_equal(SP_ARRAY(a.best, s->images * KEEP), SP_OK);
    return a;
}

static answer search_within(const scene *s, sp_polar_search *polar, ptrdiff_t pixels, const sp_rotation_grid *grid)
{
    const answer a = new_answer(s);

    sp_polar_search_run(polar, s->slicer, pixels, 1.0, grid, &a);
    return a;
}

static void clear_answer(answer *a)
{
    sp_array_free(a->best);
}

static void assert_same(const scene *s, const answer *a, const answer *b)
{
    assert_memory_equal(a->best, b->best, (size_t)(s->images * KEEP) * sizeof *a->best);
}

static answer match_by(const scene *s, sp_match_kind kind, sp_match_route route, double diameter,
                       const sp_rotation_grid *grid)
{
    const sp_match_settings settings = {
        .kind = kind, .route = route, .diameter = diameter, .dispersion = 1.0, .floor = 0.3, .s_max = INFINITY};
    const answer a = new_answer(s);
    sp_matcher *matcher = NULL;

    assert_int_equal(sp_matcher_new(&s->patterns, s->slicer, &settings, &matcher), SP_OK);
    assert_int_equal(sp_matcher_route(matcher), route);
    sp_matcher_search(matcher, grid, &a);
    sp_matcher_free(matcher);
    return a;
}

static answer match(const scene *s, sp_match_route route, double diameter, const sp_rotation_grid *grid)
{
    return match_by(s, SP_MATCH_LIKELIHOOD, route, diameter, grid);
}

/* Photon counts, `photons` per image on average, of a model as bright. */
static void add_photon_noise(scene *s, double photons)
{
    const blobs particle = blobs_random(11, 3.5, 0.8);
    const double factor = draw_photons(&s->patterns, s->images, photons);

    assert_int_equal(sp_patterns_measure(&s->patterns), SP_OK);
    load_blobs(s->slicer, &particle, EDGE, factor);
}

/* Images whose best orientation is the same by both routes, or whose two best are so close that either may win. */
static int agreeing(const scene *s, const sp_rotation_grid *grid)
{
    answer polar = match(s, SP_MATCH_POLAR, DIAMETER, grid), dense = match(s, SP_MATCH_DENSE, DIAMETER, grid);
    int agree = 0;

    for (ptrdiff_t n = 0; n < s->images; n++) {
        const ptrdiff_t best = polar.best[n * KEEP].index;
        const sp_candidate *other = dense.best + n * KEEP;
        const bool close = other[0].score - other[1].score < 0.1f * (other[0].score - other[2].score);

        agree += best == other[0].index || (best == other[1].index && close);
    }
    clear_answer(&polar);
    clear_answer(&dense);
    return agree;
}

static void both_routes_find_the_same_orientation(void **state)
{
    (void)state;
    enum { IMAGES = 200 };
    scene s = make_scene(IMAGES, WAVELENGTH, mask);
    sp_rotation_grid grid = make_grid(3000);

    assert_true(agreeing(&s, &grid) >= IMAGES * 99 / 100);
    add_photon_noise(&s, 3000.0);
    assert_true(agreeing(&s, &grid) >= IMAGES * 99 / 100);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* The best orientations' lead over the next, in units of ln probability, is the same by both routes. */
static void the_poisson_likelihood_is_the_same_by_both_routes(void **state)
{
    (void)state;
    enum { IMAGES = 50 };
    scene s = make_scene(IMAGES, WAVELENGTH, NULL);
    sp_rotation_grid grid = make_grid(1000);
    int agree = 0;

    add_photon_noise(&s, 300.0);
    answer polar = match_by(&s, SP_MATCH_POISSON, SP_MATCH_POLAR, DIAMETER, &grid);
    answer dense = match_by(&s, SP_MATCH_POISSON, SP_MATCH_DENSE, DIAMETER, &grid);

    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        const sp_candidate *a = polar.best + n * KEEP, *b = dense.best + n * KEEP;
        const float lead = a[0].score - a[1].score, other = b[0].score - b[1].score;

        agree += a[0].index == b[0].index && a[1].index == b[1].index && fabsf(lead - other) < 0.2f;
    }
    assert_true(agree >= IMAGES * 9 / 10);
    clear_answer(&polar);
    clear_answer(&dense);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* The grid of a search may be turned as a whole. */
static void a_turned_grid_is_searched_as_well(void **state)
{
    (void)state;
    enum { IMAGES = 50 };
    scene s = make_scene(IMAGES, WAVELENGTH, NULL);
    sp_rotation_grid grid = make_grid(2000);
    sp_rng rng = sp_rng_stream(9, 9, 9);
    const sp_quat turn = sp_quat_random(&rng);

    for (ptrdiff_t i = 0; i < grid.count; i++) {
        grid.q[i] = sp_quat_multiply(grid.q[i], turn);
    }
    assert_true(agreeing(&s, &grid) >= IMAGES - 1);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void ties_go_to_the_lower_index(void **state)
{
    (void)state;
    scene s = make_scene(2, WAVELENGTH, NULL);
    sp_rotation_grid grid = make_grid(600);

    memset(s.patterns.count + PIXELS, 0, PIXELS * sizeof *s.patterns.count); /* image 1 looks alike from everywhere */
    assert_int_equal(sp_patterns_measure(&s.patterns), SP_OK);
    answer a = match(&s, SP_MATCH_POLAR, DIAMETER, &grid);

    for (int k = 0; k < KEEP; k++) {
        assert_int_equal(a.best[KEEP + k].index, k);
        assert_true(a.best[KEEP + k].score == 0.0f);
    }
    clear_answer(&a);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* Every search sees the pixels that it is told of and no others, whatever an earlier one saw. */
static void pixels_come_and_go(void **state)
{
    (void)state;
    scene s = make_scene(11, WAVELENGTH, mask);
    sp_rotation_grid grid = make_grid(300);
    const setting with = bright(&s);
    const ptrdiff_t all = s.patterns.pixels, some = sp_patterns_within(&s.patterns, 0.12e10);
    sp_polar_search *one = make_polar(&s, &with), *other = make_polar(&s, &with);
    answer fresh = search_within(&s, one, some, &grid), whole = search_within(&s, other, all, &grid);
    answer grown = search_within(&s, one, all, &grid), shrunk = search_within(&s, other, some, &grid);

    assert_true(some > 50 && some < all - 50);
    assert_same(&s, &grown, &whole);
    assert_same(&s, &shrunk, &fresh);
    assert_memory_not_equal(fresh.best, whole.best, sizeof *fresh.best);
    clear_answer(&fresh);
    clear_answer(&whole);
    clear_answer(&grown);
    clear_answer(&shrunk);
    sp_polar_search_free(one);
    sp_polar_search_free(other);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* A model of soft blobs in a grid of so many voxels, in the same box for all: the closed form is for one size of voxel,
 * so the blobs shrink with the number. */
static sp_slicer *soft_model(ptrdiff_t edge)
{
    const double shrink = (double)edge / EDGE;
    blobs particle = blobs_random(11, 3.5, 1.2);
    sp_slicer *slicer = NULL;

    for (int j = 0; j < BLOBS; j++) {
        for (int i = 0; i < 3; i++) {
            particle.at[j][i] *= shrink;
        }
    }
    particle.sigma *= shrink;
    float *autocorrelation = blobs_autocorrelation(&particle, edge);

    assert_int_equal(sp_slicer_new(edge, VOXEL / shrink, 4, &slicer), SP_OK);
    sp_slicer_load(slicer, autocorrelation);
    sp_array_free(autocorrelation);
    return slicer;
}

/* Images that do not fit the budget take turns, which changes nothing. */
static void memory_is_kept_within_the_budget(void **state)
{
    (void)state;
    scene s = make_scene(65, WAVELENGTH, mask);
    sp_rotation_grid grid = make_grid(600);
    const ptrdiff_t all = s.patterns.pixels, some = sp_patterns_within(&s.patterns, 0.12e10);
    setting with = bright(&s);
    sp_polar_search *wide = make_polar(&s, &with);

    with.budget = 1.0;
    sp_polar_search *narrow = make_polar(&s, &with);

    for (int i = 0; i < 3; i++) {
        answer a = search_within(&s, wide, i == 1 ? some : all, &grid);
        answer b = search_within(&s, narrow, i == 1 ? some : all, &grid);

        assert_same(&s, &a, &b);
        clear_answer(&a);
        clear_answer(&b);
    }
    sp_polar_search_free(wide);
    sp_polar_search_free(narrow);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* Images that are not selected cost nothing and keep their lists; what is known of the others stays when the choice
 * does, and is forgotten when it changes. */
static void the_selected_images_are_searched_as_among_all(void **state)
{
    (void)state;
    enum { IMAGES = 65 };
    scene s = make_scene(IMAGES, WAVELENGTH, mask);
    sp_rotation_grid grid = make_grid(600);
    const setting with = bright(&s);
    const sp_polar_input input = input_of(&s, &with);
    sp_polar_search *search = make_polar(&s, &with);
    const answer whole = search_within(&s, search, s.patterns.pixels, &grid);
    answer some = new_answer(&s);
    sp_polar_images *images = NULL;
    sp_polar *polar = NULL;
    float *scratch = NULL, *tile = NULL;
    int32_t label[IMAGES];

    assert_int_equal(sp_polar_new(&input, &polar), SP_OK);
    sp_polar_begin(polar, s.patterns.pixels, 1.0, &grid, sp_slicer_reach(s.slicer));
    assert_int_equal(SP_ARRAY(scratch, sp_polar_scratch(polar)), SP_OK);
    assert_int_equal(SP_ARRAY(tile, sp_polar_tile_floats(polar)), SP_OK);
    assert_int_equal(sp_polar_images_new(polar, &s.patterns, IMAGES, &images), SP_OK);
    for (int n = 0; n < IMAGES; n++) {
        label[n] = n % 5 == 0 ? 31 : n % 3;
    }
    for (uint32_t wanted = 1; wanted < 8; wanted++) {
        const sp_selection selection = {label, wanted};

        sp_shortlists_clear(&some, IMAGES);
        sp_polar_take(images, 0, IMAGES, selection, scratch);
        for (ptrdiff_t t = 0; t < sp_polar_tiles(polar); t++) {
            sp_polar_make_tile(polar, s.slicer, t, scratch, tile);
            sp_polar_compare(images, t, tile, scratch, &some);
        }
        for (int n = 0; n < IMAGES; n++) {
            const sp_candidate *a = sp_shortlist_of(&whole, n), *b = sp_shortlist_of(&some, n);

            if (sp_is_selected(&selection, n)) {
                assert_memory_equal(a, b, (size_t)some.keep * sizeof *a);
            } else {
                assert_true(b->score == -INFINITY);
            }
        }
    }
    sp_polar_images_free(images);
    sp_array_free(scratch);
    sp_array_free(tile);
    sp_polar_free(polar);
    sp_polar_search_free(search);
    clear_answer(&some);
    sp_array_free(whole.best);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* Tiles and groups of images in any order make the same lists, if those of one image come in the order of the tiles;
 * so do lists of some tiles that are joined, and hold only what enters the lists so far. */
static void pieces_are_the_whole(void **state)
{
    (void)state;
    enum { IMAGES = 65, GROUP = 20, GROUPS = (IMAGES + GROUP - 1) / GROUP };
    scene s = make_scene(IMAGES, WAVELENGTH, mask);
    sp_rotation_grid grid = make_grid(3000);
    const setting with = bright(&s);
    const sp_polar_input input = input_of(&s, &with);
    sp_polar_search *search = make_polar(&s, &with);
    sp_polar_images *group[GROUPS] = {NULL};
    sp_polar *polar = NULL;
    float *scratch = NULL, *tile = NULL;
    answer whole = search_within(&s, search, s.patterns.pixels, &grid), pieces = new_answer(&s), some = new_answer(&s);

    assert_int_equal(sp_polar_new(&input, &polar), SP_OK);
    sp_polar_begin(polar, s.patterns.pixels, 1.0, &grid, sp_slicer_reach(s.slicer));
    assert_true(sp_polar_tiles(polar) > 2);
    assert_int_equal(SP_ARRAY(scratch, sp_polar_scratch(polar)), SP_OK);
    assert_int_equal(SP_ARRAY(tile, sp_polar_tile_floats(polar)), SP_OK);
    for (int g = 0; g < GROUPS; g++) {
        const ptrdiff_t first = (ptrdiff_t)g * GROUP, count = IMAGES - first < GROUP ? IMAGES - first : GROUP;

        assert_int_equal(sp_polar_images_new(polar, &s.patterns, GROUP, &group[g]), SP_OK);
        sp_polar_take(group[g], first, count, (sp_selection){0}, scratch);
    }
    sp_shortlists_clear(&pieces, IMAGES);
    some.above = pieces.best;
    for (ptrdiff_t t = 0; t < sp_polar_tiles(polar); t++) {
        memset(tile, 0xff, (size_t)sp_polar_tile_floats(polar) * sizeof *tile);
        sp_polar_make_tile(polar, s.slicer, t, scratch, tile);
        sp_shortlists_clear(&some, IMAGES);
        for (int g = GROUPS - 1; g >= 0; g--) {
            sp_polar_compare(group[g], t, tile, scratch, t % 2 ? &some : &pieces);
        }
        sp_shortlists_join(&pieces, some.best, IMAGES);
    }
    assert_same(&s, &whole, &pieces);
    for (int g = 0; g < GROUPS; g++) {
        sp_polar_images_free(group[g]);
    }
    sp_array_free(scratch);
    sp_array_free(tile);
    sp_polar_free(polar);
    sp_polar_search_free(search);
    clear_answer(&whole);
    clear_answer(&pieces);
    clear_answer(&some);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* The rings of the last pixels may lie beyond a model of coarser voxels, which has all that those pixels need. */
static void a_coarser_model_serves_fewer_pixels(void **state)
{
    (void)state;
    enum { IMAGES = 20 };
    scene s = make_scene(IMAGES, WAVELENGTH, mask);
    sp_rotation_grid grid = make_grid(600);
    const setting with = bright(&s);
    sp_slicer *fine = soft_model(EDGE), *coarse = soft_model(EDGE * 3 / 4);
    const ptrdiff_t pixels = sp_patterns_within(&s.patterns, 0.8 * sp_slicer_reach(coarse));
    sp_polar_search *polar = make_polar(&s, &with);
    answer a = new_answer(&s), b = new_answer(&s);
    int same = 0;

    sp_polar_search_run(polar, fine, pixels, 1.0, &grid, &a);
    sp_polar_search_run(polar, coarse, pixels, 1.0, &grid, &b);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        same += a.best[n * KEEP].index == b.best[n * KEEP].index;
    }
    assert_true(same >= IMAGES - 1);
    assert_true(a.best[0].score != b.best[0].score);
    sp_slicer_free(fine);
    sp_slicer_free(coarse);
    clear_answer(&a);
    clear_answer(&b);
    sp_polar_search_free(polar);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void results_are_the_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    scene s = make_scene(70, WAVELENGTH, mask);
    sp_rotation_grid grid = make_grid(1000);
    const int threads = omp_get_max_threads();

    omp_set_num_threads(1);
    answer one = match(&s, SP_MATCH_POLAR, DIAMETER, &grid);

    omp_set_num_threads(3);
    answer three = match(&s, SP_MATCH_POLAR, DIAMETER, &grid);

    omp_set_num_threads(threads);
    assert_same(&s, &one, &three);
    clear_answer(&one);
    clear_answer(&three);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* ---- which route ---- */

static sp_status make_matcher(const scene *s, sp_match_settings settings, sp_match_route *taken)
{
    sp_matcher *matcher = NULL;

    settings.dispersion = 1.0;
    settings.floor = 0.3;
    settings.s_max = INFINITY;
    const sp_status status = sp_matcher_new(&s->patterns, s->slicer, &settings, &matcher);

    *taken = matcher ? sp_matcher_route(matcher) : SP_MATCH_AUTO;
    sp_matcher_free(matcher);
    return status;
}

static void assert_auto_takes(const scene *s, sp_match_kind kind, double diameter, sp_match_route route)
{
    sp_match_route taken;

    assert_int_equal(make_matcher(s, (sp_match_settings){.kind = kind, .diameter = diameter}, &taken), SP_OK);
    assert_int_equal(taken, route);
}

static void assert_polar_is_refused(const scene *s, sp_match_kind kind, double diameter, const char *reason)
{
    const sp_match_settings settings = {.kind = kind, .route = SP_MATCH_POLAR, .diameter = diameter};
    sp_match_route taken;

    assert_int_equal(make_matcher(s, settings, &taken), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), reason));
}

static void the_polar_route_is_taken_where_it_can_be(void **state)
{
    (void)state;
    scene even = make_scene(1, WAVELENGTH, NULL), crumpled = make_scene(1, 0.0, crumple);

    assert_auto_takes(&even, SP_MATCH_LIKELIHOOD, DIAMETER / 2.0, SP_MATCH_POLAR);
    assert_auto_takes(&even, SP_MATCH_LIKELIHOOD, 0.0, SP_MATCH_DENSE);
    assert_auto_takes(&even, SP_MATCH_LIKELIHOOD, 4.0 * DIAMETER, SP_MATCH_DENSE); /* pixels larger than speckles */
    assert_auto_takes(&even, SP_MATCH_EUCLIDEAN, DIAMETER / 2.0, SP_MATCH_DENSE);
    assert_auto_takes(&crumpled, SP_MATCH_LIKELIHOOD, DIAMETER / 2.0, SP_MATCH_DENSE);
    assert_polar_is_refused(&even, SP_MATCH_LIKELIHOOD, 0.0, "diameter");
    assert_polar_is_refused(&even, SP_MATCH_EUCLIDEAN, DIAMETER, "Euclidean");
    assert_polar_is_refused(&crumpled, SP_MATCH_LIKELIHOOD, DIAMETER, "neither on a sphere nor on a plane");
    clear_scene(&even);
    clear_scene(&crumpled);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_instruction_set_computes_what_plain_loops_do),
        cmocka_unit_test(the_score_is_the_sum_over_pixels),
        cmocka_unit_test(on_a_flat_detector_too),
        cmocka_unit_test(missing_pixels_are_missing_in_every_orientation),
        cmocka_unit_test(panels_need_not_be_symmetric),
        cmocka_unit_test(uneven_exposure_weighs_pixels_as_fluence_weighs_images),
        cmocka_unit_test(a_smooth_feature_is_correlated_more_closely),
        cmocka_unit_test(both_routes_find_the_same_orientation),
        cmocka_unit_test(the_poisson_likelihood_is_the_same_by_both_routes),
        cmocka_unit_test(a_turned_grid_is_searched_as_well),
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(pixels_come_and_go),
        cmocka_unit_test(memory_is_kept_within_the_budget),
        cmocka_unit_test(the_selected_images_are_searched_as_among_all),
        cmocka_unit_test(pieces_are_the_whole),
        cmocka_unit_test(a_coarser_model_serves_fewer_pixels),
        cmocka_unit_test(results_are_the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(the_polar_route_is_taken_where_it_can_be),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
