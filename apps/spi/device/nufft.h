/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/nufft.h -- non-uniform Fourier transforms (num/nufft.h) on a GPU, of many patterns in one call.
 *
 * Grids have the layout [a][b][c] of sp_nufft_flat_stencil() (num/nufft_layout.h), pairs of grids [a][b][c][2]. All
 * arrays are the device's. Points lie at u = map s in cells, map from sp_nufft_map(), and at -u if u_a < 0; as for
 * sp_nufft, no |k_i| may exceed half a cycle per voxel.
 *
 * Root mean square differences from the plain loops, sp_nufft_ref, relative to what is typical there: grids 5e-7,
 * values 2e-6, turns 5e-6, pairs 2e-6, volumes of one pair 1e-6. Rounded coordinates of the points make most of it. */
#include <stdbool.h>

#include "device/device.h"
#include "num/nufft_layout.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sp_device_nufft sp_device_nufft;

struct sp_device_nufft_kernels {
    /* Plan of prepare, spread_pair and collect: what the device needs of a sp_nufft, and all memory.
     *   layout  from sp_nufft_layout_of(); nothing of it is kept
     *   points  that spread_pair sorts at a time, 1..2^30: a few million keep a GPU busy; 8 bytes each
     * Free with free_plan. Fails with SP_ERR_MEMORY, SP_ERR_NUMERIC. */
    sp_status (*new_plan)(const sp_device *device, const sp_nufft_layout *layout, ptrdiff_t points,
                          sp_device_nufft **plan);
    void (*free_plan)(const sp_device *device, sp_device_nufft *plan); /* NULL is fine */

    /* grid = what type 2 interpolates from, as sp_nufft_prepare() with the plain loops makes it.
     *   volume  in   [edge][edge][edge]   FFT order           grid  out  */
    sp_status (*prepare)(const sp_device *device, sp_device_nufft *plan, const float *volume, float *grid);

    /* Type 2 of many orientations: value[i][j] = sum over the stencil around u of grid * kernel, u = map_i s_j.
     *   stencil       of sp_nufft_flat_stencil()
     *   map           in   [orientations][3][3]
     *   s             in   [3][count] coordinates of the pixels
     *   not_negative  negative values become 0, as in sp_slicer_cut()
     *   value         out  [orientations][count] */
    sp_status (*interpolate)(const sp_device *device, const sp_nufft_stencil *stencil, const float *grid,
                             const float *map, ptrdiff_t orientations, const float *s, ptrdiff_t count,
                             bool not_negative, float *value);

    /* The same, and how each value changes when the molecule turns, as sp_nufft_interpolate_turns():
     *   turn  out  [3][orientations][count] */
    sp_status (*interpolate_turns)(const sp_device *device, const sp_nufft_stencil *stencil, const float *grid,
                                   const float *map, ptrdiff_t orientations, const float *s, ptrdiff_t count,
                                   float *value, float *turn);

    /* Type 1 of two sets of values on the same points, of many images, first step: adds each point to both grids.
     *   map            in      [images][3][3]
     *   s              in      [3][count] count < 2^31
     *   first, second  in      [images][count]
     *   most           for each set, no less than the sum of |value| over all points that the pair is ever to hold;
     *                  the same in each call. A bound that is a thousand times too high does no harm.
     *   pair           in out  [a][b][c][2], sp_nufft_pair_count() doubles, zeroed by the caller
     * Each product of value and kernel is rounded to a whole multiple of a power of two, at most most / 2^50. Doubles
     * hold the sums of such numbers exactly: so the pair has the same bits in whatever order points are added. */
    sp_status (*spread_pair)(const sp_device *device, sp_device_nufft *plan, const float *map, ptrdiff_t images,
                             const float *s, ptrdiff_t count, const float *first, const float *second,
                             const double most[2], double *pair);

    /* Last step, as sp_nufft_collect(): volume of component `which` (0 or 1) of a pair, edge m <= that of the plan,
     * even. The pair stays.
     *   volume  out  [m][m][m]  FFT order */
    sp_status (*collect)(const sp_device *device, sp_device_nufft *plan, const double *pair, int which, ptrdiff_t m,
                         float *volume);
};

#ifdef __cplusplus
}
#endif
