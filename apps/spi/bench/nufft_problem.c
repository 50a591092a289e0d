/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/nufft_problem.h"

#include <math.h>

#include "base/memory.h"
#include "bench/rows.h"
#include "num/statistics.h"

enum {
    EDGE = SP_PROBLEM_EDGE,
    POINTS = SP_PROBLEM_POINTS,
    PLACES = SP_PROBLEM_PLACES,
    STRIDE = 31, /* pixels between the points, prime to the edge of a slice */
    SHELLS = 8,
};

/* Voxels in the ball that an autocorrelation fills. Not its centre: there all points add up, which would hide the
 * errors of all others. */
static void choose_places(sp_problem *p)
{
    for (ptrdiff_t i = 0, r = 1; i < PLACES; r++) {
        const ptrdiff_t at[3] = {r * 7 % EDGE - EDGE / 2, r * 29 % EDGE - EDGE / 2, r * 47 % EDGE - EDGE / 2};
        const bool inside = 4 * (at[0] * at[0] + at[1] * at[1] + at[2] * at[2]) < EDGE * EDGE;

        for (int axis = 0; axis < 3; axis++) {
            p->place[i][axis] = at[axis];
        }
        i += inside;
    }
}

static void make_angles(sp_problem *p)
{
    for (ptrdiff_t i = 0; i < p->slices.count * SP_SLICE_PIXELS; i++) {
        double k[3];

        sp_slices_point(&p->slices, i / SP_SLICE_PIXELS, i % SP_SLICE_PIXELS, k);
        for (int axis = 0; axis < 3; axis++) {
            p->angle[axis][i] = (float)(2.0 * M_PI * k[axis] / EDGE);
        }
    }
}

sp_status sp_problem_init(ptrdiff_t slices, sp_problem *problem)
{
    const ptrdiff_t points = slices * SP_SLICE_PIXELS;
    sp_status status = SP_OK;

    *problem = (sp_problem){0};
    SP_TRY(sp_slices_init(EDGE, slices, &problem->slices));
    SP_TRY(sp_specimen_autocorrelation(EDGE, &problem->volume));
    SP_TRY(SP_ARRAY(problem->value, points));
    SP_TRY(SP_ARRAY(problem->weight, points));
    SP_TRY(SP_ARRAY(problem->truth, POINTS));
    SP_TRY(SP_ARRAY(problem->place, PLACES));
    for (int i = 0; i < 2; i++) {
        SP_TRY(SP_ARRAY(problem->truth1[i], PLACES));
        SP_TRY(SP_ARRAY(problem->half[i], points));
    }
    for (int i = 0; i < 3; i++) {
        SP_TRY(SP_ARRAY(problem->angle[i], points));
    }
    SP_TRY(SP_ARRAY(problem->modes, EDGE * EDGE * EDGE));
    sp_slices_direct_type2(&problem->slices, problem->volume, STRIDE, POINTS, problem->truth);
    choose_places(problem);
    make_angles(problem);
    for (ptrdiff_t i = 0; i < EDGE * EDGE * EDGE; i++) {
        problem->modes[i] = problem->volume[i];
    }
done:
    if (status != SP_OK) {
        sp_problem_clear(problem);
    }
    return status;
}

void sp_problem_clear(sp_problem *problem)
{
    sp_slices_clear(&problem->slices);
    sp_array_free(problem->volume);
    sp_array_free(problem->value);
    sp_array_free(problem->weight);
    sp_array_free(problem->truth);
    sp_array_free(problem->place);
    for (int i = 0; i < 2; i++) {
        sp_array_free(problem->truth1[i]);
        sp_array_free(problem->half[i]);
    }
    for (int i = 0; i < 3; i++) {
        sp_array_free(problem->angle[i]);
    }
    sp_array_free(problem->modes);
    *problem = (sp_problem){0};
}

void sp_problem_load_type1(sp_problem *problem)
{
    const ptrdiff_t(*place)[3] = (const ptrdiff_t(*)[3])problem->place;
    sp_slices few = problem->slices;

    for (ptrdiff_t i = 0; i < few.count * SP_SLICE_PIXELS; i++) {
        double square = 0.0; /* |s|^2, of the corner 1 */

        for (int axis = 0; axis < 3; axis++) {
            square += pow((double)few.s[axis][i % SP_SLICE_PIXELS] / (0.5 * EDGE), 2.0);
        }
        problem->weight[i] = (float)square;
        problem->value[i] *= (float)square;
    }
    few.count = SP_PROBLEM_SPREAD;
    sp_slices_direct_type1(&few, problem->value, PLACES, place, problem->truth1[0]);
    sp_slices_direct_type1(&few, problem->weight, PLACES, place, problem->truth1[1]);
}

void sp_problem_load_rival(sp_problem *problem, bool two_calls)
{
    for (ptrdiff_t i = 0; i < problem->slices.count * SP_SLICE_PIXELS; i++) {
        problem->half[0][i] = two_calls ? problem->value[i] : problem->value[i] + I * problem->weight[i];
        problem->half[1][i] = problem->weight[i];
    }
}

double sp_problem_error2(const sp_problem *problem, bool rival, double *local)
{
    double difference[SHELLS] = {0.0}, norm[SHELLS] = {0.0}, error[SHELLS], all = 0.0, all_norm = 0.0;

    for (ptrdiff_t i = 0; i < POINTS; i++) {
        const ptrdiff_t at = i * STRIDE, slice = at / SP_SLICE_PIXELS, pixel = at % SP_SLICE_PIXELS;
        const double got = rival ? crealf(problem->half[0][at]) : problem->value[at];
        double k[3];

        sp_slices_point(&problem->slices, slice, pixel, k);
        const double radius = sqrt(k[0] * k[0] + k[1] * k[1] + k[2] * k[2]) / (0.5 * EDGE);
        const int shell = (int)fmin(radius * SHELLS, SHELLS - 1);

        difference[shell] += pow(got - problem->truth[i], 2.0);
        norm[shell] += problem->truth[i] * problem->truth[i];
    }
    for (int shell = 0; shell < SHELLS; shell++) {
        error[shell] = norm[shell] > 0.0 ? sqrt(difference[shell] / norm[shell]) : 0.0;
        all += difference[shell];
        all_norm += norm[shell];
    }
    *local = sp_median(error, SHELLS);
    return isfinite(all) ? sqrt(all / all_norm) : INFINITY;
}

static ptrdiff_t voxel_of(const ptrdiff_t place[3], int sign)
{
    ptrdiff_t index = 0;

    for (int axis = 0; axis < 3; axis++) {
        index = index * EDGE + (sign * place[axis] + EDGE) % EDGE;
    }
    return index;
}

double sp_problem_error1(const sp_problem *problem, const float *volume, int which)
{
    float got[PLACES];

    for (int i = 0; i < PLACES; i++) {
        got[i] = volume[voxel_of(problem->place[i], 1)];
    }
    return sp_bench_error(got, problem->truth1[which], PLACES);
}

/* One call holds both: what is even under r -> -r of its real part and of its imaginary part. */
double sp_problem_error1_rival(const sp_problem *problem, bool two_calls)
{
    float data[PLACES], weights[PLACES];

    for (int i = 0; i < PLACES; i++) {
        const float complex here = problem->modes[voxel_of(problem->place[i], 1)];
        const float complex there = problem->modes[voxel_of(problem->place[i], -1)];

        data[i] = 0.5f * (crealf(here) + crealf(there));
        weights[i] = two_calls ? data[i] : 0.5f * (cimagf(here) + cimagf(there));
    }
    const double error = sp_bench_error(weights, problem->truth1[1], PLACES);

    return two_calls ? error : fmax(error, sp_bench_error(data, problem->truth1[0], PLACES));
}
