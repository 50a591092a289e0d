/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* io/images.h -- diffraction images in the HDF5 layout of SpiniFEL and skopi.
 *
 * Datasets at the root of the file (N images, P panels of H x W pixels):
 *   intensities                [N][P][H][W] f4/f8/int  photons or intensities, any unit  (also accepted: `photons`)
 *   pixel_position_reciprocal  [P][H][W][3] or [3][P][H][W]  s = (p/|p| - z)/lambda [1/m], no 2 pi
 *   pixel_index_map            [P][H][W][2] int        place in the assembled picture                   optional
 *   polarization, solid_angle  [P][H][W]               factors contained in the intensities            optional
 *   mask                       [P][H][W] integer       0 good, anything else: never use                 optional
 *   fluences                   [N]                     photons per shot (never used to reconstruct)     optional
 *   orientations               [N][1][4]               the truth of a simulation (w,x,y,z): see io/truth.h
 * A missing panel axis (P = 1) is accepted everywhere. */
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

/* Where the pixels are and what they mean; `pixels` = panels * height * width. Arrays are owned by this struct. */
typedef struct sp_detector_map {
    ptrdiff_t panels, height, width, pixels;
    double *position;     /* [pixels][3] s in the laboratory frame [1/m] */
    float *polarization;  /* [pixels] factor contained in the intensities; 1 where the file says nothing */
    float *solid_angle;   /* [pixels] likewise [sr]; 1 where the file says nothing */
    uint8_t *bad;         /* [pixels] 1: never use */
    int32_t *index;       /* [pixels][2] (column, row) in the assembled picture; made from H, W if the file has none */
    double wavelength;    /* [m] recovered from the positions: |s|^2 + 2 s.z/lambda = 0; 0 if the pixels lie flat */
    char corrections[64]; /* which of polarization and solid_angle the file had, e.g. "polarization, solid_angle" */
} sp_detector_map;

void sp_detector_map_clear(sp_detector_map *map); /* frees the arrays, zeroes the struct */

/* An open image file. Opaque. */
typedef struct sp_image_file sp_image_file;

/* Open for reading; reads and checks everything but the intensities themselves.
 *   file  receives the handle, close with sp_image_file_close(); untouched on error
 * Fails with SP_ERR_INPUT, the reason naming file, dataset and cure: missing, not HDF5, no intensities, wrong rank or
 * shape or type, positions that do not fit the images or are not finite, all pixels masked, no image. */
sp_status sp_image_file_open(const char *path, sp_image_file **file);
void sp_image_file_close(sp_image_file *file); /* NULL is fine */

ptrdiff_t sp_image_file_count(const sp_image_file *file);            /* number of images */
const sp_detector_map *sp_image_file_map(const sp_image_file *file); /* borrowed, lives as long as the file */

/* From now on the file has these images only, in this order, each under its place in the list; what is counted and read
 * is counted and read in it.
 *   index  in  [count] numbers of images in the whole file; copied.   NULL: all of them again
 * Fails with SP_ERR_USAGE (no such image), SP_ERR_MEMORY; the file then has the images it had. */
sp_status sp_image_file_select(sp_image_file *file, ptrdiff_t count, const ptrdiff_t *index);

ptrdiff_t sp_image_file_number(const sp_image_file *file, ptrdiff_t image); /* its number in the whole file */

/* Read images first .. first+count-1.
 *   intensity  out  [count][pixels]  unit of the file; masked pixels are set to 0
 * Fails with SP_ERR_INPUT: truncated data; NaN, infinity or negative values in good pixels (the reason gives image,
 * panel, row and column), or SP_ERR_USAGE: images out of range. */
sp_status sp_image_file_read(sp_image_file *file, ptrdiff_t first, ptrdiff_t count, float *intensity);

/* ---- writing ---- */
typedef struct sp_image_writer sp_image_writer;

/* Create PATH (written as PATH.tmp, renamed by _commit) for `images` images on the detector of `map`. Of the map,
 * position is needed; index and bad may be NULL; factors that are NULL or 1 everywhere are left out of the file.
 *   extent   largest |s| of any pixel [1/m];  distance  sample to detector [m];  command  how the file was made
 * Fails with SP_ERR_OUTPUT. */
sp_status sp_image_writer_new(const char *path, const sp_detector_map *map, ptrdiff_t images, double extent,
                              double distance, const char *command, sp_image_writer **writer);

/* Write images first .. first+count-1: intensity [count][pixels]. Fails with SP_ERR_OUTPUT (disk full). */
sp_status sp_image_writer_put(sp_image_writer *writer, ptrdiff_t first, ptrdiff_t count, const float *intensity);

/* Write the truth of a simulation beside the images.
 *   orientation  [images][4] (w,x,y,z) -> `orientations`    fluence [images] -> `fluences`
 *   structure    [images] which structure each image shows, 0 based -> `conformations`
 * What is NULL is left out. Fails with SP_ERR_OUTPUT. */
sp_status sp_image_writer_truth(sp_image_writer *writer, const double *orientation, const double *fluence,
                                const int32_t *structure);

/* Finish: flush, close, rename to the final name; frees the writer in any case. Fails with SP_ERR_OUTPUT. */
sp_status sp_image_writer_commit_take(sp_image_writer *writer);
void sp_image_writer_abort(sp_image_writer *writer); /* removes the temporary file and frees; NULL is fine */
