/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/climb.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>

enum {
    FINALISTS = 2, /* candidates of an image that are refined to the end; twice as many make the first step */
    LONGEST = 8,   /* times the step that Fisher scoring proposes */
};

static const double LIMIT = 3.0;     /* delta: steps are no longer */
static const double SHORTEST = 0.02; /* delta: after a shorter step the climb is over */

/* The turn of the molecule by the rotation vector t [rad], after q. */
static sp_quat turned(sp_quat q, const double t[3])
{
    const double angle = sqrt(t[0] * t[0] + t[1] * t[1] + t[2] * t[2]);

    return sp_quat_normalize(sp_quat_multiply(sp_quat_from_axis_angle(t, angle), q));
}

/* Solves the symmetric 3 x 3 system a t = b by the adjoint matrix; false if a is (nearly) singular. Only i >= j of a is
 * read. */
static bool solve3(double a[3][3], const double b[3], double t[3])
{
    double adjoint[3][3];

    a[0][1] = a[1][0];
    a[0][2] = a[2][0];
    a[1][2] = a[2][1];
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            const int r = (j + 1) % 3, s = (j + 2) % 3, u = (i + 1) % 3, v = (i + 2) % 3;

            adjoint[i][j] = a[r][u] * a[s][v] - a[r][v] * a[s][u];
        }
    }
    const double determinant = a[0][0] * adjoint[0][0] + a[0][1] * adjoint[1][0] + a[0][2] * adjoint[2][0];

    if (!(fabs(determinant) > 1e-9 * a[0][0] * a[1][1] * a[2][2])) {
        return false;
    }
    for (int i = 0; i < 3; i++) {
        t[i] = (adjoint[i][0] * b[0] + adjoint[i][1] * b[1] + adjoint[i][2] * b[2]) / determinant;
    }
    return true;
}

static int compare_climbers(const void *a, const void *b)
{
    const sp_climber *x = a, *y = b;

    return (x->score < y->score) - (x->score > y->score);
}

/* The best so many are left. */
static void keep_best(sp_climb *climb, int most)
{
    qsort(climb->climber, (size_t)climb->climbers, sizeof *climb->climber, compare_climbers);
    climb->climbers = climb->climbers < most ? climb->climbers : most;
}

static void want(sp_climb *climb, int climber, sp_quat q)
{
    climb->look[climb->looks++] = (sp_look){.q = q, .climber = climber};
}

static double length_of(const sp_climber *c)
{
    return sqrt(c->t[0] * c->t[0] + c->t[1] * c->t[1] + c->t[2] * c->t[2]);
}

void sp_climb_begin(sp_climb *climb, const sp_quat *candidates, int count, int steps, double delta)
{
    const sp_quat half_turn = {0.0, 0.0, 0.0, 1.0}; /* about the beam */

    assert(count <= SP_CLIMB_CANDIDATES);
    *climb = (sp_climb){.climbers = 2 * count, .steps = steps, .delta = delta, .step = -1};
    for (int c = 0; c < 2 * count; c++) {
        const sp_quat q = candidates[c / 2];

        climb->climber[c] = (sp_climber){.q = c % 2 ? sp_quat_multiply(half_turn, q) : q, .moving = true};
        want(climb, c, climb->climber[c].q);
    }
}

/* Derivatives where a climber stands that is to move. */
static void want_leads(sp_climb *climb)
{
    climb->lead = true;
    for (int c = 0; c < climb->climbers; c++) {
        if (climb->climber[c].moving) {
            want(climb, c, climb->climber[c].q);
        }
    }
}

/* The proposed step, and 2, 4, ... LONGEST times that within the limit: noise of the model adds to the information and
 * not to the slope, so steps come out too short. */
static void want_steps(sp_climb *climb)
{
    const double limit = LIMIT * climb->delta;

    climb->lead = false;
    for (int i = 0; i < climb->climbers; i++) {
        const sp_climber *c = &climb->climber[i];
        const double length = length_of(c);

        for (double factor = length > limit ? limit / length : 1.0;
             c->moving && factor <= LONGEST && factor * length <= 1.0001 * limit; factor *= 2.0) {
            want(climb, i, turned(c->q, (double[3]){factor * c->t[0], factor * c->t[1], factor * c->t[2]}));
        }
    }
}

/* A step has been made, or at first the scan: who goes on? */
static void end_step(sp_climb *climb)
{
    climb->step++;
    keep_best(climb, climb->step == 0 ? 2 * FINALISTS : FINALISTS);
    if (climb->step < climb->steps) {
        want_leads(climb);
    }
}

static void take_leads(sp_climb *climb, int looks)
{
    for (int i = 0; i < looks; i++) {
        sp_look *look = &climb->look[i];
        sp_climber *c = &climb->climber[look->climber];

        c->score = look->sums.score;
        c->moving = solve3(look->sums.information, look->sums.slope, c->t);
    }
}

/* Every climber goes to the best place that was seen for it. One that finds nothing better stays. */
static void take_steps(sp_climb *climb, int looks)
{
    bool better[SP_CLIMB_MOST] = {false};

    for (int i = 0; i < looks; i++) {
        const sp_look *look = &climb->look[i];
        sp_climber *c = &climb->climber[look->climber];

        if (look->sums.score > c->score) {
            c->q = look->q;
            c->score = look->sums.score;
            better[look->climber] = true;
        }
    }
    for (int c = 0; c < climb->climbers; c++) {
        climb->climber[c].moving = better[c] && length_of(&climb->climber[c]) >= SHORTEST * climb->delta;
    }
}

void sp_climb_advance(sp_climb *climb)
{
    const int looks = climb->looks;

    climb->looks = 0;
    if (climb->lead) {
        take_leads(climb, looks);
        want_steps(climb);
    } else if (climb->step < 0) { /* the scan */
        for (int i = 0; i < looks; i++) {
            climb->climber[i].score = climb->look[i].sums.score;
        }
    } else {
        take_steps(climb, looks);
    }
    if (climb->looks == 0) {
        end_step(climb);
    }
}
