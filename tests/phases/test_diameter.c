/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/diameter.h"

#include "phases/blobs.h"

enum { SIDE = 64, PIXELS = SIDE * SIDE };

static const double STEP = 1.0 / 640e-10, WAVELENGTH = 1e-10; /* corner at 14 A; P can be seen up to 320 A */
static const double ANGSTROM = 1e-10, DETAIL = 14e-10;        /* DETAIL: finest that the corner resolves [m] */

/* Scattering curve of two balls of this diameter [m] whose centres are `apart` [m], over all orientations (Debye);
 * apart = 0 is one ball. */
static double two_balls(double diameter, double apart, double s)
{
    const double x = M_PI * diameter * s, d = 2.0 * M_PI * apart * s;
    const double ball = x > 1e-3 ? 3.0 * (sin(x) - x * cos(x)) / (x * x * x) : 1.0;

    return ball * ball * 0.5 * (1.0 + (d > 1e-3 ? sin(d) / d : 1.0));
}

/* A mean image on its detector. */
typedef struct scene {
    bench detector;
    double *mean;
} scene;

static scene make_scene(double diameter, double apart)
{
    scene s = {.detector = bench_new(1, SIDE, SIDE, STEP, WAVELENGTH)};

    assert_int_equal(SP_ARRAY(s.mean, PIXELS), SP_OK);
    for (ptrdiff_t p = 0; p < PIXELS; p++) {
        const double *at = s.detector.position + 3 * p;

        s.mean[p] = two_balls(diameter, apart, sqrt(at[0] * at[0] + at[1] * at[1] + at[2] * at[2]));
    }
    return s;
}

static void clear_scene(scene *s)
{
    bench_clear(&s->detector);
    sp_array_free(s->mean);
}

/* Values under a beam stop are not to be touched: not a number. Radius in pixels. */
static void cover_centre(scene *s, double radius)
{
    for (ptrdiff_t p = 0; p < PIXELS; p++) {
        const double row = (double)(p / SIDE) - 0.5 * (SIDE - 1), column = (double)(p % SIDE) - 0.5 * (SIDE - 1);

        if (row * row + column * column < radius * radius) {
            s->detector.bad[p] = 1;
            s->mean[p] = NAN;
        }
    }
}

static double estimate(const scene *s)
{
    return sp_diameter_estimate(&s->detector.pixels, s->mean);
}

/* The estimate adds 15 % for thin ends, which these have not; the rest is good to the finest detail. */
static void check_length(const scene *s, double length)
{
    const double found = estimate(s) / 1.15;

    assert_true(found > length - 0.25 * DETAIL && found < length + DETAIL);
    assert_true(fabs(found / length - 1.0) < 0.15);
}

static void balls_of_any_size_are_measured(void **state)
{
    (void)state;
    for (double diameter = 75.0 * ANGSTROM; diameter < 251.0 * ANGSTROM; diameter += 25.0 * ANGSTROM) {
        scene s = make_scene(diameter, 0.0);

        check_length(&s, diameter);
        clear_scene(&s);
    }
}

/* The largest distance, not the mean one, counts: long particles have few pairs at the end. */
static void a_dumbbell_is_as_long_as_both_balls_and_their_distance(void **state)
{
    (void)state;
    for (double apart = 25.0 * ANGSTROM; apart < 101.0 * ANGSTROM; apart += 25.0 * ANGSTROM) {
        scene s = make_scene(50.0 * ANGSTROM, apart);

        check_length(&s, apart + 50.0 * ANGSTROM);
        clear_scene(&s);
    }
}

static void brightness_does_not_matter(void **state)
{
    (void)state;
    scene s = make_scene(100.0 * ANGSTROM, 0.0);
    const double dim = estimate(&s);

    for (ptrdiff_t p = 0; p < PIXELS; p++) {
        s.mean[p] *= 1e6;
    }
    assert_true(fabs(estimate(&s) / dim - 1.0) < 1e-9);
    clear_scene(&s);
}

/* Guinier's law supplies what the stop hides. */
static void a_beam_stop_does_not_hide_the_size(void **state)
{
    (void)state;
    for (double diameter = 75.0 * ANGSTROM; diameter < 176.0 * ANGSTROM; diameter += 25.0 * ANGSTROM) {
        scene s = make_scene(diameter, 0.0);
        const double open = estimate(&s);

        cover_centre(&s, 0.3 / (diameter * STEP));
        assert_true(s.detector.bad[PIXELS / 2 + SIDE / 2]);
        assert_true(fabs(estimate(&s) / open - 1.0) < 0.1);
        clear_scene(&s);
    }
}

static void bad_pixels_are_not_looked_at(void **state)
{
    (void)state;
    scene s = make_scene(100.0 * ANGSTROM, 0.0);
    const double whole = estimate(&s);

    for (ptrdiff_t p = 0; p < PIXELS; p += 1 + p % 7) {
        s.detector.bad[p] = 1;
        s.mean[p] = NAN;
    }
    assert_true(fabs(estimate(&s) / whole - 1.0) < 0.1);
    clear_scene(&s);
}

/* A million photons in all: 200 images of 5000. */
static void photon_noise_does_not_matter(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 5; seed++) {
        sp_rng rng = sp_rng_stream(seed, 1, 1);
        scene s = make_scene(100.0 * ANGSTROM, 0.0);
        const double whole = estimate(&s);
        double sum = 0.0;

        for (ptrdiff_t p = 0; p < PIXELS; p++) {
            sum += s.mean[p];
        }
        for (ptrdiff_t p = 0; p < PIXELS; p++) {
            s.mean[p] = (double)sp_rng_poisson(&rng, 1e6 / sum * s.mean[p]);
        }
        assert_true(fabs(estimate(&s) / whole - 1.0) < 0.15);
        clear_scene(&s);
    }
}

static void a_particle_too_large_for_the_pixels_gives_0(void **state)
{
    (void)state;
    for (double diameter = 350.0; diameter < 1100.0; diameter += 50.0) {
        scene s = make_scene(diameter * ANGSTROM, 0.0);

        assert_true(estimate(&s) == 0.0);
        clear_scene(&s);
    }
}

static void a_dark_image_gives_0(void **state)
{
    (void)state;
    scene s = make_scene(100.0 * ANGSTROM, 0.0);

    memset(s.mean, 0, PIXELS * sizeof *s.mean);
    assert_true(estimate(&s) == 0.0);
    cover_centre(&s, 2.0 * SIDE); /* all pixels bad */
    assert_true(estimate(&s) == 0.0);
    clear_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(balls_of_any_size_are_measured),
        cmocka_unit_test(a_dumbbell_is_as_long_as_both_balls_and_their_distance),
        cmocka_unit_test(brightness_does_not_matter),
        cmocka_unit_test(a_beam_stop_does_not_hide_the_size),
        cmocka_unit_test(bad_pixels_are_not_looked_at),
        cmocka_unit_test(photon_noise_does_not_matter),
        cmocka_unit_test(a_particle_too_large_for_the_pixels_gives_0),
        cmocka_unit_test(a_dark_image_gives_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
