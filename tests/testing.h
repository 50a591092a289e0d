/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* testing.h -- cmocka with the headers that it wants before itself.
 *
 * A test program takes a word as argument and then runs only the cases whose name holds it: test_num_nufft adjoint */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The loader hands the arguments of the program to constructors, so no main() has to. */
__attribute__((constructor)) static void testing_take_filter(int argc, char **argv)
{
    static char pattern[256];

    if (argc > 1) {
        snprintf(pattern, sizeof pattern, "*%s*", argv[1]);
        cmocka_set_test_filter(pattern);
    }
}
