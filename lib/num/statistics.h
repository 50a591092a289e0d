/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/statistics.h -- order statistics and correlation. None of these functions can fail. */
#include <stddef.h>

/* The value below which `fraction` of the values lie: the sorted values are read at position fraction * (count - 1),
 * linear between neighbours (type 7 of Hyndman and Fan, The American Statistician 50, 361 (1996)).
 *   value     in/out  [count]  any unit, no NaN; comes back in another order
 *   fraction  0 .. 1
 * Returns 0 for count = 0. Takes a time that grows as count. */
double sp_percentile(double *value, ptrdiff_t count, double fraction);
double sp_median(double *value, ptrdiff_t count); /* sp_percentile(.., 0.5) */

/* Pearson correlation of two arrays: sum (a - <a>)(b - <b>) / sqrt(sum (a - <a>)^2 sum (b - <b>)^2), -1 .. 1.
 *   a, b  in  [count]
 * 0 if either is constant or count < 2. Sums run in double and in memory order. */
double sp_pearson(const float *a, const float *b, ptrdiff_t count);

/* Mean and standard deviation (divided by count) of an array; both 0 for count = 0.
 *   value  in  [count];  mean, deviation  out, either may be NULL */
void sp_moments(const float *value, ptrdiff_t count, double *mean, double *deviation);
