/* SPDX-License-Identifier: BSD-3-Clause */
/* spica reconstruct -- from diffraction images to orientations and a density. */
#include <string.h>

#include "base/files.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "flow/checkpoint.h"
#include "flow/halves.h"
#include "flow/output.h"
#include "flow/reconstruct.h"
#include "flow/report.h"
#include "io/images.h"
#include "run/trace.h"

static const double ANGSTROM = 1e-10;     /* [m] */
static const ptrdiff_t LEAST_IMAGES = 10; /* fewer great circles leave most of the sphere unseen at any resolution */

/* ---- settings ---- */

static double length_of(const sp_arguments *args, const char *name)
{
    return sp_arguments_real(args, name) * ANGSTROM;
}

static sp_reconstruct_settings read_settings(const sp_arguments *args)
{
    sp_reconstruct_settings settings = sp_reconstruct_defaults();

    settings.seed = (uint64_t)sp_arguments_integer(args, "seed");
    settings.null = (uint64_t)sp_arguments_integer(args, "null");
    settings.resolution = length_of(args, "resolution");
    settings.low_resolution = length_of(args, "low-resolution");
    settings.diameter = length_of(args, "diameter");
    settings.grid = (int)sp_arguments_integer(args, "grid");
    settings.binning = (int)sp_arguments_integer(args, "binning");
    settings.orientations = (int)sp_arguments_integer(args, "orientations");
    settings.generations = (int)sp_arguments_integer(args, "generations");
    settings.starts = (int)sp_arguments_integer(args, "starts");
    settings.conformations = (int)sp_arguments_integer(args, "conformations");
    settings.held_out = sp_arguments_real(args, "held-out");
    settings.match = (sp_match_kind)sp_arguments_choice(args, "match");
    settings.match_route = (sp_match_route)sp_arguments_choice(args, "match-route");
    settings.refine = sp_arguments_choice(args, "refine") == 0;
    settings.fit_background = sp_arguments_choice(args, "fit-background") == 0;
    settings.fit_scale = sp_arguments_choice(args, "fit-scale") == 0;
    settings.noise = (sp_noise_kind)sp_arguments_choice(args, "noise");
    settings.device = (sp_device_kind)sp_arguments_choice(args, "device");
    settings.slices = (sp_slices_kind)sp_arguments_choice(args, "slices");
    return settings;
}

static sp_status check_settings(const sp_reconstruct_settings *settings)
{
    sp_status status = SP_OK;

    SP_REQUIRE(settings->grid % 2 == 0, SP_ERR_USAGE, "--grid: %d is odd; the edge of the density must be even",
               settings->grid);
    SP_REQUIRE(settings->low_resolution == 0.0 || settings->low_resolution > settings->resolution, SP_ERR_USAGE,
               "--low-resolution: %g Angstrom is no coarser than --resolution %g: no pixel would be left",
               settings->low_resolution / ANGSTROM, settings->resolution / ANGSTROM);
    SP_REQUIRE(settings->conformations > 0 || settings->held_out > 0.0, SP_ERR_USAGE,
               "--held-out: --conformations auto decides by images that are held out; 0 leaves none");
    SP_REQUIRE(settings->match != SP_MATCH_EUCLIDEAN || settings->match_route != SP_MATCH_POLAR, SP_ERR_USAGE,
               "--match-route: polar compares likelihoods; with --match euclidean leave it out");
done:
    return status;
}

/* ---- what is refused before the work begins ---- */

static sp_status check_images(const char *path, const sp_image_file *file, bool half_sets)
{
    sp_status status = SP_OK;
    const ptrdiff_t count = sp_image_file_count(file);

    SP_REQUIRE(count >= LEAST_IMAGES, SP_ERR_INPUT,
               "%s: %td image%s; at least %td are needed, and some hundreds for a map worth looking at", path, count,
               count == 1 ? "" : "s", LEAST_IMAGES);
    SP_REQUIRE(!half_sets || count / 2 >= LEAST_IMAGES, SP_ERR_INPUT,
               "%s: %td images make no two halves of %td; leave --half-sets out", path, count, LEAST_IMAGES);
done:
    return status;
}

static sp_status check_memory(const sp_run *run, const sp_image_file *file, const sp_reconstruct_settings *settings)
{
    sp_status status = SP_OK;
    const double needed = sp_run_neighbours(run) * sp_reconstruct_memory(run, file, settings).total;
    const double available = (double)sp_memory_available();

    SP_REQUIRE(available == 0.0 || needed <= available, SP_ERR_MEMORY,
               "%.1f GB of memory are needed, %.1f GB are available; choose a smaller --grid, a larger --binning, or a "
               "coarser --resolution",
               needed / 1e9, available / 1e9);
done:
    return status;
}

static const char *folder_of(const sp_arguments *args)
{
    const char *resumed = sp_arguments_text(args, "resume");

    return resumed ? resumed : sp_arguments_text(args, "output");
}

/* from  NULL where the run begins */
static sp_status prepare_output(const sp_arguments *args, const sp_reconstruct_settings *settings,
                                const sp_checkpoint *from, sp_output **output)
{
    sp_status status = SP_OK;
    sp_text text = {0};

    sp_arguments_write(args, &text);
    SP_TRY(sp_text_check(&text));
    const sp_output_plan plan = {.folder = folder_of(args),
                                 .input = sp_arguments_text(args, "images"),
                                 .settings = sp_text_string(&text),
                                 .asked = *settings,
                                 .replace = from || sp_arguments_flag(args, "force"),
                                 .generations = from ? sp_checkpoint_generations(from) : 0};
    SP_TRY(sp_output_new(&plan, output));
done:
    sp_text_clear(&text);
    return status;
}

/* ---- what is said at the end ---- */

static void log_warning(void *log, const char *line)
{
    sp_log_warning(log, "%s", line);
}

static void log_summary(const sp_reconstruction *result, const char *folder, sp_log *log)
{
    sp_log_info(log, "%s after %d generations: %s", result->converged ? "converged" : "stopped", result->generations,
                result->stop_reason);
    if (result->settings.conformations == 1) {
        sp_log_info(log, "the map is %s/density.mrc; how far to trust it stands in %s/report.txt", folder, folder);
    } else {
        sp_log_info(log,
                    "the maps are %s/density-1.mrc to density-%d.mrc; how far to trust them stands in %s/report.txt",
                    folder, result->settings.conformations, folder);
    }
}

/* After a failure: what of the work can be used. */
static void log_leftovers(const sp_output *output, const char *folder, sp_log *log)
{
    const int generations = sp_output_generations(output);

    if (generations > 0) {
        sp_log_info(log, "%s holds generation %d, complete: map, result.h5, report.txt", folder, generations);
        sp_log_info(log, "spica reconstruct --resume %s goes on from there", folder);
    } else {
        sp_log_info(log, "no generation was complete: nothing but the log was written to %s", folder);
    }
}

/* ---- a run that was stopped ---- */

/* Options that may be given with --resume; those of all commands may, too. */
static bool may_change(const char *name)
{
    return strcmp(name, "resume") == 0 || strcmp(name, "generations") == 0 || strcmp(name, "engine") == 0 ||
           strcmp(name, "device") == 0 || strcmp(name, "slices") == 0 || strcmp(name, "half-sets") == 0 ||
           strcmp(name, "trace") == 0 || strcmp(name, "patience") == 0;
}

static sp_status refuse_changes(const sp_arguments *args, const sp_option *option)
{
    sp_status status = SP_OK;

    SP_REQUIRE(!sp_arguments_is_set(args, "settings"), SP_ERR_USAGE,
               "--settings: a run goes on as it began; with --resume its settings are those in the folder");
    for (; option->name; option++) {
        SP_REQUIRE(
            !sp_arguments_is_set(args, option->name) || may_change(option->name), SP_ERR_USAGE,
            "--%s: a run goes on as it began; with --resume only --generations, --half-sets, --threads, --engine, "
            "--device, --patience, --trace and the images' new place may be given",
            option->name);
    }
done:
    return status;
}

/* What is not given stands in the checkpoint. */
static sp_status complete(sp_arguments *args)
{
    sp_status status = SP_OK;
    sp_checkpoint *from = NULL;
    sp_text config = {0};

    if (!sp_arguments_is_set(args, "resume")) {
        return SP_OK;
    }
    SP_TRY(refuse_changes(args, sp_command_reconstruct.options));
    SP_TRY(sp_checkpoint_open(folder_of(args), &from));
    sp_text_append(&config, "%s", sp_checkpoint_config(from));
    SP_TRY(sp_text_check(&config));
    SP_TRY(sp_arguments_read_text(args, sp_checkpoint_path(from), config.data));
done:
    sp_text_clear(&config);
    sp_checkpoint_free(from);
    return status;
}

/* Says so if there is nothing to go on with: the run has converged, or was given no more generations, and has the half
 * sets that are asked for. */
static sp_status check_end(const sp_arguments *args, const sp_checkpoint *from, sp_log *log, bool *ended)
{
    const char *folder = folder_of(args);
    const int limit = sp_checkpoint_limit(from), wanted = (int)sp_arguments_integer(args, "generations");
    sp_output_end end = {0};
    sp_status status = SP_OK;

    SP_REQUIRE(wanted >= limit, SP_ERR_USAGE, "--generations: %d is less than the %d that the run in %s was given",
               wanted, limit, folder);
    SP_TRY(sp_output_read_end(folder, sp_checkpoint_config(from), &end));
    *ended = end.stop_reason && (end.converged || wanted == limit) &&
             (end.half_sets || !sp_arguments_flag(args, "half-sets"));
    if (*ended) {
        sp_log_info(log, "%s: the run has ended after %d generations: %s%s", folder, sp_checkpoint_generations(from),
                    end.stop_reason, end.converged ? "" : "; give more --generations to go on");
    }
done:
    sp_array_free(end.stop_reason);
    return status;
}

/* ---- the run ---- */

/* What the user wants of a run. */
typedef struct wish {
    const sp_reconstruct_settings *settings;
    const sp_checkpoint *from; /* NULL: begin */
    bool half_sets;
    const char *folder;
} wish;

/* All images, then, where wanted, their halves. Rank 0 alone has an output. */
static sp_status run_all(sp_run *run, const wish *w, sp_image_file *file, sp_output *output, sp_log *log,
                         sp_reconstruction **result)
{
    sp_status status = SP_OK;

    SP_TRY(sp_reconstruct(run, file, w->settings, log, w->from, output ? sp_output_write : NULL, output, result));
    if (w->half_sets) {
        SP_TRY(sp_halves_measure(run, file, w->settings, log, *result));
        status = output ? sp_output_write(output, *result, NULL) : SP_OK;
        SP_TRY(sp_run_agree(run, status));
    }
done:
    return status;
}

static sp_status reconstruct(sp_run *run, const wish *w, sp_image_file *file, sp_output *output, sp_log *log)
{
    sp_status status = SP_OK;
    sp_reconstruction *result = NULL;
    const char *folder = w->folder;

    if (!output) {
        SP_TRY(run_all(run, w, file, NULL, log, &result));
        goto done;
    }
    SP_TRY(sp_log_file_open(log, sp_output_log_path(output)));
    sp_log_info(log, "spica " SPICA_VERSION " reconstruct: %td images, results go to %s", sp_image_file_count(file),
                folder);
    SP_TRY(run_all(run, w, file, output, log, &result));
    SP_TRY(sp_report_warnings(result, log_warning, log));
    log_summary(result, folder, log);
    SP_TRY(sp_log_file_close(log));
done:
    if (status != SP_OK && output) {
        log_leftovers(output, folder, log);
    }
    sp_reconstruction_free(result);
    return status;
}

/* What each process finds out for itself. */
static sp_status open_images(const sp_run *run, const sp_checkpoint *from, const sp_reconstruct_settings *settings,
                             const sp_arguments *args, sp_image_file **file)
{
    const char *path = sp_arguments_text(args, "images");
    sp_status status = SP_OK;

    SP_REQUIRE(!from || sp_file_exists(path), SP_ERR_INPUT,
               "%s: the images of this run are not there any more; tell their new place: spica reconstruct --resume %s "
               "IMAGES",
               path, folder_of(args));
    SP_TRY(sp_image_file_open(path, file));
    SP_TRY(check_images(path, *file, sp_arguments_flag(args, "half-sets")));
    SP_TRY(check_memory(run, *file, settings));
done:
    return status;
}

/* from  NULL where the run begins */
static sp_status run_from(sp_run *run, const sp_checkpoint *from, const sp_reconstruct_settings *settings,
                          const sp_arguments *args, sp_log *log)
{
    sp_status status = SP_OK;
    const wish w = {.settings = settings,
                    .from = from,
                    .half_sets = sp_arguments_flag(args, "half-sets"),
                    .folder = folder_of(args)};
    sp_image_file *file = NULL;
    sp_output *output = NULL;

    SP_TRY(sp_run_agree(run, open_images(run, from, settings, args, &file)));
    status = sp_run_rank(run) == 0 ? prepare_output(args, settings, from, &output) : SP_OK;
    SP_TRY(sp_run_agree(run, status));
    SP_TRY(reconstruct(run, &w, file, output, log));
done:
    sp_output_free(output);
    sp_image_file_close(file);
    return status;
}

/* The engine asked for; the local one, with a warning, where that does not start. */
static sp_status start_run(const sp_arguments *args, const char *advice, sp_log *log, sp_run **run)
{
    sp_run_settings settings = {.engine = (sp_engine)sp_arguments_choice(args, "engine"),
                                .threads = (int)sp_arguments_integer(args, "threads"),
                                .patience = sp_arguments_real(args, "patience"),
                                .timed = sp_arguments_is_set(args, "trace"),
                                .advice = advice,
                                .log = log};
    sp_status status = sp_run_new(&settings, run);

    if (status == SP_ERR_USAGE && settings.engine != SP_ENGINE_LOCAL && !sp_run_under_mpirun()) {
        sp_log_warning(log, "%s; the local engine is used", sp_error_text());
        settings.engine = SP_ENGINE_LOCAL;
        status = sp_run_new(&settings, run);
    }
    if (status == SP_OK && sp_run_rank(*run) > 0) { /* rank 0 speaks for all */
        sp_log_set_level(log, SP_LOG_ERROR);
    }
    return status;
}

/* The timeline, and the table line by line. */
static sp_status write_trace(sp_run *run, const char *path, sp_log *log)
{
    sp_status status = SP_OK;
    sp_text table = {0};
    char *line, *rest = NULL;

    SP_TRY(sp_run_write_trace(run, path));
    SP_TRY(sp_run_table(run, &table));
    for (line = table.data ? strtok_r(table.data, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
        sp_log_info(log, "%s", line); /* on rank 0: elsewhere there is no table */
    }
    sp_log_info(log, "the timeline is %s: open it at https://ui.perfetto.dev", path);
done:
    sp_text_clear(&table);
    return status;
}

static sp_status run_command(const sp_arguments *args, sp_log *log)
{
    sp_status status = SP_OK;
    const sp_reconstruct_settings settings = read_settings(args);
    sp_checkpoint *from = NULL;
    sp_run *run = NULL;
    sp_text advice = {0};
    bool ended = false;

    SP_TRY(check_settings(&settings));
    sp_text_append(&advice, "spica reconstruct --resume %s goes on from the last complete generation, if there is one",
                   folder_of(args));
    SP_TRY(sp_text_check(&advice));
    if (sp_arguments_is_set(args, "resume")) {
        SP_TRY(sp_checkpoint_open(folder_of(args), &from));
        SP_TRY(check_end(args, from, log, &ended));
    }
    if (!ended) {
        SP_TRY(start_run(args, sp_text_string(&advice), log, &run));
        SP_TRY(run_from(run, from, &settings, args, log));
        if (sp_arguments_is_set(args, "trace")) {
            SP_TRY(write_trace(run, sp_arguments_text(args, "trace"), log));
        }
    }
done:
    sp_run_free(run);
    sp_text_clear(&advice);
    sp_checkpoint_free(from);
    return status;
}

/* ---- tables ---- */

static const sp_option options[] = {
    {.name = "output",
     .letter = 'o',
     .type = SP_OPTION_TEXT,
     .unit = "DIR",
     .fallback = "reconstruction",
     .one_call = true,
     .help = "folder for the results: density.mrc, result.h5, report.txt, report.json, settings.txt, log.txt, "
             "checkpoint.h5; each complete generation replaces the one before"},
    {.name = "force",
     .letter = 'f',
     .type = SP_OPTION_FLAG,
     .one_call = true,
     .help = "replace an older run in that folder, as soon as the first generation of the new one is complete"},
    {.name = "resume",
     .letter = 'r',
     .type = SP_OPTION_TEXT,
     .unit = "DIR",
     .one_call = true,
     .help = "go on with the run in this folder, stopped or killed, from its last complete generation: the result has "
             "the same bits as if it had not been stopped. Images and options are known there; give IMAGES only where "
             "they have moved, and --generations only for more of them"},
    {.name = "half-sets",
     .type = SP_OPTION_FLAG,
     .one_call = true,
     .help = "then part the images into two halves, reconstruct each alone, and report what their maps have in common: "
             "a resolution that needs no truth (FSC), for each conformation. Takes about as long again; with --resume, "
             "for a run that has ended"},
    {.name = "engine",
     .type = SP_OPTION_CHOICE,
     .choices = "local|starpu",
     .fallback = "local",
     .one_call = true,
     .help = "what runs the tasks: local, the threads of this process; starpu, as many processes as mpirun started, on "
             "one machine or many. The result has the same bits"},
    {.name = "device",
     .type = SP_OPTION_CHOICE,
     .choices = "cpu|cuda|auto",
     .fallback = "cpu",
     .one_call = true,
     .help =
         "what computes: cpu, the processors; cuda, a GPU (the first of those that CUDA_VISIBLE_DEVICES names), with "
         "--engine local; auto, a GPU where one can be used. The result differs in the last bits"},
    {.name = "slices",
     .type = SP_OPTION_CHOICE,
     .choices = "replicated|hybrid|distributed",
     .fallback = "replicated",
     .one_call = true,
     .help = "with several processes, who makes the patterns that images are searched with: every process for itself; "
             "those of one machine together; or all together, each pattern sent round. The result has the same bits"},
    {.name = "patience",
     .type = SP_OPTION_REAL,
     .unit = "seconds",
     .minimum = 0,
     .maximum = 1e9,
     .fallback = "86400",
     .one_call = true,
     .help = "a task (the work on one block of images, or one phasing start) that takes longer ends the run, and is "
             "named: its file system or its machine hangs; 0: wait for ever"},
    {.name = "trace",
     .type = SP_OPTION_TEXT,
     .unit = "FILE",
     .one_call = true,
     .help = "write when each task ran to this file, for the trace viewer of a browser, and show a table at the end"},
    {.name = "seed",
     .type = SP_OPTION_INTEGER,
     .minimum = 0,
     .maximum = 9007199254740992.0,
     .fallback = "1",
     .help = "of the random numbers; the same seed gives the same result on any number of threads"},
    {.name = "null",
     .type = SP_OPTION_INTEGER,
     .minimum = 0,
     .maximum = 9007199254740992.0,
     .fallback = "0",
     .help =
         "reconstruct from nulls: the bins of each image are shuffled within rings of equal resolution, by random "
         "numbers of this seed, so that nothing is left of a structure but its size; what the report claims all the "
         "same is what this program sees in anything. 0: the images as they are"},
    {.name = "resolution",
     .type = SP_OPTION_REAL,
     .unit = "Angstrom",
     .minimum = 0.1,
     .maximum = 1e6,
     .automatic = "the farthest good pixel of the detector",
     .help = "finest detail to reconstruct"},
    {.name = "low-resolution",
     .type = SP_OPTION_REAL,
     .unit = "Angstrom",
     .minimum = 0.1,
     .maximum = 1e6,
     .automatic = "all good pixels are used",
     .help = "ignore pixels of coarser detail than this"},
    {.name = "diameter",
     .type = SP_OPTION_REAL,
     .unit = "Angstrom",
     .minimum = 1,
     .maximum = 1e6,
     .automatic = "from the pair distances of the mean image",
     .help = "largest extent of the particle"},
    {.name = "grid",
     .type = SP_OPTION_INTEGER,
     .unit = "voxels",
     .minimum = 8,
     .maximum = 2048,
     .automatic = "2.3 diameters in voxels of half the resolution",
     .help = "edge of the density, even"},
    {.name = "binning",
     .type = SP_OPTION_INTEGER,
     .unit = "pixels",
     .minimum = 1,
     .maximum = 256,
     .automatic = "the largest that keeps a bin below a third of a speckle",
     .help = "join so many pixels along each edge to one"},
    {.name = "orientations",
     .type = SP_OPTION_INTEGER,
     .minimum = 60,
     .maximum = 1e8,
     .automatic = "two speckles apart, coarse ones first; refinement covers the rest",
     .help = "number of orientations that are searched"},
    {.name = "generations",
     .type = SP_OPTION_INTEGER,
     .minimum = 1,
     .maximum = 10000,
     .fallback = "150",
     .help = "stop after so many, converged or not"},
    {.name = "starts",
     .type = SP_OPTION_INTEGER,
     .minimum = 1,
     .maximum = 1000,
     .fallback = "4",
     .help = "phasing starts in each generation, of which the best is taken; two or more tell the detail that can be "
             "trusted (PRTF)"},
    {.name = "conformations",
     .letter = 'k',
     .type = SP_OPTION_INTEGER,
     .minimum = 1,
     .maximum = SP_CONFORMATIONS,
     .fallback = "1",
     .choices = "auto",
     .help = "how many conformations to sort the images into; each gets a map of its own, density-1.mrc, density-2.mrc "
             "and so on. auto: 1, 2, 3 and so on are tried, as long as one more explains images better that it was not "
             "made from"},
    {.name = "held-out",
     .type = SP_OPTION_REAL,
     .minimum = 0,
     .maximum = 0.5,
     .fallback = "0.05",
     .help = "share of the images that no model is made from before the final map; how well they are explained shows "
             "whether the others are explained only because the model is made of them"},
    {.name = "match",
     .type = SP_OPTION_CHOICE,
     .choices = "likelihood|euclidean|poisson",
     .fallback = "likelihood",
     .help = "how images are compared with the model: by the likelihood of their counts, or by the plain distance of "
             "intensities, the published baseline, which is there to be compared with; poisson: by a likelihood that "
             "trusts the model, each image divided among its likeliest orientations while they are searched"},
    {.name = "match-route",
     .type = SP_OPTION_CHOICE,
     .choices = "auto|polar|dense",
     .fallback = "auto",
     .help = "how the orientations are searched: all in-plane turns of a direction at once (polar), or one by one "
             "(dense), which is exact and many times slower; auto: polar, unless the pixels are few or lie unevenly"},
    {.name = "refine",
     .type = SP_OPTION_CHOICE,
     .choices = "yes|no",
     .fallback = "yes",
     .help = "refine the orientation of each image beyond the grid of the search"},
    {.name = "fit-background",
     .type = SP_OPTION_CHOICE,
     .choices = "yes|no",
     .fallback = "yes",
     .help = "estimate a background that all images have in common, alike in all directions about the beam, where "
             "their contrast shows that there is one, and account for it"},
    {.name = "fit-scale",
     .type = SP_OPTION_CHOICE,
     .choices = "yes|no",
     .fallback = "yes",
     .help = "fit the fluence of each image"},
    {.name = "noise",
     .type = SP_OPTION_CHOICE,
     .choices = "auto|none|poisson",
     .fallback = "auto",
     .help = "noise of the images; auto: measured from neighbouring pixels"},
    {0},
};

static const sp_positional positionals[] = {
    {.name = "images",
     .required = true,
     .help = "image file, as written by spica simulate; spica info shows it; with --resume only where it has moved"},
    {0},
};

const sp_command sp_command_reconstruct = {
    .name = "reconstruct",
    .summary = "find the orientations of images and the density of the molecule",
    .options = options,
    .positionals = positionals,
    .examples = "spica reconstruct images.h5 -o run1\n"
                "spica reconstruct images.h5 -o run2 --resolution 12 --seed 2\n"
                "spica reconstruct images.h5 -o run3 --half-sets\n"
                "spica reconstruct --settings run1/settings.txt -o repeated\n"
                "spica reconstruct --resume run1\n",
    .complete = complete,
    .run = run_command,
};
