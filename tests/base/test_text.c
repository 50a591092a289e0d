/* SPDX-License-Identifier: BSD-3-Clause */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/text.h"
#include "testing.h"

static void appending_keeps_everything_in_order(void **state)
{
    (void)state;
    sp_text text = {0};
    size_t length = 0;

    for (int i = 0; i < 1000; i++) {
        sp_text_append(&text, "%d,", i);
    }
    sp_text_append_bytes(&text, "end", 3);
    sp_text_append_repeated(&text, '!', 5);
    sp_text_append_repeated(&text, '?', -5);
    assert_int_equal(sp_text_check(&text), SP_OK);
    length = 10 * 2 + 90 * 3 + 900 * 4 + 3 + 5;
    assert_int_equal(text.length, length);
    assert_int_equal(strlen(sp_text_string(&text)), length);
    assert_memory_equal(sp_text_string(&text), "0,1,2,3,4,5,6,7,8,9,10,", 23);
    assert_string_equal(sp_text_string(&text) + length - 12, "999,end!!!!!");
    sp_text_clear(&text);
}

static void empty_text_is_a_string(void **state)
{
    (void)state;
    sp_text text = {0};
    char *string = NULL;

    assert_string_equal(sp_text_string(&text), "");
    assert_int_equal(sp_text_take(&text, &string), SP_OK);
    assert_string_equal(string, "");
    sp_array_free(string);
}

static void impossible_size_fails_once_and_for_good(void **state)
{
    (void)state;
    sp_text text = {0};

    sp_text_append_repeated(&text, 'x', PTRDIFF_MAX - 10);
    sp_text_append(&text, "more");
    assert_string_equal(sp_text_string(&text), "");
    assert_int_equal(sp_text_check(&text), SP_ERR_MEMORY);
    sp_text_clear(&text);
    assert_int_equal(sp_text_check(&text), SP_OK);
}

static void reals_read_back_as_the_same_number(void **state)
{
    (void)state;
    const double values[] = {0.1, 1.0 / 3.0, 1e5, 8.2e-10, DBL_MAX, DBL_MIN, -2.5, 0.0, 123456789.0};

    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        sp_text text = {0};

        sp_text_append_real(&text, values[i]);
        assert_true(strtod(sp_text_string(&text), NULL) == values[i]);
        sp_text_clear(&text);
    }
}

static void reals_are_as_short_as_possible(void **state)
{
    (void)state;
    sp_text text = {0};

    sp_text_append_real(&text, 0.1);
    sp_text_append_real(&text, 1e5);
    assert_string_equal(sp_text_string(&text), "0.1100000");
    sp_text_clear(&text);
}

static const char *nearest_to(const char *word)
{
    const char *const names[] = {"photons", "output", "seed", "settings"};
    sp_nearest nearest = {.word = word};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sp_nearest_offer(&nearest, names[i]);
    }
    return nearest.best;
}

static void nearest_name_forgives_one_slip_of_each_kind(void **state)
{
    (void)state;
    assert_string_equal(nearest_to("photons"), "photons");
    assert_string_equal(nearest_to("photon"), "photons");
    assert_string_equal(nearest_to("phottons"), "photons");
    assert_string_equal(nearest_to("phokons"), "photons");
    assert_string_equal(nearest_to("pohtons"), "photons");
    assert_string_equal(nearest_to("sede"), "seed"); /* a swap counts once */
}

static void nothing_is_suggested_for_a_stranger(void **state)
{
    (void)state;
    assert_null(nearest_to("banana"));
    assert_null(nearest_to("x"));
    assert_null(nearest_to("photonsphotonsphotonsphotonsphotonsphotonsphotonsphotonsphotonsphotons"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appending_keeps_everything_in_order),
        cmocka_unit_test(empty_text_is_a_string),
        cmocka_unit_test(impossible_size_fails_once_and_for_good),
        cmocka_unit_test(reals_read_back_as_the_same_number),
        cmocka_unit_test(reals_are_as_short_as_possible),
        cmocka_unit_test(nearest_name_forgives_one_slip_of_each_kind),
        cmocka_unit_test(nothing_is_suggested_for_a_stranger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
