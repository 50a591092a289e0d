/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/stack.h"

#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "device/match.h"
#include "device/solve.h"
#include "num/sums.h"
#include "phases/climb.h"

enum {
    SLACK = 16384,        /* [byte] of the work space for rounding up, and what does not grow with anything */
    ALIGNMENT = 256,      /* [byte] of arrays in the work space */
    TILE = 2048,          /* orientations that are compared at a time, at most */
    LEAST_TILE = 128,     /* a matrix product of fewer wastes its time */
    COMMON = 64,          /* orientations that tell what all patterns have in common */
    CLIMBS = 4096,        /* images that are refined at a time, at most */
    STAGED = 256 << 20,   /* [byte] of images that are read at a time */
    STREAMED_WINDOWS = 2, /* of images that do not fit: one is worked on, one is on its way */
    SLACK_OF_SCALES = 16, /* times the mean: no sum of scales is larger */
};

static const double OF_IMAGES = 0.6; /* share of the memory that images may take: the rest is for grids and volumes */
static const double OF_WORK = 0.125; /* likewise, for the work space, */
static const double OF_TILE = 0.3;   /* share of that for orientations of a search, */
static const double OF_PIECE = 0.6;  /* and for images */
static const double MOST_WORK = 4e9; /* [byte] of it: more makes nothing faster */

/* Images of the work space that is handed out piece by piece. */
typedef struct arena {
    char *next, *end;
} arena;

struct sp_device_stack {
    const sp_device *device;
    sp_device_stack_input input;
    sp_match_tables tables;
    ptrdiff_t images, stride; /* all; pixels held of each */
    ptrdiff_t *first;         /* [parts + 1] number of the first image of each part */
    double photons;           /* sum of all |k| */

    /* on the device, of the pixels */
    float *expected, *base, *whitening, *exposure; /* [stride] */
    float *background;                             /* [stride] photons */
    float *background_values;                      /* [stride] as merging takes them off */
    ptrdiff_t *shell_start;                        /* [shells + 1] */
    float *s;                                      /* [3][placed] */
    ptrdiff_t placed;                              /* pixels whose places are there */
    float *ramp;                                   /* [ramped] of merging */
    ptrdiff_t ramped;
    float most_ramp;

    /* the images */
    ptrdiff_t window, windows;  /* images of each, and how many of them */
    float *k[STREAMED_WINDOWS]; /* [window][stride] photons; the second one NULL where all images stay */
    float *staged;              /* host [window or as many as are read at a time][stride] */
    ptrdiff_t staging;          /* how many those are */
    ptrdiff_t there, coming;    /* window that is in k[0]; on its way to k[1]; -1: none */
    char *work;
    size_t work_bytes;
};

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

static size_t floats(ptrdiff_t count)
{
    return (size_t)count * sizeof(float);
}

/* ---- the work space ---- */

static arena arena_of(const sp_device_stack *self)
{
    return (arena){self->work, self->work + self->work_bytes};
}

/* Bytes that an array takes there. */
static size_t rounded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* The next array. Callers have counted beforehand that it fits. */
static void *take(arena *a, size_t bytes)
{
    char *array = a->next;

    a->next += rounded(bytes);
    return a->next <= a->end ? array : NULL;
}

/* [byte] with which all phases can work on so many images and orientations at a time. */
static double work_for(ptrdiff_t pixels, double images, double tile)
{
    const double bins = (double)floats(pixels), row = (double)sp_device_match_row(pixels) * sizeof(sp_bfloat16);
    const double search = fmax(tile * (bins + row + 4.0) / OF_TILE, images * (row + 4.0 * tile + 512.0) / OF_PIECE);
    const double look = bins + 256.0, spread = 2.0 * bins + 64.0, assess = bins + 64.0 + 32.0 * sqrt((double)pixels);

    return SLACK + fmax(fmax(search, fmin(images, CLIMBS) * SP_CLIMB_MOST * look), images * fmax(spread, assess));
}

/* How many of something whose arrays take so many bytes each fit into a share of the work space: at least `least`. */
static ptrdiff_t fitting(const sp_device_stack *self, double share, size_t bytes_each, ptrdiff_t least, ptrdiff_t most)
{
    const double room = share * ((double)self->work_bytes - SLACK);
    const double fit = floor(room / (double)bytes_each);

    return fit < (double)least ? least : fit < (double)most ? (ptrdiff_t)fit : most;
}

/* ---- images ---- */

static ptrdiff_t part_of(const sp_device_stack *self, ptrdiff_t image)
{
    ptrdiff_t low = 0, high = self->input.parts;

    while (high - low > 1) {
        const ptrdiff_t middle = (low + high) / 2;

        if (self->first[middle] <= image) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static void read_image(const sp_device_stack *self, ptrdiff_t image, float *k)
{
    const ptrdiff_t part = part_of(self, image);
    sp_pattern_reader reader = sp_patterns_open(self->input.part[part], image - self->first[part]);

    sp_patterns_read(&reader, self->stride, (float)(1.0 / self->tables.unit), k);
}

/* Images first .. first + count - 1 into the host's memory that is copied from. */
static void stage(const sp_device_stack *self, ptrdiff_t first, ptrdiff_t count)
{
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < count; i++) {
        read_image(self, first + i, self->staged + i * self->stride);
    }
}

static ptrdiff_t images_in(const sp_device_stack *self, ptrdiff_t window)
{
    return smaller(self->window, self->images - window * self->window);
}

/* A window sets out for the device. */
static sp_status send(sp_device_stack *self, ptrdiff_t window)
{
    const ptrdiff_t count = images_in(self, window);
    sp_status status = SP_OK;

    stage(self, window * self->window, count);
    SP_TRY(self->device->kernels->begin_upload(self->device, self->staged, floats(count * self->stride), self->k[1]));
    self->coming = window;
done:
    return status;
}

/* Images of this window are what functions work on. */
static sp_status bring(sp_device_stack *self, ptrdiff_t window)
{
    sp_status status = SP_OK;

    if (self->there == window) {
        return SP_OK;
    }
    if (self->coming != window) {
        SP_TRY(send(self, window));
    }
    SP_TRY(self->device->kernels->end_upload(self->device));
    float *const arrived = self->k[1];

    self->k[1] = self->k[0];
    self->k[0] = arrived;
    self->there = window;
    self->coming = -1;
done:
    return status;
}

/* To be called when work has been handed in: the images that are next to be asked for come meanwhile. */
static sp_status look_ahead(sp_device_stack *self)
{
    return self->windows > 1 && self->coming < 0 ? send(self, (self->there + 1) % self->windows) : SP_OK;
}

/* Of all images; where they stay on the device, they go there. */
static sp_status load_all(sp_device_stack *self)
{
    sp_status status = SP_OK;

    for (ptrdiff_t n = 0; n < self->images; n += self->staging) {
        const ptrdiff_t count = smaller(self->staging, self->images - n);

        stage(self, n, count);
        for (ptrdiff_t i = 0; i < count * self->stride; i++) {
            self->photons += fabs((double)self->staged[i]);
        }
        if (self->windows == 1) {
            SP_TRY(self->device->kernels->upload(self->device, self->staged, floats(count * self->stride),
                                                 self->k[0] + n * self->stride));
        }
    }
    self->there = self->windows == 1 ? 0 : -1;
done:
    return status;
}

/* ---- set-up ---- */

/* How the images are cut. */
static void plan_windows(sp_device_stack *self, double memory)
{
    const double room = OF_IMAGES * memory, each = (double)floats(self->stride);
    const ptrdiff_t all = (ptrdiff_t)fmax(floor(room / each), 1.0);

    self->window = all >= self->images ? self->images : all < STREAMED_WINDOWS ? 1 : all / STREAMED_WINDOWS;
    self->windows = (self->images + self->window - 1) / self->window;
    self->staging = self->windows > 1 ? self->window : smaller(self->window, STAGED / (ptrdiff_t)each + 1);
}

static sp_status make_array(const sp_device_stack *self, const void *from, size_t bytes, const char *what, void **array)
{
    const sp_device_kernels *kernels = self->device->kernels;
    sp_status status = SP_OK;

    SP_TRY(kernels->get(self->device, (ptrdiff_t)bytes, 1, what, array));
    SP_TRY(kernels->upload(self->device, from, bytes, *array));
done:
    return status;
}

static sp_status make_tables(sp_device_stack *self)
{
    const sp_patterns *layout = self->input.layout;
    const size_t bytes = floats(self->stride);
    sp_status status = SP_OK;
    float *photons = NULL; /* of the background */

    SP_TRY(SP_ARRAY(photons, self->stride));
    for (ptrdiff_t p = 0; p < self->stride; p++) {
        photons[p] = (float)(1.0 / self->tables.unit) * layout->background[p];
    }
    SP_TRY(make_array(self, self->tables.expected, bytes, "expected", (void **)&self->expected));
    SP_TRY(make_array(self, self->tables.base, bytes, "base", (void **)&self->base));
    SP_TRY(make_array(self, self->tables.whitening, bytes, "whitening", (void **)&self->whitening));
    SP_TRY(make_array(self, layout->exposure, bytes, "exposure", (void **)&self->exposure));
    SP_TRY(make_array(self, photons, bytes, "background", (void **)&self->background));
    SP_TRY(make_array(self, layout->background, bytes, "background", (void **)&self->background_values));
    SP_TRY(make_array(self, layout->shell_start, (size_t)(layout->shells + 1) * sizeof *layout->shell_start, "shells",
                      (void **)&self->shell_start));
    SP_TRY(SP_DEVICE_ARRAY(self->device, self->s, 3 * self->stride));
    SP_TRY(SP_DEVICE_ARRAY(self->device, self->ramp, self->stride));
done:
    sp_array_free(photons);
    return status;
}

static sp_status make_images(sp_device_stack *self)
{
    const sp_device_kernels *kernels = self->device->kernels;
    size_t memory = self->input.memory;
    sp_status status = SP_OK;

    if (memory == 0) {
        SP_TRY(kernels->available(self->device, &memory));
    }
    plan_windows(self, (double)memory);
    self->work_bytes = (size_t)fmax(
        fmin(fmin(OF_WORK * (double)memory, MOST_WORK), work_for(self->stride, (double)self->images, TILE)),
        work_for(self->stride, 1.0, LEAST_TILE));
    SP_TRY(kernels->get(self->device, (ptrdiff_t)self->work_bytes, 1, "work space", (void **)&self->work));
    for (int i = 0; i < (self->windows > 1 ? STREAMED_WINDOWS : 1); i++) {
        SP_TRY(kernels->get(self->device, self->window * self->stride, sizeof(float), "images", (void **)&self->k[i]));
    }
    SP_TRY(kernels->get_host(self->device, floats(self->staging * self->stride), "images", (void **)&self->staged));
    SP_TRY(load_all(self));
done:
    return status;
}

static sp_status count_images(sp_device_stack *self)
{
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self->first, self->input.parts + 1));
    for (ptrdiff_t b = 0; b < self->input.parts; b++) {
        self->first[b + 1] = self->first[b] + self->input.part[b]->images;
    }
    self->images = self->first[self->input.parts];
done:
    return status;
}

sp_status sp_device_stack_new(const sp_device *device, const sp_device_stack_input *input, sp_device_stack **stack)
{
    sp_status status = SP_OK;
    sp_device_stack *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->device = device;
    self->input = *input;
    self->there = self->coming = -1;
    self->stride = sp_match_pixels(input->layout, input->matching.s_max);
    SP_REQUIRE(self->stride > 0, SP_ERR_USAGE, "no pixel lies within %.4g Angstrom", 1e10 / input->matching.s_max);
    SP_TRY(count_images(self));
    SP_TRY(sp_match_tables_init(input->layout, input->matching.floor, self->stride, &self->tables));
    SP_TRY(make_tables(self));
    SP_TRY(make_images(self));
    *stack = self;
    self = NULL;
done:
    sp_device_stack_free(self);
    return status;
}

void sp_device_stack_free(sp_device_stack *stack)
{
    if (!stack) {
        return;
    }
    void *const arrays[] = {stack->expected,          stack->base,        stack->whitening, stack->exposure,
                            stack->background,        stack->shell_start, stack->s,         stack->ramp,
                            stack->background_values, stack->k[0],        stack->k[1],      stack->work};

    stack->device->kernels->release_host(stack->device, stack->staged);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        stack->device->kernels->release(stack->device, arrays[i]);
    }
    sp_match_tables_clear(&stack->tables);
    sp_array_free(stack->first);
    sp_array_free(stack);
}

bool sp_device_stack_is_resident(const sp_device_stack *stack)
{
    return stack->windows == 1;
}

/* ---- what all phases do ---- */

/* The places of the first `pixels` pixels. */
static sp_status place(sp_device_stack *self, ptrdiff_t pixels)
{
    sp_status status = SP_OK;

    for (int i = 0; i < 3 && self->placed != pixels; i++) {
        SP_TRY(self->device->kernels->upload(self->device, self->input.layout->s[i], floats(pixels),
                                             self->s + i * pixels));
    }
    self->placed = pixels;
done:
    return status;
}

static sp_likelihood_model model_of(const sp_device_stack *self, const sp_device_view *view)
{
    return (sp_likelihood_model){.base = self->base,
                                 .expected = self->expected,
                                 .share = (float)(1.0 / (1.0 + self->input.matching.floor)),
                                 .dispersion = (float)view->dispersion};
}

/* Some images of a choice that lie in the present window: those from number `first` of the choice on. */
typedef struct piece {
    ptrdiff_t first, count;
    arena room;     /* what is left of the work space */
    int32_t *image; /* device [count] place in the window */
    float *scale;   /* device [count] */
} piece;

/* Bytes that each image of a piece takes beside what its phase needs. */
enum { PIECE_BYTES = sizeof(int32_t) + sizeof(float) };

static sp_status open_piece(sp_device_stack *self, const sp_device_choice *choice, piece *p)
{
    const sp_device_kernels *kernels = self->device->kernels;
    const int32_t before = (int32_t)(self->there * self->window);
    sp_status status = SP_OK;
    int32_t *image = NULL;

    SP_TRY(SP_ARRAY(image, p->count));
    for (ptrdiff_t i = 0; i < p->count; i++) {
        image[i] = choice->image[p->first + i] - before;
    }
    p->room = arena_of(self);
    p->image = take(&p->room, (size_t)p->count * sizeof *p->image);
    p->scale = take(&p->room, floats(p->count));
    SP_TRY(kernels->upload(self->device, image, (size_t)p->count * sizeof *image, p->image));
    SP_TRY(kernels->upload(self->device, choice->scale + p->first, floats(p->count), p->scale));
done:
    sp_array_free(image);
    return status;
}

static sp_device_counts counts_of(const sp_device_stack *self, const piece *p)
{
    return (sp_device_counts){.k = self->k[0], .row = self->stride, .image = p->image, .images = p->count};
}

/* What a phase does with a piece; `job` is its own. */
typedef sp_status piece_work(sp_device_stack *self, piece *p, void *job);

/* All images of a choice, window by window, in pieces of up to `most` images. */
static sp_status for_pieces(sp_device_stack *self, const sp_device_choice *choice, ptrdiff_t most, piece_work *work,
                            void *job)
{
    sp_status status = SP_OK;

    for (ptrdiff_t n = 0; n < choice->images && !sp_interrupted();) {
        const ptrdiff_t window = choice->image[n] / self->window;
        piece p = {.first = n};

        while (n < choice->images && n - p.first < most && choice->image[n] / self->window == window) {
            n++;
        }
        p.count = n - p.first;
        SP_TRY(bring(self, window));
        SP_TRY(open_piece(self, choice, &p));
        SP_TRY(work(self, &p, job));
    }
done:
    return status;
}

/* ---- search ---- */

typedef struct search {
    const sp_device_view *view;
    const sp_rotation_grid *grid;
    sp_likelihood_model model;
    ptrdiff_t row, tile; /* of a factor; orientations compared at a time */
    int keep;
    float *map;         /* device [orientations of the grid][3][3] */
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
    return floats(pixels) + (size_t)sp_device_match_row(pixels) * sizeof(sp_bfloat16) + sizeof(float);
}

static size_t bytes_of_image(const search *job)
{
    return (size_t)job->row * sizeof(sp_bfloat16) + floats(job->tile) + (size_t)job->keep * sizeof(sp_candidate) +
           sizeof(double) + PIECE_BYTES;
}

static search_room lay_out_search(const search *job, piece *p)
{
    const ptrdiff_t pixels = job->view->pixels;
    search_room room;

    room.packed = take(&p->room, (size_t)(p->count * job->row) * sizeof *room.packed);
    room.feature = take(&p->room, (size_t)(job->tile * job->row) * sizeof *room.feature);
    room.intensity = take(&p->room, floats(job->tile * pixels));
    room.bias = take(&p->room, floats(job->tile));
    room.product = take(&p->room, floats(p->count * job->tile));
    room.common = take(&p->room, floats(2 * pixels));
    room.map = take(&p->room, floats(9 * COMMON));
    room.offset = take(&p->room, (size_t)p->count * sizeof *room.offset);
    room.best = take(&p->room, (size_t)(p->count * job->keep) * sizeof *room.best);
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

static sp_status search_tile(const sp_device_stack *self, const search *job, const piece *p, const search_room *room,
                             ptrdiff_t first)
{
    const sp_device_match_kernels *match = self->device->kernels->match;
    const sp_device_view *view = job->view;
    const sp_device_match_tile tile = {.feature = room->feature,
                                       .bias = room->bias,
                                       .orientations = smaller(job->tile, job->grid->count - first),
                                       .first = (int32_t)first};
    sp_status status = SP_OK;

    SP_TRY(sp_device_slicer_cut(view->slicer, view->model, job->map + 9 * first, tile.orientations, self->s,
                                view->pixels, room->intensity));
    SP_TRY(match->features(self->device, &job->model, room->intensity, tile.orientations, view->pixels, room->common,
                           room->feature, room->bias));
    SP_TRY(match->compare(self->device, room->packed, p->count, view->pixels, p->scale, &tile, room->product, job->keep,
                          room->best));
done:
    return status;
}

/* The lists of a piece come to the host, and their scores become whole. */
static sp_status take_lists(const sp_device_stack *self, const search *job, const piece *p, const search_room *room)
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

static sp_status search_piece(sp_device_stack *self, piece *p, void *context)
{
    const search *job = context;
    const sp_device_kernels *kernels = self->device->kernels;
    const search_room room = lay_out_search(job, p);
    const sp_device_counts counts = counts_of(self, p);
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
    SP_TRY(look_ahead(self));
    SP_TRY(take_lists(self, job, p, &room));
done:
    return status;
}

sp_status sp_device_stack_search(sp_device_stack *stack, const sp_device_view *view, const sp_rotation_grid *grid,
                                 const sp_device_choice *choice, int keep, sp_candidate *best)
{
    const sp_device_kernels *kernels = stack->device->kernels;
    const ptrdiff_t whole = (grid->count + LEAST_TILE - 1) / LEAST_TILE * LEAST_TILE;
    search job = {.view = view, .grid = grid, .model = model_of(stack, view), .keep = keep, .best = best};
    sp_status status = SP_OK;

    job.row = sp_device_match_row(view->pixels);
    job.tile = fitting(stack, OF_TILE, bytes_of_tile(view->pixels), LEAST_TILE, smaller(TILE, whole));
    SP_TRY(place(stack, view->pixels));
    SP_TRY(SP_DEVICE_ARRAY(stack->device, job.map, 9 * grid->count));
    SP_TRY(sp_device_slicer_aim(view->slicer, grid->q, grid->count, job.map));
    SP_TRY(for_pieces(stack, choice, fitting(stack, OF_PIECE, bytes_of_image(&job), 1, choice->images), search_piece,
                      &job));
done:
    kernels->release(stack->device, job.map);
    return status;
}

/* ---- refinement ---- */

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
static ptrdiff_t gather_looks(const sp_device_stack *self, const refinement *job, const piece *p)
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

static void scatter_looks(const refinement *job, const piece *p)
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
    arena room = arena_of(self);
    sp_likelihood_sums *sums = take(&room, bytes);
    int32_t *image = take(&room, (size_t)looks * sizeof *image);
    float *scale = take(&room, floats(looks)), *map = take(&room, floats(9 * looks));
    float *value = take(&room, floats(looks * view->pixels));
    float *turn = lead ? take(&room, floats(3 * looks * view->pixels)) : NULL;
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

static sp_status refine_piece(sp_device_stack *self, piece *p, void *context)
{
    const refinement *job = context;
    sp_status status = SP_OK;
    ptrdiff_t looks = 0;

    SP_TRY(look_ahead(self));
    for (ptrdiff_t i = 0; i < p->count; i++) {
        sp_climb_begin(&job->climb[i], job->candidates + (p->first + i) * job->count, job->count, job->steps,
                       job->delta);
    }
    for (bool lead = false; (looks = gather_looks(self, job, p)) > 0 && !sp_interrupted(); lead = !lead) {
        SP_TRY(look(self, job, looks, lead));
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
    const ptrdiff_t most = fitting(stack, 1.0, SP_CLIMB_MOST * bytes_of_look(view->pixels), 1,
                                   smaller(CLIMBS, choice->images > 0 ? choice->images : 1));
    refinement job = {.view = view,
                      .model = model_of(stack, view),
                      .choice = choice,
                      .candidates = candidates,
                      .count = count,
                      .steps = steps,
                      .delta = delta,
                      .orientation = orientation,
                      .fit = fit};
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(job.climb, most));
    SP_TRY(SP_ARRAY(job.q, most * SP_CLIMB_MOST));
    SP_TRY(SP_ARRAY(job.image, most * SP_CLIMB_MOST));
    SP_TRY(SP_ARRAY(job.scale, most * SP_CLIMB_MOST));
    SP_TRY(SP_ARRAY(job.sums, most * SP_CLIMB_MOST));
    SP_TRY(place(stack, view->pixels));
    SP_TRY(for_pieces(stack, choice, most, refine_piece, &job));
done:
    clear_refinement(&job);
    return status;
}

/* ---- assessment ---- */

typedef struct assessment {
    const sp_device_view *view;
    sp_device_assessment by;
    const sp_quat *orientation;
    float *score, *scale;
    double *scatter; /* device [shells + 1][2] */
} assessment;

static size_t bytes_of_row(ptrdiff_t shells)
{
    return (size_t)(2 * (shells + 1)) * sizeof(double);
}

static sp_status assess_piece(sp_device_stack *self, piece *p, void *context)
{
    const assessment *job = context;
    const sp_device_kernels *kernels = self->device->kernels;
    const sp_device_view *view = job->view;
    const sp_device_counts counts = counts_of(self, p);
    float *map = take(&p->room, floats(9 * p->count)), *value = take(&p->room, floats(p->count * view->pixels));
    float *score = take(&p->room, floats(p->count));
    double *residue = take(&p->room, (size_t)p->count * bytes_of_row(job->by.shells));
    sp_status status = SP_OK;

    SP_TRY(sp_device_slicer_aim(view->slicer, job->orientation + p->first, p->count, map));
    SP_TRY(sp_device_slicer_cut(view->slicer, view->model, map, p->count, self->s, view->pixels, value));
    SP_TRY(kernels->match->assess(self->device, &job->by, &counts, value, p->scale, score, residue, job->scatter));
    SP_TRY(look_ahead(self));
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
    SP_TRY(self->device->kernels->download(self->device, job->scatter, bytes_of_row(shells), own));
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
    const sp_device_kernels *kernels = stack->device->kernels;
    assessment job = {.view = view, .orientation = orientation, .score = score, .scale = scale};
    sp_status status = SP_OK;

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

    SP_TRY(place(stack, view->pixels));
    SP_TRY(SP_DEVICE_ARRAY(stack->device, job.scatter, 2 * (job.by.shells + 1)));
    SP_TRY(kernels->clear(stack->device, job.scatter, bytes_of_row(job.by.shells)));
    SP_TRY(for_pieces(stack, choice, fitting(stack, 1.0, each, 1, choice->images), assess_piece, &job));
    SP_TRY(add_scatter(stack, &job, scatter));
done:
    kernels->release(stack->device, job.scatter);
    return status;
}

/* ---- merging ---- */

typedef struct spreading {
    const sp_device_choice *choice;
    const sp_quat *orientation;
    const float *share; /* or NULL */
    ptrdiff_t pixels;
    double most[2];
    sp_device_merger *merger;
} spreading;

/* Of an image without signal, none.   share  out  device [p->count] */
static sp_status upload_shares(const sp_device_stack *self, const spreading *job, const piece *p, float *share)
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

static sp_status spread_piece(sp_device_stack *self, piece *p, void *context)
{
    const spreading *job = context;
    const sp_device_kernels *kernels = self->device->kernels;
    const sp_device_weighting by = {.pixels = job->pixels,
                                    .ramp = self->ramp,
                                    .exposure = self->exposure,
                                    .background = self->background_values,
                                    .unit = (float)self->tables.unit};
    const sp_device_counts counts = counts_of(self, p);
    float *share = take(&p->room, floats(p->count)), *value = take(&p->room, floats(p->count * job->pixels));
    float *weight = take(&p->room, floats(p->count * job->pixels));
    sp_status status = SP_OK;

    SP_TRY(upload_shares(self, job, p, share));
    SP_TRY(kernels->solve->weigh(self->device, &by, &counts, share, p->scale, value, weight));
    SP_TRY(sp_device_merger_add(job->merger, job->orientation + p->first, p->count, self->s, job->pixels, value, weight,
                                job->most));
    SP_TRY(look_ahead(self));
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

    SP_TRY(place(stack, pixels));
    SP_TRY(make_ramp(stack, pixels));
    job.most[0] = (double)stack->most_ramp *
                  (stack->tables.unit * stack->photons + (double)stack->images * sp_sum(layout->background, pixels));
    job.most[1] = (double)stack->most_ramp * SLACK_OF_SCALES * (double)stack->images * sp_sum(layout->exposure, pixels);
    SP_TRY(for_pieces(stack, choice, fitting(stack, 1.0, floats(2 * pixels + 1) + PIECE_BYTES, 1, choice->images),
                      spread_piece, &job));
done:
    return status;
}
