/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/manual.h"

#include <ctype.h>
#include <string.h>

enum { COLUMNS = 80, LEFT = 30 }; /* [character] width of a line; where explanations begin */

/* ---- what all three forms say ---- */

static void append_upper(sp_text *text, const char *word)
{
    for (; *word; word++) {
        sp_text_append(text, "%c", toupper((unsigned char)*word));
    }
}

/* What stands for the value: N, X, FILE ...; NULL for a flag. */
static const char *value_word(const sp_option *option)
{
    switch (option->type) {
    case SP_OPTION_FLAG:
        return NULL;
    case SP_OPTION_INTEGER:
        return "N";
    case SP_OPTION_REAL:
        return "X";
    case SP_OPTION_CHOICE:
        return "NAME";
    case SP_OPTION_TEXT:
    case SP_OPTION_LIST:
        return option->unit ? option->unit : "TEXT";
    }
    return NULL;
}

/* "-p, --photons X", "-k, --conformations N|auto" */
static void append_form(sp_text *text, const sp_option *option)
{
    const char *value = value_word(option);

    if (option->letter) {
        sp_text_append(text, "-%c, ", option->letter);
    }
    sp_text_append(text, "--%s%s%s", option->name, value ? " " : "", value ? value : "");
    if (option->choices && option->type != SP_OPTION_CHOICE) {
        sp_text_append(text, "|%s", option->choices);
    }
}

static void append_choices(sp_text *text, const char *choices)
{
    sp_text_append(text, ": ");
    for (const char *c = choices; *c; c++) {
        sp_text_append(text, *c == '|' ? ", " : "%c", *c);
    }
}

/* " [m, 1e-11 to 1e-6]" with what there is to say of a number. */
static void append_range(sp_text *text, const sp_option *option)
{
    const bool bounded = option->minimum != option->maximum;

    if (!option->unit && !bounded) {
        return;
    }
    sp_text_append(text, " [%s%s", option->unit ? option->unit : "", option->unit && bounded ? ", " : "");
    if (bounded) {
        sp_text_append_real(text, option->minimum);
        sp_text_append(text, " to ");
        sp_text_append_real(text, option->maximum);
    }
    sp_text_append(text, "]");
}

/* Help, unit, range and choices in one sentence. */
static void append_meaning(sp_text *text, const sp_option *option)
{
    sp_text_append(text, "%s", option->help);
    if (option->type == SP_OPTION_INTEGER || option->type == SP_OPTION_REAL) {
        append_range(text, option);
    }
    if (option->type == SP_OPTION_CHOICE) {
        append_choices(text, option->choices);
    }
    if (option->type == SP_OPTION_LIST) {
        sp_text_append(text, "; may be given several times");
    }
    if (option->one_call) {
        sp_text_append(text, "; command line only");
    }
}

/* "" where there is nothing to say. */
static const char *default_text(const sp_option *option)
{
    return option->fallback ? option->fallback : option->automatic ? option->automatic : "";
}

static void append_usage(sp_text *text, const sp_syntax *syntax)
{
    sp_text_append(text, "%s %s [options]", syntax->program, syntax->name);
    for (const sp_positional *p = syntax->positionals; p && p->name; p++) {
        sp_text_append(text, p->required ? " " : " [");
        append_upper(text, p->name);
        sp_text_append(text, "%s%s", p->many ? "..." : "", p->required ? "" : "]");
    }
}

/* ---- for a terminal ---- */

/* Append the words of `right`, the cursor being at column LEFT. */
static void append_wrapped(sp_text *text, const char *right)
{
    size_t column = LEFT;

    while (*right) {
        const size_t length = strcspn(right, " ");

        if (column > LEFT && column + 1 + length > COLUMNS) {
            sp_text_append(text, "\n");
            sp_text_append_repeated(text, ' ', LEFT);
            column = LEFT;
        }
        if (column > LEFT) {
            sp_text_append(text, " ");
            column++;
        }
        sp_text_append_bytes(text, right, length);
        column += length;
        right += length;
        right += strspn(right, " ");
    }
    sp_text_append(text, "\n");
}

void sp_manual_help_row(const char *left, const char *right, sp_text *text)
{
    const int width = (int)strlen(left);

    sp_text_append(text, "  %s", left);
    if (width + 4 > LEFT) {
        sp_text_append(text, "\n");
        sp_text_append_repeated(text, ' ', LEFT);
    } else {
        sp_text_append_repeated(text, ' ', LEFT - 2 - width);
    }
    append_wrapped(text, right);
}

static void help_option(const sp_option *option, sp_text *text)
{
    sp_text left = {0}, right = {0};
    const char *fallback = default_text(option);

    sp_text_append(&left, "%s", option->letter ? "" : "    ");
    append_form(&left, option);
    append_meaning(&right, option);
    if (*fallback) {
        sp_text_append(&right, " (default: %s)", fallback);
    }
    sp_manual_help_row(sp_text_string(&left), sp_text_string(&right), text);
    text->failed |= left.failed || right.failed;
    sp_text_clear(&left);
    sp_text_clear(&right);
}

void sp_manual_help_options(const sp_option *options, sp_text *text)
{
    for (const sp_option *option = options; option && option->name; option++) {
        help_option(option, text);
    }
}

static void help_positionals(const sp_positional *positional, sp_text *text)
{
    for (; positional && positional->name; positional++) {
        sp_text left = {0};

        append_upper(&left, positional->name);
        sp_manual_help_row(sp_text_string(&left), positional->help, text);
        text->failed |= left.failed;
        sp_text_clear(&left);
    }
}

void sp_manual_help(const sp_syntax *syntax, sp_text *text)
{
    sp_text_append(text, "Usage: ");
    append_usage(text, syntax);
    sp_text_append(text, "\n\n%c%s.\n\n", toupper((unsigned char)syntax->summary[0]), syntax->summary + 1);
    help_positionals(syntax->positionals, text);
    if (syntax->options && syntax->options->name) {
        sp_text_append(text, "\nOptions:\n");
        sp_manual_help_options(syntax->options, text);
    }
    if (syntax->common && syntax->common->name) {
        sp_text_append(text, "\nOptions of every command:\n");
        sp_manual_help_options(syntax->common, text);
    }
    if (syntax->examples) {
        sp_text_append(text, "\nExamples:\n%s", syntax->examples);
    }
}

/* ---- Markdown ---- */

/* Inside a table cell a bar would begin the next one. */
static void append_cell(sp_text *text, const char *words)
{
    for (; *words; words++) {
        sp_text_append(text, *words == '|' || *words == '<' ? "\\%c" : "%c", *words);
    }
    sp_text_append(text, " |");
}

static void markdown_option(const sp_option *option, sp_text *text)
{
    sp_text meaning = {0};
    const char *fallback = default_text(option);

    sp_text_append(text, "| `");
    append_form(text, option);
    sp_text_append(text, "` | ");
    append_meaning(&meaning, option);
    append_cell(text, sp_text_string(&meaning));
    sp_text_append(text, *fallback ? " " : "");
    append_cell(text, fallback);
    sp_text_append(text, "\n");
    text->failed |= meaning.failed;
    sp_text_clear(&meaning);
}

void sp_manual_markdown_options(const sp_option *options, sp_text *text)
{
    if (options && options->name) {
        sp_text_append(text, "\n| option | meaning | default |\n|---|---|---|\n");
    }
    for (const sp_option *option = options; option && option->name; option++) {
        markdown_option(option, text);
    }
}

void sp_manual_markdown(const sp_syntax *syntax, sp_text *text)
{
    sp_text_append(text, "\n## %s %s\n\n%c%s.\n\n```\n", syntax->program, syntax->name,
                   toupper((unsigned char)syntax->summary[0]), syntax->summary + 1);
    append_usage(text, syntax);
    sp_text_append(text, "\n```\n");
    for (const sp_positional *p = syntax->positionals; p && p->name; p++) {
        sp_text_append(text, "%s- `", p == syntax->positionals ? "\n" : "");
        append_upper(text, p->name);
        sp_text_append(text, "`: %s\n", p->help);
    }
    sp_manual_markdown_options(syntax->options, text);
    if (syntax->examples) {
        sp_text_append(text, "\n```sh\n%s```\n", syntax->examples);
    }
}

/* ---- manual page ---- */

void sp_manual_man_escape(const char *words, sp_text *text)
{
    bool line_start = true;

    for (; *words; words++) {
        if (line_start && (*words == '.' || *words == '\'')) {
            sp_text_append(text, "\\&");
        }
        sp_text_append(text, *words == '\\' ? "\\e" : *words == '-' ? "\\-" : "%c", *words);
        line_start = *words == '\n';
    }
}

void sp_manual_man_row(const char *tag, const char *meaning, sp_text *text)
{
    sp_text_append(text, ".TP\n.B ");
    sp_manual_man_escape(tag, text);
    sp_text_append(text, "\n");
    sp_manual_man_escape(meaning, text);
    sp_text_append(text, "\n");
}

static void man_option(const sp_option *option, sp_text *text)
{
    sp_text tag = {0}, meaning = {0};
    const char *fallback = default_text(option);

    append_form(&tag, option);
    append_meaning(&meaning, option);
    if (*fallback) {
        sp_text_append(&meaning, " (default: %s)", fallback);
    }
    sp_manual_man_row(sp_text_string(&tag), sp_text_string(&meaning), text);
    text->failed |= tag.failed || meaning.failed;
    sp_text_clear(&tag);
    sp_text_clear(&meaning);
}

void sp_manual_man_options(const sp_option *options, sp_text *text)
{
    for (const sp_option *option = options; option && option->name; option++) {
        man_option(option, text);
    }
}

static void man_positionals(const sp_positional *positional, sp_text *text)
{
    for (; positional && positional->name; positional++) {
        sp_text tag = {0};

        append_upper(&tag, positional->name);
        sp_manual_man_row(sp_text_string(&tag), positional->help, text);
        text->failed |= tag.failed;
        sp_text_clear(&tag);
    }
}

void sp_manual_man(const sp_syntax *syntax, sp_text *text)
{
    sp_text usage = {0};

    append_usage(&usage, syntax);
    sp_text_append(text, ".SS %s %s\n.B ", syntax->program, syntax->name);
    sp_manual_man_escape(sp_text_string(&usage), text);
    sp_text_append(text, "\n.PP\n");
    sp_manual_man_escape(syntax->summary, text);
    sp_text_append(text, ".\n");
    text->failed |= usage.failed;
    sp_text_clear(&usage);
    man_positionals(syntax->positionals, text);
    sp_manual_man_options(syntax->options, text);
    if (syntax->examples) {
        sp_text_append(text, ".PP\nExamples:\n.PP\n.nf\n");
        sp_manual_man_escape(syntax->examples, text);
        sp_text_append(text, ".fi\n");
    }
}
