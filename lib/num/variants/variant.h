/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/variants/variant.h -- for the files of num/variants alone: vectors of the instruction set they are compiled for.
 *
 *   SP_LANES           floats in a vector: 4, 8 or 16
 *   SP_VARIANT(name)   name with the instruction set at its end: what such a file exports */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define SP_PASTE_(a, b) a##_##b
#define SP_PASTE(a, b) SP_PASTE_(a, b)
#define SP_VARIANT(name) SP_PASTE(name, SP_ISA)

typedef float sp_floats __attribute__((vector_size(4 * SP_LANES)));            /* aligned */
typedef float sp_loose __attribute__((vector_size(4 * SP_LANES), aligned(4))); /* anywhere in memory */
typedef int32_t sp_ints __attribute__((vector_size(4 * SP_LANES)));

static inline sp_floats sp_load(const float *p)
{
    return *(const sp_loose *)p;
}

static inline void sp_store(float *p, sp_floats v)
{
    *(sp_loose *)p = v;
}

static inline sp_floats sp_spread(float x)
{
    return x - (sp_floats){0};
}

/* x[0] x[1] x[0] x[1] ... */
static inline sp_floats sp_spread_pair(const float *x)
{
    typedef int64_t pairs __attribute__((vector_size(4 * SP_LANES)));
    int64_t both;

    memcpy(&both, x, sizeof both);
    return (sp_floats)(both - (pairs){0});
}
