/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/climb.h -- from a few orientations of an image to the best one near them, by Fisher scoring
 * (docs/algorithm.md, eq. 9).
 *
 * A climb says at which orientations it wants to look, and goes on from what was seen there. Whoever looks (a processor
 * at one image, a GPU at thousands) fills in the sums:
 *
 *     sp_climb_begin(&climb, candidates, count, steps, delta);
 *     while (climb.looks > 0) {
 *         for (int i = 0; i < climb.looks; i++) {
 *             ... climb.look[i].sums of climb.look[i].q, with derivatives if climb.lead ...
 *         }
 *         sp_climb_advance(&climb);
 *     }
 *     ... climb.climber[0] ...
 *
 * Climbs with equal counts and steps want derivatives in the same rounds, as long as they last. */
#include <stdbool.h>

#include "num/quaternion.h"
#include "phases/likelihood.h"

enum { SP_CLIMB_CANDIDATES = 8, SP_CLIMB_MOST = 2 * SP_CLIMB_CANDIDATES };

/* An orientation on its way up. */
typedef struct sp_climber {
    sp_quat q;
    double score;
    double t[3]; /* [rad] the turn that Fisher scoring proposes */
    bool moving;
} sp_climber;

typedef struct sp_look {
    sp_quat q;
    int climber; /* whose */
    sp_likelihood_sums sums;
} sp_look;

typedef struct sp_climb {
    int looks; /* that are wanted; 0: it is over */
    bool lead; /* with derivatives */
    sp_look look[SP_CLIMB_MOST];
    int climbers; /* that are left */
    sp_climber climber[SP_CLIMB_MOST];
    int step, steps; /* made; to be made at most */
    double delta;
} sp_climb;

/*   candidates  in  [count] where to start, at most SP_CLIMB_CANDIDATES; the half turn about the beam of each is tried
 *                   too
 *   steps       at most, for the best candidates; a step that does not improve ends the climb
 *   delta       [rad] a third of a speckle at the edge: steps are cut at three times that */
void sp_climb_begin(sp_climb *climb, const sp_quat *candidates, int count, int steps, double delta);

/* Takes what was seen; in the end climber[0] is the best. */
void sp_climb_advance(sp_climb *climb);
