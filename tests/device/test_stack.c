/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/stack.h"

#include "device/gpu.h"
#include "phases/matching.h"

enum { EDGE = 20, SIDE = 14, PARTS = 3, IMAGES = 11, ORIENTATIONS = 140, KEEP = 3 };

static const double FLOOR = 0.3, DISPERSION = 10.0, PHOTONS = 3000.0, STEP = 0.022e10, WAVELENGTH = 2.5e-10;
static const double DEGREE = M_PI / 180.0;

/* Images of blobs in random orientations, one of them without signal, and the model that made them, here and on a GPU.
 */
typedef struct scene {
    bench detector;
    sp_quat *truth;
    sp_patterns patterns, part[PARTS];
    const sp_patterns *parts[PARTS];
    sp_slicer *slicer;
    float *autocorrelation;
    sp_match_settings matching;
    sp_matcher *matcher;
    sp_polar *polar; /* NULL: the dense route */
    sp_device *gpu;
    sp_device_slicer *cutter;
    int32_t every[IMAGES]; /* 0, 1, ... */
} scene;

static void load_model(scene *s)
{
    const size_t bytes = EDGE * EDGE * EDGE * sizeof(float);
    float *there = gpu_array(s->gpu, s->autocorrelation, bytes);

    sp_slicer_load(s->slicer, s->autocorrelation);
    assert_int_equal(sp_device_slicer_new(s->gpu, s->slicer, 2, &s->cutter), SP_OK);
    assert_int_equal(sp_device_slicer_load(s->cutter, 1, there), SP_OK);
    gpu_take(s->gpu, there, bytes, NULL);
}

/* Images of 4, 4 and 3 in a part. */
static void make_parts(scene *s)
{
    for (int b = 0; b < PARTS; b++) {
        const ptrdiff_t first = 4 * b, count = IMAGES - first < 4 ? IMAGES - first : 4;

        s->part[b] = part_of(&s->patterns, first, count);
        s->parts[b] = &s->part[b];
    }
}

static void expose(scene *s, const blobs *particle)
{
    double scale[IMAGES];

    s->detector = bench_new(1, SIDE, SIDE, STEP, WAVELENGTH);
    for (ptrdiff_t p = 0; p < (ptrdiff_t)SIDE * SIDE; p++) {
        s->detector.correction[p] = 1.0f + 0.3f * (float)(p % 3);
    }
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        scale[n] = n == 6 ? 0.0 : 0.5 + 0.1 * (double)n;
        s->every[n] = (int32_t)n;
    }
    s->patterns = bench_expose(&s->detector, particle, IMAGES, s->truth, scale);
}

static void take_polar_route(scene *s)
{
    s->matching.route = SP_MATCH_POLAR;
    s->matching.diameter = 11.0 * VOXEL;
    const sp_polar_input input = sp_match_polar_input(&s->patterns, &s->matching);

    assert_int_equal(sp_polar_new(&input, &s->polar), SP_OK);
}

static scene *make_scene(uint64_t seed, sp_match_route route)
{
    const blobs particle = blobs_random(seed, 3.5, 0.8);
    scene *s = NULL;

    assert_int_equal(SP_ARRAY(s, 1), SP_OK);
    *s = (scene){.truth = random_orientations(IMAGES, seed + 1), .gpu = gpu_open()};
    expose(s, &particle);
    const double factor = draw_photons(&s->patterns, IMAGES, PHOTONS);

    assert_int_equal(sp_patterns_measure(&s->patterns), SP_OK);
    s->autocorrelation = blobs_autocorrelation(&particle, EDGE);
    for (ptrdiff_t i = 0; i < EDGE * EDGE * EDGE; i++) {
        s->autocorrelation[i] *= (float)factor;
    }
    assert_int_equal(sp_slicer_new(EDGE, VOXEL, 4, &s->slicer), SP_OK);
    load_model(s);
    make_parts(s);
    s->matching = (sp_match_settings){
        .route = SP_MATCH_DENSE, .dispersion = DISPERSION, .floor = FLOOR, .s_max = 0.9 * SIDE / 2 * STEP};
    if (route == SP_MATCH_POLAR) {
        take_polar_route(s);
    }
    assert_int_equal(sp_matcher_new(&s->patterns, s->slicer, &s->matching, &s->matcher), SP_OK);
    return s;
}

static void clear_scene(scene *s)
{
    bench_clear(&s->detector);
    sp_matcher_free(s->matcher);
    sp_polar_free(s->polar);
    sp_patterns_clear(&s->patterns);
    for (int b = 0; b < PARTS; b++) {
        sp_patterns_clear(&s->part[b]);
    }
    sp_device_slicer_free(s->cutter);
    sp_slicer_free(s->slicer);
    sp_array_free(s->truth);
    sp_array_free(s->autocorrelation);
    sp_device_close(s->gpu);
    sp_array_free(s);
}

/*   memory  0, or so little that the images come in parts */
static sp_device_stack *make_stack(const scene *s, size_t memory)
{
    const sp_device_stack_input input = {.layout = &s->patterns,
                                         .part = s->parts,
                                         .parts = PARTS,
                                         .matching = s->matching,
                                         .polar = s->polar,
                                         .keep = KEEP,
                                         .memory = memory};
    sp_device_stack *stack = NULL;

    assert_int_equal(sp_device_stack_new(s->gpu, &input, &stack), SP_OK);
    assert_true(sp_device_stack_is_resident(stack) == (memory == 0));
    return stack;
}

/* Memory for so many images at a time. */
static size_t memory_for(const scene *s, ptrdiff_t images)
{
    return (size_t)((double)(2 * images * sp_match_pixels(&s->patterns, s->matching.s_max)) * sizeof(float) / 0.6) + 99;
}

/* All images, with the pixels up to s_max [1/m]. */
static sp_device_view view_of(const scene *s, double s_max)
{
    return (sp_device_view){
        .slicer = s->cutter, .model = 1, .pixels = sp_match_pixels(&s->patterns, s_max), .dispersion = DISPERSION};
}

static void begin_search(const scene *s, const sp_device_view *view, const sp_rotation_grid *grid)
{
    if (s->polar) {
        sp_polar_begin(s->polar, view->pixels, view->dispersion, grid, sp_slicer_reach(s->slicer));
    }
}

static sp_device_choice all_of(const scene *s)
{
    return (sp_device_choice){.image = s->every, .scale = s->patterns.scale, .images = IMAGES};
}

/* ---- search ---- */

typedef struct lists {
    sp_candidate best[IMAGES][KEEP];
} lists;

static lists search(const scene *s, size_t memory, double s_max, const sp_rotation_grid *grid)
{
    const sp_device_view view = view_of(s, s_max);
    const sp_device_choice choice = all_of(s);
    sp_device_stack *stack = make_stack(s, memory);
    lists l;

    begin_search(s, &view, grid);
    assert_int_equal(sp_device_stack_search(stack, &view, grid, &choice, l.best[0]), SP_OK);
    sp_device_stack_free(stack);
    return l;
}

/* Differences of scores count beside how far the best and a middling orientation are apart: here a few hundred. */
static void check_search(sp_match_route route)
{
    scene *s = make_scene(fresh_seed(), route);
    sp_rotation_grid grid = make_grid(ORIENTATIONS);

    for (int limited = 0; limited < 2; limited++) {
        const double s_max = limited ? 0.6 * s->matching.s_max : s->matching.s_max;
        lists want;

        sp_matcher_limit(s->matcher, s_max);
        sp_matcher_search(s->matcher, &grid, &(sp_shortlists){.keep = KEEP, .best = want.best[0]});
        const lists got = search(s, 0, s_max, &grid);

        for (int n = 0; n < IMAGES; n++) {
            const double spread = fabs((double)want.best[n][0].score) * 1e-2 + 1e-3;

            for (int i = 0; i < KEEP; i++) {
                assert_true(fabs((double)got.best[n][i].score - (double)want.best[n][i].score) < 0.1 * spread);
            }
        }
    }
    sp_rotation_grid_clear(&grid);
    clear_scene(s);
}

static void the_dense_search_finds_what_a_processor_finds(void **state)
{
    (void)state;
    check_search(SP_MATCH_DENSE);
}

static void the_polar_search_finds_what_a_processor_finds(void **state)
{
    (void)state;
    check_search(SP_MATCH_POLAR);
}

/* ---- refinement ---- */

static void refinement_climbs_where_a_processor_climbs(void **state)
{
    (void)state;
    enum { COUNT = 2, STEPS = 4 };
    scene *s = make_scene(fresh_seed(), SP_MATCH_DENSE);
    const sp_device_view view = view_of(s, s->matching.s_max);
    const sp_device_choice choice = all_of(s);
    sp_quat *from = random_orientations(IMAGES * COUNT, 77), found[IMAGES], wanted[IMAGES];
    double fit[IMAGES], wanted_fit[IMAGES];
    sp_device_stack *stack = make_stack(s, 0);

    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        const double axis[3] = {0.6, 0.0, 0.8};

        from[n * COUNT + n % COUNT] = sp_quat_multiply(sp_quat_from_axis_angle(axis, 4.0 * DEGREE), s->truth[n]);
    }
    sp_matcher_refine(s->matcher, from, COUNT, (sp_selection){0}, STEPS, 3.0 * DEGREE, wanted, wanted_fit);
    assert_int_equal(sp_device_stack_refine(stack, &view, &choice, from, COUNT, STEPS, 3.0 * DEGREE, found, fit),
                     SP_OK);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        assert_true(fabs(fit[n] - wanted_fit[n]) <= 1e-5 * fabs(wanted_fit[n]) + 1e-9);
        if (s->patterns.scale[n] > 0.0f) { /* else all orientations are the same */
            assert_true(sp_quat_angle(found[n], wanted[n]) < 0.02 * DEGREE);
        }
    }
    sp_device_stack_free(stack);
    sp_array_free(from);
    clear_scene(s);
}

/* ---- assessment ---- */

static void assessment_measures_what_a_processor_measures(void **state)
{
    (void)state;
    scene *s = make_scene(fresh_seed(), SP_MATCH_DENSE);
    const ptrdiff_t sums = sp_match_scatter_count(s->patterns.shells);
    const sp_device_choice choice = all_of(s);
    float score[IMAGES], scale[IMAGES], wanted_score[IMAGES], wanted_scale[IMAGES];
    double *scatter = NULL, *wanted = NULL;
    sp_device_stack *stack = make_stack(s, 0);

    assert_int_equal(SP_ARRAY(scatter, sums), SP_OK);
    assert_int_equal(SP_ARRAY(wanted, sums), SP_OK);
    for (int limited = 1; limited >= 0; limited--) { /* sums of both are added up */
        const double s_max = limited ? 0.6 * s->matching.s_max : s->matching.s_max;
        const sp_device_view view = view_of(s, s_max);

        sp_matcher_limit(s->matcher, s_max);
        sp_matcher_assess_part(s->matcher, s->truth, (sp_selection){0}, wanted_score, wanted_scale, wanted);
        assert_int_equal(sp_device_stack_assess(stack, &view, &choice, s->truth, score, scale, scatter), SP_OK);
        for (int n = 0; n < IMAGES; n++) {
            assert_true(fabsf(score[n] - wanted_score[n]) < 1e-5f);
            assert_true(fabsf(scale[n] - wanted_scale[n]) <= 1e-5f * wanted_scale[n]);
        }
    }
    for (ptrdiff_t i = 0; i < sums; i++) {
        const double whole = fabs(wanted[i]) + (i < sums - 2 ? fabs(wanted[i / 2 * 2]) : 0.0);

        assert_true(fabs(scatter[i] - wanted[i]) <= 1e-4 * whole);
    }
    sp_device_stack_free(stack);
    sp_array_free(scatter);
    sp_array_free(wanted);
    clear_scene(s);
}

/* ---- merging ---- */

enum { ITERATIONS = 8 };
static const double LAMBDA = 1e-3;

static sp_merger *make_merger(void)
{
    sp_merger *merger = NULL;

    assert_int_equal(sp_merger_new(EDGE, VOXEL, 8.0 * VOXEL, 4, &merger), SP_OK);
    return merger;
}

/* Images in shares.   autocorrelation  out  [EDGE^3] */
static void merge(const scene *s, size_t memory, const sp_merger *like, const sp_device_choice *choice,
                  const sp_quat *orientation, const float *share, float *autocorrelation)
{
    const size_t bytes = EDGE * EDGE * EDGE * sizeof *autocorrelation;
    const double s_max = 0.8 * s->matching.s_max;
    float *there = gpu_array(s->gpu, NULL, bytes);
    sp_device_merger *merger = NULL;
    sp_device_stack *stack = make_stack(s, memory);
    sp_merge_result result;

    assert_int_equal(sp_device_merger_new(s->gpu, like, 1000, &merger), SP_OK);
    assert_int_equal(sp_device_merger_begin(merger), SP_OK);
    assert_int_equal(sp_device_stack_spread(stack, choice, orientation, share, s_max, merger), SP_OK);
    assert_int_equal(
        sp_device_merger_solve(merger, sp_merger_outermost(&s->patterns, s_max), LAMBDA, ITERATIONS, there, &result),
        SP_OK);
    assert_true(result.iterations == ITERATIONS || result.residual < SP_MERGER_TOLERANCE);
    gpu_take(s->gpu, there, bytes, autocorrelation);
    sp_device_merger_free(merger);
    sp_device_stack_free(stack);
}

static double distance(const float *a, const float *b, ptrdiff_t count)
{
    double square = 0.0, norm = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        square += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(square / norm);
}

static void merging_gives_what_a_processor_gives(void **state)
{
    (void)state;
    enum { CUBE = EDGE * EDGE * EDGE };
    scene *s = make_scene(fresh_seed(), SP_MATCH_DENSE);
    sp_merger *like = make_merger();
    const sp_device_choice choice = all_of(s);
    const double s_max = 0.8 * s->matching.s_max;
    float *scratch = NULL, *pair = NULL, *got = NULL, *want = NULL;

    assert_int_equal(SP_ARRAY(scratch, sp_merger_scratch_count(&s->patterns)), SP_OK);
    assert_int_equal(SP_ARRAY(pair, sp_merger_pair_count(like)), SP_OK);
    assert_int_equal(SP_ARRAY(got, CUBE), SP_OK);
    assert_int_equal(SP_ARRAY(want, CUBE), SP_OK);
    sp_merger_spread(like, &s->patterns, &(sp_placement){.orientation = s->truth}, (sp_selection){0}, s_max, scratch,
                     pair);
    sp_merger_solve(like, pair, sp_merger_outermost(&s->patterns, s_max), LAMBDA, ITERATIONS, want);
    merge(s, 0, like, &choice, s->truth, NULL, got);
    assert_true(distance(got, want, CUBE) < 1e-4);
    sp_array_free(scratch);
    sp_array_free(pair);
    sp_array_free(got);
    sp_array_free(want);
    sp_merger_free(like);
    clear_scene(s);
}

/* Two shares of an image in one orientation are the whole image; images come one, or a few, at a time. */
static void shares_add_up_however_the_images_come(void **state)
{
    (void)state;
    enum { CUBE = EDGE * EDGE * EDGE };
    scene *s = make_scene(fresh_seed(), SP_MATCH_DENSE);
    sp_merger *like = make_merger();
    const sp_device_choice choice = all_of(s);
    int32_t image[2 * IMAGES];
    float scale[2 * IMAGES], share[2 * IMAGES], *whole = NULL, *shared = NULL;
    sp_quat orientation[2 * IMAGES];
    const sp_device_choice twice = {.image = image, .scale = scale, .images = 2 * IMAGES};

    assert_int_equal(SP_ARRAY(whole, CUBE), SP_OK);
    assert_int_equal(SP_ARRAY(shared, CUBE), SP_OK);
    for (int i = 0; i < 2 * IMAGES; i++) {
        image[i] = i / 2;
        scale[i] = s->patterns.scale[i / 2];
        share[i] = i % 2 ? 0.75f : 0.25f;
        orientation[i] = s->truth[i / 2];
    }
    merge(s, 0, like, &choice, s->truth, NULL, whole);
    merge(s, memory_for(s, 3), like, &twice, orientation, share, shared);
    assert_true(distance(shared, whole, CUBE) < 1e-5);
    merge(s, memory_for(s, 1), like, &choice, s->truth, NULL, shared);
    assert_memory_equal(shared, whole, CUBE * sizeof *whole);
    sp_array_free(whole);
    sp_array_free(shared);
    sp_merger_free(like);
    clear_scene(s);
}

/* ---- all phases ---- */

/* What the phases find of some images. */
typedef struct findings {
    sp_candidate best[IMAGES][KEEP];
    sp_quat orientation[IMAGES];
    double fit[IMAGES];
    float score[IMAGES], scale[IMAGES];
    double scatter[1000];
} findings;

static void find(const scene *s, size_t memory, const sp_rotation_grid *grid, const sp_device_choice *choice,
                 findings *f)
{
    const sp_device_view view = view_of(s, s->matching.s_max);
    sp_device_stack *stack = make_stack(s, memory);
    sp_quat from[IMAGES];

    memset(f, 0, sizeof *f);
    assert_true(sp_match_scatter_count(s->patterns.shells) <= 1000);
    for (int i = 0; i < 2; i++) { /* the second time, images may be there already */
        begin_search(s, &view, grid);
        assert_int_equal(sp_device_stack_search(stack, &view, grid, choice, f->best[0]), SP_OK);
    }
    for (ptrdiff_t i = 0; i < choice->images; i++) {
        from[i] = grid->q[f->best[i][0].index];
    }
    assert_int_equal(sp_device_stack_refine(stack, &view, choice, from, 1, 3, 3.0 * DEGREE, f->orientation, f->fit),
                     SP_OK);
    assert_int_equal(sp_device_stack_assess(stack, &view, choice, f->orientation, f->score, f->scale, f->scatter),
                     SP_OK);
    sp_device_stack_free(stack);
}

/* Lists of the polar route depend a little on what else is compared at the same time: on what all have in common, which
 * is rounded apart. The best ones of those that are the same are taken for equal. */
static void level_lists(sp_match_route route, const sp_candidate want[KEEP], sp_candidate got[KEEP])
{
    for (int i = 0; i < KEEP && route == SP_MATCH_POLAR; i++) {
        assert_true(fabsf(got[i].score - want[i].score) < 1e-4f * fabsf(want[i].score) + 1e-6f);
    }
    if (route == SP_MATCH_POLAR && got[0].index == want[0].index) {
        memcpy(got, want, KEEP * sizeof *got);
    }
}

static void check_parts(sp_match_route route)
{
    scene *s = make_scene(fresh_seed(), route);
    sp_rotation_grid grid = make_grid(ORIENTATIONS);
    const sp_device_choice choice = all_of(s);
    findings want, got;

    find(s, 0, &grid, &choice, &want);
    for (ptrdiff_t images = 2; images < 6; images += 3) {
        find(s, memory_for(s, images), &grid, &choice, &got);
        for (int i = 0; i < 1000; i++) { /* their order of adding up is another one */
            assert_true(fabs(got.scatter[i] - want.scatter[i]) <= 1e-12 * fabs(want.scatter[i]));
            got.scatter[i] = want.scatter[i];
        }
        for (int n = 0; n < IMAGES; n++) {
            level_lists(route, want.best[n], got.best[n]);
        }
        assert_memory_equal(&got, &want, sizeof want);
    }
    sp_rotation_grid_clear(&grid);
    clear_scene(s);
}

static void check_some(sp_match_route route)
{
    enum { SOME = 4 };
    static const int32_t some[SOME] = {1, 4, 5, 10};
    scene *s = make_scene(fresh_seed(), route);
    sp_rotation_grid grid = make_grid(ORIENTATIONS);
    float scale[SOME];
    const sp_device_choice choice = all_of(s), few = {.image = some, .scale = scale, .images = SOME};
    findings all, got;

    for (int i = 0; i < SOME; i++) {
        scale[i] = s->patterns.scale[some[i]];
    }
    find(s, 0, &grid, &choice, &all);
    for (int streamed = 0; streamed < 2; streamed++) {
        find(s, streamed ? memory_for(s, 2) : 0, &grid, &few, &got);
        for (int i = 0; i < SOME; i++) {
            level_lists(route, all.best[some[i]], got.best[i]);
            assert_memory_equal(got.best[i], all.best[some[i]], sizeof got.best[i]);
            assert_true(got.fit[i] == all.fit[some[i]]);
            assert_true(got.score[i] == all.score[some[i]] && got.scale[i] == all.scale[some[i]]);
        }
    }
    find(s, 0, &grid, &(sp_device_choice){.images = 0}, &got);
    sp_rotation_grid_clear(&grid);
    clear_scene(s);
}

static void images_that_come_in_parts_are_the_same_images(void **state)
{
    (void)state;
    check_parts(SP_MATCH_DENSE);
    check_parts(SP_MATCH_POLAR);
}

static void some_of_the_images_are_found_as_all_of_them_are(void **state)
{
    (void)state;
    check_some(SP_MATCH_DENSE);
    check_some(SP_MATCH_POLAR);
}

static void a_reach_without_pixels_is_refused(void **state)
{
    (void)state;
    scene *s = make_scene(1, SP_MATCH_DENSE);
    sp_device_stack_input input = {.layout = &s->patterns, .part = s->parts, .parts = PARTS, .matching = s->matching};
    sp_device_stack *stack = NULL;

    input.matching.s_max = 0.0;
    assert_int_equal(sp_device_stack_new(s->gpu, &input, &stack), SP_ERR_USAGE);
    assert_null(stack);
    clear_scene(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_dense_search_finds_what_a_processor_finds),
        cmocka_unit_test(the_polar_search_finds_what_a_processor_finds),
        cmocka_unit_test(refinement_climbs_where_a_processor_climbs),
        cmocka_unit_test(assessment_measures_what_a_processor_measures),
        cmocka_unit_test(merging_gives_what_a_processor_gives),
        cmocka_unit_test(shares_add_up_however_the_images_come),
        cmocka_unit_test(images_that_come_in_parts_are_the_same_images),
        cmocka_unit_test(some_of_the_images_are_found_as_all_of_them_are),
        cmocka_unit_test(a_reach_without_pixels_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
