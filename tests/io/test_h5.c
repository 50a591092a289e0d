/* SPDX-License-Identifier: BSD-3-Clause */
#include <hdf5.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/memory.h"
#include "io/h5.h"
#include "scratch.h"

static sp_h5 *create(const char *path)
{
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create(path, &file), SP_OK);
    return file;
}

static sp_h5 *reopen(const char *path)
{
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_open(path, &file), SP_OK);
    return file;
}

static void numbers_of_every_type_come_back(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {2, 3};
    const float f[6] = {0.5F, -1.0F, 2.0F, 3.0F, 4.0F, 1e30F};
    const double d[6] = {0.1, 0.2, 0.3, 1e300, -5.0, 6.0};
    const int32_t i[6] = {INT32_MIN, INT32_MAX, 0, 1, -1, 7};
    const uint8_t b[6] = {0, 255, 1, 2, 3, 4};
    const uint64_t u[6] = {UINT64_MAX, 0, 1, 2, 3, 1ULL << 60};
    float f2[6];
    double d2[6], one = 0.0;
    int32_t i2[6];
    uint8_t b2[6];
    uint64_t u2[6];
    sp_h5 *file = create("a.h5");

    assert_int_equal(sp_h5_write_float(file, "f", 2, shape, f), SP_OK);
    assert_int_equal(sp_h5_write_double(file, "deep/group/d", 2, shape, d), SP_OK);
    assert_int_equal(sp_h5_write_int32(file, "i", 2, shape, i), SP_OK);
    assert_int_equal(sp_h5_write_uint8(file, "b", 2, shape, b), SP_OK);
    assert_int_equal(sp_h5_write_uint64(file, "u", 2, shape, u), SP_OK);
    assert_int_equal(sp_h5_write_double(file, "scalar", 0, NULL, &d[3]), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);

    file = reopen("a.h5");
    assert_int_equal(sp_h5_read_float(file, "f", 2, shape, f2), SP_OK);
    assert_int_equal(sp_h5_read_double(file, "deep/group/d", 2, shape, d2), SP_OK);
    assert_int_equal(sp_h5_read_int32(file, "i", 2, shape, i2), SP_OK);
    assert_int_equal(sp_h5_read_uint8(file, "b", 2, shape, b2), SP_OK);
    assert_int_equal(sp_h5_read_uint64(file, "u", 2, shape, u2), SP_OK);
    assert_int_equal(sp_h5_read_double(file, "scalar", 0, NULL, &one), SP_OK);
    sp_h5_close(file);
    assert_memory_equal(f, f2, sizeof f);
    assert_memory_equal(d, d2, sizeof d);
    assert_memory_equal(i, i2, sizeof i);
    assert_memory_equal(b, b2, sizeof b);
    assert_memory_equal(u, u2, sizeof u);
    assert_true(one == d[3]);
}

static void strings_and_attributes_come_back(void **state)
{
    (void)state;
    const double pi = 3.14159;
    const int64_t shape[] = {1, -2, 1LL << 40};
    double pi2 = 0.0;
    int64_t shape2[3];
    char *text = NULL;
    sp_h5 *file = create("a.h5");

    assert_int_equal(sp_h5_write_group(file, "result"), SP_OK);
    assert_int_equal(sp_h5_write_group(file, "result"), SP_OK);
    assert_int_equal(sp_h5_write_string(file, "config", "a = 1\nb = 2\n"), SP_OK);
    assert_int_equal(sp_h5_write_string(file, "nothing", ""), SP_OK);
    assert_int_equal(sp_h5_write_attribute_double(file, "/", "pi", 1, &pi), SP_OK);
    assert_int_equal(sp_h5_write_attribute_int(file, "result", "shape", 3, shape), SP_OK);
    assert_int_equal(sp_h5_write_attribute_string(file, "config", "units", "\xc3\x85"), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);

    file = reopen("a.h5");
    assert_true(sp_h5_exists(file, "result") && sp_h5_exists(file, "/") && sp_h5_exists(file, "/config"));
    assert_false(sp_h5_exists(file, "result/x/y") || sp_h5_exists(file, "x"));
    assert_int_equal(sp_h5_read_string(file, "config", &text), SP_OK);
    assert_string_equal(text, "a = 1\nb = 2\n");
    sp_array_free(text);
    assert_int_equal(sp_h5_read_string(file, "nothing", &text), SP_OK);
    assert_string_equal(text, "");
    sp_array_free(text);
    assert_int_equal(sp_h5_read_attribute_string(file, "config", "units", &text), SP_OK);
    assert_string_equal(text, "\xc3\x85");
    sp_array_free(text);
    assert_int_equal(sp_h5_read_attribute_double(file, "/", "pi", 1, &pi2), SP_OK);
    assert_true(pi2 == pi);
    assert_int_equal(sp_h5_read_attribute_int(file, "result", "shape", 3, shape2), SP_OK);
    assert_memory_equal(shape, shape2, sizeof shape);
    assert_refused(sp_h5_read_attribute_int(file, "result", "shape", 2, shape2), SP_ERR_INPUT, "a.h5", "`shape`");
    assert_refused(sp_h5_read_attribute_int(file, "result", "none", 1, shape2), SP_ERR_INPUT, "a.h5", "`none`");
    assert_refused(sp_h5_read_attribute_double(file, "config", "units", 1, &pi2), SP_ERR_INPUT, "a.h5", "string");
    assert_refused(sp_h5_read_string(file, "result", &text), SP_ERR_INPUT, "a.h5", "`result` is not");
    sp_h5_close(file);
}

/* Texts as other programs write them: of variable length, and padded with blanks. */
static void strings_of_other_programs_are_read(void **state)
{
    (void)state;
    const hid_t raw = H5Fcreate("a.h5", H5F_ACC_TRUNC, H5P_DEFAULT, H5P_DEFAULT);
    const hid_t variable = H5Tcopy(H5T_C_S1), padded = H5Tcopy(H5T_C_S1), space = H5Screate(H5S_SCALAR);
    const char *words = "many words";
    char *text = NULL;
    sp_h5 *file = NULL;
    hid_t dataset = 0;

    H5Tset_size(variable, H5T_VARIABLE);
    dataset = H5Dcreate2(raw, "variable", variable, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(dataset, variable, H5S_ALL, H5S_ALL, H5P_DEFAULT, &words) >= 0);
    H5Dclose(dataset);
    H5Tset_size(padded, 8);
    H5Tset_strpad(padded, H5T_STR_SPACEPAD);
    dataset = H5Dcreate2(raw, "padded", padded, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(H5Dwrite(dataset, padded, H5S_ALL, H5S_ALL, H5P_DEFAULT, "word    ") >= 0);
    H5Dclose(dataset);
    H5Sclose(space);
    H5Tclose(variable);
    H5Tclose(padded);
    H5Fclose(raw);

    file = reopen("a.h5");
    assert_int_equal(sp_h5_read_string(file, "variable", &text), SP_OK);
    assert_string_equal(text, "many words");
    sp_array_free(text);
    assert_int_equal(sp_h5_read_string(file, "padded", &text), SP_OK);
    assert_string_equal(text, "word");
    sp_array_free(text);
    sp_h5_close(file);
}

static void rows_are_written_and_read_in_parts(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {5, 1, 2};
    const float data[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    float back[10] = {0};
    sp_h5 *file = create("a.h5");

    assert_int_equal(sp_h5_create_float(file, "x", 3, shape), SP_OK);
    assert_int_equal(sp_h5_write_float_rows(file, "x", 3, 2, data + 6), SP_OK);
    assert_int_equal(sp_h5_write_float_rows(file, "x", 0, 2, data), SP_OK);
    assert_refused(sp_h5_write_float_rows(file, "x", 4, 2, data), SP_ERR_USAGE, "a.h5", "2 rows from row 4 on");
    assert_int_equal(sp_h5_commit_take(file), SP_OK);

    file = reopen("a.h5");
    assert_int_equal(sp_h5_read_float_rows(file, "x", 1, 3, back), SP_OK);
    assert_memory_equal(back, ((float[]){2, 3, 0, 0, 6, 7}), 6 * sizeof(float)); /* row 2 was never written */
    assert_refused(sp_h5_read_float_rows(file, "x", -1, 1, back), SP_ERR_USAGE, "a.h5", "row -1");
    assert_refused(sp_h5_read_float_rows(file, "x", PTRDIFF_MAX, 2, back), SP_ERR_USAGE, "a.h5", "it has 5");
    sp_h5_close(file);
}

static void wrong_shapes_and_types_are_refused_by_name(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {2, 1, 3}, squeezed[] = {2, 3}, swapped[] = {3, 2}, more[] = {2, 3, 2}, flat[] = {6};
    double d[12] = {0};
    int32_t i[12];
    sp_h5 *file = create("a.h5");

    assert_int_equal(sp_h5_write_double(file, "x", 3, shape, d), SP_OK);
    assert_refused(sp_h5_write_double(file, "x", 3, shape, d), SP_ERR_OUTPUT, "a.h5", "`x`");
    assert_int_equal(sp_h5_write_string(file, "s", "text"), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
    file = reopen("a.h5");
    assert_int_equal(sp_h5_read_double(file, "x", 2, squeezed, d), SP_OK);
    assert_refused(sp_h5_read_double(file, "x", 2, swapped, d), SP_ERR_INPUT, "a.h5: `x` has shape [2][1][3]",
                   "[3][2]");
    assert_refused(sp_h5_read_double(file, "x", 3, more, d), SP_ERR_INPUT, "`x`", "[2][3][2]");
    assert_refused(sp_h5_read_double(file, "x", 1, flat, d), SP_ERR_INPUT, "`x`", "[6]");
    assert_refused(sp_h5_read_double(file, "x", 0, NULL, d), SP_ERR_INPUT, "`x`", "scalar");
    assert_refused(sp_h5_read_int32(file, "x", 3, shape, i), SP_ERR_INPUT, "float64", "integers");
    assert_refused(sp_h5_read_double(file, "s", 0, NULL, d), SP_ERR_INPUT, "`s`", "string");
    assert_refused(sp_h5_read_double(file, "y", 3, shape, d), SP_ERR_INPUT, "a.h5", "no dataset `y`");
    assert_refused(sp_h5_write_double(file, "y", 3, shape, d), SP_ERR_USAGE, "a.h5", "opened for reading");
    sp_h5_close(file);
}

static sp_status list(void *context, const char *name, const sp_h5_info *info)
{
    char *text = context, shape[64];

    strcat(strcat(text, name), sp_h5_shape_text(info->rank, info->shape, sizeof shape, shape));
    strcat(strcat(text, info->type), " ");
    return strcmp(name, "stop") == 0 ? SP_ERR_INTERRUPT : SP_OK;
}

static void visit_names_every_dataset_in_order(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {2, 1};
    const float f[2] = {0};
    char text[256] = "";
    sp_h5 *file = create("a.h5");

    assert_int_equal(sp_h5_write_float(file, "z", 2, shape, f), SP_OK);
    assert_int_equal(sp_h5_write_uint8(file, "a/b", 0, NULL, (const uint8_t[]){1}), SP_OK);
    assert_int_equal(sp_h5_write_string(file, "c", "x"), SP_OK);
    assert_int_equal(sp_h5_visit(file, list, text), SP_OK);
    assert_string_equal(text, "a/bscalaruint8 cscalarstring z[2][1]float32 ");
    assert_int_equal(sp_h5_write_float(file, "stop", 2, shape, f), SP_OK);
    *text = '\0';
    assert_int_equal(sp_h5_visit(file, list, text), SP_ERR_INTERRUPT);
    assert_null(strchr(text, 'z'));
    sp_h5_close(file);
}

static void what_is_not_hdf5_is_refused_by_name(void **state)
{
    (void)state;
    sp_h5 *file = NULL;

    put_file("empty", "", 0);
    put_file("text", "intensities 1 2 3\n", 18);
    assert_refused(sp_h5_open("none", &file), SP_ERR_INPUT, "none", "No such file");
    assert_refused(sp_h5_open(".", &file), SP_ERR_INPUT, ".", "directory");
    assert_refused(sp_h5_open("empty", &file), SP_ERR_INPUT, "empty", "is empty");
    assert_refused(sp_h5_open("text", &file), SP_ERR_INPUT, "text", "not an HDF5 file");
    assert_refused(sp_h5_create("no/folder", &file), SP_ERR_OUTPUT, "no/folder", "No such file or directory");
    assert_null(file);
}

static void a_file_given_up_leaves_nothing_and_the_old_one(void **state)
{
    (void)state;
    sp_h5 *file = create("a.h5");
    char *text = NULL;

    assert_int_equal(sp_h5_write_string(file, "s", "old"), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
    file = create("a.h5");
    assert_int_equal(sp_h5_write_string(file, "s", "new"), SP_OK);
    assert_int_equal(access("a.h5.tmp", F_OK), 0);
    sp_h5_close(file);
    assert_int_not_equal(access("a.h5.tmp", F_OK), 0);
    file = reopen("a.h5");
    assert_int_equal(sp_h5_read_string(file, "s", &text), SP_OK);
    assert_string_equal(text, "old");
    sp_array_free(text);
    sp_h5_close(file);
}

static sp_status write_much(const char *path)
{
    enum { COUNT = 100000 };
    static const float data[COUNT];
    const ptrdiff_t shape[] = {COUNT};
    sp_status status = SP_OK;
    sp_h5 *file = NULL;

    SP_TRY(sp_h5_create(path, &file));
    SP_TRY(sp_h5_write_float(file, "x", 1, shape, data));
    status = sp_h5_commit_take(file);
    file = NULL;
done:
    sp_h5_close(file);
    return status;
}

/* A limit on the file size acts like a full disk. In a process of its own: the limit cannot be lifted
 * again, and HDF5 keeps some memory of a file that it could not finish. */
static int end_of_process_with_limit(rlim_t bytes)
{
    const struct rlimit limit = {bytes, bytes};
    const pid_t child = fork();
    int end = -1;

    if (child == 0) {
        signal(SIGXFSZ, SIG_IGN);
        if (setrlimit(RLIMIT_FSIZE, &limit) != 0 || write_much("a.h5") != SP_ERR_OUTPUT) {
            _exit(3);
        }
        _exit(strstr(sp_error_text(), "a.h5") && strstr(sp_error_text(), "File too large") ? 0 : 4);
    }
    assert_true(child > 0);
    assert_int_equal(waitpid(child, &end, 0), child);
    return end;
}

static void a_full_disk_is_reported_and_leaves_no_file(void **state)
{
    (void)state;
    const rlim_t limits[] = {0, 100, 3000, 100000, 400000};

    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        assert_int_equal(end_of_process_with_limit(limits[i]), 0);
        assert_int_not_equal(access("a.h5", F_OK), 0);
        assert_int_not_equal(access("a.h5.tmp", F_OK), 0);
    }
}

static void compressed_data_are_smaller_and_the_same(void **state)
{
    (void)state;
    enum { ROWS = 40, ROW = 10000 };
    const ptrdiff_t shape[] = {ROWS, ROW};
    float *data = NULL, *back = NULL;
    sp_h5 *file = create("a.h5");

    assert_int_equal(SP_ARRAY(data, ROWS * ROW), SP_OK);
    assert_int_equal(SP_ARRAY(back, ROWS * ROW), SP_OK);
    for (ptrdiff_t i = 0; i < ROWS * ROW; i++) {
        data[i] = (float)(i % 100);
    }
    sp_h5_compress(file, 4);
    assert_int_equal(sp_h5_write_float(file, "x", 2, shape, data), SP_OK);
    assert_int_equal(sp_h5_write_float(file, "scalar", 0, NULL, data), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
    assert_true(file_size("a.h5") < ROWS * ROW);
    file = reopen("a.h5");
    assert_int_equal(sp_h5_read_float(file, "x", 2, shape, back), SP_OK);
    assert_memory_equal(data, back, ROWS * ROW * sizeof *data);
    assert_int_equal(sp_h5_read_float_rows(file, "x", 30, 7, back), SP_OK);
    assert_memory_equal(data + 30 * ROW, back, 7 * ROW * sizeof *data);
    sp_h5_close(file);
    sp_array_free(data);
    sp_array_free(back);
}

static void equal_contents_are_equal_files(void **state)
{
    (void)state;
    const ptrdiff_t shape[] = {3};
    const double data[3] = {1, 2, 3};
    char bytes[2][8192];

    for (int i = 0; i < 2; i++) {
        sp_h5 *file = create("a.h5");

        assert_int_equal(sp_h5_write_double(file, "g/x", 1, shape, data), SP_OK);
        assert_int_equal(sp_h5_write_attribute_string(file, "g/x", "units", "m"), SP_OK);
        assert_int_equal(sp_h5_commit_take(file), SP_OK);
        memset(bytes[i], 0, sizeof bytes[i]);
        assert_true(get_file("a.h5", bytes[i], sizeof bytes[i]) > 0);
        sleep(i == 0); /* time stamps count seconds */
    }
    assert_memory_equal(bytes[0], bytes[1], sizeof bytes[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(numbers_of_every_type_come_back),
        scratch_test(strings_and_attributes_come_back),
        scratch_test(strings_of_other_programs_are_read),
        scratch_test(rows_are_written_and_read_in_parts),
        scratch_test(wrong_shapes_and_types_are_refused_by_name),
        scratch_test(visit_names_every_dataset_in_order),
        scratch_test(what_is_not_hdf5_is_refused_by_name),
        scratch_test(a_file_given_up_leaves_nothing_and_the_old_one),
        scratch_test(a_full_disk_is_reported_and_leaves_no_file),
        scratch_test(compressed_data_are_smaller_and_the_same),
        scratch_test(equal_contents_are_equal_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
