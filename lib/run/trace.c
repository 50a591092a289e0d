/* SPDX-License-Identifier: BSD-3-Clause */
#include "run/trace.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/files.h"
#include "base/json.h"
#include "base/memory.h"
#include "run/engine.h"

enum {
    CHUNK = 256, /* events of each rank that are exchanged at a time */
    MOST_KINDS = 64,
};

/* Events of all ranks, on rank 0; empty elsewhere. */
typedef struct history {
    sp_event *event; /* [events] */
    int *rank;       /* [events] */
    ptrdiff_t events, room;
    int workers;    /* of all ranks */
    double seconds; /* that the run has taken */
} history;

static void history_clear(history *h)
{
    sp_array_free(h->event);
    sp_array_free(h->rank);
}

/* What a rank tells of itself, then of its events, a chunk at a time. */
typedef struct summary {
    ptrdiff_t events;
    int workers;
} summary;

static sp_status gather(sp_run *run, history *h)
{
    summary mine = {.events = run->events, .workers = run->threads}, *all = NULL;
    sp_event *some = NULL, sent[CHUNK];
    ptrdiff_t most = 0;
    sp_status status = SP_OK;

    *h = (history){.seconds = sp_clock_wall() - run->began};
    SP_TRY(SP_ARRAY(all, run->ranks));
    SP_TRY(SP_ARRAY(some, (ptrdiff_t)run->ranks * CHUNK));
    run->calls->exchange(run, &mine, sizeof mine, all);
    for (int rank = 0; rank < run->ranks; rank++) {
        h->room += all[rank].events;
        h->workers += all[rank].workers;
        most = all[rank].events > most ? all[rank].events : most;
    }
    SP_TRY(SP_ARRAY(h->event, run->rank == 0 ? h->room : 0));
    SP_TRY(SP_ARRAY(h->rank, run->rank == 0 ? h->room : 0));
    for (ptrdiff_t first = 0; first < most; first += CHUNK) {
        memset(sent, 0, sizeof sent);
        for (ptrdiff_t i = first; i < first + CHUNK && i < run->events; i++) {
            sent[i - first] = run->event[i];
        }
        run->calls->exchange(run, sent, sizeof sent, some);
        for (ptrdiff_t i = 0; run->rank == 0 && i < (ptrdiff_t)run->ranks * CHUNK; i++) {
            if (first + i % CHUNK < all[i / CHUNK].events) {
                h->rank[h->events] = (int)(i / CHUNK);
                h->event[h->events++] = some[i];
            }
        }
    }
done:
    sp_array_free(all);
    sp_array_free(some);
    if (status != SP_OK) {
        history_clear(h);
    }
    return status;
}

sp_status sp_run_events(sp_run *run, sp_event **event, ptrdiff_t *events)
{
    history h;
    sp_status status = SP_OK;

    SP_TRY(gather(run, &h));
    *event = h.event;
    *events = h.events;
    sp_array_free(h.rank);
done:
    return status;
}

/* ---- the timeline ---- */

static const char *row_name(int worker, sp_text *text)
{
    sp_text_clear(text);
    if (worker == SP_ROW_PROGRAM) {
        sp_text_append(text, "program");
    } else if (worker == SP_ROW_LAUNCHES) {
        sp_text_append(text, "launches");
    } else if (worker == SP_ROW_MESSAGES) {
        sp_text_append(text, "blocks that arrive");
    } else {
        sp_text_append(text, "worker %d", worker);
    }
    return sp_text_string(text);
}

/* Names of the rows that have events. */
static void write_rows(sp_json *json, const history *h, sp_text *name)
{
    for (ptrdiff_t i = 0; i < h->events; i++) {
        bool known = false;

        for (ptrdiff_t k = 0; k < i && !known; k++) {
            known = h->rank[k] == h->rank[i] && h->event[k].worker == h->event[i].worker;
        }
        if (known) {
            continue;
        }
        sp_json_object(json, NULL);
        sp_json_text(json, "name", "thread_name");
        sp_json_text(json, "ph", "M");
        sp_json_integer(json, "pid", h->rank[i]);
        sp_json_integer(json, "tid", h->event[i].worker);
        sp_json_object(json, "args");
        sp_json_text(json, "name", row_name(h->event[i].worker, name));
        sp_json_end(json);
        sp_json_end(json);
    }
}

static void write_event(sp_json *json, const sp_event *event, int rank)
{
    sp_json_object(json, NULL);
    sp_json_text(json, "name", event->name);
    sp_json_text(json, "ph", "X");
    sp_json_integer(json, "pid", rank);
    sp_json_integer(json, "tid", event->worker);
    sp_json_real(json, "ts", 1e6 * event->begin); /* [us] */
    sp_json_real(json, "dur", 1e6 * (event->end - event->begin));
    sp_json_object(json, "args");
    if (event->worker >= 0) {
        sp_json_integer(json, "i", event->point[0]);
        sp_json_integer(json, "j", event->point[1]);
    }
    if (event->bytes > 0) {
        sp_json_integer(json, "bytes", event->bytes);
    }
    sp_json_end(json);
    sp_json_end(json);
}

sp_status sp_run_write_trace(sp_run *run, const char *path)
{
    sp_text text = {0}, name = {0};
    sp_json json = sp_json_start(&text);
    history h = {0};
    sp_status status = SP_OK;

    SP_TRY(sp_run_fence(run));
    SP_TRY(gather(run, &h));
    if (run->rank == 0) {
        sp_json_object(&json, NULL);
        sp_json_text(&json, "displayTimeUnit", "ms");
        sp_json_array(&json, "traceEvents");
        write_rows(&json, &h, &name);
        for (ptrdiff_t i = 0; i < h.events; i++) {
            write_event(&json, &h.event[i], h.rank[i]);
        }
        sp_json_end(&json);
        sp_json_end(&json);
        SP_TRY(sp_text_check(&text));
        SP_TRY(sp_file_write_atomic(path, sp_text_string(&text), strlen(sp_text_string(&text))));
    }
done:
    history_clear(&h);
    sp_text_clear(&text);
    sp_text_clear(&name);
    return status;
}

/* ---- the table ---- */

typedef struct kind {
    const char *name;
    ptrdiff_t count;
    double seconds, longest, bytes;
} kind;

/* Rows of workers and of the program apart: the same name never stands for both. */
static kind *kind_of(kind *kinds, int *count, const char *name)
{
    for (int k = 0; k < *count; k++) {
        if (strcmp(kinds[k].name, name) == 0) {
            return &kinds[k];
        }
    }
    if (*count == MOST_KINDS) { /* the last one stands for all others */
        kinds[MOST_KINDS - 1].name = "others";
        return &kinds[MOST_KINDS - 1];
    }
    kinds[*count] = (kind){.name = name};
    return &kinds[(*count)++];
}

/* Where a task begins or ends, or a program comes into the layer or goes on. */
typedef struct turn {
    double at;
    int tasks, programs; /* one more, or one less */
} turn;

static int by_moment(const void *a, const void *b)
{
    const turn *x = a, *y = b;

    return (x->at > y->at) - (x->at < y->at);
}

/* Time in which no task ran on any rank, while the programs of all ranks were in the layer [s]. */
static sp_status add_up_layer(const history *h, int ranks, double *seconds)
{
    int tasks = 0, programs = 0;
    ptrdiff_t turns = 0;
    turn *all = NULL;
    sp_status status = SP_OK;

    *seconds = 0.0;
    SP_TRY(SP_ARRAY(all, 2 * h->events));
    for (ptrdiff_t i = 0; i < h->events; i++) {
        const sp_event *event = &h->event[i];
        const int task = event->worker >= 0;

        if (event->worker != SP_ROW_MESSAGES) {
            all[turns++] = (turn){event->begin, task, !task};
            all[turns++] = (turn){event->end, -task, -!task};
        }
    }
    qsort(all, (size_t)turns, sizeof *all, by_moment);
    for (ptrdiff_t i = 0; i + 1 < turns; i++) {
        tasks += all[i].tasks;
        programs += all[i].programs;
        *seconds += tasks == 0 && programs == ranks ? all[i + 1].at - all[i].at : 0.0;
    }
done:
    sp_array_free(all);
    return status;
}

static int by_time(const void *a, const void *b)
{
    const kind *x = a, *y = b;

    return (x->seconds < y->seconds) - (x->seconds > y->seconds);
}

static void append_kinds(const history *h, double layer, sp_text *table)
{
    kind kinds[MOST_KINDS], moved = {0}, waited = {0}, launched = {0};
    const double all = h->seconds * h->workers;
    double busy = 0.0;
    int count = 0;

    for (ptrdiff_t i = 0; i < h->events; i++) {
        const sp_event *event = &h->event[i];
        const double seconds = event->end - event->begin;
        kind *k = event->worker == SP_ROW_MESSAGES   ? &moved
                  : event->worker == SP_ROW_PROGRAM  ? &waited
                  : event->worker == SP_ROW_LAUNCHES ? &launched
                                                     : kind_of(kinds, &count, event->name);

        k->count++;
        k->seconds += seconds;
        k->bytes += (double)event->bytes;
        k->longest = seconds > k->longest ? seconds : k->longest;
        busy += event->worker >= 0 ? seconds : 0.0;
    }
    qsort(kinds, (size_t)count, sizeof *kinds, by_time);
    sp_text_append(table, "%-16s %8s %10s %7s %12s\n", "task", "count", "time [s]", "share", "longest [ms]");
    for (int k = 0; k < count; k++) {
        sp_text_append(table, "%-16s %8td %10.3f %6.1f%% %12.2f\n", kinds[k].name, kinds[k].count, kinds[k].seconds,
                       100.0 * kinds[k].seconds / all, 1e3 * kinds[k].longest);
    }
    sp_text_append(table, "%-16s %8s %10.3f %6.1f%%\n", "idle", "", all - busy, 100.0 * (all - busy) / all);
    sp_text_append(table, "the program waited %.3f s in %td places; %td blocks moved, %.1f MB\n", waited.seconds,
                   waited.count, moved.count, moved.bytes / 1e6);
    sp_text_append(table,
                   "%td launches took %.3f s; the layer: %.3f s, %.2f %% of the time, in which nothing else ran\n",
                   launched.count, launched.seconds, layer, 100.0 * layer / h->seconds);
}

sp_status sp_run_table(sp_run *run, sp_text *table)
{
    history h = {0};
    double layer = 0.0;
    sp_status status = SP_OK;

    SP_TRY(sp_run_fence(run));
    SP_TRY(gather(run, &h));
    if (run->rank == 0) {
        SP_TRY(add_up_layer(&h, run->ranks, &layer));
        append_kinds(&h, layer, table);
        SP_TRY(sp_text_check(table));
    }
done:
    history_clear(&h);
    return status;
}
