/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "base/progress.h"
#include "flow/loop.h"
#include "num/fft.h"
#include "phases/diameter.h"

enum {
    BATCH_IMAGES = 1000, /* of each conformation, in a batch of the search */
    LEAST_BATCHES = 4,   /* fewer are no quicker to tell that nothing new is found */
    MOST_BATCHES = 8,
};

static const double BOX = 2.3;             /* edge of the box in diameters: the autocorrelation needs 2 */
static const double NYQUIST_MARGIN = 1.02; /* the voxel is this much finer than resolution / 2 */
static const double SPECKLES_PER_BIN = 0.34;
/* Speckles along the radius that the search compares. Finer detail makes every image fit best where it was put before,
 * right or wrong; it comes in with refinement, once the coarse orientation is right. */
static const double SEARCH_REACH = 5.0;
static const double GRID_STEP = 2.0; /* speckles: the climb covers the rest */
/* Images with fewer photons than this for each speckle within SEARCH_REACH do not tell their orientation from coarse
 * detail alone: they take a finer grid and, from the orientations that coarse detail gave, more of the radius. */
static const double SPARSE = 10.0;
static const double SPARSE_REACH = 7.8, SPARSE_STEP = 1.5; /* in place of SEARCH_REACH, GRID_STEP */
static const double MIN_ORIENTATIONS = 2000.0, MAX_ORIENTATIONS = 2e5;

sp_status sp_loop_check_interrupt(const sp_loop *l, const char *where)
{
    sp_status status = SP_OK;

    SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "interrupted in %s", where);
done:
    return sp_run_agree(l->crews.run, status);
}

static double radius_of(const double *s)
{
    return sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]);
}

/* Pixel table of the phases, from the file's; correction = solid angle times polarisation. */
static sp_status make_pixels(sp_loop *l)
{
    const sp_detector_map *map = sp_image_file_map(l->file);
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(l->correction, map->pixels));
    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        l->correction[p] = map->solid_angle[p] * map->polarization[p];
    }
    l->pixels = (sp_pixels){.panels = map->panels,
                            .height = map->height,
                            .width = map->width,
                            .position = map->position,
                            .correction = l->correction,
                            .bad = map->bad,
                            .wavelength = map->wavelength};
done:
    return status;
}

/* Resolution of the farthest good pixel, and of the largest circle that is covered all round: the least, over narrow
 * sectors, of the largest radius in the sector. */
static void measure_reach(sp_loop *l)
{
    enum { SECTORS = 64 };
    const sp_detector_map *map = sp_image_file_map(l->file);
    double reach[SECTORS] = {0.0}, corner = 0.0, edge = INFINITY;

    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        const double *s = map->position + 3 * p, radius = radius_of(s);
        const int sector = (int)((atan2(s[1], s[0]) / (2.0 * M_PI) + 0.5) * SECTORS) % SECTORS;

        if (!map->bad[p]) {
            corner = fmax(corner, radius);
            reach[sector] = fmax(reach[sector], radius);
        }
    }
    for (int i = 0; i < SECTORS; i++) {
        edge = reach[i] > 0.0 ? fmin(edge, reach[i]) : edge;
    }
    l->state->corner_resolution = 1.0 / corner;
    l->state->edge_resolution = 1.0 / edge;
}

bool sp_loop_climbs(const sp_reconstruct_settings *s)
{
    return s->refine && s->match != SP_MATCH_EUCLIDEAN;
}

int sp_loop_keep(const sp_reconstruct_settings *s)
{
    return s->match == SP_MATCH_POISSON ? SHARES : KEEP;
}

bool sp_loop_divides(const sp_loop *l)
{
    return l->keep > KEEP;
}

ptrdiff_t sp_loop_most_points(const sp_loop *l)
{
    const ptrdiff_t wanted = l->state->settings.orientations;

    return wanted + wanted / 10 + 4; /* num/rotation_grid.h */
}

bool sp_loop_is_sparse(const sp_loop *l)
{
    const sp_reconstruct_settings *s = &l->state->settings;
    const double speckles = M_PI * SEARCH_REACH * SEARCH_REACH;

    return sp_loop_climbs(s) && s->noise != SP_NOISE_NONE &&
           l->state->photons_per_image < SPARSE * speckles * l->state->quantum; /* never with a quantum of 0 */
}

double sp_loop_first_reach(const sp_loop *l)
{
    const sp_reconstruct_settings *s = &l->state->settings;

    return sp_loop_climbs(s) ? fmin(l->s_max, SEARCH_REACH / s->diameter) : l->s_max;
}

double sp_loop_search_reach(const sp_loop *l)
{
    return sp_loop_is_sparse(l) ? fmin(l->s_max, SPARSE_REACH / l->state->settings.diameter) : sp_loop_first_reach(l);
}

int sp_loop_search_batches(const sp_loop *l)
{
    const ptrdiff_t most = l->state->used / (BATCH_IMAGES * l->conformations),
                    blocks = sp_space_blocks(l->crews.images);
    const ptrdiff_t batches = most < MOST_BATCHES ? most : MOST_BATCHES;

    return sp_loop_is_sparse(l) || sp_loop_divides(l) || batches < LEAST_BATCHES || blocks < 2 * batches ? 1
                                                                                                         : (int)batches;
}

double sp_loop_speckle(const sp_loop *l)
{
    return fmax(l->state->edge_resolution, 1.0 / l->reach) / l->state->settings.diameter;
}

ptrdiff_t sp_loop_cube(const sp_loop *l)
{
    return l->state->edge * l->state->edge * l->state->edge;
}

ptrdiff_t sp_loop_pixels(const sp_loop *l)
{
    const sp_patterns *p = &l->patterns;
    const ptrdiff_t within = sp_patterns_within(p, l->reach);

    return within > 0 ? p->shell_start[p->shell[within - 1] + 1] : 0; /* whole shells */
}

int sp_loop_orientations(const sp_loop *l, double speckle)
{
    const double step = (sp_loop_is_sparse(l) ? SPARSE_STEP : GRID_STEP) * speckle;

    return (int)fmin(fmax((double)sp_rotation_grid_count_for_step(step), MIN_ORIENTATIONS), MAX_ORIENTATIONS);
}

/* Diameter, resolution, grid, binning, orientations: what the user left open, from the data. */
static sp_status choose_settings(sp_loop *l, const double *mean)
{
    sp_reconstruct_settings *s = &l->state->settings;
    const double step = sp_pixels_step(&l->pixels);
    sp_status status = SP_OK;

    SP_REQUIRE(step > 0.0, SP_ERR_INPUT, "all pixels lie at one place: check pixel_position_reciprocal");
    if (s->resolution <= 0.0) {
        s->resolution = l->state->corner_resolution;
    }
    SP_REQUIRE(s->resolution >= l->state->corner_resolution * 0.999, SP_ERR_USAGE,
               "resolution %.4g Angstrom is finer than the detector reaches (%.4g): choose a larger number",
               s->resolution * 1e10, l->state->corner_resolution * 1e10);
    l->s_max = 1.0 / s->resolution;
    if (s->diameter <= 0.0) {
        s->diameter = sp_diameter_estimate(&l->pixels, mean);
        SP_REQUIRE(s->diameter > 0.0, SP_ERR_INPUT,
                   "the size of the particle cannot be told from the images: give it with --diameter");
    }
    SP_REQUIRE(s->diameter > 2.0 * s->resolution, SP_ERR_USAGE,
               "a particle of %.4g Angstrom shows no structure at a resolution of %.4g: check --diameter, --resolution",
               s->diameter * 1e10, s->resolution * 1e10);
    l->state->voxel = s->resolution / (2.0 * NYQUIST_MARGIN);
    if (s->grid == 0) {
        s->grid = (int)sp_fft_good_size((ptrdiff_t)ceil(BOX * s->diameter / l->state->voxel));
    }
    SP_REQUIRE(s->grid % 2 == 0 && s->grid * l->state->voxel >= 2.0 * s->diameter, SP_ERR_USAGE,
               "a grid of %d voxels of %.3g Angstrom is odd or holds less than twice the particle (%.4g Angstrom)",
               s->grid, l->state->voxel * 1e10, s->diameter * 1e10);
    if (s->binning == 0) {
        s->binning = (int)fmax(1.0, floor(SPECKLES_PER_BIN / s->diameter / step));
    }
    l->state->edge = s->grid;
    l->state->speckle = fmax(l->state->edge_resolution, s->resolution) / s->diameter;
    l->reach = sp_loop_first_reach(l);
    l->grid_follows = s->orientations == 0;
    if (l->grid_follows) {
        s->orientations = sp_loop_orientations(l, l->state->speckle);
    }
done:
    return status;
}

void sp_loop_choose_noise(sp_loop *l)
{
    sp_reconstruct_settings *s = &l->state->settings;
    const double dim = l->patterns.profile[l->patterns.shells * 3 / 4];
    const bool noisy = l->state->quantum > 0.02 * dim; /* noise-free data leave a small remainder of speckle in it */

    if (s->noise == SP_NOISE_AUTO) {
        s->noise = noisy ? SP_NOISE_POISSON : SP_NOISE_NONE;
    } else if (s->noise == SP_NOISE_POISSON && l->state->quantum <= 0.0) {
        l->state->quantum = 1.0;
    }
    l->noise = s->noise == SP_NOISE_POISSON || noisy ? l->state->quantum : 0.0;
    if (s->noise == SP_NOISE_NONE) {
        l->state->quantum = 0.0;
    }
    l->patterns.quantum = l->state->quantum;
}

/* FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv): `hash` with the bits of a number taken in. */
static uint64_t take_in(uint64_t hash, double value)
{
    uint64_t bits = 0;

    memcpy(&bits, &value, sizeof bits);
    for (int shift = 0; shift < 64; shift += 8) {
        hash = (hash ^ (bits >> shift & 0xff)) * 0x100000001b3u;
    }
    return hash;
}

/* Of what the images are known by: their mean, their detail, and how bright each of them is. No function of the
 * system's library enters it, so another machine finds the same number. */
static uint64_t fingerprint(const sp_loop *l)
{
    uint64_t hash = take_in(take_in(0xcbf29ce484222325u, l->state->photons_per_image), l->s_max);

    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        hash = take_in(hash, (double)l->state->scale[n]);
    }
    return hash >> 11; /* 53 bits: a double holds them */
}

sp_status sp_loop_read(sp_loop *l)
{
    const sp_detector_map *map = sp_image_file_map(l->file);
    sp_reconstruct_settings *s = &l->state->settings;
    sp_status status = SP_OK;
    double *mean = NULL;
    double sum = 0.0;

    SP_REQUIRE(l->state->images >= MIN_IMAGES, SP_ERR_INPUT,
               "%td image(s) are too few: a reconstruction needs at least %d", l->state->images, MIN_IMAGES);
    SP_TRY(make_pixels(l));
    measure_reach(l);
    SP_TRY(SP_ARRAY(mean, map->pixels));
    SP_TRY(sp_crews_look(l, mean));
    SP_TRY(sp_loop_check_interrupt(l, "reading: nothing was written"));
    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        sum += map->bad[p] ? 0.0 : mean[p];
        mean[p] = map->bad[p] ? 0.0 : mean[p] / l->correction[p];
    }
    SP_REQUIRE(sum > 0.0, SP_ERR_INPUT, "all images are empty: there is not one photon in any good pixel");
    l->state->photons_per_image = sum;
    SP_TRY(choose_settings(l, mean));
    SP_TRY(sp_patterns_init(&l->pixels, 0, s->binning, s->low_resolution > 0.0 ? 1.0 / s->low_resolution : 0.0,
                            l->s_max * 1.0001, false, &l->patterns));
    SP_TRY(sp_crews_read(l));
    SP_TRY(sp_loop_check_interrupt(l, "reading: nothing was written"));
    sp_loop_choose_noise(l);
    SP_TRY(sp_crews_scale(l));
    l->fingerprint = fingerprint(l);
    l->state->pixels_used = l->patterns.pixels;
    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        l->state->used += l->state->scale[n] > 0.0f;
    }
    SP_REQUIRE(l->state->used >= MIN_IMAGES, SP_ERR_INPUT,
               "only %td of %td images hold any signal: a reconstruction needs at least %d", l->state->used,
               l->state->images, MIN_IMAGES);
done:
    sp_array_free(mean);
    return status;
}
