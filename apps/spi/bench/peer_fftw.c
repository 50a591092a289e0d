/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/memory.h"
#include "bench/peers.h"

#ifdef SP_PEER_FFTW

#include <fftw3.h>

#include "bench/library.h"

struct sp_fftw {
    __typeof__(fftwf_plan_dft_r2c_3d) *plan_forward;
    __typeof__(fftwf_plan_dft_c2r_3d) *plan_backward;
    __typeof__(fftwf_execute) *execute;
    __typeof__(fftwf_destroy_plan) *destroy;
    fftwf_plan forward, backward;
};

sp_status sp_fftw_new(ptrdiff_t n, float *in, float complex *half, float *out, sp_fftw **fftw)
{
    const int edge = (int)n;
    sp_status status = SP_OK;
    sp_fftw *self = NULL;

    *fftw = NULL;
    SP_TRY(SP_ARRAY(self, 1));
    const sp_symbol symbols[] = {{"fftwf_plan_dft_r2c_3d", (void **)&self->plan_forward},
                                 {"fftwf_plan_dft_c2r_3d", (void **)&self->plan_backward},
                                 {"fftwf_execute", (void **)&self->execute},
                                 {"fftwf_destroy_plan", (void **)&self->destroy},
                                 {NULL, NULL}};
    if (sp_library_open(SP_PEER_FFTW, symbols)) {
        self->forward = self->plan_forward(edge, edge, edge, in, half, FFTW_MEASURE | FFTW_PRESERVE_INPUT);
        self->backward = self->plan_backward(edge, edge, edge, half, out, FFTW_MEASURE | FFTW_DESTROY_INPUT);
        SP_REQUIRE(self->forward && self->backward, SP_ERR_NUMERIC, "FFTW makes no plan for edge %td", n);
        *fftw = self;
        self = NULL;
    }
done:
    sp_fftw_free(self);
    return status;
}

void sp_fftw_free(sp_fftw *fftw)
{
    if (!fftw) {
        return;
    }
    if (fftw->forward) {
        fftw->destroy(fftw->forward);
    }
    if (fftw->backward) {
        fftw->destroy(fftw->backward);
    }
    sp_array_free(fftw);
}

void sp_fftw_forward(const sp_fftw *fftw)
{
    fftw->execute(fftw->forward);
}

void sp_fftw_backward(const sp_fftw *fftw)
{
    fftw->execute(fftw->backward);
}

#else /* not there; nothing else looks at the arrays: NOLINTBEGIN(readability-non-const-parameter) */

sp_status sp_fftw_new(ptrdiff_t n, float *in, float complex *half, float *out, sp_fftw **fftw)
{
    (void)n, (void)in, (void)half, (void)out;
    *fftw = NULL;
    return SP_OK;
}

void sp_fftw_free(sp_fftw *fftw)
{
    (void)fftw;
}

void sp_fftw_forward(const sp_fftw *fftw)
{
    (void)fftw;
}

void sp_fftw_backward(const sp_fftw *fftw)
{
    (void)fftw;
}

/* NOLINTEND(readability-non-const-parameter) */
#endif
