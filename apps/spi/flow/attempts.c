/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "flow/conformations.h"
#include "flow/loop.h"

enum {
    MAX_ATTEMPTS = 5,   /* from other random orientations, where the outcome contradicts itself */
    TRIAL_ATTEMPTS = 2, /* the same for each number of conformations that is tried */
    LEAST_LEFT = 7,     /* generations: fewer make no attempt */
    PATIENCE = 12,      /* steps of a search by batches after which right orientations do not contradict each other */
};

/* Share of the amplitudes that no density can explain. Right orientations leave 0.01 to 0.06, photon noise included;
 * images that have settled in one another's wrong places leave 0.1 to 0.2. */
static const double CONTRADICTION = 0.08;

/* Two attempts that end this much alike, in their mean score and in the share above, have found the same: what
 * contradicts itself there is noise. (Noisy images: scores within 0.003, shares within 7 %. Images in wrong places are
 * in others each time: 0.02 and more, 10 % and more.) */
static const double ALIKE_SCORE = 0.005;
static const double ALIKE_SHARE = 0.1;

/* One more conformation must raise the mean score of images that are held out by so much, and by so many standard
 * errors of that. */
static const double GAIN = 0.002;
static const double SIGNIFICANT = 3.0;

/* Does the model leave more of the images unexplained than photon noise? While the number of conformations is looked
 * for it does with too few of them, whatever the orientations. */
static bool leaves_unexplained(const sp_loop *l)
{
    return l->refining && sp_loop_sees_all(l) && !l->automatic && l->now.score < SP_EXPLAINED * l->now.best_score;
}

bool sp_loop_contradicts(const sp_loop *l)
{
    return sp_loop_climbs(&l->state->settings) && (l->now.phasing_residual >= CONTRADICTION || leaves_unexplained(l));
}

/* How much better this attempt explains the images that are held out than the one that was kept, image by image. */
static double held_gain(const sp_loop *l, double *error)
{
    double sum = 0.0, square = 0.0, count = 0.0;

    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        const double gain = (double)l->state->score[n] - (double)l->kept_each[n];

        if (l->state->held_out[n] && isfinite(gain)) {
            sum += gain;
            square += gain * gain;
            count++;
        }
    }
    if (count < 2.0) {
        *error = INFINITY;
        return 0.0;
    }
    *error = sqrt(fmax(square / count - sum * sum / (count * count), 0.0) / (count - 1.0));
    return sum / count;
}

/* Is it worth one more conformation, and are there as many? */
static bool is_worth(const sp_loop *l, double gain, double error)
{
    return gain > GAIN && gain > SIGNIFICANT * error && l->found == l->conformations;
}

/* Does the attempt that ends now explain the images better than the one that was kept? */
static bool is_better(const sp_loop *l)
{
    double gain, error;

    if (l->kept_score == 0.0) {
        return true;
    }
    if (l->kept_conformations == l->conformations) {
        return l->now.score > l->kept_score;
    }
    gain = held_gain(l, &error);
    return is_worth(l, gain, error);
}

/* Does this attempt come to the same as the best one before it? */
static bool ends_alike(const sp_loop *l)
{
    return l->kept_score > 0.0 && l->kept_conformations == l->conformations &&
           fabs(l->now.score - l->kept_score) < ALIKE_SCORE &&
           fabs(l->now.phasing_residual - l->kept_residual) < ALIKE_SHARE * l->kept_residual;
}

/* Returns whether it is the best so far. */
static bool keep_if_best(sp_loop *l)
{
    const size_t images = (size_t)l->state->images;

    if (!is_better(l)) {
        return false;
    }
    l->kept_score = l->now.score;
    l->kept_residual = l->now.phasing_residual;
    l->kept_conformations = l->conformations;
    memcpy(l->kept, l->state->orientation, images * sizeof *l->kept);
    memcpy(l->kept_label, l->state->label, images * sizeof *l->kept_label);
    memcpy(l->kept_each, l->state->score, images * sizeof *l->kept_each);
    return true;
}

static void begin_another(sp_loop *l)
{
    l->attempt++;
    sp_loop_begin_attempt(l);
}

/* Attempts with this number of conformations. */
static int attempts_allowed(const sp_loop *l)
{
    return l->automatic ? TRIAL_ATTEMPTS : MAX_ATTEMPTS;
}

static int attempt_number(const sp_loop *l)
{
    return l->attempt - l->trial_first + 1;
}

static bool has_room(const sp_loop *l)
{
    return l->state->generations + LEAST_LEFT < l->state->settings.generations;
}

/* From other random orientations, if that is allowed; returns whether it does. Of shuffled images nobody expects
 * better. */
static bool begin_again(sp_loop *l)
{
    if (!sp_loop_contradicts(l) || l->state->settings.null != 0 || attempt_number(l) >= attempts_allowed(l) ||
        !has_room(l)) {
        return false;
    }
    sp_log_write(l->log, SP_LOG_INFO,
                 "%s (phasing residual %.3f, score %.3f where photon noise allows %.3f): once more from other random "
                 "orientations (attempt %d of at most %d)",
                 leaves_unexplained(l) ? "the images are not explained" : "the amplitudes contradict each other",
                 l->now.phasing_residual, l->now.score, l->now.best_score, attempt_number(l) + 1, attempts_allowed(l));
    begin_another(l);
    return true;
}

bool sp_loop_gives_up(sp_loop *l, int steps)
{
    return steps >= PATIENCE && begin_again(l);
}

/* What this number of conformations came to; before it is kept. */
static sp_status record_trial(sp_loop *l)
{
    sp_trial *trial = &l->state->trial[l->conformations - 1];
    sp_status status = SP_OK;
    double error;
    const double gain = held_gain(l, &error);

    SP_TRY(sp_conformations_compare(l->state));
    l->found = sp_conformations_found(l->state);
    if (trial->conformations > 0 && trial->score >= l->now.score) {
        goto done; /* an earlier attempt with as many was better */
    }
    *trial = (sp_trial){.conformations = l->conformations,
                        .found = l->found,
                        .score = l->now.score,
                        .held_score = l->now.held_score,
                        .contradicted = sp_loop_contradicts(l)};
    if (l->kept_score > 0.0 && l->kept_conformations < l->conformations) {
        trial->gain = gain;
        trial->gain_error = error;
        trial->better = is_worth(l, gain, error);
    }
    l->state->trials = l->conformations;
done:
    return status;
}

static sp_status try_one_more(sp_loop *l)
{
    sp_status status = SP_OK;

    sp_log_write(l->log, SP_LOG_INFO,
                 "%d conformation%s: mean score %.4f, of the images held out %.4f; now with one more", l->conformations,
                 l->conformations == 1 ? "" : "s", l->now.score, l->now.held_score);
    SP_TRY(sp_loop_set_conformations(l, l->conformations + 1));
    l->trial_first = l->attempt + 1;
    begin_another(l);
done:
    return status;
}

sp_status sp_loop_end_attempt(sp_loop *l, bool *another)
{
    const bool alike = ends_alike(l);
    sp_status status = SP_OK;

    if (l->automatic) {
        SP_TRY(record_trial(l));
    }
    keep_if_best(l);
    *another = !alike && begin_again(l);
    if (!*another && l->automatic && l->kept_conformations == l->conformations && l->conformations < SP_CONFORMATIONS &&
        has_room(l)) {
        SP_TRY(try_one_more(l));
        *another = true;
    }
done:
    return status;
}

static double explained(const sp_loop *l)
{
    return l->now.best_score > 0.0 ? l->now.score / l->now.best_score : 0.0;
}

sp_status sp_loop_take_best(sp_loop *l)
{
    sp_reconstruction *state = l->state;
    double dispersion = 0.0;
    sp_status status = SP_OK;

    state->explained = explained(l);
    if (l->kept_score == 0.0 || (!state->converged && sp_loop_sees_all(l) && keep_if_best(l)) ||
        (l->kept_score == l->now.score && l->kept_conformations == l->conformations)) {
        state->contradicted = state->converged && sp_loop_contradicts(l);
        return SP_OK;
    }
    sp_log_write(l->log, SP_LOG_INFO,
                 "an earlier attempt, with %d conformation%s, explained the images better: it is "
                 "taken",
                 l->kept_conformations, l->kept_conformations == 1 ? "" : "s");
    if (l->kept_conformations != l->conformations) {
        SP_TRY(sp_loop_set_conformations(l, l->kept_conformations));
    }
    memcpy(state->orientation, l->kept, (size_t)state->images * sizeof *l->kept);
    memcpy(state->label, l->kept_label, (size_t)state->images * sizeof *l->kept_label);
    SP_TRY(sp_loop_make_stage(l));
    SP_TRY(sp_loop_merge_and_phase(l));
    SP_TRY(sp_crews_assess(l, state->orientation, state->label, &dispersion));
    sp_loop_keep_scores(l);
    l->now.score = sp_loop_mean_score(l, false);
    state->explained = explained(l);
    state->contradicted = l->kept_residual >= CONTRADICTION || (!l->automatic && state->explained < SP_EXPLAINED);
done:
    return status;
}
