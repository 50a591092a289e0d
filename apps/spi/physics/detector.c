/* SPDX-License-Identifier: BSD-3-Clause */
#include "physics/detector.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/h5.h"

enum { MAX_PANELS = 1024, MAX_EDGE = 32768 };
static const double LARGEST_NUMBER = 1e5;                     /* in a panel file: no metre or pixel count is larger */
static const double PLANCK_TIMES_LIGHT = 1.23984197386209e-6; /* [eV m] */

/* A flat rectangle of pixels. */
typedef struct panel {
    double corner[3], fast[3], slow[3]; /* [m]; fast and slow are the steps from pixel to pixel */
    ptrdiff_t width, height;
} panel;

double sp_wavelength(double energy_eV)
{
    return PLANCK_TIMES_LIGHT / energy_eV;
}

static double dot(const double a[3], const double b[3])
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static void cross(const double a[3], const double b[3], double out[3])
{
    out[0] = a[1] * b[2] - a[2] * b[1];
    out[1] = a[2] * b[0] - a[0] * b[2];
    out[2] = a[0] * b[1] - a[1] * b[0];
}

/* ---- panels ---- */

static sp_status square_panel(const sp_detector *d, panel *out)
{
    sp_status status = SP_OK;
    const double pixel = d->size / (double)d->pixels;

    SP_REQUIRE(d->pixels >= 1 && d->pixels <= MAX_EDGE, SP_ERR_USAGE, "%td pixels along an edge is not in 1..%d",
               d->pixels, MAX_EDGE);
    SP_REQUIRE(d->size > 0.0 && isfinite(d->size), SP_ERR_USAGE, "detector size %g m is not positive", d->size);
    SP_REQUIRE(d->distance > 0.0 && isfinite(d->distance), SP_ERR_USAGE, "detector distance %g m is not positive",
               d->distance);
    *out = (panel){.corner = {-0.5 * d->size, -0.5 * d->size, d->distance},
                   .fast = {pixel, 0.0, 0.0},
                   .slow = {0.0, pixel, 0.0},
                   .width = d->pixels,
                   .height = d->pixels};
done:
    return status;
}

/* "panel NAME" and 11 numbers; false if the line is anything else. */
static bool parse_panel(const char *line, double number[11])
{
    line += strspn(line, " \t");
    if (strncmp(line, "panel", 5) != 0 || !isblank((unsigned char)line[5])) {
        return false;
    }
    line += 5 + strspn(line + 5, " \t");
    line += strcspn(line, " \t"); /* the name is for the reader only */
    for (int i = 0; i < 11; i++) {
        char *end = NULL;

        number[i] = strtod(line, &end);
        if (end == line || !(fabs(number[i]) <= LARGEST_NUMBER)) {
            return false;
        }
        line = end;
    }
    return line[strspn(line, " \t")] == '\0';
}

static bool is_edge(double value)
{
    return value >= 1.0 && value <= MAX_EDGE && value == floor(value);
}

static sp_status read_panel(const char *path, int line_number, const char *line, panel *out)
{
    sp_status status = SP_OK;
    double v[11], normal[3];

    SP_REQUIRE(parse_panel(line, v), SP_ERR_INPUT,
               "%s, line %d: expected `panel NAME corner_xyz fs_xyz ss_xyz width height` (9 lengths in metres, 2 pixel "
               "counts)",
               path, line_number);
    cross(v + 3, v + 6, normal);
    SP_REQUIRE(dot(normal, normal) > 0.0, SP_ERR_INPUT, "%s, line %d: the fast and slow vectors span no pixel", path,
               line_number);
    SP_REQUIRE(is_edge(v[9]) && is_edge(v[10]), SP_ERR_INPUT,
               "%s, line %d: width %g and height %g must be whole numbers in 1..%d", path, line_number, v[9], v[10],
               MAX_EDGE);
    memcpy(out->corner, v, sizeof out->corner);
    memcpy(out->fast, v + 3, sizeof out->fast);
    memcpy(out->slow, v + 6, sizeof out->slow);
    out->width = (ptrdiff_t)v[9];
    out->height = (ptrdiff_t)v[10];
done:
    return status;
}

static sp_status read_panels(const char *path, panel *panels, ptrdiff_t *count)
{
    sp_status status = SP_OK;
    char line[1024];
    int number = 0;
    FILE *file = fopen(path, "r");

    SP_REQUIRE(file, SP_ERR_INPUT, "cannot open the panel file %s: %s", path, strerror(errno));
    *count = 0;
    while (fgets(line, sizeof line, file)) {
        number++;
        line[strcspn(line, "#\r\n")] = '\0';
        if (line[strspn(line, " \t")] == '\0') {
            continue;
        }
        SP_REQUIRE(*count < MAX_PANELS, SP_ERR_INPUT, "%s, line %d: more than %d panels", path, number, MAX_PANELS);
        SP_TRY(read_panel(path, number, line, &panels[*count]));
        SP_REQUIRE(panels[*count].width == panels[0].width && panels[*count].height == panels[0].height, SP_ERR_INPUT,
                   "%s, line %d: all panels must have the same width and height", path, number);
        (*count)++;
    }
    SP_REQUIRE(!ferror(file), SP_ERR_INPUT, "cannot read the panel file %s: %s", path, strerror(errno));
    SP_REQUIRE(*count > 0, SP_ERR_INPUT, "%s holds no panel", path);
done:
    if (file) {
        fclose(file);
    }
    return status;
}

/* ---- pixels ---- */

static void pixel_centre(const panel *in, ptrdiff_t column, ptrdiff_t row, double p[3])
{
    for (int i = 0; i < 3; i++) {
        p[i] = in->corner[i] + ((double)column + 0.5) * in->fast[i] + ((double)row + 0.5) * in->slow[i];
    }
}

/* Fills what depends on the place of one pixel; fails if that is the sample itself. */
static sp_status fill_pixel(const sp_detector *d, const panel *in, const double p[3], ptrdiff_t pixel,
                            sp_detector_map *map)
{
    sp_status status = SP_OK;
    const double length = sqrt(dot(p, p)), step = sqrt(dot(in->fast, in->fast));
    double normal_area[3];
    double *s = map->position + 3 * pixel;

    SP_REQUIRE(length > 0.0, SP_ERR_INPUT, "a pixel lies at the sample; give the panels their distance along z");
    cross(in->fast, in->slow, normal_area);
    for (int i = 0; i < 3; i++) {
        s[i] = (p[i] / length - (i == 2 ? 1.0 : 0.0)) / map->wavelength;
    }
    map->solid_angle[pixel] = (float)(fabs(dot(p, normal_area)) / (length * length * length));
    map->polarization[pixel] = (float)(1.0 - (p[0] / length) * (p[0] / length));
    map->bad[pixel] = hypot(p[0], p[1]) < d->beam_stop * step;
done:
    return status;
}

static sp_status fill_pixels(const sp_detector *d, const panel *panels, sp_detector_map *map, double *distance)
{
    sp_status status = SP_OK;
    double low[2] = {INFINITY, INFINITY}, sum = 0.0, p[3];
    const double step = sqrt(dot(panels->fast, panels->fast));

    for (int pass = 0; pass < 2; pass++) { /* the picture coordinates need the lowest x and y of all */
        ptrdiff_t pixel = 0;

        for (ptrdiff_t i = 0; i < map->panels; i++) {
            for (ptrdiff_t row = 0; row < map->height; row++) {
                for (ptrdiff_t column = 0; column < map->width; column++, pixel++) {
                    pixel_centre(&panels[i], column, row, p);
                    if (pass == 0) {
                        SP_TRY(fill_pixel(d, &panels[i], p, pixel, map));
                        low[0] = fmin(low[0], p[0]);
                        low[1] = fmin(low[1], p[1]);
                        sum += p[2];
                    } else {
                        map->index[2 * pixel] = (int32_t)lround((p[0] - low[0]) / step);
                        map->index[2 * pixel + 1] = (int32_t)lround((p[1] - low[1]) / step);
                    }
                }
            }
        }
    }
    *distance = sum / (double)map->pixels;
done:
    return status;
}

/* ---- bad pixels ---- */

static sp_status read_raw_mask(const char *path, ptrdiff_t pixels, uint8_t *mask)
{
    sp_status status = SP_OK;
    FILE *file = fopen(path, "rb");

    SP_REQUIRE(file, SP_ERR_INPUT, "cannot open the mask %s: %s", path, strerror(errno));
    const size_t got = fread(mask, 1, (size_t)pixels, file);
    SP_REQUIRE(!ferror(file), SP_ERR_INPUT, "cannot read the mask %s: %s", path, strerror(errno));
    SP_REQUIRE(got == (size_t)pixels && fgetc(file) == EOF, SP_ERR_INPUT,
               "mask %s has the wrong size: it needs one byte for each of the %td pixels", path, pixels);
done:
    if (file) {
        fclose(file);
    }
    return status;
}

static sp_status read_hdf5_mask(const char *path, ptrdiff_t pixels, uint8_t *mask)
{
    sp_status status = SP_OK;
    sp_h5 *file = NULL;
    sp_h5_info info;
    int32_t *value = NULL;

    SP_TRY(sp_h5_open(path, &file));
    SP_TRY(sp_h5_get_info(file, "mask", &info));
    SP_REQUIRE(info.count == pixels, SP_ERR_INPUT,
               "mask %s has the wrong size: `mask` holds %td values, the detector has %td pixels", path, info.count,
               pixels);
    SP_TRY(SP_ARRAY(value, pixels));
    SP_TRY(sp_h5_read_int32(file, "mask", info.rank, info.shape, value));
    for (ptrdiff_t p = 0; p < pixels; p++) {
        mask[p] = value[p] != 0;
    }
done:
    sp_array_free(value);
    sp_h5_close(file);
    return status;
}

static bool is_hdf5(const char *path)
{
    static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};
    unsigned char start[8];
    FILE *file = fopen(path, "rb");
    const bool same = file && fread(start, 1, 8, file) == 8 && memcmp(start, signature, 8) == 0;

    if (file) {
        fclose(file);
    }
    return same;
}

static sp_status apply_mask(const char *path, sp_detector_map *map)
{
    sp_status status = SP_OK;
    uint8_t *mask = NULL;

    SP_TRY(SP_ARRAY(mask, map->pixels));
    SP_TRY(is_hdf5(path) ? read_hdf5_mask(path, map->pixels, mask) : read_raw_mask(path, map->pixels, mask));
    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        map->bad[p] |= mask[p] != 0;
    }
done:
    sp_array_free(mask);
    return status;
}

/* ---- the whole detector ---- */

static sp_status allocate(sp_detector_map *map)
{
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(map->position, 3 * map->pixels));
    SP_TRY(SP_ARRAY(map->polarization, map->pixels));
    SP_TRY(SP_ARRAY(map->solid_angle, map->pixels));
    SP_TRY(SP_ARRAY(map->bad, map->pixels));
    SP_TRY(SP_ARRAY(map->index, 2 * map->pixels));
done:
    return status;
}

static ptrdiff_t good_pixels(const sp_detector_map *map)
{
    ptrdiff_t good = 0;

    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        good += !map->bad[p];
    }
    return good;
}

sp_status sp_detector_map_new(const sp_detector *detector, sp_detector_map *map, double *distance)
{
    sp_status status = SP_OK;
    sp_detector_map made = {.panels = 1, .corrections = "polarization, solid_angle"};
    panel *panels = NULL;

    SP_REQUIRE(detector->energy > 0.0 && isfinite(detector->energy), SP_ERR_USAGE,
               "photon energy %g eV is not positive", detector->energy);
    SP_REQUIRE(detector->beam_stop >= 0.0, SP_ERR_USAGE, "beam stop radius %g pixels is negative", detector->beam_stop);
    SP_TRY(SP_ARRAY(panels, detector->panels ? MAX_PANELS : 1));
    SP_TRY(detector->panels ? read_panels(detector->panels, panels, &made.panels) : square_panel(detector, panels));
    made.width = panels->width;
    made.height = panels->height;
    made.pixels = made.panels * made.width * made.height;
    made.wavelength = sp_wavelength(detector->energy);
    SP_TRY(allocate(&made));
    SP_TRY(fill_pixels(detector, panels, &made, distance));
    if (detector->mask) {
        SP_TRY(apply_mask(detector->mask, &made));
    }
    SP_REQUIRE(good_pixels(&made) > 0, SP_ERR_INPUT, "the beam stop and the mask leave no good pixel");
    *map = made;
    made = (sp_detector_map){0};
done:
    sp_detector_map_clear(&made);
    sp_array_free(panels);
    return status;
}

double sp_detector_extent(const sp_detector_map *map)
{
    double largest = 0.0;

    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        const double *s = map->position + 3 * p;

        largest = fmax(largest, dot(s, s));
    }
    return sqrt(largest);
}

double sp_detector_spacing(const sp_detector_map *map)
{
    double largest = 0.0;

    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        const double *s = map->position + 3 * p;

        if (p % map->width > 0) {
            const double step[3] = {s[0] - s[-3], s[1] - s[-2], s[2] - s[-1]};

            largest = fmax(largest, dot(step, step));
        }
    }
    return sqrt(largest);
}
