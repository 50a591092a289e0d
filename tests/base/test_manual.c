/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "base/manual.h"
#include "testing.h"

static const sp_option options[] = {
    {.name = "photons",
     .letter = 'p',
     .type = SP_OPTION_REAL,
     .unit = "photons",
     .minimum = 1,
     .maximum = 1e15,
     .fallback = "1e5",
     .help = "mean number of photons in one image, before the detector has lost any of them"},
    {.name = "a-name-that-is-longer-than-its-column",
     .type = SP_OPTION_TEXT,
     .unit = "FILE",
     .help = "a file",
     .automatic = "beside the images"},
    {.name = "score", .type = SP_OPTION_CHOICE, .choices = "noise|plain", .help = "score"},
    {0},
};
static const sp_positional positionals[] = {
    {.name = "structure", .required = true, .help = "a molecule"},
    {.name = "more", .many = true, .help = "further molecules"},
    {0},
};
static const sp_syntax syntax = {
    .program = "spica",
    .name = "simulate",
    .summary = "make images",
    .options = options,
    .positionals = positionals,
    .examples = "spica simulate 2cex.pdb\n",
};

static void help_says_all_there_is(void **state)
{
    (void)state;
    sp_text text = {0};

    sp_manual_help(&syntax, &text);
    assert_string_equal(sp_text_string(&text),
                        "Usage: spica simulate [options] STRUCTURE [MORE...]\n\n"
                        "Make images.\n\n"
                        "  STRUCTURE                   a molecule\n"
                        "  MORE                        further molecules\n"
                        "\nOptions:\n"
                        "  -p, --photons X             mean number of photons in one image, before the\n"
                        "                              detector has lost any of them [photons, 1 to\n"
                        "                              1e+15] (default: 1e5)\n"
                        "      --a-name-that-is-longer-than-its-column FILE\n"
                        "                              a file (default: beside the images)\n"
                        "      --score NAME            score: noise, plain\n"
                        "\nExamples:\nspica simulate 2cex.pdb\n");
    sp_text_clear(&text);
}

static void help_keeps_to_80_columns(void **state)
{
    (void)state;
    sp_text text = {0};

    sp_manual_help(&syntax, &text);
    for (const char *line = sp_text_string(&text); *line; line += strcspn(line, "\n") + 1) {
        assert_true(strcspn(line, "\n") <= 80);
    }
    sp_text_clear(&text);
}

static void markdown_has_one_row_per_option(void **state)
{
    (void)state;
    sp_text text = {0};

    sp_manual_markdown(&syntax, &text);
    assert_non_null(strstr(sp_text_string(&text), "\n## spica simulate\n"));
    assert_non_null(strstr(sp_text_string(&text), "\n| `--score NAME` | score: noise, plain | |\n"));
    assert_non_null(strstr(sp_text_string(&text), "[photons, 1 to 1e+15] | 1e5 |\n"));
    sp_text_clear(&text);
}

static void manual_page_escapes_what_roff_would_read(void **state)
{
    (void)state;
    sp_text text = {0};

    sp_manual_man_escape(".a --b\n'c \\d", &text);
    assert_string_equal(sp_text_string(&text), "\\&.a \\-\\-b\n\\&'c \\ed");
    sp_text_clear(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(help_says_all_there_is),
        cmocka_unit_test(help_keeps_to_80_columns),
        cmocka_unit_test(markdown_has_one_row_per_option),
        cmocka_unit_test(manual_page_escapes_what_roff_would_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
