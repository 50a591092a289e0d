/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/rehearsal.h -- a generation once more, with as many images as wanted, on a run that executes nothing
 * (bench/replay.h): the launches of the real thing, its waits, its own loops over all images. What it would take on
 * many machines comes out; no result does. */
#include "flow/reconstruct.h"

typedef struct sp_rehearsal sp_rehearsal;

/* All that comes before a generation.
 *   loop    of a reconstruction under way, between two generations (sp_generation_hook); borrowed, and left as it is
 *   run     whose engine runs no task and leaves what is fetched as it is in memory; borrowed
 *   images  as many: those of the loop, one after the other and again
 *   rehearsal  receives it; free with sp_rehearsal_free(), before the run
 * Fails with SP_ERR_MEMORY. */
sp_status sp_rehearsal_new(const sp_loop *loop, sp_run *run, ptrdiff_t images, sp_rehearsal **rehearsal);
void sp_rehearsal_free(sp_rehearsal *rehearsal); /* NULL is fine */

/* The generation that the loop has made last.   hook  at its end, as of sp_reconstruct()
 * Fails with SP_ERR_MEMORY, and like the hook. */
sp_status sp_rehearsal_generation(sp_rehearsal *rehearsal, sp_generation_hook *hook, void *context);

/* Images of a block, the last one perhaps apart: of the rehearsal, and of the loop. */
ptrdiff_t sp_rehearsal_per_block(const sp_rehearsal *rehearsal);
ptrdiff_t sp_loop_per_block(const sp_loop *loop);
