/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/stack_piece.h"

#include <math.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "device/match.h"
#include "phases/climb.h"

enum {
    SLACK = 16384,      /* [byte] of the work space for rounding up, and what does not grow with anything */
    ALIGNMENT = 256,    /* [byte] of arrays in the work space */
    STAGED = 256 << 20, /* [byte] of images that are read at a time */
};

static const double OF_IMAGES = 0.6;   /* share of the memory that images may take: the rest is for grids and volumes */
static const double OF_WORK = 0.125;   /* likewise, for the work space */
static const double MOST_WORK = 4e9;   /* [byte] of it: more makes nothing faster */
static const double MOST_WINDOW = 2e9; /* [byte] of images that come in parts, for each part: larger ones wait longer */

/* ---- the work space ---- */

sp_stack_room sp_stack_room_of(const sp_device_stack *self)
{
    return (sp_stack_room){self->work, self->work + self->work_bytes};
}

/* Bytes that an array takes there. */
static size_t rounded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void *sp_stack_array(sp_stack_room *room, size_t bytes)
{
    char *array = room->next;

    room->next += rounded(bytes);
    return room->next <= room->end ? array : NULL;
}

/* [byte] with which all phases can work on so many images and orientations at a time. */
static double work_for(ptrdiff_t pixels, double images, double tile)
{
    const double bins = (double)floats(pixels), row = (double)sp_device_match_row(pixels) * sizeof(sp_bfloat16);
    const double search = fmax(tile * (bins + row + 40.0) / OF_TILE, images * (row + 4.0 * tile + 512.0) / OF_PIECE);
    const double look = bins + 256.0, spread = 2.0 * bins + 64.0, assess = bins + 64.0 + 32.0 * sqrt((double)pixels);

    return SLACK + fmax(fmax(search, fmin(images, CLIMBS) * SP_CLIMB_MOST * look), images * fmax(spread, assess));
}

ptrdiff_t sp_stack_fitting(const sp_device_stack *self, double share, size_t bytes_each, ptrdiff_t least,
                           ptrdiff_t most)
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

sp_status sp_stack_look_ahead(sp_device_stack *self)
{
    return self->windows > 1 && self->coming < 0 ? send(self, (self->there + 1) % self->windows) : SP_OK;
}

/* Those of images that are staged.   row  scratch  [count] */
static void add_photons(sp_device_stack *self, ptrdiff_t count, double *row)
{
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < count; i++) {
        row[i] = 0.0;
        for (ptrdiff_t p = 0; p < self->stride; p++) {
            row[i] += fabs((double)self->staged[i * self->stride + p]);
        }
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        self->photons += row[i];
    }
}

/* Of all images; where they stay on the device, they go there. */
static sp_status load_all(sp_device_stack *self)
{
    sp_status status = SP_OK;
    double *row = NULL;

    SP_TRY(SP_ARRAY(row, self->staging));
    for (ptrdiff_t n = 0; n < self->images; n += self->staging) {
        const ptrdiff_t count = smaller(self->staging, self->images - n);

        stage(self, n, count);
        add_photons(self, count, row);
        if (self->windows == 1) {
            SP_TRY(self->device->kernels->upload(self->device, self->staged, floats(count * self->stride),
                                                 self->k[0] + n * self->stride));
        }
    }
    self->there = self->windows == 1 ? 0 : -1;
done:
    sp_array_free(row);
    return status;
}

/* ---- set-up ---- */

/* How the images are cut. */
static void plan_windows(sp_device_stack *self, double memory)
{
    const double room = OF_IMAGES * memory, each = (double)floats(self->stride);
    const ptrdiff_t all = (ptrdiff_t)fmax(floor(room / each), 1.0);

    const ptrdiff_t part = (ptrdiff_t)fmin(floor(room / STREAMED_WINDOWS / each), floor(MOST_WINDOW / each));

    self->window = all >= self->images ? self->images : part;
    self->window = self->window > 1 ? self->window : 1;
    self->windows = self->images > self->window ? (self->images + self->window - 1) / self->window : 1;
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
    SP_TRY(SP_DEVICE_ARRAY(self->device, self->scatter, sp_match_scatter_count(layout->shells)));
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
    if (self->input.polar) {
        SP_TRY(sp_stack_make_polar(self, (double)memory));
    }
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
    void *const arrays[] = {
        stack->expected,    stack->base, stack->whitening, stack->exposure,          stack->background,
        stack->shell_start, stack->s,    stack->ramp,      stack->background_values, stack->k[0],
        stack->k[1],        stack->work, stack->scatter};

    sp_device_polar_search_free(stack->polar);
    sp_array_free(stack->held);
    stack->device->kernels->release_host(stack->device, stack->staged);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        stack->device->kernels->release(stack->device, arrays[i]);
    }
    sp_match_tables_clear(&stack->tables);
    sp_array_free(stack->first);
    sp_array_free(stack);
}

double sp_device_stack_host_bytes(ptrdiff_t images, ptrdiff_t pixels)
{
    const double each = (double)floats(pixels), all = each * (double)images;
    const double look = sizeof(sp_quat) + sizeof(int32_t) + sizeof(float) + sizeof(sp_likelihood_sums);
    const double climbs = fmin((double)images, CLIMBS) * (sizeof(sp_climb) + SP_CLIMB_MOST * look);

    return fmin(all, MOST_WINDOW) + climbs;
}

bool sp_device_stack_is_resident(const sp_device_stack *stack)
{
    return stack->windows == 1;
}

/* ---- what all phases do ---- */

sp_status sp_stack_place(sp_device_stack *self, ptrdiff_t pixels)
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

sp_likelihood_model sp_stack_model(const sp_device_stack *self, const sp_device_view *view)
{
    return (sp_likelihood_model){.base = self->base,
                                 .expected = self->expected,
                                 .share = (float)(1.0 / (1.0 + self->input.matching.floor)),
                                 .dispersion = (float)view->dispersion};
}

static sp_status open_piece(sp_device_stack *self, const sp_device_choice *choice, sp_stack_piece *p)
{
    const sp_device_kernels *kernels = self->device->kernels;
    const int32_t before = (int32_t)(self->there * self->window);
    sp_status status = SP_OK;
    int32_t *image = NULL;

    SP_TRY(SP_ARRAY(image, p->count));
    for (ptrdiff_t i = 0; i < p->count; i++) {
        image[i] = choice->image[p->first + i] - before;
    }
    p->room = sp_stack_room_of(self);
    p->image = sp_stack_array(&p->room, (size_t)p->count * sizeof *p->image);
    p->scale = sp_stack_array(&p->room, floats(p->count));
    SP_TRY(kernels->upload(self->device, image, (size_t)p->count * sizeof *image, p->image));
    SP_TRY(kernels->upload(self->device, choice->scale + p->first, floats(p->count), p->scale));
done:
    sp_array_free(image);
    return status;
}

sp_device_counts sp_stack_counts(const sp_device_stack *self, const sp_stack_piece *p)
{
    return (sp_device_counts){.k = self->k[0], .row = self->stride, .image = p->image, .images = p->count};
}

sp_status sp_stack_for_pieces(sp_device_stack *self, const sp_device_choice *choice, ptrdiff_t most,
                              sp_stack_work *work, void *job)
{
    sp_status status = SP_OK;

    for (ptrdiff_t n = 0; n < choice->images && !sp_interrupted();) {
        const ptrdiff_t window = choice->image[n] / self->window;
        sp_stack_piece p = {.first = n};

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
