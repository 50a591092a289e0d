/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <stdio.h>

#include "bench/parts.h"

static void add_peak(sp_bench *bench, int all)
{
    const sp_machine *machine = &bench->machine;
    sp_row *row = sp_row_add(bench, "peak", all ? machine->threads : 1, "fp32 multiply-add");

    row->rate = 1e-9 * machine->peak[all];
    row->unit = "GFLOP/s";
    row->kernels = sp_isa_name(machine->isa);
    if (!all) {
        snprintf(row->note, sizeof row->note, "%.1f operations per cycle of %.2f GHz",
                 machine->peak[0] / machine->clock, 1e-9 * machine->clock);
    }
}

static void add_reading(sp_bench *bench, int cache, int all)
{
    const sp_machine *machine = &bench->machine;
    sp_row *row = sp_row_add(bench, "peak", all ? machine->threads : 1, "reading %.3g MB per thread: %s",
                             1e-6 * (double)machine->read_bytes[cache], sp_cache_names[cache]);

    row->rate = 1e-9 * machine->reading[cache][all];
    row->unit = "GB/s";
    row->kernels = sp_isa_name(machine->isa);
}

sp_status sp_bench_peak(sp_bench *bench)
{
    const int ways = bench->machine.threads > 1 ? 2 : 1;
    sp_status status = SP_OK;

    SP_TRY(sp_machine_measure_reading(&bench->machine));
    for (int all = 0; all < ways; all++) {
        add_peak(bench, all);
    }
    for (int cache = 0; cache < SP_CACHES; cache++) {
        for (int all = 0; all < ways; all++) {
            add_reading(bench, cache, all);
        }
    }
done:
    return status;
}
