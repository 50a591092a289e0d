/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/crew_gpu.h -- private to flow/crew*: steps of a generation on GPUs, one of each rank, in place of tasks.
 *
 * A rank's GPU holds the images of its crews (flow/gpu.h); what it finds goes to the same regions as what tasks find.
 * Images are searched, refined, assessed and spread on all ranks at once. A single rank also solves and phases on its
 * GPU. Of several, the pairs are summed and solved by tasks, and rank 0 phases; their final starts are tasks, too. All
 * fail like the crews (flow/crew.h). */
#include "flow/crew_order.h"

/* The images of the crews to the GPU of their rank. */
sp_status sp_crews_lend(sp_loop *l);

/* Lists of conformation k -> l->crews.best; what is found from there -> l->crews.winner. */
sp_status sp_crews_search_on_gpu(sp_loop *l, int k);
sp_status sp_crews_refine_on_gpu(sp_loop *l, int k);

/* The images of the order's conformation, in its orientations -> l->crews.score, scale and scatter. */
sp_status sp_crews_assess_on_gpu(sp_loop *l, const order *o);

/* The images of the order's conformation, spread; by a single rank solved.   residual  out  [conformations] its own */
sp_status sp_crews_merge_on_gpu(sp_loop *l, const sp_placement *placement, const order *o, double *residual);

/* Is this phasing one for GPUs? Then: the best density -> its region, and sp_phase_result. */
bool sp_crews_phases_on_gpu(const sp_loop *l);
sp_status sp_crews_phase_on_gpu(sp_loop *l, int k);

/* The densities of all conformations become models, of all ranks' GPUs. */
sp_status sp_crews_load_model_on_gpu(sp_loop *l);
