/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "run/run.h"
#include "testing.h"

static void square(sp_task *t)
{
    const float *in = sp_task_in(t, 0);
    float *out = sp_task_out(t, 1);

    for (ptrdiff_t i = 0; i < sp_task_count(t, 0); i++) {
        out[i] = in[i] * in[i];
    }
}
static const sp_task_type square_task = {.name = "square", .run = square, .privilege = {SP_READ, SP_WRITE}};

static void number(sp_task *t)
{
    float *out = sp_task_out(t, 0);

    for (ptrdiff_t i = 0; i < sp_task_count(t, 0); i++) {
        out[i] = (float)(sp_task_first(t, 0) + i);
    }
}
static const sp_task_type number_task = {.name = "number", .run = number, .privilege = {SP_WRITE}};

static void sum(sp_task *t)
{
    const float *in = sp_task_in(t, 0);
    double *out = sp_task_out(t, 1);

    for (ptrdiff_t i = 0; i < sp_task_count(t, 0); i++) {
        out[0] += in[i];
    }
}
static const sp_task_type sum_task = {.name = "sum", .run = sum, .privilege = {SP_READ, SP_REDUCE}};

static void squares_add_up(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        sp_run *run = NULL;
        sp_space *many, *one;
        sp_region *x, *y, *total;
        double got = 0.0;

        assert_int_equal(sp_run_new(&(sp_run_settings){.threads = threads}, &run), SP_OK);
        assert_int_equal(sp_space_new(run, 1000, 64, &many), SP_OK);
        assert_int_equal(sp_space_new(run, 1, 1, &one), SP_OK);
        assert_int_equal(sp_region_new(many, "x", sizeof(float), &x), SP_OK);
        assert_int_equal(sp_region_new(many, "y", sizeof(float), &y), SP_OK);
        assert_int_equal(sp_region_new(one, "total", sizeof(double), &total), SP_OK);
        sp_launch(run, .type = &number_task, .points = {sp_space_blocks(many)}, .argument = {sp_by_i(x)});
        sp_launch(run, .type = &square_task, .points = {sp_space_blocks(many)}, .argument = {sp_by_i(x), sp_by_i(y)});
        sp_launch(run, .type = &sum_task, .points = {sp_space_blocks(many)},
                  .argument = {sp_by_i(y), sp_into(sp_at(total, 0), &sp_sum_double)});
        assert_int_equal(sp_run_get(run, total, 0, &got), SP_OK);
        assert_true(got == 999.0 * 1000.0 * 1999.0 / 6.0);
        sp_run_free(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(squares_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
