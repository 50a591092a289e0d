/* SPDX-License-Identifier: BSD-3-Clause */
#include "physics/simulate.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"

/* Names of the random streams; a change makes old seeds give other images. */
enum { STREAM_ORIENTATION = 0x51a0, STREAM_FLUENCE, STREAM_STRUCTURE, STREAM_PHOTONS, STREAM_AVERAGE };

/* Enough where s is small and few pixels hold most photons; where it is large, many pixels share the average. */
enum { DIRECTIONS = 32 };

static const double ELECTRON_RADIUS = 2.8179403262e-15; /* [m] CODATA 2018 */

static int draw_structure(const sp_simulation *sim, ptrdiff_t index)
{
    sp_rng rng = sp_rng_stream(sim->seed, STREAM_STRUCTURE, (uint64_t)index);
    double total = 0.0, rest = 0.0;
    int last = 0;

    for (int i = 0; i < sim->structures; i++) {
        total += sim->species[i].weight;
    }
    rest = total * sp_rng_uniform(&rng);
    while (last < sim->structures - 1 && rest >= sim->species[last].weight) {
        rest -= sim->species[last++].weight;
    }
    return last;
}

/* Log-normal with mean `fluence` and relative deviation `spread`. */
static double draw_fluence(const sp_simulation *sim, ptrdiff_t index)
{
    sp_rng rng = sp_rng_stream(sim->seed, STREAM_FLUENCE, (uint64_t)index);
    const double variance = log1p(sim->spread * sim->spread); /* of the logarithm */

    return sim->fluence * exp(sqrt(variance) * sp_rng_normal(&rng) - 0.5 * variance);
}

sp_shot sp_simulation_shot(const sp_simulation *simulation, ptrdiff_t index)
{
    sp_rng rng = sp_rng_stream(simulation->seed, STREAM_ORIENTATION, (uint64_t)index);

    return (sp_shot){.orientation = sp_quat_random(&rng),
                     .fluence = draw_fluence(simulation, index),
                     .structure = draw_structure(simulation, index)};
}

/* intensity = expected photons at this fluence, 0 in bad pixels. */
static void expect(const sp_simulation *sim, int structure, sp_quat orientation, double fluence, float *intensity)
{
    const sp_detector_map *map = sim->map;
    const double scale = fluence * ELECTRON_RADIUS * ELECTRON_RADIUS;

    sp_particle_pattern(sim->species[structure].particle, map, orientation, intensity);
    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        const double photons = map->solid_angle[p] * (scale * map->polarization[p] * intensity[p] + sim->background);

        intensity[p] = map->bad[p] ? 0.0f : (float)photons;
    }
}

static void draw_photons(const sp_simulation *sim, ptrdiff_t index, float *intensity)
{
    sp_rng rng = sp_rng_stream(sim->seed, STREAM_PHOTONS, (uint64_t)index);

    for (ptrdiff_t p = 0; p < sim->map->pixels; p++) {
        intensity[p] = (float)sp_rng_poisson(&rng, intensity[p]);
    }
}

void sp_simulation_images(const sp_simulation *simulation, ptrdiff_t first, ptrdiff_t count, float *intensity)
{
#pragma omp parallel for schedule(dynamic)
    for (ptrdiff_t i = 0; i < count; i++) {
        const sp_shot shot = sp_simulation_shot(simulation, first + i);
        float *image = intensity + i * simulation->map->pixels;

        expect(simulation, shot.structure, shot.orientation, shot.fluence, image);
        if (simulation->poisson) {
            draw_photons(simulation, first + i, image);
        }
    }
}

/* Direction k of a spiral that covers the sphere evenly (Fibonacci lattice). */
static void spiral(int k, double direction[3])
{
    const double z = 1.0 - (2.0 * k + 1.0) / DIRECTIONS, radius = sqrt(1.0 - z * z);
    const double angle = k * M_PI * (3.0 - sqrt(5.0)); /* the golden angle */

    direction[0] = radius * cos(angle);
    direction[1] = radius * sin(angle);
    direction[2] = z;
}

/* Photons in one pixel at fluence 1/m^2, averaged over all orientations, that is, over all directions of s. */
static double average_pixel(const sp_simulation *sim, int structure, ptrdiff_t pixel)
{
    const sp_detector_map *map = sim->map;
    sp_rng rng = sp_rng_stream(0, STREAM_AVERAGE, (uint64_t)pixel);
    const sp_mat3 rotation = sp_quat_to_matrix(sp_quat_random(&rng)); /* other directions in each pixel */
    double sum = 0.0;

    for (int k = 0; k < DIRECTIONS; k++) {
        double even[3], direction[3];

        spiral(k, even);
        sp_mat3_apply(&rotation, even, direction);
        sum += sp_particle_intensity(sim->species[structure].particle, map, pixel, direction);
    }
    return ELECTRON_RADIUS * ELECTRON_RADIUS * map->polarization[pixel] * map->solid_angle[pixel] * sum / DIRECTIONS;
}

/* *photons = sum of average_pixel() over the good pixels; rows first, so that threads do not change the order. */
static sp_status average_image(const sp_simulation *sim, int structure, double *photons)
{
    sp_status status = SP_OK;
    const sp_detector_map *map = sim->map;
    const ptrdiff_t rows = map->panels * map->height;
    double *row_sum = NULL;

    SP_TRY(SP_ARRAY(row_sum, rows));
#pragma omp parallel for schedule(dynamic)
    for (ptrdiff_t row = 0; row < rows; row++) {
        for (ptrdiff_t p = row * map->width; p < (row + 1) * map->width; p++) {
            row_sum[row] += map->bad[p] ? 0.0 : average_pixel(sim, structure, p);
        }
    }
    *photons = 0.0;
    for (ptrdiff_t row = 0; row < rows; row++) {
        *photons += row_sum[row];
    }
done:
    sp_array_free(row_sum);
    return status;
}

sp_status sp_simulation_photons_per_fluence(const sp_simulation *simulation, double *photons)
{
    sp_status status = SP_OK;
    double sum = 0.0, weights = 0.0;

    for (int i = 0; i < simulation->structures; i++) {
        double mean = 0.0;

        SP_TRY(average_image(simulation, i, &mean));
        sum += simulation->species[i].weight * mean;
        weights += simulation->species[i].weight;
    }
    *photons = sum / weights;
done:
    return status;
}
