/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/transform.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/memory.h"
#include "num/fft.h"
#include "num/stencil.h"

enum { WIDTH = 6, MARGIN = WIDTH / 2 + 1, MAX_EDGE = 512 };

typedef float vec4 __attribute__((vector_size(16), aligned(4))); /* two complex cells */

/* The transform on a grid of half the map's Fourier voxel, cut to the band: cell (x, y, z) lies at index
 * ((x + radius) * edge + (y + radius)) * depth + z + MARGIN. z < 0 is kept for MARGIN cells only: points below are
 * mirrored, F(-s) = conj(F(s)). */
struct sp_transform {
    double cells;                  /* [cell m] frequency in cells = s * cells */
    double s_max;                  /* [1/m] */
    ptrdiff_t radius, edge, depth; /* edge = 2 radius + 1, depth = radius + 1 + MARGIN */
    sp_stencil stencil;
    float complex *cell; /* [edge][edge][depth] */
};

static ptrdiff_t wrap(ptrdiff_t index, ptrdiff_t n)
{
    return (index % n + n) % n;
}

/* The map in the middle (FFT order) of an empty box of edge m, divided by the transform of the stencil. */
static void fill_padded(const sp_volume *map, const ptrdiff_t centre[3], ptrdiff_t m, const double *factor,
                        float *padded)
{
    const ptrdiff_t n = map->n, first = wrap(centre[2], n);

    for (ptrdiff_t x = 0; x < n; x++) {
        const ptrdiff_t to_x = wrap(x - n / 2, m), from_x = wrap(x + centre[0], n);

        for (ptrdiff_t y = 0; y < n; y++) {
            const ptrdiff_t to_y = wrap(y - n / 2, m), from_y = wrap(y + centre[1], n);
            const double scale = factor[x] * factor[y];
            const float *from = map->value + (from_x * n + from_y) * n;
            float *to = padded + (to_x * m + to_y) * m, row[MAX_EDGE];

            for (ptrdiff_t z = 0; z < n; z++) {
                row[z] = (float)(scale * factor[z] * (double)from[(z + first) % n]);
            }
            memcpy(to, row + n / 2, (size_t)(n - n / 2) * sizeof *to);
            memcpy(to + m - n / 2, row, (size_t)(n / 2) * sizeof *to);
        }
    }
}

static void copy_band(sp_transform *self, ptrdiff_t m, const float complex *half)
{
    const ptrdiff_t depth_of_half = m / 2 + 1;

    for (ptrdiff_t x = 0; x < self->edge; x++) {
        for (ptrdiff_t y = 0; y < self->edge; y++) {
            const ptrdiff_t kx = x - self->radius, ky = y - self->radius;
            const float complex *from = half + (wrap(kx, m) * m + wrap(ky, m)) * depth_of_half;
            const float complex *mirrored = half + (wrap(-kx, m) * m + wrap(-ky, m)) * depth_of_half;
            float complex *row = self->cell + (x * self->edge + y) * self->depth;

            for (ptrdiff_t z = 0; z < self->depth; z++) {
                const ptrdiff_t kz = z - MARGIN;

                row[z] = kz < 0 ? conjf(mirrored[-kz]) : kz <= m / 2 ? from[kz] : conjf(mirrored[m - kz]);
            }
        }
    }
}

sp_status sp_transform_new(const sp_volume *map, const ptrdiff_t centre[3], double s_max, sp_transform **transform)
{
    sp_status status = SP_OK;
    const ptrdiff_t m = sp_fft_good_size(2 * map->n);
    sp_transform *self = NULL;
    sp_fft *plan = NULL;
    double *factor = NULL;
    float *padded = NULL;
    float complex *half = NULL;

    SP_REQUIRE(map->n >= 4 && map->n <= MAX_EDGE, SP_ERR_USAGE, "map edge %td is not in 4..%d", map->n, MAX_EDGE);
    SP_TRY(SP_ARRAY(self, 1));
    SP_TRY(SP_ARRAY(factor, map->n));
    SP_TRY(SP_ARRAY(padded, m * m * m));
    SP_TRY(sp_fft_new(m, &plan));
    SP_TRY(SP_ARRAY(half, sp_fft_complex_count(plan)));
    sp_stencil_init(WIDTH, &self->stencil);
    for (ptrdiff_t i = 0; i < map->n; i++) {
        factor[i] = 1.0 / sp_stencil_transform(&self->stencil, (double)(i - map->n / 2) / (double)m);
    }
    self->cells = (double)m * map->voxel;
    self->s_max = fmin(s_max, 0.5 / map->voxel);
    self->radius = (ptrdiff_t)ceil(self->s_max * self->cells) + MARGIN;
    self->edge = 2 * self->radius + 1;
    self->depth = self->radius + 1 + MARGIN;
    SP_TRY(SP_ARRAY(self->cell, self->edge * self->edge * self->depth));
    fill_padded(map, centre, m, factor, padded);
    sp_fft_forward(plan, padded, half);
    copy_band(self, m, half);
    *transform = self;
    self = NULL;
done:
    sp_array_free(half);
    sp_fft_free(plan);
    sp_array_free(padded);
    sp_array_free(factor);
    sp_transform_free(self);
    return status;
}

void sp_transform_free(sp_transform *transform)
{
    if (transform) {
        sp_array_free(transform->cell);
        sp_array_free(transform);
    }
}

/* Complex numbers of one row of cells, under a stencil. */
typedef struct row_sum {
    vec4 part[WIDTH / 2];
} row_sum;

static inline void add_row(row_sum *sum, float weight, const row_sum *row)
{
    for (int k = 0; k < WIDTH / 2; k++) {
        sum->part[k] += weight * row->part[k];
    }
}

static inline float complex across(const row_sum *sum, const float weight[WIDTH])
{
    vec4 all = {0.0f};

    for (int k = 0; k < WIDTH / 2; k++) {
        const float *w = weight + 2 * k;

        all += sum->part[k] * (vec4){w[0], w[0], w[1], w[1]};
    }
    return all[0] + all[2] + (all[1] + all[3]) * I; /* clang 14 has no CMPLXF */
}

/* F at cell coordinates u in the stored half; its gradient by u, unless that is NULL (known when this is compiled). */
static inline __attribute__((always_inline)) float complex interpolate(const sp_transform *transform, const double u[3],
                                                                       float complex *gradient)
{
    float w[3][WIDTH], slope[3][WIDTH];
    row_sum sum = {0}, by_x = {0}, by_y = {0};
    const ptrdiff_t x = sp_stencil_slopes(&transform->stencil, WIDTH, u[0], w[0], slope[0]) + transform->radius;
    const ptrdiff_t y = sp_stencil_slopes(&transform->stencil, WIDTH, u[1], w[1], slope[1]) + transform->radius;
    const ptrdiff_t z = sp_stencil_slopes(&transform->stencil, WIDTH, u[2], w[2], slope[2]) + MARGIN;

    for (int i = 0; i < WIDTH; i++) {
        const float complex *row = transform->cell + ((x + i) * transform->edge + y) * transform->depth + z;
        row_sum rows = {0}, rows_by_y = {0};

        for (int j = 0; j < WIDTH; j++, row += transform->depth) {
            const row_sum cells = {{*(const vec4 *)row, *(const vec4 *)(row + 2), *(const vec4 *)(row + 4)}};

            add_row(&rows, w[1][j], &cells);
            if (gradient) {
                add_row(&rows_by_y, slope[1][j], &cells);
            }
        }
        add_row(&sum, w[0][i], &rows);
        if (gradient) {
            add_row(&by_x, slope[0][i], &rows);
            add_row(&by_y, w[0][i], &rows_by_y);
        }
    }
    if (gradient) {
        gradient[0] = across(&by_x, w[2]);
        gradient[1] = across(&by_y, w[2]);
        gradient[2] = across(&sum, slope[2]);
    }
    return across(&sum, w[2]);
}

/* Cell coordinates of s, mirrored into the half that is stored. Whether s lies in the band. */
static bool locate(const sp_transform *transform, const double s[3], double u[3])
{
    const double scale = s[2] < 0.0 ? -transform->cells : transform->cells;

    for (int axis = 0; axis < 3; axis++) {
        u[axis] = s[axis] * scale;
    }
    return s[0] * s[0] + s[1] * s[1] + s[2] * s[2] <= transform->s_max * transform->s_max * (1.0 + 1e-9);
}

float complex sp_transform_at(const sp_transform *transform, const double s[3])
{
    double u[3];

    if (!locate(transform, s, u)) {
        return 0.0f;
    }
    const float complex value = interpolate(transform, u, NULL);

    return s[2] < 0.0 ? conjf(value) : value;
}

float complex sp_transform_slope(const sp_transform *transform, const double s[3], float complex gradient[3])
{
    double u[3];

    if (!locate(transform, s, u)) {
        gradient[0] = gradient[1] = gradient[2] = 0.0f;
        return 0.0f;
    }
    const float complex value = interpolate(transform, u, gradient);

    for (int axis = 0; axis < 3; axis++) { /* F(s) = conj(F(-s)): mirroring changes the sign of the derivative, too */
        gradient[axis] *= (float)transform->cells;
        gradient[axis] = s[2] < 0.0 ? -conjf(gradient[axis]) : gradient[axis];
    }
    return s[2] < 0.0 ? conjf(value) : value;
}
