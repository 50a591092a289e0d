/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/interrupt.h -- a polite end on Ctrl-C (SIGINT) or SIGTERM.
 *
 * The first signal sets a flag; long work polls it, leaves its files whole and returns SP_ERR_INTERRUPT:
 *     SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "stopped in generation %d", generation);
 * The second signal ends the process at once. */
#include <stdbool.h>

/* Watch for both signals from now on and lower the flag. A signal that the process was told to ignore (nohup, shell
 * background) stays ignored. */
void sp_interrupt_watch(void);

bool sp_interrupted(void); /* has the user asked to stop? Cheap; from any thread */
