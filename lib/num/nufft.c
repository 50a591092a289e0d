/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/nufft.h"

#include <complex.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "num/fft.h"
#include "num/nufft_kernels.h"
#include "num/nufft_layout.h"
#include "num/window.h"

enum {
    LANES = 8,         /* kernel weights of one axis, padded to a vector */
    PAGE = 4096,       /* [byte] */
    APART = 64,        /* [byte] the longest row takes 48 */
    MORE_ROWS = 7,     /* are enough for every size up to 320 that transforms are fast for, */
    MORE_COLUMNS = 12, /* with few exceptions, which are slower */
    ADDED = 4096,      /* floats of pairs added at a time: they stay in the first-level cache */
    PAD = 4,           /* [cell] beyond each end of an axis: half the widest stencil, and one for rounding */
};

SP_TABLES(sp_nufft_kernels)

struct sp_nufft {
    float weight[SP_WINDOW_DEGREE + 1][SP_NUFFT_PACKED] __attribute__((aligned(64)));
    ptrdiff_t n;         /* edge of the volume */
    ptrdiff_t nf;        /* edge of the fine grid, about sigma n */
    int depth;           /* of the layout of grids, num/nufft_kernels.h */
    ptrdiff_t size[3];   /* of the padded half-space grid */
    ptrdiff_t origin[3]; /* cell of k = 0 */
    const sp_nufft_kernels *kernels;
    sp_nufft_stencil stencil; /* of grids to interpolate from */
    sp_nufft_stencil pair;    /* of grids to spread onto: depth 1 */
    sp_fft *fft;
    float *factor;       /* [n/2+1] 1 / transform of the kernel, per axis */
    float *real;         /* [nf^3] work space */
    float complex *half; /* [nf][nf][nf/2+1] work space */
};

/* The window as the kernels want it, and 1 / its transform at r = 0..n/2. */
static void make_window(sp_nufft *self)
{
    const int width = self->stencil.width, cells = width == 4 ? 4 : 8;
    sp_window window;

    sp_window_design(width, (double)self->nf / (double)self->n, &window);
    for (int cell = 0; cell < width; cell++) {
        for (int d = 0; d <= window.degree; d++) {
            for (int axis = 0; axis < 3; axis++) {
                self->weight[d][axis * cells + cell] = (float)window.coefficient[cell][d];
            }
        }
    }
    for (ptrdiff_t r = 0; r <= self->n / 2; r++) {
        self->factor[r] = (float)(1.0 / sp_window_transform(&window, (double)r / (double)self->nf));
    }
}

/* Large enough for a padded row not to go around twice. */
static ptrdiff_t fine_size(ptrdiff_t n, double sigma)
{
    return sp_fft_good_size((ptrdiff_t)fmax(ceil(sigma * (double)n), 2.0 * PAD + LANES));
}

static ptrdiff_t cell_count(const sp_nufft *plan)
{
    return plan->size[0] * plan->size[1] * plan->size[2];
}

/* Least distance, modulo PAGE, between two rows of one stencil in a pair of grids [byte]. */
static ptrdiff_t least_distance(int width, ptrdiff_t rows, ptrdiff_t columns)
{
    const ptrdiff_t row = 2 * (ptrdiff_t)sizeof(float) * columns, plane = rows * row;
    ptrdiff_t least = PAGE;

    for (ptrdiff_t a = 0; a < width; a++) {
        for (ptrdiff_t b = 1 - width; b < width; b++) {
            const ptrdiff_t ahead = ((a * plane + b * row) % PAGE + PAGE) % PAGE;
            const ptrdiff_t distance = ahead < PAGE - ahead ? ahead : PAGE - ahead;

            if ((a != 0 || b != 0) && distance < least) {
                least = distance;
            }
        }
    }
    return least;
}

/* Adds a few rows and columns to a plane, such that the rows of a stencil lie apart modulo PAGE: the processor tells
 * writes and reads apart by that part of the address, and waits for the write where they seem to meet. */
static void keep_rows_apart(int width, ptrdiff_t *rows, ptrdiff_t *columns)
{
    for (ptrdiff_t more = 0; more <= MORE_COLUMNS; more += 4) {
        for (ptrdiff_t down = 0; down <= MORE_ROWS; down++) {
            if (least_distance(width, *rows + down, *columns + more) >= APART) {
                *rows += down;
                *columns += more;
                return;
            }
        }
    }
}

/* Sizes of the padded grid, and the layout that the kernels want it in. */
static void make_layout(sp_nufft *self, const sp_nufft_kernels *kernels, size_t most_replicated)
{
    sp_nufft_stencil *stencil = &self->stencil;
    const ptrdiff_t nf = self->nf;

    self->size[0] = nf / 2 + 1 + 2 * PAD;
    self->size[1] = nf + 1 + 2 * PAD;
    self->size[2] = (nf + 1 + 2 * PAD + LANES + 3) / 4 * 4; /* a vector may reach beyond its stencil */
    keep_rows_apart(stencil->width, &self->size[1], &self->size[2]);
    self->origin[0] = PAD;
    self->origin[1] = self->origin[2] = nf / 2 + PAD;
    self->kernels = kernels;
    self->depth = kernels->depth[stencil->width == 6];
    stencil->replicated = self->depth == 1 || 4 * (size_t)(self->depth * cell_count(self)) <= most_replicated;
    stencil->blocks = (int32_t)(stencil->replicated ? self->size[1] : self->size[1] / self->depth + 2);
    stencil->columns = (int32_t)self->size[2];
    for (int i = 0; i < 3; i++) {
        stencil->first[i] = (int32_t)self->origin[i] - (stencil->width / 2 - 1);
    }
    self->pair = *stencil;
    self->pair.blocks = (int32_t)self->size[1];
    self->pair.replicated = true;
}

sp_status sp_nufft_new_with(ptrdiff_t n, int width, double sigma, const sp_nufft_kernels *kernels,
                            size_t most_replicated, sp_nufft **plan)
{
    sp_status status = SP_OK;
    sp_nufft *self = NULL;

    SP_REQUIRE(n >= 4 && n <= 1024 && n % 2 == 0, SP_ERR_USAGE, "NUFFT edge %td is not an even number in 4..1024", n);
    SP_REQUIRE(width == 4 || width == 6, SP_ERR_USAGE, "NUFFT kernel width %d is not 4 or 6", width);
    SP_REQUIRE(sigma >= 1.25 && sigma <= 4.0, SP_ERR_USAGE, "NUFFT oversampling %g is not in 1.25..4", sigma);
    SP_TRY(SP_ARRAY(self, 1));
    self->n = n;
    self->nf = fine_size(n, sigma);
    self->stencil.width = width;
    self->stencil.degree = sp_window_degree(width);
    self->stencil.weight = self->weight;
    make_layout(self, kernels, most_replicated);
    SP_REQUIRE(cell_count(self) <= INT32_MAX, SP_ERR_USAGE, "NUFFT grid of edge %td has too many cells", self->nf);
    SP_TRY(sp_fft_new(self->nf, &self->fft));
    SP_TRY(SP_ARRAY(self->factor, n / 2 + 1));
    SP_TRY(SP_ARRAY(self->real, self->nf * self->nf * self->nf));
    SP_TRY(SP_ARRAY(self->half, sp_fft_complex_count(self->fft)));
    make_window(self);
    *plan = self;
    self = NULL;
done:
    sp_nufft_free(self);
    return status;
}

sp_status sp_nufft_new(ptrdiff_t n, int width, double sigma, sp_nufft **plan)
{
    return sp_nufft_new_with(n, width, sigma, sp_nufft_kernels_for(sp_isa_best()), SP_NUFFT_MOST_REPLICATED, plan);
}

void sp_nufft_free(sp_nufft *plan)
{
    if (!plan) {
        return;
    }
    sp_fft_free(plan->fft);
    sp_array_free(plan->factor);
    sp_array_free(plan->real);
    sp_array_free(plan->half);
    sp_array_free(plan);
}

ptrdiff_t sp_nufft_grid_count(const sp_nufft *plan)
{
    return plan->size[0] * plan->stencil.blocks * plan->size[2] * plan->depth;
}

ptrdiff_t sp_nufft_pair_count(const sp_nufft *plan)
{
    return 2 * cell_count(plan);
}

static double planned_cells(ptrdiff_t n, double sigma)
{
    const double nf = (double)fine_size(n, sigma);

    return (nf / 2.0 + 1.0 + 2.0 * PAD) * (nf + 1.0 + 2.0 * PAD + MORE_ROWS) *
           (nf + 4.0 + 2.0 * PAD + LANES + MORE_COLUMNS);
}

double sp_nufft_plan_bytes(ptrdiff_t n, double sigma)
{
    const double nf = (double)fine_size(n, sigma);

    return 4.0 * nf * nf * nf + 4.0 * nf * nf * (nf + 2.0);
}

double sp_nufft_grid_bytes(ptrdiff_t n, double sigma)
{
    return fmax(4.0 * 1.1 * planned_cells(n, sigma),
                (double)SP_NUFFT_MOST_REPLICATED); /* blocks of four rows may end empty */
}

double sp_nufft_pair_bytes(ptrdiff_t n, double sigma)
{
    return 8.0 * planned_cells(n, sigma);
}

/* The transform comes as [x][y][z >= 0]. The grid wants its halved axis slowest, so its axes (0, 1, 2) are
 * the axes (z, x, y) of the volume: cell (a, b, c) holds k = (x: b, y: c, z: a). */

/* What the half-complex array, with f(-k) = f(k), has for cell (a, b, c):
 *   a = 0 .. nf/2         frequency (b, c, a)
 *   a < 0 or a > nf/2     frequency (-b, -c, -a)                                                 b, c, -a modulo nf */

/* Real parts of the frequencies (x, y, 0 .. nf/2) with x = b, y = c modulo nf. */
static float *frequencies(const sp_nufft *plan, ptrdiff_t b, ptrdiff_t c)
{
    const ptrdiff_t nf = plan->nf, x = (b + 2 * nf) % nf, y = (c + 2 * nf) % nf;

    return (float *)(plan->half + (x * nf + y) * (nf / 2 + 1));
}

/* Cell (b, c) of every plane a, from the half-complex array.   cell  out  where the one with a = 0 belongs */
static void unfold_cell(const sp_nufft *plan, ptrdiff_t b, ptrdiff_t c, ptrdiff_t plane, float *cell)
{
    const ptrdiff_t *origin = plan->origin, nf = plan->nf;
    const float *up = frequencies(plan, b - origin[1], c - origin[2]);
    const float *down = frequencies(plan, origin[1] - b, origin[2] - c);

    for (ptrdiff_t a = -origin[0]; a < 0; a++) {
        cell[a * plane] = down[2 * -a];
    }
    for (ptrdiff_t a = 0; a <= nf / 2; a++) {
        cell[a * plane] = up[2 * a];
    }
    for (ptrdiff_t a = nf / 2 + 1; a < plan->size[0] - origin[0]; a++) {
        cell[a * plane] = down[2 * (nf - a)];
    }
}

/* grid = the padded half space, every cell of it defined. Rows beyond the last have weight 0 in any stencil; the last
 * one stands for them. */
static void unfold(const sp_nufft *plan, float *grid)
{
    const ptrdiff_t *size = plan->size, blocks = plan->stencil.blocks, depth = plan->depth;
    const ptrdiff_t step = plan->stencil.replicated ? 1 : depth, plane = blocks * size[2] * depth;

#pragma omp parallel for schedule(static)
    for (ptrdiff_t block = 0; block < blocks; block++) {
        float *row = grid + plan->origin[0] * plane + block * size[2] * depth;

        for (ptrdiff_t i = 0; i < size[2] * depth; i++) {
            const ptrdiff_t b = block * step + i % depth;

            unfold_cell(plan, b < size[1] ? b : size[1] - 1, i / depth, plane, row + i);
        }
    }
}

/* out = in * kernel factors for |x|, |y|, |z| <= most, 0 elsewhere; edges n and m. */
static void scale_cube(const sp_nufft *plan, const float *in, ptrdiff_t n, float *out, ptrdiff_t m, ptrdiff_t most)
{
    const float *factor = plan->factor;

#pragma omp parallel for schedule(static)
    for (ptrdiff_t i = 0; i < m; i++) {
        const ptrdiff_t x = i <= m / 2 ? i : i - m;
        float *plane = out + i * m * m;

        memset(plane, 0, (size_t)(m * m) * sizeof *out);
        for (ptrdiff_t y = -most; y <= most && labs(x) <= most; y++) {
            const float both = factor[labs(x)] * factor[labs(y)];
            const float *from = in + ((x + n) % n * n + (y + n) % n) * n;
            float *to = plane + (y + m) % m * m;

            for (ptrdiff_t z = 0; z <= most; z++) {
                to[z] = from[z] * both * factor[z];
            }
            for (ptrdiff_t z = 1; z <= most; z++) {
                to[m - z] = from[n - z] * both * factor[z];
            }
        }
    }
}

void sp_nufft_prepare(sp_nufft *plan, const float *volume, float *grid)
{
    scale_cube(plan, volume, plan->n, plan->real, plan->nf, plan->n / 2 - 1);
    sp_fft_forward_within(plan->fft, plan->real, plan->n / 2 - 1, plan->half);
    unfold(plan, grid);
}

sp_nufft_stencil sp_nufft_flat_stencil(const sp_nufft *plan)
{
    return plan->pair;
}

sp_nufft_layout sp_nufft_layout_of(const sp_nufft *plan)
{
    sp_nufft_layout layout = {
        .edge = plan->n, .fine = plan->nf, .factor = plan->factor, .stencil = sp_nufft_flat_stencil(plan)};

    memcpy(layout.size, plan->size, sizeof layout.size);
    memcpy(layout.origin, plan->origin, sizeof layout.origin);
    return layout;
}

void sp_nufft_map(const sp_nufft *plan, const sp_mat3 *rotation, double scale, float map[3][3])
{
    static const int volume_axis[3] = {2, 0, 1}; /* which axis of the volume each axis of the grid is */
    const double cells = scale * (double)plan->nf / (double)plan->n;

    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < 3; j++) { /* R^T */
            map[i][j] = (float)(cells * rotation->m[j][volume_axis[i]]);
        }
    }
}

void sp_nufft_interpolate(const sp_nufft *plan, const float *grid, const sp_mat3 *rotation, double scale,
                          const float *const s[3], ptrdiff_t count, float *value)
{
    float map[3][3];

    sp_nufft_map(plan, rotation, scale, map);
    plan->kernels->interpolate(&plan->stencil, grid, map, s, count, value, NULL);
}

void sp_nufft_interpolate_turns(const sp_nufft *plan, const float *grid, const sp_mat3 *rotation, double scale,
                                const float *const s[3], ptrdiff_t count, float *value, float *const turn[3])
{
    float map[3][3];

    sp_nufft_map(plan, rotation, scale, map);
    plan->kernels->interpolate(&plan->stencil, grid, map, s, count, value, turn);
}

void sp_nufft_spread_pair(const sp_nufft *plan, const sp_mat3 *rotation, double scale, const float *const s[3],
                          ptrdiff_t count, const float *first, const float *second, float *pair)
{
    float map[3][3];

    sp_nufft_map(plan, rotation, scale, map);
    plan->kernels->spread_pair(&plan->pair, map, s, count, first, second, pair);
}

void sp_nufft_add_pairs(const sp_nufft *plan, const float *const *pair, int pairs, float *sum)
{
    const ptrdiff_t count = sp_nufft_pair_count(plan);

#pragma omp parallel for schedule(static)
    for (ptrdiff_t first = 0; first < count; first += ADDED) {
        const ptrdiff_t end = first + ADDED < count ? first + ADDED : count;

        for (int k = 1; k < pairs; k += 2) {
            for (ptrdiff_t i = first; i < end; i++) {
                sum[i] += pair[k - 1][i] + pair[k][i];
            }
        }
        for (ptrdiff_t i = first; pairs % 2 == 1 && i < end; i++) {
            sum[i] += pair[pairs - 1][i];
        }
    }
}

/* Row b of every plane a, added to the frequencies (b, y, z) that its cells stand for. `sum` holds every second float.
 */
static void fold_up(const sp_nufft *plan, const float *sum, ptrdiff_t b)
{
    const ptrdiff_t *size = plan->size, *origin = plan->origin, nf = plan->nf, plane = 2 * size[1] * size[2];

    for (ptrdiff_t c = 0; c <= nf + 2 * PAD; c++) {
        const float *in = sum + origin[0] * plane + 2 * ((b + origin[1]) * size[2] + c); /* a = 0 */
        float *up = frequencies(plan, b, c - origin[2]);

        for (ptrdiff_t a = 0; a <= nf / 2; a++) {
            up[2 * a] += 0.5f * in[a * plane];
        }
    }
}

/* The same for the frequencies (-b, y, z). The transform adds the conjugates of 0 < z < nf/2 by itself. */
static void fold_down(const sp_nufft *plan, const float *sum, ptrdiff_t b)
{
    const ptrdiff_t *size = plan->size, *origin = plan->origin, nf = plan->nf, plane = 2 * size[1] * size[2];

    for (ptrdiff_t c = 0; c <= nf + 2 * PAD; c++) {
        const float *in = sum + origin[0] * plane + 2 * ((b + origin[1]) * size[2] + c);
        float *down = frequencies(plan, -b, origin[2] - c);

        for (ptrdiff_t a = -origin[0]; a <= 0; a++) {
            down[2 * -a] += 0.5f * in[a * plane];
        }
        for (ptrdiff_t a = nf / 2; a < size[0] - origin[0]; a++) {
            down[2 * (nf - a)] += 0.5f * in[a * plane];
        }
    }
}

/* Adds every cell of the padded half space to the frequency it stands for: the adjoint of the filling in prepare. What
 * lands in the half-complex array is half of an even function, so each cell counts for k and -k together:
 * c cos(k r) = c/2 (e^{ikr} + e^{-ikr}). */
static void fold(const sp_nufft *plan, const float *sum)
{
    const ptrdiff_t nf = plan->nf, most = nf / 2 + PAD, plane = nf * (nf / 2 + 1);

#pragma omp parallel for schedule(static)
    for (ptrdiff_t x = 0; x < nf; x++) {
        memset(plan->half + x * plane, 0, (size_t)plane * sizeof *plan->half);
        for (ptrdiff_t b = x - nf; b <= x; b += nf) { /* what padded rows hold counts for both ends of the axis */
            if (b >= -most && b <= most) {
                fold_up(plan, sum, b);
            }
            if (-b >= -most && -b <= most) {
                fold_down(plan, sum, -b);
            }
        }
    }
}

void sp_nufft_collect(sp_nufft *plan, const float *pair, int which, ptrdiff_t m, float *volume)
{
    fold(plan, pair + which);
    sp_fft_backward_within(plan->fft, plan->half, m / 2 - 1, plan->real);
    scale_cube(plan, plan->real, plan->nf, volume, m, m / 2 - 1);
}
