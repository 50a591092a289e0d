/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/match.h"

#include <cblas.h>
#include <math.h>
#include <string.h>

#include "base/memory.h"

enum {
    ORIENTATION_TILE = 256, /* model patterns made and compared at a time */
    IMAGE_TILE = 128,       /* images compared at a time by one thread */
};

struct sp_matcher {
    const sp_patterns *patterns; /* borrowed */
    sp_match_settings settings;
    ptrdiff_t pixels, shells; /* compared: the first of the patterns, up to s_max */
    float *weight;            /* [pixels] W */
    float *feature;           /* [images][pixels] x, whitened kind: W x / |x|_W */
    float *norm;              /* [images] |x|_W, or |x|^2 */
    float *tile;              /* [ORIENTATION_TILE][pixels] model features */
    float *tile_norm;         /* [ORIENTATION_TILE] */
    double power;             /* mean over the images of sum_p x^2, Euclidean kind */
};

/* ---- features ---- */

/* Square root that makes the noise of counts even: Anscombe's for images; for the model the expectation of that over
 * Poisson counts of mean m, sqrt(m + 1/8 + 1/4 / (1 + 2 m)) within 1 % for every m. q is the value of one photon. */
static float stabilise_count(float count, float q)
{
    return sqrtf(count + 0.375f * q);
}

static float stabilise_mean(float mean, float q)
{
    return sqrtf(mean + (q > 0.0f ? q * (0.125f + 0.25f / (1.0f + 2.0f * mean / q)) : 0.0f));
}

/* Variance of stabilise_count over Poisson counts of this mean. */
static double stabilised_noise(double mean, double q)
{
    return q > 0.0 ? q * 0.25 * (1.0 - 1.0 / (1.0 + 2.0 * mean / q)) : 0.0;
}

static void remove_shell_means(const sp_patterns *patterns, ptrdiff_t shells, float *x)
{
    for (ptrdiff_t k = 0; k < shells; k++) {
        const ptrdiff_t first = patterns->shell_start[k], last = patterns->shell_start[k + 1];
        double sum = 0.0;

        for (ptrdiff_t p = first; p < last; p++) {
            sum += x[p];
        }
        const float mean = last > first ? (float)(sum / (double)(last - first)) : 0.0f;
        for (ptrdiff_t p = first; p < last; p++) {
            x[p] -= mean;
        }
    }
}

/* Model pattern -> feature, in place. Whitened: also returns the norm |y|_W. Euclidean: returns the plain |y|. */
static float model_feature(const sp_matcher *self, float *pattern)
{
    const sp_patterns *patterns = self->patterns;
    double square = 0.0;

    if (self->settings.kind == SP_MATCH_EUCLIDEAN) {
        for (ptrdiff_t p = 0; p < self->pixels; p++) {
            square += (double)pattern[p] * pattern[p];
        }
        return (float)sqrt(square);
    }
    for (ptrdiff_t p = 0; p < self->pixels; p++) {
        pattern[p] = stabilise_mean(pattern[p] * patterns->exposure[p], (float)patterns->quantum);
    }
    remove_shell_means(patterns, self->shells, pattern);
    for (ptrdiff_t p = 0; p < self->pixels; p++) {
        square += (double)self->weight[p] * pattern[p] * pattern[p];
    }
    return (float)sqrt(square);
}

static void image_feature(sp_matcher *self, ptrdiff_t image)
{
    const sp_patterns *patterns = self->patterns;
    const float *count = patterns->count + image * patterns->pixels;
    float *x = self->feature + image * self->pixels;

    for (ptrdiff_t p = 0; p < self->pixels; p++) {
        x[p] = self->settings.kind == SP_MATCH_EUCLIDEAN ? count[p] / patterns->exposure[p]
                                                         : stabilise_count(count[p], (float)patterns->quantum);
    }
    if (self->settings.kind == SP_MATCH_WHITENED) {
        remove_shell_means(patterns, self->shells, x);
    }
}

/* W of each shell from the variance of the image features and the noise expected at the shell's mean. */
static void make_weights(sp_matcher *self)
{
    const sp_patterns *patterns = self->patterns;

    for (ptrdiff_t k = 0; k < self->shells; k++) {
        const ptrdiff_t first = patterns->shell_start[k], last = patterns->shell_start[k + 1];
        double variance = 0.0, mean = 0.0;

        for (ptrdiff_t p = first; p < last; p++) {
            for (ptrdiff_t n = 0; n < patterns->images; n++) {
                const float x = self->feature[n * self->pixels + p];

                variance += (double)x * x;
            }
            mean += patterns->exposure[p] * patterns->profile[k];
        }
        variance /= fmax((double)((last - first) * patterns->images), 1.0);
        mean /= fmax((double)(last - first), 1.0);
        const double noise = stabilised_noise(mean, patterns->quantum);
        const double signal = fmax(variance - noise, 0.0);
        const double spread = noise + self->settings.whitening * signal;

        for (ptrdiff_t p = first; p < last; p++) {
            self->weight[p] = last - first > 2 && spread > 0.0 ? (float)(1.0 / sqrt(spread)) : 0.0f;
        }
    }
}

/* Features become W x / |x|_W, so that the score is one inner product and one division. */
static void weigh_features(sp_matcher *self)
{
    const sp_patterns *patterns = self->patterns;

#pragma omp parallel for schedule(static)
    for (ptrdiff_t n = 0; n < patterns->images; n++) {
        float *x = self->feature + n * self->pixels;
        double square = 0.0;

        for (ptrdiff_t p = 0; p < self->pixels; p++) {
            square += (double)self->weight[p] * x[p] * x[p];
        }
        self->norm[n] = (float)sqrt(square);
        for (ptrdiff_t p = 0; p < self->pixels; p++) {
            x[p] *= square > 0.0 ? self->weight[p] / self->norm[n] : 0.0f;
        }
    }
}

static double mean_power(const sp_matcher *self)
{
    double sum = 0.0;

    for (ptrdiff_t i = 0; i < self->patterns->images * self->pixels; i++) {
        sum += (double)self->feature[i] * self->feature[i];
    }
    return sum / (double)self->patterns->images;
}

sp_status sp_matcher_new(const sp_patterns *patterns, const sp_match_settings *settings, sp_matcher **matcher)
{
    sp_status status = SP_OK;
    sp_matcher *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->patterns = patterns;
    self->settings = *settings;
    while (self->pixels < patterns->pixels && patterns->radius[self->pixels] <= settings->s_max) {
        self->pixels++;
    }
    SP_REQUIRE(self->pixels > 0, SP_ERR_USAGE, "no pixel lies within %.4g Angstrom", 1e10 / settings->s_max);
    self->shells = patterns->shell[self->pixels - 1] + 1;
    self->pixels = patterns->shell_start[self->shells];
    SP_TRY(SP_ARRAY(self->weight, self->pixels));
    SP_TRY(SP_ARRAY(self->feature, patterns->images * self->pixels));
    SP_TRY(SP_ARRAY(self->norm, patterns->images));
    SP_TRY(SP_ARRAY(self->tile, ORIENTATION_TILE * self->pixels));
    SP_TRY(SP_ARRAY(self->tile_norm, ORIENTATION_TILE));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t n = 0; n < patterns->images; n++) {
        image_feature(self, n);
    }
    if (settings->kind == SP_MATCH_WHITENED) {
        make_weights(self);
        weigh_features(self);
    } else {
        self->power = mean_power(self);
    }
    openblas_set_num_threads(1); /* the tiles are shared out here, in an order that does not depend on the threads */
    *matcher = self;
    self = NULL;
done:
    sp_matcher_free(self);
    return status;
}

void sp_matcher_free(sp_matcher *matcher)
{
    if (!matcher) {
        return;
    }
    sp_array_free(matcher->weight);
    sp_array_free(matcher->feature);
    sp_array_free(matcher->norm);
    sp_array_free(matcher->tile);
    sp_array_free(matcher->tile_norm);
    sp_array_free(matcher);
}

/* ---- search on the grid ---- */

/* Features of `count` orientations, evenly spread over grid points first .. first + span - 1. */
static void make_tile(sp_matcher *self, const sp_slicer *slicer, const sp_rotation_grid *grid, ptrdiff_t first,
                      ptrdiff_t span, ptrdiff_t count)
{
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < count; i++) {
        float *y = self->tile + i * self->pixels;

        sp_slicer_cut(slicer, grid->q[first + i * span / count], self->patterns->s, self->pixels, y);
        self->tile_norm[i] = model_feature(self, y);
    }
}

/* Puts (index, value) into a list sorted by falling score. */
static void insert(ptrdiff_t *best, float *score, int keep, ptrdiff_t index, float value)
{
    int place = keep - 1;

    if (!(value > score[place])) {
        return;
    }
    for (; place > 0 && value > score[place - 1]; place--) {
        best[place] = best[place - 1];
        score[place] = score[place - 1];
    }
    best[place] = index;
    score[place] = value;
}

/* Scores of one tile of images against the tile of model patterns. */
static void compare_tile(const sp_matcher *self, ptrdiff_t first_image, ptrdiff_t images, ptrdiff_t first_orientation,
                         ptrdiff_t orientations, float model_scale, int keep, ptrdiff_t *best, float *score)
{
    float product[IMAGE_TILE * ORIENTATION_TILE];
    const float *x = self->feature + first_image * self->pixels;

    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)images, (int)orientations, (int)self->pixels, 1.0f, x,
                (int)self->pixels, self->tile, (int)self->pixels, 0.0f, product, ORIENTATION_TILE);
    for (ptrdiff_t i = 0; i < images; i++) {
        const ptrdiff_t n = first_image + i;

        for (ptrdiff_t o = 0; o < orientations; o++) {
            const float inner = product[i * ORIENTATION_TILE + o], norm = self->tile_norm[o];
            const float value = self->settings.kind == SP_MATCH_EUCLIDEAN
                                    ? 2.0f * model_scale * inner - model_scale * norm * model_scale * norm
                                    : (norm > 0.0f ? inner / norm : -1.0f);

            insert(best + n * keep, score + n * keep, keep, first_orientation + o, value);
        }
    }
}

/* One scale for the whole model: root of the mean power of the images over that of the model's patterns, of which a
 * tile spread over the grid is enough. A scale of each tile's own would make scores of different tiles incomparable. */
static float euclidean_scale(sp_matcher *self, const sp_slicer *slicer, const sp_rotation_grid *grid)
{
    const ptrdiff_t count = grid->count < ORIENTATION_TILE ? grid->count : ORIENTATION_TILE;
    double model = 0.0;

    make_tile(self, slicer, grid, 0, grid->count, count);
    for (ptrdiff_t o = 0; o < count; o++) {
        model += (double)self->tile_norm[o] * self->tile_norm[o] / (double)count;
    }
    return model > 0.0 ? (float)sqrt(self->power / model) : 0.0f;
}

void sp_matcher_search(sp_matcher *matcher, const sp_slicer *slicer, const sp_rotation_grid *grid, int keep,
                       ptrdiff_t *best, float *score)
{
    const ptrdiff_t images = matcher->patterns->images;

    for (ptrdiff_t i = 0; i < images * keep; i++) {
        best[i] = 0;
        score[i] = -INFINITY;
    }
    const float scale = matcher->settings.kind == SP_MATCH_EUCLIDEAN ? euclidean_scale(matcher, slicer, grid) : 1.0f;

    for (ptrdiff_t first = 0; first < grid->count; first += ORIENTATION_TILE) {
        const ptrdiff_t count = grid->count - first < ORIENTATION_TILE ? grid->count - first : ORIENTATION_TILE;

        make_tile(matcher, slicer, grid, first, count, count);
#pragma omp parallel for schedule(dynamic, 1)
        for (ptrdiff_t image = 0; image < images; image += IMAGE_TILE) {
            compare_tile(matcher, image, images - image < IMAGE_TILE ? images - image : IMAGE_TILE, first, count, scale,
                         keep, best, score);
        }
    }
}

/* ---- local refinement ---- */

/* Score of one orientation; leaves the feature of the model pattern in y, divided by its norm. */
static double score_of(const sp_matcher *self, const sp_slicer *slicer, ptrdiff_t image, sp_quat q, float *y)
{
    const float *x = self->feature + image * self->pixels;
    double sum = 0.0;

    sp_slicer_cut(slicer, q, self->patterns->s, self->pixels, y);
    const float norm = model_feature(self, y);
    const float inverse = norm > 0.0f ? 1.0f / norm : 0.0f;
    for (ptrdiff_t p = 0; p < self->pixels; p++) {
        y[p] *= inverse;
        sum += (double)x[p] * y[p];
    }
    return sum;
}

/* The turn of the molecule by the rotation vector t [rad], after q. */
static sp_quat turned(sp_quat q, const double t[3])
{
    const double angle = sqrt(t[0] * t[0] + t[1] * t[1] + t[2] * t[2]);

    return sp_quat_normalize(sp_quat_multiply(sp_quat_from_axis_angle(t, angle), q));
}

/* Solves the symmetric 3 x 3 system a t = b; false if a is (nearly) singular. */
static int solve3(double a[3][3], const double b[3], double t[3])
{
    const double c0 = a[1][1] * a[2][2] - a[1][2] * a[2][1], c1 = a[1][2] * a[2][0] - a[1][0] * a[2][2],
                 c2 = a[1][0] * a[2][1] - a[1][1] * a[2][0];
    const double determinant = a[0][0] * c0 + a[0][1] * c1 + a[0][2] * c2;

    if (!(fabs(determinant) > 1e-9 * a[0][0] * a[1][1] * a[2][2])) {
        return 0;
    }
    t[0] =
        (b[0] * c0 + b[1] * (a[0][2] * a[2][1] - a[0][1] * a[2][2]) + b[2] * (a[0][1] * a[1][2] - a[0][2] * a[1][1])) /
        determinant;
    t[1] =
        (b[0] * c1 + b[1] * (a[0][0] * a[2][2] - a[0][2] * a[2][0]) + b[2] * (a[0][2] * a[1][0] - a[0][0] * a[1][2])) /
        determinant;
    t[2] =
        (b[0] * c2 + b[1] * (a[0][1] * a[2][0] - a[0][0] * a[2][1]) + b[2] * (a[0][0] * a[1][1] - a[0][1] * a[1][0])) /
        determinant;
    return 1;
}

/* One Gauss-Newton step of  sum W (x - y(t))^2  over the rotation vector t, derivatives by central differences.
 *   y  in: feature at q (unit norm);  side  scratch [6][pixels] */
static int gauss_newton(const sp_matcher *self, const sp_slicer *slicer, ptrdiff_t image, sp_quat q, double delta,
                        const float *y, float *side, double t[3])
{
    const float *x = self->feature + image * self->pixels; /* already times W */
    double a[3][3] = {{0.0}}, b[3] = {0.0};

    for (int i = 0; i < 3; i++) {
        for (int sign = 0; sign < 2; sign++) {
            double turn[3] = {0.0};

            turn[i] = sign ? -delta : delta;
            score_of(self, slicer, image, turned(q, turn), side + (2 * i + sign) * self->pixels);
        }
    }
    for (ptrdiff_t p = 0; p < self->pixels; p++) {
        double d[3];

        for (int i = 0; i < 3; i++) {
            d[i] = (side[2 * i * self->pixels + p] - side[(2 * i + 1) * self->pixels + p]) / (2.0 * delta);
            b[i] += d[i] * ((double)x[p] - (double)self->weight[p] * y[p]);
        }
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j <= i; j++) {
                a[i][j] += (double)self->weight[p] * d[i] * d[j];
            }
        }
    }
    a[0][1] = a[1][0];
    a[0][2] = a[2][0];
    a[1][2] = a[2][1];
    return solve3(a, b, t);
}

/* Climbs from q; returns the score reached and leaves the orientation in *q. */
static double climb(const sp_matcher *self, const sp_slicer *slicer, ptrdiff_t image, int steps, double delta,
                    float *scratch, sp_quat *q)
{
    float *y = scratch, *side = scratch + self->pixels;
    double score = score_of(self, slicer, image, *q, y);

    for (int step = 0; step < steps; step++) {
        double t[3];

        if (!gauss_newton(self, slicer, image, *q, delta, y, side, t)) {
            break;
        }
        const double length = sqrt(t[0] * t[0] + t[1] * t[1] + t[2] * t[2]);
        const double limit = 3.0 * delta; /* the linearisation is not trusted beyond */

        for (int i = 0; i < 3 && length > limit; i++) {
            t[i] *= limit / length;
        }
        const sp_quat next = turned(*q, t);
        const double improved = score_of(self, slicer, image, next, side);

        if (improved <= score) {
            break;
        }
        *q = next;
        score = improved;
        memcpy(y, side, (size_t)self->pixels * sizeof *y);
    }
    return score;
}

void sp_matcher_refine(sp_matcher *matcher, const sp_slicer *slicer, const sp_quat *candidates, int count, int steps,
                       double delta, sp_quat *orientation, float *score)
{
    const sp_quat half_turn = {0.0, 0.0, 0.0, 1.0}; /* about the beam */

#pragma omp parallel
    {
        float *scratch = NULL;

        if (sp_array_new(7 * matcher->pixels, sizeof *scratch, "scratch", (void **)&scratch) == SP_OK) {
#pragma omp for schedule(dynamic, 8)
            for (ptrdiff_t n = 0; n < matcher->patterns->images; n++) {
                score[n] = -INFINITY;
                for (int c = 0; c < 2 * count; c++) {
                    const sp_quat from = candidates[n * count + c / 2];
                    sp_quat q = c % 2 ? sp_quat_multiply(half_turn, from) : from;
                    const double reached = climb(matcher, slicer, n, steps, delta, scratch, &q);

                    if (reached > score[n]) {
                        score[n] = (float)reached;
                        orientation[n] = q;
                    }
                }
            }
        }
        sp_array_free(scratch);
    }
}
