/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/error.h -- status codes, and the one-line reason of the last failure of this thread.
 *
 * A function that can fail returns sp_status, has one `done:` label and uses the two macros below:
 * they record the reason, set the local variable `status` and jump to `done`. */
#ifdef __cplusplus
extern "C" {
#endif

typedef enum sp_status {
    SP_OK = 0,
    SP_ERR_USAGE,     /* the caller asked for something impossible: bad option, value out of range */
    SP_ERR_INPUT,     /* a file or its contents are unusable: missing, truncated, wrong shape, NaN */
    SP_ERR_OUTPUT,    /* a result could not be written: disk full, no permission, already there */
    SP_ERR_MEMORY,    /* not enough memory */
    SP_ERR_NUMERIC,   /* a computation cannot go on: singular, empty, not converged */
    SP_ERR_INTERRUPT, /* the user asked to stop (Ctrl-C) */
} sp_status;

/* Records the reason (printf format) with its place; returns `code`, so `return sp_error_set(...)` works. */
sp_status sp_error_set(sp_status code, const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Reason of this thread's last failure, one line without newline; "" before any failure. Borrowed, valid until the
 * next failure of this thread. */
const char *sp_error_text(void);

/* "file.c:123" where it happened, for bug reports; "" before any failure. */
const char *sp_error_place(void);

/* Name of a status code, e.g. "input error". Never NULL. */
const char *sp_status_name(sp_status status);

/* If `condition` is false: record code and reason, goto done. */
#define SP_REQUIRE(condition, code, ...)                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            status = (code);                                                                                           \
            sp_error_set(status, __FILE__, __LINE__, __VA_ARGS__);                                                     \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

/* Run a call that returns sp_status; on failure goto done with its status (the callee recorded the reason). */
#define SP_TRY(call)                                                                                                   \
    do {                                                                                                               \
        status = (call);                                                                                               \
        if (status != SP_OK) {                                                                                         \
            goto done;                                                                                                 \
        }                                                                                                              \
    } while (0)

#ifdef __cplusplus
}
#endif
