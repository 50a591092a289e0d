/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/assignment.h -- who belongs to whom: as many pairs as there are rows, with the largest sum. */
#include <stddef.h>

#include "base/error.h"

/* The permutation that maximises sum_i gain[i][column[i]]; by shortest augmenting paths (Kuhn 1955, Munkres 1957), in a
 * time that grows as n^3.
 *   gain    in   [n][n] finite
 *   column  out  [n] each of 0 .. n-1 once
 * Fails with SP_ERR_MEMORY. */
sp_status sp_assign(ptrdiff_t n, const double *gain, ptrdiff_t *column);
