/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/fft.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "testing.h"

/* A volume of random numbers, its transform, and the plan for them. */
typedef struct problem {
    ptrdiff_t n, cube;
    sp_fft *plan;
    float *real, *back;
    float complex *half;
} problem;

static problem make_problem(ptrdiff_t n)
{
    problem p = {.n = n, .cube = n * n * n};
    sp_rng rng = sp_rng_stream(9, 1, (uint64_t)n);

    assert_int_equal(sp_fft_new(n, &p.plan), SP_OK);
    assert_int_equal(SP_ARRAY(p.real, p.cube), SP_OK);
    assert_int_equal(SP_ARRAY(p.back, p.cube), SP_OK);
    assert_int_equal(SP_ARRAY(p.half, sp_fft_complex_count(p.plan)), SP_OK);
    for (ptrdiff_t i = 0; i < p.cube; i++) {
        p.real[i] = p.back[i] = (float)sp_rng_normal(&rng);
    }
    return p;
}

static void clear_problem(problem *p)
{
    sp_fft_free(p->plan);
    sp_array_free(p->real);
    sp_array_free(p->back);
    sp_array_free(p->half);
}

static const ptrdiff_t edges[] = {2, 5, 12, 15, 22};
enum { EDGES = sizeof edges / sizeof *edges };

static void there_and_back_multiplies_by_the_number_of_voxels(void **state)
{
    (void)state;
    for (int e = 0; e < EDGES; e++) {
        problem p = make_problem(edges[e]);

        assert_int_equal(sp_fft_edge(p.plan), p.n);
        assert_int_equal(sp_fft_complex_count(p.plan), p.n * p.n * (p.n / 2 + 1));
        sp_fft_forward(p.plan, p.real, p.half);
        assert_memory_equal(p.real, p.back, (size_t)p.cube * sizeof *p.real); /* forward keeps its input */
        sp_fft_backward(p.plan, p.half, p.back);
        for (ptrdiff_t i = 0; i < p.cube; i++) {
            assert_true(fabsf(p.back[i] / (float)p.cube - p.real[i]) < 1e-5f);
        }
        clear_problem(&p);
    }
}

/* sum |f|^2 = sum |F|^2 / n^3; frequencies with 0 < z < n/2 stand for two */
static void the_power_is_the_same_on_both_sides(void **state)
{
    (void)state;
    for (int e = 0; e < EDGES; e++) {
        problem p = make_problem(edges[e]);
        double here = 0.0, there = 0.0;

        sp_fft_forward(p.plan, p.real, p.half);
        for (ptrdiff_t i = 0; i < p.cube; i++) {
            here += (double)p.real[i] * p.real[i];
        }
        for (ptrdiff_t i = 0; i < sp_fft_complex_count(p.plan); i++) {
            const ptrdiff_t z = i % (p.n / 2 + 1);
            const double re = crealf(p.half[i]), im = cimagf(p.half[i]);

            there += (z == 0 || 2 * z == p.n ? 1.0 : 2.0) * (re * re + im * im);
        }
        assert_true(fabs(there / (double)p.cube / here - 1.0) < 1e-5);
        clear_problem(&p);
    }
}

/* cos(2 pi (k.r/n) + phase) has n^3/2 exp(i phase) at k and the conjugate at -k, of which only one is stored */
static void a_plane_wave_lands_in_its_bin_with_its_phase(void **state)
{
    (void)state;
    const ptrdiff_t k[3] = {-3, 2, 4};
    const double phase = 0.7;
    problem p = make_problem(12);
    const ptrdiff_t n = p.n, bin = ((k[0] + n) * n + k[1]) * (n / 2 + 1) + k[2];

    for (ptrdiff_t i = 0; i < p.cube; i++) {
        const ptrdiff_t turns = k[0] * (i / (n * n)) + k[1] * (i / n % n) + k[2] * (i % n);

        p.real[i] = (float)cos(2.0 * M_PI * (double)turns / (double)n + phase);
    }
    sp_fft_forward(p.plan, p.real, p.half);
    for (ptrdiff_t i = 0; i < sp_fft_complex_count(p.plan); i++) {
        const double complex want = i == bin ? 0.5 * (double)p.cube * cexp(I * phase) : 0.0;

        assert_true(cabs(p.half[i] - want) < 1e-5 * (double)p.cube);
    }
    clear_problem(&p);
}

static void good_sizes_are_even_and_smooth_and_the_smallest_such(void **state)
{
    (void)state;
    const ptrdiff_t pairs[][2] = {{-3, 2},  {1, 2},   {2, 2},     {7, 8},     {11, 12},     {13, 16},
                                  {21, 24}, {65, 72}, {127, 128}, {217, 240}, {1025, 1080}, {1536, 1536}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        assert_int_equal(sp_fft_good_size(pairs[i][0]), pairs[i][1]);
    }
    for (ptrdiff_t n = 2; n < 1000; n++) {
        const ptrdiff_t size = sp_fft_good_size(n);

        assert_true(size >= n && size % 2 == 0 && size <= sp_fft_good_size(n + 1));
        assert_int_equal(sp_fft_good_size(size), size);
    }
}

static void impossible_edges_are_refused_by_name(void **state)
{
    (void)state;
    sp_fft *plan = NULL;

    assert_int_equal(sp_fft_new(1, &plan), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "edge 1 is not in 2..2048"));
    assert_int_equal(sp_fft_new(2049, &plan), SP_ERR_USAGE);
    assert_null(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back_multiplies_by_the_number_of_voxels),
        cmocka_unit_test(the_power_is_the_same_on_both_sides),
        cmocka_unit_test(a_plane_wave_lands_in_its_bin_with_its_phase),
        cmocka_unit_test(good_sizes_are_even_and_smooth_and_the_smallest_such),
        cmocka_unit_test(impossible_edges_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
