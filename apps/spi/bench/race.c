/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/race.h"

#include <assert.h>
#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/clock.h"
#include "base/interrupt.h"
#include "num/statistics.h"

enum { LEAST_ROUNDS = 3 };

typedef double clock_reader(void);

static clock_reader *choose_clock(const sp_contender *contender, int count)
{
    for (int i = 0; i < count; i++) {
        if (contender[i].threads > 1) {
            return sp_clock_wall;
        }
    }
    return sp_clock_thread;
}

static sp_status time_calls(const sp_contender *contender, clock_reader *now, ptrdiff_t calls, double *seconds)
{
    sp_status status = SP_OK;

    omp_set_num_threads(contender->threads > 1 ? contender->threads : 1);
    const double start = now();

    for (ptrdiff_t i = 0; i < calls; i++) {
        SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "interrupted");
        contender->run(contender->context);
    }
    *seconds = (now() - start) / (double)calls;
done:
    return status;
}

/* Calls that make one sample of each contender; how long one round of samples takes. */
static sp_status try_out(const sp_race_rules *rules, const sp_contender *contender, int count, clock_reader *now,
                         ptrdiff_t *calls, double *round)
{
    sp_status status = SP_OK;

    *round = 0.0;
    for (int i = 0; i < count; i++) {
        double first = 0.0, seconds = 0.0;

        SP_TRY(time_calls(&contender[i], now, 1, &first));
        seconds = first;
        if (first < rules->sample) { /* the first call found cold caches */
            SP_TRY(time_calls(&contender[i], now, 1, &seconds));
        }
        calls[i] = seconds < rules->sample ? (ptrdiff_t)ceil(rules->sample / fmax(seconds, 1e-8)) : 1;
        *round += seconds * (double)calls[i];
    }
done:
    return status;
}

static int affordable_rounds(const sp_race_rules *rules, double round)
{
    int rounds = rules->rounds;

    while (rounds > LEAST_ROUNDS && rounds * round > rules->budget) {
        rounds -= 2;
    }
    return rounds;
}

sp_status sp_race_run(const sp_race_rules *rules, const sp_contender *contender, int count, sp_race *race)
{
    const int threads_before = omp_get_max_threads();
    clock_reader *now = choose_clock(contender, count);
    ptrdiff_t calls[SP_RACE_CONTENDERS];
    double round = 0.0;
    sp_status status = SP_OK;

    assert(count >= 1 && count <= SP_RACE_CONTENDERS && rules->rounds <= SP_RACE_ROUNDS);
    SP_TRY(try_out(rules, contender, count, now, calls, &round));
    *race = (sp_race){.rounds = affordable_rounds(rules, round), .contenders = count};
    for (int r = 0; r < race->rounds; r++) {
        for (int i = 0; i < count; i++) {
            SP_TRY(time_calls(&contender[i], now, calls[i], &race->seconds[r][i]));
        }
    }
done:
    omp_set_num_threads(threads_before);
    return status;
}

sp_quartiles sp_quartiles_of(const double *value, int count)
{
    double sorted[SP_RACE_ROUNDS];

    assert(count >= 1 && count <= SP_RACE_ROUNDS);
    memcpy(sorted, value, (size_t)count * sizeof *value);
    return (sp_quartiles){.median = sp_median(sorted, count),
                          .low = sp_percentile(sorted, count, 0.25),
                          .high = sp_percentile(sorted, count, 0.75)};
}

sp_quartiles sp_race_seconds(const sp_race *race, int contender)
{
    double value[SP_RACE_ROUNDS];

    for (int r = 0; r < race->rounds; r++) {
        value[r] = race->seconds[r][contender];
    }
    return sp_quartiles_of(value, race->rounds);
}

double sp_race_best(const sp_race *race, int contender)
{
    double best = race->seconds[0][contender];

    for (int r = 1; r < race->rounds; r++) {
        best = fmin(best, race->seconds[r][contender]);
    }
    return best;
}

sp_quartiles sp_race_ratio(const sp_race *race, int slow, int fast)
{
    double value[SP_RACE_ROUNDS];

    for (int r = 0; r < race->rounds; r++) {
        value[r] = race->seconds[r][slow] / race->seconds[r][fast];
    }
    return sp_quartiles_of(value, race->rounds);
}
