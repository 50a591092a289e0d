/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/nufft.h"
#include "testing.h"

enum { EDGE = 16, POINTS = 200 };

typedef struct problem {
    float *volume;    /* [EDGE^3] real, even */
    float *s[3];      /* [POINTS] */
    float *first;     /* [POINTS] */
    float *second;    /* [POINTS] */
    sp_mat3 rotation; /* of the pattern */
    double scale;
} problem;

/* A random even volume and points all over |k_i| <= EDGE/2. */
static void make_problem(problem *p, uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 1, 0);

    p->scale = 1.0 / sqrt(3.0);
    p->rotation = sp_quat_to_matrix(sp_quat_random(&rng));
    assert_int_equal(SP_ARRAY(p->volume, EDGE * EDGE * EDGE), SP_OK);
    for (ptrdiff_t x = -EDGE / 2 + 1; x < EDGE / 2; x++) {
        for (ptrdiff_t y = -EDGE / 2 + 1; y < EDGE / 2; y++) {
            for (ptrdiff_t z = -EDGE / 2 + 1; z < EDGE / 2; z++) {
                const float value = (float)sp_rng_normal(&rng);

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

static void check_type_2(int width, double limit)
{
    problem p;
    sp_nufft *plan = NULL;
    float *grid = NULL;
    float got[POINTS];
    double want[POINTS] = {0.0};

    make_problem(&p, 5);
    assert_int_equal(sp_nufft_new(EDGE, width, 2.0, &plan), SP_OK);
    assert_int_equal(SP_ARRAY(grid, sp_nufft_grid_count(plan)), SP_OK);
    sp_nufft_prepare(plan, p.volume, grid);
    sp_nufft_interpolate(plan, grid, &p.rotation, p.scale, (const float *const *)p.s, POINTS, got);
    for (ptrdiff_t j = 0; j < POINTS; j++) {
        for (ptrdiff_t x = -EDGE / 2 + 1; x < EDGE / 2; x++) {
            for (ptrdiff_t y = -EDGE / 2 + 1; y < EDGE / 2; y++) {
                for (ptrdiff_t z = -EDGE / 2 + 1; z < EDGE / 2; z++) {
                    want[j] += p.volume[voxel(EDGE, x, y, z)] * wave(&p, j, x, y, z);
                }
            }
        }
    }

    assert_true(relative_error(got, want, POINTS) < limit);
    sp_array_free(grid);
    sp_nufft_free(plan);
    clear_problem(&p);
}

static void type_2_equals_the_direct_sum(void **state)
{
    (void)state;
    check_type_2(4, 1e-3); /* a volume that fills its box is the hardest case */
    check_type_2(6, 2e-5);
}

static void check_type_1(int width, ptrdiff_t kept, double limit)
{
    problem p;
    sp_nufft *plan = NULL;
    float *pair = NULL, *got = NULL;
    double *want = NULL;

    make_problem(&p, 6);
    assert_int_equal(sp_nufft_new(EDGE, width, 2.0, &plan), SP_OK);
    assert_int_equal(SP_ARRAY(pair, 2 * sp_nufft_grid_count(plan)), SP_OK);
    assert_int_equal(SP_ARRAY(got, kept * kept * kept), SP_OK);
    assert_int_equal(SP_ARRAY(want, kept * kept * kept), SP_OK);
    sp_nufft_spread_pair(plan, &p.rotation, p.scale, (const float *const *)p.s, POINTS, p.first, p.second, pair);
    for (int which = 0; which < 2; which++) {
        sp_nufft_collect(plan, pair, which, kept, got);
        for (ptrdiff_t x = -kept / 2 + 1; x < kept / 2; x++) {
            for (ptrdiff_t y = -kept / 2 + 1; y < kept / 2; y++) {
                for (ptrdiff_t z = -kept / 2 + 1; z < kept / 2; z++) {
                    double sum = 0.0;

                    for (ptrdiff_t j = 0; j < POINTS; j++) {
                        sum += (which ? p.second : p.first)[j] * wave(&p, j, x, y, z);
                    }
                    want[voxel(kept, x, y, z)] = sum;
                }
            }
        }

        assert_true(relative_error(got, want, kept * kept * kept) < limit);
    }
    sp_array_free(want);
    sp_array_free(got);
    sp_array_free(pair);
    sp_nufft_free(plan);
    clear_problem(&p);
}

static void type_1_equals_the_direct_sum_for_both_values(void **state)
{
    (void)state;
    check_type_1(4, EDGE, 1e-3);
    check_type_1(6, EDGE, 2e-5);
    check_type_1(6, EDGE / 2, 2e-5);
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
    assert_int_equal(SP_ARRAY(pair, 2 * sp_nufft_grid_count(plan)), SP_OK);
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
    assert_null(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_2_equals_the_direct_sum),
        cmocka_unit_test(type_1_equals_the_direct_sum_for_both_values),
        cmocka_unit_test(type_1_is_the_adjoint_of_type_2),
        cmocka_unit_test(impossible_plans_are_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
