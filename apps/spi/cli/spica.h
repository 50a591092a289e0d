/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* cli/spica.h -- the program: runs the command named by argv[1]; returns its exit status. */
enum {
    SP_EXIT_OK = 0,
    SP_EXIT_FAILED = 1,
    SP_EXIT_USAGE = 2,
    SP_EXIT_INTERRUPT = 130 /* 128 + SIGINT, as shells do */
};

int sp_main(int argc, char **argv);
