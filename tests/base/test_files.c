/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "testing.h"

/* Every test runs inside a fresh folder. */
static int enter_folder(void **state)
{
    char name[] = "/tmp/sp_files_XXXXXX";

    *state = mkdtemp(name) ? strdup(name) : NULL;
    return *state ? chdir(*state) : -1;
}

static int leave_folder(void **state)
{
    const char *left[] = {"result", "result.tmp", "a/b/c", "a/b", "a"};
    int failed = 0;

    for (size_t i = 0; i < sizeof left / sizeof *left; i++) {
        remove(left[i]);
    }
    failed = chdir("/") || rmdir(*state);
    free(*state);
    return failed;
}

static void check_content(const char *path, const char *expected)
{
    char *bytes = NULL;
    size_t count = 0;

    assert_int_equal(sp_file_read(path, 1000000, &bytes, &count), SP_OK);
    assert_int_equal(count, strlen(expected));
    assert_string_equal(bytes, expected);
    sp_array_free(bytes);
}

static void written_file_reads_back(void **state)
{
    (void)state;
    assert_int_equal(sp_file_write_atomic("result", "one", 3), SP_OK);
    check_content("result", "one");
    assert_int_equal(sp_file_write_atomic("result", "second", 6), SP_OK);
    check_content("result", "second");
    assert_int_equal(sp_file_write_atomic("result", "", 0), SP_OK);
    check_content("result", "");
    assert_false(sp_file_exists("result.tmp"));
}

/* A limit on the size of files stands in for a disk that fills up half way. */
static void full_disk_leaves_the_old_file_and_no_rest(void **state)
{
    (void)state;
    enum { LIMIT = 8192, SIZE = 3 * LIMIT };
    struct rlimit before, small;
    char *bytes = calloc(1, SIZE);
    sp_status status = SP_OK;

    assert_int_equal(sp_file_write_atomic("result", "old", 3), SP_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){LIMIT, before.rlim_max};
    signal(SIGXFSZ, SIG_IGN); /* write() says EFBIG instead */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    status = sp_file_write_atomic("result", bytes, SIZE);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(status, SP_ERR_OUTPUT);
    assert_non_null(strstr(sp_error_text(), "result.tmp: cannot write: File too large"));
    assert_false(sp_file_exists("result.tmp"));
    check_content("result", "old");
    free(bytes);
}

/* /dev/full accepts nothing: ENOSPC. The temporary name leads there. */
static void no_space_is_told_by_name(void **state)
{
    (void)state;
    assert_int_equal(symlink("/dev/full", "result.tmp"), 0);
    assert_int_equal(sp_file_write_atomic("result", "x", 1), SP_ERR_OUTPUT);
    assert_non_null(strstr(sp_error_text(), "No space left on device"));
    assert_false(sp_file_exists("result"));
}

static void impossible_places_are_refused(void **state)
{
    (void)state;
    assert_int_equal(sp_file_write_atomic("nowhere/result", "x", 1), SP_ERR_OUTPUT);
    assert_non_null(strstr(sp_error_text(), "nowhere/result.tmp: cannot create: No such file or directory"));
    assert_int_equal(sp_folder_make("a"), SP_OK);
    assert_int_equal(sp_file_write_atomic("a", "x", 1), SP_ERR_OUTPUT);
    assert_non_null(strstr(sp_error_text(), "a: is a folder"));
    assert_false(sp_file_exists("a.tmp"));
}

static void reading_refuses_what_is_no_small_file(void **state)
{
    (void)state;
    char *bytes = NULL;

    assert_int_equal(sp_file_read("result", 10, &bytes, NULL), SP_ERR_INPUT);
    assert_non_null(strstr(sp_error_text(), "result: cannot open: No such file"));
    assert_int_equal(sp_file_read("/", 10, &bytes, NULL), SP_ERR_INPUT);
    assert_int_equal(sp_file_write_atomic("result", "01234567890", 11), SP_OK);
    assert_int_equal(sp_file_read("result", 10, &bytes, NULL), SP_ERR_INPUT);
    assert_non_null(strstr(sp_error_text(), "larger than the 10 bytes"));
    assert_null(bytes);
    assert_int_equal(sp_file_read("result", 11, &bytes, NULL), SP_OK);
    sp_array_free(bytes);
}

static void folders_are_made_with_those_above(void **state)
{
    (void)state;
    assert_int_equal(sp_folder_make("a/b/c/"), SP_OK);
    assert_true(sp_folder_exists("a/b/c"));
    assert_int_equal(sp_folder_make("a/b/c"), SP_OK);
    assert_int_equal(sp_folder_make("/"), SP_OK);
    assert_int_equal(sp_folder_make(""), SP_ERR_OUTPUT);
}

static void folder_where_a_file_is_is_refused(void **state)
{
    (void)state;
    assert_int_equal(sp_file_write_atomic("result", "x", 1), SP_OK);
    assert_int_equal(sp_folder_make("result"), SP_ERR_OUTPUT);
    assert_int_equal(sp_folder_make("result/below"), SP_ERR_OUTPUT);
    assert_true(sp_file_exists("result"));
    assert_false(sp_folder_exists("result"));
}

static void check_join(const char *folder, const char *name, const char *expected)
{
    char *path = NULL;

    assert_int_equal(sp_path_join(folder, name, &path), SP_OK);
    assert_string_equal(path, expected);
    sp_array_free(path);
}

static void paths_join_with_one_slash(void **state)
{
    (void)state;
    check_join("a", "b", "a/b");
    check_join("a/", "b", "a/b");
    check_join("", "b", "b");
    check_join("/", "b", "/b");
    check_join("a", "/b", "/b");
    assert_string_equal(sp_path_name("a/b.h5"), "b.h5");
    assert_string_equal(sp_path_name("b.h5"), "b.h5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(written_file_reads_back, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(full_disk_leaves_the_old_file_and_no_rest, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(no_space_is_told_by_name, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(impossible_places_are_refused, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(reading_refuses_what_is_no_small_file, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(folders_are_made_with_those_above, enter_folder, leave_folder),
        cmocka_unit_test_setup_teardown(folder_where_a_file_is_is_refused, enter_folder, leave_folder),
        cmocka_unit_test(paths_join_with_one_slash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
