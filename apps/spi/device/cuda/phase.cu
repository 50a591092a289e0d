/* SPDX-License-Identifier: BSD-3-Clause */
/* Phasing of many starts. Traffic of a step, in bytes for each voxel and start: amplitudes imposed 8 (they themselves,
 * 2, are read once for all starts), the transforms 16 at least and 48 as three passes each; then RAAR 13: projected,
 * density and support in, density out; error reduction 9. All pointwise work stands in these two passes: a density
 * leaves as the next transform reads it, and no pass has anything else to read. */
#include <float.h>
#include <limits.h>
#include <math.h>

#include "base/memory.h"
#include "base/philox.h"
#include "device/cuda/plugin.h"
#include "device/cuda/shells.h"
#include "device/cuda/sums.h"
#include "device/phase.h"
#include "phases/phase_point.h"

enum {
    FLAT_THREADS = 256, /* of passes without sums */
    AT_A_TIME = 4,      /* voxels of a thread there: 16 bytes of each array, and 4 of the support */
    MOMENTS = 6,        /* first Fourier components: real and imaginary part along three axes */
};

/* What all kernels see. Arrays of the device. */
typedef struct view {
    int n, starts, ball; /* ball: |r|^2 of the voxels in it, at most [voxel^2] */
    ptrdiff_t cube, half_count;
    const float *amplitude; /* [half_count] */
    float *density;         /* [starts][n^3] */
    float *projected;       /* [starts][n^3] with the known amplitudes; and whatever else is made of a density */
    float2 *half;           /* [starts][half_count] a transform */
    uint8_t *support;       /* [starts][n^3] */
    int *before;            /* [n][n] voxels of the ball before a row */
    double *turn;           /* [n][2] cos and sin of 2 pi i / n */
    double *moment;         /* [starts][MOMENTS][parts] */
    double *off;            /* [starts][2][parts] sum (|F| - A)^2 and sum A^2 */
    double *volume;         /* [starts][parts] of the support */
    float *top;             /* [starts][parts] of the blurred density */
    int *shift;             /* [starts][3] */
    float *filter;          /* [n] by shells */
} view;

struct sp_device_phaser {
    view v;
    double voxel;
    unsigned parts;
    sp_phase_settings settings; /* of the starts under way */
    sp_device_shells *shells;
    cufftHandle forward, backward, forward_one, backward_one; /* all starts; one volume */
};

static __device__ __forceinline__ int square_of(int n, int i)
{
    const int k = (int)sp_phase_signed(i, n);

    return k * k;
}

/* |k|^2 of a stored frequency, i = (x n + y) (n/2 + 1) + z. */
static __device__ __forceinline__ int frequency_square(int n, int i)
{
    const int stored = n / 2 + 1, row = i / stored, z = i - row * stored, x = row / n;

    return square_of(n, x) + square_of(n, row - x * n) + z * z;
}

/* ---- projections ---- */

/* A transform with the known amplitudes, divided by n^3: transforms are not scaled. Where it is 0, its phase is 0. */
static __device__ __forceinline__ float2 imposed(float2 f, float amplitude, float per_cube)
{
    const float square = f.x * f.x + f.y * f.y;

    if (amplitude < 0.0f) { /* unknown */
        return make_float2(f.x * per_cube, f.y * per_cube);
    }
    if (square < FLT_MIN) {
        return make_float2(amplitude * per_cube, 0.0f);
    }
    const float scale = amplitude * rsqrtf(square) * per_cube;

    return make_float2(f.x * scale, f.y * scale);
}

static __global__ void __launch_bounds__(FLAT_THREADS) impose(const view v, float per_cube)
{
    const int i = (int)(blockIdx.x * FLAT_THREADS + threadIdx.x);

    if (i < v.half_count) {
        const float amplitude = v.amplitude[i];

        for (int start = 0; start < v.starts; start++) {
            float2 *f = v.half + start * v.half_count + i;

            *f = imposed(*f, amplitude, per_cube);
        }
    }
}

/* n is even, so voxels of all starts come in fours: pass over all of them at once. */
static __global__ void __launch_bounds__(FLAT_THREADS)
    relax(ptrdiff_t fours, float beta, const uint32_t *support, const float4 *projected, float4 *density)
{
    const ptrdiff_t i = (ptrdiff_t)blockIdx.x * FLAT_THREADS + threadIdx.x;

    if (i < fours) {
        const uint32_t inside = support[i];
        const float4 p = projected[i], old = density[i];

        density[i] = make_float4(sp_phase_relaxed((uint8_t)inside, p.x, old.x, beta),
                                 sp_phase_relaxed((uint8_t)(inside >> 8), p.y, old.y, beta),
                                 sp_phase_relaxed((uint8_t)(inside >> 16), p.z, old.z, beta),
                                 sp_phase_relaxed((uint8_t)(inside >> 24), p.w, old.w, beta));
    }
}

static __global__ void __launch_bounds__(FLAT_THREADS)
    cut(ptrdiff_t fours, const uint32_t *support, const float4 *projected, float4 *density)
{
    const ptrdiff_t i = (ptrdiff_t)blockIdx.x * FLAT_THREADS + threadIdx.x;

    if (i < fours) {
        const uint32_t inside = support[i];
        const float4 p = projected[i];

        density[i] =
            make_float4(sp_phase_cut((uint8_t)inside, p.x), sp_phase_cut((uint8_t)(inside >> 8), p.y),
                        sp_phase_cut((uint8_t)(inside >> 16), p.z), sp_phase_cut((uint8_t)(inside >> 24), p.w));
    }
}

static unsigned flat_blocks(ptrdiff_t count)
{
    return (unsigned)((count + FLAT_THREADS - 1) / FLAT_THREADS);
}

static sp_status project_amplitudes(const sp_device *device, sp_device_phaser *self)
{
    sp_status status = SP_OK;
    view *v = &self->v;

    SP_TRY_CUFFT(cufftExecR2C(self->forward, v->density, v->half));
    SP_LAUNCH(impose, flat_blocks(v->half_count), FLAT_THREADS, 0, device->state->stream, *v, 1.0f / (float)v->cube);
    SP_TRY_CUFFT(cufftExecC2R(self->backward, v->half, v->projected));
done:
    return status;
}

static sp_status step_raar(const sp_device *device, sp_device_phaser *self)
{
    sp_status status = SP_OK;
    const view *v = &self->v;
    const ptrdiff_t fours = v->starts * v->cube / AT_A_TIME;

    SP_TRY(project_amplitudes(device, self));
    SP_LAUNCH(relax, flat_blocks(fours), FLAT_THREADS, 0, device->state->stream, fours, (float)self->settings.beta,
              (const uint32_t *)v->support, (const float4 *)v->projected, (float4 *)v->density);
done:
    return status;
}

static sp_status step_error_reduction(const sp_device *device, sp_device_phaser *self)
{
    sp_status status = SP_OK;
    const view *v = &self->v;
    const ptrdiff_t fours = v->starts * v->cube / AT_A_TIME;

    SP_TRY(project_amplitudes(device, self));
    SP_LAUNCH(cut, flat_blocks(fours), FLAT_THREADS, 0, device->state->stream, fours, (const uint32_t *)v->support,
              (const float4 *)v->projected, (float4 *)v->density);
done:
    return status;
}

/* ---- intensities ---- */

static __global__ void __launch_bounds__(FLAT_THREADS) take_real_parts(const view v, float *intensity)
{
    const int i = (int)(blockIdx.x * FLAT_THREADS + threadIdx.x);

    if (i < v.half_count) {
        intensity[i] = v.half[i].x;
    }
}

static sp_status intensities(const sp_device *device, sp_device_phaser *self, const float *autocorrelation,
                             float *intensity)
{
    sp_status status = SP_OK;
    const view *v = &self->v;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY_CUFFT(cufftExecR2C(self->forward_one, (float *)autocorrelation, v->half));
    SP_LAUNCH(take_real_parts, flat_blocks(v->half_count), FLAT_THREADS, 0, device->state->stream, *v, intensity);
done:
    return status;
}

/* ---- centre of mass ---- */

/* Moments of volume blockIdx.y. */
static __global__ void __launch_bounds__(SP_SUM_THREADS) add_moments(const view v, const float *from)
{
    const float *volume = from + blockIdx.y * v.cube;
    double sum[MOMENTS] = {0.0, 0.0, 0.0, 0.0, 0.0, 0.0};

    for (int row = sp_sum_first_row(); row < v.n * v.n; row += sp_sum_row_step()) {
        const double *x = v.turn + 2 * (row / v.n), *y = v.turn + 2 * (row % v.n);
        double plain = 0.0;

        for (int z = (int)(threadIdx.x % SP_WARP); z < v.n; z += SP_WARP) {
            const double value = volume[(ptrdiff_t)row * v.n + z];

            plain += value;
            sum[4] += value * v.turn[2 * z];
            sum[5] += value * v.turn[2 * z + 1];
        }
        sum[0] += plain * x[0];
        sum[1] += plain * x[1];
        sum[2] += plain * y[0];
        sum[3] += plain * y[1];
    }
    sp_sum_leave(sum, MOMENTS, v.moment + (ptrdiff_t)blockIdx.y * MOMENTS * gridDim.x, gridDim.x);
}

static __global__ void __launch_bounds__(SP_SUM_THREADS) find_shift(const view v, int parts)
{
    const double *part[MOMENTS];
    double sum[MOMENTS];

    SP_UNROLL
    for (int i = 0; i < MOMENTS; i++) {
        part[i] = v.moment + ((ptrdiff_t)blockIdx.y * MOMENTS + i) * parts;
    }
    sp_sum_total(part, parts, sum, MOMENTS);
    if (threadIdx.x == 0) {
        SP_UNROLL
        for (int axis = 0; axis < 3; axis++) {
            v.shift[3 * blockIdx.y + axis] = (int)sp_phase_centre(sum[2 * axis], sum[2 * axis + 1], v.n);
        }
    }
}

static __device__ __forceinline__ int wrapped(int i, int n)
{
    return i < n ? i : i - n;
}

static __global__ void __launch_bounds__(SP_SUM_THREADS) move(const view v, const float *from, float *to)
{
    const ptrdiff_t volume = blockIdx.y * v.cube;
    const int *shift = v.shift + 3 * blockIdx.y;

    for (int row = sp_sum_first_row(); row < v.n * v.n; row += sp_sum_row_step()) {
        const int x = wrapped(row / v.n + shift[0], v.n), y = wrapped(row % v.n + shift[1], v.n);

        for (int z = (int)(threadIdx.x % SP_WARP); z < v.n; z += SP_WARP) {
            to[volume + (ptrdiff_t)row * v.n + z] =
                from[volume + ((ptrdiff_t)x * v.n + y) * v.n + wrapped(z + shift[2], v.n)];
        }
    }
}

/* So many volumes. */
static sp_status recentre_all(const sp_device *device, const sp_device_phaser *self, int volumes, const float *from,
                              float *to)
{
    sp_status status = SP_OK;
    const cudaStream_t stream = device->state->stream;
    const dim3 blocks(self->parts, (unsigned)volumes);

    SP_LAUNCH(add_moments, blocks, SP_SUM_THREADS, 0, stream, self->v, from);
    SP_LAUNCH(find_shift, dim3(1, (unsigned)volumes), SP_SUM_THREADS, 0, stream, self->v, (int)self->parts);
    SP_LAUNCH(move, blocks, SP_SUM_THREADS, 0, stream, self->v, from, to);
done:
    return status;
}

static sp_status recentre(const sp_device *device, sp_device_phaser *self, const float *from, float *to)
{
    sp_status status = SP_OK;

    SP_TRY(sp_cuda_enter(device));
    SP_TRY(recentre_all(device, self, 1, from, to));
done:
    return status;
}

/* ---- supports ---- */

/* Spectra times a Gaussian, exp(-narrow |k|^2), and divided by n^3. */
static __global__ void __launch_bounds__(FLAT_THREADS) blur(const view v, float narrow, float per_cube)
{
    const int i = (int)(blockIdx.x * FLAT_THREADS + threadIdx.x);

    if (i < v.half_count) {
        const float factor = expf(-narrow * (float)frequency_square(v.n, i)) * per_cube;

        for (int start = 0; start < v.starts; start++) {
            float2 *f = v.half + start * v.half_count + i;

            *f = make_float2(f->x * factor, f->y * factor);
        }
    }
}

static __global__ void __launch_bounds__(SP_SUM_THREADS) find_top(const view v)
{
    float top = 0.0f;

    for (int row = sp_sum_first_row(); row < v.n * v.n; row += sp_sum_row_step()) {
        for (int z = (int)(threadIdx.x % SP_WARP); z < v.n; z += SP_WARP) {
            top = fmaxf(top, v.projected[blockIdx.y * v.cube + (ptrdiff_t)row * v.n + z]);
        }
    }
    top = sp_sum_block_top(top);
    if (threadIdx.x == 0) {
        v.top[blockIdx.y * gridDim.x + blockIdx.x] = top;
    }
}

/* support = blurred density above a share of its top, within the ball */
static __global__ void __launch_bounds__(SP_SUM_THREADS) cut_support(const view v, float threshold)
{
    float top = 0.0f;
    int members = 0;

    for (int i = (int)threadIdx.x; i < (int)gridDim.x; i += SP_SUM_THREADS) {
        top = fmaxf(top, v.top[blockIdx.y * gridDim.x + i]);
    }
    const float least = threshold * sp_sum_block_top(top);
    for (int row = sp_sum_first_row(); row < v.n * v.n; row += sp_sum_row_step()) {
        const int xy = square_of(v.n, row / v.n) + square_of(v.n, row % v.n);

        for (int z = (int)(threadIdx.x % SP_WARP); z < v.n; z += SP_WARP) {
            const ptrdiff_t at = blockIdx.y * v.cube + (ptrdiff_t)row * v.n + z;
            const bool inside = v.projected[at] > least && xy + square_of(v.n, z) <= v.ball;

            v.support[at] = inside;
            members += inside;
        }
    }
    double volume = members;
    sp_sum_leave(&volume, 1, v.volume + (ptrdiff_t)blockIdx.y * gridDim.x, 0);
}

static sp_status shrink_wrap(const sp_device *device, sp_device_phaser *self, double sigma)
{
    sp_status status = SP_OK;
    const view *v = &self->v;
    const cudaStream_t stream = device->state->stream;
    const dim3 blocks(self->parts, (unsigned)v->starts);
    const double narrow = 2.0 * M_PI * M_PI * sigma * sigma / ((double)v->n * v->n);

    SP_TRY_CUFFT(cufftExecR2C(self->forward, v->density, v->half));
    SP_LAUNCH(blur, flat_blocks(v->half_count), FLAT_THREADS, 0, stream, *v, (float)narrow, 1.0f / (float)v->cube);
    SP_TRY_CUFFT(cufftExecC2R(self->backward, v->half, v->projected));
    SP_LAUNCH(find_top, blocks, SP_SUM_THREADS, 0, stream, *v);
    SP_LAUNCH(cut_support, blocks, SP_SUM_THREADS, 0, stream, *v, (float)self->settings.threshold);
done:
    return status;
}

/* ---- starts ---- */

/* First density and support: random numbers in a ball. Those of a start are one stream, which gives each voxel of the
 * ball its number in the order of memory; `before` tells how many there are before a row. */
static __global__ void __launch_bounds__(SP_SUM_THREADS) scatter(const view v, uint64_t seed, int first)
{
    const int lane = (int)(threadIdx.x % SP_WARP);
    int own_members = 0;

    for (int row = sp_sum_first_row(); row < v.n * v.n; row += sp_sum_row_step()) {
        const int xy = square_of(v.n, row / v.n) + square_of(v.n, row % v.n);
        unsigned number = (unsigned)v.before[row];

        for (int from = 0; from < v.n; from += SP_WARP) {
            const int z = from + lane;
            const bool inside = z < v.n && xy + square_of(v.n, z) <= v.ball;
            const unsigned members = __ballot_sync(0xffffffffu, inside);
            const ptrdiff_t at = blockIdx.y * v.cube + (ptrdiff_t)row * v.n + z;
            const unsigned own = number + (unsigned)__popc(members & ((1u << lane) - 1u));

            if (z < v.n) {
                v.support[at] = inside;
                v.density[at] = inside ? (float)sp_philox_uniform_at(seed, SP_PHASE_RNG_START,
                                                                     (uint64_t)(first + (int)blockIdx.y), own)
                                       : 0.0f;
            }
            own_members += inside;
            number += (unsigned)__popc(members);
        }
    }
    double volume = own_members;
    sp_sum_leave(&volume, 1, v.volume + (ptrdiff_t)blockIdx.y * gridDim.x, 0);
}

/* |r|^2 of the outermost voxels whose sqrtf(|r|^2) <= radius. */
static int ball_of(int n, float radius)
{
    const double most = 0.75 * n * n;
    int square = (int)fmin((double)radius * radius + 2.0, most);

    while (square >= 0 && sqrtf((float)square) > radius) {
        square--;
    }
    return square;
}

static sp_status count_ball(const sp_device *device, sp_device_phaser *self)
{
    sp_status status = SP_OK;
    const int n = self->v.n;
    int *before = NULL, sum = 0;

    SP_TRY(SP_ARRAY(before, n * n));
    for (int row = 0; row < n * n; row++) {
        const ptrdiff_t x = sp_phase_signed(row / n, n), y = sp_phase_signed(row % n, n);
        const double rest = (double)(self->v.ball - x * x - y * y);
        const int most = rest < 0.0 ? -1 : (int)sqrt(rest); /* |z| */

        before[row] = sum;
        sum += most < 0 ? 0 : most < n / 2 ? 2 * most + 1 : n;
    }
    SP_TRY(device->kernels->upload(device, before, (size_t)n * (size_t)n * sizeof *before, self->v.before));
done:
    sp_array_free(before);
    return status;
}

static sp_status begin(const sp_device *device, sp_device_phaser *self, const float *amplitude,
                       const sp_phase_settings *settings, int first)
{
    sp_status status = SP_OK;
    view *v = &self->v;

    self->settings = *settings;
    v->amplitude = amplitude;
    v->ball = ball_of(v->n, (float)(settings->radius / self->voxel));
    SP_TRY(sp_cuda_enter(device));
    SP_TRY(count_ball(device, self));
    SP_LAUNCH(scatter, dim3(self->parts, (unsigned)v->starts), SP_SUM_THREADS, 0, device->state->stream, *v,
              settings->seed, first);
done:
    return status;
}

static sp_status cycle(const sp_device *device, sp_device_phaser *self, int number)
{
    sp_status status = SP_OK;
    const sp_phase_settings *settings = &self->settings;
    const double t = settings->cycles > 1 ? (double)number / (settings->cycles - 1) : 1.0;
    float *const density = self->v.density;

    SP_TRY(sp_cuda_enter(device));
    for (int i = 0; i < settings->raar_steps; i++) {
        SP_TRY(step_raar(device, self));
    }
    for (int i = 0; i < settings->er_steps; i++) {
        SP_TRY(step_error_reduction(device, self));
    }
    SP_TRY(recentre_all(device, self, self->v.starts, density, self->v.projected));
    self->v.density = self->v.projected;
    self->v.projected = density;
    SP_TRY(shrink_wrap(device, self, settings->blur_first + t * (settings->blur_last - settings->blur_first)));
done:
    return status;
}

/* ---- outcomes ---- */

/* From the transforms of the densities. */
static __global__ void __launch_bounds__(SP_SUM_THREADS) add_off(const view v)
{
    const int stored = v.n / 2 + 1;
    double sum[2] = {0.0, 0.0};

    for (int row = sp_sum_first_row(); row < v.n * v.n; row += sp_sum_row_step()) {
        for (int z = (int)(threadIdx.x % SP_WARP); z < stored; z += SP_WARP) {
            const ptrdiff_t i = (ptrdiff_t)row * stored + z;
            const float amplitude = v.amplitude[i];
            const float2 f = v.half[blockIdx.y * v.half_count + i];
            const float off = sp_phase_off(f.x, f.y, amplitude);

            sum[0] += amplitude < 0.0f ? 0.0 : (double)off * off;
            sum[1] += amplitude < 0.0f ? 0.0 : (double)amplitude * amplitude;
        }
    }
    sp_sum_leave(sum, 2, v.off + (ptrdiff_t)blockIdx.y * 2 * gridDim.x, gridDim.x);
}

static sp_status measure_residual(const sp_device *device, sp_device_phaser *self)
{
    sp_status status = SP_OK;
    const view *v = &self->v;

    SP_TRY_CUFFT(cufftExecR2C(self->forward, v->density, v->half));
    SP_LAUNCH(add_off, dim3(self->parts, (unsigned)v->starts), SP_SUM_THREADS, 0, device->state->stream, *v);
done:
    return status;
}

static double sum_of(const double *part, unsigned parts)
{
    double sum = 0.0;

    for (unsigned i = 0; i < parts; i++) {
        sum += part[i];
    }
    return sum;
}

/* What the kernels left.   measured  off there is */
static sp_status read_outcomes(const sp_device *device, const sp_device_phaser *self, bool measured,
                               sp_phase_outcome *outcome)
{
    sp_status status = SP_OK;
    const view *v = &self->v;
    const unsigned parts = self->parts;
    const ptrdiff_t count = v->starts * (ptrdiff_t)parts;
    double *volume = NULL, *off = NULL;

    SP_TRY(SP_ARRAY(volume, count));
    SP_TRY(SP_ARRAY(off, 2 * count));
    SP_TRY(device->kernels->download(device, v->volume, (size_t)count * sizeof *volume, volume));
    if (measured) {
        SP_TRY(device->kernels->download(device, v->off, 2 * (size_t)count * sizeof *off, off));
    }
    for (int i = 0; i < v->starts; i++) {
        const double norm = sum_of(off + (2 * i + 1) * (ptrdiff_t)parts, parts);

        outcome[i].residual = norm > 0.0 ? sum_of(off + 2 * i * (ptrdiff_t)parts, parts) / norm : 0.0;
        outcome[i].volume = sum_of(volume + i * (ptrdiff_t)parts, parts);
        outcome[i].dropped =
            self->settings.cycles > 0 && sp_phase_is_dropped(outcome[i].volume, self->settings.radius / self->voxel);
    }
done:
    sp_array_free(volume);
    sp_array_free(off);
    return status;
}

static sp_status finish(const sp_device *device, sp_device_phaser *self, sp_phase_outcome *outcome)
{
    sp_status status = SP_OK;
    const int steps = self->settings.final_steps;

    SP_TRY(sp_cuda_enter(device));
    for (int i = 0; i < steps; i++) {
        if (i == steps - 1) {
            SP_TRY(measure_residual(device, self));
        }
        SP_TRY(step_error_reduction(device, self));
    }
    SP_TRY(read_outcomes(device, self, steps > 0, outcome));
done:
    return status;
}

static const float *density(const sp_device_phaser *self, int i)
{
    return self->v.density + i * self->v.cube;
}

/* ---- the way back ---- */

/* |F|^2 times the filter of its shell, divided by n^3. */
static __global__ void __launch_bounds__(FLAT_THREADS) take_powers(const view v, bool filtered, float per_cube)
{
    const int i = (int)(blockIdx.x * FLAT_THREADS + threadIdx.x);

    if (i < v.half_count) {
        const int shell = sp_cuda_shell_of(frequency_square(v.n, i));
        const float2 f = v.half[i];

        v.half[i] = make_float2((f.x * f.x + f.y * f.y) * (filtered ? v.filter[shell] : 1.0f) * per_cube, 0.0f);
    }
}

static sp_status take_filter(const sp_device *device, const view *v, const double *filter)
{
    sp_status status = SP_OK;
    float *single = NULL;

    SP_TRY(SP_ARRAY(single, v->n));
    for (int i = 0; i < v->n; i++) {
        single[i] = (float)filter[i];
    }
    SP_TRY(device->kernels->upload(device, single, (size_t)v->n * sizeof *single, v->filter));
done:
    sp_array_free(single);
    return status;
}

/* The shells read the transform once more: a pass of 4 bytes a voxel, once for many hundred steps. */
static sp_status autocorrelate(const sp_device *device, sp_device_phaser *self, const float *from, const double *filter,
                               double *shells, float *autocorrelation)
{
    sp_status status = SP_OK;
    const view *v = &self->v;

    SP_TRY(sp_cuda_enter(device));
    if (filter) {
        SP_TRY(take_filter(device, v, filter));
    }
    SP_TRY_CUFFT(cufftExecR2C(self->forward_one, (float *)from, v->half));
    if (shells) {
        SP_TRY(sp_cuda_shells_power(device, self->shells, v->half, shells));
    }
    SP_LAUNCH(take_powers, flat_blocks(v->half_count), FLAT_THREADS, 0, device->state->stream, *v, filter != NULL,
              1.0f / (float)v->cube);
    SP_TRY_CUFFT(cufftExecC2R(self->backward_one, v->half, autocorrelation));
done:
    return status;
}

/* ---- plans ---- */

static void release(const sp_device *device, sp_device_phaser *self)
{
    if (!self || sp_cuda_enter(device) != SP_OK) {
        return;
    }
    void *const arrays[] = {self->v.density, self->v.projected, self->v.half,   self->v.support,
                            self->v.before,  self->v.turn,      self->v.moment, self->v.off,
                            self->v.volume,  self->v.top,       self->v.shift,  self->v.filter};
    const cufftHandle plans[] = {self->forward, self->backward, self->forward_one, self->backward_one};

    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) {
        device->kernels->release(device, arrays[i]);
    }
    for (size_t i = 0; i < sizeof plans / sizeof *plans; i++) {
        sp_cuda_drop_transform(plans[i]);
    }
    device->kernels->shells->release(device, self->shells);
    sp_array_free(self);
}

static sp_status make_turns(const sp_device *device, const view *v)
{
    sp_status status = SP_OK;
    double *turn = NULL;

    SP_TRY(SP_ARRAY(turn, 2 * v->n));
    for (int i = 0; i < v->n; i++) {
        turn[2 * i] = cos(2.0 * M_PI * i / v->n);
        turn[2 * i + 1] = sin(2.0 * M_PI * i / v->n);
    }
    SP_TRY(device->kernels->upload(device, turn, 2 * (size_t)v->n * sizeof *turn, v->turn));
done:
    sp_array_free(turn);
    return status;
}

static sp_status make_arrays(const sp_device *device, sp_device_phaser *self)
{
    sp_status status = SP_OK;
    view *v = &self->v;
    const ptrdiff_t parts = v->starts * (ptrdiff_t)self->parts;

    SP_TRY(SP_DEVICE_ARRAY(device, v->density, v->starts * v->cube));
    SP_TRY(SP_DEVICE_ARRAY(device, v->projected, v->starts * v->cube));
    SP_TRY(SP_DEVICE_ARRAY(device, v->half, v->starts * v->half_count));
    SP_TRY(SP_DEVICE_ARRAY(device, v->support, v->starts * v->cube));
    SP_TRY(SP_DEVICE_ARRAY(device, v->before, v->n * v->n));
    SP_TRY(SP_DEVICE_ARRAY(device, v->turn, 2 * v->n));
    SP_TRY(SP_DEVICE_ARRAY(device, v->moment, MOMENTS * parts));
    SP_TRY(SP_DEVICE_ARRAY(device, v->off, 2 * parts));
    SP_TRY(SP_DEVICE_ARRAY(device, v->volume, parts));
    SP_TRY(SP_DEVICE_ARRAY(device, v->top, parts));
    SP_TRY(SP_DEVICE_ARRAY(device, v->shift, 3 * v->starts));
    SP_TRY(SP_DEVICE_ARRAY(device, v->filter, v->n));
    SP_TRY(make_turns(device, v));
    SP_TRY(device->kernels->shells->make(device, v->n, 1, &self->shells));
done:
    return status;
}

static sp_status make(const sp_device *device, ptrdiff_t edge, double voxel, int starts, sp_device_phaser **phaser)
{
    sp_status status = SP_OK;
    sp_device_phaser *self = NULL;
    const double cube = (double)edge * (double)edge * (double)edge;

    SP_REQUIRE(edge % 2 == 0 && cube * starts <= INT_MAX, SP_ERR_USAGE,
               "%d starts of edge %td: the edge must be even, and all together no more than a GPU transforms at once",
               starts, edge);
    SP_TRY(sp_cuda_enter(device));
    SP_TRY(SP_ARRAY(self, 1));
    self->forward = self->backward = self->forward_one = self->backward_one = SP_NO_TRANSFORM;
    self->voxel = voxel;
    self->parts = sp_sum_parts((int)edge);
    self->v.n = (int)edge;
    self->v.starts = starts;
    self->v.cube = edge * edge * edge;
    self->v.half_count = edge * edge * (edge / 2 + 1);
    SP_TRY(make_arrays(device, self));
    SP_TRY(sp_cuda_plan_transform(device, (int)edge, CUFFT_R2C, starts, &self->forward));
    SP_TRY(sp_cuda_plan_transform(device, (int)edge, CUFFT_C2R, starts, &self->backward));
    SP_TRY(sp_cuda_plan_transform(device, (int)edge, CUFFT_R2C, 1, &self->forward_one));
    SP_TRY(sp_cuda_plan_transform(device, (int)edge, CUFFT_C2R, 1, &self->backward_one));
    *phaser = self;
    self = NULL; /* handed over */
done:
    release(device, self);
    return status;
}

extern "C" const sp_device_phase_kernels sp_cuda_phase = {.make = make,
                                                          .release = release,
                                                          .intensities = intensities,
                                                          .begin = begin,
                                                          .cycle = cycle,
                                                          .finish = finish,
                                                          .density = density,
                                                          .recentre = recentre,
                                                          .autocorrelate = autocorrelate};
