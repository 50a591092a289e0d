/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/bench.h -- how fast the kernels and phases of spica are on this machine: next to what the machine can do, to
 * the plain way of doing the same, and to the libraries that others would use (docs/performance.md).
 *
 *     sp_bench *bench = NULL;
 *     SP_TRY(sp_bench_new(&settings, log, &bench));
 *     SP_TRY(sp_bench_run(bench));
 *     sp_bench_table(bench, &text);
 *     sp_bench_free(bench);                                                                                         */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

typedef struct sp_bench_settings {
    const char *const *part; /* [parts] names, see sp_bench_part_names(); none: all but those that take minutes */
    ptrdiff_t parts;
    bool scaling; /* beside these, whole reconstructions, which take minutes */
    bool quick;   /* smaller problems, fewer rounds: a look, not a measurement */
    bool gpu;     /* the parts of a GPU instead of those of the processor */
} sp_bench_settings;

typedef struct sp_bench sp_bench;

/* Names of the parts, of the processor or of a GPU, for refusals: "peak, nufft, fft, ..." */
const char *sp_bench_part_names(bool gpu);

/* Takes note of the settings; borrows their names, and the log, for life. Free with sp_bench_free().
 * Fails with SP_ERR_USAGE (no such part), SP_ERR_MEMORY. */
sp_status sp_bench_new(const sp_bench_settings *settings, sp_log *log, sp_bench **bench);
void sp_bench_free(sp_bench *bench); /* NULL is fine */

/* Measures, with up to omp_get_max_threads() threads. After a failure the lines before it can still be shown.
 * Fails with SP_ERR_NUMERIC (a kernel computes nonsense: named), SP_ERR_INTERRUPT, SP_ERR_MEMORY, SP_ERR_OUTPUT. */
sp_status sp_bench_run(sp_bench *bench);

/* Not where mpirun started this process as one of several and another one tells. */
bool sp_bench_speaks(const sp_bench *bench);

/* What was measured, for people and for programs. Memory failures are remembered by the text. */
void sp_bench_table(const sp_bench *bench, sp_text *text);
void sp_bench_json(const sp_bench *bench, sp_text *text);
