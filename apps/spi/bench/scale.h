/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/scale.h -- how long a generation would take on many ranks: its tasks are timed on one thread of this machine,
 * and then launched again on ranks that are imagined (bench/replay.h, flow/rehearsal.h). See docs/scaling.md.
 *
 * Tasks on a block of images take a time in proportion to the images, combining and moving sums to the bytes, all other
 * kinds the mean of their kind in that generation. For a check each task takes the time that it took. */
#include "base/text.h"
#include "bench/replay.h"
#include "flow/reconstruct.h"

enum { SP_SCALE_ROWS = 32 };

typedef struct sp_scale_settings {
    const char *images;                  /* file */
    sp_reconstruct_settings reconstruct; /* its last generation is launched again */
    bool every;                          /* all of them but the first, one after the other: their sum */
    bool check;                          /* on the ranks that run this, and as they are: against the time it takes */
    bool aside;                          /* as if the files were written while the next generation is made */
    ptrdiff_t per_rank;                  /* images; 0: those of the file, shared by the ranks */
    int ranks;                           /* 1, 2, 4 ... that many */
    sp_replay_machine machine;           /* `ranks` and `seconds` are not looked at */
} sp_scale_settings;

/* Where the time of a generation goes: to steps, to blocks on their way to every rank, to the program's own loops, to
 * the files that one rank writes. */
typedef enum sp_scale_phase {
    SP_SCALE_MERGE,
    SP_SCALE_PHASE,
    SP_SCALE_MATCH, /* search, refine */
    SP_SCALE_ASSESS,
    SP_SCALE_OTHER,
    SP_SCALE_SENT,
    SP_SCALE_PROGRAM,
    SP_SCALE_FILES,
    SP_SCALE_PHASES
} sp_scale_phase;

extern const char *const sp_scale_phase_names[SP_SCALE_PHASES];

typedef struct sp_scale_row {
    int ranks;
    ptrdiff_t images;
    double seconds; /* of the generation, or all of them */
    double phase[SP_SCALE_PHASES];
    double busy; /* [s] of all workers together */
    int64_t messages;
} sp_scale_row;

typedef struct sp_scale {
    ptrdiff_t per_rank;
    bool checked, speaks; /* speaks: else another process has the outcome */
    double measured;      /* [s] that took what was replayed, but for a first generation */
    int rows;
    sp_scale_row row[SP_SCALE_ROWS];
} sp_scale;

/* Reconstructs and replays. Else than for a check it needs one process, and uses one thread of it. For a check, all
 * processes that mpirun started call this, each with one worker; tasks, messages and agreements are timed on them, with
 * whatever else the machine does at that time, and the first one has the outcome. Fails like sp_reconstruct(). */
sp_status sp_scale_measure(const sp_scale_settings *settings, sp_log *log, sp_scale *scale);

/* The phase whose time has grown most since the first row; a row's efficiency is the first row's time over its own. */
sp_scale_phase sp_scale_limit(const sp_scale *scale, int row);
double sp_scale_efficiency(const sp_scale *scale, int row);

/* For people and for programs. Memory failures are remembered by the text. */
void sp_scale_table(const sp_scale *scale, sp_text *text);
void sp_scale_json(const sp_scale *scale, sp_text *text);
