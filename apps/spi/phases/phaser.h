/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/phaser.h -- phasing on the threads of this process: several starts side by side, the best one, their mean.
 *
 * Owns all memory that the pieces need (phases/phase.h, phases/phase_starts.h): the densities of all starts, and a work
 * space for each of those that run at the same time. */
#include "phases/phase_starts.h"

typedef struct sp_phaser sp_phaser;

/* For densities of edge^3 voxels (even) of this size [m], at most `starts` starts, as many of them side by side as
 * OpenMP has threads now. Free with sp_phaser_free(). Fails with SP_ERR_USAGE, SP_ERR_MEMORY. */
sp_status sp_phaser_new(ptrdiff_t edge, double voxel, int starts, sp_phaser **phaser);
void sp_phaser_free(sp_phaser *phaser);                          /* NULL is fine */
size_t sp_phaser_bytes(ptrdiff_t edge, int starts, int threads); /* memory it will take, for planning ahead */

/* Phases one set of intensities; arguments as in sp_phase_amplitudes().
 *   density  out  [edge][edge][edge] of the winner
 * The same bits for any number of threads. Ends early when the user interrupts (base/interrupt.h): the density is then
 * not to be used. Cannot fail; a result with dropped == starts kept the least bad one. */
sp_phase_result sp_phaser_run(sp_phaser *phaser, const float *autocorrelation, double s_low, double s_high, bool noisy,
                              const sp_phase_settings *settings, float *density);

/* sp_phase_mean() of the starts of the last run. */
int sp_phaser_average(sp_phaser *phaser, float *density, double *prtf);

/* sp_phase_autocorrelate() */
void sp_phaser_autocorrelate(sp_phaser *phaser, const float *density, const double *filter, double *shells,
                             float *autocorrelation);
