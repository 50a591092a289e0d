/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/gpu_cufinufft.h -- for bench/gpu_nufft.c: cuFINUFFT on the same points. */
#include "bench/nufft_problem.h"
#include "bench/rows.h"

/* One more comparison of the row, whose work is a whole transform of all slices of the problem: with cuFINUFFT, points
 * set anew, and for type 1 two transforms, of data and weights (sp_problem_load_type1()). By the host's clock, from an
 * idle GPU to an idle GPU. Without the library, a line that says so.
 *   type  1 or 2
 * Fails with SP_ERR_NUMERIC, SP_ERR_MEMORY, SP_ERR_INTERRUPT. */
sp_status sp_gpu_compare_cufinufft(sp_bench *bench, sp_problem *problem, int type, double tolerance, sp_row *row);
