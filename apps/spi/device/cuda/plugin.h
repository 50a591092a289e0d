/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/cuda/plugin.h -- what the files of the plugin know of each other. */
#include "device/cuda/platform.h"
#include "device/device.h"

struct sp_device_state {
    int number;          /* of the GPU */
    cudaStream_t stream; /* of all work */
    cudaEvent_t start, stop;
};

/* Every function of the table begins with this: CUDA remembers for each thread of the host which GPU it means. */
sp_status sp_cuda_enter(const sp_device *device);

/* The phases, one file each. */
extern "C" const sp_device_nufft_kernels sp_cuda_nufft;
extern "C" const sp_device_solve_kernels sp_cuda_solve;
extern "C" const sp_device_shells_kernels sp_cuda_shells;
