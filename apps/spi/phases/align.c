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
#include "num/nufft.h"
#include "num/rotation_grid.h"
#include "num/statistics.h"
#include "num/sums.h"

enum {
    CANDIDATES = 24,   /* rotations that get to see phases */
    KEPT = 6,          /* poses of each hand that get refined; a third stays from band to band */
    COARSE_SHELLS = 7, /* shells of the coarse lattice */
    COARSE_POINTS = (2 * COARSE_SHELLS + 1) * (2 * COARSE_SHELLS + 1) * (COARSE_SHELLS + 1),
    BAND_SHELLS = 24, /* at most, of the lattices on the way to the full band */
    MAX_SHELLS = 256, /* maps of 512 voxels */
    FREEDOMS = 6,     /* coordinates of a pose: turns about three axes, shifts along them */
    MAX_STEPS = 8     /* of a refinement */
};
static const double COARSE_BAND = 4.0;     /* [1/diameter] the coarse lattice ends at s = 4 / diameter */
static const double GRID_STEP = 0.2;       /* [rad] of the rotation grid; a speckle at s = 4 / diameter spans 0.25 */
static const double COARSE_FINAL = 1.5e-2; /* [rad] where the climb on intensities ends */
static const double CLOSE = 0.02;          /* [speckle] refinement ends with a step as small as this ... */
static const double CLOSE_ENOUGH = 1e-3;   /* ... and in the full band, as this */
static const double MOST_DAMPING = 1e4;    /* of a step: more, and it is none */
static const double BEHIND = 0.9;          /* a hand whose cross term is below this part of the other's is wrong */

/* The reference's transform on the points step * (x, y, z), 0 < |(x, y, z)| <= radius, z >= 0. */
typedef struct lattice {
    double step; /* [1/m] */
    ptrdiff_t radius;
    float complex *value; /* [2 radius + 1][2 radius + 1][radius + 1] */
    float complex *turn;  /* likewise [3]: how it changes as the reference turns about each axis [1/rad] */
    double *weight;       /* [radius + 1] what a shell counts in the correlation */
} lattice;

/* |F|^2 of the moving map as a function that is real and even, on the points of the coarse lattice. */
typedef struct intensities {
    sp_nufft *nufft;
    float *grid;
    double box;  /* [m] */
    float *s[3]; /* [points] [1/m] */
    float *gain; /* [points] what a point counts in the search of step 1 */
    ptrdiff_t points;
} intensities;

/* A pose: moved(r) = moving(hand R^T (r - shift)) with both particles at the origin. */
typedef struct pose {
    sp_quat rotation;
    double shift[3]; /* [m] */
    int hand;
    double score; /* cross term in the band that is looked at */
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
    sp_array_free(grid->turn);
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

/* d[i] = change of a transform at s, as its map turns about axis i: -(s x gradient)_i, for turning the map by a small t
 * turns the place that is read by -t. */
static void turn_slopes(const double s[3], const float complex gradient[3], float complex d[3])
{
    for (int i = 0; i < 3; i++) {
        const int j = (i + 1) % 3, k = (i + 2) % 3;

        d[i] = (float)s[k] * gradient[j] - (float)s[j] * gradient[k];
    }
}

/* Lattice of the given step out to s_max, filled from the reference; all shells count alike. */
static sp_status lattice_init(lattice *grid, const sp_transform *reference, double step, double s_max)
{
    sp_status status = SP_OK;
    const ptrdiff_t r = (ptrdiff_t)(s_max / step * (1.0 + 1e-9));

    *grid = (lattice){.step = step, .radius = r};
    assert(r <= MAX_SHELLS);
    SP_REQUIRE(r >= 2, SP_ERR_USAGE, "the band up to %.3g / A holds too few Fourier voxels to align maps",
               s_max * 1e-10);
    SP_TRY(SP_ARRAY(grid->value, lattice_edge(grid) * lattice_edge(grid) * (r + 1)));
    SP_TRY(SP_ARRAY(grid->turn, 3 * lattice_edge(grid) * lattice_edge(grid) * (r + 1)));
    SP_TRY(SP_ARRAY(grid->weight, r + 1));
    for (ptrdiff_t k = 0; k <= r; k++) {
        grid->weight[k] = 1.0;
    }
    for (ptrdiff_t x = -r; x <= r; x++) {
        for (ptrdiff_t y = -r; y <= r; y++) {
            for (ptrdiff_t z = 0; z <= row_end(r, x, y); z++) {
                const double s[3] = {step * (double)x, step * (double)y, step * (double)z};
                const ptrdiff_t at = row_start(grid, x, y) + z;
                float complex gradient[3];

                grid->value[at] = sp_transform_slope(reference, s, gradient);
                turn_slopes(s, gradient, grid->turn + 3 * at);
            }
        }
    }
done:
    return status;
}

/* ---- scores ---- */

/* Of a pose: the cross term C, and how it changes with the six coordinates: turns [rad], shifts [radius]. The second
 * derivatives take one derivative from each map, d_i d_j C = -sum weight Re(d_i F_ref conj(d_j G)): what noise adds to
 * the derivatives of one map has no partner in the other. Turning back one map is turning on the other, and so for
 * shifts; the turns of F_ref are about the moved particle. */
typedef struct pose_sums {
    double cross;                         /* sum weight Re(F_ref conj(G)), G the moved map's transform */
    double reference, moved;              /* sum weight |F_ref|^2, sum weight |G|^2 */
    double slope[FREEDOMS];               /* d_i C */
    double curvature[FREEDOMS][FREEDOMS]; /* -d_i d_j C, j <= i */
    double power[FREEDOMS];               /* sum weight |d_i G|^2 */
} pose_sums;

/* A transform at s and its derivatives. */
typedef struct slopes {
    float complex value, d[FREEDOMS];
} slopes;

/* Shifts by a radius of the particle turn phases. */
static inline void shift_slopes(const double s[3], double radius, slopes *to)
{
    for (int i = 0; i < 3; i++) {
        const float phase = (float)(-2.0 * M_PI * s[i] * radius);

        to->d[3 + i] = -phase * cimagf(to->value) + phase * crealf(to->value) * I;
    }
}

/* G but for the phase of the shift. */
static inline slopes moving_slopes(const sp_transform *moving, const sp_mat3 *turn, int hand, double radius,
                                   const double s[3])
{
    double turned[3];
    float complex own[3], gradient[3];
    slopes g;

    sp_mat3_apply_transpose(turn, s, turned);
    const float complex f = sp_transform_slope(moving, turned, own);

    g.value = hand > 0 ? f : conjf(f);
    for (int i = 0; i < 3; i++) {
        const double *row = turn->m[i];
        const float complex sum = (float)row[0] * own[0] + (float)row[1] * own[1] + (float)row[2] * own[2];

        gradient[i] = hand > 0 ? sum : conjf(sum);
    }
    turn_slopes(s, gradient, g.d);
    shift_slopes(s, radius, &g);
    return g;
}

/* F_ref with the moved particle at the origin: its phase, and the turns of that phase. */
static inline slopes reference_slopes(float complex value, const float complex turn[3], float complex phase,
                                      const double shift[3], double radius, const double s[3])
{
    slopes f = {.value = value * phase};

    for (int i = 0; i < 3; i++) {
        const int j = (i + 1) % 3, k = (i + 2) % 3;
        const float twist = (float)(-2.0 * M_PI * (s[j] * shift[k] - s[k] * shift[j]));

        f.d[i] = turn[i] * phase - twist * cimagf(f.value) + twist * crealf(f.value) * I;
    }
    shift_slopes(s, radius, &f);
    return f;
}

/* Re(a conj(b)) */
static inline double product(float complex a, float complex b)
{
    return (double)(crealf(a) * crealf(b) + cimagf(a) * cimagf(b));
}

static inline void add_point(pose_sums *sums, double weight, const slopes *reference, const slopes *moved)
{
    sums->cross += weight * product(reference->value, moved->value);
    sums->reference += weight * product(reference->value, reference->value);
    sums->moved += weight * product(moved->value, moved->value);
    for (int i = 0; i < FREEDOMS; i++) {
        sums->slope[i] += weight * product(reference->value, moved->d[i]);
        sums->power[i] += weight * product(moved->d[i], moved->d[i]);
        for (int j = 0; j <= i; j++) {
            sums->curvature[i][j] += weight * product(reference->d[i], moved->d[j]);
        }
    }
}

/* The part of one plane. */
static pose_sums plane_sums(const lattice *grid, const sp_transform *moving, const pose *p, const sp_mat3 *turn,
                            double radius, ptrdiff_t x)
{
    const ptrdiff_t r = grid->radius;
    const double complex dz = cexp(2.0 * M_PI * I * grid->step * p->shift[2]);
    pose_sums sums = {0};

    for (ptrdiff_t y = -r; y <= r; y++) {
        const double turns = grid->step * ((double)x * p->shift[0] + (double)y * p->shift[1]);
        const float complex *value = grid->value + row_start(grid, x, y);
        const float complex *own_turn = grid->turn + 3 * row_start(grid, x, y);
        double complex phase = cexp(2.0 * M_PI * I * turns); /* conj(exp(-2 pi i s.shift)), advanced along z */

        for (ptrdiff_t z = 0; z <= row_end(r, x, y); z++, phase *= dz) {
            const double s[3] = {grid->step * (double)x, grid->step * (double)y, grid->step * (double)z};
            const slopes g = moving_slopes(moving, turn, p->hand, radius, s);
            const slopes f = reference_slopes(value[z], own_turn + 3 * z, (float complex)phase, p->shift, radius, s);

            add_point(&sums, point_weight(grid, x, y, z), &f, &g);
        }
    }
    return sums;
}

static void add_sums(pose_sums *to, const pose_sums *part)
{
    to->cross += part->cross;
    to->reference += part->reference;
    to->moved += part->moved;
    for (int i = 0; i < FREEDOMS; i++) {
        to->slope[i] += part->slope[i];
        to->power[i] += part->power[i];
        for (int j = 0; j <= i; j++) {
            to->curvature[i][j] += part->curvature[i][j];
        }
    }
}

/* Planes are added in order: the same on any number of threads. Called from a parallel loop over poses it works on one
 * thread. */
static pose_sums sums_of(const lattice *grid, const sp_transform *moving, const pose *p, double radius)
{
    const ptrdiff_t planes = lattice_edge(grid);
    const sp_mat3 turn = sp_quat_to_matrix(p->rotation);
    pose_sums part[2 * MAX_SHELLS + 1], sums = {0};

#pragma omp parallel for schedule(dynamic, 1)
    for (ptrdiff_t x = 0; x < planes; x++) {
        part[x] = plane_sums(grid, moving, p, &turn, radius, x - grid->radius);
    }
    for (ptrdiff_t x = 0; x < planes; x++) {
        add_sums(&sums, &part[x]);
    }
    return sums;
}

/* ---- step 1: rotations ---- */

static void intensities_clear(intensities *all)
{
    sp_nufft_free(all->nufft);
    sp_array_free(all->grid);
    sp_array_free(all->gain);
    for (int axis = 0; axis < 3; axis++) {
        sp_array_free(all->s[axis]);
    }
    *all = (intensities){0};
}

/* The grid that |F_mov|^2 is read from, out to s_max: F_mov at the frequencies k / box. The box holds the
 * autocorrelation of the particle; that of noise all over a wide box wraps around. */
static sp_status prepare_intensities(intensities *all, const sp_transform *moving, double s_max)
{
    sp_status status = SP_OK;
    const ptrdiff_t n = sp_fft_good_size(2 * (ptrdiff_t)ceil(1.1 * s_max * all->box + 1.0)), row = n / 2 + 1;
    sp_fft *plan = NULL;
    float complex *half = NULL;
    float *volume = NULL;

    SP_TRY(sp_nufft_new(n, 4, 2.0, &all->nufft));
    SP_TRY(sp_fft_new(n, &plan));
    SP_TRY(SP_ARRAY(half, n * n * row));
    SP_TRY(SP_ARRAY(volume, n * n * n));
    SP_TRY(SP_ARRAY(all->grid, sp_nufft_grid_count(all->nufft)));
    for (ptrdiff_t i = 0; i < n * n * row; i++) {
        const ptrdiff_t x = i / row / n, y = i / row % n;
        const double s[3] = {(double)(x <= n / 2 ? x : x - n) / all->box, (double)(y <= n / 2 ? y : y - n) / all->box,
                             (double)(i % row) / all->box};
        const float complex f = sp_transform_at(moving, s);

        half[i] = product(f, f) / (double)(n * n * n);
    }
    sp_fft_backward(plan, half, volume);
    sp_nufft_prepare(all->nufft, volume, all->grid);
done:
    sp_array_free(volume);
    sp_array_free(half);
    sp_fft_free(plan);
    return status;
}

/* Points of the lattice and their gains: the contrast of the reference within the shell, both maps whitened by the
 * mean powers of their shells, ref and mov. */
static sp_status choose_points(intensities *all, const lattice *grid, const double *ref, const double *mov)
{
    sp_status status = SP_OK;
    const ptrdiff_t r = grid->radius;

    for (int axis = 0; axis < 3; axis++) {
        SP_TRY(SP_ARRAY(all->s[axis], COARSE_POINTS));
    }
    SP_TRY(SP_ARRAY(all->gain, COARSE_POINTS));
    for (ptrdiff_t x = -r; x <= r; x++) {
        for (ptrdiff_t y = -r; y <= r; y++) {
            for (ptrdiff_t z = 0; z <= row_end(r, x, y); z++) {
                const float complex f = grid->value[row_start(grid, x, y) + z];
                const ptrdiff_t k = shell_of(x, y, z), at = all->points++, place[3] = {x, y, z};
                const double scale = ref[k] * mov[k];

                all->gain[at] = (float)(scale > 0.0 ? (z > 0 ? 2.0 : 1.0) * (product(f, f) - ref[k]) / scale : 0.0);
                for (int axis = 0; axis < 3; axis++) {
                    all->s[axis][at] = (float)(grid->step * (double)place[axis]);
                }
            }
        }
    }
done:
    return status;
}

/* Weights of the coarse search. Shells count by their number of points only (both transforms whitened), else the few
 * strongest points near s = 0 would decide alone. */
static sp_status whiten(lattice *grid, const sp_transform *reference, const sp_transform *moving, intensities *all)
{
    sp_status status = SP_OK;
    double ref[COARSE_SHELLS + 1], mov[COARSE_SHELLS + 1];
    ptrdiff_t count[COARSE_SHELLS + 1];

    shell_power(grid, reference, ref, count);
    shell_power(grid, moving, mov, count);
    for (ptrdiff_t k = 0; k <= grid->radius; k++) {
        const double scale = sqrt(ref[k]) * sqrt(mov[k]);

        grid->weight[k] = scale > 0.0 ? 1.0 / scale : 0.0;
    }
    SP_TRY(choose_points(all, grid, ref, mov));
    SP_TRY(prepare_intensities(all, moving, grid->step * (double)grid->radius));
done:
    return status;
}

/* Correlation of intensities: sum gain |F_mov(R^T s)|^2. Shift and hand do not matter. */
static double intensity_score(const intensities *all, sp_quat rotation)
{
    const sp_mat3 turn = sp_quat_to_matrix(rotation);
    float value[COARSE_POINTS];

    sp_nufft_interpolate(all->nufft, all->grid, &turn, all->box, (const float *const *)all->s, all->points, value);
    return sp_dot(all->gain, value, all->points);
}

static sp_quat rotated(sp_quat q, int axis, double angle)
{
    const double axes[3][3] = {{1.0, 0.0, 0.0}, {0.0, 1.0, 0.0}, {0.0, 0.0, 1.0}};

    return sp_quat_normalize(sp_quat_multiply(sp_quat_from_axis_angle(axes[axis], angle), q));
}

/* Climbs to the nearest maximum of the intensity score: steps along the three axes that halve when none helps. */
static void climb_intensity(const intensities *all, sp_quat *rotation, double *score)
{
    for (double step = 0.5 * GRID_STEP; step > COARSE_FINAL; step *= 0.5) {
        for (int direction = 0; direction < 6; direction++) {
            const sp_quat trial = rotated(*rotation, direction / 2, direction % 2 ? -step : step);
            const double value = intensity_score(all, trial);

            if (value > *score) {
                *score = value;
                *rotation = trial;
            }
        }
    }
}

/* The best rotations of the grid that differ by more than a step and a half, each climbed to its maximum. */
static sp_status find_rotations(const intensities *all, sp_quat best[CANDIDATES])
{
    sp_status status = SP_OK;
    sp_rotation_grid rotations = {0};
    double *score = NULL, top[CANDIDATES];

    SP_TRY(sp_rotation_grid_init(sp_rotation_grid_count_for_step(GRID_STEP), &rotations));
    SP_TRY(SP_ARRAY(score, rotations.count));
#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < rotations.count; i++) {
        score[i] = intensity_score(all, rotations.q[i]);
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
        climb_intensity(all, &best[c], &top[c]);
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
}

/* ---- step 3: refinement ---- */

/* The pose moved along its six coordinates. */
static pose moved(const pose *p, const double change[FREEDOMS], double radius)
{
    const double angle = sqrt(change[0] * change[0] + change[1] * change[1] + change[2] * change[2]);
    pose to = *p;

    if (angle > 0.0) {
        to.rotation = sp_quat_normalize(sp_quat_multiply(sp_quat_from_axis_angle(change, angle), p->rotation));
    }
    for (int axis = 0; axis < 3; axis++) {
        to.shift[axis] += change[3 + axis] * radius;
    }
    return to;
}

/* x = a^-1 b for symmetric a (only a[i][j <= i] is read) by Cholesky's decomposition. Whether a is positive. */
static bool solve(const double a[FREEDOMS][FREEDOMS], const double b[FREEDOMS], double x[FREEDOMS])
{
    double l[FREEDOMS][FREEDOMS];

    for (int i = 0; i < FREEDOMS; i++) {
        for (int j = 0; j <= i; j++) {
            double sum = a[i][j];

            for (int k = 0; k < j; k++) {
                sum -= l[i][k] * l[j][k];
            }
            if (i == j && !(sum > 1e-12 * a[i][i])) {
                return false;
            }
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
    }
    for (int i = 0; i < FREEDOMS; i++) {
        x[i] = b[i];
        for (int k = 0; k < i; k++) {
            x[i] -= l[i][k] * x[k];
        }
        x[i] /= l[i][i];
    }
    for (int i = FREEDOMS - 1; i >= 0; i--) {
        for (int k = i + 1; k < FREEDOMS; k++) {
            x[i] -= l[k][i] * x[k];
        }
        x[i] /= l[i][i];
    }
    return true;
}

/* Newton's step to the maximum of the cross term. `damping` shortens it: it is the part of the curvature of
 * sum |F_ref - a G|^2 (a: the best scale; Gauss and Newton's, always positive) that is put on the diagonal. False where
 * what comes out curves upwards. */
static bool propose(const pose_sums *sums, double damping, double change[FREEDOMS])
{
    const double scale = fabs(sums->cross) / sums->moved;
    double a[FREEDOMS][FREEDOMS];

    for (int i = 0; i < FREEDOMS; i++) {
        for (int j = 0; j <= i; j++) {
            a[i][j] = sums->curvature[i][j] + (i == j ? damping * scale * sums->power[i] : 0.0);
        }
    }
    return solve(a, sums->slope, change);
}

static double largest(const double change[FREEDOMS])
{
    double most = 0.0;

    for (int i = 0; i < FREEDOMS; i++) {
        most = fmax(most, fabs(change[i]));
    }
    return most;
}

/* A turn [rad] or a shift [radius] that changes the phases at the end of the lattice by one. */
static double speckle(const lattice *grid, double radius)
{
    return 1.0 / (2.0 * radius * grid->step * (double)grid->radius);
}

/* Climbs to the nearest maximum of the cross term in the band of the lattice, until a step is below `end` speckles. The
 * power of the moved map counts as the same in every pose: it does not depend on the rotation, but its sum over lattice
 * points does a little where noise fills the box, and that would outweigh the last half degree. */
static pose_sums refine(const lattice *grid, const sp_transform *moving, double radius, int steps, double end, pose *p)
{
    pose_sums here = sums_of(grid, moving, p, radius);
    double damping = 1e-3, change[FREEDOMS];

    for (int step = 0; step < steps && damping < MOST_DAMPING;) {
        if (!propose(&here, damping, change)) {
            damping *= 10.0;
            continue;
        }
        pose next = moved(p, change, radius);
        const pose_sums there = sums_of(grid, moving, &next, radius);

        step++;
        damping *= there.cross > here.cross ? 0.1 : 10.0;
        if (there.cross > here.cross) {
            here = there;
            *p = next;
        }
        if (largest(change) < end * speckle(grid, radius)) {
            break;
        }
    }
    p->score = here.cross;
    return here;
}

static int by_score_downwards(const void *left, const void *right)
{
    const double a = ((const pose *)left)->score, b = ((const pose *)right)->score;

    return (a < b) - (a > b);
}

/* Sorts poses of one hand, best first; the score of one that lies within half a speckle of a better one is taken away,
 * and with it the chance of being refined any more. */
static void rank(const lattice *grid, double radius, pose *poses, int count)
{
    const double near = 0.5 * speckle(grid, radius);

    qsort(poses, (size_t)count, sizeof *poses, by_score_downwards);
    for (int i = 1; i < count; i++) {
        for (int j = 0; j < i; j++) {
            const double d[3] = {poses[i].shift[0] - poses[j].shift[0], poses[i].shift[1] - poses[j].shift[1],
                                 poses[i].shift[2] - poses[j].shift[2]};
            const double shift = sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2]);

            if (shift < near * radius && sp_quat_angle(poses[i].rotation, poses[j].rotation) < near) {
                poses[i].score = -HUGE_VAL;
            }
        }
    }
    qsort(poses, (size_t)count, sizeof *poses, by_score_downwards);
}

/* Both transforms and what is known of the particle. */
typedef struct problem {
    sp_transform *reference, *moving;
    double diameter;        /* [m] */
    double box, moving_box; /* [m] edges of the boxes */
    double s_max;           /* [1/m] */
} problem;

/* Steps 1 and 2: the CANDIDATES best rotations in both hands, shifted; sorted, pose[0 .. CANDIDATES-1] hand +1, then
 * -1. */
static sp_status search(const problem *what, pose poses[2][CANDIDATES])
{
    sp_status status = SP_OK;
    const double band = fmin(COARSE_BAND / what->diameter, what->s_max);
    lattice grid = {0};
    intensities all = {.box = fmin(2.0 * what->moving_box, 4.0 * what->diameter)};
    sp_fft *plan = NULL;
    float complex *half = NULL;
    float *real = NULL;
    sp_quat rotation[CANDIDATES];

    SP_TRY(lattice_init(&grid, what->reference, band / COARSE_SHELLS, band));
    SP_TRY(whiten(&grid, what->reference, what->moving, &all));
    SP_TRY(find_rotations(&all, rotation));
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
            refine(&grid, what->moving, 0.5 * what->diameter, MAX_STEPS, CLOSE, &poses[h][c]);
        }
        rank(&grid, 0.5 * what->diameter, poses[h], CANDIDATES);
    }
done:
    sp_array_free(real);
    sp_array_free(half);
    sp_fft_free(plan);
    intensities_clear(&all);
    lattice_clear(&grid);
    return status;
}

/* Step 3: poses[hand][0] becomes the best of its hand. */
static sp_status climb_bands(const problem *what, pose poses[2][CANDIDATES])
{
    sp_status status = SP_OK;
    const double radius = 0.5 * what->diameter;
    double band = fmin(COARSE_BAND / what->diameter, what->s_max);
    lattice grid = {0};

    for (int kept = KEPT; band < what->s_max; kept = (kept + 2) / 3) {
        band = fmin(2.0 * band, what->s_max);
        const double step = fmax(fmax(1.0 / what->box, 0.5 / what->diameter), band / BAND_SHELLS);

        lattice_clear(&grid);
        SP_TRY(lattice_init(&grid, what->reference, step, band));
#pragma omp parallel for schedule(dynamic, 1)
        for (int i = 0; i < 2 * kept; i++) {
            if (poses[i % 2][i / 2].score > -HUGE_VAL) {
                refine(&grid, what->moving, radius, MAX_STEPS, CLOSE, &poses[i % 2][i / 2]);
            }
        }
        for (int h = 0; h < 2; h++) {
            rank(&grid, radius, poses[h], kept);
        }
    }
done:
    lattice_clear(&grid);
    return status;
}

/* The end of step 3, on the Fourier voxels of the reference's box: the correlation as it is defined. */
static sp_status finish(const problem *what, pose poses[2][CANDIDATES])
{
    sp_status status = SP_OK;
    const double radius = 0.5 * what->diameter, cross[2] = {poses[0][0].score, poses[1][0].score};
    lattice grid = {0};

    SP_TRY(lattice_init(&grid, what->reference, 1.0 / what->box, what->s_max));
    for (int h = 0; h < 2; h++) {
        const bool behind = cross[h] < BEHIND * cross[1 - h];
        const pose_sums sums = refine(&grid, what->moving, radius, behind ? 0 : MAX_STEPS, CLOSE_ENOUGH, &poses[h][0]);
        const double norm = sqrt(sums.reference) * sqrt(sums.moved);

        poses[h][0].score = norm > 0.0 ? sums.cross / norm : 0.0;
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
static sp_status prepare(const sp_volume *map, const ptrdiff_t centre[3], double s_max, sp_transform **transform)
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
    SP_TRY(sp_transform_new(&(sp_volume){.n = map->n, .voxel = map->voxel, .value = scaled}, centre, s_max, transform));
done:
    sp_array_free(scaled);
    return status;
}

sp_status sp_align(const sp_volume *reference, const sp_volume *moving, double s_max, sp_alignment *alignment)
{
    sp_status status = SP_OK;
    problem what = {.s_max = sp_align_band(reference, moving, s_max),
                    .box = reference->voxel * (double)reference->n,
                    .moving_box = moving->voxel * (double)moving->n};
    ptrdiff_t at_reference[3], at_moving[3];
    double other_diameter, turned[3];
    pose poses[2][CANDIDATES];

    SP_REQUIRE(reference->n >= 8 && moving->n >= 8, SP_ERR_USAGE, "maps of fewer than 8 voxels cannot be aligned");
    SP_TRY(sp_align_particle(reference, at_reference, &what.diameter));
    SP_TRY(sp_align_particle(moving, at_moving, &other_diameter));
    SP_TRY(prepare(reference, at_reference, what.s_max, &what.reference));
    SP_TRY(prepare(moving, at_moving, what.s_max, &what.moving));
    SP_TRY(search(&what, poses));
    SP_TRY(climb_bands(&what, poses));
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
    SP_TRY(sp_transform_new(map, centre, s_max, &transform));
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
