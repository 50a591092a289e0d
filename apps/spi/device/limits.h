/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/limits.h -- work that does nothing but keep one part of a GPU busy: what `spica bench` measures its limits by.
 *
 * All arrays are the device's. */
#include <stdint.h>

#include "device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SP_DEVICE_LIMITS_STEPS = 16 }; /* of multiply_add() at a time */

struct sp_device_limits_kernels {
    /* to = from, which do not overlap: reads as many bytes as it writes. */
    sp_status (*copy)(const sp_device *device, const void *from, size_t bytes, void *to);

    /* product[i][j] = sum_k b[i][k] a[j][k], factors in bfloat16, sums in single precision: 2 n^3 operations, as the
     * dense search has them (device/match.h).
     *   a, b     in   [n][n] n < 2^31        product  out  [n][n] */
    sp_status (*multiply)(const sp_device *device, ptrdiff_t n, const uint16_t *a, const uint16_t *b, float *product);

    /* value = factor value + term, rounded once, `steps` times: 2 count steps operations in single precision.
     *   steps  a multiple of SP_DEVICE_LIMITS_STEPS
     *   value  in out  [count] */
    sp_status (*multiply_add)(const sp_device *device, float factor, float term, int steps, ptrdiff_t count,
                              float *value);
};

#ifdef __cplusplus
}
#endif
