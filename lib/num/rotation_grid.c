/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/rotation_grid.h"

#include <math.h>
#include <stdlib.h>

#include "base/memory.h"

enum { RNG_MEASURE = 101 }; /* purpose of the random rotations that measure a grid */

/* The rotation of the molecule that brings direction (theta, phi) onto the beam. */
static sp_quat direction_turn(double cos_theta, double phi)
{
    const double z[3] = {0.0, 0.0, 1.0}, y[3] = {0.0, 1.0, 0.0};

    return sp_quat_multiply(sp_quat_from_axis_angle(y, -acos(cos_theta)), sp_quat_from_axis_angle(z, -phi));
}

sp_status sp_rotation_grid_init(ptrdiff_t count, sp_rotation_grid *grid)
{
    const double golden = 0.5 * (sqrt(5.0) - 1.0);
    const double z[3] = {0.0, 0.0, 1.0};
    sp_status status = SP_OK;
    sp_quat *q = NULL;
    ptrdiff_t angles = 0, directions = 0;

    SP_REQUIRE(count >= 8 && count <= 10000000, SP_ERR_USAGE, "%td rotations are not in 8..10000000", count);
    /* step = 2 pi / angles in plane and sqrt(4 pi / directions) across: equal for angles^3 = pi count */
    angles = (ptrdiff_t)lround(cbrt(M_PI * (double)count));
    directions = (ptrdiff_t)lround((double)count / (double)angles);
    SP_TRY(SP_ARRAY(q, directions * angles));
    for (ptrdiff_t d = 0; d < directions; d++) {
        const double cos_theta = 1.0 - (2.0 * (double)d + 1.0) / (double)directions;
        const sp_quat turn = direction_turn(cos_theta, 2.0 * M_PI * fmod((double)d * golden, 1.0));

        for (ptrdiff_t a = 0; a < angles; a++) {
            const double angle = 2.0 * M_PI * ((double)a + fmod((double)d * golden * golden, 1.0)) / (double)angles;

            q[d * angles + a] = sp_quat_multiply(sp_quat_from_axis_angle(z, angle), turn);
        }
    }
    *grid = (sp_rotation_grid){.directions = directions, .angles = angles, .count = directions * angles, .q = q};
    q = NULL;
done:
    sp_array_free(q);
    return status;
}

void sp_rotation_grid_clear(sp_rotation_grid *grid)
{
    sp_array_free(grid->q);
    *grid = (sp_rotation_grid){0};
}

static int compare_doubles(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

sp_status sp_rotation_grid_measure(sp_rotation_grid *grid, ptrdiff_t samples)
{
    sp_status status = SP_OK;
    double *distance = NULL; /* [samples] to the nearest grid point [rad] */

    SP_TRY(SP_ARRAY(distance, samples));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < samples; i++) {
        sp_rng rng = sp_rng_stream(0, RNG_MEASURE, (uint64_t)i);
        const sp_quat r = sp_quat_random(&rng);
        double best = 0.0;

        for (ptrdiff_t g = 0; g < grid->count; g++) {
            const sp_quat q = grid->q[g];
            const double dot = fabs(r.w * q.w + r.x * q.x + r.y * q.y + r.z * q.z);

            best = dot > best ? dot : best;
        }
        distance[i] = 2.0 * acos(best < 1.0 ? best : 1.0);
    }
    qsort(distance, (size_t)samples, sizeof *distance, compare_doubles);
    grid->typical = distance[samples / 2];
    grid->covering = distance[samples - 1];
done:
    sp_array_free(distance);
    return status;
}

ptrdiff_t sp_rotation_grid_count_for_step(double step)
{
    return (ptrdiff_t)lround(8.0 * M_PI * M_PI / (step * step * step));
}
