/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <omp.h>
#include <stdlib.h>

#include "num/cg.h"
#include "testing.h"

enum { COUNT = 60 };

/* Second difference plus a diagonal: symmetric, positive definite, condition about 400. */
static void apply(void *context, const float *in, float *out)
{
    const float shift = *(const float *)context;

    for (int i = 0; i < COUNT; i++) {
        out[i] = (2.0f + shift) * in[i] - (i > 0 ? in[i - 1] : 0.0f) - (i < COUNT - 1 ? in[i + 1] : 0.0f);
    }
}

static void solution_solves_and_the_residual_is_true(void **state)
{
    (void)state;
    float shift = 0.01f, b[COUNT], x[COUNT] = {0.0f}, back[COUNT], work[3 * COUNT];
    double square = 0.0, norm = 0.0;

    for (int i = 0; i < COUNT; i++) {
        b[i] = (float)sin(0.3 * i) + (float)(i % 7);
    }
    const sp_cg_result result = sp_cg_solve(apply, &shift, COUNT, b, x, 1e-4, 200, work);

    apply(&shift, x, back);
    for (int i = 0; i < COUNT; i++) {
        square += (b[i] - back[i]) * (b[i] - back[i]);
        norm += b[i] * b[i];
    }
    assert_true(result.converged);
    assert_true(sqrt(square / norm) < 2e-4);
    assert_true(fabs(result.residual - sqrt(square / norm)) < 1e-7);
    assert_true(result.iterations <= COUNT + 5);
}

enum { MANY = 50001 }; /* more than one thread works on */

static void apply_diagonal(void *context, const float *in, float *out)
{
    (void)context;
    for (ptrdiff_t i = 0; i < MANY; i++) {
        out[i] = (1.0f + (float)(i % 97)) * in[i];
    }
}

static void any_number_of_threads_gives_the_same_bits(void **state)
{
    (void)state;
    const int before = omp_get_max_threads();
    float *b = malloc(MANY * sizeof *b), *work = malloc(3 * MANY * sizeof *work);
    float *x[3] = {calloc(MANY, sizeof *b), calloc(MANY, sizeof *b), calloc(MANY, sizeof *b)};

    for (ptrdiff_t i = 0; i < MANY; i++) {
        b[i] = (float)sin(0.01 * (double)i) + 0.3f;
    }
    for (int k = 0; k < 3; k++) {
        omp_set_num_threads(k + 1);
        assert_int_equal(sp_cg_solve(apply_diagonal, NULL, MANY, b, x[k], 1e-6, 7, work).iterations, 7);
        assert_memory_equal(x[0], x[k], MANY * sizeof *b);
    }
    omp_set_num_threads(before);
    for (int k = 0; k < 3; k++) {
        free(x[k]);
    }
    free(b);
    free(work);
}

static void too_few_iterations_are_admitted(void **state)
{
    (void)state;
    float shift = 0.01f, b[COUNT], x[COUNT] = {0.0f}, work[3 * COUNT];

    for (int i = 0; i < COUNT; i++) {
        b[i] = 1.0f;
    }
    const sp_cg_result result = sp_cg_solve(apply, &shift, COUNT, b, x, 1e-6, 3, work);

    assert_false(result.converged);
    assert_int_equal(result.iterations, 3);
    assert_true(result.residual > 1e-3);
}

static void an_indefinite_operator_ends_the_loop(void **state)
{
    (void)state;
    float shift = -10.0f, b[COUNT], x[COUNT] = {0.0f}, work[3 * COUNT];

    for (int i = 0; i < COUNT; i++) {
        b[i] = 1.0f;
    }
    const sp_cg_result result = sp_cg_solve(apply, &shift, COUNT, b, x, 1e-6, 100, work);

    assert_false(result.converged);
    assert_int_equal(result.iterations, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(solution_solves_and_the_residual_is_true),
        cmocka_unit_test(any_number_of_threads_gives_the_same_bits),
        cmocka_unit_test(too_few_iterations_are_admitted),
        cmocka_unit_test(an_indefinite_operator_ends_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
