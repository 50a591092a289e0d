/* SPDX-License-Identifier: BSD-3-Clause */
#include "program.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/rng.h"

enum { MOST_POINTS = 160, MOST_LANES = 12, MOST_SCRATCH = 3000 /* [byte] */, PURPOSE = 77 };

const task tasks[TASKS] = {
    {"make", {SP_WRITE}, false},
    {"map", {SP_READ, SP_WRITE}, false},
    {"merge", {SP_READ, SP_READ, SP_WRITE}, false},
    {"split", {SP_READ, SP_WRITE, SP_WRITE}, false},
    {"update", {SP_READ, SP_READ_WRITE}, false},
    {"age", {SP_READ_WRITE}, false},
    {"update two", {SP_READ, SP_READ_WRITE, SP_READ_WRITE}, false},
    {"reduce", {SP_READ, SP_REDUCE}, false},
    {"reduce two", {SP_READ, SP_READ, SP_REDUCE, SP_REDUCE}, false},
    {"update and reduce", {SP_READ, SP_READ_WRITE, SP_REDUCE}, false},
    {"colour", {SP_READ, SP_READ, SP_WRITE}, true},
    {"colour and reduce", {SP_READ, SP_READ_WRITE, SP_REDUCE}, true},
};

/* ---- elements ---- */

size_t kind_size(element_kind kind)
{
    static const size_t size[KINDS] = {sizeof(float), sizeof(double), sizeof(int32_t), sizeof(sp_least_element),
                                       sizeof(double)};

    return size[kind];
}

/* Finite and of moderate size, whatever is there. */
static double bounded(double value)
{
    return isfinite(value) ? fmod(value, 1e6) : -1.5;
}

static double load(element_kind kind, const void *block, ptrdiff_t e)
{
    switch (kind) {
    case KIND_FLOAT:
        return bounded(((const float *)block)[e]);
    case KIND_DOUBLE:
    case KIND_THING:
        return bounded(((const double *)block)[e]);
    case KIND_INT:
        return ((const int32_t *)block)[e];
    case KIND_LEAST:
        return bounded(((const sp_least_element *)block)[e].key) + 0.25 * ((const sp_least_element *)block)[e].payload;
    case KINDS:
        break;
    }
    return 0.0;
}

static void store(element_kind kind, void *block, ptrdiff_t e, double value)
{
    const double rest = bounded(value);

    switch (kind) {
    case KIND_FLOAT:
        ((float *)block)[e] = (float)rest;
        break;
    case KIND_DOUBLE:
    case KIND_THING:
        ((double *)block)[e] = rest;
        break;
    case KIND_INT:
        ((int32_t *)block)[e] = (int32_t)fmod(rest, 7.0); /* few, to be labels */
        break;
    case KIND_LEAST:
        ((sp_least_element *)block)[e] = (sp_least_element){(float)rest, (int32_t)fmod(rest * 16.0, 1000.0)};
        break;
    case KINDS:
        break;
    }
}

/* A contribution to a sum, or an offer to a least element with a key that others offer too. */
static void contribute(element_kind kind, void *block, ptrdiff_t e, double value, int32_t who)
{
    switch (kind) {
    case KIND_FLOAT:
        ((float *)block)[e] += (float)value;
        break;
    case KIND_DOUBLE:
    case KIND_THING:
        ((double *)block)[e] += value;
        break;
    case KIND_INT:
        ((int32_t *)block)[e] += (int32_t)fmod(value, 1000.0);
        break;
    case KIND_LEAST: {
        const float key = (float)fmod(floor(value), 3.0);
        sp_least_element *least = (sp_least_element *)block + e;

        *least = key < least->key ? (sp_least_element){key, who} : *least;
        break;
    }
    case KINDS:
        break;
    }
}

void make_element(element_kind kind, int32_t value, void *element)
{
    store(kind, element, 0, value * 0.37);
}

double digest_block(double digest, element_kind kind, const void *block, ptrdiff_t count)
{
    for (ptrdiff_t e = 0; e < count; e++) {
        digest = fmod(digest * 0.9375 + load(kind, block, e), 1e6);
    }
    return digest;
}

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t count)
{
    hash ^= 0xcbf29ce484222325u;
    for (size_t i = 0; i < count; i++) { /* FNV-1a */
        hash = (hash ^ ((const unsigned char *)bytes)[i]) * 0x100000001b3u;
    }
    return hash;
}

/* ---- what tasks compute ---- */

call make_call(const shape *s, const operation *o, uint64_t salt)
{
    call c = {.task = o->task, .value = o->value + (int32_t)(salt % 11), .scratch = o->scratch};

    c.points[0] = (int32_t)o->points[0];
    c.points[1] = (int32_t)o->points[1];
    for (; c.arguments < MOST_ARGUMENTS && tasks[o->task].privilege[c.arguments] != SP_NONE; c.arguments++) {
        c.kind[c.arguments] = (int8_t)s->region[o->argument[c.arguments].region].kind;
        c.selector[c.arguments] = (int8_t)o->argument[c.arguments].selector;
    }
    return c;
}

/* All that a task reads, at element e of argument `to`. */
static double value_at(const call *c, const ptrdiff_t point[2], const view *argument, int to, ptrdiff_t e)
{
    double value = 0.37 * c->value + 0.11 * (double)(argument[to].first + e) + (double)(3 * point[0] + point[1]) + to;

    for (int k = 0; k < c->arguments; k++) {
        const view *v = &argument[k];

        if (v->is_whole) {
            value = 0.75 * value + v->digest;
        } else if (v->privilege == SP_READ || (v->privilege == SP_READ_WRITE && k == to)) {
            value = 0.75 * value + load(v->kind, v->in, e % v->count);
        }
    }
    return value;
}

static void treat(const call *c, const ptrdiff_t point[2], const view *argument, int k, ptrdiff_t e)
{
    const view *v = &argument[k];
    const double value = value_at(c, point, argument, k, e);
    const int32_t who = (int32_t)(point[0] * 1000 + point[1]);

    if (v->privilege == SP_REDUCE) { /* terms of many sizes: the order of a sum shows */
        contribute(v->kind, v->out, e, ldexp(value, (7 * (int)point[0] + 5 * (int)point[1] + (int)e) % 16), who);
    } else {
        store(v->kind, v->out, e, value);
    }
}

void compute(const call *c, const ptrdiff_t point[2], const view *argument, find_members members, ptrdiff_t *member)
{
    ptrdiff_t found = 0;

    if (tasks[c->task].colours) {
        found = members(argument[0].in, argument[0].count, c->value % 7, member);
    }
    for (int k = 0; k < c->arguments; k++) {
        const view *v = &argument[k];

        if (v->privilege == SP_READ) {
            continue;
        }
        for (ptrdiff_t e = 0; e < v->count && (!tasks[c->task].colours || v->privilege == SP_WRITE); e++) {
            treat(c, point, argument, k, e);
        }
        for (ptrdiff_t m = 0; m < found && v->privilege != SP_WRITE; m++) {
            treat(c, point, argument, k, member[m] % v->count);
        }
        for (ptrdiff_t m = 0; m < found && v->privilege == SP_WRITE; m++) {
            store(v->kind, v->out, member[m] % v->count, (double)m);
        }
    }
}

/* ---- spaces and regions ---- */

static void add_blocks(shape *s, int space, ptrdiff_t count)
{
    const ptrdiff_t per_block = s->space[space].per_block;

    s->space[space].count += count;
    for (; count > 0; count -= per_block) {
        const ptrdiff_t b = s->space[space].blocks++;

        s->space[space].first[b + 1] = s->space[space].first[b] + (count < per_block ? count : per_block);
    }
}

void shape_apply(shape *s, const operation *o)
{
    switch (o->what) {
    case NEW_SPACE:
        s->space[s->spaces].per_block = o->per_block;
        add_blocks(s, s->spaces++, o->count);
        break;
    case GROW:
        add_blocks(s, o->space, o->count);
        break;
    case NEW_REGION:
        s->region[s->regions].space = o->space;
        s->region[s->regions].kind = o->kind;
        s->region[s->regions].group = o->group;
        s->region[s->regions++].alive = true;
        break;
    case FREE_REGION:
        s->region[o->region].alive = false;
        break;
    default:
        break;
    }
}

bool shape_shows(const shape *s, int region)
{
    return s->region[region].alive && s->region[region].kind != KIND_THING && s->region[region].group == 0;
}

/* ---- random programs ---- */

typedef struct maker {
    program *p;
    int most; /* operations */
    shape *now;
    sp_rng rng;
} maker;

static ptrdiff_t below(maker *m, ptrdiff_t n)
{
    return (ptrdiff_t)(sp_rng_u32(&m->rng) % (uint32_t)n);
}

static ptrdiff_t blocks_of(const maker *m, int region)
{
    return m->now->space[m->now->region[region].space].blocks;
}

/* The blocks that all points of a launch get of an argument: first .. end - 1; and how many points share one. */
static void reach(const maker *m, const operation *o, const operand *a, ptrdiff_t *first, ptrdiff_t *end,
                  ptrdiff_t *sharers)
{
    const ptrdiff_t all = o->points[0] * o->points[1];

    *first = a->block;
    *end = a->block + (a->selector == SP_AT     ? 1
                       : a->selector == SP_BY_I ? o->points[0]
                       : a->selector == SP_BY_J ? o->points[1]
                                                : blocks_of(m, a->region));
    *sharers = a->selector == SP_BY_I ? o->points[1] : a->selector == SP_BY_J ? o->points[0] : all;
}

/* Does a point of the launch have to run where the blocks of this argument live? */
static bool binds(const maker *m, const operation *o, int k)
{
    const sp_privilege privilege = tasks[o->task].privilege[k];

    return privilege == SP_WRITE || privilege == SP_READ_WRITE ||
           m->now->region[o->argument[k].region].kind == KIND_THING;
}

/* What a launch writes, the same ranks share. */
static bool share(const maker *m, const operation *o, int k, int l)
{
    const sp_privilege *privilege = tasks[o->task].privilege;
    const bool written = (binds(m, o, k) || privilege[k] == SP_REDUCE) && (binds(m, o, l) || privilege[l] == SP_REDUCE);

    return !written || m->now->region[o->argument[k].region].group == m->now->region[o->argument[l].region].group;
}

/* Do these two arguments go together? */
static bool agree(const maker *m, const operation *o, int k, int l)
{
    const operand *a = &o->argument[k], *b = &o->argument[l];
    const sp_privilege *privilege = tasks[o->task].privilege;
    const bool same_place = m->now->region[a->region].space == m->now->region[b->region].space &&
                            a->selector == b->selector && a->block == b->block;

    if (a->region == b->region && (privilege[k] != SP_READ || privilege[l] != SP_READ)) {
        return a->selector == SP_AT && b->selector == SP_AT && a->block != b->block &&
               !(binds(m, o, k) && binds(m, o, l));
    }
    return share(m, o, k, l) && (!(binds(m, o, k) && binds(m, o, l)) || same_place);
}

static bool fits(const maker *m, const operation *o, int k)
{
    const operand *a = &o->argument[k];
    const sp_privilege privilege = tasks[o->task].privilege[k];
    const element_kind kind = m->now->region[a->region].kind;
    ptrdiff_t first, end, sharers;

    reach(m, o, a, &first, &end, &sharers);
    if (!m->now->region[a->region].alive || end > blocks_of(m, a->region) ||
        (a->selector == SP_WHOLE && (privilege != SP_READ || kind == KIND_THING)) ||
        (privilege == SP_REDUCE && (kind == KIND_THING || m->now->region[a->region].group > 0)) ||
        (privilege == SP_WRITE && sharers > 1) ||
        (tasks[o->task].colours && k == 0 && (kind != KIND_INT || a->selector == SP_WHOLE))) {
        return false;
    }
    for (ptrdiff_t b = first; b < end && (privilege == SP_READ || privilege == SP_READ_WRITE); b++) {
        if (!m->now->region[a->region].written[b]) {
            return false;
        }
    }
    for (int l = 0; l < k; l++) {
        if (!agree(m, o, l, k)) {
            return false;
        }
    }
    return true;
}

/* Any block; or those from one on, where points leave blocks free. */
static ptrdiff_t choose_first(maker *m, const operation *o, const operand *a)
{
    const ptrdiff_t blocks = blocks_of(m, a->region),
                    points = a->selector == SP_BY_I   ? o->points[0]
                             : a->selector == SP_BY_J ? o->points[1]
                                                      : blocks,
                    free = blocks > points ? blocks - points : 0;

    return a->selector == SP_AT ? below(m, blocks) : below(m, 2) == 0 ? below(m, free + 1) : 0;
}

/* Some argument k that fits those before it; one in the place of argument k - 1 is tried more often than chance would
 * have it, for tasks that write two. */
static bool choose_argument(maker *m, operation *o, int k)
{
    for (int trial = 0; trial < 60; trial++) {
        operand *a = &o->argument[k];

        a->region = (int)below(m, m->now->regions);
        a->selector = (sp_selector)(below(m, 5) % 4); /* by i more often than others */
        a->block = choose_first(m, o, a);
        if (k > 0 && below(m, 3) == 0) {
            a->selector = o->argument[k - 1].selector;
            a->block = a->selector == SP_WHOLE ? 0 : o->argument[k - 1].block;
        }
        if (fits(m, o, k)) {
            return true;
        }
    }
    return false;
}

/* Marks what a launch writes. True: all of it had been written before. */
static bool mark_written(maker *m, const operation *o)
{
    bool before = true;

    for (int k = 0; k < MOST_ARGUMENTS && tasks[o->task].privilege[k] != SP_NONE; k++) {
        const operand *a = &o->argument[k];
        ptrdiff_t first, end, sharers;

        reach(m, o, a, &first, &end, &sharers);
        for (ptrdiff_t b = first; b < end && tasks[o->task].privilege[k] != SP_READ; b++) {
            before = before && m->now->region[a->region].written[b];
            m->now->region[a->region].written[b] = true;
        }
    }
    return before;
}

static bool choose_launch(maker *m, operation *o)
{
    const int leader = (int)below(m, m->now->spaces), second = (int)below(m, m->now->spaces);
    const ptrdiff_t most = m->now->space[leader].blocks;

    o->task = (int)below(m, TASKS);
    o->points[0] = below(m, 4) == 0 ? 1 + below(m, most) : most;
    o->points[1] = below(m, 5) < 3 ? 1 : below(m, 2) == 0 ? 1 + below(m, 4) : m->now->space[second].blocks;
    if (below(m, 8) == 0) { /* a row instead of a column */
        o->points[1] = o->points[0];
        o->points[0] = 1;
    }
    if (o->points[0] * o->points[1] > MOST_POINTS) {
        return false;
    }
    for (int k = 0; tasks[o->task].privilege[k] != SP_NONE; k++) {
        if (!choose_argument(m, o, k)) {
            return false;
        }
    }
    o->lanes = below(m, 2) == 0 ? 1 + below(m, MOST_LANES) : 0;
    o->scratch = below(m, 2) == 0 ? (int32_t)below(m, MOST_SCRATCH) : 0;
    o->optional = mark_written(m, o) && below(m, 3) == 0;
    return true;
}

static bool choose_space(maker *m, operation *o)
{
    if (m->now->spaces == MOST_SPACES) {
        return false;
    }
    o->count = 1 + below(m, below(m, 12) == 0 ? 2000 : 40);
    o->per_block = below(m, 4) == 0 ? o->count : 1 + below(m, 9);
    if (o->count / o->per_block >= MOST_BLOCKS / 2) {
        o->per_block = o->count / 7;
    }
    return true;
}

static bool choose_growth(maker *m, operation *o)
{
    o->space = (int)below(m, m->now->spaces);
    o->count = 1 + below(m, 12);
    return m->now->space[o->space].blocks + o->count <= MOST_BLOCKS;
}

static bool choose_region(maker *m, operation *o)
{
    o->space = (int)below(m, m->now->spaces);
    o->kind = (element_kind)(below(m, KINDS + 2) % KINDS); /* floats and doubles more often */
    o->group = o->kind != KIND_THING && below(m, 3) == 0 ? 1 + (int)below(m, 3) : 0;
    return m->now->regions < MOST_REGIONS;
}

/* A region that lives, and a block of it. */
static bool choose_block(maker *m, operation *o)
{
    if (m->now->regions == 0) {
        return false;
    }
    o->region = (int)below(m, m->now->regions);
    o->block = below(m, blocks_of(m, o->region));
    return m->now->region[o->region].alive;
}

static bool choose_fill(maker *m, operation *o)
{
    bool before = true;

    if (!choose_block(m, o) || m->now->region[o->region].kind == KIND_THING) {
        return false;
    }
    for (ptrdiff_t b = 0; b < blocks_of(m, o->region); b++) {
        before = before && m->now->region[o->region].written[b];
        m->now->region[o->region].written[b] = true;
    }
    o->optional = before && below(m, 2) == 0;
    return true;
}

static bool choose(maker *m, operation *o)
{
    switch (o->what) {
    case NEW_SPACE:
        return choose_space(m, o);
    case GROW:
        return choose_growth(m, o);
    case NEW_REGION:
        return choose_region(m, o);
    case FREE_REGION:
        return choose_block(m, o);
    case FILL:
        return choose_fill(m, o);
    case LAUNCH:
        return m->now->regions > 0 && choose_launch(m, o);
    case DECIDE:
        return choose_block(m, o) && m->now->region[o->region].written[o->block] && shape_shows(m->now, o->region);
    case FENCE:
        break;
    }
    return true;
}

/* One operation of this sort, if a few trials find any. */
static void add(maker *m, verb what)
{
    for (int trial = 0; trial < 20 && m->p->operations < m->most; trial++) {
        operation *o = &m->p->operation[m->p->operations];

        *o = (operation){.what = what, .value = (int32_t)below(m, 100)};
        if (choose(m, o)) {
            shape_apply(m->now, o);
            m->p->operations++;
            return;
        }
    }
}

void make_program(uint64_t seed, int most, program *p)
{
    maker m = {.p = p,
               .most = most < MOST_OPERATIONS ? most : MOST_OPERATIONS,
               .now = &p->end,
               .rng = sp_rng_stream(seed, PURPOSE, 0)};

    memset(p, 0, sizeof *p);
    for (ptrdiff_t n = 2 + below(&m, 3); n > 0; n--) {
        add(&m, NEW_SPACE);
    }
    for (ptrdiff_t n = 5 + below(&m, 8); n > 0; n--) {
        add(&m, NEW_REGION);
    }
    for (ptrdiff_t n = 3 + below(&m, 4); n > 0; n--) {
        add(&m, FILL);
    }
    for (ptrdiff_t n = 20 + below(&m, 41); n > 0; n--) {
        static const verb some[] = {LAUNCH, LAUNCH, LAUNCH, LAUNCH,     LAUNCH,      LAUNCH, LAUNCH, LAUNCH,
                                    LAUNCH, FILL,   DECIDE, NEW_REGION, FREE_REGION, GROW,   FENCE,  NEW_SPACE};

        add(&m, some[below(&m, sizeof some / sizeof *some)]);
    }
}

/* ---- to read ---- */

static void show_launch(const operation *o)
{
    printf(" %s over %td x %td, %td lanes, value %d:", tasks[o->task].name, o->points[0], o->points[1], o->lanes,
           o->value);
    for (int k = 0; tasks[o->task].privilege[k] != SP_NONE; k++) {
        static const char *const selector[] = {"i + ", "j + ", "", "whole + "}, *const privilege[] = {"", "read",
                                                                                                      "write", "update",
                                                                                                      "reduce"};
        const operand *a = &o->argument[k];

        printf(" %s %d[%s%td]", privilege[tasks[o->task].privilege[k]], a->region, selector[a->selector], a->block);
    }
}

void show_program(const program *p)
{
    static const char *const name[] = {"space", "grow", "region", "free", "fill", "launch", "decide", "fence"},
                             *const of[] = {"float", "double", "int", "least", "thing"};
    int spaces = 0, regions = 0;

    for (int i = 0; i < p->operations; i++) {
        const operation *o = &p->operation[i];

        printf("%3d: %s%s", i, name[o->what], o->optional ? " perhaps" : "");
        switch (o->what) {
        case NEW_SPACE:
            printf(" %d: %td by %td", spaces++, o->count, o->per_block);
            break;
        case GROW:
            printf(" %d by %td", o->space, o->count);
            break;
        case NEW_REGION:
            printf(" %d: %s over space %d, in groups of %d", regions++, of[o->kind], o->space, o->group);
            break;
        case FREE_REGION:
        case FILL:
            printf(" %d", o->region);
            break;
        case LAUNCH:
            show_launch(o);
            break;
        case DECIDE:
            printf(" by %d[%td]", o->region, o->block);
            break;
        case FENCE:
            break;
        }
        printf("\n");
    }
}
