/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/phasing.h -- for tests: what those of phase, phase_starts and phaser share. */
#include "phases/blobs.h"
#include "phases/phase.h"

enum { EDGE = 16, CUBE = EDGE * EDGE * EDGE };

static const double S_MAX = 1e12; /* [1/m] beyond the grid: every frequency is known */

/* Blobs near voxel 0, each summed over the grid voxel by voxel. Free with sp_array_free(). */
static inline float *phasing_density(void)
{
    const blobs particle = blobs_random(17, 2.8, 0.8);
    float *density = NULL;

    assert_int_equal(SP_ARRAY(density, CUBE), SP_OK);
    for (ptrdiff_t x = -EDGE / 2 + 1; x <= EDGE / 2; x++) {
        for (ptrdiff_t y = -EDGE / 2 + 1; y <= EDGE / 2; y++) {
            for (ptrdiff_t z = -EDGE / 2 + 1; z <= EDGE / 2; z++) {
                for (int j = 0; j < BLOBS; j++) {
                    const double *at = particle.at[j], a = (double)x - at[0] / VOXEL, b = (double)y - at[1] / VOXEL,
                                 c = (double)z - at[2] / VOXEL;

                    density[blobs_index(EDGE, x, y, z)] +=
                        (float)(particle.height[j] * exp(-0.5 * (a * a + b * b + c * c) / (0.8 * 0.8)));
                }
            }
        }
    }
    return density;
}

static inline sp_phase_settings phasing_settings(int starts)
{
    return (sp_phase_settings){.starts = starts,
                               .cycles = 8,
                               .raar_steps = 20,
                               .er_steps = 5,
                               .final_steps = 20,
                               .beta = 0.9,
                               .blur_first = 1.2,
                               .blur_last = 0.6,
                               .threshold = 0.1,
                               .radius = 5.5 * VOXEL,
                               .seed = 1};
}
