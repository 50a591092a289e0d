/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/findings.h"

#include <stdarg.h>
#include <stdio.h>

#include "cli/commands.h"

void sp_findings_begin(sp_findings *out, const char *indent, int label_width)
{
    *out = (sp_findings){.indent = indent, .label_width = label_width};
    out->json = sp_json_start(&out->json_text);
    sp_json_object(&out->json, NULL);
}

void sp_findings_line(sp_findings *out, const char *label, const char *format, ...)
{
    char text[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    sp_text_append(&out->lines, "%s%-*s %s\n", out->indent, out->label_width, label, text);
}

sp_status sp_findings_print(sp_findings *out, bool as_json)
{
    sp_status status = SP_OK;

    sp_json_end(&out->json);
    SP_TRY(sp_text_check(&out->lines));
    SP_TRY(sp_command_print(as_json ? &out->json_text : &out->lines));
done:
    return status;
}

void sp_findings_clear(sp_findings *out)
{
    sp_text_clear(&out->lines);
    sp_text_clear(&out->json_text);
}
