/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/phase_point.h -- what phasing does to one voxel or frequency: shared by the processor and GPUs
 * (base/shared.h). Both compute it in single precision. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/shared.h"

enum { SP_PHASE_RNG_START = 201 }; /* purpose of the random first densities (base/rng.h) */

/* Amplitude of a frequency that the density may choose. */
#define SP_PHASE_UNKNOWN (-1.0f)

/* Frequency or coordinate of index i of n. */
SP_SHARED ptrdiff_t sp_phase_signed(ptrdiff_t i, ptrdiff_t n)
{
    return i <= n / 2 ? i : i - n;
}

/* |F| - A */
SP_SHARED float sp_phase_off(float re, float im, float amplitude)
{
    return sqrtf(re * re + im * im) - amplitude;
}

/* Step of RAAR: projected where it is in the support and positive after reflection (2 projected > density), elsewhere
 * relaxed. `&` and not `&&`: without branches it vectorises. */
SP_SHARED float sp_phase_relaxed(uint8_t support, float projected, float density, float beta)
{
    const float relaxed = beta * density + (1.0f - 2.0f * beta) * projected;
    const bool keep = (support != 0) & (2.0f * projected > density);

    return keep ? projected : relaxed;
}

/* Step of error reduction: projected where it is in the support and positive, else 0. */
SP_SHARED float sp_phase_cut(uint8_t support, float projected)
{
    const bool keep = (support != 0) & (projected > 0.0f);

    return keep ? projected : 0.0f;
}

/* Voxels, 0 .. n-1, from voxel 0 to the periodic centre of mass along an axis: it is the phase of the first Fourier
 * component, re + i im = sum_r density exp(+2 pi i r / n). */
SP_SHARED ptrdiff_t sp_phase_centre(double re, double im, ptrdiff_t n)
{
    const double turns = atan2(im, re) / (2.0 * M_PI);

    return ((ptrdiff_t)lround(turns * (double)n) + n) % n;
}

/* Has the support vanished, or exploded: filled the ball of this radius? Both in voxels. */
SP_SHARED bool sp_phase_is_dropped(double volume, double radius)
{
    const double least = 8.0, filled = 0.9, ball = 4.0 / 3.0 * M_PI * pow(radius, 3.0);

    return volume < least || volume > filled * ball;
}
