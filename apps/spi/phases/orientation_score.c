/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/orientation_score.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/memory.h"
#include "num/rotation_grid.h"
#include "num/statistics.h"

enum {
    WITNESSES = 400, /* images whose G is tried; half of them wrong still leaves 200 that are right */
    POOL = 200,      /* best supported rotations, none near another: they tell where the axes of the group lie */
    ROUNDS = 20,     /* of the final fit; it settles in three to five */
};
static const double DEGREE = M_PI / 180.0;
static const double SUPPORT_WIDTH = 8.0; /* [degree] rotations this close support each other */
static const double AXES_WIDTH = 12.0;   /* [degree] likewise for the first search of the axes */
static const double INLIER = 20.0;       /* [degree] images that take part in the final fit, at first */
static const double SPREAD = 3.0;        /* later those within so many medians of the ones that took part before: */
static const double LEAST_INLIER =
    0.5; /* [degree] for 60 rotations, half of all random answers lie within 20 degrees */
static const double AXES_GRID_STEP = 8.0; /* [degree] */

/* The question and the answer so far: known h G ~ t found, h = axes c axes^-1 for c in the group. */
typedef struct fit {
    ptrdiff_t count;
    const sp_quat *found, *known;
    const sp_point_group *group;
    sp_quat global; /* G */
    sp_quat axes;   /* from the group's own axes to those of the known frame */
} fit;

/* A rotation that some image would have G be, and how many others agree. */
typedef struct witness {
    sp_quat q;
    double support;
} witness;

static double dot(sp_quat a, sp_quat b)
{
    return fabs(sp_quat_dot(a, b));
}

/* exp(-(angle / width)^2), 0 beyond three widths; width [degree] */
static double closeness(double cosine, double width)
{
    const double angle = 2.0 * acos(fmin(1.0, cosine)) / (width * DEGREE);

    return angle < 3.0 ? exp(-angle * angle) : 0.0;
}

/* The half turn about the beam (z of the laboratory) after q. */
static sp_quat half_turn(sp_quat q)
{
    return (sp_quat){-q.z, -q.y, q.x, q.w};
}

/* h G according to image i, as found (turned = 0) or half turned (1). */
static sp_quat implied(const fit *what, ptrdiff_t i, int turned)
{
    const sp_quat found = turned ? half_turn(what->found[i]) : what->found[i];

    return sp_quat_multiply(sp_quat_conjugate(what->known[i]), found);
}

/* ---- G and the axes by consensus ---- */

static double support_of(const fit *what, sp_quat q)
{
    const double least = cos(1.5 * SUPPORT_WIDTH * DEGREE); /* three widths, as half angle */
    double sum = 0.0;

    for (ptrdiff_t i = 0; i < what->count; i++) {
        const double cosine = fmax(dot(q, implied(what, i, 0)), dot(q, implied(what, i, 1)));

        sum += cosine > least ? closeness(cosine, SUPPORT_WIDTH) : 0.0;
    }
    return sum;
}

static int by_support_downwards(const void *left, const void *right)
{
    const witness *a = left, *b = right;

    return (a->support < b->support) - (a->support > b->support);
}

/* Both rotations that each of up to WITNESSES images implies, the best supported first. Returns how many. */
static int hear_witnesses(const fit *what, witness *witnesses)
{
    const int images = what->count < WITNESSES ? (int)what->count : WITNESSES;

#pragma omp parallel for schedule(static)
    for (int w = 0; w < 2 * images; w++) {
        const sp_quat q = implied(what, w / 2 * what->count / images, w % 2);

        witnesses[w] = (witness){.q = q, .support = support_of(what, q)};
    }
    qsort(witnesses, 2 * (size_t)images, sizeof *witnesses, by_support_downwards);
    return 2 * images;
}

/* Keeps the best supported of rotations that lie together: an equivalent that most images chose must not drown the
 * others, which show the axes. Returns how many are left, at most POOL; the order stays. */
static int thin_out(witness *witnesses, int count)
{
    const double together = cos(0.5 * SUPPORT_WIDTH * DEGREE);
    int kept = 0;

    for (int w = 0; w < count && kept < POOL; w++) {
        bool near = false;

        for (int k = 0; k < kept && !near; k++) {
            near = dot(witnesses[w].q, witnesses[k].q) > together;
        }
        if (!near) {
            witnesses[kept++] = witnesses[w];
        }
    }
    return kept;
}

/* How well rotations h (relative to one of them) are elements of the group in these axes. */
static double axes_score(const sp_point_group *group, sp_quat axes, const witness *relative, int count)
{
    double sum = 0.0;

    for (int j = 0; j < count; j++) {
        const sp_quat own = sp_quat_multiply(sp_quat_conjugate(axes), sp_quat_multiply(relative[j].q, axes));
        double cosine = 0.0;

        for (int c = 1; c < group->order; c++) { /* the identity fits any axes */
            cosine = fmax(cosine, dot(own, group->element[c]));
        }
        sum += relative[j].support * closeness(cosine, AXES_WIDTH);
    }
    return sum;
}

/* The axes of an even grid that explain most, climbed to the nearest maximum. */
static sp_status find_axes(fit *what, const witness *relative, int count)
{
    sp_status status = SP_OK;
    sp_rotation_grid grid = {0};
    double *score = NULL, best = 0.0;

    SP_TRY(sp_rotation_grid_init(sp_rotation_grid_count_for_step(AXES_GRID_STEP * DEGREE), &grid));
    SP_TRY(SP_ARRAY(score, grid.count));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < grid.count; i++) {
        score[i] = axes_score(what->group, grid.q[i], relative, count);
    }
    for (ptrdiff_t i = 0; i < grid.count; i++) {
        if (score[i] > best) {
            best = score[i];
            what->axes = grid.q[i];
        }
    }
    for (double step = 0.5 * AXES_GRID_STEP * DEGREE; step > 0.25 * DEGREE; step *= 0.5) {
        for (int direction = 0; direction < 6; direction++) {
            double axis[3] = {0.0, 0.0, 0.0};

            axis[direction / 2] = 1.0;
            const sp_quat turn = sp_quat_from_axis_angle(axis, direction % 2 ? -step : step);
            const sp_quat trial = sp_quat_normalize(sp_quat_multiply(turn, what->axes));
            const double value = axes_score(what->group, trial, relative, count);

            if (value > best) {
                best = value;
                what->axes = trial;
            }
        }
    }
done:
    sp_array_free(score);
    sp_rotation_grid_clear(&grid);
    return status;
}

/* ---- the final fit ---- */

/* The equivalent of image i's answer that comes nearest: angle [rad] and the group's element c. */
static double nearest(const fit *what, ptrdiff_t i, int turned, int *element)
{
    /* h = axes c axes^-1 ~ implied G^-1: compare in the group's own axes */
    const sp_quat h = sp_quat_multiply(implied(what, i, turned), sp_quat_conjugate(what->global));
    const sp_quat own = sp_quat_multiply(sp_quat_conjugate(what->axes), sp_quat_multiply(h, what->axes));
    double cosine = -1.0;

    *element = 0;
    for (int c = 0; c < what->group->order; c++) {
        const double value = dot(own, what->group->element[c]);

        if (value > cosine) {
            cosine = value;
            *element = c;
        }
    }
    return sp_quat_angle(own, what->group->element[*element]);
}

/* Sums for the small turn w of the axes that makes vec(h) + w x vec(h) fit vec(observed) best (least squares). */
typedef struct axes_sums {
    double matrix[3][3]; /* sum |h|^2 - h h^T */
    double right[3];     /* sum h x (observed - h) */
} axes_sums;

static void add_to_axes(axes_sums *sums, sp_quat h, sp_quat observed)
{
    const double sign = h.w * observed.w + h.x * observed.x + h.y * observed.y + h.z * observed.z < 0.0 ? -1.0 : 1.0;
    const double v[3] = {h.x, h.y, h.z};
    const double e[3] = {sign * observed.x - h.x, sign * observed.y - h.y, sign * observed.z - h.z};
    const double square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];

    for (int i = 0; i < 3; i++) {
        const int j = (i + 1) % 3, k = (i + 2) % 3;

        sums->right[i] += v[j] * e[k] - v[k] * e[j];
        for (int c = 0; c < 3; c++) {
            sums->matrix[i][c] += (i == c ? square : 0.0) - v[i] * v[c];
        }
    }
}

/* w = matrix^-1 right by Cramer's rule; the small ridge stands for what the data leave open: turns about z of Cn, or
 * all where every answer uses the identity. */
static void solve_axes(const axes_sums *sums, double w[3])
{
    double a[3][3], determinant = 0.0;
    const double ridge = 1e-6 * (sums->matrix[0][0] + sums->matrix[1][1] + sums->matrix[2][2]) + 1e-9;

    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) {
            a[i][j] = sums->matrix[i][j] + (i == j ? ridge : 0.0);
        }
    }
    for (int i = 0; i < 3; i++) {
        const int j = (i + 1) % 3, k = (i + 2) % 3;

        determinant += a[0][i] * (a[1][j] * a[2][k] - a[1][k] * a[2][j]);
    }
    for (int i = 0; i < 3; i++) { /* the matrix is symmetric: column i of the inverse holds cofactors of row i */
        const int j = (i + 1) % 3, k = (i + 2) % 3;

        w[i] = 0.0;
        for (int c = 0; c < 3; c++) {
            const int d = (c + 1) % 3, f = (c + 2) % 3;

            w[i] += (a[d][j] * a[f][k] - a[d][k] * a[f][j]) * sums->right[c] / determinant;
        }
    }
}

/* One round: G is the mean over the images that agree within `cut` [rad], the axes follow by least squares. Returns
 * the next cut.
 *   votes, angles  [count] work space */
static double improve(fit *what, double cut, sp_quat *votes, double *angles)
{
    axes_sums sums = {0};
    int used = 0;
    double w[3];

    for (ptrdiff_t i = 0; i < what->count; i++) {
        int element[2];
        const double angle[2] = {nearest(what, i, 0, &element[0]), nearest(what, i, 1, &element[1])};
        const int turned = angle[1] < angle[0];

        if (angle[turned] < cut) {
            const sp_quat c = what->group->element[element[turned]], hg = implied(what, i, turned);
            const sp_quat h = sp_quat_multiply(what->axes, sp_quat_multiply(c, sp_quat_conjugate(what->axes)));

            angles[used] = angle[turned];
            votes[used++] = sp_quat_multiply(sp_quat_conjugate(h), hg);
            add_to_axes(&sums, h, sp_quat_multiply(hg, sp_quat_conjugate(what->global)));
        }
    }
    if (used > 0) {
        what->global = sp_quat_mean(votes, NULL, used);
    }
    if (used > 0 && what->group->order > 1) {
        solve_axes(&sums, w);
        const sp_quat turn = sp_quat_from_axis_angle(w, sqrt(w[0] * w[0] + w[1] * w[1] + w[2] * w[2]));

        what->axes = sp_quat_normalize(sp_quat_multiply(turn, what->axes));
    }
    return used > 0 ? fmin(cut, fmax(SPREAD * sp_median(angles, used), LEAST_INLIER * DEGREE)) : cut;
}

sp_status sp_orientation_errors(ptrdiff_t count, const sp_quat *found, const sp_quat *known,
                                const sp_point_group *group, double *error, double *strict)
{
    sp_status status = SP_OK;
    fit what = {.count = count, .found = found, .known = known, .group = group, .axes = sp_quat_identity()};
    witness *witnesses = NULL;
    sp_quat *votes = NULL;
    double cut = INLIER * DEGREE;

    SP_REQUIRE(count >= SP_ORIENTATION_SCORE_LEAST, SP_ERR_USAGE,
               "%td images are too few to judge orientations; at least %d are needed", count,
               SP_ORIENTATION_SCORE_LEAST);
    SP_TRY(SP_ARRAY(witnesses, 2 * WITNESSES));
    SP_TRY(SP_ARRAY(votes, count));

    const int heard = hear_witnesses(&what, witnesses);

    what.global = witnesses[0].q;
    if (group->order > 1) {
        const int pool = thin_out(witnesses, heard);

        for (int j = 0; j < pool; j++) {
            witnesses[j].q = sp_quat_multiply(witnesses[j].q, sp_quat_conjugate(what.global));
        }
        SP_TRY(find_axes(&what, witnesses, pool));
    }
    for (int round = 0; round < ROUNDS; round++) {
        cut = improve(&what, cut, votes, error);
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        int element;
        const double as_is = nearest(&what, i, 0, &element);

        error[i] = fmin(as_is, nearest(&what, i, 1, &element));
        if (strict) {
            strict[i] = as_is;
        }
    }
done:
    sp_array_free(votes);
    sp_array_free(witnesses);
    return status;
}

sp_orientation_score sp_orientation_summary(ptrdiff_t count, double *error)
{
    sp_orientation_score score = {.median = sp_median(error, count), .p90 = sp_percentile(error, count, 0.9)};

    for (ptrdiff_t i = 0; i < count; i++) {
        score.within_5 += error[i] <= 5.0 * DEGREE;
        score.within_10 += error[i] <= 10.0 * DEGREE;
        score.within_20 += error[i] <= 20.0 * DEGREE;
    }
    score.within_5 /= (double)count;
    score.within_10 /= (double)count;
    score.within_20 /= (double)count;
    return score;
}

sp_status sp_orientation_chance(const sp_point_group *group, bool folded, double *median)
{
    enum { DRAWS = 20000 };
    sp_status status = SP_OK;
    sp_rng rng = sp_rng_stream(0, 0x6f726965, 0); /* "orie" */
    double *angle = NULL;

    SP_TRY(SP_ARRAY(angle, DRAWS));
    for (int i = 0; i < DRAWS; i++) {
        const sp_quat found = sp_quat_random(&rng), known = sp_quat_random(&rng);
        const fit what = {.count = 1,
                          .found = &found,
                          .known = &known,
                          .group = group,
                          .global = sp_quat_identity(),
                          .axes = sp_quat_identity()};
        int element;

        angle[i] = nearest(&what, 0, 0, &element);
        angle[i] = folded ? fmin(angle[i], nearest(&what, 0, 1, &element)) : angle[i];
    }
    *median = sp_median(angle, DRAWS);
done:
    sp_array_free(angle);
    return status;
}

/* The sum over pairs is that of the squares of the elements of sum u u^T. */
double sp_orientation_likeness(ptrdiff_t count, const sp_quat *q)
{
    static const double z[3] = {0.0, 0.0, 1.0};
    double moment[3][3] = {{0}}, sum = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        const sp_mat3 matrix = sp_quat_to_matrix(q[i]);
        double u[3];

        sp_mat3_apply_transpose(&matrix, z, u);
        for (int a = 0; a < 3; a++) {
            for (int b = 0; b < 3; b++) {
                moment[a][b] += u[a] * u[b] / (double)count;
            }
        }
    }
    for (int a = 0; a < 3; a++) {
        for (int b = 0; b < 3; b++) {
            sum += moment[a][b] * moment[a][b];
        }
    }
    return sum;
}
