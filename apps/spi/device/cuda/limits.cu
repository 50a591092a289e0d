/* SPDX-License-Identifier: BSD-3-Clause */
/* What a GPU can do at best. */
#include "device/limits.h"

#include "device/cuda/plugin.h"

enum {
    THREADS = 256,
    CHAINS = 8, /* that do not wait for each other: a thread's own, beside those of other warps */
    TILE = THREADS * CHAINS,
    STEPS = SP_DEVICE_LIMITS_STEPS, /* written out: looking at the loop's end takes time as well */
};

static sp_status copy(const sp_device *device, const void *from, size_t bytes, void *to)
{
    sp_status status = SP_OK;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY_CUDA(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, device->state->stream));
done:
    return status;
}

static sp_status multiply(const sp_device *device, ptrdiff_t n, const uint16_t *a, const uint16_t *b, float *product)
{
    sp_status status = SP_OK;
    const float one = 1.0f, zero = 0.0f;
    const int edge = (int)n;
    cublasHandle_t handle = NULL;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY(sp_cuda_blas(device, &handle));
    SP_TRY_CUBLAS(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, edge, edge, edge, &one, a, CUDA_R_16BF, edge, b,
                               CUDA_R_16BF, edge, &zero, product, CUDA_R_32F, edge, CUBLAS_COMPUTE_32F,
                               CUBLAS_GEMM_DEFAULT));
done:
    return status;
}

static __global__ void __launch_bounds__(THREADS)
    multiply_add_kernel(float factor, float term, int steps, ptrdiff_t count, float *value)
{
    const ptrdiff_t first = (ptrdiff_t)blockIdx.x * TILE + threadIdx.x;
    float x[CHAINS];

    SP_UNROLL
    for (int i = 0; i < CHAINS; i++) {
        x[i] = first + i * THREADS < count ? value[first + i * THREADS] : 0.0f;
    }
    for (int step = 0; step < steps; step += STEPS) {
        SP_UNROLL
        for (int i = 0; i < STEPS * CHAINS; i++) {
            x[i % CHAINS] = fmaf(x[i % CHAINS], factor, term);
        }
    }
    SP_UNROLL
    for (int i = 0; i < CHAINS; i++) {
        if (first + i * THREADS < count) {
            value[first + i * THREADS] = x[i];
        }
    }
}

static sp_status multiply_add(const sp_device *device, float factor, float term, int steps, ptrdiff_t count,
                              float *value)
{
    sp_status status = SP_OK;

    if (count == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(multiply_add_kernel, (unsigned)((count + TILE - 1) / TILE), THREADS, 0, device->state->stream, factor,
              term, steps, count, value);
done:
    return status;
}

extern "C" const sp_device_limits_kernels sp_cuda_limits = {
    .copy = copy, .multiply = multiply, .multiply_add = multiply_add};
