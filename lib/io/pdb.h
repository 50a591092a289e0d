/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* io/pdb.h -- atoms of a molecule from a PDB file, plain or gzip.
 *
 * Format: wwPDB, "Atomic Coordinate Entry Format Description", version 3.30: records ATOM, HETATM, MODEL and REMARK
 * 350. What is kept:
 *   - ATOM and HETATM of the first MODEL, hydrogens included; waters are left out;
 *   - the element from columns 77-78, else from the atom name (columns 13-16);
 *   - of alternate locations the one with the highest occupancy (the first of equals), with the occupancies of all
 *     its alternates together: the atom is somewhere;
 *   - a blank occupancy counts as 1, a blank B factor as 0. */
#include <stddef.h>

#include "base/error.h"

typedef struct sp_atom {
    double position[3]; /* [m] as in the file, not centred */
    double occupancy;   /* 0 .. 1 */
    double b_factor;    /* [m^2] */
    int element;        /* atomic number, 1 .. 98; deuterium is 1 */
    char chain;         /* chain letter, ' ' if none */
} sp_atom;

typedef struct sp_atoms {
    ptrdiff_t count;
    sp_atom *atom; /* [count] owned */
} sp_atoms;

void sp_atoms_clear(sp_atoms *atoms); /* frees the array, zeroes the struct */

/* Read the atoms of PATH.
 *   assembly  0: as they stand in the file; K > 0: biological assembly K, built from the matrices of REMARK 350
 *   atoms     receives the atoms, free with sp_atoms_clear(); untouched on error
 * Fails with SP_ERR_INPUT, the reason naming the file and the line: missing or truncated file, no atoms, unknown
 * element, coordinates that are not numbers, no occupied atom, no such assembly; SP_ERR_USAGE (assembly < 0);
 * SP_ERR_MEMORY. */
sp_status sp_pdb_read(const char *path, int assembly, sp_atoms *atoms);
