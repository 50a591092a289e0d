/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/shared.h -- for headers whose arithmetic the processor and GPUs share: one text, so that both compute the same.
 *
 *     SP_SHARED sp_real sp_noun_square(sp_real x)
 *     {
 *         return x * x;
 *     }
 *
 * sp_real is double in the plain loops, the oracle of all kernels, and float where a GPU runs the text. So constants
 * are whole numbers or sp_real, never 0.5; floor, exp, log and their like are written without a suffix: C++ picks by
 * type. */
#include <math.h>

#ifdef __CUDACC__
#define SP_SHARED static inline __host__ __device__
#else
#define SP_SHARED static inline
#endif

#if defined __CUDACC__ || defined SP_CUDA_EMULATED
typedef float sp_real;
#else
typedef double sp_real;
#endif
