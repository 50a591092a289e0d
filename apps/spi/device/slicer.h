/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/slicer.h -- patterns that models predict, cut on a GPU: phases/slice.h for many orientations at a time. */
#include "device/device.h"
#include "num/quaternion.h"
#include "phases/slice.h"

typedef struct sp_device_slicer sp_device_slicer;

/* For models 0 .. models - 1 on the grid of a slicer, which is borrowed for life. Free with sp_device_slicer_free().
 * Fails with SP_ERR_MEMORY, SP_ERR_NUMERIC. */
sp_status sp_device_slicer_new(const sp_device *device, const sp_slicer *slicer, int models, sp_device_slicer **result);
void sp_device_slicer_free(sp_device_slicer *self); /* NULL is fine */

/* Takes a new model k.   autocorrelation  in  device  [edge][edge][edge] FFT order */
sp_status sp_device_slicer_load(sp_device_slicer *self, int k, const float *autocorrelation);

/* map = what the next functions want to know of orientations. Waits.
 *   q    in   host    [count]
 *   map  out  device  [count][3][3] */
sp_status sp_device_slicer_aim(const sp_device_slicer *self, const sp_quat *q, ptrdiff_t count, float *map);

/* sp_slicer_cut() from model k.
 *   map      in   device  [count][3][3] of sp_device_slicer_aim()
 *   s        in   device  [3][pixels] [1/m]
 *   pattern  out  device  [count][pixels] unit of intensity */
sp_status sp_device_slicer_cut(const sp_device_slicer *self, int k, const float *map, ptrdiff_t count, const float *s,
                               ptrdiff_t pixels, float *pattern);

/* The same with derivatives, as sp_slicer_cut_turns(); but values below 0 stay, and theirs.
 *   turn  out  device  [3][count][pixels] unit of intensity per rad */
sp_status sp_device_slicer_cut_turns(const sp_device_slicer *self, int k, const float *map, ptrdiff_t count,
                                     const float *s, ptrdiff_t pixels, float *pattern, float *turn);
