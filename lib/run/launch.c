/* SPDX-License-Identifier: BSD-3-Clause */
/* From launches to works: which blocks each point gets, where it runs, and how contributions become one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "run/engine.h"

enum {
    LEVELS = 64,      /* of a tree of contributions */
    CHEAP = 16 << 20, /* [byte] contributions that may always be under way */
};

/* A launch, looked through. */
typedef struct plan {
    sp_run *run;
    const sp_launch_description *launch;
    const char *file;
    int line;
    ptrdiff_t points[2];
    int arguments;
    int chained; /* argument whose blocks points may write in their order only; -1: none; ALL_CHAINED: several */
    int group;   /* of ranks, each of which runs all points: it writes a region of its own; 0: all ranks together */
    int64_t first_id; /* of contributions */
} plan;

enum { NOT_CHAINED = -1, ALL_CHAINED = -2 };

static bool writes(sp_privilege privilege)
{
    return privilege == SP_WRITE || privilege == SP_READ_WRITE || privilege == SP_REDUCE;
}

#define REFUSE(p, ...)                                                                                                 \
    do {                                                                                                               \
        sp_run_fail((p)->run, SP_ERR_USAGE, (p)->file, (p)->line, __VA_ARGS__);                                        \
        return false;                                                                                                  \
    } while (0)

/* ---- which blocks ---- */

/* The first block that a point gets, and how many. */
static ptrdiff_t first_block(const sp_argument *argument, const ptrdiff_t point[2], ptrdiff_t *count)
{
    *count = argument->selector == SP_WHOLE ? argument->region->space->blocks : 1;
    switch (argument->selector) {
    case SP_BY_I:
        return argument->block + point[0];
    case SP_BY_J:
        return argument->block + point[1];
    case SP_AT:
        return argument->block;
    case SP_WHOLE:
        break;
    }
    return 0;
}

/* Blocks that all points together get: first .. first + count - 1. */
static ptrdiff_t all_blocks(const plan *p, const sp_argument *argument, ptrdiff_t *count)
{
    const ptrdiff_t origin[2] = {0, 0}, first = first_block(argument, origin, count);

    *count = argument->selector == SP_BY_I ? p->points[0] : argument->selector == SP_BY_J ? p->points[1] : *count;
    return first;
}

/* Points that have the same block of this argument. */
static ptrdiff_t sharers(const plan *p, const sp_argument *argument)
{
    const ptrdiff_t all = p->points[0] * p->points[1];

    return argument->selector == SP_BY_I ? p->points[1] : argument->selector == SP_BY_J ? p->points[0] : all;
}

/* ---- misuse ---- */

/* Points that have the same block of argument k, or the same lane of it, are to run in their order. */
static void chain(plan *p, int k)
{
    const sp_argument *argument = p->launch->argument;
    const bool alike = p->chained >= 0 && argument[p->chained].selector == argument[k].selector &&
                       p->launch->type->privilege[p->chained] == p->launch->type->privilege[k];

    p->chained = p->chained == NOT_CHAINED ? k : alike ? p->chained : ALL_CHAINED;
}

static bool check_argument(plan *p, int k)
{
    const sp_argument *argument = &p->launch->argument[k];
    const sp_privilege privilege = p->launch->type->privilege[k];
    const sp_region *region = argument->region;
    const char *task = p->launch->type->name;
    ptrdiff_t count;
    const ptrdiff_t first = all_blocks(p, argument, &count);

    if (first < 0 || first + count > region->space->blocks) {
        REFUSE(p, "task %s: block %td of region %s, which has %td", task, first < 0 ? first : first + count - 1,
               region->name, region->space->blocks);
    }
    if (argument->selector == SP_WHOLE && (privilege != SP_READ || region->is_objects)) {
        REFUSE(p, "task %s: the whole of region %s can only be read", task, region->name);
    }
    if ((privilege == SP_REDUCE) != (argument->reduction != NULL) || (privilege == SP_REDUCE && region->is_objects)) {
        REFUSE(p, "task %s: argument %d (region %s) needs %s", task, k, region->name,
               privilege == SP_REDUCE ? "sp_into() and a reduction of numbers" : "no reduction: it is not reduced");
    }
    if (privilege == SP_WRITE && sharers(p, argument) > 1) {
        REFUSE(p, "task %s: %td points write one block of region %s", task, sharers(p, argument), region->name);
    }
    if (privilege == SP_REDUCE && region->group > 0) {
        REFUSE(p, "task %s: region %s, of which each group of ranks has its own, cannot be reduced", task,
               region->name);
    }
    if ((privilege == SP_READ_WRITE && sharers(p, argument) > 1) || (privilege == SP_REDUCE && p->launch->lanes > 0)) {
        chain(p, k);
    }
    for (ptrdiff_t b = first; b < first + count && (privilege == SP_READ || privilege == SP_READ_WRITE); b++) {
        if (!region->block[b]->written) {
            REFUSE(p, "task %s: reads block %td of region %s, which nothing has written", task, b, region->name);
        }
    }
    return true;
}

/* A region that a launch writes may not come to it by a second way. */
static bool check_pair(const plan *p, int k, int l)
{
    const sp_argument *a = &p->launch->argument[k], *b = &p->launch->argument[l];
    const sp_privilege *privilege = p->launch->type->privilege;
    const bool separate = a->selector == SP_AT && b->selector == SP_AT && a->block != b->block;

    if (a->region == b->region && (writes(privilege[k]) || writes(privilege[l])) && !separate) {
        REFUSE(p, "task %s: arguments %d and %d are the same blocks of region %s, and one of them is written",
               p->launch->type->name, k, l, a->region->name);
    }
    return true;
}

/* What a task writes, and objects, must be shared by the same ranks: it runs once for these. */
static bool find_group(plan *p)
{
    bool found = false;

    for (int k = 0; k < p->arguments; k++) {
        const sp_region *region = p->launch->argument[k].region;

        if (!writes(p->launch->type->privilege[k]) && !region->is_objects) {
            continue;
        }
        if (found && region->group != p->group) {
            REFUSE(p, "task %s: region %s is not shared by the same ranks as others that it writes",
                   p->launch->type->name, region->name);
        }
        p->group = region->group;
        found = true;
    }
    return true;
}

/* Every privilege has its region, and they are the first ones. */
static bool count_arguments(plan *p)
{
    const sp_launch_description *launch = p->launch;

    for (int k = 0; k < SP_TASK_ARGUMENTS; k++) {
        const bool wanted = launch->type->privilege[k] != SP_NONE;

        if (wanted && k > p->arguments) {
            REFUSE(p, "task %s: its privileges have a gap before argument %d", launch->type->name, k);
        }
        if (wanted != (launch->argument[k].region != NULL)) {
            REFUSE(p, "task %s: argument %d is %s", launch->type->name, k, wanted ? "missing" : "one too many");
        }
        p->arguments += wanted;
    }
    return true;
}

static bool check_numbers(const plan *p)
{
    const sp_launch_description *launch = p->launch;

    if (launch->points[0] < 0 || launch->points[1] < 0) {
        REFUSE(p, "task %s: %td x %td points", launch->type->name, launch->points[0], launch->points[1]);
    }
    if (launch->lanes < 0) {
        REFUSE(p, "task %s: %td lanes", launch->type->name, launch->lanes);
    }
    if (launch->values_bytes > SP_TASK_VALUES) {
        REFUSE(p, "task %s: %zu bytes of values, more than %d", launch->type->name, launch->values_bytes,
               SP_TASK_VALUES);
    }
    return true;
}

static bool check(plan *p)
{
    if (!count_arguments(p) || !check_numbers(p)) {
        return false;
    }
    for (int k = 0; k < p->arguments; k++) {
        if (!check_argument(p, k)) {
            return false;
        }
        for (int l = 0; l < k; l++) {
            if (!check_pair(p, l, k)) {
                return false;
            }
        }
    }
    return find_group(p);
}

/* ---- where a point runs ---- */

static sp_block *block_of(const plan *p, int k, const ptrdiff_t point[2])
{
    const sp_argument *argument = &p->launch->argument[k];
    ptrdiff_t count;

    return argument->region->block[first_block(argument, point, &count)];
}

/* Where its objects and the blocks that it writes live, in this rank's group; else where the first block lives that is
 * its own; else the points are spread evenly. -1: the blocks live on different ranks. */
static int rank_of(const plan *p, const ptrdiff_t point[2])
{
    const sp_privilege *privilege = p->launch->type->privilege;
    int bound = -1, near = -1;

    for (int k = 0; k < p->arguments; k++) {
        const sp_argument *argument = &p->launch->argument[k];

        if (argument->region->is_objects || privilege[k] == SP_WRITE || privilege[k] == SP_READ_WRITE) {
            const int owner = block_of(p, k, point)->owner;

            if (bound >= 0 && bound != owner) {
                sp_run_fail(p->run, SP_ERR_USAGE, p->file, p->line,
                            "task %s, point (%td, %td): region %s lives on rank %d, others that it writes on rank %d",
                            p->launch->type->name, point[0], point[1], argument->region->name, owner, bound);
                return -1;
            }
            bound = owner;
        } else if (near < 0 && privilege[k] == SP_READ && argument->region->space->blocks > 1 &&
                   argument->region->group == 0 && (argument->selector == SP_BY_I || argument->selector == SP_BY_J)) {
            near = block_of(p, k, point)->owner;
        }
    }
    if (bound < 0 && near < 0) {
        near = (int)((point[0] * p->points[1] + point[1]) * p->run->ranks / (p->points[0] * p->points[1]));
    }
    return bound >= 0 ? bound : near;
}

/* ---- works ---- */

/* block  NULL: of another rank, and nothing that this one sends */
static void use(sp_work *work, int at, sp_block *block, sp_privilege privilege, const sp_reduction *reduction)
{
    work->use[at] =
        (sp_use){.block = block, .bytes = block ? block->bytes : 0, .privilege = privilege, .reduction = reduction};
}

static int group_of(int rank, int group)
{
    return group > 0 ? rank / group : 0;
}

/* Does the work of another rank read this block, which lives here? */
static bool is_sent(const plan *p, const sp_region *region, const sp_block *block, int rank)
{
    return block->owner == p->run->rank && group_of(rank, region->group) == group_of(p->run->rank, region->group);
}

/* Does this rank do the work, or own a block that another rank reads for it? */
static bool concerns(const plan *p, const ptrdiff_t point[2], int rank)
{
    if (sp_run_is_here(p->run, rank)) {
        return true;
    }
    for (int k = 0; k < p->arguments; k++) {
        const sp_argument *argument = &p->launch->argument[k];
        ptrdiff_t count;
        const ptrdiff_t first = first_block(argument, point, &count);

        for (ptrdiff_t b = first; p->launch->type->privilege[k] == SP_READ && b < first + count; b++) {
            if (is_sent(p, argument->region, argument->region->block[b], rank)) {
                return true;
            }
        }
    }
    return false;
}

/* What a point adds to. */
typedef struct share {
    sp_block *block; /* NULL: on another rank, or the argument is not reduced */
    bool begins;     /* with an empty sum */
} share;

/* The work of a point on a rank; `part`: [arguments]. */
static sp_work *make_work(const plan *p, const ptrdiff_t point[2], int rank, const share *part)
{
    const sp_launch_description *launch = p->launch;
    int uses = 0;

    for (int k = 0; k < p->arguments; k++) {
        ptrdiff_t count;

        first_block(&launch->argument[k], point, &count);
        uses += (int)count;
    }
    sp_work *work = sp_work_new(p->run, launch->type, p->file, p->line, uses);

    if (!work) {
        return NULL;
    }
    work->rank = rank;
    work->point[0] = point[0];
    work->point[1] = point[1];
    work->scratch = launch->scratch;
    work->scratch_of_thread = launch->scratch_of_thread;
    if (launch->values_bytes > 0) {
        memcpy(work->values, launch->values, launch->values_bytes);
    }
    uses = 0;
    for (int k = 0; k < p->arguments; k++) {
        const sp_argument *argument = &launch->argument[k];
        const sp_region *region = argument->region;
        const sp_privilege privilege = launch->type->privilege[k];
        ptrdiff_t count;
        const ptrdiff_t first = first_block(argument, point, &count);

        work->argument[k].first = uses;
        work->argument[k].uses = (int)count;
        work->argument[k].privilege = privilege;
        work->argument[k].is_whole = argument->selector == SP_WHOLE;
        work->argument[k].is_object = region->is_objects;
        work->argument[k].element = region->element;
        work->argument[k].index = region->space->first[first];
        for (ptrdiff_t b = first; b < first + count; b++, uses++) {
            if (privilege == SP_REDUCE) {
                use(work, uses, part[k].block, part[k].begins ? SP_WRITE : SP_READ_WRITE,
                    part[k].begins ? argument->reduction : NULL);
            } else if (sp_run_is_here(p->run, rank) ||
                       (privilege == SP_READ && is_sent(p, region, region->block[b], rank))) {
                use(work, uses, region->block[b], privilege, NULL);
            } else {
                use(work, uses, NULL, privilege, NULL);
            }
        }
    }
    return work;
}

/* Works on their way to the engine. */
typedef struct queue {
    sp_run *run;
    ptrdiff_t count;
    sp_work *work[SP_RUN_WORKS];
} queue;

static void hand_over(queue *q)
{
    if (q->count > 0) {
        q->run->calls->submit(q->run, q->work, q->count);
    }
    q->count = 0;
}

static void enqueue(queue *q, sp_work *work, ptrdiff_t chain)
{
    if (q->count == SP_RUN_WORKS) {
        hand_over(q);
    }
    if (work) {
        work->chain = chain;
        q->work[q->count++] = work;
    }
}

/* What was written by works handed over or waiting is known to be written; copies of it are out of date. */
static void mark_written(sp_run *run, sp_block *block)
{
    if (block->shared) {
        run->calls->outdate(run, block);
    }
    block->written = true;
}

/* ---- contributions ---- */

/* The sum over some points of a launch. Every rank knows where it is; ranks that have to do with it have the block. */
typedef struct contribution {
    int64_t id;
    int owner, level;
    sp_block *block;
} contribution;

/* Contributions to one block, combined like the digits of a counter: two of one level become one of the next. So the
 * order of all sums follows from the number of points, and few are there at a time. */
typedef struct tree {
    sp_block *target;
    const sp_reduction *reduction;
    ptrdiff_t points, lanes; /* of the launch for this block */
    ptrdiff_t at;            /* points begun so far */
    ptrdiff_t left;          /* lanes that are not in the tree yet */
    contribution open;       /* of the lane under way */
    int parts;
    contribution part[LEVELS];
} tree;

static void combine_blocks(sp_task *task)
{
    const sp_work *work = task->work;

    work->reduction->combine(work->data[0], work->data[1], work->use[0].bytes);
}

static void move_block(sp_task *task)
{
    const sp_work *work = task->work;

    memcpy(work->data[0], work->data[1], work->use[0].bytes);
}

static const sp_task_type combine_type = {.name = "combine", .run = combine_blocks, .priority = 1},
                          move_type = {.name = "move", .run = move_block, .priority = 1};

/* The block of a contribution, which this rank has to do with. */
static sp_block *block_for(const plan *p, const tree *t, contribution *part)
{
    if (!part->block) {
        part->block = sp_block_new(p->run, t->target->name, t->target->index, t->target->bytes, part->id, part->owner);
    }
    return part->block;
}

/* into = into and from, or = from (type move); `from` goes. */
static void join(const plan *p, const tree *t, contribution *into, contribution *from, const sp_task_type *type)
{
    const bool mine = sp_run_is_here(p->run, into->owner) || sp_run_is_here(p->run, from->owner);

    if (mine && block_for(p, t, into) && block_for(p, t, from)) {
        sp_work *work = sp_work_new(p->run, type, p->file, p->line, 2);

        if (work) {
            work->rank = into->owner;
            work->point[0] = t->target->index;
            work->reduction = t->reduction;
            use(work, 0, into->block, type == &move_type ? SP_WRITE : SP_READ_WRITE, NULL);
            use(work, 1, from->block, SP_READ, NULL);
            p->run->calls->submit(p->run, &work, 1);
        }
    }
    if (from->block != t->target) {
        sp_block_free(p->run, from->block);
    }
}

static ptrdiff_t lane_of(const tree *t, ptrdiff_t point)
{
    return point * t->lanes / t->points;
}

/* An empty sum for the points of a lane that run on `rank`; `id` is the same on every rank, and on none used twice. */
static contribution new_part(const plan *p, tree *t, int rank, int64_t id)
{
    contribution part = {.id = id, .owner = rank};

    if (t->at == 0 && rank == t->target->owner) { /* the first may as well begin where the sum will be */
        part.block = t->target;
    }
    if (sp_run_is_here(p->run, rank)) {
        block_for(p, t, &part);
    }
    return part;
}

/* Where the next point of this tree, which runs on `rank`, adds to. A lane whose points are on several ranks moves
 * from one to the next, after what waits in the queue. *whole: this point is the last of its lane. */
static share next_share(const plan *p, tree *t, int rank, int64_t id, queue *q, bool *whole)
{
    const bool begins = t->at == 0 || lane_of(t, t->at) != lane_of(t, t->at - 1);

    if (begins) {
        t->open = new_part(p, t, rank, id);
    } else if (t->open.owner != rank) {
        contribution next = new_part(p, t, rank, id);

        hand_over(q);
        join(p, t, &next, &t->open, &move_type);
        t->open = next;
    }
    t->at++;
    *whole = t->at == t->points || lane_of(t, t->at) != lane_of(t, t->at - 1);
    return (share){.block = sp_run_is_here(p->run, rank) ? t->open.block : NULL, .begins = begins};
}

static void join_last_two(const plan *p, tree *t)
{
    t->parts--;
    join(p, t, &t->part[t->parts - 1], &t->part[t->parts], &combine_type);
}

/* The works that make the contribution have been handed over. */
static void add_part(const plan *p, tree *t, contribution part)
{
    t->part[t->parts++] = part;
    while (t->parts > 1 && t->part[t->parts - 2].level == t->part[t->parts - 1].level) {
        join_last_two(p, t);
        t->part[t->parts - 1].level++;
    }
    t->left--;
    while (t->left == 0 && t->parts > 1) {
        join_last_two(p, t);
    }
    if (t->left == 0 && t->part[0].block != t->target) {
        contribution target = {.owner = t->target->owner, .block = t->target};

        mark_written(p->run, t->target); /* again: a lane that began there has perhaps left copies of it elsewhere */
        join(p, t, &target, &t->part[0], &move_type);
    }
}

/* A contribution that nobody wants any more, or none. */
static void drop_part(const plan *p, const tree *t, const contribution *part)
{
    if (part->block != t->target) {
        sp_block_free(p->run, part->block);
    }
}

/* *part becomes none. */
static void settle_part(const plan *p, tree *t, contribution *part)
{
    if (sp_run_failed(p->run)) {
        drop_part(p, t, part);
    } else {
        add_part(p, t, *part);
    }
    *part = (contribution){0};
}

/* ---- launches ---- */

/* The trees of all reduced arguments. */
typedef struct forest {
    tree *trees[SP_TASK_ARGUMENTS]; /* by number of the block; NULL: not reduced */
    ptrdiff_t first[SP_TASK_ARGUMENTS];
    contribution *part; /* [chunk][SP_TASK_ARGUMENTS] of the points under way; NULL: nothing is reduced */
    ptrdiff_t *point;   /* [chunk] which they are */
} forest;

/* Trees of a run that failed are not complete. */
static void forest_clear(const plan *p, forest *f)
{
    for (int k = 0; k < p->arguments; k++) {
        ptrdiff_t count;

        all_blocks(p, &p->launch->argument[k], &count);
        for (ptrdiff_t t = 0; f->trees[k] && t < count && sp_run_failed(p->run); t++) {
            tree *left = &f->trees[k][t];

            while (left->left > 0 && left->parts > 0) {
                drop_part(p, left, &left->part[--left->parts]);
            }
            drop_part(p, left, &left->open);
        }
        sp_array_free(f->trees[k]);
    }
    sp_array_free(f->part);
    sp_array_free(f->point);
}

static sp_status forest_init(const plan *p, ptrdiff_t chunk, forest *f)
{
    sp_status status = SP_OK;

    for (int k = 0; k < p->arguments; k++) {
        const sp_argument *argument = &p->launch->argument[k];
        ptrdiff_t count;

        f->first[k] = all_blocks(p, argument, &count);
        if (p->launch->type->privilege[k] != SP_REDUCE) {
            continue;
        }
        if (!f->part) {
            SP_TRY(SP_ARRAY(f->part, chunk * SP_TASK_ARGUMENTS));
            SP_TRY(SP_ARRAY(f->point, chunk));
        }
        SP_TRY(SP_ARRAY(f->trees[k], count));
        for (ptrdiff_t t = 0; t < count; t++) {
            mark_written(p->run, argument->region->block[f->first[k] + t]);
        }
    }
done:
    if (status != SP_OK) {
        forest_clear(p, f);
    }
    return status;
}

/* The tree that a point contributes to, grown when first asked for: most ranks ask for few. */
static tree *tree_of(const plan *p, const forest *f, int k, const ptrdiff_t point[2])
{
    const sp_argument *argument = &p->launch->argument[k];
    const ptrdiff_t points = sharers(p, argument), lanes = p->launch->lanes;
    ptrdiff_t count;
    tree *t = &f->trees[k][first_block(argument, point, &count) - f->first[k]];

    if (!t->target) {
        *t = (tree){.target = block_of(p, k, point),
                    .reduction = argument->reduction,
                    .points = points,
                    .lanes = lanes > 0 && lanes < points ? lanes : points};
        t->left = t->lanes;
    }
    return t;
}

/* Points of one chain run in their order. */
static ptrdiff_t chain_of(const plan *p, const ptrdiff_t point[2], ptrdiff_t lane)
{
    if (p->chained < 0) {
        return p->chained == ALL_CHAINED ? 0 : point[0] * p->points[1] + point[1];
    }
    if (p->launch->type->privilege[p->chained] == SP_REDUCE) {
        return lane;
    }
    switch (p->launch->argument[p->chained].selector) {
    case SP_BY_I:
        return point[0];
    case SP_BY_J:
        return point[1];
    default:
        return 0;
    }
}

static ptrdiff_t number_of(const plan *p, const ptrdiff_t point[2])
{
    return point[0] * p->points[1] + point[1];
}

/* One point, the one at `place` of those under way: its contributions begun, its work queued. False: the run has
 * failed. */
static bool launch_point(const plan *p, const forest *f, const ptrdiff_t point[2], ptrdiff_t place, queue *q)
{
    const int rank = rank_of(p, point);
    share shares[SP_TASK_ARGUMENTS] = {{0}};
    ptrdiff_t lane = 0;

    if (rank < 0) {
        return false;
    }
    for (int k = 0; k < p->arguments; k++) {
        const sp_privilege privilege = p->launch->type->privilege[k];

        if (privilege == SP_REDUCE) {
            const int64_t id = p->first_id + number_of(p, point) * p->arguments + k;
            tree *t = tree_of(p, f, k, point);
            bool whole;

            shares[k] = next_share(p, t, rank, id, q, &whole);
            if (whole) {
                f->part[place * SP_TASK_ARGUMENTS + k] = t->open;
                t->open = (contribution){0};
            }
            lane = t->target->index * t->lanes + lane_of(t, t->at - 1);
        } else if (privilege == SP_WRITE || privilege == SP_READ_WRITE) {
            mark_written(p->run, block_of(p, k, point));
        }
    }
    if (concerns(p, point, rank) && !sp_run_failed(p->run)) {
        enqueue(q, make_work(p, point, rank, shares), chain_of(p, point, lane));
    }
    return !sp_run_failed(p->run);
}

/* The same point in the other groups of ranks, as far as they read blocks of this one. */
static void launch_in_other_groups(const plan *p, const ptrdiff_t point[2], queue *q)
{
    const share none[SP_TASK_ARGUMENTS] = {{0}};
    int k = 0;

    while (p->launch->argument[k].region->group != p->group || !writes(p->launch->type->privilege[k])) {
        k++;
    }
    for (int group = 0; group * p->group < p->run->ranks; group++) {
        const int rank = sp_region_owner(p->launch->argument[k].region, block_of(p, k, point)->index, group);

        if (group != group_of(p->run->rank, p->group) && concerns(p, point, rank) && !sp_run_failed(p->run)) {
            enqueue(q, make_work(p, point, rank, none), 0);
        }
    }
}

/* ---- rows: all points with one i ---- */

/* Is a block here that all rows have to do with? */
static bool holds_one(const plan *p, int k)
{
    const sp_argument *argument = &p->launch->argument[k];
    ptrdiff_t count;
    const ptrdiff_t first = all_blocks(p, argument, &count);

    for (ptrdiff_t b = first; b < first + count; b++) {
        if (argument->region->block[b]->owner == p->run->rank) {
            return true;
        }
    }
    return false;
}

/* Must this rank look at every row? Not where what runs in a row, and what it adds to, is at home where the row's own
 * blocks live, and this rank holds nothing that all rows read. */
static bool walks_all_rows(const plan *p)
{
    bool bound = false;

    for (int k = 0; k < p->arguments; k++) {
        const sp_argument *argument = &p->launch->argument[k];
        const sp_privilege privilege = p->launch->type->privilege[k];
        const bool by_row = argument->selector == SP_BY_I;

        if (!by_row && (privilege != SP_READ || argument->region->is_objects)) {
            return true;
        }
        if (!by_row && argument->region->group == 0 && holds_one(p, k)) {
            return true;
        }
        bound = bound || (by_row && (argument->region->is_objects || writes(privilege)) && privilege != SP_REDUCE);
    }
    return !bound || p->group > 0 || p->run->ranks == 1 || p->run->everywhere;
}

/* Does a rank that need not look at all rows look at this one? */
static bool row_concerns(const plan *p, ptrdiff_t i)
{
    const ptrdiff_t point[2] = {i, 0};
    const int rank = rank_of(p, point);

    for (int k = 0; k < p->arguments; k++) {
        const sp_argument *argument = &p->launch->argument[k];
        const bool by_row = argument->selector == SP_BY_I;

        if (by_row ? block_of(p, k, point)->owner == p->run->rank
                   : argument->region->group > 0 &&
                         group_of(rank, argument->region->group) == group_of(p->run->rank, argument->region->group)) {
            return true;
        }
    }
    return rank < 0; /* which fails */
}

/* What others do in a row that this rank does not look at. */
static void pass_row(const plan *p, ptrdiff_t i)
{
    const ptrdiff_t point[2] = {i, 0};

    for (int k = 0; k < p->arguments; k++) {
        if (writes(p->launch->type->privilege[k])) {
            mark_written(p->run, block_of(p, k, point));
        }
    }
}

/* As many lanes as keep the threads busy, since contributions take memory. */
static ptrdiff_t points_at_once(const plan *p, int k)
{
    const ptrdiff_t lanes = p->launch->lanes, points = sharers(p, &p->launch->argument[k]);
    const ptrdiff_t each = lanes > 0 && lanes < points ? (points + lanes - 1) / lanes : 1;
    const ptrdiff_t busy = (ptrdiff_t)p->run->threads * p->run->ranks;
    const ptrdiff_t cheap = CHEAP / (ptrdiff_t)(block_of(p, k, (const ptrdiff_t[2]){0, 0})->bytes + 1);
    const ptrdiff_t all = busy * (busy > cheap ? 1 : cheap / busy) * each; /* as many for each thread */

    return all < SP_RUN_WORKS ? all : SP_RUN_WORKS;
}

/* The contributions of points under way, whose works have been handed over, become parts of their trees. */
static void settle_parts(const plan *p, const forest *f, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; f->part && i < count; i++) {
        const ptrdiff_t point[2] = {f->point[i] / p->points[1], f->point[i] % p->points[1]};

        for (int k = 0; k < p->arguments; k++) {
            if (f->trees[k] && f->part[i * SP_TASK_ARGUMENTS + k].id != 0) {
                settle_part(p, tree_of(p, f, k, point), &f->part[i * SP_TASK_ARGUMENTS + k]);
            }
        }
    }
}

/* Points from number `from` on, until `most` are under way: *count of them. Returns the number of the next one. */
static ptrdiff_t launch_some(const plan *p, const forest *f, bool all_rows, ptrdiff_t from, ptrdiff_t most,
                             ptrdiff_t *count, queue *q)
{
    const ptrdiff_t all = p->points[0] * p->points[1];
    ptrdiff_t n = from;

    for (*count = 0; n < all && *count < most && !sp_run_failed(p->run); n++) {
        const ptrdiff_t point[2] = {n / p->points[1], n % p->points[1]};

        if (!all_rows && point[1] == 0 && !row_concerns(p, point[0])) {
            pass_row(p, point[0]);
            n += p->points[1] - 1;
            continue;
        }
        if (f->part) {
            f->point[*count] = n;
        }
        if (launch_point(p, f, point, (*count)++, q) && p->group > 0) {
            launch_in_other_groups(p, point, q);
        }
    }
    return n;
}

/* All points, as many at a time as are good for memory. */
static void launch_points(plan *p)
{
    const ptrdiff_t all = p->points[0] * p->points[1];
    const bool all_rows = walks_all_rows(p);
    ptrdiff_t chunk = SP_RUN_WORKS, count;
    queue q;
    forest f = {0};

    q.run = p->run; /* not all of it is cleared: it is large */
    q.count = 0;
    for (int k = 0; k < p->arguments; k++) {
        chunk = p->launch->type->privilege[k] == SP_REDUCE ? points_at_once(p, k) : chunk;
    }
    if (forest_init(p, chunk, &f) != SP_OK) {
        sp_run_fail(p->run, SP_ERR_MEMORY, p->file, p->line, "%s", sp_error_text());
        return;
    }
    p->first_id = p->run->ids + 1;
    p->run->ids += f.part ? all * p->arguments : 0;
    for (ptrdiff_t n = 0; n < all && !sp_run_failed(p->run);) {
        n = launch_some(p, &f, all_rows, n, chunk, &count, &q);
        hand_over(&q);
        settle_parts(p, &f, count);
    }
    forest_clear(p, &f);
}

static uint64_t hash_of(const sp_launch_description *launch)
{
    uint64_t hash = (uint64_t)launch->points[0] * 1000003u + (uint64_t)launch->points[1];

    for (int k = 0; k < SP_TASK_ARGUMENTS && launch->argument[k].region; k++) {
        const sp_argument *argument = &launch->argument[k];

        hash = hash * 1000003u + (uint64_t)argument->region->id * 31u + (uint64_t)argument->selector * 7u +
               (uint64_t)argument->block;
    }
    return hash;
}

void sp_run_launch(sp_run *run, const char *file, int line, const sp_launch_description *launch)
{
    plan p = {.run = run, .launch = launch, .file = file, .line = line, .chained = NOT_CHAINED};
    const double begin = sp_run_enter(run);

    for (int axis = 0; axis < 2; axis++) {
        p.points[axis] = launch->points[axis] > 0 ? launch->points[axis] : 1;
    }
    sp_run_remember(run, file, line, launch->type->name, hash_of(launch));
    if (!sp_run_failed(run) && check(&p)) {
        launch_points(&p);
    }
    sp_run_leave(run, launch->type->name, SP_ROW_LAUNCHES, begin);
}

static void fill_block(sp_task *task)
{
    const sp_work *work = task->work;
    const size_t element = work->argument[0].element;
    char *to = sp_task_out(task, 0);

    for (ptrdiff_t i = 0; i < sp_task_count(task, 0); i++) {
        memcpy(to + (size_t)i * element, work->values, element);
    }
}

void sp_run_fill(sp_run *run, const char *file, int line, sp_region *region, const void *element)
{
    static const sp_task_type fill_type = {.name = "fill", .run = fill_block, .privilege = {SP_WRITE}};

    if (region->is_objects) {
        sp_run_fail(run, SP_ERR_USAGE, file, line, "fill: region %s holds objects, which tasks make", region->name);
        return;
    }
    if (region->element > SP_TASK_VALUES) {
        sp_run_fail(run, SP_ERR_USAGE, file, line, "fill: an element of region %s has %zu bytes, more than %d",
                    region->name, region->element, SP_TASK_VALUES);
        return;
    }
    sp_run_launch(run, file, line,
                  &(sp_launch_description){.type = &fill_type,
                                           .points = {region->space->blocks},
                                           .argument = {sp_by_i(region)},
                                           .values = element,
                                           .values_bytes = region->element});
}
