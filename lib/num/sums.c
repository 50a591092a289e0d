/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/sums.h"

enum { LANES = 8 };

static double add_lanes(const double lane[LANES])
{
    return ((lane[0] + lane[1]) + (lane[2] + lane[3])) + ((lane[4] + lane[5]) + (lane[6] + lane[7]));
}

double sp_sum(const float *x, ptrdiff_t count)
{
    double lane[LANES] = {0.0};
    ptrdiff_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            lane[l] += (double)x[i + l];
        }
    }
    for (; i < count; i++) {
        lane[i % LANES] += (double)x[i];
    }
    return add_lanes(lane);
}

double sp_dot(const float *x, const float *y, ptrdiff_t count)
{
    double lane[LANES] = {0.0};
    ptrdiff_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            lane[l] += (double)x[i + l] * (double)y[i + l];
        }
    }
    for (; i < count; i++) {
        lane[i % LANES] += (double)x[i] * (double)y[i];
    }
    return add_lanes(lane);
}

double sp_dot3(const float *w, const float *x, const float *y, ptrdiff_t count)
{
    double lane[LANES] = {0.0};
    ptrdiff_t i = 0;

    for (; i + LANES <= count; i += LANES) {
        for (int l = 0; l < LANES; l++) {
            lane[l] += (double)w[i + l] * (double)x[i + l] * (double)y[i + l];
        }
    }
    for (; i < count; i++) {
        lane[i % LANES] += (double)w[i] * (double)x[i] * (double)y[i];
    }
    return add_lanes(lane);
}
