/* SPDX-License-Identifier: BSD-3-Clause */
/* Each phase of a whole reconstruction: what it costs, and what further threads gain. One thread and all of them take
 * turns, and must come to the same bits. */
#include <stdio.h>
#include <string.h>

#include "bench/parts.h"
#include "bench/whole.h"

enum { ROUNDS = 3 };

typedef struct dimensions {
    ptrdiff_t pixels, images;
    int generations, starts; /* 0: the default */
} dimensions;

static const dimensions full_size = {.pixels = 128, .images = 1000};
static const dimensions quick_size = {.pixels = 48, .images = 40, .generations = 2, .starts = 2};

/* Times of all rounds: of each phase, then of the whole. */
typedef struct times {
    int contenders;
    int threads[2];
    sp_race race[SP_PHASES + 1];
    int generations; /* that a run has taken */
} times;

static void take_times(times *t, int round, int contender, const sp_reconstruction *result, const sp_whole_cost *cost)
{
    for (int phase = 0; phase < SP_PHASES; phase++) {
        t->race[phase].seconds[round][contender] = result->wall[phase];
    }
    t->race[SP_PHASES].seconds[round][contender] = cost->wall;
    t->generations = result->generations;
}

/* One thread, then all of them. */
static sp_status run_round(const char *path, const sp_reconstruct_settings *settings, int round, times *t)
{
    sp_reconstruction *result[2] = {NULL, NULL};
    sp_whole_cost cost;
    sp_status status = SP_OK;

    for (int i = 0; i < t->contenders; i++) {
        SP_TRY(sp_whole_run(path, settings, t->threads[i], &cost, &result[i]));
        take_times(t, round, i, result[i], &cost);
    }
    if (t->contenders > 1) {
        const size_t bytes = (size_t)result[0]->images * sizeof *result[0]->orientation;

        SP_REQUIRE(memcmp(result[0]->orientation, result[1]->orientation, bytes) == 0, SP_ERR_NUMERIC,
                   "phases: %d threads and %d do not give the same bits", t->threads[0], t->threads[1]);
    }
done:
    sp_reconstruction_free(result[0]);
    sp_reconstruction_free(result[1]);
    return status;
}

static void add_rows(sp_bench *bench, const char *name, times *t, sp_race *race)
{
    race->rounds = ROUNDS;
    race->contenders = t->contenders;
    for (int i = 0; i < t->contenders && sp_race_seconds(race, i).median > 0.0; i++) {
        sp_row *row = sp_row_add(bench, "phases", t->threads[i], "%s", name);

        row->kernels = sp_isa_name(bench->machine.isa);
        sp_row_take_time(row, race, i);
        if (i == 1) {
            sp_row_compare(row, race, 0, 1, "one thread");
        }
    }
}

sp_status sp_bench_phases(sp_bench *bench)
{
    const dimensions *size = bench->settings.quick ? &quick_size : &full_size;
    times t = {.contenders = bench->machine.threads > 1 ? 2 : 1, .threads = {1, bench->machine.threads}};
    sp_reconstruct_settings settings = sp_reconstruct_defaults();
    sp_whole_files files;
    sp_status status = SP_OK;

    settings.generations = size->generations > 0 ? size->generations : settings.generations;
    settings.starts = size->starts > 0 ? size->starts : settings.starts;
    SP_TRY(sp_whole_files_init(size->pixels, &size->images, 1, &files));
    for (int round = 0; round < ROUNDS; round++) {
        SP_TRY(run_round(files.path[0], &settings, round, &t));
    }
    for (int phase = 0; phase < SP_PHASES; phase++) {
        add_rows(bench, sp_phase_names[phase], &t, &t.race[phase]);
    }
    add_rows(bench, "all of it", &t, &t.race[SP_PHASES]);
    sp_row *row = sp_row_add(bench, "phases", bench->machine.threads, "the data of these rows");

    snprintf(row->note, sizeof row->note, "%td images of %td^2 pixels, %d generations", size->images, size->pixels,
             t.generations);
done:
    sp_whole_files_clear(&files);
    return status;
}
