/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/output.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "base/text.h"
#include "flow/checkpoint.h"
#include "flow/fields.h"
#include "flow/report.h"
#include "io/h5.h"
#include "io/mrc.h"

enum { CXI_VERSION = 160, NOTES_LENGTH = 400 };
#define RESULT_NAME "result.h5"

/* The files of a folder, in the order in which a new generation takes the place of the old one: a map for each
 * conformation, and the result behind the last one. */
enum {
    FILE_CHECKPOINT,
    FILE_SETTINGS,
    FILE_PAGE,
    FILE_JSON,
    FILE_DENSITY,
    MOST_FILES = FILE_DENSITY + SP_CONFORMATIONS + 1
};
enum { NAME_LENGTH = 32 };

struct sp_output {
    char *folder;
    char *input;
    char *settings;
    char *log_path;
    int conformations, files;
    char name[MOST_FILES][NAME_LENGTH]; /* [files] */
    char *path[MOST_FILES];
    char *next[MOST_FILES]; /* where the next generation grows */
    sp_report_source source;
    int generations;
};

/* ---- the folder ---- */

/* The name of the map of conformation k, of so many. */
static void name_map(int k, int conformations, char *name)
{
    if (conformations == 1) {
        snprintf(name, NAME_LENGTH, "density.mrc");
    } else {
        snprintf(name, NAME_LENGTH, "density-%d.mrc", k + 1);
    }
}

static void forget_paths(sp_output *self)
{
    for (int i = 0; i < self->files; i++) {
        sp_array_free(self->path[i]);
        sp_array_free(self->next[i]);
        self->path[i] = self->next[i] = NULL;
    }
}

/* The files of a run with so many conformations. */
static sp_status name_files(sp_output *self, int conformations)
{
    static const char *const first[FILE_DENSITY] = {SP_CHECKPOINT_NAME, "settings.txt", "report.txt", "report.json"};
    sp_status status = SP_OK;

    forget_paths(self);

    for (int i = 0; i < FILE_DENSITY; i++) {
        snprintf(self->name[i], NAME_LENGTH, "%s", first[i]);
    }
    for (int k = 0; k < conformations; k++) {
        name_map(k, conformations, self->name[FILE_DENSITY + k]);
    }
    snprintf(self->name[FILE_DENSITY + conformations], NAME_LENGTH, RESULT_NAME);
    self->conformations = conformations;
    self->files = FILE_DENSITY + conformations + 1;
    for (int i = 0; i < self->files; i++) {
        char name[NAME_LENGTH + 8];

        snprintf(name, sizeof name, "%s.next", self->name[i]);
        SP_TRY(sp_path_join(self->folder, self->name[i], &self->path[i]));
        SP_TRY(sp_path_join(self->folder, name, &self->next[i]));
    }
done:
    return status;
}

static const char *next_result(const sp_output *self)
{
    return self->next[self->files - 1];
}

void sp_output_free(sp_output *output)
{
    if (output) {
        forget_paths(output);
        sp_array_free(output->log_path);
        free(output->settings);
        free(output->input);
        free(output->folder);
        free(output);
    }
}

void sp_output_remove(const sp_output *output)
{
    for (int i = 0; i < output->files; i++) {
        unlink(output->path[i]);
    }
    rmdir(output->folder);
}

static sp_status copy_plan(const sp_output_plan *plan, sp_output *self)
{
    sp_status status = SP_OK;
    struct stat about = {0};

    self->folder = strdup(plan->folder);
    self->input = strdup(plan->input);
    self->settings = strdup(plan->settings);
    SP_REQUIRE(self->folder && self->input && self->settings, SP_ERR_MEMORY, "%s: no memory for the names in it",
               plan->folder);
    SP_TRY(sp_path_join(plan->folder, "log.txt", &self->log_path));
    SP_TRY(name_files(self, plan->asked.conformations > 0 ? plan->asked.conformations : 1));
    stat(plan->input, &about); /* who cannot be asked has no size; reading it tells why */
    self->generations = plan->generations;
    self->source = (sp_report_source){.path = self->input, .bytes = (double)about.st_size, .asked = plan->asked};
done:
    return status;
}

static sp_status check_no_run(const sp_output *self)
{
    sp_status status = SP_OK;

    for (int i = 0; i < self->files; i++) {
        SP_REQUIRE(!sp_file_exists(self->path[i]), SP_ERR_OUTPUT,
                   "%s holds a run already (%s); choose another --output, or --force to replace it", self->folder,
                   self->name[i]);
    }
done:
    return status;
}

/* A byte written and flushed shows a missing permission and a full disk. */
static sp_status check_writable(const sp_output *self)
{
    sp_status status = SP_OK;
    char *probe = NULL;

    SP_TRY(sp_path_join(self->folder, "probe", &probe));
    SP_TRY(sp_file_write_atomic(probe, "\n", 1));
    SP_REQUIRE(unlink(probe) == 0, SP_ERR_OUTPUT, "%s: cannot be removed again: %s", probe, strerror(errno));
done:
    sp_array_free(probe);
    return status;
}

sp_status sp_output_new(const sp_output_plan *plan, sp_output **output)
{
    sp_status status = SP_OK;
    sp_output *self = calloc(1, sizeof *self);

    SP_REQUIRE(self, SP_ERR_MEMORY, "%s: no memory to prepare it", plan->folder);
    SP_TRY(copy_plan(plan, self));
    SP_REQUIRE(!sp_file_exists(plan->folder), SP_ERR_OUTPUT,
               "%s: is a file; --output needs the name of a folder, new or old", plan->folder);
    if (!plan->replace) {
        SP_TRY(check_no_run(self));
    }
    SP_TRY(sp_folder_make(plan->folder));
    SP_TRY(check_writable(self));
    *output = self;
    self = NULL;
done:
    sp_output_free(self);
    return status;
}

int sp_output_generations(const sp_output *output)
{
    return output->generations;
}

const char *sp_output_log_path(const sp_output *output)
{
    return output->log_path;
}

/* ---- the map ---- */

/* FFT order -> centre at voxel n/2; out [x][y][z], or [z][y][x] if x_fastest. */
static void centre(ptrdiff_t n, const float *density, bool x_fastest, float *out)
{
    const ptrdiff_t shift = n - n / 2, step_x = x_fastest ? 1 : n * n, step_z = x_fastest ? n * n : 1;

    for (ptrdiff_t x = 0; x < n; x++) {
        for (ptrdiff_t y = 0; y < n; y++) {
            const float *from = density + ((x + shift) % n * n + (y + shift) % n) * n;
            float *to = out + x * step_x + y * n;

            for (ptrdiff_t z = 0; z < n; z++) {
                to[z * step_z] = from[(z + shift) % n];
            }
        }
    }
}

static sp_status write_map(const sp_output *self, const sp_reconstruction *state, int k, float *room)
{
    char notes[NOTES_LENGTH];

    snprintf(notes, sizeof notes, "generation %d%s\nsharp to %.2f Angstrom\nhand not determined", state->generations,
             state->converged ? ", converged" : "", state->settings.resolution * 1e10);
    centre(state->edge, state->density + k * state->edge * state->edge * state->edge, false, room);
    return sp_mrc_write(self->next[FILE_DENSITY + k], state->edge, state->voxel, room, notes);
}

/* ---- result.h5 ---- */

/* A number, or a list of several. */
static sp_status put_each(sp_h5 *file, const char *name, const char *unit, ptrdiff_t count, const double *value)
{
    sp_status status = SP_OK;

    SP_TRY(sp_h5_write_double(file, name, count > 1 ? 1 : 0, &count, value));
    if (*unit) {
        SP_TRY(sp_h5_write_attribute_string(file, name, "units", unit));
    }
done:
    return status;
}

static sp_status put_number(sp_h5 *file, const char *name, const char *unit, double value)
{
    return put_each(file, name, unit, 1, &value);
}

static sp_status put_integer(sp_h5 *file, const char *name, int32_t value)
{
    return sp_h5_write_int32(file, name, 0, NULL, &value);
}

static sp_status put_run(const sp_output *self, const sp_reconstruction *state, sp_h5 *file)
{
    sp_status status = SP_OK;
    const uint64_t bytes = (uint64_t)self->source.bytes, images = (uint64_t)state->images;

    SP_TRY(put_integer(file, "cxi_version", CXI_VERSION));
    SP_TRY(sp_h5_write_string(file, "version", "spica " SPICA_VERSION));
    SP_TRY(sp_h5_write_string(file, "config", self->settings));
    SP_TRY(sp_h5_write_string(file, "input/path", self->input));
    SP_TRY(sp_h5_write_uint64(file, "input/bytes", 0, NULL, &bytes));
    SP_TRY(sp_h5_write_uint64(file, "input/images", 0, NULL, &images));
done:
    return status;
}

static sp_status put_settings(const sp_reconstruction *state, sp_h5 *file)
{
    sp_status status = SP_OK;

    for (const sp_field *field = sp_setting_fields; field->name; field++) {
        const char *word = sp_field_word(field, &state->settings);
        const double value = sp_field_value(field, &state->settings);
        char name[64];

        snprintf(name, sizeof name, "settings/%s", field->name);
        if (word) {
            SP_TRY(sp_h5_write_string(file, name, word));
        } else if (field->kind == SP_FIELD_REAL) {
            SP_TRY(put_number(file, name, field->unit, value));
        } else {
            const uint64_t whole = (uint64_t)value;

            SP_TRY(sp_h5_write_uint64(file, name, 0, NULL, &whole));
        }
    }
done:
    return status;
}

/* Names of the CXI format (Maia, Nature Methods 9, 854 (2012)); image k + 1 is conformation k. */
static sp_status put_image(const sp_reconstruction *state, int k, float *room, sp_h5 *file)
{
    sp_status status = SP_OK;
    const ptrdiff_t shape[3] = {state->edge, state->edge, state->edge}, three = 3;
    const double box = (double)state->edge * state->voxel, size[3] = {box, box, box}, middle[3] = {0};
    char data[64], name[64];

#define NAMED(field) (snprintf(name, sizeof name, "entry_1/image_%d/%s", k + 1, (field)), name)
    snprintf(data, sizeof data, "%s", NAMED("data"));
    centre(state->edge, state->density + k * state->edge * state->edge * state->edge, true, room);
    SP_TRY(sp_h5_write_float(file, data, 3, shape, room));
    SP_TRY(sp_h5_write_attribute_string(file, data, "axes", "z:y:x"));
    SP_TRY(sp_h5_write_string(file, NAMED("data_space"), "real"));
    SP_TRY(sp_h5_write_string(file, NAMED("data_type"), "electron density"));
    SP_TRY(put_integer(file, NAMED("dimensionality"), 3));
    SP_TRY(sp_h5_write_double(file, NAMED("image_size"), 1, &three, size));
    SP_TRY(sp_h5_write_attribute_string(file, name, "units", "m"));
    SP_TRY(sp_h5_write_double(file, NAMED("image_center"), 1, &three, middle));
    SP_TRY(sp_h5_write_attribute_string(file, name, "units", "m"));
    SP_TRY(put_integer(file, NAMED("is_fft_shifted"), 0));
    SP_TRY(put_number(file, NAMED("resolution"), "m", state->settings.resolution));
#undef NAMED
done:
    return status;
}

static sp_status put_images(const sp_reconstruction *state, sp_h5 *file)
{
    sp_status status = SP_OK;
    const ptrdiff_t n = state->images, shape[2] = {n, 4};
    float *orientation = NULL;
    uint8_t *conformation = NULL, *held_out = NULL;
    uint64_t *id = NULL;

    SP_TRY(SP_ARRAY(orientation, 4 * n));
    SP_TRY(SP_ARRAY(conformation, n));
    SP_TRY(SP_ARRAY(held_out, n));
    SP_TRY(SP_ARRAY(id, n));
    for (ptrdiff_t i = 0; i < n; i++) {
        const sp_quat q = state->orientation[i];

        orientation[4 * i] = (float)q.w;
        orientation[4 * i + 1] = (float)q.x;
        orientation[4 * i + 2] = (float)q.y;
        orientation[4 * i + 3] = (float)q.z;
        conformation[i] = (uint8_t)state->label[i];
        held_out[i] = state->held_out[i];
        id[i] = (uint64_t)i;
    }
    SP_TRY(sp_h5_write_float(file, "result/orientations", 2, shape, orientation));
    SP_TRY(sp_h5_write_attribute_string(file, "result/orientations", "axes", "w x y z"));
    SP_TRY(sp_h5_write_uint8(file, "result/conformation", 1, shape, conformation));
    SP_TRY(sp_h5_write_float(file, "result/score", 1, shape, state->score));
    SP_TRY(sp_h5_write_uint8(file, "result/held_out", 1, shape, held_out));
    SP_TRY(sp_h5_write_float(file, "result/scale", 1, shape, state->scale));
    SP_TRY(sp_h5_write_uint64(file, "result/image_id", 1, shape, id));
done:
    sp_array_free(id);
    sp_array_free(held_out);
    sp_array_free(conformation);
    sp_array_free(orientation);
    return status;
}

static sp_status put_history(const sp_reconstruction *state, sp_h5 *file)
{
    sp_status status = SP_OK;
    const ptrdiff_t count = state->generations;
    double *real = NULL;
    int32_t *whole = NULL;

    SP_TRY(SP_ARRAY(real, count));
    SP_TRY(SP_ARRAY(whole, count));
    for (const sp_field *field = sp_generation_fields; field->name; field++) {
        char name[64];

        snprintf(name, sizeof name, "history/%s", field->name);
        for (ptrdiff_t i = 0; i < count; i++) {
            real[i] = sp_field_value(field, &state->history[i]);
            whole[i] = field->kind == SP_FIELD_REAL ? 0 : (int32_t)real[i];
        }
        if (field->kind == SP_FIELD_REAL) {
            SP_TRY(sp_h5_write_double(file, name, 1, &count, real));
        } else {
            SP_TRY(sp_h5_write_int32(file, name, 1, &count, whole));
        }
        if (*field->unit) {
            SP_TRY(sp_h5_write_attribute_string(file, name, "units", field->unit));
        }
    }
done:
    sp_array_free(whole);
    sp_array_free(real);
    return status;
}

static sp_status put_prtf(const sp_reconstruction *state, sp_h5 *file)
{
    sp_status status = SP_OK;
    const ptrdiff_t shells = state->prtf_shells, each[2] = {state->settings.conformations, shells};
    const bool several = each[0] > 1;

    if (shells > 0) {
        SP_TRY(sp_h5_write_double(file, "prtf/s", 1, &shells, state->prtf_s));
        SP_TRY(sp_h5_write_attribute_string(file, "prtf/s", "units", "1/m"));
        SP_TRY(sp_h5_write_double(file, "prtf/value", several ? 2 : 1, several ? each : &shells, state->prtf));
    }
done:
    return status;
}

static sp_status put_agreements(const sp_half_sets *h, sp_h5 *file)
{
    enum { RESOLUTION, FSC, CC_HALF, HALF_BIT, CORRELATION, WHOLE, TURN, CHANCE, LIKENESS, NUMBERS };
    const ptrdiff_t count = h->conformations;
    double value[NUMBERS][SP_CONFORMATIONS];
    int32_t agree[SP_CONFORMATIONS];
    sp_status status = SP_OK;

    for (ptrdiff_t k = 0; k < count; k++) {
        const sp_half_agreement *a = &h->of[k];

        value[RESOLUTION][k] = a->resolution;
        value[FSC][k] = a->fsc_resolution;
        value[CC_HALF][k] = a->cc_half_resolution;
        value[HALF_BIT][k] = a->half_bit_resolution;
        value[CORRELATION][k] = a->correlation;
        value[WHOLE][k] = a->whole;
        value[TURN][k] = a->turn;
        value[CHANCE][k] = a->chance;
        value[LIKENESS][k] = a->likeness;
        agree[k] = a->verdict == SP_HALVES_AGREE;
    }
    SP_TRY(put_each(file, "half_sets/resolution", "m", count, value[RESOLUTION]));
    SP_TRY(put_each(file, "half_sets/fsc_resolution", "m", count, value[FSC]));
    SP_TRY(put_each(file, "half_sets/cc_half_resolution", "m", count, value[CC_HALF]));
    SP_TRY(put_each(file, "half_sets/half_bit_resolution", "m", count, value[HALF_BIT]));
    SP_TRY(put_each(file, "half_sets/correlation", "", count, value[CORRELATION]));
    SP_TRY(put_each(file, "half_sets/whole", "", count, value[WHOLE]));
    SP_TRY(put_each(file, "half_sets/turn", "rad", count, value[TURN]));
    SP_TRY(put_each(file, "half_sets/chance", "rad", count, value[CHANCE]));
    SP_TRY(put_each(file, "half_sets/likeness", "", count, value[LIKENESS]));
    SP_TRY(sp_h5_write_int32(file, "half_sets/agree", count > 1 ? 1 : 0, &count, agree));
done:
    return status;
}

static sp_status put_half_sets(const sp_half_sets *h, sp_h5 *file)
{
    sp_status status = SP_OK;

    if (h) {
        const ptrdiff_t shape[2] = {h->conformations, h->shells};
        const int axes = h->conformations > 1 ? 2 : 1;

        SP_TRY(sp_h5_write_double(file, "half_sets/s", 1, &h->shells, h->s));
        SP_TRY(sp_h5_write_attribute_string(file, "half_sets/s", "units", "1/m"));
        SP_TRY(sp_h5_write_double(file, "half_sets/fsc", axes, shape + 2 - axes, h->fsc));
        SP_TRY(sp_h5_write_double(file, "half_sets/shape", axes, shape + 2 - axes, h->shape));
        SP_TRY(sp_h5_write_double(file, "half_sets/cc_half", axes, shape + 2 - axes, h->cc_half));
        SP_TRY(sp_h5_write_double(file, "half_sets/half_bit", 1, &h->shells, h->half_bit));
        SP_TRY(put_agreements(h, file));
        if (h->conformations > 1) {
            SP_TRY(put_number(file, "half_sets/labels_same", "", h->labels_same));
            SP_TRY(put_number(file, "half_sets/labels_chance", "", h->labels_chance));
        }
    }
done:
    return status;
}

/* The last act of a run; whoever wants to go on asks for it. */
static sp_status put_end(const sp_reconstruction *state, sp_h5 *file)
{
    sp_status status = SP_OK;

    if (state->stop_reason && *state->stop_reason) {
        SP_TRY(put_integer(file, "result/converged", state->converged));
        SP_TRY(sp_h5_write_string(file, "result/stop_reason", state->stop_reason));
    }
done:
    return status;
}

static sp_status put_all(const sp_output *self, const sp_reconstruction *state, float *room, sp_h5 *file)
{
    sp_status status = SP_OK;

    SP_TRY(put_run(self, state, file));
    SP_TRY(put_settings(state, file));
    for (int k = 0; k < self->conformations; k++) {
        SP_TRY(put_image(state, k, room, file));
    }
    SP_TRY(sp_h5_write_string(file, "entry_1/program_name", "spica"));
    SP_TRY(put_images(state, file));
    SP_TRY(put_history(state, file));
    SP_TRY(put_prtf(state, file));
    SP_TRY(put_half_sets(state->halves, file));
    SP_TRY(put_end(state, file));
done:
    return status;
}

/* ---- all files of a generation ---- */

static sp_status write_text(const char *path, sp_text *text)
{
    sp_status status = SP_OK;

    SP_TRY(sp_text_check(text));
    SP_TRY(sp_file_write_atomic(path, sp_text_string(text), text->length));
    sp_text_clear(text);
done:
    return status;
}

static sp_status write_reports(const sp_output *self, const sp_reconstruction *state)
{
    sp_status status = SP_OK;
    sp_text text = {0};

    sp_text_append(&text, "%s", self->settings);
    SP_TRY(write_text(self->next[FILE_SETTINGS], &text));
    sp_report_page(&self->source, state, &text);
    SP_TRY(write_text(self->next[FILE_PAGE], &text));
    sp_report_json(&self->source, state, &text);
    SP_TRY(write_text(self->next[FILE_JSON], &text));
done:
    sp_text_clear(&text);
    return status;
}

static sp_status write_result(const sp_output *self, const sp_reconstruction *state, float *room)
{
    sp_status status = SP_OK;
    sp_h5 *file = NULL;

    SP_TRY(sp_h5_create(next_result(self), &file));
    SP_TRY(put_all(self, state, room, file));
    status = sp_h5_commit_take(file);
    file = NULL;
    SP_TRY(status);
done:
    sp_h5_close(file);
    return status;
}

static sp_status write_checkpoint(const sp_output *self, const sp_loop *loop)
{
    sp_status status = SP_OK;
    sp_h5 *file = NULL;

    SP_TRY(sp_h5_create(self->next[FILE_CHECKPOINT], &file));
    SP_TRY(sp_checkpoint_put(loop, self->settings, file));
    status = sp_h5_commit_take(file);
    file = NULL;
    SP_TRY(status);
done:
    sp_h5_close(file);
    return status;
}

static sp_status write_state(const sp_output *self, const sp_reconstruction *state)
{
    sp_status status = SP_OK;
    float *room = NULL;

    SP_TRY(SP_ARRAY(room, state->edge * state->edge * state->edge));
    SP_TRY(write_result(self, state, room));
    for (int k = 0; k < self->conformations; k++) {
        SP_TRY(write_map(self, state, k, room));
    }
    SP_TRY(write_reports(self, state));
done:
    sp_array_free(room);
    return status;
}

/* Files first .. end-1. Nothing can fail here for want of space: they are complete under their names to be. */
static sp_status replace_files(const sp_output *self, int first, int end)
{
    sp_status status = SP_OK;

    for (int i = first; i < end; i++) {
        SP_REQUIRE(rename(self->next[i], self->path[i]) == 0, SP_ERR_OUTPUT, "%s: cannot rename %s.next to it: %s",
                   self->path[i], self->name[i], strerror(errno));
    }
done:
    return status;
}

/* Of a run, or a trial, with other conformations, which this one has replaced. */
static void remove_older_maps(const sp_output *self)
{
    char name[NAME_LENGTH], *path = NULL;

    for (int k = self->conformations > 1 ? self->conformations : 0; k < SP_CONFORMATIONS; k++) {
        name_map(k, SP_CONFORMATIONS, name);
        if (sp_path_join(self->folder, name, &path) == SP_OK) {
            unlink(path);
        }
        sp_array_free(path);
        path = NULL;
    }
    if (self->conformations > 1 && sp_path_join(self->folder, "density.mrc", &path) == SP_OK) {
        unlink(path);
    }
    sp_array_free(path);
}

sp_status sp_output_write(void *output, const sp_reconstruction *state, const sp_loop *loop)
{
    sp_status status = SP_OK;
    sp_output *self = output;
    const bool others = state && (self->generations == 0 || state->settings.conformations != self->conformations);

    if (others) {
        SP_TRY(name_files(self, state->settings.conformations));
    }
    if (loop) {
        SP_TRY(write_checkpoint(self, loop));
    }
    if (state) {
        SP_TRY(write_state(self, state));
    }
    SP_TRY(
        replace_files(self, loop ? FILE_CHECKPOINT : FILE_CHECKPOINT + 1, state ? self->files : FILE_CHECKPOINT + 1));
    if (others) {
        remove_older_maps(self);
    }
    self->generations = state ? state->generations : self->generations;
done:
    for (int i = 0; status != SP_OK && i < self->files; i++) {
        unlink(self->next[i]); /* those that were reached */
    }
    return status;
}

/* ---- the end of a run ---- */

sp_status sp_output_read_end(const char *folder, const char *config, sp_output_end *end)
{
    sp_status status = SP_OK;
    sp_h5 *file = NULL;
    char *path = NULL, *settings = NULL;
    uint8_t converged = 0;

    *end = (sp_output_end){0};
    SP_TRY(sp_path_join(folder, RESULT_NAME, &path));
    if (sp_h5_open(path, &file) == SP_OK && sp_h5_read_string(file, "config", &settings) == SP_OK &&
        strcmp(settings, config) == 0 && sp_h5_read_uint8(file, "result/converged", 0, NULL, &converged) == SP_OK) {
        end->converged = converged != 0;
        end->half_sets = sp_h5_exists(file, "half_sets/fsc");
        (void)sp_h5_read_string(file, "result/stop_reason", &end->stop_reason);
    }
done:
    sp_h5_close(file);
    sp_array_free(settings);
    sp_array_free(path);
    return status;
}
