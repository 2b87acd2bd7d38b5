/* What the files of `tutti execution` share. */
#ifndef TT_CLI_EXECUTION_H
#define TT_CLI_EXECUTION_H

#include "cli/command.h"

/* The number of a task: the text itself, or that of the execution with this id. */
tt_rc tt_execution_number(tt_cli *cli, tt_str id, uint64_t *ret, tt_err *err) TT_MUST_CHECK;

/* What a task wrote, so far or to its end. */
tt_rc tt_execution_print_log(tt_cli *cli, uint64_t id, bool follows, tt_err *err) TT_MUST_CHECK;

#endif
