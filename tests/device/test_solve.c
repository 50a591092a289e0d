/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/solve.h"

#include <complex.h>
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "device/gpu_counts.h"
#include "num/cg.h"
#include "num/fft.h"
#include "num/nufft.h"
#include "phases/merge.h"

enum { EDGE = 8, CUBE = EDGE * EDGE * EDGE, PADDED = 2 * EDGE, WIDE = 8 * CUBE, MOST = 4 };

static const double SPHERE = 0.3; /* any: what is measured of the cube */

/* Problems of random numbers, MOST of them, and MOST lambdas for each; on the processor, one system at a time. */
typedef struct scene {
    sp_fft *fft; /* of the padded edge */
    uint8_t support[CUBE];
    float *weights; /* [MOST][WIDE] */
    float *right;   /* [MOST][CUBE] */
    double lambda[MOST * MOST];
    float *kernel; /* of the system at hand */
    float complex *half;
    double shift; /* lambda of it */
} scene;

/* Weights whose transform is random, between 0.1 and 1. */
static void make_weights(const scene *s, sp_rng *rng, float *weights)
{
    for (ptrdiff_t i = 0; i < sp_fft_complex_count(s->fft); i++) {
        s->half[i] = (float)(0.1 + 0.9 * sp_rng_uniform(rng));
    }
    sp_fft_backward(s->fft, s->half, weights);
}

static void make_support(scene *s)
{
    for (int i = 0; i < CUBE; i++) {
        const int at[3] = {i / (EDGE * EDGE), i / EDGE % EDGE, i % EDGE};
        int square = 0;

        for (int axis = 0; axis < 3; axis++) {
            const int k = at[axis] < EDGE / 2 ? at[axis] : at[axis] - EDGE;

            square += k * k;
        }
        s->support[i] = square <= 10; /* not a whole cube, and not beyond it */
    }
}

static scene *make_scene(uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 1, 0);
    scene *s = NULL;

    assert_int_equal(SP_ARRAY(s, 1), SP_OK);
    assert_int_equal(sp_fft_new(PADDED, &s->fft), SP_OK);
    assert_int_equal(SP_ARRAY(s->half, sp_fft_complex_count(s->fft)), SP_OK);
    assert_int_equal(SP_ARRAY(s->kernel, sp_fft_complex_count(s->fft)), SP_OK);
    assert_int_equal(SP_ARRAY(s->weights, MOST * WIDE), SP_OK);
    assert_int_equal(SP_ARRAY(s->right, MOST * CUBE), SP_OK);
    make_support(s);
    for (int i = 0; i < MOST; i++) {
        make_weights(s, &rng, s->weights + i * WIDE);
    }
    for (int i = 0; i < MOST * CUBE; i++) {
        s->right[i] = (float)sp_rng_normal(&rng);
    }
    for (int i = 0; i < MOST * MOST; i++) {
        s->lambda[i] = 0.002 + 0.05 * i;
    }
    return s;
}

static void free_scene(scene *s)
{
    sp_fft_free(s->fft);
    sp_array_free(s->half);
    sp_array_free(s->kernel);
    sp_array_free(s->weights);
    sp_array_free(s->right);
    sp_array_free(s);
}

/* ---- on the processor ---- */

static void apply_plainly(void *context, const float *in, float *out)
{
    scene *s = context;

    sp_fft_multiply_padded(s->fft, in, s->kernel, s->half, out);
    for (int i = 0; i < CUBE; i++) {
        out[i] = s->support[i] ? out[i] + (float)s->shift * in[i] : 0.0f;
    }
}

/* Makes a system the one at hand.   right  out  [CUBE] its right-hand side */
static void set_system(scene *s, int problem, double lambda, float *right)
{
    const float *weights = s->weights + problem * WIDE;
    const double eigenvalue = weights[0] / SPHERE;

    sp_fft_forward(s->fft, weights, s->half);
    for (ptrdiff_t i = 0; i < sp_fft_complex_count(s->fft); i++) {
        s->kernel[i] = (float)(crealf(s->half[i]) / (eigenvalue * WIDE));
    }
    for (int i = 0; i < CUBE; i++) {
        right[i] = s->support[i] ? (float)(s->right[problem * CUBE + i] / eigenvalue) : 0.0f;
    }
    s->shift = lambda;
}

/* ---- on the GPU ---- */

typedef struct machine {
    sp_device *gpu;
    const sp_device_solve_kernels *kernels;
    sp_device_solver *solver;
} machine;

static machine make_machine(const scene *s, int problems, int lambdas)
{
    machine m = {.gpu = gpu_open()};
    float *weights = gpu_array(m.gpu, s->weights, (size_t)problems * WIDE * sizeof *weights);
    float *right = gpu_array(m.gpu, s->right, (size_t)problems * CUBE * sizeof *right);

    m.kernels = m.gpu->kernels->solve;
    assert_int_equal(m.kernels->make(m.gpu, EDGE, s->support, problems, lambdas, &m.solver), SP_OK);
    assert_int_equal(m.kernels->prepare(m.gpu, m.solver, weights, right, SPHERE), SP_OK);
    gpu_take(m.gpu, weights, (size_t)problems * WIDE * sizeof *weights, NULL);
    gpu_take(m.gpu, right, (size_t)problems * CUBE * sizeof *right, NULL);
    return m;
}

static void stop_machine(machine *m)
{
    m->kernels->release(m->gpu, m->solver);
    sp_device_close(m->gpu);
}

/* x  in out  [systems][CUBE] */
static void solve_on(const machine *m, const scene *s, int systems, double tolerance, int iterations, float *x,
                     sp_device_solution *solution)
{
    float *on_gpu = gpu_array(m->gpu, x, (size_t)systems * CUBE * sizeof *x);

    assert_int_equal(m->kernels->solve(m->gpu, m->solver, s->lambda, tolerance, iterations, on_gpu, solution), SP_OK);
    gpu_take(m->gpu, on_gpu, (size_t)systems * CUBE * sizeof *x, x);
}

/* ---- comparison ---- */

static double relative_difference(const float *got, const float *want, ptrdiff_t count)
{
    double difference = 0.0, norm = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        difference += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
        norm += (double)want[i] * want[i];
    }
    return sqrt(difference / norm);
}

static const int SIZES[][2] = {{1, 1}, {3, 1}, {2, 2}}; /* problems, lambdas */

static void the_operator_is_that_of_the_processor(void **state)
{
    (void)state;
    static float in[MOST * CUBE], got[MOST * CUBE], want[CUBE], right[CUBE];
    scene *s = make_scene(fresh_seed());
    double worst = 0.0;

    for (int i = 0; i < MOST * CUBE; i++) {
        in[i] = s->support[i % CUBE] ? s->right[MOST * CUBE - 1 - i] : 0.0f;
    }
    for (size_t k = 0; k < sizeof SIZES / sizeof *SIZES; k++) {
        const int problems = SIZES[k][0], systems = problems * SIZES[k][1];
        const size_t bytes = (size_t)systems * CUBE * sizeof *in;
        machine m = make_machine(s, problems, SIZES[k][1]);
        float *from = gpu_array(m.gpu, in, bytes), *to = gpu_array(m.gpu, NULL, bytes);

        assert_int_equal(m.kernels->apply(m.gpu, m.solver, s->lambda, from, to), SP_OK);
        gpu_take(m.gpu, from, bytes, NULL);
        gpu_take(m.gpu, to, bytes, got);
        for (int i = 0; i < systems; i++) {
            set_system(s, i % problems, s->lambda[i], right);
            apply_plainly(s, in + i * CUBE, want);
            worst = fmax(worst, relative_difference(got + i * CUBE, want, CUBE));
        }
        stop_machine(&m);
    }
    print_message("operator: %.1e\n", worst);
    assert_true(worst < 1e-6);
    free_scene(s);
}

/* Compares all systems after a number of steps. Returns the greatest difference. */
static double compare_solutions(scene *s, int problems, int lambdas, double tolerance, int iterations)
{
    static float got[MOST * CUBE], want[CUBE], right[CUBE], work[3 * CUBE];
    sp_device_solution solution[MOST];
    machine m = make_machine(s, problems, lambdas);
    double worst = 0.0;

    memset(got, 0, sizeof got);
    solve_on(&m, s, problems * lambdas, tolerance, iterations, got, solution);
    for (int i = 0; i < problems * lambdas; i++) {
        memset(want, 0, sizeof want);
        set_system(s, i % problems, s->lambda[i], right);
        const sp_cg_result result = sp_cg_solve(apply_plainly, s, CUBE, right, want, tolerance, iterations, work);

        worst = fmax(worst, relative_difference(got + i * CUBE, want, CUBE));
        assert_int_equal(solution[i].converged, result.converged);
        assert_true(abs(solution[i].iterations - result.iterations) <= 1); /* a residual may be just above the limit */
        assert_true(fabs(solution[i].residual - result.residual) < 1e-3 * result.residual + 2e-6 ||
                    solution[i].iterations != result.iterations);
    }
    stop_machine(&m);
    return worst;
}

static void a_few_steps_are_those_of_the_processor(void **state)
{
    (void)state;
    scene *s = make_scene(fresh_seed());
    double worst = 0.0;

    for (size_t k = 0; k < sizeof SIZES / sizeof *SIZES; k++) {
        worst = fmax(worst, compare_solutions(s, SIZES[k][0], SIZES[k][1], 1e-9, 3));
    }
    print_message("three steps: %.1e\n", worst);
    assert_true(worst < 1e-5);
    free_scene(s);
}

/* Systems with different lambdas end after different numbers of steps. */
static void all_systems_are_solved(void **state)
{
    (void)state;
    scene *s = make_scene(fresh_seed());
    const double worst = fmax(compare_solutions(s, 2, 2, 1e-4, 100), compare_solutions(s, 1, 1, 1e-4, 100));

    print_message("solved: %.1e\n", worst);
    assert_true(worst < 2e-3); /* of either, the residual is 1e-4, and the condition about 10 */
    free_scene(s);
}

static void a_solution_is_where_the_next_call_begins_and_stays_the_same(void **state)
{
    (void)state;
    static float once[2 * CUBE], twice[2 * CUBE], again[2 * CUBE];
    scene *s = make_scene(fresh_seed());
    machine m = make_machine(s, 2, 1);
    sp_device_solution solution[2];

    memset(once, 0, sizeof once);
    memset(again, 0, sizeof again);
    solve_on(&m, s, 2, 1e-4, 100, once, solution);
    memcpy(twice, once, sizeof once);
    solve_on(&m, s, 2, 1e-3, 100, twice, solution);
    assert_int_equal(solution[0].iterations, 0);
    assert_int_equal(solution[1].iterations, 0);
    assert_true(solution[0].converged && solution[1].converged);
    assert_memory_equal(once, twice, sizeof once);
    solve_on(&m, s, 2, 1e-4, 100, again, solution);
    assert_memory_equal(once, again, sizeof once);
    stop_machine(&m);
    free_scene(s);
}

static void an_odd_edge_is_refused_by_name(void **state)
{
    (void)state;
    static const uint8_t support[27];
    sp_device *gpu = gpu_open();
    sp_device_solver *solver = NULL;

    assert_int_equal(gpu->kernels->solve->make(gpu, 3, support, 1, 1, &solver), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "edge 3"));
    assert_null(solver);
    sp_device_close(gpu);
}

/* ---- what images add ---- */

enum { COUNTED = 5, CHOSEN = 4, PIXELS = 333 };

static const float UNIT = 2.5f;
static const int32_t CHOICE[CHOSEN] = {3, 0, 3, 1};

/* Random images and tables of their bins. */
typedef struct exposures {
    float k[COUNTED * PIXELS], ramp[PIXELS], exposure[PIXELS], background[PIXELS], share[CHOSEN], scale[CHOSEN];
} exposures;

static void fill_uniform(sp_rng *rng, float *x, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        x[i] = (float)sp_rng_uniform(rng);
    }
}

static exposures make_exposures(uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 3, 0);
    exposures e;

    fill_uniform(&rng, e.ramp, PIXELS);
    fill_uniform(&rng, e.exposure, PIXELS);
    fill_uniform(&rng, e.background, PIXELS);
    fill_uniform(&rng, e.share, CHOSEN);
    fill_uniform(&rng, e.scale, CHOSEN);
    for (int i = 0; i < COUNTED * PIXELS; i++) {
        e.k[i] = (float)sp_rng_poisson(&rng, 2.0);
    }
    e.share[2] = 0.0f;
    return e;
}

/*   choice  NULL: the first so many      first, second  out  [CHOSEN][PIXELS] */
static void weigh_on_gpu(const exposures *e, const int32_t *choice, bool shares, float *first, float *second)
{
    enum { LINE = sizeof e->ramp, SHORT = sizeof e->scale };
    sp_device *gpu = gpu_open();
    const sp_device_counts chosen = gpu_counts(gpu, e->k, COUNTED, PIXELS, choice, CHOSEN);
    float *ramp = gpu_array(gpu, e->ramp, LINE), *exposure = gpu_array(gpu, e->exposure, LINE);
    float *background = gpu_array(gpu, e->background, LINE), *scale = gpu_array(gpu, e->scale, SHORT);
    float *share = shares ? gpu_array(gpu, e->share, SHORT) : NULL;
    float *to[2] = {gpu_array(gpu, NULL, CHOSEN * LINE), gpu_array(gpu, NULL, CHOSEN * LINE)};
    const sp_device_weighting by = {
        .pixels = PIXELS, .ramp = ramp, .exposure = exposure, .background = background, .unit = UNIT};

    assert_int_equal(gpu->kernels->solve->weigh(gpu, &by, &chosen, share, scale, to[0], to[1]), SP_OK);
    gpu_take(gpu, to[0], CHOSEN * LINE, first);
    gpu_take(gpu, to[1], CHOSEN * LINE, second);
    float *const rest[] = {ramp, exposure, background, scale, share};

    for (size_t i = 0; i < sizeof rest / sizeof *rest; i++) {
        gpu->kernels->release(gpu, rest[i]);
    }
    free_gpu_counts(gpu, &chosen);
    sp_device_close(gpu);
}

/* As merge.c has it, in double precision. */
static void check_weighed(const exposures *e, const int32_t *choice, bool shares, const float *first,
                          const float *second)
{
    for (int i = 0; i < CHOSEN; i++) {
        const float *k = e->k + (ptrdiff_t)(choice ? choice[i] : i) * PIXELS;

        for (int p = 0; p < PIXELS; p++) {
            const double ramp = (shares ? (double)e->share[i] : 1.0) * (double)e->ramp[p];
            const double value = (double)UNIT * (double)k[p], background = (double)e->background[p];
            const double weight = ramp * (double)e->scale[i] * (double)e->exposure[p];

            assert_true(fabs((double)first[i * PIXELS + p] - ramp * (value - background)) <=
                        3e-7 * ramp * (value + background));
            assert_true(fabs((double)second[i * PIXELS + p] - weight) <= 3e-7 * weight);
        }
    }
}

static void images_are_weighed_as_by_the_plain_loops(void **state)
{
    (void)state;
    static float first[CHOSEN * PIXELS], second[CHOSEN * PIXELS];
    const exposures e = make_exposures(fresh_seed());

    for (int i = 0; i < 4; i++) {
        const int32_t *choice = i & 1 ? CHOICE : NULL;

        weigh_on_gpu(&e, choice, i & 2, first, second);
        check_weighed(&e, choice, i & 2, first, second);
    }
}

static void no_images_weigh_nothing(void **state)
{
    (void)state;
    sp_device *gpu = gpu_open();

    assert_int_equal(gpu->kernels->solve->weigh(gpu, &(sp_device_weighting){.pixels = PIXELS}, &(sp_device_counts){0},
                                                NULL, NULL, NULL, NULL),
                     SP_OK);
    sp_device_close(gpu);
}

/* ---- the whole of merging, after the images have been spread ---- */

enum { SLICES = 40, POINTS = 80 };

static const double VOXEL = 2e-9, RADIUS = 3.2; /* [m], [voxel] */

/* Random values on random planes, into a pair of the merger's. */
static void spread_slices(const sp_merger *merger, const sp_nufft *nufft, sp_rng *rng, float **pair)
{
    const double box = EDGE * VOXEL;
    float *s[3] = {NULL}, *value = NULL, *weight = NULL;

    assert_int_equal(SP_ARRAY(*pair, sp_merger_pair_count(merger)), SP_OK);
    assert_int_equal(SP_ARRAY(value, POINTS), SP_OK);
    assert_int_equal(SP_ARRAY(weight, POINTS), SP_OK);
    for (int axis = 0; axis < 3; axis++) {
        assert_int_equal(SP_ARRAY(s[axis], POINTS), SP_OK);
    }
    for (int i = 0; i < POINTS; i++) {
        const double r = 0.5 * EDGE / box * sqrt(sp_rng_uniform(rng)), angle = 2.0 * M_PI * sp_rng_uniform(rng);

        s[0][i] = (float)(r * cos(angle));
        s[1][i] = (float)(r * sin(angle));
        weight[i] = (float)(r * box / EDGE);
    }
    for (int k = 0; k < SLICES; k++) {
        const sp_mat3 rotation = sp_quat_to_matrix(sp_quat_random(rng));

        for (int i = 0; i < POINTS; i++) {
            value[i] = weight[i] * (float)(1.0 + sp_rng_normal(rng));
        }
        sp_nufft_spread_pair(nufft, &rotation, 2.0 * box, (const float *const *)s, POINTS, value, weight, *pair);
    }
    for (int axis = 0; axis < 3; axis++) {
        sp_array_free(s[axis]);
    }
    sp_array_free(value);
    sp_array_free(weight);
}

static void merged_autocorrelations_are_those_of_the_processor(void **state)
{
    (void)state;
    enum { ITERATIONS = 8 };
    static float want[CUBE], got[CUBE];
    const double outermost = 0.45 / VOXEL;
    scene *s = make_scene(fresh_seed());
    sp_rng rng = sp_rng_stream(fresh_seed(), 2, 0);
    sp_merger *merger = NULL;
    sp_nufft *nufft = NULL;
    sp_device_solution solution;
    float *pair = NULL, *weights = NULL, *right = NULL;

    assert_int_equal(sp_merger_new(EDGE, VOXEL, RADIUS * VOXEL, 4, &merger), SP_OK);
    assert_int_equal(sp_nufft_new(PADDED, 4, 1.25, &nufft), SP_OK); /* as the merger's */
    spread_slices(merger, nufft, &rng, &pair);
    sp_nufft_collect(nufft, pair, 1, PADDED, s->weights);
    sp_nufft_collect(nufft, pair, 0, EDGE, s->right);
    for (int i = 0; i < CUBE; i++) { /* s->support is of another radius */
        const double edge = EDGE, x = i / (EDGE * EDGE), y = i / EDGE % EDGE, z = i % EDGE;
        const double a = fmin(x, edge - x), b = fmin(y, edge - y), c = fmin(z, edge - z);

        s->support[i] = a * a + b * b + c * c <= RADIUS * RADIUS;
    }
    s->lambda[0] = 0.01;

    const sp_merge_result result = sp_merger_solve(merger, pair, outermost, s->lambda[0], ITERATIONS, want);
    machine m = {.gpu = gpu_open()};

    m.kernels = m.gpu->kernels->solve;
    weights = gpu_array(m.gpu, s->weights, WIDE * sizeof *weights);
    right = gpu_array(m.gpu, s->right, CUBE * sizeof *right);
    assert_int_equal(m.kernels->make(m.gpu, EDGE, s->support, 1, 1, &m.solver), SP_OK);
    assert_int_equal(m.kernels->prepare(m.gpu, m.solver, weights, right, 4.0 / 3.0 * M_PI * 0.45 * 0.45 * 0.45), SP_OK);
    solve_on(&m, s, 1, 1e-4, ITERATIONS, got, &solution);
    print_message("merged: %.1e, residual %.4e and %.4e\n", relative_difference(got, want, CUBE), solution.residual,
                  result.residual);
    assert_int_equal(solution.iterations, result.iterations);
    assert_true(relative_difference(got, want, CUBE) < 1e-4);
    assert_true(fabs(solution.residual - result.residual) < 1e-3 * result.residual + 1e-6);
    gpu_take(m.gpu, weights, WIDE * sizeof *weights, NULL);
    gpu_take(m.gpu, right, CUBE * sizeof *right, NULL);
    stop_machine(&m);
    sp_array_free(pair);
    sp_nufft_free(nufft);
    sp_merger_free(merger);
    free_scene(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_operator_is_that_of_the_processor),
        cmocka_unit_test(a_few_steps_are_those_of_the_processor),
        cmocka_unit_test(all_systems_are_solved),
        cmocka_unit_test(a_solution_is_where_the_next_call_begins_and_stays_the_same),
        cmocka_unit_test(an_odd_edge_is_refused_by_name),
        cmocka_unit_test(images_are_weighed_as_by_the_plain_loops),
        cmocka_unit_test(no_images_weigh_nothing),
        cmocka_unit_test(merged_autocorrelations_are_those_of_the_processor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
