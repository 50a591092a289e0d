/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/heap.h"
#include "phases/phaser.h"

#include <omp.h>

#include "num/statistics.h"
#include "phases/phasing.h"

/* A density of blobs on the grid, its autocorrelation, and room for the answer. */
typedef struct scene {
    float *density, *autocorrelation, *found;
    sp_phaser *phaser;
    sp_phase_settings settings;
} scene;

/* a[u] = sum_r f[r] f[r + u], the box being periodic */
static float *direct_autocorrelation(const float *f)
{
    float *a = NULL;

    assert_int_equal(SP_ARRAY(a, CUBE), SP_OK);
    for (ptrdiff_t u = 0; u < CUBE; u++) {
        const ptrdiff_t ux = u / (EDGE * EDGE), uy = u / EDGE % EDGE, uz = u % EDGE;
        double sum = 0.0;

        for (ptrdiff_t x = 0; x < EDGE; x++) {
            for (ptrdiff_t y = 0; y < EDGE; y++) {
                const float *here = f + (x * EDGE + y) * EDGE;
                const float *there = f + ((x + ux) % EDGE * EDGE + (y + uy) % EDGE) * EDGE;

                for (ptrdiff_t z = 0; z < EDGE; z++) {
                    sum += (double)here[z] * there[(z + uz) % EDGE];
                }
            }
        }
        a[u] = (float)sum;
    }
    return a;
}

static scene make_scene(int starts)
{
    scene s = {.density = phasing_density()};

    assert_int_equal(sp_phaser_new(EDGE, VOXEL, starts, &s.phaser), SP_OK);
    assert_int_equal(SP_ARRAY(s.found, CUBE), SP_OK);
    assert_int_equal(SP_ARRAY(s.autocorrelation, CUBE), SP_OK);
    sp_phaser_autocorrelate(s.phaser, s.density, NULL, NULL, s.autocorrelation);
    s.settings = phasing_settings(starts);
    return s;
}

static void clear_scene(scene *s)
{
    sp_array_free(s->density);
    sp_array_free(s->autocorrelation);
    sp_array_free(s->found);
    sp_phaser_free(s->phaser);
}

static sp_phase_result run(const scene *s, float *found)
{
    return sp_phaser_run(s->phaser, s->autocorrelation, 0.0, S_MAX, false, &s->settings, found);
}

/* Pearson's correlation with the density, at its best over all shifts of up to 3 voxels and both hands. */
static double best_correlation(const float *density, const float *found)
{
    float *moved = NULL;
    double best = -1.0;

    assert_int_equal(SP_ARRAY(moved, CUBE), SP_OK);
    for (int hand = -1; hand <= 1; hand += 2) {
        for (ptrdiff_t shift = 0; shift < 343; shift++) {
            const ptrdiff_t u[3] = {shift / 49 - 3, shift / 7 % 7 - 3, shift % 7 - 3};

            for (ptrdiff_t i = 0; i < CUBE; i++) {
                const ptrdiff_t x = (hand * (i / (EDGE * EDGE)) + u[0] + 2 * EDGE) % EDGE;
                const ptrdiff_t y = (hand * (i / EDGE % EDGE) + u[1] + 2 * EDGE) % EDGE;
                const ptrdiff_t z = (hand * (i % EDGE) + u[2] + 2 * EDGE) % EDGE;

                moved[i] = found[(x * EDGE + y) * EDGE + z];
            }
            best = fmax(best, sp_pearson(density, moved, CUBE));
        }
    }
    sp_array_free(moved);
    return best;
}

/* Intensities of white noise, which no density within the radius explains. */
static void fill_with_noise(scene *s)
{
    sp_rng rng = sp_rng_stream(6, 6, 6);

    for (int i = 0; i < CUBE; i++) {
        s->found[i] = (float)sp_rng_uniform(&rng);
    }
    sp_phaser_autocorrelate(s->phaser, s->found, NULL, NULL, s->autocorrelation);
}

static void the_autocorrelation_is_the_direct_sum(void **state)
{
    (void)state;
    scene s = make_scene(1);
    float *direct = direct_autocorrelation(s.density);

    assert_true(relative_difference(s.autocorrelation, direct, CUBE) < 1e-6);
    sp_array_free(direct);
    clear_scene(&s);
}

/* A filter of 2 on every shell doubles; one that keeps shell 0 only leaves the mean; shells tell the power. */
static void the_filter_acts_on_shells_and_shells_are_mean_powers(void **state)
{
    (void)state;
    scene s = make_scene(1);
    double filter[EDGE] = {1.0}, shells[EDGE], sum = 0.0, mean = 0.0;

    sp_phaser_autocorrelate(s.phaser, s.density, filter, shells, s.found);
    for (int i = 0; i < CUBE; i++) {
        sum += s.density[i];
        mean += s.autocorrelation[i] / CUBE;
    }
    assert_true(fabs(shells[0] / (sum * sum) - 1.0) < 1e-5);
    for (int i = 0; i < CUBE; i++) {
        assert_true(fabs(s.found[i] / mean - 1.0) < 1e-4);
    }
    for (int k = 0; k < EDGE; k++) {
        filter[k] = 2.0;
    }
    sp_phaser_autocorrelate(s.phaser, s.density, filter, NULL, s.found);
    for (int i = 0; i < CUBE; i++) {
        s.found[i] *= 0.5f;
    }
    assert_true(relative_difference(s.found, s.autocorrelation, CUBE) < 1e-6);
    clear_scene(&s);
}

static void the_density_comes_back_up_to_shift_and_hand(void **state)
{
    (void)state;
    enum { SEEDS = 5 };
    scene s = make_scene(4);
    int solved = 0;

    for (int seed = 0; seed < SEEDS; seed++) {
        s.settings.seed = (uint64_t)seed;
        const sp_phase_result result = run(&s, s.found);

        assert_true(result.winner >= 0 && result.winner < 4);
        solved += best_correlation(s.density, s.found) > 0.9;
    }
    assert_true(solved >= SEEDS - 1);
    clear_scene(&s);
}

static void the_density_is_centred(void **state)
{
    (void)state;
    scene s = make_scene(3);
    double re[3] = {0.0}, im[3] = {0.0};

    run(&s, s.found);
    for (ptrdiff_t i = 0; i < CUBE; i++) {
        const ptrdiff_t index[3] = {i / (EDGE * EDGE), i / EDGE % EDGE, i % EDGE};

        for (int axis = 0; axis < 3; axis++) {
            re[axis] += s.found[i] * cos(2.0 * M_PI * (double)index[axis] / EDGE);
            im[axis] += s.found[i] * sin(2.0 * M_PI * (double)index[axis] / EDGE);
        }
    }
    for (int axis = 0; axis < 3; axis++) { /* centre of mass on a circle: within a voxel of 0 */
        assert_true(fabs(atan2(im[axis], re[axis]) * EDGE / (2.0 * M_PI)) < 1.0);
    }
    clear_scene(&s);
}

static void the_density_is_positive_and_within_its_radius_whatever_the_data(void **state)
{
    (void)state;
    scene s = make_scene(2);
    ptrdiff_t filled = 0;

    fill_with_noise(&s);
    s.settings.threshold = 0.02;
    const sp_phase_result result = run(&s, s.found);
    for (ptrdiff_t i = 0; i < CUBE; i++) {
        double square = 0.0;

        for (ptrdiff_t stride = 1; stride < CUBE; stride *= EDGE) {
            const double d = (double)((i / stride % EDGE + EDGE / 2) % EDGE - EDGE / 2);

            square += d * d;
        }
        filled += s.found[i] > 0.0f;
        assert_true(s.found[i] >= 0.0f && (s.found[i] == 0.0f || square <= 5.5 * 5.5));
    }
    assert_true(filled > 0 && (double)filled <= result.volume);
    clear_scene(&s);
}

static void the_residual_falls_with_every_step_of_error_reduction(void **state)
{
    (void)state;
    scene s = make_scene(1);
    double before = INFINITY;

    for (int steps = 2; steps <= 41; steps += 3) { /* the residual of the first one belongs to the support before */
        s.settings.final_steps = steps;
        const sp_phase_result result = run(&s, s.found);

        assert_true(result.residual <= before * (1.0 + 1e-6));
        before = result.residual;
    }
    clear_scene(&s);
}

static void the_winner_has_the_least_residual(void **state)
{
    (void)state;
    enum { STARTS = 4 };
    scene s = make_scene(STARTS);
    const sp_phase_result all = run(&s, s.found);

    s.settings.starts = all.winner + 1; /* starts do not depend on each other: fewer give the same winner */
    const sp_phase_result fewer = run(&s, s.found);
    assert_int_equal(fewer.winner, all.winner);
    assert_true(fewer.residual == all.residual);
    for (int starts = 1; starts <= STARTS; starts++) {
        s.settings.starts = starts;
        assert_true(run(&s, s.found).residual >= all.residual);
    }
    clear_scene(&s);
}

/* With a threshold of nearly nothing the support of noise fills the ball. */
static void a_start_whose_support_explodes_is_dropped(void **state)
{
    (void)state;
    scene s = make_scene(2);

    assert_int_equal(run(&s, s.found).dropped, 0);
    fill_with_noise(&s);
    s.settings.threshold = 1e-3;
    const sp_phase_result result = run(&s, s.found);

    assert_int_equal(result.dropped, 2); /* all of them: still a density comes out */
    assert_true(result.volume > 0.9 * 4.0 / 3.0 * M_PI * pow(5.5, 3.0));
    assert_true(result.residual > 0.0 && isfinite(result.residual));
    clear_scene(&s);
}

/* A beam stop hides the mean, the largest amplitude of all; the density supplies it from what lies around. */
static void unknown_frequencies_are_left_to_the_density(void **state)
{
    (void)state;
    const double s_low = 0.5 / (EDGE * VOXEL);
    scene s = make_scene(4);
    double filter[EDGE] = {0.0}, truth = 0.0, sum = 0.0;

    for (int k = 1; k < EDGE; k++) {
        filter[k] = 1.0;
    }
    sp_phaser_autocorrelate(s.phaser, s.density, filter, NULL, s.autocorrelation);
    const sp_phase_result result =
        sp_phaser_run(s.phaser, s.autocorrelation, s_low, S_MAX, false, &s.settings, s.found);
    for (int i = 0; i < CUBE; i++) {
        truth += s.density[i];
        sum += s.found[i];
    }
    assert_true(best_correlation(s.density, s.found) > 0.9);
    assert_true(result.residual < 5e-3);
    assert_true(fabs(sum / truth - 1.0) < 0.1);
    clear_scene(&s);
}

static void the_mean_of_the_starts_is_the_density_too(void **state)
{
    (void)state;
    enum { STARTS = 6 };
    scene s = make_scene(STARTS);
    double prtf[EDGE / 2 + 1];

    run(&s, s.found);
    const int entered = sp_phaser_average(s.phaser, s.found, prtf);

    assert_true(entered >= 2 && entered <= STARTS);
    assert_true(best_correlation(s.density, s.found) > 0.9);
    for (int k = 0; k <= EDGE / 2; k++) {
        assert_true(prtf[k] > 0.0 && prtf[k] < 1.0 + 1e-5);
    }
    assert_true(prtf[0] > 0.999 && prtf[2] > 0.9 && prtf[EDGE / 2] < prtf[2]);
    clear_scene(&s);
}

static void the_mean_of_one_start_is_that_start(void **state)
{
    (void)state;
    scene s = make_scene(1);
    double prtf[EDGE / 2 + 1];
    float *mean = NULL;

    assert_int_equal(SP_ARRAY(mean, CUBE), SP_OK);
    run(&s, s.found);

    assert_int_equal(sp_phaser_average(s.phaser, mean, prtf), 1);
    assert_true(best_correlation(s.found, mean) > 0.999);
    for (int k = 0; k <= EDGE / 2; k++) {
        assert_true(fabs(prtf[k] - 1.0) < 1e-4);
    }
    sp_array_free(mean);
    clear_scene(&s);
}

/* Only the mean amplitude is known: whatever a start began with, it becomes the same even ball. */
static void starts_that_are_the_same_agree_at_all_frequencies(void **state)
{
    (void)state;
    enum { STARTS = 5 };
    scene s = make_scene(STARTS);
    double prtf[EDGE / 2 + 1];
    float *mean = NULL;

    assert_int_equal(SP_ARRAY(mean, CUBE), SP_OK);
    s.settings.raar_steps = 0;
    s.settings.cycles = 1;
    s.settings.threshold = 0.8;
    const sp_phase_result result =
        sp_phaser_run(s.phaser, s.autocorrelation, 0.0, 0.5 / (EDGE * VOXEL), false, &s.settings, s.found);

    assert_true(result.spread < 1e-6 * result.residual && result.dropped == 0);
    assert_int_equal(sp_phaser_average(s.phaser, mean, prtf), STARTS);
    assert_true(relative_difference(mean, s.found, CUBE) < 1e-5);
    for (int k = 0; k <= EDGE / 2; k++) {
        assert_true(fabs(prtf[k] - 1.0) < 1e-4);
    }
    sp_array_free(mean);
    clear_scene(&s);
}

/* Of ten starts both hands come out, each at a place of its own: laid upon each other they agree, and their mean is as
 * like the density as the best. */
static void starts_of_either_hand_are_laid_upon_each_other(void **state)
{
    (void)state;
    enum { STARTS = 10 };
    scene s = make_scene(STARTS);
    double prtf[EDGE / 2 + 1];

    run(&s, s.found);
    const double winner = best_correlation(s.density, s.found);
    const int entered = sp_phaser_average(s.phaser, s.found, prtf);

    assert_true(entered >= 3);
    assert_true(best_correlation(s.density, s.found) > winner - 0.02);
    for (int k = 0; k <= 6; k++) {
        assert_true(prtf[k] > 0.97);
    }
    clear_scene(&s);
}

static void starts_on_noise_do_not_agree(void **state)
{
    (void)state;
    enum { STARTS = 10 };
    scene s = make_scene(STARTS);
    double prtf[EDGE / 2 + 1], outer = 0.0;

    fill_with_noise(&s);
    s.settings.cycles = 0; /* error reduction only: every start ends in the nearest minimum */
    run(&s, s.found);
    const int entered = sp_phaser_average(s.phaser, s.found, prtf);

    assert_true(entered >= 5);
    for (int k = 5; k <= 8; k++) {
        outer += prtf[k] / 4.0;
    }
    assert_true(outer < 0.8);
    clear_scene(&s);
}

static void the_same_seed_gives_the_same_bits_on_any_number_of_threads(void **state)
{
    (void)state;
    const int threads = omp_get_max_threads();

    omp_set_num_threads(3); /* the phaser makes work spaces for three starts at a time */
    scene s = make_scene(4);
    float *first = NULL;
    sp_phase_result results[3];

    s.settings.cycles = 3;
    assert_int_equal(SP_ARRAY(first, CUBE), SP_OK);
    for (int t = 0; t < 3; t++) {
        omp_set_num_threads(t + 1);
        results[t] = run(&s, t ? s.found : first);
        assert_true(t == 0 || memcmp(first, s.found, CUBE * sizeof *first) == 0);
        assert_true(results[t].residual == results[0].residual && results[t].winner == results[0].winner);
    }
    omp_set_num_threads(threads);
    s.settings.seed = 2;
    run(&s, s.found);
    assert_memory_not_equal(first, s.found, CUBE * sizeof *first);
    sp_array_free(first);
    clear_scene(&s);
}

static void the_memory_is_as_planned(void **state)
{
    (void)state;
    enum { LARGE = 48 };
    const int threads = omp_get_max_threads();

    for (int t = 1; t <= 4; t += 3) {
        for (int starts = 1; starts <= 6; starts += 5) {
            sp_phaser *phaser = NULL;
            const double before = heap();

            omp_set_num_threads(t);
            assert_int_equal(sp_phaser_new(LARGE, VOXEL, starts, &phaser), SP_OK);
            const double ratio = (heap() - before) / (double)sp_phaser_bytes(LARGE, starts, t);

            sp_phaser_free(phaser);
            assert_true(before == 0.0 || (ratio > 0.99 && ratio < 1.01));
        }
    }
    omp_set_num_threads(threads);
}

static void an_odd_edge_is_refused(void **state)
{
    (void)state;
    sp_phaser *phaser = NULL;

    assert_int_equal(sp_phaser_new(15, VOXEL, 1, &phaser), SP_ERR_USAGE);
    assert_null(phaser);
    assert_non_null(strstr(sp_error_text(), "15"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_autocorrelation_is_the_direct_sum),
        cmocka_unit_test(the_filter_acts_on_shells_and_shells_are_mean_powers),
        cmocka_unit_test(the_density_comes_back_up_to_shift_and_hand),
        cmocka_unit_test(the_density_is_centred),
        cmocka_unit_test(the_density_is_positive_and_within_its_radius_whatever_the_data),
        cmocka_unit_test(the_residual_falls_with_every_step_of_error_reduction),
        cmocka_unit_test(the_winner_has_the_least_residual),
        cmocka_unit_test(a_start_whose_support_explodes_is_dropped),
        cmocka_unit_test(unknown_frequencies_are_left_to_the_density),
        cmocka_unit_test(the_mean_of_the_starts_is_the_density_too),
        cmocka_unit_test(the_mean_of_one_start_is_that_start),
        cmocka_unit_test(starts_that_are_the_same_agree_at_all_frequencies),
        cmocka_unit_test(starts_of_either_hand_are_laid_upon_each_other),
        cmocka_unit_test(starts_on_noise_do_not_agree),
        cmocka_unit_test(the_same_seed_gives_the_same_bits_on_any_number_of_threads),
        cmocka_unit_test(the_memory_is_as_planned),
        cmocka_unit_test(an_odd_edge_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
