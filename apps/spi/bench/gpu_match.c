/* SPDX-License-Identifier: BSD-3-Clause */
/* Images compared with orientations on a GPU (device/match.h): the kernels of the dense search, a whole search, and the
 * sums of refinement and assessment. */
#include <math.h>
#include <stdio.h>

#include "base/memory.h"
#include "bench/gpu_search.h"
#include "bench/parts.h"
#include "device/limits.h"
#include "device/nufft.h"
#include "phases/match.h"

enum {
    KEEP = SP_DEVICE_MATCH_KEPT,
    CHECKED = 3,  /* images whose sums are compared */
    BLOCK = 4096, /* pixels that the processor's sums take at a time (phases/likelihood.h) */
};

typedef struct job {
    sp_gpu_search search;
    float *value, *turn;       /* device, [images][pixels], [3][images][pixels] in the true orientations */
    sp_likelihood_sums *sums;  /* device, [images] */
    sp_device_assessment by;   /* arrays of the device */
    float *fitted, *score;     /* device, [images] */
    double *residue, *scatter; /* device */
    float *host_value;         /* [4][simulated][pixels] value and turns, for the processor */
    float *host_score, *host_scale;
    double *host_scatter;
    sp_matcher *polar;       /* of the processor, as the program searches */
    sp_candidate *host_best; /* [simulated] */
} job;

/* ---- what runs on the device ---- */

static sp_status sum_likelihood(const sp_device *device, const job *j, const float *turn)
{
    const sp_gpu_images *i = &j->search.images;

    return device->kernels->match->likelihood(device, &i->by, i->pixels, &i->counts, i->scale, j->value, turn, j->sums);
}

static sp_status run_scores(const sp_device *device, void *context)
{
    return sum_likelihood(device, context, NULL);
}

static sp_status run_sums(const sp_device *device, void *context)
{
    const job *j = context;

    return sum_likelihood(device, j, j->turn);
}

static sp_status run_assess(const sp_device *device, void *context)
{
    const job *j = context;

    return device->kernels->match->assess(device, &j->by, &j->search.images.counts, j->value, j->fitted, j->score,
                                          j->residue, j->scatter);
}

static sp_status run_cut_and_assess(const sp_device *device, void *context)
{
    const job *j = context;
    const sp_gpu_images *i = &j->search.images;
    sp_status status = SP_OK;

    SP_TRY(device->kernels->nufft->interpolate(device, &i->stencil, i->grid, i->map, i->images, i->s, i->pixels, true,
                                               j->value));
    SP_TRY(run_assess(device, context));
done:
    return status;
}

/* ---- the same on the processor, of the simulated images ---- */

static void search_here(void *context)
{
    job *j = context;

    sp_matcher_search(j->polar, &j->search.grid, &(sp_shortlists){.keep = 1, .best = j->host_best});
}

static void sum_image(const job *j, const sp_likelihood_kernels *kernels, ptrdiff_t image, bool turns,
                      sp_likelihood_sums *sums)
{
    const sp_gpu_images *i = &j->search.images;
    const ptrdiff_t set = i->patterns.images * i->pixels, row = image * i->pixels;
    sp_likelihood_model by = i->by;

    by.base = i->tables.base;
    by.expected = i->tables.expected;
    for (ptrdiff_t first = 0; first < i->pixels; first += BLOCK) {
        const ptrdiff_t count = i->pixels - first < BLOCK ? i->pixels - first : BLOCK, at = row + first;
        const float *const turn[3] = {j->host_value + set + at, j->host_value + 2 * set + at,
                                      j->host_value + 3 * set + at};

        kernels->add(&by, first, count, i->k + at, i->patterns.scale[image], j->host_value + at, turns ? turn : NULL,
                     sums);
    }
}

static void sum_here(const job *j, bool turns)
{
    const sp_likelihood_kernels *kernels = sp_likelihood_kernels_for(sp_isa_best());

#pragma omp parallel for schedule(static)
    for (ptrdiff_t n = 0; n < j->search.images.patterns.images; n++) {
        sp_likelihood_sums sums = {0};

        sum_image(j, kernels, n, turns, &sums);
        j->host_score[n] = (float)sums.score; /* or the compiler might leave the sums out */
    }
}

static void scores_here(void *context)
{
    sum_here(context, false);
}

static void sums_here(void *context)
{
    sum_here(context, true);
}

static void assess_here(void *context)
{
    job *j = context;

    sp_matcher_assess_part(j->polar, j->search.images.orientation, (sp_selection){0}, j->host_score, j->host_scale,
                           j->host_scatter);
}

/* ---- memory ---- */

static void job_clear(job *j)
{
    sp_gpu_search_clear(&j->search);
    sp_matcher_free(j->polar);
    sp_array_free(j->host_value);
    sp_array_free(j->host_score);
    sp_array_free(j->host_scale);
    sp_array_free(j->host_scatter);
    sp_array_free(j->host_best);
}

static sp_status get_sums(job *j)
{
    sp_gpu_arrays *arrays = &j->search.images.arrays;
    const sp_gpu_images *i = &j->search.images;
    const sp_patterns *patterns = &i->patterns;
    const ptrdiff_t sums = 2 * (patterns->shells + 1);
    float *exposure = NULL, *whitening = NULL, *background = NULL;
    ptrdiff_t *start = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_GPU_ARRAY(arrays, j->value, i->images * i->pixels, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->turn, 3 * i->images * i->pixels, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->sums, i->images, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->fitted, i->images, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->score, i->images, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->residue, i->images * sums, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, j->scatter, sums, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, start, patterns->shells + 1, patterns->shell_start));
    SP_TRY(SP_GPU_ARRAY(arrays, exposure, i->pixels, patterns->exposure));
    SP_TRY(SP_GPU_ARRAY(arrays, whitening, i->pixels, i->tables.whitening));
    SP_TRY(SP_GPU_ARRAY(arrays, background, i->pixels, i->background));
    j->by = (sp_device_assessment){.pixels = i->pixels,
                                   .shells = patterns->shells,
                                   .shell_start = start,
                                   .expected = i->by.expected,
                                   .exposure = exposure,
                                   .whitening = whitening,
                                   .background = background,
                                   .noise = (float)(patterns->quantum / i->tables.unit)};
done:
    return status;
}

static sp_status make_matcher(job *j)
{
    const sp_match_settings settings = {.kind = SP_MATCH_LIKELIHOOD,
                                        .route = SP_MATCH_POLAR,
                                        .diameter = j->search.images.experiment.diameter,
                                        .dispersion = (double)j->search.images.by.dispersion,
                                        .floor = SP_GPU_IMAGES_FLOOR,
                                        .s_max = j->search.images.experiment.s_max};
    const sp_patterns *patterns = &j->search.images.patterns;
    sp_status status = SP_OK;

    SP_TRY(sp_matcher_new(patterns, j->search.images.slicer, &settings, &j->polar));
    SP_TRY(SP_ARRAY(j->host_best, patterns->images));
    SP_TRY(SP_ARRAY(j->host_score, patterns->images));
    SP_TRY(SP_ARRAY(j->host_scale, patterns->images));
    SP_TRY(SP_ARRAY(j->host_scatter, sp_match_scatter_count(patterns->shells)));
done:
    return status;
}

/* Values and turns of each image's own orientation, and those of the simulated ones for the processor. */
static sp_status cut_true(const sp_device *device, job *j)
{
    const sp_gpu_images *i = &j->search.images;
    const ptrdiff_t set = i->patterns.images * i->pixels;
    const size_t bytes = (size_t)set * sizeof(float);
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(j->host_value, 4 * set));
    SP_TRY(device->kernels->nufft->interpolate_turns(device, &i->stencil, i->grid, i->map, i->images, i->s, i->pixels,
                                                     j->value, j->turn));
    SP_TRY(device->kernels->download(device, j->value, bytes, j->host_value));
    for (int axis = 0; axis < 3; axis++) {
        SP_TRY(device->kernels->download(device, j->turn + axis * i->images * i->pixels, bytes,
                                         j->host_value + (axis + 1) * set));
    }
    for (ptrdiff_t at = 0; at < set; at++) { /* as sp_slicer_cut_turns() has it */
        for (int k = 3; k >= 0 && !(j->host_value[at] > 0.0f); k--) {
            j->host_value[k * set + at] = 0.0f;
        }
    }
done:
    return status;
}

static sp_status job_init(const sp_device *device, const sp_gpu_extent *size, job *j)
{
    sp_status status = SP_OK;

    SP_TRY(sp_gpu_search_init(device, size, &j->search));
    SP_TRY(get_sums(j));
    SP_TRY(make_matcher(j));
    SP_TRY(cut_true(device, j));
done:
    return status;
}

/* ---- what it must be ---- */

/* Greatest relative error of the sums of some images that scores or turns are in. */
static sp_status check_sums(const sp_device *device, const job *j, bool turns, double *error)
{
    sp_likelihood_sums got[CHECKED];
    sp_status status = SP_OK;

    SP_TRY(sum_likelihood(device, j, turns ? j->turn : NULL));
    SP_TRY(device->kernels->download(device, j->sums, sizeof got, got));
    *error = 0.0;
    for (ptrdiff_t n = 0; n < CHECKED; n++) {
        sp_likelihood_sums want = {0};

        sum_image(j, &sp_likelihood_ref, n, turns, &want);
        *error = fmax(*error, fabs(got[n].score / want.score - 1.0));
        for (int i = 0; turns && i < 3; i++) {
            *error = fmax(*error, fabs(got[n].information[i][i] / want.information[i][i] - 1.0));
        }
    }
    SP_TRY(sp_bench_check("the likelihood on the GPU", *error, 1e-4));
done:
    return status;
}

static sp_status check_assessment(const sp_device *device, job *j, double *error)
{
    const ptrdiff_t images = j->search.images.patterns.images;
    const size_t scales = (size_t)j->search.images.images * sizeof *j->fitted;
    float *got = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(got, images));
    SP_TRY(device->kernels->limits->copy(device, j->search.images.scale, scales, j->fitted)); /* what is fitted anew */
    SP_TRY(run_cut_and_assess(device, j));
    SP_TRY(device->kernels->download(device, j->score, (size_t)images * sizeof *got, got));
    assess_here(j);
    *error = 0.0;
    for (ptrdiff_t n = 0; n < images; n++) {
        *error = fmax(*error, fabs((double)(got[n] - j->host_score[n])));
    }
    SP_TRY(sp_bench_check("the assessment on the GPU", *error, 1e-4));
done:
    sp_array_free(got);
    return status;
}

/* ---- rows: bytes, and operations without those of logarithms ---- */

static double images_of(const job *j)
{
    return (double)j->search.images.images;
}

static double pixels_of(const job *j)
{
    return (double)j->search.images.pixels;
}

/* Kernels that read counts or intensities once, and write factors or sums. All enter the scores: their error is that of
 * these. */
static sp_status time_preparation(sp_bench *bench, job *j, double error)
{
    const double pixels = pixels_of(j), of_images = images_of(j) * pixels * sizeof(float);
    const double tile = (double)j->search.tile, of_tile = tile * pixels * sizeof(float),
                 of_pixels = pixels * sizeof(float);
    const struct {
        const char *name, *of;
        ptrdiff_t count;
        sp_gpu_work work;
    } rows[] = {
        {"pack",
         "images",
         j->search.images.images,
         {.run = sp_gpu_search_pack,
          .bytes = of_images + sp_gpu_search_factor_bytes(&j->search, j->search.images.images)}},
        {"average",
         "orientations",
         sp_gpu_search_averaged(&j->search),
         {.run = sp_gpu_search_average,
          .bytes = (double)sp_gpu_search_averaged(&j->search) * of_pixels + 4.0 * of_pixels}},
        {"offsets",
         "images",
         j->search.images.images,
         {.run = sp_gpu_search_offsets,
          .bytes = sp_gpu_search_factor_bytes(&j->search, j->search.images.images) + 2.0 * of_pixels}},
        {"features",
         "orientations",
         j->search.tile,
         {.run = sp_gpu_search_features,
          .bytes = of_tile + sp_gpu_search_factor_bytes(&j->search, j->search.tile) + 4.0 * of_pixels}},
    };
    sp_status status = SP_OK;

    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        sp_row *row = sp_row_add(bench, "match", 1, "%s, %td %s", rows[i].name, rows[i].count, rows[i].of);
        sp_gpu_work work = rows[i].work;

        work.context = &j->search;
        row->error = error;
        SP_TRY(sp_gpu_time(bench, &work, row));
    }
done:
    return status;
}

/* Images and features are read once, lists read and written; the products between them need never leave the chip. */
static sp_status time_compare(sp_bench *bench, job *j, int keep, double error)
{
    const double products = 2.0 * images_of(j) * (double)j->search.tile * pixels_of(j);
    sp_row *row = sp_row_add(bench, "match", 1, "compare, %td images, %td orientations, %d kept",
                             j->search.images.images, j->search.tile, keep);
    const sp_gpu_work work = {.run = sp_gpu_search_compare,
                              .before = sp_gpu_search_empty,
                              .context = &j->search,
                              .bytes =
                                  sp_gpu_search_factor_bytes(&j->search, j->search.images.images + j->search.tile) +
                                  2.0 * sizeof(sp_candidate) * keep * images_of(j),
                              .products = products};
    sp_status status = SP_OK;

    j->search.keep = keep;
    row->error = error;
    SP_TRY(sp_gpu_time(bench, &work, row));
    sp_row_take_rate(row, 1e-12 * products, "TFLOP/s");
    snprintf(row->note, sizeof row->note, "%.0f %% of the matrix rate, choosing the best included",
             100.0 * products / row->seconds.median / bench->gpu.rate[SP_GPU_PRODUCT]);
done:
    j->search.keep = 1;
    return status;
}

static double share_here(const job *j)
{
    return (double)j->search.images.patterns.images / images_of(j);
}

static sp_status time_search(sp_bench *bench, job *j, double error)
{
    sp_row *row = sp_row_add(bench, "match", 1, "search: slices, features, compare; %td x %td", j->search.images.images,
                             j->search.grid.count);
    sp_status status = SP_OK;

    SP_TRY(sp_gpu_search_time(bench, &j->search, error, row));
    SP_TRY(sp_gpu_compare(bench, search_here, j, share_here(j), row, "the polar route"));
done:
    return status;
}

/* Of a pixel without turns: the mean 3, its terms 6; with turns: three derivatives 3, slopes 8, information 18. */
static sp_status time_likelihood(sp_bench *bench, job *j, bool turns)
{
    const double points = images_of(j) * pixels_of(j);
    sp_row *row = sp_row_add(bench, "match", 1, "likelihood%s, %td candidates", turns ? " and its slopes" : "",
                             j->search.images.images);
    const sp_gpu_work work = {.run = turns ? run_sums : run_scores,
                              .context = j,
                              .bytes = sizeof(float) * points * (turns ? 5.0 : 2.0),
                              .operations = points * (turns ? 38.0 : 9.0)};
    sp_status status = SP_OK;

    SP_TRY(check_sums(bench->gpu.device, j, turns, &row->error));
    SP_TRY(sp_gpu_time(bench, &work, row));
    sp_row_take_rate(row, 1e-9 * points, "Gpixel/s");
    SP_TRY(sp_gpu_compare(bench, turns ? sums_here : scores_here, j, share_here(j), row, "phases/likelihood"));
done:
    return status;
}

/* Counts and patterns are read once; with the slices, patterns need not be. */
static sp_status time_assessment(sp_bench *bench, job *j)
{
    const double points = images_of(j) * pixels_of(j);
    sp_gpu_work work = {.run = run_assess, .context = j, .bytes = 2.0 * sizeof(float) * points};
    double error = 0.0;
    sp_status status = SP_OK;

    SP_TRY(check_assessment(bench->gpu.device, j, &error));
    sp_row *row = sp_row_add(bench, "match", 1, "assess, %td images", j->search.images.images);

    row->error = error;
    SP_TRY(sp_gpu_time(bench, &work, row));
    work.run = run_cut_and_assess;
    work.bytes = sizeof(float) * points;
    row = sp_row_add(bench, "match", 1, "assess, %td images, slices in it", j->search.images.images);
    row->error = error;
    SP_TRY(sp_gpu_time(bench, &work, row));
    SP_TRY(sp_gpu_compare(bench, assess_here, j, share_here(j), row, "sp_matcher_assess_part"));
done:
    return status;
}

sp_status sp_bench_gpu_match(sp_bench *bench)
{
    const sp_device *device = bench->gpu.device;
    const sp_gpu_extent size = sp_gpu_images_extent(bench);
    job j = {.search = {.tile = 0}};
    double error = 0.0;
    sp_status status = SP_OK;

    SP_TRY(job_init(device, &size, &j));
    SP_TRY(sp_gpu_search_check(device, &j.search, &error));
    SP_TRY(time_preparation(bench, &j, error));
    SP_TRY(time_compare(bench, &j, 1, error));
    SP_TRY(time_compare(bench, &j, KEEP, error));
    SP_TRY(time_search(bench, &j, error));
    SP_TRY(time_likelihood(bench, &j, false));
    SP_TRY(time_likelihood(bench, &j, true));
    SP_TRY(time_assessment(bench, &j));
done:
    job_clear(&j);
    return status;
}
