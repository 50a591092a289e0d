/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/probe.h -- small uses of everything that kernels of spica take for granted, for test_platform.c to run on the
 * emulator and on GPUs: what holds on one must hold on the other. All arrays are the host's. */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { PROBE_THREADS = 256 }; /* of a block */

typedef struct probe_shape {
    int n[3], batch; /* of Fourier transforms */
} probe_shape;

typedef enum probe_precision { PROBE_FULL, PROBE_TF32, PROBE_BF16 } probe_precision;

typedef struct probe_kernels {
    bool emulated;

    /* out[i] = sum of block i of PROBE_THREADS numbers, by shuffles and shared memory. */
    sp_status (*sum_blocks)(const float *in, int blocks, float *out);

    /* out[i] = number of odd ones among 32, by votes. */
    sp_status (*count_odd)(const int *in, int warps, int *out);

    /* out[i] = in[(i + 1) % PROBE_THREADS], through shared memory, with the barrier that this needs or without. */
    sp_status (*turn)(const float *in, bool barrier, float *out);

    /* out[i] = in[0] + .. + in[i] of PROBE_THREADS numbers, through shared memory, with two barriers in each step. */
    sp_status (*add_up)(const int *in, int *out);

    /* The numbers in reverse order, through as much dynamic shared memory as they take; most: 58,112. */
    sp_status (*reverse)(float *data, int count);

    /* Rounded to half precision and back. */
    sp_status (*round_half)(const float *in, int count, float *out);

    /* By atomics: how often each of 16 values occurs, the largest number, and the sum in double. */
    sp_status (*tally)(const int *in, int count, int occurs[16], int *largest, double *sum);

    /* The transforms of a batch of real volumes, and what comes back from these. */
    sp_status (*transform)(probe_shape shape, const float *in, float *half, float *back);

    /* c = a^T b, of a batch: a [batch][n][k], b [batch][n][k], c [batch][n][n] (column j of c belongs to row j of b) */
    sp_status (*multiply)(probe_precision precision, int n, int k, int batch, const float *a, const float *b, float *c);

    /* Launches a block of so many threads, which do nothing. */
    sp_status (*launch)(int threads);

    /* Threads of one warp wait for each other in different functions. */
    sp_status (*disagree)(void);

    /* Reads memory of the device from the host. */
    float (*trespass)(void);
} probe_kernels;

#ifdef __cplusplus
}
#endif
