/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/progress.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { LABEL_LENGTH = 64, BAR_WIDTH = 24, LINE_LENGTH = 200, TIME_LENGTH = 32 };
static const double redraw_interval = 0.1; /* [s] */
static const double first_line = 1.0;      /* [s] work shorter than this says nothing in a file */
static const double line_interval = 10.0;  /* [s] between lines that stay, e.g. in a batch job's output */

struct sp_progress {
    sp_log *log; /* borrowed */
    char label[LABEL_LENGTH];
    ptrdiff_t total;
    bool terminal;
    double start; /* [s] */
    atomic_ptrdiff_t done;
    _Atomic double next; /* [s] when to report again */
};

sp_status sp_progress_new(sp_log *log, const char *label, ptrdiff_t total, sp_progress **progress)
{
    sp_status status = SP_OK;
    sp_progress *self = calloc(1, sizeof *self);

    SP_REQUIRE(self, SP_ERR_MEMORY, "no memory for the progress of %s", label);
    self->log = log;
    snprintf(self->label, sizeof self->label, "%s", label);
    self->total = total;
    self->start = sp_clock_wall();
    self->terminal = sp_log_is_terminal(log);
    atomic_init(&self->done, 0);
    atomic_init(&self->next, self->start + (self->terminal ? redraw_interval : first_line));
    *progress = self;
done:
    return status;
}

void sp_progress_free(sp_progress *progress)
{
    if (progress) {
        sp_log_set_footer(progress->log, "");
        free(progress);
    }
}

/* 75 -> "1 min 15 s"; two units at most. */
static void format_time(double seconds, char text[TIME_LENGTH])
{
    const long s = seconds < 1e9 ? (long)(seconds + 0.5) : 1000000000L;

    if (s < 60) {
        snprintf(text, TIME_LENGTH, "%ld s", s);
    } else if (s < 3600) {
        snprintf(text, TIME_LENGTH, "%ld min %ld s", s / 60, s % 60);
    } else {
        snprintf(text, TIME_LENGTH, "%ld h %ld min", s / 3600, s / 60 % 60);
    }
}

/* " [####....]", on a terminal only. */
static void format_bar(const sp_progress *progress, double fraction, char bar[BAR_WIDTH + 4])
{
    bar[0] = '\0';
    if (progress->terminal) {
        memcpy(bar, " [", 2);
        for (int i = 0; i < BAR_WIDTH; i++) {
            bar[2 + i] = i < (int)(fraction * BAR_WIDTH) ? '#' : '.';
        }
        memcpy(bar + 2 + BAR_WIDTH, "]", 2);
    }
}

static void format_line(const sp_progress *progress, ptrdiff_t done, double now, char line[LINE_LENGTH])
{
    const double spent = now - progress->start;
    const double fraction = done < progress->total ? (double)done / (double)progress->total : 1.0;
    char time[TIME_LENGTH], bar[BAR_WIDTH + 4];

    if (progress->total <= 0) {
        format_time(spent, time);
        snprintf(line, LINE_LENGTH, "%s: %td done in %s", progress->label, done, time);
        return;
    }
    format_time(spent * (1.0 / fraction - 1.0), time);
    format_bar(progress, fraction, bar);
    snprintf(line, LINE_LENGTH, "%s:%s %.0f %%, %td of %td, %s left", progress->label, bar, 100.0 * fraction, done,
             progress->total, time);
}

static void report_when_due(sp_progress *progress, ptrdiff_t done)
{
    const double now = sp_clock_wall();
    const double interval = progress->terminal ? redraw_interval : line_interval;
    double next = atomic_load(&progress->next);
    char line[LINE_LENGTH];

    /* of the threads that find the time due, the one that moves it on reports */
    if (now < next || done <= 0 || !atomic_compare_exchange_strong(&progress->next, &next, now + interval)) {
        return;
    }
    format_line(progress, done, now, line);
    if (progress->terminal) {
        sp_log_set_footer(progress->log, line);
    } else {
        sp_log_info(progress->log, "%s", line);
    }
}

void sp_progress_add(sp_progress *progress, ptrdiff_t amount)
{
    if (progress) {
        report_when_due(progress, atomic_fetch_add(&progress->done, amount) + amount);
    }
}
