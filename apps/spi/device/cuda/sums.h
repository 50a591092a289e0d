/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/cuda/sums.h -- passes over cubic volumes whose sums come out the same every time.
 *
 * A pass has sp_sum_parts(n) blocks for each volume, blockIdx.x, and blockIdx.y counts volumes. Its warps take the rows
 * (x, y) of the volume in turn, their lanes the voxels along z. Each block leaves the sum over its voxels, and who
 * wants the total adds up what the blocks left: all sums are trees of fixed shape. The next pass does that itself, in
 * every block, so that no launch and no host stands between the two. */
#include "device/cuda/platform.h"

enum {
    SP_SUM_THREADS = 256,
    SP_SUM_WARPS = SP_SUM_THREADS / SP_WARP,
    SP_SUM_MOST_PARTS = 512, /* blocks for a volume: they fill a GPU, and adding up what they leave costs little */
    SP_SUM_MOST = 6,         /* sums at the same time, fewer than warps */
};

/* Blocks that pass over a volume of n^3 voxels. */
static inline unsigned sp_sum_parts(int n)
{
    const int wanted = (n * n + SP_SUM_WARPS - 1) / SP_SUM_WARPS;

    return (unsigned)(wanted < SP_SUM_MOST_PARTS ? wanted : SP_SUM_MOST_PARTS);
}

/* Before a pass over rows: for (int row = sp_sum_first_row(); row < n * n; row += sp_sum_row_step()) */
static __device__ __forceinline__ int sp_sum_first_row()
{
    return (int)(blockIdx.x * SP_SUM_WARPS + threadIdx.x / SP_WARP);
}

static __device__ __forceinline__ int sp_sum_row_step()
{
    return (int)gridDim.x * SP_SUM_WARPS;
}

/* value[i] = the sum over the block of what its threads bring, the same in all of them: warp i adds up number i.
 *   count  <= SP_SUM_MOST */
static __device__ __forceinline__ void sp_sum_block(double *value, int count)
{
    __shared__ double brought[SP_SUM_MOST][SP_SUM_THREADS], total[SP_SUM_MOST];
    const int warp = (int)threadIdx.x / SP_WARP, lane = (int)threadIdx.x % SP_WARP;

    SP_UNROLL
    for (int i = 0; i < count; i++) {
        brought[i][threadIdx.x] = value[i];
    }
    __syncthreads();
    if (warp < count) {
        double sum = 0.0;

        for (int i = lane; i < SP_SUM_THREADS; i += SP_WARP) {
            sum += brought[warp][i];
        }
        for (int other = SP_WARP / 2; other > 0; other /= 2) {
            sum += __shfl_xor_sync(0xffffffffu, sum, other);
        }
        if (lane == 0) {
            total[warp] = sum;
        }
    }
    __syncthreads();
    SP_UNROLL
    for (int i = 0; i < count; i++) {
        value[i] = total[i];
    }
}

/* Leaves the sums over this block in part[i][blockIdx.x].
 *   stride  of part, from one sum to the next */
static __device__ __forceinline__ void sp_sum_leave(double *value, int count, double *part, ptrdiff_t stride)
{
    sp_sum_block(value, count);
    if (threadIdx.x == 0) {
        SP_UNROLL
        for (int i = 0; i < count; i++) {
            part[i * stride + blockIdx.x] = value[i];
        }
    }
}

/* value[i] = sum of part[i][parts], the same in all threads. */
static __device__ __forceinline__ void sp_sum_total(const double *const *part, int parts, double *value, int count)
{
    SP_UNROLL
    for (int i = 0; i < count; i++) {
        value[i] = 0.0;
        for (int at = (int)threadIdx.x; at < parts; at += SP_SUM_THREADS) {
            value[i] += part[i][at];
        }
    }
    sp_sum_block(value, count);
}

/* The greatest of what the threads of the block bring, the same in all of them. */
static __device__ __forceinline__ float sp_sum_block_top(float value)
{
    __shared__ float of_warp[SP_SUM_WARPS];

    for (int other = SP_WARP / 2; other > 0; other /= 2) {
        value = fmaxf(value, __shfl_xor_sync(0xffffffffu, value, other));
    }
    __syncthreads(); /* what was here before has been read */
    if (threadIdx.x % SP_WARP == 0) {
        of_warp[threadIdx.x / SP_WARP] = value;
    }
    __syncthreads();
    for (int warp = 0; warp < SP_SUM_WARPS; warp++) {
        value = fmaxf(value, of_warp[warp]);
    }
    return value;
}
