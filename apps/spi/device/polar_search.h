/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/polar_search.h -- the whole polar search on a GPU, as sp_polar_search_run() has it.
 *
 *     sp_polar_begin(polar, ...);                       what is compared
 *     SP_TRY(sp_device_polar_search_begin(search));
 *     SP_TRY(sp_device_polar_search_take(search, &counts));          unless sp_device_polar_search_holds() them still
 *     SP_TRY(sp_device_polar_search_run(search, slicer, model, scale, best));
 *
 * All images are transformed and held; directions come in tiles, and go when they were compared with all of them. */
#include "device/polar.h"
#include "device/slicer.h"
#include "phases/polar.h"

typedef struct sp_device_polar_search sp_device_polar_search;

/* What each image takes of the device's memory, for planning ahead [byte]. */
double sp_device_polar_image_bytes(const sp_polar *polar);

/* Room for searching so many images with `polar`; both device and polar are borrowed for life.
 *   images  at most, at a time
 *   keep    orientations per image, 1 .. SP_DEVICE_POLAR_KEPT
 *   budget  [byte] of work space: a few GB keep a GPU busy. It takes what one image and eight directions need in any
 *           case; tables, and what is held of the images (device/polar.h), come on top
 * Free with sp_device_polar_search_free(). Fails with SP_ERR_USAGE (keep), SP_ERR_MEMORY, SP_ERR_NUMERIC. */
sp_status sp_device_polar_search_new(const sp_device *device, const sp_polar *polar, ptrdiff_t images, int keep,
                                     double budget, sp_device_polar_search **search);
void sp_device_polar_search_free(sp_device_polar_search *search); /* NULL is fine */

/* After each sp_polar_begin(). Fails with SP_ERR_USAGE (more directions than any grid has), SP_ERR_NUMERIC. */
sp_status sp_device_polar_search_begin(sp_device_polar_search *search);

/* Are the images taken of use for the present search? They are until the pixels or the number of angles change. */
bool sp_device_polar_search_holds(const sp_device_polar_search *search);

/* Transforms these images, instead of those before.   counts  of no more images than there is room for; borrowed */
sp_status sp_device_polar_search_take(sp_device_polar_search *search, const sp_device_counts *counts);

/* The best orientations of each image taken, among those of the grid, as sp_polar_search_run() has them. Scores differ
 * from its own by what device/polar.h says, so the order of neighbours may.
 *   slicer, model  what directions are cut from
 *   scale   in   device  [images taken]
 *   best    out  device  [images taken][keep] indices into the grid and scores
 * Ends early when interrupted. */
sp_status sp_device_polar_search_run(sp_device_polar_search *search, const sp_device_slicer *slicer, int model,
                                     const float *scale, sp_candidate *best);
