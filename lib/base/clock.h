/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/clock.h -- time and memory used by this process. None of these can fail. */
#include <stdbool.h>
#include <stddef.h>

enum { SP_CLOCK_STAMP = 32 }; /* [byte] room for a time stamp */

double sp_clock_wall(void);                      /* [s] since a fixed moment; never goes back: take differences */
double sp_clock_cpu(void);                       /* [s] processor time of all threads since the process began */
double sp_clock_thread(void);                    /* [s] processor time of this thread alone: take differences */
size_t sp_clock_peak_memory(void);               /* [byte] most memory resident at once since the process began */
void sp_clock_stamp(char stamp[SP_CLOCK_STAMP]); /* date and time now, UTC, ISO 8601: 2024-05-01T09:30:00Z */

/* Lets sp_clock_peak_memory() begin anew, with what is resident now. False where the kernel does not let us. */
bool sp_clock_forget_peak_memory(void);
