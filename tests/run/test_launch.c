/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <omp.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "base/rng.h"
#include "run/run.h"
#include "testing.h"

enum { MOST_THREADS = 3, MOST = 64 };

#define OK(call) assert_int_equal((call), SP_OK)

static sp_run *start(int threads)
{
    sp_run *run = NULL;

    OK(sp_run_new(&(sp_run_settings){.threads = threads}, &run));
    assert_int_equal(sp_run_threads(run), threads);
    return run;
}

static sp_region *make(sp_run *run, const char *name, ptrdiff_t count, ptrdiff_t per_block, size_t element)
{
    sp_space *space;
    sp_region *region;

    OK(sp_space_new(run, count, per_block, &space));
    OK(sp_region_new(space, name, element, &region));
    return region;
}

static sp_region *make_like(sp_space *space, const char *name, size_t element)
{
    sp_region *region;

    OK(sp_region_new(space, name, element, &region));
    return region;
}

/* ---- which blocks ---- */

/* Every element: 10000 point i + 100 first index + count of the block. */
static void stamp(sp_task *t)
{
    int32_t *out = sp_task_out(t, 0);

    for (ptrdiff_t e = 0; e < sp_task_count(t, 0); e++) {
        out[e] = (int32_t)(10000 * sp_task_point(t, 0) + 100 * sp_task_first(t, 0) + sp_task_count(t, 0));
    }
}
static const sp_task_type stamp_task = {.name = "stamp", .run = stamp, .privilege = {SP_WRITE}};

static void by_i_hands_point_i_its_block(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 10, 4, sizeof(int32_t));
        int32_t got[10];

        sp_launch(run, .type = &stamp_task, .points = {3}, .argument = {sp_by_i(x)});
        OK(sp_run_gather(run, x, got));
        for (int e = 0; e < 10; e++) {
            assert_int_equal(got[e], 10000 * (e / 4) + 100 * (e / 4 * 4) + (e < 8 ? 4 : 2));
        }
        sp_run_free(run);
    }
}

static void a_launch_may_leave_the_last_blocks_alone(void **state)
{
    (void)state;
    sp_run *run = start(2);
    sp_region *x = make(run, "x", 10, 4, sizeof(int32_t));
    int32_t got[10];

    sp_fill(run, x, &(int32_t){-1});
    sp_launch(run, .type = &stamp_task, .points = {2}, .argument = {sp_by_i(x)});
    OK(sp_run_gather(run, x, got));
    assert_int_equal(got[7], 10404);
    assert_int_equal(got[8], -1);
    sp_run_free(run);
}

static void count_up(sp_task *t)
{
    int32_t *out = sp_task_out(t, 0);

    for (ptrdiff_t e = 0; e < sp_task_count(t, 0); e++) {
        out[e] = (int32_t)(sp_task_first(t, 0) + e);
    }
}
static const sp_task_type count_task = {.name = "count", .run = count_up, .privilege = {SP_WRITE}};

static void a_launch_may_have_thousands_of_points(void **state)
{
    (void)state;
    enum { MANY = 10000 };
    static int32_t got[MANY];

    for (int threads = 1; threads <= MOST_THREADS; threads += 2) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", MANY, 1, sizeof(int32_t));

        sp_launch(run, .type = &count_task, .points = {MANY}, .argument = {sp_by_i(x)});
        OK(sp_run_gather(run, x, got));
        for (int e = 0; e < MANY; e++) {
            assert_int_equal(got[e], e);
        }
        sp_run_free(run);
    }
}

/* Argument 2 is a diary: entry 0 counts the entries; each is 100 x + y. */
static void write_diary(sp_task *t)
{
    const int32_t *x = sp_task_in(t, 0), *y = sp_task_in(t, 1);
    int32_t *diary = sp_task_out(t, 2);

    diary[++diary[0]] = 100 * x[0] + y[0];
}
static const sp_task_type diary_task = {
    .name = "diary", .run = write_diary, .privilege = {SP_READ, SP_READ, SP_READ_WRITE}};

static void points_that_update_one_block_run_in_order_j_within_i(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 3, 1, sizeof(int32_t)), *y = make(run, "y", 4, 1, sizeof(int32_t)),
                  *diary = make(run, "diary", MOST, MOST, sizeof(int32_t));
        int32_t got[MOST];

        sp_launch(run, .type = &count_task, .points = {3}, .argument = {sp_by_i(x)});
        sp_launch(run, .type = &count_task, .points = {4}, .argument = {sp_by_i(y)});
        sp_fill(run, diary, &(int32_t){0});
        sp_launch(run, .type = &diary_task, .points = {3, 4}, .argument = {sp_by_i(x), sp_by_j(y), sp_at(diary, 0)});
        OK(sp_run_get(run, diary, 0, got));
        assert_int_equal(got[0], 12);
        for (int n = 0; n < 12; n++) {
            assert_int_equal(got[1 + n], 100 * (n / 4) + n % 4);
        }
        sp_run_free(run);
    }
}

static void points_that_share_a_row_or_a_column_update_it_in_order(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 3, 1, sizeof(int32_t)), *y = make(run, "y", 4, 1, sizeof(int32_t)),
                  *rows = make(run, "rows", 3 * 8, 8, sizeof(int32_t)),
                  *columns = make(run, "columns", 4 * 8, 8, sizeof(int32_t));
        int32_t row[3][8], column[4][8];

        sp_launch(run, .type = &count_task, .points = {3}, .argument = {sp_by_i(x)});
        sp_launch(run, .type = &count_task, .points = {4}, .argument = {sp_by_i(y)});
        sp_fill(run, rows, &(int32_t){0});
        sp_fill(run, columns, &(int32_t){0});
        sp_launch(run, .type = &diary_task, .points = {3, 4}, .argument = {sp_by_i(x), sp_by_j(y), sp_by_i(rows)});
        sp_launch(run, .type = &diary_task, .points = {3, 4}, .argument = {sp_by_i(x), sp_by_j(y), sp_by_j(columns)});
        OK(sp_run_gather(run, rows, row));
        OK(sp_run_gather(run, columns, column));
        for (int i = 0; i < 3; i++) {
            for (int j = 0; j < 4; j++) {
                assert_int_equal(row[i][0], 4);
                assert_int_equal(row[i][1 + j], 100 * i + j);
                assert_int_equal(column[j][0], 3);
                assert_int_equal(column[j][1 + i], 100 * i + j);
            }
        }
        sp_run_free(run);
    }
}

static void at_hands_the_same_block_to_all(void **state)
{
    (void)state;
    sp_run *run = start(2);
    sp_region *x = make(run, "x", 6, 2, sizeof(int32_t)), *diary = make(run, "diary", 8, 8, sizeof(int32_t));
    int32_t got[8], untouched[2];

    sp_fill(run, x, &(int32_t){7});
    sp_launch(run, .type = &stamp_task, .argument = {sp_at(x, 1)}); /* no points: one */
    sp_fill(run, diary, &(int32_t){0});
    sp_launch(run, .type = &diary_task, .points = {3}, .argument = {sp_at(x, 1), sp_at(x, 2), sp_at(diary, 0)});
    OK(sp_run_get(run, diary, 0, got));
    assert_int_equal(got[0], 3);
    for (int n = 1; n <= 3; n++) {
        assert_int_equal(got[n], 100 * 202 + 7);
    }
    OK(sp_run_get(run, x, 0, untouched));
    assert_int_equal(untouched[0], 7);
    assert_int_equal(untouched[1], 7);
    sp_run_free(run);
}

static void copy_first(sp_task *t)
{
    const int32_t *from = sp_task_in(t, 0);
    int32_t *to = sp_task_out(t, 1);

    to[0] = from[0] + 1;
}
static const sp_task_type copy_task = {.name = "copy", .run = copy_first, .privilege = {SP_READ, SP_WRITE}};

static void two_blocks_of_one_region_are_two_arguments(void **state)
{
    (void)state;
    sp_run *run = start(2);
    sp_region *x = make(run, "x", 2, 1, sizeof(int32_t));
    int32_t got[2];

    sp_fill(run, x, &(int32_t){5});
    sp_launch(run, .type = &copy_task, .argument = {sp_at(x, 0), sp_at(x, 1)});
    OK(sp_run_gather(run, x, got));
    assert_int_equal(got[0], 5);
    assert_int_equal(got[1], 6);
    sp_run_free(run);
}

/* out[0] = sum over parts of (part + 1) sum of its elements; out[1] = elements of the region; out[2] = first index. */
static void weigh_parts(sp_task *t)
{
    int32_t *out = sp_task_out(t, 1);
    ptrdiff_t seen = 0, count;

    out[0] = 0;
    for (ptrdiff_t b = 0; seen < sp_task_count(t, 0); b++, seen += count) {
        const int32_t *part = sp_task_part(t, 0, b, &count);

        for (ptrdiff_t e = 0; e < count; e++) {
            out[0] += (int32_t)(b + 1) * part[e];
        }
    }
    out[1] = (int32_t)seen;
    out[2] = (int32_t)sp_task_first(t, 0);
}
static const sp_task_type weigh_task = {.name = "weigh", .run = weigh_parts, .privilege = {SP_READ, SP_WRITE}};

static void whole_hands_all_blocks_to_every_point(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 10, 4, sizeof(int32_t)), *out = make(run, "out", 18, 3, sizeof(int32_t));
        int32_t got[6][3];

        sp_launch(run, .type = &count_task, .points = {3}, .argument = {sp_by_i(x)});
        sp_launch(run, .type = &weigh_task, .points = {6}, .argument = {sp_whole(x), sp_by_i(out)});
        OK(sp_run_gather(run, out, got));
        for (int i = 0; i < 6; i++) {
            assert_int_equal(got[i][0], 1 * (0 + 1 + 2 + 3) + 2 * (4 + 5 + 6 + 7) + 3 * (8 + 9));
            assert_int_equal(got[i][1], 10);
            assert_int_equal(got[i][2], 0);
        }
        sp_run_free(run);
    }
}

typedef struct line {
    double slope;
    int32_t offset;
} line;

static void draw_line(sp_task *t)
{
    const line *v = sp_task_values(t);
    double *out = sp_task_out(t, 0);

    for (ptrdiff_t e = 0; e < sp_task_count(t, 0); e++) {
        out[e] = v->slope * (double)(sp_task_first(t, 0) + e) + v->offset;
    }
}
static const sp_task_type line_task = {.name = "line", .run = draw_line, .privilege = {SP_WRITE}};

static void values_are_copied_for_every_point(void **state)
{
    (void)state;
    sp_run *run = start(3);
    sp_region *x = make(run, "x", 12, 2, sizeof(double));
    line v = {0.5, 3};
    double got[12];

    sp_launch(run, .type = &line_task, .points = {6}, .argument = {sp_by_i(x)}, SP_VALUES(v));
    v.slope = -1.0; /* too late to matter */
    OK(sp_run_gather(run, x, got));
    for (int e = 0; e < 12; e++) {
        assert_true(got[e] == 0.5 * e + 3);
    }
    sp_run_free(run);
}

static void fill_reaches_every_element_of_every_block(void **state)
{
    (void)state;
    const line element = {2.5, -7};

    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 11, 3, sizeof(line));
        line got[11];

        sp_fill(run, x, &element);
        OK(sp_run_gather(run, x, got));
        for (int e = 0; e < 11; e++) {
            assert_true(got[e].slope == 2.5 && got[e].offset == -7);
        }
        sp_run_free(run);
    }
}

static void get_takes_one_block_and_gather_all_of_them(void **state)
{
    (void)state;
    sp_run *run = start(2);
    sp_region *x = make(run, "x", 5, 2, sizeof(int32_t));
    int32_t all[5], last[2] = {-1, -1};

    sp_launch(run, .type = &count_task, .points = {3}, .argument = {sp_by_i(x)});
    OK(sp_run_gather(run, x, all));
    OK(sp_run_get(run, x, 2, last));
    for (int e = 0; e < 5; e++) {
        assert_int_equal(all[e], e);
    }
    assert_int_equal(last[0], 4);
    assert_int_equal(last[1], -1); /* the last block has one element */
    sp_run_free(run);
}

/* ---- growth ---- */

static void spaces_and_their_blocks_are_counted(void **state)
{
    (void)state;
    sp_run *run = start(1);
    sp_space *space;

    OK(sp_space_new(run, 10, 4, &space));
    assert_int_equal(sp_space_count(space), 10);
    assert_int_equal(sp_space_blocks(space), 3);
    OK(sp_space_grow(space, 5));
    assert_int_equal(sp_space_count(space), 15);
    assert_int_equal(sp_space_blocks(space), 5); /* 4 4 2 4 1 */
    sp_run_free(run);
}

static void growth_keeps_what_is_there_in_all_regions(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_space *space;
        int32_t a[15], b[15];

        OK(sp_space_new(run, 10, 4, &space));
        sp_region *x = make_like(space, "x", sizeof(int32_t)), *y = make_like(space, "y", sizeof(int32_t));

        sp_launch(run, .type = &count_task, .points = {3}, .argument = {sp_by_i(x)});
        sp_fill(run, y, &(int32_t){1});
        OK(sp_space_grow(space, 5));
        sp_launch(run, .type = &count_task, .argument = {sp_at(x, 3)});
        sp_launch(run, .type = &count_task, .argument = {sp_at(x, 4)});
        OK(sp_run_gather(run, x, a));
        for (int e = 0; e < 15; e++) {
            assert_int_equal(a[e], e);
        }
        sp_launch(run, .type = &stamp_task, .argument = {sp_at(y, 3)});
        OK(sp_run_get(run, y, 3, b));
        assert_int_equal(b[0], 1004); /* index 10, 4 elements */
        OK(sp_run_get(run, y, 0, b));
        assert_int_equal(b[0], 1);
        sp_launch(run, .type = &count_task, .points = {5}, .argument = {sp_by_i(y)}); /* over all */
        OK(sp_run_gather(run, y, b));
        assert_memory_equal(a, b, sizeof a);
        sp_run_free(run);
    }
}

static void a_region_made_after_growth_has_all_blocks(void **state)
{
    (void)state;
    sp_run *run = start(2);
    sp_space *space;
    int32_t got[7];

    OK(sp_space_new(run, 1, 3, &space));
    OK(sp_space_grow(space, 6));
    sp_region *x = make_like(space, "x", sizeof(int32_t));

    sp_launch(run, .type = &count_task, .points = {sp_space_blocks(space)}, .argument = {sp_by_i(x)});
    OK(sp_run_gather(run, x, got));
    for (int e = 0; e < 7; e++) {
        assert_int_equal(got[e], e);
    }
    sp_run_free(run);
}

/* ---- objects ---- */

typedef struct thing {
    int32_t number;
    int *released; /* counts up */
} thing;

static void release_thing(void *object)
{
    thing *t = object;

    (*t->released)++;
    free(t);
}

/* Values: where to count releases. */
static void make_thing(sp_task *t)
{
    int *const *released = sp_task_values(t);
    thing *made = malloc(sizeof *made);

    if (made) {
        *made = (thing){.number = (int32_t)sp_task_first(t, 0), .released = *released};
    }
    *sp_task_object(t, 0) = made;
}
static const sp_task_type make_thing_task = {.name = "make thing", .run = make_thing, .privilege = {SP_WRITE}};

static void use_thing(sp_task *t)
{
    const thing *made = *sp_task_object(t, 0);
    int32_t *out = sp_task_out(t, 1);

    for (ptrdiff_t e = 0; e < sp_task_count(t, 1); e++) {
        out[e] = made->number;
    }
}
static const sp_task_type use_thing_task = {.name = "use thing", .run = use_thing, .privilege = {SP_READ, SP_WRITE}};

static void age_thing(sp_task *t)
{
    thing *made = *sp_task_object(t, 0);

    made->number += 1000;
}
static const sp_task_type age_thing_task = {.name = "age thing", .run = age_thing, .privilege = {SP_READ_WRITE}};

static void objects_stay_from_task_to_task(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        int released = 0, *where = &released;
        sp_space *space;
        sp_region *things;
        int32_t got[10];

        OK(sp_space_new(run, 10, 4, &space));
        OK(sp_objects_new(space, "things", release_thing, &things));
        sp_region *x = make_like(space, "x", sizeof(int32_t));

        sp_launch(run, .type = &make_thing_task, .points = {3}, .argument = {sp_by_i(things)}, SP_VALUES(where));
        sp_launch(run, .type = &age_thing_task, .points = {2}, .argument = {sp_by_i(things)});
        sp_launch(run, .type = &use_thing_task, .points = {3}, .argument = {sp_by_i(things), sp_by_i(x)});
        OK(sp_run_gather(run, x, got));
        for (int e = 0; e < 10; e++) {
            assert_int_equal(got[e], e / 4 * 4 + (e < 8 ? 1000 : 0));
        }
        assert_int_equal(released, 0);
        sp_run_free(run);
        assert_int_equal(released, 3);
    }
}

static void a_freed_region_releases_its_objects_once(void **state)
{
    (void)state;
    sp_run *run = start(2);
    int released = 0, *where = &released;
    sp_space *space;
    sp_region *things;

    OK(sp_space_new(run, 10, 4, &space));
    OK(sp_objects_new(space, "things", release_thing, &things));
    sp_launch(run, .type = &make_thing_task, .points = {2}, .argument = {sp_by_i(things)}, SP_VALUES(where));
    sp_region_free(things); /* one block has no object */
    assert_int_equal(released, 2);
    sp_run_free(run);
    assert_int_equal(released, 2);
}

static void objects_survive_growth(void **state)
{
    (void)state;
    sp_run *run = start(2);
    int released = 0, *where = &released;
    sp_space *space;
    sp_region *things;
    int32_t got[3];

    OK(sp_space_new(run, 2, 1, &space));
    OK(sp_objects_new(space, "things", release_thing, &things));
    sp_region *x = make_like(space, "x", sizeof(int32_t));

    sp_launch(run, .type = &make_thing_task, .points = {2}, .argument = {sp_by_i(things)}, SP_VALUES(where));
    OK(sp_space_grow(space, 1));
    sp_launch(run, .type = &make_thing_task, .argument = {sp_at(things, 2)}, SP_VALUES(where));
    sp_launch(run, .type = &use_thing_task, .points = {3}, .argument = {sp_by_i(things), sp_by_i(x)});
    OK(sp_run_gather(run, x, got));
    for (int e = 0; e < 3; e++) {
        assert_int_equal(got[e], e);
    }
    sp_run_free(run);
    assert_int_equal(released, 3);
}

static void a_region_may_be_freed_while_others_live(void **state)
{
    (void)state;
    sp_run *run = start(2);
    sp_space *space;
    int32_t got[4];

    OK(sp_space_new(run, 4, 2, &space));
    sp_region *x = make_like(space, "x", sizeof(int32_t)), *y = make_like(space, "y", sizeof(int32_t)),
              *z = make_like(space, "z", sizeof(int32_t));

    sp_launch(run, .type = &count_task, .points = {2}, .argument = {sp_by_i(x)});
    sp_launch(run, .type = &copy_task, .points = {2}, .argument = {sp_by_i(x), sp_by_i(y)});
    sp_region_free(x);
    sp_region_free(NULL);
    sp_launch(run, .type = &copy_task, .points = {2}, .argument = {sp_by_i(y), sp_by_i(z)});
    sp_region_free(y);
    OK(sp_run_get(run, z, 1, got));
    assert_int_equal(got[0], 2 + 1 + 1);
    sp_run_free(run);
}

static void members_are_those_with_the_label_in_order(void **state)
{
    (void)state;
    const int32_t label[6] = {2, 0, 2, -1, 2, 0};
    ptrdiff_t member[6];

    assert_int_equal(sp_members(label, 6, 2, member), 3);
    assert_int_equal(member[0], 0);
    assert_int_equal(member[1], 2);
    assert_int_equal(member[2], 4);
    assert_int_equal(sp_members(label, 6, -1, member), 1);
    assert_int_equal(member[0], 3);
    assert_int_equal(sp_members(label, 6, 1, member), 0);
    assert_int_equal(sp_members(label, 0, 2, member), 0);
}

/* ---- reductions ---- */

/* Element e of point (i, j): numbers of many sizes, so that the order of a sum shows. */
static float some(ptrdiff_t i, ptrdiff_t j, ptrdiff_t e)
{
    sp_rng rng = sp_rng_stream(7, 1, (uint64_t)((i * 1000 + j) * 1000 + e));

    return (float)(sp_rng_normal(&rng) * exp2(24.0 * sp_rng_uniform(&rng)));
}

/* Sum of rows of two floats, added as digits of a binary counter are. */
typedef struct counter {
    int held;
    int level[MOST];
    float sum[MOST][2];
} counter;

static void add_last_two(counter *c)
{
    c->held--;
    for (int e = 0; e < 2; e++) {
        c->sum[c->held - 1][e] += c->sum[c->held][e];
    }
}

/* One digit more: what stands behind those that are held. */
static void carry(counter *c)
{
    c->level[c->held++] = 0;
    while (c->held >= 2 && c->level[c->held - 1] == c->level[c->held - 2]) {
        add_last_two(c);
        c->level[c->held - 1]++;
    }
}

static void count_in(counter *c, ptrdiff_t i, ptrdiff_t j)
{
    for (int e = 0; e < 2; e++) {
        c->sum[c->held][e] = 0.0f + some(i, j, e);
    }
    carry(c);
}

static const float *total(counter *c)
{
    while (c->held >= 2) {
        add_last_two(c);
    }
    return c->sum[0];
}

static void add_some(sp_task *t)
{
    float *sum = sp_task_out(t, 0);

    for (ptrdiff_t e = 0; e < sp_task_count(t, 0); e++) {
        sum[e] += some(sp_task_point(t, 0), sp_task_point(t, 1), e);
    }
}
static const sp_task_type add_task = {.name = "add", .run = add_some, .privilege = {SP_REDUCE}};

static void sums_are_those_of_a_counter_tree_on_any_threads(void **state)
{
    (void)state;
    for (ptrdiff_t points = 1; points <= 37; points += 1 + points / 6) {
        counter expected = {0};

        for (ptrdiff_t i = 0; i < points; i++) {
            count_in(&expected, i, 0);
        }
        for (int threads = 1; threads <= MOST_THREADS; threads++) {
            sp_run *run = start(threads);
            sp_region *sum = make(run, "sum", 2, 2, sizeof(float));
            float got[2];

            sp_launch(run, .type = &add_task, .points = {points}, .argument = {sp_into(sp_at(sum, 0), &sp_sum_float)});
            OK(sp_run_get(run, sum, 0, got));
            assert_memory_equal(got, total(&expected), sizeof got);
            sp_run_free(run);
        }
    }
}

static void the_order_of_these_sums_shows_in_their_bits(void **state)
{
    (void)state;
    counter tree = {0};
    float row[2] = {0.0f};

    for (ptrdiff_t i = 0; i < 37; i++) {
        count_in(&tree, i, 0);
        for (int e = 0; e < 2; e++) {
            row[e] += some(i, 0, e);
        }
    }
    assert_memory_not_equal(row, total(&tree), sizeof row); /* else the test above tests little */
}

static void sums_by_i_run_over_j_and_sums_by_j_over_i(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *rows = make(run, "rows", 10, 2, sizeof(float)),
                  *columns = make(run, "columns", 14, 2, sizeof(float)), *all = make(run, "all", 6, 2, sizeof(float));
        float row[5][2], column[7][2], sum[2];
        counter expected = {0};

        sp_launch(run, .type = &add_task, .points = {5, 7}, .argument = {sp_into(sp_by_i(rows), &sp_sum_float)});
        sp_launch(run, .type = &add_task, .points = {5, 7}, .argument = {sp_into(sp_by_j(columns), &sp_sum_float)});
        sp_launch(run, .type = &add_task, .points = {5, 7}, .argument = {sp_into(sp_at(all, 2), &sp_sum_float)});
        OK(sp_run_gather(run, rows, row));
        OK(sp_run_gather(run, columns, column));
        OK(sp_run_get(run, all, 2, sum));
        for (ptrdiff_t i = 0; i < 5; i++) {
            counter over_j = {0};

            for (ptrdiff_t j = 0; j < 7; j++) {
                count_in(&over_j, i, j);
                count_in(&expected, i, j);
            }
            assert_memory_equal(row[i], total(&over_j), sizeof row[i]);
        }
        for (ptrdiff_t j = 0; j < 7; j++) {
            counter over_i = {0};

            for (ptrdiff_t i = 0; i < 5; i++) {
                count_in(&over_i, i, j);
            }
            assert_memory_equal(column[j], total(&over_i), sizeof column[j]);
        }
        assert_memory_equal(sum, total(&expected), sizeof sum);
        sp_run_free(run);
    }
}

static void a_sum_begins_empty_every_time(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *sum = make(run, "sum", 2, 2, sizeof(float));
        float first[2], second[2];

        sp_fill(run, sum, &(float){1e9f});
        sp_launch(run, .type = &add_task, .points = {9}, .argument = {sp_into(sp_at(sum, 0), &sp_sum_float)});
        OK(sp_run_get(run, sum, 0, first));
        sp_launch(run, .type = &add_task, .points = {9}, .argument = {sp_into(sp_at(sum, 0), &sp_sum_float)});
        OK(sp_run_get(run, sum, 0, second));
        assert_memory_equal(first, second, sizeof first);
        assert_true(fabsf(first[0]) < 4e8f);
        sp_run_free(run);
    }
}

/* Two sums at once, and a value that is read: what a task of merging does. */
static void add_twice(sp_task *t)
{
    const int32_t *x = sp_task_in(t, 0);
    double *sum = sp_task_out(t, 1), *weight = sp_task_out(t, 2);

    for (ptrdiff_t e = 0; e < sp_task_count(t, 0); e++) {
        sum[0] += x[e];
        weight[0] += 1.0;
    }
}
static const sp_task_type add_twice_task = {
    .name = "add twice", .run = add_twice, .privilege = {SP_READ, SP_REDUCE, SP_REDUCE}};

static void a_task_adds_to_two_sums(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 100, 7, sizeof(int32_t)), *sum = make(run, "sum", 1, 1, sizeof(double)),
                  *weight = make(run, "weight", 1, 1, sizeof(double));
        double got[2];

        sp_launch(run, .type = &count_task, .points = {15}, .argument = {sp_by_i(x)});
        sp_launch(run, .type = &add_twice_task, .points = {15},
                  .argument = {sp_by_i(x), sp_into(sp_at(sum, 0), &sp_sum_double),
                               sp_into(sp_at(weight, 0), &sp_sum_double)});
        OK(sp_run_get(run, sum, 0, &got[0]));
        OK(sp_run_get(run, weight, 0, &got[1]));
        assert_true(got[0] == 4950.0 && got[1] == 100.0);
        sp_run_free(run);
    }
}

/* Keys repeat with the period that the values give. */
static void offer(sp_task *t)
{
    const ptrdiff_t *period = sp_task_values(t);
    sp_least_element *least = sp_task_out(t, 0);

    least[0] = (sp_least_element){(float)((sp_task_point(t, 0) + 2) % *period), (int32_t)sp_task_point(t, 0)};
}
static const sp_task_type offer_task = {.name = "offer", .run = offer, .privilege = {SP_REDUCE}};

static void of_equal_keys_the_lower_point_is_least(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        for (ptrdiff_t period = 1; period <= 6; period++) {
            sp_run *run = start(threads);
            sp_region *least = make(run, "least", 2, 2, sizeof(sp_least_element));
            sp_least_element got[2];

            sp_launch(run, .type = &offer_task, .points = {19}, .argument = {sp_into(sp_at(least, 0), &sp_least)},
                      SP_VALUES(period));
            OK(sp_run_get(run, least, 0, got));
            assert_true(got[0].key == 0.0f);
            assert_int_equal(got[0].payload, (period - 2 % period) % period);
            assert_true(isinf(got[1].key)); /* offered nothing */
            assert_int_equal(got[1].payload, -1);
            sp_run_free(run);
        }
    }
}

static void a_reduction_counts_as_written(void **state)
{
    (void)state;
    sp_run *run = start(2);
    sp_region *rows = make(run, "rows", 3, 1, sizeof(float)), *out = make(run, "out", 3, 1, sizeof(float));
    float got[3];

    sp_launch(run, .type = &add_task, .points = {3, 4}, .argument = {sp_into(sp_by_i(rows), &sp_sum_float)});
    sp_launch(run, .type = &copy_task, .points = {3}, .argument = {sp_by_i(rows), sp_by_i(out)});
    OK(sp_run_gather(run, out, got));
    sp_run_free(run);
}

/* ---- lanes ---- */

/* Points first .. end - 1 of a list, added one after the other, as one digit more of a counter. */
static void count_lane(counter *c, const ptrdiff_t (*point)[2], ptrdiff_t first, ptrdiff_t end)
{
    for (int e = 0; e < 2; e++) {
        c->sum[c->held][e] = 0.0f;
        for (ptrdiff_t n = first; n < end; n++) {
            c->sum[c->held][e] += some(point[n][0], point[n][1], e);
        }
    }
    carry(c);
}

/* The sum of a list in lanes: lane l ends with the last point before (l + 1) points / lanes. */
static void sum_in_lanes(const ptrdiff_t (*point)[2], ptrdiff_t points, ptrdiff_t lanes, float sum[2])
{
    const ptrdiff_t used = lanes > 0 && lanes < points ? lanes : points;
    counter c = {0};
    ptrdiff_t first = 0;

    for (ptrdiff_t l = 0; l < used; l++) {
        ptrdiff_t end = first;

        while (end < points && end * used < (l + 1) * points) {
            end++;
        }
        count_lane(&c, point, first, end);
        first = end;
    }
    assert_int_equal(first, points);
    memcpy(sum, total(&c), 2 * sizeof *sum);
}

/* Points (i, j) of a launch with i or j, or both, within limits. Returns how many. */
static ptrdiff_t list_points(ptrdiff_t i0, ptrdiff_t i1, ptrdiff_t j0, ptrdiff_t j1, ptrdiff_t (*point)[2])
{
    ptrdiff_t points = 0;

    for (ptrdiff_t i = i0; i < i1; i++) {
        for (ptrdiff_t j = j0; j < j1; j++) {
            point[points][0] = i;
            point[points++][1] = j;
        }
    }
    return points;
}

static void lanes_at_one_block_are_sums_of_consecutive_points(void **state)
{
    (void)state;
    static const ptrdiff_t cases[][2] = {{1, 1},  {1, 5},  {12, 1},  {12, 3},  {12, 4},  {37, 2},
                                         {37, 5}, {37, 8}, {37, 36}, {37, 37}, {37, 99}, {37, 0}};

    for (size_t n = 0; n < sizeof cases / sizeof *cases; n++) {
        ptrdiff_t point[MOST][2];
        float expected[2];

        sum_in_lanes(point, list_points(0, cases[n][0], 0, 1, point), cases[n][1], expected);
        for (int threads = 1; threads <= MOST_THREADS; threads++) {
            sp_run *run = start(threads);
            sp_region *sum = make(run, "sum", 2, 2, sizeof(float));
            float got[2];

            sp_launch(run, .type = &add_task, .points = {cases[n][0]},
                      .argument = {sp_into(sp_at(sum, 0), &sp_sum_float)}, .lanes = cases[n][1]);
            OK(sp_run_get(run, sum, 0, got));
            assert_memory_equal(got, expected, sizeof got);
            sp_run_free(run);
        }
    }
}

static void the_number_of_lanes_shows_in_the_bits(void **state)
{
    (void)state;
    ptrdiff_t point[MOST][2];
    float sum[3][2];

    for (ptrdiff_t n = 0; n < 3; n++) {
        sum_in_lanes(point, list_points(0, 37, 0, 1, point), 1 + 4 * n, sum[n]);
    }
    assert_memory_not_equal(sum[0], sum[1], sizeof *sum); /* else the tests of lanes test little */
    assert_memory_not_equal(sum[1], sum[2], sizeof *sum);
}

static void every_row_column_and_block_has_lanes_of_its_own(void **state)
{
    (void)state;
    enum { ROWS = 5, COLUMNS = 7 };

    for (ptrdiff_t lanes = 1; lanes <= 40; lanes += 1 + lanes / 3) {
        for (int threads = 1; threads <= MOST_THREADS; threads++) {
            sp_run *run = start(threads);
            sp_region *rows = make(run, "rows", 2 * ROWS, 2, sizeof(float)),
                      *columns = make(run, "columns", 2 * COLUMNS, 2, sizeof(float)),
                      *all = make(run, "all", 6, 2, sizeof(float));
            float row[ROWS][2], column[COLUMNS][2], sum[2], expected[2];
            ptrdiff_t point[MOST][2];

            sp_launch(run, .type = &add_task, .points = {ROWS, COLUMNS},
                      .argument = {sp_into(sp_by_i(rows), &sp_sum_float)}, .lanes = lanes);
            sp_launch(run, .type = &add_task, .points = {ROWS, COLUMNS},
                      .argument = {sp_into(sp_by_j(columns), &sp_sum_float)}, .lanes = lanes);
            sp_launch(run, .type = &add_task, .points = {ROWS, COLUMNS},
                      .argument = {sp_into(sp_at(all, 1), &sp_sum_float)}, .lanes = lanes);
            OK(sp_run_gather(run, rows, row));
            OK(sp_run_gather(run, columns, column));
            OK(sp_run_get(run, all, 1, sum));
            for (ptrdiff_t i = 0; i < ROWS; i++) {
                sum_in_lanes(point, list_points(i, i + 1, 0, COLUMNS, point), lanes, expected);
                assert_memory_equal(row[i], expected, sizeof expected);
            }
            for (ptrdiff_t j = 0; j < COLUMNS; j++) {
                sum_in_lanes(point, list_points(0, ROWS, j, j + 1, point), lanes, expected);
                assert_memory_equal(column[j], expected, sizeof expected);
            }
            sum_in_lanes(point, list_points(0, ROWS, 0, COLUMNS, point), lanes, expected);
            assert_memory_equal(sum, expected, sizeof expected);
            sp_run_free(run);
        }
    }
}

/* Arguments 0 and 1 are sums, 2 a diary as above. */
static void add_and_write(sp_task *t)
{
    float *a = sp_task_out(t, 0), *b = sp_task_out(t, 1);
    int32_t *diary = sp_task_out(t, 2);

    for (ptrdiff_t e = 0; e < 2; e++) {
        a[e] += some(sp_task_point(t, 0), sp_task_point(t, 1), e);
        b[e] += some(sp_task_point(t, 0), sp_task_point(t, 1), e);
    }
    diary[++diary[0]] = (int32_t)(100 * sp_task_point(t, 0) + sp_task_point(t, 1));
}
static const sp_task_type add_and_write_task = {
    .name = "add and write", .run = add_and_write, .privilege = {SP_REDUCE, SP_REDUCE, SP_READ_WRITE}};

static void lanes_of_two_sums_and_an_update_go_together(void **state)
{
    (void)state;
    enum { ROWS = 4, COLUMNS = 6, LANES = 3 };

    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *rows = make(run, "rows", 2 * ROWS, 2, sizeof(float)),
                  *columns = make(run, "columns", 2 * COLUMNS, 2, sizeof(float)),
                  *diary = make(run, "diary", ROWS * 8, 8, sizeof(int32_t));
        float row[ROWS][2], column[COLUMNS][2], expected[2];
        int32_t note[ROWS][8];
        ptrdiff_t point[MOST][2];

        sp_fill(run, diary, &(int32_t){0});
        sp_launch(run, .type = &add_and_write_task, .points = {ROWS, COLUMNS},
                  .argument = {sp_into(sp_by_i(rows), &sp_sum_float), sp_into(sp_by_j(columns), &sp_sum_float),
                               sp_by_i(diary)},
                  .lanes = LANES);
        OK(sp_run_gather(run, rows, row));
        OK(sp_run_gather(run, columns, column));
        OK(sp_run_gather(run, diary, note));
        for (ptrdiff_t i = 0; i < ROWS; i++) {
            sum_in_lanes(point, list_points(i, i + 1, 0, COLUMNS, point), LANES, expected);
            assert_memory_equal(row[i], expected, sizeof expected);
            for (ptrdiff_t j = 0; j < COLUMNS; j++) {
                assert_int_equal(note[i][1 + j], 100 * i + j);
            }
        }
        for (ptrdiff_t j = 0; j < COLUMNS; j++) {
            sum_in_lanes(point, list_points(0, ROWS, j, j + 1, point), LANES, expected);
            assert_memory_equal(column[j], expected, sizeof expected);
        }
        sp_run_free(run);
    }
}

/* Counts how many sums are begun; the sum of doubles else. */
static atomic_int begun;

static void begin_counted(void *block, size_t bytes)
{
    atomic_fetch_add(&begun, 1);
    sp_sum_double.begin(block, bytes);
}

static void no_more_sums_are_begun_than_there_are_lanes(void **state)
{
    (void)state;
    const sp_reduction counted = {begin_counted, sp_sum_double.combine};

    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 5000, 1, sizeof(int32_t)), *sum = make(run, "sum", 1, 1, sizeof(double)),
                  *weight = make(run, "weight", 1, 1, sizeof(double));
        double got = 0.0;

        atomic_store(&begun, 0);
        sp_launch(run, .type = &count_task, .points = {5000}, .argument = {sp_by_i(x)});
        sp_launch(run, .type = &add_twice_task, .points = {5000}, /* more than an engine is handed at a time */
                  .argument = {sp_by_i(x), sp_into(sp_at(sum, 0), &counted), sp_into(sp_at(weight, 0), &counted)},
                  .lanes = 3);
        OK(sp_run_get(run, sum, 0, &got));
        assert_true(got == 4999.0 * 5000.0 / 2.0);
        OK(sp_run_get(run, weight, 0, &got));
        assert_true(got == 5000.0);
        assert_int_equal(atomic_load(&begun), 2 * 3);
        sp_run_free(run);
    }
}

/* ---- blocks from a number on ---- */

static void from_hands_blocks_from_a_number_on(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 10, 2, sizeof(int32_t)), *y = make(run, "y", 4, 1, sizeof(int32_t)),
                  *diary = make(run, "diary", 3 * 8, 8, sizeof(int32_t));
        int32_t got[10], note[3][8];

        sp_fill(run, x, &(int32_t){-1});
        sp_launch(run, .type = &stamp_task, .points = {3}, .argument = {sp_from(sp_by_i(x), 2)});
        OK(sp_run_gather(run, x, got));
        for (int e = 0; e < 10; e++) {
            assert_int_equal(got[e], e < 4 ? -1 : 10000 * (e / 2 - 2) + 100 * (e / 2 * 2) + 2);
        }
        sp_launch(run, .type = &count_task, .points = {4}, .argument = {sp_by_i(y)});
        sp_launch(run, .type = &count_task, .points = {5}, .argument = {sp_by_i(x)});
        sp_fill(run, diary, &(int32_t){0});
        sp_launch(run, .type = &diary_task, .points = {2, 3},
                  .argument = {sp_from(sp_by_i(x), 3), sp_from(sp_by_j(y), 1), sp_from(sp_by_i(diary), 1)});
        OK(sp_run_gather(run, diary, note));
        assert_int_equal(note[0][0], 0);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(note[1 + i][0], 3);
            for (int j = 0; j < 3; j++) {
                assert_int_equal(note[1 + i][1 + j], 100 * 2 * (3 + i) + 1 + j);
            }
        }
        sp_run_free(run);
    }
}

static void sums_may_go_to_blocks_from_a_number_on(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        for (ptrdiff_t lanes = 0; lanes <= 3; lanes++) {
            sp_run *run = start(threads);
            sp_region *sums = make(run, "sums", 12, 2, sizeof(float));
            float got[6][2], expected[2];
            ptrdiff_t point[MOST][2];

            sp_fill(run, sums, &(float){0.5f});
            sp_launch(run, .type = &add_task, .points = {4, 5},
                      .argument = {sp_into(sp_from(sp_by_i(sums), 2), &sp_sum_float)}, .lanes = lanes);
            OK(sp_run_gather(run, sums, got));
            assert_true(got[0][0] == 0.5f && got[1][1] == 0.5f);
            for (ptrdiff_t i = 0; i < 4; i++) {
                sum_in_lanes(point, list_points(i, i + 1, 0, 5, point), lanes, expected);
                assert_memory_equal(got[2 + i], expected, sizeof expected);
            }
            sp_run_free(run);
        }
    }
}

/* ---- work space and threads ---- */

/* out[0] = sum of e^2 below 1000 by way of the work space, which another task must not have; -1: not aligned. */
static void work_in_scratch(sp_task *t)
{
    int32_t *out = sp_task_out(t, 0), *scratch = sp_task_scratch(t);
    const int32_t i = (int32_t)sp_task_point(t, 0);

    for (int32_t e = 0; e < 1000; e++) {
        scratch[e] = i * e * e;
    }
    out[0] = 0;
    for (int32_t e = 0; e < 1000; e++) {
        out[0] += scratch[e] % 1000;
    }
    out[0] = (uintptr_t)scratch % 16 == 0 ? out[0] : -1;
}
static const sp_task_type scratch_task = {.name = "scratch", .run = work_in_scratch, .privilege = {SP_WRITE}};

static void every_task_has_work_space_of_its_own(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 60, 1, sizeof(int32_t));
        int32_t got[60];

        sp_launch(run, .type = &scratch_task, .points = {1}, .argument = {sp_by_i(x)},
                  .scratch = 1000 * sizeof(int32_t));
        sp_launch(run, .type = &stamp_task, .points = {60}, .argument = {sp_by_i(x)});
        sp_launch(run, .type = &scratch_task, .points = {60}, .argument = {sp_by_i(x)}, .scratch = 1 << 20);
        sp_launch(run, .type = &scratch_task, .points = {30}, .argument = {sp_by_i(x)},
                  .scratch = 1000 * sizeof(int32_t));
        OK(sp_run_gather(run, x, got));
        for (int32_t i = 0; i < 60; i++) {
            int32_t expected = 0;

            for (int32_t e = 0; e < 1000; e++) {
                expected += i * e * e % 1000;
            }
            assert_int_equal(got[i], expected);
        }
        sp_run_free(run);
    }
}

enum { OF_THREAD = 50000 };

/* out[0] = numbers that the threads of this task find in their parts of the work space as they have left them. */
static void share_scratch(sp_task *t)
{
    int32_t *out = sp_task_out(t, 0), *scratch = sp_task_scratch(t), right = 0;

#pragma omp parallel reduction(+ : right)
    {
        int32_t *mine = scratch + (ptrdiff_t)omp_get_thread_num() * OF_THREAD;

        for (int32_t e = 0; e < OF_THREAD; e++) {
            mine[e] = e + omp_get_thread_num();
        }
#pragma omp barrier
        for (int32_t e = 0; e < OF_THREAD; e++) {
            right += mine[e] == e + omp_get_thread_num() ? 1 : 0;
        }
    }
    out[0] = right;
}
static const sp_task_type share_task = {.name = "share", .run = share_scratch, .privilege = {SP_WRITE}};

static void every_thread_has_a_part_of_the_work_space(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 60, 1, sizeof(int32_t));
        int32_t got[60];

        for (int points = 1; points <= 60; points += 59) { /* with all threads, and side by side */
            sp_launch(run, .type = &stamp_task, .points = {60}, .argument = {sp_by_i(x)});
            sp_launch(run, .type = &share_task, .points = {points}, .argument = {sp_by_i(x)},
                      .scratch_of_thread = OF_THREAD * sizeof(int32_t));
            OK(sp_run_gather(run, x, got));
            for (int32_t i = 0; i < points; i++) {
                assert_true(got[i] > 0 && got[i] % OF_THREAD == 0);
                assert_int_equal(got[i], points == 1 ? threads * OF_THREAD : got[59]);
            }
        }
        sp_run_free(run);
    }
}

/* out[0] = threads that a loop in this task may have. */
static void count_threads(sp_task *t)
{
    int32_t *out = sp_task_out(t, 0);

    out[0] = omp_get_max_threads();
}
static const sp_task_type threads_task = {.name = "threads", .run = count_threads, .privilege = {SP_WRITE}};

static atomic_int threads_of_sum;

static void add_noting_threads(void *into, const void *from, size_t bytes)
{
    atomic_store(&threads_of_sum, omp_get_max_threads());
    sp_sum_float.combine(into, from, bytes);
}

static void loops_in_tasks_and_sums_have_the_threads_of_the_run(void **state)
{
    (void)state;
    const sp_reduction noting = {sp_sum_float.begin, add_noting_threads};
    const int before = omp_get_max_threads();

    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        sp_run *run = start(threads);
        sp_region *x = make(run, "x", 1, 1, sizeof(int32_t)), *sum = make(run, "sum", 2, 2, sizeof(float));
        int32_t got = 0;

        sp_launch(run, .type = &threads_task, .argument = {sp_at(x, 0)});
        OK(sp_run_get(run, x, 0, &got));
        assert_int_equal(got, threads);
        atomic_store(&threads_of_sum, 0);
        sp_launch(run, .type = &add_task, .points = {8}, .argument = {sp_into(sp_at(sum, 0), &noting)});
        OK(sp_run_fence(run));
        assert_int_equal(atomic_load(&threads_of_sum), threads);
        assert_int_equal(omp_get_max_threads(), before); /* those of the program are its own */
        sp_run_free(run);
    }
}

/* ---- chains ---- */

/* How many points are under way, and whether two ever were. */
typedef struct meeting {
    atomic_int under_way, met;
} meeting;

/* Values: a meeting, for which the point waits a while. Argument 0: a diary as above. */
static void meet(sp_task *t)
{
    meeting *const *m = sp_task_values(t);
    int32_t *diary = sp_task_out(t, 0);

    atomic_fetch_add(&(*m)->under_way, 1);
    for (int trial = 0; trial < 500 && !atomic_load(&(*m)->met); trial++) {
        if (atomic_load(&(*m)->under_way) > 1) {
            atomic_store(&(*m)->met, 1);
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    diary[++diary[0]] = (int32_t)(100 * sp_task_point(t, 0) + sp_task_point(t, 1));
    atomic_fetch_add(&(*m)->under_way, -1);
}
static const sp_task_type meet_task = {.name = "meet", .run = meet, .privilege = {SP_READ_WRITE}};

static void rows_run_side_by_side_and_each_in_its_order(void **state)
{
    (void)state;
    for (int by_j = 0; by_j < 2; by_j++) {
        sp_run *run = start(2);
        sp_region *diary = make(run, "diary", 4 * 8, 8, sizeof(int32_t));
        meeting m = {0}, *where = &m;
        int32_t note[4][8];

        sp_fill(run, diary, &(int32_t){0});
        sp_launch(run, .type = &meet_task, .points = {by_j ? 5 : 4, by_j ? 4 : 5},
                  .argument = {by_j ? sp_by_j(diary) : sp_by_i(diary)}, SP_VALUES(where));
        OK(sp_run_gather(run, diary, note));
        for (int b = 0; b < 4; b++) {
            assert_int_equal(note[b][0], 5);
            for (int n = 0; n < 5; n++) {
                assert_int_equal(note[b][1 + n], by_j ? 100 * n + b : 100 * b + n);
            }
        }
        assert_int_equal(atomic_load(&m.met), 1);
        sp_run_free(run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_i_hands_point_i_its_block),
        cmocka_unit_test(a_launch_may_leave_the_last_blocks_alone),
        cmocka_unit_test(a_launch_may_have_thousands_of_points),
        cmocka_unit_test(points_that_update_one_block_run_in_order_j_within_i),
        cmocka_unit_test(points_that_share_a_row_or_a_column_update_it_in_order),
        cmocka_unit_test(at_hands_the_same_block_to_all),
        cmocka_unit_test(two_blocks_of_one_region_are_two_arguments),
        cmocka_unit_test(whole_hands_all_blocks_to_every_point),
        cmocka_unit_test(values_are_copied_for_every_point),
        cmocka_unit_test(fill_reaches_every_element_of_every_block),
        cmocka_unit_test(get_takes_one_block_and_gather_all_of_them),
        cmocka_unit_test(spaces_and_their_blocks_are_counted),
        cmocka_unit_test(growth_keeps_what_is_there_in_all_regions),
        cmocka_unit_test(a_region_made_after_growth_has_all_blocks),
        cmocka_unit_test(objects_stay_from_task_to_task),
        cmocka_unit_test(a_freed_region_releases_its_objects_once),
        cmocka_unit_test(objects_survive_growth),
        cmocka_unit_test(a_region_may_be_freed_while_others_live),
        cmocka_unit_test(members_are_those_with_the_label_in_order),
        cmocka_unit_test(sums_are_those_of_a_counter_tree_on_any_threads),
        cmocka_unit_test(the_order_of_these_sums_shows_in_their_bits),
        cmocka_unit_test(sums_by_i_run_over_j_and_sums_by_j_over_i),
        cmocka_unit_test(a_sum_begins_empty_every_time),
        cmocka_unit_test(a_task_adds_to_two_sums),
        cmocka_unit_test(of_equal_keys_the_lower_point_is_least),
        cmocka_unit_test(a_reduction_counts_as_written),
        cmocka_unit_test(lanes_at_one_block_are_sums_of_consecutive_points),
        cmocka_unit_test(the_number_of_lanes_shows_in_the_bits),
        cmocka_unit_test(every_row_column_and_block_has_lanes_of_its_own),
        cmocka_unit_test(lanes_of_two_sums_and_an_update_go_together),
        cmocka_unit_test(no_more_sums_are_begun_than_there_are_lanes),
        cmocka_unit_test(from_hands_blocks_from_a_number_on),
        cmocka_unit_test(sums_may_go_to_blocks_from_a_number_on),
        cmocka_unit_test(every_task_has_work_space_of_its_own),
        cmocka_unit_test(every_thread_has_a_part_of_the_work_space),
        cmocka_unit_test(loops_in_tasks_and_sums_have_the_threads_of_the_run),
        cmocka_unit_test(rows_run_side_by_side_and_each_in_its_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
