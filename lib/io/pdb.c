/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/pdb.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/memory.h"

enum { LINE_LENGTH = 128, IDENTITY_LENGTH = 14, MAX_OPERATORS = 4096, LAST_ELEMENT = 98 };
static const double ANGSTROM = 1e-10; /* [m] */

/* A matrix of REMARK 350 and the chains that it moves. */
typedef struct transform {
    double m[3][4]; /* rotation | translation [m] */
    bool chain[256];
} transform;

/* An atom while alternate locations may still come. */
typedef struct candidate {
    sp_atom atom;
    char identity[IDENTITY_LENGTH]; /* atom name, residue and chain: the same for alternate locations */
    char alternate;                 /* column 17 */
    double strongest;               /* occupancy of the alternate whose place is kept */
} candidate;

typedef struct reader {
    const char *path;
    gzFile file;
    long line_number;
    char line[LINE_LENGTH]; /* padded with blanks, no newline */
    bool model_done;
    candidate *found;
    ptrdiff_t count, room;

    int wanted, current, largest; /* assemblies: asked for, being read, highest number seen */
    bool chain[256];              /* of the current APPLY group */
    bool group_has_matrix;
    transform *transforms;
    ptrdiff_t transform_count;
} reader;

void sp_atoms_clear(sp_atoms *atoms)
{
    sp_array_free(atoms->atom);
    *atoms = (sp_atoms){0};
}

/* ---- elements ---- */

/* Atomic number of a symbol of one or two letters, any case; 0 if there is none. */
static int element_of(char first, char second)
{
    static const char symbols[] =
        "H HeLiBeB C N O F NeNaMgAlSiP S ClArK CaScTiV CrMnFeCoNiCuZnGaGeAsSeBrKrRbSrY ZrNbMoTcRu"
        "RhPdAgCdInSnSbTeI XeCsBaLaCePrNdPmSmEuGdTbDyHoErTmYbLuHfTaW ReOsIrPtAuHgTlPbBiPoAtRnFrRa"
        "AcThPaU NpPuAmCmBkCf";
    const char upper = (char)toupper((unsigned char)first), lower = (char)tolower((unsigned char)second);

    if (upper == 'D' && lower == ' ') {
        return 1; /* deuterium scatters X-rays like hydrogen */
    }
    for (int z = 1; z <= LAST_ELEMENT; z++) {
        if (symbols[2 * z - 2] == upper && symbols[2 * z - 1] == lower) {
            return z;
        }
    }
    return 0;
}

/* Copies the non-blank characters of columns first..last (from 1) to text, which has room for all of them. */
static void strip(const char *line, int first, int last, char *text)
{
    int length = 0;

    for (int i = first - 1; i < last; i++) {
        if (line[i] != ' ') {
            text[length++] = line[i];
        }
    }
    text[length] = '\0';
}

/* Element from the atom name. The format puts the symbol into columns 13-14, right justified; many programs shift
 * names to the left, so that "CA" in column 13 is the alpha carbon of an amino acid or a calcium ion. */
static int element_of_name(const char *line)
{
    char name[5], residue[4];
    const char *letter = name;

    strip(line, 13, 16, name);
    strip(line, 18, 20, residue);
    while (isdigit((unsigned char)*letter)) {
        letter++; /* "1HB" is a hydrogen */
    }
    const char first = letter[0] ? letter[0] : ' ', second = letter[0] && letter[1] ? letter[1] : ' ';
    const int one = element_of(first, ' '), two = second == ' ' ? 0 : element_of(first, second);
    const bool ion = strncmp(letter, residue, 2) == 0 && strlen(residue) == 2;
    const bool selenium = two == 34 && strcmp(residue, "MSE") == 0;
    const bool justified = strncmp(line, "HETATM", 6) == 0 && isalpha((unsigned char)line[12]) && strlen(name) < 4;

    return two && (ion || selenium || justified || !one) ? two : one;
}

static sp_status read_element(const reader *in, int *element)
{
    sp_status status = SP_OK;
    char symbol[3];

    strip(in->line, 77, 78, symbol);
    if (isalpha((unsigned char)symbol[0])) {
        *element = element_of(symbol[0], symbol[1] ? symbol[1] : ' ');
    } else {
        *element = element_of_name(in->line);
    }
    SP_REQUIRE(*element, SP_ERR_INPUT,
               "%s, line %ld: unknown element: atom name '%.4s', element symbol '%.2s'; set "
               "columns 77-78",
               in->path, in->line_number, in->line + 12, in->line + 76);
done:
    return status;
}

/* ---- lines ---- */

static sp_status open_reader(reader *in)
{
    sp_status status = SP_OK;

    errno = 0;
    in->file = gzopen(in->path, "rb"); /* reads plain files too */
    SP_REQUIRE(in->file, SP_ERR_INPUT, "cannot open the structure %s: %s", in->path,
               errno ? strerror(errno) : "no memory");
done:
    return status;
}

/* *more = false at the end of the file. */
static sp_status next_line(reader *in, bool *more)
{
    sp_status status = SP_OK;
    int length = 0, c = 0, code = Z_OK;

    while ((c = gzgetc(in->file)) != -1 && c != '\n') {
        if (c != '\r' && length < LINE_LENGTH - 1) {
            in->line[length++] = (char)c;
        }
    }
    memset(in->line + length, ' ', (size_t)(LINE_LENGTH - 1 - length));
    in->line[LINE_LENGTH - 1] = '\0';
    in->line_number++;
    *more = c != -1 || length > 0;
    if (c == -1) {
        const char *reason = gzerror(in->file, &code);

        SP_REQUIRE(code == Z_OK || code == Z_STREAM_END, SP_ERR_INPUT, "%s is damaged or truncated near line %ld: %s",
                   in->path, in->line_number, code == Z_ERRNO ? strerror(errno) : reason);
    }
done:
    return status;
}

/* Number in columns first..last; a blank field gives `blank`. */
static sp_status read_number(const reader *in, const char *what, int first, int last, double blank, double *value)
{
    sp_status status = SP_OK;
    char field[LINE_LENGTH], text[LINE_LENGTH], *end = text;

    snprintf(field, sizeof field, "%.*s", last - first + 1, in->line + first - 1);
    strip(in->line, first, last, text);
    *value = text[0] ? strtod(text, &end) : blank;
    SP_REQUIRE(*end == '\0' && isfinite(*value), SP_ERR_INPUT, "%s, line %ld: %s '%s' in columns %d-%d is not a number",
               in->path, in->line_number, what, field, first, last);
done:
    return status;
}

/* ---- atoms ---- */

static bool is_water(const char *line)
{
    static const char names[][4] = {"HOH", "DOD", "WAT", "H2O", "TIP", "SOL", "TP3", "SPC"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strncmp(line + 17, names[i], 3) == 0) {
            return true;
        }
    }
    return false;
}

static sp_status read_atom(const reader *in, candidate *one)
{
    sp_status status = SP_OK;
    static const char *const axis[] = {"x", "y", "z"};

    *one = (candidate){.atom.chain = in->line[21], .alternate = in->line[16]};
    memcpy(one->identity, in->line + 12, 4);      /* atom name */
    memcpy(one->identity + 4, in->line + 17, 10); /* residue name, chain, residue number, insertion code */
    for (int i = 0; i < 3; i++) {
        SP_TRY(read_number(in, axis[i], 31 + 8 * i, 38 + 8 * i, NAN, &one->atom.position[i]));
        one->atom.position[i] *= ANGSTROM;
    }
    SP_TRY(read_number(in, "occupancy", 55, 60, 1.0, &one->atom.occupancy));
    SP_REQUIRE(one->atom.occupancy >= 0.0, SP_ERR_INPUT, "%s, line %ld: occupancy %g is negative", in->path,
               in->line_number, one->atom.occupancy);
    SP_TRY(read_number(in, "B factor", 61, 66, 0.0, &one->atom.b_factor));
    one->atom.b_factor *= ANGSTROM * ANGSTROM;
    one->strongest = one->atom.occupancy;
    SP_TRY(read_element(in, &one->atom.element));
done:
    return status;
}

/* The earlier alternate location of `one`, or NULL; alternates stand within their residue. */
static candidate *find_alternate(const reader *in, const candidate *one)
{
    if (one->alternate == ' ') {
        return NULL;
    }
    for (ptrdiff_t i = in->count - 1; i >= 0; i--) {
        candidate *other = &in->found[i];

        /* residue number and chain; the residue name may differ between alternates (microheterogeneity) */
        if (memcmp(other->identity + 7, one->identity + 7, IDENTITY_LENGTH - 7) != 0) {
            return NULL;
        }
        if (other->alternate != ' ' && memcmp(other->identity, one->identity, 4) == 0) {
            return other;
        }
    }
    return NULL;
}

static sp_status grow(reader *in)
{
    sp_status status = SP_OK;
    candidate *atoms = NULL;

    if (in->count == in->room) {
        const ptrdiff_t room = in->room ? 2 * in->room : 4096;

        SP_TRY(SP_ARRAY(atoms, room));
        if (in->count) {
            memcpy(atoms, in->found, (size_t)in->count * sizeof *atoms);
        }
        sp_array_free(in->found);
        in->found = atoms;
        in->room = room;
    }
done:
    return status;
}

static sp_status take_atom(reader *in)
{
    sp_status status = SP_OK;
    candidate one, *other = NULL;

    if (in->model_done || is_water(in->line)) {
        return SP_OK;
    }
    SP_TRY(read_atom(in, &one));
    other = find_alternate(in, &one);
    if (other) {
        const double together = fmin(1.0, other->atom.occupancy + one.atom.occupancy);

        if (one.strongest > other->strongest) {
            *other = one;
        }
        other->atom.occupancy = together;
    } else {
        SP_TRY(grow(in));
        in->found[in->count++] = one;
    }
done:
    return status;
}

/* ---- assemblies (REMARK 350) ---- */

/* "... CHAINS: A, B, C": adds the chains of this line to the group. */
static void take_chains(reader *in)
{
    const char *list = strstr(in->line, "CHAINS:");

    if (in->group_has_matrix) { /* a new group begins */
        memset(in->chain, 0, sizeof in->chain);
        in->group_has_matrix = false;
    }
    for (list += strlen("CHAINS:"); *list; list++) {
        if (strncmp(list, "NULL", 4) == 0) {
            in->chain[' '] = true; /* old files: the chain without a letter */
            return;
        }
        if (isalnum((unsigned char)*list)) {
            in->chain[(unsigned char)*list] = true;
        }
    }
}

/* "BIOMT2   1  0.000000  1.000000  0.000000        0.00000": row 2 of matrix 1; false if it is anything else. */
static bool parse_matrix_row(const char *text, int *row, double m[4])
{
    const char *number = text + strlen("BIOMT1");
    char *end = NULL;

    *row = text[5] - '0';
    if (*row < 1 || *row > 3 || !isblank((unsigned char)*number)) {
        return false;
    }
    strtol(number, &end, 10); /* matrices are told apart by their order */
    for (int i = 0; i < 4; i++) {
        number = end;
        m[i] = strtod(number, &end);
        if (end == number || !isfinite(m[i])) {
            return false;
        }
    }
    return true;
}

static sp_status take_matrix_row(reader *in, const char *text)
{
    sp_status status = SP_OK;
    int row = 0;
    double m[4];

    SP_REQUIRE(parse_matrix_row(text, &row, m), SP_ERR_INPUT, "%s, line %ld: this BIOMT matrix row cannot be read",
               in->path, in->line_number);
    if (row == 1) {
        SP_REQUIRE(in->transform_count < MAX_OPERATORS, SP_ERR_INPUT, "%s, line %ld: more than %d BIOMT matrices",
                   in->path, in->line_number, MAX_OPERATORS);
        in->transform_count++;
        memcpy(in->transforms[in->transform_count - 1].chain, in->chain, sizeof in->chain);
    }
    SP_REQUIRE(in->transform_count > 0, SP_ERR_INPUT, "%s, line %ld: BIOMT%d without BIOMT1", in->path, in->line_number,
               row);
    transform *last = &in->transforms[in->transform_count - 1];
    memcpy(last->m[row - 1], m, sizeof m);
    last->m[row - 1][3] *= ANGSTROM;
    in->group_has_matrix = true;
done:
    return status;
}

static sp_status take_remark_350(reader *in)
{
    const char *number = strstr(in->line, "BIOMOLECULE:"), *matrix = strstr(in->line, "BIOMT");

    if (number) {
        in->current = (int)strtol(number + strlen("BIOMOLECULE:"), NULL, 10);
        in->largest = in->current > in->largest ? in->current : in->largest;
        in->group_has_matrix = true; /* the next chain list begins a group */
    }
    if (in->wanted == 0 || in->current != in->wanted) {
        return SP_OK;
    }
    if (strstr(in->line, "CHAINS:")) {
        take_chains(in);
    }
    return matrix ? take_matrix_row(in, matrix) : SP_OK;
}

/* ---- the whole file ---- */

static sp_status read_all(reader *in)
{
    sp_status status = SP_OK;
    bool more = true;

    while (more) {
        SP_TRY(next_line(in, &more));
        if (strncmp(in->line, "ATOM  ", 6) == 0 || strncmp(in->line, "HETATM", 6) == 0) {
            SP_TRY(take_atom(in));
        } else if (strncmp(in->line, "ENDMDL", 6) == 0) {
            in->model_done = in->count > 0; /* read on: a truncated file must not pass */
        } else if (strncmp(in->line, "REMARK 350", 10) == 0) {
            SP_TRY(take_remark_350(in));
        }
    }
done:
    return status;
}

static sp_status check(const reader *in)
{
    sp_status status = SP_OK;
    double occupied = 0.0;

    for (ptrdiff_t i = 0; i < in->count; i++) {
        occupied += in->found[i].atom.occupancy;
    }
    SP_REQUIRE(in->count > 0, SP_ERR_INPUT,
               "%s holds no atoms: no ATOM or HETATM record besides water; is it a PDB file (mmCIF is not read)?",
               in->path);
    SP_REQUIRE(occupied > 0.0, SP_ERR_INPUT, "%s: every atom has occupancy 0; set columns 55-60", in->path);
    SP_REQUIRE(in->wanted == 0 || in->transform_count > 0, SP_ERR_INPUT,
               "%s has no assembly %d: REMARK 350 names %d of them", in->path, in->wanted, in->largest);
done:
    return status;
}

static sp_atom transformed(const sp_atom *atom, const transform *by)
{
    sp_atom image = *atom;

    for (int i = 0; i < 3; i++) {
        image.position[i] = by->m[i][0] * atom->position[0] + by->m[i][1] * atom->position[1] +
                            by->m[i][2] * atom->position[2] + by->m[i][3];
    }
    return image;
}

/* Copies the atoms once per matrix that moves their chain, or just once without an assembly; returns how many. With
 * out == NULL it only counts. */
static ptrdiff_t place_atoms(const reader *in, sp_atom *out)
{
    static const transform as_it_stands = {.m = {{1, 0, 0, 0}, {0, 1, 0, 0}, {0, 0, 1, 0}}};
    const ptrdiff_t transforms = in->wanted ? in->transform_count : 1;
    ptrdiff_t placed = 0;

    for (ptrdiff_t t = 0; t < transforms; t++) {
        const transform *by = in->wanted ? &in->transforms[t] : &as_it_stands;

        for (ptrdiff_t i = 0; i < in->count; i++) {
            const sp_atom *atom = &in->found[i].atom;

            if (!in->wanted || by->chain[(unsigned char)atom->chain]) {
                if (out) {
                    out[placed] = transformed(atom, by);
                }
                placed++;
            }
        }
    }
    return placed;
}

sp_status sp_pdb_read(const char *path, int assembly, sp_atoms *atoms)
{
    sp_status status = SP_OK;
    reader in = {.path = path, .wanted = assembly, .current = 1};
    sp_atom *placed = NULL;

    SP_REQUIRE(assembly >= 0, SP_ERR_USAGE, "assembly %d is negative; assemblies count from 1", assembly);
    SP_TRY(SP_ARRAY(in.transforms, assembly ? MAX_OPERATORS : 0));
    SP_TRY(open_reader(&in));
    SP_TRY(read_all(&in));
    SP_TRY(check(&in));
    const ptrdiff_t count = place_atoms(&in, NULL);
    SP_REQUIRE(count > 0, SP_ERR_INPUT, "%s: no atom belongs to the chains of assembly %d", path, assembly);
    SP_TRY(SP_ARRAY(placed, count));
    place_atoms(&in, placed);
    *atoms = (sp_atoms){count, placed};
done:
    if (in.file) {
        gzclose(in.file);
    }
    sp_array_free(in.found);
    sp_array_free(in.transforms);
    return status;
}
