/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "num/point_group.h"
#include "testing.h"

static void groups_have_their_order(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int order;
    } known[] = {{"C1", 1}, {"c7", 7}, {"D2", 4}, {"D7", 14},    {"T", 12},
                 {"O", 24}, {"I", 60}, {"i", 60}, {"C120", 120}, {"D60", 120}};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        sp_point_group group;

        assert_int_equal(sp_point_group_init(known[i].name, &group), SP_OK);
        assert_int_equal(group.order, known[i].order);
    }
}

static void products_stay_in_the_group(void **state)
{
    (void)state;
    static const char *const names[] = {"C5", "D7", "T", "O", "I"};

    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        sp_point_group group;

        assert_int_equal(sp_point_group_init(names[n], &group), SP_OK);
        for (int i = 0; i < group.order * group.order; i++) {
            const sp_quat product = sp_quat_multiply(group.element[i / group.order], group.element[i % group.order]);
            double nearest = 10.0;

            for (int j = 0; j < group.order; j++) {
                nearest = fmin(nearest, sp_quat_angle(product, group.element[j]));
            }
            assert_true(nearest < 1e-6);
        }
    }
}

static void other_names_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"", "C", "C0", "D61", "C121", "D7x", "X3", "T2", "C-3", "C 3", "7"};
    sp_point_group group = {.order = -5};

    for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
        assert_int_equal(sp_point_group_init(names[n], &group), SP_ERR_USAGE);
        assert_int_equal(group.order, -5);
    }
    assert_int_equal(sp_point_group_init("X3", &group), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "X3"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(groups_have_their_order),
        cmocka_unit_test(products_stay_in_the_group),
        cmocka_unit_test(other_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
