/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/machine.h"

#include <omp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/memory.h"
#include "bench/peak_kernels.h"

SP_TABLES(sp_peak_kernels)

enum { CHAIN = 64, MOST_THREADS = 1024 };

static const size_t ONE_GO = (size_t)512 << 20; /* [byte] that are read without a pause */

/* Limits are the best of many short samples: what others on the machine do only adds to a time. */
static const sp_race_rules short_samples = {.sample = 0.004, .budget = 5.0, .rounds = SP_RACE_ROUNDS};

const char *const sp_cache_names[SP_CACHES] = {"L2", "L3", "memory"};

/* The value of the first line `key : value` of a file of such lines; "" where there is none. */
static void read_field(const char *path, const char *key, char value[SP_MACHINE_TEXT])
{
    FILE *file = fopen(path, "r");
    char line[256];

    value[0] = '\0';
    while (file && !value[0] && fgets(line, sizeof line, file)) {
        const char *colon = strchr(line, ':');

        if (colon && strncmp(line, key, strlen(key)) == 0) {
            snprintf(value, SP_MACHINE_TEXT, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        }
    }
    if (file) {
        fclose(file);
    }
}

/* The whole number that a file begins with: "1024K" is 1024. */
static bool read_number(const char *path, int *number)
{
    FILE *file = fopen(path, "r");
    char line[SP_MACHINE_TEXT] = "";
    char *end = line;

    if (file) {
        *number = fgets(line, sizeof line, file) ? (int)strtol(line, &end, 10) : 0;
        fclose(file);
    }
    return end > line;
}

/* Size of the data cache of this level [byte], as the first core sees it. */
static size_t cache_size(int level, size_t fallback)
{
    for (int index = 0; index < 8; index++) {
        char path[SP_MACHINE_TEXT];
        int found = 0;

        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/level", index);
        if (read_number(path, &found) && found == level) {
            snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", index);
            return read_number(path, &found) && found > 0 ? (size_t)found * 1024 : fallback;
        }
    }
    return fallback;
}

void sp_machine_describe(sp_machine *machine)
{
    const size_t l2 = cache_size(2, (size_t)512 << 10);
    const size_t l3 = cache_size(3, (size_t)16 << 20);

    *machine = (sp_machine){.cores = (int)sysconf(_SC_NPROCESSORS_ONLN),
                            .threads = omp_get_max_threads() < MOST_THREADS ? omp_get_max_threads() : MOST_THREADS,
                            .isa = sp_isa_best()};
    read_field("/proc/cpuinfo", "model name", machine->processor);
    if (!machine->processor[0]) {
        snprintf(machine->processor, sizeof machine->processor, "unknown processor");
    }
#ifdef __clang__
    snprintf(machine->compiler, sizeof machine->compiler, "%s", __VERSION__);
#else
    snprintf(machine->compiler, sizeof machine->compiler, "gcc %s", __VERSION__);
#endif
    machine->read_bytes[SP_CACHE_L2] = l2 / 2;
    machine->read_bytes[SP_CACHE_L3] =
        l3 / 2 / (size_t)machine->threads > l2 ? l3 / 2 / (size_t)machine->threads : 2 * l2;
    machine->read_bytes[SP_CACHE_NONE] = 4 * l3;
    for (int i = 0; i < SP_CACHES; i++) { /* whole turns of the loop */
        machine->read_bytes[i] -= machine->read_bytes[i] % (SP_PEAK_READ * sizeof(float));
    }
}

/* What a thread works on; apart by a cache line. */
typedef struct lane {
    _Alignas(64) float *data;
    float sum;
} lane;

typedef struct load {
    const sp_peak_kernels *kernels;
    int threads;
    ptrdiff_t count; /* turns, or floats */
    int repeats;     /* of reading, in one go: waking threads takes time, too */
    lane *lane;      /* [threads] */
    uint64_t start, step;
} load;

/* Additions that wait for each other: one per cycle. */
static void run_chain(void *context)
{
    load *self = context;
    uint64_t sum = self->start, step = self->step;

    for (ptrdiff_t i = 0; i < self->count; i++) {
#pragma GCC unroll 64
        for (int j = 0; j < CHAIN; j++) {
            sum += step;
            __asm__ volatile("" : "+r"(sum), "+r"(step)); /* each addition for itself */
        }
    }
    self->start = sum;
}

static void run_multiply_add(void *context)
{
    load *self = context;

#pragma omp parallel for schedule(static, 1) num_threads(self->threads)
    for (int i = 0; i < self->threads; i++) {
        self->lane[i].sum = self->kernels->multiply_add(self->count);
    }
}

static void run_read(void *context)
{
    load *self = context;

#pragma omp parallel for schedule(static, 1) num_threads(self->threads)
    for (int i = 0; i < self->threads; i++) {
        for (int r = 0; r < self->repeats; r++) {
            self->lane[i].sum += self->kernels->read(self->lane[i].data, self->count);
        }
    }
}

sp_status sp_machine_measure(sp_machine *machine)
{
    const sp_peak_kernels *kernels = sp_peak_kernels_for(machine->isa);
    load chain = {.count = 20000, .step = 3};
    load one = {.kernels = kernels, .threads = 1, .count = 200000};
    load all = {.kernels = kernels, .threads = machine->threads, .count = 20000000};
    const sp_contender contender[] = {{.run = run_chain, .context = &chain},
                                      {.run = run_multiply_add, .context = &one}};
    const sp_contender together = {.run = run_multiply_add, .context = &all, .threads = machine->threads};
    sp_race race;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(all.lane, machine->threads));
    one.lane = all.lane;
    SP_TRY(sp_race_run(&short_samples, contender, 2, &race));
    machine->clock = CHAIN * (double)chain.count / sp_race_best(&race, 0);
    machine->peak[0] = kernels->operations * (double)one.count / sp_race_best(&race, 1);
    SP_TRY(sp_race_run(&short_samples, &together, 1, &race));
    machine->peak[1] = kernels->operations * (double)all.count * all.threads / sp_race_best(&race, 0);
done:
    sp_array_free(all.lane);
    return status;
}

static sp_status measure_cache(sp_machine *machine, int cache, lane *lanes)
{
    const ptrdiff_t count = (ptrdiff_t)(machine->read_bytes[cache] / sizeof(float));
    sp_status status = SP_OK;
    sp_race race;

    for (int i = 0; i < machine->threads; i++) {
        SP_TRY(SP_ARRAY(lanes[i].data, count));
        memset(lanes[i].data, 0, (size_t)count * sizeof(float)); /* pages of its own, not the one of zeros */
    }
    for (int all = 0; all < 2; all++) {
        load work = {.kernels = sp_peak_kernels_for(machine->isa),
                     .threads = all ? machine->threads : 1,
                     .count = count,
                     .repeats = (int)(ONE_GO / machine->read_bytes[cache] + 1),
                     .lane = lanes};
        const sp_contender contender = {.run = run_read, .context = &work, .threads = work.threads};

        SP_TRY(sp_race_run(&short_samples, &contender, 1, &race));
        machine->reading[cache][all] =
            sizeof(float) * (double)count * work.repeats * work.threads / sp_race_best(&race, 0);
    }
done:
    for (int i = 0; i < machine->threads; i++) {
        sp_array_free(lanes[i].data);
        lanes[i].data = NULL;
    }
    return status;
}

sp_status sp_machine_measure_reading(sp_machine *machine)
{
    sp_status status = SP_OK;
    lane *lanes = NULL;

    SP_TRY(SP_ARRAY(lanes, machine->threads));
    for (int cache = 0; cache < SP_CACHES; cache++) {
        SP_TRY(measure_cache(machine, cache, lanes));
    }
done:
    sp_array_free(lanes);
    return status;
}
