/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/cg.h"

#include <math.h>

#include "num/sums.h"

/* residual = b - A x; returns its squared norm. */
static double fresh_residual(sp_cg_operator *apply, void *context, ptrdiff_t count, const float *b, const float *x,
                             float *residual)
{
    apply(context, x, residual);
    for (ptrdiff_t i = 0; i < count; i++) {
        residual[i] = b[i] - residual[i];
    }
    return sp_dot(residual, residual, count);
}

sp_cg_result sp_cg_solve(sp_cg_operator *apply, void *context, ptrdiff_t count, const float *b, float *x,
                         double tolerance, int iterations, float *work)
{
    float *residual = work, *direction = work + count, *product = work + 2 * count;
    const double goal = tolerance * tolerance * sp_dot(b, b, count);
    double square = fresh_residual(apply, context, count, b, x, residual);
    sp_cg_result result = {0};

    for (ptrdiff_t i = 0; i < count; i++) {
        direction[i] = residual[i];
    }
    while (square > goal && result.iterations < iterations) {
        double curvature = 0.0, next = 0.0;

        apply(context, direction, product);
        curvature = sp_dot(direction, product, count);
        if (!(curvature > 0.0)) { /* A is not positive here, or a NaN: stop with what there is */
            break;
        }
        const float alpha = (float)(square / curvature);
        for (ptrdiff_t i = 0; i < count; i++) {
            x[i] += alpha * direction[i];
            residual[i] -= alpha * product[i];
        }
        next = sp_dot(residual, residual, count);
        const float beta = (float)(next / square);
        for (ptrdiff_t i = 0; i < count; i++) {
            direction[i] = residual[i] + beta * direction[i];
        }
        square = next;
        result.iterations++;
    }
    result.converged = square <= goal;
    result.residual = goal > 0.0 ? tolerance * sqrt(fresh_residual(apply, context, count, b, x, residual) / goal) : 0.0;
    return result;
}
