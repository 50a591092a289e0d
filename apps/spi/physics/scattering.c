/* SPDX-License-Identifier: BSD-3-Clause */
#include "physics/scattering.h"

#include <assert.h>
#include <math.h>

static const struct {
    double a[5], c, b[5]; /* [electrons], [electrons], [Angstrom^2] */
} table[] = {
#include "physics/scattering_table.inc"
};

_Static_assert(sizeof table / sizeof *table == SP_SCATTERING_ELEMENTS, "one row per element");

double sp_scattering_factor(int element, double s)
{
    assert(element >= 1 && element <= SP_SCATTERING_ELEMENTS);
    const double x = 0.5 * s * 1e-10; /* [1/Angstrom], the unit of the table */
    double f = table[element - 1].c;

    for (int i = 0; i < 5; i++) {
        f += table[element - 1].a[i] * exp(-table[element - 1].b[i] * x * x);
    }
    return f;
}
