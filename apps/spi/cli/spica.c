/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/spica.h"

#include <stdio.h>

int sp_main(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    fprintf(stderr, "spica " SPICA_VERSION ": no commands yet\n");
    return SP_EXIT_USAGE;
}
