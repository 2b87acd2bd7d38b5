/* What `tutti run` and `tutti schedule add` share: settings on a command line. */
#ifndef TT_CLI_RUN_H
#define TT_CLI_RUN_H

#include <jansson.h>

#include "cli/command.h"

/* `--set name=value` as texts, over what the file of --settings gives. A new reference. TT_USAGE. */
tt_rc tt_cli_read_settings(tt_cli *cli, json_t **ret, tt_err *err) TT_MUST_CHECK;

#endif
