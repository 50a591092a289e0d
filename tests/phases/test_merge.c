/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/heap.h"
#include "phases/merge.h"

#include <math.h>
#include <omp.h>

#include "phases/blobs.h"

static const double WAVELENGTH = 2.5e-10;

/* Noise-free images of blobs in random orientations, each with a scale of its own, and what merging makes of them. */
typedef struct scene {
    ptrdiff_t edge, cube;
    blobs particle;
    bench detector;
    sp_quat *q;
    sp_patterns patterns;
    sp_merger *merger;
    sp_merge_lanes *lanes;
    float *merged;
} scene;

/*   reach  of the detector's corner, in units of the finest frequency 1/(2 voxel);  radius of the support [voxel] */
static scene make_scene(ptrdiff_t edge, ptrdiff_t side, double reach, ptrdiff_t images, blobs particle, double radius)
{
    scene s = {.edge = edge, .cube = edge * edge * edge, .particle = particle};
    const double step = reach / (2.0 * VOXEL) / (0.5 * sqrt(2.0) * (double)(side - 1));
    double *scale = NULL;

    assert_int_equal(SP_ARRAY(scale, images), SP_OK);
    for (ptrdiff_t n = 0; n < images; n++) {
        scale[n] = 0.5 + 0.25 * (double)(n % 5); /* mean 1 for a multiple of 5 images */
    }
    s.detector = bench_new(1, side, side, step, WAVELENGTH);
    for (ptrdiff_t p = 0; p < side * side; p++) {
        s.detector.correction[p] = 1.0f + 0.3f * (float)(p % 3);
    }
    s.q = random_orientations(images, 41);
    s.patterns = bench_expose(&s.detector, &s.particle, images, s.q, scale);
    for (ptrdiff_t n = 0; n < images; n++) { /* total counts are not quite the fluence: speckle */
        s.patterns.scale[n] = (float)scale[n];
    }
    assert_int_equal(sp_merger_new(edge, VOXEL, radius * VOXEL, 6, &s.merger), SP_OK);
    assert_int_equal(sp_merge_lanes_new(s.merger, &s.patterns, &s.lanes), SP_OK);
    assert_int_equal(SP_ARRAY(s.merged, s.cube), SP_OK);
    sp_array_free(scale);
    return s;
}

static void clear_scene(scene *s)
{
    bench_clear(&s->detector);
    sp_array_free(s->q);
    sp_patterns_clear(&s->patterns);
    sp_merge_lanes_free(s->lanes);
    sp_merger_free(s->merger);
    sp_array_free(s->merged);
}

static void the_autocorrelation_comes_back_from_its_patterns(void **state)
{
    (void)state;
    scene s = make_scene(16, 16, 0.98, 200, blobs_random(12, 2.0, 0.9), 7.0);
    float *truth = blobs_autocorrelation(&s.particle, s.edge);
    const sp_merge_result result = sp_merger_run(s.merger, s.lanes, &s.patterns, s.q, INFINITY, 1e-4, 60, s.merged);

    assert_true(result.iterations > 1);
    assert_true(relative_difference(s.merged, truth, s.cube) < 0.01);
    for (ptrdiff_t x = -7; x <= 7; x++) { /* even, and 0 outside the support */
        for (ptrdiff_t y = -7; y <= 7; y++) {
            for (ptrdiff_t z = -7; z <= 7; z++) {
                const float here = s.merged[blobs_index(16, x, y, z)], there = s.merged[blobs_index(16, -x, -y, -z)];

                assert_true(fabsf(here - there) < 1e-4f * s.merged[0]);
                assert_true(x * x + y * y + z * z <= 49 || here == 0.0f);
            }
        }
    }
    sp_array_free(truth);
    clear_scene(&s);
}

/* ---- against the normal equations, written out ---- */

enum { TINY = 8, HALF = TINY / 2 - 1, MOST = 125 };

static const double RADIUS = 3.0; /* [voxel] 123 voxels */

/* A^T W A + lambda and A^T W y over the voxels of the support, as dense arrays, in units of the eigenvalue of a fully
 * measured frequency: the sum of weights over the share pi/6 of the box in which they lie. */
typedef struct dense {
    ptrdiff_t count;
    ptrdiff_t voxel[MOST][3];
    double matrix[MOST][MOST], right[MOST];
} dense;

static void list_support(dense *d)
{
    d->count = 0;
    for (ptrdiff_t i = 0; i < 343; i++) {
        const ptrdiff_t r[3] = {i / 49 - HALF, i / 7 % 7 - HALF, i % 7 - HALF};

        if ((double)(r[0] * r[0] + r[1] * r[1] + r[2] * r[2]) <= RADIUS * RADIUS) {
            assert_true(d->count < MOST);
            memcpy(d->voxel[d->count++], r, sizeof r);
        }
    }
}

/* Of the first `pixels` bins. */
static void fill_dense(const scene *s, ptrdiff_t pixels, double lambda, dense *d)
{
    const sp_patterns *patterns = &s->patterns;
    const double s_max = patterns->radius[pixels - 1], floor = 0.5 * patterns->shell_width / s_max;
    double sum = 0.0, wave[MOST];

    *d = (dense){0};
    list_support(d);
    for (ptrdiff_t n = 0; n < patterns->images; n++) {
        for (ptrdiff_t p = 0; p < pixels; p++) {
            const double expected = (double)patterns->scale[n] * (double)patterns->exposure[p];
            const double y = (double)patterns->count[n * patterns->pixels + p] / expected;
            const double weight = expected * (pow(patterns->radius[p] / s_max, 2.0) + floor * floor);
            double at[3];

            bench_turned(patterns, p, s->q[n], at);
            sum += weight;
            for (ptrdiff_t i = 0; i < d->count; i++) {
                const ptrdiff_t *r = d->voxel[i];

                wave[i] =
                    cos(2.0 * M_PI * VOXEL * (at[0] * (double)r[0] + at[1] * (double)r[1] + at[2] * (double)r[2]));
                d->right[i] += weight * y * wave[i];
                for (ptrdiff_t j = 0; j <= i; j++) {
                    d->matrix[i][j] += weight * wave[i] * wave[j];
                }
            }
        }
    }
    const double eigenvalue =
        sum / (4.0 / 3.0 * M_PI * pow(s_max * VOXEL, 3.0)); /* a sphere of s_max, in cubes of 1/VOXEL */
    for (ptrdiff_t i = 0; i < d->count; i++) {
        d->right[i] /= eigenvalue;
        for (ptrdiff_t j = 0; j <= i; j++) {
            d->matrix[i][j] = d->matrix[i][j] / eigenvalue + (i == j ? lambda : 0.0);
            d->matrix[j][i] = d->matrix[i][j];
        }
    }
}

/* x = matrix^-1 right by Gauss elimination of a copy; the matrix is positive definite, so no pivots are needed. */
static void solve_dense(const dense *d, double *x)
{
    static dense copy;

    copy = *d;
    for (ptrdiff_t i = 0; i < copy.count; i++) {
        for (ptrdiff_t r = i + 1; r < copy.count; r++) {
            const double ratio = copy.matrix[r][i] / copy.matrix[i][i];

            for (ptrdiff_t c = i; c < copy.count; c++) {
                copy.matrix[r][c] -= ratio * copy.matrix[i][c];
            }
            copy.right[r] -= ratio * copy.right[i];
        }
    }
    for (ptrdiff_t i = copy.count - 1; i >= 0; i--) {
        x[i] = copy.right[i];
        for (ptrdiff_t c = i + 1; c < copy.count; c++) {
            x[i] -= copy.matrix[i][c] * x[c];
        }
        x[i] /= copy.matrix[i][i];
    }
}

/* |right - matrix x| / |right| for the merged x */
static double dense_residual(const dense *d, const float *merged)
{
    double difference = 0.0, norm = 0.0;

    for (ptrdiff_t i = 0; i < d->count; i++) {
        double rest = d->right[i];

        for (ptrdiff_t j = 0; j < d->count; j++) {
            rest -= d->matrix[i][j] * merged[blobs_index(TINY, d->voxel[j][0], d->voxel[j][1], d->voxel[j][2])];
        }
        difference += rest * rest;
        norm += d->right[i] * d->right[i];
    }
    return sqrt(difference / norm);
}

static scene tiny_scene(void)
{
    return make_scene(TINY, 8, 0.9, 40, blobs_random(13, 1.0, 0.7), RADIUS);
}

static void merging_solves_the_normal_equations(void **state)
{
    (void)state;
    static dense d;
    const double lambdas[] = {1e-2, 0.1}; /* the solver stops at a residual of 1e-4; errors are up to 1/lambda of it */
    scene s = tiny_scene();

    for (int l = 0; l < 4; l++) {
        const double s_max = l < 2 ? INFINITY : 0.7 * s.patterns.radius[s.patterns.pixels - 1];
        double x[MOST];
        float want[MOST], got[MOST];

        fill_dense(&s, sp_patterns_within(&s.patterns, s_max), lambdas[l % 2], &d);
        solve_dense(&d, x);
        sp_merger_run(s.merger, s.lanes, &s.patterns, s.q, s_max, lambdas[l % 2], 200, s.merged);
        for (ptrdiff_t i = 0; i < d.count; i++) {
            want[i] = (float)x[i];
            got[i] = s.merged[blobs_index(TINY, d.voxel[i][0], d.voxel[i][1], d.voxel[i][2])];
        }
        assert_true(dense_residual(&d, s.merged) < 1.5e-4);
        assert_true(relative_difference(got, want, d.count) < 5e-3);
    }
    clear_scene(&s);
}

static void the_residual_is_that_of_the_solution_returned(void **state)
{
    (void)state;
    static dense d;
    scene s = tiny_scene();
    double before = 1.0;

    fill_dense(&s, s.patterns.pixels, 1e-3, &d);
    for (int iterations = 1; iterations <= 16; iterations *= 4) {
        const sp_merge_result result =
            sp_merger_run(s.merger, s.lanes, &s.patterns, s.q, INFINITY, 1e-3, iterations, s.merged);
        const double residual = dense_residual(&d, s.merged);

        assert_int_equal(result.iterations, iterations);
        assert_true(fabs(result.residual / residual - 1.0) < 0.05);
        assert_true(residual < 0.5 * before);
        before = residual;
    }
    clear_scene(&s);
}

static void an_image_of_scale_0_is_ignored(void **state)
{
    (void)state;
    scene s = tiny_scene();
    float *with = NULL;

    assert_int_equal(SP_ARRAY(with, s.cube), SP_OK);
    s.patterns.scale[39] = 0.0f;
    sp_merger_run(s.merger, s.lanes, &s.patterns, s.q, INFINITY, 1e-3, 20,
                  with); /* image 39 holds counts all the same */
    s.patterns.images = 39;
    sp_merger_run(s.merger, s.lanes, &s.patterns, s.q, INFINITY, 1e-3, 20, s.merged);
    assert_memory_equal(with, s.merged, (size_t)s.cube * sizeof *with);
    s.patterns.images = 40;
    s.patterns.scale[39] = 1.0f;
    sp_merger_run(s.merger, s.lanes, &s.patterns, s.q, INFINITY, 1e-3, 20, with);
    assert_memory_not_equal(with, s.merged, (size_t)s.cube * sizeof *with);
    sp_array_free(with);
    clear_scene(&s);
}

static void the_merged_map_is_the_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    const int threads = omp_get_max_threads();
    scene s = make_scene(12, 12, 0.98, 30, blobs_random(14, 1.5, 0.9), 5.0);
    float *first = NULL;

    assert_int_equal(SP_ARRAY(first, s.cube), SP_OK);
    for (int t = 1; t <= 5; t++) {
        omp_set_num_threads(t);
        sp_merger_run(s.merger, s.lanes, &s.patterns, s.q, INFINITY, 1e-3, 10, t == 1 ? first : s.merged);
        assert_true(t == 1 || memcmp(first, s.merged, (size_t)s.cube * sizeof *first) == 0);
    }
    omp_set_num_threads(threads);
    sp_array_free(first);
    clear_scene(&s);
}

/* ---- in pieces ---- */

/* A cleared pair with all images of the patterns. */
static float *spread(const scene *s, const sp_patterns *patterns, const sp_quat *q, double s_max)
{
    float *scratch = NULL, *pair = NULL;

    assert_int_equal(SP_ARRAY(scratch, sp_merger_scratch_count(patterns)), SP_OK);
    assert_int_equal(SP_ARRAY(pair, sp_merger_pair_count(s->merger)), SP_OK);
    sp_merger_spread(s->merger, patterns, &(sp_placement){.orientation = q}, (sp_selection){0}, s_max, scratch, pair);
    sp_array_free(scratch);
    return pair;
}

/* Where three images of four have no signal, all of run's work is in one lane: image 0, 4, 8 ... */
static void spread_and_solve_are_run(void **state)
{
    (void)state;
    scene s = tiny_scene();
    const double radius = s.patterns.radius[s.patterns.pixels - 1], reach[] = {INFINITY, 0.7 * radius};
    float *pieces = NULL;

    assert_int_equal(SP_ARRAY(pieces, s.cube), SP_OK);
    for (ptrdiff_t n = 0; n < s.patterns.images; n++) {
        s.patterns.scale[n] = n % 4 == 0 ? s.patterns.scale[n] : 0.0f;
    }
    for (int i = 0; i < 2; i++) {
        float *pair = spread(&s, &s.patterns, s.q, reach[i]);
        const sp_merge_result a = sp_merger_run(s.merger, s.lanes, &s.patterns, s.q, reach[i], 1e-3, 20, s.merged);
        const sp_merge_result b =
            sp_merger_solve(s.merger, pair, sp_merger_outermost(&s.patterns, reach[i]), 1e-3, 20, pieces);

        assert_true(a.residual == b.residual && a.iterations == b.iterations);
        assert_memory_equal(pieces, s.merged, (size_t)s.cube * sizeof *pieces);
        sp_array_free(pair);
    }
    sp_array_free(pieces);
    clear_scene(&s);
}

/* What is known to be background is taken off before the images are divided by their scales. */
static void a_known_background_is_not_merged(void **state)
{
    (void)state;
    scene s = tiny_scene();
    const ptrdiff_t count = sp_merger_pair_count(s.merger), pixels = s.patterns.pixels;
    float *without = spread(&s, &s.patterns, s.q, INFINITY);
    double smooth[TINY * TINY];

    assert_in_range(s.patterns.shells, 1, TINY * TINY);
    for (ptrdiff_t k = 0; k < s.patterns.shells; k++) {
        smooth[k] = 0.5 * s.patterns.profile[k];
    }
    sp_patterns_set_background(&s.patterns, smooth);
    for (ptrdiff_t i = 0; i < s.patterns.images * pixels; i++) {
        s.patterns.count[i] += s.patterns.background[i % pixels];
    }
    float *with = spread(&s, &s.patterns, s.q, INFINITY);

    assert_true(relative_difference(with, without, count) < 1e-6);
    sp_array_free(without);
    sp_array_free(with);
    clear_scene(&s);
}

/* In three pairs or in one: sums of single precision differ by their order alone. */
static void pairs_of_parts_add_up_to_the_pair_of_all(void **state)
{
    (void)state;
    enum { PARTS = 3 };
    scene s = tiny_scene();
    const ptrdiff_t count = sp_merger_pair_count(s.merger), cuts[PARTS + 1] = {0, 7, 30, s.patterns.images};
    float *all = spread(&s, &s.patterns, s.q, INFINITY), *sum = NULL;

    assert_int_equal(SP_ARRAY(sum, count), SP_OK);
    for (int part = 0; part < PARTS; part++) {
        sp_patterns some = s.patterns;

        some.images = cuts[part + 1] - cuts[part];
        some.count += cuts[part] * some.pixels;
        some.scale += cuts[part];
        float *pair = spread(&s, &some, s.q + cuts[part], INFINITY);

        for (ptrdiff_t i = 0; i < count; i++) {
            sum[i] += pair[i];
        }
        sp_array_free(pair);
    }
    assert_true(relative_difference(sum, all, count) < 1e-6);
    sp_array_free(all);
    sp_array_free(sum);
    clear_scene(&s);
}

/* A cleared pair with all images in shares. */
static float *spread_shares(const scene *s, const sp_placement *placement)
{
    float *scratch = NULL, *pair = NULL;

    assert_int_equal(SP_ARRAY(scratch, sp_merger_scratch_count(&s->patterns)), SP_OK);
    assert_int_equal(SP_ARRAY(pair, sp_merger_pair_count(s->merger)), SP_OK);
    sp_merger_spread(s->merger, &s->patterns, placement, (sp_selection){0}, INFINITY, scratch, pair);
    sp_array_free(scratch);
    return pair;
}

enum { TINY_IMAGES = 40, EACH_SHARE = 3 };

/* Shares of the images of a tiny scene, of which each may stand in an orientation of its own and in the next one's. */
typedef struct shares {
    int32_t place[TINY_IMAGES * EACH_SHARE];
    float share[TINY_IMAGES * EACH_SHARE];
} shares;

static void set_shares(shares *all, ptrdiff_t image, const int32_t *place, const float *share)
{
    memcpy(all->place + image * EACH_SHARE, place, EACH_SHARE * sizeof *place);
    memcpy(all->share + image * EACH_SHARE, share, EACH_SHARE * sizeof *share);
}

static sp_placement placed(const scene *s, const shares *all)
{
    return (sp_placement){.orientation = s->q,
                          .each = EACH_SHARE,
                          .place = all->place,
                          .share = all->share,
                          .points = s->patterns.images};
}

static void a_whole_share_is_the_image(void **state)
{
    (void)state;
    scene s = tiny_scene();
    const size_t bytes = (size_t)sp_merger_pair_count(s.merger) * sizeof(float);
    shares all;

    for (int32_t n = 0; n < TINY_IMAGES; n++) {
        set_shares(&all, n, (int32_t[]){0, n, 1}, (float[]){0.0f, 1.0f, 0.0f});
    }
    const sp_placement placement = placed(&s, &all);
    float *whole = spread(&s, &s.patterns, s.q, INFINITY), *shared = spread_shares(&s, &placement);

    assert_memory_equal(shared, whole, bytes);
    sp_array_free(whole);
    sp_array_free(shared);
    clear_scene(&s);
}

/* In the same orientation twice, an image is there once; in two orientations, what it adds is what both would add, by
 * their shares. */
static void shares_add_up(void **state)
{
    (void)state;
    scene s = tiny_scene();
    const ptrdiff_t count = sp_merger_pair_count(s.merger);
    sp_quat next[TINY_IMAGES];
    shares same, two;

    for (int32_t n = 0; n < TINY_IMAGES; n++) {
        const int32_t after = (n + 1) % TINY_IMAGES;

        next[n] = s.q[after];
        set_shares(&same, n, (int32_t[]){n, n, 0}, (float[]){0.75f, 0.25f, 0.0f});
        set_shares(&two, n, (int32_t[]){n, after, n}, (float[]){0.5f, 0.3f, 0.2f});
    }
    const sp_placement in_one = placed(&s, &same), in_two = placed(&s, &two);
    float *here = spread(&s, &s.patterns, s.q, INFINITY), *there = spread(&s, &s.patterns, next, INFINITY);
    float *once = spread_shares(&s, &in_one), *twice = spread_shares(&s, &in_two);

    assert_true(relative_difference(once, here, count) < 1e-6);
    assert_true(relative_difference(twice, here, count) > 0.01);
    for (ptrdiff_t i = 0; i < count; i++) {
        here[i] = 0.7f * here[i] + 0.3f * there[i];
    }
    assert_true(relative_difference(twice, here, count) < 1e-6);
    sp_array_free(here);
    sp_array_free(there);
    sp_array_free(once);
    sp_array_free(twice);
    clear_scene(&s);
}

/* Places before and beyond those asked for belong to others: together they are the whole. */
static void shares_elsewhere_are_left_to_others(void **state)
{
    (void)state;
    scene s = tiny_scene();
    const ptrdiff_t count = sp_merger_pair_count(s.merger);
    shares all;

    for (int32_t n = 0; n < TINY_IMAGES; n++) {
        set_shares(&all, n, (int32_t[]){n, TINY_IMAGES + n, n}, (float[]){0.5f, 0.25f, 0.25f});
    }
    sp_placement placement = placed(&s, &all);
    float *first = spread_shares(&s, &placement), *whole = spread(&s, &s.patterns, s.q, INFINITY);

    placement.first = TINY_IMAGES;
    float *second = spread_shares(&s, &placement);

    for (ptrdiff_t i = 0; i < count; i++) {
        first[i] = first[i] / 0.75f;
        second[i] = second[i] / 0.25f;
    }
    assert_true(relative_difference(first, whole, count) < 1e-6);
    assert_true(relative_difference(second, whole, count) < 1e-6);
    sp_array_free(first);
    sp_array_free(second);
    sp_array_free(whole);
    clear_scene(&s);
}

/* Eight parts on four threads at once, each with a pair of its own, are eight parts one by one. */
static void many_threads_spread_with_one_merger(void **state)
{
    (void)state;
    enum { PARTS = 8, EACH = 5 };
    scene s = tiny_scene();
    const size_t bytes = (size_t)sp_merger_pair_count(s.merger) * sizeof(float);
    float *pair[PARTS], *scratch[PARTS];
    sp_patterns some[PARTS];

    for (int part = 0; part < PARTS; part++) {
        some[part] = s.patterns;
        some[part].images = EACH;
        some[part].count += part * EACH * s.patterns.pixels;
        some[part].scale += part * EACH;
        assert_int_equal(SP_ARRAY(pair[part], sp_merger_pair_count(s.merger)), SP_OK);
        assert_int_equal(SP_ARRAY(scratch[part], sp_merger_scratch_count(&s.patterns)), SP_OK);
    }
#pragma omp parallel for num_threads(4)
    for (int part = 0; part < PARTS; part++) {
        sp_merger_spread(s.merger, &some[part], &(sp_placement){.orientation = s.q + part * EACH}, (sp_selection){0},
                         INFINITY, scratch[part], pair[part]);
    }
    for (int part = 0; part < PARTS; part++) {
        float *alone = spread(&s, &some[part], s.q + part * EACH, INFINITY);

        assert_memory_equal(alone, pair[part], bytes);
        sp_array_free(alone);
        sp_array_free(pair[part]);
        sp_array_free(scratch[part]);
    }
    clear_scene(&s);
}

static void the_memory_is_as_planned(void **state)
{
    (void)state;
    enum { LARGE = 40 };
    scene s = tiny_scene();
    sp_merger *merger = NULL;
    sp_merge_lanes *lanes = NULL;
    const double before = heap();

    assert_int_equal(sp_merger_new(LARGE, VOXEL, 10.0 * VOXEL, 4, &merger), SP_OK);
    const double between = heap();

    assert_int_equal(sp_merge_lanes_new(merger, &s.patterns, &lanes), SP_OK);
    const double own = (between - before) / (double)sp_merger_bytes(LARGE);
    const double work = (heap() - between) / (double)sp_merge_lanes_bytes(LARGE, s.patterns.pixels);

    sp_merge_lanes_free(lanes);
    sp_merger_free(merger);
    clear_scene(&s);
    if (before == 0.0) {
        skip();
    }
    assert_true(own > 0.95 && own < 1.01);
    assert_true(work > 0.8 && work < 1.0); /* the rows of some processors are padded */
}

static void an_odd_edge_is_refused(void **state)
{
    (void)state;
    sp_merger *merger = NULL;

    assert_int_equal(sp_merger_new(15, VOXEL, 5.0 * VOXEL, 4, &merger), SP_ERR_USAGE);
    assert_null(merger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_autocorrelation_comes_back_from_its_patterns),
        cmocka_unit_test(merging_solves_the_normal_equations),
        cmocka_unit_test(the_residual_is_that_of_the_solution_returned),
        cmocka_unit_test(an_image_of_scale_0_is_ignored),
        cmocka_unit_test(the_merged_map_is_the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(spread_and_solve_are_run),
        cmocka_unit_test(a_known_background_is_not_merged),
        cmocka_unit_test(pairs_of_parts_add_up_to_the_pair_of_all),
        cmocka_unit_test(a_whole_share_is_the_image),
        cmocka_unit_test(shares_add_up),
        cmocka_unit_test(shares_elsewhere_are_left_to_others),
        cmocka_unit_test(many_threads_spread_with_one_merger),
        cmocka_unit_test(the_memory_is_as_planned),
        cmocka_unit_test(an_odd_edge_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
