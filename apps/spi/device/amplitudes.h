/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/amplitudes.h -- sp_phase_amplitudes() on a GPU. The transform is made there; what is a few operations for each
 * frequency, by tables, is done by the host, as phases/amplitudes.h has it. */
#include "device/phase.h"
#include "phases/amplitudes.h"

typedef struct sp_device_amplitudes sp_device_amplitudes;

/* For a phaser of this edge and voxel [m], borrowed for life. Free with sp_device_amplitudes_free(). Fails with
 * SP_ERR_MEMORY. */
sp_status sp_device_amplitudes_new(const sp_device *device, sp_device_phaser *phaser, ptrdiff_t edge, double voxel,
                                   sp_device_amplitudes **result);
void sp_device_amplitudes_free(sp_device_amplitudes *self); /* NULL is fine */

/*   autocorrelation  in   device [edge][edge][edge]
 *   s_low .. noisy   as for sp_amplitudes_make()
 * Returns the amplitudes, on the device; they stay until the next call. Waits. Fails with SP_ERR_NUMERIC. */
sp_status sp_device_amplitudes_make(sp_device_amplitudes *self, const float *autocorrelation, double s_low,
                                    double s_high, bool noisy, const float **amplitude);
