/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* io/truth.h -- the known answers inside a simulated image file. Only `spica compare` and tests may read them;
 * tools/check-layers refuses this header in phases/ and flow/. */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Known orientations of a simulated file.
 *   count        receives the number of images
 *   orientation  receives [count][4] (w,x,y,z), unit quaternions; free with sp_array_free()
 *   structure    receives [count] which structure (0 if the file does not say); free likewise; may be NULL
 * Fails with SP_ERR_INPUT: file unusable, no `orientations` in it, or wrong shape. */
sp_status sp_truth_read(const char *path, ptrdiff_t *count, double **orientation, int32_t **structure);
