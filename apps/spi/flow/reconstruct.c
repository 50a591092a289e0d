/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/reconstruct.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "flow/checkpoint.h"
#include "flow/conformations.h"
#include "flow/loop.h"

const char *const sp_phase_names[SP_PHASES] = {"read", "merge", "phase", "search", "refine", "other"};

enum {
    MIN_REFINED = 4,      /* refined generations before convergence is believed */
    MAX_SEARCHED = 20,    /* generations of search only */
    SPARSE_SEARCHED = 15, /* the same for each reach of sparse images, whose scores are mostly noise and tell no end */
    SCAN_SPAN = 3,        /* generations over which the score must have stopped rising */
};

static const double LAST_DISPERSION = 10.0; /* more does not sharpen the orientations any more */
static const double MARCH = 1.25;           /* refinement lets in that much more of the radius at a time, ... */
static const double LEAP = 1.5;             /* ... or as much as leaves images that still, up to this, ... */
static const double STILL = 0.25;           /* ... when the median image turns by less than this part of a speckle, */
static const double CROSSING = 0.05;        /* share of the images that change sides: with fewer they are sorted */
static const double STEADY = 1e-4;          /* change of the model that ends a search: chance makes 2e-5 */
static const double RISE = 0.002;           /* of the mean score over SCAN_SPAN generations: less is no progress, ... */
static const double SEARCH_RISE = 0.01;     /* ... less than this in the search, whose grid makes scores jump */

sp_reconstruct_settings sp_reconstruct_defaults(void)
{
    return (sp_reconstruct_settings){.seed = 1,
                                     .generations = 150,
                                     .starts = 4,
                                     .conformations = 1,
                                     .held_out = 0.05,
                                     .match = SP_MATCH_LIKELIHOOD,
                                     .match_route = SP_MATCH_AUTO,
                                     .refine = true,
                                     .fit_background = true,
                                     .fit_scale = true,
                                     .noise = SP_NOISE_AUTO};
}

/* Has the mean score stopped rising over the last generations of this stage? A generation of batches is many steps. */
static bool score_stands(const sp_loop *l, double rise)
{
    const int last = l->state->generations - 1, before = last - (l->batches > 1 ? 1 : SCAN_SPAN);
    double best = -1.0;

    for (int g = l->scored_from; g <= before; g++) {
        const sp_generation *h = &l->state->history[g];

        if (h->accepted && sp_loop_same_stage(l, h)) {
            best = fmax(best, h->score);
        }
    }
    return best > 0.0 && sp_loop_best_score(l) < best + rise;
}

/* Does this generation belong on disk? Not while an earlier attempt explains the images better, or saw finer detail. */
static bool worth_writing(const sp_loop *l)
{
    return l->now.accepted && (l->kept_score == 0.0 || (sp_loop_sees_all(l) && l->now.score > l->kept_score));
}

/* Generations of the present stage, in this attempt. */
static int generations_of_stage(const sp_loop *l)
{
    int count = 0;

    for (int g = l->first; g < l->state->generations; g++) {
        count += sp_loop_same_stage(l, &l->state->history[g]);
    }
    return count;
}

/* Does the search find nothing new? As long as images change sides they do, however slowly the score rises, unless a
 * generation is many steps. */
static bool search_stands(const sp_loop *l)
{
    const bool sorted = l->crossing < CROSSING;

    return (score_stands(l, SEARCH_RISE) && (sorted || l->batches > 1)) || (l->now.density_change < STEADY && sorted);
}

/* From coarse to finer search, from search to refinement. */
static void search_on(sp_loop *l)
{
    const bool sparse = sp_loop_is_sparse(l);
    const bool over = l->now.settled > 0.5 || (!sparse && search_stands(l)) ||
                      generations_of_stage(l) >= (sparse ? SPARSE_SEARCHED : MAX_SEARCHED);
    const double last = sp_loop_search_reach(l);

    if (l->batches > 1 && sp_loop_gives_up(l, generations_of_stage(l) * l->batches)) {
        return;
    }
    if (over && l->reach < last) {
        l->reach = fmin(l->reach * MARCH, last);
    } else if (over) {
        l->refining = true;
    }
}

/* Finer detail, where images lie well enough for it, or get no better. */
static void march(sp_loop *l, bool stands)
{
    const double room = STILL * sp_loop_speckle(l) / l->stirring;

    if (room > 1.0 || stands) {
        l->reach = fmin(l->reach * fmin(fmax(room, MARCH), LEAP), l->s_max);
    }
}

/* At full detail: all images together, or one conformation after the other, which leave the loop. */
static bool has_converged(sp_loop *l, bool stands)
{
    if (l->reach < l->s_max || l->refined < MIN_REFINED) {
        return false;
    }
    return (stands && l->now.settled > 0.5) ||
           (l->conformations > 1 && !sp_loop_contradicts(l) && sp_loop_rest_conformations(l, SCAN_SPAN));
}

/* From search to refinement, from small to large dispersion, from attempt to attempt, from loop to end. */
static sp_status next_stage(sp_loop *l, bool *ended)
{
    sp_reconstruction *state = l->state;
    sp_status status = SP_OK;
    bool another = false;
    const bool stands = score_stands(l, l->refining ? RISE : SEARCH_RISE);

    if (sp_loop_climbs(&state->settings) && !l->refining) {
        search_on(l);
    } else if (l->refining && l->now.accepted) {
        l->dispersion = fmin(fmax(l->measured, FIRST_DISPERSION), LAST_DISPERSION);
        state->converged = has_converged(l, stands);
        march(l, stands);
    } else if (!l->refining) {
        state->converged = stands && l->now.settled > 0.9;
    }
    if (state->converged) {
        SP_TRY(sp_loop_end_attempt(l, &another));
        state->converged = !another;
    }
    if (state->converged) {
        state->stop_reason = "the images stopped turning and the score stopped rising";
    } else if (state->generations >= state->settings.generations) {
        state->stop_reason = "the number of generations allowed was used up";
    }
    *ended = state->converged || state->generations >= state->settings.generations;
done:
    return status;
}

static void report_generation(sp_loop *l)
{
    char sides[48] = "";

    if (l->conformations > 1) {
        snprintf(sides, sizeof sides, ", %.0f %% changed sides", 100.0 * l->crossing);
    }
    sp_log_write(l->log, SP_LOG_INFO,
                 "generation %2d: score %.4f%s, turned by %.2f deg (%.0f %% settled)%s, phasing residual %.4f, %.1f s",
                 l->now.generation + 1, l->now.score, l->now.accepted ? "" : " (refused)",
                 l->now.orientation_change * 180.0 / M_PI, 100.0 * l->now.settled, sides, l->now.phasing_residual,
                 l->now.wall[SP_PHASE_MERGE] + l->now.wall[SP_PHASE_PHASE] + l->now.wall[SP_PHASE_SEARCH] +
                     l->now.wall[SP_PHASE_REFINE] + l->now.wall[SP_PHASE_OTHER]);
}

static sp_status check_interrupt(const sp_loop *l)
{
    char where[32];

    snprintf(where, sizeof where, "generation %d", l->now.generation + 1);
    return sp_loop_check_interrupt(l, where);
}

/* A model of the batch before, and this batch matched with it. */
static sp_status match_batch(sp_loop *l)
{
    sp_status status = SP_OK;

    sp_loop_reseed(l);
    SP_TRY(sp_loop_make_stage(l));
    sp_loop_lap(l, SP_PHASE_OTHER);
    SP_TRY(sp_loop_merge_and_phase(l));
    SP_TRY(check_interrupt(l));
    SP_TRY(sp_loop_match(l));
    SP_TRY(check_interrupt(l));
    SP_TRY(sp_crews_assess(l, l->orientation, l->label, &l->measured));
    sp_log_write(l->log, SP_LOG_DETAIL, "dispersion in use %.2f, measured %.2f; a perfect model would score %.4f",
                 l->dispersion, l->measured, l->now.best_score);
    l->now.score = sp_loop_mean_score(l, false);
    l->now.held_score = sp_loop_mean_score(l, true);
    sp_loop_measure_change(l);
    sp_loop_watch_conformations(l);
done:
    return status;
}

static sp_status run_generation(sp_loop *l, sp_generation_hook *hook, void *context, bool *ended)
{
    sp_status status = SP_OK;

    l->now = (sp_generation){.generation = l->state->generations, .resolution = 1.0 / l->reach};
    l->batches = l->refining ? 1 : sp_loop_search_batches(l);
    for (l->batch = 0; l->batch + 1 < l->batches; l->batch++) {
        SP_TRY(match_batch(l));
        sp_loop_accept(l);
    }
    SP_TRY(match_batch(l));
    SP_TRY(sp_loop_accept_or_refuse(l));
    SP_TRY(sp_crews_measure_memory(l));
    sp_loop_lap(l, SP_PHASE_OTHER);
    l->state->history[l->state->generations++] = l->now;
    report_generation(l);
    /* before the next stage is chosen: whoever goes on from here may allow more generations */
    status = hook ? hook(context, worth_writing(l) ? l->state : NULL, l) : SP_OK;
    SP_TRY(sp_run_agree(l->crews.run, status)); /* one rank writes */
    sp_loop_lap(l, SP_PHASE_OTHER);
    SP_TRY(next_stage(l, ended));
done:
    return status;
}

/* ---- a run that was stopped ---- */

/* From there on everything happens as if the generation of the checkpoint had been made just now. */
static sp_status go_on(sp_loop *l, const sp_checkpoint *from, bool *ended)
{
    sp_reconstruction *state = l->state;
    sp_status status = SP_OK;

    SP_TRY(sp_checkpoint_restore(from, l));
    state->voxel = l->box / (double)state->edge;
    l->starts = 0; /* slicer, merger and phasing are those of the first generation */
    SP_TRY(sp_crews_adopt_scales(l));
    l->now = state->history[state->generations - 1];
    l->batches = l->refining ? 1 : sp_loop_search_batches(l);
    sp_log_write(l->log, SP_LOG_INFO, "going on after generation %d", state->generations);
    SP_TRY(next_stage(l, ended));
done:
    return status;
}

/* ---- the end ---- */

/* Where the transfer function falls below 1/e for the first time [m], interpolated; 0: nowhere. */
static double prtf_crossing(const double *prtf, ptrdiff_t shells, double box)
{
    for (ptrdiff_t k = 1; k < shells; k++) {
        if (prtf[k] < exp(-1.0)) {
            return box / ((double)k - 1.0 + (prtf[k - 1] - exp(-1.0)) / (prtf[k - 1] - prtf[k]));
        }
    }
    return 0.0;
}

/* Merge in the final orientations, phase with many starts, and take the mean of those that agree. */
static sp_status finish(sp_loop *l)
{
    sp_reconstruction *state = l->state;
    sp_phase_result phased[SP_CONFORMATIONS];
    double residual[SP_CONFORMATIONS];
    int entered[SP_CONFORMATIONS];
    sp_status status = SP_OK;

    l->reach = l->s_max;
    l->resting = 0;
    l->batches = 1;
    l->batch = 0;
    l->points = 0; /* the map is that of the orientations told */
    SP_TRY(sp_loop_take_best(l));
    l->now = (sp_generation){.generation = state->generations};
    l->complete = true; /* and the map of all images */
    l->phasing.starts = state->settings.starts * FINAL_STARTS;
    l->phasing.seed = state->settings.seed;
    SP_TRY(sp_loop_make_stage(l));
    sp_loop_lap(l, SP_PHASE_OTHER);
    SP_TRY(sp_crews_merge(l, residual));
    sp_loop_lap(l, SP_PHASE_MERGE);
    SP_TRY(sp_crews_phase(l, phased));
    SP_TRY(sp_loop_check_interrupt(l, "the final phasing"));
    SP_TRY(sp_crews_average(l, entered));
    SP_TRY(sp_crews_measure_memory(l));

    state->prtf_shells = state->edge / 2 + 1;
    for (ptrdiff_t k = 0; k < state->prtf_shells; k++) {
        state->prtf_s[k] = (double)k / l->box;
    }
    for (int k = 0; k < l->conformations; k++) {
        const double crossing = prtf_crossing(state->prtf + k * state->prtf_shells, state->prtf_shells, l->box);

        sp_log_write(l->log, SP_LOG_INFO, "final phasing: residual %.4f, %d of %d starts agree", phased[k].residual,
                     entered[k], l->phasing.starts);
        state->prtf_resolution = fmax(state->prtf_resolution, crossing);
    }
    sp_loop_lap(l, SP_PHASE_PHASE);
    SP_TRY(sp_conformations_compare(state));
    sp_loop_lap(l, SP_PHASE_OTHER);
done:
    return status;
}

static sp_status new_state(sp_image_file *file, const sp_reconstruct_settings *settings, sp_reconstruction **result)
{
    const sp_detector_map *map = sp_image_file_map(file);
    sp_status status = SP_OK;
    sp_reconstruction *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->settings = *settings;
    self->images = sp_image_file_count(file);
    self->wavelength = map->wavelength;
    self->stop_reason = "";
    memcpy(self->corrections, map->corrections, sizeof self->corrections);
    SP_TRY(SP_ARRAY(self->orientation, self->images));
    SP_TRY(SP_ARRAY(self->label, self->images));
    SP_TRY(SP_ARRAY(self->score, self->images));
    SP_TRY(SP_ARRAY(self->scale, self->images));
    SP_TRY(SP_ARRAY(self->held_out, self->images));
    *result = self;
    self = NULL;
done:
    sp_reconstruction_free(self);
    return status;
}

/* How many it begins, or goes on, with. */
static int first_conformations(const sp_reconstruct_settings *settings, const sp_checkpoint *from)
{
    return from ? sp_checkpoint_conformations(from) : settings->conformations > 0 ? settings->conformations : 1;
}

sp_status sp_reconstruct(sp_run *run, sp_image_file *file, const sp_reconstruct_settings *settings, sp_log *log,
                         const sp_checkpoint *from, sp_generation_hook *hook, void *context, sp_reconstruction **result)
{
    sp_status status = SP_OK;
    sp_loop l = {.batches = 1,
                 .conformations = first_conformations(settings, from),
                 .automatic = settings->conformations == 0,
                 .keep = sp_loop_keep(settings),
                 .file = file,
                 .log = log,
                 .dispersion = FIRST_DISPERSION,
                 .crews.run = run};
    bool ended = false;

    SP_TRY(new_state(file, settings, &l.state));
    l.state->settings.conformations = l.conformations;
    l.wall = sp_clock_wall();
    l.cpu = sp_clock_cpu();
    SP_TRY(SP_ARRAY(l.scale, l.state->images));
    SP_TRY(sp_rank_gpu_open(&l));
    SP_TRY(sp_crews_open(&l));
    SP_TRY(sp_loop_read(&l));
    sp_loop_lap(&l, SP_PHASE_READ);
    SP_TRY(sp_loop_make_workspace(&l));
    sp_log_write(log, SP_LOG_INFO,
                 "%td images, %td bins each (%d x %d pixels), particle about %.0f Angstrom, grid %d^3 voxels of %.2f "
                 "Angstrom, %d orientations in the end, %s",
                 l.state->used, l.patterns.pixels, l.state->settings.binning, l.state->settings.binning,
                 l.state->settings.diameter * 1e10, l.state->settings.grid, l.box / l.state->settings.grid * 1e10,
                 l.state->settings.orientations, l.state->quantum > 0.0 ? "photon noise" : "no noise");
    sp_loop_lap(&l, SP_PHASE_OTHER);
    if (from) {
        SP_TRY(go_on(&l, from, &ended));
    }
    while (!ended) {
        SP_TRY(run_generation(&l, hook, context, &ended));
    }
    SP_TRY(finish(&l));
    status = hook ? hook(context, l.state, NULL) : SP_OK;
    SP_TRY(sp_run_agree(run, status));
    *result = l.state;
    l.state = NULL;
done:
    sp_loop_clear(&l);
    sp_reconstruction_free(l.state);
    return status;
}

void sp_reconstruction_map(const sp_reconstruction *result, const float *volume, int k, float *map)
{
    const ptrdiff_t n = result->edge, shift = n - n / 2;
    const float *from = volume + k * n * n * n;

    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            const float *row = from + ((x + shift) % n * n + (y + shift) % n) * n;

            for (ptrdiff_t z = 0; z < n; z++) {
                map[(x * n + y) * n + z] = row[(z + shift) % n];
            }
        }
    }
}

void sp_half_sets_free(sp_half_sets *halves)
{
    if (halves) {
        sp_array_free(halves->s);
        sp_array_free(halves->fsc);
        sp_array_free(halves->shape);
        sp_array_free(halves->cc_half);
        sp_array_free(halves->half_bit);
        sp_array_free(halves);
    }
}

void sp_reconstruction_free(sp_reconstruction *result)
{
    if (!result) {
        return;
    }
    sp_array_free(result->density);
    sp_array_free(result->autocorrelation);
    sp_array_free(result->orientation);
    sp_array_free(result->label);
    sp_array_free(result->score);
    sp_array_free(result->scale);
    sp_array_free(result->held_out);
    sp_array_free(result->history);
    sp_array_free(result->prtf);
    sp_array_free(result->prtf_s);
    sp_array_free(result->peak_memory);
    sp_half_sets_free(result->halves);
    sp_array_free(result);
}
