/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/halves.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/assignment.h"
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

/* Mean squared cosine between beams, where half of the images look along one axis. Runs that found the structure come
 * to 0.33 to 0.38. */
static const double ONE_SIDED = 0.5;

/* By how much the map of all images may correlate less with those of the halves than they do with each other. Runs that
 * found the structure come to -0.03 to 0.01; 1EI7, where that of all images was wrong and those of the halves were not,
 * to 0.29. */
static const double APART = 0.1;

static const double LEAST_SHARE = 0.03; /* of the images of a half: fewer make no conformation */

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

/* Pairs of rows and columns with the largest sum.   column  out  [n] */
static sp_status best_pairs(ptrdiff_t n, const double *gain, ptrdiff_t *column, double *sum)
{
    sp_status status = SP_OK;

    SP_TRY(sp_assign(n, gain, column));
    *sum = 0.0;
    for (ptrdiff_t k = 0; k < n; k++) {
        *sum += gain[k * n + column[k]];
    }
done:
    return status;
}

sp_status sp_halves_pair(ptrdiff_t images, const int32_t *half, const int32_t *whole, int conformations,
                         ptrdiff_t *partner, double *same, double *chance)
{
    const ptrdiff_t n = conformations;
    double of_half[SP_CONFORMATIONS] = {0}, of_whole[SP_CONFORMATIONS] = {0};
    double shared[SP_CONFORMATIONS * SP_CONFORMATIONS] = {0}, expected[SP_CONFORMATIONS * SP_CONFORMATIONS] = {0};
    ptrdiff_t any[SP_CONFORMATIONS];
    sp_status status = SP_OK;

    for (ptrdiff_t i = 0; i < images; i++) {
        shared[whole[i] * n + half[i]]++;
        of_half[half[i]]++;
        of_whole[whole[i]]++;
    }
    for (ptrdiff_t k = 0; images > 0 && k < n * n; k++) {
        expected[k] = of_whole[k / n] * of_half[k % n] / (double)images;
    }
    SP_TRY(best_pairs(n, shared, partner, same));
    SP_TRY(best_pairs(n, expected, any, chance));
done:
    return status;
}

/* One half and what became of it. */
typedef struct part {
    ptrdiff_t *index; /* [images] their numbers in the file */
    ptrdiff_t images;
    sp_reconstruction *result;
    ptrdiff_t partner[SP_CONFORMATIONS]; /* its conformation for each of the whole */
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

/* What is the same for all conformations: they lie on the same grid. */
static sp_status start_curves(const sp_reconstruction *first, double s_max, sp_half_sets *h)
{
    const double step = 1.0 / ((double)first->edge * first->voxel);
    const ptrdiff_t all = sp_radial_shells(first->edge), band = 1 + (ptrdiff_t)(s_max / step * (1.0 + 1e-9));
    sp_status status = SP_OK;

    h->shells = band < all ? band : all;
    SP_TRY(SP_ARRAY(h->s, h->shells));
    SP_TRY(SP_ARRAY(h->half_bit, h->shells));
    SP_TRY(SP_ARRAY(h->fsc, h->conformations * h->shells));
    SP_TRY(SP_ARRAY(h->shape, h->conformations * h->shells));
    SP_TRY(SP_ARRAY(h->cc_half, h->conformations * h->shells));
    sp_fsc_half_bit(h->shells, first->settings.diameter * step, h->half_bit);
    for (ptrdiff_t k = 0; k < h->shells; k++) {
        h->s[k] = (double)k * step;
    }
done:
    return status;
}

/* Two volumes on one grid, the second one laid on the first. */
typedef struct overlay {
    ptrdiff_t n;
    float *value[2]; /* [n^3] */
} overlay;

static void overlay_clear(overlay *o)
{
    sp_array_free(o->value[0]);
    sp_array_free(o->value[1]);
}

static sp_status lay(const sp_volume *fixed, const sp_alignment *stays, const sp_volume *moving,
                     const sp_alignment *moves, double s_max, overlay *out)
{
    sp_status status = SP_OK;

    out->n = fixed->n;
    SP_TRY(SP_ARRAY(out->value[0], out->n * out->n * out->n));
    SP_TRY(SP_ARRAY(out->value[1], out->n * out->n * out->n));
    SP_TRY(sp_align_apply(fixed, stays, s_max, out->n, fixed->voxel, out->value[0]));
    SP_TRY(sp_align_apply(moving, moves, s_max, out->n, fixed->voxel, out->value[1]));
done:
    return status;
}

/* Shell correlations of the maps and of the autocorrelations of conformation k, and what their thresholds say. */
static sp_status resolve(const overlay *maps, const overlay *merged, int k, sp_half_sets *h)
{
    double *fsc = h->fsc + k * h->shells, *shape = h->shape + k * h->shells, *cc_half = h->cc_half + k * h->shells;
    double *curve = NULL;
    const size_t bytes = (size_t)h->shells * sizeof *curve;
    sp_half_agreement *a = &h->of[k];
    sp_fft *plan = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(curve, sp_radial_shells(maps->n))); /* shells beyond the band are left behind */
    SP_TRY(sp_fft_new(maps->n, &plan));
    SP_TRY(sp_fsc_maps(plan, maps->value[0], maps->value[1], curve));
    memcpy(fsc, curve, bytes);
    SP_TRY(sp_fsc_shapes(plan, maps->value[0], maps->value[1], curve));
    memcpy(shape, curve, bytes);
    SP_TRY(sp_fsc_shapes(plan, merged->value[0], merged->value[1], curve));
    memcpy(cc_half, curve, bytes);
    shape[0] = cc_half[0] = 1.0; /* both have a mean */
    a->fsc_resolution = length_of(sp_fsc_resolution(shape, h->shells, h->s[1], SEVENTH));
    a->cc_half_resolution = length_of(sp_fsc_resolution(cc_half, h->shells, h->s[1], SEVENTH));
    a->half_bit_resolution = length_of(sp_fsc_resolution_along(fsc, h->half_bit, h->shells, h->s[1]));
    if (a->fsc_resolution > 0.0 && a->cc_half_resolution > 0.0) {
        a->resolution = fmax(a->fsc_resolution, a->cc_half_resolution);
    }
done:
    sp_fft_free(plan);
    sp_array_free(curve);
    return status;
}

/* What the two halves have of one conformation. */
typedef struct halved {
    sp_volume map[2], merged[2];
    float *value[4];
} halved;

static void halved_clear(halved *of)
{
    for (int i = 0; i < 4; i++) {
        sp_array_free(of->value[i]);
    }
}

static sp_status read_volume(const sp_reconstruction *half, const float *from, ptrdiff_t k, float **value,
                             sp_volume *volume)
{
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(*value, half->edge * half->edge * half->edge));
    sp_reconstruction_map(half, from, (int)k, *value);
    *volume = (sp_volume){.n = half->edge, .voxel = half->voxel, .value = *value};
done:
    return status;
}

static sp_status halved_init(const part both[2], int k, halved *of)
{
    sp_status status = SP_OK;

    for (int i = 0; i < 2; i++) {
        const sp_reconstruction *half = both[i].result;

        SP_TRY(read_volume(half, half->density, both[i].partner[k], &of->value[i], &of->map[i]));
        SP_TRY(read_volume(half, half->autocorrelation, both[i].partner[k], &of->value[2 + i], &of->merged[i]));
    }
done:
    return status;
}

/* Lays the second map on the first, the middle of the particle in voxel n/2, and the autocorrelations likewise, which
 * know no place and no hand. */
static sp_status compare_volumes(const halved *of, double s_max, int k, sp_half_sets *h)
{
    const sp_volume *fixed = &of->map[0];
    overlay maps = {0}, merged = {0};
    sp_alignment found, centring = {.rotation = {1.0, 0.0, 0.0, 0.0}, .hand = 1};
    double middle[3];
    sp_status status = SP_OK;

    SP_TRY(sp_align(fixed, &of->map[1], s_max, &found));
    const sp_alignment stays = centring, turns = {.rotation = found.rotation, .hand = 1};

    centre_of_mass(fixed->n, fixed->voxel, fixed->value, middle);
    for (int axis = 0; axis < 3; axis++) {
        centring.shift[axis] = -middle[axis];
        found.shift[axis] -= middle[axis];
    }
    SP_TRY(lay(fixed, &centring, &of->map[1], &found, s_max, &maps));
    SP_TRY(lay(&of->merged[0], &stays, &of->merged[1], &turns, s_max, &merged));
    h->of[k].correlation = sp_pearson(maps.value[0], maps.value[1], maps.n * maps.n * maps.n);
    SP_TRY(resolve(&maps, &merged, k, h));
done:
    overlay_clear(&merged);
    overlay_clear(&maps);
    return status;
}

/* Densities are nowhere negative: one without mass is that of no image. */
static bool is_empty(const sp_volume *map)
{
    for (ptrdiff_t i = 0; i < map->n * map->n * map->n; i++) {
        if (map->value[i] > 0.0f) {
            return false;
        }
    }
    return true;
}

/* How well the map of all images lies on those of the halves. */
static sp_status compare_whole(const sp_volume half[2], const sp_reconstruction *all, double s_max, int k,
                               sp_half_agreement *a)
{
    float *value = NULL;
    sp_volume map;
    sp_alignment found = {.correlation = 0.0};
    sp_status status = SP_OK;

    SP_TRY(read_volume(all, all->density, k, &value, &map));
    a->whole = is_empty(&map) ? 0.0 : 1.0;
    for (int i = 0; i < 2 && a->whole > 0.0; i++) {
        SP_TRY(sp_align(&half[i], &map, s_max, &found));
        a->whole = fmin(a->whole, found.correlation);
    }
done:
    sp_array_free(value);
    return status;
}

/* The maps of conformation k. Where one is empty the curves stay 0. */
static sp_status compare_maps(const part both[2], const sp_reconstruction *all, int k, sp_half_sets *h)
{
    const sp_reconstruction *first = both[0].result;
    halved of = {0};
    sp_status status = SP_OK;

    SP_TRY(halved_init(both, k, &of));
    const double s_max = sp_align_band(&of.map[0], &of.map[1], 1.0 / first->settings.resolution);

    if (!h->s) {
        SP_TRY(start_curves(first, s_max, h));
    }
    if (!is_empty(&of.map[0]) && !is_empty(&of.map[1])) {
        SP_TRY(compare_volumes(&of, s_max, k, h));
        SP_TRY(compare_whole(of.map, all, s_max, k, &h->of[k]));
    }
done:
    halved_clear(&of);
    return status;
}

/* Images with signal of a half, as found in it and in the reconstruction of all images. */
typedef struct pairs {
    sp_quat *half, *whole;             /* [count] orientations */
    int32_t *half_label, *whole_label; /* [count] */
    ptrdiff_t count;
} pairs;

static sp_status pairs_init(ptrdiff_t most, pairs *p)
{
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(p->half, most));
    SP_TRY(SP_ARRAY(p->whole, most));
    SP_TRY(SP_ARRAY(p->half_label, most));
    SP_TRY(SP_ARRAY(p->whole_label, most));
done:
    return status;
}

static void pairs_clear(pairs *p)
{
    sp_array_free(p->half);
    sp_array_free(p->whole);
    sp_array_free(p->half_label);
    sp_array_free(p->whole_label);
}

static sp_status pair_up(const part *p, const sp_reconstruction *whole, pairs *out)
{
    sp_status status = SP_OK;

    SP_TRY(pairs_init(p->images, out));
    for (ptrdiff_t i = 0; i < p->images; i++) {
        const ptrdiff_t image = p->index[i], j = out->count;

        if (p->result->scale[i] > 0.0f && whole->scale[image] > 0.0f) {
            out->half[j] = p->result->orientation[i];
            out->whole[j] = whole->orientation[image];
            out->half_label[j] = p->result->label[i];
            out->whole_label[j] = whole->label[image];
            out->count++;
        }
    }
done:
    return status;
}

/* Those of them that half and whole both sort into conformation k of the whole. */
static sp_status pairs_of(const pairs *all, int k, ptrdiff_t partner, pairs *out)
{
    sp_status status = SP_OK;

    SP_TRY(pairs_init(all->count, out));
    for (ptrdiff_t i = 0; i < all->count; i++) {
        if (all->whole_label[i] == k && all->half_label[i] == partner) {
            out->half[out->count] = all->half[i];
            out->whole[out->count++] = all->whole[i];
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
static sp_status compare_turns(const pairs both[2], double *room, sp_half_agreement *a, bool *alike)
{
    static const char *const groups[] = {"C1", "C2", "C3", "C4", "C5", "C6", "C7",
                                         "D2", "D3", "D4", "D5", "D6", "D7", NULL};
    sp_status status = SP_OK;

    *alike = false;
    for (int g = 0; groups[g] && !*alike; g++) {
        sp_point_group group;
        double turn, chance;

        SP_TRY(sp_point_group_init(groups[g], &group));
        SP_TRY(measure_turns(both, &group, g == 0 ? PTRDIFF_MAX : FOR_SYMMETRY, room, &turn, &chance));
        *alike = turn < AGREEMENT * chance;
        if (g == 0 || *alike) {
            a->turn = turn;
            a->chance = chance;
            a->group = groups[g];
        }
    }
done:
    return status;
}

/* Images in which there is nothing but noise lie where the map looks most alike all round, in the half as in the whole:
 * that is one place, or a few about one axis, and no sign of a structure. */
static double largest_likeness(const pairs both[2])
{
    double most = 0.0;

    for (int h = 0; h < 2; h++) {
        most = fmax(most, sp_orientation_likeness(both[h].count, both[h].half));
        most = fmax(most, sp_orientation_likeness(both[h].count, both[h].whole));
    }
    return most;
}

/* Of a conformation with images enough, whose maps and orientations have been compared.   alike  its images' turns are
 */
static sp_half_verdict verdict_of(const sp_half_agreement *a, bool alike, double explained)
{
    if (a->likeness > ONE_SIDED && strcmp(a->group, "C1") == 0) {
        return SP_HALVES_ONE_SIDED;
    }
    if (a->whole < a->correlation - APART) {
        return SP_HALVES_APART;
    }
    if (explained < SP_EXPLAINED) {
        return SP_HALVES_UNEXPLAINED;
    }
    return alike ? SP_HALVES_AGREE : SP_HALVES_DISAGREE;
}

/* Orientations of the images of conformation k, if there are enough of them to tell, and the verdict. */
static sp_status compare_orientations(const part both[2], const pairs all[2], const sp_reconstruction *whole, int k,
                                      sp_half_agreement *a)
{
    pairs own[2] = {{0}, {0}};
    double *room = NULL;
    bool enough = true, alike;
    sp_status status = SP_OK;

    a->turn = a->chance = a->likeness = NAN;
    a->group = "C1";
    a->verdict = SP_HALVES_TOO_FEW;
    for (int i = 0; i < 2; i++) {
        SP_TRY(pairs_of(&all[i], k, both[i].partner[k], &own[i]));
        a->images[i] = own[i].count;
        enough = enough && own[i].count >= SP_ORIENTATION_SCORE_LEAST &&
                 (double)own[i].count >= LEAST_SHARE * (double)all[i].count;
    }
    if (enough) {
        SP_TRY(SP_ARRAY(room, own[0].count > own[1].count ? own[0].count : own[1].count));
        SP_TRY(compare_turns(own, room, a, &alike));
        a->likeness = largest_likeness(own);
        a->verdict = verdict_of(a, alike, whole->explained);
    }
done:
    sp_array_free(room);
    pairs_clear(&own[1]);
    pairs_clear(&own[0]);
    return status;
}

/* Find the partners of each conformation, and how many images they tell alike. */
static sp_status compare_labels(const pairs all[2], part both[2], sp_half_sets *h)
{
    double same = 0.0, chance = 0.0;
    const double count = (double)(all[0].count + all[1].count);
    sp_status status = SP_OK;

    for (int i = 0; i < 2; i++) {
        double one, by_chance;

        SP_TRY(sp_halves_pair(all[i].count, all[i].half_label, all[i].whole_label, h->conformations, both[i].partner,
                              &one, &by_chance));
        same += one;
        chance += by_chance;
    }
    h->labels_same = count > 0.0 ? same / count : 0.0;
    h->labels_chance = count > 0.0 ? chance / count : 0.0;
done:
    return status;
}

static void say_agreement(const sp_half_sets *h, int k, sp_log *log)
{
    static const char *const words[] = {[SP_HALVES_ONE_SIDED] = "they see one side",
                                        [SP_HALVES_APART] = "all images together make another map",
                                        [SP_HALVES_UNEXPLAINED] = "the images are not explained",
                                        [SP_HALVES_DISAGREE] = "they do not agree",
                                        [SP_HALVES_AGREE] = "they agree"};
    const sp_half_agreement *a = &h->of[k];
    char name[48] = "half sets";

    if (h->conformations > 1) {
        snprintf(name, sizeof name, "conformation %d of half sets", k + 1);
    }
    if (a->verdict == SP_HALVES_TOO_FEW) {
        sp_log_write(log, SP_LOG_INFO, "%s: they have %td and %td images of it, too few", name, a->images[0],
                     a->images[1]);
    } else {
        sp_log_write(log, SP_LOG_INFO,
                     "%s: maps correlate by %.4f, with that of all images by %.4f; the median image turned by %.1f "
                     "degrees, by %.1f where it is taken for another (%s): %s",
                     name, a->correlation, a->whole, a->turn * 180.0 / M_PI, a->chance * 180.0 / M_PI, a->group,
                     words[a->verdict]);
    }
}

static sp_status compare_halves(part both[2], const sp_reconstruction *whole, sp_log *log, sp_half_sets *h)
{
    pairs all[2] = {{0}, {0}};
    sp_status status = SP_OK;

    for (int i = 0; i < 2; i++) {
        SP_TRY(pair_up(&both[i], whole, &all[i]));
    }
    SP_TRY(compare_labels(all, both, h));
    for (int k = 0; k < h->conformations; k++) {
        SP_TRY(compare_maps(both, whole, k, h));
        SP_TRY(compare_orientations(both, all, whole, k, &h->of[k]));
        say_agreement(h, k, log);
    }
done:
    pairs_clear(&all[1]);
    pairs_clear(&all[0]);
    return status;
}

static sp_status reconstruct_half(sp_run *run, sp_image_file *file, const sp_reconstruct_settings *settings, int half,
                                  sp_log *log, part *p)
{
    sp_reconstruct_settings own = *settings;
    sp_status status = SP_OK;

    own.autocorrelations = true;
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
    sp_reconstruct_settings same = *settings;
    part both[2] = {{0}, {0}};
    sp_half_sets *h = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(h, 1));
    h->conformations = same.conformations = whole->settings.conformations; /* found there, perhaps */
    SP_TRY(list_images(settings->seed, whole->images, both));
    for (int i = 0; i < 2; i++) {
        SP_TRY(reconstruct_half(run, file, &same, i, log, &both[i]));
        h->used[i] = both[i].result->used;
        h->converged[i] = both[i].result->converged && !both[i].result->contradicted;
    }
    SP_TRY(compare_halves(both, whole, log, h));
    whole->halves = h;
    h = NULL;
done:
    (void)sp_image_file_select(file, 0, NULL); /* needs no memory */
    sp_half_sets_free(h);
    part_clear(&both[1]);
    part_clear(&both[0]);
    return status;
}
