/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* io/h5.h -- HDF5 files without surprises: every shape checked, every failure one line naming file and dataset.
 *
 * Names are paths inside the file ("intensities", "result/fsc/q"); groups on the way are created when writing. Shapes
 * are slowest axis first; rank 0 (shape NULL) is a single number. Axes of length 1 never count: data of shape
 * [N][1][4] may be read as [N][4], for the numbers lie in the same order.
 *
 * All reading functions fail with SP_ERR_INPUT (no such dataset, wrong shape or type, damaged file), all writing
 * functions with SP_ERR_OUTPUT (disk full, name already there). HDF5 converts between number types; a number that
 * does not fit the wanted integer type is clipped, and integers are never read from a dataset of reals.
 *
 * HDF5 is not safe to call from several threads at once: neither are these functions. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum { SP_H5_RANK = 8 }; /* largest number of axes */

/* An open file. Opaque. */
typedef struct sp_h5 sp_h5;

typedef enum sp_h5_kind {
    SP_H5_INTEGER, /* also booleans and enumerations */
    SP_H5_REAL,
    SP_H5_STRING,
    SP_H5_OTHER, /* complex and other compounds, references, lists of varying length */
} sp_h5_kind;

/* What a dataset holds. */
typedef struct sp_h5_info {
    sp_h5_kind kind;
    char type[24]; /* "float32", "uint8", "string", "compound" ... */
    int rank;
    ptrdiff_t shape[SP_H5_RANK];
    ptrdiff_t count; /* product of the shape */
} sp_h5_info;

/* ---- files ---- */

/* Open for reading.
 *   file  receives the handle, close with sp_h5_close(); untouched on error
 * Fails with SP_ERR_INPUT: missing, a directory, empty, not HDF5, truncated. */
sp_status sp_h5_open(const char *path, sp_h5 **file);

bool sp_h5_recognize(const char *path); /* does the file begin like HDF5? It may be damaged further on */

/* Start a new file: written as PATH.tmp until sp_h5_commit_take(), so PATH is never half written.
 *   file  receives the handle for sp_h5_commit_take() or sp_h5_close(); untouched on error */
sp_status sp_h5_create(const char *path, sp_h5 **file);

/* Finish a created file: flush, close, rename to its name. The handle is gone in any case; after a failure the old
 * file of that name, if any, is untouched. NULL does nothing. */
sp_status sp_h5_commit_take(sp_h5 *file);

/* Close a file that was opened; give up one that was created (removes PATH.tmp). NULL is fine. */
void sp_h5_close(sp_h5 *file);

const char *sp_h5_path(const sp_h5 *file); /* as given when it was opened; borrowed */

/* Compress the datasets created from now on.
 *   level  0 (none, the default) .. 9 (gzip -9; 4 is sensible) */
void sp_h5_compress(sp_h5 *file, int level);

/* ---- what is in it ---- */

bool sp_h5_exists(sp_h5 *file, const char *name); /* a dataset or group of that name */
sp_status sp_h5_get_info(sp_h5 *file, const char *name, sp_h5_info *info);

/* Whether data of this shape can be read as `shape`: equal apart from axes of length 1. */
bool sp_h5_fits(const sp_h5_info *info, int rank, const ptrdiff_t *shape);

/* "[16][1][64][64]" or "scalar" into text; returns text. */
char *sp_h5_shape_text(int rank, const ptrdiff_t *shape, size_t size, char *text);

/* Calls visit(context, name, info) for every dataset, in alphabetical order of the path; stops at the first status
 * that is not SP_OK and returns it. Datasets that cannot be described (more than SP_H5_RANK axes) are left out. */
typedef sp_status (*sp_h5_visitor)(void *context, const char *name, const sp_h5_info *info);
sp_status sp_h5_visit(sp_h5 *file, sp_h5_visitor visit, void *context);

/* ---- whole datasets: data [shape[0]]...[shape[rank-1]] ---- */

sp_status sp_h5_read_float(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, float *data);
sp_status sp_h5_read_double(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, double *data);
sp_status sp_h5_read_int32(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, int32_t *data);
sp_status sp_h5_read_uint8(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, uint8_t *data);
sp_status sp_h5_read_uint64(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, uint64_t *data);

sp_status sp_h5_write_float(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, const float *data);
sp_status sp_h5_write_double(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, const double *data);
sp_status sp_h5_write_int32(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, const int32_t *data);
sp_status sp_h5_write_uint8(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, const uint8_t *data);
sp_status sp_h5_write_uint64(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, const uint64_t *data);

/* One text.
 *   text  receives the zero-terminated text, free with sp_array_free(); untouched on error */
sp_status sp_h5_read_string(sp_h5 *file, const char *name, char **text);
sp_status sp_h5_write_string(sp_h5 *file, const char *name, const char *text);

/* A group, possibly empty; one that is there already is fine. */
sp_status sp_h5_write_group(sp_h5 *file, const char *name);

/* ---- parts of large datasets: rows first .. first+count-1 of the slowest axis ---- */

/* A dataset for rows to come; rows never written read as 0. rank >= 1. */
sp_status sp_h5_create_float(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape);
sp_status sp_h5_write_float_rows(sp_h5 *file, const char *name, ptrdiff_t first, ptrdiff_t count, const float *data);
sp_status sp_h5_read_float_rows(sp_h5 *file, const char *name, ptrdiff_t first, ptrdiff_t count, float *data);

/* ---- attributes: small notes on a group or dataset (`object`; "/" is the file itself) ---- */

bool sp_h5_has_attribute(sp_h5 *file, const char *object, const char *name);
sp_status sp_h5_read_attribute_double(sp_h5 *file, const char *object, const char *name, ptrdiff_t count,
                                      double *value);
sp_status sp_h5_read_attribute_int(sp_h5 *file, const char *object, const char *name, ptrdiff_t count, int64_t *value);
sp_status sp_h5_read_attribute_string(sp_h5 *file, const char *object, const char *name, char **text);

sp_status sp_h5_write_attribute_double(sp_h5 *file, const char *object, const char *name, ptrdiff_t count,
                                       const double *value);
sp_status sp_h5_write_attribute_int(sp_h5 *file, const char *object, const char *name, ptrdiff_t count,
                                    const int64_t *value);
sp_status sp_h5_write_attribute_string(sp_h5 *file, const char *object, const char *name, const char *text);
