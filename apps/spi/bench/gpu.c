/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/gpu.h"

#include <assert.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/rng.h"
#include "bench/parts.h"
#include "device/limits.h"

enum { MOST_CALLS = 1000 }; /* in a round: that many fit into the stream before they are waited for */

/* Of what is timed on the processor: a ratio of tens or hundreds needs no third digit. */
static const sp_race_rules few_rounds = {.sample = 0.02, .budget = 3.0, .rounds = 5};

static const double SAMPLE = 2e-3; /* [s] a round takes at least, where calls can be repeated */

const char *const sp_gpu_limit_names[SP_GPU_LIMITS] = {"the copy rate", "the FMA rate", "the matrix rate"};

/* ---- time ---- */

static sp_status time_calls(const sp_device *device, const sp_gpu_work *work, int calls, double *seconds)
{
    sp_status status = SP_OK;

    SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "interrupted");
    if (work->before) {
        SP_TRY(work->before(device, work->context));
    }
    SP_TRY(device->kernels->start_timer(device));
    for (int i = 0; i < calls; i++) {
        SP_TRY(work->run(device, work->context));
    }
    SP_TRY(device->kernels->stop_timer(device, seconds));
    *seconds /= calls;
done:
    return status;
}

static sp_status time_rounds(const sp_bench *bench, const sp_gpu_work *work, sp_quartiles *quartiles)
{
    const sp_race_rules *rules = &bench->rules;
    double seconds[SP_RACE_ROUNDS], first = 0.0;
    int calls = 1, rounds = rules->rounds;
    sp_status status = SP_OK;

    SP_TRY(time_calls(bench->gpu.device, work, 1, &first)); /* loads kernels, finds out how long it takes */
    if (bench->settings.quick) {                            /* perhaps on an emulator: no matter how long */
        *quartiles = (sp_quartiles){first, first, first};
        return SP_OK;
    }
    SP_TRY(time_calls(bench->gpu.device, work, 1, &first));
    if (!work->before) {
        calls = (int)fmin(ceil(SAMPLE / fmax(first, 1e-7)), MOST_CALLS);
    }
    while (rounds > 3 && rounds * first * calls > rules->budget) {
        rounds -= 2;
    }
    for (int i = 0; i < rounds; i++) {
        SP_TRY(time_calls(bench->gpu.device, work, calls, &seconds[i]));
    }
    *quartiles = sp_quartiles_of(seconds, rounds);
    sp_progress_add(bench->progress, 1);
done:
    return status;
}

sp_status sp_gpu_time(sp_bench *bench, const sp_gpu_work *work, sp_row *row)
{
    const double amount[SP_GPU_LIMITS] = {work->bytes, work->operations, work->products};
    sp_status status = SP_OK;

    SP_TRY(time_rounds(bench, work, &row->seconds));
    row->kernels = "cuda";
    row->floor = 0.0;
    for (int i = 0; i < SP_GPU_LIMITS; i++) {
        const double seconds = amount[i] / bench->gpu.rate[i];

        if (seconds > row->floor) {
            row->floor = seconds;
            row->limit = sp_gpu_limit_names[i];
        }
    }
    row->share = row->floor / row->seconds.median;
done:
    return status;
}

sp_status sp_gpu_compare(sp_bench *bench, void (*run)(void *context), void *context, double share, sp_row *row,
                         const char *what)
{
    const int threads = bench->machine.threads;
    const sp_contender processor = {.run = run, .context = context, .threads = threads};
    sp_race race;
    sp_status status = SP_OK;

    SP_TRY(sp_race_run(bench->settings.quick ? &bench->rules : &few_rounds, &processor, 1, &race));
    for (int i = 0; i < race.rounds; i++) {
        race.seconds[i][1] = share * row->seconds.median;
    }
    race.contenders = 2;
    if (share < 1.0) {
        sp_row_compare(row, &race, 0, 1, "%s, %d thread(s), %.2g of the work, scaled", what, threads, share);
    } else {
        sp_row_compare(row, &race, 0, 1, "%s, %d thread(s)", what, threads);
    }
done:
    return status;
}

/* ---- arrays ---- */

sp_status sp_gpu_array(sp_gpu_arrays *arrays, ptrdiff_t count, size_t size, const char *what, const void *from,
                       void **array)
{
    const sp_device_kernels *k = arrays->device->kernels;
    sp_status status = SP_OK;

    assert(arrays->count < SP_GPU_ARRAYS);
    SP_TRY(k->get(arrays->device, count, size, what, array));
    arrays->array[arrays->count++] = *array;
    if (from) {
        SP_TRY(k->upload(arrays->device, from, (size_t)count * size, *array));
    }
done:
    return status;
}

void sp_gpu_arrays_release(sp_gpu_arrays *arrays)
{
    while (arrays->count > 0) {
        arrays->device->kernels->release(arrays->device, arrays->array[--arrays->count]);
    }
}

/* ---- limits ---- */

/* Sizes of what shows them: more bytes than any cache holds, a product as large as those of searches, and a thousand
 * blocks. */
typedef struct extent {
    ptrdiff_t bytes, edge, values;
    int steps;
} extent;

static const extent full_extent = {.bytes = (ptrdiff_t)1 << 30, .edge = 8192, .values = 1 << 22, .steps = 4096};
static const extent quick_extent = {.bytes = 1 << 16, .edge = 16, .values = 4096, .steps = SP_DEVICE_LIMITS_STEPS};

typedef struct trial {
    extent size;
    uint8_t *from, *to;
    uint16_t *factor;
    float *product, *value;
} trial;

static sp_status run_copy(const sp_device *device, void *context)
{
    const trial *t = context;

    return device->kernels->limits->copy(device, t->from, (size_t)t->size.bytes, t->to);
}

static sp_status run_multiply_add(const sp_device *device, void *context)
{
    const trial *t = context;

    return device->kernels->limits->multiply_add(device, 0.5f, 1.0f, t->size.steps, t->size.values, t->value);
}

static sp_status run_product(const sp_device *device, void *context)
{
    const trial *t = context;

    return device->kernels->limits->multiply(device, t->size.edge, t->factor, t->factor, t->product);
}

/* The numbers that tensor cores multiply are never all zero: that would be faster. */
static sp_status fill_factor(const sp_device *device, const trial *t)
{
    const ptrdiff_t n = t->size.edge;
    uint16_t *factor = NULL;
    sp_rng rng = sp_rng_stream(1, 0, 0);
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(factor, n * n));
    for (ptrdiff_t i = 0; i < n * n; i++) {
        const float x = (float)(sp_rng_uniform(&rng) - 0.5);
        uint32_t bits;

        memcpy(&bits, &x, sizeof bits);
        factor[i] = (uint16_t)(bits >> 16);
    }
    SP_TRY(device->kernels->upload(device, factor, (size_t)(n * n) * sizeof *factor, t->factor));
done:
    sp_array_free(factor);
    return status;
}

static sp_status trial_init(const sp_device *device, sp_gpu_arrays *arrays, trial *t)
{
    const extent *size = &t->size;
    sp_status status = SP_OK;

    SP_TRY(SP_GPU_ARRAY(arrays, t->from, size->bytes, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, t->to, size->bytes, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, t->factor, size->edge * size->edge, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, t->product, size->edge * size->edge, NULL));
    SP_TRY(SP_GPU_ARRAY(arrays, t->value, size->values, NULL));
    SP_TRY(device->kernels->clear(device, t->from, (size_t)size->bytes));
    SP_TRY(device->kernels->clear(device, t->value, (size_t)size->values * sizeof *t->value));
    SP_TRY(fill_factor(device, t));
done:
    return status;
}

static sp_status measure_limits(sp_bench *bench)
{
    sp_gpu *gpu = &bench->gpu;
    trial t = {.size = bench->settings.quick ? quick_extent : full_extent};
    const double n = (double)t.size.edge;
    const sp_gpu_work work[SP_GPU_LIMITS] = {{.run = run_copy, .context = &t},
                                             {.run = run_multiply_add, .context = &t},
                                             {.run = run_product, .context = &t}};
    sp_gpu_arrays arrays = {.device = gpu->device};
    sp_status status = SP_OK;

    gpu->amount[SP_GPU_COPY] = 2.0 * (double)t.size.bytes; /* read and written */
    gpu->amount[SP_GPU_MULTIPLY_ADD] = 2.0 * (double)t.size.values * t.size.steps;
    gpu->amount[SP_GPU_PRODUCT] = 2.0 * n * n * n;
    SP_TRY(trial_init(gpu->device, &arrays, &t));
    for (int i = 0; i < SP_GPU_LIMITS; i++) {
        SP_TRY(time_rounds(bench, &work[i], &gpu->seconds[i]));
        gpu->rate[i] = gpu->amount[i] / gpu->seconds[i].median;
    }
done:
    sp_gpu_arrays_release(&arrays);
    return status;
}

sp_status sp_gpu_open(sp_bench *bench)
{
    sp_status status = sp_device_open(NULL, 0, &bench->gpu.device);

    if (status == SP_ERR_USAGE) {
        sp_log_warning(bench->log, "%s", sp_error_text());
        return SP_OK;
    }
    SP_TRY(status);
    snprintf(bench->gpu.name, sizeof bench->gpu.name, "%.79s", bench->gpu.device->facts.name);
    SP_TRY(measure_limits(bench));
done:
    return status;
}

void sp_gpu_close(sp_bench *bench)
{
    sp_device_close(bench->gpu.device);
    bench->gpu.device = NULL;
}

/* ---- the part that shows them ---- */

sp_status sp_bench_gpu_limits(sp_bench *bench)
{
    static const char *const names[SP_GPU_LIMITS] = {"copy", "multiply-add, fp32, independent",
                                                     "matrix product, bf16, by cuBLAS"};

    for (int i = 0; i < SP_GPU_LIMITS; i++) {
        sp_row *row = sp_row_add(bench, "limits", 1, "%s", names[i]);

        row->kernels = "cuda";
        row->seconds = bench->gpu.seconds[i];
        sp_row_take_rate(row, 1e-9 * bench->gpu.amount[i], i == SP_GPU_COPY ? "GB/s" : "GFLOP/s");
    }
    return SP_OK;
}
