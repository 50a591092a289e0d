/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* cli/findings.h -- the same findings twice: lines for people, JSON for programs; the user picks one at the end.
 *
 *     sp_findings out;
 *     sp_findings_begin(&out, "  ", 14);
 *     sp_findings_line(&out, "images", "%td", count);
 *     sp_json_integer(&out.json, "images", count);
 *     status = sp_findings_print(&out, as_json);
 *     sp_findings_clear(&out); */
#include <stdbool.h>

#include "base/error.h"
#include "base/json.h"
#include "base/text.h"

typedef struct sp_findings {
    const char *indent; /* before each label; borrowed */
    int label_width;
    sp_text lines;
    sp_text json_text;
    sp_json json; /* an open object: add members at will */
} sp_findings;

/* `out` must stay where it is: its JSON writer points into it. */
void sp_findings_begin(sp_findings *out, const char *indent, int label_width);

/* A line for people: "label         text", at most 511 bytes of text. */
__attribute__((format(printf, 3, 4))) void sp_findings_line(sp_findings *out, const char *label, const char *format,
                                                            ...);

/* Ends the object and prints either form to standard output. Fails with SP_ERR_MEMORY. */
sp_status sp_findings_print(sp_findings *out, bool as_json);

void sp_findings_clear(sp_findings *out);
