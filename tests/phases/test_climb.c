/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/climb.h"

#include <math.h>

#include "base/rng.h"
#include "testing.h"

static const double DEGREE = M_PI / 180.0, DELTA = M_PI / 90.0;

/* A hill whose top is an orientation: score -k/2 |d|^2, d the turn from where one stands to there. */
typedef struct hill {
    sp_quat top;
    double steepness; /* k */
    double doubt;     /* the information is that many times too large: steps come out too short */
    bool flat;        /* about one axis: nothing can be solved */
} hill;

/* Rotation vector of the turn from q to the top. */
static void way(const hill *h, sp_quat q, double d[3])
{
    sp_quat turn = sp_quat_multiply(h->top, sp_quat_conjugate(q));
    const double sign = turn.w < 0.0 ? -1.0 : 1.0;
    const double sine = sqrt(turn.x * turn.x + turn.y * turn.y + turn.z * turn.z);
    const double factor = sine > 0.0 ? sign * 2.0 * atan2(sine, sign * turn.w) / sine : 0.0;

    d[0] = factor * turn.x;
    d[1] = factor * turn.y;
    d[2] = factor * turn.z;
}

static void look(const hill *h, bool lead, sp_look *at)
{
    double d[3];

    way(h, at->q, d);
    at->sums = (sp_likelihood_sums){.score = -0.5 * h->steepness * (d[0] * d[0] + d[1] * d[1] + d[2] * d[2])};
    for (int i = 0; i < 3 && lead; i++) {
        at->sums.slope[i] = h->steepness * d[i];
        at->sums.information[i][i] = h->flat && i == 2 ? 0.0 : h->doubt * h->steepness;
    }
}

/* Rounds that it took. */
static int climb_up(const hill *h, sp_climb *climb)
{
    int rounds = 0;

    for (; climb->looks > 0; rounds++) {
        assert_true(climb->looks <= SP_CLIMB_MOST);
        assert_true(climb->lead == (rounds % 2 == 1)); /* so climbs keep step with each other */
        for (int i = 0; i < climb->looks; i++) {
            look(h, climb->lead, &climb->look[i]);
        }
        sp_climb_advance(climb);
    }
    return rounds;
}

static double from_top(const hill *h, const sp_climb *climb)
{
    double d[3];

    way(h, climb->climber[0].q, d);
    return sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);
}

static hill random_hill(void)
{
    sp_rng rng = sp_rng_stream(8, 1, 0);

    return (hill){.top = sp_quat_random(&rng), .steepness = 1000.0, .doubt = 1.0};
}

static sp_quat beside(sp_quat q, double angle)
{
    const double axis[3] = {0.48, 0.6, 0.64};

    return sp_quat_multiply(sp_quat_from_axis_angle(axis, angle), q);
}

static void a_climb_ends_on_the_top(void **state)
{
    (void)state;
    const hill h = random_hill();
    sp_climb climb;

    for (int angle = 0; angle < 6; angle++) {
        const sp_quat from = beside(h.top, angle * DEGREE);

        sp_climb_begin(&climb, &from, 1, 4, DELTA);
        climb_up(&h, &climb);
        assert_true(from_top(&h, &climb) < 1e-6);
    }
}

static void steps_that_come_out_too_short_are_lengthened(void **state)
{
    (void)state;
    hill h = random_hill();
    const sp_quat from = beside(h.top, 4.0 * DEGREE);
    sp_climb climb;

    h.doubt = 7.0;
    sp_climb_begin(&climb, &from, 1, 1, DELTA);
    climb_up(&h, &climb);
    assert_true(from_top(&h, &climb) < 2.0 * DEGREE); /* 4 of 7 parts; a single one would leave 3.4 degrees */
}

static void a_step_is_no_longer_than_three_deltas(void **state)
{
    (void)state;
    const hill h = random_hill();
    const sp_quat from = beside(h.top, 20.0 * DEGREE);
    sp_climb climb;

    for (int steps = 0; steps < 3; steps++) {
        sp_climb_begin(&climb, &from, 1, steps, DELTA);
        climb_up(&h, &climb);
        assert_true(fabs(from_top(&h, &climb) - (20.0 * DEGREE - 3.0 * DELTA * steps)) < 1e-6);
    }
}

static void the_half_turn_of_a_candidate_is_tried(void **state)
{
    (void)state;
    const sp_quat half_turn = {0.0, 0.0, 0.0, 1.0};
    const hill h = random_hill();
    const sp_quat from[] = {beside(h.top, 90.0 * DEGREE), sp_quat_multiply(half_turn, beside(h.top, 3.0 * DEGREE))};
    sp_climb climb;

    sp_climb_begin(&climb, from, 2, 0, DELTA);
    assert_int_equal(climb_up(&h, &climb), 1);
    assert_true(fabs(from_top(&h, &climb) - 3.0 * DEGREE) < 1e-9);
    sp_climb_begin(&climb, from, 2, 4, DELTA);
    climb_up(&h, &climb);
    assert_true(from_top(&h, &climb) < 1e-6);
}

static void on_the_top_there_is_nothing_to_climb(void **state)
{
    (void)state;
    const hill h = random_hill();
    sp_climb climb;

    sp_climb_begin(&climb, &h.top, 1, 4, DELTA);
    climb_up(&h, &climb); /* the half turn climbs meanwhile */
    assert_true(climb.climber[0].score == 0.0);
}

static void where_no_step_can_be_told_the_best_candidate_stays(void **state)
{
    (void)state;
    hill h = random_hill();
    sp_quat from[SP_CLIMB_CANDIDATES];
    sp_climb climb;

    h.flat = true;
    for (int i = 0; i < SP_CLIMB_CANDIDATES; i++) {
        from[i] = beside(h.top, (10.0 - i) * DEGREE);
    }
    sp_climb_begin(&climb, from, SP_CLIMB_CANDIDATES, 4, DELTA);
    assert_int_equal(climb_up(&h, &climb), 2);
    assert_true(fabs(from_top(&h, &climb) - 3.0 * DEGREE) < 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_climb_ends_on_the_top),
        cmocka_unit_test(steps_that_come_out_too_short_are_lengthened),
        cmocka_unit_test(a_step_is_no_longer_than_three_deltas),
        cmocka_unit_test(the_half_turn_of_a_candidate_is_tried),
        cmocka_unit_test(on_the_top_there_is_nothing_to_climb),
        cmocka_unit_test(where_no_step_can_be_told_the_best_candidate_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
