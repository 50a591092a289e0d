/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/probe.h"

#include "device/cuda/platform.h"

/* A copy of a host's array on the device. */
static sp_status copy_of(const void *from, size_t bytes, void **to)
{
    sp_status status = SP_OK;

    SP_TRY_CUDA(cudaMalloc(to, bytes));
    SP_TRY_CUDA(cudaMemcpy(*to, from, bytes, cudaMemcpyHostToDevice));
done:
    return status;
}

static sp_status fetch(const void *from, size_t bytes, void *to)
{
    sp_status status = SP_OK;

    SP_TRY_CUDA(cudaMemcpy(to, from, bytes, cudaMemcpyDeviceToHost));
done:
    return status;
}

static __device__ float sum_warp(float x)
{
    for (int apart = SP_WARP / 2; apart > 0; apart /= 2) {
        x += __shfl_down_sync(0xffffffffu, x, (unsigned)apart);
    }
    return x; /* in the first lane */
}

/* After the barrier all warps meet again, each by itself. */
static __global__ void sum_blocks_kernel(const float *in, float *out)
{
    enum { WARPS = PROBE_THREADS / SP_WARP };
    __shared__ float of_warp[WARPS];
    const int lane = (int)threadIdx.x % SP_WARP;
    float sum = sum_warp(in[blockIdx.x * PROBE_THREADS + threadIdx.x]);

    if (lane == 0) {
        of_warp[threadIdx.x / SP_WARP] = sum;
    }
    __syncthreads();
    sum = sum_warp(lane < WARPS ? of_warp[lane] : 0.0f);
    if (threadIdx.x == 0) {
        out[blockIdx.x] = sum;
    }
}

static sp_status sum_blocks(const float *in, int blocks, float *out)
{
    sp_status status = SP_OK;
    float *from = NULL, *to = NULL;

    SP_TRY(copy_of(in, sizeof *in * (size_t)blocks * PROBE_THREADS, (void **)&from));
    SP_TRY_CUDA(cudaMalloc((void **)&to, sizeof *to * (size_t)blocks));
    SP_LAUNCH(sum_blocks_kernel, blocks, PROBE_THREADS, 0, NULL, from, to);
    SP_TRY(fetch(to, sizeof *to * (size_t)blocks, out));
done:
    cudaFree(from);
    cudaFree(to);
    return status;
}

static __global__ void count_odd_kernel(const int *in, int *out)
{
    const unsigned votes = __ballot_sync(0xffffffffu, in[blockIdx.x * SP_WARP + threadIdx.x] % 2 != 0);

    if (threadIdx.x == 0) {
        out[blockIdx.x] = __popc(votes);
    }
}

static sp_status count_odd(const int *in, int warps, int *out)
{
    sp_status status = SP_OK;
    int *from = NULL, *to = NULL;

    SP_TRY(copy_of(in, sizeof *in * (size_t)warps * SP_WARP, (void **)&from));
    SP_TRY_CUDA(cudaMalloc((void **)&to, sizeof *to * (size_t)warps));
    SP_LAUNCH(count_odd_kernel, warps, SP_WARP, 0, NULL, from, to);
    SP_TRY(fetch(to, sizeof *to * (size_t)warps, out));
done:
    cudaFree(from);
    cudaFree(to);
    return status;
}

static __global__ void turn_kernel(const float *in, bool barrier, float *out)
{
    __shared__ float all[PROBE_THREADS];

    all[threadIdx.x] = in[threadIdx.x];
    if (barrier) {
        __syncthreads();
    }
    out[threadIdx.x] = all[(threadIdx.x + 1) % PROBE_THREADS];
}

static sp_status turn(const float *in, bool barrier, float *out)
{
    sp_status status = SP_OK;
    float *from = NULL, *to = NULL;

    SP_TRY(copy_of(in, sizeof *in * PROBE_THREADS, (void **)&from));
    SP_TRY_CUDA(cudaMalloc((void **)&to, sizeof *to * PROBE_THREADS));
    SP_LAUNCH(turn_kernel, 1, PROBE_THREADS, 0, NULL, from, barrier, to);
    SP_TRY(fetch(to, sizeof *to * PROBE_THREADS, out));
done:
    cudaFree(from);
    cudaFree(to);
    return status;
}

static __global__ void add_up_kernel(const int *in, int *out)
{
    __shared__ int sum[PROBE_THREADS];
    const int i = (int)threadIdx.x;

    sum[i] = in[i];
    for (int apart = 1; apart < PROBE_THREADS; apart *= 2) {
        __syncthreads();
        const int before = i >= apart ? sum[i - apart] : 0;

        __syncthreads();
        sum[i] += before;
    }
    out[i] = sum[i];
}

static sp_status add_up(const int *in, int *out)
{
    sp_status status = SP_OK;
    int *from = NULL, *to = NULL;

    SP_TRY(copy_of(in, sizeof *in * PROBE_THREADS, (void **)&from));
    SP_TRY_CUDA(cudaMalloc((void **)&to, sizeof *to * PROBE_THREADS));
    SP_LAUNCH(add_up_kernel, 1, PROBE_THREADS, 0, NULL, from, to);
    SP_TRY(fetch(to, sizeof *to * PROBE_THREADS, out));
done:
    cudaFree(from);
    cudaFree(to);
    return status;
}

static __global__ void reverse_kernel(float *data, int count)
{
    SP_DYNAMIC_SHARED(float, all);

    for (int i = (int)threadIdx.x; i < count; i += PROBE_THREADS) {
        all[count - 1 - i] = data[i];
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < count; i += PROBE_THREADS) {
        data[i] = all[i];
    }
}

static sp_status reverse(float *data, int count)
{
    sp_status status = SP_OK;
    const size_t bytes = sizeof *data * (size_t)count;
    float *copy = NULL;

    SP_TRY_CUDA(cudaFuncSetAttribute(reverse_kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)bytes));
    SP_TRY(copy_of(data, bytes, (void **)&copy));
    SP_LAUNCH(reverse_kernel, 1, PROBE_THREADS, bytes, NULL, copy, count);
    SP_TRY(fetch(copy, bytes, data));
done:
    cudaFree(copy);
    return status;
}

typedef struct tally_result {
    int occurs[16], largest;
    double sum;
} tally_result;

static __global__ void tally_kernel(const int *in, int count, tally_result *result)
{
    const int i = (int)(blockIdx.x * PROBE_THREADS + threadIdx.x);

    if (i < count) {
        atomicAdd(&result->occurs[in[i] % 16], 1);
        atomicMax(&result->largest, in[i]);
        atomicAdd(&result->sum, (double)in[i]);
    }
}

static sp_status tally(const int *in, int count, int occurs[16], int *largest, double *sum)
{
    sp_status status = SP_OK;
    tally_result got = {}, *result = NULL;
    int *from = NULL;

    SP_TRY(copy_of(in, sizeof *in * (size_t)count, (void **)&from));
    SP_TRY(copy_of(&got, sizeof got, (void **)&result));
    SP_LAUNCH(tally_kernel, (count + PROBE_THREADS - 1) / PROBE_THREADS, PROBE_THREADS, 0, NULL, from, count, result);
    SP_TRY(fetch(result, sizeof got, &got));
    for (int i = 0; i < 16; i++) {
        occurs[i] = got.occurs[i];
    }
    *largest = got.largest;
    *sum = got.sum;
done:
    cudaFree(from);
    cudaFree(result);
    return status;
}

static sp_status transform(probe_shape shape, const float *in, float *half, float *back)
{
    sp_status status = SP_OK;
    const size_t rows = (size_t)shape.batch * (size_t)shape.n[0] * (size_t)shape.n[1];
    const size_t real_bytes = rows * (size_t)shape.n[2] * sizeof *in;
    const size_t half_bytes = rows * (size_t)(shape.n[2] / 2 + 1) * 2 * sizeof *in;
    cufftHandle forward = 0, backward = 0;
    float *real = NULL;
    cufftComplex *middle = NULL;

    SP_TRY(copy_of(in, real_bytes, (void **)&real));
    SP_TRY_CUDA(cudaMalloc((void **)&middle, half_bytes));
    SP_TRY_CUFFT(cufftPlanMany(&forward, 3, shape.n, NULL, 1, 0, NULL, 1, 0, CUFFT_R2C, shape.batch));
    SP_TRY_CUFFT(cufftPlanMany(&backward, 3, shape.n, NULL, 1, 0, NULL, 1, 0, CUFFT_C2R, shape.batch));
    SP_TRY_CUFFT(cufftExecR2C(forward, real, middle));
    SP_TRY(fetch(middle, half_bytes, half));
    SP_TRY_CUFFT(cufftExecC2R(backward, middle, real));
    SP_TRY(fetch(real, real_bytes, back));
done:
    cufftDestroy(forward);
    cufftDestroy(backward);
    cudaFree(real);
    cudaFree(middle);
    return status;
}

static sp_status multiply(probe_precision precision, int n, int k, int batch, const float *a, const float *b, float *c)
{
    static const cublasComputeType_t compute[] = {CUBLAS_COMPUTE_32F, CUBLAS_COMPUTE_32F_FAST_TF32,
                                                  CUBLAS_COMPUTE_32F_FAST_16BF};
    sp_status status = SP_OK;
    const size_t factor_bytes = (size_t)batch * (size_t)n * (size_t)k * sizeof *a;
    const size_t bytes = (size_t)batch * (size_t)n * (size_t)n * sizeof *c;
    const float one = 1.0f, zero = 0.0f;
    cublasHandle_t handle = NULL;
    float *left = NULL, *right = NULL, *product = NULL;

    SP_TRY_CUBLAS(cublasCreate(&handle));
    SP_TRY(copy_of(a, factor_bytes, (void **)&left));
    SP_TRY(copy_of(b, factor_bytes, (void **)&right));
    SP_TRY_CUDA(cudaMalloc((void **)&product, bytes));
    SP_TRY_CUBLAS(cublasGemmStridedBatchedEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, n, n, k, &one, left, CUDA_R_32F, k,
                                             (long long)n * k, right, CUDA_R_32F, k, (long long)n * k, &zero, product,
                                             CUDA_R_32F, n, (long long)n * n, batch, compute[precision],
                                             CUBLAS_GEMM_DEFAULT));
    SP_TRY(fetch(product, bytes, c));
done:
    cudaFree(left);
    cudaFree(right);
    cudaFree(product);
    if (handle) {
        cublasDestroy(handle);
    }
    return status;
}

static __global__ void do_nothing_kernel(int unused)
{
    (void)unused;
}

static sp_status launch(int threads)
{
    sp_status status = SP_OK;

    SP_LAUNCH(do_nothing_kernel, 1, threads, 0, NULL, 0);
    SP_TRY_CUDA(cudaDeviceSynchronize());
done:
    return status;
}

static __global__ void disagree_kernel(int *out)
{
    if (threadIdx.x < SP_WARP / 2) {
        out[threadIdx.x] = __shfl_xor_sync(0xffffffffu, 1, 1);
    } else {
        out[threadIdx.x] = __any_sync(0xffffffffu, 1);
    }
}

static sp_status disagree(void)
{
    sp_status status = SP_OK;
    int *out = NULL;

    SP_TRY_CUDA(cudaMalloc((void **)&out, SP_WARP * sizeof *out));
    SP_LAUNCH(disagree_kernel, 1, SP_WARP, 0, NULL, out);
    SP_TRY_CUDA(cudaDeviceSynchronize());
done:
    cudaFree(out);
    return status;
}

static float trespass(void)
{
    float *memory = NULL;

    return cudaMalloc((void **)&memory, sizeof *memory) == cudaSuccess ? *memory : 0.0f;
}

static __global__ void round_half_kernel(const float *in, float *out)
{
    out[blockIdx.x] = __half2float(__float2half_rn(in[blockIdx.x]));
}

static sp_status round_half(const float *in, int count, float *out)
{
    sp_status status = SP_OK;
    float *from = NULL, *to = NULL;

    SP_TRY(copy_of(in, sizeof *in * (size_t)count, (void **)&from));
    SP_TRY_CUDA(cudaMalloc((void **)&to, sizeof *to * (size_t)count));
    SP_LAUNCH(round_half_kernel, count, 1, 0, NULL, from, to);
    SP_TRY(fetch(to, sizeof *to * (size_t)count, out));
done:
    cudaFree(from);
    cudaFree(to);
    return status;
}

extern "C" __attribute__((visibility("default"))) const probe_kernels probe_table = {
#ifdef SP_CUDA_EMULATED
    .emulated = true,
#else
    .emulated = false,
#endif
    .sum_blocks = sum_blocks,
    .count_odd = count_odd,
    .turn = turn,
    .add_up = add_up,
    .reverse = reverse,
    .round_half = round_half,
    .tally = tally,
    .transform = transform,
    .multiply = multiply,
    .launch = launch,
    .disagree = disagree,
    .trespass = trespass,
};
