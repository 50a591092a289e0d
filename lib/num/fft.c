/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/fft.h"

#include <math.h>

#include "base/memory.h"
#include "num/fft_kernels.h"

enum {
    CHUNK = 64,        /* [column] along x that one thread takes at a time: a multiple of every SP_LANES */
    MANY_THREADS = 32, /* edge from which starting threads is worth it */
    LARGEST_RADIX = 5  /* with a transform of its own */
};

extern const sp_fft_kernels sp_fft_kernels_plain;
#ifdef SP_HAS_avx2
extern const sp_fft_kernels sp_fft_kernels_avx2;
#endif
#ifdef SP_HAS_avx512
extern const sp_fft_kernels sp_fft_kernels_avx512;
#endif

const sp_fft_kernels *sp_fft_kernels_for(sp_isa isa)
{
    switch (isa) {
#ifdef SP_HAS_avx512
    case SP_ISA_AVX512:
        return &sp_fft_kernels_avx512;
#endif
#ifdef SP_HAS_avx2
    case SP_ISA_AVX2:
        return &sp_fft_kernels_avx2;
#endif
    default:
        return &sp_fft_kernels_plain;
    }
}

/* ---- plans ---- */

/* Fours, then 2, 3, 5, then what is left, the other way round where `reversed`; 1 alone for n = 1. Returns how many. */
static int factorise(ptrdiff_t n, bool reversed, int *radix)
{
    int count = 0;
    ptrdiff_t rest = n;

    while (rest % 4 == 0) {
        radix[count++] = 4;
        rest /= 4;
    }
    for (int factor = 2; rest > 1; factor++) {
        while (rest % factor == 0) {
            radix[count++] = factor;
            rest /= factor;
        }
    }
    if (count == 0) {
        radix[count++] = 1;
    }
    for (int i = 0; reversed && i < count / 2; i++) {
        const int swapped = radix[i];

        radix[i] = radix[count - 1 - i];
        radix[count - 1 - i] = swapped;
    }
    return count;
}

static float *put_root(float *at, double sign, ptrdiff_t numerator, ptrdiff_t denominator)
{
    const double angle = sign * 2.0 * M_PI * (double)(numerator % denominator) / (double)denominator;

    at[0] = (float)cos(angle);
    at[1] = (float)sin(angle);
    return at + 2;
}

static sp_status line_init(ptrdiff_t n, double sign, sp_fft_line *line)
{
    sp_status status = SP_OK;
    ptrdiff_t m = n, floats = 0;
    float *at = NULL;

    line->n = n;
    line->sign = (float)sign;
    line->passes = factorise(n, sign > 0.0, line->radix);
    for (int i = 0; i < line->passes; i++) { /* room for roots and twiddles */
        floats += 2 * (line->radix[i] + m);
        m /= line->radix[i];
    }
    SP_TRY(SP_ARRAY(line->table, floats));
    at = line->table;
    m = n;
    for (int i = 0; i < line->passes; i++) {
        const int radix = line->radix[i];

        line->twiddle[i] = at - line->table;
        for (int j = 0; radix > LARGEST_RADIX && j < radix; j++) {
            at = put_root(at, sign, j, radix);
        }
        for (ptrdiff_t p = 0; p < m / radix; p++) {
            for (int j = 1; j < radix; j++) {
                at = put_root(at, sign, p * j, m);
            }
        }
        m /= radix;
    }
done:
    return status;
}

static sp_status direction_init(ptrdiff_t n, double sign, sp_fft_direction *direction)
{
    sp_status status = SP_OK;

    SP_TRY(line_init(n, sign, &direction->column));
    if (n % 2 == 0) {
        SP_TRY(line_init(n / 2, sign, &direction->row));
    }
done:
    return status;
}

sp_status sp_fft_new_for(sp_isa isa, ptrdiff_t n, sp_fft **plan)
{
    sp_status status = SP_OK;
    sp_fft *self = NULL;
    float *at = NULL;

    SP_REQUIRE(n >= 2 && n <= SP_FFT_MAX_EDGE, SP_ERR_USAGE, "FFT edge %td is not in 2..%d", n, SP_FFT_MAX_EDGE);
    SP_TRY(SP_ARRAY(self, 1));
    self->n = n;
    self->kernels = sp_fft_kernels_for(isa);
    SP_TRY(direction_init(n, -1.0, &self->forward));
    SP_TRY(direction_init(n, 1.0, &self->backward));
    SP_TRY(SP_ARRAY(self->turn, 2 * (n / 2 + 1)));
    at = self->turn;
    for (ptrdiff_t k = 0; k <= n / 2; k++) {
        at = put_root(at, -1.0, k, n);
    }
    *plan = self;
    self = NULL;
done:
    sp_fft_free(self);
    return status;
}

sp_status sp_fft_new(ptrdiff_t n, sp_fft **plan)
{
    return sp_fft_new_for(sp_isa_best(), n, plan);
}

void sp_fft_free(sp_fft *plan)
{
    if (!plan) {
        return;
    }
    sp_array_free(plan->forward.column.table);
    sp_array_free(plan->forward.row.table);
    sp_array_free(plan->backward.column.table);
    sp_array_free(plan->backward.row.table);
    sp_array_free(plan->turn);
    sp_array_free(plan);
}

ptrdiff_t sp_fft_edge(const sp_fft *plan)
{
    return plan->n;
}

ptrdiff_t sp_fft_complex_count(const sp_fft *plan)
{
    return plan->n * plan->n * (plan->n / 2 + 1);
}

/* ---- transforms ---- */

static void planes_forward(const sp_fft *plan, bool padded, const float *in, float *half)
{
    const ptrdiff_t n = plan->n, edge = padded ? n / 2 : n;

#pragma omp parallel for schedule(static) if (n >= MANY_THREADS)
    for (ptrdiff_t x = 0; x < edge; x++) {
        plan->kernels->plane_forward(plan, padded, in + x * edge * edge, half + x * 2 * n * (n / 2 + 1));
    }
}

static void planes_backward(const sp_fft *plan, bool padded, float *half, float *out)
{
    const ptrdiff_t n = plan->n, edge = padded ? n / 2 : n;

#pragma omp parallel for schedule(static) if (n >= MANY_THREADS)
    for (ptrdiff_t x = 0; x < edge; x++) {
        plan->kernels->plane_backward(plan, padded, half + x * 2 * n * (n / 2 + 1), out + x * edge * edge);
    }
}

static ptrdiff_t columns_from(const sp_fft *plan, ptrdiff_t first)
{
    const ptrdiff_t rest = plan->n * (plan->n / 2 + 1) - first;

    return rest < CHUNK ? rest : CHUNK;
}

static void columns(const sp_fft *plan, const sp_fft_direction *direction, float *half)
{
    const ptrdiff_t n = plan->n;

#pragma omp parallel for schedule(static) if (n >= MANY_THREADS)
    for (ptrdiff_t c = 0; c < n * (n / 2 + 1); c += CHUNK) {
        plan->kernels->columns(plan, &direction->column, c, columns_from(plan, c), half);
    }
}

void sp_fft_forward(const sp_fft *plan, const float *in, float complex *out)
{
    planes_forward(plan, false, in, (float *)out);
    columns(plan, &plan->forward, (float *)out);
}

void sp_fft_backward(const sp_fft *plan, float complex *in, float *out)
{
    columns(plan, &plan->backward, (float *)in);
    planes_backward(plan, false, (float *)in, out);
}

static void multiply(const sp_fft *plan, bool padded, const float *in, const float *factor, float *work, float *out)
{
    const ptrdiff_t n = plan->n;

    planes_forward(plan, padded, in, work);
#pragma omp parallel for schedule(static) if (n >= MANY_THREADS)
    for (ptrdiff_t c = 0; c < n * (n / 2 + 1); c += CHUNK) {
        plan->kernels->columns_multiply(plan, padded, factor, c, columns_from(plan, c), work);
    }
    planes_backward(plan, padded, work, out);
}

void sp_fft_multiply(const sp_fft *plan, const float *in, const float *factor, float complex *work, float *out)
{
    multiply(plan, false, in, factor, (float *)work, out);
}

void sp_fft_multiply_padded(const sp_fft *plan, const float *in, const float *factor, float complex *work, float *out)
{
    multiply(plan, true, in, factor, (float *)work, out);
}

ptrdiff_t sp_fft_good_size(ptrdiff_t n)
{
    for (ptrdiff_t edge = n < 2 ? 2 : n + n % 2;; edge += 2) {
        ptrdiff_t rest = edge;

        for (int prime = 2; prime <= 5; prime++) {
            while (rest % prime == 0) {
                rest /= prime;
            }
        }
        if (rest == 1) {
            return edge;
        }
    }
}
