/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/whole.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/files.h"
#include "bench/experiment.h"

sp_status sp_whole_files_init(ptrdiff_t pixels, const ptrdiff_t *images, int count, sp_whole_files *files)
{
    const char *parent = getenv("TMPDIR");
    sp_experiment experiment = {.diameter = 0.0};
    sp_status status = SP_OK;

    *files = (sp_whole_files){.files = 0};
    snprintf(files->folder, sizeof files->folder, "%.32s/spica-bench.XXXXXX", parent ? parent : "/tmp");
    SP_REQUIRE(mkdtemp(files->folder), SP_ERR_OUTPUT, "%s: cannot make a folder for images", files->folder);
    SP_TRY(sp_experiment_init(pixels, &experiment));
    for (int i = 0; i < count; i++) {
        snprintf(files->path[i], sizeof files->path[i], "%s/images%d.h5", files->folder, i);
        SP_TRY(sp_experiment_write(&experiment, images[i], files->path[i]));
        files->files++;
    }
done:
    sp_experiment_clear(&experiment);
    return status;
}

void sp_whole_files_clear(const sp_whole_files *files)
{
    for (int i = 0; i < files->files; i++) {
        unlink(files->path[i]);
    }
    if (files->folder[0]) {
        rmdir(files->folder);
    }
}

sp_status sp_whole_run(const char *path, const sp_reconstruct_settings *settings, int threads, sp_whole_cost *cost,
                       sp_reconstruction **result)
{
    const int before = omp_get_max_threads();
    sp_reconstruction *outcome = NULL;
    sp_image_file *file = NULL;
    sp_run *run = NULL;
    sp_status status = SP_OK;

    omp_set_num_threads(threads);
    sp_clock_forget_peak_memory();
    const double wall = sp_clock_wall(), cpu = sp_clock_cpu();

    SP_TRY(sp_run_new(&(sp_run_settings){.threads = threads}, &run));
    SP_TRY(sp_image_file_open(path, &file));
    SP_TRY(sp_reconstruct(run, file, settings, NULL, NULL, NULL, NULL, &outcome));
    *cost = (sp_whole_cost){
        .wall = sp_clock_wall() - wall, .cpu = sp_clock_cpu() - cpu, .peak = (double)sp_clock_peak_memory()};
    SP_REQUIRE(isfinite(outcome->history[0].score), SP_ERR_NUMERIC, "a reconstruction ends without a score");
    *result = outcome;
    outcome = NULL;
done:
    omp_set_num_threads(before);
    sp_run_free(run);
    sp_reconstruction_free(outcome);
    sp_image_file_close(file);
    return status;
}
