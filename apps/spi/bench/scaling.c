/* SPDX-License-Identifier: BSD-3-Clause */
/* Whole reconstructions: how time and memory grow with the number of images, of orientations, with the grid and with
 * the threads. All for the same few generations, since how many a run needs is a matter of luck. */
#include <math.h>
#include <stdio.h>

#include "bench/parts.h"
#include "bench/whole.h"

enum { MOST_RUNS = 16 };

typedef struct dimensions {
    ptrdiff_t pixels, images, orientations;
    int grid, generations;
    int starts; /* of phasing; 0: the default */
} dimensions;

static const dimensions full_size = {.pixels = 128, .images = 250, .orientations = 5000, .grid = 64, .generations = 4};
static const dimensions quick_size = {
    .pixels = 48, .images = 16, .orientations = 250, .grid = 40, .generations = 1, .starts = 1};

typedef struct run {
    ptrdiff_t images, orientations;
    int grid, threads;
    sp_whole_cost cost;
} run;

typedef struct series {
    sp_bench *bench;
    const dimensions *size;
    sp_whole_files files; /* with 1, 2, 4, 8 times the images */
    run run[MOST_RUNS];
    int runs;
    sp_progress *progress;
} series;

/* ---- which runs ---- */

static void add_run(series *s, ptrdiff_t images, ptrdiff_t orientations, int grid, int threads)
{
    s->run[s->runs++] = (run){.images = images, .orientations = orientations, .grid = grid, .threads = threads};
}

/* The smallest comes first: all others are compared with it. */
static void plan_runs(series *s)
{
    const dimensions *z = s->size;
    const int threads = s->bench->machine.threads;

    add_run(s, z->images, z->orientations, z->grid, 1);
    for (int factor = 2; factor <= 8; factor *= 2) {
        add_run(s, factor * z->images, z->orientations, z->grid, 1);
    }
    for (int factor = 8; factor <= 64; factor *= 8) {
        add_run(s, z->images, factor * z->orientations, z->grid, 1);
    }
    add_run(s, z->images, z->orientations, z->grid * 3 / 2, 1);
    add_run(s, z->images, z->orientations, z->grid * 2, 1);
    if (threads > 1) {
        add_run(s, 8 * z->images, 8 * z->orientations, z->grid, 1);
        add_run(s, 8 * z->images, 8 * z->orientations, z->grid, threads);
    }
}

/* How long a run takes, about, in tenths of a second: for the time that is left. */
static ptrdiff_t cost(const run *r)
{
    const double phasing = 30.0 * pow(r->grid / 64.0, 3.5), matching = 1e-6 * (double)(r->images * r->orientations);

    return (ptrdiff_t)ceil(phasing + matching + 0.02 * (double)r->images);
}

/* ---- runs ---- */

static sp_status do_run(series *s, run *r)
{
    sp_reconstruct_settings settings = sp_reconstruct_defaults();
    sp_reconstruction *result = NULL;
    int which = 0;
    sp_status status = SP_OK;

    while (s->size->images << which < r->images) {
        which++;
    }
    settings.seed = 1;
    settings.grid = r->grid;
    settings.orientations = (int)r->orientations;
    settings.generations = s->size->generations;
    settings.starts = s->size->starts > 0 ? s->size->starts : settings.starts;
    SP_TRY(sp_whole_run(s->files.path[which], &settings, r->threads, &r->cost, &result));
    sp_progress_add(s->progress, cost(r));
done:
    sp_reconstruction_free(result);
    return status;
}

static void add_row(series *s, const run *r)
{
    const run *first = &s->run[0];
    sp_row *row = sp_row_add(s->bench, "scaling", r->threads, "%td images, %td orientations, grid %d", r->images,
                             r->orientations, r->grid);

    row->kernels = sp_isa_name(s->bench->machine.isa);
    row->seconds = (sp_quartiles){.median = r->cost.wall, .low = r->cost.wall, .high = r->cost.wall};
    row->rate = r->cost.cpu;
    row->unit = "CPU s";
    row->bytes = r->cost.peak;
    snprintf(row->note, sizeof row->note, "peak memory %.0f MB; %.2f times the CPU time of the smallest run",
             1e-6 * r->cost.peak, r->cost.cpu / first->cost.cpu);
}

sp_status sp_bench_scaling(sp_bench *bench)
{
    series s = {.bench = bench, .size = bench->settings.quick ? &quick_size : &full_size};
    ptrdiff_t all = 0, images[SP_WHOLE_FILES];
    sp_status status = SP_OK;

    plan_runs(&s);
    for (int i = 0; i < s.runs; i++) {
        all += cost(&s.run[i]);
    }
    for (int i = 0; i < SP_WHOLE_FILES; i++) {
        images[i] = s.size->images << i;
    }
    SP_TRY(sp_whole_files_init(s.size->pixels, images, SP_WHOLE_FILES, &s.files));
    SP_TRY(sp_progress_new(bench->log, "whole reconstructions", all, &s.progress));
    for (int i = 0; i < s.runs; i++) {
        SP_TRY(do_run(&s, &s.run[i]));
        add_row(&s, &s.run[i]);
    }
done:
    sp_progress_free(s.progress);
    sp_whole_files_clear(&s.files);
    return status;
}
