/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/rng.h -- counter-based random numbers: the same numbers on any number of threads.
 *
 * Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3", SC11). A stream is named
 * by (seed, purpose, index): give every image, start or trial its own index and draw from it in any order, on any
 * thread. Streams of different names are independent. */
#include <stdint.h>

/* One stream; 48 bytes, lives on the stack. */
typedef struct sp_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4]; /* numbers made and not yet given out */
    int left;          /* how many of them */
} sp_rng;

/* Stream number `index` for `purpose` (any constant that tells the uses apart) of the run with this seed. */
sp_rng sp_rng_stream(uint64_t seed, uint32_t purpose, uint64_t index);

uint32_t sp_rng_u32(sp_rng *rng);                  /* uniform on 0 .. 2^32-1 */
double sp_rng_uniform(sp_rng *rng);                /* uniform on (0,1): neither end occurs; 53 bits */
double sp_rng_normal(sp_rng *rng);                 /* Gaussian, mean 0, variance 1 */
uint64_t sp_rng_poisson(sp_rng *rng, double mean); /* Poisson, mean >= 0 (0 gives 0), mean <= 1e15 */
