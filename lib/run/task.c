/* SPDX-License-Identifier: BSD-3-Clause */
/* What a task sees of itself, and how it is run. */
#include <math.h>
#include <omp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "run/engine.h"

/* ---- inside a task ---- */

/* A mistake in the task, named as such. */
static void refuse(const sp_task *task, const char *call, int k, const char *why)
{
    const sp_work *work = task->work;

    sp_run_fail(work->run, SP_ERR_USAGE, work->file, work->line,
                "task %s, point (%td, %td): %s of argument %d, which is %s", work->type->name, work->point[0],
                work->point[1], call, k, why);
}

static bool is_there(const sp_task *task, int k, const char *call)
{
    const bool found = k >= 0 && k < SP_TASK_ARGUMENTS && task->work->argument[k].privilege != SP_NONE;

    if (!found) {
        refuse(task, call, k, "not there");
    }
    return found;
}

/* What is asked for must fit the privilege. */
static bool is_granted(const sp_task *task, int k, bool to_write, const char *call)
{
    const sp_privilege privilege = task->work->argument[k].privilege;
    const bool fits = privilege == SP_READ_WRITE || (privilege == SP_READ) != to_write;

    if (!fits) {
        refuse(task, call, k, to_write ? "only read" : "only written");
    }
    return fits;
}

/* Where argument k is, one block of numbers; NULL: refused. */
static void *numbers(const sp_task *task, int k, bool to_write, const char *call)
{
    const sp_work *work = task->work;

    if (!is_there(task, k, call)) {
        return NULL;
    }
    if (work->argument[k].is_object) {
        refuse(task, call, k, "an object");
        return NULL;
    }
    if (work->argument[k].uses > 1) {
        refuse(task, call, k, "a whole region of several blocks");
        return NULL;
    }
    return is_granted(task, k, to_write, call) ? work->data[work->argument[k].first] : NULL;
}

const void *sp_task_in(const sp_task *task, int k)
{
    return numbers(task, k, false, "sp_task_in()");
}

void *sp_task_out(const sp_task *task, int k)
{
    return numbers(task, k, true, "sp_task_out()");
}

void **sp_task_object(const sp_task *task, int k)
{
    static const char call[] = "sp_task_object()";
    const sp_work *work = task->work;

    if (!is_there(task, k, call)) {
        return NULL;
    }
    if (!work->argument[k].is_object) {
        refuse(task, call, k, "no object");
        return NULL;
    }
    return work->data[work->argument[k].first];
}

ptrdiff_t sp_task_count(const sp_task *task, int k)
{
    const sp_work *work = task->work;
    size_t bytes = 0;

    if (!is_there(task, k, "sp_task_count()")) {
        return 0;
    }
    for (int i = 0; i < work->argument[k].uses; i++) {
        bytes += work->use[work->argument[k].first + i].bytes;
    }
    return (ptrdiff_t)(bytes / work->argument[k].element);
}

ptrdiff_t sp_task_first(const sp_task *task, int k)
{
    return is_there(task, k, "sp_task_first()") ? task->work->argument[k].index : 0;
}

const void *sp_task_part(const sp_task *task, int k, ptrdiff_t b, ptrdiff_t *count)
{
    static const char call[] = "sp_task_part()";
    const sp_work *work = task->work;

    *count = 0;
    if (!is_there(task, k, call)) {
        return NULL;
    }
    if (!work->argument[k].is_whole) {
        refuse(task, call, k, "not a whole region");
        return NULL;
    }
    if (b < 0 || b >= work->argument[k].uses) {
        sp_run_fail(work->run, SP_ERR_USAGE, work->file, work->line,
                    "task %s, point (%td, %td): sp_task_part() of argument %d asks for block %td of %d",
                    work->type->name, work->point[0], work->point[1], k, b, work->argument[k].uses);
        return NULL;
    }
    *count = (ptrdiff_t)(work->use[work->argument[k].first + b].bytes / work->argument[k].element);
    return work->data[work->argument[k].first + b];
}

ptrdiff_t sp_task_point(const sp_task *task, int axis)
{
    return task->work->point[axis];
}

const void *sp_task_values(const sp_task *task)
{
    return task->work->values;
}

void *sp_task_scratch(const sp_task *task)
{
    return task->scratch;
}

void sp_task_fail(sp_task *task, sp_status status, const char *format, ...)
{
    const sp_work *work = task->work;
    char reason[SP_RUN_REASON / 2];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    sp_run_fail(work->run, status, work->file, work->line, "task %s, point (%td, %td): %s", work->type->name,
                work->point[0], work->point[1], reason);
}

void sp_task_pass_on(sp_task *task, sp_status status)
{
    sp_run_fail(task->work->run, status, NULL, 0, "%s", sp_error_text());
}

ptrdiff_t sp_members(const int32_t *label, ptrdiff_t count, int32_t wanted, ptrdiff_t *member)
{
    ptrdiff_t found = 0;

    for (ptrdiff_t i = 0; i < count; i++) {
        if (label[i] == wanted) {
            member[found++] = i;
        }
    }
    return found;
}

/* ---- reductions ---- */

enum { ONE_THREAD = 1 << 16 }; /* [byte] threads take longer to meet than one takes to add this much */

static void begin_sum(void *block, size_t bytes)
{
    memset(block, 0, bytes);
}

static void add_floats(void *into, const void *from, size_t bytes)
{
    float *a = into;
    const float *b = from;

#pragma omp parallel for schedule(static) if (bytes > ONE_THREAD)
    for (size_t i = 0; i < bytes / sizeof *a; i++) {
        a[i] += b[i];
    }
}

static void add_doubles(void *into, const void *from, size_t bytes)
{
    double *a = into;
    const double *b = from;

#pragma omp parallel for schedule(static) if (bytes > ONE_THREAD)
    for (size_t i = 0; i < bytes / sizeof *a; i++) {
        a[i] += b[i];
    }
}

static void begin_least(void *block, size_t bytes)
{
    sp_least_element *a = block;

    for (size_t i = 0; i < bytes / sizeof *a; i++) {
        a[i] = (sp_least_element){INFINITY, -1};
    }
}

static void take_least(void *into, const void *from, size_t bytes)
{
    sp_least_element *a = into;
    const sp_least_element *b = from;

    for (size_t i = 0; i < bytes / sizeof *a; i++) {
        a[i] = b[i].key < a[i].key ? b[i] : a[i];
    }
}

const sp_reduction sp_sum_float = {begin_sum, add_floats}, sp_sum_double = {begin_sum, add_doubles},
                   sp_least = {begin_least, take_least};

/* ---- running ---- */

/* That a parallel loop in it may have: one where tasks run side by side on the threads of the local engine. */
static size_t threads_of_task(void)
{
    return omp_get_active_level() < omp_get_max_active_levels() ? (size_t)omp_get_max_threads() : 1;
}

/* NULL, and the run has failed, if there is no memory. */
static void *scratch_for(const sp_work *work, sp_scratch *scratch)
{
    const size_t bytes = work->scratch + work->scratch_of_thread * threads_of_task();

    if (bytes > scratch->bytes) {
        sp_array_free(scratch->room);
        *scratch = (sp_scratch){0};
        if (sp_array_new((ptrdiff_t)bytes, 1, "work space", &scratch->room) != SP_OK) {
            sp_run_fail(work->run, SP_ERR_MEMORY, work->file, work->line, "task %s: %s", work->type->name,
                        sp_error_text());
            return NULL;
        }
        scratch->bytes = bytes;
    }
    return scratch->room;
}

void sp_work_do(sp_work *work, void (*run_task)(sp_task *task), int worker)
{
    sp_run *run = work->run;
    sp_task task = {.work = work, .scratch = scratch_for(work, &run->scratch[worker % SP_RUN_WORKERS])};
    sp_duty *duty = &run->duty[worker % SP_RUN_WORKERS];

    if (sp_run_failed(run)) {
        return;
    }
    const double begin = sp_run_time(run);
    int64_t bytes = 0;

    atomic_store(&duty->since, begin);
    atomic_store(&duty->work, work);
    for (int i = 0; i < work->uses; i++) {
        bytes += (int64_t)work->use[i].bytes;
        if (work->use[i].reduction) {
            work->use[i].reduction->begin(work->data[i], work->use[i].bytes);
        }
    }
    run_task(&task);
    atomic_store(&duty->work, NULL);
    sp_run_note(run, work->type->name, work->point, bytes, worker, begin, sp_run_time(run));
}

sp_work *sp_work_new(sp_run *run, const sp_task_type *type, const char *file, int line, int uses)
{
    sp_work *work = calloc(1, sizeof *work + (size_t)uses * (sizeof *work->use + sizeof *work->data));

    if (!work) {
        sp_run_fail(run, SP_ERR_MEMORY, file, line, "no memory for a task");
        return NULL;
    }
    work->run = run;
    work->type = type;
    work->file = file;
    work->line = line;
    work->uses = uses;
    work->use = (sp_use *)(work + 1);
    work->data = (void **)(work->use + uses);
    return work;
}

void sp_work_free(sp_work *work)
{
    free(work);
}
