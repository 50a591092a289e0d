/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* oracle.h -- a random program done operation after operation, point after point, on plain arrays. */
#include "program.h"

/* The hash of all that the program's regions hold at the end. */
sp_status oracle_run(const program *p, uint64_t *hash);
