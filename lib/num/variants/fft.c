/* SPDX-License-Identifier: BSD-3-Clause */
/* num/variants/fft.c -- the parts of 3-D transforms of real volumes: rows along z and columns along y, plane by plane;
 * columns along x. */
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

/* ---- columns along y and x ---- */

/* Where `count` columns are worked on: in memory, or in a buffer where they do not fill a vector. */
static elements local(ptrdiff_t n, ptrdiff_t count, const elements *memory, buffers *work)
{
    elements here = {.data = work->c, .step = 2 * L, .layout = INTERLEAVED};

    here.upper = memory->upper ? n / 4 * 3 * here.step : 0;
    return count < L ? here : *memory;
}

/* Copies `count` columns where local() is not the memory itself. */
static void copy_columns(ptrdiff_t n, ptrdiff_t count, const elements *from, const elements *to)
{
    const size_t bytes = (size_t)count * 2 * sizeof(float);
    const ptrdiff_t run = from->upper ? n / 4 : n;

    for (ptrdiff_t i = 0; count < L && i < run; i++) {
        memcpy(to->data + i * to->step, from->data + i * from->step, bytes);
        if (from->upper) {
            memcpy(to->data + to->upper + i * to->step, from->data + from->upper + i * from->step, bytes);
        }
    }
}

/* Transforms `count` neighbouring columns; in and out differ in `upper` at most. */
static void run_columns(const sp_fft_line *line, elements in, elements out, ptrdiff_t count, buffers *work)
{
    for (ptrdiff_t c = 0; c < count; c += L) {
        const ptrdiff_t here = smaller(L, count - c);
        const elements local_in = local(line->n, here, &in, work), local_out = local(line->n, here, &out, work);

        copy_columns(line->n, here, &in, &local_in);
        run_line(line, local_in, local_out, work);
        copy_columns(line->n, here, &local_out, &out);
        in.data += 2 * L;
        out.data += 2 * L;
    }
}

/* Column c along x; padded: of n / 2 planes. */
static elements x_column(const struct sp_fft *plan, bool padded, ptrdiff_t c, float *half)
{
    const ptrdiff_t n = plan->n, step = 2 * n * (n / 2 + 1);
    elements column = {.step = step, .upper = padded ? n / 4 * step : 0, .layout = INTERLEAVED};

    column.data = half + 2 * c;
    return column;
}

static void columns(const struct sp_fft *plan, const sp_fft_line *line, ptrdiff_t first, ptrdiff_t count, float *half)
{
    const elements all = x_column(plan, false, first, half);
    buffers work;

    run_columns(line, all, all, count, &work);
}

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

static void columns_multiply(const struct sp_fft *plan, bool padded, const float *factor, ptrdiff_t first,
                             ptrdiff_t count, float *half)
{
    const ptrdiff_t n = plan->n, plane = n * (n / 2 + 1);
    buffers work;
    const elements spectrum = {.data = work.c, .step = 2 * L};

    for (ptrdiff_t c = first; c < first + count; c += L) {
        const ptrdiff_t here = smaller(L, first + count - c);
        const elements memory = x_column(plan, padded, c, half);
        const elements block = local(n, here, &memory, &work);

        copy_columns(n, here, &memory, &block);
        run_line(&plan->forward.column, block, spectrum, &work);
        for (ptrdiff_t x = 0; x < n; x++) {
            const sp_floats f = load_columns(factor + x * plane + c, here);
            const complexes value = get(work.c + x * 2 * L, SPLIT);

            put(work.c + x * 2 * L, (complexes){f * value.re, f * value.im}, SPLIT);
        }
        run_line(&plan->backward.column, spectrum, block, &work);
        copy_columns(n, here, &block, &memory);
    }
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
    run_columns(&plan->forward.column, plane_columns(plan, padded, half), plane_columns(plan, false, half), n / 2 + 1,
                &work);
}

static void plane_backward(const struct sp_fft *plan, bool padded, float *half, float *real)
{
    const ptrdiff_t n = plan->n, edge = padded ? n / 2 : n;
    buffers work;

    run_columns(&plan->backward.column, plane_columns(plan, false, half), plane_columns(plan, padded, half), n / 2 + 1,
                &work);
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
                                                   .columns_multiply = columns_multiply};
