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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(identical_maps_correlate_fully_for_even_and_odd_edges),
        cmocka_unit_test(equal_signal_and_noise_correlate_by_one_half),
        cmocka_unit_test(inverted_contrast_correlates_by_minus_one_and_an_empty_map_by_zero),
        cmocka_unit_test(resolution_is_interpolated_at_the_first_crossing),
        cmocka_unit_test(a_curve_that_never_falls_ends_at_its_last_shell),
        cmocka_unit_test(a_curve_that_starts_low_crosses_before_its_first_shell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
