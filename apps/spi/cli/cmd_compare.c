/* SPDX-License-Identifier: BSD-3-Clause */
/* spica compare -- a result against the truth: orientations against those of a simulation, a map against a molecule or
 * against another map. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/findings.h"
#include "io/h5.h"
#include "io/mrc.h"
#include "io/pdb.h"
#include "io/truth.h"
#include "num/assignment.h"
#include "num/fft.h"
#include "num/point_group.h"
#include "num/radial.h"
#include "num/statistics.h"
#include "phases/align.h"
#include "phases/orientation_score.h"
#include "phases/resolve.h"
#include "physics/density.h"

static const double ANGSTROM = 1e-10; /* [m] */
static const double DEGREE = M_PI / 180.0;
static const double MAX_STRETCH = 1e-3; /* voxels whose edges differ by more than this are no cubes */
static const double ROOM = 1.2;         /* a box that is made for a molecule is so many diameters wide */
enum { LABEL_WIDTH = 22, STATES = 256, MAX_EDGE = 512, CURVE_LINES = 12 };

/* Where the findings go, and the warnings. */
typedef struct report {
    sp_findings found;
    sp_log *log;
} report;

/* ---- orientations ---- */

/* Orientations that a reconstruction found, beside the known ones of the same images. */
typedef struct orientations {
    ptrdiff_t count;
    sp_quat *found, *known;  /* [count] */
    int32_t *state, *origin; /* [count] conformation that was found, structure that is shown */
} orientations;

static void orientations_clear(orientations *set)
{
    sp_array_free(set->found);
    sp_array_free(set->known);
    sp_array_free(set->state);
    sp_array_free(set->origin);
    *set = (orientations){0};
}

/* /result/orientations [N][4], made unit quaternions. */
static sp_status read_found(sp_h5 *h5, const char *path, orientations *set)
{
    static const char name[] = "result/orientations";
    sp_status status = SP_OK;
    sp_h5_info info = {0};
    double *q = NULL;

    SP_REQUIRE(sp_h5_exists(h5, name), SP_ERR_INPUT,
               "%s: no dataset `%s` in it; give the result of a reconstruction first, the images second", path, name);
    SP_TRY(sp_h5_get_info(h5, name, &info));
    const ptrdiff_t shape[] = {info.rank > 0 ? info.shape[0] : 0, 4};

    SP_TRY(SP_ARRAY(q, 4 * shape[0]));
    SP_TRY(SP_ARRAY(set->found, shape[0]));
    SP_TRY(sp_h5_read_double(h5, name, 2, shape, q));
    set->count = shape[0];
    for (ptrdiff_t i = 0; i < set->count; i++) {
        const sp_quat one = {q[4 * i], q[4 * i + 1], q[4 * i + 2], q[4 * i + 3]};
        const double length = sqrt(one.w * one.w + one.x * one.x + one.y * one.y + one.z * one.z);

        SP_REQUIRE(fabs(length - 1.0) < 0.01, SP_ERR_INPUT, "%s: `%s` of row %td is no unit quaternion", path, name, i);
        set->found[i] = sp_quat_normalize(one);
    }
done:
    sp_array_free(q);
    return status;
}

/* image[i] = which image of the image file row i is about. */
static sp_status read_image_ids(sp_h5 *h5, const char *path, ptrdiff_t count, ptrdiff_t known, uint64_t *image)
{
    static const char name[] = "result/image_id";
    sp_status status = SP_OK;

    if (sp_h5_exists(h5, name)) {
        SP_TRY(sp_h5_read_uint64(h5, name, 1, &count, image));
    } else {
        SP_REQUIRE(count == known, SP_ERR_INPUT,
                   "%s: %td orientations for %td images and no `%s` to say which are which; are these its images?",
                   path, count, known, name);
        for (ptrdiff_t i = 0; i < count; i++) {
            image[i] = (uint64_t)i;
        }
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        SP_REQUIRE(image[i] < (uint64_t)known, SP_ERR_INPUT,
                   "%s: row %td is about image %llu, the image file holds %td; are these its images?", path, i,
                   (unsigned long long)image[i], known);
    }
done:
    return status;
}

static sp_status read_states(sp_h5 *h5, ptrdiff_t count, int32_t *state)
{
    static const char name[] = "result/conformation";
    sp_status status = SP_OK;
    uint8_t *byte = NULL;

    if (sp_h5_exists(h5, name)) {
        SP_TRY(SP_ARRAY(byte, count));
        SP_TRY(sp_h5_read_uint8(h5, name, 1, &count, byte));
        for (ptrdiff_t i = 0; i < count; i++) {
            state[i] = byte[i];
        }
    }
done:
    sp_array_free(byte);
    return status;
}

static sp_status read_orientations(const char *result, const char *images, orientations *set)
{
    sp_status status = SP_OK;
    sp_h5 *h5 = NULL;
    ptrdiff_t known = 0;
    double *truth = NULL;
    int32_t *structure = NULL;
    uint64_t *image = NULL;

    SP_TRY(sp_h5_open(result, &h5));
    SP_TRY(read_found(h5, result, set));
    SP_TRY(sp_truth_read(images, &known, &truth, &structure));
    SP_TRY(SP_ARRAY(image, set->count));
    SP_TRY(SP_ARRAY(set->known, set->count));
    SP_TRY(SP_ARRAY(set->state, set->count));
    SP_TRY(SP_ARRAY(set->origin, set->count));
    SP_TRY(read_image_ids(h5, result, set->count, known, image));
    SP_TRY(read_states(h5, set->count, set->state));
    for (ptrdiff_t i = 0; i < set->count; i++) {
        const double *q = truth + 4 * image[i];

        set->known[i] = (sp_quat){q[0], q[1], q[2], q[3]};
        set->origin[i] = structure[image[i]];
    }
done:
    sp_array_free(image);
    sp_array_free(structure);
    sp_array_free(truth);
    sp_h5_close(h5);
    return status;
}

/* Errors of all images, appended conformation by conformation: each density has a frame of its own.
 *   error, strict  out  [set->count] [rad];  scored  receives how many there are */
static sp_status score_states(const orientations *set, const sp_point_group *group, report *out, double *error,
                              double *strict, ptrdiff_t *scored)
{
    sp_status status = SP_OK;
    sp_quat *found = NULL, *known = NULL;

    *scored = 0;
    SP_TRY(SP_ARRAY(found, set->count));
    SP_TRY(SP_ARRAY(known, set->count));
    for (int32_t state = 0; state < STATES; state++) {
        ptrdiff_t count = 0;

        for (ptrdiff_t i = 0; i < set->count; i++) {
            if (set->state[i] == state) {
                found[count] = set->found[i];
                known[count++] = set->known[i];
            }
        }
        if (count > 0 && count < SP_ORIENTATION_SCORE_LEAST && count < set->count) {
            sp_log_warning(out->log, "conformation %d has only %td images: left out", state, count);
        } else if (count > 0) {
            SP_TRY(sp_orientation_errors(count, found, known, group, error + *scored, strict + *scored));
            *scored += count;
        }
    }
    SP_REQUIRE(*scored > 0, SP_ERR_INPUT, "every conformation has fewer than %d images: too few to judge orientations",
               SP_ORIENTATION_SCORE_LEAST);
done:
    sp_array_free(known);
    sp_array_free(found);
    return status;
}

static void show_score(const char *label, const char *key, const sp_orientation_score *score, report *out)
{
    sp_findings_line(&out->found, label,
                     "median %.2f degrees, 90 %% within %.2f; within 5: %.1f %%, 10: %.1f %%, 20: %.1f %%",
                     score->median / DEGREE, score->p90 / DEGREE, 100.0 * score->within_5, 100.0 * score->within_10,
                     100.0 * score->within_20);
    sp_json_object(&out->found.json, key);
    sp_json_real(&out->found.json, "median", score->median / DEGREE);
    sp_json_real(&out->found.json, "p90", score->p90 / DEGREE);
    sp_json_real(&out->found.json, "within_5", score->within_5);
    sp_json_real(&out->found.json, "within_10", score->within_10);
    sp_json_real(&out->found.json, "within_20", score->within_20);
    sp_json_end(&out->found.json);
}

/* Conformations have no names: the permutation counts that most images agree with. Shows the fraction of images that
 * do: to people only where images show several structures, or were sorted into several conformations. */
static sp_status show_conformations(const orientations *set, report *out)
{
    sp_status status = SP_OK;
    double *shared = NULL, right = 0.0; /* images of found state a that show structure b, at a * STATES + b */
    ptrdiff_t *structure = NULL;
    bool several = false;

    SP_TRY(SP_ARRAY(shared, STATES * STATES));
    SP_TRY(SP_ARRAY(structure, STATES));
    for (ptrdiff_t i = 0; i < set->count; i++) {
        several = several || set->state[i] > 0 || set->origin[i] > 0;
        if (set->origin[i] < STATES) {
            shared[set->state[i] * STATES + set->origin[i]] += 1.0;
        }
    }
    SP_TRY(sp_assign(STATES, shared, structure));
    for (ptrdiff_t a = 0; a < STATES; a++) {
        right += shared[a * STATES + structure[a]];
    }
    right /= (double)set->count;
    if (several) {
        sp_findings_line(&out->found, "right conformation", "%.1f %% of the images", 100.0 * right);
    }
    sp_json_real(&out->found.json, "labels_right", right);
done:
    sp_array_free(shared);
    sp_array_free(structure);
    return status;
}

static sp_status compare_orientations(const sp_arguments *args, const char *result, const char *images, report *out)
{
    sp_status status = SP_OK;
    orientations set = {0};
    sp_point_group group;
    sp_orientation_score score;
    double *error = NULL, *strict = NULL, chance;
    ptrdiff_t scored = 0;

    SP_REQUIRE(!sp_arguments_is_set(args, "aligned"), SP_ERR_USAGE, "--aligned needs a density map, %s is none",
               result);
    SP_TRY(sp_point_group_init(sp_arguments_text(args, "symmetry"), &group));
    SP_TRY(read_orientations(result, images, &set));
    SP_TRY(SP_ARRAY(error, set.count));
    SP_TRY(SP_ARRAY(strict, set.count));
    SP_TRY(score_states(&set, &group, out, error, strict, &scored));
    SP_TRY(sp_orientation_chance(&group, true, &chance));
    sp_json_text(&out->found.json, "kind", "orientations");
    sp_json_integer(&out->found.json, "images", scored);
    sp_findings_line(&out->found, "images", "%td", scored);
    score = sp_orientation_summary(scored, error);
    show_score("orientation error", "orientation_error_deg", &score, out);
    score = sp_orientation_summary(scored, strict);
    show_score("half turns counted", "orientation_error_strict_deg", &score, out);
    sp_findings_line(&out->found, "random orientations", "median %.0f degrees", chance / DEGREE);
    sp_json_real(&out->found.json, "chance_median_deg", chance / DEGREE);
    SP_TRY(show_conformations(&set, out));
done:
    sp_array_free(strict);
    sp_array_free(error);
    orientations_clear(&set);
    return status;
}

/* ---- maps ---- */

/* A cubic map and where it lies: voxel n/2 of each axis at `centre` in the frame of its file. */
typedef struct cube {
    ptrdiff_t n;
    double voxel;     /* [m] */
    double centre[3]; /* [m] */
    float *value;     /* [n][n][n] owned */
} cube;

static sp_volume volume_of(const cube *map)
{
    return (sp_volume){.n = map->n, .voxel = map->voxel, .value = map->value};
}

/* Read a map into the cube of its longest edge; what the file does not cover is 0. */
static sp_status read_cube(const char *path, cube *to)
{
    sp_status status = SP_OK;
    sp_map map = {0};

    SP_TRY(sp_mrc_read(path, &map));
    to->voxel = map.voxel[0];
    for (int axis = 0; axis < 3; axis++) {
        to->n = map.n[axis] > to->n ? map.n[axis] : to->n;
        SP_REQUIRE(fabs(map.voxel[axis] / to->voxel - 1.0) < MAX_STRETCH, SP_ERR_INPUT,
                   "%s: voxels of %.4g x %.4g x %.4g Angstrom are no cubes; resample the map first", path,
                   map.voxel[0] / ANGSTROM, map.voxel[1] / ANGSTROM, map.voxel[2] / ANGSTROM);
    }
    SP_REQUIRE(to->n >= 8 && to->n <= MAX_EDGE, SP_ERR_INPUT, "%s: edge of %td voxels is not in 8..%d", path, to->n,
               MAX_EDGE);
    SP_TRY(SP_ARRAY(to->value, to->n * to->n * to->n));
    for (int axis = 0; axis < 3; axis++) {
        to->centre[axis] = map.origin[axis] + (double)(to->n / 2) * to->voxel;
    }
    for (ptrdiff_t x = 0; x < map.n[0]; x++) {
        for (ptrdiff_t y = 0; y < map.n[1]; y++) {
            memcpy(to->value + (x * to->n + y) * to->n, map.value + (x * map.n[1] + y) * map.n[2],
                   (size_t)map.n[2] * sizeof *map.value);
        }
    }
done:
    sp_map_clear(&map);
    return status;
}

/* The reference for a map: the molecule's density on the map's grid, with voxel n/2 on a whole voxel of the molecule's
 * frame; the box grows if the molecule would not fit in. */
static sp_status draw_molecule(const sp_atoms *atoms, const cube *like, double s_max, cube *to)
{
    sp_status status = SP_OK;
    double centre[3];

    sp_atoms_centre(atoms, centre);

    const double diameter = 2.0 * sp_atoms_radius(atoms, centre);
    const ptrdiff_t needed = sp_fft_good_size((ptrdiff_t)ceil(ROOM * diameter / like->voxel));

    to->voxel = like->voxel;
    to->n = needed > like->n ? needed : like->n;
    SP_REQUIRE(to->n <= MAX_EDGE, SP_ERR_INPUT,
               "the molecule is %.0f Angstrom wide: %td voxels of the map, more than %d; is this its map?",
               diameter / ANGSTROM, needed, MAX_EDGE);
    for (int axis = 0; axis < 3; axis++) {
        to->centre[axis] = to->voxel * round(centre[axis] / to->voxel);
    }
    SP_TRY(SP_ARRAY(to->value, to->n * to->n * to->n));
    SP_TRY(sp_density_from_atoms(atoms, to->centre, to->n, to->voxel, s_max, to->value));
done:
    return status;
}

/* Value of a map at a place of its frame, linear between voxels; the box is periodic. */
static double value_at(const cube *map, const double position[3])
{
    ptrdiff_t below[3];
    double part[3], sum = 0.0;

    for (int axis = 0; axis < 3; axis++) {
        const double index = (position[axis] - map->centre[axis]) / map->voxel + (double)(map->n / 2);

        below[axis] = (ptrdiff_t)floor(index);
        part[axis] = index - floor(index);
    }
    for (int corner = 0; corner < 8; corner++) {
        ptrdiff_t at = 0;
        double weight = 1.0;

        for (int axis = 0; axis < 3; axis++) {
            const int up = corner >> axis & 1;

            at = at * map->n + ((below[axis] + up) % map->n + map->n) % map->n;
            weight *= up ? part[axis] : 1.0 - part[axis];
        }
        sum += weight * (double)map->value[at];
    }
    return sum;
}

/* Fractions of the atoms at which the map is above its mean, and above mean + one deviation. */
static void show_atoms(const cube *aligned, const sp_atoms *atoms, report *out)
{
    double mean, deviation, above_mean = 0.0, above_sigma = 0.0;

    sp_moments(aligned->value, aligned->n * aligned->n * aligned->n, &mean, &deviation);
    for (ptrdiff_t a = 0; a < atoms->count; a++) {
        const double value = value_at(aligned, atoms->atom[a].position);

        above_mean += value > mean;
        above_sigma += value > mean + deviation;
    }
    above_mean /= (double)atoms->count;
    above_sigma /= (double)atoms->count;
    sp_findings_line(&out->found, "atoms in density", "%.1f %% above mean + sigma, %.1f %% above the mean",
                     100.0 * above_sigma, 100.0 * above_mean);
    sp_json_real(&out->found.json, "atoms_in_density", above_sigma);
    sp_json_real(&out->found.json, "atoms_above_mean", above_mean);
}

static void show_resolution(const double *fsc, ptrdiff_t shells, double step, double threshold, const char *name,
                            report *out)
{
    const sp_resolution found = sp_fsc_resolution(fsc, shells, step, threshold);
    char label[64];

    snprintf(label, sizeof label, "resolution, FSC %s", name);
    sp_findings_line(&out->found, label, "%.2f Angstrom%s", 1.0 / found.s / ANGSTROM,
                     found.crossed ? "" : " or better: the curve stays above");
    snprintf(label, sizeof label, "resolution_%s_angstrom", name);
    sp_json_real(&out->found.json, label, 1.0 / found.s / ANGSTROM);
    snprintf(label, sizeof label, "crossed_%s", name);
    sp_json_flag(&out->found.json, label, found.crossed);
}

/* Shell correlation of reference and aligned map, which lie on the same grid. */
static sp_status show_fsc(const cube *reference, const cube *aligned, double s_max, report *out)
{
    sp_status status = SP_OK;
    const double step = 1.0 / ((double)reference->n * reference->voxel);
    const ptrdiff_t band = (ptrdiff_t)(s_max / step * (1.0 + 1e-9)), edge = (reference->n - 1) / 2;
    const ptrdiff_t shells = 1 + (band < edge ? band : edge);
    sp_fft *plan = NULL;
    double *fsc = NULL;

    SP_TRY(sp_fft_new(reference->n, &plan));
    SP_TRY(SP_ARRAY(fsc, sp_radial_shells(reference->n)));
    SP_TRY(sp_fsc_maps(plan, reference->value, aligned->value, fsc));
    sp_json_object(&out->found.json, "fsc");
    show_resolution(fsc, shells, step, 0.5, "0.5", out);
    show_resolution(fsc, shells, step, 0.143, "0.143", out);
    sp_json_array(&out->found.json, "curve");
    for (ptrdiff_t k = 1; k < shells; k++) {
        const double s = (double)k * step * ANGSTROM, pair[2] = {s, fsc[k]};

        sp_json_reals(&out->found.json, NULL, pair, 2);
        if ((k - 1) % (1 + shells / CURVE_LINES) == 0) {
            sp_findings_line(&out->found, "", "%7.2f Angstrom  %6.3f", 1.0 / s, fsc[k]);
        }
    }
    sp_json_end(&out->found.json);
    sp_json_end(&out->found.json);
done:
    sp_array_free(fsc);
    sp_fft_free(plan);
    return status;
}

/* The alignment as a motion between the frames of the two files: x_reference = hand R x_map + shift. */
static void show_alignment(const sp_alignment *found, const cube *reference, const cube *map, report *out)
{
    const sp_mat3 turn = sp_quat_to_matrix(found->rotation);
    const sp_quat q = found->rotation;
    const double rotation[4] = {q.w, q.x, q.y, q.z};
    double turned[3], shift[3];

    sp_mat3_apply(&turn, map->centre, turned);
    for (int axis = 0; axis < 3; axis++) {
        shift[axis] = (found->shift[axis] + reference->centre[axis] - found->hand * turned[axis]) / ANGSTROM;
    }
    sp_findings_line(&out->found, "alignment", "rotation %.5f %.5f %.5f %.5f (w x y z), shift %.2f %.2f %.2f Angstrom",
                     q.w, q.x, q.y, q.z, shift[0], shift[1], shift[2]);
    sp_findings_line(&out->found, "hand", "%s; the other hand correlates by %.4f",
                     found->hand > 0 ? "as it is" : "inverted", found->other_hand_correlation);
    sp_json_object(&out->found.json, "alignment");
    sp_json_reals(&out->found.json, "rotation", rotation, 4);
    sp_json_reals(&out->found.json, "shift_angstrom", shift, 3);
    sp_json_integer(&out->found.json, "hand", found->hand);
    sp_json_real(&out->found.json, "other_hand_correlation", found->other_hand_correlation);
    sp_json_end(&out->found.json);
}

/* Write the whole map (not only the band) in the frame of the reference. The format places voxels at whole multiples
 * of their size, so the rest of a voxel goes into the shift. */
static sp_status write_aligned(const char *path, const cube *map, const cube *reference, const sp_alignment *found)
{
    sp_status status = SP_OK;
    const sp_volume volume = volume_of(map);
    sp_alignment by = *found;
    ptrdiff_t centre[3];
    float *value = NULL;

    for (int axis = 0; axis < 3; axis++) {
        centre[axis] = (ptrdiff_t)lround(reference->centre[axis] / reference->voxel);
        by.shift[axis] += reference->centre[axis] - reference->voxel * (double)centre[axis];
    }
    SP_TRY(SP_ARRAY(value, reference->n * reference->n * reference->n));
    SP_TRY(sp_align_apply(&volume, &by, 0.5 / map->voxel, reference->n, reference->voxel, value));
    SP_TRY(sp_mrc_write_at(path, reference->n, reference->voxel, centre, value, "aligned by spica compare"));
done:
    sp_array_free(value);
    return status;
}

/* The map laid on the reference, both limited to the band, and all that is told about them. */
static sp_status compare_cubes(const sp_arguments *args, const cube *map, const cube *reference, double s_max,
                               const sp_atoms *atoms, report *out)
{
    sp_status status = SP_OK;
    const ptrdiff_t n = reference->n, count = n * n * n;
    const sp_volume moving = volume_of(map), fixed = volume_of(reference);
    cube aligned = {.n = n, .voxel = reference->voxel}, limited = aligned;
    sp_alignment found;
    double correlation;

    memcpy(aligned.centre, reference->centre, sizeof aligned.centre);
    SP_TRY(SP_ARRAY(aligned.value, count));
    SP_TRY(SP_ARRAY(limited.value, count));
    SP_TRY(sp_align(&fixed, &moving, s_max, &found));
    SP_TRY(sp_align_apply(&moving, &found, s_max, n, reference->voxel, aligned.value));
    SP_TRY(sp_align_apply(&fixed, NULL, s_max, n, reference->voxel, limited.value));
    correlation = sp_pearson(aligned.value, limited.value, count);
    sp_json_real(&out->found.json, "band_angstrom", 1.0 / s_max / ANGSTROM);
    sp_json_real(&out->found.json, "map_correlation", correlation);
    sp_findings_line(&out->found, "band", "%.2f Angstrom and coarser", 1.0 / s_max / ANGSTROM);
    sp_findings_line(&out->found, "map correlation", "%.4f", correlation);
    SP_TRY(show_fsc(&limited, &aligned, s_max, out));
    show_alignment(&found, reference, map, out);
    if (atoms) {
        show_atoms(&aligned, atoms, out);
    }
    if (sp_arguments_is_set(args, "aligned")) {
        SP_TRY(write_aligned(sp_arguments_text(args, "aligned"), map, reference, &found));
    }
done:
    sp_array_free(limited.value);
    sp_array_free(aligned.value);
    return status;
}

/* The band [1/m]: what the user asks for, as far as both grids go. */
static double choose_band(const sp_arguments *args, const cube *map, const cube *reference, report *out)
{
    const double wish = sp_arguments_is_set(args, "resolution") ? sp_arguments_real(args, "resolution") : 0.0;
    const double nyquist = 0.5 / fmax(map->voxel, reference->voxel);
    const double s_max = wish > 0.0 ? 1.0 / (wish * ANGSTROM) : nyquist;

    if (s_max > nyquist * (1.0 + 1e-9)) {
        sp_log_warning(out->log, "voxels of %.3g Angstrom hold no more than %.3g Angstrom: compared to there",
                       0.5 / nyquist / ANGSTROM, 1.0 / nyquist / ANGSTROM);
    }
    return fmin(s_max, nyquist);
}

static sp_status compare_map_with_molecule(const sp_arguments *args, const char *map_path, const char *molecule_path,
                                           report *out)
{
    sp_status status = SP_OK;
    cube map = {0}, reference = {0};
    sp_atoms atoms = {0};

    SP_TRY(read_cube(map_path, &map));
    SP_TRY(sp_pdb_read(molecule_path, (int)sp_arguments_integer(args, "assembly"), &atoms));

    const double s_max = choose_band(args, &map, &map, out);

    SP_TRY(draw_molecule(&atoms, &map, s_max, &reference));
    sp_json_text(&out->found.json, "kind", "map and molecule");
    sp_json_integer(&out->found.json, "atoms", atoms.count);
    sp_findings_line(&out->found, "atoms", "%td", atoms.count);
    SP_TRY(compare_cubes(args, &map, &reference, s_max, &atoms, out));
done:
    sp_atoms_clear(&atoms);
    sp_array_free(reference.value);
    sp_array_free(map.value);
    return status;
}

static sp_status compare_maps(const sp_arguments *args, const char *map_path, const char *reference_path, report *out)
{
    sp_status status = SP_OK;
    cube map = {0}, reference = {0};

    SP_TRY(read_cube(map_path, &map));
    SP_TRY(read_cube(reference_path, &reference));
    sp_json_text(&out->found.json, "kind", "two maps");
    SP_TRY(compare_cubes(args, &map, &reference, choose_band(args, &map, &reference, out), NULL, out));
done:
    sp_array_free(reference.value);
    sp_array_free(map.value);
    return status;
}

/* ---- which kinds of files ---- */

typedef enum kind { KIND_H5, KIND_MAP, KIND_MOLECULE } kind;

/* By contents: HDF5 and maps have a signature. What is left is taken for what its name says, else for a molecule: the
 * reader says what is wrong. */
static sp_status find_kind(const char *path, kind *found)
{
    sp_status status = SP_OK;

    SP_REQUIRE(!sp_folder_exists(path), SP_ERR_INPUT, "%s: is a folder, a file is needed", path);
    SP_REQUIRE(sp_file_exists(path), SP_ERR_INPUT, "%s: no such file", path);
    *found = sp_h5_recognize(path)                            ? KIND_H5
             : sp_mrc_recognize(path) || strstr(path, ".mrc") ? KIND_MAP
                                                              : KIND_MOLECULE;
done:
    return status;
}

static sp_status compare_files(const sp_arguments *args, const char *first, const char *second, report *out)
{
    static const char *const names[] = {"an HDF5 file", "a density map", "a molecule"};
    sp_status status = SP_OK;
    kind a = KIND_H5, b = KIND_H5;

    SP_TRY(find_kind(first, &a));
    SP_TRY(find_kind(second, &b));
    if (a == KIND_H5 && b == KIND_H5) {
        SP_TRY(compare_orientations(args, first, second, out));
    } else if (a == KIND_MAP && b == KIND_MOLECULE) {
        SP_TRY(compare_map_with_molecule(args, first, second, out));
    } else if (a == KIND_MAP && b == KIND_MAP) {
        SP_TRY(compare_maps(args, first, second, out));
    } else {
        SP_REQUIRE(false, SP_ERR_USAGE,
                   "%s is %s and %s is %s: give result.h5 and its images, a map and a molecule, or two maps", first,
                   names[a], second, names[b]);
    }
done:
    return status;
}

static sp_status run(const sp_arguments *args, sp_log *log)
{
    sp_status status = SP_OK;
    report out = {.log = log};

    sp_findings_begin(&out.found, "", LABEL_WIDTH);
    SP_TRY(compare_files(args, sp_arguments_text(args, "result"), sp_arguments_text(args, "truth"), &out));
    SP_TRY(sp_findings_print(&out.found, sp_arguments_flag(args, "json")));
done:
    sp_findings_clear(&out.found);
    return status;
}

/* ---- tables ---- */

static const sp_option options[] = {
    {.name = "symmetry",
     .type = SP_OPTION_TEXT,
     .unit = "GROUP",
     .fallback = "C1",
     .help = "point group of the molecule, Cn, Dn, T, O or I: orientations that it makes equivalent count as equal"},
    {.name = "resolution",
     .type = SP_OPTION_REAL,
     .unit = "Angstrom",
     .minimum = 0.1,
     .maximum = 10000,
     .automatic = "the Nyquist frequency of the coarser grid",
     .help = "compare maps up to this resolution only: map_correlation is Pearson's over all voxels of the box, both "
             "maps limited to the band and neither scaled"},
    {.name = "assembly",
     .type = SP_OPTION_INTEGER,
     .minimum = 0,
     .maximum = 10000,
     .fallback = "0",
     .help = "biological assembly to build (REMARK 350 of the PDB file); 0: the atoms as they stand"},
    {.name = "aligned",
     .type = SP_OPTION_TEXT,
     .unit = "FILE",
     .help = "write the map, laid on the molecule or on the second map, as MRC"},
    {.name = "json", .type = SP_OPTION_FLAG, .help = "print JSON; lengths in Angstrom, angles in degrees, as named"},
    {0},
};

static const sp_positional positionals[] = {
    {.name = "result", .help = "result.h5 of a reconstruction, or a density map (MRC)", .required = true},
    {.name = "truth",
     .help = "the simulated images that the result was made from; a molecule (PDB) or a map (MRC) for a map",
     .required = true},
    {0},
};

const sp_command sp_command_compare = {
    .name = "compare",
    .summary = "measure a result against the truth or against another result",
    .options = options,
    .positionals = positionals,
    .examples = "spica compare result.h5 images.h5\n"
                "spica compare density.mrc molecule.pdb.gz --aligned aligned.mrc\n"
                "spica compare --json --symmetry D7 result.h5 images.h5\n",
    .run = run,
};
