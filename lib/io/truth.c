/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/truth.h"

#include <math.h>

#include "base/memory.h"
#include "io/h5.h"

static const double MAX_NORM_ERROR = 1e-3; /* quaternions stored in half precision still pass */

/* Make quaternions unit to the last digit; refuse what never was a rotation. */
static sp_status normalize(const char *path, ptrdiff_t count, double *orientation)
{
    sp_status status = SP_OK;

    for (ptrdiff_t i = 0; i < count; i++) {
        double *q = orientation + 4 * i;
        const double norm = sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3]);

        SP_REQUIRE(fabs(norm - 1.0) <= MAX_NORM_ERROR, SP_ERR_INPUT,
                   "%s: `orientations` of image %td has length %g; unit quaternions (w,x,y,z) are needed", path, i,
                   norm);
        for (int axis = 0; axis < 4; axis++) {
            q[axis] /= norm;
        }
    }
done:
    return status;
}

static sp_status read_structure(sp_h5 *h5, ptrdiff_t count, int32_t *structure)
{
    sp_status status = SP_OK;

    if (sp_h5_exists(h5, "conformations")) {
        SP_TRY(sp_h5_read_int32(h5, "conformations", 1, &count, structure));
        for (ptrdiff_t i = 0; i < count; i++) {
            SP_REQUIRE(structure[i] >= 0, SP_ERR_INPUT, "%s: `conformations` of image %td is %d; they count from 0",
                       sp_h5_path(h5), i, structure[i]);
        }
    }
done:
    return status;
}

sp_status sp_truth_read(const char *path, ptrdiff_t *count, double **orientation, int32_t **structure)
{
    sp_status status = SP_OK;
    sp_h5 *h5 = NULL;
    sp_h5_info info = {0};
    double *q = NULL;
    int32_t *which = NULL;

    SP_TRY(sp_h5_open(path, &h5));
    SP_REQUIRE(sp_h5_exists(h5, "orientations"), SP_ERR_INPUT,
               "%s: no dataset `orientations` in it: only simulated images know the truth", path);
    SP_TRY(sp_h5_get_info(h5, "orientations", &info));
    const ptrdiff_t images = info.rank > 0 ? info.shape[0] : 0, shape[] = {images, 4};

    SP_REQUIRE(images > 0, SP_ERR_INPUT, "%s: `orientations` is empty", path);
    SP_REQUIRE(sp_h5_fits(&info, 2, shape), SP_ERR_INPUT,
               "%s: `orientations` must have shape [images][4] or [images][1][4]", path);
    SP_TRY(SP_ARRAY(q, 4 * images));
    SP_TRY(sp_h5_read_double(h5, "orientations", 2, shape, q));
    SP_TRY(normalize(path, images, q));
    SP_TRY(SP_ARRAY(which, images));
    SP_TRY(read_structure(h5, images, which));
    *count = images;
    *orientation = q;
    q = NULL;
    if (structure) {
        *structure = which;
        which = NULL;
    }
done:
    sp_array_free(which);
    sp_array_free(q);
    sp_h5_close(h5);
    return status;
}
