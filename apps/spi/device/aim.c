/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/aim.h"

#include "num/nufft_layout.h"

enum { AT_ONCE = 4096 }; /* orientations */

sp_status sp_device_aim(const sp_device *device, const sp_nufft *plan, double scale, const sp_quat *q, ptrdiff_t count,
                        float *map)
{
    sp_status status = SP_OK;
    float aimed[AT_ONCE][3][3];

    for (ptrdiff_t first = 0; first < count; first += AT_ONCE) {
        const ptrdiff_t some = count - first < AT_ONCE ? count - first : AT_ONCE;

#pragma omp parallel for schedule(static)
        for (ptrdiff_t i = 0; i < some; i++) {
            const sp_mat3 rotation = sp_quat_to_matrix(q[first + i]);

            sp_nufft_map(plan, &rotation, scale, aimed[i]);
        }
        SP_TRY(device->kernels->upload(device, aimed, (size_t)some * sizeof *aimed, map + 9 * first));
    }
done:
    return status;
}
