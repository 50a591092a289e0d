/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/stencil.h"

#include <math.h>

static double phi(const sp_stencil *stencil, double x)
{
    const double u = 2.0 * x / stencil->width;

    return fabs(u) < 1.0 ? exp(stencil->beta * (sqrt(1.0 - u * u) - 1.0)) : 0.0;
}

void sp_stencil_init(int width, sp_stencil *stencil)
{
    stencil->width = width;
    stencil->beta = 0.976 * M_PI * width * 0.75; /* Barnett et al., section 3.3, oversampling 2 */
    for (int i = 0; i < (SP_STENCIL_STEPS + 1) * width; i++) {
        const double offset = (double)(i / width) / SP_STENCIL_STEPS;

        stencil->table[i] = (float)phi(stencil, offset - 0.5 * width + i % width);
    }
}

ptrdiff_t sp_stencil_weights(const sp_stencil *stencil, double u, float *weight)
{
    float slope[SP_STENCIL_WIDTH];

    return sp_stencil_slopes(stencil, stencil->width, u, weight, slope);
}

double sp_stencil_transform(const sp_stencil *stencil, double f)
{
    enum { STEPS = 400 };
    const double h = 0.5 * stencil->width / STEPS;
    double sum = 0.0;

    for (int i = 0; i < STEPS; i++) { /* midpoint rule: the kernel is smooth and nearly 0 at its ends */
        const double x = (i + 0.5) * h;

        sum += phi(stencil, x) * cos(2.0 * M_PI * f * x);
    }
    return 2.0 * sum * h;
}
