/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/gpu_counts.h -- photons of images on the GPU of the tests. */
#include "device/counts.h"
#include "device/gpu.h"

/* Images on the GPU, in rows longer than they are, backwards if they are chosen by a list; what nobody should read is
 * no number.
 *   k       [images][pixels]
 *   choice  [count] images, in the order of the list; NULL: the first so many
 * Free with free_gpu_counts(). */
static inline sp_device_counts gpu_counts(const sp_device *gpu, const float *k, ptrdiff_t images, ptrdiff_t pixels,
                                          const int32_t *choice, ptrdiff_t count)
{
    const ptrdiff_t row = pixels + 3;
    const size_t bytes = (size_t)(images * row) * sizeof *k, list_bytes = (size_t)count * sizeof *choice;
    sp_device_counts counts = {.row = row, .images = count};
    float *rows = malloc(bytes);
    int32_t *list = malloc(list_bytes);

    assert_non_null(rows);
    assert_non_null(list);
    memset(rows, 0xff, bytes);
    for (ptrdiff_t i = 0; i < images; i++) {
        memcpy(rows + (choice ? images - 1 - i : i) * row, k + i * pixels, (size_t)pixels * sizeof *k);
    }
    for (ptrdiff_t i = 0; choice && i < count; i++) {
        list[i] = (int32_t)images - 1 - choice[i];
    }
    counts.k = gpu_array(gpu, rows, bytes);
    counts.image = choice ? gpu_array(gpu, list, list_bytes) : NULL;
    free(rows);
    free(list);
    return counts;
}

static inline void free_gpu_counts(const sp_device *gpu, const sp_device_counts *counts)
{
    gpu->kernels->release(gpu, (void *)counts->k);
    gpu->kernels->release(gpu, (void *)counts->image);
}
