/* SPDX-License-Identifier: BSD-3-Clause */
/* spica bench -- how fast the kernels and phases are on this machine. */
#include "bench/bench.h"
#include "cli/commands.h"

enum { DEVICE_CPU, DEVICE_CUDA }; /* as the choices of --device */

static sp_status print(const sp_bench *bench, bool as_json)
{
    sp_status status = SP_OK;
    sp_text text = {0};

    if (as_json) {
        sp_bench_json(bench, &text);
    } else {
        sp_bench_table(bench, &text);
    }
    SP_TRY(sp_command_print(&text));
done:
    sp_text_clear(&text);
    return status;
}

static sp_status run(const sp_arguments *args, sp_log *log)
{
    sp_bench_settings settings = {.scaling = sp_arguments_flag(args, "scaling"),
                                  .quick = sp_arguments_flag(args, "quick"),
                                  .gpu = sp_arguments_choice(args, "device") == DEVICE_CUDA};
    sp_bench *bench = NULL;
    sp_status status = SP_OK;

    settings.parts = sp_arguments_list(args, "part", &settings.part);
    SP_TRY(sp_bench_new(&settings, log, &bench));
    const sp_status outcome = sp_bench_run(bench);

    if (sp_bench_speaks(bench) && (outcome == SP_OK || outcome == SP_ERR_INTERRUPT)) {
        SP_TRY(print(bench, sp_arguments_flag(args, "json")));
    }
    status = outcome;
done:
    sp_bench_free(bench);
    return status;
}

static const sp_option options[] = {
    {.name = "device",
     .type = SP_OPTION_CHOICE,
     .choices = "cpu|cuda",
     .fallback = "cpu",
     .help = "what is measured: the processor, or the kernels on a GPU of NVIDIA, beside the time they need at least"},
    {.name = "quick", .type = SP_OPTION_FLAG, .help = "smaller problems and fewer rounds: a look, in some 20 s"},
    {.name = "scaling",
     .type = SP_OPTION_FLAG,
     .help = "also whole reconstructions: how time and memory grow with images, orientations, grid and threads; takes "
             "minutes"},
    {.name = "json", .type = SP_OPTION_FLAG, .help = "print JSON, in SI units"},
    {0},
};

static const sp_positional positionals[] = {
    {.name = "part",
     .help = "what to measure: peak, nufft, fft, steps, match, phases, run, scaling; of a GPU: limits, nufft, match, "
             "merge, phase, sizes; nothing named: all but the last one",
     .many = true},
    {0},
};

const sp_command sp_command_bench = {
    .name = "bench",
    .summary = "measure the kernels on this machine, next to other libraries",
    .options = options,
    .positionals = positionals,
    .examples = "spica bench --quick\nspica bench nufft fft --threads 1\nspica bench --device cuda --threads 2\nspica "
                "bench --json > bench.json\n"
                "mpirun -n 2 spica bench run\n",
    .run = run,
};
