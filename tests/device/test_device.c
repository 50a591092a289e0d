/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <sys/wait.h>
#include <unistd.h>

#include "device/gpu.h"

/* Opens a GPU in a process of its own, in which there is none: this one's CUDA has not looked yet. */
static void without_a_gpu_the_reason_names_the_cure(void **state)
{
    (void)state;
    const pid_t child = fork();
    int how = 0;

    assert_true(child >= 0);
    if (child == 0) {
        sp_device *gpu = NULL;

        setenv("CUDA_VISIBLE_DEVICES", "", 1);
        _exit(sp_device_open(gpu_plugin(), 0, &gpu) == SP_ERR_USAGE && strstr(sp_error_text(), "nvidia-smi") && !gpu
                  ? 0
                  : 1);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
}

static void a_plugin_that_is_not_there_is_refused_with_the_cure(void **state)
{
    (void)state;
    sp_device *gpu = NULL;

    assert_int_equal(sp_device_open("/no/such/plugin.so", 0, &gpu), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "/no/such/plugin.so is not there"));
    assert_non_null(strstr(sp_error_text(), "nvcc"));
    assert_null(gpu);
}

/* The test's own folder holds no plugin of that name. */
static void without_a_name_the_plugin_is_sought_beside_the_program(void **state)
{
    (void)state;
    sp_device *gpu = NULL;

    assert_int_equal(sp_device_open(NULL, 0, &gpu), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "/spica-cuda.so is not there"));
}

static void a_file_that_is_no_plugin_is_refused(void **state)
{
    (void)state;
    sp_device *gpu = NULL;

    assert_int_equal(sp_device_open("/proc/self/cmdline", 0, &gpu), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "libraries of CUDA"));
}

static void a_gpu_that_is_not_there_is_refused_by_its_number(void **state)
{
    (void)state;
    sp_device *gpu = NULL;

    assert_int_equal(sp_device_open(gpu_plugin(), 99, &gpu), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "no GPU number 99"));
    assert_int_equal(sp_device_open(gpu_plugin(), -1, &gpu), SP_ERR_USAGE);
    assert_null(gpu);
}

static void an_open_gpu_tells_what_it_is(void **state)
{
    (void)state;
    sp_device *gpu = gpu_open();
    size_t available = 0;

    assert_true(gpu->facts.name[0] != '\0');
    assert_true(gpu->facts.multiprocessors > 0);
    assert_true(gpu->facts.capability[0] >= 8);
    assert_int_equal(gpu->kernels->available(gpu, &available), SP_OK);
    assert_true(available > 0 && available <= gpu->facts.memory);
    sp_device_close(gpu);
    sp_device_close(NULL);
}

static void what_goes_up_comes_down(void **state)
{
    (void)state;
    enum { COUNT = 1000 };
    sp_device *gpu = gpu_open();
    float up[COUNT], down[COUNT];

    for (int i = 0; i < COUNT; i++) {
        up[i] = (float)i;
    }
    void *array = gpu_array(gpu, up, sizeof up);
    assert_int_equal(gpu->kernels->clear(gpu, array, 10 * sizeof *up), SP_OK);
    gpu_take(gpu, array, sizeof down, down);
    for (int i = 0; i < COUNT; i++) {
        assert_true(down[i] == (i < 10 ? 0.0f : up[i]));
    }
    sp_device_close(gpu);
}

static void memory_comes_back(void **state)
{
    (void)state;
    const size_t bytes = (size_t)64 << 20;
    sp_device *gpu = gpu_open();
    size_t before = 0, during = 0, after = 0;
    float *array = NULL;

    assert_int_equal(gpu->kernels->available(gpu, &before), SP_OK);
    assert_int_equal(SP_DEVICE_ARRAY(gpu, array, (ptrdiff_t)(bytes / sizeof *array)), SP_OK);
    assert_int_equal(gpu->kernels->available(gpu, &during), SP_OK);
    gpu->kernels->release(gpu, array);
    gpu->kernels->release(gpu, NULL);
    assert_int_equal(gpu->kernels->available(gpu, &after), SP_OK);
    assert_true(during + bytes <= before);
    assert_true(after >= before);
    sp_device_close(gpu);
}

static void more_memory_than_there_is_is_refused_by_name(void **state)
{
    (void)state;
    sp_device *gpu = gpu_open();
    double *volume = NULL;

    assert_int_equal(SP_DEVICE_ARRAY(gpu, volume, (ptrdiff_t)1 << 44), SP_ERR_MEMORY);
    assert_non_null(strstr(sp_error_text(), "volume: the GPU has no memory"));
    assert_int_equal(SP_DEVICE_ARRAY(gpu, volume, (ptrdiff_t)1 << 62), SP_ERR_MEMORY);
    assert_null(volume);
    assert_int_equal(gpu->kernels->wait(gpu), SP_OK); /* the failure is over */
    sp_device_close(gpu);
}

static void time_passes_between_start_and_stop(void **state)
{
    (void)state;
    const size_t bytes = (size_t)16 << 20;
    sp_device *gpu = gpu_open();
    char *array = NULL;
    double seconds = -1.0;

    assert_int_equal(SP_DEVICE_ARRAY(gpu, array, (ptrdiff_t)bytes), SP_OK);
    assert_int_equal(gpu->kernels->start_timer(gpu), SP_OK);
    assert_int_equal(gpu->kernels->clear(gpu, array, bytes), SP_OK);
    assert_int_equal(gpu->kernels->stop_timer(gpu, &seconds), SP_OK);
    assert_true(seconds > 0.0 && seconds < 60.0);
    gpu->kernels->release(gpu, array);
    sp_device_close(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_gpu_the_reason_names_the_cure),
        cmocka_unit_test(a_plugin_that_is_not_there_is_refused_with_the_cure),
        cmocka_unit_test(without_a_name_the_plugin_is_sought_beside_the_program),
        cmocka_unit_test(a_file_that_is_no_plugin_is_refused),
        cmocka_unit_test(a_gpu_that_is_not_there_is_refused_by_its_number),
        cmocka_unit_test(an_open_gpu_tells_what_it_is),
        cmocka_unit_test(what_goes_up_comes_down),
        cmocka_unit_test(memory_comes_back),
        cmocka_unit_test(more_memory_than_there_is_is_refused_by_name),
        cmocka_unit_test(time_passes_between_start_and_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
