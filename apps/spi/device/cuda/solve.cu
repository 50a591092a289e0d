/* SPDX-License-Identifier: BSD-3-Clause */
/* What images add to merging's sums, and conjugate gradients on these. Traffic of an iteration of the latter, in bytes
 * for each voxel of edge n: the two transforms of edge 2 n read and write 8 floats a voxel on either side and in
 * between, 128 at least and 380 as three passes each; the product with the kernel 80; the vectors 44 where the support
 * is, and 3 for the support. To get there, the direction lives in the padded array that is transformed, whose other
 * voxels stay 0, and A times the direction in the one that is transformed back: neither is ever copied. */
#include <limits.h>
#include <math.h>

#include "base/memory.h"
#include "device/cuda/plugin.h"
#include "device/cuda/sums.h"
#include "device/solve.h"

enum {
    LOOK_EVERY = 8,    /* iterations, then the host asks whether any system still needs one */
    FLAT_THREADS = 256 /* of passes without sums */
};

/* What all kernels see. Arrays of the device. */
typedef struct view {
    int n, problems, systems;
    const uint8_t *support;   /* [n^3] */
    float *kernel;            /* [problems][half_count] transform of the kernel, normalised */
    float *right;             /* [problems][n^3] b, normalised; so with the other vectors only read in the support */
    float *residual;          /* [systems][n^3] */
    float *in, *out;          /* [systems][(2 n)^3] direction, and T direction */
    float2 *half;             /* [systems][half_count] its transform */
    double *norm, *curvature; /* [systems][parts] |b|^2; direction A direction */
    double *square[2];        /* [systems][parts] |residual|^2 before and after a step, in turn */
    double *lambda;           /* [systems] */
    int *steps;               /* [systems] iterations so far */
    ptrdiff_t cube, wide, half_count;
} view;

struct sp_device_solver {
    view v;
    unsigned parts;
    cufftHandle forward, backward;
};

/* ---- images ---- */

typedef struct weighing {
    sp_device_weighting by;
    sp_device_counts counts;
    const float *share, *scale;
    float *first, *second;
} weighing;

/* Of one image. */
static __global__ void __launch_bounds__(FLAT_THREADS) weigh_kernel(const weighing job)
{
    const ptrdiff_t image = blockIdx.x, row = image * job.by.pixels;
    const float *k = sp_device_counts_of(&job.counts, image);
    const float share = job.share ? job.share[image] : 1.0f, scale = share * job.scale[image];

    for (ptrdiff_t p = threadIdx.x; p < job.by.pixels; p += FLAT_THREADS) {
        const float ramp = __ldg(job.by.ramp + p);

        job.first[row + p] = share * ramp * (job.by.unit * k[p] - __ldg(job.by.background + p));
        job.second[row + p] = scale * ramp * __ldg(job.by.exposure + p);
    }
}

static sp_status weigh(const sp_device *device, const sp_device_weighting *by, const sp_device_counts *counts,
                       const float *share, const float *scale, float *first, float *second)
{
    sp_status status = SP_OK;
    const weighing job = {*by, *counts, share, scale, first, second};

    if (counts->images == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(weigh_kernel, (unsigned)counts->images, FLAT_THREADS, 0, device->state->stream, job);
done:
    return status;
}

/* ---- voxels ---- */

/* Row (x, y) of the small volume in the padded one. */
static __device__ __forceinline__ ptrdiff_t wide_row(int n, int row)
{
    const int x = row / n, y = row - x * n, a = x < n / 2 ? x : x + n, b = y < n / 2 ? y : y + n;

    return ((ptrdiff_t)a * 2 * n + b) * 2 * n;
}

static __device__ __forceinline__ int wide_column(int n, int z)
{
    return z < n / 2 ? z : z + n;
}

/* One voxel of the support: its place in small volumes of the system and of the problem, and in padded ones. */
typedef struct voxel {
    ptrdiff_t small, problem, wide;
    bool inside;
} voxel;

static __device__ __forceinline__ voxel voxel_at(const view *v, int row, int z)
{
    const ptrdiff_t system = blockIdx.y, i = (ptrdiff_t)row * v->n + z;

    return {system * v->cube + i, system % v->problems * v->cube + i,
            system * v->wide + wide_row(v->n, row) + wide_column(v->n, z), v->support[i] != 0};
}

/* Loops over the voxels of the support of system blockIdx.y; `at` is theirs. */
#define FOR_SUPPORT(v, at)                                                                                             \
    for (int row = sp_sum_first_row(); row < (v).n * (v).n; row += sp_sum_row_step())                                  \
        for (int z = (int)(threadIdx.x % SP_WARP); z < (v).n; z += SP_WARP)                                            \
            if (const voxel at = voxel_at(&(v), row, z); at.inside)

static __device__ __forceinline__ float product_at(const view *v, const voxel *at, float lambda)
{
    return v->out[at->wide] + lambda * v->in[at->wide];
}

static __device__ __forceinline__ double *part_of(double *part)
{
    return part + (ptrdiff_t)blockIdx.y * gridDim.x;
}

/* ---- the operator ---- */

static __global__ void __launch_bounds__(SP_SUM_THREADS, 4) place(const view v, const float *x)
{
    FOR_SUPPORT(v, at)
    {
        v.in[at.wide] = x[at.small];
    }
}

/* All systems of a problem: the kernel is read once. */
static __global__ void __launch_bounds__(FLAT_THREADS) multiply(const view v)
{
    const ptrdiff_t i = (ptrdiff_t)blockIdx.x * FLAT_THREADS + threadIdx.x;

    if (i < v.half_count) {
        const float factor = v.kernel[blockIdx.y * v.half_count + i];

        for (int system = (int)blockIdx.y; system < v.systems; system += v.problems) {
            float2 *value = v.half + system * v.half_count + i;

            *value = make_float2(factor * value->x, factor * value->y);
        }
    }
}

/* One thread for each voxel, those outside the support too. */
static __global__ void __launch_bounds__(SP_SUM_THREADS) crop(const view v, float *out)
{
    const float lambda = (float)v.lambda[blockIdx.y];

    for (int row = sp_sum_first_row(); row < v.n * v.n; row += sp_sum_row_step()) {
        for (int z = (int)(threadIdx.x % SP_WARP); z < v.n; z += SP_WARP) {
            const voxel at = voxel_at(&v, row, z);

            out[at.small] = at.inside ? product_at(&v, &at, lambda) : 0.0f;
        }
    }
}

static dim3 flat_blocks(const view *v, int count)
{
    return dim3((unsigned)((v->half_count + FLAT_THREADS - 1) / FLAT_THREADS), (unsigned)count);
}

static dim3 sum_blocks(const sp_device_solver *self)
{
    return dim3(self->parts, (unsigned)self->v.systems);
}

/* out = T in, on the padded arrays. */
static sp_status convolve(const sp_device *device, sp_device_solver *self)
{
    sp_status status = SP_OK;
    view *v = &self->v;

    SP_TRY_CUFFT(cufftExecR2C(self->forward, v->in, v->half));
    SP_LAUNCH(multiply, flat_blocks(v, v->problems), FLAT_THREADS, 0, device->state->stream, *v);
    SP_TRY_CUFFT(cufftExecC2R(self->backward, v->half, v->out));
done:
    return status;
}

static sp_status place_and_convolve(const sp_device *device, sp_device_solver *self, const float *x)
{
    sp_status status = SP_OK;

    SP_LAUNCH(place, sum_blocks(self), SP_SUM_THREADS, 0, device->state->stream, self->v, x);
    SP_TRY(convolve(device, self));
done:
    return status;
}

static sp_status take_lambda(const sp_device *device, sp_device_solver *self, const double *lambda)
{
    return device->kernels->upload(device, lambda, (size_t)self->v.systems * sizeof *lambda, self->v.lambda);
}

static sp_status apply(const sp_device *device, sp_device_solver *self, const double *lambda, const float *in,
                       float *out)
{
    sp_status status = SP_OK;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY(take_lambda(device, self, lambda));
    SP_TRY(place_and_convolve(device, self, in));
    SP_LAUNCH(crop, sum_blocks(self), SP_SUM_THREADS, 0, device->state->stream, self->v, out);
done:
    return status;
}

/* ---- the problems ---- */

/* Spectra of the weights into kernels: transforms are not scaled, and do it here.
 *   factor  sphere / (2 n)^3 */
static __global__ void __launch_bounds__(FLAT_THREADS) normalise_kernel(const view v, double factor)
{
    const ptrdiff_t i = (ptrdiff_t)blockIdx.x * FLAT_THREADS + threadIdx.x, at = blockIdx.y * v.half_count + i;

    if (i < v.half_count) {
        v.kernel[at] = v.half[at].x * (float)(factor / v.in[blockIdx.y * v.wide]);
    }
}

static __global__ void __launch_bounds__(SP_SUM_THREADS)
    normalise_right(const view v, const float *right, double sphere)
{
    const float factor = (float)(sphere / v.in[blockIdx.y * v.wide]);

    FOR_SUPPORT(v, at)
    {
        v.right[at.problem] = factor * right[at.problem];
    }
}

static sp_status prepare(const sp_device *device, sp_device_solver *self, const float *weights, const float *right,
                         double sphere)
{
    sp_status status = SP_OK;
    view *v = &self->v;
    const cudaStream_t stream = device->state->stream;
    const double wide = (double)v->wide;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY_CUDA(cudaMemcpyAsync(v->in, weights, (size_t)(v->problems * v->wide) * sizeof *v->in,
                                cudaMemcpyDeviceToDevice, stream));
    SP_TRY_CUFFT(cufftExecR2C(self->forward, v->in, v->half)); /* those behind the problems are of no use */
    SP_LAUNCH(normalise_kernel, flat_blocks(v, v->problems), FLAT_THREADS, 0, stream, *v, sphere / wide);
    SP_LAUNCH(normalise_right, dim3(self->parts, (unsigned)v->problems), SP_SUM_THREADS, 0, stream, *v, right, sphere);
    SP_TRY_CUDA(cudaMemsetAsync(v->in, 0, (size_t)(v->problems * v->wide) * sizeof *v->in, stream));
done:
    return status;
}

/* ---- conjugate gradients ---- */

/* From A x: the residual, which is the first direction, and |b|^2. */
static __global__ void __launch_bounds__(SP_SUM_THREADS) begin(const view v)
{
    const float lambda = (float)v.lambda[blockIdx.y];
    double sum[2] = {0.0, 0.0};

    FOR_SUPPORT(v, at)
    {
        const float b = v.right[at.problem], residual = b - product_at(&v, &at, lambda);

        v.residual[at.small] = residual;
        v.in[at.wide] = residual;
        sum[0] += (double)b * b;
        sum[1] += (double)residual * residual;
    }
    sp_sum_leave(sum, 1, part_of(v.norm), 0);
    sp_sum_leave(sum + 1, 1, part_of(v.square[0]), 0);
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        v.steps[blockIdx.y] = 0;
    }
}

static __global__ void __launch_bounds__(SP_SUM_THREADS) curve(const view v)
{
    const float lambda = (float)v.lambda[blockIdx.y];
    double sum = 0.0;

    FOR_SUPPORT(v, at)
    {
        sum += (double)v.in[at.wide] * product_at(&v, &at, lambda);
    }
    sp_sum_leave(&sum, 1, part_of(v.curvature), 0);
}

/* Does the system need a step, and can it take one? Not where A is not positive, or there is a NaN. */
static __device__ __forceinline__ bool goes_on(double norm, double square, double curvature, double tolerance)
{
    return square > tolerance * tolerance * norm && curvature > 0.0;
}

/* x += alpha direction, residual -= alpha A direction.   now  which of square[] is that of the residual before */
static __global__ void __launch_bounds__(SP_SUM_THREADS) step(const view v, double tolerance, int now, float *x)
{
    const float lambda = (float)v.lambda[blockIdx.y];
    const double *const part[] = {part_of(v.norm), part_of(v.square[now]), part_of(v.curvature)};
    double total[3], sum = 0.0;

    sp_sum_total(part, (int)gridDim.x, total, 3);
    if (!goes_on(total[0], total[1], total[2], tolerance)) { /* the same in all blocks */
        if (threadIdx.x == 0) {
            part_of(v.square[!now])[blockIdx.x] = part[1][blockIdx.x];
        }
        return;
    }
    const float alpha = (float)(total[1] / total[2]);
    FOR_SUPPORT(v, at)
    {
        const float direction = v.in[at.wide], residual = v.residual[at.small] - alpha * product_at(&v, &at, lambda);

        x[at.small] += alpha * direction;
        v.residual[at.small] = residual;
        sum += (double)residual * residual;
    }
    sp_sum_leave(&sum, 1, part_of(v.square[!now]), 0);
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        v.steps[blockIdx.y]++;
    }
}

/* direction = residual + beta direction */
static __global__ void __launch_bounds__(SP_SUM_THREADS) turn(const view v, double tolerance, int now)
{
    const double *const part[] = {part_of(v.norm), part_of(v.square[now]), part_of(v.curvature),
                                  part_of(v.square[!now])};
    double total[4];

    sp_sum_total(part, (int)gridDim.x, total, 4);
    if (!goes_on(total[0], total[1], total[2], tolerance)) {
        return;
    }
    const float beta = (float)(total[3] / total[1]);
    FOR_SUPPORT(v, at)
    {
        v.in[at.wide] = v.residual[at.small] + beta * v.in[at.wide];
    }
}

/* |b - A x|^2 in place of the curvature. */
static __global__ void __launch_bounds__(SP_SUM_THREADS) measure(const view v)
{
    const float lambda = (float)v.lambda[blockIdx.y];
    double sum = 0.0;

    FOR_SUPPORT(v, at)
    {
        const float off = v.right[at.problem] - product_at(&v, &at, lambda);

        sum += (double)off * off;
    }
    sp_sum_leave(&sum, 1, part_of(v.curvature), 0);
}

/* Has any system taken all of the steps so far?   steps  scratch, host [systems] */
static sp_status any_goes_on(const sp_device *device, const view *v, int so_far, int *steps, bool *any)
{
    sp_status status = SP_OK;

    SP_TRY(device->kernels->download(device, v->steps, (size_t)v->systems * sizeof *steps, steps));
    *any = false;
    for (int i = 0; i < v->systems; i++) {
        *any = *any || steps[i] == so_far;
    }
done:
    return status;
}

static sp_status iterate(const sp_device *device, sp_device_solver *self, double tolerance, int iterations, float *x,
                         int *steps)
{
    sp_status status = SP_OK;
    const cudaStream_t stream = device->state->stream;
    bool any = true;

    for (int i = 0; i < iterations && any; i++) {
        SP_TRY(convolve(device, self));
        SP_LAUNCH(curve, sum_blocks(self), SP_SUM_THREADS, 0, stream, self->v);
        SP_LAUNCH(step, sum_blocks(self), SP_SUM_THREADS, 0, stream, self->v, tolerance, i % 2, x);
        SP_LAUNCH(turn, sum_blocks(self), SP_SUM_THREADS, 0, stream, self->v, tolerance, i % 2);
        if (i % LOOK_EVERY == LOOK_EVERY - 1) {
            SP_TRY(any_goes_on(device, &self->v, i + 1, steps, &any));
        }
    }
done:
    return status;
}

/* total[i] = sum of part[i]; both of the host. */
static void add_up(const double *part, unsigned parts, int systems, double *total)
{
    for (int i = 0; i < systems; i++) {
        total[i] = 0.0;
        for (unsigned k = 0; k < parts; k++) {
            total[i] += part[i * (ptrdiff_t)parts + k];
        }
    }
}

/* Sums of one kind, of all systems.   part  scratch, host */
static sp_status read_sums(const sp_device *device, const sp_device_solver *self, const double *from, double *part,
                           double *total)
{
    sp_status status = SP_OK;
    const size_t count = (size_t)self->v.systems * self->parts;

    SP_TRY(device->kernels->download(device, from, count * sizeof *part, part));
    add_up(part, self->parts, self->v.systems, total);
done:
    return status;
}

/* How it came out, from the sums that measure() and the last step left. */
static sp_status conclude(const sp_device *device, const sp_device_solver *self, double tolerance,
                          sp_device_solution *solution)
{
    sp_status status = SP_OK;
    const int systems = self->v.systems;
    double *part = NULL, *norm = NULL, *square = NULL, *fresh = NULL;
    int *steps = NULL, most = 0;

    SP_TRY(SP_ARRAY(part, systems * (ptrdiff_t)self->parts));
    SP_TRY(SP_ARRAY(norm, systems));
    SP_TRY(SP_ARRAY(square, systems));
    SP_TRY(SP_ARRAY(fresh, systems));
    SP_TRY(SP_ARRAY(steps, systems));
    SP_TRY(device->kernels->download(device, self->v.steps, (size_t)systems * sizeof *steps, steps));
    SP_TRY(read_sums(device, self, self->v.norm, part, norm));
    SP_TRY(read_sums(device, self, self->v.curvature, part, fresh));
    for (int i = 0; i < systems; i++) {
        most = steps[i] > most ? steps[i] : most;
    }
    SP_TRY(read_sums(device, self, self->v.square[most % 2], part, square)); /* those that ended hold it in both */
    for (int i = 0; i < systems; i++) {
        solution[i].iterations = steps[i];
        solution[i].residual = norm[i] > 0.0 ? sqrt(fresh[i] / norm[i]) : 0.0;
        solution[i].converged = square[i] <= tolerance * tolerance * norm[i];
    }
done:
    sp_array_free(part);
    sp_array_free(norm);
    sp_array_free(square);
    sp_array_free(fresh);
    sp_array_free(steps);
    return status;
}

static sp_status solve(const sp_device *device, sp_device_solver *self, const double *lambda, double tolerance,
                       int iterations, float *x, sp_device_solution *solution)
{
    sp_status status = SP_OK;
    const cudaStream_t stream = device->state->stream;
    int *steps = NULL;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY(SP_ARRAY(steps, self->v.systems));
    SP_TRY(take_lambda(device, self, lambda));
    SP_TRY(place_and_convolve(device, self, x));
    SP_LAUNCH(begin, sum_blocks(self), SP_SUM_THREADS, 0, stream, self->v);
    SP_TRY(iterate(device, self, tolerance, iterations, x, steps));
    SP_TRY(place_and_convolve(device, self, x));
    SP_LAUNCH(measure, sum_blocks(self), SP_SUM_THREADS, 0, stream, self->v);
    SP_TRY(conclude(device, self, tolerance, solution));
done:
    sp_array_free(steps);
    return status;
}

/* ---- plans ---- */

static void release(const sp_device *device, sp_device_solver *self)
{
    if (!self || sp_cuda_enter(device) != SP_OK) {
        return;
    }
    void *const arrays[] = {(void *)self->v.support,
                            self->v.kernel,
                            self->v.right,
                            self->v.residual,
                            self->v.in,
                            self->v.out,
                            self->v.half,
                            self->v.norm,
                            self->v.curvature,
                            self->v.square[0],
                            self->v.square[1],
                            self->v.lambda,
                            self->v.steps};

    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        device->kernels->release(device, arrays[i]);
    }
    sp_cuda_drop_transform(self->forward);
    sp_cuda_drop_transform(self->backward);
    sp_array_free(self);
}

static sp_status make_arrays(const sp_device *device, const uint8_t *support, sp_device_solver *self)
{
    sp_status status = SP_OK;
    view *v = &self->v;
    const ptrdiff_t parts = v->systems * (ptrdiff_t)self->parts;
    uint8_t *mask = NULL;

    SP_TRY(SP_DEVICE_ARRAY(device, mask, v->cube));
    v->support = mask;
    SP_TRY(device->kernels->upload(device, support, (size_t)v->cube, mask));
    SP_TRY(SP_DEVICE_ARRAY(device, v->kernel, v->problems * v->half_count));
    SP_TRY(SP_DEVICE_ARRAY(device, v->right, v->problems * v->cube));
    SP_TRY(SP_DEVICE_ARRAY(device, v->residual, v->systems * v->cube));
    SP_TRY(SP_DEVICE_ARRAY(device, v->in, v->systems * v->wide));
    SP_TRY(device->kernels->clear(device, v->in, (size_t)(v->systems * v->wide) * sizeof *v->in));
    SP_TRY(SP_DEVICE_ARRAY(device, v->out, v->systems * v->wide));
    SP_TRY(SP_DEVICE_ARRAY(device, v->half, v->systems * v->half_count));
    SP_TRY(SP_DEVICE_ARRAY(device, v->norm, parts));
    SP_TRY(SP_DEVICE_ARRAY(device, v->curvature, parts));
    SP_TRY(SP_DEVICE_ARRAY(device, v->square[0], parts));
    SP_TRY(SP_DEVICE_ARRAY(device, v->square[1], parts));
    SP_TRY(SP_DEVICE_ARRAY(device, v->lambda, v->systems));
    SP_TRY(SP_DEVICE_ARRAY(device, v->steps, v->systems));
done:
    return status;
}

static sp_status make(const sp_device *device, ptrdiff_t edge, const uint8_t *support, int problems, int lambdas,
                      sp_device_solver **solver)
{
    sp_status status = SP_OK;
    const double wide = 8.0 * (double)edge * (double)edge * (double)edge;
    sp_device_solver *self = NULL;

    SP_REQUIRE(edge % 2 == 0 && wide * problems * lambdas <= INT_MAX, SP_ERR_USAGE,
               "%d systems of edge %td: the edge must be even, and all together no more than a GPU transforms at once",
               problems * lambdas, edge);
    SP_TRY(sp_cuda_enter(device));
    SP_TRY(SP_ARRAY(self, 1));
    self->forward = self->backward = SP_NO_TRANSFORM;
    self->v.n = (int)edge;
    self->v.problems = problems;
    self->v.systems = problems * lambdas;
    self->v.cube = edge * edge * edge;
    self->v.wide = 8 * self->v.cube;
    self->v.half_count = 4 * edge * edge * (edge + 1);
    self->parts = sp_sum_parts((int)edge);
    SP_TRY(make_arrays(device, support, self));
    SP_TRY(sp_cuda_plan_transform(device, 2 * (int)edge, CUFFT_R2C, self->v.systems, &self->forward));
    SP_TRY(sp_cuda_plan_transform(device, 2 * (int)edge, CUFFT_C2R, self->v.systems, &self->backward));
    *solver = self;
    self = NULL; /* handed over */
done:
    release(device, self);
    return status;
}

extern "C" const sp_device_solve_kernels sp_cuda_solve = {
    .weigh = weigh, .make = make, .release = release, .prepare = prepare, .apply = apply, .solve = solve};
