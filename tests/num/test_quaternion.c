/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/quaternion.h"

#include <math.h>

#include "testing.h"

enum { TRIALS = 200 };

static double distance(const sp_mat3 *a, const sp_mat3 *b)
{
    double most = 0.0;

    for (int i = 0; i < 9; i++) {
        most = fmax(most, fabs(a->m[i / 3][i % 3] - b->m[i / 3][i % 3]));
    }
    return most;
}

static sp_mat3 product(const sp_mat3 *a, const sp_mat3 *b)
{
    sp_mat3 c = {{{0.0}}};

    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            for (int k = 0; k < 3; k++) {
                c.m[i][j] += a->m[i][k] * b->m[k][j];
            }
        }
    }
    return c;
}

static void the_matrix_of_a_product_is_the_product_of_the_matrices(void **state)
{
    (void)state;
    sp_rng rng = sp_rng_stream(1, 1, 0);

    for (int i = 0; i < TRIALS; i++) {
        const sp_quat a = sp_quat_random(&rng), b = sp_quat_random(&rng);
        const sp_mat3 ma = sp_quat_to_matrix(a), mb = sp_quat_to_matrix(b), mab = product(&ma, &mb);
        const sp_mat3 got = sp_quat_to_matrix(sp_quat_multiply(a, b));

        assert_true(distance(&got, &mab) < 1e-14);
    }
}

static void products_are_associative_and_the_conjugate_is_the_inverse(void **state)
{
    (void)state;
    sp_rng rng = sp_rng_stream(2, 1, 0);

    for (int i = 0; i < TRIALS; i++) {
        const sp_quat a = sp_quat_random(&rng), b = sp_quat_random(&rng), c = sp_quat_random(&rng);
        const sp_quat left = sp_quat_multiply(sp_quat_multiply(a, b), c);
        const sp_quat right = sp_quat_multiply(a, sp_quat_multiply(b, c));
        const sp_quat one = sp_quat_multiply(a, sp_quat_conjugate(a));

        assert_true(fabs(left.w - right.w) + fabs(left.x - right.x) + fabs(left.y - right.y) + fabs(left.z - right.z) <
                    1e-14);
        assert_true(fabs(one.w - 1.0) + fabs(one.x) + fabs(one.y) + fabs(one.z) < 1e-14);
    }
}

static void a_matrix_turns_about_its_axis_by_the_right_hand_rule(void **state)
{
    (void)state;
    const double axis[3] = {0.0, 0.0, 2.0}, x[3] = {1.0, 0.0, 0.0};
    const sp_mat3 quarter = sp_quat_to_matrix(sp_quat_from_axis_angle(axis, 0.5 * M_PI));
    double turned[3], back[3];

    sp_mat3_apply(&quarter, x, turned);
    assert_true(fabs(turned[0]) < 1e-15 && fabs(turned[1] - 1.0) < 1e-15 && fabs(turned[2]) < 1e-15);
    sp_mat3_apply_transpose(&quarter, turned, back);
    assert_true(fabs(back[0] - 1.0) < 1e-15 && fabs(back[1]) < 1e-15 && fabs(back[2]) < 1e-15);
}

static void check_round_trip(sp_quat q)
{
    const sp_mat3 matrix = sp_quat_to_matrix(q);
    const sp_quat back = sp_quat_from_matrix(&matrix);

    assert_true(back.w >= 0.0);
    assert_true(sp_quat_angle(q, back) < 1e-14);
}

static void quaternions_survive_the_matrix_even_at_half_turns(void **state)
{
    (void)state;
    sp_rng rng = sp_rng_stream(3, 1, 0);

    for (int i = 0; i < TRIALS; i++) {
        const sp_quat q = sp_quat_random(&rng);

        check_round_trip(q);
        check_round_trip(sp_quat_normalize((sp_quat){1e-9, q.x, q.y, q.z})); /* w too small to divide by */
    }
    check_round_trip((sp_quat){0.0, 1.0, 0.0, 0.0});
    check_round_trip((sp_quat){0.0, 0.0, 1.0, 0.0});
    check_round_trip((sp_quat){0.0, 0.0, 0.0, 1.0});
    check_round_trip(sp_quat_identity());
}

static void angles_are_exact_at_both_ends_and_blind_to_the_sign(void **state)
{
    (void)state;
    const double axis[3] = {1.0, -2.0, 0.5}, angles[] = {0.0, 1e-9, 1e-3, 1.0, 3.0, M_PI - 1e-9, M_PI};
    sp_rng rng = sp_rng_stream(4, 1, 0);

    for (size_t i = 0; i < sizeof angles / sizeof *angles; i++) {
        const sp_quat a = sp_quat_random(&rng);
        const sp_quat b = sp_quat_multiply(a, sp_quat_from_axis_angle(axis, angles[i]));
        const sp_quat minus = {-b.w, -b.x, -b.y, -b.z};

        assert_true(fabs(sp_quat_angle(a, b) - angles[i]) < 1e-14);
        assert_true(fabs(sp_quat_angle(a, minus) - angles[i]) < 1e-14);
        assert_true(fabs(sp_quat_angle(b, a) - angles[i]) < 1e-14);
    }
}

/* Moments of the uniform distribution on the sphere in four dimensions: <w^2> = 1/4, <|w|> = 4/(3 pi),
 * <w^2 x^2> = 1/24; and the mean rotation angle pi/2 + 2/pi. */
static void random_rotations_are_uniform(void **state)
{
    (void)state;
    enum { DRAWS = 100000 };
    sp_rng rng = sp_rng_stream(5, 1, 0);
    double sum[4] = {0.0}, absolute = 0.0, square[4] = {0.0}, mixed = 0.0, angle = 0.0;

    for (int i = 0; i < DRAWS; i++) {
        const sp_quat q = sp_quat_random(&rng);
        const double v[4] = {q.w, q.x, q.y, q.z};

        assert_true(fabs(q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z - 1.0) < 1e-14);
        for (int k = 0; k < 4; k++) {
            sum[k] += v[k] / DRAWS;
            square[k] += v[k] * v[k] / DRAWS;
        }
        absolute += fabs(q.w) / DRAWS;
        mixed += q.w * q.w * q.x * q.x / DRAWS;
        angle += sp_quat_angle(q, sp_quat_identity()) / DRAWS;
    }
    for (int k = 0; k < 4; k++) { /* five deviations each */
        assert_true(fabs(sum[k]) < 5.0 * 0.5 / sqrt(DRAWS));
        assert_true(fabs(square[k] - 0.25) < 5.0 * 0.25 / sqrt(DRAWS));
    }
    assert_true(fabs(absolute - 4.0 / (3.0 * M_PI)) < 5.0 * 0.265 / sqrt(DRAWS));
    assert_true(fabs(mixed - 1.0 / 24.0) < 5.0 * 0.06 / sqrt(DRAWS));
    assert_true(fabs(angle - (0.5 * M_PI + 2.0 / M_PI)) < 5.0 * 0.65 / sqrt(DRAWS));
}

static void small_rotations_have_the_deviation_asked_for(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    const double sigma = 0.02;
    sp_rng rng = sp_rng_stream(6, 1, 0);
    double square = 0.0, along = 0.0;

    for (int i = 0; i < DRAWS; i++) {
        const sp_quat q = sp_quat_random_small(&rng, sigma);
        const double angle = sp_quat_angle(q, sp_quat_identity());

        square += angle * angle / DRAWS;
        along += 4.0 * q.y * q.y / DRAWS;
    }
    assert_true(fabs(square / (3.0 * sigma * sigma) - 1.0) < 0.03); /* five deviations: 5 sqrt(2/3/n) */
    assert_true(fabs(along / (sigma * sigma) - 1.0) < 0.05);
}

static void the_mean_of_perturbed_rotations_is_the_rotation(void **state)
{
    (void)state;
    enum { COUNT = 4000 };
    static sp_quat q[COUNT];
    const double sigma = 0.1;
    sp_rng rng = sp_rng_stream(7, 1, 0);
    const sp_quat centre = sp_quat_random(&rng);

    for (int i = 0; i < COUNT; i++) {
        const sp_quat turned = sp_quat_multiply(centre, sp_quat_random_small(&rng, sigma));

        q[i] = i % 2 ? turned : (sp_quat){-turned.w, -turned.x, -turned.y, -turned.z}; /* the sign means nothing */
    }
    assert_true(sp_quat_angle(sp_quat_mean(q, NULL, COUNT), centre) < 5.0 * sigma * sqrt(3.0 / COUNT));
}

static void weights_draw_the_mean(void **state)
{
    (void)state;
    const double axis[3] = {0.0, 1.0, 0.0}, weight[2] = {3.0, 1.0}, none[2] = {1.0, 0.0};
    const sp_quat q[2] = {sp_quat_identity(), sp_quat_from_axis_angle(axis, 0.02)};

    /* for rotations this close it is the mean of the angles */
    assert_true(fabs(sp_quat_angle(sp_quat_mean(q, NULL, 2), q[0]) - 0.01) < 1e-12);
    assert_true(fabs(sp_quat_angle(sp_quat_mean(q, weight, 2), q[0]) - 0.005) < 1e-6);
    assert_true(sp_quat_angle(sp_quat_mean(q, none, 2), q[0]) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_matrix_of_a_product_is_the_product_of_the_matrices),
        cmocka_unit_test(products_are_associative_and_the_conjugate_is_the_inverse),
        cmocka_unit_test(a_matrix_turns_about_its_axis_by_the_right_hand_rule),
        cmocka_unit_test(quaternions_survive_the_matrix_even_at_half_turns),
        cmocka_unit_test(angles_are_exact_at_both_ends_and_blind_to_the_sign),
        cmocka_unit_test(random_rotations_are_uniform),
        cmocka_unit_test(small_rotations_have_the_deviation_asked_for),
        cmocka_unit_test(the_mean_of_perturbed_rotations_is_the_rotation),
        cmocka_unit_test(weights_draw_the_mean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
