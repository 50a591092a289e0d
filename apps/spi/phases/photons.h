/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/photons.h -- rows of photon counts, packed: a byte for a bin, or for a run of empty bins.
 *
 *   0 .. 127     a bin with so many photons
 *   128 .. 250   2 .. 124 empty bins
 *   251, n       n empty bins                  n: two bytes, the lower first
 *   252, k       a bin with k photons          k: two bytes
 *   253, k       likewise                      k: four bytes
 * So a row takes about two bytes per photon where there are few, and one byte per bin where there are many. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

typedef struct sp_photons sp_photons;

/* Room for so many rows; what they take is got as they come. Free with sp_photons_free(). Fails with SP_ERR_MEMORY. */
sp_status sp_photons_new(ptrdiff_t rows, sp_photons **photons);
void sp_photons_free(sp_photons *photons); /* NULL is fine */

size_t sp_photons_bytes(const sp_photons *photons); /* memory that it has now */

/* Are these all counts that can be packed: whole numbers 0 .. 2^32 - 1? */
bool sp_photons_are_whole(const float *value, ptrdiff_t count);

/* Packs a row of such counts, once for each row. Different rows may come from different threads.
 * Fails with SP_ERR_MEMORY. */
sp_status sp_photons_put(sp_photons *photons, ptrdiff_t row, const float *value, ptrdiff_t count);

/* Reads one row, bin after bin; one that was never put is empty. */
typedef struct sp_photon_reader {
    const uint8_t *code;
    ptrdiff_t empty; /* bins left of a run */
} sp_photon_reader;

sp_photon_reader sp_photons_open(const sp_photons *photons, ptrdiff_t row);

/* The next `count` bins, times `factor`.   value  out  [count] */
void sp_photons_read(sp_photon_reader *reader, ptrdiff_t count, float factor, float *value);
