/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/polar_tables.h"

#include <math.h>

#include "base/memory.h"
#include "phases/polar_layout.h"

enum { GROUP = SP_DEVICE_POLAR_GROUP, MOST_FREQUENCIES = SP_POLAR_ANGLES / 2 + 1 };

struct sp_device_polar_tables {
    const sp_device *device;
    const sp_polar *polar;
    sp_device_polar by;
    sp_device_polar_limits most;

    /* what `by` points to, to be written */
    ptrdiff_t *order_start, *circle_start, *pixel_first, *pixel_end, *start;
    /* on the way to the device */
    int32_t *source;
    float *turn;
    /* what `by.there` points to, to be written */
    float *base, *gain, *weight, *circle, *turn_there, *s;
    double *angle;
    int32_t *sample_start_there, *order_start_there, *inner, *source_there, *start_there;
};

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

const sp_device_polar *sp_device_polar_tables_of(const sp_device_polar_tables *tables)
{
    return &tables->by;
}

sp_device_polar_limits sp_device_polar_limits_of(const sp_polar *polar)
{
    const sp_polar_layout layout = sp_polar_layout_of(polar);
    sp_device_polar_limits most = {.rings = layout.most_rings, .samples = layout.sample_start[layout.most_rings]};

    for (ptrdiff_t k = 0; k < layout.most_rings; k++) {
        most.coefficients += layout.ring_orders[k];
    }
    most.row = 2 * most.coefficients + GROUP * smaller(MOST_FREQUENCIES, layout.ring_orders[layout.most_rings - 1]);
    return most;
}

/* ---- what no search changes ---- */

static void lay_out_rings(sp_device_polar_tables *self, const sp_polar_layout *layout)
{
    ptrdiff_t circle = 0;

    for (ptrdiff_t k = 0; k < layout->most_rings; k++) {
        self->order_start[k + 1] = self->order_start[k] + layout->ring_orders[k];
        self->circle_start[k] = circle;
        circle += 2 * layout->ring_orders[k] * (layout->sample_start[k + 1] - layout->sample_start[k]);
    }
    self->circle_start[layout->most_rings] = circle;
}

static sp_status make_device_arrays(sp_device_polar_tables *self, const sp_polar_layout *layout)
{
    const sp_device *device = self->device;
    sp_status status = SP_OK;

    SP_TRY(SP_DEVICE_ARRAY(device, self->base, self->most.rings));
    SP_TRY(SP_DEVICE_ARRAY(device, self->gain, self->most.rings));
    SP_TRY(SP_DEVICE_ARRAY(device, self->sample_start_there, self->most.rings + 1));
    SP_TRY(SP_DEVICE_ARRAY(device, self->order_start_there, self->most.rings + 1));
    SP_TRY(SP_DEVICE_ARRAY(device, self->inner, layout->most_pixels));
    SP_TRY(SP_DEVICE_ARRAY(device, self->weight, layout->most_pixels * SP_POLAR_TAPS));
    SP_TRY(SP_DEVICE_ARRAY(device, self->angle, layout->most_pixels));
    SP_TRY(SP_DEVICE_ARRAY(device, self->circle, self->circle_start[self->most.rings]));
    SP_TRY(SP_DEVICE_ARRAY(device, self->source_there, self->most.row / 2));
    SP_TRY(SP_DEVICE_ARRAY(device, self->start_there, MOST_FREQUENCIES + 1));
    SP_TRY(SP_DEVICE_ARRAY(device, self->turn_there, 2 * MOST_FREQUENCIES * SP_POLAR_ANGLES));
    SP_TRY(SP_DEVICE_ARRAY(device, self->s, 3 * self->most.samples));
done:
    return status;
}

static sp_status make_arrays(sp_device_polar_tables *self, const sp_polar_layout *layout)
{
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self->order_start, layout->most_rings + 1));
    SP_TRY(SP_ARRAY(self->circle_start, layout->most_rings + 1));
    SP_TRY(SP_ARRAY(self->pixel_first, layout->most_rings));
    SP_TRY(SP_ARRAY(self->pixel_end, layout->most_rings));
    SP_TRY(SP_ARRAY(self->start, MOST_FREQUENCIES + 1));
    lay_out_rings(self, layout);
    SP_TRY(SP_ARRAY(self->source, self->most.row / 2));
    SP_TRY(SP_ARRAY(self->turn, 2 * MOST_FREQUENCIES * SP_POLAR_ANGLES));
    SP_TRY(make_device_arrays(self, layout));
done:
    return status;
}

/* One ring: (2 - [m = 0]) / n exp(-2 pi i m l / n).   table  out  [n][orders][2]     cosine  scratch  [n] */
static void fill_circle(ptrdiff_t n, ptrdiff_t orders, double *cosine, float *table)
{
    for (ptrdiff_t l = 0; l < n; l++) {
        cosine[l] = cos(2.0 * M_PI * (double)l / (double)n);
    }
    for (ptrdiff_t l = 0; l < n; l++) {
        for (ptrdiff_t m = 0; m < orders; m++) {
            const double factor = (m > 0 ? 2.0 : 1.0) / (double)n;

            *table++ = (float)(factor * cosine[l * m % n]);
            *table++ = (float)(factor * cosine[(l * m + n / 4) % n]); /* cos(x + pi/2) = -sin x; n is a multiple of 4 */
        }
    }
}

static sp_status upload_circles(const sp_device_polar_tables *self, const sp_polar_layout *layout)
{
    const ptrdiff_t count = self->circle_start[self->most.rings];
    sp_status status = SP_OK;
    float *circle = NULL;
    double *cosine = NULL;

    SP_TRY(SP_ARRAY(circle, count));
    SP_TRY(SP_ARRAY(cosine, self->most.samples));
    for (ptrdiff_t k = 0; k < self->most.rings; k++) {
        fill_circle(layout->sample_start[k + 1] - layout->sample_start[k], layout->ring_orders[k], cosine,
                    circle + self->circle_start[k]);
    }
    SP_TRY(self->device->kernels->upload(self->device, circle, (size_t)count * sizeof *circle, self->circle));
done:
    sp_array_free(circle);
    sp_array_free(cosine);
    return status;
}

static sp_status upload_angles(const sp_device_polar_tables *self, const sp_polar_layout *layout)
{
    sp_status status = SP_OK;
    double *angle = NULL;

    SP_TRY(SP_ARRAY(angle, layout->most_pixels));
    for (ptrdiff_t p = 0; p < layout->most_pixels; p++) {
        angle[p] = atan2(layout->phase[2 * p + 1], layout->phase[2 * p]);
    }
    SP_TRY(
        self->device->kernels->upload(self->device, angle, (size_t)layout->most_pixels * sizeof *angle, self->angle));
done:
    sp_array_free(angle);
    return status;
}

/* Sizes of an array of the host, as 32-bit numbers of the device. */
static sp_status upload_starts(const sp_device_polar_tables *self, const ptrdiff_t *from, ptrdiff_t count, int32_t *to)
{
    sp_status status = SP_OK;
    int32_t *small = NULL;

    SP_TRY(SP_ARRAY(small, count));
    for (ptrdiff_t i = 0; i < count; i++) {
        small[i] = (int32_t)from[i];
    }
    SP_TRY(self->device->kernels->upload(self->device, small, (size_t)count * sizeof *small, to));
done:
    sp_array_free(small);
    return status;
}

static sp_status upload_constants(const sp_device_polar_tables *self, const sp_polar_layout *layout)
{
    const sp_device *device = self->device;
    const size_t rings = (size_t)layout->most_rings, pixels = (size_t)layout->most_pixels;
    sp_status status = SP_OK;

    SP_TRY(device->kernels->upload(device, layout->base, rings * sizeof *layout->base, self->base));
    SP_TRY(device->kernels->upload(device, layout->gain, rings * sizeof *layout->gain, self->gain));
    SP_TRY(device->kernels->upload(device, layout->inner, pixels * sizeof *layout->inner, self->inner));
    SP_TRY(
        device->kernels->upload(device, layout->weight, pixels * SP_POLAR_TAPS * sizeof *layout->weight, self->weight));
    SP_TRY(upload_starts(self, layout->sample_start, layout->most_rings + 1, self->sample_start_there));
    SP_TRY(upload_starts(self, self->order_start, layout->most_rings + 1, self->order_start_there));
    SP_TRY(upload_angles(self, layout));
    SP_TRY(upload_circles(self, layout));
done:
    return status;
}

static void point_to_arrays(sp_device_polar_tables *self, const sp_polar_layout *layout)
{
    self->by.orders = layout->ring_orders;
    self->by.sample_start = layout->sample_start;
    self->by.order_start = self->order_start;
    self->by.circle_start = self->circle_start;
    self->by.pixel_first = self->pixel_first;
    self->by.pixel_end = self->pixel_end;
    self->by.start = self->start;
    self->by.there = (sp_device_polar_arrays){.base = self->base,
                                              .gain = self->gain,
                                              .sample_start = self->sample_start_there,
                                              .order_start = self->order_start_there,
                                              .inner = self->inner,
                                              .weight = self->weight,
                                              .angle = self->angle,
                                              .circle = self->circle,
                                              .source = self->source_there,
                                              .start = self->start_there,
                                              .turn = self->turn_there,
                                              .s = self->s};
}

sp_status sp_device_polar_tables_new(const sp_device *device, const sp_polar *polar, sp_device_polar_tables **tables)
{
    const sp_polar_layout layout = sp_polar_layout_of(polar);
    sp_status status = SP_OK;
    sp_device_polar_tables *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->device = device;
    self->polar = polar;
    self->most = sp_device_polar_limits_of(polar);
    SP_TRY(make_arrays(self, &layout));
    SP_TRY(upload_constants(self, &layout));
    point_to_arrays(self, &layout);
    *tables = self;
    self = NULL;
done:
    sp_device_polar_tables_free(self);
    return status;
}

void sp_device_polar_tables_free(sp_device_polar_tables *tables)
{
    if (!tables) {
        return;
    }
    void *const there[] = {tables->base,       tables->gain,        tables->sample_start_there,
                           tables->inner,      tables->weight,      tables->order_start_there,
                           tables->angle,      tables->circle,      tables->source_there,
                           tables->turn_there, tables->start_there, tables->s};

    for (size_t i = 0; i < sizeof there / sizeof *there; i++) {
        tables->device->kernels->release(tables->device, there[i]);
    }
    sp_array_free(tables->order_start);
    sp_array_free(tables->circle_start);
    sp_array_free(tables->pixel_first);
    sp_array_free(tables->pixel_end);
    sp_array_free(tables->start);
    sp_array_free(tables->source);
    sp_array_free(tables->turn);
    sp_array_free(tables);
}

/* ---- one search ---- */

/* The pixels that reach each ring; one of no weight where there is none, so that a product with it is defined. */
static void find_pixels(sp_device_polar_tables *self, const sp_polar_layout *layout)
{
    self->by.weights = 0;
    for (ptrdiff_t k = 0; k < layout->rings; k++) {
        self->pixel_first[k] = layout->pixels;
        self->pixel_end[k] = 0;
    }
    for (ptrdiff_t p = 0; p < layout->pixels; p++) {
        for (ptrdiff_t i = layout->inner[p]; i < layout->inner[p] + SP_POLAR_TAPS; i++) {
            const ptrdiff_t k = i < 0 ? -i - 1 : i;

            self->pixel_first[k] = smaller(self->pixel_first[k], p);
            self->pixel_end[k] = p + 1;
        }
    }
    for (ptrdiff_t k = 0; k < layout->rings; k++) {
        if (self->pixel_end[k] == 0) {
            self->pixel_first[k] = 0;
            self->pixel_end[k] = 1;
        }
        const ptrdiff_t weights = 2 * layout->ring_orders[k] * (self->pixel_end[k] - self->pixel_first[k]);

        self->by.weights = weights > self->by.weights ? weights : self->by.weights;
    }
}

/* Places of order m, on all rings that have it, from place `to` on; returns the next one. */
static ptrdiff_t place_order(const sp_device_polar_tables *self, ptrdiff_t m, bool mirrored, ptrdiff_t to)
{
    for (ptrdiff_t k = 0; k < self->by.rings; k++) {
        if (m < self->by.orders[k]) {
            const int32_t coefficient = (int32_t)(self->order_start[k] + m);

            self->source[to++] = mirrored ? -2 - coefficient : coefficient;
        }
    }
    return to;
}

/* Orders m and m' give the same turns of the grid if m - m' or m + m' (conjugate) is a multiple of its angles: sorts
 * coefficients by the frequency of the grid that they belong to. */
static void lay_out_row(sp_device_polar_tables *self)
{
    const ptrdiff_t angles = self->by.angles, orders = self->by.orders[self->by.rings - 1];
    ptrdiff_t to = 0;

    self->by.frequencies = smaller(angles / 2 + 1, orders);
    for (ptrdiff_t j = 0; j < self->by.frequencies; j++) {
        self->start[j] = 2 * to;
        for (ptrdiff_t m = j; m < orders; m += angles) {
            to = place_order(self, m, false, to);
        }
        for (ptrdiff_t m = angles - j; j > 0 && 2 * j != angles && m < orders; m += angles) {
            to = place_order(self, m, true, to);
        }
        while (2 * to % GROUP != 0) {
            self->source[to++] = -1;
        }
    }
    self->start[self->by.frequencies] = self->by.row = 2 * to;
}

/* turn[j] = cos, sin(2 pi j a / angles), 0 beyond the last angle. */
static void fill_turns(const sp_device_polar_tables *self)
{
    const ptrdiff_t angles = self->by.angles, row = sp_device_polar_fill(angles, 4);

    for (ptrdiff_t i = 0; i < 2 * self->by.frequencies * row; i++) {
        const ptrdiff_t a = i % row, j = i / row / 2;
        const double x = 2.0 * M_PI * (double)(j * a % angles) / (double)angles;

        self->turn[i] = a >= angles ? 0.0f : (float)(i / row % 2 == 0 ? cos(x) : sin(x));
    }
}

static sp_status upload_search(const sp_device_polar_tables *self, const sp_polar_layout *layout)
{
    const sp_device *device = self->device;
    const size_t samples = (size_t)self->by.samples, row = (size_t)sp_device_polar_fill(self->by.angles, 4);
    sp_status status = SP_OK;

    SP_TRY(device->kernels->upload(device, self->source, (size_t)self->by.row / 2 * sizeof *self->source,
                                   self->source_there));
    SP_TRY(upload_starts(self, self->start, self->by.frequencies + 1, self->start_there));
    SP_TRY(device->kernels->upload(device, self->turn, 2 * (size_t)self->by.frequencies * row * sizeof *self->turn,
                                   self->turn_there));
    for (int i = 0; i < 3; i++) {
        SP_TRY(
            device->kernels->upload(device, layout->s[i], samples * sizeof *self->s, self->s + i * self->by.samples));
    }
done:
    return status;
}

sp_status sp_device_polar_tables_begin(sp_device_polar_tables *tables)
{
    const sp_polar_layout layout = sp_polar_layout_of(tables->polar);
    sp_device_polar *by = &tables->by;

    by->pixels = layout.pixels;
    by->rings = layout.rings;
    by->angles = layout.grid->angles;
    by->samples = layout.sample_start[layout.rings];
    by->coefficients = tables->order_start[layout.rings];
    by->dispersion = layout.dispersion;
    find_pixels(tables, &layout);
    lay_out_row(tables);
    fill_turns(tables);
    return upload_search(tables, &layout);
}
