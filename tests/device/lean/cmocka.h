/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* cmocka.h -- as much of cmocka as tests/device uses, for machines that have a GPU and no cmocka (run-on-gpu.sh). The
 * first failure ends the program. */
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};

#define cmocka_unit_test(function)                                                                                     \
    {                                                                                                                  \
#function, function                                                                                            \
    }
#define cmocka_run_group_tests(tests, setup, teardown) lean_run(tests, sizeof(tests) / sizeof *(tests))

#define assert_true(condition) lean_assert((condition) ? 1 : 0, #condition, __FILE__, __LINE__)
#define assert_null(pointer) assert_true(!(pointer))
#define assert_non_null(pointer) assert_true(pointer)
#define assert_int_equal(a, b) assert_true((long long)(a) == (long long)(b))
#define assert_memory_equal(a, b, bytes) assert_true(memcmp((a), (b), (bytes)) == 0)
#define print_message(...) printf(__VA_ARGS__)
#define print_error(...) fprintf(stderr, __VA_ARGS__)

static const char *lean_filter = "*";

static inline void cmocka_set_test_filter(const char *pattern)
{
    lean_filter = pattern;
}

static inline void lean_assert(int holds, const char *claim, const char *file, int line)
{
    if (!holds) {
        printf("%s:%d: does not hold: %s\n", file, line, claim);
        fflush(stdout);
        exit(1);
    }
}

static inline int lean_run(const struct CMUnitTest *tests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        void *state = NULL;

        if (fnmatch(lean_filter, tests[i].name, 0) == 0) {
            printf("%s\n", tests[i].name);
            fflush(stdout);
            tests[i].run(&state);
        }
    }
    return 0;
}
