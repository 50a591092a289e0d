/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/amplitudes.h"

#include "base/memory.h"

struct sp_device_amplitudes {
    const sp_device *device;
    sp_device_phaser *phaser;
    sp_amplitudes *by;
    size_t bytes;
    float *here;  /* [edge][edge][edge/2+1] intensities, then amplitudes */
    float *there; /* device, likewise */
};

sp_status sp_device_amplitudes_new(const sp_device *device, sp_device_phaser *phaser, ptrdiff_t edge, double voxel,
                                   sp_device_amplitudes **result)
{
    const ptrdiff_t count = edge * edge * (edge / 2 + 1);
    sp_status status = SP_OK;
    sp_device_amplitudes *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->device = device;
    self->phaser = phaser;
    self->bytes = (size_t)count * sizeof *self->here;
    SP_TRY(sp_amplitudes_new(edge, voxel, &self->by));
    SP_TRY(SP_ARRAY(self->here, count));
    SP_TRY(SP_DEVICE_ARRAY(device, self->there, count));
    *result = self;
    self = NULL;
done:
    sp_device_amplitudes_free(self);
    return status;
}

void sp_device_amplitudes_free(sp_device_amplitudes *self)
{
    if (!self) {
        return;
    }
    self->device->kernels->release(self->device, self->there);
    sp_array_free(self->here);
    sp_amplitudes_free(self->by);
    sp_array_free(self);
}

sp_status sp_device_amplitudes_make(sp_device_amplitudes *self, const float *autocorrelation, double s_low,
                                    double s_high, bool noisy, const float **amplitude)
{
    const sp_device_kernels *kernels = self->device->kernels;
    sp_status status = SP_OK;

    SP_TRY(kernels->phase->intensities(self->device, self->phaser, autocorrelation, self->there));
    SP_TRY(kernels->download(self->device, self->there, self->bytes, self->here));
    sp_amplitudes_make(self->by, self->here, s_low, s_high, noisy, self->here);
    SP_TRY(kernels->upload(self->device, self->here, self->bytes, self->there));
    *amplitude = self->there;
done:
    return status;
}
