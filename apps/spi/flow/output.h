/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/output.h -- the folder that a reconstruction leaves behind.
 *
 *   density.mrc   the map, centred, sharp to the resolution of the run
 *   result.h5     everything a program wants:
 *       /cxi_version, /version                    160; name and version of the program
 *       /config                                   settings file that repeats the run
 *       /settings/<name>                          every value in effect, SI units in the attribute `units`
 *       /input/{path, bytes, images}              what was read
 *       /entry_1/image_1/{data, image_size, ...}  the map [z][y][x], centred, in the layout of CXI
 *       /result/{converged, stop_reason}          0 or 1, one sentence; absent while the run goes on
 *       /result/orientations                      [N][4] (w,x,y,z)
 *       /result/{score, scale, conformation, image_id}  [N]
 *       /history/<name>                           [generations], members of sp_generation
 *       /prtf/{s, value}                          [shells], s in 1/m; absent where nothing was measured
 *       /half_sets/{s, fsc, shape, cc_half, half_bit}  [shells], s in 1/m; absent without --half-sets, like the next
 * ones /half_sets/{resolution, fsc_resolution, cc_half_resolution, half_bit_resolution, correlation, whole, turn,
 * chance, likeness, agree} of several conformations all but s and half_bit are lists: [K] ... /half_sets/{labels_same,
 * labels_chance}   share of the images that half sets sort as the whole does, if K > 1 report.txt, report.json   what
 * was read, chosen and found; when, how long, how much memory settings.txt  the text of /config: `spica reconstruct
 * --settings settings.txt -o OTHER` repeats the run checkpoint.h5 where the run stands: `spica reconstruct --resume
 * FOLDER` goes on from it (flow/checkpoint.h) log.txt       the lines of every run into this folder (written by
 * base/log.h)
 *
 * Each complete generation replaces the files of the one before: all new files are complete before the first one takes
 * its final name, result.h5 does so last, and a failure before leaves the old generation as it was. A generation that
 * was refused replaces checkpoint.h5 alone, which thus is never older than the result beside it. A folder never holds
 * parts of two runs: an older run is replaced as a whole by the first complete generation of the new one. density.mrc,
 * result.h5 and settings.txt are equal, bit for bit, for equal input and settings; dates and times stand in the reports
 * and the log only. */
#include <stdbool.h>

#include "base/error.h"
#include "flow/reconstruct.h"

/* Opaque. */
typedef struct sp_output sp_output;

typedef struct sp_output_plan {
    const char *folder;            /* made, with those above it, if it is not there */
    const char *input;             /* path of the image file */
    const char *settings;          /* text for settings.txt */
    sp_reconstruct_settings asked; /* as handed to sp_reconstruct() */
    bool replace;                  /* an older run in the folder may be replaced */
    int generations;               /* of this run in the folder already; 0 where it begins */
} sp_output_plan;

/* Prepare the folder, and find out now rather than hours later whether it can be written to. The plan is copied.
 *   output  receives the handle, free with sp_output_free(); untouched on error
 * Fails with SP_ERR_OUTPUT (a file of that name, holds a run and `replace` is false, no permission, disk full) or
 * SP_ERR_MEMORY. */
sp_status sp_output_new(const sp_output_plan *plan, sp_output **output);
void sp_output_free(sp_output *output);         /* NULL is fine; the files stay */
void sp_output_remove(const sp_output *output); /* its files, and the folder if nothing else is in it */

/* Write a generation, or the end: an sp_generation_hook whose context is an sp_output.
 * Fails with SP_ERR_OUTPUT (disk full), SP_ERR_NUMERIC (a density that is not finite), SP_ERR_MEMORY. */
sp_status sp_output_write(void *output, const sp_reconstruction *state, const sp_loop *loop);

int sp_output_generations(const sp_output *output); /* in the folder now; 0: nothing was written yet */

/* Has the run of these settings in the folder come to its end?
 *   config  text of its settings.txt
 *   end     receives it; free stop_reason, NULL while the run goes on, with sp_array_free()
 * Fails with SP_ERR_MEMORY; a result that cannot be read is no end. */
typedef struct sp_output_end {
    bool converged;
    bool half_sets; /* are in it */
    char *stop_reason;
} sp_output_end;
sp_status sp_output_read_end(const char *folder, const char *config, sp_output_end *end);

const char *sp_output_log_path(const sp_output *output); /* FOLDER/log.txt; borrowed */
