/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/sums.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "testing.h"

/* Numbers of both signs over twelve decades: a float sum of them has few digits left. */
static float *wild_numbers(ptrdiff_t count, uint64_t index)
{
    sp_rng rng = sp_rng_stream(3, 1, index);
    float *x = NULL;

    assert_int_equal(SP_ARRAY(x, count), SP_OK);
    for (ptrdiff_t i = 0; i < count; i++) {
        x[i] = (float)(sp_rng_normal(&rng) * pow(10.0, 6.0 - 12.0 * sp_rng_uniform(&rng)));
    }
    return x;
}

static void sums_have_the_digits_of_double(void **state)
{
    (void)state;
    static const ptrdiff_t counts[] = {1, 7, 8, 9, 1000, 100003};
    float *w = wild_numbers(100003, 0), *x = wild_numbers(100003, 1), *y = wild_numbers(100003, 2);

    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        long double sum[3] = {0.0L}, size[3] = {0.0L};

        for (ptrdiff_t i = 0; i < counts[c]; i++) {
            const long double term[3] = {x[i], (long double)x[i] * y[i], (long double)w[i] * x[i] * y[i]};

            for (int k = 0; k < 3; k++) {
                sum[k] += term[k];
                size[k] += fabsl(term[k]);
            }
        }
        assert_true(fabsl(sp_sum(x, counts[c]) - sum[0]) < 1e-14L * size[0]);
        assert_true(fabsl(sp_dot(x, y, counts[c]) - sum[1]) < 1e-14L * size[1]);
        assert_true(fabsl(sp_dot3(w, x, y, counts[c]) - sum[2]) < 1e-14L * size[2]);
    }
    sp_array_free(w);
    sp_array_free(x);
    sp_array_free(y);
}

/* Powers of two: any element left out, or taken twice, shows. */
static void every_element_counts_once_whatever_the_length(void **state)
{
    (void)state;
    enum { MOST = 40 };
    float x[MOST], one[MOST], two[MOST];

    for (int i = 0; i < MOST; i++) {
        x[i] = ldexpf(1.0f, i);
        one[i] = 1.0f;
        two[i] = 2.0f;
    }
    for (int count = 0; count <= MOST; count++) {
        const double want = ldexp(1.0, count) - 1.0;

        assert_true(sp_sum(x, count) == want);
        assert_true(sp_dot(x, two, count) == 2.0 * want);
        assert_true(sp_dot(one, x, count) == want);
        assert_true(sp_dot3(two, x, two, count) == 4.0 * want);
        assert_true(sp_dot3(one, two, x, count) == 2.0 * want);
    }
}

static void small_terms_survive_beside_large_ones(void **state)
{
    (void)state;
    const float x[4] = {1e8f, 1.0f, -1e8f, 1.0f}, one[4] = {1.0f, 1.0f, 1.0f, 1.0f};

    assert_true(sp_sum(x, 4) == 2.0);
    assert_true(sp_dot(x, one, 4) == 2.0);
    assert_true(sp_dot3(one, x, one, 4) == 2.0);
}

static double relative_error(double got, double want)
{
    return fabs(got - want) / fabs(want);
}

static void the_logarithm_errs_by_less_than_3e_7(void **state)
{
    (void)state;
    double worst = 0.0;

    for (int i = -300000; i <= 300000; i++) { /* 1e-30 .. 1e30 */
        const float x = (float)pow(10.0, 1e-4 * i);

        worst = i == 0 ? worst : fmax(worst, relative_error(sp_fast_log(x), log(x)));
    }
    for (int i = 1; i <= 100000; i++) { /* close to 1 from both sides, where the logarithm is small */
        const float above = 1.0f + (float)i * 0x1p-23f, below = 1.0f - (float)i * 0x1p-24f;

        worst = fmax(worst, relative_error(sp_fast_log(above), log(above)));
        worst = fmax(worst, relative_error(sp_fast_log(below), log(below)));
    }
    assert_true(worst < 3e-7);
    assert_true(sp_fast_log(1.0f) == 0.0f);
}

static void the_logarithm_of_1_plus_x_keeps_its_digits_for_small_x(void **state)
{
    (void)state;
    double worst = 0.0;

    for (int i = -300000; i <= 360000; i++) {
        const float x = (float)pow(10.0, 1e-4 * i);

        worst = fmax(worst, relative_error(sp_fast_log1p(x), log1p(x)));
    }
    assert_true(worst < 5e-7);
    assert_true(sp_fast_log1p(0.0f) == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_have_the_digits_of_double),
        cmocka_unit_test(every_element_counts_once_whatever_the_length),
        cmocka_unit_test(small_terms_survive_beside_large_ones),
        cmocka_unit_test(the_logarithm_errs_by_less_than_3e_7),
        cmocka_unit_test(the_logarithm_of_1_plus_x_keeps_its_digits_for_small_x),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
