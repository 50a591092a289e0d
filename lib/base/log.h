/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/log.h -- what the program tells its user while it runs: lines on the terminal and in a log file.
 *
 * A log is a handle that is passed along; NULL is a log that stays quiet. Any thread may write; lines never mix. */
#include <stdbool.h>
#include <stdio.h>

#include "base/error.h"

typedef enum sp_log_level {
    SP_LOG_ERROR,   /* why the run failed; shown even by --quiet */
    SP_LOG_WARNING, /* the run goes on, the result may suffer; begins with "warning: " */
    SP_LOG_INFO,    /* what the user wants to follow */
    SP_LOG_DETAIL,  /* shown by --verbose */
} sp_log_level;

typedef struct sp_log sp_log;

/* A log that shows lines up to `level` on `screen` (borrowed; NULL: stderr). Free with sp_log_free(); untouched on
 * error. Fails with SP_ERR_MEMORY. */
sp_status sp_log_new(sp_log_level level, FILE *screen, sp_log **log);
void sp_log_free(sp_log *log); /* ends the log file too; NULL is fine */

void sp_log_set_level(sp_log *log, sp_log_level level); /* from now on */

/* Write every line, of all levels and with date and time, to the end of the file `path` from now on.
 * Fails with SP_ERR_OUTPUT; SP_ERR_USAGE if the log has a file already. */
sp_status sp_log_file_open(sp_log *log, const char *path);

/* End the log file. Fails with SP_ERR_OUTPUT if lines were lost (disk full). SP_OK where there is no file. */
sp_status sp_log_file_close(sp_log *log);

/* Write one line (printf format, no newline at its end). Cannot fail; longer lines than 4000 bytes end in "...". */
void sp_log_write(sp_log *log, sp_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

#define sp_log_error(log, ...) sp_log_write((log), SP_LOG_ERROR, __VA_ARGS__)
#define sp_log_warning(log, ...) sp_log_write((log), SP_LOG_WARNING, __VA_ARGS__)
#define sp_log_info(log, ...) sp_log_write((log), SP_LOG_INFO, __VA_ARGS__)
#define sp_log_detail(log, ...) sp_log_write((log), SP_LOG_DETAIL, __VA_ARGS__)

bool sp_log_shows(const sp_log *log, sp_log_level level); /* would the screen show it? */
bool sp_log_is_terminal(const sp_log *log);               /* is the screen a terminal? */

/* Keep `line` below the lines of a terminal, in place of the last one given; "" takes it away. Does nothing if the
 * screen is not a terminal or does not show SP_LOG_INFO. For base/progress.h. */
void sp_log_set_footer(sp_log *log, const char *line);
