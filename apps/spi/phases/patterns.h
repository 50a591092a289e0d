/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/patterns.h -- diffraction images made ready: masked, binned, sorted into shells, with their noise and scale.
 *
 * Expected value of bin p of image n:   exposure_p * (scale_n * I(s_p) + smooth(|s_p|))
 * where exposure holds solid angle, polarisation and the number of good pixels in the bin. Values stay raw counts:
 * noise is simple only there; whoever needs intensities divides (docs/algorithm.md, section 1). */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "phases/photons.h"

/* The pixels of one image as the file has them, all arrays [panels][height][width]. Borrowed. */
typedef struct sp_pixels {
    ptrdiff_t panels, height, width;
    const double *position;  /* [..][3] s in the laboratory frame [1/m] */
    const float *correction; /* factor contained in the values (solid angle times polarisation), any unit, > 0 */
    const uint8_t *bad;      /* 1: never use */
    double wavelength;       /* [m]; 0 for a flat detector in reciprocal space */
} sp_pixels;

/* Typical distance of neighbouring pixels [1/m]. Cannot fail. */
double sp_pixels_step(const sp_pixels *pixels);

typedef struct sp_patterns {
    ptrdiff_t images, pixels, shells;
    float *s[3];            /* [pixels] bin position [1/m]; bins are sorted by shell */
    float *radius;          /* [pixels] |s| [1/m] */
    float *exposure;        /* [pixels] mean 1 over the bins */
    int32_t *shell;         /* [pixels] */
    ptrdiff_t *shell_start; /* [shells + 1] first bin of each shell */
    double shell_width;     /* [1/m]; shell k holds |s| in k .. k+1 widths */
    float *count;           /* [images][pixels] raw values, summed over each bin; NULL: they are packed */
    sp_photons *photons;    /* the same, packed; NULL: they are not. Either way sp_patterns_open() reads them */
    float *row;             /* [threads][pixels] work space */
    float *scale;           /* [images] fluence relative to the mean; 0 for an image without signal */
    double *profile;        /* [shells] mean intensity over all images: value / (scale exposure); "SAXS curve" */
    double *smooth;         /* [shells] what of it is background, the same in all images; 0 unless it is known */
    float *background;      /* [pixels] that as values of every image, whatever its scale */
    double quantum;         /* noise variance / mean: 1 for photon counts, 0 for noise-free values */
    ptrdiff_t *source;      /* [panels*height*width] bin of each pixel, -1 for none */
    ptrdiff_t source_count;
    bool part; /* the layout (all but count, photons, row, scale) is borrowed from other patterns */
} sp_patterns;

/* Room for `images` images of these pixels, binned size x size within each panel.
 *   s_min, s_max  bins outside are left out [1/m]
 *   whole         all values of good pixels will be photon counts: they are packed, which takes a fraction of the room
 * Release with sp_patterns_clear(). Fails with SP_ERR_INPUT (no usable pixel, no two neighbours), SP_ERR_MEMORY. */
sp_status sp_patterns_init(const sp_pixels *pixels, ptrdiff_t images, ptrdiff_t size, double s_min, double s_max,
                           bool whole, sp_patterns *patterns);
void sp_patterns_clear(sp_patterns *patterns);

/* Room for `images` more images in the same bins, with a life of its own as long as the other patterns stay: their
 * layout and profile are shared, the quantum is copied. Release with sp_patterns_clear(). Fails with SP_ERR_MEMORY. */
sp_status sp_patterns_init_part(const sp_patterns *layout, ptrdiff_t images, bool whole, sp_patterns *part);

/* Bins, from the first, whose |s| does not exceed s_max [1/m] by more than rounding: 1e-4 of it. */
ptrdiff_t sp_patterns_within(const sp_patterns *patterns, double s_max);

/* A quantity of the shells at a radius [1/m]: linear between the middles of shells that have bins, constant beyond the
 * first and the last of them.
 *   value  in  [shells] */
double sp_patterns_along(const sp_patterns *patterns, const double *value, double radius);

/* What a likelihood adds to the model's intensity at a radius [1/m] before it divides by 1 + floor: a share `floor` of
 * the particle's mean intensity, and the background, which is in the image as it is. */
double sp_patterns_base(const sp_patterns *patterns, double floor, double radius);

/* Sums one image [panels][height][width] into its bins, once for each image. Different images may be added by different
 * threads, no more than omp_get_max_threads() told when the patterns were made. Fails, never for values that are not
 * packed, with SP_ERR_INPUT (not whole), SP_ERR_MEMORY. */
sp_status sp_patterns_add(sp_patterns *patterns, ptrdiff_t image, const float *value);

/* Adds a null in the image's place: its bins in random order within each shell, as rates, value / exposure, so that
 * what the detector does to them stays behind. Every shell keeps its values, and loses what places them: no structure
 * but the profile is left. Whole numbers stay whole: they are rounded at random, up as often as their fraction says.
 *   seed, number  name the random numbers: of the null, of the image
 * Fails like sp_patterns_add(). */
sp_status sp_patterns_add_null(sp_patterns *patterns, ptrdiff_t image, const float *value, uint64_t seed,
                               uint64_t number);

double sp_patterns_bytes(const sp_patterns *patterns); /* memory of the images' values */

/* Reads one image, bin after bin. */
typedef struct sp_pattern_reader {
    const float *count; /* NULL: */
    sp_photon_reader photons;
} sp_pattern_reader;

sp_pattern_reader sp_patterns_open(const sp_patterns *patterns, ptrdiff_t image);

/* The next `count` bins, times `factor`.   value  out  [count] */
void sp_patterns_read(sp_pattern_reader *reader, ptrdiff_t count, float factor, float *value);

/* Some of the images: those whose label is in a set. */
typedef struct sp_selection {
    const int32_t *label; /* [images] 0 .. 31; NULL: all images */
    uint32_t wanted;      /* bit k: those with label k */
} sp_selection;

static inline bool sp_is_selected(const sp_selection *selection, ptrdiff_t image)
{
    return !selection->label || (selection->wanted >> selection->label[image] & 1u);
}

/* Adds up the selected images with signal, without the background: their mean profile is sum of a shell / (sum of the
 * scales * exposure of the shell).
 *   row   scratch  [pixels]
 *   sums  in, out  [shells + 1] values of each shell, then the scales */
void sp_patterns_add_profile(const sp_patterns *patterns, sp_selection selection, float *row, double *sums);

/* What the sums of all parts come to.   profile  out  [shells] mean intensity; 0 without images */
void sp_patterns_profile_of(const sp_patterns *patterns, const double *sums, double *profile);

/* When all images are in: measures scale and profile. An image without signal gets scale 0; the mean of the others
 * is 1. Fails with SP_ERR_INPUT if all are empty, SP_ERR_MEMORY. */
sp_status sp_patterns_measure(sp_patterns *patterns);

/* The same in pieces, for images in several parts: all parts are added up, then profile and scales are set from the
 * sums. */
typedef struct sp_pattern_totals {
    double value;  /* sum over all images */
    double filled; /* images with signal */
} sp_pattern_totals;

/* Adds this part's images.   shell  in, out  [shells] sums;   scale  becomes each image's own sum, for set_scales() */
void sp_patterns_add_up(sp_patterns *patterns, double *shell, sp_pattern_totals *totals);
void sp_patterns_set_profile(sp_patterns *patterns, const double *shell, const sp_pattern_totals *totals);
void sp_patterns_set_scales(sp_patterns *patterns, const sp_pattern_totals *totals);

/* Contrast of a shell = variance / mean^2 of the intensity along the shell of an image, photon noise taken off. Speckle
 * of many atoms has contrast 1 (Wilson, Acta Cryst. 2, 318 (1949)); a smooth b beside a speckle of mean a leaves
 * (a / (a + b))^2, which tells b.
 *   sums  in, out  [3][shells]  of this part's images are added: variance, noise per quantum, squared mean */
void sp_patterns_add_contrast(sp_patterns *patterns, double *sums);

/* Share of the photons beyond s_min [1/m] that is smooth, 0 .. 1: b / (a + b) by the contrast of each shell, by
 * photons. Shells in which photon noise hides the contrast do not count; 0 if it does everywhere. Cannot fail. */
double sp_patterns_background(const sp_patterns *patterns, const double *sums, double quantum, double s_min);

/* A background that all images have in common, in each shell: the profile less the speckle that its contrast tells,
 * smoothed along the radius. Speckle of a molecule is unlike Wilson's by up to a third, so shells count by how little
 * speckle is in them. 0 everywhere unless it is certain that there is a background     (docs/algorithm.md, section 1)
 *   sums    in   as above, of all images
 *   images  with signal
 *   s_min   [1/m] nearer the centre, speckle is that of the particle's shape
 *   smooth  out  [shells] 0 .. profile
 * Fails with SP_ERR_MEMORY. */
sp_status sp_patterns_find_background(const sp_patterns *patterns, const double *sums, double images, double quantum,
                                      double s_min, double *smooth);

/* The background becomes this, before scales are set.   smooth  in  [shells] 0 .. profile */
void sp_patterns_set_background(sp_patterns *patterns, const double *smooth);

/* Noise variance / mean of the raw values of some images, from differences between neighbouring pixels: speckle is
 * smooth over a pixel, noise is not. Per brightness class, mean square of the mixed difference (a-b-c+d)/2 over 2 x 2
 * pixels = quantum * mean + curvature * mean^2; the two coefficients come from a weighted fit.
 *   value  in  [images][panels][height][width]
 * Returns 0 where no noise can be told from the speckle. Cannot fail. */
double sp_patterns_quantum(const sp_pixels *pixels, ptrdiff_t images, const float *value);
