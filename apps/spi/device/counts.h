/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/counts.h -- photons of images on a GPU, and a choice among them: what matching and merging read. */
#include <stddef.h>
#include <stdint.h>

#include "base/shared.h"

/* Photon counts k, values divided by the unit, as sp_dense_input has them. Arrays of the device. */
typedef struct sp_device_counts {
    const float *k;       /* [..][row] photons */
    ptrdiff_t row;        /* floats from one image to the next; no fewer than the pixels that are asked for */
    const int32_t *image; /* [images] row of each; NULL: the first so many */
    ptrdiff_t images;
} sp_device_counts;

/* Those of the i-th image chosen, [row]. */
SP_SHARED const float *sp_device_counts_of(const sp_device_counts *counts, ptrdiff_t i)
{
    return counts->k + (counts->image ? counts->image[i] : i) * counts->row;
}
