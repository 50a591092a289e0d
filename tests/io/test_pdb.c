/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "io/pdb.h"
#include "testing.h"

static char folder[] = "/tmp/spica-pdb.XXXXXX", path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/x.pdb", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    remove(path);
    return rmdir(folder);
}

static void write_text(const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Reads `text` as a PDB file; expects success. */
static sp_atoms read_text(const char *text, int assembly)
{
    sp_atoms atoms = {0};

    write_text(text);
    if (sp_pdb_read(path, assembly, &atoms) != SP_OK) {
        fail_msg("%s", sp_error_text());
    }
    return atoms;
}

static void refuses_with(int assembly, const char *reason)
{
    sp_atoms atoms = {0};

    assert_int_equal(sp_pdb_read(path, assembly, &atoms), SP_ERR_INPUT);
    if (!strstr(sp_error_text(), reason)) {
        fail_msg("'%s' does not say '%s'", sp_error_text(), reason);
    }
    assert_non_null(strstr(sp_error_text(), path));
    assert_null(atoms.atom);
}

static void columns_become_metres(void **state)
{
    (void)state;
    sp_atoms a = read_text("HEADER    TEST\r\n"
                           "ATOM      1  CA  ALA B   2      19.114 -14.863 -26.267  0.50 11.79           C  \r\n",
                           0);

    assert_int_equal(a.count, 1);
    assert_float_equal(1e10 * a.atom->position[0], 19.114, 1e-9);
    assert_float_equal(1e10 * a.atom->position[1], -14.863, 1e-9);
    assert_float_equal(1e10 * a.atom->position[2], -26.267, 1e-9);
    assert_float_equal(a.atom->occupancy, 0.5, 1e-12);
    assert_float_equal(1e20 * a.atom->b_factor, 11.79, 1e-9);
    assert_int_equal(a.atom->element, 6);
    assert_int_equal(a.atom->chain, 'B');
    sp_atoms_clear(&a);
}

static void adjacent_columns_without_blanks_are_told_apart(void **state)
{
    (void)state;
    sp_atoms a = read_text("ATOM      1  N   ALA A   2    -119.114-114.863-126.267\n", 0);

    assert_float_equal(1e10 * a.atom->position[1], -114.863, 1e-9);
    assert_float_equal(a.atom->occupancy, 1.0, 0.0); /* blank */
    assert_float_equal(a.atom->b_factor, 0.0, 0.0);
    sp_atoms_clear(&a);
}

static void element_follows_from_the_name_where_its_columns_are_blank(void **state)
{
    (void)state;
    static const struct {
        const char *record, *name, *residue;
        int z;
    } known[] = {
        {"ATOM  ", " CA ", "ALA", 6},  {"ATOM  ", "CA  ", "MET", 6},  {"HETATM", "CA  ", " CA", 20},
        {"HETATM", "CA  ", "CA ", 20}, {"ATOM  ", "HG11", "VAL", 1},  {"ATOM  ", "HG  ", "CYS", 1},
        {"ATOM  ", "1HB ", "ALA", 1},  {"ATOM  ", "HT1 ", "MET", 1},  {"HETATM", "ZN  ", " ZN", 30},
        {"ATOM  ", "ZN  ", "ZN ", 30}, {"HETATM", "SE  ", "MSE", 34}, {"ATOM  ", " OXT", "LEU", 8},
        {"ATOM  ", "NE2 ", "HIS", 7},  {"ATOM  ", "OD1 ", "ASP", 8},  {"ATOM  ", "SD  ", "MET", 16},
        {"ATOM  ", " P  ", " DA", 15}, {"HETATM", "FE  ", "HEM", 26}, {"HETATM", "CL  ", " CL", 17},
        {"ATOM  ", " D  ", "ALA", 1},  {"HETATM", " NA ", "HEM", 7},  {"HETATM", "NA  ", " NA", 11},
    };

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        char text[128];

        snprintf(text, sizeof text, "%s    1 %s %s A   2       1.000   2.000   3.000  1.00  0.00      SEGM\n",
                 known[i].record, known[i].name, known[i].residue);
        sp_atoms a = read_text(text, 0);
        if (a.atom->element != known[i].z) {
            fail_msg("%s'%s' of %s: %d, not %d", known[i].record, known[i].name, known[i].residue, a.atom->element,
                     known[i].z);
        }
        sp_atoms_clear(&a);
    }
}

static void waters_are_left_out_and_hydrogens_kept(void **state)
{
    (void)state;
    sp_atoms a = read_text("ATOM      1  N   ALA A   2       1.000   2.000   3.000  1.00  0.00           N\n"
                           "ATOM      2  H   ALA A   2       1.000   2.000   3.000  1.00  0.00           H\n"
                           "HETATM    3  O   HOH A   3       1.000   2.000   3.000  1.00  0.00           O\n"
                           "HETATM    4  O   DOD A   4       1.000   2.000   3.000  1.00  0.00           O\n"
                           "ATOM      5  OH2 TIP3A   5       1.000   2.000   3.000  1.00  0.00           O\n",
                           0);

    assert_int_equal(a.count, 2);
    assert_int_equal(a.atom[1].element, 1);
    sp_atoms_clear(&a);
}

static void the_likeliest_alternate_location_stands_for_all(void **state)
{
    (void)state;
    sp_atoms a = read_text("ATOM      1  CA AALA A   2       1.000   0.000   0.000  0.30  1.00           C\n"
                           "ATOM      2  CA BALA A   2       2.000   0.000   0.000  0.50  2.00           C\n"
                           "ATOM      3  CA CALA A   2       3.000   0.000   0.000  0.20  3.00           C\n"
                           "ATOM      4  CB AALA A   2       4.000   0.000   0.000  0.50  1.00           C\n"
                           "ATOM      5  CA AALA A   3       5.000   0.000   0.000  0.50  1.00           C\n"
                           "ATOM      6  CA BALA A   3       6.000   0.000   0.000  0.50  1.00           C\n",
                           0);

    assert_int_equal(a.count, 3);
    assert_float_equal(1e10 * a.atom[0].position[0], 2.0, 1e-9);
    assert_float_equal(1e20 * a.atom[0].b_factor, 2.0, 1e-9);
    assert_float_equal(a.atom[0].occupancy, 1.0, 1e-12); /* 0.3 + 0.5 + 0.2 */
    assert_float_equal(a.atom[1].occupancy, 0.5, 1e-12);
    assert_float_equal(1e10 * a.atom[2].position[0], 5.0, 1e-9); /* the first of equals */
    sp_atoms_clear(&a);
}

static void only_the_first_model_counts(void **state)
{
    (void)state;
    sp_atoms a = read_text("MODEL        1\n"
                           "ATOM      1  N   ALA A   2       1.000   2.000   3.000  1.00  0.00           N\n"
                           "ENDMDL\nMODEL        2\n"
                           "ATOM      1  N   ALA A   2       9.000   2.000   3.000  1.00  0.00           N\n"
                           "ENDMDL\nEND\n",
                           0);

    assert_int_equal(a.count, 1);
    assert_float_equal(1e10 * a.atom->position[0], 1.0, 1e-9);
    sp_atoms_clear(&a);
}

static const char dimer[] = "REMARK 350 BIOMOLECULE: 1\n"
                            "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A\n"
                            "REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000\n"
                            "REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000\n"
                            "REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000\n"
                            "REMARK 350 BIOMOLECULE: 2\n"
                            "REMARK 350 APPLY THE FOLLOWING TO CHAINS: A,\n"
                            "REMARK 350                    AND CHAINS: B\n"
                            "REMARK 350   BIOMT1   1  1.000000  0.000000  0.000000        0.00000\n"
                            "REMARK 350   BIOMT2   1  0.000000  1.000000  0.000000        0.00000\n"
                            "REMARK 350   BIOMT3   1  0.000000  0.000000  1.000000        0.00000\n"
                            "REMARK 350 APPLY THE FOLLOWING TO CHAINS: B\n"
                            "REMARK 350   BIOMT1   2  0.000000 -1.000000  0.000000       10.00000\n"
                            "REMARK 350   BIOMT2   2  1.000000  0.000000  0.000000       20.00000\n"
                            "REMARK 350   BIOMT3   2  0.000000  0.000000  1.000000       30.00000\n"
                            "ATOM      1  N   ALA A   2       1.000   2.000   3.000  1.00  0.00           N\n"
                            "ATOM      2  N   ALA B   2       4.000   5.000   6.000  1.00  0.00           N\n";

static void assemblies_apply_their_matrices_to_their_chains(void **state)
{
    (void)state;
    const double moved[] = {-5.0 + 10.0, 4.0 + 20.0, 6.0 + 30.0};
    sp_atoms plain = read_text(dimer, 0), one = read_text(dimer, 1), two = read_text(dimer, 2);

    assert_int_equal(plain.count, 2);
    assert_int_equal(one.count, 1);
    assert_int_equal(one.atom->chain, 'A');
    assert_int_equal(two.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_float_equal(1e10 * two.atom[2].position[i], moved[i], 1e-9);
    }
    sp_atoms_clear(&plain);
    sp_atoms_clear(&one);
    sp_atoms_clear(&two);
}

static void missing_assemblies_are_refused(void **state)
{
    (void)state;
    sp_atoms atoms = {0};

    write_text(dimer);
    refuses_with(3, "no assembly 3: REMARK 350 names 2");
    assert_int_equal(sp_pdb_read(path, -1, &atoms), SP_ERR_USAGE);
    write_text("REMARK 350 BIOMOLECULE: 1\nREMARK 350   BIOMT1   1  1.0 zero\n");
    refuses_with(1, "line 2: this BIOMT matrix row cannot be read");
    write_text("REMARK 350 BIOMOLECULE: 1\nREMARK 350   BIOMT2   1  0.0  1.0  0.0  0.0\n");
    refuses_with(1, "line 2: BIOMT2 without BIOMT1");
}

static void unusable_lines_are_refused_by_number(void **state)
{
    (void)state;
    write_text("REMARK\nATOM      1  X   ALA A   2       1.000   2.000   3.000  1.00  0.00          XX\n");
    refuses_with(0, "line 2: unknown element");
    write_text("ATOM      1  N   ALA A   2       1.000   2.0x0   3.000  1.00  0.00           N\n");
    refuses_with(0, "line 1: y '   2.0x0' in columns 39-46 is not a number");
    write_text("ATOM      1  N   ALA A   2       1.000   2.000     nan  1.00  0.00           N\n");
    refuses_with(0, "line 1: z");
    write_text("ATOM      1  N   ALA A   2       1.000\n");
    refuses_with(0, "line 1: y");
    write_text("ATOM      1  N   ALA A   2       1.000   2.000   3.000 -1.00  0.00           N\n");
    refuses_with(0, "line 1: occupancy -1 is negative");
}

static void files_without_atoms_are_refused(void **state)
{
    (void)state;
    write_text("");
    refuses_with(0, "holds no atoms");
    write_text("HETATM    3  O   HOH A   3       1.000   2.000   3.000  1.00  0.00           O\n");
    refuses_with(0, "holds no atoms");
    write_text("ATOM      1  N   ALA A   2       1.000   2.000   3.000  0.00  0.00           N\n");
    refuses_with(0, "every atom has occupancy 0");
    remove(path);
    refuses_with(0, "No such file");
}

/* Many atoms, gzipped; returns the size of the file. */
static long write_gzip(int atoms)
{
    gzFile zipped = gzopen(path, "wb");

    assert_non_null(zipped);
    for (int i = 0; i < atoms; i++) {
        gzprintf(zipped, "ATOM  %5d  N   ALA A%4d    %8.3f   2.000   3.000  1.00  0.00           N\n", i, i % 1000,
                 0.001 * i);
    }
    assert_int_equal(gzclose(zipped), Z_OK);
    FILE *file = fopen(path, "rb");
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    const long size = ftell(file);
    fclose(file);
    return size;
}

static void gzip_is_read_like_plain_text(void **state)
{
    (void)state;
    sp_atoms atoms = {0};

    write_gzip(9000); /* more than the first allocation */
    assert_int_equal(sp_pdb_read(path, 0, &atoms), SP_OK);
    assert_int_equal(atoms.count, 9000);
    assert_float_equal(1e10 * atoms.atom[8999].position[0], 8.999, 1e-9);
    sp_atoms_clear(&atoms);
}

static void truncated_gzip_is_refused(void **state)
{
    (void)state;
    const long size = write_gzip(9000);

    for (long cut = 1; cut < size / 2; cut += size / 5) {
        write_gzip(9000);
        assert_int_equal(truncate(path, size - cut), 0);
        refuses_with(0, "damaged or truncated");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(columns_become_metres),
        cmocka_unit_test(adjacent_columns_without_blanks_are_told_apart),
        cmocka_unit_test(element_follows_from_the_name_where_its_columns_are_blank),
        cmocka_unit_test(waters_are_left_out_and_hydrogens_kept),
        cmocka_unit_test(the_likeliest_alternate_location_stands_for_all),
        cmocka_unit_test(only_the_first_model_counts),
        cmocka_unit_test(assemblies_apply_their_matrices_to_their_chains),
        cmocka_unit_test(missing_assemblies_are_refused),
        cmocka_unit_test(unusable_lines_are_refused_by_number),
        cmocka_unit_test(files_without_atoms_are_refused),
        cmocka_unit_test(gzip_is_read_like_plain_text),
        cmocka_unit_test(truncated_gzip_is_refused),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
