/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/halves.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/fft.h"
#include "num/point_group.h"
#include "num/radial.h"
#include "num/statistics.h"
#include "phases/align.h"
#include "phases/orientation_score.h"
#include "phases/resolve.h"

enum { FOR_SYMMETRY = 50 }; /* images of each half tell agreement from chance; axes of large groups take long to fit */
enum { STREAM_HALVES = 0x4a1f }; /* name of the random stream */

static const double SEVENTH = 0.143; /* Rosenthal and Henderson, J. Mol. Biol. 333, 721 (2003) */

/* Of the turn that images have which are taken for one another. Runs that found the structure come to 0.01 to 0.05,
 * nulls and noise to 0.5 to 1.0. */
static const double AGREEMENT = 0.2;

/* Where a curve ends [m]; 0 for one that is below its threshold from the start. */
static double length_of(sp_resolution found)
{
    return found.s > 0.0 ? 1.0 / found.s : 0.0;
}

void sp_halves_part(uint64_t seed, ptrdiff_t images, int *half)
{
    sp_rng rng = sp_rng_stream(seed, STREAM_HALVES, 0);

    for (ptrdiff_t i = 0; i < images; i += 2) {
        half[i] = (int)(sp_rng_u32(&rng) & 1);
        if (i + 1 < images) {
            half[i + 1] = 1 - half[i];
        }
    }
}

/* One half and what became of it. */
typedef struct part {
    ptrdiff_t *index; /* [images] their numbers in the file */
    ptrdiff_t images;
    sp_reconstruction *result;
} part;

static void part_clear(part *p)
{
    sp_array_free(p->index);
    sp_reconstruction_free(p->result);
}

static sp_status list_images(uint64_t seed, ptrdiff_t images, part both[2])
{
    int *half = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(half, images));
    SP_TRY(SP_ARRAY(both[0].index, images));
    SP_TRY(SP_ARRAY(both[1].index, images));
    sp_halves_part(seed, images, half);
    for (ptrdiff_t i = 0; i < images; i++) {
        part *p = &both[half[i]];

        p->index[p->images++] = i;
    }
done:
    sp_array_free(half);
    return status;
}

/* The density with its zero in the middle of the grid. */
static sp_status centred(const sp_reconstruction *from, float **value)
{
    const ptrdiff_t n = from->edge, shift = n - n / 2;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(*value, n * n * n));
    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            const float *row = from->density + ((x + shift) % n * n + (y + shift) % n) * n;

            for (ptrdiff_t z = 0; z < n; z++) {
                (*value)[(x * n + y) * n + z] = row[(z + shift) % n];
            }
        }
    }
done:
    return status;
}

/* Centre of mass from voxel n/2 [m]. Densities are positive and wholly inside the box. */
static void centre_of_mass(ptrdiff_t n, double voxel, const float *value, double centre[3])
{
    double mass = 0.0;

    memset(centre, 0, 3 * sizeof *centre);
    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            for (ptrdiff_t z = 0; z < n; z++) {
                const double here = value[(x * n + y) * n + z];

                mass += here;
                centre[0] += here * (double)(x - n / 2);
                centre[1] += here * (double)(y - n / 2);
                centre[2] += here * (double)(z - n / 2);
            }
        }
    }
    for (int axis = 0; axis < 3; axis++) {
        centre[axis] *= voxel / mass;
    }
}

/* Shell correlation, and what its thresholds say. */
static sp_status resolve(const sp_volume *first, const float *a, const float *b, double diameter, double s_max,
                         sp_half_sets *h)
{
    const double step = 1.0 / ((double)first->n * first->voxel);
    const ptrdiff_t all = sp_radial_shells(first->n), band = 1 + (ptrdiff_t)(s_max / step * (1.0 + 1e-9));
    sp_fft *plan = NULL;
    sp_status status = SP_OK;

    h->shells = band < all ? band : all;
    SP_TRY(SP_ARRAY(h->s, all));
    SP_TRY(SP_ARRAY(h->fsc, all));
    SP_TRY(SP_ARRAY(h->half_bit, all));
    SP_TRY(sp_fft_new(first->n, &plan));
    SP_TRY(SP_ARRAY(h->shape, all));
    SP_TRY(sp_fsc_maps(plan, a, b, h->fsc));
    SP_TRY(sp_fsc_shapes(plan, a, b, h->shape));
    h->shape[0] = 1.0; /* both have a mean */
    sp_fsc_half_bit(all, diameter * step, h->half_bit);
    for (ptrdiff_t k = 0; k < all; k++) {
        h->s[k] = (double)k * step;
    }
    h->resolution = length_of(sp_fsc_resolution(h->shape, h->shells, step, SEVENTH));
    h->half_bit_resolution = length_of(sp_fsc_resolution_along(h->fsc, h->half_bit, h->shells, step));
done:
    sp_fft_free(plan);
    return status;
}

/* The maps, one laid on the other, both with the middle of the particle in voxel n/2. */
static sp_status compare_maps(const part both[2], sp_half_sets *h)
{
    const sp_reconstruction *first = both[0].result, *second = both[1].result;
    const ptrdiff_t n = first->edge, cube = n * n * n;
    float *value[2] = {NULL, NULL}, *limited = NULL, *aligned = NULL;
    sp_alignment found, centring = {.rotation = {1.0, 0.0, 0.0, 0.0}, .hand = 1};
    double middle[3];
    sp_status status = SP_OK;

    SP_TRY(centred(first, &value[0]));
    SP_TRY(centred(second, &value[1]));
    SP_TRY(SP_ARRAY(limited, cube));
    SP_TRY(SP_ARRAY(aligned, cube));

    const sp_volume fixed = {.n = n, .voxel = first->voxel, .value = value[0]};
    const sp_volume moving = {.n = second->edge, .voxel = second->voxel, .value = value[1]};
    const double s_max = sp_align_band(&fixed, &moving, 1.0 / first->settings.resolution);

    SP_TRY(sp_align(&fixed, &moving, s_max, &found));
    centre_of_mass(n, fixed.voxel, value[0], middle);
    for (int axis = 0; axis < 3; axis++) {
        centring.shift[axis] = -middle[axis];
        found.shift[axis] -= middle[axis];
    }
    SP_TRY(sp_align_apply(&fixed, &centring, s_max, n, fixed.voxel, limited));
    SP_TRY(sp_align_apply(&moving, &found, s_max, n, fixed.voxel, aligned));
    h->correlation = sp_pearson(limited, aligned, cube);
    SP_TRY(resolve(&fixed, limited, aligned, first->settings.diameter, s_max, h));
done:
    sp_array_free(aligned);
    sp_array_free(limited);
    sp_array_free(value[1]);
    sp_array_free(value[0]);
    return status;
}

/* Orientations of the images of a half, found in it and in the reconstruction of all images. */
typedef struct pairs {
    sp_quat *half, *whole; /* [count] */
    ptrdiff_t count;
} pairs;

static void pairs_clear(pairs *p)
{
    sp_array_free(p->half);
    sp_array_free(p->whole);
}

static sp_status pair_up(const part *p, const sp_reconstruction *whole, pairs *out)
{
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(out->half, p->images));
    SP_TRY(SP_ARRAY(out->whole, p->images));
    for (ptrdiff_t i = 0; i < p->images; i++) {
        if (p->result->scale[i] > 0.0f && whole->scale[p->index[i]] > 0.0f) {
            out->half[out->count] = p->result->orientation[i];
            out->whole[out->count++] = whole->orientation[p->index[i]];
        }
    }
done:
    return status;
}

/* Median turn of the images of both halves, `most` of each, as they are, and where each is taken for its neighbour. */
static sp_status measure_turns(const pairs both[2], const sp_point_group *group, ptrdiff_t most, double *room,
                               double *turn, double *chance)
{
    sp_quat *other = NULL;
    sp_status status = SP_OK;

    *turn = *chance = 0.0;
    for (int h = 0; h < 2; h++) {
        const pairs *p = &both[h];
        const ptrdiff_t count = p->count < most ? p->count : most;

        sp_array_free(other);
        SP_TRY(SP_ARRAY(other, count));
        for (ptrdiff_t i = 0; i < count; i++) {
            other[i] = p->whole[(i + 1) % count];
        }
        SP_TRY(sp_orientation_errors(count, p->half, p->whole, group, room, NULL));
        *turn += 0.5 * sp_median(room, count);
        SP_TRY(sp_orientation_errors(count, p->half, other, group, room, NULL));
        *chance += 0.5 * sp_median(room, count);
    }
done:
    sp_array_free(other);
    return status;
}

/* Do halves and whole tell of the same turns? Modulo no symmetry, or else the first that says yes: images of a
 * symmetric particle choose one of its equivalents each. Larger groups take minutes to fit. */
static sp_status compare_orientations(const part both[2], const sp_reconstruction *whole, sp_half_sets *h)
{
    static const char *const groups[] = {"C1", "C2", "C3", "C4", "C5", "C6", "C7",
                                         "D2", "D3", "D4", "D5", "D6", "D7", NULL};
    pairs pair[2] = {{0}, {0}};
    double *room = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(room, whole->images));
    SP_TRY(pair_up(&both[0], whole, &pair[0]));
    SP_TRY(pair_up(&both[1], whole, &pair[1]));
    for (int g = 0; groups[g] && !h->agree; g++) {
        sp_point_group group;
        double turn, chance;

        SP_TRY(sp_point_group_init(groups[g], &group));
        SP_TRY(measure_turns(pair, &group, g == 0 ? whole->images : FOR_SYMMETRY, room, &turn, &chance));
        h->agree = turn < AGREEMENT * chance;
        if (g == 0 || h->agree) {
            h->turn = turn;
            h->chance = chance;
            h->group = groups[g];
        }
    }
done:
    pairs_clear(&pair[1]);
    pairs_clear(&pair[0]);
    sp_array_free(room);
    return status;
}

static sp_status reconstruct_half(sp_run *run, sp_image_file *file, const sp_reconstruct_settings *settings, int half,
                                  sp_log *log, part *p)
{
    sp_reconstruct_settings own = *settings;
    sp_status status = SP_OK;

    own.seed += (uint64_t)half + 1; /* random orientations and phases that all images did not begin with */
    sp_log_write(log, SP_LOG_INFO, "half set %d of 2, by itself: %td images", half + 1, p->images);
    SP_TRY(sp_image_file_select(file, p->images, p->index));
    SP_TRY(sp_reconstruct(run, file, &own, log, NULL, NULL, NULL, &p->result));
done:
    return status;
}

sp_status sp_halves_measure(sp_run *run, sp_image_file *file, const sp_reconstruct_settings *settings, sp_log *log,
                            sp_reconstruction *whole)
{
    part both[2] = {{0}, {0}};
    sp_half_sets *h = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(h, 1));
    SP_TRY(list_images(settings->seed, whole->images, both));
    for (int i = 0; i < 2; i++) {
        SP_TRY(reconstruct_half(run, file, settings, i, log, &both[i]));
        h->used[i] = both[i].result->used;
        h->converged[i] = both[i].result->converged && !both[i].result->contradicted;
    }
    SP_TRY(compare_maps(both, h));
    SP_TRY(compare_orientations(both, whole, h));
    sp_log_write(
        log, SP_LOG_INFO,
        "half sets: maps correlate by %.4f; the median image turned by %.1f degrees, by %.1f where it is taken "
        "for another (%s): %s",
        h->correlation, h->turn * 180.0 / M_PI, h->chance * 180.0 / M_PI, h->group,
        h->agree ? "they agree" : "they do not agree");
    whole->halves = h;
    h = NULL;
done:
    (void)sp_image_file_select(file, 0, NULL); /* needs no memory */
    sp_half_sets_free(h);
    part_clear(&both[1]);
    part_clear(&both[0]);
    return status;
}
