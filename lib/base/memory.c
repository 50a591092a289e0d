/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

sp_status sp_array_new(ptrdiff_t count, size_t size, const char *what, void **array)
{
    sp_status status = SP_OK;
    size_t bytes = 0;
    void *memory = NULL;

    SP_REQUIRE(count >= 0 && !__builtin_mul_overflow((size_t)count, size, &bytes) &&
                   bytes <= (size_t)PTRDIFF_MAX - SP_ALIGNMENT,
               SP_ERR_MEMORY, "%s: %td elements of %zu bytes are more than memory can hold", what, count, size);
    bytes = (bytes + SP_ALIGNMENT) / SP_ALIGNMENT * SP_ALIGNMENT; /* never 0 */
    memory = aligned_alloc(SP_ALIGNMENT, bytes);
    SP_REQUIRE(memory, SP_ERR_MEMORY, "%s: no memory for %td elements (%.1f MB)", what, count, (double)bytes / 1e6);
    memset(memory, 0, bytes);
    *array = memory;
done:
    return status;
}

void sp_array_free(void *array)
{
    free(array);
}

/* The number after `key` in a file of the kernel; `fallback` where there is none ("max" = no limit). */
static size_t read_number(const char *path, const char *key, size_t fallback)
{
    FILE *file = fopen(path, "r");
    char line[256];
    size_t value = fallback;

    if (!file) {
        return fallback;
    }
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, key, strlen(key)) == 0) {
            char *end = NULL;
            const unsigned long long number = strtoull(line + strlen(key), &end, 10);

            value = end > line + strlen(key) ? (size_t)number : fallback;
            break;
        }
    }
    fclose(file);
    return value;
}

size_t sp_memory_available(void)
{
    const size_t host = read_number("/proc/meminfo", "MemAvailable:", 0) * 1024;
    const size_t limit = read_number("/sys/fs/cgroup/memory.max", "", SIZE_MAX);
    const size_t used = read_number("/sys/fs/cgroup/memory.current", "", 0);
    const size_t left = limit > used ? limit - used : 0;

    return limit != SIZE_MAX && left < host ? left : host;
}
