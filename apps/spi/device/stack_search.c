/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/interrupt.h"
#include "base/memory.h"
#include "device/match.h"
#include "device/stack_piece.h"

enum { COMMON = 64 }; /* orientations that tell what all patterns have in common */

typedef struct search {
    const sp_device_view *view;
    const sp_rotation_grid *grid;
    sp_likelihood_model model;
    ptrdiff_t row, tile; /* of a factor; orientations compared at a time */
    int keep;
    sp_candidate *best; /* [images][keep] */
} search;

/* Arrays of one piece. */
typedef struct search_room {
    sp_bfloat16 *packed, *feature;
    float *intensity, *bias, *product, *common, *map;
    double *offset;
    sp_candidate *best;
} search_room;

static size_t bytes_of_tile(ptrdiff_t pixels)
{
    return floats(pixels + 10) + (size_t)sp_device_match_row(pixels) * sizeof(sp_bfloat16);
}

static size_t bytes_of_image(const search *job)
{
    return (size_t)job->row * sizeof(sp_bfloat16) + floats(job->tile) + (size_t)job->keep * sizeof(sp_candidate) +
           sizeof(double) + PIECE_BYTES;
}

static search_room lay_out_search(const search *job, sp_stack_piece *p)
{
    const ptrdiff_t pixels = job->view->pixels;
    search_room room;

    room.packed = sp_stack_array(&p->room, (size_t)(p->count * job->row) * sizeof *room.packed);
    room.feature = sp_stack_array(&p->room, (size_t)(job->tile * job->row) * sizeof *room.feature);
    room.intensity = sp_stack_array(&p->room, floats(job->tile * pixels));
    room.bias = sp_stack_array(&p->room, floats(job->tile));
    room.product = sp_stack_array(&p->room, floats(p->count * job->tile));
    room.common = sp_stack_array(&p->room, floats(2 * pixels));
    room.map = sp_stack_array(&p->room, floats(9 * job->tile));
    room.offset = sp_stack_array(&p->room, (size_t)p->count * sizeof *room.offset);
    room.best = sp_stack_array(&p->room, (size_t)(p->count * job->keep) * sizeof *room.best);
    return room;
}

/* What all patterns have in common: of some orientations, evenly spread over the grid, whose maps are gathered first.
 */
static sp_status find_common(const sp_device_stack *self, const search *job, const search_room *room)
{
    const ptrdiff_t all = job->grid->count, count = smaller(smaller(COMMON, job->tile), all);
    const sp_device_view *view = job->view;
    sp_status status = SP_OK;
    sp_quat some[COMMON];

    for (ptrdiff_t i = 0; i < count; i++) {
        some[i] = job->grid->q[i * all / count];
    }
    SP_TRY(sp_device_slicer_aim(view->slicer, some, count, room->map));
    SP_TRY(sp_device_slicer_cut(view->slicer, view->model, room->map, count, self->s, view->pixels, room->intensity));
    SP_TRY(self->device->kernels->match->average(self->device, &job->model, room->intensity, count, view->pixels,
                                                 room->common));
done:
    return status;
}

static sp_status search_tile(const sp_device_stack *self, const search *job, const sp_stack_piece *p,
                             const search_room *room, ptrdiff_t first)
{
    const sp_device_match_kernels *match = self->device->kernels->match;
    const sp_device_view *view = job->view;
    const sp_device_match_tile tile = {.feature = room->feature,
                                       .bias = room->bias,
                                       .orientations = smaller(job->tile, job->grid->count - first),
                                       .first = (int32_t)first};
    sp_status status = SP_OK;

    SP_TRY(sp_device_slicer_aim(view->slicer, job->grid->q + first, tile.orientations, room->map));
    SP_TRY(sp_device_slicer_cut(view->slicer, view->model, room->map, tile.orientations, self->s, view->pixels,
                                room->intensity));
    SP_TRY(match->features(self->device, &job->model, room->intensity, tile.orientations, view->pixels, room->common,
                           room->feature, room->bias));
    SP_TRY(match->compare(self->device, room->packed, p->count, view->pixels, p->scale, &tile, room->product, job->keep,
                          room->best));
done:
    return status;
}

/* The lists of a piece come to the host, and their scores become whole. */
static sp_status take_lists(const sp_device_stack *self, const search *job, const sp_stack_piece *p,
                            const search_room *room)
{
    const sp_device_kernels *kernels = self->device->kernels;
    sp_candidate *best = job->best + p->first * job->keep;
    sp_status status = SP_OK;
    double *offset = NULL;

    SP_TRY(SP_ARRAY(offset, p->count));
    SP_TRY(kernels->download(self->device, room->offset, (size_t)p->count * sizeof *offset, offset));
    SP_TRY(kernels->download(self->device, room->best, (size_t)(p->count * job->keep) * sizeof *best, best));
    for (ptrdiff_t i = 0; i < p->count * job->keep; i++) {
        best[i].score = (float)((double)best[i].score + offset[i / job->keep]);
    }
done:
    sp_array_free(offset);
    return status;
}

static sp_status search_piece(sp_device_stack *self, sp_stack_piece *p, void *context)
{
    const search *job = context;
    const sp_device_kernels *kernels = self->device->kernels;
    const search_room room = lay_out_search(job, p);
    const sp_device_counts counts = sp_stack_counts(self, p);
    const sp_shortlists lists = {.keep = job->keep, .best = job->best + p->first * job->keep};
    sp_status status = SP_OK;

    sp_shortlists_clear(&lists, p->count);
    SP_TRY(kernels->upload(self->device, lists.best, (size_t)(p->count * job->keep) * sizeof *lists.best, room.best));
    SP_TRY(find_common(self, job, &room));
    SP_TRY(kernels->match->pack(self->device, &counts, job->view->pixels, room.packed));
    SP_TRY(kernels->match->offsets(self->device, room.packed, p->count, job->view->pixels, p->scale, room.common,
                                   job->model.dispersion, room.offset));
    for (ptrdiff_t first = 0; first < job->grid->count && !sp_interrupted(); first += job->tile) {
        SP_TRY(search_tile(self, job, p, &room, first));
    }
    SP_TRY(sp_stack_look_ahead(self));
    SP_TRY(take_lists(self, job, p, &room));
done:
    return status;
}

/* The dense route. */
static sp_status search_dense(sp_device_stack *self, const sp_device_view *view, const sp_rotation_grid *grid,
                              const sp_device_choice *choice, sp_candidate *best)
{
    const ptrdiff_t whole = (grid->count + LEAST_TILE - 1) / LEAST_TILE * LEAST_TILE;
    search job = {
        .view = view, .grid = grid, .model = sp_stack_model(self, view), .keep = self->input.keep, .best = best};
    sp_status status = SP_OK;

    job.row = sp_device_match_row(view->pixels);
    job.tile = sp_stack_fitting(self, OF_TILE, bytes_of_tile(view->pixels), LEAST_TILE, smaller(TILE, whole));
    SP_TRY(sp_stack_place(self, view->pixels));
    SP_TRY(sp_stack_for_pieces(self, choice, sp_stack_fitting(self, OF_PIECE, bytes_of_image(&job), 1, choice->images),
                               search_piece, &job));
done:
    return status;
}

sp_status sp_device_stack_search(sp_device_stack *stack, const sp_device_view *view, const sp_rotation_grid *grid,
                                 const sp_device_choice *choice, sp_candidate *best)
{
    return stack->polar ? sp_stack_search_polar(stack, view, choice, best)
                        : search_dense(stack, view, grid, choice, best);
}
