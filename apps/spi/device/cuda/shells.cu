/* SPDX-License-Identifier: BSD-3-Clause */
/* Shell sums without atomic additions, whose order would be a matter of luck. A warp takes a row along z, in which
 * shells follow each other: neighbouring lanes of the same shell add up what they hold, and the first of them adds it
 * to the warp's own sums in shared memory. The sums of warps, and those of blocks, are added in their order. Each
 * transform is read once: 4 bytes for each voxel of the volume. */
#include "device/cuda/shells.h"

#include "base/memory.h"
#include "device/cuda/plugin.h"

enum {
    WARPS = 4,
    THREADS = WARPS * SP_WARP,
    MOST_BLOCKS = 528, /* four for each multiprocessor of a Hopper */
    KINDS = 3,         /* of sums: cross, and both powers */
    LAST_THREADS = 128,
    MOST_EDGE = 1000, /* the sums of WARPS fit into 48 KB, which every GPU has */
};

struct sp_device_shells {
    int n, most, blocks;
    double *part;     /* [most][blocks][KINDS][shells], or [blocks][n], of the device */
    double *total;    /* [most][KINDS][shells], or [n], of the device */
    double *host;     /* the same of the host */
    double *count[2]; /* [n + 1] members of shells: in both halves of a transform, and in what is stored of it */
};

static __device__ __forceinline__ int shell_at(int n, int x, int y, int z)
{
    const int a = x <= n / 2 ? x : x - n, b = y <= n / 2 ? y : y - n;

    return sp_cuda_shell_of(a * a + b * b + z * z);
}

/* Adds lanes of equal keys, which are neighbours, and their sums to the warp's own.
 *   kinds  of sums: value[kinds] of each lane, own [kinds][shells] */
static __device__ __forceinline__ void add_lanes(int kinds, int key, double *value, int shells, double *own)
{
    const int lane = (int)(threadIdx.x % SP_WARP);
    const int before = __shfl_up_sync(0xffffffffu, key, 1);

    for (int step = 1; step < SP_WARP; step *= 2) {
        const bool same = __shfl_down_sync(0xffffffffu, key, step) == key && lane + step < SP_WARP;

        SP_UNROLL
        for (int i = 0; i < kinds; i++) {
            const double other = __shfl_down_sync(0xffffffffu, value[i], step);

            value[i] += same ? other : 0.0;
        }
    }
    if ((lane == 0 || before != key) && key < shells) {
        SP_UNROLL
        for (int i = 0; i < kinds; i++) {
            own[i * shells + key] += value[i];
        }
    }
    __syncwarp(); /* the next lanes may belong to the same shell */
}

/* sum of the warps' own; part [kinds][shells] */
static __device__ __forceinline__ void leave_block(int count, const double *own, double *part)
{
    __syncthreads();
    for (int i = (int)threadIdx.x; i < count; i += THREADS) {
        double sum = 0.0;

        for (int warp = 0; warp < WARPS; warp++) {
            sum += own[warp * count + i];
        }
        part[i] = sum;
    }
}

static __device__ __forceinline__ double *clear_own(int count, double *all)
{
    double *own = all + (int)(threadIdx.x / SP_WARP) * count;

    for (int i = (int)(threadIdx.x % SP_WARP); i < count; i += SP_WARP) {
        own[i] = 0.0;
    }
    __syncwarp();
    return own;
}

/* Pair blockIdx.y. */
static __global__ void __launch_bounds__(THREADS) sum_pairs(int n, const float2 *a, const float2 *b, double *part)
{
    SP_DYNAMIC_SHARED(double, all);
    const int shells = n / 2 + 1, count = KINDS * shells;
    const ptrdiff_t volume = (ptrdiff_t)blockIdx.y * n * n * shells;
    double *own = clear_own(count, all);

    for (int row = (int)(blockIdx.x * WARPS + threadIdx.x / SP_WARP); row < n * n; row += (int)gridDim.x * WARPS) {
        for (int first = 0; first < shells; first += SP_WARP) {
            const int z = first + (int)(threadIdx.x % SP_WARP), x = row / n, y = row - x * n;
            const double copies = z == 0 || 2 * z == n ? 1.0 : 2.0; /* the other half is the mirror image */
            double value[KINDS] = {0.0, 0.0, 0.0};

            if (z < shells) {
                const float2 p = a[volume + (ptrdiff_t)row * shells + z], q = b[volume + (ptrdiff_t)row * shells + z];

                value[0] = copies * ((double)p.x * q.x + (double)p.y * q.y);
                value[1] = copies * ((double)p.x * p.x + (double)p.y * p.y);
                value[2] = copies * ((double)q.x * q.x + (double)q.y * q.y);
            }
            add_lanes(KINDS, shell_at(n, x, y, z), value, shells, own);
        }
    }
    leave_block(count, all, part + ((ptrdiff_t)blockIdx.y * gridDim.x + blockIdx.x) * count);
}

static __global__ void __launch_bounds__(THREADS) sum_powers(int n, const float2 *half, double *part)
{
    SP_DYNAMIC_SHARED(double, all);
    const int stored = n / 2 + 1;
    double *own = clear_own(n, all);

    for (int row = (int)(blockIdx.x * WARPS + threadIdx.x / SP_WARP); row < n * n; row += (int)gridDim.x * WARPS) {
        for (int first = 0; first < stored; first += SP_WARP) {
            const int z = first + (int)(threadIdx.x % SP_WARP), x = row / n, y = row - x * n;
            double value = 0.0;

            if (z < stored) {
                const float2 f = half[(ptrdiff_t)row * stored + z];

                value = (double)f.x * f.x + (double)f.y * f.y;
            }
            add_lanes(1, shell_at(n, x, y, z), &value, n, own);
        }
    }
    leave_block(n, all, part + (ptrdiff_t)blockIdx.x * n);
}

/* total[i] = sum over the blocks; set blockIdx.y of sums. */
static __global__ void __launch_bounds__(LAST_THREADS)
    add_blocks(const double *part, int blocks, int count, double *total)
{
    const int i = (int)(blockIdx.x * LAST_THREADS + threadIdx.x);
    double sum = 0.0;

    if (i < count) {
        for (int block = 0; block < blocks; block++) {
            sum += part[((ptrdiff_t)blockIdx.y * blocks + block) * count + i];
        }
        total[(ptrdiff_t)blockIdx.y * count + i] = sum;
    }
}

/* Totals of `sets` of `count` sums to the host. */
static sp_status collect(const sp_device *device, sp_device_shells *self, int sets, int count)
{
    sp_status status = SP_OK;
    const dim3 blocks((unsigned)((count + LAST_THREADS - 1) / LAST_THREADS), (unsigned)sets);

    SP_LAUNCH(add_blocks, blocks, LAST_THREADS, 0, device->state->stream, self->part, self->blocks, count, self->total);
    SP_TRY(
        device->kernels->download(device, self->total, (size_t)sets * (size_t)count * sizeof *self->total, self->host));
done:
    return status;
}

static sp_status cross(const sp_device *device, sp_device_shells *self, const void *a, const void *b, int pairs,
                       sp_device_shell_means *mean)
{
    sp_status status = SP_OK;
    const int shells = self->n / 2 + 1, count = KINDS * shells;
    const size_t shared = WARPS * (size_t)count * sizeof(double);

    SP_REQUIRE(pairs <= self->most, SP_ERR_USAGE, "%d pairs of transforms, where the plan has room for %d", pairs,
               self->most);
    if (pairs == 0) {
        return SP_OK;
    }
    SP_TRY(sp_cuda_enter(device));
    SP_LAUNCH(sum_pairs, dim3((unsigned)self->blocks, (unsigned)pairs), THREADS, shared, device->state->stream, self->n,
              (const float2 *)a, (const float2 *)b, self->part);
    SP_TRY(collect(device, self, pairs, count));
    for (int i = 0; i < pairs * shells; i++) {
        const double *sum = self->host + (ptrdiff_t)(i / shells) * count + i % shells,
                     members = self->count[0][i % shells];

        mean[i].cross = sum[0] / members;
        mean[i].power_a = sum[shells] / members;
        mean[i].power_b = sum[2 * shells] / members;
    }
done:
    return status;
}

sp_status sp_cuda_shells_power(const sp_device *device, sp_device_shells *self, const float2 *half, double *power)
{
    sp_status status = SP_OK;

    SP_LAUNCH(sum_powers, self->blocks, THREADS, WARPS * (size_t)self->n * sizeof(double), device->state->stream,
              self->n, half, self->part);
    SP_TRY(collect(device, self, 1, self->n));
    for (int k = 0; k < self->n; k++) {
        power[k] = self->count[1][k] > 0.0 ? self->host[k] / self->count[1][k] : 0.0;
    }
done:
    return status;
}

/* ---- plans ---- */

static void count_members(sp_device_shells *self)
{
    const int n = self->n;

    for (int row = 0; row < n * n; row++) {
        const int a = row / n <= n / 2 ? row / n : row / n - n, b = row % n <= n / 2 ? row % n : row % n - n;

        for (int z = 0; z <= n / 2; z++) {
            const int shell = (int)(sqrt((double)(a * a + b * b + z * z)) + 0.5);

            self->count[0][shell] += z == 0 || 2 * z == n ? 1.0 : 2.0;
            self->count[1][shell] += 1.0;
        }
    }
}

static void release(const sp_device *device, sp_device_shells *self)
{
    if (!self) {
        return;
    }
    device->kernels->release(device, self->part);
    device->kernels->release(device, self->total);
    sp_array_free(self->host);
    sp_array_free(self->count[0]);
    sp_array_free(self->count[1]);
    sp_array_free(self);
}

static sp_status make(const sp_device *device, ptrdiff_t edge, int most, sp_device_shells **shells)
{
    sp_status status = SP_OK;
    sp_device_shells *self = NULL;
    ptrdiff_t sums = 0;

    SP_REQUIRE(edge >= 2 && edge <= MOST_EDGE, SP_ERR_USAGE, "edge %td of the shells is not in 2..%d", edge, MOST_EDGE);
    SP_TRY(SP_ARRAY(self, 1));
    self->n = (int)edge;
    self->most = most;
    self->blocks = (int)((edge * edge + WARPS - 1) / WARPS);
    self->blocks = self->blocks < MOST_BLOCKS ? self->blocks : MOST_BLOCKS;
    sums = most * KINDS * (edge / 2 + 1); /* more than `edge` */
    SP_TRY(SP_DEVICE_ARRAY(device, self->part, self->blocks * sums));
    SP_TRY(SP_DEVICE_ARRAY(device, self->total, sums));
    SP_TRY(SP_ARRAY(self->host, sums));
    SP_TRY(SP_ARRAY(self->count[0], edge + 1)); /* the corner of edge 2 is in shell 2 */
    SP_TRY(SP_ARRAY(self->count[1], edge + 1));
    count_members(self);
    *shells = self;
    self = NULL; /* handed over */
done:
    release(device, self);
    return status;
}

extern "C" const sp_device_shells_kernels sp_cuda_shells = {.make = make, .release = release, .cross = cross};
