/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/phase.h -- from intensities to density: iterative phasing with support and positivity, one start of it.
 *
 * A start is a sequence of RAAR (Luke, Inverse Problems 21 (2005) 37) and error-reduction steps (Fienup, Appl. Opt. 21
 * (1982) 2758) with a support that follows the density (shrinkwrap, Marchesini et al., Phys. Rev. B 68 (2003) 140101),
 * from random numbers on. Starts know nothing of each other: many of them read the same amplitudes, each in a work
 * space of its own. What becomes of many: phases/phase_starts.h. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* What all starts share: never changed once made, any number of threads may read it. */
typedef struct sp_phase_plan sp_phase_plan;

/* For densities of edge^3 voxels (even) of this size [m]. Free with sp_phase_plan_free(). Fails with SP_ERR_USAGE,
 * SP_ERR_MEMORY. */
sp_status sp_phase_plan_new(ptrdiff_t edge, double voxel, sp_phase_plan **plan);
void sp_phase_plan_free(sp_phase_plan *plan); /* NULL is fine */

/* Work space of one call at a time: nothing in it outlives the call. Keeps no reference to the plan; free with
 * sp_phase_work_free(). Fails with SP_ERR_MEMORY. */
typedef struct sp_phase_work sp_phase_work;
sp_status sp_phase_work_new(const sp_phase_plan *plan, sp_phase_work **work);
void sp_phase_work_free(sp_phase_work *work); /* NULL is fine */

/* Memory that they will take [byte], for planning ahead. */
double sp_phase_plan_bytes(ptrdiff_t edge);
double sp_phase_work_bytes(ptrdiff_t edge);

typedef struct sp_phase_settings {
    int starts;        /* side by side */
    int cycles;        /* of (raar_steps, er_steps, new support) */
    int raar_steps;    /* per cycle */
    int er_steps;      /* per cycle */
    int final_steps;   /* error reduction at the end, with the last support */
    double beta;       /* RAAR relaxation, 0.5 .. 1 */
    double blur_first; /* [voxel] Gaussian that smooths the density before the support is cut, at the first ... */
    double blur_last;  /* ... and at the last cycle */
    double threshold;  /* support: blurred density above this fraction of its maximum */
    double radius;     /* [m] of the particle: the first support is a ball of this radius, and none may be larger */
    uint64_t seed;     /* of the random first densities */
} sp_phase_settings;

/* How a start ended. Plain data. */
typedef struct sp_phase_outcome {
    double residual; /* sum (|F| - A)^2 / sum A^2 over the known amplitudes, support and positivity applied */
    double volume;   /* of the support [voxel] */
    bool dropped;    /* the support vanished or filled the ball */
} sp_phase_outcome;

/* Floats in the amplitudes of all frequencies. */
ptrdiff_t sp_phase_amplitude_count(const sp_phase_plan *plan);

/* Amplitudes of the intensities (phases/amplitudes.h), which are the transform of the autocorrelation.
 *   autocorrelation  in   [edge][edge][edge] FFT order
 *   s_low .. noisy   as for sp_amplitudes_make()
 *   amplitude        out  [sp_phase_amplitude_count()] */
void sp_phase_amplitudes(const sp_phase_plan *plan, const float *autocorrelation, double s_low, double s_high,
                         bool noisy, sp_phase_work *work, float *amplitude);

/* Start k, 0 based. What it gives depends on the amplitudes, the settings (`starts` left aside) and k alone.
 *   amplitude  in   [sp_phase_amplitude_count()]
 *   density    out  [edge][edge][edge] FFT order, >= 0, centred on its centre of mass
 * Ends early when the user interrupts (base/interrupt.h): the density is then not to be used. Cannot fail. */
sp_phase_outcome sp_phase_start(const sp_phase_plan *plan, const float *amplitude, const sp_phase_settings *settings,
                                int k, sp_phase_work *work, float *density);

/* Autocorrelation of a density (both FFT order): the transform back of |F|^2, times a radial filter.
 *   filter  [edge] factor for round(|k|) = 0 .. edge-1, or NULL for 1
 *   shells  out [edge] mean |F|^2 per round(|k|) before the filter, or NULL */
void sp_phase_autocorrelate(const sp_phase_plan *plan, const float *density, const double *filter, sp_phase_work *work,
                            double *shells, float *autocorrelation);
