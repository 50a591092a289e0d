/* SPDX-License-Identifier: BSD-3-Clause */
/* spica scale -- how long a generation would take on many processes. */
#include "bench/scale.h"
#include "cli/commands.h"

static const double ANGSTROM = 1e-10; /* [m] */
static const double MICRO = 1e-6, GIGA = 1e9;

static double seconds_of(const sp_arguments *args, const char *name)
{
    return sp_arguments_real(args, name) * MICRO;
}

static sp_replay_machine read_machine(const sp_arguments *args)
{
    return (sp_replay_machine){.workers = (int)sp_arguments_integer(args, "workers"),
                               .hosted = (int)sp_arguments_integer(args, "per-machine"),
                               .cores = (int)sp_arguments_integer(args, "cores"),
                               .latency = seconds_of(args, "latency"),
                               .bandwidth = sp_arguments_real(args, "bandwidth") * GIGA,
                               .gap = seconds_of(args, "message-cost"),
                               .post = seconds_of(args, "post-cost"),
                               .task = seconds_of(args, "task-cost"),
                               .point = seconds_of(args, "point-cost"),
                               .collective = seconds_of(args, "collective-cost"),
                               .nap = seconds_of(args, "nap")};
}

static sp_scale_settings read_settings(const sp_arguments *args)
{
    sp_scale_settings settings = {.images = sp_arguments_text(args, "images"),
                                  .reconstruct = sp_reconstruct_defaults(),
                                  .every = sp_arguments_flag(args, "every") || sp_arguments_flag(args, "check"),
                                  .check = sp_arguments_flag(args, "check"),
                                  .aside = sp_arguments_choice(args, "files") == 1,
                                  .per_rank = (ptrdiff_t)sp_arguments_integer(args, "per-rank"),
                                  .ranks = (int)sp_arguments_integer(args, "ranks"),
                                  .machine = read_machine(args)};

    settings.reconstruct.generations = (int)sp_arguments_integer(args, "generations");
    settings.reconstruct.seed = (uint64_t)sp_arguments_integer(args, "seed");
    settings.reconstruct.resolution = sp_arguments_real(args, "resolution") * ANGSTROM;
    settings.reconstruct.orientations = (int)sp_arguments_integer(args, "orientations");
    return settings;
}

static sp_status print(const sp_scale *scale, bool as_json)
{
    sp_status status = SP_OK;
    sp_text text = {0};

    if (as_json) {
        sp_scale_json(scale, &text);
    } else {
        sp_scale_table(scale, &text);
    }
    SP_TRY(sp_command_print(&text));
done:
    sp_text_clear(&text);
    return status;
}

static sp_status run(const sp_arguments *args, sp_log *log)
{
    const sp_scale_settings settings = read_settings(args);
    sp_scale scale;
    sp_status status = SP_OK;

    SP_TRY(sp_scale_measure(&settings, log, &scale));
    if (scale.speaks) {
        SP_TRY(print(&scale, sp_arguments_flag(args, "json")));
    }
done:
    return status;
}

static const sp_option options[] = {
    {.name = "ranks",
     .type = SP_OPTION_INTEGER,
     .minimum = 1,
     .maximum = 65536,
     .fallback = "4096",
     .help = "1, 2, 4 and so on up to so many processes"},
    {.name = "per-rank",
     .type = SP_OPTION_INTEGER,
     .unit = "images",
     .minimum = 0,
     .maximum = 1e6,
     .fallback = "256",
     .help = "images for each process, those of the file again and again; 0: the file's images, shared by all"},
    {.name = "generations",
     .type = SP_OPTION_INTEGER,
     .minimum = 1,
     .maximum = 100000,
     .fallback = "3",
     .help = "so many are made for real on one thread, and the last one is replayed"},
    {.name = "every", .type = SP_OPTION_FLAG, .help = "replay every generation but the first, and tell the sum"},
    {.name = "check",
     .type = SP_OPTION_FLAG,
     .help =
         "reconstruct on the processes that mpirun has started, replay every generation but the first on as many, and "
         "tell both times; costs are measured and need not be given"},
    {.name = "seed",
     .type = SP_OPTION_INTEGER,
     .minimum = 0,
     .maximum = 9007199254740992.0,
     .fallback = "1",
     .help = "of the run"},
    {.name = "resolution",
     .type = SP_OPTION_REAL,
     .unit = "Angstrom",
     .minimum = 0.1,
     .maximum = 1e6,
     .automatic = "the farthest good pixel of the detector",
     .help = "finest detail to reconstruct"},
    {.name = "orientations",
     .type = SP_OPTION_INTEGER,
     .minimum = 2,
     .maximum = 10000000,
     .automatic = "so many that neighbours differ by about a speckle",
     .help = "orientations of the search"},
    {.name = "workers",
     .type = SP_OPTION_INTEGER,
     .minimum = 1,
     .maximum = 1024,
     .fallback = "1",
     .help = "tasks that a process runs at the same time"},
    {.name = "per-machine",
     .type = SP_OPTION_INTEGER,
     .minimum = 1,
     .maximum = 65536,
     .fallback = "8",
     .help = "processes on each machine"},
    {.name = "cores",
     .type = SP_OPTION_INTEGER,
     .minimum = 0,
     .maximum = 65536,
     .fallback = "0",
     .help = "cores of a machine, which its processes share; 0: each worker has its own"},
    {.name = "latency",
     .type = SP_OPTION_REAL,
     .unit = "us",
     .minimum = 0,
     .maximum = 1e6,
     .fallback = "2",
     .help = "of the network"},
    {.name = "bandwidth",
     .type = SP_OPTION_REAL,
     .unit = "GB/s",
     .minimum = 1e-6,
     .maximum = 1e6,
     .fallback = "12.5",
     .help = "of a process's link, each way"},
    {.name = "message-cost",
     .type = SP_OPTION_REAL,
     .unit = "us",
     .minimum = 0,
     .maximum = 1e6,
     .fallback = "13",
     .help = "that the engine takes for a message on its way, as `spica bench run` measures it"},
    {.name = "post-cost",
     .type = SP_OPTION_REAL,
     .unit = "us",
     .minimum = 0,
     .maximum = 1e6,
     .fallback = "2",
     .help = "that a process takes to order a message"},
    {.name = "task-cost",
     .type = SP_OPTION_REAL,
     .unit = "us",
     .minimum = 0,
     .maximum = 1e6,
     .fallback = "2",
     .help = "that a process takes to submit a task of its own"},
    {.name = "point-cost",
     .type = SP_OPTION_REAL,
     .unit = "us",
     .minimum = 0,
     .maximum = 1e6,
     .fallback = "0.02",
     .help = "that a process takes to pass a row of tasks of another"},
    {.name = "files",
     .type = SP_OPTION_CHOICE,
     .choices = "waited-for|aside",
     .fallback = "waited-for",
     .help =
         "whether all processes wait for the one that writes the results of a generation, as they do, or as if not"},
    {.name = "collective-cost",
     .type = SP_OPTION_REAL,
     .unit = "us",
     .minimum = 0,
     .maximum = 1e6,
     .fallback = "1",
     .help = "that a process takes for each message of these"},
    {.name = "nap",
     .type = SP_OPTION_REAL,
     .unit = "us",
     .minimum = 0,
     .maximum = 1e6,
     .fallback = "50",
     .help = "until such a message is looked at"},
    {.name = "json", .type = SP_OPTION_FLAG, .help = "print JSON, in SI units"},
    {0},
};

static const sp_positional positionals[] = {
    {.name = "images", .help = "HDF5 file that the tasks are timed with", .required = true},
    {0},
};

const sp_command sp_command_scale = {
    .name = "scale",
    .summary = "say how long a generation would take on many processes",
    .options = options,
    .positionals = positionals,
    .examples = "spica scale images.h5\n"
                "spica scale images.h5 --ranks 4 --per-rank 0 --per-machine 4 --cores 2 --every   # one machine\n"
                "mpirun -n 2 spica scale images.h5 --check\n",
    .run = run,
};
