/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/text.h -- text that grows while it is written, and the known word nearest to a mistyped one.
 *
 * Appending does not return a status: the first failure is remembered and sp_text_check() reports it once, at the end.
 *     sp_text text = {0};
 *     sp_text_append(&text, "%td images\n", count);
 *     SP_TRY(sp_text_check(&text));
 *     ...
 *     sp_text_clear(&text); */
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

/* A growing text; all zero is the empty text. Read through the functions below. */
typedef struct sp_text {
    char *data;    /* NULL or ended by a zero byte */
    size_t length; /* [byte] without that zero */
    size_t room;   /* [byte] allocated */
    bool failed;   /* memory ran out: later appends do nothing */
} sp_text;

void sp_text_clear(sp_text *text); /* frees; the text is empty and usable again */

/* Append, printf style. */
void sp_text_append(sp_text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sp_text_append_bytes(sp_text *text, const char *bytes, size_t count);
void sp_text_append_repeated(sp_text *text, char character, ptrdiff_t count); /* nothing where count <= 0 */

/* Append a real number in the fewest digits (up to 17) that read back as the same double. */
void sp_text_append_real(sp_text *text, double value);

/* What was written, "" if nothing; borrowed until the next change. Cannot fail. */
const char *sp_text_string(const sp_text *text);

/* SP_OK, or SP_ERR_MEMORY if any append since the last clear failed. */
sp_status sp_text_check(const sp_text *text);

/* Hand the characters over: free with sp_array_free(). The text is empty afterwards. Fails like sp_text_check(),
 * string untouched then. */
sp_status sp_text_take(sp_text *text, char **string);

/* Search for the known name nearest to `word`: start with {.word = word}, offer every name, read `best`. */
typedef struct sp_nearest {
    const char *word;
    const char *best; /* NULL: nothing is near enough to be suggested */
    int distance;     /* edits between word and best */
} sp_nearest;

/* Nearness is the number of letters to insert, remove, change or swap (optimal string alignment distance; Boytsov,
 * ACM J. Exp. Algorithmics 16, 2011); at most a third of the word may differ. The first of equals wins. */
void sp_nearest_offer(sp_nearest *nearest, const char *name);
