/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/gpu.h -- private to flow/: the GPU of this rank, and what it does in a generation.
 *
 * The images of the rank's crews lie on the device, and the models, from which patterns are cut. What is small comes to
 * the host in each step, and stays until the next one; tasks (flow/crew_gpu.c) take it from there, image by image: n is
 * the number of an image among all, and belongs to this rank. Functions work on one conformation k, and fail with
 * SP_ERR_MEMORY, SP_ERR_NUMERIC. */
#include "flow/crew.h"
#include "phases/merge.h"

typedef struct sp_rank_gpu sp_rank_gpu;

/* Opens the device that the settings ask for -> l->gpu; NULL: processors are to be used, by all ranks. Fails with
 * SP_ERR_USAGE where a GPU is asked for and cannot be used; the reason names the cure. */
sp_status sp_rank_gpu_open(sp_loop *l);
void sp_rank_gpu_close(sp_rank_gpu *gpu); /* NULL is fine */

/* Does it do all of a generation, there being no other rank? */
bool sp_rank_gpu_does_all(const sp_loop *l);

/* Takes the images from number `first` on.   part  in  [parts] borrowed as long as the GPU is open */
sp_status sp_rank_gpu_take_images(sp_loop *l, ptrdiff_t first, const sp_patterns *const *part, ptrdiff_t parts);

/* Everything whose size follows from the grid of the density and the number of starts. */
sp_status sp_rank_gpu_make_stage(sp_loop *l);

/* ---- matching: images that are not idle ---- */

/* The best orientations in the grid; empty lists for idle images.   lists  [keep] of each image from number n on */
sp_status sp_rank_gpu_search(sp_loop *l, int k);
const sp_candidate *sp_rank_gpu_lists(const sp_rank_gpu *gpu, ptrdiff_t n);

/* Climbs from the first KEEP of these lists, and from where each image stands. */
typedef struct sp_found {
    sp_quat orientation;
    double fit; /* L; -INFINITY for idle images */
} sp_found;
sp_status sp_rank_gpu_refine(sp_loop *l, int k, int steps);
const sp_found *sp_rank_gpu_found(const sp_rank_gpu *gpu, ptrdiff_t n);

/* Scores, scales and scatter of the images of sp_loop_is_assessed().
 *   scatter  [sp_match_scatter_count()] */
typedef struct sp_assessed {
    float score, scale;
} sp_assessed;
sp_status sp_rank_gpu_assess(sp_loop *l, int k, const sp_quat *orientation, const int32_t *label);
const sp_assessed *sp_rank_gpu_assessed(const sp_rank_gpu *gpu, ptrdiff_t n);
const double *sp_rank_gpu_scatter(const sp_rank_gpu *gpu);

/* ---- merging: images with this label, in the state's orientations or shares ---- */

/*   placement  of all images        label     in   [images]
 *   residual   out  of the linear system */
sp_status sp_rank_gpu_merge(sp_loop *l, int k, const sp_placement *placement, const int32_t *label, double *residual);

/* The same to the host.   autocorrelation  out  [edge^3] */
sp_status sp_rank_gpu_fetch_autocorrelation(sp_loop *l, int k, float *autocorrelation);

/* Spread only.   pair  [sp_merger_pair_count()] */
sp_status sp_rank_gpu_spread(sp_loop *l, int k, const sp_placement *placement, const int32_t *label);
const float *sp_rank_gpu_pair(const sp_rank_gpu *gpu);

/* ---- phasing, and the model ---- */

/* The best density of several starts -> l->density.
 *   autocorrelation  in  [edge^3]; NULL: that of sp_rank_gpu_merge() */
sp_status sp_rank_gpu_phase(sp_loop *l, int k, const float *autocorrelation);
const sp_phase_result *sp_rank_gpu_phased(const sp_rank_gpu *gpu);

/* All starts of that to the host; then one of them [edge^3]. */
sp_status sp_rank_gpu_fetch_starts(sp_loop *l);
const float *sp_rank_gpu_start(const sp_rank_gpu *gpu, int start, sp_phase_outcome *outcome);

/* l->density -> l->model. */
sp_status sp_rank_gpu_make_model(sp_loop *l, int k);

/* Patterns are cut from l->model from now on. */
sp_status sp_rank_gpu_load_model(sp_loop *l, int k);
