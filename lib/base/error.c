/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { REASON_LENGTH = 1024, PLACE_LENGTH = 128 };

static _Thread_local char last_reason[REASON_LENGTH];
static _Thread_local char last_place[PLACE_LENGTH];

sp_status sp_error_set(sp_status code, const char *file, int line, const char *format, ...)
{
    const char *base = strrchr(file, '/');
    char reason[REASON_LENGTH]; /* the arguments may quote the previous reason */
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    memcpy(last_reason, reason, sizeof reason);
    snprintf(last_place, sizeof last_place, "%s:%d", base ? base + 1 : file, line);
    return code;
}

const char *sp_error_text(void)
{
    return last_reason;
}

const char *sp_error_place(void)
{
    return last_place;
}

const char *sp_status_name(sp_status status)
{
    switch (status) {
    case SP_OK:
        return "ok";
    case SP_ERR_USAGE:
        return "usage error";
    case SP_ERR_INPUT:
        return "input error";
    case SP_ERR_OUTPUT:
        return "output error";
    case SP_ERR_MEMORY:
        return "out of memory";
    case SP_ERR_NUMERIC:
        return "numerical error";
    case SP_ERR_INTERRUPT:
        return "interrupted";
    }
    return "unknown status";
}
