/* SPDX-License-Identifier: BSD-3-Clause */
/* The kernels of num/nufft as plain loops: what the vectorised ones are tested against. */
#include <math.h>

#include "num/nufft_kernels.h"

enum { MAX_WIDTH = 6 };

/* The stencil of one point: its first cell as offset into the grid, and weights for axes a, b, c. */
typedef struct footprint {
    ptrdiff_t offset;
    double weight[3][MAX_WIDTH];
} footprint;

static double polynomial(const sp_nufft_stencil *stencil, int cell, double x)
{
    double value = 0.0;

    for (int d = stencil->degree; d >= 0; d--) {
        value = value * x + (double)stencil->weight[d][cell];
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
    const float sign = u[0] < 0.0f ? -1.0f : 1.0f;
    for (int i = 0; i < 3; i++) {
        const double place = (double)(sign * u[i]), whole = floor(place);

        cell[i] = (ptrdiff_t)whole + stencil->first[i];
        for (int c = 0; c < stencil->width; c++) {
            f.weight[i][c] = polynomial(stencil, c, 2.0 * (place - whole) - 1.0);
        }
    }
    f.offset = (cell[0] * stencil->blocks + cell[1]) * stencil->columns + cell[2];
    return f;
}

static void interpolate(const sp_nufft_stencil *stencil, const float *grid, const float map[3][3],
                        const float *const s[3], ptrdiff_t count, float *value)
{
    for (ptrdiff_t j = 0; j < count; j++) {
        const footprint f = footprint_of(stencil, map, s, j);
        double sum = 0.0;

        for (int a = 0; a < stencil->width; a++) {
            for (int b = 0; b < stencil->width; b++) {
                const float *row = grid + f.offset + (a * stencil->blocks + b) * stencil->columns;

                for (int c = 0; c < stencil->width; c++) {
                    sum += f.weight[0][a] * f.weight[1][b] * f.weight[2][c] * (double)row[c];
                }
            }
        }
        value[j] = (float)sum;
    }
}

const sp_nufft_kernels sp_nufft_ref = {.name = "ref", .depth = {1, 1}, .interpolate = interpolate};
