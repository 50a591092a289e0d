/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/crew.h -- private to flow/: the steps of a reconstruction as launches of tasks (run/run.h).
 *
 * Images live in blocks. A crew is a block's images with what compares them; it never leaves its rank, and no image is
 * anywhere else. What is small (orientations, scores, scales; settings, grids of orientations) every rank has as plain
 * arrays in sp_loop: tasks read them there, since nothing of a loop changes while its tasks run, and give back what
 * they find through regions, which each step gathers at its end. */
#include "base/progress.h"
#include "flow/reconstruct.h"
#include "phases/match.h"
#include "phases/phase_starts.h"
#include "phases/polar.h"
#include "run/run.h"

/* Of one block of images. */
typedef struct sp_crew {
    ptrdiff_t first; /* number of its first image */
    sp_patterns patterns;
    sp_matcher *matcher;
    sp_polar_images *polar; /* NULL: dense */
} sp_crew;

/* What there is once for each conformation, on the grid of the present stage. */
typedef struct sp_conformation {
    sp_region *pair;            /* to spread images onto */
    sp_region *autocorrelation; /* [edge^3], like the next ones */
    sp_region *density, *model;
    sp_region *profile;   /* [shells + 1] sums of its images (phases/patterns.h) */
    sp_region *residual;  /* [1] of the merge */
    sp_region *amplitude; /* of the phasing */
    sp_region *start;     /* densities of the starts */
    sp_region *outcome;   /* of the starts */
    sp_region *work;      /* objects, by start: work spaces */
    sp_region *phased;    /* [1] sp_phase_result */
    sp_region *grid;      /* that patterns are cut from, of each rank */
} sp_conformation;

/* The best that is known of an image while conformation after conformation is compared with it. */
typedef struct sp_winner {
    sp_quat orientation;
    double fit; /* L (phases/match.h) */
    int32_t label;
} sp_winner;

/* Regions, by what they have an element for. */
typedef struct sp_crews {
    sp_run *run;
    ptrdiff_t per_block; /* images */
    int sharing;         /* ranks that make the search's patterns together */
    sp_space *images;    /* in blocks */
    sp_space *blocks;    /* one index for each block of images */
    sp_region *crew;     /* objects, by block of images */
    sp_region *looked;   /* by block: what a first look tells */
    sp_region *mean;     /* [pixels of the detector] sum of the images */
    sp_region *sums;     /* [4 shells + 3] for the profile: value, images with signal, bytes; for the contrast */
    sp_region *scale;    /* by image, like the next ones */
    sp_region *score;
    sp_region *winner;        /* sp_winner */
    sp_region *best, *better; /* shortlists of the search: of all so far; of the tiles under way */
    sp_region *pooled;        /* shortlists of all conformations together, then shares; NULL: images are not divided */
    sp_region *scatter;       /* [2 shells] */
    sp_conformation of[SP_CONFORMATIONS];
    sp_region *tile; /* features of directions, of each group of ranks that share them */
    sp_region *peak; /* by rank: the most memory that it has had */
    sp_region *seat; /* by rank: nothing but a place for tasks that run there */
} sp_crews;

typedef struct sp_loop sp_loop;

/* What does not depend on the images' content, on l->crews.run, which is not the loop's. All that follow fail with what
 * a task says (an image that cannot be read), SP_ERR_MEMORY. */
sp_status sp_crews_open(sp_loop *l);

/* How many images make a block; the most images that a rank will hold. */
ptrdiff_t sp_crews_block(ptrdiff_t images);
size_t sp_crews_reading_bytes(ptrdiff_t images, ptrdiff_t pixels); /* that each worker needs to read them */
ptrdiff_t sp_crews_share(const sp_run *run, ptrdiff_t images);
void sp_crews_close(sp_loop *l);

/* First look: mean image, whether all values are counts, noise.   mean  out  [pixels of the detector] */
sp_status sp_crews_look(sp_loop *l, double *mean);

/* Launches tasks that read the images into the bins of l->patterns.   progress  NULL: untold */
sp_status sp_crews_take(sp_loop *l, sp_progress *progress);

/* The same, to its end; l->patterns gets its profile. Fails with SP_ERR_INPUT if all are empty. */
sp_status sp_crews_read(sp_loop *l);

/* When the noise is known: the scale of each image, relative to their mean. */
sp_status sp_crews_scale(sp_loop *l);

/* The most memory that each rank has had so far -> the state. */
sp_status sp_crews_measure_memory(sp_loop *l);

/* Matchers by l->matching and l->polar. */
sp_status sp_crews_equip(sp_loop *l);

/* Everything whose size follows from the grid of the density and the number of starts. */
sp_status sp_crews_make_stage(sp_loop *l);

/* Steps of a generation, each for all conformations that do not rest. All images in the state's orientations, each for
 * its conformation
 * -> autocorrelations, and l->profile.
 *   residual  out  [conformations] 0 for one that rests */
sp_status sp_crews_merge(sp_loop *l, double *residual);

/* Autocorrelations -> starts -> the best densities, also in l->density. Then the means of those that agree, in the
 * state, and the autocorrelations where it has room for them.   result, entered  out  [conformations] */
sp_status sp_crews_phase(sp_loop *l, sp_phase_result *result);
sp_status sp_crews_average(sp_loop *l, int *entered);

/* The densities become the models, also in l->model. */
sp_status sp_crews_load_model(sp_loop *l);

/* The best orientation of each image, and the conformation that it belongs to -> l->orientation, l->label: by search on
 * the grid, and refinement from what that finds. Scores and scales in given orientations -> l->score, l->scale. */
sp_status sp_crews_match(sp_loop *l);
sp_status sp_crews_assess(sp_loop *l, const sp_quat *orientation, const int32_t *label, double *dispersion);

/* The scales of the state become those that images are compared and merged with. */
sp_status sp_crews_adopt_scales(sp_loop *l);
