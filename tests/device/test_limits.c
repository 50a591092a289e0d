/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/limits.h"

#include <math.h>

#include "device/gpu.h"

static void a_copy_is_the_same(void **state)
{
    (void)state;
    enum { COUNT = 1001 };
    sp_device *gpu = gpu_open();
    float from[COUNT], to[COUNT];

    for (int i = 0; i < COUNT; i++) {
        from[i] = (float)i;
    }
    float *on_gpu = gpu_array(gpu, from, sizeof from), *copy = gpu_array(gpu, NULL, sizeof to);

    assert_int_equal(gpu->kernels->limits->copy(gpu, on_gpu, sizeof from, copy), SP_OK);
    gpu_take(gpu, copy, sizeof to, to);
    gpu_take(gpu, on_gpu, sizeof from, NULL);
    sp_device_close(gpu);
    assert_memory_equal(from, to, sizeof from);
}

/* Small whole numbers, which bfloat16 and the sums hold exactly. */
static uint16_t bits_of(int whole)
{
    const float value = (float)whole;
    uint32_t bits;

    memcpy(&bits, &value, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static void a_product_is_that_of_the_rows(void **state)
{
    (void)state;
    enum { N = 40 };
    sp_device *gpu = gpu_open();
    uint16_t a[N * N], b[N * N];
    float product[N * N];

    for (int i = 0; i < N * N; i++) {
        a[i] = bits_of(i % 7 - 3);
        b[i] = bits_of(i % 11 - 4);
    }
    uint16_t *on_a = gpu_array(gpu, a, sizeof a), *on_b = gpu_array(gpu, b, sizeof b);
    float *out = gpu_array(gpu, NULL, sizeof product);

    assert_int_equal(gpu->kernels->limits->multiply(gpu, N, on_a, on_b, out), SP_OK);
    gpu_take(gpu, out, sizeof product, product);
    gpu_take(gpu, on_a, sizeof a, NULL);
    gpu_take(gpu, on_b, sizeof b, NULL);
    sp_device_close(gpu);
    for (int i = 0; i < N * N; i++) {
        int want = 0;

        for (int k = 0; k < N; k++) {
            want += ((i / N * N + k) % 11 - 4) * ((i % N * N + k) % 7 - 3);
        }
        assert_true(product[i] == (float)want);
    }
}

/* Fewer values than a block has chains, as many, and some more. */
static void values_take_all_steps(void **state)
{
    (void)state;
    enum { MOST = 4097, STEPS = 3 * SP_DEVICE_LIMITS_STEPS };
    static const int counts[] = {0, 1, 300, 2048, MOST};
    static float value[MOST];
    sp_device *gpu = gpu_open();

    for (size_t j = 0; j < sizeof counts / sizeof *counts; j++) {
        const size_t bytes = (size_t)counts[j] * sizeof *value;

        for (int i = 0; i < counts[j]; i++) {
            value[i] = (float)(i % 100);
        }
        float *on_gpu = gpu_array(gpu, value, bytes);

        assert_int_equal(gpu->kernels->limits->multiply_add(gpu, 0.9f, 0.3f, STEPS, counts[j], on_gpu), SP_OK);
        gpu_take(gpu, on_gpu, bytes, value);
        for (int i = 0; i < counts[j]; i++) {
            float want = (float)(i % 100);

            for (int step = 0; step < STEPS; step++) {
                want = fmaf(want, 0.9f, 0.3f);
            }
            assert_true(value[i] == want);
        }
    }
    sp_device_close(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_the_same),
        cmocka_unit_test(a_product_is_that_of_the_rows),
        cmocka_unit_test(values_take_all_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
