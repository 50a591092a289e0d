/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "num/rotation_grid.h"
#include "testing.h"

static void count_is_about_what_was_asked_for(void **state)
{
    (void)state;
    const ptrdiff_t counts[] = {8, 100, 1000, 3000, 20000};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        sp_rotation_grid grid;

        assert_int_equal(sp_rotation_grid_init(counts[i], &grid), SP_OK);
        assert_int_equal(grid.count, grid.directions * grid.angles);
        assert_true(labs(grid.count - counts[i]) <= counts[i] / 10 + 4);
        sp_rotation_grid_clear(&grid);
    }
}

/* A perfect cubic packing of n rotations has cells of volume 8 pi^2 / n (in rotation vectors near the identity): its
 * covering radius is 0.87 edges. The grid must stay within 1.5 times that; SpiniFEL's grid of 3000 has 17.3 deg. */
static void covering_radius_shrinks_with_the_cube_root(void **state)
{
    (void)state;
    const ptrdiff_t counts[] = {400, 3000};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        sp_rotation_grid grid;

        assert_int_equal(sp_rotation_grid_init(counts[i], &grid), SP_OK);
        assert_int_equal(sp_rotation_grid_measure(&grid, 4000), SP_OK);
        const double cell = cbrt(M_PI * M_PI * 8.0 / (double)grid.count);

        assert_true(grid.covering < 1.5 * 0.87 * cell);
        assert_true(grid.typical < grid.covering && grid.typical > 0.3 * cell);
        sp_rotation_grid_clear(&grid);
    }
}

static void grid_turns_about_the_beam_keep_the_direction(void **state)
{
    (void)state;
    sp_rotation_grid grid;

    assert_int_equal(sp_rotation_grid_init(1000, &grid), SP_OK);
    for (ptrdiff_t d = 0; d < grid.directions; d += 7) {
        const double z[3] = {0.0, 0.0, 1.0};
        double first[3], other[3];
        const sp_mat3 a = sp_quat_to_matrix(grid.q[d * grid.angles]);
        const sp_mat3 b = sp_quat_to_matrix(grid.q[d * grid.angles + grid.angles / 3]);

        sp_mat3_apply_transpose(&a, z, first); /* the beam as the molecule sees it */
        sp_mat3_apply_transpose(&b, z, other);
        for (int i = 0; i < 3; i++) {
            assert_true(fabs(first[i] - other[i]) < 1e-12);
        }
    }
    sp_rotation_grid_clear(&grid);
}

static void impossible_counts_are_refused(void **state)
{
    (void)state;
    sp_rotation_grid grid;

    assert_int_equal(sp_rotation_grid_init(3, &grid), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "3 rotations"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(count_is_about_what_was_asked_for),
        cmocka_unit_test(covering_radius_shrinks_with_the_cube_root),
        cmocka_unit_test(grid_turns_about_the_beam_keep_the_direction),
        cmocka_unit_test(impossible_counts_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
