/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/diameter.h -- the size of the particle, from the mean image alone.
 *
 * The mean of many images in random orientations is the scattering curve I(s). Its transform is the distribution of
 * distances within the particle, P(r) ~ r sum_pixels I(s) sin(2 pi r s), which ends at the largest one
 *                                                                         (docs/algorithm.md, section "Size") */
#include "phases/patterns.h"

/* Largest extent [m] of the particle.
 *   mean  in  [panels][height][width] mean image, factors (solid angle, polarisation) divided out; bad pixels ignored
 * The distance where P falls below 1 % of its maximum, plus 15 %: the thin ends of a molecule hold few pairs. Bad
 * pixels take the mean of their shell, a beam stop the Guinier curve of the pixels around it.
 * Returns 0 if P does not end within what the pixel spacing can show (a particle too large for this detector), or if
 * memory runs out. */
double sp_diameter_estimate(const sp_pixels *pixels, const double *mean);
