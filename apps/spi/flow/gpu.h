/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/gpu.h -- private to flow/: the steps of a generation on a GPU, for the tasks of flow/crew.c that would do them.
 *
 * The images of all crews lie on the device, and the models, from which patterns are cut; there is one device and one
 * rank. What is small comes to the host in each step, to the arrays of the loop and to those here. Each function does
 * what its namesake among the steps does for one conformation k; fails with SP_ERR_MEMORY, SP_ERR_NUMERIC. */
#include "flow/crew.h"
#include "phases/merge.h"

typedef struct sp_gpu sp_gpu;

/* Opens the device that the settings ask for -> l->gpu; NULL: processors are to be used. Fails with SP_ERR_USAGE where
 * a GPU is asked for and cannot be used, and the reason names the cure. */
sp_status sp_gpu_open(sp_loop *l);
void sp_gpu_close(sp_gpu *gpu); /* NULL is fine */
const char *sp_gpu_name(const sp_gpu *gpu);

/* Takes the images of all crews.   part  in  [blocks] borrowed as long as the GPU is open */
sp_status sp_gpu_take_images(sp_loop *l, const sp_patterns *const *part, ptrdiff_t parts);

/* Everything whose size follows from the grid of the density and the number of starts. */
sp_status sp_gpu_make_stage(sp_loop *l);

/* The autocorrelation of all images with this label, in the state's orientations or shares.
 *   placement  of all images        label  in  [images] */
sp_status sp_gpu_merge(sp_loop *l, int k, const sp_placement *placement, const int32_t *label, sp_merge_result *result);

/* The same to the host, until the next model is loaded.   autocorrelation  out  [edge^3] */
sp_status sp_gpu_fetch_autocorrelation(sp_loop *l, int k, float *autocorrelation);

/* Its density, the best of several starts -> l->density. */
sp_status sp_gpu_phase(sp_loop *l, int k, sp_phase_result *result);

/* The starts of the last sp_gpu_phase().
 *   outcome  out  [starts]         density  out  [starts][edge^3] */
sp_status sp_gpu_fetch_starts(sp_loop *l, sp_phase_outcome *outcome, float *density);

/* The density -> l->model, from which patterns are cut from now on. */
sp_status sp_gpu_load_model(sp_loop *l, int k);

/* The best orientations of each image in the grid.
 *   best  out  [images][keep]; empty lists for idle images */
sp_status sp_gpu_search(sp_loop *l, int k, sp_candidate *best);

/* Climbs from these of them, and from where each image stands.
 *   best  in   [images][keep]      kept  the first so many of each list
 *   found out  [images]            fit   out  [images]; idle images are left alone */
sp_status sp_gpu_refine(sp_loop *l, int k, const sp_candidate *best, int kept, int steps, sp_quat *found, double *fit);

/* Scores and scales of the images with this label -> l->score, l->scale; those of others are left alone.
 *   scatter  in, out  [sp_match_scatter_count()] added to */
sp_status sp_gpu_assess(sp_loop *l, int k, const sp_quat *orientation, const int32_t *label, double *scatter);
