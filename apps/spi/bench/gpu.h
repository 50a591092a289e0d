/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/gpu.h -- private to bench/: kernels timed on a GPU, beside the least time that they could take there.
 *
 *     sp_row *row = sp_row_add(bench, "merge", 1, "solve, edge %td", n);
 *     const sp_gpu_work work = {.run = run_solve, .context = &job, .bytes = ..., .operations = ...};
 *
 *     SP_TRY(check_solve(&job, &row->error));
 *     SP_TRY(sp_gpu_time(bench, &work, row));
 *     SP_TRY(sp_gpu_compare(bench, &processor, images / part, row, "sp_merger_spread"));
 *
 * The floor of a kernel is the longest of three times: its bytes at the rate of a copy, its operations at the rate of
 * multiply-adds, its matrix products at the rate of one large product, all as measured on the same GPU in the same run.
 * Bytes: each array that must be read or written, counted once. */
#include "bench/race.h"
#include "device/device.h"

typedef struct sp_bench sp_bench;
typedef struct sp_row sp_row;

enum { SP_GPU_COPY, SP_GPU_MULTIPLY_ADD, SP_GPU_PRODUCT, SP_GPU_LIMITS };

extern const char *const sp_gpu_limit_names[SP_GPU_LIMITS];

/* The GPU of a run, and what it can do at best. */
typedef struct sp_gpu {
    sp_device *device;                   /* NULL: none is used, or none is there */
    char name[80];                       /* of it; stays when it is closed */
    double rate[SP_GPU_LIMITS];          /* [byte/s], [operation/s], [operation/s] */
    sp_quartiles seconds[SP_GPU_LIMITS]; /* of the calls that these come from */
    double amount[SP_GPU_LIMITS];        /* [byte], [operation] of one such call */
} sp_gpu;

/* Opens the first GPU and measures its limits. Without plugin or GPU: one warning, and `device` stays NULL.
 * Fails with SP_ERR_NUMERIC, SP_ERR_MEMORY, SP_ERR_INTERRUPT. Close with sp_gpu_close(). */
sp_status sp_gpu_open(sp_bench *bench);
void sp_gpu_close(sp_bench *bench);

/* What is timed. */
typedef struct sp_gpu_work {
    sp_status (*run)(const sp_device *device, void *context);    /* one call */
    sp_status (*before)(const sp_device *device, void *context); /* before each, not timed; or NULL */
    void *context;
    double bytes;      /* that must be read or written */
    double operations; /* multiplications and additions in single precision, by formula */
    double products;   /* those of matrix products in bfloat16 */
} sp_gpu_work;

/* The row's time and floor: after a call to warm up, medians over the rounds, by the device's clock. Work so short that
 * the clock would be too coarse runs several times in each round, if it needs nothing before. Fails like `run`, and
 * with SP_ERR_INTERRUPT. */
sp_status sp_gpu_time(sp_bench *bench, const sp_gpu_work *work, sp_row *row);

/* One more comparison of the row: with the processor, all of its threads.
 *   share  of the row's work that the contender does; the rest is taken to last as long
 *   what   runs there: "sp_merger_spread"
 * Fails with SP_ERR_INTERRUPT. */
sp_status sp_gpu_compare(sp_bench *bench, void (*run)(void *context), void *context, double share, sp_row *row,
                         const char *what);

/* ---- arrays of the device that are given back together ---- */

enum { SP_GPU_ARRAYS = 40 };

typedef struct sp_gpu_arrays {
    const sp_device *device;
    int count;
    void *array[SP_GPU_ARRAYS];
} sp_gpu_arrays;

/* *array = room for count elements of `size` bytes, with a copy of `from` in it unless that is NULL. `what` names it.
 * Fails with SP_ERR_MEMORY. */
sp_status sp_gpu_array(sp_gpu_arrays *arrays, ptrdiff_t count, size_t size, const char *what, const void *from,
                       void **array);
void sp_gpu_arrays_release(sp_gpu_arrays *arrays);

/* SP_TRY(SP_GPU_ARRAY(arrays, name, count, from)): elements of the type that pointer `name` points to. */
#define SP_GPU_ARRAY(arrays, name, count, from)                                                                        \
    sp_gpu_array((arrays), (count), sizeof *(name), #name, (from), (void **)&(name))
