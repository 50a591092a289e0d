/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/solve.h -- what stands before and behind the sums of merging (phases/merge.h) on a GPU: what images add to
 * them, and the linear systems that they make, solved by conjugate gradients on a Toeplitz operator
 *
 *     A x = S T x + lambda x,   x = 0 outside the support S,   T the convolution with a kernel, without wrapping
 *
 * for several problems (kernel and right-hand side) and several lambdas at the same time. Volumes of edge n are in FFT
 * order; T is applied by transforms of edge 2 n. Vectors in single precision, scalars and sums in double, as in
 * num/cg.h; the same bits every time. An iterate differs from that of the processor by what rounding makes of it. */
#include <stdbool.h>
#include <stdint.h>

#include "device/counts.h"
#include "device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Plan and work space for systems of one size: about 120 n^3 bytes a system, beside what cuFFT wants. */
typedef struct sp_device_solver sp_device_solver;

/* How a system came out, as sp_cg_result (num/cg.h). */
typedef struct sp_device_solution {
    int iterations;
    double residual; /* |b - A x| / |b|, computed afresh at the end */
    bool converged;
} sp_device_solution;

/* What bins of all images are weighted by, as sp_merger_spread() has it. Arrays of the device. */
typedef struct sp_device_weighting {
    ptrdiff_t pixels;
    const float *ramp;       /* [pixels] weight of a bin beside scale and exposure */
    const float *exposure;   /* [pixels] */
    const float *background; /* [pixels] values */
    float unit;              /* value of a photon */
} sp_device_weighting;

/* Systems are in the order [lambdas][problems]. */
struct sp_device_solve_kernels {
    /* What images add to the two sums that spread_pair (device/nufft.h) spreads: values, and weights.
     *   first_ip  = share_i (unit k_ip - background_p) ramp_p
     *   second_ip = share_i scale_i exposure_p ramp_p
     * An image of scale 0 has no signal and is no part of merging: the caller leaves it out, or gives it no share.
     *   share          in  device [images] of the image in this orientation; NULL: all 1
     *   scale          in  device [images]
     *   first, second  out device [images][pixels] */
    sp_status (*weigh)(const sp_device *device, const sp_device_weighting *by, const sp_device_counts *counts,
                       const float *share, const float *scale, float *first, float *second);

    /*   edge     n, even
     *   support  in  host [n][n][n] 1: x may be other than 0; on no plane of coordinate -n/2
     *   solver   receives it; untouched on error
     * Fails with SP_ERR_USAGE if there is more than cuFFT counts in one call. */
    sp_status (*make)(const sp_device *device, ptrdiff_t edge, const uint8_t *support, int problems, int lambdas,
                      sp_device_solver **solver);
    void (*release)(const sp_device *device, sp_device_solver *solver); /* NULL is fine */

    /* The problems. Both are divided by weights[0] / sphere, the eigenvalue of a fully measured frequency.
     *   weights  in  device [problems][2 n][2 n][2 n] the kernel of the convolution
     *   right    in  device [problems][n][n][n]
     *   sphere   volume of the sphere that is measured, in cubes of edge 1/voxel */
    sp_status (*prepare)(const sp_device *device, sp_device_solver *solver, const float *weights, const float *right,
                         double sphere);

    /* out = A in, both device [lambdas][problems][n][n][n]; out is 0 outside the support, where `in` is not looked at
     *   lambda  in  host [lambdas][problems] */
    sp_status (*apply)(const sp_device *device, sp_device_solver *solver, const double *lambda, const float *in,
                       float *out);

    /* Improves x until |b - A x| <= tolerance |b| or `iterations` are used up, each system for itself. Waits.
     *   lambda    in  host [lambdas][problems]
     *   x         in: start, out: solution, device [lambdas][problems][n][n][n]; left alone outside the support
     *   solution  out host [lambdas][problems] */
    sp_status (*solve)(const sp_device *device, sp_device_solver *solver, const double *lambda, double tolerance,
                       int iterations, float *x, sp_device_solution *solution);
};

#ifdef __cplusplus
}
#endif
