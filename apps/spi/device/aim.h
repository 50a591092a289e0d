/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/aim.h -- orientations as the NUFFTs of a GPU want them (device/nufft.h). */
#include "device/device.h"
#include "num/nufft.h"

/* Maps of sp_nufft_map(). Waits.
 *   q    in   host    [count]
 *   map  out  device  [count][3][3] */
sp_status sp_device_aim(const sp_device *device, const sp_nufft *plan, double scale, const sp_quat *q, ptrdiff_t count,
                        float *map);
