/* SPDX-License-Identifier: BSD-3-Clause */
#include "flow/fields.h"

#include <stdbool.h>
#include <stdint.h>

#include "flow/reconstruct.h"

#define SETTING(member, unit, kind)                                                                                    \
    {                                                                                                                  \
#member, unit, kind, offsetof(sp_reconstruct_settings, member)                                                 \
    }
#define GENERATION(member, unit, kind)                                                                                 \
    {                                                                                                                  \
#member, unit, kind, offsetof(sp_generation, member)                                                           \
    }

#define TRIAL(member, unit, kind)                                                                                      \
    {                                                                                                                  \
#member, unit, kind, offsetof(sp_trial, member)                                                                \
    }

const sp_field sp_setting_fields[] = {
    SETTING(seed, "", SP_FIELD_SEED),
    SETTING(null, "", SP_FIELD_SEED),
    SETTING(resolution, "m", SP_FIELD_REAL),
    SETTING(low_resolution, "m", SP_FIELD_REAL),
    SETTING(diameter, "m", SP_FIELD_REAL),
    SETTING(grid, "voxels", SP_FIELD_INT),
    SETTING(binning, "pixels", SP_FIELD_INT),
    SETTING(orientations, "", SP_FIELD_INT),
    SETTING(generations, "", SP_FIELD_INT),
    SETTING(starts, "", SP_FIELD_INT),
    SETTING(conformations, "", SP_FIELD_INT),
    SETTING(held_out, "", SP_FIELD_REAL),
    SETTING(match, "", SP_FIELD_MATCH),
    SETTING(match_route, "", SP_FIELD_ROUTE),
    SETTING(refine, "", SP_FIELD_FLAG),
    SETTING(fit_background, "", SP_FIELD_FLAG),
    SETTING(fit_scale, "", SP_FIELD_FLAG),
    SETTING(noise, "", SP_FIELD_NOISE),
    {0},
};

const sp_field sp_generation_fields[] = {
    GENERATION(generation, "", SP_FIELD_INT),
    GENERATION(accepted, "", SP_FIELD_FLAG),
    GENERATION(refined, "", SP_FIELD_FLAG),
    GENERATION(score, "", SP_FIELD_REAL),
    GENERATION(held_score, "", SP_FIELD_REAL),
    GENERATION(best_score, "", SP_FIELD_REAL),
    GENERATION(phasing_residual, "", SP_FIELD_REAL),
    GENERATION(support_volume, "m^3", SP_FIELD_REAL),
    GENERATION(merge_residual, "", SP_FIELD_REAL),
    GENERATION(orientation_change, "rad", SP_FIELD_REAL),
    GENERATION(settled, "", SP_FIELD_REAL),
    GENERATION(density_change, "", SP_FIELD_REAL),
    GENERATION(resolution, "m", SP_FIELD_REAL),
    GENERATION(orientations, "", SP_FIELD_SIZE),
    {0},
};

const sp_field sp_trial_fields[] = {
    TRIAL(conformations, "", SP_FIELD_INT),
    TRIAL(found, "", SP_FIELD_INT),
    TRIAL(score, "", SP_FIELD_REAL),
    TRIAL(held_score, "", SP_FIELD_REAL),
    TRIAL(gain, "", SP_FIELD_REAL),
    TRIAL(gain_error, "", SP_FIELD_REAL),
    TRIAL(better, "", SP_FIELD_FLAG),
    TRIAL(contradicted, "", SP_FIELD_FLAG),
    {0},
};

double sp_field_value(const sp_field *field, const void *record)
{
    const void *member = (const char *)record + field->offset;

    switch (field->kind) {
    case SP_FIELD_REAL:
        return *(const double *)member;
    case SP_FIELD_INT:
        return *(const int *)member;
    case SP_FIELD_SIZE:
        return (double)*(const ptrdiff_t *)member;
    case SP_FIELD_SEED:
        return (double)*(const uint64_t *)member;
    case SP_FIELD_SET:
        return *(const uint32_t *)member;
    case SP_FIELD_FLAG:
        return *(const bool *)member;
    case SP_FIELD_MATCH:
        return *(const sp_match_kind *)member;
    case SP_FIELD_ROUTE:
        return *(const sp_match_route *)member;
    case SP_FIELD_NOISE:
        return *(const sp_noise_kind *)member;
    }
    return 0.0;
}

void sp_field_set(const sp_field *field, double value, void *record)
{
    void *member = (char *)record + field->offset;

    switch (field->kind) {
    case SP_FIELD_REAL:
        *(double *)member = value;
        break;
    case SP_FIELD_INT:
        *(int *)member = (int)value;
        break;
    case SP_FIELD_SIZE:
        *(ptrdiff_t *)member = (ptrdiff_t)value;
        break;
    case SP_FIELD_SEED:
        *(uint64_t *)member = (uint64_t)value;
        break;
    case SP_FIELD_SET:
        *(uint32_t *)member = (uint32_t)value;
        break;
    case SP_FIELD_FLAG:
        *(bool *)member = value != 0.0;
        break;
    case SP_FIELD_MATCH:
        *(sp_match_kind *)member = (sp_match_kind)value;
        break;
    case SP_FIELD_ROUTE:
        *(sp_match_route *)member = (sp_match_route)value;
        break;
    case SP_FIELD_NOISE:
        *(sp_noise_kind *)member = (sp_noise_kind)value;
        break;
    }
}

const char *sp_field_word(const sp_field *field, const void *record)
{
    static const char *const matches[] = {
        [SP_MATCH_LIKELIHOOD] = "likelihood", [SP_MATCH_EUCLIDEAN] = "euclidean", [SP_MATCH_POISSON] = "poisson"};
    static const char *const routes[] = {
        [SP_MATCH_AUTO] = "auto", [SP_MATCH_POLAR] = "polar", [SP_MATCH_DENSE] = "dense"};
    static const char *const noises[] = {
        [SP_NOISE_AUTO] = "auto", [SP_NOISE_NONE] = "none", [SP_NOISE_POISSON] = "poisson"};
    const int value = (int)sp_field_value(field, record);

    switch (field->kind) {
    case SP_FIELD_FLAG:
        return value ? "yes" : "no";
    case SP_FIELD_MATCH:
        return matches[value];
    case SP_FIELD_ROUTE:
        return routes[value];
    case SP_FIELD_NOISE:
        return noises[value];
    default:
        return NULL;
    }
}
