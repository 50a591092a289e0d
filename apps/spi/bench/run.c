/* SPDX-License-Identifier: BSD-3-Clause */
/* What the task layer costs: for each task, for each message. On one process both engines; under mpirun, StarPU on all
 * ranks, of which the first one speaks. Wall clock: the workers of an engine are other threads. */
#include "run/run.h"

#include <stdio.h>

#include "base/clock.h"
#include "bench/parts.h"

enum { TASKS = 2000, QUICK_TASKS = 200, MESSAGE_BYTES = 128 };

/* What is launched over and over. */
typedef struct bench_run {
    sp_bench *bench;
    const char *engine;
    sp_run *run;
    ptrdiff_t tasks;
    sp_region *block; /* one for each task, evenly over the ranks, like the next ones */
    sp_region *other;
    sp_region *mine; /* one for each rank */
} bench_run;

static void do_nothing(sp_task *t)
{
    (void)t;
}
static const sp_task_type empty_task = {.name = "empty", .run = do_nothing, .privilege = {SP_WRITE}},
                          next_task = {.name = "next", .run = do_nothing, .privilege = {SP_READ_WRITE}},
                          pass_task = {.name = "pass", .run = do_nothing, .privilege = {SP_READ, SP_WRITE}};

/* ---- what is timed: launches that take `launched`, and with what they start, `all` [s] ---- */

typedef struct moment {
    double launched, all;
} moment;

typedef void launches(bench_run *r);

static void tasks_apart(bench_run *r)
{
    sp_launch(r->run, .type = &empty_task, .points = {r->tasks}, .argument = {sp_by_i(r->block)});
}

static void tasks_in_a_chain(bench_run *r)
{
    for (ptrdiff_t i = 0; i < r->tasks; i++) {
        sp_launch(r->run, .type = &next_task, .argument = {sp_at(r->mine, 0)});
    }
}

/* From rank to rank and back: each message waits for the one before. */
static void messages_in_a_chain(bench_run *r)
{
    const ptrdiff_t last = sp_run_ranks(r->run) - 1;

    for (ptrdiff_t i = 0; i < r->tasks; i++) {
        sp_launch(r->run, .type = &pass_task,
                  .argument = {sp_at(r->mine, i % 2 == 0 ? 0 : last), sp_at(r->mine, i % 2 == 0 ? last : 0)});
    }
}

/* The second half reads what the first half holds. */
static void messages_apart(bench_run *r)
{
    sp_launch(r->run, .type = &pass_task, .points = {r->tasks / 2},
              .argument = {sp_by_i(r->block), sp_from(sp_by_i(r->other), r->tasks / 2)});
}

/* All on the last rank. */
static void tasks_elsewhere(bench_run *r)
{
    const ptrdiff_t there = r->tasks / sp_run_ranks(r->run);

    sp_launch(r->run, .type = &empty_task, .points = {there},
              .argument = {sp_from(sp_by_i(r->block), r->tasks - there)});
}

static sp_status time_once(bench_run *r, launches *what, moment *taken)
{
    sp_status status = SP_OK;

    tasks_apart(r); /* what was read before is out of date: it is sent again */
    SP_TRY(sp_run_fence(r->run));
    const double begin = sp_clock_wall();

    what(r);
    taken->launched = sp_clock_wall() - begin;
    SP_TRY(sp_run_fence(r->run));
    taken->all = sp_clock_wall() - begin;
done:
    return status;
}

/* A row of `what`, which is so many tasks or messages; `launched`: what the program takes, without waiting. */
static sp_status add_row(bench_run *r, launches *what, ptrdiff_t count, bool launched, const char *name)
{
    double seconds[SP_RACE_ROUNDS];
    sp_status status = SP_OK;

    for (int round = -1; round < r->bench->rules.rounds; round++) { /* the first one touches the memory */
        moment taken = {0.0, 0.0};

        SP_TRY(time_once(r, what, &taken));
        seconds[round < 0 ? 0 : round] = (launched ? taken.launched : taken.all) / (double)count;
    }
    sp_row *row = sp_row_add(r->bench, "run", sp_run_threads(r->run), "%s, %d process%s: %s", r->engine,
                             sp_run_ranks(r->run), sp_run_ranks(r->run) == 1 ? "" : "es", name);

    row->seconds = sp_quartiles_of(seconds, r->bench->rules.rounds);
    sp_progress_add(r->bench->progress, 1);
done:
    return status;
}

/* ---- engines ---- */

static sp_status make_blocks(bench_run *r)
{
    sp_space *many = NULL, *few = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_space_new(r->run, r->tasks, 1, &many));
    SP_TRY(sp_space_new(r->run, sp_run_ranks(r->run), 1, &few));
    SP_TRY(sp_region_new(many, "block", MESSAGE_BYTES, &r->block));
    SP_TRY(sp_region_new(many, "other", MESSAGE_BYTES, &r->other));
    SP_TRY(sp_region_new(few, "mine", MESSAGE_BYTES, &r->mine));
    sp_launch(r->run, .type = &empty_task, .points = {sp_run_ranks(r->run)}, .argument = {sp_by_i(r->mine)});
done:
    return status;
}

static sp_status time_engine(sp_bench *bench, sp_engine engine, const char *name)
{
    bench_run r = {.bench = bench, .engine = name, .tasks = bench->settings.quick ? QUICK_TASKS : TASKS};
    sp_status status = SP_OK;

    SP_TRY(sp_run_new(&(sp_run_settings){.engine = engine, .threads = 1, .log = bench->log}, &r.run));
    bench->speaks = sp_run_rank(r.run) == 0;
    SP_TRY(make_blocks(&r));
    SP_TRY(add_row(&r, tasks_apart, r.tasks / sp_run_ranks(r.run), false, "an empty task"));
    SP_TRY(add_row(&r, tasks_in_a_chain, r.tasks, false, "a task that waits for the one before"));
    if (sp_run_ranks(r.run) > 1) {
        SP_TRY(add_row(&r, tasks_elsewhere, r.tasks / sp_run_ranks(r.run), true, "a task of another rank, passed"));
        SP_TRY(add_row(&r, messages_in_a_chain, r.tasks, false, "a task that waits for a message"));
        SP_TRY(add_row(&r, messages_apart, r.tasks / 2, false, "one of many messages"));
        SP_TRY(add_row(&r, messages_apart, r.tasks / 2, true, "a message, ordered"));
    }
done:
    sp_run_free(r.run);
    return status;
}

static void not_built(sp_bench *bench)
{
    sp_row *row = sp_row_add(bench, "run", 1, "starpu");

    snprintf(row->note, sizeof row->note, "this program was built without StarPU");
}

sp_status sp_bench_run_layer(sp_bench *bench)
{
    const bool several = sp_run_under_mpirun();
    sp_status status = SP_OK;

    if (!several) {
        SP_TRY(time_engine(bench, SP_ENGINE_LOCAL, "local"));
    }
    if (sp_run_engine_is_there(SP_ENGINE_STARPU)) {
        SP_TRY(time_engine(bench, SP_ENGINE_STARPU, "starpu"));
    } else {
        not_built(bench);
    }
done:
    return status;
}
