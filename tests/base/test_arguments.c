/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arguments.h"
#include "base/files.h"
#include "testing.h"

static const sp_option options[] = {
    {.name = "photons",
     .letter = 'p',
     .type = SP_OPTION_REAL,
     .unit = "photons",
     .minimum = 1,
     .maximum = 1e15,
     .fallback = "1e5",
     .help = "photons per image"},
    {.name = "images",
     .letter = 'n',
     .type = SP_OPTION_INTEGER,
     .minimum = 1,
     .maximum = 1000000,
     .fallback = "100",
     .help = "number of images"},
    {.name = "offset", .type = SP_OPTION_INTEGER, .help = "any whole number"},
    {.name = "score", .type = SP_OPTION_CHOICE, .choices = "noise|plain|none", .fallback = "noise", .help = "score"},
    {.name = "output",
     .letter = 'o',
     .type = SP_OPTION_TEXT,
     .unit = "FILE",
     .help = "result",
     .automatic = "beside the images"},
    {.name = "mask", .type = SP_OPTION_LIST, .unit = "FILE", .help = "masks"},
    {.name = "friedel", .letter = 'f', .type = SP_OPTION_FLAG, .help = "fold"},
    {0},
};
static const sp_option common[] = {
    {.name = "verbose", .letter = 'v', .type = SP_OPTION_FLAG, .one_call = true, .help = "say more"},
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
    .common = common,
    .positionals = positionals,
};

/* The values of a command line given as one text of words with single blanks; NULL: only the fallbacks. */
static sp_status read_words(const char *line, sp_arguments **args)
{
    enum { WORDS = 32 };
    char *copy = strdup(line), *word[WORDS], *rest = copy;
    int count = 0;
    sp_status status = SP_OK;

    while (*line && rest && count < WORDS) {
        word[count++] = strsep(&rest, " ");
    }
    assert_int_equal(sp_arguments_new(&syntax, args), SP_OK);
    status = sp_arguments_read_line(*args, count, word);
    free(copy);
    return status;
}

static sp_arguments *accepted(const char *line)
{
    sp_arguments *args = NULL;

    if (read_words(line, &args) != SP_OK) {
        fail_msg("'%s' is refused: %s", line, sp_error_text());
    }
    return args;
}

static void check_refused(const char *line, const char *reason)
{
    sp_arguments *args = NULL;

    if (read_words(line, &args) != SP_ERR_USAGE || !strstr(sp_error_text(), reason)) {
        fail_msg("'%s' should be refused with '%s', not '%s'", line, reason, sp_error_text());
    }
    sp_arguments_free(args);
}

static void fallbacks_are_in_effect_and_not_set(void **state)
{
    (void)state;
    sp_arguments *args = accepted("");
    const char *const *item = NULL;

    assert_true(sp_arguments_real(args, "photons") == 1e5);
    assert_int_equal(sp_arguments_integer(args, "images"), 100);
    assert_int_equal(sp_arguments_integer(args, "offset"), 0);
    assert_int_equal(sp_arguments_choice(args, "score"), 0);
    assert_null(sp_arguments_text(args, "output"));
    assert_null(sp_arguments_text(args, "structure"));
    assert_false(sp_arguments_flag(args, "friedel"));
    assert_int_equal(sp_arguments_list(args, "mask", &item), 0);
    assert_false(sp_arguments_is_set(args, "photons"));
    sp_arguments_free(args);
}

static void every_form_and_type_is_read(void **state)
{
    (void)state;
    sp_arguments *args = accepted("-p 2.5e3 mol.pdb --images=7 --offset -12 --score plain --output=a=b --mask m1 "
                                  "--friedel --mask m2 -- -x --y");
    const char *const *item = NULL;

    assert_true(sp_arguments_real(args, "photons") == 2500.0);
    assert_int_equal(sp_arguments_integer(args, "images"), 7);
    assert_int_equal(sp_arguments_integer(args, "offset"), -12);
    assert_string_equal(sp_arguments_text(args, "score"), "plain");
    assert_int_equal(sp_arguments_choice(args, "score"), 1);
    assert_string_equal(sp_arguments_text(args, "output"), "a=b");
    assert_true(sp_arguments_flag(args, "friedel"));
    assert_true(sp_arguments_is_set(args, "photons"));
    assert_int_equal(sp_arguments_list(args, "mask", &item), 2);
    assert_string_equal(item[0], "m1");
    assert_string_equal(item[1], "m2");
    assert_string_equal(sp_arguments_text(args, "structure"), "mol.pdb");
    assert_int_equal(sp_arguments_list(args, "more", &item), 2);
    assert_string_equal(item[0], "-x");
    assert_string_equal(item[1], "--y");
    assert_int_equal(sp_arguments_check(args), SP_OK);
    sp_arguments_free(args);
}

static void flags_can_be_said_no_to(void **state)
{
    (void)state;
    sp_arguments *args = accepted("--friedel=no");

    assert_false(sp_arguments_flag(args, "friedel"));
    assert_true(sp_arguments_is_set(args, "friedel"));
    sp_arguments_free(args);
    check_refused("--friedel=maybe", "--friedel: 'maybe' is neither yes nor no");
}

static void rubbish_numbers_are_refused(void **state)
{
    (void)state;
    const char *const bad[] = {"1e5x", "nan", "inf", "0x10", "1e", "e5", "+-3", "1,5", "--", "1.2.3", "-"};
    char line[64];

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(line, sizeof line, "--photons=%s", bad[i]);
        check_refused(line, "is not a decimal number");
    }
    check_refused("--photons=1e999", "--photons: 1e999 is too large");
    check_refused("--images=3.0", "--images: '3.0' is not a whole number");
    check_refused("--images=1e3", "is not a whole number");
    check_refused("--offset=99999999999999999999", "is too large");
    check_refused("--offset=9007199254740993000", "is too large");
}

static void limits_belong_to_the_range(void **state)
{
    (void)state;
    sp_arguments_free(accepted("--images=1"));
    sp_arguments_free(accepted("--images=1000000"));
    check_refused("--images=0", "--images: 0 is not in 1..1000000");
    check_refused("--images=1000001", "is not in 1..1000000");
    check_refused("-p 0.5", "-p: 0.5 is not in 1..1e+15 photons");
}

static void unknown_options_get_a_suggestion(void **state)
{
    (void)state;
    check_refused("--photon 5", "--photon: unknown option; did you mean --photons?");
    check_refused("--phtons=5", "--phtons: unknown option; did you mean --photons?");
    check_refused("--banana", "--banana: unknown option; spica simulate --help lists them all");
    check_refused("-z", "-z: unknown option");
    check_refused("-p5", "-p5: unknown option");
    check_refused("--structure x", "--structure: unknown option"); /* a positional is no option */
}

static void missing_values_are_refused(void **state)
{
    (void)state;
    check_refused("--photons", "--photons: needs a value");
    check_refused("--output --friedel", "--output: needs a value");
    check_refused("-o -f", "-o: needs a value");
    check_refused("--output=", "--output: needs a value");
    check_refused("--output=a\tb", "control character");
}

static void second_value_of_a_single_option_is_refused(void **state)
{
    (void)state;
    check_refused("--images 3 --images 3", "--images: given more than once");
    check_refused("-n 3 --images=4", "--images: given more than once");
    check_refused("--friedel -f", "-f: given more than once");
}

static void wrong_choice_names_the_right_ones(void **state)
{
    (void)state;
    check_refused("--score plai", "--score: 'plai' is none of noise|plain|none");
    check_refused("--score noise|plain", "is none of");
}

static void positionals_are_counted(void **state)
{
    (void)state;
    static const sp_positional one[] = {{.name = "file", .required = true, .help = "a file"}, {0}};
    const sp_syntax narrow = {.program = "spica", .name = "info", .summary = "s", .positionals = one};
    char first[] = "a", second[] = "b", *word[] = {first, second};
    sp_arguments *args = NULL;

    assert_int_equal(sp_arguments_new(&narrow, &args), SP_OK);
    assert_int_equal(sp_arguments_check(args), SP_ERR_USAGE);
    assert_string_equal(sp_error_text(), "file is missing: a file");
    assert_int_equal(sp_arguments_read_line(args, 2, word), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "'b': one word too many"));
    sp_arguments_free(args);
}

static void wrong_tables_are_refused(void **state)
{
    (void)state;
    static const sp_option twice[] = {{.name = "a", .help = "h"}, {.name = "a", .help = "h"}, {0}};
    static const sp_option letters[] = {
        {.name = "a", .letter = 'x', .help = "h"}, {.name = "b", .letter = 'x', .help = "h"}, {0}};
    static const sp_option outside[] = {
        {.name = "a", .type = SP_OPTION_INTEGER, .minimum = 1, .maximum = 2, .fallback = "3", .help = "h"}, {0}};
    static const sp_option choiceless[] = {{.name = "a", .type = SP_OPTION_CHOICE, .help = "h"}, {0}};
    const sp_option *const tables[] = {twice, letters, outside, choiceless};

    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        const sp_syntax wrong = {.program = "spica", .name = "x", .summary = "s", .options = tables[i]};
        sp_arguments *args = NULL;

        assert_int_equal(sp_arguments_new(&wrong, &args), SP_ERR_USAGE);
        assert_null(args);
    }
}

/* ---- settings files ---- */

static char settings_path[64];

static int make_path(void **state)
{
    (void)state;
    snprintf(settings_path, sizeof settings_path, "/tmp/sp_settings_%ld", (long)getpid());
    return 0;
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(settings_path);
}

static sp_status read_settings(const char *line, const char *settings, sp_arguments **args)
{
    assert_int_equal(sp_file_write_atomic(settings_path, settings, strlen(settings)), SP_OK);
    *args = accepted(line);
    return sp_arguments_read_file(*args, settings_path);
}

static void check_settings_refused(const char *settings, const char *reason)
{
    sp_arguments *args = NULL;
    char whole[200];

    snprintf(whole, sizeof whole, "%s:%s", settings_path, reason);
    if (read_settings("", settings, &args) != SP_ERR_USAGE || strcmp(sp_error_text(), whole) != 0) {
        fail_msg("'%s' should be refused with '%s', not '%s'", settings, whole, sp_error_text());
    }
    sp_arguments_free(args);
}

static void command_line_wins_over_settings_and_they_over_fallbacks(void **state)
{
    (void)state;
    sp_arguments *args = NULL;
    const char *const *item = NULL;

    assert_int_equal(read_settings("--images 5 --mask line --friedel=no",
                                   "# a comment\n\n  photons=20 # few\r\nimages = 6\nmask = a\nmask = b\n"
                                   "friedel = yes\nmore = m1\nmore = m2\noutput = \"a \"\"#1\"\".h5 \" # quoted",
                                   &args),
                     SP_OK);
    assert_int_equal(sp_arguments_integer(args, "images"), 5);
    assert_true(sp_arguments_real(args, "photons") == 20.0);
    assert_int_equal(sp_arguments_choice(args, "score"), 0);
    assert_false(sp_arguments_flag(args, "friedel"));
    assert_int_equal(sp_arguments_list(args, "mask", &item), 1);
    assert_string_equal(item[0], "line");
    assert_int_equal(sp_arguments_list(args, "more", &item), 2);
    assert_string_equal(item[1], "m2");
    assert_string_equal(sp_arguments_text(args, "output"), "a \"#1\".h5 ");
    sp_arguments_free(args);
}

static void wrong_settings_are_refused_with_file_and_line(void **state)
{
    (void)state;
    check_settings_refused("\nphotns = 3\n", "2: unknown setting photns; did you mean photons?");
    check_settings_refused("banana = 3", "1: unknown setting banana");
    check_settings_refused("images = 3\n# x\nimages = 3", "3: images: given more than once");
    check_settings_refused("images = many", "1: images: 'many' is not a whole number");
    check_settings_refused("images = 0", "1: images: 0 is not in 1..1000000");
    check_settings_refused("images", "1: 'images' is not of the form name = value");
    check_settings_refused("images 4", "1: 'images 4' is not of the form name = value");
    check_settings_refused("= 4", "1: '= 4' is not of the form name = value");
    check_settings_refused("images =   # none", "1: images: needs a value");
    check_settings_refused("output = \"a", "1: output: the closing quote is missing");
    check_settings_refused("output = \"a\" b", "1: output: 'b' follows the closing quote");
    check_settings_refused("verbose = yes", "1: verbose is for the command line only");
}

static void settings_are_checked_even_where_the_command_line_wins(void **state)
{
    (void)state;
    sp_arguments *args = NULL;

    assert_int_equal(read_settings("--images 5", "images = x", &args), SP_ERR_USAGE);
    sp_arguments_free(args);
    assert_int_equal(read_settings("--images 5", "images = 6\nimages = 6", &args), SP_ERR_USAGE);
    sp_arguments_free(args);
}

static void missing_and_binary_settings_are_refused(void **state)
{
    (void)state;
    sp_arguments *args = accepted("");

    assert_int_equal(sp_arguments_read_file(args, "/nowhere/at/all"), SP_ERR_INPUT);
    assert_int_equal(sp_file_write_atomic(settings_path, "images = 3\0\n", 12), SP_OK);
    assert_int_equal(sp_arguments_read_file(args, settings_path), SP_ERR_INPUT);
    assert_non_null(strstr(sp_error_text(), "is not a text file"));
    sp_arguments_free(args);
}

static void written_settings_repeat_the_run(void **state)
{
    (void)state;
    sp_arguments *args = accepted("mol.pdb second.pdb -p 0.3e4 --friedel --mask=#1 --mask \"q\" --score none -v");
    sp_arguments *again = NULL;
    sp_text first = {0}, second = {0};

    sp_arguments_write(args, &first);
    assert_int_equal(read_settings("", sp_text_string(&first), &again), SP_OK);
    sp_arguments_write(again, &second);
    assert_string_equal(sp_text_string(&first), sp_text_string(&second));
    assert_string_equal(sp_text_string(&first), "# spica simulate, settings in effect\n"
                                                "photons = 0.3e4\n"
                                                "images = 100\n"
                                                "# offset: none\n"
                                                "score = none\n"
                                                "# output: beside the images\n"
                                                "mask = \"#1\"\n"
                                                "mask = \"\"\"q\"\"\"\n"
                                                "friedel = yes\n"
                                                "structure = mol.pdb\n"
                                                "more = second.pdb\n");
    sp_text_clear(&first);
    sp_text_clear(&second);
    sp_arguments_free(args);
    sp_arguments_free(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fallbacks_are_in_effect_and_not_set),
        cmocka_unit_test(every_form_and_type_is_read),
        cmocka_unit_test(flags_can_be_said_no_to),
        cmocka_unit_test(rubbish_numbers_are_refused),
        cmocka_unit_test(limits_belong_to_the_range),
        cmocka_unit_test(unknown_options_get_a_suggestion),
        cmocka_unit_test(missing_values_are_refused),
        cmocka_unit_test(second_value_of_a_single_option_is_refused),
        cmocka_unit_test(wrong_choice_names_the_right_ones),
        cmocka_unit_test(positionals_are_counted),
        cmocka_unit_test(wrong_tables_are_refused),
        cmocka_unit_test_setup_teardown(command_line_wins_over_settings_and_they_over_fallbacks, make_path,
                                        remove_path),
        cmocka_unit_test_setup_teardown(wrong_settings_are_refused_with_file_and_line, make_path, remove_path),
        cmocka_unit_test_setup_teardown(settings_are_checked_even_where_the_command_line_wins, make_path, remove_path),
        cmocka_unit_test_setup_teardown(missing_and_binary_settings_are_refused, make_path, remove_path),
        cmocka_unit_test_setup_teardown(written_settings_repeat_the_run, make_path, remove_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
