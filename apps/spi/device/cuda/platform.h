/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/cuda/platform.h -- what the files *.cu are written in: the C subset of C++ and CUDA.
 *
 * nvcc compiles them into the plugin spica-cuda.so. The tests compile the same files with the host's C++ compiler and
 * SP_CUDA_EMULATED, where tests/device/emulator.h stands for CUDA: what is used here must exist there.
 *
 * Functions that can fail are written as everywhere (base/error.h), with the variables declared before the first
 * SP_TRY: C++ jumps over no initialisation. */
#include "base/error.h"

#ifdef SP_CUDA_EMULATED
#include "device/emulator.h"
#else
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#include <cufft.h>

/* clang-format off */
#define SP_CALL_KERNEL(kernel, grid, block, shared, stream, ...)                                                       \
    kernel<<<grid, block, shared, stream>>>(__VA_ARGS__)
/* clang-format on */

/* type *name = the dynamic shared memory of the block. */
#define SP_DYNAMIC_SHARED(type, name)                                                                                  \
    extern __shared__ __align__(16) unsigned char sp_dynamic_shared[];                                                 \
    type *const name = (type *)sp_dynamic_shared

/* Before a loop of known length: its body is repeated, so that arrays it indexes can be registers. */
#define SP_UNROLL _Pragma("unroll")
#endif

enum { SP_WARP = 32 }; /* threads */

/* In place of SP_TRY for calls of CUDA and its libraries. */
#define SP_TRY_CUDA(call) SP_TRY_CUDA_FOR(#call, call)
#define SP_TRY_CUDA_FOR(what, call)                                                                                    \
    do {                                                                                                               \
        const cudaError_t sp_error = (call);                                                                           \
        if (sp_error != cudaSuccess) {                                                                                 \
            (void)cudaGetLastError(); /* or the next launch would tell it again */                                     \
        }                                                                                                              \
        SP_REQUIRE(sp_error == cudaSuccess, sp_error == cudaErrorMemoryAllocation ? SP_ERR_MEMORY : SP_ERR_NUMERIC,    \
                   "CUDA: %s: %s", what, cudaGetErrorString(sp_error));                                                \
    } while (0)
#define SP_TRY_CUFFT(call)                                                                                             \
    do {                                                                                                               \
        const cufftResult sp_error = (call);                                                                           \
        SP_REQUIRE(sp_error == CUFFT_SUCCESS, SP_ERR_NUMERIC, "cuFFT: %s: error %d", #call, (int)sp_error);            \
    } while (0)
#define SP_TRY_CUBLAS(call)                                                                                            \
    do {                                                                                                               \
        const cublasStatus_t sp_error = (call);                                                                        \
        SP_REQUIRE(sp_error == CUBLAS_STATUS_SUCCESS, SP_ERR_NUMERIC, "cuBLAS: %s: error %d", #call, (int)sp_error);   \
    } while (0)

/* Launches a kernel; `goto done` with a status where CUDA refuses it.
 *   grid, block  dim3 or a number          shared  [byte] of dynamic shared memory */
#define SP_LAUNCH(kernel, grid, block, shared, stream, ...)                                                            \
    do {                                                                                                               \
        SP_CALL_KERNEL(kernel, grid, block, shared, stream, __VA_ARGS__);                                              \
        SP_TRY_CUDA_FOR(#kernel, cudaGetLastError());                                                                  \
    } while (0)
