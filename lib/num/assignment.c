/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/assignment.h"

#include <math.h>
#include <stdbool.h>

#include "base/memory.h"

/* Rows and columns are counted from 1; column 0 stands for the row that is being placed. */
typedef struct plan {
    ptrdiff_t n;
    const double *gain;
    double *row_price, *column_price; /* [n + 1] gain <= sum of both prices, equal where assigned */
    ptrdiff_t *row;                   /* [n + 1] of a column; 0: free */
    ptrdiff_t *before;                /* [n + 1] column before this one on the path */
    double *slack;                    /* [n + 1] least that prices must fall for a step to this column */
    bool *seen;                       /* [n + 1] columns on the way */
} plan;

/* The column outside the path that is reached next, prices adjusted so that it is. */
static ptrdiff_t reach_next(plan *p, ptrdiff_t from)
{
    const ptrdiff_t i = p->row[from];
    double least = INFINITY;
    ptrdiff_t next = 0;

    p->seen[from] = true;
    for (ptrdiff_t j = 1; j <= p->n; j++) {
        const double slack = p->row_price[i] + p->column_price[j] - p->gain[(i - 1) * p->n + j - 1];

        if (!p->seen[j] && slack < p->slack[j]) {
            p->slack[j] = slack;
            p->before[j] = from;
        }
        if (!p->seen[j] && p->slack[j] < least) {
            least = p->slack[j];
            next = j;
        }
    }
    for (ptrdiff_t j = 0; j <= p->n; j++) {
        if (p->seen[j]) {
            p->row_price[p->row[j]] -= least;
            p->column_price[j] += least;
        } else {
            p->slack[j] -= least;
        }
    }
    return next;
}

/* Places row i, and moves those that stand in its way. */
static void place(plan *p, ptrdiff_t i)
{
    ptrdiff_t column = 0;

    p->row[0] = i;
    for (ptrdiff_t j = 0; j <= p->n; j++) {
        p->slack[j] = INFINITY;
        p->seen[j] = false;
    }
    while (p->row[column] != 0) {
        column = reach_next(p, column);
    }
    while (column != 0) {
        p->row[column] = p->row[p->before[column]];
        column = p->before[column];
    }
}

/* A price that no gain exceeds. */
static double highest(const plan *p, ptrdiff_t i)
{
    double most = -INFINITY;

    for (ptrdiff_t j = 0; j < p->n; j++) {
        most = fmax(most, p->gain[(i - 1) * p->n + j]);
    }
    return most;
}

sp_status sp_assign(ptrdiff_t n, const double *gain, ptrdiff_t *column)
{
    plan p = {.n = n, .gain = gain};
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(p.row_price, n + 1));
    SP_TRY(SP_ARRAY(p.column_price, n + 1));
    SP_TRY(SP_ARRAY(p.row, n + 1));
    SP_TRY(SP_ARRAY(p.before, n + 1));
    SP_TRY(SP_ARRAY(p.slack, n + 1));
    SP_TRY(SP_ARRAY(p.seen, n + 1));
    for (ptrdiff_t i = 1; i <= n; i++) {
        p.row_price[i] = highest(&p, i);
        place(&p, i);
    }
    for (ptrdiff_t j = 1; j <= n; j++) {
        column[p.row[j] - 1] = j - 1;
    }
done:
    sp_array_free(p.row_price);
    sp_array_free(p.column_price);
    sp_array_free(p.row);
    sp_array_free(p.before);
    sp_array_free(p.slack);
    sp_array_free(p.seen);
    return status;
}
