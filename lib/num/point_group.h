/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/point_group.h -- the rotations that leave a symmetric particle as it is.
 *
 * Schoenflies names: C1 (none), Cn, Dn, T, O, I. Axes: the n-fold axis of Cn and Dn is z, a twofold axis of Dn is x;
 * T, O, I have a threefold axis along (1,1,1) and two- or fourfold axes along x, y, z. */
#include "base/error.h"
#include "num/quaternion.h"

enum { SP_POINT_GROUP_ORDER = 120 }; /* C120, D60 */

typedef struct sp_point_group {
    int order;                             /* number of rotations */
    sp_quat element[SP_POINT_GROUP_ORDER]; /* [order], the first is the identity */
} sp_point_group;

/* The group of this name; letters of either case.
 *   group  receives it; untouched on error
 * Fails with SP_ERR_USAGE: not a name as above, or more than SP_POINT_GROUP_ORDER rotations. */
sp_status sp_point_group_init(const char *name, sp_point_group *group);
