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
#include "phases/shortlist.h"

enum {
    TAPS = SP_POLAR_TAPS,
    DIRECTIONS = 64,  /* whose features are made at a time: a multiple of every kernel's width */
    IMAGES = 30,      /* compared at a time by one thread: a multiple of every kernel's images */
    BATCH = 8,        /* images transformed at a time by one thread */
    FEW_ORDERS = 6,   /* beyond the band: kept on every ring */
    FEW_SAMPLES = 16, /* beyond twice the orders: taken on every ring */
};

/* The intensity needs 2 rings per speckle (1 / diameter), and 2 pi s D orders on a ring; its logarithm is rougher. */
static const double RINGS = 6.0;   /* per speckle */
static const double ORDERS = 1.8;  /* kept on a ring, of 2 pi s D */
static const double SAMPLES = 2.2; /* on a ring, per order */
static const double WINDOW = 7.0;  /* shape of the Kaiser window of the interpolation: error 4e-4 at twice the rings */

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
    float *base, *gain;      /* [rings] floor * profile; mean exposure / unit */

    int32_t *inner;     /* [pixels] innermost of a pixel's rings, may be negative */
    float *weight;      /* [pixels][TAPS] */
    double *phase;      /* [pixels][2] cos, sin of the pixel's angle */
    float *share;       /* [pixels] exposure over mean exposure of that radius */
    ptrdiff_t room;     /* images in the coefficients at a time: a multiple of IMAGES */
    float *coefficient; /* [room][offset[orders]][2] */
    float *exposed;     /* [kernel's images][offset[orders]][2] of the shares, in the first row */
    ptrdiff_t pixels;   /* in the coefficients now, of the images from number `held` on */
    ptrdiff_t held;

    float *intensity;  /* [DIRECTIONS][samples] */
    float *feature;    /* [DIRECTIONS / width][offset[orders]][2][width] */
    float *loss;       /* the same */
    float *bias;       /* [DIRECTIONS / width][SP_POLAR_ANGLES][width] */
    float *grid_turn;  /* [SP_POLAR_ANGLES][2] cos, sin */
    sp_polar_run *run; /* [orders] sorted by frequency of the grid's angles */
    ptrdiff_t *runs;   /* [SP_POLAR_ANGLES] first run of each frequency */
    ptrdiff_t *place;  /* [orders] of ring 0 in a tile of features, in units of [2][width] */
    float *scratch;    /* [threads][thread_floats] */
    ptrdiff_t thread_floats;
};

static ptrdiff_t larger(ptrdiff_t a, ptrdiff_t b)
{
    return a > b ? a : b;
}

static ptrdiff_t row_floats(const sp_polar *self)
{
    return 2 * self->offset[self->orders];
}

static float *thread_scratch(const sp_polar *self)
{
    return self->scratch + omp_get_thread_num() * self->thread_floats;
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

        self->base[k] = (float)(self->input.floor * sp_patterns_along(patterns, patterns->profile, radius));
        self->gain[k] =
            (float)(sp_patterns_along(patterns, exposure, radius) / self->input.unit / (1.0 + self->input.floor));
    }
done:
    sp_array_free(exposure);
    return status;
}

/* ---- memory ---- */

/* Of a thread, for transforming BATCH images. */
static ptrdiff_t transform_floats(const sp_polar *self)
{
    return 2 * self->orders * (BATCH * self->rings + 2);
}

/* Of a thread: what it transforms images with, and the images; or features; or what it compares with. */
static ptrdiff_t scratch_floats(const sp_polar *self)
{
    const ptrdiff_t transform = transform_floats(self) + BATCH * self->input.stride;
    const ptrdiff_t samples = self->sample_start[self->rings] - self->sample_start[self->rings - 1];
    const ptrdiff_t width = self->kernels->width;
    const ptrdiff_t compare = width * ((SP_POLAR_ANGLES / 2 + 1) * 2 * IMAGES + SP_POLAR_ANGLES);

    return (larger(larger(transform, 3 * samples * width), compare) + 15) / 16 * 16; /* whole cache lines */
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
    const double tile = DIRECTIONS * (2.0 * row + samples + SP_POLAR_ANGLES) + 5.0 * samples;
    const double transform = 2.0 * orders * (BATCH * rings + 2.0) + BATCH * (double)pixels;
    const double comparison = SP_POLAR_MAX_WIDTH * (double)(IMAGES + 1) * SP_POLAR_ANGLES;

    return 4.0 * (held * row + tile + threads * fmax(transform, comparison) + (TAPS + 6.0) * (double)pixels);
}

static sp_status make_workspace(sp_polar *self)
{
    sp_status status = SP_OK;

    self->room = room_for(self->input.patterns->images, 4.0 * (double)row_floats(self), self->input.budget);
    self->thread_floats = scratch_floats(self);
    SP_TRY(SP_ARRAY(self->coefficient, self->room * row_floats(self)));
    SP_TRY(SP_ARRAY(self->exposed, self->kernels->images * row_floats(self)));
    SP_TRY(SP_ARRAY(self->intensity, DIRECTIONS * self->sample_start[self->rings]));
    SP_TRY(SP_ARRAY(self->feature, DIRECTIONS * row_floats(self)));
    SP_TRY(SP_ARRAY(self->loss, DIRECTIONS * row_floats(self)));
    SP_TRY(SP_ARRAY(self->bias, DIRECTIONS * SP_POLAR_ANGLES));
    SP_TRY(SP_ARRAY(self->grid_turn, 2 * SP_POLAR_ANGLES));
    SP_TRY(SP_ARRAY(self->run, self->orders));
    SP_TRY(SP_ARRAY(self->runs, SP_POLAR_ANGLES));
    SP_TRY(SP_ARRAY(self->place, self->orders));
    SP_TRY(SP_ARRAY(self->scratch, omp_get_max_threads() * self->thread_floats));
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
    sp_array_free(polar->coefficient);
    sp_array_free(polar->exposed);
    sp_array_free(polar->intensity);
    sp_array_free(polar->feature);
    sp_array_free(polar->loss);
    sp_array_free(polar->bias);
    sp_array_free(polar->grid_turn);
    sp_array_free(polar->run);
    sp_array_free(polar->runs);
    sp_array_free(polar->place);
    sp_array_free(polar->scratch);
    sp_array_free(polar);
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
                      ptrdiff_t last, float *rows)
{
    const ptrdiff_t plane = 2 * self->rings * self->orders;
    float *sums = thread_scratch(self), *power = sums + BATCH * plane, *turned = power + 2 * self->orders;

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

/* Adds pixels first .. last-1 of images image .. image + count - 1, at most BATCH, to their rows. */
static void transform_images(const sp_polar *self, ptrdiff_t image, ptrdiff_t count, ptrdiff_t first, ptrdiff_t last,
                             float *rows)
{
    const ptrdiff_t stride = self->input.stride;
    float *data = thread_scratch(self) + transform_floats(self);

    for (ptrdiff_t n = 0; n < count; n++) {
        sp_pattern_reader reader = sp_patterns_open(self->input.patterns, image + n);

        sp_patterns_read(&reader, last, (float)(1.0 / self->input.unit), data + n * stride);
    }
    transform(self, data, stride, count, first, last, rows);
}

/* Images held at a time, from number `first` on. */
static ptrdiff_t held_images(const sp_polar *self, ptrdiff_t first)
{
    const ptrdiff_t left = self->input.patterns->images - first;

    return left < self->room ? left : self->room;
}

/* The coefficients become those of the images from number `first` on, of their first `pixels` pixels: where they hold
 * fewer pixels of these images the new ones are added, in the order in which all of them would be; else that begins
 * anew. */
static void take_images(sp_polar *self, ptrdiff_t first, ptrdiff_t pixels)
{
    const ptrdiff_t images = held_images(self, first), row = row_floats(self);

    if (first != self->held || pixels < self->pixels) {
        memset(self->coefficient, 0, (size_t)(self->room * row) * sizeof *self->coefficient);
        self->pixels = 0;
        self->held = first;
    }
    if (pixels == self->pixels) {
        return;
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (ptrdiff_t n = 0; n < images; n += BATCH) {
        transform_images(self, first + n, images - n < BATCH ? images - n : BATCH, self->pixels, pixels,
                         self->coefficient + n * row);
    }
    self->pixels = pixels;
}

/* The shares of the first `pixels` pixels, as if they were an image. */
static void take_shares(const sp_polar *self, ptrdiff_t pixels)
{
    memset(self->exposed, 0, (size_t)row_floats(self) * sizeof *self->exposed);
    transform(self, self->share, self->input.stride, 1, 0, pixels, self->exposed);
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

/* Directions first .. first + count - 1 of the grid: a tile. */
typedef struct tile {
    const sp_rotation_grid *grid;
    ptrdiff_t first, count;
    ptrdiff_t rings;
    float dispersion;
} tile;

/* One ring of `width` directions from the tile's number `at` on. */
static void transform_ring(const sp_polar *self, const tile *t, ptrdiff_t at, ptrdiff_t ring)
{
    const ptrdiff_t width = self->kernels->width, start = self->sample_start[ring];
    const ptrdiff_t samples = self->sample_start[ring + 1] - start, all = self->sample_start[self->rings];
    float *value = thread_scratch(self), *feature = value + samples * width, *loss = feature + samples * width;
    const ptrdiff_t to = at * row_floats(self) + 2 * ring * width;

    for (ptrdiff_t lane = 0; lane < width; lane++) { /* lanes beyond the last direction repeat it */
        const ptrdiff_t direction = at + lane < t->count ? at + lane : t->count - 1;
        const float *from = self->intensity + direction * all + start;

        for (ptrdiff_t l = 0; l < samples; l++) {
            value[l * width + lane] = from[l];
        }
    }
    self->kernels->features(value, samples * width, self->base[ring], self->gain[ring], t->dispersion, feature, loss);
    self->kernels->ring(feature, samples, self->turn + 2 * start, self->ring_orders[ring], self->place,
                        self->feature + to);
    self->kernels->ring(loss, samples, self->turn + 2 * start, self->ring_orders[ring], self->place, self->loss + to);
}

/* All frequencies of the angle for some rows of images: a multiple of what the kernels take at a time.
 *   half  out  [images][angles / 2 + 1][2][width] */
static void correlate(const sp_polar *self, const float *feature, ptrdiff_t angles, const float *rows, ptrdiff_t images,
                      float *half)
{
    const ptrdiff_t width = self->kernels->width, each = 2 * width * (angles / 2 + 1);

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
static void make_bias(const sp_polar *self, const tile *t, ptrdiff_t at)
{
    const ptrdiff_t width = self->kernels->width, angles = t->grid->angles;
    float *bias = self->bias + at * SP_POLAR_ANGLES, *half = thread_scratch(self);

    correlate(self, self->loss + at * row_floats(self), angles, self->exposed, self->kernels->images, half);
    memset(bias, 0, (size_t)(angles * width) * sizeof *bias);
    self->kernels->angles(half, angles, self->grid_turn, bias, 0.0f, INFINITY, bias);
    for (ptrdiff_t i = 0; i < angles * width; i++) {
        bias[i] *= -t->dispersion;
    }
}

static void make_tile(const sp_polar *self, const sp_slicer *slicer, const tile *t)
{
    const ptrdiff_t width = self->kernels->width, blocks = (t->count + width - 1) / width;
    const ptrdiff_t samples = self->sample_start[t->rings], all = self->sample_start[self->rings];

#pragma omp parallel
    {
#pragma omp for schedule(dynamic, 1)
        for (ptrdiff_t d = 0; d < t->count; d++) {
            sp_slicer_cut(slicer, t->grid->q[(t->first + d) * t->grid->angles], self->s, samples,
                          self->intensity + d * all);
        }
#pragma omp for schedule(dynamic, 1)
        for (ptrdiff_t i = 0; i < blocks * t->rings; i++) {
            transform_ring(self, t, i % blocks * width, t->rings - 1 - i / blocks); /* the long ones first */
        }
#pragma omp for schedule(dynamic, 1)
        for (ptrdiff_t b = 0; b < blocks; b++) {
            make_bias(self, t, b * width);
        }
    }
}

/* ---- search ---- */

typedef struct results {
    int keep;
    ptrdiff_t *best; /* [images][keep] */
    float *score;
} results;

/* Images first .. first + count - 1 of those held with `width` directions of the tile, from number `at` on. */
static void compare(const sp_polar *self, const tile *t, ptrdiff_t at, ptrdiff_t first, ptrdiff_t count,
                    const results *out)
{
    const ptrdiff_t width = self->kernels->width, angles = t->grid->angles, each = 2 * width * (angles / 2 + 1);
    const ptrdiff_t lanes = t->count - at < width ? t->count - at : width;
    float *half = thread_scratch(self), *value = half + IMAGES * each;

    correlate(self, self->feature + at * row_floats(self), angles, self->coefficient + first * row_floats(self), IMAGES,
              half);
    for (ptrdiff_t n = 0; n < count; n++) {
        const ptrdiff_t image = self->held + first + n;
        ptrdiff_t *best = out->best + image * out->keep;
        float *score = out->score + image * out->keep;

        if (!self->kernels->angles(half + n * each, angles, self->grid_turn, self->bias + at * SP_POLAR_ANGLES,
                                   self->input.patterns->scale[image], score[out->keep - 1], value)) {
            continue;
        }
        for (ptrdiff_t i = 0; i < lanes * angles; i++) { /* in the order of the grid, for the sake of ties */
            const ptrdiff_t lane = i / angles, a = i % angles;

            sp_shortlist_insert(best, score, out->keep, (t->first + at + lane) * angles + a, value[a * width + lane]);
        }
    }
}

/* The images held against the whole grid. */
static void search_held(sp_polar *self, const sp_slicer *slicer, tile t, const results *out)
{
    const ptrdiff_t images = held_images(self, self->held), directions = t.grid->directions;

    for (; t.first < directions && !sp_interrupted(); t.first += DIRECTIONS) {
        t.count = directions - t.first < DIRECTIONS ? directions - t.first : DIRECTIONS;
        make_tile(self, slicer, &t);
#pragma omp parallel for schedule(dynamic, 1)
        for (ptrdiff_t n = 0; n < images; n += IMAGES) {
            for (ptrdiff_t at = 0; at < t.count; at += self->kernels->width) {
                compare(self, &t, at, n, images - n < IMAGES ? images - n : IMAGES, out);
            }
        }
    }
}

void sp_polar_search(sp_polar *polar, const sp_slicer *slicer, ptrdiff_t pixels, double dispersion,
                     const sp_rotation_grid *grid, int keep, ptrdiff_t *best, float *score)
{
    const ptrdiff_t images = polar->input.patterns->images;
    const results out = {keep, best, score};
    const tile t = {.grid = grid, .dispersion = (float)dispersion, .rings = rings_of(polar, pixels)};

    assert(grid->angles <= SP_POLAR_ANGLES && pixels > 0 && pixels <= polar->input.stride);
    take_shares(polar, pixels);
    place_samples(polar, t.rings, sp_slicer_reach(slicer));
    sort_runs(polar, grid->angles, t.rings);
    for (ptrdiff_t i = 0; i < images * keep; i++) {
        best[i] = 0;
        score[i] = -INFINITY;
    }
    for (ptrdiff_t first = 0; first < images && !sp_interrupted(); first += polar->room) {
        take_images(polar, first, pixels);
        search_held(polar, slicer, t, &out);
    }
}
