/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "testing.h"

static void sleeping_takes_wall_time_but_no_processor_time(void **state)
{
    (void)state;
    const struct timespec pause = {.tv_nsec = 50000000};
    const double wall = sp_clock_wall(), cpu = sp_clock_cpu();

    nanosleep(&pause, NULL);
    assert_true(sp_clock_wall() - wall >= 0.05);
    assert_true(sp_clock_cpu() - cpu < 0.04);
}

static void working_takes_processor_time(void **state)
{
    (void)state;
    const double cpu = sp_clock_cpu(), deadline = sp_clock_wall() + 10.0;

    while (sp_clock_cpu() < cpu + 0.02 && sp_clock_wall() < deadline) {
    }
    assert_true(sp_clock_cpu() >= cpu + 0.02);
}

static void peak_memory_follows_what_is_touched(void **state)
{
    (void)state;
    const size_t size = (size_t)64 << 20, before = sp_clock_peak_memory();
    char *memory = malloc(size);

    assert_non_null(memory);
    memset(memory, 1, size);
    assert_int_equal(memory[size / 2], 1);
    assert_true(sp_clock_peak_memory() >= before + size / 2);
    free(memory);
}

static void stamp_is_iso_8601(void **state)
{
    (void)state;
    char stamp[SP_CLOCK_STAMP];
    struct tm parts;

    sp_clock_stamp(stamp);
    assert_int_equal(strlen(stamp), 20);
    assert_non_null(strptime(stamp, "%Y-%m-%dT%H:%M:%SZ", &parts));
    assert_true(labs((long)(timegm(&parts) - time(NULL))) <= 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sleeping_takes_wall_time_but_no_processor_time),
        cmocka_unit_test(working_takes_processor_time),
        cmocka_unit_test(peak_memory_follows_what_is_touched),
        cmocka_unit_test(stamp_is_iso_8601),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
