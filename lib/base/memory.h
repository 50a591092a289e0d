/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/memory.h -- arrays on the heap: sizes checked for overflow, aligned for vector units. */
#include <stddef.h>

#include "base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SP_ALIGNMENT = 64 }; /* [byte] one cache line, one AVX-512 register */

/* *array = zeroed room for count elements of `size` bytes, aligned to SP_ALIGNMENT; free with sp_array_free().
 *   what  names the array in the error message
 * A count of 0 gives a valid, empty array. Fails with SP_ERR_MEMORY (array untouched). */
sp_status sp_array_new(ptrdiff_t count, size_t size, const char *what, void **array);
void sp_array_free(void *array); /* NULL is fine */

/* SP_TRY(SP_ARRAY(name, count)): allocate `count` elements of the type that pointer `name` points to. */
#define SP_ARRAY(name, count) sp_array_new((count), sizeof *(name), #name, (void **)&(name))

/* Memory that this process can still get [byte]: available RAM, capped by a container's limit. 0 if unknown. */
size_t sp_memory_available(void);

#ifdef __cplusplus
}
#endif
