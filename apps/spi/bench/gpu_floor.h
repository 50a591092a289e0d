/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/gpu_floor.h -- private to bench/: operations that floors of GPU kernels are counted by (bench/gpu.h). */
#include <math.h>

/* Of a point of a NUFFT: turning it 15; the window's polynomials along three axes, or (2) these and their derivatives,
 * 2 degree for each cell. */
static inline double sp_floor_point(double w, double degree, int polynomials)
{
    return 15.0 + 3.0 * 2.0 * degree * w * polynomials;
}

/* A sum over w^3 cells, axis by axis: multiplications and additions. */
static inline double sp_floor_stencil(double w)
{
    return 2.0 * (w * w * w + w * w + w);
}

/* The value, and the gradient: along c two sums of every row, along b three of every plane, along a four; 24 more turn
 * the gradient into three numbers. */
static inline double sp_floor_turns(double w)
{
    return 2.0 * (2.0 * w * w * w + 3.0 * w * w + 4.0 * w) + 24.0;
}

/* A real transform of n^3 numbers: 2.5 n^3 log2 n^3, as is usual. */
static inline double sp_floor_transform(double n)
{
    return 2.5 * n * n * n * log2(n * n * n);
}
