/* SPDX-License-Identifier: BSD-3-Clause */
/* Type 2 of patterns in many orientations. A few lanes of a warp share a point: each holds one column of its stencil,
 * so that together they read a row of the grid at once, and the rows of the stencil are loads that do not wait for each
 * other. The grid, a few megabytes, stays in the second-level cache, and the part of it that a block needs in the
 * first: a block takes neighbouring pixels in orientations that follow each other.
 *
 * The limit is the first-level cache: 4 width^3 bytes per point, 256 or 864, in rows that lie in one or two lines of
 * 128 each. Of the memory proper a point takes what is written, 4 bytes, with turns 16. */
#include "device/cuda/nufft_plan.h"

enum {
    THREADS = 256,
    AT_A_TIME = 8, /* orientations that a block takes; its pixels stay in registers */
};
static const ptrdiff_t MOST_BLOCKS_Y = 65535; /* CUDA's limit */

typedef struct type_2 {
    const float *grid, *map, *s;
    ptrdiff_t orientations, count;
    bool not_negative;
    float *value, *turn;
} type_2;

/* Sums over a stencil, or over what a lane has of it: the value, and its gradient with respect to u. */
typedef struct sums {
    float value, u[3];
} sums;

/* Lanes that share a point: the next power of two. */
static __device__ __forceinline__ int lanes_of(int width)
{
    return width == 4 ? 4 : 8;
}

/* Weight of cell i of a row of the stencil. */
static __device__ __forceinline__ float weight(int width, const sp_cuda_stencil *stencil, int i, float x)
{
    return sp_nufft_weight(&stencil->weight[0][i], SP_WINDOW_CELLS, sp_window_degree(width), x);
}

static __device__ __forceinline__ float slope(int width, const sp_cuda_stencil *stencil, int i, float x, float sign)
{
    return sp_nufft_slope(&stencil->weight[0][i], SP_WINDOW_CELLS, sp_window_degree(width), x, sign);
}

/* One column of the stencil, without its own weight; u[2] is left 0.
 *   turns  are u[0] and u[1] wanted? */
static __device__ __forceinline__ sums sum_column(int width, bool turns, const sp_cuda_stencil *stencil,
                                                  const float *cell, const sp_nufft_point *point)
{
    float b_weight[SP_WINDOW_CELLS], b_slope[SP_WINDOW_CELLS];
    sums sum = {};

    SP_UNROLL
    for (int b = 0; b < width; b++) {
        b_weight[b] = weight(width, stencil, b, point->x[1]);
        b_slope[b] = turns ? slope(width, stencil, b, point->x[1], point->sign) : 0.0f;
    }
    SP_UNROLL
    for (int a = 0; a < width; a++) {
        const float *row = cell + (ptrdiff_t)a * stencil->blocks * stencil->columns;
        const float a_weight = weight(width, stencil, a, point->x[0]);
        float plane = 0.0f, tilt = 0.0f;

        SP_UNROLL
        for (int b = 0; b < width; b++) {
            const float here = __ldg(row + (ptrdiff_t)b * stencil->columns);

            plane += b_weight[b] * here;
            tilt += b_slope[b] * here;
        }
        sum.value += plane * a_weight;
        if (turns) {
            sum.u[0] += plane * slope(width, stencil, a, point->x[0], point->sign);
            sum.u[1] += tilt * a_weight;
        }
    }
    return sum;
}

/* The sum over the lanes that share a point; the same in all of them. */
static __device__ __forceinline__ float sum_lanes(int width, float x)
{
    SP_UNROLL
    for (int other = lanes_of(width) / 2; other > 0; other /= 2) {
        x += __shfl_xor_sync(0xffffffffu, x, other);
    }
    return x;
}

/* The whole stencil of one point; the same in all lanes that share it.
 *   column  of the stencil that this lane takes; none if it is not below width
 *   own     the coefficients of its weight, by power */
static __device__ __forceinline__ sums sum_stencil(int width, bool turns, const sp_cuda_stencil *stencil,
                                                   const float *grid, const sp_nufft_point *point, int column,
                                                   const float *own)
{
    sums sum = {};

    if (column < width) {
        const ptrdiff_t row = (ptrdiff_t)point->cell[0] * stencil->blocks + point->cell[1];
        const float *cell = grid + row * stencil->columns + point->cell[2] + column;
        const sums part = sum_column(width, turns, stencil, cell, point);
        const float c_weight = sp_nufft_weight(own, 1, sp_window_degree(width), point->x[2]);

        sum.value = c_weight * part.value;
        if (turns) {
            sum.u[0] = c_weight * part.u[0];
            sum.u[1] = c_weight * part.u[1];
            sum.u[2] = sp_nufft_slope(own, 1, sp_window_degree(width), point->x[2], point->sign) * part.value;
        }
    }
    sum.value = sum_lanes(width, sum.value);
    for (int i = 0; i < 3 && turns; i++) {
        sum.u[i] = sum_lanes(width, sum.u[i]);
    }
    return sum;
}

/* Writes a point's value and turns, one number for each lane. */
static __device__ __forceinline__ void write_turns(const type_2 *job, const float map[3][3], const float s[3],
                                                   const sums *sum, int column, ptrdiff_t at)
{
    const ptrdiff_t apart = job->orientations * job->count;
    float turn[3];

    sp_nufft_turn(map, sum->u, s, turn);
    if (column == 0) {
        job->value[at] = sum->value;
    } else if (column <= 3) {
        job->turn[(column - 1) * apart + at] = column == 1 ? turn[0] : column == 2 ? turn[1] : turn[2];
    }
}

/* Threads whose pixel is beyond the last one work on that, and write nothing: they belong to a warp. */
static __device__ __forceinline__ void interpolate_block(int width, bool turns, const sp_cuda_stencil *stencil,
                                                         const type_2 *job)
{
    const int lanes = lanes_of(width), column = (int)threadIdx.x % lanes;
    const ptrdiff_t pixel = ((ptrdiff_t)blockIdx.x * THREADS + threadIdx.x) / lanes;
    const ptrdiff_t near = pixel < job->count ? pixel : job->count - 1;
    const float s[3] = {job->s[near], job->s[job->count + near], job->s[2 * job->count + near]};
    float own[SP_WINDOW_DEGREE + 1], map[3][3];

    for (int d = 0; d <= sp_window_degree(width); d++) {
        own[d] = stencil->weight[d][column < width ? column : 0];
    }
    for (ptrdiff_t first = (ptrdiff_t)blockIdx.y * AT_A_TIME; first < job->orientations;
         first += (ptrdiff_t)gridDim.y * AT_A_TIME) {
        const ptrdiff_t end = first + AT_A_TIME < job->orientations ? first + AT_A_TIME : job->orientations;

        for (ptrdiff_t i = first; i < end; i++) {
            const ptrdiff_t at = i * job->count + pixel;

            sp_cuda_load_map(job->map + 9 * i, map);
            const sp_nufft_point point = sp_nufft_point_at(map, s, stencil->first);
            const sums sum = sum_stencil(width, turns, stencil, job->grid, &point, column, own);

            if (pixel < job->count && turns) {
                write_turns(job, map, s, &sum, column, at);
            } else if (pixel < job->count && column == 0) {
                job->value[at] = job->not_negative && !(sum.value > 0.0f) ? 0.0f : sum.value;
            }
        }
    }
}

static __global__ void __launch_bounds__(THREADS) interpolate_4(const sp_cuda_stencil stencil, const type_2 job)
{
    interpolate_block(4, false, &stencil, &job);
}

static __global__ void __launch_bounds__(THREADS) interpolate_6(const sp_cuda_stencil stencil, const type_2 job)
{
    interpolate_block(6, false, &stencil, &job);
}

static __global__ void __launch_bounds__(THREADS) turns_4(const sp_cuda_stencil stencil, const type_2 job)
{
    interpolate_block(4, true, &stencil, &job);
}

static __global__ void __launch_bounds__(THREADS) turns_6(const sp_cuda_stencil stencil, const type_2 job)
{
    interpolate_block(6, true, &stencil, &job);
}

sp_cuda_stencil sp_cuda_flatten(const sp_nufft_stencil *stencil)
{
    sp_cuda_stencil flat = {};

    flat.blocks = stencil->blocks;
    flat.columns = stencil->columns;
    for (int i = 0; i < 3; i++) {
        flat.first[i] = stencil->first[i];
    }
    for (int d = 0; d <= stencil->degree; d++) {
        for (int cell = 0; cell < stencil->width; cell++) {
            flat.weight[d][cell] = stencil->weight[d][cell]; /* of axis a; the others are the same */
        }
    }
    return flat;
}

static sp_status run(const sp_device *device, const sp_nufft_stencil *stencil, const type_2 *job)
{
    typedef void kernel(const sp_cuda_stencil, const type_2);
    static kernel *const kernels[2][2] = {{interpolate_4, interpolate_6}, {turns_4, turns_6}};
    sp_status status = SP_OK;
    const ptrdiff_t points = THREADS / (stencil->width == 4 ? 4 : 8); /* of a block */
    const ptrdiff_t y = sp_cuda_pieces(job->orientations, AT_A_TIME);
    const dim3 blocks((unsigned)sp_cuda_pieces(job->count, points), (unsigned)(y < MOST_BLOCKS_Y ? y : MOST_BLOCKS_Y));
    kernel *const interpolate_kernel = kernels[job->turn != NULL][stencil->width == 6];

    if (job->orientations == 0 || job->count == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(interpolate_kernel, blocks, THREADS, 0, device->state->stream, sp_cuda_flatten(stencil), *job);
done:
    return status;
}

static sp_status interpolate(const sp_device *device, const sp_nufft_stencil *stencil, const float *grid,
                             const float *map, ptrdiff_t orientations, const float *s, ptrdiff_t count,
                             bool not_negative, float *value)
{
    const type_2 job = {grid, map, s, orientations, count, not_negative, value, NULL};

    return run(device, stencil, &job);
}

static sp_status interpolate_turns(const sp_device *device, const sp_nufft_stencil *stencil, const float *grid,
                                   const float *map, ptrdiff_t orientations, const float *s, ptrdiff_t count,
                                   float *value, float *turn)
{
    const type_2 job = {grid, map, s, orientations, count, false, value, turn};

    return run(device, stencil, &job);
}

extern "C" const sp_device_nufft_kernels sp_cuda_nufft = {
    .new_plan = sp_cuda_nufft_new,
    .free_plan = sp_cuda_nufft_free,
    .prepare = sp_cuda_prepare,
    .interpolate = interpolate,
    .interpolate_turns = interpolate_turns,
    .spread_pair = sp_cuda_spread_pair,
    .collect = sp_cuda_collect,
};
