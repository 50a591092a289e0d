/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "num/stencil.h"
#include "testing.h"

/* sum over the cells of phi(cell - u) cos(2 pi f (cell - u)) is the transform at f plus its aliases at f + 1, f + 2 ..,
 * which are what the kernel is made to suppress. */
static void check_sums(int width, double tolerance)
{
    sp_stencil stencil;
    float weight[SP_STENCIL_WIDTH];

    sp_stencil_init(width, &stencil);
    for (double u = -3.0; u < 3.0; u += 0.137) {
        const ptrdiff_t first = sp_stencil_weights(&stencil, u, weight);

        assert_true((double)first >= u - 0.5 * width && (double)(first + width - 1) <= u + 0.5 * width);
        for (double f = 0.0; f <= 0.25; f += 0.05) {
            const double exact = sp_stencil_transform(&stencil, f);
            double sum = 0.0;

            for (int i = 0; i < width; i++) {
                sum += (double)weight[i] * cos(2.0 * M_PI * f * ((double)(first + i) - u));
            }
            assert_true(fabs(sum / exact - 1.0) < tolerance);
        }
    }
}

static void sums_over_cells_equal_the_transform(void **state)
{
    (void)state;
    check_sums(4, 4e-3);
    check_sums(6, 5e-5);
}

static void whole_coordinates_keep_all_weights(void **state)
{
    (void)state;
    sp_stencil stencil;
    float weight[SP_STENCIL_WIDTH];

    sp_stencil_init(4, &stencil);
    assert_int_equal(sp_stencil_weights(&stencil, 7.0, weight), 5);
    assert_true(fabs((double)weight[2] - 1.0) < 1e-6); /* the cell at the point itself */
    assert_true(fabs((double)weight[1] - (double)weight[3]) < 1e-6);
}

/* Against differences over a step of the table. The largest slope is near 0.9 at width 4, 0.7 at 6. */
static void slopes_are_the_derivatives_of_the_weights(void **state)
{
    (void)state;
    const double h = 0.5 / SP_STENCIL_STEPS;

    for (int width = 4; width <= 6; width += 2) {
        sp_stencil stencil;
        float weight[SP_STENCIL_WIDTH], same[SP_STENCIL_WIDTH], slope[SP_STENCIL_WIDTH];

        sp_stencil_init(width, &stencil);
        for (double u = -2.9; u < 3.0; u += 0.1371) {
            const ptrdiff_t first = sp_stencil_slopes(&stencil, width, u, weight, slope);
            float left[SP_STENCIL_WIDTH], right[SP_STENCIL_WIDTH];

            assert_int_equal(sp_stencil_weights(&stencil, u, same), first);
            assert_memory_equal(weight, same, (size_t)width * sizeof *weight);
            assert_int_equal(sp_stencil_weights(&stencil, u - h, left), first);
            assert_int_equal(sp_stencil_weights(&stencil, u + h, right), first);
            for (int i = 0; i < width; i++) {
                assert_true(fabs(((double)right[i] - (double)left[i]) / (2.0 * h) - (double)slope[i]) < 0.01);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_over_cells_equal_the_transform),
        cmocka_unit_test(whole_coordinates_keep_all_weights),
        cmocka_unit_test(slopes_are_the_derivatives_of_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
