/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/photons.h"

#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "testing.h"

enum { BINS = 70000 };

/* Reads a row in pieces of so many bins and expects the counts. */
static void expect(const sp_photons *photons, ptrdiff_t row, const float *count, ptrdiff_t bins, ptrdiff_t piece)
{
    sp_photon_reader reader = sp_photons_open(photons, row);
    float *value = NULL;

    assert_int_equal(SP_ARRAY(value, piece), SP_OK);
    for (ptrdiff_t first = 0; first < bins; first += piece) {
        const ptrdiff_t left = bins - first, take = piece < left ? piece : left;

        sp_photons_read(&reader, take, 0.5f, value);
        for (ptrdiff_t i = 0; i < take; i++) {
            assert_true(value[i] == 0.5f * count[first + i]);
        }
    }
    sp_array_free(value);
}

static void round_trip(const float *count, ptrdiff_t bins)
{
    static const ptrdiff_t pieces[] = {1, 7, 16, 100, BINS};
    sp_photons *photons = NULL;

    assert_true(sp_photons_are_whole(count, bins));
    assert_int_equal(sp_photons_new(2, &photons), SP_OK);
    assert_int_equal(sp_photons_put(photons, 1, count, bins), SP_OK);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        expect(photons, 1, count, bins, pieces[i]);
    }
    sp_photons_free(photons);
}

/* Counts with mean `rate`; free with sp_array_free(). */
static float *counts(ptrdiff_t bins, double rate)
{
    sp_rng rng = sp_rng_stream(3, 8, (uint64_t)(1000.0 * rate));
    float *count = NULL;

    assert_int_equal(SP_ARRAY(count, bins), SP_OK);
    for (ptrdiff_t i = 0; i < bins; i++) {
        count[i] = (float)sp_rng_poisson(&rng, rate);
    }
    return count;
}

static void counts_come_back_at_any_brightness(void **state)
{
    (void)state;
    static const double rate[] = {0.0, 0.0001, 0.01, 0.3, 3.0, 120.0, 1000.0, 1e5};

    for (size_t i = 0; i < sizeof rate / sizeof *rate; i++) {
        float *count = counts(BINS, rate[i]);

        round_trip(count, BINS);
        sp_array_free(count);
    }
}

static void every_code_comes_back(void **state)
{
    (void)state;
    static const float special[] = {1, 127, 128, 255, 256, 65535, 65536, 0x1p24f, 0x1p31f + 0x1p20f};
    static const ptrdiff_t runs[] = {1, 2, 3, 123, 124, 125, 126, 255, 65534, 65535};
    float *count = NULL;

    assert_int_equal(SP_ARRAY(count, BINS), SP_OK);
    for (size_t r = 0; r < sizeof runs / sizeof *runs; r++) {
        memset(count, 0, BINS * sizeof *count);
        for (size_t k = 0; k < sizeof special / sizeof *special; k++) {
            const ptrdiff_t at = (ptrdiff_t)(k + 1) * (runs[r] + 1) - 1;

            if (at < BINS) {
                count[at] = special[k];
            }
        }
        round_trip(count, BINS);
        round_trip(count, runs[r]);
        round_trip(count, runs[r] + 1);
    }
    sp_array_free(count);
}

static void few_photons_take_few_bytes(void **state)
{
    (void)state;
    enum { ROWS = 4000, WIDTH = 12000 };
    float *dim = counts(WIDTH, 0.01), *lit = counts(WIDTH, 2.0);
    sp_photons *photons = NULL;

    assert_int_equal(sp_photons_new(2 * ROWS, &photons), SP_OK);
    for (ptrdiff_t n = 0; n < ROWS; n++) {
        assert_int_equal(sp_photons_put(photons, n, dim, WIDTH), SP_OK);
    }
    const double few = (double)sp_photons_bytes(photons) / ROWS;

    for (ptrdiff_t n = ROWS; n < 2 * ROWS; n++) {
        assert_int_equal(sp_photons_put(photons, n, lit, WIDTH), SP_OK);
    }
    const double many = (double)sp_photons_bytes(photons) / ROWS - few;

    assert_true(few < 3.0 * 0.01 * WIDTH + 200.0);
    assert_true(many < 1.05 * WIDTH);
    sp_photons_free(photons);
    sp_array_free(dim);
    sp_array_free(lit);
}

static void rows_may_come_from_several_threads(void **state)
{
    (void)state;
    enum { ROWS = 200, WIDTH = 20000 };
    sp_photons *photons = NULL;
    int failed = 0;

    assert_int_equal(sp_photons_new(ROWS, &photons), SP_OK);
#pragma omp parallel for schedule(dynamic, 1) reduction(+ : failed) num_threads(3)
    for (ptrdiff_t n = 0; n < ROWS; n++) {
        float row[WIDTH] = {0.0f};

        for (ptrdiff_t i = n; i < WIDTH; i += 7) {
            row[i] = (float)(i + n);
        }
        failed += sp_photons_put(photons, n, row, WIDTH) != SP_OK;
    }
    assert_int_equal(failed, 0);
    for (ptrdiff_t n = 0; n < ROWS; n++) {
        float row[WIDTH] = {0.0f};

        for (ptrdiff_t i = n; i < WIDTH; i += 7) {
            row[i] = (float)(i + n);
        }
        expect(photons, n, row, WIDTH, 333);
    }
    sp_photons_free(photons);
}

static void a_row_that_never_came_is_empty(void **state)
{
    (void)state;
    const float nothing[50] = {0.0f};
    sp_photons *photons = NULL;

    assert_int_equal(sp_photons_new(3, &photons), SP_OK);
    expect(photons, 2, nothing, 50, 20);
    sp_photons_free(photons);
}

static void what_is_no_count_is_told(void **state)
{
    (void)state;
    static const float wrong[] = {-1.0f, 0.5f, 8388607.5f, 0x1p32f, NAN, INFINITY, -INFINITY, 1e-30f};
    float value[3] = {1.0f, 0.0f, 2.0f};

    assert_true(sp_photons_are_whole(value, 3));
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        value[2] = wrong[i];
        assert_false(sp_photons_are_whole(value, 3));
        assert_true(sp_photons_are_whole(value, 2));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_come_back_at_any_brightness), cmocka_unit_test(every_code_comes_back),
        cmocka_unit_test(few_photons_take_few_bytes),         cmocka_unit_test(rows_may_come_from_several_threads),
        cmocka_unit_test(a_row_that_never_came_is_empty),     cmocka_unit_test(what_is_no_count_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
