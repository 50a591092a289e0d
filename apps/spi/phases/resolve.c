/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/resolve.h"

#include <assert.h>
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

/* Sums over the frequencies of one length. */
typedef struct moments {
    double count, a, b; /* real parts: imaginary ones cancel, as F(-k) = conj F(k) */
    double aa, bb, ab;
} moments;

/* of  [3 (n/2)^2 + 1] by |k|^2. A map whose middle is in voxel n/2 has (-1)^(h + k + l) on its transform, n even. */
static void add_moments(ptrdiff_t n, const float complex *a, const float complex *b, moments *of)
{
    const ptrdiff_t half = n / 2 + 1;

    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            const ptrdiff_t h = x < half ? x : x - n, k = y < half ? y : y - n, row = (x * n + y) * half;

            for (ptrdiff_t z = 0; z < half; z++) {
                const double sign = (x + y + z) % 2 == 0 ? 1.0 : -1.0;
                const double copies = z == 0 || 2 * z == n ? 1.0 : 2.0; /* the other half is the mirror image */
                const double complex p = a[row + z], q = b[row + z];
                moments *m = &of[h * h + k * k + z * z];

                m->count += copies;
                m->a += copies * sign * creal(p);
                m->b += copies * sign * creal(q);
                m->aa += copies * (creal(p) * creal(p) + cimag(p) * cimag(p));
                m->bb += copies * (creal(q) * creal(q) + cimag(q) * cimag(q));
                m->ab += copies * (creal(p) * creal(q) + cimag(p) * cimag(q));
            }
        }
    }
}

/* Scatter of the lengths that belong to each shell. */
static void correlate_shells(ptrdiff_t n, const moments *of, double *fsc)
{
    static const double rounding = 1e-9; /* share of the power that single precision leaves of a ball */
    ptrdiff_t square = 0;

    for (ptrdiff_t shell = 0; shell < sp_radial_shells(n); shell++) {
        double aa = 0.0, bb = 0.0, ab = 0.0, power_a = 0.0, power_b = 0.0;

        for (; square <= shell * (shell + 1); square++) { /* round(|k|) = shell */
            const moments *m = &of[square];

            if (m->count > 0.0) {
                aa += m->aa - m->a * m->a / m->count;
                bb += m->bb - m->b * m->b / m->count;
                ab += m->ab - m->a * m->b / m->count;
                power_a += m->aa;
                power_b += m->bb;
            }
        }
        fsc[shell] = aa > rounding * power_a && bb > rounding * power_b
                         ? fmax(-1.0, fmin(1.0, ab / (sqrt(aa) * sqrt(bb))))
                         : 0.0;
    }
}

sp_status sp_fsc_shapes(const sp_fft *plan, const float *a, const float *b, double *fsc)
{
    const ptrdiff_t n = sp_fft_edge(plan);
    float complex *fa = NULL, *fb = NULL;
    moments *of = NULL;
    sp_status status = SP_OK;

    assert(n % 2 == 0);
    SP_TRY(SP_ARRAY(fa, sp_fft_complex_count(plan)));
    SP_TRY(SP_ARRAY(fb, sp_fft_complex_count(plan)));
    SP_TRY(SP_ARRAY(of, 3 * (n / 2) * (n / 2) + 1));
    sp_fft_forward(plan, a, fa);
    sp_fft_forward(plan, b, fb);
    add_moments(n, fa, fb, of);
    correlate_shells(n, of, fsc);
done:
    sp_array_free(of);
    sp_array_free(fb);
    sp_array_free(fa);
    return status;
}

/* stride  of the thresholds: 0 for one that is the same for all shells */
static sp_resolution first_crossing(const double *fsc, const double *threshold, ptrdiff_t stride, ptrdiff_t shells,
                                    double step)
{
    double before = 1.0 - threshold[0]; /* at s = 0 the curve is 1: every map has its own mean */

    for (ptrdiff_t k = 1; k < shells; k++) {
        const double above = fsc[k] - threshold[k * stride];

        if (above < 0.0) {
            return (sp_resolution){.s = ((double)(k - 1) + before / (before - above)) * step, .crossed = true};
        }
        before = above;
    }
    return (sp_resolution){.s = (double)(shells - 1) * step, .crossed = false};
}

sp_resolution sp_fsc_resolution(const double *fsc, ptrdiff_t shells, double step, double threshold)
{
    return first_crossing(fsc, &threshold, 0, shells, step);
}

sp_resolution sp_fsc_resolution_along(const double *fsc, const double *threshold, ptrdiff_t shells, double step)
{
    return first_crossing(fsc, threshold, 1, shells, step);
}

void sp_fsc_half_bit(ptrdiff_t shells, double filling, double *threshold)
{
    static const double snr = 0.5 * (M_SQRT2 - 1.0); /* of a half map: log2(1 + 2 snr) = 1/2 */
    const double share = 1.5 * fmin(filling, 2.0 / 3.0);

    threshold[0] = 1.0;
    for (ptrdiff_t k = 1; k < shells; k++) {
        const double voxels = 4.0 * M_PI * (double)(k * k) + M_PI / 3.0;
        const double root = sqrt(0.5 * voxels) * share, cross = 2.0 * sqrt(snr) / root;

        threshold[k] = (snr + cross + 1.0 / root) / (snr + cross + 1.0);
    }
}
