/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/machine.h -- what this machine is, and what it can do at best. */
#include <stddef.h>

#include "base/error.h"
#include "bench/race.h"
#include "num/isa.h"

enum { SP_MACHINE_TEXT = 80 };

enum { SP_CACHE_L2, SP_CACHE_L3, SP_CACHE_NONE, SP_CACHES };

typedef struct sp_machine {
    char processor[SP_MACHINE_TEXT]; /* as the system names it */
    char compiler[SP_MACHINE_TEXT];  /* that made this program */
    int cores;                       /* online */
    int threads;                     /* that are used, at most */
    sp_isa isa;                      /* in use */
    double clock;                    /* [1/s] of a busy core */
    double peak[2];                  /* [operation/s] fp32 multiplications and additions: one thread, all threads */
    size_t read_bytes[SP_CACHES];    /* [byte] per thread, where `reading` was measured */
    double reading[SP_CACHES][2];    /* [byte/s] from L2, L3, memory: one thread, all threads */
} sp_machine;

extern const char *const sp_cache_names[SP_CACHES]; /* "L2", "L3", "memory" */

/* Finds out what can be asked for. Cannot fail: what is unknown stays empty. */
void sp_machine_describe(sp_machine *machine);

/* Measures clock and peak, and `reading` if wanted. Takes a second or two. Fails with SP_ERR_INTERRUPT, SP_ERR_MEMORY.
 */
sp_status sp_machine_measure(sp_machine *machine);
sp_status sp_machine_measure_reading(sp_machine *machine);
