/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

enum { LINE_LENGTH = 4004, FOOTER_LENGTH = 256 };

struct sp_log {
    pthread_mutex_t lock; /* of everything below */
    sp_log_level level;
    FILE *screen; /* borrowed */
    bool terminal;
    char footer[FOOTER_LENGTH]; /* "" if none is shown */
    FILE *file;                 /* NULL if none */
    char *path;                 /* of the file */
    int lost;                   /* errno of the first line that did not reach the file, 0 if none */
};

sp_status sp_log_new(sp_log_level level, FILE *screen, sp_log **log)
{
    sp_status status = SP_OK;
    sp_log *self = calloc(1, sizeof *self);

    SP_REQUIRE(self, SP_ERR_MEMORY, "no memory for the log");
    pthread_mutex_init(&self->lock, NULL);
    self->level = level;
    self->screen = screen ? screen : stderr;
    self->terminal = isatty(fileno(self->screen));
    *log = self;
done:
    return status;
}

void sp_log_free(sp_log *log)
{
    if (log) {
        sp_log_set_footer(log, "");
        sp_log_file_close(log);
        pthread_mutex_destroy(&log->lock);
        free(log);
    }
}

void sp_log_set_level(sp_log *log, sp_log_level level)
{
    if (log) {
        pthread_mutex_lock(&log->lock);
        log->level = level;
        pthread_mutex_unlock(&log->lock);
    }
}

sp_status sp_log_file_open(sp_log *log, const char *path)
{
    sp_status status = SP_OK;

    if (!log) {
        return SP_OK;
    }
    pthread_mutex_lock(&log->lock);
    SP_REQUIRE(!log->file, SP_ERR_USAGE, "%s: the log is already written to %s", path, log->path);
    log->path = strdup(path);
    SP_REQUIRE(log->path, SP_ERR_MEMORY, "%s: no memory for the name of the log file", path);
    log->file = fopen(path, "ae");
    SP_REQUIRE(log->file, SP_ERR_OUTPUT, "%s: cannot open the log file: %s", path, strerror(errno));
    log->lost = 0;
done:
    if (!log->file) {
        free(log->path);
        log->path = NULL;
    }
    pthread_mutex_unlock(&log->lock);
    return status;
}

sp_status sp_log_file_close(sp_log *log)
{
    sp_status status = SP_OK;

    if (!log) {
        return SP_OK;
    }
    pthread_mutex_lock(&log->lock);
    if (log->file) {
        const int closed = fclose(log->file) == 0 ? 0 : errno;

        log->file = NULL;
        SP_REQUIRE(!log->lost && !closed, SP_ERR_OUTPUT, "%s: lines of the log are lost: %s", log->path,
                   strerror(log->lost ? log->lost : closed));
    }
done:
    free(log->path);
    log->path = NULL;
    pthread_mutex_unlock(&log->lock);
    return status;
}

static void show_footer(sp_log *log)
{
    if (log->footer[0]) {
        fprintf(log->screen, "%s", log->footer);
        fflush(log->screen);
    }
}

/* Back to the first column and erase to the end of the line: ECMA-48 "EL". */
static void hide_footer(sp_log *log)
{
    if (log->footer[0]) {
        fprintf(log->screen, "\r\033[K");
    }
}

static void write_screen(sp_log *log, sp_log_level level, const char *line)
{
    hide_footer(log);
    fprintf(log->screen, "%s%s\n", level == SP_LOG_WARNING ? "warning: " : "", line);
    show_footer(log);
    fflush(log->screen);
}

static void write_file(sp_log *log, sp_log_level level, const char *line)
{
    static const char *const names[] = {"error", "warning", "info", "detail"};
    char stamp[SP_CLOCK_STAMP];

    sp_clock_stamp(stamp);
    if (fprintf(log->file, "%s %-7s %s\n", stamp, names[level], line) < 0 || fflush(log->file) != 0) {
        log->lost = log->lost ? log->lost : errno;
    }
}

void sp_log_write(sp_log *log, sp_log_level level, const char *format, ...)
{
    char line[LINE_LENGTH];
    va_list arguments;
    int length = 0;

    if (!log) {
        return;
    }
    va_start(arguments, format);
    length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length >= LINE_LENGTH) {
        memcpy(line + LINE_LENGTH - 4, "...", 4);
    }
    pthread_mutex_lock(&log->lock);
    if (level <= log->level) {
        write_screen(log, level, line);
    }
    if (log->file) {
        write_file(log, level, line);
    }
    pthread_mutex_unlock(&log->lock);
}

bool sp_log_shows(const sp_log *log, sp_log_level level)
{
    return log && level <= log->level;
}

bool sp_log_is_terminal(const sp_log *log)
{
    return log && log->terminal;
}

/* A footer of more than one row could not be erased: it is cut to the width of the terminal. */
static size_t footer_room(const sp_log *log)
{
    struct winsize size = {0};

    if (ioctl(fileno(log->screen), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) {
        size.ws_col = 80;
    }
    return size.ws_col < FOOTER_LENGTH ? size.ws_col : FOOTER_LENGTH;
}

void sp_log_set_footer(sp_log *log, const char *line)
{
    if (!sp_log_is_terminal(log) || !sp_log_shows(log, SP_LOG_INFO)) {
        return;
    }
    pthread_mutex_lock(&log->lock);
    hide_footer(log);
    snprintf(log->footer, footer_room(log), "%s", line);
    show_footer(log);
    fflush(log->screen);
    pthread_mutex_unlock(&log->lock);
}
