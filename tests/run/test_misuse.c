/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "run/run.h"
#include "testing.h"

#define OK(call) assert_int_equal((call), SP_OK)

/* A run to misuse: 5 blocks of x (written) and y, sum and own (not), one of each of the others. */
typedef struct bench {
    sp_run *run;
    sp_space *many, *one;
    sp_region *x, *y, *sum, *total, *things, *own; /* own: of each rank */
    int line;                                      /* of the last call of LAUNCH, FILL, GET or GATHER */
} bench;

#define LAUNCH(b, ...) ((b).line = __LINE__, sp_launch((b).run, __VA_ARGS__))
#define FILL(b, region, element) ((b).line = __LINE__, sp_fill((b).run, (region), (element)))
#define GET(b, region, block, out) ((b).line = __LINE__, sp_run_get((b).run, (region), (block), (out)))
#define GATHER(b, region, out) ((b).line = __LINE__, sp_run_gather((b).run, (region), (out)))

static bench set_up(int threads)
{
    bench b = {.line = 0};

    OK(sp_run_new(&(sp_run_settings){.threads = threads}, &b.run));
    OK(sp_space_new(b.run, 9, 2, &b.many));
    OK(sp_space_new(b.run, 2, 2, &b.one));
    OK(sp_region_new(b.many, "x", sizeof(float), &b.x));
    OK(sp_region_new(b.many, "y", sizeof(float), &b.y));
    OK(sp_region_new(b.many, "sum", sizeof(float), &b.sum));
    OK(sp_region_new(b.one, "total", sizeof(float), &b.total));
    OK(sp_objects_new(b.many, "things", NULL, &b.things));
    OK(sp_region_new_grouped(b.many, "own", sizeof(float), 1, &b.own));
    sp_fill(b.run, b.x, &(float){1.0f});
    OK(sp_run_fence(b.run));
    return b;
}

/* The last call failed with this status, for this reason, at its line; and so does all that follows. */
static void assert_refused(bench *b, sp_status status, const char *reason)
{
    char expected[256];
    float got[9];

    snprintf(expected, sizeof expected, "test_misuse.c:%d: %s", b->line, reason);
    assert_int_equal(sp_run_fence(b->run), status);
    assert_string_equal(sp_error_text(), expected);
    assert_int_equal(sp_run_gather(b->run, b->x, got), status);
    assert_string_equal(sp_error_text(), expected);
    sp_run_free(b->run);
}

/* ---- tasks ---- */

static void nothing(sp_task *t)
{
    (void)t;
}
static const sp_task_type read_task = {.name = "reading", .run = nothing, .privilege = {SP_READ}},
                          write_task = {.name = "writing", .run = nothing, .privilege = {SP_WRITE}},
                          update_task = {.name = "updating", .run = nothing, .privilege = {SP_READ_WRITE}},
                          add_task = {.name = "adding", .run = nothing, .privilege = {SP_REDUCE}},
                          map_task = {.name = "mapping", .run = nothing, .privilege = {SP_READ, SP_WRITE}},
                          double_task = {.name = "doubling", .run = nothing, .privilege = {SP_READ_WRITE, SP_REDUCE}};

/* ---- blocks ---- */

static void a_block_is_not_read_before_it_is_written(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &write_task, .points = {3}, .argument = {sp_by_i(b.y)});
    LAUNCH(b, .type = &read_task, .points = {4}, .argument = {sp_by_i(b.y)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: reads block 3 of region y, which nothing has written");
}

static void an_update_needs_a_written_block(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &update_task, .argument = {sp_at(b.y, 2)});
    assert_refused(&b, SP_ERR_USAGE, "task updating: reads block 2 of region y, which nothing has written");
}

static void a_whole_region_is_not_read_before_all_of_it_is_written(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &write_task, .points = {4}, .argument = {sp_by_i(b.y)});
    LAUNCH(b, .type = &read_task, .argument = {sp_whole(b.y)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: reads block 4 of region y, which nothing has written");
}

static void new_blocks_of_a_grown_space_are_not_written(void **state)
{
    (void)state;
    bench b = set_up(1);

    OK(sp_space_grow(b.many, 1));
    LAUNCH(b, .type = &read_task, .points = {6}, .argument = {sp_by_i(b.x)});
    assert_int_equal(sp_run_fence(b.run), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "task reading: reads block 5 of region x, which nothing has written"));
    sp_run_free(b.run);
}

static void an_object_is_not_asked_for_before_it_is_made(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &read_task, .points = {5}, .argument = {sp_by_i(b.things)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: reads block 0 of region things, which nothing has written");
}

static void points_beyond_the_blocks_are_refused(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &read_task, .points = {6}, .argument = {sp_by_i(b.x)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: block 5 of region x, which has 5");
}

static void a_second_range_beyond_the_blocks_is_refused(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &read_task, .points = {1, 7}, .argument = {sp_by_j(b.x)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: block 6 of region x, which has 5");
}

static void a_block_beyond_the_last_is_refused(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &read_task, .argument = {sp_at(b.x, 5)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: block 5 of region x, which has 5");
}

static void a_block_before_the_first_is_refused(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &read_task, .argument = {sp_at(b.x, -1)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: block -1 of region x, which has 5");
}

/* ---- privileges ---- */

static void points_that_write_one_block_are_refused(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &write_task, .points = {3}, .argument = {sp_at(b.y, 0)});
    assert_refused(&b, SP_ERR_USAGE, "task writing: 3 points write one block of region y");
}

static void columns_that_write_the_block_of_their_row_are_refused(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &write_task, .points = {3, 4}, .argument = {sp_by_i(b.y)});
    assert_refused(&b, SP_ERR_USAGE, "task writing: 4 points write one block of region y");
}

static void a_whole_region_is_not_written(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &write_task, .argument = {sp_whole(b.y)});
    assert_refused(&b, SP_ERR_USAGE, "task writing: the whole of region y can only be read");
}

static void a_whole_region_is_not_updated(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &update_task, .argument = {sp_whole(b.x)});
    assert_refused(&b, SP_ERR_USAGE, "task updating: the whole of region x can only be read");
}

static void objects_are_not_read_as_a_whole(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &write_task, .points = {5}, .argument = {sp_by_i(b.things)});
    LAUNCH(b, .type = &read_task, .argument = {sp_whole(b.things)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: the whole of region things can only be read");
}

static void one_region_does_not_come_twice_to_be_written(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &map_task, .points = {5}, .argument = {sp_by_i(b.x), sp_by_i(b.x)});
    assert_refused(&b, SP_ERR_USAGE,
                   "task mapping: arguments 0 and 1 are the same blocks of region x, and one of them is written");
}

static void a_region_is_not_written_while_all_of_it_is_read(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &map_task, .points = {5}, .argument = {sp_whole(b.x), sp_by_i(b.x)});
    assert_refused(&b, SP_ERR_USAGE,
                   "task mapping: arguments 0 and 1 are the same blocks of region x, and one of them is written");
}

static void a_block_is_not_updated_and_reduced_at_once(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &double_task, .points = {5}, .argument = {sp_by_i(b.x), sp_into(sp_at(b.x, 0), &sp_sum_float)});
    assert_refused(&b, SP_ERR_USAGE,
                   "task doubling: arguments 0 and 1 are the same blocks of region x, and one of them is written");
}

static void a_sum_needs_to_know_how_to_add(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &add_task, .points = {5}, .argument = {sp_at(b.total, 0)});
    assert_refused(&b, SP_ERR_USAGE,
                   "task adding: argument 0 (region total) needs sp_into() and a reduction of numbers");
}

static void what_is_not_reduced_takes_no_reduction(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &write_task, .points = {5}, .argument = {sp_into(sp_by_i(b.y), &sp_sum_float)});
    assert_refused(&b, SP_ERR_USAGE, "task writing: argument 0 (region y) needs no reduction: it is not reduced");
}

static void objects_are_not_added_up(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &add_task, .points = {5}, .argument = {sp_into(sp_by_i(b.things), &sp_sum_float)});
    assert_refused(&b, SP_ERR_USAGE,
                   "task adding: argument 0 (region things) needs sp_into() and a reduction of numbers");
}

/* ---- the call ---- */

static void what_each_rank_has_of_its_own_is_not_added_up(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &add_task, .points = {5}, .argument = {sp_into(sp_by_i(b.own), &sp_sum_float)});
    assert_refused(&b, SP_ERR_USAGE,
                   "task adding: region own, of which each group of ranks has its own, cannot be reduced");
}

static void what_all_ranks_share_is_not_written_with_what_each_has(void **state)
{
    (void)state;
    static const sp_task_type both = {.name = "both", .run = nothing, .privilege = {SP_WRITE, SP_WRITE}};
    bench b = set_up(1);

    LAUNCH(b, .type = &both, .points = {5}, .argument = {sp_by_i(b.own), sp_by_i(b.y)});
    assert_refused(&b, SP_ERR_USAGE, "task both: region y is not shared by the same ranks as others that it writes");
}

static void groups_of_no_ranks_are_refused(void **state)
{
    (void)state;
    bench b = set_up(1);
    sp_region *region = NULL;

    assert_int_equal(sp_region_new_grouped(b.many, "nobody's", sizeof(float), 0, &region), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "region nobody's: groups of 0 ranks"));
    assert_null(region);
    sp_run_free(b.run);
}

static void a_missing_argument_is_noticed(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &map_task, .points = {5}, .argument = {sp_by_i(b.x)});
    assert_refused(&b, SP_ERR_USAGE, "task mapping: argument 1 is missing");
}

static void an_argument_too_many_is_noticed(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &read_task, .points = {5}, .argument = {sp_by_i(b.x), sp_by_i(b.y)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: argument 1 is one too many");
}

static void more_values_than_fit_are_refused(void **state)
{
    (void)state;
    bench b = set_up(1);
    const char values[SP_TASK_VALUES + 1] = {0};

    LAUNCH(b, .type = &read_task, .points = {5}, .argument = {sp_by_i(b.x)}, SP_VALUES(values));
    assert_refused(&b, SP_ERR_USAGE, "task reading: 257 bytes of values, more than 256");
}

static void an_argument_after_a_gap_is_noticed(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &read_task, .points = {5}, .argument = {sp_by_i(b.x), {0}, sp_by_i(b.y)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: argument 2 is one too many");
}

static void privileges_with_a_gap_are_refused(void **state)
{
    (void)state;
    static const sp_task_type type = {.name = "hopping", .run = nothing, .privilege = {SP_READ, SP_NONE, SP_WRITE}};
    bench b = set_up(1);

    LAUNCH(b, .type = &type, .points = {5}, .argument = {sp_by_i(b.x), {0}, sp_by_i(b.y)});
    assert_refused(&b, SP_ERR_USAGE, "task hopping: its privileges have a gap before argument 2");
}

static void negative_points_are_refused(void **state)
{
    (void)state;
    bench b = set_up(1), c = set_up(1);

    LAUNCH(b, .type = &read_task, .points = {-3}, .argument = {sp_by_i(b.x)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: -3 x 0 points");
    LAUNCH(c, .type = &read_task, .points = {2, -1}, .argument = {sp_by_i(c.x)});
    assert_refused(&c, SP_ERR_USAGE, "task reading: 2 x -1 points");
}

static void negative_lanes_are_refused(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &add_task, .points = {5}, .argument = {sp_into(sp_by_i(b.sum), &sp_sum_float)}, .lanes = -2);
    assert_refused(&b, SP_ERR_USAGE, "task adding: -2 lanes");
}

static void blocks_from_a_number_on_end_with_the_region(void **state)
{
    (void)state;
    bench b = set_up(1), c = set_up(1);

    LAUNCH(b, .type = &read_task, .points = {3}, .argument = {sp_from(sp_by_i(b.x), 3)});
    assert_refused(&b, SP_ERR_USAGE, "task reading: block 5 of region x, which has 5");
    LAUNCH(c, .type = &read_task, .points = {1, 3}, .argument = {sp_from(sp_by_j(c.x), -1)});
    assert_refused(&c, SP_ERR_USAGE, "task reading: block -1 of region x, which has 5");
}

static void only_numbers_are_filled_in(void **state)
{
    (void)state;
    bench b = set_up(1);

    FILL(b, b.things, &(void *){NULL});
    assert_refused(&b, SP_ERR_USAGE, "fill: region things holds objects, which tasks make");
}

static void elements_as_large_as_values_are_filled_in_and_larger_ones_refused(void **state)
{
    (void)state;
    bench b = set_up(1);
    const char element[SP_TASK_VALUES + 1] = "a long one";
    char got[2][SP_TASK_VALUES];
    sp_region *large, *larger;

    OK(sp_region_new(b.one, "large", SP_TASK_VALUES, &large));
    OK(sp_region_new(b.one, "larger", SP_TASK_VALUES + 1, &larger));
    FILL(b, large, element);
    OK(GET(b, large, 0, got));
    assert_memory_equal(got[1], element, SP_TASK_VALUES);
    FILL(b, larger, element);
    assert_refused(&b, SP_ERR_USAGE, "fill: an element of region larger has 257 bytes, more than 256");
}

static void the_first_mistake_is_the_one_reported(void **state)
{
    (void)state;
    bench b = set_up(1);

    LAUNCH(b, .type = &map_task, .points = {5}, .argument = {sp_by_i(b.x)});
    const int line = b.line;

    LAUNCH(b, .type = &read_task, .argument = {sp_at(b.x, 5)});
    b.line = line;
    assert_refused(&b, SP_ERR_USAGE, "task mapping: argument 1 is missing");
}

static void spaces_without_indices_are_refused(void **state)
{
    (void)state;
    bench b = set_up(1);
    sp_space *space = NULL;

    assert_int_equal(sp_space_new(b.run, 0, 4, &space), SP_ERR_USAGE);
    assert_int_equal(sp_space_new(b.run, 4, 0, &space), SP_ERR_USAGE);
    assert_null(space);
    assert_int_equal(sp_space_grow(b.many, 0), SP_ERR_USAGE);
    assert_int_equal(sp_space_blocks(b.many), 5);
    OK(sp_run_fence(b.run)); /* the caller knows; the run goes on */
    sp_run_free(b.run);
}

/* ---- waiting ---- */

static void what_nothing_has_written_is_not_to_be_had(void **state)
{
    (void)state;
    bench b = set_up(1);
    float got[9];

    LAUNCH(b, .type = &write_task, .points = {2}, .argument = {sp_by_i(b.y)});
    OK(GET(b, b.y, 1, got));
    assert_int_equal(GATHER(b, b.y, got), SP_ERR_USAGE);
    assert_refused(&b, SP_ERR_USAGE, "block 2 of region y is read, and nothing has written it");
}

static void a_block_that_is_not_there_is_not_to_be_had(void **state)
{
    (void)state;
    bench b = set_up(1);
    float got[2];

    assert_int_equal(GET(b, b.x, 5, got), SP_ERR_USAGE);
    assert_refused(&b, SP_ERR_USAGE, "block 5 is asked for of region x, which has 5");
}

static void a_negative_block_is_not_to_be_had(void **state)
{
    (void)state;
    bench b = set_up(1);
    float got[2];

    assert_int_equal(GET(b, b.x, -1, got), SP_ERR_USAGE);
    assert_refused(&b, SP_ERR_USAGE, "block -1 is asked for of region x, which has 5");
}

static void what_each_rank_has_of_its_own_is_not_to_be_had(void **state)
{
    (void)state;
    bench b = set_up(1);
    float got[2];

    FILL(b, b.own, &(float){2.0f});
    assert_int_equal(GET(b, b.own, 0, got), SP_ERR_USAGE);
    assert_refused(&b, SP_ERR_USAGE, "region own stays in its groups of ranks");
}

static void objects_are_not_to_be_had(void **state)
{
    (void)state;
    bench b = set_up(1);
    void *got = NULL;

    LAUNCH(b, .type = &write_task, .points = {5}, .argument = {sp_by_i(b.things)});
    assert_int_equal(GET(b, b.things, 0, &got), SP_ERR_USAGE);
    assert_null(got);
    assert_refused(&b, SP_ERR_USAGE, "region things holds objects, which stay where they are");
}

/* ---- inside tasks ---- */

/* Asks for more than it may have: what it gets tells, by way of the values, whether it was refused. */
static void write_what_is_read(sp_task *t)
{
    bool *const *refused = sp_task_values(t);

    **refused = sp_task_out(t, 0) == NULL;
}
static void read_what_is_written(sp_task *t)
{
    bool *const *refused = sp_task_values(t);

    **refused = sp_task_in(t, 0) == NULL;
}
static void read_what_is_not_there(sp_task *t)
{
    bool *const *refused = sp_task_values(t);

    **refused = sp_task_in(t, 1) == NULL;
}

static void a_task_does_not_write_what_it_only_reads(void **state)
{
    (void)state;
    static const sp_task_type type = {.name = "bold", .run = write_what_is_read, .privilege = {SP_READ}};
    bench b = set_up(2);
    bool refused = false, *where = &refused;

    LAUNCH(b, .type = &type, .argument = {sp_at(b.x, 0)}, SP_VALUES(where));
    assert_true(refused);
    assert_refused(&b, SP_ERR_USAGE, "task bold, point (0, 0): sp_task_out() of argument 0, which is only read");
}

static void a_task_does_not_read_what_it_only_writes(void **state)
{
    (void)state;
    static const sp_task_type type = {.name = "bold", .run = read_what_is_written, .privilege = {SP_WRITE}};
    bench b = set_up(2);
    bool refused = false, *where = &refused;

    LAUNCH(b, .type = &type, .argument = {sp_at(b.y, 0)}, SP_VALUES(where));
    assert_true(refused);
    assert_refused(&b, SP_ERR_USAGE, "task bold, point (0, 0): sp_task_in() of argument 0, which is only written");
}

static void a_task_does_not_read_what_it_reduces(void **state)
{
    (void)state;
    static const sp_task_type type = {.name = "bold", .run = read_what_is_written, .privilege = {SP_REDUCE}};
    bench b = set_up(2);
    bool refused = false, *where = &refused;

    LAUNCH(b, .type = &type, .argument = {sp_into(sp_at(b.sum, 0), &sp_sum_float)}, SP_VALUES(where));
    assert_true(refused);
    assert_refused(&b, SP_ERR_USAGE, "task bold, point (0, 0): sp_task_in() of argument 0, which is only written");
}

static void a_task_does_not_read_what_is_not_there(void **state)
{
    (void)state;
    static const sp_task_type type = {.name = "bold", .run = read_what_is_not_there, .privilege = {SP_READ}};
    bench b = set_up(2);
    bool refused = false, *where = &refused;

    LAUNCH(b, .type = &type, .argument = {sp_at(b.x, 0)}, SP_VALUES(where));
    assert_true(refused);
    assert_refused(&b, SP_ERR_USAGE, "task bold, point (0, 0): sp_task_in() of argument 1, which is not there");
}

/* Tasks that ask for what is not there, or for another kind of thing. */
static void count_what_is_not_there(sp_task *t)
{
    bool *const *refused = sp_task_values(t);

    **refused = sp_task_count(t, 7) == 0;
}
static void place_what_is_before_the_first(sp_task *t)
{
    bool *const *refused = sp_task_values(t);

    **refused = sp_task_first(t, -1) == 0;
}
static void take_numbers_for_objects(sp_task *t)
{
    bool *const *refused = sp_task_values(t);

    **refused = sp_task_object(t, 0) == NULL;
}
static void take_an_object_that_is_not_there(sp_task *t)
{
    bool *const *refused = sp_task_values(t);

    **refused = sp_task_object(t, SP_TASK_ARGUMENTS) == NULL;
}
static void take_a_part(sp_task *t, int k, ptrdiff_t b)
{
    bool *const *refused = sp_task_values(t);
    ptrdiff_t count = -1;
    const void *part = sp_task_part(t, k, b, &count);

    **refused = part == NULL && count == 0;
}
static void take_a_part_of_a_block(sp_task *t)
{
    take_a_part(t, 0, 0);
}
static void take_a_part_beyond_the_last(sp_task *t)
{
    take_a_part(t, 0, 5);
}
static void take_a_part_before_the_first(sp_task *t)
{
    take_a_part(t, 0, -1);
}
static void take_a_part_of_nothing(sp_task *t)
{
    take_a_part(t, 1, 0);
}

/* A task `run` on one block, or on all of a region. */
static void assert_task_refused(void (*run)(sp_task *task), sp_privilege privilege, sp_selector selector, bool object,
                                const char *reason)
{
    const sp_task_type type = {.name = "bold", .run = run, .privilege = {privilege}};
    bench b = set_up(2);
    bool refused = false, *where = &refused;

    LAUNCH(b, .type = &write_task, .points = {5}, .argument = {sp_by_i(b.things)});
    LAUNCH(b, .type = &type, .argument = {{object ? b.things : b.x, selector, 0, NULL}}, SP_VALUES(where));
    assert_true(refused);
    assert_refused(&b, SP_ERR_USAGE, reason);
}

static void a_task_knows_nothing_of_arguments_that_are_not_there(void **state)
{
    (void)state;
    assert_task_refused(count_what_is_not_there, SP_READ, SP_AT, false,
                        "task bold, point (0, 0): sp_task_count() of argument 7, which is not there");
    assert_task_refused(place_what_is_before_the_first, SP_READ, SP_AT, false,
                        "task bold, point (0, 0): sp_task_first() of argument -1, which is not there");
    assert_task_refused(take_an_object_that_is_not_there, SP_READ, SP_AT, true,
                        "task bold, point (0, 0): sp_task_object() of argument 12, which is not there");
    assert_task_refused(take_a_part_of_nothing, SP_READ, SP_WHOLE, false,
                        "task bold, point (0, 0): sp_task_part() of argument 1, which is not there");
}

static void a_task_does_not_take_numbers_for_objects_nor_objects_for_numbers(void **state)
{
    (void)state;
    assert_task_refused(take_numbers_for_objects, SP_READ_WRITE, SP_AT, false,
                        "task bold, point (0, 0): sp_task_object() of argument 0, which is no object");
    assert_task_refused(read_what_is_written, SP_READ, SP_AT, true,
                        "task bold, point (0, 0): sp_task_in() of argument 0, which is an object");
    assert_task_refused(write_what_is_read, SP_WRITE, SP_AT, true,
                        "task bold, point (0, 0): sp_task_out() of argument 0, which is an object");
}

static void a_task_does_not_mistake_a_region_for_a_block(void **state)
{
    (void)state;
    assert_task_refused(
        read_what_is_written, SP_READ, SP_WHOLE, false,
        "task bold, point (0, 0): sp_task_in() of argument 0, which is a whole region of several blocks");
    assert_task_refused(take_a_part_of_a_block, SP_READ, SP_AT, false,
                        "task bold, point (0, 0): sp_task_part() of argument 0, which is not a whole region");
    assert_task_refused(take_a_part_beyond_the_last, SP_READ, SP_WHOLE, false,
                        "task bold, point (0, 0): sp_task_part() of argument 0 asks for block 5 of 5");
    assert_task_refused(take_a_part_before_the_first, SP_READ, SP_WHOLE, false,
                        "task bold, point (0, 0): sp_task_part() of argument 0 asks for block -1 of 5");
}

/* ---- tasks that fail ---- */

/* Point 3 fails. */
static void give_up(sp_task *t)
{
    if (sp_task_point(t, 0) == 3) {
        sp_task_fail(t, SP_ERR_NUMERIC, "%d eggs are too few", 11);
    }
}
static const sp_task_type failing_task = {.name = "baking", .run = give_up, .privilege = {SP_READ, SP_WRITE}},
                          failing_sum = {.name = "brewing", .run = give_up, .privilege = {SP_REDUCE}};

static void remember_call(sp_task *t)
{
    bool *const *called = sp_task_values(t);

    **called = true;
}
static const sp_task_type call_task = {.name = "call", .run = remember_call, .privilege = {SP_READ}};

static void a_failing_task_is_named_and_ends_the_run(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 3; threads++) {
        bench b = set_up(threads);
        bool called = false, *where = &called;

        LAUNCH(b, .type = &failing_task, .points = {5}, .argument = {sp_by_i(b.x), sp_by_i(b.y)});
        sp_launch(b.run, .type = &call_task, .argument = {sp_at(b.x, 0)}, SP_VALUES(where));
        assert_refused(&b, SP_ERR_NUMERIC, "task baking, point (3, 0): 11 eggs are too few");
        assert_false(called);
    }
}

static void a_run_that_failed_in_a_sum_leaves_nothing_behind(void **state)
{
    (void)state; /* the address sanitizer looks for what is left */
    for (int threads = 1; threads <= 3; threads++) {
        bench b = set_up(threads);

        LAUNCH(b, .type = &failing_sum, .points = {40}, .argument = {sp_into(sp_at(b.total, 0), &sp_sum_float)});
        assert_refused(&b, SP_ERR_NUMERIC, "task brewing, point (3, 0): 11 eggs are too few");
    }
}

static void regions_of_a_failed_run_can_still_be_freed(void **state)
{
    (void)state;
    bench b = set_up(2);

    LAUNCH(b, .type = &failing_task, .points = {5}, .argument = {sp_by_i(b.x), sp_by_i(b.y)});
    sp_region_free(b.y);
    sp_region_free(b.things);
    assert_refused(&b, SP_ERR_NUMERIC, "task baking, point (3, 0): 11 eggs are too few");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_block_is_not_read_before_it_is_written),
        cmocka_unit_test(an_update_needs_a_written_block),
        cmocka_unit_test(a_whole_region_is_not_read_before_all_of_it_is_written),
        cmocka_unit_test(new_blocks_of_a_grown_space_are_not_written),
        cmocka_unit_test(an_object_is_not_asked_for_before_it_is_made),
        cmocka_unit_test(points_beyond_the_blocks_are_refused),
        cmocka_unit_test(a_second_range_beyond_the_blocks_is_refused),
        cmocka_unit_test(a_block_beyond_the_last_is_refused),
        cmocka_unit_test(a_block_before_the_first_is_refused),
        cmocka_unit_test(points_that_write_one_block_are_refused),
        cmocka_unit_test(columns_that_write_the_block_of_their_row_are_refused),
        cmocka_unit_test(a_whole_region_is_not_written),
        cmocka_unit_test(a_whole_region_is_not_updated),
        cmocka_unit_test(objects_are_not_read_as_a_whole),
        cmocka_unit_test(one_region_does_not_come_twice_to_be_written),
        cmocka_unit_test(a_region_is_not_written_while_all_of_it_is_read),
        cmocka_unit_test(a_block_is_not_updated_and_reduced_at_once),
        cmocka_unit_test(a_sum_needs_to_know_how_to_add),
        cmocka_unit_test(what_is_not_reduced_takes_no_reduction),
        cmocka_unit_test(objects_are_not_added_up),
        cmocka_unit_test(a_missing_argument_is_noticed),
        cmocka_unit_test(an_argument_too_many_is_noticed),
        cmocka_unit_test(more_values_than_fit_are_refused),
        cmocka_unit_test(an_argument_after_a_gap_is_noticed),
        cmocka_unit_test(privileges_with_a_gap_are_refused),
        cmocka_unit_test(negative_points_are_refused),
        cmocka_unit_test(negative_lanes_are_refused),
        cmocka_unit_test(blocks_from_a_number_on_end_with_the_region),
        cmocka_unit_test(only_numbers_are_filled_in),
        cmocka_unit_test(elements_as_large_as_values_are_filled_in_and_larger_ones_refused),
        cmocka_unit_test(the_first_mistake_is_the_one_reported),
        cmocka_unit_test(spaces_without_indices_are_refused),
        cmocka_unit_test(what_nothing_has_written_is_not_to_be_had),
        cmocka_unit_test(a_block_that_is_not_there_is_not_to_be_had),
        cmocka_unit_test(a_negative_block_is_not_to_be_had),
        cmocka_unit_test(objects_are_not_to_be_had),
        cmocka_unit_test(what_each_rank_has_of_its_own_is_not_to_be_had),
        cmocka_unit_test(what_each_rank_has_of_its_own_is_not_added_up),
        cmocka_unit_test(what_all_ranks_share_is_not_written_with_what_each_has),
        cmocka_unit_test(groups_of_no_ranks_are_refused),
        cmocka_unit_test(a_task_does_not_write_what_it_only_reads),
        cmocka_unit_test(a_task_does_not_read_what_it_only_writes),
        cmocka_unit_test(a_task_does_not_read_what_it_reduces),
        cmocka_unit_test(a_task_does_not_read_what_is_not_there),
        cmocka_unit_test(a_task_knows_nothing_of_arguments_that_are_not_there),
        cmocka_unit_test(a_task_does_not_take_numbers_for_objects_nor_objects_for_numbers),
        cmocka_unit_test(a_task_does_not_mistake_a_region_for_a_block),
        cmocka_unit_test(a_failing_task_is_named_and_ends_the_run),
        cmocka_unit_test(a_run_that_failed_in_a_sum_leaves_nothing_behind),
        cmocka_unit_test(regions_of_a_failed_run_can_still_be_freed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
