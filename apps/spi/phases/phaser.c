/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/phaser.h"

#include <omp.h>
#include <string.h>

#include "base/memory.h"

struct sp_phaser {
    sp_phase_plan *plan;
    float *amplitude;
    int starts;                /* at most */
    int last;                  /* of the last run */
    float **density;           /* [starts][edge^3] */
    sp_phase_outcome *outcome; /* [starts] */
    int workers;               /* starts that run at the same time */
    sp_phase_work **work;      /* [workers] */
    sp_phase_sums *sums;
    size_t bytes; /* of a density */
};

static int most_workers(int starts, int threads)
{
    return threads < starts ? threads : starts;
}

sp_status sp_phaser_new(ptrdiff_t edge, double voxel, int starts, sp_phaser **phaser)
{
    const int workers = most_workers(starts, omp_get_max_threads());
    const ptrdiff_t cube = edge * edge * edge;
    sp_status status = SP_OK;
    sp_phaser *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    self->bytes = (size_t)cube * sizeof **self->density;
    SP_TRY(sp_phase_plan_new(edge, voxel, &self->plan));
    SP_TRY(SP_ARRAY(self->amplitude, sp_phase_amplitude_count(self->plan)));
    SP_TRY(SP_ARRAY(self->outcome, starts));
    SP_TRY(SP_ARRAY(self->density, starts));
    self->starts = starts;
    for (int i = 0; i < starts; i++) {
        SP_TRY(SP_ARRAY(self->density[i], cube));
    }
    SP_TRY(SP_ARRAY(self->work, workers));
    self->workers = workers;
    for (int i = 0; i < workers; i++) {
        SP_TRY(sp_phase_work_new(self->plan, &self->work[i]));
    }
    SP_TRY(sp_phase_sums_new(self->plan, &self->sums));
    *phaser = self;
    self = NULL;
done:
    sp_phaser_free(self);
    return status;
}

void sp_phaser_free(sp_phaser *phaser)
{
    if (!phaser) {
        return;
    }
    for (int i = 0; i < phaser->starts; i++) {
        sp_array_free(phaser->density[i]);
    }
    for (int i = 0; i < phaser->workers; i++) {
        sp_phase_work_free(phaser->work[i]);
    }
    sp_array_free(phaser->density);
    sp_array_free(phaser->work);
    sp_array_free(phaser->outcome);
    sp_array_free(phaser->amplitude);
    sp_phase_sums_free(phaser->sums);
    sp_phase_plan_free(phaser->plan);
    sp_array_free(phaser);
}

size_t sp_phaser_bytes(ptrdiff_t edge, int starts, int threads)
{
    const double cube = (double)edge * (double)edge * (double)edge, plan = sp_phase_plan_bytes(edge);
    const double amplitude = plan; /* a float for each frequency, too */

    return (size_t)(plan + amplitude + starts * sizeof(float) * cube +
                    most_workers(starts, threads) * sp_phase_work_bytes(edge) + sp_phase_sums_bytes(edge));
}

sp_phase_result sp_phaser_run(sp_phaser *phaser, const float *autocorrelation, double s_low, double s_high, bool noisy,
                              const sp_phase_settings *settings, float *density)
{
    const int starts = settings->starts < phaser->starts ? settings->starts : phaser->starts;

    sp_phase_amplitudes(phaser->plan, autocorrelation, s_low, s_high, noisy, phaser->work[0], phaser->amplitude);
#pragma omp parallel for schedule(dynamic, 1) num_threads(most_workers(phaser->workers, omp_get_max_threads()))
    for (int i = 0; i < starts; i++) {
        phaser->outcome[i] = sp_phase_start(phaser->plan, phaser->amplitude, settings, i,
                                            phaser->work[omp_get_thread_num()], phaser->density[i]);
    }
    const sp_phase_result result = sp_phase_choose(phaser->outcome, starts);

    phaser->last = starts;
    memcpy(density, phaser->density[result.winner], phaser->bytes);
    return result;
}

int sp_phaser_average(sp_phaser *phaser, float *density, double *prtf)
{
    return sp_phase_mean(phaser->plan, (const float *const *)phaser->density, phaser->outcome, phaser->last,
                         phaser->sums, density, prtf);
}

void sp_phaser_autocorrelate(sp_phaser *phaser, const float *density, const double *filter, double *shells,
                             float *autocorrelation)
{
    sp_phase_autocorrelate(phaser->plan, density, filter, phaser->work[0], shells, autocorrelation);
}
