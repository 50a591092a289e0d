/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/nufft_problem.h -- random patterns for the tests of NUFFTs on a GPU, and a plan of plain loops. */
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "device/gpu.h"
#include "device/nufft.h"

enum { MOST_PIXELS = 300, MOST_ORIENTATIONS = 20, BORDER_PIXELS = 27 };

typedef struct problem {
    sp_nufft *plan;
    sp_rng rng;
    double scale;
    ptrdiff_t cells; /* of a grid */
    sp_mat3 rotation[MOST_ORIENTATIONS];
    float map[MOST_ORIENTATIONS][3][3];
    float s[3][MOST_PIXELS];
} problem;

static inline void set_rotation(problem *p, int i, sp_quat orientation)
{
    p->rotation[i] = sp_quat_to_matrix(orientation);
    sp_nufft_map(p->plan, &p->rotation[i], p->scale, p->map[i]);
}

static inline void make_problem(problem *p, ptrdiff_t edge, int width, double sigma, uint64_t seed)
{
    p->rng = sp_rng_stream(seed, (uint64_t)edge, (uint64_t)width);
    p->scale = 1.0 / sqrt(3.0);
    assert_int_equal(sp_nufft_new_with(edge, width, sigma, &sp_nufft_ref, 0, &p->plan), SP_OK);
    p->cells = sp_nufft_grid_count(p->plan);
    for (int i = 0; i < MOST_ORIENTATIONS; i++) {
        set_rotation(p, i, sp_quat_random(&p->rng));
    }
    for (int i = 0; i < 3; i++) {
        for (int j = 0; j < MOST_PIXELS; j++) {
            p->s[i][j] = (float)((double)edge * (sp_rng_uniform(&p->rng) - 0.5));
        }
        p->s[i][0] = 0.0f; /* the centre is its own mirror */
    }
}

/* Instead, the first 27 pixels: corners, edges, faces and centre of the box, in its own orientation. */
static inline void move_to_border(problem *p, ptrdiff_t edge)
{
    p->scale = 1.0;
    set_rotation(p, 0, (sp_quat){1.0, 0.0, 0.0, 0.0});
    for (int j = 0; j < BORDER_PIXELS; j++) {
        p->s[0][j] = (float)edge / 2.0f * (float)(j / 9 - 1);
        p->s[1][j] = (float)edge / 2.0f * (float)(j / 3 % 3 - 1);
        p->s[2][j] = (float)edge / 2.0f * (float)(j % 3 - 1);
    }
}

static inline void clear_problem(problem *p)
{
    sp_nufft_free(p->plan);
}

/* Normal numbers. Free with sp_array_free(). */
static inline float *random_array(problem *p, ptrdiff_t count)
{
    float *array = NULL;

    assert_int_equal(SP_ARRAY(array, count), SP_OK);
    for (ptrdiff_t i = 0; i < count; i++) {
        array[i] = (float)sp_rng_normal(&p->rng);
    }
    return array;
}

/* The first pixels, on the GPU.   [3][count] */
static inline float *gpu_pixels(const sp_device *gpu, const problem *p, int count)
{
    float packed[3 * MOST_PIXELS];

    for (int i = 0; i < 3; i++) {
        memcpy(packed + i * count, p->s[i], (size_t)count * sizeof *packed);
    }
    return gpu_array(gpu, packed, 3 * (size_t)count * sizeof *packed);
}

static inline sp_device_nufft *gpu_plan(const sp_device *gpu, const problem *p, ptrdiff_t points)
{
    const sp_nufft_layout layout = sp_nufft_layout_of(p->plan);
    sp_device_nufft *plan = NULL;

    assert_int_equal(gpu->kernels->nufft->new_plan(gpu, &layout, points, &plan), SP_OK);
    return plan;
}

static inline double root_mean_square(const float *value, ptrdiff_t count)
{
    double sum = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        sum += (double)value[i] * value[i];
    }
    return sqrt(sum / (double)count);
}

/* Root mean square of the difference, relative to that of `want`. */
static inline double difference(const float *got, const float *want, ptrdiff_t count)
{
    double sum = 0.0;

    for (ptrdiff_t i = 0; i < count; i++) {
        sum += ((double)got[i] - want[i]) * ((double)got[i] - want[i]);
    }
    return sqrt(sum / (double)count) / root_mean_square(want, count);
}
