/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/fft.h"

#include <fftw3.h>

#include "base/memory.h"

struct sp_fft {
    ptrdiff_t n;
    fftwf_plan forward;
    fftwf_plan backward;
};

sp_status sp_fft_new(ptrdiff_t n, sp_fft **plan)
{
    sp_status status = SP_OK;
    sp_fft *self = NULL;
    float *real = NULL;
    float complex *half = NULL;

    SP_REQUIRE(n >= 2 && n <= 2048, SP_ERR_USAGE, "FFT edge %td is not in 2..2048", n);
    SP_TRY(SP_ARRAY(self, 1));
    SP_TRY(SP_ARRAY(real, n * n * n));
    SP_TRY(SP_ARRAY(half, n * n * (n / 2 + 1)));
    self->n = n;
    /* ESTIMATE: a timed plan could differ between runs, and with it the last bits of the result. The planner keeps
     * global state, so one thread at a time. */
#pragma omp critical(sp_fftw_planner)
    {
        self->forward = fftwf_plan_dft_r2c_3d((int)n, (int)n, (int)n, real, half, FFTW_ESTIMATE);
        self->backward = fftwf_plan_dft_c2r_3d((int)n, (int)n, (int)n, half, real, FFTW_ESTIMATE);
    }
    SP_REQUIRE(self->forward && self->backward, SP_ERR_MEMORY, "no FFT plan for edge %td", n);
    *plan = self;
    self = NULL;
done:
    sp_array_free(half);
    sp_array_free(real);
    sp_fft_free(self);
    return status;
}

void sp_fft_free(sp_fft *plan)
{
    if (!plan) {
        return;
    }
#pragma omp critical(sp_fftw_planner)
    {
        fftwf_destroy_plan(plan->forward);
        fftwf_destroy_plan(plan->backward);
    }
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

void sp_fft_forward(const sp_fft *plan, const float *in, float complex *out)
{
    fftwf_execute_dft_r2c(plan->forward, (float *)in, out); /* out of place r2c leaves its input alone */
}

void sp_fft_backward(const sp_fft *plan, float complex *in, float *out)
{
    fftwf_execute_dft_c2r(plan->backward, in, out);
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
