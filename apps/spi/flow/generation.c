/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "flow/loop.h"
#include "num/statistics.h"
#include "num/sums.h"

enum { BATCH_SEED = 7919 }; /* between the phasing of batches */

static const double HOLE = 0.75; /* speckles: a larger hole in the middle of the images is left to the phasing */
static const double SETTLED = 3.0 * M_PI / 180.0;
static const double WORSE = 0.02;  /* loss of mean score that refuses a generation */
static const double JUMP = 2.0;    /* speckles: what turned farther went to another place ... */
static const double STAYED = 0.25; /* ... and is no measure of how well images lie, if so many stayed */
enum { ANNEALED = 15 };            /* generations until the likelihood counts in full */
static const double FIRST_ANNEALING = 0.1;

void sp_loop_lap(sp_loop *l, int phase)
{
    const double wall = sp_clock_wall(), cpu = sp_clock_cpu();

    l->now.wall[phase] += wall - l->wall;
    l->now.cpu[phase] += cpu - l->cpu;
    l->state->wall[phase] += wall - l->wall;
    l->state->cpu[phase] += cpu - l->cpu;
    l->wall = wall;
    l->cpu = cpu;
}

void sp_loop_make_filter(const sp_loop *l, int conformation, const double *shells, double *filter)
{
    const ptrdiff_t n = l->state->edge;
    const sp_patterns *p = &l->patterns;
    const double *profile = l->profile + conformation * p->shells;
    const double box = (double)n * l->state->voxel;

    for (ptrdiff_t k = 0; k < 2 * n; k++) {
        const double at = (double)k / box / p->shell_width - 0.5; /* in shells, from the middle of the first */
        const ptrdiff_t lower = at > 0.0 ? (ptrdiff_t)at : 0, upper = lower + 1 < p->shells ? lower + 1 : lower;
        const double share = at > 0.0 ? at - (double)lower : 0.0;
        const double wanted = lower < p->shells ? (1.0 - share) * profile[lower] + share * profile[upper] : 0.0;

        filter[k] = k < n && (double)k <= l->reach * box && shells[k] > 0.0 ? wanted / shells[k] : 0.0;
    }
}

double sp_loop_hidden_centre(const sp_loop *l)
{
    const double innermost = l->patterns.radius[0];

    return innermost * l->state->settings.diameter > HOLE ? innermost : 0.0;
}

sp_status sp_loop_merge_and_phase(sp_loop *l)
{
    sp_phase_result phased[SP_CONFORMATIONS];
    double residual[SP_CONFORMATIONS];
    sp_status status = SP_OK;

    SP_TRY(sp_crews_merge(l, residual));
    sp_loop_lap(l, SP_PHASE_MERGE);
    l->phasing.seed = l->state->settings.seed * 1000003u + (uint64_t)l->now.generation * 101u + (uint64_t)l->refused +
                      (uint64_t)l->batch * BATCH_SEED;
    SP_TRY(sp_crews_phase(l, phased));
    l->now.merge_residual = l->now.phasing_residual = l->now.support_volume = 0.0;
    for (int k = 0; k < l->conformations; k++) { /* of the worst */
        l->now.merge_residual = fmax(l->now.merge_residual, residual[k]);
        l->now.phasing_residual = fmax(l->now.phasing_residual, phased[k].residual);
        l->now.support_volume = fmax(l->now.support_volume, phased[k].volume * pow(l->state->voxel, 3.0));
    }
    SP_TRY(sp_crews_load_model(l));
    sp_loop_lap(l, SP_PHASE_PHASE);
done:
    return status;
}

double sp_loop_annealing(const sp_loop *l)
{
    const double rest = 1.0 - (double)(l->state->generations - l->first) / ANNEALED;

    return pow(FIRST_ANNEALING, fmax(rest, 0.0));
}

sp_status sp_loop_match(sp_loop *l)
{
    sp_status status = SP_OK;

    l->now.orientations = l->grid.count;
    l->now.refined = l->refining;
    SP_TRY(sp_crews_match(l));
done:
    return status;
}

/* How near two orientations are, one perhaps turned by half a turn about the beam: cos of half the angle. */
static double nearness(sp_quat a, sp_quat b)
{
    const sp_quat half_turn = {0.0, 0.0, 0.0, 1.0};

    return fmax(fabs(sp_quat_dot(a, b)), fabs(sp_quat_dot(sp_quat_multiply(half_turn, a), b)));
}

bool sp_loop_lies_still(const sp_loop *l, ptrdiff_t n)
{
    const double limit = l->refining ? SETTLED : 1.5 * l->grid.typical;

    return nearness(l->state->orientation[n], l->orientation[n]) > cos(0.5 * limit);
}

/* Median turn [rad] of those that did not jump; of all, if too few stayed.
 *   nearness  in, out  [used] */
static double stirring_of(const sp_loop *l, double *nearness, ptrdiff_t used)
{
    const double jump = cos(0.5 * JUMP * sp_loop_speckle(l));
    ptrdiff_t stayed = 0;

    for (ptrdiff_t i = 0; i < used; i++) {
        if (nearness[i] > jump) {
            nearness[stayed++] = nearness[i];
        }
    }
    if ((double)stayed < STAYED * (double)used) {
        return l->now.orientation_change;
    }
    return 2.0 * acos(fmin(sp_median(nearness, stayed), 1.0));
}

void sp_loop_measure_change(sp_loop *l)
{
    const ptrdiff_t images = l->state->images, cube = sp_loop_cube(l);
    ptrdiff_t settled = 0, used = 0;

    for (ptrdiff_t n = 0; n < images; n++) {
        if (l->state->scale[n] > 0.0f && !l->state->held_out[n] && !sp_loop_is_idle(l, n, l->state->label)) {
            l->nearness[used++] = nearness(l->state->orientation[n], l->orientation[n]);
            settled += sp_loop_lies_still(l, n) && l->label[n] == l->state->label[n];
        }
    }
    l->now.orientation_change = 2.0 * acos(fmin(sp_median(l->nearness, used), 1.0));
    l->now.settled = (double)settled / (double)used;
    l->stirring = stirring_of(l, l->nearness, used);
    l->now.density_change = 0.0;
    for (int k = 0; k < l->conformations; k++) { /* of the worst */
        if (sp_loop_rests(l, k)) {
            continue;
        }
        const float *model = l->model + k * cube, *last = l->last_model + k * cube;
        const double norm = sp_dot(model, model, cube) * sp_dot(last, last, cube);

        l->now.density_change =
            fmax(l->now.density_change, norm > 0.0 ? 1.0 - sp_dot(model, last, cube) / sqrt(norm) : 1.0);
    }
}

double sp_loop_mean_score(const sp_loop *l, bool held_out)
{
    double sum = 0.0;
    ptrdiff_t used = 0;

    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        if (l->state->scale[n] > 0.0f && l->state->held_out[n] == held_out && !sp_loop_is_idle(l, n, NULL)) {
            sum += l->score[n];
            used++;
        }
    }
    return used > 0 ? sum / (double)used : 0.0;
}

bool sp_loop_same_stage(const sp_loop *l, const sp_generation *h)
{
    return h->resolution == l->now.resolution && h->refined == l->now.refined;
}

double sp_loop_best_score(const sp_loop *l)
{
    double best = -1.0;

    for (int g = l->scored_from; g < l->state->generations; g++) {
        const sp_generation *h = &l->state->history[g];

        if (h->accepted && sp_loop_same_stage(l, h)) {
            best = fmax(best, h->score);
        }
    }
    return best;
}

void sp_loop_keep_scores(sp_loop *l)
{
    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        l->state->score[n] = l->state->scale[n] > 0.0f ? l->score[n] : NAN;
    }
}

/* The images stand where this generation has found them, in shares or each in one orientation. */
static void keep_shares(sp_loop *l)
{
    const size_t all = (size_t)(l->state->images * l->keep);

    l->points = sp_loop_divides(l) && !l->refining ? l->grid.count : 0;
    if (l->points > 0) {
        memcpy(l->point, l->grid.q, (size_t)l->points * sizeof *l->point);
        memcpy(l->placed, l->place, all * sizeof *l->placed);
        memcpy(l->shared, l->share, all * sizeof *l->shared);
    }
}

void sp_loop_accept(sp_loop *l)
{
    const ptrdiff_t images = l->state->images, all = l->conformations * sp_loop_cube(l);

    memcpy(l->state->density, l->density, (size_t)all * sizeof *l->density);
    memcpy(l->last_model, l->model, (size_t)all * sizeof *l->model);
    memcpy(l->state->orientation, l->orientation, (size_t)images * sizeof *l->orientation);
    memcpy(l->state->label, l->label, (size_t)images * sizeof *l->label);
    keep_shares(l);
    sp_loop_keep_scores(l);
}

sp_status sp_loop_accept_or_refuse(sp_loop *l)
{
    const bool worse = l->now.score < sp_loop_best_score(l) - WORSE;
    sp_status status = SP_OK;

    l->now.accepted = !worse || l->refused >= MAX_REFUSED;
    if (!l->now.accepted) {
        l->refused++;
        return SP_OK;
    }
    if (worse) { /* the best score was a stroke of luck in the phasing: it is no measure any more */
        l->scored_from = l->now.generation;
    }
    l->refused = 0;
    l->refined += l->refining;
    sp_loop_accept(l);
    sp_loop_mark_conformations(l);
    if (l->refining && l->state->settings.fit_scale) {
        memcpy(l->state->scale, l->scale, (size_t)l->state->images * sizeof *l->scale);
        SP_TRY(sp_crews_adopt_scales(l));
    }
done:
    return status;
}
