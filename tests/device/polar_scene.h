/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/polar_scene.h -- for the tests of the polar search on a GPU: images of blobs, with pixels missing, and grids.
 */
#include "device/gpu_counts.h"
#include "phases/match.h"
#include "phases/matching.h"
#include "phases/polar.h"
#include "phases/polar_layout.h"

enum { EDGE = 20, SIDE = 14, IMAGES = 9, PIXELS = SIDE * SIDE };

static const double FLOOR = 0.3, DIAMETER = 20e-10;

typedef struct scene {
    bench detector;
    sp_patterns patterns;
    sp_quat *truth;
    float *model; /* [EDGE][EDGE][EDGE] autocorrelation */
    sp_slicer *slicer;
    double unit; /* value of a photon */
    float *k;    /* [IMAGES][pixels] photons */
} scene;

/* A beam stop, a dead corner, and a stripe. */
static inline void mask_detector(bench *detector)
{
    for (int p = 0; p < PIXELS; p++) {
        const int x = p % SIDE - SIDE / 2, y = p / SIDE - SIDE / 2;

        detector->bad[p] = x * x + y * y < 2 || (x > 2 && y > 2) || x == -5;
        detector->correction[p] = 1.0f + 0.3f * (float)(p % 3);
    }
}

/*   photons  per image; 0: noise-free values */
static inline scene make_scene(uint64_t seed, double photons, bool masked)
{
    const blobs particle = blobs_random(seed, 3.5, 0.8);
    double scale[IMAGES], factor = 1.0;
    scene s = {.truth = random_orientations(IMAGES, seed + 1)};

    s.detector = bench_new(1, SIDE, SIDE, 0.022e10, 2.5e-10);
    if (masked) {
        mask_detector(&s.detector);
    }
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        scale[n] = 0.5 + 0.1 * (double)n;
    }
    s.patterns = bench_expose(&s.detector, &particle, IMAGES, s.truth, scale);
    if (photons > 0.0) {
        factor = draw_photons(&s.patterns, IMAGES, photons);
        assert_int_equal(sp_patterns_measure(&s.patterns), SP_OK);
    }
    s.model = blobs_autocorrelation(&particle, EDGE);
    for (ptrdiff_t i = 0; i < (ptrdiff_t)EDGE * EDGE * EDGE; i++) {
        s.model[i] *= (float)factor;
    }
    assert_int_equal(sp_slicer_new(EDGE, VOXEL, 4, &s.slicer), SP_OK);
    sp_slicer_load(s.slicer, s.model);
    s.unit = fmax(s.patterns.quantum, s.patterns.profile[s.patterns.shells * 3 / 4] / 10.0);
    assert_int_equal(SP_ARRAY(s.k, IMAGES * s.patterns.pixels), SP_OK);
    for (ptrdiff_t i = 0; i < IMAGES * s.patterns.pixels; i++) {
        s.k[i] = (float)(s.patterns.count[i] * (1.0 / s.unit));
    }
    return s;
}

static inline void clear_scene(scene *s)
{
    bench_clear(&s->detector);
    sp_patterns_clear(&s->patterns);
    sp_slicer_free(s->slicer);
    sp_array_free(s->truth);
    sp_array_free(s->model);
    sp_array_free(s->k);
}

static inline sp_polar_input polar_input(const scene *s)
{
    return (sp_polar_input){.patterns = &s->patterns,
                            .stride = s->patterns.pixels,
                            .unit = s->unit,
                            .floor = FLOOR,
                            .diameter = DIAMETER,
                            .isa = SP_ISA_PLAIN};
}

static inline sp_polar *make_polar(const scene *s)
{
    const sp_polar_input input = polar_input(s);
    sp_polar *polar = NULL;

    assert_int_equal(sp_polar_new(&input, &polar), SP_OK);
    return polar;
}

/* Random directions, each with so many turns about the beam. Release with sp_rotation_grid_clear(). */
static inline sp_rotation_grid turned_grid(ptrdiff_t directions, ptrdiff_t angles, uint64_t seed)
{
    sp_rotation_grid grid = {.directions = directions, .angles = angles, .count = directions * angles};
    sp_quat *first = random_orientations(directions, seed);

    assert_int_equal(SP_ARRAY(grid.q, grid.count), SP_OK);
    for (ptrdiff_t i = 0; i < grid.count; i++) {
        const double half = M_PI * (double)(i % angles) / (double)angles;

        grid.q[i] = sp_quat_multiply((sp_quat){cos(half), 0.0, 0.0, sin(half)}, first[i / angles]);
    }
    sp_array_free(first);
    return grid;
}

/* Standard deviation of some numbers. */
static inline double spread_of(const double *x, ptrdiff_t count)
{
    double mean = 0.0, sum = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        mean += x[i] / (double)count;
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        sum += (x[i] - mean) * (x[i] - mean) / (double)count;
    }
    return sqrt(sum);
}

/* A list as good as the best one: scores are right within a limit, they fall, and what is left out is no better.
 *   score  in  [count] */
static inline void check_list(const double *score, ptrdiff_t count, int keep, const sp_candidate *best, double limit)
{
    bool *listed = NULL;

    assert_int_equal(SP_ARRAY(listed, count), SP_OK);
    for (int i = 0; i < keep && i < count; i++) {
        assert_true(best[i].index >= 0 && best[i].index < count);
        assert_true(!listed[best[i].index]);
        assert_true(fabs((double)best[i].score - score[best[i].index]) < limit);
        assert_true(i == 0 || best[i].score <= best[i - 1].score);
        listed[best[i].index] = true;
    }
    for (ptrdiff_t o = 0; o < count; o++) {
        assert_true(listed[o] || score[o] < (double)best[keep - 1].score + limit);
    }
    for (int i = (int)count; i < keep; i++) {
        assert_true(best[i].score == -INFINITY);
    }
    sp_array_free(listed);
}
