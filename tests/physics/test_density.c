/* SPDX-License-Identifier: BSD-3-Clause */
#include <complex.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/fft.h"
#include "physics/density.h"
#include "physics/scattering.h"
#include "testing.h"

enum { ATOMS = 60, N = 20 };
static const double VOXEL = 2e-10; /* [m] */

static sp_atoms random_atoms(void)
{
    static const int elements[] = {6, 7, 8, 16};
    sp_rng rng = sp_rng_stream(5, 1, 0);
    sp_atoms atoms = {.count = ATOMS};

    assert_int_equal(SP_ARRAY(atoms.atom, ATOMS), SP_OK);
    for (int a = 0; a < ATOMS; a++) {
        atoms.atom[a].element = elements[a % 4];
        atoms.atom[a].occupancy = a % 5 ? 1.0 : 0.5;
        for (int axis = 0; axis < 3; axis++) {
            atoms.atom[a].position[axis] = 30e-10 + 0.3 * N * VOXEL * (2.0 * sp_rng_uniform(&rng) - 1.0);
        }
    }
    return atoms;
}

/* F(s) by its definition */
static double complex direct(const sp_atoms *atoms, const double centre[3], const double s[3])
{
    double complex sum = 0.0;

    for (ptrdiff_t a = 0; a < atoms->count; a++) {
        double turns = 0.0;

        for (int axis = 0; axis < 3; axis++) {
            turns += s[axis] * (atoms->atom[a].position[axis] - centre[axis]);
        }
        sum += atoms->atom[a].occupancy *
               sp_scattering_factor(atoms->atom[a].element, sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2])) *
               cexp(-2.0 * M_PI * I * turns);
    }
    return sum;
}

/* The transform of the density, taken back to voxel n/2, against the sum over atoms. */
static void check_transform(ptrdiff_t n)
{
    sp_atoms atoms = random_atoms();
    const double step = 1.0 / ((double)n * VOXEL), s_max = 0.4 / VOXEL;
    double centre[3];
    float *density = NULL;
    float complex *half = NULL;
    sp_fft *plan = NULL;

    assert_int_equal(SP_ARRAY(density, n * n * n), SP_OK);
    assert_int_equal(sp_fft_new(n, &plan), SP_OK);
    assert_int_equal(SP_ARRAY(half, sp_fft_complex_count(plan)), SP_OK);
    sp_atoms_centre(&atoms, centre);
    assert_int_equal(sp_density_from_atoms(&atoms, centre, n, VOXEL, s_max, density), SP_OK);
    sp_fft_forward(plan, density, half);
    for (ptrdiff_t i = 0; i < sp_fft_complex_count(plan); i++) {
        const ptrdiff_t x = i / (n / 2 + 1) / n, y = i / (n / 2 + 1) % n, z = i % (n / 2 + 1);
        const double s[3] = {step * (double)(x <= n / 2 ? x : x - n), step * (double)(y <= n / 2 ? y : y - n),
                             step * (double)z};
        const double turns = (s[0] + s[1] + s[2]) * VOXEL * (double)(n / 2);
        const double complex value = half[i] * cexp(2.0 * M_PI * I * turns);
        const bool inside = sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]) <= s_max;

        assert_true(cabs(value - (inside ? direct(&atoms, centre, s) : 0.0)) < 0.02); /* F(0) is 400 electrons */
    }
    sp_fft_free(plan);
    sp_array_free(half);
    sp_array_free(density);
    sp_atoms_clear(&atoms);
}

static void transform_is_the_sum_over_atoms(void **state)
{
    (void)state;
    check_transform(N);
    check_transform(N + 1);
}

static void centre_and_radius_are_those_of_the_electrons(void **state)
{
    (void)state;
    sp_atom two[2] = {{.position = {1e-9, 0.0, 0.0}, .occupancy = 1.0, .element = 6},
                      {.position = {4e-9, 0.0, 0.0}, .occupancy = 0.5, .element = 24}};
    const sp_atoms atoms = {.count = 2, .atom = two};
    double centre[3];

    sp_atoms_centre(&atoms, centre); /* 6 electrons at 1 nm, 12 at 4 nm */
    assert_true(fabs(centre[0] - 3e-9) < 1e-18 && fabs(centre[1]) < 1e-18);
    assert_true(fabs(sp_atoms_radius(&atoms, centre) - 2e-9) < 1e-18);
}

static void impossible_boxes_are_refused(void **state)
{
    (void)state;
    const sp_atoms atoms = {0};
    const double centre[3] = {0};
    float density[1];

    assert_int_equal(sp_density_from_atoms(&atoms, centre, 3, VOXEL, 1e9, density), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "3 is not in 4..512"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transform_is_the_sum_over_atoms),
        cmocka_unit_test(centre_and_radius_are_those_of_the_electrons),
        cmocka_unit_test(impossible_boxes_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
