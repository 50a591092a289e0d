/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "io/h5.h"
#include "physics/detector.h"
#include "testing.h"

static char folder[] = "/tmp/spica-detector.XXXXXX", path[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder)) {
        return -1;
    }
    snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    remove(path);
    return rmdir(folder);
}

static void write_bytes(const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static sp_detector square(ptrdiff_t pixels, double size, double distance)
{
    return (sp_detector){.pixels = pixels, .size = size, .distance = distance, .energy = 4600.0};
}

static sp_detector_map make(const sp_detector *detector)
{
    sp_detector_map map = {0};
    double distance = 0.0;

    if (sp_detector_map_new(detector, &map, &distance) != SP_OK) {
        fail_msg("%s", sp_error_text());
    }
    return map;
}

static void refuses(const sp_detector *detector, sp_status status, const char *reason)
{
    sp_detector_map map = {0};
    double distance = 0.0;

    assert_int_equal(sp_detector_map_new(detector, &map, &distance), status);
    if (!strstr(sp_error_text(), reason)) {
        fail_msg("'%s' does not say '%s'", sp_error_text(), reason);
    }
    assert_null(map.position);
}

static void a_pixel_is_where_the_hand_computation_puts_it(void **state)
{
    (void)state;
    const sp_detector d = square(2, 0.2, 0.1);
    sp_detector_map map = make(&d);
    const double wavelength = 2.695308639e-10; /* 12398.4197386209 / 4600 A */
    /* row 0, column 1: centre (0.05, -0.05, 0.1) m, |p| = 0.1 sqrt(1.5) m, pixel 0.1 m x 0.1 m */
    const double s[3] = {0.40824829 / wavelength, -0.40824829 / wavelength, (0.81649658 - 1.0) / wavelength};

    assert_int_equal(map.pixels, 4);
    assert_float_equal(map.wavelength * 1e10, wavelength * 1e10, 1e-8);
    for (int i = 0; i < 3; i++) {
        assert_float_equal(map.position[3 + i] * 1e-10, s[i] * 1e-10, 1e-8);
    }
    assert_float_equal(map.polarization[1], 5.0 / 6.0, 1e-6);
    assert_float_equal(map.solid_angle[1], 0.1 * 0.01 / (1e-3 * pow(1.5, 1.5)), 1e-6);
    assert_int_equal(map.index[2], 1); /* column */
    assert_int_equal(map.index[3], 0); /* row */
    sp_detector_map_clear(&map);
}

static void pixels_lie_on_the_ewald_sphere(void **state)
{
    (void)state;
    const sp_detector d = square(16, 0.1, 0.05);
    sp_detector_map map = make(&d);
    double largest = 0.0;

    for (ptrdiff_t p = 0; p < map.pixels; p++) {
        const double *s = map.position + 3 * p;

        assert_float_equal(map.wavelength * sqrt(s[0] * s[0] + s[1] * s[1] + pow(s[2] + 1.0 / map.wavelength, 2)), 1.0,
                           1e-6);
        largest = fmax(largest, sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]));
    }
    assert_float_equal(sp_detector_extent(&map) / largest, 1.0, 1e-6);
    sp_detector_map_clear(&map);
}

static void solid_angles_add_up_to_that_of_the_square(void **state)
{
    (void)state;
    const sp_detector d = square(100, 0.1, 0.04);
    sp_detector_map map = make(&d);
    double sum = 0.0;

    for (ptrdiff_t p = 0; p < map.pixels; p++) {
        sum += map.solid_angle[p];
    }
    assert_float_equal(sum, 4.0 * asin(0.05 * 0.05 / (0.05 * 0.05 + 0.04 * 0.04)), 2e-4);
    sp_detector_map_clear(&map);
}

static void spacing_is_pixel_over_distance_and_wavelength(void **state)
{
    (void)state;
    const sp_detector d = square(128, 0.01, 1.0);
    sp_detector_map map = make(&d);

    assert_float_equal(sp_detector_spacing(&map) * map.wavelength * 128.0 / 0.01, 1.0, 1e-3);
    sp_detector_map_clear(&map);
}

static void two_panels_make_the_same_square(void **state)
{
    (void)state;
    static const char text[] = "# upper and lower half of 4 x 4 pixels of 25 mm\n"
                               "panel a  -0.05 -0.05 0.1  0.025 0 0  0 0.025 0  4 2\n\n"
                               "panel b  -0.05  0.00 0.1  0.025 0 0  0 0.025 0  4 2  # the other\n";
    const sp_detector whole = square(4, 0.1, 0.1), halves = {.panels = path, .energy = 4600.0};

    write_bytes(text, strlen(text));
    sp_detector_map one = make(&whole), two = make(&halves);
    assert_int_equal(two.panels, 2);
    assert_int_equal(two.height, 2);
    assert_int_equal(two.width, 4);
    for (ptrdiff_t p = 0; p < 16; p++) {
        for (int i = 0; i < 3; i++) {
            assert_float_equal(1e-10 * one.position[3 * p + i], 1e-10 * two.position[3 * p + i], 1e-12);
        }
        assert_float_equal(one.solid_angle[p], two.solid_angle[p], 1e-6);
        assert_memory_equal(one.index + 2 * p, two.index + 2 * p, 2 * sizeof *one.index);
    }
    sp_detector_map_clear(&one);
    sp_detector_map_clear(&two);
}

static void a_panel_that_faces_the_sample_sees_most(void **state)
{
    (void)state;
    /* one pixel at (0.1, 0, 0.1): flat, and turned by 45 degrees towards the sample */
    static const char flat[] = "panel a 0.0995 -0.0005 0.1  0.001 0 0  0 0.001 0  1 1\n";
    static const char turned[] = "panel a 0.09964644661 -0.0005 0.10035355339  "
                                 "0.00070710678 0 -0.00070710678  0 0.001 0  1 1\n";
    const sp_detector d = {.panels = path, .energy = 4600.0};
    const double area_over_square = 1e-6 / 0.02;

    write_bytes(flat, strlen(flat));
    sp_detector_map a = make(&d);
    write_bytes(turned, strlen(turned));
    sp_detector_map b = make(&d);
    assert_float_equal(a.solid_angle[0] / area_over_square, sqrt(0.5), 1e-5);
    assert_float_equal(b.solid_angle[0] / area_over_square, 1.0, 1e-5);
    assert_float_equal(a.polarization[0], 0.5, 1e-5);
    sp_detector_map_clear(&a);
    sp_detector_map_clear(&b);
}

static void the_beam_stop_covers_a_disc(void **state)
{
    (void)state;
    sp_detector d = square(8, 0.08, 0.1);

    d.beam_stop = 1.6; /* the four central pixels are 0.71 away, the next eight 1.58, then 2.12 */
    sp_detector_map map = make(&d);
    int bad = 0;
    for (ptrdiff_t p = 0; p < map.pixels; p++) {
        bad += map.bad[p];
    }
    assert_int_equal(bad, 12);
    assert_int_equal(map.bad[3 * 8 + 2], 1);
    assert_int_equal(map.bad[2 * 8 + 2], 0);
    sp_detector_map_clear(&map);
}

static void raw_masks_mark_their_pixels(void **state)
{
    (void)state;
    const uint8_t mask[9] = {0, 0, 0, 0, 0, 255, 0, 1, 0};
    sp_detector d = square(3, 0.1, 0.1);

    d.mask = path;
    write_bytes(mask, sizeof mask);
    sp_detector_map map = make(&d);
    for (int p = 0; p < 9; p++) {
        assert_int_equal(map.bad[p], mask[p] != 0);
    }
    sp_detector_map_clear(&map);
    write_bytes(mask, 8);
    refuses(&d, SP_ERR_INPUT, "wrong size");
    write_bytes("0000000000", 10);
    refuses(&d, SP_ERR_INPUT, "wrong size");
    write_bytes("111111111", 9);
    refuses(&d, SP_ERR_INPUT, "no good pixel");
    remove(path);
    refuses(&d, SP_ERR_INPUT, "cannot open the mask");
}

static void write_hdf5_mask(const char *name, int rank, const ptrdiff_t *shape, const int32_t *mask)
{
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create(path, &file), SP_OK);
    assert_int_equal(sp_h5_write_int32(file, name, rank, shape, mask), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
}

static void hdf5_masks_mark_their_pixels(void **state)
{
    (void)state;
    const int32_t mask[9] = {0, -1, 0, 0, 256, 0, 0, 0, 1}; /* neither may be clipped or cut to a zero byte */
    sp_detector d = square(3, 0.1, 0.1);

    d.mask = path;
    write_hdf5_mask("mask", 3, (const ptrdiff_t[]){1, 3, 3}, mask);
    sp_detector_map map = make(&d);
    for (int p = 0; p < 9; p++) {
        assert_int_equal(map.bad[p], mask[p] != 0);
    }
    sp_detector_map_clear(&map);
    write_hdf5_mask("mask", 2, (const ptrdiff_t[]){2, 3}, mask);
    refuses(&d, SP_ERR_INPUT, "holds 6 values, the detector has 9 pixels");
    write_hdf5_mask("task", 2, (const ptrdiff_t[]){3, 3}, mask);
    refuses(&d, SP_ERR_INPUT, "mask");
}

static void unusable_panel_files_are_refused_by_line(void **state)
{
    (void)state;
    static const struct {
        const char *text, *reason;
    } bad[] = {
        {"", "holds no panel"},
        {"# nothing\n", "holds no panel"},
        {"\npanel a 0 0 0.1  0.1 0 0  0 0.1 0  2\n", "line 2: expected"},
        {"panel a 0 0 0.1  0.1 0 0  0 0.1 0  2 2 2\n", "line 1: expected"},
        {"panel a 0 0 x  0.1 0 0  0 0.1 0  2 2\n", "line 1: expected"},
        {"panel a 0 0 nan  0.1 0 0  0 0.1 0  2 2\n", "line 1: expected"},
        {"panel a 0 0 0.1  0.1 0 0  0.1 0 0  2 2\n", "line 1: the fast and slow"},
        {"panel a 0 0 0.1  0.1 0 0  0 0.1 0  0 2\n", "width 0 and height 2"},
        {"panel a 0 0 0.1  0.1 0 0  0 0.1 0  2 2.5\n", "width 2 and height 2.5"},
        {"panel a 0 0 0.1  1e300 0 0  0 0.1 0  2 2\n", "line 1: expected"},
        {"panels a 0 0 0.1  0.1 0 0  0 0.1 0  2 2\n", "line 1: expected"},
        {"panel a 0 0 0.1  0.1 0 0  0 0.1 0  2 2\npanel b 0 0 0.1  0.1 0 0  0 0.1 0  3 2\n", "line 2: all panels"},
        {"panel a -0.05 -0.05 0  0.1 0 0  0 0.1 0  1 1\n", "at the sample"},
    };
    const sp_detector d = {.panels = path, .energy = 4600.0};

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_bytes(bad[i].text, strlen(bad[i].text));
        refuses(&d, SP_ERR_INPUT, bad[i].reason);
    }
    remove(path);
    refuses(&d, SP_ERR_INPUT, "cannot open the panel file");
}

static void impossible_detectors_are_refused(void **state)
{
    (void)state;
    sp_detector d = square(0, 0.1, 0.1);

    refuses(&d, SP_ERR_USAGE, "0 pixels");
    d = square(4, -0.1, 0.1);
    refuses(&d, SP_ERR_USAGE, "size -0.1");
    d = square(4, 0.1, 0.0);
    refuses(&d, SP_ERR_USAGE, "distance 0");
    d = square(4, 0.1, 0.1);
    d.energy = -1.0;
    refuses(&d, SP_ERR_USAGE, "energy -1");
    d = square(4, 0.1, 0.1);
    d.beam_stop = -1.0;
    refuses(&d, SP_ERR_USAGE, "beam stop");
    d.beam_stop = 100.0;
    refuses(&d, SP_ERR_INPUT, "no good pixel");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pixel_is_where_the_hand_computation_puts_it),
        cmocka_unit_test(pixels_lie_on_the_ewald_sphere),
        cmocka_unit_test(solid_angles_add_up_to_that_of_the_square),
        cmocka_unit_test(spacing_is_pixel_over_distance_and_wavelength),
        cmocka_unit_test(two_panels_make_the_same_square),
        cmocka_unit_test(a_panel_that_faces_the_sample_sees_most),
        cmocka_unit_test(the_beam_stop_covers_a_disc),
        cmocka_unit_test(raw_masks_mark_their_pixels),
        cmocka_unit_test(hdf5_masks_mark_their_pixels),
        cmocka_unit_test(unusable_panel_files_are_refused_by_line),
        cmocka_unit_test(impossible_detectors_are_refused),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
