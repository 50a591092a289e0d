/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/match.h"

#include "device/gpu_counts.h"
#include "phases/dense.h"
#include "phases/likelihood_terms.h"
#include "phases/match.h"
#include "phases/matching.h"

enum { EDGE = 20, SIDE = 14, IMAGES = 9, ORIENTATIONS = 90 };

static const int32_t IN_ORDER[IMAGES] = {0, 1, 2, 3, 4, 5, 6, 7, 8};

static const double FLOOR = 0.3;

/* Images of blobs in random orientations, the model that made them, and orientations to compare them with. */
typedef struct scene {
    bench detector;
    sp_patterns patterns;
    sp_slicer *slicer;
    sp_quat *truth;
    double unit; /* value of a photon */
    float *base, *expected;
    float *k;               /* [IMAGES][pixels] photons */
    sp_rotation_grid other; /* the orientations: */
    float *intensity;       /* [other.count][pixels] */
} scene;

/* As match.c takes it. */
static double photon_unit(const sp_patterns *patterns)
{
    return fmax(patterns->quantum, patterns->profile[patterns->shells * 3 / 4] / 10.0);
}

static void fill_tables(scene *s)
{
    const sp_patterns *patterns = &s->patterns;

    assert_int_equal(SP_ARRAY(s->base, patterns->pixels), SP_OK);
    assert_int_equal(SP_ARRAY(s->expected, patterns->pixels), SP_OK);
    assert_int_equal(SP_ARRAY(s->k, IMAGES * patterns->pixels), SP_OK);
    for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
        s->base[p] = (float)sp_patterns_base(patterns, FLOOR, patterns->radius[p]);
        s->expected[p] = (float)(patterns->exposure[p] / s->unit);
    }
    for (ptrdiff_t i = 0; i < IMAGES * patterns->pixels; i++) {
        s->k[i] = (float)(patterns->count[i] / s->unit);
    }
}

static void cut_slices(scene *s)
{
    const ptrdiff_t pixels = s->patterns.pixels;

    s->other = make_grid(ORIENTATIONS);
    assert_int_equal(SP_ARRAY(s->intensity, s->other.count * pixels), SP_OK);
    for (ptrdiff_t o = 0; o < s->other.count; o++) {
        sp_slicer_cut(s->slicer, s->other.q[o], s->patterns.s, pixels, s->intensity + o * pixels);
    }
}

/*   photons  per image; 0: noise-free values */
static scene make_scene(uint64_t seed, double photons)
{
    const blobs particle = blobs_random(seed, 3.5, 0.8);
    double scale[IMAGES], factor = 1.0;
    scene s = {.truth = random_orientations(IMAGES, seed + 1)};

    s.detector = bench_new(1, SIDE, SIDE, 0.022e10, 2.5e-10);
    for (ptrdiff_t p = 0; p < (ptrdiff_t)SIDE * SIDE; p++) {
        s.detector.correction[p] = 1.0f + 0.3f * (float)(p % 3);
    }
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        scale[n] = 0.5 + 0.1 * (double)n;
    }
    s.patterns = bench_expose(&s.detector, &particle, IMAGES, s.truth, scale);
    if (photons > 0.0) {
        factor = draw_photons(&s.patterns, IMAGES, photons);
        assert_int_equal(sp_patterns_measure(&s.patterns), SP_OK);
    }
    assert_int_equal(sp_slicer_new(EDGE, VOXEL, 4, &s.slicer), SP_OK);
    load_blobs(s.slicer, &particle, EDGE, factor);
    s.unit = photon_unit(&s.patterns);
    fill_tables(&s);
    cut_slices(&s);
    return s;
}

static void clear_scene(scene *s)
{
    bench_clear(&s->detector);
    sp_patterns_clear(&s->patterns);
    sp_slicer_free(s->slicer);
    sp_array_free(s->truth);
    sp_array_free(s->base);
    sp_array_free(s->expected);
    sp_array_free(s->k);
    sp_array_free(s->intensity);
    sp_rotation_grid_clear(&s->other);
}

static sp_likelihood_model model_of(const scene *s, double r)
{
    return (sp_likelihood_model){
        .base = s->base, .expected = s->expected, .share = (float)(1.0 / (1.0 + FLOOR)), .dispersion = (float)r};
}

/* What a search needs of the GPU's memory. */
typedef struct search {
    sp_device *gpu;
    const sp_device_match_kernels *match;
    const scene *s;
    ptrdiff_t pixels;
    sp_likelihood_model model; /* its arrays there, */
    sp_device_counts counts;
    float *scale, *intensity, *common;
    sp_bfloat16 *packed;
    double *offset;
    float *base, *expected; /* and to be freed */
} search;

static size_t floats(ptrdiff_t count)
{
    return (size_t)count * sizeof(float);
}

static size_t factor_bytes(const search *job, ptrdiff_t rows)
{
    return (size_t)(rows * sp_device_match_row(job->pixels)) * sizeof(sp_bfloat16);
}

static search open_search(const scene *s, double r)
{
    search job = {.gpu = gpu_open(), .s = s, .pixels = s->patterns.pixels, .model = model_of(s, r)};

    job.match = job.gpu->kernels->match;
    job.model.base = job.base = gpu_array(job.gpu, s->base, floats(job.pixels));
    job.model.expected = job.expected = gpu_array(job.gpu, s->expected, floats(job.pixels));
    job.counts = gpu_counts(job.gpu, s->k, IMAGES, job.pixels, IN_ORDER, IMAGES);
    job.scale = gpu_array(job.gpu, s->patterns.scale, floats(IMAGES));
    job.intensity = gpu_array(job.gpu, s->intensity, floats(s->other.count * job.pixels));
    job.common = gpu_array(job.gpu, NULL, floats(2 * job.pixels));
    job.packed = gpu_array(job.gpu, NULL, factor_bytes(&job, IMAGES));
    job.offset = gpu_array(job.gpu, NULL, IMAGES * sizeof *job.offset);
    assert_int_equal(job.match->pack(job.gpu, &job.counts, job.pixels, job.packed), SP_OK);
    assert_int_equal(job.match->average(job.gpu, &job.model, job.intensity, s->other.count, job.pixels, job.common),
                     SP_OK);
    assert_int_equal(job.match->offsets(job.gpu, job.packed, IMAGES, job.pixels, job.scale, job.common,
                                        job.model.dispersion, job.offset),
                     SP_OK);
    return job;
}

/*   offset  out  [IMAGES], or NULL */
static void close_search(search *job, double *offset)
{
    gpu_take(job->gpu, job->offset, IMAGES * sizeof *offset, offset);
    gpu_take(job->gpu, job->packed, factor_bytes(job, IMAGES), NULL);
    gpu_take(job->gpu, job->common, floats(2 * job->pixels), NULL);
    gpu_take(job->gpu, job->intensity, floats(job->s->other.count * job->pixels), NULL);
    gpu_take(job->gpu, job->scale, floats(IMAGES), NULL);
    free_gpu_counts(job->gpu, &job->counts);
    gpu_take(job->gpu, job->expected, floats(job->pixels), NULL);
    gpu_take(job->gpu, job->base, floats(job->pixels), NULL);
    sp_device_close(job->gpu);
}

/* Features of orientations first .. first + count - 1.
 *   feature  [count][row]      bias  [count] */
static void make_features(const search *job, ptrdiff_t first, ptrdiff_t count, sp_bfloat16 *feature, float *bias)
{
    assert_int_equal(job->match->features(job->gpu, &job->model, job->intensity + first * job->pixels, count,
                                          job->pixels, job->common, feature, bias),
                     SP_OK);
}

/* All images with a tile of orientations.   best  in, out  device */
static void compare_tile(const search *job, ptrdiff_t first, ptrdiff_t count, int keep, sp_candidate *best)
{
    sp_bfloat16 *feature = gpu_array(job->gpu, NULL, factor_bytes(job, count));
    float *bias = gpu_array(job->gpu, NULL, floats(count));
    float *product = gpu_array(job->gpu, NULL, floats(IMAGES * count));
    const sp_device_match_tile tile = {
        .feature = feature, .bias = bias, .orientations = count, .first = (int32_t)first};

    make_features(job, first, count, feature, bias);
    assert_int_equal(
        job->match->compare(job->gpu, job->packed, IMAGES, job->pixels, job->scale, &tile, product, keep, best), SP_OK);
    gpu_take(job->gpu, product, floats(IMAGES * count), NULL);
    gpu_take(job->gpu, bias, floats(count), NULL);
    gpu_take(job->gpu, feature, factor_bytes(job, count), NULL);
}

/* The lists of a search of orientations first .. first + count - 1 in tiles, without the offsets.
 *   best  out  [IMAGES][keep] */
static void search_tiles(const search *job, ptrdiff_t first, ptrdiff_t count, ptrdiff_t tile, int keep,
                         sp_candidate *best)
{
    const size_t bytes = (size_t)(IMAGES * keep) * sizeof *best;

    sp_shortlists_clear(&(sp_shortlists){.keep = keep, .best = best}, IMAGES);
    sp_candidate *there = gpu_array(job->gpu, best, bytes);

    for (ptrdiff_t at = first; at < first + count; at += tile) {
        compare_tile(job, at, first + count - at < tile ? first + count - at : tile, keep, there);
    }
    gpu_take(job->gpu, there, bytes, best);
}

/* All scores, without the offsets, by lists that hold all of a tile.
 *   score  out  [IMAGES][other.count] */
static void all_scores(const search *job, float *score)
{
    enum { TILE = SP_DEVICE_MATCH_KEPT };
    const ptrdiff_t count = job->s->other.count;
    sp_candidate best[IMAGES * TILE];

    for (ptrdiff_t first = 0; first < count; first += TILE) {
        const ptrdiff_t filled = count - first < TILE ? count - first : TILE;

        search_tiles(job, first, filled, TILE, TILE, best);
        for (ptrdiff_t i = 0; i < IMAGES * TILE; i++) {
            if (i % TILE < filled) {
                score[i / TILE * count + best[i].index] = best[i].score;
            }
        }
    }
}

/* The same by the plain loops, in double precision. */
static double plain_score(const scene *s, const sp_likelihood_model *model, ptrdiff_t image, const float *intensity)
{
    const ptrdiff_t pixels = s->patterns.pixels;
    sp_likelihood_sums sums = {0};

    sp_likelihood_ref.add(model, 0, pixels, s->k + image * pixels, s->patterns.scale[image], intensity, NULL, &sums);
    return sums.score;
}

static double *plain_scores(const scene *s, double r)
{
    const sp_likelihood_model model = model_of(s, r);
    double *score = NULL;

    assert_int_equal(SP_ARRAY(score, IMAGES * s->other.count), SP_OK);
    for (ptrdiff_t i = 0; i < IMAGES * s->other.count; i++) {
        score[i] = plain_score(s, &model, i / s->other.count, s->intensity + i % s->other.count * s->patterns.pixels);
    }
    return score;
}

static double mean_of(const double *x, ptrdiff_t count)
{
    double sum = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        sum += x[i] / (double)count;
    }
    return sum;
}

/* Root mean square about the mean. */
static double spread_of(const double *x, ptrdiff_t count)
{
    const double mean = mean_of(x, count);
    double sum = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        sum += (x[i] - mean) * (x[i] - mean) / (double)count;
    }
    return sqrt(sum);
}

/* Error of the scores of all orientations, relative to how they differ, for the worst image; and of their mean,
 * relative. */
static void measure_errors(const scene *s, double r, double *spread, double *mean)
{
    const ptrdiff_t count = s->other.count;
    search job = open_search(s, r);
    double *want = plain_scores(s, r), *error = NULL, offset[IMAGES];
    float *got = NULL;

    assert_int_equal(SP_ARRAY(got, IMAGES * count), SP_OK);
    assert_int_equal(SP_ARRAY(error, count), SP_OK);
    all_scores(&job, got);
    close_search(&job, offset);
    *spread = *mean = 0.0;
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        for (ptrdiff_t o = 0; o < count; o++) {
            error[o] = offset[n] + (double)got[n * count + o] - want[n * count + o];
        }
        *spread = fmax(*spread, spread_of(error, count) / spread_of(want + n * count, count));
        *mean = fmax(*mean, fabs(mean_of(error, count) / mean_of(want + n * count, count)));
    }
    sp_array_free(want);
    sp_array_free(got);
    sp_array_free(error);
}

static void scores_err_by_little_of_what_they_differ(void **state)
{
    (void)state;
    const uint64_t seed = fresh_seed();

    for (int i = 0; i < 2; i++) {
        scene s = make_scene(seed, i ? 1000.0 : 0.0);
        double spread, mean;

        for (int j = 0; j < 2; j++) {
            measure_errors(&s, j ? 1e6 : 1.0, &spread, &mean);
            assert_true(spread < 6e-3);
            assert_true(mean < 2e-3);
        }
        clear_scene(&s);
    }
}

/* The lists that sp_shortlist_insert() makes of all scores, in the order of their indices. */
static void insert_all(const float *score, ptrdiff_t count, int keep, sp_candidate *best)
{
    const sp_shortlists lists = {.keep = keep, .best = best};

    sp_shortlists_clear(&lists, IMAGES);
    for (ptrdiff_t i = 0; i < IMAGES * count; i++) {
        sp_shortlist_insert(sp_shortlist_of(&lists, i / count), keep,
                            (sp_candidate){.index = (int32_t)(i % count), .score = score[i]});
    }
}

/* The same index, or one whose score is the same but for rounding: products of another tile may be summed otherwise. */
static void check_lists(const float *score, ptrdiff_t count, int keep, const sp_candidate *want,
                        const sp_candidate *got)
{
    for (ptrdiff_t i = 0; i < IMAGES * keep; i++) {
        const float *of_image = score + i / keep * count;
        const float size = fabsf(want[i - i % keep].score) + fabsf(want[i - i % keep + keep - 1].score);

        assert_true(fabsf(got[i].score - want[i].score) <= 1e-5f * size);
        assert_true(fabsf(of_image[got[i].index] - got[i].score) <= 1e-5f * size);
        assert_true(i % keep == 0 || got[i].score <= got[i - 1].score);
    }
}

static void lists_do_not_depend_on_the_tiles(void **state)
{
    (void)state;
    static const int keeps[] = {1, 3, SP_DEVICE_MATCH_KEPT};
    static const ptrdiff_t tiles[] = {ORIENTATIONS + 20, 33, 16};
    scene s = make_scene(fresh_seed(), 1000.0);
    const ptrdiff_t count = s.other.count;
    search job = open_search(&s, 10.0);
    sp_candidate want[IMAGES * SP_DEVICE_MATCH_KEPT], got[IMAGES * SP_DEVICE_MATCH_KEPT];
    float *score = NULL;

    assert_int_equal(SP_ARRAY(score, IMAGES * count), SP_OK);
    all_scores(&job, score);
    for (int i = 0; i < 3; i++) {
        insert_all(score, count, keeps[i], want);
        search_tiles(&job, 0, count, tiles[i], keeps[i], got);
        check_lists(score, count, keeps[i], want, got);
    }
    close_search(&job, NULL);
    sp_array_free(score);
    clear_scene(&s);
}

static void of_equal_scores_the_lower_index_is_ahead(void **state)
{
    (void)state;
    enum { KEEP = 20, TILE = 32 };
    scene s = make_scene(fresh_seed(), 1000.0);
    const ptrdiff_t pixels = s.patterns.pixels;
    sp_candidate got[IMAGES * KEEP];

    for (ptrdiff_t o = 0; o < 2 * TILE; o++) {
        memcpy(s.intensity + o * pixels, s.intensity, floats(pixels));
    }
    search job = open_search(&s, 10.0);
    search_tiles(&job, 0, (ptrdiff_t)2 * TILE, TILE, KEEP, got);
    for (ptrdiff_t i = 0; i < IMAGES * KEEP; i++) {
        assert_int_equal(got[i].index, i % KEEP);
        assert_true(got[i].score == got[i - i % KEEP].score);
    }
    close_search(&job, NULL);
    clear_scene(&s);
}

/* The lists of the dense route; scores of both err, so what stands at a place must do as well as what should. */
static void the_best_are_those_of_the_dense_search(void **state)
{
    (void)state;
    enum { KEEP = 3 };
    scene s = make_scene(fresh_seed(), 2000.0);
    const ptrdiff_t count = s.other.count;
    const sp_dense_input input = {.patterns = &s.patterns,
                                  .stride = s.patterns.pixels,
                                  .unit = s.unit,
                                  .base = s.base,
                                  .expected = s.expected,
                                  .share = 1.0 / (1.0 + FLOOR),
                                  .isa = SP_ISA_PLAIN};
    sp_candidate want[IMAGES * KEEP], got[IMAGES * KEEP];
    double offset[IMAGES], *score = plain_scores(&s, 10.0);
    sp_dense *dense = NULL;

    assert_int_equal(sp_dense_new(&input, &dense), SP_OK);
    sp_dense_search(dense, s.slicer, s.patterns.pixels, 10.0, &s.other, &(sp_shortlists){.keep = KEEP, .best = want});
    sp_dense_free(dense);
    search job = open_search(&s, 10.0);
    search_tiles(&job, 0, count, 64, KEEP, got);
    close_search(&job, offset);
    for (ptrdiff_t i = 0; i < IMAGES * KEEP; i++) {
        const ptrdiff_t n = i / KEEP;
        const double error = 1e-2 * spread_of(score + n * count, count);

        assert_true(fabs(offset[n] + (double)got[i].score - (double)want[i].score) < error);
        assert_true(score[n * count + got[i].index] > score[n * count + want[i].index] - error);
    }
    sp_array_free(score);
    clear_scene(&s);
}

static void longer_lists_than_a_warp_are_refused(void **state)
{
    (void)state;
    sp_device *gpu = gpu_open();
    const sp_device_match_tile none = {.orientations = 0};

    for (int keep = 0; keep <= SP_DEVICE_MATCH_KEPT + 1; keep += SP_DEVICE_MATCH_KEPT + 1) {
        assert_int_equal(gpu->kernels->match->compare(gpu, NULL, 0, 5, NULL, &none, NULL, keep, NULL), SP_ERR_USAGE);
        assert_non_null(strstr(sp_error_text(), "1 to 32 orientations"));
    }
    sp_device_close(gpu);
}

/* ---- sums of the refinement ---- */

enum { COUNTED = 3, CANDIDATES = 4 }; /* images and pairs */

static const int32_t PAIRED[CANDIDATES] = {2, 0, 2, 1};

/* Random counts and patterns over five decades; some pixels dark, some negative, some without photons. */
typedef struct counts {
    ptrdiff_t pixels;
    float *base, *expected; /* [pixels] */
    float *k;               /* [COUNTED][pixels] */
    float scale[COUNTED];
    float *value; /* [CANDIDATES][pixels] */
    float *turn;  /* [3][CANDIDATES][pixels] */
    sp_likelihood_model model;
} counts;

static counts make_counts(ptrdiff_t pixels, double r, uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 1, (uint64_t)pixels);
    counts c = {.pixels = pixels,
                .base = noise(pixels, seed),
                .expected = noise(pixels, seed + 1),
                .k = noise(COUNTED * pixels, seed + 2),
                .scale = {0.4f, 1.0f, 1.7f},
                .value = noise(CANDIDATES * pixels, seed + 3),
                .turn = noise((ptrdiff_t)3 * CANDIDATES * pixels, seed + 4)};

    for (ptrdiff_t p = 0; p < pixels; p++) {
        c.base[p] = p % 50 == 3 ? 0.0f : 0.1f * fabsf(c.base[p]);
        c.expected[p] = expf(5.0f * c.expected[p] - 2.0f);
    }
    for (ptrdiff_t i = 0; i < CANDIDATES * pixels; i++) {
        c.value[i] = i % pixels % 50 == 3 ? 0.0f : i % 7 == 4 ? c.value[i] : fabsf(c.value[i]);
    }
    for (ptrdiff_t i = 0; i < COUNTED * pixels; i++) {
        c.k[i] = i % pixels % 50 == 3 ? 0.0f : (float)sp_rng_poisson(&rng, fmax(0.0, 20.0 * (double)c.k[i]));
    }
    c.model = (sp_likelihood_model){.base = c.base, .expected = c.expected, .share = 0.9f, .dispersion = (float)r};
    return c;
}

static void clear_counts(counts *c)
{
    sp_array_free(c->base);
    sp_array_free(c->expected);
    sp_array_free(c->k);
    sp_array_free(c->value);
    sp_array_free(c->turn);
}

/* sums  out  [CANDIDATES] on the GPU */
static void sum_on_gpu(const counts *c, bool turns, sp_likelihood_sums *sums)
{
    sp_device *gpu = gpu_open();
    const size_t line = floats(c->pixels), bytes = CANDIDATES * sizeof *sums;
    const sp_device_counts chosen = gpu_counts(gpu, c->k, COUNTED, c->pixels, PAIRED, CANDIDATES);
    float *base = gpu_array(gpu, c->base, line), *expected = gpu_array(gpu, c->expected, line);
    float *value = gpu_array(gpu, c->value, CANDIDATES * line);
    float *turn = gpu_array(gpu, c->turn, 3 * CANDIDATES * line), scale[CANDIDATES];
    sp_likelihood_sums *there = gpu_array(gpu, NULL, bytes);
    sp_likelihood_model model = c->model;

    model.base = base;
    model.expected = expected;
    for (int i = 0; i < CANDIDATES; i++) {
        scale[i] = c->scale[PAIRED[i]];
    }
    float *scale_there = gpu_array(gpu, scale, sizeof scale);

    assert_int_equal(gpu->kernels->match->likelihood(gpu, &model, c->pixels, &chosen, scale_there, value,
                                                     turns ? turn : NULL, there),
                     SP_OK);
    gpu_take(gpu, there, bytes, sums);
    gpu_take(gpu, turn, 3 * CANDIDATES * line, NULL);
    gpu_take(gpu, value, CANDIDATES * line, NULL);
    gpu_take(gpu, scale_there, sizeof scale, NULL);
    gpu_take(gpu, expected, line, NULL);
    gpu_take(gpu, base, line, NULL);
    free_gpu_counts(gpu, &chosen);
    sp_device_close(gpu);
}

/* As sp_slicer_cut_turns() hands a candidate on: negative intensities are 0 that does not change. */
typedef struct cut {
    float *value;   /* [pixels] */
    float *turn[3]; /* [pixels], in the same array */
} cut;

/* Free `value` with sp_array_free(). */
static cut cut_candidate(const counts *c, ptrdiff_t candidate)
{
    const ptrdiff_t pixels = c->pixels;
    cut at = {0};

    assert_int_equal(SP_ARRAY(at.value, 4 * pixels), SP_OK);
    for (int i = 0; i < 3; i++) {
        at.turn[i] = at.value + (i + 1) * pixels;
    }
    for (ptrdiff_t p = 0; p < pixels; p++) {
        const float value = c->value[candidate * pixels + p];

        at.value[p] = fmaxf(value, 0.0f);
        for (int i = 0; i < 3; i++) {
            at.turn[i][p] = value > 0.0f ? c->turn[(i * CANDIDATES + candidate) * pixels + p] : 0.0f;
        }
    }
    return at;
}

/* Sums of moduli in place of the slopes: what cancels in them.   size  out  [3] */
static void measure_slopes(const counts *c, ptrdiff_t candidate, const cut *at, double *size)
{
    const float *k = c->k + PAIRED[candidate] * c->pixels;
    const double scale = (double)c->scale[PAIRED[candidate]], r = (double)c->model.dispersion;

    memset(size, 0, 3 * sizeof *size);
    for (ptrdiff_t p = 0; p < c->pixels; p++) {
        const double factor = (double)c->model.share * (double)c->expected[p];
        const double m = sp_likelihood_mean(at->value[p], c->base[p], factor);
        const double weight = m > sp_likelihood_least() ? 1.0 / (m * (1.0 + m / r)) : 0.0;

        for (int i = 0; i < 3; i++) {
            size[i] += weight * fabs((double)at->turn[i][p] * factor) * ((double)k[p] + scale * m);
        }
    }
}

/* The same by the plain loops.   size  out  [3] of measure_slopes() */
static sp_likelihood_sums plain_sums(const counts *c, ptrdiff_t candidate, double *size)
{
    const cut at = cut_candidate(c, candidate);
    sp_likelihood_sums sums = {0};

    sp_likelihood_ref.add(&c->model, 0, c->pixels, c->k + PAIRED[candidate] * c->pixels, c->scale[PAIRED[candidate]],
                          at.value, (const float *const *)at.turn, &sums);
    measure_slopes(c, candidate, &at, size);
    sp_array_free(at.value);
    return sums;
}

static bool near(double a, double b, double size)
{
    return fabs(a - b) <= 3e-6 * size;
}

/*   size  [3] what the slopes are measured by */
static void check_sums(const sp_likelihood_sums *want, const sp_likelihood_sums *got, const double *size)
{
    assert_true(near(got->score, want->score, fabs(want->score)));
    for (int i = 0; i < 3; i++) {
        assert_true(near(got->slope[i], want->slope[i], size[i]));
        for (int j = 0; j <= i; j++) {
            assert_true(near(got->information[i][j], want->information[i][j],
                             sqrt(want->information[i][i] * want->information[j][j])));
        }
    }
}

/* Numbers of pixels that fill no warp, no block, and more than a thread adds up in single precision. */
static void sums_are_those_of_the_plain_loops(void **state)
{
    (void)state;
    static const ptrdiff_t pixels[] = {1, 333, 9000};
    static const double dispersions[] = {0.5, 1e6, 10.0};
    const uint64_t seed = fresh_seed();

    for (int i = 0; i < 3; i++) {
        counts c = make_counts(pixels[i], dispersions[i], seed);
        sp_likelihood_sums got[CANDIDATES], alone[CANDIDATES];

        sum_on_gpu(&c, true, got);
        sum_on_gpu(&c, false, alone);
        for (ptrdiff_t j = 0; j < CANDIDATES; j++) {
            double size[3];
            const sp_likelihood_sums want = plain_sums(&c, j, size);

            check_sums(&want, &got[j], size);
            assert_true(near(alone[j].score, want.score, fabs(want.score)));
            assert_true(alone[j].slope[0] == 0.0 && alone[j].information[2][2] == 0.0);
        }
        clear_counts(&c);
    }
}

/* ---- assessment ---- */

/* What the GPU finds, or the processor. */
typedef struct verdict {
    float score[IMAGES], scale[IMAGES];
    double *scatter; /* [shells + 1][2] */
} verdict;

static verdict empty_verdict(const scene *s)
{
    verdict v = {0};

    assert_int_equal(SP_ARRAY(v.scatter, sp_match_scatter_count(s->patterns.shells)), SP_OK);
    for (ptrdiff_t i = 0; i < sp_match_scatter_count(s->patterns.shells); i++) {
        v.scatter[i] = 1.0; /* sums are added to */
    }
    memcpy(v.scale, s->patterns.scale, sizeof v.scale);
    return v;
}

static void assess_by_processor(const scene *s, verdict *v)
{
    const sp_match_settings settings = {.route = SP_MATCH_NONE, .dispersion = 1.0, .floor = FLOOR, .s_max = INFINITY};
    sp_matcher *matcher = NULL;

    assert_int_equal(sp_matcher_new(&s->patterns, s->slicer, &settings, &matcher), SP_OK);
    sp_matcher_assess_part(matcher, s->truth, (sp_selection){0}, v->score, v->scale, v->scatter);
    sp_matcher_free(matcher);
}

/* whitening, background  out  [pixels] as match.c takes them */
static void weigh_pixels(const scene *s, float *whitening, float *background)
{
    const sp_patterns *patterns = &s->patterns;

    for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
        const ptrdiff_t shell = patterns->shell[p];
        const double per_unit = (double)patterns->exposure[p] / s->unit, mean = patterns->profile[shell] * per_unit;
        const double speckle = mean - patterns->smooth[shell] * per_unit;

        whitening[p] = mean > 0.0 ? (float)(1.0 / (mean + speckle * speckle)) : 0.0f;
        background[p] = (float)(patterns->background[p] / s->unit);
    }
}

static void assess_on_gpu(const scene *s, verdict *v)
{
    sp_device *gpu = gpu_open();
    const sp_patterns *patterns = &s->patterns;
    const ptrdiff_t pixels = patterns->pixels, shells = patterns->shells;
    const size_t line = floats(pixels), scatter_bytes = (size_t)sp_match_scatter_count(shells) * sizeof(double);
    const size_t start_bytes = (size_t)(shells + 1) * sizeof *patterns->shell_start;
    float *table = noise(2 * pixels, 1), *value = noise(IMAGES * pixels, 1);

    weigh_pixels(s, table, table + pixels);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        sp_slicer_cut(s->slicer, s->truth[n], patterns->s, pixels, value + n * pixels);
    }
    void *start = gpu_array(gpu, patterns->shell_start, start_bytes), *expected = gpu_array(gpu, s->expected, line);
    void *exposure = gpu_array(gpu, patterns->exposure, line), *whitening = gpu_array(gpu, table, line);
    void *background = gpu_array(gpu, table + pixels, line);
    const sp_device_counts photons = gpu_counts(gpu, s->k, IMAGES, pixels, IN_ORDER, IMAGES);
    void *pattern = gpu_array(gpu, value, IMAGES * line), *scale = gpu_array(gpu, v->scale, sizeof v->scale);
    void *score = gpu_array(gpu, NULL, sizeof v->score), *residue = gpu_array(gpu, NULL, IMAGES * scatter_bytes);
    void *scatter = gpu_array(gpu, v->scatter, scatter_bytes);
    const sp_device_assessment by = {.pixels = pixels,
                                     .shells = shells,
                                     .shell_start = start,
                                     .expected = expected,
                                     .exposure = exposure,
                                     .whitening = whitening,
                                     .background = background,
                                     .noise = (float)(patterns->quantum / s->unit)};

    assert_int_equal(gpu->kernels->match->assess(gpu, &by, &photons, pattern, scale, score, residue, scatter), SP_OK);
    gpu_take(gpu, scatter, scatter_bytes, v->scatter);
    gpu_take(gpu, residue, IMAGES * scatter_bytes, NULL);
    gpu_take(gpu, score, sizeof v->score, v->score);
    gpu_take(gpu, scale, sizeof v->scale, v->scale);
    gpu_take(gpu, pattern, IMAGES * line, NULL);
    free_gpu_counts(gpu, &photons);
    gpu_take(gpu, background, line, NULL);
    gpu_take(gpu, whitening, line, NULL);
    gpu_take(gpu, exposure, line, NULL);
    gpu_take(gpu, expected, line, NULL);
    gpu_take(gpu, start, start_bytes, NULL);
    sp_array_free(table);
    sp_array_free(value);
    sp_device_close(gpu);
}

/* With a background, and an image that has no signal. */
static void images_are_assessed_as_by_the_processor(void **state)
{
    (void)state;
    scene s = make_scene(fresh_seed(), 1000.0);
    const ptrdiff_t shells = s.patterns.shells;
    double *smooth = NULL;

    assert_int_equal(SP_ARRAY(smooth, shells), SP_OK);
    for (ptrdiff_t i = 0; i < shells; i++) {
        smooth[i] = 0.1 * s.patterns.profile[i];
    }
    sp_patterns_set_background(&s.patterns, smooth);
    s.patterns.scale[2] = 0.0f;
    verdict want = empty_verdict(&s), got = empty_verdict(&s);

    assess_by_processor(&s, &want);
    assess_on_gpu(&s, &got);
    for (int n = 0; n < IMAGES; n++) {
        assert_true(fabsf(got.score[n] - want.score[n]) < 1e-5f);
        assert_true(fabsf(got.scale[n] - want.scale[n]) <= 1e-5f * want.scale[n]);
    }
    for (ptrdiff_t i = 0; i <= shells; i++) { /* of the last row too */
        const double size = want.scatter[2 * i] + fabs(want.scatter[2 * i + 1]);

        assert_true(fabs(got.scatter[2 * i] - want.scatter[2 * i]) < 1e-5 * size);
        assert_true(fabs(got.scatter[2 * i + 1] - want.scatter[2 * i + 1]) < 1e-5 * size);
    }
    sp_array_free(smooth);
    sp_array_free(want.scatter);
    sp_array_free(got.scatter);
    clear_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_err_by_little_of_what_they_differ),
        cmocka_unit_test(lists_do_not_depend_on_the_tiles),
        cmocka_unit_test(of_equal_scores_the_lower_index_is_ahead),
        cmocka_unit_test(the_best_are_those_of_the_dense_search),
        cmocka_unit_test(sums_are_those_of_the_plain_loops),
        cmocka_unit_test(images_are_assessed_as_by_the_processor),
        cmocka_unit_test(longer_lists_than_a_warp_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
