/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/orientation_score.h -- how far found orientations are from known ones. For judging results only.
 *
 * What cannot be known from the images does not count as an error:
 *   - the frame of the molecule: a reconstruction may come out turned, so found = known G for one rotation G of all;
 *   - its symmetry: known h shows the same image for every h of the point group, whose axes lie anywhere in the frame;
 *   - the half turn Z about the beam: an image and its half turn are nearly the same (Friedel's law on a nearly flat
 *     Ewald sphere). "Strict" errors count it.
 *     error = min over h, t in {1, Z}  of angle(known h G, t found)              angles of rotation, 0 .. pi
 * G and the axes are fitted to the images that agree, so half of the images may be wrong.
 *
 * Orientations that have nothing to do with the known ones have, for C1, a median error of 102 degrees (strict 132),
 * for D7 of 49; sp_orientation_chance() tells it for any group. */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "num/point_group.h"
#include "num/quaternion.h"

enum { SP_ORIENTATION_SCORE_LEAST = 10 }; /* fewer images fit some G by chance */

/* Errors of all images.
 *   found, known  in   [count] unit quaternions;  s_mol = R(q)^T s_lab
 *   group         in   point group of the particle
 *   error         out  [count] [rad] modulo the half turn about the beam
 *   strict        out  [count] [rad] without that; may be NULL
 * Deterministic. Fails with SP_ERR_USAGE: fewer than SP_ORIENTATION_SCORE_LEAST images; SP_ERR_MEMORY. */
sp_status sp_orientation_errors(ptrdiff_t count, const sp_quat *found, const sp_quat *known,
                                const sp_point_group *group, double *error, double *strict);

/* What is told about a set of errors. */
typedef struct sp_orientation_score {
    double median, p90;                    /* [rad] */
    double within_5, within_10, within_20; /* fraction of the images within 5, 10, 20 degrees */
} sp_orientation_score;

/* Summary; sorts the errors. error in/out [count], count >= 1. Cannot fail. */
sp_orientation_score sp_orientation_summary(ptrdiff_t count, double *error);

/* Median error of random orientations modulo the half turn (`folded`) or not [rad]: by 20,000 fixed random numbers, to
 * about a degree. Fails with SP_ERR_MEMORY. */
sp_status sp_orientation_chance(const sp_point_group *group, bool folded, double *median);

/* How alike are the directions from which images see the particle? Mean over all pairs of images, each with itself too,
 * of the squared cosine between their beams, R(q)^T z: 1/3 from all sides, 1 along one axis, 1/2 where half of the
 * images look along one axis and the others from anywhere.
 *   q  in  [count] unit quaternions, count >= 1
 * Cannot fail. */
double sp_orientation_likeness(ptrdiff_t count, const sp_quat *q);
