/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/emulator.h -- enough of CUDA, cuFFT and cuBLAS for the files *.cu to be compiled by the host's C++ compiler
 * and tested where there is no GPU. Stands in for NVIDIA's headers; names and meanings are those of the CUDA 13
 * manuals.
 *
 * It is stricter than a GPU, so that mistakes show:
 *   - Work on streams begins at the next call that waits for it: what the host changes or reads too early is wrong.
 *   - Memory of the device is closed to the host, ends at a page that nobody may touch, and holds NaN at first. So does
 *     shared memory, before every block (with the address sanitizer its bounds are watched instead).
 *   - The threads of a block run one after another up to the next barrier or warp function, forwards and backwards in
 *     turn: what a barrier should have put in order, and does not, is wrong in one of the two.
 *   - Threads that wait for each other for ever, or disagree about the warp function they meet in, end the program.
 * Products of single precision that may use tensor cores round their factors as these do. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <functional>
#include <tuple>
#include <type_traits>

/* ---- the language ---- */

#if defined __SANITIZE_ADDRESS__
#define SP_EMULATED_ASAN 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define SP_EMULATED_ASAN 1
#endif
#endif

#define __global__
#define __device__
#define __host__
#define __launch_bounds__(...)
#define __forceinline__ inline __attribute__((always_inline))
#ifdef SP_EMULATED_ASAN
#define __shared__ static
#else
#define __shared__ static __attribute__((section("sp_shared")))
#endif

struct uint3 {
    unsigned x, y, z;
};

struct dim3 {
    unsigned x, y, z;
    dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_)
    {
    }
};

struct float2 {
    float x, y;
};

struct alignas(16) float4 {
    float x, y, z, w;
};

static inline float2 make_float2(float x, float y)
{
    return {x, y};
}

static inline float4 make_float4(float x, float y, float z, float w)
{
    return {x, y, z, w};
}

/* Of the thread that runs. */
extern uint3 threadIdx, blockIdx;
extern dim3 blockDim, gridDim;
static const int warpSize = 32;

/* ---- threads that meet ---- */

enum sp_emulated_meeting { SP_MEET_BLOCK, SP_MEET_WARP, SP_MEET_SHUFFLE, SP_MEET_VOTE };

void __syncthreads();

/* Leaves `bits` for the other threads of the warp that `mask` names, waits for them, and returns what each of the 32
 * left; it stands until the thread's next but one meeting. */
const uint64_t *sp_emulated_meet(sp_emulated_meeting meeting, unsigned mask, uint64_t bits);
int sp_emulated_lane(); /* of the thread that runs, 0..31 */

static inline void __syncwarp(unsigned mask = 0xffffffffu)
{
    (void)sp_emulated_meet(SP_MEET_WARP, mask, 0);
}

/* What lane `source` holds; the thread's own value if that is not in its segment of `width` lanes. */
template <typename T> static T sp_emulated_shuffle(unsigned mask, T value, int source, int width)
{
    const int lane = sp_emulated_lane();
    uint64_t bits = 0;
    T result;

    static_assert(sizeof value <= sizeof bits, "shuffles carry up to 8 bytes");
    memcpy(&bits, &value, sizeof value);
    const uint64_t *all = sp_emulated_meet(SP_MEET_SHUFFLE, mask, bits);
    if (source >= 0 && source / width == lane / width) {
        bits = mask >> source & 1 ? all[source] : ~(uint64_t)0; /* of a lane that is not there, nothing is known */
    }
    memcpy(&result, &bits, sizeof result);
    return result;
}

template <typename T> static T __shfl_sync(unsigned mask, T value, int source, int width = 32)
{
    return sp_emulated_shuffle(mask, value, sp_emulated_lane() / width * width + source % width, width);
}

template <typename T> static T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32)
{
    return sp_emulated_shuffle(mask, value, sp_emulated_lane() - (int)delta, width);
}

template <typename T> static T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32)
{
    return sp_emulated_shuffle(mask, value, sp_emulated_lane() + (int)delta, width);
}

template <typename T> static T __shfl_xor_sync(unsigned mask, T value, int other, int width = 32)
{
    return sp_emulated_shuffle(mask, value, sp_emulated_lane() ^ other, width);
}

static inline unsigned __ballot_sync(unsigned mask, int predicate)
{
    const uint64_t *all = sp_emulated_meet(SP_MEET_VOTE, mask, predicate != 0);
    unsigned votes = 0;

    for (int lane = 0; lane < 32; lane++) {
        votes |= mask >> lane & 1 ? (unsigned)all[lane] << lane : 0;
    }
    return votes;
}

static inline int __any_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, predicate) != 0;
}

static inline int __all_sync(unsigned mask, int predicate)
{
    return __ballot_sync(mask, !predicate) == 0;
}

/* ---- memory and arithmetic of threads ---- */

template <typename T> static T atomicAdd(T *address, T value)
{
    static_assert(std::is_same<T, float>::value || std::is_same<T, double>::value || std::is_same<T, int>::value ||
                      std::is_same<T, unsigned>::value || std::is_same<T, unsigned long long>::value,
                  "CUDA has no atomicAdd of this type");
    const T before = *address;

    *address = before + value;
    return before;
}

template <typename T> static T atomicMax(T *address, T value)
{
    static_assert(std::is_integral<T>::value && sizeof value >= 4, "CUDA has no atomicMax of this type");
    const T before = *address;

    *address = before > value ? before : value;
    return before;
}

template <typename T> static T atomicMin(T *address, T value)
{
    static_assert(std::is_integral<T>::value && sizeof value >= 4, "CUDA has no atomicMin of this type");
    const T before = *address;

    *address = before < value ? before : value;
    return before;
}

template <typename T> static T __ldg(const T *address)
{
    return *address;
}

static inline void __threadfence()
{
}

static inline float rsqrtf(float x)
{
    return 1.0f / sqrtf(x);
}

/* glibc declares, and does not have, functions of these names */
#define __expf expf
#define __logf logf

static inline float __fdividef(float x, float y)
{
    return x / y;
}

static inline int __popc(unsigned x)
{
    return __builtin_popcount(x);
}

static inline int __ffs(int x)
{
    return __builtin_ffs(x);
}

static inline int __clz(int x)
{
    return x ? __builtin_clz((unsigned)x) : 32;
}

static inline int min(int a, int b)
{
    return a < b ? a : b;
}

static inline int max(int a, int b)
{
    return a > b ? a : b;
}

struct __nv_bfloat16 {
    uint16_t bits;
};

__nv_bfloat16 __float2bfloat16_rn(float x);
float __bfloat162float(__nv_bfloat16 x);

struct __half {
    uint16_t bits;
};

__half __float2half_rn(float x);
float __half2float(__half x);

/* ---- the runtime ---- */

enum cudaError_t {
    cudaSuccess = 0,
    cudaErrorInvalidValue = 1,
    cudaErrorMemoryAllocation = 2,
    cudaErrorInvalidConfiguration = 9,
    cudaErrorNoDevice = 100,
    cudaErrorInvalidDevice = 101,
};

enum cudaMemcpyKind { cudaMemcpyHostToDevice = 1, cudaMemcpyDeviceToHost = 2, cudaMemcpyDeviceToDevice = 3 };
enum cudaFuncAttribute { cudaFuncAttributeMaxDynamicSharedMemorySize = 8 };
enum { cudaStreamNonBlocking = 1 };

typedef struct CUstream_st *cudaStream_t;
typedef struct CUevent_st *cudaEvent_t;

struct cudaDeviceProp {
    char name[256];
    size_t totalGlobalMem, sharedMemPerBlockOptin;
    int major, minor, multiProcessorCount, l2CacheSize;
};

const char *cudaGetErrorString(cudaError_t error);
cudaError_t cudaGetLastError();
cudaError_t cudaGetDeviceCount(int *count);
cudaError_t cudaSetDevice(int device);
cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device);
cudaError_t cudaMemGetInfo(size_t *available, size_t *total);
cudaError_t cudaDeviceSynchronize();

cudaError_t cudaMalloc(void **memory, size_t bytes);
cudaError_t cudaFree(void *memory);
cudaError_t cudaMallocHost(void **memory, size_t bytes);
cudaError_t cudaFreeHost(void *memory);
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind);
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream);
cudaError_t cudaMemset(void *memory, int value, size_t bytes);
cudaError_t cudaMemsetAsync(void *memory, int value, size_t bytes, cudaStream_t stream);

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags);
cudaError_t cudaStreamDestroy(cudaStream_t stream);
cudaError_t cudaStreamSynchronize(cudaStream_t stream);
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags);
cudaError_t cudaEventCreate(cudaEvent_t *event);
cudaError_t cudaEventDestroy(cudaEvent_t event);
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream);
cudaError_t cudaEventSynchronize(cudaEvent_t event);
cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t stop);

cudaError_t sp_emulated_allow_shared(const void *kernel, cudaFuncAttribute attribute, int bytes);

template <typename K> static cudaError_t cudaFuncSetAttribute(K *kernel, cudaFuncAttribute attribute, int bytes)
{
    return sp_emulated_allow_shared((const void *)kernel, attribute, bytes);
}

/* ---- launches ---- */

struct sp_emulated_launch {
    const char *name;
    const void *kernel;
    dim3 grid, block;
    size_t shared; /* [byte] dynamic */
    std::function<void()> run;
};

void sp_emulated_start(const sp_emulated_launch &launch);
void *sp_emulated_dynamic_shared();

/* Work of the emulated libraries, behind what the streams hold already. */
void sp_emulated_later(const std::function<void()> &work);

/* The arguments are taken when the kernel is launched, as their parameters' types. */
template <typename... P, typename... A>
static void sp_emulated_call(const char *name, void (*kernel)(P...), dim3 grid, dim3 block, size_t shared,
                             cudaStream_t stream, A... arguments)
{
    const std::tuple<P...> taken(static_cast<P>(arguments)...);

    (void)stream;
    sp_emulated_start({name, (const void *)kernel, grid, block, shared, [=] { std::apply(kernel, taken); }});
}

#define SP_CALL_KERNEL(kernel, grid, block, shared, stream, ...)                                                       \
    sp_emulated_call(#kernel, kernel, grid, block, shared, stream, __VA_ARGS__)
#define SP_DYNAMIC_SHARED(type, name) type *const name = (type *)sp_emulated_dynamic_shared()
#define SP_UNROLL

/* ---- cuFFT: any size, in double precision ---- */

typedef float cufftReal;
typedef float2 cufftComplex;
typedef int cufftHandle;

enum cufftResult { CUFFT_SUCCESS = 0, CUFFT_INVALID_PLAN = 1, CUFFT_INVALID_VALUE = 4, CUFFT_INVALID_SIZE = 8 };
enum cufftType { CUFFT_R2C = 0x2a, CUFFT_C2R = 0x2c, CUFFT_C2C = 0x29 };
enum { CUFFT_FORWARD = -1, CUFFT_INVERSE = 1 };

cufftResult cufftPlan3d(cufftHandle *plan, int nx, int ny, int nz, cufftType type);
cufftResult cufftPlanMany(cufftHandle *plan, int rank, int *n, int *inembed, int istride, int idist, int *onembed,
                          int ostride, int odist, cufftType type, int batch);
cufftResult cufftSetStream(cufftHandle plan, cudaStream_t stream);
cufftResult cufftExecR2C(cufftHandle plan, cufftReal *in, cufftComplex *out);
cufftResult cufftExecC2R(cufftHandle plan, cufftComplex *in, cufftReal *out);
cufftResult cufftExecC2C(cufftHandle plan, cufftComplex *in, cufftComplex *out, int direction);
cufftResult cufftDestroy(cufftHandle plan);

/* ---- cuBLAS: products of float, half or bfloat16 matrices into float ones ---- */

typedef struct cublasContext *cublasHandle_t;

enum cublasStatus_t { CUBLAS_STATUS_SUCCESS = 0, CUBLAS_STATUS_INVALID_VALUE = 7, CUBLAS_STATUS_NOT_SUPPORTED = 15 };
enum cublasOperation_t { CUBLAS_OP_N, CUBLAS_OP_T };
enum cublasMath_t { CUBLAS_DEFAULT_MATH = 0, CUBLAS_TF32_TENSOR_OP_MATH = 3 };
enum cublasComputeType_t {
    CUBLAS_COMPUTE_32F = 68,
    CUBLAS_COMPUTE_32F_FAST_16BF = 75,
    CUBLAS_COMPUTE_32F_FAST_TF32 = 77
};
enum cublasGemmAlgo_t { CUBLAS_GEMM_DEFAULT = -1 };
enum cudaDataType { CUDA_R_32F = 0, CUDA_R_16F = 2, CUDA_R_16BF = 14 };

cublasStatus_t cublasCreate(cublasHandle_t *handle);
cublasStatus_t cublasDestroy(cublasHandle_t handle);
cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream);
cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode);
cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                           int k, const float *alpha, const float *a, int lda, const float *b, int ldb,
                           const float *beta, float *c, int ldc);
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                            int k, const void *alpha, const void *a, cudaDataType atype, int lda, const void *b,
                            cudaDataType btype, int ldb, const void *beta, void *c, cudaDataType ctype, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm);
cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                          int m, int n, int k, const void *alpha, const void *a, cudaDataType atype,
                                          int lda, long long stridea, const void *b, cudaDataType btype, int ldb,
                                          long long strideb, const void *beta, void *c, cudaDataType ctype, int ldc,
                                          long long stridec, int batch, cublasComputeType_t compute,
                                          cublasGemmAlgo_t algorithm);
