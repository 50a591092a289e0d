/* SPDX-License-Identifier: BSD-3-Clause */
/* cuFFT and cuBLAS of a GPU that is not there, as plain loops. See emulator.h. */
#include <complex>
#include <map>
#include <vector>

#include "device/emulator.h"

/* ---- cuFFT ---- */

typedef std::complex<double> complex_double;

enum { MOST_RANK = 3 };

struct fft_plan {
    cufftType type;
    int n[MOST_RANK]; /* 1 in front where there are fewer axes */
    int in_embed[MOST_RANK], in_stride, in_distance;
    int out_embed[MOST_RANK], out_stride, out_distance;
    int batch;
};

static std::map<cufftHandle, fft_plan> plans;
static cufftHandle last_plan;

/* Place of element (x, y, z) of transform b. */
static ptrdiff_t place(const int embed[MOST_RANK], int stride, int distance, int b, int x, int y, int z)
{
    return (ptrdiff_t)b * distance + (((ptrdiff_t)x * embed[1] + y) * embed[2] + z) * stride;
}

/* root[k] = exp(sign 2 pi i k / n) */
static const std::vector<complex_double> &roots_of(int n, int sign)
{
    static thread_local std::map<int, std::vector<complex_double>> known;
    std::vector<complex_double> &root = known[sign * n];

    for (int k = (int)root.size(); k < n; k++) {
        root.push_back(std::polar(1.0, sign * 2.0 * M_PI * (double)k / n));
    }
    return root;
}

/* out[k] = sum_r in[r step] root[k r apart], r < n, by the smallest prime factor of n.
 *   root  exp(+-2 pi i k / (n apart)) */
static void transform_part(int n, const complex_double *root, int apart, const complex_double *in, ptrdiff_t step,
                           complex_double *out)
{
    int p = 2;

    if (n == 1) {
        out[0] = in[0];
        return;
    }
    while (n % p != 0) {
        p++;
    }
    const int m = n / p;
    std::vector<complex_double> part((size_t)n);
    for (int i = 0; i < p; i++) {
        transform_part(m, root, apart * p, in + i * step, step * p, &part[(size_t)i * (size_t)m]);
    }
    for (int k = 0; k < n; k++) {
        out[k] = 0.0;
        for (int i = 0; i < p; i++) {
            out[k] += root[(ptrdiff_t)i * k % n * apart] * part[(size_t)(i * m + k % m)];
        }
    }
}

/* out[k] = sum_r in[r step] exp(sign 2 pi i k r / n) */
static void transform_row(int n, int sign, const complex_double *in, ptrdiff_t step, complex_double *out)
{
    transform_part(n, roots_of(n, sign).data(), 1, in, step, out);
}

/* Along one axis of a [n0][n1][n2] array. */
static void transform_axis(const int n[MOST_RANK], int axis, int sign, std::vector<complex_double> &data)
{
    const ptrdiff_t inner = axis == 2 ? 1 : axis == 1 ? n[2] : (ptrdiff_t)n[1] * n[2];
    const ptrdiff_t count = (ptrdiff_t)n[0] * n[1] * n[2];
    std::vector<complex_double> row((size_t)n[axis]);

    for (ptrdiff_t first = 0; first < count; first++) {
        if (first / inner % n[axis] != 0) {
            continue;
        }
        transform_row(n[axis], sign, &data[(size_t)first], inner, row.data());
        for (int k = 0; k < n[axis]; k++) {
            data[(size_t)(first + k * inner)] = row[(size_t)k];
        }
    }
}

/* The real rows that belong to half rows z = 0..n/2; the imaginary parts of z = 0 and n/2 are not looked at. */
static void half_rows_to_real(const int n[MOST_RANK], const std::vector<complex_double> &half,
                              std::vector<complex_double> &full)
{
    const int kept = n[2] / 2 + 1;

    for (ptrdiff_t row = 0; row < (ptrdiff_t)n[0] * n[1]; row++) {
        std::vector<complex_double> all((size_t)n[2]);
        for (int z = 0; z < n[2]; z++) {
            const bool stored = z < kept;
            const complex_double value = half[(size_t)(row * kept + (stored ? z : n[2] - z))];
            const bool own_mirror = 2 * z % n[2] == 0;
            all[(size_t)z] = own_mirror ? complex_double(value.real()) : stored ? value : std::conj(value);
        }
        transform_row(n[2], CUFFT_INVERSE, all.data(), 1, &full[(size_t)(row * n[2])]);
    }
}

static complex_double load(cufftType type, const void *in, ptrdiff_t at)
{
    if (type == CUFFT_R2C) {
        return ((const float *)in)[at];
    }
    const float2 value = ((const float2 *)in)[at];
    return complex_double(value.x, value.y);
}

static void store(cufftType type, void *out, ptrdiff_t at, complex_double value)
{
    if (type == CUFFT_C2R) {
        ((float *)out)[at] = (float)value.real();
    } else {
        ((float2 *)out)[at] = make_float2((float)value.real(), (float)value.imag());
    }
}

/* One transform of a batch. */
static void transform(const fft_plan &plan, int b, int sign, void *in, void *out)
{
    const int half = plan.n[2] / 2 + 1;
    const int in_n[MOST_RANK] = {plan.n[0], plan.n[1], plan.type == CUFFT_C2R ? half : plan.n[2]};
    const int out_n[MOST_RANK] = {plan.n[0], plan.n[1], plan.type == CUFFT_R2C ? half : plan.n[2]};
    std::vector<complex_double> data((size_t)in_n[0] * (size_t)in_n[1] * (size_t)in_n[2]);
    size_t i = 0;

    for (int x = 0; x < in_n[0]; x++) {
        for (int y = 0; y < in_n[1]; y++) {
            for (int z = 0; z < in_n[2]; z++) {
                const ptrdiff_t at = place(plan.in_embed, plan.in_stride, plan.in_distance, b, x, y, z);
                data[i++] = load(plan.type, in, at);
                if (plan.type == CUFFT_C2R && in != out) { /* the true one may use it as work space */
                    ((float2 *)in)[at] = make_float2(NAN, NAN);
                }
            }
        }
    }
    transform_axis(in_n, 0, sign, data);
    transform_axis(in_n, 1, sign, data);
    if (plan.type == CUFFT_C2R) {
        std::vector<complex_double> full((size_t)plan.n[0] * (size_t)plan.n[1] * (size_t)plan.n[2]);
        half_rows_to_real(plan.n, data, full);
        data.swap(full);
    } else {
        transform_axis(in_n, 2, sign, data);
    }
    for (int x = 0; x < out_n[0]; x++) {
        for (int y = 0; y < out_n[1]; y++) {
            for (int z = 0; z < out_n[2]; z++) {
                const size_t from = ((size_t)x * (size_t)plan.n[1] + (size_t)y) * (size_t)plan.n[2] + (size_t)z;
                store(plan.type, out, place(plan.out_embed, plan.out_stride, plan.out_distance, b, x, y, z),
                      data[from]);
            }
        }
    }
}

static cufftResult execute(cufftHandle handle, cufftType type, int sign, void *in, void *out)
{
    const auto entry = plans.find(handle);

    if (entry == plans.end() || entry->second.type != type) {
        return CUFFT_INVALID_PLAN;
    }
    const fft_plan plan = entry->second;
    sp_emulated_later([=] {
        for (int b = 0; b < plan.batch; b++) {
            transform(plan, b, sign, in, out);
        }
    });
    return CUFFT_SUCCESS;
}

/* Sizes of the arrays that hold one transform each, where the caller gives none: the last axis of complex halves is
 * n/2 + 1, and real arrays fill their space. */
static void natural_embed(const fft_plan &plan, bool half, int embed[MOST_RANK])
{
    embed[0] = plan.n[0];
    embed[1] = plan.n[1];
    embed[2] = half ? plan.n[2] / 2 + 1 : plan.n[2];
}

cufftResult cufftPlanMany(cufftHandle *handle, int rank, int *n, int *inembed, int istride, int idist, int *onembed,
                          int ostride, int odist, cufftType type, int batch)
{
    fft_plan plan = {};

    if (rank < 1 || rank > MOST_RANK || batch < 1) {
        return CUFFT_INVALID_VALUE;
    }
    plan.type = type;
    plan.batch = batch;
    for (int i = 0; i < MOST_RANK; i++) {
        const int axis = i - (MOST_RANK - rank);
        plan.n[i] = axis >= 0 ? n[axis] : 1;
        plan.in_embed[i] = axis >= 0 && inembed ? inembed[axis] : 1;
        plan.out_embed[i] = axis >= 0 && onembed ? onembed[axis] : 1;
        if (plan.n[i] < 1) {
            return CUFFT_INVALID_SIZE;
        }
    }
    plan.in_stride = inembed ? istride : 1;
    plan.out_stride = onembed ? ostride : 1;
    if (!inembed) {
        natural_embed(plan, type == CUFFT_C2R, plan.in_embed);
    }
    if (!onembed) {
        natural_embed(plan, type == CUFFT_R2C, plan.out_embed);
    }
    plan.in_distance = inembed ? idist : plan.in_embed[0] * plan.in_embed[1] * plan.in_embed[2];
    plan.out_distance = onembed ? odist : plan.out_embed[0] * plan.out_embed[1] * plan.out_embed[2];
    *handle = ++last_plan;
    plans[*handle] = plan;
    return CUFFT_SUCCESS;
}

cufftResult cufftPlan3d(cufftHandle *plan, int nx, int ny, int nz, cufftType type)
{
    int n[MOST_RANK] = {nx, ny, nz};

    return cufftPlanMany(plan, MOST_RANK, n, NULL, 1, 0, NULL, 1, 0, type, 1);
}

cufftResult cufftSetStream(cufftHandle plan, cudaStream_t stream)
{
    (void)stream;
    return plans.count(plan) ? CUFFT_SUCCESS : CUFFT_INVALID_PLAN;
}

cufftResult cufftExecR2C(cufftHandle plan, cufftReal *in, cufftComplex *out)
{
    return execute(plan, CUFFT_R2C, CUFFT_FORWARD, in, out);
}

cufftResult cufftExecC2R(cufftHandle plan, cufftComplex *in, cufftReal *out)
{
    return execute(plan, CUFFT_C2R, CUFFT_INVERSE, in, out);
}

cufftResult cufftExecC2C(cufftHandle plan, cufftComplex *in, cufftComplex *out, int direction)
{
    return execute(plan, CUFFT_C2C, direction, in, out);
}

cufftResult cufftDestroy(cufftHandle plan)
{
    cudaDeviceSynchronize();
    return plans.erase(plan) ? CUFFT_SUCCESS : CUFFT_INVALID_PLAN;
}

/* ---- cuBLAS ---- */

/* How tensor cores see a factor. */
enum precision { FULL, TF32, BF16 };

struct cublasContext {
    cublasMath_t mode;
};

/* 8 bits of exponent, 7 of mantissa, to the nearest, ties to even. */
__nv_bfloat16 __float2bfloat16_rn(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    bits += isnan(x) ? 0 : 0x7fffu + (bits >> 16 & 1);
    return {(uint16_t)(bits >> 16)};
}

float __bfloat162float(__nv_bfloat16 x)
{
    const uint32_t bits = (uint32_t)x.bits << 16;
    float value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* 5 bits of exponent, 10 of mantissa, to the nearest, ties to even; numbers below 2^-14 have fewer. */
__half __float2half_rn(float x)
{
    const uint16_t sign = signbit(x) ? 0x8000 : 0;
    const double size = fabs((double)x);

    if (isnan(x)) {
        return {0x7fff};
    }
    if (size >= 65520.0) {
        return {(uint16_t)(sign | 0x7c00)};
    }
    const int exponent = size >= 0x1p-14 ? ilogb(size) : -14;
    const int steps = (int)nearbyint(ldexp(size, 10 - exponent)); /* from 1024 on there is a leading bit */

    return {(uint16_t)(sign | ((exponent + 14) * 1024 + steps))};
}

float __half2float(__half x)
{
    const int exponent = x.bits >> 10 & 0x1f, mantissa = x.bits & 0x3ff;
    const double size = exponent == 0    ? ldexp(mantissa, -24)
                        : exponent == 31 ? (mantissa ? (double)NAN : (double)INFINITY)
                                         : ldexp(1024 + mantissa, exponent - 25);

    return (float)(x.bits & 0x8000 ? -size : size);
}

/* 10 bits of mantissa. NVIDIA leaves the rounding open; the worst is to drop the others. */
static float to_tf32(float x)
{
    uint32_t bits;

    memcpy(&bits, &x, sizeof bits);
    bits &= 0xffffe000u;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* A matrix, column by column. */
struct matrix {
    const void *data;
    cudaDataType type;
    int leading;
    long long step; /* between matrices of a batch */
    bool transposed;
};

static float factor(const matrix &m, long long batch, int row, int column, precision how)
{
    const ptrdiff_t inside = m.transposed ? (ptrdiff_t)row * m.leading + column : (ptrdiff_t)column * m.leading + row;
    const ptrdiff_t at = batch * m.step + inside;

    if (m.type == CUDA_R_16BF) {
        return __bfloat162float(((const __nv_bfloat16 *)m.data)[at]);
    }
    if (m.type == CUDA_R_16F) {
        return __half2float(((const __half *)m.data)[at]);
    }
    const float value = ((const float *)m.data)[at];
    return how == TF32 ? to_tf32(value) : how == BF16 ? __bfloat162float(__float2bfloat16_rn(value)) : value;
}

static cublasStatus_t multiply(int m, int n, int k, float alpha, const matrix &a, const matrix &b, float beta, void *c,
                               cudaDataType ctype, int ldc, long long stridec, int batch, precision how)
{
    if (a.type != b.type || ctype != CUDA_R_32F) {
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (m < 0 || n < 0 || k < 0 || batch < 0 || a.leading < (a.transposed ? k : m) ||
        b.leading < (b.transposed ? n : k) || ldc < m) {
        return CUBLAS_STATUS_INVALID_VALUE;
    }
    sp_emulated_later([=] {
        for (int i = 0; i < batch; i++) {
            for (int column = 0; column < n; column++) {
                for (int row = 0; row < m; row++) {
                    float *to = (float *)c + i * stridec + (ptrdiff_t)column * ldc + row;
                    float sum = 0.0f;
                    for (int j = 0; j < k; j++) {
                        sum += factor(a, i, row, j, how) * factor(b, i, j, column, how);
                    }
                    *to = alpha * sum + (beta == 0.0f ? 0.0f : beta * *to);
                }
            }
        }
    });
    return CUBLAS_STATUS_SUCCESS;
}

static precision precision_of(cublasComputeType_t compute)
{
    return compute == CUBLAS_COMPUTE_32F_FAST_TF32 ? TF32 : compute == CUBLAS_COMPUTE_32F_FAST_16BF ? BF16 : FULL;
}

cublasStatus_t cublasCreate(cublasHandle_t *handle)
{
    *handle = new cublasContext{CUBLAS_DEFAULT_MATH};
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    cudaDeviceSynchronize();
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    (void)handle, (void)stream;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    handle->mode = mode;
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                           int k, const float *alpha, const float *a, int lda, const float *b, int ldb,
                           const float *beta, float *c, int ldc)
{
    const cublasComputeType_t compute =
        handle->mode == CUBLAS_TF32_TENSOR_OP_MATH ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;

    return cublasGemmEx(handle, transa, transb, m, n, k, alpha, a, CUDA_R_32F, lda, b, CUDA_R_32F, ldb, beta, c,
                        CUDA_R_32F, ldc, compute, CUBLAS_GEMM_DEFAULT);
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb, int m, int n,
                            int k, const void *alpha, const void *a, cudaDataType atype, int lda, const void *b,
                            cudaDataType btype, int ldb, const void *beta, void *c, cudaDataType ctype, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
    return cublasGemmStridedBatchedEx(handle, transa, transb, m, n, k, alpha, a, atype, lda, 0, b, btype, ldb, 0, beta,
                                      c, ctype, ldc, 0, 1, compute, algorithm);
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t transa, cublasOperation_t transb,
                                          int m, int n, int k, const void *alpha, const void *a, cudaDataType atype,
                                          int lda, long long stridea, const void *b, cudaDataType btype, int ldb,
                                          long long strideb, const void *beta, void *c, cudaDataType ctype, int ldc,
                                          long long stridec, int batch, cublasComputeType_t compute,
                                          cublasGemmAlgo_t algorithm)
{
    const matrix left = {a, atype, lda, stridea, transa == CUBLAS_OP_T};
    const matrix right = {b, btype, ldb, strideb, transb == CUBLAS_OP_T};

    (void)handle, (void)algorithm;
    return multiply(m, n, k, *(const float *)alpha, left, right, *(const float *)beta, c, ctype, ldc, stridec, batch,
                    precision_of(compute));
}
