/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "io/h5.h"
#include "testing.h"

enum { OUTPUT_LENGTH = 1 << 16 };

/* What `spica info word...` prints. */
static void info(int count, char *const *word, char *output)
{
    const sp_syntax syntax = sp_command_syntax(&sp_command_info);
    FILE *file = tmpfile();
    const int screen = dup(STDOUT_FILENO);
    sp_arguments *args = NULL;

    fflush(stdout);
    assert_true(file && dup2(fileno(file), STDOUT_FILENO) >= 0);
    assert_int_equal(sp_arguments_new(&syntax, &args), SP_OK);
    assert_int_equal(sp_arguments_read_line(args, count, word), SP_OK);
    assert_int_equal(sp_command_info.run(args, NULL), SP_OK);
    fflush(stdout);
    assert_true(dup2(screen, STDOUT_FILENO) >= 0);
    close(screen);
    rewind(file);
    output[fread(output, 1, OUTPUT_LENGTH - 1, file)] = '\0';
    fclose(file);
    sp_arguments_free(args);
}

static void assert_has(const char *output, const char *text)
{
    if (!strstr(output, text)) {
        fail_msg("`%s` is not in:\n%s", text, output);
    }
}

/* A file of `count` datasets in the group result, one number, and settings. */
static void put_result(const char *path, int count)
{
    const ptrdiff_t shape[] = {7, 4};
    const double q[28] = {0}, resolution = 8.5e-10;
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create(path, &file), SP_OK);
    for (int i = 0; i < count; i++) {
        char name[32];

        snprintf(name, sizeof name, "result/orientations%02d", i);
        assert_int_equal(sp_h5_write_double(file, name, 2, shape, q), SP_OK);
    }
    assert_int_equal(sp_h5_write_double(file, "result/resolution", 0, NULL, &resolution), SP_OK);
    assert_int_equal(sp_h5_write_string(file, "config", "images = 7\nseed = 1\n"), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
}

static char path[] = "/tmp/spica-info-XXXXXX";

static void a_result_is_shown_with_its_settings(void **state)
{
    (void)state;
    static char output[OUTPUT_LENGTH];

    put_result(path, 1);
    info(1, (char *[]){path}, output);
    assert_has(output, "result of a reconstruction\n");
    assert_has(output, "  float64  [7][4]               result/orientations00\n");
    assert_has(output, "scalar               result/resolution = 8.5e-10\n");
    assert_has(output, "  config:\n    images = 7\n    seed = 1\n");
    info(2, (char *[]){"--json", path}, output);
    assert_has(output, "\"kind\": \"result\"");
    assert_has(output, "\"shape\": [7, 4]");
    assert_has(output, "\"value\": 8.5e-10");
    assert_has(output, "\"config\": \"images = 7\\nseed = 1\\n\"");
}

static void long_lists_end_where_the_screen_does_but_not_in_json(void **state)
{
    (void)state;
    static char output[OUTPUT_LENGTH];

    put_result(path, 50);
    info(1, (char *[]){path}, output);
    assert_has(output, "orientations38\n");
    assert_has(output, "  ... and 12 more, see --json\n");
    assert_null(strstr(output, "orientations45"));
    info(2, (char *[]){"--json", path}, output);
    assert_has(output, "orientations49");
}

static void foreign_hdf5_is_listed_as_such(void **state)
{
    (void)state;
    static char output[OUTPUT_LENGTH];
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create(path, &file), SP_OK);
    assert_int_equal(sp_h5_write_uint8(file, "entry/mask", 1, (ptrdiff_t[]){2}, (const uint8_t[]){1, 2}), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
    info(1, (char *[]){path}, output);
    assert_has(output, "that spica does not read\n");
    assert_has(output, "  uint8    [2]                  entry/mask\n");
}

static int make_path(void **state)
{
    (void)state;
    const int file = mkstemp(path);

    return file >= 0 ? close(file) : -1;
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_is_shown_with_its_settings),
        cmocka_unit_test(long_lists_end_where_the_screen_does_but_not_in_json),
        cmocka_unit_test(foreign_hdf5_is_listed_as_such),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
