/* SPDX-License-Identifier: BSD-3-Clause */
/* large.c -- a block of more bytes than an int can count is written by one rank and read by all of them:
 *
 *     run_large [--engine local|starpu]
 *
 * On failure it says where the first wrong element is. */
#include <stdio.h>
#include <string.h>

#include "run/run.h"

static const ptrdiff_t COUNT = ((ptrdiff_t)1 << 28) + 12345; /* doubles: 2 GiB and 99 kB, no whole number of rows */
static const ptrdiff_t STEP = 1009; /* written and read: some on each page, and none at the same place of two */

static double value_of(ptrdiff_t i)
{
    return (double)i + 0.5;
}

/* Index of the k-th element that is written, from the last one on. */
static ptrdiff_t place(ptrdiff_t k)
{
    return COUNT - 1 - k * STEP;
}

static void write_block(sp_task *t)
{
    double *out = sp_task_out(t, 0);

    for (ptrdiff_t k = 0; place(k) >= 0; k++) {
        out[place(k)] = value_of(place(k));
    }
}
static const sp_task_type write_task = {.name = "write", .run = write_block, .privilege = {SP_WRITE}};

static void read_block(sp_task *t)
{
    const double *in = sp_task_in(t, 0);
    ptrdiff_t *wrong = sp_task_out(t, 1);

    *wrong = sp_task_count(t, 0) == COUNT ? 0 : COUNT;
    for (ptrdiff_t k = 0; *wrong == 0 && place(k) >= 0; k++) {
        *wrong = in[place(k)] == value_of(place(k)) ? 0 : place(k) + 1;
    }
}
static const sp_task_type read_task = {.name = "read", .run = read_block, .privilege = {SP_READ, SP_WRITE}};

static sp_status pass_on(sp_run *run)
{
    const ptrdiff_t ranks = sp_run_ranks(run);
    ptrdiff_t wrong;
    sp_status status = SP_OK;
    sp_space *one, *each;
    sp_region *large, *found;

    SP_TRY(sp_space_new(run, COUNT, COUNT, &one));
    SP_TRY(sp_space_new(run, ranks, 1, &each));
    SP_TRY(sp_region_new(one, "large", sizeof(double), &large));
    SP_TRY(sp_region_new(each, "found", sizeof wrong, &found));
    sp_launch(run, .type = &write_task, .argument = {sp_at(large, 0)});
    sp_launch(run, .type = &read_task, .points = {ranks}, .argument = {sp_at(large, 0), sp_by_i(found)});
    for (ptrdiff_t rank = 0; rank < ranks; rank++) {
        SP_TRY(sp_run_get(run, found, rank, &wrong));
        SP_REQUIRE(wrong == 0, SP_ERR_NUMERIC, "rank %td: element %td is wrong", rank, wrong - 1);
    }
done:
    return status;
}

int main(int count, char **argument)
{
    const bool starpu = count > 2 && strcmp(argument[2], "starpu") == 0;
    const sp_run_settings settings = {.engine = starpu ? SP_ENGINE_STARPU : SP_ENGINE_LOCAL, .threads = 1};
    sp_status status = SP_OK;
    sp_run *run = NULL;

    SP_TRY(sp_run_new(&settings, &run));
    SP_TRY(pass_on(run));
done:
    if (status != SP_OK) {
        fprintf(stderr, "run_large: %s\n", sp_error_text());
    }
    sp_run_free(run);
    return status == SP_OK ? 0 : 1;
}
