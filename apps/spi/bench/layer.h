/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/layer.h -- what the task layer costs on a run: launches of tasks that do nothing, timed by the wall clock,
 * since an engine's workers are other threads. All ranks of the run call these together. */
#include "bench/race.h"
#include "run/run.h"

typedef enum sp_layer_cost {
    SP_LAYER_TASK,      /* one of many, each on a block of its own; of this rank, where there are several */
    SP_LAYER_NEXT,      /* waits for the one before */
    SP_LAYER_AGREEMENT, /* of all ranks; this one, and those that follow, of several ranks only */
    SP_LAYER_PASSED,    /* a row of tasks of another rank: the launch alone */
    SP_LAYER_MESSAGE,   /* from rank to rank and back: waits for the one before, with the task that makes the next */
    SP_LAYER_STREAM,    /* a message, one of many */
    SP_LAYER_POST,      /* its launch alone */
    SP_LAYER_COSTS
} sp_layer_cost;

extern const char *const sp_layer_names[SP_LAYER_COSTS];

/* cost[c] [s] of one task or message, over so many rounds (at most SP_RACE_ROUNDS) of so many tasks (times ranks, at
 * least 10); median 0: not of so few ranks. Fails like sp_run_fence(), and with SP_ERR_MEMORY. */
sp_status sp_layer_measure(sp_run *run, int rounds, ptrdiff_t tasks, sp_quartiles cost[SP_LAYER_COSTS]);
