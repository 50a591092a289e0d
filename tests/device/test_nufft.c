/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/nufft.h"

#include "device/nufft_problem.h"

enum { EDGE = 16, MOST_VALUES = MOST_ORIENTATIONS * MOST_PIXELS };

/* Numbers of orientations and pixels that fill blocks, and that do not. */
static const int counts[][2] = {{1, 1}, {3, 31}, {1, 64}, {8, 65}, {9, 32}, {7, 33}, {MOST_ORIENTATIONS, MOST_PIXELS}};
static const size_t SIZES = sizeof counts / sizeof *counts;

/* Arguments of type 2 on the GPU. The grid holds random numbers: neighbours have nothing to do with each other, so that
 * each cell of a stencil counts. */
typedef struct inputs {
    sp_device *gpu;
    sp_nufft_stencil stencil;
    int orientations, count;
    size_t bytes; /* of the values */
    float *grid, *map, *s;
} inputs;

static inputs give(const problem *p, const float *grid, int orientations, int count)
{
    inputs in = {.gpu = gpu_open(),
                 .stencil = sp_nufft_flat_stencil(p->plan),
                 .orientations = orientations,
                 .count = count,
                 .bytes = (size_t)(orientations * count) * sizeof *grid};

    in.grid = gpu_array(in.gpu, grid, (size_t)p->cells * sizeof *grid);
    in.map = gpu_array(in.gpu, p->map, (size_t)orientations * sizeof *p->map);
    in.s = gpu_pixels(in.gpu, p, count);
    return in;
}

static void take_back(const inputs *in)
{
    in->gpu->kernels->release(in->gpu, in->grid);
    in->gpu->kernels->release(in->gpu, in->map);
    in->gpu->kernels->release(in->gpu, in->s);
    sp_device_close(in->gpu);
}

/* value [orientations][count], on the GPU. */
static void interpolate(const problem *p, const float *grid, int orientations, int count, bool not_negative,
                        float *value)
{
    const inputs in = give(p, grid, orientations, count);
    float *out = gpu_array(in.gpu, NULL, in.bytes);

    assert_int_equal(in.gpu->kernels->nufft->interpolate(in.gpu, &in.stencil, in.grid, in.map, orientations, in.s,
                                                         count, not_negative, out),
                     SP_OK);
    gpu_take(in.gpu, out, in.bytes, value);
    take_back(&in);
}

/* value [orientations][count], turn [3][orientations][count], on the GPU. */
static void interpolate_turns(const problem *p, const float *grid, int orientations, int count, float *value,
                              float *turn)
{
    const inputs in = give(p, grid, orientations, count);
    float *out = gpu_array(in.gpu, NULL, in.bytes), *turns = gpu_array(in.gpu, NULL, 3 * in.bytes);

    assert_int_equal(in.gpu->kernels->nufft->interpolate_turns(in.gpu, &in.stencil, in.grid, in.map, orientations, in.s,
                                                               count, out, turns),
                     SP_OK);
    gpu_take(in.gpu, out, in.bytes, value);
    gpu_take(in.gpu, turns, 3 * in.bytes, turn);
    take_back(&in);
}

/* The same by the plain loops. */
static void interpolate_ref(const problem *p, const float *grid, int orientations, int count, float *value, float *turn)
{
    const float *const s[3] = {p->s[0], p->s[1], p->s[2]};
    const ptrdiff_t all = (ptrdiff_t)orientations * count;

    for (ptrdiff_t i = 0; i < orientations; i++) {
        float *const turns[3] = {turn + i * count, turn + all + i * count, turn + 2 * all + i * count};

        sp_nufft_interpolate_turns(p->plan, grid, &p->rotation[i], p->scale, s, count, value + i * count, turns);
    }
}

/* Both functions against the plain loops; errors are measured against what is typical of the whole problem. */
static void check(const problem *p, const float *grid, int orientations, int count, double typical, double typical_turn)
{
    static float value[MOST_VALUES], beside[MOST_VALUES], turn[3 * MOST_VALUES];
    static float want[MOST_VALUES], want_turn[3 * MOST_VALUES];
    const ptrdiff_t all = (ptrdiff_t)orientations * count;

    interpolate_ref(p, grid, orientations, count, want, want_turn);
    interpolate(p, grid, orientations, count, false, value);
    interpolate_turns(p, grid, orientations, count, beside, turn);
    for (ptrdiff_t i = 0; i < all; i++) {
        value[i] -= want[i];
        beside[i] -= want[i];
    }
    for (ptrdiff_t i = 0; i < 3 * all; i++) {
        turn[i] -= want_turn[i];
    }
    const double error = root_mean_square(value, all) / typical, error_beside = root_mean_square(beside, all) / typical;
    const double error_turn = root_mean_square(turn, 3 * all) / typical_turn;

    print_message("%d orientations of %d pixels: %.1e, turns %.1e\n", orientations, count, error, error_turn);
    assert_true(error < 2e-6 && error_beside < 2e-6 && error_turn < 5e-6);
}

static void values_and_turns_equal_the_plain_loops(void **state)
{
    (void)state;
    static float value[MOST_VALUES], turn[3 * MOST_VALUES];
    const uint64_t seed = fresh_seed();
    problem p;

    for (int width = 4; width <= 6; width += 2) {
        make_problem(&p, EDGE, width, 1.5, seed);
        float *grid = random_array(&p, p.cells);

        interpolate_ref(&p, grid, MOST_ORIENTATIONS, MOST_PIXELS, value, turn);
        for (size_t i = 0; i < SIZES; i++) {
            check(&p, grid, counts[i][0], counts[i][1], root_mean_square(value, MOST_VALUES),
                  root_mean_square(turn, (ptrdiff_t)3 * MOST_VALUES));
        }
        move_to_border(&p, EDGE);
        check(&p, grid, 1, BORDER_PIXELS, root_mean_square(value, MOST_VALUES),
              root_mean_square(turn, (ptrdiff_t)3 * MOST_VALUES));
        sp_array_free(grid);
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

    make_problem(&p, EDGE, 4, 1.5, fresh_seed());
    float *grid = random_array(&p, p.cells);

    interpolate(&p, grid, 3, MOST_PIXELS, false, plain);
    interpolate(&p, grid, 3, MOST_PIXELS, true, clamped);
    for (int i = 0; i < COUNT; i++) {
        negative += plain[i] < 0.0f;
        assert_true(clamped[i] == (plain[i] > 0.0f ? plain[i] : 0.0f));
    }
    assert_true(negative > 0);
    sp_array_free(grid);
    clear_problem(&p);
}

static void nothing_to_do_is_done(void **state)
{
    (void)state;
    sp_device *gpu = gpu_open();
    const sp_device_nufft_kernels *nufft = gpu->kernels->nufft;
    problem p;

    make_problem(&p, EDGE, 4, 1.5, 1);
    const sp_nufft_stencil stencil = sp_nufft_flat_stencil(p.plan);

    for (int orientations = 0; orientations <= 5; orientations += 5) {
        const int count = 5 - orientations;

        assert_int_equal(nufft->interpolate(gpu, &stencil, NULL, NULL, orientations, NULL, count, false, NULL), SP_OK);
        assert_int_equal(nufft->interpolate_turns(gpu, &stencil, NULL, NULL, orientations, NULL, count, NULL, NULL),
                         SP_OK);
    }
    clear_problem(&p);
    sp_device_close(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_and_turns_equal_the_plain_loops),
        cmocka_unit_test(negative_values_become_zero_where_asked),
        cmocka_unit_test(nothing_to_do_is_done),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
