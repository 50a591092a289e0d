/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/conformations.h -- how the images are shared out between conformations. */
#include <stddef.h>

#include "flow/reconstruct.h"

/* Of the images with signal: fewer make no conformation. */
static const double SP_CONFORMATION_LEAST = 0.03;

/* Maps that correlate by so much, one laid on the other, are one structure. Two that were made from half of the images
 * of one each came to 0.99, closed and open adenylate kinase to 0.72, two states of GroEL to 0.83. */
static const double SP_CONFORMATION_ALIKE = 0.9;

/* Images with signal that belong to each.   count  out  [SP_CONFORMATIONS] */
void sp_conformations_count(const sp_reconstruction *state, ptrdiff_t *count);

/* Lays the maps of all that have images enough on one another -> state->likeness. Fails with SP_ERR_MEMORY. */
sp_status sp_conformations_compare(sp_reconstruction *state);

/* The first conformation that k is a copy of, k itself if there is none, -1 if it has too few images to be one. */
int sp_conformation_original(const sp_reconstruction *state, int k);

/* How many there are: with images enough, and no copies of others. */
int sp_conformations_found(const sp_reconstruction *state);
