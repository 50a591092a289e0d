/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* program.h -- random programs of regions and launches: what they consist of, and what their tasks compute.
 *
 * A program is a list of operations, made from a seed alone. Two interpreters run it: fuzz.c by lib/run, oracle.c one
 * operation after another on plain arrays. The arithmetic of a task on its blocks is here, and the same for both. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "run/run.h"

enum {
    MOST_SPACES = 8,
    MOST_REGIONS = 40,
    MOST_BLOCKS = 96,
    MOST_COUNT = 4096, /* elements of a block */
    MOST_OPERATIONS = 100,
    MOST_ARGUMENTS = 4,
};

/* Of a region's elements. A thing is an object with one number, made by a task. */
typedef enum element_kind { KIND_FLOAT, KIND_DOUBLE, KIND_INT, KIND_LEAST, KIND_THING, KINDS } element_kind;

typedef enum verb {
    NEW_SPACE,   /* count, per_block */
    GROW,        /* space by count */
    NEW_REGION,  /* of space and kind, for each group of so many ranks or for all */
    FREE_REGION, /* region */
    FILL,        /* region with value */
    LAUNCH,      /* task, points, argument, value, lanes, scratch */
    DECIDE,      /* a hash of a block of a region says which optional operations are done, and goes into their values */
    FENCE,
} verb;

typedef struct operand {
    int region;
    sp_selector selector;
    ptrdiff_t block; /* that of point 0 */
} operand;

typedef struct operation {
    verb what;
    int space, region, task;
    int group; /* ranks that share a region; 0: all */
    element_kind kind;
    ptrdiff_t count, per_block, block, points[2], lanes;
    operand argument[MOST_ARGUMENTS];
    int32_t value, scratch; /* [byte] more than the task needs */
    bool optional;          /* whatever it writes has been written before */
} operation;

/* Spaces and regions as they are at one point of a program; numbers of freed ones are not used again. */
typedef struct shape {
    int spaces, regions;
    struct {
        ptrdiff_t count, per_block, blocks, first[MOST_BLOCKS + 1];
    } space[MOST_SPACES];
    struct {
        int space, group;
        element_kind kind;
        bool alive, written[MOST_BLOCKS];
    } region[MOST_REGIONS];
} shape;

typedef struct program {
    int operations;
    operation operation[MOST_OPERATIONS];
    shape end; /* after the last operation */
} program;

/* Its first `most` operations, or all; to find the one that goes wrong. */
void make_program(uint64_t seed, int most, program *p);
void show_program(const program *p);

/* The effect on spaces and regions of operations that make, change or free these. */
void shape_apply(shape *s, const operation *o);

/* Can the program ask for its blocks? */
bool shape_shows(const shape *s, int region);

size_t kind_size(element_kind kind); /* [byte] */

/* The element that FILL gives to all. */
void make_element(element_kind kind, int32_t value, void *element);

/* ---- tasks ---- */

typedef struct task {
    const char *name;
    sp_privilege privilege[MOST_ARGUMENTS + 1];
    bool colours; /* argument 0 holds labels (KIND_INT): only the members with one of them are treated */
} task;

enum { TASKS = 12 };
extern const task tasks[TASKS];

/* A block, as a task sees it. */
typedef struct view {
    sp_privilege privilege;
    element_kind kind;
    bool is_whole;
    double digest;  /* of a whole region: all that is to be known of it */
    const void *in; /* what may be read */
    void *out;      /* what may be written */
    ptrdiff_t count, first;
} view;

/* What a task is called with: of the same size and with no pointers, so that it can be sent. */
typedef struct call {
    int32_t task, value, arguments, scratch;
    int32_t points[2];
    int8_t kind[MOST_ARGUMENTS], selector[MOST_ARGUMENTS];
} call;

/* The call of an operation of a program whose regions are these. `salt`: by the last DECIDE. */
call make_call(const shape *s, const operation *o, uint64_t salt);

typedef ptrdiff_t (*find_members)(const int32_t *label, ptrdiff_t count, int32_t wanted, ptrdiff_t *member);

/* The work of one point. `member`: work space of MOST_COUNT, where the task has colours. */
void compute(const call *c, const ptrdiff_t point[2], const view *argument, find_members members, ptrdiff_t *member);

/* digest = that of one more block. Begins with 0. */
double digest_block(double digest, element_kind kind, const void *block, ptrdiff_t count);

/* hash = that of more bytes. Begins with 0. */
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count);
