/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/slicer.h"

#include "base/memory.h"
#include "device/aim.h"
#include "device/nufft.h"
#include "num/nufft.h"

struct sp_device_slicer {
    const sp_device *device;
    const sp_slicer *slicer;
    sp_nufft_stencil stencil;
    ptrdiff_t cells;       /* of a grid */
    sp_device_nufft *plan; /* device, like the grids */
    float *grid;           /* [models][cells] */
};

sp_status sp_device_slicer_new(const sp_device *device, const sp_slicer *slicer, int models, sp_device_slicer **result)
{
    const sp_nufft_layout layout = sp_nufft_layout_of(slicer->nufft);
    sp_status status = SP_OK;
    sp_device_slicer *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->device = device;
    self->slicer = slicer;
    self->stencil = layout.stencil;
    self->cells = layout.size[0] * layout.size[1] * layout.size[2];
    SP_TRY(SP_DEVICE_ARRAY(device, self->grid, models * self->cells));
    SP_TRY(device->kernels->nufft->new_plan(device, &layout, 1, &self->plan)); /* it spreads nothing */
    *result = self;
    self = NULL;
done:
    sp_device_slicer_free(self);
    return status;
}

void sp_device_slicer_free(sp_device_slicer *self)
{
    if (!self) {
        return;
    }
    self->device->kernels->nufft->free_plan(self->device, self->plan);
    self->device->kernels->release(self->device, self->grid);
    sp_array_free(self);
}

sp_status sp_device_slicer_load(sp_device_slicer *self, int k, const float *autocorrelation)
{
    return self->device->kernels->nufft->prepare(self->device, self->plan, autocorrelation,
                                                 self->grid + k * self->cells);
}

sp_status sp_device_slicer_aim(const sp_device_slicer *self, const sp_quat *q, ptrdiff_t count, float *map)
{
    return sp_device_aim(self->device, self->slicer->nufft, self->slicer->box, q, count, map);
}

sp_status sp_device_slicer_cut(const sp_device_slicer *self, int k, const float *map, ptrdiff_t count, const float *s,
                               ptrdiff_t pixels, float *pattern)
{
    return self->device->kernels->nufft->interpolate(self->device, &self->stencil, self->grid + k * self->cells, map,
                                                     count, s, pixels, true, pattern);
}

sp_status sp_device_slicer_cut_turns(const sp_device_slicer *self, int k, const float *map, ptrdiff_t count,
                                     const float *s, ptrdiff_t pixels, float *pattern, float *turn)
{
    return self->device->kernels->nufft->interpolate_turns(self->device, &self->stencil, self->grid + k * self->cells,
                                                           map, count, s, pixels, pattern, turn);
}
