/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/json.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum { INDENT = 2 };

sp_json sp_json_start(sp_text *text)
{
    return (sp_json){.text = text};
}

/* Length of the valid UTF-8 sequence at s (1..4), 0 if there is none: RFC 3629, table of section 4. */
static size_t utf8_length(const unsigned char *s)
{
    const size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xc2 && s[0] < 0xe0 ? 2 : (s[0] & 0xf0) == 0xe0 ? 3 : 4;
    const unsigned char low = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;

    if (length == 1) {
        return 1;
    }
    if (s[0] < 0xc2 || s[0] > 0xf4 || s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return length;
}

/* One character of a string; returns the bytes used up. */
static size_t write_character(sp_text *text, const char *s)
{
    const size_t length = utf8_length((const unsigned char *)s);

    if (length == 0) {
        sp_text_append(text, "\\ufffd");
        return 1;
    }
    if (*s == '"' || *s == '\\') {
        sp_text_append(text, "\\%c", *s);
    } else if (*s == '\n') {
        sp_text_append(text, "\\n");
    } else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
        sp_text_append(text, "\\u%04x", (unsigned)*s);
    } else {
        sp_text_append_bytes(text, s, length);
    }
    return length;
}

static void write_string(sp_text *text, const char *string)
{
    sp_text_append(text, "\"");
    while (*string) {
        string += write_character(text, string);
    }
    sp_text_append(text, "\"");
}

static void new_line(sp_json *json)
{
    sp_text_append(json->text, "\n");
    sp_text_append_repeated(json->text, ' ', (ptrdiff_t)INDENT * json->depth);
}

/* What stands before a value: comma, line, key. */
static void begin_value(sp_json *json, const char *key)
{
    const int level = json->depth - 1;

    assert(level < 0 ? !key : json->array[level] == !key);
    if (level >= 0) {
        sp_text_append(json->text, "%s", json->filled[level] ? "," : "");
        json->filled[level] = true;
        new_line(json);
    }
    if (key) {
        write_string(json->text, key);
        sp_text_append(json->text, ": ");
    }
}

static void open_level(sp_json *json, const char *key, bool array)
{
    begin_value(json, key);
    assert(json->depth < SP_JSON_DEPTH);
    json->array[json->depth] = array;
    json->filled[json->depth] = false;
    json->depth++;
    sp_text_append(json->text, array ? "[" : "{");
}

void sp_json_object(sp_json *json, const char *key)
{
    open_level(json, key, false);
}

void sp_json_array(sp_json *json, const char *key)
{
    open_level(json, key, true);
}

void sp_json_end(sp_json *json)
{
    assert(json->depth > 0);
    json->depth--;
    if (json->filled[json->depth]) {
        new_line(json);
    }
    sp_text_append(json->text, "%c%s", json->array[json->depth] ? ']' : '}', json->depth ? "" : "\n");
}

void sp_json_integer(sp_json *json, const char *key, int64_t value)
{
    begin_value(json, key);
    sp_text_append(json->text, "%lld", (long long)value);
}

static void write_real(sp_text *text, double value)
{
    if (isfinite(value)) {
        sp_text_append_real(text, value);
    } else {
        sp_text_append(text, "null");
    }
}

void sp_json_real(sp_json *json, const char *key, double value)
{
    begin_value(json, key);
    write_real(json->text, value);
}

void sp_json_flag(sp_json *json, const char *key, bool value)
{
    begin_value(json, key);
    sp_text_append(json->text, value ? "true" : "false");
}

void sp_json_text(sp_json *json, const char *key, const char *value)
{
    begin_value(json, key);
    if (value) {
        write_string(json->text, value);
    } else {
        sp_text_append(json->text, "null");
    }
}

void sp_json_reals(sp_json *json, const char *key, const double *value, ptrdiff_t count)
{
    begin_value(json, key);
    sp_text_append(json->text, "[");
    for (ptrdiff_t i = 0; i < count; i++) {
        sp_text_append(json->text, i ? ", " : "");
        write_real(json->text, value[i]);
    }
    sp_text_append(json->text, "]");
}
