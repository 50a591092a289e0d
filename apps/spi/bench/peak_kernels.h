/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/peak_kernels.h -- loops that do nothing but what a core does fastest: the limits that kernels are held against.
 *
 * One table per instruction set (num/isa.h). The results of both are without meaning, and are returned so that no
 * compiler leaves the work out. */
#include <stddef.h>

#include "num/isa.h"

enum {
    SP_PEAK_CHAINS = 12,    /* sums side by side: latency (4) times units (2), and some more */
    SP_PEAK_READ = 16 * 16, /* floats that are read per turn: a multiple for every instruction set */
};

typedef struct sp_peak_kernels {
    const char *name;
    double operations; /* of one turn of multiply_add: multiplications and additions */
    float (*multiply_add)(ptrdiff_t turns);
    float (*read)(const float *x, ptrdiff_t count); /* count: a multiple of SP_PEAK_READ */
} sp_peak_kernels;

/* The table of an instruction set; of plain where the program was not compiled for it. */
const sp_peak_kernels *sp_peak_kernels_for(sp_isa isa);
