/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine of one process: works run where they are submitted, those that are apart side by side. */
#include <omp.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "run/engine.h"

/* Large blocks come and go with every launch that adds up: the memory of the last ones is kept, since getting it from
 * the system, page by page, takes as long as adding up. */
enum { SPARES = 8, LARGE = 1 << 20 /* [byte] */ };

typedef struct local_state {
    void *spare[SPARES];
    int spares;
    size_t bytes; /* of each of them */
} local_state;

static void drop_spares(local_state *self)
{
    while (self->spares > 0) {
        sp_array_free(self->spare[--self->spares]);
    }
}

static sp_status start(sp_run *run)
{
    local_state *self = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self, 1));
    run->engine = self;
    run->rank = 0;
    run->ranks = run->neighbours = run->per_machine = 1;
    run->threads = run->settings.threads > 0 ? run->settings.threads : omp_get_max_threads();
done:
    return status;
}

static void stop(sp_run *run)
{
    drop_spares(run->engine);
    sp_array_free(run->engine);
}

/* Memory for a block, whatever is in it; NULL: there is none. */
static void *get_memory(local_state *self, const sp_block *block)
{
    void *data = NULL;

#pragma omp critical(sp_local_spares)
    {
        if (self->spares > 0 && self->bytes == block->bytes) {
            data = self->spare[--self->spares];
        }
    }
    return data || sp_array_new((ptrdiff_t)block->bytes, 1, block->name, &data) == SP_OK ? data : NULL;
}

/* Blocks are released by the program, while nothing runs. */
static void put_memory(local_state *self, void *data, size_t bytes)
{
    if (bytes != self->bytes) {
        drop_spares(self);
        self->bytes = bytes;
    }
    if (self->spares < SPARES) {
        self->spare[self->spares++] = data;
    } else {
        sp_array_free(data);
    }
}

/* Where a block is; blocks take memory when they are first written. NULL: there is none. */
static void *place_of(sp_run *run, sp_block *block)
{
    if (block->is_object) {
        return &block->object;
    }
    if (!block->data) {
        block->data = get_memory(run->engine, block);
    }
    if (!block->data) {
        sp_run_fail(run, SP_ERR_MEMORY, NULL, 0, "%s", sp_error_text());
    }
    return block->data;
}

static void run_work(sp_work *work, int worker)
{
    bool ready = true;

    for (int i = 0; i < work->uses && ready; i++) {
        work->data[i] = place_of(work->run, work->use[i].block);
        ready = work->data[i] != NULL;
    }
    if (ready) {
        sp_work_do(work, work->type->run, worker);
    }
    sp_work_free(work);
}

static int compare_chains(const void *a, const void *b)
{
    const sp_work *const *x = a, *const *y = b;

    if ((*x)->chain != (*y)->chain) {
        return (*x)->chain < (*y)->chain ? -1 : 1;
    }
    return (*x)->number < (*y)->number ? -1 : 1;
}

/* Puts chains one behind the other, each in its order. first[c] = where chain c begins; returns their number. */
static ptrdiff_t sort_chains(sp_work **work, ptrdiff_t count, ptrdiff_t *first)
{
    ptrdiff_t chains = 0;
    bool sorted = true;

    for (ptrdiff_t i = 0; i < count; i++) {
        work[i]->number = i;
        sorted = sorted && (i == 0 || work[i - 1]->chain <= work[i]->chain);
    }
    if (!sorted) {
        qsort(work, (size_t)count, sizeof *work, compare_chains);
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        if (i == 0 || work[i]->chain != work[i - 1]->chain) {
            first[chains++] = i;
        }
    }
    first[chains] = count;
    return chains;
}

/* Chain c is work first[c] .. first[c + 1] - 1. */
static void run_chains(int threads, sp_work **work, const ptrdiff_t *first, ptrdiff_t chains)
{
#pragma omp parallel for schedule(dynamic, 1) num_threads(threads)
    for (ptrdiff_t c = 0; c < chains; c++) {
        for (ptrdiff_t i = first[c]; i < first[c + 1]; i++) {
            run_work(work[i], omp_get_thread_num());
        }
    }
}

/* Each with all threads; the program's own loops keep theirs. */
static void run_in_order(int threads, sp_work **work, ptrdiff_t count)
{
    const int before = omp_get_max_threads();

    omp_set_num_threads(threads);
    for (ptrdiff_t i = 0; i < count; i++) {
        run_work(work[i], 0);
    }
    omp_set_num_threads(before);
}

/* Each thread works on chains of its own; but where works have a use for all threads, and there are few of them that do
 * not come out even, all threads work on one after another. */
static void submit(sp_run *run, sp_work **work, ptrdiff_t count)
{
    const int threads = run->threads;
    ptrdiff_t first[SP_RUN_WORKS + 1], chains = 1;

    if (threads > 1 && count > 1) {
        chains = sort_chains(work, count, first);
    }
    if (chains > 1 && (!work[0]->type->threaded || chains % threads == 0 || chains >= 4 * threads)) {
        run_chains(threads, work, first, chains);
    } else {
        run_in_order(threads, work, count);
    }
}

static void outdate(sp_run *run, sp_block *block)
{
    (void)run, (void)block;
}

static void release(sp_run *run, sp_block *block)
{
    if (block->data && block->bytes >= LARGE) {
        put_memory(run->engine, block->data, block->bytes);
    } else {
        sp_array_free(block->data);
    }
    block->data = NULL;
}

static sp_status fetch(sp_run *run, sp_block *const *block, ptrdiff_t blocks, void *out)
{
    char *to = out;

    (void)run;
    for (ptrdiff_t b = 0; b < blocks; b++) {
        memcpy(to, block[b]->data, block[b]->bytes);
        to += block[b]->bytes;
    }
    return SP_OK;
}

static void wait_for_all(sp_run *run)
{
    (void)run;
}

static bool all_equal(sp_run *run, uint64_t mine)
{
    (void)run, (void)mine;
    return true;
}

static void exchange(sp_run *run, const void *mine, size_t bytes, void *all)
{
    (void)run;
    memcpy(all, mine, bytes);
}

const sp_engine_calls sp_engine_local = {.name = "local",
                                         .start = start,
                                         .stop = stop,
                                         .submit = submit,
                                         .outdate = outdate,
                                         .release = release,
                                         .fetch = fetch,
                                         .wait = wait_for_all,
                                         .all_equal = all_equal,
                                         .exchange = exchange};
