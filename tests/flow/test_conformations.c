/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/conformations.h"

#include <math.h>
#include <string.h>

#include "flow/loop.h"
#include "testing.h"

enum { IMAGES = 400, BLOCK = 50, EMPTY = 7 };

/* A loop of images that lie still, all of conformation 0; one of them has no signal. */
typedef struct sample {
    sp_loop loop;
    sp_reconstruction state;
    sp_quat orientation[IMAGES], now[IMAGES];
    int32_t label[IMAGES], label_now[IMAGES];
    float score[IMAGES], scale[IMAGES];
    bool held_out[IMAGES];
    double mark[SP_CONFORMATIONS], standing[SP_CONFORMATIONS];
} sample;

static sample *sample_new(int conformations)
{
    sample *self = calloc(1, sizeof *self);

    assert_non_null(self);
    for (int n = 0; n < IMAGES; n++) {
        self->orientation[n] = self->now[n] = sp_quat_identity();
        self->score[n] = 0.9F;
        self->scale[n] = n == EMPTY ? 0.0F : 1.0F;
    }
    self->state = (sp_reconstruction){.settings = {.seed = 3, .conformations = conformations},
                                      .images = IMAGES,
                                      .used = IMAGES - 1,
                                      .orientation = self->orientation,
                                      .label = self->label,
                                      .score = self->score,
                                      .scale = self->scale,
                                      .held_out = self->held_out};
    self->loop = (sp_loop){.state = &self->state,
                           .conformations = conformations,
                           .crews.per_block = BLOCK,
                           .orientation = self->now,
                           .label = self->label_now,
                           .mark = self->mark,
                           .standing = self->standing,
                           .batches = 1,
                           .s_max = 1e9,
                           .reach = 1e9};
    sp_loop_wake_conformations(&self->loop);
    return self;
}

static void images_without_signal_are_not_counted(void **state)
{
    (void)state;
    sample *self = sample_new(2);
    ptrdiff_t count[SP_CONFORMATIONS];

    for (int n = 0; n < 30; n++) {
        self->label[n] = 1;
    }
    sp_conformations_count(&self->state, count);
    assert_int_equal(count[0], IMAGES - 30);
    assert_int_equal(count[1], 29);
    assert_int_equal(count[2], 0);
    free(self);
}

static void a_conformation_that_died_gets_half_of_the_largest(void **state)
{
    (void)state;
    sample *self = sample_new(3);
    ptrdiff_t count[SP_CONFORMATIONS];

    for (int n = 0; n < 100; n++) {
        self->label[n] = 2;
    }
    sp_loop_reseed(&self->loop);
    sp_conformations_count(&self->state, count);
    assert_int_equal(count[0] + count[1], 300);
    assert_in_range(count[1], 120, 180);
    assert_int_equal(count[2], 99); /* the smaller one keeps its images */
    assert_int_equal(self->loop.seeded, 1);
    sp_loop_reseed(&self->loop); /* none has died now */
    assert_int_equal(self->loop.seeded, 1);
    free(self);
}

static void what_dies_again_and_again_stays_dead(void **state)
{
    (void)state;
    sample *self = sample_new(2);
    ptrdiff_t count[SP_CONFORMATIONS];

    for (int i = 0; i < 20; i++) {
        memset(self->label, 0, sizeof self->label);
        sp_loop_reseed(&self->loop);
    }
    sp_conformations_count(&self->state, count);
    assert_int_equal(count[1], 0);

    self->loop.seeded = 0;
    self->loop.refining = true; /* orientations are fine then, and a split would be two copies */
    sp_loop_reseed(&self->loop);
    sp_conformations_count(&self->state, count);
    assert_int_equal(count[1], 0);
    free(self);
}

/* Every other image is of conformation 1. */
static void share_out(sample *self)
{
    for (int n = 0; n < IMAGES; n++) {
        self->label[n] = self->label_now[n] = n % 2;
    }
}

static void generation(sample *self)
{
    sp_loop_watch_conformations(&self->loop);
    sp_loop_mark_conformations(&self->loop);
}

static void one_that_lies_still_leaves_the_loop_and_the_other_goes_on(void **state)
{
    (void)state;
    sample *self = sample_new(2);
    sp_loop *l = &self->loop;
    const double axis[3] = {0.0, 1.0, 0.0};

    share_out(self);
    l->refining = true;
    for (int n = 1; n < IMAGES; n += 2) {
        self->now[n] = sp_quat_from_axis_angle(axis, 0.5);
    }
    for (int i = 0; i < 3; i++) {
        generation(self);
        assert_false(sp_loop_rest_conformations(l, 3));
        assert_false(sp_loop_rests(l, 0));
    }
    generation(self);
    assert_false(sp_loop_rest_conformations(l, 3)); /* not all */
    assert_true(sp_loop_rests(l, 0));
    assert_false(sp_loop_rests(l, 1));
    assert_true(sp_loop_is_idle(l, 0, self->label));
    assert_false(sp_loop_is_idle(l, 1, self->label));

    memcpy(self->now, self->orientation, sizeof self->now); /* the other comes to rest too */
    generation(self);
    assert_true(sp_loop_rest_conformations(l, 3));
    free(self);
}

static void rising_scores_coarse_detail_and_images_that_cross_keep_it_in(void **state)
{
    (void)state;
    sample *self = sample_new(2);
    sp_loop *l = &self->loop;

    share_out(self);
    l->refining = true;
    for (int i = 0; i < 6; i++) { /* better and better */
        for (int n = 0; n < IMAGES; n++) {
            self->score[n] = 0.5F + 0.05F * (float)i;
        }
        generation(self);
        assert_false(sp_loop_rest_conformations(l, 3));
    }
    l->reach = 0.5e9;
    for (int i = 0; i < 6; i++) {
        generation(self);
        assert_false(sp_loop_rest_conformations(l, 3));
    }
    l->reach = l->s_max;
    for (int n = 0; n < 10; n++) { /* one in twenty of each changes sides */
        self->label_now[n] = 1 - self->label[n];
    }
    for (int i = 0; i < 6; i++) {
        generation(self);
        assert_false(sp_loop_rest_conformations(l, 3));
    }
    free(self);
}

static void copies_and_empty_ones_are_none(void **state)
{
    (void)state;
    sample *self = sample_new(4);
    sp_reconstruction *s = &self->state;

    for (int n = 0; n < IMAGES; n++) {
        self->label[n] = n % 3; /* none is of number 3 */
    }
    s->likeness[0][2] = s->likeness[2][0] = 0.99;
    s->likeness[0][1] = s->likeness[1][0] = 0.8;
    assert_int_equal(sp_conformation_original(s, 0), 0);
    assert_int_equal(sp_conformation_original(s, 1), 1);
    assert_int_equal(sp_conformation_original(s, 2), 0);
    assert_int_equal(sp_conformation_original(s, 3), -1);
    assert_int_equal(sp_conformations_found(s), 2);
    free(self);
}

static void a_batch_is_matched_with_a_model_of_the_one_before(void **state)
{
    (void)state;
    sample *self = sample_new(1);
    sp_loop *l = &self->loop;

    l->batches = 4;
    self->held_out[3] = true;
    for (int n = 0; n < IMAGES; n++) {
        int matched = 0, merged = 0;

        for (l->batch = 0; l->batch < l->batches; l->batch++) {
            const bool in = !sp_loop_is_idle(l, n, self->label), made_of = sp_loop_is_merged(l, n);

            matched += in;
            merged += made_of;
            assert_false(in && made_of);
        }
        assert_int_equal(matched, 1);
        assert_int_equal(merged, n != 3);
    }
    l->batches = 1;
    l->batch = 0;
    assert_false(sp_loop_is_merged(l, 3));
    l->complete = true;
    assert_true(sp_loop_is_merged(l, 3)); /* the final map is of all */
    free(self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_without_signal_are_not_counted),
        cmocka_unit_test(a_conformation_that_died_gets_half_of_the_largest),
        cmocka_unit_test(what_dies_again_and_again_stays_dead),
        cmocka_unit_test(one_that_lies_still_leaves_the_loop_and_the_other_goes_on),
        cmocka_unit_test(rising_scores_coarse_detail_and_images_that_cross_keep_it_in),
        cmocka_unit_test(copies_and_empty_ones_are_none),
        cmocka_unit_test(a_batch_is_matched_with_a_model_of_the_one_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
