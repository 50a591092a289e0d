/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "bench/specimen.h"
#include "testing.h"

enum { EDGE = 24 };

static void autocorrelation_is_even_and_its_transform_falls_from_one(void **state)
{
    (void)state;
    const double centre[3] = {0.0, 0.0, 0.0}, corner[3] = {0.0, 0.0, 0.5 * EDGE - 1.0};
    float *a = NULL;

    assert_int_equal(sp_specimen_autocorrelation(EDGE, &a), SP_OK);
    for (ptrdiff_t i = 0; i < EDGE * EDGE * EDGE; i++) {
        const ptrdiff_t x = i / (EDGE * EDGE), y = i / EDGE % EDGE, z = i % EDGE;
        const ptrdiff_t mirror =
            ((EDGE - x) % EDGE * EDGE + (EDGE - y) % EDGE) * EDGE + (EDGE - z) % EDGE; /* of r is -r */

        assert_true(fabsf(a[i] - a[mirror]) < 1e-6f * a[0]);
        assert_true((x != EDGE / 2 && y != EDGE / 2 && z != EDGE / 2) || a[i] == 0.0f);
    }
    assert_true(fabs(creal(sp_direct_transform(a, EDGE, centre)) - 1.0) < 1e-3);
    assert_true(fabs(creal(sp_direct_transform(a, EDGE, corner))) < 0.02);
    sp_array_free(a);
}

static void corners_of_slices_lie_at_half_a_cycle_per_voxel(void **state)
{
    (void)state;
    sp_slices slices;
    double k[3];

    assert_int_equal(sp_slices_init(EDGE, 3, &slices), SP_OK);
    for (ptrdiff_t slice = 0; slice < slices.count; slice++) {
        for (ptrdiff_t pixel = 0; pixel < SP_SLICE_PIXELS; pixel += SP_SLICE_EDGE * (SP_SLICE_EDGE - 1)) {
            sp_slices_point(&slices, slice, pixel, k);
            assert_true(fabs(sqrt(k[0] * k[0] + k[1] * k[1] + k[2] * k[2]) - 0.5 * EDGE) < 1e-4);
        }
    }
    sp_slices_clear(&slices);
}

/* <A v, w> = <v, A* w>: both sums are written down for themselves. */
static void direct_sums_are_adjoint(void **state)
{
    (void)state;
    enum { VOXELS = 5 };
    const ptrdiff_t place[VOXELS][3] = {{0, 0, 0}, {1, -2, 3}, {-4, 5, 0}, {11, 0, -11}, {-3, -3, 7}};
    sp_rng rng = sp_rng_stream(1, 1, 0);
    sp_slices slices;
    float *volume = NULL, *weight = NULL;
    double *value = NULL, sum[VOXELS], forward = 0.0, backward = 0.0;

    assert_int_equal(sp_slices_init(EDGE, 2, &slices), SP_OK);
    const ptrdiff_t points = slices.count * SP_SLICE_PIXELS;

    assert_int_equal(SP_ARRAY(volume, EDGE * EDGE * EDGE), SP_OK);
    assert_int_equal(SP_ARRAY(weight, points), SP_OK);
    assert_int_equal(SP_ARRAY(value, points), SP_OK);
    for (ptrdiff_t j = 0; j < points; j++) {
        weight[j] = (float)sp_rng_normal(&rng);
    }
    sp_slices_direct_type1(&slices, weight, VOXELS, place, sum);
    for (int i = 0; i < VOXELS; i++) {
        const double height = sp_rng_normal(&rng);
        const ptrdiff_t *r = place[i];

        volume[((r[0] + EDGE) % EDGE * EDGE + (r[1] + EDGE) % EDGE) * EDGE + (r[2] + EDGE) % EDGE] = (float)height;
        backward += (double)(float)height * sum[i];
    }
    sp_slices_direct_type2(&slices, volume, 1, points, value);
    for (ptrdiff_t j = 0; j < points; j++) {
        forward += weight[j] * value[j];
    }
    assert_true(fabs(forward - backward) < 1e-9 * fabs(forward) + 1e-9);
    sp_array_free(volume);
    sp_array_free(weight);
    sp_array_free(value);
    sp_slices_clear(&slices);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(autocorrelation_is_even_and_its_transform_falls_from_one),
        cmocka_unit_test(corners_of_slices_lie_at_half_a_cycle_per_voxel),
        cmocka_unit_test(direct_sums_are_adjoint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
