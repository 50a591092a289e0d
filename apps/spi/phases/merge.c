/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/merge.h"

#include <complex.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "num/cg.h"
#include "num/fft.h"
#include "num/nufft.h"

enum {
    LANES = 4,   /* accumulators: as many threads can spread, and the order of sums does not depend on how many do */
    ROUND = 256, /* images that a lane adds up before it is emptied: single precision then holds 500,000 images */
};

static const double OVERSAMPLING = 1.25; /* of the spreading grid, which already has twice the edge */

struct sp_merger {
    ptrdiff_t edge, padded; /* padded = 2 edge */
    double box;             /* [m] */
    sp_nufft *nufft;        /* of the padded edge */
    sp_fft *fft;            /* likewise */
    uint8_t *support;       /* [edge^3] */
    float *kernel;          /* [padded][padded][padded/2+1] transform of the Toeplitz kernel, normalised */
    float *real;            /* [padded^3] work space */
    float complex *half;    /* work space */
    float *right;           /* [edge^3] A^T W y */
    float *work;            /* [3 edge^3] for CG */
    double lambda;
};

struct sp_merge_lanes {
    float *pair[LANES];    /* of one round */
    float *scratch[LANES]; /* one for each pair */
    float *total;          /* of all rounds: no lane can hold it, since the next round fills them all */
};

/* 1 where |r| <= radius and r is not on the plane without partner (-edge/2). */
static void make_support(sp_merger *self, double radius)
{
    const ptrdiff_t n = self->edge, h = n / 2 - 1;

    for (ptrdiff_t x = -h; x <= h; x++) {
        for (ptrdiff_t y = -h; y <= h; y++) {
            for (ptrdiff_t z = -h; z <= h; z++) {
                self->support[(((x + n) % n) * n + (y + n) % n) * n + (z + n) % n] =
                    (double)(x * x + y * y + z * z) <= radius * radius;
            }
        }
    }
}

sp_status sp_merger_new(ptrdiff_t edge, double voxel, double support_radius, int width, sp_merger **merger)
{
    sp_status status = SP_OK;
    sp_merger *self = NULL;

    SP_REQUIRE(edge % 2 == 0, SP_ERR_USAGE, "merging edge %td is odd", edge);
    SP_TRY(SP_ARRAY(self, 1));
    self->edge = edge;
    self->padded = 2 * edge;
    self->box = (double)edge * voxel;
    SP_TRY(sp_nufft_new(self->padded, width, OVERSAMPLING, &self->nufft));
    SP_TRY(sp_fft_new(self->padded, &self->fft));
    SP_TRY(SP_ARRAY(self->support, edge * edge * edge));
    SP_TRY(SP_ARRAY(self->kernel, sp_fft_complex_count(self->fft)));
    SP_TRY(SP_ARRAY(self->real, self->padded * self->padded * self->padded));
    SP_TRY(SP_ARRAY(self->half, sp_fft_complex_count(self->fft)));
    SP_TRY(SP_ARRAY(self->right, edge * edge * edge));
    SP_TRY(SP_ARRAY(self->work, 3 * edge * edge * edge));
    make_support(self, support_radius / voxel);
    *merger = self;
    self = NULL;
done:
    sp_merger_free(self);
    return status;
}

void sp_merger_free(sp_merger *merger)
{
    if (!merger) {
        return;
    }
    sp_nufft_free(merger->nufft);
    sp_fft_free(merger->fft);
    sp_array_free(merger->support);
    sp_array_free(merger->kernel);
    sp_array_free(merger->real);
    sp_array_free(merger->half);
    sp_array_free(merger->right);
    sp_array_free(merger->work);
    sp_array_free(merger);
}

size_t sp_merger_bytes(ptrdiff_t edge)
{
    const double square = (double)edge * (double)edge, cube = square * (double)edge;

    return (size_t)(sp_nufft_plan_bytes(2 * edge, OVERSAMPLING) + /* real, half and kernel, the others */
                    8 * 4 * cube + (8 + 4) * 4 * (cube + square) + (1 + 4 * 4) * cube);
}

sp_merger_shape sp_merger_shape_of(const sp_merger *merger)
{
    return (sp_merger_shape){
        .edge = merger->edge, .box = merger->box, .nufft = merger->nufft, .support = merger->support};
}

/* ---- images into a pair ---- */

ptrdiff_t sp_merger_pair_count(const sp_merger *merger)
{
    return sp_nufft_pair_count(merger->nufft);
}

ptrdiff_t sp_merger_scratch_count(const sp_patterns *patterns)
{
    return 3 * patterns->pixels;
}

double sp_merger_outermost(const sp_patterns *patterns, double s_max)
{
    return patterns->radius[sp_patterns_within(patterns, s_max) - 1];
}

void sp_merger_ramp(const sp_patterns *patterns, ptrdiff_t pixels, float *ramp)
{
    const double s_max = patterns->radius[pixels - 1];
    const double floor = 0.5 * patterns->shell_width / s_max; /* the innermost bins count too */

    for (ptrdiff_t p = 0; p < pixels; p++) {
        const double s = patterns->radius[p] / s_max;

        ramp[p] = (float)(s * s + floor * floor);
    }
}

/* Images first, first + step, ... before `end`, of those that are selected. */
typedef struct every {
    ptrdiff_t first, end, step;
    sp_selection selection;
} every;

/* What spreading one image needs. */
typedef struct spreader {
    const sp_merger *merger;
    const sp_patterns *patterns;
    ptrdiff_t pixels;
    float *value, *weight, *ramp; /* [pixels] scratch */
    float *pair;
} spreader;

/* Adds a share of an image, in one orientation. */
static void spread_share(const spreader *s, ptrdiff_t image, sp_quat orientation, float share)
{
    const sp_patterns *patterns = s->patterns;
    const float scale = share * patterns->scale[image];
    const sp_mat3 rotation = sp_quat_to_matrix(orientation);
    sp_pattern_reader reader = sp_patterns_open(patterns, image);

    sp_patterns_read(&reader, s->pixels, 1.0f, s->value);
    for (ptrdiff_t p = 0; p < s->pixels; p++) {
        s->weight[p] = scale * patterns->exposure[p] * s->ramp[p];
        s->value[p] = (s->value[p] - patterns->background[p]) *
                      (share * s->ramp[p]); /* weight * count / (scale of the image * exposure) */
    }
    sp_nufft_spread_pair(s->merger->nufft, &rotation, 2.0 * s->merger->box, (const float *const *)patterns->s,
                         s->pixels, s->value, s->weight, s->pair);
}

static void spread_image(const spreader *s, ptrdiff_t image, const sp_placement *placement)
{
    if (placement->each == 0) {
        spread_share(s, image, placement->orientation[image], 1.0f);
    }
    for (ptrdiff_t i = image * placement->each; i < (image + 1) * placement->each; i++) {
        const ptrdiff_t k = placement->place[i] - placement->first;

        if (placement->share[i] > 0.0f && k >= 0 && k < placement->points) {
            spread_share(s, image, placement->orientation[k], placement->share[i]);
        }
    }
}

/* Adds them to the pair. */
static void spread(const sp_merger *self, const sp_patterns *patterns, const sp_placement *placement, every images,
                   double s_max, float *scratch, float *pair)
{
    spreader s = {.merger = self, .patterns = patterns, .pixels = sp_patterns_within(patterns, s_max)};

    s.value = scratch;
    s.weight = scratch + patterns->pixels;
    s.ramp = scratch + 2 * patterns->pixels;
    s.pair = pair;
    sp_merger_ramp(patterns, s.pixels, s.ramp);
    for (ptrdiff_t n = images.first; n < images.end && !sp_interrupted(); n += images.step) {
        if (patterns->scale[n] > 0.0f && sp_is_selected(&images.selection, n)) {
            spread_image(&s, n, placement);
        }
    }
}

void sp_merger_spread(const sp_merger *merger, const sp_patterns *patterns, const sp_placement *placement,
                      sp_selection selection, double s_max, float *scratch, float *pair)
{
    spread(merger, patterns, placement, (every){0, patterns->images, 1, selection}, s_max, scratch, pair);
}

/* ---- a pair into an autocorrelation ---- */

/* out = S T in + lambda in, T the Toeplitz operator. S T S in truth: what CG hands in are sums of the right-hand side
 * and of former results, all 0 outside the support. */
static void apply_normal(void *context, const float *in, float *out)
{
    sp_merger *self = context;
    const float lambda = (float)self->lambda;

    sp_fft_multiply_padded(self->fft, in, self->kernel, self->half, out);
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < self->edge * self->edge * self->edge; i++) {
        out[i] = self->support[i] ? out[i] + lambda * in[i] : 0.0f;
    }
}

double sp_merger_sphere(const sp_merger_shape *shape, double outermost)
{
    const double radius = fmin(outermost * shape->box / (double)shape->edge, 0.5); /* in edges */

    return 4.0 / 3.0 * M_PI * pow(radius, 3.0);
}

/* From the pair: right-hand side A^T W y on the support, and the transform of the Toeplitz kernel. Both are
 * divided by the eigenvalue that a frequency has when the weights fill the sphere of radius `outermost` evenly. */
static void make_system(sp_merger *self, const float *pair, double outermost)
{
    const sp_merger_shape shape = sp_merger_shape_of(self);
    const double sphere = sp_merger_sphere(&shape, outermost);
    const ptrdiff_t n = self->edge, m = self->padded, cube = n * n * n;
    double weights = 0.0, eigenvalue = 0.0;

    sp_nufft_collect(self->nufft, pair, 1, m, self->real);
    weights = self->real[0]; /* sum of all weights: the kernel at r = 0 */
    eigenvalue = weights / sphere;
    sp_fft_forward(self->fft, self->real, self->half);
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < sp_fft_complex_count(self->fft); i++) {
        self->kernel[i] = (float)(crealf(self->half[i]) / (eigenvalue * (double)m * (double)m * (double)m));
    }
    sp_nufft_collect(self->nufft, pair, 0, n, self->right);
    for (ptrdiff_t i = 0; i < cube; i++) {
        self->right[i] = self->support[i] ? (float)(self->right[i] / eigenvalue) : 0.0f;
    }
}

sp_merge_result sp_merger_solve(sp_merger *merger, const float *pair, double outermost, double lambda, int iterations,
                                float *autocorrelation)
{
    const ptrdiff_t cube = merger->edge * merger->edge * merger->edge;

    make_system(merger, pair, outermost);
    merger->lambda = lambda;
    memset(autocorrelation, 0, (size_t)cube * sizeof *autocorrelation);
    const sp_cg_result result = sp_cg_solve(apply_normal, merger, cube, merger->right, autocorrelation,
                                            SP_MERGER_TOLERANCE, iterations, merger->work);

    return (sp_merge_result){.iterations = result.iterations, .residual = result.residual};
}

/* ---- both, on the threads of this process ---- */

sp_status sp_merge_lanes_new(const sp_merger *merger, const sp_patterns *patterns, sp_merge_lanes **lanes)
{
    sp_status status = SP_OK;
    sp_merge_lanes *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    for (int lane = 0; lane < LANES; lane++) {
        SP_TRY(SP_ARRAY(self->pair[lane], sp_merger_pair_count(merger)));
        SP_TRY(SP_ARRAY(self->scratch[lane], sp_merger_scratch_count(patterns)));
    }
    SP_TRY(SP_ARRAY(self->total, sp_merger_pair_count(merger)));
    *lanes = self;
    self = NULL;
done:
    sp_merge_lanes_free(self);
    return status;
}

void sp_merge_lanes_free(sp_merge_lanes *lanes)
{
    if (!lanes) {
        return;
    }
    for (int lane = 0; lane < LANES; lane++) {
        sp_array_free(lanes->pair[lane]);
        sp_array_free(lanes->scratch[lane]);
    }
    sp_array_free(lanes->total);
    sp_array_free(lanes);
}

size_t sp_merge_lanes_bytes(ptrdiff_t edge, ptrdiff_t pixels)
{
    return (size_t)((LANES + 1) * sp_nufft_pair_bytes(2 * edge, OVERSAMPLING) +
                    LANES * 3.0 * sizeof(float) * (double)pixels);
}

/* All images, in rounds, into the total. */
static void spread_all(const sp_merger *self, sp_merge_lanes *lanes, const sp_patterns *patterns,
                       const sp_quat *orientation, double s_max)
{
    const sp_placement placement = {.orientation = orientation};
    const size_t bytes = (size_t)sp_merger_pair_count(self) * sizeof *lanes->total;

    memset(lanes->total, 0, bytes);
    for (ptrdiff_t first = 0; first < patterns->images; first += ROUND * LANES) {
        const ptrdiff_t end = patterns->images - first < ROUND * LANES ? patterns->images : first + ROUND * LANES;

#pragma omp parallel for schedule(dynamic, 1)
        for (int lane = 0; lane < LANES; lane++) {
            memset(lanes->pair[lane], 0, bytes);
            spread(self, patterns, &placement, (every){first + lane, end, LANES, {0}}, s_max, lanes->scratch[lane],
                   lanes->pair[lane]);
        }
        sp_nufft_add_pairs(self->nufft, (const float *const *)lanes->pair, LANES, lanes->total);
    }
}

sp_merge_result sp_merger_run(sp_merger *merger, sp_merge_lanes *lanes, const sp_patterns *patterns,
                              const sp_quat *orientation, double s_max, double lambda, int iterations,
                              float *autocorrelation)
{
    spread_all(merger, lanes, patterns, orientation, s_max);
    return sp_merger_solve(merger, lanes->total, sp_merger_outermost(patterns, s_max), lambda, iterations,
                           autocorrelation);
}
