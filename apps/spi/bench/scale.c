/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/scale.h"

#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/memory.h"
#include "bench/layer.h"
#include "flow/output.h"
#include "flow/rehearsal.h"
#include "io/images.h"

enum {
    MOST_KINDS = 64,
    ROUNDS = 5,
    TASKS = 100 /* that costs are measured by, for a check */,
    EVERYWHERE = 2048 /* ranks up to which SpiniFEL's curve is flat */,
    PUBLISHED = 4096
};

const char *const sp_scale_phase_names[SP_SCALE_PHASES] = {"merge", "phase", "match",   "assess",
                                                           "other", "sent",  "program", "files"};

/* ---- how long tasks take ---- */

typedef struct kind {
    char name[SP_EVENT_NAME];
    ptrdiff_t count;
    double seconds, bytes;
} kind;

typedef struct kinds {
    int count;
    kind kind[MOST_KINDS];
    ptrdiff_t images, per_block; /* of the measurement: means of blocks */
    ptrdiff_t all, wanted;       /* images of the rehearsal, and of a whole block of it */
    ptrdiff_t tasks;             /* for a check: of the generation; 0: means are taken */
    sp_event *task;              /* [tasks] the name of one that has been replayed is empty */
} kinds;

static const kind *find(const kinds *k, const char *name)
{
    for (int i = 0; i < k->count; i++) {
        if (strcmp(k->kind[i].name, name) == 0) {
            return &k->kind[i];
        }
    }
    return NULL;
}

static void add(kinds *k, const sp_event *event)
{
    kind *known = (kind *)find(k, event->name);

    if (!known && k->count == MOST_KINDS) {
        return;
    }
    if (!known) {
        known = &k->kind[k->count++];
        *known = (kind){.count = 0};
        memcpy(known->name, event->name, sizeof known->name);
    }
    known->count++;
    known->seconds += event->end - event->begin;
    known->bytes += (double)event->bytes;
}

/* Images in a block of the rehearsal, relative to the mean of those measured. */
static double share_of_images(const kinds *k, ptrdiff_t block)
{
    const ptrdiff_t left = k->all - block * k->wanted, count = left < k->wanted ? left : k->wanted;
    const ptrdiff_t blocks = (k->images + k->per_block - 1) / k->per_block;

    return (double)count * (double)blocks / (double)k->images;
}

/* The first task of this name and point that has not been replayed; NULL: there is none left. */
static sp_event *same_task(const kinds *k, const sp_work *work)
{
    sp_event *first = NULL;

    for (ptrdiff_t i = 0; i < k->tasks; i++) {
        sp_event *task = &k->task[i];

        if (task->point[0] == work->point[0] && task->point[1] == work->point[1] &&
            strcmp(task->name, work->type->name) == 0 && (!first || task->begin < first->begin)) {
            first = task;
        }
    }
    return first;
}

/* sp_replay_machine.seconds */
static double seconds_of(const sp_work *work, void *context)
{
    const kinds *k = context;
    sp_event *same = same_task(k, work);

    if (same) {
        same->name[0] = '\0';
        return same->end - same->begin;
    }
    const bool on_images = work->argument[0].is_object && strcmp(work->use[0].block->name, "crew") == 0;
    const bool moves = strcmp(work->type->name, "move") == 0;
    const kind *of = find(k, moves ? "combine" : work->type->name);
    double bytes = 0.0;

    if (!of) {
        return 0.0; /* not in a generation: what comes before it */
    }
    if (moves || of->bytes > 0.0) {
        for (int i = 0; i < work->uses; i++) {
            bytes += (double)work->use[i].bytes;
        }
    }
    if (moves || strcmp(of->name, "combine") == 0) {
        return of->seconds * bytes / of->bytes;
    }
    return of->seconds / (double)of->count * (on_images ? share_of_images(k, work->use[0].block->index) : 1.0);
}

/* ---- one generation on so many ranks ---- */

typedef struct place {
    const char *waited; /* for this region */
    sp_scale_phase phase;
} place;

static const place places[] = {
    {"residual", SP_SCALE_MERGE}, {"phased", SP_SCALE_PHASE}, {"density", SP_SCALE_PHASE},
    {"model", SP_SCALE_PHASE},    {"best", SP_SCALE_MATCH},   {"orientation", SP_SCALE_MATCH},
    {"score", SP_SCALE_ASSESS},   {"scale", SP_SCALE_ASSESS}, {"scatter", SP_SCALE_ASSESS},
};

static sp_scale_phase phase_of(const char *waited)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (strcmp(places[i].waited, waited) == 0) {
            return places[i].phase;
        }
    }
    return SP_SCALE_OTHER;
}

static void add_steps(const sp_replay *replay, sp_scale_row *row)
{
    int steps;
    const sp_replay_step *step = sp_replay_steps(replay, &steps);

    for (int i = 0; i < steps; i++) {
        row->seconds += step[i].seconds;
        row->phase[phase_of(step[i].name)] += step[i].seconds - step[i].own - step[i].sent;
        row->phase[SP_SCALE_SENT] += step[i].sent;
        row->phase[strcmp(step[i].name, "agree") == 0 ? SP_SCALE_FILES : SP_SCALE_PROGRAM] += step[i].own;
    }
    row->busy += sp_replay_busy(replay);
    row->messages += sp_replay_messages(replay);
}

/* For what the first rank writes after a generation, while the others wait to agree that it could. */
static sp_status open_folder(const sp_scale_settings *s, sp_output **output)
{
    const char *parent = getenv("TMPDIR");
    char path[64];
    sp_status status = SP_OK;

    snprintf(path, sizeof path, "%.32s/spica-scale.XXXXXX", parent ? parent : "/tmp");
    SP_REQUIRE(mkdtemp(path), SP_ERR_OUTPUT, "%s: cannot make a folder for results", path);
    SP_TRY(sp_output_new(&(sp_output_plan){.folder = path, .input = s->images, .settings = "", .asked = s->reconstruct},
                         output));
done:
    return status;
}

static void remove_folder(sp_output *output)
{
    if (output) {
        sp_output_remove(output);
    }
    sp_output_free(output);
}

/* A run that is checked writes nothing; what is written aside nobody waits for. */
static sp_status write_nothing(void *context, const sp_reconstruction *state, const sp_loop *loop)
{
    (void)context, (void)state, (void)loop;
    return SP_OK;
}

static sp_status replay_on(const sp_scale_settings *s, const sp_loop *loop, kinds *k, sp_scale_row *row)
{
    sp_replay_machine machine = s->machine;
    sp_rehearsal *rehearsal = NULL;
    sp_replay *replay = NULL;
    sp_output *output = NULL;
    sp_run *run = NULL;
    sp_status status = SP_OK;

    machine.ranks = row->ranks;
    machine.seconds = seconds_of;
    machine.context = k;
    k->all = row->images;
    SP_TRY(sp_replay_new(&machine, &replay));
    SP_TRY(sp_replay_run(replay, &run));
    k->wanted = row->images; /* until the rehearsal says how it cuts them: nothing counts before */
    SP_TRY(sp_rehearsal_new(loop, run, row->images, &rehearsal));
    k->wanted = sp_rehearsal_per_block(rehearsal);
    SP_TRY(open_folder(s, &output));
    sp_replay_forget(replay);
    SP_TRY(sp_rehearsal_generation(rehearsal, s->check || s->aside ? write_nothing : sp_output_write, output));
    add_steps(replay, row);
done:
    remove_folder(output);
    sp_rehearsal_free(rehearsal);
    sp_run_free(run);
    sp_replay_free(replay);
    return status;
}

/* ---- the run that is measured ---- */

typedef struct measurement {
    sp_scale_settings settings;
    sp_scale *scale;
    sp_log *log;
    sp_run *run;
    ptrdiff_t images;
    int done;       /* generations */
    double went_on; /* [s] of the run's clock: when the generation began */
} measurement;

/* Tasks of the generation that has just been made, on all ranks: known to rank 0. */
static sp_status collect(const measurement *m, const sp_loop *loop, kinds *k)
{
    ptrdiff_t events = 0;
    sp_status status = SP_OK;

    *k = (kinds){.images = m->images, .per_block = sp_loop_per_block(loop)};
    SP_TRY(sp_run_events(m->run, &k->task, &events));
    for (ptrdiff_t i = 0; i < events; i++) {
        if (k->task[i].worker >= 0 && k->task[i].begin >= m->went_on) {
            add(k, &k->task[i]);
            k->task[k->tasks++] = k->task[i];
        }
    }
    k->tasks = m->settings.check ? k->tasks : 0;
done:
    return status;
}

/* The first generation is left out of many: memory is touched for the first time. */
static bool is_replayed(const measurement *m)
{
    const int all = m->settings.reconstruct.generations;

    return m->settings.every ? m->done > 1 || all == 1 : m->done == all;
}

static sp_status replay_generation(void *context, const sp_reconstruction *state, const sp_loop *loop)
{
    measurement *m = context;
    const double seconds = sp_run_time(m->run) - m->went_on;
    kinds *k = NULL;
    sp_status status = SP_OK;

    (void)state;
    if (!loop) {
        return SP_OK;
    }
    m->done++;
    SP_TRY(SP_ARRAY(k, 1));
    SP_TRY(collect(m, loop, k));
    m->scale->measured += is_replayed(m) && m->done > 1 ? seconds : 0.0;
    for (int i = 0; i < m->scale->rows && is_replayed(m) && sp_run_rank(m->run) == 0; i++) {
        SP_TRY(replay_on(&m->settings, loop, k, &m->scale->row[i]));
    }
done:
    if (k) {
        sp_array_free(k->task);
    }
    sp_array_free(k);
    m->went_on = sp_run_time(m->run);
    return status;
}

static void plan_rows(const sp_scale_settings *s, ptrdiff_t images, sp_scale *scale)
{
    for (int ranks = 1; ranks <= s->ranks && scale->rows < SP_SCALE_ROWS; ranks *= 2) {
        scale->row[scale->rows++] =
            (sp_scale_row){.ranks = ranks, .images = s->per_rank > 0 ? s->per_rank * ranks : images};
    }
}

/* The machine is what runs this. */
static sp_status measure_machine(measurement *m)
{
    const int ranks = sp_run_ranks(m->run);
    sp_replay_machine *machine = &m->settings.machine;
    sp_quartiles cost[SP_LAYER_COSTS];
    sp_status status = SP_OK;

    SP_TRY(sp_layer_measure(m->run, ROUNDS, TASKS, cost));
    machine->workers = 1;
    machine->hosted = ranks;
    machine->cores = 0; /* what shares them is in the times of the tasks */
    machine->task = cost[SP_LAYER_TASK].median;
    machine->point = cost[SP_LAYER_PASSED].median;
    machine->post = cost[SP_LAYER_POST].median;
    machine->gap = fmax(cost[SP_LAYER_MESSAGE].median - machine->latency, 0.0);
    machine->nap = fmax(0.5 * cost[SP_LAYER_AGREEMENT].median / fmax(ceil(log2(ranks)), 1.0) - machine->latency -
                            machine->collective,
                        0.0);
    m->scale->per_rank = m->settings.per_rank = 0;
    m->scale->row[m->scale->rows++] = (sp_scale_row){.ranks = ranks, .images = m->images};
done:
    return status;
}

sp_status sp_scale_measure(const sp_scale_settings *settings, sp_log *log, sp_scale *scale)
{
    const int threads = omp_get_max_threads();
    const sp_engine engine = settings->check && sp_run_under_mpirun() ? SP_ENGINE_STARPU : SP_ENGINE_LOCAL;
    measurement m = {.settings = *settings, .scale = scale, .log = log};
    sp_reconstruction *result = NULL;
    sp_image_file *file = NULL;
    sp_status status = SP_OK;

    *scale = (sp_scale){.per_rank = settings->per_rank, .checked = settings->check};
    omp_set_num_threads(1);
    SP_TRY(sp_image_file_open(settings->images, &file));
    m.images = sp_image_file_count(file);
    SP_TRY(sp_run_new(&(sp_run_settings){.engine = engine, .threads = 1, .timed = true, .log = log}, &m.run));
    if (settings->check) {
        SP_TRY(measure_machine(&m));
    } else {
        plan_rows(settings, m.images, scale);
    }
    scale->speaks = sp_run_rank(m.run) == 0;
    SP_TRY(sp_reconstruct(m.run, file, &settings->reconstruct, scale->speaks ? log : NULL, NULL, replay_generation, &m,
                          &result));
done:
    omp_set_num_threads(threads);
    sp_reconstruction_free(result);
    sp_run_free(m.run);
    sp_image_file_close(file);
    return status;
}

/* ---- what came out ---- */

/* How many times as much a row's ranks could do: with images of their own nothing less is left for each. */
static double work_of(const sp_scale *scale, int row)
{
    return scale->per_rank > 0 ? 1.0 : (double)scale->row[row].ranks;
}

double sp_scale_efficiency(const sp_scale *scale, int row)
{
    return scale->row[0].seconds / scale->row[row].seconds / work_of(scale, row);
}

/* Of the row that makes most of its ranks: one rank does all starts of the phasing, four do one each. */
static double shortest(const sp_scale *scale)
{
    double best = scale->row[0].seconds;

    for (int r = 1; r < scale->rows; r++) {
        best = fmin(best, scale->row[r].seconds * work_of(scale, r));
    }
    return best;
}

sp_scale_phase sp_scale_limit(const sp_scale *scale, int row)
{
    const double *first = scale->row[0].phase, *now = scale->row[row].phase;
    int most = 0;

    for (int i = 1; i < SP_SCALE_PHASES; i++) {
        most = now[i] - first[i] > now[most] - first[most] ? i : most;
    }
    return (sp_scale_phase)most;
}

/* Of SpiniFEL on Frontier, 256 images per rank: as its authors put it. */
static const char *published(const sp_scale *scale, int ranks)
{
    if (scale->per_rank == 0) {
        return "";
    }
    return ranks <= EVERYWHERE ? "~100 %" : ranks == PUBLISHED ? "~70 %" : "";
}

static void append_check(const sp_scale *scale, sp_text *text)
{
    const double replayed = scale->row[0].seconds;

    sp_text_append(text, "%d ranks: measured %.3f s, replayed %.3f s, %+.0f %%\n", scale->row[0].ranks, scale->measured,
                   replayed, 100.0 * (replayed / scale->measured - 1.0));
}

void sp_scale_table(const sp_scale *scale, sp_text *text)
{
    if (scale->checked) {
        append_check(scale, text);
        return;
    }
    const double best = shortest(scale);

    sp_text_append(text, "%6s %8s %9s %10s %8s %8s", "ranks", "images", "time [s]", "efficiency", "of best",
                   "SpiniFEL");
    for (int i = 0; i < SP_SCALE_PHASES; i++) {
        sp_text_append(text, " %8s", sp_scale_phase_names[i]);
    }
    sp_text_append(text, "  %s\n", "limited by");
    for (int r = 0; r < scale->rows; r++) {
        const sp_scale_row *row = &scale->row[r];

        sp_text_append(text, "%6d %8td %9.3f %8.1f %% %6.1f %% %8s", row->ranks, row->images, row->seconds,
                       100.0 * sp_scale_efficiency(scale, r), 100.0 * best / row->seconds / work_of(scale, r),
                       published(scale, row->ranks));
        for (int i = 0; i < SP_SCALE_PHASES; i++) {
            sp_text_append(text, " %8.3f", row->phase[i]);
        }
        sp_text_append(text, "  %s\n", r > 0 ? sp_scale_phase_names[sp_scale_limit(scale, r)] : "");
    }
}

void sp_scale_json(const sp_scale *scale, sp_text *text)
{
    sp_json json = sp_json_start(text);

    sp_json_object(&json, NULL);
    sp_json_integer(&json, "images_per_rank", scale->per_rank);
    sp_json_real(&json, "measured_seconds", scale->checked ? scale->measured : NAN);
    sp_json_array(&json, "rows");
    for (int r = 0; r < scale->rows; r++) {
        const sp_scale_row *row = &scale->row[r];

        sp_json_object(&json, NULL);
        sp_json_integer(&json, "ranks", row->ranks);
        sp_json_integer(&json, "images", row->images);
        sp_json_real(&json, "seconds", row->seconds);
        sp_json_real(&json, "efficiency", sp_scale_efficiency(scale, r));
        sp_json_real(&json, "busy_seconds", row->busy);
        sp_json_integer(&json, "messages", row->messages);
        sp_json_object(&json, "phases");
        for (int i = 0; i < SP_SCALE_PHASES; i++) {
            sp_json_real(&json, sp_scale_phase_names[i], row->phase[i]);
        }
        sp_json_end(&json);
        sp_json_text(&json, "limited_by", r > 0 ? sp_scale_phase_names[sp_scale_limit(scale, r)] : NULL);
        sp_json_end(&json);
    }
    sp_json_end(&json);
    sp_json_end(&json);
}
