/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/checkpoint.h"

#include <math.h>

#include "base/memory.h"
#include "flow/loop.h"
#include "io/scratch.h"

enum { EDGE = 4, GRID = 6, IMAGES = 6, GENERATIONS = 3, LIMIT = 9, STATES = 2, SHARED = 4, POINTS = 5 };

/* A loop with room for a run of these sizes, and nothing in it. */
typedef struct sample {
    sp_loop loop;
    sp_reconstruction state;
    sp_quat orientation[IMAGES], kept[IMAGES], point[POINTS];
    int32_t label[IMAGES], kept_label[IMAGES], placed[IMAGES * SHARED];
    float shared[IMAGES * SHARED];
    float score[IMAGES], scale[IMAGES], kept_each[IMAGES];
    float density[STATES * GRID * GRID * GRID], last_model[STATES * GRID * GRID * GRID];
    double mark[SP_CONFORMATIONS], standing[SP_CONFORMATIONS];
    sp_generation history[LIMIT];
} sample;

static sample *sample_new(void)
{
    sample *self = calloc(1, sizeof *self);

    assert_non_null(self);
    self->state = (sp_reconstruction){
        .settings = {.grid = GRID, .generations = LIMIT, .conformations = STATES, .orientations = POINTS},
        .images = IMAGES,
        .pixels_used = 900,
        .edge = GRID,
        .orientation = self->orientation,
        .label = self->label,
        .score = self->score,
        .scale = self->scale,
        .history = self->history};
    self->loop = (sp_loop){.state = &self->state,
                           .fingerprint = 0x1fffffffffffffu,
                           .conformations = STATES,
                           .keep = SHARED,
                           .point = self->point,
                           .placed = self->placed,
                           .shared = self->shared,
                           .kept = self->kept,
                           .kept_label = self->kept_label,
                           .kept_each = self->kept_each,
                           .mark = self->mark,
                           .standing = self->standing,
                           .density = self->density,
                           .last_model = self->last_model};
    return self;
}

/* A run after its third generation: no two members have the same value. */
static sample *sample_of_run(void)
{
    sample *self = sample_new();
    sp_loop *l = &self->loop;

    l->reach = 1e9 / 3.0;
    l->dispersion = 1.0 / 7.0;
    l->measured = 62.5;
    l->refining = true;
    l->refined = 2;
    l->refused = 1;
    l->attempt = 4;
    l->first = 5;
    l->scored_from = 6;
    l->kept_score = 1.0 / 9.0;
    l->kept_residual = 1.0 / 11.0;
    l->kept_conformations = 1;
    l->trial_first = 3;
    l->stirring = 1.0 / 13.0;
    l->crossing = 1.0 / 17.0;
    l->seeded = 7;
    l->resting = 2;
    l->still = 3;
    self->state.trials = 1;
    self->state.trial[0] = (sp_trial){.conformations = 1, .found = 1, .score = 0.75, .held_score = 0.5, .better = true};
    l->points = POINTS;
    for (int i = 0; i < POINTS; i++) {
        self->point[i] = (sp_quat){0.2, 0.1 * i, 0.7, 1.0 / 9.0};
    }
    for (int i = 0; i < IMAGES * SHARED; i++) {
        self->placed[i] = i % (STATES * POINTS);
        self->shared[i] = 1.0F / (float)(i + 2);
    }
    self->state.edge = EDGE;
    self->state.generations = GENERATIONS;
    for (int i = 0; i < IMAGES; i++) {
        self->orientation[i] = (sp_quat){0.1 * i, 0.2, 0.3, 1.0 / 3.0};
        self->kept[i] = (sp_quat){0.4, 0.5, 0.1 * i, 1.0 / 7.0};
        self->label[i] = i % STATES;
        self->kept_label[i] = (i + 1) % STATES;
        self->kept_each[i] = i == 2 ? NAN : 0.2F * (float)i;
        self->score[i] = i == 2 ? NAN : 0.1F * (float)i;
        self->scale[i] = i == 2 ? 0.0F : 1.0F + 0.1F * (float)i;
    }
    for (int i = 0; i < STATES * EDGE * EDGE * EDGE; i++) {
        self->last_model[i] = 1.0F / (float)(i + 1);
        self->density[i] = 1.0F / (float)(i + 2);
    }
    for (int k = 0; k < SP_CONFORMATIONS; k++) {
        self->mark[k] = k == 0 ? -1.0 : 0.1 * k;
        self->standing[k] = k;
    }
    for (int g = 0; g < GENERATIONS; g++) {
        self->history[g] = (sp_generation){.generation = g,
                                           .accepted = g != 1,
                                           .score = 1.0 / (g + 3),
                                           .orientations = 2000 + g,
                                           .wall[SP_PHASE_REFINE] = 0.1 * g,
                                           .cpu[SP_PHASE_OTHER] = 0.2 * g};
    }
    self->state.wall[SP_PHASE_MERGE] = 3.0;
    self->state.cpu[SP_PHASE_READ] = 0.5;
    return self;
}

static void write_run(const sample *self)
{
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create(SP_CHECKPOINT_NAME, &file), SP_OK);
    assert_int_equal(sp_checkpoint_put(&self->loop, "seed = 1\n", file), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
}

static void a_loop_comes_back_bit_by_bit(void **state)
{
    (void)state;
    sample *then = sample_of_run(), *now = sample_new();
    sp_checkpoint *checkpoint = NULL;

    write_run(then);
    now->state.cpu[SP_PHASE_READ] = 0.25;
    assert_int_equal(sp_checkpoint_open(".", &checkpoint), SP_OK);
    assert_string_equal(sp_checkpoint_config(checkpoint), "seed = 1\n");
    assert_int_equal(sp_checkpoint_generations(checkpoint), GENERATIONS);
    assert_int_equal(sp_checkpoint_limit(checkpoint), LIMIT);
    assert_int_equal(sp_checkpoint_restore(checkpoint, &now->loop), SP_OK);
    assert_float_equal(now->state.cpu[SP_PHASE_READ], 0.75, 0.0); /* read twice */
    now->state.cpu[SP_PHASE_READ] = then->state.cpu[SP_PHASE_READ];

    /* all but the addresses */
    now->state.orientation = then->state.orientation;
    now->state.label = then->state.label;
    now->state.score = then->state.score;
    now->state.scale = then->state.scale;
    now->state.history = then->state.history;
    now->loop.state = then->loop.state;
    now->loop.kept = then->loop.kept;
    now->loop.kept_label = then->loop.kept_label;
    now->loop.kept_each = then->loop.kept_each;
    now->loop.mark = then->loop.mark;
    now->loop.standing = then->loop.standing;
    now->loop.density = then->loop.density;
    now->loop.last_model = then->loop.last_model;
    assert_memory_equal(now->point, then->point, sizeof then->point);
    now->loop.point = then->loop.point;
    now->loop.placed = then->loop.placed;
    now->loop.shared = then->loop.shared;
    assert_memory_equal(now, then, sizeof *now);
    sp_checkpoint_free(checkpoint);
    free(then);
    free(now);
}

static void other_images_are_refused(void **state)
{
    (void)state;
    sample *then = sample_of_run(), *now = sample_new();
    sp_checkpoint *checkpoint = NULL;

    write_run(then);
    assert_int_equal(sp_checkpoint_open(".", &checkpoint), SP_OK);
#define OTHER(member, words)                                                                                           \
    (now->member--,                                                                                                    \
     assert_refused(sp_checkpoint_restore(checkpoint, &now->loop), SP_ERR_INPUT, "checkpoint.h5", words),              \
     now->member++)
    OTHER(state.images, "from 6 images, and here are 5");
    OTHER(state.pixels_used, "900 bins, and here are 899");
    OTHER(loop.fingerprint, "other images");
    OTHER(loop.keep, "other images");
#undef OTHER
    assert_int_equal(now->state.generations, 0);
    sp_checkpoint_free(checkpoint);
    free(then);
    free(now);
}

static void assert_unreadable(const sample *self, const char *words)
{
    sp_checkpoint *checkpoint = NULL;

    write_run(self);
    assert_refused(sp_checkpoint_open(".", &checkpoint), SP_ERR_INPUT, words, "begin again");
    assert_null(checkpoint);
}

static void damaged_numbers_are_refused(void **state)
{
    (void)state;
    sample *bad = sample_of_run();
    const sample good = *bad;

#define DAMAGE(member, value, words) (bad->member = (value), assert_unreadable(bad, words), *bad = good)
    DAMAGE(orientation[3].y, NAN, "orientation holds NaN");
    DAMAGE(kept[3].y, INFINITY, "kept holds NaN");
    DAMAGE(score[3], INFINITY, "score holds NaN");
    DAMAGE(mark[3], NAN, "mark holds NaN");
    DAMAGE(scale[3], NAN, "scale holds NaN");
    DAMAGE(last_model[5], NAN, "last_model holds NaN");
    DAMAGE(point[3].y, NAN, "point holds NaN");
    DAMAGE(shared[3], NAN, "shared holds NaN");
    DAMAGE(placed[3], STATES * POINTS, "a conformation that is not there");
    DAMAGE(loop.reach, NAN, "loop/reach cannot be nan");
    DAMAGE(loop.reach, 0.0, "contradict each other");
    DAMAGE(loop.scored_from, -1, "loop/scored_from cannot be -1");
    DAMAGE(history[1].score, NAN, "history/score cannot be nan");
    DAMAGE(state.settings.generations, 2, "contradict each other");
#undef DAMAGE
    free(bad);
}

/* A copy of a checkpoint in which one dataset is missing, is one number shorter, or is another number. */
typedef enum fault { MISSING, SHORTER, HIGHER } fault;
typedef struct copying {
    sp_h5 *from, *to;
    const char *damaged;
    fault fault;
} copying;

static sp_status copy_dataset(void *context, const char *name, const sp_h5_info *info)
{
    const copying *c = context;
    const bool damaged = strcmp(name, c->damaged) == 0;
    double value[STATES * EDGE * EDGE * EDGE];
    int32_t whole[IMAGES * SHARED];

    if (damaged && c->fault == MISSING) {
        return SP_OK;
    }
    if (info->kind == SP_H5_STRING) {
        return sp_h5_write_string(c->to, name, "seed = 1\n");
    }
    const ptrdiff_t count = info->count - (damaged && c->fault == SHORTER);

    if (info->kind == SP_H5_INTEGER) {
        assert_in_range(info->count, 1, IMAGES * SHARED);
        assert_int_equal(sp_h5_read_int32(c->from, name, info->rank, info->shape, whole), SP_OK);
        whole[0] += damaged && c->fault == HIGHER ? STATES : 0;
        return sp_h5_write_int32(c->to, name, info->rank, &count, whole);
    }
    assert_in_range(info->count, 1, STATES * EDGE * EDGE * EDGE);
    assert_int_equal(sp_h5_read_double(c->from, name, info->rank, info->shape, value), SP_OK);
    value[0] += damaged && c->fault == HIGHER;
    return sp_h5_write_double(c->to, name, 1, &count, value);
}

static void assert_damage_refused(const char *name, fault how, const char *words)
{
    copying c = {.damaged = name, .fault = how};
    sp_checkpoint *checkpoint = NULL;

    assert_int_equal(sp_h5_open("good.h5", &c.from), SP_OK);
    assert_int_equal(sp_h5_create(SP_CHECKPOINT_NAME, &c.to), SP_OK);
    assert_int_equal(sp_h5_visit(c.from, copy_dataset, &c), SP_OK);
    sp_h5_close(c.from);
    assert_int_equal(sp_h5_commit_take(c.to), SP_OK);
    if (words) {
        assert_refused(sp_checkpoint_open(".", &checkpoint), SP_ERR_INPUT, words, "begin again");
    } else {
        assert_int_equal(sp_checkpoint_open(".", &checkpoint), SP_OK);
    }
    sp_checkpoint_free(checkpoint);
}

static void wrong_shapes_and_versions_are_refused(void **state)
{
    (void)state;
    sample *run = sample_of_run();

    write_run(run);
    assert_int_equal(rename(SP_CHECKPOINT_NAME, "good.h5"), 0);
    assert_damage_refused("", MISSING, NULL); /* the copy is a good one */
    assert_damage_refused("checkpoint_version", HIGHER, "version 5");
    assert_damage_refused("checkpoint_version", MISSING, "checkpoint_version");
    assert_damage_refused("config", MISSING, "config");
    assert_damage_refused("orientation", SHORTER, "orientation holds 23 numbers, not 24");
    assert_damage_refused("last_model", SHORTER, "last_model holds 127 numbers, not 128");
    assert_damage_refused("kept", MISSING, "kept");
    assert_damage_refused("placed", SHORTER, "placed holds 23 numbers, not 24");
    assert_damage_refused("shared", MISSING, "shared");
    assert_damage_refused("label", HIGHER, "a conformation that is not there");
    assert_damage_refused("state/settings.conformations", HIGHER, "density holds 128 numbers, not 192");
    assert_damage_refused("state/images", HIGHER, "orientation holds 24 numbers, not 28");
    assert_damage_refused("state/generations", HIGHER, "history/generation");
    assert_damage_refused("history/score", SHORTER, "history/score");
    assert_damage_refused("loop/reach", MISSING, "loop/reach");
    free(run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(a_loop_comes_back_bit_by_bit),
        scratch_test(other_images_are_refused),
        scratch_test(damaged_numbers_are_refused),
        scratch_test(wrong_shapes_and_versions_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
