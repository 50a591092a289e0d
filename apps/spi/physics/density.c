/* SPDX-License-Identifier: BSD-3-Clause */
#include "physics/density.h"

#include <complex.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "num/fft.h"
#include "num/stencil.h"
#include "physics/scattering.h"

enum { WIDTH = SP_STENCIL_WIDTH };

void sp_atoms_centre(const sp_atoms *atoms, double centre[3])
{
    double electrons = 0.0;

    for (ptrdiff_t a = 0; a < atoms->count; a++) {
        electrons += atoms->atom[a].occupancy * atoms->atom[a].element;
    }
    for (int axis = 0; axis < 3; axis++) {
        double sum = 0.0;

        for (ptrdiff_t a = 0; a < atoms->count; a++) {
            const sp_atom *atom = &atoms->atom[a];

            sum += (electrons > 0.0 ? atom->occupancy * atom->element : 1.0) * atom->position[axis];
        }
        centre[axis] = sum / (electrons > 0.0 ? electrons : (double)atoms->count);
    }
}

double sp_atoms_radius(const sp_atoms *atoms, const double centre[3])
{
    double radius = 0.0;

    for (ptrdiff_t a = 0; a < atoms->count; a++) {
        const double *r = atoms->atom[a].position;

        radius = fmax(radius, hypot(hypot(r[0] - centre[0], r[1] - centre[1]), r[2] - centre[2]));
    }
    return radius;
}

static ptrdiff_t wrap(ptrdiff_t index, ptrdiff_t n)
{
    return (index % n + n) % n;
}

/* Adds one atom to the fine grid of edge m, at `position` [cell] from cell 0. */
static void spread_atom(const sp_stencil *stencil, const double position[3], double occupancy, ptrdiff_t m, float *fine)
{
    float weight[3][WIDTH];
    ptrdiff_t first[3];

    for (int axis = 0; axis < 3; axis++) {
        first[axis] = sp_stencil_weights(stencil, position[axis], weight[axis]);
    }
    for (int i = 0; i < WIDTH; i++) {
        for (int j = 0; j < WIDTH; j++) {
            const float xy = (float)occupancy * weight[0][i] * weight[1][j];
            float *row = fine + (wrap(first[0] + i, m) * m + wrap(first[1] + j, m)) * m;

            for (int k = 0; k < WIDTH; k++) {
                row[wrap(first[2] + k, m)] += xy * weight[2][k];
            }
        }
    }
}

/* All atoms of one element; false: there is none. */
static bool spread_element(const sp_stencil *stencil, const sp_atoms *atoms, int element, const double centre[3],
                           double cell, ptrdiff_t m, float *fine)
{
    bool any = false;

    for (ptrdiff_t a = 0; a < atoms->count && !any; a++) {
        any = atoms->atom[a].element == element;
    }
    if (any) {
        memset(fine, 0, (size_t)(m * m * m) * sizeof *fine);
    }
    for (ptrdiff_t a = 0; a < atoms->count && any; a++) {
        const sp_atom *atom = &atoms->atom[a];

        if (atom->element == element) {
            const double position[3] = {(atom->position[0] - centre[0]) / cell, (atom->position[1] - centre[1]) / cell,
                                        (atom->position[2] - centre[2]) / cell};

            spread_atom(stencil, position, atom->occupancy, m, fine);
        }
    }
    return any;
}

/* Adds the element's part of F to the transform of the box (edge n): fine transform (edge m), without the stencil's
 * (factor [n], its inverse per axis), times the scattering factor.
 *   step  of the frequencies [1/m] */
static void add_element(int element, ptrdiff_t n, ptrdiff_t m, double step, double s_max, const double *factor,
                        const float complex *fine, float complex *half)
{
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < n * n; i++) {
        const ptrdiff_t x = i / n <= n / 2 ? i / n : i / n - n, y = i % n <= n / 2 ? i % n : i % n - n;
        const float complex *from = fine + (wrap(x, m) * m + wrap(y, m)) * (m / 2 + 1);

        for (ptrdiff_t z = 0; z <= n / 2; z++) {
            const double s = step * sqrt((double)(x * x + y * y + z * z));
            const bool nyquist = 2 * x == n || 2 * y == n || 2 * z == n; /* no partner at -n/2: left out */

            if (s <= s_max && !nyquist) {
                const double scale = factor[labs(x)] * factor[labs(y)] * factor[z] * sp_scattering_factor(element, s);

                half[i * (n / 2 + 1) + z] += (float)scale * from[z];
            }
        }
    }
}

sp_status sp_density_from_atoms(const sp_atoms *atoms, const double centre[3], ptrdiff_t n, double voxel, double s_max,
                                float *density)
{
    sp_status status = SP_OK;
    const ptrdiff_t m = sp_fft_good_size(2 * n);
    const double cell = voxel * (double)n / (double)m, step = 1.0 / (voxel * (double)n);
    sp_fft *fine_plan = NULL, *plan = NULL;
    float *fine = NULL, *box = NULL;
    float complex *fine_half = NULL, *half = NULL;
    double *factor = NULL;
    sp_stencil stencil;

    SP_REQUIRE(n >= 4 && n <= 512, SP_ERR_USAGE, "density edge %td is not in 4..512", n);
    SP_TRY(sp_fft_new(m, &fine_plan));
    SP_TRY(sp_fft_new(n, &plan));
    SP_TRY(SP_ARRAY(fine, m * m * m));
    SP_TRY(SP_ARRAY(fine_half, sp_fft_complex_count(fine_plan)));
    SP_TRY(SP_ARRAY(half, sp_fft_complex_count(plan)));
    SP_TRY(SP_ARRAY(box, n * n * n));
    SP_TRY(SP_ARRAY(factor, n / 2 + 1));
    sp_stencil_init(WIDTH, &stencil);
    for (ptrdiff_t k = 0; k <= n / 2; k++) {
        factor[k] = 1.0 / sp_stencil_transform(&stencil, (double)k / (double)m);
    }
    for (int element = 1; element <= SP_SCATTERING_ELEMENTS; element++) {
        if (spread_element(&stencil, atoms, element, centre, cell, m, fine)) {
            sp_fft_forward(fine_plan, fine, fine_half);
            add_element(element, n, m, step, s_max, factor, fine_half, half);
        }
    }
    sp_fft_backward(plan, half, box);
    for (ptrdiff_t i = 0; i < n * n * n; i++) { /* from FFT order to the centre */
        const ptrdiff_t x = i / (n * n), y = i / n % n, z = i % n;

        density[i] = box[(wrap(x - n / 2, n) * n + wrap(y - n / 2, n)) * n + wrap(z - n / 2, n)] / (float)(n * n * n);
    }
done:
    sp_array_free(factor);
    sp_array_free(box);
    sp_array_free(half);
    sp_array_free(fine_half);
    sp_array_free(fine);
    sp_fft_free(plan);
    sp_fft_free(fine_plan);
    return status;
}
