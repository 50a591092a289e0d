/* SPDX-License-Identifier: BSD-3-Clause */
/* The polar search: products of matrices, and what makes, sorts and reads their factors.
 *
 * The limit is memory, when the grid is fine: for each image and orientation the frequencies are written and read once,
 * and the scores once, 16 bytes in all; the two products take about as many operations as images have coefficients, and
 * as there are angles, a few hundred. */
#include "device/polar.h"

#include "device/cuda/lists.h"
#include "device/cuda/plugin.h"
#include "device/cuda/sums.h"
#include "phases/likelihood_terms.h"
#include "phases/polar_kernels.h"

enum {
    THREADS = SP_SUM_THREADS,
    WARPS = THREADS / SP_WARP,
    FEW_THREADS = 128, /* for orders and samples of a ring: about as many */
    FOUR = 4,          /* floats that a thread reads at once */
    TOP_EXPONENT = 14, /* of the largest half, less one for safety */
    TAPS = SP_POLAR_TAPS,
};

static const float LEAST = 1e-30f; /* sums below this are 0 */
static const float MAGNIFY =
    256.0f; /* features, so that small ones are whole halves: they are 2 * 104 at most, for r < 1e15 */

static ptrdiff_t pieces(ptrdiff_t count, ptrdiff_t size)
{
    return (count + size - 1) / size;
}

/* C[i][j] = sum_l A[i][l] B[l][j] in single precision; cuBLAS sees columns where these are rows.
 *   a_row, b_row, c_row  floats from one row to the next */
static sp_status multiply(const sp_device *device, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t depth, const float *a,
                          ptrdiff_t a_row, const float *b, ptrdiff_t b_row, float *c, ptrdiff_t c_row)
{
    sp_status status = SP_OK;
    const float one = 1.0f, zero = 0.0f;
    cublasHandle_t handle = NULL;

    SP_TRY(sp_cuda_blas(device, &handle));
    SP_TRY_CUBLAS(cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, (int)columns, (int)rows, (int)depth, &one, b,
                               CUDA_R_32F, (int)b_row, a, CUDA_R_32F, (int)a_row, &zero, c, CUDA_R_32F, (int)c_row,
                               CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
done:
    return status;
}

/* ---- images ---- */

static __global__ void __launch_bounds__(THREADS)
    gather_kernel(const sp_device_counts counts, ptrdiff_t pixels, float *photons)
{
    const float *k = sp_device_counts_of(&counts, blockIdx.x);

    for (ptrdiff_t p = threadIdx.x; p < pixels; p += THREADS) {
        photons[blockIdx.x * pixels + p] = k[p];
    }
}

static __device__ __forceinline__ float tap_of(const float *weight, int tap)
{
    return tap >= 0 && tap < TAPS ? weight[tap] : 0.0f;
}

/* What pixel first + blockIdx.x adds to a ring: w exp(i m phi), of the ring and of the one opposite.
 *   weight  out  [gridDim.x][orders][2] */
static __global__ void __launch_bounds__(FEW_THREADS)
    weights_kernel(const sp_device_polar_arrays there, int ring, ptrdiff_t first, int orders, float *weight)
{
    const ptrdiff_t p = first + blockIdx.x;
    const int inner = there.inner[p];
    const float straight = tap_of(there.weight + p * TAPS, ring - inner);
    const float opposite = tap_of(there.weight + p * TAPS, -ring - 1 - inner);
    const double angle = there.angle[p]; /* double: multiplied by m; and it is little work */

    for (int m = (int)threadIdx.x; m < orders; m += FEW_THREADS) {
        const float sum = m % 2 ? straight - opposite : straight + opposite;
        float *to = weight + 2 * ((ptrdiff_t)blockIdx.x * orders + m);
        double s, c;

        sincos((double)m * angle, &s, &c);
        to[0] = sum * (float)c;
        to[1] = sum * (float)s;
    }
}

static sp_status sum_ring(const sp_device *device, const sp_device_polar *by, ptrdiff_t ring, ptrdiff_t images,
                          const float *photons, float *weight, float *sums)
{
    sp_status status = SP_OK;
    const ptrdiff_t first = by->pixel_first[ring], count = by->pixel_end[ring] - first, orders = by->orders[ring];

    SP_LAUNCH(weights_kernel, (unsigned)count, FEW_THREADS, 0, device->state->stream, by->there, (int)ring, first,
              (int)orders, weight);
    SP_TRY(multiply(device, images, 2 * orders, count, photons + first, by->pixels, weight, 2 * orders,
                    sums + 2 * by->order_start[ring], 2 * by->coefficients));
done:
    return status;
}

static sp_status sums(const sp_device *device, const sp_device_polar *by, const sp_device_counts *counts,
                      float *scratch, float *sums)
{
    sp_status status = SP_OK;
    float *photons = scratch + sp_device_polar_fill(by->weights, FOUR);

    if (counts->images == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(gather_kernel, (unsigned)counts->images, THREADS, 0, device->state->stream, *counts, by->pixels, photons);
    for (ptrdiff_t ring = 0; ring < by->rings; ring++) {
        SP_TRY(sum_ring(device, by, ring, counts->images, photons, scratch, sums));
    }
done:
    return status;
}

/* Real and imaginary part, written at once. */
typedef struct alignas(4) rounded {
    __half re, im;
} rounded;

static __device__ __forceinline__ rounded round_pair(float re, float im)
{
    return {__float2half_rn(re), __float2half_rn(im)};
}

/* The coefficient for a place of a row.   conjugate  receives: is it the conjugate that counts? */
static __device__ __forceinline__ float2 load_coefficient(const float *from, int32_t source, bool *conjugate)
{
    *conjugate = source < -1;
    if (source == -1) {
        return make_float2(0.0f, 0.0f);
    }
    return ((const float2 *)from)[*conjugate ? -2 - source : source];
}

/* The power of two that brings the largest number of the block's image near to the largest half; in all threads. */
static __device__ float find_factor(const float *from, ptrdiff_t count)
{
    float top = 0.0f;

    for (ptrdiff_t i = threadIdx.x; i < count; i += THREADS) {
        top = fmaxf(top, fabsf(from[i]));
    }
    top = sp_sum_block_top(top);
    return top > LEAST ? ldexpf(1.0f, TOP_EXPONENT - ilogbf(top)) : 1.0f;
}

static __global__ void __launch_bounds__(THREADS)
    pack_kernel(const sp_device_polar_arrays there, const float *sums, ptrdiff_t coefficients, ptrdiff_t pairs,
                ptrdiff_t rings, rounded *packed, float *unit, float *centre)
{
    const ptrdiff_t image = blockIdx.x;
    const float *from = sums + 2 * image * coefficients, factor = find_factor(from, 2 * coefficients);

    for (ptrdiff_t i = threadIdx.x; i < pairs; i += THREADS) {
        bool conjugate;
        const float2 value = load_coefficient(from, __ldg(there.source + i), &conjugate);

        packed[image * pairs + i] = round_pair(factor * value.x, factor * value.y);
    }
    for (ptrdiff_t k = threadIdx.x; k < rings; k += THREADS) {
        centre[image * rings + k] = from[2 * there.order_start[k]];
    }
    if (threadIdx.x == 0) {
        unit[image] = 1.0f / factor;
    }
}

static sp_status pack(const sp_device *device, const sp_device_polar *by, const float *sums, ptrdiff_t images,
                      sp_half *packed, float *unit, float *centre)
{
    sp_status status = SP_OK;

    if (images == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(pack_kernel, (unsigned)images, THREADS, 0, device->state->stream, by->there, sums, by->coefficients,
              by->row / 2, by->rings, (rounded *)packed, unit, centre);
done:
    return status;
}

/* ---- what all directions have in common ---- */

static __device__ __forceinline__ float mean_at(const sp_device_polar_arrays *there, ptrdiff_t ring, float intensity)
{
    return sp_likelihood_mean(intensity, there->base[ring], there->gain[ring]);
}

/* Of ring blockIdx.x. */
static __global__ void __launch_bounds__(THREADS)
    average_kernel(const sp_device_polar_arrays there, float dispersion, const float *intensity, ptrdiff_t directions,
                   ptrdiff_t samples, ptrdiff_t rings, float *common)
{
    const ptrdiff_t ring = blockIdx.x, first = there.sample_start[ring], count = there.sample_start[ring + 1] - first;
    double sum[2] = {0.0, 0.0}; /* double: many terms of one sign */

    for (ptrdiff_t i = threadIdx.x; i < directions * count; i += THREADS) {
        const float m = mean_at(&there, ring, intensity[i / count * samples + first + i % count]);

        sum[0] += (double)sp_likelihood_feature(m, dispersion);
        sum[1] += (double)sp_likelihood_loss(m, dispersion);
    }
    sp_sum_block(sum, 2);
    if (threadIdx.x < 2) {
        common[threadIdx.x * rings + ring] = (float)(sum[threadIdx.x] / (double)(directions * count));
    }
}

static sp_status average(const sp_device *device, const sp_device_polar *by, const float *intensity,
                         ptrdiff_t directions, float *common)
{
    sp_status status = SP_OK;

    if (directions == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(average_kernel, (unsigned)by->rings, THREADS, 0, device->state->stream, by->there, by->dispersion,
              intensity, directions, by->samples, by->rings, common);
done:
    return status;
}

typedef struct offsets_job {
    const float *centre, *scale, *exposed, *common;
    const int32_t *order_start;
    ptrdiff_t images, rings;
    double dispersion;
    double *offset;
} offsets_job;

/* One image for each thread: little is read. */
static __global__ void __launch_bounds__(THREADS) offsets_kernel(const offsets_job job)
{
    const ptrdiff_t image = (ptrdiff_t)blockIdx.x * THREADS + threadIdx.x;
    double feature = 0.0, loss = 0.0; /* double: they hold most of the score */

    if (image >= job.images) {
        return;
    }
    for (ptrdiff_t k = 0; k < job.rings; k++) {
        feature += (double)job.centre[image * job.rings + k] * (double)job.common[k];
        loss += (double)job.exposed[2 * job.order_start[k]] * (double)job.common[job.rings + k];
    }
    job.offset[image] = feature - (double)job.scale[image] * job.dispersion * loss;
}

static sp_status offsets(const sp_device *device, const sp_device_polar *by, const float *centre, ptrdiff_t images,
                         const float *scale, const float *exposed, const float *common, double *offset)
{
    sp_status status = SP_OK;
    const offsets_job job = {
        centre, scale, exposed, common, by->there.order_start, images, by->rings, (double)by->dispersion, offset};

    if (images == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(offsets_kernel, (unsigned)pieces(images, THREADS), THREADS, 0, device->state->stream, job);
done:
    return status;
}

/* ---- features of directions ---- */

/* Ring blockIdx.y of direction blockIdx.x.   value  out  [2][directions][samples] feature, loss */
static __global__ void __launch_bounds__(FEW_THREADS)
    samples_kernel(const sp_device_polar_arrays there, float dispersion, const float *intensity, ptrdiff_t samples,
                   const float *common, float *value)
{
    const ptrdiff_t ring = blockIdx.y, rings = gridDim.y, begin = (ptrdiff_t)blockIdx.x * samples;
    const float feature = common[ring], loss = common[rings + ring];

    for (int i = there.sample_start[ring] + (int)threadIdx.x; i < there.sample_start[ring + 1]; i += FEW_THREADS) {
        const float m = mean_at(&there, ring, intensity[begin + i]);

        value[begin + i] = sp_likelihood_feature(m, dispersion) - feature;
        value[gridDim.x * samples + begin + i] = sp_likelihood_loss(m, dispersion) - loss;
    }
}

/* Direction blockIdx.x of a tile that is filled up to gridDim.x; a warp takes a frequency.
 *   coefficient  in  [directions][coefficients][2] */
static __global__ void __launch_bounds__(THREADS)
    sort_kernel(const sp_device_polar_arrays there, const float *coefficient, ptrdiff_t coefficients,
                ptrdiff_t directions, int frequencies, rounded *feature)
{
    const ptrdiff_t d = blockIdx.x, filled = gridDim.x;
    const float *from = coefficient + 2 * d * coefficients;

    for (int j = (int)threadIdx.x / SP_WARP; j < frequencies; j += WARPS) {
        const ptrdiff_t first = there.start[j] / 2, count = there.start[j + 1] / 2 - first;
        rounded *re = feature + 2 * filled * first + d * count, *im = re + filled * count;

        for (ptrdiff_t i = threadIdx.x % SP_WARP; i < count; i += SP_WARP) {
            bool conjugate;
            const float2 value = load_coefficient(from, d < directions ? there.source[first + i] : -1, &conjugate);

            const float x = MAGNIFY * value.x, y = MAGNIFY * value.y;

            re[i] = round_pair(x, -y);
            im[i] = conjugate ? round_pair(-y, -x) : round_pair(y, x);
        }
    }
}

/* Frequency j of a direction's loss with the shares; in the first lane of the warp. */
static __device__ __forceinline__ float2 expose(const sp_device_polar_arrays *there, int j, const float *loss,
                                                const float *exposed)
{
    float2 sum = make_float2(0.0f, 0.0f);

    for (int i = there->start[j] / 2 + (int)threadIdx.x % SP_WARP; i < there->start[j + 1] / 2; i += SP_WARP) {
        bool conjugate;
        const float2 x = load_coefficient(exposed, there->source[i], &conjugate);
        const float2 g = load_coefficient(loss, there->source[i], &conjugate);
        const float im = x.x * g.y + x.y * g.x;

        sum.x += x.x * g.x - x.y * g.y;
        sum.y += conjugate ? -im : im;
    }
    for (int apart = SP_WARP / 2; apart > 0; apart /= 2) {
        sum.x += __shfl_down_sync(SP_ALL_LANES, sum.x, apart);
        sum.y += __shfl_down_sync(SP_ALL_LANES, sum.y, apart);
    }
    return sum;
}

/* Of direction blockIdx.x.   loss  in  [directions][coefficients][2] */
static __global__ void __launch_bounds__(THREADS)
    bias_kernel(const sp_device_polar_arrays there, const float *loss, ptrdiff_t coefficients, const float *exposed,
                int frequencies, int angles, float dispersion, float *bias)
{
    SP_DYNAMIC_SHARED(float, half); /* [frequencies][re, im] */
    const ptrdiff_t d = blockIdx.x, filled = (angles + FOUR - 1) / FOUR * FOUR;

    for (int j = (int)threadIdx.x / SP_WARP; j < frequencies; j += WARPS) {
        const float2 sum = expose(&there, j, loss + 2 * d * coefficients, exposed);

        if (threadIdx.x % SP_WARP == 0) {
            half[2 * j] = sum.x;
            half[2 * j + 1] = sum.y;
        }
    }
    __syncthreads();
    for (ptrdiff_t a = threadIdx.x; a < filled; a += THREADS) {
        float sum = 0.0f;

        for (int i = 0; i < 2 * frequencies; i++) {
            sum += half[i] * there.turn[i * filled + a];
        }
        bias[d * filled + a] = a < angles ? -dispersion * sum : -INFINITY;
    }
}

/* Coefficients of values on the rings.
 *   value        in   [rows][samples]
 *   coefficient  out  [rows][coefficients][2] */
static sp_status transform(const sp_device *device, const sp_device_polar *by, const float *value, ptrdiff_t rows,
                           float *coefficient)
{
    sp_status status = SP_OK;

    for (ptrdiff_t k = 0; k < by->rings; k++) {
        const ptrdiff_t first = by->sample_start[k], count = by->sample_start[k + 1] - first, wide = 2 * by->orders[k];

        SP_TRY(multiply(device, rows, wide, count, value + first, by->samples, by->there.circle + by->circle_start[k],
                        wide, coefficient + 2 * by->order_start[k], 2 * by->coefficients));
    }
done:
    return status;
}

static sp_status features(const sp_device *device, const sp_device_polar *by, const float *intensity,
                          ptrdiff_t directions, const float *common, const float *exposed, float *scratch,
                          sp_half *feature, float *bias)
{
    sp_status status = SP_OK;
    const cudaStream_t stream = device->state->stream;
    float *coefficient = scratch + 2 * directions * by->samples;
    const float *loss = coefficient + 2 * directions * by->coefficients;

    if (directions == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(samples_kernel, dim3((unsigned)directions, (unsigned)by->rings), FEW_THREADS, 0, stream, by->there,
              by->dispersion, intensity, by->samples, common, scratch);
    SP_TRY(transform(device, by, scratch, 2 * directions, coefficient));
    SP_LAUNCH(sort_kernel, (unsigned)sp_device_polar_fill(directions, SP_DEVICE_POLAR_GROUP), THREADS, 0, stream,
              by->there, coefficient, by->coefficients, directions, (int)by->frequencies, (rounded *)feature);
    SP_LAUNCH(bias_kernel, (unsigned)directions, THREADS, 2 * (size_t)by->frequencies * sizeof(float), stream,
              by->there, loss, by->coefficients, exposed, (int)by->frequencies, (int)by->angles, by->dispersion, bias);
done:
    return status;
}

/* ---- who is best ---- */

static __global__ void __launch_bounds__(THREADS) clear_kernel(ptrdiff_t count, sp_candidate *best)
{
    const ptrdiff_t i = (ptrdiff_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < count) {
        best[i] = {0, -INFINITY};
    }
}

static sp_status clear_lists(const sp_device *device, ptrdiff_t images, int keep, sp_candidate *best)
{
    sp_status status = SP_OK;

    if (images == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(clear_kernel, (unsigned)pieces(images * keep, THREADS), THREADS, 0, device->state->stream, images * keep,
              best);
done:
    return status;
}

static __global__ void __launch_bounds__(THREADS)
    add_offsets_kernel(const double *offset, ptrdiff_t count, int keep, sp_candidate *best)
{
    const ptrdiff_t i = (ptrdiff_t)blockIdx.x * THREADS + threadIdx.x;

    if (i < count) {
        best[i].score = (float)(offset[i / keep] + (double)best[i].score);
    }
}

static sp_status add_offsets(const sp_device *device, const double *offset, ptrdiff_t images, int keep,
                             sp_candidate *best)
{
    sp_status status = SP_OK;

    if (images == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(add_offsets_kernel, (unsigned)pieces(images * keep, THREADS), THREADS, 0, device->state->stream, offset,
              images * keep, keep, best);
done:
    return status;
}

/* Numbers below are floats; rows of angles are filled up, and four of them are read at once. */
typedef struct choice {
    sp_device_polar_images images;
    const float *product, *bias;
    ptrdiff_t stride;      /* of an image's products */
    int fours, row;        /* in the tile, and in a direction */
    int32_t first, angles; /* index of the first orientation; in a direction */
    int keep;
    sp_candidate *best;
} choice;

/* The four scores at `at`, if that is in the tile. */
static __device__ __forceinline__ void load_scores(const choice *job, const float4 *product, float unit, float scale,
                                                   int at, float score[4])
{
    const float4 none = make_float4(-INFINITY, -INFINITY, -INFINITY, -INFINITY);
    const float4 p = at < job->fours ? product[at] : none, b = at < job->fours ? ((const float4 *)job->bias)[at] : none;

    score[0] = unit * p.x + scale * b.x; /* beyond the last angle no number, or -infinity: neither enters a list */
    score[1] = unit * p.y + scale * b.y;
    score[2] = unit * p.z + scale * b.z;
    score[3] = unit * p.w + scale * b.w;
}

static __device__ __forceinline__ int32_t index_of(const choice *job, int at)
{
    return job->first + at / job->row * job->angles + at % job->row * FOUR;
}

/* A warp for each image. Two loads are under way at a time: few images must keep a GPU busy. */
static __global__ void __launch_bounds__(THREADS) choose_kernel(const choice job)
{
    const int lane = (int)threadIdx.x % SP_WARP;
    const ptrdiff_t image = (ptrdiff_t)blockIdx.x * WARPS + threadIdx.x / SP_WARP;

    if (image >= job.images.images) { /* a whole warp */
        return;
    }
    const float4 *product = (const float4 *)(job.product + image * job.stride);
    const float unit = job.images.unit[image], scale = job.images.scale[image];
    sp_candidate *best = job.best + image * job.keep;
    sp_cuda_list list = sp_cuda_list_load(best, job.keep);

    for (int at = lane; at - lane < job.fours; at += 2 * SP_WARP) {
        float near[FOUR], far[FOUR];

        load_scores(&job, product, unit, scale, at, near);
        load_scores(&job, product, unit, scale, at + SP_WARP, far);
        sp_cuda_list_insert_fours(near, index_of(&job, at), &list);
        sp_cuda_list_insert_fours(far, index_of(&job, at + SP_WARP), &list);
    }
    sp_cuda_list_store(&list, best);
}

/* half[n][j][re, im][d]; cuBLAS sees columns where these are rows.   filled  directions of the tile, filled up */
static sp_status correlate(const sp_device *device, const sp_device_polar *by, const sp_device_polar_images *images,
                           const sp_half *feature, ptrdiff_t filled, float *half)
{
    sp_status status = SP_OK;
    const float factor = 1.0f / MAGNIFY, zero = 0.0f;
    const int wide = (int)(2 * filled);
    cublasHandle_t handle = NULL;

    SP_TRY(sp_cuda_blas(device, &handle));
    for (ptrdiff_t j = 0; j < by->frequencies; j++) {
        const ptrdiff_t start = by->start[j];
        const int depth = (int)(by->start[j + 1] - start);

        SP_TRY_CUBLAS(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, wide, (int)images->images, depth, &factor,
                                   feature + wide * start, CUDA_R_16F, depth, images->packed + start, CUDA_R_16F,
                                   (int)by->row, &zero, half + wide * j, CUDA_R_32F, (int)(wide * by->frequencies),
                                   CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
    }
done:
    return status;
}

/* product[n][d][a], a matrix product for each image.   row  angles, filled up */
static sp_status turn(const sp_device *device, const sp_device_polar *by, const float *half, ptrdiff_t images,
                      ptrdiff_t filled, ptrdiff_t row, float *product)
{
    sp_status status = SP_OK;
    const float one = 1.0f, zero = 0.0f;
    const int depth = (int)(2 * by->frequencies);
    cublasHandle_t handle = NULL;

    SP_TRY(sp_cuda_blas(device, &handle));
    SP_TRY_CUBLAS(cublasGemmStridedBatchedEx(handle, CUBLAS_OP_N, CUBLAS_OP_T, (int)row, (int)filled, depth, &one,
                                             by->there.turn, CUDA_R_32F, (int)row, 0, half, CUDA_R_32F, (int)filled,
                                             depth * filled, &zero, product, CUDA_R_32F, (int)row, row * filled,
                                             (int)images, CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_GEMM_DEFAULT));
done:
    return status;
}

static sp_status compare(const sp_device *device, const sp_device_polar *by, const sp_device_polar_images *images,
                         const sp_device_polar_tile *tile, float *scratch, int keep, sp_candidate *best)
{
    sp_status status = SP_OK;
    const ptrdiff_t filled = sp_device_polar_fill(tile->directions, SP_DEVICE_POLAR_GROUP);
    const ptrdiff_t row = sp_device_polar_fill(by->angles, FOUR);
    float *product = scratch + 2 * images->images * filled * by->frequencies;
    const choice job = {.images = *images,
                        .product = product,
                        .bias = tile->bias,
                        .stride = filled * row,
                        .fours = (int)(tile->directions * row / FOUR),
                        .row = (int)(row / FOUR),
                        .first = (int32_t)(tile->first * by->angles),
                        .angles = (int32_t)by->angles,
                        .keep = keep,
                        .best = best};

    SP_REQUIRE(keep >= 1 && keep <= SP_DEVICE_POLAR_KEPT, SP_ERR_USAGE, "a GPU keeps 1 to %d orientations, not %d",
               (int)SP_DEVICE_POLAR_KEPT, keep);
    if (images->images == 0 || tile->directions == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_TRY(correlate(device, by, images, tile->feature, filled, scratch));
    SP_TRY(turn(device, by, scratch, images->images, filled, row, product));
    SP_LAUNCH(choose_kernel, (unsigned)pieces(images->images, WARPS), THREADS, 0, device->state->stream, job);
done:
    return status;
}

extern "C" const sp_device_polar_kernels sp_cuda_polar = {
    .sums = sums,
    .pack = pack,
    .average = average,
    .offsets = offsets,
    .features = features,
    .clear_lists = clear_lists,
    .compare = compare,
    .add_offsets = add_offsets,
};
