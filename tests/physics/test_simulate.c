/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "physics/detector.h"
#include "physics/simulate.h"
#include "testing.h"

enum { EDGE = 12, PIXELS = EDGE * EDGE };

/* Two small molecules in front of a small detector. */
typedef struct bench {
    sp_detector_map map;
    sp_species species[2];
} bench;

static void set_up(bench *b)
{
    const sp_detector detector = {.pixels = EDGE, .size = 0.1, .distance = 0.2, .energy = 4600.0, .beam_stop = 1.0};
    sp_atom atom[4] = {{.element = 6, .occupancy = 1.0, .position = {0.0, 0.0, 0.0}},
                       {.element = 8, .occupancy = 1.0, .position = {2e-9, 0.0, 0.0}},
                       {.element = 16, .occupancy = 1.0, .position = {0.0, 1e-9, 0.0}},
                       {.element = 7, .occupancy = 1.0, .position = {0.0, 0.0, 3e-9}}};
    const sp_atoms large = {.count = 4, .atom = atom}, small = {.count = 2, .atom = atom};
    double distance = 0.0;

    *b = (bench){.species = {{.weight = 3.0}, {.weight = 1.0}}};
    assert_int_equal(sp_detector_map_new(&detector, &b->map, &distance), SP_OK);
    assert_int_equal(sp_particle_new(&large, &b->map, &b->species[0].particle), SP_OK);
    assert_int_equal(sp_particle_new(&small, &b->map, &b->species[1].particle), SP_OK);
}

static void tear_down(bench *b)
{
    sp_particle_free(b->species[0].particle);
    sp_particle_free(b->species[1].particle);
    sp_detector_map_clear(&b->map);
}

static sp_simulation simulation_of(const bench *b)
{
    return (sp_simulation){.map = &b->map,
                           .species = b->species,
                           .structures = 2,
                           .fluence = 1e30,
                           .spread = 0.3,
                           .poisson = true,
                           .seed = 42};
}

static void an_image_depends_on_its_number_only(void **state)
{
    (void)state;
    enum { IMAGES = 9 };
    bench b;
    static float together[IMAGES][PIXELS], apart[IMAGES][PIXELS];
    const int threads = omp_get_max_threads();

    set_up(&b);
    const sp_simulation sim = simulation_of(&b);
    omp_set_num_threads(1);
    sp_simulation_images(&sim, 0, IMAGES, together[0]);
    omp_set_num_threads(3);
    sp_simulation_images(&sim, 0, 2, apart[0]);
    sp_simulation_images(&sim, 2, IMAGES - 2, apart[2]);
    omp_set_num_threads(threads);
    assert_memory_equal(together, apart, sizeof together);
    assert_memory_not_equal(together[0], together[1], sizeof together[0]);
    tear_down(&b);
}

static void expected_photons_are_fluence_times_cross_section(void **state)
{
    (void)state;
    bench b;
    sp_atom atom = {.element = 26, .occupancy = 1.0};
    const sp_atoms atoms = {.count = 1, .atom = &atom};
    sp_species iron = {.weight = 1.0};
    float image[PIXELS], bare[PIXELS];

    set_up(&b);
    sp_simulation sim = simulation_of(&b);
    assert_int_equal(sp_particle_new(&atoms, &b.map, &iron.particle), SP_OK);
    sim.structures = 1;
    sim.species = &iron;
    sim.spread = 0.0;
    sim.poisson = false;
    sp_simulation_images(&sim, 0, 1, image);
    sp_particle_pattern(iron.particle, &b.map, sp_quat_identity(), bare);
    for (int p = 0; p < PIXELS; p++) {
        /* r_e^2 = 7.9407877e-30 m^2 */
        const double photons = 1e30 * 7.9407877e-30 * b.map.polarization[p] * b.map.solid_angle[p] * bare[p];

        assert_true(fabs(image[p] - (b.map.bad[p] ? 0.0 : photons)) <= 1e-4 * photons);
    }
    assert_true(b.map.bad[EDGE / 2 * EDGE + EDGE / 2]);
    sp_particle_free(iron.particle);
    tear_down(&b);
}

/* Sum over many images, each with its Poisson noise. */
static void images_hold_the_wanted_number_of_photons(void **state)
{
    (void)state;
    enum { IMAGES = 2000 };
    const double wanted = 200.0;
    bench b;
    static float images[IMAGES * PIXELS];
    double per_fluence = 0.0, sum = 0.0;

    set_up(&b);
    sp_simulation sim = simulation_of(&b);
    sim.spread = 0.0;
    assert_int_equal(sp_simulation_photons_per_fluence(&sim, &per_fluence), SP_OK);
    sim.fluence = wanted / per_fluence;
    sp_simulation_images(&sim, 0, IMAGES, images);
    for (ptrdiff_t i = 0; i < IMAGES * PIXELS; i++) {
        assert_true(images[i] >= 0.0f && images[i] == floorf(images[i]));
        sum += images[i];
    }
    assert_true(fabs(sum / IMAGES / wanted - 1.0) < 0.04); /* few pixels, two molecules of different brightness */
    tear_down(&b);
}

static void noise_has_the_variance_of_poisson(void **state)
{
    (void)state;
    enum { IMAGES = 1500 };
    bench b;
    static float noisy[IMAGES * PIXELS], clean[IMAGES * PIXELS];
    double chi2 = 0.0, bias = 0.0, expected = 0.0;

    set_up(&b);
    sp_simulation sim = simulation_of(&b);
    sp_simulation_images(&sim, 0, IMAGES, noisy);
    sim.poisson = false;
    sp_simulation_images(&sim, 0, IMAGES, clean);
    for (ptrdiff_t i = 0; i < IMAGES * PIXELS; i++) {
        bias += noisy[i] - clean[i];
        chi2 += (noisy[i] - clean[i]) * (noisy[i] - clean[i]);
        expected += clean[i];
    }
    assert_true(fabs(bias) < 5.0 * sqrt(expected));
    assert_true(fabs(chi2 / expected - 1.0) < 0.03);
    tear_down(&b);
}

static void shots_follow_their_weights_and_spread(void **state)
{
    (void)state;
    enum { SHOTS = 40000 };
    bench b;
    double mean = 0.0, square = 0.0;
    int first = 0;

    set_up(&b);
    const sp_simulation sim = simulation_of(&b);
    for (ptrdiff_t i = 0; i < SHOTS; i++) {
        const sp_shot shot = sp_simulation_shot(&sim, i);

        first += shot.structure == 0;
        mean += shot.fluence / sim.fluence / SHOTS;
        square += pow(shot.fluence / sim.fluence, 2.0) / SHOTS;
    }
    assert_true(fabs((double)first / SHOTS - 0.75) < 5.0 * sqrt(0.75 * 0.25 / SHOTS));
    assert_true(fabs(mean - 1.0) < 5.0 * 0.3 / sqrt(SHOTS));
    assert_true(fabs(sqrt(square - mean * mean) - 0.3) < 0.01);
    tear_down(&b);
}

static void seeds_give_other_images(void **state)
{
    (void)state;
    bench b;

    set_up(&b);
    sp_simulation one = simulation_of(&b), two = one;
    two.seed = 43;
    assert_true(sp_quat_angle(sp_simulation_shot(&one, 0).orientation, sp_simulation_shot(&two, 0).orientation) > 1e-3);
    assert_true(sp_quat_angle(sp_simulation_shot(&one, 0).orientation, sp_simulation_shot(&one, 1).orientation) > 1e-3);
    tear_down(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_image_depends_on_its_number_only),
        cmocka_unit_test(expected_photons_are_fluence_times_cross_section),
        cmocka_unit_test(images_hold_the_wanted_number_of_photons),
        cmocka_unit_test(noise_has_the_variance_of_poisson),
        cmocka_unit_test(shots_follow_their_weights_and_spread),
        cmocka_unit_test(seeds_give_other_images),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
