/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <unistd.h>

#include "cli/spica.h"

/* Threads that wait for each other are to sleep: spinning, as is the custom, makes a run on two threads several times
 * slower as soon as anything else runs on the machine (docs/performance.md). OpenMP asks the environment about this
 * before main() begins, so the program begins anew. What the user has set stays. */
static void let_threads_sleep(char **argv)
{
    if (!getenv("OMP_WAIT_POLICY") && setenv("OMP_WAIT_POLICY", "passive", 1) == 0) {
        execv("/proc/self/exe", argv); /* returns where there is no /proc, and all goes on as it is */
    }
}

int main(int argc, char **argv)
{
    let_threads_sleep(argv);
    return sp_main(argc, argv);
}
