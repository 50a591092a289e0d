/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/memory.h"
#include "run/run.h"
#include "run/trace.h"
#include "testing.h"

static void fill_with_point(sp_task *t)
{
    int32_t *out = sp_task_out(t, 0);

    for (ptrdiff_t i = 0; i < sp_task_count(t, 0); i++) {
        out[i] = (int32_t)sp_task_point(t, 0);
    }
}
static const sp_task_type stamp_task = {.name = "stamp", .run = fill_with_point, .privilege = {SP_WRITE}};

/* Seven tasks called "stamp", and one wait of the program for a block of "stamps". */
static sp_run *run_tasks_on(sp_engine engine, bool timed)
{
    sp_run *run = NULL;
    sp_space *space;
    sp_region *region;
    int32_t block[10];

    assert_int_equal(sp_run_new(&(sp_run_settings){.engine = engine, .threads = 2, .timed = timed}, &run), SP_OK);
    assert_int_equal(sp_space_new(run, 70, 10, &space), SP_OK);
    assert_int_equal(sp_region_new(space, "stamps", sizeof(int32_t), &region), SP_OK);
    sp_launch(run, .type = &stamp_task, .points = {7}, .argument = {sp_by_i(region)});
    assert_int_equal(sp_run_get(run, region, 3, block), SP_OK);
    assert_int_equal(block[0], 3);
    return run;
}

static sp_run *run_tasks(bool timed)
{
    return run_tasks_on(SP_ENGINE_LOCAL, timed);
}

static int occurrences(const char *text, const char *of)
{
    int count = 0;

    for (const char *at = strstr(text, of); at; at = strstr(at + 1, of)) {
        count++;
    }
    return count;
}

static void a_table_counts_the_tasks_of_each_kind(void **state)
{
    (void)state;
    sp_run *run = run_tasks(true);
    sp_text table = {0};
    char name[32];
    ptrdiff_t count = 0;

    assert_int_equal(sp_run_table(run, &table), SP_OK);
    const char *line = strstr(sp_text_string(&table), "stamp");

    assert_non_null(line);
    assert_int_equal(sscanf(line, "%31s %td", name, &count), 2);
    assert_int_equal(count, 7);
    assert_non_null(strstr(sp_text_string(&table), "idle"));
    assert_non_null(strstr(sp_text_string(&table), "0 blocks moved"));
    sp_text_clear(&table);
    sp_run_free(run);
}

static void the_engine_of_many_processes_has_a_table_on_one(void **state)
{
    (void)state;
    const char *engines = getenv("SPICA_RUN_ENGINES"); /* no sanitizer knows the libraries of that engine */
    sp_text table = {0};
    int tasks = 0;

    if (!sp_run_engine_is_there(SP_ENGINE_STARPU) || (engines && strcmp(engines, "all") != 0)) {
        skip();
    }
    sp_run *run = run_tasks_on(SP_ENGINE_STARPU, true);

    assert_int_equal(sp_run_table(run, &table), SP_OK);
    const char *line = strstr(sp_text_string(&table), "stamp");

    assert_non_null(line);
    assert_int_equal(sscanf(line, "stamp %d", &tasks), 1);
    assert_int_equal(tasks, 7);
    sp_text_clear(&table);
    sp_run_free(run);
}

static char *trace_of(sp_run *run)
{
    char path[] = "/tmp/spica-trace-XXXXXX", *text = NULL;

    close(mkstemp(path));
    assert_int_equal(sp_run_write_trace(run, path), SP_OK);
    assert_int_equal(sp_file_read(path, 1 << 20, &text, NULL), SP_OK);
    remove(path);
    return text;
}

static void a_timeline_has_every_task_and_what_the_program_waited_for(void **state)
{
    (void)state;
    sp_run *run = run_tasks(true);
    char *text = trace_of(run);

    assert_int_equal(occurrences(text, "\"name\": \"stamp\""), 7 + 1); /* and the launch of all */
    assert_int_equal(occurrences(text, "\"name\": \"stamps\""), 1);
    assert_int_equal(occurrences(text, "\"name\": \"program\""), 1);
    assert_int_equal(occurrences(text, "\"i\": 6"), 1);
    assert_true(strncmp(text, "{", 1) == 0 && strstr(text, "\"traceEvents\": ["));
    sp_array_free(text);
    sp_run_free(run);
}

static void a_run_that_keeps_no_times_has_an_empty_timeline(void **state)
{
    (void)state;
    sp_run *run = run_tasks(false);
    char *text = trace_of(run);

    assert_int_equal(occurrences(text, "\"name\""), 0);
    sp_array_free(text);
    sp_run_free(run);
}

static void spend(double seconds)
{
    const double until = sp_clock_wall() + seconds;

    while (sp_clock_wall() < until) {
    }
}

static void work_for_a_while(sp_task *t)
{
    (void)t;
    spend(0.1);
}
static const sp_task_type long_task = {.name = "long", .run = work_for_a_while, .privilege = {SP_WRITE}};

static void neither_tasks_nor_the_programs_own_work_count_for_the_layer(void **state)
{
    (void)state;
    sp_run *run = run_tasks(true);
    sp_space *space;
    sp_region *region;
    sp_text table = {0};
    double seconds = NAN, share = NAN;

    assert_int_equal(sp_space_new(run, 3, 1, &space), SP_OK);
    assert_int_equal(sp_region_new(space, "longs", sizeof(int32_t), &region), SP_OK);
    sp_launch(run, .type = &long_task, .points = {3}, .argument = {sp_by_i(region)});
    spend(0.2);
    assert_int_equal(sp_run_table(run, &table), SP_OK);
    const char *line = strstr(sp_text_string(&table), "the layer:");

    assert_non_null(line);
    assert_int_equal(sscanf(line, "the layer: %lf s, %lf", &seconds, &share), 2);
    assert_true(seconds >= 0.0 && seconds < 0.1);
    assert_true(share < 25.0);
    sp_text_clear(&table);
    sp_run_free(run);
}

static void a_folder_that_is_not_there_is_named(void **state)
{
    (void)state;
    sp_run *run = run_tasks(true);

    assert_int_equal(sp_run_write_trace(run, "/nowhere/trace.json"), SP_ERR_OUTPUT);
    assert_non_null(strstr(sp_error_text(), "/nowhere"));
    sp_run_free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_table_counts_the_tasks_of_each_kind),
        cmocka_unit_test(the_engine_of_many_processes_has_a_table_on_one),
        cmocka_unit_test(a_timeline_has_every_task_and_what_the_program_waited_for),
        cmocka_unit_test(a_run_that_keeps_no_times_has_an_empty_timeline),
        cmocka_unit_test(neither_tasks_nor_the_programs_own_work_count_for_the_layer),
        cmocka_unit_test(a_folder_that_is_not_there_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
