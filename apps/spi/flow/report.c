/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/report.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/manual.h"
#include "flow/conformations.h"
#include "flow/fields.h"

static const double ANGSTROM = 1e-10; /* [m] */
static const double DEGREE = 0.017453292519943295;
static const double MANY_EMPTY = 0.1; /* share of images without signal that is worth a warning */

/* Every direction of the finest shell should be seen: at this mean number of images per speckle, exp(-5) = 0.7 % of
 * the speckles are missed by randomly oriented images. */
static const double LEAST_COVERAGE = 5.0;

/* An order of magnitude: simulated images of a protein with 5000 photons each are oriented to about ten degrees. */
static const double FEW_PHOTONS = 1000.0;

/* Of a speckle, from an orientation to the nearest point of the grid: the refinement climbs that far, not farther. */
static const double COARSE_GRID = 1.5;

/* Share of the photons beyond the innermost speckles. Simulated proteins without background come to 0.00 to 0.26, as
 * few speckles share a shell; a background as strong as the whole signal to 0.9. */
static const double MUCH_BACKGROUND = 0.5;

/* Of the ball of the particle's diameter. Proteins fill 0.2 to 0.5 of it; the phasing begins with the whole ball. */
static const double OPEN_SUPPORT = 0.8;

enum { ROW_LENGTH = 1024, NAME_LENGTH = 64 };

/* ---- facts that both forms tell ---- */

static const sp_generation *last_generation(const sp_reconstruction *state)
{
    return state->generations > 0 ? &state->history[state->generations - 1] : NULL;
}

/* The last act of a run is the final phasing, which measures the PRTF. */
static bool finished(const sp_reconstruction *state)
{
    return state->stop_reason && *state->stop_reason && state->prtf_shells > 0;
}

/* Mean number of images that see a speckle of the finest shell: an image sees a great circle, one speckle wide, of the
 * sphere, which is the share speckle / 2 of its area. */
static double coverage(const sp_reconstruction *state)
{
    return 0.5 * state->speckle * (double)state->used;
}

/* Photons in a mean image; 0 where the values are no counts. */
static double photons(const sp_reconstruction *state)
{
    return state->quantum > 0.0 ? state->photons_per_image / state->quantum : 0.0;
}

/* May a resolution be claimed of this conformation? */
static bool supported(const sp_half_agreement *a)
{
    return a->verdict == SP_HALVES_AGREE && a->resolution > 0.0;
}

/* Of the conformations that half sets support the one with the least detail; NULL: none, or not measured. */
static const sp_half_agreement *least_supported(const sp_half_sets *h)
{
    const sp_half_agreement *least = NULL;

    for (int k = 0; h && k < h->conformations; k++) {
        if (supported(&h->of[k]) && (!least || h->of[k].resolution > least->resolution)) {
            least = &h->of[k];
        }
    }
    return least;
}

/* Did the run itself find that it has not found the structure? */
static bool failed(const sp_reconstruction *state)
{
    return finished(state) &&
           (!state->converged || state->contradicted || (state->halves && !least_supported(state->halves)));
}

/* ---- causes ---- */

const char *const sp_cause_names[SP_CAUSES] = {"images", "photons", "orientations", "background", "support", "states"};

static bool grid_too_coarse(const sp_reconstruction *state)
{
    const bool all_detail = state->generations == 0 || /* the grid grows with the detail in use */
                            last_generation(state)->resolution <= 1.001 * state->settings.resolution;

    return all_detail && state->speckle > 0.0 && state->grid_spacing > COARSE_GRID * state->speckle;
}

/* Share of the ball of its diameter that the particle fills. */
static double filling(const sp_reconstruction *state)
{
    const sp_generation *last = last_generation(state);

    return last ? last->support_volume / (M_PI / 6.0 * pow(state->settings.diameter, 3.0)) : 0.0;
}

void sp_report_causes(const sp_reconstruction *state, bool *present)
{
    bool any = false;

    present[SP_CAUSE_IMAGES] = state->speckle > 0.0 && coverage(state) < LEAST_COVERAGE;
    present[SP_CAUSE_PHOTONS] = photons(state) > 0.0 && photons(state) < FEW_PHOTONS;
    present[SP_CAUSE_ORIENTATIONS] = grid_too_coarse(state);
    present[SP_CAUSE_BACKGROUND] = state->background > MUCH_BACKGROUND && state->background_fitted == 0.0;
    present[SP_CAUSE_SUPPORT] = filling(state) > OPEN_SUPPORT;
    for (int i = 0; i < SP_CAUSE_STATES; i++) {
        any = any || present[i];
    }
    /* a run that was given too few generations says so by not having converged */
    present[SP_CAUSE_STATES] = !any && state->converged && failed(state) &&
                               state->settings.match != SP_MATCH_EUCLIDEAN && state->settings.null == 0;
}

/* How a setting got its value. */
static const char *origin(const sp_field *field, const sp_report_source *source)
{
    const sp_reconstruct_settings defaults = sp_reconstruct_defaults();
    const double asked = sp_field_value(field, &source->asked);

    if (asked != sp_field_value(field, &defaults)) {
        return "chosen";
    }
    return asked == 0.0 && field->kind != SP_FIELD_FLAG && field->kind != SP_FIELD_MATCH ? "automatic" : "default";
}

static double total(const double *seconds)
{
    double sum = 0.0;

    for (int i = 0; i < SP_PHASES; i++) {
        sum += seconds[i];
    }
    return sum;
}

/* ---- warnings ---- */

static void warn_of_end(const sp_reconstruction *state, sp_text *text)
{
    const sp_generation *last = last_generation(state);

    if (state->settings.match == SP_MATCH_EUCLIDEAN) {
        sp_text_append(text, "made with --match euclidean, the published baseline, which is there to be compared with "
                             "and seldom finds orientations; for the best map leave --match out\n");
    }
    if (finished(state) && !state->converged) {
        sp_text_append(text, "did not converge: the map may be wrong as a whole; allow more --generations, try another "
                             "--seed, or collect more images\n");
    }
    if (state->contradicted) {
        sp_text_append(
            text, "some images may have settled in wrong places: no density explains the merged amplitudes, or the "
                  "images score much less than photon noise allows; very noisy images look the same; compare the "
                  "map with one from another --seed\n");
    }
    if (finished(state) && last && last->orientation_change > 0.5 * state->speckle) {
        sp_text_append(text,
                       "orientations still moved at the end: the median image turned by %.1f degrees, a speckle at "
                       "the edge spans %.1f; do not trust detail in the map\n",
                       last->orientation_change / DEGREE, state->speckle / DEGREE);
    }
}

static void warn_of_images(const sp_reconstruction *state, const bool *cause, sp_text *text)
{
    const ptrdiff_t empty = state->images - state->used;

    if (cause[SP_CAUSE_IMAGES]) {
        sp_text_append(text,
                       "too few images: %td see each speckle at the edge only %.1f times on average, so %.0f %% of the "
                       "directions were never seen; collect at least %.0f images, or ask for a coarser --resolution\n",
                       state->used, coverage(state), 100.0 * exp(-coverage(state)),
                       ceil(2.0 * LEAST_COVERAGE / state->speckle));
    }
    if ((double)empty > MANY_EMPTY * (double)state->images) {
        sp_text_append(text, "%td of %td images hold no signal and were left out; is the hit finding right?\n", empty,
                       state->images);
    }
    if (cause[SP_CAUSE_PHOTONS]) {
        sp_text_append(text,
                       "few photons: %.3g in a mean image; orientations from fewer than %.0f are uncertain, however "
                       "sharp the map looks\n",
                       photons(state), FEW_PHOTONS);
    }
    if (cause[SP_CAUSE_BACKGROUND]) {
        sp_text_append(text,
                       "background: by their low contrast, %.0f %% of the photons beyond the innermost speckles lie "
                       "smoothly over the detector; subtract what the detector shows without particles, mask stray "
                       "light, or ask for a coarser --resolution\n",
                       100.0 * state->background);
    }
}

static void warn_of_grids(const sp_reconstruction *state, const bool *cause, sp_text *text)
{
    const sp_reconstruct_settings *chosen = &state->settings;
    const double box = state->voxel * (double)state->edge;

    if (cause[SP_CAUSE_ORIENTATIONS]) {
        sp_text_append(
            text,
            "orientation grid too coarse: its nearest point is typically %.1f degrees away, a speckle at the edge "
            "spans %.1f; the right orientation may fall between the points; raise --orientations\n",
            state->grid_spacing / DEGREE, state->speckle / DEGREE);
    }
    if (state->voxel > 0.505 * chosen->resolution) { /* 1 % for rounding */
        sp_text_append(text,
                       "density grid too coarse: voxels of %.2f Angstrom cannot hold detail of %.2f; raise --grid\n",
                       state->voxel / ANGSTROM, chosen->resolution / ANGSTROM);
    }
    if (box < 1.99 * chosen->diameter) {
        sp_text_append(text,
                       "box too small: %.0f Angstrom for a particle of %.0f, twice that is needed; raise --grid\n",
                       box / ANGSTROM, chosen->diameter / ANGSTROM);
    }
}

static void warn_of_conformations(const sp_reconstruction *state, sp_text *text)
{
    const int all = state->settings.conformations;
    ptrdiff_t count[SP_CONFORMATIONS];

    if (all == 1) {
        return;
    }
    const int found = sp_conformations_found(state);

    sp_conformations_count(state, count);
    for (int k = 0; k < all; k++) {
        const int original = sp_conformation_original(state, k);

        if (original < 0) {
            sp_text_append(text, "conformation %d holds %td images, which make none: its map means nothing\n", k + 1,
                           count[k]);
        } else if (original != k) {
            sp_text_append(text,
                           "conformations %d and %d are the same structure: their maps, laid on one another, correlate "
                           "by %.3f\n",
                           original + 1, k + 1, state->likeness[original][k]);
        }
    }
    if (found < all && found > 0) {
        sp_text_append(text, "%d conformation%s enough: --conformations %d makes a better map of the same images\n",
                       found, found == 1 ? " is" : "s are", found);
    }
}

static void warn_of_density(const sp_reconstruction *state, const bool *cause, sp_text *text)
{
    if (cause[SP_CAUSE_SUPPORT]) {
        sp_text_append(text,
                       "the support never closed: the density fills %.0f %% of a ball of the particle's diameter; is "
                       "the --diameter too small, or is there background?\n",
                       100.0 * filling(state));
    }
    if (cause[SP_CAUSE_STATES]) {
        sp_text_append(text,
                       "images, photons, grids and background look right, and still no one density explains the "
                       "images: do they show several states, more than one particle at once, or other things? Sort "
                       "them, and try another --seed\n");
    }
}

/* A conformation of which nothing was resolved. */
static void warn_of_half_sets(const sp_half_sets *h, int k, sp_text *text)
{
    const sp_half_agreement *a = &h->of[k];
    char which[NAME_LENGTH] = "";

    if (h->conformations > 1) {
        snprintf(which, sizeof which, " of conformation %d", k + 1);
    }
    switch (a->verdict) {
    case SP_HALVES_TOO_FEW:
        sp_text_append(text,
                       "nothing was resolved%s: half sets put %td and %td images into it, too few; do not interpret "
                       "the map\n",
                       which, a->images[0], a->images[1]);
        break;
    case SP_HALVES_ONE_SIDED:
        sp_text_append(text,
                       "nothing was resolved%s: most images see the map from one side (likeness of their directions "
                       "%.2f, 0.33 is from all sides), as noise does; do not interpret the map\n",
                       which, a->likeness);
        break;
    case SP_HALVES_APART:
        sp_text_append(
            text,
            "nothing was resolved%s: all images together make another map (correlation %.2f) than each half of "
            "them (%.2f with one another), so one of these is wrong; try another --seed\n",
            which, a->whole, a->correlation);
        break;
    case SP_HALVES_UNEXPLAINED:
        sp_text_append(
            text,
            "nothing was resolved%s: the model explains little of what the images show beyond photon noise; do "
            "not interpret the map\n",
            which);
        break;
    case SP_HALVES_DISAGREE:
        sp_text_append(text,
                       "nothing was resolved%s: half sets turn the images by %.0f degrees against the whole, images "
                       "taken for one another lie %.0f apart; do not interpret the map\n",
                       which, a->turn / DEGREE, a->chance / DEGREE);
        break;
    case SP_HALVES_AGREE:
        if (!supported(a)) {
            sp_text_append(text,
                           "nothing was resolved%s: the maps of the half sets have no shape in common; do not "
                           "interpret the map\n",
                           which);
        }
        break;
    }
}

/* Do half sets tell conformations by chance only? Where nearly all images are in one, chance is as right. */
static bool sorted_by_chance(const sp_half_sets *h)
{
    return h->labels_same - h->labels_chance < 0.5 * (1.0 - h->labels_chance) &&
           h->labels_chance < 1.0 - SP_CONFORMATION_LEAST;
}

static void warn_of_validation(const sp_reconstruction *state, sp_text *text)
{
    const sp_half_sets *h = state->halves;

    if (state->settings.null != 0) {
        sp_text_append(text, "made from nulls (--null): there is no structure in these images, and none in the map\n");
    }
    for (int k = 0; h && k < h->conformations; k++) {
        warn_of_half_sets(h, k, text);
    }
    if (h && h->conformations > 1 && sorted_by_chance(h)) {
        sp_text_append(
            text,
            "the conformations are not told apart: half sets put %.0f %% of the images where the whole does, "
            "chance %.0f %%; do not interpret differences between the maps\n",
            100.0 * h->labels_same, 100.0 * h->labels_chance);
    }
}

static void append_warnings(const sp_reconstruction *state, sp_text *text)
{
    static const double much_coarser = 1.25;
    bool cause[SP_CAUSES];

    sp_report_causes(state, cause);
    warn_of_end(state, text);
    warn_of_validation(state, text);
    warn_of_images(state, cause, text);
    warn_of_grids(state, cause, text);
    warn_of_density(state, cause, text);
    warn_of_conformations(state, text);
    if (state->prtf_resolution > much_coarser * state->settings.resolution) {
        sp_text_append(text,
                       "detail finer than %.1f Angstrom differs from one phasing start to the next: do not interpret "
                       "it, although the map holds numbers to %.1f\n",
                       state->prtf_resolution / ANGSTROM, state->settings.resolution / ANGSTROM);
    }
}

sp_status sp_report_warnings(const sp_reconstruction *state, sp_warning_show *show, void *context)
{
    sp_status status = SP_OK;
    sp_text warnings = {0};
    char line[ROW_LENGTH];

    append_warnings(state, &warnings);
    SP_TRY(sp_text_check(&warnings));
    for (const char *at = sp_text_string(&warnings); *at;) {
        const size_t length = strcspn(at, "\n");

        snprintf(line, sizeof line, "%.*s", (int)length, at);
        show(context, line);
        at += length + 1;
    }
done:
    sp_text_clear(&warnings);
    return status;
}

/* ---- the page ---- */

/* One row: a label, and words that are broken into lines. */
static __attribute__((format(printf, 3, 4))) void row(sp_text *text, const char *label, const char *format, ...)
{
    char words[ROW_LENGTH];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    sp_manual_help_row(label, words, text);
}

static void title(sp_text *text, const char *words)
{
    sp_text_append(text, "\n%s\n\n", words);
}

static void page_prtf(const sp_reconstruction *state, sp_text *text)
{
    const char *label = "phasing";

    if (state->prtf_shells == 0) {
        row(text, label, "not known yet: the final phasing at the end of the run tells it");
        return;
    }

    const bool crossed = state->prtf_resolution > 0.0;
    const double reached = crossed ? state->prtf_resolution
                                   : fmax(1.0 / state->prtf_s[state->prtf_shells - 1], state->settings.resolution);

    row(text, label,
        "%.1f Angstrom%s by PRTF 1/e: down to here, independent phasing starts agree. It says how well the map follows "
        "from the merged intensities, not whether these are right: starts agree on noise, too",
        reached / ANGSTROM, crossed ? "" : " or finer");
}

/* A conformation whose halves agree. */
static void page_claim(const char *label, const sp_half_agreement *a, sp_text *text)
{
    char half_bit[NAME_LENGTH] = "none";

    if (!supported(a)) {
        row(text, label, "NONE: half sets have no shape in common");
        return;
    }
    if (a->half_bit_resolution > 0.0) {
        snprintf(half_bit, sizeof half_bit, "%.1f", a->half_bit_resolution / ANGSTROM);
    }
    row(text, label,
        "%.1f Angstrom by half sets (%s), %s by the half-bit curve; the maps of the halves correlate by %.3f",
        a->resolution / ANGSTROM, a->resolution > a->fsc_resolution ? "CC 1/2 0.143" : "FSC 0.143", half_bit,
        a->correlation);
}

/* What may be claimed of a conformation. */
static void page_agreement(const char *label, const sp_half_agreement *a, sp_text *text)
{
    switch (a->verdict) {
    case SP_HALVES_TOO_FEW:
        row(text, label, "NONE: half sets have too few images of it, %td and %td", a->images[0], a->images[1]);
        break;
    case SP_HALVES_ONE_SIDED:
        row(text, label, "NONE: most images see the map from one side, as noise does");
        break;
    case SP_HALVES_APART:
        row(text, label, "NONE: all images together make another map than each half of them");
        break;
    case SP_HALVES_UNEXPLAINED:
        row(text, label, "NONE: the images score much less than photon noise allows");
        break;
    case SP_HALVES_DISAGREE:
        row(text, label, "NONE: half sets of the images do not agree on how the images lie");
        break;
    case SP_HALVES_AGREE:
        page_claim(label, a, text);
        break;
    }
}

static void page_resolution(const sp_reconstruction *state, sp_text *text)
{
    const sp_half_sets *h = state->halves;
    char label[NAME_LENGTH] = "resolution";

    if (!h) {
        row(text, label,
            "not measured: it takes half sets (spica reconstruct --resume DIR --half-sets). The map holds numbers to "
            "%.1f Angstrom, which says nothing",
            state->settings.resolution / ANGSTROM);
        return;
    }
    for (int k = 0; k < h->conformations; k++) {
        if (h->conformations > 1) {
            snprintf(label, sizeof label, "resolution of map %d", k + 1);
        }
        page_agreement(label, &h->of[k], text);
    }
    if (h->conformations > 1) {
        row(text, "sorting",
            "half sets put %.1f %% of the images into the conformation where the whole has them; "
            "chance would be %.1f %%",
            100.0 * h->labels_same, 100.0 * h->labels_chance);
    }
}

static void page_orientations(const sp_reconstruction *state, sp_text *text)
{
    const sp_generation *last = last_generation(state);

    if (!last || last->generation == 0 || !isfinite(last->orientation_change)) {
        row(text, "orientations", "their accuracy cannot be told before the second generation");
        return;
    }
    row(text, "orientations",
        "the median image turned by %.2f degrees in the last generation, %.0f %% of the images kept theirs; a "
        "speckle at the edge of the detector spans %.1f. This tells how far they have settled, which is not their "
        "error: "
        "they may settle in the wrong place",
        last->orientation_change / DEGREE, 100.0 * last->settled, state->speckle / DEGREE);
}

static const char *map_names(const sp_reconstruction *state)
{
    return state->settings.conformations > 1 ? "density-1.mrc, density-2.mrc ..." : "density.mrc";
}

/* How the number of conformations was found. */
static void page_trials(const sp_reconstruction *state, sp_text *text)
{
    for (int i = 0; i < state->trials; i++) {
        const sp_trial *t = &state->trial[i];
        char name[NAME_LENGTH], gain[NAME_LENGTH] = "";

        if (i > 0) {
            snprintf(gain, sizeof gain, ", %+.4f (%.4f) by one more: %s", t->gain, t->gain_error,
                     t->better ? "better" : "no better");
        }
        snprintf(name, sizeof name, "tried %d", t->conformations);
        row(text, name, "score of images held out %.4f%s%s", t->held_score, gain,
            t->contradicted ? "; its amplitudes contradict each other" : "");
    }
}

static void page_conformations(const sp_reconstruction *state, sp_text *text)
{
    ptrdiff_t count[SP_CONFORMATIONS];
    sp_text list = {0};

    page_trials(state, text);
    if (state->settings.conformations == 1) {
        return;
    }
    sp_conformations_count(state, count);
    for (int k = 0; k < state->settings.conformations; k++) {
        sp_text_append(&list, "%s%d: %.1f %%", k ? ", " : "", k + 1, 100.0 * (double)count[k] / (double)state->used);
    }
    row(text, "conformations", "%s of %td images", sp_text_string(&list), state->used);
    sp_text_clear(&list);
}

/* A run that failed says why, as far as it can be measured. */
static void page_causes(const sp_reconstruction *state, sp_text *text)
{
    static const char *const words[SP_CAUSES] = {
        "too few images",
        "too few photons",
        "too coarse a grid of orientations",
        "background",
        "a support that never closed",
        "several states or particles in the images, as far as the rest looks right"};
    bool present[SP_CAUSES];
    char list[ROW_LENGTH] = "";

    sp_report_causes(state, present);
    for (int i = 0; i < SP_CAUSES; i++) {
        if (present[i]) {
            const size_t used = strlen(list);

            snprintf(list + used, sizeof list - used, "%s%s", used > 0 ? "; " : "", words[i]);
        }
    }
    if (failed(state) && *list) {
        row(text, "likely reason", "%s", list);
    }
}

static void page_summary(const sp_reconstruction *state, sp_text *text)
{
    title(text, "IN SHORT");
    if (!finished(state)) {
        row(text, "converged",
            "not yet: generation %d of at most %d is the last complete one; the end of log.txt tells whether the run "
            "goes on or was stopped",
            state->generations, state->settings.generations);
    } else {
        row(text, "converged", "%s, after %d generations: %s", state->converged ? "yes" : "NO", state->generations,
            state->stop_reason);
    }
    if (state->settings.match == SP_MATCH_EUCLIDEAN) {
        row(text, "method",
            "the published baseline: plain Euclidean distance of intensities (--match euclidean), as SpiniFEL compares "
            "them; the figures here are what the baseline reached");
    }
    page_causes(state, text);
    page_resolution(state, text);
    page_prtf(state, text);
    page_orientations(state, text);
    page_conformations(state, text);
    row(text, state->settings.conformations > 1 ? "the maps" : "the map",
        "%s: %td voxels of %.2f Angstrom along each edge, sharp to %.1f Angstrom", map_names(state), state->edge,
        state->voxel / ANGSTROM, state->settings.resolution / ANGSTROM);
    row(text, "cannot be known",
        "the hand: the map may be the mirror image of the molecule, the images are the same for both");
}

static void show_row(void *text, const char *line)
{
    sp_manual_help_row("!", line, text);
}

static void page_warnings(const sp_reconstruction *state, sp_text *text)
{
    size_t before = 0;

    title(text, "WARNINGS");
    before = text->length;
    text->failed |= sp_report_warnings(state, show_row, text) != SP_OK;
    if (text->length == before) {
        row(text, "none", "nothing looks wrong");
    }
}

static void page_input(const sp_report_source *source, const sp_reconstruction *state, sp_text *text)
{
    title(text, "WHAT WAS READ");
    row(text, "file", "%s, %.0f bytes", source->path, source->bytes);
    row(text, "images", "%td, of which %td have signal and were used", state->images, state->used);
    row(text, "values", "%.4g per image over the good pixels, %td bins of %d x %d pixels", state->photons_per_image,
        state->pixels_used, state->settings.binning, state->settings.binning);
    if (state->quantum > 0.0) {
        row(text, "noise", "counts: variance %.3g times the mean, about %.4g photons per image", state->quantum,
            photons(state));
    } else {
        row(text, "noise", "none");
    }
    row(text, "divided out", "%s", *state->corrections ? state->corrections : "nothing");
    if (state->wavelength > 0.0) {
        row(text, "wavelength", "%.4f Angstrom", state->wavelength / ANGSTROM);
    }
    row(text, "detector reaches", "%.2f Angstrom all round, %.2f in the farthest corner",
        state->edge_resolution / ANGSTROM, state->corner_resolution / ANGSTROM);
}

/* "low_resolution" -> "low-resolution": as the option is written. */
static void option_name(const char *name, size_t size, char *option)
{
    snprintf(option, size, "%s", name);
    for (char *c = strchr(option, '_'); c; c = strchr(c, '_')) {
        *c = '-';
    }
}

/* ---- the table of a publication ---- */

/* Mean of the finite values and their deviation. */
static void spread(const float *value, const float *scale, ptrdiff_t count, double *mean, double *deviation)
{
    double sum = 0.0, square = 0.0, used = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        if (scale[i] > 0.0f && isfinite(value[i])) {
            sum += value[i];
            square += (double)value[i] * value[i];
            used++;
        }
    }
    *mean = used > 0.0 ? sum / used : 0.0;
    *deviation = used > 0.0 ? sqrt(fmax(square / used - *mean * *mean, 0.0)) : 0.0;
}

/* Speckles of the finest shell that randomly oriented images have seen at least once. */
static double completeness(const sp_reconstruction *state)
{
    return 1.0 - exp(-coverage(state));
}

/* Do the models explain images that they were not made from as well as those that they were? */
static void page_held_out(const sp_reconstruction *state, sp_text *text)
{
    const sp_generation *last = last_generation(state);
    ptrdiff_t held = 0;

    for (ptrdiff_t n = 0; n < state->images; n++) {
        held += state->held_out[n];
    }
    if (held > 0 && last) {
        row(text, "over-fitting", "score of the %td images held out from merging %.4f, of the others %.4f", held,
            last->held_score, last->score);
    } else {
        row(text, "over-fitting", "not measured: no images were held out");
    }
}

/* A value that each conformation has: "8.2 Angstrom", of several "1: 8.2 Angstrom; 2: no resolution". */
typedef void append_value(sp_text *list, const sp_half_agreement *a);

static void row_of_each(sp_text *text, const char *label, const sp_half_sets *h, append_value *append)
{
    sp_text list = {0};

    for (int k = 0; k < h->conformations; k++) {
        if (h->conformations > 1) {
            sp_text_append(&list, "%s%d: ", k > 0 ? "; " : "", k + 1);
        }
        append(&list, &h->of[k]);
    }
    row(text, label, "%s", sp_text_string(&list));
    text->failed |= list.failed;
    sp_text_clear(&list);
}

static void append_length(sp_text *list, double length, bool claimed)
{
    if (claimed && length > 0.0) {
        sp_text_append(list, "%.1f Angstrom", length / ANGSTROM);
    } else {
        sp_text_append(list, "no resolution");
    }
}

static void append_seventh(sp_text *list, const sp_half_agreement *a)
{
    append_length(list, a->fsc_resolution, supported(a));
}

static void append_cc_half(sp_text *list, const sp_half_agreement *a)
{
    append_length(list, a->cc_half_resolution, supported(a));
}

static void append_half_bit(sp_text *list, const sp_half_agreement *a)
{
    append_length(list, a->half_bit_resolution, supported(a));
}

static void append_spread(sp_text *list, const sp_half_agreement *a)
{
    if (isnan(a->turn)) {
        sp_text_append(list, "too few images");
    } else {
        sp_text_append(list,
                       "%.2f degrees between halves and whole in the median image, %.0f between images taken for one "
                       "another (modulo %s)",
                       a->turn / DEGREE, a->chance / DEGREE, a->group);
    }
}

static void table_of_half_sets(const sp_half_sets *h, sp_text *text)
{
    if (!h) {
        row(text, "half sets", "none (--half-sets)");
        return;
    }
    row(text, "half sets", "%td and %td images, %s and %s", h->used[0], h->used[1],
        h->converged[0] ? "converged" : "not converged", h->converged[1] ? "converged" : "not converged");
    row_of_each(text, "orientation spread", h, append_spread);
    row_of_each(text, "FSC 0.143", h, append_seventh);
    row_of_each(text, "FSC half-bit", h, append_half_bit);
    row_of_each(text, "CC 1/2 0.143", h, append_cc_half);
}

static void page_table(const sp_reconstruction *state, sp_text *text)
{
    char allowed[NAME_LENGTH] = "";
    double mean, deviation;

    title(text, "TABLE 1");
    row(text, "images", "%td used, %td rejected (no signal)", state->used, state->images - state->used);
    if (photons(state) > 0.0) {
        row(text, "photons per image", "%.4g", photons(state));
    } else {
        row(text, "photons per image", "no counts: values without noise");
    }
    spread(state->scale, state->scale, state->images, &mean, &deviation);
    row(text, "fluence", "varies by %.1f %%", 100.0 * deviation / (mean > 0.0 ? mean : 1.0));
    spread(state->score, state->scale, state->images, &mean, &deviation);
    if (last_generation(state) && state->quantum > 0.0) {
        snprintf(allowed, sizeof allowed, "; photon noise allows %.4f", last_generation(state)->best_score);
    }
    row(text, "score", "%.4f, varies by %.4f from image to image%s", mean, deviation, allowed);
    row(text, "background", "%.0f %% of the photons beyond the innermost speckles, by their contrast%s",
        100.0 * state->background, state->background_fitted > 0.0 ? "; estimated and accounted for" : "");
    row(text, "completeness", "%.1f %% of the speckles at %.1f Angstrom, each seen by %.1f images",
        100.0 * completeness(state), fmax(state->edge_resolution, state->settings.resolution) / ANGSTROM,
        coverage(state));
    row(text, "classes", "%d", sp_conformations_found(state));
    page_held_out(state, text);
    table_of_half_sets(state->halves, text);
    if (state->prtf_resolution > 0.0) {
        row(text, "PRTF 1/e", "%.1f Angstrom", state->prtf_resolution / ANGSTROM);
    } else {
        row(text, "PRTF 1/e", "%s", state->prtf_shells > 0 ? "not reached" : "not known yet");
    }
}

static void page_fsc(const sp_reconstruction *state, sp_text *text)
{
    const sp_half_sets *h = state->halves;

    for (int k = 0; h && k < h->conformations; k++) {
        const double *fsc = h->fsc + k * h->shells, *shape = h->shape + k * h->shells;
        char words[NAME_LENGTH] = "HALF SETS";

        if (h->conformations > 1) {
            snprintf(words, sizeof words, "HALF SETS, CONFORMATION %d", k + 1);
        }
        title(text, words);
        sp_text_append(text, "  Angstrom     FSC   shape  half-bit  CC 1/2\n");
        for (ptrdiff_t i = 1; i < h->shells; i++) {
            sp_text_append(text, "  %8.2f  %6.3f  %6.3f    %6.3f  %6.3f\n", 1.0 / h->s[i] / ANGSTROM, fsc[i], shape[i],
                           h->half_bit[i], h->cc_half[k * h->shells + i]);
        }
    }
    if (h) {
        sp_text_append(text, "\n  shape: FSC of what is not alike in all directions; 0.143 is looked for in it.\n"
                             "  CC 1/2: the same of the merged intensities, from which the maps were phased.\n");
    }
}

static void page_settings(const sp_report_source *source, const sp_reconstruction *state, sp_text *text)
{
    title(text, "SETTINGS");
    for (const sp_field *field = sp_setting_fields; field->name; field++) {
        const bool length = strcmp(field->unit, "m") == 0, real = field->kind == SP_FIELD_REAL;
        const double value = sp_field_value(field, &state->settings) / (length ? ANGSTROM : 1.0);
        const char *word = sp_field_word(field, &state->settings), *unit = length ? "Angstrom" : field->unit;
        const char *how = origin(field, source);
        char name[NAME_LENGTH];

        option_name(field->name, sizeof name, name);
        if (word) {
            row(text, name, "%s (%s)", word, how);
        } else if (length && value == 0.0) {
            row(text, name, "none (%s)", how);
        } else {
            row(text, name, "%.*g%s%s (%s)", real ? 4 : 17, value, *unit ? " " : "", unit, how);
        }
    }
    sp_text_append(text, "\n  automatic: found from the data. default: as --help says. chosen: by the user.\n");
}

static void page_history(const sp_reconstruction *state, sp_text *text)
{
    title(text, "HISTORY");
    sp_text_append(text, "  generation  Angstrom  orientations    score  turned by  settled  map change  accepted\n");
    for (int i = 0; i < state->generations; i++) {
        const sp_generation *g = &state->history[i];

        sp_text_append(text, "  %10d  %8.1f  %12td  %7.4f  %7.2f deg  %5.0f %%  %10.2g  %s\n", g->generation + 1,
                       g->resolution / ANGSTROM, g->orientations, g->score, g->orientation_change / DEGREE,
                       100.0 * g->settled, g->density_change, g->accepted ? "yes" : "no: the map before was kept");
    }
    sp_text_append(text, "\n  score: mean agreement of the images with the model, 1 is perfect, noise lowers it.\n"
                         "  turned by: median rotation of an image since the generation before.\n"
                         "  settled: images that turned by less than 3 degrees, or 1.5 grid steps in the search.\n"
                         "  map change: 1 - correlation of the intensities with those before.\n");
}

static void page_time(const sp_reconstruction *state, sp_text *text)
{
    title(text, "TIME AND MEMORY");
    sp_text_append(text, "  phase         wall [s]   cpu [s]\n");
    for (int i = 0; i < SP_PHASES; i++) {
        sp_text_append(text, "  %-10s  %10.2f  %8.2f\n", sp_phase_names[i], state->wall[i], state->cpu[i]);
    }
    sp_text_append(text, "  %-10s  %10.2f  %8.2f\n", "all", total(state->wall), total(state->cpu));
    if (state->device[0] != '\0') {
        sp_text_append(text, "\n  GPU         %s\n", state->device);
    }
    sp_text_append(text, "\n  peak memory");
    for (ptrdiff_t i = 0; i < state->processes; i++) {
        sp_text_append(text, "%s %.0f", i > 0 ? "," : "", state->peak_memory[i] / 1e6);
    }
    sp_text_append(text, " MB%s\n", state->processes > 1 ? ", by process" : "");
}

void sp_report_page(const sp_report_source *source, const sp_reconstruction *state, sp_text *text)
{
    char stamp[SP_CLOCK_STAMP];

    sp_clock_stamp(stamp);
    sp_text_append(text, "spica " SPICA_VERSION ": reconstruction of %s\nwritten %s, after %.0f s\n", source->path,
                   stamp, total(state->wall));
    page_summary(state, text);
    page_warnings(state, text);
    page_table(state, text);
    page_fsc(state, text);
    page_input(source, state, text);
    page_settings(source, state, text);
    page_history(state, text);
    page_time(state, text);
    sp_text_append(text, "\nFILES\n\n");
    row(text, map_names(state), "the map, for ChimeraX, PyMOL, Mol* and others");
    row(text, "result.h5", "map, orientations, scores, history: for programs");
    row(text, "settings.txt", "repeats this run: spica reconstruct --settings settings.txt -o OTHER");
    row(text, "report.json", "this page for programs");
    row(text, "log.txt", "what was said while it ran");
}

/* ---- JSON ---- */

static void json_field(sp_json *json, const sp_field *field, const char *key, const void *record)
{
    const char *word = sp_field_word(field, record);

    if (field->kind == SP_FIELD_FLAG) {
        sp_json_flag(json, key, sp_field_value(field, record) != 0.0);
    } else if (word) {
        sp_json_text(json, key, word);
    } else if (field->kind == SP_FIELD_REAL) {
        sp_json_real(json, key, sp_field_value(field, record));
    } else {
        sp_json_integer(json, key, (int64_t)sp_field_value(field, record));
    }
}

static void json_input(const sp_report_source *source, const sp_reconstruction *state, sp_json *json)
{
    sp_json_object(json, "input");
    sp_json_text(json, "path", source->path);
    sp_json_integer(json, "bytes", (int64_t)source->bytes);
    sp_json_integer(json, "images", state->images);
    sp_json_integer(json, "used", state->used);
    sp_json_integer(json, "pixels_used", state->pixels_used);
    sp_json_real(json, "photons_per_image", state->photons_per_image);
    sp_json_real(json, "quantum", state->quantum);
    sp_json_text(json, "corrections", state->corrections);
    sp_json_real(json, "wavelength", state->wavelength);
    sp_json_real(json, "edge_resolution", state->edge_resolution);
    sp_json_real(json, "corner_resolution", state->corner_resolution);
    sp_json_end(json);
}

static void json_result(const sp_reconstruction *state, sp_json *json)
{
    const sp_generation *last = last_generation(state);

    sp_json_object(json, "result");
    sp_json_flag(json, "finished", finished(state));
    sp_json_flag(json, "converged", state->converged);
    sp_json_flag(json, "failed", failed(state));
    sp_json_text(json, "stop_reason", state->stop_reason);
    sp_json_flag(json, "published_baseline", state->settings.match == SP_MATCH_EUCLIDEAN);
    sp_json_integer(json, "generations", state->generations);
    sp_json_integer(json, "edge", state->edge);
    sp_json_real(json, "voxel", state->voxel);
    sp_json_real(json, "prtf_resolution", state->prtf_resolution > 0.0 ? state->prtf_resolution : NAN);
    sp_json_real(json, "orientation_change", last ? last->orientation_change : NAN);
    sp_json_real(json, "settled", last ? last->settled : NAN);
    sp_json_real(json, "score", last ? last->score : NAN);
    sp_json_real(json, "speckle", state->speckle);
    sp_json_real(json, "grid_spacing", state->grid_spacing);
    sp_json_end(json);
}

/* Of all conformations that have one. */
static double largest_turn(const sp_half_sets *h)
{
    double turn = NAN;

    for (int k = 0; k < h->conformations; k++) {
        turn = fmax(turn, h->of[k].turn); /* fmax leaves NANs out */
    }
    return turn;
}

/* NULL: none may be claimed */
static void json_resolutions(const sp_half_agreement *a, sp_json *json)
{
    sp_json_real(json, "resolution", a ? a->resolution : NAN);
    sp_json_real(json, "fsc_resolution", a ? a->fsc_resolution : NAN);
    sp_json_real(json, "cc_half_resolution", a ? a->cc_half_resolution : NAN);
    sp_json_real(json, "half_bit_resolution", a ? a->half_bit_resolution : NAN);
}

static void json_table(const sp_reconstruction *state, sp_json *json)
{
    const sp_half_agreement *a = least_supported(state->halves);
    double mean, deviation;

    sp_json_object(json, "table_1");
    sp_json_integer(json, "used", state->used);
    sp_json_integer(json, "rejected", state->images - state->used);
    sp_json_real(json, "photons", photons(state));
    spread(state->scale, state->scale, state->images, &mean, &deviation);
    sp_json_real(json, "fluence_spread", mean > 0.0 ? deviation / mean : NAN);
    spread(state->score, state->scale, state->images, &mean, &deviation);
    sp_json_real(json, "score", mean);
    sp_json_real(json, "score_spread", deviation);
    sp_json_real(json, "best_score", last_generation(state) ? last_generation(state)->best_score : NAN);
    sp_json_real(json, "background", state->background);
    sp_json_real(json, "background_fitted", state->background_fitted);
    sp_json_real(json, "coverage", coverage(state));
    sp_json_real(json, "completeness", completeness(state));
    sp_json_integer(json, "classes", sp_conformations_found(state));
    sp_json_real(json, "held_score", last_generation(state) ? last_generation(state)->held_score : NAN);
    json_resolutions(a, json);
    sp_json_real(json, "orientation_spread", state->halves ? largest_turn(state->halves) : NAN);
    sp_json_end(json);
}

static void json_agreement(const sp_half_sets *h, int k, sp_json *json)
{
    const sp_half_agreement *a = &h->of[k];

    sp_json_flag(json, "agree", a->verdict == SP_HALVES_AGREE);
    sp_json_integer(json, "images_1", a->images[0]);
    sp_json_integer(json, "images_2", a->images[1]);
    sp_json_real(json, "correlation", a->correlation);
    sp_json_real(json, "whole", a->whole);
    sp_json_real(json, "turn", a->turn);
    sp_json_real(json, "chance", a->chance);
    sp_json_text(json, "group", a->group);
    sp_json_real(json, "likeness", a->likeness);
    json_resolutions(supported(a) ? a : NULL, json);
    sp_json_reals(json, "fsc", h->fsc + k * h->shells, h->shells);
    sp_json_reals(json, "shape", h->shape + k * h->shells, h->shells);
    sp_json_reals(json, "cc_half", h->cc_half + k * h->shells, h->shells);
}

/* What belongs to a conformation stands among the rest where there is one, and else in a list. */
static void json_half_sets(const sp_half_sets *h, sp_json *json)
{
    if (!h) {
        return;
    }
    sp_json_object(json, "half_sets");
    sp_json_integer(json, "used_1", h->used[0]);
    sp_json_integer(json, "used_2", h->used[1]);
    sp_json_flag(json, "converged_1", h->converged[0]);
    sp_json_flag(json, "converged_2", h->converged[1]);
    sp_json_reals(json, "s", h->s, h->shells);
    sp_json_reals(json, "half_bit", h->half_bit, h->shells);
    if (h->conformations == 1) {
        json_agreement(h, 0, json);
    } else {
        sp_json_real(json, "labels_same", h->labels_same);
        sp_json_real(json, "labels_chance", h->labels_chance);
        sp_json_array(json, "conformations");
        for (int k = 0; k < h->conformations; k++) {
            sp_json_object(json, NULL);
            json_agreement(h, k, json);
            sp_json_end(json);
        }
        sp_json_end(json);
    }
    sp_json_end(json);
}

static void json_conformations(const sp_reconstruction *state, sp_json *json)
{
    const int all = state->settings.conformations;
    ptrdiff_t count[SP_CONFORMATIONS];

    sp_conformations_count(state, count);
    sp_json_object(json, "conformations");
    sp_json_integer(json, "found", sp_conformations_found(state));
    sp_json_array(json, "images");
    for (int k = 0; k < all; k++) {
        sp_json_integer(json, NULL, count[k]);
    }
    sp_json_end(json);
    sp_json_array(json, "likeness");
    for (int k = 0; k < all; k++) {
        sp_json_reals(json, NULL, state->likeness[k], all);
    }
    sp_json_end(json);
    sp_json_array(json, "trials");
    for (int i = 0; i < state->trials; i++) {
        sp_json_object(json, NULL);
        for (const sp_field *field = sp_trial_fields; field->name; field++) {
            json_field(json, field, field->name, &state->trial[i]);
        }
        sp_json_end(json);
    }
    sp_json_end(json);
    sp_json_end(json);
}

static void json_causes(const sp_reconstruction *state, sp_json *json)
{
    bool present[SP_CAUSES];

    sp_report_causes(state, present);
    sp_json_array(json, "causes");
    for (int i = 0; i < SP_CAUSES; i++) {
        if (present[i]) {
            sp_json_text(json, NULL, sp_cause_names[i]);
        }
    }
    sp_json_end(json);
}

static void json_settings(const sp_report_source *source, const sp_reconstruction *state, sp_json *json)
{
    sp_json_object(json, "settings");
    for (const sp_field *field = sp_setting_fields; field->name; field++) {
        sp_json_object(json, field->name);
        json_field(json, field, "value", &state->settings);
        sp_json_text(json, "unit", field->unit);
        sp_json_text(json, "origin", origin(field, source));
        sp_json_end(json);
    }
    sp_json_end(json);
}

static void json_times(const double *wall, const double *cpu, sp_json *json)
{
    sp_json_object(json, "wall");
    for (int i = 0; i < SP_PHASES; i++) {
        sp_json_real(json, sp_phase_names[i], wall[i]);
    }
    sp_json_end(json);
    sp_json_object(json, "cpu");
    for (int i = 0; i < SP_PHASES; i++) {
        sp_json_real(json, sp_phase_names[i], cpu[i]);
    }
    sp_json_end(json);
}

static void json_history(const sp_reconstruction *state, sp_json *json)
{
    sp_json_array(json, "history");
    for (int i = 0; i < state->generations; i++) {
        sp_json_object(json, NULL);
        for (const sp_field *field = sp_generation_fields; field->name; field++) {
            json_field(json, field, field->name, &state->history[i]);
        }
        json_times(state->history[i].wall, state->history[i].cpu, json);
        sp_json_end(json);
    }
    sp_json_end(json);
}

static void show_json(void *json, const char *line)
{
    sp_json_text(json, NULL, line);
}

static double largest(const double *value, ptrdiff_t count)
{
    double most = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        most = fmax(most, value[i]);
    }
    return most;
}

void sp_report_json(const sp_report_source *source, const sp_reconstruction *state, sp_text *text)
{
    sp_json json = sp_json_start(text);
    char stamp[SP_CLOCK_STAMP];

    sp_clock_stamp(stamp);
    sp_json_object(&json, NULL);
    sp_json_text(&json, "program", "spica");
    sp_json_text(&json, "version", SPICA_VERSION);
    sp_json_text(&json, "written", stamp);
    json_result(state, &json);
    sp_json_array(&json, "warnings");
    text->failed |= sp_report_warnings(state, show_json, &json) != SP_OK;
    sp_json_end(&json);
    json_causes(state, &json);
    json_conformations(state, &json);
    json_table(state, &json);
    json_half_sets(state->halves, &json);
    json_input(source, state, &json);
    json_settings(source, state, &json);
    json_history(state, &json);
    sp_json_object(&json, "prtf");
    sp_json_reals(&json, "s", state->prtf_s, state->prtf_shells);
    sp_json_reals(&json, "value", state->prtf, state->prtf_shells);
    sp_json_end(&json);
    sp_json_object(&json, "time");
    json_times(state->wall, state->cpu, &json);
    sp_json_end(&json);
    sp_json_text(&json, "gpu", state->device[0] != '\0' ? state->device : NULL);
    sp_json_integer(&json, "peak_memory", (int64_t)largest(state->peak_memory, state->processes));
    sp_json_reals(&json, "peak_memory_by_process", state->peak_memory, state->processes);
    sp_json_end(&json);
}
