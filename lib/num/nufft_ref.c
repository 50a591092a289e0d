/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernels of num/nufft as plain loops: what the vectorised ones are tested against. */
#include "num/nufft_kernels.h"
#include "num/nufft_point.h"

enum { MAX_WIDTH = 6 };

/* The stencil of one point: its first cell as offset into the grid, weights for axes a, b, c, and their derivatives
 * with respect to the point's coordinates in cells. */
typedef struct footprint {
    ptrdiff_t offset;
    double weight[3][MAX_WIDTH], slope[3][MAX_WIDTH];
} footprint;

static footprint footprint_of(const sp_nufft_stencil *stencil, const float map[3][3], const float s[3])
{
    const sp_nufft_point point = sp_nufft_point_at(map, s, stencil->first);
    const int degree = stencil->degree;
    footprint f;

    for (int i = 0; i < 3; i++) {
        for (int c = 0; c < stencil->width; c++) {
            f.weight[i][c] = sp_nufft_weight(&stencil->weight[0][c], SP_NUFFT_PACKED, degree, point.x[i]);
            f.slope[i][c] = sp_nufft_slope(&stencil->weight[0][c], SP_NUFFT_PACKED, degree, point.x[i], point.sign);
        }
    }
    f.offset = ((ptrdiff_t)point.cell[0] * stencil->blocks + point.cell[1]) * stencil->columns + point.cell[2];
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
        const float at[3] = {s[0][j], s[1][j], s[2][j]};
        const footprint f = footprint_of(stencil, map, at);
        const float *cell = grid + f.offset;
        double u[3];
        float turned[3];

        value[j] = (float)sum_stencil(stencil, cell, f.weight[0], f.weight[1], f.weight[2]);
        if (!turn) {
            continue;
        }
        u[0] = sum_stencil(stencil, cell, f.slope[0], f.weight[1], f.weight[2]);
        u[1] = sum_stencil(stencil, cell, f.weight[0], f.slope[1], f.weight[2]);
        u[2] = sum_stencil(stencil, cell, f.weight[0], f.weight[1], f.slope[2]);
        sp_nufft_turn(map, u, at, turned);
        for (int i = 0; i < 3; i++) {
            turn[i][j] = turned[i];
        }
    }
}

static void spread_pair(const sp_nufft_stencil *stencil, const float map[3][3], const float *const s[3],
                        ptrdiff_t count, const float *first, const float *second, float *pair)
{
    for (ptrdiff_t j = 0; j < count; j++) {
        const float at[3] = {s[0][j], s[1][j], s[2][j]};
        const footprint f = footprint_of(stencil, map, at);

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
