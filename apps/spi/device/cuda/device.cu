/* SPDX-License-Identifier: BSD-3-Clause */
/* The plugin's table, the device itself and its memory. */
#include <stdint.h>
#include <stdio.h>

#include "base/memory.h"
#include "device/cuda/plugin.h"

sp_status sp_cuda_enter(const sp_device *device)
{
    sp_status status = SP_OK;

    SP_TRY_CUDA(cudaSetDevice(device->state->number));
done:
    return status;
}

sp_status sp_cuda_blas(const sp_device *device, cublasHandle_t *handle)
{
    sp_status status = SP_OK;
    sp_device_state *state = device->state;

    if (!state->blas) {
        SP_TRY_CUBLAS(cublasCreate(&state->blas));
        SP_TRY_CUBLAS(cublasSetStream(state->blas, state->stream));
    }
    *handle = state->blas;
done:
    return status;
}

sp_status sp_cuda_plan_transform(const sp_device *device, int n, cufftType type, int batch, cufftHandle *plan)
{
    sp_status status = SP_OK;
    int edges[] = {n, n, n};

    SP_TRY_CUFFT(cufftPlanMany(plan, 3, edges, NULL, 1, 0, NULL, 1, 0, type, batch));
    SP_TRY_CUFFT(cufftSetStream(*plan, device->state->stream));
done:
    return status;
}

void sp_cuda_drop_transform(cufftHandle plan)
{
    if (plan != SP_NO_TRANSFORM) {
        cufftDestroy(plan);
    }
}

static sp_status learn_facts(int number, sp_device_facts *facts)
{
    sp_status status = SP_OK;
    struct cudaDeviceProp properties;

    SP_TRY_CUDA(cudaGetDeviceProperties(&properties, number));
    snprintf(facts->name, sizeof facts->name, "%s", properties.name);
    facts->memory = properties.totalGlobalMem;
    facts->multiprocessors = properties.multiProcessorCount;
    facts->capability[0] = properties.major;
    facts->capability[1] = properties.minor;
done:
    return status;
}

static void close_device(sp_device *device)
{
    sp_device_state *state = device->state;

    if (!state) {
        return;
    }
    if (state->blas) {
        cublasDestroy(state->blas);
    }
    if (state->start) {
        cudaEventDestroy(state->start);
    }
    if (state->stop) {
        cudaEventDestroy(state->stop);
    }
    if (state->stream) {
        cudaStreamDestroy(state->stream);
    }
    sp_array_free(state);
    device->state = NULL;
}

static sp_status open_device(sp_device *device, int number)
{
    sp_status status = SP_OK;
    int count = 0;
    const cudaError_t error = cudaGetDeviceCount(&count);

    (void)cudaGetLastError(); /* told below */
    SP_REQUIRE(error == cudaSuccess && count > 0, SP_ERR_USAGE,
               "no GPU can be used (%s): see whether nvidia-smi lists one, or do without", cudaGetErrorString(error));
    SP_REQUIRE(number >= 0 && number < count, SP_ERR_USAGE, "there is no GPU number %d: the last one is %d", number,
               count - 1);
    SP_TRY(SP_ARRAY(device->state, 1));
    device->state->number = number;
    SP_TRY(sp_cuda_enter(device));
    SP_TRY(learn_facts(number, &device->facts));
    SP_TRY_CUDA(cudaStreamCreateWithFlags(&device->state->stream, cudaStreamNonBlocking));
    SP_TRY_CUDA(cudaEventCreate(&device->state->start));
    SP_TRY_CUDA(cudaEventCreate(&device->state->stop));
done:
    if (status != SP_OK) {
        close_device(device);
    }
    return status;
}

static sp_status get(const sp_device *device, ptrdiff_t count, size_t size, const char *what, void **array)
{
    sp_status status = SP_OK;
    void *memory = NULL;
    cudaError_t error;

    SP_REQUIRE(count >= 0 && (size_t)count <= PTRDIFF_MAX / size, SP_ERR_MEMORY,
               "%s: %td elements of %zu bytes are more than memory can hold", what, count, size);
    SP_TRY(sp_cuda_enter(device));
    error = cudaMalloc(&memory, (size_t)count * size);
    (void)cudaGetLastError(); /* told below */
    SP_REQUIRE(error == cudaSuccess, SP_ERR_MEMORY, "%s: the GPU has no memory for %td elements (%.1f MB): %s", what,
               count, (double)count * (double)size / 1e6, cudaGetErrorString(error));
    *array = memory;
done:
    return status;
}

static void release(const sp_device *device, void *array)
{
    if (array && sp_cuda_enter(device) == SP_OK) {
        cudaFree(array);
    }
}

static sp_status available(const sp_device *device, size_t *bytes)
{
    sp_status status = SP_OK;
    size_t total;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY_CUDA(cudaMemGetInfo(bytes, &total));
done:
    return status;
}

static sp_status clear(const sp_device *device, void *array, size_t bytes)
{
    sp_status status = SP_OK;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY_CUDA(cudaMemsetAsync(array, 0, bytes, device->state->stream));
done:
    return status;
}

static sp_status wait(const sp_device *device)
{
    sp_status status = SP_OK;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY_CUDA(cudaStreamSynchronize(device->state->stream));
done:
    return status;
}

static sp_status copy(const sp_device *device, const void *from, size_t bytes, cudaMemcpyKind kind, void *to)
{
    sp_status status = SP_OK;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY_CUDA(cudaMemcpyAsync(to, from, bytes, kind, device->state->stream));
    SP_TRY_CUDA(cudaStreamSynchronize(device->state->stream));
done:
    return status;
}

static sp_status upload(const sp_device *device, const void *from, size_t bytes, void *to)
{
    return copy(device, from, bytes, cudaMemcpyHostToDevice, to);
}

static sp_status download(const sp_device *device, const void *from, size_t bytes, void *to)
{
    return copy(device, from, bytes, cudaMemcpyDeviceToHost, to);
}

static sp_status start_timer(const sp_device *device)
{
    sp_status status = SP_OK;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY_CUDA(cudaEventRecord(device->state->start, device->state->stream));
done:
    return status;
}

static sp_status stop_timer(const sp_device *device, double *seconds)
{
    sp_status status = SP_OK;
    float milliseconds = 0.0f;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY_CUDA(cudaEventRecord(device->state->stop, device->state->stream));
    SP_TRY_CUDA(cudaEventSynchronize(device->state->stop));
    SP_TRY_CUDA(cudaEventElapsedTime(&milliseconds, device->state->start, device->state->stop));
    *seconds = 1e-3 * (double)milliseconds;
done:
    return status;
}

extern "C" __attribute__((visibility("default"))) const sp_device_kernels SP_DEVICE_TABLE = {
    .version = SPICA_VERSION,
    .bytes = sizeof(sp_device_kernels),
    .open = open_device,
    .close = close_device,
    .get = get,
    .release = release,
    .available = available,
    .clear = clear,
    .upload = upload,
    .download = download,
    .wait = wait,
    .start_timer = start_timer,
    .stop_timer = stop_timer,
    .nufft = &sp_cuda_nufft,
    .match = &sp_cuda_match,
    .polar = &sp_cuda_polar,
    .solve = &sp_cuda_solve,
    .shells = &sp_cuda_shells,
    .phase = &sp_cuda_phase,
};
