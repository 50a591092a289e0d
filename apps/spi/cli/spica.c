/* SPDX-License-Identifier: BSD-3-Clause */
#include "cli/spica.h"

#include <assert.h>
#include <errno.h>
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/interrupt.h"
#include "cli/commands.h"

static const sp_command *const commands[] = {
    &sp_command_simulate,
    &sp_command_reconstruct,
    &sp_command_info,
    &sp_command_compare,
    &sp_command_bench,
    &sp_command_scale,
    NULL,
};

static const sp_option common_options[] = {
    {.name = "settings",
     .type = SP_OPTION_TEXT,
     .unit = "FILE",
     .one_call = true,
     .help = "take options from this file"},
    {.name = "threads",
     .letter = 't',
     .type = SP_OPTION_INTEGER,
     .minimum = 0,
     .maximum = 1024,
     .fallback = "0",
     .help = "number of threads; 0: one per core"},
    {.name = "quiet", .letter = 'q', .type = SP_OPTION_FLAG, .one_call = true, .help = "say nothing but errors"},
    {.name = "verbose",
     .letter = 'v',
     .type = SP_OPTION_FLAG,
     .one_call = true,
     .help = "say more, and where an error arose"},
    {.name = "help", .letter = 'h', .type = SP_OPTION_FLAG, .one_call = true, .help = "show this help"},
    {0},
};

const sp_command *const *sp_commands(void)
{
    return commands;
}

sp_syntax sp_command_syntax(const sp_command *command)
{
    return (sp_syntax){
        .program = "spica",
        .name = command->name,
        .summary = command->summary,
        .options = command->options,
        .common = common_options,
        .positionals = command->positionals,
        .examples = command->examples,
    };
}

sp_status sp_command_find(const char *name, const sp_command **command)
{
    sp_status status = SP_OK;
    const sp_command *found = strcmp(name, sp_command_help.name) == 0 ? &sp_command_help : NULL;
    sp_nearest nearest = {.word = name};

    for (const sp_command *const *c = commands; *c; c++) {
        found = strcmp(name, (*c)->name) == 0 ? *c : found;
        sp_nearest_offer(&nearest, (*c)->name);
    }
    SP_REQUIRE(found || !nearest.best, SP_ERR_USAGE, "%s: unknown command; did you mean %s?", name, nearest.best);
    SP_REQUIRE(found, SP_ERR_USAGE, "%s: unknown command; spica --help lists them all", name);
    *command = found;
done:
    return status;
}

sp_status sp_command_print(const sp_text *text)
{
    sp_status status = SP_OK;

    SP_TRY(sp_text_check(text));
    fputs(sp_text_string(text), stdout);
done:
    return status;
}

static int exit_code(sp_status status)
{
    switch (status) {
    case SP_OK:
        return SP_EXIT_OK;
    case SP_ERR_USAGE:
        return SP_EXIT_USAGE;
    case SP_ERR_INTERRUPT:
        return SP_EXIT_INTERRUPT;
    default:
        return SP_EXIT_FAILED;
    }
}

/* The one place where a failure is shown. */
static int report(sp_status status, sp_log *log, const char *command, bool place)
{
    if (status != SP_OK) {
        sp_log_error(log, "spica%s%s: %s%s%s%s", *command ? " " : "", command, sp_error_text(), place ? " (" : "",
                     place ? sp_error_place() : "", place ? ")" : "");
    }
    return exit_code(status);
}

static sp_status read_arguments(const sp_command *command, sp_arguments *args, int count, char *const *word)
{
    sp_status status = SP_OK;

    SP_TRY(sp_arguments_read_line(args, count, word));
    if (sp_arguments_is_set(args, "settings")) {
        SP_TRY(sp_arguments_read_file(args, sp_arguments_text(args, "settings")));
    }
    if (command->complete) {
        SP_TRY(command->complete(args));
    }
    SP_TRY(sp_arguments_check(args));
done:
    return status;
}

static sp_log_level wanted_level(const sp_arguments *args)
{
    return sp_arguments_flag(args, "quiet")     ? SP_LOG_ERROR
           : sp_arguments_flag(args, "verbose") ? SP_LOG_DETAIL
                                                : SP_LOG_INFO;
}

static void set_threads(const sp_arguments *args)
{
    const int threads = (int)sp_arguments_integer(args, "threads");

    if (threads > 0) {
        omp_set_num_threads(threads);
    }
}

/* A full disk behind `spica info x > file` shows up here at the latest. */
static sp_status close_output(void)
{
    sp_status status = SP_OK;
    const bool failed = ferror(stdout);

    SP_REQUIRE(fclose(stdout) == 0 && !failed, SP_ERR_OUTPUT, "standard output: cannot write: %s", strerror(errno));
done:
    return status;
}

static sp_status run_command(const sp_command *command, const sp_arguments *args, sp_log *log)
{
    sp_status status = SP_OK;

    sp_log_set_level(log, wanted_level(args));
    set_threads(args);
    sp_interrupt_watch();
    SP_TRY(command->run(args, log));
    SP_TRY(close_output());
done:
    return status;
}

/* spica COMMAND word... */
static int run_words(const sp_command *command, int count, char *const *word, sp_log *log)
{
    sp_status status = SP_OK;
    sp_arguments *args = NULL;
    const sp_syntax syntax = sp_command_syntax(command);
    bool place = false;
    int code = 0;

    SP_TRY(sp_arguments_new(&syntax, &args));
    SP_TRY(read_arguments(command, args, count, word));
    place = sp_arguments_flag(args, "verbose");
    SP_TRY(run_command(command, args, log));
done:
    code = report(status, log, command->name, place);
    sp_arguments_free(args);
    return code;
}

static int show_version(sp_log *log)
{
    printf("spica " SPICA_VERSION "\n");
    return report(close_output(), log, "", false);
}

static int dispatch(int count, char *const *word, sp_log *log)
{
    sp_status status = SP_OK;
    const sp_command *command = NULL;

    SP_REQUIRE(count > 0, SP_ERR_USAGE, "no command given; spica --help lists them all");
    if (strcmp(word[0], "--version") == 0) {
        return show_version(log);
    }
    if (strcmp(word[0], "--help") == 0 || strcmp(word[0], "-h") == 0) {
        return run_words(&sp_command_help, 0, NULL, log);
    }
    SP_TRY(sp_command_find(word[0], &command));
    assert(command);
    if (sp_arguments_ask_help(count - 1, word + 1)) {
        return run_words(&sp_command_help, 1, word, log);
    }
    return run_words(command, count - 1, word + 1, log);
done:
    return report(status, log, "", false);
}

int sp_main(int argc, char **argv)
{
    sp_log *log = NULL;
    int code = SP_EXIT_FAILED;

    if (sp_log_new(SP_LOG_INFO, stderr, &log) != SP_OK) {
        fprintf(stderr, "spica: %s\n", sp_error_text());
        return code;
    }
    code = dispatch(argc - 1, argv + 1, log);
    sp_log_free(log);
    return code;
}
