/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/shells.h -- sums over the shells of transforms of real volumes (num/radial.h) on a GPU.
 *
 * Sums in double, in a fixed order: the same bits every time, and those of the processor but for the order. */
#include "device/device.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Plan and work space for transforms of one size. */
typedef struct sp_device_shells sp_device_shells;

/* Means of a shell over Re(a conj(b)), |a|^2 and |b|^2. */
typedef struct sp_device_shell_means {
    double cross, power_a, power_b;
} sp_device_shell_means;

struct sp_device_shells_kernels {
    /*   edge    n of the volumes, 2 .. 1000
     *   most    transforms, or pairs of them, in one call
     *   shells  receives it; untouched on error
     * Fails with SP_ERR_USAGE. */
    sp_status (*make)(const sp_device *device, ptrdiff_t edge, int most, sp_device_shells **shells);
    void (*release)(const sp_device *device, sp_device_shells *shells); /* NULL is fine */

    /* sp_radial_cross() of many pairs, and of each with itself. Waits.
     *   a, b  in  device [pairs][n][n][n/2+1] complex numbers {re, im}; may be the same
     *   mean  out host [pairs][n/2+1] */
    sp_status (*cross)(const sp_device *device, sp_device_shells *shells, const void *a, const void *b, int pairs,
                       sp_device_shell_means *mean);
};

#ifdef __cplusplus
}
#endif
