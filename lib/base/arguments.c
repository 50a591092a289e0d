/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/arguments.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/memory.h"

enum { LARGEST_SETTINGS_FILE = 1 << 20 };                 /* [byte] more is surely not a settings file */
static const double largest_integer = 9007199254740992.0; /* 2^53: limits are compared as double */

typedef enum source { FROM_FALLBACK, FROM_FILE, FROM_LINE } source;

/* An option, or a positional that is treated as one. */
typedef struct entry {
    sp_option option;
    bool positional, required;
    bool in_file; /* the settings file has given it already */
    source source;
    char **text; /* [count] each checked when it was put here */
    ptrdiff_t count;
} entry;

struct sp_arguments {
    sp_syntax syntax;
    entry *entry; /* [count] options, common options, positionals */
    ptrdiff_t count;
};

/* ---- looking up ---- */

static entry *find(const sp_arguments *args, const char *name, size_t length)
{
    for (ptrdiff_t i = 0; i < args->count; i++) {
        const char *known = args->entry[i].option.name;

        if (strlen(known) == length && memcmp(known, name, length) == 0) {
            return &args->entry[i];
        }
    }
    return NULL;
}

static entry *find_letter(const sp_arguments *args, char letter)
{
    for (ptrdiff_t i = 0; i < args->count; i++) {
        if (letter && args->entry[i].option.letter == letter) {
            return &args->entry[i];
        }
    }
    return NULL;
}

static const entry *get(const sp_arguments *args, const char *name)
{
    const entry *found = find(args, name, strlen(name));

    assert(found && "option is not in the table");
    return found;
}

/* The option most like `name` for "did you mean"; NULL if none. */
static const char *nearest_name(const sp_arguments *args, const char *name, bool file)
{
    sp_nearest nearest = {.word = name};

    for (ptrdiff_t i = 0; i < args->count; i++) {
        const entry *e = &args->entry[i];

        if (file ? !e->option.one_call : !e->positional) {
            sp_nearest_offer(&nearest, e->option.name);
        }
    }
    return nearest.best;
}

/* ---- values ---- */

/* Place of text among "one|two|three", -1 if it is none of them. */
static int choice_index(const char *choices, const char *text)
{
    const size_t length = strlen(text);
    int index = 0;

    for (const char *word = choices; word; index++) {
        const size_t size = strcspn(word, "|");

        if (size == length && memcmp(word, text, length) == 0) {
            return index;
        }
        word = word[size] ? word + size + 1 : NULL;
    }
    return -1;
}

static sp_status check_range(const sp_option *option, double value, const char *label, const char *text)
{
    sp_status status = SP_OK;

    SP_REQUIRE(option->minimum == option->maximum || (value >= option->minimum && value <= option->maximum),
               SP_ERR_USAGE, "%s: %s is not in %.15g..%.15g%s%s", label, text, option->minimum, option->maximum,
               option->unit ? " " : "", option->unit ? option->unit : "");
done:
    return status;
}

/* Decimal digits only: blanks, hexadecimal, nan and inf are refused before strtod() could take them. */
static sp_status check_number(const sp_option *option, const char *label, const char *text)
{
    sp_status status = SP_OK;
    const bool whole = option->type == SP_OPTION_INTEGER;
    const char *alphabet = whole ? "0123456789+-" : "0123456789+-.eE";
    char *end = NULL;
    const double value = strtod(text, &end);

    SP_REQUIRE(text[strspn(text, alphabet)] == '\0' && end > text && *end == '\0', SP_ERR_USAGE,
               "%s: '%s' is not a %s number", label, text, whole ? "whole" : "decimal");
    SP_REQUIRE(isfinite(value) && (!whole || fabs(value) <= largest_integer), SP_ERR_USAGE, "%s: %s is too large",
               label, text);
    SP_TRY(check_range(option, value, label, text));
done:
    return status;
}

static sp_status check_choice(const sp_option *option, const char *label, const char *text)
{
    sp_status status = SP_OK;

    SP_REQUIRE(choice_index(option->choices, text) >= 0, SP_ERR_USAGE, "%s: '%s' is none of %s", label, text,
               option->choices);
done:
    return status;
}

static sp_status check_text(const char *label, const char *text)
{
    sp_status status = SP_OK;

    SP_REQUIRE(*text, SP_ERR_USAGE, "%s: needs a value", label);
    for (const char *c = text; *c; c++) {
        SP_REQUIRE(!iscntrl((unsigned char)*c), SP_ERR_USAGE, "%s: control character (code %d) in the value", label,
                   (unsigned char)*c);
    }
done:
    return status;
}

static sp_status check_value(const sp_option *option, const char *label, const char *text)
{
    sp_status status = SP_OK;

    SP_TRY(check_text(label, text));
    switch (option->type) {
    case SP_OPTION_FLAG:
        SP_REQUIRE(choice_index("no|yes", text) >= 0, SP_ERR_USAGE, "%s: '%s' is neither yes nor no", label, text);
        break;
    case SP_OPTION_INTEGER:
    case SP_OPTION_REAL:
        if (!option->choices || choice_index(option->choices, text) < 0) {
            SP_TRY(check_number(option, label, text));
        }
        break;
    case SP_OPTION_CHOICE:
        SP_TRY(check_choice(option, label, text));
        break;
    case SP_OPTION_TEXT:
    case SP_OPTION_LIST:
        break;
    }
done:
    return status;
}

static void forget(entry *e)
{
    for (ptrdiff_t i = 0; i < e->count; i++) {
        free(e->text[i]);
    }
    e->count = 0;
}

/* Check a value and keep it. A source replaces what a weaker one gave; `label` names the place in messages. */
static sp_status put(entry *e, source from, const char *label, const char *text)
{
    sp_status status = SP_OK;
    char **grown = NULL;

    SP_TRY(check_value(&e->option, label, text));
    SP_REQUIRE(e->option.type == SP_OPTION_LIST || e->count == 0 || e->source != from, SP_ERR_USAGE,
               "%s: given more than once", label);
    if (e->source > from) {
        return SP_OK; /* checked all the same */
    }
    if (e->source != from) {
        forget(e);
    }
    grown = realloc(e->text, (size_t)(e->count + 1) * sizeof *grown);
    SP_REQUIRE(grown, SP_ERR_MEMORY, "%s: no memory for the value", label);
    e->text = grown;
    e->text[e->count] = strdup(text);
    SP_REQUIRE(e->text[e->count], SP_ERR_MEMORY, "%s: no memory for the value", label);
    e->count++;
    e->source = from;
done:
    return status;
}

/* ---- making ---- */

static ptrdiff_t count_options(const sp_option *option)
{
    ptrdiff_t count = 0;

    while (option && option[count].name) {
        count++;
    }
    return count;
}

static ptrdiff_t count_positionals(const sp_positional *positional)
{
    ptrdiff_t count = 0;

    while (positional && positional[count].name) {
        count++;
    }
    return count;
}

static sp_status add_entry(sp_arguments *args, const entry *e)
{
    sp_status status = SP_OK;
    const sp_option *option = &e->option;

    SP_REQUIRE(!find(args, option->name, strlen(option->name)), SP_ERR_USAGE, "option table: %s is there twice",
               option->name);
    SP_REQUIRE(!find_letter(args, option->letter), SP_ERR_USAGE, "option table: -%c is there twice", option->letter);
    const bool number = option->type == SP_OPTION_INTEGER || option->type == SP_OPTION_REAL;

    SP_REQUIRE(option->help &&
                   (option->type == SP_OPTION_CHOICE || (number && option->choices)) == (option->choices != NULL),
               SP_ERR_USAGE, "option table: %s has no help, or choices that do not fit its type", option->name);
    args->entry[args->count] = *e;
    args->count++;
    if (option->fallback) {
        SP_TRY(put(&args->entry[args->count - 1], FROM_FALLBACK, option->name, option->fallback));
    }
done:
    return status;
}

static sp_status add_options(sp_arguments *args, const sp_option *option)
{
    sp_status status = SP_OK;

    for (; option && option->name; option++) {
        SP_TRY(add_entry(args, &(entry){.option = *option}));
    }
done:
    return status;
}

static sp_status add_positionals(sp_arguments *args, const sp_positional *positional)
{
    sp_status status = SP_OK;

    for (; positional && positional->name; positional++) {
        const entry e = {
            .option = {.name = positional->name,
                       .help = positional->help,
                       .type = positional->many ? SP_OPTION_LIST : SP_OPTION_TEXT},
            .positional = true,
            .required = positional->required,
        };

        SP_TRY(add_entry(args, &e));
    }
done:
    return status;
}

sp_status sp_arguments_new(const sp_syntax *syntax, sp_arguments **args)
{
    sp_status status = SP_OK;
    sp_arguments *self = calloc(1, sizeof *self);
    const ptrdiff_t room =
        count_options(syntax->options) + count_options(syntax->common) + count_positionals(syntax->positionals);

    SP_REQUIRE(self, SP_ERR_MEMORY, "no memory for the options");
    self->syntax = *syntax;
    SP_TRY(SP_ARRAY(self->entry, room));
    SP_TRY(add_options(self, syntax->options));
    SP_TRY(add_options(self, syntax->common));
    SP_TRY(add_positionals(self, syntax->positionals));
    *args = self;
    self = NULL;
done:
    sp_arguments_free(self);
    return status;
}

void sp_arguments_free(sp_arguments *args)
{
    if (args) {
        for (ptrdiff_t i = 0; i < args->count; i++) {
            forget(&args->entry[i]);
            free(args->entry[i].text);
        }
        sp_array_free(args->entry);
        free(args);
    }
}

/* ---- the command line ---- */

/* Words still to be read. */
typedef struct words {
    char *const *word;
    int count;
} words;

static const char *next_word(words *line)
{
    line->count--;
    return *line->word++;
}

/* May this word be the value of the option before it? "-5" and "-" may; "--x" and "-x" look like options. */
static bool is_value(const char *word)
{
    return word[0] != '-' || word[1] == '\0' || isdigit((unsigned char)word[1]) || word[1] == '.';
}

static sp_status put_option(entry *e, const char *word, const char *value, words *line)
{
    sp_status status = SP_OK;
    sp_text label = {0};

    sp_text_append(&label, "%.*s", (int)strcspn(word, "="), word);
    SP_TRY(sp_text_check(&label));
    if (!value && e->option.type == SP_OPTION_FLAG) {
        value = "yes";
    } else if (!value) {
        SP_REQUIRE(line->count > 0 && is_value(*line->word), SP_ERR_USAGE,
                   "%s: needs a value (one that begins with a dash is given as --%s=VALUE)", sp_text_string(&label),
                   e->option.name);
        value = next_word(line);
    }
    SP_TRY(put(e, FROM_LINE, sp_text_string(&label), value));
done:
    sp_text_clear(&label);
    return status;
}

static sp_status refuse_unknown(const sp_arguments *args, const char *name, int length)
{
    sp_text text = {0};
    const char *known = NULL;
    sp_status status = SP_OK;

    sp_text_append(&text, "%.*s", length, name);
    SP_TRY(sp_text_check(&text));
    known = nearest_name(args, sp_text_string(&text) + 2, false);
    SP_REQUIRE(!known, SP_ERR_USAGE, "%s: unknown option; did you mean --%s?", sp_text_string(&text), known);
    SP_REQUIRE(known, SP_ERR_USAGE, "%s: unknown option; %s %s --help lists them all", sp_text_string(&text),
               args->syntax.program, args->syntax.name);
done:
    sp_text_clear(&text);
    return status;
}

/* --name, --name=value */
static sp_status read_long(sp_arguments *args, const char *word, words *line)
{
    const size_t length = strcspn(word, "=");
    entry *e = find(args, word + 2, length - 2);

    if (!e || e->positional) {
        return refuse_unknown(args, word, (int)length);
    }
    return put_option(e, word, word[length] ? word + length + 1 : NULL, line);
}

/* -n */
static sp_status read_short(sp_arguments *args, const char *word, words *line)
{
    sp_status status = SP_OK;
    entry *e = find_letter(args, word[1]);

    SP_REQUIRE(e && word[2] == '\0', SP_ERR_USAGE, "%s: unknown option; %s %s --help lists them all", word,
               args->syntax.program, args->syntax.name);
    SP_TRY(put_option(e, word, NULL, line));
done:
    return status;
}

static sp_status read_positional(sp_arguments *args, const char *word)
{
    sp_status status = SP_OK;
    entry *open = NULL;

    for (ptrdiff_t i = 0; i < args->count && !open; i++) {
        entry *e = &args->entry[i];

        open = e->positional && (e->count == 0 || e->option.type == SP_OPTION_LIST) ? e : NULL;
    }
    SP_REQUIRE(open, SP_ERR_USAGE, "'%s': one word too many; %s %s --help shows the usage", word, args->syntax.program,
               args->syntax.name);
    SP_TRY(put(open, FROM_LINE, open->option.name, word));
done:
    return status;
}

sp_status sp_arguments_read_line(sp_arguments *args, int count, char *const *word)
{
    sp_status status = SP_OK;
    words line = {word, count};
    bool options = true;

    while (line.count > 0) {
        const char *w = next_word(&line);

        if (options && strcmp(w, "--") == 0) {
            options = false;
        } else if (options && w[0] == '-' && w[1] == '-') {
            SP_TRY(read_long(args, w, &line));
        } else if (options && w[0] == '-' && w[1]) {
            SP_TRY(read_short(args, w, &line));
        } else {
            SP_TRY(read_positional(args, w));
        }
    }
done:
    return status;
}

bool sp_arguments_ask_help(int count, char *const *word)
{
    for (int i = 0; i < count && strcmp(word[i], "--") != 0; i++) {
        if (strcmp(word[i], "-h") == 0 || strcmp(word[i], "--help") == 0) {
            return true;
        }
    }
    return false;
}

/* ---- settings files ---- */

static char *skip_blanks(char *text)
{
    return text + strspn(text, " \t\r");
}

/* "say ""x""" -> say "x"; returns what follows the closing quote, NULL if there is none. */
static char *unquote(char *text)
{
    char *to = text;

    for (char *from = text + 1; *from; from++) {
        if (*from == '"' && from[1] != '"') {
            *to = '\0';
            return from + 1;
        }
        from += *from == '"';
        *to++ = *from;
    }
    return NULL;
}

/* Cut a value out of the text behind `=`, in place. Fails where more than a comment follows a quoted value. */
static sp_status cut_value(const char *place, char *text)
{
    sp_status status = SP_OK;

    if (*text == '"') {
        char *rest = unquote(text);

        SP_REQUIRE(rest, SP_ERR_USAGE, "%s: the closing quote is missing", place);
        rest = skip_blanks(rest);
        SP_REQUIRE(*rest == '\0' || *rest == '#', SP_ERR_USAGE, "%s: '%s' follows the closing quote", place, rest);
    } else {
        text[strcspn(text, "#")] = '\0';
        for (char *end = text + strlen(text); end > text && strchr(" \t\r", end[-1]); end--) {
            end[-1] = '\0';
        }
    }
done:
    return status;
}

/* One line `name = value`; `place` is file:line. */
static sp_status read_setting(sp_arguments *args, const char *place, char *line)
{
    sp_status status = SP_OK;
    const size_t length = strcspn(line, " \t\r=");
    char *equals = skip_blanks(line + length);
    sp_text label = {0};
    entry *e = find(args, line, length);
    const char *known = NULL;

    SP_REQUIRE(length > 0 && *equals == '=', SP_ERR_USAGE, "%s: '%s' is not of the form name = value", place, line);
    line[length] = '\0';
    known = e ? NULL : nearest_name(args, line, true);
    SP_REQUIRE(e, SP_ERR_USAGE, "%s: unknown setting %s%s%s%s", place, line, known ? "; did you mean " : "",
               known ? known : "", known ? "?" : "");
    SP_REQUIRE(!e->option.one_call, SP_ERR_USAGE, "%s: %s is for the command line only", place, line);
    sp_text_append(&label, "%s: %s", place, line);
    SP_TRY(sp_text_check(&label));
    SP_REQUIRE(!e->in_file || e->option.type == SP_OPTION_LIST, SP_ERR_USAGE, "%s: given more than once",
               sp_text_string(&label));
    e->in_file = true;
    equals = skip_blanks(equals + 1);
    SP_TRY(cut_value(sp_text_string(&label), equals));
    SP_TRY(put(e, FROM_FILE, sp_text_string(&label), equals));
done:
    sp_text_clear(&label);
    return status;
}

static sp_status read_settings_line(sp_arguments *args, const char *path, int number, char *line)
{
    sp_status status = SP_OK;
    sp_text place = {0};

    line = skip_blanks(line);
    if (*line && *line != '#') {
        sp_text_append(&place, "%s:%d", path, number);
        SP_TRY(sp_text_check(&place));
        SP_TRY(read_setting(args, sp_text_string(&place), line));
    }
done:
    sp_text_clear(&place);
    return status;
}

sp_status sp_arguments_read_text(sp_arguments *args, const char *path, char *text)
{
    sp_status status = SP_OK;
    int number = 1;

    for (char *line = text, *next = NULL; line; line = next, number++) {
        char *end = strchr(line, '\n');

        next = end ? end + 1 : NULL;
        if (end) {
            *end = '\0';
        }
        SP_TRY(read_settings_line(args, path, number, line));
    }
done:
    return status;
}

sp_status sp_arguments_read_file(sp_arguments *args, const char *path)
{
    sp_status status = SP_OK;
    char *bytes = NULL;
    size_t count = 0;

    SP_TRY(sp_file_read(path, LARGEST_SETTINGS_FILE, &bytes, &count));
    SP_REQUIRE(strlen(bytes) == count, SP_ERR_INPUT, "%s: is not a text file", path);
    SP_TRY(sp_arguments_read_text(args, path, bytes));
done:
    sp_array_free(bytes);
    return status;
}

static bool needs_quotes(const char *text)
{
    return text[0] == ' ' || text[0] == '"' || text[strlen(text) - 1] == ' ' || strchr(text, '#');
}

static void write_value(sp_text *text, const char *name, const char *value)
{
    if (!needs_quotes(value)) {
        sp_text_append(text, "%s = %s\n", name, value);
        return;
    }
    sp_text_append(text, "%s = \"", name);
    for (const char *c = value; *c; c++) {
        sp_text_append(text, *c == '"' ? "\"\"" : "%c", *c);
    }
    sp_text_append(text, "\"\n");
}

static void write_entry(sp_text *text, const entry *e)
{
    const sp_option *option = &e->option;

    for (ptrdiff_t i = 0; i < e->count; i++) {
        write_value(text, option->name, e->text[i]);
    }
    if (e->count == 0 && option->type == SP_OPTION_FLAG) {
        sp_text_append(text, "%s = no\n", option->name);
    } else if (e->count == 0) {
        sp_text_append(text, "# %s: %s\n", option->name, option->automatic ? option->automatic : "none");
    }
}

void sp_arguments_write(const sp_arguments *args, sp_text *text)
{
    sp_text_append(text, "# %s %s, settings in effect\n", args->syntax.program, args->syntax.name);
    for (ptrdiff_t i = 0; i < args->count; i++) {
        if (!args->entry[i].option.one_call) {
            write_entry(text, &args->entry[i]);
        }
    }
}

/* ---- the end ---- */

sp_status sp_arguments_check(const sp_arguments *args)
{
    sp_status status = SP_OK;

    for (ptrdiff_t i = 0; i < args->count; i++) {
        const entry *e = &args->entry[i];

        SP_REQUIRE(!e->required || e->count > 0, SP_ERR_USAGE, "%s is missing: %s", e->option.name, e->option.help);
    }
done:
    return status;
}

bool sp_arguments_is_set(const sp_arguments *args, const char *name)
{
    return get(args, name)->source != FROM_FALLBACK;
}

bool sp_arguments_flag(const sp_arguments *args, const char *name)
{
    const entry *e = get(args, name);

    assert(e->option.type == SP_OPTION_FLAG);
    return e->count > 0 && strcmp(e->text[0], "yes") == 0;
}

int64_t sp_arguments_integer(const sp_arguments *args, const char *name)
{
    const entry *e = get(args, name);

    assert(e->option.type == SP_OPTION_INTEGER);
    return e->count > 0 ? (int64_t)strtoll(e->text[0], NULL, 10) : 0;
}

double sp_arguments_real(const sp_arguments *args, const char *name)
{
    const entry *e = get(args, name);

    assert(e->option.type == SP_OPTION_REAL);
    return e->count > 0 ? strtod(e->text[0], NULL) : 0.0;
}

const char *sp_arguments_text(const sp_arguments *args, const char *name)
{
    const entry *e = get(args, name);

    assert(e->option.type == SP_OPTION_TEXT || e->option.type == SP_OPTION_CHOICE);
    return e->count > 0 ? e->text[0] : NULL;
}

int sp_arguments_choice(const sp_arguments *args, const char *name)
{
    const entry *e = get(args, name);

    assert(e->option.type == SP_OPTION_CHOICE);
    return e->count > 0 ? choice_index(e->option.choices, e->text[0]) : -1;
}

ptrdiff_t sp_arguments_list(const sp_arguments *args, const char *name, const char *const **item)
{
    const entry *e = get(args, name);

    assert(e->option.type == SP_OPTION_LIST);
    *item = (const char *const *)e->text;
    return e->count;
}
