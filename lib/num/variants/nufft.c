/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "num/nufft_kernels.h"
#include "num/variants/shuffle.h"

/* Sizes that depend on the kernel's width; all are constants once a function is inlined for one width.
 *   cells    of one axis in a row of coefficients
 *   depth    rows of the stencil in one vector
 *   spans    vectors that one row needs
 *   packs    vectors that hold the weights of all three axes: a, c, b, and zeros if there is room */
enum { MAX_SPANS = 8 / SP_LANES + 1, MAX_PACKS = 24 / SP_LANES + 1, MAX_BLOCKS = 6 };

#define INLINE static inline __attribute__((always_inline))

INLINE int cells(int width)
{
    return width == 4 ? 4 : 8;
}

INLINE int depth_of(int width)
{
    return SP_LANES > cells(width) ? SP_LANES / cells(width) : 1;
}

INLINE int spans(int width)
{
    return cells(width) > SP_LANES ? cells(width) / SP_LANES : 1;
}

INLINE int packs(int width)
{
    return (3 * cells(width) + SP_LANES - 1) / SP_LANES;
}

INLINE int degree_of(int width)
{
    return width == 4 ? 5 : 8;
}

/* Blocks that a stencil touches. */
INLINE int blocks_of(int width, bool replicated)
{
    return (width + (replicated ? 0 : depth_of(width) - 1) + depth_of(width) - 1) / depth_of(width);
}

/* ---- where SP_LANES points lie ---- */

typedef struct places {
    float x[3][SP_LANES];     /* axes a, b, c: -1 .. 1 across the cell */
    int32_t offset[SP_LANES]; /* of the stencil in the grid, in units of depth floats */
    int32_t shift[SP_LANES];  /* row of the first block where the stencil begins (interleaved) */
} places;

INLINE sp_ints floor_of(sp_floats u)
{
    const sp_ints whole = __builtin_convertvector(u, sp_ints);

    return whole + (__builtin_convertvector(whole, sp_floats) > u); /* a comparison that holds is -1 */
}

INLINE void locate(const sp_nufft_stencil *stencil, const float map[3][3], const float *const s[3], ptrdiff_t j,
                   int depth, bool replicated, places *p)
{
    const sp_floats s0 = sp_load(s[0] + j), s1 = sp_load(s[1] + j), s2 = sp_load(s[2] + j);
    sp_ints cell[3], sign = {0};

    for (int i = 0; i < 3; i++) {
        sp_floats u = map[i][0] * s0 + map[i][1] * s1 + map[i][2] * s2;

        sign = i == 0 ? (sp_ints)u & INT32_MIN : sign;
        u = (sp_floats)((sp_ints)u ^ sign);
        cell[i] = floor_of(u);
        sp_store(p->x[i], 2.0f * (u - __builtin_convertvector(cell[i], sp_floats)) - 1.0f);
        cell[i] += stencil->first[i];
    }
    if (!replicated) {
        *(sp_ints *)p->shift = cell[1] & (depth - 1);
        cell[1] = cell[1] >> depth / 2; /* depth is 1, 2 or 4 */
    }
    *(sp_ints *)p->offset = (cell[0] * stencil->blocks + cell[1]) * stencil->columns + cell[2];
}

/* ---- weights of one point ---- */

INLINE void load_coefficients(const float (*table)[SP_NUFFT_PACKED], int width, sp_floats (*out)[MAX_PACKS])
{
    for (int d = 0; d <= degree_of(width); d++) {
        for (int v = 0; v < packs(width); v++) {
            out[d][v] = sp_load(table[d] + v * SP_LANES);
        }
    }
}

/* The place of point i in its cell, each axis on its lanes of the packed weights. */
INLINE void pack_places(const places *p, int i, int width, sp_floats *x)
{
    const sp_floats a = sp_spread(p->x[0][i]), b = sp_spread(p->x[1][i]), c = sp_spread(p->x[2][i]);

#if SP_LANES == 16
    if (width == 4) {
        x[0] = __builtin_shufflevector(a, c, 0, 0, 0, 0, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0);
        x[0] = __builtin_shufflevector(x[0], b, 0, 1, 2, 3, 4, 5, 6, 7, 24, 25, 26, 27, 28, 29, 30, 31);
        return;
    }
#endif
#if SP_LANES > 4
    if (SP_LANES == 2 * cells(width)) {
        x[0] = SP_FIRST(a, c);
        x[1] = b;
        return;
    }
#endif
    for (int v = 0; v < spans(width); v++) {
        x[v] = a;
        x[spans(width) + v] = c;
        x[2 * spans(width) + v] = b;
    }
}

INLINE void evaluate(sp_floats (*coefficient)[MAX_PACKS], const sp_floats *x, int width, sp_floats *weight)
{
    for (int v = 0; v < packs(width); v++) {
        weight[v] = coefficient[degree_of(width)][v];
        for (int d = degree_of(width) - 1; d >= 0; d--) {
            weight[v] = weight[v] * x[v] + coefficient[d][v];
        }
    }
}

/* Weight of one cell, on all lanes; axis 0, 1, 2 = a, c, b. */
INLINE sp_floats pick(const sp_floats *weight, int width, int axis, int cell)
{
    const int flat = axis * cells(width) + cell;

    return sp_pick(weight[flat / SP_LANES], flat % SP_LANES);
}

/* Lanes of the packed weights that the lanes of a block of rows want. */
typedef struct pattern {
    sp_ints c;                                                   /* along the rows */
    sp_ints b[SP_LANES / 4][MAX_BLOCKS] __attribute__((unused)); /* across them, by shift and block */
} pattern;

INLINE void make_pattern(int width, bool replicated, pattern *p)
{
    const int depth = depth_of(width), first_c = cells(width) % SP_LANES, first_b = 2 * cells(width) % SP_LANES;

    for (int l = 0; l < SP_LANES; l++) {
        p->c[l] = first_c + l / depth;
        for (int shift = 0; shift < (replicated ? 1 : depth); shift++) {
            for (int r = 0; r < blocks_of(width, replicated); r++) {
                const int cell = r * depth + l % depth - shift;

                p->b[shift][r][l] = cell >= 0 && cell < width ? first_b + cell : SP_LANES - 1; /* that one is 0 */
            }
        }
    }
}

/* Weights along the rows of the stencil, laid out as a block. */
INLINE void along(const sp_floats *weight, int width, const pattern *p, sp_floats *c)
{
#if SP_LANES > 4
    if (depth_of(width) > 1) {
        c[0] = sp_permute(weight[cells(width) / SP_LANES], p->c);
        return;
    }
#endif
    (void)p;
    for (int v = 0; v < spans(width); v++) {
        c[v] = weight[spans(width) + v];
    }
}

/* Weights of the rows of block r. */
INLINE sp_floats across(const sp_floats *weight, int width, const pattern *p, int shift, int r)
{
#if SP_LANES > 4
    if (depth_of(width) > 1) {
        return sp_permute(weight[2 * cells(width) / SP_LANES], p->b[shift][r]);
    }
#endif
    (void)p, (void)shift;
    return pick(weight, width, 2, r);
}

/* ---- type 2 ---- */

/* Sums of grid * weight over a, for every row and cell of the stencil. */
INLINE void sum_planes(const sp_floats *weight, const float *cell, ptrdiff_t plane, ptrdiff_t block, int blocks,
                       int width, sp_floats (*sum)[MAX_SPANS])
{
    for (int a = 0; a < width; a++) {
        const sp_floats w = pick(weight, width, 0, a);

        for (int r = 0; r < blocks; r++) {
            for (int v = 0; v < spans(width); v++) {
                const sp_floats grid = sp_load(cell + a * plane + r * block + v * SP_LANES);

                sum[r][v] = a == 0 ? w * grid : sum[r][v] + w * grid;
            }
        }
    }
}

/* Lanes whose sum is the value at point i. */
INLINE sp_floats read_point(const sp_nufft_stencil *stencil, const float *grid, const places *p, int i,
                            sp_floats (*coefficient)[MAX_PACKS], const pattern *lanes, int width, bool replicated)
{
    const int depth = depth_of(width), blocks = blocks_of(width, replicated);
    const ptrdiff_t row = (ptrdiff_t)stencil->columns * depth;
    const int shift = replicated ? 0 : p->shift[i];
    sp_floats x[MAX_PACKS], weight[MAX_PACKS], c[MAX_SPANS], sum[MAX_BLOCKS][MAX_SPANS], total = {0.0f};

    pack_places(p, i, width, x);
    evaluate(coefficient, x, width, weight);
    sum_planes(weight, grid + (ptrdiff_t)p->offset[i] * depth, stencil->blocks * row, replicated ? depth * row : row,
               blocks, width, sum);
    along(weight, width, lanes, c);
    for (int v = 0; v < spans(width); v++) {
        sp_floats part = across(weight, width, lanes, shift, 0) * sum[0][v];

        for (int r = 1; r < blocks; r++) {
            part += across(weight, width, lanes, shift, r) * sum[r][v];
        }
        total += c[v] * part;
    }
    return total;
}

INLINE void interpolate(const sp_nufft_stencil *stencil, const float *grid, const float map[3][3],
                        const float *const s[3], ptrdiff_t count, float *value, int width, bool replicated)
{
    sp_floats coefficient[SP_NUFFT_DEGREE + 1][MAX_PACKS], sum[SP_LANES];
    places p __attribute__((aligned(64)));
    pattern lanes;

    load_coefficients(stencil->weight, width, coefficient);
    make_pattern(width, replicated, &lanes);
    for (ptrdiff_t j = 0; j < count; j += SP_LANES) {
        locate(stencil, map, s, j, depth_of(width), replicated, &p);
        for (int i = 0; i < SP_LANES; i++) {
            sum[i] = read_point(stencil, grid, &p, i, coefficient, &lanes, width, replicated);
        }
        sp_store(value + j, sp_reduce(sum));
    }
}

/* ---- the table ---- */

/* One body for each width and layout; count is a multiple of SP_LANES. */
static void interpolate_whole(const sp_nufft_stencil *stencil, const float *grid, const float map[3][3],
                              const float *const s[3], ptrdiff_t count, float *value)
{
    if (stencil->width == 4 && stencil->replicated) {
        interpolate(stencil, grid, map, s, count, value, 4, true);
    } else if (stencil->width == 4) {
        interpolate(stencil, grid, map, s, count, value, 4, false);
    } else if (stencil->replicated) {
        interpolate(stencil, grid, map, s, count, value, 6, true);
    } else {
        interpolate(stencil, grid, map, s, count, value, 6, false);
    }
}

static void interpolate_all(const sp_nufft_stencil *stencil, const float *grid, const float map[3][3],
                            const float *const s[3], ptrdiff_t count, float *value)
{
    const ptrdiff_t whole = count / SP_LANES * SP_LANES;
    float rest[3][SP_LANES] = {{0.0f}}, last[SP_LANES];

    interpolate_whole(stencil, grid, map, s, whole, value);
    if (whole < count) { /* the points that do not fill a vector, filled up with k = 0 */
        for (int i = 0; i < 3; i++) {
            memcpy(rest[i], s[i] + whole, (size_t)(count - whole) * sizeof **s);
        }
        interpolate_whole(stencil, grid, map, (const float *const[3]){rest[0], rest[1], rest[2]}, SP_LANES, last);
        memcpy(value + whole, last, (size_t)(count - whole) * sizeof *value);
    }
}

extern const sp_nufft_kernels SP_VARIANT(sp_nufft_kernels);

#define STRING_(x) #x
#define STRING(x) STRING_(x)

const sp_nufft_kernels SP_VARIANT(sp_nufft_kernels) = {
    .name = STRING(SP_ISA),
    .depth = {SP_LANES > 4 ? SP_LANES / 4 : 1, SP_LANES > 8 ? SP_LANES / 8 : 1},
    .interpolate = interpolate_all,
};
