/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/rows.h -- private to bench/: the lines of the table, and what every part of the benchmark is given. */
#include <stdbool.h>
#include <stddef.h>

#include "base/progress.h"
#include "bench/bench.h"
#include "bench/gpu.h"
#include "bench/machine.h"
#include "bench/race.h"

enum { SP_ROW_TEXT = 96, SP_ROW_RATIOS = 8, SP_ROWS = 256 };

/* How many times as fast as something else. */
typedef struct sp_row_ratio {
    char to[SP_ROW_TEXT]; /* "FINUFFT f32, tolerance 1e-3, sigma 2" */
    bool installed;       /* else nothing was measured */
    sp_quartiles times;
    double error, local; /* of the other, like those of the row; NAN: not measured */
} sp_row_ratio;

typedef struct sp_row {
    const char *part;
    char name[SP_ROW_TEXT];
    const char *kernels; /* instruction set; NULL: the program's choice */
    int threads;
    sp_quartiles seconds; /* of one call; median 0: no time */
    double rate;          /* 0: none */
    const char *unit;     /* of the rate */
    double share;         /* of the limit, 0 .. 1; 0: none known */
    const char *limit;    /* which: "FMA peak" */
    double floor;         /* [s] of a call on a GPU, see bench/gpu.h; 0: none known */
    double error;         /* relative, root mean square; NAN: not measured */
    double local;         /* error within shells of |k|, in the median one; NAN: not measured */
    double bytes;         /* [byte] most memory at once; 0: not measured */
    char note[SP_ROW_TEXT];
    int ratios;
    sp_row_ratio ratio[SP_ROW_RATIOS];
} sp_row;

struct sp_bench {
    sp_bench_settings settings;
    sp_log *log;
    sp_progress *progress; /* of the part that runs */
    sp_race_rules rules;
    sp_machine machine;
    sp_gpu gpu;    /* where the parts of a GPU are wanted */
    bool complete; /* ran to its end */
    bool speaks;   /* else another rank does */
    ptrdiff_t rows;
    sp_row row[SP_ROWS];
};

/* sp_race_run() by the rules of this run, and a word to the user. Fails with SP_ERR_INTERRUPT. */
sp_status sp_bench_race(sp_bench *bench, const sp_contender *contender, int count, sp_race *race);

/* A new row, called by a name (printf format); it stays where it is. At most SP_ROWS (assert). */
sp_row *sp_row_add(sp_bench *bench, const char *part, int threads, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The row's time is the contender's; its rate is amount per time, `amount` per call. */
void sp_row_take_time(sp_row *row, const sp_race *race, int contender);
void sp_row_take_rate(sp_row *row, double amount, const char *unit);                /* amount / time */
void sp_row_take_operations(sp_row *row, const sp_bench *bench, double operations); /* GFLOP/s, share of FMA peak */

/* One more comparison, called by a name (printf format): `slow` with `fast`, the row's own. */
sp_row_ratio *sp_row_compare(sp_row *row, const sp_race *race, int slow, int fast, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void sp_row_not_installed(sp_row *row, const char *library);

/* |got - want| / |want|, over count numbers; NAN counts as infinite. Cannot fail. */
double sp_bench_error(const float *got, const double *want, ptrdiff_t count);

/* Refuses to time nonsense. Fails with SP_ERR_NUMERIC if error is not below the limit. */
sp_status sp_bench_check(const char *what, double error, double limit);
