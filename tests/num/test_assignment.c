/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/rng.h"
#include "num/assignment.h"
#include "testing.h"

enum { MOST = 6, TRIALS = 300 };

/* The largest sum, by trying every permutation of the columns that are left. */
static double best_sum(ptrdiff_t n, const double *gain, ptrdiff_t row, unsigned taken)
{
    double best = row == n ? 0.0 : -INFINITY;

    for (ptrdiff_t j = 0; j < n && row < n; j++) {
        if (!(taken & 1u << j)) {
            best = fmax(best, gain[row * n + j] + best_sum(n, gain, row + 1, taken | 1u << j));
        }
    }
    return best;
}

static void no_permutation_is_better(void **state)
{
    (void)state;
    sp_rng rng = sp_rng_stream(3, 1, 4);

    for (int trial = 0; trial < TRIALS; trial++) {
        const ptrdiff_t n = 1 + trial % MOST;
        double gain[MOST * MOST], sum = 0.0;
        ptrdiff_t column[MOST];
        unsigned taken = 0;

        for (ptrdiff_t i = 0; i < n * n; i++) { /* many ties, and numbers below 0 */
            gain[i] = trial % 2 ? floor(5.0 * sp_rng_uniform(&rng)) - 2.0 : 100.0 * sp_rng_uniform(&rng);
        }
        assert_int_equal(sp_assign(n, gain, column), SP_OK);
        for (ptrdiff_t i = 0; i < n; i++) {
            assert_true(column[i] >= 0 && column[i] < n);
            taken |= 1u << column[i];
            sum += gain[i * n + column[i]];
        }
        assert_int_equal(taken, (1u << n) - 1u);
        assert_true(fabs(sum - best_sum(n, gain, 0, 0)) < 1e-9);
    }
}

static void the_best_of_all_may_have_to_stand_back(void **state)
{
    (void)state;
    const double gain[4] = {10.0, 9.0, 9.0, 1.0}; /* 9 + 9 is more than 10 + 1 */
    ptrdiff_t column[2];

    assert_int_equal(sp_assign(2, gain, column), SP_OK);
    assert_int_equal(column[0], 1);
    assert_int_equal(column[1], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_permutation_is_better),
        cmocka_unit_test(the_best_of_all_may_have_to_stand_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
