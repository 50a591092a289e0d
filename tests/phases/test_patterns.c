/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/patterns.h"

#include "num/sums.h"
#include "phases/blobs.h"

enum { PANELS = 2, HEIGHT = 11, WIDTH = 13, SIZE = 3, ROWS = 4, COLUMNS = 5, IMAGES = 5 }; /* 11 = 3*3+2, 13 = 4*3+1 */
enum { PIXELS = PANELS * HEIGHT * WIDTH, BINS = PANELS * ROWS * COLUMNS };

static const double STEP = 0.01e10, WAVELENGTH = 2e-10;

/* Images of random numbers on two panels with uneven factors and some masked pixels, one bin of which is all masked. */
typedef struct scene {
    bench detector;
    float value[IMAGES][PIXELS];
    sp_patterns patterns;
} scene;

static void fill_scene(scene *s)
{
    sp_rng rng = sp_rng_stream(21, 1, 0);

    s->detector = bench_new(PANELS, HEIGHT, WIDTH, STEP, WAVELENGTH);
    for (ptrdiff_t p = 0; p < PIXELS; p++) {
        const ptrdiff_t row = p / WIDTH % HEIGHT, column = p % WIDTH;

        s->detector.correction[p] = (float)(0.5 + sp_rng_uniform(&rng));
        s->detector.bad[p] = sp_rng_uniform(&rng) < 0.2 || (p >= HEIGHT * WIDTH && row < SIZE && column < SIZE);
        for (int n = 0; n < IMAGES; n++) {
            s->value[n][p] = s->detector.bad[p] ? 1e6f : (float)((n + 1) * sp_rng_poisson(&rng, 5.0));
        }
    }
}

/* Images in, measured; `empty` has no photon (-1: none). */
static scene make_scene(double s_min, double s_max, int empty)
{
    scene s = {0};

    fill_scene(&s);
    assert_int_equal(sp_patterns_init(&s.detector.pixels, IMAGES, SIZE, s_min, s_max, false, &s.patterns), SP_OK);
    for (int n = 0; n < IMAGES; n++) {
        if (n != empty) {
            assert_int_equal(sp_patterns_add(&s.patterns, n, s.value[n]), SP_OK);
        }
    }
    assert_int_equal(sp_patterns_measure(&s.patterns), SP_OK);
    return s;
}

static void clear_scene(scene *s)
{
    bench_clear(&s->detector);
    sp_patterns_clear(&s->patterns);
}

/* Sums over one bin of the full detector, written out; `into` NULL counts the good pixels. */
static double bin_sum(const scene *s, ptrdiff_t bin, const float *value, int axis)
{
    const ptrdiff_t panel = bin / (ROWS * COLUMNS), first_row = bin / COLUMNS % ROWS * SIZE,
                    first_column = bin % COLUMNS * SIZE;
    double sum = 0.0;

    for (ptrdiff_t row = first_row; row < first_row + SIZE && row < HEIGHT; row++) {
        for (ptrdiff_t column = first_column; column < first_column + SIZE && column < WIDTH; column++) {
            const ptrdiff_t p = (panel * HEIGHT + row) * WIDTH + column;

            if (!s->detector.bad[p]) {
                sum += axis >= 0 ? s->detector.position[3 * p + axis] : (value ? (double)value[p] : 1.0);
            }
        }
    }
    return sum;
}

/* The bin of the detector that bin p of the patterns is: the one whose mean position is nearest. */
static ptrdiff_t nearest_bin(const scene *s, ptrdiff_t p)
{
    ptrdiff_t best = -1;
    double least = INFINITY;

    for (ptrdiff_t bin = 0; bin < BINS; bin++) {
        const double good = bin_sum(s, bin, NULL, -1);
        double square = 0.0;

        for (int axis = 0; axis < 3 && good > 0.0; axis++) {
            const double d = bin_sum(s, bin, NULL, axis) / good - s->patterns.s[axis][p];

            square += d * d;
        }
        if (good > 0.0 && square < least) {
            least = square;
            best = bin;
        }
    }
    assert_true(least < 1e-2 * STEP * STEP); /* the way back to the sphere is short */
    return best;
}

static void bins_hold_the_sums_of_their_good_pixels(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, -1);
    bool seen[BINS] = {false};
    double exposure = 0.0;

    assert_int_equal(s.patterns.pixels, BINS - 1); /* all but the masked one */
    for (ptrdiff_t bin = 0; bin < BINS; bin++) {
        exposure += bin_sum(&s, bin, s.detector.correction, -1) / (BINS - 1);
    }
    for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
        const ptrdiff_t bin = nearest_bin(&s, p);

        assert_false(seen[bin]);
        seen[bin] = true;
        assert_true(fabs(s.patterns.exposure[p] - bin_sum(&s, bin, s.detector.correction, -1) / exposure) < 1e-5);
        for (int n = 0; n < IMAGES; n++) {
            assert_true(fabs(s.patterns.count[n * s.patterns.pixels + p] - bin_sum(&s, bin, s.value[n], -1)) < 1e-3);
        }
    }
    clear_scene(&s);
}

static void images_are_read_bin_after_bin(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, -1);
    const float *count = s.patterns.count + 2 * s.patterns.pixels;
    sp_pattern_reader reader = sp_patterns_open(&s.patterns, 2);
    float value[BINS];

    for (ptrdiff_t p = 0, step = 1; p < s.patterns.pixels; p += step++) {
        const ptrdiff_t left = s.patterns.pixels - p, take = step < left ? step : left;

        sp_patterns_read(&reader, take, 0.5f, value);
        for (ptrdiff_t i = 0; i < take; i++) {
            assert_true(value[i] == 0.5f * count[p + i]);
        }
    }
    clear_scene(&s);
}

static void photon_counts_are_packed_without_loss(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, 1);
    const ptrdiff_t pixels = s.patterns.pixels;
    sp_patterns packed;

    assert_int_equal(sp_patterns_init(&s.detector.pixels, IMAGES, SIZE, 0.0, INFINITY, true, &packed), SP_OK);
    assert_null(packed.count);
    for (int n = 0; n < IMAGES; n++) {
        assert_int_equal(n == 1 ? SP_OK : sp_patterns_add(&packed, n, s.value[n]), SP_OK);
    }
    assert_int_equal(sp_patterns_measure(&packed), SP_OK);
    for (int n = 0; n < IMAGES; n++) {
        sp_pattern_reader reader = sp_patterns_open(&packed, n);
        float value[BINS];

        sp_patterns_read(&reader, pixels, 1.0f, value);
        assert_memory_equal(value, s.patterns.count + n * pixels, (size_t)pixels * sizeof *value);
    }
    assert_memory_equal(packed.scale, s.patterns.scale, IMAGES * sizeof *packed.scale);
    assert_memory_equal(packed.profile, s.patterns.profile, (size_t)packed.shells * sizeof *packed.profile);
    for (ptrdiff_t p = 0; p < packed.source_count; p++) {
        s.value[0][p] += 0.01f;
    }
    assert_int_equal(sp_patterns_add(&packed, 0, s.value[0]), SP_ERR_INPUT);
    assert_non_null(strstr(sp_error_text(), "image 0 holds values that are no photon counts"));
    sp_patterns_clear(&packed);
    clear_scene(&s);
}

static void bins_lie_on_the_ewald_sphere(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, -1);
    const double k = 1.0 / WAVELENGTH;

    for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
        const double x = s.patterns.s[0][p], y = s.patterns.s[1][p], z = s.patterns.s[2][p];

        assert_true(fabs(sqrt(x * x + y * y + (z + k) * (z + k)) / k - 1.0) < 1e-6);
        assert_true(fabs(sqrt(x * x + y * y + z * z) / s.patterns.radius[p] - 1.0) < 1e-6);
    }
    clear_scene(&s);
}

static void a_flat_detector_stays_flat(void **state)
{
    (void)state;
    scene s = {0};

    fill_scene(&s);
    s.detector.pixels.wavelength = 0.0;
    for (ptrdiff_t p = 0; p < PIXELS; p++) {
        s.detector.position[3 * p + 2] = 0.0;
    }
    assert_int_equal(sp_patterns_init(&s.detector.pixels, 1, SIZE, 0.0, INFINITY, false, &s.patterns), SP_OK);
    for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
        assert_true(s.patterns.s[2][p] == 0.0f);
    }
    clear_scene(&s);
}

static void shells_are_sorted_contiguous_and_as_wide_as_they_say(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, -1);
    const sp_patterns *patterns = &s.patterns;

    assert_true(fabs(patterns->shell_width / (SIZE * STEP) - 1.0) < 0.05);
    assert_int_equal(patterns->shell_start[0], 0);
    assert_int_equal(patterns->shell_start[patterns->shells], patterns->pixels);
    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        for (ptrdiff_t p = patterns->shell_start[k]; p < patterns->shell_start[k + 1]; p++) {
            const double widths = patterns->radius[p] / patterns->shell_width;

            assert_int_equal(patterns->shell[p], k);
            assert_true(widths > (double)k - 1e-5 && widths < (double)k + 1.0 + 1e-5);
            assert_true(p == 0 || patterns->radius[p] >= patterns->radius[p - 1]);
        }
    }
    clear_scene(&s);
}

static void bins_outside_the_band_are_left_out(void **state)
{
    (void)state;
    const double s_min = 0.02e10, s_max = 0.07e10;
    scene all = make_scene(0.0, INFINITY, -1), band = make_scene(s_min, s_max, -1);
    ptrdiff_t inside = 0;

    for (ptrdiff_t p = 0; p < all.patterns.pixels; p++) {
        inside += all.patterns.radius[p] >= s_min && all.patterns.radius[p] <= s_max;
    }
    assert_true(inside > 5 && inside < all.patterns.pixels);
    assert_int_equal(band.patterns.pixels, inside);
    for (ptrdiff_t p = 0; p < inside; p++) {
        assert_true(band.patterns.radius[p] >= s_min && band.patterns.radius[p] <= s_max);
    }
    clear_scene(&band);
    clear_scene(&all);
}

static void masked_pixels_are_never_counted(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, -1);
    double mean = 0.0;

    for (ptrdiff_t p = 0; p < PIXELS; p++) {
        assert_true(s.detector.bad[p] ? s.patterns.source[p] == -1 : s.patterns.source[p] >= 0);
    }
    for (ptrdiff_t i = 0; i < IMAGES * s.patterns.pixels; i++) {
        assert_true(s.patterns.count[i] < 1e6f); /* what every masked pixel holds */
    }
    for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
        mean += s.patterns.exposure[p] / (double)s.patterns.pixels;
    }
    assert_true(fabs(mean - 1.0) < 1e-6);
    clear_scene(&s);
}

/* Total of the counts of one image, in double. */
static double total(const sp_patterns *patterns, ptrdiff_t image)
{
    double sum = 0.0;

    for (ptrdiff_t p = 0; p < patterns->pixels; p++) {
        sum += patterns->count[image * patterns->pixels + p];
    }
    return sum;
}

static void check_scale_and_profile(const sp_patterns *patterns, int empty)
{
    double all = 0.0, mean = 0.0;
    const double filled = IMAGES - (empty >= 0);

    for (int n = 0; n < IMAGES; n++) {
        all += total(patterns, n);
        mean += patterns->scale[n] / filled;
    }
    assert_true(fabs(mean - 1.0) < 1e-6);
    for (int n = 0; n < IMAGES; n++) {
        assert_true(fabs(patterns->scale[n] - total(patterns, n) * filled / all) < 1e-6);
    }
    for (ptrdiff_t k = 0; k < patterns->shells; k++) {
        double value = 0.0, weight = 0.0;

        for (ptrdiff_t p = patterns->shell_start[k]; p < patterns->shell_start[k + 1]; p++) {
            for (int n = 0; n < IMAGES; n++) {
                value += patterns->count[n * patterns->pixels + p];
                weight += (double)patterns->scale[n] * (double)patterns->exposure[p];
            }
        }
        assert_true(weight > 0.0 ? fabs(patterns->profile[k] * weight / value - 1.0) < 1e-5
                                 : patterns->profile[k] == 0.0);
    }
}

static void scales_have_mean_1_and_the_profile_is_the_mean_intensity(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, -1);

    check_scale_and_profile(&s.patterns, -1);
    clear_scene(&s);
}

static void parts_have_the_profiles_of_their_images(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, 3);
    const ptrdiff_t shells = s.patterns.shells, pixels = s.patterns.pixels;
    double *sums = NULL, *profile = NULL;
    float *row = NULL;
    int32_t label[IMAGES];

    assert_int_equal(SP_ARRAY(sums, shells + 1), SP_OK);
    assert_int_equal(SP_ARRAY(profile, shells), SP_OK);
    assert_int_equal(SP_ARRAY(row, pixels), SP_OK);
    for (int n = 0; n < IMAGES; n++) {
        label[n] = n % 2;
    }
    for (uint32_t wanted = 0; wanted < 4; wanted++) {
        memset(sums, 0, (size_t)(shells + 1) * sizeof *sums);
        sp_patterns_add_profile(&s.patterns, (sp_selection){label, wanted}, row, sums);
        sp_patterns_profile_of(&s.patterns, sums, profile);
        for (ptrdiff_t k = 0; k < shells; k++) {
            double value = 0.0, weight = 0.0;

            for (int n = 0; n < IMAGES; n++) {
                for (ptrdiff_t p = s.patterns.shell_start[k]; p < s.patterns.shell_start[k + 1]; p++) {
                    const double in = s.patterns.scale[n] > 0.0F ? wanted >> (n % 2) & 1u : 0u;

                    value += in * (double)s.patterns.count[n * pixels + p];
                    weight += in * (double)s.patterns.scale[n] * (double)s.patterns.exposure[p];
                }
            }
            assert_true(weight > 0.0 ? fabs(profile[k] * weight - value) <= 1e-5 * value : profile[k] == 0.0);
            assert_true(wanted < 3 || fabs(profile[k] - s.patterns.profile[k]) <= 1e-5 * profile[k]);
        }
    }
    sp_array_free(sums);
    sp_array_free(profile);
    sp_array_free(row);
    clear_scene(&s);
}

static void an_empty_image_has_scale_0_and_changes_nothing_else(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, 2);

    assert_true(s.patterns.scale[2] == 0.0f);
    check_scale_and_profile(&s.patterns, 2);
    clear_scene(&s);
}

static void measuring_again_gives_the_same(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, -1);

    assert_int_equal(sp_patterns_measure(&s.patterns), SP_OK);
    check_scale_and_profile(&s.patterns, -1);
    clear_scene(&s);
}

static void images_without_one_photon_are_refused(void **state)
{
    (void)state;
    scene s = {0};

    fill_scene(&s);
    assert_int_equal(sp_patterns_init(&s.detector.pixels, IMAGES, SIZE, 0.0, INFINITY, false, &s.patterns), SP_OK);
    assert_int_equal(sp_patterns_measure(&s.patterns), SP_ERR_INPUT);
    assert_non_null(strstr(sp_error_text(), "empty"));
    clear_scene(&s);
}

static void a_band_without_pixels_is_refused(void **state)
{
    (void)state;
    scene s = {0};

    fill_scene(&s);
    assert_int_equal(sp_patterns_init(&s.detector.pixels, IMAGES, SIZE, 1e10, 2e10, false, &s.patterns), SP_ERR_INPUT);
    assert_non_null(strstr(sp_error_text(), "no good pixel"));
    memset(s.detector.bad, 1, PIXELS);
    assert_int_equal(sp_patterns_init(&s.detector.pixels, IMAGES, SIZE, 0.0, INFINITY, false, &s.patterns),
                     SP_ERR_INPUT);
    assert_null(s.patterns.count);
    clear_scene(&s);
}

static void a_single_pixel_is_refused(void **state)
{
    (void)state;
    bench detector = bench_new(1, 1, 1, STEP, WAVELENGTH);
    sp_patterns patterns;

    assert_int_equal(sp_patterns_init(&detector.pixels, 1, 1, 0.0, INFINITY, false, &patterns), SP_ERR_INPUT);
    bench_clear(&detector);
}

/* A detector that is one pixel wide has no neighbours along its rows. */
static void a_single_column_of_pixels_has_shells_too(void **state)
{
    (void)state;
    bench detector = bench_new(1, 16, 1, STEP, WAVELENGTH);
    sp_patterns patterns;

    assert_int_equal(sp_patterns_init(&detector.pixels, 1, 1, 0.0, INFINITY, false, &patterns), SP_OK);
    assert_int_equal(patterns.shells, 8);
    assert_true(fabs(patterns.shell_width / STEP - 1.0) < 0.05);
    sp_patterns_clear(&patterns);
    bench_clear(&detector);
}

/* ---- noise ---- */

enum { SPECKLE_IMAGES = 120, SIDE = 31 }; /* odd: the last row and column have no partner */

/* Images of blobs in random orientations: mean counts, or gain times Poisson counts of that mean. */
static double measured_quantum(double gain, bool noisy, double *mean)
{
    const ptrdiff_t total_pixels = 2 * SIDE * SIDE;
    const blobs particle = blobs_random(5, 4.0, 0.8);
    bench detector = bench_new(2, SIDE, SIDE, 0.006e10, WAVELENGTH);
    sp_quat *q = random_orientations(SPECKLE_IMAGES, 3);
    sp_patterns patterns = bench_expose(&detector, &particle, SPECKLE_IMAGES, q, NULL);
    float *value = NULL;

    assert_int_equal(SP_ARRAY(value, SPECKLE_IMAGES * total_pixels), SP_OK);
    *mean = 0.0;
    for (ptrdiff_t n = 0; n < SPECKLE_IMAGES; n++) {
        sp_rng rng = sp_rng_stream(8, 9, (uint64_t)n);

        for (ptrdiff_t p = 0; p < total_pixels; p++) {
            const double photons = 0.02 * patterns.count[n * patterns.pixels + patterns.source[p]];

            value[n * total_pixels + p] = (float)(gain * (noisy ? (double)sp_rng_poisson(&rng, photons) : photons));
            *mean += value[n * total_pixels + p] / (double)(SPECKLE_IMAGES * total_pixels);
        }
    }
    detector.bad[5 * SIDE + 7] = 1; /* a hot pixel, masked */
    value[5 * SIDE + 7] = 1e9f;
    const double quantum = sp_patterns_quantum(&detector.pixels, SPECKLE_IMAGES, value);

    sp_array_free(value);
    sp_array_free(q);
    sp_patterns_clear(&patterns);
    bench_clear(&detector);
    return quantum;
}

static void photon_counts_have_quantum_1(void **state)
{
    (void)state;
    double mean;

    assert_true(fabs(measured_quantum(1.0, true, &mean) - 1.0) < 0.05);
    assert_true(mean > 1.0 && mean < 20.0);
}

static void a_gain_of_3_is_a_quantum_of_3(void **state)
{
    (void)state;
    double mean;

    assert_true(fabs(measured_quantum(3.0, true, &mean) - 3.0) < 0.15);
}

static void noise_free_values_have_no_quantum(void **state)
{
    (void)state;
    double mean;
    const double quantum = measured_quantum(1.0, false, &mean);

    assert_true(quantum < 1e-3 * mean);
}

/* sum over shell k of value / exposure of image n, or of its square */
static double shell_rate(const scene *s, int n, ptrdiff_t k, bool square)
{
    double sum = 0.0;

    for (ptrdiff_t p = s->patterns.shell_start[k]; p < s->patterns.shell_start[k + 1]; p++) {
        const double rate = (double)s->patterns.count[n * s->patterns.pixels + p] / (double)s->patterns.exposure[p];

        sum += square ? rate * rate : rate;
    }
    return sum;
}

static void a_null_keeps_the_rates_of_each_shell_and_not_their_places(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, -1);
    ptrdiff_t moved = 0;

    for (ptrdiff_t p = 0; p < PIXELS; p++) { /* no counts: nothing is rounded */
        s.value[0][p] += 0.25f;
    }
    assert_int_equal(sp_patterns_add(&s.patterns, 0, s.value[0]), SP_OK);
    assert_int_equal(sp_patterns_add_null(&s.patterns, 1, s.value[0], 7, 0), SP_OK);
    assert_int_equal(sp_patterns_add_null(&s.patterns, 2, s.value[0], 7, 0), SP_OK);
    assert_int_equal(sp_patterns_add_null(&s.patterns, 3, s.value[0], 7, 1), SP_OK);
    for (ptrdiff_t k = 0; k < s.patterns.shells; k++) {
        const double rate = shell_rate(&s, 0, k, false), square = shell_rate(&s, 0, k, true);

        assert_true(fabs(shell_rate(&s, 1, k, false) - rate) <= 1e-5 * rate);
        assert_true(fabs(shell_rate(&s, 1, k, true) - square) <= 1e-5 * square);
    }
    const float *image = s.patterns.count, *null = image + s.patterns.pixels, *again = null + s.patterns.pixels;

    assert_memory_equal(null, again, (size_t)s.patterns.pixels * sizeof *null);
    assert_memory_not_equal(null, again + s.patterns.pixels, (size_t)s.patterns.pixels * sizeof *null);
    for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
        moved += fabsf(null[p] - image[p]) > 1e-3f * image[p];
    }
    assert_true(2 * moved > s.patterns.pixels);
    clear_scene(&s);
}

static void a_null_of_counts_is_of_counts(void **state)
{
    (void)state;
    scene s = make_scene(0.0, INFINITY, -1);
    double before = 0.0, after = 0.0;

    for (int n = 0; n < IMAGES; n++) {
        for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
            before += (double)s.patterns.count[n * s.patterns.pixels + p];
        }
        assert_int_equal(sp_patterns_add_null(&s.patterns, n, s.value[n], 7, (uint64_t)n), SP_OK);
        assert_true(sp_photons_are_whole(s.patterns.count + n * s.patterns.pixels, s.patterns.pixels));
        for (ptrdiff_t p = 0; p < s.patterns.pixels; p++) {
            after += (double)s.patterns.count[n * s.patterns.pixels + p];
        }
    }
    assert_true(fabs(after - before) < 0.1 * before);
    clear_scene(&s);
}

/* Speckle of mean 1, exponentially distributed, on `smooth`, in counts of `quantum` (0: no noise).
 *   fitted  out  mean over the bins of the background that is found; or NULL */
static double measured_background(double smooth, double quantum, double *fitted)
{
    enum { EDGE = 48, MANY = 20 };
    bench detector = bench_new(1, EDGE, EDGE, STEP, WAVELENGTH);
    sp_rng rng = sp_rng_stream(5, 2, 0);
    sp_patterns patterns;
    float *value = NULL;
    double *shell = NULL, *sums = NULL, found = 0.0;
    sp_pattern_totals totals = {0};

    assert_int_equal(sp_patterns_init(&detector.pixels, MANY, 1, 0.0, INFINITY, false, &patterns), SP_OK);
    assert_int_equal(SP_ARRAY(value, EDGE * EDGE), SP_OK);
    assert_int_equal(SP_ARRAY(shell, patterns.shells), SP_OK);
    assert_int_equal(SP_ARRAY(sums, 3 * patterns.shells), SP_OK);
    for (int n = 0; n < MANY; n++) {
        for (int p = 0; p < EDGE * EDGE; p++) {
            const double mean = (smooth - log(sp_rng_uniform(&rng))) * (double)detector.correction[p];

            value[p] = (float)(quantum > 0.0 ? quantum * (double)sp_rng_poisson(&rng, mean / quantum) : mean);
        }
        assert_int_equal(sp_patterns_add(&patterns, n, value), SP_OK);
    }
    sp_patterns_add_up(&patterns, shell, &totals);
    sp_patterns_set_profile(&patterns, shell, &totals);
    sp_patterns_add_contrast(&patterns, sums);
    found = sp_patterns_background(&patterns, sums, quantum, 3.0 * STEP);
    if (fitted) {
        assert_int_equal(sp_patterns_find_background(&patterns, sums, MANY, quantum, 3.0 * STEP, shell), SP_OK);
        sp_patterns_set_background(&patterns, shell);
        *fitted = sp_sum(patterns.background, patterns.pixels) / sp_sum(patterns.exposure, patterns.pixels);
    }
    sp_array_free(sums);
    sp_array_free(shell);
    sp_array_free(value);
    sp_patterns_clear(&patterns);
    bench_clear(&detector);
    return found;
}

static void a_smooth_background_is_told_from_speckle_by_its_contrast(void **state)
{
    (void)state;
    assert_true(measured_background(0.0, 0.0, NULL) < 0.03);
    assert_true(fabs(measured_background(1.0, 0.0, NULL) - 0.5) < 0.03);
    assert_true(fabs(measured_background(3.0, 0.0, NULL) - 0.75) < 0.03);
}

static void photon_noise_is_no_contrast(void **state)
{
    (void)state;
    assert_true(fabs(measured_background(1.0, 1.0, NULL) - 0.5) < 0.05);
    assert_true(measured_background(1.0, 100.0, NULL) == 0.0); /* 50 times the mean: nothing can be told */
}

/* In units of the speckle's mean. What may be speckle unlike Wilson's, or noise, is none. */
static void a_background_is_found_where_there_surely_is_one(void **state)
{
    (void)state;
    double fitted = NAN;

    measured_background(2.0, 0.0, &fitted);
    assert_true(fabs(fitted - 2.0) < 0.1);
    measured_background(3.0, 0.0, &fitted);
    assert_true(fabs(fitted - 3.0) < 0.1);
    measured_background(3.0, 1.0, &fitted);
    assert_true(fabs(fitted - 3.0) < 0.2);
    measured_background(0.0, 0.0, &fitted);
    assert_true(fitted == 0.0);
    measured_background(0.5, 0.0, &fitted);
    assert_true(fitted == 0.0);
    measured_background(3.0, 1000.0, &fitted);
    assert_true(fitted == 0.0);
}

/* Fluences are those of the particle. */
static void a_background_has_no_part_in_the_scales(void **state)
{
    (void)state;
    enum { EDGE = 12, SHOTS = 3 };
    const float fluence[SHOTS] = {0.5f, 1.0f, 1.5f};
    bench detector = bench_new(1, EDGE, EDGE, STEP, WAVELENGTH);
    double shell[EDGE * EDGE] = {0.0}, smooth[EDGE * EDGE];
    float value[EDGE * EDGE];
    sp_pattern_totals totals = {0};
    sp_patterns patterns;

    assert_int_equal(sp_patterns_init(&detector.pixels, SHOTS, 1, 0.0, INFINITY, false, &patterns), SP_OK);
    for (int n = 0; n < SHOTS; n++) {
        for (int p = 0; p < EDGE * EDGE; p++) {
            value[p] = (2.0f * fluence[n] + 3.0f) * detector.correction[p];
        }
        assert_int_equal(sp_patterns_add(&patterns, n, value), SP_OK);
    }
    sp_patterns_add_up(&patterns, shell, &totals);
    sp_patterns_set_profile(&patterns, shell, &totals);
    for (ptrdiff_t k = 0; k < patterns.shells; k++) {
        smooth[k] = 0.6 * patterns.profile[k];
    }
    sp_patterns_set_background(&patterns, smooth);
    sp_patterns_set_scales(&patterns, &totals);
    for (int n = 0; n < SHOTS; n++) {
        assert_float_equal(patterns.scale[n], fluence[n], 1e-4);
    }
    sp_patterns_clear(&patterns);
    bench_clear(&detector);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bins_hold_the_sums_of_their_good_pixels),
        cmocka_unit_test(images_are_read_bin_after_bin),
        cmocka_unit_test(photon_counts_are_packed_without_loss),
        cmocka_unit_test(bins_lie_on_the_ewald_sphere),
        cmocka_unit_test(a_flat_detector_stays_flat),
        cmocka_unit_test(shells_are_sorted_contiguous_and_as_wide_as_they_say),
        cmocka_unit_test(bins_outside_the_band_are_left_out),
        cmocka_unit_test(masked_pixels_are_never_counted),
        cmocka_unit_test(scales_have_mean_1_and_the_profile_is_the_mean_intensity),
        cmocka_unit_test(parts_have_the_profiles_of_their_images),
        cmocka_unit_test(an_empty_image_has_scale_0_and_changes_nothing_else),
        cmocka_unit_test(measuring_again_gives_the_same),
        cmocka_unit_test(images_without_one_photon_are_refused),
        cmocka_unit_test(a_band_without_pixels_is_refused),
        cmocka_unit_test(a_single_pixel_is_refused),
        cmocka_unit_test(a_single_column_of_pixels_has_shells_too),
        cmocka_unit_test(photon_counts_have_quantum_1),
        cmocka_unit_test(a_gain_of_3_is_a_quantum_of_3),
        cmocka_unit_test(noise_free_values_have_no_quantum),
        cmocka_unit_test(a_null_keeps_the_rates_of_each_shell_and_not_their_places),
        cmocka_unit_test(a_null_of_counts_is_of_counts),
        cmocka_unit_test(a_smooth_background_is_told_from_speckle_by_its_contrast),
        cmocka_unit_test(photon_noise_is_no_contrast),
        cmocka_unit_test(a_background_is_found_where_there_surely_is_one),
        cmocka_unit_test(a_background_has_no_part_in_the_scales),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
