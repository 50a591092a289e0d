/* SPDX-License-Identifier: BSD-3-Clause */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/progress.h"
#include "testing.h"

/* A pseudo terminal: what the program shows on `screen` is read from `reader`. */
typedef struct terminal {
    int reader;
    FILE *screen;
} terminal;

static terminal open_terminal(void)
{
    terminal t = {.reader = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK)};

    assert_true(t.reader >= 0 && grantpt(t.reader) == 0 && unlockpt(t.reader) == 0);
    t.screen = fopen(ptsname(t.reader), "r+");
    assert_non_null(t.screen);
    return t;
}

/* All that was shown so far; returns its length. */
static size_t shown(const terminal *t, char *text, size_t room)
{
    size_t length = 0;
    ssize_t more = 0;

    fflush(t->screen);
    while (length + 1 < room && (more = read(t->reader, text + length, room - 1 - length)) > 0) {
        length += (size_t)more;
    }
    text[length] = '\0';
    return length;
}

static void work(sp_log *log, int milliseconds)
{
    const struct timespec step = {.tv_nsec = 1000000};
    sp_progress *progress = NULL;

    assert_int_equal(sp_progress_new(log, "matching", milliseconds, &progress), SP_OK);
    for (int i = 0; i < milliseconds; i++) {
        nanosleep(&step, NULL);
        sp_progress_add(progress, 1);
    }
    sp_progress_free(progress);
}

static int count_of(const char *text, const char *part)
{
    int count = 0;

    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

static void terminal_line_is_redrawn_seldom_and_gone_at_the_end(void **state)
{
    (void)state;
    static char text[100000];
    terminal t = open_terminal();
    sp_log *log = NULL;
    size_t length = 0;

    assert_int_equal(sp_log_new(SP_LOG_INFO, t.screen, &log), SP_OK);
    const time_t before = time(NULL);
    work(log, 350);
    length = shown(&t, text, sizeof text);
    assert_in_range(count_of(text, "matching: ["), 1, 10 * (time(NULL) - before + 1));
    assert_non_null(strstr(text, " of 350, "));
    assert_non_null(strstr(text, " s left"));
    assert_null(strchr(text, '\n'));
    assert_string_equal(text + length - 4, "\r\033[K");
    sp_log_free(log);
    fclose(t.screen);
    close(t.reader);
}

static void log_lines_push_the_footer_down(void **state)
{
    (void)state;
    char text[1000];
    terminal t = open_terminal();
    sp_log *log = NULL;

    assert_int_equal(sp_log_new(SP_LOG_INFO, t.screen, &log), SP_OK);
    sp_log_set_footer(log, "half");
    sp_log_info(log, "line");
    sp_log_set_footer(log, "");
    shown(&t, text, sizeof text);
    assert_string_equal(text, "half\r\033[Kline\r\nhalf\r\033[K"); /* the terminal adds \r to \n */
    sp_log_free(log);
    fclose(t.screen);
    close(t.reader);
}

static void footer_is_cut_to_one_row(void **state)
{
    (void)state;
    char text[1000], wide[201];
    terminal t = open_terminal();
    sp_log *log = NULL;

    memset(wide, 'x', 200);
    wide[200] = '\0';
    assert_int_equal(sp_log_new(SP_LOG_INFO, t.screen, &log), SP_OK);
    sp_log_set_footer(log, wide);
    assert_int_equal(shown(&t, text, sizeof text), 79); /* of 80 columns where the terminal says nothing */
    sp_log_free(log);
    fclose(t.screen);
    close(t.reader);
}

/* What a screen that is a plain file holds after so much work. */
static void show_in_file(int milliseconds, char *text, size_t room)
{
    FILE *screen = tmpfile();
    sp_log *log = NULL;
    size_t length = 0;

    assert_int_equal(sp_log_new(SP_LOG_INFO, screen, &log), SP_OK);
    work(log, milliseconds);
    rewind(screen);
    length = fread(text, 1, room - 1, screen);
    text[length] = '\0';
    sp_log_free(log);
    fclose(screen);
}

static void short_work_says_nothing_in_a_file(void **state)
{
    (void)state;
    char text[1000];

    show_in_file(50, text, sizeof text);
    assert_string_equal(text, "");
}

static void long_work_says_one_plain_line_after_a_second(void **state)
{
    (void)state;
    char text[1000];

    show_in_file(1100, text, sizeof text);
    assert_int_equal(count_of(text, "\n"), 1);
    assert_memory_equal(text, "matching: ", 10);
    assert_non_null(strstr(text, " of 1100, "));
    assert_null(strchr(text, '\r'));
    assert_null(strchr(text, '#'));
}

static void quiet_terminal_and_null_stay_quiet(void **state)
{
    (void)state;
    char text[1000];
    terminal t = open_terminal();
    sp_log *log = NULL;

    assert_int_equal(sp_log_new(SP_LOG_ERROR, t.screen, &log), SP_OK);
    work(log, 150);
    work(NULL, 5);
    sp_progress_add(NULL, 1);
    sp_progress_free(NULL);
    assert_int_equal(shown(&t, text, sizeof text), 0);
    sp_log_free(log);
    fclose(t.screen);
    close(t.reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(terminal_line_is_redrawn_seldom_and_gone_at_the_end),
        cmocka_unit_test(log_lines_push_the_footer_down),
        cmocka_unit_test(footer_is_cut_to_one_row),
        cmocka_unit_test(short_work_says_nothing_in_a_file),
        cmocka_unit_test(long_work_says_one_plain_line_after_a_second),
        cmocka_unit_test(quiet_terminal_and_null_stay_quiet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
