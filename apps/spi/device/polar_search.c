/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/polar_search.h"

#include <assert.h>
#include <math.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "device/polar_tables.h"
#include "phases/polar_layout.h"

enum {
    MOST_DIRECTIONS = 65536, /* of a grid: the finest has 32,000 */
    MOST_TILE = 512,         /* directions at a time: enough for products to run at full rate */
    MOST_TOGETHER = 32768,   /* images at a time */
    GROUP = SP_DEVICE_POLAR_GROUP,
    FOUR = 4,   /* floats: what begins in the midst of an array is aligned to 16 bytes */
    FILLED = 8, /* no less than what that takes twice */
};

struct sp_device_polar_search {
    const sp_device *device;
    const sp_device_polar_kernels *kernels;
    const sp_polar *polar;
    sp_device_polar_tables *tables;
    const sp_device_polar *by; /* theirs */
    ptrdiff_t room;            /* images */
    int keep;
    ptrdiff_t tile;    /* directions at a time */
    ptrdiff_t scratch; /* floats of work space */

    ptrdiff_t images;         /* taken, and for what: */
    ptrdiff_t pixels, angles; /* 0: none are */

    sp_quat *direction; /* [MOST_DIRECTIONS] */
    /* of the device */
    float *map;       /* [MOST_DIRECTIONS][3][3] */
    sp_half *packed;  /* [room][row] */
    float *unit;      /* [room] */
    float *centre;    /* [room][rings] */
    double *offset;   /* [room] */
    float *share;     /* [pixels] */
    float *exposed;   /* [coefficients][2] */
    float *common;    /* [2][rings] */
    sp_half *feature; /* of a tile */
    float *bias;      /* of a tile */
    float *work;      /* [scratch] */
};

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

static ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b)
{
    return a > b ? a : b;
}

/* ---- memory ---- */

/* Floats of work space for a direction: samples and what its features are made of; or what one image is compared by. */
static ptrdiff_t floats_of_direction(const sp_device_polar_limits *most)
{
    const ptrdiff_t comparison = 2 * (SP_POLAR_ANGLES / 2 + 1) + SP_POLAR_ANGLES;

    return larger(3 * most->samples + 4 * most->coefficients, comparison);
}

/* Floats of work space that one image takes besides what all of them share, in a transform and in a comparison. */
static ptrdiff_t floats_of_transform(const sp_device_polar *by)
{
    return by->pixels + 2 * by->coefficients;
}

static ptrdiff_t floats_of_comparison(const sp_device_polar *by, ptrdiff_t directions)
{
    return sp_device_polar_compare_scratch(by, 1, directions);
}

/* What one image and a group of directions need; all pixels reach one ring at worst. */
static ptrdiff_t least_scratch(const sp_device_polar_limits *most, const sp_polar_layout *layout)
{
    const ptrdiff_t orders = layout->ring_orders[layout->most_rings - 1];
    const ptrdiff_t transform = 2 * most->coefficients + (1 + 2 * orders) * layout->most_pixels + FILLED;

    return larger(transform, GROUP * floats_of_direction(most));
}

double sp_device_polar_image_bytes(const sp_polar *polar)
{
    const sp_device_polar_limits most = sp_device_polar_limits_of(polar);

    return (double)most.row * sizeof(sp_half) + (double)(most.rings + 1) * sizeof(float) + sizeof(double);
}

static void share_budget(sp_device_polar_search *self, double budget)
{
    const sp_polar_layout layout = sp_polar_layout_of(self->polar);
    const sp_device_polar_limits most = sp_device_polar_limits_of(self->polar);
    const ptrdiff_t wanted = (ptrdiff_t)fmin(budget / sizeof(float), 0x1p40), each = floats_of_direction(&most);

    self->scratch = larger(wanted, least_scratch(&most, &layout));
    self->tile = smaller(self->scratch / each / GROUP * GROUP, MOST_TILE);
}

static sp_status make_arrays(sp_device_polar_search *self)
{
    const sp_device *device = self->device;
    const sp_device_polar_limits most = sp_device_polar_limits_of(self->polar);
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self->direction, MOST_DIRECTIONS));
    SP_TRY(SP_DEVICE_ARRAY(device, self->map, 9 * MOST_DIRECTIONS));
    SP_TRY(SP_DEVICE_ARRAY(device, self->packed, self->room * most.row));
    SP_TRY(SP_DEVICE_ARRAY(device, self->unit, self->room));
    SP_TRY(SP_DEVICE_ARRAY(device, self->centre, self->room * most.rings));
    SP_TRY(SP_DEVICE_ARRAY(device, self->offset, self->room));
    SP_TRY(SP_DEVICE_ARRAY(device, self->share, sp_polar_layout_of(self->polar).most_pixels));
    SP_TRY(SP_DEVICE_ARRAY(device, self->exposed, 2 * most.coefficients));
    SP_TRY(SP_DEVICE_ARRAY(device, self->common, 2 * most.rings));
    SP_TRY(SP_DEVICE_ARRAY(device, self->feature, 2 * self->tile * most.row));
    SP_TRY(SP_DEVICE_ARRAY(device, self->bias, self->tile * SP_POLAR_ANGLES));
    SP_TRY(SP_DEVICE_ARRAY(device, self->work, self->scratch));
done:
    return status;
}

static sp_status upload_shares(const sp_device_polar_search *self)
{
    const sp_polar_layout layout = sp_polar_layout_of(self->polar);

    return self->device->kernels->upload(self->device, layout.share, (size_t)layout.most_pixels * sizeof *layout.share,
                                         self->share);
}

sp_status sp_device_polar_search_new(const sp_device *device, const sp_polar *polar, ptrdiff_t images, int keep,
                                     double budget, sp_device_polar_search **search)
{
    sp_status status = SP_OK;
    sp_device_polar_search *self = NULL;

    SP_REQUIRE(keep >= 1 && keep <= SP_DEVICE_POLAR_KEPT, SP_ERR_USAGE, "a GPU keeps 1 to %d orientations, not %d",
               (int)SP_DEVICE_POLAR_KEPT, keep);
    SP_TRY(SP_ARRAY(self, 1));
    self->device = device;
    self->kernels = device->kernels->polar;
    self->polar = polar;
    self->room = images;
    self->keep = keep;
    SP_TRY(sp_device_polar_tables_new(device, polar, &self->tables));
    self->by = sp_device_polar_tables_of(self->tables);
    share_budget(self, budget);
    SP_TRY(make_arrays(self));
    SP_TRY(upload_shares(self));
    *search = self;
    self = NULL;
done:
    sp_device_polar_search_free(self);
    return status;
}

void sp_device_polar_search_free(sp_device_polar_search *search)
{
    if (!search) {
        return;
    }
    void *const there[] = {search->map,     search->packed, search->unit,    search->centre,
                           search->offset,  search->share,  search->exposed, search->common,
                           search->feature, search->bias,   search->work};

    for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
        search->device->kernels->release(search->device, there[i]);
    }
    sp_device_polar_tables_free(search->tables);
    sp_array_free(search->direction);
    sp_array_free(search);
}

/* ---- images ---- */

bool sp_device_polar_search_holds(const sp_device_polar_search *search)
{
    return search->pixels == search->by->pixels && search->angles == search->by->angles;
}

sp_status sp_device_polar_search_begin(sp_device_polar_search *search)
{
    const sp_rotation_grid *grid = sp_polar_layout_of(search->polar).grid;
    const sp_device_counts shares = {.k = search->share, .row = 0, .images = 1};
    sp_status status = SP_OK;

    SP_REQUIRE(grid->directions <= MOST_DIRECTIONS, SP_ERR_USAGE, "a grid of %td directions is finer than any: %d",
               grid->directions, (int)MOST_DIRECTIONS);
    SP_TRY(sp_device_polar_tables_begin(search->tables));
    SP_TRY(search->kernels->sums(search->device, search->by, &shares, search->work, search->exposed));
done:
    return status;
}

/* Images first .. first + part->images - 1, which are `part`. */
static sp_status take_part(const sp_device_polar_search *self, ptrdiff_t first, const sp_device_counts *part)
{
    const sp_device_polar *by = self->by;
    float *sums = self->work, *scratch = sums + sp_device_polar_fill(2 * part->images * by->coefficients, FOUR);
    sp_status status = SP_OK;

    SP_TRY(self->kernels->sums(self->device, by, part, scratch, sums));
    SP_TRY(self->kernels->pack(self->device, by, sums, part->images, self->packed + first * by->row, self->unit + first,
                               self->centre + first * by->rings));
done:
    return status;
}

sp_status sp_device_polar_search_take(sp_device_polar_search *search, const sp_device_counts *counts)
{
    const ptrdiff_t common = search->by->weights + FILLED, each = floats_of_transform(search->by);
    const ptrdiff_t together = smaller((search->scratch - common) / each, MOST_TOGETHER);
    sp_status status = SP_OK;

    assert(counts->images <= search->room);
    search->pixels = search->angles = 0; /* in case of failure */
    for (ptrdiff_t first = 0; first < counts->images; first += together) {
        const sp_device_counts part = {.k = counts->image ? counts->k : counts->k + first * counts->row,
                                       .row = counts->row,
                                       .image = counts->image ? counts->image + first : NULL,
                                       .images = smaller(counts->images - first, together)};

        SP_TRY(take_part(search, first, &part));
    }
    search->images = counts->images;
    search->pixels = search->by->pixels;
    search->angles = search->by->angles;
done:
    return status;
}

/* ---- search ---- */

/* Maps of all directions, in their first angle. */
static sp_status aim(const sp_device_polar_search *self, const sp_device_slicer *slicer)
{
    const sp_rotation_grid *grid = sp_polar_layout_of(self->polar).grid;

    for (ptrdiff_t d = 0; d < grid->directions; d++) {
        self->direction[d] = grid->q[d * grid->angles];
    }
    return sp_device_slicer_aim(slicer, self->direction, grid->directions, self->map);
}

/* Features of directions first .. first + count - 1. The first tile tells what all have in common. */
static sp_status make_tile(const sp_device_polar_search *self, const sp_device_slicer *slicer, int model,
                           const float *scale, ptrdiff_t first, ptrdiff_t count)
{
    const sp_device_polar *by = self->by;
    float *intensity = self->work, *scratch = intensity + sp_device_polar_fill(count * by->samples, FOUR);
    sp_status status = SP_OK;

    SP_TRY(sp_device_slicer_cut(slicer, model, self->map + 9 * first, count, by->there.s, by->samples, intensity));
    if (first == 0) {
        SP_TRY(self->kernels->average(self->device, by, intensity, count, self->common));
        SP_TRY(self->kernels->offsets(self->device, by, self->centre, self->images, scale, self->exposed, self->common,
                                      self->offset));
    }
    SP_TRY(self->kernels->features(self->device, by, intensity, count, self->common, self->exposed, scratch,
                                   self->feature, self->bias));
done:
    return status;
}

/* All images with the tile. */
static sp_status compare_tile(const sp_device_polar_search *self, const float *scale, ptrdiff_t first, ptrdiff_t count,
                              sp_candidate *best)
{
    const sp_device_polar *by = self->by;
    const sp_device_polar_tile tile = {
        .feature = self->feature, .bias = self->bias, .directions = count, .first = first};
    const ptrdiff_t together = smaller(self->scratch / floats_of_comparison(by, count), MOST_TOGETHER);
    sp_status status = SP_OK;

    for (ptrdiff_t n = 0; n < self->images; n += together) {
        const sp_device_polar_images images = {.packed = self->packed + n * by->row,
                                               .unit = self->unit + n,
                                               .scale = scale + n,
                                               .images = smaller(self->images - n, together)};

        SP_TRY(self->kernels->compare(self->device, by, &images, &tile, self->work, self->keep, best + n * self->keep));
    }
done:
    return status;
}

sp_status sp_device_polar_search_run(sp_device_polar_search *search, const sp_device_slicer *slicer, int model,
                                     const float *scale, sp_candidate *best)
{
    const ptrdiff_t directions = sp_polar_layout_of(search->polar).grid->directions;
    sp_status status = SP_OK;

    assert(sp_device_polar_search_holds(search));
    SP_TRY(search->kernels->clear_lists(search->device, search->images, search->keep, best));
    SP_TRY(aim(search, slicer));
    for (ptrdiff_t first = 0; first < directions && !sp_interrupted(); first += search->tile) {
        const ptrdiff_t count = smaller(directions - first, search->tile);

        SP_TRY(make_tile(search, slicer, model, scale, first, count));
        SP_TRY(compare_tile(search, scale, first, count, best));
    }
    SP_TRY(search->kernels->add_offsets(search->device, search->offset, search->images, search->keep, best));
done:
    return status;
}
