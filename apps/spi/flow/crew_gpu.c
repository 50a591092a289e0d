/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/crew_gpu.h"

#include <string.h>

#include "base/memory.h"
#include "flow/loop.h"

/* ---- images ---- */

static void lend(sp_task *t)
{
    const sp_crew *crew = *sp_task_object(t, 0);
    const sp_patterns **part = sp_task_out(t, 1);

    *part = &crew->patterns;
}
static const sp_task_type lend_task = {.name = "lend", .run = lend, .privilege = {SP_READ, SP_WRITE}};

sp_status sp_crews_lend(sp_loop *l)
{
    sp_crews *c = &l->crews;
    const ptrdiff_t rank = sp_run_rank(c->run), first = first_of_rank(l, rank), end = first_of_rank(l, rank + 1);
    sp_region *lent = NULL;
    const sp_patterns **part = NULL; /* those of other ranks mean nothing here */
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(part, blocks_of(l)));
    SP_TRY(sp_region_new(c->blocks, "lent", sizeof *part, &lent));
    sp_launch(c->run, .type = &lend_task, .points = {blocks_of(l)}, .argument = {sp_by_i(c->crew), sp_by_i(lent)});
    SP_TRY(sp_run_gather(c->run, lent, part));
    SP_TRY(sp_run_agree(c->run, sp_rank_gpu_take_images(l, first * c->per_block, part + first, end - first)));
done:
    sp_region_free(lent);
    sp_array_free(part);
    return status;
}

/* ---- matching ---- */

static void take_lists(sp_task *t)
{
    const sp_loop *l = order_of(t)->loop;

    memcpy(sp_task_out(t, 0), sp_rank_gpu_lists(l->gpu, sp_task_first(t, 0)),
           (size_t)(sp_task_count(t, 0) * l->keep) * sizeof(sp_candidate));
}
static const sp_task_type take_lists_task = {.name = "search", .run = take_lists, .privilege = {SP_WRITE}};

sp_status sp_crews_search_on_gpu(sp_loop *l, int k)
{
    const order o = {.loop = l};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    SP_TRY(sp_run_agree(c->run, sp_rank_gpu_search(l, k)));
    sp_launch(c->run, .type = &take_lists_task, .points = {blocks_of(l)}, .argument = {sp_by_i(c->best)}, SP_VALUES(o));
    SP_TRY(sp_run_fence(c->run)); /* before the next search */
done:
    return status;
}

static void take_found(sp_task *t)
{
    const order *o = order_of(t);
    sp_winner *winner = sp_task_out(t, 0);

    for (ptrdiff_t i = 0; i < sp_task_count(t, 0); i++) {
        const sp_found found = *sp_rank_gpu_found(o->loop->gpu, sp_task_first(t, 0) + i);

        challenge(&winner[i], o->conformation, found.orientation, found.fit);
    }
}
static const sp_task_type take_found_task = {.name = "refine", .run = take_found, .privilege = {SP_READ_WRITE}};

sp_status sp_crews_refine_on_gpu(sp_loop *l, int k)
{
    const order o = {.loop = l, .conformation = k};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    SP_TRY(sp_run_agree(c->run, sp_rank_gpu_refine(l, k, CLIMB_STEPS)));
    sp_launch(c->run, .type = &take_found_task, .points = {blocks_of(l)}, .argument = {sp_by_i(c->winner)},
              SP_VALUES(o));
    SP_TRY(sp_run_fence(c->run));
done:
    return status;
}

/* Of the images that were assessed now; the others stay as they are. */
static void take_scores(sp_task *t)
{
    const order *o = order_of(t);
    float *score = sp_task_out(t, 0), *scale = sp_task_out(t, 1);

    for (ptrdiff_t i = 0; i < sp_task_count(t, 0); i++) {
        const ptrdiff_t n = sp_task_first(t, 0) + i;

        if (sp_loop_is_assessed(o->loop, n, o->conformation, o->label)) {
            const sp_assessed assessed = *sp_rank_gpu_assessed(o->loop->gpu, n);

            score[i] = assessed.score;
            scale[i] = assessed.scale;
        }
    }
}
static const sp_task_type take_scores_task = {
    .name = "assess", .run = take_scores, .privilege = {SP_READ_WRITE, SP_READ_WRITE}};

static void take_scatter(sp_task *t)
{
    const double *from = sp_rank_gpu_scatter(order_of(t)->loop->gpu);
    double *scatter = sp_task_out(t, 1);

    for (ptrdiff_t i = 0; i < sp_task_count(t, 1); i++) {
        scatter[i] += from[i];
    }
}
static const sp_task_type take_scatter_task = {
    .name = "assess", .run = take_scatter, .privilege = {SP_READ, SP_REDUCE}};

sp_status sp_crews_assess_on_gpu(sp_loop *l, const order *o)
{
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    SP_TRY(sp_run_agree(c->run, sp_rank_gpu_assess(l, o->conformation, o->orientation, o->label)));
    sp_launch(c->run, .type = &take_scores_task, .points = {blocks_of(l)},
              .argument = {sp_by_i(c->score), sp_by_i(c->scale)}, SP_VALUES(*o));
    sp_launch(c->run, .type = &take_scatter_task, .points = {sp_run_ranks(c->run)},
              .argument = {sp_by_i(c->seat), sp_into(sp_at(c->scatter, 0), &sp_sum_double)}, SP_VALUES(*o));
    SP_TRY(sp_run_fence(c->run));
done:
    return status;
}

/* ---- merging ---- */

static void take_pair(sp_task *t)
{
    const float *from = sp_rank_gpu_pair(order_of(t)->loop->gpu);

    memcpy(sp_task_out(t, 1), from, (size_t)sp_task_count(t, 1) * sizeof *from);
}
static const sp_task_type take_pair_task = {.name = "merge", .run = take_pair, .privilege = {SP_READ, SP_REDUCE}};

sp_status sp_crews_merge_on_gpu(sp_loop *l, const sp_placement *placement, const order *o, double *residual)
{
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    if (sp_rank_gpu_does_all(l)) {
        return sp_rank_gpu_merge(l, o->conformation, placement, o->label, &residual[o->conformation]);
    }
    SP_TRY(sp_run_agree(c->run, sp_rank_gpu_spread(l, o->conformation, placement, o->label)));
    sp_launch(c->run, .type = &take_pair_task, .points = {sp_run_ranks(c->run)},
              .argument = {sp_by_i(c->seat), sp_into(sp_at(c->of[o->conformation].pair, 0), &sp_sum_float)},
              SP_VALUES(*o));
    SP_TRY(sp_run_fence(c->run));
done:
    return status;
}

/* ---- phasing ---- */

bool sp_crews_phases_on_gpu(const sp_loop *l)
{
    return l->gpu && (sp_rank_gpu_does_all(l) || !l->complete);
}

/* On rank 0, which has phased. */
static void take_phased(sp_task *t)
{
    const order *o = order_of(t);
    const sp_loop *l = o->loop;
    const ptrdiff_t cube = sp_loop_cube(l);
    sp_phase_result *result = sp_task_out(t, 1);

    memcpy(sp_task_out(t, 0), l->density + o->conformation * cube, (size_t)cube * sizeof *l->density);
    *result = *sp_rank_gpu_phased(l->gpu);
}
static const sp_task_type take_phased_task = {.name = "choose", .run = take_phased, .privilege = {SP_WRITE, SP_WRITE}};

static void take_start(sp_task *t)
{
    const sp_loop *l = order_of(t)->loop;
    const ptrdiff_t start = sp_task_point(t, 0), cube = sp_loop_cube(l);
    sp_phase_outcome *outcome = sp_task_out(t, 1);

    memcpy(sp_task_out(t, 0), sp_rank_gpu_start(l->gpu, (int)start, outcome), (size_t)cube * sizeof(float));
}
static const sp_task_type take_start_task = {.name = "phase", .run = take_start, .privilege = {SP_WRITE, SP_WRITE}};

/* All starts, for their mean. */
static sp_status take_starts(sp_loop *l, int k)
{
    const order o = {.loop = l};
    const sp_conformation *f = &l->crews.of[k];
    sp_status status = SP_OK;

    SP_TRY(sp_rank_gpu_fetch_starts(l));
    sp_launch(l->crews.run, .type = &take_start_task, .points = {l->phasing.starts},
              .argument = {sp_by_i(f->start), sp_by_i(f->outcome)}, SP_VALUES(o));
    SP_TRY(sp_run_fence(l->crews.run));
done:
    return status;
}

sp_status sp_crews_phase_on_gpu(sp_loop *l, int k)
{
    const order o = {.loop = l, .conformation = k};
    sp_crews *c = &l->crews;
    const sp_conformation *f = &c->of[k];
    sp_status status = SP_OK;
    float *merged = NULL; /* of several ranks, by tasks */

    if (!sp_rank_gpu_does_all(l)) {
        SP_TRY(SP_ARRAY(merged, sp_loop_cube(l)));
        SP_TRY(sp_run_get(c->run, f->autocorrelation, 0, merged));
    }
    status = sp_run_rank(c->run) == 0 ? sp_rank_gpu_phase(l, k, merged) : SP_OK;
    SP_TRY(sp_run_agree(c->run, status));
    sp_launch(c->run, .type = &take_phased_task, .argument = {sp_at(f->density, 0), sp_at(f->phased, 0)}, SP_VALUES(o));
    SP_TRY(sp_run_fence(c->run));
    if (l->complete) {
        SP_TRY(take_starts(l, k));
    }
done:
    sp_array_free(merged);
    return status;
}

/* ---- the model ---- */

static void take_model(sp_task *t)
{
    const order *o = order_of(t);
    const ptrdiff_t cube = sp_loop_cube(o->loop);

    memcpy(sp_task_out(t, 0), o->loop->model + o->conformation * cube, (size_t)cube * sizeof *o->loop->model);
}
static const sp_task_type take_model_task = {.name = "model", .run = take_model, .privilege = {SP_WRITE}};

static sp_status load_model(sp_loop *l, int k)
{
    const order o = {.loop = l, .conformation = k};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    status = sp_run_rank(c->run) == 0 ? sp_rank_gpu_make_model(l, k) : SP_OK;
    SP_TRY(sp_run_agree(c->run, status));
    sp_launch(c->run, .type = &take_model_task, .argument = {sp_at(c->of[k].model, 0)}, SP_VALUES(o));
    SP_TRY(sp_run_get(c->run, c->of[k].model, 0, l->model + k * sp_loop_cube(l)));
    SP_TRY(sp_run_agree(c->run, sp_rank_gpu_load_model(l, k)));
done:
    return status;
}

sp_status sp_crews_load_model_on_gpu(sp_loop *l)
{
    sp_status status = SP_OK;

    for (int k = 0; k < l->conformations; k++) {
        if (!sp_loop_rests(l, k)) {
            SP_TRY(load_model(l, k));
        }
    }
done:
    return status;
}
