/* SPDX-License-Identifier: BSD-3-Clause */
#include "physics/simulate.h"

#include <math.h>
#include <omp.h>

#include "base/memory.h"
#include "base/rng.h"

/* Names of the random streams; a change makes old seeds give other images. */
enum { STREAM_ORIENTATION = 0x51a0, STREAM_FLUENCE, STREAM_STRUCTURE, STREAM_PHOTONS, STREAM_PROBE };

enum { PROBES = 256 }; /* orientations to estimate the mean: an image's total varies by 10 %, the mean by < 1 % */

static const double PROBE_FLUENCE = 1e24; /* [photons/m^2] any that keeps single precision out of its limits */
static const double ELECTRON_RADIUS = 2.8179403262e-15; /* [m] CODATA 2018 */

static int draw_structure(const sp_simulation *sim, ptrdiff_t index)
{
    sp_rng rng = sp_rng_stream(sim->seed, STREAM_STRUCTURE, (uint64_t)index);
    double total = 0.0, rest = 0.0;
    int last = 0;

    for (int i = 0; i < sim->structures; i++) {
        total += sim->weight[i];
    }
    rest = total * sp_rng_uniform(&rng);
    while (last < sim->structures - 1 && rest >= sim->weight[last]) {
        rest -= sim->weight[last++];
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

    sp_particle_pattern(sim->particle[structure], map, orientation, intensity);
    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        const double photons = scale * map->polarization[p] * map->solid_angle[p] * intensity[p];

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

/* Mean over the probes of the photons in one image of this structure at fluence 1/m^2. */
static sp_status probe(const sp_simulation *sim, int structure, double *mean)
{
    sp_status status = SP_OK;
    const int batch = omp_get_max_threads(); /* images held at a time */
    double total[PROBES] = {0}, sum = 0.0;
    float *images = NULL;

    SP_TRY(SP_ARRAY(images, batch * sim->map->pixels));
    for (int first = 0; first < PROBES; first += batch) {
#pragma omp parallel for
        for (int i = first; i < (first + batch < PROBES ? first + batch : PROBES); i++) {
            sp_rng rng = sp_rng_stream(sim->seed, STREAM_PROBE, (uint64_t)i);
            float *image = images + (i - first) * sim->map->pixels;

            expect(sim, structure, sp_quat_random(&rng), PROBE_FLUENCE, image);
            for (ptrdiff_t p = 0; p < sim->map->pixels; p++) {
                total[i] += image[p];
            }
        }
    }
    for (int i = 0; i < PROBES; i++) {
        sum += total[i];
    }
    *mean = sum / PROBES / PROBE_FLUENCE;
done:
    sp_array_free(images);
    return status;
}

sp_status sp_simulation_photons_per_fluence(const sp_simulation *simulation, double *photons)
{
    sp_status status = SP_OK;
    double sum = 0.0, weights = 0.0;

    for (int i = 0; i < simulation->structures; i++) {
        double mean = 0.0;

        SP_TRY(probe(simulation, i, &mean));
        sum += simulation->weight[i] * mean;
        weights += simulation->weight[i];
    }
    *photons = sum / weights;
done:
    return status;
}
