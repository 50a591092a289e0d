/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/fields.h -- the members of the settings and of the history, by name and unit: what the files of a run and its
 * report are made from. A new member of either struct needs one line in fields.c. */
#include <stddef.h>

typedef enum sp_field_kind {
    SP_FIELD_REAL,
    SP_FIELD_INT,
    SP_FIELD_SIZE, /* ptrdiff_t */
    SP_FIELD_SEED, /* uint64_t */
    SP_FIELD_SET,  /* uint32_t, of bits */
    SP_FIELD_FLAG,
    SP_FIELD_MATCH, /* sp_match_kind */
    SP_FIELD_ROUTE, /* sp_match_route */
    SP_FIELD_NOISE, /* sp_noise_kind */
} sp_field_kind;

typedef struct sp_field {
    const char *name; /* of the member, which is also the name of the dataset */
    const char *unit; /* "m", "rad", ...; "" for a plain number */
    sp_field_kind kind;
    size_t offset; /* [byte] in its struct */
} sp_field;

extern const sp_field sp_setting_fields[];    /* of sp_reconstruct_settings; a row without a name ends it */
extern const sp_field sp_generation_fields[]; /* of sp_generation, all but the times; likewise */
extern const sp_field sp_trial_fields[];      /* of sp_trial, likewise */

double sp_field_value(const sp_field *field, const void *record);     /* as a number; flags are 0 or 1 */
const char *sp_field_word(const sp_field *field, const void *record); /* "yes", "likelihood", "poisson" ...; NULL for
                                                                       * numbers */
void sp_field_set(const sp_field *field, double value, void *record); /* a value that the member can hold */
