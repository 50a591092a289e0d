/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/stack.h -- images on a GPU, and the phases that look at them: search, refinement, assessment, merging. What
 * phases/match.h and phases/merge.h do for images on processors, with the same arithmetic in single precision.
 *
 * The images stay in the GPU's memory. Where they do not fit they come in parts, again for each phase: while one part
 * is worked on the next one is read and copied.
 *
 * Each function is told which images are meant, by their numbers, rising; arrays about them are of the host and in that
 * order. All end early, with SP_OK, when the user interrupts (base/interrupt.h): what they give is then not to be used.
 * Fail with SP_ERR_MEMORY, SP_ERR_NUMERIC. */
#include "device/device.h"
#include "device/merger.h"
#include "device/slicer.h"
#include "num/rotation_grid.h"
#include "phases/match.h"
#include "phases/patterns.h"
#include "phases/polar.h"

typedef struct sp_device_stack sp_device_stack;

enum { SP_DEVICE_STACK_KEPT = 32 };

typedef struct sp_device_stack_input {
    const sp_patterns *layout; /* of all images; borrowed for life */
    const sp_patterns *const
        *part; /* [parts] the images, in their order; borrowed for life, their counts do not change */
    ptrdiff_t parts;
    sp_match_settings matching; /* likelihoods only; `dispersion` is not looked at */
    const sp_polar *polar; /* searches take the polar route, by its tables; NULL: the dense one. Borrowed for life */
    int keep;              /* orientations that searches keep of each image, 1 .. SP_DEVICE_STACK_KEPT */
    size_t memory;         /* [byte] of the device that may be used; 0: most of what is available */
} sp_device_stack_input;

/* What images are compared with from now on. */
typedef struct sp_device_view {
    const sp_device_slicer *slicer;
    int model;         /* of it */
    ptrdiff_t pixels;  /* the first so many, whole shells */
    double dispersion; /* r */
} sp_device_view;

/* Some images. */
typedef struct sp_device_choice {
    const int32_t *image; /* [images] numbers, rising */
    const float *scale;   /* [images] fluence of each; 0: without signal */
    ptrdiff_t images;
} sp_device_choice;

/* Free with sp_device_stack_free(). Fails with SP_ERR_USAGE (no pixel within reach) besides. */
sp_status sp_device_stack_new(const sp_device *device, const sp_device_stack_input *input, sp_device_stack **stack);
void sp_device_stack_free(sp_device_stack *stack); /* NULL is fine */

/* Memory of the host that it takes, at most, for planning ahead [byte]. */
double sp_device_stack_host_bytes(ptrdiff_t images, ptrdiff_t pixels);

bool sp_device_stack_is_resident(const sp_device_stack *stack); /* or do images come in parts? */

/* sp_matcher_search(). Of the polar route, after sp_polar_begin() with the same pixels, dispersion and grid.
 *   best  out  [images][keep] */
sp_status sp_device_stack_search(sp_device_stack *stack, const sp_device_view *view, const sp_rotation_grid *grid,
                                 const sp_device_choice *choice, sp_candidate *best);

/* sp_matcher_refine().
 *   candidates   in   [images][count]
 *   orientation  out  [images]
 *   fit          out  [images] L */
sp_status sp_device_stack_refine(sp_device_stack *stack, const sp_device_view *view, const sp_device_choice *choice,
                                 const sp_quat *candidates, int count, int steps, double delta, sp_quat *orientation,
                                 double *fit);

/* How many orientations the last refinement looked at, without and with derivatives, for all its images together. */
const ptrdiff_t *sp_device_stack_looks(const sp_device_stack *stack);

/* sp_matcher_assess_part().
 *   orientation  in       [images]
 *   score        out      [images]
 *   scale        out      [images] not yet relative; may be that of the choice
 *   scatter      in, out  [sp_match_scatter_count(shells of the layout)] added to */
sp_status sp_device_stack_assess(sp_device_stack *stack, const sp_device_view *view, const sp_device_choice *choice,
                                 const sp_quat *orientation, float *score, float *scale, double *scatter);

/* sp_merger_spread() of shares of images; of one image there may be several.
 *   choice       in  of an image without signal nothing is added
 *   orientation  in  [images]
 *   share        in  [images], or NULL: all of it
 *   s_max        bins beyond it [1/m] are left out; the same in all calls for one merger */
sp_status sp_device_stack_spread(sp_device_stack *stack, const sp_device_choice *choice, const sp_quat *orientation,
                                 const float *share, double s_max, sp_device_merger *merger);
