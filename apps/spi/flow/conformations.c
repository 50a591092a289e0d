/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/conformations.h"

#include <string.h>

#include "base/memory.h"
#include "base/rng.h"
#include "flow/loop.h"
#include "phases/align.h"

enum {
    MOST_SEEDED = 5,     /* times in an attempt: what dies again and again is one too many */
    STREAM_SEED = 0x5eed /* name of the random stream */
};

static const double LYING = 0.5;     /* share of a conformation's images that turn no more when it has converged */
static const double CROSSING = 0.02; /* share of them that may come from another or go there, at most */
static const double RISE = 0.002;    /* of its mean score: less is no progress */

void sp_conformations_count(const sp_reconstruction *state, ptrdiff_t *count)
{
    memset(count, 0, SP_CONFORMATIONS * sizeof *count);
    for (ptrdiff_t n = 0; n < state->images; n++) {
        count[state->label[n]] += state->scale[n] > 0.0f;
    }
}

static bool is_filled(const sp_reconstruction *state, int k)
{
    ptrdiff_t count[SP_CONFORMATIONS];

    sp_conformations_count(state, count);
    return (double)count[k] >= SP_CONFORMATION_LEAST * (double)state->used;
}

static sp_status compare(const sp_reconstruction *state, const float *const map[2], double *likeness)
{
    const sp_volume first = {.n = state->edge, .voxel = state->voxel, .value = map[0]};
    const sp_volume second = {.n = state->edge, .voxel = state->voxel, .value = map[1]};
    sp_alignment found = {0};
    const sp_status status = sp_align(&first, &second, 1.0 / state->settings.resolution, &found);

    *likeness = found.correlation;
    return status == SP_ERR_INPUT ? SP_OK : status; /* a flat map is like no other */
}

sp_status sp_conformations_compare(sp_reconstruction *state)
{
    const int all = state->settings.conformations;
    const ptrdiff_t cube = state->edge * state->edge * state->edge;
    float *map[2] = {NULL, NULL};
    sp_status status = SP_OK;

    memset(state->likeness, 0, sizeof state->likeness);
    SP_TRY(SP_ARRAY(map[0], cube));
    SP_TRY(SP_ARRAY(map[1], cube));
    for (int i = 0; i < all; i++) {
        state->likeness[i][i] = 1.0;
        sp_reconstruction_map(state, state->density, i, map[0]);
        for (int j = i + 1; j < all; j++) {
            if (is_filled(state, i) && is_filled(state, j)) {
                sp_reconstruction_map(state, state->density, j, map[1]);
                SP_TRY(compare(state, (const float *const *)map, &state->likeness[i][j]));
                state->likeness[j][i] = state->likeness[i][j];
            }
        }
    }
done:
    sp_array_free(map[1]);
    sp_array_free(map[0]);
    return status;
}

int sp_conformation_original(const sp_reconstruction *state, int k)
{
    int original = k;

    if (!is_filled(state, k)) {
        return -1;
    }
    for (int i = k - 1; i >= 0; i--) {
        if (is_filled(state, i) && state->likeness[i][k] >= SP_CONFORMATION_ALIKE) {
            original = i;
        }
    }
    return original;
}

int sp_conformations_found(const sp_reconstruction *state)
{
    int found = 0;

    for (int k = 0; k < state->settings.conformations; k++) {
        found += sp_conformation_original(state, k) == k;
    }
    return found;
}

static int largest_of(const ptrdiff_t *count, int conformations)
{
    int largest = 0;

    for (int k = 1; k < conformations; k++) {
        largest = count[k] > count[largest] ? k : largest;
    }
    return largest;
}

/* An image that stands in shares: those of one conformation go to the other. */
static void move_shares(sp_loop *l, ptrdiff_t n, int from, int to)
{
    for (ptrdiff_t i = n * l->keep; i < (n + 1) * l->keep && l->points > 0; i++) {
        if (l->placed[i] / l->points == from) {
            l->placed[i] += (int32_t)((to - from) * l->points);
        }
    }
}

/* Every other image of `from`, at random, goes to `to`, in the orientation that it has. */
static void part_images(sp_loop *l, int from, int to)
{
    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        sp_rng rng =
            sp_rng_stream(l->state->settings.seed,
                          STREAM_SEED + (uint32_t)(l->state->generations * l->batches + l->batch), (uint64_t)n);

        if (l->state->label[n] == from && (sp_rng_u32(&rng) & 1)) {
            l->state->label[n] = to;
            move_shares(l, n, from, to);
        }
    }
}

/* The same of those that the next model is made of. Returns how many they are. */
static double count_merged(const sp_loop *l, ptrdiff_t *count)
{
    double all = 0.0;

    memset(count, 0, SP_CONFORMATIONS * sizeof *count);
    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        if (l->state->scale[n] > 0.0f && sp_loop_is_merged(l, n)) {
            count[l->state->label[n]]++;
            all++;
        }
    }
    return all;
}

void sp_loop_reseed(sp_loop *l)
{
    ptrdiff_t count[SP_CONFORMATIONS];

    if (l->refining) {
        return;
    }
    for (int k = 0; k < l->conformations && l->seeded < MOST_SEEDED; k++) {
        if (count_merged(l, count) * SP_CONFORMATION_LEAST > (double)count[k]) {
            const int from = largest_of(count, l->conformations);

            sp_log_write(l->log, SP_LOG_INFO,
                         "conformation %d has %td images: it begins again with half of the %td of number %d", k + 1,
                         count[k], count[from], from + 1);
            part_images(l, from, k);
            l->seeded++;
        }
    }
}

/* ---- those that have converged ---- */

void sp_loop_watch_conformations(sp_loop *l)
{
    ptrdiff_t count[SP_CONFORMATIONS] = {0}, lying[SP_CONFORMATIONS] = {0}, crossing[SP_CONFORMATIONS] = {0};
    double all = 0.0, crossed = 0.0;

    for (ptrdiff_t n = 0; n < l->state->images; n++) {
        const int32_t before = l->state->label[n], now = l->label[n];

        if (l->state->scale[n] > 0.0f && !sp_loop_is_idle(l, n, l->state->label)) {
            count[now]++;
            lying[now] += before == now && sp_loop_lies_still(l, n);
            crossing[now] += before != now;
            crossing[before] += before != now;
        }
    }
    l->still = 0;
    for (int k = 0; k < l->conformations; k++) {
        all += (double)count[k];
        crossed += 0.5 * (double)crossing[k];                              /* each has left one and come to another */
        const bool still = (double)lying[k] >= LYING * (double)count[k] && /* an empty one does */
                           (double)crossing[k] <= CROSSING * (double)count[k];

        l->still |= (uint32_t)still << k;
    }
    l->crossing = all > 0.0 ? crossed / all : 0.0;
}

/* Of the images of conformation k; -1: it has none. */
static double mean_score(const sp_reconstruction *state, int k)
{
    double sum = 0.0;
    ptrdiff_t used = 0;

    for (ptrdiff_t n = 0; n < state->images; n++) {
        if (state->label[n] == k && state->scale[n] > 0.0f) {
            sum += state->score[n];
            used++;
        }
    }
    return used > 0 ? sum / (double)used : -1.0;
}

void sp_loop_mark_conformations(sp_loop *l)
{
    for (int k = 0; k < l->conformations; k++) {
        const double score = mean_score(l->state, k);

        if (!l->refining || l->reach < l->s_max) {
            l->mark[k] = -1.0;
            l->standing[k] = 0.0;
        } else if (score > l->mark[k] + RISE) {
            l->mark[k] = score;
            l->standing[k] = 0.0;
        } else {
            l->standing[k]++;
        }
    }
}

void sp_loop_wake_conformations(sp_loop *l)
{
    l->resting = l->still = 0;
    for (int k = 0; k < SP_CONFORMATIONS; k++) {
        l->mark[k] = -1.0;
        l->standing[k] = 0.0;
    }
}

bool sp_loop_rest_conformations(sp_loop *l, int generations)
{
    ptrdiff_t count[SP_CONFORMATIONS];
    bool all = true;

    sp_conformations_count(l->state, count);
    for (int k = 0; k < l->conformations; k++) {
        if (!sp_loop_rests(l, k) && (l->still >> k & 1u) && l->standing[k] >= generations) {
            l->resting |= 1u << k;
            sp_log_write(l->log, SP_LOG_INFO, "conformation %d, %td images, has converged and leaves the loop", k + 1,
                         count[k]);
        }
        all = all && sp_loop_rests(l, k);
    }
    return all;
}
