/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/rows.h"

#include <assert.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

sp_status sp_bench_race(sp_bench *bench, const sp_contender *contender, int count, sp_race *race)
{
    const sp_status status = sp_race_run(&bench->rules, contender, count, race);

    sp_progress_add(bench->progress, 1);
    return status;
}

sp_row *sp_row_add(sp_bench *bench, const char *part, int threads, const char *format, ...)
{
    sp_row *row = &bench->row[bench->rows];
    va_list arguments;

    assert(bench->rows < SP_ROWS);
    bench->rows++;
    *row = (sp_row){.part = part, .threads = threads, .unit = "", .limit = "", .error = NAN, .local = NAN};
    va_start(arguments, format);
    vsnprintf(row->name, sizeof row->name, format, arguments);
    va_end(arguments);
    return row;
}

void sp_row_take_time(sp_row *row, const sp_race *race, int contender)
{
    row->seconds = sp_race_seconds(race, contender);
}

void sp_row_take_rate(sp_row *row, double amount, const char *unit)
{
    row->rate = amount / row->seconds.median;
    row->unit = unit;
}

void sp_row_take_operations(sp_row *row, const sp_bench *bench, double operations)
{
    sp_row_take_rate(row, 1e-9 * operations, "GFLOP/s");
    row->share = 1e9 * row->rate / bench->machine.peak[row->threads > 1];
    row->limit = "FMA peak";
}

static sp_row_ratio *next_ratio(sp_row *row)
{
    assert(row->ratios < SP_ROW_RATIOS);
    return &row->ratio[row->ratios++];
}

sp_row_ratio *sp_row_compare(sp_row *row, const sp_race *race, int slow, int fast, const char *format, ...)
{
    sp_row_ratio *ratio = next_ratio(row);
    va_list arguments;

    *ratio = (sp_row_ratio){.installed = true, .times = sp_race_ratio(race, slow, fast), .error = NAN, .local = NAN};
    va_start(arguments, format);
    vsnprintf(ratio->to, sizeof ratio->to, format, arguments);
    va_end(arguments);
    return ratio;
}

void sp_row_not_installed(sp_row *row, const char *library)
{
    sp_row_ratio *ratio = next_ratio(row);

    *ratio = (sp_row_ratio){.installed = false, .error = NAN, .local = NAN};
    snprintf(ratio->to, sizeof ratio->to, "%s", library);
}

double sp_bench_error(const float *got, const double *want, ptrdiff_t count)
{
    double difference = 0.0, norm = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        difference += (got[i] - want[i]) * (got[i] - want[i]);
        norm += want[i] * want[i];
    }
    const double error = sqrt(difference / norm);

    return isfinite(error) ? error : INFINITY;
}

sp_status sp_bench_check(const char *what, double error, double limit)
{
    sp_status status = SP_OK;

    SP_REQUIRE(error < limit, SP_ERR_NUMERIC, "%s computes nonsense: its relative error is %.2g, not below %.2g", what,
               error, limit);
done:
    return status;
}
