/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/fft.h"
#include "num/radial.h"
#include "testing.h"

static void mean_of_a_radial_function_is_that_function(void **state)
{
    (void)state;
    for (ptrdiff_t n = 8; n <= 9; n++) {
        float *map = NULL;
        double mean[8];

        assert_int_equal(SP_ARRAY(map, n * n * n), SP_OK);
        for (ptrdiff_t i = 0; i < n * n * n; i++) {
            const ptrdiff_t x = i / (n * n), y = i / n % n, z = i % n;
            const double dx = (double)(x <= n / 2 ? x : x - n), dy = (double)(y <= n / 2 ? y : y - n),
                         dz = (double)(z <= n / 2 ? z : z - n);

            map[i] = (float)floor(sqrt(dx * dx + dy * dy + dz * dz) + 0.5);
        }
        sp_radial_mean(n, map, mean);
        for (ptrdiff_t k = 0; k < sp_radial_shells(n); k++) {
            assert_true(fabs(mean[k] - (double)k) < 1e-12);
        }
        sp_array_free(map);
    }
}

/* |F|^2 of both halves, written out, averaged as a plain volume */
static void check_half_against_whole(ptrdiff_t n)
{
    const ptrdiff_t half = n / 2 + 1;
    sp_rng rng = sp_rng_stream(1, 1, (uint64_t)n);
    float *map = NULL, *power = NULL;
    float complex *f = NULL;
    sp_fft *plan = NULL;
    double from_half[16], from_whole[16];

    assert_int_equal(sp_fft_new(n, &plan), SP_OK);
    assert_int_equal(SP_ARRAY(map, n * n * n), SP_OK);
    assert_int_equal(SP_ARRAY(power, n * n * n), SP_OK);
    assert_int_equal(SP_ARRAY(f, sp_fft_complex_count(plan)), SP_OK);
    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        map[i] = (float)sp_rng_normal(&rng);
    }
    sp_fft_forward(plan, map, f);
    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        const ptrdiff_t x = i / (n * n), y = i / n % n, z = i % n;
        const float complex v =
            z < half ? f[(x * n + y) * half + z] : f[((n - x) % n * n + (n - y) % n) * half + n - z];

        power[i] = crealf(v) * crealf(v) + cimagf(v) * cimagf(v);
    }
    sp_radial_cross(n, f, f, from_half);
    sp_radial_mean(n, power, from_whole);
    for (ptrdiff_t k = 0; k < sp_radial_shells(n); k++) {
        assert_true(fabs(from_half[k] - from_whole[k]) < 1e-5 * from_whole[k]);
    }
    sp_fft_free(plan);
    sp_array_free(f);
    sp_array_free(power);
    sp_array_free(map);
}

static void half_complex_shells_count_both_halves(void **state)
{
    (void)state;
    check_half_against_whole(10);
    check_half_against_whole(11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mean_of_a_radial_function_is_that_function),
        cmocka_unit_test(half_complex_shells_count_both_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
