/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernels of num/nufft as plain loops: what the vectorised ones are tested against. */
#include <math.h>

#include "num/nufft_kernels.h"

enum { MAX_WIDTH = 6 };

/* The stencil of one point: its first cell as offset into the grid, weights for axes a, b, c, and their derivatives
 * with respect to the point's coordinates in cells. */
typedef struct footprint {
    ptrdiff_t offset;
    double sign; /* -1 if the point stands at -u */
    double weight[3][MAX_WIDTH], slope[3][MAX_WIDTH];
} footprint;

static double polynomial(const sp_nufft_stencil *stencil, int cell, double x)
{
    double value = 0.0;

    for (int d = stencil->degree; d >= 0; d--) {
        value = value * x + (double)stencil->weight[d][cell];
    }
    return value;
}

static double derivative(const sp_nufft_stencil *stencil, int cell, double x)
{
    double value = 0.0;

    for (int d = stencil->degree; d >= 1; d--) {
        value = value * x + d * (double)stencil->weight[d][cell];
    }
    return value;
}

static footprint footprint_of(const sp_nufft_stencil *stencil, const float map[3][3], const float *const s[3],
                              ptrdiff_t j)
{
    footprint f;
    float u[3];
    ptrdiff_t cell[3];

    for (int i = 0; i < 3; i++) {
        u[i] = map[i][0] * s[0][j] + map[i][1] * s[1][j] + map[i][2] * s[2][j];
    }
    f.sign = u[0] < 0.0f ? -1.0 : 1.0;
    for (int i = 0; i < 3; i++) {
        const double place = f.sign * (double)u[i], whole = floor(place), x = 2.0 * (place - whole) - 1.0;

        cell[i] = (ptrdiff_t)whole + stencil->first[i];
        for (int c = 0; c < stencil->width; c++) {
            f.weight[i][c] = polynomial(stencil, c, x);
            f.slope[i][c] = 2.0 * f.sign * derivative(stencil, c, x);
        }
    }
    f.offset = (cell[0] * stencil->blocks + cell[1]) * stencil->columns + cell[2];
    return f;
}

/* sum over the stencil of grid * a * b * c */
static double sum_stencil(const sp_nufft_stencil *stencil, const float *cell, const double *wa, const double *wb,
                          const double *wc)
{
    double sum = 0.0;

    for (int a = 0; a < stencil->width; a++) {
        for (int b = 0; b < stencil->width; b++) {
            for (int c = 0; c < stencil->width; c++) {
                sum += wa[a] * wb[b] * wc[c] * (double)cell[(a * stencil->blocks + b) * stencil->columns + c];
            }
        }
    }
    return sum;
}

static void interpolate(const sp_nufft_stencil *stencil, const float *grid, const float map[3][3],
                        const float *const s[3], ptrdiff_t count, float *value, float *const turn[3])
{
    for (ptrdiff_t j = 0; j < count; j++) {
        const footprint f = footprint_of(stencil, map, s, j);
        const float *cell = grid + f.offset;
        double u[3], g[3];

        value[j] = (float)sum_stencil(stencil, cell, f.weight[0], f.weight[1], f.weight[2]);
        if (!turn) {
            continue;
        }
        u[0] = sum_stencil(stencil, cell, f.slope[0], f.weight[1], f.weight[2]);
        u[1] = sum_stencil(stencil, cell, f.weight[0], f.slope[1], f.weight[2]);
        u[2] = sum_stencil(stencil, cell, f.weight[0], f.weight[1], f.slope[2]);
        for (int i = 0; i < 3; i++) {
            g[i] = map[0][i] * u[0] + map[1][i] * u[1] + map[2][i] * u[2];
        }
        for (int i = 0; i < 3; i++) {
            const int next = (i + 1) % 3, last = (i + 2) % 3;

            turn[i][j] = (float)(g[next] * s[last][j] - g[last] * s[next][j]);
        }
    }
}

static void spread_pair(const sp_nufft_stencil *stencil, const float map[3][3], const float *const s[3],
                        ptrdiff_t count, const float *first, const float *second, float *pair)
{
    for (ptrdiff_t j = 0; j < count; j++) {
        const footprint f = footprint_of(stencil, map, s, j);

        for (int a = 0; a < stencil->width; a++) {
            for (int b = 0; b < stencil->width; b++) {
                float *row = pair + 2 * (f.offset + (a * stencil->blocks + b) * stencil->columns);

                for (int c = 0; c < stencil->width; c++) {
                    const double w = f.weight[0][a] * f.weight[1][b] * f.weight[2][c];

                    row[2 * c] += (float)(w * (double)first[j]);
                    row[2 * c + 1] += (float)(w * (double)second[j]);
                }
            }
        }
    }
}

const sp_nufft_kernels sp_nufft_ref = {
    .name = "ref", .depth = {1, 1}, .interpolate = interpolate, .spread_pair = spread_pair};
