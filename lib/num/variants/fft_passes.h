/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/variants/fft_passes.h -- for variants/fft.c alone: 1-D transforms of SP_LANES columns at once. */
#include <string.h>

#include "num/fft_kernels.h"
#include "num/variants/transpose.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum { L = SP_LANES, LARGEST_RADIX = 8 };

/* One complex number of each column. */
typedef struct complexes {
    sp_floats re, im;
} complexes;

/* How the L complex numbers of one element lie in memory. */
typedef enum layout {
    SPLIT,      /* L real parts, L imaginary parts, aligned; columns in the order that an INTERLEAVED load gives them */
    INTERLEAVED /* re im re im ..., anywhere */
} layout;

/* Where the n elements of a transform lie: element i at data + i step. Where upper is not 0, only the first and the
 * last quarter exist, and the last begins at data + upper. */
typedef struct elements {
    float *data;
    ptrdiff_t step, upper; /* [float] */
    layout layout;
} elements;

/* Buffers of one thread. */
typedef struct buffers {
    float a[SP_FFT_MAX_EDGE * 2 * L], b[SP_FFT_MAX_EDGE * 2 * L]; /* between passes */
    float c[(SP_FFT_MAX_EDGE + 1) * 2 * L];                       /* of who calls run_line() */
} __attribute__((aligned(64))) buffers;

ALWAYS_INLINE complexes get(const float *p, layout as)
{
    if (as == SPLIT) {
        return (complexes){*(const sp_floats *)p, *(const sp_floats *)(p + L)};
    }
    const sp_floats low = sp_load(p), high = sp_load(p + L);

    return (complexes){SP_TWO_AND_TWO(low, high, 0, 2, 0, 2), SP_TWO_AND_TWO(low, high, 1, 3, 1, 3)};
}

ALWAYS_INLINE void put(float *p, complexes x, layout as)
{
    if (as == SPLIT) {
        *(sp_floats *)p = x.re;
        *(sp_floats *)(p + L) = x.im;
    } else {
        sp_store(p, SP_LOW(x.re, x.im));
        sp_store(p + L, SP_HIGH(x.re, x.im));
    }
}

ALWAYS_INLINE complexes add(complexes x, complexes y)
{
    return (complexes){x.re + y.re, x.im + y.im};
}

ALWAYS_INLINE complexes subtract(complexes x, complexes y)
{
    return (complexes){x.re - y.re, x.im - y.im};
}

/* x + f y */
ALWAYS_INLINE complexes add_scaled(complexes x, sp_floats f, complexes y)
{
    return (complexes){x.re + f * y.re, x.im + f * y.im};
}

/* x + i f y */
ALWAYS_INLINE complexes add_turned(complexes x, sp_floats f, complexes y)
{
    return (complexes){x.re - f * y.im, x.im + f * y.re};
}

/* x - i f y */
ALWAYS_INLINE complexes subtract_turned(complexes x, sp_floats f, complexes y)
{
    return (complexes){x.re + f * y.im, x.im - f * y.re};
}

ALWAYS_INLINE complexes conjugate(complexes x)
{
    return (complexes){x.re, -x.im};
}

/* x (w[0] + i w[1]) */
ALWAYS_INLINE complexes times(complexes x, const float *w)
{
    const sp_floats re = sp_spread(w[0]), im = sp_spread(w[1]);

    return (complexes){x.re * re - x.im * im, x.re * im + x.im * re};
}

/* ---- transforms of a few points, in registers; sign as in sp_fft_line ---- */

ALWAYS_INLINE void transform_2(complexes *x)
{
    const complexes b = x[1];

    x[1] = subtract(x[0], b);
    x[0] = add(x[0], b);
}

ALWAYS_INLINE void transform_3(complexes *x, float sign)
{
    const sp_floats cosine = sp_spread(-0.5f), sine = sp_spread(sign * 0.86602540378443865f);
    const complexes sum = add(x[1], x[2]), difference = subtract(x[1], x[2]);
    const complexes middle = add_scaled(x[0], cosine, sum);

    x[0] = add(x[0], sum);
    x[1] = add_turned(middle, sine, difference);
    x[2] = subtract_turned(middle, sine, difference);
}

ALWAYS_INLINE void transform_4(complexes *x, float sign)
{
    const sp_floats turn = sp_spread(sign);
    const complexes even = add(x[0], x[2]), odd = add(x[1], x[3]);
    const complexes p = subtract(x[0], x[2]), q = subtract(x[1], x[3]);

    x[0] = add(even, odd);
    x[1] = add_turned(p, turn, q);
    x[2] = subtract(even, odd);
    x[3] = subtract_turned(p, turn, q);
}

ALWAYS_INLINE void transform_5(complexes *x, float sign)
{
    const sp_floats c1 = sp_spread(0.30901699437494742f), c2 = sp_spread(-0.80901699437494742f);
    const sp_floats s1 = sp_spread(sign * 0.95105651629515357f), s2 = sp_spread(sign * 0.58778525229247313f);
    const complexes sum1 = add(x[1], x[4]), sum2 = add(x[2], x[3]);
    const complexes d1 = subtract(x[1], x[4]), d2 = subtract(x[2], x[3]);
    const complexes p = add_scaled(add_scaled(x[0], c1, sum1), c2, sum2);
    const complexes q = add_scaled(add_scaled(x[0], c2, sum1), c1, sum2);
    const complexes u = {s1 * d1.re + s2 * d2.re, s1 * d1.im + s2 * d2.im};
    const complexes v = {s2 * d1.re - s1 * d2.re, s2 * d1.im - s1 * d2.im};

    x[0] = add(x[0], add(sum1, sum2));
    x[1] = (complexes){p.re - u.im, p.im + u.re};
    x[2] = (complexes){q.re - v.im, q.im + v.re};
    x[3] = (complexes){q.re + v.im, q.im - v.re};
    x[4] = (complexes){p.re + u.im, p.im - u.re};
}

/* Good 1958: two transforms of 3 points, three of 2, no twiddles. */
ALWAYS_INLINE void transform_6(complexes *x, float sign)
{
    complexes a[3] = {x[0], x[2], x[4]}, b[3] = {x[3], x[5], x[1]};

    transform_3(a, sign);
    transform_3(b, sign);
    x[0] = add(a[0], b[0]);
    x[3] = subtract(a[0], b[0]);
    x[4] = add(a[1], b[1]);
    x[1] = subtract(a[1], b[1]);
    x[2] = add(a[2], b[2]);
    x[5] = subtract(a[2], b[2]);
}

ALWAYS_INLINE void transform_8(complexes *x, float sign)
{
    const sp_floats turn = sp_spread(sign), plus = sp_spread(0.70710678118654752f), minus = -plus;
    complexes a[4] = {x[0], x[2], x[4], x[6]}, b[4] = {x[1], x[3], x[5], x[7]};

    transform_4(a, sign);
    transform_4(b, sign);
    const complexes b1 = add_turned(b[1], turn, b[1]);      /* sqrt(2) w b_1,   w = (1 + i sign) / sqrt(2) */
    const complexes b3 = subtract_turned(b[3], turn, b[3]); /* -sqrt(2) w^3 b_3 */

    x[0] = add(a[0], b[0]);
    x[4] = subtract(a[0], b[0]);
    x[1] = add_scaled(a[1], plus, b1);
    x[5] = add_scaled(a[1], minus, b1);
    x[2] = add_turned(a[2], turn, b[2]);
    x[6] = subtract_turned(a[2], turn, b[2]);
    x[3] = add_scaled(a[3], minus, b3);
    x[7] = add_scaled(a[3], plus, b3);
}

ALWAYS_INLINE void transform(complexes *x, int radix, float sign)
{
    switch (radix) {
    case 2:
        transform_2(x);
        break;
    case 3:
        transform_3(x, sign);
        break;
    case 4:
        transform_4(x, sign);
        break;
    case 5:
        transform_5(x, sign);
        break;
    case 6:
        transform_6(x, sign);
        break;
    default:
        transform_8(x, sign);
    }
}

/* ---- passes ---- */

/* One pass: element k + s (p + q i) of `in` is point i of transform (p, k), whose point j goes to k + s (r p + j). */
typedef struct pass {
    int radix;
    float sign;
    ptrdiff_t q, s;
    const float *twiddle;
    elements in, out;
} pass;

typedef void run_pass(const pass *job);

ALWAYS_INLINE void pass_of(const pass *job, int radix, layout from, layout to, bool last)
{
    const pass here = *job; /* a copy, which the stores below cannot change */
    const ptrdiff_t s = here.s, apart_in = s * here.q * here.in.step, apart_out = s * here.out.step;

    for (ptrdiff_t p = 0; p < here.q; p++) {
        const float *w = here.twiddle + p * 2 * (radix - 1);
        const float *in = here.in.data + s * p * here.in.step;
        float *out = here.out.data + s * radix * p * here.out.step;

        for (ptrdiff_t k = 0; k < s; k++) {
            complexes x[LARGEST_RADIX];

#pragma GCC unroll 8
            for (int i = 0; i < radix; i++) {
                x[i] = get(in + i * apart_in, from);
            }
            transform(x, radix, here.sign);
            put(out, x[0], to);
#pragma GCC unroll 8
            for (int j = 1; j < radix; j++) {
                put(out + j * apart_out, last ? x[j] : times(x[j], w + 2 * j - 2), to);
            }
            in += here.in.step;
            out += here.out.step;
        }
    }
}

/* Any radix, by its definition: sum over i of x_i exp(sign 2 pi i i j / radix). */
ALWAYS_INLINE void pass_of_any(const pass *job, layout from, layout to, bool last)
{
    const ptrdiff_t s = job->s, q = job->q, radix = job->radix;
    const float *root = job->twiddle, *twiddle = job->twiddle + 2 * radix;

    for (ptrdiff_t p = 0; p < q; p++) {
        for (ptrdiff_t k = 0; k < s; k++) {
            const float *in = job->in.data + (k + s * p) * job->in.step;
            float *out = job->out.data + (k + s * radix * p) * job->out.step;

            for (ptrdiff_t j = 0; j < radix; j++) {
                complexes sum = get(in, from);

                for (ptrdiff_t i = 1; i < radix; i++) {
                    sum = add(sum, times(get(in + s * q * i * job->in.step, from), root + 2 * (i * j % radix)));
                }
                if (!last && j > 0) {
                    sum = times(sum, twiddle + 2 * (p * (radix - 1) + j - 1));
                }
                put(out + s * j * job->out.step, sum, to);
            }
        }
    }
}

/* A first pass of radix 4 whose points 1 and 2 are 0. */
static void pass_padded(const pass *job)
{
    const sp_floats turn = sp_spread(job->sign);

    for (ptrdiff_t p = 0; p < job->q; p++) {
        const float *w = job->twiddle + 6 * p;
        const complexes a = get(job->in.data + p * job->in.step, INTERLEAVED);
        const complexes d = get(job->in.data + job->in.upper + p * job->in.step, INTERLEAVED);
        float *out = job->out.data + 4 * p * job->out.step;

        put(out, add(a, d), SPLIT);
        put(out + job->out.step, times(subtract_turned(a, turn, d), w), SPLIT);
        put(out + 2 * job->out.step, times(subtract(a, d), w + 2), SPLIT);
        put(out + 3 * job->out.step, times(add_turned(a, turn, d), w + 4), SPLIT);
    }
}

/* A last pass of radix 4 of which points 0 and 3 alone are wanted. */
static void pass_pruned(const pass *job)
{
    const sp_floats turn = sp_spread(job->sign);
    const ptrdiff_t quarter = job->s * job->in.step;

    for (ptrdiff_t k = 0; k < job->s; k++) {
        const float *in = job->in.data + k * job->in.step;
        const complexes a = get(in, SPLIT), b = get(in + quarter, SPLIT);
        const complexes c = get(in + 2 * quarter, SPLIT), d = get(in + 3 * quarter, SPLIT);
        float *out = job->out.data + k * job->out.step;

        put(out, add(add(a, c), add(b, d)), INTERLEAVED);
        put(out + job->out.upper, subtract_turned(subtract(a, c), turn, subtract(b, d)), INTERLEAVED);
    }
}

#define DEFINE_PASSES(NAME, FROM, TO, LAST)                                                                            \
    static void NAME##_any(const pass *job)                                                                            \
    {                                                                                                                  \
        pass_of_any(job, FROM, TO, LAST);                                                                              \
    }                                                                                                                  \
    static void NAME##_2(const pass *job)                                                                              \
    {                                                                                                                  \
        pass_of(job, 2, FROM, TO, LAST);                                                                               \
    }                                                                                                                  \
    static void NAME##_3(const pass *job)                                                                              \
    {                                                                                                                  \
        pass_of(job, 3, FROM, TO, LAST);                                                                               \
    }                                                                                                                  \
    static void NAME##_4(const pass *job)                                                                              \
    {                                                                                                                  \
        pass_of(job, 4, FROM, TO, LAST);                                                                               \
    }                                                                                                                  \
    static void NAME##_5(const pass *job)                                                                              \
    {                                                                                                                  \
        pass_of(job, 5, FROM, TO, LAST);                                                                               \
    }                                                                                                                  \
    static void NAME##_6(const pass *job)                                                                              \
    {                                                                                                                  \
        pass_of(job, 6, FROM, TO, LAST);                                                                               \
    }                                                                                                                  \
    static void NAME##_8(const pass *job)                                                                              \
    {                                                                                                                  \
        pass_of(job, 8, FROM, TO, LAST);                                                                               \
    }                                                                                                                  \
    static run_pass *const NAME[LARGEST_RADIX + 1] = {NAME##_any, NULL,     NAME##_2, NAME##_3, NAME##_4,              \
                                                      NAME##_5,   NAME##_6, NULL,     NAME##_8};

DEFINE_PASSES(middle, SPLIT, SPLIT, false)
DEFINE_PASSES(middle_in, INTERLEAVED, SPLIT, false)
DEFINE_PASSES(last, SPLIT, SPLIT, true)
DEFINE_PASSES(last_out, SPLIT, INTERLEAVED, true)

static run_pass *choose_pass(const pass *job, bool is_last)
{
    run_pass *const *table =
        is_last ? (job->out.layout == SPLIT ? last : last_out) : (job->in.layout == SPLIT ? middle : middle_in);

    if (job->in.upper) {
        return pass_padded;
    }
    if (job->out.upper) {
        return pass_pruned;
    }
    return table[sp_fft_any_radix(job->radix) ? 0 : job->radix];
}

static void copy_split(const elements *from, ptrdiff_t n, float *to)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        put(to + 2 * L * i, get(from->data + i * from->step, from->layout), SPLIT);
    }
}

/* The transform of L columns; in and out may be the same or part of buffers c. */
static void run_line(const sp_fft_line *line, elements in, elements out, buffers *work)
{
    ptrdiff_t m = line->n, s = 1;

    if (line->passes == 1) { /* then the one pass is the last */
        copy_split(&in, m, work->a);
        in = (elements){.data = work->a, .step = 2 * L};
    }
    for (int i = 0; i < line->passes; i++) {
        const bool is_last = i == line->passes - 1;
        const elements between = {.data = i % 2 ? work->b : work->a, .step = 2 * L};
        const pass job = {.radix = line->radix[i],
                          .sign = line->sign,
                          .q = m / line->radix[i],
                          .s = s,
                          .twiddle = line->table + line->twiddle[i],
                          .in = in,
                          .out = is_last ? out : between};

        choose_pass(&job, is_last)(&job);
        m = job.q;
        s *= job.radix;
        in = between;
    }
}
