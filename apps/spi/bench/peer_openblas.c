/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/memory.h"
#include "bench/peers.h"

#ifdef SP_PEER_OPENBLAS

#include <cblas.h>
#include <stdlib.h>

#include "bench/library.h"

struct sp_blas {
    __typeof__(cblas_sgemm) *sgemm;
    __typeof__(openblas_set_num_threads) *set_threads;
    __typeof__(openblas_get_corename) *core;
};

/* OpenBLAS chooses its kernels by the model of the processor, not by what it can do: 0.3.21 has AVX-512 kernels and
 * does not use them on models younger than itself. It looks at the environment when it is loaded. */
static void name_core_type(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512vl")) {
        setenv("OPENBLAS_CORETYPE", "SkylakeX", 0);
    }
#endif
}

sp_status sp_blas_new(sp_blas **blas)
{
    sp_status status = SP_OK;
    sp_blas *self = NULL;

    *blas = NULL;
    SP_TRY(SP_ARRAY(self, 1));
    const sp_symbol symbols[] = {{"cblas_sgemm", (void **)&self->sgemm},
                                 {"openblas_set_num_threads", (void **)&self->set_threads},
                                 {"openblas_get_corename", (void **)&self->core},
                                 {NULL, NULL}};
    name_core_type();
    if (sp_library_open(SP_PEER_OPENBLAS, symbols)) {
        self->set_threads(1);
        *blas = self;
        self = NULL;
    }
done:
    sp_blas_free(self);
    return status;
}

void sp_blas_free(sp_blas *blas)
{
    sp_array_free(blas);
}

const char *sp_blas_core(const sp_blas *blas)
{
    return blas->core();
}

void sp_blas_product(const sp_blas *blas, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t inner, const float *a,
                     const float *b, float *c)
{
    blas->sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, (int)rows, (int)columns, (int)inner, 1.0f, a, (int)inner, b,
                (int)inner, 0.0f, c, (int)columns);
}

#else /* not there; nothing else looks at the arrays: NOLINTBEGIN(readability-non-const-parameter) */

sp_status sp_blas_new(sp_blas **blas)
{
    *blas = NULL;
    return SP_OK;
}

void sp_blas_free(sp_blas *blas)
{
    (void)blas;
}

const char *sp_blas_core(const sp_blas *blas)
{
    (void)blas;
    return "";
}

void sp_blas_product(const sp_blas *blas, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t inner, const float *a,
                     const float *b, float *c)
{
    (void)blas, (void)rows, (void)columns, (void)inner, (void)a, (void)b, (void)c;
}

/* NOLINTEND(readability-non-const-parameter) */
#endif
