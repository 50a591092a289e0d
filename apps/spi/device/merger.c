/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/merger.h"

#include "base/memory.h"
#include "device/aim.h"
#include "device/nufft.h"
#include "device/solve.h"
#include "num/nufft.h"

enum {
    AIMED = 4096,      /* images that are spread at a time, at most */
    FETCHED = 1 << 20, /* numbers that come to the host at a time */
};

struct sp_device_merger {
    const sp_device *device;
    sp_merger_shape shape;
    ptrdiff_t doubles; /* of the pair */
    double *pair;      /* device, like the rest */
    sp_device_nufft *plan;
    sp_device_solver *solver;
    float *map;     /* [AIMED][3][3] */
    float *weights; /* [2 edge][2 edge][2 edge] the Toeplitz kernel */
    float *right;   /* [edge][edge][edge] right-hand side */
};

sp_status sp_device_merger_new(const sp_device *device, const sp_merger *like, ptrdiff_t points,
                               sp_device_merger **result)
{
    const sp_merger_shape shape = sp_merger_shape_of(like);
    const sp_nufft_layout layout = sp_nufft_layout_of(shape.nufft);
    const ptrdiff_t cube = shape.edge * shape.edge * shape.edge;
    sp_status status = SP_OK;
    sp_device_merger *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->device = device;
    self->shape = shape;
    self->doubles = sp_nufft_pair_count(shape.nufft);
    SP_TRY(SP_DEVICE_ARRAY(device, self->pair, self->doubles));
    SP_TRY(SP_DEVICE_ARRAY(device, self->map, 9 * AIMED));
    SP_TRY(SP_DEVICE_ARRAY(device, self->weights, 8 * cube));
    SP_TRY(SP_DEVICE_ARRAY(device, self->right, cube));
    SP_TRY(device->kernels->nufft->new_plan(device, &layout, points, &self->plan));
    SP_TRY(device->kernels->solve->make(device, shape.edge, shape.support, 1, 1, &self->solver));
    *result = self;
    self = NULL;
done:
    sp_device_merger_free(self);
    return status;
}

void sp_device_merger_free(sp_device_merger *self)
{
    if (!self) {
        return;
    }
    self->device->kernels->solve->release(self->device, self->solver);
    self->device->kernels->nufft->free_plan(self->device, self->plan);
    self->device->kernels->release(self->device, self->pair);
    self->device->kernels->release(self->device, self->map);
    self->device->kernels->release(self->device, self->weights);
    self->device->kernels->release(self->device, self->right);
    sp_array_free(self);
}

sp_status sp_device_merger_begin(sp_device_merger *self)
{
    return self->device->kernels->clear(self->device, self->pair, (size_t)self->doubles * sizeof *self->pair);
}

sp_status sp_device_merger_add(sp_device_merger *self, const sp_quat *q, ptrdiff_t images, const float *s,
                               ptrdiff_t count, const float *first, const float *second, const double most[2])
{
    const sp_device_kernels *kernels = self->device->kernels;
    sp_status status = SP_OK;

    for (ptrdiff_t n = 0; n < images; n += AIMED) {
        const ptrdiff_t some = images - n < AIMED ? images - n : AIMED;

        SP_TRY(sp_device_aim(self->device, self->shape.nufft, 2.0 * self->shape.box, q + n, some, self->map));
        SP_TRY(kernels->nufft->spread_pair(self->device, self->plan, self->map, some, s, count, first + n * count,
                                           second + n * count, most, self->pair));
    }
done:
    return status;
}

sp_status sp_device_merger_fetch(sp_device_merger *self, float *pair)
{
    sp_status status = SP_OK;
    double *some = NULL;

    SP_TRY(SP_ARRAY(some, FETCHED));
    for (ptrdiff_t first = 0; first < self->doubles; first += FETCHED) {
        const ptrdiff_t count = self->doubles - first < FETCHED ? self->doubles - first : FETCHED;

        SP_TRY(self->device->kernels->download(self->device, self->pair + first, (size_t)count * sizeof *some, some));
        for (ptrdiff_t i = 0; i < count; i++) {
            pair[first + i] = (float)some[i];
        }
    }
done:
    sp_array_free(some);
    return status;
}

sp_status sp_device_merger_solve(sp_device_merger *self, double outermost, double lambda, int iterations,
                                 float *autocorrelation, sp_merge_result *result)
{
    const sp_device_kernels *kernels = self->device->kernels;
    const ptrdiff_t edge = self->shape.edge;
    sp_device_solution solution;
    sp_status status = SP_OK;

    SP_TRY(kernels->nufft->collect(self->device, self->plan, self->pair, 1, 2 * edge, self->weights));
    SP_TRY(kernels->nufft->collect(self->device, self->plan, self->pair, 0, edge, self->right));
    SP_TRY(kernels->solve->prepare(self->device, self->solver, self->weights, self->right,
                                   sp_merger_sphere(&self->shape, outermost)));
    SP_TRY(kernels->clear(self->device, autocorrelation, (size_t)(edge * edge * edge) * sizeof *autocorrelation));
    SP_TRY(kernels->solve->solve(self->device, self->solver, &lambda, SP_MERGER_TOLERANCE, iterations, autocorrelation,
                                 &solution));
    *result = (sp_merge_result){.iterations = solution.iterations, .residual = solution.residual};
done:
    return status;
}
