/* SPDX-License-Identifier: BSD-3-Clause */
/* Type 1 on a GPU, and that it is the adjoint of type 2. */
#include "device/nufft_problem.h"

enum { EDGE = 18, MOST_VALUES = MOST_ORIENTATIONS * MOST_PIXELS, AT_ONCE = 1 << 20 };

/* What is spread: images in the orientations of the problem. */
typedef struct values {
    float *first, *second; /* [MOST_VALUES] */
    double most[2];        /* sums of moduli */
} values;

/* Bounds for the first so many values. */
static void set_bounds(values *v, int count)
{
    v->most[0] = v->most[1] = 0.0;
    for (int i = 0; i < count; i++) {
        v->most[0] += fabs((double)v->first[i]);
        v->most[1] += (double)v->second[i];
    }
}

static values random_values(problem *p)
{
    values v = {.first = random_array(p, MOST_VALUES), .second = random_array(p, MOST_VALUES)};

    for (int i = 0; i < MOST_VALUES; i++) {
        v.second[i] = 3e-6f * v.second[i] * v.second[i]; /* as weights are, of another size */
    }
    set_bounds(&v, MOST_VALUES);
    return v;
}

static void clear_values(values *v)
{
    sp_array_free(v->first);
    sp_array_free(v->second);
}

static double *new_pair(const problem *p)
{
    double *pair = NULL;

    assert_int_equal(SP_ARRAY(pair, 2 * p->cells), SP_OK);
    return pair;
}

/* pair += images, on the GPU.   points  that it sorts at a time */
static void spread(const problem *p, const values *v, int images, int count, ptrdiff_t points, double *pair)
{
    sp_device *gpu = gpu_open();
    sp_device_nufft *plan = gpu_plan(gpu, p, points);
    const size_t pair_bytes = 2 * (size_t)p->cells * sizeof *pair;
    const size_t bytes = (size_t)images * (size_t)count * sizeof *v->first;
    float *map = gpu_array(gpu, p->map, (size_t)images * sizeof *p->map), *s = gpu_pixels(gpu, p, count);
    float *first = gpu_array(gpu, v->first, bytes), *second = gpu_array(gpu, v->second, bytes);
    double *out = gpu_array(gpu, pair, pair_bytes);

    assert_int_equal(gpu->kernels->nufft->spread_pair(gpu, plan, map, images, s, count, first, second, v->most, out),
                     SP_OK);
    gpu_take(gpu, out, pair_bytes, pair);
    gpu->kernels->release(gpu, map);
    gpu->kernels->release(gpu, s);
    gpu->kernels->release(gpu, first);
    gpu->kernels->release(gpu, second);
    gpu->kernels->nufft->free_plan(gpu, plan);
    sp_device_close(gpu);
}

/* The same by the plain loops, one point at a time: their pairs are single precision, and would round every sum. */
static void spread_ref(const problem *p, const values *v, int images, int count, double *pair)
{
    const ptrdiff_t cells = 2 * p->cells;
    float *one = NULL;

    assert_int_equal(SP_ARRAY(one, cells), SP_OK);
    for (int i = 0; i < images * count; i++) {
        const int pixel = i % count;
        const float *const s[3] = {p->s[0] + pixel, p->s[1] + pixel, p->s[2] + pixel};

        memset(one, 0, (size_t)cells * sizeof *one);
        sp_nufft_spread_pair(p->plan, &p->rotation[i / count], p->scale, s, 1, v->first + i, v->second + i, one);
        for (ptrdiff_t j = 0; j < cells; j++) {
            pair[j] += (double)one[j];
        }
    }
    sp_array_free(one);
}

/* Relative difference of one grid of two pairs, root mean square. */
static double pair_difference(const problem *p, const double *got, const double *want, int which)
{
    double apart = 0.0, norm = 0.0;

    for (ptrdiff_t i = which; i < 2 * p->cells; i += 2) {
        apart += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    return sqrt(apart / norm);
}

/*   slack  by which the bounds are too high: products are rounded to a share of them, whatever their own size */
static void check(const problem *p, values *v, int images, int count, ptrdiff_t points, double slack)
{
    double *got = new_pair(p), *want = new_pair(p);

    set_bounds(v, images * count);
    v->most[0] *= slack;
    v->most[1] *= slack;
    spread(p, v, images, count, points, got);
    spread_ref(p, v, images, count, want);
    for (int which = 0; which < 2; which++) {
        const double error = pair_difference(p, got, want, which);

        print_message("%d images of %d pixels, grid %d: %.1e\n", images, count, which, error);
        assert_true(error < 2e-6);
    }
    sp_array_free(got);
    sp_array_free(want);
}

/* Numbers of images and pixels that fill warps and rounds, and that do not. */
static void type_1_equals_the_plain_loops(void **state)
{
    (void)state;
    static const int counts[][3] = {
        {1, 1, AT_ONCE}, {3, 31, 32}, {1, 64, 64}, {9, 32, 97}, {MOST_ORIENTATIONS, MOST_PIXELS, 1999}};
    const uint64_t seed = fresh_seed();
    problem p;

    for (int width = 4; width <= 6; width += 2) {
        make_problem(&p, EDGE, width, 1.5, seed);
        values v = random_values(&p);

        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            check(&p, &v, counts[i][0], counts[i][1], counts[i][2], 1.0);
        }
        clear_values(&v);
        clear_problem(&p);
    }
}

static void points_on_the_border_are_inside(void **state)
{
    (void)state;
    const uint64_t seed = fresh_seed();
    problem p;

    for (int width = 4; width <= 6; width += 2) {
        make_problem(&p, EDGE, width, 1.25, seed);
        values v = random_values(&p);

        move_to_border(&p, EDGE);
        check(&p, &v, 1, BORDER_PIXELS, AT_ONCE, 1.0);
        clear_values(&v);
        clear_problem(&p);
    }
}

static void a_tile_may_hold_more_points_than_a_piece(void **state)
{
    (void)state;
    const uint64_t seed = fresh_seed();
    problem p;

    for (int width = 4; width <= 6; width += 2) {
        make_problem(&p, EDGE, width, 1.5, seed);
        values v = random_values(&p);

        for (int i = 0; i < 3 * MOST_PIXELS; i++) {
            p.s[i / MOST_PIXELS][i % MOST_PIXELS] *= 0.05f;
        }
        check(&p, &v, MOST_ORIENTATIONS, MOST_PIXELS, AT_ONCE, 1.0);
        clear_values(&v);
        clear_problem(&p);
    }
}

/* The images backwards, in other rounds, and in two calls. */
static void the_order_of_points_changes_no_bit(void **state)
{
    (void)state;
    problem p, reversed;

    make_problem(&p, EDGE, 4, 1.5, fresh_seed());
    values v = random_values(&p), other = random_values(&p);
    double *one = new_pair(&p), *two = new_pair(&p);

    reversed = p;
    memcpy(other.most, v.most, sizeof v.most);
    for (ptrdiff_t i = 0; i < MOST_ORIENTATIONS; i++) {
        const ptrdiff_t from = MOST_ORIENTATIONS - 1 - i;

        memcpy(reversed.map[i], p.map[from], sizeof *p.map);
        memcpy(other.first + i * MOST_PIXELS, v.first + from * MOST_PIXELS, MOST_PIXELS * sizeof *v.first);
        memcpy(other.second + i * MOST_PIXELS, v.second + from * MOST_PIXELS, MOST_PIXELS * sizeof *v.second);
    }
    spread(&p, &v, MOST_ORIENTATIONS, MOST_PIXELS, AT_ONCE, one);
    spread(&p, &v, MOST_ORIENTATIONS, MOST_PIXELS, AT_ONCE, one);
    spread(&reversed, &other, MOST_ORIENTATIONS, MOST_PIXELS, 701, two);
    spread(&reversed, &other, MOST_ORIENTATIONS, MOST_PIXELS, 2500, two);
    assert_memory_equal(one, two, 2 * (size_t)p.cells * sizeof *one);
    sp_array_free(one);
    sp_array_free(two);
    clear_values(&v);
    clear_values(&other);
    clear_problem(&p);
}

static void a_bound_that_is_much_too_high_does_no_harm(void **state)
{
    (void)state;
    problem p;

    make_problem(&p, EDGE, 4, 1.5, fresh_seed());
    values v = random_values(&p);

    check(&p, &v, MOST_ORIENTATIONS, MOST_PIXELS, AT_ONCE, 1e3);
    clear_values(&v);
    clear_problem(&p);
}

static void nothing_to_spread_changes_nothing(void **state)
{
    (void)state;
    problem p;

    make_problem(&p, EDGE, 4, 1.5, fresh_seed());
    values v = random_values(&p), zero = random_values(&p);
    double *pair = new_pair(&p), *kept = new_pair(&p);

    memset(zero.first, 0, MOST_VALUES * sizeof *zero.first);
    memset(zero.second, 0, MOST_VALUES * sizeof *zero.second);
    zero.most[0] = zero.most[1] = 0.0;
    spread(&p, &v, 2, MOST_PIXELS, AT_ONCE, pair);
    memcpy(kept, pair, 2 * (size_t)p.cells * sizeof *pair);
    spread(&p, &v, 0, MOST_PIXELS, AT_ONCE, pair);
    spread(&p, &v, 2, 0, AT_ONCE, pair);
    spread(&p, &zero, 2, MOST_PIXELS, AT_ONCE, pair);
    assert_memory_equal(pair, kept, 2 * (size_t)p.cells * sizeof *pair);
    sp_array_free(pair);
    sp_array_free(kept);
    clear_values(&v);
    clear_values(&zero);
    clear_problem(&p);
}

static double dot(const float *a, const float *b, ptrdiff_t count)
{
    double sum = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        sum += (double)a[i] * b[i];
    }
    return sum;
}

/* back = type 1 of the first values, forward = type 2 of the volume; all on the GPU, from one plan. */
static void both_ways(const problem *p, const values *v, const float *volume, float *back, float *forward)
{
    sp_device *gpu = gpu_open();
    const sp_device_nufft_kernels *nufft = gpu->kernels->nufft;
    sp_device_nufft *plan = gpu_plan(gpu, p, 1000);
    const sp_nufft_stencil stencil = sp_nufft_flat_stencil(p->plan);
    const size_t bytes = MOST_VALUES * sizeof *forward, cube = (size_t)EDGE * EDGE * EDGE * sizeof *volume;
    const size_t pair_bytes = 2 * (size_t)p->cells * sizeof(double);
    float *map = gpu_array(gpu, p->map, sizeof p->map), *s = gpu_pixels(gpu, p, MOST_PIXELS);
    float *in = gpu_array(gpu, volume, cube), *grid = gpu_array(gpu, NULL, (size_t)p->cells * sizeof *grid);
    float *value = gpu_array(gpu, NULL, bytes), *out = gpu_array(gpu, NULL, cube);
    float *first = gpu_array(gpu, v->first, bytes), *second = gpu_array(gpu, v->second, bytes);
    double *pair = gpu_array(gpu, NULL, pair_bytes);

    assert_int_equal(nufft->prepare(gpu, plan, in, grid), SP_OK);
    assert_int_equal(nufft->interpolate(gpu, &stencil, grid, map, MOST_ORIENTATIONS, s, MOST_PIXELS, false, value),
                     SP_OK);
    assert_int_equal(gpu->kernels->clear(gpu, pair, pair_bytes), SP_OK);
    assert_int_equal(
        nufft->spread_pair(gpu, plan, map, MOST_ORIENTATIONS, s, MOST_PIXELS, first, second, v->most, pair), SP_OK);
    assert_int_equal(nufft->collect(gpu, plan, pair, 0, EDGE, out), SP_OK);
    gpu_take(gpu, value, bytes, forward);
    gpu_take(gpu, out, cube, back);
    void *const rest[] = {map, s, in, grid, first, second, pair};

    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        gpu->kernels->release(gpu, rest[i]);
    }
    nufft->free_plan(gpu, plan);
    sp_device_close(gpu);
}

static void type_1_is_the_adjoint_of_type_2(void **state)
{
    (void)state;
    const ptrdiff_t cube = (ptrdiff_t)EDGE * EDGE * EDGE;
    const uint64_t seed = fresh_seed();
    problem p;

    for (int width = 4; width <= 6; width += 2) {
        make_problem(&p, EDGE, width, 1.25, seed);
        values v = random_values(&p);
        float *volume = random_array(&p, cube), *back = random_array(&p, cube);
        float *forward = random_array(&p, MOST_VALUES);

        both_ways(&p, &v, volume, back, forward);
        const double there = dot(forward, v.first, MOST_VALUES), here = dot(volume, back, cube);
        const double size = sqrt(dot(forward, forward, MOST_VALUES) * dot(v.first, v.first, MOST_VALUES));

        print_message("adjoint, width %d: %.1e\n", width, fabs(there - here) / size);
        assert_true(fabs(there - here) < 1e-6 * size);
        sp_array_free(volume);
        sp_array_free(back);
        sp_array_free(forward);
        clear_values(&v);
        clear_problem(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_1_equals_the_plain_loops),
        cmocka_unit_test(points_on_the_border_are_inside),
        cmocka_unit_test(a_tile_may_hold_more_points_than_a_piece),
        cmocka_unit_test(the_order_of_points_changes_no_bit),
        cmocka_unit_test(a_bound_that_is_much_too_high_does_no_harm),
        cmocka_unit_test(nothing_to_spread_changes_nothing),
        cmocka_unit_test(type_1_is_the_adjoint_of_type_2),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
