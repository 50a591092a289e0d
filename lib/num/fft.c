/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/fft.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "num/fft_kernels.h"

enum {
    CHUNK = 64,      /* [column] along x that one thread takes at a time: a multiple of every SP_LANES */
    FEW_PLANES = 30, /* up to here starting threads costs more than it gives */
    FEW_CHUNKS = 8   /* likewise */
};

SP_TABLES(sp_fft_kernels)

/* ---- plans ---- */

typedef enum edge_pass { ANY, FOUR_FIRST, FOUR_LAST } edge_pass;

/* One factor of n, such that passes are few and none has radix 2 if that can be. */
static int next_radix(ptrdiff_t n)
{
    int radix = 7;

    if (n % 6 == 0 && !(n % 4 == 0 && n % 8 != 0 && n % 9 != 0)) { /* 12 is 4 * 3 */
        return 6;
    }
    if (n % 32 == 0 || n % 16 == 8) { /* 16 is 4 * 4 */
        return 8;
    }
    for (int small = 5; small > 1; small--) {
        if (n % small == 0) {
            return small;
        }
    }
    while (n % radix != 0) {
        radix += 2;
    }
    return radix;
}

/* Radices of passes, the largest last, where most twiddles are saved; 1 alone for n = 1. Returns how many. */
static int factorise(ptrdiff_t n, edge_pass edge, int *radix)
{
    const int fixed = edge == FOUR_FIRST;
    ptrdiff_t rest = edge == ANY ? n : n / 4;
    int count = 0;

    if (edge == FOUR_FIRST) {
        radix[count++] = 4;
    }
    while (rest > 1) {
        const int next = next_radix(rest);
        int at = count++;

        for (; at > fixed && radix[at - 1] > next; at--) {
            radix[at] = radix[at - 1];
        }
        radix[at] = next;
        rest /= next;
    }
    if (edge == FOUR_LAST) {
        radix[count++] = 4;
    }
    if (count == 0) {
        radix[count++] = 1;
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

static sp_status line_init(ptrdiff_t n, double sign, edge_pass edge, sp_fft_line *line)
{
    sp_status status = SP_OK;
    ptrdiff_t m = n, floats = 0;
    float *at = NULL;

    line->n = n;
    line->sign = (float)sign;
    line->passes = factorise(n, edge, line->radix);
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
        for (int j = 0; sp_fft_any_radix(radix) && j < radix; j++) {
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

    SP_TRY(line_init(n, sign, ANY, &direction->column));
    if (n % 2 == 0) {
        SP_TRY(line_init(n / 2, sign, ANY, &direction->row));
    }
    if (n % 4 == 0 && n > 4) {
        SP_TRY(line_init(n, sign, sign < 0.0 ? FOUR_FIRST : FOUR_LAST, &direction->padded));
    }
done:
    return status;
}

static void direction_clear(sp_fft_direction *direction)
{
    sp_array_free(direction->column.table);
    sp_array_free(direction->row.table);
    sp_array_free(direction->padded.table);
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
    direction_clear(&plan->forward);
    direction_clear(&plan->backward);
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

/* Is plane x of n one with coordinate -most .. most? */
static bool within(ptrdiff_t x, ptrdiff_t n, ptrdiff_t most)
{
    return x <= most || n - x <= most;
}

/* Planes |x| <= most; what the others become is 0. */
static void planes_forward(const sp_fft *plan, bool padded, const float *in, ptrdiff_t most, float *half)
{
    const ptrdiff_t n = plan->n, edge = padded ? n / 2 : n, plane = 2 * n * (n / 2 + 1);

#pragma omp parallel for schedule(static) if (edge > FEW_PLANES)
    for (ptrdiff_t x = 0; x < edge; x++) {
        if (within(x, n, most)) {
            plan->kernels->plane_forward(plan, padded, in + x * edge * edge, half + x * plane);
        } else {
            memset(half + x * plane, 0, (size_t)plane * sizeof *half);
        }
    }
}

/* Planes |x| <= most; the others are left alone. */
static void planes_backward(const sp_fft *plan, bool padded, float *half, ptrdiff_t most, float *out)
{
    const ptrdiff_t n = plan->n, edge = padded ? n / 2 : n;

#pragma omp parallel for schedule(static) if (edge > FEW_PLANES)
    for (ptrdiff_t x = 0; x < edge; x++) {
        if (within(x, n, most)) {
            plan->kernels->plane_backward(plan, padded, half + x * 2 * n * (n / 2 + 1), out + x * edge * edge);
        }
    }
}

/* How many columns along x a thread takes from `first` on: CHUNK, the last one what is left, fewer than two of them. A
 * last chunk of its own could be narrower than a vector, and would then read what another thread writes. */
static ptrdiff_t columns_from(const sp_fft *plan, ptrdiff_t first)
{
    const ptrdiff_t rest = plan->n * (plan->n / 2 + 1) - first;

    return rest < 2 * CHUNK ? rest : CHUNK;
}

/* Chunks to take columns in; at least one. */
static ptrdiff_t chunk_count(const sp_fft *plan)
{
    const ptrdiff_t count = plan->n * (plan->n / 2 + 1) / CHUNK;

    return count > 0 ? count : 1;
}

static void columns(const sp_fft *plan, const sp_fft_direction *direction, float *half)
{
    const ptrdiff_t chunks = chunk_count(plan);

#pragma omp parallel for schedule(static) if (chunks > FEW_CHUNKS)
    for (ptrdiff_t i = 0; i < chunks; i++) {
        plan->kernels->columns(plan, &direction->column, i * CHUNK, columns_from(plan, i * CHUNK), half);
    }
}

void sp_fft_forward_within(const sp_fft *plan, const float *in, ptrdiff_t most, float complex *out)
{
    planes_forward(plan, false, in, most, (float *)out);
    columns(plan, &plan->forward, (float *)out);
}

void sp_fft_backward_within(const sp_fft *plan, float complex *in, ptrdiff_t most, float *out)
{
    columns(plan, &plan->backward, (float *)in);
    planes_backward(plan, false, (float *)in, most, out);
}

void sp_fft_forward(const sp_fft *plan, const float *in, float complex *out)
{
    sp_fft_forward_within(plan, in, plan->n, out);
}

void sp_fft_backward(const sp_fft *plan, float complex *in, float *out)
{
    sp_fft_backward_within(plan, in, plan->n, out);
}

static void go_through(const sp_fft *plan, sp_fft_through *change, bool padded, const float *in, const float *table,
                       float *work, float *out)
{
    const ptrdiff_t chunks = chunk_count(plan);

    planes_forward(plan, padded, in, plan->n, work);
#pragma omp parallel for schedule(static) if (chunks > FEW_CHUNKS)
    for (ptrdiff_t i = 0; i < chunks; i++) {
        change(plan, padded, table, i * CHUNK, columns_from(plan, i * CHUNK), work);
    }
    planes_backward(plan, padded, work, plan->n, out);
}

void sp_fft_multiply(const sp_fft *plan, const float *in, const float *factor, float complex *work, float *out)
{
    go_through(plan, plan->kernels->columns_multiply, false, in, factor, (float *)work, out);
}

void sp_fft_multiply_padded(const sp_fft *plan, const float *in, const float *factor, float complex *work, float *out)
{
    go_through(plan, plan->kernels->columns_multiply, true, in, factor, (float *)work, out);
}

void sp_fft_impose(const sp_fft *plan, const float *in, const float *modulus, float complex *work, float *out)
{
    go_through(plan, plan->kernels->columns_impose, false, in, modulus, (float *)work, out);
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
