/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "phases/orientation_score.h"
#include "testing.h"

enum { COUNT = 400 };
static const double DEGREE = M_PI / 180.0;

/* A made-up result: where each image's answer comes from. */
typedef struct plan {
    const char *group;
    double sigma;    /* [degree] error of the right answers, per axis */
    double wrong;    /* fraction of random answers */
    double twins;    /* fraction of right answers that are half turned */
    bool symmetric;  /* right answers are spread over the elements of the group */
    double favoured; /* share of the images that choose the first copy whatever the draw says */
} plan;

typedef struct answers {
    sp_quat found[COUNT], known[COUNT];
    double error[COUNT], strict[COUNT];
    sp_point_group group;
    double drawn[COUNT]; /* [rad] angle of the error that was put in; 10 for a random answer */
} answers;

static void make(const plan *what, uint64_t seed, answers *a)
{
    sp_rng rng = sp_rng_stream(seed, 1, 0);
    const sp_quat global = sp_quat_random(&rng), axes = sp_quat_random(&rng);
    const sp_quat half_turn = {0.0, 0.0, 0.0, 1.0};

    assert_int_equal(sp_point_group_init(what->group, &a->group), SP_OK);
    for (int i = 0; i < COUNT; i++) {
        const int any = what->symmetric ? (int)(sp_rng_uniform(&rng) * a->group.order) : 0;
        const int c = what->favoured > 0.0 && sp_rng_uniform(&rng) < what->favoured ? 0 : any;
        const sp_quat h = sp_quat_multiply(axes, sp_quat_multiply(a->group.element[c], sp_quat_conjugate(axes)));
        const sp_quat slip = sp_quat_random_small(&rng, what->sigma * DEGREE);

        a->known[i] = sp_quat_random(&rng);
        a->found[i] = sp_quat_multiply(slip, sp_quat_multiply(a->known[i], sp_quat_multiply(h, global)));
        a->drawn[i] = sp_quat_angle(slip, sp_quat_identity());
        if (sp_rng_uniform(&rng) < what->twins) {
            a->found[i] = sp_quat_multiply(half_turn, a->found[i]);
        }
        if (sp_rng_uniform(&rng) < what->wrong) {
            a->found[i] = sp_quat_random(&rng);
            a->drawn[i] = 10.0;
        }
    }
    assert_int_equal(sp_orientation_errors(COUNT, a->found, a->known, &a->group, a->error, a->strict), SP_OK);
}

static int right_answers(const answers *a)
{
    int right = 0;

    for (int i = 0; i < COUNT; i++) {
        right += a->drawn[i] < 9.0;
    }
    return right;
}

/* Every right answer is given the error that was put into it, but for the error of the fit. */
static void check_errors(const answers *a, double tolerance)
{
    for (int i = 0; i < COUNT; i++) {
        if (a->drawn[i] < 9.0) {
            assert_true(fabs(a->error[i] - a->drawn[i]) < tolerance * DEGREE);
        }
    }
}

/* With symmetry an answer may lie even nearer to another equivalent than to the one it was made from, never farther. */
static void check_bounds(const answers *a, double tolerance)
{
    for (int i = 0; i < COUNT; i++) {
        assert_true(a->drawn[i] > 9.0 || a->error[i] < a->drawn[i] + tolerance * DEGREE);
    }
}

static void exact_answers_in_any_frame_have_no_error(void **state)
{
    (void)state;
    answers a;

    make(&(plan){.group = "C1"}, 1, &a);
    for (int i = 0; i < COUNT; i++) {
        assert_true(a.error[i] < 1e-6);
        assert_true(a.strict[i] < 1e-6);
    }
}

static void known_errors_are_measured(void **state)
{
    (void)state;
    answers a;

    make(&(plan){.group = "C1", .sigma = 2.0}, 2, &a);
    check_errors(&a, 0.5);
}

static void half_of_the_answers_may_be_random_and_half_turned(void **state)
{
    (void)state;
    answers a;

    make(&(plan){.group = "C1", .sigma = 2.0, .wrong = 0.5, .twins = 0.5}, 3, &a);
    check_errors(&a, 0.5);

    const double share = (double)right_answers(&a) / COUNT;
    const sp_orientation_score folded = sp_orientation_summary(COUNT, a.error),
                               strict = sp_orientation_summary(COUNT, a.strict);

    assert_true(fabs(folded.within_10 - share) < 0.02);
    assert_true(fabs(strict.within_10 - 0.5 * share) < 0.06); /* the half turn counts there */
}

static void symmetric_copies_are_equivalent_in_unknown_axes(void **state)
{
    (void)state;
    static const char *const groups[] = {"C2", "C7", "D2", "D7", "T", "O", "I"};

    for (size_t g = 0; g < sizeof groups / sizeof *groups; g++) {
        answers a;

        make(&(plan){.group = groups[g], .sigma = 1.0, .wrong = 0.5, .twins = 0.3, .symmetric = true}, 10 + g, &a);
        check_bounds(&a, 0.5);
    }
}

static void answers_that_use_one_copy_are_right_too(void **state)
{
    (void)state;
    answers a;

    make(&(plan){.group = "D7", .sigma = 1.0, .wrong = 0.3}, 20, &a);
    check_bounds(&a, 0.5);
}

/* The others show where the axes lie, however few they are. */
static void a_copy_that_most_images_choose_does_not_hide_the_axes(void **state)
{
    (void)state;
    static const double favoured[] = {0.5, 0.8};

    for (uint64_t seed = 30; seed < 34; seed++) {
        answers a;

        make(&(plan){.group = "D7", .sigma = 0.3, .symmetric = true, .favoured = favoured[seed % 2]}, seed, &a);
        check_bounds(&a, 0.5);
    }
}

static void random_answers_score_as_chance(void **state)
{
    (void)state;
    static const char *const groups[] = {"C1", "D7"};

    for (size_t g = 0; g < 2; g++) {
        answers a;
        double folded, strict;

        make(&(plan){.group = groups[g], .wrong = 1.0}, 30, &a);
        assert_int_equal(sp_orientation_chance(&a.group, true, &folded), SP_OK);
        assert_int_equal(sp_orientation_chance(&a.group, false, &strict), SP_OK);
        assert_true(fabs(sp_orientation_summary(COUNT, a.error).median - folded) < 0.12 * folded);
        assert_true(fabs(sp_orientation_summary(COUNT, a.strict).median - strict) < 0.12 * strict);
    }
}

static void chance_of_no_symmetry_is_known(void **state)
{
    (void)state;
    sp_point_group group;
    double strict;

    /* uniform rotations: P(angle < a) = (a - sin a) / pi, one half at a = 2.3099 */
    assert_int_equal(sp_point_group_init("C1", &group), SP_OK);
    assert_int_equal(sp_orientation_chance(&group, false, &strict), SP_OK);
    assert_true(fabs(strict - 2.3099) < 0.02);
}

static void summary_counts_fractions(void **state)
{
    (void)state;
    double error[] = {4.0 * DEGREE, 30.0 * DEGREE, 9.0 * DEGREE, 19.0 * DEGREE};
    const sp_orientation_score score = sp_orientation_summary(4, error);

    assert_true(fabs(score.median - 14.0 * DEGREE) < 1e-12);
    assert_true(fabs(score.within_5 - 0.25) < 1e-12);
    assert_true(fabs(score.within_10 - 0.5) < 1e-12);
    assert_true(fabs(score.within_20 - 0.75) < 1e-12);
}

static void likeness_tells_one_side_from_all_sides(void **state)
{
    (void)state;
    enum { MANY = 2000 };
    static const double z[3] = {0.0, 0.0, 1.0};
    sp_quat q[MANY];
    sp_rng rng = sp_rng_stream(5, 6, 0);

    for (int i = 0; i < MANY; i++) {
        q[i] = sp_quat_random(&rng);
    }
    assert_true(fabs(sp_orientation_likeness(MANY, q) - 1.0 / 3.0) < 0.01);
    for (int i = 1; i < MANY; i += 2) { /* turned about the beam, whichever end it comes from: the same side */
        q[i] = sp_quat_multiply(sp_quat_from_axis_angle(z, 0.01 * i), q[0]);
    }
    assert_true(fabs(sp_orientation_likeness(MANY, q) - 0.5) < 0.03);
    for (int i = 0; i < MANY; i++) {
        q[i] = sp_quat_multiply(sp_quat_from_axis_angle(z, 0.01 * i), q[0]);
    }
    assert_true(fabs(sp_orientation_likeness(MANY, q) - 1.0) < 1e-9);
}

static void few_images_are_refused(void **state)
{
    (void)state;
    answers a;

    make(&(plan){.group = "C1"}, 1, &a);
    assert_int_equal(sp_orientation_errors(9, a.found, a.known, &a.group, a.error, NULL), SP_ERR_USAGE);
    assert_non_null(strstr(sp_error_text(), "9 images are too few"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_answers_in_any_frame_have_no_error),
        cmocka_unit_test(known_errors_are_measured),
        cmocka_unit_test(half_of_the_answers_may_be_random_and_half_turned),
        cmocka_unit_test(symmetric_copies_are_equivalent_in_unknown_axes),
        cmocka_unit_test(answers_that_use_one_copy_are_right_too),
        cmocka_unit_test(a_copy_that_most_images_choose_does_not_hide_the_axes),
        cmocka_unit_test(random_answers_score_as_chance),
        cmocka_unit_test(chance_of_no_symmetry_is_known),
        cmocka_unit_test(summary_counts_fractions),
        cmocka_unit_test(likeness_tells_one_side_from_all_sides),
        cmocka_unit_test(few_images_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
