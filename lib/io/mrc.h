/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* io/mrc.h -- density maps in the MRC2014 / CCP4 format (Cheng et al., J. Struct. Biol. 192, 146, 2015;
 * https://www.ccpem.ac.uk/mrc_format/mrc2014.php).
 *
 * In memory a map is [x][y][z], z fastest, x y z right-handed; in the file x is fastest. Lengths are [m] here and
 * Angstrom in the file. */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { SP_MAP_LABELS = 10, SP_MAP_LABEL_LENGTH = 80 };

/* A map that was read. Owns `value`. */
typedef struct sp_map {
    ptrdiff_t n[3];     /* voxels along x, y, z */
    double voxel[3];    /* edges of a voxel [m] */
    double origin[3];   /* position of the centre of voxel 0,0,0 [m] */
    bool scaled;        /* false: the file gives no voxel size; 1 Angstrom is assumed, as viewers do */
    float *value;       /* [n[0]][n[1]][n[2]] unit of the file */
    const char *number; /* what the file stores: "float32", "int16" ... ; static text */
    char label[SP_MAP_LABELS][SP_MAP_LABEL_LENGTH + 1]; /* notes of the program that wrote it; "" where there is none */
} sp_map;

/* Read a map, plain or compressed by gzip, of either byte order and any order of the axes, of modes 0 (int8), 1
 * (int16), 2 (float32), 6 (uint16) and 12 (float16). The origin is ORIGIN where that is not zero and N*START voxels
 * otherwise, the rule of ChimeraX.
 *   map  receives the map, free with sp_map_clear(); untouched on error
 * Fails with SP_ERR_INPUT: missing, not a map, truncated, axes that are not at right angles, no finite cell, values
 * that are not finite (the reason says where), a mode not listed here; SP_ERR_MEMORY. */
sp_status sp_mrc_read(const char *path, sp_map *map);
bool sp_mrc_recognize(const char *path); /* is there the signature of the format, plain or in gzip? */
void sp_map_clear(sp_map *map);          /* frees the values, zeroes the struct */

/* Write a cubic volume as float32, at once or not at all (PATH.tmp, renamed). Voxel n/2 along each axis is put at
 * the position 0,0,0: N*START = -(n/2) and ORIGIN = 0, which all common viewers show in the right place.
 *   n      edge [voxel], 1 <= n <= 2048
 *   voxel  edge of a voxel [m], > 0
 *   value  in  [n][n][n]  any unit
 *   notes  lines for the labels of the file, separated by '\n': at most 9 of 80 characters are kept; may be NULL
 * Fails with SP_ERR_USAGE (n, voxel), SP_ERR_NUMERIC (a value that is not finite; the reason says where),
 * SP_ERR_OUTPUT, SP_ERR_MEMORY. */
sp_status sp_mrc_write(const char *path, ptrdiff_t n, double voxel, const float *value, const char *notes);

/* Likewise, with voxel n/2 at the position voxel * (centre[0], centre[1], centre[2]): N*START = centre - n/2. */
sp_status sp_mrc_write_at(const char *path, ptrdiff_t n, double voxel, const ptrdiff_t centre[3], const float *value,
                          const char *notes);
