/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/gpu.h"

#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "device/device.h"
#include "device/match.h"
#include "device/merger.h"
#include "device/phase.h"
#include "device/slicer.h"
#include "device/stack.h"
#include "flow/loop.h"

enum { SPREAD = 1 << 22 }; /* points that are sorted at a time: as many as keep a GPU busy */

struct sp_gpu {
    sp_device *device;
    sp_device_stack *stack;

    /* of the present stage */
    sp_device_slicer *slicer;
    sp_device_merger *merger;
    sp_device_phaser *phaser;
    int starts;
    ptrdiff_t cube;
    float *autocorrelation;    /* device [conformations][cube] */
    float *volume;             /* device [cube] */
    float *amplitude;          /* device [edge][edge][edge/2+1] */
    sp_phase_outcome *outcome; /* [starts] */

    /* images of one call */
    int32_t *number;    /* [images] */
    float *scale;       /* [images] */
    sp_quat *q;         /* [images * most of them at once] */
    float *share;       /* [images][keep] */
    sp_candidate *best; /* [images][keep] */
    double *fit;        /* [images] */
    float *score;       /* [images] */
};

/* ---- open and close ---- */

/* Why a run cannot use a GPU; NULL: it can. */
static const char *hindrance(const sp_loop *l)
{
    const sp_reconstruct_settings *s = &l->state->settings;

    if (sp_run_ranks(l->crews.run) > 1) {
        return "several processes do not share GPUs yet: use --engine local";
    }
    return s->match == SP_MATCH_EUCLIDEAN ? "--match euclidean runs on processors only" : NULL;
}

static sp_status open_device(const sp_loop *l, sp_device **device)
{
    const char *why = hindrance(l);
    sp_status status = SP_OK;

    SP_REQUIRE(!why, SP_ERR_USAGE, "--device cuda: %s", why);
    SP_TRY(sp_device_open(NULL, 0, device));
done:
    return status;
}

sp_status sp_gpu_open(sp_loop *l)
{
    const sp_device_kind kind = l->state->settings.device;
    sp_status status = SP_OK;
    sp_gpu *self = NULL;

    if (kind == SP_DEVICE_CPU) {
        return SP_OK;
    }
    SP_TRY(SP_ARRAY(self, 1));
    status = open_device(l, &self->device);
    if (status == SP_ERR_USAGE && kind == SP_DEVICE_AUTO) {
        sp_log_info(l->log, "no GPU is used: %s", sp_error_text());
        status = SP_OK;
        goto done;
    }
    SP_TRY(status);
    sp_log_info(l->log, "GPU: %s, %.0f GB", self->device->facts.name, (double)self->device->facts.memory / 1e9);
    snprintf(l->state->device, sizeof l->state->device, "%s", self->device->facts.name);
    l->gpu = self;
    self = NULL;
done:
    sp_gpu_close(self);
    return status;
}

static void clear_stage(sp_gpu *self)
{
    const sp_device_kernels *kernels = self->device->kernels;

    sp_device_slicer_free(self->slicer);
    sp_device_merger_free(self->merger);
    kernels->phase->release(self->device, self->phaser);
    kernels->release(self->device, self->autocorrelation);
    kernels->release(self->device, self->volume);
    kernels->release(self->device, self->amplitude);
    sp_array_free(self->outcome);
    self->slicer = NULL;
    self->merger = NULL;
    self->phaser = NULL;
    self->autocorrelation = self->volume = self->amplitude = NULL;
    self->outcome = NULL;
}

void sp_gpu_close(sp_gpu *gpu)
{
    if (!gpu) {
        return;
    }
    if (gpu->device) {
        clear_stage(gpu);
        sp_device_stack_free(gpu->stack);
        sp_device_close(gpu->device);
    }
    sp_array_free(gpu->number);
    sp_array_free(gpu->scale);
    sp_array_free(gpu->q);
    sp_array_free(gpu->share);
    sp_array_free(gpu->best);
    sp_array_free(gpu->fit);
    sp_array_free(gpu->score);
    sp_array_free(gpu);
}

const char *sp_gpu_name(const sp_gpu *gpu)
{
    return gpu->device->facts.name;
}

/* ---- images and stages ---- */

enum { MOST_CANDIDATES = KEEP + 1 }; /* of an image, that are refined */

sp_status sp_gpu_take_images(sp_loop *l, const sp_patterns *const *part, ptrdiff_t parts)
{
    const ptrdiff_t images = l->state->images;
    const sp_device_stack_input input = {.layout = &l->patterns, .part = part, .parts = parts, .matching = l->matching};
    const ptrdiff_t shares = sp_loop_divides(l) ? images * l->keep : images;
    sp_gpu *self = l->gpu;
    sp_status status = SP_OK;

    SP_TRY(sp_device_stack_new(self->device, &input, &self->stack));
    if (!sp_device_stack_is_resident(self->stack)) {
        sp_log_info(l->log, "the images are more than the GPU's memory holds: they come in parts");
    }
    SP_TRY(SP_ARRAY(self->number, shares));
    SP_TRY(SP_ARRAY(self->scale, shares));
    SP_TRY(SP_ARRAY(self->q, shares > images * MOST_CANDIDATES ? shares : images * MOST_CANDIDATES));
    SP_TRY(SP_ARRAY(self->share, shares));
    SP_TRY(SP_ARRAY(self->best, images * l->keep));
    SP_TRY(SP_ARRAY(self->fit, images));
    SP_TRY(SP_ARRAY(self->score, images));
done:
    return status;
}

sp_status sp_gpu_make_stage(sp_loop *l)
{
    sp_gpu *self = l->gpu;
    const sp_device *device = self->device;
    const ptrdiff_t edge = l->state->edge;
    sp_status status = SP_OK;

    clear_stage(self);
    self->cube = sp_loop_cube(l);
    self->starts = l->phasing.starts;
    SP_TRY(sp_device_slicer_new(device, l->slicer, l->conformations, &self->slicer));
    SP_TRY(sp_device_merger_new(device, l->merger[0], SPREAD, &self->merger));
    SP_TRY(device->kernels->phase->make(device, edge, l->state->voxel, self->starts, &self->phaser));
    SP_TRY(SP_DEVICE_ARRAY(device, self->autocorrelation, l->conformations * self->cube));
    SP_TRY(SP_DEVICE_ARRAY(device, self->volume, self->cube));
    SP_TRY(SP_DEVICE_ARRAY(device, self->amplitude, edge * edge * (edge / 2 + 1)));
    SP_TRY(SP_ARRAY(self->outcome, self->starts));
done:
    return status;
}

/* ---- merging ---- */

/* Images of a label as they stand, one after the other; in shares, one share after the other. */
static sp_device_choice choose_placed(const sp_loop *l, const sp_placement *placement, int k, const int32_t *label)
{
    sp_gpu *self = l->gpu;
    sp_device_choice choice = {.image = self->number, .scale = self->scale};

    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        for (int i = 0; i < (placement->each > 0 ? placement->each : 1); i++) {
            const ptrdiff_t at = n * placement->each + i;
            const ptrdiff_t point = placement->each > 0 ? placement->place[at] - placement->first : n;
            const bool here = placement->each > 0 ? label[n] != HELD_OUT && placement->share[at] > 0.0f && point >= 0 &&
                                                        point < placement->points
                                                  : label[n] == k;

            if (here) {
                self->number[choice.images] = (int32_t)n;
                self->scale[choice.images] = l->state->scale[n];
                self->q[choice.images] = placement->orientation[point];
                self->share[choice.images++] = placement->each > 0 ? placement->share[at] : 1.0f;
            }
        }
    }
    return choice;
}

sp_status sp_gpu_merge(sp_loop *l, int k, const sp_placement *placement, const int32_t *label, sp_merge_result *result)
{
    sp_gpu *self = l->gpu;
    const sp_device_choice choice = choose_placed(l, placement, k, label);
    sp_status status = SP_OK;

    SP_TRY(sp_device_merger_begin(self->merger));
    SP_TRY(sp_device_stack_spread(self->stack, &choice, self->q, self->share, l->reach, self->merger));
    SP_TRY(sp_device_merger_solve(self->merger, sp_merger_outermost(&l->patterns, l->reach), LAMBDA, CG_ITERATIONS,
                                  self->autocorrelation + k * self->cube, result));
done:
    return status;
}

sp_status sp_gpu_fetch_autocorrelation(sp_loop *l, int k, float *autocorrelation)
{
    const sp_gpu *self = l->gpu;

    return self->device->kernels->download(self->device, self->autocorrelation + k * self->cube,
                                           (size_t)self->cube * sizeof *autocorrelation, autocorrelation);
}

/* ---- phasing ---- */

sp_status sp_gpu_phase(sp_loop *l, int k, sp_phase_result *result)
{
    sp_gpu *self = l->gpu;
    const sp_device *device = self->device;
    const sp_device_phase_kernels *phase = device->kernels->phase;
    sp_status status = SP_OK;

    SP_TRY(phase->amplitudes(device, self->phaser, self->autocorrelation + k * self->cube, sp_loop_hidden_centre(l),
                             l->reach, self->amplitude));
    SP_TRY(phase->begin(device, self->phaser, self->amplitude, &l->phasing, 0));
    for (int i = 0; i < l->phasing.cycles && !sp_interrupted(); i++) {
        SP_TRY(phase->cycle(device, self->phaser, i));
    }
    SP_TRY(phase->finish(device, self->phaser, self->outcome));
    *result = sp_phase_choose(self->outcome, self->starts);
    SP_TRY(device->kernels->download(device, phase->density(self->phaser, result->winner),
                                     (size_t)self->cube * sizeof(float), l->density + k * self->cube));
done:
    return status;
}

sp_status sp_gpu_fetch_starts(sp_loop *l, sp_phase_outcome *outcome, float *density)
{
    sp_gpu *self = l->gpu;
    const sp_device *device = self->device;
    sp_status status = SP_OK;

    memcpy(outcome, self->outcome, (size_t)self->starts * sizeof *outcome);
    for (int i = 0; i < self->starts; i++) {
        SP_TRY(device->kernels->download(device, device->kernels->phase->density(self->phaser, i),
                                         (size_t)self->cube * sizeof(float), density + i * self->cube));
    }
done:
    return status;
}

/* ---- the model ---- */

sp_status sp_gpu_load_model(sp_loop *l, int k)
{
    sp_gpu *self = l->gpu;
    const sp_device *device = self->device;
    const sp_device_phase_kernels *phase = device->kernels->phase;
    const size_t bytes = (size_t)self->cube * sizeof(float);
    float *model = self->autocorrelation + k * self->cube; /* it has been phased */
    sp_status status = SP_OK;
    double *shells = NULL;

    SP_TRY(SP_ARRAY(shells, 4 * l->state->edge));
    double *const filter = shells + 2 * l->state->edge;

    SP_TRY(device->kernels->upload(device, l->density + k * self->cube, bytes, self->volume));
    SP_TRY(phase->autocorrelate(device, self->phaser, self->volume, NULL, shells, model));
    sp_loop_make_filter(l, k, shells, filter);
    SP_TRY(phase->autocorrelate(device, self->phaser, self->volume, filter, NULL, model));
    SP_TRY(device->kernels->download(device, model, bytes, l->model + k * self->cube));
    SP_TRY(sp_device_slicer_load(self->slicer, k, model));
done:
    sp_array_free(shells);
    return status;
}

/* ---- matching ---- */

static sp_device_view view_of(const sp_loop *l, int k)
{
    return (sp_device_view){.slicer = l->gpu->slicer,
                            .model = k,
                            .pixels = sp_match_pixels(&l->patterns, l->reach),
                            .dispersion = sp_match_dispersion_of(l->matching.kind, l->dispersion)};
}

/* Images of a label, or all, that are not idle.   label  [images] NULL: all, by the state's labels */
static sp_device_choice choose(const sp_loop *l, int k, const int32_t *label)
{
    sp_gpu *self = l->gpu;
    sp_device_choice choice = {.image = self->number, .scale = self->scale};

    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        if (label ? !sp_loop_is_idle(l, n, NULL) && label[n] == k : !sp_loop_is_idle(l, n, l->state->label)) {
            self->number[choice.images] = (int32_t)n;
            self->scale[choice.images++] = l->state->scale[n];
        }
    }
    return choice;
}

sp_status sp_gpu_search(sp_loop *l, int k, sp_candidate *best)
{
    sp_gpu *self = l->gpu;
    const sp_device_view view = view_of(l, k);
    const sp_device_choice choice = choose(l, k, NULL);
    const size_t list = (size_t)l->keep * sizeof *best;
    sp_status status = SP_OK;

    sp_shortlists_clear(&(sp_shortlists){.keep = l->keep, .best = best}, l->state->images);
    SP_TRY(sp_device_stack_search(self->stack, &view, &l->grid, &choice, l->keep, self->best));
    for (ptrdiff_t i = 0; i < choice.images; i++) {
        memcpy(best + choice.image[i] * l->keep, self->best + i * l->keep, list);
    }
done:
    return status;
}

sp_status sp_gpu_refine(sp_loop *l, int k, const sp_candidate *best, int kept, int steps, sp_quat *found, double *fit)
{
    sp_gpu *self = l->gpu;
    const sp_device_view view = view_of(l, k);
    const sp_device_choice choice = choose(l, k, NULL);
    const int count = kept + 1;
    sp_status status = SP_OK;
    sp_quat *q = NULL; /* found of each image chosen */

    SP_TRY(SP_ARRAY(q, choice.images + 1));
    for (ptrdiff_t i = 0; i < choice.images; i++) {
        const ptrdiff_t n = choice.image[i];

        for (int c = 0; c < kept; c++) {
            self->q[i * count + c] = l->grid.q[best[n * l->keep + c].index];
        }
        self->q[i * count + kept] = l->state->orientation[n];
    }
    SP_TRY(sp_device_stack_refine(self->stack, &view, &choice, self->q, count, steps, sp_loop_speckle(l) / 3.0, q,
                                  self->fit));
    for (ptrdiff_t i = 0; i < choice.images; i++) {
        found[choice.image[i]] = q[i];
        fit[choice.image[i]] = self->fit[i];
    }
done:
    sp_array_free(q);
    return status;
}

sp_status sp_gpu_assess(sp_loop *l, int k, const sp_quat *orientation, const int32_t *label, double *scatter)
{
    sp_gpu *self = l->gpu;
    const sp_device_view view = view_of(l, k);
    const sp_device_choice choice = choose(l, k, label);
    sp_status status = SP_OK;

    for (ptrdiff_t i = 0; i < choice.images; i++) {
        self->q[i] = orientation[choice.image[i]];
    }
    SP_TRY(sp_device_stack_assess(self->stack, &view, &choice, self->q, self->score, self->scale, scatter));
    for (ptrdiff_t i = 0; i < choice.images; i++) {
        l->score[choice.image[i]] = self->score[i];
        l->scale[choice.image[i]] = self->scale[i];
    }
done:
    return status;
}
