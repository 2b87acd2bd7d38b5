/* What `tutti run` and `tutti schedule add` share: settings on a command line. */
#ifndef TT_CLI_RUN_H
#define TT_CLI_RUN_H

#include <jansson.h>

#include "cli/command.h"

/* `--set name=value` as texts, over what the file of --settings gives. A new reference. TT_USAGE. */
tt_rc tt_cli_read_settings(tt_cli *cli, json_t **ret, tt_err *err) TT_MUST_CHECK;

/* A program in the foreground, in this process: what it writes goes to standard output, its progress to standard error. context: JSON about the run that it is
 * a task of; NULL: of none. */
tt_rc tt_cli_run_here(tt_cli *cli, tt_str name, const json_t *settings, const char *context, tt_err *err) TT_MUST_CHECK;

#endif
