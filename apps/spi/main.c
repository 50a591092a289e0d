/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/spica.h"

int main(int argc, char **argv)
{
    return sp_main(argc, argv);
}
