/* SPDX-License-Identifier: BSD-3-Clause */
/* Plans on a GPU; volumes to grids, pairs of grids to volumes. */
#include "device/nufft_problem.h"

/* Edges whose grids fill no block and no tile. */
static const struct setting {
    ptrdiff_t edge;
    int width;
    double sigma;
} settings[] = {{4, 4, 2.0}, {14, 4, 1.25}, {16, 6, 1.5}, {18, 4, 2.0}, {20, 6, 1.25}};
static const size_t SETTINGS = sizeof settings / sizeof *settings;

static void make_setting(problem *p, size_t i, uint64_t seed)
{
    make_problem(p, settings[i].edge, settings[i].width, settings[i].sigma, seed);
}

/* grid = of a volume, on the GPU.   grid  out  [cells] */
static void prepare(const problem *p, const float *volume, float *grid)
{
    sp_device *gpu = gpu_open();
    sp_device_nufft *plan = gpu_plan(gpu, p, 1);
    const ptrdiff_t n = sp_nufft_layout_of(p->plan).edge;
    const size_t bytes = (size_t)p->cells * sizeof *grid;
    float *in = gpu_array(gpu, volume, (size_t)(n * n * n) * sizeof *volume), *out = gpu_array(gpu, NULL, bytes);

    assert_int_equal(gpu->kernels->nufft->prepare(gpu, plan, in, out), SP_OK);
    gpu_take(gpu, out, bytes, grid);
    gpu->kernels->release(gpu, in);
    gpu->kernels->nufft->free_plan(gpu, plan);
    sp_device_close(gpu);
}

/* volume = of a pair, on the GPU.   volume  out  [m][m][m] */
static void collect(const problem *p, const double *pair, int which, ptrdiff_t m, float *volume)
{
    sp_device *gpu = gpu_open();
    sp_device_nufft *plan = gpu_plan(gpu, p, 1);
    const size_t bytes = (size_t)(m * m * m) * sizeof *volume, pair_bytes = 2 * (size_t)p->cells * sizeof *pair;
    double *in = gpu_array(gpu, pair, pair_bytes), *kept = malloc(pair_bytes);
    float *out = gpu_array(gpu, NULL, bytes);

    assert_non_null(kept);
    assert_int_equal(gpu->kernels->nufft->collect(gpu, plan, in, which, m, out), SP_OK);
    gpu_take(gpu, out, bytes, volume);
    gpu_take(gpu, in, pair_bytes, kept);
    assert_memory_equal(kept, pair, pair_bytes);
    free(kept);
    gpu->kernels->nufft->free_plan(gpu, plan);
    sp_device_close(gpu);
}

static void grids_equal_those_of_the_plain_loops(void **state)
{
    (void)state;
    const uint64_t seed = fresh_seed();

    for (size_t i = 0; i < SETTINGS; i++) {
        const ptrdiff_t n = settings[i].edge;
        problem p;

        make_setting(&p, i, seed);
        float *volume = random_array(&p, n * n * n), *got = random_array(&p, p.cells);
        float *want = random_array(&p, p.cells);

        prepare(&p, volume, got);
        sp_nufft_prepare(p.plan, volume, want);
        const double error = difference(got, want, p.cells);

        print_message("grid, edge %td, width %d: %.1e\n", n, settings[i].width, error);
        assert_true(error < 5e-7);
        sp_array_free(volume);
        sp_array_free(got);
        sp_array_free(want);
        clear_problem(&p);
    }
}

/* Of a pair of random numbers, padding as well. */
static void check_volume(problem *p, int which, ptrdiff_t m)
{
    float *pair = random_array(p, 2 * p->cells), *got = random_array(p, m * m * m), *want = random_array(p, m * m * m);
    double *fine = NULL;

    assert_int_equal(SP_ARRAY(fine, 2 * p->cells), SP_OK);
    for (ptrdiff_t i = 0; i < 2 * p->cells; i++) {
        fine[i] = pair[i];
    }
    collect(p, fine, which, m, got);
    sp_nufft_collect(p->plan, pair, which, m, want);
    const double error = difference(got, want, m * m * m);

    print_message("volume, edge %td: %.1e\n", m, error);
    assert_true(error < 1e-6);
    sp_array_free(pair);
    sp_array_free(got);
    sp_array_free(want);
    sp_array_free(fine);
}

static void volumes_equal_those_of_the_plain_loops(void **state)
{
    (void)state;
    const uint64_t seed = fresh_seed();

    for (size_t i = 0; i < SETTINGS; i++) {
        const ptrdiff_t n = settings[i].edge;
        problem p;

        make_setting(&p, i, seed);
        check_volume(&p, 0, n);
        check_volume(&p, 1, n / 4 * 2 + 2);
        clear_problem(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grids_equal_those_of_the_plain_loops),
        cmocka_unit_test(volumes_equal_those_of_the_plain_loops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
