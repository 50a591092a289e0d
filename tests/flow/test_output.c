/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/output.h"

#include <math.h>

#include "base/memory.h"
#include "flow/report.h"
#include "io/h5.h"
#include "io/mrc.h"
#include "io/scratch.h"

enum { EDGE = 8, IMAGES = 6, GENERATIONS = 3, SHELLS = 4, FILE_ROOM = 1 << 20 };
static const double VOXEL = 5e-10; /* [m] */

/* A finished run without any fault: each image has signal, orientations are settled, grids are fine. */
typedef struct sample {
    float density[EDGE * EDGE * EDGE];
    sp_quat orientation[IMAGES];
    int32_t label[IMAGES];
    float score[IMAGES], scale[IMAGES];
    bool held_out[IMAGES];
    sp_generation history[GENERATIONS];
    double prtf[SHELLS], prtf_s[SHELLS];
    sp_reconstruction state;
    sp_output_plan plan;
} sample;

static void fill_images(sample *self)
{
    for (int i = 0; i < IMAGES; i++) {
        const double axis[3] = {1.0, 2.0, 3.0};

        self->orientation[i] = sp_quat_from_axis_angle(axis, 0.3 * i);
        self->score[i] = 0.9F - 0.01F * (float)i;
        self->scale[i] = 1.0F + 0.1F * (float)i;
    }
}

static void fill_curves(sample *self)
{
    for (int i = 0; i < GENERATIONS; i++) {
        self->history[i] = (sp_generation){.generation = i,
                                           .accepted = i != 1,
                                           .score = 0.8 + 0.05 * i,
                                           .support_volume = 2e-27,
                                           .orientation_change = i ? 0.01 / i : NAN,
                                           .settled = 0.5 * i,
                                           .resolution = 1e-9,
                                           .orientations = 5000};
    }
    for (int i = 0; i < SHELLS; i++) {
        self->prtf[i] = 1.0 - 0.1 * i;
        self->prtf_s[i] = 3e8 * i;
    }
}

static sample *sample_new(void)
{
    sample *self = calloc(1, sizeof *self);

    assert_non_null(self);
    fill_images(self);
    fill_curves(self);
    self->density[(1 * EDGE + 0) * EDGE + EDGE - 1] = 7.0F; /* x = +1, y = 0, z = -1 from the centre */
    self->plan = (sp_output_plan){.folder = ".", .input = "images.h5", .settings = "seed = 1\n"};
    self->plan.asked = sp_reconstruct_defaults();
    self->state = (sp_reconstruction){.settings = sp_reconstruct_defaults(),
                                      .images = IMAGES,
                                      .used = IMAGES,
                                      .pixels_used = 900,
                                      .edge_resolution = 1.2e-9,
                                      .corner_resolution = 1e-9,
                                      .photons_per_image = 5000,
                                      .quantum = 1,
                                      .corrections = "solid_angle",
                                      .edge = EDGE,
                                      .voxel = VOXEL,
                                      .density = self->density,
                                      .speckle = 2.0, /* [rad]: so large that few images are enough */
                                      .grid_spacing = 0.1,
                                      .orientation = self->orientation,
                                      .label = self->label,
                                      .score = self->score,
                                      .scale = self->scale,
                                      .held_out = self->held_out,
                                      .generations = GENERATIONS,
                                      .history = self->history,
                                      .converged = true,
                                      .stop_reason = "nothing changes any more",
                                      .prtf = self->prtf,
                                      .prtf_s = self->prtf_s,
                                      .prtf_shells = SHELLS,
                                      .prtf_resolution = 1e-9};
    self->state.settings.resolution = 1e-9;
    self->state.settings.diameter = 2e-9;
    self->state.settings.grid = EDGE;
    return self;
}

static void write_once(const sample *self)
{
    sp_output_plan plan = self->plan;
    sp_output *output = NULL;

    plan.replace = true;
    assert_int_equal(sp_output_new(&plan, &output), SP_OK);
    assert_int_equal(sp_output_generations(output), 0);
    assert_int_equal(sp_output_write(output, &self->state, NULL), SP_OK);
    assert_int_equal(sp_output_generations(output), GENERATIONS);
    sp_output_free(output);
}

/* Zero-terminated contents; for free(). */
static char *contents(const char *name, size_t *count)
{
    char *bytes = calloc(1, FILE_ROOM + 1);

    assert_non_null(bytes);
    *count = get_file(name, bytes, FILE_ROOM);
    assert_in_range(*count, 1, FILE_ROOM - 1);
    return bytes;
}

static void assert_holds(const char *name, const char *words)
{
    size_t count = 0;
    char *bytes = contents(name, &count);

    if (!strstr(bytes, words)) {
        fail_msg("'%s' is not in %s:\n%s", words, name, bytes);
    }
    free(bytes);
}

static void assert_no_leftover(void)
{
    DIR *folder = opendir(".");

    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry; entry = readdir(folder)) {
        if (strstr(entry->d_name, ".next") || strstr(entry->d_name, ".tmp") || strcmp(entry->d_name, "probe") == 0) {
            fail_msg("%s was left", entry->d_name);
        }
    }
    closedir(folder);
}

static void the_map_is_centred_and_says_what_it_is(void **state)
{
    (void)state;
    sample *self = sample_new();
    sp_map map = {0};

    write_once(self);
    assert_int_equal(sp_mrc_read("density.mrc", &map), SP_OK);
    assert_int_equal(map.n[0], EDGE);
    assert_float_equal(map.voxel[0], VOXEL, 1e-6 * VOXEL);
    assert_float_equal(map.value[((EDGE / 2 + 1) * EDGE + EDGE / 2) * EDGE + EDGE / 2 - 1], 7.0F, 0.0F);
    assert_string_equal(map.label[0], "spica " SPICA_VERSION);
    assert_string_equal(map.label[1], "generation 3, converged");
    assert_string_equal(map.label[2], "sharp to 10.00 Angstrom");
    assert_string_equal(map.label[3], "hand not determined");
    sp_map_clear(&map);
    free(self);
}

static void the_image_of_the_result_is_the_map_with_x_fastest(void **state)
{
    (void)state;
    sample *self = sample_new();
    const ptrdiff_t shape[3] = {EDGE, EDGE, EDGE}, three = 3;
    float image[EDGE * EDGE * EDGE];
    double size[3];
    sp_h5 *file = NULL;

    write_once(self);
    assert_int_equal(sp_h5_open("result.h5", &file), SP_OK);
    assert_int_equal(sp_h5_read_float(file, "entry_1/image_1/data", 3, shape, image), SP_OK);
    assert_float_equal(image[((EDGE / 2 - 1) * EDGE + EDGE / 2) * EDGE + EDGE / 2 + 1], 7.0F, 0.0F);
    assert_int_equal(sp_h5_read_double(file, "entry_1/image_1/image_size", 1, &three, size), SP_OK);
    assert_float_equal(size[2], EDGE * VOXEL, 1e-20);
    sp_h5_close(file);
    free(self);
}

static void the_result_holds_orientations_scores_and_history(void **state)
{
    (void)state;
    sample *self = sample_new();
    const ptrdiff_t shape[2] = {IMAGES, 4}, generations = GENERATIONS, shells = SHELLS;
    float orientation[IMAGES][4], score[IMAGES];
    double change[GENERATIONS], curve[SHELLS];
    uint8_t accepted[GENERATIONS];
    char *text = NULL;
    sp_h5 *file = NULL;

    write_once(self);
    assert_int_equal(sp_h5_open("result.h5", &file), SP_OK);
    assert_int_equal(sp_h5_read_float(file, "result/orientations", 2, shape, orientation[0]), SP_OK);
    assert_int_equal(sp_h5_read_float(file, "result/score", 1, shape, score), SP_OK);
    for (int i = 0; i < IMAGES; i++) {
        assert_float_equal(orientation[i][0], self->orientation[i].w, 1e-6);
        assert_float_equal(orientation[i][3], self->orientation[i].z, 1e-6);
        assert_float_equal(score[i], self->score[i], 0.0);
    }
    assert_int_equal(sp_h5_read_double(file, "history/orientation_change", 1, &generations, change), SP_OK);
    assert_float_equal(change[2], 0.005, 0.0);
    assert_int_equal(sp_h5_read_uint8(file, "history/accepted", 1, &generations, accepted), SP_OK);
    assert_memory_equal(accepted, ((uint8_t[]){1, 0, 1}), 3);
    assert_int_equal(sp_h5_read_double(file, "prtf/value", 1, &shells, curve), SP_OK);
    assert_memory_equal(curve, self->prtf, sizeof curve);
    assert_int_equal(sp_h5_read_attribute_string(file, "history/orientation_change", "units", &text), SP_OK);
    assert_string_equal(text, "rad");
    sp_array_free(text);
    assert_int_equal(sp_h5_read_string(file, "config", &text), SP_OK);
    assert_string_equal(text, "seed = 1\n");
    sp_array_free(text);
    assert_int_equal(sp_h5_read_string(file, "settings/match", &text), SP_OK);
    assert_string_equal(text, "likelihood");
    sp_array_free(text);
    sp_h5_close(file);
    free(self);
}

static void equal_states_give_equal_files(void **state)
{
    (void)state;
    static const char *const names[] = {"density.mrc", "result.h5", "settings.txt"};
    sample *self = sample_new();
    char *first[3];
    size_t count[3];

    write_once(self);
    for (int i = 0; i < 3; i++) {
        first[i] = contents(names[i], &count[i]);
    }
    write_once(self);
    for (int i = 0; i < 3; i++) {
        size_t again = 0;
        char *second = contents(names[i], &again);

        assert_int_equal(again, count[i]);
        assert_memory_equal(second, first[i], again);
        free(second);
        free(first[i]);
    }
    assert_no_leftover();
    free(self);
}

static void a_run_is_replaced_only_when_asked(void **state)
{
    (void)state;
    sample *self = sample_new();
    sp_output *output = NULL;

    write_once(self);
    assert_refused(sp_output_new(&self->plan, &output), SP_ERR_OUTPUT, "holds a run already", "--force");
    assert_null(output);
    self->plan.replace = true;
    assert_int_equal(sp_output_new(&self->plan, &output), SP_OK);
    sp_output_free(output);
    assert_holds("report.txt", "nothing changes any more"); /* the old run stands until the new one has a generation */
    free(self);
}

static void a_file_in_place_of_the_folder_is_refused(void **state)
{
    (void)state;
    sample *self = sample_new();
    sp_output *output = NULL;

    put_file("taken", "x", 1);
    self->plan.folder = "taken";
    assert_refused(sp_output_new(&self->plan, &output), SP_ERR_OUTPUT, "taken: is a file", "folder");
    self->plan.folder = "taken/below";
    assert_refused(sp_output_new(&self->plan, &output), SP_ERR_OUTPUT, "taken", "folder");
    free(self);
}

static void a_failed_generation_leaves_the_one_before(void **state)
{
    (void)state;
    static const char *const names[] = {"density.mrc", "result.h5", "report.txt", "report.json", "settings.txt"};
    sample *self = sample_new();
    sp_output *output = NULL;
    char *before[5];
    size_t count[5];

    write_once(self);
    for (int i = 0; i < 5; i++) {
        before[i] = contents(names[i], &count[i]);
    }
    self->plan.replace = true;
    assert_int_equal(sp_output_new(&self->plan, &output), SP_OK);
    self->density[5] = NAN;
    assert_int_equal(sp_output_write(output, &self->state, NULL), SP_ERR_NUMERIC);
    assert_int_equal(sp_output_generations(output), 0);
    for (int i = 0; i < 5; i++) {
        size_t now = 0;
        char *after = contents(names[i], &now);

        assert_int_equal(now, count[i]);
        assert_memory_equal(after, before[i], now);
        free(after);
        free(before[i]);
    }
    assert_no_leftover();
    sp_output_free(output);
    free(self);
}

static void the_page_tells_how_the_run_ended(void **state)
{
    (void)state;
    sample *self = sample_new();

    write_once(self);
    assert_holds("report.txt", "yes, after 3 generations: nothing changes any more");
    assert_holds("report.txt", "10.0 Angstrom by PRTF");
    assert_holds("report.txt", "not measured: it takes half sets");
    assert_holds("report.txt", "turned by 0.29 degrees");
    assert_holds("report.json", "\"finished\": true");
    assert_holds("report.json", "\"warnings\": []");
    self->state.stop_reason = NULL;
    self->state.converged = false;
    write_once(self);
    assert_holds("report.txt", "not yet: generation 3 of at most");
    assert_holds("report.json", "\"finished\": false");
    self->state.stop_reason = "the last generation was reached";
    write_once(self);
    assert_holds("report.txt", "NO, after 3 generations: the last generation was");
    free(self);
}

static void the_page_tells_who_chose_a_setting(void **state)
{
    (void)state;
    sample *self = sample_new();

    self->plan.asked.resolution = self->state.settings.resolution;
    write_once(self);
    assert_holds("report.txt", "10 Angstrom (chosen)");
    assert_holds("report.txt", "8 voxels (automatic)");
    assert_holds("report.txt", "likelihood (default)");
    assert_holds("report.json", "\"origin\": \"chosen\"");
    free(self);
}

static void the_baseline_is_called_by_its_name(void **state)
{
    (void)state;
    sample *self = sample_new();

    self->state.settings.match = SP_MATCH_EUCLIDEAN;
    write_once(self);
    assert_holds("report.txt", "the published baseline");
    assert_holds("report.json", "\"published_baseline\": true");
    free(self);
}

static void append_line(void *text, const char *line)
{
    sp_text_append(text, "%s\n", line);
}

static void assert_warns(const sp_reconstruction *state, const char *words)
{
    sp_text text = {0};

    assert_int_equal(sp_report_warnings(state, append_line, &text), SP_OK);
    if (!strstr(sp_text_string(&text), words)) {
        fail_msg("no warning of '%s': %s", words, sp_text_string(&text));
    }
    sp_text_clear(&text);
}

static void a_faultless_run_has_no_warning(void **state)
{
    (void)state;
    sample *self = sample_new();
    sp_text text = {0};

    assert_int_equal(sp_report_warnings(&self->state, append_line, &text), SP_OK);
    assert_string_equal(sp_text_string(&text), "");
    free(self);
}

static void every_fault_has_its_warning(void **state)
{
    (void)state;
    sample *self = sample_new();
    sp_reconstruction bad;

#define FAULT(member, value, words) (bad = self->state, bad.member = (value), assert_warns(&bad, words))
    FAULT(settings.match, SP_MATCH_EUCLIDEAN, "published baseline");
    FAULT(converged, false, "did not converge");
    FAULT(contradicted, true, "some images may have settled in wrong places");
    FAULT(speckle, 0.001, "orientations still moved");
    FAULT(speckle, 0.2, "too few images: 6 see each speckle at the edge only 0.6 times");
    FAULT(images, 2 * IMAGES, "6 of 12 images hold no signal");
    FAULT(settings.conformations, 2, "conformation 2 holds 0 images");
    FAULT(settings.conformations, 2, "1 conformation is enough: --conformations 1");
    FAULT(photons_per_image, 80, "few photons: 80 ");
    FAULT(quantum, 10, "few photons: 500 ");
    FAULT(grid_spacing, 3.2, "orientation grid too coarse");
    FAULT(background, 0.6, "60 % of the photons beyond the innermost speckles");
    FAULT(settings.null, 1, "there is no structure in these images");
    FAULT(settings.resolution, 9e-10, "density grid too coarse");
    FAULT(settings.diameter, 3e-9, "box too small");
    FAULT(prtf_resolution, 2e-9, "finer than 20.0 Angstrom");
#undef FAULT
    free(self);
}

static void the_support_that_never_closed_is_named(void **state)
{
    (void)state;
    sample *self = sample_new();

    self->history[GENERATIONS - 1].support_volume = 0.9 * M_PI / 6.0 * 8e-27;
    assert_warns(&self->state, "the support never closed: the density fills 90 %");
    free(self);
}

/* Names of the causes, each with a blank behind it. */
static void assert_causes(const sp_reconstruction *state, const char *names)
{
    bool present[SP_CAUSES];
    char got[200] = "";

    sp_report_causes(state, present);
    for (int i = 0; i < SP_CAUSES; i++) {
        if (present[i]) {
            const size_t used = strlen(got);

            snprintf(got + used, sizeof got - used, "%s ", sp_cause_names[i]);
        }
    }
    assert_string_equal(got, names);
}

static void a_failure_has_the_cause_that_was_measured_or_else_several_states(void **state)
{
    (void)state;
    sample *self = sample_new();
    sp_reconstruction *s = &self->state;

    assert_causes(s, "");
    s->contradicted = true;
    assert_causes(s, "states ");
    s->background = 0.9;
    assert_causes(s, "background ");
    s->photons_per_image = 20;
    assert_causes(s, "photons background ");
    s->speckle = 0.05;
    assert_causes(s, "images photons orientations background ");
    write_once(self);
    assert_holds("report.txt", "likely reason               too few images; too few photons; too coarse");
    assert_holds("report.json", "\"failed\": true");
    free(self);
}

static void a_resolution_is_claimed_only_where_half_sets_agree(void **state)
{
    (void)state;
    sample *self = sample_new();
    double s[3] = {0.0, 5e8, 1e9}, curve[3] = {1.0, 0.5, 0.2};
    sp_half_sets half = {.used = {3, 3},
                         .converged = {true, true},
                         .conformations = 1,
                         .labels_same = 1.0,
                         .labels_chance = 1.0,
                         .shells = 3,
                         .s = s,
                         .half_bit = curve,
                         .fsc = curve,
                         .shape = curve,
                         .cc_half = curve,
                         .of = {{.correlation = 0.9,
                                 .turn = 0.02,
                                 .chance = 1.8,
                                 .group = "C1",
                                 .verdict = SP_HALVES_AGREE,
                                 .resolution = 1.25e-9,
                                 .fsc_resolution = 1.25e-9,
                                 .cc_half_resolution = 1.1e-9,
                                 .half_bit_resolution = 1.5e-9}}};

    self->state.halves = &half;
    write_once(self);
    assert_holds("report.txt", "12.5 Angstrom by half sets (FSC 0.143), 15.0 by");
    assert_holds("report.json", "\"fsc_resolution\": 1.25");
    assert_causes(&self->state, "");
    half.of[0].cc_half_resolution = half.of[0].resolution = 1.4e-9;
    write_once(self);
    assert_holds("report.txt", "14.0 Angstrom by half sets (CC 1/2 0.143), 15.0 by");
    assert_holds("report.txt", "FSC 0.143                   12.5 Angstrom");
    assert_holds("report.txt", "CC 1/2 0.143                14.0 Angstrom");
    assert_holds("report.json", "\"cc_half_resolution\": 1.4");
    half.of[0].verdict = SP_HALVES_DISAGREE;
    half.of[0].turn = 1.7;
    write_once(self);
    assert_holds("report.txt", "NONE: half sets of the images do not agree");
    assert_holds("report.txt", "FSC 0.143                   no resolution");
    assert_holds("report.json", "\"fsc_resolution\": null");
    assert_warns(&self->state, "nothing was resolved: half sets turn the images by 97 degrees");
    assert_causes(&self->state, "states ");
    half.of[0].verdict = SP_HALVES_ONE_SIDED;
    half.of[0].likeness = 0.9;
    write_once(self);
    assert_holds("report.txt", "NONE: most images see the map from one side");
    assert_warns(&self->state, "most images see the map from one side (likeness of their directions 0.90");
    half.of[0].verdict = SP_HALVES_APART;
    half.of[0].whole = 0.7;
    write_once(self);
    assert_holds("report.txt", "NONE: all images together make another map than");
    assert_warns(&self->state, "all images together make another map (correlation 0.70) than each half of them (0.90");
    half.of[0].verdict = SP_HALVES_UNEXPLAINED;
    write_once(self);
    assert_holds("report.txt", "NONE: the images score much less than photon noise");
    assert_warns(&self->state, "the model explains little of what the images show beyond photon noise");
    half.of[0].verdict = SP_HALVES_AGREE;
    half.of[0].resolution = 0.0;
    write_once(self);
    assert_holds("report.txt", "NONE: half sets have no shape in common");
    assert_holds("report.json", "\"fsc_resolution\": null");
    free(self);
}

static void each_conformation_has_its_own_resolution_or_none(void **state)
{
    (void)state;
    sample *self = sample_new();
    double s[2] = {0.0, 5e8}, curve[4] = {1.0, 0.5, 0.0, 0.0}, both[2], chance = 0.0, shape[4];
    const ptrdiff_t two = 2, table[2] = {2, 2};
    sp_half_sets half = {
        .conformations = 2,
        .labels_same = 0.99,
        .labels_chance = 0.6,
        .shells = 2,
        .s = s,
        .half_bit = curve,
        .fsc = curve,
        .shape = curve,
        .cc_half = curve,
        .of = {{.turn = 0.02,
                .chance = 1.8,
                .group = "C1",
                .verdict = SP_HALVES_AGREE,
                .resolution = 1.25e-9,
                .fsc_resolution = 1.25e-9,
                .cc_half_resolution = 1.1e-9,
                .half_bit_resolution = 1.5e-9},
               {.verdict = SP_HALVES_TOO_FEW, .images = {3, 0}, .turn = NAN, .chance = NAN, .group = "C1"}}};
    sp_h5 *file = NULL;

    self->state.halves = &half;
    write_once(self);
    assert_holds("report.txt", "resolution of map 1         12.5 Angstrom by half sets");
    assert_holds("report.txt", "resolution of map 2         NONE: half sets have too few images of it, 3 and 0");
    assert_holds("report.txt", "half sets put 99.0 % of the images");
    assert_holds("report.txt", "FSC 0.143                   1: 12.5 Angstrom; 2: no resolution");
    assert_holds("report.json", "\"fsc_resolution\": 1.25"); /* Table 1: of what is supported */
    assert_holds("report.json", "\"labels_same\": 0.99");
    assert_warns(&self->state, "nothing was resolved of conformation 2: half sets put 3 and 0 images into it");
    assert_causes(&self->state, "");
    assert_int_equal(sp_h5_open("result.h5", &file), SP_OK);
    assert_int_equal(sp_h5_read_double(file, "half_sets/resolution", 1, &two, both), SP_OK);
    assert_true(both[0] == 1.25e-9 && both[1] == 0.0);
    assert_int_equal(sp_h5_read_double(file, "half_sets/shape", 2, table, shape), SP_OK);
    assert_true(shape[1] == 0.5 && shape[3] == 0.0);
    assert_int_equal(sp_h5_read_double(file, "half_sets/labels_chance", 0, NULL, &chance), SP_OK);
    assert_true(chance == 0.6);
    sp_h5_close(file);
    half.labels_same = 0.7;
    assert_warns(&self->state, "the conformations are not told apart: half sets put 70 % of the images");
    free(self);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(the_map_is_centred_and_says_what_it_is),
        scratch_test(the_image_of_the_result_is_the_map_with_x_fastest),
        scratch_test(the_result_holds_orientations_scores_and_history),
        scratch_test(equal_states_give_equal_files),
        scratch_test(a_run_is_replaced_only_when_asked),
        scratch_test(a_file_in_place_of_the_folder_is_refused),
        scratch_test(a_failed_generation_leaves_the_one_before),
        scratch_test(the_page_tells_how_the_run_ended),
        scratch_test(the_page_tells_who_chose_a_setting),
        scratch_test(the_baseline_is_called_by_its_name),
        cmocka_unit_test(a_faultless_run_has_no_warning),
        cmocka_unit_test(every_fault_has_its_warning),
        cmocka_unit_test(the_support_that_never_closed_is_named),
        scratch_test(a_failure_has_the_cause_that_was_measured_or_else_several_states),
        scratch_test(a_resolution_is_claimed_only_where_half_sets_agree),
        scratch_test(each_conformation_has_its_own_resolution_or_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
