/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/polar.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdint.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "phases/polar_kernels.h"
#include "phases/polar_layout.h"
#include "phases/shortlist.h"

enum {
    TAPS = SP_POLAR_TAPS,
    TILE = SP_POLAR_MAX_WIDTH, /* directions whose features are made at a time: a multiple of every kernel's width */
    IMAGES = 30,               /* compared at a time: a multiple of every kernel's images */
    BATCH = 8,                 /* images transformed at a time by one thread */
    FEW_ORDERS = 6,            /* beyond the band: kept on every ring */
    FEW_SAMPLES = 16,          /* beyond twice the orders: taken on every ring */
};

/* The intensity needs 2 rings per speckle (1 / diameter), and 2 pi s D orders on a ring; its logarithm is rougher. */
static const double RINGS = 6.0;   /* per speckle */
static const double ORDERS = 1.8;  /* kept on a ring, of 2 pi s D */
static const double SAMPLES = 2.2; /* on a ring, per order */
static const double WINDOW = 7.0;  /* shape of the Kaiser window of the interpolation: error 4e-4 at twice the rings */

/* What all images and directions have in common; and, from sp_polar_begin() on, what one search has. */
struct sp_polar {
    sp_polar_input input;
    const sp_polar_kernels *kernels;
    double curvature; /* [m] 1 / radius of the sphere that the pixels lie on */
    double step;      /* [1/m] between rings; ring k at (k + 1/2) step */
    ptrdiff_t rings, orders;
    ptrdiff_t *ring_orders;  /* [rings] orders kept */
    ptrdiff_t *first;        /* [orders] innermost ring that has it */
    ptrdiff_t *offset;       /* [orders + 1] coefficient (m, first[m]) in an image's row */
    ptrdiff_t *sample_start; /* [rings + 1] first sample of each ring */
    float *s[3];             /* [samples] where the model is sampled [1/m] */
    float *turn;             /* [samples][2] cos, sin of the angle */
    float *base, *gain;      /* [rings] sp_patterns_base(); mean exposure / unit */

    int32_t *inner; /* [pixels] innermost of a pixel's rings, may be negative */
    float *weight;  /* [pixels][TAPS] */
    double *phase;  /* [pixels][2] cos, sin of the pixel's angle */
    float *share;   /* [pixels] exposure over mean exposure of that radius */

    ptrdiff_t pixels; /* compared: the first so many */
    ptrdiff_t used;   /* rings that they reach */
    float dispersion;
    const sp_rotation_grid *grid;
    float *grid_turn;  /* [SP_POLAR_ANGLES][2] cos, sin */
    sp_polar_run *run; /* [orders] sorted by frequency of the grid's angles */
    ptrdiff_t *runs;   /* [SP_POLAR_ANGLES] first run of each frequency */
    ptrdiff_t *place;  /* [orders] of ring 0 in a tile of features, in units of [2][width] */
    float *exposed;    /* [kernel's images][offset[orders]][2] of the shares, in the first row */
    float *scratch;    /* [sp_polar_scratch()] for these */
};

/* Some images of some patterns, transformed. */
struct sp_polar_images {
    const sp_polar *polar;
    const sp_patterns *patterns;
    ptrdiff_t room;     /* images that there is room for: a multiple of IMAGES */
    float *coefficient; /* [room][offset[orders]][2] */
    ptrdiff_t *number;  /* [count] of those that are there, rising */
    ptrdiff_t count;
    ptrdiff_t pixels; /* that are in the coefficients */
};

static ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b)
{
    return a > b ? a : b;
}

static ptrdiff_t row_floats(const sp_polar *self)
{
    return 2 * self->offset[self->orders];
}

/* ---- geometry ---- */

bool sp_polar_fits(const sp_patterns *patterns, ptrdiff_t pixels, double *curvature)
{
    const double tolerance = 0.1 * patterns->shell_width;
    double product = 0.0, square = 0.0;

    for (ptrdiff_t p = 0; p < pixels; p++) { /* |s|^2 + 2 s_z / curvature = 0 */
        const double power = (double)patterns->radius[p] * patterns->radius[p];

        product -= 2.0 * (double)patterns->s[2][p] * power;
        square += power * power;
    }
    *curvature = square > 0.0 ? product / square : 0.0;
    for (ptrdiff_t p = 0; p < pixels; p++) {
        const double power = (double)patterns->radius[p] * patterns->radius[p];

        if (!(fabs((double)patterns->s[2][p] + 0.5 * *curvature * power) < tolerance)) {
            return false;
        }
    }
    return true;
}

/* Orders kept at radius s. */
static ptrdiff_t orders_at(double s, double diameter)
{
    return (ptrdiff_t)ceil(ORDERS * 2.0 * M_PI * s * diameter) + FEW_ORDERS;
}

double sp_polar_floats(double s_max, double diameter)
{
    const double rings = RINGS * s_max * diameter + 0.5 * TAPS;

    return 2.0 * rings * (0.5 * (double)orders_at(s_max, diameter) + FEW_ORDERS);
}

static double radius_of(const sp_polar *self, ptrdiff_t ring)
{
    return ((double)ring + 0.5) * self->step;
}

static ptrdiff_t innermost_ring(const sp_polar *self, double radius)
{
    return (ptrdiff_t)floor(radius / self->step - 0.5) - TAPS / 2 + 1;
}

/* Rings that pixels up to the last of so many reach. */
static ptrdiff_t rings_of(const sp_polar *self, ptrdiff_t pixels)
{
    return self->inner[pixels - 1] + TAPS;
}

static void count_rings(sp_polar *self)
{
    const double outermost = self->input.patterns->radius[self->input.stride - 1];

    self->step = 1.0 / (RINGS * self->input.diameter);
    self->rings = innermost_ring(self, outermost) + TAPS;
    self->orders = orders_at(radius_of(self, self->rings - 1), self->input.diameter);
}

static void lay_out_orders(sp_polar *self)
{
    for (ptrdiff_t k = 0; k < self->rings; k++) {
        const ptrdiff_t orders = orders_at(radius_of(self, k), self->input.diameter);
        const ptrdiff_t samples = 4 * ((ptrdiff_t)(SAMPLES * (double)orders) / 4) + FEW_SAMPLES;

        for (ptrdiff_t m = k > 0 ? self->ring_orders[k - 1] : 0; m < orders; m++) {
            self->first[m] = k;
        }
        self->ring_orders[k] = orders;
        self->sample_start[k + 1] = self->sample_start[k] + samples;
    }
    for (ptrdiff_t m = 0; m < self->orders; m++) {
        self->offset[m + 1] = self->offset[m] + self->rings - self->first[m];
    }
}

static void make_turns(sp_polar *self)
{
    for (ptrdiff_t k = 0; k < self->rings; k++) {
        const ptrdiff_t start = self->sample_start[k], count = self->sample_start[k + 1] - start;

        for (ptrdiff_t l = 0; l < count; l++) {
            const double angle = 2.0 * M_PI * (double)l / (double)count;

            self->turn[2 * (start + l)] = (float)cos(angle);
            self->turn[2 * (start + l) + 1] = (float)sin(angle);
        }
    }
}

/* Where the model is sampled for the first `rings` rings. Rings beyond its reach [1/m] are nothing but taps of the last
 * pixels: they take its values at the reach. */
static void place_samples(sp_polar *self, ptrdiff_t rings, double reach)
{
    for (ptrdiff_t k = 0; k < rings; k++) {
        const double radius = fmin(radius_of(self, k), reach);
        const double along = -0.5 * self->curvature * radius * radius;
        const double across = sqrt(fmax(radius * radius - along * along, 0.0));

        for (ptrdiff_t i = self->sample_start[k]; i < self->sample_start[k + 1]; i++) {
            self->s[0][i] = (float)(across * self->turn[2 * i]);
            self->s[1][i] = (float)(across * self->turn[2 * i + 1]);
            self->s[2][i] = (float)along;
        }
    }
}

/* exposure  out  [shells] mean over the pixels of a shell */
static void average_exposure(const sp_patterns *patterns, double *exposure)
{
    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        double sum = 0.0;

        for (ptrdiff_t p = patterns->shell_start[k]; p < patterns->shell_start[k + 1]; p++) {
            sum += patterns->exposure[p];
        }
        exposure[k] = sum / (double)larger(patterns->shell_start[k + 1] - patterns->shell_start[k], 1);
    }
}

/* Modified Bessel function of the first kind, order 0: its power series. */
static double bessel_i0(double x)
{
    double sum = 1.0, term = 1.0;

    for (int k = 1; term > 1e-12 * sum; k++) {
        term *= 0.25 * x * x / ((double)k * k);
        sum += term;
    }
    return sum;
}

/* Weight of a ring at a distance [rings]: sinc in a Kaiser window. */
static double interpolation(double distance)
{
    const double u = 2.0 * distance / TAPS, x = M_PI * distance;

    if (fabs(u) >= 1.0) {
        return 0.0;
    }
    return (fabs(x) < 1e-9 ? 1.0 : sin(x) / x) * bessel_i0(WINDOW * sqrt(1.0 - u * u)) / bessel_i0(WINDOW);
}

static void place_pixels(sp_polar *self, const double *exposure)
{
    const sp_patterns *patterns = self->input.patterns;

    for (ptrdiff_t p = 0; p < self->input.stride; p++) {
        const double radius = patterns->radius[p], angle = atan2((double)patterns->s[1][p], patterns->s[0][p]);

        self->inner[p] = (int32_t)innermost_ring(self, radius);
        for (int t = 0; t < TAPS; t++) {
            self->weight[p * TAPS + t] = (float)interpolation(radius / self->step - 0.5 - (double)(self->inner[p] + t));
        }
        self->phase[2 * p] = cos(angle);
        self->phase[2 * p + 1] = sin(angle);
        self->share[p] = (float)((double)patterns->exposure[p] / sp_patterns_along(patterns, exposure, radius));
    }
}

static sp_status fill_tables(sp_polar *self)
{
    const sp_patterns *patterns = self->input.patterns;
    sp_status status = SP_OK;
    double *exposure = NULL; /* [shells] */

    SP_TRY(SP_ARRAY(exposure, patterns->shells));
    average_exposure(patterns, exposure);
    make_turns(self);
    place_pixels(self, exposure);
    for (ptrdiff_t k = 0; k < self->rings; k++) {
        const double radius = radius_of(self, k);

        self->base[k] = (float)sp_patterns_base(patterns, self->input.floor, radius);
        self->gain[k] =
            (float)(sp_patterns_along(patterns, exposure, radius) / self->input.unit / (1.0 + self->input.floor));
    }
done:
    sp_array_free(exposure);
    return status;
}

/* ---- memory ---- */

/* For transforming BATCH images. */
static ptrdiff_t transform_floats(const sp_polar *self)
{
    return 2 * self->orders * (BATCH * self->rings + 2);
}

/* For the features of a tile: samples, losses, and those of one ring. */
static ptrdiff_t tile_floats(const sp_polar *self)
{
    const ptrdiff_t all = self->sample_start[self->rings], last = all - self->sample_start[self->rings - 1];

    return TILE * (all + row_floats(self)) + 3 * last * self->kernels->width;
}

/* For comparing IMAGES images with directions side by side; or the shares, which are fewer. */
static ptrdiff_t compare_floats(const sp_polar *self)
{
    return self->kernels->width * ((SP_POLAR_ANGLES / 2 + 1) * 2 * IMAGES + SP_POLAR_ANGLES);
}

ptrdiff_t sp_polar_scratch(const sp_polar *polar)
{
    const ptrdiff_t transform = transform_floats(polar) + BATCH * polar->input.stride;
    const ptrdiff_t most = larger(larger(transform, tile_floats(polar) + compare_floats(polar)), compare_floats(polar));

    return (most + 15) / 16 * 16; /* whole cache lines */
}

static sp_status make_rings(sp_polar *self)
{
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self->ring_orders, self->rings));
    SP_TRY(SP_ARRAY(self->first, self->orders));
    SP_TRY(SP_ARRAY(self->offset, self->orders + 1));
    SP_TRY(SP_ARRAY(self->sample_start, self->rings + 1));
    lay_out_orders(self);
    const ptrdiff_t samples = self->sample_start[self->rings];

    for (int i = 0; i < 3; i++) {
        SP_TRY(SP_ARRAY(self->s[i], samples));
    }
    SP_TRY(SP_ARRAY(self->turn, 2 * samples));
    SP_TRY(SP_ARRAY(self->base, self->rings));
    SP_TRY(SP_ARRAY(self->gain, self->rings));
    SP_TRY(SP_ARRAY(self->inner, self->input.stride));
    SP_TRY(SP_ARRAY(self->weight, self->input.stride * TAPS));
    SP_TRY(SP_ARRAY(self->phase, 2 * self->input.stride));
    SP_TRY(SP_ARRAY(self->share, self->input.stride));
done:
    return status;
}

/* Tiles that are made, then compared, at a time: enough for all threads, few enough to stay in a cache. */
static ptrdiff_t tiles_at_once(int threads)
{
    return 2 * (ptrdiff_t)threads;
}

/* Images that are held at a time. */
static ptrdiff_t room_for(ptrdiff_t images, double bytes_each, double budget)
{
    const ptrdiff_t groups = (images + IMAGES - 1) / IMAGES;
    const ptrdiff_t most = (ptrdiff_t)fmax(floor(budget / bytes_each / IMAGES), 1.0);

    return IMAGES * (groups < most ? groups : most);
}

double sp_polar_bytes(double s_max, double diameter, ptrdiff_t images, ptrdiff_t pixels, double budget, int threads)
{
    const double row = sp_polar_floats(s_max, diameter), held = (double)room_for(images, 4.0 * row, budget) + 6.0;
    const double rings = RINGS * s_max * diameter + 0.5 * TAPS, orders = (double)orders_at(s_max, diameter);
    const double samples = rings * (0.5 * SAMPLES * (orders + FEW_ORDERS) + FEW_SAMPLES);
    const double comparison = SP_POLAR_MAX_WIDTH * (double)(IMAGES + 1) * SP_POLAR_ANGLES;
    const double transform = 2.0 * orders * (BATCH * rings + 2.0) + BATCH * (double)pixels;
    const double scratch = fmax(transform, TILE * (row + samples) + comparison);
    const double tile = TILE * (row + SP_POLAR_ANGLES);

    return 4.0 * (held * row + 5.0 * samples + tiles_at_once(threads) * tile + (threads + 1) * scratch +
                  (TAPS + 6.0) * (double)pixels);
}

static sp_status make_workspace(sp_polar *self)
{
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self->exposed, self->kernels->images * row_floats(self)));
    SP_TRY(SP_ARRAY(self->grid_turn, 2 * SP_POLAR_ANGLES));
    SP_TRY(SP_ARRAY(self->run, self->orders));
    SP_TRY(SP_ARRAY(self->runs, SP_POLAR_ANGLES));
    SP_TRY(SP_ARRAY(self->place, self->orders));
    SP_TRY(SP_ARRAY(self->scratch, sp_polar_scratch(self)));
done:
    return status;
}

sp_status sp_polar_new(const sp_polar_input *input, sp_polar **polar)
{
    sp_status status = SP_OK;
    sp_polar *self = NULL;
    double curvature = 0.0;

    SP_REQUIRE(sp_polar_fits(input->patterns, input->stride, &curvature), SP_ERR_USAGE,
               "the pixels lie neither on a sphere nor on a plane: turning an image about the beam changes its shape");
    SP_TRY(SP_ARRAY(self, 1));
    self->input = *input;
    self->curvature = curvature;
    self->kernels = sp_polar_kernels_for(input->isa);
    count_rings(self);
    SP_TRY(make_rings(self));
    SP_TRY(fill_tables(self));
    SP_TRY(make_workspace(self));
    *polar = self;
    self = NULL;
done:
    sp_polar_free(self);
    return status;
}

void sp_polar_free(sp_polar *polar)
{
    if (!polar) {
        return;
    }
    for (int i = 0; i < 3; i++) {
        sp_array_free(polar->s[i]);
    }
    sp_array_free(polar->ring_orders);
    sp_array_free(polar->first);
    sp_array_free(polar->offset);
    sp_array_free(polar->sample_start);
    sp_array_free(polar->turn);
    sp_array_free(polar->base);
    sp_array_free(polar->gain);
    sp_array_free(polar->inner);
    sp_array_free(polar->weight);
    sp_array_free(polar->phase);
    sp_array_free(polar->share);
    sp_array_free(polar->exposed);
    sp_array_free(polar->grid_turn);
    sp_array_free(polar->run);
    sp_array_free(polar->runs);
    sp_array_free(polar->place);
    sp_array_free(polar->scratch);
    sp_array_free(polar);
}

sp_polar_layout sp_polar_layout_of(const sp_polar *polar)
{
    return (sp_polar_layout){.most_pixels = polar->input.stride,
                             .most_rings = polar->rings,
                             .ring_orders = polar->ring_orders,
                             .sample_start = polar->sample_start,
                             .base = polar->base,
                             .gain = polar->gain,
                             .inner = polar->inner,
                             .weight = polar->weight,
                             .phase = polar->phase,
                             .share = polar->share,
                             .pixels = polar->pixels,
                             .rings = polar->used,
                             .s = {polar->s[0], polar->s[1], polar->s[2]},
                             .dispersion = polar->dispersion,
                             .grid = polar->grid};
}

/* ---- images ---- */

/* Coefficients of `count` images between their rows and [count][rings][orders][2], where pixels are added. */
static void move_rows(const sp_polar *self, float *rows, ptrdiff_t count, float *sums, bool back)
{
    for (ptrdiff_t n = 0; n < count; n++) {
        for (ptrdiff_t m = 0; m < self->orders; m++) {
            float *row = rows + n * row_floats(self) + 2 * (self->offset[m] - self->first[m]);

            for (ptrdiff_t k = self->first[m]; k < self->rings; k++) {
                float *sum = sums + 2 * ((n * self->rings + k) * self->orders + m);
                float *from = back ? sum : row + 2 * k, *to = back ? row + 2 * k : sum;

                to[0] = from[0];
                to[1] = from[1];
            }
        }
    }
}

/* Adds pixels first .. last-1 of `count` images [count][stride] to their rows. A ring of negative radius is the one
 * opposite, half a turn on. */
static void transform(const sp_polar *self, const float *data, ptrdiff_t stride, ptrdiff_t count, ptrdiff_t first,
                      ptrdiff_t last, float *scratch, float *rows)
{
    const ptrdiff_t plane = 2 * self->rings * self->orders;
    float *sums = scratch, *power = sums + BATCH * plane, *turned = power + 2 * self->orders;

    memset(sums, 0, (size_t)(count * plane) * sizeof *sums);
    move_rows(self, rows, count, sums, false);
    for (ptrdiff_t p = first; p < last; p++) {
        const ptrdiff_t inner = self->inner[p], orders = self->ring_orders[inner + TAPS - 1];
        const float *phase[TAPS];
        ptrdiff_t ring[TAPS];

        self->kernels->powers(self->phase[2 * p], self->phase[2 * p + 1], orders, power, turned);
        for (int t = 0; t < TAPS; t++) {
            phase[t] = inner + t < 0 ? turned : power;
            ring[t] = 2 * self->orders * (inner + t < 0 ? -(inner + t) - 1 : inner + t);
        }
        for (ptrdiff_t n = 0; n < count; n++) {
            float *to[TAPS];

            if (data[n * stride + p] == 0.0f) {
                continue;
            }
            for (int t = 0; t < TAPS; t++) {
                to[t] = sums + n * plane + ring[t];
            }
            self->kernels->spread(data[n * stride + p], self->weight + p * TAPS, phase, 2 * orders, to);
        }
    }
    move_rows(self, rows, count, sums, true);
}

sp_status sp_polar_images_new(const sp_polar *polar, const sp_patterns *patterns, ptrdiff_t room,
                              sp_polar_images **images)
{
    sp_status status = SP_OK;
    sp_polar_images *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->polar = polar;
    self->patterns = patterns;
    self->room = (room + IMAGES - 1) / IMAGES * IMAGES;
    SP_TRY(SP_ARRAY(self->coefficient, self->room * row_floats(polar)));
    SP_TRY(SP_ARRAY(self->number, self->room));
    *images = self;
    self = NULL;
done:
    sp_polar_images_free(self);
    return status;
}

void sp_polar_images_free(sp_polar_images *images)
{
    if (images) {
        sp_array_free(images->coefficient);
        sp_array_free(images->number);
        sp_array_free(images);
    }
}

/* Which images there are, and whether what was kept of them is of use: else it begins anew. */
static void begin_images(sp_polar_images *self, ptrdiff_t first, ptrdiff_t count, sp_selection selection)
{
    bool same = self->polar->pixels >= self->pixels;
    ptrdiff_t taken = 0;

    for (ptrdiff_t n = first; n < first + count; n++) {
        if (sp_is_selected(&selection, n)) {
            same = same && taken < self->count && self->number[taken] == n;
            self->number[taken++] = n;
        }
    }
    if (!same || taken != self->count) {
        memset(self->coefficient, 0, (size_t)(self->room * row_floats(self->polar)) * sizeof *self->coefficient);
        self->pixels = 0;
    }
    self->count = taken;
}

/* Images number n .. n + BATCH - 1, as far as there are: adds their pixels that are new. */
static void transform_images(const sp_polar_images *self, ptrdiff_t n, float *scratch)
{
    const sp_polar *polar = self->polar;
    const ptrdiff_t stride = polar->input.stride, count = self->count - n < BATCH ? self->count - n : BATCH;
    float *data = scratch + transform_floats(polar);

    for (ptrdiff_t i = 0; i < count; i++) {
        sp_pattern_reader reader = sp_patterns_open(self->patterns, self->number[n + i]);

        sp_patterns_read(&reader, polar->pixels, (float)(1.0 / polar->input.unit), data + i * stride);
    }
    transform(polar, data, stride, count, self->pixels, polar->pixels, scratch,
              self->coefficient + n * row_floats(polar));
}

void sp_polar_take(sp_polar_images *images, ptrdiff_t first, ptrdiff_t count, sp_selection selection, float *scratch)
{
    begin_images(images, first, count, selection);
    for (ptrdiff_t n = 0; n < images->count && images->pixels < images->polar->pixels; n += BATCH) {
        transform_images(images, n, scratch);
    }
    images->pixels = images->polar->pixels;
}

/* The shares of the pixels, as if they were an image. */
static void take_shares(sp_polar *self)
{
    memset(self->exposed, 0, (size_t)row_floats(self) * sizeof *self->exposed);
    transform(self, self->share, self->input.stride, 1, 0, self->pixels, self->scratch, self->exposed);
}

/* ---- features of directions ---- */

/* Orders m and m' give the same turns of the grid if m - m' or m + m' (conjugate) is a multiple of its angles. Sorts
 * the orders that the first `rings` rings have by the frequency of the grid that they belong to. */
static void sort_runs(sp_polar *self, ptrdiff_t angles, ptrdiff_t rings)
{
    const ptrdiff_t orders = self->ring_orders[rings - 1];
    ptrdiff_t run = 0, place = 0;

    for (ptrdiff_t j = 0; j <= angles / 2; j++) {
        self->runs[j] = run;
        for (int mirrored = 0; mirrored < 2; mirrored++) {
            for (ptrdiff_t m = mirrored ? angles - j : j; m < orders; m += angles) {
                if (mirrored && m % angles == j) { /* frequency 0, and half a turn's */
                    break;
                }
                self->run[run++] = (sp_polar_run){self->offset[m], rings - self->first[m], mirrored};
                self->place[m] = place - self->first[m];
                place += rings - self->first[m];
            }
        }
    }
    self->runs[angles / 2 + 1] = run;
    for (ptrdiff_t a = 0; a < angles; a++) {
        self->grid_turn[2 * a] = (float)cos(2.0 * M_PI * (double)a / (double)angles);
        self->grid_turn[2 * a + 1] = (float)sin(2.0 * M_PI * (double)a / (double)angles);
    }
}

void sp_polar_begin(sp_polar *polar, ptrdiff_t pixels, double dispersion, const sp_rotation_grid *grid, double reach)
{
    assert(grid->angles <= SP_POLAR_ANGLES && pixels > 0 && pixels <= polar->input.stride);
    polar->pixels = pixels;
    polar->used = rings_of(polar, pixels);
    polar->dispersion = (float)dispersion;
    polar->grid = grid;
    take_shares(polar);
    place_samples(polar, polar->used, reach);
    sort_runs(polar, grid->angles, polar->used);
}

ptrdiff_t sp_polar_tiles(const sp_polar *polar)
{
    return (polar->grid->directions + TILE - 1) / TILE;
}

ptrdiff_t sp_polar_tile_floats(const sp_polar *polar)
{
    return TILE * (row_floats(polar) + SP_POLAR_ANGLES);
}

static ptrdiff_t directions_of(const sp_polar *self, ptrdiff_t tile)
{
    const ptrdiff_t left = self->grid->directions - tile * TILE;

    return left < TILE ? left : TILE;
}

/* What a tile is made of. */
typedef struct tile_parts {
    float *feature;   /* [TILE / width][offset[orders]][2][width] */
    float *bias;      /* [TILE / width][SP_POLAR_ANGLES][width] */
    float *intensity; /* [TILE][samples], for a while */
    float *loss;      /* like the features, for a while */
    float *scratch;
} tile_parts;

static tile_parts parts_of(const sp_polar *self, float *tile, float *scratch)
{
    const ptrdiff_t all = self->sample_start[self->rings];

    return (tile_parts){.feature = tile,
                        .bias = tile + TILE * row_floats(self),
                        .intensity = scratch,
                        .loss = scratch + TILE * all,
                        .scratch = scratch + TILE * (all + row_floats(self))};
}

/* One ring of `width` of `count` directions, from number `at` on. */
static void transform_ring(const sp_polar *self, const tile_parts *t, ptrdiff_t count, ptrdiff_t at, ptrdiff_t ring)
{
    const ptrdiff_t width = self->kernels->width, start = self->sample_start[ring];
    const ptrdiff_t samples = self->sample_start[ring + 1] - start, all = self->sample_start[self->rings];
    float *value = t->scratch, *feature = value + samples * width, *loss = feature + samples * width;
    const ptrdiff_t to = at * row_floats(self) + 2 * ring * width;

    for (ptrdiff_t lane = 0; lane < width; lane++) { /* lanes beyond the last direction repeat it */
        const ptrdiff_t direction = at + lane < count ? at + lane : count - 1;
        const float *from = t->intensity + direction * all + start;

        for (ptrdiff_t l = 0; l < samples; l++) {
            value[l * width + lane] = from[l];
        }
    }
    self->kernels->features(value, samples * width, self->base[ring], self->gain[ring], self->dispersion, feature,
                            loss);
    self->kernels->ring(feature, samples, self->turn + 2 * start, self->ring_orders[ring], self->place,
                        t->feature + to);
    self->kernels->ring(loss, samples, self->turn + 2 * start, self->ring_orders[ring], self->place, t->loss + to);
}

/* All frequencies of the angle for some rows of images: a multiple of what the kernels take at a time.
 *   half  out  [images][angles / 2 + 1][2][width] */
static void correlate(const sp_polar *self, const float *feature, const float *rows, ptrdiff_t images, float *half)
{
    const ptrdiff_t width = self->kernels->width, angles = self->grid->angles, each = 2 * width * (angles / 2 + 1);

    for (ptrdiff_t j = 0; j <= angles / 2; j++) {
        const sp_polar_run *run = self->run + self->runs[j];
        const ptrdiff_t runs = self->runs[j + 1] - self->runs[j];

        for (ptrdiff_t n = 0; n < images; n += self->kernels->images) {
            self->kernels->product(run, runs, rows + n * row_floats(self), row_floats(self) / 2, feature,
                                   half + n * each + 2 * j * width, each);
        }
        for (ptrdiff_t i = 0; i < runs; i++) {
            feature += 2 * width * run[i].count;
        }
    }
}

/* bias = -r sum_p share_p ln(1 + m_p / r), for the directions from number `at` on. */
static void make_bias(const sp_polar *self, const tile_parts *t, ptrdiff_t at)
{
    const ptrdiff_t width = self->kernels->width, angles = self->grid->angles;
    float *bias = t->bias + at * SP_POLAR_ANGLES;

    correlate(self, t->loss + at * row_floats(self), self->exposed, self->kernels->images, t->scratch);
    memset(bias, 0, (size_t)(angles * width) * sizeof *bias);
    self->kernels->angles(t->scratch, angles, self->grid_turn, bias, 0.0f, INFINITY, bias);
    for (ptrdiff_t i = 0; i < angles * width; i++) {
        bias[i] *= -self->dispersion;
    }
}

void sp_polar_make_tile(const sp_polar *polar, const sp_slicer *slicer, ptrdiff_t tile, float *scratch, float *features)
{
    const ptrdiff_t width = polar->kernels->width, count = directions_of(polar, tile);
    const ptrdiff_t samples = polar->sample_start[polar->used], all = polar->sample_start[polar->rings];
    const tile_parts t = parts_of(polar, features, scratch);

    for (ptrdiff_t d = 0; d < count; d++) {
        sp_slicer_cut(slicer, polar->grid->q[(tile * TILE + d) * polar->grid->angles], polar->s, samples,
                      t.intensity + d * all);
    }
    for (ptrdiff_t at = 0; at < count; at += width) {
        for (ptrdiff_t ring = 0; ring < polar->used; ring++) {
            transform_ring(polar, &t, count, at, ring);
        }
        make_bias(polar, &t, at);
    }
}

/* ---- search ---- */

/* Images n .. n + IMAGES - 1, as far as there are, with `width` directions of a tile, from number `at` on. */
static void compare(const sp_polar_images *self, ptrdiff_t tile, const float *features, ptrdiff_t at, ptrdiff_t n,
                    float *scratch, const sp_shortlists *out)
{
    const sp_polar *polar = self->polar;
    const ptrdiff_t width = polar->kernels->width, angles = polar->grid->angles, each = 2 * width * (angles / 2 + 1);
    const ptrdiff_t left = directions_of(polar, tile) - at, lanes = left < width ? left : width;
    const ptrdiff_t last = n + IMAGES < self->count ? n + IMAGES : self->count;
    const float *bias = features + TILE * row_floats(polar) + at * SP_POLAR_ANGLES;
    float *half = scratch, *value = half + IMAGES * each;

    const ptrdiff_t together = polar->kernels->images, rows = (last - n + together - 1) / together * together;

    correlate(polar, features + at * row_floats(polar), self->coefficient + n * row_floats(polar), rows, half);
    for (ptrdiff_t i = n; i < last; i++) {
        const ptrdiff_t image = self->number[i];
        sp_candidate *best = sp_shortlist_of(out, image);

        if (!polar->kernels->angles(half + (i - n) * each, angles, polar->grid_turn, bias, self->patterns->scale[image],
                                    sp_shortlist_threshold(out, image), value)) {
            continue;
        }
        for (ptrdiff_t k = 0; k < lanes * angles; k++) { /* in the order of the grid, for the sake of ties */
            const ptrdiff_t lane = k / angles, a = k % angles;

            sp_shortlist_insert(best, out->keep,
                                (sp_candidate){.index = (int32_t)((tile * TILE + at + lane) * angles + a),
                                               .score = value[a * width + lane]});
        }
    }
}

static void compare_group(const sp_polar_images *self, ptrdiff_t tile, const float *features, ptrdiff_t n,
                          float *scratch, const sp_shortlists *out)
{
    for (ptrdiff_t at = 0; at < directions_of(self->polar, tile); at += self->polar->kernels->width) {
        compare(self, tile, features, at, n, scratch, out);
    }
}

void sp_polar_compare(const sp_polar_images *images, ptrdiff_t tile, const float *features, float *scratch,
                      const sp_shortlists *out)
{
    for (ptrdiff_t n = 0; n < images->count; n += IMAGES) {
        compare_group(images, tile, features, n, scratch, out);
    }
}

/* ---- the whole search, on all threads ---- */

struct sp_polar_search {
    sp_polar *polar;
    sp_polar_images *images;
    ptrdiff_t tiles; /* at a time */
    float *tile;     /* [tiles][sp_polar_tile_floats()] */
    float *scratch;  /* [threads][sp_polar_scratch()] */
};

static float *thread_scratch(const sp_polar_search *self)
{
    return self->scratch + omp_get_thread_num() * sp_polar_scratch(self->polar);
}

sp_status sp_polar_search_new(const sp_polar_input *input, double budget, sp_polar_search **search)
{
    const int threads = omp_get_max_threads();
    sp_status status = SP_OK;
    sp_polar_search *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    SP_TRY(sp_polar_new(input, &self->polar));
    SP_TRY(sp_polar_images_new(
        self->polar, input->patterns,
        room_for(input->patterns->images, (double)sizeof(float) * (double)row_floats(self->polar), budget),
        &self->images));
    self->tiles = tiles_at_once(threads);
    SP_TRY(SP_ARRAY(self->tile, self->tiles * sp_polar_tile_floats(self->polar)));
    SP_TRY(SP_ARRAY(self->scratch, threads * sp_polar_scratch(self->polar)));
    *search = self;
    self = NULL;
done:
    sp_polar_search_free(self);
    return status;
}

void sp_polar_search_free(sp_polar_search *search)
{
    if (!search) {
        return;
    }
    sp_polar_images_free(search->images);
    sp_polar_free(search->polar);
    sp_array_free(search->tile);
    sp_array_free(search->scratch);
    sp_array_free(search);
}

/* sp_polar_take() on all threads. */
static void take_images(const sp_polar_search *self, ptrdiff_t first, ptrdiff_t count)
{
    sp_polar_images *images = self->images;

    begin_images(images, first, count, (sp_selection){0});
    if (images->pixels == self->polar->pixels) {
        return;
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (ptrdiff_t n = 0; n < count; n += BATCH) {
        transform_images(images, n, thread_scratch(self));
    }
    images->pixels = self->polar->pixels;
}

/* The images taken against `count` tiles. */
static void search_tiles(const sp_polar_search *self, const sp_slicer *slicer, ptrdiff_t first, ptrdiff_t count,
                         const sp_shortlists *out)
{
    const ptrdiff_t each = sp_polar_tile_floats(self->polar);

#pragma omp parallel
    {
#pragma omp for schedule(dynamic, 1)
        for (ptrdiff_t t = 0; t < count; t++) {
            sp_polar_make_tile(self->polar, slicer, first + t, thread_scratch(self), self->tile + t * each);
        }
#pragma omp for schedule(dynamic, 1)
        for (ptrdiff_t n = 0; n < self->images->count; n += IMAGES) {
            for (ptrdiff_t t = 0; t < count; t++) {
                compare_group(self->images, first + t, self->tile + t * each, n, thread_scratch(self), out);
            }
        }
    }
}

void sp_polar_search_run(sp_polar_search *search, const sp_slicer *slicer, ptrdiff_t pixels, double dispersion,
                         const sp_rotation_grid *grid, const sp_shortlists *out)
{
    const ptrdiff_t images = search->images->patterns->images, room = search->images->room;

    sp_polar_begin(search->polar, pixels, dispersion, grid, sp_slicer_reach(slicer));
    sp_shortlists_clear(out, images);
    for (ptrdiff_t first = 0; first < images && !sp_interrupted(); first += room) {
        take_images(search, first, images - first < room ? images - first : room);
        for (ptrdiff_t t = 0; t < sp_polar_tiles(search->polar) && !sp_interrupted(); t += search->tiles) {
            const ptrdiff_t left = sp_polar_tiles(search->polar) - t;

            search_tiles(search, slicer, t, left < search->tiles ? left : search->tiles, out);
        }
    }
}
