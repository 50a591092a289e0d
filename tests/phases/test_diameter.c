/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/diameter.h"

#include "phases/blobs.h"

enum { SIDE = 64 };

static const double STEP = 1.0 / 640e-10, WAVELENGTH = 1e-10; /* corner at 14 A; P can be seen up to 320 A */

/* Image of a ball of uniform density: the same in every orientation. */
static double *ball_image(const bench *detector, double diameter)
{
    double *mean = NULL;

    assert_int_equal(SP_ARRAY(mean, SIDE * SIDE), SP_OK);
    for (ptrdiff_t p = 0; p < SIDE * SIDE; p++) {
        const double *s = detector->position + 3 * p;
        const double x = M_PI * diameter * sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]);

        mean[p] = pow(3.0 * (sin(x) - x * cos(x)) / (x * x * x), 2.0);
    }
    return mean;
}

static double estimate(double diameter, ptrdiff_t stop)
{
    bench detector = bench_new(1, SIDE, SIDE, STEP, WAVELENGTH);
    double *mean = ball_image(&detector, diameter);

    for (ptrdiff_t p = 0; p < SIDE * SIDE; p++) {
        const ptrdiff_t row = p / SIDE - SIDE / 2, column = p % SIDE - SIDE / 2;

        if (row * row + column * column < stop * stop) {
            detector.bad[p] = 1;
            mean[p] = 1e9;
        }
    }
    const double found = sp_diameter_estimate(&detector.pixels, mean);

    sp_array_free(mean);
    bench_clear(&detector);
    return found;
}

static void a_ball_is_as_large_as_it_is(void **state)
{
    (void)state;
    for (double diameter = 40e-10; diameter < 105e-10; diameter += 10e-10) {
        assert_true(estimate(diameter, 0) > diameter);
        assert_true(estimate(diameter, 0) < 1.5 * diameter);
    }
}

static void a_beam_stop_does_not_hide_the_size(void **state)
{
    (void)state;
    const double diameter = 75e-10, open = estimate(diameter, 0);

    assert_true(fabs(estimate(diameter, 3) / open - 1.0) < 0.1);
}

static void a_particle_beyond_what_the_pixels_resolve_gives_0(void **state)
{
    (void)state;
    assert_true(estimate(1000e-10, 0) == 0.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_ball_is_as_large_as_it_is),
        cmocka_unit_test(a_beam_stop_does_not_hide_the_size),
        cmocka_unit_test(a_particle_beyond_what_the_pixels_resolve_gives_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
