/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/polar_search.h"

#include "device/nufft.h"
#include "device/polar_scene.h"
#include "num/nufft_layout.h"

enum { KEEP = 5 };

static const double PLENTY = 1e8; /* [byte] of work space */

/* What patterns are cut from, on the GPU. */
static sp_device_slicer *prepare_model(const sp_device *gpu, const scene *s)
{
    const size_t bytes = (size_t)EDGE * EDGE * EDGE * sizeof *s->model;
    float *volume = gpu_array(gpu, s->model, bytes);
    sp_device_slicer *slicer = NULL;

    assert_int_equal(sp_device_slicer_new(gpu, s->slicer, 1, &slicer), SP_OK);
    assert_int_equal(sp_device_slicer_load(slicer, 0, volume), SP_OK);
    gpu_take(gpu, volume, bytes, NULL);
    return slicer;
}

/* What a search on the GPU needs. */
typedef struct finder {
    sp_device *gpu;
    const scene *s;
    sp_polar *polar;
    sp_device_polar_search *search;
    sp_device_slicer *slicer;
} finder;

static finder open_finder(const scene *s, int keep, double budget)
{
    finder f = {.gpu = gpu_open(), .s = s, .polar = make_polar(s)};

    f.slicer = prepare_model(f.gpu, s);
    assert_int_equal(sp_device_polar_search_new(f.gpu, f.polar, IMAGES, keep, budget, &f.search), SP_OK);
    return f;
}

static void close_finder(finder *f)
{
    sp_device_polar_search_free(f->search);
    sp_device_slicer_free(f->slicer);
    sp_polar_free(f->polar);
    sp_device_close(f->gpu);
}

/* `count` images, in the order of the list or, without one, the first so many.   best  out  [count][keep] */
static void find(const finder *f, ptrdiff_t pixels, double r, const sp_rotation_grid *grid, const int32_t *choice,
                 ptrdiff_t count, int keep, sp_candidate *best)
{
    const sp_device_counts counts = gpu_counts(f->gpu, f->s->k, IMAGES, f->s->patterns.pixels, choice, count);
    const size_t bytes = (size_t)(count * keep) * sizeof *best;
    float scale[IMAGES];

    for (ptrdiff_t i = 0; i < count; i++) {
        scale[i] = f->s->patterns.scale[choice ? choice[i] : i];
    }
    float *scale_there = gpu_array(f->gpu, scale, (size_t)count * sizeof *scale);
    sp_candidate *best_there = gpu_array(f->gpu, NULL, bytes);

    sp_polar_begin(f->polar, pixels, r, grid, sp_slicer_reach(f->s->slicer));
    assert_int_equal(sp_device_polar_search_begin(f->search), SP_OK);
    assert_int_equal(sp_device_polar_search_take(f->search, &counts), SP_OK);
    assert_true(sp_device_polar_search_holds(f->search));
    assert_int_equal(sp_device_polar_search_run(f->search, f->slicer, 0, scale_there, best_there), SP_OK);
    gpu_take(f->gpu, best_there, bytes, best);
    gpu_take(f->gpu, scale_there, (size_t)count * sizeof *scale, NULL);
    free_gpu_counts(f->gpu, &counts);
}

/* The scores of all orientations by the processor.   score  out  [IMAGES][grid->count] */
static void plain_scores(const scene *s, ptrdiff_t pixels, double r, const sp_rotation_grid *grid, double *score)
{
    const sp_polar_input input = polar_input(s);
    sp_shortlists all = {.keep = (int)grid->count};
    sp_polar_search *search = NULL;

    assert_int_equal(SP_ARRAY(all.best, IMAGES * grid->count), SP_OK);
    assert_int_equal(sp_polar_search_new(&input, PLENTY, &search), SP_OK);
    sp_polar_search_run(search, s->slicer, pixels, r, grid, &all);
    for (ptrdiff_t i = 0; i < IMAGES * grid->count; i++) {
        score[i / grid->count * grid->count + all.best[i].index] = (double)all.best[i].score;
    }
    sp_polar_search_free(search);
    sp_array_free(all.best);
}

static int32_t best_of(const double *score, ptrdiff_t count)
{
    ptrdiff_t best = 0;

    for (ptrdiff_t o = 1; o < count; o++) {
        best = score[o] > score[best] ? o : best;
    }
    return (int32_t)best;
}

/* Images whose best orientation is another one. */
static int check_search(const scene *s, ptrdiff_t pixels, double r, const sp_rotation_grid *grid, double budget)
{
    finder f = open_finder(s, KEEP, budget);
    sp_candidate best[IMAGES * KEEP];
    double *score = NULL;
    int others = 0;

    assert_int_equal(SP_ARRAY(score, IMAGES * grid->count), SP_OK);
    find(&f, pixels, r, grid, NULL, IMAGES, KEEP, best);
    plain_scores(s, pixels, r, grid, score);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        const double *of = score + n * grid->count;
        const double limit = 0.01 * spread_of(of, grid->count) + 1e-6 * fabs((double)best[n * KEEP].score);

        check_list(of, grid->count, KEEP, best + n * KEEP, limit);
        others += best[n * KEEP].index != best_of(of, grid->count);
    }
    sp_array_free(score);
    close_finder(&f);
    return others;
}

static void orientations_are_those_of_the_processor(void **state)
{
    (void)state;
    static const double photons[] = {0.0, 300.0, 30000.0}, dispersion[] = {1.0, 10.0, 1e6};
    const uint64_t seed = fresh_seed();
    int others = 0;

    for (int i = 0; i < 3; i++) {
        scene s = make_scene(seed + (uint64_t)i, photons[i], i > 0);
        sp_rotation_grid grid = make_grid(600);

        for (int j = 0; j < 3; j++) {
            others += check_search(&s, s.patterns.pixels, dispersion[j], &grid, PLENTY);
        }
        sp_rotation_grid_clear(&grid);
        clear_scene(&s);
    }
    assert_true(others <= 2); /* of 81 */
}

/* A few directions and images at a time, and all at once. */
static void little_work_space_is_enough(void **state)
{
    (void)state;
    scene s = make_scene(fresh_seed(), 1000.0, true);
    sp_rotation_grid grid = turned_grid(19, 13, 5);

    assert_true(check_search(&s, s.patterns.pixels, 1.0, &grid, 0.0) <= 1);
    assert_true(check_search(&s, s.patterns.pixels, 1.0, &grid, 1e6) <= 1);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

/* More angles than orders, and very few; one direction. */
static void grids_may_be_odd(void **state)
{
    (void)state;
    static const ptrdiff_t shape[][2] = {{5, 1}, {5, 2}, {1, 37}, {2, 160}, {3, 319}};
    scene s = make_scene(fresh_seed(), 0.0, true);

    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        sp_rotation_grid grid = turned_grid(shape[i][0], shape[i][1], 7);

        check_search(&s, s.patterns.pixels, 10.0, &grid, PLENTY); /* neighbours may be too close to tell the best */
        sp_rotation_grid_clear(&grid);
    }
    clear_scene(&s);
}

/* Every search sees the pixels that it is told of and no others, whatever an earlier one saw. */
static void pixels_come_and_go(void **state)
{
    (void)state;
    enum { GROWN, SHRUNK, FEW, SEARCHES };
    scene s = make_scene(fresh_seed(), 0.0, true);
    sp_rotation_grid grid = make_grid(300), other = make_grid(600);
    const ptrdiff_t all = s.patterns.pixels, some = sp_patterns_within(&s.patterns, 0.1e10);
    sp_candidate best[SEARCHES][IMAGES * KEEP], whole[IMAGES * KEEP];
    finder f = open_finder(&s, KEEP, PLENTY), fresh = open_finder(&s, KEEP, PLENTY);

    assert_true(some > 20 && some < all - 20);
    find(&f, some, 1.0, &grid, NULL, IMAGES, KEEP, best[FEW]);
    find(&f, all, 1.0, &grid, NULL, IMAGES, KEEP, best[GROWN]);
    sp_polar_begin(f.polar, all, 1.0, &other, sp_slicer_reach(s.slicer));
    assert_int_equal(sp_device_polar_search_begin(f.search), SP_OK);
    assert_true(!sp_device_polar_search_holds(f.search)); /* another number of angles */
    find(&f, some, 1.0, &grid, NULL, IMAGES, KEEP, best[SHRUNK]);
    find(&fresh, all, 1.0, &grid, NULL, IMAGES, KEEP, whole);
    assert_memory_equal(best[GROWN], whole, sizeof whole);
    assert_memory_equal(best[FEW], best[SHRUNK], sizeof whole);
    assert_true(memcmp(best[FEW], whole, sizeof whole) != 0);
    close_finder(&fresh);
    close_finder(&f);
    sp_rotation_grid_clear(&grid);
    sp_rotation_grid_clear(&other);
    clear_scene(&s);
}

static void images_are_those_of_the_list(void **state)
{
    (void)state;
    static const int32_t choice[] = {7, 0, 3};
    scene s = make_scene(fresh_seed(), 3000.0, false);
    sp_rotation_grid grid = make_grid(300);
    finder f = open_finder(&s, KEEP, 0.0); /* a few at a time */
    sp_candidate all[IMAGES * KEEP], some[3 * KEEP], one[KEEP];

    find(&f, s.patterns.pixels, 1.0, &grid, NULL, IMAGES, KEEP, all);
    find(&f, s.patterns.pixels, 1.0, &grid, choice, 3, KEEP, some);
    find(&f, s.patterns.pixels, 1.0, &grid, NULL, 1, KEEP, one);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(some[i * KEEP].index, all[choice[i] * KEEP].index);
        assert_true(fabsf(some[i * KEEP].score - all[choice[i] * KEEP].score) < 1e-4f * fabsf(some[i * KEEP].score));
    }
    assert_int_equal(one[0].index, all[0].index);
    close_finder(&f);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void ties_go_to_the_lower_index(void **state)
{
    (void)state;
    scene s = make_scene(fresh_seed(), 0.0, true);
    sp_rotation_grid grid = make_grid(300);
    finder f = open_finder(&s, KEEP, PLENTY);
    sp_candidate best[IMAGES * KEEP];

    memset(s.k + s.patterns.pixels, 0, (size_t)s.patterns.pixels * sizeof *s.k); /* image 1 is alike from everywhere */
    s.patterns.scale[1] = 0.0f;
    find(&f, s.patterns.pixels, 1.0, &grid, NULL, IMAGES, KEEP, best);
    for (int i = 0; i < KEEP; i++) {
        assert_int_equal(best[KEEP + i].index, i);
        assert_true(best[KEEP + i].score == 0.0f);
    }
    close_finder(&f);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void lists_of_no_length_are_refused(void **state)
{
    (void)state;
    scene s = make_scene(1, 0.0, false);
    sp_device *gpu = gpu_open();
    sp_polar *polar = make_polar(&s);
    sp_device_polar_search *search = NULL;

    assert_int_equal(sp_device_polar_search_new(gpu, polar, 1, 0, PLENTY, &search), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "1 to 32 orientations, not 0"));
    assert_int_equal(sp_device_polar_search_new(gpu, polar, 1, 33, PLENTY, &search), SP_ERR_USAGE);
    assert_null(search);
    sp_polar_free(polar);
    sp_device_close(gpu);
    clear_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(orientations_are_those_of_the_processor),
        cmocka_unit_test(little_work_space_is_enough),
        cmocka_unit_test(grids_may_be_odd),
        cmocka_unit_test(pixels_come_and_go),
        cmocka_unit_test(images_are_those_of_the_list),
        cmocka_unit_test(ties_go_to_the_lower_index),
        cmocka_unit_test(lists_of_no_length_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
