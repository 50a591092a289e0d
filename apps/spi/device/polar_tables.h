/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/polar_tables.h -- the tables that device/polar.h works with, of an sp_polar. */
#include "device/polar.h"
#include "phases/polar.h"

typedef struct sp_device_polar_tables sp_device_polar_tables;

/* Room for the tables of every search with `polar`, and those that no search changes. Both borrowed for life. Free with
 * sp_device_polar_tables_free(). Fails with SP_ERR_MEMORY, SP_ERR_NUMERIC. */
sp_status sp_device_polar_tables_new(const sp_device *device, const sp_polar *polar, sp_device_polar_tables **tables);
void sp_device_polar_tables_free(sp_device_polar_tables *tables); /* NULL is fine */

/* The tables of one search; after sp_polar_begin(). Fails with SP_ERR_NUMERIC. */
sp_status sp_device_polar_tables_begin(sp_device_polar_tables *tables);

/* Borrowed; what they say changes with the next begin, and says nothing before the first. */
const sp_device_polar *sp_device_polar_tables_of(const sp_device_polar_tables *tables);

/* The most that any search takes: elements of a row, samples of a direction, coefficients, rings. */
typedef struct sp_device_polar_limits {
    ptrdiff_t row, samples, coefficients, rings;
} sp_device_polar_limits;

sp_device_polar_limits sp_device_polar_limits_of(const sp_polar *polar);
