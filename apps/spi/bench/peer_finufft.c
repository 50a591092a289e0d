/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/memory.h"
#include "bench/peers.h"

#ifdef SP_PEER_FINUFFT

#include <finufft.h>

#include "bench/library.h"

struct sp_finufft {
    __typeof__(finufftf_default_opts) *default_options;
    __typeof__(finufftf_makeplan) *make_plan;
    __typeof__(finufftf_setpts) *set_points;
    __typeof__(finufftf_execute) *execute;
    __typeof__(finufftf_destroy) *destroy;
    finufftf_plan plan;
    int failed;
};

enum { WARNING = 1 }; /* its highest code that is no failure */

static sp_status make_plan(sp_finufft *self, const sp_finufft_plan *plan)
{
    int64_t modes[3] = {plan->n, plan->n, plan->n};
    finufft_opts options;
    sp_status status = SP_OK;

    self->default_options(&options);
    options.modeord = 1; /* FFT order */
    options.showwarn = 0;
    options.nthreads = plan->threads;
    options.upsampfac = plan->sigma;
    const int code = self->make_plan(plan->type, 3, modes, 1, 1, (float)plan->tolerance, &self->plan, &options);

    self->plan = code <= WARNING ? self->plan : NULL; /* it frees what it began */
    SP_REQUIRE(code <= WARNING, SP_ERR_NUMERIC, "FINUFFT refuses tolerance %g at oversampling %g: code %d",
               plan->tolerance, plan->sigma, code);
done:
    return status;
}

sp_status sp_finufft_new(const sp_finufft_plan *plan, sp_finufft **finufft)
{
    sp_status status = SP_OK;
    sp_finufft *self = NULL;

    *finufft = NULL;
    SP_TRY(SP_ARRAY(self, 1));
    const sp_symbol symbols[] = {{"finufftf_default_opts", (void **)&self->default_options},
                                 {"finufftf_makeplan", (void **)&self->make_plan},
                                 {"finufftf_setpts", (void **)&self->set_points},
                                 {"finufftf_execute", (void **)&self->execute},
                                 {"finufftf_destroy", (void **)&self->destroy},
                                 {NULL, NULL}};
    if (sp_library_open(SP_PEER_FINUFFT, symbols)) {
        SP_TRY(make_plan(self, plan));
        *finufft = self;
        self = NULL;
    }
done:
    sp_finufft_free(self);
    return status;
}

void sp_finufft_free(sp_finufft *finufft)
{
    if (finufft && finufft->plan) {
        finufft->destroy(finufft->plan);
    }
    sp_array_free(finufft);
}

void sp_finufft_points(sp_finufft *finufft, ptrdiff_t count, float *const angle[3])
{
    /* its first axis is the fastest one */
    const int code = finufft->set_points(finufft->plan, count, angle[2], angle[1], angle[0], 0, NULL, NULL, NULL);

    finufft->failed |= code > WARNING;
}

void sp_finufft_run(sp_finufft *finufft, float complex *value, float complex *volume)
{
    finufft->failed |= finufft->execute(finufft->plan, value, volume) > WARNING;
}

int sp_finufft_failed(const sp_finufft *finufft)
{
    return finufft->failed;
}

#else /* not there; nothing else looks at the arrays: NOLINTBEGIN(readability-non-const-parameter) */

sp_status sp_finufft_new(const sp_finufft_plan *plan, sp_finufft **finufft)
{
    (void)plan;
    *finufft = NULL;
    return SP_OK;
}

void sp_finufft_free(sp_finufft *finufft)
{
    (void)finufft;
}

void sp_finufft_points(sp_finufft *finufft, ptrdiff_t count, float *const angle[3])
{
    (void)finufft, (void)count, (void)angle;
}

void sp_finufft_run(sp_finufft *finufft, float complex *value, float complex *volume)
{
    (void)finufft, (void)value, (void)volume;
}

int sp_finufft_failed(const sp_finufft *finufft)
{
    (void)finufft;
    return 0;
}

/* NOLINTEND(readability-non-const-parameter) */
#endif
