/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/layer.h"

#include "base/clock.h"

enum {
    MESSAGE_BYTES = 128,
    FEWER = 10 /* messages in a chain than tasks: where threads share cores each takes 10 ms */
};

const char *const sp_layer_names[SP_LAYER_COSTS] = {"an empty task",
                                                    "a task that waits for the one before",
                                                    "an agreement of all processes",
                                                    "a task of another process, passed",
                                                    "a task that waits for a message",
                                                    "one of many messages",
                                                    "a message, ordered"};

/* What is launched over and over. */
typedef struct layer {
    sp_run *run;
    ptrdiff_t tasks;
    sp_region *block, *other; /* [tasks] blocks, evenly over the ranks */
    sp_region *mine;          /* one block for each rank */
} layer;

static void do_nothing(sp_task *t)
{
    (void)t;
}
static const sp_task_type empty_task = {.name = "empty", .run = do_nothing, .privilege = {SP_WRITE}},
                          next_task = {.name = "next", .run = do_nothing, .privilege = {SP_READ_WRITE}},
                          pass_task = {.name = "pass", .run = do_nothing, .privilege = {SP_READ, SP_WRITE}};

/* ---- launches ---- */

static void tasks_apart(const layer *l)
{
    sp_launch(l->run, .type = &empty_task, .points = {l->tasks}, .argument = {sp_by_i(l->block)});
}

static void tasks_in_a_chain(const layer *l)
{
    for (ptrdiff_t i = 0; i < l->tasks; i++) {
        sp_launch(l->run, .type = &next_task, .argument = {sp_at(l->mine, 0)});
    }
}

static void nothing(const layer *l)
{
    (void)l;
}

static ptrdiff_t tasks_of_rank(const layer *l)
{
    return l->tasks / sp_run_ranks(l->run);
}

static void tasks_elsewhere(const layer *l) /* on the last rank */
{
    const ptrdiff_t there = tasks_of_rank(l);

    sp_launch(l->run, .type = &empty_task, .points = {there},
              .argument = {sp_from(sp_by_i(l->block), l->tasks - there)});
}

static void messages_in_a_chain(const layer *l)
{
    const ptrdiff_t last = sp_run_ranks(l->run) - 1;

    for (ptrdiff_t i = 0; i < l->tasks / FEWER; i++) {
        const ptrdiff_t from = i % 2 == 0 ? 0 : last;

        sp_launch(l->run, .type = &pass_task, .argument = {sp_at(l->mine, from), sp_at(l->mine, last - from)});
    }
}

static void messages_apart(const layer *l) /* the second half reads what the first half holds */
{
    sp_launch(l->run, .type = &pass_task, .points = {l->tasks / 2},
              .argument = {sp_by_i(l->block), sp_from(sp_by_i(l->other), l->tasks / 2)});
}

/* ---- times ---- */

/* What is timed, how much of it there is, and whether the launch alone counts. */
typedef struct measure {
    void (*launch)(const layer *l);
    double count;
    bool launch_only, of_several;
} measure;

static sp_status time_once(const layer *l, const measure *m, double *seconds)
{
    sp_status status = SP_OK;

    tasks_apart(l); /* what was read before is out of date: it is sent again */
    SP_TRY(sp_run_fence(l->run));
    const double begin = sp_clock_wall();

    m->launch(l);
    *seconds = (sp_clock_wall() - begin) / m->count;
    SP_TRY(sp_run_fence(l->run));
    *seconds = m->launch_only ? *seconds : (sp_clock_wall() - begin) / m->count;
done:
    return status;
}

static sp_status make_blocks(layer *l)
{
    sp_space *many = NULL, *few = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_space_new(l->run, l->tasks, 1, &many));
    SP_TRY(sp_space_new(l->run, sp_run_ranks(l->run), 1, &few));
    SP_TRY(sp_region_new(many, "block", MESSAGE_BYTES, &l->block));
    SP_TRY(sp_region_new(many, "other", MESSAGE_BYTES, &l->other));
    SP_TRY(sp_region_new(few, "mine", MESSAGE_BYTES, &l->mine));
    sp_launch(l->run, .type = &empty_task, .points = {sp_run_ranks(l->run)}, .argument = {sp_by_i(l->mine)});
done:
    return status;
}

sp_status sp_layer_measure(sp_run *run, int rounds, ptrdiff_t tasks, sp_quartiles cost[SP_LAYER_COSTS])
{
    layer l = {.run = run, .tasks = tasks * sp_run_ranks(run)};
    const double all = (double)l.tasks, own = (double)tasks_of_rank(&l);
    const measure measures[SP_LAYER_COSTS] = {
        [SP_LAYER_TASK] = {tasks_apart, own, false, false},
        [SP_LAYER_NEXT] = {tasks_in_a_chain, all, false, false},
        [SP_LAYER_AGREEMENT] = {nothing, 2.0, false, true}, /* a fence has two */
        [SP_LAYER_PASSED] = {tasks_elsewhere, own, true, true},
        [SP_LAYER_MESSAGE] = {messages_in_a_chain, (double)(l.tasks / FEWER), false, true},
        [SP_LAYER_STREAM] = {messages_apart, all / 2.0, false, true},
        [SP_LAYER_POST] = {messages_apart, all / 2.0, true, true},
    };
    double seconds[SP_RACE_ROUNDS];
    sp_status status = SP_OK;

    SP_TRY(make_blocks(&l));
    for (int c = 0; c < SP_LAYER_COSTS; c++) {
        cost[c] = (sp_quartiles){.median = 0.0};
        if (measures[c].of_several && sp_run_ranks(run) == 1) {
            continue;
        }
        for (int round = -1; round < rounds; round++) { /* the first one touches the memory */
            SP_TRY(time_once(&l, &measures[c], &seconds[round < 0 ? 0 : round]));
        }
        cost[c] = sp_quartiles_of(seconds, rounds);
    }
done:
    sp_region_free(l.block);
    sp_region_free(l.other);
    sp_region_free(l.mine);
    return status;
}
