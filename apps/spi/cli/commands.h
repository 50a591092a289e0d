/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* cli/commands.h -- the commands of the program, one cmd_<name>.c each.
 *
 * A new command: write cli/cmd_<name>.c with its tables and `const sp_command sp_command_<name>`, declare it below, add
 * it to the list in cli/spica.c, and renew the manual as docs/commands.md says at its top. */
#include "base/arguments.h"
#include "base/error.h"
#include "base/log.h"
#include "base/text.h"

typedef struct sp_command {
    const char *name;    /* "simulate" */
    const char *summary; /* one line for `spica --help`: no capital, no full stop */
    const sp_option *options;
    const sp_positional *positionals;
    const char *examples; /* lines of shell, each with its newline; NULL: none */

    /* Takes what the words leave open from somewhere else than a settings file; NULL: from nowhere. */
    sp_status (*complete)(sp_arguments *args);

    /* Do the work. Results go to files or to standard output (closed and checked by the caller), everything else to
     * the log. The reason of a failure is recorded as usual; the caller shows it. */
    sp_status (*run)(const sp_arguments *args, sp_log *log);
} sp_command;

/* The public commands in the order of the manual, ended by NULL. */
const sp_command *const *sp_commands(void);

/* The command of this name, `help` included. Fails with SP_ERR_USAGE, suggesting the nearest name. */
sp_status sp_command_find(const char *name, const sp_command **command);

/* The syntax of a command, with the options that every command has. */
sp_syntax sp_command_syntax(const sp_command *command);

/* Write the result of a command to standard output. Fails like sp_text_check(), nothing written then. */
sp_status sp_command_print(const sp_text *text);

extern const sp_command sp_command_simulate;
extern const sp_command sp_command_reconstruct;
extern const sp_command sp_command_info;
extern const sp_command sp_command_compare;
extern const sp_command sp_command_bench;
extern const sp_command sp_command_scale;
extern const sp_command sp_command_help; /* not in the list: `spica help` */
