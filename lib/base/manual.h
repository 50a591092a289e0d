/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* base/manual.h -- help, Markdown and manual page, all made from the tables of base/arguments.h.
 *
 * Each function appends to `text`, whose sp_text_check() tells of memory failures. */
#include "base/arguments.h"

/* Help of one command for a terminal of 80 columns. */
void sp_manual_help(const sp_syntax *syntax, sp_text *text);

/* A section of a Markdown document, heading level 2; the common options are left out. */
void sp_manual_markdown(const sp_syntax *syntax, sp_text *text);

/* A subsection (.SS) of a manual page in the man(7) macros; the common options are left out. */
void sp_manual_man(const sp_syntax *syntax, sp_text *text);

/* Only the options of a table, in the same three forms, for those that all commands share. */
void sp_manual_help_options(const sp_option *options, sp_text *text);
void sp_manual_markdown_options(const sp_option *options, sp_text *text);
void sp_manual_man_options(const sp_option *options, sp_text *text);

/* One row of a terminal's list: `left`, then `right` broken into lines of 80 columns, both below the row before. */
void sp_manual_help_row(const char *left, const char *right, sp_text *text);

/* A tagged paragraph of a manual page: `tag` in bold, then what it means. */
void sp_manual_man_row(const char *tag, const char *meaning, sp_text *text);

/* Text for a manual page: backslashes and dashes escaped, control characters at the start of lines made harmless. */
void sp_manual_man_escape(const char *words, sp_text *text);
