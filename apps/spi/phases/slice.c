/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/slice.h"

#include "base/memory.h"
#include "num/nufft.h"

static const double OVERSAMPLING = 1.5; /* of the interpolation grid: 4e-4 of the local intensity at width 4 */

sp_status sp_slicer_new(ptrdiff_t edge, double voxel, int width, sp_slicer **slicer)
{
    sp_status status = SP_OK;
    sp_slicer *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->box = (double)edge * voxel;
    self->reach = 0.5 / voxel;
    SP_TRY(sp_nufft_new(edge, width, OVERSAMPLING, &self->nufft));
    SP_TRY(SP_ARRAY(self->own, sp_nufft_grid_count(self->nufft)));
    self->grid = self->own;
    *slicer = self;
    self = NULL;
done:
    sp_slicer_free(self);
    return status;
}

void sp_slicer_free(sp_slicer *slicer)
{
    if (!slicer) {
        return;
    }
    sp_nufft_free(slicer->nufft);
    sp_array_free(slicer->own);
    sp_array_free(slicer);
}

double sp_slicer_bytes(ptrdiff_t edge)
{
    return sp_nufft_plan_bytes(edge, OVERSAMPLING) + sp_nufft_grid_bytes(edge, OVERSAMPLING);
}

double sp_slicer_reach(const sp_slicer *slicer)
{
    return slicer->reach;
}

void sp_slicer_load(sp_slicer *slicer, const float *autocorrelation)
{
    sp_slicer_make_grid(slicer, autocorrelation, slicer->own);
}

ptrdiff_t sp_slicer_grid_count(const sp_slicer *slicer)
{
    return sp_nufft_grid_count(slicer->nufft);
}

void sp_slicer_make_grid(const sp_slicer *slicer, const float *autocorrelation, float *grid)
{
    sp_nufft_prepare(slicer->nufft, autocorrelation, grid);
}

sp_slicer sp_slicer_on(const sp_slicer *slicer, const float *grid)
{
    sp_slicer on = *slicer;

    on.own = NULL;
    on.grid = grid;
    return on;
}

void sp_slicer_cut(const sp_slicer *slicer, sp_quat q, float *const s[3], ptrdiff_t pixels, float *pattern)
{
    const sp_mat3 rotation = sp_quat_to_matrix(q);

    sp_nufft_interpolate(slicer->nufft, slicer->grid, &rotation, slicer->box, (const float *const *)s, pixels, pattern);
    for (ptrdiff_t p = 0; p < pixels; p++) {
        pattern[p] = pattern[p] > 0.0f ? pattern[p] : 0.0f;
    }
}

void sp_slicer_cut_turns(const sp_slicer *slicer, sp_quat q, float *const s[3], ptrdiff_t pixels, float *pattern,
                         float *const turn[3])
{
    const sp_mat3 rotation = sp_quat_to_matrix(q);

    sp_nufft_interpolate_turns(slicer->nufft, slicer->grid, &rotation, slicer->box, (const float *const *)s, pixels,
                               pattern, turn);
    for (int i = 0; i < 3; i++) {
        for (ptrdiff_t p = 0; p < pixels; p++) {
            turn[i][p] = pattern[p] > 0.0f ? turn[i][p] : 0.0f;
        }
    }
    for (ptrdiff_t p = 0; p < pixels; p++) {
        pattern[p] = pattern[p] > 0.0f ? pattern[p] : 0.0f;
    }
}
