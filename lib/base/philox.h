/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/philox.h -- the arithmetic of base/rng.h, shared with GPUs (base/shared.h): the same bits on both. */
#include <stdint.h>

#include "base/shared.h"

enum { SP_PHILOX_ROUNDS = 10 };

/* One Philox4x32-10 block: 128 random bits from (key, counter). Salmon et al. 2011, section 4.2. */
SP_SHARED void sp_philox(const uint32_t key_in[2], const uint32_t counter[4], uint32_t out[4])
{
    uint32_t key[2] = {key_in[0], key_in[1]};
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};

    for (int round = 0; round < SP_PHILOX_ROUNDS; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c[0];
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * c[2];
        const uint32_t next[4] = {(uint32_t)(p1 >> 32) ^ c[1] ^ key[0], (uint32_t)p1,
                                  (uint32_t)(p0 >> 32) ^ c[3] ^ key[1], (uint32_t)p0};

        for (int i = 0; i < 4; i++) {
            c[i] = next[i];
        }
        key[0] += 0x9E3779B9u;
        key[1] += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++) {
        out[i] = c[i];
    }
}

/* sp_rng_uniform() from two numbers of the stream. */
SP_SHARED double sp_philox_uniform(uint32_t first, uint32_t second)
{
    const uint64_t high = first >> 6; /* 26 bits */
    const uint64_t low = second >> 6; /* 26 bits */

    return ((double)((high << 26) | low) + 0.5) * 0x1p-52;
}

/* What call number k, 0 based, of sp_rng_uniform() gives on a fresh sp_rng_stream(seed, purpose, index), nothing else
 * having been drawn from it. k < 2^33. */
SP_SHARED double sp_philox_uniform_at(uint64_t seed, uint32_t purpose, uint64_t index, uint64_t k)
{
    const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
    const uint32_t counter[4] = {(uint32_t)(k / 2), purpose, (uint32_t)index, (uint32_t)(index >> 32)};
    uint32_t block[4];

    sp_philox(key, counter, block); /* streams give out a block from its end */
    return k % 2 == 0 ? sp_philox_uniform(block[3], block[2]) : sp_philox_uniform(block[1], block[0]);
}
