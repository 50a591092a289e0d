/* SPDX-License-Identifier: BSD-3-Clause */
/* The plan of a NUFFT, volumes to grids and pairs of grids to volumes. Reading goes along rows of the grid, so that one
 * side of each copy is in order; the other, where z is fastest, meets in the second-level cache. That is enough for
 * what is done once for thousands of patterns. */
#include "base/memory.h"
#include "device/cuda/nufft_plan.h"

enum { THREADS = 128 };

/* What kernels know of a plan. */
typedef struct grid_shape {
    int32_t fine, size[3], origin[3];
} grid_shape;

/* ---- plan ---- */

static void destroy_transforms(sp_device_nufft *plan)
{
    if (plan->can_forward) {
        cufftDestroy(plan->forward);
    }
    if (plan->can_backward) {
        cufftDestroy(plan->backward);
    }
}

void sp_cuda_nufft_free(const sp_device *device, sp_device_nufft *plan)
{
    if (!plan) {
        return;
    }
    if (sp_cuda_enter(device) == SP_OK) {
        destroy_transforms(plan);
    }
    sp_cuda_sorter_clear(device, &plan->sorter);
    device->kernels->release(device, plan->factor);
    device->kernels->release(device, plan->real);
    device->kernels->release(device, plan->half);
    sp_array_free(plan);
}

static sp_status make_transforms(const sp_device *device, sp_device_nufft *plan)
{
    sp_status status = SP_OK;
    const int fine = plan->fine;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY_CUFFT(cufftPlan3d(&plan->forward, fine, fine, fine, CUFFT_R2C));
    plan->can_forward = true;
    SP_TRY_CUFFT(cufftPlan3d(&plan->backward, fine, fine, fine, CUFFT_C2R));
    plan->can_backward = true;
    SP_TRY_CUFFT(cufftSetStream(plan->forward, device->state->stream));
    SP_TRY_CUFFT(cufftSetStream(plan->backward, device->state->stream));
done:
    return status;
}

sp_status sp_cuda_nufft_new(const sp_device *device, const sp_nufft_layout *layout, ptrdiff_t points,
                            sp_device_nufft **plan)
{
    sp_status status = SP_OK;
    sp_device_nufft *self = NULL;
    const ptrdiff_t fine = layout->fine, factors = layout->edge / 2 + 1;

    SP_TRY(SP_ARRAY(self, 1));
    self->width = layout->stencil.width;
    self->stencil = sp_cuda_flatten(&layout->stencil);
    self->edge = (int32_t)layout->edge;
    self->fine = (int32_t)fine;
    for (int i = 0; i < 3; i++) {
        self->size[i] = (int32_t)layout->size[i];
        self->origin[i] = (int32_t)layout->origin[i];
    }
    self->points = points;
    SP_TRY(SP_DEVICE_ARRAY(device, self->factor, factors));
    SP_TRY(SP_DEVICE_ARRAY(device, self->real, fine * fine * fine));
    SP_TRY(SP_DEVICE_ARRAY(device, self->half, fine * fine * (fine / 2 + 1)));
    SP_TRY(sp_cuda_sorter_init(device, layout, points, &self->sorter));
    SP_TRY(make_transforms(device, self));
    SP_TRY(device->kernels->upload(device, layout->factor, (size_t)factors * sizeof *self->factor, self->factor));
    *plan = self;
    self = NULL;
done:
    sp_cuda_nufft_free(device, self);
    return status;
}

static grid_shape shape_of(const sp_device_nufft *plan)
{
    grid_shape shape = {};

    shape.fine = plan->fine;
    for (int i = 0; i < 3; i++) {
        shape.size[i] = plan->size[i];
        shape.origin[i] = plan->origin[i];
    }
    return shape;
}

/* ---- volumes ---- */

/* Coordinate of element i of an axis in FFT order, and back. */
static __device__ __forceinline__ int coordinate(int i, int n)
{
    return i <= n / 2 ? i : i - n;
}

static __device__ __forceinline__ int element(int coordinate, int n)
{
    return coordinate < 0 ? coordinate + n : coordinate;
}

/* out = in * factors for |x|, |y|, |z| <= most, 0 elsewhere; edges n and m. */
static __global__ void __launch_bounds__(THREADS)
    scale_cube(const float *in, int n, const float *factor, int most, int m, float *out)
{
    const int i = (int)(blockIdx.x * THREADS + threadIdx.x);
    const int x = coordinate((int)blockIdx.z, m), y = coordinate((int)blockIdx.y, m), z = coordinate(i, m);
    float scaled = 0.0f;

    if (i >= m) {
        return;
    }
    if (abs(x) <= most && abs(y) <= most && abs(z) <= most) {
        const ptrdiff_t row = (ptrdiff_t)element(x, n) * n + element(y, n);

        scaled = in[row * n + element(z, n)] * (factor[abs(x)] * factor[abs(y)]) * factor[abs(z)];
    }
    out[((ptrdiff_t)blockIdx.z * m + blockIdx.y) * m + i] = scaled;
}

static sp_status start_scale(const sp_device *device, const sp_device_nufft *plan, const float *in, int n, int most,
                             int m, float *out)
{
    sp_status status = SP_OK;
    const dim3 blocks((unsigned)sp_cuda_pieces(m, THREADS), (unsigned)m, (unsigned)m);

    SP_LAUNCH(scale_cube, blocks, THREADS, 0, device->state->stream, in, n, plan->factor, most, m, out);
done:
    return status;
}

/* ---- grids ---- */

/* Place of the frequency (x: b, y: c, z), x and y modulo `fine`, in the half-complex array. */
static __device__ __forceinline__ ptrdiff_t frequency(int fine, int b, int c, int z)
{
    const int x = (b + 2 * fine) % fine, y = (c + 2 * fine) % fine;

    return ((ptrdiff_t)x * fine + y) * (fine / 2 + 1) + z;
}

/* Every cell (a, b, c) of the padded half space from the frequencies z = 0 .. fine/2: planes beyond are those of -k. */
static __global__ void __launch_bounds__(THREADS) unfold(grid_shape shape, const cufftComplex *half, float *grid)
{
    const int column = (int)(blockIdx.x * THREADS + threadIdx.x), fine = shape.fine;
    const int a = (int)blockIdx.z - shape.origin[0], b = (int)blockIdx.y - shape.origin[1];
    const int c = column - shape.origin[2];
    const bool up = a >= 0 && a <= fine / 2;

    if (column >= shape.size[2]) {
        return;
    }
    const ptrdiff_t from = up ? frequency(fine, b, c, a) : frequency(fine, -b, -c, a < 0 ? -a : fine - a);

    grid[((ptrdiff_t)blockIdx.z * shape.size[1] + blockIdx.y) * shape.size[2] + column] = half[from].x;
}

sp_status sp_cuda_prepare(const sp_device *device, sp_device_nufft *plan, const float *volume, float *grid)
{
    sp_status status = SP_OK;
    const dim3 blocks((unsigned)sp_cuda_pieces(plan->size[2], THREADS), (unsigned)plan->size[1],
                      (unsigned)plan->size[0]);

    SP_TRY(sp_cuda_enter(device));
    SP_TRY(start_scale(device, plan, volume, plan->edge, plan->edge / 2 - 1, plan->fine, plan->real));
    SP_TRY_CUFFT(cufftExecR2C(plan->forward, plan->real, plan->half));
    SP_LAUNCH(unfold, blocks, THREADS, 0, device->state->stream, shape_of(plan), plan->half, grid);
done:
    return status;
}

/* ---- pairs ---- */

/* Cell (a, b, c) of one grid of a pair; a, b, c from the cell of k = 0. */
static __device__ __forceinline__ double cell_of(const grid_shape *shape, const double *sum, int a, int b, int c)
{
    const ptrdiff_t row = (ptrdiff_t)(a + shape->origin[0]) * shape->size[1] + b + shape->origin[1];

    return sum[2 * (row * shape->size[2] + c + shape->origin[2])];
}

/* All cells that stand for the frequency (x: b, y: c, z): those at k, and those at -k, which lie where a is -z, or
 * beyond fine/2. */
static __device__ __forceinline__ double fold_cells(const grid_shape *shape, const double *sum, int b, int c, int z)
{
    double folded = cell_of(shape, sum, z, b, c);

    if (z <= shape->origin[0]) {
        folded += cell_of(shape, sum, -z, -b, -c);
    }
    if (shape->fine - z < shape->size[0] - shape->origin[0]) {
        folded += cell_of(shape, sum, shape->fine - z, -b, -c);
    }
    return folded;
}

/* Adds every cell of the padded half space to the frequency it stands for: the adjoint of unfold. Each cell counts for
 * k and -k together, c cos(k r) = c/2 (e^{ikr} + e^{-ikr}), and the transform adds the conjugates of 0 < z < fine/2 by
 * itself.   sum  in  of a pair: every second double */
static __global__ void __launch_bounds__(THREADS) fold(grid_shape shape, const double *sum, cufftComplex *half)
{
    const int x = (int)blockIdx.y, y = (int)(blockIdx.x * THREADS + threadIdx.x), z = (int)blockIdx.z;
    const int fine = shape.fine;
    double folded = 0.0;

    if (y >= fine) {
        return;
    }
    for (int b = x - fine; b <= x; b += fine) { /* what padding holds counts for both ends of an axis */
        for (int c = y - fine; c <= y; c += fine) {
            if (abs(b) <= shape.origin[1] && abs(c) <= shape.origin[2]) {
                folded += fold_cells(&shape, sum, b, c, z);
            }
        }
    }
    half[frequency(fine, x, y, z)] = make_float2((float)(0.5 * folded), 0.0f);
}

sp_status sp_cuda_collect(const sp_device *device, sp_device_nufft *plan, const double *pair, int which, ptrdiff_t m,
                          float *volume)
{
    sp_status status = SP_OK;
    const int fine = plan->fine;
    const dim3 blocks((unsigned)sp_cuda_pieces(fine, THREADS), (unsigned)fine, (unsigned)(fine / 2 + 1));

    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(fold, blocks, THREADS, 0, device->state->stream, shape_of(plan), pair + which, plan->half);
    SP_TRY_CUFFT(cufftExecC2R(plan->backward, plan->half, plan->real));
    SP_TRY(start_scale(device, plan, plan->real, fine, (int)m / 2 - 1, (int)m, volume));
done:
    return status;
}
