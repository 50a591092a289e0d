/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/statistics.h"

#include <math.h>

static void swap(double *a, double *b)
{
    const double before = *a;

    *a = *b;
    *b = before;
}

/* Puts the value that belongs there, were they sorted, at place k: none before it is larger, none behind it smaller
 * (Hoare, Communications of the ACM 4, 321 (1961)). */
static void select_place(double *value, ptrdiff_t count, ptrdiff_t k)
{
    ptrdiff_t low = 0, high = count - 1;

    while (low < high) {
        const double pivot = value[low + (high - low) / 2];
        ptrdiff_t i = low, j = high;

        while (i <= j) {
            for (; value[i] < pivot; i++) {
            }
            for (; value[j] > pivot; j--) {
            }
            if (i <= j) {
                swap(&value[i++], &value[j--]);
            }
        }
        if (k <= j) {
            high = j;
        } else if (k >= i) {
            low = i;
        } else {
            return;
        }
    }
}

static double smallest(const double *value, ptrdiff_t count)
{
    double least = value[0];

    for (ptrdiff_t i = 1; i < count; i++) {
        least = fmin(least, value[i]);
    }
    return least;
}

double sp_percentile(double *value, ptrdiff_t count, double fraction)
{
    if (count < 1) {
        return 0.0;
    }
    const double position = fraction * (double)(count - 1);
    const ptrdiff_t below = (ptrdiff_t)position;

    select_place(value, count, below);
    const double next = below + 1 < count ? smallest(value + below + 1, count - below - 1) : value[below];

    return value[below] + (position - (double)below) * (next - value[below]);
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
