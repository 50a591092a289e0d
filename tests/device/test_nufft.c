/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/nufft.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "device/gpu.h"
#include "num/nufft_layout.h"

enum { EDGE = 16, MOST_PIXELS = 300, MOST_ORIENTATIONS = 20 };

/* A grid of random numbers: neighbours have nothing to do with each other, so that each cell of a stencil counts. */
typedef struct problem {
    sp_nufft *plan;
    float *grid;          /* [grid_count] */
    ptrdiff_t grid_count; /* floats */
    double scale;
    sp_mat3 rotation[MOST_ORIENTATIONS];
    float map[MOST_ORIENTATIONS][3][3];
    float s[3][MOST_PIXELS];
} problem;

static void make_problem(problem *p, int width, uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 1, (uint64_t)width);

    p->scale = 1.0 / sqrt(3.0);
    assert_int_equal(sp_nufft_new_with(EDGE, width, 1.5, &sp_nufft_ref, 0, &p->plan), SP_OK);
    p->grid_count = sp_nufft_grid_count(p->plan);
    assert_int_equal(SP_ARRAY(p->grid, p->grid_count), SP_OK);
    for (ptrdiff_t i = 0; i < p->grid_count; i++) {
        p->grid[i] = (float)sp_rng_normal(&rng);
    }
    for (int i = 0; i < MOST_ORIENTATIONS; i++) {
        p->rotation[i] = sp_quat_to_matrix(sp_quat_random(&rng));
        sp_nufft_map(p->plan, &p->rotation[i], p->scale, p->map[i]);
    }
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < MOST_PIXELS; j++) {
            p->s[i][j] = (float)(EDGE * (sp_rng_uniform(&rng) - 0.5));
        }
        p->s[i][0] = 0.0f; /* the centre is its own mirror */
    }
}

static void clear_problem(problem *p)
{
    sp_nufft_free(p->plan);
    sp_array_free(p->grid);
}

/* value [orientations][count], on the GPU. */
static void interpolate(const problem *p, int orientations, int count, bool not_negative, float *value)
{
    sp_device *gpu = gpu_open();
    const sp_nufft_stencil stencil = sp_nufft_flat_stencil(p->plan);
    const size_t grid_bytes = (size_t)p->grid_count * sizeof *p->grid;
    const size_t map_bytes = (size_t)orientations * sizeof *p->map;
    const size_t s_bytes = 3 * (size_t)count * sizeof **p->s;
    const size_t bytes = (size_t)orientations * (size_t)count * sizeof *value;
    float packed[3 * MOST_PIXELS];

    for (int i = 0; i < 3; i++) {
        memcpy(packed + i * count, p->s[i], (size_t)count * sizeof *packed);
    }
    float *grid = gpu_array(gpu, p->grid, grid_bytes), *map = gpu_array(gpu, p->map, map_bytes);
    float *s = gpu_array(gpu, packed, s_bytes), *out = gpu_array(gpu, NULL, bytes);

    assert_int_equal(
        gpu->kernels->nufft->interpolate(gpu, &stencil, grid, map, orientations, s, count, not_negative, out), SP_OK);
    gpu_take(gpu, out, bytes, value);
    gpu_take(gpu, s, s_bytes, NULL);
    gpu_take(gpu, map, map_bytes, NULL);
    gpu_take(gpu, grid, grid_bytes, NULL);
    sp_device_close(gpu);
}

/* The same by the plain loops. */
static void interpolate_ref(const problem *p, int orientations, int count, float *value)
{
    const float *const s[3] = {p->s[0], p->s[1], p->s[2]};

    for (int i = 0; i < orientations; i++) {
        sp_nufft_interpolate(p->plan, p->grid, &p->rotation[i], p->scale, s, count, value + i * count);
    }
}

static double root_mean_square(const float *value, ptrdiff_t count)
{
    double sum = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        sum += (double)value[i] * value[i];
    }
    return sqrt(sum / (double)count);
}

/* Numbers of pixels and orientations that fill blocks, and that do not. */
static void type_2_equals_the_plain_loops(void **state)
{
    (void)state;
    static const int counts[][2] = {
        {1, 1}, {3, 31}, {1, 64}, {8, 65}, {9, 32}, {7, 33}, {MOST_ORIENTATIONS, MOST_PIXELS}};
    static float got[MOST_ORIENTATIONS * MOST_PIXELS], want[MOST_ORIENTATIONS * MOST_PIXELS];
    const uint64_t seed = fresh_seed();
    problem p;

    for (int width = 4; width <= 6; width += 2) {
        make_problem(&p, width, seed);
        interpolate_ref(&p, MOST_ORIENTATIONS, MOST_PIXELS, want);
        const double typical = root_mean_square(want, MOST_ORIENTATIONS * MOST_PIXELS);

        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            const int orientations = counts[i][0], count = counts[i][1];

            interpolate(&p, orientations, count, false, got);
            interpolate_ref(&p, orientations, count, want);
            for (int j = 0; j < orientations * count; j++) {
                got[j] -= want[j];
            }
            assert_true(root_mean_square(got, (ptrdiff_t)orientations * count) < 2e-6 * typical);
        }
        clear_problem(&p);
    }
}

static void negative_values_become_zero_where_asked(void **state)
{
    (void)state;
    enum { COUNT = 3 * MOST_PIXELS };
    float plain[COUNT], clamped[COUNT];
    int negative = 0;
    problem p;

    make_problem(&p, 4, fresh_seed());
    interpolate(&p, 3, MOST_PIXELS, false, plain);
    interpolate(&p, 3, MOST_PIXELS, true, clamped);
    for (int i = 0; i < COUNT; i++) {
        negative += plain[i] < 0.0f;
        assert_true(clamped[i] == (plain[i] > 0.0f ? plain[i] : 0.0f));
    }
    assert_true(negative > 0);
    clear_problem(&p);
}

static void nothing_to_do_is_done(void **state)
{
    (void)state;
    sp_device *gpu = gpu_open();
    problem p;

    make_problem(&p, 4, 1);
    const sp_nufft_stencil stencil = sp_nufft_flat_stencil(p.plan);

    assert_int_equal(gpu->kernels->nufft->interpolate(gpu, &stencil, NULL, NULL, 0, NULL, 5, false, NULL), SP_OK);
    assert_int_equal(gpu->kernels->nufft->interpolate(gpu, &stencil, NULL, NULL, 5, NULL, 0, false, NULL), SP_OK);
    clear_problem(&p);
    sp_device_close(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_2_equals_the_plain_loops),
        cmocka_unit_test(negative_values_become_zero_where_asked),
        cmocka_unit_test(nothing_to_do_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
