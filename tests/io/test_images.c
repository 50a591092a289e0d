/* SPDX-License-Identifier: BSD-3-Clause */
#include <hdf5.h>
#include <math.h>

#include "base/memory.h"
#include "io/h5.h"
#include "io/images.h"
#include "scratch.h"

enum { N = 3, P = 2, H = 4, W = 5, PIXELS = P * H * W };
static const double WAVELENGTH = 2.5e-10; /* [m] */

/* Pixels of 1 mm, 0.1 m behind the sample, on a tilted detector that never leaves the sphere. */
static void make_positions(double *position)
{
    for (int i = 0; i < PIXELS; i++) {
        const double p[3] = {1e-3 * (i % W) - 2e-3, 1e-3 * (i / W) - 4e-3, 0.1 + 1e-4 * i};
        const double length = sqrt(p[0] * p[0] + p[1] * p[1] + p[2] * p[2]);

        for (int axis = 0; axis < 3; axis++) {
            position[3 * i + axis] = (p[axis] / length - (axis == 2)) / WAVELENGTH;
        }
    }
}

static void make_intensities(float *intensity)
{
    for (int i = 0; i < N * PIXELS; i++) {
        intensity[i] = (float)((i * 7) % 11) + 0.25F;
    }
}

static sp_h5 *create(const char *path)
{
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create(path, &file), SP_OK);
    return file;
}

static void put_double(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, const double *data)
{
    assert_int_equal(sp_h5_write_double(file, name, rank, shape, data), SP_OK);
}

static void put_positions(sp_h5 *file)
{
    const ptrdiff_t shape[] = {P, H, W, 3};
    double position[3 * PIXELS];

    make_positions(position);
    put_double(file, "pixel_position_reciprocal", 4, shape, position);
}

static void put_intensities(sp_h5 *file)
{
    const ptrdiff_t shape[] = {N, P, H, W};
    float intensity[N * PIXELS];

    make_intensities(intensity);
    assert_int_equal(sp_h5_write_float(file, "intensities", 4, shape, intensity), SP_OK);
}

static void commit(sp_h5 *file)
{
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
}

static void assert_open_refused(const char *first, const char *second)
{
    sp_image_file *file = NULL;

    assert_refused(sp_image_file_open("a.h5", &file), SP_ERR_INPUT, first, second);
    assert_null(file);
}

static sp_image_file *open_images(void)
{
    sp_image_file *file = NULL;

    if (sp_image_file_open("a.h5", &file) != SP_OK) {
        fail_msg("%s", sp_error_text());
    }
    return file;
}

static void assert_images_are_there(sp_image_file *file)
{
    float expected[N * PIXELS], intensity[N * PIXELS];

    make_intensities(expected);
    assert_int_equal(sp_image_file_read(file, 0, N, intensity), SP_OK);
    assert_memory_equal(intensity, expected, sizeof expected);
}

/* ---- what is read ---- */

static void written_images_come_back(void **state)
{
    (void)state;
    double position[3 * PIXELS];
    float intensity[N * PIXELS], polarization[PIXELS];
    uint8_t bad[PIXELS] = {[3] = 1};
    int32_t index[2 * PIXELS];
    sp_detector_map map = {.panels = P,
                           .height = H,
                           .width = W,
                           .pixels = PIXELS,
                           .position = position,
                           .bad = bad,
                           .polarization = polarization,
                           .index = index};
    sp_image_writer *writer = NULL;
    sp_image_file *file = NULL;

    make_positions(position);
    make_intensities(intensity);
    for (int i = 0; i < PIXELS; i++) {
        polarization[i] = 1.0F - 0.001F * (float)i;
        index[2 * i] = i;
        index[2 * i + 1] = 2 * i;
    }
    assert_int_equal(sp_image_writer_new("a.h5", &map, N, 1e9, 0.1, "spica simulate", &writer), SP_OK);
    assert_int_equal(sp_image_writer_put(writer, 1, 2, intensity + PIXELS), SP_OK);
    assert_int_equal(sp_image_writer_put(writer, 0, 1, intensity), SP_OK);
    assert_int_not_equal(access("a.h5", F_OK), 0); /* not before it is complete */
    assert_int_equal(sp_image_writer_commit_take(writer), SP_OK);

    file = open_images();
    const sp_detector_map *got = sp_image_file_map(file);
    assert_int_equal(sp_image_file_count(file), N);
    assert_true(got->panels == P && got->height == H && got->width == W && got->pixels == PIXELS);
    assert_memory_equal(got->position, position, sizeof position);
    assert_memory_equal(got->polarization, polarization, sizeof polarization);
    assert_memory_equal(got->bad, bad, sizeof bad);
    assert_memory_equal(got->index, index, sizeof index);
    assert_true(got->solid_angle[0] == 1.0F && got->solid_angle[PIXELS - 1] == 1.0F);
    assert_string_equal(got->corrections, "polarization");
    for (int n = 0; n < N; n++) {
        float image[PIXELS];

        assert_int_equal(sp_image_file_read(file, n, 1, image), SP_OK);
        assert_true(image[3] == 0.0F); /* bad */
        image[3] = intensity[n * PIXELS + 3];
        assert_memory_equal(image, intensity + n * PIXELS, sizeof image);
    }
    sp_image_file_close(file);
}

static void notes_and_truth_lie_where_skopi_puts_them(void **state)
{
    (void)state;
    const ptrdiff_t quaternions[] = {N, 1, 4}, one_each[] = {N};
    double position[3 * PIXELS], q[4 * N], fluence[N] = {1, 2, 3}, number = 0.0;
    int32_t structure[N] = {0, 1, 0}, structure2[N];
    int64_t shape[3];
    sp_h5_info info;
    sp_detector_map map = {.panels = P, .height = H, .width = W, .pixels = PIXELS, .position = position};
    sp_image_writer *writer = NULL;
    sp_h5 *file = NULL;

    make_positions(position);
    for (int i = 0; i < 4 * N; i++) {
        q[i] = 0.5;
    }
    assert_int_equal(sp_image_writer_new("a.h5", &map, N, 1e9, 0.1, "spica simulate", &writer), SP_OK);
    assert_int_equal(sp_image_writer_truth(writer, q, fluence, structure), SP_OK);
    assert_int_equal(sp_image_writer_commit_take(writer), SP_OK);
    assert_int_equal(sp_h5_open("a.h5", &file), SP_OK);
    assert_int_equal(sp_h5_get_info(file, "orientations", &info), SP_OK);
    assert_true(info.rank == 3);
    assert_int_equal(sp_h5_read_double(file, "orientations", 3, quaternions, q), SP_OK);
    assert_int_equal(sp_h5_read_double(file, "fluences", 1, one_each, fluence), SP_OK);
    assert_int_equal(sp_h5_read_int32(file, "conformations", 1, one_each, structure2), SP_OK);
    assert_memory_equal(structure, structure2, sizeof structure);
    assert_int_equal(sp_h5_read_attribute_double(file, "/", "reciprocal_extent", 1, &number), SP_OK);
    assert_true(number == 1e9);
    assert_int_equal(sp_h5_read_attribute_int(file, "/", "det_shape", 3, shape), SP_OK);
    assert_true(shape[0] == P && shape[1] == H && shape[2] == W);
    sp_h5_close(file);
}

static void a_writer_given_up_leaves_nothing(void **state)
{
    (void)state;
    double position[3 * PIXELS];
    sp_detector_map map = {.panels = P, .height = H, .width = W, .pixels = PIXELS, .position = position};
    sp_image_writer *writer = NULL;

    make_positions(position);
    assert_refused(sp_image_writer_new("no/a.h5", &map, N, 1e9, 0.1, "", &writer), SP_ERR_OUTPUT, "no/a.h5",
                   "No such file");
    assert_int_equal(sp_image_writer_new("a.h5", &map, N, 1e9, 0.1, "", &writer), SP_OK);
    sp_image_writer_abort(writer);
    assert_int_not_equal(access("a.h5", F_OK), 0);
    assert_int_not_equal(access("a.h5.tmp", F_OK), 0);
}

static void wavelength_is_recovered_from_the_positions(void **state)
{
    (void)state;
    sp_h5 *h5 = create("a.h5");
    sp_image_file *file = NULL;

    put_intensities(h5);
    put_positions(h5);
    commit(h5);
    file = open_images();
    assert_true(fabs(sp_image_file_map(file)->wavelength / WAVELENGTH - 1.0) < 1e-9);
    sp_image_file_close(file);
}

/* Single precision and small angles: s_z is known to few digits only. */
static void wavelength_survives_single_precision(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {P, H, W, 3};
    float position[3 * PIXELS];
    sp_h5 *h5 = create("a.h5");
    sp_image_file *file = NULL;

    for (int i = 0; i < PIXELS; i++) {
        const float x = 1e-3F * (float)(i % W - 2), y = 1e-3F * (float)(i / W - 4),
                    length = sqrtf(x * x + y * y + 1.0F);

        position[3 * i] = x / length / (float)WAVELENGTH;
        position[3 * i + 1] = y / length / (float)WAVELENGTH;
        position[3 * i + 2] = (1.0F / length - 1.0F) / (float)WAVELENGTH;
    }
    put_intensities(h5);
    assert_int_equal(sp_h5_write_float(h5, "pixel_position_reciprocal", 4, shape, position), SP_OK);
    commit(h5);
    file = open_images();
    assert_true(fabs(sp_image_file_map(file)->wavelength / WAVELENGTH - 1.0) < 0.01);
    sp_image_file_close(file);
}

static void flat_positions_have_no_wavelength(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {P, H, W, 3};
    double position[3 * PIXELS];
    sp_h5 *h5 = create("a.h5");
    sp_image_file *file = NULL;

    make_positions(position);
    for (int i = 0; i < PIXELS; i++) {
        position[3 * i + 2] = 0.0;
    }
    put_intensities(h5);
    put_double(h5, "pixel_position_reciprocal", 4, shape, position);
    commit(h5);
    file = open_images();
    assert_true(sp_image_file_map(file)->wavelength == 0.0);
    sp_image_file_close(file);
}

static void positions_are_read_with_the_axis_first(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {3, P, H, W};
    double position[3 * PIXELS], axes[3 * PIXELS];
    sp_h5 *h5 = create("a.h5");
    sp_image_file *file = NULL;

    make_positions(position);
    for (int i = 0; i < 3 * PIXELS; i++) {
        axes[i % 3 * PIXELS + i / 3] = position[i];
    }
    put_intensities(h5);
    put_double(h5, "pixel_position_reciprocal", 4, shape, axes);
    commit(h5);
    file = open_images();
    assert_memory_equal(sp_image_file_map(file)->position, position, sizeof position);
    sp_image_file_close(file);
}

/* [N][H][W] images, positions [3][H][W], mask [H][W] with other numbers than 1, integers called `photons`. */
static void the_panel_axis_may_be_missing(void **state)
{
    (void)state;
    const ptrdiff_t images[] = {N, P * H, W}, axes[] = {3, P * H, W}, plane[] = {P * H, W};
    double position[3 * PIXELS], turned[3 * PIXELS];
    int32_t photons[N * PIXELS], mask[PIXELS] = {[0] = -1, [7] = 65536};
    float intensity[N * PIXELS];
    sp_h5 *h5 = create("a.h5");
    sp_image_file *file = NULL;

    make_positions(position);
    for (int i = 0; i < 3 * PIXELS; i++) {
        turned[i % 3 * PIXELS + i / 3] = position[i];
    }
    for (int i = 0; i < N * PIXELS; i++) {
        photons[i] = i;
    }
    assert_int_equal(sp_h5_write_int32(h5, "photons", 3, images, photons), SP_OK);
    put_double(h5, "pixel_position_reciprocal", 3, axes, turned);
    assert_int_equal(sp_h5_write_int32(h5, "mask", 2, plane, mask), SP_OK);
    commit(h5);
    file = open_images();
    const sp_detector_map *map = sp_image_file_map(file);
    assert_true(map->panels == 1 && map->height == P * H && map->width == W);
    assert_true(map->bad[0] == 1 && map->bad[7] == 1 && map->bad[1] == 0);
    assert_true(map->index[2 * (W + 2)] == 2 && map->index[2 * (W + 2) + 1] == 1); /* (column, row) */
    assert_int_equal(sp_image_file_read(file, 1, 2, intensity), SP_OK);
    assert_true(intensity[0] == 0.0F && intensity[1] == PIXELS + 1 && intensity[2 * PIXELS - 1] == 3 * PIXELS - 1);
    sp_image_file_close(file);
}

/* Chunked and compressed, big-endian: what other programs write. */
static void foreign_layouts_are_read(void **state)
{
    (void)state;
    const hsize_t shape[] = {N, P, H, W}, chunk[] = {1, P, H, W};
    const hid_t space = H5Screate_simple(4, shape, NULL), layout = H5Pcreate(H5P_DATASET_CREATE);
    float intensity[N * PIXELS];
    sp_h5 *h5 = create("a.h5");
    sp_image_file *file = NULL;
    hid_t raw = 0, dataset = 0;

    put_positions(h5);
    commit(h5);
    make_intensities(intensity);
    H5Pset_chunk(layout, 4, chunk);
    H5Pset_deflate(layout, 4);
    raw = H5Fopen("a.h5", H5F_ACC_RDWR, H5P_DEFAULT);
    dataset = H5Dcreate2(raw, "intensities", H5T_IEEE_F64BE, space, H5P_DEFAULT, layout, H5P_DEFAULT);
    assert_true(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, intensity) >= 0);
    H5Dclose(dataset);
    H5Sclose(space);
    H5Pclose(layout);
    H5Fclose(raw);
    file = open_images();
    assert_images_are_there(file);
    sp_image_file_close(file);
}

static void bad_pixels_may_hold_anything(void **state)
{
    (void)state;
    const ptrdiff_t images[] = {1, P, H, W}, shape[] = {P, H, W}, vectors[] = {P, H, W, 3};
    float intensity[PIXELS] = {NAN, -5.0F, INFINITY, 4.0F}, polarization[PIXELS] = {0.0F, NAN, -1.0F, 0.5F};
    double position[3 * PIXELS];
    uint8_t mask[PIXELS] = {1, 1, 1};
    sp_h5 *h5 = create("a.h5");
    sp_image_file *file = NULL;

    make_positions(position);
    position[0] = NAN;
    for (int i = 4; i < PIXELS; i++) {
        polarization[i] = 1.0F;
    }
    assert_int_equal(sp_h5_write_float(h5, "intensities", 4, images, intensity), SP_OK);
    assert_int_equal(sp_h5_write_float(h5, "polarization", 3, shape, polarization), SP_OK);
    assert_int_equal(sp_h5_write_uint8(h5, "mask", 3, shape, mask), SP_OK);
    put_double(h5, "pixel_position_reciprocal", 4, vectors, position);
    commit(h5);
    file = open_images();
    const sp_detector_map *map = sp_image_file_map(file);
    assert_true(map->position[0] == 0.0 && map->position[1] == 0.0);
    assert_true(map->polarization[0] == 1.0F && map->polarization[1] == 1.0F && map->polarization[3] == 0.5F);
    assert_int_equal(sp_image_file_read(file, 0, 1, intensity), SP_OK);
    assert_true(intensity[0] == 0.0F && intensity[1] == 0.0F && intensity[2] == 0.0F && intensity[3] == 4.0F);
    sp_image_file_close(file);
}

/* ---- what is refused ---- */

static void unusable_intensities_are_refused_with_their_place(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {N, P, H, W};
    const float unusable[] = {NAN, INFINITY, -INFINITY, -0.5F};
    const char *const names[] = {"nan", "inf", "-inf", "-0.5"};
    float intensity[N * PIXELS], back[N * PIXELS];

    for (int i = 0; i < 4; i++) {
        sp_h5 *h5 = create("a.h5");
        sp_image_file *file = NULL;

        make_intensities(intensity);
        intensity[((2 * P + 1) * H + 3) * W + 4] = unusable[i];
        assert_int_equal(sp_h5_write_float(h5, "intensities", 4, shape, intensity), SP_OK);
        put_positions(h5);
        commit(h5);
        file = open_images();
        assert_int_equal(sp_image_file_read(file, 0, 2, back), SP_OK);
        assert_refused(sp_image_file_read(file, 1, 2, back), SP_ERR_INPUT, names[i],
                       "in image 2 at panel 1, row 3, column 4");
        assert_refused(sp_image_file_read(file, 2, 2, back), SP_ERR_USAGE, "a.h5", "it has 3");
        sp_image_file_close(file);
    }
}

static void files_without_images_are_refused_by_name(void **state)
{
    (void)state;
    sp_h5 *h5 = NULL;

    assert_open_refused("a.h5", "No such file");
    put_file("a.h5", "", 0);
    assert_open_refused("a.h5", "empty");
    put_file("a.h5", "hello", 5);
    assert_open_refused("a.h5", "not an HDF5 file");
    h5 = create("a.h5");
    put_positions(h5);
    commit(h5);
    assert_open_refused("a.h5", "no dataset `intensities`");
    h5 = create("a.h5");
    put_intensities(h5);
    commit(h5);
    assert_open_refused("a.h5", "no dataset `pixel_position_reciprocal`");
    h5 = create("a.h5");
    assert_int_equal(sp_h5_write_group(h5, "intensities"), SP_OK);
    commit(h5);
    assert_open_refused("a.h5", "`intensities` is not a readable dataset");
}

static void wrong_ranks_and_empty_files_are_refused(void **state)
{
    (void)state;
    const ptrdiff_t shapes[][5] = {{2, 2}, {1, 1, 2, 2, 2}, {0, P, H, W}, {N, P, 0, W}};
    const int ranks[] = {2, 5, 4, 4};
    const char *const reasons[] = {"[2][2]", "[1][1][2][2][2]", "[0][2][4][5]", "[3][2][0][5]"};

    for (int i = 0; i < 4; i++) {
        sp_h5 *h5 = create("a.h5");

        assert_int_equal(sp_h5_create_float(h5, "intensities", ranks[i], shapes[i]), SP_OK);
        put_positions(h5);
        commit(h5);
        assert_open_refused("`intensities` has shape", reasons[i]);
    }
}

static void absurd_sizes_are_refused_before_memory_is_asked_for(void **state)
{
    (void)state;
    const hsize_t shapes[][4] = {{1, 1, 1 << 20, 1 << 20}, {1ULL << 40, 1ULL << 20, 1 << 10, 1}};
    const hsize_t chunk[4] = {1, 1, 1, 1};
    const char *const reasons[] = {"pixels per image", "impossible shape"};

    for (int i = 0; i < 2; i++) {
        const hid_t layout = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(4, shapes[i], NULL);
        const hid_t raw = H5Fcreate("a.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);

        H5Pset_chunk(layout, 4, chunk);
        H5Dclose(H5Dcreate2(raw, "intensities", H5T_IEEE_F32LE, space, H5P_DEFAULT, layout, H5P_DEFAULT));
        H5Sclose(space);
        H5Pclose(layout);
        H5Fclose(raw);
        assert_open_refused("`intensities`", reasons[i]);
    }
}

static void intensities_that_are_not_numbers_are_refused(void **state)
{
    (void)state;
    const hsize_t shape[] = {N, P, H, W};
    const hid_t complex_type = H5Tcreate(H5T_COMPOUND, 8), text_type = H5Tcopy(H5T_C_S1);
    const hid_t types[] = {complex_type, text_type};
    const char *const reasons[] = {"compound", "string"};

    H5Tinsert(complex_type, "r", 0, H5T_IEEE_F32LE);
    H5Tinsert(complex_type, "i", 4, H5T_IEEE_F32LE);
    for (int i = 0; i < 2; i++) {
        const hid_t raw = H5Fcreate("a.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
        const hid_t space = H5Screate_simple(4, shape, NULL);

        H5Dclose(H5Dcreate2(raw, "intensities", types[i], space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
        H5Sclose(space);
        H5Fclose(raw);
        assert_open_refused("`intensities` is of type", reasons[i]);
    }
    H5Tclose(complex_type);
    H5Tclose(text_type);
}

static size_t pretend(unsigned flags, size_t count, const unsigned values[], size_t bytes, size_t *room, void **data)
{
    (void)flags, (void)count, (void)values, (void)room, (void)data;
    return bytes;
}

/* A filter that the writing program had and this one has not. */
static void an_unknown_compression_is_refused_with_a_cure(void **state)
{
    (void)state;
    enum { FILTER = 300 };
    const hsize_t shape[] = {N, P, H, W};
    const hid_t layout = H5Pcreate(H5P_DATASET_CREATE), space = H5Screate_simple(4, shape, NULL);
    const H5Z_class2_t filter = {H5Z_CLASS_T_VERS, FILTER, 1, 1, "squeeze", NULL, NULL, pretend};
    float intensity[N * PIXELS] = {0};
    sp_h5 *h5 = create("a.h5");
    sp_image_file *file = NULL;
    hid_t raw = 0, dataset = 0;

    put_positions(h5);
    commit(h5);
    raw = H5Fopen("a.h5", H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(H5Zregister(&filter) >= 0);
    H5Pset_chunk(layout, 4, shape);
    H5Pset_filter(layout, FILTER, H5Z_FLAG_MANDATORY, 0, NULL);
    dataset = H5Dcreate2(raw, "intensities", H5T_IEEE_F32LE, space, H5P_DEFAULT, layout, H5P_DEFAULT);
    assert_true(H5Dwrite(dataset, H5T_NATIVE_FLOAT, H5S_ALL, H5S_ALL, H5P_DEFAULT, intensity) >= 0);
    H5Dclose(dataset);
    H5Pclose(layout);
    H5Sclose(space);
    H5Fclose(raw);
    assert_true(H5Zunregister(FILTER) >= 0);
    file = open_images();
    assert_refused(sp_image_file_read(file, 0, 1, intensity), SP_ERR_INPUT, "`intensities` is compressed by filter 300",
                   "h5repack");
    sp_image_file_close(file);
}

/* Files that differ from a good one in one optional dataset, or in the positions. */
static void assert_refused_with(const char *name, int rank, const ptrdiff_t *shape, const double *data,
                                const char *first, const char *second)
{
    sp_h5 *h5 = create("a.h5");

    put_intensities(h5);
    if (strcmp(name, "pixel_position_reciprocal") != 0) {
        put_positions(h5);
    }
    put_double(h5, name, rank, shape, data);
    commit(h5);
    assert_open_refused(first, second);
}

static void unusable_positions_are_refused(void **state)
{
    (void)state;
    const char *name = "pixel_position_reciprocal";
    const ptrdiff_t shape[] = {P, H, W, 3}, wrong[] = {P, W, H, 3}, pairs[] = {P, H, W, 2};
    double position[3 * PIXELS];

    make_positions(position);
    assert_refused_with(name, 4, wrong, position, "[2][5][4][3]", "[2][4][5][3] is needed");
    assert_refused_with(name, 4, pairs, position, "[2][4][5][2]", "does not fit");
    position[3 * (H * W + 2 * W + 1) + 1] = NAN;
    assert_refused_with(name, 4, shape, position, "not finite", "panel 1, row 2, column 1");
    position[3 * (H * W + 2 * W + 1) + 1] = 3e8; /* off the sphere, though finite */
    assert_refused_with(name, 4, shape, position, "not on a sphere", "misfit");
    make_positions(position);
    for (int i = 0; i < 3 * PIXELS; i++) {
        position[i] *= i % 3 == 2 ? -1.0 : 1.0;
    }
    assert_refused_with(name, 4, shape, position, "a.h5", "beam along -z");
    make_positions(position);
    for (int i = 0; i < 3 * PIXELS; i++) {
        position[i] *= 1e-10;
    }
    assert_refused_with(name, 4, shape, position, "a.h5", "1/Angstrom");
}

static void unusable_corrections_are_refused(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {P, H, W}, wrong[] = {P, W, H};
    double factor[PIXELS];

    for (int i = 0; i < PIXELS; i++) {
        factor[i] = 1.0;
    }
    assert_refused_with("polarization", 3, wrong, factor, "`polarization`", "[2][4][5] is needed");
    assert_refused_with("mask", 3, shape, factor, "`mask`", "integers");
    factor[W] = 0.0;
    assert_refused_with("solid_angle", 3, shape, factor, "`solid_angle` is 0", "panel 0, row 1, column 0");
    factor[W] = NAN;
    assert_refused_with("polarization", 3, shape, factor, "`polarization` is nan", "panel 0, row 1, column 0");
}

static void unusable_masks_and_indices_are_refused(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {P, H, W}, pairs[] = {P, H, W, 2};
    uint8_t mask[PIXELS];
    int32_t index[2 * PIXELS] = {[9] = -1};
    sp_h5 *h5 = create("a.h5");

    memset(mask, 1, sizeof mask);
    put_intensities(h5);
    put_positions(h5);
    assert_int_equal(sp_h5_write_uint8(h5, "mask", 3, shape, mask), SP_OK);
    commit(h5);
    assert_open_refused("`mask`", "every pixel");
    h5 = create("a.h5");
    put_intensities(h5);
    put_positions(h5);
    assert_int_equal(sp_h5_write_int32(h5, "pixel_index_map", 4, pairs, index), SP_OK);
    commit(h5);
    assert_open_refused("`pixel_index_map` is -1", "column 4");
}

/* A file cut at any length is refused, on opening or on reading, and never read wrongly. */
static void truncated_files_are_refused(void **state)
{
    (void)state;
    static char bytes[1 << 16];
    float intensity[N * PIXELS];
    size_t size = 0;
    sp_h5 *h5 = create("a.h5");

    put_intensities(h5);
    put_positions(h5);
    commit(h5);
    size = get_file("a.h5", bytes, sizeof bytes);
    assert_true(size > 1000 && size < sizeof bytes);
    for (size_t cut = 1; cut < size; cut += 97) {
        sp_image_file *file = NULL;
        sp_status status = SP_OK;

        put_file("a.h5", bytes, cut);
        status = sp_image_file_open("a.h5", &file);
        if (status == SP_OK) {
            status = sp_image_file_read(file, 0, N, intensity);
        }
        sp_image_file_close(file);
        assert_refused(status, SP_ERR_INPUT, "a.h5", cut < 8 ? "not an HDF5" : "");
    }
}

static void selected_images_are_counted_and_read_as_if_they_were_all(void **state)
{
    (void)state;
    const ptrdiff_t list[] = {2, 0};
    float intensity[N * PIXELS], got[2 * PIXELS];
    sp_h5 *h5 = create("a.h5");
    sp_image_file *file = NULL;

    make_intensities(intensity);
    put_positions(h5);
    put_intensities(h5);
    commit(h5);
    file = open_images();
    assert_int_equal(sp_image_file_select(file, 2, list), SP_OK);
    assert_int_equal(sp_image_file_count(file), 2);
    assert_int_equal(sp_image_file_number(file, 0), 2);
    assert_int_equal(sp_image_file_read(file, 0, 2, got), SP_OK);
    assert_memory_equal(got, intensity + (ptrdiff_t)2 * PIXELS, PIXELS * sizeof *got);
    assert_memory_equal(got + PIXELS, intensity, PIXELS * sizeof *got);
    assert_refused(sp_image_file_read(file, 1, 2, got), SP_ERR_USAGE, "images 1 .. 2", "2 are selected");
    assert_int_equal(sp_image_file_select(file, 0, NULL), SP_OK);
    assert_int_equal(sp_image_file_count(file), N);
    assert_int_equal(sp_image_file_number(file, 1), 1);
    sp_image_file_close(file);
}

static void an_image_that_is_not_there_cannot_be_selected(void **state)
{
    (void)state;
    const ptrdiff_t list[] = {1, N};
    sp_h5 *h5 = create("a.h5");
    sp_image_file *file = NULL;

    put_positions(h5);
    put_intensities(h5);
    commit(h5);
    file = open_images();
    assert_refused(sp_image_file_select(file, 2, list), SP_ERR_USAGE, "no image 3", "only 3");
    assert_int_equal(sp_image_file_count(file), N);
    sp_image_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(written_images_come_back),
        scratch_test(notes_and_truth_lie_where_skopi_puts_them),
        scratch_test(a_writer_given_up_leaves_nothing),
        scratch_test(wavelength_is_recovered_from_the_positions),
        scratch_test(wavelength_survives_single_precision),
        scratch_test(flat_positions_have_no_wavelength),
        scratch_test(positions_are_read_with_the_axis_first),
        scratch_test(the_panel_axis_may_be_missing),
        scratch_test(foreign_layouts_are_read),
        scratch_test(bad_pixels_may_hold_anything),
        scratch_test(unusable_intensities_are_refused_with_their_place),
        scratch_test(files_without_images_are_refused_by_name),
        scratch_test(wrong_ranks_and_empty_files_are_refused),
        scratch_test(absurd_sizes_are_refused_before_memory_is_asked_for),
        scratch_test(intensities_that_are_not_numbers_are_refused),
        scratch_test(an_unknown_compression_is_refused_with_a_cure),
        scratch_test(unusable_positions_are_refused),
        scratch_test(unusable_corrections_are_refused),
        scratch_test(unusable_masks_and_indices_are_refused),
        scratch_test(truncated_files_are_refused),
        scratch_test(selected_images_are_counted_and_read_as_if_they_were_all),
        scratch_test(an_image_that_is_not_there_cannot_be_selected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
