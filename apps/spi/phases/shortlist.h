/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/shortlist.h -- the few best of many scores, for each image; and what part of the image each of them gets. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* One of many that were compared: its place among them, and how well it did. */
typedef struct sp_candidate {
    int32_t index;
    float score;
} sp_candidate;

typedef struct sp_shortlists {
    int keep;                  /* per image */
    sp_candidate *best;        /* [images][keep] best first */
    const sp_candidate *above; /* [images][keep] lists of others; what does not enter those need not enter. Or NULL */
} sp_shortlists;

static inline void sp_shortlists_clear(const sp_shortlists *lists, ptrdiff_t images)
{
    for (ptrdiff_t i = 0; i < images * lists->keep; i++) {
        lists->best[i] = (sp_candidate){.index = 0, .score = -INFINITY};
    }
}

/* The list of one image [keep]. */
static inline sp_candidate *sp_shortlist_of(const sp_shortlists *lists, ptrdiff_t image)
{
    return lists->best + image * lists->keep;
}

/* Only scores above this are wanted for an image. */
static inline float sp_shortlist_threshold(const sp_shortlists *lists, ptrdiff_t image)
{
    const ptrdiff_t last = (image + 1) * lists->keep - 1;

    return lists->above ? fmaxf(lists->best[last].score, lists->above[last].score) : lists->best[last].score;
}

/* Puts a candidate into a list sorted by falling score; of equal scores the one that came first stays ahead.
 *   best  in, out  [keep] */
static inline void sp_shortlist_insert(sp_candidate *best, int keep, sp_candidate candidate)
{
    int place = keep - 1;

    if (!(candidate.score > best[place].score)) {
        return;
    }
    for (; place > 0 && candidate.score > best[place - 1].score; place--) {
        best[place] = best[place - 1];
    }
    best[place] = candidate;
}

/* Scores L of one list become shares of its image: proportional to exp(beta L), together 1. Below `least` of the first
 * one's they are 0. The list begins with a finite score.
 *   best  in, out  [keep] */
static inline void sp_shortlist_share(sp_candidate *best, int keep, double beta, double least)
{
    const double top = (double)best[0].score;
    double sum = 0.0;

    for (int i = 0; i < keep; i++) {
        const double part = exp(beta * ((double)best[i].score - top));

        best[i].score = part >= least ? (float)part : 0.0f;
        sum += (double)best[i].score;
    }
    for (int i = 0; i < keep; i++) {
        best[i].score = (float)((double)best[i].score / sum);
    }
}

/* All lists of `from`, whose candidates came later, into those of `into`. */
static inline void sp_shortlists_join(const sp_shortlists *into, const sp_candidate *from, ptrdiff_t images)
{
    for (ptrdiff_t i = 0; i < images * into->keep; i++) {
        sp_shortlist_insert(sp_shortlist_of(into, i / into->keep), into->keep, from[i]);
    }
}
