/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/progress.h -- how far a long step has come and how long it will still take.
 *
 * On a terminal: one line, redrawn in place at most ten times a second and gone at the end. Otherwise: a line in the
 * log after the first second and then every ten seconds. Where the log does not show SP_LOG_INFO, or is NULL: nothing.
 */
#include <stddef.h>

#include "base/log.h"

typedef struct sp_progress sp_progress;

/* Begin a step.
 *   log    borrowed until sp_progress_free()
 *   label  what is being done, e.g. "matching"; copied
 *   total  amount of work [any unit: images, iterations]; 0 if nobody knows
 * Free with sp_progress_free(), which ends the step. Fails with SP_ERR_MEMORY. */
sp_status sp_progress_new(sp_log *log, const char *label, ptrdiff_t total, sp_progress **progress);
void sp_progress_free(sp_progress *progress); /* NULL is fine */

/* `amount` more of the work is done. From any thread; cheap enough to call once per image. NULL is fine. */
void sp_progress_add(sp_progress *progress, ptrdiff_t amount);
