/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/patterns.h"

#include <math.h>
#include <omp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/sums.h"

/* Where the photons' own variance is more than so many times the square of the mean, an error of some per cent in the
 * quantum is as large as the contrast. */
static const double MOST_NOISE = 3.0;

/* Telling a background. */
static const double UNLIKE_WILSON = 0.3; /* relative error of what a protein's speckle has in place of Wilson's */
static const double SMOOTH = 0.1;        /* of the radius: over which a background stays about the same */
static const double DEVIATIONS = 3.0;    /* that it is surely larger than nothing */
static const double LEAST_SMOOTH = 0.4;  /* share of some shell: less may be speckle unlike Wilson's */
static const double MOST_SMOOTH = 0.98;  /* share of a shell: some of it is the particle's */
static const double ROUNDING = 1e-9;
static const double LEAST_SIGNAL = 0.1; /* share of an image that is the particle's, however dim it is */

enum { STREAM_NULL = 0x4011 }; /* name of the random stream */

/* A bin while the list is made: position and exposure summed over its good pixels. */
typedef struct bin {
    double sum[3];
    double exposure;
    double radius;
    ptrdiff_t good;
    ptrdiff_t place; /* before sorting */
} bin;

/* Which bin (before selection) a pixel belongs to. */
static ptrdiff_t bin_of_pixel(const sp_pixels *pixels, ptrdiff_t size, ptrdiff_t pixel)
{
    const ptrdiff_t rows = (pixels->height + size - 1) / size, columns = (pixels->width + size - 1) / size;
    const ptrdiff_t panel = pixel / (pixels->height * pixels->width);
    const ptrdiff_t row = pixel / pixels->width % pixels->height, column = pixel % pixels->width;

    return (panel * rows + row / size) * columns + column / size;
}

/* Mean position of the bin, put back onto the Ewald sphere |s + z/lambda| = 1/lambda. */
static void place_bin(const sp_pixels *pixels, bin *b)
{
    for (int i = 0; i < 3; i++) {
        b->sum[i] /= (double)b->good;
    }
    if (pixels->wavelength > 0.0) {
        const double k = 1.0 / pixels->wavelength;
        const double length = sqrt(b->sum[0] * b->sum[0] + b->sum[1] * b->sum[1] + (b->sum[2] + k) * (b->sum[2] + k));

        b->sum[0] *= k / length;
        b->sum[1] *= k / length;
        b->sum[2] = (b->sum[2] + k) * k / length - k;
    }
    b->radius = sqrt(b->sum[0] * b->sum[0] + b->sum[1] * b->sum[1] + b->sum[2] * b->sum[2]);
}

static int compare_bins(const void *a, const void *b)
{
    const bin *x = a, *y = b;

    if (x->radius != y->radius) {
        return x->radius < y->radius ? -1 : 1;
    }
    return (x->place > y->place) - (x->place < y->place);
}

/* Sums pixels into bins, then keeps those within s_min..s_max, sorted by radius; returns how many. */
static ptrdiff_t collect_bins(const sp_pixels *pixels, ptrdiff_t size, double s_min, double s_max, bin *bins,
                              ptrdiff_t room)
{
    const ptrdiff_t total = pixels->panels * pixels->height * pixels->width;
    ptrdiff_t kept = 0;

    for (ptrdiff_t p = 0; p < total; p++) {
        bin *b = &bins[bin_of_pixel(pixels, size, p)];

        if (!pixels->bad[p]) {
            for (int i = 0; i < 3; i++) {
                b->sum[i] += pixels->position[3 * p + i];
            }
            b->exposure += pixels->correction[p];
            b->good++;
        }
    }
    for (ptrdiff_t i = 0; i < room; i++) {
        bin b = bins[i];

        if (b.good == 0) {
            continue;
        }
        b.place = i;
        place_bin(pixels, &b);
        if (b.radius >= s_min && b.radius <= s_max) {
            bins[kept++] = b;
        }
    }
    qsort(bins, (size_t)kept, sizeof *bins, compare_bins);
    return kept;
}

/* Typical distance of neighbouring pixels [1/m]: the mean over pixels and their neighbours in a row; in a column, where
 * panels are one pixel wide. */
double sp_pixels_step(const sp_pixels *pixels)
{
    const ptrdiff_t line = pixels->width > 1 ? pixels->width : pixels->height;
    const ptrdiff_t total = pixels->panels * pixels->height * pixels->width;
    double sum = 0.0;
    ptrdiff_t pairs = 0;

    for (ptrdiff_t p = 0; p + 1 < total; p++) {
        if ((p + 1) % line != 0) {
            const double *a = pixels->position + 3 * p, *b = a + 3;

            sum += sqrt((a[0] - b[0]) * (a[0] - b[0]) + (a[1] - b[1]) * (a[1] - b[1]) + (a[2] - b[2]) * (a[2] - b[2]));
            pairs++;
        }
    }
    return pairs > 0 ? sum / (double)pairs : 0.0;
}

/* Fills the per-bin arrays from the sorted list. */
static void fill_geometry(const sp_pixels *pixels, ptrdiff_t size, const bin *bins, const ptrdiff_t *bin_index,
                          sp_patterns *self)
{
    double exposure = 0.0;
    int32_t shell = 0;

    for (ptrdiff_t p = 0; p < self->pixels; p++) {
        exposure += bins[p].exposure / (double)self->pixels;
    }
    for (ptrdiff_t p = 0; p < self->pixels; p++) {
        for (int i = 0; i < 3; i++) {
            self->s[i][p] = (float)bins[p].sum[i];
        }
        self->radius[p] = (float)bins[p].radius;
        self->exposure[p] = (float)(bins[p].exposure / exposure);
        self->shell[p] = (int32_t)(bins[p].radius / self->shell_width);
        while (shell <= self->shell[p]) {
            self->shell_start[shell++] = p;
        }
    }
    while (shell <= self->shells) {
        self->shell_start[shell++] = self->pixels;
    }
    for (ptrdiff_t p = 0; p < self->source_count; p++) {
        self->source[p] = pixels->bad[p] ? -1 : bin_index[bin_of_pixel(pixels, size, p)];
    }
}

static sp_status make_room(sp_patterns *self, ptrdiff_t images, bool whole)
{
    sp_status status = SP_OK;

    self->images = images;
    if (whole) {
        SP_TRY(sp_photons_new(images, &self->photons));
    } else {
        SP_TRY(SP_ARRAY(self->count, images * self->pixels));
    }
    SP_TRY(SP_ARRAY(self->row, omp_get_max_threads() * self->pixels));
    SP_TRY(SP_ARRAY(self->scale, images));
done:
    return status;
}

sp_status sp_patterns_init(const sp_pixels *pixels, ptrdiff_t images, ptrdiff_t size, double s_min, double s_max,
                           bool whole, sp_patterns *patterns)
{
    const ptrdiff_t room = pixels->panels * ((pixels->height + size - 1) / size) * ((pixels->width + size - 1) / size);
    sp_status status = SP_OK;
    sp_patterns self = {.images = images};
    bin *bins = NULL;
    ptrdiff_t *bin_index = NULL; /* bin before selection -> bin after, or -1 */

    SP_TRY(SP_ARRAY(bins, room));
    SP_TRY(SP_ARRAY(bin_index, room));
    self.pixels = collect_bins(pixels, size, s_min, s_max, bins, room);
    SP_REQUIRE(self.pixels > 0, SP_ERR_INPUT, "no good pixel lies between resolutions %.4g and %.4g Angstrom",
               s_min > 0.0 ? 1e10 / s_min : INFINITY, 1e10 / s_max);
    self.shell_width = sp_pixels_step(pixels) * (double)size;
    SP_REQUIRE(self.shell_width > 0.0, SP_ERR_INPUT, "no two pixels are neighbours: all panels are single pixels");
    self.shells = (ptrdiff_t)(bins[self.pixels - 1].radius / self.shell_width) + 1;
    self.source_count = pixels->panels * pixels->height * pixels->width;
    for (ptrdiff_t i = 0; i < room; i++) {
        bin_index[i] = -1;
    }
    for (ptrdiff_t p = 0; p < self.pixels; p++) {
        bin_index[bins[p].place] = p;
    }
    for (int i = 0; i < 3; i++) {
        SP_TRY(SP_ARRAY(self.s[i], self.pixels));
    }
    SP_TRY(SP_ARRAY(self.radius, self.pixels));
    SP_TRY(SP_ARRAY(self.exposure, self.pixels));
    SP_TRY(SP_ARRAY(self.shell, self.pixels));
    SP_TRY(SP_ARRAY(self.shell_start, self.shells + 1));
    SP_TRY(SP_ARRAY(self.source, self.source_count));
    SP_TRY(make_room(&self, images, whole));
    SP_TRY(SP_ARRAY(self.profile, self.shells));
    SP_TRY(SP_ARRAY(self.smooth, self.shells));
    SP_TRY(SP_ARRAY(self.background, self.pixels));
    fill_geometry(pixels, size, bins, bin_index, &self);
    *patterns = self;
    self = (sp_patterns){0};
done:
    sp_array_free(bins);
    sp_array_free(bin_index);
    sp_patterns_clear(&self);
    return status;
}

ptrdiff_t sp_patterns_within(const sp_patterns *patterns, double s_max)
{
    ptrdiff_t count = 0;

    while (count < patterns->pixels && patterns->radius[count] <= s_max * 1.0001) {
        count++;
    }
    return count;
}

double sp_patterns_along(const sp_patterns *patterns, const double *value, double radius)
{
    const double at = radius / patterns->shell_width - 0.5;
    const ptrdiff_t *start = patterns->shell_start;
    ptrdiff_t below = (ptrdiff_t)floor(fmin(at, (double)(patterns->shells - 1)));
    ptrdiff_t above = below + 1;

    while (below >= 0 && start[below + 1] == start[below]) {
        below--;
    }
    while (above < patterns->shells && start[above + 1] == start[above]) {
        above++;
    }
    if (below < 0 || above >= patterns->shells) {
        return value[below < 0 ? above : below];
    }
    return value[below] + (value[above] - value[below]) * (at - (double)below) / (double)(above - below);
}

double sp_patterns_base(const sp_patterns *patterns, double floor, double radius)
{
    const double smooth = sp_patterns_along(patterns, patterns->smooth, radius);

    return floor * (sp_patterns_along(patterns, patterns->profile, radius) - smooth) + (1.0 + floor) * smooth;
}

sp_status sp_patterns_init_part(const sp_patterns *layout, ptrdiff_t images, bool whole, sp_patterns *part)
{
    sp_patterns self = *layout;
    sp_status status = SP_OK;

    self.part = true;
    self.count = NULL;
    self.photons = NULL;
    self.row = NULL;
    self.scale = NULL;
    SP_TRY(make_room(&self, images, whole));
    *part = self;
    self = (sp_patterns){0};
done:
    sp_patterns_clear(&self);
    return status;
}

static void free_layout(sp_patterns *patterns)
{
    for (int i = 0; i < 3; i++) {
        sp_array_free(patterns->s[i]);
    }
    sp_array_free(patterns->radius);
    sp_array_free(patterns->exposure);
    sp_array_free(patterns->shell);
    sp_array_free(patterns->shell_start);
    sp_array_free(patterns->source);
    sp_array_free(patterns->profile);
    sp_array_free(patterns->smooth);
    sp_array_free(patterns->background);
}

void sp_patterns_clear(sp_patterns *patterns)
{
    if (!patterns->part) {
        free_layout(patterns);
    }
    sp_array_free(patterns->count);
    sp_photons_free(patterns->photons);
    sp_array_free(patterns->row);
    sp_array_free(patterns->scale);
    *patterns = (sp_patterns){0};
}

/* Where the bins of an image go: to its place, or to be packed. */
static float *room_for(sp_patterns *patterns, ptrdiff_t image)
{
    return patterns->count ? patterns->count + image * patterns->pixels
                           : patterns->row + omp_get_thread_num() * patterns->pixels;
}

static void sum_into_bins(const sp_patterns *patterns, const float *value, float *count)
{
    memset(count, 0, (size_t)patterns->pixels * sizeof *count);
    for (ptrdiff_t p = 0; p < patterns->source_count; p++) {
        if (patterns->source[p] >= 0) {
            count[patterns->source[p]] += value[p];
        }
    }
}

static sp_status pack(sp_patterns *patterns, ptrdiff_t image, const float *count)
{
    sp_status status = SP_OK;

    if (patterns->photons) {
        SP_REQUIRE(sp_photons_are_whole(count, patterns->pixels), SP_ERR_INPUT,
                   "image %td holds values that are no photon counts", image);
        SP_TRY(sp_photons_put(patterns->photons, image, count, patterns->pixels));
    }
done:
    return status;
}

sp_status sp_patterns_add(sp_patterns *patterns, ptrdiff_t image, const float *value)
{
    float *count = room_for(patterns, image);

    sum_into_bins(patterns, value, count);
    return pack(patterns, image, count);
}

/* Fisher and Yates' shuffle of the bins of a shell. */
static void shuffle(sp_rng *rng, ptrdiff_t first, ptrdiff_t end, float *rate)
{
    for (ptrdiff_t last = end - 1; last > first; last--) {
        const ptrdiff_t other = first + (ptrdiff_t)(sp_rng_uniform(rng) * (double)(last - first + 1));
        const float kept = rate[last];

        rate[last] = rate[other];
        rate[other] = kept;
    }
}

sp_status sp_patterns_add_null(sp_patterns *patterns, ptrdiff_t image, const float *value, uint64_t seed,
                               uint64_t number)
{
    sp_rng rng = sp_rng_stream(seed, STREAM_NULL, number);
    float *count = room_for(patterns, image);

    sum_into_bins(patterns, value, count);
    const bool whole = sp_photons_are_whole(count, patterns->pixels);

    for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
        count[p] /= patterns->exposure[p];
    }
    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        shuffle(&rng, patterns->shell_start[k], patterns->shell_start[k + 1], count);
    }
    for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
        count[p] *= patterns->exposure[p];
        if (whole) {
            count[p] = floorf(count[p] + (float)sp_rng_uniform(&rng));
        }
    }
    return pack(patterns, image, count);
}

double sp_patterns_bytes(const sp_patterns *patterns)
{
    return patterns->count ? 4.0 * (double)patterns->images * (double)patterns->pixels
                           : (double)sp_photons_bytes(patterns->photons);
}

sp_pattern_reader sp_patterns_open(const sp_patterns *patterns, ptrdiff_t image)
{
    return patterns->count ? (sp_pattern_reader){.count = patterns->count + image * patterns->pixels}
                           : (sp_pattern_reader){.photons = sp_photons_open(patterns->photons, image)};
}

void sp_patterns_read(sp_pattern_reader *reader, ptrdiff_t count, float factor, float *value)
{
    if (!reader->count) {
        sp_photons_read(&reader->photons, count, factor, value);
        return;
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        value[i] = factor * reader->count[i];
    }
    reader->count += count;
}

void sp_patterns_add_up(sp_patterns *patterns, double *shell, sp_pattern_totals *totals)
{
    for (ptrdiff_t n = 0; n < patterns->images; n++) {
        sp_pattern_reader reader = sp_patterns_open(patterns, n);
        double sum = 0.0;

        sp_patterns_read(&reader, patterns->pixels, 1.0f, patterns->row);
        for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
            const double value = patterns->row[p];

            sum += value;
            shell[patterns->shell[p]] += value;
        }
        patterns->scale[n] = (float)sum;
        totals->value += sum;
        totals->filled += sum > 0.0;
    }
}

void sp_patterns_add_profile(const sp_patterns *patterns, sp_selection selection, float *row, double *sums)
{
    for (ptrdiff_t n = 0; n < patterns->images; n++) {
        if (!(patterns->scale[n] > 0.0f) || !sp_is_selected(&selection, n)) {
            continue;
        }
        sp_pattern_reader reader = sp_patterns_open(patterns, n);

        sp_patterns_read(&reader, patterns->pixels, 1.0f, row);
        for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
            sums[patterns->shell[p]] += (double)row[p] - (double)patterns->background[p];
        }
        sums[patterns->shells] += (double)patterns->scale[n];
    }
}

void sp_patterns_profile_of(const sp_patterns *patterns, const double *sums, double *profile)
{
    const double scales = sums[patterns->shells];

    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        const ptrdiff_t first = patterns->shell_start[k];
        const double exposure = sp_sum(patterns->exposure + first, patterns->shell_start[k + 1] - first);

        profile[k] = scales * exposure > 0.0 ? fmax(sums[k] / (scales * exposure), 0.0) : 0.0;
    }
}

void sp_patterns_add_contrast(sp_patterns *patterns, double *sums)
{
    const ptrdiff_t shells = patterns->shells;

    for (ptrdiff_t n = 0; n < patterns->images; n++) {
        sp_pattern_reader reader = sp_patterns_open(patterns, n);

        sp_patterns_read(&reader, patterns->pixels, 1.0f, patterns->row);
        for (ptrdiff_t k = 0; k < shells; k++) {
            const ptrdiff_t first = patterns->shell_start[k], bins = patterns->shell_start[k + 1] - first;
            double sum = 0.0, square = 0.0, noise = 0.0;

            for (ptrdiff_t p = first; p < first + bins; p++) {
                const double exposure = patterns->exposure[p], rate = patterns->row[p] / exposure;

                sum += rate;
                square += rate * rate;
                noise += rate / exposure;
            }
            if (bins > 1) {
                const double mean = sum / (double)bins, part = (double)bins / (double)(bins - 1);

                sums[k] += part * (square / (double)bins - mean * mean);
                sums[shells + k] += noise / (double)bins;
                sums[2 * shells + k] += mean * mean;
            }
        }
    }
}

double sp_patterns_background(const sp_patterns *patterns, const double *sums, double quantum, double s_min)
{
    const double *variance = sums, *noise = sums + patterns->shells, *square = noise + patterns->shells;
    double smooth = 0.0, all = 0.0;

    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        const ptrdiff_t bins = patterns->shell_start[k + 1] - patterns->shell_start[k];
        const double photons = patterns->profile[k] * (double)bins;

        if (((double)k + 0.5) * patterns->shell_width > s_min && square[k] > 0.0 &&
            quantum * noise[k] < MOST_NOISE * square[k]) {
            const double contrast = (variance[k] - quantum * noise[k]) / square[k];

            smooth += photons * (1.0 - sqrt(fmin(fmax(contrast, 0.0), 1.0)));
            all += photons;
        }
    }
    return all > 0.0 ? smooth / all : 0.0;
}

/* The mean of one shell, parted. */
typedef struct parted {
    double smooth; /* what is not speckle */
    double weight; /* 1 / variance of that; 0: nothing is known */
} parted;

static parted part_shell(const sp_patterns *patterns, const double *sums, double images, double quantum, ptrdiff_t k)
{
    const ptrdiff_t shells = patterns->shells;
    const double bins = (double)(patterns->shell_start[k + 1] - patterns->shell_start[k]);
    const double mean = patterns->profile[k], noise = quantum * sums[shells + k] / images;

    if (bins < 2.0 || !(mean > 0.0)) {
        return (parted){0};
    }
    /* about the mean of all images, not of each: few speckles share a shell */
    const double variance = (sums[k] + sums[2 * shells + k]) / images - mean * mean - noise * (1.0 + 1.0 / bins);
    const double speckle = sqrt(fmax(variance, 0.0)), doubt = UNLIKE_WILSON * speckle;
    const double photons = noise > 0.0 ? mean * mean / noise : 1.0; /* of a bin; variance of a Poisson variance: */
    const double error = noise * sqrt((2.0 + 1.0 / photons) / (bins * images));

    return (parted){mean - fmin(speckle, mean), 1.0 / (doubt * doubt + error + ROUNDING * mean * mean)};
}

/* Mean of the shells beyond s_min around shell k.   certain  receives the lower bound */
static double smooth_around(const sp_patterns *patterns, const parted *shell, double s_min, ptrdiff_t k,
                            double *certain)
{
    const double width = SMOOTH * (double)patterns->shells;
    double sum = 0.0, weights = 0.0, squares = 0.0;

    for (ptrdiff_t j = 0; j < patterns->shells; j++) {
        if (((double)j + 0.5) * patterns->shell_width > s_min) {
            const double away = (double)(j - k) / width, share = exp(-0.5 * away * away);

            sum += share * shell[j].weight * shell[j].smooth;
            weights += share * shell[j].weight;
            squares += share * share * shell[j].weight;
        }
    }
    *certain = weights > 0.0 ? (sum - DEVIATIONS * sqrt(squares)) / weights : 0.0;
    return weights > 0.0 ? sum / weights : 0.0;
}

sp_status sp_patterns_find_background(const sp_patterns *patterns, const double *sums, double images, double quantum,
                                      double s_min, double *smooth)
{
    double most = 0.0;
    parted *shell = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(shell, patterns->shells));
    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        shell[k] = part_shell(patterns, sums, images, quantum, k);
    }
    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        const double mean = patterns->profile[k];
        double certain;

        smooth[k] = fmin(smooth_around(patterns, shell, s_min, k, &certain), MOST_SMOOTH * mean);
        most = fmax(most, mean > 0.0 ? certain / mean : 0.0);
    }
    if (most < LEAST_SMOOTH) {
        memset(smooth, 0, (size_t)patterns->shells * sizeof *smooth);
    }
done:
    sp_array_free(shell);
    return status;
}

void sp_patterns_set_background(sp_patterns *patterns, const double *smooth)
{
    memcpy(patterns->smooth, smooth, (size_t)patterns->shells * sizeof *smooth);
    for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
        const double rate = sp_patterns_along(patterns, smooth, patterns->radius[p]);

        patterns->background[p] = (float)(rate * patterns->exposure[p]);
    }
}

void sp_patterns_set_profile(sp_patterns *patterns, const double *shell, const sp_pattern_totals *totals)
{
    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        double exposure = 0.0;

        for (ptrdiff_t p = patterns->shell_start[k]; p < patterns->shell_start[k + 1]; p++) {
            exposure += (double)patterns->exposure[p] * totals->filled;
        }
        patterns->profile[k] = exposure > 0.0 ? shell[k] / exposure : 0.0;
    }
}

void sp_patterns_set_scales(sp_patterns *patterns, const sp_pattern_totals *totals)
{
    const double smooth = sp_sum(patterns->background, patterns->pixels);

    for (ptrdiff_t n = 0; n < patterns->images; n++) {
        const double all = patterns->scale[n], particle = fmax(all - smooth, LEAST_SIGNAL * all);

        patterns->scale[n] = (float)(particle * totals->filled / (totals->value - totals->filled * smooth));
    }
}

sp_status sp_patterns_measure(sp_patterns *patterns)
{
    sp_pattern_totals totals = {0};
    sp_status status = SP_OK;
    double *shell = NULL; /* [shells] */

    SP_TRY(SP_ARRAY(shell, patterns->shells));
    sp_patterns_add_up(patterns, shell, &totals);
    SP_REQUIRE(totals.filled > 0.0, SP_ERR_INPUT, "all images are empty: there is not one photon in any good pixel");
    sp_patterns_set_profile(patterns, shell, &totals);
    sp_patterns_set_scales(patterns, &totals);
done:
    sp_array_free(shell);
    return status;
}

/* ---- noise ---- */

enum { CLASSES = 24 }; /* of brightness, by the radius of the block */

typedef struct brightness_class {
    double value, square, difference;
    double blocks;
} brightness_class;

/* Adds the 2 x 2 blocks of one image to the classes; class = radius in equal steps up to s_max. */
static void add_blocks(const sp_pixels *pixels, const float *value, double s_max, brightness_class *classes)
{
    const ptrdiff_t w = pixels->width;

    for (ptrdiff_t panel = 0; panel < pixels->panels; panel++) {
        for (ptrdiff_t row = 0; row + 1 < pixels->height; row += 2) {
            for (ptrdiff_t column = 0; column + 1 < w; column += 2) {
                const ptrdiff_t a = (panel * pixels->height + row) * w + column;
                const double *s = pixels->position + 3 * a;
                const double radius = sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]);
                brightness_class *c = &classes[(int)(radius / s_max * (CLASSES - 1))];
                const double difference = 0.5 * (value[a] - value[a + 1] - value[a + w] + value[a + w + 1]);
                const double mean = 0.25 * (value[a] + value[a + 1] + value[a + w] + value[a + w + 1]);

                if (pixels->bad[a] || pixels->bad[a + 1] || pixels->bad[a + w] || pixels->bad[a + w + 1]) {
                    continue;
                }
                c->value += mean;
                c->square += mean * mean;
                c->difference += difference * difference;
                c->blocks += 1.0;
            }
        }
    }
}

double sp_patterns_quantum(const sp_pixels *pixels, ptrdiff_t images, const float *value)
{
    const ptrdiff_t total = pixels->panels * pixels->height * pixels->width;
    brightness_class classes[CLASSES] = {{0}};
    double s_max = 0.0;
    double a11 = 0.0, a12 = 0.0, a22 = 0.0, b1 = 0.0, b2 = 0.0;

    for (ptrdiff_t p = 0; p < total; p++) {
        const double *s = pixels->position + 3 * p;

        s_max = fmax(s_max, sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]));
    }
    for (ptrdiff_t n = 0; n < images; n++) {
        add_blocks(pixels, value + n * total, s_max, classes);
    }
    for (int c = 0; c < CLASSES; c++) { /* least squares, relative errors: difference = quantum value + k square */
        const brightness_class *k = &classes[c];

        if (k->difference > 0.0) {
            const double x1 = k->value / k->difference, x2 = k->square / k->difference;

            a11 += x1 * x1;
            a12 += x1 * x2;
            a22 += x2 * x2;
            b1 += x1;
            b2 += x2;
        }
    }
    const double determinant = a11 * a22 - a12 * a12;
    const double quantum =
        determinant > 1e-12 * a11 * a22 ? (b1 * a22 - b2 * a12) / determinant : (a11 > 0.0 ? b1 / a11 : 0.0);
    return quantum > 0.0 ? quantum : 0.0;
}
