/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/amplitudes.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "phases/phase_point.h"
#include "testing.h"

enum { EDGE = 32, DEPTH = EDGE / 2 + 1, COUNT = EDGE * EDGE * DEPTH };

static const double VOXEL = 1e-10;

/* By small steps. */
static double slow_root(double t)
{
    double sum = 0.0, norm = 0.0;

    for (int i = 0; i < 400000; i++) {
        const double x = (i + 0.5) * 1e-4, weight = exp(-0.5 * (x - t) * (x - t) + 0.5 * (t < 0.0 ? t * t : 0.0));

        sum += sqrt(x) * weight;
        norm += weight;
    }
    return sum / norm;
}

static void roots_are_those_of_small_steps(void **state)
{
    (void)state;
    static const double at[] = {-30.0, -8.1, -7.9, -3.0, -0.5, 0.0, 0.7, 2.0, 5.0, 7.9, 8.1, 20.0};

    for (size_t i = 0; i < sizeof at / sizeof *at; i++) {
        const double want = slow_root(at[i]);

        assert_true(fabs(sp_amplitudes_root(at[i]) - want) < 2e-3 * want);
    }
}

/* An exponential distribution with normal noise. */
static double noisy(sp_rng *rng, double mean, double noise)
{
    return -mean * log(1.0 - sp_rng_uniform(rng)) + noise * sp_rng_normal(rng);
}

static void noise_is_found_from_negative_intensities(void **state)
{
    (void)state;
    static const double ratio[] = {0.05, 0.3, 1.0, 4.0};
    enum { DRAWN = 400000 };
    sp_rng rng = sp_rng_stream(3, 1, 0);

    for (int i = 0; i < 4; i++) {
        double negative = 0.0;

        for (int n = 0; n < DRAWN; n++) {
            const double x = noisy(&rng, 1.0, ratio[i]);

            negative += x < 0.0 ? x * x / DRAWN : 0.0;
        }
        assert_true(fabs(sp_amplitudes_noise(negative) - ratio[i]) < 0.05 * ratio[i]);
    }
    assert_true(sp_amplitudes_noise(0.0) == 0.0);
}

typedef struct frequencies {
    float *intensity, *amplitude, *truth;
    sp_amplitudes *made;
} frequencies;

static frequencies make_frequencies(double noise)
{
    frequencies f;
    sp_rng rng = sp_rng_stream(5, 1, 0);

    assert_int_equal(SP_ARRAY(f.intensity, COUNT), SP_OK);
    assert_int_equal(SP_ARRAY(f.amplitude, COUNT), SP_OK);
    assert_int_equal(SP_ARRAY(f.truth, COUNT), SP_OK);
    assert_int_equal(sp_amplitudes_new(EDGE, VOXEL, &f.made), SP_OK);
    for (ptrdiff_t i = 0; i < COUNT; i++) {
        const double intensity = noisy(&rng, 7.0, 0.0);

        f.truth[i] = (float)sqrt(intensity);
        f.intensity[i] = (float)(intensity + 7.0 * noise * sp_rng_normal(&rng));
    }
    return f;
}

static void clear_frequencies(frequencies *f)
{
    sp_array_free(f->intensity);
    sp_array_free(f->amplitude);
    sp_array_free(f->truth);
    sp_amplitudes_free(f->made);
}

/* Mean square of what amplitudes are off, those that are plain roots or those that are made. */
static double off(const frequencies *f, bool plain)
{
    double sum = 0.0;

    for (ptrdiff_t i = 0; i < COUNT; i++) {
        const double root = sqrt(fmax((double)f->intensity[i], 0.0)), a = plain ? root : (double)f->amplitude[i];

        sum += pow(a - (double)f->truth[i], 2.0) / COUNT;
    }
    return sum;
}

/* Where there is no noise, or what looks like it is none. */
static void amplitudes_without_noise_are_roots(void **state)
{
    (void)state;
    static const double noise[] = {1.0, 0.0};

    for (int i = 0; i < 2; i++) {
        const bool noisy = i > 0;
        frequencies f = make_frequencies(noise[i]);

        sp_amplitudes_make(f.made, f.intensity, 0.0, INFINITY, noisy, f.amplitude);
        for (ptrdiff_t n = 0; n < COUNT; n++) {
            assert_true(f.amplitude[n] == (float)sqrt(fmax((double)f.intensity[n], 0.0)));
        }
        clear_frequencies(&f);
    }
}

/* No estimate is nearer on average than what is expected. */
static void amplitudes_with_noise_are_nearer_to_the_truth_than_roots(void **state)
{
    (void)state;
    static const double noise[] = {0.2, 1.0, 3.0};
    static const double gain[] = {0.95, 0.6, 0.25};

    for (int i = 0; i < 3; i++) {
        frequencies f = make_frequencies(noise[i]);

        sp_amplitudes_make(f.made, f.intensity, 0.0, INFINITY, true, f.amplitude);
        assert_true(off(&f, false) < gain[i] * off(&f, true));
        clear_frequencies(&f);
    }
}

static void frequencies_outside_are_left_out(void **state)
{
    (void)state;
    const double step = 1.0 / (EDGE * VOXEL);
    frequencies f = make_frequencies(1.0);

    for (ptrdiff_t i = 0; i < COUNT; i++) { /* in the same array */
        f.amplitude[i] = f.intensity[i];
    }
    sp_amplitudes_make(f.made, f.amplitude, 2.5 * step, 9.5 * step, true, f.amplitude);
    for (ptrdiff_t z = 0; z < DEPTH; z++) {
        assert_true(z > 2 || f.amplitude[z] == SP_PHASE_UNKNOWN);
        assert_true(z < 3 || z > 9 || f.amplitude[z] > 0.0f);
        assert_true(z < 10 || f.amplitude[z] == 0.0f);
    }
    clear_frequencies(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roots_are_those_of_small_steps),
        cmocka_unit_test(noise_is_found_from_negative_intensities),
        cmocka_unit_test(amplitudes_without_noise_are_roots),
        cmocka_unit_test(amplitudes_with_noise_are_nearer_to_the_truth_than_roots),
        cmocka_unit_test(frequencies_outside_are_left_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
