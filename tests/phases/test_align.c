/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "num/point_group.h"
#include "num/statistics.h"
#include "phases/align.h"
#include "testing.h"

enum { BLOBS = 40 };
static const double VOXEL = 4e-10;       /* [m] */
static const double BLOB_RADIUS = 6e-10; /* [m] deviation of the Gaussians: nothing left at the Nyquist frequency */

/* An asymmetric cloud of Gaussians: its transform and every moved copy are known exactly. */
typedef struct cloud {
    double centre[BLOBS][3]; /* [m] */
    double height[BLOBS];
} cloud;

static cloud random_cloud(uint64_t seed, double radius)
{
    sp_rng rng = sp_rng_stream(seed, 1, 0);
    cloud c;

    for (int i = 0; i < BLOBS; i++) {
        for (int axis = 0; axis < 3; axis++) {
            c.centre[i][axis] = 0.45 * radius * (1.0 - 0.2 * axis) * sp_rng_normal(&rng);
        }
        c.height[i] = 0.5 + sp_rng_uniform(&rng);
    }
    return c;
}

/* r -> hand R r + shift */
static cloud moved_cloud(const cloud *from, sp_quat rotation, const double shift[3], int hand)
{
    const sp_mat3 turn = sp_quat_to_matrix(rotation);
    cloud to = *from;

    for (int i = 0; i < BLOBS; i++) {
        sp_mat3_apply(&turn, from->centre[i], to.centre[i]);
        for (int axis = 0; axis < 3; axis++) {
            to.centre[i][axis] = hand * to.centre[i][axis] + shift[axis];
        }
    }
    return to;
}

static float *draw(const cloud *c, ptrdiff_t n, double voxel)
{
    float *map = NULL;

    assert_int_equal(SP_ARRAY(map, n * n * n), SP_OK);
    for (int i = 0; i < BLOBS; i++) {
        double side[3][256];

        for (int axis = 0; axis < 3; axis++) {
            for (ptrdiff_t x = 0; x < n; x++) {
                double d = ((double)(x - n / 2) * voxel - c->centre[i][axis]);

                d -= (double)n * voxel * round(d / ((double)n * voxel)); /* periodic box */
                side[axis][x] = exp(-0.5 * d * d / (BLOB_RADIUS * BLOB_RADIUS));
            }
        }
        for (ptrdiff_t j = 0; j < n * n * n; j++) {
            map[j] += (float)(c->height[i] * side[0][j / (n * n)] * side[1][j / n % n] * side[2][j % n]);
        }
    }
    return map;
}

static void add_noise(float *map, ptrdiff_t count, double sigma, uint64_t seed)
{
    sp_rng rng = sp_rng_stream(seed, 2, 0);

    for (ptrdiff_t i = 0; i < count; i++) {
        map[i] += (float)(sigma * sp_rng_normal(&rng));
    }
}

/* One case: a moved copy, possibly on another grid and noisy, is laid back on its original. */
static void recover(uint64_t seed, ptrdiff_t n, ptrdiff_t n_moving, double voxel_moving, int hand, double noise)
{
    sp_rng rng = sp_rng_stream(seed, 3, 0);
    const sp_quat rotation = sp_quat_random(&rng);
    const double shift[3] = {2.3 * VOXEL, -1.7 * VOXEL, 0.6 * VOXEL};
    const cloud original = random_cloud(seed, 0.25 * (double)n * VOXEL),
                copy = moved_cloud(&original, rotation, shift, hand);
    float *reference = draw(&original, n, VOXEL), *moving = draw(&copy, n_moving, voxel_moving);
    const sp_volume a = {.n = n, .voxel = VOXEL, .value = reference},
                    b = {.n = n_moving, .voxel = voxel_moving, .value = moving};
    const sp_quat back = sp_quat_conjugate(rotation);
    const sp_mat3 turn_back = sp_quat_to_matrix(back);
    sp_alignment found;
    double expected[3], error = 0.0;

    if (noise > 0.0) {
        double deviation;

        sp_moments(moving, n_moving * n_moving * n_moving, NULL, &deviation);
        add_noise(moving, n_moving * n_moving * n_moving, noise * deviation, seed);
    }
    assert_int_equal(sp_align(&a, &b, 0.0, &found), SP_OK);
    assert_int_equal(found.hand, hand);
    assert_true(sp_quat_angle(found.rotation, back) < 0.5 * M_PI / 180.0);
    sp_mat3_apply(&turn_back, shift, expected);
    for (int axis = 0; axis < 3; axis++) {
        error += pow(found.shift[axis] + hand * expected[axis], 2.0);
    }
    assert_true(sqrt(error) < 0.2 * VOXEL);
    assert_true(found.correlation > (noise > 0.0 ? 0.3 : 0.999));
    assert_true(found.other_hand_correlation < found.correlation);
    sp_array_free(moving);
    sp_array_free(reference);
}

static void copies_are_recovered_in_both_hands(void **state)
{
    (void)state;
    recover(1, 32, 32, VOXEL, 1, 0.0);
    recover(2, 32, 32, VOXEL, -1, 0.0);
}

static void odd_edges_work_like_even_ones(void **state)
{
    (void)state;
    recover(11, 33, 35, VOXEL, -1, 0.0);
}

static void other_voxels_need_no_resampling_first(void **state)
{
    (void)state;
    recover(21, 32, 30, 1.25 * VOXEL, 1, 0.0);
}

static void noise_half_as_strong_as_the_map_does_no_harm(void **state)
{
    (void)state;
    recover(31, 32, 32, VOXEL, 1, 0.5);
}

/* Poses that no choice of seeds favours: random rotations, shifts of up to 4 voxels, either hand. */
static void random_poses_are_all_found(void **state)
{
    (void)state;
    enum { N = 32, POSES = 6 };

    for (uint64_t i = 0; i < POSES; i++) {
        sp_rng rng = sp_rng_stream(61 + i, 5, 0);
        const sp_quat rotation = sp_quat_random(&rng), back = sp_quat_conjugate(rotation);
        const int hand = sp_rng_uniform(&rng) < 0.5 ? 1 : -1;
        const double shift[3] = {(8.0 * sp_rng_uniform(&rng) - 4.0) * VOXEL, (8.0 * sp_rng_uniform(&rng) - 4.0) * VOXEL,
                                 (8.0 * sp_rng_uniform(&rng) - 4.0) * VOXEL};
        const cloud original = random_cloud(61 + i, 0.25 * N * VOXEL),
                    copy = moved_cloud(&original, rotation, shift, hand);
        float *reference = draw(&original, N, VOXEL), *moving = draw(&copy, N, VOXEL);
        const sp_volume a = {.n = N, .voxel = VOXEL, .value = reference}, b = {.n = N, .voxel = VOXEL, .value = moving};
        sp_alignment found;

        assert_int_equal(sp_align(&a, &b, 0.0, &found), SP_OK);
        assert_int_equal(found.hand, hand);
        assert_true(sp_quat_angle(found.rotation, back) < 0.1 * M_PI / 180.0);
        assert_true(found.correlation > 0.9999);
        sp_array_free(moving);
        sp_array_free(reference);
    }
}

/* Makes the first members of a cloud, and their equivalents, all there is of it. Returns the blobs in use. */
static int symmetric_cloud(const sp_point_group *group, cloud *c)
{
    const int used = BLOBS / group->order * group->order;

    for (int i = used - 1; i >= 0; i--) {
        const sp_mat3 turn = sp_quat_to_matrix(group->element[i % group->order]);
        const double *from = c->centre[i / group->order];
        const double own[3] = {from[0], from[1], from[2]};

        sp_mat3_apply(&turn, own, c->centre[i]);
        c->height[i] = c->height[i / group->order];
    }
    for (int i = used; i < BLOBS; i++) {
        c->height[i] = 0.0;
    }
    return used;
}

/* Any of the equivalent rotations is right. */
static void symmetric_particles_are_laid_on_one_of_their_equivalents(void **state)
{
    (void)state;
    enum { N = 32 };
    const char *const names[] = {"C7", "D3"};

    for (int g = 0; g < 2; g++) {
        sp_rng rng = sp_rng_stream(71, 5, (uint64_t)g);
        const sp_quat rotation = sp_quat_random(&rng), back = sp_quat_conjugate(rotation);
        const double shift[3] = {1.4 * VOXEL, 0.3 * VOXEL, -2.2 * VOXEL};
        sp_point_group group;
        cloud original = random_cloud(71, 0.25 * N * VOXEL);
        sp_alignment found;
        double error = M_PI;

        assert_int_equal(sp_point_group_init(names[g], &group), SP_OK);
        assert_true(symmetric_cloud(&group, &original) > 30);
        const cloud copy = moved_cloud(&original, rotation, shift, -1);
        float *reference = draw(&original, N, VOXEL), *moving = draw(&copy, N, VOXEL);
        const sp_volume a = {.n = N, .voxel = VOXEL, .value = reference}, b = {.n = N, .voxel = VOXEL, .value = moving};

        assert_int_equal(sp_align(&a, &b, 0.0, &found), SP_OK);
        for (int c = 0; c < group.order; c++) {
            error = fmin(error, sp_quat_angle(found.rotation, sp_quat_multiply(group.element[c], back)));
        }
        assert_int_equal(found.hand, -1);
        assert_true(error < 0.1 * M_PI / 180.0);
        assert_true(found.correlation > 0.9999);
        sp_array_free(moving);
        sp_array_free(reference);
    }
}

/* The same bits, however many threads share the rotations, the poses, and the planes of a lattice. */
static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    enum { N = 24 };
    sp_rng rng = sp_rng_stream(81, 5, 0);
    const double shift[3] = {0.7 * VOXEL, 0.0, -1.2 * VOXEL};
    const cloud original = random_cloud(81, 0.25 * N * VOXEL),
                copy = moved_cloud(&original, sp_quat_random(&rng), shift, 1);
    float *reference = draw(&original, N, VOXEL), *moving = draw(&copy, N, VOXEL);
    const sp_volume a = {.n = N, .voxel = VOXEL, .value = reference}, b = {.n = N, .voxel = VOXEL, .value = moving};
    const int threads = omp_get_max_threads();
    sp_alignment found[2];

    for (int i = 0; i < 2; i++) {
        omp_set_num_threads(1 + 2 * i);
        assert_int_equal(sp_align(&a, &b, 0.0, &found[i]), SP_OK);
    }
    omp_set_num_threads(threads);
    assert_memory_equal(&found[0].rotation, &found[1].rotation, sizeof found[0].rotation);
    assert_memory_equal(found[0].shift, found[1].shift, sizeof found[0].shift);
    assert_true(found[0].correlation == found[1].correlation);
    assert_true(found[0].other_hand_correlation == found[1].other_hand_correlation);
    sp_array_free(moving);
    sp_array_free(reference);
}

static void applying_an_alignment_gives_the_reference(void **state)
{
    (void)state;
    enum { N = 32, COUNT = N * N * N };
    sp_rng rng = sp_rng_stream(41, 3, 0);
    const double shift[3] = {9.0 * VOXEL, -12.5 * VOXEL, 0.6 * VOXEL}; /* across the sides of the box */
    const cloud original = random_cloud(41, 0.25 * N * VOXEL),
                copy = moved_cloud(&original, sp_quat_random(&rng), shift, -1);
    float *reference = draw(&original, N, VOXEL), *moving = draw(&copy, N, VOXEL), *aligned = NULL;
    const sp_volume a = {.n = N, .voxel = VOXEL, .value = reference}, b = {.n = N, .voxel = VOXEL, .value = moving};
    sp_alignment found;
    double deviation, worst = 0.0;

    assert_int_equal(SP_ARRAY(aligned, COUNT), SP_OK);
    assert_int_equal(sp_align(&a, &b, 0.0, &found), SP_OK);
    assert_int_equal(sp_align_apply(&b, &found, sp_align_band(&a, &b, 0.0), N, VOXEL, aligned), SP_OK);
    sp_moments(reference, COUNT, NULL, &deviation);
    for (int i = 0; i < COUNT; i++) {
        worst = fmax(worst, fabs((double)aligned[i] - (double)reference[i]));
    }
    assert_true(worst < 0.2 * deviation); /* the map's peak is 10 deviations high */
    assert_true(sp_pearson(aligned, reference, COUNT) > 0.999);
    sp_array_free(aligned);
    sp_array_free(moving);
    sp_array_free(reference);
}

static void an_unmoved_map_keeps_its_values_on_any_grid(void **state)
{
    (void)state;
    enum { N = 32, M = 45, COUNT = M * M * M };
    const double voxel = VOXEL * N / M;
    const cloud c = random_cloud(42, 0.25 * N * VOXEL);
    float *coarse = draw(&c, N, VOXEL), *fine = draw(&c, M, voxel), *resampled = NULL;
    const sp_volume map = {.n = N, .voxel = VOXEL, .value = coarse};

    assert_int_equal(SP_ARRAY(resampled, COUNT), SP_OK);
    assert_int_equal(sp_align_apply(&map, NULL, 1e12, M, voxel, resampled), SP_OK);
    for (int i = 0; i < COUNT; i++) {
        assert_true(fabs((double)fine[i] - (double)resampled[i]) < 0.02);
    }
    sp_array_free(resampled);
    sp_array_free(fine);
    sp_array_free(coarse);
}

static void flat_broken_and_tiny_maps_are_refused(void **state)
{
    (void)state;
    enum { N = 16 };
    float *map = NULL;
    sp_alignment found = {.hand = 77};

    assert_int_equal(SP_ARRAY(map, N * N * N), SP_OK);
    const sp_volume flat = {.n = N, .voxel = VOXEL, .value = map}, tiny = {.n = 4, .voxel = VOXEL, .value = map};

    assert_int_equal(sp_align(&flat, &flat, 0.0, &found), SP_ERR_INPUT);
    assert_non_null(strstr(sp_error_text(), "flat"));
    map[17] = NAN;
    assert_int_equal(sp_align(&flat, &flat, 0.0, &found), SP_ERR_INPUT);
    assert_non_null(strstr(sp_error_text(), "NaN"));
    assert_int_equal(sp_align(&tiny, &tiny, 0.0, &found), SP_ERR_USAGE);
    assert_int_equal(found.hand, 77);
    sp_array_free(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_recovered_in_both_hands),
        cmocka_unit_test(odd_edges_work_like_even_ones),
        cmocka_unit_test(random_poses_are_all_found),
        cmocka_unit_test(symmetric_particles_are_laid_on_one_of_their_equivalents),
        cmocka_unit_test(threads_do_not_change_a_bit),
        cmocka_unit_test(other_voxels_need_no_resampling_first),
        cmocka_unit_test(applying_an_alignment_gives_the_reference),
        cmocka_unit_test(an_unmoved_map_keeps_its_values_on_any_grid),
        cmocka_unit_test(flat_broken_and_tiny_maps_are_refused),
        cmocka_unit_test(noise_half_as_strong_as_the_map_does_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
