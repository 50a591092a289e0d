/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/quaternion.h -- rotations as unit quaternions and matrices.
 *
 * Quaternion order (w, x, y, z); q and -q are the same rotation. R(q) is the active rotation matrix
 *   R00 = 1-2(yy+zz)  R01 = 2(xy-wz)    R02 = 2(xz+wy)
 *   R10 = 2(xy+wz)    R11 = 1-2(xx+zz)  R12 = 2(yz-wx)
 *   R20 = 2(xz-wy)    R21 = 2(yz+wx)    R22 = 1-2(xx+yy)
 * The orientation q of an image turns the molecule: the image shows the intensity at s_mol = R(q)^T s_lab
 * (docs/conventions.md). None of these functions can fail. */
#include "base/rng.h"

typedef struct sp_quat {
    double w, x, y, z;
} sp_quat;

/* Rotation matrix, row major: v' = m v. */
typedef struct sp_mat3 {
    double m[3][3];
} sp_mat3;

sp_quat sp_quat_identity(void);
sp_quat sp_quat_normalize(sp_quat q);                                /* |q| > 0 */
sp_quat sp_quat_conjugate(sp_quat q);                                /* the inverse rotation of a unit q */
sp_quat sp_quat_multiply(sp_quat a, sp_quat b);                      /* R(ab) = R(a) R(b): b first, then a */
sp_quat sp_quat_from_axis_angle(const double axis[3], double angle); /* axis need not be a unit vector; [rad] */
sp_quat sp_quat_from_matrix(const sp_mat3 *matrix);                  /* w >= 0 */
sp_mat3 sp_quat_to_matrix(sp_quat q);                                /* q is a unit quaternion */
sp_quat sp_quat_random(sp_rng *rng);                                 /* uniform on SO(3) (Shoemake 1992) */

/* A rotation about a uniformly random axis whose rotation vector is Gaussian: each component has deviation sigma [rad]
 * (sigma << 1: the rotation angle is about sigma * sqrt(3) rms). */
sp_quat sp_quat_random_small(sp_rng *rng, double sigma);

/* <a,b>: cos of half the angle between two rotations, or minus that. */
double sp_quat_dot(sp_quat a, sp_quat b);

/* Rotation angle from a to b [rad], 0 .. pi: 2 acos|<a,b>|. */
double sp_quat_angle(sp_quat a, sp_quat b);

/* Rotation that maximises sum_i weight_i <q_i, q>^2: the mean of rotations that lie close together (Markley et al.
 * 2007). weight may be NULL (all 1); count >= 1. */
sp_quat sp_quat_mean(const sp_quat *q, const double *weight, int count);

void sp_mat3_apply(const sp_mat3 *matrix, const double in[3], double out[3]);           /* out = m in */
void sp_mat3_apply_transpose(const sp_mat3 *matrix, const double in[3], double out[3]); /* out = m^T in */
