/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/radial.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { MAX_EDGE = 2048, MAX_SHELLS = MAX_EDGE / 2 + 1 };

ptrdiff_t sp_radial_shells(ptrdiff_t n)
{
    return n / 2 + 1;
}

/* square of the coordinate that an index in FFT order stands for */
static double squared_coordinate(ptrdiff_t index, ptrdiff_t n)
{
    const double coordinate = (double)(index <= n / 2 ? index : index - n);

    return coordinate * coordinate;
}

/* turns sums into means; a shell is never empty: it holds (k, 0, 0) */
static void divide(ptrdiff_t n, const ptrdiff_t *count, double *sum)
{
    for (ptrdiff_t k = 0; k < sp_radial_shells(n); k++) {
        sum[k] /= (double)count[k];
    }
}

void sp_radial_mean(ptrdiff_t n, const float *volume, double *mean)
{
    ptrdiff_t count[MAX_SHELLS] = {0};

    assert(n >= 1 && n <= MAX_EDGE);
    memset(mean, 0, (size_t)sp_radial_shells(n) * sizeof *mean);
    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            const double xy = squared_coordinate(x, n) + squared_coordinate(y, n);
            const float *row = volume + (x * n + y) * n;

            for (ptrdiff_t z = 0; z < n; z++) {
                const ptrdiff_t shell = (ptrdiff_t)(sqrt(xy + squared_coordinate(z, n)) + 0.5);

                if (shell <= n / 2) {
                    mean[shell] += (double)row[z];
                    count[shell]++;
                }
            }
        }
    }
    divide(n, count, mean);
}

void sp_radial_cross(ptrdiff_t n, const float complex *a, const float complex *b, double *mean)
{
    const ptrdiff_t half = n / 2 + 1;
    ptrdiff_t count[MAX_SHELLS] = {0};

    assert(n >= 1 && n <= MAX_EDGE);
    memset(mean, 0, (size_t)sp_radial_shells(n) * sizeof *mean);
    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            const double xy = squared_coordinate(x, n) + squared_coordinate(y, n);
            const ptrdiff_t row = (x * n + y) * half;

            for (ptrdiff_t z = 0; z < half; z++) {
                const ptrdiff_t shell = (ptrdiff_t)(sqrt(xy + (double)(z * z)) + 0.5);
                const int copies = z == 0 || 2 * z == n ? 1 : 2; /* the other half is the mirror image */

                if (shell <= n / 2) {
                    const double complex p = a[row + z], q = b[row + z];

                    mean[shell] += copies * (creal(p) * creal(q) + cimag(p) * cimag(q));
                    count[shell] += copies;
                }
            }
        }
    }
    divide(n, count, mean);
}
