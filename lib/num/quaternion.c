/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/quaternion.h"

#include <math.h>

sp_quat sp_quat_identity(void)
{
    return (sp_quat){1.0, 0.0, 0.0, 0.0};
}

sp_quat sp_quat_normalize(sp_quat q)
{
    const double scale = 1.0 / sqrt(q.w * q.w + q.x * q.x + q.y * q.y + q.z * q.z);

    return (sp_quat){q.w * scale, q.x * scale, q.y * scale, q.z * scale};
}

sp_quat sp_quat_conjugate(sp_quat q)
{
    return (sp_quat){q.w, -q.x, -q.y, -q.z};
}

sp_quat sp_quat_multiply(sp_quat a, sp_quat b)
{
    return (sp_quat){
        a.w * b.w - a.x * b.x - a.y * b.y - a.z * b.z,
        a.w * b.x + a.x * b.w + a.y * b.z - a.z * b.y,
        a.w * b.y - a.x * b.z + a.y * b.w + a.z * b.x,
        a.w * b.z + a.x * b.y - a.y * b.x + a.z * b.w,
    };
}

sp_quat sp_quat_from_axis_angle(const double axis[3], double angle)
{
    const double length = sqrt(axis[0] * axis[0] + axis[1] * axis[1] + axis[2] * axis[2]);
    const double scale = length > 0.0 ? sin(0.5 * angle) / length : 0.0;

    return (sp_quat){cos(0.5 * angle), axis[0] * scale, axis[1] * scale, axis[2] * scale};
}

sp_quat sp_quat_from_matrix(const sp_mat3 *matrix)
{
    const double(*m)[3] = matrix->m;
    const double trace = m[0][0] + m[1][1] + m[2][2];
    sp_quat q;

    /* divide by the largest component (Shepperd 1978) */
    if (trace > m[0][0] && trace > m[1][1] && trace > m[2][2]) {
        q = (sp_quat){1.0 + trace, m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1]};
    } else if (m[0][0] > m[1][1] && m[0][0] > m[2][2]) {
        q = (sp_quat){m[2][1] - m[1][2], 1.0 + m[0][0] - m[1][1] - m[2][2], m[0][1] + m[1][0], m[0][2] + m[2][0]};
    } else if (m[1][1] > m[2][2]) {
        q = (sp_quat){m[0][2] - m[2][0], m[0][1] + m[1][0], 1.0 + m[1][1] - m[0][0] - m[2][2], m[1][2] + m[2][1]};
    } else {
        q = (sp_quat){m[1][0] - m[0][1], m[0][2] + m[2][0], m[1][2] + m[2][1], 1.0 + m[2][2] - m[0][0] - m[1][1]};
    }
    q = sp_quat_normalize(q);
    return q.w < 0.0 ? (sp_quat){-q.w, -q.x, -q.y, -q.z} : q;
}

sp_mat3 sp_quat_to_matrix(sp_quat q)
{
    const double w = q.w, x = q.x, y = q.y, z = q.z;

    return (sp_mat3){{
        {1.0 - 2.0 * (y * y + z * z), 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)},
        {2.0 * (x * y + w * z), 1.0 - 2.0 * (x * x + z * z), 2.0 * (y * z - w * x)},
        {2.0 * (x * z - w * y), 2.0 * (y * z + w * x), 1.0 - 2.0 * (x * x + y * y)},
    }};
}

sp_quat sp_quat_random(sp_rng *rng)
{
    const double u1 = sp_rng_uniform(rng);
    const double u2 = 2.0 * M_PI * sp_rng_uniform(rng);
    const double u3 = 2.0 * M_PI * sp_rng_uniform(rng);

    return (sp_quat){sqrt(1.0 - u1) * sin(u2), sqrt(1.0 - u1) * cos(u2), sqrt(u1) * sin(u3), sqrt(u1) * cos(u3)};
}

sp_quat sp_quat_random_small(sp_rng *rng, double sigma)
{
    double vector[3];

    for (int i = 0; i < 3; i++) {
        vector[i] = sigma * sp_rng_normal(rng);
    }
    return sp_quat_from_axis_angle(vector, sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2]));
}

double sp_quat_dot(sp_quat a, sp_quat b)
{
    return a.w * b.w + a.x * b.x + a.y * b.y + a.z * b.z;
}

double sp_quat_angle(sp_quat a, sp_quat b)
{
    const sp_quat d = sp_quat_multiply(sp_quat_conjugate(a), b);

    /* atan2 is accurate at both ends, acos is not */
    return 2.0 * atan2(sqrt(d.x * d.x + d.y * d.y + d.z * d.z), fabs(d.w));
}

sp_quat sp_quat_mean(const sp_quat *q, const double *weight, int count)
{
    double a[4][4] = {{0.0}};
    sp_quat mean = q[0];

    for (int i = 0; i < count; i++) {
        const double v[4] = {q[i].w, q[i].x, q[i].y, q[i].z};

        for (int r = 0; r < 4; r++) {
            for (int c = 0; c < 4; c++) {
                a[r][c] += (weight ? weight[i] : 1.0) * v[r] * v[c];
            }
        }
    }
    for (int step = 0; step < 64; step++) { /* power iteration; rotations that lie close together leave a large gap */
        const double v[4] = {mean.w, mean.x, mean.y, mean.z};
        double next[4] = {0.0};

        for (int r = 0; r < 4; r++) {
            for (int c = 0; c < 4; c++) {
                next[r] += a[r][c] * v[c];
            }
        }
        mean = sp_quat_normalize((sp_quat){next[0], next[1], next[2], next[3]});
    }
    return mean;
}

void sp_mat3_apply(const sp_mat3 *matrix, const double in[3], double out[3])
{
    for (int i = 0; i < 3; i++) {
        out[i] = matrix->m[i][0] * in[0] + matrix->m[i][1] * in[1] + matrix->m[i][2] * in[2];
    }
}

void sp_mat3_apply_transpose(const sp_mat3 *matrix, const double in[3], double out[3])
{
    for (int i = 0; i < 3; i++) {
        out[i] = matrix->m[0][i] * in[0] + matrix->m[1][i] * in[1] + matrix->m[2][i] * in[2];
    }
}
