/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/files.h -- whole files, folders and paths; a result appears complete or not at all. */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* Write a file in one step: PATH.tmp is written, flushed to the disk and renamed to PATH. An older PATH is replaced;
 * on failure it is left as it was and PATH.tmp is removed.
 *   bytes  in  [count]
 * Fails with SP_ERR_OUTPUT, the reason naming the path (no such folder, no permission, disk full), SP_ERR_MEMORY. */
sp_status sp_file_write_atomic(const char *path, const void *bytes, size_t count);

/* What was written to a file is on the disk when this returns, and stays there through a power cut.
 * Fails with SP_ERR_OUTPUT. */
sp_status sp_file_flush(const char *path);

/* Read a whole file.
 *   largest  refuse files of more bytes than this [byte]
 *   bytes    receives [count] and a zero byte behind them; free with sp_array_free()
 *   count    receives the size [byte]; may be NULL
 * Fails with SP_ERR_INPUT (missing, a folder, too large, unreadable) or SP_ERR_MEMORY. */
sp_status sp_file_read(const char *path, size_t largest, char **bytes, size_t *count);

/* Make a folder and those above it; it is fine if it exists. Fails with SP_ERR_OUTPUT, SP_ERR_MEMORY. */
sp_status sp_folder_make(const char *path);

bool sp_file_exists(const char *path);   /* anything but a folder is there */
bool sp_folder_exists(const char *path); /* a folder is there */

/* *path = folder/name, one slash between; `name` alone if the folder is "" or the name begins with a slash.
 * Free with sp_array_free(). Fails with SP_ERR_MEMORY. */
sp_status sp_path_join(const char *folder, const char *name, char **path);

const char *sp_path_name(const char *path); /* what follows the last slash; borrowed from path */
