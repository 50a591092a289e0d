/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/memory.h"
#include "io/h5.h"
#include "io/truth.h"
#include "scratch.h"

/* A file with these orientations; conformations if there are any. */
static void put_truth(int rank, const ptrdiff_t *shape, const double *q, const int32_t *structure)
{
    sp_h5 *file = NULL;

    assert_int_equal(sp_h5_create("a.h5", &file), SP_OK);
    assert_int_equal(sp_h5_write_double(file, "orientations", rank, shape, q), SP_OK);
    if (structure) {
        assert_int_equal(sp_h5_write_int32(file, "conformations", 1, shape, structure), SP_OK);
    }
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
}

static void orientations_come_in_two_shapes(void **state)
{
    (void)state;
    const double q[] = {1.0, 0.0, 0.0, 0.0, 0.6001, 0.0, 0.8, 0.0}; /* the second is slightly too long */
    const ptrdiff_t shapes[2][3] = {{2, 1, 4}, {2, 4}};

    for (int i = 0; i < 2; i++) {
        ptrdiff_t count = 0;
        double *got = NULL;
        int32_t *structure = NULL;

        put_truth(3 - i, shapes[i], q, NULL);
        assert_int_equal(sp_truth_read("a.h5", &count, &got, &structure), SP_OK);
        assert_int_equal(count, 2);
        assert_memory_equal(got, q, 4 * sizeof *q);
        assert_true(fabs(hypot(got[4], got[6]) - 1.0) < 1e-15 && fabs(got[4] - 0.6001) < 1e-4);
        assert_true(structure[0] == 0 && structure[1] == 0);
        sp_array_free(got);
        sp_array_free(structure);
    }
}

static void structures_are_optional_for_file_and_caller(void **state)
{
    (void)state;
    const double q[] = {1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0};
    const ptrdiff_t shape[] = {2, 4};
    const int32_t structure[] = {3, 0};
    ptrdiff_t count = 0;
    double *got = NULL;
    int32_t *which = NULL;

    put_truth(2, shape, q, structure);
    assert_int_equal(sp_truth_read("a.h5", &count, &got, &which), SP_OK);
    assert_memory_equal(which, structure, sizeof structure);
    sp_array_free(got);
    sp_array_free(which);
    assert_int_equal(sp_truth_read("a.h5", &count, &got, NULL), SP_OK);
    sp_array_free(got);
}

static void what_is_no_truth_is_refused_by_name(void **state)
{
    (void)state;
    const double q[] = {1.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.8, 0.0}, bad[] = {1.0, 0.0, NAN, 0.0};
    const ptrdiff_t shape[] = {2, 4}, one[] = {1, 4}, wrong[] = {4, 2}, none[] = {0, 4};
    const int32_t structure[] = {-1};
    ptrdiff_t count = 0;
    double *got = NULL;
    sp_h5 *file = NULL;

    assert_refused(sp_truth_read("a.h5", &count, &got, NULL), SP_ERR_INPUT, "a.h5", "No such file");
    assert_int_equal(sp_h5_create("a.h5", &file), SP_OK);
    assert_int_equal(sp_h5_commit_take(file), SP_OK);
    assert_refused(sp_truth_read("a.h5", &count, &got, NULL), SP_ERR_INPUT, "a.h5", "no dataset `orientations`");
    put_truth(2, shape, q, NULL);
    assert_refused(sp_truth_read("a.h5", &count, &got, NULL), SP_ERR_INPUT, "image 1", "length 0.943");
    put_truth(2, one, bad, NULL);
    assert_refused(sp_truth_read("a.h5", &count, &got, NULL), SP_ERR_INPUT, "image 0", "nan");
    put_truth(2, wrong, q, NULL);
    assert_refused(sp_truth_read("a.h5", &count, &got, NULL), SP_ERR_INPUT, "a.h5", "[images][4]");
    put_truth(2, none, q, NULL);
    assert_refused(sp_truth_read("a.h5", &count, &got, NULL), SP_ERR_INPUT, "a.h5", "empty");
    put_truth(2, one, q, structure);
    assert_refused(sp_truth_read("a.h5", &count, &got, NULL), SP_ERR_INPUT, "`conformations`", "-1");
    assert_null(got);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(orientations_come_in_two_shapes),
        scratch_test(structures_are_optional_for_file_and_caller),
        scratch_test(what_is_no_truth_is_refused_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
