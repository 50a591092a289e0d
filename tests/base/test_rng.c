/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/philox.h"
#include "base/rng.h"
#include "testing.h"

static void philox_gives_the_published_numbers(void **state)
{
    (void)state;
    sp_rng rng = sp_rng_stream(0, 0, 0);
    /* known answers of Random123 for philox4x32-10, key 0, counter 0; given out last first */
    const uint32_t known[4] = {0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u};

    for (int i = 3; i >= 0; i--) {
        assert_int_equal(sp_rng_u32(&rng), known[i]);
    }
}

static void streams_do_not_depend_on_each_other(void **state)
{
    (void)state;
    sp_rng a = sp_rng_stream(7, 1, 0), b = sp_rng_stream(7, 1, 1), again = sp_rng_stream(7, 1, 0);

    for (int i = 0; i < 100; i++) {
        const uint32_t u = sp_rng_u32(&a);

        assert_int_not_equal(u, sp_rng_u32(&b));
        assert_int_equal(u, sp_rng_u32(&again));
    }
}

/* Whatever the numbers before it are for. */
static void any_uniform_number_of_a_stream_is_found_by_its_place(void **state)
{
    (void)state;
    const uint64_t seed = 0x123456789abcdefu, index = 0xfedcba987654321u;
    sp_rng rng = sp_rng_stream(seed, 17, index);

    for (uint64_t k = 0; k < 11; k++) {
        assert_true(sp_philox_uniform_at(seed, 17, index, k) == sp_rng_uniform(&rng));
    }
}

static void check_poisson_moments(double mean)
{
    enum { DRAWS = 200000 };
    sp_rng rng = sp_rng_stream(11, 2, (uint64_t)mean);
    double sum = 0.0, square = 0.0;

    for (int i = 0; i < DRAWS; i++) {
        const double k = (double)sp_rng_poisson(&rng, mean);

        sum += k - mean;
        square += (k - mean) * (k - mean);
    }
    /* five deviations of the estimates: mean sqrt(m/n), variance about sqrt((2 m^2 + m)/n) */
    assert_true(fabs(sum / DRAWS) < 5.0 * sqrt(mean / DRAWS));
    assert_true(fabs(square / DRAWS - mean) < 5.0 * sqrt((2.0 * mean * mean + mean) / DRAWS));
}

static void poisson_has_mean_and_variance_of_its_rate(void **state)
{
    (void)state;
    const double means[] = {0.01, 0.7, 5.0, 11.9, 12.1, 50.0, 3000.0};

    for (size_t i = 0; i < sizeof means / sizeof *means; i++) {
        check_poisson_moments(means[i]);
    }
}

static void normal_has_unit_variance(void **state)
{
    (void)state;
    enum { DRAWS = 200000 };
    sp_rng rng = sp_rng_stream(3, 4, 5);
    double sum = 0.0, square = 0.0, fourth = 0.0;

    for (int i = 0; i < DRAWS; i++) {
        const double x = sp_rng_normal(&rng);

        sum += x;
        square += x * x;
        fourth += x * x * x * x;
    }
    assert_true(fabs(sum / DRAWS) < 0.012);
    assert_true(fabs(square / DRAWS - 1.0) < 0.016);
    assert_true(fabs(fourth / DRAWS - 3.0) < 0.12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_gives_the_published_numbers),
        cmocka_unit_test(streams_do_not_depend_on_each_other),
        cmocka_unit_test(any_uniform_number_of_a_stream_is_found_by_its_place),
        cmocka_unit_test(poisson_has_mean_and_variance_of_its_rate),
        cmocka_unit_test(normal_has_unit_variance),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
