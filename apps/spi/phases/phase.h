/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/phase.h -- from intensities to density: iterative phasing with support and positivity.
 *
 * Several starts run side by side, each a sequence of RAAR (Luke, Inverse Problems 21 (2005) 37) and error-reduction
 * steps (Fienup, Appl. Opt. 21 (1982) 2758) with a support that follows the density (shrinkwrap, Marchesini et al.,
 * Phys. Rev. B 68 (2003) 140101). The winner has the smallest Fourier residual; the truth plays no part. */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct sp_phaser sp_phaser;

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

typedef struct sp_phase_result {
    double residual; /* sum (|F| - A)^2 / sum A^2 over the known amplitudes, support and positivity applied */
    double volume;   /* of the support [voxel] */
    double spread;   /* standard deviation of the residual over the starts */
    int winner;      /* which start */
    int dropped;     /* starts whose support vanished or filled the ball */
} sp_phase_result;

/* For densities of edge^3 voxels (even) of this size [m], at most `starts` side by side. */
sp_status sp_phaser_new(ptrdiff_t edge, double voxel, int starts, sp_phaser **phaser);
void sp_phaser_free(sp_phaser *phaser); /* NULL is fine */
size_t sp_phaser_bytes(ptrdiff_t edge, int starts);

/* Phases one set of intensities.
 *   autocorrelation  in      [edge][edge][edge] FFT order
 *   s_low, s_high    frequencies outside [1/m] are unknown: left to the density below, 0 above
 *   density          out     [edge][edge][edge] FFT order, >= 0, centred on its centre of mass
 * The same bits for any number of threads. Ends early when the user interrupts (base/interrupt.h): the density is then
 * not to be used. Cannot fail; a result with dropped == starts kept the least bad one. */
sp_phase_result sp_phaser_run(sp_phaser *phaser, const float *autocorrelation, double s_low, double s_high,
                              const sp_phase_settings *settings, float *density);

/* The mean of the starts of the last run that came out as well as the winner (residual within 25 %), each laid upon it
 * by shift and hand. Where they disagree, phases cancel: the mean is weighted by how well each frequency is known.
 *   density  out  [edge][edge][edge] FFT order, centred on its centre of mass; slightly negative in places
 *   prtf     out  [edge/2+1] phase retrieval transfer function per round(|k|): |sum F| / sum |F| (Chapman et al., J.
 * Opt. Soc. Am. A 23 (2006) 1179) Returns how many starts entered. */
int sp_phaser_average(sp_phaser *phaser, const sp_phase_result *result, float *density, double *prtf);

/* Autocorrelation of a density (both FFT order): the transform back of |F|^2, times a radial filter.
 *   filter  [edge] factor for round(|k|) = 0 .. edge-1, or NULL for 1
 *   shells  out [edge] mean |F|^2 per round(|k|) before the filter, or NULL */
void sp_phaser_autocorrelate(sp_phaser *phaser, const float *density, const double *filter, double *shells,
                             float *autocorrelation);
