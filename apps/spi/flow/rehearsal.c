/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/rehearsal.h"

#include <string.h>

#include "base/memory.h"
#include "flow/loop.h"

struct sp_rehearsal {
    sp_loop loop;
    sp_reconstruction state;
};

/* to[i] = from[i modulo those there are] */
static void repeat(void *to, const void *from, ptrdiff_t there, ptrdiff_t wanted, size_t size)
{
    for (ptrdiff_t first = 0; first < wanted; first += there) {
        const ptrdiff_t count = wanted - first < there ? wanted - first : there;

        memcpy((char *)to + (size_t)first * size, from, (size_t)count * size);
    }
}

/* What a generation writes is the rehearsal's own; what it only reads, or makes anew to the same values, is lent. */
static void borrow(sp_rehearsal *self, const sp_loop *loop, sp_run *run, ptrdiff_t images)
{
    sp_loop *l = &self->loop;

    self->state = *loop->state;
    self->state.images = images;
    self->state.density = NULL;
    self->state.orientation = NULL;
    self->state.label = NULL;
    self->state.score = NULL;
    self->state.scale = NULL;
    self->state.peak_memory = NULL;
    *l = *loop;
    l->state = &self->state;
    l->log = NULL;
    l->crews = (sp_crews){.run = run};
    l->batches = 1;
    l->batch = 0;
    l->grid = (sp_rotation_grid){0};
    l->model = l->last_model = l->density = NULL;
    l->orientation = l->kept = NULL;
    l->kept_each = NULL;
    l->label = l->kept_label = NULL;
    l->score = l->scale = NULL;
    self->state.held_out = NULL;
    l->merged = NULL;
    l->nearness = l->profile = l->mark = l->standing = NULL;
    l->keep = KEEP; /* images stand in one orientation each */
    l->points = 0;
    l->place = l->placed = NULL;
    l->share = l->shared = NULL;
    l->point = NULL;
}

static sp_status make_room(sp_rehearsal *self)
{
    const ptrdiff_t images = self->state.images, edge = self->state.settings.grid;
    const ptrdiff_t cube = self->loop.conformations * edge * edge * edge;
    sp_loop *l = &self->loop;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self->state.density, cube));
    SP_TRY(SP_ARRAY(self->state.orientation, images));
    SP_TRY(SP_ARRAY(self->state.label, images));
    SP_TRY(SP_ARRAY(self->state.score, images));
    SP_TRY(SP_ARRAY(self->state.scale, images));
    SP_TRY(SP_ARRAY(l->model, cube));
    SP_TRY(SP_ARRAY(l->last_model, cube));
    SP_TRY(SP_ARRAY(l->density, cube));
    SP_TRY(SP_ARRAY(l->orientation, images));
    SP_TRY(SP_ARRAY(l->score, images));
    SP_TRY(SP_ARRAY(l->scale, images));
    SP_TRY(SP_ARRAY(l->kept, images));
    SP_TRY(SP_ARRAY(l->kept_each, images));
    SP_TRY(SP_ARRAY(l->label, images));
    SP_TRY(SP_ARRAY(l->kept_label, images));
    SP_TRY(SP_ARRAY(l->nearness, images));
    SP_TRY(SP_ARRAY(l->merged, images));
    SP_TRY(SP_ARRAY(self->state.held_out, images));
    SP_TRY(SP_ARRAY(l->profile, SP_CONFORMATIONS * l->patterns.shells));
    SP_TRY(SP_ARRAY(l->mark, SP_CONFORMATIONS));
    SP_TRY(SP_ARRAY(l->standing, SP_CONFORMATIONS));
done:
    return status;
}

/* The loop's images again and again. */
static void repeat_images(sp_rehearsal *self, const sp_loop *from)
{
    const ptrdiff_t images = self->state.images, there = from->state->images;
    sp_loop *l = &self->loop;

    repeat(self->state.orientation, from->state->orientation, there, images, sizeof *from->orientation);
    repeat(self->state.label, from->state->label, there, images, sizeof *from->label);
    repeat(self->state.scale, from->state->scale, there, images, sizeof *from->scale);
    repeat(l->orientation, from->orientation, there, images, sizeof *l->orientation);
    repeat(l->score, from->score, there, images, sizeof *l->score);
    repeat(l->scale, from->scale, there, images, sizeof *l->scale);
}

sp_status sp_rehearsal_new(const sp_loop *loop, sp_run *run, ptrdiff_t images, sp_rehearsal **rehearsal)
{
    sp_rehearsal *self = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self, 1));
    borrow(self, loop, run, images);
    SP_TRY(make_room(self));
    repeat_images(self, loop);
    SP_TRY(sp_crews_open(&self->loop));
    SP_TRY(sp_crews_take(&self->loop, NULL));
    SP_TRY(sp_crews_equip(&self->loop));
    SP_TRY(sp_crews_make_stage(&self->loop));
    SP_TRY(sp_loop_make_stage(&self->loop));
    *rehearsal = self;
    self = NULL;
done:
    sp_rehearsal_free(self);
    return status;
}

sp_status sp_rehearsal_generation(sp_rehearsal *rehearsal, sp_generation_hook *hook, void *context)
{
    sp_loop *l = &rehearsal->loop;
    sp_status status = SP_OK;

    SP_TRY(sp_loop_make_stage(l));
    SP_TRY(sp_loop_merge_and_phase(l));
    SP_TRY(sp_loop_match(l));
    SP_TRY(sp_crews_assess(l, l->orientation, l->label, &l->measured));
    l->now.score = sp_loop_mean_score(l, false);
    sp_loop_measure_change(l);
    SP_TRY(sp_loop_accept_or_refuse(l));
    SP_TRY(sp_crews_measure_memory(l));
    SP_TRY(hook(context, l->state, l));
    SP_TRY(sp_run_agree(l->crews.run, SP_OK));
done:
    return status;
}

ptrdiff_t sp_rehearsal_per_block(const sp_rehearsal *rehearsal)
{
    return rehearsal->loop.crews.per_block;
}

ptrdiff_t sp_loop_per_block(const sp_loop *loop)
{
    return loop->crews.per_block;
}

void sp_rehearsal_free(sp_rehearsal *rehearsal)
{
    if (!rehearsal) {
        return;
    }
    sp_loop *l = &rehearsal->loop;

    sp_crews_close(l);
    sp_rotation_grid_clear(&l->grid);
    sp_array_free(rehearsal->state.density);
    sp_array_free(rehearsal->state.orientation);
    sp_array_free(rehearsal->state.label);
    sp_array_free(rehearsal->state.score);
    sp_array_free(rehearsal->state.scale);
    sp_array_free(rehearsal->state.peak_memory);
    sp_array_free(l->model);
    sp_array_free(l->last_model);
    sp_array_free(l->density);
    sp_array_free(l->orientation);
    sp_array_free(l->score);
    sp_array_free(l->scale);
    sp_array_free(l->kept);
    sp_array_free(l->kept_each);
    sp_array_free(l->label);
    sp_array_free(l->kept_label);
    sp_array_free(l->nearness);
    sp_array_free(l->merged);
    sp_array_free(rehearsal->state.held_out);
    sp_array_free(l->profile);
    sp_array_free(l->mark);
    sp_array_free(l->standing);
    sp_array_free(rehearsal);
}
