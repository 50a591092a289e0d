/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "flow/loop.h"
#include "testing.h"

/* A particle of 100 Angstrom on a detector that reaches 5 Angstrom: 20 speckles along the radius. */
static const double DIAMETER = 100e-10, FINEST = 2e9;

typedef struct sample {
    sp_reconstruction state;
    sp_loop loop;
} sample;

/* Images of so many values, of which a photon is one quantum. The loop points into the sample. */
static void sample_of(sample *self, double values, double quantum)
{
    *self = (sample){.state = {.settings = sp_reconstruct_defaults(),
                               .photons_per_image = values,
                               .quantum = quantum,
                               .edge_resolution = 1.0 / FINEST}};
    self->state.settings.diameter = DIAMETER;
    self->loop = (sp_loop){.state = &self->state, .s_max = FINEST, .reach = FINEST};
}

static void few_photons_are_sparse_and_noise_free_values_never(void **state)
{
    (void)state;
    sample s;

    sample_of(&s, 500.0, 1.0);
    assert_true(sp_loop_is_sparse(&s.loop));
    sample_of(&s, 1000.0, 1.0);
    assert_false(sp_loop_is_sparse(&s.loop));
    sample_of(&s, 1e-3, 0.0); /* without noise the unit of the file says nothing */
    assert_false(sp_loop_is_sparse(&s.loop));
    sample_of(&s, 500.0, 1.0);
    s.state.settings.noise = SP_NOISE_NONE; /* the user knows better */
    assert_false(sp_loop_is_sparse(&s.loop));
}

static void gain_does_not_make_photons(void **state)
{
    (void)state;
    sample s;

    sample_of(&s, 5000.0, 10.0); /* 500 photons of 10 each */
    assert_true(sp_loop_is_sparse(&s.loop));
    sample_of(&s, 100.0, 0.1);
    assert_false(sp_loop_is_sparse(&s.loop));
}

static void the_baseline_without_refinement_knows_no_sparse_images(void **state)
{
    (void)state;
    sample s;

    sample_of(&s, 500.0, 1.0);
    s.state.settings.match = SP_MATCH_EUCLIDEAN;
    assert_false(sp_loop_is_sparse(&s.loop));
}

static void only_sparse_images_are_searched_with_more_detail_in_the_end(void **state)
{
    (void)state;
    sample s;

    sample_of(&s, 5000.0, 1.0);
    assert_true(sp_loop_search_reach(&s.loop) == sp_loop_first_reach(&s.loop));
    sample_of(&s, 500.0, 1.0);
    assert_true(sp_loop_search_reach(&s.loop) > 1.5 * sp_loop_first_reach(&s.loop));
    assert_true(sp_loop_search_reach(&s.loop) < s.loop.s_max);
    s.loop.s_max = 6.0 / DIAMETER; /* a detector that ends before */
    assert_true(sp_loop_search_reach(&s.loop) == s.loop.s_max);
}

static void sparse_images_are_searched_on_a_finer_grid(void **state)
{
    (void)state;
    sample bright, dim;
    const double speckle = 0.05; /* [rad] */

    sample_of(&bright, 5000.0, 1.0);
    sample_of(&dim, 500.0, 1.0);
    const double ratio =
        (double)sp_loop_orientations(&dim.loop, speckle) / (double)sp_loop_orientations(&bright.loop, speckle);

    assert_true(fabs(ratio / pow(4.0 / 3.0, 3.0) - 1.0) < 0.05); /* orientations grow as the step to the power of -3 */
}

/* Noise that scores are judged by, of images with this measured quantum and a mean of 1 per pixel.
 *   matched  out  quantum that they are matched with */
static double noise_of(double measured, sp_noise_kind asked, double *matched)
{
    sample s;
    double profile[4] = {1.0, 1.0, 1.0, 1.0};

    sample_of(&s, 5000.0, measured);
    s.state.settings.noise = asked;
    s.loop.patterns = (sp_patterns){.shells = 4, .profile = profile};
    sp_loop_choose_noise(&s.loop);
    assert_true(s.loop.patterns.quantum == s.state.quantum);
    *matched = s.state.quantum;
    return s.loop.noise;
}

static void noise_that_is_ignored_lowers_what_scores_can_reach_all_the_same(void **state)
{
    (void)state;
    double matched;

    assert_true(noise_of(1.0, SP_NOISE_AUTO, &matched) == 1.0 && matched == 1.0);
    assert_true(noise_of(1.0, SP_NOISE_NONE, &matched) == 1.0 && matched == 0.0);
    assert_true(noise_of(0.001, SP_NOISE_AUTO, &matched) == 0.0 && matched == 0.0); /* a remainder of speckle */
    assert_true(noise_of(0.001, SP_NOISE_NONE, &matched) == 0.0 && matched == 0.0);
    assert_true(noise_of(0.0, SP_NOISE_POISSON, &matched) == 1.0 && matched == 1.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(few_photons_are_sparse_and_noise_free_values_never),
        cmocka_unit_test(gain_does_not_make_photons),
        cmocka_unit_test(the_baseline_without_refinement_knows_no_sparse_images),
        cmocka_unit_test(only_sparse_images_are_searched_with_more_detail_in_the_end),
        cmocka_unit_test(sparse_images_are_searched_on_a_finer_grid),
        cmocka_unit_test(noise_that_is_ignored_lowers_what_scores_can_reach_all_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
