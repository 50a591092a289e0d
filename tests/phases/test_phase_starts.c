/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/phase_starts.h"

#include <omp.h>

#include "phases/phasing.h"

static void the_least_residual_wins(void **state)
{
    (void)state;
    const sp_phase_outcome outcome[] = {{0.3, 30.0, false}, {0.1, 10.0, false}, {0.2, 20.0, false}};
    const sp_phase_result result = sp_phase_choose(outcome, 3);

    assert_int_equal(result.winner, 1);
    assert_int_equal(result.dropped, 0);
    assert_true(result.residual == 0.1 && result.volume == 10.0);
    assert_true(fabs(result.spread - sqrt(2.0 / 3.0) * 0.1) < 1e-12);
    assert_int_equal(sp_phase_choose(outcome, 1).winner, 0);
}

static void a_dropped_start_wins_only_among_its_like(void **state)
{
    (void)state;
    sp_phase_outcome outcome[] = {{0.3, 30.0, false}, {0.1, 10.0, true}, {0.2, 20.0, true}};

    assert_int_equal(sp_phase_choose(outcome, 3).winner, 0);
    assert_int_equal(sp_phase_choose(outcome, 3).dropped, 2);
    outcome[0].dropped = true;
    assert_int_equal(sp_phase_choose(outcome, 3).winner, 1);
    assert_int_equal(sp_phase_choose(outcome, 3).dropped, 3);
}

static void of_equal_starts_the_first_wins(void **state)
{
    (void)state;
    const sp_phase_outcome outcome[] = {{0.2, 1.0, true}, {0.2, 2.0, false}, {0.2, 3.0, false}};

    assert_int_equal(sp_phase_choose(outcome, 3).winner, 1);
    assert_true(sp_phase_choose(outcome, 3).spread < 1e-8);
}

/* ---- the mean ---- */

enum { STARTS = 5 };

/* A density and copies of it: moved, of the other hand, and others that do not count. */
typedef struct scene {
    float *density[STARTS], *mean;
    sp_phase_outcome outcome[STARTS];
    sp_phase_plan *plan;
    sp_phase_sums *sums;
    double prtf[EDGE / 2 + 1];
} scene;

/* to(r) = from(hand r - shift) */
static void lay(const float *from, int hand, const ptrdiff_t shift[3], float *to)
{
    for (ptrdiff_t i = 0; i < CUBE; i++) {
        const ptrdiff_t x = hand * (i / (EDGE * EDGE)) - shift[0], y = hand * (i / EDGE % EDGE) - shift[1],
                        z = hand * (i % EDGE) - shift[2];

        to[i] = from[((x + 2 * EDGE) % EDGE * EDGE + (y + 2 * EDGE) % EDGE) * EDGE + (z + 2 * EDGE) % EDGE];
    }
}

static void make_scene(scene *s)
{
    const ptrdiff_t shift[STARTS][3] = {{0, 0, 0}, {1, -2, 3}, {-1, 0, 2}, {0, 1, 0}, {4, 4, 4}};
    sp_rng rng = sp_rng_stream(8, 8, 8);

    *s = (scene){.density = {phasing_density()}};
    assert_int_equal(sp_phase_plan_new(EDGE, VOXEL, &s->plan), SP_OK);
    assert_int_equal(sp_phase_sums_new(s->plan, &s->sums), SP_OK);
    assert_int_equal(SP_ARRAY(s->mean, CUBE), SP_OK);
    for (int k = 0; k < STARTS; k++) {
        if (k > 0) {
            assert_int_equal(SP_ARRAY(s->density[k], CUBE), SP_OK);
            lay(s->density[0], k == 2 ? -1 : 1, shift[k], s->density[k]);
        }
        s->outcome[k] = (sp_phase_outcome){.residual = 0.1 + 0.001 * k, .volume = 100.0};
    }
    for (ptrdiff_t i = 0; i < CUBE; i++) { /* the last two are something else */
        s->density[3][i] = s->density[4][i] = (float)sp_rng_uniform(&rng);
    }
    s->outcome[3].dropped = true;
    s->outcome[4].residual = 0.126;
}

static void clear_scene(scene *s)
{
    for (int k = 0; k < STARTS; k++) {
        sp_array_free(s->density[k]);
    }
    sp_array_free(s->mean);
    sp_phase_sums_free(s->sums);
    sp_phase_plan_free(s->plan);
}

static int mean(scene *s)
{
    return sp_phase_mean(s->plan, (const float *const *)s->density, s->outcome, STARTS, s->sums, s->mean, s->prtf);
}

static double worst(const double *prtf)
{
    double off = 0.0;

    for (int k = 0; k <= EDGE / 2; k++) {
        off = fmax(off, fabs(prtf[k] - 1.0));
    }
    return off;
}

/* Peaks of correlations are found to a part of a voxel only: densities agree to some per cent. */
static void copies_are_laid_upon_the_winner_whatever_their_place_and_hand(void **state)
{
    (void)state;
    scene s;
    float *first = NULL, *only = NULL;

    make_scene(&s);
    assert_int_equal(SP_ARRAY(first, CUBE), SP_OK);
    assert_int_equal(SP_ARRAY(only, CUBE), SP_OK);
    assert_int_equal(mean(&s), 3);
    assert_true(worst(s.prtf) < 0.02);
    memcpy(first, s.mean, CUBE * sizeof *first);
    assert_int_equal(sp_phase_mean(s.plan, (const float *const *)s.density, s.outcome, 1, s.sums, only, s.prtf), 1);
    assert_true(relative_difference(first, only, CUBE) < 0.02);
    sp_array_free(first);
    sp_array_free(only);
    clear_scene(&s);
}

static void a_start_enters_when_it_is_as_good_as_the_winner(void **state)
{
    (void)state;
    scene s;

    make_scene(&s);
    s.outcome[4].residual = 0.124;
    assert_int_equal(mean(&s), 4);
    assert_true(worst(s.prtf) > 0.1); /* it does not agree */
    s.outcome[3].dropped = false;
    assert_int_equal(mean(&s), 5);
    for (int k = 0; k < STARTS; k++) {
        s.outcome[k].dropped = true;
    }
    assert_int_equal(mean(&s), 1);
    assert_true(worst(s.prtf) < 1e-4);
    clear_scene(&s);
}

static void the_mean_is_the_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    const int threads = omp_get_max_threads();
    float *first = NULL;
    scene s;

    make_scene(&s);
    assert_int_equal(SP_ARRAY(first, CUBE), SP_OK);
    for (int t = 1; t <= 3; t++) {
        omp_set_num_threads(t);
        assert_int_equal(mean(&s), 3);
        if (t == 1) {
            memcpy(first, s.mean, CUBE * sizeof *first);
        }
        assert_memory_equal(first, s.mean, CUBE * sizeof *first);
    }
    omp_set_num_threads(threads);
    sp_array_free(first);
    clear_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_least_residual_wins),
        cmocka_unit_test(a_dropped_start_wins_only_among_its_like),
        cmocka_unit_test(of_equal_starts_the_first_wins),
        cmocka_unit_test(copies_are_laid_upon_the_winner_whatever_their_place_and_hand),
        cmocka_unit_test(a_start_enters_when_it_is_as_good_as_the_winner),
        cmocka_unit_test(the_mean_is_the_same_bits_on_any_number_of_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
