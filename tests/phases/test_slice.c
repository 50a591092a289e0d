/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/slice.h"

#include "phases/blobs.h"

enum { EDGE = 20, SIDE = 20 };

static const double STEP = 0.016e10, WAVELENGTH = 2.5e-10; /* corner at 0.22 / A; the grid holds 0.25 / A */

/* A slicer loaded with the blobs, and the pixels of a detector. */
typedef struct scene {
    blobs particle;
    float *autocorrelation;
    bench detector;
    sp_patterns patterns;
    sp_slicer *slicer;
    float *pattern;
} scene;

static scene make_scene(blobs particle, int width)
{
    scene s = {.particle = particle};
    const sp_quat one = sp_quat_identity();

    s.autocorrelation = blobs_autocorrelation(&s.particle, EDGE);
    s.detector = bench_new(1, SIDE, SIDE, STEP, WAVELENGTH);
    s.patterns = bench_expose(&s.detector, &s.particle, 1, &one, NULL);
    assert_int_equal(sp_slicer_new(EDGE, VOXEL, width, &s.slicer), SP_OK);
    sp_slicer_load(s.slicer, s.autocorrelation);
    assert_int_equal(SP_ARRAY(s.pattern, s.patterns.pixels), SP_OK);
    return s;
}

static void clear_scene(scene *s)
{
    sp_array_free(s->autocorrelation);
    bench_clear(&s->detector);
    sp_patterns_clear(&s->patterns);
    sp_slicer_free(s->slicer);
    sp_array_free(s->pattern);
}

/* sum_r a[r] cos(2 pi s.r) */
static double cosine_sum(const float *a, const double s[3])
{
    const ptrdiff_t h = EDGE / 2 - 1;
    double sum = 0.0;

    for (ptrdiff_t x = -h; x <= h; x++) {
        for (ptrdiff_t y = -h; y <= h; y++) {
            const double turns = VOXEL * (s[0] * (double)x + s[1] * (double)y);

            for (ptrdiff_t z = -h; z <= h; z++) {
                sum += a[blobs_index(EDGE, x, y, z)] * cos(2.0 * M_PI * (turns + VOXEL * s[2] * (double)z));
            }
        }
    }
    return sum;
}

static void check_against_cosine_sum(int width, double most)
{
    scene s = make_scene(blobs_random(3, 3.5, 0.8), width);
    sp_quat *q = random_orientations(3, 5);
    float want[SIDE * SIDE];

    assert_int_equal(s.patterns.pixels, SIDE * SIDE);
    for (int n = 0; n < 3; n++) {
        sp_slicer_cut(s.slicer, q[n], s.patterns.s, s.patterns.pixels, s.pattern);
        for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
            double at[3];

            bench_turned(&s.patterns, p, q[n], at);
            want[p] = (float)cosine_sum(s.autocorrelation, at);
        }
        assert_true(relative_difference(s.pattern, want, s.patterns.pixels) < most);
    }
    sp_array_free(q);
    clear_scene(&s);
}

static void a_pattern_is_the_cosine_sum_over_the_autocorrelation(void **state)
{
    (void)state;
    check_against_cosine_sum(4, 1e-3); /* num/nufft.h */
    check_against_cosine_sum(6, 3e-5);
}

/* Two atoms, neither at the centre: turning the atoms by R(q), written out from docs/conventions.md, and looking at
 * s_lab must be what the slicer shows for q. */
static void an_orientation_turns_the_molecule(void **state)
{
    (void)state;
    const blobs pair = {.at = {{4e-10, 1e-10, -2e-10}, {-1e-10, -5e-10, 3e-10}}, .height = {10, 6}, .sigma = 1.6e-10};
    const double w = 0.8, x = 0.4, y = -0.2, z = 0.4;
    const double turn[3][3] = {
        {1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)},
        {2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)},
        {2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)},
    };
    blobs turned = pair;
    scene s = make_scene(pair, 6);
    float want[SIDE * SIDE], wrong[SIDE * SIDE];

    for (int j = 0; j < BLOBS; j++) {
        for (int i = 0; i < 3; i++) {
            turned.at[j][i] = turn[i][0] * pair.at[j][0] + turn[i][1] * pair.at[j][1] + turn[i][2] * pair.at[j][2];
        }
    }
    for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
        const double lab[3] = {s.patterns.s[0][p], s.patterns.s[1][p], s.patterns.s[2][p]};

        want[p] = (float)blobs_intensity(&turned, lab);
        wrong[p] = (float)blobs_intensity(&pair, lab);
    }
    sp_slicer_cut(s.slicer, (sp_quat){w, x, y, z}, s.patterns.s, s.patterns.pixels, s.pattern);
    assert_true(relative_difference(s.pattern, want, s.patterns.pixels) < 1e-3);
    assert_true(relative_difference(wrong, want, s.patterns.pixels) > 0.1); /* the test can tell */
    sp_slicer_cut(s.slicer, sp_quat_conjugate((sp_quat){w, x, y, z}), s.patterns.s, s.patterns.pixels, s.pattern);
    assert_true(relative_difference(s.pattern, want, s.patterns.pixels) > 0.1);
    clear_scene(&s);
}

static void opposite_points_have_the_same_intensity(void **state)
{
    (void)state;
    scene s = make_scene(blobs_random(4, 3.5, 0.8), 4);
    sp_quat *q = random_orientations(1, 6);
    float mirrored[SIDE * SIDE];

    sp_slicer_cut(s.slicer, q[0], s.patterns.s, s.patterns.pixels, s.pattern);
    for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
        for (int i = 0; i < 3; i++) {
            s.patterns.s[i][p] = -s.patterns.s[i][p];
        }
    }
    sp_slicer_cut(s.slicer, q[0], s.patterns.s, s.patterns.pixels, mirrored);
    assert_true(relative_difference(mirrored, s.pattern, s.patterns.pixels) < 1e-5);
    sp_array_free(q);
    clear_scene(&s);
}

static void negative_intensities_become_zero(void **state)
{
    (void)state;
    scene s = make_scene(blobs_random(7, 3.0, 0.8), 4);
    float turn[3][SIDE * SIDE];

    for (int i = 0; i < EDGE * EDGE * EDGE; i++) {
        s.autocorrelation[i] = -s.autocorrelation[i];
    }
    sp_slicer_load(s.slicer, s.autocorrelation);
    sp_slicer_cut(s.slicer, sp_quat_identity(), s.patterns.s, s.patterns.pixels, s.pattern);
    for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
        assert_true(s.pattern[p] >= 0.0f && s.pattern[p] < 0.01f * s.patterns.count[0]);
    }
    sp_slicer_cut_turns(s.slicer, sp_quat_identity(), s.patterns.s, s.patterns.pixels, s.pattern,
                        (float *const[3]){turn[0], turn[1], turn[2]});
    for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
        assert_true(s.pattern[p] > 0.0f || (turn[0][p] == 0.0f && turn[1][p] == 0.0f && turn[2][p] == 0.0f));
    }
    clear_scene(&s);
}

/* Turned by R(t) after the orientation, as phases/match does. */
static void turns_are_differences_between_patterns(void **state)
{
    (void)state;
    const double delta = 2e-3;
    scene s = make_scene(blobs_random(8, 3.5, 0.8), 6);
    sp_quat *q = random_orientations(1, 9);
    float turn[3][SIDE * SIDE], want[SIDE * SIDE], alone[SIDE * SIDE];

    sp_slicer_cut_turns(s.slicer, q[0], s.patterns.s, s.patterns.pixels, s.pattern,
                        (float *const[3]){turn[0], turn[1], turn[2]});
    sp_slicer_cut(s.slicer, q[0], s.patterns.s, s.patterns.pixels, alone);
    assert_true(relative_difference(s.pattern, alone, s.patterns.pixels) < 1e-6);
    for (int i = 0; i < 3; i++) {
        const double axis[3] = {i == 0, i == 1, i == 2};
        const sp_quat up = sp_quat_multiply(sp_quat_from_axis_angle(axis, delta), q[0]);
        const sp_quat down = sp_quat_multiply(sp_quat_from_axis_angle(axis, -delta), q[0]);

        sp_slicer_cut(s.slicer, up, s.patterns.s, s.patterns.pixels, want);
        sp_slicer_cut(s.slicer, down, s.patterns.s, s.patterns.pixels, alone);
        for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
            want[p] = (want[p] - alone[p]) / (float)(2.0 * delta);
        }
        assert_true(relative_difference(turn[i], want, s.patterns.pixels) < 2e-3);
    }
    sp_array_free(q);
    clear_scene(&s);
}

static void a_grid_kept_elsewhere_is_cut_alike(void **state)
{
    (void)state;
    scene s = make_scene(blobs_random(3, 3.5, 0.8), 4);
    sp_quat *q = random_orientations(1, 6);
    float *grid = NULL, want[SIDE * SIDE];

    sp_slicer_cut(s.slicer, q[0], s.patterns.s, s.patterns.pixels, want);
    assert_int_equal(SP_ARRAY(grid, sp_slicer_grid_count(s.slicer)), SP_OK);
    sp_slicer_make_grid(s.slicer, s.autocorrelation, grid);
    memset(s.autocorrelation, 0, EDGE * EDGE * EDGE * sizeof *s.autocorrelation);
    sp_slicer_load(s.slicer, s.autocorrelation); /* another model in the slicer itself */
    const sp_slicer on = sp_slicer_on(s.slicer, grid);

    sp_slicer_cut(&on, q[0], s.patterns.s, s.patterns.pixels, s.pattern);
    assert_memory_equal(s.pattern, want, sizeof want);
    sp_slicer_cut(s.slicer, q[0], s.patterns.s, s.patterns.pixels, s.pattern);
    assert_true(s.pattern[0] == 0.0f);
    sp_array_free(grid);
    sp_array_free(q);
    clear_scene(&s);
}

static void an_odd_edge_is_refused(void **state)
{
    (void)state;
    sp_slicer *slicer = NULL;

    assert_int_equal(sp_slicer_new(21, VOXEL, 4, &slicer), SP_ERR_USAGE);
    assert_null(slicer);
    assert_non_null(strstr(sp_error_text(), "21"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pattern_is_the_cosine_sum_over_the_autocorrelation),
        cmocka_unit_test(an_orientation_turns_the_molecule),
        cmocka_unit_test(opposite_points_have_the_same_intensity),
        cmocka_unit_test(negative_intensities_become_zero),
        cmocka_unit_test(turns_are_differences_between_patterns),
        cmocka_unit_test(a_grid_kept_elsewhere_is_cut_alike),
        cmocka_unit_test(an_odd_edge_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
