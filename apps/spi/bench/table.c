/* SPDX-License-Identifier: BSD-3-Clause */
/* What was measured, as lines for people and as JSON. */
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "bench/rows.h"

enum { CELL = 64 };

/* ---- for people ---- */

static void format_seconds(double seconds, char text[CELL])
{
    if (seconds <= 0.0) {
        text[0] = '\0';
    } else if (seconds < 1e-3) {
        snprintf(text, CELL, "%.3g us", 1e6 * seconds);
    } else if (seconds < 1.0) {
        snprintf(text, CELL, "%.3g ms", 1e3 * seconds);
    } else {
        snprintf(text, CELL, "%.3g s", seconds);
    }
}

/* Half the distance of the quartiles, relative [%]. */
static double spread_of(const sp_quartiles *q)
{
    return q->median > 0.0 ? 50.0 * (q->high - q->low) / q->median : 0.0;
}

static void append_local(sp_text *text, double local)
{
    if (isfinite(local)) {
        sp_text_append(text, ", local %.1e", local);
    }
}

static void append_ratio(sp_text *text, const sp_row_ratio *ratio)
{
    if (!ratio->installed) {
        sp_text_append(text, "%12s %s: not installed\n", "", ratio->to);
        return;
    }
    sp_text_append(text, "%12s %7.2f (%.2f to %.2f) times as fast as %s", "", ratio->times.median, ratio->times.low,
                   ratio->times.high, ratio->to);
    if (isfinite(ratio->error)) {
        sp_text_append(text, " (error %.1e", ratio->error);
        append_local(text, ratio->local);
        sp_text_append(text, ")");
    }
    sp_text_append(text, "\n");
}

static void append_floor(sp_text *text, const sp_row *row)
{
    char floor[CELL];

    if (row->floor > 0.0) {
        format_seconds(row->floor, floor);
        sp_text_append(text, "%12s %.2f x the floor of %s\n", "", row->seconds.median / row->floor, floor);
    }
}

static void append_row(sp_text *text, const sp_row *row)
{
    char time[CELL], rate[CELL] = "", share[CELL] = "", error[CELL] = "", spread[CELL] = "";

    format_seconds(row->seconds.median, time);
    if (row->seconds.median > 0.0) {
        snprintf(spread, sizeof spread, "%.1f %%", spread_of(&row->seconds));
    }
    if (row->rate > 0.0) {
        snprintf(rate, sizeof rate, "%.3g %s", row->rate, row->unit);
    }
    if (row->share > 0.0) {
        snprintf(share, sizeof share, "%.0f %% of %s", 100.0 * row->share, row->limit);
    }
    if (isfinite(row->error)) {
        snprintf(error, sizeof error, "%.1e", row->error);
    }
    sp_text_append(text, "%-7s %-57s %-7s %3d %9s %7s %14s  %-20s %8s\n", row->part, row->name,
                   row->kernels ? row->kernels : "", row->threads, time, spread, rate, share, error);
    append_floor(text, row);
    if (row->note[0]) {
        sp_text_append(text, "%12s %s", "", row->note);
        append_local(text, row->local);
        sp_text_append(text, "\n");
    }
    for (int i = 0; i < row->ratios; i++) {
        append_ratio(text, &row->ratio[i]);
    }
}

static void append_gpu(sp_text *text, const sp_gpu *gpu)
{
    if (gpu->name[0]) {
        sp_text_append(text, "GPU       %s: copies %.0f GB/s, %.1f TFLOP/s fp32, %.0f TFLOP/s bf16 products\n",
                       gpu->name, 1e-9 * gpu->rate[SP_GPU_COPY], 1e-12 * gpu->rate[SP_GPU_MULTIPLY_ADD],
                       1e-12 * gpu->rate[SP_GPU_PRODUCT]);
    }
}

void sp_bench_table(const sp_bench *bench, sp_text *text)
{
    const sp_machine *machine = &bench->machine;

    sp_text_append(text, "machine   %s, %d core(s), %d thread(s) used, %s; %s\n", machine->processor, machine->cores,
                   machine->threads, sp_isa_name(machine->isa), machine->compiler);
    sp_text_append(text, "one core  %.2f GHz, %.0f GFLOP/s fp32; all threads %.0f GFLOP/s\n", 1e-9 * machine->clock,
                   1e-9 * machine->peak[0], 1e-9 * machine->peak[1]);
    append_gpu(text, &bench->gpu);
    sp_text_append(text, "medians; spread: half the distance of the quartiles; error: relative, root mean square, "
                         "local: within shells of |k|\n\n");
    sp_text_append(text, "%-7s %-57s %-7s %3s %9s %7s %14s  %-20s %8s\n", "part", "what", "kernels", "thr", "time",
                   "spread", "rate", "of the limit", "error");
    for (ptrdiff_t i = 0; i < bench->rows; i++) {
        append_row(text, &bench->row[i]);
    }
    if (!bench->complete) {
        sp_text_append(text, "\nnot complete\n");
    }
}

/* ---- for programs ---- */

static void write_quartiles(sp_json *json, const char *key, const sp_quartiles *q)
{
    const double value[3] = {q->low, q->median, q->high};

    sp_json_reals(json, key, value, 3);
}

static void write_ratio(sp_json *json, const sp_row_ratio *ratio)
{
    sp_json_object(json, NULL);
    sp_json_text(json, "to", ratio->to);
    sp_json_flag(json, "installed", ratio->installed);
    sp_json_real(json, "times_as_fast", ratio->installed ? ratio->times.median : NAN);
    if (ratio->installed) {
        write_quartiles(json, "quartiles", &ratio->times);
    }
    sp_json_real(json, "error", ratio->error);
    sp_json_real(json, "local_error", ratio->local);
    sp_json_end(json);
}

static void write_row(sp_json *json, const sp_row *row)
{
    sp_json_object(json, NULL);
    sp_json_text(json, "part", row->part);
    sp_json_text(json, "name", row->name);
    sp_json_text(json, "kernels", row->kernels);
    sp_json_integer(json, "threads", row->threads);
    sp_json_real(json, "seconds", row->seconds.median > 0.0 ? row->seconds.median : NAN);
    write_quartiles(json, "seconds_quartiles", &row->seconds);
    sp_json_real(json, "rate", row->rate > 0.0 ? row->rate : NAN);
    sp_json_text(json, "unit", row->unit);
    sp_json_real(json, "share_of_limit", row->share > 0.0 ? row->share : NAN);
    sp_json_text(json, "limit", row->limit);
    sp_json_real(json, "floor_seconds", row->floor > 0.0 ? row->floor : NAN);
    sp_json_real(json, "error", row->error);
    sp_json_real(json, "local_error", row->local);
    sp_json_real(json, "peak_bytes", row->bytes > 0.0 ? row->bytes : NAN);
    sp_json_text(json, "note", row->note);
    sp_json_array(json, "compared");
    for (int i = 0; i < row->ratios; i++) {
        write_ratio(json, &row->ratio[i]);
    }
    sp_json_end(json);
    sp_json_end(json);
}

static void write_gpu(sp_json *json, const sp_gpu *gpu)
{
    sp_json_object(json, "gpu");
    sp_json_text(json, "name", gpu->name);
    sp_json_real(json, "copy_bytes_per_second", gpu->rate[SP_GPU_COPY]);
    sp_json_real(json, "flops_fp32", gpu->rate[SP_GPU_MULTIPLY_ADD]);
    sp_json_real(json, "flops_bf16_product", gpu->rate[SP_GPU_PRODUCT]);
    sp_json_end(json);
}

void sp_bench_json(const sp_bench *bench, sp_text *text)
{
    const sp_machine *machine = &bench->machine;
    sp_json json = sp_json_start(text);

    sp_json_object(&json, NULL);
    sp_json_text(&json, "version", SPICA_VERSION);
    sp_json_flag(&json, "complete", bench->complete);
    sp_json_flag(&json, "quick", bench->settings.quick);
    sp_json_object(&json, "machine");
    sp_json_text(&json, "processor", machine->processor);
    sp_json_text(&json, "compiler", machine->compiler);
    sp_json_integer(&json, "cores", machine->cores);
    sp_json_integer(&json, "threads", machine->threads);
    sp_json_text(&json, "kernels", sp_isa_name(machine->isa));
    sp_json_real(&json, "clock_hertz", machine->clock);
    sp_json_real(&json, "peak_flops_one_thread", machine->peak[0]);
    sp_json_real(&json, "peak_flops_all_threads", machine->peak[1]);
    sp_json_end(&json);
    if (bench->gpu.name[0]) {
        write_gpu(&json, &bench->gpu);
    }
    sp_json_array(&json, "rows");
    for (ptrdiff_t i = 0; i < bench->rows; i++) {
        write_row(&json, &bench->row[i]);
    }
    sp_json_end(&json);
    sp_json_end(&json);
}
