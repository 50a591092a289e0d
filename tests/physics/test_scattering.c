/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "physics/scattering.h"
#include "testing.h"

static void forward_scattering_counts_the_electrons(void **state)
{
    (void)state;
    for (int z = 1; z <= SP_SCATTERING_ELEMENTS; z++) {
        assert_true(fabs(sp_scattering_factor(z, 0.0) - z) < 1e-3 * z);
    }
}

static void hydrogen_follows_its_exact_wave_function(void **state)
{
    (void)state;
    const double bohr = 0.529177e-10; /* [m] */

    /* 1s orbital: f = (1 + (pi a0 s)^2)^-2 */
    for (double s = 0.0; s < 2e10; s += 0.1e10) {
        const double exact = pow(1.0 + pow(M_PI * bohr * s, 2.0), -2.0);

        assert_true(fabs(sp_scattering_factor(1, s) - exact) < 2e-3);
    }
}

/* Another fit to other calculations: D. Cromer, J. Mann, International Tables for Crystallography C (1992), table
 * 6.1.1.4, at sin(theta)/lambda = 0.1, 0.2, 0.5 and 1.0 per Angstrom. */
static void heavier_atoms_agree_with_the_international_tables(void **state)
{
    (void)state;
    static const struct {
        int z;
        double f[4];
    } known[] = {
        {6, {5.108, 3.560, 1.686, 1.115}},      {7, {6.186, 4.560, 1.940, 1.266}},
        {8, {7.246, 5.623, 2.337, 1.377}},      {16, {14.177, 11.109, 7.021, 3.574}},
        {26, {23.683, 20.045, 11.506, 6.549}},  {30, {27.940, 24.271, 14.551, 7.410}},
        {79, {75.180, 67.261, 46.907, 28.518}},
    };
    static const double x[4] = {0.1e10, 0.2e10, 0.5e10, 1.0e10};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        for (int k = 0; k < 4; k++) {
            assert_true(fabs(sp_scattering_factor(known[i].z, 2.0 * x[k]) - known[i].f[k]) < 0.016);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_scattering_counts_the_electrons),
        cmocka_unit_test(hydrogen_follows_its_exact_wave_function),
        cmocka_unit_test(heavier_atoms_agree_with_the_international_tables),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
