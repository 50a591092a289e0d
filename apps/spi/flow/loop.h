/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/loop.h -- private to flow/: what lives as long as a reconstruction, and the steps that it is made of.
 *
 *   intake.c       images into patterns, and every setting that the user left open
 *   workspace.c    memory, and the random orientations of an attempt
 *   crew.c         the steps of a generation as tasks on blocks of images
 *   crew_gpu.c     those that GPUs do, one of each rank
 *   gpu.c          the GPU of this rank
 *   conformations.c  how the images are shared out between conformations
 *   generation.c   merge, phase, match, assess, accept or refuse
 *   attempts.c     whether another attempt follows, with as many conformations or with more; the best of them
 *   reconstruct.c  from stage to stage, from attempt to attempt, to the end
 *   checkpoint.c   what of it a generation hands to the next: a new member that does belongs into its lists */
#include "base/log.h"
#include "flow/crew.h"
#include "flow/gpu.h"
#include "flow/reconstruct.h"
#include "num/rotation_grid.h"
#include "phases/match.h"
#include "phases/merge.h"
#include "phases/patterns.h"
#include "phases/phaser.h"
#include "phases/slice.h"

enum {
    CG_ITERATIONS = 20, /* the residual is 1e-3 then; more only fits noise */
    FINAL_STARTS = 3,   /* times the starts of a generation, in rounds, for the final phasing */
    KEEP = 3,           /* candidates of the search that are refined */
    SHARES = 32,        /* candidates of the search that a Poisson image is divided among */
    MIN_IMAGES = 10,
    MAX_REFUSED = 3, /* in a row */
    HELD_OUT = 31,   /* in place of a label where images are merged */
};

static const double LAMBDA = 1e-3;          /* merge regularisation: frequencies measured less well than this fade */
static const double FIRST_DISPERSION = 1.0; /* the model knows nothing: speckle statistics */

/* Everything that lives as long as the loop. */
struct sp_loop {
    /* the images, and what compares them */
    sp_image_file *file;
    sp_log *log;
    sp_pixels pixels;
    float *correction;    /* [pixels of the detector] solid angle times polarisation */
    sp_patterns patterns; /* their layout and profile: the images are with the crews */
    sp_crews crews;
    sp_rank_gpu *gpu;     /* NULL: processors do everything */
    uint64_t fingerprint; /* of the images, < 2^53 */
    double noise;         /* variance / mean of the values, also where the user wants it ignored; 0: none is seen */
    double values;        /* [byte] that the images take */
    sp_polar *polar;      /* NULL: the dense route */
    sp_match_settings matching;
    sp_rotation_grid grid; /* of the search */
    bool grid_follows;     /* the reach; else the user chose its size */
    bool whole;            /* all values of good pixels are counts */
    int keep;              /* candidates of the search, of each image: KEEP, or SHARES */

    /* models */
    sp_slicer *slicer;
    sp_merger *merger[SP_CONFORMATIONS]; /* alike: each of them solves for one conformation */
    sp_phase_plan *plan;
    sp_phase_settings phasing;
    double box;      /* [m] edge of the density, on any grid */
    double *profile; /* [SP_CONFORMATIONS][shells] mean intensity of the merged images of each */
    float *model;    /* [conformations][edge^3] autocorrelation of the phased density, scaled to the images' profile */
    float *last_model; /* [conformations][edge^3] of the generation before */
    float *density;    /* [conformations][edge^3] of this generation, until it is accepted */
    int conformations;
    int starts; /* of phasing that there is room for */

    /* the generation being made */
    sp_reconstruction *state;
    sp_generation now;
    double s_max;         /* [1/m] of the reconstruction */
    double reach;         /* [1/m] of the present generation: the search begins with less */
    double dispersion;    /* in use */
    double measured;      /* dispersion that the images of this generation show */
    double stirring;      /* [rad] median turn of the images that stayed where they were */
    double crossing;      /* share of the images that changed sides */
    sp_quat *orientation; /* [images] of this generation, until it is accepted */
    int32_t *label;       /* [images] conformation, likewise */
    int32_t *place;       /* [images][keep] conformation * orientations + number in the grid, likewise; or NULL */
    float *share;         /* [images][keep] of the image that is there: they sum up to 1; or NULL */
    ptrdiff_t points;     /* accepted images stand in these orientations, in shares; 0: each in one */
    sp_quat *point;       /* [points] the grid of that generation */
    int32_t *placed;      /* [images][keep] in place of the state's orientations */
    float *shared;        /* [images][keep] */
    float *score;         /* [images] */
    float *scale;         /* [images] */
    int32_t *merged;      /* [images] scratch: label, or HELD_OUT */
    double *nearness;     /* [images] scratch */
    double *mark;         /* [SP_CONFORMATIONS] mean score that each has reached at full detail; -1: none yet */
    double *standing;     /* [SP_CONFORMATIONS] accepted generations since then */
    uint32_t resting;     /* conformations that have converged, bit k: they and their images cost nothing */
    uint32_t still;       /* whose images neither turned nor changed sides in this generation, likewise */
    int batches; /* that the images of a generation are parted into: the model for one is made of the one before */
    int batch;   /* being matched */

    /* the attempt, and others */
    bool refining;          /* the search has settled: refine each image */
    bool complete;          /* the final merge: of all images */
    bool automatic;         /* the number of conformations is looked for */
    int refined;            /* accepted generations with refinement */
    int refused;            /* in a row */
    int seeded;             /* conformations that had died, in this attempt */
    int attempt;            /* 0 based */
    int first;              /* generation of this attempt */
    int scored_from;        /* the first generation whose score is a measure for the next */
    int found;              /* conformations, at the end of this attempt: filled, and no copies of others */
    int trial_first;        /* attempt with this number of them */
    int kept_conformations; /* of the best attempt before this one */
    double kept_score;      /* of it; 0: none */
    double kept_residual;   /* of its phasing */
    sp_quat *kept;          /* [images] its orientations */
    int32_t *kept_label;    /* [images] */
    float *kept_each;       /* [images] its scores */
    double wall, cpu;       /* clocks at the last lap */
};

/* SP_ERR_INTERRUPT if the user wants to stop, on any rank. */
sp_status sp_loop_check_interrupt(const sp_loop *l, const char *where);

/* ---- intake ---- */

/* Reads the images twice: for their mean, noise and size; then into the bins chosen from these.
 * Fails with SP_ERR_INPUT, SP_ERR_USAGE, SP_ERR_MEMORY, SP_ERR_INTERRUPT. */
sp_status sp_loop_read(sp_loop *l);

/* Is there photon noise, and how much is one photon, in what images are matched with (the state's quantum) and in what
 * their scores are judged by (l->noise)? From what was measured, and the profile. */
void sp_loop_choose_noise(sp_loop *l);

/* Are orientations refined? The Euclidean baseline has none, as published. */
bool sp_loop_climbs(const sp_reconstruct_settings *s);

/* Are photons so few that coarse detail alone does not tell orientations? */
bool sp_loop_is_sparse(const sp_loop *l);

/* What the search compares [1/m], at first and in the end; only refinement lets in more. They differ for sparse images.
 */
double sp_loop_first_reach(const sp_loop *l);
double sp_loop_search_reach(const sp_loop *l);

/* How many batches a generation has while searching: few images are one. Each batch is matched with a model that it
 * has no part in, so that images do not lock each other in, and a generation makes as many steps. */
int sp_loop_search_batches(const sp_loop *l);

/* Candidates that the search keeps of each image; are they more than refinement takes, for images in shares? */
int sp_loop_keep(const sp_reconstruct_settings *s);
bool sp_loop_divides(const sp_loop *l);

/* Orientations of any grid of the search, at most. */
ptrdiff_t sp_loop_most_points(const sp_loop *l);

/* Angle of a speckle at the finest detail of this generation that the detector covers all round [rad]. */
double sp_loop_speckle(const sp_loop *l);

ptrdiff_t sp_loop_cube(const sp_loop *l); /* edge^3 */

/* Bins within reach. */
ptrdiff_t sp_loop_pixels(const sp_loop *l);

/* Orientations of a search that tells speckles of this angle [rad] apart. */
int sp_loop_orientations(const sp_loop *l, double speckle);

/* ---- workspace ---- */

/* Brings the tools of a generation to the present reach: the grid of the search, the grid of the density (in a box that
 * stays), slicer, merger and phaser, what is compared. While searching, the grid of orientations is turned at random
 * for each generation: on a grid that stands still, images lock each other in. Once refining that is wanted: the images
 * of a nearly symmetric particle then choose one of its near equivalents each and stay. Fails with SP_ERR_MEMORY,
 * SP_ERR_USAGE. */
sp_status sp_loop_make_stage(sp_loop *l);

/* Everything that a generation needs, and the first attempt. Fails with SP_ERR_MEMORY, SP_ERR_USAGE. */
sp_status sp_loop_make_workspace(sp_loop *l);

/* Which images are held out, by the settings; few would tell nothing, and then there are none. Fails with SP_ERR_USAGE
 * where they are to tell the number of conformations. */
sp_status sp_loop_hold_out(sp_loop *l);

/* Random orientations, and trust in nothing. */
void sp_loop_begin_attempt(sp_loop *l);

/* So many conformations from now on; their densities are to be made, and the stage. Fails with SP_ERR_MEMORY. */
sp_status sp_loop_set_conformations(sp_loop *l, int conformations);

/* Frees all but the state. */
void sp_loop_clear(sp_loop *l);

/* ---- conformations ---- */

/* While searching, a conformation that has lost its images gets half of those of the largest one. They begin alike but
 * for chance, in one frame, and with equal phasing starts, so that what tells them apart is what their images show. */
void sp_loop_reseed(sp_loop *l);

/* Is conformation k out of the loop? */
static inline bool sp_loop_rests(const sp_loop *l, int32_t k)
{
    return l->resting >> k & 1u;
}

/* Takes image n no part in the matching under way, its conformation resting or its block not of the batch?
 *   label  in  [images] NULL: only its block is asked for */
static inline bool sp_loop_is_idle(const sp_loop *l, ptrdiff_t n, const int32_t *label)
{
    return (label && sp_loop_rests(l, label[n])) || n / l->crews.per_block % l->batches != l->batch;
}

/* Is image n among those that are assessed now, with conformation k?   label  in  [images] */
static inline bool sp_loop_is_assessed(const sp_loop *l, ptrdiff_t n, int32_t k, const int32_t *label)
{
    return !sp_loop_is_idle(l, n, NULL) && label[n] == k;
}

/* Is image n among those that the model is made of? */
static inline bool sp_loop_is_merged(const sp_loop *l, ptrdiff_t n)
{
    const int before = (l->batch + l->batches - 1) % l->batches;

    return l->complete || (!l->state->held_out[n] && n / l->crews.per_block % l->batches == before);
}

/* Which conformations lie still in this generation, before it is accepted; then, how long their scores have stood. */
void sp_loop_watch_conformations(sp_loop *l);
void sp_loop_mark_conformations(sp_loop *l);

/* Nothing is known of any conformation; all are in the loop. */
void sp_loop_wake_conformations(sp_loop *l);

/* Lets those rest that lie still and whose scores have stood for so many generations. Returns whether all do. */
bool sp_loop_rest_conformations(sp_loop *l, int generations);

/* ---- generation ---- */

/* The time since the last call goes to this phase. */
void sp_loop_lap(sp_loop *l, int phase);

/* Autocorrelation and density from all images in their present orientations; the density becomes the model. Fails like
 * the crews (flow/crew.h). */
sp_status sp_loop_merge_and_phase(sp_loop *l);

/* How much the likelihood counts where it divides images among orientations, 0 .. 1: it rises while they are searched.
 */
double sp_loop_annealing(const sp_loop *l);

/* Searches, and in the refining stage refines, the orientation of every image. Fails like the crews. */
sp_status sp_loop_match(sp_loop *l);

/* Frequencies that a beam stop hides [1/m]; 0 for a hole so small that the size of the particle fills it. */
double sp_loop_hidden_centre(const sp_loop *l);

/* Radial filter that gives the model the images' own scattering curve: phasing fixes shapes, not the fall-off.
 *   conformation  has a curve of its own
 *   shells  in   [2 edge] mean |F|^2 of the density      filter  out  [2 edge] */
void sp_loop_make_filter(const sp_loop *l, int conformation, const double *shells, double *filter);

/* Has image n turned by so little in this generation that it may be called settled? */
bool sp_loop_lies_still(const sp_loop *l, ptrdiff_t n);

/* How far the images turned since the last generation, the half turn about the beam folded; how the model changed. */
void sp_loop_measure_change(sp_loop *l);

/* Over the images with signal that are held out, or not. 0: there are none. */
double sp_loop_mean_score(const sp_loop *l, bool held_out);

/* Scores compare only at the same detail, and with or without refinement alike. */
bool sp_loop_same_stage(const sp_loop *l, const sp_generation *h);

/* The best accepted score of this stage and attempt; -1: none. */
double sp_loop_best_score(const sp_loop *l);

/* The scores of the images become the state's; NAN for images without signal. */
void sp_loop_keep_scores(sp_loop *l);

/* Keeps a step of a generation. */
void sp_loop_accept(sp_loop *l);

/* Keeps the generation, unless it explains the images worse than an earlier one. Fails like the crews. */
sp_status sp_loop_accept_or_refuse(sp_loop *l);

/* ---- attempts ---- */

/* Were images compared at full detail in this generation? Scores of less are higher. */
static inline bool sp_loop_sees_all(const sp_loop *l)
{
    return l->now.resolution <= 1.0 / l->s_max;
}

/* Do the amplitudes of this generation contradict each other: is there no density that explains them? Or does it, with
 * all detail and refined orientations, explain the images much worse than photon noise allows? */
bool sp_loop_contradicts(const sp_loop *l);

/* Should the search begin again, as its amplitudes still contradict each other after some steps? Then it does. */
bool sp_loop_gives_up(sp_loop *l, int steps);

/* An attempt has converged: keeps it if it is the best so far, and begins another where its amplitudes contradict each
 * other in another way than before, or where one more conformation is to be tried. Fails with SP_ERR_MEMORY. */
sp_status sp_loop_end_attempt(sp_loop *l, bool *another);

/* The best attempt takes the place of the last one. Fails like the crews. */
sp_status sp_loop_take_best(sp_loop *l);
