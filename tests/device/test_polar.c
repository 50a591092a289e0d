/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/polar.h"

#include "device/polar_scene.h"
#include "device/polar_tables.h"

enum { KEEP = SP_DEVICE_POLAR_KEPT };

static double *doubles(ptrdiff_t count)
{
    double *x = NULL;

    assert_int_equal(SP_ARRAY(x, count), SP_OK);
    return x;
}

static float *floats(ptrdiff_t count)
{
    float *x = NULL;

    assert_int_equal(SP_ARRAY(x, count), SP_OK);
    return x;
}

static size_t bytes_of(ptrdiff_t count)
{
    return (size_t)count * sizeof(float);
}

/* ---- plain sums, in double precision ---- */

/* Where coefficients of a ring begin. */
static ptrdiff_t start_of(const sp_polar_layout *layout, ptrdiff_t ring)
{
    ptrdiff_t start = 0;

    for (ptrdiff_t k = 0; k < ring; k++) {
        start += layout->ring_orders[k];
    }
    return start;
}

static ptrdiff_t coefficients_of(const sp_polar_layout *layout)
{
    return start_of(layout, layout->rings);
}

/* K of one image.   sum  out  [coefficients][2] */
static void plain_sums(const sp_polar_layout *layout, const float *k, double *sum)
{
    memset(sum, 0, 2 * (size_t)coefficients_of(layout) * sizeof *sum);
    for (ptrdiff_t p = 0; p < layout->pixels; p++) {
        const double angle = atan2(layout->phase[2 * p + 1], layout->phase[2 * p]);

        for (int t = 0; t < SP_POLAR_TAPS; t++) {
            const ptrdiff_t at = layout->inner[p] + t, ring = at < 0 ? -at - 1 : at;
            const double value = (double)k[p] * layout->weight[p * SP_POLAR_TAPS + t];
            double *to = sum + 2 * start_of(layout, ring);

            for (ptrdiff_t m = 0; m < layout->ring_orders[ring]; m++) {
                const double sign = at < 0 && m % 2 ? -1.0 : 1.0;

                to[2 * m] += sign * value * cos((double)m * angle);
                to[2 * m + 1] += sign * value * sin((double)m * angle);
            }
        }
    }
}

static double mean_at(const sp_polar_layout *layout, ptrdiff_t ring, float intensity)
{
    return fmax(((double)intensity + layout->base[ring]) * layout->gain[ring], 1e-30);
}

/* Feature (0) or loss (1) at a sample. */
static double feature_at(const sp_polar_layout *layout, int which, ptrdiff_t ring, float intensity)
{
    const double m = mean_at(layout, ring, intensity), r = layout->dispersion;

    return which == 0 ? -log1p(r / m) : log1p(m / r);
}

/* F or G of one direction, less what is common to the ring.
 *   intensity  [samples]    common  [rings] or NULL    f  out  [coefficients][2] */
static void plain_features(const sp_polar_layout *layout, int which, const float *intensity, const float *common,
                           double *f)
{
    for (ptrdiff_t k = 0; k < layout->rings; k++) {
        const ptrdiff_t first = layout->sample_start[k], count = layout->sample_start[k + 1] - first;
        double *to = f + 2 * start_of(layout, k);

        for (ptrdiff_t m = 0; m < layout->ring_orders[k]; m++) {
            const double factor = (m > 0 ? 2.0 : 1.0) / (double)count;

            to[2 * m] = to[2 * m + 1] = 0.0;
            for (ptrdiff_t l = 0; l < count; l++) {
                const double angle = 2.0 * M_PI * (double)(m * l % count) / (double)count;
                const double y = feature_at(layout, which, k, intensity[first + l]) - (common ? common[k] : 0.0);

                to[2 * m] += factor * y * cos(angle);
                to[2 * m + 1] -= factor * y * sin(angle);
            }
        }
    }
}

/* score[a] += factor Re sum_m exp(-i m alpha_a) sum_k F_mk K_mk */
static void add_correlation(const sp_polar_layout *layout, double factor, const double *f, const double *k,
                            double *score)
{
    const ptrdiff_t orders = layout->ring_orders[layout->rings - 1], angles = layout->grid->angles;

    for (ptrdiff_t m = 0; m < orders; m++) {
        double re = 0.0, im = 0.0;

        for (ptrdiff_t ring = 0, i = m; ring < layout->rings; i += layout->ring_orders[ring++]) {
            if (m < layout->ring_orders[ring]) {
                re += f[2 * i] * k[2 * i] - f[2 * i + 1] * k[2 * i + 1];
                im += f[2 * i] * k[2 * i + 1] + f[2 * i + 1] * k[2 * i];
            }
        }
        for (ptrdiff_t a = 0; a < angles; a++) {
            const double turn = 2.0 * M_PI * (double)(m * a % angles) / (double)angles;

            score[a] += factor * (re * cos(turn) + im * sin(turn));
        }
    }
}

/* ---- the same on the GPU ---- */

/* Some images and directions there, and what is made of them step by step. */
typedef struct job {
    sp_device *gpu;
    const sp_device_polar_kernels *kernels;
    sp_polar *polar;
    sp_polar_layout layout;
    sp_device_polar_tables *tables;
    const sp_device_polar *by;
    ptrdiff_t images, directions;
    const float *intensity; /* [directions][samples] */
    float *intensity_there, *exposed, *common, *sums, *centre, *unit, *scale;
    sp_half *packed;
} job;

static float *make_sums(const job *j, const sp_device_counts *counts)
{
    const ptrdiff_t scratch_count = sp_device_polar_sums_scratch(j->by, counts->images);
    float *scratch = gpu_array(j->gpu, NULL, bytes_of(scratch_count));
    float *sums = gpu_array(j->gpu, NULL, bytes_of(2 * counts->images * j->by->coefficients));

    assert_int_equal(j->kernels->sums(j->gpu, j->by, counts, scratch, sums), SP_OK);
    gpu_take(j->gpu, scratch, bytes_of(scratch_count), NULL);
    return sums;
}

/* Images and shares transformed.   choice  as for gpu_counts() */
static void take_images(job *j, const scene *s, const int32_t *choice)
{
    const sp_device_counts counts = gpu_counts(j->gpu, s->k, IMAGES, s->patterns.pixels, choice, j->images);
    const sp_device_counts shares = gpu_counts(j->gpu, j->layout.share, 1, s->patterns.pixels, NULL, 1);

    j->sums = make_sums(j, &counts);
    j->exposed = make_sums(j, &shares);
    j->packed = gpu_array(j->gpu, NULL, (size_t)(j->images * j->by->row) * sizeof *j->packed);
    j->centre = gpu_array(j->gpu, NULL, bytes_of(j->images * j->by->rings));
    j->unit = gpu_array(j->gpu, NULL, bytes_of(j->images));
    assert_int_equal(j->kernels->pack(j->gpu, j->by, j->sums, j->images, j->packed, j->unit, j->centre), SP_OK);
    free_gpu_counts(j->gpu, &counts);
    free_gpu_counts(j->gpu, &shares);
}

/*   intensity  [grid->directions][samples], or NULL: what the model shows them */
static job open_job(const scene *s, const sp_rotation_grid *grid, ptrdiff_t pixels, double r, ptrdiff_t images,
                    const int32_t *choice, const float *intensity)
{
    job j = {.gpu = gpu_open(), .polar = make_polar(s), .images = images, .directions = grid->directions};
    float *cut = NULL;

    j.kernels = j.gpu->kernels->polar;
    sp_polar_begin(j.polar, pixels, r, grid, sp_slicer_reach(s->slicer));
    j.layout = sp_polar_layout_of(j.polar);
    assert_int_equal(sp_device_polar_tables_new(j.gpu, j.polar, &j.tables), SP_OK);
    assert_int_equal(sp_device_polar_tables_begin(j.tables), SP_OK);
    j.by = sp_device_polar_tables_of(j.tables);
    cut = floats(j.directions * j.by->samples);
    for (ptrdiff_t d = 0; d < j.directions; d++) {
        sp_slicer_cut(s->slicer, grid->q[d * grid->angles], (float *const *)j.layout.s, j.by->samples,
                      cut + d * j.by->samples);
    }
    if (intensity) {
        memcpy(cut, intensity, bytes_of(j.directions * j.by->samples));
    }
    j.intensity = cut;
    j.intensity_there = gpu_array(j.gpu, cut, bytes_of(j.directions * j.by->samples));
    j.common = gpu_array(j.gpu, NULL, bytes_of(2 * j.by->rings));
    assert_int_equal(j.kernels->average(j.gpu, j.by, j.intensity_there, j.directions, j.common), SP_OK);
    j.scale = gpu_array(j.gpu, s->patterns.scale, bytes_of(images));
    take_images(&j, s, choice);
    return j;
}

/*   sums, common  out, or NULL */
static void close_job(job *j, float *sums, float *common)
{
    gpu_take(j->gpu, j->packed, (size_t)(j->images * j->by->row) * sizeof *j->packed, NULL);
    gpu_take(j->gpu, j->centre, bytes_of(j->images * j->by->rings), NULL);
    gpu_take(j->gpu, j->unit, bytes_of(j->images), NULL);
    gpu_take(j->gpu, j->sums, bytes_of(2 * j->images * j->by->coefficients), sums);
    gpu_take(j->gpu, j->exposed, bytes_of(2 * j->by->coefficients), NULL);
    gpu_take(j->gpu, j->scale, bytes_of(j->images), NULL);
    gpu_take(j->gpu, j->common, bytes_of(2 * j->by->rings), common);
    gpu_take(j->gpu, j->intensity_there, bytes_of(j->directions * j->by->samples), NULL);
    sp_array_free((void *)j->intensity);
    sp_device_polar_tables_free(j->tables);
    sp_polar_free(j->polar);
    sp_device_close(j->gpu);
}

/* A copy of an array of the device. */
static float *copy_back(const job *j, const float *from, ptrdiff_t count)
{
    float *to = floats(count);

    assert_int_equal(j->gpu->kernels->download(j->gpu, from, bytes_of(count), to), SP_OK);
    return to;
}

static sp_device_polar_images images_of(const job *j)
{
    return (sp_device_polar_images){.packed = j->packed, .unit = j->unit, .scale = j->scale, .images = j->images};
}

/* The lists of all images after a tile of directions first .. first + count - 1.
 *   bias  out  [count][angles, filled up], or NULL        best  in, out  [images][keep] */
static void compare_tile(const job *j, ptrdiff_t first, ptrdiff_t count, int keep, float *bias, sp_candidate *best)
{
    const ptrdiff_t biases = count * sp_device_polar_fill(j->by->angles, 4);
    const size_t feature_bytes = (size_t)sp_device_polar_feature_count(j->by, count) * sizeof(sp_half);
    const size_t making = bytes_of(sp_device_polar_features_scratch(j->by, count));
    const size_t comparing = bytes_of(sp_device_polar_compare_scratch(j->by, j->images, count));
    const size_t list_bytes = (size_t)(j->images * keep) * sizeof *best;
    sp_half *feature = gpu_array(j->gpu, NULL, feature_bytes);
    float *bias_there = gpu_array(j->gpu, NULL, bytes_of(biases)), *scratch = gpu_array(j->gpu, NULL, making);
    sp_candidate *best_there = gpu_array(j->gpu, best, list_bytes);
    const sp_device_polar_images images = images_of(j);
    const sp_device_polar_tile tile = {.feature = feature, .bias = bias_there, .directions = count, .first = first};

    assert_int_equal(j->kernels->features(j->gpu, j->by, j->intensity_there + first * j->by->samples, count, j->common,
                                          j->exposed, scratch, feature, bias_there),
                     SP_OK);
    gpu_take(j->gpu, scratch, making, NULL);
    scratch = gpu_array(j->gpu, NULL, comparing);
    assert_int_equal(j->kernels->compare(j->gpu, j->by, &images, &tile, scratch, keep, best_there), SP_OK);
    gpu_take(j->gpu, scratch, comparing, NULL);
    gpu_take(j->gpu, best_there, list_bytes, best);
    gpu_take(j->gpu, bias_there, bytes_of(biases), bias);
    gpu_take(j->gpu, feature, feature_bytes, NULL);
}

/* ---- step by step ---- */

/* Largest difference, relative to the largest number. */
static double worst_difference(const float *got, const double *want, ptrdiff_t count)
{
    double worst = 0.0, most = 1e-300;

    for (ptrdiff_t i = 0; i < count; i++) {
        const double difference = fabs((double)got[i] - want[i]);

        worst = difference <= worst ? worst : difference; /* also if it is no number */
        most = fmax(most, fabs(want[i]));
    }
    return worst / most;
}

static void check_sums(const scene *s, ptrdiff_t pixels, const int32_t *choice, ptrdiff_t images)
{
    sp_rotation_grid grid = turned_grid(1, 7, 1);
    job j = open_job(s, &grid, pixels, 1.0, images, choice, NULL);
    const ptrdiff_t count = 2 * j.by->coefficients;
    float *got = copy_back(&j, j.sums, images * count), *exposed = copy_back(&j, j.exposed, count);
    double *want = doubles(count);

    assert_int_equal(j.by->coefficients, coefficients_of(&j.layout));
    for (ptrdiff_t n = 0; n < images; n++) {
        plain_sums(&j.layout, s->k + (choice ? choice[n] : n) * s->patterns.pixels, want);
        assert_true(worst_difference(got + n * count, want, count) < 2e-6);
    }
    plain_sums(&j.layout, j.layout.share, want);
    assert_true(worst_difference(exposed, want, count) < 2e-6);
    sp_array_free(got);
    sp_array_free(exposed);
    sp_array_free(want);
    close_job(&j, NULL, NULL);
    sp_rotation_grid_clear(&grid);
}

static void images_are_summed_over_their_pixels(void **state)
{
    (void)state;
    static const int32_t choice[] = {4, 8, 0, 4};
    scene whole = make_scene(fresh_seed(), 0.0, false), masked = make_scene(fresh_seed(), 1000.0, true);

    check_sums(&whole, whole.patterns.pixels, NULL, IMAGES);
    check_sums(&masked, masked.patterns.pixels, choice, 4);
    check_sums(&masked, 23, NULL, 1);
    check_sums(&masked, 1, NULL, 1); /* rings without a pixel */
    clear_scene(&whole);
    clear_scene(&masked);
}

static void check_averages(double r)
{
    scene s = make_scene(fresh_seed(), 0.0, true);
    sp_rotation_grid grid = turned_grid(5, 12, 2);
    job j = open_job(&s, &grid, s.patterns.pixels, r, IMAGES, NULL, NULL);
    float *common = copy_back(&j, j.common, 2 * j.by->rings);

    for (int which = 0; which < 2; which++) {
        for (ptrdiff_t k = 0; k < j.by->rings; k++) {
            const ptrdiff_t first = j.layout.sample_start[k], count = j.layout.sample_start[k + 1] - first;
            double sum = 0.0;

            for (ptrdiff_t i = 0; i < 5 * count; i++) {
                const float intensity = j.intensity[i / count * j.by->samples + first + i % count];

                sum += feature_at(&j.layout, which, k, intensity) / (double)(5 * count);
            }
            assert_true(fabs(common[which * j.by->rings + k] - sum) < 2e-6 * fabs(sum));
        }
    }
    sp_array_free(common);
    close_job(&j, NULL, NULL);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void what_is_common_is_the_mean_of_each_ring(void **state)
{
    (void)state;
    check_averages(1.0);
    check_averages(1e6);
}

static void check_biases(double r, ptrdiff_t directions, ptrdiff_t angles)
{
    scene s = make_scene(fresh_seed(), 0.0, true);
    sp_rotation_grid grid = turned_grid(directions, angles, 3);
    job j = open_job(&s, &grid, s.patterns.pixels, r, 1, NULL, NULL);
    const ptrdiff_t filled = sp_device_polar_fill(angles, 4), count = 2 * j.by->coefficients;
    float *common = copy_back(&j, j.common, 2 * j.by->rings), *bias = floats(directions * filled);
    double *exposed = doubles(count), *g = doubles(count), *want = doubles(directions * angles);
    sp_candidate best[1] = {{0, -INFINITY}};

    compare_tile(&j, 0, directions, 1, bias, best);
    plain_sums(&j.layout, j.layout.share, exposed);
    for (ptrdiff_t d = 0; d < directions; d++) {
        plain_features(&j.layout, 1, j.intensity + d * j.by->samples, common + j.by->rings, g);
        add_correlation(&j.layout, -r, g, exposed, want + d * angles);
        for (ptrdiff_t a = angles; a < filled; a++) {
            assert_true(bias[d * filled + a] == -INFINITY);
        }
        memmove(bias + d * angles, bias + d * filled, bytes_of(angles));
    }
    assert_true(worst_difference(bias, want, directions * angles) < 2e-5);
    sp_array_free(common);
    sp_array_free(bias);
    sp_array_free(exposed);
    sp_array_free(g);
    sp_array_free(want);
    close_job(&j, NULL, NULL);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void biases_are_correlations_with_the_shares(void **state)
{
    (void)state;
    check_biases(1.0, 5, 13);
    check_biases(1e6, 1, 12);
    check_biases(10.0, 2, 319);
}

/* ---- scores ---- */

/* Scores of all images and orientations, without the offsets.   score  out  [images][orientations] */
static void plain_scores(const job *j, const scene *s, const int32_t *choice, double *score)
{
    const ptrdiff_t count = 2 * j->by->coefficients, angles = j->by->angles, all = j->directions * angles;
    float *common = copy_back(j, j->common, 2 * j->by->rings);
    double *f = doubles(j->directions * count), *g = doubles(j->directions * count), *k = doubles(count);
    double *exposed = doubles(count);

    for (ptrdiff_t d = 0; d < j->directions; d++) {
        plain_features(&j->layout, 0, j->intensity + d * j->by->samples, common, f + d * count);
        plain_features(&j->layout, 1, j->intensity + d * j->by->samples, common + j->by->rings, g + d * count);
    }
    plain_sums(&j->layout, j->layout.share, exposed);
    for (ptrdiff_t n = 0; n < j->images; n++) {
        plain_sums(&j->layout, s->k + (choice ? choice[n] : n) * s->patterns.pixels, k);
        for (ptrdiff_t d = 0; d < j->directions; d++) {
            double *to = score + n * all + d * angles;

            memset(to, 0, (size_t)angles * sizeof *to);
            add_correlation(&j->layout, 1.0, f + d * count, k, to);
            add_correlation(&j->layout, -(double)s->patterns.scale[n] * j->layout.dispersion, g + d * count, exposed,
                            to);
        }
    }
    sp_array_free(common);
    sp_array_free(f);
    sp_array_free(g);
    sp_array_free(k);
    sp_array_free(exposed);
}

/* In tiles of so many directions. */
static void check_scores(const scene *s, const sp_rotation_grid *grid, double r, const int32_t *choice,
                         ptrdiff_t images, ptrdiff_t tile, int keep)
{
    job j = open_job(s, grid, s->patterns.pixels, r, images, choice, NULL);
    double *score = doubles(images * grid->count);
    sp_candidate best[IMAGES * KEEP];

    sp_shortlists_clear(&(sp_shortlists){.keep = keep, .best = best}, images);
    for (ptrdiff_t first = 0; first < grid->directions; first += tile) {
        compare_tile(&j, first, grid->directions - first < tile ? grid->directions - first : tile, keep, NULL, best);
    }
    plain_scores(&j, s, choice, score);
    for (ptrdiff_t n = 0; n < images; n++) {
        const double *of = score + n * grid->count;

        check_list(of, grid->count, keep, best + n * keep, 0.01 * spread_of(of, grid->count));
    }
    sp_array_free(score);
    close_job(&j, NULL, NULL);
}

/* Angles that fold orders and that do not, even and odd; directions that fill no group; tiles. */
static void scores_are_correlations(void **state)
{
    (void)state;
    static const struct {
        ptrdiff_t directions, angles, tile;
    } shape[] = {{7, 13, 7}, {7, 13, 3}, {40, 2, 40}, {40, 1, 40}, {1, 60, 1}, {3, 320, 2}, {9, 27, 9}, {8, 4, 8}};
    static const int32_t choice[] = {7, 1};
    scene s = make_scene(fresh_seed(), 3000.0, true);

    for (size_t i = 0; i < sizeof shape / sizeof *shape; i++) {
        sp_rotation_grid grid = turned_grid(shape[i].directions, shape[i].angles, 10 + i);

        check_scores(&s, &grid, i % 2 ? 1.0 : 100.0, NULL, IMAGES, shape[i].tile, i % 3 ? 5 : KEEP);
        check_scores(&s, &grid, 1.0, choice, i % 2 ? 1 : 2, shape[i].tile, 1);
        sp_rotation_grid_clear(&grid);
    }
    clear_scene(&s);
}

/* All scores on the GPU, by lists that hold one direction.   score  out  [images][orientations] */
static void all_scores(const job *j, double *score)
{
    const ptrdiff_t angles = j->by->angles, all = j->directions * angles;
    sp_candidate best[IMAGES * KEEP];

    assert_true(angles <= KEEP);
    for (ptrdiff_t d = 0; d < j->directions; d++) {
        sp_shortlists_clear(&(sp_shortlists){.keep = (int)angles, .best = best}, j->images);
        compare_tile(j, d, 1, (int)angles, NULL, best);
        for (ptrdiff_t i = 0; i < j->images * angles; i++) {
            score[i / angles * all + best[i].index] = (double)best[i].score;
        }
    }
}

/* Error of the scores of an image, root mean square, relative to how these differ: the worst image. */
static double error_of(const scene *s, const sp_rotation_grid *grid, double r)
{
    job j = open_job(s, grid, s->patterns.pixels, r, IMAGES, NULL, NULL);
    double *got = doubles(IMAGES * grid->count), *want = doubles(IMAGES * grid->count), worst = 0.0;

    all_scores(&j, got);
    plain_scores(&j, s, NULL, want);
    for (ptrdiff_t i = 0; i < IMAGES * grid->count; i++) {
        got[i] -= want[i];
    }
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        const ptrdiff_t at = n * grid->count;

        worst = fmax(worst, spread_of(got + at, grid->count) / spread_of(want + at, grid->count));
    }
    sp_array_free(got);
    sp_array_free(want);
    close_job(&j, NULL, NULL);
    return worst;
}

static void scores_err_by_little_of_what_they_differ(void **state)
{
    (void)state;
    static const double photons[] = {0.0, 300.0, 30000.0}, dispersion[] = {1.0, 10.0, 1e6};
    const uint64_t seed = fresh_seed();
    sp_rotation_grid grid = make_grid(600);

    for (int i = 0; i < 3; i++) {
        scene s = make_scene(seed + (uint64_t)i, photons[i], i > 0);

        for (int j = 0; j < 3; j++) {
            const double error = error_of(&s, &grid, dispersion[j]);

            print_message("%g photons, r = %g: %.2g %%\n", photons[i], dispersion[j], 100.0 * error);
            assert_true(error < 3e-3);
        }
        clear_scene(&s);
    }
    sp_rotation_grid_clear(&grid);
}

/* ---- offsets and lists ---- */

static void check_offsets(double r)
{
    scene s = make_scene(fresh_seed(), 30000.0, true);
    sp_rotation_grid grid = turned_grid(3, 5, 4);
    job j = open_job(&s, &grid, s.patterns.pixels, r, IMAGES, NULL, NULL);
    float *common = copy_back(&j, j.common, 2 * j.by->rings);
    double *offset = gpu_array(j.gpu, NULL, IMAGES * sizeof *offset), got[IMAGES];
    double *k = doubles(2 * j.by->coefficients), *exposed = doubles(2 * j.by->coefficients);

    assert_int_equal(j.kernels->offsets(j.gpu, j.by, j.centre, IMAGES, j.scale, j.exposed, j.common, offset), SP_OK);
    gpu_take(j.gpu, offset, sizeof got, got);
    plain_sums(&j.layout, j.layout.share, exposed);
    for (ptrdiff_t n = 0; n < IMAGES; n++) {
        double want = 0.0;

        plain_sums(&j.layout, s.k + n * s.patterns.pixels, k);
        for (ptrdiff_t ring = 0; ring < j.by->rings; ring++) {
            const ptrdiff_t at = 2 * start_of(&j.layout, ring);

            want += k[at] * common[ring] - (double)s.patterns.scale[n] * r * exposed[at] * common[j.by->rings + ring];
        }
        assert_true(fabs(got[n] - want) < 2e-6 * fabs(want));
    }
    sp_array_free(common);
    sp_array_free(k);
    sp_array_free(exposed);
    close_job(&j, NULL, NULL);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

static void offsets_are_what_all_orientations_have_in_common(void **state)
{
    (void)state;
    check_offsets(1.0);
    check_offsets(1e6);
}

static void lists_begin_empty_and_end_with_the_offset(void **state)
{
    (void)state;
    enum { IN_LIST = 3, COUNT = IMAGES * IN_LIST };
    sp_device *gpu = gpu_open();
    const sp_device_polar_kernels *kernels = gpu->kernels->polar;
    double offset[IMAGES];
    sp_candidate best[COUNT], *best_there = gpu_array(gpu, NULL, sizeof best);

    for (int n = 0; n < IMAGES; n++) {
        offset[n] = 1000.0 * n;
    }
    double *offset_there = gpu_array(gpu, offset, sizeof offset);

    assert_int_equal(kernels->clear_lists(gpu, IMAGES, IN_LIST, best_there), SP_OK);
    gpu_take(gpu, best_there, sizeof best, best);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(best[i].index, 0);
        assert_true(best[i].score == -INFINITY);
        best[i] = (sp_candidate){.index = i, .score = 0.25f * (float)i};
    }
    best_there = gpu_array(gpu, best, sizeof best);
    assert_int_equal(kernels->add_offsets(gpu, offset_there, IMAGES, IN_LIST, best_there), SP_OK);
    gpu_take(gpu, best_there, sizeof best, best);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(best[i].index, i);
        assert_true(best[i].score == 0.25f * (float)i + 1000.0f * (float)(i / IN_LIST));
    }
    gpu_take(gpu, offset_there, sizeof offset, NULL);
    sp_device_close(gpu);
}

static void nothing_to_do_is_fine(void **state)
{
    (void)state;
    scene s = make_scene(1, 0.0, false);
    sp_rotation_grid grid = turned_grid(1, 5, 4);
    job j = open_job(&s, &grid, s.patterns.pixels, 1.0, 1, NULL, NULL);
    const sp_device_counts none = {.row = 1};
    const sp_device_polar_tile tile = {.directions = 0};
    const sp_device_polar_images images = images_of(&j);

    assert_int_equal(j.kernels->sums(j.gpu, j.by, &none, NULL, NULL), SP_OK);
    assert_int_equal(j.kernels->pack(j.gpu, j.by, NULL, 0, NULL, NULL, NULL), SP_OK);
    assert_int_equal(j.kernels->average(j.gpu, j.by, NULL, 0, NULL), SP_OK);
    assert_int_equal(j.kernels->offsets(j.gpu, j.by, NULL, 0, NULL, NULL, NULL, NULL), SP_OK);
    assert_int_equal(j.kernels->features(j.gpu, j.by, NULL, 0, NULL, NULL, NULL, NULL, NULL), SP_OK);
    assert_int_equal(j.kernels->clear_lists(j.gpu, 0, 3, NULL), SP_OK);
    assert_int_equal(j.kernels->add_offsets(j.gpu, NULL, 0, 3, NULL), SP_OK);
    assert_int_equal(j.kernels->compare(j.gpu, j.by, &images, &tile, NULL, 3, NULL), SP_OK);
    assert_int_equal(j.kernels->compare(j.gpu, j.by, &images, &tile, NULL, 33, NULL), SP_ERR_USAGE);
    close_job(&j, NULL, NULL);
    sp_rotation_grid_clear(&grid);
    clear_scene(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(images_are_summed_over_their_pixels),
        cmocka_unit_test(what_is_common_is_the_mean_of_each_ring),
        cmocka_unit_test(biases_are_correlations_with_the_shares),
        cmocka_unit_test(scores_are_correlations),
        cmocka_unit_test(scores_err_by_little_of_what_they_differ),
        cmocka_unit_test(offsets_are_what_all_orientations_have_in_common),
        cmocka_unit_test(lists_begin_empty_and_end_with_the_offset),
        cmocka_unit_test(nothing_to_do_is_fine),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
