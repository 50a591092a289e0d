/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "device/stack.h"
#include "flow/loop.h"
#include "num/fft.h"

enum {
    RNG_ORIENTATION = 301, /* purpose of the random first orientations */
    RNG_LABEL = 501,       /* purpose of the random first conformations */
    RNG_GRID = 401,        /* purpose of the turns of the search grid */
    RNG_HELD_OUT = 601,    /* purpose of the choice of images that are held out */
    LEAST_HELD_OUT = 20,   /* images: the mean score of fewer says little */
    GRID_SAMPLES = 1000,   /* that measure the spacing of the search grid */
    KERNEL_WIDTH = 4,      /* of both NUFFTs: 4e-4 of the local intensity, below the noise of any image */
};

/* Memory [byte] */
static const double PROGRAM_BYTES = 20e6; /* the program, its libraries and threads */
static const double STARPU_BYTES = 40e6;  /* StarPU and MPI */
static const double OF_IMAGE = 300.0;     /* orientations, candidates, scores: each process has those of all */
static const double OF_SHARE =
    48.0; /* of an image: five lists of them, of each process or of its images, one for a moment */
static const double OF_ORIENTATION = 64.0; /* two grids, for a moment */
static const double OF_PIXEL = 61.0;       /* of the detector: where it is, its factors, the mean image, its bin */
static const double OF_BIN = 48.0;

static const ptrdiff_t LEAST_EDGE = 36; /* coarser grids cut the support too roughly */
static const double BEYOND = 2.0; /* cycles per box between the reach and the end of the grid: whole shells, blur */
static const double AUTOCORRELATION_REACH = 1.05; /* support of the autocorrelation, in diameters */
static const double BALL = 0.525;                 /* radius of the first support, in diameters */
static const double FLOOR = 0.3;                  /* share of the shell mean in the model pattern: see match.h */

/* s_max  [1/m], INFINITY where it is not known yet */
static sp_match_settings match_settings(const sp_reconstruct_settings *s, double s_max)
{
    return (sp_match_settings){.kind = s->match,
                               .route = s->match_route,
                               .diameter = s->diameter,
                               .dispersion = FIRST_DISPERSION,
                               .floor = FLOOR,
                               .s_max = s_max};
}

/* What a run is made of; `values` [byte] is what the images' counts take. */
typedef struct dimensions {
    ptrdiff_t images, bins, detector, edge;
    double values;
} dimensions;

/* That of a block of images: of the polar route all blocks share what searches. */
static double each_matcher(sp_match_settings match, ptrdiff_t images, ptrdiff_t bins, int threads)
{
    if (match.route != SP_MATCH_DENSE) {
        match.route = SP_MATCH_NONE;
        threads = 0; /* their work space is lent */
    }
    return sp_matcher_bytes(&match, images, bins, threads);
}

static sp_memory_plan plan_memory(const sp_run *run, const sp_reconstruct_settings *s, const dimensions *d)
{
    const double cube = (double)d->edge * (double)d->edge * (double)d->edge, images = (double)d->images;
    const int threads = sp_run_threads(run), ranks = sp_run_ranks(run), starts = s->starts * FINAL_STARTS;
    const double volumes = s->autocorrelations ? 6.0 : 5.0; /* [edge^3] that the loop itself has */
    const int own = (starts + ranks - 1) / ranks;           /* the densities of all come to one process in the end */
    const sp_match_settings match = match_settings(s, s->resolution > 0.0 ? 1.0 / s->resolution : INFINITY);
    const ptrdiff_t share = sp_crews_share(run, d->images);
    const double block = threads * (double)sp_crews_reading_bytes(d->images, d->detector);
    const double model =
        (s->conformations > 0 ? s->conformations : 1) *
        (sp_slicer_bytes(d->edge) + (double)sp_merger_bytes(d->edge) + (double)sp_merge_lanes_bytes(d->edge, d->bins) +
         (double)sp_phaser_bytes(d->edge, own, threads) + (volumes + starts - own) * 4.0 * cube);
    const double search = sp_matcher_bytes(&match, share, d->bins, threads);
    const ptrdiff_t each = sp_crews_block(d->images);
    const double matchers = (double)(share / each) * each_matcher(match, each, d->bins, threads);
    const double gpu = s->device == SP_DEVICE_CPU ? 0.0 : sp_device_stack_host_bytes(share, d->bins);
    const double of_image = OF_IMAGE + (sp_loop_keep(s) - KEEP) * OF_SHARE;
    sp_memory_plan plan = {.image = d->values / images + of_image,
                           .orientation = OF_ORIENTATION,
                           .voxel = model / cube,
                           .share = (double)share};

    plan.fixed = PROGRAM_BYTES + block + search + matchers + gpu + OF_PIXEL * (double)d->detector +
                 OF_BIN * (double)d->bins + of_image * (images - (double)share) + (ranks > 1 ? STARPU_BYTES : 0.0);
    plan.total = plan.fixed + plan.share * plan.image + (double)s->orientations * plan.orientation + cube * plan.voxel;
    return plan;
}

sp_memory_plan sp_reconstruct_memory(const sp_run *run, const sp_image_file *file,
                                     const sp_reconstruct_settings *settings)
{
    const sp_detector_map *map = sp_image_file_map(file);
    const int bin = settings->binning > 0 ? settings->binning : 1;
    dimensions d = {.images = sp_image_file_count(file),
                    .bins = map->pixels / ((ptrdiff_t)bin * bin) + 1,
                    .detector = map->pixels,
                    .edge = settings->grid > 0 ? settings->grid : 64};

    d.values = 4.0 * (double)d.images * (double)d.bins;
    return plan_memory(run, settings, &d);
}

/* Says what the run will take, and refuses where that is more than there is besides what the images hold already. */
static sp_status check_memory(const sp_loop *l)
{
    const dimensions d = {.images = l->state->images,
                          .bins = l->patterns.pixels,
                          .detector = l->patterns.source_count,
                          .edge = l->state->edge,
                          .values = l->values};
    const sp_run *run = l->crews.run;
    const sp_memory_plan plan = plan_memory(run, &l->state->settings, &d);
    const double need = sp_run_neighbours(run) * (plan.total - plan.share * d.values / (double)d.images);
    const double have = (double)sp_memory_available();
    sp_status status = SP_OK;

    sp_log_info(l->log,
                "memory: about %.0f MB%s, with %.0f bytes for each of %.0f images, %.0f for each orientation, %.0f for "
                "each voxel",
                plan.total / 1e6, sp_run_ranks(run) > 1 ? " in each process" : "", plan.image, plan.share,
                plan.orientation, plan.voxel);
    SP_REQUIRE(have == 0.0 || need <= have, SP_ERR_MEMORY,
               "the run needs %.1f GB of memory on this machine and %.1f GB are free: lower --resolution, or raise "
               "--binning",
               need / 1e9, have / 1e9);
done:
    return sp_run_agree(l->crews.run, status);
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

sp_status sp_loop_hold_out(sp_loop *l)
{
    const sp_reconstruct_settings *s = &l->state->settings;
    const bool enough = s->held_out * (double)l->state->images >= LEAST_HELD_OUT;
    sp_status status = SP_OK;

    SP_REQUIRE(enough || !l->automatic, SP_ERR_USAGE,
               "--held-out: %g of %td images are too few to find the number of conformations by: %d are needed; raise "
               "it, or give the number",
               s->held_out, l->state->images, LEAST_HELD_OUT);
    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        sp_rng rng = sp_rng_stream(s->seed, RNG_HELD_OUT, (uint64_t)n);

        l->state->held_out[n] = enough && sp_rng_uniform(&rng) < s->held_out;
    }
done:
    return status;
}

void sp_loop_begin_attempt(sp_loop *l)
{
    const sp_reconstruct_settings *s = &l->state->settings;

    for (ptrdiff_t i = 0; i < l->state->images; i++) {
        sp_rng rng = sp_rng_stream(s->seed, RNG_ORIENTATION + (uint32_t)l->attempt, (uint64_t)i);

        l->state->orientation[i] = sp_quat_random(&rng);
        rng = sp_rng_stream(s->seed, RNG_LABEL + (uint32_t)l->attempt, (uint64_t)i);
        l->state->label[i] = (int32_t)(sp_rng_u32(&rng) % (uint32_t)l->conformations);
    }
    l->first = l->scored_from = l->state->generations;
    l->reach = sp_loop_first_reach(l);
    l->refining = false;
    l->refined = l->refused = l->seeded = 0;
    sp_loop_wake_conformations(l);
    l->points = 0;
    l->dispersion = FIRST_DISPERSION;
}

/* The grid of the search, while searching turned at random for each generation. */
static sp_status make_grid(sp_loop *l)
{
    const int wanted = l->state->settings.orientations;
    const int count = l->grid_follows ? sp_loop_orientations(l, sp_loop_speckle(l)) : wanted;
    const int turns = l->refining ? l->attempt : l->state->generations * l->batches + l->batch;
    sp_rng rng = sp_rng_stream(l->state->settings.seed, RNG_GRID, (uint64_t)turns);
    const sp_quat turn = sp_loop_climbs(&l->state->settings) ? sp_quat_random(&rng) : sp_quat_identity();
    sp_rotation_grid grid = {0};
    sp_status status = SP_OK;

    SP_TRY(sp_rotation_grid_init(count < wanted ? count : wanted, &grid));
    if (grid.count == l->grid.count) {
        grid.covering = l->grid.covering;
        grid.typical = l->grid.typical;
    } else {
        SP_TRY(sp_rotation_grid_measure(&grid, GRID_SAMPLES));
    }
    for (ptrdiff_t i = 0; i < grid.count; i++) {
        grid.q[i] = sp_quat_multiply(grid.q[i], turn);
    }
    sp_rotation_grid_clear(&l->grid);
    l->grid = grid;
    l->state->grid_spacing = l->grid.typical;
done:
    return status;
}

static void free_model(sp_loop *l)
{
    sp_slicer_free(l->slicer);
    for (int k = 0; k < SP_CONFORMATIONS; k++) {
        sp_merger_free(l->merger[k]);
        l->merger[k] = NULL;
    }
    sp_phase_plan_free(l->plan);
    l->slicer = NULL;
    l->plan = NULL;
}

/* Edge of the density that holds the detail within reach, in the same box. */
static ptrdiff_t edge_within_reach(const sp_loop *l)
{
    const ptrdiff_t full = l->state->settings.grid;
    const ptrdiff_t wanted = sp_fft_good_size((ptrdiff_t)ceil(2.0 * (l->reach * l->box + BEYOND)));
    const ptrdiff_t edge = wanted > LEAST_EDGE ? wanted : LEAST_EDGE;

    return l->reach < l->s_max && edge < full ? edge : full;
}

/* Slicer, merger and phaser for the detail within reach and so many starts, unless they are there already. */
static sp_status make_model(sp_loop *l)
{
    const ptrdiff_t edge = edge_within_reach(l);
    const double voxel = l->box / (double)edge;
    sp_status status = SP_OK;

    if (l->plan && edge == l->state->edge && l->phasing.starts == l->starts) {
        return SP_OK;
    }
    free_model(l);
    SP_TRY(sp_slicer_new(edge, voxel, KERNEL_WIDTH, &l->slicer));
    for (int k = 0; k < l->conformations; k++) {
        SP_TRY(sp_merger_new(edge, voxel, AUTOCORRELATION_REACH * l->state->settings.diameter, KERNEL_WIDTH,
                             &l->merger[k]));
    }
    SP_TRY(sp_phase_plan_new(edge, voxel, &l->plan));
    if (edge != l->state->edge) { /* models of different edges do not compare */
        memset(l->last_model, 0, (size_t)(l->conformations * edge * edge * edge) * sizeof *l->last_model);
    }
    l->starts = l->phasing.starts;
    l->state->edge = edge;
    l->state->voxel = voxel;
    SP_TRY(sp_crews_make_stage(l));
done:
    return status;
}

sp_status sp_loop_make_stage(sp_loop *l)
{
    sp_status status = SP_OK;

    SP_TRY(make_grid(l));
    SP_TRY(make_model(l));
done:
    return status;
}

/* For images in shares. */
static sp_status make_shares(sp_loop *l)
{
    const ptrdiff_t all = l->state->images * l->keep;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(l->place, all));
    SP_TRY(SP_ARRAY(l->placed, all));
    SP_TRY(SP_ARRAY(l->share, all));
    SP_TRY(SP_ARRAY(l->shared, all));
    SP_TRY(SP_ARRAY(l->point, sp_loop_most_points(l)));
done:
    return status;
}

static void free_densities(sp_loop *l)
{
    sp_array_free(l->model);
    sp_array_free(l->last_model);
    sp_array_free(l->density);
    l->model = l->last_model = l->density = NULL;
}

sp_status sp_loop_set_conformations(sp_loop *l, int conformations)
{
    const ptrdiff_t n = l->state->settings.grid, all = conformations * n * n * n;
    sp_status status = SP_OK;

    free_densities(l);
    sp_array_free(l->state->density);
    sp_array_free(l->state->autocorrelation);
    sp_array_free(l->state->prtf);
    l->state->density = l->state->autocorrelation = NULL;
    l->state->prtf = NULL;
    l->conformations = l->state->settings.conformations = conformations;
    l->starts = 0; /* slicer, merger and phasing are those of another number */
    SP_TRY(SP_ARRAY(l->model, all));
    SP_TRY(SP_ARRAY(l->last_model, all));
    SP_TRY(SP_ARRAY(l->density, all));
    SP_TRY(SP_ARRAY(l->state->density, all));
    if (l->state->settings.autocorrelations) {
        SP_TRY(SP_ARRAY(l->state->autocorrelation, all));
    }
    SP_TRY(SP_ARRAY(l->state->prtf, conformations * (n / 2 + 1)));
done:
    return status;
}

sp_status sp_loop_make_workspace(sp_loop *l)
{
    const sp_reconstruct_settings *s = &l->state->settings;
    const ptrdiff_t n = s->grid, images = l->state->images;
    sp_status status = SP_OK;

    SP_TRY(check_memory(l));
    l->box = (double)n * l->state->voxel;
    l->matching = match_settings(s, l->s_max);
    SP_TRY(sp_match_choose_route(&l->patterns, &l->matching, &l->state->settings.match_route));
    if (l->state->settings.match_route == SP_MATCH_POLAR) {
        const sp_polar_input input = sp_match_polar_input(&l->patterns, &l->matching);

        SP_TRY(sp_polar_new(&input, &l->polar));
    }
    SP_TRY(sp_crews_equip(l));
    l->phasing = phasing_schedule(s);
    SP_TRY(sp_loop_set_conformations(l, l->conformations));
    SP_TRY(SP_ARRAY(l->orientation, images));
    SP_TRY(SP_ARRAY(l->label, images));
    SP_TRY(SP_ARRAY(l->kept_label, images));
    SP_TRY(SP_ARRAY(l->score, images));
    SP_TRY(SP_ARRAY(l->nearness, images));
    SP_TRY(SP_ARRAY(l->merged, images));
    SP_TRY(SP_ARRAY(l->kept, images));
    SP_TRY(SP_ARRAY(l->kept_each, images));
    SP_TRY(SP_ARRAY(l->profile, SP_CONFORMATIONS * l->patterns.shells));
    SP_TRY(SP_ARRAY(l->mark, SP_CONFORMATIONS));
    SP_TRY(SP_ARRAY(l->standing, SP_CONFORMATIONS));
    if (sp_loop_divides(l)) {
        SP_TRY(make_shares(l));
    }
    SP_TRY(SP_ARRAY(l->state->history, s->generations));
    SP_TRY(SP_ARRAY(l->state->prtf_s, n / 2 + 1));
    SP_TRY(sp_loop_hold_out(l));
    sp_loop_begin_attempt(l);
    SP_TRY(sp_loop_make_stage(l));
done:
    return status;
}

void sp_loop_clear(sp_loop *l)
{
    sp_crews_close(l);
    sp_rank_gpu_close(l->gpu);
    sp_array_free(l->correction);
    sp_patterns_clear(&l->patterns);
    free_model(l);
    sp_polar_free(l->polar);
    sp_rotation_grid_clear(&l->grid);
    free_densities(l);
    sp_array_free(l->orientation);
    sp_array_free(l->label);
    sp_array_free(l->kept_label);
    sp_array_free(l->score);
    sp_array_free(l->scale);
    sp_array_free(l->nearness);
    sp_array_free(l->merged);
    sp_array_free(l->kept);
    sp_array_free(l->kept_each);
    sp_array_free(l->profile);
    sp_array_free(l->mark);
    sp_array_free(l->standing);
    sp_array_free(l->place);
    sp_array_free(l->placed);
    sp_array_free(l->share);
    sp_array_free(l->shared);
    sp_array_free(l->point);
}
