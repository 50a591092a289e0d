/* SPDX-License-Identifier: BSD-3-Clause */
/* faults.c -- goes wrong on its last rank, in the way that is asked for:
 *
 *     run_faults [--engine local|starpu] FAULT
 *
 * Every rank first prints "pid N". What must come of each fault: tests/run/faults.sh. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "run/run.h"

enum { PER_RANK = 4, MOST_BLOCKS = 256 };

/* [s] */
static const double PATIENCE = 2.0;

/* ---- tasks: out = in + 1; the last point goes wrong ---- */

static void copy(sp_task *t)
{
    const float *in = sp_task_in(t, 0);
    float *out = sp_task_out(t, 1);

    out[0] = in[0] + 1.0f;
}

static bool is_last(const sp_task *t)
{
    const ptrdiff_t *blocks = sp_task_values(t);

    return sp_task_point(t, 0) == *blocks - 1;
}

static void fail(sp_task *t)
{
    if (is_last(t)) {
        sp_task_fail(t, SP_ERR_NUMERIC, "%d eggs are too few", 11);
    }
}

static void misuse(sp_task *t)
{
    if (is_last(t)) {
        sp_task_out(t, 0);
    }
}

static void stay(sp_task *t)
{
    while (is_last(t)) {
        sleep(1);
    }
}

static void end_process(sp_task *t)
{
    if (is_last(t)) {
        kill(getpid(), SIGKILL);
    }
}

static const sp_task_type copy_task = {.name = "copying", .run = copy, .privilege = {SP_READ, SP_WRITE}};

typedef struct fault {
    const char *name;
    sp_task_type type; /* no function: the program itself goes wrong */
} fault;

static const fault faults[] = {
    {"none", {.name = "copying", .run = copy, .privilege = {SP_READ, SP_WRITE}}},
    {"fail", {.name = "baking", .run = fail, .privilege = {SP_READ, SP_WRITE}}},
    {"misuse", {.name = "taking", .run = misuse, .privilege = {SP_READ, SP_WRITE}}},
    {"endless", {.name = "waiting", .run = stay, .privilege = {SP_READ, SP_WRITE}}},
    {"killed", {.name = "dying", .run = end_process, .privilege = {SP_READ, SP_WRITE}}},
    {"skip", {0}},  /* the last rank leaves out a launch */
    {"leave", {0}}, /* the last rank ends while the others go on */
    {"alone", {0}}, /* the same, for a reason of its own */
};

static const fault *find(const char *name)
{
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        if (strcmp(faults[i].name, name) == 0) {
            return &faults[i];
        }
    }
    return NULL;
}

/* ---- the program ---- */

static sp_status go_wrong(sp_run *run, const fault *f)
{
    const bool last = sp_run_rank(run) == sp_run_ranks(run) - 1;
    const ptrdiff_t blocks = (ptrdiff_t)PER_RANK * sp_run_ranks(run);
    float got[MOST_BLOCKS];
    sp_status status = SP_OK;
    sp_space *space;
    sp_region *x, *y;

    SP_REQUIRE(blocks <= MOST_BLOCKS, SP_ERR_USAGE, "too many ranks");
    SP_TRY(sp_space_new(run, blocks, 1, &space));
    SP_TRY(sp_region_new(space, "x", sizeof(float), &x));
    SP_TRY(sp_region_new(space, "y", sizeof(float), &y));
    sp_fill(run, x, &(float){1.0f});
    sp_launch(run, .type = &copy_task, .points = {blocks}, .argument = {sp_by_i(x), sp_by_i(y)});
    SP_TRY(sp_run_gather(run, y, got));
    if (strcmp(f->name, "leave") == 0 && last) {
        return SP_OK;
    }
    SP_REQUIRE(strcmp(f->name, "alone") != 0 || !last, SP_ERR_MEMORY, "no nest");
    if (f->type.run) {
        sp_launch(run, .type = &f->type, .points = {blocks}, .argument = {sp_by_i(x), sp_by_i(y)}, SP_VALUES(blocks));
    } else if (strcmp(f->name, "skip") == 0 && !last) {
        sp_launch(run, .type = &copy_task, .points = {blocks}, .argument = {sp_by_i(x), sp_by_i(y)});
    }
    sp_launch(run, .type = &copy_task, .points = {blocks}, .argument = {sp_by_i(y), sp_by_i(x)});
    SP_TRY(sp_run_gather(run, x, got));
    SP_REQUIRE(got[blocks - 1] == 3.0f, SP_ERR_NUMERIC, "x is %g", (double)got[blocks - 1]);
done:
    return status;
}

int main(int count, char **argument)
{
    sp_run_settings settings = {.threads = 1, .patience = PATIENCE};
    const fault *f = count > 1 ? find(argument[count - 1]) : NULL;
    sp_status status = SP_OK;
    sp_run *run = NULL;

    if (!f) {
        fprintf(stderr, "run_faults [--engine local|starpu] none|fail|misuse|endless|killed|skip|leave|alone\n");
        return 2;
    }
    settings.engine = count > 3 && strcmp(argument[2], "starpu") == 0 ? SP_ENGINE_STARPU : SP_ENGINE_LOCAL;
    printf("pid %ld\n", (long)getpid());
    fflush(stdout);
    SP_TRY(sp_run_new(&settings, &run));
    SP_TRY(go_wrong(run, f));
done:
    if (status != SP_OK) {
        fprintf(stderr, "run_faults: %s\n", sp_error_text());
    }
    sp_run_free(run);
    return status == SP_OK ? 0 : 1;
}
