/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/point_group.h"

#include <ctype.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

static const double SAME = 1e-6; /* [rad] two products of the same rotations differ by rounding only */

static sp_quat turn(double x, double y, double z, int fold)
{
    const double axis[3] = {x, y, z};

    return sp_quat_from_axis_angle(axis, 2.0 * M_PI / fold);
}

static void add(sp_point_group *group, sp_quat q)
{
    for (int i = 0; i < group->order; i++) {
        if (sp_quat_angle(group->element[i], q) < SAME) {
            return;
        }
    }
    if (group->order < SP_POINT_GROUP_ORDER) {
        group->element[group->order++] = q;
    }
}

/* All products of the generators: every element times every generator until nothing new appears. */
static void close_group(sp_point_group *group, const sp_quat *generator, int generators)
{
    group->order = 0;
    add(group, sp_quat_identity());
    for (int i = 0; i < group->order; i++) { /* the order grows meanwhile */
        for (int g = 0; g < generators; g++) {
            add(group, sp_quat_normalize(sp_quat_multiply(generator[g], group->element[i])));
        }
    }
}

sp_status sp_point_group_init(const char *name, sp_point_group *group)
{
    sp_status status = SP_OK;
    const char kind = (char)toupper((unsigned char)name[0]);
    char *end = NULL;
    const bool numbered = (kind == 'C' || kind == 'D') && isdigit((unsigned char)name[1]);
    const long fold = numbered ? strtol(name + 1, &end, 10) : 0;
    const bool cubic = (kind == 'T' || kind == 'O' || kind == 'I') && name[1] == '\0';
    const double golden = 0.5 * (1.0 + sqrt(5.0));

    SP_REQUIRE(cubic || (numbered && *end == '\0'), SP_ERR_USAGE,
               "%s: no point group; give C1, C2 .., D2, D3 .., T, O or I", name);
    SP_REQUIRE(cubic || (fold >= 1 && fold <= SP_POINT_GROUP_ORDER / (kind == 'D' ? 2 : 1)), SP_ERR_USAGE,
               "%s: more than %d rotations, or none", name, SP_POINT_GROUP_ORDER);
    if (cubic) {
        const sp_quat generator[2] = {turn(1.0, 1.0, 1.0, 3), kind == 'T'   ? turn(0.0, 0.0, 1.0, 2)
                                                              : kind == 'O' ? turn(0.0, 0.0, 1.0, 4)
                                                                            : turn(0.0, 1.0, golden, 5)};

        close_group(group, generator, 2);
    } else {
        const sp_quat generator[2] = {turn(0.0, 0.0, 1.0, (int)fold), turn(1.0, 0.0, 0.0, 2)};

        close_group(group, generator, kind == 'D' ? 2 : 1);
    }
done:
    return status;
}
