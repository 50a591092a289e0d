/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/radial.h"
#include "phases/resolve.h"
#include "testing.h"

static float *white_noise(ptrdiff_t n, uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 1, 0);
    float *map = NULL;

    assert_int_equal(SP_ARRAY(map, n * n * n), SP_OK);
    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        map[i] = (float)sp_rng_normal(&rng);
    }
    return map;
}

static void identical_maps_correlate_fully_for_even_and_odd_edges(void **state)
{
    (void)state;
    for (ptrdiff_t n = 15; n <= 16; n++) {
        sp_fft *plan = NULL;
        float *map = white_noise(n, 3);
        double fsc[16];

        assert_int_equal(sp_fft_new(n, &plan), SP_OK);
        assert_int_equal(sp_fsc_maps(plan, map, map, fsc), SP_OK);
        for (ptrdiff_t k = 0; k < sp_radial_shells(n); k++) {
            assert_true(fabs(fsc[k] - 1.0) < 1e-6);
        }
        sp_fft_free(plan);
        sp_array_free(map);
    }
}

static void equal_signal_and_noise_correlate_by_one_half(void **state)
{
    (void)state;
    enum { N = 48 };
    float *signal = white_noise(N, 1), *a = white_noise(N, 2), *b = white_noise(N, 3);
    sp_fft *plan = NULL;
    double fsc[N / 2 + 1];

    for (int i = 0; i < N * N * N; i++) {
        a[i] += signal[i];
        b[i] += signal[i];
    }
    assert_int_equal(sp_fft_new(N, &plan), SP_OK);
    assert_int_equal(sp_fsc_maps(plan, a, b, fsc), SP_OK);
    for (int k = 4; k <= N / 2; k++) { /* a shell has about 2 pi k^2 independent numbers */
        assert_true(fabs(fsc[k] - 0.5) < 4.0 / sqrt(2.0 * M_PI * k * k));
    }
    sp_fft_free(plan);
    sp_array_free(signal);
    sp_array_free(a);
    sp_array_free(b);
}

static void inverted_contrast_correlates_by_minus_one_and_an_empty_map_by_zero(void **state)
{
    (void)state;
    enum { N = 12 };
    float *map = white_noise(N, 5), *negative = white_noise(N, 5), *empty = NULL;
    sp_fft *plan = NULL;
    double fsc[N / 2 + 1];

    assert_int_equal(SP_ARRAY(empty, N * N * N), SP_OK);
    for (int i = 0; i < N * N * N; i++) {
        negative[i] = -map[i];
    }
    assert_int_equal(sp_fft_new(N, &plan), SP_OK);
    assert_int_equal(sp_fsc_maps(plan, map, negative, fsc), SP_OK);
    assert_true(fabs(fsc[3] + 1.0) < 1e-6);
    assert_int_equal(sp_fsc_maps(plan, map, empty, fsc), SP_OK);
    assert_true(fsc[3] == 0.0);
    sp_fft_free(plan);
    sp_array_free(empty);
    sp_array_free(negative);
    sp_array_free(map);
}

static void resolution_is_interpolated_at_the_first_crossing(void **state)
{
    (void)state;
    const double curve[] = {1.0, 0.9, 0.7, 0.3, 0.9, 0.1}; /* rises again: only the first fall counts */
    const sp_resolution half = sp_fsc_resolution(curve, 6, 2e8, 0.5), seventh = sp_fsc_resolution(curve, 6, 2e8, 0.143);

    assert_true(half.crossed && fabs(half.s - 2.5 * 2e8) < 1.0);
    assert_true(seventh.crossed && fabs(seventh.s - (4.0 + (0.9 - 0.143) / 0.8) * 2e8) < 1.0);
}

static void a_curve_that_never_falls_ends_at_its_last_shell(void **state)
{
    (void)state;
    const double curve[] = {1.0, 0.9, 0.8, 0.6};
    const sp_resolution found = sp_fsc_resolution(curve, 4, 2e8, 0.5);

    assert_false(found.crossed);
    assert_true(fabs(found.s - 6e8) < 1.0);
}

static void a_curve_that_starts_low_crosses_before_its_first_shell(void **state)
{
    (void)state;
    const double curve[] = {0.0, -0.2, 0.9, 0.9};
    const sp_resolution found = sp_fsc_resolution(curve, 4, 1.0, 0.5);

    assert_true(found.crossed && fabs(found.s - 0.5 / 1.2) < 1e-12);
}

static void the_half_bit_threshold_is_that_of_its_publication(void **state)
{
    (void)state;
    static const double rounding = 2e-5; /* of the four digits that are printed there */
    double threshold[201], loose[201];

    sp_fsc_half_bit(201, 2.0 / 3.0, threshold);
    sp_fsc_half_bit(201, 1.0 / 3.0, loose);
    /* shell 10: 1257.7 voxels, half of them independent: root 25.076 */
    assert_true(fabs(threshold[10] - (0.2071 + 1.9102 / 25.0763) / (1.2071 + 0.9102 / 25.0763)) < rounding);
    /* a particle half as wide: half the root */
    assert_true(fabs(loose[10] - (0.2071 + 1.9102 / 12.53815) / (1.2071 + 0.9102 / 12.53815)) < rounding);
    for (int k = 1; k < 201; k++) { /* falls to SNR 0.2071 */
        assert_true(threshold[k] < threshold[k - 1] && threshold[k] > 0.2071 / 1.2071);
    }
    assert_true(threshold[200] < 0.1764);
}

/* Its limit in many voxels: maps of this noise correlate so, and both together hold half a bit in each voxel. */
static void maps_that_hold_half_a_bit_together_correlate_as_the_threshold_says(void **state)
{
    (void)state;
    enum { N = 48, FIRST = 12 };
    const double snr = 0.5 * (sqrt(2.0) - 1.0);
    float *signal = white_noise(N, 1), *a = white_noise(N, 2), *b = white_noise(N, 3);
    sp_fft *plan = NULL;
    double fsc[N / 2 + 1], threshold[10001], mean = 0.0;

    assert_true(fabs(log2(1.0 + 2.0 * snr) - 0.5) < 1e-12); /* the noise of the mean of both has half the power */
    for (int i = 0; i < N * N * N; i++) {
        a[i] += (float)sqrt(snr) * signal[i];
        b[i] += (float)sqrt(snr) * signal[i];
    }
    assert_int_equal(sp_fft_new(N, &plan), SP_OK);
    assert_int_equal(sp_fsc_maps(plan, a, b, fsc), SP_OK);
    for (int k = FIRST; k <= N / 2; k++) {
        mean += fsc[k] / (N / 2 - FIRST + 1);
    }
    sp_fsc_half_bit(10001, 2.0 / 3.0, threshold);
    assert_true(fabs(mean - threshold[10000]) < 4.0 / sqrt(2.0 / 3.0 * M_PI * (pow(N / 2, 3.0) - pow(FIRST, 3.0))));
    sp_fft_free(plan);
    sp_array_free(signal);
    sp_array_free(a);
    sp_array_free(b);
}

static void a_curve_of_thresholds_is_crossed_where_it_lies(void **state)
{
    (void)state;
    const double curve[] = {1.0, 0.9, 0.5, 0.1}, threshold[] = {1.0, 0.8, 0.6, 0.4}, flat[] = {0.5, 0.5, 0.5, 0.5};
    const sp_resolution found = sp_fsc_resolution_along(curve, threshold, 4, 2e8);
    const sp_resolution half = sp_fsc_resolution_along(curve, flat, 3, 2e8);

    assert_true(found.crossed && fabs(found.s - 1.5 * 2e8) < 1.0); /* 0.1 above, then 0.1 below */
    assert_true(!half.crossed && fabs(half.s - sp_fsc_resolution(curve, 3, 2e8, 0.5).s) < 1.0);
}

/* A ball of Gaussian density about voxel n/2, plus a little of something else. */
static float *ball(ptrdiff_t n, double other, uint64_t seed)
{
    float *map = white_noise(n, seed);

    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            for (ptrdiff_t z = 0; z < n; z++) {
                const ptrdiff_t h = x - n / 2, k = y - n / 2, l = z - n / 2, i = (x * n + y) * n + z;

                map[i] = (float)(100.0 * exp(-0.5 * (double)(h * h + k * k + l * l)) + other * (double)map[i]);
            }
        }
    }
    return map;
}

static void balls_correlate_as_maps_and_not_as_shapes(void **state)
{
    (void)state;
    enum { N = 32 };
    float *a = ball(N, 0.1, 4), *b = ball(N, 0.1, 5);
    sp_fft *plan = NULL;
    double maps[N / 2 + 1], shapes[N / 2 + 1], same[N / 2 + 1];

    assert_int_equal(sp_fft_new(N, &plan), SP_OK);
    assert_int_equal(sp_fsc_maps(plan, a, b, maps), SP_OK);
    assert_int_equal(sp_fsc_shapes(plan, a, b, shapes), SP_OK);
    assert_int_equal(sp_fsc_shapes(plan, a, a, same), SP_OK);
    for (int k = 1; k <= 6; k++) {
        assert_true(maps[k] > 0.99);
        assert_true(fabs(same[k] - 1.0) < 1e-5);
    }
    for (int k = 3; k <= N / 2; k++) { /* what is left are independent numbers, 2 pi k^2 in a shell */
        assert_true(fabs(shapes[k]) < 5.0 / sqrt(2.0 * M_PI * k * k));
    }
    sp_fft_free(plan);
    sp_array_free(b);
    sp_array_free(a);
}

static void shapes_of_perfect_balls_have_nothing_to_correlate(void **state)
{
    (void)state;
    enum { N = 16 };
    float *a = ball(N, 0.0, 6);
    sp_fft *plan = NULL;
    double shapes[N / 2 + 1];

    assert_int_equal(sp_fft_new(N, &plan), SP_OK);
    assert_int_equal(sp_fsc_shapes(plan, a, a, shapes), SP_OK);
    for (int k = 0; k <= 3; k++) {
        assert_true(shapes[k] == 0.0);
    }
    sp_fft_free(plan);
    sp_array_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identical_maps_correlate_fully_for_even_and_odd_edges),
        cmocka_unit_test(equal_signal_and_noise_correlate_by_one_half),
        cmocka_unit_test(inverted_contrast_correlates_by_minus_one_and_an_empty_map_by_zero),
        cmocka_unit_test(resolution_is_interpolated_at_the_first_crossing),
        cmocka_unit_test(a_curve_that_never_falls_ends_at_its_last_shell),
        cmocka_unit_test(a_curve_that_starts_low_crosses_before_its_first_shell),
        cmocka_unit_test(the_half_bit_threshold_is_that_of_its_publication),
        cmocka_unit_test(maps_that_hold_half_a_bit_together_correlate_as_the_threshold_says),
        cmocka_unit_test(a_curve_of_thresholds_is_crossed_where_it_lies),
        cmocka_unit_test(balls_correlate_as_maps_and_not_as_shapes),
        cmocka_unit_test(shapes_of_perfect_balls_have_nothing_to_correlate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
