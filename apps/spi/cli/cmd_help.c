/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <string.h>

#include "base/manual.h"
#include "cli/commands.h"
#include "cli/spica.h"

/* What holds for all commands; printed in each form of the manual. */
static const char *const exit_codes[][2] = {
    {"0", "done"},
    {"1", "failed: the reason is on standard error, no half-written result is left"},
    {"2", "wrong usage: unknown command or option, value out of range"},
    {"130", "stopped by Ctrl-C or SIGTERM"},
    {NULL, NULL},
};

static const char settings_text[] =
    "Every option except those marked \"command line only\" can also stand in a settings file, read with --settings: "
    "lines `name = value`, comments behind #, flags as yes or no, lists one value per line. The command line wins. "
    "A value that begins or ends with a blank or contains # is put in double quotes, a quote inside it is doubled.";

static void help_all(sp_text *text)
{
    sp_text_append(text, "Usage: spica COMMAND [options]\n       spica COMMAND --help\n       spica --version\n\n"
                         "Single-particle imaging: from X-ray diffraction patterns to the density of the molecule.\n\n"
                         "Commands:\n");
    for (const sp_command *const *c = sp_commands(); *c; c++) {
        sp_manual_help_row((*c)->name, (*c)->summary, text);
    }
    sp_text_append(text, "\nExit status:\n");
    for (int i = 0; exit_codes[i][0]; i++) {
        sp_manual_help_row(exit_codes[i][0], exit_codes[i][1], text);
    }
}

static void markdown_all(sp_text *text)
{
    const sp_syntax self = sp_command_syntax(&sp_command_help);

    sp_text_append(text, "# Commands of spica\n\n<!-- Made by `spica help --markdown > docs/commands.md`. -->\n\n"
                         "| command | what it does |\n|---|---|\n");
    for (const sp_command *const *c = sp_commands(); *c; c++) {
        sp_text_append(text, "| `spica %s` | %s |\n", (*c)->name, (*c)->summary);
    }
    for (const sp_command *const *c = sp_commands(); *c; c++) {
        const sp_syntax syntax = sp_command_syntax(*c);

        sp_manual_markdown(&syntax, text);
    }
    sp_text_append(text, "\n## Options of every command\n");
    sp_manual_markdown_options(self.common, text);
    sp_text_append(text, "\n%s\n\n## Exit status\n\n", settings_text);
    for (int i = 0; exit_codes[i][0]; i++) {
        sp_text_append(text, "- %s: %s\n", exit_codes[i][0], exit_codes[i][1]);
    }
}

static void man_all(sp_text *text)
{
    const sp_syntax self = sp_command_syntax(&sp_command_help);

    sp_text_append(text, ".\\\" Made by `spica help --man > docs/spica.1`.\n"
                         ".TH SPICA 1 \"\" \"spica " SPICA_VERSION "\" \"User Commands\"\n.SH NAME\n"
                         "spica \\- single\\-particle imaging: from X\\-ray diffraction patterns to density\n"
                         ".SH SYNOPSIS\n.B spica\n.I command\n[options]\n.SH COMMANDS\n");
    for (const sp_command *const *c = sp_commands(); *c; c++) {
        const sp_syntax syntax = sp_command_syntax(*c);

        sp_manual_man(&syntax, text);
    }
    sp_text_append(text, ".SH OPTIONS OF EVERY COMMAND\n");
    sp_manual_man_options(self.common, text);
    sp_text_append(text, ".SH SETTINGS FILES\n");
    sp_manual_man_escape(settings_text, text);
    sp_text_append(text, "\n.SH EXIT STATUS\n");
    for (int i = 0; exit_codes[i][0]; i++) {
        sp_manual_man_row(exit_codes[i][0], exit_codes[i][1], text);
    }
}

static sp_status help_one(const char *name, sp_text *text)
{
    sp_status status = SP_OK;
    const sp_command *command = NULL;

    SP_TRY(sp_command_find(name, &command));
    const sp_syntax syntax = sp_command_syntax(command);
    sp_manual_help(&syntax, text);
done:
    return status;
}

static sp_status run(const sp_arguments *args, sp_log *log)
{
    sp_status status = SP_OK;
    const char *name = sp_arguments_text(args, "command");
    sp_text text = {0};

    (void)log;
    if (sp_arguments_flag(args, "markdown")) {
        markdown_all(&text);
    } else if (sp_arguments_flag(args, "man")) {
        man_all(&text);
    } else if (name) {
        SP_TRY(help_one(name, &text));
    } else {
        help_all(&text);
    }
    SP_TRY(sp_command_print(&text));
done:
    sp_text_clear(&text);
    return status;
}

static const sp_option options[] = {
    {.name = "markdown", .type = SP_OPTION_FLAG, .help = "the whole manual as Markdown: docs/commands.md"},
    {.name = "man", .type = SP_OPTION_FLAG, .help = "the whole manual as a manual page: docs/spica.1"},
    {0},
};

static const sp_positional positionals[] = {
    {.name = "command", .help = "the command to explain"},
    {0},
};

const sp_command sp_command_help = {
    .name = "help",
    .summary = "explain the commands",
    .options = options,
    .positionals = positionals,
    .run = run,
};
