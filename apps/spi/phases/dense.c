/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/dense.h"

#include <math.h>
#include <omp.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "num/sums.h"
#include "phases/dense_kernels.h"
#include "phases/shortlist.h"

enum {
    ORIENTATIONS = 256, /* whose patterns are made at a time: a multiple of every kernel's width */
    IMAGES = 480,       /* compared at a time by one thread, at most */
    PACKED = 120,       /* of them, side by side in the second-level cache: a multiple of every kernel's images */
    CHUNK = 256,        /* pixels of them: features of one width fit the first-level cache, of all the second */
    WIDEST = 32,        /* kernel */
};

struct sp_dense {
    sp_dense_input input;
    const sp_dense_kernels *kernels;
    double power;   /* mean over the images of sum_p data^2, Euclidean */
    float *tile;    /* [ORIENTATIONS / width][stride][width] features */
    double *part;   /* [chunks][ORIENTATIONS] of the bias */
    float *bias;    /* [ORIENTATIONS] -r sum_p ln(1 + m_p / r), or the sum of squares */
    float *product; /* [threads][IMAGES][ORIENTATIONS] */
    float *image;   /* [threads][PACKED][CHUNK] of the images compared */
    float *scratch; /* [threads][WIDEST + 1][CHUNK] */
};

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

/* The next pixels of an image, from number `first` on: counts [photons], or intensities. */
static void read_pixels(const sp_dense *self, sp_pattern_reader *reader, ptrdiff_t first, ptrdiff_t count, float *k)
{
    sp_patterns_read(reader, count, self->input.euclidean ? 1.0f : (float)(1.0 / self->input.unit), k);
    for (ptrdiff_t i = 0; i < count && self->input.euclidean; i++) {
        k[i] /= self->input.patterns->exposure[first + i];
    }
}

/* Sum of squares of one image. */
static double power_of(const sp_dense *self, ptrdiff_t image)
{
    sp_pattern_reader reader = sp_patterns_open(self->input.patterns, image);
    double power = 0.0;

    for (ptrdiff_t p = 0; p < self->input.stride; p += CHUNK) {
        const ptrdiff_t count = smaller(CHUNK, self->input.stride - p);

        read_pixels(self, &reader, p, count, self->image);
        power += sp_dot(self->image, self->image, count);
    }
    return power;
}

sp_status sp_dense_new(const sp_dense_input *input, sp_dense **dense)
{
    const ptrdiff_t threads = omp_get_max_threads();
    sp_status status = SP_OK;
    sp_dense *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->input = *input;
    self->kernels = sp_dense_kernels_for(input->isa);
    SP_TRY(SP_ARRAY(self->tile, ORIENTATIONS * input->stride));
    SP_TRY(SP_ARRAY(self->part, ORIENTATIONS * ((input->stride + CHUNK - 1) / CHUNK)));
    SP_TRY(SP_ARRAY(self->bias, ORIENTATIONS));
    SP_TRY(SP_ARRAY(self->product, threads * IMAGES * ORIENTATIONS));
    SP_TRY(SP_ARRAY(self->image, threads * PACKED * CHUNK));
    SP_TRY(SP_ARRAY(self->scratch, threads * (WIDEST + 1) * CHUNK));
    for (ptrdiff_t n = 0; n < input->patterns->images && input->euclidean; n++) {
        self->power += power_of(self, n) / (double)input->patterns->images;
    }
    *dense = self;
    self = NULL;
done:
    sp_dense_free(self);
    return status;
}

void sp_dense_free(sp_dense *dense)
{
    if (!dense) {
        return;
    }
    sp_array_free(dense->tile);
    sp_array_free(dense->part);
    sp_array_free(dense->bias);
    sp_array_free(dense->product);
    sp_array_free(dense->image);
    sp_array_free(dense->scratch);
    sp_array_free(dense);
}

double sp_dense_bytes(ptrdiff_t pixels, int threads)
{
    return 4.0 * ORIENTATIONS * (double)pixels +
           4.0 * threads * (IMAGES * ORIENTATIONS + PACKED * CHUNK + (WIDEST + 1) * CHUNK);
}

/* What is compared: `count` orientations, evenly spread over grid points first .. first + span - 1. */
typedef struct tile {
    const sp_rotation_grid *grid;
    ptrdiff_t first, span, count;
    ptrdiff_t pixels;
    float dispersion;
    float model_scale; /* Euclidean: one for the whole model */
} tile;

/* Pixels first .. first + count - 1 of one pattern, as a feature; returns their part of its bias. */
static double make_feature(const sp_dense *self, const sp_slicer *slicer, const tile *t, sp_quat q, ptrdiff_t first,
                           ptrdiff_t count, float *y, float *loss)
{
    float *const *s = self->input.patterns->s;

    sp_slicer_cut(slicer, q, (float *const[3]){s[0] + first, s[1] + first, s[2] + first}, count, y);
    if (self->input.euclidean) {
        return sp_dot(y, y, count);
    }
    self->kernels->features(y, self->input.base + first, self->input.expected + first, count, (float)self->input.share,
                            t->dispersion, y, loss);
    return -(double)t->dispersion * sp_sum(loss, count);
}

/* A chunk of pixels of `width` orientations from the tile's number `at` on. */
static void make_block(const sp_dense *self, const sp_slicer *slicer, const tile *t, ptrdiff_t at, ptrdiff_t chunk)
{
    const ptrdiff_t width = self->kernels->width, first = chunk * CHUNK, count = smaller(CHUNK, t->pixels - first);
    float *y = self->scratch + (ptrdiff_t)omp_get_thread_num() * (WIDEST + 1) * CHUNK, *loss = y + WIDEST * CHUNK;

    for (ptrdiff_t lane = 0; lane < width && at + lane < t->count; lane++) {
        const sp_quat q = t->grid->q[t->first + (at + lane) * t->span / t->count];

        self->part[chunk * ORIENTATIONS + at + lane] =
            make_feature(self, slicer, t, q, first, count, y + lane * count, loss);
    }
    self->kernels->interleave(y, count, self->tile + at * self->input.stride + first * width);
}

static void make_tile(sp_dense *self, const sp_slicer *slicer, const tile *t)
{
    const ptrdiff_t width = self->kernels->width, blocks = (t->count + width - 1) / width;
    const ptrdiff_t chunks = (t->pixels + CHUNK - 1) / CHUNK;

#pragma omp parallel for schedule(dynamic, 1)
    for (ptrdiff_t i = 0; i < blocks * chunks; i++) {
        make_block(self, slicer, t, i / chunks * width, i % chunks);
    }
    for (ptrdiff_t o = 0; o < t->count; o++) {
        double sum = 0.0;

        for (ptrdiff_t c = 0; c < chunks; c++) {
            sum += self->part[c * ORIENTATIONS + o];
        }
        self->bias[o] = (float)sum;
    }
}

/* Products of the images [images][CHUNK] with the features of pixels first .. first + count - 1, or that much more. */
static void multiply_chunk(const sp_dense *self, const tile *t, const float *image, ptrdiff_t images, ptrdiff_t first,
                           ptrdiff_t count, float *product)
{
    const ptrdiff_t width = self->kernels->width;

    for (ptrdiff_t at = 0; at < t->count; at += width) {
        const float *feature = self->tile + at * self->input.stride + first * width;

        for (ptrdiff_t n = 0; n < images; n += self->kernels->images) {
            self->kernels->multiply(image + n * CHUNK, CHUNK, feature, count, first > 0,
                                    product + n * ORIENTATIONS + at, ORIENTATIONS);
        }
    }
}

/* product[n][o] = sum_p image[first + n][p] tile[o][p]; what stands beyond the last image is not looked at. */
static void multiply(const sp_dense *self, const tile *t, ptrdiff_t first, ptrdiff_t images, float *product)
{
    float *image = self->image + (ptrdiff_t)omp_get_thread_num() * PACKED * CHUNK;
    sp_pattern_reader reader[IMAGES];

    for (ptrdiff_t n = 0; n < images; n++) {
        reader[n] = sp_patterns_open(self->input.patterns, first + n);
    }
    for (ptrdiff_t p = 0; p < t->pixels; p += CHUNK) {
        const ptrdiff_t count = smaller(CHUNK, t->pixels - p);

        for (ptrdiff_t n = 0; n < images; n += PACKED) {
            const ptrdiff_t packed = smaller(PACKED, images - n);

            for (ptrdiff_t i = 0; i < packed; i++) {
                read_pixels(self, &reader[n + i], p, count, image + i * CHUNK);
            }
            multiply_chunk(self, t, image, packed, p, count, product + n * ORIENTATIONS);
        }
    }
}

static void compare(const sp_dense *self, const tile *t, ptrdiff_t first, ptrdiff_t images, const sp_shortlists *out)
{
    float *product = self->product + (ptrdiff_t)omp_get_thread_num() * IMAGES * ORIENTATIONS;

    multiply(self, t, first, images, product);
    for (ptrdiff_t n = first; n < first + images; n++, product += ORIENTATIONS) {
        for (ptrdiff_t o = 0; o < t->count; o++) {
            const float value = self->input.euclidean
                                    ? t->model_scale * (2.0f * product[o] - t->model_scale * self->bias[o])
                                    : product[o] + self->input.patterns->scale[n] * self->bias[o];

            sp_shortlist_insert(sp_shortlist_of(out, n), out->keep,
                                (sp_candidate){.index = (int32_t)(t->first + o), .score = value});
        }
    }
}

/* One scale for the whole model: root of the mean power of the images over that of the model's patterns, of which a
 * tile spread over the grid is enough. A scale of each tile's own would make scores of different tiles incomparable. */
static float euclidean_scale(sp_dense *self, const sp_slicer *slicer, tile t)
{
    double model = 0.0;

    t.span = t.grid->count;
    t.count = smaller(t.grid->count, ORIENTATIONS);
    make_tile(self, slicer, &t);
    for (ptrdiff_t o = 0; o < t.count; o++) {
        model += (double)self->bias[o] / (double)t.count;
    }
    return model > 0.0 ? (float)sqrt(self->power / model) : 0.0f;
}

/* Images compared at a time by a thread: as many turns for each thread, as long as each other. */
static ptrdiff_t even_share(ptrdiff_t images)
{
    const ptrdiff_t threads = omp_get_max_threads(), turns = (images + threads * IMAGES - 1) / (threads * IMAGES);

    return (images + threads * turns - 1) / (threads * turns);
}

void sp_dense_search(sp_dense *dense, const sp_slicer *slicer, ptrdiff_t pixels, double dispersion,
                     const sp_rotation_grid *grid, const sp_shortlists *out)
{
    const ptrdiff_t images = dense->input.patterns->images, share = even_share(images);
    tile t = {.grid = grid, .pixels = pixels, .dispersion = (float)dispersion};

    if (dense->input.euclidean) {
        t.model_scale = euclidean_scale(dense, slicer, t);
    }
    sp_shortlists_clear(out, images);
    for (; t.first < grid->count && !sp_interrupted(); t.first += ORIENTATIONS) {
        t.span = t.count = smaller(ORIENTATIONS, grid->count - t.first);
        make_tile(dense, slicer, &t);
#pragma omp parallel for schedule(dynamic, 1)
        for (ptrdiff_t n = 0; n < images; n += share) {
            compare(dense, &t, n, smaller(share, images - n), out);
        }
    }
}
