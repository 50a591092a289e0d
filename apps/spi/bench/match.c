/* SPDX-License-Identifier: BSD-3-Clause */
/* The routes of matching (phases/match.h), and a matrix product of the size of the dense one by OpenBLAS. */
#include <math.h>
#include <omp.h>
#include <stdio.h>

#include "base/memory.h"
#include "bench/experiment.h"
#include "bench/parts.h"
#include "bench/peers.h"
#include "num/rotation_grid.h"
#include "phases/match.h"
#include "phases/slice.h"

enum { TILE = 500 }; /* rows of the matrix product at a time: what it reads and writes fits into memory */

static const double SAME = 0.95; /* share of images, at least, for which both routes choose the same orientation */

typedef struct contest {
    sp_experiment experiment;
    sp_patterns patterns;
    float *model;
    sp_slicer *slicer;
    sp_rotation_grid grid;
    sp_matcher *polar, *dense;
    sp_candidate *best[2]; /* [images] polar, dense */
    sp_blas *blas;
    float *tile;     /* [TILE][pixels] */
    float *products; /* [TILE][images] */
} contest;

static void run_polar(void *context)
{
    contest *c = context;

    sp_matcher_search(c->polar, &c->grid, &(sp_shortlists){.keep = 1, .best = c->best[0]});
}

static void run_dense(void *context)
{
    contest *c = context;

    sp_matcher_search(c->dense, &c->grid, &(sp_shortlists){.keep = 1, .best = c->best[1]});
}

static void run_blas(void *context)
{
    contest *c = context;

    for (ptrdiff_t first = 0; first < c->grid.count; first += TILE) {
        const ptrdiff_t rows = c->grid.count - first < TILE ? c->grid.count - first : TILE;

        sp_blas_product(c->blas, rows, c->patterns.images, c->patterns.pixels, c->tile, c->patterns.count, c->products);
    }
}

static void contest_clear(contest *c)
{
    sp_blas_free(c->blas);
    sp_matcher_free(c->polar);
    sp_matcher_free(c->dense);
    sp_rotation_grid_clear(&c->grid);
    sp_slicer_free(c->slicer);
    sp_array_free(c->model);
    sp_array_free(c->best[0]);
    sp_array_free(c->best[1]);
    sp_array_free(c->tile);
    sp_array_free(c->products);
    sp_patterns_clear(&c->patterns);
    sp_experiment_clear(&c->experiment);
}

static sp_status make_matchers(contest *c)
{
    sp_match_settings settings = {.kind = SP_MATCH_LIKELIHOOD,
                                  .route = SP_MATCH_POLAR,
                                  .diameter = c->experiment.diameter,
                                  .dispersion = 1.0,
                                  .floor = 0.3,
                                  .s_max = c->experiment.s_max};
    sp_status status = SP_OK;

    SP_TRY(sp_matcher_new(&c->patterns, c->slicer, &settings, &c->polar));
    settings.route = SP_MATCH_DENSE;
    SP_TRY(sp_matcher_new(&c->patterns, c->slicer, &settings, &c->dense));
done:
    return status;
}

static sp_status contest_init(ptrdiff_t pixels, ptrdiff_t images, ptrdiff_t orientations, contest *c)
{
    ptrdiff_t edge = 0;
    double voxel = 0.0;
    sp_status status = SP_OK;

    SP_TRY(sp_experiment_init(pixels, &c->experiment));
    SP_TRY(sp_experiment_patterns(&c->experiment, images, &c->patterns));
    SP_TRY(sp_experiment_model(&c->experiment, &c->patterns, &edge, &voxel, &c->model));
    SP_TRY(sp_slicer_new(edge, voxel, 4, &c->slicer));
    sp_slicer_load(c->slicer, c->model);
    SP_TRY(sp_rotation_grid_init(orientations, &c->grid));
    SP_TRY(make_matchers(c));
    SP_TRY(SP_ARRAY(c->best[0], images));
    SP_TRY(SP_ARRAY(c->best[1], images));
    SP_TRY(SP_ARRAY(c->tile, TILE * c->patterns.pixels));
    SP_TRY(SP_ARRAY(c->products, TILE * images));
    SP_TRY(sp_blas_new(&c->blas));
    for (ptrdiff_t i = 0; i < TILE && i < c->grid.count; i++) {
        sp_slicer_cut(c->slicer, c->grid.q[i], c->patterns.s, c->patterns.pixels, c->tile + i * c->patterns.pixels);
    }
done:
    return status;
}

/* Some products against plain sums. */
static sp_status check_blas(contest *c)
{
    const ptrdiff_t inner = c->patterns.pixels, images = c->patterns.images;
    const ptrdiff_t rows = TILE < c->grid.count ? TILE : c->grid.count;
    double worst = 0.0;
    sp_status status = SP_OK;

    sp_blas_product(c->blas, rows, images, inner, c->tile, c->patterns.count, c->products);
    for (ptrdiff_t i = 0; i < 20; i++) {
        const ptrdiff_t row = i * 37 % rows, image = i * 17 % images;
        double want = 0.0;

        for (ptrdiff_t p = 0; p < inner; p++) {
            want += (double)c->tile[row * inner + p] * (double)c->patterns.count[image * inner + p];
        }
        worst = fmax(worst, fabs((double)c->products[row * images + image] / want - 1.0));
    }
    SP_TRY(sp_bench_check("the matrix product of OpenBLAS", worst, 1e-4));
done:
    return status;
}

static sp_status check_routes(contest *c, double *same)
{
    const ptrdiff_t images = c->patterns.images;
    ptrdiff_t equal = 0;
    sp_status status = SP_OK;

    run_polar(c);
    run_dense(c);
    for (ptrdiff_t i = 0; i < images; i++) {
        equal += c->best[0][i].index == c->best[1][i].index;
    }
    *same = (double)equal / (double)images;
    SP_REQUIRE(*same >= SAME, SP_ERR_NUMERIC, "the routes of matching choose the same orientation for %.1f %% only",
               100.0 * *same);
done:
    return status;
}

/* Rows in the order of the race: polar, dense, OpenBLAS. */
static void add_rows(sp_bench *bench, const contest *c, double same, const sp_race *race)
{
    const double pairs = (double)c->grid.count * (double)c->patterns.images;
    const char *const isa = sp_isa_name(bench->machine.isa);
    sp_row *row =
        sp_row_add(bench, "match", 1, "polar route, %td images, %td orientations", c->patterns.images, c->grid.count);

    row->kernels = isa;
    sp_row_take_time(row, race, 0);
    row->rate = 1e9 * row->seconds.median / pairs;
    row->unit = "ns/pair";
    snprintf(row->note, sizeof row->note, "%.1f %% of the images: the same best orientation as by the dense route",
             100.0 * same);
    sp_row_compare(row, race, 1, 0, "the dense route");
    if (c->blas) {
        sp_row_compare(row, race, 2, 0, "OpenBLAS sgemm (%s), the product alone", sp_blas_core(c->blas));
    } else {
        sp_row_not_installed(row, "OpenBLAS");
    }
    row = sp_row_add(bench, "match", 1, "dense route, %td pixels", c->patterns.pixels);
    row->kernels = isa;
    sp_row_take_time(row, race, 1);
    sp_row_take_operations(row, bench, 2.0 * pairs * (double)c->patterns.pixels);
    if (!c->blas) {
        sp_row_not_installed(row, "OpenBLAS");
        return;
    }
    sp_row_compare(row, race, 2, 1, "OpenBLAS sgemm (%s), the product alone", sp_blas_core(c->blas));
    row = sp_row_add(bench, "match", 1, "OpenBLAS sgemm of that size, nothing else");
    row->kernels = sp_blas_core(c->blas);
    sp_row_take_time(row, race, 2);
    sp_row_take_operations(row, bench, 2.0 * pairs * (double)c->patterns.pixels);
}

sp_status sp_bench_match(sp_bench *bench)
{
    const bool quick = bench->settings.quick;
    contest c = {.model = NULL};
    const sp_contender contender[] = {
        {.run = run_polar, .context = &c}, {.run = run_dense, .context = &c}, {.run = run_blas, .context = &c}};
    double same = 0.0;
    sp_race race;
    sp_status status = SP_OK;

    SP_TRY(contest_init(quick ? 64 : 128, quick ? 100 : 1000, quick ? 1000 : 10000, &c));
    if (c.blas) {
        SP_TRY(check_blas(&c));
    }
    SP_TRY(check_routes(&c, &same));
    SP_TRY(sp_bench_race(bench, contender, c.blas ? 3 : 2, &race));
    add_rows(bench, &c, same, &race);
done:
    contest_clear(&c);
    return status;
}
