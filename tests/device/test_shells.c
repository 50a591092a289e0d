/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/shells.h"

#include <complex.h>
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "device/gpu.h"
#include "num/radial.h"

enum { MOST = 4, MOST_EDGE = 20, MOST_SHELLS = MOST_EDGE / 2 + 1 };

/* Random transforms, larger inside, as those of densities. */
static float complex *make_transforms(sp_rng *rng, ptrdiff_t n)
{
    const ptrdiff_t count = MOST * n * n * (n / 2 + 1);
    float complex *half = NULL;

    assert_int_equal(SP_ARRAY(half, count), SP_OK);
    for (ptrdiff_t i = 0; i < count; i++) {
        const float size = (float)exp(-0.3 * (double)(i % (n / 2 + 1)));

        half[i] = size * ((float)sp_rng_normal(rng) + I * (float)sp_rng_normal(rng));
    }
    return half;
}

static void take_means(ptrdiff_t n, const float complex *a, const float complex *b, int pairs,
                       sp_device_shell_means *mean)
{
    sp_device *gpu = gpu_open();
    const size_t bytes = (size_t)pairs * (size_t)(n * n * (n / 2 + 1)) * sizeof *a;
    void *on_a = gpu_array(gpu, a, bytes), *on_b = gpu_array(gpu, b, bytes);
    sp_device_shells *shells = NULL;

    assert_int_equal(gpu->kernels->shells->make(gpu, n, pairs, &shells), SP_OK);
    assert_int_equal(gpu->kernels->shells->cross(gpu, shells, on_a, on_b, pairs, mean), SP_OK);
    gpu->kernels->shells->release(gpu, shells);
    gpu_take(gpu, on_a, bytes, NULL);
    gpu_take(gpu, on_b, bytes, NULL);
    sp_device_close(gpu);
}

/* Greatest difference of means, relative to the powers. */
static double compare(ptrdiff_t n, const float complex *a, const float complex *b, const sp_device_shell_means *mean)
{
    double cross[MOST_SHELLS], power_a[MOST_SHELLS], power_b[MOST_SHELLS], worst = 0.0;

    sp_radial_cross(n, a, b, cross);
    sp_radial_cross(n, a, a, power_a);
    sp_radial_cross(n, b, b, power_b);
    for (ptrdiff_t k = 0; k < sp_radial_shells(n); k++) {
        worst = fmax(worst, fabs(mean[k].cross - cross[k]) / sqrt(power_a[k] * power_b[k]));
        worst = fmax(worst, fabs(mean[k].power_a / power_a[k] - 1.0));
        worst = fmax(worst, fabs(mean[k].power_b / power_b[k] - 1.0));
    }
    return worst;
}

/* Edges that fill warps, and that do not; even and odd. */
static void shell_means_are_those_of_the_processor(void **state)
{
    (void)state;
    static const int edges[] = {2, 3, 8, 17, MOST_EDGE}, pairs[] = {1, 3, 4, 1, 1};
    sp_rng rng = sp_rng_stream(fresh_seed(), 1, 0);
    static sp_device_shell_means mean[MOST * MOST_SHELLS], again[MOST * MOST_SHELLS];
    double worst = 0.0;

    for (int i = 0; i < 5; i++) {
        const ptrdiff_t n = edges[i], count = n * n * (n / 2 + 1);
        float complex *a = make_transforms(&rng, n), *b = make_transforms(&rng, n);

        take_means(n, a, b, pairs[i], mean);
        take_means(n, a, b, pairs[i], again);
        assert_memory_equal(mean, again, (size_t)(pairs[i] * sp_radial_shells(n)) * sizeof *mean);
        for (int k = 0; k < pairs[i]; k++) {
            worst = fmax(worst, compare(n, a + k * count, b + k * count, mean + k * sp_radial_shells(n)));
        }
        sp_array_free(a);
        sp_array_free(b);
    }
    print_message("shells: %.1e\n", worst);
    assert_true(worst < 1e-12);
}

/* More than a warp reads of a row, and more rows than blocks take at a time. */
static void a_large_transform_has_the_means_of_the_processor(void **state)
{
    (void)state;
    enum { EDGE = 64, SHELLS = EDGE / 2 + 1, COUNT = EDGE * EDGE * SHELLS };
    sp_rng rng = sp_rng_stream(fresh_seed(), 2, 0);
    static sp_device_shell_means mean[SHELLS];
    double want[SHELLS];
    float complex *a = NULL;

    assert_int_equal(SP_ARRAY(a, COUNT), SP_OK);
    for (int i = 0; i < COUNT; i++) {
        a[i] = (float)sp_rng_normal(&rng) + I * (float)sp_rng_normal(&rng);
    }
    take_means(EDGE, a, a, 1, mean);
    sp_radial_cross(EDGE, a, a, want);
    for (int k = 0; k < SHELLS; k++) {
        assert_true(fabs(mean[k].cross / want[k] - 1.0) < 1e-12);
    }
    sp_array_free(a);
}

static void what_does_not_fit_is_refused_by_name(void **state)
{
    (void)state;
    sp_device *gpu = gpu_open();
    sp_device_shells *shells = NULL;

    assert_int_equal(gpu->kernels->shells->make(gpu, 1001, 1, &shells), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "edge 1001"));
    assert_null(shells);
    assert_int_equal(gpu->kernels->shells->make(gpu, 8, 2, &shells), SP_OK);
    assert_int_equal(gpu->kernels->shells->cross(gpu, shells, NULL, NULL, 3, NULL), SP_ERR_USAGE);
    assert_int_equal(gpu->kernels->shells->cross(gpu, shells, NULL, NULL, 0, NULL), SP_OK);
    gpu->kernels->shells->release(gpu, shells);
    sp_device_close(gpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shell_means_are_those_of_the_processor),
        cmocka_unit_test(a_large_transform_has_the_means_of_the_processor),
        cmocka_unit_test(what_does_not_fit_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
