/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/transform.h"

#include <math.h>

#include "base/memory.h"
#include "num/fft.h"
#include "num/stencil.h"

enum { MARGIN = SP_STENCIL_WIDTH / 2 + 1 };

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
    const ptrdiff_t n = map->n;

    for (ptrdiff_t x = 0; x < n; x++) {
        const ptrdiff_t to_x = wrap(x - n / 2, m), from_x = wrap(x + centre[0], n);

        for (ptrdiff_t y = 0; y < n; y++) {
            const ptrdiff_t to_y = wrap(y - n / 2, m), from_y = wrap(y + centre[1], n);
            const double scale = factor[x] * factor[y];

            for (ptrdiff_t z = 0; z < n; z++) {
                padded[(to_x * m + to_y) * m + wrap(z - n / 2, m)] =
                    (float)(scale * factor[z] * (double)map->value[(from_x * n + from_y) * n + wrap(z + centre[2], n)]);
            }
        }
    }
}

static void copy_band(sp_transform *self, ptrdiff_t m, const float complex *half)
{
    const ptrdiff_t depth_of_half = m / 2 + 1;

    for (ptrdiff_t x = 0; x < self->edge; x++) {
        for (ptrdiff_t y = 0; y < self->edge; y++) {
            const ptrdiff_t kx = x - self->radius, ky = y - self->radius;
            float complex *row = self->cell + (x * self->edge + y) * self->depth;

            for (ptrdiff_t z = 0; z < self->depth; z++) {
                const ptrdiff_t kz = wrap(z - MARGIN, m);

                row[z] = kz <= m / 2 ? half[(wrap(kx, m) * m + wrap(ky, m)) * depth_of_half + kz]
                                     : conjf(half[(wrap(-kx, m) * m + wrap(-ky, m)) * depth_of_half + m - kz]);
            }
        }
    }
}

sp_status sp_transform_new(const sp_volume *map, const ptrdiff_t centre[3], double s_max, int width,
                           sp_transform **transform)
{
    sp_status status = SP_OK;
    const ptrdiff_t m = sp_fft_good_size(2 * map->n);
    sp_transform *self = NULL;
    sp_fft *plan = NULL;
    double *factor = NULL;
    float *padded = NULL;
    float complex *half = NULL;

    SP_REQUIRE(map->n >= 4 && map->n <= 512, SP_ERR_USAGE, "map edge %td is not in 4..512", map->n);
    SP_TRY(SP_ARRAY(self, 1));
    SP_TRY(SP_ARRAY(factor, map->n));
    SP_TRY(SP_ARRAY(padded, m * m * m));
    SP_TRY(sp_fft_new(m, &plan));
    SP_TRY(SP_ARRAY(half, sp_fft_complex_count(plan)));
    sp_stencil_init(width, &self->stencil);
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

/* F at cell coordinates u in the stored half. A constant width lets the compiler lay out the sums. */
static inline __attribute__((always_inline)) float complex interpolate(const sp_transform *transform, int width,
                                                                       const double u[3])
{
    float wx[SP_STENCIL_WIDTH], wy[SP_STENCIL_WIDTH], wz[SP_STENCIL_WIDTH];
    vec4 low = {0.0f}, middle = low, high = low; /* complex sums of the cells of a row, two in each */
    const ptrdiff_t x = sp_stencil_weights(&transform->stencil, u[0], wx) + transform->radius;
    const ptrdiff_t y = sp_stencil_weights(&transform->stencil, u[1], wy) + transform->radius;
    const ptrdiff_t z = sp_stencil_weights(&transform->stencil, u[2], wz) + MARGIN;

    for (int i = 0; i < width; i++) {
        for (int j = 0; j < width; j++) {
            const float complex *row = transform->cell + ((x + i) * transform->edge + y + j) * transform->depth + z;

            const float weight = wx[i] * wy[j];

            low += weight * *(const vec4 *)row;
            middle += weight * *(const vec4 *)(row + 2);
            if (width == 6) {
                high += weight * *(const vec4 *)(row + 4);
            }
        }
    }
    low *= (vec4){wz[0], wz[0], wz[1], wz[1]};
    low += middle * (vec4){wz[2], wz[2], wz[3], wz[3]};
    if (width == 6) {
        low += high * (vec4){wz[4], wz[4], wz[5], wz[5]};
    }
    return low[0] + low[2] + (low[1] + low[3]) * I; /* clang 14 has no CMPLXF */
}

float complex sp_transform_at(const sp_transform *transform, const double s[3])
{
    const double scale = s[2] < 0.0 ? -transform->cells : transform->cells; /* mirrored into the half that is stored */
    const double u[3] = {s[0] * scale, s[1] * scale, s[2] * scale};
    float complex value;

    if (s[0] * s[0] + s[1] * s[1] + s[2] * s[2] > transform->s_max * transform->s_max * (1.0 + 1e-9)) {
        return 0.0f;
    }
    value = transform->stencil.width == 4 ? interpolate(transform, 4, u) : interpolate(transform, 6, u);
    return s[2] < 0.0 ? conjf(value) : value;
}
