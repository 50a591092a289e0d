/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* run/engine.h -- private to run/: what the two engines are asked for, and what they are given.
 *
 * run.c knows of regions, privileges, points and reductions. An engine knows of blocks and of works: one call of a
 * function on blocks that it reads or writes. Every rank walks through all works of a launch, but hands its engine only
 * those that concern it: works that it does, and works of others that read blocks which live here. An engine that only
 * imagines its ranks gets the works of all of them (sp_run.everywhere). */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "run/run.h"

typedef struct sp_block sp_block;
typedef struct sp_work sp_work;
typedef struct sp_engine_calls sp_engine_calls;

struct sp_space {
    sp_run *run;
    ptrdiff_t count, per_block, blocks;
    ptrdiff_t *first; /* [blocks + 1] index of the first element */
    int *owner;       /* [blocks] rank */
    sp_space *next;
};

struct sp_region {
    sp_space *space;
    const char *name;
    size_t element;
    void (*release)(void *object); /* of objects */
    bool is_objects;
    int group;        /* ranks that share it; 0: all */
    sp_block **block; /* [space->blocks] */
    int64_t id;
    sp_region *next;
};

struct sp_block {
    const char *name; /* of the region, or of what it is a contribution to */
    ptrdiff_t index;
    size_t bytes;
    int64_t id;   /* the same on every rank */
    int owner;    /* in this rank's group */
    int group;    /* of its region */
    bool written; /* by what was launched so far */
    bool shared;  /* there are copies elsewhere (on the owner), or there is one here (elsewhere) */
    bool is_object;
    void *object; /* of sp_objects_new(): stays here */
    void *data;   /* of the local engine */
    void *handle; /* of the StarPU engine */
};

typedef struct sp_use {
    sp_block *block; /* not to be looked at once the work runs: it may be gone by then. NULL: not on this rank */
    size_t bytes;
    sp_privilege privilege;        /* SP_READ, SP_WRITE, SP_READ_WRITE */
    const sp_reduction *reduction; /* SP_WRITE: begin with an empty sum; NULL: begin with whatever is there */
} sp_use;

/* One call. Made by run.c, freed by the engine when it is done: sp_work_free(). */
struct sp_work {
    sp_run *run;
    const sp_task_type *type;
    const char *file;
    int line;
    ptrdiff_t point[2];
    ptrdiff_t chain, number; /* number: for the engine */
    int rank;                /* that does it */
    size_t scratch, scratch_of_thread;
    struct {
        int first, uses; /* its blocks in use[] */
        sp_privilege privilege;
        bool is_whole, is_object;
        size_t element;  /* [byte] */
        ptrdiff_t index; /* of its first element in the space */
    } argument[SP_TASK_ARGUMENTS];
    const sp_reduction *reduction; /* of works that combine */
    unsigned char values[SP_TASK_VALUES] __attribute__((aligned(16)));
    int uses;
    sp_use *use; /* [uses] */
    void **data; /* [uses] where the blocks are while it runs: the engine fills this in */
};

struct sp_task {
    const sp_work *work;
    void *scratch;
};

/* Work space of a worker, as large as its works have wanted so far. */
typedef struct sp_scratch {
    void *room;
    size_t bytes;
} sp_scratch;

struct sp_engine_calls {
    const char *name;

    /* Sets run->rank, run->ranks, run->neighbours, run->per_machine, run->threads, run->engine, which is what
     * sp_run_new_on() was given. */
    sp_status (*start)(sp_run *run);
    void (*stop)(sp_run *run);

    /* Works in their order. Works of different chains touch no block that one of them writes. Takes them over. */
    void (*submit)(sp_run *run, sp_work **work, ptrdiff_t count);

    /* A block is about to be written: copies elsewhere are out of date. */
    void (*outdate)(sp_run *run, sp_block *block);

    /* The storage of a block goes when the works submitted so far are done. */
    void (*release)(sp_run *run, sp_block *block);

    /* Waits for blocks and copies them, one behind the other, on every rank. */
    sp_status (*fetch)(sp_run *run, sp_block *const *block, ptrdiff_t blocks, void *out);

    /* Waits for all works and messages of this rank. */
    void (*wait)(sp_run *run);

    /* Have all ranks called this with the same number? Waits for every rank. */
    bool (*all_equal)(sp_run *run, uint64_t mine);

    /* all[r] = mine of rank r: waits for every rank. */
    void (*exchange)(sp_run *run, const void *mine, size_t bytes, void *all);

    /* Ends all ranks now, where there are several. */
    void (*give_up)(sp_run *run);

    /* The program comes to a launch, or waits, and goes on with its own work. NULL: this engine has no use for it.
     *   row  SP_ROW_LAUNCHES, SP_ROW_PROGRAM */
    void (*enter)(sp_run *run);
    void (*leave)(sp_run *run, const char *what, int row);
};

extern const sp_engine_calls sp_engine_local;
extern const sp_engine_calls *sp_engine_starpu(void); /* NULL: not built in */

/* sp_run_new() with an engine that is none of run.h's; settings->engine is not looked at.
 *   engine  for calls->start(), as run->engine; borrowed */
sp_status sp_run_new_on(const sp_engine_calls *calls, void *engine, const sp_run_settings *settings, sp_run **run);

enum { SP_RUN_REMEMBERED = 64 /* launches, to find where ranks part */, SP_RUN_REASON = 1024 };

/* A launch as ranks compare it. */
typedef struct sp_footprint {
    uint64_t hash; /* of it and all before */
    int64_t number;
    int line;
    char file[44], what[64]; /* task, or "get", "fence", "end" */
} sp_footprint;

/* When a task ran, the program waited or launched, or a block was on its way. */
enum { SP_ROW_PROGRAM = -1, SP_ROW_MESSAGES = -2, SP_ROW_LAUNCHES = -3, SP_EVENT_NAME = 40 };
typedef struct sp_event {
    char name[SP_EVENT_NAME];
    ptrdiff_t point[2];
    int64_t bytes;     /* of a message; of all blocks of a task */
    int worker;        /* or SP_ROW_ */
    double begin, end; /* [s] since the run began */
} sp_event;

/* What a worker is doing, for the watch over endless tasks. */
typedef struct sp_duty {
    const sp_work *_Atomic work; /* NULL: nothing */
    _Atomic double since;        /* [s] */
} sp_duty;

enum { SP_RUN_WORKERS = 1024, SP_RUN_WORKS = 4096 /* handed to an engine at a time, at most */ };

struct sp_run {
    sp_run_settings settings;
    const sp_engine_calls *calls;
    void *engine;
    int rank, ranks, neighbours, per_machine, threads;
    bool everywhere; /* the works of all ranks are handed to this engine */
    double began;    /* clock */
    sp_space *spaces;
    sp_region *regions;
    int64_t ids; /* given out: to blocks, regions */

    sp_footprint past[SP_RUN_REMEMBERED]; /* a ring; the last one at number % SP_RUN_REMEMBERED */
    int64_t launches;

    pthread_mutex_t lock; /* of what follows */
    atomic_int failed;    /* sp_status */
    char reason[SP_RUN_REASON], place[128];
    sp_event *event;
    ptrdiff_t events, room;

    sp_duty duty[SP_RUN_WORKERS];
    sp_scratch scratch[SP_RUN_WORKERS];
    pthread_t watch;
    pthread_cond_t ended;
    bool watching, ending;
    double asked;        /* [s] since then this process is asked to end; 0: it is not */
    atomic_bool advised; /* the advice was given, or the program speaks for itself */
    sp_log *own_log;     /* NULL: that of the settings */
};

/* ---- works ---- */

/* A work with so many uses, all of it zero but for these; NULL: no memory, and the run has failed. */
sp_work *sp_work_new(sp_run *run, const sp_task_type *type, const char *file, int line, int uses);
void sp_work_free(sp_work *work);

/* Runs the work's function, the one for processors or that for CUDA, on its blocks, unless the run has failed.
 * `worker`: 0 .. SP_RUN_WORKERS - 1, one work at a time each. */
void sp_work_do(sp_work *work, void (*run)(sp_task *task), int worker);

/* Keeps an event of a run that keeps times. */
void sp_run_note(sp_run *run, const char *name, const ptrdiff_t point[2], int64_t bytes, int worker, double begin,
                 double end);
double sp_run_time(const sp_run *run); /* [s] since it began */

/* Events of all ranks so far, on rank 0: free with sp_array_free(); none elsewhere. All ranks call this together, when
 * they have waited for their works. Fails with SP_ERR_MEMORY. */
sp_status sp_run_events(sp_run *run, sp_event **event, ptrdiff_t *events);

/* The program comes into the layer; the time. It goes on: that is noted in a row of the trace, under a name. */
double sp_run_enter(sp_run *run);
void sp_run_leave(sp_run *run, const char *what, int row, double since);

/* Is a work or block of this rank a matter of this process? */
static inline bool sp_run_is_here(const sp_run *run, int rank)
{
    return run->everywhere || rank == run->rank;
}

/* ---- regions ---- */

/* Where a block lives; in this group of ranks, where each has its own. */
int sp_region_owner(const sp_region *region, ptrdiff_t block, int group);

/* ---- blocks ---- */

/* A block; NULL: no memory, and the run has failed. `id`: from sp_run_next_id(). */
sp_block *sp_block_new(sp_run *run, const char *name, ptrdiff_t index, size_t bytes, int64_t id, int owner);
void sp_block_free(sp_run *run, sp_block *block); /* when the works submitted so far are done with it; NULL is fine */
int64_t sp_run_next_id(sp_run *run);

/* ---- failure and agreement ---- */

/* Records the first failure; ends all ranks where there are several. `file` may be NULL. */
void sp_run_fail(sp_run *run, sp_status status, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
bool sp_run_failed(const sp_run *run);

/* Another call that all ranks must make alike; `hash` stands for what it is called with. */
void sp_run_remember(sp_run *run, const char *file, int line, const char *what, uint64_t hash);
