/* Help from the command table: everything, one noun, or one command; short, aligned, wrapped at the terminal's width. */
#ifndef TT_CLI_HELP_H
#define TT_CLI_HELP_H

#include "cli/command.h"

/* What the parsed line asks about, to standard output. */
tt_rc tt_help_show(tt_cli *cli, tt_err *err) TT_MUST_CHECK;

typedef struct {
    unsigned columns;
    const char *bold, *off; /* "" without a terminal */
} tt_help_style;

void tt_help_all(const tt_command *commands, tt_help_style style, tt_buf *out);
void tt_help_noun(const tt_command *commands, const char *noun, tt_help_style style, tt_buf *out);
void tt_help_command(const tt_command *command, tt_help_style style, tt_buf *out);

/* "tutti job start NAME --input F... [flags]". */
void tt_help_usage(const tt_command *command, tt_buf *out);
/* "-n, --count N". */
void tt_help_flag_head(const tt_flag *flag, tt_buf *out);
/* What a noun is about, for lists and man pages; never NULL. */
const char *tt_noun_summary(const char *noun);
/* Calls fn for each noun of the table once, in its order. */
void tt_each_noun(const tt_command *commands, void (*fn)(void *arg, const char *noun), void *arg);

#endif
