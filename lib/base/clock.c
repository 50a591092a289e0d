/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

static double seconds_of(clockid_t clock)
{
    struct timespec now = {0};

    clock_gettime(clock, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

double sp_clock_wall(void)
{
    return seconds_of(CLOCK_MONOTONIC);
}

double sp_clock_cpu(void)
{
    return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

double sp_clock_thread(void)
{
    return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

size_t sp_clock_peak_memory(void)
{
    struct rusage usage = {0};

    getrusage(RUSAGE_SELF, &usage);
    return (size_t)usage.ru_maxrss * 1024; /* Linux counts in KiB: getrusage(2) */
}

bool sp_clock_forget_peak_memory(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");

    if (!file) {
        return false;
    }
    const bool written = fputs("5", file) >= 0; /* proc(5): reset the peak resident set size */

    return fclose(file) == 0 && written;
}

void sp_clock_stamp(char stamp[SP_CLOCK_STAMP])
{
    const time_t now = time(NULL);
    struct tm parts;

    gmtime_r(&now, &parts);
    strftime(stamp, SP_CLOCK_STAMP, "%Y-%m-%dT%H:%M:%SZ", &parts);
}
