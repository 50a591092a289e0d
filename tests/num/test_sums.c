/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/sums.h"

#include <math.h>

#include "base/rng.h"
#include "testing.h"

enum { MOST = 100 };

static void sums_equal_the_plain_ones_for_every_length(void **state)
{
    (void)state;
    sp_rng rng = sp_rng_stream(1, 1, 1);
    float w[MOST], x[MOST], y[MOST];
    double sum = 0.0, dot = 0.0, dot3 = 0.0;

    for (int n = 0; n < MOST; n++) {
        assert_true(fabs(sp_sum(x, n) - sum) < 1e-12);
        assert_true(fabs(sp_dot(x, y, n) - dot) < 1e-12);
        assert_true(fabs(sp_dot3(w, x, y, n) - dot3) < 1e-12);
        w[n] = (float)sp_rng_normal(&rng);
        x[n] = (float)sp_rng_normal(&rng);
        y[n] = (float)sp_rng_normal(&rng);
        sum += (double)x[n];
        dot += (double)x[n] * (double)y[n];
        dot3 += (double)w[n] * (double)x[n] * (double)y[n];
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

static void the_fast_logarithm_is_as_exact_as_it_says(void **state)
{
    (void)state;
    double most = 0.0;

    for (double exponent = -80.0; exponent < 80.0; exponent += 0.0037) {
        const float x = (float)exp(exponent);

        most = fmax(most, fabs(sp_fast_log(x) / log((double)x) - 1.0));
    }
    assert_true(most < 3e-7);
    for (float x = 0.7f; x < 1.45f; x += 1.3e-4f) { /* around 1, where the result is small */
        assert_true(fabs((double)sp_fast_log(x) - log((double)x)) <= 3e-7 * fabs(log((double)x)));
    }
    assert_true(sp_fast_log(1.0f) == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_equal_the_plain_ones_for_every_length),
        cmocka_unit_test(small_terms_survive_beside_large_ones),
        cmocka_unit_test(the_fast_logarithm_is_as_exact_as_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
