/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/race.h -- the times of things that are to be compared, taken in turns.
 *
 * A machine is never quite quiet, and its clock goes up and down. So contenders run one after the other, round after
 * round; what is told is the median over the rounds, and a ratio is the median of the ratios within the rounds. Before
 * the first round each runs once, untimed: to touch its memory, and to find out how many calls make a sample. */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { SP_RACE_CONTENDERS = 12, SP_RACE_ROUNDS = 15 };

typedef struct sp_contender {
    void (*run)(void *context); /* what is timed; cannot fail: it leaves a note in its context */
    void *context;
    int threads; /* that OpenMP may use; 0 stands for 1 */
} sp_contender;

typedef struct sp_race_rules {
    double sample; /* [s] a sample takes at least this long */
    double budget; /* [s] fewer rounds, three at least, where they would take longer */
    int rounds;    /* odd, at most SP_RACE_ROUNDS */
} sp_race_rules;

/* Where no contender has more than one thread, seconds are processor time of that thread, which others on the machine
 * disturb least; else wall clock. */
typedef struct sp_race {
    int rounds, contenders;
    double seconds[SP_RACE_ROUNDS][SP_RACE_CONTENDERS]; /* of one call */
} sp_race;

/* Median and quartiles over the rounds. */
typedef struct sp_quartiles {
    double median, low, high;
} sp_quartiles;

/*   contender  [count], at most SP_RACE_CONTENDERS
 * Sets the number of OpenMP threads back to what it was. Fails with SP_ERR_INTERRUPT. */
sp_status sp_race_run(const sp_race_rules *rules, const sp_contender *contender, int count, sp_race *race);

/* The functions below cannot fail. */
sp_quartiles sp_race_seconds(const sp_race *race, int contender);
double sp_race_best(const sp_race *race, int contender); /* the least time: for limits, which nothing undercuts */
sp_quartiles sp_race_ratio(const sp_race *race, int slow,
                           int fast);                         /* how many times the time of `fast` `slow` takes */
sp_quartiles sp_quartiles_of(const double *value, int count); /* 1 .. SP_RACE_ROUNDS values */
