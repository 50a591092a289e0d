/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "device/stack_piece.h"

static const double OF_TRANSFORMS = 0.1;   /* share of the device's memory for what is held of the images, */
static const double OF_BUDGET = 0.06;      /* and for the work space of the search; */
static const double MOST_BUDGET = 2e9;     /* [byte] of that, more makes nothing faster, */
static const double BUDGET_OF_ALL = 64e6;  /* nor is more used than this, */
static const double BUDGET_OF_IMAGE = 2e6; /* and so much for each image */

sp_status sp_stack_make_polar(sp_device_stack *self, double memory)
{
    const double each = sp_device_polar_image_bytes(self->input.polar), images = fmax((double)self->images, 1.0);
    const double useful = BUDGET_OF_ALL + BUDGET_OF_IMAGE * images;
    sp_status status = SP_OK;

    self->transforms = (ptrdiff_t)fmin(fmax(floor(OF_TRANSFORMS * memory / each), 1.0), images);
    SP_TRY(SP_ARRAY(self->held, self->transforms));
    SP_TRY(sp_device_polar_search_new(self->device, self->input.polar, self->transforms, self->input.keep,
                                      fmin(fmin(OF_BUDGET * memory, MOST_BUDGET), useful), &self->polar));
done:
    return status;
}

typedef struct polar_search {
    const sp_device_view *view;
    const sp_device_choice *choice;
    sp_candidate *best; /* [images][keep] */
} polar_search;

/* The transforms of a piece, unless they are there from the search before. */
static sp_status transform_piece(sp_device_stack *self, const polar_search *job, const sp_stack_piece *p)
{
    const sp_device_counts counts = sp_stack_counts(self, p);
    const int32_t *image = job->choice->image + p->first;
    const size_t bytes = (size_t)p->count * sizeof *image;
    sp_status status = SP_OK;

    if (sp_device_polar_search_holds(self->polar) && self->holding == p->count &&
        memcmp(self->held, image, bytes) == 0) {
        return SP_OK;
    }
    self->holding = 0;
    SP_TRY(sp_device_polar_search_take(self->polar, &counts));
    memcpy(self->held, image, bytes);
    self->holding = p->count;
done:
    return status;
}

static sp_status search_piece(sp_device_stack *self, sp_stack_piece *p, void *context)
{
    const polar_search *job = context;
    const size_t bytes = (size_t)(p->count * self->input.keep) * sizeof *job->best;
    sp_candidate *best = sp_stack_array(&p->room, bytes);
    sp_status status = SP_OK;

    SP_TRY(transform_piece(self, job, p));
    SP_TRY(sp_device_polar_search_run(self->polar, job->view->slicer, job->view->model, p->scale, best));
    SP_TRY(sp_stack_look_ahead(self));
    SP_TRY(self->device->kernels->download(self->device, best, bytes, job->best + p->first * self->input.keep));
done:
    return status;
}

sp_status sp_stack_search_polar(sp_device_stack *self, const sp_device_view *view, const sp_device_choice *choice,
                                sp_candidate *best)
{
    polar_search job = {.view = view, .choice = choice, .best = best};
    const size_t each = (size_t)self->input.keep * sizeof *best + PIECE_BYTES;
    sp_status status = SP_OK;

    SP_TRY(sp_device_polar_search_begin(self->polar));
    SP_TRY(
        sp_stack_for_pieces(self, choice, sp_stack_fitting(self, 1.0, each, 1, self->transforms), search_piece, &job));
done:
    return status;
}
