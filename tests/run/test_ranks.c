/* SPDX-License-Identifier: BSD-3-Clause */
/* What goes from rank to rank, one case after the other in one run: under mpirun on StarPU (tests/run/ranks.sh), alone
 * on the local engine. */
#include <string.h>

#include "run/run.h"
#include "testing.h"

#define OK(call) assert_int_equal((call), SP_OK)

enum { PER_RANK = 3, MOST = 256, ROUNDS = 3 };

static int begin(void **state)
{
    const sp_engine engine = getenv("OMPI_COMM_WORLD_SIZE") ? SP_ENGINE_STARPU : SP_ENGINE_LOCAL;
    sp_run *run = NULL;

    if (sp_run_new(&(sp_run_settings){.engine = engine, .threads = 1, .patience = 60.0}, &run) != SP_OK) {
        fprintf(stderr, "%s\n", sp_error_text());
        return -1;
    }
    *state = run;
    return 0;
}

static int end(void **state)
{
    sp_run_free(*state);
    return 0;
}

/* Values: what point 0 adds; the next one more. */
static void add(sp_task *t)
{
    const double *first = sp_task_values(t);
    double *sum = sp_task_out(t, 0);

    for (ptrdiff_t e = 0; e < sp_task_count(t, 0); e++) {
        sum[e] += *first + (double)(sp_task_point(t, 0) + sp_task_point(t, 1));
    }
}
static const sp_task_type add_task = {.name = "add", .run = add, .privilege = {SP_REDUCE}};

static void copy(sp_task *t)
{
    const double *from = sp_task_in(t, 0);
    double *to = sp_task_out(t, 1);

    to[0] = from[0];
}
static const sp_task_type copy_task = {.name = "copy", .run = copy, .privilege = {SP_READ, SP_WRITE}};

/* Every rank has a copy of what the sum was before, and perhaps of what it was half way. */
static void a_sum_that_moves_from_rank_to_rank_is_the_same_on_all(void **state)
{
    sp_run *run = *state;
    const ptrdiff_t blocks = (ptrdiff_t)PER_RANK * sp_run_ranks(run), points = 5 * sp_run_ranks(run) + 1;
    sp_space *many, *few;
    sp_region *seen, *sums;
    double got[MOST];

    assert_true(blocks <= MOST);
    OK(sp_space_new(run, blocks, 1, &many));
    OK(sp_space_new(run, 2 * 3, 2, &few));
    OK(sp_region_new(many, "seen", sizeof(double), &seen));
    OK(sp_region_new(few, "sums", sizeof(double), &sums));
    for (ptrdiff_t round = 0; round < 4 * ROUNDS; round++) {
        const ptrdiff_t lanes = 1 + round / ROUNDS, block = round % 3;
        const double first = (double)(100 * round),
                     expected = (double)points * first + 0.5 * (double)(points * (points - 1));

        sp_launch(run, .type = &add_task, .points = {points}, .argument = {sp_into(sp_at(sums, block), &sp_sum_double)},
                  .lanes = lanes, SP_VALUES(first));
        sp_launch(run, .type = &copy_task, .points = {blocks}, .argument = {sp_at(sums, block), sp_by_i(seen)});
        OK(sp_run_gather(run, seen, got));
        for (ptrdiff_t b = 0; b < blocks; b++) {
            assert_true(got[b] == expected);
        }
        OK(sp_run_get(run, sums, block, got));
        assert_true(got[0] == expected && got[1] == expected);
    }
}

static void blocks_from_a_number_on_come_from_the_ranks_where_they_live(void **state)
{
    sp_run *run = *state;
    const ptrdiff_t blocks = (ptrdiff_t)PER_RANK * sp_run_ranks(run);
    sp_space *space;
    sp_region *sums, *seen;
    double got[MOST];

    OK(sp_space_new(run, blocks, 1, &space));
    OK(sp_region_new(space, "sums", sizeof(double), &sums));
    OK(sp_region_new(space, "seen", sizeof(double), &seen));
    for (ptrdiff_t from = 0; from < blocks; from++) {
        const double first = (double)from;

        sp_fill(run, sums, &(double){-2.0});
        sp_fill(run, seen, &(double){-1.0});
        sp_launch(run, .type = &add_task, .points = {2, blocks - from},
                  .argument = {sp_into(sp_from(sp_by_j(sums), from), &sp_sum_double)}, SP_VALUES(first));
        sp_launch(run, .type = &copy_task, .points = {blocks - from},
                  .argument = {sp_from(sp_by_i(sums), from), sp_by_i(seen)});
        OK(sp_run_gather(run, seen, got));
        for (ptrdiff_t b = 0; b < blocks; b++) {
            assert_true(got[b] == (b < blocks - from ? 2.0 * (double)(from + b) + 1.0 : -1.0));
        }
        OK(sp_run_gather(run, sums, got));
        assert_true(got[0] == (from > 0 ? -2.0 : 1.0));
    }
}

/* Points 0 .. : i + what is read. */
static void add_point(sp_task *t)
{
    const double *from = sp_task_in(t, 0);
    double *to = sp_task_out(t, 1);

    to[0] = from[0] + (double)sp_task_point(t, 0);
}
static const sp_task_type add_point_task = {.name = "add point", .run = add_point, .privilege = {SP_READ, SP_WRITE}};

/* Values: where the task adds one each time it runs. */
static void count(sp_task *t)
{
    int *const *times = sp_task_values(t);
    double *to = sp_task_out(t, 0);

    __atomic_fetch_add(*times, 1, __ATOMIC_RELAXED);
    to[0] = 7.0 + (double)sp_task_point(t, 0);
}
static const sp_task_type count_task = {.name = "count", .run = count, .privilege = {SP_WRITE}};

static void tell(sp_task *t)
{
    int *const *times = sp_task_values(t);
    double *to = sp_task_out(t, 0);

    to[0] = (double)**times;
}
static const sp_task_type tell_task = {.name = "tell", .run = tell, .privilege = {SP_WRITE}};

/* A region of groups: written from what one rank has, read by all, again and again. */
static void each_group_of_ranks_makes_its_own(void **state)
{
    sp_run *run = *state;
    const int ranks = sp_run_ranks(run);
    const ptrdiff_t blocks = (ptrdiff_t)PER_RANK * ranks;
    sp_space *one, *some, *many;
    sp_region *from, *seen;
    double got[MOST];

    OK(sp_space_new(run, 1, 1, &one));
    OK(sp_space_new(run, PER_RANK, 1, &some));
    OK(sp_space_new(run, blocks, 1, &many));
    OK(sp_region_new(one, "from", sizeof(double), &from));
    OK(sp_region_new(many, "seen", sizeof(double), &seen));
    for (int group = 1; group <= ranks + 1; group++) {
        sp_region *own;

        OK(sp_region_new_grouped(some, "own", sizeof(double), group, &own));
        for (int round = 0; round < ROUNDS; round++) {
            sp_fill(run, from, &(double){10.0 * round});
            sp_launch(run, .type = &add_point_task, .points = {PER_RANK}, .argument = {sp_at(from, 0), sp_by_i(own)});
            for (ptrdiff_t b = 0; b < PER_RANK; b++) {
                sp_launch(run, .type = &copy_task, .points = {blocks}, .argument = {sp_at(own, b), sp_by_i(seen)});
                OK(sp_run_gather(run, seen, got));
                for (ptrdiff_t k = 0; k < blocks; k++) {
                    assert_true(got[k] == 10.0 * round + (double)b);
                }
            }
        }
        sp_region_free(own);
    }
}

/* Of groups of one, every rank does all the work; of a group of all, the work is done once. */
static void a_task_runs_once_in_each_group(void **state)
{
    sp_run *run = *state;
    const int ranks = sp_run_ranks(run);
    sp_space *some, *each;
    sp_region *times;
    double all[MOST];

    OK(sp_space_new(run, 2 * (ptrdiff_t)PER_RANK, 1, &some));
    OK(sp_space_new(run, ranks, 1, &each));
    OK(sp_region_new(each, "times", sizeof(double), &times));
    for (int group = 1; group <= ranks; group++) {
        int mine = 0, *counter = &mine, groups = (ranks + group - 1) / group;
        double sum = 0.0;
        sp_region *own;

        OK(sp_region_new_grouped(some, "own", sizeof(double), group, &own));
        sp_launch(run, .type = &count_task, .points = {2 * PER_RANK}, .argument = {sp_by_i(own)}, SP_VALUES(counter));
        OK(sp_run_fence(run));
        for (int rank = 0; rank < ranks; rank++) { /* a task tells how often its rank was called upon */
            sp_launch(run, .type = &tell_task, .argument = {sp_at(times, rank)}, SP_VALUES(counter));
        }
        OK(sp_run_gather(run, times, all));
        for (int rank = 0; rank < ranks; rank++) {
            sum += all[rank];
        }
        assert_true(sum == 2.0 * PER_RANK * groups);
        assert_true(group > 1 || all[ranks - 1] == 2.0 * PER_RANK);
        sp_region_free(own);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sum_that_moves_from_rank_to_rank_is_the_same_on_all),
        cmocka_unit_test(blocks_from_a_number_on_come_from_the_ranks_where_they_live),
        cmocka_unit_test(each_group_of_ranks_makes_its_own),
        cmocka_unit_test(a_task_runs_once_in_each_group),
    };

    return cmocka_run_group_tests(tests, begin, end);
}
