/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/cuda/nufft_plan.h -- what the files of the NUFFT know of each other: nufft.cu (type 2), nufft_grid.cu (plan,
 * volumes to grids and back), nufft_spread.cu (type 1). */
#include "device/cuda/plugin.h"
#include "device/nufft.h"
#include "num/nufft_point.h"
#include "num/window.h"

/* Of a flat stencil; small enough to be an argument, which all threads read at the speed of a register. */
typedef struct sp_cuda_stencil {
    int32_t blocks, columns, first[3];
    float weight[SP_WINDOW_DEGREE + 1][SP_WINDOW_CELLS]; /* [power][cell], 0 beyond degree and width */
} sp_cuda_stencil;

sp_cuda_stencil sp_cuda_flatten(const sp_nufft_stencil *stencil);

/* Work space of spread_pair: the points of a round, sorted into cubes of the grid, the tiles, by the cell where their
 * stencil begins; and each tile's points cut into pieces of bounded length. */
typedef struct sp_cuda_sorter {
    int32_t tiles[3], size[3]; /* numbers of tiles and of cells, along (a, b, c) */
    int32_t all;               /* tiles */
    int32_t *tile;             /* [points] of each point */
    int32_t *order;            /* [points] sorted */
    int32_t *count;            /* [all] points of each tile */
    int32_t *start;            /* [all+1] where they begin in `order` */
    int32_t *piece;            /* [all+1] the first piece of each tile */
    int32_t *owner;            /* [pieces at most] the tile that a piece belongs to */
} sp_cuda_sorter;

struct sp_device_nufft {
    int width;
    sp_cuda_stencil stencil;
    int32_t edge, fine, size[3], origin[3]; /* as in sp_nufft_layout */
    float *factor;                          /* [edge/2+1] */
    float *real;                            /* [fine^3] work space */
    cufftComplex *half;                     /* [fine][fine][fine/2+1] work space */
    bool can_forward, can_backward;         /* are there */
    cufftHandle forward, backward;
    ptrdiff_t points; /* of a round */
    sp_cuda_sorter sorter;
};

sp_status sp_cuda_nufft_new(const sp_device *device, const sp_nufft_layout *layout, ptrdiff_t points,
                            sp_device_nufft **plan);
void sp_cuda_nufft_free(const sp_device *device, sp_device_nufft *plan);
sp_status sp_cuda_prepare(const sp_device *device, sp_device_nufft *plan, const float *volume, float *grid);
sp_status sp_cuda_collect(const sp_device *device, sp_device_nufft *plan, const double *pair, int which, ptrdiff_t m,
                          float *volume);

sp_status sp_cuda_sorter_init(const sp_device *device, const sp_nufft_layout *layout, ptrdiff_t points,
                              sp_cuda_sorter *sorter);
void sp_cuda_sorter_clear(const sp_device *device, sp_cuda_sorter *sorter);
sp_status sp_cuda_spread_pair(const sp_device *device, sp_device_nufft *plan, const float *map, ptrdiff_t images,
                              const float *s, ptrdiff_t count, const float *first, const float *second,
                              const double most[2], double *pair);

/* The smallest number of pieces of this size that hold them all. */
static inline ptrdiff_t sp_cuda_pieces(ptrdiff_t count, ptrdiff_t size)
{
    return (count + size - 1) / size;
}

static __device__ __forceinline__ void sp_cuda_load_map(const float *from, float map[3][3])
{
    SP_UNROLL
    for (int i = 0; i < 9; i++) {
        map[i / 3][i % 3] = __ldg(from + i);
    }
}
