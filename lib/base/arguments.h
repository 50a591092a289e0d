/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/arguments.h -- the command line of a command, described by a table; settings files.
 *
 *     static const sp_option options[] = {
 *         {.name = "photons", .letter = 'p', .type = SP_OPTION_REAL, .unit = "photons", .minimum = 1, .maximum = 1e15,
 *          .fallback = "1e5", .help = "mean number of photons per image"},
 *         {.name = "output", .letter = 'o', .type = SP_OPTION_TEXT, .unit = "FILE", .fallback = "images.h5",
 *          .help = "file to write"},
 *         {.name = "score", .type = SP_OPTION_CHOICE, .choices = "noise|plain", .fallback = "noise",
 *          .help = "how images are compared"},
 *         {.name = "resolution", .type = SP_OPTION_REAL, .unit = "m", .minimum = 1e-11, .maximum = 1e-6,
 *          .automatic = "from the corner of the detector", .help = "smallest length to reconstruct"},
 *         {0}};
 *
 * Accepted: `--name value`, `--name=value`, `-n value`; flags `--name`, `--name=yes|no`; `--` ends the options. What is
 * wrong is refused by name: unknown options (with the nearest known one), options given twice that are no lists,
 * missing values, rubbish behind a number, NaN, infinity, values out of range. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "base/text.h"

typedef enum sp_option_type {
    SP_OPTION_FLAG,    /* yes or no; `no` unless given */
    SP_OPTION_INTEGER, /* whole number, |value| <= 2^53 */
    SP_OPTION_REAL,    /* finite number */
    SP_OPTION_TEXT,    /* printable text, not empty */
    SP_OPTION_CHOICE,  /* one of `choices` */
    SP_OPTION_LIST,    /* texts: may be given several times */
} sp_option_type;

/* One row of the table; a row without a name ends it. Only name, type and help must be given. */
typedef struct sp_option {
    const char *name;        /* without the dashes, e.g. "photons" */
    const char *help;        /* what it does: no capital, no full stop, default and unit left out */
    const char *unit;        /* of a number: "m", "eV", "photons"; of a text: what to put there, "FILE" */
    const char *fallback;    /* value where the user gives none, written as the user would; NULL: there is none */
    const char *automatic;   /* no fallback: how the value is chosen then, e.g. "from the number of images" */
    const char *choices;     /* "one|two|three"; of a number: words that may stand in its place, which is 0 then */
    double minimum, maximum; /* of a number, both allowed; minimum == maximum: any value */
    sp_option_type type;
    char letter;   /* short name, 0: none */
    bool one_call; /* belongs to this call and not to the run: not allowed in settings files (help, verbose) */
} sp_option;

/* A word without dashes, in the order of the table; a row without a name ends it. In settings files it is written like
 * an option. */
typedef struct sp_positional {
    const char *name; /* "images" */
    const char *help;
    bool required;
    bool many; /* takes all words that are left: last row only */
} sp_positional;

/* All that is to be known about one command; the texts and tables are borrowed for ever (static tables). */
typedef struct sp_syntax {
    const char *program; /* "spica" */
    const char *name;    /* "simulate" */
    const char *summary; /* one line: no capital, no full stop */
    const sp_option *options;
    const sp_option *common; /* options that all commands of the program share; NULL: none */
    const sp_positional *positionals;
    const char *examples; /* lines of shell, each with its newline; NULL: none */
} sp_syntax;

/* The values in effect. Opaque. */
typedef struct sp_arguments sp_arguments;

/* The fallbacks of all options. Free with sp_arguments_free(); untouched on error.
 * Fails with SP_ERR_MEMORY, or SP_ERR_USAGE if the table is wrong (a name twice, a fallback out of range). */
sp_status sp_arguments_new(const sp_syntax *syntax, sp_arguments **args);
void sp_arguments_free(sp_arguments *args); /* NULL is fine */

/* Take the words behind the command's name: word [count]. Call it once, before the settings file.
 * Fails with SP_ERR_USAGE or SP_ERR_MEMORY. */
sp_status sp_arguments_read_line(sp_arguments *args, int count, char *const *word);

/* Take the settings file `path` for everything that the command line leaves open. Lines are `name = value`, blank, or
 * a comment that begins with #; flags are `yes` or `no`; a list has one line per value. A value that begins or ends
 * with a blank, or contains #, is put in double quotes, with "" for each quote inside it.
 * Fails with SP_ERR_INPUT (unreadable), SP_ERR_USAGE (reason begins with file:line), SP_ERR_MEMORY. */
sp_status sp_arguments_read_file(sp_arguments *args, const char *path);

/* The same from the text of a settings file, which is cut up on the way; `path` names it in messages. */
sp_status sp_arguments_read_text(sp_arguments *args, const char *path, char *text);

/* Are all required words there? Call it last. Fails with SP_ERR_USAGE. */
sp_status sp_arguments_check(const sp_arguments *args);

/* ---- values. `name` must be in the tables and of the type asked for (assert). ---- */
bool sp_arguments_is_set(const sp_arguments *args, const char *name);      /* given by line or file, not a fallback */
bool sp_arguments_flag(const sp_arguments *args, const char *name);        /* SP_OPTION_FLAG */
int64_t sp_arguments_integer(const sp_arguments *args, const char *name);  /* 0 where there is no value */
double sp_arguments_real(const sp_arguments *args, const char *name);      /* 0 where there is no value */
const char *sp_arguments_text(const sp_arguments *args, const char *name); /* text, choice, positional; NULL where
                                                                            * there is no value; borrowed */
int sp_arguments_choice(const sp_arguments *args, const char *name); /* place in `choices`, 0 based; -1: no value */

/* The values of a list or of a positional with `many`: item receives [returned count], borrowed. */
ptrdiff_t sp_arguments_list(const sp_arguments *args, const char *name, const char *const **item);

/* Append all values in effect as a settings file that repeats the run, comments included. Memory failures are
 * remembered by the text. */
void sp_arguments_write(const sp_arguments *args, sp_text *text);

/* Do the words ask for help (-h or --help before any `--`)? Then nothing else need be right. */
bool sp_arguments_ask_help(int count, char *const *word);
