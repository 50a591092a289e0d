/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/phase.h"

#include <omp.h>

#include "phases/phasing.h"

/* A density on the grid, and what one start of phasing needs. */
typedef struct scene {
    float *density, *autocorrelation, *amplitude, *found;
    sp_phase_plan *plan;
    sp_phase_work *work;
    sp_phase_settings settings;
} scene;

static scene make_scene(void)
{
    scene s = {.density = phasing_density(), .settings = phasing_settings(1)};

    assert_int_equal(sp_phase_plan_new(EDGE, VOXEL, &s.plan), SP_OK);
    assert_int_equal(sp_phase_work_new(s.plan, &s.work), SP_OK);
    assert_int_equal(SP_ARRAY(s.autocorrelation, CUBE), SP_OK);
    assert_int_equal(SP_ARRAY(s.amplitude, sp_phase_amplitude_count(s.plan)), SP_OK);
    assert_int_equal(SP_ARRAY(s.found, CUBE), SP_OK);
    sp_phase_autocorrelate(s.plan, s.density, NULL, s.work, NULL, s.autocorrelation);
    sp_phase_amplitudes(s.plan, s.autocorrelation, 0.0, S_MAX, false, s.work, s.amplitude);
    return s;
}

static void clear_scene(scene *s)
{
    sp_array_free(s->density);
    sp_array_free(s->autocorrelation);
    sp_array_free(s->amplitude);
    sp_array_free(s->found);
    sp_phase_work_free(s->work);
    sp_phase_plan_free(s->plan);
}

static sp_phase_outcome start(const scene *s, int k, float *density)
{
    return sp_phase_start(s->plan, s->amplitude, &s->settings, k, s->work, density);
}

static bool same(sp_phase_outcome a, sp_phase_outcome b)
{
    return a.residual == b.residual && a.volume == b.volume && a.dropped == b.dropped;
}

/* |sum_r density exp(-2 pi i k.r / EDGE)|, the direct sum */
static double direct_amplitude(const float *density, const ptrdiff_t k[3])
{
    double re = 0.0, im = 0.0;

    for (ptrdiff_t i = 0; i < CUBE; i++) {
        const ptrdiff_t x = i / (EDGE * EDGE), y = i / EDGE % EDGE, z = i % EDGE;
        const double angle = 2.0 * M_PI * (double)(k[0] * x + k[1] * y + k[2] * z) / EDGE;

        re += density[i] * cos(angle);
        im += density[i] * sin(angle);
    }
    return sqrt(re * re + im * im);
}

static void amplitudes_are_those_of_the_density_within_their_limits(void **state)
{
    (void)state;
    const double step = 1.0 / (EDGE * VOXEL); /* [1/m] between frequencies */
    const ptrdiff_t k[][3] = {{0, 0, 0}, {1, 0, 0}, {0, 2, 0}, {1, 2, 3}, {4, 0, 3}, {6, 1, 0}};
    scene s = make_scene();

    for (size_t i = 0; i < sizeof k / sizeof *k; i++) {
        const ptrdiff_t at = (k[i][0] * EDGE + k[i][1]) * (EDGE / 2 + 1) + k[i][2];
        const double length = sqrt((double)(k[i][0] * k[i][0] + k[i][1] * k[i][1] + k[i][2] * k[i][2]));
        const double want = direct_amplitude(s.density, k[i]);

        sp_phase_amplitudes(s.plan, s.autocorrelation, 0.0, S_MAX, false, s.work, s.amplitude);
        assert_true(fabs(s.amplitude[at] - want) < 1e-3 * direct_amplitude(s.density, k[0]));
        sp_phase_amplitudes(s.plan, s.autocorrelation, 1.5 * step, 4.5 * step, false, s.work, s.amplitude);
        assert_true(length > 1.5 || s.amplitude[at] < 0.0f);
        assert_true(length < 4.5 || s.amplitude[at] == 0.0f);
        assert_true(length < 1.5 || length > 4.5 || s.amplitude[at] > 0.0f);
    }
    clear_scene(&s);
}

static void a_negative_intensity_is_an_amplitude_of_0(void **state)
{
    (void)state;
    scene s = make_scene();

    for (ptrdiff_t i = 0; i < CUBE; i++) {
        s.autocorrelation[i] *= -1.0f;
    }
    sp_phase_amplitudes(s.plan, s.autocorrelation, 0.0, S_MAX, false, s.work, s.amplitude);
    assert_true(s.amplitude[0] == 0.0f && s.amplitude[1] == 0.0f);
    clear_scene(&s);
}

/* Half of the starts at least; their autocorrelations are then that of the density. */
static void a_start_finds_the_density(void **state)
{
    (void)state;
    enum { STARTS = 6 };
    scene s = make_scene();
    float *explained = NULL;
    int found = 0;

    assert_int_equal(SP_ARRAY(explained, CUBE), SP_OK);
    for (int k = 0; k < STARTS; k++) {
        const sp_phase_outcome outcome = start(&s, k, s.found);

        sp_phase_autocorrelate(s.plan, s.found, NULL, s.work, NULL, explained);
        found += !outcome.dropped && outcome.residual < 0.005 && outcome.volume > 0.0 &&
                 relative_difference(explained, s.autocorrelation, CUBE) < 0.05;
    }
    assert_true(found >= STARTS / 2);
    sp_array_free(explained);
    clear_scene(&s);
}

/* Whatever the work space went through before, and whatever the density held. */
static void a_start_depends_on_nothing_before_it(void **state)
{
    (void)state;
    scene s = make_scene();
    float *first = NULL;

    assert_int_equal(SP_ARRAY(first, CUBE), SP_OK);
    const sp_phase_outcome fresh = start(&s, 3, first);

    start(&s, 5, s.found);
    assert_memory_not_equal(first, s.found, CUBE * sizeof *first);
    assert_true(same(start(&s, 3, s.found), fresh));
    assert_memory_equal(first, s.found, CUBE * sizeof *first);
    s.settings.starts = 100; /* how many others there are does not matter */
    assert_true(same(start(&s, 3, s.found), fresh));
    assert_memory_equal(first, s.found, CUBE * sizeof *first);
    sp_array_free(first);
    clear_scene(&s);
}

/* Threads share plan and amplitudes; each has a work space. */
static void a_start_alone_is_the_same_bits_as_among_others(void **state)
{
    (void)state;
    enum { STARTS = 4 };
    scene s = make_scene();
    float *density[STARTS] = {NULL};
    sp_phase_work *work[STARTS] = {NULL};
    sp_phase_outcome outcome[STARTS];

    s.settings.cycles = 3;
    for (int k = 0; k < STARTS; k++) {
        assert_int_equal(SP_ARRAY(density[k], CUBE), SP_OK);
        assert_int_equal(sp_phase_work_new(s.plan, &work[k]), SP_OK);
    }
#pragma omp parallel for num_threads(STARTS) schedule(static, 1)
    for (int k = 0; k < STARTS; k++) {
        outcome[k] = sp_phase_start(s.plan, s.amplitude, &s.settings, k, work[k], density[k]);
    }
    for (int k = 0; k < STARTS; k++) {
        assert_true(same(start(&s, k, s.found), outcome[k])); /* here, transforms run on all threads */
        assert_memory_equal(density[k], s.found, CUBE * sizeof **density);
        sp_array_free(density[k]);
        sp_phase_work_free(work[k]);
    }
    clear_scene(&s);
}

static void without_cycles_the_support_is_the_ball(void **state)
{
    (void)state;
    scene s = make_scene();
    double ball = 0.0;

    for (ptrdiff_t i = 0; i < CUBE; i++) {
        const double x = (double)((i / (EDGE * EDGE) + EDGE / 2) % EDGE - EDGE / 2),
                     y = (double)((i / EDGE + EDGE / 2) % EDGE - EDGE / 2),
                     z = (double)((i + EDGE / 2) % EDGE - EDGE / 2);

        ball += x * x + y * y + z * z <= 5.5 * 5.5;
    }
    s.settings.cycles = 0;
    const sp_phase_outcome outcome = start(&s, 0, s.found);

    assert_true(outcome.volume == ball && !outcome.dropped);
    clear_scene(&s);
}

static void an_odd_edge_is_refused(void **state)
{
    (void)state;
    sp_phase_plan *plan = NULL;

    assert_int_equal(sp_phase_plan_new(15, VOXEL, &plan), SP_ERR_USAGE);
    assert_null(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(amplitudes_are_those_of_the_density_within_their_limits),
        cmocka_unit_test(a_negative_intensity_is_an_amplitude_of_0),
        cmocka_unit_test(a_start_finds_the_density),
        cmocka_unit_test(a_start_depends_on_nothing_before_it),
        cmocka_unit_test(a_start_alone_is_the_same_bits_as_among_others),
        cmocka_unit_test(without_cycles_the_support_is_the_ball),
        cmocka_unit_test(an_odd_edge_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
