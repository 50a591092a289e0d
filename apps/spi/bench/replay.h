/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/replay.h -- a program of tasks on ranks that are imagined: an engine (run/engine.h) that executes nothing and
 * keeps clocks. Launches, regions and waits are the program's own; what they would take on so many ranks comes out.
 *
 * Each rank has a clock of its program, one of each worker, and two of its link, out and in. In the order in which
 * works are submitted:
 *
 *     a work begins when its program has submitted it, its blocks are there, a worker of its rank is free, and a core;
 *     a block that another rank reads leaves when it is ready and both links are free, keeps both for
 *         gap + bytes / bandwidth, and is there a latency later; it is sent once, until it is written again;
 *     a rank writes a block when its readers, and what was sent of it, are through;
 *     what the program asks for, and what ranks agree on, is an operation of all ranks, which begins when the last one
 *         and the blocks are there, as Open MPI 4.1 does it: ranks meet, and agree, in log2(ranks) rounds of messages
 *         that are looked for now and then; then blocks go from one to all, or from all to all, in as many rounds, or,
 *         where they are large, in 2 log2(ranks) rounds and from neighbour to neighbour;
 *     a block that several ranks read is sent to one after the other (the cooperative sends of StarPU-MPI 1.3 are no
 *         tree: mpi/src/starpu_mpi_coop_sends.c);
 *     the program of every rank takes `point` for each row of points of a launch, `task` for each task that is its own,
 *         `post` for each message of its own;
 *     what the program does by itself between two calls runs for real, once, and every rank's clock goes on by the
 *         processor time that it took.
 *
 * Not in the model: messages that disturb each other beyond the links of two ranks, priorities, memory. */
#include "run/engine.h"
#include "run/run.h"

typedef struct sp_replay_machine {
    int ranks, workers;        /* workers of each rank */
    int hosted, cores;         /* so many ranks share so many cores; 0 cores: one for each worker */
    double latency, bandwidth; /* [s], [byte/s] of a link, each way */
    double gap;                /* [s] of a link, and of the engine at its ends, for each message */
    double point, task, post;  /* [s] of a program, see above */
    double collective;         /* [s] of a rank for each message of an operation of all ranks */
    double nap;                /* [s] until such a message is looked at */
    double (*seconds)(const sp_work *work, void *context); /* that a work takes */
    void *context;
} sp_replay_machine;

enum { SP_REPLAY_STEPS = 64, SP_REPLAY_NAME = 32 };

/* What the program waited for under one name, and the time of the slowest rank since it had waited before. */
typedef struct sp_replay_step {
    char name[SP_REPLAY_NAME]; /* of a region, "fence", "agree" */
    double seconds;            /* in all, of which: */
    double own;                /* the program's own work */
    double sent;               /* from when the blocks were ready to when all ranks had them */
} sp_replay_step;

typedef struct sp_replay sp_replay;

/* Free with sp_replay_free(). Fails with SP_ERR_MEMORY. */
sp_status sp_replay_new(const sp_replay_machine *machine, sp_replay **replay);
void sp_replay_free(sp_replay *replay); /* NULL is fine; after sp_run_free() */

/* A run on it. What the program fetches stays as it is in its memory. Free with sp_run_free(). Fails like
 * sp_run_new(). */
sp_status sp_replay_run(sp_replay *replay, sp_run **run);

double sp_replay_time(const sp_replay *replay); /* [s] the latest clock of a program */
double sp_replay_end(const sp_replay *replay);  /* [s] when all works and messages so far are through */
double sp_replay_busy(const sp_replay *replay); /* [s] that all works have taken */
int64_t sp_replay_messages(const sp_replay *replay);

/* Waits since the last call of sp_replay_forget(), by name, in the order of their first. Borrowed. */
const sp_replay_step *sp_replay_steps(const sp_replay *replay, int *count);
void sp_replay_forget(sp_replay *replay); /* all ranks begin anew, together, with nothing under way */
