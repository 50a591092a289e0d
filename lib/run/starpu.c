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

#include "base/memory.h"

enum {
    ROW = 1 << 20,   /* [byte] of the matrix that stands for a block beyond what MPI counts in an int */
    NAP = 50 * 1000, /* [ns] between looks for messages of other ranks */
    NAME_LENGTH = 512,
};

static const size_t LARGE = (size_t)1 << 30; /* [byte] larger blocks are matrices */

typedef struct starpu_state {
    bool mpi;              /* started by mpirun, or the like */
    MPI_Comm comm;         /* of our own messages */
    int threads_of_worker; /* OpenMP threads in a task */
    struct starpu_codelet codelet;
} starpu_state;

static void run_on_cpu(void *buffers[], void *argument);

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

static int ranks_of_machine(void)
{
    MPI_Comm machine;
    int ranks = 1;

    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    MPI_Comm_size(machine, &ranks);
    MPI_Comm_free(&machine);
    return ranks;
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
    run->neighbours = ranks_of_machine();
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
    run->ranks = run->neighbours = 1;
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
    self->threads_of_worker = run->threads / conf.ncpus;
    self->codelet =
        (struct starpu_codelet){.cpu_funcs = {run_on_cpu}, .nbuffers = STARPU_VARIABLE_NBUFFERS, .name = "work"};
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

static sp_status fetch(sp_run *run, sp_block *block, void *out)
{
    const starpu_state *self = run->engine;
    const starpu_data_handle_t handle = handle_of(run, block);
    sp_status status = SP_OK;

    if (self->mpi && run->ranks > 1) {
        starpu_mpi_get_data_on_all_nodes_detached(MPI_COMM_WORLD, handle);
        block->shared = true;
    }
    SP_REQUIRE(starpu_data_acquire(handle, STARPU_R) == 0, SP_ERR_NUMERIC, "StarPU does not hand out a block of %s",
               block->name);
    memcpy(out, starpu_data_get_local_ptr(handle), block->bytes);
    starpu_data_release(handle);
done:
    return status;
}

/* ---- works ---- */

static void run_on_cpu(void *buffers[], void *argument)
{
    sp_work *work = argument;
    const starpu_state *self = work->run->engine;

    omp_set_num_threads(self->threads_of_worker);
    for (int i = 0; i < work->uses; i++) {
        work->data[i] = pointer_to(buffers[i]);
    }
    sp_work_do(work, starpu_worker_get_id());
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

static void submit(sp_run *run, sp_work **work, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        if (run->ranks > 1) {
            send_what_is_read(run, work[i]);
        }
        if (work[i]->rank == run->rank) {
            submit_one(run, work[i]);
        } else {
            sp_work_free(work[i]);
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

static void exchange(sp_run *run, const void *mine, size_t bytes, void *all)
{
    const starpu_state *self = run->engine;
    const struct timespec nap = {.tv_nsec = NAP};
    MPI_Request request;
    int done = 0;

    MPI_Iallgather(mine, (int)bytes, MPI_BYTE, all, (int)bytes, MPI_BYTE, self->comm, &request);
    MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    while (!done) { /* not in MPI_Wait(): it would take a processor from the workers */
        nanosleep(&nap, NULL);
        MPI_Test(&request, &done, MPI_STATUS_IGNORE);
    }
    MPI_Wait(&request, MPI_STATUS_IGNORE); /* at once */
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
                                      .exchange = exchange,
                                      .give_up = give_up};

const sp_engine_calls *sp_engine_starpu(void)
{
    return &calls;
}

#endif
