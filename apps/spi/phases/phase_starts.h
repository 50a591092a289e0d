/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/phase_starts.h -- what many starts of phasing say together: which is the best, and how well they agree.
 *
 * Start k of phases/phase.h has left a density and an outcome; here are those of k = 0 .. starts - 1. The winner has
 * the smallest residual; the truth plays no part. */
#include "phases/phase.h"

typedef struct sp_phase_result {
    double residual; /* of the winner */
    double volume;   /* of its support [voxel] */
    double spread;   /* standard deviation of the residual over the starts */
    int winner;      /* which start */
    int dropped;     /* how many */
} sp_phase_result;

/* The smallest residual among the starts that are not dropped, among all if they are; of equal ones the first.
 *   outcome  in  [starts]
 * Cannot fail. */
sp_phase_result sp_phase_choose(const sp_phase_outcome *outcome, int starts);

/* Work space of sp_phase_mean(): nothing in it outlives the call. Keeps no reference to the plan; free with
 * sp_phase_sums_free(). Fails with SP_ERR_MEMORY. */
typedef struct sp_phase_sums sp_phase_sums;
sp_status sp_phase_sums_new(const sp_phase_plan *plan, sp_phase_sums **sums);
void sp_phase_sums_free(sp_phase_sums *sums); /* NULL is fine */
double sp_phase_sums_bytes(ptrdiff_t edge);   /* memory it will take, for planning ahead */

/* The mean of the starts that came out as well as the winner (not dropped, residual within 25 %), each laid upon it by
 * shift and hand. Where they disagree, phases cancel: the mean is weighted by how well each frequency is known.
 *   start    in   [starts] densities, each [edge][edge][edge] FFT order
 *   outcome  in   [starts]
 *   density  out  [edge][edge][edge] FFT order, centred on its centre of mass; slightly negative in places
 *   prtf     out  [edge/2+1] phase retrieval transfer function per round(|k|): |sum F| / sum |F| (Chapman et al., J.
 *                 Opt. Soc. Am. A 23 (2006) 1179)
 * Returns how many starts entered. The same bits for any number of threads. */
int sp_phase_mean(const sp_phase_plan *plan, const float *const *start, const sp_phase_outcome *outcome, int starts,
                  sp_phase_sums *sums, float *density, double *prtf);
