/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/log.h"
#include "base/memory.h"
#include "testing.h"

/* What was written to the file so far; free it. */
static char *content(FILE *file)
{
    const long length = ftell(file);
    char *text = calloc(1, (size_t)length + 1);

    rewind(file);
    assert_int_equal(fread(text, 1, (size_t)length, file), length);
    return text;
}

static void write_all_levels(sp_log *log)
{
    sp_log_error(log, "e %d", 1);
    sp_log_warning(log, "w");
    sp_log_info(log, "i");
    sp_log_detail(log, "d");
}

static void check_level(sp_log_level level, const char *expected)
{
    FILE *screen = tmpfile();
    sp_log *log = NULL;
    char *text = NULL;

    assert_int_equal(sp_log_new(level, screen, &log), SP_OK);
    write_all_levels(log);
    text = content(screen);
    assert_string_equal(text, expected);
    free(text);
    sp_log_free(log);
    fclose(screen);
}

static void level_decides_what_is_shown(void **state)
{
    (void)state;
    check_level(SP_LOG_ERROR, "e 1\n");
    check_level(SP_LOG_WARNING, "e 1\nwarning: w\n");
    check_level(SP_LOG_INFO, "e 1\nwarning: w\ni\n");
    check_level(SP_LOG_DETAIL, "e 1\nwarning: w\ni\nd\n");
}

static void null_log_is_quiet(void **state)
{
    (void)state;
    write_all_levels(NULL);
    sp_log_set_footer(NULL, "x");
    assert_false(sp_log_shows(NULL, SP_LOG_ERROR));
    assert_int_equal(sp_log_file_open(NULL, "/nowhere/x"), SP_OK);
    assert_int_equal(sp_log_file_close(NULL), SP_OK);
    sp_log_free(NULL);
}

static void file_gets_every_line_with_its_time(void **state)
{
    (void)state;
    FILE *screen = tmpfile();
    sp_log *log = NULL;
    char path[64], *bytes = NULL;

    snprintf(path, sizeof path, "/tmp/sp_log_%ld", (long)getpid());
    assert_int_equal(sp_log_new(SP_LOG_ERROR, screen, &log), SP_OK);
    assert_int_equal(sp_log_file_open(log, path), SP_OK);
    assert_int_equal(sp_log_file_open(log, path), SP_ERR_USAGE);
    write_all_levels(log);
    assert_int_equal(sp_log_file_close(log), SP_OK);
    write_all_levels(log); /* no longer */
    assert_int_equal(sp_file_read(path, 1000, &bytes, NULL), SP_OK);
    assert_int_equal(strlen(bytes), 4 * (20 + 1 + 7 + 1 + 2) + 2);
    assert_memory_equal(bytes, "20", 2);
    assert_non_null(strstr(bytes, "Z error   e 1\n20"));
    assert_non_null(strstr(bytes, "Z detail  d\n"));
    sp_array_free(bytes);
    sp_log_free(log);
    fclose(screen);
    unlink(path);
}

static void lost_lines_are_told_at_the_end(void **state)
{
    (void)state;
    FILE *screen = tmpfile();
    sp_log *log = NULL;

    assert_int_equal(sp_log_new(SP_LOG_ERROR, screen, &log), SP_OK);
    assert_int_equal(sp_log_file_open(log, "/nowhere/log.txt"), SP_ERR_OUTPUT);
    assert_non_null(strstr(sp_error_text(), "/nowhere/log.txt: cannot open the log file"));
    assert_int_equal(sp_log_file_open(log, "/dev/full"), SP_OK);
    sp_log_info(log, "lost");
    assert_int_equal(sp_log_file_close(log), SP_ERR_OUTPUT);
    assert_non_null(strstr(sp_error_text(), "No space left on device"));
    sp_log_free(log);
    fclose(screen);
}

static void overlong_line_is_cut(void **state)
{
    (void)state;
    FILE *screen = tmpfile();
    sp_log *log = NULL;
    char *text = NULL;

    assert_int_equal(sp_log_new(SP_LOG_INFO, screen, &log), SP_OK);
    sp_log_info(log, "%05000d", 7);
    text = content(screen);
    assert_int_equal(strlen(text), 4004);
    assert_string_equal(text + 4000, "...\n");
    free(text);
    sp_log_free(log);
    fclose(screen);
}

enum { THREADS = 4, LINES = 500 };

static void *write_lines(void *log)
{
    for (int i = 0; i < LINES; i++) {
        sp_log_info(log, "one line of forty characters, ever same.");
    }
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    FILE *screen = tmpfile();
    sp_log *log = NULL;
    pthread_t thread[THREADS];
    char *text = NULL;

    assert_int_equal(sp_log_new(SP_LOG_INFO, screen, &log), SP_OK);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, write_lines, log), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
    }
    text = content(screen);
    assert_int_equal(strlen(text), THREADS * LINES * 41);
    for (int i = 0; i < THREADS * LINES; i++) {
        assert_memory_equal(text + (size_t)i * 41, "one line of forty characters, ever same.\n", 41);
    }
    free(text);
    sp_log_free(log);
    fclose(screen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(level_decides_what_is_shown),
        cmocka_unit_test(null_log_is_quiet),
        cmocka_unit_test(file_gets_every_line_with_its_time),
        cmocka_unit_test(lost_lines_are_told_at_the_end),
        cmocka_unit_test(overlong_line_is_cut),
        cmocka_unit_test(lines_of_threads_do_not_mix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
