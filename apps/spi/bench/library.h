/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/library.h -- for the files peer_*.c: functions of a shared library that is loaded while the program runs. */
#include <stdbool.h>

typedef struct sp_symbol {
    const char *name;
    void **address; /* where the function's address goes */
} sp_symbol;

/* Opens the library and finds all symbols of the list, which a row without name ends. False: it is not there, or lacks
 * one. It stays open to the end of the program: some have threads of their own. */
bool sp_library_open(const char *path, const sp_symbol *symbols);
