/* SPDX-License-Identifier: BSD-3-Clause */
/* Type 2 and type 1 on rotated patterns (num/nufft.h), next to FINUFFT in single precision at the same accuracy. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "bench/nufft_problem.h"
#include "bench/parts.h"
#include "bench/peers.h"
#include "num/nufft.h"
#include "num/nufft_kernels.h"

enum {
    EDGE = SP_PROBLEM_EDGE,
    SLICES = 305,       /* 5.0e6 points */
    QUICK_SLICES = 31,  /* 5.1e5 */
    VARIANT_SLICES = 8, /* on which the instruction sets are compared */
    MOST_RIVALS = 4,
};

/* Cycles per point that a core with vectors of 16 floats needs at least for the multiplications, the kernel's
 * polynomials, the shuffles and the loads of a stencil (docs/performance.md). */
static const double LEAST_CYCLES_4 = 10.5, LEAST_CYCLES_6 = 25.0;

/* Oversampling: what slicing and merging have (phases/slice.c, phases/merge.c), and the next finer one. */
static const double TYPE2_SIGMA[] = {1.5, 1.6}, TYPE1_SIGMA[] = {1.25, 1.5};

/* ---- spica ---- */

typedef struct own {
    const sp_problem *p;
    sp_nufft *plan;
    float *grid;      /* type 2 */
    float *pair;      /* type 1 */
    float *volume[2]; /* [EDGE^3] results of type 1 */
    ptrdiff_t slices;
    bool whole; /* FFT and layout included */
} own;

static void run_type2(void *context)
{
    const own *self = context;
    const sp_slices *slices = &self->p->slices;

    if (self->whole) {
        sp_nufft_prepare(self->plan, self->p->volume, self->grid);
    }
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < self->slices; i++) {
        sp_nufft_interpolate(self->plan, self->grid, &slices->rotation[i], 1.0, (const float *const *)slices->s,
                             SP_SLICE_PIXELS, self->p->value + i * SP_SLICE_PIXELS);
    }
}

static void run_type1(void *context)
{
    const own *self = context;
    const sp_slices *slices = &self->p->slices;

    memset(self->pair, 0, (size_t)sp_nufft_pair_count(self->plan) * sizeof *self->pair);
    for (ptrdiff_t i = 0; i < self->slices; i++) {
        sp_nufft_spread_pair(self->plan, &slices->rotation[i], 1.0, (const float *const *)slices->s, SP_SLICE_PIXELS,
                             self->p->value + i * SP_SLICE_PIXELS, self->p->weight + i * SP_SLICE_PIXELS, self->pair);
    }
    if (self->whole) {
        sp_nufft_collect(self->plan, self->pair, 0, EDGE, self->volume[0]);
        sp_nufft_collect(self->plan, self->pair, 1, EDGE, self->volume[1]);
    }
}

static void own_clear(own *self)
{
    sp_nufft_free(self->plan);
    sp_array_free(self->grid);
    sp_array_free(self->pair);
    sp_array_free(self->volume[0]);
    sp_array_free(self->volume[1]);
    *self = (own){0};
}

/* kernels: NULL, the best ones. */
static sp_status own_init(const sp_problem *p, int width, double sigma, const sp_nufft_kernels *kernels, own *self)
{
    sp_status status = SP_OK;

    *self = (own){.p = p, .slices = p->slices.count, .whole = true};
    SP_TRY(kernels ? sp_nufft_new_with(EDGE, width, sigma, kernels, SP_NUFFT_MOST_REPLICATED, &self->plan)
                   : sp_nufft_new(EDGE, width, sigma, &self->plan));
    SP_TRY(SP_ARRAY(self->grid, sp_nufft_grid_count(self->plan)));
    SP_TRY(SP_ARRAY(self->pair, sp_nufft_pair_count(self->plan)));
    SP_TRY(SP_ARRAY(self->volume[0], EDGE * EDGE * EDGE));
    SP_TRY(SP_ARRAY(self->volume[1], EDGE * EDGE * EDGE));
    sp_nufft_prepare(self->plan, p->volume, self->grid);
done:
    if (status != SP_OK) {
        own_clear(self);
    }
    return status;
}

/* Errors of the transform of this type: of all, and within shells, of type 2. */
static sp_status check_own(const own *self, int type, int width, double *error, double *local)
{
    const double limit = width == 4 ? 3e-3 : 1e-4; /* several times what is stated in num/nufft.h */
    own few = *self;
    sp_status status = SP_OK;

    *local = NAN;
    few.whole = true;
    if (type == 2) {
        few.slices = SP_PROBLEM_CHECKED;
        run_type2(&few);
        *error = sp_problem_error2(few.p, false, local);
    } else {
        few.slices = SP_PROBLEM_SPREAD;
        run_type1(&few);
        *error = fmax(sp_problem_error1(few.p, few.volume[0], 0), sp_problem_error1(few.p, few.volume[1], 1));
    }
    SP_TRY(sp_bench_check(type == 2 ? "type 2" : "type 1", *error, limit));
done:
    return status;
}

/* ---- FINUFFT ---- */

typedef struct rival {
    const sp_problem *p;
    sp_finufft *finufft; /* NULL: not installed */
    ptrdiff_t count;     /* points */
    int calls;           /* of type 1: one for data and one for weights, or one for both as a complex number */
    double error, local;
    char name[SP_ROW_TEXT];
} rival;

/* Where FINUFFT comes to errors like ours, or better ones: at its classic oversampling, at a small one, and at what it
 * chooses itself (0). */
static const struct {
    int type, width; /* of ours, to be compared with */
    double tolerance, sigma;
    int calls;
} finufft_settings[] = {
    {.type = 2, .width = 4, .tolerance = 1e-3, .sigma = 2.0, .calls = 1},
    {.type = 2, .width = 4, .tolerance = 1e-3, .sigma = 1.25, .calls = 1},
    {.type = 2, .width = 4, .tolerance = 1e-3, .sigma = 0.0, .calls = 1},
    {.type = 2, .width = 6, .tolerance = 1e-5, .sigma = 2.0, .calls = 1},
    {.type = 2, .width = 6, .tolerance = 1e-5, .sigma = 0.0, .calls = 1},
    {.type = 1, .width = 4, .tolerance = 1e-3, .sigma = 2.0, .calls = 2},
    {.type = 1, .width = 4, .tolerance = 1e-2, .sigma = 1.25, .calls = 2},
    {.type = 1, .width = 4, .tolerance = 1e-2, .sigma = 1.25, .calls = 1},
    {.type = 1, .width = 6, .tolerance = 1e-5, .sigma = 2.0, .calls = 2},
    {.type = 1, .width = 6, .tolerance = 1e-4, .sigma = 2.0, .calls = 2},
    {.type = 1, .width = 6, .tolerance = 1e-4, .sigma = 0.0, .calls = 2},
    {.type = 1, .width = 6, .tolerance = 1e-4, .sigma = 2.0, .calls = 1},
};

/* Points anew for every set of orientations, then the transforms: the plan is made before. */
static void run_rival(void *context)
{
    const rival *self = context;

    sp_finufft_points(self->finufft, self->count, self->p->angle);
    for (int call = 0; call < self->calls; call++) {
        sp_finufft_run(self->finufft, self->p->half[call], self->p->modes);
    }
}

static sp_status check_rival(sp_problem *p, rival *self, int type)
{
    sp_status status = SP_OK;

    self->count = (type == 2 ? SP_PROBLEM_CHECKED : SP_PROBLEM_SPREAD) * SP_SLICE_PIXELS;
    if (type == 1) {
        sp_problem_load_rival(p, self->calls == 2);
    }
    run_rival(self);
    self->count = p->slices.count * SP_SLICE_PIXELS;
    self->error = type == 2 ? sp_problem_error2(p, true, &self->local) : sp_problem_error1_rival(p, self->calls == 2);
    SP_REQUIRE(!sp_finufft_failed(self->finufft), SP_ERR_NUMERIC, "%s fails", self->name);
    SP_TRY(sp_bench_check(self->name, self->error, 0.01));
done:
    return status;
}

static sp_status rival_init(sp_problem *p, size_t setting, int threads, rival *self)
{
    const double tolerance = finufft_settings[setting].tolerance, sigma = finufft_settings[setting].sigma;
    const int type = finufft_settings[setting].type, calls = finufft_settings[setting].calls;
    const sp_finufft_plan plan = {.type = type, .n = EDGE, .tolerance = tolerance, .sigma = sigma, .threads = threads};
    char oversampling[SP_ROW_TEXT / 4] = "its own sigma";
    sp_status status = SP_OK;

    *self = (rival){.p = p, .calls = calls, .error = NAN, .local = NAN};
    if (sigma > 0.0) {
        snprintf(oversampling, sizeof oversampling, "sigma %.3g", sigma);
    }
    snprintf(self->name, sizeof self->name, "FINUFFT f32, tolerance %.0e, %s%s", tolerance, oversampling,
             type == 2    ? ""
             : calls == 2 ? ", two calls"
                          : ", one complex call");
    SP_TRY(sp_finufft_new(&plan, &self->finufft));
    if (self->finufft) {
        SP_TRY(check_rival(p, self, type));
    }
done:
    return status;
}

static void rivals_clear(rival *rivals, int count)
{
    for (int i = 0; i < count; i++) {
        sp_finufft_free(rivals[i].finufft);
    }
}

/* All that are to be compared with ours of this type and width. */
static sp_status rivals_init(sp_problem *p, int type, int width, int threads, rival *rivals, int *count)
{
    sp_status status = SP_OK;

    for (size_t i = 0; i < sizeof finufft_settings / sizeof finufft_settings[0]; i++) {
        if (finufft_settings[i].type == type && finufft_settings[i].width == width) {
            (*count)++;
            SP_TRY(rival_init(p, i, threads, &rivals[*count - 1]));
        }
    }
done:
    return status;
}

static int add_rivals(sp_contender *contender, int first, rival *rivals, int count, int threads)
{
    for (int i = 0; i < count && rivals[i].finufft; i++) {
        contender[first++] = (sp_contender){.run = run_rival, .context = &rivals[i], .threads = threads};
    }
    return first;
}

static void compare_with_rivals(sp_row *row, const sp_race *race, int mine, const rival *rivals, int count, int first)
{
    for (int i = 0; i < count; i++) {
        if (!rivals[i].finufft) {
            sp_row_not_installed(row, "FINUFFT");
            return;
        }
        sp_row_ratio *ratio = sp_row_compare(row, race, first + i, mine, "%s", rivals[i].name);

        ratio->error = rivals[i].error;
        ratio->local = rivals[i].local;
    }
}

/* ---- rows ---- */

/* Time per point, and cycles per point of each core. */
static void take_cycles(sp_row *row, const sp_bench *bench, double points, double least)
{
    const double seconds = row->seconds.median / points;
    const double cycles = seconds * row->threads * bench->machine.clock;

    row->rate = 1e9 * seconds;
    row->unit = "ns/point";
    snprintf(row->note, sizeof row->note, "%.1f cycles per point", cycles);
    if (least > 0.0) {
        row->share = least / cycles;
        row->limit = least > LEAST_CYCLES_4 ? "25 cycles" : "10.5 cycles";
    }
}

/* What a transform of all slices takes, and what of it the interpolation or spreading does. */
static sp_status time_transform(sp_bench *bench, sp_problem *p, int type, int width, double sigma, int threads)
{
    void (*const run)(void *) = type == 2 ? run_type2 : run_type1;
    const double points = (double)p->slices.count * SP_SLICE_PIXELS;
    const bool limit_known = type == 2 && bench->machine.isa == SP_ISA_AVX512;
    own whole = {0}, part = {0};
    rival rivals[MOST_RIVALS] = {{0}};
    sp_contender contender[2 + MOST_RIVALS] = {{0}};
    double error = 0.0, local = 0.0;
    int count = 0;
    sp_race race;
    sp_status status = SP_OK;

    SP_TRY(own_init(p, width, sigma, NULL, &whole));
    SP_TRY(check_own(&whole, type, width, &error, &local));
    SP_TRY(rivals_init(p, type, width, threads, rivals, &count));
    part = whole;
    part.whole = false;
    contender[0] = (sp_contender){.run = run, .context = &whole, .threads = threads};
    contender[1] = (sp_contender){.run = run, .context = &part, .threads = threads};
    SP_TRY(sp_bench_race(bench, contender, add_rivals(contender, 2, rivals, count, threads), &race));
    for (int i = 0; i < 2; i++) {
        sp_row *row = sp_row_add(bench, "nufft", threads, "type %s, N %d, w %d, sigma %.3g%s",
                                 type == 2 ? "2" : "1, data + weights", EDGE, width, sigma,
                                 i == 0      ? ""
                                 : type == 2 ? ": interpolation"
                                             : ": spreading");

        row->kernels = sp_isa_name(bench->machine.isa);
        row->error = error;
        row->local = local;
        sp_row_take_time(row, &race, i);
        take_cycles(row, bench, points, !limit_known ? 0.0 : width == 4 ? LEAST_CYCLES_4 : LEAST_CYCLES_6);
        compare_with_rivals(row, &race, i, rivals, count, 2);
    }
done:
    rivals_clear(rivals, count);
    own_clear(&whole);
    return status;
}

/* Every instruction set of this processor, and the plain loops. */
static sp_status time_variants(sp_bench *bench, sp_problem *p, int type, int width)
{
    const int sets = (int)bench->machine.isa + 2;
    own variant[SP_ISA_COUNT + 1] = {{0}};
    sp_contender contender[SP_ISA_COUNT + 1] = {{0}};
    double error[SP_ISA_COUNT + 1], local[SP_ISA_COUNT + 1];
    sp_race race;
    sp_status status = SP_OK;

    for (int i = 0; i < sets; i++) { /* the plain loops come last */
        const sp_nufft_kernels *kernels = i == sets - 1 ? &sp_nufft_ref : sp_nufft_kernels_for((sp_isa)i);

        SP_TRY(own_init(p, width, type == 2 ? TYPE2_SIGMA[0] : TYPE1_SIGMA[0], kernels, &variant[i]));
        SP_TRY(check_own(&variant[i], type, width, &error[i], &local[i]));
        variant[i].slices = VARIANT_SLICES;
        variant[i].whole = false;
        contender[i] = (sp_contender){.run = type == 2 ? run_type2 : run_type1, .context = &variant[i]};
    }
    SP_TRY(sp_bench_race(bench, contender, sets, &race));
    for (int i = 0; i < sets; i++) {
        sp_row *row =
            sp_row_add(bench, "nufft", 1, "type %s, w %d: %s of %d slices", type == 2 ? "2" : "1, data + weights",
                       width, type == 2 ? "interpolation" : "spreading", VARIANT_SLICES);

        row->kernels = i == sets - 1 ? "ref" : sp_isa_name((sp_isa)i);
        row->error = error[i];
        row->local = local[i];
        sp_row_take_time(row, &race, i);
        take_cycles(row, bench, (double)VARIANT_SLICES * SP_SLICE_PIXELS, 0.0);
        if (i < sets - 1) {
            sp_row_compare(row, &race, sets - 1, i, "ref, plain loops");
        }
    }
done:
    for (int i = 0; i < sets; i++) {
        own_clear(&variant[i]);
    }
    return status;
}

static sp_status time_type(sp_bench *bench, sp_problem *p, int type, int width)
{
    const double *sigma = type == 2 ? TYPE2_SIGMA : TYPE1_SIGMA;
    sp_status status = SP_OK;

    SP_TRY(time_transform(bench, p, type, width, sigma[0], 1));
    if (!bench->settings.quick) {
        SP_TRY(time_transform(bench, p, type, width, sigma[1], 1));
    }
    if (type == 2 && bench->machine.threads > 1) {
        SP_TRY(time_transform(bench, p, type, width, sigma[0], bench->machine.threads));
    }
    SP_TRY(time_variants(bench, p, type, width));
done:
    return status;
}

/* Exact intensities, as far as these go, become data. */
static sp_status prepare_type1(sp_problem *p)
{
    own exact;
    sp_status status = SP_OK;

    SP_TRY(own_init(p, 6, 2.0, NULL, &exact));
    run_type2(&exact);
    own_clear(&exact);
    sp_problem_load_type1(p);
done:
    return status;
}

sp_status sp_bench_nufft(sp_bench *bench)
{
    sp_problem p = {0};
    sp_status status = SP_OK;

    SP_TRY(sp_problem_init(bench->settings.quick ? QUICK_SLICES : SLICES, &p));
    for (int width = 4; width <= 6; width += 2) {
        SP_TRY(time_type(bench, &p, 2, width));
    }
    SP_TRY(prepare_type1(&p));
    for (int width = 4; width <= 6; width += 2) {
        SP_TRY(time_type(bench, &p, 1, width));
    }
done:
    sp_problem_clear(&p);
    return status;
}
