/* SPDX-License-Identifier: BSD-3-Clause */
/* Image files whose contents cannot be reconstructed from: each fault is refused by name, and no result is written. */
#include <math.h>

#include "cli/commands.h"
#include "io/h5.h"
#include "io/scratch.h"

enum { IMAGES = 12, EDGE = 16, PIXELS = EDGE * EDGE };
static const double WAVELENGTH = 2.7e-10, DISTANCE = 0.2, PITCH = 0.1 / EDGE; /* [m] */

/* The parts of a file, each of which a test may spoil. */
typedef struct sample {
    float intensity[IMAGES][PIXELS];
    double position[PIXELS][3];
    uint8_t mask[PIXELS];
    ptrdiff_t images, rows; /* of `intensities` */
} sample;

/* Images of a small blob: a Gaussian, which is good input in every way. */
static sample *sample_new(void)
{
    sample *self = calloc(1, sizeof *self);

    assert_non_null(self);
    self->images = IMAGES;
    self->rows = EDGE;
    for (int p = 0; p < PIXELS; p++) {
        const double x = (p % EDGE - EDGE / 2 + 0.5) * PITCH, y = (p / EDGE - EDGE / 2 + 0.5) * PITCH;
        const double far = sqrt(x * x + y * y + DISTANCE * DISTANCE);

        self->position[p][0] = x / far / WAVELENGTH;
        self->position[p][1] = y / far / WAVELENGTH;
        self->position[p][2] = (DISTANCE / far - 1.0) / WAVELENGTH;
        for (int i = 0; i < IMAGES; i++) {
            self->intensity[i][p] = (float)(100.0 * exp(-400.0 * (x * x + (1 + i % 3) * y * y)));
        }
    }
    return self;
}

static void write_file(const sample *self, sp_h5 *file)
{
    const ptrdiff_t images[] = {self->images, 1, self->rows, EDGE}, pixels[] = {1, EDGE, EDGE, 3};

    assert_int_equal(sp_h5_write_float(file, "intensities", 4, images, self->intensity[0]), SP_OK);
    assert_int_equal(sp_h5_write_double(file, "pixel_position_reciprocal", 4, pixels, self->position[0]), SP_OK);
    if (self->rows == EDGE) {
        assert_int_equal(sp_h5_write_uint8(file, "mask", 3, pixels, self->mask), SP_OK);
    }
}

static sp_status reconstruct(void)
{
    char *const word[] = {"images.h5", "-o", ".", "--generations", "1"};
    const sp_syntax syntax = sp_command_syntax(&sp_command_reconstruct);
    sp_arguments *args = NULL;
    sp_status status;

    assert_int_equal(sp_arguments_new(&syntax, &args), SP_OK);
    assert_int_equal(sp_arguments_read_line(args, 5, word), SP_OK);
    status = sp_command_reconstruct.run(args, NULL);
    sp_arguments_free(args);
    return status;
}

static void assert_only_images(void)
{
    DIR *folder = opendir(".");

    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (entry->d_name[0] != '.' && strcmp(entry->d_name, "images.h5") != 0) {
            fail_msg("%s was written", entry->d_name);
        }
    }
    closedir(folder);
}

/* Write the sample (freed), try it, expect the reason. */
static void assert_sample_refused(sample *self, const char *first, const char *second)
{
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create("images.h5", &file), SP_OK);
    write_file(self, file);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
    free(self);
    assert_refused(reconstruct(), SP_ERR_INPUT, first, second);
    assert_only_images();
}

static void a_value_that_is_not_a_number_is_refused_by_place(void **state)
{
    (void)state;
    sample *self = sample_new();

    self->intensity[7][3 * EDGE + 5] = NAN;
    assert_sample_refused(self, "image 7", "row 3, column 5");
}

static void an_infinite_value_is_refused_by_place(void **state)
{
    (void)state;
    sample *self = sample_new();

    self->intensity[0][EDGE] = INFINITY;
    assert_sample_refused(self, "image 0", "row 1, column 0");
}

static void a_negative_value_is_refused_by_place(void **state)
{
    (void)state;
    sample *self = sample_new();

    self->intensity[11][2] = -1.0F;
    assert_sample_refused(self, "image 11", "row 0, column 2");
}

static void images_without_any_signal_are_refused(void **state)
{
    (void)state;
    sample *self = sample_new();

    memset(self->intensity, 0, sizeof self->intensity);
    assert_sample_refused(self, "images are empty", "photon");
}

static void a_mask_of_all_pixels_is_refused(void **state)
{
    (void)state;
    sample *self = sample_new();

    memset(self->mask, 1, sizeof self->mask);
    assert_sample_refused(self, "images.h5", "every pixel as bad");
}

static void more_pixels_than_positions_are_refused(void **state)
{
    (void)state;
    sample *self = sample_new();

    self->images = IMAGES / 2;
    self->rows = 2 * EDGE;
    assert_sample_refused(self, "pixel_position_reciprocal", "does not fit");
}

static void one_image_is_too_few(void **state)
{
    (void)state;
    sample *self = sample_new();

    self->images = 1;
    assert_sample_refused(self, "images.h5: 1 image", "at least");
}

static void positions_that_are_not_on_a_sphere_are_refused(void **state)
{
    (void)state;
    sample *self = sample_new();

    for (int p = 0; p < PIXELS; p++) {
        self->position[p][2] *= p % 2 ? 1.0 : 5.0;
    }
    assert_sample_refused(self, "pixel_position_reciprocal", "sphere");
}

/* Write a file whose `intensities` are put by the test, try it, expect the reason. */
static void assert_file_refused(sp_h5 *file, const char *reason)
{
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
    assert_refused(reconstruct(), SP_ERR_INPUT, "images.h5", reason);
    assert_only_images();
}

static void intensities_of_text_are_refused(void **state)
{
    (void)state;
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create("images.h5", &file), SP_OK);
    assert_int_equal(sp_h5_write_string(file, "intensities", "bright"), SP_OK);
    assert_file_refused(file, "is of type string");
}

static void intensities_of_two_axes_are_refused(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {IMAGES, PIXELS};
    sample *self = sample_new();
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create("images.h5", &file), SP_OK);
    assert_int_equal(sp_h5_write_float(file, "intensities", 2, shape, self->intensity[0]), SP_OK);
    free(self);
    assert_file_refused(file, "has shape [12][256]");
}

static void a_file_without_intensities_is_refused(void **state)
{
    (void)state;
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create("images.h5", &file), SP_OK);
    assert_int_equal(sp_h5_write_string(file, "note", "forgotten"), SP_OK);
    assert_file_refused(file, "no dataset `intensities`");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(a_value_that_is_not_a_number_is_refused_by_place),
        scratch_test(an_infinite_value_is_refused_by_place),
        scratch_test(a_negative_value_is_refused_by_place),
        scratch_test(images_without_any_signal_are_refused),
        scratch_test(a_mask_of_all_pixels_is_refused),
        scratch_test(more_pixels_than_positions_are_refused),
        scratch_test(one_image_is_too_few),
        scratch_test(positions_that_are_not_on_a_sphere_are_refused),
        scratch_test(intensities_of_text_are_refused),
        scratch_test(intensities_of_two_axes_are_refused),
        scratch_test(a_file_without_intensities_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
