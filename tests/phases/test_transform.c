/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "phases/transform.h"
#include "testing.h"

static const double VOXEL = 3e-10; /* [m] */

/* Random numbers in the inner half of a box of edge n. */
static float *random_map(ptrdiff_t n, uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 1, 0);
    float *map = NULL;

    assert_int_equal(SP_ARRAY(map, n * n * n), SP_OK);
    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        const ptrdiff_t x = i / (n * n) - n / 2, y = i / n % n - n / 2, z = i % n - n / 2;
        const float value = (float)sp_rng_normal(&rng);

        map[i] = x * x + y * y + z * z < n * n / 16 ? value : 0.0f;
    }
    return map;
}

/* F(s) and its gradient by the definition. */
static double complex direct(const sp_volume *map, const ptrdiff_t centre[3], const double s[3],
                             double complex gradient[3])
{
    const ptrdiff_t n = map->n;
    double complex sum = 0.0;

    gradient[0] = gradient[1] = gradient[2] = 0.0;
    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        const ptrdiff_t index[3] = {i / (n * n), i / n % n, i % n};
        double r[3], turns = 0.0;

        for (int axis = 0; axis < 3; axis++) {
            r[axis] = map->voxel * (double)(index[axis] - n / 2 - centre[axis]);
            turns += s[axis] * r[axis];
        }
        const double complex term = (double)map->value[i] * cexp(-2.0 * M_PI * I * turns);

        sum += term;
        for (int axis = 0; axis < 3; axis++) {
            gradient[axis] -= 2.0 * M_PI * I * r[axis] * term;
        }
    }
    return sum;
}

/* At random frequencies of the ball, on both sides of z = 0. Errors against the root mean squares of F and gradient. */
static void check_edge(ptrdiff_t n)
{
    enum { POINTS = 60 };
    const ptrdiff_t centre[3] = {1, 0, -2};
    const double s_max = 0.4 / VOXEL;
    sp_rng rng = sp_rng_stream(5, 2, (uint64_t)n);
    float *value = random_map(n, 4);
    const sp_volume map = {.n = n, .voxel = VOXEL, .value = value};
    double error = 0.0, power = 0.0, slope_error = 0.0, slope_power = 0.0;
    sp_transform *transform = NULL;

    assert_int_equal(sp_transform_new(&map, centre, s_max, &transform), SP_OK);
    for (int i = 0; i < POINTS; i++) {
        double s[3];
        double complex slope[3];
        float complex gradient[3];

        for (int axis = 0; axis < 3; axis++) {
            s[axis] = 0.57 * s_max * (2.0 * sp_rng_uniform(&rng) - 1.0);
        }
        const double complex exact = direct(&map, centre, s, slope);
        const float complex found = sp_transform_slope(transform, s, gradient);

        assert_true(cabs((double complex)(found - sp_transform_at(transform, s))) <= 1e-6 * cabs(exact));
        error += pow(cabs((double complex)found - exact), 2.0);
        power += pow(cabs(exact), 2.0);
        for (int axis = 0; axis < 3; axis++) {
            slope_error += pow(cabs((double complex)gradient[axis] - slope[axis]), 2.0);
            slope_power += pow(cabs(slope[axis]), 2.0);
        }
    }
    assert_true(sqrt(error / power) < 3e-5);
    assert_true(sqrt(slope_error / slope_power) < 1e-2);
    sp_transform_free(transform);
    sp_array_free(value);
}

static void values_and_gradients_are_those_of_the_direct_sum(void **state)
{
    (void)state;
    check_edge(16);
    check_edge(15);
}

static void beyond_the_band_there_is_nothing(void **state)
{
    (void)state;
    const ptrdiff_t centre[3] = {0, 0, 0};
    const double s[3] = {0.0, -0.31 / VOXEL, 0.0};
    float *value = random_map(16, 7);
    const sp_volume map = {.n = 16, .voxel = VOXEL, .value = value};
    sp_transform *transform = NULL;
    float complex gradient[3] = {1.0f, 1.0f, 1.0f};

    assert_int_equal(sp_transform_new(&map, centre, 0.3 / VOXEL, &transform), SP_OK);
    assert_true(sp_transform_at(transform, s) == 0.0f);
    assert_true(sp_transform_slope(transform, s, gradient) == 0.0f);
    assert_true(gradient[0] == 0.0f && gradient[1] == 0.0f && gradient[2] == 0.0f);
    sp_transform_free(transform);
    sp_array_free(value);
}

static void edges_out_of_range_are_refused_by_name(void **state)
{
    (void)state;
    const ptrdiff_t centre[3] = {0, 0, 0};
    const float value[27] = {0.0f};
    const sp_volume map = {.n = 3, .voxel = VOXEL, .value = value};
    sp_transform *transform = NULL;

    assert_int_equal(sp_transform_new(&map, centre, 1e12, &transform), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "map edge 3 is not in 4..512"));
    assert_null(transform);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_gradients_are_those_of_the_direct_sum),
        cmocka_unit_test(beyond_the_band_there_is_nothing),
        cmocka_unit_test(edges_out_of_range_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
