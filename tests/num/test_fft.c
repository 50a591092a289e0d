/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/fft.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/fft_kernels.h"
#include "testing.h"

static const double ACCURACY = 3e-7; /* relative, root mean square */

/* Primes, products of small ones, lengths around the lanes of vectors, sizes in use. */
static const ptrdiff_t edges[] = {2, 3, 4, 5, 6, 7, 8, 12, 15, 16, 20, 22, 24, 30, 34, 36, 40, 48, 50};
enum { EDGES = sizeof edges / sizeof *edges };

/* A volume of random numbers, room for its transform, and the plan for them. */
typedef struct problem {
    ptrdiff_t n, cube, count;
    sp_fft *plan;
    float *real, *back;
    float complex *half;
} problem;

static problem make_problem(sp_isa isa, ptrdiff_t n)
{
    problem p = {.n = n, .cube = n * n * n};
    sp_rng rng = sp_rng_stream(9, 1, (uint64_t)n);

    assert_int_equal(sp_fft_new_for(isa, n, &p.plan), SP_OK);
    p.count = sp_fft_complex_count(p.plan);
    assert_int_equal(sp_fft_edge(p.plan), n);
    assert_int_equal(p.count, n * n * (n / 2 + 1));
    assert_int_equal(SP_ARRAY(p.real, p.cube), SP_OK);
    assert_int_equal(SP_ARRAY(p.back, p.cube), SP_OK);
    assert_int_equal(SP_ARRAY(p.half, p.count), SP_OK);
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

/* Random numbers that are the transform of nothing real. */
static void fill_half(problem *p)
{
    sp_rng rng = sp_rng_stream(9, 2, (uint64_t)p->n);

    for (ptrdiff_t i = 0; i < p->count; i++) {
        p->half[i] = (float)sp_rng_normal(&rng) + I * (float)sp_rng_normal(&rng);
    }
}

static float *random_factor(ptrdiff_t count)
{
    sp_rng rng = sp_rng_stream(9, 3, (uint64_t)count);
    float *factor = NULL;

    assert_int_equal(SP_ARRAY(factor, count), SP_OK);
    for (ptrdiff_t i = 0; i < count; i++) {
        factor[i] = (float)(sp_rng_normal(&rng) / (double)count);
    }
    return factor;
}

/* The definition, in double, axis by axis: data[n][n][n] <- sum over i of data exp(sign 2 pi i i k / n). */
static void transform_by_definition(double complex *data, ptrdiff_t n, double sign)
{
    const ptrdiff_t strides[3] = {1, n, n * n};
    double complex *root = NULL, *line = NULL;

    assert_int_equal(SP_ARRAY(root, n), SP_OK);
    assert_int_equal(SP_ARRAY(line, n), SP_OK);
    for (ptrdiff_t i = 0; i < n; i++) {
        root[i] = cexp(sign * 2.0 * M_PI * I * (double)i / (double)n);
    }
    for (int axis = 0; axis < 3; axis++) {
        for (ptrdiff_t start = 0; start < n * n * n; start++) {
            if (start / strides[axis] % n != 0) {
                continue;
            }
            for (ptrdiff_t i = 0; i < n; i++) {
                line[i] = data[start + i * strides[axis]];
            }
            for (ptrdiff_t k = 0; k < n; k++) {
                double re = 0.0, im = 0.0;

                for (ptrdiff_t i = 0; i < n; i++) {
                    const double complex w = root[i * k % n];

                    re += creal(line[i]) * creal(w) - cimag(line[i]) * cimag(w);
                    im += creal(line[i]) * cimag(w) + cimag(line[i]) * creal(w);
                }
                data[start + k * strides[axis]] = re + I * im;
            }
        }
    }
    sp_array_free(root);
    sp_array_free(line);
}

static void forward_is_the_sum_of_its_definition(void **state)
{
    (void)state;
    for (int e = 0; e < EDGES; e++) {
        const ptrdiff_t n = edges[e];
        double complex *want = NULL;

        assert_int_equal(SP_ARRAY(want, n * n * n), SP_OK);
        for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
            problem p = make_problem((sp_isa)isa, n);
            double error = 0.0, norm = 0.0;

            if (isa == 0) {
                for (ptrdiff_t i = 0; i < p.cube; i++) {
                    want[i] = p.real[i];
                }
                transform_by_definition(want, n, -1.0);
            }
            sp_fft_forward(p.plan, p.real, p.half);
            assert_memory_equal(p.real, p.back, (size_t)p.cube * sizeof *p.real); /* keeps its input */
            for (ptrdiff_t i = 0; i < p.count; i++) {
                const double complex w = want[i / (n / 2 + 1) * n + i % (n / 2 + 1)];

                error += pow(cabs(p.half[i] - w), 2.0);
                norm += pow(cabs(w), 2.0);
            }
            assert_true(sqrt(error / norm) < ACCURACY);
            clear_problem(&p);
        }
        sp_array_free(want);
    }
}

/* f[r] = Re sum F[k] exp(2 pi i k.r / n), terms with 0 < z < n/2 twice, whether or not F is Hermitian */
static void backward_is_the_sum_of_its_definition(void **state)
{
    (void)state;
    for (int e = 0; e < EDGES; e++) {
        const ptrdiff_t n = edges[e];
        double complex *want = NULL;

        assert_int_equal(SP_ARRAY(want, n * n * n), SP_OK);
        for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
            problem p = make_problem((sp_isa)isa, n);
            double error = 0.0, norm = 0.0;

            fill_half(&p);
            if (isa == 0) {
                for (ptrdiff_t i = 0; i < p.count; i++) {
                    const ptrdiff_t z = i % (n / 2 + 1);

                    want[i / (n / 2 + 1) * n + z] = (z == 0 || 2 * z == n ? 1.0 : 2.0) * (double complex)p.half[i];
                }
                transform_by_definition(want, n, 1.0);
            }
            sp_fft_backward(p.plan, p.half, p.back);
            for (ptrdiff_t i = 0; i < p.cube; i++) {
                error += pow(p.back[i] - creal(want[i]), 2.0);
                norm += pow(creal(want[i]), 2.0);
            }
            assert_true(sqrt(error / norm) < ACCURACY);
            clear_problem(&p);
        }
        sp_array_free(want);
    }
}

static void there_and_back_multiplies_by_the_number_of_voxels(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        for (ptrdiff_t n = 54; n <= 90; n += 18) {
            problem p = make_problem((sp_isa)isa, n);

            sp_fft_forward(p.plan, p.real, p.half);
            sp_fft_backward(p.plan, p.half, p.back);
            for (ptrdiff_t i = 0; i < p.cube; i++) {
                assert_true(fabsf(p.back[i] / (float)p.cube - p.real[i]) < 5e-6f);
            }
            clear_problem(&p);
        }
    }
}

/* sum |f|^2 = sum |F|^2 / n^3; frequencies with 0 < z < n/2 stand for two */
static void the_power_is_the_same_on_both_sides(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        for (ptrdiff_t n = 64; n <= 100; n += 36) {
            problem p = make_problem((sp_isa)isa, n);
            double here = 0.0, there = 0.0;

            sp_fft_forward(p.plan, p.real, p.half);
            for (ptrdiff_t i = 0; i < p.cube; i++) {
                here += (double)p.real[i] * p.real[i];
            }
            for (ptrdiff_t i = 0; i < p.count; i++) {
                const ptrdiff_t z = i % (n / 2 + 1);
                const double re = crealf(p.half[i]), im = cimagf(p.half[i]);

                there += (z == 0 || 2 * z == n ? 1.0 : 2.0) * (re * re + im * im);
            }
            assert_true(fabs(there / (double)p.cube / here - 1.0) < 1e-6);
            clear_problem(&p);
        }
    }
}

/* cos(2 pi (k.r/n) + phase) has n^3/2 exp(i phase) at k and the conjugate at -k, of which only one is stored */
static void a_plane_wave_lands_in_its_bin_with_its_phase(void **state)
{
    (void)state;
    const ptrdiff_t k[3] = {-3, 2, 4};
    const double phase = 0.7;
    problem p = make_problem(sp_isa_best(), 12);
    const ptrdiff_t n = p.n, bin = ((k[0] + n) * n + k[1]) * (n / 2 + 1) + k[2];

    for (ptrdiff_t i = 0; i < p.cube; i++) {
        const ptrdiff_t turns = k[0] * (i / (n * n)) + k[1] * (i / n % n) + k[2] * (i % n);

        p.real[i] = (float)cos(2.0 * M_PI * (double)turns / (double)n + phase);
    }
    sp_fft_forward(p.plan, p.real, p.half);
    for (ptrdiff_t i = 0; i < p.count; i++) {
        const double complex want = i == bin ? 0.5 * (double)p.cube * cexp(I * phase) : 0.0;

        assert_true(cabs(p.half[i] - want) < 1e-5 * (double)p.cube);
    }
    clear_problem(&p);
}

/* sqrt(sum (a - b)^2 / sum b^2) */
static double relative_error(const float *a, const float *b, ptrdiff_t count)
{
    double error = 0.0, norm = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        error += pow((double)a[i] - b[i], 2.0);
        norm += pow(b[i], 2.0);
    }
    return sqrt(error / norm);
}

static void multiply_is_forward_then_product_then_backward(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        for (int e = 0; e < EDGES; e++) {
            problem p = make_problem((sp_isa)isa, edges[e]);
            float *factor = random_factor(p.count);

            sp_fft_multiply(p.plan, p.real, factor, p.half, p.back);
            sp_fft_forward(p.plan, p.real, p.half);
            for (ptrdiff_t i = 0; i < p.count; i++) {
                p.half[i] *= factor[i];
            }
            sp_fft_backward(p.plan, p.half, p.real);
            assert_true(relative_error(p.back, p.real, p.cube) < ACCURACY);
            clear_problem(&p);
            sp_array_free(factor);
        }
    }
}

/* What impose() should give, in double, from the transform in p->half: phases kept, moduli replaced. */
static void impose_by_definition(problem *p, const float *modulus)
{
    for (ptrdiff_t i = 0; i < p->count; i++) {
        const double complex f = p->half[i];
        const double own = cabs(f);

        if (modulus[i] >= 0.0f) {
            p->half[i] = (float complex)(own > 0.0 ? f * (modulus[i] / own) : modulus[i]);
        }
        p->half[i] /= (float)p->cube;
    }
    sp_fft_backward(p->plan, p->half, p->real);
}

static void impose_keeps_phases_and_replaces_moduli_unless_negative(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        for (int e = 0; e < EDGES; e++) {
            problem p = make_problem((sp_isa)isa, edges[e]);
            sp_rng rng = sp_rng_stream(9, 4, (uint64_t)p.n);
            float *modulus = NULL;

            assert_int_equal(SP_ARRAY(modulus, p.count), SP_OK);
            for (ptrdiff_t i = 0; i < p.count; i++) {
                const double x = sp_rng_normal(&rng);

                modulus[i] = x < -1.0 ? -1.0f : (x < 0.0 ? 0.0f : (float)(x * sqrt((double)p.cube)));
            }
            sp_fft_impose(p.plan, p.real, modulus, p.half, p.back);
            sp_fft_forward(p.plan, p.real, p.half);
            impose_by_definition(&p, modulus);
            assert_true(relative_error(p.back, p.real, p.cube) < 2.0 * ACCURACY);
            clear_problem(&p);
            sp_array_free(modulus);
        }
    }
}

/* The transform of nothing, or of next to nothing, has no phase: 0 is taken, which puts everything at voxel 0. */
static void impose_upon_nothing_gives_a_peak_at_the_origin(void **state)
{
    (void)state;
    const float heights[] = {0.0f, 1e-30f};

    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        for (int h = 0; h < 2; h++) {
            problem p = make_problem((sp_isa)isa, 18);
            float *modulus = NULL;

            assert_int_equal(SP_ARRAY(modulus, p.count), SP_OK);
            memset(p.real, 0, (size_t)p.cube * sizeof *p.real);
            p.real[0] = heights[h];
            for (ptrdiff_t i = 0; i < p.count; i++) {
                modulus[i] = 3.0f;
            }
            sp_fft_impose(p.plan, p.real, modulus, p.half, p.back);
            for (ptrdiff_t i = 0; i < p.cube; i++) {
                assert_true(fabsf(p.back[i] - (i == 0 ? 3.0f : 0.0f)) < 1e-5f);
            }
            clear_problem(&p);
            sp_array_free(modulus);
        }
    }
}

/* Voxel i of the small volume in the large one. */
static ptrdiff_t widened(ptrdiff_t i, ptrdiff_t n)
{
    const ptrdiff_t m = n / 2, at[3] = {i / (m * m), i / m % m, i % m};
    ptrdiff_t wide = 0;

    for (int axis = 0; axis < 3; axis++) {
        wide = wide * n + at[axis] + (2 * at[axis] >= m ? m : 0);
    }
    return wide;
}

static void a_padded_product_is_that_of_the_volume_with_its_zeros(void **state)
{
    (void)state;
    const ptrdiff_t sizes[] = {8, 12, 16, 20, 28, 36, 40, 48, 60, 64, 72, 76};

    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        for (size_t e = 0; e < sizeof sizes / sizeof *sizes; e++) {
            problem p = make_problem((sp_isa)isa, sizes[e]);
            const ptrdiff_t small = p.cube / 8;
            float *factor = random_factor(p.count), *in = NULL, *out = NULL;

            assert_int_equal(SP_ARRAY(in, small), SP_OK);
            assert_int_equal(SP_ARRAY(out, small), SP_OK);
            memcpy(in, p.real, (size_t)small * sizeof *in);
            memset(p.back, 0, (size_t)p.cube * sizeof *p.back);
            for (ptrdiff_t i = 0; i < small; i++) {
                p.back[widened(i, p.n)] = in[i];
            }
            sp_fft_multiply_padded(p.plan, in, factor, p.half, out);
            assert_memory_equal(in, p.real, (size_t)small * sizeof *in);
            sp_fft_multiply_padded(p.plan, in, factor, p.half, in);
            assert_memory_equal(in, out, (size_t)small * sizeof *in); /* in place, and the scratch does not matter */

            sp_fft_multiply(p.plan, p.back, factor, p.half, p.back);
            for (ptrdiff_t i = 0; i < small; i++) {
                p.real[i] = p.back[widened(i, p.n)];
            }
            assert_true(relative_error(out, p.real, small) < ACCURACY);
            clear_problem(&p);
            sp_array_free(factor);
            sp_array_free(in);
            sp_array_free(out);
        }
    }
}

/* All transforms of one plan, one after the other, in `half` and `real`. */
static void run_all(const problem *p, const float *factor, float complex *half, float *real)
{
    sp_fft_forward(p->plan, p->real, half);
    sp_fft_backward(p->plan, half, real);
    sp_fft_multiply(p->plan, real, factor, half, real);
    sp_fft_multiply_padded(p->plan, real, factor, half, real);
    sp_fft_impose(p->plan, real, factor, half, real);
}

/* The bits of run_all() as one of `callers` callers at once, each with all the threads it gets. */
static void check_bits(const problem *p, const float *factor, int callers)
{
    float complex *half[3] = {NULL};
    float *real[3] = {NULL};

    for (int i = 0; i < callers; i++) {
        assert_int_equal(SP_ARRAY(half[i], p->count), SP_OK);
        assert_int_equal(SP_ARRAY(real[i], p->cube), SP_OK);
    }
#pragma omp parallel for schedule(static, 1) if (callers > 1)
    for (int i = 0; i < callers; i++) {
        run_all(p, factor, half[i], real[i]);
    }
    for (int i = 0; i < callers; i++) {
        assert_memory_equal(real[i], p->back, (size_t)p->cube * sizeof *p->back);
        sp_array_free(half[i]);
        sp_array_free(real[i]);
    }
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    problem p = make_problem(sp_isa_best(), 40);
    float *factor = random_factor(p.count);
    const int threads = omp_get_max_threads();

    omp_set_num_threads(1);
    run_all(&p, factor, p.half, p.back);
    omp_set_num_threads(3);
    check_bits(&p, factor, 1);
    check_bits(&p, factor, 3);
    omp_set_num_threads(threads);
    clear_problem(&p);
    sp_array_free(factor);
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

/* Planes beyond are full of NAN going in, and must stay as they are going out. */
static void planes_beyond_are_neither_looked_at_nor_written(void **state)
{
    (void)state;
    for (int i = 0; i < EDGES; i++) {
        for (ptrdiff_t most = 0; most <= edges[i] / 2; most += 3) {
            problem p = make_problem(sp_isa_best(), edges[i]);
            const ptrdiff_t plane = p.n * p.n;
            float complex *want = NULL;

            assert_int_equal(SP_ARRAY(want, p.count), SP_OK);
            for (ptrdiff_t x = most + 1; x < p.n - most; x++) {
                memset(p.real + x * plane, 0, (size_t)plane * sizeof *p.real);
            }
            sp_fft_forward(p.plan, p.real, want);
            for (ptrdiff_t k = (most + 1) * plane; k < (p.n - most) * plane; k++) {
                p.real[k] = NAN;
            }
            sp_fft_forward_within(p.plan, p.real, most, p.half);
            assert_memory_equal(p.half, want, (size_t)p.count * sizeof *want);
            sp_fft_backward(p.plan, want, p.back);
            sp_fft_backward_within(p.plan, p.half, most, p.real);
            for (ptrdiff_t k = 0; k < p.cube; k++) {
                const bool beyond = k / plane > most && p.n - k / plane > most;

                assert_true(beyond ? isnan(p.real[k]) : p.real[k] == p.back[k]);
            }
            sp_array_free(want);
            clear_problem(&p);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_is_the_sum_of_its_definition),
        cmocka_unit_test(backward_is_the_sum_of_its_definition),
        cmocka_unit_test(there_and_back_multiplies_by_the_number_of_voxels),
        cmocka_unit_test(the_power_is_the_same_on_both_sides),
        cmocka_unit_test(a_plane_wave_lands_in_its_bin_with_its_phase),
        cmocka_unit_test(multiply_is_forward_then_product_then_backward),
        cmocka_unit_test(impose_keeps_phases_and_replaces_moduli_unless_negative),
        cmocka_unit_test(impose_upon_nothing_gives_a_peak_at_the_origin),
        cmocka_unit_test(a_padded_product_is_that_of_the_volume_with_its_zeros),
        cmocka_unit_test(planes_beyond_are_neither_looked_at_nor_written),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(good_sizes_are_even_and_smooth_and_the_smallest_such),
        cmocka_unit_test(impossible_edges_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
