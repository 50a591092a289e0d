/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/gpu.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "base/memory.h"
#include "device/amplitudes.h"
#include "device/device.h"
#include "device/match.h"
#include "device/merger.h"
#include "device/phase.h"
#include "device/slicer.h"
#include "device/stack.h"
#include "flow/loop.h"

enum { SPREAD = 1 << 22 }; /* points that are sorted at a time: as many as keep a GPU busy */

struct sp_rank_gpu {
    sp_device *device;
    sp_device_stack *stack;
    ptrdiff_t first, images; /* of this rank */
    int keep;

    /* of the present stage */
    sp_device_slicer *slicer;
    sp_device_merger *merger;
    sp_device_phaser *phaser;
    sp_device_amplitudes *amplitudes;
    int starts;
    ptrdiff_t cube;
    float *autocorrelation;    /* device [conformations][cube] */
    float *volume;             /* device [cube] */
    sp_phase_outcome *outcome; /* [starts] */
    sp_phase_result phased;
    float *start; /* [starts][cube]; NULL: not wanted yet */
    float *pair;  /* [sp_merger_pair_count()]; NULL: not wanted yet */

    /* what was found, by image of this rank */
    sp_candidate *lists; /* [images][keep] */
    sp_found *found;
    sp_assessed *assessed;
    double *scatter; /* [sp_match_scatter_count()] */

    /* the images of one call, one after the other */
    int32_t *number; /* on the device */
    float *scale;
    sp_quat *q;
    float *share;
    sp_candidate *best; /* [..][keep] */
    double *fit;
    float *score;
};

/* ---- open and close ---- */

/* Ranks of one machine take its GPUs in turn. */
static sp_status open_device(const sp_loop *l, sp_device **device)
{
    const int rank = sp_run_rank(l->crews.run), each = sp_run_per_machine(l->crews.run);
    sp_status status = SP_OK;

    SP_REQUIRE(l->state->settings.match != SP_MATCH_EUCLIDEAN, SP_ERR_USAGE,
               "--device cuda: --match euclidean runs on processors only");
    SP_TRY(sp_device_open_shared(NULL, each > 1 ? rank % each : rank, device));
done:
    return status;
}

sp_status sp_rank_gpu_open(sp_loop *l)
{
    const sp_device_kind kind = l->state->settings.device;
    sp_status status = SP_OK;
    sp_rank_gpu *self = NULL;

    if (kind == SP_DEVICE_CPU) {
        return SP_OK;
    }
    SP_TRY(SP_ARRAY(self, 1));
    status = sp_run_agree(l->crews.run, open_device(l, &self->device));
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
    sp_rank_gpu_close(self);
    return status;
}

bool sp_rank_gpu_does_all(const sp_loop *l)
{
    return l->gpu && sp_run_ranks(l->crews.run) == 1;
}

static void clear_stage(sp_rank_gpu *self)
{
    const sp_device_kernels *kernels = self->device->kernels;

    sp_device_slicer_free(self->slicer);
    sp_device_merger_free(self->merger);
    sp_device_amplitudes_free(self->amplitudes);
    kernels->phase->release(self->device, self->phaser);
    kernels->release(self->device, self->autocorrelation);
    kernels->release(self->device, self->volume);
    sp_array_free(self->outcome);
    sp_array_free(self->start);
    sp_array_free(self->pair);
    self->slicer = NULL;
    self->merger = NULL;
    self->phaser = NULL;
    self->amplitudes = NULL;
    self->autocorrelation = self->volume = NULL;
    self->outcome = NULL;
    self->start = self->pair = NULL;
}

void sp_rank_gpu_close(sp_rank_gpu *gpu)
{
    if (!gpu) {
        return;
    }
    if (gpu->device) {
        clear_stage(gpu);
        sp_device_stack_free(gpu->stack);
        sp_device_close(gpu->device);
    }
    sp_array_free(gpu->lists);
    sp_array_free(gpu->found);
    sp_array_free(gpu->assessed);
    sp_array_free(gpu->scatter);
    sp_array_free(gpu->number);
    sp_array_free(gpu->scale);
    sp_array_free(gpu->q);
    sp_array_free(gpu->share);
    sp_array_free(gpu->best);
    sp_array_free(gpu->fit);
    sp_array_free(gpu->score);
    sp_array_free(gpu);
}

/* ---- images and stages ---- */

enum { MOST_CANDIDATES = KEEP + 1 }; /* of an image, that are refined */

/* Room for what is found, and for the images of a call. */
static sp_status make_arrays(sp_rank_gpu *self, const sp_loop *l)
{
    const ptrdiff_t images = self->images, shares = sp_loop_divides(l) ? images * l->keep : images;
    const ptrdiff_t candidates = images * MOST_CANDIDATES;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self->lists, images * l->keep));
    SP_TRY(SP_ARRAY(self->found, images));
    SP_TRY(SP_ARRAY(self->assessed, images));
    SP_TRY(SP_ARRAY(self->scatter, sp_match_scatter_count(l->patterns.shells)));
    SP_TRY(SP_ARRAY(self->number, shares));
    SP_TRY(SP_ARRAY(self->scale, shares));
    SP_TRY(SP_ARRAY(self->q, shares > candidates ? shares : candidates));
    SP_TRY(SP_ARRAY(self->share, shares));
    SP_TRY(SP_ARRAY(self->best, images * l->keep));
    SP_TRY(SP_ARRAY(self->fit, images));
    SP_TRY(SP_ARRAY(self->score, images));
done:
    return status;
}

sp_status sp_rank_gpu_take_images(sp_loop *l, ptrdiff_t first, const sp_patterns *const *part, ptrdiff_t parts)
{
    const sp_device_stack_input input = {.layout = &l->patterns,
                                         .part = part,
                                         .parts = parts,
                                         .matching = l->matching,
                                         .polar = l->polar,
                                         .keep = l->keep};
    sp_rank_gpu *self = l->gpu;
    sp_status status = SP_OK;

    self->first = first;
    self->keep = l->keep;
    for (ptrdiff_t b = 0; b < parts; b++) {
        self->images += part[b]->images;
    }
    SP_TRY(make_arrays(self, l));
    SP_TRY(sp_device_stack_new(self->device, &input, &self->stack));
    if (!sp_device_stack_is_resident(self->stack)) {
        sp_log_info(l->log, "the images are more than the GPU's memory holds: they come in parts");
    }
done:
    return status;
}

sp_status sp_rank_gpu_make_stage(sp_loop *l)
{
    sp_rank_gpu *self = l->gpu;
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
    SP_TRY(sp_device_amplitudes_new(device, self->phaser, edge, l->state->voxel, &self->amplitudes));
    SP_TRY(SP_ARRAY(self->outcome, self->starts));
done:
    return status;
}

/* ---- merging ---- */

/* Adds image n in this orientation to a choice. */
static void add_placed(const sp_loop *l, ptrdiff_t n, sp_quat q, float share, sp_device_choice *choice)
{
    sp_rank_gpu *self = l->gpu;
    const ptrdiff_t i = choice->images++;

    self->number[i] = (int32_t)(n - self->first);
    self->scale[i] = l->state->scale[n];
    self->q[i] = q;
    self->share[i] = share;
}

/* Adds the shares of image n that are put here. */
static void add_shares(const sp_loop *l, ptrdiff_t n, const sp_placement *placement, sp_device_choice *choice)
{
    for (ptrdiff_t i = n * placement->each; i < (n + 1) * placement->each; i++) {
        const ptrdiff_t point = placement->place[i] - placement->first;

        if (placement->share[i] > 0.0f && point >= 0 && point < placement->points) {
            add_placed(l, n, placement->orientation[point], placement->share[i], choice);
        }
    }
}

/* Images of a label as they stand, one after the other; in shares, of which their places tell the conformation. */
static sp_device_choice choose_placed(const sp_loop *l, const sp_placement *placement, int k, const int32_t *label)
{
    const sp_rank_gpu *self = l->gpu;
    sp_device_choice choice = {.image = self->number, .scale = self->scale};

    for (ptrdiff_t n = self->first; n < self->first + self->images; n++) {
        if (placement->each > 0 && label[n] != HELD_OUT) {
            add_shares(l, n, placement, &choice);
        } else if (placement->each == 0 && label[n] == k) {
            add_placed(l, n, placement->orientation[n], 1.0f, &choice);
        }
    }
    return choice;
}

static sp_status spread(sp_loop *l, int k, const sp_placement *placement, const int32_t *label)
{
    sp_rank_gpu *self = l->gpu;
    const sp_device_choice choice = choose_placed(l, placement, k, label);
    sp_status status = SP_OK;

    SP_TRY(sp_device_merger_begin(self->merger));
    SP_TRY(sp_device_stack_spread(self->stack, &choice, self->q, self->share, l->reach, self->merger));
done:
    return status;
}

sp_status sp_rank_gpu_merge(sp_loop *l, int k, const sp_placement *placement, const int32_t *label, double *residual)
{
    sp_rank_gpu *self = l->gpu;
    sp_merge_result result;
    sp_status status = SP_OK;

    SP_TRY(spread(l, k, placement, label));
    SP_TRY(sp_device_merger_solve(self->merger, sp_merger_outermost(&l->patterns, l->reach), LAMBDA, CG_ITERATIONS,
                                  self->autocorrelation + k * self->cube, &result));
    *residual = result.residual;
done:
    return status;
}

sp_status sp_rank_gpu_spread(sp_loop *l, int k, const sp_placement *placement, const int32_t *label)
{
    sp_rank_gpu *self = l->gpu;
    sp_status status = SP_OK;

    if (!self->pair) {
        SP_TRY(SP_ARRAY(self->pair, sp_merger_pair_count(l->merger[0])));
    }
    SP_TRY(spread(l, k, placement, label));
    SP_TRY(sp_device_merger_fetch(self->merger, self->pair));
done:
    return status;
}

const float *sp_rank_gpu_pair(const sp_rank_gpu *gpu)
{
    return gpu->pair;
}

sp_status sp_rank_gpu_fetch_autocorrelation(sp_loop *l, int k, float *autocorrelation)
{
    const sp_rank_gpu *self = l->gpu;

    return self->device->kernels->download(self->device, self->autocorrelation + k * self->cube,
                                           (size_t)self->cube * sizeof *autocorrelation, autocorrelation);
}

/* ---- phasing ---- */

sp_status sp_rank_gpu_phase(sp_loop *l, int k, const float *autocorrelation)
{
    sp_rank_gpu *self = l->gpu;
    const sp_device *device = self->device;
    const sp_device_phase_kernels *phase = device->kernels->phase;
    const size_t bytes = (size_t)self->cube * sizeof *autocorrelation;
    float *merged = self->autocorrelation + k * self->cube;
    const float *amplitude = NULL;
    sp_status status = SP_OK;

    if (autocorrelation) {
        SP_TRY(device->kernels->upload(device, autocorrelation, bytes, merged));
    }
    SP_TRY(sp_device_amplitudes_make(self->amplitudes, merged, sp_loop_hidden_centre(l), l->reach, l->noise > 0.0,
                                     &amplitude));
    SP_TRY(phase->begin(device, self->phaser, amplitude, &l->phasing, 0));
    for (int i = 0; i < l->phasing.cycles && !sp_interrupted(); i++) {
        SP_TRY(phase->cycle(device, self->phaser, i));
    }
    SP_TRY(phase->finish(device, self->phaser, self->outcome));
    self->phased = sp_phase_choose(self->outcome, self->starts);
    SP_TRY(device->kernels->download(device, phase->density(self->phaser, self->phased.winner), bytes,
                                     l->density + k * self->cube));
done:
    return status;
}

const sp_phase_result *sp_rank_gpu_phased(const sp_rank_gpu *gpu)
{
    return &gpu->phased;
}

sp_status sp_rank_gpu_fetch_starts(sp_loop *l)
{
    sp_rank_gpu *self = l->gpu;
    const sp_device *device = self->device;
    sp_status status = SP_OK;

    if (!self->start) {
        SP_TRY(SP_ARRAY(self->start, self->starts * self->cube));
    }
    for (int i = 0; i < self->starts; i++) {
        SP_TRY(device->kernels->download(device, device->kernels->phase->density(self->phaser, i),
                                         (size_t)self->cube * sizeof(float), self->start + i * self->cube));
    }
done:
    return status;
}

const float *sp_rank_gpu_start(const sp_rank_gpu *gpu, int start, sp_phase_outcome *outcome)
{
    *outcome = gpu->outcome[start];
    return gpu->start + start * gpu->cube;
}

/* ---- the model ---- */

sp_status sp_rank_gpu_make_model(sp_loop *l, int k)
{
    sp_rank_gpu *self = l->gpu;
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
done:
    sp_array_free(shells);
    return status;
}

sp_status sp_rank_gpu_load_model(sp_loop *l, int k)
{
    sp_rank_gpu *self = l->gpu;
    sp_status status = SP_OK;

    SP_TRY(self->device->kernels->upload(self->device, l->model + k * self->cube, (size_t)self->cube * sizeof(float),
                                         self->volume));
    SP_TRY(sp_device_slicer_load(self->slicer, k, self->volume));
done:
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

static void add_image(const sp_loop *l, ptrdiff_t n, sp_device_choice *choice)
{
    sp_rank_gpu *self = l->gpu;

    self->number[choice->images] = (int32_t)(n - self->first);
    self->scale[choice->images++] = l->state->scale[n];
}

/* Images of this rank that are not idle. */
static sp_device_choice choose_awake(const sp_loop *l)
{
    const sp_rank_gpu *self = l->gpu;
    sp_device_choice choice = {.image = self->number, .scale = self->scale};

    for (ptrdiff_t n = self->first; n < self->first + self->images; n++) {
        if (!sp_loop_is_idle(l, n, l->state->label)) {
            add_image(l, n, &choice);
        }
    }
    return choice;
}

sp_status sp_rank_gpu_search(sp_loop *l, int k)
{
    sp_rank_gpu *self = l->gpu;
    const sp_device_view view = view_of(l, k);
    const sp_device_choice choice = choose_awake(l);
    sp_status status = SP_OK;

    sp_shortlists_clear(&(sp_shortlists){.keep = l->keep, .best = self->lists}, self->images);
    SP_TRY(sp_device_stack_search(self->stack, &view, &l->grid, &choice, self->best));
    for (ptrdiff_t i = 0; i < choice.images; i++) {
        memcpy(self->lists + choice.image[i] * l->keep, self->best + i * l->keep,
               (size_t)l->keep * sizeof *self->lists);
    }
done:
    return status;
}

const sp_candidate *sp_rank_gpu_lists(const sp_rank_gpu *gpu, ptrdiff_t n)
{
    return gpu->lists + (n - gpu->first) * gpu->keep;
}

sp_status sp_rank_gpu_refine(sp_loop *l, int k, int steps)
{
    sp_rank_gpu *self = l->gpu;
    const sp_device_view view = view_of(l, k);
    const sp_device_choice choice = choose_awake(l);
    sp_status status = SP_OK;
    sp_quat *q = NULL; /* found of each image chosen */

    SP_TRY(SP_ARRAY(q, choice.images));
    for (ptrdiff_t i = 0; i < choice.images; i++) {
        const sp_candidate *list = self->lists + choice.image[i] * l->keep;

        for (int c = 0; c < KEEP; c++) {
            self->q[i * MOST_CANDIDATES + c] = l->grid.q[list[c].index];
        }
        self->q[i * MOST_CANDIDATES + KEEP] = l->state->orientation[self->first + choice.image[i]];
    }
    SP_TRY(sp_device_stack_refine(self->stack, &view, &choice, self->q, MOST_CANDIDATES, steps,
                                  sp_loop_speckle(l) / 3.0, q, self->fit));
    for (ptrdiff_t n = 0; n < self->images; n++) {
        self->found[n] = (sp_found){.fit = -INFINITY};
    }
    for (ptrdiff_t i = 0; i < choice.images; i++) {
        self->found[choice.image[i]] = (sp_found){.orientation = q[i], .fit = self->fit[i]};
    }
done:
    sp_array_free(q);
    return status;
}

const sp_found *sp_rank_gpu_found(const sp_rank_gpu *gpu, ptrdiff_t n)
{
    return &gpu->found[n - gpu->first];
}

sp_status sp_rank_gpu_assess(sp_loop *l, int k, const sp_quat *orientation, const int32_t *label)
{
    sp_rank_gpu *self = l->gpu;
    const sp_device_view view = view_of(l, k);
    sp_device_choice choice = {.image = self->number, .scale = self->scale};
    sp_status status = SP_OK;

    for (ptrdiff_t n = self->first; n < self->first + self->images; n++) {
        if (sp_loop_is_assessed(l, n, k, label)) {
            self->q[choice.images] = orientation[n];
            add_image(l, n, &choice);
        }
    }
    memset(self->scatter, 0, (size_t)sp_match_scatter_count(l->patterns.shells) * sizeof *self->scatter);
    SP_TRY(sp_device_stack_assess(self->stack, &view, &choice, self->q, self->score, self->scale, self->scatter));
    for (ptrdiff_t i = 0; i < choice.images; i++) {
        self->assessed[choice.image[i]] = (sp_assessed){.score = self->score[i], .scale = self->scale[i]};
    }
done:
    return status;
}

const sp_assessed *sp_rank_gpu_assessed(const sp_rank_gpu *gpu, ptrdiff_t n)
{
    return &gpu->assessed[n - gpu->first];
}

const double *sp_rank_gpu_scatter(const sp_rank_gpu *gpu)
{
    return gpu->scatter;
}
