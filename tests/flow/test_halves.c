/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/halves.h"

#include <string.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(of_every_two_images_one_goes_to_each_half),
        cmocka_unit_test(the_seed_chooses_the_halves),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
