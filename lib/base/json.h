/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/json.h -- writes JSON (RFC 8259) into a text, indented by two blanks per level.
 *
 *     sp_text text = {0};
 *     sp_json json = sp_json_start(&text);
 *     sp_json_object(&json, NULL);
 *     sp_json_real(&json, "resolution", 8.2e-10);
 *     sp_json_array(&json, "files");
 *     sp_json_text(&json, NULL, "images.h5");
 *     sp_json_end(&json);
 *     sp_json_end(&json);
 *     SP_TRY(sp_text_check(&text));
 *
 * `key` names a member of an object; it is NULL in an array and at the top. Wrong nesting is a programmer error
 * (assert). A memory failure is remembered by the text. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/text.h"

enum { SP_JSON_DEPTH = 16 }; /* objects and arrays inside each other */

typedef struct sp_json {
    sp_text *text; /* borrowed */
    int depth;
    bool array[SP_JSON_DEPTH];  /* of each open level: is it an array? */
    bool filled[SP_JSON_DEPTH]; /* has it a member already? */
} sp_json;

sp_json sp_json_start(sp_text *text);
void sp_json_object(sp_json *json, const char *key);
void sp_json_array(sp_json *json, const char *key);
void sp_json_end(sp_json *json); /* ends the innermost object or array; the outermost also ends its line */

void sp_json_integer(sp_json *json, const char *key, int64_t value);
void sp_json_real(sp_json *json, const char *key, double value); /* null if NaN or infinite: JSON has neither */
void sp_json_flag(sp_json *json, const char *key, bool value);
void sp_json_text(sp_json *json, const char *key, const char *value); /* NULL gives null; bytes that are not UTF-8
                                                                       * become U+FFFD */

/* An array of numbers on one line: value [count]. */
void sp_json_reals(sp_json *json, const char *key, const double *value, ptrdiff_t count);
