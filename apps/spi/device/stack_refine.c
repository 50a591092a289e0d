/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/interrupt.h"
#include "base/memory.h"
#include "device/match.h"
#include "device/stack_piece.h"
#include "phases/climb.h"

typedef struct refinement {
    const sp_device_view *view;
    sp_likelihood_model model;
    const sp_device_choice *choice;
    const sp_quat *candidates;
    int count, steps;
    double delta;
    sp_quat *orientation;
    double *fit;
    sp_climb *climb; /* [CLIMBS] */
    sp_quat *q;      /* [CLIMBS * SP_CLIMB_MOST] where to look, climb by climb, like the next ones */
    int32_t *image;  /* place in the window */
    float *scale;
    sp_likelihood_sums *sums;
} refinement;

/* Bytes on the device for one look, with derivatives for a quarter of them: only so many climbers move. */
static size_t bytes_of_look(ptrdiff_t pixels)
{
    return floats(pixels) + 9 * sizeof(float) + PIECE_BYTES + sizeof(sp_likelihood_sums);
}

/* Where all climbs of a piece want to look next. Returns how many places these are. */
static ptrdiff_t gather_looks(const sp_device_stack *self, const refinement *job, const sp_stack_piece *p)
{
    const int32_t before = (int32_t)(self->there * self->window);
    ptrdiff_t looks = 0;

    for (ptrdiff_t i = 0; i < p->count; i++) {
        for (int j = 0; j < job->climb[i].looks; j++) {
            job->q[looks] = job->climb[i].look[j].q;
            job->image[looks] = job->choice->image[p->first + i] - before;
            job->scale[looks++] = job->choice->scale[p->first + i];
        }
    }
    return looks;
}

static void scatter_looks(const refinement *job, const sp_stack_piece *p)
{
    ptrdiff_t looks = 0;

    for (ptrdiff_t i = 0; i < p->count; i++) {
        sp_climb *climb = &job->climb[i];

        for (int j = 0; j < climb->looks; j++) {
            climb->look[j].sums = job->sums[looks++];
        }
        if (climb->looks > 0) {
            sp_climb_advance(climb);
        }
    }
}

/* What is seen in so many places: job->q -> job->sums. */
static sp_status look(const sp_device_stack *self, const refinement *job, ptrdiff_t looks, bool lead)
{
    const sp_device_kernels *kernels = self->device->kernels;
    const sp_device_view *view = job->view;
    const size_t bytes = (size_t)looks * sizeof(sp_likelihood_sums);
    sp_status status = SP_OK;
    sp_stack_room room = sp_stack_room_of(self);
    sp_likelihood_sums *sums = sp_stack_array(&room, bytes);
    int32_t *image = sp_stack_array(&room, (size_t)looks * sizeof *image);
    float *scale = sp_stack_array(&room, floats(looks)), *map = sp_stack_array(&room, floats(9 * looks));
    float *value = sp_stack_array(&room, floats(looks * view->pixels));
    float *turn = lead ? sp_stack_array(&room, floats(3 * looks * view->pixels)) : NULL;
    const sp_device_counts counts = {.k = self->k[0], .row = self->stride, .image = image, .images = looks};

    SP_TRY(kernels->upload(self->device, job->image, (size_t)looks * sizeof *image, image));
    SP_TRY(kernels->upload(self->device, job->scale, floats(looks), scale));
    SP_TRY(sp_device_slicer_aim(view->slicer, job->q, looks, map));
    if (lead) {
        SP_TRY(sp_device_slicer_cut_turns(view->slicer, view->model, map, looks, self->s, view->pixels, value, turn));
    } else {
        SP_TRY(sp_device_slicer_cut(view->slicer, view->model, map, looks, self->s, view->pixels, value));
    }
    SP_TRY(kernels->match->likelihood(self->device, &job->model, view->pixels, &counts, scale, value, turn, sums));
    SP_TRY(kernels->download(self->device, sums, bytes, job->sums));
done:
    return status;
}

static sp_status refine_piece(sp_device_stack *self, sp_stack_piece *p, void *context)
{
    const refinement *job = context;
    sp_status status = SP_OK;
    ptrdiff_t looks = 0;

    SP_TRY(sp_stack_look_ahead(self));
    for (ptrdiff_t i = 0; i < p->count; i++) {
        sp_climb_begin(&job->climb[i], job->candidates + (p->first + i) * job->count, job->count, job->steps,
                       job->delta);
    }
    for (bool lead = false; (looks = gather_looks(self, job, p)) > 0 && !sp_interrupted(); lead = !lead) {
        SP_TRY(look(self, job, looks, lead));
        self->looks[lead] += looks;
        scatter_looks(job, p);
    }
    for (ptrdiff_t i = 0; i < p->count; i++) {
        job->orientation[p->first + i] = job->climb[i].climber[0].q;
        job->fit[p->first + i] = job->climb[i].climber[0].score;
    }
done:
    return status;
}

static void clear_refinement(refinement *job)
{
    sp_array_free(job->climb);
    sp_array_free(job->q);
    sp_array_free(job->image);
    sp_array_free(job->scale);
    sp_array_free(job->sums);
}

sp_status sp_device_stack_refine(sp_device_stack *stack, const sp_device_view *view, const sp_device_choice *choice,
                                 const sp_quat *candidates, int count, int steps, double delta, sp_quat *orientation,
                                 double *fit)
{
    const ptrdiff_t most = sp_stack_fitting(stack, 1.0, SP_CLIMB_MOST * bytes_of_look(view->pixels), 1,
                                            smaller(CLIMBS, choice->images > 0 ? choice->images : 1));
    refinement job = {.view = view,
                      .model = sp_stack_model(stack, view),
                      .choice = choice,
                      .candidates = candidates,
                      .count = count,
                      .steps = steps,
                      .delta = delta,
                      .orientation = orientation};
    sp_status status = SP_OK;

    job.fit = fit;
    stack->looks[0] = stack->looks[1] = 0;
    SP_TRY(SP_ARRAY(job.climb, most));
    SP_TRY(SP_ARRAY(job.q, most * SP_CLIMB_MOST));
    SP_TRY(SP_ARRAY(job.image, most * SP_CLIMB_MOST));
    SP_TRY(SP_ARRAY(job.scale, most * SP_CLIMB_MOST));
    SP_TRY(SP_ARRAY(job.sums, most * SP_CLIMB_MOST));
    SP_TRY(sp_stack_place(stack, view->pixels));
    SP_TRY(sp_stack_for_pieces(stack, choice, most, refine_piece, &job));
done:
    clear_refinement(&job);
    return status;
}

const ptrdiff_t *sp_device_stack_looks(const sp_device_stack *stack)
{
    return stack->looks;
}
