/* SPDX-License-Identifier: BSD-3-Clause */
/* Each phase of a generation on one small simulated data set: what it costs, and what a second thread gains. */
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "bench/experiment.h"
#include "bench/parts.h"
#include "num/rotation_grid.h"
#include "phases/match.h"
#include "phases/merge.h"
#include "phases/phaser.h"
#include "phases/slice.h"

enum {
    WIDTH = 4, /* of the kernel of both transforms */
    CG_ITERATIONS = 20,
    CLIMB_STEPS = 4,
};

static const double LAMBDA = 1e-3;
static const double CLIMB = 0.02;  /* [rad] */
static const double OFF_BY = 0.03; /* [rad] how far orientations are off before they are refined */

typedef struct dimensions {
    ptrdiff_t pixels, images, orientations;
    int starts, cycles;
} dimensions;

static const dimensions full_size = {.pixels = 128, .images = 200, .orientations = 4000, .starts = 4, .cycles = 3};
static const dimensions quick_size = {.pixels = 64, .images = 40, .orientations = 1000, .starts = 2, .cycles = 1};

typedef struct data {
    dimensions size;
    sp_experiment experiment;
    sp_patterns patterns;
    ptrdiff_t edge;
    double voxel;
    float *model, *merged, *density; /* [edge^3] */
    float *pattern;                  /* [images][pixels] */
    sp_quat *truth, *off, *found;    /* [images] */
    sp_candidate *best;              /* [images] */
    float *score, *scale;            /* [images] */
    sp_rotation_grid grid;
    sp_slicer *slicer;
    sp_matcher *matcher;
    sp_merger *merger;
    sp_merge_lanes *lanes;
    sp_phaser *phaser;
    sp_phase_settings phasing;
} data;

/* ---- the phases ---- */

static void run_slice(void *context)
{
    data *d = context;

    sp_slicer_load(d->slicer, d->model);
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < d->size.images; i++) {
        sp_slicer_cut(d->slicer, d->truth[i], d->patterns.s, d->patterns.pixels, d->pattern + i * d->patterns.pixels);
    }
}

static void run_search(void *context)
{
    data *d = context;

    sp_matcher_search(d->matcher, &d->grid, &(sp_shortlists){.keep = 1, .best = d->best});
}

static void run_refine(void *context)
{
    data *d = context;

    sp_matcher_refine(d->matcher, d->off, 1, CLIMB_STEPS, CLIMB, d->found);
}

static void run_assess(void *context)
{
    data *d = context;
    double dispersion = 0.0;

    sp_matcher_assess(d->matcher, d->truth, d->score, d->scale, &dispersion);
}

static void run_merge(void *context)
{
    data *d = context;

    sp_merger_run(d->merger, d->lanes, &d->patterns, d->truth, d->experiment.s_max, LAMBDA, CG_ITERATIONS, d->merged);
}

static void run_phase(void *context)
{
    data *d = context;

    sp_phaser_run(d->phaser, d->model, 0.0, d->experiment.s_max, &d->phasing, d->density);
}

/* What a phase leaves behind, to be compared bit by bit. */
typedef struct outcome {
    const void *bytes;
    size_t count;
} outcome;

static outcome outcome_of(const data *d, void (*run)(void *))
{
    const size_t images = (size_t)d->size.images, cube = (size_t)(d->edge * d->edge * d->edge) * sizeof(float);

    return run == run_slice    ? (outcome){d->pattern, images * (size_t)d->patterns.pixels * sizeof *d->pattern}
           : run == run_search ? (outcome){d->best, images * sizeof *d->best}
           : run == run_refine ? (outcome){d->found, images * sizeof *d->found}
           : run == run_assess ? (outcome){d->score, images * sizeof *d->score}
           : run == run_merge  ? (outcome){d->merged, cube}
                               : (outcome){d->density, cube};
}

/* ---- the data ---- */

static void data_clear(data *d)
{
    sp_phaser_free(d->phaser);
    sp_merge_lanes_free(d->lanes);
    sp_merger_free(d->merger);
    sp_matcher_free(d->matcher);
    sp_slicer_free(d->slicer);
    sp_rotation_grid_clear(&d->grid);
    sp_array_free(d->model);
    sp_array_free(d->merged);
    sp_array_free(d->density);
    sp_array_free(d->pattern);
    sp_array_free(d->truth);
    sp_array_free(d->off);
    sp_array_free(d->found);
    sp_array_free(d->best);
    sp_array_free(d->score);
    sp_array_free(d->scale);
    sp_patterns_clear(&d->patterns);
    sp_experiment_clear(&d->experiment);
}

static sp_status make_tools(data *d)
{
    const sp_match_settings match = {.kind = SP_MATCH_LIKELIHOOD,
                                     .route = SP_MATCH_AUTO,
                                     .diameter = d->experiment.diameter,
                                     .dispersion = 10.0,
                                     .floor = 0.3,
                                     .s_max = d->experiment.s_max};
    sp_status status = SP_OK;

    SP_TRY(sp_rotation_grid_init(d->size.orientations, &d->grid));
    SP_TRY(sp_slicer_new(d->edge, d->voxel, WIDTH, &d->slicer));
    sp_slicer_load(d->slicer, d->model);
    SP_TRY(sp_matcher_new(&d->patterns, d->slicer, &match, &d->matcher));
    SP_TRY(sp_merger_new(d->edge, d->voxel, 1.05 * d->experiment.diameter, WIDTH, &d->merger));
    SP_TRY(sp_merge_lanes_new(d->merger, &d->patterns, &d->lanes));
    SP_TRY(sp_phaser_new(d->edge, d->voxel, d->size.starts, &d->phaser));
    d->phasing = (sp_phase_settings){.starts = d->size.starts,
                                     .cycles = d->size.cycles,
                                     .raar_steps = 20,
                                     .er_steps = 10,
                                     .final_steps = 30,
                                     .beta = 0.87,
                                     .blur_first = 2.0,
                                     .blur_last = 1.0,
                                     .threshold = 0.1,
                                     .radius = 0.525 * d->experiment.diameter,
                                     .seed = 1};
done:
    return status;
}

static sp_status data_init(const dimensions *size, data *d)
{
    const ptrdiff_t images = size->images;
    const double axis[3] = {1.0, 2.0, -1.0};
    sp_status status = SP_OK;

    d->size = *size;
    SP_TRY(sp_experiment_init(size->pixels, &d->experiment));
    SP_TRY(sp_experiment_patterns(&d->experiment, images, &d->patterns));
    SP_TRY(sp_experiment_model(&d->experiment, &d->patterns, &d->edge, &d->voxel, &d->model));
    SP_TRY(SP_ARRAY(d->merged, d->edge * d->edge * d->edge));
    SP_TRY(SP_ARRAY(d->density, d->edge * d->edge * d->edge));
    SP_TRY(SP_ARRAY(d->pattern, images * d->patterns.pixels));
    SP_TRY(SP_ARRAY(d->truth, images));
    SP_TRY(SP_ARRAY(d->off, images));
    SP_TRY(SP_ARRAY(d->found, images));
    SP_TRY(SP_ARRAY(d->best, images));
    SP_TRY(SP_ARRAY(d->score, images));
    SP_TRY(SP_ARRAY(d->scale, images));
    for (ptrdiff_t i = 0; i < images; i++) {
        d->truth[i] = sp_simulation_shot(&d->experiment.simulation, i).orientation;
        d->off[i] = sp_quat_multiply(sp_quat_from_axis_angle(axis, OFF_BY), d->truth[i]);
    }
    SP_TRY(make_tools(d));
done:
    return status;
}

/* ---- rows ---- */

typedef struct phase {
    const char *name;
    void (*run)(void *context);
    const char *unit; /* per second of what a call works on */
} phase;

/* Of images, of pairs of image and orientation, of steps of all starts. */
static double amount_of(const data *d, const phase *p)
{
    const double images = (double)d->size.images;

    return p->run == run_search  ? images * (double)d->grid.count * 1e-6
           : p->run == run_phase ? d->size.starts * (d->size.cycles * 30.0 + 30.0)
                                 : images;
}

/* With all threads and with one: the same bits, or the benchmark ends. */
static sp_status check_bits(data *d, const phase *p, int threads)
{
    const int before = omp_get_max_threads();
    const outcome left = outcome_of(d, p->run);
    char *kept = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(kept, (ptrdiff_t)left.count));
    p->run(d);
    memcpy(kept, left.bytes, left.count);
    omp_set_num_threads(threads);
    p->run(d);
    SP_REQUIRE(memcmp(kept, left.bytes, left.count) == 0, SP_ERR_NUMERIC,
               "%s: %d threads and %d do not give the same bits", p->name, before, threads);
done:
    omp_set_num_threads(before);
    sp_array_free(kept);
    return status;
}

static sp_status time_phase(sp_bench *bench, data *d, const phase *p)
{
    const int threads = bench->machine.threads;
    const sp_contender contender[] = {{.run = p->run, .context = d, .threads = 1},
                                      {.run = p->run, .context = d, .threads = threads}};
    sp_race race;
    sp_status status = SP_OK;

    SP_TRY(check_bits(d, p, 1));
    SP_TRY(sp_bench_race(bench, contender, threads > 1 ? 2 : 1, &race));
    for (int i = 0; i < (threads > 1 ? 2 : 1); i++) {
        sp_row *row = sp_row_add(bench, "phases", i ? threads : 1, "%s", p->name);

        row->kernels = sp_isa_name(bench->machine.isa);
        sp_row_take_time(row, &race, i);
        sp_row_take_rate(row, amount_of(d, p), p->unit);
        if (i == 1) {
            sp_row_compare(row, &race, 0, 1, "one thread");
        }
    }
done:
    return status;
}

/* Half of the images, at least, must be found within the spacing of the grid. */
static sp_status check_search(data *d)
{
    const sp_quat half_turn = {0.0, 0.0, 0.0, 1.0};
    ptrdiff_t near = 0;
    sp_status status = SP_OK;

    SP_TRY(sp_rotation_grid_measure(&d->grid, 200));
    run_search(d);
    for (ptrdiff_t i = 0; i < d->size.images; i++) {
        const sp_quat found = d->grid.q[d->best[i].index];
        const double angle =
            fmin(sp_quat_angle(found, d->truth[i]), sp_quat_angle(sp_quat_multiply(half_turn, found), d->truth[i]));

        near += angle < 2.0 * d->grid.covering;
    }
    SP_REQUIRE(2 * near > d->size.images, SP_ERR_NUMERIC, "search: only %td of %td images are found", near,
               d->size.images);
done:
    return status;
}

sp_status sp_bench_phases(sp_bench *bench)
{
    static const phase phases[] = {
        {.name = "slice: a pattern for each image", .run = run_slice, .unit = "images/s"},
        {.name = "match: search, all images on a grid", .run = run_search, .unit = "10^6 pairs/s"},
        {.name = "match: refinement of each image", .run = run_refine, .unit = "images/s"},
        {.name = "match: assessment", .run = run_assess, .unit = "images/s"},
        {.name = "merge: spread and solve", .run = run_merge, .unit = "images/s"},
        {.name = "phase: starts side by side", .run = run_phase, .unit = "steps/s"},
    };
    data d = {.edge = 0};
    sp_status status = SP_OK;

    SP_TRY(data_init(bench->settings.quick ? &quick_size : &full_size, &d));
    SP_TRY(check_search(&d));
    for (size_t i = 0; i < sizeof phases / sizeof *phases; i++) {
        SP_TRY(time_phase(bench, &d, &phases[i]));
    }
    sp_row *row = sp_row_add(bench, "phases", bench->machine.threads, "the data of these rows");

    snprintf(row->note, sizeof row->note, "%td images of %td^2 pixels, %td orientations, grid %td, %d starts",
             d.size.images, d.size.pixels, d.grid.count, d.edge, d.size.starts);
done:
    data_clear(&d);
    return status;
}
