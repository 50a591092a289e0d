/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "io/h5.h"
#include "io/mrc.h"
#include "num/quaternion.h"
#include "physics/density.h"

#include "io/scratch.h"
#include "testing.h"

enum { OUTPUT_LENGTH = 1 << 16, ATOMS = 300, EDGE = 32, IMAGES = 60 };
static const double ANGSTROM = 1e-10;
static const double VOXEL = 3e-10; /* [m] */

/* ---- running the command ---- */

static sp_status compare(int count, char *const *word, char *output)
{
    const sp_syntax syntax = sp_command_syntax(&sp_command_compare);
    FILE *file = tmpfile();
    const int screen = dup(STDOUT_FILENO);
    sp_arguments *args = NULL;
    sp_status status;

    fflush(stdout);
    assert_true(file && dup2(fileno(file), STDOUT_FILENO) >= 0);
    assert_int_equal(sp_arguments_new(&syntax, &args), SP_OK);
    assert_int_equal(sp_arguments_read_line(args, count, word), SP_OK);
    status = sp_command_compare.run(args, NULL);
    fflush(stdout);
    assert_true(dup2(screen, STDOUT_FILENO) >= 0);
    close(screen);
    rewind(file);
    output[fread(output, 1, OUTPUT_LENGTH - 1, file)] = '\0';
    fclose(file);
    sp_arguments_free(args);
    return status;
}

/* The number behind "key": in JSON. */
static double number(const char *json, const char *key)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\": ", key);
    at = strstr(json, quoted);
    if (!at) {
        fail_msg("no %s in:\n%s", quoted, json);
    }
    at += strlen(quoted);
    return strtod(*at == '[' ? at + 1 : at, NULL);
}

static void expect_refusal(char *first, char *second, sp_status expected, const char *reason)
{
    static char output[OUTPUT_LENGTH];

    assert_int_equal(compare(2, (char *[]){first, second}, output), expected);
    assert_string_equal(output, "");
    if (!strstr(sp_error_text(), reason)) {
        fail_msg("`%s` does not say `%s`", sp_error_text(), reason);
    }
}

/* ---- files to compare ---- */

/* A lopsided molecule far from the origin of its frame. */
static sp_atoms molecule(void)
{
    sp_rng rng = sp_rng_stream(1, 1, 0);
    sp_atoms atoms = {.count = ATOMS};

    assert_int_equal(SP_ARRAY(atoms.atom, ATOMS), SP_OK);
    for (int a = 0; a < ATOMS; a++) {
        const double u = sp_rng_uniform(&rng);

        atoms.atom[a] = (sp_atom){.occupancy = 1.0, .element = 6, .chain = 'A'};
        atoms.atom[a].position[0] = (40.0 + 40.0 * u) * ANGSTROM;
        atoms.atom[a].position[1] = (-20.0 + 25.0 * u * u + 9.0 * sp_rng_uniform(&rng)) * ANGSTROM;
        atoms.atom[a].position[2] = (10.0 + 12.0 * (1.0 - u) * sp_rng_uniform(&rng)) * ANGSTROM;
    }
    return atoms;
}

static void put_molecule(const char *path)
{
    sp_atoms atoms = molecule();
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    for (int a = 0; a < ATOMS; a++) {
        const double *r = atoms.atom[a].position;

        fprintf(file, "ATOM  %5d  C   ALA A%4d    %8.3f%8.3f%8.3f  1.00  0.00           C\n", a + 1, a + 1,
                r[0] / ANGSTROM, r[1] / ANGSTROM, r[2] / ANGSTROM);
    }
    fclose(file);
    sp_atoms_clear(&atoms);
}

/* Its density, turned, inverted if hand < 0, and shifted, in a map around the origin. */
static void put_map(const char *path, ptrdiff_t n, double voxel, sp_quat q, int hand)
{
    const double shift[3] = {4e-10, -3e-10, 5e-10}, origin[3] = {0.0, 0.0, 0.0};
    const sp_mat3 turn = sp_quat_to_matrix(q);
    sp_atoms atoms = molecule();
    double centre[3];
    float *value = NULL;

    sp_atoms_centre(&atoms, centre);
    for (int a = 0; a < ATOMS; a++) {
        double from[3], to[3];

        for (int axis = 0; axis < 3; axis++) {
            from[axis] = hand * (atoms.atom[a].position[axis] - centre[axis]);
        }
        sp_mat3_apply(&turn, from, to);
        for (int axis = 0; axis < 3; axis++) {
            atoms.atom[a].position[axis] = to[axis] + shift[axis];
        }
    }
    assert_int_equal(SP_ARRAY(value, n * n * n), SP_OK);
    assert_int_equal(sp_density_from_atoms(&atoms, origin, n, voxel, 1e12, value), SP_OK);
    assert_int_equal(sp_mrc_write(path, n, voxel, value, NULL), SP_OK);
    sp_array_free(value);
    sp_atoms_clear(&atoms);
}

/* Known orientations, as an image file has them. */
static void put_truth(const char *path, const double *q)
{
    const ptrdiff_t shape[] = {IMAGES, 1, 4};
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create(path, &file), SP_OK);
    assert_int_equal(sp_h5_write_double(file, "orientations", 3, shape, q), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
}

/* `count` found orientations: q[i] for image `image[i]` (NULL: not said), conformation i % states. */
static void put_result(const char *path, ptrdiff_t count, const double *q, const uint64_t *image, int states)
{
    const ptrdiff_t shape[] = {count, 4};
    uint8_t state[IMAGES];
    sp_h5 *file = NULL;

    for (int i = 0; i < IMAGES; i++) {
        state[i] = (uint8_t)(i % states);
    }
    assert_int_equal(sp_h5_create(path, &file), SP_OK);
    assert_int_equal(sp_h5_write_double(file, "result/orientations", 2, shape, q), SP_OK);
    if (image) {
        assert_int_equal(sp_h5_write_uint64(file, "result/image_id", 1, shape, image), SP_OK);
    }
    if (states > 1) {
        assert_int_equal(sp_h5_write_uint8(file, "result/conformation", 1, shape, state), SP_OK);
    }
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
}

static void put_quaternion(double *to, sp_quat q)
{
    to[0] = q.w;
    to[1] = q.x;
    to[2] = q.y;
    to[3] = q.z;
}

/* known [IMAGES][4] random; found = known G of the conformation i % states, and a slip of `sigma` [degree] per axis */
static void make_orientations(int states, double sigma, double *known, double *found)
{
    sp_rng rng = sp_rng_stream(2, 1, 0);
    const sp_quat global[2] = {sp_quat_random(&rng), sp_quat_random(&rng)};

    for (int i = 0; i < IMAGES; i++) {
        const sp_quat q = sp_quat_random(&rng), slip = sp_quat_random_small(&rng, sigma * M_PI / 180.0);

        put_quaternion(known + 4 * (ptrdiff_t)i, q);
        put_quaternion(found + 4 * (ptrdiff_t)i, sp_quat_multiply(slip, sp_quat_multiply(q, global[i % states])));
    }
}

/* ---- claims ---- */

static void a_turned_and_inverted_map_is_laid_on_its_molecule(void **state)
{
    (void)state;
    static char output[OUTPUT_LENGTH];
    sp_rng rng = sp_rng_stream(3, 1, 0);

    put_molecule("molecule.pdb");
    put_map("map.mrc", EDGE, VOXEL, sp_quat_random(&rng), -1);
    assert_int_equal(compare(5, (char *[]){"--json", "map.mrc", "molecule.pdb", "--aligned", "aligned.mrc"}, output),
                     SP_OK);
    assert_true(number(output, "map_correlation") > 0.999);
    assert_true(number(output, "hand") == -1.0);
    assert_true(number(output, "atoms_in_density") > 0.95);
    assert_true(number(output, "atoms_above_mean") >= number(output, "atoms_in_density"));
    assert_true(number(output, "resolution_0.5_angstrom") < 6.6); /* the last shell: Nyquist lies at 6 */
    assert_non_null(strstr(output, "\"crossed_0.5\": false"));

    /* the aligned map needs no motion any more, and people are told so */
    assert_int_equal(compare(3, (char *[]){"--json", "aligned.mrc", "molecule.pdb"}, output), SP_OK);
    assert_true(number(output, "map_correlation") > 0.999);
    assert_true(number(output, "hand") == 1.0);
    assert_true(fabs(number(output, "rotation")) > 0.99999);
    assert_true(fabs(number(output, "shift_angstrom")) < 0.5);
    assert_int_equal(compare(4, (char *[]){"aligned.mrc", "molecule.pdb", "--resolution", "9"}, output), SP_OK);
    assert_non_null(strstr(output, "band                   9.00 Angstrom and coarser\n"));
    assert_non_null(strstr(output, "hand                   as it is"));
}

static void maps_on_different_grids_are_compared(void **state)
{
    (void)state;
    static char output[OUTPUT_LENGTH];
    sp_rng rng = sp_rng_stream(4, 1, 0);

    put_map("map.mrc", EDGE, VOXEL, sp_quat_random(&rng), 1);
    put_map("other.mrc", EDGE + 1, 1.2 * VOXEL, sp_quat_identity(), 1);
    assert_int_equal(compare(3, (char *[]){"--json", "map.mrc", "other.mrc"}, output), SP_OK);
    assert_true(number(output, "map_correlation") > 0.995);
    assert_true(fabs(number(output, "band_angstrom") - 7.2) < 1e-3); /* two voxels of the coarser grid */
    assert_true(number(output, "hand") == 1.0);
}

static void orientations_are_scored_against_their_images(void **state)
{
    (void)state;
    static char output[OUTPUT_LENGTH];
    double known[4 * IMAGES], found[4 * IMAGES], some[4 * IMAGES];
    uint64_t image[IMAGES];

    make_orientations(1, 2.0, known, found);
    put_truth("images.h5", known);
    put_result("result.h5", IMAGES, found, NULL, 1);
    assert_int_equal(compare(3, (char *[]){"--json", "result.h5", "images.h5"}, output), SP_OK);
    /* the length of three Gaussians of 2 degrees: median 3.08, 90 % below 5.00 */
    assert_true(fabs(number(output, "median") - 3.08) < 0.7);
    assert_true(fabs(number(output, "p90") - 5.0) < 1.2);
    assert_true(number(output, "within_10") == 1.0);
    assert_true(number(output, "images") == IMAGES);
    assert_true(number(strstr(output, "strict"), "within_10") == 1.0);
    assert_true(number(output, "labels_right") == 1.0); /* there is but one */

    for (int i = 0; i < IMAGES / 2; i++) { /* every second image, backwards */
        image[i] = (uint64_t)(IMAGES - 1 - 2 * i);
        memcpy(some + 4 * (ptrdiff_t)i, found + 4 * image[i], 4 * sizeof *some);
    }
    put_result("result.h5", IMAGES / 2, some, image, 1);
    assert_int_equal(compare(2, (char *[]){"result.h5", "images.h5"}, output), SP_OK);
    assert_non_null(strstr(output, "images                 30\n"));
    assert_null(strstr(output, "conformation"));
    assert_non_null(strstr(output, "10: 100.0 %"));
}

static void conformations_have_frames_of_their_own(void **state)
{
    (void)state;
    static char output[OUTPUT_LENGTH];
    double known[4 * IMAGES], found[4 * IMAGES];

    make_orientations(2, 1.0, known, found);
    put_truth("images.h5", known);
    put_result("result.h5", IMAGES, found, NULL, 2);
    assert_int_equal(compare(3, (char *[]){"--json", "result.h5", "images.h5"}, output), SP_OK);
    assert_true(number(output, "within_10") == 1.0);
    assert_true(fabs(number(output, "labels_right") - 0.5) < 1e-12); /* the images show one structure only */
    put_result("result.h5", IMAGES, found, NULL, 1);
    assert_int_equal(compare(3, (char *[]){"--json", "result.h5", "images.h5"}, output), SP_OK);
    assert_true(number(output, "within_10") < 0.7);
}

static void files_that_do_not_belong_together_are_refused(void **state)
{
    (void)state;
    double known[4 * IMAGES], found[4 * IMAGES];
    uint64_t image[IMAGES] = {[3] = 1000};

    make_orientations(1, 2.0, known, found);
    put_truth("images.h5", known);
    put_result("few.h5", IMAGES - 1, found, NULL, 1);
    put_result("far.h5", IMAGES, found, image, 1);
    put_molecule("molecule.pdb");
    expect_refusal("few.h5", "images.h5", SP_ERR_INPUT, "59 orientations for 60 images");
    expect_refusal("far.h5", "images.h5", SP_ERR_INPUT, "row 3 is about image 1000");
    expect_refusal("images.h5", "images.h5", SP_ERR_INPUT, "no dataset `result/orientations`");
    expect_refusal("few.h5", "far.h5", SP_ERR_INPUT, "far.h5: no dataset `orientations`");
    expect_refusal("molecule.pdb", "images.h5", SP_ERR_USAGE, "molecule.pdb is a molecule");
    expect_refusal("missing.mrc", "molecule.pdb", SP_ERR_INPUT, "missing.mrc: no such file");
    expect_refusal(".", "molecule.pdb", SP_ERR_INPUT, "folder");
}

static void maps_that_cannot_be_compared_are_refused(void **state)
{
    (void)state;
    float *zero = NULL;

    put_molecule("molecule.pdb");
    assert_int_equal(SP_ARRAY(zero, EDGE * EDGE * EDGE), SP_OK);
    assert_int_equal(sp_mrc_write("flat.mrc", EDGE, VOXEL, zero, NULL), SP_OK);
    assert_int_equal(sp_mrc_write("tiny.mrc", 4, VOXEL, zero, NULL), SP_OK);
    assert_int_equal(sp_mrc_write("fine.mrc", EDGE, 0.01 * ANGSTROM, zero, NULL), SP_OK);
    assert_int_equal(sp_file_write_atomic("short.mrc", "MAP ", 4), SP_OK);
    expect_refusal("flat.mrc", "molecule.pdb", SP_ERR_INPUT, "flat");
    expect_refusal("tiny.mrc", "molecule.pdb", SP_ERR_INPUT, "4 voxels");
    expect_refusal("fine.mrc", "molecule.pdb", SP_ERR_INPUT, "is this its map?");
    expect_refusal("short.mrc", "molecule.pdb", SP_ERR_INPUT, "truncated");
    sp_array_free(zero);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(a_turned_and_inverted_map_is_laid_on_its_molecule),
        scratch_test(maps_on_different_grids_are_compared),
        scratch_test(orientations_are_scored_against_their_images),
        scratch_test(conformations_have_frames_of_their_own),
        scratch_test(files_that_do_not_belong_together_are_refused),
        scratch_test(maps_that_cannot_be_compared_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
