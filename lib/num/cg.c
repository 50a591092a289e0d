/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/cg.h"

#include <math.h>
#include <string.h>

#include "num/sums.h"

/* Vectors are worked on in so many pieces, by as many threads as there are; sums of pieces are added in their order. */
enum { PIECES = 64, FEW = 1 << 15 /* elements: not worth waking other threads for */ };

typedef struct piece {
    ptrdiff_t first, count;
} piece;

static piece piece_of(ptrdiff_t count, int number)
{
    const ptrdiff_t first = count * number / PIECES;

    return (piece){first, count * (number + 1) / PIECES - first};
}

static double add_up(const double *part)
{
    double sum = 0.0;

    for (int i = 0; i < PIECES; i++) {
        sum += part[i];
    }
    return sum;
}

static double dot(const float *a, const float *b, ptrdiff_t count)
{
    double part[PIECES];

#pragma omp parallel for schedule(static) if (count > FEW)
    for (int i = 0; i < PIECES; i++) {
        const piece p = piece_of(count, i);

        part[i] = sp_dot(a + p.first, b + p.first, p.count);
    }
    return add_up(part);
}

/* residual = b - A x; returns its squared norm. */
static double fresh_residual(sp_cg_operator *apply, void *context, ptrdiff_t count, const float *b, const float *x,
                             float *residual)
{
    apply(context, x, residual);
    for (ptrdiff_t i = 0; i < count; i++) {
        residual[i] = b[i] - residual[i];
    }
    return dot(residual, residual, count);
}

/* x += alpha direction, residual -= alpha product; returns the squared norm of the residual. */
static double step(float alpha, ptrdiff_t count, const float *direction, const float *product, float *x,
                   float *residual)
{
    double part[PIECES];

#pragma omp parallel for schedule(static) if (count > FEW)
    for (int k = 0; k < PIECES; k++) {
        const piece p = piece_of(count, k);

        for (ptrdiff_t i = p.first; i < p.first + p.count; i++) {
            x[i] += alpha * direction[i];
            residual[i] -= alpha * product[i];
        }
        part[k] = sp_dot(residual + p.first, residual + p.first, p.count);
    }
    return add_up(part);
}

/* direction = residual + beta direction */
static void turn(float beta, ptrdiff_t count, const float *residual, float *direction)
{
#pragma omp parallel for schedule(static) if (count > FEW)
    for (ptrdiff_t i = 0; i < count; i++) {
        direction[i] = residual[i] + beta * direction[i];
    }
}

sp_cg_result sp_cg_solve(sp_cg_operator *apply, void *context, ptrdiff_t count, const float *b, float *x,
                         double tolerance, int iterations, float *work)
{
    float *residual = work, *direction = work + count, *product = work + 2 * count;
    const double goal = tolerance * tolerance * dot(b, b, count);
    double square = fresh_residual(apply, context, count, b, x, residual);
    sp_cg_result result = {0};

    memcpy(direction, residual, (size_t)count * sizeof *direction);
    while (square > goal && result.iterations < iterations) {
        apply(context, direction, product);
        const double curvature = dot(direction, product, count);

        if (!(curvature > 0.0)) { /* A is not positive here, or a NaN: stop with what there is */
            break;
        }
        const double next = step((float)(square / curvature), count, direction, product, x, residual);

        turn((float)(next / square), count, residual, direction);
        square = next;
        result.iterations++;
    }
    result.converged = square <= goal;
    result.residual = goal > 0.0 ? tolerance * sqrt(fresh_residual(apply, context, count, b, x, residual) / goal) : 0.0;
    return result;
}
