/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/bench.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "bench/parts.h"
#include "bench/rows.h"

static const sp_race_rules careful = {.sample = 0.02, .budget = 30.0, .rounds = 7};
static const sp_race_rules hasty = {.sample = 0.004, .budget = 1.0, .rounds = 5};

typedef struct part {
    const char *name;
    sp_status (*run)(sp_bench *bench);
    bool gpu;        /* runs on one */
    bool asked_only; /* takes minutes, or much memory */
} part;

/* In the order of the table. */
static const part parts[] = {
    {.name = "peak", .run = sp_bench_peak},
    {.name = "nufft", .run = sp_bench_nufft},
    {.name = "fft", .run = sp_bench_fft},
    {.name = "steps", .run = sp_bench_steps},
    {.name = "match", .run = sp_bench_match},
    {.name = "phases", .run = sp_bench_phases},
    {.name = "run", .run = sp_bench_run_layer},
    {.name = "scaling", .run = sp_bench_scaling, .asked_only = true},
    {.name = "limits", .run = sp_bench_gpu_limits, .gpu = true},
    {.name = "nufft", .run = sp_bench_gpu_nufft, .gpu = true},
    {.name = "match", .run = sp_bench_gpu_match, .gpu = true},
    {.name = "merge", .run = sp_bench_gpu_merge, .gpu = true},
    {.name = "phase", .run = sp_bench_gpu_phase, .gpu = true},
    {.name = "generation", .run = sp_bench_gpu_generation, .gpu = true},
    {.name = "sizes", .run = sp_bench_gpu_sizes, .gpu = true, .asked_only = true},
};
enum { PARTS = sizeof parts / sizeof parts[0] };

const char *sp_bench_part_names(bool gpu)
{
    return gpu ? "limits, nufft, match, merge, phase, sizes" : "peak, nufft, fft, steps, match, phases, run, scaling";
}

static sp_status check_names(const sp_bench_settings *settings)
{
    sp_status status = SP_OK;

    SP_REQUIRE(!(settings->gpu && settings->scaling), SP_ERR_USAGE,
               "--scaling is a measurement of the processor: leave out --device cuda");
    for (ptrdiff_t i = 0; i < settings->parts; i++) {
        bool known = false;

        for (int j = 0; j < PARTS; j++) {
            known = known || (parts[j].gpu == settings->gpu && strcmp(settings->part[i], parts[j].name) == 0);
        }
        SP_REQUIRE(known, SP_ERR_USAGE, "%s: no such part%s; choose from %s", settings->part[i],
                   settings->gpu ? " of --device cuda" : "", sp_bench_part_names(settings->gpu));
    }
done:
    return status;
}

sp_status sp_bench_new(const sp_bench_settings *settings, sp_log *log, sp_bench **bench)
{
    sp_status status = SP_OK;
    sp_bench *self = NULL;

    SP_TRY(check_names(settings));
    SP_TRY(SP_ARRAY(self, 1));
    self->settings = *settings;
    self->log = log;
    self->speaks = true;
    self->rules = settings->quick ? hasty : careful;
    sp_machine_describe(&self->machine);
    *bench = self;
    self = NULL;
done:
    sp_bench_free(self);
    return status;
}

void sp_bench_free(sp_bench *bench)
{
    sp_array_free(bench);
}

bool sp_bench_speaks(const sp_bench *bench)
{
    return bench->speaks;
}

static bool is_wanted(const sp_bench_settings *settings, const part *p)
{
    bool named = p->run == sp_bench_scaling && settings->scaling;

    if (p->gpu != settings->gpu) {
        return false;
    }
    for (ptrdiff_t i = 0; i < settings->parts; i++) {
        named = named || strcmp(settings->part[i], p->name) == 0;
    }
    return named || (settings->parts == 0 && !p->asked_only);
}

static sp_status run_part(sp_bench *bench, const part *p)
{
    sp_status status = SP_OK;

    if (p->gpu && !bench->gpu.device) {
        snprintf(sp_row_add(bench, p->name, 1, "left out")->note, SP_ROW_TEXT, "no GPU, or no plugin for it");
        return SP_OK;
    }
    SP_TRY(sp_progress_new(bench->log, p->name, 0, &bench->progress));
    SP_TRY(p->run(bench));
done:
    sp_progress_free(bench->progress);
    bench->progress = NULL;
    return status;
}

sp_status sp_bench_run(sp_bench *bench)
{
    sp_status status = SP_OK;

    sp_log_info(bench->log, "bench: %s, %d thread(s), %s", bench->machine.processor, bench->machine.threads,
                sp_isa_name(bench->machine.isa));
    SP_TRY(sp_machine_measure(&bench->machine));
    if (bench->settings.gpu) {
        SP_TRY(sp_gpu_open(bench));
    }
    for (int i = 0; i < PARTS; i++) {
        if (is_wanted(&bench->settings, &parts[i])) {
            SP_TRY(run_part(bench, &parts[i]));
        }
    }
    bench->complete = true;
done:
    sp_gpu_close(bench);
    return status;
}
