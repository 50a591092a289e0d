/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/images.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/h5.h"

/* 8192 x 8192 pixels: four times the largest X-ray detectors; keeps absurd shapes from eating the memory. */
static const ptrdiff_t MAX_PIXELS = (ptrdiff_t)1 << 26;
/* [1/m] a detector that sees nothing finer than 10 micrometres: the positions are in other units than 1/m */
static const double MIN_EXTENT = 1e5;
/* Positions computed in single precision miss the sphere by up to some 1e-3 where the angles are small. */
static const double MAX_SPHERE_MISFIT = 0.02;
/* Below this s_z / |s| the sphere cannot be told from a plane in double precision. */
static const double FLAT = 1e-12;
enum { MAX_PLACE = 1 << 16 }; /* [pixel] edge of the largest assembled picture */

struct sp_image_file {
    sp_h5 *h5;
    const char *dataset; /* "intensities" or "photons" */
    ptrdiff_t count;     /* in the whole file */
    ptrdiff_t *selected; /* [chosen] NULL: all */
    ptrdiff_t chosen;
    sp_detector_map map;
};

struct sp_image_writer {
    sp_h5 *h5;
    ptrdiff_t images;
};

void sp_detector_map_clear(sp_detector_map *map)
{
    sp_array_free(map->position);
    sp_array_free(map->polarization);
    sp_array_free(map->solid_angle);
    sp_array_free(map->bad);
    sp_array_free(map->index);
    *map = (sp_detector_map){0};
}

/* ---- reading: the shape ---- */

static sp_status read_shape(sp_image_file *self)
{
    sp_status status = SP_OK;
    sp_detector_map *map = &self->map;
    const char *path = sp_h5_path(self->h5);
    sp_h5_info info = {0};
    char text[160];

    self->dataset =
        !sp_h5_exists(self->h5, "intensities") && sp_h5_exists(self->h5, "photons") ? "photons" : "intensities";
    SP_REQUIRE(sp_h5_exists(self->h5, self->dataset), SP_ERR_INPUT,
               "%s: no dataset `intensities` or `photons` in it: not an image file", path);
    SP_TRY(sp_h5_get_info(self->h5, self->dataset, &info));
    SP_REQUIRE(info.kind == SP_H5_REAL || info.kind == SP_H5_INTEGER, SP_ERR_INPUT,
               "%s: `%s` is of type %s, real numbers or integers are needed", path, self->dataset, info.type);
    SP_REQUIRE(info.rank == 3 || info.rank == 4, SP_ERR_INPUT,
               "%s: `%s` has shape %s, [images][panels][rows][columns] or [images][rows][columns] is needed", path,
               self->dataset, sp_h5_shape_text(info.rank, info.shape, sizeof text, text));
    SP_REQUIRE(info.count > 0, SP_ERR_INPUT, "%s: `%s` has shape %s: there is no image in it", path, self->dataset,
               sp_h5_shape_text(info.rank, info.shape, sizeof text, text));
    self->count = info.shape[0];
    map->panels = info.rank == 4 ? info.shape[1] : 1;
    map->height = info.shape[info.rank - 2];
    map->width = info.shape[info.rank - 1];
    map->pixels = info.count / self->count;
    SP_REQUIRE(map->pixels <= MAX_PIXELS, SP_ERR_INPUT, "%s: `%s` has %td pixels per image, more than the %td allowed",
               path, self->dataset, map->pixels, MAX_PIXELS);
done:
    return status;
}

/* ---- reading: what belongs to the pixels ---- */

typedef struct place {
    ptrdiff_t panel, row, column;
} place;

static place place_of(const sp_detector_map *map, ptrdiff_t pixel)
{
    const ptrdiff_t panel_pixels = map->height * map->width;

    return (place){pixel / panel_pixels, pixel % panel_pixels / map->width, pixel % map->width};
}

static sp_status read_mask(sp_h5 *h5, sp_detector_map *map)
{
    sp_status status = SP_OK;
    const ptrdiff_t shape[] = {map->panels, map->height, map->width};
    ptrdiff_t good = map->pixels;
    int32_t *mask = NULL;

    SP_TRY(SP_ARRAY(map->bad, map->pixels));
    if (sp_h5_exists(h5, "mask")) {
        SP_TRY(SP_ARRAY(mask, map->pixels));
        SP_TRY(sp_h5_read_int32(h5, "mask", 3, shape, mask));
        for (ptrdiff_t i = 0; i < map->pixels; i++) {
            map->bad[i] = mask[i] != 0;
            good -= map->bad[i];
        }
    }
    SP_REQUIRE(good > 0, SP_ERR_INPUT, "%s: `mask` marks every pixel as bad; 0 must mean good", sp_h5_path(h5));
done:
    sp_array_free(mask);
    return status;
}

static sp_status read_positions_axis_first(sp_h5 *h5, const ptrdiff_t shape[4], sp_detector_map *map)
{
    sp_status status = SP_OK;
    double *axes = NULL; /* [3][pixels] */

    SP_TRY(SP_ARRAY(axes, 3 * map->pixels));
    SP_TRY(sp_h5_read_double(h5, "pixel_position_reciprocal", 4, shape, axes));
    for (ptrdiff_t i = 0; i < map->pixels; i++) {
        for (int axis = 0; axis < 3; axis++) {
            map->position[3 * i + axis] = axes[axis * map->pixels + i];
        }
    }
done:
    sp_array_free(axes);
    return status;
}

/* Bad pixels may have no position: they get 0. */
static sp_status check_positions(const char *path, sp_detector_map *map)
{
    sp_status status = SP_OK;
    double extent = 0.0;

    for (ptrdiff_t i = 0; i < map->pixels; i++) {
        double *s = map->position + 3 * i;
        const double length = sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]);
        const place at = place_of(map, i);

        if (map->bad[i] && !isfinite(length)) {
            s[0] = s[1] = s[2] = 0.0;
            continue;
        }
        SP_REQUIRE(isfinite(length), SP_ERR_INPUT,
                   "%s: `pixel_position_reciprocal` is not finite at panel %td, row %td, column %td; mask that pixel",
                   path, at.panel, at.row, at.column);
        extent = fmax(extent, length);
    }
    SP_REQUIRE(extent >= MIN_EXTENT, SP_ERR_INPUT,
               "%s: `pixel_position_reciprocal` reaches only %g; it must be in 1/m (not 1/Angstrom, not metres)", path,
               extent);
done:
    return status;
}

static sp_status read_positions(sp_h5 *h5, sp_detector_map *map)
{
    sp_status status = SP_OK;
    const char *name = "pixel_position_reciprocal";
    const ptrdiff_t axis_last[] = {map->panels, map->height, map->width, 3};
    const ptrdiff_t axis_first[] = {3, map->panels, map->height, map->width};
    char has[160], needs[160];
    sp_h5_info info = {0};

    SP_TRY(SP_ARRAY(map->position, 3 * map->pixels));
    SP_TRY(sp_h5_get_info(h5, name, &info));
    if (sp_h5_fits(&info, 4, axis_last)) {
        SP_TRY(sp_h5_read_double(h5, name, 4, axis_last, map->position));
    } else {
        SP_REQUIRE(sp_h5_fits(&info, 4, axis_first), SP_ERR_INPUT,
                   "%s: `%s` has shape %s, which does not fit the images: %s is needed", sp_h5_path(h5), name,
                   sp_h5_shape_text(info.rank, info.shape, sizeof has, has),
                   sp_h5_shape_text(4, axis_last, sizeof needs, needs));
        SP_TRY(read_positions_axis_first(h5, axis_first, map));
    }
    SP_TRY(check_positions(sp_h5_path(h5), map));
done:
    return status;
}

/* All pixels lie on the sphere |s + k z| = k, k = 1/wavelength, so |s|^2 + 2 k s_z = 0: k by least squares. */
static sp_status find_wavelength(const char *path, sp_detector_map *map)
{
    sp_status status = SP_OK;
    double fourth = 0.0, second = 0.0, cross = 0.0, square = 0.0, k = 0.0, misfit = 0.0;

    for (ptrdiff_t i = 0; i < map->pixels; i++) {
        const double *s = map->position + 3 * i;
        const double length2 = s[0] * s[0] + s[1] * s[1] + s[2] * s[2];

        if (!map->bad[i]) {
            fourth += length2 * length2;
            second += length2;
            cross += length2 * s[2];
            square += s[2] * s[2];
        }
    }
    map->wavelength = 0.0;
    if (square <= FLAT * FLAT * second) {
        return SP_OK;
    }
    k = -cross / (2.0 * square);
    SP_REQUIRE(k > 0.0, SP_ERR_INPUT,
               "%s: `pixel_position_reciprocal` has its beam along -z; s = (p/|p| - z)/wavelength has s_z <= 0", path);
    /* residual of the fit: fourth - cross^2/square; rounding may leave it slightly negative */
    misfit = sqrt(fmax(0.0, 1.0 - cross / fourth * (cross / square)));
    SP_REQUIRE(misfit <= MAX_SPHERE_MISFIT, SP_ERR_INPUT,
               "%s: `pixel_position_reciprocal` is not on a sphere around the beam (misfit %.1f %%); "
               "s = (p/|p| - z)/wavelength is needed",
               path, 100.0 * misfit);
    map->wavelength = 1.0 / k;
done:
    return status;
}

static void note_correction(sp_detector_map *map, const char *name)
{
    const size_t used = strlen(map->corrections);

    snprintf(map->corrections + used, sizeof map->corrections - used, "%s%s", used > 0 ? ", " : "", name);
}

/* A factor that the intensities contain; 1 where the file says nothing and in bad pixels without a usable one. */
static sp_status read_factor(sp_h5 *h5, const char *name, sp_detector_map *map, float *factor)
{
    sp_status status = SP_OK;
    const ptrdiff_t shape[] = {map->panels, map->height, map->width};
    const bool present = sp_h5_exists(h5, name);

    if (present) {
        SP_TRY(sp_h5_read_float(h5, name, 3, shape, factor));
        note_correction(map, name);
    }
    for (ptrdiff_t i = 0; i < map->pixels; i++) {
        const bool usable = present && factor[i] > 0.0F && factor[i] <= FLT_MAX;
        const place at = place_of(map, i);

        SP_REQUIRE(usable || !present || map->bad[i], SP_ERR_INPUT,
                   "%s: `%s` is %g at panel %td, row %td, column %td; it must be positive, or mask that pixel",
                   sp_h5_path(h5), name, (double)factor[i], at.panel, at.row, at.column);
        factor[i] = usable ? factor[i] : 1.0F;
    }
done:
    return status;
}

static sp_status read_index(sp_h5 *h5, sp_detector_map *map)
{
    sp_status status = SP_OK;
    const ptrdiff_t shape[] = {map->panels, map->height, map->width, 2};

    SP_TRY(SP_ARRAY(map->index, 2 * map->pixels));
    if (!sp_h5_exists(h5, "pixel_index_map")) {
        for (ptrdiff_t i = 0; i < map->pixels; i++) { /* panels below each other */
            map->index[2 * i] = (int32_t)(i % map->width);
            map->index[2 * i + 1] = (int32_t)(i / map->width);
        }
        return SP_OK;
    }
    SP_TRY(sp_h5_read_int32(h5, "pixel_index_map", 4, shape, map->index));
    for (ptrdiff_t i = 0; i < 2 * map->pixels; i++) {
        const place at = place_of(map, i / 2);

        SP_REQUIRE(map->index[i] >= 0 && map->index[i] < MAX_PLACE, SP_ERR_INPUT,
                   "%s: `pixel_index_map` is %d at panel %td, row %td, column %td, not in 0..%d", sp_h5_path(h5),
                   map->index[i], at.panel, at.row, at.column, MAX_PLACE - 1);
    }
done:
    return status;
}

static sp_status read_map(sp_h5 *h5, sp_detector_map *map)
{
    sp_status status = SP_OK;

    SP_TRY(read_mask(h5, map));
    SP_TRY(read_positions(h5, map));
    SP_TRY(find_wavelength(sp_h5_path(h5), map));
    SP_TRY(SP_ARRAY(map->polarization, map->pixels));
    SP_TRY(SP_ARRAY(map->solid_angle, map->pixels));
    SP_TRY(read_factor(h5, "polarization", map, map->polarization));
    SP_TRY(read_factor(h5, "solid_angle", map, map->solid_angle));
    SP_TRY(read_index(h5, map));
done:
    return status;
}

sp_status sp_image_file_open(const char *path, sp_image_file **file)
{
    sp_status status = SP_OK;
    sp_image_file *self = calloc(1, sizeof *self);

    SP_REQUIRE(self, SP_ERR_MEMORY, "%s: no memory to open it", path);
    SP_TRY(sp_h5_open(path, &self->h5));
    SP_TRY(read_shape(self));
    SP_TRY(read_map(self->h5, &self->map));
    *file = self;
    self = NULL;
done:
    sp_image_file_close(self);
    return status;
}

void sp_image_file_close(sp_image_file *file)
{
    if (file) {
        sp_h5_close(file->h5);
        sp_detector_map_clear(&file->map);
        sp_array_free(file->selected);
        free(file);
    }
}

ptrdiff_t sp_image_file_count(const sp_image_file *file)
{
    return file->selected ? file->chosen : file->count;
}

const sp_detector_map *sp_image_file_map(const sp_image_file *file)
{
    return &file->map;
}

/* ---- reading: the images ---- */

/* Set bad pixels to 0; returns whether all others are usable. Without branches: this runs over every pixel read. */
static bool clean_image(const sp_detector_map *map, float *intensity)
{
    int unusable = 0;

    for (ptrdiff_t i = 0; i < map->pixels; i++) {
        const float value = map->bad[i] ? 0.0F : intensity[i];

        intensity[i] = value;
        unusable |= !(value >= 0.0F && value <= FLT_MAX);
    }
    return !unusable;
}

static sp_status name_unusable_pixel(const sp_image_file *file, ptrdiff_t image, const float *intensity)
{
    ptrdiff_t i = 0;

    while (intensity[i] >= 0.0F && intensity[i] <= FLT_MAX) {
        i++;
    }
    const place at = place_of(&file->map, i);

    return sp_error_set(SP_ERR_INPUT, __FILE__, __LINE__,
                        "%s: `%s` is %g in image %td at panel %td, row %td, column %td; intensities must be finite and "
                        "not negative, or mask that pixel",
                        sp_h5_path(file->h5), file->dataset, (double)intensity[i], image, at.panel, at.row, at.column);
}

sp_status sp_image_file_select(sp_image_file *file, ptrdiff_t count, const ptrdiff_t *index)
{
    ptrdiff_t *selected = NULL;
    sp_status status = SP_OK;

    for (ptrdiff_t i = 0; index && i < count; i++) {
        SP_REQUIRE(index[i] >= 0 && index[i] < file->count, SP_ERR_USAGE, "%s: there is no image %td in it, only %td",
                   sp_h5_path(file->h5), index[i], file->count);
    }
    if (index) {
        SP_TRY(SP_ARRAY(selected, count));
        memcpy(selected, index, (size_t)count * sizeof *index);
    }
    sp_array_free(file->selected);
    file->selected = selected;
    file->chosen = count;
done:
    return status;
}

ptrdiff_t sp_image_file_number(const sp_image_file *file, ptrdiff_t image)
{
    return file->selected ? file->selected[image] : image;
}

/* Images first .. first+count-1 of the whole file. */
static sp_status read_run(sp_image_file *file, ptrdiff_t first, ptrdiff_t count, float *intensity)
{
    sp_status status = SP_OK;

    SP_TRY(sp_h5_read_float_rows(file->h5, file->dataset, first, count, intensity));
    for (ptrdiff_t n = 0; n < count; n++) {
        float *image = intensity + n * file->map.pixels;

        if (!clean_image(&file->map, image)) {
            return name_unusable_pixel(file, first + n, image);
        }
    }
done:
    return status;
}

sp_status sp_image_file_read(sp_image_file *file, ptrdiff_t first, ptrdiff_t count, float *intensity)
{
    const ptrdiff_t images = sp_image_file_count(file);
    sp_status status = SP_OK;

    if (!file->selected) {
        return read_run(file, first, count, intensity);
    }
    SP_REQUIRE(first >= 0 && count >= 0 && first <= images - count, SP_ERR_USAGE,
               "%s: images %td .. %td are asked for, %td are selected", sp_h5_path(file->h5), first, first + count - 1,
               images);
    for (ptrdiff_t n = 0; n < count; n++) {
        SP_TRY(read_run(file, file->selected[first + n], 1, intensity + n * file->map.pixels));
    }
done:
    return status;
}

/* ---- writing ---- */

static bool says_something(const float *factor, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; factor && i < count; i++) {
        if (factor[i] != 1.0F) {
            return true;
        }
    }
    return false;
}

static sp_status write_map(sp_h5 *h5, const sp_detector_map *map)
{
    sp_status status = SP_OK;
    const ptrdiff_t shape[] = {map->panels, map->height, map->width};
    const ptrdiff_t vectors[] = {map->panels, map->height, map->width, 3};
    const ptrdiff_t pairs[] = {map->panels, map->height, map->width, 2};

    SP_TRY(sp_h5_write_double(h5, "pixel_position_reciprocal", 4, vectors, map->position));
    SP_TRY(sp_h5_write_attribute_string(h5, "pixel_position_reciprocal", "units", "1/m"));
    if (map->index) {
        SP_TRY(sp_h5_write_int32(h5, "pixel_index_map", 4, pairs, map->index));
    }
    if (says_something(map->polarization, map->pixels)) {
        SP_TRY(sp_h5_write_float(h5, "polarization", 3, shape, map->polarization));
    }
    if (says_something(map->solid_angle, map->pixels)) {
        SP_TRY(sp_h5_write_float(h5, "solid_angle", 3, shape, map->solid_angle));
    }
    if (map->bad) {
        SP_TRY(sp_h5_write_uint8(h5, "mask", 3, shape, map->bad));
    }
done:
    return status;
}

static sp_status write_notes(sp_h5 *h5, const sp_detector_map *map, ptrdiff_t images, double extent, double distance,
                             const char *command)
{
    sp_status status = SP_OK;
    const int64_t count = images, pixels = map->pixels, shape[] = {map->panels, map->height, map->width};

    SP_TRY(sp_h5_write_attribute_double(h5, "/", "reciprocal_extent", 1, &extent));
    SP_TRY(sp_h5_write_attribute_double(h5, "/", "det_distance", 1, &distance));
    SP_TRY(sp_h5_write_attribute_int(h5, "/", "n_images", 1, &count));
    SP_TRY(sp_h5_write_attribute_int(h5, "/", "n_pixels_per_image", 1, &pixels));
    SP_TRY(sp_h5_write_attribute_int(h5, "/", "det_shape", 3, shape));
    SP_TRY(sp_h5_write_attribute_string(h5, "/", "command_line", command));
done:
    return status;
}

sp_status sp_image_writer_new(const char *path, const sp_detector_map *map, ptrdiff_t images, double extent,
                              double distance, const char *command, sp_image_writer **writer)
{
    sp_status status = SP_OK;
    const ptrdiff_t shape[] = {images, map->panels, map->height, map->width};
    sp_image_writer *self = calloc(1, sizeof *self);

    SP_REQUIRE(self, SP_ERR_MEMORY, "%s: no memory to write it", path);
    self->images = images;
    SP_TRY(sp_h5_create(path, &self->h5));
    SP_TRY(sp_h5_create_float(self->h5, "intensities", 4, shape));
    SP_TRY(write_map(self->h5, map));
    SP_TRY(write_notes(self->h5, map, images, extent, distance, command));
    *writer = self;
    self = NULL;
done:
    sp_image_writer_abort(self);
    return status;
}

sp_status sp_image_writer_put(sp_image_writer *writer, ptrdiff_t first, ptrdiff_t count, const float *intensity)
{
    return sp_h5_write_float_rows(writer->h5, "intensities", first, count, intensity);
}

sp_status sp_image_writer_truth(sp_image_writer *writer, const double *orientation, const double *fluence,
                                const int32_t *structure)
{
    sp_status status = SP_OK;
    const ptrdiff_t shape[] = {writer->images, 1, 4};

    if (orientation) {
        SP_TRY(sp_h5_write_double(writer->h5, "orientations", 3, shape, orientation));
    }
    if (fluence) {
        SP_TRY(sp_h5_write_double(writer->h5, "fluences", 1, shape, fluence));
    }
    if (structure) {
        SP_TRY(sp_h5_write_int32(writer->h5, "conformations", 1, shape, structure));
    }
done:
    return status;
}

sp_status sp_image_writer_commit_take(sp_image_writer *writer)
{
    sp_status status = SP_OK;

    if (writer) {
        status = sp_h5_commit_take(writer->h5);
        free(writer);
    }
    return status;
}

void sp_image_writer_abort(sp_image_writer *writer)
{
    if (writer) {
        sp_h5_close(writer->h5);
        free(writer);
    }
}
