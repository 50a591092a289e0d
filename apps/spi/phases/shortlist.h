/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/shortlist.h -- private to match and polar: the few best of many scores. */
#include <stddef.h>

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
