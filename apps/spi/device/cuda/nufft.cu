/* SPDX-License-Identifier: BSD-3-Clause */
/* Type 2 of patterns in many orientations. A few lanes of a warp share a point: each holds one column of its stencil,
 * so that together they read a row of the grid at once, and the rows of the stencil are loads that do not wait for each
 * other. The grid, a few megabytes, stays in the second-level cache, and the part of it that a block needs in the
 * first: a block takes neighbouring pixels in orientations that follow each other. */
#include "device/cuda/plugin.h"
#include "device/nufft.h"
#include "num/nufft_point.h"
#include "num/window.h"

enum {
    THREADS = 256,
    AT_A_TIME = 8, /* orientations that a block takes; its pixels stay in registers */
};
static const ptrdiff_t MOST_BLOCKS_Y = 65535; /* CUDA's limit */

/* Of a flat stencil; small enough to be an argument, which all threads read at the speed of a register. */
typedef struct flat_stencil {
    int32_t blocks, columns, first[3];
    float weight[SP_WINDOW_DEGREE + 1][SP_WINDOW_CELLS]; /* [power][cell], 0 beyond degree and width */
} flat_stencil;

typedef struct type_2 {
    const float *grid, *map, *s;
    ptrdiff_t orientations, count;
    bool not_negative;
    float *value;
} type_2;

/* Lanes that share a point: the next power of two. */
static __device__ __forceinline__ int lanes_of(int width)
{
    return width == 4 ? 4 : 8;
}

/* This lane's column of the stencil: sum_ab grid[a][b] weight_a weight_b, times its own weight. */
static __device__ __forceinline__ float sum_column(int width, const flat_stencil *stencil, const float *cell,
                                                   const sp_nufft_point *point, float own)
{
    float b_weight[SP_WINDOW_CELLS], sum = 0.0f;

    SP_UNROLL
    for (int b = 0; b < width; b++) {
        b_weight[b] = sp_nufft_weight(&stencil->weight[0][b], SP_WINDOW_CELLS, sp_window_degree(width), point->x[1]);
    }
    SP_UNROLL
    for (int a = 0; a < width; a++) {
        const float *row = cell + (ptrdiff_t)a * stencil->blocks * stencil->columns;
        float plane = 0.0f;

        SP_UNROLL
        for (int b = 0; b < width; b++) {
            plane += b_weight[b] * __ldg(row + (ptrdiff_t)b * stencil->columns);
        }
        sum += plane * sp_nufft_weight(&stencil->weight[0][a], SP_WINDOW_CELLS, sp_window_degree(width), point->x[0]);
    }
    return own * sum;
}

/* One value of one orientation; the same in all lanes that share the point.
 *   column  of the stencil that this lane takes; none if it is not below width
 *   own     the coefficients of its weight, by power */
static __device__ __forceinline__ float value_at(int width, const flat_stencil *stencil, const type_2 *job,
                                                 ptrdiff_t orientation, const float s[3], int column, const float *own)
{
    float map[3][3], sum = 0.0f;

    for (int i = 0; i < 9; i++) {
        map[i / 3][i % 3] = __ldg(job->map + 9 * orientation + i);
    }
    const sp_nufft_point point = sp_nufft_point_at(map, s, stencil->first);
    if (column < width) {
        const ptrdiff_t row = (ptrdiff_t)point.cell[0] * stencil->blocks + point.cell[1];

        sum = sum_column(width, stencil, job->grid + row * stencil->columns + point.cell[2] + column, &point,
                         sp_nufft_weight(own, 1, sp_window_degree(width), point.x[2]));
    }
    for (int other = lanes_of(width) / 2; other > 0; other /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, other);
    }
    return sum;
}

/* Threads whose pixel is beyond the last one work on that, and write nothing: they belong to a warp. */
static __device__ __forceinline__ void interpolate_block(int width, const flat_stencil *stencil, const type_2 *job)
{
    const int lanes = lanes_of(width), column = (int)threadIdx.x % lanes;
    const ptrdiff_t pixel = ((ptrdiff_t)blockIdx.x * THREADS + threadIdx.x) / lanes;
    const ptrdiff_t at = pixel < job->count ? pixel : job->count - 1;
    const float s[3] = {job->s[at], job->s[job->count + at], job->s[2 * job->count + at]};
    float own[SP_WINDOW_DEGREE + 1];

    for (int d = 0; d <= sp_window_degree(width); d++) {
        own[d] = stencil->weight[d][column < width ? column : 0];
    }
    for (ptrdiff_t first = (ptrdiff_t)blockIdx.y * AT_A_TIME; first < job->orientations;
         first += (ptrdiff_t)gridDim.y * AT_A_TIME) {
        const ptrdiff_t end = first + AT_A_TIME < job->orientations ? first + AT_A_TIME : job->orientations;

        for (ptrdiff_t i = first; i < end; i++) {
            const float value = value_at(width, stencil, job, i, s, column, own);

            if (column == 0 && pixel < job->count) {
                job->value[i * job->count + pixel] = job->not_negative && !(value > 0.0f) ? 0.0f : value;
            }
        }
    }
}

static __global__ void __launch_bounds__(THREADS) interpolate_4(const flat_stencil stencil, const type_2 job)
{
    interpolate_block(4, &stencil, &job);
}

static __global__ void __launch_bounds__(THREADS) interpolate_6(const flat_stencil stencil, const type_2 job)
{
    interpolate_block(6, &stencil, &job);
}

static flat_stencil flatten(const sp_nufft_stencil *stencil)
{
    flat_stencil flat = {};

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

static ptrdiff_t pieces(ptrdiff_t count, ptrdiff_t size)
{
    return (count + size - 1) / size;
}

static sp_status interpolate(const sp_device *device, const sp_nufft_stencil *stencil, const float *grid,
                             const float *map, ptrdiff_t orientations, const float *s, ptrdiff_t count,
                             bool not_negative, float *value)
{
    sp_status status = SP_OK;
    const type_2 job = {grid, map, s, orientations, count, not_negative, value};
    const ptrdiff_t points = THREADS / (stencil->width == 4 ? 4 : 8); /* of a block */
    const ptrdiff_t y = pieces(orientations, AT_A_TIME);
    dim3 blocks((unsigned)pieces(count, points), (unsigned)(y < MOST_BLOCKS_Y ? y : MOST_BLOCKS_Y));

    if (orientations == 0 || count == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    if (stencil->width == 4) {
        SP_LAUNCH(interpolate_4, blocks, THREADS, 0, device->state->stream, flatten(stencil), job);
    } else {
        SP_LAUNCH(interpolate_6, blocks, THREADS, 0, device->state->stream, flatten(stencil), job);
    }
done:
    return status;
}

extern "C" const sp_device_nufft_kernels sp_cuda_nufft = {.interpolate = interpolate};
