/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/nufft.h -- non-uniform Fourier transforms (num/nufft.h) on a GPU, of many patterns in one call.
 *
 * Grids have the layout [a][b][c] of sp_nufft_flat_stencil() (num/nufft_layout.h). Values agree with the plain loops,
 * sp_nufft_ref, to 2e-6 of their root mean square: single precision. */
#include <stdbool.h>

#include "device/device.h"
#include "num/nufft_kernels.h"

#ifdef __cplusplus
extern "C" {
#endif

struct sp_device_nufft_kernels {
    /* Type 2 of many orientations: value[i][j] = sum over the stencil around u of grid * kernel, u = map_i s_j in
     * cells; a point with u_a < 0 stands at -u.
     *   stencil       in          flat
     *   grid          in  device  of sp_nufft_prepare()
     *   map           in  device  [orientations][3][3] of sp_nufft_map()
     *   s             in  device  [3][count] coordinates of the pixels
     *   not_negative              negative values become 0, as in sp_slicer_cut()
     *   value         out device  [orientations][count] */
    sp_status (*interpolate)(const sp_device *device, const sp_nufft_stencil *stencil, const float *grid,
                             const float *map, ptrdiff_t orientations, const float *s, ptrdiff_t count,
                             bool not_negative, float *value);
};

#ifdef __cplusplus
}
#endif
