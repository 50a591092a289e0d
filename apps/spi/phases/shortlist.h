/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/shortlist.h -- the few best of many scores, for each image. */
#include <math.h>
#include <stddef.h>

typedef struct sp_shortlists {
    int keep;        /* per image */
    ptrdiff_t *best; /* [images][keep] index, best first */
    float *score;    /* [images][keep] */
} sp_shortlists;

static inline void sp_shortlists_clear(const sp_shortlists *lists, ptrdiff_t images)
{
    for (ptrdiff_t i = 0; i < images * lists->keep; i++) {
        lists->best[i] = 0;
        lists->score[i] = -INFINITY;
    }
}

/* Puts (index, value) into a list sorted by falling score; of equal values the one that came first stays ahead.
 *   best, score  in, out  [keep] */
static inline void sp_shortlist_insert(ptrdiff_t *best, float *score, int keep, ptrdiff_t index, float value)
{
    int place = keep - 1;

    if (!(value > score[place])) {
        return;
    }
    for (; place > 0 && value > score[place - 1]; place--) {
        best[place] = best[place - 1];
        score[place] = score[place - 1];
    }
    best[place] = index;
    score[place] = value;
}
