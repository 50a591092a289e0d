/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/memory.h"
#include "device/solve.h"
#include "device/stack_piece.h"
#include "num/sums.h"

enum { SLACK_OF_SCALES = 16 }; /* times the mean: no sum of scales is larger */

typedef struct spreading {
    const sp_device_choice *choice;
    const sp_quat *orientation;
    const float *share; /* or NULL */
    ptrdiff_t pixels;
    double most[2];
    sp_device_merger *merger;
} spreading;

/* Of an image without signal, none.   share  out  device [p->count] */
static sp_status upload_shares(const sp_device_stack *self, const spreading *job, const sp_stack_piece *p, float *share)
{
    sp_status status = SP_OK;
    float *part = NULL;

    SP_TRY(SP_ARRAY(part, p->count));
    for (ptrdiff_t i = 0; i < p->count; i++) {
        const ptrdiff_t n = p->first + i;

        part[i] = !(job->choice->scale[n] > 0.0f) ? 0.0f : job->share ? job->share[n] : 1.0f;
    }
    SP_TRY(self->device->kernels->upload(self->device, part, floats(p->count), share));
done:
    sp_array_free(part);
    return status;
}

static sp_status spread_piece(sp_device_stack *self, sp_stack_piece *p, void *context)
{
    const spreading *job = context;
    const sp_device_kernels *kernels = self->device->kernels;
    const sp_device_weighting by = {.pixels = job->pixels,
                                    .ramp = self->ramp,
                                    .exposure = self->exposure,
                                    .background = self->background_values,
                                    .unit = (float)self->tables.unit};
    const sp_device_counts counts = sp_stack_counts(self, p);
    float *share = sp_stack_array(&p->room, floats(p->count)),
          *value = sp_stack_array(&p->room, floats(p->count * job->pixels));
    float *weight = sp_stack_array(&p->room, floats(p->count * job->pixels));
    sp_status status = SP_OK;

    SP_TRY(upload_shares(self, job, p, share));
    SP_TRY(kernels->solve->weigh(self->device, &by, &counts, share, p->scale, value, weight));
    SP_TRY(sp_device_merger_add(job->merger, job->orientation + p->first, p->count, self->s, job->pixels, value, weight,
                                job->most));
    SP_TRY(sp_stack_look_ahead(self));
done:
    return status;
}

static sp_status make_ramp(sp_device_stack *self, ptrdiff_t pixels)
{
    sp_status status = SP_OK;
    float *ramp = NULL;

    if (self->ramped == pixels) {
        return SP_OK;
    }
    SP_TRY(SP_ARRAY(ramp, pixels));
    sp_merger_ramp(self->input.layout, pixels, ramp);
    SP_TRY(self->device->kernels->upload(self->device, ramp, floats(pixels), self->ramp));
    self->most_ramp = ramp[pixels - 1];
    self->ramped = pixels;
done:
    sp_array_free(ramp);
    return status;
}

sp_status sp_device_stack_spread(sp_device_stack *stack, const sp_device_choice *choice, const sp_quat *orientation,
                                 const float *share, double s_max, sp_device_merger *merger)
{
    const sp_patterns *layout = stack->input.layout;
    const ptrdiff_t pixels = sp_patterns_within(layout, s_max);
    spreading job = {.choice = choice, .orientation = orientation, .share = share, .pixels = pixels, .merger = merger};
    sp_status status = SP_OK;

    SP_TRY(sp_stack_place(stack, pixels));
    SP_TRY(make_ramp(stack, pixels));
    job.most[0] = (double)stack->most_ramp *
                  (stack->tables.unit * stack->photons + (double)stack->images * sp_sum(layout->background, pixels));
    job.most[1] = (double)stack->most_ramp * SLACK_OF_SCALES * (double)stack->images * sp_sum(layout->exposure, pixels);
    SP_TRY(sp_stack_for_pieces(stack, choice,
                               sp_stack_fitting(stack, 1.0, floats(2 * pixels + 1) + PIECE_BYTES, 1, choice->images),
                               spread_piece, &job));
done:
    return status;
}
