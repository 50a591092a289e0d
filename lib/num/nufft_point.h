/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/nufft_point.h -- where a point of a pattern lies on the grid of num/nufft, and what the cells around it weigh.
 * Shared by the plain loops and GPUs (base/shared.h). Grids are [a][b][c], num/nufft_kernels.h. */
#include <stdint.h>

#include "base/shared.h"

typedef struct sp_nufft_point {
    sp_real sign;    /* -1 if it stands at -u */
    sp_real x[3];    /* -1 .. 1 across the cell that it lies in */
    int32_t cell[3]; /* (a, b, c) where its stencil begins */
} sp_nufft_point;

/* The point s of a pattern at u = map s in cells; at -u if u_a < 0, since the transform is even.
 *   first  in  of sp_nufft_stencil */
SP_SHARED sp_nufft_point sp_nufft_point_at(const float map[3][3], const float s[3], const int32_t first[3])
{
    sp_nufft_point point;
    float u[3];

    for (int i = 0; i < 3; i++) {
        u[i] = map[i][0] * s[0] + map[i][1] * s[1] + map[i][2] * s[2];
    }
    point.sign = (sp_real)(u[0] < 0 ? -1 : 1);
    for (int i = 0; i < 3; i++) {
        const sp_real place = point.sign * (sp_real)u[i], whole = floor(place);

        point.x[i] = 2 * (place - whole) - 1;
        point.cell[i] = (int32_t)whole + first[i];
    }
    return point;
}

/* Weight of a cell: sum_d coefficient[d step] x^d. */
SP_SHARED sp_real sp_nufft_weight(const float *coefficient, int step, int degree, sp_real x)
{
    sp_real value = 0;

    for (int d = degree; d >= 0; d--) {
        value = value * x + (sp_real)coefficient[d * step];
    }
    return value;
}

/* Its derivative with respect to the point's coordinate u [1/cell]. */
SP_SHARED sp_real sp_nufft_slope(const float *coefficient, int step, int degree, sp_real x, sp_real sign)
{
    sp_real value = 0;

    for (int d = degree; d >= 1; d--) {
        value = value * x + (sp_real)d * (sp_real)coefficient[d * step];
    }
    return 2 * sign * value;
}

/* turn = g x s, where g = map^T u is the gradient with respect to s.
 *   u  in  gradient with respect to the coordinates in cells */
SP_SHARED void sp_nufft_turn(const float map[3][3], const sp_real u[3], const float s[3], float turn[3])
{
    sp_real g[3];

    for (int i = 0; i < 3; i++) {
        g[i] = (sp_real)map[0][i] * u[0] + (sp_real)map[1][i] * u[1] + (sp_real)map[2][i] * u[2];
    }
    for (int i = 0; i < 3; i++) {
        const int next = (i + 1) % 3, last = (i + 2) % 3;

        turn[i] = (float)(g[next] * (sp_real)s[last] - g[last] * (sp_real)s[next]);
    }
}
