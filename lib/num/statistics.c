/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/statistics.h"

#include <math.h>
#include <stdlib.h>

static int compare_doubles(const void *left, const void *right)
{
    const double a = *(const double *)left, b = *(const double *)right;

    return (a > b) - (a < b);
}

double sp_percentile(double *value, ptrdiff_t count, double fraction)
{
    if (count < 1) {
        return 0.0;
    }
    qsort(value, (size_t)count, sizeof *value, compare_doubles);

    const double position = fraction * (double)(count - 1);
    const ptrdiff_t below = (ptrdiff_t)position;
    const ptrdiff_t above = below + 1 < count ? below + 1 : below;

    return value[below] + (position - (double)below) * (value[above] - value[below]);
}

double sp_median(double *value, ptrdiff_t count)
{
    return sp_percentile(value, count, 0.5);
}

void sp_moments(const float *value, ptrdiff_t count, double *mean, double *deviation)
{
    double sum = 0.0, square = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        sum += (double)value[i];
    }
    sum = count > 0 ? sum / (double)count : 0.0;
    for (ptrdiff_t i = 0; i < count; i++) { /* second pass: no cancellation for a large mean */
        square += ((double)value[i] - sum) * ((double)value[i] - sum);
    }
    if (mean) {
        *mean = sum;
    }
    if (deviation) {
        *deviation = count > 0 ? sqrt(square / (double)count) : 0.0;
    }
}

double sp_pearson(const float *a, const float *b, ptrdiff_t count)
{
    double mean_a, mean_b, aa = 0.0, bb = 0.0, ab = 0.0;

    sp_moments(a, count, &mean_a, NULL);
    sp_moments(b, count, &mean_b, NULL);
    for (ptrdiff_t i = 0; i < count; i++) {
        const double da = (double)a[i] - mean_a, db = (double)b[i] - mean_b;

        aa += da * da;
        bb += db * db;
        ab += da * db;
    }
    return aa > 0.0 && bb > 0.0 ? ab / (sqrt(aa) * sqrt(bb)) : 0.0;
}
