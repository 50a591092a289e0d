/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/likelihood.h -- how well a pattern explains an image, and which turn would explain it better: the sums over
 * pixels of phases/match, in one pass (docs/algorithm.md, eq. 5, 7, 9).
 *
 *   m       = (intensity + base) share expected                   mean count at scale 1
 *   score   = sum_p -k ln(1 + r/m) - scale r sum_p ln(1 + m/r)
 *   slope_i = sum_p (k - scale m) d_i m / v                       v = m (1 + m/r), d_i m = turn_i share expected
 *   information_ij = scale sum_p d_i m d_j m / v
 *
 * One table per instruction set (num/isa.h), and `ref`: plain loops in double precision, the oracle of the others. */
#include <stddef.h>

#include "num/isa.h"

/* What does not depend on the image. */
typedef struct sp_likelihood_model {
    const float *base;     /* [pixels] added to the intensity */
    const float *expected; /* [pixels] counts per unit of intensity */
    float share;           /* 1 / (1 + floor) */
    float dispersion;      /* r > 0 */
} sp_likelihood_model;

typedef struct sp_likelihood_sums {
    double score;
    double slope[3];
    double information[3][3]; /* only i >= j is filled */
} sp_likelihood_sums;

/* Adds pixels first .. first + count - 1 to the sums; `count` is a few thousand at most, so that single precision holds
 * parts of them. Arrays of the image and the pattern begin at pixel `first`.
 *   k          in      [count] photons            intensity  in  [count] >= 0
 *   turn       in      three arrays [count] derivatives of the intensity, or NULL: only the score is wanted
 *   scale      of the image                                                                                        */
typedef void sp_likelihood_kernel(const sp_likelihood_model *model, ptrdiff_t first, ptrdiff_t count, const float *k,
                                  float scale, const float *intensity, const float *const turn[3],
                                  sp_likelihood_sums *sums);

typedef struct sp_likelihood_kernels {
    const char *name;
    sp_likelihood_kernel *add;
} sp_likelihood_kernels;

extern const sp_likelihood_kernels sp_likelihood_ref;

/* The table of an instruction set; the next best one where the program was not compiled for it. */
const sp_likelihood_kernels *sp_likelihood_kernels_for(sp_isa isa);
