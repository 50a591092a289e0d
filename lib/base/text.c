/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/text.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST_ROOM = 256, LONGEST_WORD = 63 };

void sp_text_clear(sp_text *text)
{
    free(text->data);
    *text = (sp_text){0};
}

/* Makes sure that `more` bytes and a zero fit behind the text. */
static bool reserve(sp_text *text, size_t more)
{
    size_t room = text->room ? text->room : FIRST_ROOM;
    char *data = NULL;

    if (text->failed || more > (size_t)PTRDIFF_MAX / 4 || text->length > (size_t)PTRDIFF_MAX / 4) {
        text->failed = true;
        return false;
    }
    while (room < text->length + more + 1) {
        room *= 2;
    }
    if (room == text->room) {
        return true;
    }
    data = realloc(text->data, room);
    text->failed = !data;
    if (data) {
        text->data = data;
        text->room = room;
    }
    return data;
}

void sp_text_append(sp_text *text, const char *format, ...)
{
    va_list arguments, again;
    int length = 0;

    va_start(arguments, format);
    va_copy(again, arguments);
    length = vsnprintf(NULL, 0, format, arguments);
    if (length < 0) {
        text->failed = true;
    } else if (reserve(text, (size_t)length)) {
        vsnprintf(text->data + text->length, (size_t)length + 1, format, again);
        text->length += (size_t)length;
    }
    va_end(again);
    va_end(arguments);
}

void sp_text_append_bytes(sp_text *text, const char *bytes, size_t count)
{
    if (reserve(text, count)) {
        memcpy(text->data + text->length, bytes, count);
        text->length += count;
        text->data[text->length] = '\0';
    }
}

void sp_text_append_repeated(sp_text *text, char character, ptrdiff_t count)
{
    if (count > 0 && reserve(text, (size_t)count)) {
        memset(text->data + text->length, character, (size_t)count);
        text->length += (size_t)count;
        text->data[text->length] = '\0';
    }
}

void sp_text_append_real(sp_text *text, double value)
{
    char digits[40] = "";

    for (int precision = 6; precision <= 17; precision++) {
        snprintf(digits, sizeof digits, "%.*g", precision, value);
        if (strtod(digits, NULL) == value) {
            break;
        }
    }
    sp_text_append(text, "%s", digits);
}

const char *sp_text_string(const sp_text *text)
{
    return text->data ? text->data : "";
}

sp_status sp_text_check(const sp_text *text)
{
    sp_status status = SP_OK;

    SP_REQUIRE(!text->failed, SP_ERR_MEMORY, "no memory for a text of more than %zu bytes", text->length);
done:
    return status;
}

sp_status sp_text_take(sp_text *text, char **string)
{
    sp_status status = SP_OK;

    sp_text_append_bytes(text, "", 0); /* an empty text gets its zero byte */
    SP_TRY(sp_text_check(text));
    *string = text->data;
    *text = (sp_text){0};
done:
    return status;
}

static int smallest(int a, int b, int c)
{
    const int ab = a < b ? a : b;

    return ab < c ? ab : c;
}

/* Edits that turn a into b; both at most LONGEST_WORD letters. Rows: of the letter before last, the last, this one. */
static int distance(const char *a, size_t rows, const char *b, size_t columns)
{
    int row[3][LONGEST_WORD + 1];

    for (size_t j = 0; j <= columns; j++) {
        row[0][j] = (int)j;
    }
    for (size_t i = 1; i <= rows; i++) {
        int *const here = row[i % 3], *const up = row[(i + 2) % 3], *const up2 = row[(i + 1) % 3];

        here[0] = (int)i;
        for (size_t j = 1; j <= columns; j++) {
            here[j] = smallest(up[j] + 1, here[j - 1] + 1, up[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                here[j] = smallest(here[j], up2[j - 2] + 1, here[j]);
            }
        }
    }
    return row[rows % 3][columns];
}

void sp_nearest_offer(sp_nearest *nearest, const char *name)
{
    const size_t rows = strlen(nearest->word), columns = strlen(name);
    int edits = 0;

    if (rows > LONGEST_WORD || columns > LONGEST_WORD) {
        return;
    }
    edits = distance(nearest->word, rows, name, columns);
    if (edits <= ((int)rows + 2) / 3 && (!nearest->best || edits < nearest->distance)) {
        nearest->best = name;
        nearest->distance = edits;
    }
}
