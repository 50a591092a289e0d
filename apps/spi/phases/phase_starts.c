/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/phase_starts.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "phases/phase_plan.h"

static const double AS_GOOD = 1.25; /* residual of a start that enters the mean, of the winner's */

struct sp_phase_sums {
    float complex *winner; /* [half_count] its transform */
    float complex *half;   /* [half_count] of the start at hand */
    float complex *total;  /* [half_count] sum of F over the starts */
    float *length;         /* [half_count] sum of |F| */
    double *plane;         /* [3 edge] sums over planes or shells */
};

/* ---- the winner ---- */

static int find_winner(const sp_phase_outcome *outcome, int starts)
{
    int best = -1;

    for (int pass = 0; pass < 2 && best < 0; pass++) { /* those that are not dropped, else all */
        for (int i = 0; i < starts; i++) {
            if ((pass == 1 || !outcome[i].dropped) && (best < 0 || outcome[i].residual < outcome[best].residual)) {
                best = i;
            }
        }
    }
    return best;
}

sp_phase_result sp_phase_choose(const sp_phase_outcome *outcome, int starts)
{
    sp_phase_result result = {.winner = find_winner(outcome, starts)};
    double sum = 0.0, square = 0.0;

    for (int i = 0; i < starts; i++) {
        sum += outcome[i].residual / starts;
        square += outcome[i].residual * outcome[i].residual / starts;
        result.dropped += outcome[i].dropped;
    }
    result.residual = outcome[result.winner].residual;
    result.volume = outcome[result.winner].volume;
    result.spread = sqrt(fmax(square - sum * sum, 0.0));
    return result;
}

/* ---- the mean ---- */

sp_status sp_phase_sums_new(const sp_phase_plan *plan, sp_phase_sums **sums)
{
    sp_status status = SP_OK;
    sp_phase_sums *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    SP_TRY(SP_ARRAY(self->winner, plan->half_count));
    SP_TRY(SP_ARRAY(self->half, plan->half_count));
    SP_TRY(SP_ARRAY(self->total, plan->half_count));
    SP_TRY(SP_ARRAY(self->length, plan->half_count));
    SP_TRY(SP_ARRAY(self->plane, 3 * plan->edge));
    *sums = self;
    self = NULL;
done:
    sp_phase_sums_free(self);
    return status;
}

void sp_phase_sums_free(sp_phase_sums *sums)
{
    if (!sums) {
        return;
    }
    sp_array_free(sums->winner);
    sp_array_free(sums->half);
    sp_array_free(sums->total);
    sp_array_free(sums->length);
    sp_array_free(sums->plane);
    sp_array_free(sums);
}

double sp_phase_sums_bytes(ptrdiff_t edge)
{
    const double n = (double)edge;

    return (3 * sizeof(float complex) + sizeof(float)) * n * n * (0.5 * n + 1.0);
}

/* Offset of the top of a parabola through three values, -0.5 .. 0.5. */
static double parabola_top(double left, double middle, double right)
{
    const double curvature = left - 2.0 * middle + right;

    return curvature < 0.0 ? 0.5 * (left - right) / curvature : 0.0;
}

/* Place [voxel] and height of the highest value of a periodic volume. */
static double find_peak(const float *volume, ptrdiff_t n, double place[3])
{
    const ptrdiff_t stride[3] = {n * n, n, 1};
    ptrdiff_t top = 0;

    for (ptrdiff_t i = 1; i < n * n * n; i++) {
        top = volume[i] > volume[top] ? i : top;
    }
    for (int axis = 0; axis < 3; axis++) {
        const ptrdiff_t at = top / stride[axis] % n, base = top - at * stride[axis];
        const double left = volume[base + (at + n - 1) % n * stride[axis]];
        const double right = volume[base + (at + 1) % n * stride[axis]];

        place[axis] = (double)at + parabola_top(left, volume[top], right);
    }
    return volume[top];
}

/* Peak of the cross correlation of a start, as it is or inverted, with the winner.
 *   volume  scratch [edge^3] */
static double correlate(const sp_phase_plan *plan, sp_phase_sums *sums, const float *start, bool inverted,
                        float *volume, double place[3])
{
    sp_fft_forward(plan->fft, start, sums->half);
    for (ptrdiff_t i = 0; i < plan->half_count; i++) {
        sums->half[i] = sums->winner[i] * (inverted ? sums->half[i] : conjf(sums->half[i]));
    }
    sp_fft_backward(plan->fft, sums->half, volume);
    return find_peak(volume, plan->edge, place);
}

/* Adds a start, laid upon the winner, to the sums.
 *   volume  scratch [edge^3] */
static void add_start(const sp_phase_plan *plan, sp_phase_sums *sums, const float *start, float *volume)
{
    const ptrdiff_t n = plan->edge;
    double upright[3], turned[3];
    const double a = correlate(plan, sums, start, false, volume, upright);
    const bool inverted = correlate(plan, sums, start, true, volume, turned) > a;
    const double *shift = inverted ? turned : upright;

    sp_fft_forward(plan->fft, start, sums->half);
    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            for (ptrdiff_t z = 0; z <= n / 2; z++) {
                const ptrdiff_t i = (x * n + y) * (n / 2 + 1) + z;
                const double turns = ((double)sp_phase_signed(x, n) * shift[0] +
                                      (double)sp_phase_signed(y, n) * shift[1] + (double)z * shift[2]) /
                                     (double)n;
                const float complex f = inverted ? conjf(sums->half[i]) : sums->half[i];

                sums->total[i] += f * (float complex)cexp(-2.0 * M_PI * I * turns);
                sums->length[i] += cabsf(f);
            }
        }
    }
}

/* prtf = |total| / length, summed over shells */
static void compare_lengths(const sp_phase_plan *plan, sp_phase_sums *sums, double *prtf)
{
    const ptrdiff_t shells = plan->edge / 2 + 1;
    double *length = sums->plane;

    for (ptrdiff_t k = 0; k < shells; k++) {
        prtf[k] = length[k] = 0.0;
    }
    for (ptrdiff_t i = 0; i < plan->half_count; i++) {
        const ptrdiff_t k = lroundf(sqrtf(plan->square[i]));

        if (k < shells) {
            prtf[k] += cabsf(sums->total[i]);
            length[k] += sums->length[i];
        }
    }
    for (ptrdiff_t k = 0; k < shells; k++) {
        prtf[k] = length[k] > 0.0 ? prtf[k] / length[k] : 0.0;
    }
}

int sp_phase_mean(const sp_phase_plan *plan, const float *const *start, const sp_phase_outcome *outcome, int starts,
                  sp_phase_sums *sums, float *density, double *prtf)
{
    const sp_phase_result chosen = sp_phase_choose(outcome, starts);
    int entered = 0;

    memset(sums->total, 0, (size_t)plan->half_count * sizeof *sums->total);
    memset(sums->length, 0, (size_t)plan->half_count * sizeof *sums->length);
    sp_fft_forward(plan->fft, start[chosen.winner], sums->winner);
    for (int i = 0; i < starts; i++) {
        if (i == chosen.winner || (!outcome[i].dropped && outcome[i].residual <= AS_GOOD * chosen.residual)) {
            add_start(plan, sums, start[i], density);
            entered++;
        }
    }
    compare_lengths(plan, sums, prtf);
    for (ptrdiff_t i = 0; i < plan->half_count; i++) {
        sums->total[i] /= (float)entered * (float)plan->cube;
    }
    sp_fft_backward(plan->fft, sums->total, density);
    sp_phase_recentre(plan, density, (float *)sums->half, sums->plane);
    return entered;
}
