/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* run/run.h -- a program as tasks on blocks of arrays: written once, run on one core or on many machines.
 *
 * Data lie in regions: arrays over a space, which is cut into blocks. A task is a function with a privilege on each of
 * its regions. A launch starts it once for every point of one or two ranges, each point with its own blocks. The
 * program reads as if every launch ran to its end, point after point, before the next; the engine finds out from the
 * privileges what may run at the same time and where, and moves blocks to where they are needed. Results have the same
 * bits on any engine and any number of threads and ranks.
 *
 *     static void scale(sp_task *t) { ... sp_task_in(t, 0), sp_task_out(t, 1), sp_task_count(t, 0) ... }
 *     static const sp_task_type scale_task = {.name = "scale", .run = scale, .privilege = {SP_READ, SP_WRITE}};
 *
 *     SP_TRY(sp_space_new(run, 100000, 256, &images));
 *     SP_TRY(sp_region_new(images, "sums", sizeof(float), &sums));
 *     sp_launch(run, .type = &scale_task, .points = {sp_space_blocks(images)},
 *               .argument = {sp_by_i(counts), sp_by_i(sums)}, SP_VALUES(factor));
 *     SP_TRY(sp_run_get(run, sums, 0, out));
 *
 * Every rank runs the same program and makes the same calls in the same order: what a program decides by must be the
 * same on every rank, as is everything that sp_run_get() returns; neither the rank nor the time is.
 *
 * Misuse (a read before any write, two points that write one block, a launch that differs between ranks ...) and failed
 * tasks are named by file, line, task, point and rank. With one rank, the calls that return a status then return
 * SP_ERR_USAGE or what the task said, and nothing is run any more; with several, all of them end at once. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"

typedef struct sp_run sp_run;
typedef struct sp_space sp_space;
typedef struct sp_region sp_region;
typedef struct sp_task sp_task;

/* ---- the run ---- */

typedef enum sp_engine {
    SP_ENGINE_LOCAL,  /* one process: launch after launch, the points of one side by side on its threads */
    SP_ENGINE_STARPU, /* StarPU: as many processes as mpirun started */
} sp_engine;

typedef struct sp_run_settings {
    sp_engine engine;
    int threads;     /* of this process; 0: all that it may use */
    double patience; /* [s] a task that runs longer ends the run, by name; 0: for ever */
    bool timed;      /* keep when each task ran (run/trace.h) */
    sp_log *log;     /* why all ranks end, or an endless task; NULL: this goes to stderr */
    /* Borrowed; what to do after such an end, said behind its reason, and by rank 0 where mpirun ends the ranks, for
     * the death of one of them or because it was asked to; NULL: nothing */
    const char *advice;
} sp_run_settings;

/* Starts an engine. Free with sp_run_free(), which waits for what was launched and frees all spaces and regions.
 * Fails with SP_ERR_USAGE (an engine that this program was built without, or that cannot start here; the local one as
 * one of several processes; the reason says why), SP_ERR_MEMORY. */
sp_status sp_run_new(const sp_run_settings *settings, sp_run **run);
void sp_run_free(sp_run *run); /* NULL is fine */

bool sp_run_engine_is_there(sp_engine engine); /* was this program built with it? */
bool sp_run_under_mpirun(void);                /* is this process one of several, or could it be? */

int sp_run_rank(const sp_run *run);
int sp_run_ranks(const sp_run *run);
int sp_run_neighbours(const sp_run *run); /* ranks on this machine, this one included */
int sp_run_threads(const sp_run *run);    /* of this process */
int sp_run_per_machine(
    const sp_run *run); /* ranks on each machine, if all have equally many and one follows another; else 1 */

/* Waits for everything launched so far, on all ranks. Fails as said above. */
#define sp_run_fence(run) sp_run_fence_at((run), __FILE__, __LINE__)
sp_status sp_run_fence_at(sp_run *run, const char *file, int line);

/* What a rank does by itself, such as writing a file, may fail on it alone. Returns `mine` where that is not SP_OK;
 * else the status of the first rank that failed, which that rank alone knows the reason of. */
#define sp_run_agree(run, mine) sp_run_agree_at((run), __FILE__, __LINE__, (mine))
sp_status sp_run_agree_at(sp_run *run, const char *file, int line, sp_status mine);

/* ---- spaces and regions ---- */

/* Indices 0 .. count - 1, in blocks of `per_block`, the last one perhaps smaller. Block b of B lives on rank b ranks /
 * B. Owned by the run. Fails with SP_ERR_USAGE (count or per_block not positive), SP_ERR_MEMORY. */
sp_status sp_space_new(sp_run *run, ptrdiff_t count, ptrdiff_t per_block, sp_space **space);
ptrdiff_t sp_space_count(const sp_space *space);
ptrdiff_t sp_space_blocks(const sp_space *space);

/* More indices, in new blocks behind the present ones, in every region of the space; what is there stays. */
sp_status sp_space_grow(sp_space *space, ptrdiff_t more);

/* An array with one element of so many bytes for each index. Its blocks take memory when they are first written, each
 * on the rank where it lives and, for a while, where it is read. `name` is for messages, and borrowed. Owned by the
 * run. Fails with SP_ERR_MEMORY. */
sp_status sp_region_new(sp_space *space, const char *name, size_t element, sp_region **region);

/* The same, but each group of so many ranks, 0 .. ranks - 1 and so on, has the region for itself: a task that writes it
 * runs once in every group, and its blocks never leave that. 1: every rank makes its own; as many as there are: as
 * above. What a region holds must not depend on how it is grouped, and sp_run_get() gives none of it. Fails with
 * SP_ERR_USAGE (ranks not positive), SP_ERR_MEMORY. */
sp_status sp_region_new_grouped(sp_space *space, const char *name, size_t element, int ranks, sp_region **region);

/* One pointer for each block, to whatever a task makes there: it never leaves its rank, and only tasks that run there
 * may ask for it. `release` gets the pointers in the end, those that are not NULL. Fails with SP_ERR_MEMORY. */
sp_status sp_objects_new(sp_space *space, const char *name, void (*release)(void *object), sp_region **region);

/* Frees a region when the tasks launched so far are done with it. NULL is fine. */
void sp_region_free(sp_region *region);

/* ---- tasks ---- */

enum { SP_TASK_ARGUMENTS = 12, SP_TASK_VALUES = 256 /* [byte] */ };

typedef enum sp_privilege {
    SP_NONE,       /* end of the list */
    SP_READ,       /* what was written before */
    SP_WRITE,      /* all of it, whatever was there; each block by one point only */
    SP_READ_WRITE, /* point after point where several have the same block */
    SP_REDUCE,     /* adds to a sum (or what else) that begins empty: sp_reduction */
} sp_privilege;

/* How the contributions of all points with the same block become one. Each point begins with an empty sum, and these
 * are combined in a tree that depends on their number alone; with `lanes` in the launch, so many sums are begun for
 * each block, and consecutive points add to the same one. */
typedef struct sp_reduction {
    void (*begin)(void *block, size_t bytes); /* the empty sum */
    void (*combine)(void *into, const void *from, size_t bytes);
} sp_reduction;

extern const sp_reduction sp_sum_float, sp_sum_double;
extern const sp_reduction sp_least; /* sp_least_element: the smaller key; of equal ones that of the lower point */

typedef struct sp_least_element {
    float key;       /* begins with INFINITY */
    int32_t payload; /* begins with -1 */
} sp_least_element;

typedef struct sp_task_type {
    const char *name;
    void (*run)(sp_task *task);
    void (*run_cuda)(sp_task *task); /* the same with blocks in the memory of a CUDA device, done when it returns; or
                                        NULL. Not taken for tasks with objects, nor where a sum begins */
    sp_privilege privilege[SP_TASK_ARGUMENTS];
    int priority;  /* higher ones first, where there is a choice */
    bool threaded; /* it makes use of several threads by itself (OpenMP) */
} sp_task_type;

/* Which blocks of a region a point gets. */
typedef enum sp_selector { SP_BY_I, SP_BY_J, SP_AT, SP_WHOLE } sp_selector;

typedef struct sp_argument {
    sp_region *region;
    sp_selector selector;
    ptrdiff_t block;               /* for SP_AT; for SP_BY_I and SP_BY_J that of point 0 */
    const sp_reduction *reduction; /* for SP_REDUCE */
} sp_argument;

static inline sp_argument sp_by_i(sp_region *region) /* block i at point (i, j) */
{
    return (sp_argument){region, SP_BY_I, 0, NULL};
}

static inline sp_argument sp_by_j(sp_region *region) /* block j */
{
    return (sp_argument){region, SP_BY_J, 0, NULL};
}

static inline sp_argument sp_from(sp_argument argument, ptrdiff_t block) /* block + i, block + j */
{
    argument.block = block;
    return argument;
}

static inline sp_argument sp_at(sp_region *region, ptrdiff_t block) /* this block for all */
{
    return (sp_argument){region, SP_AT, block, NULL};
}

static inline sp_argument sp_whole(sp_region *region) /* all blocks, to read */
{
    return (sp_argument){region, SP_WHOLE, 0, NULL};
}

static inline sp_argument sp_into(sp_argument argument, const sp_reduction *reduction)
{
    argument.reduction = reduction;
    return argument;
}

typedef struct sp_launch_description {
    const sp_task_type *type;
    ptrdiff_t points[2]; /* ranges of i and j; 0 is taken as 1 */
    sp_argument argument[SP_TASK_ARGUMENTS];
    const void *values; /* copied; the same for all points */
    size_t values_bytes;
    size_t scratch;           /* [byte] work space for each task: sp_task_scratch() */
    size_t scratch_of_thread; /* [byte] as much more for each thread that its parallel loops may have */
    ptrdiff_t lanes;          /* sums that are begun for each reduced block; 0: one for each point */
} sp_launch_description;

/* sp_launch(run, .type = &type, .points = {n}, .argument = {...}, SP_VALUES(v)): see above. */
#define sp_launch(run, ...) sp_run_launch((run), __FILE__, __LINE__, &(sp_launch_description){__VA_ARGS__})
#define SP_VALUES(v) .values = &(v), .values_bytes = sizeof(v)
void sp_run_launch(sp_run *run, const char *file, int line, const sp_launch_description *launch);

/* Every element of every block = *element, which has SP_TASK_VALUES bytes at most. Not for objects. */
#define sp_fill(run, region, element) sp_run_fill((run), __FILE__, __LINE__, (region), (element))
void sp_run_fill(sp_run *run, const char *file, int line, sp_region *region, const void *element);

/* Waits for one block, or for all blocks in their order, and copies it to `out` on every rank. Fails as said above. */
#define sp_run_get(run, region, block, out) sp_run_get_at((run), __FILE__, __LINE__, (region), (block), 1, (out))
#define sp_run_gather(run, region, out) sp_run_get_at((run), __FILE__, __LINE__, (region), 0, 0, (out))
sp_status sp_run_get_at(sp_run *run, const char *file, int line, sp_region *region, ptrdiff_t first, ptrdiff_t blocks,
                        void *out);

/* ---- inside a task: argument k, 0 based ----
 *
 * What does not fit the privilege or the region ends the run, by name, and gives NULL or 0. */

const void *sp_task_in(const sp_task *task, int k);  /* SP_READ, SP_READ_WRITE; of SP_WHOLE: a single block */
void *sp_task_out(const sp_task *task, int k);       /* SP_WRITE, SP_READ_WRITE, SP_REDUCE */
void **sp_task_object(const sp_task *task, int k);   /* of sp_objects_new(); SP_READ: not to be replaced */
ptrdiff_t sp_task_count(const sp_task *task, int k); /* elements in the block; of SP_WHOLE: in the region */
ptrdiff_t sp_task_first(const sp_task *task, int k); /* index of its first element */

/* Block b of an SP_WHOLE argument, and how many elements it has. */
const void *sp_task_part(const sp_task *task, int k, ptrdiff_t b, ptrdiff_t *count);

ptrdiff_t sp_task_point(const sp_task *task, int axis); /* 0: i, 1: j */
const void *sp_task_values(const sp_task *task);
void *sp_task_scratch(const sp_task *task); /* as large as the launch says, aligned, whatever is in it */

/* The task cannot do its work: the run ends with this status and reason (printf format). */
void sp_task_fail(sp_task *task, sp_status status, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* The same with the reason of this thread's last failure, for people who know nothing of tasks. */
void sp_task_pass_on(sp_task *task, sp_status status);

/* The members of a block that carry a label: colours, without moving any data.
 *   label   in   [count]
 *   member  out  [count] their places, 0 based, ascending
 * Returns how many there are. */
ptrdiff_t sp_members(const int32_t *label, ptrdiff_t count, int32_t wanted, ptrdiff_t *member);
