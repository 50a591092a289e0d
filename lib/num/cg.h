/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/cg.h -- conjugate gradients for A x = b, A symmetric and positive definite (Hestenes and Stiefel 1952).
 * Vectors in single precision, scalars and sums in double. */
#include <stddef.h>

#include "base/error.h"

/* out = A in; both [count]. `context` is whatever the caller handed to sp_cg_solve(). */
typedef void sp_cg_operator(void *context, const float *in, float *out);

typedef struct sp_cg_result {
    int iterations;
    double residual; /* |b - A x| / |b|, computed afresh at the end, not the recursive value */
    int converged;   /* residual <= tolerance by the recursive value */
} sp_cg_result;

/* Improves x until |b - A x| <= tolerance |b| or `iterations` are used up.
 *   b  in [count];  x  in: start, out: solution [count];  work  [3 * count] scratch
 * Cannot fail: a breakdown ends the loop and shows in the result. The same bits for any number of threads. */
sp_cg_result sp_cg_solve(sp_cg_operator *apply, void *context, ptrdiff_t count, const float *b, float *x,
                         double tolerance, int iterations, float *work);
