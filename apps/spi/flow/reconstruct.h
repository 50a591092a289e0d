/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/reconstruct.h -- the generation loop: from images to orientations and a density.
 *
 * One generation: merge all images in their orientations, phase the autocorrelation, slice the density, match and
 * refine every image. It starts from random orientations and stops when nothing changes any more; known orientations
 * in a file are never read. A generation whose density explains the images worse than before is refused. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"
#include "io/images.h"
#include "num/quaternion.h"
#include "phases/match.h"
#include "run/run.h"

/* What the user may choose. 0 (or SP_NOISE_AUTO) means: chosen from the data; sp_reconstruct() fills it in. */
typedef enum sp_noise_kind { SP_NOISE_AUTO, SP_NOISE_NONE, SP_NOISE_POISSON } sp_noise_kind;

/* Which processes share the patterns that images are searched with. It changes nothing of the result. */
/* What computes a generation. */
typedef enum sp_device_kind {
    SP_DEVICE_CPU,
    SP_DEVICE_CUDA, /* a GPU */
    SP_DEVICE_AUTO, /* a GPU, where one can be used */
} sp_device_kind;

typedef enum sp_slices_kind {
    SP_SLICES_REPLICATED,  /* none: every process makes all of them for its images */
    SP_SLICES_HYBRID,      /* those of one machine */
    SP_SLICES_DISTRIBUTED, /* all: each pattern is made once and sent round */
} sp_slices_kind;

enum { SP_CONFORMATIONS = 8 }; /* at most */

typedef struct sp_reconstruct_settings {
    uint64_t seed;
    uint64_t null;         /* seed of nulls made from the images (phases/patterns.h); 0: the images as they are */
    double resolution;     /* [m] finest detail to reconstruct; auto: the corner of the detector */
    double low_resolution; /* [m] pixels of coarser detail are ignored; auto: none, all good pixels are used */
    double diameter;       /* [m] largest extent of the particle; auto: from the pair distances of the mean image */
    int grid;              /* [voxel] edge of the density, even; auto: 2.3 diameters at resolution / 2 */
    int binning;           /* [pixel] auto: largest that keeps a bin below a third of a speckle */
    int orientations;      /* grid of the search; auto: steps of two speckles or less, refinement covers the rest */
    int generations;       /* at most */
    int starts;            /* phasing starts side by side in each generation */
    int conformations;     /* found together: 1 .. SP_CONFORMATIONS; auto: as many as explain held-out images better */
    double held_out;       /* share of the images that no model is made from, until the end: how well it explains them
                              tells whether it only explains the others because it is made of them; 0: none */
    sp_match_kind match;   /* likelihood (default), euclidean or poisson */
    sp_match_route match_route; /* auto: polar where the pixels allow it */
    bool refine;                /* local refinement of each image's orientation */
    bool fit_background;        /* of all images alike, estimated from their contrast */
    bool fit_scale;             /* per-image fluence fitted from generation to generation */
    sp_noise_kind noise;        /* auto: measured from neighbouring pixels */
    sp_slices_kind slices;      /* not part of what defines the result, nor kept with it */
    sp_device_kind device;      /* likewise, but for the last bits */
    bool autocorrelations;      /* of the final densities are in the outcome, as half sets need them; likewise */
} sp_reconstruct_settings;

/* Defaults: everything automatic; see `spica reconstruct --help`. */
sp_reconstruct_settings sp_reconstruct_defaults(void);

enum { SP_PHASE_READ, SP_PHASE_MERGE, SP_PHASE_PHASE, SP_PHASE_SEARCH, SP_PHASE_REFINE, SP_PHASE_OTHER, SP_PHASES };

/* Names of the phases for tables: "read", "merge", ... */
extern const char *const sp_phase_names[SP_PHASES];

/* One line of the history. */
typedef struct sp_generation {
    int generation;            /* 0 based */
    bool accepted;             /* false: refused, the state before was kept */
    bool refined;              /* orientations between the points of the grid */
    double score;              /* mean score of the images, after refinement where there was one */
    double held_score;         /* of those that are held out, which are in no other figure; 0: there are none */
    double best_score;         /* that a perfect model would have: photon noise leaves so much (phases/match.h) */
    double phasing_residual;   /* see phases/phase.h */
    double support_volume;     /* [m^3] */
    double merge_residual;     /* of the linear system */
    double orientation_change; /* [rad] median turn of the images since the last generation, half turn folded */
    double settled;            /* share that turned less than 3 degrees (in the search: 1.5 grid steps) */
    double density_change;     /* 1 - correlation of the intensities with those of the last generation */
    double resolution;         /* [m] finest detail compared in this generation */
    ptrdiff_t orientations;    /* searched */
    double wall[SP_PHASES];    /* [s] */
    double cpu[SP_PHASES];     /* [s] */
} sp_generation;

/* What a number of conformations came to, where it is looked for. */
typedef struct sp_trial {
    int conformations; /* 0: not tried */
    int found;         /* of them with images enough, and no copies of others */
    double score;      /* mean of the images, at the end of the best attempt */
    double held_score; /* of those that are held out */
    double gain;       /* of that over the best with fewer conformations, image by image; 0 for the first */
    double gain_error; /* standard error of it */
    bool better;       /* it is a gain beyond chance */
    bool contradicted; /* by its own amplitudes, or the images */
} sp_trial;

/* What half sets say of a conformation. The first that holds is told. */
typedef enum sp_half_verdict {
    SP_HALVES_TOO_FEW,     /* images in it to tell */
    SP_HALVES_ONE_SIDED,   /* most images see one side */
    SP_HALVES_APART,       /* the map of all images is another one: `whole` is far below `correlation` */
    SP_HALVES_UNEXPLAINED, /* the images score much less than photon noise allows: see SP_EXPLAINED */
    SP_HALVES_DISAGREE,    /* `turn` is not well below `chance` */
    SP_HALVES_AGREE,       /* none of these: a resolution may be claimed, where there is one */
} sp_half_verdict;

/* One conformation of all images, and what its partners in the two halves have in common. */
typedef struct sp_half_agreement {
    ptrdiff_t images[2]; /* of each half, that it and the whole sort here; one conformation: those with signal */
    double correlation;  /* of the maps, one laid on the other */
    double whole;        /* correlation of the map of all images with them: the lower one */
    double turn;         /* [rad] median of those images between their half and the whole, half turn folded */
    double chance;       /* [rad] the same with every image taken for another; both NAN: too few images */
    const char *group;   /* modulo which turns are told */
    double likeness;     /* of the sides from which they see the particle: see phases/orientation_score.h */
    sp_half_verdict verdict;
    double resolution;          /* [m] the coarser one of the next two: what may be claimed. 0: nothing */
    double fsc_resolution;      /* [m] where `shape` crosses 0.143, or the last shell; 0: nowhere above */
    double cc_half_resolution;  /* [m] where `cc_half` does, likewise */
    double half_bit_resolution; /* [m] where `fsc` crosses the half-bit curve, likewise */
} sp_half_agreement;

/* Of the score that a perfect model would have: with less the images are not explained. Right orientations come to 0.94
 * and more, images of few photons to more than 1, since the model has their noise in it; 1EI7 with half of the images
 * turned round came to 0.81, a mixture taken for one structure to 0.65, shuffled images to 0.09. */
static const double SP_EXPLAINED = 0.9;

/* What two reconstructions of half of the images each have in common (flow/halves.h). */
typedef struct sp_half_sets {
    ptrdiff_t used[2];    /* images with signal */
    bool converged[2];    /* and to no contradiction */
    int conformations;    /* those of the whole */
    double labels_same;   /* share of the images that halves and whole sort alike */
    double labels_chance; /* the same for labels that know nothing of each other */
    ptrdiff_t shells;     /* within the band of the run */
    double *s;            /* [shells] [1/m] */
    double *half_bit;     /* [shells] threshold, see phases/resolve.h */
    double *fsc;          /* [conformations][shells] of the maps */
    double *shape;   /* [conformations][shells] of what is not alike in all directions: sp_fsc_shapes(), same header */
    double *cc_half; /* [conformations][shells] the same of the merged intensities, which is called CC 1/2 */
    sp_half_agreement of[SP_CONFORMATIONS]; /* [conformations] */
} sp_half_sets;
void sp_half_sets_free(sp_half_sets *halves); /* NULL is fine */

/* Everything that is known after a generation; the outcome when the loop ends. Arrays are owned by it. */
typedef struct sp_reconstruction {
    sp_reconstruct_settings settings; /* every value in effect */
    ptrdiff_t images;                 /* in the file */
    ptrdiff_t used;                   /* with signal in them */
    ptrdiff_t pixels_used;            /* bins per image */
    double wavelength;                /* [m]; 0 unknown */
    double background;                /* share of the photons that seem to belong to a smooth background */
    double background_fitted;         /* share of all photons that was estimated as background, and is accounted for */
    double edge_resolution;           /* [m] largest circle that the detector covers all round */
    double corner_resolution;         /* [m] farthest good pixel */
    double photons_per_image;         /* mean value per image over good pixels, unit of the file */
    double quantum;                   /* noise variance / mean of the values: 1 for photon counts, 0 for none */
    char corrections[64];             /* divided out, from the file */
    ptrdiff_t edge;                   /* of the density [voxel] */
    double voxel;                     /* [m] */
    float *density;                   /* [settings.conformations][edge^3] FFT order, sharp to settings.resolution */
    float *autocorrelation;           /* likewise: what it was phased from in the end; NULL: not asked for */
    double speckle;       /* [rad] angular size of a speckle at the edge: what orientations can be told apart by */
    double grid_spacing;  /* [rad] typical distance to the nearest orientation of the search grid */
    sp_quat *orientation; /* [images] */
    int32_t *label;       /* [images] conformation, 0 based */
    double likeness[SP_CONFORMATIONS][SP_CONFORMATIONS]; /* correlation of their final maps, laid on one another */
    float *score;                                        /* [images] -1..1; NAN for an image without signal */
    bool *held_out;                                      /* [images] takes no part in merging, but for the final one */
    float *scale;                                        /* [images] fluence relative to the mean; 0 without signal */
    int generations;                                     /* done */
    sp_generation *history;                              /* [generations] */
    sp_trial trial[SP_CONFORMATIONS];                    /* by number of conformations, from 1 */
    int trials;
    bool converged;
    double explained;        /* mean score over that of a perfect model */
    bool contradicted;       /* converged, in the last attempt, to what does not explain amplitudes or images */
    const char *stop_reason; /* one sentence */
    double *prtf;   /* [settings.conformations][shells] phase retrieval transfer function of the final phasing starts */
    double *prtf_s; /* [shells] [1/m] */
    ptrdiff_t prtf_shells;
    double prtf_resolution; /* [m] of the worst conformation, first down-crossing of 1/e; 0 if never */
    sp_half_sets *halves;   /* NULL: not measured */
    double wall[SP_PHASES]; /* [s] totals */
    double cpu[SP_PHASES];  /* [s] */
    char device[256];       /* name of the GPU; empty: none was used */
    ptrdiff_t processes;
    double
        *peak_memory; /* [processes] [byte] that each of them has had at once; those of a run that was resumed anew */
} sp_reconstruction;

typedef struct sp_loop sp_loop;             /* where a run stands. Opaque, for flow/checkpoint.h */
typedef struct sp_checkpoint sp_checkpoint; /* where a run stood. Opaque, see flow/checkpoint.h */

/* Called after each generation and once more at the end; an error ends the run.
 *   state  the result so far; NULL: an earlier one is better (this generation was refused, or a former attempt leads)
 *   loop   for a checkpoint, from which the run can go on; NULL at the end */
typedef sp_status sp_generation_hook(void *context, const sp_reconstruction *state, const sp_loop *loop);

/* Memory that each process takes [byte]: total = fixed + share image + orientations orientation + edge^3 voxel. */
typedef struct sp_memory_plan {
    double total;
    double fixed; /* whatever the number of images; of the polar route as much as its budget allows */
    double image, orientation, voxel;
    double share; /* [images] that the process with the most of them holds */
} sp_memory_plan;

/* From the shape of the data alone, as if no image could be packed. */
sp_memory_plan sp_reconstruct_memory(const sp_run *run, const sp_image_file *file,
                                     const sp_reconstruct_settings *settings);

/* Reconstruct.
 *   run       on whose ranks and threads; every rank calls this alike
 *   file      open image file; orientations in it are not looked at
 *   from      go on from there, with the settings of that run but for `generations`; NULL: begin
 *   hook      may be NULL
 *   result    receives the outcome, free with sp_reconstruction_free(); untouched on error
 * Fails with SP_ERR_INPUT (data unusable; the reason names image and cure), SP_ERR_USAGE (settings that contradict the
 * data), SP_ERR_MEMORY (refused before the start if more is needed than there is), SP_ERR_INTERRUPT (Ctrl-C; the hook
 * has seen every complete generation). */
sp_status sp_reconstruct(sp_run *run, sp_image_file *file, const sp_reconstruct_settings *settings, sp_log *log,
                         const sp_checkpoint *from, sp_generation_hook *hook, void *context,
                         sp_reconstruction **result);
void sp_reconstruction_free(sp_reconstruction *result); /* NULL is fine */

/* The density or the autocorrelation of conformation k with the zero of the grid in voxel edge/2.
 *   volume  in   one of these two of the result      map  out  [edge^3] */
void sp_reconstruction_map(const sp_reconstruction *result, const float *volume, int k, float *map);
