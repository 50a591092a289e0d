/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "physics/detector.h"
#include "physics/particle.h"
#include "physics/scattering.h"
#include "testing.h"

enum { ATOMS = 400 };

/* A ball of atoms of five elements, away from the origin. */
static sp_atoms make_molecule(double radius)
{
    static const int elements[] = {1, 6, 7, 8, 16};
    sp_rng rng = sp_rng_stream(3, 1, 0);
    sp_atoms atoms = {.count = ATOMS};

    assert_int_equal(SP_ARRAY(atoms.atom, ATOMS), SP_OK);
    for (int a = 0; a < ATOMS; a++) {
        sp_atom *atom = &atoms.atom[a];

        atom->element = elements[a % 5];
        atom->occupancy = a % 7 ? 1.0 : 0.5;
        do {
            for (int i = 0; i < 3; i++) {
                atom->position[i] = radius * (2.0 * sp_rng_uniform(&rng) - 1.0);
            }
        } while (hypot(hypot(atom->position[0], atom->position[1]), atom->position[2]) > radius);
        for (int i = 0; i < 3; i++) {
            atom->position[i] += 3e-9 * (i + 1);
        }
    }
    return atoms;
}

static sp_detector_map make_detector(ptrdiff_t pixels)
{
    const sp_detector detector = {.pixels = pixels, .size = 0.1, .distance = 0.12, .energy = 4600.0};
    sp_detector_map map = {0};
    double distance = 0.0;

    assert_int_equal(sp_detector_map_new(&detector, &map, &distance), SP_OK);
    return map;
}

/* |F(s)| by the sum over all atoms. */
static double direct_amplitude(const sp_atoms *atoms, const double s[3])
{
    const double length = sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]);
    double re = 0.0, im = 0.0;

    for (ptrdiff_t a = 0; a < atoms->count; a++) {
        const sp_atom *atom = &atoms->atom[a];
        const double f = atom->occupancy * sp_scattering_factor(atom->element, length);
        const double phase =
            2.0 * M_PI * (s[0] * atom->position[0] + s[1] * atom->position[1] + s[2] * atom->position[2]);

        re += f * cos(phase);
        im += f * sin(phase);
    }
    return hypot(re, im);
}

/* Relative error of |F| in each of 4 shells of |s|, for one random orientation. */
static void check_against_direct_sum(double radius, uint64_t index)
{
    sp_atoms atoms = make_molecule(radius);
    sp_detector_map map = make_detector(20);
    sp_particle *particle = NULL;
    sp_rng rng = sp_rng_stream(4, 1, index);
    const sp_quat q = sp_quat_random(&rng);
    const sp_mat3 rotation = sp_quat_to_matrix(q);
    float pattern[400];
    double error[4] = {0}, power[4] = {0};

    assert_int_equal(sp_particle_new(&atoms, &map, &particle), SP_OK);
    sp_particle_pattern(particle, &map, q, pattern);
    for (int p = 0; p < 400; p++) {
        double s[3];
        sp_mat3_apply_transpose(&rotation, map.position + 3 * p, s);
        const double exact = direct_amplitude(&atoms, s);
        const int shell =
            (int)fmin(3.0, 4.0 * sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]) / sp_detector_extent(&map));

        error[shell] += pow(sqrt(pattern[p]) - exact, 2.0);
        power[shell] += exact * exact;
    }
    for (int shell = 0; shell < 4; shell++) {
        assert_true(error[shell] < 1e-8 * power[shell]);
    }
    sp_particle_free(particle);
    sp_detector_map_clear(&map);
    sp_atoms_clear(&atoms);
}

static void patterns_equal_the_sum_over_atoms(void **state)
{
    (void)state;
    check_against_direct_sum(2.5e-9, 0);
    check_against_direct_sum(2.5e-9, 1);
    check_against_direct_sum(8.1e-9, 2);
    check_against_direct_sum(0.3e-9, 3);
}

static void one_atom_scatters_by_its_factor(void **state)
{
    (void)state;
    sp_atom atom = {.element = 26, .occupancy = 0.5, .position = {1e-9, 2e-9, 3e-9}};
    const sp_atoms atoms = {.count = 1, .atom = &atom};
    sp_detector_map map = make_detector(4);
    sp_particle *particle = NULL;
    float pattern[16];

    assert_int_equal(sp_particle_new(&atoms, &map, &particle), SP_OK);
    assert_true(sp_particle_diameter(particle) == 0.0);
    sp_particle_pattern(particle, &map, sp_quat_identity(), pattern);
    for (int p = 0; p < 16; p++) {
        const double *s = map.position + 3 * p;
        const double f = 0.5 * sp_scattering_factor(26, sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]));

        assert_true(fabs(pattern[p] - f * f) < 1e-4 * f * f);
    }
    sp_particle_free(particle);
    sp_detector_map_clear(&map);
}

static void friedel_partners_are_equally_bright(void **state)
{
    (void)state;
    sp_atoms atoms = make_molecule(2e-9);
    sp_detector_map map = make_detector(8), opposite = make_detector(8);
    sp_particle *particle = NULL;
    float a[64], b[64];
    sp_rng rng = sp_rng_stream(5, 1, 0);
    const sp_quat q = sp_quat_random(&rng);

    for (ptrdiff_t i = 0; i < 3 * map.pixels; i++) {
        opposite.position[i] = -map.position[i];
    }
    assert_int_equal(sp_particle_new(&atoms, &map, &particle), SP_OK);
    sp_particle_pattern(particle, &map, q, a);
    sp_particle_pattern(particle, &opposite, q, b);
    for (int p = 0; p < 64; p++) {
        assert_true(fabsf(a[p] - b[p]) < 1e-3f * a[p] + 1.0f); /* of 1e3 .. 1e6 */
    }
    sp_particle_free(particle);
    sp_detector_map_clear(&opposite);
    sp_detector_map_clear(&map);
    sp_atoms_clear(&atoms);
}

/* The convention of the project: q turns the molecule, so that s_mol = R(q)^T s_lab. */
static void orientation_turns_the_molecule(void **state)
{
    (void)state;
    sp_atoms atoms = make_molecule(2e-9), turned = make_molecule(2e-9);
    sp_detector_map map = make_detector(12);
    sp_particle *particle = NULL, *turned_particle = NULL;
    sp_rng rng = sp_rng_stream(6, 1, 0);
    const sp_quat q = sp_quat_random(&rng);
    const sp_mat3 rotation = sp_quat_to_matrix(q);
    float a[144], b[144];

    for (int i = 0; i < ATOMS; i++) {
        sp_mat3_apply(&rotation, atoms.atom[i].position, turned.atom[i].position);
    }
    assert_int_equal(sp_particle_new(&atoms, &map, &particle), SP_OK);
    assert_int_equal(sp_particle_new(&turned, &map, &turned_particle), SP_OK);
    sp_particle_pattern(particle, &map, q, a);
    sp_particle_pattern(turned_particle, &map, sp_quat_identity(), b);
    for (int p = 0; p < 144; p++) {
        assert_true(fabsf(a[p] - b[p]) < 1e-3f * a[p] + 1.0f);
    }
    sp_particle_free(particle);
    sp_particle_free(turned_particle);
    sp_detector_map_clear(&map);
    sp_atoms_clear(&atoms);
    sp_atoms_clear(&turned);
}

static void diameter_reaches_to_the_outermost_atoms(void **state)
{
    (void)state;
    sp_atom pair[2] = {{.element = 6, .occupancy = 1.0, .position = {0.0, 0.0, 0.0}},
                       {.element = 12, .occupancy = 1.0, .position = {0.0, 3e-9, 0.0}}};
    const sp_atoms atoms = {.count = 2, .atom = pair};
    sp_detector_map map = make_detector(4);
    sp_particle *particle = NULL;

    assert_int_equal(sp_particle_new(&atoms, &map, &particle), SP_OK);
    assert_float_equal(1e9 * sp_particle_diameter(particle), 4.0, 1e-6); /* the centre is at 2 nm */
    sp_particle_free(particle);
    sp_detector_map_clear(&map);
}

static void too_large_a_particle_is_refused(void **state)
{
    (void)state;
    sp_atom pair[2] = {{.element = 6, .occupancy = 1.0}, {.element = 6, .occupancy = 1.0, .position = {1e-6, 0, 0}}};
    const sp_atoms atoms = {.count = 2, .atom = pair};
    sp_detector_map map = make_detector(4);
    sp_particle *particle = NULL;

    assert_int_equal(sp_particle_new(&atoms, &map, &particle), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "a particle of 1000 nm"));
    assert_null(particle);
    sp_detector_map_clear(&map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_equal_the_sum_over_atoms),       cmocka_unit_test(one_atom_scatters_by_its_factor),
        cmocka_unit_test(friedel_partners_are_equally_bright),     cmocka_unit_test(orientation_turns_the_molecule),
        cmocka_unit_test(diameter_reaches_to_the_outermost_atoms), cmocka_unit_test(too_large_a_particle_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
