/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/dense_kernels.h"
#include "phases/matching.h"

/* The search itself is tested in test_match.c; here are the kernels of every instruction set against plain loops. */

enum { PIXELS = 37, MORE = 5, ORIENTATIONS = 32, IMAGES = 12 }; /* multiples of every kernel's width and images */

static void features_are_accurate_over_twenty_decades(void **state)
{
    (void)state;
    float *intensity = noise(PIXELS, 1), *base = noise(PIXELS, 2), *expected = noise(PIXELS, 3);
    float want[PIXELS], want_loss[PIXELS], got[PIXELS], loss[PIXELS];

    for (int i = 0; i < PIXELS; i++) {
        intensity[i] = i == 3 ? 0.0f : expf(20.0f * intensity[i]);
        base[i] = i == 3 ? 0.0f : fabsf(base[i]);
        expected[i] = 0.1f + fabsf(expected[i]);
    }
    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        for (float r = 0.5f; r < 2000.0f; r *= 10.0f) {
            sp_dense_kernels_ref.features(intensity, base, expected, PIXELS, 0.7f, r, want, want_loss);
            sp_dense_kernels_for((sp_isa)isa)->features(intensity, base, expected, PIXELS, 0.7f, r, got, loss);
            for (int i = 0; i < PIXELS; i++) {
                assert_true(fabsf(got[i] - want[i]) <= 2e-6f * fabsf(want[i]));
                assert_true(fabsf(loss[i] - want_loss[i]) <= 2e-6f * fabsf(want_loss[i]));
            }
        }
    }
    sp_array_free(intensity);
    sp_array_free(base);
    sp_array_free(expected);
}

static void orientations_stand_side_by_side(void **state)
{
    (void)state;
    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        const sp_dense_kernels *k = sp_dense_kernels_for((sp_isa)isa);
        float *x = noise(k->width * PIXELS, 4), *y = noise(k->width * PIXELS, 5);

        k->interleave(x, PIXELS, y);
        for (ptrdiff_t i = 0; i < k->width * PIXELS; i++) {
            assert_true(y[i] == x[i % k->width * PIXELS + i / k->width]);
        }
        sp_array_free(x);
        sp_array_free(y);
    }
}

/* product[n][o] of IMAGES images and ORIENTATIONS features, in two calls of PIXELS and MORE pixels.
 *   image  in  [IMAGES][PIXELS + MORE]     feature  in  [ORIENTATIONS][PIXELS + MORE] */
static void multiply(const sp_dense_kernels *k, const float *image, const float *feature, float *product)
{
    const ptrdiff_t all = PIXELS + MORE;
    float side[ORIENTATIONS * (PIXELS + MORE)];

    assert_int_equal(ORIENTATIONS % k->width, 0);
    assert_int_equal(IMAGES % k->images, 0);
    for (ptrdiff_t o = 0; o < ORIENTATIONS; o += k->width) {
        k->interleave(feature + o * all, all, side);
        for (ptrdiff_t n = 0; n < IMAGES; n += k->images) {
            float *out = product + n * ORIENTATIONS + o;

            k->multiply(image + n * all, all, side, PIXELS, false, out, ORIENTATIONS);
            k->multiply(image + n * all + PIXELS, all, side + PIXELS * k->width, MORE, true, out, ORIENTATIONS);
        }
    }
}

static void products_are_those_of_plain_loops(void **state)
{
    (void)state;
    float *image = noise((ptrdiff_t)IMAGES * (PIXELS + MORE), 7);
    float *feature = noise((ptrdiff_t)ORIENTATIONS * (PIXELS + MORE), 8);
    float want[IMAGES * ORIENTATIONS], got[IMAGES * ORIENTATIONS];

    for (int i = 0; i < IMAGES * ORIENTATIONS; i++) {
        double sum = 0.0;

        for (int p = 0; p < PIXELS + MORE; p++) {
            sum +=
                (double)image[i / ORIENTATIONS * (PIXELS + MORE) + p] * feature[i % ORIENTATIONS * (PIXELS + MORE) + p];
        }
        want[i] = (float)sum;
    }
    multiply(&sp_dense_kernels_ref, image, feature, got);
    assert_true(relative_difference(got, want, (ptrdiff_t)IMAGES * ORIENTATIONS) < 1e-6);
    for (int isa = 0; isa <= (int)sp_isa_best(); isa++) {
        memset(got, 0, sizeof got);
        multiply(sp_dense_kernels_for((sp_isa)isa), image, feature, got);
        assert_true(relative_difference(got, want, (ptrdiff_t)IMAGES * ORIENTATIONS) < 1e-6);
    }
    sp_array_free(image);
    sp_array_free(feature);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(features_are_accurate_over_twenty_decades),
        cmocka_unit_test(orientations_stand_side_by_side),
        cmocka_unit_test(products_are_those_of_plain_loops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
