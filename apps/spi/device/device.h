/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/device.h -- spica's phases on a GPU.
 *
 * The program knows nothing of CUDA. The kernels are in a plugin, spica-cuda.so beside the program's own file, which is
 * loaded when a GPU is asked for; it exports one table of functions, sp_device_kernels:
 *
 *     SP_TRY(sp_device_open(NULL, 0, &device));
 *     SP_TRY(SP_DEVICE_ARRAY(device, grid, count));            memory of the GPU
 *     SP_TRY(device->kernels->upload(device, from, bytes, grid));
 *     SP_TRY(device->kernels->nufft->interpolate(device, ..., grid, ..., values));
 *     SP_TRY(device->kernels->download(device, values, bytes, to));
 *
 * All functions of the table put their work into one stream of the device, in the order of the calls. They may return
 * before it is done, those apart that hand something to the host. So a failure of a kernel, which is a bug of spica or
 * a fault of the machine, may be told by a later call. Statuses: SP_ERR_MEMORY (the device's memory is used up),
 * SP_ERR_NUMERIC (what CUDA says). One thread at a time uses a device; it need not be the one that opened it.
 *
 * This header and those of the phases (device/nufft.h, ...) are also read by the plugin's C++ compiler. */
#include <stddef.h>

#include "base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct sp_device sp_device;
typedef struct sp_device_state sp_device_state; /* the plugin's own */
typedef struct sp_device_kernels sp_device_kernels;
typedef struct sp_device_nufft_kernels sp_device_nufft_kernels;   /* device/nufft.h */
typedef struct sp_device_match_kernels sp_device_match_kernels;   /* device/match.h */
typedef struct sp_device_polar_kernels sp_device_polar_kernels;   /* device/polar.h */
typedef struct sp_device_phase_kernels sp_device_phase_kernels;   /* device/phase.h */
typedef struct sp_device_shells_kernels sp_device_shells_kernels; /* device/shells.h */
typedef struct sp_device_solve_kernels sp_device_solve_kernels;   /* device/solve.h */

/* What kind of GPU it is. */
typedef struct sp_device_facts {
    char name[256];
    size_t memory;       /* [byte] */
    int multiprocessors; /* number of them */
    int capability[2];   /* 9, 0 is sm_90 */
} sp_device_facts;

struct sp_device {
    const sp_device_kernels *kernels;
    sp_device_state *state;
    sp_device_facts facts;
};

/* An array that is marked `device` lies in the memory of the GPU. */
struct sp_device_kernels {
    const char *version; /* of the program that the plugin belongs to, */
    size_t bytes;        /* and of this struct there */

    /* For sp_device_open() and sp_device_close(): fills state and facts. Fails with SP_ERR_USAGE, SP_ERR_MEMORY,
     * SP_ERR_NUMERIC. */
    sp_status (*open)(sp_device *device, int number);
    void (*close)(sp_device *device);

    /* *array = room for count elements of `size` bytes, not zeroed, aligned to 256 bytes. `what` names it in the error
     * message. Slow, and so is its end: plans get memory, loops do not. */
    sp_status (*get)(const sp_device *device, ptrdiff_t count, size_t size, const char *what, void **array);
    void (*release)(const sp_device *device, void *array); /* NULL is fine */
    sp_status (*available)(const sp_device *device, size_t *bytes);

    /* array = 0.   array  out  device [bytes] */
    sp_status (*clear)(const sp_device *device, void *array, size_t bytes);

    /* to = from. Both return when it is done, and so is everything before it. */
    sp_status (*upload)(const sp_device *device, const void *from, size_t bytes, void *to);   /* to    device */
    sp_status (*download)(const sp_device *device, const void *from, size_t bytes, void *to); /* from  device */

    /* Returns when all work is done. */
    sp_status (*wait)(const sp_device *device);

    /* Time that the device spends between the two calls [s]; the second one waits. */
    sp_status (*start_timer)(const sp_device *device);
    sp_status (*stop_timer)(const sp_device *device, double *seconds);

    const sp_device_nufft_kernels *nufft;
    const sp_device_match_kernels *match;
    const sp_device_polar_kernels *polar;
    const sp_device_solve_kernels *solve;
    const sp_device_shells_kernels *shells;
    const sp_device_phase_kernels *phase;
};

/* SP_TRY(SP_DEVICE_ARRAY(device, name, count)): `count` elements of the type that pointer `name` points to, on the
 * device. */
#define SP_DEVICE_ARRAY(device, name, count)                                                                           \
    (device)->kernels->get((device), (count), sizeof *(name), #name, (void **)&(name))

/* Opens a GPU.
 *   plugin  path of the plugin; NULL: spica-cuda.so beside the program's own file
 *   number  of the GPU, from 0, among those that CUDA_VISIBLE_DEVICES shows
 *   device  receives it; free with sp_device_close() after all its memory; untouched on error
 * Fails with SP_ERR_USAGE (no plugin, not loadable, of another version, no such GPU: the reason names the cure),
 * SP_ERR_MEMORY, SP_ERR_NUMERIC. */
sp_status sp_device_open(const char *plugin, int number, sp_device **device);
void sp_device_close(sp_device *device); /* NULL is fine */

/* The table in the plugin. */
#define SP_DEVICE_TABLE sp_device_plugin

#ifdef __cplusplus
}
#endif
