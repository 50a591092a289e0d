/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/merger.h -- merging on a GPU (phases/merge.h): a pair of grids that images are spread on, and its solution.
 *
 *     SP_TRY(sp_device_merger_begin(merger));
 *     SP_TRY(sp_device_stack_spread(stack, ..., merger));         any number of times
 *     SP_TRY(sp_device_merger_solve(merger, ..., autocorrelation, &result)); */
#include "device/device.h"
#include "phases/merge.h"

typedef struct sp_device_merger sp_device_merger;

/* On the grids of a merger, which is borrowed for life: of it, nothing but its shape and support are used.
 *   points  that are spread at a time, 1 .. 2^30
 * Free with sp_device_merger_free(). Fails with SP_ERR_USAGE, SP_ERR_MEMORY, SP_ERR_NUMERIC. */
sp_status sp_device_merger_new(const sp_device *device, const sp_merger *like, ptrdiff_t points,
                               sp_device_merger **result);
void sp_device_merger_free(sp_device_merger *self); /* NULL is fine */

/* An empty pair. */
sp_status sp_device_merger_begin(sp_device_merger *self);

/* Adds points to it, as spread_pair() of device/nufft.h has it.
 *   q              in  host    [images] orientations
 *   s              in  device  [3][count] [1/m]
 *   first, second  in  device  [images][count] */
sp_status sp_device_merger_add(sp_device_merger *self, const sp_quat *q, ptrdiff_t images, const float *s,
                               ptrdiff_t count, const float *first, const float *second, const double most[2]);

/* The pair as sp_merger_spread() makes it, to add up with others. Waits.   pair  out  host  [sp_merger_pair_count()] */
sp_status sp_device_merger_fetch(sp_device_merger *self, float *pair);

/* As sp_merger_solve(). Waits.   autocorrelation  out  device  [edge][edge][edge] */
sp_status sp_device_merger_solve(sp_device_merger *self, double outermost, double lambda, int iterations,
                                 float *autocorrelation, sp_merge_result *result);
