/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/phase.h -- phasing (phases/phase.h) on a GPU: many starts side by side.
 *
 *     SP_TRY(phase->make(device, edge, voxel, starts, &phaser));
 *     SP_TRY(phase->intensities(device, phaser, autocorrelation, intensity));
 *     ... amplitudes (device/amplitudes.h) ...
 *     SP_TRY(phase->begin(device, phaser, amplitude, settings, first));
 *     for (int i = 0; i < settings->cycles; i++) {
 *         SP_TRY(phase->cycle(device, phaser, i));
 *     }
 *     SP_TRY(phase->finish(device, phaser, outcome));
 *
 * does what sp_phase_start() does for starts first, first + 1, ... The first densities are the same bits. What follows
 * is the same arithmetic in single precision, and differs by rounding; iterated projections magnify that: after a few
 * hundred steps a start may end in another place, as good. The same bits every time.
 *
 * Memory: about 13 bytes for each voxel of each start, beside what cuFFT wants. */
#include "device/device.h"
#include "phases/phase.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Plan and work space for densities of one size and a number of starts. */
typedef struct sp_device_phaser sp_device_phaser;

/* Volumes are [edge][edge][edge] in FFT order, amplitudes [edge][edge][edge/2+1]. */
struct sp_device_phase_kernels {
    /*   edge, voxel  as for sp_phase_plan_new()
     *   starts       at the same time
     *   phaser       receives it; untouched on error
     * Fails with SP_ERR_USAGE if there is more than cuFFT counts in one call. */
    sp_status (*make)(const sp_device *device, ptrdiff_t edge, double voxel, int starts, sp_device_phaser **phaser);
    void (*release)(const sp_device *device, sp_device_phaser *phaser); /* NULL is fine */

    /* The transform of an autocorrelation.   autocorrelation  in  device   intensity  out device [edge][edge][edge/2+1]
     */
    sp_status (*intensities)(const sp_device *device, sp_device_phaser *phaser, const float *autocorrelation,
                             float *intensity);

    /* Begins starts first, first + 1, ..., as many as the phaser was made for.
     *   amplitude  in  device; borrowed until finish()
     *   settings   `starts` is not looked at */
    sp_status (*begin)(const sp_device *device, sp_device_phaser *phaser, const float *amplitude,
                       const sp_phase_settings *settings, int first);

    /* The steps of cycle `number`, 0 .. settings->cycles - 1, and a new support. */
    sp_status (*cycle)(const sp_device *device, sp_device_phaser *phaser, int number);

    /* The final steps. Waits.   outcome  out host [starts] */
    sp_status (*finish)(const sp_device *device, sp_device_phaser *phaser, sp_phase_outcome *outcome);

    /* Density of start first + i, on the device. Stays until the next begin(). */
    const float *(*density)(const sp_device_phaser *phaser, int i);

    /* to = from, moved by whole voxels so that its centre of mass comes to voxel 0; both device, not the same. */
    sp_status (*recentre)(const sp_device *device, sp_device_phaser *phaser, const float *from, float *to);

    /* sp_phase_autocorrelate(). Waits where shells are wanted.
     *   density          in  device
     *   filter           in  host [edge] or NULL
     *   shells           out host [edge] or NULL
     *   autocorrelation  out device */
    sp_status (*autocorrelate)(const sp_device *device, sp_device_phaser *phaser, const float *density,
                               const double *filter, double *shells, float *autocorrelation);
};

#ifdef __cplusplus
}
#endif
