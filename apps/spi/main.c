/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <unistd.h>

#include "cli/spica.h"

/* Threads that wait for each other are to go to sleep soon: spinning on, as is the custom, makes a run on two threads
 * several times slower when anything else runs on the machine; sleeping at once costs a fifth of the short steps
 * (docs/performance.md). OpenMP asks the environment about this before main() begins, so the program begins anew. What
 * the user has set stays. */
static void let_threads_sleep(char **argv)
{
    char program[4096];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program - 1);

    if (length < 0) { /* no /proc: all goes on as it is */
        return;
    }
    program[length] = 0;
    if (!getenv("OMP_WAIT_POLICY") && !getenv("GOMP_SPINCOUNT") && setenv("OMP_WAIT_POLICY", "passive", 1) == 0 &&
        setenv("GOMP_SPINCOUNT", "1000", 1) == 0) {
        execv(program, argv); /* does not return */
    }
}

int main(int argc, char **argv)
{
    let_threads_sleep(argv);
    return sp_main(argc, argv);
}
