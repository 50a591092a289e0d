/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdint.h>
#include <stdlib.h>

#include "base/memory.h"
#include "bench/library.h"
#include "bench/peers.h"

/* Its functions, as version 2 declares them: counts of points are int in some of them, which makes no difference to a
 * call with a count below 2^31. A NULL in place of the options stands for its defaults, work in CUDA's default stream
 * among them. */
struct sp_cufinufft {
    int (*make_plan)(int type, int dimensions, const int64_t *modes, int sign, int transforms, float tolerance,
                     void **plan, const void *options);
    int (*set_points)(void *plan, int64_t count, const float *x, const float *y, const float *z, int targets,
                      const float *s, const float *t, const float *u);
    int (*execute)(void *plan, float complex *value, float complex *volume);
    int (*destroy)(void *plan);
    int (*synchronize)(void); /* of CUDA's driver */
    void *plan;
    int failed;
};

enum { WARNING = 1 }; /* its highest code that is no failure */

static sp_status make_plan(sp_cufinufft *self, int type, ptrdiff_t n, double tolerance)
{
    const int64_t modes[3] = {n, n, n};
    const int code = self->make_plan(type, 3, modes, 1, 1, (float)tolerance, &self->plan, NULL);
    sp_status status = SP_OK;

    self->plan = code <= WARNING ? self->plan : NULL; /* it frees what it began */
    SP_REQUIRE(code <= WARNING, SP_ERR_NUMERIC, "cuFINUFFT refuses tolerance %g: code %d", tolerance, code);
done:
    return status;
}

/* Version 1 has functions of the same names with other parameters, and this one besides. */
static bool is_version_2(const char *path)
{
    void *unused = NULL;
    const sp_symbol former[] = {{"cufinufftf_default_opts", &unused}, {NULL, NULL}};

    return !sp_library_open(path, former);
}

sp_status sp_cufinufft_new(int type, ptrdiff_t n, double tolerance, sp_cufinufft **cufinufft)
{
    const char *path = getenv("SPICA_CUFINUFFT");
    sp_status status = SP_OK;
    sp_cufinufft *self = NULL;

    *cufinufft = NULL;
    SP_TRY(SP_ARRAY(self, 1));
    const sp_symbol symbols[] = {{"cufinufftf_makeplan", (void **)&self->make_plan},
                                 {"cufinufftf_setpts", (void **)&self->set_points},
                                 {"cufinufftf_execute", (void **)&self->execute},
                                 {"cufinufftf_destroy", (void **)&self->destroy},
                                 {NULL, NULL}};
    const sp_symbol driver[] = {{"cuCtxSynchronize", (void **)&self->synchronize}, {NULL, NULL}};

    if (path && is_version_2(path) && sp_library_open(path, symbols) && sp_library_open("libcuda.so.1", driver)) {
        SP_TRY(make_plan(self, type, n, tolerance));
        *cufinufft = self;
        self = NULL;
    }
done:
    sp_cufinufft_free(self);
    return status;
}

void sp_cufinufft_free(sp_cufinufft *cufinufft)
{
    if (cufinufft && cufinufft->plan) {
        cufinufft->destroy(cufinufft->plan);
    }
    sp_array_free(cufinufft);
}

void sp_cufinufft_points(sp_cufinufft *cufinufft, ptrdiff_t count, const float *const angle[3])
{
    /* its first axis is the fastest one */
    const int code = cufinufft->set_points(cufinufft->plan, count, angle[2], angle[1], angle[0], 0, NULL, NULL, NULL);

    cufinufft->failed |= code > WARNING;
}

void sp_cufinufft_run(sp_cufinufft *cufinufft, float complex *value, float complex *volume)
{
    cufinufft->failed |= cufinufft->execute(cufinufft->plan, value, volume) > WARNING;
}

void sp_cufinufft_wait(sp_cufinufft *cufinufft)
{
    cufinufft->failed |= cufinufft->synchronize() != 0;
}

int sp_cufinufft_failed(const sp_cufinufft *cufinufft)
{
    return cufinufft->failed;
}
