/* SPDX-License-Identifier: BSD-3-Clause */
/* How a run begins, fails, is watched, and ends; what the program waits for. */
#include "run/run.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "run/engine.h"

enum { END_OF_RANKS = 30 /* [s] more than all ranks need to end */ };

/* [s] An end by agreement often comes sooner; mpirun ends by force after a second. */
static const double POLITE_END = 0.2;

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

/* ---- times ---- */

double sp_run_time(const sp_run *run)
{
    return sp_clock_wall() - run->began;
}

/* Room for one more; the lock is held. */
static bool make_room(sp_run *run)
{
    if (run->events == run->room) {
        const ptrdiff_t room = 2 * run->room + 1024;
        sp_event *more = realloc(run->event, (size_t)room * sizeof *more);

        if (more) {
            run->event = more;
            run->room = room;
        }
    }
    return run->events < run->room;
}

void sp_run_note(sp_run *run, const char *name, const ptrdiff_t point[2], int64_t bytes, int worker, double begin,
                 double end)
{
    if (!run->settings.timed) {
        return;
    }
    pthread_mutex_lock(&run->lock);
    if (make_room(run)) { /* else it is lost: nothing depends on it */
        sp_event *event = &run->event[run->events++];

        *event =
            (sp_event){.point = {point[0], point[1]}, .bytes = bytes, .worker = worker, .begin = begin, .end = end};
        snprintf(event->name, sizeof event->name, "%s", name);
    }
    pthread_mutex_unlock(&run->lock);
}

double sp_run_enter(sp_run *run)
{
    if (run->calls->enter) {
        run->calls->enter(run);
    }
    return sp_run_time(run);
}

void sp_run_leave(sp_run *run, const char *what, int row, double since)
{
    sp_run_note(run, what, (const ptrdiff_t[2]){0, 0}, 0, row, since, sp_run_time(run));
    if (run->calls->leave) {
        run->calls->leave(run, what, row);
    }
}

/* ---- failure ---- */

bool sp_run_failed(const sp_run *run)
{
    return atomic_load(&run->failed) != SP_OK;
}

/* Why all ends, and what to do. */
static void say_end(sp_run *run, const char *reason)
{
    const char *advice = run->settings.advice;

    sp_log_error(run->settings.log, "%s%s%s", reason, advice ? "; " : "", advice ? advice : "");
}

void sp_run_fail(sp_run *run, sp_status status, const char *file, int line, const char *format, ...)
{
    char reason[SP_RUN_REASON / 2], rank[32] = "", place[128] = "";
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    if (run->ranks > 1) {
        snprintf(rank, sizeof rank, "rank %d: ", run->rank);
    }
    if (file) {
        snprintf(place, sizeof place, "%s:%d: ", file_name(file), line);
    }
    pthread_mutex_lock(&run->lock);
    const bool first = !sp_run_failed(run);

    if (first) {
        snprintf(run->reason, sizeof run->reason, "%s%s%s", rank, place, reason);
        atomic_store(&run->failed, (int)status);
    }
    pthread_mutex_unlock(&run->lock);
    if (first && run->ranks > 1) {
        say_end(run, run->reason);
        run->calls->give_up(run);
    }
}

/* What the program is told. With several ranks nothing: another thread has said why, and is about to end all. */
static sp_status outcome(const sp_run *run)
{
    const sp_status status = (sp_status)atomic_load(&run->failed);

    if (status != SP_OK && run->ranks > 1 && !run->everywhere) {
        sleep(END_OF_RANKS);
    }
    return status == SP_OK ? SP_OK : sp_error_set(status, __FILE__, __LINE__, "%s", run->reason);
}

/* ---- the watch ---- */

/* One rank goes at once: nobody would read the outcome. */
static void end_endless(sp_run *run, const sp_work *work)
{
    char reason[SP_RUN_REASON];

    snprintf(reason, sizeof reason, "task %s, point (%td, %td) has not ended after %.3g s", work->type->name,
             work->point[0], work->point[1], run->settings.patience);
    sp_run_fail(run, SP_ERR_NUMERIC, work->file, work->line, "%s", reason);
    if (run->ranks == 1) {
        say_end(run, run->reason);
        kill(getpid(), SIGKILL);
    }
}

static void look_for_endless_tasks(sp_run *run)
{
    const double now = sp_run_time(run);

    for (int worker = 0; worker < SP_RUN_WORKERS; worker++) {
        const sp_work *work = atomic_load(&run->duty[worker].work);

        if (work && now - atomic_load(&run->duty[worker].since) > run->settings.patience) {
            end_endless(run, work);
        }
    }
}

/* Ranks that are to end wait in vain for one that has died, and mpirun will not wait for long. */
static void look_for_the_end(sp_run *run)
{
    const double now = sp_run_time(run);

    if (run->rank > 0 || run->ranks == 1 || !sp_interrupted()) {
        return;
    }
    run->asked = run->asked > 0.0 ? run->asked : now;
    if (now - run->asked > POLITE_END && !atomic_exchange(&run->advised, true)) {
        say_end(run, "this run was asked to end");
    }
}

static void *keep_watch(void *context)
{
    sp_run *run = context;

    pthread_mutex_lock(&run->lock);
    while (!run->ending) {
        struct timespec until;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += 200000000;
        until.tv_sec += until.tv_nsec / 1000000000;
        until.tv_nsec %= 1000000000;
        pthread_cond_timedwait(&run->ended, &run->lock, &until);
        pthread_mutex_unlock(&run->lock);
        if (run->settings.patience > 0.0) {
            look_for_endless_tasks(run);
        }
        look_for_the_end(run);
        pthread_mutex_lock(&run->lock);
    }
    pthread_mutex_unlock(&run->lock);
    return NULL;
}

static sp_status begin_watch(sp_run *run)
{
    sp_status status = SP_OK;

    if (run->everywhere || (run->settings.patience <= 0.0 && run->ranks == 1)) {
        return SP_OK;
    }
    SP_REQUIRE(pthread_create(&run->watch, NULL, keep_watch, run) == 0, SP_ERR_MEMORY, "no thread to watch tasks");
    run->watching = true;
done:
    return status;
}

static void end_watch(sp_run *run)
{
    if (!run->watching) {
        return;
    }
    pthread_mutex_lock(&run->lock);
    run->ending = true;
    pthread_cond_signal(&run->ended);
    pthread_mutex_unlock(&run->lock);
    pthread_join(run->watch, NULL);
    run->watching = false;
}

/* ---- agreement of the ranks ---- */

static uint64_t mix(uint64_t hash, const void *bytes, size_t count) /* FNV-1a */
{
    for (size_t i = 0; i < count; i++) {
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    }
    return hash;
}

void sp_run_remember(sp_run *run, const char *file, int line, const char *what, uint64_t hash)
{
    const uint64_t before = run->launches > 0 ? run->past[(run->launches - 1) % SP_RUN_REMEMBERED].hash : 0;
    sp_footprint *now = &run->past[run->launches % SP_RUN_REMEMBERED];

    *now = (sp_footprint){.number = run->launches++, .line = line};
    snprintf(now->file, sizeof now->file, "%s", file_name(file));
    snprintf(now->what, sizeof now->what, "%s", what);
    now->hash = mix(mix(mix(mix(before, &hash, sizeof hash), now->file, strlen(now->file)), &line, sizeof line), what,
                    strlen(what));
}

/* Call number n of a rank, if it is remembered and was made. */
static const sp_footprint *call(const sp_footprint *past, int64_t n)
{
    const sp_footprint *found = &past[n % SP_RUN_REMEMBERED];

    return found->number == n && found->hash != 0 ? found : NULL;
}

/* Names the first call in which a rank differs from rank 0. */
static void name_difference(sp_run *run, const sp_footprint *all)
{
    const int64_t last = run->launches, first = last > SP_RUN_REMEMBERED ? last - SP_RUN_REMEMBERED : 0;

    for (int64_t n = first; n <= last; n++) {
        const sp_footprint *one = call(all, n);

        for (int rank = 1; rank < run->ranks; rank++) {
            const sp_footprint *other = call(all + (ptrdiff_t)rank * SP_RUN_REMEMBERED, n);

            if (one && other && one->hash != other->hash) {
                sp_run_fail(run, SP_ERR_USAGE, NULL, 0,
                            "ranks do not make the same calls: rank 0 is at %s:%d (%s), rank %d at %s:%d (%s)",
                            one->file, one->line, one->what, rank, other->file, other->line, other->what);
                return;
            }
        }
    }
    sp_run_fail(run, SP_ERR_USAGE, NULL, 0, "ranks do not make the same calls; they parted more than %d calls ago",
                SP_RUN_REMEMBERED);
}

/* All ranks are here, but not by the same calls: each tells the others what it remembers. */
static sp_status compare_past(sp_run *run)
{
    sp_footprint *all = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(all, (ptrdiff_t)run->ranks * SP_RUN_REMEMBERED));
    run->calls->exchange(run, run->past, sizeof run->past, all);
    if (*sp_error_text()) { /* most likely why this one went another way */
        sp_log_error(run->settings.log, "rank %d: %s", run->rank, sp_error_text());
    }
    name_difference(run, all);
done:
    sp_array_free(all);
    return status;
}

/* Have all ranks come to the same call by the same way? Waits for all of them. */
static void agree(sp_run *run, const char *file, int line, const char *what, uint64_t hash)
{
    sp_run_remember(run, file, line, what, hash);
    if (run->ranks == 1 || sp_run_failed(run)) {
        return;
    }
    const uint64_t now = run->past[(run->launches - 1) % SP_RUN_REMEMBERED].hash; /* of the call and all before it */

    if (!run->calls->all_equal(run, now) && compare_past(run) != SP_OK) {
        sp_run_fail(run, SP_ERR_MEMORY, file, line, "%s", sp_error_text());
    }
}

/* ---- the run ---- */

bool sp_run_under_mpirun(void)
{
    static const char *const signs[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "MPI_LOCALNRANKS"};

    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        if (getenv(signs[i])) {
            return true;
        }
    }
    return false;
}

/* That mpirun, or the like, has started. */
static long processes_of_job(void)
{
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "MPI_LOCALNRANKS"};

    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        const char *size = getenv(sizes[i]);

        if (size) {
            return strtol(size, NULL, 10);
        }
    }
    return 1;
}

static const sp_engine_calls *calls_of(sp_engine engine)
{
    return engine == SP_ENGINE_LOCAL ? &sp_engine_local : sp_engine_starpu();
}

bool sp_run_engine_is_there(sp_engine engine)
{
    return calls_of(engine) != NULL;
}

sp_status sp_run_new(const sp_run_settings *settings, sp_run **run)
{
    sp_status status = SP_OK;

    SP_REQUIRE(calls_of(settings->engine), SP_ERR_USAGE,
               "this program was built without StarPU: install libstarpu-dev and libopenmpi-dev, and build again");
    SP_REQUIRE(settings->engine != SP_ENGINE_LOCAL || processes_of_job() <= 1, SP_ERR_USAGE,
               "mpirun has started %ld processes, and each would do all of the work: use --engine starpu",
               processes_of_job());
    status = sp_run_new_on(calls_of(settings->engine), NULL, settings, run);
done:
    return status;
}

sp_status sp_run_new_on(const sp_engine_calls *calls, void *engine, const sp_run_settings *settings, sp_run **run)
{
    pthread_condattr_t monotonic;
    sp_status status = SP_OK;
    sp_run *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->settings = *settings;
    self->engine = engine;
    pthread_mutex_init(&self->lock, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&self->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (!settings->log) {
        SP_TRY(sp_log_new(SP_LOG_ERROR, NULL, &self->own_log));
        self->settings.log = self->own_log;
    }
    SP_TRY(calls->start(self));
    self->calls = calls;
    agree(self, __FILE__, 0, "begin", 0);
    self->began = sp_clock_wall(); /* all ranks at once, about */
    SP_TRY(begin_watch(self));
    *run = self;
    self = NULL;
done:
    sp_run_free(self);
    return status;
}

void sp_run_free(sp_run *run)
{
    if (!run) {
        return;
    }
    atomic_store(&run->advised, true);
    if (run->calls) {
        agree(run, __FILE__, 0, "end", 0);
        run->calls->wait(run);
        while (run->regions) {
            sp_region_free(run->regions);
        }
        run->calls->stop(run);
    }
    end_watch(run);
    while (run->spaces) {
        sp_space *const space = run->spaces;

        run->spaces = space->next;
        sp_array_free(space->first);
        sp_array_free(space->owner);
        sp_array_free(space);
    }
    pthread_mutex_destroy(&run->lock);
    pthread_cond_destroy(&run->ended);
    for (int worker = 0; worker < SP_RUN_WORKERS; worker++) {
        sp_array_free(run->scratch[worker].room);
    }
    free(run->event);
    sp_log_free(run->own_log);
    sp_array_free(run);
}

int sp_run_rank(const sp_run *run)
{
    return run->rank;
}

int sp_run_ranks(const sp_run *run)
{
    return run->ranks;
}

int sp_run_neighbours(const sp_run *run)
{
    return run->neighbours;
}

int sp_run_threads(const sp_run *run)
{
    return run->threads;
}

int sp_run_per_machine(const sp_run *run)
{
    return run->per_machine;
}

int64_t sp_run_next_id(sp_run *run)
{
    return ++run->ids; /* 0 is none */
}

/* ---- waiting ---- */

sp_status sp_run_fence_at(sp_run *run, const char *file, int line)
{
    const double begin = sp_run_enter(run);

    agree(run, file, line, "fence", 0);
    if (!sp_run_failed(run) || run->ranks == 1) { /* what runs already uses what the caller is about to free */
        run->calls->wait(run);
    }
    agree(run, file, line, "fence", 1); /* nobody goes on before all are here */
    sp_run_leave(run, "fence", SP_ROW_PROGRAM, begin);
    return outcome(run);
}

static void check_readable(sp_run *run, const char *file, int line, const sp_region *region, ptrdiff_t block)
{
    if (block < 0 || block >= region->space->blocks) {
        sp_run_fail(run, SP_ERR_USAGE, file, line, "block %td is asked for of region %s, which has %td", block,
                    region->name, region->space->blocks);
    } else if (region->is_objects) {
        sp_run_fail(run, SP_ERR_USAGE, file, line, "region %s holds objects, which stay where they are", region->name);
    } else if (region->group > 0) {
        sp_run_fail(run, SP_ERR_USAGE, file, line, "region %s stays in its groups of ranks", region->name);
    } else if (!region->block[block]->written) {
        sp_run_fail(run, SP_ERR_USAGE, file, line, "block %td of region %s is read, and nothing has written it", block,
                    region->name);
    }
}

sp_status sp_run_get_at(sp_run *run, const char *file, int line, sp_region *region, ptrdiff_t first, ptrdiff_t blocks,
                        void *out)
{
    const uint64_t where =
        mix(mix(mix(0, &region->id, sizeof region->id), &first, sizeof first), &blocks, sizeof blocks);
    const double begin = sp_run_enter(run);
    const ptrdiff_t count = blocks > 0 ? blocks : region->space->blocks;
    sp_status status = SP_OK;

    agree(run, file, line, region->name, where);
    for (ptrdiff_t b = first; b < first + count && !sp_run_failed(run); b++) {
        check_readable(run, file, line, region, b);
    }
    if (!sp_run_failed(run)) {
        SP_TRY(run->calls->fetch(run, region->block + first, count, out));
    }
    status = outcome(run);
done:
    sp_run_leave(run, region->name, SP_ROW_PROGRAM, begin);
    return status;
}

sp_status sp_run_agree_at(sp_run *run, const char *file, int line, sp_status mine)
{
    const int sent = (int)mine;
    const double begin = sp_run_enter(run);
    sp_status status = mine;
    int *all = NULL;

    if (run->ranks == 1 || sp_run_failed(run)) {
        goto done;
    }
    agree(run, file, line, "agree", 0);
    SP_TRY(SP_ARRAY(all, run->ranks));
    run->calls->exchange(run, &sent, sizeof sent, all);
    status = mine;
    for (int rank = 0; rank < run->ranks && status == SP_OK; rank++) {
        SP_REQUIRE(all[rank] == SP_OK, (sp_status)all[rank], "rank %d could not go on", rank);
    }
done:
    sp_run_leave(run, "agree", SP_ROW_PROGRAM, begin);
    sp_array_free(all);
    return status;
}
