/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/resolve.h"

#include <math.h>

#include "base/memory.h"
#include "num/radial.h"

/* Powers and cross terms are means over the same voxels, so their ratio is that of the sums. */
void sp_fsc_transforms(ptrdiff_t n, const float complex *a, const float complex *b, double *fsc)
{
    enum { MAX_SHELLS = 1025 }; /* num/fft.h: n <= 2048 */
    double power_a[MAX_SHELLS], power_b[MAX_SHELLS];

    sp_radial_cross(n, a, a, power_a);
    sp_radial_cross(n, b, b, power_b);
    sp_radial_cross(n, a, b, fsc);
    for (ptrdiff_t k = 0; k < sp_radial_shells(n); k++) {
        const double scale = sqrt(power_a[k]) * sqrt(power_b[k]); /* two roots: the product may underflow */

        fsc[k] = scale > 0.0 ? fmax(-1.0, fmin(1.0, fsc[k] / scale)) : 0.0;
    }
}

sp_status sp_fsc_maps(const sp_fft *plan, const float *a, const float *b, double *fsc)
{
    sp_status status = SP_OK;
    float complex *fa = NULL, *fb = NULL;

    SP_TRY(SP_ARRAY(fa, sp_fft_complex_count(plan)));
    SP_TRY(SP_ARRAY(fb, sp_fft_complex_count(plan)));
    sp_fft_forward(plan, a, fa);
    sp_fft_forward(plan, b, fb);
    sp_fsc_transforms(sp_fft_edge(plan), fa, fb, fsc);
done:
    sp_array_free(fb);
    sp_array_free(fa);
    return status;
}

sp_resolution sp_fsc_resolution(const double *fsc, ptrdiff_t shells, double step, double threshold)
{
    double before = 1.0; /* at s = 0: every map has its own mean */

    for (ptrdiff_t k = 1; k < shells; k++) {
        if (fsc[k] < threshold) {
            const double part = (before - threshold) / (before - fsc[k]);

            return (sp_resolution){.s = ((double)(k - 1) + part) * step, .crossed = true};
        }
        before = fsc[k];
    }
    return (sp_resolution){.s = (double)(shells - 1) * step, .crossed = false};
}
