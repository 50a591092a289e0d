/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/diameter.h"

#include <math.h>

#include "base/memory.h"

enum {
    FINE = 8,           /* radial bins per pixel: so fine that sin(2 pi r s) does not change within one */
    GUINIER_SHELLS = 3, /* shells beside the beam stop that the Guinier fit uses */
    STEPS = 400,        /* distances tried */
};

static const double END_OF_PAIRS = 0.01; /* of the maximum of P */
static const double SHOULDER = 0.2; /* of the maximum: a dip below it separates the particle from what comes after */
static const double THIN_ENDS = 1.15;
static const double WINDOW = 0.35; /* of the largest |s|: deviation of the Gaussian that avoids ripples from the edge */

static double radius_of(const sp_pixels *pixels, ptrdiff_t p)
{
    const double *s = pixels->position + 3 * p;

    return sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]);
}

/* Mean over the good pixels of each shell of one pixel's width; shells below the first one with good pixels follow
 * ln I = a - b s^2 (Guinier), fitted to the first shells that have some. */
static void radial_mean(const sp_pixels *pixels, const double *mean, double step, ptrdiff_t shells, double *profile,
                        double *members)
{
    const ptrdiff_t total = pixels->panels * pixels->height * pixels->width;
    double n = 0.0, x1 = 0.0, x2 = 0.0, y1 = 0.0, xy = 0.0;
    ptrdiff_t first = 0;

    for (ptrdiff_t p = 0; p < total; p++) {
        const ptrdiff_t k = (ptrdiff_t)(radius_of(pixels, p) / step);

        if (!pixels->bad[p]) {
            profile[k] += mean[p];
            members[k] += 1.0;
        }
    }
    for (ptrdiff_t k = 0; k < shells; k++) {
        profile[k] = members[k] > 0.0 ? profile[k] / members[k] : 0.0;
    }
    while (first < shells && members[first] == 0.0) {
        first++;
    }
    for (ptrdiff_t k = first; k < shells && k < first + GUINIER_SHELLS; k++) {
        if (profile[k] > 0.0) {
            const double x = ((double)k + 0.5) * step * ((double)k + 0.5) * step, y = log(profile[k]);

            n += 1.0;
            x1 += x;
            x2 += x * x;
            y1 += y;
            xy += x * y;
        }
    }
    const double determinant = n * x2 - x1 * x1;
    const double slope = determinant > 0.0 ? (n * xy - x1 * y1) / determinant : 0.0;

    for (ptrdiff_t k = 0; k < first && n > 0.0; k++) {
        const double x = ((double)k + 0.5) * step * ((double)k + 0.5) * step;

        profile[k] = exp(y1 / n + slope * (x - x1 / n));
    }
}

/* Sum of intensity and of intensity times radius in fine radial bins, every pixel counted, bad ones by their shell. */
static void fine_sums(const sp_pixels *pixels, const double *mean, double step, const double *profile, double *sum,
                      double *moment)
{
    const ptrdiff_t total = pixels->panels * pixels->height * pixels->width;

    for (ptrdiff_t p = 0; p < total; p++) {
        const double radius = radius_of(pixels, p);
        const double value = pixels->bad[p] ? profile[(ptrdiff_t)(radius / step)] : mean[p];
        const ptrdiff_t k = (ptrdiff_t)(FINE * radius / step);

        sum[k] += value;
        moment[k] += value * radius;
    }
}

/* P(r) up to a factor. */
static double pairs_at(const double *sum, const double *moment, ptrdiff_t bins, double s_max, double r)
{
    double pairs = 0.0;

    for (ptrdiff_t k = 0; k < bins; k++) {
        const double s = sum[k] > 0.0 ? moment[k] / sum[k] : 0.0, u = s / (WINDOW * s_max);

        pairs += r * sum[k] * exp(-0.5 * u * u) * sin(2.0 * M_PI * r * s);
    }
    return pairs;
}

/* The end of P(r), tried at STEPS distances up to half the inverse pixel step: where it falls below END_OF_PAIRS of its
 * maximum, or else where it is least before it rises again (a curve whose centre is not well known lies on a slope). */
static double end_of_pairs(const double *sum, const double *moment, ptrdiff_t bins, double s_max, double step)
{
    const double reach = 0.5 / step;
    double top = 0.0, least = INFINITY, lowest_at = 0.0;

    for (int i = 1; i <= STEPS; i++) {
        const double r = reach * i / STEPS, pairs = pairs_at(sum, moment, bins, s_max, r);

        if (pairs > top) { /* still climbing, or climbing again after a shoulder */
            if (least < SHOULDER * top) {
                break;
            }
            top = pairs;
            least = INFINITY;
        } else if (pairs < END_OF_PAIRS * top) {
            return r;
        } else if (pairs < least) {
            least = pairs;
            lowest_at = r;
        }
    }
    return least < SHOULDER * top ? lowest_at : 0.0;
}

double sp_diameter_estimate(const sp_pixels *pixels, const double *mean)
{
    const ptrdiff_t total = pixels->panels * pixels->height * pixels->width;
    const double step = sp_pixels_step(pixels);
    sp_status status = SP_OK;
    double *profile = NULL, *members = NULL, *sum = NULL, *moment = NULL;
    double s_max = 0.0, end = 0.0;

    for (ptrdiff_t p = 0; p < total; p++) {
        s_max = fmax(s_max, radius_of(pixels, p));
    }
    const ptrdiff_t shells = (ptrdiff_t)(s_max / step) + 1, bins = (ptrdiff_t)(FINE * s_max / step) + 1;

    SP_TRY(SP_ARRAY(profile, shells));
    SP_TRY(SP_ARRAY(members, shells));
    SP_TRY(SP_ARRAY(sum, bins));
    SP_TRY(SP_ARRAY(moment, bins));
    radial_mean(pixels, mean, step, shells, profile, members);
    fine_sums(pixels, mean, step, profile, sum, moment);
    end = THIN_ENDS * end_of_pairs(sum, moment, bins, s_max, step);
done:
    sp_array_free(profile);
    sp_array_free(members);
    sp_array_free(sum);
    sp_array_free(moment);
    return status == SP_OK ? end : 0.0;
}
