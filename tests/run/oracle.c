/* SPDX-License-Identifier: BSD-3-Clause */
#include "oracle.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

enum { MOST_LEVELS = 16 };

/* Contributions to one block, added as digits of a binary counter are. Each is the sum of the points of a lane, one
 * after the other. */
typedef struct counter {
    ptrdiff_t at, begun; /* points that have added, lanes that have begun */
    char *open;          /* of the lane under way */
    int held, level[MOST_LEVELS];
    char *sum[MOST_LEVELS];
} counter;

typedef struct oracle {
    shape now;
    char *block[MOST_REGIONS][MOST_BLOCKS];
    counter counter[MOST_ARGUMENTS][MOST_BLOCKS];
    uint64_t salt;
    ptrdiff_t member[MOST_COUNT];
} oracle;

/* ---- blocks ---- */

static ptrdiff_t count_of(const oracle *o, int region, ptrdiff_t b)
{
    const ptrdiff_t *first = o->now.space[o->now.region[region].space].first;

    return o->now.region[region].kind == KIND_THING ? 1 : first[b + 1] - first[b];
}

static size_t bytes_of(const oracle *o, int region, ptrdiff_t b)
{
    return (size_t)count_of(o, region, b) * kind_size(o->now.region[region].kind);
}

static sp_status provide(oracle *o, int region, ptrdiff_t b)
{
    return o->block[region][b]
               ? SP_OK
               : sp_array_new((ptrdiff_t)bytes_of(o, region, b), 1, "a block", (void **)&o->block[region][b]);
}

static ptrdiff_t block_at(const operand *a, const ptrdiff_t point[2])
{
    return a->block + (a->selector == SP_BY_I ? point[0] : a->selector == SP_BY_J ? point[1] : 0);
}

static ptrdiff_t members_of(const int32_t *label, ptrdiff_t count, int32_t wanted, ptrdiff_t *member)
{
    ptrdiff_t found = 0;

    for (ptrdiff_t i = 0; i < count; i++) {
        member[found] = i;
        found += label[i] == wanted;
    }
    return found;
}

/* ---- sums ---- */

static sp_status begin_sum(const oracle *o, int region, ptrdiff_t b, char **sum)
{
    sp_status status = SP_OK;

    SP_TRY(sp_array_new((ptrdiff_t)bytes_of(o, region, b), 1, "a sum", (void **)sum));
    for (ptrdiff_t e = 0; o->now.region[region].kind == KIND_LEAST && e < count_of(o, region, b); e++) {
        ((sp_least_element *)*sum)[e] = (sp_least_element){INFINITY, -1};
    }
done:
    return status;
}

static void join(element_kind kind, ptrdiff_t count, char *into, const char *from)
{
    for (ptrdiff_t e = 0; e < count; e++) {
        if (kind == KIND_FLOAT) {
            ((float *)into)[e] += ((const float *)from)[e];
        } else if (kind == KIND_DOUBLE) {
            ((double *)into)[e] += ((const double *)from)[e];
        } else if (kind == KIND_INT) {
            ((int32_t *)into)[e] += ((const int32_t *)from)[e];
        } else if (((const sp_least_element *)from)[e].key < ((sp_least_element *)into)[e].key) {
            ((sp_least_element *)into)[e] = ((const sp_least_element *)from)[e];
        }
    }
}

static void join_last_two(const oracle *o, int region, ptrdiff_t b, counter *c)
{
    c->held--;
    join(o->now.region[region].kind, count_of(o, region, b), c->sum[c->held - 1], c->sum[c->held]);
    sp_array_free(c->sum[c->held]);
}

static void count_in(const oracle *o, int region, ptrdiff_t b, counter *c, char *sum)
{
    c->sum[c->held] = sum;
    c->level[c->held++] = 0;
    while (c->held >= 2 && c->level[c->held - 1] == c->level[c->held - 2]) {
        join_last_two(o, region, b, c);
        c->level[c->held - 1]++;
    }
}

/* The first point of a lane, among those that share a block: their number is the first of the lane behind the last. */
static ptrdiff_t first_of_lane(const operation *op, sp_selector selector, ptrdiff_t lane)
{
    const ptrdiff_t points = (selector == SP_BY_I ? 1 : op->points[0]) * (selector == SP_BY_J ? 1 : op->points[1]);
    const ptrdiff_t lanes = op->lanes == 0 || op->lanes > points ? points : op->lanes;

    return lane * points / lanes + (lane * points % lanes > 0); /* rounded up */
}

/* What the next point adds to. */
static sp_status open_lane(oracle *o, const operation *op, int k, ptrdiff_t b)
{
    counter *c = &o->counter[k][b];
    sp_status status = SP_OK;

    if (c->at == first_of_lane(op, op->argument[k].selector, c->begun)) {
        SP_TRY(begin_sum(o, op->argument[k].region, b, &c->open));
        c->begun++;
    }
    c->at++;
done:
    return status;
}

/* A point has added: was it the last of its lane? */
static void close_lane(const oracle *o, const operation *op, int k, ptrdiff_t b, counter *c)
{
    if (c->at == first_of_lane(op, op->argument[k].selector, c->begun)) {
        count_in(o, op->argument[k].region, b, c, c->open);
        c->open = NULL;
    }
}

/* The sums of all points become the contents of the blocks. */
static void end_sums(oracle *o, int region, counter *counters)
{
    for (ptrdiff_t b = 0; b < MOST_BLOCKS; b++) {
        if (counters[b].held > 0) {
            while (counters[b].held >= 2) {
                join_last_two(o, region, b, &counters[b]);
            }
            sp_array_free(o->block[region][b]);
            o->block[region][b] = counters[b].sum[0];
            counters[b].held = 0;
        }
        counters[b].at = counters[b].begun = 0;
    }
}

/* ---- launches ---- */

static double digest_region(const oracle *o, int region)
{
    double digest = 0.0;

    for (ptrdiff_t b = 0; b < o->now.space[o->now.region[region].space].blocks; b++) {
        digest = digest_block(digest, o->now.region[region].kind, o->block[region][b], count_of(o, region, b));
    }
    return digest;
}

static sp_status look_at(oracle *o, const operation *op, int k, const ptrdiff_t point[2], view *v)
{
    const operand *a = &op->argument[k];
    const sp_privilege privilege = tasks[op->task].privilege[k];
    const ptrdiff_t b = block_at(a, point);
    char *block = NULL;
    sp_status status = SP_OK;

    *v = (view){.privilege = privilege, .kind = o->now.region[a->region].kind, .is_whole = a->selector == SP_WHOLE};
    if (v->is_whole) {
        v->digest = digest_region(o, a->region);
        return SP_OK;
    }
    if (privilege == SP_REDUCE) {
        SP_TRY(open_lane(o, op, k, b));
        block = o->counter[k][b].open;
    } else {
        SP_TRY(provide(o, a->region, b));
        block = o->block[a->region][b];
    }
    v->in = v->out = block;
    v->count = count_of(o, a->region, b);
    v->first = o->now.space[o->now.region[a->region].space].first[b];
done:
    return status;
}

static sp_status run_point(oracle *o, const operation *op, const call *c, const ptrdiff_t point[2])
{
    view v[MOST_ARGUMENTS] = {{0}};
    sp_status status = SP_OK;

    for (int k = 0; k < c->arguments; k++) {
        SP_TRY(look_at(o, op, k, point, &v[k]));
    }
    compute(c, point, v, members_of, o->member);
    for (int k = 0; k < c->arguments; k++) {
        if (v[k].privilege == SP_REDUCE) {
            const ptrdiff_t b = block_at(&op->argument[k], point);

            close_lane(o, op, k, b, &o->counter[k][b]);
        }
    }
done:
    return status;
}

static sp_status run_launch(oracle *o, const operation *op)
{
    const call c = make_call(&o->now, op, o->salt);
    sp_status status = SP_OK;

    for (ptrdiff_t i = 0; i < op->points[0]; i++) {
        for (ptrdiff_t j = 0; j < op->points[1]; j++) {
            const ptrdiff_t point[2] = {i, j};

            SP_TRY(run_point(o, op, &c, point));
        }
    }
    for (int k = 0; k < c.arguments; k++) {
        end_sums(o, op->argument[k].region, o->counter[k]);
    }
done:
    return status;
}

static sp_status run_fill(oracle *o, const operation *op)
{
    const element_kind kind = o->now.region[op->region].kind;
    char element[16];
    sp_status status = SP_OK;

    make_element(kind, op->value, element);
    for (ptrdiff_t b = 0; b < o->now.space[o->now.region[op->region].space].blocks; b++) {
        SP_TRY(provide(o, op->region, b));
        for (ptrdiff_t e = 0; e < count_of(o, op->region, b); e++) {
            memcpy(o->block[op->region][b] + (size_t)e * kind_size(kind), element, kind_size(kind));
        }
    }
done:
    return status;
}

/* ---- programs ---- */

static sp_status run_operation(oracle *o, const operation *op)
{
    sp_status status = SP_OK;

    if (op->optional && o->salt % 2 == 1) {
        return SP_OK;
    }
    shape_apply(&o->now, op);
    if (op->what == FILL) {
        SP_TRY(run_fill(o, op));
    } else if (op->what == LAUNCH) {
        SP_TRY(run_launch(o, op));
    } else if (op->what == DECIDE) {
        o->salt = hash_bytes(0, o->block[op->region][op->block], bytes_of(o, op->region, op->block));
    }
done:
    return status;
}

static uint64_t hash_all(const oracle *o)
{
    uint64_t hash = 0;

    for (int r = 0; r < o->now.regions; r++) {
        for (ptrdiff_t b = 0; shape_shows(&o->now, r) && b < MOST_BLOCKS; b++) {
            if (o->block[r][b]) {
                hash = hash_bytes(hash, o->block[r][b], bytes_of(o, r, b));
            }
        }
    }
    return hash;
}

sp_status oracle_run(const program *p, uint64_t *hash)
{
    sp_status status = SP_OK;
    oracle *o = NULL;

    SP_TRY(SP_ARRAY(o, 1));
    for (int i = 0; i < p->operations; i++) {
        SP_TRY(run_operation(o, &p->operation[i]));
    }
    *hash = hash_all(o);
done:
    for (int i = 0; o && i < MOST_REGIONS * MOST_BLOCKS; i++) {
        sp_array_free(o->block[i / MOST_BLOCKS][i % MOST_BLOCKS]);
    }
    sp_array_free(o);
    return status;
}
