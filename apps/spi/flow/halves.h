/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/halves.h -- half sets: what two reconstructions that share no image agree on.
 *
 * The images are parted before anything else. Each half is then reconstructed alone, from other random orientations:
 * its noise, profile, size, grids, orientations and phases are its own. The map of the second half is laid on that of
 * the first (phases/align.h), and their shell correlation says to what resolution the images, all of the way from
 * there included, determine the map. It needs no truth.
 *
 * That is not enough: images without any structure, but with the profile of one, lead both halves to the same map,
 * which explains the profile (docs/algorithm.md, section 7). So it is asked too whether halves and whole turn each
 * image alike. Where they do not, nothing was resolved, whatever the maps look like.
 *
 * Several conformations are found anew by each half, in any order. Those that share most images are compared. */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "flow/reconstruct.h"

/* Which half each image is in: of every two that follow each other a coin sends one to each, so that both halves are
 * of the same time.
 *   half  out  [images] 0 or 1
 * Cannot fail. */
void sp_halves_part(uint64_t seed, ptrdiff_t images, int *half);

/* Which conformation of a half is which of the whole: the pairs that share most images (num/assignment.h).
 *   half, whole  in   [images] conformation of the same images, 0 .. conformations - 1
 *   partner      out  [conformations] conformation of the half, for each of the whole
 *   same         out  [images] that are in paired conformations
 *   chance       out  [images] the same for labels as frequent as these that know nothing of each other
 * Fails with SP_ERR_MEMORY. */
sp_status sp_halves_pair(ptrdiff_t images, const int32_t *half, const int32_t *whole, int conformations,
                         ptrdiff_t *partner, double *same, double *chance);

/* Reconstruct both halves, in as many conformations as the whole has, and compare.
 *   run, file, settings  as handed to sp_reconstruct() for all images; the file has all of its images again at the end
 *   whole                gets `halves`
 * Fails like sp_reconstruct(). */
sp_status sp_halves_measure(sp_run *run, sp_image_file *file, const sp_reconstruct_settings *settings, sp_log *log,
                            sp_reconstruction *whole);
