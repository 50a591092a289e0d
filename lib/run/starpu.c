/* SPDX-License-Identifier: BSD-3-Clause */
/* The engine of many processes: StarPU schedules works and moves blocks. Of StarPU a plain subset is used: vectors that
 * it allocates itself, read, written or both; what others have reproduced as going wrong (reductions and partitions
 * across ranks, commuting accesses) is not. */
#include "run/engine.h"

#ifndef SP_HAS_STARPU

const sp_engine_calls *sp_engine_starpu(void)
{
    return NULL;
}

#else

#include <errno.h>
#include <fcntl.h>
#include <omp.h>
#include <sched.h>
#include <starpu_mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

enum {
    ROW = 1 << 20,   /* [byte] of the matrix that stands for a block beyond what MPI counts in an int */
    NAP = 50 * 1000, /* [ns] between looks for messages of other ranks */
    NAME_LENGTH = 512,
};

static const size_t LARGE = (size_t)1 << 30; /* [byte] larger blocks are matrices */
static const double AWAKE = 2e-4;            /* [s] before the first nap */

typedef struct starpu_state {
    bool mpi;              /* started by mpirun, or the like */
    MPI_Comm comm;         /* of our own messages */
    bool spare;            /* there is a processor for the program besides those of workers and messages */
    int threads_of_worker; /* OpenMP threads in a task */
    struct starpu_codelet codelet;
} starpu_state;

static void run_on_cpu(void *buffers[], void *argument);
#ifdef STARPU_USE_CUDA
static void run_on_cuda(void *buffers[], void *argument);
#endif

/* ---- start and end ---- */

/* Can StarPU keep its files in this folder, which may have to be made? It aborts where it cannot. */
static bool can_keep_files(const char *home)
{
    char path[NAME_LENGTH];

    mkdir(home, 0700); /* it may be there */
    return snprintf(path, sizeof path, "%s/.starpu", home) < (int)sizeof path &&
           (mkdir(path, 0700) == 0 || errno == EEXIST) && access(path, R_OK | W_OK | X_OK) == 0;
}

/* StarPU keeps measurements of the machine in its home; ranks of one node would race for them, and not every account
 * has a place to write. */
static sp_status choose_home(void)
{
    const char *chosen = getenv("STARPU_HOME"), *local = getenv("OMPI_COMM_WORLD_LOCAL_RANK");
    const char *const places[] = {getenv("TMPDIR"), "/tmp", "/var/tmp", getenv("HOME")};
    char path[NAME_LENGTH];
    sp_status status = SP_OK;

    SP_REQUIRE(!chosen || can_keep_files(chosen), SP_ERR_USAGE,
               "StarPU needs a folder to write, and STARPU_HOME = %s is none", chosen);
    for (size_t i = 0; i < sizeof places / sizeof *places && !chosen; i++) {
        snprintf(path, sizeof path, "%s/spica-starpu-%ld-%s", places[i] ? places[i] : "/tmp", (long)getuid(),
                 local ? local : "0");
        chosen = can_keep_files(path) ? path : NULL;
    }
    SP_REQUIRE(chosen, SP_ERR_USAGE,
               "StarPU needs a folder to write: neither TMPDIR, /tmp, /var/tmp nor HOME is one; set STARPU_HOME");
    setenv("STARPU_HOME", chosen, 1);
done:
    return status;
}

/* Holds off other runs of the account that start on this machine: they share the folder. -1: nothing is held. */
static int lock_home(void)
{
    char path[NAME_LENGTH];

    snprintf(path, sizeof path, "%s/lock", getenv("STARPU_HOME"));
    const int lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);

    if (lock >= 0) {
        flock(lock, LOCK_EX);
    }
    return lock;
}

/* What StarPU reads from the environment alone; what the user has set stays. */
static sp_status prepare_environment(void)
{
    sp_status status = SP_OK;

    SP_REQUIRE(access("/sys/devices/system/cpu", R_OK) == 0, SP_ERR_USAGE,
               "StarPU cannot start where there is no /sys: use one process, and --engine local");
    SP_TRY(choose_home());
    setenv("STARPU_SILENT", "1", 0);
    setenv("STARPU_WORKERS_GETBIND", "1", 0);
    setenv("STARPU_WORKERS_NOBIND", "1", 0); /* mpirun or the batch system has bound the process */
done:
    return status;
}

/* Processors that this process may use. */
static int processors(void)
{
    cpu_set_t set;

    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* Those of a rank: its share where mpirun has left several ranks of a machine to share all. */
static int processors_of_rank(void)
{
    const char *local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    const int all = processors(), ranks = local ? (int)strtol(local, NULL, 10) : 1;
    const bool bound = all < (int)sysconf(_SC_NPROCESSORS_ONLN);

    return bound || ranks <= 1 ? all : all / ranks > 1 ? all / ranks : 1;
}

/* Sets run->neighbours, and run->per_machine: the same where all machines have equally many, one after the other. */
static void find_neighbours(sp_run *run, MPI_Comm comm)
{
    MPI_Comm machine;
    int first = run->rank, all[2];

    MPI_Comm_split_type(comm, MPI_COMM_TYPE_SHARED, run->rank, MPI_INFO_NULL, &machine);
    MPI_Comm_size(machine, &run->neighbours);
    MPI_Bcast(&first, 1, MPI_INT, 0, machine);
    MPI_Comm_free(&machine);

    const bool in_a_row = first % run->neighbours == 0 && run->rank - first < run->neighbours;
    const int even = in_a_row ? run->neighbours : 0, mine[2] = {even, -even};

    MPI_Allreduce(mine, all, 2, MPI_INT, MPI_MIN, comm);
    run->per_machine = all[0] > 0 && all[0] == -all[1] ? all[0] : 1;
}

static sp_status start_mpi(sp_run *run, starpu_state *self)
{
    int level = 0;
    sp_status status = SP_OK;

    SP_REQUIRE(MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &level) == MPI_SUCCESS, SP_ERR_USAGE,
               "MPI does not start");
    SP_REQUIRE(level == MPI_THREAD_MULTIPLE, SP_ERR_USAGE, "this MPI was built without threads");
    MPI_Comm_dup(MPI_COMM_WORLD, &self->comm);
    MPI_Comm_rank(MPI_COMM_WORLD, &run->rank);
    MPI_Comm_size(MPI_COMM_WORLD, &run->ranks);
    find_neighbours(run, self->comm);
done:
    return status;
}

static sp_status start(sp_run *run)
{
    struct starpu_conf conf;
    starpu_state *self = NULL;
    int outcome, lock;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self, 1));
    self->mpi = sp_run_under_mpirun();
    run->rank = 0;
    run->ranks = run->neighbours = run->per_machine = 1;
    run->threads = run->settings.threads > 0 ? run->settings.threads : processors_of_rank();
    SP_TRY(prepare_environment());
    if (self->mpi) {
        SP_TRY(start_mpi(run, self));
    }
    starpu_conf_init(&conf);
    conf.ncpus = run->threads < STARPU_MAXCPUS ? run->threads : STARPU_MAXCPUS;
    conf.nopencl = 0;
    conf.catch_signals = 0; /* they are the program's */
    conf.sched_policy_name = getenv("STARPU_SCHED") ? NULL : "prio";
    self->spare = processors_of_rank() > run->threads + 1;
    self->threads_of_worker = run->threads / conf.ncpus;
    self->codelet = (struct starpu_codelet){.cpu_funcs = {run_on_cpu},
#ifdef STARPU_USE_CUDA
                                            .cuda_funcs = {run_on_cuda},
#endif
                                            .nbuffers = STARPU_VARIABLE_NBUFFERS,
                                            .name = "work"};
    lock = lock_home();
    outcome = self->mpi ? starpu_mpi_init_conf(NULL, NULL, 0, MPI_COMM_WORLD, &conf) : starpu_init(&conf);
    close(lock);
    SP_REQUIRE(outcome == 0, SP_ERR_USAGE, "StarPU does not start (%s)", strerror(-outcome));
    run->engine = self;
    self = NULL;
done:
    sp_array_free(self);
    return status;
}

static void stop(sp_run *run)
{
    starpu_state *self = run->engine;

    if (self->mpi) {
        starpu_mpi_shutdown();
        MPI_Comm_free(&self->comm);
        MPI_Finalize();
    } else {
        starpu_shutdown();
    }
    sp_array_free(self);
}

/* ---- blocks ---- */

static starpu_data_handle_t handle_of(sp_run *run, sp_block *block)
{
    const starpu_state *self = run->engine;
    starpu_data_handle_t handle = block->handle;

    if (handle) {
        return handle;
    }
    if (block->is_object) {
        starpu_vector_data_register(&handle, STARPU_MAIN_RAM, (uintptr_t)&block->object, 1, sizeof block->object);
    } else if (block->bytes < LARGE) {
        starpu_vector_data_register(&handle, -1, 0, (uint32_t)block->bytes, 1);
    } else {
        starpu_matrix_data_register(&handle, -1, 0, ROW, ROW, (uint32_t)((block->bytes + ROW - 1) / ROW), 1);
    }
    if (self->mpi) {
        starpu_mpi_data_register(handle, (starpu_mpi_tag_t)block->id, block->owner);
    }
    block->handle = handle;
    return handle;
}

static void *pointer_to(void *interface)
{
    const enum starpu_data_interface_id id = *(const enum starpu_data_interface_id *)interface;

    return id == STARPU_MATRIX_INTERFACE_ID ? (void *)STARPU_MATRIX_GET_PTR(interface)
                                            : (void *)STARPU_VECTOR_GET_PTR(interface);
}

static void outdate(sp_run *run, sp_block *block)
{
    starpu_mpi_cache_flush(MPI_COMM_WORLD, handle_of(run, block));
    block->shared = false;
}

static void release(sp_run *run, sp_block *block)
{
    (void)run;
    if (block->handle && block->is_object) {
        starpu_data_unregister(block->handle);
    } else if (block->handle) {
        starpu_data_unregister_submit(block->handle);
    }
    block->handle = NULL;
}

/* Waits for a block that lives here. */
static sp_status copy_out(sp_run *run, sp_block *block, void *out)
{
    const starpu_data_handle_t handle = handle_of(run, block);
    sp_status status = SP_OK;

    SP_REQUIRE(starpu_data_acquire(handle, STARPU_R) == 0, SP_ERR_NUMERIC, "StarPU does not hand out a block of %s",
               block->name);
    memcpy(out, starpu_data_get_local_ptr(handle), block->bytes);
    starpu_data_release(handle);
done:
    return status;
}

/* Until the request is done. Not in MPI_Wait(): it would take a processor from the workers.
 * Where the program has one of its own it stays awake for a while: if all ranks are there it is over soon, and a nap
 * would be the longer part of it. */
static void nap_until(const starpu_state *self, MPI_Request *request)
{
    const struct timespec nap = {.tv_nsec = NAP};
    const double begin = sp_clock_wall();
    int done = 0;

    for (MPI_Test(request, &done, MPI_STATUS_IGNORE); !done; MPI_Test(request, &done, MPI_STATUS_IGNORE)) {
        if (!self->spare || sp_clock_wall() - begin > AWAKE) {
            nanosleep(&nap, NULL);
        }
    }
}

/* Nobody begins a message to all before all are there, since MPI spins in it. */
static void meet(const starpu_state *self)
{
    MPI_Request request;

    MPI_Ibarrier(self->comm, &request);
    nap_until(self, &request);
}

/* From the owner of a block to all ranks. */
static void broadcast(const starpu_state *self, const sp_block *block, char *out)
{
    for (size_t from = 0; from < block->bytes; from += LARGE) {
        const size_t count = block->bytes - from < LARGE ? block->bytes - from : LARGE;

        if (self->spare) {
            MPI_Bcast(out + from, (int)count, MPI_BYTE, block->owner, self->comm);
        } else {
            MPI_Request request;

            MPI_Ibcast(out + from, (int)count, MPI_BYTE, block->owner, self->comm, &request);
            nap_until(self, &request);
            MPI_Wait(&request, MPI_STATUS_IGNORE);
        }
    }
}

/* Where the blocks of each rank stand in a message to all: at[rank] .. at[rank + 1] - 1 [byte]. */
static void lay_out(const sp_run *run, sp_block *const *block, ptrdiff_t blocks, int *at)
{
    memset(at, 0, (size_t)(run->ranks + 1) * sizeof *at);
    for (ptrdiff_t b = 0; b < blocks; b++) {
        at[block[b]->owner + 1] += (int)block[b]->bytes;
    }
    for (int rank = 0; rank < run->ranks; rank++) {
        at[rank + 1] += at[rank];
    }
}

/* Blocks of all ranks to all ranks, in one message.
 *   out  in, out  the blocks one behind the other; those of this rank are there */
static sp_status gather(const sp_run *run, sp_block *const *block, ptrdiff_t blocks, size_t bytes, char *out)
{
    const starpu_state *self = run->engine;
    char *packed = NULL, *from = out;
    int *at = NULL, *count = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(packed, (ptrdiff_t)bytes));
    SP_TRY(SP_ARRAY(at, run->ranks + 1));
    SP_TRY(SP_ARRAY(count, run->ranks));
    lay_out(run, block, blocks, at);
    for (int rank = 0; rank < run->ranks; rank++) {
        count[rank] = at[rank + 1] - at[rank];
    }
    char *mine = packed + at[run->rank];

    for (ptrdiff_t b = 0; b < blocks; from += block[b++]->bytes) {
        if (block[b]->owner == run->rank) {
            memcpy(mine, from, block[b]->bytes);
            mine += block[b]->bytes;
        }
    }
    if (self->spare) {
        MPI_Allgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, packed, count, at, MPI_BYTE, self->comm);
    } else {
        MPI_Request request;

        MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, packed, count, at, MPI_BYTE, self->comm, &request);
        nap_until(self, &request);
    }
    for (ptrdiff_t b = 0; b < blocks; out += block[b++]->bytes) {
        memcpy(out, packed + at[block[b]->owner], block[b]->bytes);
        at[block[b]->owner] += (int)block[b]->bytes;
    }
done:
    sp_array_free(packed);
    sp_array_free(at);
    sp_array_free(count);
    return status;
}

static sp_status fetch(sp_run *run, sp_block *const *block, ptrdiff_t blocks, void *out)
{
    const starpu_state *self = run->engine;
    char *to = out;
    size_t bytes = 0;
    sp_status status = SP_OK;

    for (ptrdiff_t b = 0; b < blocks; b++) {
        if (block[b]->owner == run->rank) {
            SP_TRY(copy_out(run, block[b], to + bytes));
        }
        bytes += block[b]->bytes;
    }
    if (run->ranks > 1 && self->spare) {
        meet(self);
    }
    if (run->ranks > 1 && blocks > 1 && bytes < LARGE) {
        SP_TRY(gather(run, block, blocks, bytes, out));
    } else if (run->ranks > 1) {
        for (ptrdiff_t b = 0; b < blocks; to += block[b++]->bytes) {
            broadcast(self, block[b], to);
        }
    }
done:
    return status;
}

/* ---- works ---- */

static void run_with(sp_work *work, void *buffers[], void (*run)(sp_task *task))
{
    for (int i = 0; i < work->uses; i++) {
        work->data[i] = pointer_to(buffers[i]);
    }
    sp_work_do(work, run, starpu_worker_get_id());
}

static void run_on_cpu(void *buffers[], void *argument)
{
    sp_work *work = argument;
    const starpu_state *self = work->run->engine;

    omp_set_num_threads(self->threads_of_worker);
    run_with(work, buffers, work->type->run);
}

#ifdef STARPU_USE_CUDA
static void run_on_cuda(void *buffers[], void *argument)
{
    sp_work *work = argument;

    run_with(work, buffers, work->type->run_cuda);
}
#endif

/* Objects, and the beginnings of sums, are made by processors. */
static bool is_for_cuda(const sp_work *work)
{
    bool plain = work->type->run_cuda != NULL;

    for (int k = 0; k < SP_TASK_ARGUMENTS; k++) {
        plain = plain && !work->argument[k].is_object;
    }
    for (int i = 0; i < work->uses; i++) {
        plain = plain && !work->use[i].reduction;
    }
    return plain;
}

static void end_of_work(void *argument)
{
    sp_work_free(argument);
}

/* A block on its way here. */
typedef struct journey {
    sp_run *run;
    const char *name;
    int64_t bytes;
    ptrdiff_t index;
    double begin;
} journey;

static void note_arrival(void *context)
{
    journey *j = context;

    sp_run_note(j->run, j->name, (const ptrdiff_t[2]){j->index, 0}, j->bytes, SP_ROW_MESSAGES, j->begin,
                sp_run_time(j->run));
    free(j);
}

/* NULL: it is not worth a note. Region names live as long as their regions: longer than journeys. */
static journey *begin_journey(sp_run *run, const sp_block *block)
{
    journey *j = run->settings.timed && block->owner != run->rank && !block->shared ? malloc(sizeof *j) : NULL;

    if (j) {
        *j = (journey){.run = run,
                       .name = block->name,
                       .bytes = (int64_t)block->bytes,
                       .index = block->index,
                       .begin = sp_run_time(run)};
    }
    return j;
}

/* Blocks that one rank reads and another owns. Both of them call this for each reader, in the same order. */
static void send_what_is_read(sp_run *run, const sp_work *work)
{
    for (int i = 0; i < work->uses; i++) {
        sp_block *block = work->use[i].block;

        if (block && block->owner != work->rank && (block->owner == run->rank || work->rank == run->rank)) {
            journey *j = begin_journey(run, block);

            starpu_mpi_get_data_on_node_detached(MPI_COMM_WORLD, handle_of(run, block), work->rank,
                                                 j ? note_arrival : NULL, j);
            block->shared = true;
        }
    }
}

static void submit_one(sp_run *run, sp_work *work)
{
    starpu_state *self = run->engine;
    struct starpu_task *task = starpu_task_create();

    task->cl = &self->codelet;
    task->where = is_for_cuda(work) ? STARPU_CPU | STARPU_CUDA : STARPU_CPU;
    task->name = work->type->name;
    task->priority = work->type->priority;
    task->nbuffers = work->uses;
    task->cl_arg = work;
    task->callback_func = end_of_work;
    task->callback_arg = work;
    if (work->uses > STARPU_NMAXBUFS) {
        task->dyn_handles = malloc((size_t)work->uses * sizeof *task->dyn_handles);
        task->dyn_modes = malloc((size_t)work->uses * sizeof *task->dyn_modes);
    }
    for (int i = 0; i < work->uses; i++) {
        const sp_privilege privilege = work->use[i].privilege;
        const enum starpu_data_access_mode mode = privilege == SP_READ    ? STARPU_R
                                                  : privilege == SP_WRITE ? STARPU_W
                                                                          : STARPU_RW;

        *(task->dyn_handles ? &task->dyn_handles[i] : &task->handles[i]) = handle_of(run, work->use[i].block);
        *(task->dyn_modes ? &task->dyn_modes[i] : &task->modes[i]) = mode;
    }
    const int outcome = starpu_task_submit(task);

    if (outcome != 0) {
        sp_run_fail(run, SP_ERR_NUMERIC, work->file, work->line, "StarPU does not take task %s (%s)", work->type->name,
                    strerror(-outcome));
    }
}

/* The works of other ranks, to which blocks of this one go. Each rank begins with those of the next one: so no rank is
 * sent to by all at once. Nothing that a batch of works reads is written by another of them. */
static void send_in_turn(sp_run *run, sp_work *const *work, ptrdiff_t count)
{
    ptrdiff_t first = 0;

    while (first < count && work[first]->rank < run->rank) {
        first++;
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        const sp_work *one = work[(first + i) % count];

        if (one->rank != run->rank) {
            send_what_is_read(run, one);
        }
    }
}

static void submit(sp_run *run, sp_work **work, ptrdiff_t count)
{
    if (run->ranks > 1) {
        send_in_turn(run, work, count);
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        if (work[i]->rank != run->rank) {
            sp_work_free(work[i]);
        } else {
            if (run->ranks > 1) {
                send_what_is_read(run, work[i]);
            }
            submit_one(run, work[i]);
        }
    }
}

/* ---- all ranks ---- */

static void wait_for_all(sp_run *run)
{
    const starpu_state *self = run->engine;

    starpu_task_wait_for_all();
    if (self->mpi) {
        starpu_mpi_wait_for_all(MPI_COMM_WORLD);
    }
}

static bool all_equal(sp_run *run, uint64_t mine)
{
    const starpu_state *self = run->engine;
    const uint64_t both[2] = {mine, ~mine};
    uint64_t most[2];
    MPI_Request request;

    MPI_Iallreduce(both, most, 2, MPI_UINT64_T, MPI_MAX, self->comm, &request);
    nap_until(self, &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
    return most[0] == ~most[1]; /* the largest is the smallest */
}

static void exchange(sp_run *run, const void *mine, size_t bytes, void *all)
{
    const starpu_state *self = run->engine;
    MPI_Request request;

    if (!self->mpi) {
        memcpy(all, mine, bytes);
        return;
    }
    MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, self->comm, &request);
    nap_until(self, &request);
    MPI_Wait(&request, MPI_STATUS_IGNORE);
}

static void give_up(sp_run *run)
{
    (void)run;
    MPI_Abort(MPI_COMM_WORLD, EXIT_FAILURE);
}

static const sp_engine_calls calls = {.name = "starpu",
                                      .start = start,
                                      .stop = stop,
                                      .submit = submit,
                                      .outdate = outdate,
                                      .release = release,
                                      .fetch = fetch,
                                      .wait = wait_for_all,
                                      .all_equal = all_equal,
                                      .exchange = exchange,
                                      .give_up = give_up};

const sp_engine_calls *sp_engine_starpu(void)
{
    return &calls;
}

#endif
