/* SPDX-License-Identifier: BSD-3-Clause */
/* num/variants/fft.c -- the parts of 3-D transforms of real volumes: rows along z and columns along y, plane by plane;
 * columns along x. */
#include <float.h>
#include <math.h>

#include "num/variants/fft_passes.h"

extern const sp_fft_kernels SP_VARIANT(sp_fft_kernels);

static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

/* ---- rows along z: the columns of the 1-D transform are rows here, so they are transposed on their way ---- */

/* L rows of a plane. */
typedef struct rows_in {
    const float *row[L];
} rows_in;

typedef struct rows_out {
    float *row[L];
} rows_out;

/* to[j step + i] = row[i][first + j], j < count: elements of row i become lane i of vectors. */
static void gather_rows(const rows_in *rows, ptrdiff_t first, ptrdiff_t count, ptrdiff_t step, float *to)
{
    for (ptrdiff_t j = 0; count < L && j < count; j++) {
        for (int i = 0; i < L; i++) {
            to[j * step + i] = rows->row[i][first + j];
        }
    }
    for (ptrdiff_t j = 0; count >= L && j < count; j += L) {
        const ptrdiff_t at = smaller(j, count - L); /* the last block may overlap the one before */
        sp_floats x[L];

#pragma GCC unroll 16
        for (int i = 0; i < L; i++) {
            x[i] = sp_load(rows->row[i] + first + at);
        }
        sp_transpose(x);
#pragma GCC unroll 16
        for (int i = 0; i < L; i++) {
            *(sp_floats *)(to + (at + i) * step) = x[i];
        }
    }
}

/* row[i][first + j] = from[j step + i] */
static void scatter_rows(const float *from, ptrdiff_t count, ptrdiff_t step, const rows_out *rows, ptrdiff_t first)
{
    for (ptrdiff_t j = 0; count < L && j < count; j++) {
        for (int i = 0; i < L; i++) {
            rows->row[i][first + j] = from[j * step + i];
        }
    }
    for (ptrdiff_t j = 0; count >= L && j < count; j += L) {
        const ptrdiff_t at = smaller(j, count - L);
        sp_floats x[L];

#pragma GCC unroll 16
        for (int i = 0; i < L; i++) {
            x[i] = *(const sp_floats *)(from + (at + i) * step);
        }
        sp_transpose(x);
#pragma GCC unroll 16
        for (int i = 0; i < L; i++) {
            sp_store(rows->row[i] + first + at, x[i]);
        }
    }
}

/* From the transform Z of x_2j + i x_2j+1 (n/2 points) to that of x (n/2 + 1 points), in place. With E and O the
 * transforms of the even and the odd points, Z = E + i O, both being Hermitian, and
 *   X_k = E_k + w^k O_k,    X_(n/2-k) = conj(E_k - w^k O_k),    w = exp(-2 pi i / n) */
static void unfold(const struct sp_fft *plan, float *z)
{
    const ptrdiff_t h = plan->n / 2;
    const sp_floats half = sp_spread(0.5f), none = {0.0f};
    const complexes first = get(z, SPLIT);

    put(z, (complexes){first.re + first.im, none}, SPLIT);
    put(z + h * 2 * L, (complexes){first.re - first.im, none}, SPLIT);
    for (ptrdiff_t k = 1; k <= h / 2; k++) {
        const complexes a = get(z + k * 2 * L, SPLIT), b = conjugate(get(z + (h - k) * 2 * L, SPLIT));
        const complexes sum = add(a, b), difference = subtract(a, b);
        const complexes even = {half * sum.re, half * sum.im};
        const complexes odd = times((complexes){half * difference.im, -half * difference.re}, plan->turn + 2 * k);

        put(z + k * 2 * L, add(even, odd), SPLIT);
        put(z + (h - k) * 2 * L, conjugate(subtract(even, odd)), SPLIT);
    }
}

/* The way back, unscaled: Z_k = S + T, Z_(n/2-k) = conj(S - T) with S = X_k + conj(X_(n/2-k)) and
 * T = i w^-k (X_k - conj(X_(n/2-k))). The imaginary parts of X_0 and X_(n/2) are taken as 0. */
static void fold(const struct sp_fft *plan, float *z)
{
    const ptrdiff_t h = plan->n / 2;
    const complexes first = get(z, SPLIT), end = get(z + h * 2 * L, SPLIT);

    put(z, (complexes){first.re + end.re, first.re - end.re}, SPLIT);
    for (ptrdiff_t k = 1; k <= h / 2; k++) {
        const complexes a = get(z + k * 2 * L, SPLIT), b = conjugate(get(z + (h - k) * 2 * L, SPLIT));
        const float w[2] = {plan->turn[2 * k + 1], plan->turn[2 * k]}; /* i w^-k = i conj(w^k) */
        const complexes s = add(a, b), t = times(subtract(a, b), w);

        put(z + k * 2 * L, add(s, t), SPLIT);
        put(z + (h - k) * 2 * L, conjugate(subtract(s, t)), SPLIT);
    }
}

/* The other half of a Hermitian row of odd length. */
static void mirror(ptrdiff_t n, float *z)
{
    memset(z + L, 0, L * sizeof *z);
    for (ptrdiff_t k = 1; k <= n / 2; k++) {
        put(z + (n - k) * 2 * L, conjugate(get(z + k * 2 * L, SPLIT)), SPLIT);
    }
}

static void rows_forward(const struct sp_fft *plan, bool padded, const rows_in *in, const rows_out *out, buffers *work)
{
    const ptrdiff_t n = plan->n, count = padded ? n / 4 : n;
    const elements all = {.data = work->c, .step = 2 * L};

    if (n % 2) {
        memset(work->c, 0, (size_t)n * 2 * L * sizeof *work->c);
        gather_rows(in, 0, n, 2 * L, work->c);
        run_line(&plan->forward.column, all, all, work);
    } else {
        gather_rows(in, 0, count, L, work->c);
        if (padded) {
            memset(work->c + count * L, 0, (size_t)(n / 2) * L * sizeof *work->c);
            gather_rows(in, count, count, L, work->c + (n - count) * L);
        }
        run_line(&plan->forward.row, all, all, work);
        unfold(plan, work->c);
    }
    scatter_rows(work->c, 2 * (n / 2 + 1), L, out, 0);
}

static void rows_backward(const struct sp_fft *plan, bool padded, const rows_in *in, const rows_out *out, buffers *work)
{
    const ptrdiff_t n = plan->n, count = padded ? n / 4 : n;
    const elements all = {.data = work->c, .step = 2 * L};

    gather_rows(in, 0, 2 * (n / 2 + 1), L, work->c);
    if (n % 2) {
        mirror(n, work->c);
        run_line(&plan->backward.column, all, all, work);
        scatter_rows(work->c, n, 2 * L, out, 0);
        return;
    }
    fold(plan, work->c);
    run_line(&plan->backward.row, all, all, work);
    scatter_rows(work->c, count, L, out, 0);
    if (padded) {
        scatter_rows(work->c + (n - count) * L, count, L, out, count);
    }
}

/* ---- what happens to the spectrum of columns ---- */

/* Numbers of neighbouring columns in the order that the lanes of INTERLEAVED elements have; 0 beyond `count`. */
static sp_floats load_columns(const float *p, ptrdiff_t count)
{
    sp_floats x = {0.0f};

    if (count >= L) {
        x = sp_load(p);
    } else {
        memcpy(&x, p, (size_t)count * sizeof *p);
    }
#if SP_LANES == 4
    return x;
#elif SP_LANES == 8
    return __builtin_shufflevector(x, x, 0, 1, 4, 5, 2, 3, 6, 7);
#else
    return __builtin_shufflevector(x, x, 0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15);
#endif
}

/* a where the mask is set, else b */
static inline sp_floats pick(sp_ints mask, sp_floats a, sp_floats b)
{
    return (sp_floats)((mask & (sp_ints)a) | (~mask & (sp_ints)b));
}

/* 1 / sqrt(x) for normal numbers x > 0, to two units of the last place. */
static inline sp_floats inverse_root(sp_floats x)
{
#if SP_LANES == 4
    sp_floats root;

    for (int i = 0; i < L; i++) {
        root[i] = 1.0f / sqrtf(x[i]);
    }
    return root;
#else
#if SP_LANES == 8
    const sp_floats guess = (sp_floats)_mm256_rsqrt_ps((__m256)x);
#else
    const sp_floats guess = (sp_floats)_mm512_rsqrt14_ps((__m512)x);
#endif
    return guess * (1.5f - 0.5f * x * guess * guess); /* Newton's step doubles the digits */
#endif
}

/* x with modulus f / cube, or x / cube where f is negative. */
static inline complexes impose(complexes x, sp_floats f, sp_floats per_cube)
{
    const sp_floats square = x.re * x.re + x.im * x.im, one = sp_spread(1.0f);
    const sp_ints nothing = square < FLT_MIN, own = f < 0.0f;
    /* modulus 0: any phase would do, and 0 is taken */
    const sp_floats re = pick(nothing, one, x.re);
    const sp_floats scale = pick(own, one, f * inverse_root(pick(nothing, one, square))) * per_cube;

    return (complexes){pick(own, x.re, re) * scale, x.im * scale};
}

typedef enum filter_kind { NONE, MULTIPLY, IMPOSE } filter_kind;

/* One transform, or one forward, a filter, and one backward. */
typedef struct change {
    const sp_fft_line *first, *second; /* second: unless the filter is NONE */
    filter_kind filter;
    const float *table; /* of the filter [n][stride], from the first column on */
    ptrdiff_t stride;
} change;

/* Filters the spectrum z of `count` columns, L at most, that begin at column c. */
static void run_filter(const change *what, ptrdiff_t c, ptrdiff_t count, float *z)
{
    const ptrdiff_t n = what->first->n;
    const sp_floats per_cube = sp_spread(1.0f / ((float)n * (float)n * (float)n));

    for (ptrdiff_t x = 0; x < n; x++) {
        const sp_floats f = load_columns(what->table + x * what->stride + c, count);
        const complexes value = get(z + x * 2 * L, SPLIT), product = {f * value.re, f * value.im};

        put(z + x * 2 * L, what->filter == IMPOSE ? impose(value, f, per_cube) : product, SPLIT);
    }
}

/* ---- columns along y and x ---- */

/* L columns in a buffer, all elements. */
static elements in_buffer(buffers *work, layout as)
{
    return (elements){.data = work->c, .step = 2 * L, .layout = as};
}

static elements moved(elements e, ptrdiff_t columns)
{
    e.data += 2 * columns;
    return e;
}

/* One block of L columns; `count` of them, from column c, are there for the filter. */
static void run_block(const change *what, ptrdiff_t c, ptrdiff_t count, elements in, elements out, buffers *work)
{
    if (what->filter == NONE) {
        run_line(what->first, in, out, work);
        return;
    }
    run_line(what->first, in, in_buffer(work, SPLIT), work);
    run_filter(what, c, count, work->c);
    run_line(what->second, in_buffer(work, SPLIT), out, work);
}

/* Stores the last `count` of the L columns in `from` to `memory`, where the others keep what they have. */
static inline void store_last(const float *from, ptrdiff_t count, float *memory)
{
    const complexes x = get(from, SPLIT);
    const sp_floats first = sp_spread((float)(2 * (L - count)));
    sp_floats lane;

    for (int i = 0; i < L; i++) {
        lane[i] = (float)i;
    }
    sp_store(memory, pick(lane < first, sp_load(memory), SP_LOW(x.re, x.im)));
    sp_store(memory + L, pick(lane + (float)L < first, sp_load(memory + L), SP_HIGH(x.re, x.im)));
}

/* Where element i lies; NULL where it does not exist. */
static inline float *element_at(const elements *e, ptrdiff_t n, ptrdiff_t i)
{
    if (!e->upper || i < n / 4) {
        return e->data + i * e->step;
    }
    return i >= n / 4 * 3 ? e->data + e->upper + (i - n / 4 * 3) * e->step : NULL;
}

/* The last `count` columns, with others before them that have had their turn and are read again but not stored. */
static void run_last(const change *what, ptrdiff_t c, ptrdiff_t count, elements in, elements out, buffers *work)
{
    const ptrdiff_t n = what->first->n, back = L - count;

    out = moved(out, -back);
    run_block(what, c - back, L, moved(in, -back), in_buffer(work, SPLIT), work);
    for (ptrdiff_t i = 0; i < n; i++) {
        float *memory = element_at(&out, n, i);

        if (memory) {
            store_last(work->c + i * 2 * L, count, memory);
        }
    }
}

/* Columns of so few in all that they do not fill a vector. */
static void run_few(const change *what, ptrdiff_t count, elements in, elements out, buffers *work)
{
    const ptrdiff_t n = what->first->n;
    const elements all = in_buffer(work, INTERLEAVED);

    memset(work->c, 0, (size_t)n * 2 * L * sizeof *work->c);
    for (ptrdiff_t i = 0; i < n; i++) {
        const float *memory = element_at(&in, n, i);

        if (memory) {
            memcpy(work->c + i * 2 * L, memory, (size_t)count * 2 * sizeof *memory);
        }
    }
    run_block(what, 0, count, all, all, work);
    for (ptrdiff_t i = 0; i < n; i++) {
        float *memory = element_at(&out, n, i);

        if (memory) {
            memcpy(memory, work->c + i * 2 * L, (size_t)count * 2 * sizeof *memory);
        }
    }
}

/* `count` neighbouring columns; in and out differ in `upper` at most. */
static void run_columns(const change *what, elements in, elements out, ptrdiff_t count, buffers *work)
{
    ptrdiff_t c = 0;

    for (; c + L <= count; c += L) {
        run_block(what, c, L, moved(in, c), moved(out, c), work);
    }
    if (c < count && count >= L) {
        run_last(what, c, count - c, moved(in, c), moved(out, c), work);
    } else if (c < count) {
        run_few(what, count, in, out, work);
    }
}

/* Columns from `first` on along x; padded: of n / 2 planes. */
static elements x_columns(const struct sp_fft *plan, bool padded, ptrdiff_t first, float *half)
{
    const ptrdiff_t n = plan->n, step = 2 * n * (n / 2 + 1);
    elements all = {.step = step, .upper = padded ? n / 4 * step : 0, .layout = INTERLEAVED};

    all.data = half + 2 * first;
    return all;
}

static void columns(const struct sp_fft *plan, const sp_fft_line *line, ptrdiff_t first, ptrdiff_t count, float *half)
{
    const elements all = x_columns(plan, false, first, half);
    const change what = {.first = line};
    buffers work;

    run_columns(&what, all, all, count, &work);
}

static void columns_through(const struct sp_fft *plan, filter_kind filter, bool padded, const float *table,
                            ptrdiff_t first, ptrdiff_t count, float *half)
{
    const elements all = x_columns(plan, padded, first, half);
    const change what = {.first = padded ? &plan->forward.padded : &plan->forward.column,
                         .second = padded ? &plan->backward.padded : &plan->backward.column,
                         .filter = filter,
                         .table = table + first,
                         .stride = plan->n * (plan->n / 2 + 1)};
    buffers work;

    run_columns(&what, all, all, count, &work);
}

static void columns_multiply(const struct sp_fft *plan, bool padded, const float *factor, ptrdiff_t first,
                             ptrdiff_t count, float *half)
{
    columns_through(plan, MULTIPLY, padded, factor, first, count, half);
}

static void columns_impose(const struct sp_fft *plan, bool padded, const float *modulus, ptrdiff_t first,
                           ptrdiff_t count, float *half)
{
    columns_through(plan, IMPOSE, padded, modulus, first, count, half);
}

/* ---- planes ---- */

/* The columns of a plane as they are where only the rows of wide_row() exist. */
static elements plane_columns(const struct sp_fft *plan, bool padded, float *half)
{
    const ptrdiff_t n = plan->n, step = 2 * (n / 2 + 1);

    return (elements){.data = half, .step = step, .upper = padded ? n / 4 * 3 * step : 0, .layout = INTERLEAVED};
}

/* Where row y of the real side lies on the complex side. */
static float *wide_row(const struct sp_fft *plan, bool padded, ptrdiff_t y, float *half)
{
    const ptrdiff_t n = plan->n, wide = padded && y >= n / 4 ? n / 2 + y : y;

    return half + wide * 2 * (n / 2 + 1);
}

static void plane_forward(const struct sp_fft *plan, bool padded, const float *real, float *half)
{
    const ptrdiff_t n = plan->n, edge = padded ? n / 2 : n;
    const change what = {.first = padded ? &plan->forward.padded : &plan->forward.column};
    buffers work;

    for (ptrdiff_t y = 0; y < edge; y += L) {
        rows_in in;
        rows_out out;

        for (int i = 0; i < L; i++) {
            const ptrdiff_t row = smaller(y + i, edge - 1); /* beyond the last, the last again */

            in.row[i] = real + row * edge;
            out.row[i] = wide_row(plan, padded, row, half);
        }
        rows_forward(plan, padded, &in, &out, &work);
    }
    run_columns(&what, plane_columns(plan, padded, half), plane_columns(plan, false, half), n / 2 + 1, &work);
}

static void plane_backward(const struct sp_fft *plan, bool padded, float *half, float *real)
{
    const ptrdiff_t n = plan->n, edge = padded ? n / 2 : n;
    const change what = {.first = padded ? &plan->backward.padded : &plan->backward.column};
    buffers work;

    run_columns(&what, plane_columns(plan, false, half), plane_columns(plan, padded, half), n / 2 + 1, &work);
    for (ptrdiff_t y = 0; y < edge; y += L) {
        rows_in in;
        rows_out out;

        for (int i = 0; i < L; i++) {
            const ptrdiff_t row = smaller(y + i, edge - 1);

            in.row[i] = wide_row(plan, padded, row, half);
            out.row[i] = real + row * edge;
        }
        rows_backward(plan, padded, &in, &out, &work);
    }
}

const sp_fft_kernels SP_VARIANT(sp_fft_kernels) = {.plane_forward = plane_forward,
                                                   .plane_backward = plane_backward,
                                                   .columns = columns,
                                                   .columns_multiply = columns_multiply,
                                                   .columns_impose = columns_impose};
