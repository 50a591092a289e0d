/* SPDX-License-Identifier: BSD-3-Clause */
/* Type 1. Points are sorted into tiles, cubes of cells, by counting. A warp takes up to a thousand points of one tile
 * and adds them, one after another, to a copy of the tile and its margin in shared memory: no two lanes have the same
 * cell, so there are no atomics. Then it adds its copy to the pair.
 *
 * Every product is rounded to a multiple of one power of two (device/nufft.h): the sums are exact, and the order in
 * which warps, and points within a tile, come has no say in them.
 *
 * The limit is shared memory: a cell of the stencil takes 16 bytes to read and 16 to write, 2048 bytes per point for
 * width 4 and 6912 for width 6, of 128 bytes in a clock of a multiprocessor. Memory proper gives a point about 30
 * bytes, and takes two atomics for each cell of a copy, six per point where a tile holds 500. */
#include <math.h>

#include "device/cuda/nufft_plan.h"

enum {
    THREADS = 256,
    SCANNERS = 1024, /* threads of the one block that scans */
    TILE = 8,        /* [cell] edge */
    MOST = 1024,     /* points of a piece */
};

/* The points of a round: `points` of them, from a pixel of an image. */
typedef struct type_1 {
    const float *map, *s, *first, *second;
    ptrdiff_t count; /* pixels */
    ptrdiff_t image; /* of the round's first point, */
    uint32_t pixel;  /* and which of it */
    int32_t points;
    double rounder[2]; /* for each set: a double whose last digit is what sums are multiples of */
    double *pair;
} type_1;

/* ---- sorting ---- */

sp_status sp_cuda_sorter_init(const sp_device *device, const sp_nufft_layout *layout, ptrdiff_t points,
                              sp_cuda_sorter *sorter)
{
    sp_status status = SP_OK;
    ptrdiff_t all = 1;

    for (int i = 0; i < 3; i++) {
        sorter->size[i] = (int32_t)layout->size[i];
        sorter->tiles[i] = (int32_t)sp_cuda_pieces(layout->size[i], TILE);
        all *= sorter->tiles[i];
    }
    sorter->all = (int32_t)all;
    SP_TRY(SP_DEVICE_ARRAY(device, sorter->tile, points));
    SP_TRY(SP_DEVICE_ARRAY(device, sorter->order, points));
    SP_TRY(SP_DEVICE_ARRAY(device, sorter->count, all));
    SP_TRY(SP_DEVICE_ARRAY(device, sorter->start, all + 1));
    SP_TRY(SP_DEVICE_ARRAY(device, sorter->piece, all + 1));
    SP_TRY(SP_DEVICE_ARRAY(device, sorter->owner, all + points / MOST));
done:
    return status;
}

void sp_cuda_sorter_clear(const sp_device *device, sp_cuda_sorter *sorter)
{
    device->kernels->release(device, sorter->tile);
    device->kernels->release(device, sorter->order);
    device->kernels->release(device, sorter->count);
    device->kernels->release(device, sorter->start);
    device->kernels->release(device, sorter->piece);
    device->kernels->release(device, sorter->owner);
}

/* Point i of a round.
 *   at  out  where its values are */
static __device__ __forceinline__ sp_nufft_point point_of(const type_1 *job, const int32_t first[3], int i,
                                                          ptrdiff_t *at)
{
    const uint32_t ahead = job->pixel + (uint32_t)i, pixels = (uint32_t)job->count;
    const ptrdiff_t image = job->image + ahead / pixels, pixel = ahead % pixels;
    const float s[3] = {__ldg(job->s + pixel), __ldg(job->s + job->count + pixel),
                        __ldg(job->s + 2 * job->count + pixel)};
    float map[3][3];

    sp_cuda_load_map(job->map + 9 * image, map);
    *at = image * job->count + pixel;
    return sp_nufft_point_at(map, s, first);
}

static __device__ __forceinline__ int within(int i, int below)
{
    return min(max(i, 0), below - 1);
}

static __global__ void __launch_bounds__(THREADS)
    find_tiles(const sp_cuda_stencil stencil, const type_1 job, const sp_cuda_sorter sorter)
{
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    int tile = 0;
    ptrdiff_t at;

    if (i >= job.points) {
        return;
    }
    const sp_nufft_point point = point_of(&job, stencil.first, i, &at);

    for (int axis = 0; axis < 3; axis++) {
        tile = tile * sorter.tiles[axis] + within(point.cell[axis] / TILE, sorter.tiles[axis]);
    }
    sorter.tile[i] = tile;
    atomicAdd(&sorter.count[tile], 1);
}

/* What is before a thread's share of the tiles, or a tile. */
typedef struct before {
    int points, pieces;
} before;

static __device__ __forceinline__ before add_tile(before so_far, int points)
{
    return {so_far.points + points, so_far.pieces + (points + MOST - 1) / MOST};
}

/* The sum over all threads before this one; `all` is scratch, one for each thread. */
static __device__ __forceinline__ before sum_before(before own, before *all)
{
    const int t = (int)threadIdx.x;

    all[t] = own;
    for (int apart = 1; apart < SCANNERS; apart *= 2) {
        __syncthreads();
        const before other = t >= apart ? all[t - apart] : before{0, 0};

        __syncthreads();
        all[t] = {all[t].points + other.points, all[t].pieces + other.pieces};
    }
    return {all[t].points - own.points, all[t].pieces - own.pieces};
}

/* start, piece = sums of what is before each tile. One block; each thread takes tiles that follow each other. */
static __global__ void __launch_bounds__(SCANNERS) scan_tiles(const sp_cuda_sorter sorter)
{
    __shared__ before shared[SCANNERS];
    const int share = (sorter.all + SCANNERS - 1) / SCANNERS, first = min((int)threadIdx.x * share, sorter.all);
    const int end = min(first + share, sorter.all);
    before own = {0, 0};

    for (int i = first; i < end; i++) {
        own = add_tile(own, sorter.count[i]);
    }
    before so_far = sum_before(own, shared);

    for (int i = first; i < end; i++) {
        sorter.start[i] = so_far.points;
        sorter.piece[i] = so_far.pieces;
        so_far = add_tile(so_far, sorter.count[i]);
    }
    if (threadIdx.x == SCANNERS - 1) {
        sorter.start[sorter.all] = so_far.points;
        sorter.piece[sorter.all] = so_far.pieces;
    }
}

/* order = points, tile by tile; in which order within a tile, nobody can tell. Uses up `count`. */
static __global__ void __launch_bounds__(THREADS) place_points(int points, const sp_cuda_sorter sorter)
{
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);

    if (i < points) {
        const int tile = sorter.tile[i];

        sorter.order[sorter.start[tile] + atomicAdd(&sorter.count[tile], -1) - 1] = i;
    }
}

static __global__ void __launch_bounds__(THREADS) own_pieces(const sp_cuda_sorter sorter)
{
    const int tile = (int)(blockIdx.x * THREADS + threadIdx.x);

    if (tile < sorter.all) {
        for (int piece = sorter.piece[tile]; piece < sorter.piece[tile + 1]; piece++) {
            sorter.owner[piece] = tile;
        }
    }
}

/* ---- spreading ---- */

/* Of a copy of a tile with its margin: cells along an axis, and rows and columns, some of which only keep banks apart.
 */
static __device__ __forceinline__ constexpr int extent(int width)
{
    return TILE + width - 1;
}

static __device__ __forceinline__ constexpr int rows(int width)
{
    return width == 4 ? 11 : 14;
}

static __device__ __forceinline__ constexpr int columns(int width)
{
    return width == 4 ? 12 : 14;
}

static __device__ __forceinline__ constexpr int cells(int width)
{
    return extent(width) * rows(width) * columns(width);
}

/* One cell of a copy. */
typedef struct alignas(16) cell {
    double sum[2];
} cell;

/* A point that waits for its turn in shared memory. */
typedef struct alignas(16) waiting {
    float x[3];
    int32_t at; /* cell of the copy where its stencil begins */
    double value[2];
} waiting;

/* The cells of a stencil that a lane has: (a + 2 i, b + step j, c), step as step_b() says. Eight lanes that follow each
 * other, which shared memory serves at once, are on different banks.
 *   width 4   lane = c + 4 b + 16 a     two cells
 *   width 6   lane = c + 6 b + 12 a     nine cells; the last eight lanes have none */
typedef struct lane_cells {
    bool any;
    int at; /* of the first one from where the stencil begins */
    float a[3][SP_WINDOW_DEGREE + 1], b[3][SP_WINDOW_DEGREE + 1], c[SP_WINDOW_DEGREE + 1]; /* weights, by power */
} lane_cells;

static __device__ __forceinline__ int step_b(int width)
{
    return width == 4 ? 4 : 2;
}

static __device__ __forceinline__ lane_cells cells_of_lane(int width, const sp_cuda_stencil *stencil)
{
    const int lane = (int)threadIdx.x, c = lane % width, b = lane / width % step_b(width);
    const int a = lane / width / step_b(width);
    lane_cells own = {};

    own.any = a < 2;
    own.at = (a * rows(width) + b) * columns(width) + c;
    SP_UNROLL
    for (int d = 0; d <= sp_window_degree(width); d++) {
        SP_UNROLL
        for (int i = 0; i < width / 2; i++) {
            own.a[i][d] = stencil->weight[d][own.any ? a + 2 * i : 0];
        }
        SP_UNROLL
        for (int j = 0; j < width / step_b(width); j++) {
            own.b[j][d] = stencil->weight[d][b + step_b(width) * j];
        }
        own.c[d] = stencil->weight[d][c];
    }
    return own;
}

static __device__ __forceinline__ void add_to_cell(const type_1 *job, float weight, const waiting *point, cell *to)
{
    cell now = *to;

    SP_UNROLL
    for (int k = 0; k < 2; k++) {
        now.sum[k] += fma((double)weight, point->value[k], job->rounder[k]) - job->rounder[k];
    }
    *to = now;
}

/* Adds a point to the cells of this lane. */
static __device__ __forceinline__ void add_point(int width, const type_1 *job, const lane_cells *own,
                                                 const waiting *point, cell *copy)
{
    const int degree = sp_window_degree(width);
    const float c_weight = sp_nufft_weight(own->c, 1, degree, point->x[2]);
    cell *first = copy + point->at + own->at;
    float b_weight[3];

    SP_UNROLL
    for (int j = 0; j < width / step_b(width); j++) {
        b_weight[j] = c_weight * sp_nufft_weight(own->b[j], 1, degree, point->x[1]);
    }
    SP_UNROLL
    for (int i = 0; i < width / 2; i++) {
        const float a_weight = sp_nufft_weight(own->a[i], 1, degree, point->x[0]);

        SP_UNROLL
        for (int j = 0; j < width / step_b(width); j++) {
            add_to_cell(job, a_weight * b_weight[j], point,
                        first + (2 * i * rows(width) + step_b(width) * j) * columns(width));
        }
    }
}

/* Point i of the round, for a copy of the tile that begins at cell `corner`. The sort may have rounded the point's
 * place to the other side of a cell's face: then the polynomial of its own side goes on a little. */
static __device__ __forceinline__ waiting wait_at(int width, const type_1 *job, const int32_t first[3], int i,
                                                  const int corner[3])
{
    ptrdiff_t at;
    const sp_nufft_point point = point_of(job, first, i, &at);
    waiting waits = {};

    for (int axis = 0; axis < 3; axis++) {
        const int ahead = point.cell[axis] - corner[axis], inside = within(ahead, TILE);

        waits.x[axis] = point.x[axis] + 2.0f * (float)(ahead - inside);
        waits.at = waits.at * (axis == 1 ? rows(width) : columns(width)) + inside;
    }
    waits.value[0] = (double)job->first[at];
    waits.value[1] = (double)job->second[at];
    return waits;
}

/* Adds the copy to the pair. */
static __device__ __forceinline__ void add_copy(int width, const type_1 *job, const sp_cuda_sorter *sorter,
                                                const int corner[3], const cell *copy)
{
    for (int i = (int)threadIdx.x; i < 2 * extent(width) * extent(width) * extent(width); i += SP_WARP) {
        const int a = i / 2 / extent(width) / extent(width), b = i / 2 / extent(width) % extent(width);
        const int c = i / 2 % extent(width);
        const double sum = copy[(a * rows(width) + b) * columns(width) + c].sum[i % 2];
        const ptrdiff_t row = (ptrdiff_t)(corner[0] + a) * sorter->size[1] + corner[1] + b;

        if (sum != 0.0 && corner[0] + a < sorter->size[0] && corner[1] + b < sorter->size[1] &&
            corner[2] + c < sorter->size[2]) {
            atomicAdd(&job->pair[2 * (row * sorter->size[2] + corner[2] + c) + i % 2], sum);
        }
    }
}

/* The piece of this block, which is one warp.   waits, copy  shared memory for a warp's points, and cells(width) */
static __device__ __forceinline__ void spread_piece(int width, const sp_cuda_stencil *stencil, const type_1 *job,
                                                    const sp_cuda_sorter *sorter, waiting *waits, cell *copy)
{
    const int lane = (int)threadIdx.x, piece = (int)blockIdx.x;

    if (piece >= sorter->piece[sorter->all]) {
        return;
    }
    const int tile = sorter->owner[piece], begin = sorter->start[tile] + (piece - sorter->piece[tile]) * MOST;
    const int end = min(begin + MOST, sorter->start[tile + 1]);
    const int corner[3] = {tile / sorter->tiles[2] / sorter->tiles[1] * TILE,
                           tile / sorter->tiles[2] % sorter->tiles[1] * TILE, tile % sorter->tiles[2] * TILE};
    const lane_cells own = cells_of_lane(width, stencil);

    for (int i = lane; i < cells(width); i += SP_WARP) {
        copy[i] = {};
    }
    for (int first = begin; first < end; first += SP_WARP) {
        if (first + lane < end) {
            waits[lane] = wait_at(width, job, stencil->first, sorter->order[first + lane], corner);
        }
        __syncwarp();
        for (int i = 0; i < min(SP_WARP, end - first); i++) {
            const waiting point = waits[i];

            if (own.any) {
                add_point(width, job, &own, &point, copy);
            }
            __syncwarp();
        }
    }
    add_copy(width, job, sorter, corner, copy);
}

static __global__ void __launch_bounds__(SP_WARP)
    spread_4(const sp_cuda_stencil stencil, const type_1 job, const sp_cuda_sorter sorter)
{
    __shared__ waiting waits[SP_WARP];
    __shared__ cell copy[cells(4)];

    spread_piece(4, &stencil, &job, &sorter, waits, copy);
}

static __global__ void __launch_bounds__(SP_WARP)
    spread_6(const sp_cuda_stencil stencil, const type_1 job, const sp_cuda_sorter sorter)
{
    __shared__ waiting waits[SP_WARP];
    __shared__ cell copy[cells(6)];

    spread_piece(6, &stencil, &job, &sorter, waits, copy);
}

/* ---- rounds ---- */

static sp_status sort_points(const sp_device *device, const sp_device_nufft *plan, const type_1 *job)
{
    sp_status status = SP_OK;
    const sp_cuda_sorter *sorter = &plan->sorter;
    const cudaStream_t stream = device->state->stream;
    const int blocks = (int)sp_cuda_pieces(job->points, THREADS);

    SP_TRY_CUDA(cudaMemsetAsync(sorter->count, 0, (size_t)sorter->all * sizeof *sorter->count, stream));
    SP_LAUNCH(find_tiles, blocks, THREADS, 0, stream, plan->stencil, *job, *sorter);
    SP_LAUNCH(scan_tiles, 1, SCANNERS, 0, stream, *sorter);
    SP_LAUNCH(place_points, blocks, THREADS, 0, stream, job->points, *sorter);
    SP_LAUNCH(own_pieces, (int)sp_cuda_pieces(sorter->all, THREADS), THREADS, 0, stream, *sorter);
done:
    return status;
}

static sp_status spread_round(const sp_device *device, const sp_device_nufft *plan, const type_1 *job)
{
    sp_status status = SP_OK;
    const int pieces = plan->sorter.all + job->points / MOST; /* at most; how many there are, only the device knows */

    SP_TRY(sort_points(device, plan, job));
    if (plan->width == 4) {
        SP_LAUNCH(spread_4, pieces, SP_WARP, 0, device->state->stream, plan->stencil, *job, plan->sorter);
    } else {
        SP_LAUNCH(spread_6, pieces, SP_WARP, 0, device->state->stream, plan->stencil, *job, plan->sorter);
    }
done:
    return status;
}

/* x + rounder - rounder rounds x to a multiple of 2^-51 of the next power of two above `most`. Sums up to four times
 * `most` are exact. */
static double rounder_for(double most)
{
    int exponent;

    frexp(most, &exponent);
    return ldexp(1.5, exponent + 1);
}

sp_status sp_cuda_spread_pair(const sp_device *device, sp_device_nufft *plan, const float *map, ptrdiff_t images,
                              const float *s, ptrdiff_t count, const float *first, const float *second,
                              const double most[2], double *pair)
{
    sp_status status = SP_OK;
    const ptrdiff_t all = images * count;
    type_1 job = {map, s, first, second, count, 0, 0, 0, {rounder_for(most[0]), rounder_for(most[1])}, pair};

    SP_TRY(sp_cuda_enter(device));
    for (ptrdiff_t from = 0; from < all; from += plan->points) {
        job.image = from / count;
        job.pixel = (uint32_t)(from % count);
        job.points = (int32_t)(all - from < plan->points ? all - from : plan->points);
        SP_TRY(spread_round(device, plan, &job));
    }
done:
    return status;
}
