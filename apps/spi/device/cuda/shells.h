/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/cuda/shells.h -- shell sums for other files of the plugin. */
#include "device/cuda/platform.h"
#include "device/shells.h"

/* Mean |F|^2 of all n shells, those in the corners too, each stored frequency counted once. Waits.
 *   half   in  device [n][n][n/2+1]
 *   power  out host [n], 0 for an empty shell */
sp_status sp_cuda_shells_power(const sp_device *device, sp_device_shells *shells, const float2 *half, double *power);

/* round(|k|) of |k|^2, exactly: squares are whole numbers, and never as near to (k + 1/2)^2 as single
 * precision is coarse, up to edges of thousands. */
static __device__ __forceinline__ int sp_cuda_shell_of(int square)
{
    return (int)(sqrtf((float)square) + 0.5f);
}
