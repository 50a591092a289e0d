/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* run/trace.h -- when every task ran, of a run that keeps times (sp_run_settings.timed): a timeline and a table.
 *
 * All ranks call these together, like everything else of a run; they wait for what was launched. */
#include "base/text.h"
#include "run/run.h"

/* A timeline in the JSON that browsers' trace viewers open (chrome://tracing, https://ui.perfetto.dev): a row for each
 * worker of each rank, one for what the program waits for, one for its launches, one for blocks that arrive from other
 * ranks. Written by rank 0. Fails with SP_ERR_OUTPUT, SP_ERR_MEMORY, and as said in run.h. */
sp_status sp_run_write_trace(sp_run *run, const char *path);

/* A table over all ranks: of each kind of task how many ran, their time, their share of the time of all workers, the
 * longest; what was idle; the blocks that moved between ranks; what the layer took: the time in which no task ran on
 * any rank while the programs of all ranks launched, or waited for each other and for blocks. table  in, out  appended
 * to, on rank 0 Fails with SP_ERR_MEMORY, and as said in run.h. */
sp_status sp_run_table(sp_run *run, sp_text *table);
