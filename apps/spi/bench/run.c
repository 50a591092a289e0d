/* SPDX-License-Identifier: BSD-3-Clause */
/* What the task layer costs: on one process with both engines; under mpirun with StarPU on all ranks, of which the
 * first one speaks. */
#include "run/run.h"

#include <stdio.h>

#include "bench/layer.h"
#include "bench/parts.h"

enum { TASKS = 1000, QUICK_TASKS = 100 };

static sp_status time_engine(sp_bench *bench, sp_engine engine, const char *name)
{
    sp_quartiles cost[SP_LAYER_COSTS];
    sp_run *run = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_run_new(&(sp_run_settings){.engine = engine, .threads = 1, .log = bench->log}, &run));
    bench->speaks = sp_run_rank(run) == 0;
    SP_TRY(sp_layer_measure(run, bench->rules.rounds, bench->settings.quick ? QUICK_TASKS : TASKS, cost));
    for (int c = 0; c < SP_LAYER_COSTS; c++) {
        if (cost[c].median > 0.0) {
            sp_row_add(bench, "run", 1, "%s, %d process%s: %s", name, sp_run_ranks(run),
                       sp_run_ranks(run) == 1 ? "" : "es", sp_layer_names[c])
                ->seconds = cost[c];
        }
    }
done:
    sp_run_free(run);
    return status;
}

static void say_not_built(sp_bench *bench)
{
    snprintf(sp_row_add(bench, "run", 1, "starpu")->note, SP_ROW_TEXT, "this program was built without StarPU");
}

sp_status sp_bench_run_layer(sp_bench *bench)
{
    sp_status status = SP_OK;

    if (!sp_run_under_mpirun()) {
        SP_TRY(time_engine(bench, SP_ENGINE_LOCAL, "local"));
    }
    if (sp_run_engine_is_there(SP_ENGINE_STARPU)) {
        SP_TRY(time_engine(bench, SP_ENGINE_STARPU, "starpu"));
    } else {
        say_not_built(bench);
    }
done:
    return status;
}
