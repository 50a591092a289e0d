/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/crew_order.h -- private to flow/crew*: what the tasks of a step are told, and who has which images. */
#include <math.h>

#include "flow/loop.h"

/* What tasks are told; they change nothing of the loop. */
typedef struct order {
    const sp_loop *loop;
    ptrdiff_t first;
    const sp_quat *orientation;
    const int32_t *label;
    int conformation;
    sp_progress *progress; /* NULL: not for so short a step */
} order;

static inline const order *order_of(const sp_task *t)
{
    return sp_task_values(t);
}

/* ---- images ---- */

static inline ptrdiff_t blocks_of(const sp_loop *l)
{
    return sp_space_blocks(l->crews.images);
}

/* First block of a rank: block b of B lives on rank b ranks / B. */
static inline ptrdiff_t first_of_rank(const sp_loop *l, ptrdiff_t rank)
{
    const ptrdiff_t ranks = sp_run_ranks(l->crews.run);

    return (rank * blocks_of(l) + ranks - 1) / ranks;
}

/* ---- matching ---- */

enum { CLIMB_STEPS = 4 }; /* of the refinement */

/* What conformation k makes of an image, if it does better than those before; the first one always does. */
static inline void challenge(sp_winner *winner, int k, sp_quat orientation, double fit)
{
    if (winner->label < 0 || fit > winner->fit) {
        *winner = (sp_winner){.orientation = orientation, .fit = fit, .label = k};
    }
}
