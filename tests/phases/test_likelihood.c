/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdbool.h>

#include "base/memory.h"
#include "base/rng.h"
#include "phases/likelihood.h"
#include "testing.h"

enum { PIXELS = 2000, FIRST = 7 };

static const float SCALE = 1.3f;

/* An image and a pattern of random counts over five decades; some pixels dark, some without photons. */
typedef struct problem {
    float k[PIXELS], intensity[PIXELS], turn[3][PIXELS], base[FIRST + PIXELS], expected[FIRST + PIXELS];
    sp_likelihood_model model;
} problem;

static problem *make_problem(uint64_t seed, float dispersion)
{
    sp_rng rng = sp_rng_stream(seed, 1, 0);
    problem *p = NULL;

    assert_int_equal(SP_ARRAY(p, 1), SP_OK);
    for (int i = 0; i < FIRST + PIXELS; i++) {
        p->base[i] = (float)sp_rng_uniform(&rng) * 0.1f;
        p->expected[i] = (float)exp(10.0 * sp_rng_uniform(&rng) - 7.0);
    }
    for (int i = 0; i < PIXELS; i++) {
        p->intensity[i] = (float)sp_rng_uniform(&rng);
        p->k[i] = sp_rng_uniform(&rng) < 0.5 ? 0.0f : floorf((float)sp_rng_uniform(&rng) * 40.0f);
        for (int j = 0; j < 3; j++) {
            p->turn[j][i] = (float)sp_rng_normal(&rng);
        }
        if (i % 50 == 3) { /* an empty shell */
            p->intensity[i] = p->base[FIRST + i] = p->k[i] = 0.0f;
        }
    }
    p->model = (sp_likelihood_model){.base = p->base, .expected = p->expected, .share = 0.9f, .dispersion = dispersion};
    return p;
}

static sp_likelihood_sums sums_of(const sp_likelihood_kernels *kernels, const problem *p, ptrdiff_t count, bool turns)
{
    const float *const turn[3] = {p->turn[0], p->turn[1], p->turn[2]};
    sp_likelihood_sums sums = {0};

    kernels->add(&p->model, FIRST, count, p->k, SCALE, p->intensity, turns ? turn : NULL, &sums);
    return sums;
}

static bool near(double a, double b, double size)
{
    return fabs(a - b) < 3e-6 * size;
}

/* Every set of inner loops against the plain ones; lengths that fill no vector, one, and several blocks. */
static void all_inner_loops_agree_with_the_plain_ones(void **state)
{
    (void)state;
    static const float dispersions[] = {0.5f, 10.0f, 1e6f};
    static const ptrdiff_t counts[] = {0, 1, 5, 16, 333, PIXELS};

    for (int trial = 0; trial < 3 * 6; trial++) {
        problem *p = make_problem(30 + (uint64_t)trial, dispersions[trial % 3]);
        const ptrdiff_t count = counts[trial / 3];
        const sp_likelihood_sums want = sums_of(&sp_likelihood_ref, p, count, true);

        for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
            const sp_likelihood_sums got = sums_of(sp_likelihood_kernels_for((sp_isa)isa), p, count, true);
            const sp_likelihood_sums alone = sums_of(sp_likelihood_kernels_for((sp_isa)isa), p, count, false);

            assert_true(near(got.score, want.score, fabs(want.score) + 1e-20));
            assert_true(near(alone.score, want.score, fabs(want.score) + 1e-20));
            assert_true(alone.slope[0] == 0.0 && alone.information[0][0] == 0.0);
            for (int i = 0; i < 3; i++) {
                /* terms of either sign: measured by the root of the information and what the misfit adds to it */
                assert_true(
                    near(got.slope[i], want.slope[i], 1e-20 + 20.0 * sqrt((double)count * want.information[i][i])));
                for (int j = 0; j <= i; j++) {
                    const double size = sqrt(want.information[i][i] * want.information[j][j]);

                    assert_true(near(got.information[i][j], want.information[i][j], size + 1e-20));
                }
            }
        }
        sp_array_free(p);
    }
}

static void the_slope_is_the_derivative_of_the_score(void **state)
{
    (void)state;
    const float delta = 1e-3f;
    problem *p = make_problem(5, 4.0f), *up = make_problem(5, 4.0f), *down = make_problem(5, 4.0f);
    const sp_likelihood_sums at = sums_of(&sp_likelihood_ref, p, PIXELS, true);

    for (int j = 0; j < 3; j++) {
        for (int i = 0; i < PIXELS; i++) {
            const bool dark = i % 50 == 3;

            up->intensity[i] = dark ? 0.0f : p->intensity[i] + 0.5f + delta * p->turn[j][i];
            down->intensity[i] = dark ? 0.0f : p->intensity[i] + 0.5f - delta * p->turn[j][i];
            p->intensity[i] = dark ? 0.0f : p->intensity[i] + 0.5f;
        }
        const double want = (sums_of(&sp_likelihood_ref, up, PIXELS, false).score -
                             sums_of(&sp_likelihood_ref, down, PIXELS, false).score) /
                            (2.0 * (double)delta);
        const sp_likelihood_sums got = sums_of(&sp_likelihood_ref, p, PIXELS, true);

        assert_true(fabs(got.slope[j] - want) < 1e-3 * sqrt(got.information[j][j]) + 1e-3 * fabs(want));
    }
    assert_true(at.information[0][0] > 0.0);
    sp_array_free(p);
    sp_array_free(up);
    sp_array_free(down);
}

/* Matched counts k = scale m: the score has its maximum there, and no pixel of an empty shell counts. */
static void the_truth_has_no_slope(void **state)
{
    (void)state;
    problem *p = make_problem(6, 4.0f);

    for (int i = 0; i < PIXELS; i++) {
        p->k[i] = SCALE * (p->intensity[i] + p->base[FIRST + i]) * p->model.share * p->expected[FIRST + i];
    }
    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        const sp_likelihood_sums got = sums_of(sp_likelihood_kernels_for((sp_isa)isa), p, PIXELS, true);

        for (int i = 0; i < 3; i++) {
            assert_true(fabs(got.slope[i]) < 1e-3 * sqrt(got.information[i][i]));
        }
    }
    sp_array_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_inner_loops_agree_with_the_plain_ones),
        cmocka_unit_test(the_slope_is_the_derivative_of_the_score),
        cmocka_unit_test(the_truth_has_no_slope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
