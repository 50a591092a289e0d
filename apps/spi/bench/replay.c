/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/replay.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"

/* What Open MPI 4.1 decides by (ompi/mca/coll/tuned/coll_tuned_decision_fixed.c). */
enum { MANY_RANKS = 1024, LARGE_BROADCAST = 262144 /* [byte] */, LARGE_PART = 4096 /* [byte] of one rank */ };

struct sp_replay {
    sp_replay_machine machine;
    double common;    /* [s] to be added to all clocks of programs */
    double *program;  /* [ranks] less `common` */
    double *worker;   /* [ranks][workers] when it is free, like all that follow */
    double *core;     /* [hosts][cores] */
    double *out, *in; /* [ranks] */
    double *last;     /* [ranks] end of its last work or message */
    double busy;
    int64_t messages;
    double went_on; /* clock of this thread, when the program last left the layer */
    double asked;   /* slowest program when it left the layer after waiting */
    double own, sent;
    int steps;
    sp_replay_step step[SP_REPLAY_STEPS];
};

/* What is known of a block, at its block->data. */
typedef struct account {
    double ready;           /* on its owner */
    double used;            /* by the owner's readers and by what is sent */
    double *arrived, *read; /* [ranks] of copies: when there, NAN: not; used until then. NULL: there is none */
} account;

/* ---- clocks ---- */

static double program_of(const sp_replay *self, int rank)
{
    return self->common + self->program[rank];
}

static void wait_until(sp_replay *self, int rank, double time)
{
    self->program[rank] = fmax(self->program[rank], time - self->common);
}

static double slowest(const sp_replay *self)
{
    double latest = self->program[0];

    for (int rank = 1; rank < self->machine.ranks; rank++) {
        latest = fmax(latest, self->program[rank]);
    }
    return self->common + latest;
}

/* The latest of so many, and of `latest`. */
static double latest_of(const double *clock, ptrdiff_t count, double latest)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        latest = fmax(latest, clock[i]);
    }
    return latest;
}

/* The first of so many to be free. */
static double *first_free(double *clock, int count)
{
    double *first = clock;

    for (int i = 1; i < count; i++) {
        first = clock[i] < *first ? &clock[i] : first;
    }
    return first;
}

static void keep_last(sp_replay *self, int rank, double time)
{
    self->last[rank] = fmax(self->last[rank], time);
}

/* ---- blocks ---- */

/* Groups of ranks that have a block each. */
static int groups_of(const sp_run *run, const sp_block *block)
{
    return block->group > 0 ? (run->ranks + block->group - 1) / block->group : 1;
}

/* Where the block lives that this rank uses: block->owner is that of the first group. */
static int owner_for(const sp_run *run, const sp_block *block, int rank)
{
    if (block->group == 0) {
        return block->owner;
    }
    const int first = rank / block->group * block->group, left = run->ranks - first;

    return first + (left < block->group ? block->owner * left / block->group : block->owner);
}

/* Of the block that this rank uses. NULL: no memory, and the run has failed. */
static account *account_of(sp_run *run, sp_block *block, int rank)
{
    if (!block->data) {
        block->data = calloc((size_t)groups_of(run, block), sizeof(account));
    }
    if (!block->data) {
        sp_run_fail(run, SP_ERR_MEMORY, NULL, 0, "no memory for the clocks of a block of %s", block->name);
        return NULL;
    }
    return (account *)block->data + (block->group > 0 ? rank / block->group : 0);
}

static bool make_copies(sp_run *run, const sp_block *block, account *a)
{
    const ptrdiff_t ranks = run->ranks;

    if (!a->arrived && SP_ARRAY(a->arrived, 2 * ranks) != SP_OK) {
        sp_run_fail(run, SP_ERR_MEMORY, NULL, 0, "%s: %s", block->name, sp_error_text());
        return false;
    }
    if (!a->read) {
        a->read = a->arrived + ranks;
        for (ptrdiff_t rank = 0; rank < ranks; rank++) {
            a->arrived[rank] = NAN;
        }
    }
    return true;
}

static void release(sp_run *run, sp_block *block)
{
    account *a = block->data;

    for (int group = 0; a && group < groups_of(run, block); group++) {
        sp_array_free(a[group].arrived);
    }
    free(a);
    block->data = NULL;
}

static void outdate(sp_run *run, sp_block *block)
{
    account *a = block->data;

    for (int group = 0; a && group < groups_of(run, block); group++) {
        for (int rank = 0; a[group].arrived && rank < run->ranks; rank++) {
            a[group].arrived[rank] = NAN;
        }
    }
    block->shared = false;
}

/* ---- messages ---- */

/* One block from rank to rank; when it is there. */
static double send(sp_replay *self, int from, int to, size_t bytes, double ready)
{
    const double begin = fmax(fmax(ready, self->out[from]), self->in[to]);
    const double end = begin + self->machine.gap + (double)bytes / self->machine.bandwidth;

    self->out[from] = self->in[to] = end;
    self->messages++;
    keep_last(self, from, end);
    keep_last(self, to, end + self->machine.latency);
    return end + self->machine.latency;
}

/* When a rank that does not own the block has it. */
static double arrival(sp_run *run, sp_block *block, account *a, int rank)
{
    const int owner = owner_for(run, block, rank);
    sp_replay *self = run->engine;

    if (!make_copies(run, block, a)) {
        return 0.0;
    }
    if (isnan(a->arrived[rank])) {
        self->program[owner] += self->machine.post;
        self->program[rank] += self->machine.post;
        const double posted = fmax(program_of(self, owner), program_of(self, rank));

        a->arrived[rank] = send(self, owner, rank, block->bytes, fmax(fmax(a->ready, posted), a->read[rank]));
        a->used = fmax(a->used, self->out[owner]);
        block->shared = true;
    }
    return a->arrived[rank];
}

/* ---- works ---- */

/* When the blocks of a work allow it to begin. */
static double blocks_ready(sp_run *run, const sp_work *work)
{
    double ready = 0.0;

    for (int i = 0; i < work->uses && !sp_run_failed(run); i++) {
        sp_block *block = work->use[i].block;
        account *a = account_of(run, block, work->rank);

        if (!a) {
            break;
        }
        const bool reads = work->use[i].privilege == SP_READ;

        ready = fmax(ready, owner_for(run, block, work->rank) != work->rank ? arrival(run, block, a, work->rank)
                            : reads                                         ? a->ready
                                                                            : fmax(a->ready, a->used));
    }
    return ready;
}

static void use_blocks(sp_run *run, const sp_work *work, double end)
{
    for (int i = 0; i < work->uses; i++) {
        sp_block *block = work->use[i].block;
        account *a = account_of(run, block, work->rank);

        if (owner_for(run, block, work->rank) == work->rank) {
            a->used = fmax(a->used, end);
            a->ready = work->use[i].privilege == SP_READ ? a->ready : end;
        } else if (a->read) {
            a->read[work->rank] = fmax(a->read[work->rank], end);
        }
    }
}

static void do_work(sp_run *run, const sp_work *work)
{
    sp_replay *self = run->engine;
    const sp_replay_machine *m = &self->machine;
    const int rank = work->rank;
    const double ready = blocks_ready(run, work);

    if (sp_run_failed(run)) {
        return;
    }
    self->common += work->point[1] == 0 ? m->point : 0.0; /* ranks pass rows that are not theirs as a whole */
    self->program[rank] += m->task;
    double *worker = first_free(&self->worker[(ptrdiff_t)rank * m->workers], m->workers);
    double *core = m->cores > 0 ? first_free(&self->core[(ptrdiff_t)(rank / m->hosted) * m->cores], m->cores) : worker;
    const double begin = fmax(fmax(ready, program_of(self, rank)), fmax(*worker, *core));
    const double seconds = m->seconds(work, m->context);

    *worker = *core = begin + seconds;
    self->busy += seconds;
    keep_last(self, rank, begin + seconds);
    use_blocks(run, work, begin + seconds);
}

static void submit(sp_run *run, sp_work **work, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        do_work(run, work[i]);
        sp_work_free(work[i]);
    }
}

/* ---- operations of all ranks ---- */

static double rounds_of(int ranks)
{
    return ceil(log2((double)ranks));
}

/* A message that is looked for now and then: where ranks wait for each other. */
static double slow_hop(const sp_replay_machine *m)
{
    return m->latency + m->collective + m->nap;
}

/* One that is waited for: where all are there. */
static double quick_hop(const sp_replay_machine *m)
{
    return m->latency + m->collective;
}

/* From one to all: a tree; large blocks in parts that all ranks then exchange. */
static double broadcast_seconds(const sp_replay_machine *m, double bytes)
{
    const double all = bytes / m->bandwidth, rounds = rounds_of(m->ranks);

    return m->ranks >= MANY_RANKS && bytes >= LARGE_BROADCAST ? 2.0 * rounds * quick_hop(m) + 2.0 * all
                                                              : rounds * (quick_hop(m) + all);
}

/* From all to all, so many bytes in all: in rounds; large parts from neighbour to neighbour. */
static double gather_seconds(const sp_replay_machine *m, double bytes)
{
    const double hops = bytes / m->ranks < LARGE_PART ? rounds_of(m->ranks) : 0.5 * m->ranks;

    return hops * quick_hop(m) + bytes / m->bandwidth;
}

/* From all to all, each to each. */
static double exchange_seconds(const sp_replay_machine *m, double bytes)
{
    return slow_hop(m) + (m->ranks - 1) * m->collective + bytes / m->bandwidth;
}

/* ---- what the program waits for ---- */

/* Every rank asks for the blocks. */
static sp_status fetch(sp_run *run, sp_block *const *block, ptrdiff_t blocks, void *out)
{
    sp_replay *self = run->engine;
    double ready = slowest(self), bytes = 0.0;

    (void)out;
    for (ptrdiff_t b = 0; b < blocks; b++) {
        const account *a = account_of(run, block[b], block[b]->owner);

        ready = fmax(ready, a ? a->ready : 0.0);
        bytes += (double)block[b]->bytes;
    }
    const double meeting = rounds_of(run->ranks) * slow_hop(&self->machine);
    const double seconds = run->ranks == 1 ? 0.0
                           : blocks == 1   ? meeting + broadcast_seconds(&self->machine, bytes)
                                           : meeting + gather_seconds(&self->machine, bytes);

    for (int rank = 0; rank < run->ranks; rank++) {
        wait_until(self, rank, ready + seconds);
    }
    self->sent += seconds;
    return SP_OK;
}

static void wait_for_all(sp_run *run)
{
    sp_replay *self = run->engine;

    for (int rank = 0; rank < run->ranks; rank++) {
        wait_until(self, rank, self->last[rank]);
    }
}

/* All ranks wait for the last, and then for so long. */
static void meet(sp_run *run, double seconds)
{
    sp_replay *self = run->engine;
    const double together = slowest(self) + seconds;

    for (int rank = 0; rank < run->ranks; rank++) {
        wait_until(self, rank, together);
    }
    self->sent += seconds;
}

static bool all_equal(sp_run *run, uint64_t mine)
{
    (void)mine;
    meet(run, run->ranks == 1 ? 0.0 : 2.0 * rounds_of(run->ranks) * slow_hop(&((sp_replay *)run->engine)->machine));
    return true;
}

static void exchange(sp_run *run, const void *mine, size_t bytes, void *all)
{
    sp_replay *self = run->engine;

    for (int rank = 0; rank < run->ranks; rank++) {
        memcpy((char *)all + (size_t)rank * bytes, mine, bytes);
    }
    meet(run, run->ranks == 1 ? 0.0 : exchange_seconds(&self->machine, (double)bytes * run->ranks));
}

/* The program has worked by itself. */
static void enter(sp_run *run)
{
    sp_replay *self = run->engine;
    const double own = sp_clock_thread() - self->went_on;

    self->common += own;
    self->own += own;
}

static sp_replay_step *step_of(sp_replay *self, const char *name)
{
    for (int i = 0; i < self->steps; i++) {
        if (strncmp(self->step[i].name, name, SP_REPLAY_NAME - 1) == 0) {
            return &self->step[i];
        }
    }
    if (self->steps < SP_REPLAY_STEPS) { /* the last one stands for all others */
        self->step[self->steps] = (sp_replay_step){.seconds = 0.0};
        snprintf(self->step[self->steps++].name, SP_REPLAY_NAME, "%s", name);
    }
    return &self->step[self->steps - 1];
}

static void leave(sp_run *run, const char *what, int row)
{
    sp_replay *self = run->engine;

    if (row == SP_ROW_PROGRAM) {
        sp_replay_step *step = step_of(self, what);
        const double now = slowest(self);

        step->seconds += now - self->asked;
        step->own += self->own;
        step->sent += self->sent;
        self->asked = now;
        self->own = self->sent = 0.0;
    }
    self->went_on = sp_clock_thread();
}

/* ---- the run ---- */

static sp_status start(sp_run *run)
{
    const sp_replay *self = run->engine;

    run->rank = 0;
    run->ranks = self->machine.ranks;
    run->neighbours = run->per_machine = self->machine.hosted;
    run->threads = self->machine.workers;
    run->everywhere = true;
    return SP_OK;
}

static void stop(sp_run *run)
{
    (void)run;
}

static void give_up(sp_run *run)
{
    (void)run; /* there is nobody else: the program is told by the outcome of its calls */
}

static const sp_engine_calls calls = {.name = "replay",
                                      .start = start,
                                      .stop = stop,
                                      .submit = submit,
                                      .outdate = outdate,
                                      .release = release,
                                      .fetch = fetch,
                                      .wait = wait_for_all,
                                      .all_equal = all_equal,
                                      .exchange = exchange,
                                      .give_up = give_up,
                                      .enter = enter,
                                      .leave = leave};

sp_status sp_replay_new(const sp_replay_machine *machine, sp_replay **replay)
{
    const ptrdiff_t ranks = machine->ranks;
    sp_replay *self = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self, 1));
    self->machine = *machine;
    if (self->machine.hosted <= 0) {
        self->machine.hosted = 1;
    }
    const ptrdiff_t hosts = (ranks + self->machine.hosted - 1) / self->machine.hosted;

    SP_TRY(SP_ARRAY(self->program, ranks));
    SP_TRY(SP_ARRAY(self->worker, ranks * machine->workers));
    SP_TRY(SP_ARRAY(self->core, hosts * machine->cores));
    SP_TRY(SP_ARRAY(self->out, ranks));
    SP_TRY(SP_ARRAY(self->in, ranks));
    SP_TRY(SP_ARRAY(self->last, ranks));
    *replay = self;
    self = NULL;
done:
    sp_replay_free(self);
    return status;
}

void sp_replay_free(sp_replay *replay)
{
    if (!replay) {
        return;
    }
    sp_array_free(replay->program);
    sp_array_free(replay->worker);
    sp_array_free(replay->core);
    sp_array_free(replay->out);
    sp_array_free(replay->in);
    sp_array_free(replay->last);
    sp_array_free(replay);
}

sp_status sp_replay_run(sp_replay *replay, sp_run **run)
{
    const sp_run_settings settings = {.threads = replay->machine.workers};
    sp_status status = SP_OK;

    SP_TRY(sp_run_new_on(&calls, replay, &settings, run));
    replay->went_on = sp_clock_thread();
done:
    return status;
}

double sp_replay_time(const sp_replay *replay)
{
    return slowest(replay);
}

double sp_replay_end(const sp_replay *replay)
{
    return latest_of(replay->last, replay->machine.ranks, 0.0);
}

double sp_replay_busy(const sp_replay *replay)
{
    return replay->busy;
}

int64_t sp_replay_messages(const sp_replay *replay)
{
    return replay->messages;
}

const sp_replay_step *sp_replay_steps(const sp_replay *replay, int *count)
{
    *count = replay->steps;
    return replay->step;
}

void sp_replay_forget(sp_replay *replay)
{
    const ptrdiff_t ranks = replay->machine.ranks;
    const double own = sp_clock_thread(), now = latest_of(replay->last, ranks, slowest(replay));

    for (int rank = 0; rank < ranks; rank++) {
        wait_until(replay, rank, now);
    }
    replay->asked = now;
    replay->own = replay->sent = replay->busy = 0.0;
    replay->messages = 0;
    replay->steps = 0;
    replay->went_on = own;
}
