/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/memory.h"
#include "device/match.h"
#include "device/stack_piece.h"

typedef struct assessment {
    const sp_device_view *view;
    sp_device_assessment by;
    const sp_quat *orientation;
    float *score, *scale;
} assessment;

static size_t bytes_of_row(ptrdiff_t shells)
{
    return (size_t)(2 * (shells + 1)) * sizeof(double);
}

static sp_status assess_piece(sp_device_stack *self, sp_stack_piece *p, void *context)
{
    const assessment *job = context;
    const sp_device_kernels *kernels = self->device->kernels;
    const sp_device_view *view = job->view;
    const sp_device_counts counts = sp_stack_counts(self, p);
    float *map = sp_stack_array(&p->room, floats(9 * p->count)),
          *value = sp_stack_array(&p->room, floats(p->count * view->pixels));
    float *score = sp_stack_array(&p->room, floats(p->count));
    double *residue = sp_stack_array(&p->room, (size_t)p->count * bytes_of_row(job->by.shells));
    sp_status status = SP_OK;

    SP_TRY(sp_device_slicer_aim(view->slicer, job->orientation + p->first, p->count, map));
    SP_TRY(sp_device_slicer_cut(view->slicer, view->model, map, p->count, self->s, view->pixels, value));
    SP_TRY(kernels->match->assess(self->device, &job->by, &counts, value, p->scale, score, residue, self->scatter));
    SP_TRY(sp_stack_look_ahead(self));
    SP_TRY(kernels->download(self->device, score, floats(p->count), job->score + p->first));
    SP_TRY(kernels->download(self->device, p->scale, floats(p->count), job->scale + p->first));
done:
    return status;
}

/* Sums of the shells that are compared, and those of all pixels, to where sp_match_scatter_count() has them. */
static sp_status add_scatter(const sp_device_stack *self, const assessment *job, double *scatter)
{
    const ptrdiff_t shells = job->by.shells, all = self->input.layout->shells;
    sp_status status = SP_OK;
    double *own = NULL;

    SP_TRY(SP_ARRAY(own, 2 * (shells + 1)));
    SP_TRY(self->device->kernels->download(self->device, self->scatter, bytes_of_row(shells), own));
    for (ptrdiff_t i = 0; i < 2 * shells; i++) {
        scatter[i] += own[i];
    }
    scatter[2 * all] += own[2 * shells];
    scatter[2 * all + 1] += own[2 * shells + 1];
done:
    sp_array_free(own);
    return status;
}

sp_status sp_device_stack_assess(sp_device_stack *stack, const sp_device_view *view, const sp_device_choice *choice,
                                 const sp_quat *orientation, float *score, float *scale, double *scatter)
{
    const sp_patterns *layout = stack->input.layout;
    assessment job = {.view = view, .orientation = orientation};
    sp_status status = SP_OK;

    job.score = score;
    job.scale = scale;
    job.by = (sp_device_assessment){.pixels = view->pixels,
                                    .shells = layout->shell[view->pixels - 1] + 1,
                                    .shell_start = stack->shell_start,
                                    .expected = stack->expected,
                                    .exposure = stack->exposure,
                                    .whitening = stack->whitening,
                                    .background = stack->background,
                                    .noise = (float)(layout->quantum / stack->tables.unit),
                                    .unit_noise = (float)(1.0 / stack->tables.unit)};
    const size_t each = floats(view->pixels + 10) + bytes_of_row(job.by.shells) + PIECE_BYTES;

    SP_TRY(sp_stack_place(stack, view->pixels));
    SP_TRY(stack->device->kernels->clear(stack->device, stack->scatter, bytes_of_row(job.by.shells)));
    SP_TRY(
        sp_stack_for_pieces(stack, choice, sp_stack_fitting(stack, 1.0, each, 1, choice->images), assess_piece, &job));
    SP_TRY(add_scatter(stack, &job, scatter));
done:
    return status;
}
