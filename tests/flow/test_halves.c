/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/halves.h"

#include <math.h>
#include <string.h>

#include "base/rng.h"
#include "testing.h"

enum { IMAGES = 1001 };

static void of_every_two_images_one_goes_to_each_half(void **state)
{
    (void)state;
    int half[IMAGES], first = 0;

    sp_halves_part(3, IMAGES, half);
    for (int i = 0; i + 1 < IMAGES; i += 2) {
        assert_int_equal(half[i] + half[i + 1], 1);
        first += half[i] == 0;
    }
    assert_in_range(first, 200, 300); /* of 500 coins: four deviations */
}

static void the_seed_chooses_the_halves(void **state)
{
    (void)state;
    int one[IMAGES], same[IMAGES], other[IMAGES];

    sp_halves_part(3, IMAGES, one);
    sp_halves_part(3, IMAGES, same);
    sp_halves_part(4, IMAGES, other);
    assert_memory_equal(one, same, sizeof one);
    assert_memory_not_equal(one, other, sizeof one);
}

static void conformations_that_share_most_images_are_paired(void **state)
{
    (void)state;
    const int32_t whole[10] = {0, 0, 0, 0, 0, 0, 1, 1, 1, 2}, half[10] = {2, 2, 2, 2, 2, 0, 0, 0, 0, 1};
    ptrdiff_t partner[3];
    double same, chance;

    assert_int_equal(sp_halves_pair(10, half, whole, 3, partner, &same, &chance), SP_OK);
    assert_int_equal(partner[0], 2);
    assert_int_equal(partner[1], 0);
    assert_int_equal(partner[2], 1);
    assert_true(same == 9.0);
    assert_true(fabs(chance - (6 * 5 + 3 * 4 + 1 * 1) / 10.0) < 1e-12);
}

static void labels_drawn_at_random_share_what_chance_says(void **state)
{
    (void)state;
    enum { MANY = 20000 };
    int32_t whole[MANY], half[MANY];
    sp_rng rng = sp_rng_stream(1, 2, 3);
    ptrdiff_t partner[2];
    double same, chance;

    for (int i = 0; i < MANY; i++) {
        whole[i] = sp_rng_u32(&rng) % 5 == 0;
        half[i] = sp_rng_u32(&rng) % 5 != 0;
    }
    assert_int_equal(sp_halves_pair(MANY, half, whole, 2, partner, &same, &chance), SP_OK);
    assert_int_equal(partner[0], 1);
    assert_true(fabs(chance / MANY - 0.68) < 0.01); /* 0.8^2 + 0.2^2 */
    assert_true(fabs(same - chance) < 0.01 * MANY);
}

static void conformations_without_images_are_paired_with_what_is_left(void **state)
{
    (void)state;
    const int32_t whole[3] = {1, 1, 1}, half[3] = {0, 0, 0};
    ptrdiff_t partner[2];
    double same, chance;

    assert_int_equal(sp_halves_pair(3, half, whole, 2, partner, &same, &chance), SP_OK);
    assert_int_equal(partner[1], 0);
    assert_int_equal(partner[0], 1);
    assert_true(same == 3.0 && chance == 3.0);
    assert_int_equal(sp_halves_pair(0, half, whole, 2, partner, &same, &chance), SP_OK);
    assert_true(same == 0.0 && chance == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_every_two_images_one_goes_to_each_half),
        cmocka_unit_test(the_seed_chooses_the_halves),
        cmocka_unit_test(conformations_that_share_most_images_are_paired),
        cmocka_unit_test(labels_drawn_at_random_share_what_chance_says),
        cmocka_unit_test(conformations_without_images_are_paired_with_what_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
