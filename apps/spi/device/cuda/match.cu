/* SPDX-License-Identifier: BSD-3-Clause */
/* The dense search as a matrix product on tensor cores. Each image's products with a tile are read once more, by a warp
 * that holds the image's list, one candidate in a lane: few products enter it, so it runs as fast as memory. */
#include "device/match.h"

#include "device/cuda/plugin.h"
#include "phases/likelihood_terms.h"

enum { THREADS = 256, WARPS = THREADS / SP_WARP };
static const ptrdiff_t MOST_ROWS = INT32_MAX; /* cuBLAS counts in int, CUDA its blocks in as many */
static const unsigned ALL = 0xffffffffu;      /* lanes of a warp */

static ptrdiff_t pieces(ptrdiff_t count, ptrdiff_t size)
{
    return (count + size - 1) / size;
}

/* The same sum in all lanes. */
static __device__ __forceinline__ double sum_warp(double x)
{
    for (int apart = SP_WARP / 2; apart > 0; apart /= 2) {
        x += __shfl_xor_sync(ALL, x, apart);
    }
    return x;
}

/* Sum over the block, in an order that is always the same; in all threads. */
static __device__ double sum_block(double x)
{
    __shared__ double of_warp[WARPS];
    double sum = 0.0;

    x = sum_warp(x);
    if (threadIdx.x % SP_WARP == 0) {
        of_warp[threadIdx.x / SP_WARP] = x;
    }
    __syncthreads();
    for (int i = 0; i < WARPS; i++) {
        sum += of_warp[i];
    }
    __syncthreads(); /* before the next sum */
    return sum;
}

/* ---- factors of the product ---- */

static __global__ void __launch_bounds__(THREADS)
    pack_kernel(const sp_device_counts counts, ptrdiff_t pixels, ptrdiff_t row, __nv_bfloat16 *packed)
{
    const ptrdiff_t image = blockIdx.x;
    const float *k = sp_device_counts_of(&counts, image);

    for (ptrdiff_t p = threadIdx.x; p < row; p += THREADS) {
        packed[image * row + p] = __float2bfloat16_rn(p < pixels ? k[p] : 0.0f);
    }
}

static sp_status pack(const sp_device *device, const sp_device_counts *counts, ptrdiff_t pixels, sp_bfloat16 *packed)
{
    sp_status status = SP_OK;

    if (counts->images == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(pack_kernel, (unsigned)counts->images, THREADS, 0, device->state->stream, *counts, pixels,
              sp_device_match_row(pixels), (__nv_bfloat16 *)packed);
done:
    return status;
}

static __device__ __forceinline__ float mean_at(const sp_likelihood_model *model, float intensity, ptrdiff_t p)
{
    return sp_likelihood_mean(intensity, __ldg(model->base + p), model->share * __ldg(model->expected + p));
}

static __global__ void __launch_bounds__(THREADS)
    average_kernel(const sp_likelihood_model model, const float *intensity, ptrdiff_t orientations, ptrdiff_t pixels,
                   float *common)
{
    const ptrdiff_t p = (ptrdiff_t)blockIdx.x * THREADS + threadIdx.x;
    double feature = 0.0, loss = 0.0; /* double: a sum of many terms of one sign */

    for (ptrdiff_t o = 0; p < pixels && o < orientations; o++) {
        const float m = mean_at(&model, intensity[o * pixels + p], p);

        feature += (double)sp_likelihood_feature(m, model.dispersion);
        loss += (double)sp_likelihood_loss(m, model.dispersion);
    }
    if (p < pixels) {
        common[p] = (float)(feature / (double)orientations);
        common[pixels + p] = (float)(loss / (double)orientations);
    }
}

static sp_status average(const sp_device *device, const sp_likelihood_model *model, const float *intensity,
                         ptrdiff_t orientations, ptrdiff_t pixels, float *common)
{
    sp_status status = SP_OK;

    if (orientations == 0 || pixels == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(average_kernel, (unsigned)pieces(pixels, THREADS), THREADS, 0, device->state->stream, *model, intensity,
              orientations, pixels, common);
done:
    return status;
}

/* Of one image; in double precision, because it holds most of the score. */
static __global__ void __launch_bounds__(THREADS)
    offsets_kernel(const __nv_bfloat16 *packed, ptrdiff_t pixels, ptrdiff_t row, const float *scale,
                   const float *common, float dispersion, double *offset)
{
    const ptrdiff_t image = blockIdx.x;
    const double each = (double)scale[image] * (double)dispersion;
    double sum = 0.0;

    for (ptrdiff_t p = threadIdx.x; p < pixels; p += THREADS) {
        sum +=
            (double)__bfloat162float(packed[image * row + p]) * (double)common[p] - each * (double)common[pixels + p];
    }
    sum = sum_block(sum);
    if (threadIdx.x == 0) {
        offset[image] = sum;
    }
}

static sp_status offsets(const sp_device *device, const sp_bfloat16 *packed, ptrdiff_t images, ptrdiff_t pixels,
                         const float *scale, const float *common, float dispersion, double *offset)
{
    sp_status status = SP_OK;

    if (images == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(offsets_kernel, (unsigned)images, THREADS, 0, device->state->stream, (const __nv_bfloat16 *)packed,
              pixels, sp_device_match_row(pixels), scale, common, dispersion, offset);
done:
    return status;
}

/* Of one orientation. */
static __global__ void __launch_bounds__(THREADS)
    features_kernel(const sp_likelihood_model model, const float *intensity, ptrdiff_t pixels, ptrdiff_t row,
                    const float *common, __nv_bfloat16 *feature, float *bias)
{
    const ptrdiff_t o = blockIdx.x;
    double loss = 0.0; /* double: multiplied by r, up to a million */

    for (ptrdiff_t p = threadIdx.x; p < row; p += THREADS) {
        float value = 0.0f;

        if (p < pixels) {
            const float m = mean_at(&model, intensity[o * pixels + p], p);

            value = sp_likelihood_feature(m, model.dispersion) - __ldg(common + p);
            loss += (double)(sp_likelihood_loss(m, model.dispersion) - __ldg(common + pixels + p));
        }
        feature[o * row + p] = __float2bfloat16_rn(value);
    }
    loss = sum_block(loss);
    if (threadIdx.x == 0) {
        bias[o] = (float)(-(double)model.dispersion * loss);
    }
}

static sp_status features(const sp_device *device, const sp_likelihood_model *model, const float *intensity,
                          ptrdiff_t orientations, ptrdiff_t pixels, const float *common, sp_bfloat16 *feature,
                          float *bias)
{
    sp_status status = SP_OK;

    if (orientations == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(features_kernel, (unsigned)orientations, THREADS, 0, device->state->stream, *model, intensity, pixels,
              sp_device_match_row(pixels), common, (__nv_bfloat16 *)feature, bias);
done:
    return status;
}

/* ---- who is best ---- */

/* A warp's list: lane i holds the i-th best of `keep`. */
typedef struct held_list {
    sp_candidate own;
    float threshold; /* only scores above this enter */
    int keep;
} held_list;

static __device__ __forceinline__ float last_score(const held_list *list)
{
    return __shfl_sync(ALL, list->own.score, list->keep - 1);
}

/* sp_shortlist_insert() by a warp; the same candidate in all lanes. */
static __device__ __forceinline__ void insert(sp_candidate candidate, held_list *list)
{
    const int lane = (int)threadIdx.x % SP_WARP;
    const int place = __popc(__ballot_sync(ALL, lane < list->keep && !(candidate.score > list->own.score)));
    const int32_t index = __shfl_up_sync(ALL, list->own.index, 1);
    const float score = __shfl_up_sync(ALL, list->own.score, 1);

    if (lane > place) {
        list->own.index = index;
        list->own.score = score;
    } else if (lane == place) {
        list->own = candidate;
    }
    list->threshold = last_score(list);
}

/* The scores that the lanes hold, index first + lane, in the order of the lanes. */
static __device__ __forceinline__ void insert_lanes(float score, int32_t first, held_list *list)
{
    unsigned waiting = __ballot_sync(ALL, score > list->threshold);

    while (waiting) {
        const int source = __ffs((int)waiting) - 1;
        const sp_candidate candidate = {first + source, __shfl_sync(ALL, score, source)};

        insert(candidate, list);
        waiting = waiting & (waiting - 1) & __ballot_sync(ALL, score > list->threshold);
    }
}

typedef struct choice {
    const float *product, *scale, *bias;
    ptrdiff_t images, orientations;
    int32_t first;
    int keep;
    sp_candidate *best;
} choice;

static __global__ void __launch_bounds__(THREADS) choose_kernel(const choice job)
{
    const int lane = (int)threadIdx.x % SP_WARP;
    const ptrdiff_t image = (ptrdiff_t)blockIdx.x * WARPS + threadIdx.x / SP_WARP;

    if (image >= job.images) { /* a whole warp */
        return;
    }
    const float *product = job.product + image * job.orientations, scale = job.scale[image];
    sp_candidate *best = job.best + image * job.keep;
    held_list list = {{0, -INFINITY}, 0.0f, job.keep};

    if (lane < job.keep) {
        list.own = best[lane];
    }
    list.threshold = last_score(&list);
    for (ptrdiff_t o = 0; o < job.orientations; o += SP_WARP) {
        const ptrdiff_t at = o + lane;
        const float score = at < job.orientations ? product[at] + scale * __ldg(job.bias + at) : -INFINITY;

        insert_lanes(score, job.first + (int32_t)o, &list);
    }
    if (lane < job.keep) {
        best[lane] = list.own;
    }
}

/* product[n][o] = sum_p packed[n][p] feature[o][p]; cuBLAS sees columns where these are rows. */
static sp_status multiply(const sp_device *device, const sp_bfloat16 *packed, ptrdiff_t images, ptrdiff_t row,
                          const sp_device_match_tile *tile, float *product)
{
    sp_status status = SP_OK;
    const float one = 1.0f, zero = 0.0f;
    cublasHandle_t handle = NULL;

    SP_TRY(sp_cuda_blas(device, &handle));
    SP_TRY_CUBLAS(cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, (int)tile->orientations, (int)images, (int)row, &one,
                               tile->feature, CUDA_R_16BF, (int)row, packed, CUDA_R_16BF, (int)row, &zero, product,
                               CUDA_R_32F, (int)tile->orientations, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
done:
    return status;
}

static sp_status compare(const sp_device *device, const sp_bfloat16 *packed, ptrdiff_t images, ptrdiff_t pixels,
                         const float *scale, const sp_device_match_tile *tile, float *product, int keep,
                         sp_candidate *best)
{
    sp_status status = SP_OK;
    const choice job = {product, scale, tile->bias, images, tile->orientations, tile->first, keep, best};

    SP_REQUIRE(keep >= 1 && keep <= SP_DEVICE_MATCH_KEPT, SP_ERR_USAGE, "a GPU keeps 1 to %d orientations, not %d",
               (int)SP_DEVICE_MATCH_KEPT, keep);
    if (images == 0 || tile->orientations == 0) {
        return SP_OK;
    }
    SP_REQUIRE(images <= MOST_ROWS && tile->orientations <= MOST_ROWS, SP_ERR_USAGE,
               "%td images times %td orientations are too many for one tile", images, tile->orientations);
    SP_TRY(sp_cuda_enter(device));
    SP_TRY(multiply(device, packed, images, sp_device_match_row(pixels), tile, product));
    SP_LAUNCH(choose_kernel, (unsigned)pieces(images, WARPS), THREADS, 0, device->state->stream, job);
done:
    return status;
}

/* ---- sums of the refinement ---- */

enum {
    LIKELIHOOD_THREADS = 128,
    LIKELIHOOD_WARPS = LIKELIHOOD_THREADS / SP_WARP,
    LONGEST = 64,                                              /* terms that a thread adds up in single precision */
    SUMS = (int)(sizeof(sp_likelihood_sums) / sizeof(double)), /* numbers in it */
};

typedef struct likelihood_job {
    sp_likelihood_model model;
    ptrdiff_t pixels;
    sp_device_counts counts;
    const float *scale, *value, *turn;
    sp_likelihood_sums *sums;
} likelihood_job;

/* The mean's derivatives at a pixel. Not those of a negative intensity, which counts as 0.
 *   at, stride  of `turn`, where the pixel is and from one axis to the next      factor  share times expected counts */
static __device__ __forceinline__ void turns_at(const float *turn, ptrdiff_t at, ptrdiff_t stride, float value,
                                                float factor, float d[3])
{
    SP_UNROLL
    for (int i = 0; i < 3; i++) {
        d[i] = value > 0.0f ? turn[i * stride + at] * factor : 0.0f;
    }
}

/* The sums of a thread, which takes every LIKELIHOOD_THREADS-th pixel of candidate blockIdx.x. */
static __device__ __forceinline__ sp_likelihood_sums sum_pixels(bool turns, const likelihood_job *job)
{
    const ptrdiff_t pixels = job->pixels, begin = blockIdx.x * pixels;
    const float *k = sp_device_counts_of(&job->counts, blockIdx.x), scale = job->scale[blockIdx.x];
    sp_likelihood_sums sums = {};

    for (ptrdiff_t first = threadIdx.x; first < pixels; first += (ptrdiff_t)LIKELIHOOD_THREADS * LONGEST) {
        const ptrdiff_t beyond = first + (ptrdiff_t)LIKELIHOOD_THREADS * LONGEST;
        const ptrdiff_t end = beyond < pixels ? beyond : pixels;
        sp_likelihood_terms terms = {};

        for (ptrdiff_t p = first; p < end; p += LIKELIHOOD_THREADS) {
            const float factor = job->model.share * __ldg(job->model.expected + p), value = job->value[begin + p];
            const float m = sp_likelihood_mean(fmaxf(value, 0.0f), __ldg(job->model.base + p), factor);
            float d[3];

            if (turns) {
                turns_at(job->turn, begin + p, job->counts.images * pixels, value, factor, d);
            }
            sp_likelihood_add_pixel(k[p], m, job->model.dispersion, scale, turns ? d : NULL, &terms);
        }
        sp_likelihood_add_terms(&terms, job->model.dispersion, scale, &sums);
    }
    return sums;
}

/* Sums over the block go to candidate blockIdx.x. */
static __device__ __forceinline__ void write_sums(bool turns, const likelihood_job *job, sp_likelihood_sums *sums)
{
    __shared__ sp_likelihood_sums of_warp[LIKELIHOOD_WARPS];

    sums->score = sum_warp(sums->score);
    for (int i = 0; turns && i < 3; i++) {
        sums->slope[i] = sum_warp(sums->slope[i]);
        for (int j = 0; j <= i; j++) {
            sums->information[i][j] = sum_warp(sums->information[i][j]);
        }
    }
    if (threadIdx.x % SP_WARP == 0) {
        of_warp[threadIdx.x / SP_WARP] = *sums;
    }
    __syncthreads();
    if (threadIdx.x < SUMS) {
        double sum = 0.0;

        for (int i = 0; i < LIKELIHOOD_WARPS; i++) {
            sum += ((const double *)&of_warp[i])[threadIdx.x];
        }
        ((double *)(job->sums + blockIdx.x))[threadIdx.x] = sum;
    }
}

static __global__ void __launch_bounds__(LIKELIHOOD_THREADS) likelihood_kernel(const likelihood_job job)
{
    sp_likelihood_sums sums = sum_pixels(false, &job);

    write_sums(false, &job, &sums);
}

static __global__ void __launch_bounds__(LIKELIHOOD_THREADS) likelihood_turns_kernel(const likelihood_job job)
{
    sp_likelihood_sums sums = sum_pixels(true, &job);

    write_sums(true, &job, &sums);
}

static sp_status likelihood(const sp_device *device, const sp_likelihood_model *model, ptrdiff_t pixels,
                            const sp_device_counts *counts, const float *scale, const float *value, const float *turn,
                            sp_likelihood_sums *sums)
{
    sp_status status = SP_OK;
    const likelihood_job job = {*model, pixels, *counts, scale, value, turn, sums};
    const unsigned candidates = (unsigned)counts->images;

    if (candidates == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    if (turn) {
        SP_LAUNCH(likelihood_turns_kernel, candidates, LIKELIHOOD_THREADS, 0, device->state->stream, job);
    } else {
        SP_LAUNCH(likelihood_kernel, candidates, LIKELIHOOD_THREADS, 0, device->state->stream, job);
    }
done:
    return status;
}

/* ---- assessment ---- */

typedef struct assess_job {
    sp_device_assessment by;
    sp_device_counts counts;
    const float *value;
    float *scale, *score;
    double *residue;
} assess_job;

/* Sums of image blockIdx.x that are added up over the images: [shells + 1][2]. */
static __device__ __forceinline__ double *residue_of(const assess_job *job)
{
    return job->residue + 2 * (job->by.shells + 1) * blockIdx.x;
}

/* Image, less the background, and pattern at a pixel [photons]. */
typedef struct pixel_pair {
    float k, m;
} pixel_pair;

static __device__ __forceinline__ pixel_pair pair_at(const assess_job *job, ptrdiff_t p)
{
    const float k = sp_device_counts_of(&job->counts, blockIdx.x)[p];

    return {k - job->by.background[p], job->value[blockIdx.x * job->by.pixels + p] * job->by.expected[p]};
}

/* Fluence of image blockIdx.x that fits best (algorithm.md, eq. 8), 0 for one that has none; and what its photon noise
 * scatters. The same in all threads. */
static __device__ float fit_scale(const assess_job *job, double *noise)
{
    const bool has_signal = job->scale[blockIdx.x] > 0.0f; /* read before the barriers, written behind them */
    double total = 0.0, expected = 0.0, photons = 0.0;

    for (ptrdiff_t p = threadIdx.x; p < job->by.pixels; p += THREADS) {
        const pixel_pair at = pair_at(job, p);
        const double whitening = (double)job->by.whitening[p], weight = whitening * (double)at.m;

        total += weight * (double)at.k;
        expected += weight * (double)at.m;
        photons += whitening * ((double)at.k + (double)job->by.background[p]);
    }
    total = sum_block(total);
    expected = sum_block(expected);
    *noise = (double)job->by.noise * sum_block(photons);
    return expected > 0.0 && has_signal ? (float)(total / expected) : 0.0f;
}

/* Mean intensities of a shell by a warp. */
static __device__ pixel_pair shell_means(const assess_job *job, ptrdiff_t first, ptrdiff_t end)
{
    double k = 0.0, m = 0.0, exposure = 0.0;

    for (ptrdiff_t p = first + threadIdx.x % SP_WARP; p < end; p += SP_WARP) {
        const pixel_pair at = pair_at(job, p);

        k += (double)at.k;
        m += (double)at.m;
        exposure += (double)job->by.exposure[p];
    }
    k = sum_warp(k);
    m = sum_warp(m);
    exposure = sum_warp(exposure);
    return exposure > 0.0 ? pixel_pair{(float)(k / exposure), (float)(m / exposure)} : pixel_pair{0.0f, 0.0f};
}

/* Products of image and pattern about their shell means, whitened. */
typedef struct correlation {
    double kk, km, mm;
} correlation;

/* Adds a shell to the correlation of a lane and to the image's residue.   scale  of the image */
static __device__ void assess_shell(const assess_job *job, ptrdiff_t shell, double scale, correlation *sum)
{
    const ptrdiff_t first = job->by.shell_start[shell], end = job->by.shell_start[shell + 1];
    const pixel_pair mean = shell_means(job, first, end);
    double *residue = residue_of(job) + 2 * shell;
    double square = 0.0, scatter = 0.0;

    for (ptrdiff_t p = first + threadIdx.x % SP_WARP; p < end; p += SP_WARP) {
        const pixel_pair at = pair_at(job, p);
        const double expected = scale * (double)at.m, difference = (double)at.k - expected;
        const double weight = (double)job->by.whitening[p];
        const double k = (double)(at.k - mean.k * job->by.exposure[p]);
        const double m = (double)(at.m - mean.m * job->by.exposure[p]);

        square += expected * expected;
        scatter += difference * difference - (double)job->by.noise * (expected + (double)job->by.background[p]);
        sum->kk += weight * k * k;
        sum->km += weight * k * m;
        sum->mm += weight * m * m;
    }
    square = sum_warp(square);
    scatter = sum_warp(scatter);
    if (threadIdx.x % SP_WARP == 0) {
        residue[0] = square;
        residue[1] = scatter;
    }
}

/* One image. In double precision throughout: it is done once in a generation, and scatter is a small difference. */
static __global__ void __launch_bounds__(THREADS) assess_kernel(const assess_job job)
{
    correlation sum = {};
    double noise, *residue = residue_of(&job) + 2 * job.by.shells; /* the last row */
    const float scale = fit_scale(&job, &noise);

    if (threadIdx.x == 0) {
        job.scale[blockIdx.x] = scale;
    }
    for (ptrdiff_t shell = threadIdx.x / SP_WARP; shell < job.by.shells; shell += WARPS) {
        assess_shell(&job, shell, (double)scale, &sum);
    }
    sum.kk = sum_block(sum.kk);
    sum.km = sum_block(sum.km);
    sum.mm = sum_block(sum.mm);
    if (threadIdx.x == 0) {
        const double norm = sum.mm * sum.kk;

        job.score[blockIdx.x] = norm > 0.0 ? (float)(sum.km / sqrt(norm)) : 0.0f;
        residue[0] = noise;
        residue[1] = sum.kk;
    }
}

/* scatter[i] += sum_n residue[n][i], in the order of the images. */
static __global__ void __launch_bounds__(SP_WARP)
    add_residues_kernel(const double *residue, ptrdiff_t images, ptrdiff_t width, double *scatter)
{
    const ptrdiff_t i = (ptrdiff_t)blockIdx.x * SP_WARP + threadIdx.x;
    double sum = i < width ? scatter[i] : 0.0;

    for (ptrdiff_t n = 0; i < width && n < images; n++) {
        sum += residue[n * width + i];
    }
    if (i < width) {
        scatter[i] = sum;
    }
}

static sp_status assess(const sp_device *device, const sp_device_assessment *by, const sp_device_counts *counts,
                        const float *value, float *scale, float *score, double *residue, double *scatter)
{
    sp_status status = SP_OK;
    const assess_job job = {*by, *counts, value, scale, score, residue};
    const ptrdiff_t images = counts->images, width = 2 * (by->shells + 1);

    if (images == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(assess_kernel, (unsigned)images, THREADS, 0, device->state->stream, job);
    SP_LAUNCH(add_residues_kernel, (unsigned)pieces(width, SP_WARP), SP_WARP, 0, device->state->stream, residue, images,
              width, scatter);
done:
    return status;
}

extern "C" const sp_device_match_kernels sp_cuda_match = {
    .pack = pack,
    .average = average,
    .offsets = offsets,
    .features = features,
    .compare = compare,
    .likelihood = likelihood,
    .assess = assess,
};
