/* SPDX-License-Identifier: BSD-3-Clause */
/* What kernels of spica take for granted holds on the emulator and on GPUs alike; and the emulator shows mistakes. */
#include <complex.h>
#include <dlfcn.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/rng.h"
#include "device/gpu.h"
#include "device/probe.h"

static const probe_kernels *probe(void)
{
    const char *given = getenv("SPICA_DEVICE_PROBE");
    void *library = dlopen(given ? given : SP_TEST_PROBE, RTLD_NOW | RTLD_LOCAL);

    if (!library) {
        print_error("%s\n", dlerror());
    }
    assert_non_null(library);
    return dlsym(library, "probe_table");
}

static void random_numbers(float *to, ptrdiff_t count, uint64_t index)
{
    sp_rng rng = sp_rng_stream(1, 0, index);

    for (ptrdiff_t i = 0; i < count; i++) {
        to[i] = (float)sp_rng_normal(&rng);
    }
}

static void a_block_sums_through_shuffles_and_shared_memory(void **state)
{
    (void)state;
    enum { BLOCKS = 5 };
    float in[BLOCKS * PROBE_THREADS], out[BLOCKS];

    for (int i = 0; i < BLOCKS * PROBE_THREADS; i++) {
        in[i] = (float)(i * i % 1009); /* whole numbers add up exactly */
    }
    assert_int_equal(probe()->sum_blocks(in, BLOCKS, out), SP_OK);
    for (int b = 0; b < BLOCKS; b++) {
        float sum = 0.0f;

        for (int i = 0; i < PROBE_THREADS; i++) {
            sum += in[b * PROBE_THREADS + i];
        }
        assert_true(out[b] == sum);
    }
}

static void a_warp_votes(void **state)
{
    (void)state;
    enum { WARPS = 3 };
    int in[WARPS * 32], out[WARPS];

    for (int i = 0; i < WARPS * 32; i++) {
        in[i] = i * i / 7;
    }
    assert_int_equal(probe()->count_odd(in, WARPS, out), SP_OK);
    for (int w = 0; w < WARPS; w++) {
        int odd = 0;

        for (int i = 0; i < 32; i++) {
            odd += in[w * 32 + i] % 2;
        }
        assert_int_equal(out[w], odd);
    }
}

static void a_barrier_orders_shared_memory_and_its_absence_shows(void **state)
{
    (void)state;
    const probe_kernels *p = probe();
    float in[PROBE_THREADS], out[PROBE_THREADS];
    int wrong = 0;

    random_numbers(in, PROBE_THREADS, 1);
    assert_int_equal(p->turn(in, true, out), SP_OK);
    for (int i = 0; i < PROBE_THREADS; i++) {
        assert_true(out[i] == in[(i + 1) % PROBE_THREADS]);
    }
    if (p->emulated) {
        random_numbers(in, PROBE_THREADS, 2); /* not what shared memory may still hold */
        assert_int_equal(p->turn(in, false, out), SP_OK);
        for (int i = 0; i < PROBE_THREADS; i++) {
            wrong += out[i] != in[(i + 1) % PROBE_THREADS];
        }
        assert_true(wrong > 0);
    }
}

static void all_threads_leave_one_barrier_before_any_leaves_the_next(void **state)
{
    (void)state;
    int in[PROBE_THREADS], out[PROBE_THREADS], sum = 0;

    for (int i = 0; i < PROBE_THREADS; i++) {
        in[i] = i * i % 1009;
    }
    assert_int_equal(probe()->add_up(in, out), SP_OK);
    for (int i = 0; i < PROBE_THREADS; i++) {
        sum += in[i];
        assert_int_equal(out[i], sum);
    }
}

static void a_block_gets_the_shared_memory_that_it_asks_for(void **state)
{
    (void)state;
    enum { COUNT = 30000 };
    static float data[COUNT];

    for (int i = 0; i < COUNT; i++) {
        data[i] = (float)i;
    }
    assert_int_equal(probe()->reverse(data, COUNT), SP_OK);
    for (int i = 0; i < COUNT; i++) {
        assert_true(data[i] == (float)(COUNT - 1 - i));
    }
    assert_int_equal(probe()->reverse(data, 60000), SP_ERR_NUMERIC); /* more than there is */
}

static void atomics_lose_nothing(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    static int in[COUNT];
    int occurs[16], wanted[16] = {0}, largest = 0, wanted_largest = 0;
    double sum = 0.0, wanted_sum = 0.0;

    for (int i = 0; i < COUNT; i++) {
        in[i] = (int)((int64_t)i * i % 7919);
        wanted[in[i] % 16]++;
        wanted_sum += in[i];
        wanted_largest = in[i] > wanted_largest ? in[i] : wanted_largest;
    }
    assert_int_equal(probe()->tally(in, COUNT, occurs, &largest, &sum), SP_OK);
    assert_memory_equal(occurs, wanted, sizeof occurs);
    assert_int_equal(largest, wanted_largest);
    assert_true(sum == wanted_sum);
}

/* sum_r in[r] exp(-2 pi i k.r / n) of one volume. */
static double complex direct(const probe_shape *shape, const float *in, const int k[3])
{
    const int *n = shape->n;
    double complex sum = 0.0;

    for (int x = 0; x < n[0]; x++) {
        for (int y = 0; y < n[1]; y++) {
            for (int z = 0; z < n[2]; z++) {
                const double turns = (double)k[0] * x / n[0] + (double)k[1] * y / n[1] + (double)k[2] * z / n[2];

                sum += in[(x * n[1] + y) * n[2] + z] * cexp(-2.0 * M_PI * I * turns);
            }
        }
    }
    return sum;
}

static void transforms_equal_the_direct_sum_and_come_back(void **state)
{
    (void)state;
    static const probe_shape shapes[] = {{{6, 6, 6}, 1}, {{4, 5, 6}, 2}, {{3, 2, 7}, 3}};
    float in[512], half[1024], back[512];

    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const probe_shape *shape = &shapes[i];
        const int *n = shape->n, count = n[0] * n[1] * n[2], kept = n[2] / 2 + 1;

        random_numbers(in, count * shape->batch, i);
        assert_int_equal(probe()->transform(*shape, in, half, back), SP_OK);
        for (int j = 0; j < shape->batch * n[0] * n[1] * kept; j++) {
            const int k[3] = {j / kept / n[1] % n[0], j / kept % n[1], j % kept};
            const int b = j / kept / n[1] / n[0];

            assert_true(cabs(direct(shape, in + b * count, k) - (half[2 * j] + I * half[2 * j + 1])) < 1e-4);
        }
        for (int j = 0; j < shape->batch * count; j++) {
            assert_true(fabsf(back[j] / (float)count - in[j]) < 1e-5f);
        }
    }
}

/* Relative error, root mean square. */
static double error_of_product(probe_precision precision)
{
    enum { N = 24, K = 200, BATCH = 2 };
    static float a[BATCH * N * K], b[BATCH * N * K], c[BATCH * N * N];
    double difference = 0.0, norm = 0.0;

    random_numbers(a, BATCH * N * K, 10);
    random_numbers(b, BATCH * N * K, 11);
    assert_int_equal(probe()->multiply(precision, N, K, BATCH, a, b, c), SP_OK);
    for (int i = 0; i < BATCH * N * N; i++) {
        const float *row = a + (i / N / N * N + i % N) * K, *column = b + (i / N) * K;
        double want = 0.0;

        for (int k = 0; k < K; k++) {
            want += (double)row[k] * column[k];
        }
        difference += (c[i] - want) * (c[i] - want);
        norm += want * want;
    }
    return sqrt(difference / norm);
}

static void products_are_as_exact_as_their_precision(void **state)
{
    (void)state;
    const double full = error_of_product(PROBE_FULL), tf32 = error_of_product(PROBE_TF32);
    const double bf16 = error_of_product(PROBE_BF16);

    print_message("products: %.1e in single precision, %.1e with TF32, %.1e with bfloat16\n", full, tf32, bf16);
    assert_true(full < 1e-6);
    assert_true(tf32 < 2e-3);
    assert_true(bf16 < 8e-3);
    if (probe()->emulated) { /* a library may be better than it was asked to be */
        assert_true(tf32 > 1e-4 && bf16 > 1e-3);
    }
}

static void halves_round_to_the_nearest(void **state)
{
    (void)state;
    static const float in[] = {0.0f,     1.0f,      -2.5f,    0x1.002p0f, 0x1.006p0f, 0x1.0021p0f, 65504.0f,
                               65519.0f, -65520.0f, 0x1p-14f, 0x1p-24f,   0x1p-25f,   0x3p-25f,    0x1.ffep-15f};
    static const float want[] = {0.0f,     1.0f,      -2.5f,    1.0f,     0x1.008p0f, 0x1.004p0f, 65504.0f,
                                 65504.0f, -INFINITY, 0x1p-14f, 0x1p-24f, 0.0f,       0x1p-23f,   0x1p-14f};
    enum { COUNT = sizeof in / sizeof *in };
    float out[COUNT];

    assert_int_equal(probe()->round_half(in, COUNT, out), SP_OK);
    for (int i = 0; i < COUNT; i++) {
        assert_true(out[i] == want[i]);
    }
}

static void a_launch_that_cannot_be_fails_by_the_name_of_its_kernel(void **state)
{
    (void)state;

    assert_int_equal(probe()->launch(1024), SP_OK);
    assert_int_equal(probe()->launch(1025), SP_ERR_NUMERIC);
    assert_non_null(strstr(sp_error_text(), "do_nothing_kernel: invalid configuration"));
    assert_int_equal(probe()->launch(32), SP_OK);
}

/* What ends the program ends a child here. */
static bool dies(void (*act)(void))
{
    const pid_t child = fork();
    int how = 0;

    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL); /* not cmocka's */
        signal(SIGSEGV, SIG_DFL);
        fclose(stderr);
        act();
        _exit(0);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    return !WIFEXITED(how) || WEXITSTATUS(how) != 0;
}

static void disagree(void)
{
    (void)probe()->disagree();
}

static void trespass(void)
{
    volatile float value = probe()->trespass();

    (void)value;
}

static void mistakes_that_a_gpu_may_forgive_end_the_emulator(void **state)
{
    (void)state;

    if (probe()->emulated) {
        assert_true(dies(disagree));
        assert_true(dies(trespass));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_sums_through_shuffles_and_shared_memory),
        cmocka_unit_test(a_warp_votes),
        cmocka_unit_test(a_barrier_orders_shared_memory_and_its_absence_shows),
        cmocka_unit_test(all_threads_leave_one_barrier_before_any_leaves_the_next),
        cmocka_unit_test(a_block_gets_the_shared_memory_that_it_asks_for),
        cmocka_unit_test(atomics_lose_nothing),
        cmocka_unit_test(transforms_equal_the_direct_sum_and_come_back),
        cmocka_unit_test(products_are_as_exact_as_their_precision),
        cmocka_unit_test(halves_round_to_the_nearest),
        cmocka_unit_test(a_launch_that_cannot_be_fails_by_the_name_of_its_kernel),
        cmocka_unit_test(mistakes_that_a_gpu_may_forgive_end_the_emulator),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
