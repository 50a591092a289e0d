/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/cuda/lists.h -- the best orientations of an image in the hands of a warp, one candidate in a lane. Few scores
 * enter, so a warp that reads many runs as fast as memory. All functions are for whole warps. */
#include <math.h>

#include "device/cuda/platform.h"
#include "phases/shortlist.h"

static const unsigned SP_ALL_LANES = 0xffffffffu;

/* Lane i holds the i-th best of `keep`, 1 .. SP_WARP. */
typedef struct sp_cuda_list {
    sp_candidate own;
    float threshold; /* only scores above this enter */
    int keep;
} sp_cuda_list;

static __device__ __forceinline__ float sp_cuda_list_last(const sp_cuda_list *list)
{
    return __shfl_sync(SP_ALL_LANES, list->own.score, list->keep - 1);
}

/*   best  in  [keep] */
static __device__ __forceinline__ sp_cuda_list sp_cuda_list_load(const sp_candidate *best, int keep)
{
    const int lane = (int)threadIdx.x % SP_WARP;
    sp_cuda_list list = {{0, -INFINITY}, 0.0f, keep};

    if (lane < keep) {
        list.own = best[lane];
    }
    list.threshold = sp_cuda_list_last(&list);
    return list;
}

/*   best  out  [keep] */
static __device__ __forceinline__ void sp_cuda_list_store(const sp_cuda_list *list, sp_candidate *best)
{
    const int lane = (int)threadIdx.x % SP_WARP;

    if (lane < list->keep) {
        best[lane] = list->own;
    }
}

/* sp_shortlist_insert(); the same candidate in all lanes. */
static __device__ __forceinline__ void sp_cuda_list_insert(sp_candidate candidate, sp_cuda_list *list)
{
    const int lane = (int)threadIdx.x % SP_WARP;
    const int place = __popc(__ballot_sync(SP_ALL_LANES, lane < list->keep && !(candidate.score > list->own.score)));
    const int32_t index = __shfl_up_sync(SP_ALL_LANES, list->own.index, 1);
    const float score = __shfl_up_sync(SP_ALL_LANES, list->own.score, 1);

    if (lane > place) {
        list->own.index = index;
        list->own.score = score;
    } else if (lane == place) {
        list->own = candidate;
    }
    list->threshold = sp_cuda_list_last(list);
}

/* The scores that the lanes hold, index first + lane, in the order of the lanes. */
static __device__ __forceinline__ void sp_cuda_list_insert_lanes(float score, int32_t first, sp_cuda_list *list)
{
    unsigned waiting = __ballot_sync(SP_ALL_LANES, score > list->threshold);

    while (waiting) {
        const int source = __ffs((int)waiting) - 1;
        const sp_candidate candidate = {first + source, __shfl_sync(SP_ALL_LANES, score, source)};

        sp_cuda_list_insert(candidate, list);
        waiting = waiting & (waiting - 1) & __ballot_sync(SP_ALL_LANES, score > list->threshold);
    }
}

/* Four scores that each lane holds, indices rising with the lanes: index, index + 1, ... */
static __device__ __forceinline__ void sp_cuda_list_insert_fours(const float score[4], int32_t index,
                                                                 sp_cuda_list *list)
{
    const float top = fmaxf(fmaxf(score[0], score[1]), fmaxf(score[2], score[3]));
    unsigned waiting = __ballot_sync(SP_ALL_LANES, top > list->threshold);

    while (waiting) {
        const int source = __ffs((int)waiting) - 1;
        const int32_t first = __shfl_sync(SP_ALL_LANES, index, source);

        SP_UNROLL
        for (int i = 0; i < 4; i++) {
            const sp_candidate candidate = {first + i, __shfl_sync(SP_ALL_LANES, score[i], source)};

            if (candidate.score > list->threshold) { /* in all lanes alike */
                sp_cuda_list_insert(candidate, list);
            }
        }
        waiting = waiting & (waiting - 1) & __ballot_sync(SP_ALL_LANES, top > list->threshold);
    }
}
