/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/checkpoint.h -- where a run stands after a generation, in a file: one that was killed goes on from there, to the
 * same bits.
 *
 * A checkpoint holds what one generation hands to the next, listed once, in checkpoint.c, and the settings of the run.
 * What follows from images and settings (patterns, noise, grids, tools) is made anew, and so are decisions: a
 * checkpoint is taken before the generation is judged, so that a run whose --generations were raised goes on as if it
 * had begun with them. */
#include "base/error.h"
#include "flow/reconstruct.h"
#include "io/h5.h"

#define SP_CHECKPOINT_NAME "checkpoint.h5" /* in the folder of the run */

/* Puts the checkpoint of `loop` into a new file.
 *   config  settings file that repeats the run
 * Fails with SP_ERR_OUTPUT, SP_ERR_MEMORY. */
sp_status sp_checkpoint_put(const sp_loop *loop, const char *config, sp_h5 *file);

/* Reads and checks the whole checkpoint of a folder.
 *   checkpoint  receives it, free with sp_checkpoint_free(); untouched on error
 * Fails with SP_ERR_INPUT (none there, damaged, of another version; the reason names the cure), SP_ERR_MEMORY. */
sp_status sp_checkpoint_open(const char *folder, sp_checkpoint **checkpoint);
void sp_checkpoint_free(sp_checkpoint *checkpoint); /* NULL is fine */

const char *sp_checkpoint_path(const sp_checkpoint *checkpoint);   /* borrowed, like the next */
const char *sp_checkpoint_config(const sp_checkpoint *checkpoint); /* as given to sp_checkpoint_put() */
int sp_checkpoint_generations(const sp_checkpoint *checkpoint);    /* done */
int sp_checkpoint_conformations(const sp_checkpoint *checkpoint);  /* of the attempt under way */
int sp_checkpoint_limit(const sp_checkpoint *checkpoint);          /* --generations of the run */

/* Brings a loop, its images read and its workspace made, to where it stood.
 * Fails with SP_ERR_INPUT: the images are not those of the checkpoint; the loop is untouched then. */
sp_status sp_checkpoint_restore(const sp_checkpoint *checkpoint, sp_loop *loop);
