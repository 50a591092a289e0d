/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/align.h"

#include <assert.h>
#include <complex.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "num/fft.h"
#include "num/rotation_grid.h"
#include "num/statistics.h"

enum {
    CANDIDATES = 24,   /* rotations that get to see phases */
    KEPT = 6,          /* poses of each hand that get refined; a third stays from band to band */
    COARSE_SHELLS = 7, /* shells of the coarse lattice */
};
static const double COARSE_BAND = 4.0;     /* [1/diameter] the coarse lattice ends at s = 4 / diameter */
static const double GRID_STEP = 0.2;       /* [rad] of the rotation grid; a speckle at s = 4 / diameter spans 0.25 */
static const double FINAL_START = 1e-2;    /* [rad] first step of the last refinement */
static const double FINAL_STEP = 5e-4;     /* [rad] where the refinement ends; parabolas look below it */
static const double COARSE_FINAL = 1.5e-2; /* [rad] where it ends in the coarse bands */

/* The reference's transform on the points step * (x, y, z), 0 < |(x, y, z)| <= radius, z >= 0. */
typedef struct lattice {
    double step; /* [1/m] */
    ptrdiff_t radius;
    float complex *value; /* [2 radius + 1][2 radius + 1][radius + 1] */
    float *gain;          /* likewise; what a point counts in the search of step 1 */
    double *weight;       /* [radius + 1] what a shell counts in the correlation */
    double norm;          /* root of reference power times moving power, weighted likewise */
} lattice;

/* A pose: moved(r) = moving(hand R^T (r - shift)) with both particles at the origin. */
typedef struct pose {
    sp_quat rotation;
    double shift[3];
    int hand;
    double score;
} pose;

/* ---- where the particle is ---- */

/* What a voxel counts: its height above mean + one deviation. */
static double height(float value, double base)
{
    return fmax((double)value - base, 0.0);
}

/* Distance of a voxel from `centre` (both from voxel n/2) in a periodic box. */
static ptrdiff_t periodic(ptrdiff_t index, ptrdiff_t centre, ptrdiff_t n)
{
    const ptrdiff_t d = ((index - centre) % n + n) % n; /* index - n/2 - centre, plus n/2 */

    return d - n / 2;
}

sp_status sp_align_particle(const sp_volume *map, ptrdiff_t centre[3], double *diameter)
{
    sp_status status = SP_OK;
    const ptrdiff_t n = map->n;
    double mean, deviation, weight = 0.0, square = 0.0;
    double complex phase[3] = {0.0, 0.0, 0.0};

    sp_moments(map->value, n * n * n, &mean, &deviation);
    SP_REQUIRE(isfinite(mean) && isfinite(deviation), SP_ERR_INPUT, "the map holds NaN or infinity");
    SP_REQUIRE(deviation > 1e-7 * fabs(mean), SP_ERR_INPUT, "the map is flat: every voxel is %g", mean);
    for (int pass = 0; pass < 2; pass++) {
        for (ptrdiff_t i = 0; i < n * n * n; i++) {
            const double w = height(map->value[i], mean + deviation);
            const ptrdiff_t index[3] = {i / (n * n), i / n % n, i % n};

            for (int axis = 0; axis < 3 && w > 0.0; axis++) {
                if (pass == 0) { /* the mean direction on a circle has no seam where the box ends */
                    phase[axis] += w * cexp(2.0 * M_PI * I * (double)(index[axis] - n / 2) / (double)n);
                } else {
                    const double d = (double)periodic(index[axis], centre[axis], n);

                    square += w * d * d;
                }
            }
            weight += pass ? w : 0.0;
        }
        for (int axis = 0; axis < 3 && pass == 0; axis++) {
            centre[axis] = (ptrdiff_t)lround(carg(phase[axis]) * (double)n / (2.0 * M_PI));
        }
    }
    *diameter = 3.0 * map->voxel * sqrt(weight > 0.0 ? square / weight : 1.0);
done:
    return status;
}

/* ---- lattice ---- */

static ptrdiff_t lattice_edge(const lattice *grid)
{
    return 2 * grid->radius + 1;
}

/* Points of row (x, y): z = 0 .. the returned value; -1 if the row lies outside the ball. */
static ptrdiff_t row_end(ptrdiff_t radius, ptrdiff_t x, ptrdiff_t y)
{
    const ptrdiff_t rest = radius * radius - x * x - y * y;

    return rest < 0 ? -1 : (ptrdiff_t)sqrt((double)rest);
}

static ptrdiff_t row_start(const lattice *grid, ptrdiff_t x, ptrdiff_t y)
{
    return ((x + grid->radius) * lattice_edge(grid) + y + grid->radius) * (grid->radius + 1);
}

static ptrdiff_t shell_of(ptrdiff_t x, ptrdiff_t y, ptrdiff_t z)
{
    return (ptrdiff_t)(sqrt((double)(x * x + y * y + z * z)) + 0.5);
}

static void lattice_clear(lattice *grid)
{
    sp_array_free(grid->value);
    sp_array_free(grid->gain);
    sp_array_free(grid->weight);
    *grid = (lattice){0};
}

/* F_mov(hand R^T s): a mirrored real map has the conjugate transform. */
static float complex turned_value(const sp_transform *moving, const sp_mat3 *turn, int hand, const double s[3])
{
    double turned[3];

    sp_mat3_apply_transpose(turn, s, turned);
    const float complex f = sp_transform_at(moving, turned);

    return hand > 0 ? f : conjf(f);
}

/* What a point counts in the correlation: itself and its mirror image; the mean density (s = 0) nothing. */
static double point_weight(const lattice *grid, ptrdiff_t x, ptrdiff_t y, ptrdiff_t z)
{
    const double copies = z > 0 ? 2.0 : (x || y ? 1.0 : 0.0);

    return copies * grid->weight[shell_of(x, y, z)];
}

/* Sets the norm for a moving map that is turned by `rotation`. While rotations are searched it stays the same: the
 * power in the band does not depend on the rotation, but its sum over lattice points does a little where noise fills
 * the box, and that would outweigh the last half degree. */
static void set_norm(lattice *grid, const sp_transform *moving, sp_quat rotation)
{
    const ptrdiff_t r = grid->radius;
    const sp_mat3 turn = sp_quat_to_matrix(rotation);
    double reference_power = 0.0, moving_power = 0.0;

    for (ptrdiff_t x = -r; x <= r; x++) {
        for (ptrdiff_t y = -r; y <= r; y++) {
            for (ptrdiff_t z = 0; z <= row_end(r, x, y); z++) {
                const double s[3] = {grid->step * (double)x, grid->step * (double)y, grid->step * (double)z};
                const float complex f = turned_value(moving, &turn, 1, s), g = grid->value[row_start(grid, x, y) + z];
                const double weight = point_weight(grid, x, y, z);

                reference_power += weight * (double)(crealf(g) * crealf(g) + cimagf(g) * cimagf(g));
                moving_power += weight * (double)(crealf(f) * crealf(f) + cimagf(f) * cimagf(f));
            }
        }
    }
    grid->norm = sqrt(reference_power) * sqrt(moving_power);
}

/* power[k] = mean |F|^2 of a transform over the shells of the lattice */
static void shell_power(const lattice *grid, const sp_transform *transform, double *power, ptrdiff_t *count)
{
    const ptrdiff_t r = grid->radius;

    memset(power, 0, (size_t)(r + 1) * sizeof *power);
    memset(count, 0, (size_t)(r + 1) * sizeof *count);
    for (ptrdiff_t x = -r; x <= r; x++) {
        for (ptrdiff_t y = -r; y <= r; y++) {
            for (ptrdiff_t z = 0; z <= row_end(r, x, y); z++) {
                const double s[3] = {grid->step * (double)x, grid->step * (double)y, grid->step * (double)z};
                const float complex f = sp_transform_at(transform, s);
                const ptrdiff_t shell = shell_of(x, y, z);

                if (shell <= r) {
                    power[shell] += (double)(crealf(f) * crealf(f) + cimagf(f) * cimagf(f));
                    count[shell]++;
                }
            }
        }
    }
    for (ptrdiff_t k = 0; k <= r; k++) {
        power[k] /= (double)(count[k] > 0 ? count[k] : 1);
    }
}

/* Weights of the coarse search. Shells count by their number of points only (both transforms whitened), else the few
 * strongest points near s = 0 would decide alone; the gain of a point is its contrast within the shell. */
static sp_status whiten(lattice *grid, const sp_transform *reference, const sp_transform *moving)
{
    sp_status status = SP_OK;
    const ptrdiff_t r = grid->radius;
    double *ref = NULL, *mov = NULL;
    ptrdiff_t *count = NULL;

    SP_TRY(SP_ARRAY(ref, r + 1));
    SP_TRY(SP_ARRAY(mov, r + 1));
    SP_TRY(SP_ARRAY(count, r + 1));
    SP_TRY(SP_ARRAY(grid->gain, lattice_edge(grid) * lattice_edge(grid) * (r + 1)));
    shell_power(grid, reference, ref, count);
    shell_power(grid, moving, mov, count);
    for (ptrdiff_t k = 0; k <= r; k++) {
        const double scale = sqrt(ref[k]) * sqrt(mov[k]);

        grid->weight[k] = scale > 0.0 ? 1.0 / scale : 0.0;
    }
    for (ptrdiff_t x = -r; x <= r; x++) {
        for (ptrdiff_t y = -r; y <= r; y++) {
            for (ptrdiff_t z = 0; z <= row_end(r, x, y); z++) {
                const ptrdiff_t at = row_start(grid, x, y) + z, k = shell_of(x, y, z);
                const double power = pow(cabs(grid->value[at]), 2.0), scale = ref[k] * mov[k];

                grid->gain[at] = (float)(scale > 0.0 ? (z > 0 ? 2.0 : 1.0) * (power - ref[k]) / scale : 0.0);
            }
        }
    }
    set_norm(grid, moving, sp_quat_identity());
done:
    sp_array_free(count);
    sp_array_free(mov);
    sp_array_free(ref);
    return status;
}

/* Lattice of the given step out to s_max, filled from the reference; all shells count alike. */
static sp_status lattice_init(lattice *grid, const sp_transform *reference, const sp_transform *moving, double step,
                              double s_max)
{
    sp_status status = SP_OK;
    const ptrdiff_t r = (ptrdiff_t)(s_max / step * (1.0 + 1e-9));

    *grid = (lattice){.step = step, .radius = r};
    SP_REQUIRE(r >= 2, SP_ERR_USAGE, "the band up to %.3g / A holds too few Fourier voxels to align maps",
               s_max * 1e-10);
    SP_TRY(SP_ARRAY(grid->value, lattice_edge(grid) * lattice_edge(grid) * (r + 1)));
    SP_TRY(SP_ARRAY(grid->weight, r + 1));
    for (ptrdiff_t k = 0; k <= r; k++) {
        grid->weight[k] = 1.0;
    }
    for (ptrdiff_t x = -r; x <= r; x++) {
        for (ptrdiff_t y = -r; y <= r; y++) {
            for (ptrdiff_t z = 0; z <= row_end(r, x, y); z++) {
                const double s[3] = {step * (double)x, step * (double)y, step * (double)z};

                grid->value[row_start(grid, x, y) + z] = sp_transform_at(reference, s);
            }
        }
    }
    set_norm(grid, moving, sp_quat_identity());
done:
    return status;
}

/* ---- scores ---- */

/* Correlation of intensities: sum gain |F_mov(R^T s)|^2. Shift and hand do not matter. */
static double intensity_score(const lattice *grid, const sp_transform *moving, sp_quat rotation)
{
    const ptrdiff_t r = grid->radius;
    const sp_mat3 turn = sp_quat_to_matrix(rotation);
    double sum = 0.0;

    for (ptrdiff_t x = -r; x <= r; x++) {
        for (ptrdiff_t y = -r; y <= r; y++) {
            const float *gain = grid->gain + row_start(grid, x, y);

            for (ptrdiff_t z = 0; z <= row_end(r, x, y); z++) {
                const double s[3] = {grid->step * (double)x, grid->step * (double)y, grid->step * (double)z};
                double turned[3];

                sp_mat3_apply_transpose(&turn, s, turned);
                const float complex f = sp_transform_at(moving, turned);

                sum += (double)(gain[z] * (crealf(f) * crealf(f) + cimagf(f) * cimagf(f)));
            }
        }
    }
    return sum;
}

/* The part of one plane in the cross term sum weight Re(F_ref conj(F_mov)). */
static double plane_cross(const lattice *grid, const sp_transform *moving, const pose *p, const sp_mat3 *turn,
                          ptrdiff_t x)
{
    const ptrdiff_t r = grid->radius;
    const double complex dz = cexp(2.0 * M_PI * I * grid->step * p->shift[2]);
    double sum = 0.0;

    for (ptrdiff_t y = -r; y <= r; y++) {
        const double turns = grid->step * ((double)x * p->shift[0] + (double)y * p->shift[1]);
        const float complex *value = grid->value + row_start(grid, x, y);
        double complex phase = cexp(2.0 * M_PI * I * turns); /* conj(exp(-2 pi i s.shift)), advanced along z */

        for (ptrdiff_t z = 0; z <= row_end(r, x, y); z++, phase *= dz) {
            const double s[3] = {grid->step * (double)x, grid->step * (double)y, grid->step * (double)z};
            const double complex f = value[z] * conjf(turned_value(moving, turn, p->hand, s));

            sum += point_weight(grid, x, y, z) * (creal(f) * creal(phase) - cimag(f) * cimag(phase));
        }
    }
    return sum;
}

/* Correlation of the maps in the band of the lattice. Planes are summed in order: the same on any number of
 * threads. Called from a parallel loop over poses it works on one thread. */
static double pose_score(const lattice *grid, const sp_transform *moving, const pose *p)
{
    enum { MAX_PLANES = 1025 };
    const ptrdiff_t planes = lattice_edge(grid);
    const sp_mat3 turn = sp_quat_to_matrix(p->rotation);
    double cross[MAX_PLANES], sum = 0.0;

    assert(planes <= MAX_PLANES);
#pragma omp parallel for schedule(dynamic, 1)
    for (ptrdiff_t x = 0; x < planes; x++) {
        cross[x] = plane_cross(grid, moving, p, &turn, x - grid->radius);
    }
    for (ptrdiff_t x = 0; x < planes; x++) {
        sum += cross[x];
    }
    return grid->norm > 0.0 ? sum / grid->norm : 0.0;
}

/* ---- step 1: rotations ---- */

static sp_quat rotated(sp_quat q, int axis, double angle)
{
    const double axes[3][3] = {{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}, {0.0, 0.0, 1.0}};

    return sp_quat_normalize(sp_quat_multiply(sp_quat_from_axis_angle(axes[axis], angle), q));
}

/* Climbs to the nearest maximum of the intensity score: steps along the three axes that halve when none helps. */
static void climb_intensity(const lattice *grid, const sp_transform *moving, sp_quat *rotation, double *score)
{
    for (double step = 0.5 * GRID_STEP; step > COARSE_FINAL; step *= 0.5) {
        for (int direction = 0; direction < 6; direction++) {
            const sp_quat trial = rotated(*rotation, direction / 2, direction % 2 ? -step : step);
            const double value = intensity_score(grid, moving, trial);

            if (value > *score) {
                *score = value;
                *rotation = trial;
            }
        }
    }
}

/* The best rotations of the grid that differ by more than a step and a half, each climbed to its maximum. */
static sp_status find_rotations(const lattice *grid, const sp_transform *moving, sp_quat best[CANDIDATES])
{
    sp_status status = SP_OK;
    sp_rotation_grid rotations = {0};
    double *score = NULL, top[CANDIDATES];

    SP_TRY(sp_rotation_grid_init(sp_rotation_grid_count_for_step(GRID_STEP), &rotations));
    SP_TRY(SP_ARRAY(score, rotations.count));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < rotations.count; i++) {
        score[i] = intensity_score(grid, moving, rotations.q[i]);
    }
    for (int c = 0; c < CANDIDATES; c++) {
        ptrdiff_t winner = 0;

        for (ptrdiff_t i = 1; i < rotations.count; i++) {
            winner = score[i] > score[winner] ? i : winner;
        }
        best[c] = rotations.q[winner];
        top[c] = score[winner];
        for (ptrdiff_t i = 0; i < rotations.count; i++) {
            if (sp_quat_angle(rotations.q[i], best[c]) < 1.5 * GRID_STEP) {
                score[i] = -HUGE_VAL;
            }
        }
    }
#pragma omp parallel for schedule(dynamic, 1)
    for (int c = 0; c < CANDIDATES; c++) {
        climb_intensity(grid, moving, &best[c], &top[c]);
    }
done:
    sp_array_free(score);
    sp_rotation_grid_clear(&rotations);
    return status;
}

/* ---- step 2: shifts ---- */

/* Shift at the peak of the cross correlation, on a grid of edge m that holds the lattice twice over.
 *   half [m][m][m/2+1], real [m][m][m]: work space */
static void find_shift(const lattice *grid, const sp_transform *moving, const sp_fft *plan, float complex *half,
                       float *real, pose *p)
{
    const ptrdiff_t r = grid->radius, m = sp_fft_edge(plan);
    const sp_mat3 turn = sp_quat_to_matrix(p->rotation);
    ptrdiff_t peak = 0;

    memset(half, 0, (size_t)sp_fft_complex_count(plan) * sizeof *half);
    for (ptrdiff_t x = -r; x <= r; x++) {
        for (ptrdiff_t y = -r; y <= r; y++) {
            const float complex *value = grid->value + row_start(grid, x, y);
            float complex *to = half + ((x + m) % m * m + (y + m) % m) * (m / 2 + 1);

            for (ptrdiff_t z = 0; z <= row_end(r, x, y); z++) {
                const double s[3] = {grid->step * (double)x, grid->step * (double)y, grid->step * (double)z};

                to[z] =
                    (float)grid->weight[shell_of(x, y, z)] * value[z] * conjf(turned_value(moving, &turn, p->hand, s));
            }
        }
    }
    half[0] = 0.0f; /* the mean density */
    sp_fft_backward(plan, half, real);
    for (ptrdiff_t i = 1; i < m * m * m; i++) {
        peak = real[i] > real[peak] ? i : peak;
    }
    const ptrdiff_t index[3] = {peak / (m * m), peak / m % m, peak % m};

    for (int axis = 0; axis < 3; axis++) {
        p->shift[axis] = (double)(index[axis] <= m / 2 ? index[axis] : index[axis] - m) / (grid->step * (double)m);
    }
    p->score = pose_score(grid, moving, p);
}

/* ---- step 3: refinement ---- */

/* The pose moved by `amount` along one of six coordinates: three rotations [rad], three shifts [amount * radius]. */
static pose moved(const pose *p, int coordinate, double amount, double radius)
{
    pose to = *p;

    if (coordinate < 3) {
        to.rotation = rotated(p->rotation, coordinate, amount);
    } else {
        to.shift[coordinate - 3] += amount * radius;
    }
    return to;
}

/* One coordinate: the top of the parabola through the scores at -step, 0, +step, or the best of the three. Returns how
 * far the pose moved. */
static double improve(const lattice *grid, const sp_transform *moving, pose *p, int coordinate, double step,
                      double radius)
{
    pose minus = moved(p, coordinate, -step, radius), plus = moved(p, coordinate, step, radius), top;

    minus.score = pose_score(grid, moving, &minus);
    plus.score = pose_score(grid, moving, &plus);

    const double curvature = minus.score - 2.0 * p->score + plus.score;
    const double offset = curvature < 0.0 ? 0.5 * (minus.score - plus.score) / curvature : 0.0;
    double gone = 0.0;

    if (plus.score > p->score || minus.score > p->score) {
        gone = plus.score > minus.score ? step : -step;
        *p = plus.score > minus.score ? plus : minus;
    } else if (fabs(offset) > 0.01) {
        top = moved(p, coordinate, offset * step, radius);
        top.score = pose_score(grid, moving, &top);
        if (top.score > p->score) {
            gone = offset * step;
            *p = top;
        }
    }
    return fabs(gone);
}

/* Climbs to the nearest maximum of the correlation. Steps halve once a sweep moves less than half a step. */
static void refine(const lattice *grid, const sp_transform *moving, double start, double end, double radius, pose *p)
{
    enum { MAX_SWEEPS = 4 };

    p->score = pose_score(grid, moving, p);
    for (double step = start; step > end; step *= 0.5) {
        for (int sweep = 0; sweep < MAX_SWEEPS; sweep++) {
            double gone = 0.0;

            for (int coordinate = 0; coordinate < 6; coordinate++) {
                gone = fmax(gone, improve(grid, moving, p, coordinate, step, radius));
            }
            if (gone < 0.5 * step) {
                break;
            }
        }
    }
}

static int by_score_downwards(const void *left, const void *right)
{
    const double a = ((const pose *)left)->score, b = ((const pose *)right)->score;

    return (a < b) - (a > b);
}

/* Both transforms and what is known of the particle. */
typedef struct problem {
    sp_transform *reference, *moving;
    double diameter; /* [m] */
    double box;      /* [m] edge of the reference's box */
    double s_max;    /* [1/m] */
} problem;

/* Steps 1 and 2: the CANDIDATES best rotations in both hands, shifted; sorted, pose[0 .. CANDIDATES-1] hand +1, then
 * -1. */
static sp_status search(const problem *what, pose poses[2][CANDIDATES])
{
    sp_status status = SP_OK;
    const double band = fmin(COARSE_BAND / what->diameter, what->s_max);
    lattice grid = {0};
    sp_fft *plan = NULL;
    float complex *half = NULL;
    float *real = NULL;
    sp_quat rotation[CANDIDATES];

    SP_TRY(lattice_init(&grid, what->reference, what->moving, band / COARSE_SHELLS, band));
    SP_TRY(whiten(&grid, what->reference, what->moving));
    SP_TRY(find_rotations(&grid, what->moving, rotation));
    SP_TRY(sp_fft_new(sp_fft_good_size(4 * grid.radius), &plan));
    SP_TRY(SP_ARRAY(half, sp_fft_complex_count(plan)));
    SP_TRY(SP_ARRAY(real, sp_fft_edge(plan) * sp_fft_edge(plan) * sp_fft_edge(plan)));
    for (int h = 0; h < 2; h++) {
        for (int c = 0; c < CANDIDATES; c++) {
            poses[h][c] = (pose){.rotation = rotation[c], .hand = h ? -1 : 1};
            find_shift(&grid, what->moving, plan, half, real, &poses[h][c]);
        }
#pragma omp parallel for schedule(dynamic, 1)
        for (int c = 0; c < CANDIDATES; c++) {
            refine(&grid, what->moving, 0.5 * GRID_STEP, COARSE_FINAL, 0.5 * what->diameter, &poses[h][c]);
        }
        qsort(poses[h], CANDIDATES, sizeof poses[h][0], by_score_downwards);
    }
done:
    sp_array_free(real);
    sp_array_free(half);
    sp_fft_free(plan);
    lattice_clear(&grid);
    return status;
}

/* Step 3: poses[hand][0] becomes the best of its hand. */
static sp_status climb_bands(const problem *what, pose poses[2][CANDIDATES])
{
    sp_status status = SP_OK;
    const double radius = 0.5 * what->diameter;
    double band = fmin(COARSE_BAND / what->diameter, what->s_max), start = 0.25 * GRID_STEP;
    lattice grid = {0};

    for (int kept = KEPT; band < what->s_max; kept = (kept + 2) / 3) {
        band = fmin(2.0 * band, what->s_max);
        lattice_clear(&grid);
        SP_TRY(lattice_init(&grid, what->reference, what->moving, fmax(1.0 / what->box, 0.5 / what->diameter), band));
#pragma omp parallel for schedule(dynamic, 1)
        for (int i = 0; i < 2 * kept; i++) {
            refine(&grid, what->moving, start, 0.2 * start, radius, &poses[i % 2][i / 2]);
        }
        for (int h = 0; h < 2; h++) {
            qsort(poses[h], (size_t)kept, sizeof poses[h][0], by_score_downwards);
        }
        start *= 0.5;
    }
done:
    lattice_clear(&grid);
    return status;
}

/* The end of step 3, on the Fourier voxels of the reference's box: the correlation as it is defined. */
static sp_status finish(const problem *what, pose poses[2][CANDIDATES])
{
    sp_status status = SP_OK;
    const double radius = 0.5 * what->diameter;
    lattice grid = {0};

    SP_TRY(lattice_init(&grid, what->reference, what->moving, 1.0 / what->box, what->s_max));
    for (int h = 0; h < 2; h++) {
        refine(&grid, what->moving, FINAL_START, FINAL_STEP, radius, &poses[h][0]);
        set_norm(&grid, what->moving, poses[h][0].rotation);
        poses[h][0].score = pose_score(&grid, what->moving, &poses[h][0]);
        set_norm(&grid, what->moving, sp_quat_identity());
    }
done:
    lattice_clear(&grid);
    return status;
}

double sp_align_band(const sp_volume *reference, const sp_volume *moving, double s_max)
{
    const double nyquist = 0.5 / fmax(reference->voxel, moving->voxel);

    return s_max > 0.0 ? fmin(s_max, nyquist) : nyquist;
}

/* Where the pose takes the centre of the moving particle: hand R c [m]. */
static void turned_centre(sp_quat rotation, int hand, const sp_volume *moving, const ptrdiff_t centre[3], double to[3])
{
    const sp_mat3 turn = sp_quat_to_matrix(rotation);
    const double scale = hand * moving->voxel;
    const double from[3] = {scale * (double)centre[0], scale * (double)centre[1], scale * (double)centre[2]};

    sp_mat3_apply(&turn, from, to);
}

/* Transform of a map around its particle. The map is scaled to a deviation of 1: its unit may be anything, and squares
 * of squares must fit in float. */
static sp_status prepare(const sp_volume *map, const ptrdiff_t centre[3], double s_max, int width,
                         sp_transform **transform)
{
    sp_status status = SP_OK;
    const ptrdiff_t count = map->n * map->n * map->n;
    double deviation;
    float *scaled = NULL;

    SP_TRY(SP_ARRAY(scaled, count));
    sp_moments(map->value, count, NULL, &deviation);
    for (ptrdiff_t i = 0; i < count; i++) {
        scaled[i] = (float)((double)map->value[i] / deviation);
    }
    SP_TRY(sp_transform_new(&(sp_volume){.n = map->n, .voxel = map->voxel, .value = scaled}, centre, s_max, width,
                            transform));
done:
    sp_array_free(scaled);
    return status;
}

/* Both transforms of the problem with stencils of this width, in place of those it has. */
static sp_status prepare_both(problem *what, const sp_volume *reference, const ptrdiff_t at_reference[3],
                              const sp_volume *moving, const ptrdiff_t at_moving[3], int width)
{
    sp_status status = SP_OK;

    sp_transform_free(what->reference);
    sp_transform_free(what->moving);
    what->reference = what->moving = NULL;
    SP_TRY(prepare(reference, at_reference, what->s_max, width, &what->reference));
    SP_TRY(prepare(moving, at_moving, what->s_max, width, &what->moving));
done:
    return status;
}

sp_status sp_align(const sp_volume *reference, const sp_volume *moving, double s_max, sp_alignment *alignment)
{
    sp_status status = SP_OK;
    problem what = {.s_max = sp_align_band(reference, moving, s_max), .box = reference->voxel * (double)reference->n};
    ptrdiff_t at_reference[3], at_moving[3];
    double other_diameter, turned[3];
    pose poses[2][CANDIDATES];

    SP_REQUIRE(reference->n >= 8 && moving->n >= 8, SP_ERR_USAGE, "maps of fewer than 8 voxels cannot be aligned");
    SP_TRY(sp_align_particle(reference, at_reference, &what.diameter));
    SP_TRY(sp_align_particle(moving, at_moving, &other_diameter));
    SP_TRY(prepare_both(&what, reference, at_reference, moving, at_moving, 4));
    SP_TRY(search(&what, poses));
    SP_TRY(climb_bands(&what, poses));
    /* the error of the narrow stencil depends on the rotation, which would cost some tenths of a degree */
    SP_TRY(prepare_both(&what, reference, at_reference, moving, at_moving, 6));
    SP_TRY(finish(&what, poses));

    const int better = poses[1][0].score > poses[0][0].score;
    const pose *best = &poses[better][0];

    turned_centre(best->rotation, best->hand, moving, at_moving, turned);
    *alignment = (sp_alignment){.rotation = best->rotation,
                                .hand = best->hand,
                                .correlation = best->score,
                                .other_hand_correlation = poses[!better][0].score};
    for (int axis = 0; axis < 3; axis++) { /* from centred particles to the maps' own coordinates */
        alignment->shift[axis] = best->shift[axis] - turned[axis] + reference->voxel * (double)at_reference[axis];
    }
done:
    sp_transform_free(what.moving);
    sp_transform_free(what.reference);
    return status;
}

/* ---- moving a map ---- */

/* Value of the moved map's transform at s: exp(-2 pi i s.shift) F(hand R^T s). */
static float complex moved_value(const sp_transform *map, const sp_mat3 *turn, int hand, const double shift[3],
                                 const double s[3])
{
    const double turns = s[0] * shift[0] + s[1] * shift[1] + s[2] * shift[2];
    const double complex phase = cexp(-2.0 * M_PI * I * turns);

    return (float complex)phase * turned_value(map, turn, hand, s);
}

sp_status sp_align_apply(const sp_volume *map, const sp_alignment *alignment, double s_max, ptrdiff_t n, double voxel,
                         float *aligned)
{
    sp_status status = SP_OK;
    const sp_alignment stay = {.rotation = sp_quat_identity(), .hand = 1};
    const sp_alignment *by = alignment ? alignment : &stay;
    const sp_mat3 turn = sp_quat_to_matrix(by->rotation);
    const double step = 1.0 / ((double)n * voxel), scale = pow(map->voxel * step, 3.0); /* density, not sum */
    ptrdiff_t centre[3] = {0, 0, 0};
    double shift[3], diameter;
    sp_transform *transform = NULL;
    sp_fft *plan = NULL;
    float complex *half = NULL;
    float *real = NULL;

    if (alignment) { /* turn about the particle: it may lie across the sides of its periodic box */
        SP_TRY(sp_align_particle(map, centre, &diameter));
    }
    turned_centre(by->rotation, by->hand, map, centre, shift);
    for (int axis = 0; axis < 3; axis++) {
        shift[axis] += by->shift[axis];
    }
    SP_TRY(sp_transform_new(map, centre, s_max, 6, &transform));
    SP_TRY(sp_fft_new(n, &plan));
    SP_TRY(SP_ARRAY(half, sp_fft_complex_count(plan)));
    SP_TRY(SP_ARRAY(real, n * n * n));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < n * n; i++) {
        const ptrdiff_t x = i / n <= n / 2 ? i / n : i / n - n, y = i % n <= n / 2 ? i % n : i % n - n;

        for (ptrdiff_t z = 0; z <= n / 2; z++) {
            const double s[3] = {step * (double)x, step * (double)y, step * (double)z};
            const bool nyquist = 2 * x == n || 2 * y == n || 2 * z == n; /* no partner at -n/2: left out */

            half[i * (n / 2 + 1) + z] =
                nyquist ? 0.0f : (float)scale * moved_value(transform, &turn, by->hand, shift, s);
        }
    }
    sp_fft_backward(plan, half, real);
    for (ptrdiff_t x = 0; x < n; x++) { /* FFT order to centred */
        for (ptrdiff_t y = 0; y < n; y++) {
            for (ptrdiff_t z = 0; z < n; z++) {
                aligned[(x * n + y) * n + z] =
                    real[((x + n - n / 2) % n * n + (y + n - n / 2) % n) * n + (z + n - n / 2) % n];
            }
        }
    }
done:
    sp_array_free(real);
    sp_array_free(half);
    sp_fft_free(plan);
    sp_transform_free(transform);
    return status;
}
