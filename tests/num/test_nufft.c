/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/nufft_kernels.h"
#include "testing.h"

enum { EDGE = 16, POINTS = 300 }; /* type 1 takes 256 points at a time */

typedef struct problem {
    float *volume;    /* [EDGE^3] real, even */
    float *s[3];      /* [POINTS] */
    float *first;     /* [POINTS] */
    float *second;    /* [POINTS] */
    sp_mat3 rotation; /* of the pattern */
    double scale;
} problem;

/* A random even volume that fades as autocorrelations do, and points all over |k_i| <= EDGE/2. */
static void make_problem(problem *p, uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 1, 0);

    p->scale = 1.0 / sqrt(3.0);
    p->rotation = sp_quat_to_matrix(sp_quat_random(&rng));
    assert_int_equal(SP_ARRAY(p->volume, EDGE * EDGE * EDGE), SP_OK);
    for (ptrdiff_t x = -EDGE / 2 + 1; x < EDGE / 2; x++) {
        for (ptrdiff_t y = -EDGE / 2 + 1; y < EDGE / 2; y++) {
            for (ptrdiff_t z = -EDGE / 2 + 1; z < EDGE / 2; z++) {
                const double r = 2.0 * sqrt((double)(x * x + y * y + z * z)) / EDGE;
                const float value = (float)(sp_rng_normal(&rng) * exp(-3.0 * r * r));

                for (int sign = -1; sign <= 1; sign += 2) {
                    p->volume[(((sign * x + EDGE) % EDGE) * EDGE + (sign * y + EDGE) % EDGE) * EDGE +
                              (sign * z + EDGE) % EDGE] = value;
                }
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        assert_int_equal(SP_ARRAY(p->s[i], POINTS), SP_OK);
        for (ptrdiff_t j = 0; j < POINTS; j++) {
            p->s[i][j] = (float)(EDGE * (sp_rng_uniform(&rng) - 0.5));
        }
    }
    p->s[0][0] = p->s[1][0] = p->s[2][0] = 0.0f; /* the centre is the hardest cell: it is its own mirror */
    assert_int_equal(SP_ARRAY(p->first, POINTS), SP_OK);
    assert_int_equal(SP_ARRAY(p->second, POINTS), SP_OK);
    for (ptrdiff_t j = 0; j < POINTS; j++) {
        p->first[j] = (float)sp_rng_normal(&rng);
        p->second[j] = (float)sp_rng_normal(&rng);
    }
}

static void clear_problem(problem *p)
{
    sp_array_free(p->volume);
    for (int i = 0; i < 3; i++) {
        sp_array_free(p->s[i]);
    }
    sp_array_free(p->first);
    sp_array_free(p->second);
}

/* cos(2 pi k_j.r / n), with k_j = scale R^T s_j, in double precision. */
static double wave(const problem *p, ptrdiff_t j, ptrdiff_t x, ptrdiff_t y, ptrdiff_t z)
{
    const double s[3] = {p->s[0][j], p->s[1][j], p->s[2][j]};
    double k[3];

    sp_mat3_apply_transpose(&p->rotation, s, k);
    return cos(2.0 * M_PI * p->scale * (k[0] * (double)x + k[1] * (double)y + k[2] * (double)z) / EDGE);
}

static double relative_error(const float *got, const double *want, ptrdiff_t count)
{
    double difference = 0.0, norm = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    return sqrt(difference / norm);
}

static ptrdiff_t voxel(ptrdiff_t edge, ptrdiff_t x, ptrdiff_t y, ptrdiff_t z)
{
    return (((x + edge) % edge) * edge + (y + edge) % edge) * edge + (z + edge) % edge;
}

/* ---- every set of inner loops that runs here, in both layouts ---- */

typedef struct setting {
    const sp_nufft_kernels *kernels;
    size_t most_replicated; /* 0: interleaved */
    int width;
} setting;

enum { MAX_SETTINGS = 4 * (SP_ISA_COUNT + 1) };

/* ref comes first: [0] width 4, [1] width 6. */
static int all_settings(setting *settings)
{
    int count = 0;

    for (int isa = -1; isa <= (int)sp_isa_best(); isa++) {
        for (int layout = 0; layout < (isa < 0 ? 1 : 2); layout++) {
            for (int width = 4; width <= 6; width += 2) {
                settings[count++] = (setting){.kernels = isa < 0 ? &sp_nufft_ref : sp_nufft_kernels_for((sp_isa)isa),
                                              .most_replicated = layout ? SIZE_MAX : 0,
                                              .width = width};
            }
        }
    }
    return count;
}

/* Type 2 of the problem at the given points. */
static void interpolate(const setting *how, double sigma, const problem *p, float *const s[3], ptrdiff_t count,
                        float *value)
{
    sp_nufft *plan = NULL;
    float *grid = NULL;

    assert_int_equal(sp_nufft_new_with(EDGE, how->width, sigma, how->kernels, how->most_replicated, &plan), SP_OK);
    assert_int_equal(SP_ARRAY(grid, sp_nufft_grid_count(plan)), SP_OK);
    sp_nufft_prepare(plan, p->volume, grid);
    sp_nufft_interpolate(plan, grid, &p->rotation, p->scale, (const float *const *)s, count, value);
    sp_array_free(grid);
    sp_nufft_free(plan);
}

/* Values and turns of the problem's points. */
static void interpolate_turns(const setting *how, double sigma, const problem *p, ptrdiff_t count, float *value,
                              float *const turn[3])
{
    sp_nufft *plan = NULL;
    float *grid = NULL;

    assert_int_equal(sp_nufft_new_with(EDGE, how->width, sigma, how->kernels, how->most_replicated, &plan), SP_OK);
    assert_int_equal(SP_ARRAY(grid, sp_nufft_grid_count(plan)), SP_OK);
    sp_nufft_prepare(plan, p->volume, grid);
    sp_nufft_interpolate_turns(plan, grid, &p->rotation, p->scale, (const float *const *)p->s, count, value, turn);
    sp_array_free(grid);
    sp_nufft_free(plan);
}

static void direct_sum(const problem *p, ptrdiff_t count, double *value)
{
    for (ptrdiff_t j = 0; j < count; j++) {
        value[j] = 0.0;
        for (ptrdiff_t x = -EDGE / 2 + 1; x < EDGE / 2; x++) {
            for (ptrdiff_t y = -EDGE / 2 + 1; y < EDGE / 2; y++) {
                for (ptrdiff_t z = -EDGE / 2 + 1; z < EDGE / 2; z++) {
                    value[j] += p->volume[voxel(EDGE, x, y, z)] * wave(p, j, x, y, z);
                }
            }
        }
    }
}

static void type_2_equals_the_direct_sum(void **state)
{
    (void)state;
    setting settings[MAX_SETTINGS];
    problem p;
    float got[POINTS];
    double want[POINTS];

    make_problem(&p, 5);
    direct_sum(&p, POINTS, want);
    for (int i = 0; i < all_settings(settings); i++) {
        interpolate(&settings[i], 2.0, &p, p.s, POINTS, got);
        /* a volume that fills its box is the hardest case */
        assert_true(relative_error(got, want, POINTS) < (settings[i].width == 4 ? 2e-4 : 1.5e-6));
    }
    clear_problem(&p);
}

/* Far below the error of the kernel: the same grid, the same polynomials, only the order of sums differs. */
static void all_inner_loops_agree_with_the_plain_ones(void **state)
{
    (void)state;
    setting settings[MAX_SETTINGS];
    const int count = all_settings(settings);
    problem p;
    float got[POINTS], plain[2][POINTS];
    double want[POINTS];

    for (uint64_t seed = 20; seed < 24; seed++) {
        make_problem(&p, seed);
        for (int i = 0; i < count; i++) {
            float *out = i < 2 ? plain[i] : got;

            interpolate(&settings[i], 1.6, &p, p.s, POINTS, out);
            for (ptrdiff_t j = 0; j < POINTS; j++) {
                want[j] = plain[i % 2][j];
            }
            assert_true(relative_error(out, want, POINTS) < 2e-6);
        }
        clear_problem(&p);
    }
}

/* Faces, edges and corners of the box, planes through the centre, and zeros of either sign: unrotated, so that the
 * coordinates are hit exactly. */
static void points_on_the_border_of_the_grid_are_as_good_as_others(void **state)
{
    (void)state;
    static const float at[] = {-EDGE / 2, -1.0f, -0.0f, 0.0f, 2.5f, EDGE / 2};
    enum { AT = sizeof at / sizeof *at, COUNT = AT * AT * AT };
    setting settings[MAX_SETTINGS];
    problem p;
    float got[COUNT];
    double want[COUNT];

    make_problem(&p, 8);
    p.scale = 1.0;
    p.rotation = sp_quat_to_matrix(sp_quat_identity());
    for (int i = 0; i < 3; i++) {
        sp_array_free(p.s[i]);
        assert_int_equal(SP_ARRAY(p.s[i], COUNT), SP_OK);
    }
    for (int j = 0; j < COUNT; j++) {
        p.s[0][j] = at[j % AT];
        p.s[1][j] = at[j / AT % AT];
        p.s[2][j] = at[j / AT / AT];
    }
    direct_sum(&p, COUNT, want);
    for (int i = 0; i < all_settings(settings); i++) {
        interpolate(&settings[i], 2.0, &p, p.s, COUNT, got);
        assert_true(relative_error(got, want, COUNT) < (settings[i].width == 4 ? 4e-4 : 4e-6));
    }
    clear_problem(&p);
}

static void a_point_does_not_depend_on_its_neighbours(void **state)
{
    (void)state;
    setting settings[MAX_SETTINGS];
    problem p;
    float all[POINTS], some[POINTS];

    make_problem(&p, 9);
    for (int i = 0; i < all_settings(settings); i++) {
        const setting *how = &settings[i];
        const float *const *s = (const float *const *)p.s;
        sp_nufft *plan = NULL;
        float *grid = NULL;

        assert_int_equal(sp_nufft_new_with(EDGE, how->width, 2.0, how->kernels, how->most_replicated, &plan), SP_OK);
        assert_int_equal(SP_ARRAY(grid, sp_nufft_grid_count(plan)), SP_OK);
        sp_nufft_prepare(plan, p.volume, grid);
        sp_nufft_interpolate(plan, grid, &p.rotation, p.scale, s, POINTS, all);
        for (ptrdiff_t first = 0; first < 20; first++) {
            const float *const from[3] = {s[0] + first, s[1] + first, s[2] + first};

            memset(some, 0xff, sizeof some);
            sp_nufft_interpolate(plan, grid, &p.rotation, p.scale, from, 2 * first, some);
            assert_memory_equal(some, all + first, (size_t)(2 * first) * sizeof *some);
            assert_true(isnan(some[2 * first])); /* nothing written beyond */
        }
        sp_array_free(grid);
        sp_nufft_free(plan);
    }
    clear_problem(&p);
}

/* Against differences of the direct sum, with the molecule turned by R(t) after its orientation: the order and the
 * signs of the three turns are part of the claim. */
static void turns_equal_differences_of_the_direct_sum(void **state)
{
    (void)state;
    const double delta = 1e-4;
    setting settings[MAX_SETTINGS];
    problem p;
    float value[POINTS], got[3][POINTS];
    double want[3][POINTS], other[POINTS];

    make_problem(&p, 12);
    const sp_mat3 rotation = p.rotation;

    for (int i = 0; i < 3; i++) {
        const double axis[3] = {i == 0, i == 1, i == 2};
        const sp_quat q = sp_quat_from_matrix(&rotation);

        p.rotation = sp_quat_to_matrix(sp_quat_multiply(sp_quat_from_axis_angle(axis, delta), q));
        direct_sum(&p, POINTS, want[i]);
        p.rotation = sp_quat_to_matrix(sp_quat_multiply(sp_quat_from_axis_angle(axis, -delta), q));
        direct_sum(&p, POINTS, other);
        for (ptrdiff_t j = 0; j < POINTS; j++) {
            want[i][j] = (want[i][j] - other[j]) / (2.0 * delta);
        }
    }
    p.rotation = rotation;
    for (int k = 0; k < all_settings(settings); k++) {
        interpolate_turns(&settings[k], 2.0, &p, POINTS, value, (float *const[3]){got[0], got[1], got[2]});
        for (int i = 0; i < 3; i++) {
            assert_true(relative_error(got[i], want[i], POINTS) < (settings[k].width == 4 ? 3e-3 : 3e-5));
        }
    }
    clear_problem(&p);
}

static void turns_of_all_inner_loops_agree_with_the_plain_ones(void **state)
{
    (void)state;
    setting settings[MAX_SETTINGS];
    problem p;
    float value[POINTS], alone[POINTS], plain[2][3][POINTS], got[3][POINTS];
    double want[POINTS];

    make_problem(&p, 13);
    for (int k = 0; k < all_settings(settings); k++) {
        float(*out)[POINTS] = k < 2 ? plain[k] : got;

        interpolate(&settings[k], 1.6, &p, p.s, POINTS, alone);
        interpolate_turns(&settings[k], 1.6, &p, POINTS, value, (float *const[3]){out[0], out[1], out[2]});
        for (int i = 0; i < 3; i++) {
            for (ptrdiff_t j = 0; j < POINTS; j++) {
                want[j] = plain[k % 2][i][j];
            }
            assert_true(relative_error(out[i], want, POINTS) < 1e-6);
        }
        for (ptrdiff_t j = 0; j < POINTS; j++) {
            want[j] = alone[j];
        }
        assert_true(relative_error(value, want, POINTS) < 1e-6); /* the values are the same beside the turns */
    }
    clear_problem(&p);
}

static void tiny_volumes_keep_their_shape(void **state)
{
    (void)state;
    setting settings[MAX_SETTINGS];
    problem p;
    float got[POINTS];
    double want[POINTS];

    make_problem(&p, 10);
    for (int i = 0; i < EDGE * EDGE * EDGE; i++) {
        p.volume[i] *= 1e-41f; /* denormal: a voxel has four digits left */
    }
    direct_sum(&p, POINTS, want);
    for (int i = 0; i < all_settings(settings); i++) {
        interpolate(&settings[i], 2.0, &p, p.s, POINTS, got);
        assert_true(relative_error(got, want, POINTS) < 3e-3);
    }
    clear_problem(&p);
}

static void a_voxel_that_is_no_number_shows_in_every_value(void **state)
{
    (void)state;
    setting settings[MAX_SETTINGS];
    problem p;
    float got[POINTS];

    make_problem(&p, 11);
    p.volume[voxel(EDGE, 1, 2, 3)] = NAN;
    for (int i = 0; i < all_settings(settings); i++) {
        memset(got, 0, sizeof got);
        interpolate(&settings[i], 2.0, &p, p.s, POINTS, got);
        for (ptrdiff_t j = 0; j < POINTS; j++) {
            assert_true(isnan(got[j]));
        }
    }
    clear_problem(&p);
}

/* Type 1 of the problem's points, one of its two values. */
static void collect(const setting *how, double sigma, const problem *p, ptrdiff_t count, int which, ptrdiff_t kept,
                    float *volume)
{
    sp_nufft *plan = NULL;
    float *pair = NULL;

    assert_int_equal(sp_nufft_new_with(EDGE, how->width, sigma, how->kernels, how->most_replicated, &plan), SP_OK);
    assert_int_equal(SP_ARRAY(pair, sp_nufft_pair_count(plan)), SP_OK);
    sp_nufft_spread_pair(plan, &p->rotation, p->scale, (const float *const *)p->s, count, p->first, p->second, pair);
    sp_nufft_collect(plan, pair, which, kept, volume);
    sp_array_free(pair);
    sp_nufft_free(plan);
}

static void direct_type_1(const problem *p, const float *value, ptrdiff_t kept, double *volume)
{
    memset(volume, 0, (size_t)(kept * kept * kept) * sizeof *volume);
    for (ptrdiff_t x = -kept / 2 + 1; x < kept / 2; x++) {
        for (ptrdiff_t y = -kept / 2 + 1; y < kept / 2; y++) {
            for (ptrdiff_t z = -kept / 2 + 1; z < kept / 2; z++) {
                for (ptrdiff_t j = 0; j < POINTS; j++) {
                    volume[voxel(kept, x, y, z)] += value[j] * wave(p, j, x, y, z);
                }
            }
        }
    }
}

static void type_1_equals_the_direct_sum_for_both_values(void **state)
{
    (void)state;
    enum { CUBE = EDGE * EDGE * EDGE };
    setting settings[MAX_SETTINGS];
    problem p;
    float *got = NULL;
    double *want = NULL;

    make_problem(&p, 6);
    assert_int_equal(SP_ARRAY(got, CUBE), SP_OK);
    assert_int_equal(SP_ARRAY(want, CUBE), SP_OK);
    for (int which = 0; which < 2; which++) {
        for (ptrdiff_t kept = EDGE / 2; kept <= EDGE; kept += EDGE / 2) {
            direct_type_1(&p, which ? p.second : p.first, kept, want);
            for (int i = 0; i < all_settings(settings); i++) {
                collect(&settings[i], 2.0, &p, POINTS, which, kept, got);
                const double limit = settings[i].width == 4 ? 1.2e-4 : 1.2e-6;

                /* the kernel is made for volumes that matter in the middle: in the corners it is less accurate */
                assert_true(relative_error(got, want, kept * kept * kept) < (kept < EDGE ? limit : 8.0 * limit));
            }
        }
    }
    sp_array_free(want);
    sp_array_free(got);
    clear_problem(&p);
}

/* As for type 2: only the order of sums differs. The counts are those of no, one and several vectors and batches. */
static void all_ways_of_spreading_agree_with_the_plain_one(void **state)
{
    (void)state;
    enum { CUBE = EDGE * EDGE * EDGE };
    static const ptrdiff_t counts[] = {1, 15, 16, 17, POINTS};
    setting settings[MAX_SETTINGS];
    problem p;
    float *plain[2] = {NULL}, *got = NULL;
    double *want = NULL;

    assert_int_equal(SP_ARRAY(got, CUBE), SP_OK);
    assert_int_equal(SP_ARRAY(plain[0], CUBE), SP_OK);
    assert_int_equal(SP_ARRAY(plain[1], CUBE), SP_OK);
    assert_int_equal(SP_ARRAY(want, CUBE), SP_OK);
    for (int trial = 0; trial < 5; trial++) {
        make_problem(&p, 40 + (uint64_t)trial);
        for (int i = 0; i < all_settings(settings); i++) {
            float *out = i < 2 ? plain[i] : got;

            collect(&settings[i], 1.6, &p, counts[trial], trial % 2, EDGE, out);
            for (ptrdiff_t v = 0; v < CUBE; v++) {
                want[v] = plain[i % 2][v];
            }
            assert_true(relative_error(out, want, CUBE) < 3e-6);
        }
        clear_problem(&p);
    }
    sp_array_free(got);
    sp_array_free(plain[0]);
    sp_array_free(plain[1]);
    sp_array_free(want);
}

/* <A a, c> = <a, A* c>, exact up to rounding whatever the accuracy of the kernel. */
static void type_1_is_the_adjoint_of_type_2(void **state)
{
    (void)state;
    problem p;
    sp_nufft *plan = NULL;
    float *grid = NULL, *pair = NULL, *back = NULL;
    float forward[POINTS];
    double left = 0.0, right = 0.0, size = 0.0;

    make_problem(&p, 7);
    assert_int_equal(sp_nufft_new(EDGE, 4, 1.5, &plan), SP_OK);
    assert_int_equal(SP_ARRAY(grid, sp_nufft_grid_count(plan)), SP_OK);
    assert_int_equal(SP_ARRAY(pair, sp_nufft_pair_count(plan)), SP_OK);
    assert_int_equal(SP_ARRAY(back, EDGE * EDGE * EDGE), SP_OK);
    sp_nufft_prepare(plan, p.volume, grid);
    sp_nufft_interpolate(plan, grid, &p.rotation, p.scale, (const float *const *)p.s, POINTS, forward);
    sp_nufft_spread_pair(plan, &p.rotation, p.scale, (const float *const *)p.s, POINTS, p.first, p.second, pair);
    sp_nufft_collect(plan, pair, 0, EDGE, back);
    for (ptrdiff_t j = 0; j < POINTS; j++) {
        left += (double)forward[j] * p.first[j];
        size += fabs((double)forward[j] * p.first[j]);
    }
    for (ptrdiff_t i = 0; i < EDGE * EDGE * EDGE; i++) {
        right += (double)p.volume[i] * back[i];
    }
    assert_true(fabs(left - right) < 1e-6 * size);
    sp_array_free(back);
    sp_array_free(pair);
    sp_array_free(grid);
    sp_nufft_free(plan);
    clear_problem(&p);
}

/* The padding of the smallest grid must not reach around it twice: with one point at the centre, all of the volume
 * is 1. */
/* Whole numbers below 2^24 add up exactly in any order. */
static void pairs_add_up(void **state)
{
    (void)state;
    enum { PAIRS = 5 };
    const ptrdiff_t edge = 20; /* not a whole number of chunks */
    float *pair[PAIRS] = {NULL}, *sum = NULL;
    sp_nufft *plan = NULL;

    assert_int_equal(sp_nufft_new(edge, 4, 1.5, &plan), SP_OK);
    const ptrdiff_t count = sp_nufft_pair_count(plan);

    assert_int_equal(SP_ARRAY(sum, count), SP_OK);
    for (int k = 0; k < PAIRS; k++) {
        assert_int_equal(SP_ARRAY(pair[k], count), SP_OK);
        for (ptrdiff_t i = 0; i < count; i++) {
            pair[k][i] = (float)((i * (k + 3)) % 1001);
        }
    }
    for (int pairs = 0; pairs <= PAIRS; pairs++) {
        for (ptrdiff_t i = 0; i < count; i++) {
            sum[i] = (float)(i % 7);
        }
        sp_nufft_add_pairs(plan, (const float *const *)pair, pairs, sum);
        for (ptrdiff_t i = 0; i < count; i++) {
            float want = (float)(i % 7);

            for (int k = 0; k < pairs; k++) {
                want += pair[k][i];
            }
            assert_true(sum[i] == want);
        }
    }
    for (int k = 0; k < PAIRS; k++) {
        sp_array_free(pair[k]);
    }
    sp_array_free(sum);
    sp_nufft_free(plan);
}

static void the_smallest_plan_works(void **state)
{
    (void)state;
    setting settings[MAX_SETTINGS];
    const sp_mat3 rotation = sp_quat_to_matrix(sp_quat_identity());
    const float zero[1] = {0.0f}, one[1] = {1.0f};
    const float *const s[3] = {zero, zero, zero};

    for (int i = 0; i < all_settings(settings); i++) {
        sp_nufft *plan = NULL;
        float *pair = NULL, *grid = NULL;
        float volume[4 * 4 * 4], value = 0.0f;

        assert_int_equal(
            sp_nufft_new_with(4, settings[i].width, 1.25, settings[i].kernels, settings[i].most_replicated, &plan),
            SP_OK);
        assert_int_equal(SP_ARRAY(pair, sp_nufft_pair_count(plan)), SP_OK);
        assert_int_equal(SP_ARRAY(grid, sp_nufft_grid_count(plan)), SP_OK);
        sp_nufft_spread_pair(plan, &rotation, 1.0, s, 1, one, zero, pair);
        sp_nufft_collect(plan, pair, 0, 4, volume);
        for (int x = -1; x <= 1; x++) {
            for (int y = -1; y <= 1; y++) {
                assert_true(fabsf(volume[voxel(4, x, y, 1)] - 1.0f) < 0.01f);
            }
        }
        sp_nufft_prepare(plan, volume, grid);
        sp_nufft_interpolate(plan, grid, &rotation, 1.0, s, 1, &value);
        assert_true(fabsf(value - 27.0f) < 0.3f);
        sp_array_free(grid);
        sp_array_free(pair);
        sp_nufft_free(plan);
    }
}

static void impossible_plans_are_refused_by_name(void **state)
{
    (void)state;
    sp_nufft *plan = NULL;

    assert_int_equal(sp_nufft_new(15, 4, 2.0, &plan), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "edge 15"));
    assert_int_equal(sp_nufft_new(16, 5, 2.0, &plan), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "width 5"));
    assert_int_equal(sp_nufft_new(16, 4, 1.0, &plan), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "oversampling 1"));
    assert_int_equal(sp_nufft_new(1024, 4, 2.0, &plan), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "edge 2048 has too many cells"));
    assert_null(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_2_equals_the_direct_sum),
        cmocka_unit_test(all_inner_loops_agree_with_the_plain_ones),
        cmocka_unit_test(points_on_the_border_of_the_grid_are_as_good_as_others),
        cmocka_unit_test(a_point_does_not_depend_on_its_neighbours),
        cmocka_unit_test(turns_equal_differences_of_the_direct_sum),
        cmocka_unit_test(turns_of_all_inner_loops_agree_with_the_plain_ones),
        cmocka_unit_test(tiny_volumes_keep_their_shape),
        cmocka_unit_test(a_voxel_that_is_no_number_shows_in_every_value),
        cmocka_unit_test(type_1_equals_the_direct_sum_for_both_values),
        cmocka_unit_test(all_ways_of_spreading_agree_with_the_plain_one),
        cmocka_unit_test(type_1_is_the_adjoint_of_type_2),
        cmocka_unit_test(pairs_add_up),
        cmocka_unit_test(the_smallest_plan_works),
        cmocka_unit_test(impossible_plans_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
