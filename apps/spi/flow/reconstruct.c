/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/reconstruct.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "flow/checkpoint.h"
#include "flow/loop.h"

const char *const sp_phase_names[SP_PHASES] = {"read", "merge", "phase", "search", "refine", "other"};

enum {
    MIN_REFINED = 4,      /* refined generations before convergence is believed */
    MAX_SEARCHED = 20,    /* generations of search only */
    SPARSE_SEARCHED = 15, /* the same for each reach of sparse images, whose scores are mostly noise and tell no end */
    MAX_ATTEMPTS = 5,     /* from other random orientations, where the outcome contradicts itself */
    SCAN_SPAN = 3,        /* generations over which the score must have stopped rising */
};

static const double LAST_DISPERSION = 10.0; /* more does not sharpen the orientations any more */
static const double MARCH = 1.25;           /* refinement lets in that much more of the radius at a time, ... */
static const double STILL = 0.25;           /* ... when the median image turns by less than this part of a speckle */
/* Share of the amplitudes that no density can explain. Right orientations leave 0.01 to 0.05, photon noise included;
 * images that have settled in one another's wrong places leave 0.1 to 0.2. */
static const double CONTRADICTION = 0.08;
static const double RISE = 0.002;       /* of the mean score over SCAN_SPAN generations: less is no progress, ... */
static const double SEARCH_RISE = 0.01; /* ... less than this in the search, whose grid makes scores jump */

sp_reconstruct_settings sp_reconstruct_defaults(void)
{
    return (sp_reconstruct_settings){.seed = 1,
                                     .generations = 150,
                                     .starts = 4,
                                     .conformations = 1,
                                     .match = SP_MATCH_LIKELIHOOD,
                                     .match_route = SP_MATCH_AUTO,
                                     .refine = true,
                                     .fit_background = true,
                                     .fit_scale = true,
                                     .noise = SP_NOISE_AUTO};
}

/* Has the mean score stopped rising over the last generations of this stage? */
static bool score_stands(const sp_loop *l, double rise)
{
    const int last = l->state->generations - 1, before = last - SCAN_SPAN;
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
    return l->now.accepted &&
           (l->kept_score == 0.0 || (l->now.resolution <= 1.0 / l->s_max && l->now.score > l->kept_score));
}

/* Keeps this attempt if it is the best so far. */
static void keep_attempt(sp_loop *l)
{
    if (l->kept_score == 0.0 || l->now.score > l->kept_score) {
        l->kept_score = l->now.score;
        memcpy(l->kept, l->state->orientation, (size_t)l->state->images * sizeof *l->kept);
        memcpy(l->kept_label, l->state->label, (size_t)l->state->images * sizeof *l->kept_label);
    }
}

static bool contradicts(const sp_loop *l)
{
    return sp_loop_climbs(&l->state->settings) && l->now.phasing_residual >= CONTRADICTION;
}

/* Starts again from other random orientations if the outcome contradicts itself; returns whether it did. */
static bool again(sp_loop *l)
{
    if (!contradicts(l) || l->attempt + 1 >= MAX_ATTEMPTS ||
        l->state->generations + MIN_REFINED + SCAN_SPAN >= l->state->settings.generations) {
        return false;
    }
    keep_attempt(l);
    l->attempt++;
    sp_log_write(
        l->log, SP_LOG_INFO,
        "the amplitudes contradict each other (phasing residual %.3f): once more from other random orientations "
        "(attempt %d of at most %d)",
        l->now.phasing_residual, l->attempt + 1, MAX_ATTEMPTS);
    sp_loop_begin_attempt(l);
    return true;
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

/* From coarse to finer search, from search to refinement. */
static void search_on(sp_loop *l)
{
    const bool sparse = sp_loop_is_sparse(l);
    const bool over = l->now.settled > 0.5 || (!sparse && score_stands(l, SEARCH_RISE)) ||
                      generations_of_stage(l) >= (sparse ? SPARSE_SEARCHED : MAX_SEARCHED);
    const double last = sp_loop_search_reach(l);

    if (over && l->reach < last) {
        l->reach = fmin(l->reach * MARCH, last);
    } else if (over) {
        l->refining = true;
    }
}

/* From search to refinement, from small to large dispersion, from loop to end. Returns true at the end. */
static bool next_stage(sp_loop *l)
{
    sp_reconstruction *state = l->state;
    const bool stands = score_stands(l, l->refining ? RISE : SEARCH_RISE);

    if (sp_loop_climbs(&state->settings) && !l->refining) {
        search_on(l);
    } else if (l->refining && l->now.accepted) {
        l->dispersion = fmin(fmax(l->measured, FIRST_DISPERSION), LAST_DISPERSION);
        state->converged = l->reach == l->s_max && l->refined >= MIN_REFINED && stands && l->now.settled > 0.5;
        if (l->now.orientation_change < STILL * sp_loop_speckle(l) || stands) {
            l->reach = fmin(l->reach * MARCH, l->s_max);
        }
    } else if (!l->refining) {
        state->converged = stands && l->now.settled > 0.9;
    }
    if (state->converged && again(l)) {
        state->converged = false;
        return false;
    }
    if (state->converged) {
        state->contradicted = contradicts(l);
        state->stop_reason = "the images stopped turning and the score stopped rising";
        return true;
    }
    if (state->generations >= state->settings.generations) {
        state->stop_reason = "the number of generations allowed was used up";
        return true;
    }
    return false;
}

static void report_generation(sp_loop *l)
{
    sp_log_write(l->log, SP_LOG_INFO,
                 "generation %2d: score %.4f%s, turned by %.2f deg (%.0f %% settled), phasing residual %.4f, %.1f s",
                 l->now.generation + 1, l->now.score, l->now.accepted ? "" : " (refused)",
                 l->now.orientation_change * 180.0 / M_PI, 100.0 * l->now.settled, l->now.phasing_residual,
                 l->now.wall[SP_PHASE_MERGE] + l->now.wall[SP_PHASE_PHASE] + l->now.wall[SP_PHASE_SEARCH] +
                     l->now.wall[SP_PHASE_REFINE] + l->now.wall[SP_PHASE_OTHER]);
}

static sp_status check_interrupt(const sp_loop *l)
{
    char where[32];

    snprintf(where, sizeof where, "generation %d", l->now.generation + 1);
    return sp_loop_check_interrupt(l, where);
}

static sp_status run_generation(sp_loop *l, sp_generation_hook *hook, void *context, bool *ended)
{
    sp_status status = SP_OK;

    l->now = (sp_generation){.generation = l->state->generations, .resolution = 1.0 / l->reach};
    SP_TRY(sp_loop_make_stage(l));
    sp_loop_lap(l, SP_PHASE_OTHER);
    SP_TRY(sp_loop_merge_and_phase(l));
    SP_TRY(check_interrupt(l));
    SP_TRY(sp_loop_match(l));
    SP_TRY(check_interrupt(l));
    SP_TRY(sp_crews_assess(l, l->orientation, l->label, &l->measured));
    sp_log_write(l->log, SP_LOG_DETAIL, "dispersion in use %.2f, measured %.2f", l->dispersion, l->measured);
    l->now.score = sp_loop_mean_score(l);
    sp_loop_measure_change(l);
    SP_TRY(sp_loop_accept_or_refuse(l));
    SP_TRY(sp_crews_measure_memory(l));
    sp_loop_lap(l, SP_PHASE_OTHER);
    l->state->history[l->state->generations++] = l->now;
    report_generation(l);
    /* before the next stage is chosen: whoever goes on from here may allow more generations */
    status = hook ? hook(context, worth_writing(l) ? l->state : NULL, l) : SP_OK;
    SP_TRY(sp_run_agree(l->crews.run, status)); /* one rank writes */
    sp_loop_lap(l, SP_PHASE_OTHER);
    *ended = next_stage(l);
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
    sp_log_write(l->log, SP_LOG_INFO, "going on after generation %d", state->generations);
    *ended = next_stage(l);
done:
    return status;
}

/* ---- the end ---- */

/* An earlier attempt that explained the images better takes the place of the last one. */
static sp_status restore_best_attempt(sp_loop *l)
{
    const int last = l->state->generations - 1;
    double dispersion = 0.0;
    sp_status status = SP_OK;

    if (l->kept_score <= l->state->history[last].score) {
        return SP_OK;
    }
    sp_log_write(l->log, SP_LOG_INFO, "an earlier attempt explained the images better: its orientations are taken");
    memcpy(l->state->orientation, l->kept, (size_t)l->state->images * sizeof *l->kept);
    memcpy(l->state->label, l->kept_label, (size_t)l->state->images * sizeof *l->kept_label);
    SP_TRY(sp_loop_make_stage(l));
    SP_TRY(sp_loop_merge_and_phase(l));
    SP_TRY(sp_crews_assess(l, l->state->orientation, l->state->label, &dispersion));
    sp_loop_keep_scores(l);
done:
    return status;
}

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

    l->now = (sp_generation){.generation = state->generations};
    l->reach = l->s_max;
    l->points = 0; /* the map is that of the orientations told */
    SP_TRY(restore_best_attempt(l));
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
    *result = self;
    self = NULL;
done:
    sp_reconstruction_free(self);
    return status;
}

sp_status sp_reconstruct(sp_run *run, sp_image_file *file, const sp_reconstruct_settings *settings, sp_log *log,
                         const sp_checkpoint *from, sp_generation_hook *hook, void *context, sp_reconstruction **result)
{
    sp_status status = SP_OK;
    sp_loop l = {.conformations = settings->conformations,
                 .keep = sp_loop_keep(settings),
                 .file = file,
                 .log = log,
                 .dispersion = FIRST_DISPERSION,
                 .crews.run = run};
    bool ended = false;

    SP_TRY(new_state(file, settings, &l.state));
    l.wall = sp_clock_wall();
    l.cpu = sp_clock_cpu();
    SP_TRY(SP_ARRAY(l.scale, l.state->images));
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

void sp_half_sets_free(sp_half_sets *halves)
{
    if (halves) {
        sp_array_free(halves->s);
        sp_array_free(halves->fsc);
        sp_array_free(halves->shape);
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
    sp_array_free(result->orientation);
    sp_array_free(result->label);
    sp_array_free(result->score);
    sp_array_free(result->scale);
    sp_array_free(result->history);
    sp_array_free(result->prtf);
    sp_array_free(result->prtf_s);
    sp_array_free(result->peak_memory);
    sp_half_sets_free(result->halves);
    sp_array_free(result);
}
