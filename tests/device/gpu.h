/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/gpu.h -- the GPU of the tests in tests/device: the emulator, or what SPICA_DEVICE_PLUGIN names. */

#include "device/device.h"
#include "testing.h"

static inline const char *gpu_plugin(void)
{
    const char *given = getenv("SPICA_DEVICE_PLUGIN");

    return given ? given : SP_TEST_PLUGIN;
}

static inline sp_device *gpu_open(void)
{
    sp_device *gpu = NULL;
    const sp_status status = sp_device_open(gpu_plugin(), 0, &gpu);

    if (status != SP_OK) {
        print_error("%s\n", sp_error_text());
    }
    assert_int_equal(status, SP_OK);
    return gpu;
}

/* A copy on the GPU of `bytes` bytes, followed by as many that are no numbers: what is written beyond shows there. */
static inline void *gpu_array(const sp_device *gpu, const void *from, size_t bytes)
{
    void *array = NULL, *fill = malloc(2 * bytes);

    assert_non_null(fill);
    memset(fill, 0xff, 2 * bytes);
    if (from) {
        memcpy(fill, from, bytes);
    }
    assert_int_equal(gpu->kernels->get(gpu, (ptrdiff_t)(2 * bytes), 1, "array", &array), SP_OK);
    assert_int_equal(gpu->kernels->upload(gpu, fill, 2 * bytes, array), SP_OK);
    free(fill);
    return array;
}

/* Takes an array of gpu_array() away again.   to  receives its contents, NULL: nobody wants them */
static inline void gpu_take(const sp_device *gpu, void *array, size_t bytes, void *to)
{
    unsigned char *all = malloc(2 * bytes);

    assert_non_null(all);
    assert_int_equal(gpu->kernels->download(gpu, array, 2 * bytes, all), SP_OK);
    for (size_t i = bytes; i < 2 * bytes; i++) {
        assert_int_equal(all[i], 0xff);
    }
    if (to) {
        memcpy(to, all, bytes);
    }
    free(all);
    gpu->kernels->release(gpu, array);
}

/* The seed of random inputs: the same in every run, unless SPICA_SEED tells another one, as run-on-gpu.sh does. */
static inline uint64_t fresh_seed(void)
{
    const char *given = getenv("SPICA_SEED");
    const uint64_t seed = given ? strtoull(given, NULL, 10) : 1;

    print_message("SPICA_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}
