/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/whole.h -- whole reconstructions of simulated images, from files in a temporary folder: what users run. */
#include "bench/rows.h"
#include "flow/reconstruct.h"

enum { SP_WHOLE_FILES = 4 };

/* Files of simulated images, for as long as they are needed. */
typedef struct sp_whole_files {
    char folder[64];
    char path[SP_WHOLE_FILES][96];
    int files;
} sp_whole_files;

/* File i holds images[i] images of so many pixels along each edge. Remove with sp_whole_files_clear(), which does
 * nothing to files = {0}. Fails with SP_ERR_OUTPUT, SP_ERR_MEMORY. */
sp_status sp_whole_files_init(ptrdiff_t pixels, const ptrdiff_t *images, int count, sp_whole_files *files);
void sp_whole_files_clear(const sp_whole_files *files);

/* What a run has taken, all of it. */
typedef struct sp_whole_cost {
    double wall, cpu; /* [s] */
    double peak;      /* [byte] */
} sp_whole_cost;

/* One reconstruction by the local engine.
 *   result  receives it, free with sp_reconstruction_free()
 * Fails like sp_reconstruct(), and with SP_ERR_NUMERIC where it ends without a score. */
sp_status sp_whole_run(const char *path, const sp_reconstruct_settings *settings, int threads, sp_whole_cost *cost,
                       sp_reconstruction **result);
