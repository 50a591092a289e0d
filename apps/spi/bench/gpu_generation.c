/* SPDX-License-Identifier: BSD-3-Clause */
/* A generation on a GPU, step by step as flow/gpu.c has it: by the compositions of device/, what the host does in
 * between included. Beside each step, the same on the processor. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "bench/gpu_floor.h"
#include "bench/gpu_images.h"
#include "bench/parts.h"
#include "device/amplitudes.h"
#include "device/merger.h"
#include "device/phase.h"
#include "device/polar_tables.h"
#include "device/stack.h"
#include "num/nufft_layout.h"
#include "num/rotation_grid.h"
#include "phases/merge.h"
#include "phases/phaser.h"

/* As the loop has them (flow/loop.h, crew.c, workspace.c). */
enum { WIDTH = 4, KEEP = 3, CANDIDATES = KEEP + 1, STEPS = 4, ITERATIONS = 20, SPREAD = 1 << 22 };
enum { TRUE_MODEL, PHASED_MODEL, MODELS };
static const double LAMBDA = 1e-3, DISPERSION = 10.0, AUTOCORRELATION_REACH = 1.05, BALL = 0.525;

typedef struct job {
    sp_gpu_images images; /* simulated ones, and their true model */
    const sp_patterns **part;
    sp_match_settings matching;
    sp_polar *polar;
    sp_rotation_grid grid;
    sp_merger *like;
    sp_phase_settings phasing;
    double delta; /* [rad] a third of a speckle */

    /* on the device */
    const sp_device *device;
    sp_device_stack *stack;
    sp_device_slicer *slicer;
    sp_device_merger *merger;
    sp_device_phaser *phaser;
    sp_device_amplitudes *amplitudes;
    float *autocorrelation, *density;

    /* all images */
    sp_device_choice choice;
    int32_t *number;
    sp_quat *truth, *candidates, *found;
    sp_candidate *best;
    float *scale, *score, *fitted;
    double *fit, *scatter;
    sp_phase_outcome *outcome;
    int winner;

    /* the processor's, of the simulated images */
    sp_matcher *matcher;
    sp_merge_lanes *lanes;
    sp_phaser *phaser_here;
    float *volume_here[2];
    sp_candidate *best_here;
    sp_quat *candidates_here, *found_here;
    double *shells; /* [2 edge] */
} job;

/* ---- steps on the device ---- */

static sp_status run_merge(const sp_device *device, void *context)
{
    job *j = context;
    sp_merge_result result;
    sp_status status = SP_OK;

    (void)device;
    SP_TRY(sp_device_merger_begin(j->merger));
    SP_TRY(sp_device_stack_spread(j->stack, &j->choice, j->truth, NULL, INFINITY, j->merger));
    SP_TRY(sp_device_merger_solve(j->merger, sp_merger_outermost(&j->images.patterns, INFINITY), LAMBDA, ITERATIONS,
                                  j->autocorrelation, &result));
done:
    return status;
}

static sp_status run_phase(const sp_device *device, void *context)
{
    job *j = context;
    const sp_device_phase_kernels *phase = device->kernels->phase;
    const float *amplitude = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_device_amplitudes_make(j->amplitudes, j->autocorrelation, 0.0, j->images.experiment.s_max, true,
                                     &amplitude));
    SP_TRY(phase->begin(device, j->phaser, amplitude, &j->phasing, 0));
    for (int i = 0; i < j->phasing.cycles; i++) {
        SP_TRY(phase->cycle(device, j->phaser, i));
    }
    SP_TRY(phase->finish(device, j->phaser, j->outcome));
    j->winner = sp_phase_choose(j->outcome, j->phasing.starts).winner;
done:
    return status;
}

static sp_status run_model(const sp_device *device, void *context)
{
    job *j = context;
    const sp_device_phase_kernels *phase = device->kernels->phase;
    const float *density = phase->density(j->phaser, j->winner);
    sp_status status = SP_OK;

    SP_TRY(phase->autocorrelate(device, j->phaser, density, NULL, j->shells, j->density));
    SP_TRY(phase->autocorrelate(device, j->phaser, density, j->shells, NULL, j->density));
    SP_TRY(sp_device_slicer_load(j->slicer, PHASED_MODEL, j->density));
done:
    return status;
}

static sp_device_view view_of(const job *j)
{
    return (sp_device_view){
        .slicer = j->slicer, .model = TRUE_MODEL, .pixels = j->images.pixels, .dispersion = DISPERSION};
}

static sp_status run_search(const sp_device *device, void *context)
{
    job *j = context;
    const sp_device_view view = view_of(j);

    (void)device;
    return sp_device_stack_search(j->stack, &view, &j->grid, &j->choice, j->best);
}

/* Candidates of each image: the best of the grid, and where it stands. */
static void gather_candidates(const job *j, ptrdiff_t images, const sp_candidate *best, sp_quat *candidates)
{
    for (ptrdiff_t n = 0; n < images; n++) {
        for (int i = 0; i < KEEP; i++) {
            candidates[n * CANDIDATES + i] = j->grid.q[best[n * KEEP + i].index];
        }
        candidates[n * CANDIDATES + KEEP] = j->grid.q[n % j->grid.count]; /* an image that has been turned round */
    }
}

static sp_status run_refine(const sp_device *device, void *context)
{
    job *j = context;
    const sp_device_view view = view_of(j);

    (void)device;
    gather_candidates(j, j->choice.images, j->best, j->candidates);
    return sp_device_stack_refine(j->stack, &view, &j->choice, j->candidates, CANDIDATES, STEPS, j->delta, j->found,
                                  j->fit);
}

static sp_status run_assess(const sp_device *device, void *context)
{
    job *j = context;
    const sp_device_view view = view_of(j);

    (void)device;
    return sp_device_stack_assess(j->stack, &view, &j->choice, j->found, j->score, j->fitted, j->scatter);
}

/* ---- the same on the processor ---- */

static void merge_here(void *context)
{
    const job *j = context;

    sp_merger_run(j->like, j->lanes, &j->images.patterns, j->images.orientation, INFINITY, LAMBDA, ITERATIONS,
                  j->volume_here[0]);
}

static void phase_here(void *context)
{
    const job *j = context;

    sp_phaser_run(j->phaser_here, j->volume_here[0], 0.0, j->images.experiment.s_max, true, &j->phasing,
                  j->volume_here[1]);
}

static void model_here(void *context)
{
    const job *j = context;

    sp_phaser_autocorrelate(j->phaser_here, j->volume_here[1], NULL, j->shells, j->volume_here[0]);
    sp_phaser_autocorrelate(j->phaser_here, j->volume_here[1], j->shells, NULL, j->volume_here[0]);
    sp_slicer_load(j->images.slicer, j->images.model); /* the true one: what follows is to find something */
}

static void search_here(void *context)
{
    const job *j = context;

    sp_matcher_search(j->matcher, &j->grid, &(sp_shortlists){.keep = KEEP, .best = j->best_here});
}

static void refine_here(void *context)
{
    const job *j = context;
    const ptrdiff_t images = j->images.patterns.images;

    gather_candidates(j, images, j->best_here, j->candidates_here);
    sp_matcher_refine(j->matcher, j->candidates_here, CANDIDATES, (sp_selection){0}, STEPS, j->delta, j->found_here,
                      NULL);
}

static void assess_here(void *context)
{
    const job *j = context;
    double dispersion;

    sp_matcher_assess(j->matcher, j->found_here, j->score, j->fitted, &dispersion);
}

/* ---- steps ---- */

typedef struct step {
    const char *name, *here; /* and what the processor calls */
    sp_status (*run)(const sp_device *device, void *context);
    void (*run_here)(void *context);
    bool of_images; /* it takes as long as there are images */
} step;

enum { MERGE, PHASE, MODEL, SEARCH, REFINE, ASSESS, ALL_STEPS };

static const step steps[ALL_STEPS] = {
    [MERGE] = {"merge", "sp_merger_run", run_merge, merge_here, true},
    [PHASE] = {"phase", "sp_phaser_run", run_phase, phase_here, false},
    [MODEL] = {"the model", "sp_phaser_autocorrelate, sp_slicer_load", run_model, model_here, false},
    [SEARCH] = {"search, polar", "sp_matcher_search, polar", run_search, search_here, true},
    [REFINE] = {"refine", "sp_matcher_refine", run_refine, refine_here, true},
    [ASSESS] = {"assess", "sp_matcher_assess", run_assess, assess_here, true},
};

static sp_status run_all(const sp_device *device, void *context)
{
    sp_status status = SP_OK;

    for (int i = 0; i < ALL_STEPS; i++) {
        SP_TRY(steps[i].run(device, context));
    }
done:
    return status;
}

/* ---- floors ---- */

/* The counts of all images. */
static double image_bytes(const job *j)
{
    return sizeof(float) * (double)j->choice.images * (double)j->images.pixels;
}

static double value_operations(const job *j)
{
    return sp_floor_point(WIDTH, j->images.stencil.degree, 1) + sp_floor_stencil(WIDTH);
}

static double turns_operations(const job *j)
{
    return sp_floor_point(WIDTH, j->images.stencil.degree, 2) + sp_floor_turns(WIDTH);
}

/* Spreading two sets, and two transforms of twice the edge for each iteration. */
static sp_gpu_work merge_work(const job *j)
{
    const double points = (double)j->choice.images * (double)j->images.pixels;
    const double point = sp_floor_point(WIDTH, j->images.stencil.degree, 1) + 2.0 * sp_floor_stencil(WIDTH);

    return (sp_gpu_work){.bytes = image_bytes(j),
                         .operations =
                             points * point + 2.0 * ITERATIONS * sp_floor_transform(2.0 * (double)j->images.edge)};
}

/* Two transforms for each step of each start. A step reads and writes the density, and reads amplitudes and support. */
static sp_gpu_work phase_work(const job *j)
{
    const sp_phase_settings *s = &j->phasing;
    const double all = (double)s->starts * (s->cycles * (s->raar_steps + s->er_steps) + s->final_steps);

    return (sp_gpu_work){.bytes = 11.0 * all * pow((double)j->images.edge, 3.0),
                         .operations = 2.0 * all * sp_floor_transform((double)j->images.edge)};
}

/* Four transforms, and that of the finer grid. */
static sp_gpu_work model_work(const job *j)
{
    return (sp_gpu_work){.operations = 4.0 * sp_floor_transform((double)j->images.edge) +
                                       sp_floor_transform((double)sp_nufft_layout_of(j->images.plan).fine)};
}

/* Products of the coefficients of each image and direction, of which there are real and imaginary parts, and of the
 * frequencies with the angles; the samples of the directions. Transforms of the images are there. */
static sp_gpu_work search_work(const job *j)
{
    const sp_device_polar_limits most = sp_device_polar_limits_of(j->polar);
    const double images = (double)j->choice.images, directions = (double)j->grid.directions;
    const double angles = (double)j->grid.angles;

    return (sp_gpu_work){.bytes = sizeof(uint16_t) * images * (double)most.row,
                         .operations = directions * (double)most.samples * value_operations(j),
                         .products = images * directions * (4.0 * (double)most.row + 2.0 * angles * (angles + 2.0))};
}

/* Patterns at every place that was looked at. */
static sp_gpu_work refine_work(const job *j)
{
    const ptrdiff_t *looks = sp_device_stack_looks(j->stack);
    const double pixels = (double)j->images.pixels;

    return (sp_gpu_work){
        .bytes = image_bytes(j),
        .operations = pixels * ((double)looks[0] * value_operations(j) + (double)looks[1] * turns_operations(j))};
}

static sp_gpu_work assess_work(const job *j)
{
    return (sp_gpu_work){.bytes = image_bytes(j),
                         .operations = (double)j->choice.images * (double)j->images.pixels * value_operations(j)};
}

static sp_gpu_work work_of(const job *j, int i)
{
    static sp_gpu_work (*const work[ALL_STEPS])(const job *) = {merge_work,  phase_work,  model_work,
                                                                search_work, refine_work, assess_work};

    return work[i](j);
}

/* ---- memory ---- */

static void job_clear(job *j)
{
    if (j->device) {
        sp_device_stack_free(j->stack);
        sp_device_slicer_free(j->slicer);
        sp_device_merger_free(j->merger);
        sp_device_amplitudes_free(j->amplitudes);
        j->device->kernels->phase->release(j->device, j->phaser);
    }
    sp_matcher_free(j->matcher);
    sp_merge_lanes_free(j->lanes);
    sp_phaser_free(j->phaser_here);
    sp_polar_free(j->polar);
    sp_merger_free(j->like);
    sp_rotation_grid_clear(&j->grid);
    sp_gpu_images_clear(&j->images);

    void *const arrays[] = {j->part,           j->number,
                            j->truth,          j->candidates,
                            j->found,          j->best,
                            j->scale,          j->score,
                            j->fitted,         j->fit,
                            j->scatter,        j->outcome,
                            j->volume_here[0], j->volume_here[1],
                            j->best_here,      j->candidates_here,
                            j->found_here,     j->shells};

    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        sp_array_free(arrays[i]);
    }
}

/* The simulated images again and again. */
static sp_status repeat_images(job *j, ptrdiff_t images)
{
    const ptrdiff_t simulated = j->images.patterns.images, parts = (images + simulated - 1) / simulated;
    sp_status status = SP_OK;

    images = parts * simulated;
    SP_TRY(SP_ARRAY(j->part, parts));
    SP_TRY(SP_ARRAY(j->number, images));
    SP_TRY(SP_ARRAY(j->truth, images));
    SP_TRY(SP_ARRAY(j->scale, images));
    for (ptrdiff_t b = 0; b < parts; b++) {
        j->part[b] = &j->images.patterns;
    }
    for (ptrdiff_t n = 0; n < images; n++) {
        j->number[n] = (int32_t)n;
        j->truth[n] = j->images.orientation[n % simulated];
        j->scale[n] = j->images.patterns.scale[n % simulated];
    }
    j->choice = (sp_device_choice){.image = j->number, .scale = j->scale, .images = images};
    SP_TRY(SP_ARRAY(j->candidates, images * CANDIDATES));
    SP_TRY(SP_ARRAY(j->found, images));
    SP_TRY(SP_ARRAY(j->best, images * KEEP));
    SP_TRY(SP_ARRAY(j->score, images));
    SP_TRY(SP_ARRAY(j->fitted, images));
    SP_TRY(SP_ARRAY(j->fit, images));
    SP_TRY(SP_ARRAY(j->scatter, sp_match_scatter_count(j->images.patterns.shells)));
done:
    return status;
}

static sp_status make_settings(job *j, const sp_gpu_extent *size, bool quick)
{
    const sp_experiment *e = &j->images.experiment;
    sp_status status = SP_OK;

    j->matching = (sp_match_settings){.route = SP_MATCH_POLAR,
                                      .diameter = e->diameter,
                                      .dispersion = DISPERSION,
                                      .floor = SP_GPU_IMAGES_FLOOR,
                                      .s_max = e->s_max};
    j->phasing = (sp_phase_settings){.starts = quick ? 2 : 4,
                                     .cycles = quick ? 1 : 10,
                                     .raar_steps = quick ? 2 : 20,
                                     .er_steps = quick ? 1 : 10,
                                     .final_steps = quick ? 1 : 30,
                                     .beta = 0.87,
                                     .blur_first = 2.0,
                                     .blur_last = 1.0,
                                     .threshold = 0.1,
                                     .radius = BALL * e->diameter,
                                     .seed = 1};
    j->delta = 1.0 / (e->s_max * e->diameter) / 3.0;
    SP_TRY(sp_rotation_grid_init(size->orientations, &j->grid));
    const sp_polar_input tables = sp_match_polar_input(&j->images.patterns, &j->matching);

    SP_TRY(sp_polar_new(&tables, &j->polar));
    sp_polar_begin(j->polar, j->images.pixels, DISPERSION, &j->grid, sp_slicer_reach(j->images.slicer));
    SP_TRY(sp_merger_new(j->images.edge, j->images.voxel, AUTOCORRELATION_REACH * e->diameter, WIDTH, &j->like));
done:
    return status;
}

static sp_status make_device(const sp_device *device, job *j)
{
    const ptrdiff_t edge = j->images.edge, cube = edge * edge * edge;
    const sp_device_stack_input input = {.layout = &j->images.patterns,
                                         .part = j->part,
                                         .parts = j->choice.images / j->images.patterns.images,
                                         .matching = j->matching,
                                         .polar = j->polar,
                                         .keep = KEEP};
    sp_status status = SP_OK;

    j->device = device;
    SP_TRY(sp_device_stack_new(device, &input, &j->stack));
    SP_TRY(sp_device_slicer_new(device, j->images.slicer, MODELS, &j->slicer));
    SP_TRY(sp_device_merger_new(device, j->like, SPREAD, &j->merger));
    SP_TRY(device->kernels->phase->make(device, edge, j->images.voxel, j->phasing.starts, &j->phaser));
    SP_TRY(SP_GPU_ARRAY(&j->images.arrays, j->autocorrelation, cube, j->images.model));
    SP_TRY(SP_GPU_ARRAY(&j->images.arrays, j->density, cube, NULL));
    SP_TRY(sp_device_amplitudes_new(device, j->phaser, edge, j->images.voxel, &j->amplitudes));
    SP_TRY(SP_ARRAY(j->outcome, j->phasing.starts));
    SP_TRY(sp_device_slicer_load(j->slicer, TRUE_MODEL, j->autocorrelation));
done:
    return status;
}

static sp_status make_processor(job *j)
{
    const ptrdiff_t edge = j->images.edge, images = j->images.patterns.images;
    sp_status status = SP_OK;

    SP_TRY(sp_matcher_new(&j->images.patterns, j->images.slicer, &j->matching, &j->matcher));
    SP_TRY(sp_merge_lanes_new(j->like, &j->images.patterns, &j->lanes));
    SP_TRY(sp_phaser_new(edge, j->images.voxel, j->phasing.starts, &j->phaser_here));
    SP_TRY(SP_ARRAY(j->volume_here[0], edge * edge * edge));
    SP_TRY(SP_ARRAY(j->volume_here[1], edge * edge * edge));
    SP_TRY(SP_ARRAY(j->best_here, images * KEEP));
    SP_TRY(SP_ARRAY(j->candidates_here, images * CANDIDATES));
    SP_TRY(SP_ARRAY(j->found_here, images));
    SP_TRY(SP_ARRAY(j->shells, 2 * edge));
done:
    return status;
}

/* ---- rows ---- */

/* Both find the same: the mean fit of an image is that of the processor's orientations. */
static sp_status check(job *j, double *error)
{
    const ptrdiff_t images = j->images.patterns.images;
    double got = 0.0, want = 0.0;
    double *fit = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(fit, images));
    SP_TRY(run_all(j->device, j));
    search_here(j);
    gather_candidates(j, images, j->best_here, j->candidates_here);
    sp_matcher_refine(j->matcher, j->candidates_here, CANDIDATES, (sp_selection){0}, STEPS, j->delta, j->found_here,
                      fit);
    for (ptrdiff_t n = 0; n < images; n++) {
        got += j->fit[n];
        want += fit[n];
    }
    *error = fabs(got - want) / fabs(want);
    SP_TRY(sp_bench_check("a generation on the GPU", *error, 1e-3));
done:
    sp_array_free(fit);
    return status;
}

static sp_status time_step(sp_bench *bench, job *j, int i, double error)
{
    const double share = (double)j->images.patterns.images / (double)j->choice.images;
    sp_gpu_work work = work_of(j, i);
    sp_row *row = sp_row_add(bench, "generation", 1, "%s", steps[i].name);
    sp_status status = SP_OK;

    work.run = steps[i].run;
    work.context = j;
    row->error = i == REFINE ? error : row->error;
    SP_TRY(sp_gpu_time(bench, &work, row));
    SP_TRY(sp_gpu_compare(bench, steps[i].run_here, j, steps[i].of_images ? share : 1.0, row, steps[i].here));
done:
    return status;
}

static sp_status time_all(sp_bench *bench, job *j)
{
    sp_gpu_work all = {.run = run_all, .context = j};
    sp_row *row = sp_row_add(bench, "generation", 1, "all of it: %td images, %td orientations, %td pixels, N %td",
                             j->choice.images, j->grid.count, j->images.pixels, j->images.edge);
    sp_status status = SP_OK;

    for (int i = 0; i < ALL_STEPS; i++) {
        const sp_gpu_work work = work_of(j, i);

        all.bytes += work.bytes;
        all.operations += work.operations;
        all.products += work.products;
    }
    SP_TRY(sp_gpu_time(bench, &all, row));
done:
    return status;
}

sp_status sp_bench_gpu_generation(sp_bench *bench)
{
    const sp_device *device = bench->gpu.device;
    const sp_gpu_extent size = sp_gpu_images_extent(bench);
    double error = 0.0;
    job *j = NULL; /* images point into it */
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(j, 1));
    SP_TRY(sp_gpu_images_init(device, &size, &j->images));
    SP_TRY(repeat_images(j, size.images));
    SP_TRY(make_settings(j, &size, bench->settings.quick));
    SP_TRY(make_device(device, j));
    SP_TRY(make_processor(j));
    SP_TRY(check(j, &error));
    for (int i = 0; i < ALL_STEPS; i++) {
        SP_TRY(time_step(bench, j, i, error));
    }
    SP_TRY(time_all(bench, j));
done:
    if (j) {
        job_clear(j);
    }
    sp_array_free(j);
    return status;
}
