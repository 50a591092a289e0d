/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/library.h"

#include <dlfcn.h>
#include <stddef.h>

bool sp_library_open(const char *path, const sp_symbol *symbols)
{
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);

    for (const sp_symbol *s = symbols; library && s->name; s++) {
        *s->address = dlsym(library, s->name);
        if (!*s->address) {
            return false;
        }
    }
    return library;
}
