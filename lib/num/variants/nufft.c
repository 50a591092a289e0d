/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "num/nufft_kernels.h"
#include "num/variants/shuffle.h"
#include "num/window.h"

/* Sizes that depend on the kernel's width; all are constants once a function is inlined for one width.
 *   cells    of one axis in a row of coefficients
 *   depth    rows of the stencil in one vector
 *   spans    vectors that one row needs
 *   packs    vectors that hold the weights of all three axes: a, c, b, and zeros if there is room */
enum { MAX_SPANS = 8 / SP_LANES + 1, MAX_PACKS = 24 / SP_LANES + 1, MAX_BLOCKS = 6, MAX_PARTS = 12 / SP_LANES + 1 };

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
    int32_t sign[SP_LANES];   /* sign bit of those that stand at -u */
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
    *(sp_ints *)p->sign = sign;
    if (!replicated) {
        *(sp_ints *)p->shift = cell[1] & (depth - 1);
        cell[1] = cell[1] >> depth / 2; /* depth is 1, 2 or 4 */
    }
    *(sp_ints *)p->offset = (cell[0] * stencil->blocks + cell[1]) * stencil->columns + cell[2];
}

/* ---- weights of one point ---- */

INLINE void load_coefficients(const float (*table)[SP_NUFFT_PACKED], int width, sp_floats (*out)[MAX_PACKS])
{
    for (int d = 0; d <= sp_window_degree(width); d++) {
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

/* The weights: even and odd powers apart, since two short chains of dependent operations take less time than a long
 * one. */
INLINE void evaluate(sp_floats (*coefficient)[MAX_PACKS], const sp_floats *x, int width, sp_floats *weight)
{
    const int odd = (sp_window_degree(width) - 1) / 2 * 2 + 1, even = sp_window_degree(width) / 2 * 2;

    for (int v = 0; v < packs(width); v++) {
        const sp_floats square = x[v] * x[v];
        sp_floats low = coefficient[even][v], high = coefficient[odd][v];

        for (int d = even - 2; d >= 0; d -= 2) {
            low = low * square + coefficient[d][v];
        }
        for (int d = odd - 2; d >= 1; d -= 2) {
            high = high * square + coefficient[d][v];
        }
        weight[v] = high * x[v] + low;
    }
}

/* Horner's scheme for the weights and their derivatives with respect to x. */
INLINE void evaluate_slopes(sp_floats (*coefficient)[MAX_PACKS], const sp_floats *x, int width, sp_floats *weight,
                            sp_floats *slope)
{
    for (int v = 0; v < packs(width); v++) {
        sp_floats value = coefficient[sp_window_degree(width)][v], rise = {0.0f};

        for (int d = sp_window_degree(width) - 1; d >= 0; d--) {
            rise = rise * x[v] + value;
            value = value * x[v] + coefficient[d][v];
        }
        weight[v] = value;
        slope[v] = rise;
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

/* What stays the same for all points of a call. */
typedef struct reader {
    const sp_nufft_stencil *stencil;
    const float *grid;
    int width;
    bool replicated, slopes;
    sp_floats coefficient[SP_WINDOW_DEGREE + 1][MAX_PACKS];
    pattern lanes;
} reader;

/* Sums over a of grid * weight, for every row and cell of the stencil; with slopes also of grid * slope. */
INLINE void sum_planes(const reader *r, const float *cell, const sp_floats *weight, const sp_floats *slope,
                       sp_floats (*sum)[MAX_SPANS], sp_floats (*rise)[MAX_SPANS])
{
    const ptrdiff_t row = (ptrdiff_t)r->stencil->columns * depth_of(r->width), plane = r->stencil->blocks * row;
    const ptrdiff_t block = r->replicated ? depth_of(r->width) * row : row;

    for (int a = 0; a < r->width; a++) {
        const sp_floats w = pick(weight, r->width, 0, a);
        const sp_floats dw = r->slopes ? pick(slope, r->width, 0, a) : w;

        for (int i = 0; i < blocks_of(r->width, r->replicated); i++) {
            for (int v = 0; v < spans(r->width); v++) {
                const sp_floats grid = sp_load(cell + a * plane + i * block + v * SP_LANES);

                sum[i][v] = a == 0 ? w * grid : sum[i][v] + w * grid;
                if (r->slopes) {
                    rise[i][v] = a == 0 ? dw * grid : rise[i][v] + dw * grid;
                }
            }
        }
    }
}

/* Sums over the rows of the stencil: part[v] = sum_i weight of block i * sum[i][v] */
INLINE void sum_rows(const reader *r, const sp_floats *weight, int shift, sp_floats (*sum)[MAX_SPANS], sp_floats *part)
{
    for (int i = 0; i < blocks_of(r->width, r->replicated); i++) {
        const sp_floats w = across(weight, r->width, &r->lanes, shift, i);

        for (int v = 0; v < spans(r->width); v++) {
            part[v] = i == 0 ? w * sum[i][v] : part[v] + w * sum[i][v];
        }
    }
}

INLINE sp_floats sum_spans(const sp_floats *c, const sp_floats *part, int width)
{
    return spans(width) == 1 ? c[0] * part[0] : c[0] * part[0] + c[1] * part[1];
}

/* Lanes whose sum is the value at point i; then, with slopes, its derivatives with respect to x of axes a, b, c. */
INLINE void read_point(const reader *r, const places *p, int i, sp_floats (*out)[SP_LANES])
{
    const float *cell = r->grid + (ptrdiff_t)p->offset[i] * depth_of(r->width);
    const int shift = r->replicated ? 0 : p->shift[i];
    sp_floats x[MAX_PACKS], weight[MAX_PACKS], slope[MAX_PACKS];
    sp_floats sum[MAX_BLOCKS][MAX_SPANS], rise[MAX_BLOCKS][MAX_SPANS], part[MAX_SPANS], c[MAX_SPANS], dc[MAX_SPANS];

    pack_places(p, i, r->width, x);
    if (r->slopes) {
        evaluate_slopes((sp_floats(*)[MAX_PACKS])r->coefficient, x, r->width, weight, slope);
    } else {
        evaluate((sp_floats(*)[MAX_PACKS])r->coefficient, x, r->width, weight);
    }
    sum_planes(r, cell, weight, slope, sum, rise);
    sum_rows(r, weight, shift, sum, part);
    along(weight, r->width, &r->lanes, c);
    out[0][i] = sum_spans(c, part, r->width);
    if (!r->slopes) {
        return;
    }
    along(slope, r->width, &r->lanes, dc);
    out[3][i] = sum_spans(dc, part, r->width);
    sum_rows(r, slope, shift, sum, part);
    out[2][i] = sum_spans(c, part, r->width);
    sum_rows(r, weight, shift, rise, part);
    out[1][i] = sum_spans(c, part, r->width);
}

/* Derivatives with respect to x of axes a, b, c -> with respect to a turn of the molecule: g = gradient with respect to
 * s, turn = g x s (num/nufft.h). */
INLINE void store_turns(const float map[3][3], const float *const s[3], ptrdiff_t j, const places *p,
                        const sp_floats slope[3], float *const turn[3])
{
    const sp_floats s0 = sp_load(s[0] + j), s1 = sp_load(s[1] + j), s2 = sp_load(s[2] + j);
    sp_floats u[3], g[3];

    for (int i = 0; i < 3; i++) {
        u[i] = (sp_floats)((sp_ints)(2.0f * slope[i]) ^ *(const sp_ints *)p->sign); /* two x to a cell */
    }
    for (int i = 0; i < 3; i++) {
        g[i] = map[0][i] * u[0] + map[1][i] * u[1] + map[2][i] * u[2];
    }
    sp_store(turn[0] + j, g[1] * s2 - g[2] * s1);
    sp_store(turn[1] + j, g[2] * s0 - g[0] * s2);
    sp_store(turn[2] + j, g[0] * s1 - g[1] * s0);
}

INLINE void interpolate(const sp_nufft_stencil *stencil, const float *grid, const float map[3][3],
                        const float *const s[3], ptrdiff_t count, float *value, float *const turn[3], int width,
                        bool replicated, bool slopes)
{
    reader r = {.stencil = stencil, .grid = grid, .width = width, .replicated = replicated, .slopes = slopes};
    sp_floats sum[4][SP_LANES];
    places p __attribute__((aligned(64)));

    load_coefficients(stencil->weight, width, r.coefficient);
    make_pattern(width, replicated, &r.lanes);
    for (ptrdiff_t j = 0; j < count; j += SP_LANES) {
        locate(stencil, map, s, j, depth_of(width), replicated, &p);
        for (int i = 0; i < SP_LANES; i++) {
            read_point(&r, &p, i, sum);
        }
        sp_store(value + j, sp_reduce(sum[0]));
        if (slopes) {
            const sp_floats slope[3] = {sp_reduce(sum[1]), sp_reduce(sum[2]), sp_reduce(sum[3])};

            store_turns(map, s, j, &p, slope, turn);
        }
    }
}

/* ---- type 1 ---- */

/* Points whose places are kept at a time. They are spread with a step of STEP: neighbours in a pattern fall on the same
 * cells, and reading what was written just before waits for it. */
enum { BATCH = 256, STEP = 16 };

typedef struct batch {
    places p[BATCH / SP_LANES];
    float value[BATCH][2];
} batch;

/* Vectors of one row of the stencil on two interleaved grids, [cell][which]; the last one need not be full. */
INLINE int parts(int width)
{
    return (2 * width + SP_LANES - 1) / SP_LANES;
}

/* Lanes of the packed weights for part v of such a row. */
INLINE sp_floats twice(const sp_floats *weight, int width, int v)
{
#if SP_LANES > 4
    sp_ints index;

    for (int l = 0; l < SP_LANES; l++) {
        index[l] = (cells(width) % SP_LANES + (v * SP_LANES + l) / 2) % SP_LANES;
    }
    return sp_permute(weight[cells(width) / SP_LANES], index);
#else
    const sp_floats c = weight[spans(width) + v / 2];

    return v % 2 ? __builtin_shufflevector(c, c, 2, 2, 3, 3) : __builtin_shufflevector(c, c, 0, 0, 1, 1);
#endif
}

/* out[] += x y for part i of a row, without the lanes beyond its end. Never more than 32 bytes at a time: wider writes
 * that straddle cache lines, as most would, take twice as long. */
INLINE void add_part(float *out, sp_floats x, sp_floats y, int width, int i)
{
    const int left = 2 * width - i * SP_LANES; /* floats of the row from here on: 8, 12, 4 or at least SP_LANES */

    (void)left;
#if SP_LANES == 16
    *(sp_loose_half *)out += SP_HALF(x) * SP_HALF(y);
    if (left > 8) {
        *(sp_loose_quarter *)(out + 8) += SP_THIRD_PART(x) * SP_THIRD_PART(y);
    }
#elif SP_LANES == 8
    if (left < 8) {
        *(sp_loose_quarter *)out += SP_FIRST_PART(x) * SP_FIRST_PART(y);
    } else {
        sp_store(out, sp_load(out) + x * y);
    }
#else
    sp_store(out, sp_load(out) + x * y);
#endif
}

/* pair += a[] b[] c[] (first, second) over one stencil. Weights are spread from memory: that is one instruction. */
INLINE void add_stencil(const sp_floats *weight, float *cell, ptrdiff_t plane, ptrdiff_t row, const float *value,
                        int width)
{
    const sp_floats both = sp_spread_pair(value);
    sp_floats scaled[MAX_PARTS][6];
    float flat[MAX_PACKS * SP_LANES] __attribute__((aligned(64)));

    for (int v = 0; v < packs(width); v++) {
        sp_store(flat + v * SP_LANES, weight[v]);
    }
    for (int i = 0; i < parts(width); i++) {
        const sp_floats c = twice(weight, width, i) * both;

        for (int b = 0; b < width; b++) {
            scaled[i][b] = c * sp_spread(flat[2 * cells(width) + b]);
        }
    }
    for (int a = 0; a < width; a++, cell += plane) {
        const sp_floats w = sp_spread(flat[a]);

        __asm__(""
                : "+r"(cell)); /* else the compiler keeps an address for each row, far more than there are registers */
        for (int b = 0; b < width; b++) {
            for (int i = 0; i < parts(width); i++) {
                add_part(cell + b * row + i * SP_LANES, scaled[i][b], w, width, i);
            }
        }
    }
}

/* Places and values of up to BATCH points from j on; the rest of the last vector is filled up with k = 0. */
INLINE void fill_batch(const sp_nufft_stencil *stencil, const float map[3][3], const float *const s[3],
                       const float *first, const float *second, ptrdiff_t j, ptrdiff_t count, batch *out)
{
    float at[3][BATCH + SP_LANES];

    for (int i = 0; i < 3; i++) {
        memcpy(at[i], s[i] + j, (size_t)count * sizeof **s);
        memset(at[i] + count, 0, SP_LANES * sizeof **s);
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        out->value[i][0] = first[j + i];
        out->value[i][1] = second[j + i];
    }
    for (ptrdiff_t v = 0; v * SP_LANES < count; v++) {
        locate(stencil, map, (const float *const[3]){at[0], at[1], at[2]}, v * SP_LANES, 1, true, &out->p[v]);
    }
}

/* Asks for the cells of point i, which may lie beyond the second-level cache. */
INLINE void fetch_stencil(const batch *points, int i, const float *pair, ptrdiff_t plane, ptrdiff_t row, int width)
{
    const float *cell = pair + 2 * (ptrdiff_t)points->p[i / SP_LANES].offset[i % SP_LANES];

    for (int a = 0; a < width; a++) {
        for (int b = 0; b < width; b++) {
            __builtin_prefetch(cell + a * plane + b * row, 1);
            __builtin_prefetch(cell + a * plane + b * row + 2 * (ptrdiff_t)width, 1);
        }
    }
}

/* While one batch is spread, the first points of each round of the next one are asked for: most of its cells. */
INLINE void spread(const sp_nufft_stencil *stencil, const float map[3][3], const float *const s[3], ptrdiff_t count,
                   const float *first, const float *second, float *pair, int width)
{
    const ptrdiff_t row = 2 * (ptrdiff_t)stencil->columns, plane = stencil->blocks * row;
    sp_floats coefficient[SP_WINDOW_DEGREE + 1][MAX_PACKS], x[MAX_PACKS], weight[MAX_PACKS];
    batch points[2] __attribute__((aligned(64)));
    int sizes[2] = {count < BATCH ? (int)count : BATCH, 0};

    load_coefficients(stencil->weight, width, coefficient);
    fill_batch(stencil, map, s, first, second, 0, sizes[0], &points[0]);
    for (ptrdiff_t j = 0, now = 0; j < count; j += BATCH, now = !now) {
        const ptrdiff_t left = count - j - sizes[now];

        sizes[!now] = left < BATCH ? (int)left : BATCH;
        if (left > 0) {
            fill_batch(stencil, map, s, first, second, j + BATCH, sizes[!now], &points[!now]);
        }
        for (int round = 0; round < STEP; round++) {
            if (round * STEP < sizes[!now]) {
                fetch_stencil(&points[!now], round * STEP, pair, plane, row, width);
            }
            for (int i = round; i < sizes[now]; i += STEP) {
                const places *p = &points[now].p[i / SP_LANES];

                pack_places(p, i % SP_LANES, width, x);
                evaluate(coefficient, x, width, weight);
                add_stencil(weight, pair + 2 * (ptrdiff_t)p->offset[i % SP_LANES], plane, row, points[now].value[i],
                            width);
            }
        }
    }
}

static void spread_pair(const sp_nufft_stencil *stencil, const float map[3][3], const float *const s[3],
                        ptrdiff_t count, const float *first, const float *second, float *pair)
{
    if (stencil->width == 4) {
        spread(stencil, map, s, count, first, second, pair, 4);
    } else {
        spread(stencil, map, s, count, first, second, pair, 6);
    }
}

/* ---- the table ---- */

/* One body for each width, layout and purpose; count is a multiple of SP_LANES. */
#define BODY(width, replicated, slopes)                                                                                \
    static void interpolate_##width##_##replicated##_##slopes(const sp_nufft_stencil *stencil, const float *grid,      \
                                                              const float map[3][3], const float *const s[3],          \
                                                              ptrdiff_t count, float *value, float *const turn[3])     \
    {                                                                                                                  \
        interpolate(stencil, grid, map, s, count, value, turn, width, replicated, slopes);                             \
    }
BODY(4, 0, 0)
BODY(4, 0, 1)
BODY(4, 1, 0)
BODY(4, 1, 1)
BODY(6, 0, 0)
BODY(6, 0, 1)
BODY(6, 1, 0)
BODY(6, 1, 1)

static sp_nufft_interpolate_kernel *const bodies[2][2][2] = {
    {{interpolate_4_0_0, interpolate_4_0_1}, {interpolate_4_1_0, interpolate_4_1_1}},
    {{interpolate_6_0_0, interpolate_6_0_1}, {interpolate_6_1_0, interpolate_6_1_1}},
};

static void interpolate_all(const sp_nufft_stencil *stencil, const float *grid, const float map[3][3],
                            const float *const s[3], ptrdiff_t count, float *value, float *const turn[3])
{
    const ptrdiff_t whole = count / SP_LANES * SP_LANES, rest = count - whole;
    sp_nufft_interpolate_kernel *const body = bodies[stencil->width == 6][stencil->replicated][turn != NULL];
    float point[3][SP_LANES] = {{0.0f}}, result[4][SP_LANES];

    body(stencil, grid, map, s, whole, value, turn);
    if (rest == 0) {
        return;
    }
    for (int i = 0; i < 3; i++) { /* the points that do not fill a vector, filled up with k = 0 */
        memcpy(point[i], s[i] + whole, (size_t)rest * sizeof **s);
    }
    body(stencil, grid, map, (const float *const[3]){point[0], point[1], point[2]}, SP_LANES, result[0],
         (float *const[3]){result[1], result[2], result[3]});
    memcpy(value + whole, result[0], (size_t)rest * sizeof *value);
    for (int i = 0; turn && i < 3; i++) {
        memcpy(turn[i] + whole, result[1 + i], (size_t)rest * sizeof *value);
    }
}

extern const sp_nufft_kernels SP_VARIANT(sp_nufft_kernels);

#define STRING_(x) #x
#define STRING(x) STRING_(x)

const sp_nufft_kernels SP_VARIANT(sp_nufft_kernels) = {
    .name = STRING(SP_ISA),
    .depth = {SP_LANES > 4 ? SP_LANES / 4 : 1, SP_LANES > 8 ? SP_LANES / 8 : 1},
    .interpolate = interpolate_all,
    .spread_pair = spread_pair,
};
