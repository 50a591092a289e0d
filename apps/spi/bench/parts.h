/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/parts.h -- the parts of the benchmark, one file each. A new one: write it, declare it here, and give it a line
 * in the table of bench/bench.c.
 *
 * Each adds its rows to the bench. All fail with SP_ERR_NUMERIC where a kernel computes nonsense, SP_ERR_INTERRUPT,
 * SP_ERR_MEMORY. */
#include "bench/rows.h"

sp_status sp_bench_peak(sp_bench *bench);      /* what the machine can do */
sp_status sp_bench_nufft(sp_bench *bench);     /* type 2 and type 1 on slices */
sp_status sp_bench_fft(sp_bench *bench);       /* there and back, several sizes */
sp_status sp_bench_steps(sp_bench *bench);     /* one step of the solver of merging, one step of phasing */
sp_status sp_bench_match(sp_bench *bench);     /* the routes of matching, and a matrix product of that size */
sp_status sp_bench_phases(sp_bench *bench);    /* each phase of a generation, one thread and all */
sp_status sp_bench_run_layer(sp_bench *bench); /* what tasks and messages cost; also under mpirun */
sp_status sp_bench_scaling(sp_bench *bench);   /* whole reconstructions; fails with SP_ERR_OUTPUT, too */

/* The parts of a GPU (bench/gpu.h), which is open when they run. */
sp_status sp_bench_gpu_limits(sp_bench *bench);     /* what the GPU can do */
sp_status sp_bench_gpu_nufft(sp_bench *bench);      /* type 2 and type 1 on slices */
sp_status sp_bench_gpu_match(sp_bench *bench);      /* the dense search, refinement and assessment */
sp_status sp_bench_gpu_merge(sp_bench *bench);      /* images into pairs, pairs into autocorrelations */
sp_status sp_bench_gpu_phase(sp_bench *bench);      /* many starts side by side; shell sums */
sp_status sp_bench_gpu_generation(sp_bench *bench); /* all steps of a generation, as the loop makes them */
sp_status sp_bench_gpu_sizes(sp_bench *bench);      /* searches of a million orientations, and of 500,000 images */
