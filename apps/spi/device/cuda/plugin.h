/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/cuda/plugin.h -- what the files of the plugin know of each other. */
#include "device/cuda/platform.h"
#include "device/device.h"

struct sp_device_state {
    int number;          /* of the GPU */
    cudaStream_t stream; /* of all work */
    cudaEvent_t start, stop;
    cublasHandle_t blas; /* NULL until a phase asks for it: it takes memory and time */
};

/* Every function of the table begins with this: CUDA remembers for each thread of the host which GPU it means. */
sp_status sp_cuda_enter(const sp_device *device);

/* cuBLAS in the device's stream; belongs to the device. */
sp_status sp_cuda_blas(const sp_device *device, cublasHandle_t *handle);

/* Plans cuFFT for `batch` volumes of edge n that lie behind each other, on the device's stream. */
enum { SP_NO_TRANSFORM = -1 }; /* before it is planned: cuFFT's handles are not negative */
sp_status sp_cuda_plan_transform(const sp_device *device, int n, cufftType type, int batch, cufftHandle *plan);
void sp_cuda_drop_transform(cufftHandle plan); /* SP_NO_TRANSFORM is fine */

/* The phases, one file each. */
extern "C" const sp_device_nufft_kernels sp_cuda_nufft;
extern "C" const sp_device_match_kernels sp_cuda_match;
extern "C" const sp_device_polar_kernels sp_cuda_polar;
extern "C" const sp_device_solve_kernels sp_cuda_solve;
extern "C" const sp_device_shells_kernels sp_cuda_shells;
extern "C" const sp_device_phase_kernels sp_cuda_phase;
