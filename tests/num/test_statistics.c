/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdlib.h>

#include "base/rng.h"
#include "num/statistics.h"
#include "testing.h"

static void percentiles_are_interpolated(void **state)
{
    (void)state;
    double value[] = {4.0, 1.0, 3.0, 2.0};

    assert_true(fabs(sp_median(value, 4) - 2.5) < 1e-12);
    assert_true(fabs(sp_percentile(value, 4, 0.0) - 1.0) < 1e-12);
    assert_true(fabs(sp_percentile(value, 4, 1.0) - 4.0) < 1e-12);
    assert_true(fabs(sp_percentile(value, 4, 0.9) - 3.7) < 1e-12);
    assert_true(fabs(sp_percentile(value, 1, 0.9) - 1.0) < 1e-12);
    assert_true(sp_median(value, 0) == 0.0);
}

static int upwards(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Values in every order, many of them equal. */
static void percentiles_are_those_of_the_sorted_values(void **state)
{
    (void)state;
    enum { MOST = 200 };
    sp_rng rng = sp_rng_stream(1, 2, 3);

    for (int trial = 0; trial < 2000; trial++) {
        const ptrdiff_t count = 1 + sp_rng_u32(&rng) % MOST, kinds = 1 + sp_rng_u32(&rng) % MOST;
        const double fraction = sp_rng_uniform(&rng), position = fraction * (double)(count - 1);
        const ptrdiff_t below = (ptrdiff_t)position;
        double value[MOST], sorted[MOST];

        for (ptrdiff_t i = 0; i < count; i++) {
            const uint32_t any = sp_rng_u32(&rng) % (uint32_t)kinds;

            value[i] = sorted[i] = trial % 3 == 0 ? (double)i : trial % 3 == 1 ? -(double)i : (double)any;
        }
        qsort(sorted, (size_t)count, sizeof *sorted, upwards);
        const double above = sorted[below + 1 < count ? below + 1 : below];

        assert_true(sp_percentile(value, count, fraction) ==
                    sorted[below] + (position - (double)below) * (above - sorted[below]));
        qsort(value, (size_t)count, sizeof *value, upwards);
        assert_memory_equal(value, sorted, (size_t)count * sizeof *value);
    }
}

static void correlation_ignores_scale_and_offset(void **state)
{
    (void)state;
    const float a[] = {1.0f, 5.0f, -2.0f, 0.5f}, b[] = {12.0f, 20.0f, 6.0f, 11.0f}, c[] = {-1.0f, -5.0f, 2.0f, -0.5f};

    assert_true(fabs(sp_pearson(a, b, 4) - 1.0) < 1e-12);
    assert_true(fabs(sp_pearson(a, c, 4) + 1.0) < 1e-12);
}

static void correlation_with_a_constant_is_zero(void **state)
{
    (void)state;
    const float a[] = {1.0f, 5.0f, -2.0f}, b[] = {3.0f, 3.0f, 3.0f};

    assert_true(sp_pearson(a, b, 3) == 0.0);
    assert_true(sp_pearson(a, a, 1) == 0.0);
}

static void deviation_survives_a_large_mean(void **state)
{
    (void)state;
    const float a[] = {1e6f - 1.0f, 1e6f + 1.0f};
    double mean, deviation;

    sp_moments(a, 2, &mean, &deviation);
    assert_true(fabs(mean - 1e6) < 1e-9);
    assert_true(fabs(deviation - 1.0) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_interpolated),
        cmocka_unit_test(percentiles_are_those_of_the_sorted_values),
        cmocka_unit_test(correlation_ignores_scale_and_offset),
        cmocka_unit_test(correlation_with_a_constant_is_zero),
        cmocka_unit_test(deviation_survives_a_large_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
