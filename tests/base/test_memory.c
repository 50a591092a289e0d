/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/memory.h"

#include "testing.h"

static void arrays_are_zeroed_and_aligned(void **state)
{
    (void)state;
    for (ptrdiff_t count = 0; count < 200; count += 7) {
        double *values = NULL;

        assert_int_equal(SP_ARRAY(values, count), SP_OK);
        assert_non_null(values); /* an empty array is one too */
        assert_int_equal((uintptr_t)values % SP_ALIGNMENT, 0);
        for (ptrdiff_t i = 0; i < count; i++) {
            assert_true(values[i] == 0.0);
            values[i] = 1.0; /* dirty what the next array may get */
        }
        sp_array_free(values);
    }
}

static void impossible_sizes_are_refused_by_name_and_leave_the_pointer(void **state)
{
    (void)state;
    const ptrdiff_t counts[] = {-1, PTRDIFF_MAX, PTRDIFF_MAX / 4};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        double mark = 0.0, *spectrum = &mark;

        assert_int_equal(SP_ARRAY(spectrum, counts[i]), SP_ERR_MEMORY);
        assert_ptr_equal(spectrum, &mark);
        assert_non_null(strstr(sp_error_text(), "spectrum"));
    }
}

static void freeing_nothing_is_fine(void **state)
{
    (void)state;
    sp_array_free(NULL);
}

static void available_memory_is_plausible(void **state)
{
    (void)state;
    const size_t available = sp_memory_available();

    assert_true(available == 0 || (available > 1 << 20 && available < (size_t)1 << 50));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrays_are_zeroed_and_aligned),
        cmocka_unit_test(impossible_sizes_are_refused_by_name_and_leave_the_pointer),
        cmocka_unit_test(freeing_nothing_is_fine),
        cmocka_unit_test(available_memory_is_plausible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
