/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/reconstruct.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/progress.h"
#include "num/fft.h"
#include "num/rotation_grid.h"
#include "num/sums.h"
#include "phases/diameter.h"
#include "phases/merge.h"
#include "phases/phase.h"

const char *const sp_phase_names[SP_PHASES] = {"read", "merge", "phase", "search", "refine", "other"};

enum {
    RNG_ORIENTATION = 301,  /* purpose of the random first orientations */
    BLOCK_BYTES = 64 << 20, /* images are read in blocks of this size */
    NOISE_IMAGES = 200,     /* that the noise is measured from */
    KERNEL_WIDTH = 4,       /* of both NUFFTs: 4e-4 of the local intensity, below the noise of any image */
    CG_ITERATIONS = 20,     /* the residual is 1e-3 then; more only fits noise */
    FINAL_STARTS = 4,       /* times the starts of a generation, in rounds, for the final phasing */
    MIN_REFINED = 4,        /* refined generations before convergence is believed */
    MAX_SEARCHED = 20,      /* generations of search only */
    MAX_REFUSED = 3,        /* in a row */
    MAX_ATTEMPTS = 3,       /* from other random orientations, where the outcome contradicts itself */
    KEEP = 3,               /* candidates of the search that are refined */
    CLIMB_STEPS = 4,
    MIN_IMAGES = 10,
    SCAN_SPAN = 3, /* generations over which the score must have stopped rising */
};

static const double BOX = 2.3;             /* edge of the box in diameters: the autocorrelation needs 2 */
static const double NYQUIST_MARGIN = 1.02; /* the voxel is this much finer than resolution / 2 */
static const double SPECKLES_PER_BIN = 0.34;
static const double AUTOCORRELATION_REACH = 1.05; /* support of the autocorrelation, in diameters */
static const double BALL = 0.525;                 /* radius of the first support, in diameters */
static const double LAMBDA = 1e-3;          /* merge regularisation: frequencies measured less well than this fade */
static const double FLOOR = 0.3;            /* share of the shell mean in the model pattern: see match.h */
static const double FIRST_DISPERSION = 1.0; /* the model knows nothing: speckle statistics */
static const double LAST_DISPERSION = 10.0; /* more does not sharpen the orientations any more */
static const double HOLE = 0.75; /* speckles: a larger hole in the middle of the images is left to the phasing */
static const double SETTLED = 3.0 * M_PI / 180.0;
static const double WORSE = 0.02;       /* loss of mean score that refuses a generation */
static const double SEARCH_REACH = 9.0; /* speckles along the radius that the search compares: more hold local optima */
static const double MARCH = 1.25;       /* refinement lets in that much more of the radius each generation */
/* Share of the amplitudes that no density can explain. Right orientations leave 0.01 to 0.05, photon noise included;
 * a particle that is nearly symmetric and was caught in that symmetry leaves 0.1 to 0.2 (GroEL: two rings of seven). */
static const double CONTRADICTION = 0.08;
static const double SLOW_RISE = 0.02; /* in one generation of search: sharpening a model that still grows locks it in */
static const double RISE = 0.002;     /* of the mean score over SCAN_SPAN generations: less is no progress */

sp_reconstruct_settings sp_reconstruct_defaults(void)
{
    return (sp_reconstruct_settings){.seed = 1,
                                     .generations = 60,
                                     .starts = 4,
                                     .match = SP_MATCH_LIKELIHOOD,
                                     .refine = true,
                                     .fit_scale = true,
                                     .noise = SP_NOISE_AUTO};
}

/* Everything that lives as long as the loop. */
typedef struct loop {
    sp_image_file *file;
    sp_log *log;
    sp_pixels pixels;
    float *correction; /* [pixels of the detector] solid angle times polarisation */
    sp_patterns patterns;
    sp_slicer *slicer;
    sp_merger *merger;
    sp_phaser *phaser;
    sp_matcher *matcher;
    sp_rotation_grid grid;
    sp_phase_settings phasing;
    sp_reconstruction *state;
    double s_max;           /* [1/m] of the reconstruction */
    double reach;           /* [1/m] of the present generation: the search begins with less */
    float *autocorrelation; /* [edge^3] merged */
    float *model;           /* [edge^3] autocorrelation of the phased density, scaled to the images' profile */
    float *last_model;      /* [edge^3] of the generation before */
    float *density;         /* [edge^3] of this generation, until it is accepted */
    double *shells;         /* [2 edge] */
    double *filter;         /* [2 edge] */
    sp_quat *orientation;   /* [images] of this generation, until it is accepted */
    sp_quat *candidates;    /* [images][KEEP + 1] */
    ptrdiff_t *best;        /* [images][KEEP] */
    float *best_score;      /* [images][KEEP] */
    float *score;           /* [images] */
    float *scale;           /* [images] */
    double *turn;           /* [images] scratch */
    double dispersion;      /* in use */
    bool refining;          /* the search has settled: refine each image */
    int refined;            /* accepted generations with refinement */
    int refused;            /* in a row */
    int attempt;            /* 0 based */
    int first;              /* generation of this attempt */
    double kept_score;      /* of the best attempt before this one; 0: none */
    sp_quat *kept;          /* [images] its orientations */
    double wall, cpu;       /* clocks at the last lap */
    sp_generation now;      /* the generation being made */
} loop;

/* ---- clocks ---- */

/* The time since the last call goes to this phase. */
static void lap(loop *l, int phase)
{
    const double wall = sp_clock_wall(), cpu = sp_clock_cpu();

    l->now.wall[phase] += wall - l->wall;
    l->now.cpu[phase] += cpu - l->cpu;
    l->state->wall[phase] += wall - l->wall;
    l->state->cpu[phase] += cpu - l->cpu;
    l->wall = wall;
    l->cpu = cpu;
}

/* ---- reading ---- */

static double radius_of(const double *s)
{
    return sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]);
}

/* Pixel table of the phases, from the file's; correction = solid angle times polarisation. */
static sp_status make_pixels(loop *l)
{
    const sp_detector_map *map = sp_image_file_map(l->file);
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(l->correction, map->pixels));
    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        l->correction[p] = map->solid_angle[p] * map->polarization[p];
    }
    l->pixels = (sp_pixels){.panels = map->panels,
                            .height = map->height,
                            .width = map->width,
                            .position = map->position,
                            .correction = l->correction,
                            .bad = map->bad,
                            .wavelength = map->wavelength};
done:
    return status;
}

/* Resolution of the farthest good pixel, and of the largest circle that is covered all round: the least, over narrow
 * sectors, of the largest radius in the sector. */
static void measure_reach(loop *l)
{
    enum { SECTORS = 64 };
    const sp_detector_map *map = sp_image_file_map(l->file);
    double reach[SECTORS] = {0.0}, corner = 0.0, edge = INFINITY;

    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        const double *s = map->position + 3 * p, radius = radius_of(s);
        const int sector = (int)((atan2(s[1], s[0]) / (2.0 * M_PI) + 0.5) * SECTORS) % SECTORS;

        if (!map->bad[p]) {
            corner = fmax(corner, radius);
            reach[sector] = fmax(reach[sector], radius);
        }
    }
    for (int i = 0; i < SECTORS; i++) {
        edge = reach[i] > 0.0 ? fmin(edge, reach[i]) : edge;
    }
    l->state->corner_resolution = 1.0 / corner;
    l->state->edge_resolution = 1.0 / edge;
}

/* Reads all images in blocks and hands each block to `take`. */
typedef void block_taker(loop *l, ptrdiff_t first, ptrdiff_t count, const float *value, void *context);

static sp_status for_each_block(loop *l, const char *label, block_taker *take, void *context)
{
    const ptrdiff_t total = l->state->images, pixels = sp_image_file_map(l->file)->pixels;
    const ptrdiff_t block = BLOCK_BYTES / 4 / pixels > 1 ? BLOCK_BYTES / 4 / pixels : 1;
    sp_status status = SP_OK;
    float *value = NULL;
    sp_progress *progress = NULL;

    SP_TRY(SP_ARRAY(value, (block < total ? block : total) * pixels));
    SP_TRY(sp_progress_new(l->log, label, total, &progress));
    for (ptrdiff_t first = 0; first < total; first += block) {
        const ptrdiff_t count = total - first < block ? total - first : block;

        SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "interrupted while reading: nothing was written");
        SP_TRY(sp_image_file_read(l->file, first, count, value));
        take(l, first, count, value, context);
        sp_progress_add(progress, count);
    }
done:
    sp_progress_free(progress);
    sp_array_free(value);
    return status;
}

/* First pass: mean image (factors divided out) and noise. */
static void take_mean(loop *l, ptrdiff_t first, ptrdiff_t count, const float *value, void *context)
{
    double *mean = context;
    const ptrdiff_t pixels = sp_image_file_map(l->file)->pixels;

    if (first == 0) {
        l->state->quantum = sp_patterns_quantum(&l->pixels, count < NOISE_IMAGES ? count : NOISE_IMAGES, value);
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        for (ptrdiff_t p = 0; p < pixels; p++) {
            mean[p] += value[i * pixels + p] / (double)l->state->images;
        }
    }
}

/* Second pass: into bins. */
static void take_patterns(loop *l, ptrdiff_t first, ptrdiff_t count, const float *value, void *context)
{
    const ptrdiff_t pixels = sp_image_file_map(l->file)->pixels;

    (void)context;
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < count; i++) {
        sp_patterns_add(&l->patterns, first + i, value + i * pixels);
    }
}

/* Are orientations refined? The Euclidean baseline has none, as published. */
static bool climbs(const sp_reconstruct_settings *s)
{
    return s->refine && s->match == SP_MATCH_LIKELIHOOD;
}

/* What the search compares [1/m]; only refinement lets in more. */
static double first_reach(const loop *l)
{
    const sp_reconstruct_settings *s = &l->state->settings;

    return climbs(s) ? fmin(l->s_max, SEARCH_REACH / s->diameter) : l->s_max;
}

/* Angle of a speckle at the finest detail of this generation that the detector covers all round [rad]. */
static double speckle_now(const loop *l)
{
    return fmax(l->state->edge_resolution, 1.0 / l->reach) / l->state->settings.diameter;
}

/* Diameter, resolution, grid, binning, orientations: what the user left open, from the data. */
static sp_status choose_settings(loop *l, const double *mean)
{
    sp_reconstruct_settings *s = &l->state->settings;
    const double step = sp_pixels_step(&l->pixels);
    sp_status status = SP_OK;

    SP_REQUIRE(step > 0.0, SP_ERR_INPUT, "all pixels lie at one place: check pixel_position_reciprocal");
    if (s->resolution <= 0.0) {
        s->resolution = l->state->corner_resolution;
    }
    SP_REQUIRE(s->resolution >= l->state->corner_resolution * 0.999, SP_ERR_USAGE,
               "resolution %.4g Angstrom is finer than the detector reaches (%.4g): choose a larger number",
               s->resolution * 1e10, l->state->corner_resolution * 1e10);
    l->s_max = 1.0 / s->resolution;
    if (s->diameter <= 0.0) {
        s->diameter = sp_diameter_estimate(&l->pixels, mean);
        SP_REQUIRE(s->diameter > 0.0, SP_ERR_INPUT,
                   "the size of the particle cannot be told from the images: give it with --diameter");
    }
    SP_REQUIRE(s->diameter > 2.0 * s->resolution, SP_ERR_USAGE,
               "a particle of %.4g Angstrom shows no structure at a resolution of %.4g: check --diameter, --resolution",
               s->diameter * 1e10, s->resolution * 1e10);
    l->state->voxel = s->resolution / (2.0 * NYQUIST_MARGIN);
    if (s->grid == 0) {
        s->grid = (int)sp_fft_good_size((ptrdiff_t)ceil(BOX * s->diameter / l->state->voxel));
    }
    SP_REQUIRE(s->grid % 2 == 0 && s->grid * l->state->voxel >= 2.0 * s->diameter, SP_ERR_USAGE,
               "a grid of %d voxels of %.3g Angstrom is odd or holds less than twice the particle (%.4g Angstrom)",
               s->grid, l->state->voxel * 1e10, s->diameter * 1e10);
    if (s->binning == 0) {
        s->binning = (int)fmax(1.0, floor(SPECKLES_PER_BIN / s->diameter / step));
    }
    l->state->edge = s->grid;
    l->state->speckle = fmax(l->state->edge_resolution, s->resolution) / s->diameter;
    l->reach = first_reach(l);
    if (s->orientations == 0) { /* steps of two speckles: the climb covers the rest */
        s->orientations =
            (int)fmin(fmax((double)sp_rotation_grid_count_for_step(2.0 * l->state->speckle), 2000.0), 2e5);
    }
done:
    return status;
}

/* Is there photon noise, and how much is one photon? */
static void choose_noise(loop *l)
{
    sp_reconstruct_settings *s = &l->state->settings;
    const double dim = l->patterns.profile[l->patterns.shells * 3 / 4];

    if (s->noise == SP_NOISE_AUTO) { /* noise-free data leave a small remainder of speckle in the measure */
        s->noise = l->state->quantum > 0.02 * dim ? SP_NOISE_POISSON : SP_NOISE_NONE;
    } else if (s->noise == SP_NOISE_POISSON && l->state->quantum <= 0.0) {
        l->state->quantum = 1.0;
    }
    if (s->noise == SP_NOISE_NONE) {
        l->state->quantum = 0.0;
    }
    l->patterns.quantum = l->state->quantum;
}

static sp_status read_images(loop *l)
{
    const sp_detector_map *map = sp_image_file_map(l->file);
    sp_reconstruct_settings *s = &l->state->settings;
    sp_status status = SP_OK;
    double *mean = NULL;
    double sum = 0.0;

    SP_REQUIRE(l->state->images >= MIN_IMAGES, SP_ERR_INPUT,
               "%td image(s) are too few: a reconstruction needs at least %d", l->state->images, MIN_IMAGES);
    SP_TRY(SP_ARRAY(mean, map->pixels));
    SP_TRY(for_each_block(l, "looking at the images", take_mean, mean));
    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        sum += map->bad[p] ? 0.0 : mean[p];
        mean[p] = map->bad[p] ? 0.0 : mean[p] / l->correction[p];
    }
    SP_REQUIRE(sum > 0.0, SP_ERR_INPUT, "all images are empty: there is not one photon in any good pixel");
    l->state->photons_per_image = sum;
    SP_TRY(choose_settings(l, mean));
    SP_TRY(sp_patterns_init(&l->pixels, l->state->images, s->binning,
                            s->low_resolution > 0.0 ? 1.0 / s->low_resolution : 0.0, l->s_max * 1.0001, &l->patterns));
    SP_TRY(for_each_block(l, "reading images", take_patterns, NULL));
    SP_TRY(sp_patterns_measure(&l->patterns));
    choose_noise(l);
    l->state->pixels_used = l->patterns.pixels;
    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        l->state->used += l->patterns.scale[n] > 0.0f;
        l->state->scale[n] = l->patterns.scale[n];
    }
    SP_REQUIRE(l->state->used >= MIN_IMAGES, SP_ERR_INPUT,
               "only %td of %td images hold any signal: a reconstruction needs at least %d", l->state->used,
               l->state->images, MIN_IMAGES);
done:
    sp_array_free(mean);
    return status;
}

/* ---- set-up ---- */

/* Memory of the run [byte]. `edge` and `bins` as chosen. */
static double bytes_of_run(ptrdiff_t images, ptrdiff_t bins, ptrdiff_t edge, int starts, ptrdiff_t orientations)
{
    const double cube = (double)edge * (double)edge * (double)edge;

    return 4.0 * (double)images * (double)bins + sp_matcher_bytes(images, bins, omp_get_max_threads()) +
           (double)sp_merger_bytes(edge) + (double)sp_phaser_bytes(edge, starts * FINAL_STARTS) +
           cube * 80.0 /* slicer at twice the edge */
           + cube * 28.0 + (double)orientations * 32.0 + (double)images * 400.0 + BLOCK_BYTES;
}

double sp_reconstruct_bytes(const sp_image_file *file, const sp_reconstruct_settings *settings)
{
    const sp_detector_map *map = sp_image_file_map(file);
    const int bin = settings->binning > 0 ? settings->binning : 1;
    const ptrdiff_t edge = settings->grid > 0 ? settings->grid : 64;

    return bytes_of_run(sp_image_file_count(file), map->pixels / (bin * bin) + 1, edge, settings->starts,
                        settings->orientations);
}

static sp_status check_memory(const loop *l)
{
    const sp_reconstruct_settings *s = &l->state->settings;
    const double need = bytes_of_run(l->state->images, l->patterns.pixels, l->state->edge, s->starts, s->orientations);
    const double have = (double)sp_memory_available();
    sp_status status = SP_OK;

    SP_REQUIRE(have == 0.0 || need <= have, SP_ERR_MEMORY,
               "the run needs %.1f GB of memory and %.1f GB are free: lower --resolution, or raise --binning",
               need / 1e9, have / 1e9);
done:
    return status;
}

/* The phasing schedule: 10 cycles of 20 RAAR and 10 error-reduction steps; long enough for all starts to agree. */
static sp_phase_settings phasing_schedule(const sp_reconstruct_settings *s)
{
    return (sp_phase_settings){.starts = s->starts,
                               .cycles = 10,
                               .raar_steps = 20,
                               .er_steps = 10,
                               .final_steps = 30,
                               .beta = 0.87,
                               .blur_first = 2.0,
                               .blur_last = 1.0,
                               .threshold = 0.1,
                               .radius = BALL * s->diameter};
}

/* Random orientations, and trust in nothing. */
static void begin_attempt(loop *l)
{
    const sp_reconstruct_settings *s = &l->state->settings;

    for (ptrdiff_t i = 0; i < l->state->images; i++) {
        sp_rng rng = sp_rng_stream(s->seed, RNG_ORIENTATION + (uint32_t)l->attempt, (uint64_t)i);

        l->state->orientation[i] = sp_quat_random(&rng);
    }
    l->first = l->state->generations;
    l->reach = first_reach(l);
    l->refining = false;
    l->refined = l->refused = 0;
    l->dispersion = FIRST_DISPERSION;
    sp_matcher_set_dispersion(l->matcher, l->dispersion);
}

static sp_status make_workspace(loop *l)
{
    const sp_reconstruct_settings *s = &l->state->settings;
    const ptrdiff_t n = l->state->edge, cube = n * n * n, images = l->state->images;
    const sp_match_settings match = {
        .kind = s->match, .dispersion = FIRST_DISPERSION, .floor = FLOOR, .s_max = l->s_max * 1.0001};
    sp_status status = SP_OK;

    SP_TRY(check_memory(l));
    SP_TRY(sp_slicer_new(n, l->state->voxel, KERNEL_WIDTH, &l->slicer));
    SP_TRY(sp_merger_new(n, l->state->voxel, AUTOCORRELATION_REACH * s->diameter, KERNEL_WIDTH, l->patterns.pixels,
                         &l->merger));
    SP_TRY(sp_phaser_new(n, l->state->voxel, s->starts * FINAL_STARTS, &l->phaser));
    SP_TRY(sp_matcher_new(&l->patterns, l->slicer, &match, &l->matcher));
    SP_TRY(sp_rotation_grid_init(s->orientations, &l->grid));
    SP_TRY(sp_rotation_grid_measure(&l->grid, 1000));
    l->state->grid_spacing = l->grid.typical;
    l->phasing = phasing_schedule(s);
    SP_TRY(SP_ARRAY(l->autocorrelation, cube));
    SP_TRY(SP_ARRAY(l->model, cube));
    SP_TRY(SP_ARRAY(l->last_model, cube));
    SP_TRY(SP_ARRAY(l->density, cube));
    SP_TRY(SP_ARRAY(l->state->density, cube));
    SP_TRY(SP_ARRAY(l->shells, 2 * n));
    SP_TRY(SP_ARRAY(l->filter, 2 * n));
    SP_TRY(SP_ARRAY(l->orientation, images));
    SP_TRY(SP_ARRAY(l->candidates, images * (KEEP + 1)));
    SP_TRY(SP_ARRAY(l->best, images * KEEP));
    SP_TRY(SP_ARRAY(l->best_score, images * KEEP));
    SP_TRY(SP_ARRAY(l->score, images));
    SP_TRY(SP_ARRAY(l->turn, images));
    SP_TRY(SP_ARRAY(l->kept, images));
    SP_TRY(SP_ARRAY(l->state->history, s->generations));
    SP_TRY(SP_ARRAY(l->state->prtf, n / 2 + 1));
    SP_TRY(SP_ARRAY(l->state->prtf_s, n / 2 + 1));
    begin_attempt(l);
done:
    return status;
}

static void clear_loop(loop *l)
{
    sp_array_free(l->correction);
    sp_patterns_clear(&l->patterns);
    sp_slicer_free(l->slicer);
    sp_merger_free(l->merger);
    sp_phaser_free(l->phaser);
    sp_matcher_free(l->matcher);
    sp_rotation_grid_clear(&l->grid);
    sp_array_free(l->autocorrelation);
    sp_array_free(l->model);
    sp_array_free(l->last_model);
    sp_array_free(l->density);
    sp_array_free(l->shells);
    sp_array_free(l->filter);
    sp_array_free(l->orientation);
    sp_array_free(l->candidates);
    sp_array_free(l->best);
    sp_array_free(l->best_score);
    sp_array_free(l->score);
    sp_array_free(l->scale);
    sp_array_free(l->turn);
    sp_array_free(l->kept);
}

/* ---- one generation ---- */

/* Radial filter that gives the model the images' own scattering curve: phasing fixes shapes, not the fall-off. */
static void make_filter(loop *l)
{
    const ptrdiff_t n = l->state->edge;
    const sp_patterns *p = &l->patterns;
    const double box = (double)n * l->state->voxel;

    for (ptrdiff_t k = 0; k < 2 * n; k++) {
        const double at = (double)k / box / p->shell_width - 0.5; /* in shells, from the middle of the first */
        const ptrdiff_t lower = at > 0.0 ? (ptrdiff_t)at : 0, upper = lower + 1 < p->shells ? lower + 1 : lower;
        const double share = at > 0.0 ? at - (double)lower : 0.0;
        const double wanted = lower < p->shells ? (1.0 - share) * p->profile[lower] + share * p->profile[upper] : 0.0;

        l->filter[k] = k < n && (double)k <= l->reach * box && l->shells[k] > 0.0 ? wanted / l->shells[k] : 0.0;
    }
}

/* The density becomes the model that images are compared with. */
static void load_model(loop *l, const float *density)
{
    sp_phaser_autocorrelate(l->phaser, density, NULL, l->shells, l->model);
    make_filter(l);
    sp_phaser_autocorrelate(l->phaser, density, l->filter, NULL, l->model);
    sp_slicer_load(l->slicer, l->model);
}

/* Frequencies that a beam stop hides [1/m]; 0 for a hole so small that the size of the particle fills it. */
static double hidden_centre(const loop *l)
{
    const double innermost = l->patterns.radius[0];

    return innermost * l->state->settings.diameter > HOLE ? innermost : 0.0;
}

static void merge_and_phase(loop *l)
{
    const sp_merge_result merged =
        sp_merger_run(l->merger, &l->patterns, l->state->orientation, LAMBDA, CG_ITERATIONS, l->autocorrelation);

    l->now.merge_residual = merged.residual;
    lap(l, SP_PHASE_MERGE);
    l->phasing.seed = l->state->settings.seed * 1000003u + (uint64_t)l->now.generation * 101u + (uint64_t)l->refused;
    const sp_phase_result phased =
        sp_phaser_run(l->phaser, l->autocorrelation, hidden_centre(l), l->reach, &l->phasing, l->density);

    l->now.phasing_residual = phased.residual;
    l->now.support_volume = phased.volume * pow(l->state->voxel, 3.0);
    load_model(l, l->density);
    lap(l, SP_PHASE_PHASE);
}

static void match_images(loop *l)
{
    const ptrdiff_t images = l->state->images;

    sp_matcher_search(l->matcher, &l->grid, KEEP, l->best, l->best_score);
    l->now.orientations = l->grid.count;
    for (ptrdiff_t n = 0; n < images; n++) {
        l->orientation[n] = l->grid.q[l->best[n * KEEP]];
        for (int c = 0; c < KEEP; c++) {
            l->candidates[n * (KEEP + 1) + c] = l->grid.q[l->best[n * KEEP + c]];
        }
        l->candidates[n * (KEEP + 1) + KEEP] = l->state->orientation[n];
    }
    lap(l, SP_PHASE_SEARCH);
    if (l->refining) {
        sp_matcher_refine(l->matcher, l->candidates, KEEP + 1, CLIMB_STEPS, speckle_now(l) / 3.0, l->orientation);
        lap(l, SP_PHASE_REFINE);
    }
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* How far the images turned since the last generation, the half turn about the beam folded. */
static void measure_change(loop *l)
{
    const sp_quat half_turn = {0.0, 0.0, 0.0, 1.0};
    const ptrdiff_t images = l->state->images, cube = l->state->edge * l->state->edge * l->state->edge;
    ptrdiff_t settled = 0, used = 0;

    for (ptrdiff_t n = 0; n < images; n++) {
        const sp_quat before = l->state->orientation[n];
        const double turn = fmin(sp_quat_angle(before, l->orientation[n]),
                                 sp_quat_angle(sp_quat_multiply(half_turn, before), l->orientation[n]));

        if (l->patterns.scale[n] > 0.0f) {
            l->turn[used++] = turn;
            settled += turn < (l->refining ? SETTLED : 1.5 * l->grid.typical);
        }
    }
    qsort(l->turn, (size_t)used, sizeof *l->turn, compare_doubles);
    l->now.orientation_change = l->turn[used / 2];
    l->now.settled = (double)settled / (double)used;
    const double norm = sp_dot(l->model, l->model, cube) * sp_dot(l->last_model, l->last_model, cube);

    l->now.density_change = norm > 0.0 ? 1.0 - sp_dot(l->model, l->last_model, cube) / sqrt(norm) : 1.0;
}

static double mean_score(const loop *l)
{
    double sum = 0.0;
    ptrdiff_t used = 0;

    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        if (l->patterns.scale[n] > 0.0f) {
            sum += l->score[n];
            used++;
        }
    }
    return sum / (double)used;
}

/* Scores compare only at the same detail, and with or without refinement alike. */
static bool same_stage(const loop *l, const sp_generation *h)
{
    return h->resolution == l->now.resolution &&
           (h->wall[SP_PHASE_REFINE] > 0.0) == (l->now.wall[SP_PHASE_REFINE] > 0.0);
}

/* The best accepted score so far; refined and unrefined generations do not compare. */
static double best_so_far(const loop *l)
{
    double best = -1.0;

    for (int g = l->first; g < l->state->generations; g++) {
        const sp_generation *h = &l->state->history[g];

        if (h->accepted && same_stage(l, h)) {
            best = fmax(best, h->score);
        }
    }
    return best;
}

/* Keeps the generation, unless it explains the images worse than an earlier one. */
static void accept_or_refuse(loop *l)
{
    const ptrdiff_t images = l->state->images, cube = l->state->edge * l->state->edge * l->state->edge;

    l->now.accepted = !(l->now.score < best_so_far(l) - WORSE) || l->refused >= MAX_REFUSED;
    if (!l->now.accepted) {
        l->refused++;
        return;
    }
    l->refused = 0;
    l->refined += l->refining;
    memcpy(l->state->density, l->density, (size_t)cube * sizeof *l->density);
    memcpy(l->last_model, l->model, (size_t)cube * sizeof *l->model);
    memcpy(l->state->orientation, l->orientation, (size_t)images * sizeof *l->orientation);
    for (ptrdiff_t n = 0; n < images; n++) {
        l->state->score[n] = l->patterns.scale[n] > 0.0f ? l->score[n] : NAN;
    }
    if (l->refining && l->state->settings.fit_scale) {
        memcpy(l->patterns.scale, l->scale, (size_t)images * sizeof *l->scale);
        memcpy(l->state->scale, l->scale, (size_t)images * sizeof *l->scale);
    }
}

/* Has the mean score stopped rising over the last generations of this stage? */
static bool score_stands(const loop *l)
{
    const int last = l->state->generations - 1, before = last - SCAN_SPAN;
    double best = -1.0;

    for (int g = l->first; g <= before; g++) {
        const sp_generation *h = &l->state->history[g];

        if (h->accepted && same_stage(l, h)) {
            best = fmax(best, h->score);
        }
    }
    return best > 0.0 && best_so_far(l) < best + RISE;
}

/* How much the last generation improved the mean score. */
static double last_rise(const loop *l)
{
    const int last = l->state->generations - 1;

    return last > l->first ? l->state->history[last].score - l->state->history[last - 1].score : 1.0;
}

/* Keeps this attempt if it is the best so far. */
static void keep_attempt(loop *l)
{
    if (l->kept_score == 0.0 || l->now.score > l->kept_score) {
        l->kept_score = l->now.score;
        memcpy(l->kept, l->state->orientation, (size_t)l->state->images * sizeof *l->kept);
    }
}

/* Starts again from other random orientations if the outcome contradicts itself; returns whether it did. */
static bool again(loop *l)
{
    if (!climbs(&l->state->settings) || l->now.phasing_residual < CONTRADICTION || l->attempt + 1 >= MAX_ATTEMPTS ||
        l->state->generations + MIN_REFINED + SCAN_SPAN >= l->state->settings.generations) {
        return false;
    }
    keep_attempt(l);
    l->attempt++;
    sp_log_write(
        l->log, SP_LOG_INFO,
        "the amplitudes contradict each other (phasing residual %.3f): once more from other random orientations "
        "(attempt %d of at most %d)",
        l->now.phasing_residual, l->attempt + 1, MAX_ATTEMPTS);
    begin_attempt(l);
    return true;
}

/* From search to refinement, from small to large dispersion, from loop to end. Returns true at the end. */
static bool next_stage(loop *l, double dispersion)
{
    sp_reconstruction *state = l->state;
    const bool stands = score_stands(l);

    if (climbs(&state->settings) && !l->refining) {
        l->refining =
            (l->now.settled > 0.6 && last_rise(l) < SLOW_RISE) || stands || state->generations >= MAX_SEARCHED;
    } else if (l->refining && l->now.accepted) {
        l->dispersion = fmin(fmax(dispersion, FIRST_DISPERSION), LAST_DISPERSION);
        sp_matcher_set_dispersion(l->matcher, l->dispersion);
        state->converged = l->reach == l->s_max && l->refined >= MIN_REFINED && stands && l->now.settled > 0.5;
        l->reach = fmin(l->reach * MARCH, l->s_max);
    } else if (!l->refining) {
        state->converged = stands && l->now.settled > 0.9;
    }
    if (l->refined >= MIN_REFINED && again(l)) {
        state->converged = false;
        return false;
    }
    if (state->converged) {
        state->stop_reason = "the images stopped turning and the score stopped rising";
        return true;
    }
    if (state->generations >= state->settings.generations) {
        state->stop_reason = "the number of generations allowed was used up";
        return true;
    }
    return false;
}

static void report_generation(loop *l)
{
    sp_log_write(l->log, SP_LOG_INFO,
                 "generation %2d: score %.4f%s, turned by %.2f deg (%.0f %% settled), phasing residual %.4f, %.1f s",
                 l->now.generation + 1, l->now.score, l->now.accepted ? "" : " (refused)",
                 l->now.orientation_change * 180.0 / M_PI, 100.0 * l->now.settled, l->now.phasing_residual,
                 l->now.wall[SP_PHASE_MERGE] + l->now.wall[SP_PHASE_PHASE] + l->now.wall[SP_PHASE_SEARCH] +
                     l->now.wall[SP_PHASE_REFINE] + l->now.wall[SP_PHASE_OTHER]);
}

static sp_status run_generation(loop *l, sp_generation_hook *hook, void *context, bool *ended)
{
    sp_status status = SP_OK;
    double dispersion = 0.0;

    l->now = (sp_generation){.generation = l->state->generations, .resolution = 1.0 / l->reach};
    sp_matcher_limit(l->matcher, l->reach * 1.0001);
    merge_and_phase(l);
    SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "interrupted in generation %d", l->now.generation + 1);
    match_images(l);
    SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "interrupted in generation %d", l->now.generation + 1);
    sp_matcher_assess(l->matcher, l->orientation, l->score, l->scale, &dispersion);
    sp_log_write(l->log, SP_LOG_DETAIL, "dispersion in use %.2f, measured %.2f", l->dispersion, dispersion);
    l->now.score = mean_score(l);
    measure_change(l);
    accept_or_refuse(l);
    lap(l, SP_PHASE_OTHER);
    l->state->history[l->state->generations++] = l->now;
    report_generation(l);
    *ended = next_stage(l, dispersion);
    if (hook && l->now.accepted) {
        SP_TRY(hook(context, l->state));
    }
done:
    return status;
}

/* ---- the end ---- */

/* An earlier attempt that explained the images better takes the place of the last one. */
static void restore_best_attempt(loop *l)
{
    const int last = l->state->generations - 1;
    double dispersion = 0.0;

    if (l->kept_score <= l->state->history[last].score) {
        return;
    }
    sp_log_write(l->log, SP_LOG_INFO, "an earlier attempt explained the images better: its orientations are taken");
    memcpy(l->state->orientation, l->kept, (size_t)l->state->images * sizeof *l->kept);
    l->reach = l->s_max;
    sp_matcher_limit(l->matcher, l->reach * 1.0001);
    merge_and_phase(l);
    sp_matcher_assess(l->matcher, l->state->orientation, l->state->score, l->scale, &dispersion);
}

/* Merge in the final orientations, phase with many starts, and take the mean of those that agree. */
static sp_status finish(loop *l)
{
    sp_reconstruction *state = l->state;
    const double box = (double)state->edge * state->voxel;
    sp_status status = SP_OK;

    l->now = (sp_generation){.generation = state->generations};
    restore_best_attempt(l);
    sp_merger_run(l->merger, &l->patterns, state->orientation, LAMBDA, CG_ITERATIONS, l->autocorrelation);
    lap(l, SP_PHASE_MERGE);
    l->phasing.starts = state->settings.starts * FINAL_STARTS;
    l->phasing.seed = state->settings.seed;
    const sp_phase_result phased =
        sp_phaser_run(l->phaser, l->autocorrelation, hidden_centre(l), l->s_max, &l->phasing, l->density);

    SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "interrupted in the final phasing");
    const int entered = sp_phaser_average(l->phaser, &phased, state->density, state->prtf);

    sp_log_write(l->log, SP_LOG_INFO, "final phasing: residual %.4f, %d of %d starts agree", phased.residual, entered,
                 l->phasing.starts);
    state->prtf_shells = state->edge / 2 + 1;
    for (ptrdiff_t k = 0; k < state->prtf_shells; k++) {
        state->prtf_s[k] = (double)k / box;
        if (k > 0 && state->prtf_resolution == 0.0 && state->prtf[k] < exp(-1.0)) { /* first crossing, interpolated */
            const double share = (state->prtf[k - 1] - exp(-1.0)) / (state->prtf[k - 1] - state->prtf[k]);

            state->prtf_resolution = box / ((double)k - 1.0 + share);
        }
    }
    lap(l, SP_PHASE_PHASE);
done:
    return status;
}

static sp_status new_state(sp_image_file *file, const sp_reconstruct_settings *settings, sp_reconstruction **result)
{
    const sp_detector_map *map = sp_image_file_map(file);
    sp_status status = SP_OK;
    sp_reconstruction *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->settings = *settings;
    self->images = sp_image_file_count(file);
    self->wavelength = map->wavelength;
    self->stop_reason = "";
    memcpy(self->corrections, map->corrections, sizeof self->corrections);
    SP_TRY(SP_ARRAY(self->orientation, self->images));
    SP_TRY(SP_ARRAY(self->score, self->images));
    SP_TRY(SP_ARRAY(self->scale, self->images));
    *result = self;
    self = NULL;
done:
    sp_reconstruction_free(self);
    return status;
}

sp_status sp_reconstruct(sp_image_file *file, const sp_reconstruct_settings *settings, sp_log *log,
                         sp_generation_hook *hook, void *context, sp_reconstruction **result)
{
    sp_status status = SP_OK;
    loop l = {.file = file, .log = log, .dispersion = FIRST_DISPERSION};
    bool ended = false;

    SP_TRY(new_state(file, settings, &l.state));
    l.wall = sp_clock_wall();
    l.cpu = sp_clock_cpu();
    SP_TRY(SP_ARRAY(l.scale, l.state->images));
    SP_TRY(make_pixels(&l));
    measure_reach(&l);
    SP_TRY(read_images(&l));
    lap(&l, SP_PHASE_READ);
    SP_TRY(make_workspace(&l));
    sp_log_write(log, SP_LOG_INFO,
                 "%td images, %td bins each (%d x %d pixels), particle about %.0f Angstrom, grid %td^3 voxels of %.2f "
                 "Angstrom, %td orientations (%.1f deg apart), %s",
                 l.state->used, l.patterns.pixels, l.state->settings.binning, l.state->settings.binning,
                 l.state->settings.diameter * 1e10, l.state->edge, l.state->voxel * 1e10, l.grid.count,
                 2.0 * l.grid.typical * 180.0 / M_PI, l.state->quantum > 0.0 ? "photon noise" : "no noise");
    lap(&l, SP_PHASE_OTHER);
    while (!ended) {
        SP_TRY(run_generation(&l, hook, context, &ended));
    }
    SP_TRY(finish(&l));
    if (hook) {
        SP_TRY(hook(context, l.state));
    }
    *result = l.state;
    l.state = NULL;
done:
    clear_loop(&l);
    sp_reconstruction_free(l.state);
    return status;
}

void sp_reconstruction_free(sp_reconstruction *result)
{
    if (!result) {
        return;
    }
    sp_array_free(result->density);
    sp_array_free(result->orientation);
    sp_array_free(result->score);
    sp_array_free(result->scale);
    sp_array_free(result->history);
    sp_array_free(result->prtf);
    sp_array_free(result->prtf_s);
    sp_array_free(result);
}
