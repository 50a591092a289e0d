/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/nufft_problem.h -- for bench/nufft.c: the points and volumes that transforms are timed on, and the truth. */
#include <complex.h>
#include <stdbool.h>
#include <stddef.h>

#include "bench/specimen.h"

enum {
    SP_PROBLEM_EDGE = 80,   /* SpiniFEL's is 81; ours are even */
    SP_PROBLEM_CHECKED = 8, /* slices that points of type 2 are checked on */
    SP_PROBLEM_POINTS = 4096,
    SP_PROBLEM_SPREAD = 4, /* slices that are spread to check type 1 */
    SP_PROBLEM_PLACES = 192,
};

typedef struct sp_problem {
    sp_slices slices;
    float *volume;          /* [EDGE^3] for type 2 */
    float *value;           /* [slices][pixels] out of type 2; data into type 1 */
    float *weight;          /* [slices][pixels] into type 1 */
    float *angle[3];        /* [slices][pixels] the points as FINUFFT wants them [rad] */
    float complex *half[2]; /* [slices][pixels] values of FINUFFT */
    float complex *modes;   /* [EDGE^3] volume of FINUFFT */
    double *truth;          /* [POINTS] of type 2 */
    ptrdiff_t (*place)[3];  /* [PLACES] voxels where type 1 is checked */
    double *truth1[2];      /* [PLACES] of type 1: data, weights */
} sp_problem;

/* Everything but what type 1 needs. Release with sp_problem_clear(). Fails with SP_ERR_MEMORY. */
sp_status sp_problem_init(ptrdiff_t slices, sp_problem *problem);
void sp_problem_clear(sp_problem *problem);

/* `value` holds intensities: makes data and weights as merging has them, weights that grow as |s|^2 and data that are
 * weights times intensities, and the truth of type 1. */
void sp_problem_load_type1(sp_problem *problem);

/* FINUFFT's values of type 1: data and weights for two calls, or one complex number for one. */
void sp_problem_load_rival(sp_problem *problem, bool two_calls);

/* Errors of a transform of the first CHECKED slices in `value` (or in `half[0]`): of all points, where the bright ones
 * near the centre count most, and within each of eight shells of |k|, the median of these. */
double sp_problem_error2(const sp_problem *problem, bool rival, double *local);

/* Errors of a transform of the first SPREAD slices: `volume` is the sum of data (which = 0) or weights (1). */
double sp_problem_error1(const sp_problem *problem, const float *volume, int which);

/* Of what FINUFFT left in `modes`: the weights of the second call, or both. */
double sp_problem_error1_rival(const sp_problem *problem, bool two_calls);
