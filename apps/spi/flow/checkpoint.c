/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/checkpoint.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/memory.h"
#include "flow/fields.h"
#include "flow/loop.h"

enum {
    CHECKPOINT_VERSION = 3, /* of the lists below: another list is another version */
    LARGEST_EDGE = 2048,    /* [voxel] as --grid allows */
    LARGEST_LIMIT = 10000,  /* as --generations allows */
    NAME_LENGTH = 64,
};
static const double LARGEST_WHOLE = 9007199254740992.0; /* 2^53 */

/* ---- what a checkpoint holds ---- */

#define LOOP(member, kind)                                                                                             \
    {                                                                                                                  \
#member, "", kind, offsetof(sp_loop, member)                                                                   \
    }
#define STATE(member, kind)                                                                                            \
    {                                                                                                                  \
#member, "", kind, offsetof(sp_reconstruction, member)                                                         \
    }
#define TIMES(record, member)                                                                                          \
    {#member "/read", "s", SP_FIELD_REAL, offsetof(record, member[SP_PHASE_READ])},                                    \
        {#member "/merge", "s", SP_FIELD_REAL, offsetof(record, member[SP_PHASE_MERGE])},                              \
        {#member "/phase", "s", SP_FIELD_REAL, offsetof(record, member[SP_PHASE_PHASE])},                              \
        {#member "/search", "s", SP_FIELD_REAL, offsetof(record, member[SP_PHASE_SEARCH])},                            \
        {#member "/refine", "s", SP_FIELD_REAL, offsetof(record, member[SP_PHASE_REFINE])},                            \
    {                                                                                                                  \
#member "/other", "s", SP_FIELD_REAL, offsetof(record, member[SP_PHASE_OTHER])                                 \
    }

static const sp_field loop_fields[] = {
    LOOP(fingerprint, SP_FIELD_SEED),
    LOOP(reach, SP_FIELD_REAL),
    LOOP(dispersion, SP_FIELD_REAL),
    LOOP(measured, SP_FIELD_REAL),
    LOOP(refining, SP_FIELD_FLAG),
    LOOP(refined, SP_FIELD_INT),
    LOOP(refused, SP_FIELD_INT),
    LOOP(attempt, SP_FIELD_INT),
    LOOP(first, SP_FIELD_INT),
    LOOP(scored_from, SP_FIELD_INT),
    LOOP(kept_score, SP_FIELD_REAL),
    LOOP(kept_residual, SP_FIELD_REAL),
    LOOP(kept_conformations, SP_FIELD_INT),
    LOOP(trial_first, SP_FIELD_INT),
    LOOP(seeded, SP_FIELD_INT),
    LOOP(stirring, SP_FIELD_REAL),
    LOOP(crossing, SP_FIELD_REAL),
    LOOP(resting, SP_FIELD_SET),
    LOOP(still, SP_FIELD_SET),
    LOOP(keep, SP_FIELD_INT),
    LOOP(points, SP_FIELD_SIZE),
    {0},
};

static const sp_field state_fields[] = {
    STATE(images, SP_FIELD_SIZE),
    STATE(pixels_used, SP_FIELD_SIZE),
    STATE(settings.generations, SP_FIELD_INT),
    STATE(settings.conformations, SP_FIELD_INT),
    STATE(edge, SP_FIELD_SIZE),
    STATE(generations, SP_FIELD_INT),
    STATE(trials, SP_FIELD_INT),
    TIMES(sp_reconstruction, wall),
    TIMES(sp_reconstruction, cpu),
    {0},
};

/* Of each generation: sp_generation_fields, and the times. */
static const sp_field time_fields[] = {TIMES(sp_generation, wall), TIMES(sp_generation, cpu), {0}};

typedef enum part_owner { OF_LOOP, OF_STATE } part_owner;
typedef enum part_kind {
    QUATERNION_PER_IMAGE,
    FLOAT_PER_IMAGE,
    FLOAT_OR_NAN_PER_IMAGE,
    LABEL_PER_IMAGE,
    FLOAT_PER_VOXEL,
    FLOAT_PER_VOXEL_AT_REST, /* none, unless a conformation rests, whose density is not made again */
    DOUBLE_PER_CONFORMATION,
    QUATERNION_PER_POINT, /* none of these, unless images stand in shares */
    PLACE_PER_SHARE,
    FLOAT_PER_SHARE
} part_kind;

/* An array that a member of the loop or of its state points to. The density that was accepted is none of them: it
 * follows from the orientations. */
typedef struct part {
    const char *name;
    part_kind kind;
    part_owner owner;
    size_t offset; /* [byte] of the pointer */
} part;

static const part parts[] = {
    {"orientation", QUATERNION_PER_IMAGE, OF_STATE, offsetof(sp_reconstruction, orientation)},
    {"score", FLOAT_OR_NAN_PER_IMAGE, OF_STATE, offsetof(sp_reconstruction, score)},
    {"scale", FLOAT_PER_IMAGE, OF_STATE, offsetof(sp_reconstruction, scale)}, /* and of the patterns: the same */
    {"label", LABEL_PER_IMAGE, OF_STATE, offsetof(sp_reconstruction, label)},
    {"kept_label", LABEL_PER_IMAGE, OF_LOOP, offsetof(sp_loop, kept_label)},
    {"kept", QUATERNION_PER_IMAGE, OF_LOOP, offsetof(sp_loop, kept)},
    {"mark", DOUBLE_PER_CONFORMATION, OF_LOOP, offsetof(sp_loop, mark)},
    {"standing", DOUBLE_PER_CONFORMATION, OF_LOOP, offsetof(sp_loop, standing)},
    {"density", FLOAT_PER_VOXEL_AT_REST, OF_LOOP, offsetof(sp_loop, density)},
    {"kept_each", FLOAT_OR_NAN_PER_IMAGE, OF_LOOP, offsetof(sp_loop, kept_each)},
    {"last_model", FLOAT_PER_VOXEL, OF_LOOP, offsetof(sp_loop, last_model)},
    {"point", QUATERNION_PER_POINT, OF_LOOP, offsetof(sp_loop, point)},
    {"placed", PLACE_PER_SHARE, OF_LOOP, offsetof(sp_loop, placed)},
    {"shared", FLOAT_PER_SHARE, OF_LOOP, offsetof(sp_loop, shared)},
};
enum { PARTS = sizeof parts / sizeof *parts };

struct sp_checkpoint {
    char *path;
    char *config;
    sp_loop loop; /* what is listed above, and nothing else */
    sp_reconstruction state;
};

/* ---- parts ---- */

static bool of_doubles(const part *p)
{
    return p->kind == QUATERNION_PER_IMAGE || p->kind == DOUBLE_PER_CONFORMATION || p->kind == QUATERNION_PER_POINT;
}

static bool of_integers(const part *p)
{
    return p->kind == LABEL_PER_IMAGE || p->kind == PLACE_PER_SHARE;
}

static size_t part_size(const part *p)
{
    return of_doubles(p) ? sizeof(double) : sizeof(float);
}

/* How many numbers. */
static ptrdiff_t part_count(const part *p, const sp_loop *l)
{
    const sp_reconstruction *state = l->state;

    switch (p->kind) {
    case QUATERNION_PER_IMAGE:
        return 4 * state->images;
    case FLOAT_OR_NAN_PER_IMAGE:
    case FLOAT_PER_IMAGE:
    case LABEL_PER_IMAGE:
        return state->images;
    case FLOAT_PER_VOXEL_AT_REST:
        if (!l->resting) {
            return 0;
        }
        /* fall through */
    case FLOAT_PER_VOXEL:
        return state->settings.conformations * state->edge * state->edge * state->edge;
    case DOUBLE_PER_CONFORMATION:
        return SP_CONFORMATIONS;
    case QUATERNION_PER_POINT:
        return 4 * l->points;
    case PLACE_PER_SHARE:
    case FLOAT_PER_SHARE:
        return l->points > 0 ? state->images * l->keep : 0;
    }
    return 0;
}

/* Integers lie below it. */
static ptrdiff_t part_limit(const part *p, const sp_loop *l)
{
    return l->state->settings.conformations * (p->kind == PLACE_PER_SHARE ? l->points : 1);
}

static void *part_array(const part *p, const sp_loop *l)
{
    const char *owner = p->owner == OF_LOOP ? (const char *)l : (const char *)l->state;
    void *array = NULL;

    memcpy(&array, owner + p->offset, sizeof array);
    return array;
}

static void set_part_array(const part *p, sp_loop *l, void *array)
{
    char *owner = p->owner == OF_LOOP ? (char *)l : (char *)l->state;

    memcpy(owner + p->offset, &array, sizeof array);
}

static sp_status put_part(const part *p, const sp_loop *l, sp_h5 *file)
{
    const ptrdiff_t count = part_count(p, l);
    const void *array = part_array(p, l);

    return count == 0       ? SP_OK
           : of_doubles(p)  ? sp_h5_write_double(file, p->name, 1, &count, array)
           : of_integers(p) ? sp_h5_write_int32(file, p->name, 1, &count, array)
                            : sp_h5_write_float(file, p->name, 1, &count, array);
}

static bool part_is_sound(const part *p, ptrdiff_t count, ptrdiff_t limit, const void *array)
{
    for (ptrdiff_t i = 0; of_integers(p) && i < count; i++) {
        const int32_t number = ((const int32_t *)array)[i];

        if (number < 0 || number >= limit) {
            return false;
        }
    }
    for (ptrdiff_t i = 0; !of_integers(p) && i < count; i++) {
        const double value = of_doubles(p) ? ((const double *)array)[i] : ((const float *)array)[i];

        if (!isfinite(value) && !(p->kind == FLOAT_OR_NAN_PER_IMAGE && isnan(value))) {
            return false;
        }
    }
    return true;
}

/* The shape is looked at before memory is got: a damaged file may claim any size. */
static sp_status get_part(const part *p, sp_h5 *file, sp_loop *l)
{
    const ptrdiff_t count = part_count(p, l);
    sp_h5_info info;
    void *array = NULL;
    sp_status status = SP_OK;

    if (count == 0) {
        return SP_OK;
    }
    SP_TRY(sp_h5_get_info(file, p->name, &info));
    SP_REQUIRE(sp_h5_fits(&info, 1, &count), SP_ERR_INPUT, "%s: dataset %s holds %td numbers, not %td",
               sp_h5_path(file), p->name, info.count, count);
    SP_TRY(sp_array_new(count, part_size(p), p->name, &array));
    set_part_array(p, l, array);
    SP_TRY(of_doubles(p)    ? sp_h5_read_double(file, p->name, 1, &count, array)
           : of_integers(p) ? sp_h5_read_int32(file, p->name, 1, &count, array)
                            : sp_h5_read_float(file, p->name, 1, &count, array));
    SP_REQUIRE(part_is_sound(p, count, part_limit(p, l), array), SP_ERR_INPUT,
               "%s: dataset %s holds NaN, infinity, or a conformation that is not there", sp_h5_path(file), p->name);
done:
    return status;
}

/* ---- fields: GROUP/<name> [count], of as many records that lie `stride` bytes apart ---- */

static sp_status put_fields(const char *group, const sp_field *field, const void *record, size_t stride,
                            ptrdiff_t count, sp_h5 *file)
{
    double *value = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(value, count));
    for (; field->name; field++) {
        char name[NAME_LENGTH];

        snprintf(name, sizeof name, "%s/%s", group, field->name);
        for (ptrdiff_t i = 0; i < count; i++) {
            value[i] = sp_field_value(field, (const char *)record + (size_t)i * stride);
        }
        SP_TRY(sp_h5_write_double(file, name, 1, &count, value));
    }
done:
    sp_array_free(value);
    return status;
}

static bool field_may_be(const sp_field *field, double value)
{
    if (field->kind == SP_FIELD_REAL) {
        return isfinite(value);
    }
    const double largest = field->kind == SP_FIELD_INT    ? 2147483647.0
                           : field->kind == SP_FIELD_SET  ? 4294967295.0
                           : field->kind == SP_FIELD_FLAG ? 1.0
                                                          : LARGEST_WHOLE;

    return value >= 0.0 && value <= largest && value == floor(value);
}

static sp_status get_fields(const char *group, const sp_field *field, sp_h5 *file, size_t stride, ptrdiff_t count,
                            void *record)
{
    double *value = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(value, count));
    for (; field->name; field++) {
        char name[NAME_LENGTH];

        snprintf(name, sizeof name, "%s/%s", group, field->name);
        SP_TRY(sp_h5_read_double(file, name, 1, &count, value));
        for (ptrdiff_t i = 0; i < count; i++) {
            SP_REQUIRE(field_may_be(field, value[i]), SP_ERR_INPUT, "%s: %s cannot be %g", sp_h5_path(file), name,
                       value[i]);
            sp_field_set(field, value[i], (char *)record + (size_t)i * stride);
        }
    }
done:
    sp_array_free(value);
    return status;
}

/* ---- writing ---- */

sp_status sp_checkpoint_put(const sp_loop *loop, const char *config, sp_h5 *file)
{
    const sp_reconstruction *state = loop->state;
    const int32_t version = CHECKPOINT_VERSION;
    sp_status status = SP_OK;

    SP_TRY(sp_h5_write_int32(file, "checkpoint_version", 0, NULL, &version));
    SP_TRY(sp_h5_write_string(file, "version", "spica " SPICA_VERSION));
    SP_TRY(sp_h5_write_string(file, "config", config));
    SP_TRY(put_fields("loop", loop_fields, loop, 0, 1, file));
    SP_TRY(put_fields("state", state_fields, state, 0, 1, file));
    SP_TRY(
        put_fields("history", sp_generation_fields, state->history, sizeof *state->history, state->generations, file));
    SP_TRY(put_fields("history", time_fields, state->history, sizeof *state->history, state->generations, file));
    SP_TRY(put_fields("trials", sp_trial_fields, state->trial, sizeof *state->trial, SP_CONFORMATIONS, file));
    for (int i = 0; i < PARTS; i++) {
        SP_TRY(put_part(&parts[i], loop, file));
    }
done:
    return status;
}

/* ---- reading ---- */

static sp_status check_version(sp_h5 *file)
{
    int32_t version = 0;
    sp_status status = SP_OK;

    SP_TRY(sp_h5_read_int32(file, "checkpoint_version", 0, NULL, &version));
    SP_REQUIRE(version == CHECKPOINT_VERSION, SP_ERR_INPUT,
               "%s: is of version %d, and this spica goes on from version %d only", sp_h5_path(file), version,
               CHECKPOINT_VERSION);
done:
    return status;
}

static sp_status get_history(sp_checkpoint *self, sp_h5 *file)
{
    sp_reconstruction *state = &self->state;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(state->history, state->generations));
    SP_TRY(
        get_fields("history", sp_generation_fields, file, sizeof *state->history, state->generations, state->history));
    SP_TRY(get_fields("history", time_fields, file, sizeof *state->history, state->generations, state->history));
done:
    return status;
}

static sp_status get_all(sp_checkpoint *self, sp_h5 *file)
{
    const sp_reconstruction *state = &self->state;
    const sp_loop *l = &self->loop;
    sp_status status = SP_OK;

    SP_TRY(check_version(file));
    SP_TRY(sp_h5_read_string(file, "config", &self->config));
    SP_TRY(get_fields("loop", loop_fields, file, 0, 1, &self->loop));
    SP_TRY(get_fields("state", state_fields, file, 0, 1, &self->state));
    SP_REQUIRE(l->reach > 0.0 && l->dispersion > 0.0 && state->edge >= 1 && state->edge <= LARGEST_EDGE &&
                   state->generations >= 1 && state->generations <= state->settings.generations &&
                   state->settings.generations <= LARGEST_LIMIT && state->settings.conformations >= 1 &&
                   state->settings.conformations <= SP_CONFORMATIONS && state->trials <= SP_CONFORMATIONS,
               SP_ERR_INPUT, "%s: its numbers contradict each other", self->path);
    SP_TRY(get_history(self, file));
    SP_TRY(get_fields("trials", sp_trial_fields, file, sizeof *state->trial, SP_CONFORMATIONS, self->state.trial));
    for (int i = 0; i < PARTS; i++) {
        SP_TRY(get_part(&parts[i], file, &self->loop));
    }
done:
    return status;
}

/* Adds to the reason on record what to do about it. */
static void tell_cure(sp_status failed, const char *folder)
{
    char *reason = strdup(sp_error_text());

    if (reason) {
        sp_error_set(failed, __FILE__, __LINE__,
                     "%s; begin again: spica reconstruct --settings %s/settings.txt -o %s --force", reason, folder,
                     folder);
    }
    free(reason);
}

static sp_status read_checkpoint(sp_checkpoint *self, const char *folder)
{
    sp_h5 *file = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_h5_open(self->path, &file));
    SP_TRY(get_all(self, file));
done:
    if (status != SP_OK) {
        tell_cure(status, folder);
    }
    sp_h5_close(file);
    return status;
}

sp_status sp_checkpoint_open(const char *folder, sp_checkpoint **checkpoint)
{
    sp_checkpoint *self = NULL;
    sp_status status = SP_OK;

    SP_REQUIRE(sp_folder_exists(folder), SP_ERR_INPUT,
               "%s: no such folder; --resume needs one that spica reconstruct "
               "has written to",
               folder);
    SP_TRY(SP_ARRAY(self, 1));
    self->loop.state = &self->state;
    SP_TRY(sp_path_join(folder, SP_CHECKPOINT_NAME, &self->path));
    SP_REQUIRE(sp_file_exists(self->path), SP_ERR_INPUT,
               "%s: not there, so no generation was complete; begin again without --resume", self->path);
    SP_TRY(read_checkpoint(self, folder));
    *checkpoint = self;
    self = NULL;
done:
    sp_checkpoint_free(self);
    return status;
}

void sp_checkpoint_free(sp_checkpoint *checkpoint)
{
    if (!checkpoint) {
        return;
    }
    for (int i = 0; i < PARTS; i++) {
        sp_array_free(part_array(&parts[i], &checkpoint->loop));
    }
    sp_array_free(checkpoint->state.history);
    sp_array_free(checkpoint->config);
    sp_array_free(checkpoint->path);
    sp_array_free(checkpoint);
}

const char *sp_checkpoint_path(const sp_checkpoint *checkpoint)
{
    return checkpoint->path;
}

const char *sp_checkpoint_config(const sp_checkpoint *checkpoint)
{
    return checkpoint->config;
}

int sp_checkpoint_generations(const sp_checkpoint *checkpoint)
{
    return checkpoint->state.generations;
}

int sp_checkpoint_conformations(const sp_checkpoint *checkpoint)
{
    return checkpoint->state.settings.conformations;
}

int sp_checkpoint_limit(const sp_checkpoint *checkpoint)
{
    return checkpoint->state.settings.generations;
}

/* ---- going on ---- */

static sp_status check_images(const sp_checkpoint *self, const sp_loop *l)
{
    const sp_reconstruction *then = &self->state, *now = l->state;
    sp_status status = SP_OK;

    SP_REQUIRE(then->images == now->images, SP_ERR_INPUT,
               "%s: was made from %td images, and here are %td; give the images of that run", self->path, then->images,
               now->images);
    SP_REQUIRE(then->pixels_used == now->pixels_used, SP_ERR_INPUT,
               "%s: was made from images of %td bins, and here are %td; give the images of that run", self->path,
               then->pixels_used, now->pixels_used);
    SP_REQUIRE(self->loop.fingerprint == l->fingerprint && then->edge <= now->settings.grid &&
                   self->loop.keep == l->keep && self->loop.points <= sp_loop_most_points(l),
               SP_ERR_INPUT, "%s: was made from other images; give those of that run", self->path);
done:
    return status;
}

sp_status sp_checkpoint_restore(const sp_checkpoint *checkpoint, sp_loop *loop)
{
    const sp_reconstruction *then = &checkpoint->state;
    sp_reconstruction *now = loop->state;
    sp_status status = SP_OK;

    SP_TRY(check_images(checkpoint, loop));
    for (const sp_field *field = loop_fields; field->name; field++) {
        sp_field_set(field, sp_field_value(field, &checkpoint->loop), loop);
    }
    now->edge = then->edge;
    now->generations = then->generations;
    now->trials = then->trials;
    memcpy(now->trial, then->trial, sizeof now->trial);
    memcpy(now->history, then->history, (size_t)then->generations * sizeof *then->history);
    for (int i = 0; i < PARTS; i++) {
        const size_t bytes = (size_t)part_count(&parts[i], &checkpoint->loop) * part_size(&parts[i]);

        if (bytes > 0) {
            memcpy(part_array(&parts[i], loop), part_array(&parts[i], &checkpoint->loop), bytes);
        }
    }
    for (int i = 0; i < SP_PHASES; i++) { /* the images were read once more */
        now->wall[i] += then->wall[i];
        now->cpu[i] += then->cpu[i];
    }
done:
    return status;
}
