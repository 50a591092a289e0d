/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/json.h"
#include "testing.h"

static void objects_and_arrays_nest(void **state)
{
    (void)state;
    sp_text text = {0};
    sp_json json = sp_json_start(&text);
    const double curve[] = {1.0, 0.5, NAN};

    sp_json_object(&json, NULL);
    sp_json_integer(&json, "images", 500);
    sp_json_array(&json, "files");
    sp_json_text(&json, NULL, "a.h5");
    sp_json_text(&json, NULL, "b.h5");
    sp_json_end(&json);
    sp_json_object(&json, "nothing");
    sp_json_end(&json);
    sp_json_reals(&json, "fsc", curve, 3);
    sp_json_flag(&json, "done", true);
    sp_json_end(&json);
    assert_string_equal(sp_text_string(&text), "{\n"
                                               "  \"images\": 500,\n"
                                               "  \"files\": [\n"
                                               "    \"a.h5\",\n"
                                               "    \"b.h5\"\n"
                                               "  ],\n"
                                               "  \"nothing\": {},\n"
                                               "  \"fsc\": [1, 0.5, null],\n"
                                               "  \"done\": true\n"
                                               "}\n");
    assert_int_equal(sp_text_check(&text), SP_OK);
    sp_text_clear(&text);
}

static void check_text(const char *value, const char *expected)
{
    sp_text text = {0};
    sp_json json = sp_json_start(&text);

    sp_json_text(&json, NULL, value);
    assert_string_equal(sp_text_string(&text), expected);
    sp_text_clear(&text);
}

static void strings_are_escaped(void **state)
{
    (void)state;
    check_text("say \"x\" \\ y", "\"say \\\"x\\\" \\\\ y\"");
    check_text("a\nb\tc\x01\x7f", "\"a\\nb\\u0009c\\u0001\\u007f\"");
    check_text(NULL, "null");
    check_text("", "\"\"");
}

static void utf8_passes_and_other_bytes_are_replaced(void **state)
{
    (void)state;
    check_text("\xc3\xa5 \xe2\x84\xab \xf0\x9f\x94\xac", "\"\xc3\xa5 \xe2\x84\xab \xf0\x9f\x94\xac\"");
    check_text("\xe5ngstr", "\"\\ufffdngstr\"");                        /* Latin-1 */
    check_text("\xc0\xaf", "\"\\ufffd\\ufffd\"");                       /* overlong slash */
    check_text("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");            /* surrogate */
    check_text("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\""); /* above U+10FFFF */
    check_text("cut \xe2\x84", "\"cut \\ufffd\\ufffd\"");
}

static void check_real(double value, const char *expected)
{
    sp_text text = {0};
    sp_json json = sp_json_start(&text);

    sp_json_real(&json, NULL, value);
    assert_string_equal(sp_text_string(&text), expected);
    sp_text_clear(&text);
}

static void numbers_that_json_lacks_become_null(void **state)
{
    (void)state;
    check_real(NAN, "null");
    check_real(INFINITY, "null");
    check_real(-INFINITY, "null");
    check_real(8.2e-10, "8.2e-10");
    check_real(-0.25, "-0.25");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(objects_and_arrays_nest),
        cmocka_unit_test(strings_are_escaped),
        cmocka_unit_test(utf8_passes_and_other_bytes_are_replaced),
        cmocka_unit_test(numbers_that_json_lacks_become_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
