/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/clock.h"
#include "bench/replay.h"
#include "testing.h"

#define OK(call) assert_int_equal((call), SP_OK)

/* [s] tasks take seconds here, so that the test's own work is nothing; a message of one element takes 0.25 + 0.5 + 1 */
static const double TASK = 10.0, GAP = 0.25, TRANSFER = 0.5, LATENCY = 1.0, NOTHING = 0.05;

static double ten_seconds(const sp_work *work, void *context)
{
    (void)work, (void)context;
    return TASK;
}

static void never(sp_task *t)
{
    sp_task_fail(t, SP_ERR_USAGE, "a task runs that should only be counted");
}
static const sp_task_type make_task = {.name = "make", .run = never, .privilege = {SP_WRITE}},
                          pass_task = {.name = "pass", .run = never, .privilege = {SP_READ, SP_WRITE}},
                          touch_task = {.name = "touch", .run = never, .privilege = {SP_READ_WRITE}},
                          add_task = {.name = "add", .run = never, .privilege = {SP_READ, SP_REDUCE}};

/* A machine, a run on it, and a region with a block for each rank. */
typedef struct setting {
    sp_replay *replay;
    sp_run *run;
    sp_space *space;
    sp_region *region;
    double began;
} setting;

static setting begin(int ranks, int workers, int cores)
{
    const sp_replay_machine machine = {.ranks = ranks,
                                       .workers = workers,
                                       .hosted = ranks,
                                       .cores = cores,
                                       .latency = LATENCY,
                                       .bandwidth = sizeof(double) / TRANSFER,
                                       .gap = GAP,
                                       .seconds = ten_seconds};
    setting s = {.replay = NULL};

    OK(sp_replay_new(&machine, &s.replay));
    OK(sp_replay_run(s.replay, &s.run));
    OK(sp_space_new(s.run, ranks, 1, &s.space));
    OK(sp_region_new(s.space, "blocks", sizeof(double), &s.region));
    s.began = sp_replay_time(s.replay); /* ranks that begin agree to do so */
    return s;
}

/* Until everything launched is done. */
static double taken(const setting *s)
{
    return sp_replay_end(s->replay) - s->began;
}

static void end(setting *s)
{
    sp_run_free(s->run);
    sp_replay_free(s->replay);
}

static void one_rank_takes_the_sum_of_its_tasks(void **state)
{
    (void)state;
    setting s = begin(1, 1, 0);

    for (int i = 0; i < 7; i++) {
        sp_launch(s.run, .type = &make_task, .points = {1}, .argument = {sp_by_i(s.region)});
    }
    assert_float_equal(taken(&s), 7.0 * TASK, NOTHING);
    OK(sp_run_fence(s.run));
    assert_float_equal(sp_replay_time(s.replay) - s.began, 7.0 * TASK, NOTHING);
    assert_float_equal(sp_replay_busy(s.replay), 7.0 * TASK, 1e-9);
    end(&s);
}

static void ranks_that_share_nothing_take_as_long_as_the_slowest(void **state)
{
    (void)state;
    setting s = begin(2, 1, 0);

    sp_launch(s.run, .type = &make_task, .points = {2}, .argument = {sp_by_i(s.region)});
    sp_launch(s.run, .type = &make_task, .argument = {sp_at(s.region, 1)});
    assert_float_equal(taken(&s), 2.0 * TASK, NOTHING);
    assert_int_equal(sp_replay_messages(s.replay), 0);
    end(&s);
}

static void cores_that_are_shared_are_waited_for(void **state)
{
    (void)state;
    double seconds[2];

    for (int i = 0; i < 2; i++) {
        setting s = begin(4, 1, i == 0 ? 0 : 2);

        sp_launch(s.run, .type = &make_task, .points = {4}, .argument = {sp_by_i(s.region)});
        seconds[i] = taken(&s);
        end(&s);
    }
    assert_float_equal(seconds[0], TASK, NOTHING);
    assert_float_equal(seconds[1], 2.0 * TASK, NOTHING);
}

static void workers_share_tasks_that_are_apart_and_wait_in_chains(void **state)
{
    (void)state;
    setting s = begin(1, 2, 0);
    sp_space *space;
    sp_region *many;

    OK(sp_space_new(s.run, 8, 1, &space));
    OK(sp_region_new(space, "many", sizeof(double), &many));
    sp_launch(s.run, .type = &make_task, .points = {8}, .argument = {sp_by_i(many)});
    assert_float_equal(taken(&s), 4.0 * TASK, NOTHING);
    for (int i = 0; i < 5; i++) {
        sp_launch(s.run, .type = &touch_task, .argument = {sp_at(many, 3)});
    }
    assert_float_equal(taken(&s), 9.0 * TASK, NOTHING);
    end(&s);
}

/* Block 0 to block 1 to block 2 ...: each lives on another rank. */
static void a_chain_over_ranks_takes_its_tasks_and_its_messages(void **state)
{
    (void)state;
    const double message = GAP + TRANSFER + LATENCY;
    setting s = begin(5, 1, 0);

    sp_launch(s.run, .type = &make_task, .argument = {sp_at(s.region, 0)});
    for (int i = 1; i < 5; i++) {
        sp_launch(s.run, .type = &pass_task, .argument = {sp_at(s.region, i - 1), sp_at(s.region, i)});
    }
    assert_float_equal(taken(&s), 5.0 * TASK + 4.0 * message, NOTHING);
    assert_int_equal(sp_replay_messages(s.replay), 4);
    end(&s);
}

static void a_copy_is_sent_once_until_the_block_is_written_again(void **state)
{
    (void)state;
    setting s = begin(2, 1, 0);

    sp_launch(s.run, .type = &make_task, .argument = {sp_at(s.region, 0)});
    for (int round = 1; round <= 2; round++) {
        for (int i = 0; i < 3; i++) {
            sp_launch(s.run, .type = &pass_task, .argument = {sp_at(s.region, 0), sp_at(s.region, 1)});
        }
        assert_int_equal(sp_replay_messages(s.replay), round);
        sp_launch(s.run, .type = &touch_task, .argument = {sp_at(s.region, 0)});
    }
    end(&s);
}

/* All ranks agree on what they ask for, each with each; then the block goes to all. */
static void what_the_program_asks_for_goes_to_all_ranks(void **state)
{
    (void)state;
    enum { RANKS = 9, ROUNDS = 4 };
    const double agreement = 2 * ROUNDS * LATENCY, meeting = ROUNDS * LATENCY;
    setting s = begin(RANKS, 1, 0);
    double room[RANKS] = {42.0};
    sp_space *space;
    sp_region *one;
    int steps;

    OK(sp_space_new(s.run, 1, 1, &space));
    OK(sp_region_new(space, "one", sizeof(double), &one));
    sp_launch(s.run, .type = &make_task, .argument = {sp_at(one, 0)});
    sp_launch(s.run, .type = &make_task, .points = {RANKS}, .argument = {sp_by_i(s.region)});
    OK(sp_run_fence(s.run));
    sp_replay_forget(s.replay);
    OK(sp_run_get(s.run, one, 0, room));
    OK(sp_run_gather(s.run, s.region, room));
    const sp_replay_step *step = sp_replay_steps(s.replay, &steps);

    assert_int_equal(steps, 2);
    assert_string_equal(step[0].name, "one");
    assert_float_equal(step[0].sent, agreement + meeting + ROUNDS * (LATENCY + TRANSFER), NOTHING);
    assert_string_equal(step[1].name, "blocks");
    assert_float_equal(step[1].sent, agreement + meeting + ROUNDS * LATENCY + RANKS * TRANSFER, NOTHING);
    assert_float_equal(step[1].seconds - step[1].sent, 0.0, NOTHING);
    assert_true(room[0] == 42.0); /* left as it was */
    end(&s);
}

/* A region of which every rank has its own. */
static void a_grouped_region_is_made_once_in_each_group_and_never_sent(void **state)
{
    (void)state;
    setting s = begin(6, 1, 0);
    sp_space *space;
    sp_region *own;

    OK(sp_space_new(s.run, 1, 1, &space));
    OK(sp_region_new_grouped(space, "own", sizeof(double), 1, &own));
    sp_launch(s.run, .type = &make_task, .argument = {sp_at(own, 0)});
    sp_launch(s.run, .type = &pass_task, .points = {6}, .argument = {sp_at(own, 0), sp_by_i(s.region)});
    assert_float_equal(taken(&s), 2.0 * TASK, NOTHING);
    assert_float_equal(sp_replay_busy(s.replay), 12.0 * TASK, 1e-9);
    assert_int_equal(sp_replay_messages(s.replay), 0);
    end(&s);
}

/* With as many lanes as points, contributions are added two by two; with one, it goes from rank to rank. */
static void a_sum_is_a_tree_of_messages_or_a_walk_over_all_ranks(void **state)
{
    (void)state;
    const int ranks = 8;
    const double message = GAP + TRANSFER + LATENCY, walk = (ranks - 1) * (TASK + message + TASK) + TASK;
    /* contributions are begun on the ranks, added in three rounds; where one ends up is where the sum lives */
    const double tree = TASK + 3.0 * (message + TASK);

    for (int i = 0; i < 2; i++) {
        setting s = begin(ranks, 1, 0);
        sp_space *space;
        sp_region *sum;

        OK(sp_space_new(s.run, 1, 1, &space));
        OK(sp_region_new(space, "sum", sizeof(double), &sum));
        sp_launch(s.run, .type = &make_task, .points = {ranks}, .argument = {sp_by_i(s.region)});
        const double before = taken(&s);

        sp_replay_forget(s.replay);
        sp_launch(s.run, .type = &add_task, .points = {ranks},
                  .argument = {sp_by_i(s.region), sp_into(sp_at(sum, 0), &sp_sum_double)}, .lanes = i == 0 ? 0 : 1);
        assert_float_equal(taken(&s) - before, i == 0 ? tree : walk + message + TASK, NOTHING);
        assert_int_equal(sp_replay_messages(s.replay), i == 0 ? ranks - 1 : ranks);
        end(&s);
    }
}

static void the_programs_own_work_counts_as_it_runs(void **state)
{
    (void)state;
    setting s = begin(2, 1, 0);
    const double until = sp_clock_thread() + 0.2;
    int steps;

    while (sp_clock_thread() < until) {
    }
    OK(sp_run_fence(s.run));
    const sp_replay_step *step = sp_replay_steps(s.replay, &steps);

    assert_float_equal(step->own, 0.2, NOTHING);
    end(&s);
}

static void misuse_is_told_at_once(void **state)
{
    (void)state;
    setting s = begin(2, 1, 0);

    sp_launch(s.run, .type = &touch_task, .argument = {sp_at(s.region, 0)});
    assert_int_equal(sp_run_fence(s.run), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "nothing has written"));
    end(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_rank_takes_the_sum_of_its_tasks),
        cmocka_unit_test(ranks_that_share_nothing_take_as_long_as_the_slowest),
        cmocka_unit_test(cores_that_are_shared_are_waited_for),
        cmocka_unit_test(workers_share_tasks_that_are_apart_and_wait_in_chains),
        cmocka_unit_test(a_chain_over_ranks_takes_its_tasks_and_its_messages),
        cmocka_unit_test(a_copy_is_sent_once_until_the_block_is_written_again),
        cmocka_unit_test(what_the_program_asks_for_goes_to_all_ranks),
        cmocka_unit_test(a_grouped_region_is_made_once_in_each_group_and_never_sent),
        cmocka_unit_test(a_sum_is_a_tree_of_messages_or_a_walk_over_all_ranks),
        cmocka_unit_test(the_programs_own_work_counts_as_it_runs),
        cmocka_unit_test(misuse_is_told_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
