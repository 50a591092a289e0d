/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/experiment.h"

#include <complex.h>
#include <math.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/rng.h"
#include "num/fft.h"
#include "num/sums.h"
#include "phases/slice.h"
#include "physics/density.h"
#include "physics/detector.h"

enum {
    SEED = 1,
    RNG_PARTICLE = 631, /* purpose of random numbers */
    ATOMS = 2400,
    BALLS = 4,
    BLOCK = 64, /* images that are made at a time */
};

static const double BALL = 13.5e-10;     /* [m] radius */
static const double APART = 20e-10;      /* [m] from the centre of one ball to that of the next */
static const double PHOTONS = 20000.0;   /* per image */
static const double BOX = 2.3;           /* edge of the model in diameters, as in flow/intake.c */
static const double VOXELS = 2.0 * 1.02; /* per finest detail, likewise */

static void random_in_ball(sp_rng *rng, double radius, double place[3])
{
    const sp_mat3 turn = sp_quat_to_matrix(sp_quat_random(rng));
    const double length = radius * cbrt(sp_rng_uniform(rng));

    for (int i = 0; i < 3; i++) {
        place[i] = length * turn.m[i][2];
    }
}

static sp_status make_atoms(sp_atoms *atoms)
{
    static const int element[8] = {6, 6, 6, 6, 6, 7, 7, 8}; /* as often as in proteins, about */
    sp_rng rng = sp_rng_stream(SEED, RNG_PARTICLE, 0);
    double centre[BALLS][3];
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(atoms->atom, ATOMS));
    atoms->count = ATOMS;
    for (int ball = 0; ball < BALLS; ball++) {
        const sp_mat3 turn = sp_quat_to_matrix(sp_quat_random(&rng));

        for (int axis = 0; axis < 3; axis++) {
            centre[ball][axis] = (ball > 0 ? centre[ball - 1][axis] : 0.0) + APART * turn.m[axis][2];
        }
    }
    for (int i = 0; i < ATOMS; i++) {
        sp_atom *atom = &atoms->atom[i];

        random_in_ball(&rng, BALL, atom->position);
        for (int axis = 0; axis < 3; axis++) {
            atom->position[axis] += centre[i % BALLS][axis];
        }
        atom->occupancy = 1.0;
        atom->element = element[i % 8];
        atom->chain = 'A';
    }
done:
    return status;
}

sp_status sp_experiment_init(ptrdiff_t pixels, sp_experiment *experiment)
{
    const sp_detector detector = {.pixels = pixels, .size = 0.1, .distance = 0.2, .energy = 4600.0};
    double photons = 0.0;
    sp_experiment *e = experiment;
    sp_status status = SP_OK;

    *e = (sp_experiment){0};
    SP_TRY(make_atoms(&e->atoms));
    SP_TRY(sp_detector_map_new(&detector, &e->map, &e->distance));
    SP_TRY(sp_particle_new(&e->atoms, &e->map, &e->species.particle));
    e->species.weight = 1.0;
    e->simulation =
        (sp_simulation){.map = &e->map, .species = &e->species, .structures = 1, .poisson = true, .seed = SEED};
    SP_TRY(sp_simulation_photons_per_fluence(&e->simulation, &photons));
    e->simulation.fluence = PHOTONS / photons;
    e->diameter = sp_particle_diameter(e->species.particle);
    e->s_max = sp_detector_extent(&e->map);
    SP_TRY(SP_ARRAY(e->correction, e->map.pixels));
    for (ptrdiff_t p = 0; p < e->map.pixels; p++) {
        e->correction[p] = e->map.solid_angle[p] * e->map.polarization[p];
    }
done:
    if (status != SP_OK) {
        sp_experiment_clear(e);
    }
    return status;
}

void sp_experiment_clear(sp_experiment *experiment)
{
    sp_particle_free(experiment->species.particle);
    sp_atoms_clear(&experiment->atoms);
    sp_detector_map_clear(&experiment->map);
    sp_array_free(experiment->correction);
    *experiment = (sp_experiment){0};
}

/* Images first .. first + count - 1, in turn, to whoever takes them. */
typedef sp_status image_taker(void *context, ptrdiff_t first, ptrdiff_t count, const float *value);

static sp_status for_each_block(const sp_experiment *e, ptrdiff_t images, image_taker *take, void *context)
{
    sp_status status = SP_OK;
    float *value = NULL;

    SP_TRY(SP_ARRAY(value, BLOCK * e->map.pixels));
    for (ptrdiff_t first = 0; first < images; first += BLOCK) {
        const ptrdiff_t count = images - first < BLOCK ? images - first : BLOCK;

        SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "interrupted");
        sp_simulation_images(&e->simulation, first, count, value);
        SP_TRY(take(context, first, count, value));
    }
done:
    sp_array_free(value);
    return status;
}

static sp_status add_to_patterns(void *context, ptrdiff_t first, ptrdiff_t count, const float *value)
{
    sp_status status = SP_OK;
    sp_patterns *patterns = context;

    for (ptrdiff_t i = 0; i < count; i++) {
        SP_TRY(sp_patterns_add(patterns, first + i, value + i * patterns->source_count));
    }
done:
    return status;
}

static sp_status add_to_file(void *context, ptrdiff_t first, ptrdiff_t count, const float *value)
{
    return sp_image_writer_put(context, first, count, value);
}

sp_status sp_experiment_patterns(const sp_experiment *experiment, ptrdiff_t images, sp_patterns *patterns)
{
    const sp_detector_map *map = &experiment->map;
    const sp_pixels pixels = {.panels = map->panels,
                              .height = map->height,
                              .width = map->width,
                              .position = map->position,
                              .correction = experiment->correction,
                              .bad = map->bad,
                              .wavelength = map->wavelength};
    sp_patterns self = {0};
    sp_status status = SP_OK;

    SP_TRY(sp_patterns_init(&pixels, images, 1, 0.0, 1.001 * experiment->s_max, false, &self));
    SP_TRY(for_each_block(experiment, images, add_to_patterns, &self));
    SP_TRY(sp_patterns_measure(&self));
    self.quantum = 1.0;
    *patterns = self;
    self = (sp_patterns){0};
done:
    sp_patterns_clear(&self);
    return status;
}

sp_status sp_experiment_write(const sp_experiment *experiment, ptrdiff_t images, const char *path)
{
    sp_image_writer *writer = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_image_writer_new(path, &experiment->map, images, experiment->s_max, experiment->distance, "spica bench",
                               &writer));
    SP_TRY(for_each_block(experiment, images, add_to_file, writer));
    status = sp_image_writer_commit_take(writer);
    writer = NULL;
done:
    sp_image_writer_abort(writer);
    return status;
}

/* volume = its autocorrelation, the transform of the square of its transform. */
static sp_status autocorrelate(ptrdiff_t n, float *volume)
{
    sp_fft *fft = NULL;
    float complex *half = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_fft_new(n, &fft));
    SP_TRY(SP_ARRAY(half, sp_fft_complex_count(fft)));
    sp_fft_forward(fft, volume, half);
    for (ptrdiff_t i = 0; i < sp_fft_complex_count(fft); i++) {
        half[i] = (crealf(half[i]) * crealf(half[i]) + cimagf(half[i]) * cimagf(half[i])) / (float)(n * n * n);
    }
    sp_fft_backward(fft, half, volume);
done:
    sp_fft_free(fft);
    sp_array_free(half);
    return status;
}

/* Photons of the first image over what the model predicts for it. */
static sp_status measure_scale(const sp_experiment *e, const sp_patterns *patterns, ptrdiff_t edge, double voxel,
                               const float *autocorrelation, double *scale)
{
    const sp_quat q = sp_simulation_shot(&e->simulation, 0).orientation;
    sp_slicer *slicer = NULL;
    float *pattern = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_slicer_new(edge, voxel, 4, &slicer));
    SP_TRY(SP_ARRAY(pattern, patterns->pixels));
    sp_slicer_load(slicer, autocorrelation);
    sp_slicer_cut(slicer, q, patterns->s, patterns->pixels, pattern);
    *scale = sp_sum(patterns->count, patterns->pixels) /
             (patterns->scale[0] * sp_dot(pattern, patterns->exposure, patterns->pixels));
done:
    sp_slicer_free(slicer);
    sp_array_free(pattern);
    return status;
}

sp_status sp_experiment_model(const sp_experiment *experiment, const sp_patterns *patterns, ptrdiff_t *edge,
                              double *voxel, float **autocorrelation)
{
    const double size = 1.0 / (VOXELS * experiment->s_max);
    const ptrdiff_t n = sp_fft_good_size((ptrdiff_t)ceil(BOX * experiment->diameter / size));
    float *self = NULL;
    double centre[3], scale = 0.0;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self, n * n * n));
    sp_atoms_centre(&experiment->atoms, centre);
    SP_TRY(sp_density_from_atoms(&experiment->atoms, centre, n, size, experiment->s_max, self));
    SP_TRY(autocorrelate(n, self));
    SP_TRY(measure_scale(experiment, patterns, n, size, self, &scale));
    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        self[i] *= (float)scale;
    }
    *edge = n;
    *voxel = size;
    *autocorrelation = self;
    self = NULL;
done:
    sp_array_free(self);
    return status;
}
