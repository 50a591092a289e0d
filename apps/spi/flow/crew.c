/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/crew.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/progress.h"
#include "flow/crew_gpu.h"
#include "flow/crew_order.h"
#include "flow/loop.h"
#include "num/sums.h"

enum {
    MOST_IN_BLOCK = 256, /* images */
    LEAST_BLOCKS = 4,
    READ_BYTES = 64 << 20, /* of images that a worker reads at a time */
    NOISE_IMAGES = 200,    /* that the noise is measured from */
    TILES = 8,             /* made before images are compared with them */
};

static const double LEAST_SHARE = 1e-3; /* of an image's largest: less is not worth merging */

/* What a first look at a block tells. */
typedef struct looked {
    double quantum; /* of the first block */
    bool whole;
} looked;

/* A crew's images whose conformation has not converged yet; none, where its block is not of the batch. */
static sp_selection awake(const sp_loop *l, const sp_crew *crew)
{
    const bool idle = sp_loop_is_idle(l, crew->first, NULL);

    return (sp_selection){l->state->label + crew->first, idle ? 0 : ~l->resting};
}

/* The images of a point's block: *count of them, from the one that is returned on. */
static ptrdiff_t images_of(const sp_task *t, const sp_loop *l, ptrdiff_t *count)
{
    const ptrdiff_t first = sp_task_point(t, 0) * l->crews.per_block, left = l->state->images - first;

    *count = left < l->crews.per_block ? left : l->crews.per_block;
    return first;
}

/* A region of its own with `count` elements in one block. */
static sp_status single(sp_run *run, const char *name, ptrdiff_t count, size_t element, sp_region **region)
{
    sp_space *space = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_space_new(run, count, count, &space));
    SP_TRY(sp_region_new(space, name, element, region));
done:
    return status;
}

/* `blocks` blocks of so many floats, which each group of ranks makes for itself. */
static sp_status grouped(sp_run *run, const char *name, ptrdiff_t blocks, ptrdiff_t floats, int ranks,
                         sp_region **region)
{
    sp_space *space = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_space_new(run, blocks * floats, floats, &space));
    SP_TRY(sp_region_new_grouped(space, name, sizeof(float), ranks, region));
done:
    return status;
}

static void free_crew(void *object)
{
    sp_crew *crew = object;

    sp_polar_images_free(crew->polar);
    sp_matcher_free(crew->matcher);
    sp_patterns_clear(&crew->patterns);
    sp_array_free(crew);
}

static int sharing_of(const sp_run *run, sp_slices_kind kind)
{
    return kind == SP_SLICES_REPLICATED ? 1 : kind == SP_SLICES_HYBRID ? sp_run_per_machine(run) : sp_run_ranks(run);
}

ptrdiff_t sp_crews_block(ptrdiff_t images)
{
    const ptrdiff_t even = (images + LEAST_BLOCKS - 1) / LEAST_BLOCKS;

    return even < MOST_IN_BLOCK ? even : MOST_IN_BLOCK;
}

ptrdiff_t sp_crews_share(const sp_run *run, ptrdiff_t images)
{
    const ptrdiff_t each = sp_crews_block(images), blocks = (images + each - 1) / each, ranks = sp_run_ranks(run);
    const ptrdiff_t most = (blocks + ranks - 1) / ranks * each;

    return most < images ? most : images;
}

sp_status sp_crews_open(sp_loop *l)
{
    const ptrdiff_t images = l->state->images, ranks = sp_run_ranks(l->crews.run);
    const size_t lists = (size_t)l->keep * sizeof(sp_candidate);
    sp_crews *c = &l->crews;
    sp_space *each = NULL;
    sp_status status = SP_OK;

    c->per_block = sp_crews_block(images);
    c->sharing = sharing_of(c->run, l->state->settings.slices);
    SP_TRY(sp_space_new(c->run, images, c->per_block, &c->images));
    SP_TRY(sp_space_new(c->run, sp_space_blocks(c->images), 1, &c->blocks));
    SP_TRY(sp_objects_new(c->images, "crew", free_crew, &c->crew));
    SP_TRY(sp_region_new(c->blocks, "looked", sizeof(looked), &c->looked));
    SP_TRY(sp_region_new(c->images, "scale", sizeof(float), &c->scale));
    SP_TRY(sp_region_new(c->images, "score", sizeof(float), &c->score));
    SP_TRY(sp_region_new(c->images, "winner", sizeof(sp_winner), &c->winner));
    SP_TRY(sp_region_new(c->images, "best", lists, &c->best));
    SP_TRY(sp_region_new(c->images, "better", lists, &c->better));
    if (sp_loop_divides(l)) {
        SP_TRY(sp_region_new(c->images, "pooled", lists, &c->pooled));
    }
    SP_TRY(sp_space_new(c->run, ranks, 1, &each));
    SP_TRY(sp_region_new(each, "peak memory", sizeof(double), &c->peak));
    SP_TRY(sp_region_new(each, "seat", sizeof(char), &c->seat));
    sp_fill(c->run, c->seat, &(char){0});
    SP_TRY(SP_ARRAY(l->state->peak_memory, ranks));
    l->state->processes = ranks;
    SP_TRY(single(c->run, "mean", sp_image_file_map(l->file)->pixels, sizeof(double), &c->mean));
done:
    return status;
}

/* ---- memory ---- */

static void measure_memory(sp_task *t)
{
    double *peak = sp_task_out(t, 0);

    *peak = (double)sp_clock_peak_memory();
}
static const sp_task_type memory_task = {.name = "memory", .run = measure_memory, .privilege = {SP_WRITE}};

sp_status sp_crews_measure_memory(sp_loop *l)
{
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    sp_launch(c->run, .type = &memory_task, .points = {l->state->processes}, .argument = {sp_by_i(c->peak)});
    SP_TRY(sp_run_gather(c->run, c->peak, l->state->peak_memory));
done:
    return status;
}

/* ---- intake ---- */

/* Speckles from the centre at which the statistics of many speckles begin: nearer, all orientations look alike. */
static const double WILSON = 2.0;
static const double COUNTS = 0.2; /* whole numbers of so nearly this quantum are counts of photons */

/* How many images of a block a worker reads at a time. */
static ptrdiff_t images_at_once(ptrdiff_t per_block, ptrdiff_t pixels)
{
    const ptrdiff_t fitting = READ_BYTES / (pixels * (ptrdiff_t)sizeof(float));

    return fitting < 1 ? 1 : fitting < per_block ? fitting : per_block;
}

size_t sp_crews_reading_bytes(ptrdiff_t images, ptrdiff_t pixels)
{
    return (size_t)(images_at_once(sp_crews_block(images), pixels) * pixels) * sizeof(float);
}

/* Reads some images; false: the run has failed, or the user has stopped it. */
static bool read_images(sp_task *t, const sp_loop *l, ptrdiff_t first, ptrdiff_t count, float *value)
{
    sp_status status;

#pragma omp critical(sp_image_file)
    {
        status = sp_image_file_read(l->file, first, count, value);
        if (status != SP_OK) {
            sp_task_pass_on(t, status);
        }
    }
    return status == SP_OK && !sp_interrupted();
}

static bool is_whole(const sp_loop *l, ptrdiff_t count, const float *value)
{
    const sp_detector_map *map = sp_image_file_map(l->file);

    for (ptrdiff_t i = 0; i < count; i++) {
        for (ptrdiff_t p = 0; p < map->pixels; p++) {
            if (!map->bad[p] && !sp_photons_are_whole(&value[i * map->pixels + p], 1)) {
                return false;
            }
        }
    }
    return true;
}

static void add_to_mean(ptrdiff_t count, ptrdiff_t pixels, const float *value, double *mean)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        for (ptrdiff_t p = 0; p < pixels; p++) {
            mean[p] += value[i * pixels + p];
        }
    }
}

static void look(sp_task *t)
{
    const sp_loop *l = order_of(t)->loop;
    const ptrdiff_t pixels = sp_image_file_map(l->file)->pixels;
    float *value = sp_task_scratch(t);
    looked *out = sp_task_out(t, 0);
    double *mean = sp_task_out(t, 1);
    ptrdiff_t count;
    const ptrdiff_t first = images_of(t, l, &count), at_once = images_at_once(l->crews.per_block, pixels);

    *out = (looked){.whole = true};
    for (ptrdiff_t n = 0; n < count; n += at_once) {
        const ptrdiff_t some = count - n < at_once ? count - n : at_once;

        if (!read_images(t, l, first + n, some, value)) {
            return;
        }
        if (first + n == 0) {
            out->quantum = sp_patterns_quantum(&l->pixels, some < NOISE_IMAGES ? some : NOISE_IMAGES, value);
        }
        out->whole = out->whole && is_whole(l, some, value);
        add_to_mean(some, pixels, value, mean);
    }
    sp_progress_add(order_of(t)->progress, count);
}
static const sp_task_type look_task = {.name = "look", .run = look, .privilege = {SP_WRITE, SP_REDUCE}};

sp_status sp_crews_look(sp_loop *l, double *mean)
{
    const ptrdiff_t pixels = sp_image_file_map(l->file)->pixels, blocks = blocks_of(l);
    order o = {.loop = l};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;
    looked *all = NULL;

    SP_TRY(SP_ARRAY(all, blocks));
    SP_TRY(sp_progress_new(l->log, "looking at the images", l->state->images, &o.progress));
    sp_launch(c->run, .type = &look_task, .points = {blocks},
              .argument = {sp_by_i(c->looked), sp_into(sp_at(c->mean, 0), &sp_sum_double)}, SP_VALUES(o),
              .scratch = sp_crews_reading_bytes(l->state->images, pixels));
    SP_TRY(sp_run_get(c->run, c->mean, 0, mean));
    SP_TRY(sp_run_gather(c->run, c->looked, all));
    l->whole = true;
    for (ptrdiff_t b = 0; b < blocks; b++) {
        l->whole = l->whole && all[b].whole;
    }
    l->state->quantum = all[0].quantum;
    for (ptrdiff_t p = 0; p < pixels; p++) {
        mean[p] /= (double)l->state->images;
    }
done:
    sp_progress_free(o.progress);
    sp_array_free(all);
    return status;
}

/* Image `number` of the run, or a null made from it, becomes image i of a block. */
static sp_status add_image(const sp_loop *l, sp_patterns *patterns, ptrdiff_t number, ptrdiff_t i, const float *value)
{
    const uint64_t seed = l->state->settings.null;

    if (seed == 0) {
        return sp_patterns_add(patterns, i, value);
    }
    return sp_patterns_add_null(patterns, i, value, seed, (uint64_t)sp_image_file_number(l->file, number));
}

static void take(sp_task *t)
{
    const sp_loop *l = order_of(t)->loop;
    const ptrdiff_t pixels = sp_image_file_map(l->file)->pixels;
    float *value = sp_task_scratch(t);
    void **object = sp_task_object(t, 0);
    double *sums = sp_task_out(t, 1);
    ptrdiff_t count;
    const ptrdiff_t first = images_of(t, l, &count), at_once = images_at_once(l->crews.per_block, pixels);
    sp_pattern_totals totals = {0};
    sp_crew *crew = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(crew, 1));
    *object = crew;
    crew->first = first;
    SP_TRY(sp_patterns_init_part(&l->patterns, count, l->whole, &crew->patterns));
    for (ptrdiff_t i = 0; i < count; i++) {
        if (i % at_once == 0 && !read_images(t, l, first + i, count - i < at_once ? count - i : at_once, value)) {
            return;
        }
        SP_TRY(add_image(l, &crew->patterns, first + i, i, value + i % at_once * pixels));
    }
    sp_patterns_add_up(&crew->patterns, sums, &totals);
    sums[l->patterns.shells] += totals.value;
    sums[l->patterns.shells + 1] += totals.filled;
    sums[l->patterns.shells + 2] += sp_patterns_bytes(&crew->patterns);
    sp_patterns_add_contrast(&crew->patterns, sums + l->patterns.shells + 3);
    sp_progress_add(order_of(t)->progress, count);
done:
    if (status != SP_OK) {
        sp_task_pass_on(t, status);
    }
}
static const sp_task_type take_task = {.name = "read", .run = take, .privilege = {SP_WRITE, SP_REDUCE}};

static void relate(sp_task *t)
{
    sp_crew *crew = *sp_task_object(t, 0);
    const sp_loop *l = order_of(t)->loop;
    const double *sums = sp_task_in(t, 1);
    float *scale = sp_task_out(t, 2);
    const sp_pattern_totals totals = {.value = sums[l->patterns.shells], .filled = sums[l->patterns.shells + 1]};

    sp_patterns_set_scales(&crew->patterns, &totals);
    crew->patterns.quantum = l->patterns.quantum;
    memcpy(scale, crew->patterns.scale, (size_t)crew->patterns.images * sizeof *scale);
}
static const sp_task_type relate_task = {
    .name = "scale", .run = relate, .privilege = {SP_READ_WRITE, SP_READ, SP_WRITE}};

sp_status sp_crews_take(sp_loop *l, sp_progress *progress)
{
    const ptrdiff_t pixels = sp_image_file_map(l->file)->pixels, shells = l->patterns.shells;
    const order o = {.loop = l, .progress = progress};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    SP_TRY(single(c->run, "sums", 4 * shells + 3, sizeof(double), &c->sums));
    SP_TRY(single(c->run, "scatter", sp_match_scatter_count(shells), sizeof(double), &c->scatter));
    sp_launch(c->run, .type = &take_task, .points = {blocks_of(l)},
              .argument = {sp_by_i(c->crew), sp_into(sp_at(c->sums, 0), &sp_sum_double)}, SP_VALUES(o),
              .scratch = sp_crews_reading_bytes(l->state->images, pixels));
done:
    return status;
}

/* The background that all images have in common, if there is one, becomes known to the patterns. */
static sp_status find_background(sp_loop *l, const double *contrast, const sp_pattern_totals *totals)
{
    const bool counts = l->whole && fabs(l->state->quantum - 1.0) < COUNTS; /* else it is known to some per cent */
    const double quantum = counts ? 1.0 : l->state->quantum;
    sp_status status = SP_OK;
    double *smooth = NULL;

    SP_TRY(SP_ARRAY(smooth, l->patterns.shells));
    SP_TRY(sp_patterns_find_background(&l->patterns, contrast, totals->filled, quantum,
                                       WILSON / l->state->settings.diameter, smooth));
    sp_patterns_set_background(&l->patterns, smooth);
    l->state->background_fitted = sp_sum(l->patterns.background, l->patterns.pixels) * totals->filled / totals->value;
done:
    sp_array_free(smooth);
    return status;
}

sp_status sp_crews_read(sp_loop *l)
{
    const ptrdiff_t shells = l->patterns.shells;
    sp_crews *c = &l->crews;
    sp_pattern_totals totals;
    sp_progress *progress = NULL;
    sp_status status = SP_OK;
    double *sums = NULL;

    SP_TRY(SP_ARRAY(sums, 4 * shells + 3));
    SP_TRY(sp_progress_new(l->log, "reading images", l->state->images, &progress));
    SP_TRY(sp_crews_take(l, progress));
    SP_TRY(sp_run_get(c->run, c->sums, 0, sums));
    totals = (sp_pattern_totals){.value = sums[shells], .filled = sums[shells + 1]};
    l->values = sums[shells + 2];
    SP_REQUIRE(totals.filled > 0.0, SP_ERR_INPUT, "all images are empty: there is not one photon in any good pixel");
    sp_patterns_set_profile(&l->patterns, sums, &totals);
    l->state->background = sp_patterns_background(&l->patterns, sums + shells + 3, l->state->quantum,
                                                  WILSON / l->state->settings.diameter);
    if (l->state->settings.fit_background) {
        SP_TRY(find_background(l, sums + shells + 3, &totals));
    }
done:
    sp_progress_free(progress);
    sp_array_free(sums);
    return status;
}

sp_status sp_crews_scale(sp_loop *l)
{
    const order o = {.loop = l};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    sp_launch(c->run, .type = &relate_task, .points = {blocks_of(l)},
              .argument = {sp_by_i(c->crew), sp_at(c->sums, 0), sp_by_i(c->scale)}, SP_VALUES(o));
    SP_TRY(sp_run_gather(c->run, c->scale, l->state->scale));
done:
    return status;
}

/* ---- matching ---- */

static void equip(sp_task *t)
{
    sp_crew *crew = *sp_task_object(t, 0);
    const sp_loop *l = order_of(t)->loop;
    sp_match_settings settings = l->matching;
    sp_status status = SP_OK;

    settings.route = l->polar ? SP_MATCH_NONE : SP_MATCH_DENSE;
    SP_TRY(sp_matcher_new(&crew->patterns, NULL, &settings, &crew->matcher));
done:
    if (status != SP_OK) {
        sp_task_pass_on(t, status);
    }
}
static const sp_task_type equip_task = {.name = "equip", .run = equip, .privilege = {SP_READ_WRITE}};

sp_status sp_crews_equip(sp_loop *l)
{
    const order o = {.loop = l};
    sp_status status = SP_OK;

    if (l->gpu) {
        SP_TRY(sp_crews_lend(l));
    }
    if (sp_rank_gpu_does_all(l)) {
        return SP_OK;
    }
    sp_launch(l->crews.run, .type = &equip_task, .points = {blocks_of(l)}, .argument = {sp_by_i(l->crews.crew)},
              SP_VALUES(o));
    SP_TRY(sp_run_fence(l->crews.run));
done:
    return status;
}

/* [byte] of the tasks that use a matcher. */
static size_t matching_scratch(const sp_loop *l)
{
    return (size_t)sp_match_scratch_floats(l->patterns.pixels) * sizeof(float);
}

/* The matcher of a block, told what it compares with and lent its work space for as long as the task runs. */
static sp_matcher *matcher_of(const sp_task *t, const sp_crew *crew, const sp_slicer *on, void *room)
{
    const sp_loop *l = order_of(t)->loop;

    sp_matcher_use(crew->matcher, on, room);
    sp_matcher_limit(crew->matcher, l->reach);
    sp_matcher_set_dispersion(crew->matcher, l->dispersion);
    return crew->matcher;
}

static void search_block(sp_task *t) /* the dense route: a block against the whole grid */
{
    const sp_crew *crew = *sp_task_object(t, 0);
    const sp_loop *l = order_of(t)->loop;
    const sp_slicer on = sp_slicer_on(l->slicer, sp_task_in(t, 1));

    if (sp_loop_is_idle(l, crew->first, NULL)) {
        return;
    }
    sp_matcher_search(matcher_of(t, crew, &on, sp_task_scratch(t)), &l->grid,
                      &(sp_shortlists){.keep = l->keep, .best = sp_task_out(t, 2)});
}
static const sp_task_type search_task = {
    .name = "search", .run = search_block, .threaded = true, .privilege = {SP_READ_WRITE, SP_READ, SP_WRITE}};

static void transform(sp_task *t)
{
    sp_crew *crew = *sp_task_object(t, 0);
    const sp_loop *l = order_of(t)->loop;
    const sp_shortlists lists = {.keep = l->keep, .best = sp_task_out(t, 1)};
    sp_status status = SP_OK;
    const ptrdiff_t count = crew->patterns.images;

    sp_shortlists_clear(&lists, count);
    if (sp_loop_is_idle(l, crew->first, NULL)) {
        return; /* what is known of its images stays for their turn */
    }
    if (!crew->polar) {
        SP_TRY(sp_polar_images_new(l->polar, &crew->patterns, count, &crew->polar));
    }
    sp_polar_take(crew->polar, 0, count, awake(l, crew), sp_task_scratch(t));
done:
    if (status != SP_OK) {
        sp_task_pass_on(t, status);
    }
}
static const sp_task_type transform_task = {
    .name = "transform", .run = transform, .privilege = {SP_READ_WRITE, SP_WRITE}};

static void forget(sp_task *t)
{
    sp_crew *crew = *sp_task_object(t, 0);

    sp_polar_images_free(crew->polar);
    crew->polar = NULL;
}
static const sp_task_type forget_task = {.name = "forget", .run = forget, .privilege = {SP_READ_WRITE}};

static void slice(sp_task *t)
{
    const order *o = order_of(t);
    const sp_slicer on = sp_slicer_on(o->loop->slicer, sp_task_in(t, 0));

    sp_polar_make_tile(o->loop->polar, &on, o->first + sp_task_point(t, 0), sp_task_scratch(t), sp_task_out(t, 1));
}
static const sp_task_type slice_task = {.name = "slice", .run = slice, .privilege = {SP_READ, SP_WRITE}};

static void match(sp_task *t)
{
    const sp_crew *crew = *sp_task_object(t, 0);
    const order *o = order_of(t);
    const sp_shortlists lists = {.keep = o->loop->keep, .best = sp_task_out(t, 3), .above = sp_task_in(t, 2)};

    if (!sp_interrupted() && !sp_loop_is_idle(o->loop, crew->first, NULL)) {
        sp_polar_compare(crew->polar, o->first + sp_task_point(t, 1), sp_task_in(t, 1), sp_task_scratch(t), &lists);
    }
}
static const sp_task_type match_task = {
    .name = "match", .run = match, .privilege = {SP_READ, SP_READ, SP_READ, SP_REDUCE}};

static void begin_lists(int keep, void *block, size_t bytes)
{
    const sp_shortlists lists = {.keep = keep, .best = block};

    sp_shortlists_clear(&lists, (ptrdiff_t)(bytes / ((size_t)keep * sizeof(sp_candidate))));
}

static void join_lists(int keep, void *into, const void *from, size_t bytes)
{
    const sp_shortlists lists = {.keep = keep, .best = into};

    sp_shortlists_join(&lists, from, (ptrdiff_t)(bytes / ((size_t)keep * sizeof(sp_candidate))));
}

static void begin_short(void *block, size_t bytes)
{
    begin_lists(KEEP, block, bytes);
}

static void join_short(void *into, const void *from, size_t bytes)
{
    join_lists(KEEP, into, from, bytes);
}

static void begin_long(void *block, size_t bytes)
{
    begin_lists(SHARES, block, bytes);
}

static void join_long(void *into, const void *from, size_t bytes)
{
    join_lists(SHARES, into, from, bytes);
}
static const sp_reduction best_few = {begin_short, join_short}, best_many = {begin_long, join_long};

static void keep(sp_task *t)
{
    const sp_shortlists lists = {.keep = order_of(t)->loop->keep, .best = sp_task_out(t, 1)};

    sp_shortlists_join(&lists, sp_task_in(t, 0), sp_task_count(t, 0));
}
static const sp_task_type keep_task = {.name = "keep", .run = keep, .privilege = {SP_READ, SP_READ_WRITE}};

/* Room for tiles as the present search has them. */
static sp_status make_tiles(sp_loop *l)
{
    sp_crews *c = &l->crews;

    return c->tile ? SP_OK : grouped(c->run, "tile", TILES, sp_polar_tile_floats(l->polar), c->sharing, &c->tile);
}

/* Blocks that live on one rank, at most. */
static ptrdiff_t blocks_of_rank(const sp_loop *l)
{
    const ptrdiff_t ranks = sp_run_ranks(l->crews.run);

    return (blocks_of(l) + ranks - 1) / ranks;
}

/* Blocks of a rank whose transforms fit its budget: so many of each rank are searched at a time. */
static ptrdiff_t blocks_at_once(const sp_loop *l)
{
    const double each =
        (double)l->crews.per_block * sizeof(float) * sp_polar_floats(l->matching.s_max, l->matching.diameter);
    const double most = fmax(1.0, floor(SP_MATCH_POLAR_BUDGET / each));

    return most < (double)blocks_of_rank(l) ? (ptrdiff_t)most : blocks_of_rank(l);
}

/* Some blocks of one rank. */
typedef struct stretch {
    ptrdiff_t first, count;
} stretch;

/* Wave number `wave` on this rank, `most` blocks at most. */
static stretch stretch_of(const sp_loop *l, ptrdiff_t rank, ptrdiff_t wave, ptrdiff_t most)
{
    const ptrdiff_t first = first_of_rank(l, rank) + wave * most, left = first_of_rank(l, rank + 1) - first;

    return (stretch){first, left < most ? left : most};
}

/* A launch on some blocks. */
static void launch_stretch(sp_loop *l, stretch s, sp_launch_description launch)
{
    launch.points[0] = s.count;
    for (int k = 0; k < SP_TASK_ARGUMENTS; k++) {
        if (launch.argument[k].region && launch.argument[k].selector == SP_BY_I) {
            launch.argument[k].block = s.first;
        }
    }
    sp_run_launch(l->crews.run, __FILE__, __LINE__, &launch);
}

/* A launch on the blocks of a wave: rank by rank, unless all blocks are in it. */
static void launch_wave(sp_loop *l, ptrdiff_t wave, ptrdiff_t most, sp_launch_description launch)
{
    if (most >= blocks_of_rank(l)) {
        launch_stretch(l, (stretch){0, blocks_of(l)}, launch);
        return;
    }
    for (ptrdiff_t rank = 0; rank < sp_run_ranks(l->crews.run); rank++) {
        const stretch s = stretch_of(l, rank, wave, most);

        if (s.count > 0) {
            launch_stretch(l, s, launch);
        }
    }
}

/* `most` blocks of each rank against the whole grid, of patterns of conformation k. */
static void search_wave(sp_loop *l, int k, ptrdiff_t wave, ptrdiff_t most)
{
    sp_crews *c = &l->crews;
    const sp_argument crew = sp_by_i(c->crew), best = sp_by_i(c->best), better = sp_by_i(c->better);
    const sp_reduction *joined = sp_loop_divides(l) ? &best_many : &best_few;
    const size_t scratch = (size_t)sp_polar_scratch(l->polar) * sizeof(float);
    order o = {.loop = l};

    launch_wave(
        l, wave, most,
        (sp_launch_description){.type = &transform_task, .argument = {crew, best}, SP_VALUES(o), .scratch = scratch});
    for (o.first = 0; o.first < sp_polar_tiles(l->polar); o.first += TILES) {
        const ptrdiff_t left = sp_polar_tiles(l->polar) - o.first, tiles = left < TILES ? left : TILES;

        sp_launch(c->run, .type = &slice_task, .points = {tiles},
                  .argument = {sp_at(c->of[k].grid, 0), sp_by_i(c->tile)}, SP_VALUES(o), .scratch = scratch);
        launch_wave(l, wave, most,
                    (sp_launch_description){.type = &match_task,
                                            .points = {0, tiles},
                                            .argument = {crew, sp_by_j(c->tile), best, sp_into(better, joined)},
                                            SP_VALUES(o),
                                            .scratch = scratch});
        launch_wave(l, wave, most,
                    (sp_launch_description){.type = &keep_task, .argument = {better, best}, SP_VALUES(o)});
    }
}

static sp_status search_by_tiles(sp_loop *l, int k)
{
    const ptrdiff_t most = blocks_at_once(l);
    sp_status status = SP_OK;

    SP_TRY(make_tiles(l));
    for (ptrdiff_t wave = 0; wave * most < blocks_of_rank(l); wave++) {
        search_wave(l, k, wave, most);
        if (most < blocks_of_rank(l)) {
            launch_wave(l, wave, most,
                        (sp_launch_description){.type = &forget_task, .argument = {sp_by_i(l->crews.crew)}});
        }
    }
done:
    return status;
}

/* The grid's best orientations of each image in conformation k, as shortlists. */
static sp_status search(sp_loop *l, int k)
{
    const order o = {.loop = l};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    if (l->gpu) {
        SP_TRY(sp_crews_search_on_gpu(l, k));
    } else if (l->polar) {
        SP_TRY(search_by_tiles(l, k));
    } else {
        sp_launch(c->run, .type = &search_task, .points = {blocks_of(l)},
                  .argument = {sp_by_i(c->crew), sp_at(c->of[k].grid, 0), sp_by_i(c->best)}, SP_VALUES(o),
                  .scratch_of_thread = matching_scratch(l));
    }
done:
    return status;
}

static void take_best(sp_task *t)
{
    const order *o = order_of(t);
    const sp_candidate *best = sp_task_in(t, 0);
    sp_winner *winner = sp_task_out(t, 1);

    for (ptrdiff_t i = 0; i < sp_task_count(t, 1); i++) {
        const sp_candidate first = best[i * o->loop->keep];

        challenge(&winner[i], o->conformation, o->loop->grid.q[first.index], first.score);
    }
}
static const sp_task_type take_best_task = {.name = "best", .run = take_best, .privilege = {SP_READ, SP_READ_WRITE}};

enum { CANDIDATES = KEEP + 1 }; /* that are refined: those of the search, and the orientation so far */

static void refine(sp_task *t)
{
    const sp_crew *crew = *sp_task_object(t, 0);
    const order *o = order_of(t);
    const sp_loop *l = o->loop;
    const sp_slicer on = sp_slicer_on(l->slicer, sp_task_in(t, 1));
    const sp_candidate *best = sp_task_in(t, 2);
    sp_winner *winner = sp_task_out(t, 3);
    sp_quat *candidates = sp_task_scratch(t), *found = candidates + l->crews.per_block * CANDIDATES;
    double *fit = (double *)(found + l->crews.per_block);
    ptrdiff_t count;
    const ptrdiff_t first = images_of(t, l, &count);

    for (ptrdiff_t i = 0; i < count; i++) {
        for (int k = 0; k < KEEP; k++) {
            candidates[i * CANDIDATES + k] = l->grid.q[best[i * l->keep + k].index];
        }
        candidates[i * CANDIDATES + KEEP] = l->state->orientation[first + i];
    }
    sp_matcher_refine(matcher_of(t, crew, &on, fit + l->crews.per_block), candidates, CANDIDATES, awake(l, crew),
                      CLIMB_STEPS, sp_loop_speckle(l) / 3.0, found, fit);
    for (ptrdiff_t i = 0; i < count; i++) {
        challenge(&winner[i], o->conformation, found[i], fit[i]);
    }
}
static const sp_task_type refine_task = {
    .name = "refine", .run = refine, .threaded = true, .privilege = {SP_READ_WRITE, SP_READ, SP_READ, SP_READ_WRITE}};

static sp_status refine_all(sp_loop *l, order o)
{
    sp_crews *c = &l->crews;

    if (l->gpu) {
        return sp_crews_refine_on_gpu(l, o.conformation);
    }
    sp_launch(
        c->run, .type = &refine_task, .points = {blocks_of(l)},
        .argument = {sp_by_i(c->crew), sp_at(c->of[o.conformation].grid, 0), sp_by_i(c->best), sp_by_i(c->winner)},
        SP_VALUES(o), .scratch = (size_t)c->per_block * ((CANDIDATES + 1) * sizeof(sp_quat) + sizeof(double)),
        .scratch_of_thread = matching_scratch(l));
    return SP_OK;
}

/* Shortlists of this conformation into those of all; the last one makes shares of them. */
static void pool(sp_task *t)
{
    const order *o = order_of(t);
    const sp_loop *l = o->loop;
    const sp_candidate *best = sp_task_in(t, 0);
    const sp_shortlists pooled = {.keep = l->keep, .best = sp_task_out(t, 1)};
    const ptrdiff_t images = sp_task_count(t, 0);

    for (ptrdiff_t i = 0; i < images * l->keep; i++) {
        const int32_t place = (int32_t)(o->conformation * l->grid.count) + best[i].index;

        sp_shortlist_insert(sp_shortlist_of(&pooled, i / l->keep), l->keep, (sp_candidate){place, best[i].score});
    }
    for (ptrdiff_t i = 0; i < images && o->conformation == l->conformations - 1; i++) {
        sp_shortlist_share(sp_shortlist_of(&pooled, i), l->keep, sp_loop_annealing(l), LEAST_SHARE);
    }
}
static const sp_task_type pool_task = {.name = "share", .run = pool, .privilege = {SP_READ, SP_READ_WRITE}};

/* The shares of all images become the loop's. */
static sp_status gather_shares(sp_loop *l)
{
    const ptrdiff_t all = l->state->images * l->keep;
    sp_candidate *pooled = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(pooled, all));
    SP_TRY(sp_run_gather(l->crews.run, l->crews.pooled, pooled));
    for (ptrdiff_t i = 0; i < all; i++) {
        l->place[i] = pooled[i].index;
        l->share[i] = pooled[i].score;
    }
done:
    sp_array_free(pooled);
    return status;
}

/* The winners of all images become the loop's; the idle ones stay as they are. */
static sp_status gather_winners(sp_loop *l)
{
    sp_winner *winner = NULL;
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(winner, l->state->images));
    SP_TRY(sp_run_gather(l->crews.run, l->crews.winner, winner));
    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        const bool idle = sp_loop_is_idle(l, n, l->state->label);

        l->orientation[n] = idle ? l->state->orientation[n] : winner[n].orientation;
        l->label[n] = idle ? l->state->label[n] : winner[n].label;
    }
done:
    sp_array_free(winner);
    return status;
}

sp_status sp_crews_match(sp_loop *l)
{
    const sp_winner none = {.fit = -INFINITY, .label = -1};
    const bool divides = sp_loop_divides(l) && !l->refining;
    sp_crews *c = &l->crews;
    order o = {.loop = l};
    sp_status status = SP_OK;

    if (l->polar) {
        sp_polar_begin(l->polar, sp_loop_pixels(l), sp_match_dispersion_of(l->matching.kind, l->dispersion), &l->grid,
                       sp_slicer_reach(l->slicer));
    }
    sp_fill(c->run, c->winner, &none);
    if (divides) {
        sp_candidate empty[SHARES];

        sp_shortlists_clear(&(sp_shortlists){.keep = l->keep, .best = empty}, 1);
        sp_fill(c->run, c->pooled, empty);
    }
    for (o.conformation = 0; o.conformation < l->conformations; o.conformation++) {
        if (sp_loop_rests(l, o.conformation)) {
            continue;
        }
        SP_TRY(search(l, o.conformation));
        sp_loop_lap(l, SP_PHASE_SEARCH);
        if (l->refining) {
            SP_TRY(refine_all(l, o));
            sp_loop_lap(l, SP_PHASE_REFINE);
        } else {
            sp_launch(c->run, .type = &take_best_task, .points = {blocks_of(l)},
                      .argument = {sp_by_i(c->best), sp_by_i(c->winner)}, SP_VALUES(o));
        }
        if (divides) {
            sp_launch(c->run, .type = &pool_task, .points = {blocks_of(l)},
                      .argument = {sp_by_i(c->best), sp_by_i(c->pooled)}, SP_VALUES(o));
        }
    }
    SP_TRY(gather_winners(l));
    if (divides) {
        SP_TRY(gather_shares(l));
    }
    sp_loop_lap(l, l->refining ? SP_PHASE_REFINE : SP_PHASE_SEARCH);
done:
    return status;
}

/* The images of this block and of the order's conformation. */
static sp_selection selected(const order *o, ptrdiff_t first)
{
    return (sp_selection){o->label + first, 1u << o->conformation};
}

static void assess(sp_task *t)
{
    const sp_crew *crew = *sp_task_object(t, 0);
    const order *o = order_of(t);
    const sp_slicer on = sp_slicer_on(o->loop->slicer, sp_task_in(t, 1));
    const ptrdiff_t first = crew->first;

    if (sp_loop_is_idle(o->loop, first, NULL)) {
        return;
    }
    sp_matcher_assess_part(matcher_of(t, crew, &on, sp_task_scratch(t)), o->orientation + first, selected(o, first),
                           sp_task_out(t, 2), sp_task_out(t, 3), sp_task_out(t, 4));
}
static const sp_task_type assess_task = {
    .name = "assess",
    .run = assess,
    .threaded = true,
    .privilege = {SP_READ_WRITE, SP_READ, SP_READ_WRITE, SP_READ_WRITE, SP_REDUCE}};

/* Scores and scales of idle images stay as they are; the scales of the others have the mean that they had. */
static void relate_scales(sp_loop *l, const int32_t *label)
{
    double before = 0.0, now = 0.0;

    if (!l->resting && l->batches == 1) {
        sp_match_relate_scales(l->scale, l->state->images);
        return;
    }
    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        if (!sp_loop_is_idle(l, n, label)) {
            before += l->state->scale[n];
            now += l->scale[n];
        }
    }
    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        const bool idle = sp_loop_is_idle(l, n, label);

        l->score[n] = idle ? l->state->score[n] : l->score[n];
        l->scale[n] = idle ? l->state->scale[n] : now > 0.0 ? l->scale[n] * (float)(before / now) : 0.0f;
    }
}

static void launch_assess(sp_loop *l, const order *o)
{
    sp_crews *c = &l->crews;

    sp_launch(c->run, .type = &assess_task, .points = {blocks_of(l)},
              .argument = {sp_by_i(c->crew), sp_at(c->of[o->conformation].grid, 0), sp_by_i(c->score),
                           sp_by_i(c->scale), sp_into(sp_at(c->scatter, 0), &sp_sum_double)},
              SP_VALUES(*o), .scratch_of_thread = matching_scratch(l));
}

sp_status sp_crews_assess(sp_loop *l, const sp_quat *orientation, const int32_t *label, double *dispersion)
{
    const ptrdiff_t sums = sp_match_scatter_count(l->patterns.shells);
    order o = {.loop = l, .orientation = orientation, .label = label};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;
    double *scatter = NULL, *one = NULL;

    SP_TRY(SP_ARRAY(scatter, sums));
    SP_TRY(SP_ARRAY(one, sums));
    sp_fill(c->run, c->score, &(float){0.0f});
    sp_fill(c->run, c->scale, &(float){0.0f});
    for (o.conformation = 0; o.conformation < l->conformations; o.conformation++) {
        if (sp_loop_rests(l, o.conformation)) {
            continue;
        }
        if (l->gpu) {
            SP_TRY(sp_crews_assess_on_gpu(l, &o));
        } else {
            launch_assess(l, &o);
        }
        SP_TRY(sp_run_get(c->run, c->scatter, 0, one));
        for (ptrdiff_t i = 0; i < sums; i++) {
            scatter[i] += one[i];
        }
    }
    SP_TRY(sp_run_gather(c->run, c->score, l->score));
    SP_TRY(sp_run_gather(c->run, c->scale, l->scale));
    relate_scales(l, label);
    l->now.best_score = sp_match_best_score(scatter, l->patterns.shells, l->noise);
    *dispersion = sp_match_dispersion(scatter, l->patterns.shells);
done:
    sp_array_free(scatter);
    sp_array_free(one);
    return status;
}

static void adopt(sp_task *t)
{
    sp_crew *crew = *sp_task_object(t, 0);
    const sp_loop *l = order_of(t)->loop;
    ptrdiff_t count;
    const ptrdiff_t first = images_of(t, l, &count);

    memcpy(crew->patterns.scale, l->state->scale + first, (size_t)count * sizeof(float));
}
static const sp_task_type adopt_task = {.name = "scale", .run = adopt, .privilege = {SP_READ_WRITE}};

sp_status sp_crews_adopt_scales(sp_loop *l)
{
    const order o = {.loop = l};
    sp_status status = SP_OK;

    sp_launch(l->crews.run, .type = &adopt_task, .points = {blocks_of(l)}, .argument = {sp_by_i(l->crews.crew)},
              SP_VALUES(o));
    SP_TRY(sp_run_fence(l->crews.run)); /* the loop changes its scales */
done:
    return status;
}

/* ---- merging ---- */

/* Where the images of a block stand, from the first one's number on. */
static sp_placement placement_of(const order *o, ptrdiff_t first)
{
    const sp_loop *l = o->loop;

    if (l->points == 0) {
        return (sp_placement){.orientation = o->orientation + first};
    }
    return (sp_placement){.orientation = l->point,
                          .each = l->keep,
                          .place = l->placed + first * l->keep,
                          .share = l->shared + first * l->keep,
                          .first = o->conformation * l->points,
                          .points = l->points};
}

static void spread(sp_task *t)
{
    const sp_crew *crew = *sp_task_object(t, 0);
    const order *o = order_of(t);
    ptrdiff_t count;
    const ptrdiff_t first = images_of(t, o->loop, &count);
    const sp_placement placement = placement_of(o, first);
    const sp_selection all = {o->label + first, ~(1u << HELD_OUT)}, one = selected(o, first);
    const sp_selection selection = placement.each > 0 ? all : one; /* of shares their places say it */

    sp_merger_spread(o->loop->merger[0], &crew->patterns, &placement, selection, o->loop->reach, sp_task_scratch(t),
                     sp_task_out(t, 1));
}
static const sp_task_type spread_task = {.name = "merge", .run = spread, .privilege = {SP_READ, SP_REDUCE}};

static void profile(sp_task *t)
{
    const sp_crew *crew = *sp_task_object(t, 0);

    sp_patterns_add_profile(&crew->patterns, selected(order_of(t), crew->first), sp_task_scratch(t), sp_task_out(t, 1));
}
static const sp_task_type profile_task = {.name = "profile", .run = profile, .privilege = {SP_READ, SP_REDUCE}};

/* Mean intensities of the merged images of each conformation -> l->profile. */
static sp_status measure_profiles(sp_loop *l, order o)
{
    const ptrdiff_t shells = l->patterns.shells;
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;
    double *sums = NULL;

    SP_TRY(SP_ARRAY(sums, shells + 1));
    for (o.conformation = 0; o.conformation < l->conformations; o.conformation++) {
        if (!sp_loop_rests(l, o.conformation)) {
            sp_launch(c->run, .type = &profile_task, .points = {blocks_of(l)},
                      .argument = {sp_by_i(c->crew), sp_into(sp_at(c->of[o.conformation].profile, 0), &sp_sum_double)},
                      SP_VALUES(o), .scratch = (size_t)l->patterns.pixels * sizeof(float));
        }
    }
    for (int k = 0; k < l->conformations; k++) {
        if (!sp_loop_rests(l, k)) {
            SP_TRY(sp_run_get(c->run, c->of[k].profile, 0, sums));
            sp_patterns_profile_of(&l->patterns, sums, l->profile + k * shells);
        }
    }
done:
    sp_array_free(sums);
    return status;
}

static void solve(sp_task *t)
{
    const order *o = order_of(t);
    const sp_loop *l = o->loop;
    double *residual = sp_task_out(t, 2);

    *residual = sp_merger_solve(l->merger[o->conformation], sp_task_in(t, 0),
                                sp_merger_outermost(&l->patterns, l->reach), LAMBDA, CG_ITERATIONS, sp_task_out(t, 1))
                    .residual;
}
static const sp_task_type solve_task = {
    .name = "solve", .run = solve, .threaded = true, .privilege = {SP_READ, SP_WRITE, SP_WRITE}};

/* The label of each image that is merged. */
static const int32_t *merged_labels(sp_loop *l)
{
    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        l->merged[n] = sp_loop_is_merged(l, n) ? l->state->label[n] : HELD_OUT;
    }
    return l->merged;
}

static void launch_spread(sp_loop *l, order o)
{
    sp_crews *c = &l->crews;

    sp_launch(c->run, .type = &spread_task, .points = {blocks_of(l)},
              .argument = {sp_by_i(c->crew), sp_into(sp_at(c->of[o.conformation].pair, 0), &sp_sum_float)},
              SP_VALUES(o), .scratch = (size_t)sp_merger_scratch_count(&l->patterns) * sizeof(float));
}

static void launch_solve(sp_loop *l, order o)
{
    sp_crews *c = &l->crews;
    const sp_conformation *f = &c->of[o.conformation];

    sp_launch(c->run, .type = &solve_task,
              .argument = {sp_at(f->pair, 0), sp_at(f->autocorrelation, 0), sp_at(f->residual, 0)}, SP_VALUES(o));
}

sp_status sp_crews_merge(sp_loop *l, double *residual)
{
    order o = {.loop = l, .orientation = l->state->orientation, .label = merged_labels(l)};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    for (o.conformation = 0; o.conformation < l->conformations; o.conformation++) {
        residual[o.conformation] = 0.0;
        if (sp_loop_rests(l, o.conformation)) {
            continue;
        }
        if (l->gpu) {
            const sp_placement placement = placement_of(&o, 0);

            SP_TRY(sp_crews_merge_on_gpu(l, &placement, &o, residual));
        } else {
            launch_spread(l, o);
        }
        if (!sp_rank_gpu_does_all(l)) {
            launch_solve(l, o);
        }
    }
    SP_TRY(measure_profiles(l, o));
    for (int k = 0; k < l->conformations; k++) {
        if (!sp_rank_gpu_does_all(l) && !sp_loop_rests(l, k)) {
            SP_TRY(sp_run_get(c->run, c->of[k].residual, 0, &residual[k]));
        }
    }
done:
    return status;
}

/* ---- phasing ---- */

static void make_work(sp_task *t)
{
    void **object = sp_task_object(t, 0);
    sp_phase_work *work = NULL;
    const sp_status status = sp_phase_work_new(order_of(t)->loop->plan, &work);

    *object = work;
    if (status != SP_OK) {
        sp_task_pass_on(t, status);
    }
}
static const sp_task_type work_task = {.name = "work space", .run = make_work, .privilege = {SP_WRITE}};

static void make_amplitudes(sp_task *t)
{
    const sp_loop *l = order_of(t)->loop;

    sp_phase_amplitudes(l->plan, sp_task_in(t, 1), sp_loop_hidden_centre(l), l->reach, l->noise > 0.0,
                        *sp_task_object(t, 0), sp_task_out(t, 2));
}
static const sp_task_type amplitudes_task = {
    .name = "amplitudes", .run = make_amplitudes, .threaded = true, .privilege = {SP_READ_WRITE, SP_READ, SP_WRITE}};

static void start(sp_task *t)
{
    const order *o = order_of(t);
    sp_phase_outcome *outcome = sp_task_out(t, 3);

    *outcome = sp_phase_start(o->loop->plan, sp_task_in(t, 1), &o->loop->phasing, (int)sp_task_point(t, 0),
                              *sp_task_object(t, 0), sp_task_out(t, 2));
}
static const sp_task_type start_task = {
    .name = "phase", .run = start, .threaded = true, .privilege = {SP_READ_WRITE, SP_READ, SP_WRITE, SP_WRITE}};

/* The outcomes of all starts, whole argument k. */
static void outcomes_of(const sp_task *t, int k, int starts, sp_phase_outcome *outcome)
{
    ptrdiff_t count;

    for (int i = 0; i < starts; i++) {
        const sp_phase_outcome *one = sp_task_part(t, k, i, &count);

        outcome[i] = *one;
    }
}

static void choose(sp_task *t)
{
    const sp_loop *l = order_of(t)->loop;
    sp_phase_outcome *outcome = sp_task_scratch(t);
    sp_phase_result *result = sp_task_out(t, 3);
    ptrdiff_t count;

    outcomes_of(t, 0, l->phasing.starts, outcome);
    *result = sp_phase_choose(outcome, l->phasing.starts);
    const float *winner = sp_task_part(t, 1, result->winner, &count);

    memcpy(sp_task_out(t, 2), winner, (size_t)count * sizeof *winner);
}
static const sp_task_type choose_task = {
    .name = "choose", .run = choose, .privilege = {SP_READ, SP_READ, SP_WRITE, SP_WRITE}};

static void launch_phase(sp_loop *l, order o)
{
    const ptrdiff_t starts = l->phasing.starts;
    sp_crews *c = &l->crews;
    const sp_conformation *f = &c->of[o.conformation];

    sp_launch(c->run, .type = &amplitudes_task,
              .argument = {sp_at(f->work, 0), sp_at(f->autocorrelation, 0), sp_at(f->amplitude, 0)}, SP_VALUES(o));
    sp_launch(c->run, .type = &start_task, .points = {starts},
              .argument = {sp_by_i(f->work), sp_at(f->amplitude, 0), sp_by_i(f->start), sp_by_i(f->outcome)},
              SP_VALUES(o));
    sp_launch(c->run, .type = &choose_task,
              .argument = {sp_whole(f->outcome), sp_whole(f->start), sp_at(f->density, 0), sp_at(f->phased, 0)},
              SP_VALUES(o), .scratch = (size_t)starts * sizeof(sp_phase_outcome));
}

sp_status sp_crews_phase(sp_loop *l, sp_phase_result *result)
{
    const ptrdiff_t cube = sp_loop_cube(l);
    order o = {.loop = l};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    for (o.conformation = 0; o.conformation < l->conformations; o.conformation++) {
        if (sp_loop_rests(l, o.conformation)) {
            continue;
        }
        if (sp_crews_phases_on_gpu(l)) {
            SP_TRY(sp_crews_phase_on_gpu(l, o.conformation));
        } else {
            launch_phase(l, o);
        }
    }
    for (int k = 0; k < l->conformations; k++) {
        result[k] = (sp_phase_result){0};
        if (!sp_loop_rests(l, k)) {
            SP_TRY(sp_run_get(c->run, c->of[k].phased, 0, &result[k]));
            SP_TRY(sp_run_get(c->run, c->of[k].density, 0, l->density + k * cube));
        }
    }
done:
    return status;
}

/* How many entered comes before the shells of the transfer function. */
static void average(sp_task *t)
{
    const sp_loop *l = order_of(t)->loop;
    const int starts = l->phasing.starts;
    sp_phase_outcome *outcome = sp_task_scratch(t);
    const float **density = (const float **)(outcome + starts);
    double *prtf = sp_task_out(t, 3);
    sp_phase_sums *sums = NULL;
    sp_status status = SP_OK;
    ptrdiff_t count;

    outcomes_of(t, 0, starts, outcome);
    for (int i = 0; i < starts; i++) {
        density[i] = sp_task_part(t, 1, i, &count);
    }
    SP_TRY(sp_phase_sums_new(l->plan, &sums));
    prtf[0] = sp_phase_mean(l->plan, density, outcome, starts, sums, sp_task_out(t, 2), prtf + 1);
done:
    sp_phase_sums_free(sums);
    if (status != SP_OK) {
        sp_task_pass_on(t, status);
    }
}
static const sp_task_type average_task = {
    .name = "average", .run = average, .threaded = true, .privilege = {SP_READ, SP_READ, SP_WRITE, SP_WRITE}};

sp_status sp_crews_average(sp_loop *l, int *entered)
{
    const order o = {.loop = l};
    const ptrdiff_t shells = l->state->edge / 2 + 1, cube = sp_loop_cube(l);
    const size_t each = sizeof(sp_phase_outcome) + sizeof(float *);
    sp_crews *c = &l->crews;
    sp_region *region[SP_CONFORMATIONS] = {NULL};
    sp_status status = SP_OK;
    double *prtf = NULL;

    SP_TRY(SP_ARRAY(prtf, shells + 1));
    for (int k = 0; k < l->conformations; k++) {
        const sp_conformation *f = &c->of[k];

        SP_TRY(single(c->run, "prtf", shells + 1, sizeof(double), &region[k]));
        sp_launch(c->run, .type = &average_task,
                  .argument = {sp_whole(f->outcome), sp_whole(f->start), sp_at(f->density, 0), sp_at(region[k], 0)},
                  SP_VALUES(o), .scratch = (size_t)l->phasing.starts * each);
    }
    for (int k = 0; k < l->conformations; k++) {
        SP_TRY(sp_run_get(c->run, c->of[k].density, 0, l->state->density + k * cube));
        if (l->state->autocorrelation) {
            float *to = l->state->autocorrelation + k * cube;

            SP_TRY(sp_rank_gpu_does_all(l) ? sp_rank_gpu_fetch_autocorrelation(l, k, to)
                                           : sp_run_get(c->run, c->of[k].autocorrelation, 0, to));
        }
        SP_TRY(sp_run_get(c->run, region[k], 0, prtf));
        entered[k] = (int)prtf[0];
        memcpy(l->state->prtf + k * shells, prtf + 1, (size_t)shells * sizeof *prtf);
    }
done:
    sp_array_free(prtf);
    return status;
}

/* ---- the model ---- */

static void make_model(sp_task *t)
{
    const sp_loop *l = order_of(t)->loop;
    double *shells = sp_task_scratch(t), *filter = shells + 2 * l->state->edge;
    float *model = sp_task_out(t, 2);

    sp_phase_autocorrelate(l->plan, sp_task_in(t, 1), NULL, *sp_task_object(t, 0), shells, model);
    sp_loop_make_filter(l, order_of(t)->conformation, shells, filter);
    sp_phase_autocorrelate(l->plan, sp_task_in(t, 1), filter, *sp_task_object(t, 0), NULL, model);
}
static const sp_task_type model_task = {
    .name = "model", .run = make_model, .threaded = true, .privilege = {SP_READ_WRITE, SP_READ, SP_WRITE}};

static void make_grid(sp_task *t)
{
    const order *o = order_of(t);

    sp_slicer_make_grid(o->loop->slicer, o->loop->model + o->conformation * sp_loop_cube(o->loop), sp_task_out(t, 0));
}
static const sp_task_type grid_task = {.name = "grid", .run = make_grid, .threaded = true, .privilege = {SP_WRITE}};

sp_status sp_crews_load_model(sp_loop *l)
{
    order o = {.loop = l};
    sp_crews *c = &l->crews;
    sp_status status = SP_OK;

    if (l->gpu) {
        return sp_crews_load_model_on_gpu(l);
    }
    for (o.conformation = 0; o.conformation < l->conformations; o.conformation++) {
        const sp_conformation *f = &c->of[o.conformation];

        if (sp_loop_rests(l, o.conformation)) {
            continue;
        }
        sp_launch(c->run, .type = &model_task,
                  .argument = {sp_at(f->work, 0), sp_at(f->density, 0), sp_at(f->model, 0)}, SP_VALUES(o),
                  .scratch = (size_t)(4 * l->state->edge) * sizeof(double));
    }
    for (o.conformation = 0; o.conformation < l->conformations; o.conformation++) {
        const sp_conformation *f = &c->of[o.conformation];

        if (sp_loop_rests(l, o.conformation)) {
            continue;
        }
        SP_TRY(sp_run_get(c->run, f->model, 0, l->model + o.conformation * sp_loop_cube(l)));
        sp_launch(c->run, .type = &grid_task, .argument = {sp_at(f->grid, 0)}, SP_VALUES(o));
    }
done:
    return status;
}

/* ---- stages ---- */

static void free_work(void *object)
{
    sp_phase_work_free(object);
}

static void free_conformation(sp_conformation *f)
{
    sp_region **const all[] = {&f->profile,   &f->pair,  &f->autocorrelation, &f->density, &f->model,  &f->residual,
                               &f->amplitude, &f->start, &f->outcome,         &f->work,    &f->phased, &f->grid};

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        sp_region_free(*all[i]);
        *all[i] = NULL;
    }
}

static sp_status make_conformation(sp_loop *l, sp_space *densities, sp_space *each, sp_conformation *f)
{
    const ptrdiff_t cube = sp_loop_cube(l);
    const order o = {.loop = l};
    sp_run *run = l->crews.run;
    sp_status status = SP_OK;

    SP_TRY(single(run, "pair", sp_merger_pair_count(l->merger[0]), sizeof(float), &f->pair));
    SP_TRY(single(run, "autocorrelation", cube, sizeof(float), &f->autocorrelation));
    SP_TRY(single(run, "density", cube, sizeof(float), &f->density));
    SP_TRY(single(run, "model", cube, sizeof(float), &f->model));
    SP_TRY(single(run, "profile", l->patterns.shells + 1, sizeof(double), &f->profile));
    SP_TRY(single(run, "residual", 1, sizeof(double), &f->residual));
    SP_TRY(single(run, "amplitude", sp_phase_amplitude_count(l->plan), sizeof(float), &f->amplitude));
    SP_TRY(sp_region_new(densities, "start", sizeof(float), &f->start));
    SP_TRY(sp_region_new(each, "outcome", sizeof(sp_phase_outcome), &f->outcome));
    SP_TRY(sp_objects_new(each, "work space", free_work, &f->work));
    SP_TRY(single(run, "phased", 1, sizeof(sp_phase_result), &f->phased));
    SP_TRY(grouped(run, "grid", 1, sp_slicer_grid_count(l->slicer), 1, &f->grid));
    if (!sp_rank_gpu_does_all(l)) {
        sp_launch(run, .type = &work_task, .points = {l->phasing.starts}, .argument = {sp_by_i(f->work)}, SP_VALUES(o));
    }
done:
    return status;
}

sp_status sp_crews_make_stage(sp_loop *l)
{
    const ptrdiff_t cube = sp_loop_cube(l), starts = l->phasing.starts;
    sp_crews *c = &l->crews;
    sp_space *densities = NULL, *each = NULL;
    sp_status status = SP_OK;

    for (int k = 0; k < SP_CONFORMATIONS; k++) {
        free_conformation(&c->of[k]);
    }
    SP_TRY(sp_space_new(c->run, starts * cube, cube, &densities));
    SP_TRY(sp_space_new(c->run, starts, 1, &each));
    for (int k = 0; k < l->conformations; k++) {
        SP_TRY(make_conformation(l, densities, each, &c->of[k]));
    }
    SP_TRY(sp_run_fence(c->run));
    if (l->gpu) {
        SP_TRY(sp_run_agree(c->run, sp_rank_gpu_make_stage(l)));
    }
done:
    return status;
}

void sp_crews_close(sp_loop *l)
{
    sp_crews *c = &l->crews;
    sp_region *const lasting[] = {c->crew, c->looked, c->mean,   c->sums, c->scale,   c->score, c->winner,
                                  c->best, c->better, c->pooled, c->tile, c->scatter, c->peak,  c->seat};

    sp_run_fence(c->run); /* tasks that nobody has waited for, after a failure: they use the loop */
    for (int k = 0; k < SP_CONFORMATIONS; k++) {
        free_conformation(&c->of[k]);
    }
    for (size_t i = 0; i < sizeof lasting / sizeof *lasting; i++) {
        sp_region_free(lasting[i]);
    }
}
