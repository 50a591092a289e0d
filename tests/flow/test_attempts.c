/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "flow/loop.h"
#include "testing.h"

enum { IMAGES = 20 };

/* A loop in its last generation; an earlier attempt, with all images the other way round, is kept. */
typedef struct sample {
    sp_loop loop;
    sp_reconstruction state;
    sp_quat orientation[IMAGES], kept[IMAGES];
    int32_t label[IMAGES], kept_label[IMAGES];
    float score[IMAGES], kept_each[IMAGES];
    bool held_out[IMAGES];
    double mark[SP_CONFORMATIONS], standing[SP_CONFORMATIONS];
} sample;

static sample *sample_new(double score, double kept_score)
{
    sample *self = calloc(1, sizeof *self);

    assert_non_null(self);
    for (int n = 0; n < IMAGES; n++) {
        self->orientation[n] = sp_quat_identity();
        self->kept[n] = (sp_quat){0.0, 0.0, 0.0, 1.0};
    }
    self->state = (sp_reconstruction){.settings = sp_reconstruct_defaults(),
                                      .images = IMAGES,
                                      .generations = 50,
                                      .orientation = self->orientation,
                                      .label = self->label,
                                      .score = self->score,
                                      .held_out = self->held_out};
    self->loop = (sp_loop){.state = &self->state,
                           .conformations = 1,
                           .kept = self->kept,
                           .kept_label = self->kept_label,
                           .kept_each = self->kept_each,
                           .kept_score = kept_score,
                           .kept_conformations = 1,
                           .kept_residual = 0.1,
                           .mark = self->mark,
                           .standing = self->standing,
                           .s_max = 1e9,
                           .now = {.score = score, .resolution = 1e-9, .phasing_residual = 0.02}};
    return self;
}

static void the_only_attempt_stays_as_it_is(void **state)
{
    (void)state;
    sample *self = sample_new(0.9, 0.0);
    bool another = true;

    assert_int_equal(sp_loop_end_attempt(&self->loop, &another), SP_OK);
    assert_false(another);
    self->state.converged = true;
    /* nothing is merged or phased for it: the loop has nothing to do that with */
    assert_int_equal(sp_loop_take_best(&self->loop), SP_OK);
    assert_true(self->orientation[0].w == 1.0);
    assert_false(self->state.contradicted);
    free(self);
}

static void the_last_attempt_may_contradict_itself(void **state)
{
    (void)state;
    sample *self = sample_new(0.9, 0.0);

    self->loop.now.phasing_residual = 0.2;
    self->loop.attempt = 4; /* the fifth, and last */
    bool another = true;

    assert_int_equal(sp_loop_end_attempt(&self->loop, &another), SP_OK);
    assert_false(another);
    self->state.converged = true;
    assert_int_equal(sp_loop_take_best(&self->loop), SP_OK);
    assert_true(self->state.contradicted);
    free(self);
}

static void a_better_attempt_is_taken_though_it_was_cut_short(void **state)
{
    (void)state;
    sample *self = sample_new(0.95, 0.9);

    assert_int_equal(sp_loop_take_best(&self->loop), SP_OK); /* generations are used up, it has not converged */
    assert_true(self->orientation[0].w == 1.0);
    assert_true(self->kept[0].w == 1.0 && self->loop.kept_score == 0.95);
    assert_false(self->state.contradicted);
    free(self);
}

static void images_that_are_not_explained_are_a_contradiction(void **state)
{
    (void)state;
    sample *self = sample_new(0.8, 0.0);

    self->loop.now.best_score = 1.0;
    assert_false(sp_loop_contradicts(&self->loop)); /* still searching */
    self->loop.refining = true;
    assert_true(sp_loop_contradicts(&self->loop));
    self->loop.now.resolution = 2e-9;
    assert_false(sp_loop_contradicts(&self->loop)); /* not all detail */
    self->loop.now.resolution = 1e-9;
    self->loop.now.best_score = 0.85;
    assert_false(sp_loop_contradicts(&self->loop)); /* photon noise allows no more */
    self->loop.now.best_score = 1.0;
    self->loop.automatic = true;
    assert_false(sp_loop_contradicts(&self->loop)); /* there may be more conformations */
    free(self);
}

/* Does an attempt that ends like this have a successor, after one of score 0.2 and residual 0.1? */
static bool has_successor(double score, double residual)
{
    sample *self = sample_new(score, 0.2);
    bool another = false;

    self->loop.attempt = 1;
    self->loop.now.phasing_residual = residual;
    assert_int_equal(sp_loop_end_attempt(&self->loop, &another), SP_OK);
    free(self);
    return another;
}

static void attempts_end_when_two_come_to_the_same(void **state)
{
    (void)state;
    assert_false(has_successor(0.203, 0.105));
    assert_false(has_successor(0.198, 0.095));
    assert_true(has_successor(0.21, 0.105));
    assert_true(has_successor(0.19, 0.105));
    assert_true(has_successor(0.203, 0.13));
    assert_true(has_successor(0.203, 0.085));
    assert_false(has_successor(0.25, 0.02)); /* no contradiction */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_only_attempt_stays_as_it_is),
        cmocka_unit_test(the_last_attempt_may_contradict_itself),
        cmocka_unit_test(a_better_attempt_is_taken_though_it_was_cut_short),
        cmocka_unit_test(images_that_are_not_explained_are_a_contradiction),
        cmocka_unit_test(attempts_end_when_two_come_to_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
