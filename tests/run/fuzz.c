/* SPDX-License-Identifier: BSD-3-Clause */
/* fuzz.c -- runs the random programs of some seeds and prints, for each, a hash of all that its regions hold at the
 * end:
 *
 *     run_fuzz [--engine local|starpu] [--threads N] FIRST LAST
 *     run_fuzz --oracle FIRST LAST     the same by a plain interpreter
 *     run_fuzz --show FIRST LAST       the programs, to read
 *
 * With --first N, only the first N operations of each program: to find the one that goes wrong.
 *
 * The lines of all of them must be the same, on any number of threads and ranks: tests/run/fuzz.sh. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/memory.h"
#include "oracle.h"
#include "program.h"

/* [s] far more than any task needs */
static const double PATIENCE = 120.0;

typedef struct fuzz {
    sp_run *run;
    shape now;
    sp_space *space[MOST_SPACES];
    sp_region *region[MOST_REGIONS];
    uint64_t salt;
} fuzz;

/* ---- reductions ---- */

static void begin_ints(void *block, size_t bytes)
{
    memset(block, 0, bytes);
}

static void add_ints(void *into, const void *from, size_t bytes)
{
    for (size_t i = 0; i < bytes / sizeof(int32_t); i++) {
        ((int32_t *)into)[i] += ((const int32_t *)from)[i];
    }
}

static const sp_reduction sum_ints = {begin_ints, add_ints};

static const sp_reduction *reduction_of(element_kind kind)
{
    return kind == KIND_FLOAT    ? &sp_sum_float
           : kind == KIND_DOUBLE ? &sp_sum_double
           : kind == KIND_INT    ? &sum_ints
                                 : &sp_least;
}

/* ---- tasks ---- */

/* The number of a thing; made if the task may. */
static double *number_of(sp_task *t, int k, sp_privilege privilege)
{
    void **object = sp_task_object(t, k);

    if (!*object && privilege == SP_WRITE) {
        *object = calloc(1, sizeof(double));
    }
    if (!*object) {
        sp_task_fail(t, SP_ERR_MEMORY, "argument %d is no thing", k);
    }
    return *object;
}

static double digest_whole(const sp_task *t, int k, element_kind kind)
{
    double digest = 0.0;
    ptrdiff_t seen = 0, count;

    for (ptrdiff_t b = 0; seen < sp_task_count(t, k); b++, seen += count) {
        const void *part = sp_task_part(t, k, b, &count);

        digest = digest_block(digest, kind, part, count);
    }
    return digest;
}

static view look_at(sp_task *t, int k, sp_privilege privilege, element_kind kind, sp_selector selector)
{
    view v = {.privilege = privilege, .kind = kind, .is_whole = selector == SP_WHOLE};

    if (v.is_whole) {
        v.digest = digest_whole(t, k, kind);
        return v;
    }
    v.count = sp_task_count(t, k);
    v.first = sp_task_first(t, k);
    if (kind == KIND_THING) {
        v.in = v.out = number_of(t, k, privilege);
        return v;
    }
    v.in = privilege == SP_READ || privilege == SP_READ_WRITE ? sp_task_in(t, k) : NULL;
    v.out = privilege != SP_READ ? sp_task_out(t, k) : NULL;
    return v;
}

/* Work space that a task needs, before that which it marks. */
static size_t room_for_members(int number)
{
    return tasks[number].colours ? MOST_COUNT * sizeof(ptrdiff_t) : 0;
}

static unsigned char mark_of(const ptrdiff_t point[2])
{
    return (unsigned char)(1 + (13 * point[0] + point[1]) % 255);
}

static void run_task(sp_task *t)
{
    const call *c = sp_task_values(t);
    const ptrdiff_t point[2] = {sp_task_point(t, 0), sp_task_point(t, 1)};
    view v[MOST_ARGUMENTS];
    unsigned char *marked = sp_task_scratch(t);

    for (int k = 0; k < c->arguments; k++) {
        v[k] = look_at(t, k, tasks[c->task].privilege[k], (element_kind)c->kind[k], (sp_selector)c->selector[k]);
        if (v[k].kind == KIND_THING && !v[k].out) {
            return;
        }
    }
    marked += marked ? room_for_members(c->task) : 0;
    for (int32_t i = 0; i < c->scratch; i++) {
        marked[i] = mark_of(point);
    }
    if ((7 * point[0] + 5 * point[1] + c->value) % 16 == 0) { /* let others overtake */
        nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
    compute(c, point, v, sp_members, sp_task_scratch(t));
    for (int32_t i = 0; i < c->scratch; i++) {
        if (marked[i] != mark_of(point)) {
            sp_task_fail(t, SP_ERR_NUMERIC, "another task has been in byte %d of its work space", (int)i);
            break;
        }
    }
}

/* ---- operations ---- */

static void launch(fuzz *f, const operation *o, const sp_task_type *types)
{
    const call c = make_call(&f->now, o, f->salt);
    sp_argument a[MOST_ARGUMENTS] = {{0}};

    for (int k = 0; k < c.arguments; k++) {
        sp_region *region = f->region[o->argument[k].region];

        a[k] = o->argument[k].selector == SP_BY_I   ? sp_by_i(region)
               : o->argument[k].selector == SP_BY_J ? sp_by_j(region)
               : o->argument[k].selector == SP_AT   ? sp_at(region, 0)
                                                    : sp_whole(region);
        a[k] = sp_from(a[k], o->argument[k].block);
        if (tasks[o->task].privilege[k] == SP_REDUCE) {
            a[k] = sp_into(a[k], reduction_of((element_kind)c.kind[k]));
        }
    }
    sp_launch(f->run, .type = &types[o->task], .points = {o->points[0], o->points[1]},
              .argument = {a[0], a[1], a[2], a[3]}, SP_VALUES(c), .lanes = o->lanes,
              .scratch = room_for_members(o->task) + (size_t)o->scratch);
}

static sp_status make_region(fuzz *f, const operation *o)
{
    sp_space *space = f->space[o->space];
    sp_region **region = &f->region[f->now.regions];

    return o->kind == KIND_THING ? sp_objects_new(space, "things", free, region)
           : o->group > 0        ? sp_region_new_grouped(space, "numbers", kind_size(o->kind), o->group, region)
                                 : sp_region_new(space, "numbers", kind_size(o->kind), region);
}

static size_t bytes_of(const fuzz *f, int region, ptrdiff_t first, ptrdiff_t end)
{
    const ptrdiff_t *place = f->now.space[f->now.region[region].space].first;

    return (size_t)(place[end] - place[first]) * kind_size(f->now.region[region].kind);
}

/* hash = that of blocks first .. end - 1 too, which have been written. */
static sp_status hash_blocks(fuzz *f, int region, ptrdiff_t first, ptrdiff_t end, uint64_t *hash)
{
    const ptrdiff_t blocks = f->now.space[f->now.region[region].space].blocks;
    sp_status status = SP_OK;
    char *copy = NULL, *at;

    SP_TRY(SP_ARRAY(copy, (ptrdiff_t)bytes_of(f, region, first, end)));
    if (end - first == blocks) {
        SP_TRY(sp_run_gather(f->run, f->region[region], copy));
    } else {
        SP_TRY(sp_run_get(f->run, f->region[region], first, copy));
    }
    at = copy;
    for (ptrdiff_t b = first; b < end; b++) {
        *hash = hash_bytes(*hash, at, bytes_of(f, region, b, b + 1));
        at += bytes_of(f, region, b, b + 1);
    }
done:
    sp_array_free(copy);
    return status;
}

static sp_status run_operation(fuzz *f, const operation *o, const sp_task_type *types)
{
    char element[16];
    sp_status status = SP_OK;

    if (o->optional && f->salt % 2 == 1) {
        return SP_OK;
    }
    switch (o->what) {
    case NEW_SPACE:
        SP_TRY(sp_space_new(f->run, o->count, o->per_block, &f->space[f->now.spaces]));
        break;
    case GROW:
        SP_TRY(sp_space_grow(f->space[o->space], o->count));
        break;
    case NEW_REGION:
        SP_TRY(make_region(f, o));
        break;
    case FREE_REGION:
        sp_region_free(f->region[o->region]);
        f->region[o->region] = NULL;
        break;
    case FILL:
        make_element(f->now.region[o->region].kind, o->value, element);
        sp_fill(f->run, f->region[o->region], element);
        break;
    case LAUNCH:
        launch(f, o, types);
        break;
    case DECIDE:
        f->salt = 0;
        SP_TRY(hash_blocks(f, o->region, o->block, o->block + 1, &f->salt));
        break;
    case FENCE:
        SP_TRY(sp_run_fence(f->run));
        break;
    }
    shape_apply(&f->now, o);
done:
    return status;
}

/* ---- programs ---- */

static sp_status hash_all(fuzz *f, const shape *end, uint64_t *hash)
{
    sp_status status = SP_OK;

    for (int r = 0; r < end->regions; r++) {
        const ptrdiff_t blocks = end->space[end->region[r].space].blocks;
        ptrdiff_t written = 0;

        for (ptrdiff_t b = 0; b < blocks; b++) {
            written += end->region[r].written[b];
        }
        if (!shape_shows(end, r)) {
            continue;
        }
        if (written == blocks) {
            SP_TRY(hash_blocks(f, r, 0, blocks, hash));
            continue;
        }
        for (ptrdiff_t b = 0; b < blocks; b++) {
            if (end->region[r].written[b]) {
                SP_TRY(hash_blocks(f, r, b, b + 1, hash));
            }
        }
    }
done:
    return status;
}

/* Frees the regions of most programs; the others are left to the end of the run. */
static sp_status run_program(sp_run *run, const program *p, const sp_task_type *types, bool tidy, uint64_t *hash)
{
    sp_status status = SP_OK;
    fuzz *f = NULL;

    SP_TRY(SP_ARRAY(f, 1));
    f->run = run;
    for (int i = 0; i < p->operations; i++) {
        SP_TRY(run_operation(f, &p->operation[i], types));
    }
    *hash = 0;
    SP_TRY(hash_all(f, &p->end, hash));
    for (int r = 0; tidy && r < MOST_REGIONS; r++) {
        sp_region_free(f->region[r]);
    }
done:
    sp_array_free(f);
    return status;
}

typedef struct settings {
    sp_run_settings run;
    bool oracle, show;
    int most; /* operations */
    uint64_t first, last;
} settings;

static void print_hash(uint64_t seed, uint64_t hash)
{
    printf("seed %llu: %016llx\n", (unsigned long long)seed, (unsigned long long)hash);
}

static sp_status run_plainly(const settings *s, program *p)
{
    sp_status status = SP_OK;

    for (uint64_t seed = s->first; seed <= s->last; seed++) {
        uint64_t hash = 0;

        make_program(seed, s->most, p);
        if (s->show) {
            printf("seed %llu:\n", (unsigned long long)seed);
            show_program(p);
            continue;
        }
        SP_TRY(oracle_run(p, &hash));
        print_hash(seed, hash);
    }
done:
    return status;
}

static sp_status run_all(const settings *s, program *p)
{
    sp_task_type types[TASKS];
    sp_status status = SP_OK;
    sp_run *run = NULL;

    for (int t = 0; t < TASKS; t++) {
        types[t] = (sp_task_type){.name = tasks[t].name, .run = run_task};
        memcpy(types[t].privilege, tasks[t].privilege, MOST_ARGUMENTS * sizeof(sp_privilege));
    }
    SP_TRY(sp_run_new(&s->run, &run));
    for (uint64_t seed = s->first; seed <= s->last; seed++) {
        uint64_t hash = 0;

        make_program(seed, s->most, p);
        SP_TRY(run_program(run, p, types, seed % 4 != 0, &hash));
        if (sp_run_rank(run) == 0) {
            print_hash(seed, hash);
        }
    }
done:
    sp_run_free(run);
    return status;
}

static bool read_arguments(int count, char **argument, settings *s)
{
    int k = 1;

    for (; k < count && argument[k][0] == '-'; k++) {
        if (strcmp(argument[k], "--oracle") == 0) {
            s->oracle = true;
        } else if (strcmp(argument[k], "--show") == 0) {
            s->show = true;
        } else if (strcmp(argument[k], "--threads") == 0 && k + 1 < count) {
            s->run.threads = (int)strtol(argument[++k], NULL, 10);
        } else if (strcmp(argument[k], "--first") == 0 && k + 1 < count) {
            s->most = (int)strtol(argument[++k], NULL, 10);
        } else if (strcmp(argument[k], "--engine") == 0 && k + 1 < count) {
            s->run.engine = strcmp(argument[++k], "starpu") == 0 ? SP_ENGINE_STARPU : SP_ENGINE_LOCAL;
        } else {
            return false;
        }
    }
    if (k + 2 != count) {
        return false;
    }
    s->first = strtoull(argument[k], NULL, 10);
    s->last = strtoull(argument[k + 1], NULL, 10);
    return true;
}

int main(int count, char **argument)
{
    settings s = {.run = {.patience = PATIENCE}, .most = MOST_OPERATIONS};
    static program p;
    sp_status status = SP_OK;

    if (!read_arguments(count, argument, &s)) {
        fprintf(stderr, "run_fuzz [--oracle | --show | --engine local|starpu] [--threads N] [--first N] FIRST LAST\n");
        return 2;
    }
    SP_TRY(sp_log_new(SP_LOG_ERROR, stderr, &s.run.log));
    SP_TRY(s.oracle || s.show ? run_plainly(&s, &p) : run_all(&s, &p));
done:
    if (status != SP_OK) {
        fprintf(stderr, "run_fuzz: %s\n", sp_error_text());
    }
    sp_log_free(s.run.log);
    return status == SP_OK ? 0 : 1;
}
